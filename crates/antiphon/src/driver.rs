//! The loop between a transport and the protocol core: read, parse, write, wait, all in `poll_*` functions.

pub(crate) mod many;
pub(crate) mod shared;
mod timer;
mod unread;
mod wakers;

use std::{
    cell::Cell,
    collections::VecDeque,
    future::Future,
    io::{self, IoSlice},
    mem,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use antiphon_proto::{
    close::{CloseCode, CloseFrame},
    connection::{Connection, End, Event, Input, PingId, Refused},
    message::{Message, MessageKind},
};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, ReadBuf},
    time::Instant,
};

use self::{unread::Unread, wakers::Wakers};
use crate::{
    error::{Error, ErrorKind},
    transport::Transport,
    wheel::Timer,
};

/// Bytes read at once. The buffer belongs to the thread: all connections that it drives share one.
const SCRATCH: usize = 128 * 1024;

/// Output that may gather while a handler runs before it is written in the middle of it.
pub(crate) const CORK_LIMIT: usize = 64 * 1024;

/// Messages set aside while a ping waits for its pong and nobody receives.
const MAX_INBOX: usize = 16;

/// Slices of one vectored write.
const MAX_SLICES: usize = 16;

thread_local! {
    static SCRATCH_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the thread's buffer. A transport that is itself made of sockets may read inside a read: the inner one gets a
/// buffer of its own.
pub(crate) fn with_scratch<R>(f: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut scratch = SCRATCH_BUFFER.take();
    if scratch.is_empty() {
        scratch = vec![0; SCRATCH];
    }
    let result = f(&mut scratch);
    SCRATCH_BUFFER.set(scratch);
    result
}

/// What a reader is given.
#[derive(Debug)]
pub(crate) enum Item {
    Message(Message),
    Part {
        kind: MessageKind,
        payload: Bytes,
        last: bool,
    },
}

/// Whether messages are wanted whole or as their parts arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Whole,
    Parts,
}

#[derive(Debug, Default)]
struct Aside {
    /// What came while a ping waited for its pong and nobody received.
    inbox: VecDeque<Item>,
    pongs: Vec<(PingId, Duration)>,
}

/// Boxed: the memory of every connection is larger by what stands in its driver.
#[derive(Debug, Default)]
struct Rare {
    /// Once a second task has waited.
    wakers: Option<Arc<Wakers>>,
    /// What tasks that wait for pongs need: made by the first.
    aside: Option<Aside>,
    /// Why the transport failed.
    failure: Option<io::Error>,
}

/// A connection on its transport.
#[derive(Debug)]
pub(crate) struct Driver {
    transport: Transport,
    connection: Connection,
    unread: Unread,
    timer: Timer,
    /// The timer wakes the present `waker`.
    timer_polled: bool,
    /// The timer fires no later than any deadline of a calm connection, which only moves away.
    timer_covers_calm: bool,
    /// What all I/O is polled with: the receiver's own waker, one that wakes nobody, or that of `wakers`.
    waker: Waker,
    /// What most connections never have.
    rare: Option<Box<Rare>>,
    /// The reader of a message in parts was dropped: its rest is thrown away.
    skip_message: bool,
    /// A message has been handed out in part: its rest follows in parts, whoever asks.
    inside_parts: bool,
    /// A handler is running and output is written after it.
    corked: bool,
    /// Bytes of the output that were written.
    written: u64,
    /// The connection is over and only the transport holds bytes back; the timer bounds that.
    last_flush: bool,
    /// Writing has been shut down.
    shut_down: bool,
    /// The transport has taken bytes that it has not passed on yet, as TLS does when the socket is full.
    unflushed: bool,
    /// The transport takes nothing any more; what the peer sent before may still be read.
    write_failed: bool,
    end_reported: bool,
}

impl Driver {
    pub(crate) fn new(transport: Transport, connection: Connection, read_ahead: Bytes) -> Self {
        Self {
            transport,
            connection,
            unread: Unread::new(read_ahead.to_vec()),
            timer: Timer::default(),
            timer_polled: false,
            timer_covers_calm: false,
            waker: Waker::noop().clone(),
            rare: None,
            skip_message: false,
            inside_parts: false,
            corked: false,
            written: 0,
            last_flush: false,
            shut_down: false,
            unflushed: false,
            write_failed: false,
            end_reported: false,
        }
    }

