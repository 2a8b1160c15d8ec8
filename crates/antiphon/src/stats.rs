//! What a server counts.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The counts of a server since its start, and what is open now. See [`Running::stats`](crate::server::Running::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// TCP connections that are open, whatever they carry.
    pub open_connections: u64,
    /// WebSockets that are open.
    pub open_sockets: u64,
    /// TCP connections that were accepted, refused ones included.
    pub accepted: u64,
    /// Opening handshakes that succeeded.
    pub upgraded: u64,
    /// Opening handshakes that were answered with an error status.
    pub rejected_upgrades: u64,
    /// Connections refused because `max_connections` were open.
    pub refused_connections: u64,
    /// Connections and opening handshakes refused because their address had `max_connections_per_address` open.
    pub refused_addresses: u64,
    /// Connections refused because `max_handshakes` were under way.
    pub refused_handshakes: u64,
    /// Connections refused because the process could open no more files.
    pub refused_descriptors: u64,
    /// Connections that were closed at the handshake deadline: silent, half-sent or slow.
    pub handshake_timeouts: u64,
    /// TLS handshakes that failed.
    pub tls_failures: u64,
    /// HTTP connections that were closed because nothing happened on them.
    pub idle_timeouts: u64,
    /// Connections that had to wait because of `max_accept_rate`.
    pub delayed_accepts: u64,
    /// Errors of accepting itself.
    pub accept_errors: u64,
    /// Socket handlers that ended with an error.
    pub handler_errors: u64,
    /// Socket handlers that panicked.
    pub handler_panics: u64,
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) open_connections: AtomicU64,
    pub(crate) open_sockets: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) upgraded: AtomicU64,
    pub(crate) rejected_upgrades: AtomicU64,
    pub(crate) refused_connections: AtomicU64,
    pub(crate) refused_addresses: AtomicU64,
    pub(crate) refused_handshakes: AtomicU64,
    pub(crate) refused_descriptors: AtomicU64,
    pub(crate) handshake_timeouts: AtomicU64,
    pub(crate) tls_failures: AtomicU64,
    pub(crate) idle_timeouts: AtomicU64,
    pub(crate) delayed_accepts: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    pub(crate) handler_errors: AtomicU64,
    pub(crate) handler_panics: AtomicU64,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            open_connections: read(&self.open_connections),
            open_sockets: read(&self.open_sockets),
            accepted: read(&self.accepted),
            upgraded: read(&self.upgraded),
            rejected_upgrades: read(&self.rejected_upgrades),
            refused_connections: read(&self.refused_connections),
            refused_addresses: read(&self.refused_addresses),
            refused_handshakes: read(&self.refused_handshakes),
            refused_descriptors: read(&self.refused_descriptors),
            handshake_timeouts: read(&self.handshake_timeouts),
            tls_failures: read(&self.tls_failures),
            idle_timeouts: read(&self.idle_timeouts),
            delayed_accepts: read(&self.delayed_accepts),
            accept_errors: read(&self.accept_errors),
            handler_errors: read(&self.handler_errors),
            handler_panics: read(&self.handler_panics),
        }
    }
}

/// Counts one event.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Counts something as open for as long as this exists.
#[derive(Debug)]
pub(crate) struct Open<const SOCKET: bool>(Arc<Counters>);

/// A TCP connection that is open.
pub(crate) type OpenConnection = Open<false>;

/// A WebSocket that is open.
pub(crate) type OpenSocket = Open<true>;

impl<const SOCKET: bool> Open<SOCKET> {
    pub(crate) fn new(counters: &Arc<Counters>) -> Self {
        let open = Self(Arc::clone(counters));
        count(open.counter());
        open
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0
    }

    fn counter(&self) -> &AtomicU64 {
        if SOCKET {
            &self.0.open_sockets
        } else {
            &self.0.open_connections
        }
    }
}

impl<const SOCKET: bool> Drop for Open<SOCKET> {
    fn drop(&mut self) {
        self.counter().fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_counted_down_when_it_is_dropped() {
        let counters = Arc::new(Counters::default());
        let (connection, socket) = (OpenConnection::new(&counters), OpenSocket::new(&counters));
        count(&counters.accepted);
        let stats = counters.snapshot();
        assert_eq!(
            (stats.open_connections, stats.open_sockets, stats.accepted),
            (1, 1, 1)
        );
        drop((connection, socket));
        let stats = counters.snapshot();
        assert_eq!(
            (stats.open_connections, stats.open_sockets, stats.accepted),
            (0, 0, 1)
        );
    }
}
