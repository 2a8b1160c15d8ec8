//! The end of a server: told to everything that is open, and awaited until nothing is left.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Waker},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::chunks::Chunks;

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
    bells: Arc<Bells>,
}

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Running),
            forced: Notify::new(),
            bells: Arc::default(),
        }
    }

    /// For everything that has to be asked to end and waited for: it counts as open until it drops this.
    pub(crate) fn member(&self) -> Member {
        Member(self.phase.subscribe())
    }

    /// For the many tasks that are woken often and asked to end once.
    pub(crate) fn bell(&self) -> Bell {
        let mut slots = self.bells.slots();
        slots.member.get_or_insert_with(|| self.member());
        let slot = slots.free.pop().unwrap_or_else(|| slots.wakers.push(None));
        Bell {
            bells: Arc::clone(&self.bells),
            slot: u32::try_from(slot).unwrap_or(u32::MAX),
            is_hung: false,
            told: false,
        }
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
        self.bells.ring(phase);
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

/// Without the server nothing of it goes on.
impl Drop for Shutdown {
    fn drop(&mut self) {
        self.bells.ring(Phase::Aborting);
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
}

/// Whom to wake when the end comes nearer: a word that many tasks read, and a place for the waker of each.
#[derive(Debug, Default)]
struct Bells {
    phase: AtomicU8,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    wakers: Chunks<Option<Waker>>,
    free: Vec<usize>,
    /// For all of them: there while there is any.
    member: Option<Member>,
}

impl Bells {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Relaxed);
        // Not under the lock: whoever is woken may end, and give its place back.
        let wakers: Vec<_> = {
            let mut slots = self.slots();
            slots
                .wakers
                .iter_mut()
                .flatten()
                .map(|waker| waker.clone())
                .collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A member that asks how far the end has come each time it is woken, which costs one read, and is woken when it comes
/// nearer. It is in the memory of every socket, and small.
#[derive(Debug)]
pub(crate) struct Bell {
    bells: Arc<Bells>,
    slot: u32,
    /// A task has been polled with it, and is woken.
    is_hung: bool,
    /// For its owner: the end has been acted upon.
    pub(crate) told: bool,
}

impl Bell {
    /// How far the end has come. The task of the first call is woken when that changes.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Phase {
        if !self.is_hung {
            self.is_hung = true;
            if let Some(slot) = self.bells.slots().wakers.get_mut(self.slot as usize) {
                *slot = Some(cx.waker().clone());
            }
        }
        match self.bells.phase.load(Relaxed) {
            0 => Phase::Running,
            1 => Phase::Refusing,
            2 => Phase::Draining,
            _ => Phase::Aborting,
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let slot = self.slot as usize;
        let mut slots = self.bells.slots();
        // A waker may hold the last of a task, which is not to end under the lock.
        let waker = slots.wakers.get_mut(slot).and_then(Option::take);
        slots.free.push(slot);
        // What many connections needed once is given back when they are gone.
        let last = if slots.free.len() == slots.wakers.len() {
            std::mem::take(&mut *slots)
        } else {
            Slots::default()
        };
        drop(slots);
        drop((waker, last));
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn bells_ring_once_for_each_step() {
        let shutdown = Shutdown::new();
        let rings = Arc::new(Rings::default());
        let waker = Waker::from(Arc::clone(&rings));
        let cx = Context::from_waker(&waker);
        let (mut first, mut second) = (shutdown.bell(), shutdown.bell());
        assert_eq!(first.poll(&cx), Phase::Running);
        assert_eq!(second.poll(&cx), Phase::Running);
        shutdown.advance(Phase::Draining);
        assert_eq!(rings.0.load(Relaxed), 2);
        assert_eq!(first.poll(&cx), Phase::Draining);
        drop(first);
        shutdown.advance(Phase::Aborting);
        assert_eq!(rings.0.load(Relaxed), 3);
        // One that comes late knows at once, in the place of the one that left.
        let mut late = shutdown.bell();
        assert_eq!(late.poll(&cx), Phase::Aborting);
        assert_eq!(shutdown.bells.slots().wakers.len(), 2);
        drop((second, late));
        assert_eq!(shutdown.bells.slots().wakers.len(), 0);
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Rings(std::sync::atomic::AtomicUsize);

    impl std::task::Wake for Rings {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
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
