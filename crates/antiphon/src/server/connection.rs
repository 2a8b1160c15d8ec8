//! One connection of a server: TLS, HTTP, and the times that both must keep.

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::{
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    ext::Protocol,
    server::conn::http1,
    service::Service as HttpService,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_rustls::server::TlsStream;
use tower_service::Service;

use crate::{
    driver::with_scratch,
    hand_over::{HandOver, Keep, Kept, PATIENCE},
    hold::Hold,
    limits::{AddressPermit, Lease, Limits},
    panic::caught,
    peer::{Network, Peer, TlsPeer},
    rewind::Rewind,
    server::opening::{self, Opening, Paths},
    shutdown::{Member, Phase},
    stats::count,
    tls::server::accept,
    transport::Transport,
    upgrade::{Context as Beside, Environment, Opened, asks_for_websocket},
};

/// Longest request head in bytes; beyond it the answer is 431. HTTP/1.1 buffers as much, and as much behind the head.
const MAX_HEAD: usize = 16 * 1024;

/// Most header fields of a request; beyond it the answer is 431.
const MAX_FIELDS: usize = 100;

/// Longest request target in bytes; beyond it the answer is 414.
const MAX_TARGET: usize = 8 * 1024;

/// Streams of one HTTP/2 connection, and what each of them and all together may have under way.
const HTTP2_STREAMS: u32 = 100;
const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;
const HTTP2_WINDOW: u32 = 1024 * 1024;
const HTTP2_SEND_BUFFER: usize = 64 * 1024;

/// Silence after which an HTTP/2 connection is asked whether it lives, and the wait for its answer.
const HTTP2_PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// What all connections of a server share.
pub(crate) struct Site {
    pub(crate) router: Router,
    pub(crate) environment: Arc<Environment>,
    pub(crate) limits: Limits,
    pub(crate) proxies: Vec<Network>,
    pub(crate) times: Times,
    pub(crate) protocols: Protocols,
    pub(crate) paths: Paths,
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

/// How long HTTP may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) handshake: Duration,
    pub(crate) idle: Duration,
    pub(crate) request: Duration,
}

/// The HTTP that is spoken.
pub(crate) enum Protocols {
    Http1(Box<http1::Builder>),
    Both(Box<auto::Builder<TokioExecutor>>),
}

impl Protocols {
    pub(crate) fn new(http2: bool) -> Self {
        // The header timeout of hyper would count idle connections as well; ours are in `Served`.
        if !http2 {
            let mut http1 = http1::Builder::new();
            http1
                .timer(TokioTimer::new())
                .header_read_timeout(None)
                .max_headers(MAX_FIELDS)
                .max_buf_size(MAX_HEAD);
            return Self::Http1(Box::new(http1));
        }
        let mut both = auto::Builder::new(TokioExecutor::new());
        both.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_headers(MAX_FIELDS)
            .max_buf_size(MAX_HEAD);
        both.http2()
            .timer(TokioTimer::new())
            .enable_connect_protocol()
            .max_concurrent_streams(HTTP2_STREAMS)
            .max_header_list_size(MAX_HEAD as u32)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_WINDOW)
            .max_send_buf_size(HTTP2_SEND_BUFFER)
            .keep_alive_interval(HTTP2_PING.0)
            .keep_alive_timeout(HTTP2_PING.1);
        Self::Both(Box::new(both))
    }
}

