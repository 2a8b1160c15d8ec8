//! The open socket: receive, send, ping, close, by one owner or by many tasks.

use std::{
    fmt,
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use antiphon_proto::{
    close::{CloseCode, CloseFrame},
    config::{Config, DeflateConfig, Role},
    connection::{Connection, End},
    handshake::Negotiated,
    message::{Message, MessageKind, Utf8Bytes},
    sender::Prepared,
};
use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    driver::{Driver, Item, Want, many::Ahead},
    error::{Error, ErrorKind, Result, SendError},
    transport::{Io, Transport},
};

/// What the handles of one socket share.
#[derive(Debug)]
pub(crate) struct Shared {
    driver: Mutex<Driver>,
    /// We have begun to close: what was received ahead is nobody's any more.
    closing: AtomicBool,
    // Boxed: most have none, and it is in the memory of every connection.
    subprotocol: Option<Box<Arc<str>>>,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Driver> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the closing handshake: what was received and not handed out yet is nobody's any more.
    pub(crate) fn start_close(&self, close: CloseFrame) -> Result<()> {
        self.lock().start_close(close)?;
        self.closing.store(true, Relaxed);
        Ok(())
    }
}

/// An open WebSocket connection.
///
/// One owner receives; any number of tasks may send, through `&self` or a [`Sender`]. What comes is
/// read, pings are answered and deadlines kept while [`recv`](Self::recv), [`ping`](Self::ping) or
/// [`close`](Self::close) is being awaited, so a loop over `recv` is all that a connection needs to stay alive.
///
/// Dropping an open socket sends Close 1001 where that costs no waiting, and drops the connection.
///
/// ```no_run
/// # async fn example(mut socket: antiphon::WebSocket) -> antiphon::Result<()> {
/// while let Some(message) = socket.recv().await? {
///     socket.send(message).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WebSocket {
    receiver: Receiver,
}

impl WebSocket {
    /// A socket over a transport whose opening handshake is complete. `read_ahead` came behind the handshake.
    pub(crate) fn new(
        transport: impl Into<Transport>,
        role: Role,
        config: Arc<Config>,
        negotiated: Negotiated,
        deflate: Option<Arc<DeflateConfig>>,
        read_ahead: Bytes,
    ) -> Self {
        let deflate = negotiated.deflate.zip(deflate);
        let now = tokio::time::Instant::now().into_std();
        let connection = Connection::new(role, config, deflate, now);
        let driver = Driver::new(transport.into(), connection, read_ahead);
        let shared = Arc::new(Shared {
            driver: Mutex::new(driver),
            closing: AtomicBool::new(false),
            subprotocol: negotiated.subprotocol.map(Box::new),
        });
        Self {
            receiver: Receiver {
                sender: Sender { shared },
                ahead: None,
            },
        }
    }

