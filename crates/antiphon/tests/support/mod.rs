//! What the tests of the server share: clients that write bytes as they stand in the RFC.
#![allow(dead_code, unreachable_pub)] // Each test file is a crate of its own and uses a part of this.

use antiphon::{Config, Role, Running, Server, Upgrade, WebSocket};
use axum::response::Response;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

/// An opening handshake that any server accepts, but for the target and further fields.
pub fn handshake(target: &str, fields: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: server.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
    )
}

/// Sends back what comes.
pub async fn echo(upgrade: Upgrade) -> Response {
    upgrade.on_socket(|mut socket| async move {
        while let Some(message) = socket.recv().await? {
            socket.send(message).await?;
        }
        Ok(())
    })
}

/// A server on a port of its own.
pub async fn start(server: Server) -> Running {
    server
        .bind("127.0.0.1:0")
        .start()
        .await
        .expect("the server starts")
}

pub async fn connect(running: &Running) -> TcpStream {
    TcpStream::connect(running.local_addrs()[0])
        .await
        .expect("the server accepts")
}

/// Sends a request and reads the head of the answer.
pub async fn ask<IO: AsyncRead + AsyncWrite + Unpin>(io: &mut IO, request: &str) -> String {
    io.write_all(request.as_bytes())
        .await
        .expect("the request is written");
    read_head(io).await
}

/// A head, byte by byte so that nothing behind it is taken.
pub async fn read_head<IO: AsyncRead + Unpin>(io: &mut IO) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = io.read_u8().await.unwrap_or_else(|error| {
            panic!(
                "the head ended after {:?}: {error}",
                String::from_utf8_lossy(&head)
            );
        });
        head.push(byte);
    }
    String::from_utf8(head).expect("a head in ASCII")
}

/// The status of an answer.
pub fn status(head: &str) -> u16 {
    head.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no status in {head:?}"))
}

/// The value of a field of an answer.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The rest, until the server hangs up.
pub async fn read_rest<IO: AsyncRead + Unpin>(io: &mut IO) -> String {
    let mut rest = Vec::new();
    // A reset ends the connection as well.
    let _ = io.read_to_end(&mut rest).await;
    String::from_utf8_lossy(&rest).into_owned()
}

/// An open WebSocket.
pub async fn open(running: &Running, target: &str) -> WebSocket {
    open_on(connect(running).await, target, "").await
}

pub async fn open_on<IO>(mut io: IO, target: &str, fields: &str) -> WebSocket
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let head = ask(&mut io, &handshake(target, fields)).await;
    assert_eq!(status(&head), 101, "{head}");
    assert_eq!(
        field(&head, "sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    WebSocket::from_io(io, Role::Client, Config::default())
}

/// Sends a message and expects it back.
pub async fn expect_echo(socket: &mut WebSocket, text: &str) {
    socket.send(text).await.expect("sent");
    let reply = socket.recv().await.expect("no error").expect("a message");
    assert_eq!(reply.as_text(), Some(text));
}

/// Waits until something holds, which needs no time but that of the tasks involved; the limit is for a broken server.
pub async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), waiting)
        .await
        .expect("what the test waits for");
}
