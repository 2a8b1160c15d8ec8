//! Which web pages may open a WebSocket: the guard against cross-site hijacking (RFC 6455 section 10.2).

use std::{fmt, net::Ipv6Addr, sync::Arc};

use http::{HeaderMap, header};

use crate::error::{Error, ErrorKind, Result};

/// The web origins that may connect. A browser names the origin of the page in the `Origin` header of every opening
/// handshake and sends the cookies of *our* site with it, whichever page asks: without this check any page on the web
/// can act as its visitor.
///
/// An origin is scheme, host and port, all three compared; letters in either case are the same. The default is
/// [`same_origin`](Self::same_origin). The origin `null` (sandboxed frames, local files) is refused unless
/// [allowed](Self::allow_null). A request without the header does not come from a browser page and passes, unless the
/// header is [required](Self::require).
///
/// ```
/// use antiphon::Origins;
///
/// # fn main() -> antiphon::Result<()> {
/// let own_pages = Origins::same_origin();
/// let two_sites = Origins::only(["https://example.com", "https://*.example.org"])?;
/// let own_and_app = Origins::same_origin().also(["capacitor://localhost"])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    same: bool,
    secure: bool,
    null: bool,
    required: bool,
    listed: Arc<[Pattern]>,
}

impl Origins {
    /// Only pages of the site that is being connected to: scheme, host and port of `Origin` equal those of the request.
    ///
    /// The scheme is `https` where this server (or the [trusted proxy](crate::Server::trusted_proxies) before it)
    /// speaks TLS. Behind a proxy that is not known to the server see [`secure`](Self::secure).
    #[must_use]
    pub fn same_origin() -> Self {
        Self {
            any: false,
            same: true,
            secure: false,
            null: false,
            required: false,
            listed: Arc::new([]),
        }
    }

    /// Only the origins of this list: `scheme://host` with `:port` where it is not the scheme's own, or
    /// `scheme://*.host` for every name below a host (not the host itself).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for what is not such an origin: with a path, with a `*` elsewhere, without a scheme.
    pub fn only<I>(origins: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self {
            same: false,
            ..Self::same_origin()
        }
        .also(origins)
    }

    /// Every origin: any page on the web may connect, with the cookies of its visitor.
    ///
    /// Right only where cookies and the network position of the client grant nothing, as with a token that the page
    /// itself must know.
    #[must_use]
    pub fn allow_any() -> Self {
        Self {
            any: true,
            null: true,
            ..Self::same_origin()
        }
    }

    /// Adds origins, written as for [`only`](Self::only).
    ///
    /// # Errors
    ///
    /// As [`only`](Self::only).
    pub fn also<I>(mut self, origins: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut listed = self.listed.to_vec();
        for origin in origins {
            listed.push(Pattern::parse(origin.as_ref())?);
        }
        self.listed = listed.into();
        Ok(self)
    }

    /// Also allows the origin `null`, which any page can give itself with a sandboxed frame.
    #[must_use]
    pub fn allow_null(mut self) -> Self {
        self.null = true;
        self
    }

    /// Refuses requests without the header, which only programs send.
    #[must_use]
    pub fn require(mut self) -> Self {
        self.required = true;
        self
    }

    /// Takes the request for an `https` one when comparing with [`same_origin`](Self::same_origin): for servers that
    /// only ever stand behind a proxy that speaks TLS.
    #[must_use]
    pub fn secure(mut self) -> Self {
        self.secure = true;
        self
    }

    /// Judges a request; `secure` says whether its client speaks TLS, `authority` is its validated host.
    pub(crate) fn judge(
        &self,
        headers: &HeaderMap,
        secure: bool,
        authority: &str,
    ) -> Result<(), Refused> {
        let mut values = headers.get_all(header::ORIGIN).iter();
        let Some(value) = values.next() else {
            return if self.required {
                Err(Refused::Missing)
            } else {
                Ok(())
            };
        };
        if values.next().is_some() {
            return Err(Refused::Malformed);
        }
        if self.any {
            return Ok(());
        }
        let text = value.to_str().map_err(|_| Refused::Malformed)?;
        if text == "null" {
            return if self.null {
                Ok(())
            } else {
                Err(Refused::Null)
            };
        }
        let origin = Triple::parse(text).ok_or(Refused::Malformed)?;
        let same = || {
            let scheme = if secure || self.secure {
                "https"
            } else {
                "http"
            };
            let own = Triple::of_request(scheme, authority);
            own.is_some_and(|own| own == origin)
        };
        if (self.same && same()) || self.listed.iter().any(|pattern| pattern.matches(&origin)) {
            Ok(())
        } else {
            Err(Refused::Foreign)
        }
    }
}

