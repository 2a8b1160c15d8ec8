//! The client: what is asked of a server, and the way to an open WebSocket.

mod connect;
mod http2;
mod open;
mod reconnect;

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use antiphon_proto::{
    config::{Config, DeflateConfig},
    handshake::uri::WebSocketUri,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

pub use self::reconnect::{Backoff, Session, Sessions};
use self::{
    connect::{Stage, Stream},
    open::Outcome,
};
use crate::{
    error::{Error, ErrorKind, Result},
    proxy::{Proxy, Target},
    socket::WebSocket,
    tls::client::{ClientTls, LazyTls},
    transport::Io,
};

/// Time from the first DNS query to the verified answer, unless told otherwise.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The `User-Agent` of a client that sets none.
const USER_AGENT: &str = concat!("antiphon/", env!("CARGO_PKG_VERSION"));

/// Connects to WebSocket servers. One value connects any number of times; clones share what is costly (trusted roots).
///
/// | setting | default |
/// |---|---|
/// | [`handshake_timeout`](Self::handshake_timeout) | 10 s, from DNS to the verified answer |
/// | [`proxy`](Self::proxy) | what the environment says |
/// | [`tls`](Self::tls) | what the operating system trusts, TLS 1.2 and 1.3 |
/// | [`compression`](Self::compression) | not offered |
/// | [`max_message_size`](Self::max_message_size) | 1 MiB; the other limits are in [`Config`] |
/// | [`max_redirects`](Self::max_redirects) | 0: not followed |
/// | [`http2`](Self::http2) | no |
///
/// A user and a password in the URL (`wss://user:password@host/`) are sent as Basic authentication.
///
/// ```no_run
/// use antiphon::Client;
///
/// # async fn example() -> antiphon::Result<()> {
/// let mut socket = Client::new()
///     .header("Authorization", "Bearer 2YotnFZFEjr1zCsicMWpAA")
///     .subprotocol("antiphon.v2.json")
///     .connect("wss://example.com/feed")
///     .await?;
/// socket.send("hello").await?;
/// while let Some(message) = socket.recv().await? {
///     println!("{message:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    handshake_timeout: Duration,
    headers: HeaderMap,
    subprotocols: Vec<String>,
    deflate: Option<Arc<DeflateConfig>>,
    config: Arc<Config>,
    proxy: Proxy,
    tls: ClientTls,
    lazy_tls: Arc<LazyTls>,
    http2: bool,
    max_redirects: usize,
    backoff: Backoff,
    /// The first setting that cannot be used, reported when connecting: builders do not fail half way.
    unusable: Option<Arc<str>>,
}

impl Client {
    /// A client with the defaults above.
    #[must_use]
    pub fn new() -> Self {
        Self {
            handshake_timeout: HANDSHAKE_TIMEOUT,
            headers: HeaderMap::new(),
            subprotocols: Vec::new(),
            deflate: None,
            config: Arc::new(Config::default()),
            proxy: Proxy::environment(),
            tls: ClientTls::new(),
            lazy_tls: Arc::new(LazyTls::new(ClientTls::new(), false)),
            http2: false,
            max_redirects: 0,
            backoff: Backoff::new(),
            unusable: None,
        }
    }

    /// One deadline for everything between the first DNS query and the verified answer: name, TCP, proxy, TLS, redirects,
    /// handshake. Default 10 s.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Adds a header field to the handshake's request. The fields of the handshake itself (`Upgrade`, `Connection`,
    /// `Sec-WebSocket-*`, ...) cannot be set, `Host` can; a value that is no header field fails the connection with
    /// [`ErrorKind::Config`].
    #[must_use]
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        HeaderName: TryFrom<N>,
        HeaderValue: TryFrom<V>,
    {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
        else {
            return self.reject(
                "a header field has a name or a value that HTTP does not allow".to_owned(),
            );
        };
        if is_reserved(&name) {
            return self.reject(format!(
                "the header field {name} belongs to the handshake and cannot be set"
            ));
        }
        self.headers.append(name, value);
        self
    }

    /// Sets `Origin`, which browsers send and servers may insist on (section 10.2). Default: none.
    #[must_use]
    pub fn origin(mut self, origin: &str) -> Self {
        match HeaderValue::from_str(origin) {
            Ok(origin) => {
                self.headers.insert(header::ORIGIN, origin);
                self
            }
            Err(_) => self.reject(format!(
                "{origin:?} cannot be an Origin; it looks like https://example.com"
            )),
        }
    }

