//! Requests to other servers, for the whole server: bounded in time, in size and in number, and never redirected.

pub(crate) mod backoff;
pub(crate) mod breaker;
pub(crate) mod endpoint;
pub(crate) mod error;
pub(crate) mod settings;
pub(crate) mod sign;
mod transport;

use std::{
    error::Error as StdError,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit, TryAcquireError},
    time,
};

use self::{
    endpoint::Endpoint,
    error::{Error, chain},
    settings::Settings,
    transport::{Connector, certificates},
};

/// How long an unused connection is kept: less than the 5 s after which Node's servers close it, since a request that
/// meets a closing connection may or may not have arrived.
const IDLE: Duration = Duration::from_secs(4);

/// Most bytes of an answer's head.
const HEAD: usize = 64 * 1024;

/// Who asks.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("antiphon/", env!("CARGO_PKG_VERSION")));

/// The HTTP client of the server. Clones share its connections and its bounds.
#[derive(Clone)]
pub(crate) struct Http(Arc<Inner>);

struct Inner {
    client: Client<Connector, Full<Bytes>>,
    turns: Semaphore,
    max_waiting: usize,
    waiting: AtomicUsize,
    requests: AtomicU64,
    busy: AtomicU64,
    timeouts: AtomicU64,
    too_large: AtomicU64,
}

/// The bounds of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Longest time from the call to the last byte of the answer.
    pub(crate) timeout: Duration,
    /// Most bytes of the answer's body.
    pub(crate) answer: usize,
}

/// An answer with a status of 2xx.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The whole body.
    pub(crate) body: Bytes,
}

/// What the client has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    /// Requests that were begun.
    pub(crate) requests: u64,
    /// Requests that wait for their turn now.
    pub(crate) waiting: usize,
    /// Requests that found no place to wait.
    pub(crate) busy: u64,
    /// Requests without an answer in time.
    pub(crate) timeouts: u64,
    /// Answers that were too large.
    pub(crate) too_large: u64,
}

impl Http {
    /// A client with these settings.
    ///
    /// # Errors
    ///
    /// The file of trusted certificates cannot be used.
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        if let Some(path) = &settings.trusted_certificates {
            certificates(path)?;
        }
        let connector = Connector::new(settings.trusted_certificates.clone());
        Ok(Self::over(connector, settings))
    }

    /// A client whose connections are made within the test.
    #[cfg(test)]
    pub(crate) fn memory(
        settings: &Settings,
        connect: impl Fn() -> std::io::Result<tokio::io::DuplexStream> + Send + Sync + 'static,
    ) -> Self {
        Self::over(Connector::memory(connect), settings)
    }

    fn over(connector: Connector, settings: &Settings) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(settings.max_idle_per_host)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http1_max_buf_size(HEAD)
            .build(connector);
        Self(Arc::new(Inner {
            client,
            turns: Semaphore::new(settings.max_concurrent),
            max_waiting: settings.max_waiting,
            waiting: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            too_large: AtomicU64::new(0),
        }))
    }

    /// Asks for what is there.
    ///
    /// # Errors
    ///
    /// No answer of 2xx within the bounds.
    ///
    /// # Cancel safety
    ///
    /// The request is given up; the other server may have seen it.
    pub(crate) async fn get(&self, to: &Endpoint, bounds: Bounds) -> Result<Answer, Error> {
        self.send(Method::GET, to, HeaderMap::new(), Bytes::new(), bounds)
            .await
    }

    /// Posts JSON. `headers` are sent beside those of the client.
    ///
    /// # Errors
    ///
    /// No answer of 2xx within the bounds.
    ///
    /// # Cancel safety
    ///
    /// The request is given up; the other server may have seen it.
    pub(crate) async fn post(
        &self,
        to: &Endpoint,
        mut headers: HeaderMap,
        body: Bytes,
        bounds: Bounds,
    ) -> Result<Answer, Error> {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        self.post_as(to, headers, body, bounds).await
    }

    /// Posts a body whose type `headers` name.
    ///
    /// # Errors
    ///
    /// No answer of 2xx within the bounds.
    ///
    /// # Cancel safety
    ///
    /// The request is given up; the other server may have seen it.
    pub(crate) async fn post_as(
        &self,
        to: &Endpoint,
        headers: HeaderMap,
        body: Bytes,
        bounds: Bounds,
    ) -> Result<Answer, Error> {
        self.send(Method::POST, to, headers, body, bounds).await
    }

    /// What it has done so far.
    pub(crate) fn stats(&self) -> Stats {
        let inner = &*self.0;
        Stats {
            requests: inner.requests.load(Ordering::Relaxed),
            waiting: inner.waiting.load(Ordering::Relaxed),
            busy: inner.busy.load(Ordering::Relaxed),
            timeouts: inner.timeouts.load(Ordering::Relaxed),
            too_large: inner.too_large.load(Ordering::Relaxed),
        }
    }

    async fn send(
        &self,
        method: Method,
        to: &Endpoint,
        mut headers: HeaderMap,
        body: Bytes,
        bounds: Bounds,
    ) -> Result<Answer, Error> {
        to.warn_if_exposed();
        let inner = &*self.0;
        inner.requests.fetch_add(1, Ordering::Relaxed);
        headers.insert(header::USER_AGENT, USER_AGENT);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = to.uri().clone();
        *request.headers_mut() = headers;

        let exchange = async {
            let _turn = inner.turn().await?;
            let response = inner.client.request(request).await.map_err(|error| {
                let text = chain(error.source().unwrap_or(&error));
                if error.is_connect() {
                    Error::Connect(text)
                } else {
                    Error::Broken(text)
                }
            })?;
            let (head, body) = response.into_parts();
            if !head.status.is_success() {
                return Err(Error::Status(head.status.as_u16()));
            }
            let body = collect(body, bounds.answer).await?;
            Ok(Answer { body })
        };
        let answer = time::timeout(bounds.timeout, exchange)
            .await
            .unwrap_or(Err(Error::Timeout));
        let counter = match answer {
            Err(Error::Busy) => &inner.busy,
            Err(Error::Timeout) => &inner.timeouts,
            Err(Error::TooLarge(_)) => &inner.too_large,
            _ => return answer,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        answer
    }
}

impl Inner {
    /// Waits for a turn, if there is a place to wait.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Error> {
        match self.turns.try_acquire() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(Error::Busy),
            Err(TryAcquireError::NoPermits) => {}
        }
        let place = Place(&self.waiting);
        if place.0.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
            return Err(Error::Busy);
        }
        self.turns.acquire().await.map_err(|_| Error::Busy)
    }
}

/// A place among those that wait; given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads a body up to `limit` bytes; nothing is reserved by what its head has announced.
async fn collect(mut body: Incoming, limit: usize) -> Result<Bytes, Error> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Error::TooLarge(limit));
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::Body(chain(&error)))?;
        if let Ok(data) = frame.into_data() {
            if data.len() > limit - whole.len() {
                return Err(Error::TooLarge(limit));
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests;