/// Serves a connection from its first byte to its last. The deadline is that of its opening handshake.
pub(crate) async fn serve<IO>(
    io: IO,
    remote: Option<SocketAddr>,
    site: Arc<Site>,
    lease: Lease,
    handshake: OwnedSemaphorePermit,
    deadline: Instant,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    Transport: From<IO> + From<Box<TlsStream<Hold<IO>>>>,
{
    let mut member = site.environment.shutdown.member();
    let mut peer = Peer {
        remote,
        ..Peer::default()
    };
    let Some(tls) = site.tls.clone() else {
        let served = Served::new(site, peer, deadline, lease, handshake);
        return serve_http(io, served, member).await;
    };
    // The connection's task is small: what is large and soon over has memory of its own.
    let accepting = Box::pin(timeout_at(deadline, accept(io, tls)));
    let accepted = tokio::select! {
        accepted = accepting => accepted,
        () = member.reached(Phase::Draining) => return,
    };
    let counters = &site.environment.counters;
    match accepted {
        Ok(Ok(stream)) => {
            peer.secure = true;
            peer.tls = Some(Arc::new(tls_peer(&stream)));
            let served = Served::new(site, peer, deadline, lease, handshake);
            serve_http(stream, served, member).await;
        }
        Ok(Err(error)) => {
            count(&counters.tls_failures);
            tracing::debug!(?error, ?remote, "a TLS handshake failed");
        }
        Err(_) => {
            count(&counters.handshake_timeouts);
            tracing::debug!(?remote, "a TLS handshake took too long");
        }
    }
}

fn tls_peer<IO>(stream: &TlsStream<IO>) -> TlsPeer {
    let (_, session) = stream.get_ref();
    TlsPeer {
        server_name: session.server_name().map(ToOwned::to_owned),
        certificate: session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .cloned(),
    }
}

/// What a connection begins with.
enum First {
    /// An opening handshake that needs no hyper.
    Opening(Box<Opening>),
    /// Anything else, as far as it has come.
    Http(Bytes),
}

async fn serve_http<IO>(mut io: IO, served: Arc<Served>, mut member: Member)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    Transport: From<IO>,
{
    let first = tokio::select! {
        biased;
        first = timeout_at(served.deadline, poll_fn(|cx| poll_first(&mut io, &served.site, cx))) => first,
        () = member.reached(Phase::Draining) => return,
    };
    match first {
        Ok(Some(First::Opening(opening))) => {
            Box::pin(serve_opening(io, served, opening, member)).await
        }
        Ok(Some(First::Http(bytes))) => {
            Box::pin(serve_hyper(Rewind::new(bytes, io), served, None, member)).await
        }
        Ok(None) => {}
        Err(_) => count(&served.site.environment.counters.handshake_timeouts),
    }
}

/// Reads once, into the thread's buffer: a connection that waits for its request owns none.
fn poll_first<IO: AsyncRead + AsyncWrite + Unpin>(
    io: &mut IO,
    site: &Site,
    cx: &mut Context<'_>,
) -> Poll<Option<First>> {
    with_scratch(|scratch| {
        let room = scratch.len().min(MAX_HEAD);
        let mut buf = ReadBuf::new(&mut scratch[..room]);
        let Poll::Ready(read) = Pin::new(&mut *io).poll_read(cx, &mut buf) else {
            // The client may wait for the end of the TLS handshake. An error is the next reader's.
            let _ = Pin::new(io).poll_flush(cx);
            return Poll::Pending;
        };
        let bytes = buf.filled();
        Poll::Ready(if read.is_err() || bytes.is_empty() {
            None
        } else if let Some(opening) = opening::read(bytes, &site.paths, MAX_FIELDS, MAX_TARGET) {
            Some(First::Opening(Box::new(opening)))
        } else {
            Some(First::Http(Bytes::copy_from_slice(bytes)))
        })
    })
}

/// Answers an opening handshake and hands the connection over. An answer that opens nothing is hyper's to write, and so
/// is what follows it.
async fn serve_opening<IO>(
    mut io: IO,
    served: Arc<Served>,
    opening: Box<Opening>,
    mut member: Member,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    Transport: From<IO>,
{
    let Opening {
        request,
        bytes,
        rest,
    } = *opening;
    let (hand_over, uri) = (HandOver::default(), request.uri().clone());
    let answering = served.clone().respond(request, Some(hand_over.clone()));
    let response = tokio::select! {
        biased;
        response = answering => response,
        () = member.reached(Phase::Aborting) => return,
    };
    let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let Some(start) = hand_over.take().filter(|_| switching) else {
        let foreign = switching || response.status() == StatusCode::UPGRADE_REQUIRED;
        let response = if foreign && !hand_over.is_seen() {
            // The route wants a connection from hyper, which is asked to serve the request from its beginning.
            served.site.paths.unlearn(uri.path());
            None
        } else {
            Some(response)
        };
        return serve_hyper(Rewind::new(bytes, io), served, response, member).await;
    };
    let head = opening::head(&response);
    let kept = served.release(response.body()._active.clone());
    drop((response, served));
    let written = async {
        io.write_all(&head).await?;
        io.flush().await
    };
    tokio::select! {
        biased;
        written = timeout(PATIENCE, written) => match written {
            Ok(Ok(())) => start(io.into(), bytes.slice(rest..), kept),
            late => tracing::debug!(?late, "the client did not take the answer to the opening handshake"),
        },
        () = member.reached(Phase::Aborting) => {}
    }
}

/// Serves a connection by hyper. Its first request may have been answered already.
async fn serve_hyper<IO>(
    io: Rewind<IO>,
    served: Arc<Served>,
    answer: Option<Response<Sending>>,
    member: Member,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let gate = Gate {
        served: served.clone(),
        answer: Mutex::new(answer),
    };
    let io = TokioIo::new(io);
    let site = served.site.clone();
    match &site.protocols {
        Protocols::Http1(http1) => {
            drive(
                http1.serve_connection(io, gate).with_upgrades(),
                &served,
                member,
            )
            .await
        }
        Protocols::Both(both) => {
            drive(
                both.serve_connection_with_upgrades(io, gate),
                &served,
                member,
            )
            .await
        }
    }
}

/// Polls an HTTP connection until it ends, is asked to end, or is late.
async fn drive(connection: impl Connection, served: &Served, mut member: Member) {
    let mut connection = pin!(connection);
    let mut timer = pin!(sleep_until(served.deadline));
    let mut next = Phase::Draining;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(?error, "an HTTP connection failed");
                }
                return;
            }
            () = member.reached(next) => {
                if next == Phase::Aborting {
                    return;
                }
                next = Phase::Aborting;
                connection.as_mut().graceful_shutdown();
            }
            () = timer.as_mut() => match served.lateness() {
                Lateness::NotBefore(instant) => timer.as_mut().reset(instant),
                Lateness::Handshake => return count(&served.site.environment.counters.handshake_timeouts),
                Lateness::Idle => return count(&served.site.environment.counters.idle_timeouts),
            },
        }
    }
}

