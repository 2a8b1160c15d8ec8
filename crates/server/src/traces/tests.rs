//! Traces at a collector in memory: what is told, what is lost, and what is never said.

use std::sync::Mutex;

use antiphon_hub::refusal::Refusal;
use axum::{body::Body, response::IntoResponse as _, routing::post};
use bytes::Bytes;
use opentelemetry::trace::TraceFlags;
use tokio::time::Instant;
use tower_service::Service as _;

use super::{export::QUEUE, *};
use crate::outgoing::{settings, testing};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

fn settings(sample: f64) -> Settings {
    Settings {
        endpoint: Some("https://collector.example/v1/traces?key=canary".into()),
        sample,
    }
}

/// Traces to a collector that answers with this status.
fn traces(sample: f64, status: u16) -> (Traces, Seen) {
    let seen = Seen::default();
    let log = seen.clone();
    let collector = post(move |headers: HeaderMap, body: Bytes| {
        log.lock().unwrap().push((headers, body));
        async move { StatusCode::from_u16(status).unwrap() }
    });
    let router = Router::new().route("/v1/traces", collector);
    let http = testing::router(&settings::Settings::default(), router);
    let traces = Traces::start(&settings(sample), &http, "node-7").unwrap();
    (traces.unwrap(), seen)
}

fn from(trace: &str, flags: &str) -> HeaderMap {
    let parent = format!("00-{trace}-b7ad6b7169203331-{flags}");
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", parent.parse().unwrap());
    headers.insert("tracestate", "vendor=canary".parse().unwrap());
    headers.insert("authorization", "Bearer canary".parse().unwrap());
    headers
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn all(seen: &Seen) -> Vec<u8> {
    let seen = seen.lock().unwrap();
    seen.iter().flat_map(|(_, body)| body.to_vec()).collect()
}

async fn accepted() -> Response {
    note("antiphon.authenticated", true);
    let protocol = [(header::SEC_WEBSOCKET_PROTOCOL, "antiphon.v2.json")];
    (StatusCode::SWITCHING_PROTOCOLS, protocol).into_response()
}

#[tokio::test(start_paused = true)]
async fn a_collector_is_told_what_was_done_and_no_secret() {
    let (traces, seen) = traces(1.0, 200);
    traces.handshake(&from(TRACE, "01"), accepted()).await;
    let refused = async {
        note("antiphon.reason", "expired");
        StatusCode::UNAUTHORIZED.into_response()
    };
    traces.handshake(&HeaderMap::new(), refused).await;
    let answer = traces.event("say", async { Err(Refusal::new(1234, "canary")) });
    assert!(answer.await.is_err());
    let routes = Router::new().route("/api/{method}", post(|| async { "canary" }));
    let mut routes = traces.calls(routes, |name| name == "publish");
    for path in ["/api/publish?api_key=canary", "/api/canary"] {
        let mut request = Request::post(path).header("x-api-key", "canary");
        request.headers_mut().unwrap().extend(from(TRACE, "01"));
        routes
            .call(request.body(Body::from("canary")).unwrap())
            .await
            .unwrap();
    }
    traces.flush().await;
    let bytes = all(&seen);
    for part in [
        "antiphon",
        "node-7",
        "handshake",
        "antiphon.v2.json",
        "antiphon.authenticated",
        "accepted",
        "refused",
        "expired",
        "event",
        "say",
        "api",
        "publish",
        "other",
        "POST",
    ] {
        assert!(has(&bytes, part.as_bytes()), "{part}");
    }
    assert!(!has(&bytes, b"canary"));
    assert!(has(&bytes, &TraceId::from_hex(TRACE).unwrap().to_bytes()));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].0["content-type"], "application/x-protobuf");
    let stats = Stats {
        sent: 5,
        ..Stats::default()
    };
    assert_eq!(traces.stats(), stats);
}

