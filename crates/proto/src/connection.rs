//! The whole protocol of one open connection: bytes in, events out, bytes out, deadline out. (It is long because each of
//! its methods changes the one state that the others read.)

use std::{
    io::IoSlice,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BufMut;
use thiserror::Error;

pub use crate::receiver::{Input, Payload};
use crate::{
    close::{CloseCode, CloseFrame},
    config::{Config, DeflateConfig, DeflateParams, Role},
    error::Violation,
    frame::{MAX_CONTROL, Opcode},
    message::{Message, MessageKind, MessageRef},
    receiver::{self, Received, Receiver},
    sender::{Batch, Output, Prepared, Sender},
};

/// Unsent output up to which each ping is answered; beyond it only the latest ping is remembered.
const PONG_BACKLOG: usize = 4 * 1024;

/// Pings that may wait for their pongs.
const MAX_PINGS: usize = 8;

/// Slowest rate, in bytes a second, at which a message may arrive beyond `message_timeout`.
const MIN_MESSAGE_RATE: u64 = 1024;

/// What happened on the connection.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A whole message. [`Event::into_message`] makes it the application's own.
    Message(MessageKind, Payload<'a>),
    /// A part of a message, after [`Connection::deliver_parts`].
    Part {
        /// Text or binary. A part of a text may end inside a character.
        kind: MessageKind,
        /// The bytes of this part.
        payload: Payload<'a>,
        /// Whether the message ends here.
        last: bool,
    },
    /// A ping came; the pong is already queued.
    Ping(Payload<'a>),
    /// A pong came; where it answers a ping of ours, that one's number and round-trip time.
    Pong(Option<(PingId, Duration)>),
    /// The peer's Close frame; where it came first, the answer is already queued.
    Close(CloseFrame),
}

impl Event<'_> {
    /// The message, where this is one.
    #[must_use]
    pub fn into_message(self) -> Option<Message> {
        match self {
            Self::Message(kind, payload) => Some(receiver::message(kind, payload)),
            _ => None,
        }
    }
}

/// Names a ping, to recognise its pong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PingId(u32);

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Both sides sent a Close frame. This is the peer's.
    Clean(CloseFrame),
    /// The peer broke the protocol or crossed a bound; it was sent the violation's close code.
    Violation(Violation),
    /// No byte came within `pong_timeout` of a ping.
    PongTimeout,
    /// The peer took no byte for `write_timeout`.
    WriteTimeout,
    /// The peer did not answer our Close within `close_timeout`.
    CloseTimeout,
    /// The transport ended without the closing handshake (RFC 6455 section 7.1.5: close code 1006).
    Eof,
}

/// A message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// A Close frame was sent or received, or the connection failed.
    #[error("the connection is closing")]
    Closing,
    /// Another message is being sent in parts.
    #[error("another message is being sent in parts")]
    InsideMessage,
}

#[derive(Debug)]
enum State {
    Open,
    /// Our Close is queued; the peer's has not come. Its data is discarded, its pings are answered.
    Closing {
        deadline: Option<Instant>,
    },
    /// Nothing more is read or sent but what is queued.
    // Boxed: most connections are open, and this is larger than all that they need.
    Ended(Box<Ended>),
}

#[derive(Debug)]
struct Ended {
    end: End,
    /// Bounds the wait for the peer to hang up.
    deadline: Option<Instant>,
}

/// Since when a message is under way, or the rest of one whose beginning has been handed out.
#[derive(Clone, Copy, Debug)]
struct Began {
    at: Instant,
    /// Bytes of the message that had come before.
    wire: u64,
}

/// A keep-alive ping. The peer's time to answer runs from when the ping has been written.
#[derive(Clone, Copy, Debug)]
enum Probe {
    /// `left` bytes of output are to be written until the ping is. The write timeout guards meanwhile.
    Queued {
        at: Instant,
        left: usize,
    },
    Sent(Instant),
}