    /// A socket over anything that reads and writes, after an opening handshake that was made elsewhere, without
    /// extensions.
    ///
    /// ```
    /// use antiphon::{Config, Role, WebSocket};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> antiphon::Result<()> {
    /// let (near, far) = tokio::io::duplex(1024);
    /// let client = WebSocket::from_io(near, Role::Client, Config::default());
    /// let mut server = WebSocket::from_io(far, Role::Server, Config::default());
    /// client.send("hello").await?;
    /// assert_eq!(server.recv().await?.unwrap().as_text(), Some("hello"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_io(
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        role: Role,
        config: Config,
    ) -> Self {
        let io: Box<dyn Io> = Box::new(io);
        Self::new(
            io,
            role,
            Arc::new(config),
            Negotiated::default(),
            None,
            Bytes::new(),
        )
    }

    /// The next message; `None` after the closing handshake ([`close_frame`](Self::close_frame) says with what code).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Violation`] where the peer broke the protocol (it has been told), [`ErrorKind::Timeout`] where it
    /// is gone, [`ErrorKind::Io`] where the connection ended without the closing handshake. After an error, `None`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a message that has arrived in part stays, and is completed by the next call.
    pub async fn recv(&mut self) -> Result<Option<Message>> {
        self.receiver.recv().await
    }

    /// Sends a message: queues it and writes it out.
    ///
    /// Inside a handler that the server runs, the messages of one turn leave in one write when the handler waits.
    ///
    /// # Errors
    ///
    /// [`SendError`] holds the message and why it was not sent, or not known to be.
    ///
    /// # Cancel safety
    ///
    /// A message is queued whole or not at all. Cancelled while it waits for room, it is not sent; cancelled
    /// afterwards, it is sent by the next operation on the socket.
    pub fn send(
        &self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<(), SendError<Message>>> {
        self.sender_ref().send(message)
    }

    /// Queues a message without writing it, waiting only while more than `write_high_water` bytes are queued.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: cancelled, the message is not queued.
    pub fn feed(
        &self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<(), SendError<Message>>> {
        self.sender_ref().feed(message)
    }

    /// Writes out everything that is queued.
    ///
    /// # Errors
    ///
    /// Why the connection ended, where it did.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn flush(&self) -> Result<()> {
        self.sender_ref().flush().await
    }

    /// Queues a message if there is room, and writes what the transport takes at once.
    ///
    /// # Errors
    ///
    /// [`SendError`] with [`ErrorKind::Full`] where more than `write_high_water` bytes wait, or why the connection
    /// ended.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError<Message>> {
        self.sender_ref().try_send(message)
    }

    /// Sends a message whose frame is made once for many connections.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub fn send_prepared(&self, prepared: &Prepared) -> impl Future<Output = Result<()>> {
        self.sender_ref().send_prepared(prepared)
    }

    /// Queues a shared frame if there is room, and writes what the transport takes at once. Room is what the `Sink`
    /// waits for in `poll_ready`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Full`] where more than `write_high_water` bytes wait, or why the connection ended.
    pub fn try_send_prepared(&self, prepared: &Prepared) -> Result<()> {
        self.sender_ref().try_send_prepared(prepared)
    }

    /// Sends a ping and waits for its pong: the round-trip time.
    ///
    /// Messages that come meanwhile are kept for [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// Why the connection ended, where it did.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ping(&self) -> Result<Duration> {
        self.sender_ref().ping().await
    }

    /// Closes the connection: sends a Close frame and waits for the peer's, at most `close_timeout`. Messages that
    /// come meanwhile are thrown away. The result is the peer's Close frame; `None` where it did not answer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Violation`] where the code must not be sent (RFC 6455 section 7.4); nothing is sent then.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, the Close frame is on its way all the same.
    pub async fn close(
        &self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<Option<CloseFrame>> {
        self.sender_ref().close(code, reason).await
    }

    /// A handle to send from other tasks.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.sender_ref().clone()
    }

    /// A handle to send and one to receive.
    #[must_use]
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender(), self.receiver)
    }

    /// The subprotocol that was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.sender_ref().subprotocol()
    }

    /// The peer's Close frame, once it has come.
    #[must_use]
    pub fn close_frame(&self) -> Option<CloseFrame> {
        self.sender_ref().close_frame()
    }

    /// Whether messages can be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.sender_ref().is_open()
    }

    /// Bytes queued and not yet written.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.sender_ref().buffered_amount()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.sender_ref().shared
    }

    pub(crate) fn receiver_mut(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    pub(crate) fn into_receiver(self) -> Receiver {
        self.receiver
    }

    pub(crate) fn sender_ref(&self) -> &Sender {
        &self.receiver.sender
    }
}

/// Yields messages until the closing handshake; after an error it ends.
impl Stream for WebSocket {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(cx).map(Result::transpose)
    }
}

impl Sink<Message> for WebSocket {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.shared().lock().poll_queue(cx, |_| Ok(())).map_ok(drop)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<()> {
        let mut driver = self.shared().lock();
        driver
            .queue(|connection| connection.send(&message))
            .map_err(|_| driver.closed_error())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.shared().lock().poll_flush(cx)
    }

    /// Closes with 1000 and waits for the peer's Close, at most `close_timeout`.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let shared = self.shared();
        shared.start_close(CloseFrame::new(CloseCode::NORMAL, ""))?;
        shared.lock().poll_closed(cx).map(|_| Ok(()))
    }
}

/// The receiving half of a socket.
#[derive(Debug)]
pub struct Receiver {
    sender: Sender,
    /// Messages that were read together with the latest one, and follow it.
    // Boxed: it is in the memory of every handler, twice.
    ahead: Option<Box<Ahead>>,
}

