//! What waits for one connection: bounded, allocated when something waits, with a declared way to lose.

mod run;

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::Waker,
    time::SystemTime,
};

use antiphon::{Message, Prepared};
use tokio::time::Instant;

use crate::{
    code::{CloseReason, close, event},
    config::Overflow,
    json::Json,
    wire::{Envelope, Wire},
};

/// The memory of all messages that exist, and what queues have done of their own accord.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    limit: AtomicUsize,
    /// Notices of gaps that were put into queues.
    notices: AtomicU64,
    /// Messages that still waited when a queue ended.
    discarded: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            notices: AtomicU64::new(0),
            discarded: AtomicU64::new(0),
        }
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Relaxed);
    }

    pub(crate) fn notices(&self) -> u64 {
        self.notices.load(Relaxed)
    }

    pub(crate) fn discarded(&self) -> u64 {
        self.discarded.load(Relaxed)
    }

    /// Whether `more` bytes would be too many.
    pub(crate) fn is_short(&self, more: usize) -> bool {
        self.used().saturating_add(more) > self.limit()
    }

    fn charge(&self, bytes: usize) {
        self.used.fetch_add(bytes, Relaxed);
    }

    fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }
}

/// A message for any number of connections, encoded at most once for each wire.
#[derive(Clone, Debug)]
pub(crate) struct Frame(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    push: Option<Push>,
    encoded: [OnceLock<Prepared>; 2],
    /// What the frame weighs in an outbox.
    weight: usize,
    has_key: bool,
    budget: Arc<Budget>,
    charged: AtomicUsize,
    /// The frames of a run; empty where it is one frame.
    parts: Box<[Frame]>,
}

/// An event for others, before it is encoded.
#[derive(Debug)]
pub(crate) struct Push {
    pub(crate) event: Arc<str>,
    pub(crate) data: Option<Json>,
    /// The tag that it was sent to, and the place there.
    pub(crate) tag: Option<(Arc<str>, u64)>,
    /// Messages with the same key replace each other, where they may.
    pub(crate) key: Option<Arc<str>>,
    pub(crate) overflow: Overflow,
    /// Unix seconds.
    pub(crate) timestamp: u64,
}

/// What a frame weighs beyond its data: the envelope, and its place in the queue.
const ENVELOPE: usize = 96;

impl Frame {
    pub(crate) fn push(push: Push, budget: &Arc<Budget>) -> Self {
        let weight = ENVELOPE
            + push.event.len()
            + push.data.as_ref().map_or(0, |data| data.as_str().len())
            + push.tag.as_ref().map_or(0, |(tag, _)| tag.len());
        Self::new(Some(push), weight, budget)
    }

    /// A message for one connection: a reply.
    pub(crate) fn encoded(wire: Wire, envelope: &Envelope<'_>, budget: &Arc<Budget>) -> Self {
        let prepared = prepare(wire, envelope);
        let frame = Self::new(
            None,
            prepared.message().len() + mem::size_of::<Inner>(),
            budget,
        );
        // A new frame has nothing there.
        let _ = frame.0.encoded[slot(wire)].set(prepared);
        frame
    }

    /// A text for one connection that is no envelope.
    pub(crate) fn text(wire: Wire, text: &'static str, budget: &Arc<Budget>) -> Self {
        let frame = Self::new(None, text.len() + mem::size_of::<Inner>(), budget);
        let _ = frame.0.encoded[slot(wire)].set(Prepared::new(Message::text(text)));
        frame
    }

    fn new(push: Option<Push>, weight: usize, budget: &Arc<Budget>) -> Self {
        budget.charge(weight);
        let has_key = push.as_ref().is_some_and(|push| {
            push.overflow == Overflow::Latest && (push.key.is_some() || push.tag.is_some())
        });
        Self(Arc::new(Inner {
            push,
            has_key,
            encoded: [OnceLock::new(), OnceLock::new()],
            weight,
            budget: budget.clone(),
            charged: AtomicUsize::new(weight),
            parts: Box::default(),
        }))
    }

