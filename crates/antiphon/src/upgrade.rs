//! From an HTTP request to an open WebSocket: the extractor, the answer, and the task that runs the handler.

use std::{
    convert::Infallible,
    fmt, mem,
    sync::{Arc, OnceLock},
};

use antiphon_proto::{
    config::{Config, DeflateConfig},
    handshake::server::{self, ERROR_FIELD, ServerHandshake},
};
use axum::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::IntoResponse,
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
    request,
};
use hyper::{
    ext::Protocol,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::server::TlsStream;

use crate::{
    error::Result,
    hand_over::{HandOver, Keep, Kept, PATIENCE, Pending},
    hold::Hold,
    origin::{Origins, Refused},
    peer::Peer,
    rewind::Rewind,
    shutdown::{Member, Phase, Shutdown},
    socket::WebSocket,
    stats::{Counters, count},
    transport::Transport,
};

/// What of a request is still needed when its opening handshake has been judged.
const FIELDS: [HeaderName; 5] = [
    header::HOST,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::ORIGIN,
];

/// A request that opens a WebSocket, judged and not yet answered.
///
/// It is an axum extractor and works in any axum application, over HTTP/1.1 and over HTTP/2 (RFC 8441): register the
/// route with [`axum::routing::any`], since HTTP/2 opens WebSockets with CONNECT. A request that is no opening
/// handshake never reaches the handler: it is answered with [`Rejection`]. Without axum see
/// [`from_request`](Self::from_request).
///
/// What a [`Server`](crate::Server) has been given (bounds, compression, origins, subprotocols) holds for its routes,
/// unless the methods here say otherwise.
///
/// ```
/// use antiphon::Upgrade;
/// use axum::{Router, response::Response, routing::any};
///
/// async fn echo(upgrade: Upgrade) -> Response {
///     upgrade.subprotocols(["echo"]).max_message_size(64 * 1024).on_socket(|mut socket| async move {
///         while let Some(message) = socket.recv().await? {
///             socket.send(message).await?;
///         }
///         Ok(())
///     })
/// }
///
/// let app: Router = Router::new().route("/ws", any(echo));
/// ```
pub struct Upgrade {
    request: Request<()>,
    extended: bool,
    way: Way,
    peer: Peer,
    environment: Arc<Environment>,
    settings: Settings,
    handshake: ServerHandshake,
}

/// How the connection comes to the handler.
enum Way {
    /// hyper has it, and gives it up once it has written the answer.
    Hyper(OnUpgrade, Option<Keep>),
    /// Our own server has it.
    Direct(HandOver),
}

impl Upgrade {
    /// Judges a request of any server that is built on hyper. The request may be dropped afterwards.
    ///
    /// # Errors
    ///
    /// [`Rejection`], which holds the response.
    ///
    /// ```
    /// use antiphon::{Upgrade, upgrade::Rejection};
    ///
    /// async fn serve(mut request: http::Request<hyper::body::Incoming>) -> http::Response<axum::body::Body> {
    ///     match Upgrade::from_request(&mut request) {
    ///         Ok(upgrade) => upgrade.on_socket(|socket| async move {
    ///             socket.send("hello").await?;
    ///             Ok(())
    ///         }),
    ///         Err(rejection) => rejection.response(),
    ///     }
    /// }
    /// ```
    pub fn from_request<B>(request: &mut Request<B>) -> Result<Self, Rejection> {
        let mut head = Request::new(());
        *head.method_mut() = request.method().clone();
        *head.uri_mut() = request.uri().clone();
        *head.version_mut() = request.version();
        let mut headers = mem::take(request.headers_mut());
        let judged = Self::judge(head, &mut headers, request.extensions_mut());
        *request.headers_mut() = headers;
        judged
    }

    /// Subprotocols that are spoken here, best first: the first of them that the client offers is chosen. Default:
    /// those of the server, or none.
    #[must_use]
    pub fn subprotocols<I>(mut self, subprotocols: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.handshake.subprotocols = subprotocols.into_iter().map(Into::into).collect();
        self
    }

    /// Refuses, with 400, a client that offers none of the subprotocols that are spoken here. Default: it is accepted
    /// without one.
    #[must_use]
    pub fn require_subprotocol(mut self) -> Self {
        self.handshake.require_subprotocol = true;
        self
    }

    /// Chooses the subprotocol: called with what the client offers, in its order. What was not offered counts as none.
    #[must_use]
    pub fn select_subprotocol(
        mut self,
        select: impl Fn(&[&str]) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.handshake.choose_subprotocol = Some(Arc::new(select));
        self
    }

    /// The subprotocols that the client offers, in its order.
    pub fn requested_subprotocols(&self) -> impl Iterator<Item = &str> {
        let values = self
            .request
            .headers()
            .get_all(header::SEC_WEBSOCKET_PROTOCOL)
            .iter();
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
    }

    /// Compresses messages (permessage-deflate, RFC 7692) if the client offers it. Default: as the server, or never.
    #[must_use]
    pub fn compression(mut self, compression: DeflateConfig) -> Self {
        self.handshake.deflate = Some(Arc::new(compression));
        self
    }

    /// Never compresses, whatever the server is set to.
    #[must_use]
    pub fn no_compression(mut self) -> Self {
        self.handshake.deflate = None;
        self
    }

    /// The bounds of the connection. Default: those of the server, or [`Config::default`]. An `Arc` is shared by all
    /// connections that are given it.
    #[must_use]
    pub fn config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.settings.config = config.into();
        self
    }

    /// The longest message in bytes that is accepted; beyond it the client gets 1009. Default 1 MiB.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.settings.config).max_message_size = bytes;
        self
    }

    /// The web origins that may connect. Default: those of the server, or the same origin only.
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        self.settings.origins = origins;
        self
    }

    /// Who asks.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether the page that asks may connect, as the [`Origins`] in force say. [`on_socket`](Self::on_socket) refuses it
    /// anyway; a handler that does something costly before can ask first.
    #[must_use]
    pub fn is_origin_allowed(&self) -> bool {
        self.judge_origin().is_ok()
    }

    /// Answers the request, and runs `handler` with the socket in a task of its own once the client has the answer.
    /// The response may be given further headers.
    ///
    /// The socket lives as long as the handler: after `Ok` it is closed with 1000, after an error with 1011 (unless it
    /// is closed already), and so it is after a panic, which ends nothing else. When the server shuts down the socket
    /// is closed with 1001, and `recv` returns `None`.
    ///
    /// A page of an origin that may not connect is answered with 403, a client without a required subprotocol with
    /// 400; `handler` is not called then.
    ///
    /// # Panics
    ///
    /// If called outside of a tokio runtime.
    pub fn on_socket<H, F>(self, handler: H) -> Response<Body>
    where
        H: FnOnce(WebSocket) -> F + Send + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let environment = Arc::clone(&self.environment);
        let version = self.request.version();
        match self.accept() {
            Ok((mut response, pending, Way::Hyper(on_upgrade, keep))) => {
                if keep.is_some() {
                    response.extensions_mut().insert(Opened);
                }
                let member = environment.shutdown.member();
                tokio::spawn(run_upgraded(pending, on_upgrade, keep, member, handler));
                response.map(|()| Body::empty())
            }
            Ok((response, pending, Way::Direct(hand_over))) => {
                hand_over.put(move |transport, read_ahead, kept| {
                    tokio::spawn(pending.run(transport, read_ahead, kept, handler));
                });
                response.map(|()| Body::empty())
            }
            Err(why) => {
                count(&environment.counters.rejected_upgrades);
                Rejection { why, version }.response()
            }
        }
    }

    /// Judges a request that is given without its fields, which stay whose they are.
    fn judge(
        mut request: Request<()>,
        headers: &mut HeaderMap,
        extensions: &mut http::Extensions,
    ) -> Result<Self, Rejection> {
        let context = extensions.get::<Context>();
        let environment =
            context.map_or_else(Environment::standalone, |known| known.environment.clone());
        let version = request.version();
        let reject = |why| {
            count(&environment.counters.rejected_upgrades);
            Rejection { why, version }
        };
        let keep = context.map(|known| known.keep.clone());
        let hand_over = context.and_then(|known| known.hand_over.clone());
        if let Some(hand_over) = &hand_over {
            hand_over.see();
        }
        let protocol = extensions.get::<Protocol>().map(Protocol::as_str);
        // Only the grammar: what was negotiated is decided with the route's own settings.
        mem::swap(request.headers_mut(), headers);
        let checked = ServerHandshake::check(&request, protocol);
        mem::swap(request.headers_mut(), headers);
        checked.map_err(|why| reject(Why::Handshake(why)))?;
        copy_fields(headers, request.headers_mut());
        let extended = protocol.is_some();
        let way = match hand_over {
            Some(hand_over) => Way::Direct(hand_over),
            None => {
                let on_upgrade = extensions.remove::<OnUpgrade>();
                Way::Hyper(on_upgrade.ok_or_else(|| reject(Why::NotUpgradable))?, keep)
            }
        };
        let mut handshake = ServerHandshake::default();
        handshake.subprotocols = environment.settings.subprotocols.clone();
        handshake.deflate = environment.settings.compression.clone();
        Ok(Self {
            request,
            extended,
            way,
            peer: Peer::of(extensions),
            settings: environment.settings.clone(),
            environment,
            handshake,
        })
    }

    fn accept(self) -> Result<(Response<()>, Pending, Way), Why> {
        self.judge_origin().map_err(Why::Origin)?;
        let accepted = self
            .handshake
            .answer(&self.request)
            .map_err(Why::Handshake)?;
        let pending = Pending {
            negotiated: accepted.negotiated,
            config: self.settings.config,
            deflate: self.handshake.deflate,
            bell: self.environment.shutdown.bell(),
            counters: self.environment.counters.clone(),
        };
        Ok((accepted.response, pending, self.way))
    }

    fn judge_origin(&self) -> Result<(), Refused> {
        let uri = self.request.uri();
        let host = self
            .request
            .headers()
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let authority = host.or_else(|| uri.authority().map(|authority| authority.as_str()));
        // In HTTP/2 the request itself names the scheme that the page used.
        let secure = self.peer.is_secure() || (self.extended && uri.scheme_str() == Some("https"));
        self.settings.origins.judge(
            self.request.headers(),
            secure,
            authority.unwrap_or_default(),
        )
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("peer", &self.peer)
            .field("handshake", &self.handshake)
            .finish_non_exhaustive()
    }
}