    /// How far the output has come with what is queued now.
    pub(crate) fn position(&self) -> u64 {
        self.written + self.connection.buffered() as u64
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The next message, or part of one; `None` after the closing handshake.
    pub(crate) fn poll_receive(
        &mut self,
        cx: &Context<'_>,
        want: Want,
    ) -> Poll<Result<Option<Item>, Error>> {
        if let Some(aside) = self.aside_mut()
            && let Some(item) = aside.inbox.pop_front()
        {
            return Poll::Ready(Ok(Some(item)));
        }
        if self.end_reported {
            return Poll::Ready(Ok(None));
        }
        if want == Want::Whole
            && let Some(message) = self.next_whole()
        {
            return Poll::Ready(Ok(Some(Item::Message(message))));
        }
        self.register_receiver(cx);
        let item = ready!(self.poll_item(want));
        Poll::Ready(match item {
            Some(item) => Ok(Some(item)),
            None => {
                self.end_reported = true;
                self.end_result()
            }
        })
    }

    #[inline]
    pub(super) fn has_inbox(&self) -> bool {
        let aside = self.rare.as_ref().and_then(|rare| rare.aside.as_ref());
        aside.is_some_and(|aside| !aside.inbox.is_empty())
    }

    #[inline]
    fn aside_mut(&mut self) -> Option<&mut Aside> {
        self.rare.as_mut()?.aside.as_mut()
    }

    fn make_aside(&mut self) -> &mut Aside {
        let rare = self.rare.get_or_insert_default();
        rare.aside.get_or_insert_default()
    }

    #[inline]
    fn wakers(&self) -> Option<&Arc<Wakers>> {
        self.rare.as_ref()?.wakers.as_ref()
    }

    /// The time of the last read: what was read together is parsed as of one moment.
    #[inline]
    fn now(&self) -> std::time::Instant {
        self.connection.last_input()
    }

    fn failed(&mut self, error: io::Error) {
        self.rare.get_or_insert_default().failure = Some(error);
    }

    #[inline]
    fn register_receiver(&mut self, cx: &Context<'_>) {
        if let Some(wakers) = self.wakers() {
            wakers.receive(cx);
        } else if !self.waker.will_wake(cx.waker()) {
            self.waker = cx.waker().clone();
            self.timer_polled = false;
        }
    }

    /// Throws away the rest of a message whose parts nobody wants any more.
    pub(crate) fn skip_message(&mut self) {
        let mut inbox = self.aside_mut().map(|aside| &mut aside.inbox);
        while let Some(inbox) = &mut inbox
            && let Some(Item::Part { last, .. }) = inbox.front()
        {
            let last = *last;
            inbox.pop_front();
            if last {
                return;
            }
        }
        self.skip_message = self.inside_parts;
    }

    /// Queues a message once there is room. `Ready` with how far the output must be written for it to have gone.
    pub(crate) fn poll_queue(
        &mut self,
        cx: &Context<'_>,
        queue: impl FnOnce(&mut Connection) -> Result<(), Refused>,
    ) -> Poll<Result<u64, Error>> {
        let has_room = self.has_room() || self.poll_write_out().is_ready();
        // After the end there may be no room for ever: what is left is for a peer that takes nothing.
        if let Some(error) = self.send_error() {
            return Poll::Ready(Err(error));
        }
        if has_room {
            match self.queue(queue) {
                Ok(()) => return Poll::Ready(Ok(self.position())),
                Err(Refused::InsideMessage) => {}
                Err(_) => return Poll::Ready(Err(self.closed_error())),
            }
        }
        self.wait(cx)
    }

    /// Whether a message can be queued without waiting.
    pub(crate) fn has_room(&self) -> bool {
        self.connection.buffered() < self.connection.config().write_high_water
    }

    /// Queues something now.
    pub(crate) fn queue(
        &mut self,
        queue: impl FnOnce(&mut Connection) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        queue(&mut self.connection)
    }

    /// Waits until the output has been written up to `position`.
    pub(crate) fn poll_written(
        &mut self,
        cx: &Context<'_>,
        position: u64,
    ) -> Poll<Result<(), Error>> {
        if self.corked && self.connection.buffered() < CORK_LIMIT {
            return Poll::Ready(Ok(()));
        }
        let flushed = self.poll_write_out().is_ready();
        if let Some(error) = self.failed_error() {
            return Poll::Ready(Err(error));
        }
        if flushed || (self.written >= position && !self.unflushed) {
            return Poll::Ready(Ok(()));
        }
        self.wait(cx)
    }

    /// Waits until all output has been written, corked or not.
    pub(crate) fn poll_flush(&mut self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        let flushed = self.poll_write_out().is_ready();
        if let Some(error) = self.failed_error() {
            return Poll::Ready(Err(error));
        }
        if flushed {
            Poll::Ready(Ok(()))
        } else {
            self.wait(cx)
        }
    }

    /// Writes what it can without waiting; the rest follows when the transport takes it.
    pub(crate) fn write_now(&mut self) {
        if !self.corked {
            let _ = self.poll_write_out();
            self.arm_timer();
        }
    }

    /// Holds output back until [`uncork`](Self::uncork), so that the replies to one read leave in one write.
    pub(crate) fn cork(&mut self) {
        self.corked = true;
    }

    /// Writes what was held back.
    pub(crate) fn uncork(&mut self) {
        self.corked = false;
        if self.has_output() {
            let _ = self.poll_write_out();
            self.arm_timer();
        }
    }

    /// What was written, or could not be, may have brought a deadline nearer than the one that the receiver waits for: a
    /// pong is awaited from when the ping is written, and a peer that takes nothing is given up.
    fn arm_timer(&mut self) {
        // Sending is possible from a thread without a runtime; a timer can only be made inside.
        let possible = self.timer.is_waiting() || tokio::runtime::Handle::try_current().is_ok();
        if possible && self.poll_timer().is_ready() {
            self.wake_all();
        }
    }

    /// Sends a ping; [`poll_pong`](Self::poll_pong) waits for its pong.
    pub(crate) fn ping(&mut self) -> Result<PingId, Error> {
        let now = Instant::now().into_std();
        let mut id = None;
        // The pong may come to another task before this one asks for it.
        self.make_aside();
        self.queue(|connection| connection.ping(now).map(|ping| id = Some(ping)))
            .map_err(|_| self.closed_error())?;
        self.write_now();
        id.ok_or_else(|| self.closed_error())
    }

    /// The round trip of a ping. Carries the connection on, also where nobody receives.
    pub(crate) fn poll_pong(
        &mut self,
        cx: &Context<'_>,
        id: PingId,
    ) -> Poll<Result<Duration, Error>> {
        loop {
            // A pong answers its own ping and those before it.
            let aside = self.make_aside();
            if let Some(&(_, trip)) = aside.pongs.iter().find(|(pong, _)| *pong >= id) {
                aside.pongs.retain(|(pong, _)| *pong != id);
                return Poll::Ready(Ok(trip));
            }
            if aside.inbox.len() >= MAX_INBOX {
                return self.wait(cx);
            }
            self.register(cx);
            match ready!(self.poll_item(Want::Whole)) {
                Some(item) => {
                    self.make_aside().inbox.push_back(item);
                    self.wake_all();
                }
                None => return Poll::Ready(Err(self.closed_error())),
            }
        }
    }

    /// Begins the closing handshake and writes what it can of it.
    pub(crate) fn start_close(&mut self, close: CloseFrame) -> Result<(), Error> {
        let now = Instant::now().into_std();
        self.connection.close(now, close)?;
        let _ = self.poll_write_out();
        self.wake_all();
        Ok(())
    }

    /// Carries the connection to its end; what still comes is thrown away.
    pub(crate) fn poll_closed(&mut self, cx: &Context<'_>) -> Poll<Option<CloseFrame>> {
        self.register(cx);
        while ready!(self.poll_item(Want::Parts)).is_some() {}
        self.wake_all();
        Poll::Ready(match self.connection.end() {
            Some(End::Clean(close)) => Some(close.clone()),
            _ => None,
        })
    }

    /// Wakes every task that waits.
    pub(crate) fn wake_all(&self) {
        self.waker.wake_by_ref();
    }

    /// Why nothing can be sent any more.
    pub(crate) fn closed_error(&self) -> Error {
        if let Some(error) = self.failed_error() {
            return error;
        }
        let close = match self.connection.end() {
            Some(End::Clean(close)) => Some(close.clone()),
            _ => None,
        };
        let context = match &close {
            Some(close) => format!("the connection is closed: the peer said {close}"),
            None => "the connection is closing".to_owned(),
        };
        Error::new(ErrorKind::Closed(close), context)
    }

    fn send_error(&self) -> Option<Error> {
        (self.write_failed || !self.connection.is_open()).then(|| self.closed_error())
    }

    /// The failure that ended the connection, where it did not end cleanly.
    fn failed_error(&self) -> Option<Error> {
        let timeout = |context| Some(Error::new(ErrorKind::Timeout, context));
        let Some(end) = self.connection.end() else {
            return self.write_failed.then(|| self.io_error());
        };
        match end {
            End::Clean(_) => None,
            End::Violation(violation) => Some((*violation).into()),
            End::PongTimeout => timeout("the peer is gone: no pong came in time"),
            End::WriteTimeout => timeout("the peer reads too slowly: it took nothing for too long"),
            End::CloseTimeout => timeout("the peer did not answer the Close frame in time"),
            _ => Some(self.io_error()),
        }
    }

    fn io_error(&self) -> Error {
        match self.rare.as_ref().and_then(|rare| rare.failure.as_ref()) {
            Some(failure) => io::Error::new(failure.kind(), failure.to_string()).into(),
            None => Error::new(
                ErrorKind::Io,
                "the connection ended without the closing handshake (1006)",
            ),
        }
    }

    fn end_result(&self) -> Result<Option<Item>, Error> {
        match self.failed_error() {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }

    /// Reads, parses and writes until there is an item for the reader; `None` at the very end.
    fn poll_item(&mut self, want: Want) -> Poll<Option<Item>> {
        loop {
            self.deliver(want);
            while !self.unread.is_empty() {
                self.deliver(want);
                let now = self.now();
                let mut input = Input::new(self.unread.rest());
                let event = self.connection.handle_input(now, &mut input);
                let event = event.unwrap_or(None).map(Owned::from);
                let left = input.remaining().len();
                self.unread.leave(left);
                if let Some(item) = self.digest(event) {
                    return Poll::Ready(Some(item));
                }
            }
            if self.connection.end().is_some() {
                return self.poll_finish().map(|()| None);
            }
            // Input has run out: replies go out before anything is waited for.
            if self.has_output() && !self.corked {
                let _ = self.poll_write_out();
            }
            match self.poll_read(want) {
                Poll::Ready(Some(item)) => return Poll::Ready(Some(item)),
                Poll::Ready(None) => {
                    if !self.connection.is_open() {
                        // A peer that never stops sending must not outlive the wait for its Close.
                        let now = Instant::now().into_std();
                        self.connection.handle_deadline(now);
                    }
                }
                Poll::Pending => ready!(self.poll_timer()),
            }
        }
    }

    /// Reads once and parses as far as the first item: a long message into its own memory, all else into the shared
    /// buffer.
    fn poll_read(&mut self, want: Want) -> Poll<Option<Item>> {
        if want == Want::Whole
            && let Some(polled) = self.poll_read_room()
        {
            return polled;
        }
        with_scratch(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            let mut cx = Context::from_waker(&self.waker);
            let result = ready!(self.transport.poll_read(&mut cx, &mut buf));
            let now = Instant::now().into_std();
            let filled = buf.filled().len();
            if let Err(error) = result {
                self.failed(error);
                self.connection.handle_eof(now);
                return Poll::Ready(None);
            }
            if filled == 0 {
                self.connection.handle_eof(now);
                return Poll::Ready(None);
            }
            let mut input = Input::new(&mut scratch[..filled]);
            if want == Want::Whole && !self.skip_message && !self.inside_parts {
                self.connection.deliver_parts(false);
                if let Some(message) = self.connection.take_whole(now, &mut input) {
                    let message = message.to_message();
                    self.keep_unread(&input);
                    return Poll::Ready(Some(Item::Message(message)));
                }
            }
            while !input.is_empty() {
                self.deliver(want);
                let event = self.connection.handle_input(now, &mut input);
                let event = event.unwrap_or(None).map(Owned::from);
                if let Some(item) = self.digest(event) {
                    self.keep_unread(&input);
                    return Poll::Ready(Some(item));
                }
            }
            Poll::Ready(None)
        })
    }

    /// Reads the rest of a long message where one is under way, and the next where one has just come.
    fn poll_read_room(&mut self) -> Option<Poll<Option<Item>>> {
        // TLS would fill the memory with zeros before each of its short reads.
        let Transport::Tcp(stream) = &mut self.transport else {
            return None;
        };
        let mut cx = Context::from_waker(&self.waker);
        // A connection that waits holds no memory for what it waits for.
        if self.connection.expected().is_some() && stream.poll_read_ready(&mut cx).is_pending() {
            return Some(Poll::Pending);
        }
        let mut room = self.connection.room()?;
        // Nothing is kept in the future: it reads at once, or not at all.
        let polled = pin!(stream.read_buf(&mut room)).poll(&mut cx);
        drop(room);
        let Poll::Ready(result) = polled else {
            self.connection.leave_room();
            return Some(Poll::Pending);
        };
        let now = Instant::now().into_std();
        let event = match result {
            Ok(1..) => {
                let mut rest = Vec::new();
                let event = self.connection.handle_room(now, &mut rest);
                self.unread = Unread::new(rest);
                event
            }
            ended => {
                if let Err(error) = ended {
                    self.failed(error);
                }
                self.connection.handle_eof(now);
                return Some(Poll::Ready(None));
            }
        };
        let event = event.unwrap_or(None).map(Owned::from);
        Some(Poll::Ready(self.digest(event)))
    }

    /// Bytes behind what was taken stay with the connection.
    fn keep_unread(&mut self, input: &Input<'_>) {
        if !input.is_empty() {
            self.unread = Unread::new(input.remaining().to_vec());
        }
    }

    fn deliver(&mut self, want: Want) {
        let parts = want == Want::Parts || self.skip_message || self.inside_parts;
        self.connection.deliver_parts(parts);
    }

    /// Keeps what concerns the connection, passes on what concerns the reader.
    fn digest(&mut self, event: Option<Owned>) -> Option<Item> {
        match event? {
            Owned::Item(item) => {
                if let Item::Part { last, .. } = item {
                    self.inside_parts = !last;
                    if self.skip_message {
                        self.skip_message = !last;
                        return None;
                    }
                }
                Some(item)
            }
            Owned::Pong(id, trip) => {
                // Where nobody has pinged, this answers the connection's own.
                if let Some(aside) = self.aside_mut() {
                    if aside.pongs.len() >= MAX_INBOX {
                        aside.pongs.remove(0);
                    }
                    aside.pongs.push((id, trip));
                    self.wake_all();
                }
                None
            }
            Owned::Other => None,
        }
    }

    /// Writes until nothing is left or the transport takes no more.
    fn poll_write_out(&mut self) -> Poll<()> {
        if self.write_failed {
            self.discard_output();
            return Poll::Ready(());
        }
        let mut cx = Context::from_waker(&self.waker);
        while let buffered @ 1.. = self.connection.buffered() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let filled = self.connection.output(&mut slices);
            let end = self.connection.finishes_with_output().then_some(buffered);
            let slices = &slices[..filled];
            let (written, ended) = match self.transport.poll_write_to(&mut cx, slices, end) {
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(error)) => {
                    self.write_failed(error);
                    return Poll::Ready(());
                }
                Poll::Pending => {
                    self.connection.advance_output(Instant::now().into_std(), 0);
                    return Poll::Pending;
                }
            };
            if written == 0 {
                self.write_failed(io::ErrorKind::WriteZero.into());
                return Poll::Ready(());
            }
            self.written += written as u64;
            self.shut_down |= ended;
            self.unflushed = self.transport.holds_back();
            // Where everything has gone the time matters little, and the clock need not be asked.
            let drained = written >= buffered;
            let now = if drained {
                self.now()
            } else {
                Instant::now().into_std()
            };
            self.connection.advance_output(now, written);
        }
        let flushed = self.transport.poll_flush(&mut cx);
        self.unflushed = flushed.is_pending();
        if let Err(error) = ready!(flushed) {
            self.write_failed(error);
        }
        Poll::Ready(())
    }

    /// Whether bytes wait here or inside the transport.
    fn has_output(&self) -> bool {
        self.unflushed || self.connection.buffered() > 0
    }

    /// Nothing can be written any more. The peer's last words may stand unread: reading goes on until its end.
    fn write_failed(&mut self, error: io::Error) {
        self.write_failed = true;
        self.unflushed = false;
        let rare = self.rare.get_or_insert_default();
        rare.failure.get_or_insert(error);
        self.wake_all();
        self.discard_output();
    }

    fn discard_output(&mut self) {
        let left = self.connection.buffered();
        self.connection.advance_output(self.now(), left);
    }

    /// After the end: writes the Close frame, tells the peer that nothing follows, and reads until it hangs up, so that
    /// unread input cannot destroy the Close frame on its way.
    fn poll_finish(&mut self) -> Poll<()> {
        loop {
            let written = self.poll_write_out().is_ready();
            if self.connection.is_finished() {
                if !written && self.connection.buffered() == 0 {
                    // TLS may hold the last bytes back: they get the time that a Close may take.
                    ready!(self.poll_last_flush());
                }
                if !self.shut_down && !self.transport.ends_with_drop() {
                    let mut cx = Context::from_waker(&self.waker);
                    let _ = self.transport.poll_shutdown(&mut cx);
                }
                self.shut_down = true;
                self.transport = Transport::Closed;
                self.unread.leave(0);
                self.timer.clear();
                self.wake_all();
                return Poll::Ready(());
            }
            if self.connection.wants_shutdown() && !self.shut_down {
                let mut cx = Context::from_waker(&self.waker);
                self.shut_down = self.transport.poll_shutdown(&mut cx).is_ready();
            }
            match self.poll_read(Want::Parts) {
                Poll::Ready(_) => self.connection.handle_deadline(Instant::now().into_std()),
                Poll::Pending => ready!(self.poll_timer()),
            }
        }
    }

    /// Makes the task one that is woken by whatever happens.
    fn register(&mut self, cx: &Context<'_>) {
        if let Some(wakers) = self.wakers() {
            wakers.wait(cx);
        } else if !self.waker.will_wake(cx.waker()) {
            let receiver = mem::replace(&mut self.waker, Waker::noop().clone());
            let wakers = Arc::new(Wakers::new(receiver, cx.waker().clone()));
            self.waker = Waker::from(Arc::clone(&wakers));
            self.rare.get_or_insert_default().wakers = Some(wakers);
            self.timer_polled = false;
            // What was polled before knows only the other task: once more, with the waker of both.
            cx.waker().wake_by_ref();
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Nobody waits for the peer any more, but it is told where that costs no waiting.
        if self.connection.is_open() {
            let close = CloseFrame::new(CloseCode::GOING_AWAY, "");
            let _ = self.connection.close(Instant::now().into_std(), close);
        }
        self.waker = Waker::noop().clone();
        if self.has_output() {
            let _ = self.poll_write_out();
        }
    }
}

