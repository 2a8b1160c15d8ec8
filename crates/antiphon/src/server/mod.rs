//! The server: routes, bounds, its start and its end.

mod accept;
mod connection;
#[cfg(test)]
mod deadlines;
mod files;
mod listeners;
mod opening;
mod workers;

use std::{
    fmt, fs, io,
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use antiphon_proto::config::{Config, DeflateConfig};
use axum::{Router, handler::Handler, routing::any};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    time::{Instant, timeout, timeout_at},
};

use self::{
    accept::{LogLimit, accept_all},
    connection::{Protocols, Site, Times, serve},
    files::Files,
    listeners::{NoDelay, listen, share},
    opening::Paths,
    workers::Worker,
};
pub use crate::stats::Stats;
use crate::{
    error::{Error, ErrorKind, Result},
    limits::{Lease, Limits},
    origin::Origins,
    peer::Network,
    shutdown::{Member, Phase, Shutdown},
    stats::{Counters, OpenConnection, count},
    tls::server::ServerTls,
    upgrade::{Environment, Settings},
};

/// Files that are left for everything but connections.
const OTHER_FILES: usize = 64;

/// The most connections where the system sets no lower limit.
const MAX_CONNECTIONS: usize = 65_536;

/// Wait for a client to read why it was refused.
const LINGER: Duration = Duration::from_secs(1);

/// A future that ends the server.
type End = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A server of WebSockets, and of the HTTP around them.
///
/// Everything has a bound; each method here says which and its default. One deadline
/// ([`handshake_timeout`](Self::handshake_timeout)) runs from the moment a connection is accepted until its WebSocket is
/// open: through the TLS handshake, the request and the answer. Request heads may have 16 KiB and 100 fields (431),
/// request targets 8 KiB (414).
///
/// ```no_run
/// use antiphon::{Server, Upgrade};
///
/// #[tokio::main]
/// async fn main() -> antiphon::Result<()> {
///     Server::new()
///         .route("/ws", |upgrade: Upgrade| async move {
///             upgrade.on_socket(|mut socket| async move {
///                 while let Some(message) = socket.recv().await? {
///                     socket.send(message).await?;
///                 }
///                 Ok(())
///             })
///         })
///         .static_root("public")
///         .bind("127.0.0.1:8199")
///         .run()
///         .await
/// }
/// ```
#[must_use = "a server does nothing before `run` or `start`"]
pub struct Server {
    router: Router,
    static_root: Option<PathBuf>,
    addresses: Vec<String>,
    listeners: Vec<TcpListener>,
    tls: Option<ServerTls>,
    http2: bool,
    settings: Settings,
    proxies: Vec<Network>,
    max_connections: Option<usize>,
    max_connections_per_address: Option<usize>,
    max_handshakes: usize,
    max_accept_rate: Option<u32>,
    workers: Option<NonZeroUsize>,
    times: Times,
    drain_timeout: Duration,
    end: Option<End>,
}

impl Server {
    /// A server without routes and addresses.
    pub fn new() -> Self {
        Self {
            router: Router::new(),
            static_root: None,
            addresses: Vec::new(),
            listeners: Vec::new(),
            tls: None,
            http2: false,
            settings: Settings::default(),
            proxies: Vec::new(),
            max_connections: None,
            max_connections_per_address: None,
            max_handshakes: 2048,
            max_accept_rate: None,
            workers: None,
            times: Times {
                handshake: Duration::from_secs(10),
                idle: Duration::from_secs(60),
                request: Duration::from_secs(60),
            },
            drain_timeout: Duration::from_secs(30),
            end: None,
        }
    }

    /// Adds a route: an axum handler, for all methods. A WebSocket's takes an [`Upgrade`](crate::Upgrade).
    ///
    /// # Panics
    ///
    /// As [`axum::Router::route`]: if the path is not valid or is there already.
    pub fn route<H, T>(mut self, path: &str, handler: H) -> Self
    where
        H: Handler<T, ()>,
        T: 'static,
    {
        self.router = self.router.route(path, any(handler));
        self
    }

    /// Adds all routes of an axum router, with the layers that it has.
    ///
    /// # Panics
    ///
    /// As [`axum::Router::merge`]: if a route is there already, or a second fallback comes.
    pub fn router(mut self, router: Router) -> Self {
        self.router = self.router.merge(router);
        self
    }

