//! From an accepted handshake to a running handler: whoever has the connection hands it over once the answer is written.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use antiphon_proto::{
    config::{Config, DeflateConfig, Role},
    handshake::Negotiated,
};
use bytes::Bytes;

use crate::{
    error::Result,
    limits::Lease,
    shutdown::Bell,
    socket::WebSocket,
    stats::{Counters, OpenSocket, count},
    transport::Transport,
    turn::Session,
};

/// Wait for the answer to reach the client and the connection to be handed over.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Whatever has to live as long as a socket, such as what serves its connection.
#[derive(Clone, Debug)]
pub(crate) struct Keep {
    _alive: Arc<dyn Any + Send + Sync>,
}

impl Keep {
    pub(crate) fn new(alive: Arc<dyn Any + Send + Sync>) -> Self {
        Self { _alive: alive }
    }
}

/// What lives as long as a socket: the lease of a connection that carries nothing else, and what else there is.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) _lease: Option<Lease>,
    pub(crate) _keep: Option<Keep>,
}

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
    pub(crate) bell: Bell,
}

impl Pending {
    /// Begins to run the handler: what is returned belongs into a task of its own.
    pub(crate) fn run<H, F>(
        self,
        transport: Transport,
        read_ahead: Bytes,
        kept: Kept,
        handler: H,
    ) -> Session<F, Kept>
    where
        H: FnOnce(WebSocket) -> F,
        F: Future<Output = Result<()>>,
    {
        count(&self.counters.upgraded);
        let open = OpenSocket::new(&self.counters);
        let socket = WebSocket::new(
            transport,
            Role::Server,
            self.config,
            self.negotiated,
            self.deflate,
            read_ahead,
        );
        Session::new(handler, socket, self.bell, open, kept)
    }
}