    /// The frame for this wire.
    pub(crate) fn prepared(&self, wire: Wire) -> &Prepared {
        self.0.encoded[slot(wire)].get_or_init(|| {
            let Some(push) = &self.0.push else {
                // A reply is encoded for the wire of the one connection that it is for.
                return Prepared::new(Message::text(""));
            };
            let prepared = prepare(wire, &push.envelope());
            let bytes = prepared.message().len();
            self.0.charged.fetch_add(bytes, Relaxed);
            self.0.budget.charge(bytes);
            prepared
        })
    }

    pub(crate) fn weight(&self) -> usize {
        self.0.weight
    }

    /// Whether both are one frame.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn overflow(&self) -> Overflow {
        self.0
            .push
            .as_ref()
            .map_or(Overflow::Disconnect, |push| push.overflow)
    }

    /// Frames with the same one replace each other in a queue. What has neither a key nor a tag replaces nothing.
    fn key(&self) -> Option<Key> {
        let push = self.0.push.as_ref().filter(|_| self.0.has_key)?;
        Some(Key {
            tag: push.tag.as_ref().map(|(tag, _)| tag.clone()),
            key: push.key.clone(),
        })
    }

    fn has_key(&self) -> bool {
        self.0.has_key
    }

    /// It was taken out of a queue, and nobody will read it.
    pub(crate) fn discard(self) {
        let messages = self.parts().len() as u64;
        self.0.budget.discarded.fetch_add(messages, Relaxed);
    }

    fn tag(&self) -> Option<&(Arc<str>, u64)> {
        self.0.push.as_ref()?.tag.as_ref()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.budget.release(self.charged.load(Relaxed));
    }
}

impl Push {
    fn envelope(&self) -> Envelope<'_> {
        let mut envelope = Envelope::push(&self.event, self.data.as_ref());
        envelope.timestamp = self.timestamp;
        if let Some((tag, offset)) = &self.tag {
            envelope.ch = Some(tag);
            envelope.offset = Some(*offset);
        }
        envelope
    }
}

fn prepare(wire: Wire, envelope: &Envelope<'_>) -> Prepared {
    Prepared::new(Message::text(wire.encode(envelope)))
}

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn slot(wire: Wire) -> usize {
    match wire {
        Wire::V1 => 0,
        Wire::V2 => 1,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    tag: Option<Arc<str>>,
    key: Option<Arc<str>>,
}

/// What became of a frame that was offered to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It waits for the connection.
    Queued,
    /// There was no room: it is lost, and the client will be told.
    Dropped,
    /// There was no room: the connection is being closed for it.
    Slow,
    /// The connection is being closed already.
    Closing,
}

/// Most bytes and messages that wait for one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) messages: usize,
}

/// Where the latest message of each key stands. In a box: few connections ever need it.
#[derive(Debug, Default)]
struct Keys(HashMap<Key, u32>);

/// The queue of one connection. What a send to thousands looks at comes first, so that it is in few lines of the cache; what
/// only a longer queue needs comes last.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Outbox {
    /// What is written next: most queues hold one frame at most. There are no entries without it, and none behind a run.
    next: Option<Frame>,
    bytes: usize,
    closing: Option<Box<CloseReason>>,
    gap: Option<Box<Gap>>,
    keys: Option<Box<Keys>>,
    waker: Option<Waker>,
    /// Frames that wait. Each takes more than a byte, so this is wide enough.
    len: u32,
    /// Where the session runs: see [`Homes`](crate::writer::Homes).
    pub(crate) home: u16,
    /// The session waits for its socket to take more: another frame is no reason to wake it.
    is_blocked: bool,
    /// A run of writes will come by: see [`writer`](crate::writer).
    is_due: bool,
    /// When something was last taken out to be written.
    written: Option<Instant>,
    /// The session records its frames.
    pub(crate) is_traced: bool,
    /// The number of the next one, counted from the beginning of the connection, and around.
    first: u32,
    /// What waits behind the next one. An entry is `None` where a newer one has taken its place.
    entries: VecDeque<Option<Frame>>,
}

