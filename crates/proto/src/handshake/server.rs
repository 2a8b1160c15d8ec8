//! The server's side of the opening handshake: a request in, a response out (RFC 6455 section 4.2, RFC 8441 section 5).

use std::{fmt, sync::Arc};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
};
use thiserror::Error;

use super::{
    Negotiated,
    extension::{self, ListError},
    key, uri,
};
use crate::{
    config::DeflateConfig,
    grammar::{NotSingle, elements, is_token, names_token, single},
};

/// Most subprotocols that a client may offer. Beyond it the answer is 400.
pub const MAX_SUBPROTOCOLS: usize = 16;

/// The field of a refusal that names its reason for machines: [`Rejection::reason`].
pub const ERROR_FIELD: HeaderName = HeaderName::from_static("websocket-error");

/// Chooses one of the subprotocols that a client offers, or none. What was not offered counts as none.
pub type ChooseSubprotocol = Arc<dyn Fn(&[&str]) -> Option<String> + Send + Sync>;

/// What a server agrees to. One value serves all connections.
///
/// ```
/// use antiphon_proto::handshake::server::{Rejection, ServerHandshake};
///
/// let mut handshake = ServerHandshake::default();
/// handshake.subprotocols = vec!["chat".into()];
///
/// let request = http::Request::get("/ws")
///     .header("Host", "example.com")
///     .header("Upgrade", "websocket")
///     .header("Connection", "Upgrade")
///     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
///     .header("Sec-WebSocket-Version", "13")
///     .header("Sec-WebSocket-Protocol", "chat, superchat")
///     .body(())?;
/// let accepted = handshake.judge(&request, None)?;
/// assert_eq!(accepted.response.status(), 101);
/// assert_eq!(accepted.response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// assert_eq!(accepted.negotiated.subprotocol.as_deref(), Some("chat"));
///
/// let rejection = handshake.judge(&http::Request::get("/ws").body(())?, None).unwrap_err();
/// assert_eq!(rejection, Rejection::UpgradeMissing);
/// assert_eq!(rejection.response(http::Version::HTTP_11).status(), 426);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ServerHandshake {
    /// Subprotocols that the server speaks, best first: the first that the client offers is chosen. Default: none.
    pub subprotocols: Vec<String>,
    /// Refuse a client, with 400, that offers no subprotocol of ours. Default false: it is accepted without one.
    pub require_subprotocol: bool,
    /// Chooses instead of `subprotocols`. Called with what the client offers, in its order. Default: none.
    pub choose_subprotocol: Option<ChooseSubprotocol>,
    /// How to answer offers of permessage-deflate, as [`extension`] describes. Default `None`: they are declined.
    pub deflate: Option<Arc<DeflateConfig>>,
}

/// A handshake that may be completed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// The response that opens the WebSocket: 101, or 200 to an extended CONNECT. Fields may be added; those that are
    /// there must stay.
    pub response: Response<()>,
    /// What the response says.
    pub negotiated: Negotiated,
}

impl ServerHandshake {
    /// Judges a request.
    ///
    /// `protocol` is the `:protocol` pseudo-header of an extended CONNECT (RFC 8441), which HTTP libraries hand out
    /// beside the request; it counts only in HTTP/2 and later. The origin is not judged here: that is a policy, not
    /// grammar.
    ///
    /// # Errors
    ///
    /// The first rule that the request breaks. [`Rejection::response`] is the answer.
    pub fn judge<B>(
        &self,
        request: &Request<B>,
        protocol: Option<&str>,
    ) -> Result<Accepted, Rejection> {
        let headers = request.headers();
        let mut response = Response::new(());
        if request.version() >= Version::HTTP_2 {
            judge_extended_connect(request, protocol)?;
        } else {
            judge_upgrade(request)?;
        }
        check_body(headers)?;
        check_version(headers)?;
        if request.version() < Version::HTTP_2 {
            let key = single(headers, &header::SEC_WEBSOCKET_KEY).map_err(|why| match why {
                NotSingle::Absent => Rejection::KeyMissing,
                NotSingle::Repeated => Rejection::KeyRepeated,
            })?;
            if !key::is_valid(key.as_bytes()) {
                return Err(Rejection::KeyInvalid);
            }
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let fields = response.headers_mut();
            fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            fields.insert(
                header::SEC_WEBSOCKET_ACCEPT,
                value(key::accept(key.as_bytes())),
            );
        }
        let negotiated = self.negotiate(headers, response.headers_mut())?;
        Ok(Accepted {
            response,
            negotiated,
        })
    }

