//! A stream whose beginning was read already, and is read once more by whoever gets it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// First the bytes, then the stream.
#[derive(Debug)]
pub(crate) struct Rewind<IO> {
    first: Bytes,
    io: IO,
}

impl<IO> Rewind<IO> {
    pub(crate) fn new(first: Bytes, io: IO) -> Self {
        Self { first, io }
    }

    /// The bytes that nobody has read again, and the stream.
    pub(crate) fn into_parts(self) -> (Bytes, IO) {
        (self.first, self.io)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Rewind<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() || buf.remaining() == 0 {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let n = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first[..n]);
        self.first.advance(n);
        if self.first.is_empty() {
            // Even empty it would own its memory.
            self.first = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Rewind<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn what_was_read_comes_first_and_once() {
        let (mut near, far) = duplex(64);
        near.write_all(b"second").await.expect("room");
        let mut rewind = Rewind::new(Bytes::from_static(b"first "), far);
        let mut two = [0; 2];
        rewind.read_exact(&mut two).await.expect("two bytes");
        assert_eq!((&two, &*rewind.first), (b"fi", &b"rst "[..]));
        drop(near);
        let mut rest = String::new();
        rewind.read_to_string(&mut rest).await.expect("the rest");
        assert_eq!(rest, "rst second");
        assert!(rewind.into_parts().0.is_empty());
    }
}
