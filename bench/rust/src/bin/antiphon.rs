//! Ours: one loop of `recv` and `send`.

use antiphon::Upgrade;
use antiphon_bench_peers::{Fault, options::Options, ours};
use axum::response::Response;

async fn answer(upgrade: Upgrade) -> Response {
    upgrade.on_socket(async |mut socket| {
        while let Some(message) = socket.recv().await? {
            socket.send(message).await?;
        }
        Ok(())
    })
}

fn main() -> Result<(), Fault> {
    ours::run(&Options::read(false, true), answer)
}
