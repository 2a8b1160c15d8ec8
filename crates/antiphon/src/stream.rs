//! Messages of any size, read and written in parts that never stand in memory together.

use std::{future::poll_fn, task::ready};

use antiphon_proto::{
    close::{CloseCode, CloseFrame},
    connection::Connection,
    message::MessageKind,
    utf8::Validator,
};
use bytes::Bytes;

use crate::{
    error::{Error, ErrorKind, Result},
    socket::{Part, Receiver, Sender, WebSocket},
};

impl WebSocket {
    /// The next message as a stream of its parts, for messages of any size; `None` after the closing handshake.
    /// `max_message_size` does not apply.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is lost. A reader that is dropped before the end throws the rest of its message away.
    ///
    /// ```no_run
    /// # async fn example(mut socket: antiphon::WebSocket) -> antiphon::Result<()> {
    /// if let Some(mut reader) = socket.recv_stream().await? {
    ///     let mut total = 0;
    ///     while let Some(part) = reader.chunk().await? {
    ///         total += part.len();
    ///     }
    ///     println!("{total} bytes");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn recv_stream(&mut self) -> Result<Option<MessageReader<'_>>> {
        self.receiver_mut().recv_stream().await
    }

    /// Begins a message of any size that is sent in parts. Until it is finished, other messages wait.
    ///
    /// # Errors
    ///
    /// Why the connection ended, where it did.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. A writer that is dropped unfinished closes the connection with 1011, for its message cannot be
    /// taken back.
    ///
    /// ```no_run
    /// # async fn example(socket: antiphon::WebSocket) -> antiphon::Result<()> {
    /// let mut writer = socket.send_stream(antiphon::MessageKind::Binary).await?;
    /// writer.write(&[0; 4096]).await?;
    /// writer.write(&[1; 4096]).await?;
    /// writer.finish().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_stream(&self, kind: MessageKind) -> Result<MessageWriter> {
        self.sender_ref().send_stream(kind).await
    }
}

impl Receiver {
    /// The next message as a stream of its parts. See [`WebSocket::recv_stream`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn recv_stream(&mut self) -> Result<Option<MessageReader<'_>>> {
        match poll_fn(|cx| self.poll_part(cx)).await? {
            Some(first) => Ok(Some(MessageReader::new(self, first))),
            None => Ok(None),
        }
    }
}

impl Sender {
    /// Begins a message that is sent in parts. See [`WebSocket::send_stream`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send_stream`].
    ///
    /// # Cancel safety
    ///
    /// As [`WebSocket::send_stream`].
    pub async fn send_stream(&self, kind: MessageKind) -> Result<MessageWriter> {
        poll_fn(|cx| self.shared().lock().poll_queue(cx, Connection::begin_parts)).await?;
        Ok(MessageWriter::new(self.clone(), kind))
    }
}

/// Reads one message part by part, made by [`WebSocket::recv_stream`](crate::WebSocket::recv_stream).
///
/// Dropped before the end, it throws the rest of the message away.
#[derive(Debug)]
pub struct MessageReader<'a> {
    receiver: &'a mut Receiver,
    kind: MessageKind,
    next: Option<Bytes>,
    ended: bool,
}

impl<'a> MessageReader<'a> {
    pub(crate) fn new(receiver: &'a mut Receiver, first: Part) -> Self {
        Self {
            receiver,
            kind: first.kind,
            next: Some(first.payload),
            ended: first.last,
        }
    }

    /// Text or binary.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The next part; `None` at the end of the message. A part of a text may end inside a character; the text as a
    /// whole has been checked when the end is reached.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`](crate::WebSocket::recv); a connection that ends inside the message is an error.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.next.take() {
                Some(part) if !part.is_empty() => return Ok(Some(part)),
                _ if self.ended => return Ok(None),
                _ => {}
            }
            let part = poll_fn(|cx| self.receiver.poll_part(cx)).await;
            let Some(part) = part.inspect_err(|_| self.ended = true)? else {
                self.ended = true;
                return Err(Error::new(
                    ErrorKind::Closed(self.receiver.sender().close_frame()),
                    "the connection was closed inside a message",
                ));
            };
            self.ended = part.last;
            self.next = Some(part.payload);
        }
    }
}

impl Drop for MessageReader<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.receiver.skip_message();
        }
    }
}

/// Writes one message part by part, made by [`WebSocket::send_stream`](crate::WebSocket::send_stream).
///
/// Dropped unfinished, it closes the connection with 1011: the peer has seen the beginning of a message that will
/// never end.
#[derive(Debug)]
pub struct MessageWriter {
    sender: Sender,
    kind: MessageKind,
    validator: Validator,
    finished: bool,
}

impl MessageWriter {
    pub(crate) fn new(sender: Sender, kind: MessageKind) -> Self {
        Self {
            sender,
            kind,
            validator: Validator::default(),
            finished: false,
        }
    }

    /// Sends the next part and waits while the peer reads slowly. A part of a text may end inside a character.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] where a text message would not be UTF-8; nothing is sent then. Else, why the connection
    /// ended.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a cancelled part may or may not have been sent. Drop the writer then.
    pub async fn write(&mut self, part: &[u8]) -> Result<()> {
        if self.kind == MessageKind::Text && !self.validator.push(part) {
            return Err(Error::new(
                ErrorKind::Config,
                "a text message must be valid UTF-8",
            ));
        }
        self.send_part(part, false).await
    }

    /// Ends the message.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// As [`write`](Self::write).
    pub async fn finish(mut self) -> Result<()> {
        if self.kind == MessageKind::Text && !self.validator.finish() {
            return Err(Error::new(
                ErrorKind::Config,
                "a text message must not end inside a character",
            ));
        }
        self.send_part(&[], true).await
    }

    async fn send_part(&mut self, part: &[u8], last: bool) -> Result<()> {
        let mut queued = false;
        let Self {
            sender,
            kind,
            finished,
            ..
        } = self;
        poll_fn(|cx| {
            let mut driver = sender.shared().lock();
            if !queued {
                if !driver.has_room() {
                    ready!(driver.poll_flush(cx))?;
                }
                let sent = driver.queue(|connection| connection.send_part(*kind, part, last));
                sent.map_err(|_| driver.closed_error())?;
                queued = true;
                if last {
                    *finished = true;
                    // Other messages have waited for this one to end.
                    driver.wake_all();
                }
            }
            driver.poll_flush(cx)
        })
        .await
    }
}

impl Drop for MessageWriter {
    fn drop(&mut self) {
        if !self.finished {
            let close = CloseFrame::new(CloseCode::INTERNAL_ERROR, "a message was abandoned");
            // Fails only where the code cannot be sent, and this one can.
            let _ = self.sender.shared().start_close(close);
        }
    }
}