    /// Serves the files below a folder to GET and HEAD where no route matches, in place of a router's fallback:
    /// `index.html` for a folder. There are no listings; names that begin with a dot, and what a symbolic link leads to
    /// outside of the folder, are not found. The folder must exist when the server starts. Default: none.
    pub fn static_root(mut self, folder: impl Into<PathBuf>) -> Self {
        self.static_root = Some(folder.into());
        self
    }

    /// Adds an address to listen on: host and port, where port 0 lets the system choose one (see
    /// [`Running::local_addrs`]).
    pub fn bind(mut self, address: impl fmt::Display) -> Self {
        self.addresses.push(address.to_string());
        self
    }

    /// Adds a listener that is open already.
    pub fn listener(mut self, listener: TcpListener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Speaks TLS, and only TLS, on all addresses. Default: plain TCP.
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Also speaks HTTP/2, with WebSockets over it (RFC 8441): where TLS agrees on it, and without TLS to clients that
    /// begin with it. Browsers then use it for WebSockets. Default false.
    pub fn http2(mut self, http2: bool) -> Self {
        self.http2 = http2;
        self
    }

    /// The bounds of all sockets. Default [`Config::default`].
    pub fn config(mut self, config: Config) -> Self {
        self.settings.config = Arc::new(config);
        self
    }

    /// Compresses messages of clients that offer it (permessage-deflate). Default: never.
    pub fn compression(mut self, compression: DeflateConfig) -> Self {
        self.settings.compression = Some(Arc::new(compression));
        self
    }

    /// The web origins that may connect. Default: [`Origins::same_origin`].
    pub fn origins(mut self, origins: Origins) -> Self {
        self.settings.origins = origins;
        self
    }

    /// Subprotocols that all routes speak, best first. Default: none.
    pub fn subprotocols<I>(mut self, subprotocols: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.settings.subprotocols = subprotocols.into_iter().map(Into::into).collect();
        self
    }

    /// Most connections at a time; further ones are closed. Default: what the process may open (less 64), at most
    /// 65,536.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = Some(connections);
        self
    }

    /// Most connections of one address at a time, where an IPv6 network of 64 bits is one address; further ones are
    /// closed. Behind [trusted proxies](Self::trusted_proxies) the address is the client's, and an opening handshake
    /// too many is answered with 429. Default 256, and none for clients on the same machine; a limit that is set holds
    /// for them too.
    pub fn max_connections_per_address(mut self, connections: usize) -> Self {
        self.max_connections_per_address = Some(connections);
        self
    }

    /// Most connections at a time that have not come to their first request; further ones are closed. Default 2,048.
    pub fn max_handshakes(mut self, handshakes: usize) -> Self {
        self.max_handshakes = handshakes;
        self
    }

    /// Connections that each address accepts in a second; more wait in the system's queue. A reconnect storm then has a
    /// known height. Default: no limit.
    pub fn max_accept_rate(mut self, connections: u32) -> Self {
        self.max_accept_rate = Some(connections.max(1));
        self
    }

    /// Serves in so many threads of its own, each with a runtime for itself; 0 means one for each core. A connection,
    /// its handler included, stays in its thread from its first byte to its last: nothing is handed from core to core.
    /// On Linux each thread has a listener of its own at each address, and the system deals out the connections;
    /// elsewhere, and with a [`listener`](Self::listener) that is open already, the threads take turns.
    ///
    /// All bounds are those of the whole server. A handler that keeps its thread busy keeps up the connections of that
    /// thread. Default: the runtime that calls [`start`](Self::start) serves.
    pub fn workers(mut self, workers: usize) -> Self {
        let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.workers = Some(NonZeroUsize::new(workers).unwrap_or_else(cores));
        self
    }

