//! The client's side of the opening handshake: a request out, a response in (RFC 6455 section 4.1, RFC 8441 section 5).

use std::sync::Arc;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header, uri::Scheme,
};
use thiserror::Error;

use super::{
    Negotiated,
    extension::{
        self, AnswerError, DeflateParameters, ListError, PERMESSAGE_DEFLATE, ParameterError,
    },
    key,
    uri::{WebSocketUri, split_authority},
};
use crate::{
    config::{DeflateConfig, DeflateParams},
    grammar::{NotSingle, is_token, names_token, single},
};

/// Fields that are ours to write (RFC 6455 section 4.1).
const RESERVED: [HeaderName; 7] = [
    header::UPGRADE,
    header::CONNECTION,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_ACCEPT,
];

/// What a client asks for. One value serves many connections: each request has a key of its own.
///
/// ```
/// use antiphon_proto::handshake::client::ClientHandshake;
///
/// let mut handshake = ClientHandshake::default();
/// handshake.subprotocols = vec!["chat".into()];
/// let (request, pending) = handshake.request(&"ws://example.com/ws".parse()?)?;
/// assert_eq!(request.uri(), "/ws");
/// assert_eq!(request.headers()["host"], "example.com");
/// assert_eq!(request.headers()["sec-websocket-protocol"], "chat");
///
/// let response = http::Response::builder().status(403).body(())?;
/// assert!(pending.verify(&response).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClientHandshake {
    /// Subprotocols that the client speaks, best first. Default: none.
    pub subprotocols: Vec<String>,
    /// How to offer permessage-deflate, as [`extension`] describes. Default `None`: it is not offered.
    pub deflate: Option<Arc<DeflateConfig>>,
    /// More fields of the request, such as `Origin` or `Authorization`. `Host` replaces the one that the URI gives; the
    /// fields of the handshake itself are refused. Default: none.
    pub headers: HeaderMap,
}

impl ClientHandshake {
    /// The request to send over HTTP/1.1, and what its response has to be verified with.
    ///
    /// The order of the fields: `Host`, `Upgrade`, `Connection`, `Sec-WebSocket-Key`, `Sec-WebSocket-Version`,
    /// `Sec-WebSocket-Protocol`, `Sec-WebSocket-Extensions`, `Authorization` from the URI's credentials, then
    /// [`ClientHandshake::headers`]. The target is the URI's path and query.
    ///
    /// # Errors
    ///
    /// [`RequestError`], when a subprotocol or a field cannot be sent.
    pub fn request(&self, uri: &WebSocketUri) -> Result<(Request<()>, Pending), RequestError> {
        let key = key::generate();
        let accept = key::accept(key.as_bytes());
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from(uri.resource().clone());
        let fields = request.headers_mut();
        let host = self
            .headers
            .get(header::HOST)
            .cloned()
            .unwrap_or_else(|| value(uri.authority().to_owned()));
        fields.insert(header::HOST, host);
        fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        fields.insert(header::SEC_WEBSOCKET_KEY, value(key));
        self.finish(request, uri, Some(accept))
    }

    /// The request to send over HTTP/2 or later as an extended CONNECT, and what its response has to be verified with.
    ///
    /// The caller adds the pseudo-header `:protocol` with the value `websocket`, as its HTTP library wants it, and has
    /// checked that the server allows it (RFC 8441 section 3). The target is the whole URI with the scheme `http` or
    /// `https`; a `Host` among the headers replaces its authority.
    ///
    /// # Errors
    ///
    /// [`RequestError`], when a subprotocol or a field cannot be sent.
    pub fn request_http2(
        &self,
        uri: &WebSocketUri,
    ) -> Result<(Request<()>, Pending), RequestError> {
        let authority = match self.headers.get(header::HOST) {
            Some(host) => host.as_bytes(),
            None => uri.authority().as_bytes(),
        };
        let target = Uri::builder()
            .scheme(if uri.is_secure() {
                Scheme::HTTPS
            } else {
                Scheme::HTTP
            })
            .authority(authority)
            .path_and_query(uri.resource().clone())
            .build()
            .map_err(|_| RequestError::HostInvalid)?;
        let mut request = Request::new(());
        *request.method_mut() = Method::CONNECT;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = target;
        self.finish(request, uri, None)
    }