/// Room for frames that is made at once where a second one waits: more come together then.
const ENTRIES: usize = 15;

/// What has been lost since the client was last told.
#[derive(Debug, Default)]
struct Gap {
    tags: Vec<(Arc<str>, Lost)>,
    /// What was sent to the connection, its user or all.
    direct: u64,
}

/// A range of places in a tag, and how many in it were lost.
#[derive(Clone, Copy, Debug)]
struct Lost {
    from: u64,
    to: u64,
    dropped: u64,
}

impl Outbox {
    /// Takes a frame, or says why not, and whether an older one with its key has gone for it. The caller sees to it that
    /// it is written, and wakes [`take_waker`](Self::take_waker) where the connection is closed for it.
    pub(crate) fn offer(
        &mut self,
        frame: &Frame,
        bounds: Bounds,
        budget: &Arc<Budget>,
    ) -> (Offered, bool) {
        if self.closing.is_some() {
            return (Offered::Closing, false);
        }
        if !frame.has_key() && self.gap.is_none() && self.has_room(frame, bounds) {
            self.append(frame.clone());
            return (Offered::Queued, false);
        }
        self.unpack();
        let key = frame.key();
        let replaced = key.as_ref().and_then(|key| self.remove(key));
        // What takes the place of an older one needs no more room than the queue has, and is no reason to tell of a gap.
        let replaces = replaced.is_some() && self.fits(frame, bounds.bytes, bounds.messages);
        if !replaces {
            if !self.has_room(frame, bounds) {
                if frame.overflow() == Overflow::Disconnect {
                    self.close(close::SLOW);
                    return (Offered::Slow, false);
                }
                self.lose(frame);
                return (Offered::Dropped, replaced.is_some());
            }
            self.tell_gap(budget);
        }
        if let Some(key) = key {
            let number = self.first.wrapping_add(self.slots());
            self.keys.get_or_insert_default().0.insert(key, number);
        }
        self.append(frame.clone());
        (Offered::Queued, replaced.is_some())
    }

    /// Takes a frame that was asked for by the client itself; beyond the bounds the connection is closed.
    pub(crate) fn reply(&mut self, frame: Frame, bounds: Bounds) -> Offered {
        if self.closing.is_some() {
            return Offered::Closing;
        }
        if self.len() >= bounds.messages
            || self.bytes + frame.weight() > bounds.bytes.max(frame.weight())
        {
            self.close(close::SLOW);
            return Offered::Slow;
        }
        self.append(frame);
        Offered::Queued
    }

    /// Takes a frame that goes before all others; nothing has been popped yet. `false`: it is being closed.
    pub(crate) fn welcome(&mut self, frame: Frame) -> bool {
        if self.closing.is_some() {
            return false;
        }
        self.unpack();
        self.bytes += frame.weight();
        self.len += 1;
        self.first = self.first.wrapping_sub(1);
        if let Some(second) = self.next.replace(frame) {
            self.entries.push_front(Some(second));
        }
        true
    }

    /// Places in the queue, with those whose frames have gone.
    fn slots(&self) -> u32 {
        u32::from(self.next.is_some()) + self.entries.len() as u32
    }

    /// While a gap is open, nothing is taken before half of the queue is free: one notice for many, not one each.
    fn has_room(&self, frame: &Frame, bounds: Bounds) -> bool {
        let (bytes, messages) = if self.gap.is_some() {
            (bounds.bytes / 2, bounds.messages / 2)
        } else {
            (bounds.bytes, bounds.messages)
        };
        self.fits(frame, bytes, messages)
    }

    /// One message always fits into an empty queue: whoever may publish it may have it delivered.
    fn fits(&self, frame: &Frame, bytes: usize, messages: usize) -> bool {
        self.len == 0 || (self.len() < messages && self.bytes + frame.weight() <= bytes)
    }

    fn append(&mut self, frame: Frame) {
        self.unpack();
        self.bytes += frame.weight();
        self.len += 1;
        if self.next.is_none() {
            self.next = Some(frame);
            return;
        }
        if self.entries.capacity() == 0 {
            self.entries.reserve_exact(ENTRIES);
        }
        self.entries.push_back(Some(frame));
    }