    fn negotiate(
        &self,
        headers: &HeaderMap,
        answer: &mut HeaderMap,
    ) -> Result<Negotiated, Rejection> {
        let offered = subprotocols(headers)?;
        let subprotocol = self.choose(&offered);
        if subprotocol.is_none() && self.require_subprotocol {
            return Err(Rejection::SubprotocolRequired);
        }
        if let Some(subprotocol) = subprotocol {
            answer.insert(
                header::SEC_WEBSOCKET_PROTOCOL,
                value(subprotocol.to_owned()),
            );
        }
        let extensions = extension::parse(headers).map_err(|why| match why {
            ListError::Malformed => Rejection::ExtensionsMalformed,
            ListError::TooLong => Rejection::ExtensionsTooMany,
        })?;
        let deflate = self
            .deflate
            .as_deref()
            .and_then(|config| extension::accept(&extensions, config));
        if let Some((parameters, _)) = deflate {
            answer.insert(
                header::SEC_WEBSOCKET_EXTENSIONS,
                value(parameters.to_string()),
            );
        }
        Ok(Negotiated {
            subprotocol: subprotocol.map(Arc::from),
            deflate: deflate.map(|(_, params)| params),
        })
    }

    fn choose<'a>(&self, offered: &[&'a str]) -> Option<&'a str> {
        let among = |wanted: &str| offered.iter().find(|offer| **offer == wanted).copied();
        match &self.choose_subprotocol {
            Some(choose) => among(&choose(offered)?),
            None => self.subprotocols.iter().find_map(|wanted| among(wanted)),
        }
    }
}

impl fmt::Debug for ServerHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandshake")
            .field("subprotocols", &self.subprotocols)
            .field("require_subprotocol", &self.require_subprotocol)
            .field("choose_subprotocol", &self.choose_subprotocol.is_some())
            .field("deflate", &self.deflate)
            .finish()
    }
}

/// Why a request does not open a WebSocket: one variant for each rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The method is not GET (RFC 6455 section 4.2.1).
    #[error("a WebSocket is opened with the method GET")]
    MethodNotGet,
    /// The method is not CONNECT, in HTTP/2 or later (RFC 8441 section 4).
    #[error("over this version of HTTP a WebSocket is opened with the method CONNECT")]
    MethodNotConnect,
    /// HTTP before 1.1 (RFC 6455 section 4.2.1).
    #[error("a WebSocket needs HTTP/1.1 or later")]
    HttpVersion,
    /// No `Upgrade` that names `websocket` (RFC 6455 section 4.2.1).
    #[error("this address speaks WebSocket: the request must have the header Upgrade: websocket")]
    UpgradeMissing,
    /// An `Upgrade` to `websocket`, but no `Connection` that names `upgrade` (RFC 6455 section 4.2.1).
    #[error("the request must have the header Connection: Upgrade")]
    ConnectionMissing,
    /// A CONNECT without the pseudo-header `:protocol` (RFC 8441 section 4).
    #[error("a CONNECT request must have the pseudo-header :protocol")]
    ProtocolMissing,
    /// A `:protocol` other than `websocket` (RFC 8441 section 5).
    #[error("the only :protocol here is websocket")]
    ProtocolUnknown,
    /// No host (RFC 6455 section 4.2.1).
    #[error("the request must have the header Host")]
    HostMissing,
    /// Several hosts (RFC 9112 section 3.2).
    #[error("the request must have the header Host only once")]
    HostRepeated,
    /// A host that is none, or that differs from the request's target (RFC 9112 section 3.2, RFC 9113 section 8.3.1).
    #[error("the header Host of the request is not valid")]
    HostInvalid,
    /// A body: bytes behind the request could pass for frames, or frames for a request.
    #[error("a request that opens a WebSocket has no body")]
    BodyPresent,
    /// No `Sec-WebSocket-Version` (RFC 6455 section 4.2.1).
    #[error("the request must have the header Sec-WebSocket-Version: 13")]
    VersionMissing,
    /// A `Sec-WebSocket-Version` other than 13, or several (RFC 6455 section 4.4).
    #[error("the only version of WebSocket here is 13")]
    VersionUnsupported,
    /// No `Sec-WebSocket-Key` (RFC 6455 section 4.2.1).
    #[error("the request must have the header Sec-WebSocket-Key")]
    KeyMissing,
    /// Several keys (RFC 6455 section 11.3.1).
    #[error("the request must have the header Sec-WebSocket-Key only once")]
    KeyRepeated,
    /// A key that is not 16 bytes in base64 (RFC 6455 section 4.2.1).
    #[error("the header Sec-WebSocket-Key must be 16 bytes in base64")]
    KeyInvalid,
    /// A subprotocol that is no token, or an empty one (RFC 6455 section 4.1).
    #[error("the header Sec-WebSocket-Protocol must be a list of tokens")]
    SubprotocolInvalid,
    /// A subprotocol twice (RFC 6455 section 4.1).
    #[error("the header Sec-WebSocket-Protocol has an element twice")]
    SubprotocolRepeated,
    /// More than [`MAX_SUBPROTOCOLS`] subprotocols.
    #[error("the header Sec-WebSocket-Protocol has more than {MAX_SUBPROTOCOLS} elements")]
    SubprotocolsTooMany,
    /// No subprotocol that the server speaks, and one is required.
    #[error("none of the offered subprotocols is spoken here, and one is required")]
    SubprotocolRequired,
    /// Extensions against the grammar (RFC 6455 section 9.1).
    #[error("the header Sec-WebSocket-Extensions does not follow the grammar")]
    ExtensionsMalformed,
    /// More than [`MAX_EXTENSIONS`](extension::MAX_EXTENSIONS) extensions, or
    /// [`MAX_PARAMETERS`](extension::MAX_PARAMETERS) parameters of one.
    #[error("the header Sec-WebSocket-Extensions is too long")]
    ExtensionsTooMany,
}

