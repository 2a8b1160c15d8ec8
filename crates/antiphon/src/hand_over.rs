//! From an accepted handshake to a running handler: whoever has the connection hands it over once the answer is written.

use std::{
    any::Any,
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use antiphon_proto::{
    close::{CloseCode, CloseFrame},
    config::{Config, DeflateConfig, Role},
    handshake::Negotiated,
};
use bytes::Bytes;

use crate::{
    error::{Error, Result},
    panic::caught,
    shutdown::{Member, Phase},
    socket::{Shared, WebSocket},
    stats::{Counters, Open, count},
    transport::Transport,
    turn,
};

/// Wait for the answer to reach the client and the connection to be handed over.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Whatever has to live as long as a socket, such as the permit of its connection.
pub(crate) type Kept = Box<dyn Any + Send>;

/// Begins to serve a socket.
type Start = Box<dyn FnOnce(Transport, Bytes, Kept) + Send>;

/// Where a handler leaves what is to happen with the connection, for a server that has it in its own hands.
#[derive(Clone, Default)]
pub(crate) struct HandOver(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    seen: bool,
    start: Option<Start>,
}

impl HandOver {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The extractor has looked at the request: whatever the answer is, it is one of ours.
    pub(crate) fn see(&self) {
        self.state().seen = true;
    }

    pub(crate) fn is_seen(&self) -> bool {
        self.state().seen
    }

    /// Lays down how the socket is served.
    pub(crate) fn put(&self, start: impl FnOnce(Transport, Bytes, Kept) + Send + 'static) {
        self.state().start = Some(Box::new(start));
    }

    pub(crate) fn take(&self) -> Option<Start> {
        self.state().start.take()
    }
}

impl fmt::Debug for HandOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandOver").finish_non_exhaustive()
    }
}

/// A socket whose handshake is accepted and whose connection is still somebody else's.
pub(crate) struct Pending {
    pub(crate) negotiated: Negotiated,
    pub(crate) config: Arc<Config>,
    pub(crate) deflate: Option<Arc<DeflateConfig>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) member: Member,
}

impl Pending {
    /// Runs the handler to its end and closes the socket as its outcome says.
    pub(crate) async fn run<H, F>(
        self,
        transport: Transport,
        read_ahead: Bytes,
        kept: Kept,
        handler: H,
    ) where
        H: FnOnce(WebSocket) -> F,
        F: Future<Output = Result<()>>,
    {
        let _kept = kept;
        count(&self.counters.upgraded);
        let _open = Open::socket(&self.counters);
        let socket = WebSocket::new(
            transport,
            Role::Server,
            self.config,
            self.negotiated,
            self.deflate,
            read_ahead,
        );
        let shared = socket.shared().clone();
        let mut member = self.member;
        let ended = {
            let handling = caught(async move { handler(socket).await });
            let handling = pin!(turn::run(shared.clone(), handling));
            outcome(handling, &shared, &mut member).await
        };
        match ended {
            None => return,
            Some(Ok(Ok(()))) => start_close(&shared, CloseCode::NORMAL, ""),
            Some(Ok(Err(error))) => {
                count(&self.counters.handler_errors);
                tracing::debug!(?error, "a socket handler ended with an error");
                start_close(&shared, CloseCode::INTERNAL_ERROR, "");
            }
            Some(Err(_panicked)) => {
                count(&self.counters.handler_panics);
                tracing::error!("a socket handler panicked; its socket is closed with 1011");
                start_close(&shared, CloseCode::INTERNAL_ERROR, "");
            }
        }
        let closed = pin!(poll_fn(|cx| shared.lock().poll_closed(cx)));
        member.unless(Phase::Aborting, closed).await;
    }
}

/// The outcome of a handler; `None` where the server ends before it.
///
/// One wait follows the other: a socket asks about the end of the server in one place at a time.
async fn outcome<F: Future>(
    mut handling: Pin<&mut F>,
    shared: &Shared,
    member: &mut Member,
) -> Option<F::Output> {
    if let Some(outcome) = member.unless(Phase::Draining, handling.as_mut()).await {
        return Some(outcome);
    }
    start_close(shared, CloseCode::GOING_AWAY, "server shutting down");
    member.unless(Phase::Aborting, handling).await
}

fn start_close(shared: &Shared, code: CloseCode, reason: &'static str) {
    let started: Result<(), Error> = shared.start_close(CloseFrame::new(code, reason));
    if let Err(error) = started {
        tracing::debug!(?error, "a socket could not be closed");
    }
}