impl<S: Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut request::Parts, _state: &S) -> Result<Self, Rejection> {
        let mut head = Request::new(());
        *head.method_mut() = parts.method.clone();
        *head.uri_mut() = parts.uri.clone();
        *head.version_mut() = parts.version;
        Self::judge(head, &mut parts.headers, &mut parts.extensions)
    }
}

/// `None` for a request that asks for no upgrade to WebSocket at all.
impl<S: Sync> OptionalFromRequestParts<S> for Upgrade {
    type Rejection = Rejection;

    async fn from_request_parts(
        parts: &mut request::Parts,
        state: &S,
    ) -> Result<Option<Self>, Rejection> {
        if asks_for_websocket(
            &parts.method,
            parts.version,
            &parts.headers,
            &parts.extensions,
        ) {
            <Self as FromRequestParts<S>>::from_request_parts(parts, state)
                .await
                .map(Some)
        } else {
            Ok(None)
        }
    }
}

/// Whether a request wants to become something else than HTTP: whoever answers it must be quick.
pub(crate) fn asks_for_websocket(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
    extensions: &http::Extensions,
) -> bool {
    if version >= Version::HTTP_2 {
        method == Method::CONNECT && extensions.get::<Protocol>().is_some()
    } else {
        headers.contains_key(header::UPGRADE)
    }
}

