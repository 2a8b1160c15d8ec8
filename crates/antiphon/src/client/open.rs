//! The opening handshake on a connection: the request, the answer, and what an answer that is none means.

use std::time::Duration;

use antiphon_proto::{
    config::Role,
    handshake::{
        Negotiated,
        client::{ClientHandshake, Pending},
        uri::WebSocketUri,
    },
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, response};
use hyper::ext::Protocol;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    client::{
        Client, Failure, USER_AGENT,
        connect::{Stream, chain},
        http2,
    },
    error::{Error, ErrorKind, Result},
    exchange::{self, MAX_HEAD, exchange},
    socket::WebSocket,
    tls,
    transport::Transport,
};

/// How a handshake ended that was answered in order.
pub(crate) enum Outcome {
    Open(Box<WebSocket>),
    /// The server wants to be asked elsewhere; the error is for clients that do not go there.
    Redirect {
        location: String,
        error: Error,
    },
    /// The server speaks HTTP/2 but allows no WebSocket over it.
    NoExtendedConnect,
}

/// Makes the opening handshake on this stream.
///
/// # Cancel safety
///
/// Dropping the future drops the stream.
pub(crate) async fn open(
    client: &Client,
    stream: Stream,
    uri: &WebSocketUri,
    headers: &HeaderMap,
    http2: bool,
) -> Result<Outcome, Failure> {
    let (request, pending) = request(client, uri, headers, http2)?;
    let call = Call {
        client,
        uri,
        pending,
    };
    match (stream, http2) {
        (Stream::Tcp(io), false) => call.http1(io, request).await,
        (Stream::Tls(io), false) => call.http1(*io, request).await,
        (Stream::Other(io), false) => call.http1(io, request).await,
        (Stream::Tcp(io), true) => call.http2(io, request).await,
        (Stream::Tls(io), true) => call.http2(*io, request).await,
        (Stream::Other(io), true) => call.http2(io, request).await,
    }
}

/// What is asked of the server, and what its answer has to be verified with.
pub(crate) fn request(
    client: &Client,
    uri: &WebSocketUri,
    headers: &HeaderMap,
    http2: bool,
) -> Result<(Request<()>, Pending)> {
    let mut handshake = ClientHandshake::default();
    handshake.subprotocols.clone_from(&client.subprotocols);
    handshake.deflate.clone_from(&client.deflate);
    handshake.headers.clone_from(headers);
    if !headers.contains_key(header::USER_AGENT) {
        handshake
            .headers
            .insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    }
    let built = if http2 {
        handshake.request_http2(uri)
    } else {
        handshake.request(uri)
    };
    let (mut request, pending) = built.map_err(|error| {
        Error::new(
            ErrorKind::Config,
            format!("the handshake cannot be sent: {error}"),
        )
        .with_source(error)
    })?;
    if http2 {
        request
            .extensions_mut()
            .insert(Protocol::from_static("websocket"));
    }
    Ok((request, pending))
}

/// A request under way.
struct Call<'a> {
    client: &'a Client,
    uri: &'a WebSocketUri,
    pending: Pending,
}

impl Call<'_> {
    async fn http1<T>(self, io: T, request: Request<()>) -> Result<Outcome, Failure>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static + Into<Transport>,
    {
        match exchange(io, request).await {
            Ok(exchange::Answer::Switched(head, io, read_ahead)) => {
                self.opened(head, io, read_ahead)
            }
            Ok(exchange::Answer::Refused(head, body)) => self.refused(head, body),
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn http2<T>(self, io: T, request: Request<()>) -> Result<Outcome, Failure>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        match http2::exchange(io, request).await {
            Ok(http2::Answer::Switched(head, io)) => self.opened(head, io, Bytes::new()),
            Ok(http2::Answer::Refused(head, body)) => self.refused(head, body),
            Ok(http2::Answer::Unsupported) => Ok(Outcome::NoExtendedConnect),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn opened(
        self,
        head: response::Parts,
        io: impl Into<Transport>,
        read_ahead: Bytes,
    ) -> Result<Outcome, Failure> {
        let negotiated = self.verify(head)?;
        let Client {
            config, deflate, ..
        } = self.client;
        let socket = WebSocket::new(
            io,
            Role::Client,
            config.clone(),
            negotiated,
            deflate.clone(),
            read_ahead,
        );
        Ok(Outcome::Open(Box::new(socket)))
    }

    fn verify(&self, head: response::Parts) -> Result<Negotiated> {
        let status = head.status.as_u16();
        self.pending
            .verify(&Response::from_parts(head, ()))
            .map_err(|error| {
                let context = format!(
                    "the server {} answered the WebSocket handshake wrongly: {error}",
                    self.uri.host()
                );
                Error::new(ErrorKind::Handshake(status), context).with_source(error)
            })
    }

    fn refused(self, head: response::Parts, body: Bytes) -> Result<Outcome, Failure> {
        let status = head.status;
        let location = head
            .headers
            .get(header::LOCATION)
            .and_then(|location| location.to_str().ok());
        let advice = advice(status, location);
        let context = format!(
            "the server {} refused the WebSocket handshake with {status}{advice}",
            self.uri.host()
        );
        let error = Error::new(ErrorKind::Handshake(status.as_u16()), context).with_body(body);
        match location {
            Some(location) if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) => {
                Ok(Outcome::Redirect {
                    location: location.to_owned(),
                    error,
                })
            }
            _ => Err(Failure {
                error,
                permanent: false,
                retry_after: retry_after(status, &head.headers),
            }),
        }
    }

    /// Words for an exchange that ended without an answer.
    fn failed(&self, error: hyper::Error) -> Failure {
        let host = self.uri.host();
        if let Some(tls) = tls::client::explain(&error, host, "server") {
            return tls.into();
        }
        let context = if error.is_parse_too_large() {
            format!(
                "the head of the answer of the server {host} is longer than {} KiB",
                MAX_HEAD / 1024
            )
        } else if error.is_parse() {
            format!(
                "the server {host} does not answer as an HTTP server: {}",
                chain(&error)
            )
        } else {
            format!(
                "the server {host} ended the connection without an answer: {}",
                chain(&error)
            )
        };
        Error::new(ErrorKind::Connect, context)
            .with_source(error)
            .into()
    }
}

fn advice(status: StatusCode, location: Option<&str>) -> String {
    match (status.as_u16(), location) {
        (200..=299, _) => "; there is a page at this path, but no WebSocket".to_owned(),
        (300..=399, Some(location)) => {
            format!("; it is at {location}: connect there, or allow redirects with max_redirects")
        }
        (401, _) => {
            "; it wants credentials: an Authorization header, or a user and a password in the URL"
                .to_owned()
        }
        (403, _) => "; check the Origin and the credentials that it expects".to_owned(),
        (404 | 405, _) => "; check the path".to_owned(),
        (426, _) => "; it wants another protocol or version".to_owned(),
        (429 | 503, _) => "; try again later".to_owned(),
        _ => String::new(),
    }
}

/// `Retry-After` in seconds, where the answer is one that may have it (RFC 9110 section 10.2.3). A date would need a clock
/// that agrees with the server's.
fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if !matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    ) {
        return None;
    }
    let seconds = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

