//! What carries the bytes: a TCP socket or TLS driven directly, an HTTP/2 stream, or anything that reads and writes.

use std::{
    fmt,
    io::{self, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustls::ServerConnection;
#[cfg(target_os = "linux")]
use socket2::SockRef;
#[cfg(target_os = "linux")]
use tokio::io::Interest;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsStream, server};

use crate::hold::Hold;

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
    /// TLS as our own server accepts it.
    Accepted(Box<server::TlsStream<Hold<TcpStream>>>),
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
            Self::Accepted(_) => "Accepted",
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

impl From<server::TlsStream<TcpStream>> for Transport {
    fn from(stream: server::TlsStream<TcpStream>) -> Self {
        TlsStream::from(stream).into()
    }
}

impl From<Box<server::TlsStream<Hold<TcpStream>>>> for Transport {
    fn from(stream: Box<server::TlsStream<Hold<TcpStream>>>) -> Self {
        Self::Accepted(stream)
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
impl From<Box<server::TlsStream<Hold<tokio::io::DuplexStream>>>> for Transport {
    fn from(io: Box<server::TlsStream<Hold<tokio::io::DuplexStream>>>) -> Self {
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
            Self::Accepted(io) => Pin::new(&mut **io).poll_read(cx, buf),
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
            Self::Accepted(io) => write(Pin::new(&mut **io), cx, slices),
            Self::Upgraded(io) => write(Pin::new(&mut **io), cx, slices),
            Self::Other(io) => write(Pin::new(&mut **io), cx, slices),
            Self::Closed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Writes from `slices`, and the end of the stream behind them if they are all that is left until it. Whether that
    /// was said; then to drop the transport says the rest of it, in the same segment.
    pub(crate) fn poll_write_to(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
        left: Option<usize>,
    ) -> Poll<io::Result<(usize, bool)>> {
        let length = || slices.iter().map(|slice| slice.len()).sum::<usize>();
        let all = left.is_some_and(|left| left == length());
        let written = match self {
            Self::Tcp(io) if all => poll_send_more(io, cx, slices),
            Self::Accepted(stream) if all => {
                let (io, session) = stream.get_mut();
                if let Some(io) = io.released() {
                    let written = ready!(poll_end_tls(io, session, cx, slices))?;
                    return Poll::Ready(Ok((written, Some(written) == left)));
                }
                write(Pin::new(&mut **stream), cx, slices)
            }
            _ => self.poll_write(cx, slices),
        };
        written.map_ok(|written| (written, false))
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
            Self::Accepted(io) => Pin::new(&mut **io).poll_flush(cx),
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
            Self::Accepted(io) => Pin::new(&mut **io).poll_shutdown(cx),
            Self::Upgraded(io) => Pin::new(&mut **io).poll_shutdown(cx),
            Self::Other(io) => Pin::new(&mut **io).poll_shutdown(cx),
            Self::Closed => Poll::Ready(Ok(())),
        }
    }
}

/// Hands bytes to the system, which may let them wait for what follows: the end of the stream sends them.
#[cfg(target_os = "linux")]
fn poll_send_more(
    io: &TcpStream,
    cx: &mut Context<'_>,
    slices: &[io::IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    /// `MSG_MORE`, and `MSG_NOSIGNAL` as with every other write.
    const FLAGS: i32 = 0x8000 | 0x4000;
    loop {
        ready!(io.poll_write_ready(cx))?;
        let send = || match slices {
            [only] => SockRef::from(io).send_with_flags(only, FLAGS),
            _ => SockRef::from(io).send_vectored_with_flags(slices, FLAGS),
        };
        match io.try_io(Interest::WRITABLE, send) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return Poll::Ready(sent),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn poll_send_more(
    io: &mut TcpStream,
    cx: &mut Context<'_>,
    slices: &[io::IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    write(Pin::new(io), cx, slices)
}

/// The last bytes and the `close_notify` behind them, as two records of one write. What the socket does not take stays
/// with the session, for whoever flushes it.
fn poll_end_tls(
    io: &mut TcpStream,
    session: &mut ServerConnection,
    cx: &mut Context<'_>,
    slices: &[io::IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let written = session.writer().write_vectored(slices)?;
    if written == slices.iter().map(|slice| slice.len()).sum::<usize>() {
        session.send_close_notify();
    }
    let mut blocked = false;
    while session.wants_write() && !blocked {
        match session.write_tls(&mut Ending { io, cx }) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => blocked = true,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    if written == 0 && blocked {
        return Poll::Pending;
    }
    Poll::Ready(Ok(written))
}

/// Where a session writes its last records.
struct Ending<'a, 'b> {
    io: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl io::Write for Ending<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[io::IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match poll_send_more(self.io, self.cx, slices) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Arc};

    use rustls::{ClientConfig, RootCertStore};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::tls::{
        certificates, provider,
        server::{ServerTls, accept},
    };

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    /// A peer, and the server's side over TCP or TLS.
    async fn sides(tls: bool) -> (Box<dyn Io>, Transport) {
        let (near, far) = pair().await;
        if !tls {
            return (Box::new(near), far.into());
        }
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (issued.cert.pem(), issued.signing_key.serialize_pem());
        let mut roots = RootCertStore::empty();
        let chain = certificates(certificate.as_bytes(), "the certificate").unwrap();
        roots.add(chain[0].clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        let server = server.server_config(false).unwrap();
        let connector = TlsConnector::from(Arc::new(client));
        let near = connector.connect("localhost".try_into().unwrap(), near);
        let (near, far) = tokio::join!(near, accept(far, server));
        let mut far = far.unwrap();
        far.flush().await.unwrap();
        (Box::new(near.unwrap()), far.into())
    }

    /// Over TLS an end without `close_notify` would be an error.
    #[tokio::test]
    async fn the_last_bytes_arrive_before_the_end() {
        for tls in [false, true] {
            for parts in [&["last"][..], &["l", "a", "st"]] {
                let (mut near, mut far) = sides(tls).await;
                let slices: Vec<_> = parts
                    .iter()
                    .map(|part| io::IoSlice::new(part.as_bytes()))
                    .collect();
                let written = poll_fn(|cx| far.poll_write_to(cx, &slices, Some(4))).await;
                assert_eq!(written.unwrap(), (4, tls));
                drop(far);
                let mut got = String::new();
                near.read_to_string(&mut got).await.unwrap();
                assert_eq!(got, "last");
            }
        }
    }

    #[tokio::test]
    async fn the_last_bytes_wait_where_the_socket_is_full() {
        for tls in [false, true] {
            let (mut near, mut far) = sides(tls).await;
            let chunk = [7; 16 * 1024];
            let mut sent = 0;
            poll_fn(|cx| {
                loop {
                    match far.poll_write(cx, &[io::IoSlice::new(&chunk)]) {
                        Poll::Ready(written) => sent += written.unwrap(),
                        Poll::Pending => return Poll::Ready(()),
                    }
                }
            })
            .await;
            let last = [8; 200_000];
            let reading = tokio::spawn(async move {
                let mut got = Vec::new();
                near.read_to_end(&mut got).await.map(|_| got)
            });
            let mut left = &last[..];
            while !left.is_empty() {
                let slices = [io::IoSlice::new(left)];
                let end = Some(left.len());
                let written = poll_fn(|cx| far.poll_write_to(cx, &slices, end)).await;
                left = &left[written.unwrap().0..];
            }
            poll_fn(|cx| far.poll_flush(cx)).await.unwrap();
            drop(far);
            let got = reading.await.unwrap().unwrap();
            assert_eq!(got.len(), sent + last.len());
            assert!(got[sent..].iter().all(|byte| *byte == 8));
        }
    }
}