    /// The fields that both forms have.
    fn finish(
        &self,
        mut request: Request<()>,
        uri: &WebSocketUri,
        accept: Option<String>,
    ) -> Result<(Request<()>, Pending), RequestError> {
        self.check()?;
        let fields = request.headers_mut();
        fields.insert(
            header::SEC_WEBSOCKET_VERSION,
            HeaderValue::from_static("13"),
        );
        if !self.subprotocols.is_empty() {
            fields.insert(
                header::SEC_WEBSOCKET_PROTOCOL,
                value(self.subprotocols.join(", ")),
            );
        }
        let offers = self
            .deflate
            .as_deref()
            .map(extension::offers)
            .unwrap_or_default();
        if !offers.is_empty() {
            let list: Vec<_> = offers.iter().map(DeflateParameters::to_string).collect();
            fields.insert(header::SEC_WEBSOCKET_EXTENSIONS, value(list.join(", ")));
        }
        if let Some(credentials) = uri.credentials()
            && !self.headers.contains_key(header::AUTHORIZATION)
        {
            fields.insert(header::AUTHORIZATION, credentials.basic());
        }
        for (name, value) in self
            .headers
            .iter()
            .filter(|(name, _)| *name != header::HOST)
        {
            fields.append(name, value.clone());
        }
        let subprotocols = self
            .subprotocols
            .iter()
            .map(|name| Arc::from(name.as_str()))
            .collect();
        Ok((
            request,
            Pending {
                accept,
                subprotocols,
                offers,
            },
        ))
    }

    fn check(&self) -> Result<(), RequestError> {
        for (index, subprotocol) in self.subprotocols.iter().enumerate() {
            if !is_token(subprotocol) {
                return Err(RequestError::SubprotocolInvalid(subprotocol.clone()));
            }
            if self.subprotocols[..index].contains(subprotocol) {
                return Err(RequestError::SubprotocolRepeated(subprotocol.clone()));
            }
        }
        match single(&self.headers, &header::HOST).map(HeaderValue::to_str) {
            Ok(Ok(host)) if split_authority(host).is_ok() => {}
            Err(NotSingle::Absent) => {}
            _ => return Err(RequestError::HostInvalid),
        }
        match self.headers.keys().find(|name| RESERVED.contains(name)) {
            Some(name) => Err(RequestError::HeaderReserved(name.clone())),
            None => Ok(()),
        }
    }
}

/// Why a request cannot be built from what the application wants.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A subprotocol that is no token.
    #[error("the subprotocol {0:?} is not a token")]
    SubprotocolInvalid(String),
    /// A subprotocol twice.
    #[error("the subprotocol {0:?} is there twice")]
    SubprotocolRepeated(String),
    /// A field of the handshake itself.
    #[error("the header {0} belongs to the handshake and cannot be set")]
    HeaderReserved(HeaderName),
    /// A `Host` of the application's that is several or none.
    #[error("the header Host is not valid")]
    HostInvalid,
}

/// A request that waits for its response.
#[derive(Clone, Debug)]
pub struct Pending {
    /// What `Sec-WebSocket-Accept` has to be. `None`: an extended CONNECT, which has no key.
    accept: Option<String>,
    subprotocols: Vec<Arc<str>>,
    offers: Vec<DeflateParameters>,
}

impl Pending {
    /// Verifies the response. Nothing that follows it may be read as frames before this has passed.
    ///
    /// # Errors
    ///
    /// The first rule that the response breaks; the connection must be given up (RFC 6455 section 4.1). Redirects and
    /// demands for authentication are [`ResponseError::Status`]: following them is the caller's choice.
    pub fn verify<B>(&self, response: &Response<B>) -> Result<Negotiated, ResponseError> {
        match &self.accept {
            Some(accept) => verify_upgrade(response, accept)?,
            None if response.status().is_success() => {}
            None => return Err(ResponseError::Status(response.status())),
        }
        Ok(Negotiated {
            subprotocol: self.verify_subprotocol(response.headers())?,
            deflate: self.verify_extensions(response.headers())?,
        })
    }

    fn verify_subprotocol(&self, headers: &HeaderMap) -> Result<Option<Arc<str>>, ResponseError> {
        match single(headers, &header::SEC_WEBSOCKET_PROTOCOL) {
            Err(NotSingle::Absent) => Ok(None),
            Err(NotSingle::Repeated) => Err(ResponseError::SubprotocolRepeated),
            Ok(chosen) => {
                let asked = self
                    .subprotocols
                    .iter()
                    .find(|asked| chosen.as_bytes() == asked.as_bytes());
                asked
                    .cloned()
                    .map(Some)
                    .ok_or(ResponseError::SubprotocolUnasked)
            }
        }
    }