impl Default for Origins {
    fn default() -> Self {
        Self::same_origin()
    }
}

/// Why an origin was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Missing,
    Malformed,
    Null,
    Foreign,
}

impl Refused {
    /// The reason for machines.
    pub(crate) fn token(self) -> &'static str {
        match self {
            Self::Missing => "origin-missing",
            Self::Malformed => "origin-malformed",
            Self::Null => "origin-null",
            Self::Foreign => "origin-not-allowed",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "an Origin header is required here",
            Self::Malformed => "the Origin header is not one origin",
            Self::Null => "pages without an origin of their own may not connect here",
            Self::Foreign => "pages of this origin may not connect here",
        })
    }
}

/// An entry of a list: an origin, or everything below a host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    origin: Triple,
    below: bool,
}

impl Pattern {
    fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            let advice = "write scheme://host, scheme://host:port or scheme://*.host";
            Error::new(
                ErrorKind::Config,
                format!("the origin {text:?} cannot be used: {why}; {advice}"),
            )
        };
        if text == "*" {
            return Err(Error::new(
                ErrorKind::Config,
                "the origin \"*\" cannot be listed; if every web page may connect, say so with Origins::allow_any()",
            ));
        }
        if text == "null" {
            return Err(Error::new(
                ErrorKind::Config,
                "the origin \"null\" cannot be listed; if pages without an origin may connect, say so with allow_null()",
            ));
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| refuse("it has no scheme"))?;
        let (below, rest) = rest
            .strip_prefix("*.")
            .map_or((false, rest), |rest| (true, rest));
        if rest.contains('*') {
            return Err(refuse("a * stands for whole leading names only"));
        }
        let origin = Triple::parse(&format!("{scheme}://{rest}"))
            .ok_or_else(|| refuse("it is not an origin"))?;
        if below
            && !matches!(&origin.host, Host::Name(name) if name.contains('.') || name == "localhost")
        {
            return Err(refuse("a * needs at least two names after it"));
        }
        Ok(Self { origin, below })
    }

    fn matches(&self, origin: &Triple) -> bool {
        if !self.below {
            return self.origin == *origin;
        }
        let (Host::Name(parent), Host::Name(name)) = (&self.origin.host, &origin.host) else {
            return false;
        };
        self.origin.scheme == origin.scheme
            && self.origin.port == origin.port
            && name
                .strip_suffix(parent.as_str())
                .is_some_and(|left| left.len() > 1 && left.ends_with('.'))
    }
}

/// Scheme, host and port in the form in which they compare: lower case, the port written out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Triple {
    scheme: String,
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Name(String),
    V6(Ipv6Addr),
}

