//! What the parts of the admin page share.

use std::{
    fmt,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc, OnceLock, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use antiphon_hub::{
    code::{CloseReason, ErrorCode, close},
    config::{HubConfig, Overflow, TagRule},
    hub::Hub,
    refusal::Refusal,
};
use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::{
    admin::{
        attempts::Attempts,
        journal::Journal,
        sampler::Samples,
        sessions::{Opened, Sessions, hash},
    },
    api::state::ApiState,
    config::{load::Loaded, schema::Admin as Settings},
    host,
    metrics::snapshot::AdminStats,
    setting::Secret,
};

/// Most sockets of the page.
pub(crate) const MAX_SOCKETS: usize = 32;

/// Most bytes of messages to the page, for all its sockets.
const MEMORY: usize = 64 * 1024 * 1024;

/// The admin page of a server. Clones are the same.
#[derive(Clone)]
pub(crate) struct Admin(Arc<Inner>);

struct Inner {
    /// The page's own hub.
    hub: Hub,
    /// The hub that it is about, behind the calls of the HTTP API.
    api: ApiState,
    sessions: Sessions,
    ttl: Duration,
    attempts: Attempts,
    token: RwLock<Option<[u8; 32]>>,
    journal: Journal,
    samples: Samples,
    loaded: OnceLock<Box<dyn Fn() -> Option<Arc<Loaded>> + Send + Sync>>,
    file: Option<PathBuf>,
    started: SystemTime,
    origins: Vec<String>,
    hosts: Vec<String>,
    is_dev: bool,
    failed: AtomicU64,
    throttled: AtomicU64,
    too_many_traces: AtomicU64,
}

/// Somebody with the page open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visitor {
    /// The number of the session.
    pub(crate) session: u64,
    /// Where the socket comes from.
    pub(crate) address: Option<IpAddr>,
}

/// Why a socket is closed whose session has ended.
pub(crate) fn over() -> CloseReason {
    CloseReason::new(close::REVOKED.code, "the session is over")
}

impl Admin {
    /// The page of the hub of this API. `file` is where the configuration stands.
    pub(crate) fn new(
        settings: &Settings,
        api: ApiState,
        file: Option<PathBuf>,
        is_dev: bool,
    ) -> Self {
        let mut bounds = HubConfig::default();
        bounds.node = api.node().into();
        bounds.max_connections = MAX_SOCKETS;
        bounds.max_outbox_bytes = 4 * 1024 * 1024;
        bounds.memory_budget = MEMORY;
        bounds.message_rate = 50;
        bounds.message_burst = 100;
        bounds.max_inbox = 32;
        bounds.max_handlers = 16;
        bounds.max_tags_per_connection = 32;
        // Only the latest sample is of interest to a page that reads slowly; of the rest it is told what it has missed.
        for (pattern, overflow) in [("stats", Overflow::Latest), ("*", Overflow::Drop)] {
            let mut rule = TagRule::new(pattern);
            rule.overflow = Some(overflow);
            rule.presence = false;
            bounds.tag_rules.push(rule);
        }
        let listen = settings.listen.as_deref().unwrap_or_default();
        let listen = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
        let hosts = settings.origins.iter();
        let hosts = hosts.filter_map(|origin| host::of_origin(origin));
        Self(Arc::new(Inner {
            hub: Hub::new(bounds),
            api,
            sessions: Sessions::new(settings.session_ttl, settings.session_idle),
            ttl: settings.session_ttl,
            attempts: Attempts::new(),
            token: RwLock::new(settings.token.as_ref().map(digest)),
            journal: Journal::default(),
            samples: Samples::default(),
            loaded: OnceLock::new(),
            file,
            started: SystemTime::now(),
            hosts: hosts.chain([listen.to_ascii_lowercase()]).collect(),
            origins: settings.origins.clone(),
            is_dev,
            failed: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            too_many_traces: AtomicU64::new(0),
        }))
    }

    /// Where the configuration in force is found; once.
    pub(crate) fn set_loaded(
        &self,
        loaded: impl Fn() -> Option<Arc<Loaded>> + Send + Sync + 'static,
    ) {
        let _ = self.0.loaded.set(Box::new(loaded));
    }

    /// The configuration in force.
    pub(crate) fn loaded(&self) -> Option<Arc<Loaded>> {
        self.0.loaded.get().and_then(|loaded| loaded())
    }

    /// The file of the configuration.
    pub(crate) fn file(&self) -> Option<String> {
        let file = self.0.file.as_ref();
        file.map(|file| file.display().to_string())
    }

