//! Metrics for Prometheus: every counter of the server, read when somebody asks.

mod closes;
pub(crate) mod snapshot;
mod table;
mod text;
pub(crate) mod usage;

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use antiphon_hub::{hub::Hub, occurrence::Occurrence};
use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use axum::{
    Router,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use self::{
    closes::Closes,
    snapshot::{AdminStats, AuthStats, Snapshot},
    usage::Usage,
};
use crate::{
    api::state::ApiStats, config::schema::Metrics as Settings, hooks::call::HookStats, log,
    outgoing::Stats as Outgoing, setting::Secret, traces::Stats as Traces,
    webhooks::queue::Stats as Webhooks,
};

/// The numbers change for readers at most this often: some of them are dear to find.
const FRESH: Duration = Duration::from_secs(1);

/// The media type of OpenMetrics.
const MEDIA_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// The metrics of a server. Clones are the same.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    sources: Arc<Sources>,
    registry: Registry,
    token: RwLock<Option<[u8; 32]>>,
    /// Where everybody comes there is no reading without a token, also when a reload has taken it away.
    is_public: AtomicBool,
    written: Mutex<Option<(Instant, Arc<str>)>>,
}

type Slot<T> = OnceLock<Box<dyn Fn() -> T + Send + Sync>>;

/// Where the numbers come from. A slot that nobody fills has none.
struct Sources {
    hub: Hub,
    closes: Arc<Closes>,
    begun: Instant,
    accept: Slot<antiphon::Stats>,
    ready: Slot<bool>,
    hooks: Slot<Vec<(&'static str, HookStats)>>,
    webhooks: Slot<Webhooks>,
    outgoing: Slot<Outgoing>,
    auth: Slot<AuthStats>,
    api: Slot<ApiStats>,
    traces: Slot<Traces>,
    admin: Slot<AdminStats>,
}

impl Metrics {
    /// The metrics of this hub, which it watches from now on.
    pub(crate) fn new(hub: &Hub) -> Self {
        let closes = Arc::new(Closes::default());
        let counter = closes.clone();
        hub.observe(move |occurrence| {
            if let Occurrence::Disconnected { cause, .. } = occurrence {
                counter.count(cause);
            }
        });
        let sources = Arc::new(Sources {
            hub: hub.clone(),
            closes,
            begun: Instant::now(),
            accept: OnceLock::new(),
            ready: OnceLock::new(),
            hooks: OnceLock::new(),
            webhooks: OnceLock::new(),
            outgoing: OnceLock::new(),
            auth: OnceLock::new(),
            api: OnceLock::new(),
            traces: OnceLock::new(),
            admin: OnceLock::new(),
        });
        let source = sources.clone();
        Self(Arc::new(Inner {
            registry: text::registry(Arc::new(move || source.snapshot())),
            sources,
            token: RwLock::new(None),
            is_public: AtomicBool::new(false),
            written: Mutex::new(None),
        }))
    }

    /// Also counts what accepting does: `running.stats()`. Each source can be given once; later ones change nothing.
    pub(crate) fn accepting(&self, stats: impl Fn() -> antiphon::Stats + Send + Sync + 'static) {
        let _ = self.0.sources.accept.set(Box::new(stats));
    }

    /// Also tells whether the server is ready.
    pub(crate) fn readiness(&self, is_ready: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.0.sources.ready.set(Box::new(is_ready));
    }

