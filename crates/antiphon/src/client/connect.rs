//! The way to a server: DNS, TCP, the proxy, TLS.

use std::{
    error::Error as StdError,
    io,
    sync::atomic::{AtomicU8, Ordering},
};

use hyper_util::client::legacy::connect::HttpConnector;
use tokio::net::TcpStream;
use tower::ServiceExt;

use crate::{
    error::{Error, ErrorKind, Result},
    proxy::{Proxy, Route, Target},
    tls::client::{ALPN_HTTP2, LazyTls, TlsStream},
    transport::Io,
};

/// A connection on which the opening handshake can be made.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Through a proxy that is itself reached over TLS.
    Other(Box<dyn Io>),
}

/// What is being done, for the error of a deadline that passes meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Stage(AtomicU8);

impl Stage {
    const WORDS: [&str; 4] = [
        "waiting for the name to be resolved and the connection to open",
        "waiting for the proxy",
        "in the TLS handshake",
        "waiting for the server's answer to the WebSocket handshake",
    ];
    pub(crate) const CONNECT: u8 = 0;
    pub(crate) const PROXY: u8 = 1;
    pub(crate) const TLS: u8 = 2;
    pub(crate) const ANSWER: u8 = 3;

    pub(crate) fn set(&self, stage: u8) {
        self.0.store(stage, Ordering::Relaxed);
    }

    pub(crate) fn words(&self) -> &'static str {
        Self::WORDS
            .get(usize::from(self.0.load(Ordering::Relaxed)))
            .copied()
            .unwrap_or("connecting")
    }
}

/// Opens a connection to the target, through the proxy that is meant for it, and speaks TLS if the target wants it. Also says
/// whether the server chose HTTP/2.
///
/// # Cancel safety
///
/// Dropping the future drops the connection.
pub(crate) async fn connect(
    target: &Target<'_>,
    proxy: &Proxy,
    tls: &LazyTls,
    allow_http2: bool,
    stage: &Stage,
) -> Result<(Stream, bool)> {
    stage.set(Stage::CONNECT);
    let secure = async || {
        let settings = tls.get().await?;
        stage.set(Stage::TLS);
        Ok::<_, Error>(settings)
    };
    match proxy.route(target)? {
        Some(route) if route.speaks_tls() => {
            let tcp = tcp_to_proxy(&route).await?;
            stage.set(Stage::PROXY);
            let proxied = tls.get().await?.proxy(tcp, route.address().host).await?;
            let io: Box<dyn Io> = Box::new(route.tunnel(proxied, target).await?);
            if !target.secure {
                return Ok((Stream::Other(io), false));
            }
            let stream = secure().await?.server(io, target.host, allow_http2).await?;
            let http2 = chose_http2(&stream);
            Ok((Stream::Other(Box::new(stream)), http2))
        }
        route => {
            let tcp = match route {
                None => tcp(target).await?,
                Some(route) => {
                    let tcp = tcp_to_proxy(&route).await?;
                    stage.set(Stage::PROXY);
                    route.tunnel(tcp, target).await?
                }
            };
            if !target.secure {
                return Ok((Stream::Tcp(tcp), false));
            }
            let stream = secure()
                .await?
                .server(tcp, target.host, allow_http2)
                .await?;
            let http2 = chose_http2(&stream);
            Ok((Stream::Tls(Box::new(stream)), http2))
        }
    }
}

async fn tcp_to_proxy(route: &Route) -> Result<TcpStream> {
    tcp(&route.address()).await.map_err(|error| {
        let context = format!("the proxy {route} cannot be reached: {error}");
        Error::new(ErrorKind::Proxy, context).with_source(error)
    })
}

fn chose_http2<T>(stream: &TlsStream<T>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2)
}

/// TCP without delay, trying IPv6 and IPv4 side by side (RFC 8305).
async fn tcp(target: &Target<'_>) -> Result<TcpStream> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    match connector.oneshot(target.uri()).await {
        Ok(stream) => Ok(stream.into_inner()),
        Err(error) => {
            let causes = chain(&error);
            let advice = match io_kind(&error) {
                _ if causes.starts_with("dns error") => "; is the name right, and the network up?",
                Some(io::ErrorKind::ConnectionRefused) => {
                    "; nothing listens there, or a firewall refuses"
                }
                Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
                    "; is the network up?"
                }
                _ => "",
            };
            let context = format!("cannot connect to {}: {causes}{advice}", target.authority());
            Err(Error::new(ErrorKind::Connect, context).with_source(error))
        }
    }
}

/// An error with all its causes in one line.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

fn io_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = error.source();
    }
    None
}