#[tokio::test(start_paused = true)]
async fn a_hook_belongs_to_the_event_that_asks_it() {
    let (traces, _) = traces(1.0, 200);
    let mut parents = Vec::new();
    let work = async {
        for _ in 0..2 {
            let mut headers = from(TRACE, "00");
            traces.hook("rpc", &mut headers).end(Some("timeout"));
            parents.push(headers["traceparent"].to_str().unwrap().to_owned());
        }
        Ok(None)
    };
    assert!(traces.event("say", work).await.is_ok());
    let parts = |index: usize| parents[index].split('-').collect::<Vec<_>>();
    assert_eq!((parts(0)[0], parts(0)[3]), ("00", "01"));
    assert_eq!(parts(0)[1], parts(1)[1], "one trace");
    assert_ne!(parts(0)[1], TRACE, "what a client names is replaced");
    assert_ne!(parts(0)[2], parts(1)[2], "two spans");
    // A hook that is asked later is part of the handshake that it is about.
    let mut kept = None;
    let work = async {
        kept = Parent::here();
        accepted().await
    };
    traces.handshake(&from(TRACE, "01"), work).await;
    assert!(Parent::here().is_none());
    let mut headers = HeaderMap::new();
    let work = async { traces.hook("connect", &mut headers).end(None) };
    under(kept.as_ref(), work).await;
    assert!(headers["traceparent"].to_str().unwrap().contains(TRACE));
}

#[tokio::test(start_paused = true)]
async fn the_share_is_of_traces_that_begin_here_and_can_be_changed() {
    // The share, the flags of the trace that is named, and whether the span is sent.
    for (share, flags, sent) in [
        (0.0, None, 0),
        (0.0, Some("01"), 1),
        (1.0, Some("00"), 0),
        (1.0, Some("zz"), 1),
        (1.0, None, 1),
    ] {
        let (traces, _) = traces(1.0 - share, 200);
        traces.set_sample(share);
        let headers = flags.map_or_else(HeaderMap::new, |flags| from(TRACE, flags));
        traces.handshake(&headers, accepted()).await;
        traces.flush().await;
        assert_eq!(traces.stats().sent, sent, "{share} {flags:?}");
    }
    let (traces, _) = traces(0.0, 200);
    let mut headers = HeaderMap::new();
    traces.hook("rpc", &mut headers).end(None);
    let parent = headers["traceparent"].to_str().unwrap();
    assert!(parent.ends_with(&format!("-{:02x}", TraceFlags::default().to_u8())));
}

#[tokio::test(start_paused = true)]
async fn spans_without_a_place_are_dropped_and_counted() {
    let (traces, seen) = traces(1.0, 200);
    for _ in 0..QUEUE + 3 {
        traces.hook("rpc", &mut HeaderMap::new()).end(None);
    }
    traces.flush().await;
    let stats = Stats {
        sent: QUEUE as u64,
        dropped: 3,
        failed: 0,
    };
    assert_eq!(traces.stats(), stats);
    assert_eq!(seen.lock().unwrap().len(), 4, "512 in a request");
}

#[tokio::test(start_paused = true)]
async fn a_span_waits_five_seconds_for_others() {
    let (traces, seen) = traces(1.0, 200);
    traces.hook("rpc", &mut HeaderMap::new()).end(None);
    tokio::time::sleep(Duration::from_millis(4900)).await;
    assert_eq!(seen.lock().unwrap().len(), 0);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_collector_refuses_is_lost_and_counted() {
    let (traces, _) = traces(1.0, 503);
    traces.hook("rpc", &mut HeaderMap::new()).end(None);
    traces.flush().await;
    let stats = Stats {
        failed: 1,
        ..Stats::default()
    };
    assert_eq!(traces.stats(), stats);
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_is_silent_holds_up_the_end_for_two_seconds() {
    let http = testing::raw(&settings::Settings::default(), |stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    });
    let traces = Traces::start(&settings(1.0), &http, "n").unwrap().unwrap();
    traces.hook("rpc", &mut HeaderMap::new()).end(None);
    let begun = Instant::now();
    traces.flush().await;
    assert_eq!(begun.elapsed(), FLUSH);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(traces.stats().failed, 1, "a request takes five seconds");
}

#[tokio::test]
async fn without_an_endpoint_there_is_nothing() {
    let http = testing::closed(&settings::Settings::default());
    let off = Traces::start(&Settings::default(), &http, "n").unwrap();
    assert!(off.is_none());
    note("key", "value");
    assert!(Parent::here().is_none());
    let wrong = Settings {
        endpoint: Some("https://me:canary@collector.example/".into()),
        sample: 1.0,
    };
    let error = Queue::start(
        &wrong.endpoint.unwrap(),
        &http,
        &Resource::builder().build(),
    );
    assert!(!error.err().unwrap().contains("canary"));
}
