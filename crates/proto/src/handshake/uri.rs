//! WebSocket URIs: `ws://host:port/path?query` and `wss://...` (RFC 6455 section 3).

use std::{fmt, net::Ipv6Addr, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, uri::PathAndQuery};
use thiserror::Error;

/// A WebSocket URI, taken apart and checked.
///
/// `Display` writes it back without credentials, so that it may stand in a log.
///
/// ```
/// use antiphon_proto::handshake::uri::WebSocketUri;
///
/// let uri: WebSocketUri = "wss://user:secret@example.com:443/chat?room=1".parse()?;
/// assert!(uri.is_secure());
/// assert_eq!((uri.host(), uri.port()), ("example.com", 443));
/// assert_eq!(uri.authority(), "example.com");
/// assert_eq!(uri.path_and_query(), "/chat?room=1");
/// assert_eq!(uri.credentials().map(|credentials| credentials.user()), Some("user"));
/// assert_eq!(uri.to_string(), "wss://example.com/chat?room=1");
/// # Ok::<(), antiphon_proto::handshake::uri::UriError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketUri {
    secure: bool,
    host: String,
    port: u16,
    authority: String,
    path_and_query: PathAndQuery,
    credentials: Option<Credentials>,
}

impl WebSocketUri {
    /// Whether the connection runs over TLS (`wss`).
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host in lower case: a name, an IPv4 address, or an IPv6 address without its brackets. To be resolved, and
    /// to be named to TLS.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; without one in the URI, 80 for `ws` and 443 for `wss`.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What goes into the `Host` field: the host, IPv6 in brackets, and the port unless it is the scheme's default
    /// (RFC 6455 section 4.1).
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The resource name as it was written, at least `/`.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        self.path_and_query.as_str()
    }

    /// User and password, if the URI has them. [`ClientHandshake`](super::client::ClientHandshake) sends them as Basic
    /// authentication unless its headers have an `Authorization` of their own.
    #[must_use]
    pub const fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    pub(super) const fn resource(&self) -> &PathAndQuery {
        &self.path_and_query
    }
}

/// Why a text is no WebSocket URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum UriError {
    /// The scheme is missing or not one of `ws`, `wss`, `http`, `https`.
    #[error("a WebSocket URI starts with ws:// or wss://")]
    Scheme,
    /// The URI has a fragment (RFC 6455 section 3 forbids it).
    #[error("a WebSocket URI has no fragment: write # as %23")]
    Fragment,
    /// The host is missing or has characters that no host has.
    #[error("the host of the URI is not valid")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the port of the URI is not valid")]
    Port,
    /// The user or the password is not valid when percent-decoded.
    #[error("the user or the password of the URI is not valid")]
    Credentials,
    /// The path or the query has characters that must be percent-encoded.
    #[error("the path or the query of the URI has characters that must be percent-encoded")]
    Path,
}

impl FromStr for WebSocketUri {
    type Err = UriError;

    /// The scheme and the host are read in any letter case; `http` and `https` stand for `ws` and `wss`, as browsers
    /// have it.
    fn from_str(text: &str) -> Result<Self, UriError> {
        let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => return Err(UriError::Scheme),
        };
        if rest.contains('#') {
            return Err(UriError::Fragment);
        }
        let (authority, resource) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (credentials, authority) = match authority.rsplit_once('@') {
            Some((user_info, authority)) => {
                (Some(Credentials::from_user_info(user_info)?), authority)
            }
            None => (None, authority),
        };
        let (host, port) = split_authority(authority)?;
        let host = host.to_ascii_lowercase();
        let default = if secure { 443 } else { 80 };
        let port = port.unwrap_or(default);
        Ok(Self {
            secure,
            authority: if port == default {
                host.clone()
            } else {
                format!("{host}:{port}")
            },
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port,
            path_and_query: path_and_query(resource)?,
            credentials,
        })
    }
}

impl fmt::Display for WebSocketUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.authority, self.path_and_query)
    }
}

