//! axum's `ws`: an echo, and a chat made as its own example makes one: a channel, and a task for each subscriber.

use antiphon_bench_peers::{
    Fault, Peer, Transport,
    echo::echo,
    http,
    options::{Mode, Options},
    run,
};
use axum::{
    Router,
    extract::{
        State,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    response::Response,
    routing::any,
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::broadcast::{Sender, channel};

/// Messages that a slow subscriber may be behind.
const BEHIND: usize = 4096;

#[derive(Clone)]
struct Axum(Router);

impl Peer for Axum {
    async fn serve<S: Transport>(self, stream: S) -> Result<(), Fault> {
        http::route(stream, self.0).await
    }
}

fn is_data(message: &Message) -> bool {
    matches!(message, Message::Text(_) | Message::Binary(_))
}

async fn answer(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |socket| {
        // How a connection ends says nothing here: the generator judges.
        let _ = echo(socket, is_data).await;
    })
}

async fn join(upgrade: WebSocketUpgrade, State(room): State<Sender<Message>>) -> Response {
    upgrade.on_upgrade(async move |socket| chat(socket, room).await)
}

async fn chat(socket: WebSocket, room: Sender<Message>) {
    let (mut sender, mut receiver) = socket.split();
    let mut messages = room.subscribe();
    let mut writer = tokio::spawn(async move {
        while let Ok(message) = messages.recv().await {
            if sender.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut reader = tokio::spawn(async move {
        while let Some(Ok(message)) = receiver.next().await {
            // Nobody may be listening, and that is fine.
            let _ = is_data(&message).then(|| room.send(message));
        }
    });
    tokio::select! {
        _ = &mut writer => reader.abort(),
        _ = &mut reader => writer.abort(),
    }
}

fn main() -> Result<(), Fault> {
    let options = Options::read(true, false);
    let route = match options.mode {
        Mode::Echo => any(answer),
        Mode::Broadcast => any(join).with_state(channel(BEHIND).0),
    };
    run(&options, Axum(Router::new().route("/", route)))
}
