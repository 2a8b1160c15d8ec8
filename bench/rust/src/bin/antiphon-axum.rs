//! Ours as an extractor in an axum application that hyper serves.

use std::sync::{Arc, LazyLock};

use antiphon::{Config, Upgrade};
use antiphon_bench_peers::{Fault, MAX_MESSAGE, Peer, Transport, http, options::Options, run};
use axum::{Router, response::Response, routing::any};

#[derive(Clone)]
struct Axum(Router);

impl Peer for Axum {
    async fn serve<S: Transport>(self, stream: S) -> Result<(), Fault> {
        http::route(stream, self.0).await
    }
}

/// One value for all connections.
static CONFIG: LazyLock<Arc<Config>> = LazyLock::new(|| {
    let mut config = Config::default();
    config.max_message_size = MAX_MESSAGE;
    Arc::new(config)
});

async fn answer(upgrade: Upgrade) -> Response {
    upgrade
        .config(CONFIG.clone())
        .on_socket(async |mut socket| {
            while let Some(message) = socket.recv().await? {
                socket.send(message).await?;
            }
            Ok(())
        })
}

fn main() -> Result<(), Fault> {
    run(
        &Options::read(false, false),
        Axum(Router::new().route("/", any(answer))),
    )
}
