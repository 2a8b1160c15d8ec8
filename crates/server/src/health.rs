//! Probes of an orchestrator: whether the process works, and whether new connections are welcome.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use antiphon_hub::hub::Hub;
use axum::{
    Router,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{StatusCode, header};
use serde::Serialize;

use crate::config::schema::Health as Settings;

/// Of the memory for messages, how many percent may be used up before new connections are sent elsewhere.
const FULL: u128 = 95;

/// The health of a server. Clones are the same.
#[derive(Clone)]
pub(crate) struct Health(Arc<Inner>);

struct Inner {
    hub: Hub,
    listening: AtomicBool,
    stopping: AtomicBool,
}

impl Health {
    /// The health of a server that does not listen yet.
    pub(crate) fn new(hub: &Hub) -> Self {
        Self(Arc::new(Inner {
            hub: hub.clone(),
            listening: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        }))
    }

    /// From now on the server listens.
    pub(crate) fn listening(&self) {
        self.0.listening.store(true, Ordering::Release);
    }

    /// From now on new connections should go elsewhere, before the first one is closed. There is no way back.
    pub(crate) fn stopping(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }

    /// Whether new connections are welcome.
    pub(crate) fn is_ready(&self) -> bool {
        self.objections().is_empty()
    }

    /// Why they are not.
    pub(crate) fn objections(&self) -> Vec<&'static str> {
        let inner = &*self.0;
        let mut reasons = Vec::new();
        if !inner.listening.load(Ordering::Acquire) {
            reasons.push("starting");
        }
        if inner.stopping.load(Ordering::Acquire) || inner.hub.is_draining() {
            reasons.push("draining");
        }
        let stats = inner.hub.stats();
        if is_full(stats.memory_used, stats.memory_limit) {
            reasons.push("memory");
        }
        reasons
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("objections", &self.objections())
            .finish_non_exhaustive()
    }
}

fn is_full(used: usize, limit: usize) -> bool {
    used as u128 * 100 > limit as u128 * FULL
}

/// Both probes at the paths of the settings.
pub(crate) fn routes(health: Health, settings: &Settings) -> Router {
    Router::new()
        .route(&settings.live, get(live))
        .route(&settings.ready, get(ready))
        .with_state(health)
}

#[derive(Serialize)]
struct Live {
    live: bool,
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<&'static str>,
}

async fn live() -> Response {
    answer(StatusCode::OK, &Live { live: true })
}

async fn ready(State(health): State<Health>) -> Response {
    let reasons = health.objections();
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let ready = Ready {
        ready: reasons.is_empty(),
        reasons,
    };
    answer(status, &ready)
}

fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    let head = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    // These are structs of flags and words: they can always be written.
    let body = serde_json::to_string(body).unwrap_or_default();
    (status, head, body).into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use antiphon_hub::{code::close, config::HubConfig};
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt as _;
    use tower_service::Service as _;

    use super::*;

    async fn probe(health: &Health, path: &str) -> (u16, String) {
        let mut routes = routes(health.clone(), &Settings::default());
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = routes.call(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn no(reasons: &str) -> (u16, String) {
        let body = format!(r#"{{"ready":false,"reasons":[{reasons}]}}"#);
        (503, body)
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_is_ready_between_listening_and_the_start_of_its_drain() {
        let hub = Hub::new(HubConfig::default());
        let health = Health::new(&hub);
        let yes = (200, r#"{"ready":true}"#.to_owned());
        let live = (200, r#"{"live":true}"#.to_owned());
        assert_eq!(probe(&health, "/ready").await, no(r#""starting""#));
        health.listening();
        assert_eq!(probe(&health, "/ready").await, yes);
        assert!(health.is_ready());
        hub.drain(Duration::ZERO, close::RESTART).await;
        assert_eq!(probe(&health, "/ready").await, no(r#""draining""#));
        assert_eq!(probe(&health, "/live").await, live);

        let health = Health::new(&Hub::new(HubConfig::default()));
        health.listening();
        health.stopping();
        assert_eq!(probe(&health, "/ready").await, no(r#""draining""#));
        assert_eq!(probe(&health, "/live").await, live);
    }

    #[test]
    fn memory_is_full_above_95_percent() {
        for (used, limit, full) in [
            (0, 0, false),
            (1, 0, true),
            (95, 100, false),
            (96, 100, true),
            (usize::MAX, usize::MAX, true),
            (0, usize::MAX, false),
        ] {
            assert_eq!(is_full(used, limit), full, "{used} of {limit}");
        }
    }
}
