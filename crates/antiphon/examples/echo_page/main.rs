//! An echo server as in GoFrame's guide: a page and a WebSocket on one port, over http or https.
//!
//! `cargo run -p antiphon --example echo_page` and open http://127.0.0.1:8199/; with the names of a certificate and a key as
//! arguments, https://127.0.0.1:8199/.

use antiphon::{Server, ServerTls, Upgrade};

/// The page at `/`, the echo at `/ws` (and at `/wss`, where the page looks for it over https).
pub(crate) fn server() -> Server {
    Server::new()
        .route("/ws", echo)
        .route("/wss", echo)
        .static_root(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/examples/echo_page/public"
        ))
}

async fn echo(upgrade: Upgrade) -> axum::response::Response {
    upgrade.on_socket(|mut socket| async move {
        while let Some(message) = socket.recv().await? {
            socket.send(message).await?;
        }
        Ok(())
    })
}

#[tokio::main]
async fn main() -> antiphon::Result<()> {
    let mut server = server().bind("127.0.0.1:8199");
    let files: Vec<String> = std::env::args().skip(1).collect();
    if let [certificate, key] = &files[..] {
        server = server.tls(ServerTls::from_pem_files(certificate, key)?);
    }
    server
        .shutdown_on(async { drop(tokio::signal::ctrl_c().await) })
        .run()
        .await
}
