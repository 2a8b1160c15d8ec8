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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{config::Codec, handshake::server::ServerHandshake};

    fn uri(text: &str) -> WebSocketUri {
        text.parse().unwrap()
    }

    fn handshake(subprotocols: &[&str], deflate: bool) -> ClientHandshake {
        ClientHandshake {
            subprotocols: subprotocols.iter().map(ToString::to_string).collect(),
            deflate: deflate.then(Arc::default),
            headers: HeaderMap::new(),
        }
    }

    fn fields(request: &Request<()>) -> Vec<(&str, &str)> {
        request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect()
    }

    /// RFC 6455 section 4.1, the requirements of the request, in our documented order.
    #[test]
    fn the_request_has_all_that_it_must_have() {
        let mut handshake = handshake(&["chat", "superchat"], true);
        handshake
            .headers
            .insert("origin", HeaderValue::from_static("http://example.com"));
        handshake
            .headers
            .append("x-a", HeaderValue::from_static("1"));
        handshake
            .headers
            .append("x-a", HeaderValue::from_static("2"));
        let (request, _) = handshake
            .request(&uri("ws://user:pw@server.example.com:8080/chat?a=b"))
            .unwrap();
        assert_eq!(request.method(), "GET");
        assert_eq!(request.version(), Version::HTTP_11);
        assert_eq!(request.uri(), "/chat?a=b");
        let key = request.headers()["sec-websocket-key"].to_str().unwrap();
        assert!(key::is_valid(key.as_bytes()));
        assert_eq!(
            fields(&request),
            [
                ("host", "server.example.com:8080"),
                ("upgrade", "websocket"),
                ("connection", "Upgrade"),
                ("sec-websocket-key", key),
                ("sec-websocket-version", "13"),
                ("sec-websocket-protocol", "chat, superchat"),
                (
                    "sec-websocket-extensions",
                    "permessage-deflate; server_max_window_bits=10; client_max_window_bits, \
                     permessage-deflate; server_no_context_takeover; client_max_window_bits"
                ),
                ("authorization", "Basic dXNlcjpwdw=="),
                ("origin", "http://example.com"),
                ("x-a", "1"),
                ("x-a", "2"),
            ]
        );
        let (again, _) = handshake.request(&uri("ws://server.example.com/")).unwrap();
        assert_ne!(again.headers()["sec-websocket-key"], key);
    }

    #[test]
    fn what_is_optional_is_left_out() {
        let (request, _) = handshake(&[], false)
            .request(&uri("wss://[::1]:443"))
            .unwrap();
        assert_eq!(request.uri(), "/");
        assert_eq!(request.headers()["host"], "[::1]");
        assert_eq!(request.headers().len(), 5);
    }

    /// RFC 8441 section 5.
    #[test]
    fn an_extended_connect_has_the_whole_uri_and_no_key() {
        let mut handshake = handshake(&["chat"], false);
        for (text, target) in [
            ("ws://h/a?b", "http://h/a?b"),
            ("wss://h", "https://h/"),
            ("wss://[::1]:9/x", "https://[::1]:9/x"),
        ] {
            let (request, _) = handshake.request_http2(&uri(text)).unwrap();
            assert_eq!(request.method(), "CONNECT");
            assert_eq!(request.version(), Version::HTTP_2);
            assert_eq!(request.uri(), target);
            assert_eq!(
                fields(&request),
                [
                    ("sec-websocket-version", "13"),
                    ("sec-websocket-protocol", "chat")
                ]
            );
        }
        handshake
            .headers
            .insert("host", HeaderValue::from_static("front.example:1"));
        let (request, _) = handshake.request_http2(&uri("wss://h/x")).unwrap();
        assert_eq!(request.uri(), "https://front.example:1/x");
        assert!(!request.headers().contains_key("host"));
    }

    #[test]
    fn the_application_sets_host_and_authorization_but_not_the_handshake() {
        let mut own = handshake(&[], false);
        own.headers
            .insert("host", HeaderValue::from_static("front.example"));
        own.headers
            .insert("authorization", HeaderValue::from_static("Bearer x"));
        let (request, _) = own.request(&uri("ws://u:p@h/")).unwrap();
        assert_eq!(request.headers()["host"], "front.example");
        assert_eq!(request.headers().get_all("host").iter().count(), 1);
        assert_eq!(request.headers()["authorization"], "Bearer x");
        assert_eq!(request.headers().get_all("authorization").iter().count(), 1);

        for name in RESERVED {
            let mut wrong = handshake(&[], false);
            wrong
                .headers
                .insert(name.clone(), HeaderValue::from_static("x"));
            let error = wrong.request(&uri("ws://h/")).unwrap_err();
            assert_eq!(error, RequestError::HeaderReserved(name.clone()));
            assert!(error.to_string().contains(name.as_str()));
            assert!(wrong.request_http2(&uri("ws://h/")).is_err());
        }
        for hosts in [&[""][..], &["a b"], &["u@a"], &["a", "a"]] {
            let mut wrong = handshake(&[], false);
            for host in hosts {
                wrong.headers.append("host", HeaderValue::from_static(host));
            }
            assert_eq!(
                wrong.request(&uri("ws://h/")).unwrap_err(),
                RequestError::HostInvalid
            );
            assert_eq!(
                wrong.request_http2(&uri("ws://h/")).unwrap_err(),
                RequestError::HostInvalid
            );
        }
    }

    /// RFC 6455 section 4.1, item 10: subprotocols are tokens, not empty, and unique.
    #[test]
    fn subprotocols_are_checked_before_they_are_sent() {
        for wrong in ["", "a b", "a,b", "a\r\nb", "é", "a/b"] {
            let error = handshake(&["ok", wrong], false)
                .request(&uri("ws://h/"))
                .unwrap_err();
            assert_eq!(error, RequestError::SubprotocolInvalid(wrong.into()));
        }
        let error = handshake(&["a", "b", "a"], false)
            .request(&uri("ws://h/"))
            .unwrap_err();
        assert_eq!(error, RequestError::SubprotocolRepeated("a".into()));
    }

    /// A response that is right but for these changes: fields of the same name are replaced, `-` removes.
    fn respond(request: &Request<()>, changes: &[(&str, &str)]) -> Response<()> {
        let accept = key::accept(request.headers()["sec-websocket-key"].as_bytes());
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let fields = response.headers_mut();
        fields.insert("upgrade", HeaderValue::from_static("websocket"));
        fields.insert("connection", HeaderValue::from_static("Upgrade"));
        fields.insert("sec-websocket-accept", value(accept));
        for (name, _) in changes {
            fields.remove(*name);
        }
        for (name, value) in changes.iter().filter(|(_, value)| *value != "-") {
            let name = HeaderName::try_from(*name).unwrap();
            fields.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        response
    }

    /// RFC 6455 section 4.1, what the client MUST check, items 1 to 6, and RFC 7692 section 7.1.
    #[test]
    fn responses_are_verified() {
        use ResponseError as Error;
        let client = handshake(&["chat", "superchat"], true);
        let plain = handshake(&[], false);
        let extensions = "sec-websocket-extensions";
        let protocol = "sec-websocket-protocol";
        let accept = "sec-websocket-accept";
        for (client, changes, expected) in [
            (&client, &[][..], Ok(None)),
            (&plain, &[], Ok(None)),
            // Item 2.
            (&client, &[("upgrade", "WebSocket")], Ok(None)),
            (&client, &[("upgrade", "-")], Err(Error::UpgradeMissing)),
            (&client, &[("upgrade", "")], Err(Error::UpgradeInvalid)),
            (&client, &[("upgrade", "h2c")], Err(Error::UpgradeInvalid)),
            (
                &client,
                &[("upgrade", "websocket, h2c")],
                Err(Error::UpgradeInvalid),
            ),
            (
                &client,
                &[("upgrade", "websocket"), ("upgrade", "websocket")],
                Err(Error::UpgradeInvalid),
            ),
            // Item 3.
            (&client, &[("connection", "keep-alive, Upgrade")], Ok(None)),
            (&client, &[("connection", "upgrade")], Ok(None)),
            (
                &client,
                &[("connection", "keep-alive"), ("connection", "Upgrade")],
                Ok(None),
            ),
            (
                &client,
                &[("connection", "-")],
                Err(Error::ConnectionMissing),
            ),
            (
                &client,
                &[("connection", "close")],
                Err(Error::ConnectionMissing),
            ),
            (
                &client,
                &[("connection", "xupgradey")],
                Err(Error::ConnectionMissing),
            ),
            // Item 4.
            (&client, &[(accept, "-")], Err(Error::AcceptMissing)),
            (&client, &[(accept, "")], Err(Error::AcceptMismatch)),
            (
                &client,
                &[(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")],
                Err(Error::AcceptMismatch),
            ),
            (
                &client,
                &[(accept, "a"), (accept, "a")],
                Err(Error::AcceptRepeated),
            ),
            // Item 5.
            (
                &plain,
                &[(extensions, "permessage-deflate")],
                Err(Error::ExtensionUnasked),
            ),
            (
                &client,
                &[(extensions, "x-webkit-deflate-frame")],
                Err(Error::ExtensionUnasked),
            ),
            (
                &client,
                &[(extensions, "foo, permessage-deflate")],
                Err(Error::ExtensionUnasked),
            ),
            (
                &client,
                &[(
                    extensions,
                    "permessage-deflate; server_max_window_bits=10, permessage-deflate",
                )],
                Err(Error::ExtensionRepeated),
            ),
            (
                &client,
                &[(extensions, "")],
                Err(Error::Extensions(ListError::Malformed)),
            ),
            (
                &client,
                &[(extensions, "permessage-deflate;")],
                Err(Error::Extensions(ListError::Malformed)),
            ),
            (
                &client,
                &[(extensions, "a,a,a,a,a,a,a,a,a")],
                Err(Error::Extensions(ListError::TooLong)),
            ),
            (
                &client,
                &[(extensions, "permessage-deflate; bogus")],
                Err(Error::DeflateParameter(ParameterError::Unknown)),
            ),
            (
                &client,
                &[(
                    extensions,
                    "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
                )],
                Err(Error::DeflateParameter(ParameterError::Repeated)),
            ),
            (
                &client,
                &[(extensions, "permessage-deflate; client_max_window_bits")],
                Err(Error::DeflateAnswer(AnswerError::ServerWindow)),
            ),
            (
                &client,
                &[(
                    extensions,
                    "permessage-deflate; server_max_window_bits=9; client_max_window_bits",
                )],
                Err(Error::DeflateAnswer(AnswerError::ClientWindow)),
            ),
            (
                &client,
                &[(extensions, "permessage-deflate")],
                Err(Error::DeflateAnswer(AnswerError::ServerWindow)),
            ),
            (
                &client,
                &[(extensions, "permessage-deflate; server_max_window_bits=10")],
                Ok(None),
            ),
            // What servers answer that read no parameters: it fits the second offer.
            (
                &client,
                &[(
                    extensions,
                    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                )],
                Ok(None),
            ),
            // Item 6.
            (&client, &[(protocol, "chat")], Ok(Some("chat"))),
            (&client, &[(protocol, "superchat")], Ok(Some("superchat"))),
            (
                &client,
                &[(protocol, "zzz")],
                Err(Error::SubprotocolUnasked),
            ),
            (
                &client,
                &[(protocol, "Chat")],
                Err(Error::SubprotocolUnasked),
            ),
            (&client, &[(protocol, "")], Err(Error::SubprotocolUnasked)),
            (
                &client,
                &[(protocol, "chat, superchat")],
                Err(Error::SubprotocolUnasked),
            ),
            (
                &client,
                &[(protocol, "chat"), (protocol, "chat")],
                Err(Error::SubprotocolRepeated),
            ),
            (
                &plain,
                &[(protocol, "chat")],
                Err(Error::SubprotocolUnasked),
            ),
        ] {
            let (request, pending) = client.request(&uri("ws://h/")).unwrap();
            let verified = pending.verify(&respond(&request, changes));
            let compressed = changes.iter().any(|(name, _)| *name == extensions);
            assert_eq!(
                verified.map(|agreed| (agreed.subprotocol, agreed.deflate.is_some())),
                expected.map(|subprotocol| (subprotocol.map(Arc::from), compressed)),
                "{changes:?}"
            );
        }
    }

    /// R05: no value of the server's window is more than an error.
    #[test]
    fn every_window_of_the_server_is_an_answer_or_an_error() {
        let (request, pending) = handshake(&[], true).request(&uri("ws://h/")).unwrap();
        for bits in 0..=300 {
            let answer = format!("permessage-deflate; server_max_window_bits={bits}");
            let verified =
                pending.verify(&respond(&request, &[("sec-websocket-extensions", &answer)]));
            match bits {
                8..=10 => assert_eq!(
                    verified.unwrap().deflate.unwrap().server_max_window_bits,
                    bits as u8
                ),
                11..=15 => assert_eq!(
                    verified,
                    Err(ResponseError::DeflateAnswer(AnswerError::ServerWindow))
                ),
                _ => assert_eq!(
                    verified,
                    Err(ResponseError::DeflateParameter(ParameterError::Value))
                ),
            }
        }
    }

    /// Item 1, and HTTP/1.0, which knows no 101.
    #[test]
    fn the_status_is_101_and_http_is_at_least_1_1() {
        let (request, pending) = handshake(&[], false).request(&uri("ws://h/")).unwrap();
        for status in [100, 200, 204, 301, 307, 400, 401, 403, 404, 426, 500, 503] {
            let status = StatusCode::from_u16(status).unwrap();
            let mut response = respond(&request, &[]);
            *response.status_mut() = status;
            let error = pending.verify(&response).unwrap_err();
            assert_eq!(error, ResponseError::Status(status));
            assert!(error.to_string().contains(status.as_str()));
        }
        for (version, expected) in [
            (Version::HTTP_09, Err(ResponseError::HttpVersion)),
            (Version::HTTP_10, Err(ResponseError::HttpVersion)),
            (Version::HTTP_11, Ok(Negotiated::default())),
        ] {
            let mut response = respond(&request, &[]);
            *response.version_mut() = version;
            assert_eq!(pending.verify(&response), expected);
        }
    }

    /// RFC 8441 section 5: a success, without `Upgrade`, `Connection` and `Sec-WebSocket-Accept`.
    #[test]
    fn responses_to_an_extended_connect_are_verified() {
        let (_, pending) = handshake(&["chat"], false)
            .request_http2(&uri("wss://h/"))
            .unwrap();
        for (status, field, expected) in [
            (200, None, Ok(None)),
            (
                200,
                Some(("sec-websocket-protocol", "chat")),
                Ok(Some("chat")),
            ),
            (
                200,
                Some(("sec-websocket-protocol", "zzz")),
                Err(ResponseError::SubprotocolUnasked),
            ),
            (
                200,
                Some(("sec-websocket-extensions", "permessage-deflate")),
                Err(ResponseError::ExtensionUnasked),
            ),
            (
                101,
                None,
                Err(ResponseError::Status(StatusCode::SWITCHING_PROTOCOLS)),
            ),
            (404, None, Err(ResponseError::Status(StatusCode::NOT_FOUND))),
        ] {
            let mut response = Response::builder().status(status).version(Version::HTTP_2);
            if let Some((name, value)) = field {
                response = response.header(name, value);
            }
            let verified = pending.verify(&response.body(()).unwrap());
            assert_eq!(
                verified.map(|agreed| agreed.subprotocol),
                expected.map(|subprotocol| subprotocol.map(Arc::from)),
                "{status} {field:?}"
            );
        }
    }

    /// Our two sides agree, over HTTP/1.1 and over HTTP/2.
    #[test]
    fn our_server_accepts_our_client() {
        let mut server = ServerHandshake::default();
        server.subprotocols = vec!["b".into(), "a".into()];
        server.deflate = Some(Arc::default());
        let client = handshake(&["a", "b"], true);
        let uri = uri("wss://[::1]:8199/ws?x=y");
        for ((request, pending), protocol) in [
            (client.request(&uri).unwrap(), None),
            (client.request_http2(&uri).unwrap(), Some("websocket")),
        ] {
            let accepted = server.judge(&request, protocol).unwrap();
            let negotiated = pending.verify(&accepted.response).unwrap();
            assert_eq!(negotiated, accepted.negotiated);
            assert_eq!(negotiated.subprotocol.as_deref(), Some("b"));
            assert_eq!(negotiated.deflate.unwrap().server_max_window_bits, 10);
        }
    }

    proptest! {
        #[test]
        fn no_response_panics(
            name in prop_oneof!["sec-websocket-(extensions|protocol|accept)", "upgrade", "connection"],
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let (request, pending) = handshake(&["chat"], true).request(&uri("ws://h/")).unwrap();
            let mut response = respond(&request, &[]);
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                response.headers_mut().insert(HeaderName::try_from(name).unwrap(), value);
            }
            let _ = pending.verify(&response);
        }

        #[test]
        fn what_our_server_answers_our_client_takes(
            client_window in 0usize..40_000,
            server_window in 0usize..40_000,
            bits in (8u8..=15, 8u8..=15, 8u8..=15, 8u8..=15),
        ) {
            let deflate = |window, server_max_window_bits, client_max_window_bits| {
                Some(Arc::new(DeflateConfig {
                    codec: Codec::Pooled { window },
                    server_max_window_bits,
                    client_max_window_bits,
                    ..DeflateConfig::default()
                }))
            };
            let mut server = ServerHandshake::default();
            server.deflate = deflate(server_window, bits.0, bits.1);
            let mut client = handshake(&[], false);
            client.deflate = deflate(client_window, bits.2, bits.3);
            let (request, pending) = client.request(&uri("ws://h/")).unwrap();
            let accepted = server.judge(&request, None).unwrap();
            prop_assert_eq!(pending.verify(&accepted.response), Ok(accepted.negotiated));
        }
    }
}
