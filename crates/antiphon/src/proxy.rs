//! Proxies of a client: which one a connection goes through, and the way through it.

use std::{fmt, net::IpAddr, sync::Arc};

use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use hyper_util::{
    client::{legacy::connect::proxy::SocksV5, proxy::matcher::Matcher},
    rt::TokioIo,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::lookup_host,
};
use tower::service_fn;
use tower_service::Service;

use crate::{
    error::{Error, ErrorKind, Result},
    exchange::{Answer, exchange},
};

/// Which proxy a [`Client`](crate::Client) goes through.
///
/// | address | how |
/// |---|---|
/// | `http://[user:password@]host:port` | HTTP CONNECT, for `ws` and `wss` alike; Basic authentication |
/// | `https://...` | the same, with TLS to the proxy (its certificate is always verified) |
/// | `socks5://...` | SOCKS5 (RFC 1928, 1929); names are resolved here |
/// | `socks5h://...` | SOCKS5; names are resolved by the proxy |
///
/// Credentials go to the proxy and nowhere else; with `wss` the proxy sees only the name and the port of the server.
///
/// ```
/// use antiphon::{Client, Proxy};
///
/// # fn main() -> antiphon::Result<()> {
/// let proxy = Proxy::url("http://scott:tiger@proxy.example:3128")?.except("localhost, 10.0.0.0/8, .example.com");
/// let client = Client::new().proxy(proxy);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Proxy {
    rules: Option<Arc<Matcher>>,
    /// The address that was given, to be matched anew with exceptions.
    fixed: Option<String>,
    /// The environment's proxy is never asked for this machine itself: it could not reach it.
    except_loopback: bool,
}

impl Proxy {
    /// No proxy, whatever the environment says.
    #[must_use]
    pub fn none() -> Self {
        Self {
            rules: None,
            fixed: None,
            except_loopback: false,
        }
    }

    /// The proxies that the environment names now: `HTTP_PROXY` for `ws`, `HTTPS_PROXY` for `wss`, `ALL_PROXY` for both,
    /// except for the hosts in `NO_PROXY` (lower case too). `localhost` and loopback addresses are always reached
    /// directly, and a CGI program (`REQUEST_METHOD` is set) never takes a proxy from its environment. This is the default.
    #[must_use]
    pub fn environment() -> Self {
        Self {
            rules: Some(Arc::new(Matcher::from_env())),
            fixed: None,
            except_loopback: true,
        }
    }

    /// This proxy for every connection.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] where the address is not one of the forms above.
    pub fn url(address: impl Into<String>) -> Result<Self> {
        let address = address.into();
        let rules = Matcher::builder().all(address.as_str()).build();
        let proxy = Self {
            rules: Some(Arc::new(rules)),
            fixed: Some(address),
            except_loopback: false,
        };
        match proxy.route(&Target {
            host: "host.invalid",
            port: 80,
            secure: false,
        }) {
            Ok(Some(_)) => Ok(proxy),
            // The address may hold a password, so it is not repeated.
            Ok(None) => Err(Error::new(
                ErrorKind::Config,
                "the proxy's address is not a URL such as http://user:password@host:3128, https://..., socks5://... or \
                 socks5h://...",
            )),
            Err(error) => Err(error),
        }
    }

    /// Reaches these hosts directly: names (and all names below them), addresses, networks (`10.0.0.0/8`) or `*`,
    /// separated by commas. For [`url`](Self::url); the environment has `NO_PROXY`.
    #[must_use]
    pub fn except(mut self, hosts: &str) -> Self {
        if let Some(address) = &self.fixed {
            self.rules = Some(Arc::new(
                Matcher::builder().all(address.as_str()).no(hosts).build(),
            ));
        }
        self
    }

    /// The proxy for this target, if there is one.
    pub(crate) fn route(&self, target: &Target<'_>) -> Result<Option<Route>> {
        let Some(rules) = &self.rules else {
            return Ok(None);
        };
        if self.except_loopback && target.is_loopback() {
            return Ok(None);
        }
        let Some(hit) = rules.intercept(&target.uri()) else {
            return Ok(None);
        };
        let kind = match hit.uri().scheme_str() {
            Some("http") => Kind::Connect { tls: false },
            Some("https") => Kind::Connect { tls: true },
            Some("socks5") => Kind::Socks { remote_dns: false },
            Some("socks5h") => Kind::Socks { remote_dns: true },
            other => {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!(
                        "a proxy of the kind {} is not supported; use http, https, socks5 or socks5h",
                        other.unwrap_or("?")
                    ),
                ));
            }
        };
        let Some(host) = hit.uri().host() else {
            return Ok(None);
        };
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let port = hit.uri().port_u16().unwrap_or(match kind {
            Kind::Connect { tls: false } => 80,
            Kind::Connect { tls: true } => 443,
            Kind::Socks { .. } => 1080,
        });
        Ok(Some(Route {
            kind,
            host: host.to_owned(),
            port,
            basic: hit.basic_auth().cloned(),
            user: hit
                .raw_auth()
                .map(|(user, password)| (user.to_owned(), password.to_owned())),
        }))
    }
}

