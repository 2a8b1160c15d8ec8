//! A stream below a TLS handshake: what need not leave at once leaves with what follows it.
//!
//! A server has a ticket to say at the end of a handshake and the answer to a request right behind it; alone, either is a
//! packet of its own, and the client is woken for both.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes that are held back. A flight of a handshake is seldom longer; what is goes out as it comes.
const MAX_HELD: usize = 8 * 1024;

/// Until the handshake has [`ended`](Self::end) writes are held back, also from flushes, until the peer is waited for. Then
/// what is held goes out with whatever is written next, or with a flush: whoever waits for the peer before it has anything
/// to write must flush.
#[derive(Debug)]
pub(crate) struct Hold<IO> {
    io: IO,
    held: BytesMut,
    ended: bool,
}

impl<IO: AsyncWrite + Unpin> Hold<IO> {
    pub(crate) fn new(io: IO) -> Self {
        Self {
            io,
            held: BytesMut::new(),
            ended: false,
        }
    }

    /// The handshake is over: from now on a flush is one.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// The stream, where nothing is held back.
    pub(crate) fn released(&mut self) -> Option<&mut IO> {
        self.held.is_empty().then_some(&mut self.io)
    }

    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.held))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.held.advance(written),
            }
        }
        // Even empty it would own its memory.
        self.held = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Takes bytes behind those that are held, if they fit: how many.
    fn hold<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]> + Clone) -> Option<usize> {
        let length = parts.clone().map(<[u8]>::len).sum::<usize>();
        if self.held.len() + length > MAX_HELD {
            return None;
        }
        parts.for_each(|part| self.held.extend_from_slice(part));
        Some(length)
    }

    /// Writes what is held and these parts: as one, if they are short.
    fn poll_parts<'a>(
        &mut self,
        cx: &mut Context<'_>,
        parts: impl Iterator<Item = &'a [u8]> + Clone,
        write: impl FnOnce(Pin<&mut IO>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.ended && self.held.is_empty() {
            return write(Pin::new(&mut self.io), cx);
        }
        if let Some(taken) = self.hold(parts) {
            if self.ended
                && let Poll::Ready(Err(error)) = self.poll_release(cx)
            {
                return Poll::Ready(Err(error));
            }
            return Poll::Ready(Ok(taken));
        }
        ready!(self.poll_release(cx))?;
        write(Pin::new(&mut self.io), cx)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Hold<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        // What the peer waits for may be held. An error of writing is told to whoever writes next; the peer's last words
        // may still be read.
        if polled.is_pending() && !self.ended {
            let _ = self.poll_release(cx);
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Hold<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_parts(cx, std::iter::once(buf), |io, cx| io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_parts(cx, bufs.iter().map(|buf| &**buf), |io, cx| {
            io.poll_write_vectored(cx, bufs)
        })
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_release(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::counting::Counting;

    fn line(room: usize) -> (DuplexStream, Hold<Counting>, Arc<AtomicUsize>) {
        let (near, far) = duplex(room);
        let writes = Arc::new(AtomicUsize::new(0));
        (near, Hold::new(Counting(far, writes.clone())), writes)
    }

    #[tokio::test]
    async fn the_end_of_a_handshake_leaves_with_the_answer() {
        let (mut near, mut hold, writes) = line(64);
        hold.write_all(b"ticket ").await.unwrap();
        hold.flush().await.unwrap();
        hold.end();
        assert_eq!(writes.load(Relaxed), 0);
        assert!(hold.released().is_none());
        hold.write_all(b"answer").await.unwrap();
        assert_eq!(writes.load(Relaxed), 1);
        assert!(hold.released().is_some());
        let mut got = [0; 13];
        near.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"ticket answer");
    }

    #[tokio::test]
    async fn nothing_is_held_while_a_handshake_waits_for_the_peer() {
        let (mut near, mut hold, _) = line(64);
        hold.write_all(b"flight").await.unwrap();
        let peer = async {
            let mut got = [0; 6];
            near.read_exact(&mut got).await.unwrap();
            near.write_all(b"!").await.unwrap();
            got
        };
        let mut reply = [0];
        let (read, got) = tokio::join!(hold.read_exact(&mut reply), peer);
        assert_eq!((read.unwrap(), &got), (1, b"flight"));
    }

    #[tokio::test]
    async fn a_flush_or_the_end_of_the_stream_lets_go() {
        for shut in [false, true] {
            let (mut near, mut hold, _) = line(64);
            hold.write_all(b"held").await.unwrap();
            hold.end();
            if shut {
                hold.shutdown().await.unwrap();
            } else {
                hold.flush().await.unwrap();
            }
            let mut got = [0; 4];
            near.read_exact(&mut got).await.unwrap();
            assert_eq!(&got, b"held");
        }
    }

    /// However little the peer takes at a time, and however much there is.
    #[tokio::test]
    async fn bytes_keep_their_order() {
        for (first, second) in [(10, 10), (10, MAX_HELD), (MAX_HELD, 1), (3 * MAX_HELD, 100)] {
            let (mut near, mut hold, _) = line(16);
            let bytes: Vec<u8> = (0..first + second).map(|n| n as u8).collect();
            let expected = bytes.clone();
            let writing = async move {
                hold.write_all(&bytes[..first]).await.unwrap();
                hold.end();
                hold.write_all(&bytes[first..]).await.unwrap();
                hold.flush().await.unwrap();
            };
            let reading = async {
                let mut got = vec![0; first + second];
                near.read_exact(&mut got).await.unwrap();
                got
            };
            let ((), got) = tokio::join!(writing, reading);
            assert!(got == expected, "{first} {second}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_is_gone_is_told_to_the_writer() {
        let (near, mut hold, _) = line(16);
        hold.write_all(b"held").await.unwrap();
        hold.end();
        drop(near);
        assert!(hold.write_all(b"more").await.is_err());
    }
}