    /// Also counts what hooks do.
    pub(crate) fn hooks(
        &self,
        stats: impl Fn() -> Vec<(&'static str, HookStats)> + Send + Sync + 'static,
    ) {
        let _ = self.0.sources.hooks.set(Box::new(stats));
    }

    /// Also counts what webhooks do.
    pub(crate) fn webhooks(&self, stats: impl Fn() -> Webhooks + Send + Sync + 'static) {
        let _ = self.0.sources.webhooks.set(Box::new(stats));
    }

    /// Also counts requests to other servers.
    pub(crate) fn outgoing(&self, stats: impl Fn() -> Outgoing + Send + Sync + 'static) {
        let _ = self.0.sources.outgoing.set(Box::new(stats));
    }

    /// Also counts what is remembered of logins.
    pub(crate) fn auth(&self, stats: impl Fn() -> AuthStats + Send + Sync + 'static) {
        let _ = self.0.sources.auth.set(Box::new(stats));
    }

    /// Also counts what callers of the HTTP API do.
    pub(crate) fn api(&self, stats: impl Fn() -> ApiStats + Send + Sync + 'static) {
        let _ = self.0.sources.api.set(Box::new(stats));
    }

    /// They are read on the server's own address: without a token by nobody.
    pub(crate) fn publish(&self) {
        self.0.is_public.store(true, Relaxed);
    }

    /// Also counts what becomes of spans.
    pub(crate) fn traces(&self, stats: impl Fn() -> Traces + Send + Sync + 'static) {
        let _ = self.0.sources.traces.set(Box::new(stats));
    }

    /// Also counts what the admin page sees.
    pub(crate) fn admin(&self, stats: impl Fn() -> AdminStats + Send + Sync + 'static) {
        let _ = self.0.sources.admin.set(Box::new(stats));
    }

    /// What readers have to send; `None`: nothing. A reload may call it again.
    pub(crate) fn set_token(&self, token: Option<&Secret>) {
        let token = token.map(|token| digest_of(token.expose().as_bytes()));
        *self.0.token.write().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// The text, at most a second old.
    pub(crate) fn text(&self) -> Arc<str> {
        let mut written = self
            .0
            .written
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((at, text)) = &*written
            && at.elapsed() < FRESH
        {
            return text.clone();
        }
        // Writing to memory does not fail.
        let text: Arc<str> = text::text(&self.0.registry).unwrap_or_default().into();
        *written = Some((Instant::now(), text.clone()));
        text
    }

    fn is_open_to(&self, headers: &HeaderMap) -> bool {
        let token = *self.0.token.read().unwrap_or_else(PoisonError::into_inner);
        let Some(token) = token else {
            return !self.0.is_public.load(Relaxed);
        };
        let mut sent = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (sent.next(), sent.next()) else {
            return false;
        };
        let (scheme, credential) = match value.as_bytes().iter().position(|byte| *byte == b' ') {
            Some(space) => value.as_bytes().split_at(space),
            None => return false,
        };
        // Hashes are compared, so that neither the length nor the time tells anything of the token.
        scheme.eq_ignore_ascii_case(b"bearer")
            && verify_slices_are_equal(&digest_of(credential.trim_ascii()), &token).is_ok()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

fn digest_of(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

impl Sources {
    fn snapshot(&self) -> Snapshot {
        fn ask<T>(slot: &Slot<T>) -> Option<T> {
            slot.get().map(|source| source())
        }
        Snapshot {
            hub: self.hub.stats(),
            waiting: self.hub.waiting(),
            closes: self.closes.rows(),
            violations: self.closes.violations(),
            draining: self.hub.is_draining(),
            ready: ask(&self.ready).unwrap_or_default(),
            uptime: self.begun.elapsed().as_secs_f64(),
            accept: ask(&self.accept),
            hooks: ask(&self.hooks).unwrap_or_default(),
            webhooks: ask(&self.webhooks),
            outgoing: ask(&self.outgoing),
            api: ask(&self.api),
            auth: ask(&self.auth),
            traces: ask(&self.traces),
            admin: ask(&self.admin),
            log_lines: log::left_out(),
            usage: Usage::now(),
        }
    }
}

/// The metrics at the path of the settings, for whoever has the token, if there is one. On the server's own address they
/// belong only where there is one.
pub(crate) fn routes(metrics: Metrics, settings: &Settings) -> Router {
    metrics.set_token(settings.token.as_ref());
    Router::new()
        .route(&settings.path, get(read))
        .with_state(metrics)
}

async fn read(State(metrics): State<Metrics>, headers: HeaderMap) -> Response {
    if !metrics.is_open_to(&headers) {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, challenge, "a token is needed\n").into_response();
    }
    let head = [
        (header::CONTENT_TYPE, MEDIA_TYPE),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    (head, metrics.text().to_string()).into_response()
}

#[cfg(test)]
mod tests;