fn copy_fields(from: &HeaderMap, to: &mut HeaderMap) {
    to.reserve(from.len().min(FIELDS.len()));
    for (name, value) in from {
        if FIELDS.contains(name) {
            to.append(name, value.clone());
        }
    }
}

/// A request that opens no WebSocket, with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    why: Why,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Handshake(server::Rejection),
    Origin(Refused),
    NotUpgradable,
}

impl Rejection {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.why {
            Why::Handshake(why) => why.status(),
            Why::Origin(_) => StatusCode::FORBIDDEN,
            Why::NotUpgradable => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The reason for machines, which the answer carries in the header `websocket-error`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.why {
            Why::Handshake(why) => why.reason(),
            Why::Origin(why) => why.token(),
            Why::NotUpgradable => "not-upgradable",
        }
    }

    /// The answer.
    #[must_use]
    pub fn response(&self) -> Response<Body> {
        if let Why::Handshake(why) = self.why {
            return why.response(self.version).map(Body::from);
        }
        let mut response = Response::new(Body::from(format!("{self}\n")));
        *response.status_mut() = self.status();
        let fields = response.headers_mut();
        fields.insert(ERROR_FIELD, HeaderValue::from_static(self.reason()));
        fields.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        fields.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        if self.version < Version::HTTP_2 {
            fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            Why::Handshake(why) => why.fmt(f),
            Why::Origin(why) => why.fmt(f),
            Why::NotUpgradable => {
                f.write_str("the HTTP server below does not allow connections to be upgraded")
            }
        }
    }
}

