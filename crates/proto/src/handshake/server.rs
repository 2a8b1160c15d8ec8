//! The server's side of the opening handshake: a request in, a response out (RFC 6455 section 4.2, RFC 8441 section 5).

use std::{fmt, sync::Arc};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
};
use thiserror::Error;

use super::{
    Negotiated,
    extension::{self, Extension, ListError},
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
        let key = judge_grammar(request, protocol)?;
        self.accept(request.headers(), key)
    }

    /// Answers a request that [`check`](Self::check) has found good, without judging its grammar once more.
    ///
    /// # Errors
    ///
    /// [`Rejection::SubprotocolRequired`], and for a request that was not checked anything that
    /// [`judge`](Self::judge) says.
    pub fn answer<B>(&self, request: &Request<B>) -> Result<Accepted, Rejection> {
        let headers = request.headers();
        let upgrade = request.version() < Version::HTTP_2;
        let key = upgrade.then(|| handshake_key(headers)).transpose()?;
        self.accept(headers, key)
    }

    /// Judges the grammar of a request alone, for whoever decides later what to agree to.
    ///
    /// # Errors
    ///
    /// As [`judge`](Self::judge), but for what depends on a server's settings.
    pub fn check<B>(request: &Request<B>, protocol: Option<&str>) -> Result<(), Rejection> {
        judge_grammar(request, protocol)?;
        subprotocols(request.headers())?;
        extensions(request.headers()).map(|_| ())
    }

    fn accept(
        &self,
        headers: &HeaderMap,
        key: Option<&HeaderValue>,
    ) -> Result<Accepted, Rejection> {
        let mut response = Response::new(());
        if let Some(key) = key {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let fields = response.headers_mut();
            fields.reserve(5);
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
        let extensions = extensions(headers)?;
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

/// All but the lists of offers. The key of the handshake, where this version of HTTP has one.
fn judge_grammar<'a, B>(
    request: &'a Request<B>,
    protocol: Option<&str>,
) -> Result<Option<&'a HeaderValue>, Rejection> {
    let headers = request.headers();
    let upgrade = request.version() < Version::HTTP_2;
    if upgrade {
        judge_upgrade(request)?;
    } else {
        judge_extended_connect(request, protocol)?;
    }
    check_body(headers)?;
    check_version(headers)?;
    if !upgrade {
        return Ok(None);
    }
    let key = handshake_key(headers)?;
    if !key::is_valid(key.as_bytes()) {
        return Err(Rejection::KeyInvalid);
    }
    Ok(Some(key))
}

fn handshake_key(headers: &HeaderMap) -> Result<&HeaderValue, Rejection> {
    single(headers, &header::SEC_WEBSOCKET_KEY).map_err(|why| match why {
        NotSingle::Absent => Rejection::KeyMissing,
        NotSingle::Repeated => Rejection::KeyRepeated,
    })
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

/// The extensions that a client offers, in its order.
fn extensions(headers: &HeaderMap) -> Result<Vec<Extension<'_>>, Rejection> {
    extension::parse(headers).map_err(|why| match why {
        ListError::Malformed => Rejection::ExtensionsMalformed,
        ListError::TooLong => Rejection::ExtensionsTooMany,
    })
}

/// For text that is made of tokens and base64.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("tokens and base64 are legal in a field")
}

#[cfg(test)]
mod tests;