    /// From accepting a connection to the answer that opens its WebSocket, TLS included; then it is closed.
    /// Default 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.times.handshake = timeout;
        self
    }

    /// Silence after which an HTTP connection is closed: without a request, or with a response that the client does
    /// not take. No matter of WebSockets, whose times are in [`Config`]. Default 60 s.
    pub fn http_idle_timeout(mut self, timeout: Duration) -> Self {
        self.times.idle = timeout;
        self
    }

    /// Time that a route has to answer a plain HTTP request, its body included; then the answer is 503. Sending a
    /// response may take longer. Default 60 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.times.request = timeout;
        self
    }

    /// Proxies that stand before this server: only what comes from them may name the client in `X-Forwarded-For` and
    /// its scheme in `X-Forwarded-Proto`. Default: none.
    pub fn trusted_proxies(mut self, proxies: impl IntoIterator<Item = Network>) -> Self {
        self.proxies = proxies.into_iter().collect();
        self
    }

    /// Time that requests and socket handlers have to end after [`Running::shutdown`]; then they are dropped.
    /// Default 30 s.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Shuts down when this future ends; a signal, for example.
    ///
    /// ```no_run
    /// # use antiphon::Server;
    /// let server = Server::new().shutdown_on(async {
    ///     let _ = tokio::signal::ctrl_c().await;
    /// });
    /// ```
    pub fn shutdown_on(mut self, end: impl Future<Output = ()> + Send + 'static) -> Self {
        self.end = Some(Box::pin(end));
        self
    }

    /// Serves until the server has been shut down.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    ///
    /// # Cancel safety
    ///
    /// Cancelled after the start, the server goes on without being awaited.
    pub async fn run(self) -> Result<()> {
        self.start().await?.wait().await
    }

    /// Begins to serve, in tasks of the current tokio runtime or in [`workers`](Self::workers).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] for an address that cannot be listened on, [`ErrorKind::Config`] for a setting that cannot
    /// be used: no address, a static root that is no folder, more connections than the process may open.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, nothing is served.
    pub async fn start(self) -> Result<Running> {
        let max_connections = judge_connections(self.max_connections, open_files())?;
        let threads = self.workers.map_or(1, NonZeroUsize::get);
        // For each address a listener for each thread.
        let mut listeners = Vec::new();
        for listener in self.listeners {
            listeners.push(share(listener.into_std()?, threads)?);
        }
        for address in &self.addresses {
            listeners.push(listen(address, threads).await?);
        }
        if listeners.is_empty() {
            let advice = "the server has no address; name one with bind(\"127.0.0.1:8199\")";
            return Err(Error::new(ErrorKind::Config, advice));
        }
        let addresses = listeners
            .iter()
            .map(|same| same[0].local_addr())
            .collect::<io::Result<Vec<_>>>()?;
        let router = match &self.static_root {
            Some(folder) => self.router.fallback_service(Files::new(folder)?),
            None => self.router,
        };
        let tls = self
            .tls
            .as_ref()
            .map(|tls| tls.server_config(self.http2))
            .transpose()?;
        if tls.is_none() && addresses.iter().any(|address| !address.ip().is_loopback()) {
            tracing::warn!("serving without TLS to other machines");
        }
        let counters = Arc::new(Counters::default());
        let shutdown = Arc::new(Shutdown::new());
        let environment = Arc::new(Environment {
            settings: self.settings,
            counters: counters.clone(),
            shutdown: shutdown.clone(),
        });
        let site = Arc::new(Site {
            router,
            environment,
            limits: Limits::new(
                max_connections,
                self.max_connections_per_address,
                self.max_handshakes,
            ),
            proxies: self.proxies,
            times: self.times,
            protocols: Protocols::new(self.http2),
            paths: Paths::default(),
            tls,
        });
        let rate = self.max_accept_rate;
        let rate = rate.map(|rate| rate.div_ceil(u32::try_from(threads).unwrap_or(u32::MAX)));
        let accept = move |listener| {
            let member = site.environment.shutdown.member();
            tokio::spawn(accept_from(listener, member, site.clone(), rate));
        };
        let (ended, wait) = watch::channel(false);
        if self.workers.is_some() {
            let mut workers = Vec::with_capacity(threads);
            for number in 0..threads {
                let own = listeners.iter_mut().filter_map(Vec::pop).collect();
                workers.push(Worker::start(number, own, accept.clone(), wait.clone()).await?);
            }
            workers.into_iter().for_each(Worker::begin);
        } else {
            let listeners = listeners.into_iter().flatten().map(TcpListener::from_std);
            let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
            listeners.into_iter().for_each(accept);
        }
        let control = Arc::new(Control {
            addresses,
            counters,
            shutdown,
            asked: Notify::new(),
            tls: self.tls,
        });
        tokio::spawn(supervise(
            control.clone(),
            self.end,
            self.drain_timeout,
            ended,
        ));
        Ok(Running { control, wait })
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .field("tls", &self.tls)
            .field("http2", &self.http2)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// A server that is running. Clones are handles of the same server; dropping them all does not end it.
#[derive(Clone, Debug)]
pub struct Running {
    control: Arc<Control>,
    wait: watch::Receiver<bool>,
}

#[derive(Debug)]
struct Control {
    addresses: Vec<SocketAddr>,
    counters: Arc<Counters>,
    shutdown: Arc<Shutdown>,
    asked: Notify,
    tls: Option<ServerTls>,
}

impl Running {
    /// The addresses that are listened on, listeners that were handed in first.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.control.addresses
    }

    /// Accepts no connections any more; what is open stays until [`shutdown`](Self::shutdown). For a server that asks
    /// its clients to go at a pace of its own.
    pub fn stop_accepting(&self) {
        self.control.shutdown.advance(Phase::Refusing);
    }

    /// Begins to end the server: nothing is accepted any more, requests are answered, all sockets are closed with
    /// 1001 and their handlers' `recv` returns `None`. What has not ended after
    /// [`drain_timeout`](Server::drain_timeout) is dropped. Called again, it is dropped at once.
    pub fn shutdown(&self) {
        if self.control.shutdown.phase() < Phase::Draining {
            self.control.shutdown.advance(Phase::Draining);
            self.control.asked.notify_one();
        } else {
            self.control.shutdown.advance(Phase::Aborting);
        }
    }

    /// Waits until the server has ended: every connection is closed and every handler is done.
    ///
    /// # Errors
    ///
    /// None at present.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait(&self) -> Result<()> {
        // A runtime that ends takes the server with it.
        let _ = self.wait.clone().wait_for(|ended| *ended).await;
        Ok(())
    }

    /// TCP connections that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        usize::try_from(
            self.control
                .counters
                .open_connections
                .load(Ordering::Relaxed),
        )
        .unwrap_or(usize::MAX)
    }

    /// WebSockets that are open.
    #[must_use]
    pub fn sockets(&self) -> usize {
        usize::try_from(self.control.counters.open_sockets.load(Ordering::Relaxed))
            .unwrap_or(usize::MAX)
    }

    /// What was counted since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.control.counters.snapshot()
    }

    /// Reads the files of the certificate again; see [`ServerTls::reload`]. Without TLS there is nothing to do.
    ///
    /// # Errors
    ///
    /// As [`ServerTls::reload`]: the certificate in use stays in use.
    pub fn reload_tls(&self) -> Result<()> {
        self.control.tls.as_ref().map_or(Ok(()), ServerTls::reload)
    }
}

