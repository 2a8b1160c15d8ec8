//! The limit of a fan-out on bare epoll (mio): what one read brings goes to every socket in one send, as frames that are
//! made once. No runtime, no groups, no queues and no accounts; of WebSocket only what the generator cannot do without.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    mem,
};

use antiphon_bench_peers::{
    Fault,
    options::{Mode, Options},
};
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    is_open: bool,
    /// The beginning of something whose end has not come yet.
    unread: Vec<u8>,
    /// What the socket has not taken yet.
    left: Vec<u8>,
}

fn main() -> Result<(), Fault> {
    let options = Options::read(true, false);
    if options.mode != Mode::Broadcast {
        return Err("this peer has only a broadcast".into());
    }
    let mut listener = TcpListener::bind(([127, 0, 0, 1], options.port).into())?;
    println!("listening on ws://{}/", listener.local_addr()?);
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; 128 * 1024];
    let mut frames = Vec::new();
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let both = Interest::READABLE | Interest::WRITABLE;
                    let token = Token(connections.len());
                    poll.registry().register(&mut stream, token, both)?;
                    connections.push(Some(Connection {
                        stream,
                        is_open: false,
                        unread: Vec::new(),
                        left: Vec::new(),
                    }));
                }
                continue;
            }
            let place = event.token().0;
            let Some(connection) = &mut connections[place] else {
                continue;
            };
            if turn(connection, &mut buffer, &mut frames).is_err() {
                connections[place] = None;
            }
            if frames.is_empty() {
                continue;
            }
            for place in &mut connections {
                if let Some(connection) = place
                    && connection.is_open
                    && write(connection, &frames).is_err()
                {
                    *place = None;
                }
            }
            frames.clear();
        }
    }
}

/// Reads what there is, and adds the frames for everybody to `frames`; an error also at the end of the stream.
fn turn(connection: &mut Connection, buffer: &mut [u8], frames: &mut Vec<u8>) -> io::Result<()> {
    if !connection.left.is_empty() {
        write(connection, &[])?;
    }
    loop {
        match connection.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                take(connection, &mut buffer[..read], frames)?;
                // A short read has emptied the socket: the edge that comes next is a new one.
                if read < buffer.len() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Takes what is whole: the request, then messages of one frame each.
fn take(connection: &mut Connection, bytes: &mut [u8], frames: &mut Vec<u8>) -> io::Result<()> {
    let mut joined = mem::take(&mut connection.unread);
    let mut rest = if joined.is_empty() {
        bytes
    } else {
        joined.extend_from_slice(bytes);
        &mut joined
    };
    if !connection.is_open {
        let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") else {
            connection.unread = rest.to_vec();
            return Ok(());
        };
        let (request, more) = rest.split_at_mut(end + 4);
        let key = key(request).ok_or(ErrorKind::InvalidData)?;
        connection.is_open = true;
        write(connection, answer(key).as_bytes())?;
        rest = more;
    }
    while let Some((head, length)) = head(rest) {
        let (frame, more) = rest.split_at_mut(head + length);
        let (head, payload) = frame.split_at_mut(head);
        // Control frames are not for everybody: a Close ends the connection, and nobody sends pings.
        match head[0] {
            0x81 | 0x82 => {}
            0x88 => return Err(ErrorKind::UnexpectedEof.into()),
            _ => return Err(ErrorKind::InvalidData.into()),
        }
        let mask = &head[head.len() - 4..];
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        frames.push(head[0]);
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(length @ ..126), _) => frames.push(length),
            (_, Ok(length)) => {
                frames.push(126);
                frames.extend(length.to_be_bytes());
            }
            _ => {
                frames.push(127);
                frames.extend((length as u64).to_be_bytes());
            }
        }
        frames.extend_from_slice(payload);
        rest = more;
    }
    connection.unread = rest.to_vec();
    Ok(())
}

/// Bytes of the header of a masked frame and of its payload, if all of it is there.
fn head(bytes: &[u8]) -> Option<(usize, usize)> {
    let (extended, length) = match *bytes.get(1)? & 0x7f {
        126 => (2, bytes.get(2..4)?),
        127 => (8, bytes.get(2..10)?),
        _ => (0, &[bytes[1] & 0x7f][..]),
    };
    let length = length
        .iter()
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    let head = 2 + extended + 4;
    (bytes.len() >= length.saturating_add(head)).then_some((head, length))
}

/// The key of an opening handshake.
fn key(request: &[u8]) -> Option<&str> {
    let request = str::from_utf8(request).ok()?;
    request.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then(|| value.trim())
    })
}

fn answer(key: &str) -> String {
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// Writes what is left and these bytes, or keeps the rest.
fn write(connection: &mut Connection, bytes: &[u8]) -> io::Result<()> {
    let joined;
    let mut rest = bytes;
    if !connection.left.is_empty() {
        connection.left.extend_from_slice(bytes);
        joined = mem::take(&mut connection.left);
        rest = &joined;
    }
    while !rest.is_empty() {
        match connection.stream.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                connection.left = rest.to_vec();
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