/// An open WebSocket connection, either role, without I/O, clock or runtime.
///
/// Its methods are of four kinds, to be called in this order whenever something happens:
///
/// 1. [`handle_input`](Self::handle_input), [`handle_eof`](Self::handle_eof) and
///    [`handle_deadline`](Self::handle_deadline) tell it what happened,
/// 2. commands ([`send`](Self::send), [`ping`](Self::ping), [`close`](Self::close), ...) tell it what the application
///    wants,
/// 3. [`output`](Self::output) and [`advance_output`](Self::advance_output) drain what is to be written, and
/// 4. [`poll_deadline`](Self::poll_deadline) and [`end`](Self::end) say when to come back, and whether at all.
///
/// Time is an argument: the same code runs over a socket, in virtual time and under a fuzzer.
///
/// ```
/// use std::{sync::Arc, time::Instant};
/// use antiphon_proto::{config::{Config, Role}, connection::{Connection, Input}};
///
/// let now = Instant::now();
/// let mut server = Connection::new(Role::Server, Arc::new(Config::default()), None, now);
/// let mut client = Connection::new(Role::Client, Arc::new(Config::default()), None, now);
///
/// client.send(&"hello".into())?;
/// let mut wire = client.take_output(now);
/// let message = server.handle_input(now, &mut Input::new(&mut wire))?.unwrap().into_message();
/// assert_eq!(message.unwrap().as_text(), Some("hello"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Connection {
    role: Role,
    config: Arc<Config>,
    state: State,
    receiver: Receiver,
    sender: Sender,
    output: Output,
    close_sent: bool,
    eof: bool,
    last_input: Instant,
    last_data: Instant,
    /// A message was queued at a time that is not known yet.
    data_queued: bool,
    /// Nothing, where the connection is calm.
    unrest: Option<Box<Unrest>>,
    next_ping: u32,
    control: Option<Box<Control>>,
}

/// What is half received, not yet written, or awaited. Boxed, for most connections are idle.
#[derive(Debug, Default)]
struct Unrest {
    message_began: Option<Began>,
    /// Since when the peer has taken nothing of the output.
    stalled_since: Option<Instant>,
    /// The keep-alive ping that waits for any byte.
    probe: Option<Probe>,
}

/// What only pings and pongs need: made by the first of them.
#[derive(Debug)]
struct Control {
    /// The latest ping that is not answered yet because too much output waits.
    unsent_pong: Option<Vec<u8>>,
    pings: Vec<(PingId, Instant)>,
    /// Control frames that may still come before the flood limit, in thousandths.
    tokens: u64,
    refilled: Instant,
}

impl Connection {
    /// A connection whose opening handshake is complete.
    ///
    /// `deflate` holds the negotiated parameters of permessage-deflate and how to apply them.
    #[must_use]
    pub fn new(
        role: Role,
        config: Arc<Config>,
        deflate: Option<(DeflateParams, Arc<DeflateConfig>)>,
        now: Instant,
    ) -> Self {
        Self {
            role,
            state: State::Open,
            receiver: Receiver::new(
                role,
                deflate
                    .as_ref()
                    .map(|(params, config)| (*params, &**config)),
            ),
            sender: Sender::new(role, deflate),
            output: Output::default(),
            close_sent: false,
            eof: false,
            last_input: now,
            last_data: now,
            data_queued: false,
            unrest: None,
            next_ping: 0,
            control: None,
            config,
        }
    }

    // What the connection is.

    /// Which end this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The bounds in force.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Whether messages can be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// When bytes came last, or the connection began.
    #[must_use]
    #[inline]
    pub fn last_input(&self) -> Instant {
        self.last_input
    }

    /// Whether a message is being sent in parts.
    #[must_use]
    pub fn inside_message(&self) -> bool {
        self.sender.inside_message()
    }