    fn remove(&mut self, key: &Key) -> Option<Frame> {
        let number = self.keys.as_mut()?.0.remove(key)?;
        let index = usize::try_from(number.wrapping_sub(self.first)).ok()?;
        let entry = match index.checked_sub(1) {
            None => self.next_up()?,
            Some(behind) => self.entries.get_mut(behind)?.take()?,
        };
        self.bytes -= entry.weight();
        self.len -= 1;
        self.trim();
        // Holes are worth their memory only while they are few.
        if self.entries.len() > 64 && self.entries.len() > self.len() * 2 {
            self.compact();
        }
        Some(entry)
    }

    fn compact(&mut self) {
        let entries = mem::take(&mut self.entries);
        let base = self.first.wrapping_add(1);
        let mut moved = HashMap::new();
        for (index, entry) in entries.into_iter().enumerate() {
            if entry.is_some() {
                let new = base.wrapping_add(self.entries.len() as u32);
                moved.insert(base.wrapping_add(index as u32), new);
                self.entries.push_back(entry);
            }
        }
        if let Some(keys) = &mut self.keys {
            for number in keys.0.values_mut() {
                if let Some(new) = moved.get(number) {
                    *number = *new;
                }
            }
        }
    }

    fn lose(&mut self, frame: &Frame) {
        let gap = self.gap.get_or_insert_default();
        match frame.tag() {
            None => gap.direct += 1,
            Some((tag, offset)) => match gap.tags.iter_mut().find(|(lost, _)| lost == tag) {
                Some((_, lost)) => {
                    lost.to = *offset;
                    lost.dropped += 1;
                }
                None => gap.tags.push((
                    tag.clone(),
                    Lost {
                        from: *offset,
                        to: *offset,
                        dropped: 1,
                    },
                )),
            },
        }
    }

    /// Puts the notices of an open gap behind what waits.
    fn tell_gap(&mut self, budget: &Arc<Budget>) {
        let Some(gap) = self.gap.take() else { return };
        let timestamp = unix_seconds();
        let notices = gap.tags.len() as u64 + u64::from(gap.direct > 0);
        budget.notices.fetch_add(notices, Relaxed);
        for (tag, lost) in gap.tags {
            let data = format!(
                "{{\"ch\":{},\"from\":{},\"to\":{},\"dropped\":{},\"reason\":\"slow\"}}",
                serde_json::Value::from(&*tag),
                lost.from,
                lost.to,
                lost.dropped
            );
            self.append(notice(&data, timestamp, budget));
        }
        if gap.direct > 0 {
            let data = format!("{{\"dropped\":{},\"reason\":\"slow\"}}", gap.direct);
            self.append(notice(&data, timestamp, budget));
        }
    }

    /// The next frame to write.
    pub(crate) fn pop(&mut self, budget: &Arc<Budget>) -> Option<Frame> {
        if self.len == 0 {
            self.tell_gap(budget);
        }
        self.unpack();
        let frame = self.next_up()?;
        if let Some(keys) = &mut self.keys
            && let Some(key) = frame.key()
        {
            keys.0.remove(&key);
        }
        self.bytes -= frame.weight();
        self.len -= 1;
        self.trim();
        Some(frame)
    }

    /// Takes the first frame out of its place; the one behind it moves up.
    fn next_up(&mut self) -> Option<Frame> {
        let frame = self.next.take()?;
        self.first = self.first.wrapping_add(1);
        while let Some(entry) = self.entries.pop_front() {
            if entry.is_some() {
                self.next = entry;
                break;
            }
            self.first = self.first.wrapping_add(1);
        }
        Some(frame)
    }

