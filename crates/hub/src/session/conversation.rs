//! An open conversation: writes what waits, reads what comes, handles it in order, keeps the times.

mod together;

use std::{
    collections::VecDeque,
    mem,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use antiphon::{CloseCode, Error, ErrorKind, Message, WebSocket};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::{
    bucket::Bucket,
    built_in::{Asked, built_in, dispatch},
    guard::{Panicked, guarded},
    recorded,
    words::end,
};
use crate::{
    code::{CloseReason, ErrorCode, close, event},
    hub::{Answer, BoxFuture, Client, Request},
    occurrence::{Cause, Side},
    outbox::{Frame, Offered},
    refusal::Refusal,
    registry::unix_millis,
    share::{Accounting, Share},
    trace::Way,
    wire::{BadInput, Fault, HEARTBEAT, Incoming, Wire},
    writer::{Pen, Wrote},
};

/// How a conversation has ended, before anybody has been told.
pub(super) enum End {
    /// The peer's Close, or the server's own shutdown.
    Closed,
    Failed(Error),
    /// The hub wants it closed.
    Closing(CloseReason),
}

/// The farthest end of a login that a timer is set for.
const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Most rounds of reading, handling and writing in one turn of the task.
const TURN: usize = 64;

/// Rounds that a refused message takes: whoever floods has shorter turns.
const REFUSAL: usize = 8;

/// Bytes of messages that take one round.
const ROUND_BYTES: usize = 2048;

/// Most writes in one round.
const WRITES: usize = 16;

/// A conversation.
pub(super) struct Session {
    client: Client,
    wire: Wire,
    socket: WebSocket,
    inbox: VecDeque<Job>,
    /// Bytes of what waits in it.
    inbox_bytes: usize,
    running: Option<Running>,
    /// The socket has no room for what waits.
    is_full: bool,
    /// All that waits in the inbox has come in this turn, and only publishes: more may join it before it is handled.
    is_gathering: bool,
    /// What it last published together was not taken at once by many of the members: that costs as much as one by one.
    is_split: bool,
    bucket: Bucket,
    /// What its events cause for others.
    accounting: Accounting,
    /// Rounds that are left of this turn.
    turn: usize,
    /// Refusals, less what was let through since.
    refused: u32,
    /// Frames are recorded. As of the beginning of this turn.
    is_traced: bool,
    timer: Option<Pin<Box<Sleep>>>,
    expires: Option<(SystemTime, Instant)>,
}

/// An event that waits to be handled.
struct Job {
    request: Request,
    /// The `ch` of the request.
    tag: Option<Arc<str>>,
    /// What it asks for, where that has been looked at and is to publish.
    asked: Option<Box<Asked>>,
}

struct Running {
    request: Request,
    future: BoxFuture<Answer>,
}

impl Session {
    pub(super) fn new(client: &Client, socket: WebSocket) -> Self {
        let config = client.hub().config();
        *client.connection.sender() = Some(socket.sender());
        let home = client.hub().0.homes.current();
        let mut outbox = client.connection.outbox();
        outbox.set_written(Instant::now());
        outbox.home = home;
        drop(outbox);
        Self {
            wire: client.wire(),
            socket,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            running: None,
            is_full: false,
            is_gathering: false,
            is_split: false,
            bucket: Bucket::new(config.message_rate, config.message_burst),
            accounting: Accounting::default(),
            turn: 0,
            refused: 0,
            is_traced: false,
            timer: None,
            expires: None,
            client: client.clone(),
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.turn = TURN;
        while self.turn > 0 {
            let is_first = self.turn == TURN;
            self.turn -= 1;
            let (closing, waits) = {
                let mut outbox = self.client.connection.outbox();
                outbox.set_waker(cx.waker());
                self.is_traced = outbox.is_traced;
                (outbox.closing().cloned(), outbox.has_waiting())
            };
            self.is_full = false;
            // Where it is closing, what was sent before the end goes first, as far as the peer takes it.
            let mut progress = waits && self.poll_write(cx);
            if let Some(reason) = closing {
                return Poll::Ready(End::Closing(reason));
            }
            progress |= self.poll_handler(cx);
            match self.poll_reads(cx) {
                Poll::Ready(Some(end)) => return Poll::Ready(end),
                Poll::Ready(None) => progress = true,
                Poll::Pending => {}
            }
            // In the first round, for what is due, and in the last, for what it waits for.
            if (is_first || !progress)
                && let Poll::Ready(due) = self.poll_timer(cx)
            {
                if let Some(end) = due {
                    return Poll::Ready(end);
                }
                progress = true;
            }
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Moves what waits to the socket while that has room; whether more may follow at once.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> bool {
        let hub = &self.client.hub.0;
        let connection = &self.client.connection;
        let mut pen = Pen::new();
        let mut more = true;
        for _ in 0..WRITES {
            let mut each = |message: &Message| {
                if self.is_traced {
                    recorded::message(&self.client, Way::Out, message);
                }
            };
            let wrote = pen.write(connection, &hub.budget, Some(&mut each));
            match wrote {
                Wrote::All => more = false,
                Wrote::Some => continue,
                Wrote::Nothing => {
                    match futures_sink::Sink::poll_ready(Pin::new(&mut self.socket), cx) {
                        Poll::Ready(Ok(())) => continue,
                        Poll::Pending => {
                            // The socket wakes it; a slow reader costs its publishers no wake-ups.
                            connection.outbox().set_blocked();
                            self.is_full = true;
                        }
                        // Reading will say what has happened to it.
                        Poll::Ready(Err(_)) => {}
                    }
                    more = false;
                }
            }
            break;
        }
        pen.account(&hub.flow);
        more
    }

    /// Reads one message, or several that can be handled together. `Ready(None)`: there was one.
    fn poll_reads(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        let mut ended = ready!(self.poll_read(cx));
        while ended.is_none()
            && self.is_gathering
            && self.inbox.len() < together::MOST
            && self.turn > 0
        {
            self.turn -= 1;
            match self.poll_read(cx) {
                Poll::Ready(read) => ended = read,
                Poll::Pending => break,
            }
        }
        self.settle(cx);
        Poll::Ready(ended)
    }

    /// Handles what has been gathered, before anything else happens.
    fn settle(&mut self, cx: &mut Context<'_>) {
        if mem::take(&mut self.is_gathering) {
            self.poll_handler(cx);
        }
    }

    /// Reads one message. `Ready(None)`: there was one.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        // Whoever does not read the replies is not heard before it does.
        if self.is_full
            && self.client.connection.outbox().bytes() > self.client.hub().bounds().bytes / 2
        {
            return Poll::Pending;
        }
        match ready!(futures_core::Stream::poll_next(
            Pin::new(&mut self.socket),
            cx
        )) {
            Some(Ok(message)) => {
                self.received(&message, cx);
                Poll::Ready(None)
            }
            Some(Err(error)) => Poll::Ready(Some(End::Failed(error))),
            None => Poll::Ready(Some(End::Closed)),
        }
    }

    fn received(&mut self, message: &Message, cx: &mut Context<'_>) {
        let hub = self.client.hub.clone();
        let flow = &hub.0.flow;
        flow.received.fetch_add(1, Relaxed);
        flow.received_bytes.fetch_add(message.len() as u64, Relaxed);
        self.shorten(message.len() / ROUND_BYTES);
        self.client
            .connection
            .last_active
            .store(unix_millis(SystemTime::now()), Relaxed);
        if self.is_traced {
            recorded::message(&self.client, Way::In, message);
        }
        let text = message.as_bytes();
        if self.wire == Wire::V1 {
            self.incoming(self.wire.parse(text), cx);
        } else {
            for incoming in self.wire.parse_all(text) {
                self.incoming(incoming, cx);
            }
        }
    }

    /// Makes this turn shorter.
    fn shorten(&mut self, rounds: usize) {
        self.turn = self.turn.saturating_sub(rounds);
    }

    fn incoming(&mut self, incoming: Result<Incoming, BadInput>, cx: &mut Context<'_>) {
        let counters = self.client.hub.clone();
        let counters = &counters.0.counters;
        let allowed = self.bucket.take();
        let publishes = self.wire == Wire::V2
            && matches!(&incoming, Ok(incoming) if *incoming.event == *event::PUBLISH);
        if allowed.is_err() || !publishes {
            self.settle(cx);
        }
        if let Err(wait) = allowed {
            counters.refused_messages.fetch_add(1, Relaxed);
            self.refused += 1;
            self.shorten(REFUSAL);
            if self.refused > self.bucket.burst {
                self.client.connection.close(close::TOO_MANY_REQUESTS);
                return;
            }
            let (event, id) = match incoming {
                Ok(incoming) => (incoming.event, incoming.id),
                Err(bad) => (bad.event.unwrap_or_default(), bad.id),
            };
            let request = Request::new(Arc::from(event), id, None);
            self.answer(
                &request,
                Err(Refusal::of(ErrorCode::TooManyRequests).retry_after(wait)),
            );
            return;
        }
        self.refused = self.refused.saturating_sub(1);
        let incoming = match incoming {
            Ok(incoming) => incoming,
            Err(bad) => {
                counters.bad_messages.fetch_add(1, Relaxed);
                self.shorten(REFUSAL);
                let bound = match bad.fault {
                    Fault::TooDeep => Some(&counters.too_deep),
                    Fault::NameTooLong => Some(&counters.long_names),
                    Fault::TooMany => Some(&counters.large_batches),
                    _ => None,
                };
                if let Some(bound) = bound {
                    bound.fetch_add(1, Relaxed);
                }
                let event = bad.event.as_deref().unwrap_or_default();
                let request = Request::new(Arc::from(event), bad.id, None);
                self.answer(
                    &request,
                    Err(Refusal::of(bad.code()).saying(bad.to_string())),
                );
                return;
            }
        };
        if incoming.is_heartbeat() {
            return;
        }
        let tag = incoming.ch.map(Arc::from);
        let request = Request::new(Arc::from(incoming.event), incoming.id, incoming.data);
        // A heartbeat never waits behind a handler.
        if [event::V1_PING, event::PING].contains(&request.event()) {
            self.answer(&request, Ok(None));
            return;
        }
        let config = self.client.hub().config();
        let bytes = request.weight();
        let is_full = |session: &Self| {
            session.inbox.len() >= config.max_inbox
                || (!session.inbox.is_empty()
                    && session.inbox_bytes + bytes > config.max_outbox_bytes)
        };
        if is_full(self) {
            self.settle(cx);
        }
        if is_full(self) {
            counters.refused_messages.fetch_add(1, Relaxed);
            counters.full_inboxes.fetch_add(1, Relaxed);
            self.answer(
                &request,
                Err(Refusal::of(ErrorCode::TooManyRequests)
                    .saying("too many requests wait for their turn")),
            );
            return;
        }
        self.inbox_bytes += bytes;
        self.is_gathering =
            publishes && self.running.is_none() && (self.is_gathering || self.inbox.is_empty());
        let asked = None;
        self.inbox.push_back(Job {
            request,
            tag,
            asked,
        });
    }

    fn reply(&self, frame: Frame) {
        // It is written in the next round: nobody needs to be woken for it.
        let hub = self.client.hub();
        let bounds = hub.bounds();
        if self.client.connection.outbox().reply(frame, bounds) == Offered::Queued {
            hub.0.flow.queued.fetch_add(1, Relaxed);
        }
    }

    fn answer(&self, request: &Request, answer: Answer) {
        let close = answer
            .as_ref()
            .err()
            .and_then(|refusal| refusal.close().cloned());
        if let Some(frame) = self.client.hub().answer_frame(self.wire, request, answer) {
            self.reply(frame);
        }
        if let Some(close) = close {
            self.client.connection.close(close);
        }
    }

    /// Goes on with the event that is being handled, or begins with the next; whether anything has ended or begun.
    fn poll_handler(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        loop {
            if let Some(running) = &mut self.running {
                let share = || share_of(&self.client);
                let polled = self.accounting.poll(running.future.as_mut(), cx, share);
                let Poll::Ready(answer) = polled else {
                    self.accounting.rest();
                    return progress;
                };
                if let Some(running) = self.running.take() {
                    self.answer(&running.request, answer);
                }
                progress = true;
            }
            if self.inbox.is_empty() {
                self.accounting.rest();
            } else {
                let waits = &self.client.hub.0.counters.delayed_fanouts;
                if self.accounting.poll_turn(cx, waits).is_pending() {
                    return progress;
                }
            }
            if self.publish_together() {
                progress = true;
                continue;
            }
            let Some(job) = self.inbox.pop_front() else {
                if progress && self.inbox.capacity() > 0 {
                    self.inbox = VecDeque::new();
                }
                return progress;
            };
            self.inbox_bytes -= job.request.weight();
            let request = job.request.clone();
            self.running = Some(Running {
                future: handle(&self.client, job),
                request,
            });
        }
    }

    /// `Ready(None)`: the timer went off and nothing has ended.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        let identity = self.client.connection.identity();
        if identity.expires_at != self.expires.map(|(time, _)| time) {
            self.expires = identity.expires_at.map(|time| {
                let left = time.duration_since(SystemTime::now()).unwrap_or_default();
                // An end that nobody will see is as good as none, and a sum that cannot overflow.
                (time, Instant::now() + left.min(FAR))
            });
        }
        let heartbeat = (self.wire == Wire::V2)
            .then(|| self.client.connection.outbox().written())
            .flatten()
            .map(|written| written + self.client.hub().config().heartbeat_interval);
        let expires = self.expires.map(|(_, at)| at);
        let Some(due) = [heartbeat, expires].into_iter().flatten().min() else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        // A heartbeat that was put off is looked at when its old time has come: that costs no timer for each message.
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        ready!(timer.as_mut().poll(cx));
        let now = Instant::now();
        if expires.is_some_and(|at| at <= now) {
            // From now on nothing is queued for it.
            self.client.connection.close(close::EXPIRED);
            return Poll::Ready(None);
        }
        if heartbeat.is_some_and(|at| at <= now) {
            self.client.connection.outbox().set_written(now);
            let frame = Frame::text(self.wire, HEARTBEAT, &self.client.hub().0.budget);
            self.reply(frame);
        } else {
            timer.as_mut().reset(due);
        }
        Poll::Ready(None)
    }

    /// Closes as it has ended, and says why.
    pub(super) async fn conclude(mut self, ended: End) -> Cause {
        if let End::Closing(reason) = &ended
            && (!reason.reconnect
                || *reason == close::EXPIRED
                || *reason == close::TOO_MANY_REQUESTS)
        {
            // Whoever may not be here has nothing more done for it.
            self.inbox.clear();
        }
        let client = self.client.clone();
        let place = (!self.inbox.is_empty() || self.running.is_some())
            .then(|| client.hub().0.unfinished.clone().try_acquire_owned());
        if let Some(Err(_)) = &place {
            // Whoever connects again and again must not leave more and more behind.
            let dropped = self.inbox.len() as u64;
            let counters = &client.hub().0.counters;
            counters.refused_messages.fetch_add(dropped, Relaxed);
            self.inbox.clear();
        }
        let (socket, unfinished) = self.finish();
        if let Some(unfinished) = unfinished {
            // What was received before the end is handled all the same, in order.
            tokio::spawn(async move {
                let _place = place;
                unfinished.await;
            });
        }
        let cause = match ended {
            End::Closing(reason) => {
                let delay = client.hub().spread(&reason);
                recorded::goodbye(&client, &reason, delay);
                end(client.wire(), &socket, &reason, delay).await
            }
            End::Closed => match socket.close_frame() {
                Some(frame) => {
                    let code = frame.code.get();
                    Cause::new(Side::Client, code, frame.reason.as_str())
                }
                None => Cause::new(
                    Side::Server,
                    CloseCode::GOING_AWAY.get(),
                    "the server stops",
                ),
            },
            End::Failed(error) => match error.kind() {
                ErrorKind::Violation(violation) => Cause::new(
                    Side::Server,
                    violation.close_code().get(),
                    violation.to_string(),
                )
                .violating(*violation),
                ErrorKind::Timeout => {
                    Cause::new(Side::Network, close::NO_PONG.code, error.to_string())
                }
                _ => Cause::new(Side::Network, CloseCode::ABNORMAL.get(), error.to_string()),
            },
        };
        recorded::end(&client, &cause);
        cause
    }

    /// What is left: the socket, and the events that were received and not handled.
    fn finish(self) -> (WebSocket, Option<impl Future<Output = ()> + Send + 'static>) {
        let Self {
            client,
            socket,
            inbox,
            running,
            mut accounting,
            ..
        } = self;
        let unfinished = (running.is_some() || !inbox.is_empty()).then_some(async move {
            if let Some(running) = running {
                let _ = running.future.await;
            }
            let waits = &client.hub.0.counters.delayed_fanouts;
            for job in inbox {
                let share = || share_of(&client);
                let handled = accounting.handle(handle(&client, job), share, waits);
                let _ = handled.await;
            }
        });
        (socket, unfinished)
    }
}

/// What it shares with the other connections of its runtime.
fn share_of(client: &Client) -> Option<Arc<Share>> {
    let home = client.connection.outbox().home;
    client.hub.0.homes.share(home)
}

/// The future that handles an event.
fn handle(client: &Client, job: Job) -> BoxFuture<Answer> {
    let Job { request, tag, .. } = job;
    let hub = client.hub().clone();
    let client = client.clone();
    Box::pin(async move {
        let limit = hub.config().handler_timeout;
        let work = async {
            if hub.0.permits.available_permits() == 0 {
                hub.0.counters.delayed_handlers.fetch_add(1, Relaxed);
            }
            let _permit = hub.0.permits.acquire().await;
            match built_in(&client, &request, tag).await {
                Some(answer) => answer,
                None => dispatch(&client, request).await,
            }
        };
        match timeout(limit, guarded(work)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(Panicked)) => {
                hub.0.counters.handler_panics.fetch_add(1, Relaxed);
                Err(Refusal::of(ErrorCode::Internal))
            }
            Err(_) => {
                hub.0.counters.handler_timeouts.fetch_add(1, Relaxed);
                Err(Refusal::of(ErrorCode::Timeout))
            }
        }
    })
}
