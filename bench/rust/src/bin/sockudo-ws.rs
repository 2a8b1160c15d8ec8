//! sockudo-ws with its own handshake; with compression behind axum, where it negotiates the extension.

use antiphon_bench_peers::{
    Fault, MAX_MESSAGE, Peer, Transport,
    echo::echo,
    http,
    options::{Deflate, Options},
    run,
};
use axum::{Router, routing::any};
use sockudo_ws::{
    Compression, Config, Message, Role, WebSocketStream,
    axum_integration::{WebSocket, WebSocketUpgrade},
    handshake::server_handshake,
};

#[derive(Clone)]
struct Sockudo(Config);

impl Peer for Sockudo {
    async fn serve<S: Transport>(self, mut stream: S) -> Result<(), Fault> {
        if self.0.compression.is_enabled() {
            let config = self.0;
            let handler = |upgrade: WebSocketUpgrade| async move {
                upgrade.config(config).on_upgrade(compressed)
            };
            return http::route(stream, Router::new().route("/", any(handler))).await;
        }
        let left = server_handshake(&mut stream).await?.leftover;
        let socket = WebSocketStream::from_raw_with_leftover(stream, Role::Server, self.0, left);
        echo(socket, is_data).await
    }
}

/// How a connection ends says nothing here: the generator judges.
async fn compressed(socket: WebSocket) {
    let _ = echo(socket, is_data).await;
}

fn is_data(message: &Message) -> bool {
    message.is_text() || message.is_binary()
}

fn main() -> Result<(), Fault> {
    let options = Options::read(false, true);
    let config = Config::builder()
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .compression(match options.deflate {
            Deflate::Off => Compression::Disabled,
            Deflate::Fresh => Compression::Shared,
            Deflate::Takeover => Compression::Dedicated,
        });
    run(&options, Sockudo(config.build()))
}
