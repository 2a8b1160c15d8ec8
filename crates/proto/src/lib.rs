//! RFC 6455 and RFC 7692 without I/O: bytes in, events out, bytes out, deadline out.

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
