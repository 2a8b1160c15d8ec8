//! The driver's one timer, and what a task does that waits for anything to happen.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use tokio::{io::ReadBuf, time::Instant};

use crate::driver::Driver;

/// Bytes that are read for a task that only sends, to see that the peer is alive.
const READ_AHEAD: usize = 4 * 1024;

/// From this wait on a deadline need not be met to the millisecond.
const COARSE_FROM: Duration = Duration::from_secs(4);

impl Driver {
    /// `Ready` where a deadline passed and was handled. The timer is only ever moved when it fires or is too late: a
    /// deadline that keeps being postponed costs nothing.
    #[inline]
    pub(super) fn poll_timer(&mut self) -> Poll<()> {
        let calm = self.connection.is_calm();
        if calm && self.timer_covers_calm && self.timer_polled && self.timer.is_waiting() {
            return Poll::Pending;
        }
        self.poll_deadline(calm)
    }

    fn poll_deadline(&mut self, calm: bool) -> Poll<()> {
        let Some(deadline) = self.connection.poll_deadline() else {
            return Poll::Pending;
        };
        let deadline = Instant::from_std(deadline);
        // A calm connection has time: it is woken together with others.
        let away = deadline.saturating_duration_since(Instant::from_std(self.now()));
        let coarse = calm && away >= COARSE_FROM;
        if self.timer.covers(deadline, coarse)
            && (self.timer_polled || self.timer.hand_to(&self.waker))
        {
            self.timer_polled = true;
            self.timer_covers_calm |= calm;
            return Poll::Pending;
        }
        let now = Instant::now();
        if now >= deadline {
            self.connection.handle_deadline(now.into_std());
            self.timer.clear();
            self.timer_covers_calm = false;
            return Poll::Ready(());
        }
        // One that is only brought nearer covers what it covered.
        self.timer_covers_calm = calm || (self.timer_covers_calm && self.timer.is_waiting());
        self.timer.set(deadline, coarse, &self.waker);
        self.timer_polled = true;
        Poll::Pending
    }

    /// Makes the task wait for anything to happen, the passing of a deadline included.
    pub(super) fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        self.register(cx);
        if self.timer.is_due() {
            // Whoever only sends leaves the peer's pongs unread: before silence is held against it, the transport is
            // asked.
            self.read_ahead();
        }
        if self.poll_timer().is_ready() {
            self.wake_all();
        }
        Poll::Pending
    }

    /// Reads what has come without parsing it, up to a bound: beyond it, that something waits is enough to know.
    fn read_ahead(&mut self) {
        let now = Instant::now();
        if self.unread.len() >= READ_AHEAD {
            self.connection.handle_unread(now.into_std());
            return;
        }
        let mut bytes = [0; 2048];
        let mut buf = ReadBuf::new(&mut bytes);
        let mut cx = Context::from_waker(&self.waker);
        if let Poll::Ready(Ok(())) = self.transport.poll_read(&mut cx, &mut buf)
            && !buf.filled().is_empty()
        {
            self.unread.push(buf.filled());
            self.connection.handle_unread(now.into_std());
        }
    }

    /// Waits as long as the answer to a Close may take, once.
    pub(super) fn poll_last_flush(&mut self) -> Poll<()> {
        if !self.last_flush {
            self.last_flush = true;
            self.timer_covers_calm = false;
            self.timer_polled = true;
            let limit = Instant::now() + self.connection.config().close_timeout;
            self.timer.set(limit, false, &self.waker);
        } else if !self.timer_polled {
            self.timer_polled = self.timer.hand_to(&self.waker);
        }
        if self.timer.is_waiting() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}