impl Triple {
    /// A serialized origin (RFC 6454 section 6.1): nothing may stand before, between or behind its parts.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let mut letters = scheme.bytes();
        if !letters.next()?.is_ascii_alphabetic()
            || !letters.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        {
            return None;
        }
        // An empty port is allowed in a Host header (RFC 3986 section 3.2.3), but no browser writes one in an origin.
        if authority.ends_with(':') {
            return None;
        }
        Self::of_request(scheme, authority)
    }

    fn of_request(scheme: &str, authority: &str) -> Option<Self> {
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            // A zone identifier has no meaning beyond one machine; parsing refuses it.
            (
                Host::V6(address.parse().ok()?),
                port.strip_prefix(':').or(port.is_empty().then_some("")),
            )
        } else {
            let (name, port) = authority.split_once(':').unwrap_or((authority, ""));
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            if name.is_empty() || !name.bytes().all(plain) {
                return None;
            }
            (Host::Name(name.to_ascii_lowercase()), Some(port))
        };
        let port = match port? {
            "" => match scheme.as_str() {
                "http" | "ws" => Some(80),
                "https" | "wss" => Some(443),
                _ => None,
            },
            digits
                if digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                return None;
            }
            digits => Some(digits.parse().ok()?),
        };
        Some(Self { scheme, host, port })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn judge(
        origins: &Origins,
        origin: Option<&str>,
        secure: bool,
        host: &str,
    ) -> Result<(), Refused> {
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            let value = HeaderValue::from_bytes(origin.as_bytes()).expect("a header value");
            headers.insert(header::ORIGIN, value);
        }
        origins.judge(&headers, secure, host)
    }

    #[test]
    fn same_origin_compares_scheme_host_and_port() {
        use Refused::{Foreign, Malformed, Null};
        // Origin, TLS, Host, verdict
        let rows: &[(&str, bool, &str, Result<(), Refused>)] = &[
            ("http://example.com", false, "example.com", Ok(())),
            ("https://example.com", true, "example.com", Ok(())),
            ("http://example.com:80", false, "example.com", Ok(())),
            ("https://example.com", true, "example.com:443", Ok(())),
            ("https://example.com", true, "example.com:", Ok(())),
            ("HTTPS://EXAMPLE.com", true, "example.COM", Ok(())),
            ("http://example.com:8080", false, "example.com:8080", Ok(())),
            ("http://[::1]:8080", false, "[::1]:8080", Ok(())),
            ("http://[0:0:0:0:0:0:0:1]", false, "[::1]", Ok(())),
            ("http://127.0.0.1:8199", false, "127.0.0.1:8199", Ok(())),
            (
                "https://xn--bcher-kva.example",
                true,
                "xn--bcher-kva.example",
                Ok(()),
            ),
            ("http://example.com.", false, "example.com.", Ok(())),
            // The scheme differs.
            ("https://example.com", false, "example.com", Err(Foreign)),
            ("http://example.com", true, "example.com", Err(Foreign)),
            ("http://example.com:443", true, "example.com", Err(Foreign)),
            ("ftp://example.com", false, "example.com", Err(Foreign)),
            // The port differs.
            (
                "http://example.com:8080",
                false,
                "example.com",
                Err(Foreign),
            ),
            (
                "http://example.com",
                false,
                "example.com:8080",
                Err(Foreign),
            ),
            ("https://example.com:80", true, "example.com", Err(Foreign)),
            // The host only looks alike: suffix, prefix, a name below, a trailing dot, letters from elsewhere.
            ("http://evilexample.com", false, "example.com", Err(Foreign)),
            (
                "http://example.com.evil.net",
                false,
                "example.com",
                Err(Foreign),
            ),
            ("http://a.example.com", false, "example.com", Err(Foreign)),
            ("http://example.com", false, "a.example.com", Err(Foreign)),
            ("http://example.com.", false, "example.com", Err(Foreign)),
            ("http://example.com", false, "example.com.", Err(Foreign)),
            (
                "http://xn--exmple-cua.com",
                false,
                "example.com",
                Err(Foreign),
            ),
            ("http://127.0.0.1", false, "localhost", Err(Foreign)),
            ("http://[::1]", false, "[::2]", Err(Foreign)),
            // Not an origin.
            ("http://exämple.com", false, "example.com", Err(Malformed)),
            ("http://example.com/", false, "example.com", Err(Malformed)),
            ("http://example.com:", false, "example.com", Err(Malformed)),
            (
                "http://example.com:080",
                false,
                "example.com",
                Err(Malformed),
            ),
            (
                "http://example.com:+80",
                false,
                "example.com",
                Err(Malformed),
            ),
            (
                "http://example.com:65616",
                false,
                "example.com",
                Err(Malformed),
            ),
            (
                "http://user@example.com",
                false,
                "example.com",
                Err(Malformed),
            ),
            (
                "http://example.com@evil.net",
                false,
                "example.com",
                Err(Malformed),
            ),
            (
                "http://example.com http://evil.net",
                false,
                "example.com",
                Err(Malformed),
            ),
            (
                "http://example.com, http://evil.net",
                false,
                "example.com",
                Err(Malformed),
            ),
            ("http://example.com?", false, "example.com", Err(Malformed)),
            ("http://example.com#", false, "example.com", Err(Malformed)),
            (
                "http://example.com\\.evil.net",
                false,
                "example.com",
                Err(Malformed),
            ),
            (
                "http://[fe80::1%25eth0]",
                false,
                "[fe80::1]",
                Err(Malformed),
            ),
            ("http://[::1", false, "[::1]", Err(Malformed)),
            ("http://[::1]x", false, "[::1]", Err(Malformed)),
            ("http://", false, "example.com", Err(Malformed)),
            ("//example.com", false, "example.com", Err(Malformed)),
            ("example.com", false, "example.com", Err(Malformed)),
            ("1http://example.com", false, "example.com", Err(Malformed)),
            ("", false, "example.com", Err(Malformed)),
            ("NULL", false, "example.com", Err(Malformed)),
            ("null", false, "example.com", Err(Null)),
        ];
        for &(origin, secure, host, expected) in rows {
            assert_eq!(
                judge(&Origins::same_origin(), Some(origin), secure, host),
                expected,
                "{origin} at {host}"
            );
        }
        assert_eq!(
            judge(
                &Origins::same_origin(),
                Some("http://evil"),
                false,
                "bad host"
            ),
            Err(Refused::Foreign)
        );
    }

    #[test]
    fn lists_match_exactly_and_wildcards_on_whole_names() {
        use Refused::Foreign;
        let list = [
            "https://example.com",
            "https://*.example.org",
            "http://*.dev.example:8080",
            "capacitor://localhost",
        ];
        let origins = Origins::only(list).expect("a good list");
        let rows: &[(&str, Result<(), Refused>)] = &[
            ("https://example.com", Ok(())),
            ("https://example.com:443", Ok(())),
            ("https://a.example.org", Ok(())),
            ("https://a.b.example.org", Ok(())),
            ("https://A.EXAMPLE.ORG", Ok(())),
            ("http://x.dev.example:8080", Ok(())),
            ("capacitor://localhost", Ok(())),
            ("https://example.org", Err(Foreign)),
            ("https://.example.org", Err(Foreign)),
            ("https://evilexample.org", Err(Foreign)),
            ("https://a.example.org.", Err(Foreign)),
            ("https://a.example.org.evil.net", Err(Foreign)),
            ("http://a.example.org", Err(Foreign)),
            ("https://a.example.org:8443", Err(Foreign)),
            ("http://x.dev.example", Err(Foreign)),
            ("https://a.example.com", Err(Foreign)),
            ("ionic://localhost", Err(Foreign)),
            // A list replaces the site itself.
            ("https://server.example", Err(Foreign)),
        ];
        for &(origin, expected) in rows {
            assert_eq!(
                judge(&origins, Some(origin), true, "server.example"),
                expected,
                "{origin}"
            );
        }
        let both = Origins::same_origin()
            .also(["https://example.com"])
            .expect("a good list");
        assert_eq!(
            judge(
                &both,
                Some("https://server.example"),
                true,
                "server.example"
            ),
            Ok(())
        );
        assert_eq!(
            judge(&both, Some("https://example.com"), true, "server.example"),
            Ok(())
        );
    }

    #[test]
    fn what_is_no_origin_cannot_be_listed() {
        let rows = [
            "*",
            "null",
            "",
            "example.com",
            "https://",
            "https://example.com/",
            "https://example.com/path",
            "https://*",
            "https://*.com",
            "https://a.*.com",
            "https://*example.com",
            "*://example.com",
            "https://example.com:99999",
            "https://*.[::1]",
            "https://ex ample.com",
            "https://*.*.example.com",
        ];
        for text in rows {
            let error = Origins::only([text]).expect_err(text);
            assert_eq!(error.kind(), &ErrorKind::Config);
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn exceptions_are_spelt_out() {
        let host = "example.com";
        assert_eq!(judge(&Origins::same_origin(), None, false, host), Ok(()));
        assert_eq!(
            judge(&Origins::same_origin().require(), None, false, host),
            Err(Refused::Missing)
        );
        assert_eq!(
            judge(
                &Origins::same_origin().allow_null(),
                Some("null"),
                false,
                host
            ),
            Ok(())
        );
        assert_eq!(
            judge(&Origins::allow_any(), Some("https://evil.net"), false, host),
            Ok(())
        );
        assert_eq!(
            judge(&Origins::allow_any(), Some("null"), false, host),
            Ok(())
        );
        assert_eq!(
            judge(&Origins::allow_any().require(), None, false, host),
            Err(Refused::Missing)
        );
        assert_eq!(
            judge(
                &Origins::same_origin().secure(),
                Some("https://example.com"),
                false,
                host
            ),
            Ok(())
        );
        assert_eq!(
            judge(
                &Origins::same_origin().secure(),
                Some("http://example.com"),
                false,
                host
            ),
            Err(Refused::Foreign)
        );
        let mut two = HeaderMap::new();
        two.append(
            header::ORIGIN,
            HeaderValue::from_static("http://example.com"),
        );
        two.append(
            header::ORIGIN,
            HeaderValue::from_static("http://example.com"),
        );
        assert_eq!(
            Origins::same_origin().judge(&two, false, host),
            Err(Refused::Malformed)
        );
        assert_eq!(
            Origins::allow_any().judge(&two, false, host),
            Err(Refused::Malformed)
        );
    }

    proptest! {
        #[test]
        fn only_the_own_host_passes(name in "[a-z]{1,8}(\\.[a-z]{1,8}){0,3}", other in "[a-z.:@/\\[\\]-]{0,12}") {
            prop_assert_eq!(judge(&Origins::same_origin(), Some(&format!("http://{name}")), false, &name), Ok(()));
            for foreign in [format!("http://{name}{other}"), format!("http://{other}{name}")] {
                let same = foreign == format!("http://{name}");
                prop_assert_eq!(judge(&Origins::same_origin(), Some(&foreign), false, &name).is_ok(), same);
            }
        }

        #[test]
        fn a_wildcard_needs_a_dot_before_the_parent(left in "[a-z.-]{0,12}") {
            let origins = Origins::only(["https://*.example.com"]).expect("a good list");
            let origin = format!("https://{left}example.com");
            prop_assert_eq!(judge(&origins, Some(&origin), true, "x").is_ok(), left.len() > 1 && left.ends_with('.'));
        }
    }
}
