//! RFC 6455 and RFC 7692 without I/O: bytes in, events out, bytes out, deadline out.
//!
//! This is the protocol core of `antiphon`. It opens no socket, reads no clock and knows no runtime: whoever drives it
//! brings the bytes and the time. Use it where `antiphon` itself does not fit: on another runtime, in a proxy, in a
//! simulation, in a test. For a server or a client on tokio, use `antiphon`.
//!
//! An open connection is a [`Connection`](connection::Connection), for either role. It owns framing, masking,
//! fragmentation, UTF-8, compression, control frames, the closing handshake, the heartbeat and every limit. Its methods
//! are to be called in one order whenever something happens: tell it what happened, tell it what you want, write its
//! output, and come back at its deadline.
//!
//! ```
//! use std::{sync::Arc, time::{Duration, Instant}};
//!
//! use antiphon_proto::{
//!     close::{CloseCode, CloseFrame},
//!     config::{Config, Role},
//!     connection::{Connection, End, Event, Input},
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Arc::new(Config::default());
//! let mut now = Instant::now();
//! let mut client = Connection::new(Role::Client, config.clone(), None, now);
//! let mut server = Connection::new(Role::Server, config, None, now);
//!
//! // A message travels as the bytes that the one side gives and the other takes.
//! client.send(&"hello".into())?;
//! let mut wire = client.take_output(now);
//! let event = server.handle_input(now, &mut Input::new(&mut wire))?;
//! assert_eq!(event.and_then(Event::into_message), Some("hello".into()));
//!
//! // 25 s of silence, which take no time here: each side asks whether the other is there.
//! now += Duration::from_secs(25);
//! assert_eq!(server.poll_deadline(), Some(now));
//! server.handle_deadline(now);
//! let mut ping = server.take_output(now);
//! assert!(matches!(client.handle_input(now, &mut Input::new(&mut ping))?, Some(Event::Ping(_))));
//! let mut pong = client.take_output(now);
//! assert!(matches!(server.handle_input(now, &mut Input::new(&mut pong))?, Some(Event::Pong(Some(_)))));
//!
//! // The closing handshake.
//! client.close(now, CloseFrame::new(CloseCode::NORMAL, "done"))?;
//! let mut close = client.take_output(now);
//! server.handle_input(now, &mut Input::new(&mut close))?;
//! let mut answer = server.take_output(now);
//! client.handle_input(now, &mut Input::new(&mut answer))?;
//! assert!(matches!(client.end(), Some(End::Clean(close)) if close.code == CloseCode::NORMAL));
//! # Ok(())
//! # }
//! ```
//!
//! The rooms, from the ground up: [`utf8`], [`mask`] and [`grammar`] know bytes; [`config`] has every limit with its
//! default; [`message`], [`close`] and [`error`] are what is sent and what can be wrong; [`frame`] reads and writes
//! headers; [`deflate`] compresses; [`handshake`] judges and builds the opening handshake as types of the `http` crate;
//! [`receiver`] and [`sender`] are the two directions; [`connection`] joins them.
//!
//! Everything that a peer can do wrong is an [`error::Violation`], with its close code and the section that forbids it.

pub mod close;
pub mod config;
pub mod connection;
pub mod deflate;
pub mod error;
pub mod frame;
pub mod grammar;
pub mod handshake;
pub mod mask;
pub mod message;
pub mod receiver;
pub mod sender;
pub mod utf8;
