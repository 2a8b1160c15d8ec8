//! Small servers for the client's tests: they speak bytes, so that they can also speak them wrongly.
#![allow(dead_code, reason = "each test file uses its part")]

use antiphon::{Client, CloseCode, Config, ErrorKind, Result, Role, WebSocket};
use antiphon_proto::handshake::key;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};

/// A listener on a free port of this machine.
pub(crate) async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Reads up to the empty line behind a head; what the peer sends later stays unread.
pub(crate) async fn read_head(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// The value of a header field in a head, by its lower-case name.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (field, value) = line.split_once(": ")?;
        field.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// The right `Sec-WebSocket-Accept` for a request.
pub(crate) fn accept(head: &str) -> String {
    key::accept(field(head, "sec-websocket-key").expect("a key").as_bytes())
}

/// A 101 for a request, with these further fields (each ended by CR LF).
pub(crate) fn switching(head: &str, fields: &str) -> String {
    let accept = accept(head);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
    )
}

/// Echoes until the peer closes.
pub(crate) async fn echo(mut socket: WebSocket) {
    while let Ok(Some(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            break;
        }
    }
}

/// Accepts one handshake on this connection and echoes; gives back the request's head.
pub(crate) async fn serve_echo<T: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    mut io: T,
) -> String {
    let head = read_head(&mut io).await;
    if !head.is_empty() {
        io.write_all(switching(&head, "").as_bytes()).await.unwrap();
        echo(WebSocket::from_io(io, Role::Server, Config::default())).await;
    }
    head
}

/// Sends a message and expects it back, then closes.
pub(crate) async fn check_echo(mut socket: WebSocket) {
    socket.send("antiphon").await.unwrap();
    let message = socket.recv().await.unwrap().expect("an echo");
    assert_eq!(message.as_text(), Some("antiphon"));
    socket.close(CloseCode::NORMAL, "").await.unwrap();
}

/// What a client makes of a server that answers the handshake with these bytes (made from the request's head).
pub(crate) async fn connect_to(
    client: &Client,
    answer: impl FnOnce(&str) -> Vec<u8> + Send + 'static,
) -> Result<WebSocket> {
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let server = tokio::spawn(async move {
        let head = read_head(&mut far).await;
        // The client may have gone after the first bytes.
        let _ = far.write_all(&answer(&head)).await;
        let _ = far.shutdown().await;
        far
    });
    let socket = client.connect_with(near, "ws://server.example/path").await;
    drop(server.await);
    socket
}

/// Asserts what kind of error this is and that its text has this in it.
pub(crate) fn check_error(result: Result<WebSocket>, kind: &ErrorKind, text: &str, row: &str) {
    match result {
        Ok(_) => panic!("{row}: connected"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{row}: {error}");
            assert!(error.to_string().contains(text), "{row}: {error}");
        }
    }
}
