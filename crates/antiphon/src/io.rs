//! A socket as a stream of bytes, for tunnels and for `tokio::io::copy`.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use antiphon_proto::{
    close::{CloseCode, CloseFrame},
    message::{Message, MessageKind, Utf8Bytes},
};
use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    error::{Error, ErrorKind},
    socket::{Part, Receiver, WebSocket},
};

/// Messages that were read and not yet written back in [`Framing::Mirror`].
const MAX_MIRRORED: usize = 1024;

impl WebSocket {
    /// The socket as a stream of bytes, each write a message.
    #[must_use]
    pub fn into_io(self) -> WebSocketIo {
        WebSocketIo::new(self.into_receiver())
    }
}

/// How written bytes become messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// Each write is a binary message.
    Binary,
    /// Each write is a text message; bytes that are not UTF-8 are refused.
    Text,
    /// Bytes are written back as they were read: the same kind, the same boundaries. Bytes beyond what was read are
    /// binary messages.
    Mirror,
}

/// A socket as a stream of bytes, made by [`WebSocket::into_io`](crate::WebSocket::into_io).
///
/// Reading joins the payloads of all messages; the closing handshake is the end of the stream. Writing makes messages,
/// as [`framing`](Self::framing) says: by default they mirror what was read, so that copying a socket into itself is
/// an echo.
///
/// ```no_run
/// # async fn example(socket: antiphon::WebSocket) -> std::io::Result<()> {
/// let (mut reader, mut writer) = tokio::io::split(socket.into_io());
/// tokio::io::copy(&mut reader, &mut writer).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WebSocketIo {
    receiver: Receiver,
    framing: Framing,
    /// Bytes of the last part that the reader has not taken.
    unread: Bytes,
    /// The messages that were read, to be mirrored.
    read: VecDeque<Span>,
    /// The message that is being written back in parts.
    writing: bool,
}

/// Bytes of one message that were read and not written back.
#[derive(Debug)]
struct Span {
    kind: MessageKind,
    len: usize,
    ended: bool,
}

impl WebSocketIo {
    pub(crate) fn new(receiver: Receiver) -> Self {
        Self {
            receiver,
            framing: Framing::Mirror,
            unread: Bytes::new(),
            read: VecDeque::new(),
            writing: false,
        }
    }

    /// Says how written bytes become messages. Default [`Framing::Mirror`].
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    fn remember(&mut self, part: &Part) {
        if self.framing != Framing::Mirror {
            return;
        }
        match self.read.back_mut() {
            Some(span) if !span.ended => {
                span.len += part.payload.len();
                span.ended = part.last;
            }
            _ => self.read.push_back(Span {
                kind: part.kind,
                len: part.payload.len(),
                ended: part.last,
            }),
        }
    }

    /// Writes back the messages whose bytes are all written: empty ones, and ends that came without bytes.
    fn finish_spans(&mut self) -> io::Result<()> {
        while let Some(Span {
            kind,
            len: 0,
            ended: true,
        }) = self.read.front()
        {
            let kind = *kind;
            self.send_part(kind, &[], true)?;
            self.read.pop_front();
        }
        Ok(())
    }

    fn send_part(&mut self, kind: MessageKind, bytes: &[u8], last: bool) -> io::Result<()> {
        let mut driver = self.receiver.sender().shared().lock();
        let begin = !self.writing;
        let queued = driver.queue(|connection| {
            if begin {
                connection.begin_parts()?;
            }
            connection.send_part(kind, bytes, last)
        });
        queued.map_err(|_| into_io(driver.closed_error()))?;
        if last {
            driver.wake_all();
        }
        driver.write_now();
        drop(driver);
        self.writing = !last;
        Ok(())
    }
}

impl AsyncRead for WebSocketIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.unread.is_empty() {
            if this.read.len() >= MAX_MIRRORED {
                return Poll::Ready(Err(io::Error::other(
                    "too many messages were read and not written back; choose another framing",
                )));
            }
            let Some(part) = ready!(this.receiver.poll_part(cx)).map_err(into_io)? else {
                return Poll::Ready(Ok(()));
            };
            this.remember(&part);
            this.finish_spans()?;
            this.unread = part.payload;
        }
        let n = this.unread.len().min(buf.remaining());
        buf.put_slice(&this.unread[..n]);
        this.unread.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WebSocketIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        {
            let mut driver = this.receiver.sender().shared().lock();
            if !driver.has_room() {
                ready!(driver.poll_flush(cx)).map_err(into_io)?;
            }
        }
        let (n, sent) = match this.read.front_mut() {
            Some(span) if this.framing == Framing::Mirror && span.len > 0 => {
                let n = span.len.min(buf.len());
                span.len -= n;
                let (kind, last) = (span.kind, span.ended && span.len == 0);
                if last {
                    this.read.pop_front();
                }
                (n, this.send_part(kind, &buf[..n], last))
            }
            _ => {
                let message =
                    match this.framing {
                        Framing::Text => {
                            let text = Utf8Bytes::try_from(Bytes::copy_from_slice(buf));
                            Message::Text(text.map_err(|error| {
                                io::Error::new(io::ErrorKind::InvalidData, error)
                            })?)
                        }
                        _ => Message::Binary(Bytes::copy_from_slice(buf)),
                    };
                let mut driver = this.receiver.sender().shared().lock();
                let sent = driver.queue(|connection| connection.send(&message));
                let sent = sent.map_err(|_| into_io(driver.closed_error()));
                driver.write_now();
                (buf.len(), sent)
            }
        };
        sent?;
        this.finish_spans()?;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.finish_spans()?;
        this.receiver
            .sender()
            .shared()
            .lock()
            .poll_flush(cx)
            .map_err(into_io)
    }

    /// Performs the closing handshake with 1000.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shared = self.receiver.sender().shared();
        shared
            .start_close(CloseFrame::new(CloseCode::NORMAL, ""))
            .map_err(into_io)?;
        shared.lock().poll_closed(cx).map(|_| Ok(()))
    }
}

fn into_io(error: Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::Timeout => io::ErrorKind::TimedOut,
        ErrorKind::Violation(_) => io::ErrorKind::InvalidData,
        ErrorKind::Closed(_) => io::ErrorKind::BrokenPipe,
        ErrorKind::Io => io::ErrorKind::ConnectionReset,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