impl Rejection {
    /// The status of the answer: 405 to a wrong method, 426 to what may come back with the right upgrade or version,
    /// 501 to an unknown protocol, 400 to the rest.
    ///
    /// HTTP/2 knows no 426, which would need an `Upgrade`: there [`Rejection::response`] makes it 400.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::MethodNotGet | Self::MethodNotConnect => StatusCode::METHOD_NOT_ALLOWED,
            Self::UpgradeMissing | Self::VersionMissing | Self::VersionUnsupported => {
                StatusCode::UPGRADE_REQUIRED
            }
            Self::ProtocolUnknown => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The reason for machines: a stable token, also in the field [`ERROR_FIELD`] of the answer.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::MethodNotGet => "method-not-get",
            Self::MethodNotConnect => "method-not-connect",
            Self::HttpVersion => "http-version",
            Self::UpgradeMissing => "missing-upgrade",
            Self::ConnectionMissing => "missing-connection",
            Self::ProtocolMissing => "missing-protocol",
            Self::ProtocolUnknown => "unknown-protocol",
            Self::HostMissing => "missing-host",
            Self::HostRepeated => "repeated-host",
            Self::HostInvalid => "invalid-host",
            Self::BodyPresent => "body",
            Self::VersionMissing => "missing-version",
            Self::VersionUnsupported => "unsupported-version",
            Self::KeyMissing => "missing-key",
            Self::KeyRepeated => "repeated-key",
            Self::KeyInvalid => "invalid-key",
            Self::SubprotocolInvalid => "invalid-subprotocol",
            Self::SubprotocolRepeated => "repeated-subprotocol",
            Self::SubprotocolsTooMany => "too-many-subprotocols",
            Self::SubprotocolRequired => "subprotocol-required",
            Self::ExtensionsMalformed => "malformed-extensions",
            Self::ExtensionsTooMany => "too-many-extensions",
        }
    }

    /// The answer to a request of this version of HTTP: the reason for people in the body, for machines in
    /// [`ERROR_FIELD`], and `Sec-WebSocket-Version: 13`.
    ///
    /// Over HTTP/1.1 it ends the connection, so that nothing that follows the request is taken for another one.
    #[must_use]
    pub fn response(self, version: Version) -> Response<String> {
        let mut response = Response::new(format!("{self}\n"));
        *response.status_mut() = self.status();
        let fields = response.headers_mut();
        if version < Version::HTTP_2 {
            if self.status() == StatusCode::UPGRADE_REQUIRED {
                fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            }
            fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
        } else if self.status() == StatusCode::UPGRADE_REQUIRED {
            *response.status_mut() = StatusCode::BAD_REQUEST;
        }
        let fields = response.headers_mut();
        let allow = match self {
            Self::MethodNotGet => Some("GET"),
            Self::MethodNotConnect => Some("CONNECT"),
            _ => None,
        };
        if let Some(allow) = allow {
            fields.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        fields.insert(
            header::SEC_WEBSOCKET_VERSION,
            HeaderValue::from_static("13"),
        );
        fields.insert(ERROR_FIELD, HeaderValue::from_static(self.reason()));
        fields.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        fields.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        response
    }
}

/// RFC 6455 section 4.2.1, but for the fields that HTTP/2 has as well.
fn judge_upgrade<B>(request: &Request<B>) -> Result<(), Rejection> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(Rejection::MethodNotGet);
    }
    if request.version() < Version::HTTP_11 {
        return Err(Rejection::HttpVersion);
    }
    if !names_token(headers, &header::UPGRADE, "websocket") {
        return Err(Rejection::UpgradeMissing);
    }
    if !names_token(headers, &header::CONNECTION, "upgrade") {
        return Err(Rejection::ConnectionMissing);
    }
    let host = single(headers, &header::HOST).map_err(|why| match why {
        NotSingle::Absent => Rejection::HostMissing,
        NotSingle::Repeated => Rejection::HostRepeated,
    })?;
    check_host(host, request)
}

/// RFC 8441 sections 4 and 5.
fn judge_extended_connect<B>(
    request: &Request<B>,
    protocol: Option<&str>,
) -> Result<(), Rejection> {
    if request.method() != Method::CONNECT {
        return Err(Rejection::MethodNotConnect);
    }
    let protocol = protocol.ok_or(Rejection::ProtocolMissing)?;
    if !protocol.eq_ignore_ascii_case("websocket") {
        return Err(Rejection::ProtocolUnknown);
    }
    match (
        single(request.headers(), &header::HOST),
        request.uri().authority(),
    ) {
        (Ok(host), _) => check_host(host, request),
        (Err(NotSingle::Repeated), _) => Err(Rejection::HostRepeated),
        (Err(NotSingle::Absent), None) => Err(Rejection::HostMissing),
        (Err(NotSingle::Absent), Some(authority)) => match uri::split_authority(authority.as_str())
        {
            Ok(_) => Ok(()),
            Err(_) => Err(Rejection::HostInvalid),
        },
    }
}

