//! tokio-tungstenite with its defaults.

use antiphon_bench_peers::{Fault, Peer, Transport, echo::echo, options::Options, run};
use tokio_tungstenite::{accept_async, tungstenite::Message};

#[derive(Clone)]
struct Tungstenite;

impl Peer for Tungstenite {
    async fn serve<S: Transport>(self, stream: S) -> Result<(), Fault> {
        let socket = accept_async(stream).await?;
        echo(socket, |message: &Message| {
            message.is_text() || message.is_binary()
        })
        .await
    }
}

fn main() -> Result<(), Fault> {
    run(&Options::read(false, false), Tungstenite)
}
