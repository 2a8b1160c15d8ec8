//! Servers that do what a test wants, each connection with a thread of its own: honest, or not.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// A server of this test: each connection has a thread.
pub(crate) fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    url
}

/// A server that answers `depth` messages at a time as the test wants it; `None`: it hangs up.
pub(crate) fn lying(
    depth: usize,
    turn: impl Fn(usize, &[Vec<u8>]) -> Option<Vec<u8>> + Copy + Send + Sync + 'static,
) -> String {
    listen(move |mut stream| {
        let Some(key) = request(&mut stream) else {
            return;
        };
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {key}\r\n\r\n"
        );
        if stream.write_all(response.as_bytes()).is_ok() {
            talk(stream, depth, turn);
        }
    })
}

/// A server that sends everything to everybody.
pub(crate) fn everybody() -> String {
    let all: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    listen(move |mut stream| {
        let Some(key) = request(&mut stream) else {
            return;
        };
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {key}\r\n\r\n"
        );
        {
            let mut all = all.lock().unwrap();
            let _ = stream.write_all(response.as_bytes());
            all.push(stream.try_clone().unwrap());
        }
        while let Some((opcode, payload)) = read_frame(&mut stream) {
            if opcode == 8 {
                break;
            }
            let mut bytes = Vec::new();
            frame(0x80 | opcode, &payload, &mut bytes);
            let mut all = all.lock().unwrap();
            all.retain_mut(|stream| stream.write_all(&bytes).is_ok());
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
    })
}

/// A server that answers Close, and leaves it to the client to hang up.
pub(crate) fn waiting() -> String {
    listen(|mut stream| {
        let Some(key) = request(&mut stream) else {
            return;
        };
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {key}\r\n\r\n"
        );
        let _ = stream.write_all(response.as_bytes());
        if let Some((8, payload)) = read_frame(&mut stream) {
            let mut bytes = Vec::new();
            frame(0x88, &payload, &mut bytes);
            let _ = stream.write_all(&bytes);
        }
        let _ = stream.read(&mut [0]);
    })
}

/// Reads the request of an opening handshake and says how its key is accepted.
pub(crate) fn request(stream: &mut TcpStream) -> Option<String> {
    stream.set_nodelay(true).ok()?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then_some(value)
    })?;
    let joined = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, joined.as_bytes());
    Some(STANDARD.encode(hash))
}

/// Answers turn by turn, until the client goes.
pub(crate) fn talk(
    mut stream: TcpStream,
    depth: usize,
    turn: impl Fn(usize, &[Vec<u8>]) -> Option<Vec<u8>>,
) {
    for number in 0.. {
        let mut messages = Vec::new();
        while messages.len() < depth {
            match read_frame(&mut stream) {
                Some((1 | 2, payload)) => messages.push(payload),
                _ => return,
            }
        }
        let Some(bytes) = turn(number, &messages) else {
            return;
        };
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

/// A client's frame: its opcode and what it says.
fn read_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    assert_eq!(head[0] & 0x70, 0, "no extension was agreed on");
    assert_eq!(head[1] & 0x80, 0x80, "a client masks");
    let length = match head[1] & 0x7f {
        126 => {
            let mut long = [0; 2];
            stream.read_exact(&mut long).ok()?;
            usize::from(u16::from_be_bytes(long))
        }
        127 => {
            let mut long = [0; 8];
            stream.read_exact(&mut long).ok()?;
            usize::try_from(u64::from_be_bytes(long)).ok()?
        }
        short => usize::from(short),
    };
    let mut key = [0; 4];
    stream.read_exact(&mut key).ok()?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).ok()?;
    for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
    Some((head[0] & 0xf, payload))
}

/// Text messages as a server sends them.
pub(crate) fn answers(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        frame(0x81, message, &mut bytes);
    }
    bytes
}

pub(crate) fn frame(first: u8, payload: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(first);
    match payload.len() {
        short @ 0..126 => bytes.push(short as u8),
        long => {
            bytes.push(126);
            bytes.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
}