impl Default for Proxy {
    fn default() -> Self {
        Self::environment()
    }
}

impl fmt::Debug for Proxy {
    // The matcher prints its rules without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(&self.rules).finish()
    }
}

/// Where a connection is to end: the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// A name or an address, IPv6 without brackets.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// Whether TLS will be spoken with it.
    pub(crate) secure: bool,
}

impl Target<'_> {
    fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => self
                .host
                .trim_end_matches('.')
                .eq_ignore_ascii_case("localhost"),
        }
    }

    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The target as the URI that connectors and matchers want. The host was checked when the URL was parsed; one that
    /// does not fit here matches nothing and cannot be connected to.
    pub(crate) fn uri(&self) -> Uri {
        let scheme = if self.secure { "https" } else { "http" };
        Uri::builder()
            .scheme(scheme)
            .authority(self.authority())
            .path_and_query("/")
            .build()
            .unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Connect { tls: bool },
    Socks { remote_dns: bool },
}

/// One proxy, chosen for one target.
#[derive(Clone)]
pub(crate) struct Route {
    kind: Kind,
    host: String,
    port: u16,
    basic: Option<HeaderValue>,
    user: Option<(String, String)>,
}

impl Route {
    /// Where to open the TCP connection.
    pub(crate) fn address(&self) -> Target<'_> {
        Target {
            host: &self.host,
            port: self.port,
            secure: self.speaks_tls(),
        }
    }

    /// Whether the proxy itself wants TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.kind == Kind::Connect { tls: true }
    }

    /// Asks the proxy, over a connection to it, for one to the target.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    pub(crate) async fn tunnel<T>(&self, io: T, target: &Target<'_>) -> Result<T>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        match self.kind {
            Kind::Connect { .. } => self.connect(io, target).await,
            Kind::Socks { remote_dns } => self.socks(io, target, remote_dns).await,
        }
    }

    async fn connect<T>(&self, io: T, target: &Target<'_>) -> Result<T>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let authority = target.authority();
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(&authority)
            .header(header::HOST, &authority);
        if let Some(credentials) = &self.basic {
            request = request.header(header::PROXY_AUTHORIZATION, credentials);
        }
        let request = request.body(()).map_err(|error| {
            self.error(format!("cannot be asked for {authority}"))
                .with_source(error)
        })?;
        match exchange(io, request).await {
            Ok(Answer::Switched(_, io, read_ahead)) if read_ahead.is_empty() => Ok(io),
            // In both our protocols the client speaks first: these bytes are not the server's.
            Ok(Answer::Switched(..)) => Err(self.error(format!(
                "sent data of its own behind its answer to CONNECT {authority}"
            ))),
            Ok(Answer::Refused(head, body)) => {
                let advice = match (head.status.as_u16(), &self.basic) {
                    (407, None) => {
                        "; it wants a user and a password: put them into its address (http://user:password@host:port)"
                    }
                    (407, Some(_)) => "; check the user and the password in its address",
                    (403 | 405, _) => "; it does not allow tunnels to this host or port",
                    (502..=504, _) => "; it could not reach the server",
                    _ => "",
                };
                let mut error = self.error(format!(
                    "refused to connect to {authority} with {}{advice}",
                    head.status
                ));
                if head.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
                    error = error.with_source(Unauthorized);
                }
                Err(error.with_body(body))
            }
            Err(error) => Err(self
                .error(format!("did not answer as an HTTP proxy: {error}"))
                .with_source(error)),
        }
    }

    async fn socks<T>(&self, io: T, target: &Target<'_>, remote_dns: bool) -> Result<T>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let uri = if remote_dns || target.host.parse::<IpAddr>().is_ok() {
            target.uri()
        } else {
            let mut addresses = lookup_host((target.host, target.port))
                .await
                .map_err(|error| {
                    Error::new(
                        ErrorKind::Connect,
                        format!("the name {} cannot be resolved: {error}", target.host),
                    )
                    .with_source(error)
                })?;
            let address = addresses.next().ok_or_else(|| {
                Error::new(
                    ErrorKind::Connect,
                    format!("the name {} has no address", target.host),
                )
            })?;
            let host = address.ip().to_string();
            Target {
                host: &host,
                ..*target
            }
            .uri()
        };

        let mut io = Some(TokioIo::new(io));
        let connected = service_fn(move |_: Uri| {
            let io = io.take();
            async move { io.ok_or(Spent) }
        });
        let mut socks = SocksV5::new(self.address().uri(), connected);
        if let Some((user, password)) = &self.user {
            socks = socks.with_auth(user.clone(), password.clone());
        }
        match socks.call(uri).await {
            Ok(io) => Ok(io.into_inner()),
            Err(error) => Err(self
                .error(format!(
                    "refused to connect to {}: {error}",
                    target.authority()
                ))
                .with_source(error)),
        }
    }

    fn error(&self, what: String) -> Error {
        Error::new(ErrorKind::Proxy, format!("the proxy {self} {what}"))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Connect { tls: false } => "http",
            Kind::Connect { tls: true } => "https",
            Kind::Socks { remote_dns: false } => "socks5",
            Kind::Socks { remote_dns: true } => "socks5h",
        };
        write!(f, "{scheme}://{}", self.address().authority())
    }
}

