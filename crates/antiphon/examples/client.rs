//! A client as in GoFrame's guide: a handshake timeout, the proxy of the environment, TLS settings, one message and its echo.
//!
//! `cargo run -p antiphon --example client -- ws://127.0.0.1:8199/ws`

use std::time::Duration;

use antiphon::{Client, ClientTls, Message, Proxy, Result};

/// Sends a message and returns what comes back.
pub(crate) async fn exchange(url: &str, tls: ClientTls, message: &str) -> Result<Option<Message>> {
    let mut socket = Client::new()
        .handshake_timeout(Duration::from_secs(1))
        .proxy(Proxy::environment())
        .tls(tls)
        .connect(url)
        .await?;
    socket.send(message).await?;
    let reply = socket.recv().await?;
    socket.close(1000, "").await?;
    Ok(reply)
}

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1);
    let url = url.as_deref().unwrap_or("ws://127.0.0.1:8199/ws");
    if let Some(reply) = exchange(url, ClientTls::new(), "hello world").await? {
        println!("{:?} {}", reply.kind(), reply.as_text().unwrap_or_default());
    }
    Ok(())
}