impl Receiver {
    /// The next message. See [`WebSocket::recv`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn recv(&mut self) -> Result<Option<Message>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// A handle to send.
    #[must_use]
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    #[inline]
    pub(crate) fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Message>>> {
        if let Some(message) = self.next_ahead() {
            return Poll::Ready(Ok(Some(message)));
        }
        let mut driver = self.sender.shared.lock();
        loop {
            match ready!(driver.poll_receive(cx, Want::Whole))? {
                Some(Item::Message(message)) => {
                    driver.take_ahead(&mut self.ahead);
                    return Poll::Ready(Ok(Some(message)));
                }
                // The rest of a message whose reader was dropped.
                Some(Item::Part { .. }) => {}
                None => return Poll::Ready(Ok(None)),
            }
        }
    }

    pub(crate) fn poll_part(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Part>>> {
        let whole = |message: Message| Part {
            kind: message.kind(),
            payload: message.into_bytes(),
            last: true,
        };
        if let Some(message) = self.next_ahead() {
            return Poll::Ready(Ok(Some(whole(message))));
        }
        let mut driver = self.sender.shared.lock();
        Poll::Ready(Ok(match ready!(driver.poll_receive(cx, Want::Parts))? {
            Some(Item::Part {
                kind,
                payload,
                last,
            }) => Some(Part {
                kind,
                payload,
                last,
            }),
            Some(Item::Message(message)) => Some(whole(message)),
            None => None,
        }))
    }

    /// Keeps messages that were received for [`next_ahead`](Self::next_ahead).
    pub(crate) fn put_ahead(&mut self, messages: impl Iterator<Item = Message>) {
        let mut messages = messages.peekable();
        if messages.peek().is_some() {
            self.ahead.get_or_insert_default().0.extend(messages);
        }
    }

    #[inline]
    pub(crate) fn next_ahead(&mut self) -> Option<Message> {
        let ahead = self.ahead.as_mut()?;
        let message = ahead.0.pop_front()?;
        if ahead.0.is_empty() {
            self.ahead = None;
        }
        if self.sender.shared.closing.load(Relaxed) {
            self.ahead = None;
            return None;
        }
        Some(message)
    }

    pub(crate) fn skip_message(&self) {
        self.sender.shared.lock().skip_message();
    }
}

/// Yields messages until the closing handshake; after an error it ends.
impl Stream for Receiver {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
    }
}

/// A piece of a message.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) kind: MessageKind,
    pub(crate) payload: Bytes,
    pub(crate) last: bool,
}

/// A handle to send from any task. Cloning is cheap.
///
/// ```no_run
/// # async fn example(mut socket: antiphon::WebSocket) -> antiphon::Result<()> {
/// let sender = socket.sender();
/// tokio::spawn(async move { sender.send("from another task").await });
/// while let Some(message) = socket.recv().await? {
///     println!("{message:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Sender {
    shared: Arc<Shared>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("subprotocol", &self.shared.subprotocol)
            .finish_non_exhaustive()
    }
}

impl Sender {
    /// Sends a message. See [`WebSocket::send`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`].
    ///
    /// # Cancel safety
    ///
    /// As [`WebSocket::send`].
    pub fn send(
        &self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<(), SendError<Message>>> {
        Outgoing::<true> {
            shared: &self.shared,
            message: message.into(),
            position: 0,
        }
    }

    /// Queues a message without writing it. See [`WebSocket::feed`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub fn feed(
        &self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<(), SendError<Message>>> {
        Outgoing::<false> {
            shared: &self.shared,
            message: message.into(),
            position: 0,
        }
    }

    /// Writes out everything that is queued.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::flush`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn flush(&self) -> Result<()> {
        poll_fn(|cx| self.shared.lock().poll_flush(cx)).await
    }

    /// Queues a message if there is room. See [`WebSocket::try_send`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::try_send`].
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError<Message>> {
        let message = message.into();
        match self.queue_now(|connection| connection.send(&message)) {
            Ok(()) => Ok(()),
            Err(error) => Err(SendError { message, error }),
        }
    }

