//! A transport in memory: the same bytes come again as soon as they are answered, as from a peer that is never late.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The end of the transport that the socket has. Each turn costs it what a turn costs with a real one: a read, a write,
/// and a read that finds nothing yet.
pub(crate) struct Feed(Arc<Mutex<State>>);

/// The other end: starts turns and waits for them.
pub(crate) struct Turns(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    batch: Vec<u8>,
    answer: usize,
    left: u64,
    unanswered: usize,
    arrived: bool,
    gone: bool,
    reader: Option<Waker>,
    done: Option<Waker>,
}

/// A transport on which `batch` comes, and which expects an answer of `answer` bytes to it.
pub(crate) fn feed(batch: Vec<u8>, answer: usize) -> (Feed, Turns) {
    let state = Arc::new(Mutex::new(State {
        batch,
        answer,
        ..State::default()
    }));
    (Feed(state.clone()), Turns(state))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Turns {
    /// Has the batch come so many times; ready when all of them are answered.
    pub(crate) async fn run(&self, times: u64) {
        {
            let mut state = lock(&self.0);
            state.left = times;
            state.arrived = true;
            if let Some(reader) = state.reader.take() {
                reader.wake();
            }
        }
        poll_fn(|cx| {
            let mut state = lock(&self.0);
            assert!(!state.gone, "the socket ended before its turns did");
            if state.left == 0 && state.unanswered == 0 {
                return Poll::Ready(());
            }
            state.done = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.gone = true;
        if let Some(done) = state.done.take() {
            done.wake();
        }
    }
}

impl AsyncRead for Feed {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut guard = lock(&self.0);
        let state = &mut *guard;
        if state.unanswered > 0 || state.left == 0 {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if !state.arrived {
            state.arrived = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if buf.remaining() < state.batch.len() {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        }
        buf.put_slice(&state.batch);
        state.arrived = false;
        state.left -= 1;
        state.unanswered = state.answer;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Feed {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = slices.iter().map(|slice| slice.len()).sum();
        let mut state = lock(&self.0);
        let before = state.unanswered;
        state.unanswered = before.saturating_sub(written);
        if before > 0 && state.unanswered == 0 {
            let next = if state.left > 0 {
                // Whoever reads now finds nothing yet; whoever waits is woken.
                state.arrived = state.reader.is_some();
                state.reader.take()
            } else {
                state.done.take()
            };
            if let Some(waker) = next {
                waker.wake();
            }
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A runtime of one thread. Without an I/O driver: nothing here waits for the system.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime of one thread needs nothing that can be missing")
}
