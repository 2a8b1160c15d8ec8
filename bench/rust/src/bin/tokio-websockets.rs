//! tokio-websockets with one frame a message, as in its own example.

use antiphon_bench_peers::{
    Fault, MAX_MESSAGE, Peer, Transport, echo::echo, options::Options, run,
};
use tokio_websockets::{Config, Limits, Message, ServerBuilder};

#[derive(Clone)]
struct Websockets;

impl Peer for Websockets {
    async fn serve<S: Transport>(self, stream: S) -> Result<(), Fault> {
        let (_, socket) = ServerBuilder::new()
            .config(Config::default().frame_size(usize::MAX))
            .limits(Limits::default().max_payload_len(Some(MAX_MESSAGE)))
            .accept(stream)
            .await?;
        echo(socket, |message: &Message| {
            message.is_text() || message.is_binary()
        })
        .await
    }
}

fn main() -> Result<(), Fault> {
    run(&Options::read(false, false), Websockets)
}
