//! Traces for OpenTelemetry: what becomes a span, what is told about it, and never a token, a key or a payload.

mod export;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use antiphon_hub::{code::ErrorCode, hub::Answer};
use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::Response,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use opentelemetry::{
    Context, KeyValue, Value,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{
        FutureExt as _, Link, SpanContext, SpanKind, Status, TraceContextExt as _, TraceId,
        Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SamplingResult, SdkTracer, SdkTracerProvider, ShouldSample},
};

use self::export::Queue;
pub(crate) use self::export::Stats;
use crate::{
    config::schema::Traces as Settings,
    failure::{Exit, Failure},
    outgoing::Http,
};

/// The header field by which traces go from one program to the next.
const TRACEPARENT: &str = "traceparent";

/// Longest name of an event in a span, in characters.
const MAX_EVENT: usize = 64;

/// What is spoken where no subprotocol was agreed on.
const OLD_WIRE: &str = "hotgo.v1";

/// Time for the last spans when the server ends.
const FLUSH: Duration = Duration::from_secs(2);

/// Traces that are on. Where there is none of these, nothing is measured, and nothing runs.
#[derive(Clone)]
pub(crate) struct Traces(Arc<Inner>);

struct Inner {
    tracer: SdkTracer,
    /// The tracer makes spans as long as this lives.
    _provider: SdkTracerProvider,
    queue: Queue,
    share: Share,
}

impl Traces {
    /// Starts sending to the endpoint of the settings, if there is one. `node` is the name of this server.
    ///
    /// # Errors
    ///
    /// The endpoint, or a variable `OTEL_EXPORTER_OTLP_...` of the environment, cannot be used.
    pub(crate) fn start(
        settings: &Settings,
        http: &Http,
        node: &str,
    ) -> Result<Option<Self>, Failure> {
        let Some(endpoint) = &settings.endpoint else {
            return Ok(None);
        };
        let resource = Resource::builder()
            .with_attributes([
                KeyValue::new("service.name", "antiphon"),
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", node.to_owned()),
            ])
            .build();
        let queue = Queue::start(endpoint, http, &resource).map_err(|error| {
            Failure::new(
                Exit::Failure,
                format!("traces cannot be sent: {error}"),
                "see traces.endpoint, and the variables OTEL_EXPORTER_OTLP_... of the environment",
            )
        })?;
        let share = Share(Arc::new(AtomicU64::new(settings.sample.to_bits())));
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(share.clone())))
            .with_resource(resource)
            .with_span_processor(queue.clone())
            .build();
        Ok(Some(Self(Arc::new(Inner {
            tracer: provider.tracer("antiphon"),
            _provider: provider,
            queue,
            share,
        }))))
    }

    /// From now on this share of the traces that begin here is sent.
    pub(crate) fn set_sample(&self, share: f64) {
        self.0.share.0.store(share.to_bits(), Ordering::Relaxed);
    }

    /// What became of the spans so far.
    pub(crate) fn stats(&self) -> Stats {
        self.0.queue.stats()
    }

    /// Sends what waits, for at most two seconds.
    ///
    /// # Cancel safety
    ///
    /// What was not sent is sent later.
    pub(crate) async fn flush(&self) {
        if tokio::time::timeout(FLUSH, self.0.queue.flush())
            .await
            .is_err()
        {
            tracing::warn!("the last traces could not be sent in time");
        }
    }

    /// An opening handshake. The one that asks may name the trace that it belongs to.
    pub(crate) async fn handshake(
        &self,
        headers: &HeaderMap,
        work: impl Future<Output = Response>,
    ) -> Response {
        let context = self.begin(SpanKind::Server, "handshake", Vec::new(), &parent(headers));
        let response = work.with_context(context.clone()).await;
        let span = context.span();
        let status = response.status();
        span.set_attribute(status_of(status));
        if status == StatusCode::SWITCHING_PROTOCOLS || status.is_success() {
            let wire = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
            // What stands there is the server's choice among its own names.
            let wire = wire.and_then(|name| name.to_str().ok()).unwrap_or(OLD_WIRE);
            span.set_attribute(KeyValue::new("antiphon.wire", wire.to_owned()));
            span.set_attribute(KeyValue::new("antiphon.outcome", "accepted"));
        } else {
            span.set_attribute(KeyValue::new("antiphon.outcome", "refused"));
        }
        failed(&context, status);
        span.end();
        response
    }

    /// An event that a handler answers.
    pub(crate) async fn event(&self, name: &str, work: impl Future<Output = Answer>) -> Answer {
        let name: String = name.chars().take(MAX_EVENT).collect();
        let attributes = vec![KeyValue::new("antiphon.event", name)];
        let context = self.begin(SpanKind::Server, "event", attributes, &Context::new());
        let answer = work.with_context(context.clone()).await;
        let span = context.span();
        if let Err(refusal) = &answer {
            span.set_attribute(KeyValue::new("antiphon.code", i64::from(refusal.code())));
            if refusal.code() == ErrorCode::Internal.number() {
                span.set_status(Status::error("internal"));
            }
        }
        span.end();
        answer
    }

    /// Routes whose calls are spans, named by the last part of their path where it is `known`.
    pub(crate) fn calls(&self, routes: Router, known: fn(&str) -> bool) -> Router {
        let traces = self.clone();
        routes.route_layer(middleware::from_fn(move |request: Request, next: Next| {
            let traces = traces.clone();
            async move { traces.call(request, next, known).await }
        }))
    }

    async fn call(&self, request: Request, next: Next, known: fn(&str) -> bool) -> Response {
        let name = request.uri().path().rsplit('/').next().unwrap_or_default();
        let name = if known(name) { name } else { "other" };
        let attributes = vec![
            KeyValue::new("antiphon.method", name.to_owned()),
            KeyValue::new("http.request.method", method(request.method())),
        ];
        let parent = parent(request.headers());
        let context = self.begin(SpanKind::Server, "api", attributes, &parent);
        let response = next.run(request).with_context(context.clone()).await;
        let span = context.span();
        span.set_attribute(status_of(response.status()));
        failed(&context, response.status());
        span.end();
        response
    }

    /// A request to a hook, which is told the trace it belongs to.
    pub(crate) fn hook(&self, name: &'static str, headers: &mut HeaderMap) -> Asking {
        let attributes = vec![KeyValue::new("antiphon.hook", name)];
        let context = self.begin(SpanKind::Client, "hook", attributes, &Context::current());
        let span = context.span();
        let of = span.span_context();
        let parent = format!(
            "00-{}-{}-{:02x}",
            of.trace_id(),
            of.span_id(),
            of.trace_flags().to_u8()
        );
        if let Ok(parent) = HeaderValue::try_from(parent) {
            headers.insert(TRACEPARENT, parent);
        }
        Asking(context)
    }

    fn begin(
        &self,
        kind: SpanKind,
        name: &'static str,
        attributes: Vec<KeyValue>,
        parent: &Context,
    ) -> Context {
        let tracer = &self.0.tracer;
        let span = tracer
            .span_builder(name)
            .with_kind(kind)
            .with_attributes(attributes);
        parent.with_span(span.start_with_context(tracer, parent))
    }
}