/// A target in absolute form names the host as well: two hosts in one request are how a check of one is passed with the
/// other.
fn check_host<B>(host: &HeaderValue, request: &Request<B>) -> Result<(), Rejection> {
    let host = host.to_str().map_err(|_| Rejection::HostInvalid)?;
    uri::split_authority(host).map_err(|_| Rejection::HostInvalid)?;
    match request.uri().authority() {
        Some(authority) if !authority.as_str().eq_ignore_ascii_case(host) => {
            Err(Rejection::HostInvalid)
        }
        _ => Ok(()),
    }
}

fn check_body(headers: &HeaderMap) -> Result<(), Rejection> {
    let no_length = headers
        .get_all(header::CONTENT_LENGTH)
        .iter()
        .all(|length| length == "0");
    if headers.contains_key(header::TRANSFER_ENCODING) || !no_length {
        return Err(Rejection::BodyPresent);
    }
    Ok(())
}

fn check_version(headers: &HeaderMap) -> Result<(), Rejection> {
    match single(headers, &header::SEC_WEBSOCKET_VERSION) {
        Ok(version) if version == "13" => Ok(()),
        Err(NotSingle::Absent) => Err(Rejection::VersionMissing),
        Ok(_) | Err(NotSingle::Repeated) => Err(Rejection::VersionUnsupported),
    }
}

/// The subprotocols that a client offers, in its order.
fn subprotocols(headers: &HeaderMap) -> Result<Vec<&str>, Rejection> {
    let mut offered = Vec::new();
    for element in elements(headers, &header::SEC_WEBSOCKET_PROTOCOL) {
        let element = std::str::from_utf8(element)
            .ok()
            .filter(|text| is_token(text));
        let element = element.ok_or(Rejection::SubprotocolInvalid)?;
        if offered.contains(&element) {
            return Err(Rejection::SubprotocolRepeated);
        }
        if offered.len() == MAX_SUBPROTOCOLS {
            return Err(Rejection::SubprotocolsTooMany);
        }
        offered.push(element);
    }
    Ok(offered)
}

