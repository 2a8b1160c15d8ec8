//! Events that wait to be told: bounded, numbered, and every one accounted for.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::webhooks::event::{Event, Numbered};

/// Why an event was not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The queue was full.
    Overflow,
    /// No try has arrived.
    Attempts,
    /// The server has stopped.
    Shutdown,
}

/// What webhooks have done so far. At any time `offered = sent + dropped + queued`, whatever has gone wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    /// Events that were to be told.
    pub(crate) offered: u64,
    /// Events that have arrived.
    pub(crate) sent: u64,
    /// Events that wait or are on their way.
    pub(crate) queued: u64,
    /// Events that found no place in the queue.
    pub(crate) dropped_overflow: u64,
    /// Events that were given up after the last try.
    pub(crate) dropped_attempts: u64,
    /// Events that the end of the server has cut off.
    pub(crate) dropped_shutdown: u64,
    /// Batches that have arrived.
    pub(crate) batches: u64,
    /// Tries after a batch's first.
    pub(crate) retried: u64,
}

impl Stats {
    /// All events that were lost.
    #[cfg(test)]
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped_overflow + self.dropped_attempts + self.dropped_shutdown
    }
}

/// The queue between those who know and the one who tells.
pub(super) struct Queue {
    most: usize,
    batch: usize,
    inner: Mutex<Inner>,
    /// The first event of a batch, or the last that it holds, or the end.
    pub(super) changed: Notify,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Numbered>,
    number: u64,
    /// Losses that the backend does not know of yet.
    untold: u64,
    closing: bool,
    closed: bool,
    stats: Stats,
}

impl Queue {
    pub(super) fn new(most: usize, batch: usize) -> Self {
        Self {
            most,
            batch,
            inner: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Takes an event, or counts it as lost. Never waits.
    pub(super) fn offer(&self, event: Event) {
        let mut inner = self.lock();
        inner.stats.offered += 1;
        inner.number += 1;
        let number = inner.number;
        if inner.closed {
            inner.lose(1, Lost::Shutdown);
        } else if inner.waiting.len() >= self.most {
            inner.lose(1, Lost::Overflow);
        } else {
            inner.waiting.push_back(Numbered { number, event });
            inner.stats.queued += 1;
            let waiting = inner.waiting.len();
            drop(inner);
            if waiting == 1 || waiting == self.batch {
                self.changed.notify_one();
            }
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Takes the next batch; it stays counted as queued until [`told`](Self::told) or [`lose`](Self::lose).
    pub(super) fn take(&self) -> Vec<Numbered> {
        let mut inner = self.lock();
        let count = inner.waiting.len().min(self.batch);
        let batch = inner.waiting.drain(..count).collect();
        if inner.waiting.is_empty() {
            // A burst's memory is given back.
            inner.waiting.shrink_to(self.batch);
        }
        batch
    }

    /// Losses that the backend does not know of yet.
    pub(super) fn untold(&self) -> u64 {
        self.lock().untold
    }

    /// A batch has arrived that told of so many losses.
    pub(super) fn told(&self, events: usize, losses: u64) {
        let mut inner = self.lock();
        inner.stats.queued -= events as u64;
        inner.stats.sent += events as u64;
        inner.stats.batches += 1;
        inner.untold -= losses;
    }

    /// Events of a batch were given up.
    pub(super) fn lose(&self, events: usize, why: Lost) {
        let mut inner = self.lock();
        inner.stats.queued -= events as u64;
        inner.lose(events as u64, why);
    }

    /// One more try.
    pub(super) fn retried(&self) {
        self.lock().stats.retried += 1;
    }

    /// Asks the teller to come to an end: what waits is told without delay.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_one();
    }

    /// Whether the end is near.
    pub(super) fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// Whether the end is near and nothing waits. From then on nothing is taken any more.
    pub(super) fn is_done(&self) -> bool {
        let mut inner = self.lock();
        if inner.closing && inner.waiting.is_empty() {
            inner.closed = true;
        }
        inner.closed
    }

    /// The end: whatever was not told is lost.
    pub(super) fn end(&self) {
        let mut inner = self.lock();
        inner.closing = true;
        inner.closed = true;
        inner.waiting = VecDeque::new();
        let left = std::mem::take(&mut inner.stats.queued);
        inner.lose(left, Lost::Shutdown);
    }

    pub(super) fn stats(&self) -> Stats {
        self.lock().stats
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn lose(&mut self, events: u64, why: Lost) {
        self.untold += events;
        let counter = match why {
            Lost::Overflow => &mut self.stats.dropped_overflow,
            Lost::Attempts => &mut self.stats.dropped_attempts,
            Lost::Shutdown => &mut self.stats.dropped_shutdown,
        };
        *counter += events;
    }
}