/// The cause of an error that the same credentials, or none, will meet again.
#[derive(Debug, thiserror::Error)]
#[error("the proxy wants other credentials")]
pub(crate) struct Unauthorized;

/// The one connection to the proxy was used already; `tunnel` asks once.
#[derive(Debug, thiserror::Error)]
#[error("the connection to the proxy was used already")]
struct Spent;

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(http: &str, https: &str, all: &str, no: &str) -> Proxy {
        let rules = Matcher::builder()
            .http(http)
            .https(https)
            .all(all)
            .no(no)
            .build();
        Proxy {
            rules: Some(Arc::new(rules)),
            fixed: None,
            except_loopback: true,
        }
    }

    fn check(proxy: &Proxy, host: &str, secure: bool, expected: Option<&str>) {
        let target = Target {
            host,
            port: if secure { 443 } else { 80 },
            secure,
        };
        let route = proxy.route(&target).unwrap().map(|route| route.to_string());
        assert_eq!(
            route.as_deref(),
            expected,
            "{host} secure={secure} {proxy:?}"
        );
    }

    #[test]
    fn the_environment_chooses_by_scheme_and_exceptions() {
        let both = environment(
            "http://h:1",
            "http://s:2",
            "",
            "example.com, .dot.org, 10.0.0.0/8, 2001:db8::/32, 192.168.1.7",
        );
        let all = environment("", "", "socks5h://all:1080", "");
        let star = environment("http://h:1", "http://s:2", "", "*");
        let bare = environment("h:3128", "", "", "");
        for (proxy, host, secure, expected) in [
            (&both, "a.org", false, Some("http://h:1")),
            (&both, "a.org", true, Some("http://s:2")),
            (&both, "example.com", true, None),
            (&both, "EXAMPLE.com", true, None),
            (&both, "www.example.com", true, None),
            (&both, "notexample.com", true, Some("http://s:2")),
            (&both, "x.dot.org", false, None),
            (&both, "10.1.2.3", false, None),
            (&both, "11.1.2.3", false, Some("http://h:1")),
            (&both, "192.168.1.7", false, None),
            (&both, "2001:db8::1", false, None),
            (&both, "2001:db9::1", false, Some("http://h:1")),
            (&both, "localhost", false, None),
            (&both, "127.0.0.9", true, None),
            (&both, "::1", true, None),
            (&both, "::ffff:127.0.0.1", true, None),
            (&all, "a.org", false, Some("socks5h://all:1080")),
            (&all, "a.org", true, Some("socks5h://all:1080")),
            (&star, "a.org", true, None),
            (&bare, "a.org", false, Some("http://h:3128")),
            (&bare, "a.org", true, None),
            (&Proxy::none(), "a.org", true, None),
        ] {
            check(proxy, host, secure, expected);
        }
    }

    #[test]
    fn an_address_is_checked_when_given() {
        for (address, expected) in [
            ("http://p:3128", Some("http://p:3128")),
            ("http://p", Some("http://p:80")),
            ("https://u:p@p", Some("https://p:443")),
            ("socks5://p", Some("socks5://p:1080")),
            ("socks5h://u:p@[::1]:9", Some("socks5h://[::1]:9")),
            ("socks4://p:1", None),
            ("ftp://p:1", None),
            ("", None),
            ("http://", None),
            ("/p", None),
        ] {
            let proxy = Proxy::url(address);
            match expected {
                Some(expected) => check(&proxy.unwrap(), "localhost", false, Some(expected)),
                None => assert_eq!(proxy.unwrap_err().kind(), &ErrorKind::Config, "{address}"),
            }
        }
    }

    #[test]
    fn exceptions_hold_for_a_given_address() {
        let proxy = Proxy::url("http://p:1")
            .unwrap()
            .except("inside.example, 127.0.0.0/8");
        check(&proxy, "inside.example", true, None);
        check(&proxy, "127.0.0.1", true, None);
        check(&proxy, "outside.example", true, Some("http://p:1"));
    }

    #[test]
    fn credentials_are_never_printed() {
        let proxy = Proxy::url("socks5://scott:tiger@p:1").unwrap();
        let route = proxy
            .route(&Target {
                host: "a",
                port: 1,
                secure: false,
            })
            .unwrap()
            .unwrap();
        assert_eq!(route.user, Some(("scott".into(), "tiger".into())));
        assert!(!format!("{proxy:?} {route}").contains("tiger"));
        let failed = Proxy::url("ftp://scott:tiger@p").unwrap_err();
        assert!(!format!("{failed} {failed:?}").contains("tiger"));
    }
}