/// For text that is made of tokens and base64.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("tokens and base64 are legal in a field")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::DeflateParams;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    /// The request of RFC 6455 section 1.2, without what is optional.
    const GOOD: [(&str, &str); 5] = [
        ("host", "server.example.com"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-key", KEY),
        ("sec-websocket-version", "13"),
    ];

    fn request(fields: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::new(());
        *request.uri_mut() = "/chat".parse().unwrap();
        for (name, value) in fields {
            let name = HeaderName::try_from(*name).unwrap();
            request
                .headers_mut()
                .append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        request
    }

    /// The good request with some fields taken out, then others put in.
    fn changed(without: &str, with: &[(&str, &str)]) -> Request<()> {
        let kept = GOOD.iter().filter(|(name, _)| *name != without);
        request(&kept.chain(with).copied().collect::<Vec<_>>())
    }

    fn connect(fields: &[(&str, &str)]) -> Request<()> {
        let mut request = request(fields);
        *request.method_mut() = Method::CONNECT;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = "https://server.example.com/chat".parse().unwrap();
        request
    }

    fn judge<B>(request: &Request<B>, protocol: Option<&str>) -> Result<Negotiated, Rejection> {
        ServerHandshake::default()
            .judge(request, protocol)
            .map(|accepted| accepted.negotiated)
    }

    #[track_caller]
    fn refused(request: &Request<()>, protocol: Option<&str>, reason: &str, status: u16) {
        let rejection = judge(request, protocol).expect_err(reason);
        assert_eq!(rejection.reason(), reason);
        assert_eq!(
            rejection.response(request.version()).status(),
            status,
            "{reason}"
        );
    }

    /// RFC 6455 section 4.2.2, item 5: the fields of the answer, in our documented order.
    #[test]
    fn a_good_request_is_answered_with_101() {
        let mut handshake = ServerHandshake::default();
        handshake.subprotocols = vec!["superchat".into()];
        handshake.deflate = Some(Arc::default());
        let request = changed(
            "",
            &[
                ("sec-websocket-protocol", "chat, superchat"),
                ("sec-websocket-extensions", "permessage-deflate"),
            ],
        );
        let accepted = handshake.judge(&request, None).unwrap();
        assert_eq!(accepted.response.status(), 101);
        let fields: Vec<_> = accepted
            .response
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(
            fields,
            [
                ("upgrade", "websocket"),
                ("connection", "Upgrade"),
                ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                ("sec-websocket-protocol", "superchat"),
                (
                    "sec-websocket-extensions",
                    "permessage-deflate; client_no_context_takeover"
                ),
            ]
        );
        assert_eq!(
            accepted.negotiated,
            Negotiated {
                subprotocol: Some("superchat".into()),
                deflate: Some(DeflateParams {
                    server_no_context_takeover: false,
                    client_no_context_takeover: true,
                    server_max_window_bits: 15,
                    client_max_window_bits: 15,
                }),
            }
        );
    }

    #[test]
    fn what_is_legal_passes() {
        for (without, with) in [
            ("", &[][..]),
            ("upgrade", &[("upgrade", "WebSocket")]),
            ("upgrade", &[("upgrade", "h2c, websocket")]),
            ("upgrade", &[("upgrade", "h2c"), ("upgrade", "websocket")]),
            ("connection", &[("connection", "keep-alive, Upgrade")]),
            ("connection", &[("connection", "UPGRADE")]),
            (
                "connection",
                &[("connection", "keep-alive"), ("connection", "upgrade")],
            ),
            ("host", &[("host", "[::1]:8199")]),
            ("host", &[("host", "127.0.0.1")]),
            ("", &[("content-length", "0")]),
            ("", &[("sec-websocket-protocol", "chat, superchat")]),
            (
                "",
                &[
                    ("sec-websocket-protocol", "chat"),
                    ("sec-websocket-protocol", "superchat"),
                ],
            ),
            (
                "",
                &[(
                    "sec-websocket-extensions",
                    "permessage-deflate; client_max_window_bits",
                )],
            ),
            // R04: an offer that cannot be taken is declined, not refused.
            (
                "",
                &[(
                    "sec-websocket-extensions",
                    "permessage-deflate; server_max_window_bits=16",
                )],
            ),
            (
                "",
                &[(
                    "sec-websocket-extensions",
                    "permessage-deflate; bogus=1, x-other",
                )],
            ),
            ("", &[("origin", "https://elsewhere.example")]),
        ] {
            assert_eq!(
                judge(&changed(without, with), None),
                Ok(Negotiated::default()),
                "{with:?}"
            );
        }
        let mut absolute = changed("", &[]);
        *absolute.uri_mut() = "http://SERVER.example.com/chat".parse().unwrap();
        assert!(judge(&absolute, None).is_ok());
        // `:protocol` counts in HTTP/2 alone.
        assert!(judge(&changed("", &[]), Some("other")).is_ok());
    }

    /// RFC 6455 section 4.2.1, RFC 9112 section 3.2, and the register of what other servers let pass (R03, R08 to R12,
    /// R15, R16). None of these is ever answered with 101.
    #[test]
    fn malformed_handshakes_are_refused() {
        let many = |count| {
            (0..count)
                .map(|index| format!("p{index}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        let (sixteen, seventeen) = (many(16), many(17));
        assert!(judge(&changed("", &[("sec-websocket-protocol", &sixteen)]), None).is_ok());
        let extensions = |count| ["foo"].repeat(count).join(",");
        assert!(
            judge(
                &changed("", &[("sec-websocket-extensions", &extensions(8))]),
                None
            )
            .is_ok()
        );
        for (without, with, reason, status) in [
            // "An |Upgrade| header field containing the value "websocket""
            ("upgrade", &[][..], "missing-upgrade", 426),
            ("upgrade", &[("upgrade", "")], "missing-upgrade", 426),
            ("upgrade", &[("upgrade", "h2c")], "missing-upgrade", 426),
            (
                "upgrade",
                &[("upgrade", "websockets")],
                "missing-upgrade",
                426,
            ),
            (
                "upgrade",
                &[("upgrade", "websocket/13")],
                "missing-upgrade",
                426,
            ),
            // "A |Connection| header field that includes the token "Upgrade""
            ("connection", &[], "missing-connection", 400),
            (
                "connection",
                &[("connection", "keep-alive")],
                "missing-connection",
                400,
            ),
            (
                "connection",
                &[("connection", "xupgradey")],
                "missing-connection",
                400,
            ),
            // "A |Host| header field containing the server's authority"
            ("host", &[], "missing-host", 400),
            ("", &[("host", "server.example.com")], "repeated-host", 400),
            ("", &[("host", "other.example.com")], "repeated-host", 400),
            ("host", &[("host", "")], "invalid-host", 400),
            ("host", &[("host", "a b")], "invalid-host", 400),
            ("host", &[("host", "user@a")], "invalid-host", 400),
            ("host", &[("host", "a/b")], "invalid-host", 400),
            ("host", &[("host", "a, b")], "invalid-host", 400),
            ("host", &[("host", "a:99999")], "invalid-host", 400),
            ("host", &[("host", "é")], "invalid-host", 400),
            // "A |Sec-WebSocket-Version| header field, with a value of 13."
            ("sec-websocket-version", &[], "missing-version", 426),
            (
                "sec-websocket-version",
                &[("sec-websocket-version", "")],
                "unsupported-version",
                426,
            ),
            (
                "sec-websocket-version",
                &[("sec-websocket-version", "0")],
                "unsupported-version",
                426,
            ),
            (
                "sec-websocket-version",
                &[("sec-websocket-version", "8")],
                "unsupported-version",
                426,
            ),
            (
                "sec-websocket-version",
                &[("sec-websocket-version", "12")],
                "unsupported-version",
                426,
            ),
            (
                "sec-websocket-version",
                &[("sec-websocket-version", "14")],
                "unsupported-version",
                426,
            ),
            (
                "sec-websocket-version",
                &[("sec-websocket-version", "013")],
                "unsupported-version",
                426,
            ),
            (
                "sec-websocket-version",
                &[("sec-websocket-version", "13, 8")],
                "unsupported-version",
                426,
            ),
            (
                "",
                &[("sec-websocket-version", "13")],
                "unsupported-version",
                426,
            ),
            (
                "",
                &[("sec-websocket-version", "8")],
                "unsupported-version",
                426,
            ),
            // "A |Sec-WebSocket-Key| header field with a base64-encoded value that, when decoded, is 16 bytes in length."
            ("sec-websocket-key", &[], "missing-key", 400),
            ("", &[("sec-websocket-key", KEY)], "repeated-key", 400),
            (
                "sec-websocket-key",
                &[("sec-websocket-key", "")],
                "invalid-key",
                400,
            ),
            (
                "sec-websocket-key",
                &[("sec-websocket-key", "abc")],
                "invalid-key",
                400,
            ),
            (
                "sec-websocket-key",
                &[("sec-websocket-key", "AQID")],
                "invalid-key",
                400,
            ),
            (
                "sec-websocket-key",
                &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZTE=")],
                "invalid-key",
                400,
            ),
            (
                "sec-websocket-key",
                &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZR==")],
                "invalid-key",
                400,
            ),
            // R10: a body.
            ("", &[("content-length", "5")], "body", 400),
            ("", &[("content-length", "00")], "body", 400),
            ("", &[("content-length", "+0")], "body", 400),
            (
                "",
                &[("content-length", "0"), ("content-length", "5")],
                "body",
                400,
            ),
            ("", &[("transfer-encoding", "chunked")], "body", 400),
            (
                "",
                &[("transfer-encoding", "identity"), ("content-length", "0")],
                "body",
                400,
            ),
            // Section 4.1, item 10: "non-empty strings ..., and MUST all be unique strings".
            (
                "",
                &[("sec-websocket-protocol", "")],
                "invalid-subprotocol",
                400,
            ),
            (
                "",
                &[("sec-websocket-protocol", "chat,,superchat")],
                "invalid-subprotocol",
                400,
            ),
            (
                "",
                &[("sec-websocket-protocol", "chat,")],
                "invalid-subprotocol",
                400,
            ),
            (
                "",
                &[("sec-websocket-protocol", "two words")],
                "invalid-subprotocol",
                400,
            ),
            (
                "",
                &[("sec-websocket-protocol", "a/b")],
                "invalid-subprotocol",
                400,
            ),
            (
                "",
                &[("sec-websocket-protocol", "\"chat\"")],
                "invalid-subprotocol",
                400,
            ),
            (
                "",
                &[("sec-websocket-protocol", "é")],
                "invalid-subprotocol",
                400,
            ),
            (
                "",
                &[("sec-websocket-protocol", "chat, chat")],
                "repeated-subprotocol",
                400,
            ),
            (
                "",
                &[
                    ("sec-websocket-protocol", "chat"),
                    ("sec-websocket-protocol", "chat"),
                ],
                "repeated-subprotocol",
                400,
            ),
            (
                "",
                &[("sec-websocket-protocol", &seventeen)],
                "too-many-subprotocols",
                400,
            ),
            // Section 9.1.
            (
                "",
                &[("sec-websocket-extensions", "")],
                "malformed-extensions",
                400,
            ),
            (
                "",
                &[("sec-websocket-extensions", "a b")],
                "malformed-extensions",
                400,
            ),
            (
                "",
                &[("sec-websocket-extensions", "a;b=\"c")],
                "malformed-extensions",
                400,
            ),
            (
                "",
                &[("sec-websocket-extensions", &extensions(9))],
                "too-many-extensions",
                400,
            ),
        ] {
            refused(&changed(without, with), None, reason, status);
        }
        // A plain request says what this address is for.
        refused(&request(&[("host", "h")]), None, "missing-upgrade", 426);
    }

    /// RFC 6455 section 4.2.1: "An HTTP/1.1 or higher GET request".
    #[test]
    fn the_method_is_get_and_http_is_at_least_1_1() {
        for method in [
            "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "get",
        ] {
            let mut request = changed("", &[]);
            *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
            refused(&request, None, "method-not-get", 405);
        }
        for version in [Version::HTTP_09, Version::HTTP_10] {
            let mut request = changed("", &[]);
            *request.version_mut() = version;
            refused(&request, None, "http-version", 400);
        }
    }

    /// R11: the target and `Host` name the same server.
    #[test]
    fn an_absolute_target_agrees_with_the_host() {
        for target in [
            "http://other.example.com/chat",
            "http://server.example.com:81/chat",
        ] {
            let mut request = changed("", &[]);
            *request.uri_mut() = target.parse().unwrap();
            refused(&request, None, "invalid-host", 400);
        }
    }

    /// RFC 8441 sections 4 and 5.
    #[test]
    fn an_extended_connect_is_answered_with_200() {
        let mut handshake = ServerHandshake::default();
        handshake.subprotocols = vec!["chat".into()];
        handshake.deflate = Some(Arc::default());
        let request = connect(&[
            ("sec-websocket-protocol", "chat, superchat"),
            (
                "sec-websocket-extensions",
                "permessage-deflate; client_max_window_bits",
            ),
            ("sec-websocket-version", "13"),
            ("origin", "http://www.example.com"),
        ]);
        let accepted = handshake.judge(&request, Some("websocket")).unwrap();
        assert_eq!(accepted.response.status(), 200);
        let fields: Vec<_> = accepted
            .response
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(
            fields,
            [
                ("sec-websocket-protocol", "chat"),
                (
                    "sec-websocket-extensions",
                    "permessage-deflate; client_max_window_bits=10"
                ),
            ]
        );
        assert_eq!(accepted.negotiated.subprotocol.as_deref(), Some("chat"));

        for fields in [
            &[("sec-websocket-version", "13")][..],
            &[
                ("sec-websocket-version", "13"),
                ("host", "server.example.com"),
            ],
            // The key is not used there, whatever it is.
            &[
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "abc"),
            ],
        ] {
            assert!(
                judge(&connect(fields), Some("WebSocket")).is_ok(),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn malformed_extended_connects_are_refused() {
        let good = ("sec-websocket-version", "13");
        for (fields, protocol, reason, status) in [
            (&[good][..], None, "missing-protocol", 400),
            (&[good], Some(""), "unknown-protocol", 501),
            (&[good], Some("connect-udp"), "unknown-protocol", 501),
            (&[], Some("websocket"), "missing-version", 400),
            (
                &[("sec-websocket-version", "8")],
                Some("websocket"),
                "unsupported-version",
                400,
            ),
            (
                &[good, ("host", "other")],
                Some("websocket"),
                "invalid-host",
                400,
            ),
            (
                &[good, ("host", "a"), ("host", "a")],
                Some("websocket"),
                "repeated-host",
                400,
            ),
            (
                &[good, ("content-length", "1")],
                Some("websocket"),
                "body",
                400,
            ),
            (
                &[good, ("sec-websocket-protocol", "a b")],
                Some("websocket"),
                "invalid-subprotocol",
                400,
            ),
            (
                &[good, ("sec-websocket-extensions", ";")],
                Some("websocket"),
                "malformed-extensions",
                400,
            ),
        ] {
            refused(&connect(fields), protocol, reason, status);
        }
        let mut get = connect(&[good]);
        *get.method_mut() = Method::GET;
        refused(&get, None, "method-not-connect", 405);
        for (target, reason) in [
            ("/chat", "missing-host"),
            ("https://user@h/chat", "invalid-host"),
        ] {
            let mut connect = connect(&[good]);
            *connect.uri_mut() = target.parse().unwrap();
            refused(&connect, Some("websocket"), reason, 400);
        }
    }

    /// RFC 6455 section 4.2.2, item 4: a value "the server agrees to use" out of those that the client sent.
    #[test]
    fn subprotocols_are_chosen_by_the_servers_preference() {
        for (ours, required, offered, expected) in [
            (&[][..], false, None, Ok(None)),
            (&[], false, Some("a, b"), Ok(None)),
            (&["a"], false, None, Ok(None)),
            (&["a"], false, Some("b"), Ok(None)),
            (&["a"], false, Some("A"), Ok(None)),
            (&["a", "b"], false, Some("b, a"), Ok(Some("a"))),
            (&["a", "b"], false, Some("c, b"), Ok(Some("b"))),
            (&["a"], true, Some("a"), Ok(Some("a"))),
            (&["a"], true, Some("b"), Err(Rejection::SubprotocolRequired)),
            (&["a"], true, None, Err(Rejection::SubprotocolRequired)),
            // R18: what the server is configured with cannot leave unless a client sent it.
            (&["a\r\nb: c"], false, Some("a"), Ok(None)),
        ] {
            let mut handshake = ServerHandshake::default();
            handshake.subprotocols = ours.iter().map(ToString::to_string).collect();
            handshake.require_subprotocol = required;
            let request = match offered {
                Some(offered) => changed("", &[("sec-websocket-protocol", offered)]),
                None => changed("", &[]),
            };
            let answer = handshake.judge(&request, None).map(|accepted| {
                let field = accepted
                    .response
                    .headers()
                    .get("sec-websocket-protocol")
                    .cloned();
                let chosen = accepted.negotiated.subprotocol;
                assert_eq!(
                    field.as_ref().map(HeaderValue::as_bytes),
                    chosen.as_deref().map(str::as_bytes)
                );
                chosen
            });
            assert_eq!(
                answer.as_ref().map(Option::as_deref),
                expected.as_ref().copied(),
                "{ours:?} {offered:?}"
            );
        }
    }

    #[test]
    fn a_hook_may_choose_among_what_is_offered() {
        type Choice = fn(&[&str]) -> Option<String>;
        for (choice, expected) in [
            (
                (|offered| offered.last().map(ToString::to_string)) as Choice,
                Some("b"),
            ),
            (|_| None, None),
            (|_| Some("other".into()), None),
        ] {
            let mut handshake = ServerHandshake::default();
            handshake.subprotocols = vec!["a".into()];
            handshake.choose_subprotocol = Some(Arc::new(choice));
            assert!(format!("{handshake:?}").contains("choose_subprotocol: true"));
            let accepted = handshake
                .judge(&changed("", &[("sec-websocket-protocol", "a, b")]), None)
                .unwrap();
            assert_eq!(accepted.negotiated.subprotocol.as_deref(), expected);
        }
    }

    /// RFC 6455 section 4.4: "MUST include a |Sec-WebSocket-Version| header field"; RFC 9110 section 15.5.22: 426 "MUST
    /// send an Upgrade header field", and section 10.2.1: 405 an `Allow`.
    #[test]
    fn refusals_say_what_to_do() {
        let all = [
            (Rejection::MethodNotGet, 405, Some("GET")),
            (Rejection::MethodNotConnect, 405, Some("CONNECT")),
            (Rejection::HttpVersion, 400, None),
            (Rejection::UpgradeMissing, 426, None),
            (Rejection::ConnectionMissing, 400, None),
            (Rejection::ProtocolMissing, 400, None),
            (Rejection::ProtocolUnknown, 501, None),
            (Rejection::HostMissing, 400, None),
            (Rejection::HostRepeated, 400, None),
            (Rejection::HostInvalid, 400, None),
            (Rejection::BodyPresent, 400, None),
            (Rejection::VersionMissing, 426, None),
            (Rejection::VersionUnsupported, 426, None),
            (Rejection::KeyMissing, 400, None),
            (Rejection::KeyRepeated, 400, None),
            (Rejection::KeyInvalid, 400, None),
            (Rejection::SubprotocolInvalid, 400, None),
            (Rejection::SubprotocolRepeated, 400, None),
            (Rejection::SubprotocolsTooMany, 400, None),
            (Rejection::SubprotocolRequired, 400, None),
            (Rejection::ExtensionsMalformed, 400, None),
            (Rejection::ExtensionsTooMany, 400, None),
        ];
        let reasons: std::collections::HashSet<_> = all
            .iter()
            .map(|(rejection, ..)| rejection.reason())
            .collect();
        assert_eq!(reasons.len(), all.len());
        for (rejection, status, allow) in all {
            assert_eq!(rejection.status(), status);
            for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
                let response = rejection.response(version);
                let field = |name: &str| {
                    response
                        .headers()
                        .get(name)
                        .map(|value| value.to_str().unwrap())
                };
                let http1 = version < Version::HTTP_2;
                let upgrade = http1 && status == 426;
                assert_eq!(
                    response.status(),
                    if status == 426 && !http1 { 400 } else { status }
                );
                assert_eq!(field("sec-websocket-version"), Some("13"));
                assert_eq!(field("websocket-error"), Some(rejection.reason()));
                assert_eq!(field("content-type"), Some("text/plain; charset=utf-8"));
                assert_eq!(field("x-content-type-options"), Some("nosniff"));
                assert_eq!(field("connection"), http1.then_some("close"));
                assert_eq!(field("upgrade"), upgrade.then_some("websocket"));
                assert_eq!(field("allow"), allow);
                assert_eq!(*response.body(), format!("{rejection}\n"));
                assert_eq!(response.body().lines().count(), 1);
            }
        }
    }

    proptest! {
        #[test]
        fn no_field_panics(
            names in proptest::collection::vec(0usize..9, 0..6),
            values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 6),
            http2 in any::<bool>(),
            protocol in proptest::option::of("websocket|.*"),
        ) {
            let mut request = if http2 { connect(&[]) } else { changed("", &[]) };
            let fields = ["host", "upgrade", "connection", "sec-websocket-key", "sec-websocket-version",
                "sec-websocket-protocol", "sec-websocket-extensions", "content-length", "transfer-encoding"];
            for (name, value) in names.iter().zip(&values) {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    request.headers_mut().insert(fields[*name], value);
                }
            }
            let mut handshake = ServerHandshake::default();
            handshake.deflate = Some(Arc::default());
            if let Err(rejection) = handshake.judge(&request, protocol.as_deref()) {
                let status = rejection.response(request.version()).status();
                prop_assert!(status.is_client_error() || status.is_server_error());
            }
        }
    }
}
