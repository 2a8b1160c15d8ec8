//! A strict, bounded and fast WebSocket server and client for tokio, hyper, axum and rustls.
//!
//! An open connection is a [`WebSocket`]: [`recv`](WebSocket::recv), [`send`](WebSocket::send),
//! [`ping`](WebSocket::ping), [`close`](WebSocket::close). Any number of tasks may send, one receives.
//!
//! ```
//! use antiphon::{CloseCode, Config, Role, WebSocket};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> antiphon::Result<()> {
//! // Two ends of a pipe, instead of a network.
//! let (near, far) = tokio::io::duplex(1024);
//! let mut client = WebSocket::from_io(near, Role::Client, Config::default());
//! let mut server = WebSocket::from_io(far, Role::Server, Config::default());
//!
//! let echo = tokio::spawn(async move {
//!     while let Some(message) = server.recv().await? {
//!         server.send(message).await?;
//!     }
//!     Ok::<_, antiphon::Error>(())
//! });
//! client.send("hello").await?;
//! assert_eq!(client.recv().await?.unwrap().as_text(), Some("hello"));
//! client.close(CloseCode::NORMAL, "done").await?;
//! # echo.await.unwrap()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to begin
//!
//! - [`Client`] connects: proxies, TLS, HTTP/2, redirects, sessions that reconnect.
//! - [`WebSocket::from_io`] takes a connection whose opening handshake somebody else has made.
//! - [`Config`] has every limit of a connection, with its default.
//! - [`Prepared`] is a message whose frame is made once for many connections.
//! - [`WebSocket::recv_stream`], [`WebSocket::send_stream`] and [`WebSocket::into_io`] are for messages of any size and for
//!   streams of bytes.
//!
//! # What to know
//!
//! - The defaults are strict: a message of 1 MiB, a ping after 25 s of silence, 10 s for its answer, 10 s for a peer that
//!   takes nothing. Nothing is unbounded.
//! - There is no task behind a socket. It reads while [`recv`](WebSocket::recv), [`ping`](WebSocket::ping) or
//!   [`close`](WebSocket::close) is being awaited, so somebody should be receiving.
//! - Every async method says what happens when it is cancelled.
//! - Control frames are no messages. Pings are answered by the connection; a Close ends [`recv`](WebSocket::recv) with
//!   `None`, and [`close_frame`](WebSocket::close_frame) tells it.
//! - The crate has no features: one runtime, one TLS, one set of defaults.

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

/// The pages of the guide, whose examples are tests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../../docs/client.md")]
    mod client {}
    #[doc = include_str!("../../../docs/errors.md")]
    mod errors {}
    #[doc = include_str!("../../../docs/limits.md")]
    mod limits {}
    #[doc = include_str!("../../../docs/streams.md")]
    mod streams {}
}
