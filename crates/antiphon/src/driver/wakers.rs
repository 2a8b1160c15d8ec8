//! The tasks that wait for something of one socket.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Wake, Waker},
};

/// The tasks that wait, where there are several: I/O is polled with one waker that wakes them all, so that any of them
/// carries the connection on. Where there is only the one that receives, as in most sockets, I/O is polled with its own.
#[derive(Debug)]
pub(super) struct Wakers(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    receiver: Waker,
    others: Vec<Waker>,
}

impl Wakers {
    pub(super) fn new(receiver: Waker, other: Waker) -> Self {
        let others = vec![other];
        Self(Mutex::new(Waiting { receiver, others }))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the task the one that receives.
    pub(super) fn receive(&self, cx: &Context<'_>) {
        let mut waiting = self.lock();
        if !waiting.receiver.will_wake(cx.waker()) {
            waiting.receiver = cx.waker().clone();
        }
    }

    /// Makes the task one of the others.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        let mut waiting = self.lock();
        let mut others = waiting.others.iter();
        if !others.any(|known| known.will_wake(cx.waker())) {
            waiting.others.push(cx.waker().clone());
        }
    }

    fn wake_all(&self) {
        let others = {
            let mut waiting = self.lock();
            waiting.receiver.wake_by_ref();
            mem::take(&mut waiting.others)
        };
        others.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}