    /// Takes out what is to be written now, about `room` bytes of it, a run as one; whether more waits.
    pub(crate) fn take(
        &mut self,
        room: usize,
        frames: &mut Vec<Frame>,
        budget: &Arc<Budget>,
        now: Instant,
    ) -> bool {
        self.is_due = false;
        if self.gap.is_none() && self.keys.is_none() && self.bytes <= room {
            let Some(next) = self.next.take() else {
                return false;
            };
            frames.push(next);
            if !self.entries.is_empty() {
                frames.extend(mem::take(&mut self.entries).into_iter().flatten());
            }
            self.first = self.first.wrapping_add(self.len);
            (self.len, self.bytes) = (0, 0);
            self.written = Some(now);
            return false;
        }
        let mut taken = 0;
        while taken < room
            && let Some(frame) = self.pop(budget)
        {
            taken += frame.weight();
            frames.push(frame);
        }
        if taken > 0 {
            self.written = Some(now);
        }
        self.has_waiting()
    }

    /// Whether there is something to write.
    pub(crate) fn has_waiting(&self) -> bool {
        self.len > 0 || self.gap.is_some()
    }

    /// When something was last taken out to be written.
    pub(crate) fn written(&self) -> Option<Instant> {
        self.written
    }

    /// As if something had been written now.
    pub(crate) fn set_written(&mut self, now: Instant) {
        self.written = Some(now);
    }

    /// Gives all memory back where nothing waits.
    fn trim(&mut self) {
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
            if self.next.is_none() {
                self.keys = None;
            }
        }
    }

    /// Has the connection closed. The first reason stays; what waits is lost where the reason is that it waits.
    /// `false` where it is being closed already.
    pub(crate) fn close(&mut self, reason: CloseReason) -> bool {
        if self.closing.is_some() {
            return false;
        }
        if reason == close::SLOW {
            self.discard();
        }
        self.closing = Some(Box::new(reason));
        true
    }

    /// Throws away what waits, and counts it.
    pub(crate) fn discard(&mut self) {
        let behind = mem::take(&mut self.entries).into_iter().flatten();
        for frame in self.next.take().into_iter().chain(behind) {
            frame.discard();
        }
        self.keys = None;
        self.gap = None;
        self.bytes = 0;
        self.len = 0;
    }

    pub(crate) fn closing(&self) -> Option<&CloseReason> {
        self.closing.as_deref()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// The session is at work: what waits, it writes.
    pub(crate) fn set_waker(&mut self, waker: &Waker) {
        self.is_blocked = false;
        self.is_due = false;
        match &mut self.waker {
            Some(old) if old.will_wake(waker) => {}
            old => *old = Some(waker.clone()),
        }
    }

    /// The session waits for its socket to take more, until it sets its waker again.
    pub(crate) fn set_blocked(&mut self) {
        self.is_blocked = true;
    }

    /// Whether a run of writes has to come by for what has been queued. Not where one will, nor where the session is about
    /// to be at work, or waits for its socket.
    pub(crate) fn make_due(&mut self) -> bool {
        !self.is_blocked && self.waker.is_some() && !mem::replace(&mut self.is_due, true)
    }

    /// The waker, where the session has something to do for what has been queued.
    pub(crate) fn take_reader(&mut self) -> Option<Waker> {
        if self.is_blocked && self.closing.is_none() {
            return None;
        }
        self.waker.take()
    }

    pub(crate) fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }
}

fn notice(data: &str, timestamp: u64, budget: &Arc<Budget>) -> Frame {
    let push = Push {
        event: Arc::from(event::GAP),
        data: Json::parse(data).ok(),
        tag: None,
        key: None,
        overflow: Overflow::Drop,
        timestamp,
    };
    Frame::push(push, budget)
}

impl Flow {
    /// Counts what became of one offer.
    pub(crate) fn count(&self, (offered, replaced): (Offered, bool)) {
        let counter = match offered {
            Offered::Queued => &self.queued,
            Offered::Dropped => &self.dropped,
            Offered::Slow | Offered::Closing => &self.slow,
        };
        counter.fetch_add(1, Relaxed);
        if replaced {
            self.conflated.fetch_add(1, Relaxed);
        }
    }
}

/// How often each thing has happened to messages, over all connections.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    pub(crate) published: AtomicU64,
    pub(crate) queued: AtomicU64,
    pub(crate) conflated: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) slow: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
}

#[cfg(test)]
mod tests;