/// Where a redirect leads from here (RFC 3986 section 5.2, as far as a `Location` needs it).
pub(crate) fn redirect(from: &WebSocketUri, location: &str) -> Result<WebSocketUri> {
    let scheme = if from.is_secure() { "wss" } else { "ws" };
    let location = location.split('#').next().unwrap_or_default();
    let authority = from.authority();
    let path = from.path_and_query().split('?').next().unwrap_or("/");
    let absolute = match location.split_once("://") {
        Some((given, rest)) if !given.contains(['/', '?']) => {
            let given = match given.to_ascii_lowercase().as_str() {
                "http" | "ws" => "ws",
                "https" | "wss" => "wss",
                _ => return Err(astray(from, location, "it is not a WebSocket URL")),
            };
            format!("{given}://{rest}")
        }
        _ if location.starts_with("//") => format!("{scheme}:{location}"),
        _ if location.starts_with('/') => format!("{scheme}://{authority}{location}"),
        _ if location.starts_with('?') => format!("{scheme}://{authority}{path}{location}"),
        _ => {
            let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
            format!("{scheme}://{authority}{folder}{location}")
        }
    };
    let next: WebSocketUri = absolute
        .parse()
        .map_err(|error| astray(from, location, "it is no usable URL").with_source(error))?;
    if from.is_secure() && !next.is_secure() {
        return Err(astray(from, location, "it would leave TLS"));
    }
    Ok(next)
}

fn astray(from: &WebSocketUri, location: &str, why: &str) -> Error {
    let location: String = location.chars().take(200).collect();
    Error::new(
        ErrorKind::Url,
        format!(
            "the server {} redirects to {location:?}, which is not followed: {why}",
            from.host()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_resolve_against_where_they_come_from() {
        for (from, location, expected) in [
            ("ws://a/b/c?d", "/e", Some("ws://a/e")),
            ("ws://a/b/c?d", "e", Some("ws://a/b/e")),
            ("ws://a/b/c?d", "e?f=://g", Some("ws://a/b/e?f=://g")),
            ("ws://a/b/c?d", "?e", Some("ws://a/b/c?e")),
            ("ws://a:81/b", "/c", Some("ws://a:81/c")),
            ("ws://[::1]:81/b", "c", Some("ws://[::1]:81/c")),
            ("ws://a", "b", Some("ws://a/b")),
            ("ws://a/", "//b:82/c", Some("ws://b:82/c")),
            ("wss://a/", "//b/c", Some("wss://b/c")),
            ("ws://a/", "/b#c", Some("ws://a/b")),
            ("ws://a/", "ws://b/", Some("ws://b/")),
            ("ws://a/", "http://b", Some("ws://b/")),
            ("ws://a/", "https://b/", Some("wss://b/")),
            ("wss://a/", "HTTPS://b/", Some("wss://b/")),
            ("wss://a/", "http://b/", None),
            ("wss://a/", "ws://a/", None),
            ("ws://a/", "ftp://b/", None),
            ("ws://a/", "https://", None),
            ("ws://a/", "/b c", None),
        ] {
            let next = redirect(&from.parse().unwrap(), location);
            assert_eq!(
                next.as_ref().map(ToString::to_string).ok().as_deref(),
                expected,
                "{from} {location}"
            );
            if let Err(error) = next {
                assert_eq!(error.kind(), &ErrorKind::Url);
            }
        }
    }

    #[test]
    fn retry_after_counts_where_it_belongs() {
        for (status, value, expected) in [
            (503, Some("3"), Some(3)),
            (429, Some(" 0 "), Some(0)),
            (404, Some("3"), None),
            (503, None, None),
            (503, Some("-1"), None),
            (503, Some("Wed, 21 Oct 2026 07:28:00 GMT"), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
            }
            let wait = retry_after(StatusCode::from_u16(status).unwrap(), &headers);
            assert_eq!(
                wait,
                expected.map(Duration::from_secs),
                "{status} {value:?}"
            );
        }
    }
}