    /// Whether nothing of a frame or a message has come that is not complete.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.receiver.is_between_messages()
    }

    /// Bytes queued and not yet written.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.output.len()
    }

    /// How the connection ended. What is queued should still be written, until [`is_finished`](Self::is_finished).
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        match &self.state {
            State::Ended(ended) => Some(&ended.end),
            _ => None,
        }
    }

    /// Whether the transport can be dropped without cutting off a Close frame on its way to the peer.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        use End::{CloseTimeout, Eof, PongTimeout, WriteTimeout};
        let State::Ended(ended) = &self.state else {
            return false;
        };
        let hopeless = matches!(ended.end, PongTimeout | WriteTimeout | CloseTimeout | Eof);
        hopeless || self.eof || (self.finishes_with_output() && self.output.len() == 0)
    }

    /// Whether the transport can be dropped as soon as the output is written: nothing is waited for behind it.
    #[must_use]
    pub fn finishes_with_output(&self) -> bool {
        // RFC 6455 section 7.1.1: the server closes the TCP connection first, the client waits for that.
        let clean =
            matches!(&self.state, State::Ended(ended) if matches!(ended.end, End::Clean(_)));
        clean && self.role == Role::Server
    }

    /// Whether everything has been said and only the peer's hanging up is awaited: the time to shut down writing.
    #[must_use]
    pub fn wants_shutdown(&self) -> bool {
        matches!(self.state, State::Ended(_)) && self.output.len() == 0
    }

    // What happened.

    /// Takes bytes that were read, until an event or the end of the input. Call again while input remains.
    ///
    /// After the end, and while closing, what comes is discarded.
    ///
    /// # Errors
    ///
    /// The [`Violation`] that the bytes prove. The Close frame that answers it is queued, and no more input is taken.
    pub fn handle_input<'a>(
        &mut self,
        now: Instant,
        input: &mut Input<'a>,
    ) -> Result<Option<Event<'a>>, Violation> {
        if input.is_empty() {
            return Ok(None);
        }
        self.heard(now);
        if let Some(whole) = self.take_whole(now, input) {
            let payload = Payload::Borrowed(whole.as_bytes());
            return Ok(Some(Event::Message(whole.kind(), payload)));
        }
        loop {
            if matches!(self.state, State::Ended(_)) {
                input.discard();
                return Ok(None);
            }
            let received = match self.receiver.receive(input, &self.config) {
                Ok(received) => received,
                Err(violation) => return self.fail(now, violation, input),
            };
            self.note_message(now, received.as_ref());
            let Some(received) = received else {
                return Ok(None);
            };
            match received {
                Received::Message(..) | Received::Part { .. } if !self.is_open() => {}
                Received::Message(kind, payload) => {
                    self.last_data = now;
                    return Ok(Some(Event::Message(kind, payload)));
                }
                Received::Part {
                    kind,
                    payload,
                    last,
                } => {
                    self.last_data = now;
                    return Ok(Some(Event::Part {
                        kind,
                        payload,
                        last,
                    }));
                }
                Received::Ping(payload) => {
                    if !self.take_control_token(now) {
                        return self.fail(now, Violation::ControlFlood, input);
                    }
                    self.answer_ping(now, payload.as_bytes());
                    return Ok(Some(Event::Ping(payload)));
                }
                Received::Pong(payload) => {
                    if !self.take_control_token(now) {
                        return self.fail(now, Violation::ControlFlood, input);
                    }
                    return Ok(Some(Event::Pong(self.match_pong(now, payload.as_bytes()))));
                }
                Received::Close(close) => {
                    input.discard();
                    if !self.close_sent {
                        // RFC 6455 section 5.5.1: the answer echoes the status code.
                        let answer = CloseFrame {
                            code: close.code,
                            reason: Default::default(),
                        };
                        self.queue_close(&answer);
                    }
                    self.finish(now, End::Clean(close.clone()));
                    return Ok(Some(Event::Close(close)));
                }
            }
        }
    }

    /// The next message, where it stands whole, in one frame and uncompressed at the front of the input: the common case,
    /// without the cost of the others. `None` leaves the input as it is, for [`handle_input`](Self::handle_input).
    ///
    /// ```
    /// # use std::{sync::Arc, time::Instant};
    /// # use antiphon_proto::{config::{Config, Role}, connection::{Connection, Input}};
    /// # let now = Instant::now();
    /// # let mut server = Connection::new(Role::Server, Arc::new(Config::default()), None, now);
    /// let mut wire = *b"\x81\x82\0\0\0\0hi\x89\x80\0\0\0\0";
    /// let mut input = Input::new(&mut wire);
    /// assert_eq!(server.take_whole(now, &mut input), Some("hi".into()));
    /// assert_eq!(server.take_whole(now, &mut input), None, "a ping is no message");
    /// assert_eq!(input.remaining().len(), 6);
    /// ```
    #[inline]
    pub fn take_whole<'a>(
        &mut self,
        now: Instant,
        input: &mut Input<'a>,
    ) -> Option<MessageRef<'a>> {
        if !self.is_open() {
            return None;
        }
        let whole = self.receiver.receive_whole(input, &self.config)?;
        self.heard(now);
        self.last_data = now;
        Some(MessageRef::new(whole.0, whole.1))
    }

    /// How many bytes the next message is likely to take with its header, where it is likely to be a long one: then there is
    /// [`room`](Self::room) for it.
    #[must_use]
    #[inline]
    pub fn expected(&self) -> Option<usize> {
        self.receiver.expected().filter(|_| self.is_open())
    }

    /// Memory for what is to come next, where that belongs to a long message, or is [expected](Self::expected) to: a shell
    /// may read into it instead of into a buffer of its own. Before anything else it has to call
    /// [`handle_room`](Self::handle_room), or [`leave_room`](Self::leave_room) where nothing was read. Without such a
    /// message, `None`.
    ///
    /// It is at most 1 MiB. Of a message that has begun it is never more than 15 times what has come of it. For one that has
    /// not begun memory is reserved only now: a shell asks once there is something to read.
    pub fn room(&mut self) -> Option<impl BufMut + '_> {
        self.is_open().then_some(())?;
        self.receiver.room()
    }

    /// Nothing has been read into the [`room`](Self::room).
    pub fn leave_room(&mut self) {
        self.receiver.leave_room();
    }

    /// Takes the bytes that have been read into the [`room`](Self::room): at most one event is in them. What is not of the
    /// message is appended to `rest`, for [`handle_input`](Self::handle_input).
    ///
    /// # Errors
    ///
    /// As [`handle_input`](Self::handle_input).
    pub fn handle_room(
        &mut self,
        now: Instant,
        rest: &mut Vec<u8>,
    ) -> Result<Option<Event<'static>>, Violation> {
        self.heard(now);
        let received = match self.receiver.receive_room(&self.config, rest) {
            Ok(received) => received,
            Err(violation) => return self.fail(now, violation, &mut Input::new(&mut [])),
        };
        self.note_message(now, received.as_ref());
        let Some(Received::Message(kind, payload)) = received else {
            return Ok(None);
        };
        self.last_data = now;
        Ok(Some(Event::Message(kind, payload)))
    }

    /// After every event, for the next bytes may never come: since when a message is under way.
    fn note_message(&mut self, now: Instant, received: Option<&Received<'_>>) {
        let Some(wire) = self.receiver.under_way() else {
            return self.calm(|unrest| unrest.message_began = None);
        };
        let anew = Began { at: now, wire };
        let unrest = self.unrest.get_or_insert_default();
        unrest.message_began = Some(match (received, unrest.message_began) {
            (Some(Received::Part { .. }), _) => anew,
            (_, began) => began.unwrap_or(Began { wire: 0, ..anew }),
        });
    }

    /// Bytes have come that are not taken yet, because the application does not read: the peer is alive all the same.
    pub fn handle_unread(&mut self, now: Instant) {
        self.heard(now);
    }

    /// The transport has ended: nothing more will come.
    pub fn handle_eof(&mut self, now: Instant) {
        self.eof = true;
        if !matches!(self.state, State::Ended(_)) {
            self.finish(now, End::Eof);
        }
    }

    /// A deadline has passed: sends the ping that is due, or ends a connection that is dead.
    ///
    /// Calling it early or often is harmless.
    pub fn handle_deadline(&mut self, now: Instant) {
        if self
            .stall_deadline()
            .is_some_and(|deadline| now >= deadline)
        {
            // The peer takes nothing, so nothing more can be told.
            return self.finish(now, End::WriteTimeout);
        }
        match self.state {
            State::Open => {}
            State::Closing { deadline } => {
                if deadline.is_some_and(|deadline| now >= deadline) {
                    self.finish(now, End::CloseTimeout);
                }
                return;
            }
            State::Ended(ref ended) => {
                let is_late = |deadline| now >= deadline;
                self.eof |= ended.deadline.is_some_and(is_late);
                return;
            }
        }
        self.note_sent_data(now);
        if self
            .message_deadline()
            .is_some_and(|deadline| now >= deadline)
        {
            let violation = Violation::MessageTimeout;
            self.queue_close(&CloseFrame::new(
                violation.close_code(),
                violation.to_string(),
            ));
            return self.finish(now, End::Violation(violation));
        }
        if self.idle_deadline().is_some_and(|deadline| now >= deadline) {
            let _ = self.close(
                now,
                CloseFrame::new(CloseCode::GOING_AWAY, "idle for too long"),
            );
            return;
        }
        if self.probe_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.probe().is_some() {
            self.queue_close(&CloseFrame::new(CloseCode::GOING_AWAY, "no pong in time"));
            self.finish(now, End::PongTimeout);
        } else {
            self.queue_ping(now);
            let left = self.output.len();
            self.unrest.get_or_insert_default().probe = Some(Probe::Queued { at: now, left });
        }
    }

    // What the application wants.

    /// Queues a message.
    ///
    /// # Errors
    ///
    /// [`Refused`] where no message may be sent now.
    pub fn send(&mut self, message: &Message) -> Result<(), Refused> {
        self.may_send()?;
        self.sender.message(message, &mut self.output);
        self.data_queued = true;
        Ok(())
    }

    /// Queues a message whose frame is shared with other connections.
    ///
    /// # Errors
    ///
    /// [`Refused`] where no message may be sent now.
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), Refused> {
        self.may_send()?;
        self.sender.prepared(prepared, &mut self.output);
        self.data_queued = true;
        Ok(())
    }

    /// A batch of messages for this connection.
    #[must_use]
    pub fn batch(&self) -> Batch {
        self.sender.batch()
    }

    /// Queues the messages of a batch that [`batch`](Self::batch) gave. The batch is empty afterwards, and can be filled
    /// anew.
    ///
    /// # Errors
    ///
    /// [`Refused`] where no message may be sent now; the batch is as it was.
    pub fn send_batch(&mut self, batch: &mut Batch) -> Result<(), Refused> {
        self.may_send()?;
        self.sender.send_batch(batch, &mut self.output);
        self.data_queued = true;
        Ok(())
    }

    /// The bytes of a batch, to be written without being queued: where they may be sent as they are, and nothing is
    /// queued before them. What was written is told to [`wrote_batch`](Self::wrote_batch).
    #[must_use]
    pub fn batch_output<'a>(&self, batch: &'a Batch) -> Option<&'a [u8]> {
        if self.may_send().is_err() || self.output.len() > 0 {
            return None;
        }
        self.sender.frames(batch)
    }

    /// The first `written` bytes of what [`batch_output`](Self::batch_output) gave have been written. The others are
    /// queued, and the batch is empty.
    pub fn wrote_batch(&mut self, now: Instant, batch: &mut Batch, written: usize) {
        Sender::queue_rest(batch, written, &mut self.output);
        self.data_queued = true;
        self.note_sent_data(now);
        if self.output.len() > 0 {
            self.unrest.get_or_insert_default().stalled_since = Some(now);
        }
    }

    /// Whether the [frames](Prepared::frame) of prepared messages may be written past the output: they are sent as they
    /// are, and nothing is queued before them. What was written is told to [`wrote_frames`](Self::wrote_frames).
    #[must_use]
    pub fn takes_frames(&self) -> bool {
        self.output.len() == 0 && self.sender.is_plain() && self.may_send().is_ok()
    }

    /// Frames of prepared messages have been written past the output, all but `rest`, which is queued.
    pub fn wrote_frames(&mut self, now: Instant, rest: &[u8]) {
        if self.config.idle_timeout.is_some() {
            self.last_data = now;
        }
        if !rest.is_empty() {
            Sender::queue_bytes(rest, &mut self.output);
            self.unrest.get_or_insert_default().stalled_since = Some(now);
        }
    }

    /// Begins a message that is sent in parts; until its last part no other message can be sent.
    ///
    /// # Errors
    ///
    /// [`Refused`] where no message may be sent now.
    pub fn begin_parts(&mut self) -> Result<(), Refused> {
        self.may_send()?;
        self.sender.begin_parts();
        Ok(())
    }

    /// Queues the next part of the message begun with [`begin_parts`](Self::begin_parts), always of the same `kind`.
    /// An empty part that is not the last is not sent.
    ///
    /// # Errors
    ///
    /// [`Refused::Closing`] where the connection has ended or is closing, or no message was begun.
    pub fn send_part(
        &mut self,
        kind: MessageKind,
        payload: &[u8],
        last: bool,
    ) -> Result<(), Refused> {
        if !self.is_open() || !self.sender.inside_message() {
            return Err(Refused::Closing);
        }
        if last || !payload.is_empty() {
            self.sender.part(kind, payload, last, &mut self.output);
            self.data_queued = true;
        }
        Ok(())
    }

    /// Queues a ping. Its pong comes as [`Event::Pong`] with the same id.
    ///
    /// # Errors
    ///
    /// [`Refused::Closing`] where the connection has ended or is closing.
    pub fn ping(&mut self, now: Instant) -> Result<PingId, Refused> {
        if !self.is_open() {
            return Err(Refused::Closing);
        }
        Ok(self.queue_ping(now))
    }

    /// Begins the closing handshake. Messages that come afterwards are discarded.
    ///
    /// A second call changes nothing.
    ///
    /// # Errors
    ///
    /// [`Violation::CloseCodeInvalid`] for a code that must not be sent (RFC 6455 section 7.4).
    pub fn close(&mut self, now: Instant, close: CloseFrame) -> Result<(), Violation> {
        if !close.code.is_sendable() && close.code != CloseCode::NO_STATUS {
            return Err(Violation::CloseCodeInvalid(close.code.get()));
        }
        if self.is_open() {
            self.queue_close(&close);
            self.state = State::Closing {
                deadline: now.checked_add(self.config.close_timeout),
            };
        }
        Ok(())
    }

    /// Says whether messages come whole (the default) or as [`Event::Part`]s as they arrive, without any limit on their
    /// size. Parts begin with the next byte, also inside a message; whole messages, with the next message.
    ///
    /// In parts, `max_fragments` counts empty fragments in a row, and `message_timeout` runs anew from each part.
    pub fn deliver_parts(&mut self, parts: bool) {
        self.receiver.set_parts(parts);
    }

    // What is to be done.

    /// Fills `slices` with the bytes to be written next, for a vectored write; returns how many slices were filled.
    #[must_use]
    pub fn output<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.output.slices(slices)
    }

    /// `written` bytes of the output have been written; 0 says that the transport takes none now.
    pub fn advance_output(&mut self, now: Instant, written: usize) {
        self.note_sent_data(now);
        self.output.advance(written);
        if let Some(unrest) = &mut self.unrest
            && let Some(Probe::Queued { at, left }) = unrest.probe
        {
            unrest.probe = Some(match left.saturating_sub(written) {
                // A shell may bring the time at which it began to work.
                0 => Probe::Sent(now.max(at)),
                left => Probe::Queued { at, left },
            });
        }
        if self.output.len() <= PONG_BACKLOG {
            self.send_late_pong();
        }
        if self.output.len() == 0 {
            self.calm(|unrest| unrest.stalled_since = None);
        } else {
            let unrest = self.unrest.get_or_insert_default();
            if written > 0 || unrest.stalled_since.is_none() {
                unrest.stalled_since = Some(now);
            }
        }
    }

    /// All output at once, for shells that write by themselves, and for tests.
    pub fn take_output(&mut self, now: Instant) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.output.len());
        while self.output.len() > 0 {
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = self.output(&mut slices);
            let written: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
            for slice in &slices[..filled] {
                bytes.extend_from_slice(slice);
            }
            self.advance_output(now, written);
        }
        bytes
    }

    /// When [`handle_deadline`](Self::handle_deadline) is to be called next. `None`: not before something else happens.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Instant> {
        let first = |a: Option<Instant>, b: Option<Instant>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let by_state = match self.state {
            State::Open => first(
                first(self.probe_deadline(), self.idle_deadline()),
                self.message_deadline(),
            ),
            State::Ended(_) if self.is_finished() => None,
            State::Ended(ref ended) => ended.deadline,
            State::Closing { deadline } => deadline,
        };
        first(by_state, self.stall_deadline())
    }

    /// Whether no deadline is due but those that each byte and message puts off: nothing is half received, not yet
    /// written, or awaited. [`poll_deadline`](Self::poll_deadline) of a calm connection never comes nearer, however many
    /// messages come and go while nobody looks.
    #[must_use]
    #[inline]
    pub fn is_calm(&self) -> bool {
        matches!(self.state, State::Open) && self.unrest.is_none()
    }

    /// Bytes have come: the peer is alive.
    #[inline]
    fn heard(&mut self, now: Instant) {
        self.last_input = now;
        self.calm(|unrest| unrest.probe = None);
    }

    /// Takes something away from what keeps the connection from being calm.
    #[inline]
    fn calm(&mut self, change: impl FnOnce(&mut Unrest)) {
        if let Some(unrest) = &mut self.unrest {
            change(unrest);
            let Unrest {
                message_began: None,
                stalled_since: None,
                probe: None,
            } = **unrest
            else {
                return;
            };
            self.unrest = None;
        }
    }

    fn probe(&self) -> Option<Probe> {
        self.unrest.as_ref()?.probe
    }

    /// When the next ping is due, or its pong is missed.
    fn probe_deadline(&self) -> Option<Instant> {
        match self.probe() {
            None => self.last_input.checked_add(self.config.ping_interval?),
            Some(Probe::Queued { .. }) => None,
            Some(Probe::Sent(at)) => at.checked_add(self.config.pong_timeout),
        }
    }

    fn idle_deadline(&self) -> Option<Instant> {
        self.last_data.checked_add(self.config.idle_timeout?)
    }

    /// A message may take `message_timeout`, and longer as long as it arrives at `MIN_MESSAGE_RATE`: what has come buys
    /// the second in which the next is to come.
    fn message_deadline(&self) -> Option<Instant> {
        let began = self.unrest.as_ref()?.message_began?;
        let arrived = self.receiver.under_way()?.saturating_sub(began.wire);
        let earned = Duration::from_secs(arrived / MIN_MESSAGE_RATE + 1);
        began
            .at
            .checked_add(self.config.message_timeout.max(earned))
    }

    fn stall_deadline(&self) -> Option<Instant> {
        if matches!(self.state, State::Ended(_)) {
            return None;
        }
        let stalled = self.unrest.as_ref()?.stalled_since;
        stalled?.checked_add(self.config.write_timeout)
    }

    /// The idle time is counted from when the clock is known next.
    fn note_sent_data(&mut self, now: Instant) {
        if std::mem::take(&mut self.data_queued) {
            self.last_data = now;
        }
    }

    fn may_send(&self) -> Result<(), Refused> {
        if !self.is_open() {
            Err(Refused::Closing)
        } else if self.sender.inside_message() {
            Err(Refused::InsideMessage)
        } else {
            Ok(())
        }
    }

    fn queue_close(&mut self, close: &CloseFrame) {
        if !self.close_sent {
            self.close_sent = true;
            // The ping came before, so its pong goes before.
            self.send_late_pong();
            self.sender.close(close, &mut self.output);
        }
    }

    fn finish(&mut self, now: Instant, end: End) {
        self.control = None;
        self.calm(|unrest| unrest.message_began = None);
        self.receiver.release();
        self.state = State::Ended(Box::new(Ended {
            end,
            deadline: now.checked_add(self.config.close_timeout),
        }));
    }

    fn control(&mut self, now: Instant) -> &mut Control {
        let full = u64::from(self.config.control_burst) * 1000;
        self.control.get_or_insert_with(|| {
            Box::new(Control {
                unsent_pong: None,
                pings: Vec::new(),
                tokens: full,
                refilled: now,
            })
        })
    }

    fn fail<'a>(
        &mut self,
        now: Instant,
        violation: Violation,
        input: &mut Input<'_>,
    ) -> Result<Option<Event<'a>>, Violation> {
        input.discard();
        self.queue_close(&CloseFrame::new(
            violation.close_code(),
            violation.to_string(),
        ));
        self.finish(now, End::Violation(violation));
        Err(violation)
    }

    /// RFC 6455 section 5.5.2: every ping is answered unless a Close frame was received, also after our own. Section
    /// 5.5.3: with pings unanswered, an endpoint may answer only the latest.
    fn answer_ping(&mut self, now: Instant, payload: &[u8]) {
        debug_assert!(payload.len() <= MAX_CONTROL);
        if self.output.len() <= PONG_BACKLOG {
            self.sender.control(Opcode::Pong, payload, &mut self.output);
        } else {
            self.control(now).unsent_pong = Some(payload.to_vec());
        }
    }

    fn send_late_pong(&mut self) {
        if let Some(control) = &mut self.control
            && let Some(payload) = control.unsent_pong.take()
        {
            self.sender
                .control(Opcode::Pong, &payload, &mut self.output);
        }
    }

    fn queue_ping(&mut self, now: Instant) -> PingId {
        let id = PingId(self.next_ping);
        self.next_ping = self.next_ping.wrapping_add(1);
        let pings = &mut self.control(now).pings;
        if pings.len() == MAX_PINGS {
            pings.remove(0);
        }
        pings.push((id, now));
        self.sender
            .control(Opcode::Ping, &id.0.to_be_bytes(), &mut self.output);
        id
    }

    /// A pong answers its ping and all before it (RFC 6455 section 5.5.3).
    fn match_pong(&mut self, now: Instant, payload: &[u8]) -> Option<(PingId, Duration)> {
        let id = PingId(u32::from_be_bytes(payload.try_into().ok()?));
        let pings = &mut self.control.as_mut()?.pings;
        let position = pings.iter().position(|(ping, _)| *ping == id)?;
        let (_, sent) = pings.drain(..=position).next_back()?;
        if pings.is_empty() {
            *pings = Vec::new();
        }
        Some((id, now.saturating_duration_since(sent)))
    }

    fn take_control_token(&mut self, now: Instant) -> bool {
        let burst = u64::from(self.config.control_burst) * 1000;
        let rate = u64::from(self.config.control_rate);
        let control = self.control(now);
        let elapsed = now.saturating_duration_since(control.refilled).as_millis();
        let refill = u64::try_from(elapsed)
            .unwrap_or(u64::MAX)
            .saturating_mul(rate);
        if refill > 0 {
            control.refilled = now;
            control.tokens = control.tokens.saturating_add(refill).min(burst);
        }
        match control.tokens.checked_sub(1000) {
            Some(left) => {
                control.tokens = left;
                true
            }
            None => false,
        }
    }
}
