//! A strict, bounded and fast WebSocket server and client for tokio, hyper, axum and rustls.

pub mod peer;
pub mod server;
pub mod tls;
pub mod upgrade;

mod client;
mod driver;
mod error;
mod exchange;
mod io;
mod origin;
mod panic;
mod proxy;
mod shutdown;
mod socket;
mod stats;
mod stream;
mod transport;
mod turn;

pub use antiphon_proto::{
    close::{CloseCode, CloseFrame},
    config::{Codec, Config, DeflateConfig, Role},
    error::Violation,
    message::{Message, MessageKind, Utf8Bytes},
    sender::Prepared,
};

pub use crate::{
    client::{Backoff, Client, Session, Sessions},
    error::{Error, ErrorKind, Result, SendError},
    io::{Framing, WebSocketIo},
    origin::Origins,
    proxy::Proxy,
    server::{Running, Server, Stats},
    socket::{Receiver, Sender, WebSocket},
    stream::{MessageReader, MessageWriter},
    tls::{client::ClientTls, server::ServerTls},
    upgrade::Upgrade,
};
