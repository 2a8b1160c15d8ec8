//! Ours: `for_each`, which hands messages to a function where they were read.

use antiphon::Upgrade;
use antiphon_bench_peers::{Fault, options::Options, ours};
use axum::response::Response;

async fn answer(upgrade: Upgrade) -> Response {
    upgrade.on_socket(async |mut socket| {
        socket
            .for_each(|message, replies| replies.send(message))
            .await
    })
}

fn main() -> Result<(), Fault> {
    ours::run(&Options::read(false, true), answer)
}
