//! The end of a server: told to everything that is open, and awaited until nothing is left.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

/// How far the end of a server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Running,
    /// Nothing new is accepted; what is open stays.
    Refusing,
    /// What is open is asked to end.
    Draining,
    /// What is still open is dropped.
    Aborting,
}

/// The side that ends the server.
#[derive(Debug)]
pub(crate) struct Shutdown {
    phase: watch::Sender<Phase>,
    forced: Notify,
}

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Running),
            forced: Notify::new(),
        }
    }

    /// For everything that has to be asked to end and waited for: it counts as open until it drops this.
    pub(crate) fn member(&self) -> Member {
        Member(self.phase.subscribe())
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Goes on to a phase; never back.
    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let forward = *current < phase;
            if forward {
                *current = phase;
            }
            forward
        });
        if phase == Phase::Aborting {
            self.forced.notify_one();
        }
    }

    /// Drains for at most `limit`, then drops what is left. Ends early where somebody asks for
    /// [`Aborting`](Phase::Aborting). `true` if everything ended by itself.
    pub(crate) async fn drain(&self, limit: Duration) -> bool {
        self.advance(Phase::Draining);
        let waiting = async {
            tokio::select! {
                biased;
                () = self.forced.notified() => false,
                () = self.phase.closed() => true,
            }
        };
        let clean = timeout(limit, waiting).await.unwrap_or(false);
        self.advance(Phase::Aborting);
        self.phase.closed().await;
        clean
    }
}

/// The side that is asked to end.
#[derive(Clone, Debug)]
pub(crate) struct Member(watch::Receiver<Phase>);

impl Member {
    /// Waits until the end has come this far.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is lost when the future is dropped.
    pub(crate) async fn reached(&mut self, phase: Phase) {
        // Without its other side the server is gone, which is further than any phase.
        let _ = self.0.wait_for(|current| *current >= phase).await;
    }

    /// The output of a future, or `None` where the end has come this far before.
    ///
    /// It asks about the end where there is news of it, and not whenever the future is woken.
    ///
    /// # Cancel safety
    ///
    /// As that of the future.
    pub(crate) async fn unless<F: Future + Unpin>(
        &mut self,
        phase: Phase,
        mut future: F,
    ) -> Option<F::Output> {
        let news = self.0.clone();
        let mut reached = pin!(self.reached(phase));
        let mut waits: Option<Waker> = None;
        poll_fn(|cx| {
            if let Poll::Ready(output) = Pin::new(&mut future).poll(cx) {
                return Poll::Ready(Some(output));
            }
            let known = waits
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()));
            if known && news.has_changed().is_ok_and(|changed| !changed) {
                return Poll::Pending;
            }
            waits = Some(cx.waker().clone());
            reached.as_mut().poll(cx).map(|()| None)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn members_end_by_themselves() {
        let shutdown = Shutdown::new();
        let mut member = shutdown.member();
        let start = Instant::now();
        tokio::spawn(async move {
            member.reached(Phase::Draining).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(member);
        });
        assert!(shutdown.drain(Duration::from_secs(30)).await);
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn members_that_stay_are_dropped_at_the_limit() {
        let shutdown = Shutdown::new();
        let mut member = shutdown.member();
        tokio::spawn(async move { member.reached(Phase::Aborting).await });
        let start = Instant::now();
        assert!(!shutdown.drain(Duration::from_secs(30)).await);
        assert_eq!(start.elapsed(), Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_request_forces() {
        let shutdown = Arc::new(Shutdown::new());
        let mut member = shutdown.member();
        tokio::spawn(async move { member.reached(Phase::Aborting).await });
        let second = shutdown.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            second.advance(Phase::Aborting);
        });
        let start = Instant::now();
        assert!(!shutdown.drain(Duration::from_secs(30)).await);
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        shutdown.advance(Phase::Draining);
        assert_eq!(shutdown.phase(), Phase::Aborting);
    }
}