    fn verify_extensions(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<DeflateParams>, ResponseError> {
        let extensions = extension::parse(headers).map_err(ResponseError::Extensions)?;
        let mut deflate = None;
        for extension in &extensions {
            if extension.name != PERMESSAGE_DEFLATE || self.offers.is_empty() {
                return Err(ResponseError::ExtensionUnasked);
            }
            if deflate.is_some() {
                return Err(ResponseError::ExtensionRepeated);
            }
            let answer =
                DeflateParameters::read(extension).map_err(ResponseError::DeflateParameter)?;
            deflate = Some(
                extension::confirm(&self.offers, &answer).map_err(ResponseError::DeflateAnswer)?,
            );
        }
        Ok(deflate)
    }
}

/// Why a response does not open a WebSocket: one variant for each rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The status is not 101, or not a success to an extended CONNECT.
    #[error("the server answers the handshake with {0}")]
    Status(StatusCode),
    /// HTTP before 1.1, which knows no upgrade.
    #[error("the server answers with a version of HTTP before 1.1")]
    HttpVersion,
    /// No `Upgrade` (RFC 6455 section 4.1, item 2).
    #[error("the response lacks the header Upgrade")]
    UpgradeMissing,
    /// An `Upgrade` to something else, or to several (RFC 6455 section 4.1, item 2).
    #[error("the response upgrades to something else than websocket")]
    UpgradeInvalid,
    /// No `Connection` that names `upgrade` (RFC 6455 section 4.1, item 3).
    #[error("the response lacks the header Connection: Upgrade")]
    ConnectionMissing,
    /// No `Sec-WebSocket-Accept` (RFC 6455 section 4.1, item 4).
    #[error("the response lacks the header Sec-WebSocket-Accept")]
    AcceptMissing,
    /// Several of them (RFC 6455 section 11.3.3).
    #[error("the response has the header Sec-WebSocket-Accept more than once")]
    AcceptRepeated,
    /// It does not fit the key (RFC 6455 section 4.1, item 4).
    #[error("the header Sec-WebSocket-Accept of the response does not fit the key")]
    AcceptMismatch,
    /// An extension that was not asked for (RFC 6455 section 4.1, item 5).
    #[error("the server uses an extension that was not asked for")]
    ExtensionUnasked,
    /// An extension twice (RFC 7692 section 5.1).
    #[error("the server uses an extension twice")]
    ExtensionRepeated,
    /// Extensions against the grammar (RFC 6455 section 9.1).
    #[error("in the response, {0}")]
    Extensions(#[source] ListError),
    /// A parameter of permessage-deflate that is not legal (RFC 7692 section 7.1).
    #[error("in the response, {0}")]
    DeflateParameter(#[source] ParameterError),
    /// An answer that does not fit what was offered (RFC 7692 section 7.1).
    #[error("{0}")]
    DeflateAnswer(#[source] AnswerError),
    /// A subprotocol that was not asked for (RFC 6455 section 4.1, item 6).
    #[error("the server chooses a subprotocol that was not asked for")]
    SubprotocolUnasked,
    /// Several subprotocols (RFC 6455 section 11.3.4).
    #[error("the response has the header Sec-WebSocket-Protocol more than once")]
    SubprotocolRepeated,
}

fn verify_upgrade<B>(response: &Response<B>, accept: &str) -> Result<(), ResponseError> {
    let headers = response.headers();
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(ResponseError::Status(response.status()));
    }
    if response.version() < Version::HTTP_11 {
        return Err(ResponseError::HttpVersion);
    }
    match single(headers, &header::UPGRADE) {
        Ok(upgrade) if upgrade.as_bytes().eq_ignore_ascii_case(b"websocket") => {}
        Err(NotSingle::Absent) => return Err(ResponseError::UpgradeMissing),
        _ => return Err(ResponseError::UpgradeInvalid),
    }
    if !names_token(headers, &header::CONNECTION, "upgrade") {
        return Err(ResponseError::ConnectionMissing);
    }
    match single(headers, &header::SEC_WEBSOCKET_ACCEPT) {
        Ok(answer) if answer.as_bytes() == accept.as_bytes() => Ok(()),
        Ok(_) => Err(ResponseError::AcceptMismatch),
        Err(NotSingle::Absent) => Err(ResponseError::AcceptMissing),
        Err(NotSingle::Repeated) => Err(ResponseError::AcceptRepeated),
    }
}

/// For text that is made of tokens, base64 and hosts.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("tokens, base64 and hosts are legal in a field")
}

#[cfg(test)]
mod tests;
