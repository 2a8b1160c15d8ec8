//! The way of spans to a collector: a queue that drops what it has no place for, and batches by the server's own client.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::Context;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter as _, SpanProcessor},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::outgoing::{Bounds, Http, endpoint::Endpoint};

/// Spans that wait; more are dropped, and counted.
pub(super) const QUEUE: usize = 2048;

/// Spans of one request.
const BATCH: usize = 512;

/// Longest wait of a span for others.
const DELAY: Duration = Duration::from_secs(5);

/// The bounds of a request to the collector.
const BOUNDS: Bounds = Bounds {
    timeout: Duration::from_secs(5),
    answer: 64 * 1024,
};

/// What became of spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    /// Sent.
    pub(crate) sent: u64,
    /// Lost because too many waited.
    pub(crate) dropped: u64,
    /// Lost because the collector did not take them.
    pub(crate) failed: u64,
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// Where spans wait.
#[derive(Clone)]
pub(super) struct Queue {
    items: mpsc::Sender<Item>,
    counts: Arc<Counts>,
}

enum Item {
    Span(Box<SpanData>),
    /// What waits is sent at once; dropped when that is done.
    Flush(oneshot::Sender<()>),
}

impl Queue {
    /// Starts a task that sends what comes into the queue, until the queue is gone.
    pub(super) fn start(endpoint: &str, http: &Http, resource: &Resource) -> Result<Self, String> {
        let collector = Collector {
            endpoint: endpoint.parse()?,
            http: http.clone(),
            is_ill: AtomicBool::new(false),
        };
        // The exporter's own wait between tries would block a thread of the runtime.
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(collector)
            .with_retry_policy(RetryPolicy::disabled())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(BOUNDS.timeout)
            .build()
            .map_err(|error| error.to_string())?;
        exporter.set_resource(resource);
        let (items, queue) = mpsc::channel(QUEUE);
        let counts = Arc::new(Counts::default());
        tokio::spawn(run(queue, exporter, counts.clone()));
        Ok(Self { items, counts })
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            sent: self.counts.sent.load(Ordering::Relaxed),
            dropped: self.counts.dropped.load(Ordering::Relaxed),
            failed: self.counts.failed.load(Ordering::Relaxed),
        }
    }

    /// Until all that waits now was sent, or failed.
    pub(super) async fn flush(&self) {
        let (done, is_done) = oneshot::channel();
        if self.items.send(Item::Flush(done)).await.is_ok() {
            // An error: the end has been dropped, which is what was waited for.
            let _ = is_done.await;
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({:?})", self.stats())
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled()
            && self.items.try_send(Item::Span(Box::new(span))).is_err()
        {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Nothing of ours calls it: it could not wait without blocking a thread.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends batches: when one is full, when its first span has waited long enough, or when it is asked to.
async fn run(mut queue: mpsc::Receiver<Item>, exporter: SpanExporter, counts: Arc<Counts>) {
    let mut batch = Vec::new();
    let mut due = Instant::now();
    loop {
        let item = if batch.is_empty() {
            Ok(queue.recv().await)
        } else {
            timeout_at(due, queue.recv()).await
        };
        let is_over = matches!(item, Ok(None));
        let mut asked = None;
        match item {
            Ok(Some(Item::Span(span))) => {
                if batch.is_empty() {
                    due = Instant::now() + DELAY;
                }
                batch.push(*span);
                if batch.len() < BATCH {
                    continue;
                }
            }
            Ok(Some(Item::Flush(done))) => asked = Some(done),
            Ok(None) | Err(_) => {}
        }
        if !batch.is_empty() {
            let count = batch.len() as u64;
            let counter = match exporter.export(std::mem::take(&mut batch)).await {
                Ok(()) => &counts.sent,
                Err(_) => &counts.failed,
            };
            counter.fetch_add(count, Ordering::Relaxed);
        }
        drop(asked);
        if is_over {
            return;
        }
    }
}

/// The collector, asked by the server's own client. It warns once when it begins to fail.
struct Collector {
    endpoint: Endpoint,
    http: Http,
    is_ill: AtomicBool,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Collector({})", self.endpoint)
    }
}

type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Collector {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Sending<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let sent = self
                .http
                .post_as(&self.endpoint, head.headers, body, BOUNDS)
                .await;
            match sent {
                Ok(answer) => {
                    if self.is_ill.swap(false, Ordering::Relaxed) {
                        tracing::info!("the collector of traces at {} works again", self.endpoint);
                    }
                    Ok(Response::new(answer.body))
                }
                Err(error) => {
                    if !self.is_ill.swap(true, Ordering::Relaxed) {
                        tracing::warn!(
                            "traces are lost until the collector at {} takes them again: {error}",
                            self.endpoint
                        );
                    }
                    Err(error.to_string().into())
                }
            }
        })
    }
}