    /// Takes over the token of a reload. Another one ends all sessions; none lets nobody in.
    pub(crate) fn set_token(&self, token: Option<&Secret>) {
        let new = token.map(digest);
        let mut token = self.0.token.write().unwrap_or_else(PoisonError::into_inner);
        if *token != new {
            *token = new;
            drop(token);
            self.0.sessions.end_all();
            self.close_ended();
        }
    }

    /// Opens a session for whoever has the token. `None`: it is another one.
    ///
    /// # Errors
    ///
    /// How long to wait, after too many wrong ones.
    pub(crate) fn login(
        &self,
        token: &Secret,
        address: Option<IpAddr>,
    ) -> Result<Option<Opened>, Duration> {
        // Hashes are compared, so that neither the length nor the time tells anything of the token.
        let shown = digest(token);
        let is_right = || {
            let token = self.0.token.read().unwrap_or_else(PoisonError::into_inner);
            token.is_some_and(|token| verify_slices_are_equal(&token, &shown).is_ok())
        };
        match self.0.attempts.judge(address, is_right) {
            Ok(true) => {
                let opened = self.0.sessions.open();
                let detail = format!("session {}", opened.view.number);
                self.0.journal.did("login", detail, address);
                // A session may have had to go for it.
                self.close_ended();
                Ok(Some(opened))
            }
            Ok(false) => {
                self.0.failed.fetch_add(1, Relaxed);
                let detail = "a wrong token".to_owned();
                self.0.journal.did("login_failed", detail, address);
                Ok(None)
            }
            Err(wait) => {
                self.0.throttled.fetch_add(1, Relaxed);
                Err(wait)
            }
        }
    }

    /// Ends a session and closes its sockets.
    pub(crate) fn logout(&self, session: u64, address: Option<IpAddr>) {
        self.0.sessions.end(session);
        let detail = format!("session {session}");
        self.0.journal.did("logout", detail, address);
        self.close_ended();
    }

    /// Closes the sockets of sessions that are over.
    pub(crate) fn close_ended(&self) {
        for client in self.0.hub.all().clients() {
            let visitor = client.attachment::<Visitor>();
            if visitor.is_none_or(|visitor| !self.0.sessions.is_open(visitor.session)) {
                client.disconnect(over());
            }
        }
    }

    /// A trace was refused because there are as many as there may be.
    pub(crate) fn count_too_many_traces(&self) {
        self.0.too_many_traces.fetch_add(1, Relaxed);
    }

    /// What the metrics tell.
    pub(crate) fn stats(&self) -> AdminStats {
        AdminStats {
            sessions: self.0.sessions.len(),
            evicted: self.0.sessions.evicted(),
            failed: self.0.failed.load(Relaxed),
            throttled: self.0.throttled.load(Relaxed),
            refused_sockets: self.0.hub.stats().refused_connections,
            traced: self.0.api.hub().traced().len(),
            too_many_traces: self.0.too_many_traces.load(Relaxed),
        }
    }

    /// The page's own hub.
    pub(crate) fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// The calls of the HTTP API, and the hub behind them.
    pub(crate) fn api(&self) -> &ApiState {
        &self.0.api
    }

    /// Who has logged in.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// How long a session lasts at most.
    pub(crate) fn ttl(&self) -> Duration {
        self.0.ttl
    }

    /// What has happened.
    pub(crate) fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// The samples of the last minutes.
    pub(crate) fn samples(&self) -> &Samples {
        &self.0.samples
    }

    /// When the server began.
    pub(crate) fn started(&self) -> SystemTime {
        self.0.started
    }

    /// Origins of the page beside its own address.
    pub(crate) fn origins(&self) -> &[String] {
        &self.0.origins
    }

    /// Names that the page answers to, beside those of this machine.
    pub(crate) fn hosts(&self) -> &[String] {
        &self.0.hosts
    }

    /// Whether this is `serve --dev`.
    pub(crate) fn is_dev(&self) -> bool {
        self.0.is_dev
    }

    /// For what must not keep the page alive.
    pub(crate) fn downgrade(&self) -> WeakAdmin {
        WeakAdmin(Arc::downgrade(&self.0))
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admin")
    }
}

/// The page, for its own handlers.
#[derive(Clone)]
pub(crate) struct WeakAdmin(Weak<Inner>);

impl WeakAdmin {
    /// The page.
    ///
    /// # Errors
    ///
    /// The server is stopping.
    pub(crate) fn upgrade(&self) -> Result<Admin, Refusal> {
        let stopping = || Refusal::of(ErrorCode::NotAvailable).closing(close::RESTART);
        self.0.upgrade().map(Admin).ok_or_else(stopping)
    }
}

fn digest(token: &Secret) -> [u8; 32] {
    hash(token.expose().as_bytes())
}
