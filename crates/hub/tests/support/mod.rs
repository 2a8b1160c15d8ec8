//! Clients of a hub over sockets in memory.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod bus;

use antiphon::{Config, Role, WebSocket};
use antiphon_hub::{
    hub::Hub, identity::Identity, occurrence::Cause, permission::Permissions, session::Hello,
    wire::Wire,
};
use serde_json::Value;
use tokio::task::JoinHandle;

/// A client that is connected to a hub.
pub(crate) struct Peer {
    pub(crate) socket: WebSocket,
    pub(crate) served: JoinHandle<Cause>,
}

/// Somebody who may do everything.
pub(crate) fn user(name: &str) -> Identity {
    Identity::user(name, Permissions::all().into())
}

pub(crate) fn anonymous() -> Identity {
    Identity::anonymous(Permissions::all().into())
}

/// Connects with this identity over this wire; the memory between both sides holds `bytes`.
pub(crate) fn connect_with(hub: &Hub, wire: Wire, hello: Hello, bytes: usize) -> Peer {
    let (near, far) = tokio::io::duplex(bytes);
    let subprotocol = (wire == Wire::V2).then_some(Wire::SUBPROTOCOLS[0]);
    let server = WebSocket::from_io(far, Role::Server, Config::default());
    let hub = hub.clone();
    let served =
        tokio::spawn(async move { hub.serve_as(server, Wire::of(subprotocol), hello).await });
    Peer {
        socket: WebSocket::from_io(near, Role::Client, Config::default()),
        served,
    }
}

pub(crate) fn connect(hub: &Hub, wire: Wire, identity: Identity) -> Peer {
    connect_with(hub, wire, Hello::from_identity(identity), 64 * 1024)
}

/// A v2 client that has read its `$connected`.
pub(crate) async fn v2(hub: &Hub, identity: Identity) -> Peer {
    let mut peer = connect(hub, Wire::V2, identity);
    assert_eq!(peer.next().await["event"], "$connected");
    peer
}

/// A v1 client that has had its first ping answered, so that it is in every index.
pub(crate) async fn v1(hub: &Hub, identity: Identity) -> Peer {
    let mut peer = connect(hub, Wire::V1, identity);
    assert_eq!(peer.ask(r#"{"event":"ping"}"#).await["code"], 0);
    peer
}

impl Peer {
    pub(crate) async fn send(&self, text: impl Into<String>) {
        self.socket.send(text.into()).await.unwrap();
    }

    /// The next event; heartbeats are skipped.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            let message = self
                .socket
                .recv()
                .await
                .unwrap()
                .expect("an open connection");
            let value: Value = serde_json::from_str(message.as_text().unwrap()).unwrap();
            if value != serde_json::json!({}) {
                return value;
            }
        }
    }

    pub(crate) async fn ask(&mut self, text: &str) -> Value {
        self.send(text).await;
        self.next().await
    }

    /// The code and the reason with which the server closes, and the events before.
    pub(crate) async fn closed(&mut self) -> (u16, String, Vec<Value>) {
        let mut events = Vec::new();
        while let Some(message) = self.socket.recv().await.unwrap() {
            events.push(serde_json::from_str(message.as_text().unwrap()).unwrap());
        }
        let close = self.socket.close_frame().expect("a closing handshake");
        (close.code.get(), close.reason.as_str().to_owned(), events)
    }
}