/// User and password of a URI, percent-decoded. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// The user, without a colon.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password; empty if the URI has none.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The value of an `Authorization` or `Proxy-Authorization` field for Basic authentication (RFC 7617), marked as
    /// sensitive.
    #[must_use]
    pub fn basic(&self) -> HeaderValue {
        let pair = STANDARD.encode(format!("{}:{}", self.user, self.password));
        let mut value =
            HeaderValue::try_from(format!("Basic {pair}")).expect("base64 is visible ASCII");
        value.set_sensitive(true);
        value
    }

    /// Reads `user:password` or `user`, percent-encoded.
    ///
    /// # Errors
    ///
    /// [`UriError::Credentials`], when an escape is broken, the result is not UTF-8, has control characters, or the
    /// user has a colon, which Basic authentication cannot carry.
    pub fn from_user_info(user_info: &str) -> Result<Self, UriError> {
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        let user = percent_decode(user)
            .filter(|user| !user.contains(':'))
            .ok_or(UriError::Credentials)?;
        let password = percent_decode(password).ok_or(UriError::Credentials)?;
        Ok(Self { user, password })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Splits `host[:port]`, the value of a `Host` field, into its host (IPv6 in brackets) and its port, and checks both.
///
/// # Errors
///
/// [`UriError::Host`] or [`UriError::Port`].
///
/// ```
/// use antiphon_proto::handshake::uri::split_authority;
///
/// assert_eq!(split_authority("[::1]:8199"), Ok(("[::1]", Some(8199))));
/// assert_eq!(split_authority("example.com"), Ok(("example.com", None)));
/// assert!(split_authority("user@example.com").is_err());
/// ```
pub fn split_authority(authority: &str) -> Result<(&str, Option<u16>), UriError> {
    let end = if authority.starts_with('[') {
        authority.find(']').ok_or(UriError::Host)? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(end);
    if !is_host(host) {
        return Err(UriError::Host);
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return Err(UriError::Host),
        // RFC 3986 section 3.2.3 allows a colon without a port.
        Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(
            digits
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or(UriError::Port)?,
        ),
        Some(_) => return Err(UriError::Port),
    };
    Ok((host, port))
}

/// No percent-encoding here: no name that can be resolved has any, and it is how one host is made to look like another.
fn is_host(host: &str) -> bool {
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_name_byte),
    }
}

/// Unreserved characters and sub-delimiters (RFC 3986 section 3.2.2), but the comma, which is how two `Host` fields
/// look after a proxy has joined them.
const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b';'
                | b'='
        )
}

fn path_and_query(resource: &str) -> Result<PathAndQuery, UriError> {
    if !resource.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(UriError::Path);
    }
    let resource = if resource.starts_with('/') {
        resource.to_owned()
    } else {
        format!("/{resource}")
    };
    PathAndQuery::try_from(resource).map_err(|_| UriError::Path)
}

fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded)
        .ok()
        .filter(|decoded| !decoded.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<WebSocketUri, UriError> {
        text.parse()
    }

    /// RFC 6455 section 3: the default ports, the resource name, and TLS by the scheme.
    #[test]
    fn uris_are_taken_apart() {
        for (text, secure, host, port, authority, path) in [
            ("ws://h", false, "h", 80, "h", "/"),
            ("ws://h/", false, "h", 80, "h", "/"),
            ("wss://h", true, "h", 443, "h", "/"),
            (
                "WSS://Example.COM/A",
                true,
                "example.com",
                443,
                "example.com",
                "/A",
            ),
            ("http://h/a", false, "h", 80, "h", "/a"),
            ("https://h/a", true, "h", 443, "h", "/a"),
            ("ws://h:80/", false, "h", 80, "h", "/"),
            ("ws://h:443/", false, "h", 443, "h:443", "/"),
            ("wss://h:443/", true, "h", 443, "h", "/"),
            ("wss://h:80/", true, "h", 80, "h:80", "/"),
            ("ws://h:/x", false, "h", 80, "h", "/x"),
            ("ws://h:65535", false, "h", 65535, "h:65535", "/"),
            (
                "ws://127.0.0.1:8199/ws",
                false,
                "127.0.0.1",
                8199,
                "127.0.0.1:8199",
                "/ws",
            ),
            ("ws://[::1]/", false, "::1", 80, "[::1]", "/"),
            (
                "ws://[2001:DB8::1]:9/",
                false,
                "2001:db8::1",
                9,
                "[2001:db8::1]:9",
                "/",
            ),
            ("ws://h?a=b", false, "h", 80, "h", "/?a=b"),
            ("ws://h?", false, "h", 80, "h", "/?"),
            (
                "ws://h/a//b/../c%2f?x=%23&y=/?",
                false,
                "h",
                80,
                "h",
                "/a//b/../c%2f?x=%23&y=/?",
            ),
            ("ws://h/a@b:c", false, "h", 80, "h", "/a@b:c"),
            ("ws://a_b.c-d.:1/", false, "a_b.c-d.", 1, "a_b.c-d.:1", "/"),
        ] {
            let uri = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(uri.is_secure(), secure, "{text}");
            assert_eq!((uri.host(), uri.port()), (host, port), "{text}");
            assert_eq!(
                (uri.authority(), uri.path_and_query()),
                (authority, path),
                "{text}"
            );
            assert_eq!(uri.credentials(), None, "{text}");
            let scheme = if secure { "wss" } else { "ws" };
            assert_eq!(uri.to_string(), format!("{scheme}://{authority}{path}"));
        }
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for (text, expected) in [
            ("", UriError::Scheme),
            ("h", UriError::Scheme),
            ("//h/", UriError::Scheme),
            ("/path", UriError::Scheme),
            ("ws:h", UriError::Scheme),
            ("ftp://h/", UriError::Scheme),
            (" ws://h/", UriError::Scheme),
            // "Fragment identifiers are meaningless in the context of WebSocket URIs and MUST NOT be used."
            ("ws://h/#", UriError::Fragment),
            ("ws://h/a?b#c", UriError::Fragment),
            ("ws://h#c", UriError::Fragment),
            ("ws://", UriError::Host),
            ("ws:///path", UriError::Host),
            ("ws://:80/", UriError::Host),
            ("ws://?q", UriError::Host),
            ("ws://user@/", UriError::Host),
            ("ws://a b/", UriError::Host),
            ("ws://a,b/", UriError::Host),
            ("ws://a%41/", UriError::Host),
            ("ws://ä/", UriError::Host),
            ("ws://a\\b/", UriError::Host),
            ("ws://[::1/", UriError::Host),
            ("ws://[]/", UriError::Host),
            ("ws://[::g]/", UriError::Host),
            ("ws://[::1%25eth0]/", UriError::Host),
            ("ws://[127.0.0.1]/", UriError::Host),
            ("ws://[::1]x/", UriError::Host),
            ("ws://::1/", UriError::Host),
            ("ws://h:0/", UriError::Port),
            ("ws://h:65536/", UriError::Port),
            ("ws://h:99999999999999999999/", UriError::Port),
            ("ws://h:x/", UriError::Port),
            ("ws://h:+1/", UriError::Port),
            ("ws://h:1:2/", UriError::Port),
            ("ws://u%@h/", UriError::Credentials),
            ("ws://u%4@h/", UriError::Credentials),
            ("ws://u%zz@h/", UriError::Credentials),
            ("ws://u:%ff@h/", UriError::Credentials),
            ("ws://u:%0d%0a@h/", UriError::Credentials),
            ("ws://a%3ab:c@h/", UriError::Credentials),
            ("ws://h/a b", UriError::Path),
            ("ws://h/\r\nX: y", UriError::Path),
            ("ws://h/é", UriError::Path),
            ("ws://h/<", UriError::Path),
        ] {
            assert_eq!(parse(text), Err(expected), "{text:?}");
            assert!(!expected.to_string().is_empty());
        }
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        for (text, user, password, basic) in [
            (
                "ws://Aladdin:open%20sesame@h/",
                "Aladdin",
                "open sesame",
                "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            ),
            ("ws://u@h/", "u", "", "Basic dTo="),
            ("ws://:p@h/", "", "p", "Basic OnA="),
            ("ws://u:p:q@h/", "u", "p:q", "Basic dTpwOnE="),
            ("ws://a%40b:p@q@h/", "a@b", "p@q", "Basic YUBiOnBAcQ=="),
        ] {
            let uri = parse(text).unwrap();
            let credentials = uri.credentials().unwrap();
            assert_eq!(
                (credentials.user(), credentials.password()),
                (user, password)
            );
            assert_eq!(credentials.basic(), basic);
            assert!(credentials.basic().is_sensitive());
            assert_eq!(uri.to_string(), "ws://h/");
        }
        let uri = parse("ws://user:secret@h/").unwrap();
        assert!(format!("{uri:?}").contains("user"));
        assert!(!format!("{uri:?}").contains("secret"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse(&text);
            let _ = parse(&format!("ws://{text}"));
            let _ = split_authority(&text);
        }

        #[test]
        fn what_is_written_reads_back(
            uri in "wss?://([a-z]{1,9}|\\[::[0-9a-f]{1,4}\\])(:[1-9][0-9]{0,3})?(/[a-z%20]{0,9})?(\\?[a-z=&]{0,9})?"
        ) {
            let uri = parse(&uri).unwrap();
            prop_assert_eq!(parse(&uri.to_string()).unwrap(), uri);
        }
    }
}
