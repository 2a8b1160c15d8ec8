//! What a peer is: a library that serves one connection from its first byte to its last.

use std::future::Future;

use tokio::io::{AsyncRead, AsyncWrite};

/// Anything that ends a connection or a peer.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Connections that may wait to be accepted.
pub const BACKLOG: u32 = 4096;

/// Longest message that a peer takes, where it has a limit.
pub const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// A stream that a peer can serve: TCP, or TLS over it.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for T {}

/// One library as a server.
pub trait Peer: Clone + Send + 'static {
    /// Serves one connection from its first byte to its last.
    fn serve<S: Transport>(self, stream: S) -> impl Future<Output = Result<(), Fault>> + Send;
}
