//! What carries the bytes: a TCP socket or TLS driven directly, an HTTP/2 stream, or anything that reads and writes.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

/// Anything that reads and writes.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The transport of a socket.
///
/// A socket that was accepted or opened here drives its TCP or TLS stream directly, without the boxed and rewound
/// stream that an HTTP upgrade hands out.
pub(crate) enum Transport {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Upgraded(Box<TokioIo<Upgraded>>),
    Other(Box<dyn Io>),
    /// Dropped already: nothing to read, nothing takes bytes.
    Closed,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            Self::Tls(_) => "Tls",
            Self::Upgraded(_) => "Upgraded",
            Self::Other(_) => "Other",
            Self::Closed => "Closed",
        })
    }
}

impl From<TcpStream> for Transport {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<TlsStream<TcpStream>> for Transport {
    fn from(stream: TlsStream<TcpStream>) -> Self {
        Self::Tls(Box::new(stream))
    }
}

impl From<tokio_rustls::server::TlsStream<TcpStream>> for Transport {
    fn from(stream: tokio_rustls::server::TlsStream<TcpStream>) -> Self {
        TlsStream::from(stream).into()
    }
}

impl From<Box<tokio_rustls::server::TlsStream<TcpStream>>> for Transport {
    fn from(stream: Box<tokio_rustls::server::TlsStream<TcpStream>>) -> Self {
        (*stream).into()
    }
}

impl From<tokio_rustls::client::TlsStream<TcpStream>> for Transport {
    fn from(stream: tokio_rustls::client::TlsStream<TcpStream>) -> Self {
        TlsStream::from(stream).into()
    }
}

impl From<Upgraded> for Transport {
    fn from(upgraded: Upgraded) -> Self {
        Self::Upgraded(Box::new(TokioIo::new(upgraded)))
    }
}

impl From<Box<dyn Io>> for Transport {
    fn from(io: Box<dyn Io>) -> Self {
        Self::Other(io)
    }
}

#[cfg(test)]
impl From<tokio::io::DuplexStream> for Transport {
    fn from(io: tokio::io::DuplexStream) -> Self {
        Self::Other(Box::new(io))
    }
}

#[cfg(test)]
impl From<Box<tokio_rustls::server::TlsStream<tokio::io::DuplexStream>>> for Transport {
    fn from(io: Box<tokio_rustls::server::TlsStream<tokio::io::DuplexStream>>) -> Self {
        Self::Other(io)
    }
}

impl Transport {
    /// Reads into `buf`; nothing filled means that the stream has ended.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(&mut **io).poll_read(cx, buf),
            Self::Upgraded(io) => Pin::new(&mut **io).poll_read(cx, buf),
            Self::Other(io) => Pin::new(&mut **io).poll_read(cx, buf),
            Self::Closed => Poll::Ready(Ok(())),
        }
    }

    /// Writes from `slices`, which must not be empty.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(io) => write(Pin::new(io), cx, slices),
            Self::Tls(io) => write(Pin::new(&mut **io), cx, slices),
            Self::Upgraded(io) => write(Pin::new(&mut **io), cx, slices),
            Self::Other(io) => write(Pin::new(&mut **io), cx, slices),
            Self::Closed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Whether bytes that were taken may need [`poll_flush`](Self::poll_flush) to get on their way.
    pub(crate) fn holds_back(&self) -> bool {
        !matches!(self, Self::Tcp(_) | Self::Closed)
    }

    /// Hands everything written so far on to the peer.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) | Self::Closed => Poll::Ready(Ok(())),
            Self::Tls(io) => Pin::new(&mut **io).poll_flush(cx),
            Self::Upgraded(io) => Pin::new(&mut **io).poll_flush(cx),
            Self::Other(io) => Pin::new(&mut **io).poll_flush(cx),
        }
    }

    /// Whether dropping it says all that [`poll_shutdown`](Self::poll_shutdown) would say, and spares a system call.
    pub(crate) fn ends_with_drop(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Closed)
    }

    /// Ends the writing direction.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(&mut **io).poll_shutdown(cx),
            Self::Upgraded(io) => Pin::new(&mut **io).poll_shutdown(cx),
            Self::Other(io) => Pin::new(&mut **io).poll_shutdown(cx),
            Self::Closed => Poll::Ready(Ok(())),
        }
    }
}

/// One slice goes out with a plain write, several with a vectored one where the stream has it.
fn write<T: AsyncWrite + ?Sized>(
    io: Pin<&mut T>,
    cx: &mut Context<'_>,
    slices: &[io::IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    match slices {
        [first, _, ..] if !io.is_write_vectored() => io.poll_write(cx, first),
        [only] => io.poll_write(cx, only),
        _ => io.poll_write_vectored(cx, slices),
    }
}
