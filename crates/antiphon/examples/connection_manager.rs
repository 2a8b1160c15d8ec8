//! A connection manager as people write them on gorilla/websocket: a registry with a live online count, bounded queues
//! in and out, a read limit, a heartbeat. `cargo run -p antiphon --example connection_manager`, then connect to ws://127.0.0.1:6666/send.

use std::{collections::HashMap, sync::Arc, time::Duration};

use antiphon::{Config, Message, Origins, Result, Sender, Server, Upgrade, WebSocket};
use tokio::sync::{mpsc, watch};

/// Messages that wait to be processed, and to be sent.
const QUEUE: usize = 1000;

/// Who is connected, by number; everybody may watch.
#[derive(Default)]
pub(crate) struct Manager(watch::Sender<HashMap<u64, Sender>>);

impl Manager {
    /// How many connections are open now.
    pub(crate) fn online(&self) -> usize {
        self.0.borrow().len()
    }

    /// Serves one connection: a reader, a processor and a writer with a queue between each.
    pub(crate) async fn serve(self: Arc<Self>, socket: WebSocket, id: u64) -> Result<()> {
        let (sender, mut receiver) = socket.split();
        self.0
            .send_modify(|all| drop(all.insert(id, sender.clone())));
        println!("{id} came, {} online", self.online());
        let (incoming, mut to_process) = mpsc::channel::<Message>(QUEUE);
        let (outgoing, mut to_send) = mpsc::channel::<Message>(QUEUE);
        let read = async move {
            while let Some(message) = receiver.recv().await? {
                let _ = incoming.send(message).await;
            }
            Ok(())
        };
        let process = async move {
            while let Some(message) = to_process.recv().await {
                let _ = outgoing.send(message).await;
            }
        };
        let write = async move {
            while let Some(message) = to_send.recv().await {
                sender.send(message).await?;
            }
            Ok(())
        };
        let (read, (), write) = tokio::join!(read, process, write);
        self.0.send_modify(|all| drop(all.remove(&id)));
        println!("{id} left, {} online", self.online());
        read.and(write)
    }
}

/// The usual limits: 512 bytes a message, 10 s to write, a ping after 54 s, 60 s for a sign of life.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.max_message_size = 512;
    config.write_timeout = Duration::from_secs(10);
    config.ping_interval = Some(Duration::from_secs(54));
    config.pong_timeout = Duration::from_secs(6);
    config
}

/// The server: one route, any origin.
pub(crate) fn server(manager: Arc<Manager>) -> Server {
    let ids = Arc::new(std::sync::atomic::AtomicU64::new(1));
    let route = move |upgrade: Upgrade| async move {
        let id = ids.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        upgrade.on_socket(move |socket| manager.serve(socket, id))
    };
    let server = Server::new().config(config()).route("/send", route);
    server.origins(Origins::allow_any())
}

#[tokio::main]
async fn main() -> Result<()> {
    server(Arc::default()).bind("127.0.0.1:6666").run().await
}
