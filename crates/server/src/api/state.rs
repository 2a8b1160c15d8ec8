//! What the calls of the HTTP API share.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use antiphon_hub::{
    code::ErrorCode, hub::Hub, id::ConnectionId, identity::Identity, permission::Permissions,
};
use tokio::sync::Semaphore;

use crate::{
    api::{error::CallError, failures::Failures, idempotency::Idempotency, key::Keys},
    auth::{
        revocation::{Full, Revocation, Revocations},
        secret,
    },
    config::schema::Api,
    setting::Secret,
};

/// Lists over all connections that are made at the same time.
const MAX_SCANS: usize = 4;

/// A login that is to end.
#[derive(Debug)]
pub(crate) enum Login<'a> {
    /// All logins of a user until now.
    User(&'a str),
    /// One login, by the `jti` of its token or the key of its session.
    Session(&'a str),
    /// One token.
    Token(&'a Secret),
}

/// There are as many revocations as there may be: this one is not in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotRevoked;

/// Keeps revoked logins out.
pub(crate) trait Revoke: Send + Sync {
    /// Refuses this login from now on; until when.
    ///
    /// # Errors
    ///
    /// It is not in force.
    fn revoke(&self, login: &Login<'_>, now: SystemTime) -> Result<SystemTime, NotRevoked>;
}

impl Revoke for Revocations {
    fn revoke(&self, login: &Login<'_>, now: SystemTime) -> Result<SystemTime, NotRevoked> {
        let what = match *login {
            Login::User(user) => Revocation::User {
                user: user.to_owned(),
                before: now,
            },
            Login::Session(session) => Revocation::Session(session.to_owned()),
            Login::Token(token) => Revocation::Token(secret::digest(token)),
        };
        let until = now + self.ttl();
        self.revoke(what, Some(until), now)
            .map(|()| until)
            .map_err(|Full| NotRevoked)
    }
}

/// A future that can be stored.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whoever lets clients in.
pub(crate) trait Logins: Send + Sync {
    /// A ticket for this client, good once, and for how long. Permissions that are `None` are those of every user.
    ///
    /// # Errors
    ///
    /// Too many wait to be used.
    fn ticket(
        &self,
        identity: Identity,
        permissions: Option<Permissions>,
    ) -> Result<(Secret, Duration), CallError>;

    /// Opens the session of a token; how many connections of older sessions are being closed for it.
    fn login<'a>(&'a self, token: &'a Secret) -> BoxFuture<'a, Result<u64, CallError>>;

    /// Ends the session of a token; how many of its connections are being closed.
    fn logout<'a>(&'a self, token: &'a Secret) -> BoxFuture<'a, Result<u64, CallError>>;
}

/// Nobody lets clients in.
pub(crate) fn nobody() -> CallError {
    CallError::new(ErrorCode::NotAvailable, "this server has no logins")
}

/// What has been refused, for the metrics.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Requests.
    pub(crate) requests: AtomicU64,
    /// Commands that failed.
    pub(crate) errors: AtomicU64,
    /// Requests without a key, or with a wrong one.
    pub(crate) unauthorized: AtomicU64,
    /// Calls beyond the scopes of a key.
    pub(crate) forbidden: AtomicU64,
    /// Wrong keys of an address that had shown too many.
    pub(crate) throttled: AtomicU64,
    /// Bodies that were too large.
    pub(crate) too_large: AtomicU64,
    /// Publications that had been made already.
    pub(crate) repeated: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ApiStats {
    /// Requests.
    pub(crate) requests: u64,
    /// Commands that failed.
    pub(crate) errors: u64,
    /// Requests without a key, or with a wrong one.
    pub(crate) unauthorized: u64,
    /// Calls beyond the scopes of a key.
    pub(crate) forbidden: u64,
    /// Wrong keys of an address that had shown too many.
    pub(crate) throttled: u64,
    /// Bodies that were too large.
    pub(crate) too_large: u64,
    /// Publications that had been made already.
    pub(crate) repeated: u64,
}

/// What the calls share. Cloning is free.
#[derive(Clone)]
pub(crate) struct ApiState(Arc<Shared>);

struct Shared {
    hub: Hub,
    node: Arc<str>,
    uid: String,
    started: Instant,
    path: String,
    max_body: usize,
    double_wrap: bool,
    live: RwLock<Arc<Live>>,
    revoke: Arc<dyn Revoke>,
    logins: OnceLock<Arc<dyn Logins>>,
    failures: Failures,
    idempotency: Idempotency,
    counters: Counters,
    scans: Arc<Semaphore>,
}

/// What a reload replaces.
#[derive(Debug)]
pub(crate) struct Live {
    /// Who may call.
    pub(crate) keys: Keys,
    /// Most commands of a batch, and most tags of one call.
    pub(crate) max_batch: usize,
}

impl Live {
    fn new(settings: &Api) -> Arc<Self> {
        Arc::new(Self {
            keys: Keys::new(&settings.keys),
            max_batch: settings.max_batch,
        })
    }
}

impl ApiState {
    /// The API of this hub, on a node of this name; it counts as started now.
    pub(crate) fn new(
        hub: Hub,
        settings: &Api,
        node: impl Into<Arc<str>>,
        revoke: Arc<dyn Revoke>,
    ) -> Self {
        Self(Arc::new(Shared {
            hub,
            node: node.into(),
            uid: ConnectionId::random().to_string(),
            started: Instant::now(),
            path: settings.path.trim_end_matches('/').to_owned(),
            max_body: settings.max_body,
            double_wrap: settings.hotgo_double_wrap,
            live: RwLock::new(Live::new(settings)),
            revoke,
            logins: OnceLock::new(),
            failures: Failures::default(),
            idempotency: Idempotency::default(),
            counters: Counters::default(),
            scans: Arc::new(Semaphore::new(MAX_SCANS)),
        }))
    }

    /// Takes over the keys and the bounds that a reload has brought.
    pub(crate) fn reload(&self, settings: &Api) {
        *self.0.live.write().unwrap_or_else(PoisonError::into_inner) = Live::new(settings);
    }

    /// Keys and bounds as they are now.
    pub(crate) fn live(&self) -> Arc<Live> {
        self.0
            .live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The hub.
    pub(crate) fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// The name of the node.
    pub(crate) fn node(&self) -> &str {
        &self.0.node
    }

    /// The id of this run of the node.
    pub(crate) fn uid(&self) -> &str {
        &self.0.uid
    }

    /// Seconds since the start.
    pub(crate) fn uptime(&self) -> u64 {
        self.0.started.elapsed().as_secs()
    }

    /// The path of the API, without a slash at the end.
    pub(crate) fn path(&self) -> &str {
        &self.0.path
    }

    /// Longest body of a request.
    pub(crate) fn max_body(&self) -> usize {
        self.0.max_body
    }

    /// Has logins made and ended by this; once.
    pub(crate) fn set_logins(&self, logins: Arc<dyn Logins>) {
        let _ = self.0.logins.set(logins);
    }

    /// Whoever lets clients in.
    ///
    /// # Errors
    ///
    /// There is nobody.
    pub(crate) fn logins(&self) -> Result<&dyn Logins, CallError> {
        self.0
            .logins
            .get()
            .map(|logins| &**logins)
            .ok_or_else(nobody)
    }

    /// Whether hotgo's messages stand in themselves, as its server sends them.
    pub(crate) fn double_wrap(&self) -> bool {
        self.0.double_wrap
    }

    /// What keeps revoked logins out.
    pub(crate) fn revoke(&self) -> &dyn Revoke {
        &*self.0.revoke
    }

    /// Wrong keys.
    pub(crate) fn failures(&self) -> &Failures {
        &self.0.failures
    }

    /// Publications that have been made.
    pub(crate) fn idempotency(&self) -> &Idempotency {
        &self.0.idempotency
    }

    /// The counters.
    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// What has been refused so far.
    pub(crate) fn stats(&self) -> ApiStats {
        let counters = &self.0.counters;
        ApiStats {
            requests: counters.requests.load(Relaxed),
            errors: counters.errors.load(Relaxed),
            unauthorized: counters.unauthorized.load(Relaxed),
            forbidden: counters.forbidden.load(Relaxed),
            throttled: counters.throttled.load(Relaxed),
            too_large: counters.too_large.load(Relaxed),
            repeated: counters.repeated.load(Relaxed),
        }
    }

    /// Looks at many connections, away from the threads that serve them; a few at a time.
    ///
    /// # Errors
    ///
    /// The process is ending.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, what has begun is finished, and its result lost.
    pub(crate) async fn scan<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Hub) -> T + Send + 'static,
    ) -> Result<T, CallError> {
        let ending = || CallError::internal("the server is stopping");
        let permit = self.0.scans.clone().acquire_owned().await;
        let permit = permit.map_err(|_| ending())?;
        let hub = self.0.hub.clone();
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            look(&hub)
        })
        .await
        .map_err(|_| ending())
    }
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState")
            .field("node", &self.0.node)
            .field("path", &self.0.path)
            .field("live", &self.live())
            .finish_non_exhaustive()
    }
}
