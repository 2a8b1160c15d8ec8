//! Listening: addresses, one listener or several at each, and what their connections inherit.

use std::{io, net, net::SocketAddr, sync::OnceLock};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};

use crate::error::{Error, ErrorKind, Result};

/// Connections that the system may keep waiting to be accepted.
const BACKLOG: u32 = 4096;

/// Several listeners at one address, among which the system deals out connections. Elsewhere, and where a listener was
/// handed in, threads accept from one listener in turn.
const DEALS_OUT: bool = cfg!(target_os = "linux");

/// Listens at an address, for so many threads.
pub(crate) async fn listen(address: &str, threads: usize) -> Result<Vec<net::TcpListener>> {
    let refuse = |source: io::Error| {
        Error::new(
            ErrorKind::Io,
            format!("cannot listen on {address}: {source}"),
        )
        .with_source(source)
    };
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    for address in lookup_host(address).await.map_err(refuse)? {
        match bind_all(address, threads) {
            Ok(listeners) => return Ok(listeners),
            Err(error) => failure = error,
        }
    }
    Err(refuse(failure))
}

/// The same listener for each thread.
pub(crate) fn share(
    listener: net::TcpListener,
    threads: usize,
) -> io::Result<Vec<net::TcpListener>> {
    let mut listeners = (1..threads)
        .map(|_| listener.try_clone())
        .collect::<io::Result<Vec<_>>>()?;
    listeners.push(listener);
    Ok(listeners)
}

fn bind_all(mut address: SocketAddr, threads: usize) -> io::Result<Vec<net::TcpListener>> {
    // Shared addresses may be shared with another program of the same user: first see that there is none.
    let alone = bind(address, false)?;
    if threads < 2 || !DEALS_OUT {
        return share(alone, threads);
    }
    if address.port() != 0 {
        drop(alone);
    }
    let mut listeners = Vec::with_capacity(threads);
    for _ in 0..threads {
        let listener = bind(address, true)?;
        // Where the system chooses a port it chooses one for all.
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<net::TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // On Windows the option would let another program take the address over.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    #[cfg(target_os = "linux")]
    socket.set_reuseport(shared)?;
    #[cfg(not(target_os = "linux"))]
    let _ = shared;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Small messages leave at once. Where connections inherit that from their listener, as on Linux, it is said only once.
#[derive(Debug, Default)]
pub(crate) struct NoDelay(OnceLock<bool>);

impl NoDelay {
    pub(crate) fn of(listener: &TcpListener) -> Self {
        // Where it fails it is said for each connection.
        let _ = SockRef::from(listener).set_tcp_nodelay(true);
        Self::default()
    }

    pub(crate) fn ensure(&self, stream: &TcpStream) -> io::Result<()> {
        if *self.0.get_or_init(|| stream.nodelay().unwrap_or(false)) {
            return Ok(());
        }
        stream.set_nodelay(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_thread_has_a_listener_at_the_same_address() {
        for threads in [1, 3] {
            let listeners = listen("127.0.0.1:0", threads).await.expect("a port");
            let address = listeners[0].local_addr().expect("an address");
            assert_eq!(listeners.len(), threads);
            for listener in &listeners {
                assert_eq!(listener.local_addr().expect("an address"), address);
            }
            let shared = listeners.into_iter().next().expect("the first");
            assert_eq!(share(shared, 3).expect("clones").len(), 3);
        }
    }

    /// Two servers on one port would each have a part of the clients.
    #[tokio::test]
    async fn an_address_that_is_taken_is_refused_also_by_several() {
        for (first, second) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            let taken = listen("127.0.0.1:0", first).await.expect("a port");
            let address = taken[0].local_addr().expect("an address").to_string();
            let error = listen(&address, second).await.expect_err("taken");
            assert!(error.to_string().contains(&address), "{error}");
            drop(taken);
            listen(&address, second).await.expect("free again");
        }
    }

    #[tokio::test]
    async fn connections_have_no_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let no_delay = NoDelay::of(&listener);
        for _ in 0..2 {
            let address = listener.local_addr().expect("an address");
            let _client = TcpStream::connect(address).await.expect("accepted");
            let (stream, _) = listener.accept().await.expect("a client");
            no_delay.ensure(&stream).expect("set");
            assert!(stream.nodelay().expect("known"));
        }
        assert!(!DEALS_OUT || no_delay.0.get() == Some(&true));
    }
}
