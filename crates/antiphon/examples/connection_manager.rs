//! The connection manager of the seeds: a registry with a live online count, bounded queues in and out, a read limit,
//! a heartbeat. `cargo run --example connection_manager`, then connect to ws://127.0.0.1:6666/send.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use antiphon::{Config, Message, Origins, Result, Sender, Server, Upgrade, WebSocket};
use tokio::sync::mpsc;

/// Messages that wait to be processed, and to be sent.
const QUEUE: usize = 1000;

/// Who is connected.
#[derive(Default)]
pub(crate) struct Manager {
    connections: Mutex<(u64, HashMap<u64, Sender>)>,
}

impl Manager {
    /// How many connections are open now.
    pub(crate) fn online(&self) -> usize {
        self.lock().1.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (u64, HashMap<u64, Sender>)> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one connection: a reader, a processor and a writer with a queue between each.
    pub(crate) async fn serve(self: Arc<Self>, socket: WebSocket) -> Result<()> {
        let (sender, mut receiver) = socket.split();
        let id = {
            let mut connections = self.lock();
            connections.0 += 1;
            let id = connections.0;
            connections.1.insert(id, sender.clone());
            id
        };
        println!("{id} came, {} online", self.online());
        let (incoming, mut to_process) = mpsc::channel::<Message>(QUEUE);
        let (outgoing, mut to_send) = mpsc::channel::<Message>(QUEUE);
        let read = async move {
            while let Some(message) = receiver.recv().await? {
                if incoming.send(message).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let process = async move {
            while let Some(message) = to_process.recv().await {
                if outgoing.send(message).await.is_err() {
                    break;
                }
            }
        };
        let write = async move {
            while let Some(message) = to_send.recv().await {
                sender.send(message).await?;
            }
            Ok(())
        };
        let (read, (), write) = tokio::join!(read, process, write);
        self.lock().1.remove(&id);
        println!("{id} left, {} online", self.online());
        read.and(write)
    }
}

/// The limits of the seed: 512 bytes a message, 10 s to write, 60 s for a sign of life, a ping after 54 s.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.max_message_size = 512;
    config.write_timeout = Duration::from_secs(10);
    config.ping_interval = Some(Duration::from_secs(54));
    config.pong_timeout = Duration::from_secs(6);
    config
}

/// The server: one route, any origin, as the seed has it.
pub(crate) fn server(manager: Arc<Manager>) -> Server {
    let route = move |upgrade: Upgrade| async move {
        upgrade.on_socket(move |socket| manager.serve(socket))
    };
    Server::new()
        .config(config())
        .origins(Origins::allow_any())
        .route("/send", route)
}

#[tokio::main]
async fn main() -> Result<()> {
    server(Arc::default()).bind("127.0.0.1:6666").run().await
}