/// An event that no longer borrows from the bytes that were read.
enum Owned {
    Item(Item),
    Pong(PingId, Duration),
    Other,
}

/// Where control frames are traced, for people who debug a peer.
const CONTROL: &str = "antiphon::control";

fn trace_control(event: &Event<'_>) {
    match event {
        Event::Ping(payload) => {
            tracing::trace!(target: CONTROL, "ping of {} bytes, answered", payload.as_bytes().len())
        }
        Event::Pong(Some((_, trip))) => tracing::trace!(target: CONTROL, "pong after {trip:?}"),
        Event::Pong(None) => tracing::trace!(target: CONTROL, "pong that nobody asked for"),
        Event::Close(frame) => tracing::trace!(target: CONTROL, "close {frame}"),
        _ => {}
    }
}

impl From<Event<'_>> for Owned {
    fn from(event: Event<'_>) -> Self {
        trace_control(&event);
        match event {
            Event::Part {
                kind,
                payload,
                last,
            } => Self::Item(Item::Part {
                kind,
                payload: payload.into_bytes(),
                last,
            }),
            Event::Pong(Some((id, trip))) => Self::Pong(id, trip),
            event => match event.into_message() {
                Some(message) => Self::Item(Item::Message(message)),
                None => Self::Other,
            },
        }
    }
}
