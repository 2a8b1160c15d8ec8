//! The driver's one timer, and what a task does that waits for anything to happen.

use std::{
    future::Future,
    task::{Context, Poll},
};

use tokio::{
    io::ReadBuf,
    time::{Instant, sleep, sleep_until},
};

use crate::driver::Driver;

/// Bytes that are read for a task that only sends, to see that the peer is alive.
const READ_AHEAD: usize = 4 * 1024;

impl Driver {
    /// `Ready` where a deadline passed and was handled. The timer is only ever moved when it fires or is too late: a
    /// deadline that keeps being postponed costs nothing.
    #[inline]
    pub(super) fn poll_timer(&mut self) -> Poll<()> {
        let calm = self.connection.is_calm();
        if calm
            && self.timer_covers_calm
            && self.timer_polled
            && self.timer.as_ref().is_some_and(|timer| !timer.is_elapsed())
        {
            return Poll::Pending;
        }
        self.poll_deadline(calm)
    }

    fn poll_deadline(&mut self, calm: bool) -> Poll<()> {
        let Some(deadline) = self.connection.poll_deadline() else {
            return Poll::Pending;
        };
        let deadline = Instant::from_std(deadline);
        let timer = self.timer.get_or_insert_with(|| {
            self.timer_polled = false;
            Box::pin(sleep_until(deadline))
        });
        if deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
            self.timer_polled = false;
        }
        self.timer_covers_calm |= calm;
        // A timer that has the waker and has not fired need not be asked.
        if self.timer_polled && !timer.is_elapsed() {
            return Poll::Pending;
        }
        let mut cx = Context::from_waker(&self.waker);
        while timer.as_mut().poll(&mut cx).is_ready() {
            let now = Instant::now();
            if now >= deadline {
                let before = self.connection.buffered();
                self.now = now;
                self.connection.handle_deadline(now.into_std());
                self.queued += self.connection.buffered().saturating_sub(before) as u64;
                self.timer = None;
                self.timer_covers_calm = false;
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
            self.timer_covers_calm = calm;
        }
        self.timer_polled = true;
        Poll::Pending
    }

    /// Makes the task wait for anything to happen, the passing of a deadline included.
    pub(super) fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        self.register(cx);
        if self.timer_is_due() {
            // Whoever only sends leaves the peer's pongs unread: before silence is held against it, the transport is
            // asked.
            self.read_ahead();
        }
        if self.poll_timer().is_ready() {
            self.wake_all();
        }
        Poll::Pending
    }

    fn timer_is_due(&self) -> bool {
        self.timer.as_ref().is_some_and(|timer| timer.is_elapsed())
    }

    /// Reads what has come without parsing it, up to a bound: beyond it, that something waits is enough to know.
    fn read_ahead(&mut self) {
        let now = Instant::now();
        if self.unread.len() - self.parsed >= READ_AHEAD {
            self.connection.handle_unread(now.into_std());
            return;
        }
        let mut bytes = [0; 2048];
        let mut buf = ReadBuf::new(&mut bytes);
        let mut cx = Context::from_waker(&self.waker);
        if let Poll::Ready(Ok(())) = self.transport.poll_read(&mut cx, &mut buf)
            && !buf.filled().is_empty()
        {
            self.unread.extend_from_slice(buf.filled());
            self.now = now;
            self.connection.handle_unread(now.into_std());
        }
    }

    /// Waits as long as the answer to a Close may take, once.
    pub(super) fn poll_last_flush(&mut self) -> Poll<()> {
        if !self.last_flush {
            self.last_flush = true;
            let limit = self.connection.config().close_timeout;
            self.timer = Some(Box::pin(sleep(limit)));
            self.timer_covers_calm = false;
        }
        let mut cx = Context::from_waker(&self.waker);
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(&mut cx),
            None => Poll::Ready(()),
        }
    }
}