    /// Sends a message whose frame is made once for many connections.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::flush`].
    ///
    /// # Cancel safety
    ///
    /// As [`WebSocket::send`].
    pub async fn send_prepared(&self, prepared: &Prepared) -> Result<()> {
        let mut position = None;
        poll_fn(|cx| {
            let mut driver = self.shared.lock();
            let position = match position {
                Some(position) => position,
                None => *position.insert(ready!(
                    driver.poll_queue(cx, |connection| connection.send_prepared(prepared))
                )?),
            };
            driver.poll_written(cx, position)
        })
        .await
    }

    /// Queues a shared frame if there is room. See [`WebSocket::try_send_prepared`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::try_send_prepared`].
    pub fn try_send_prepared(&self, prepared: &Prepared) -> Result<()> {
        self.queue_now(|connection| connection.send_prepared(prepared))
    }

    /// Sends a ping and waits for its pong. See [`WebSocket::ping`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::ping`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ping(&self) -> Result<Duration> {
        let id = self.shared.lock().ping()?;
        poll_fn(|cx| self.shared.lock().poll_pong(cx, id)).await
    }

    /// Closes the connection. See [`WebSocket::close`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::close`].
    ///
    /// # Cancel safety
    ///
    /// As [`WebSocket::close`].
    pub async fn close(
        &self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<Option<CloseFrame>> {
        self.shared.start_close(CloseFrame::new(code, reason))?;
        Ok(poll_fn(|cx| self.shared.lock().poll_closed(cx)).await)
    }

    /// The subprotocol that was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.shared.subprotocol.as_deref().map(|name| &**name)
    }

    /// The peer's Close frame, once it has come.
    #[must_use]
    pub fn close_frame(&self) -> Option<CloseFrame> {
        match self.shared.lock().connection().end() {
            Some(End::Clean(close)) => Some(close.clone()),
            _ => None,
        }
    }

    /// Whether messages can be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shared.lock().connection().is_open()
    }

    /// Bytes queued and not yet written.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.shared.lock().connection().buffered()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Queues if there is room, and writes what the transport takes at once.
    fn queue_now(
        &self,
        queue: impl FnOnce(&mut Connection) -> Result<(), antiphon_proto::connection::Refused>,
    ) -> Result<()> {
        let mut driver = self.shared.lock();
        if driver.has_room() {
            match driver.queue(queue) {
                Ok(()) => {
                    driver.write_now();
                    Ok(())
                }
                Err(antiphon_proto::connection::Refused::InsideMessage) => Err(Error::new(
                    ErrorKind::Full,
                    "another message is being sent in parts",
                )),
                Err(_) => Err(driver.closed_error()),
            }
        } else if driver.connection().is_open() {
            Err(Error::new(
                ErrorKind::Full,
                "too much output waits for the peer to read",
            ))
        } else {
            Err(driver.closed_error())
        }
    }
}

/// A message that is being sent, or only queued. Written out: `async` functions inside of each other would hold the
/// message several times, and this is in the memory of every handler that answers.
struct Outgoing<'a, const WRITE: bool> {
    shared: &'a Shared,
    message: Message,
    /// How far the output must be written; 0 while the message is not queued.
    position: u64,
}

impl<const WRITE: bool> Future for Outgoing<'_, WRITE> {
    type Output = Result<(), SendError<Message>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut driver = this.shared.lock();
        if WRITE && this.position == 0 && driver.queue_in_turn(&this.message) {
            return Poll::Ready(Ok(()));
        }
        let queued = if this.position == 0 {
            let message = &this.message;
            ready!(driver.poll_queue(cx, |connection| connection.send(message)))
                .map(|position| this.position = position)
        } else {
            Ok(())
        };
        let sent = match queued {
            Ok(()) if WRITE => ready!(driver.poll_written(cx, this.position)),
            queued => queued,
        };
        Poll::Ready(sent.map_err(|error| SendError {
            message: mem::replace(&mut this.message, Message::Binary(Bytes::new())),
            error,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_go_anywhere() {
        fn anywhere<T: Send + Sync + 'static>() {}
        anywhere::<WebSocket>();
        anywhere::<Sender>();
        anywhere::<Receiver>();
        anywhere::<Error>();
    }
}
