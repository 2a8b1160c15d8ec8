//! RFC 6455 and RFC 7692 without I/O: bytes in, events out, bytes out, deadline out.

pub mod message;
pub mod close;
pub mod config;
pub mod error;
pub mod handshake;
pub mod deflate;
pub mod connection;
pub mod receiver;
pub mod sender;
pub mod frame;
pub mod grammar;
pub mod mask;
pub mod utf8;