/// A request that is under way. Dropped, it ends without an answer.
pub(crate) struct Asking(Context);

impl Asking {
    /// It has an answer, or failed for a reason of a few words.
    pub(crate) fn end(self, failure: Option<&'static str>) {
        let span = self.0.span();
        if let Some(reason) = failure {
            span.set_status(Status::error(reason));
        }
        span.end();
    }
}

/// A span that later ones can belong to.
pub(crate) struct Parent(SpanContext);

impl Parent {
    /// The span that runs here, if there is one.
    pub(crate) fn here() -> Option<Self> {
        Context::map_current(|context| {
            context
                .has_active_span()
                .then(|| Self(context.span().span_context().clone()))
        })
    }
}

/// Does the work as part of this span, if there is one.
pub(crate) async fn under<T>(parent: Option<&Parent>, work: impl Future<Output = T>) -> T {
    match parent {
        None => work.await,
        Some(parent) => {
            let context = Context::new().with_remote_span_context(parent.0.clone());
            work.with_context(context).await
        }
    }
}

/// Adds something to the span that runs here, if there is one.
pub(crate) fn note(key: &'static str, value: impl Into<Value>) {
    Context::map_current(|context| {
        if context.has_active_span() {
            context.span().set_attribute(KeyValue::new(key, value));
        }
    });
}

/// The trace that a request belongs to. Of its header fields only `traceparent` is read: 55 bytes in a fixed form.
fn parent(headers: &HeaderMap) -> Context {
    struct One<'a>(&'a HeaderMap);

    impl Extractor for One<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            let value = self.0.get(TRACEPARENT).filter(|_| key == TRACEPARENT)?;
            value.to_str().ok()
        }

        fn keys(&self) -> Vec<&str> {
            vec![TRACEPARENT]
        }
    }

    TraceContextPropagator::new().extract_with_context(&Context::new(), &One(headers))
}

fn status_of(status: StatusCode) -> KeyValue {
    KeyValue::new("http.response.status_code", i64::from(status.as_u16()))
}

fn failed(context: &Context, status: StatusCode) {
    if status.is_server_error() {
        context.span().set_status(Status::error(""));
    }
}

/// A peer can invent methods: only those of HTTP are told.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "_OTHER",
    }
}

/// The share of traces that is sent, as the bits of a number; a reload may change it.
#[derive(Clone, Debug)]
struct Share(Arc<AtomicU64>);

impl ShouldSample for Share {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let share = f64::from_bits(self.0.load(Ordering::Relaxed));
        Sampler::TraceIdRatioBased(share)
            .should_sample(parent, trace, name, kind, attributes, links)
    }
}

#[cfg(test)]
mod tests;
