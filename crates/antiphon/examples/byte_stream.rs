//! A socket as a stream of bytes: `tokio::io::copy` is an echo that keeps the kind and the boundaries of messages.
//!
//! `cargo run -p antiphon --example byte_stream`, then connect to ws://127.0.0.1:12345/echo.

use antiphon::{Client, Server, Upgrade};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Copies each socket into itself.
pub(crate) fn server() -> Server {
    Server::new().route("/echo", |upgrade: Upgrade| async {
        upgrade.on_socket(|socket| async {
            let (mut reader, mut writer) = tokio::io::split(socket.into_io());
            tokio::io::copy(&mut reader, &mut writer).await?;
            writer.shutdown().await?;
            Ok(())
        })
    })
}

/// Writes bytes and reads as many back.
pub(crate) async fn exchange(url: &str, bytes: &[u8]) -> antiphon::Result<Vec<u8>> {
    let mut io = Client::new().connect(url).await?.into_io();
    io.write_all(bytes).await?;
    let mut received = vec![0; bytes.len()];
    io.read_exact(&mut received).await?;
    io.shutdown().await?;
    Ok(received)
}

#[tokio::main]
async fn main() -> antiphon::Result<()> {
    let running = server().bind("127.0.0.1:12345").start().await?;
    let reply = exchange("ws://127.0.0.1:12345/echo", b"hello world!").await?;
    println!("Received: {}", String::from_utf8_lossy(&reply));
    running.wait().await
}