/// Waits for the end to be asked for, and then for everything to end.
async fn supervise(
    control: Arc<Control>,
    end: Option<End>,
    drain_timeout: Duration,
    ended: watch::Sender<bool>,
) {
    match end {
        Some(end) => tokio::select! {
            () = end => {}
            () = control.asked.notified() => {}
        },
        None => control.asked.notified().await,
    }
    tracing::debug!("shutting down");
    let clean = control.shutdown.drain(drain_timeout).await;
    tracing::debug!(clean, "shut down");
    let _ = ended.send(true);
}

/// The cap of connections: more than there can be files is a promise that cannot be kept.
fn judge_connections(wanted: Option<usize>, files: Option<usize>) -> Result<usize> {
    let possible = files.map_or(usize::MAX, |files| files.saturating_sub(OTHER_FILES).max(1));
    match wanted {
        Some(wanted) if wanted > possible => Err(Error::new(
            ErrorKind::Config,
            format!(
                "{wanted} connections cannot be served: the process may open {} files, {OTHER_FILES} of which are \
                 needed otherwise; raise the limit (ulimit -n) or set max_connections to at most {possible}",
                files.unwrap_or_default()
            ),
        )),
        Some(wanted) => Ok(wanted),
        None => Ok(possible.min(MAX_CONNECTIONS)),
    }
}

/// How many files the process may open, where the system says so in a file.
fn open_files() -> Option<usize> {
    soft_limit(&fs::read_to_string("/proc/self/limits").ok()?)
}

fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Accepts from a listener until the server ends.
async fn accept_from(listener: TcpListener, member: Member, site: Arc<Site>, rate: Option<u32>) {
    let (log, no_delay) = (LogLimit::default(), NoDelay::of(&listener));
    let counters = site.environment.counters.clone();
    accept_all(listener, member, &counters, rate, |stream, remote| {
        admit(stream, remote, &site, &log, &no_delay)
    })
    .await;
}

