//! A strict, bounded and fast WebSocket server and client for tokio, hyper, axum and rustls.
//!
//! A WebSocket route is registered like any other handler. The opening handshake has been judged before it runs, and
//! the socket lives as long as it does.
//!
//! ```no_run
//! use antiphon::{Server, Upgrade};
//!
//! #[tokio::main]
//! async fn main() -> antiphon::Result<()> {
//!     Server::new()
//!         .route("/ws", |upgrade: Upgrade| async move {
//!             upgrade.on_socket(|mut socket| async move {
//!                 while let Some(message) = socket.recv().await? {
//!                     socket.send(message).await?;
//!                 }
//!                 Ok(())
//!             })
//!         })
//!         .bind("127.0.0.1:8199")
//!         .run()
//!         .await
//! }
//! ```
//!
//! An open connection is a [`WebSocket`] on either side. Any number of tasks may send, one receives.
//!
//! ```
//! use antiphon::{Client, CloseCode, Server, Upgrade};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> antiphon::Result<()> {
//! # let running = Server::new()
//! #     .route("/ws", |upgrade: Upgrade| async move {
//! #         upgrade.on_socket(|mut socket| async move {
//! #             while let Some(message) = socket.recv().await? {
//! #                 socket.send(message).await?;
//! #             }
//! #             Ok(())
//! #         })
//! #     })
//! #     .bind("127.0.0.1:0")
//! #     .start()
//! #     .await?;
//! # let url = format!("ws://{}/ws", running.local_addrs()[0]);
//! let mut socket = Client::new().connect(url).await?;
//! socket.send("hello").await?;
//! assert_eq!(socket.recv().await?.unwrap().as_text(), Some("hello"));
//! println!("the round trip takes {:?}", socket.ping().await?);
//! socket.close(CloseCode::NORMAL, "done").await?;
//! # running.shutdown();
//! # running.wait().await
//! # }
//! ```
//!
//! # Where to begin
//!
//! - [`Server`] listens: routes, bounds, TLS, a shutdown that includes the sockets.
//! - [`Upgrade`] is the extractor that makes a handler a WebSocket's; it works in any axum or hyper application.
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

mod chunks;
mod client;
#[cfg(test)]
mod counting;
mod driver;
mod each;
mod error;
mod exchange;
mod hand_over;
mod hold;
mod io;
mod limits;
mod origin;
mod panic;
mod permit;
mod proxy;
mod rewind;
mod shutdown;
mod socket;
mod stats;
mod stream;
mod transport;
mod turn;
mod wheel;

pub use antiphon_proto::{
    close::{CloseCode, CloseFrame},
    config::{Codec, Config, DeflateConfig, Role},
    error::Violation,
    message::{Message, MessageKind, MessageRef, Utf8Bytes},
    sender::Prepared,
};

pub use crate::{
    client::{Backoff, Client, Session, Sessions},
    driver::shared::Gather,
    each::Replies,
    error::{Error, ErrorKind, Result, SendError},
    io::{Framing, WebSocketIo},
    origin::Origins,
    permit::Permit,
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
    #[doc = include_str!("../../../docs/axum-hyper.md")]
    mod axum_hyper {}
    #[doc = include_str!("../../../docs/client.md")]
    mod client {}
    #[doc = include_str!("../../../docs/compression.md")]
    mod compression {}
    #[doc = include_str!("../../../docs/errors.md")]
    mod errors {}
    #[doc = include_str!("../../../docs/limits.md")]
    mod limits {}
    #[doc = include_str!("../../../docs/migrating.md")]
    mod migrating {}
    #[doc = include_str!("../../../docs/proxies.md")]
    mod proxies {}
    #[doc = include_str!("../../../docs/serve.md")]
    mod serve {}
    #[doc = include_str!("../../../docs/shutdown.md")]
    mod shutdown {}
    #[doc = include_str!("../../../docs/streams.md")]
    mod streams {}
    #[doc = include_str!("../../../docs/tls.md")]
    mod tls {}
}
