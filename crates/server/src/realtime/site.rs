//! What the parts of a realtime server share.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use antiphon::Running;
use antiphon_hub::{code::close, hub::Hub};

use super::Use;
use crate::{
    admin::state::Admin,
    api::state::ApiState,
    auth::{Authenticator, Defaults, State, fetch::HttpFetch, jwks::Fetch},
    config::{
        load::{Loaded, Sources},
        schema::Config,
    },
    demo,
    failure::{Exit, Failure},
    health::Health,
    hooks::Hooks,
    log,
    metrics::{Metrics, snapshot::AuthStats},
    outgoing::Http,
    traces::Traces,
    webhooks::Webhooks,
};

/// The parts of a realtime server.
pub(crate) struct Site {
    pub(crate) hub: Hub,
    pub(crate) purpose: Use,
    pub(crate) hooks: Hooks,
    pub(crate) webhooks: Webhooks,
    pub(crate) http: Http,
    pub(crate) traces: Option<Traces>,
    pub(crate) state: State,
    pub(crate) sources: Sources,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    pub(crate) api: ApiState,
    /// The admin page, where there is one.
    pub(crate) admin: Option<Admin>,
    pub(crate) running: OnceLock<Arc<Running>>,
    loaded: Mutex<Arc<Loaded>>,
    auth: RwLock<Arc<Authenticator>>,
}

impl Site {
    /// Builds everything that the configuration names; nothing listens yet.
    pub(crate) fn new(sources: Sources, loaded: Loaded, purpose: Use) -> Result<Self, Failure> {
        let config = &loaded.config;
        if purpose == Use::Real {
            log::configure(&config.logs)?;
        }
        let http = Http::new(&config.outgoing)
            .map_err(|error| Failure::new(Exit::Failure, error, "see the section [outgoing]"))?;
        let mut bounds = config.hub();
        if bounds.node.is_empty() {
            bounds.node = format!("{:08x}", rand::random::<u32>()).into();
        }
        if purpose == Use::Demo {
            bounds.tag_rules.extend(demo::rules());
        }
        let node = bounds.node.clone();
        let state = State::new(&config.auth);
        let auth = authenticator(config, &state, &http)?;
        let traces = Traces::start(&config.traces, &http, &node)?;
        let hub = Hub::new(bounds);
        let api = ApiState::new(
            hub.clone(),
            &config.api,
            node.clone(),
            state.revocations.clone(),
        );
        let admin = config.admin.token.is_some().then(|| {
            let is_dev = purpose == Use::Demo;
            Admin::new(&config.admin, api.clone(), sources.file.clone(), is_dev)
        });
        Ok(Self {
            metrics: Metrics::new(&hub),
            health: Health::new(&hub),
            api,
            admin,
            hub,
            purpose,
            hooks: Hooks::new(&config.hooks, &http).traced(traces.as_ref()),
            webhooks: Webhooks::start(&config.webhooks, &http, &node),
            http,
            traces,
            state,
            sources,
            running: OnceLock::new(),
            loaded: Mutex::new(Arc::new(loaded)),
            auth: RwLock::new(Arc::new(auth)),
        })
    }

    /// The configuration in force.
    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        self.loaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Who judges credentials.
    pub(crate) fn auth(&self) -> Arc<Authenticator> {
        self.auth
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The server listens.
    pub(crate) fn started(self: &Arc<Self>, running: &Arc<Running>) {
        let _ = self.running.set(running.clone());
        let accepting = Arc::downgrade(running);
        self.metrics.accepting(move || {
            accepting
                .upgrade()
                .map_or_else(antiphon::Stats::default, |running| running.stats())
        });
        let health = self.health.clone();
        self.metrics.readiness(move || health.is_ready());
        let http = self.http.clone();
        self.metrics.outgoing(move || http.stats());
        let api = self.api.clone();
        self.metrics.api(move || api.stats());
        if let Some(traces) = self.traces.clone() {
            self.metrics.traces(move || traces.stats());
        }
        let site = Arc::downgrade(self);
        if let Some(admin) = self.admin.clone() {
            let of = site.clone();
            admin.set_loaded(move || of.upgrade().map(|site| site.loaded()));
            self.metrics.admin(move || admin.stats());
        }
        let of = site.clone();
        self.metrics.hooks(move || {
            of.upgrade()
                .map_or_else(Vec::new, |site| site.hooks.stats())
        });
        let of = site.clone();
        self.metrics.webhooks(move || {
            of.upgrade()
                .map(|site| site.webhooks.stats())
                .unwrap_or_default()
        });
        self.metrics.auth(move || {
            site.upgrade()
                .map(|site| site.auth_stats())
                .unwrap_or_default()
        });
        self.health.listening();
    }

    fn auth_stats(&self) -> AuthStats {
        AuthStats::from(&self.state)
    }

    /// Takes over what a new configuration changes and a running server can change.
    ///
    /// # Errors
    ///
    /// The settings of auth cannot be used; nothing has changed.
    pub(crate) fn apply(&self, loaded: Loaded) -> Result<(), Failure> {
        let config = &loaded.config;
        let auth = authenticator(config, &self.state, &self.http)?;
        if self.purpose == Use::Real {
            log::configure(&config.logs)?;
        }
        let mut bounds = config.hub();
        bounds.node = self.hub.config().node.clone();
        if self.purpose == Use::Demo {
            bounds.tag_rules.extend(demo::rules());
        }
        self.hub.reconfigure(bounds);
        self.api.reload(&config.api);
        if let Some(admin) = &self.admin {
            admin.set_token(config.admin.token.as_ref());
        }
        if let Some(traces) = &self.traces {
            traces.set_sample(config.traces.sample);
        }
        self.metrics.set_token(config.metrics.token.as_ref());
        *self.auth.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(auth);
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
        Ok(())
    }

    /// What has to be done now and then.
    pub(crate) async fn chores(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_secs(60)).await;
            self.state.sweep(SystemTime::now());
        }
    }

    /// Asks all clients to go, at a pace: ten milliseconds for each, at most the time that is set.
    pub(crate) async fn drain(&self, running: &Running) {
        self.health.stopping();
        running.stop_accepting();
        let most = self.loaded().config.server.drain;
        let count = u32::try_from(self.hub.all().count()).unwrap_or(u32::MAX);
        let over = EACH.saturating_mul(count).min(most);
        tracing::info!(
            connections = count,
            seconds = over.as_secs_f64(),
            "stopping: the clients are asked to connect again elsewhere; a second signal drops them"
        );
        self.hub.drain(over, close::RESTART).await;
    }

    /// The last words to backends.
    pub(crate) async fn end(&self) {
        self.hub.leave_cluster().await;
        self.webhooks.flush(FLUSH).await;
        if let Some(traces) = &self.traces {
            traces.flush().await;
        }
    }
}

/// Time for each client in a drain.
const EACH: Duration = Duration::from_millis(10);

/// Time for webhooks at the end.
const FLUSH: Duration = Duration::from_secs(5);

fn authenticator(config: &Config, state: &State, http: &Http) -> Result<Authenticator, Failure> {
    let fetch: Arc<dyn Fetch> = Arc::new(HttpFetch {
        http: http.clone(),
        timeout: config.auth.jwks_timeout,
    });
    let defaults = Defaults {
        users: Arc::new(config.permissions.users()),
        anonymous: Arc::new(config.permissions.anonymous.clone()),
    };
    Authenticator::new(&config.auth, defaults, state.clone(), Some(fetch))
}