    /// Offers one more subprotocol; those offered first are preferred (section 1.9).
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.push(name.into());
        self
    }

    /// Offers these subprotocols after those that were offered already.
    #[must_use]
    pub fn subprotocols<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.subprotocols.extend(names.into_iter().map(Into::into));
        self
    }

    /// Offers permessage-deflate (RFC 7692).
    #[must_use]
    pub fn compression(mut self, deflate: DeflateConfig) -> Self {
        self.deflate = Some(Arc::new(deflate));
        self
    }

    /// Sets all limits and times of the connections.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// Sets the longest message in bytes that is taken from a server. Default 1 MiB.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.config).max_message_size = bytes;
        self
    }

    /// Goes through this proxy. Default [`Proxy::environment`].
    #[must_use]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = proxy;
        self
    }

    /// Sets whom `wss` believes and what it shows.
    #[must_use]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.lazy_tls = Arc::new(LazyTls::new(tls.clone(), self.http2));
        self.tls = tls;
        self
    }

    /// Asks for WebSocket over HTTP/2 (RFC 8441). With `wss` the server chooses by ALPN, and one that speaks HTTP/2 but not
    /// this is connected to again with HTTP/1.1; with `ws` the server must speak HTTP/2 at once. Default no.
    #[must_use]
    pub fn http2(mut self, ask: bool) -> Self {
        self.http2 = ask;
        self.lazy_tls = Arc::new(LazyTls::new(self.tls.clone(), ask));
        self
    }

    /// Follows up to this many redirects, all within the one deadline. Never from `wss` to `ws`; `Authorization` and
    /// `Cookie` stay behind when the redirect leads to another origin. Default 0: a redirect is an error.
    #[must_use]
    pub fn max_redirects(mut self, redirects: usize) -> Self {
        self.max_redirects = redirects;
        self
    }

    /// Sets how [`sessions`](Self::sessions) waits between attempts.
    #[must_use]
    pub fn reconnect(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Connects to a `ws` or `wss` URL.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Url`], [`Config`](ErrorKind::Config), [`Connect`](ErrorKind::Connect), [`Proxy`](ErrorKind::Proxy),
    /// [`Tls`](ErrorKind::Tls), [`Timeout`](ErrorKind::Timeout), or [`Handshake`](ErrorKind::Handshake) with the status of a
    /// server that refused; then [`Error::body`] has the beginning of what it said.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the TCP connection and leaves nothing behind.
    pub async fn connect(&self, url: impl AsRef<str>) -> Result<WebSocket> {
        self.attempt(url.as_ref())
            .await
            .map_err(|failure| failure.error)
    }

    /// Makes the opening handshake on a connection that is already there: a Unix socket, a test's pipe, a tunnel. The URL
    /// gives the request its host and path; neither proxies nor TLS nor redirects have a part in it. With
    /// [`http2`](Self::http2), HTTP/2 is spoken at once.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    pub async fn connect_with<T>(&self, io: T, url: impl AsRef<str>) -> Result<WebSocket>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let url = url.as_ref();
        let uri = self.check(url)?;
        let stage = Stage::default();
        stage.set(Stage::ANSWER);
        let io: Box<dyn Io> = Box::new(io);
        let opening = open::open(self, Stream::Other(io), &uri, &self.headers, self.http2);
        match timeout(self.handshake_timeout, opening).await {
            Err(_) => Err(self.late(url, &stage)),
            Ok(Err(failure)) => Err(failure.error),
            Ok(Ok(Outcome::Open(socket))) => Ok(*socket),
            Ok(Ok(Outcome::NoExtendedConnect)) => Err(no_extended_connect(&uri)),
            Ok(Ok(Outcome::Redirect { error, .. })) => Err(error),
        }
    }

    /// Sessions with this server, one after another: connects, and connects again with back-off (see
    /// [`reconnect`](Self::reconnect)) when a session or an attempt ends.
    #[must_use]
    pub fn sessions(&self, url: impl Into<String>) -> Sessions {
        Sessions::new(self.clone(), url.into(), self.backoff.clone())
    }

    async fn attempt(&self, url: &str) -> std::result::Result<WebSocket, Failure> {
        let uri = self.check(url)?;
        let stage = Stage::default();
        match timeout(self.handshake_timeout, self.follow(uri, &stage)).await {
            Ok(done) => done,
            Err(_) => Err(self.late(url, &stage).into()),
        }
    }

    /// Connects, and goes where redirects lead.
    async fn follow(
        &self,
        mut uri: WebSocketUri,
        stage: &Stage,
    ) -> std::result::Result<WebSocket, Failure> {
        let mut headers = self.headers.clone();
        let mut redirects = 0;
        let mut http2 = self.http2;
        loop {
            let target = Target {
                host: uri.host(),
                port: uri.port(),
                secure: uri.is_secure(),
            };
            let (stream, chose_http2) =
                connect::connect(&target, &self.proxy, &self.lazy_tls, http2, stage).await?;
            stage.set(Stage::ANSWER);
            let speak_http2 = if uri.is_secure() { chose_http2 } else { http2 };
            match open::open(self, stream, &uri, &headers, speak_http2).await? {
                Outcome::Open(socket) => return Ok(*socket),
                Outcome::NoExtendedConnect if uri.is_secure() => http2 = false,
                Outcome::NoExtendedConnect => {
                    return Err(Failure {
                        permanent: true,
                        ..no_extended_connect(&uri).into()
                    });
                }
                Outcome::Redirect { error, .. } if redirects == self.max_redirects => {
                    return Err(error.into());
                }
                Outcome::Redirect { location, .. } => {
                    redirects += 1;
                    let next = open::redirect(&uri, &location)?;
                    if let Some(credentials) = uri.credentials() {
                        headers
                            .entry(header::AUTHORIZATION)
                            .or_insert_with(|| credentials.basic());
                    }
                    let same_origin = (next.is_secure(), next.host(), next.port())
                        == (uri.is_secure(), uri.host(), uri.port());
                    if !same_origin {
                        headers.remove(header::AUTHORIZATION);
                        headers.remove(header::COOKIE);
                        headers.remove(header::HOST);
                    }
                    http2 = self.http2;
                    uri = next;
                }
            }
        }
    }

    fn check(&self, url: &str) -> Result<WebSocketUri> {
        if let Some(unusable) = &self.unusable {
            return Err(Error::new(ErrorKind::Config, unusable.to_string()));
        }
        let uri = WebSocketUri::from_str(url).map_err(|error| {
            let context = format!("{} cannot be connected to: {error}", printable(url));
            Error::new(ErrorKind::Url, context).with_source(error)
        })?;
        // What cannot be asked for is found out before the network is troubled.
        open::request(self, &uri, &self.headers, false)?;
        Ok(uri)
    }

    fn late(&self, url: &str, stage: &Stage) -> Error {
        Error::new(
            ErrorKind::Timeout,
            format!(
                "no WebSocket with {} within {:?}: still {}",
                printable(url),
                self.handshake_timeout,
                stage.words()
            ),
        )
    }

    fn reject(mut self, why: String) -> Self {
        self.unusable.get_or_insert_with(|| why.into());
        self
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Client {
    // Header fields may hold credentials: their names are enough.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("handshake_timeout", &self.handshake_timeout)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("subprotocols", &self.subprotocols)
            .field("deflate", &self.deflate)
            .field("config", &self.config)
            .field("proxy", &self.proxy)
            .field("tls", &self.tls)
            .field("http2", &self.http2)
            .field("max_redirects", &self.max_redirects)
            .finish_non_exhaustive()
    }
}

/// An attempt that failed, with what a client that tries again wants to know.
#[derive(Debug)]
struct Failure {
    error: Error,
    /// Another attempt would fail in the same way.
    permanent: bool,
    /// When the server wants to be asked again, from now.
    retry_after: Option<Duration>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            permanent: false,
            retry_after: None,
        }
    }
}

/// The fields that the handshake sets itself (section 4.1), and those that say how a message is framed.
fn is_reserved(name: &HeaderName) -> bool {
    const RESERVED: [HeaderName; 7] = [
        header::UPGRADE,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::PROXY_AUTHORIZATION,
    ];
    RESERVED.contains(name) || name.as_str().starts_with("sec-websocket-")
}

fn no_extended_connect(uri: &WebSocketUri) -> Error {
    Error::new(
        ErrorKind::Connect,
        format!(
            "the server {} does not offer WebSocket over HTTP/2 (RFC 8441); connect without http2",
            uri.host()
        ),
    )
}

/// A URL without its user and password, for messages.
fn printable(url: &str) -> String {
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |end| end + 3));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let start = rest[..end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}{}", &rest[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_printed_without_credentials() {
        for (url, expected) in [
            ("ws://a/b@c", "ws://a/b@c"),
            ("ws://u:p@a:1/b@c?d", "ws://a:1/b@c?d"),
            ("ws://u:p@q@a", "ws://a"),
            ("u:p@a/b", "a/b"),
            ("ws://u@", "ws://"),
            ("", ""),
        ] {
            assert_eq!(printable(url), expected);
        }
    }
}