/// The connections of both builders: what hyper-util's own trait would be, if hyper's HTTP/1.1 had it with upgrades.
trait Connection: Future<Output = Result<(), Self::Error>> {
    type Error: fmt::Debug;

    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<IO> Connection for http1::UpgradeableConnection<TokioIo<Rewind<IO>>, Gate>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Error = hyper::Error;

    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<IO> Connection for auto::UpgradeableConnection<'_, TokioIo<Rewind<IO>>, Gate, TokioExecutor>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// A connection as its requests and sockets share it.
struct Served {
    site: Arc<Site>,
    peer: Peer,
    /// When the first request must have come, and, if it opens a WebSocket, have been answered.
    deadline: Instant,
    state: Mutex<State>,
}

struct State {
    /// Until a socket has it.
    lease: Option<Lease>,
    handshake: Option<OwnedSemaphorePermit>,
    requested: bool,
    /// Requests being answered, bodies being sent and, over HTTP/2, sockets that are open.
    active: usize,
    idle_since: Instant,
    /// Since when a part of a response waits for the client to take it.
    stalled_since: Option<Instant>,
}

enum Lateness {
    NotBefore(Instant),
    Handshake,
    Idle,
}

impl Served {
    fn new(
        site: Arc<Site>,
        peer: Peer,
        deadline: Instant,
        lease: Lease,
        handshake: OwnedSemaphorePermit,
    ) -> Arc<Self> {
        let state = State {
            lease: Some(lease),
            handshake: Some(handshake),
            requested: false,
            active: 0,
            idle_since: Instant::now(),
            stalled_since: None,
        };
        Arc::new(Self {
            site,
            peer,
            deadline,
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the client has let a deadline pass, and if not, when to look again.
    fn lateness(&self) -> Lateness {
        let now = Instant::now();
        let state = self.state();
        let (limit, late) = if !state.requested {
            (self.deadline, Lateness::Handshake)
        } else if let Some(since) = state.stalled_since {
            (since + self.site.times.idle, Lateness::Idle)
        } else if state.active == 0 {
            (state.idle_since + self.site.times.idle, Lateness::Idle)
        } else {
            return Lateness::NotBefore(now + self.site.times.idle);
        };
        if now < limit {
            Lateness::NotBefore(limit)
        } else {
            late
        }
    }

    /// What a socket has to keep of the connection that becomes its.
    fn release(&self, active: Arc<Active>) -> Kept {
        Kept {
            _lease: self.state().lease.take(),
            _keep: active.address.is_some().then(|| Keep::new(active)),
        }
    }

    /// Answers a request. Where hyper has not got the connection, a socket is left with `hand_over`.
    async fn respond<B>(
        self: Arc<Self>,
        mut request: Request<B>,
        hand_over: Option<HandOver>,
    ) -> Response<Sending>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let site = &self.site;
        let version = request.version();
        let upgrade = asks_for_websocket(
            request.method(),
            version,
            request.headers(),
            request.extensions(),
        );
        let first = {
            let mut state = self.state();
            if !upgrade {
                state.handshake = None;
            }
            !std::mem::replace(&mut state.requested, true)
        };
        let peer = self.peer.behind(&site.proxies, request.headers());
        let mut active = Active::new(&self);
        if let Err(status) = judge(&request) {
            return refuse(status, version).map(|body| Sending {
                body,
                _active: Arc::new(active),
            });
        }
        if let Some(address) = peer.forwarded.filter(|_| upgrade) {
            active.address = site.limits.address(address);
            if active.address.is_none() {
                count(&site.environment.counters.refused_addresses);
                let response = refuse(StatusCode::TOO_MANY_REQUESTS, version);
                return response.map(|body| Sending {
                    body,
                    _active: Arc::new(active),
                });
            }
        }
        let active = Arc::new(active);
        // A path is worth remembering where hyper has opened a socket of ours.
        let lesson = (upgrade && version == Version::HTTP_11 && hand_over.is_none())
            .then(|| request.uri().clone());
        let extensions = request.extensions_mut();
        extensions.insert(Beside {
            environment: site.environment.clone(),
            keep: Keep::new(active.clone()),
            hand_over,
        });
        if let Some(remote) = peer.remote {
            extensions.insert(ConnectInfo(remote));
        }
        extensions.insert(peer);

        let deadline = match (upgrade, first) {
            (true, true) => self.deadline,
            (true, false) => Instant::now() + site.times.handshake,
            (false, _) => Instant::now() + site.times.request,
        };
        let mut router = site.router.clone();
        let response = match timeout_at(deadline, caught(router.call(request))).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(_panicked)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, version),
            Err(_) => {
                if upgrade {
                    count(&site.environment.counters.handshake_timeouts);
                }
                refuse(StatusCode::SERVICE_UNAVAILABLE, version)
            }
        };
        if let Some(uri) = lesson.filter(|_| response.extensions().get::<Opened>().is_some()) {
            site.paths.learn(uri.path());
        }
        self.state().handshake = None;
        response.map(|body| Sending {
            body,
            _active: active,
        })
    }
}

/// What hyper leaves unbounded, and a method that no route is meant to see.
fn judge<B>(request: &Request<B>) -> Result<(), StatusCode> {
    if request
        .uri()
        .path_and_query()
        .is_some_and(|target| target.as_str().len() > MAX_TARGET)
    {
        return Err(StatusCode::URI_TOO_LONG);
    }
    if request.headers().len() > MAX_FIELDS {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    // This is no proxy.
    if request.method() == Method::CONNECT && request.extensions().get::<Protocol>().is_none() {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    // Whose site is meant must be clear (RFC 9112 section 3.2). An opening handshake is judged by its own rules.
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let hosts = || request.headers().get_all(header::HOST).iter().count();
    if request.version() == Version::HTTP_11 && !upgrade && hosts() != 1 {
        return Err(StatusCode::BAD_REQUEST);
    }
    Ok(())
}

fn refuse(status: StatusCode, version: Version) -> Response<Body> {
    let text = format!("{}\n", status.canonical_reason().unwrap_or("refused"));
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    fields.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if version < Version::HTTP_2 {
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What hyper calls for each request.
struct Gate {
    served: Arc<Served>,
    /// The answer to the first request, where there is one already.
    answer: Mutex<Option<Response<Sending>>>,
}

impl HttpService<Request<Incoming>> for Gate {
    type Response = Response<Sending>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Sending>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let answer = self
            .answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let served = self.served.clone();
        Box::pin(async move {
            Ok(match answer {
                Some(answer) => answer,
                None => served.respond(request, None).await,
            })
        })
    }
}

/// Something that keeps a connection from being idle, for as long as it exists.
struct Active {
    served: Arc<Served>,
    address: Option<AddressPermit>,
}

impl Active {
    fn new(served: &Arc<Served>) -> Self {
        served.state().active += 1;
        Self {
            served: served.clone(),
            address: None,
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let mut state = self.served.state();
        state.active -= 1;
        state.idle_since = Instant::now();
    }
}

/// A response body on its way: tells the connection how it gets on.
struct Sending {
    body: Body,
    _active: Arc<Active>,
}

impl Sending {
    fn stalled(&self, since: Option<Instant>) {
        self._active.served.state().stalled_since = since;
    }
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Polled means that there is room: nothing waits for the client until the next part is handed over.
        self.stalled(None);
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.stalled(frame.as_ref().map(|_| Instant::now()));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.stalled(None);
    }
}
