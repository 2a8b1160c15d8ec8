//! Backends within a test: a router or raw bytes at the other end of a connection in memory, so that time is virtual.

use std::{
    future::Future,
    io,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::io::{AsyncReadExt as _, DuplexStream};

use super::{Http, settings::Settings};

/// A client of this router.
pub(crate) fn router(settings: &Settings, router: Router) -> Http {
    Http::memory(settings, move || {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let service = TowerToHyperService::new(router.clone());
        let serving =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
        tokio::spawn(serving);
        Ok(near)
    })
}

/// A client of something that speaks bytes.
pub(crate) fn raw<F>(
    settings: &Settings,
    peer: impl Fn(DuplexStream) -> F + Send + Sync + 'static,
) -> Http
where
    F: Future<Output = ()> + Send + 'static,
{
    Http::memory(settings, move || {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(peer(far));
        Ok(near)
    })
}

/// A client whom nobody lets in.
pub(crate) fn closed(settings: &Settings) -> Http {
    Http::memory(settings, || Err(io::ErrorKind::ConnectionRefused.into()))
}

/// Reads until the end of a request's head.
pub(crate) async fn read_head(stream: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// One request, as a backend has seen it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Its number, from 0.
    pub(crate) number: usize,
    /// The path.
    pub(crate) path: String,
    /// The header fields.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Bytes,
}

impl Seen {
    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Everything that a backend has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Seen>>>);

impl Log {
    /// All requests so far.
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }

    /// How many there were.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// A client of a backend that answers each request with a status and a body, after whatever `answer` waits for.
pub(crate) fn backend<F>(
    settings: &Settings,
    answer: impl Fn(Seen) -> F + Clone + Send + Sync + 'static,
) -> (Http, Log)
where
    F: Future<Output = (u16, String)> + Send + 'static,
{
    let log = Log::default();
    let seen = log.clone();
    let handler = move |request: Request| {
        let (log, answer) = (seen.clone(), answer.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let one = {
                let mut all = log.0.lock().unwrap();
                let one = Seen {
                    number: all.len(),
                    path: head.uri.path().to_owned(),
                    headers: head.headers,
                    body,
                };
                all.push(one.clone());
                one
            };
            let (status, body) = answer(one).await;
            let status = StatusCode::from_u16(status).unwrap();
            let response: Response = (status, Body::from(body)).into_response();
            response
        }
    };
    (router(settings, Router::new().fallback(handler)), log)
}