/// Serves a connection in a task of its own, if there is room for it.
fn admit(
    stream: TcpStream,
    remote: SocketAddr,
    site: &Arc<Site>,
    log: &LogLimit,
    no_delay: &NoDelay,
) {
    let counters = &site.environment.counters;
    let refuse = |stream: TcpStream, counter, why: &'static str| {
        count(counter);
        if let Some(unsaid) = log.permit() {
            tracing::warn!(?remote, unsaid, "connection refused: {why}");
        }
        if site.tls.is_none() {
            refuse_now(stream);
        }
    };
    let Some(connection) = site.limits.connection() else {
        return refuse(
            stream,
            &counters.refused_connections,
            "max_connections are open",
        );
    };
    // The connections of a proxy are those of many clients: they are counted one by one, by their requests.
    let address = if site
        .proxies
        .iter()
        .any(|network| network.contains(remote.ip()))
    {
        None
    } else {
        let Some(address) = site.limits.address(remote.ip()) else {
            return refuse(
                stream,
                &counters.refused_addresses,
                "its address has max_connections_per_address open",
            );
        };
        Some(address)
    };
    let Some(handshake) = site.limits.handshake() else {
        return refuse(
            stream,
            &counters.refused_handshakes,
            "max_handshakes are under way",
        );
    };
    if let Err(error) = no_delay.ensure(&stream) {
        return tracing::debug!(?error, ?remote, "the client left at once");
    }
    let lease = Lease {
        _connection: connection,
        _address: address,
        _open: OpenConnection::new(counters),
    };
    let site = site.clone();
    let deadline = Instant::now() + site.times.handshake;
    // In memory of its own: tokio moves a task several times.
    tokio::spawn(Box::pin(async move {
        match first_bytes(&stream, &site, deadline).await {
            First::Expected => serve(stream, Some(remote), site, lease, handshake, deadline).await,
            First::PlainHttp => Box::pin(refuse_plain(stream)).await,
            First::Nothing => {}
        }
    }));
}

/// Says 503 if that costs no waiting.
fn refuse_now(stream: TcpStream) {
    const RESPONSE: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n";
    if let Ok(mut stream) = stream.into_std() {
        let _ = io::Write::write(&mut stream, RESPONSE);
    }
}

/// What a client begins with, as far as it matters before TLS.
enum First {
    Expected,
    PlainHttp,
    Nothing,
}

async fn first_bytes(stream: &TcpStream, site: &Site, deadline: Instant) -> First {
    if site.tls.is_none() {
        return First::Expected;
    }
    let mut first = [0];
    let mut member = site.environment.shutdown.member();
    tokio::select! {
        peeked = timeout_at(deadline, stream.peek(&mut first)) => match peeked {
            // A method of HTTP, which no record of TLS begins with.
            Ok(Ok(1)) if first[0].is_ascii_uppercase() => First::PlainHttp,
            Ok(Ok(1)) => First::Expected,
            Ok(_) => First::Nothing,
            Err(_) => {
                count(&site.environment.counters.handshake_timeouts);
                First::Nothing
            }
        },
        () = member.reached(Phase::Draining) => First::Nothing,
    }
}

/// Tells a client that speaks plain HTTP to a TLS port what is wrong, and gives it a moment to read it.
async fn refuse_plain(mut stream: TcpStream) {
    const RESPONSE: &[u8] =
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\
        Content-Length: 50\r\n\r\nThis port speaks TLS: use https:// or wss:// here\n";
    let refusing = async {
        stream.write_all(RESPONSE).await?;
        stream.shutdown().await?;
        // Closing with unread input would reset the connection and destroy the answer on its way.
        let mut sink = [0; 1024];
        while stream.read(&mut sink).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(LINGER, refusing).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_of_connections_fits_the_process() {
        let rows = [
            (None, Some(1024), Ok(960)),
            (None, Some(1_000_000), Ok(65_536)),
            (None, None, Ok(65_536)),
            (None, Some(10), Ok(1)),
            (Some(500), Some(1024), Ok(500)),
            (Some(960), Some(1024), Ok(960)),
            (Some(961), Some(1024), Err("ulimit -n")),
            (Some(1_000_000), None, Ok(1_000_000)),
        ];
        for (wanted, files, expected) in rows {
            match (judge_connections(wanted, files), expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{wanted:?} {files:?}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (got, _) => panic!("{wanted:?} {files:?}: {got:?}"),
            }
        }
    }

    #[test]
    fn the_limit_of_files_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
            Max processes             63432                63432                processes\n\
            Max open files            1024                 524288               files\n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(
            soft_limit(
                "Max open files            unlimited            unlimited            files\n"
            ),
            None
        );
        assert_eq!(soft_limit(""), None);
    }
}