impl std::error::Error for Rejection {}

impl IntoResponse for Rejection {
    fn into_response(self) -> axum::response::Response {
        self.response()
    }
}

impl From<Infallible> for Rejection {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// What a server gives to all its upgrades.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) settings: Settings,
    pub(crate) counters: Arc<Counters>,
    pub(crate) shutdown: Arc<Shutdown>,
}

impl Environment {
    /// For requests that came through a server that is not ours.
    fn standalone() -> Arc<Self> {
        static STANDALONE: OnceLock<Arc<Environment>> = OnceLock::new();
        let new = || {
            let (counters, shutdown) = (Arc::default(), Arc::new(Shutdown::new()));
            Arc::new(Self {
                settings: Settings::default(),
                counters,
                shutdown,
            })
        };
        STANDALONE.get_or_init(new).clone()
    }
}

/// What a server of ours lays down beside each request.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) environment: Arc<Environment>,
    pub(crate) keep: Keep,
    /// Set where hyper is not between the connection and us.
    pub(crate) hand_over: Option<HandOver>,
}

/// Beside an answer: it opens a WebSocket, and the handler is ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened;

/// What a route may override.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) config: Arc<Config>,
    pub(crate) compression: Option<Arc<DeflateConfig>>,
    pub(crate) origins: Origins,
    pub(crate) subprotocols: Vec<String>,
}

/// Waits for hyper to give the connection up, and runs the handler on it.
async fn run_upgraded<H, F>(
    pending: Pending,
    on_upgrade: OnUpgrade,
    keep: Option<Keep>,
    mut member: Member,
    handler: H,
) where
    H: FnOnce(WebSocket) -> F + Send + 'static,
    F: Future<Output = Result<()>> + Send + 'static,
{
    let upgraded = tokio::select! {
        upgraded = timeout(PATIENCE, on_upgrade) => upgraded,
        () = member.reached(Phase::Aborting) => return,
    };
    let upgraded = match upgraded {
        Ok(Ok(upgraded)) => upgraded,
        Ok(Err(error)) => {
            return tracing::debug!(?error, "the client left during the opening handshake");
        }
        Err(_) => {
            return tracing::debug!("the client did not take the answer to the opening handshake");
        }
    };
    let (transport, read_ahead) = into_transport(upgraded);
    let kept = Kept {
        _lease: None,
        _keep: keep,
    };
    let session = pending.run(transport, read_ahead, kept, handler);
    // In a task of its own: the memory of this one, which is that of the handshake, goes.
    tokio::spawn(session);
}

/// The stream below the upgraded connection, where it is one that can be driven directly, and what was read from it
/// already. The bytes are copied: hyper's buffer would stay in memory as long as the socket, even empty.
fn into_transport(upgraded: Upgraded) -> (Transport, Bytes) {
    let upgraded = match below::<Rewind<TcpStream>>(upgraded) {
        Ok((io, read)) => return resumed(io, &read),
        Err(upgraded) => upgraded,
    };
    let upgraded = match below::<Rewind<Box<TlsStream<Hold<TcpStream>>>>>(upgraded) {
        Ok((io, read)) => return resumed(io, &read),
        Err(upgraded) => upgraded,
    };
    let upgraded = match below::<TcpStream>(upgraded) {
        Ok((io, read)) => return (io.into(), Bytes::copy_from_slice(&read)),
        Err(upgraded) => upgraded,
    };
    match below::<TlsStream<TcpStream>>(upgraded) {
        Ok((io, read)) => (io.into(), Bytes::copy_from_slice(&read)),
        Err(upgraded) => (upgraded.into(), Bytes::new()),
    }
}

/// What hyper has read, and behind it what it has not taken yet of what we had read before it.
fn resumed<IO>(io: Rewind<IO>, read: &[u8]) -> (Transport, Bytes)
where
    Transport: From<IO>,
{
    let (rest, io) = io.into_parts();
    (io.into(), [read, &*rest].concat().into())
}

/// The stream of this type below an upgraded connection, whichever of hyper's servers had it.
fn below<IO>(upgraded: Upgraded) -> std::result::Result<(IO, Bytes), Upgraded>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let upgraded = match auto::upgrade::downcast::<TokioIo<IO>>(upgraded) {
        Ok(parts) => return Ok((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    let parts = upgraded.downcast::<TokioIo<IO>>()?;
    Ok((parts.io.into_inner(), parts.read_buf))
}
