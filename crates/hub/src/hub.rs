//! The hub itself: sends to a connection, a user, a tag or all, and the handles for it.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use serde::Serialize;
use tokio::sync::{Semaphore, broadcast};

use crate::{
    broker::Broker,
    code::{CloseReason, close},
    config::{HubConfig, Overflow, PublishRule},
    id::ConnectionId,
    identity::Identity,
    json::{BadJson, Json},
    link::Link,
    occurrence::{Observers, Occurrence, Subject},
    outbox::{Bounds, Budget, Flow, Frame, Offered, Push, unix_seconds},
    refusal::Refusal,
    registry::{Connection, Manner, Registry, lock},
    revocation::Revocation,
    share,
    target::Target,
    trace::Recorder,
    wire::Wire,
    writer::{Due, Homes},
};

/// A future that can be stored.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Connections, users and tags, and what is sent to them. Cloning is free: all clones are one hub.
///
/// ```
/// use antiphon_hub::{config::HubConfig, hub::Hub};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let hub = Hub::new(HubConfig::default());
/// let delivery = hub.tag("news").send("headline", "it works").await.unwrap();
/// assert_eq!(delivery.receivers, 0);
/// # }
/// ```
#[derive(Clone)]
pub struct Hub(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    config: RwLock<Arc<HubConfig>>,
    pub(crate) max_handlers: usize,
    pub(crate) registry: Registry,
    pub(crate) budget: Arc<Budget>,
    pub(crate) flow: Arc<Flow>,
    pub(crate) homes: Homes,
    pub(crate) counters: Counters,
    pub(crate) observers: Observers,
    pub(crate) gates: RwLock<Gates>,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) notices: crate::notice::Notices,
    /// Conversations that have ended and whose events are still being handled.
    pub(crate) unfinished: Arc<Semaphore>,
    pub(crate) draining: AtomicBool,
    pub(crate) recorder: Recorder,
    shedding: std::sync::Mutex<()>,
    /// The other nodes, where there can be any.
    pub(crate) link: Option<Arc<Link>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            link.wake();
        }
    }
}

/// What has been refused, and how connections have ended.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused_connections: AtomicU64,
    pub(crate) refused_logins: AtomicU64,
    pub(crate) bad_messages: AtomicU64,
    pub(crate) refused_messages: AtomicU64,
    pub(crate) unknown_events: AtomicU64,
    pub(crate) denied: AtomicU64,
    pub(crate) handler_panics: AtomicU64,
    pub(crate) handler_timeouts: AtomicU64,
    pub(crate) shed: AtomicU64,
    pub(crate) refused_sends: AtomicU64,
    pub(crate) authentication_timeouts: AtomicU64,
    pub(crate) refused_users: AtomicU64,
    pub(crate) refused_tags: AtomicU64,
    pub(crate) delayed_handlers: AtomicU64,
    pub(crate) delayed_fanouts: AtomicU64,
    pub(crate) full_inboxes: AtomicU64,
    pub(crate) too_deep: AtomicU64,
    pub(crate) long_names: AtomicU64,
    pub(crate) large_batches: AtomicU64,
    pub(crate) ended: RwLock<HashMap<u16, u64>>,
}

pub(crate) type Handler = Arc<dyn Fn(Client, Request) -> BoxFuture<Answer> + Send + Sync>;

/// What a handler answers: data for the reply, nothing, or why not.
pub type Answer = Result<Option<Json>, Refusal>;

/// What the application decides.
#[derive(Default)]
pub(crate) struct Gates {
    pub(crate) handlers: HashMap<Box<str>, Handler>,
    pub(crate) patterns: Vec<(Box<str>, Handler)>,
    pub(crate) middleware: Vec<Middleware>,
    pub(crate) authenticate: Option<Authenticate>,
    pub(crate) connect: Option<OnConnect>,
    pub(crate) refresh: Option<OnRefresh>,
    pub(crate) disconnect: Option<OnDisconnect>,
    pub(crate) join: Option<OnJoin>,
    pub(crate) publish: Option<OnPublish>,
    pub(crate) revoke: Vec<OnRevoke>,
}

pub(crate) type Middleware = Arc<dyn Fn(Client, Request, Next) -> BoxFuture<Answer> + Send + Sync>;
pub(crate) type Authenticate =
    Arc<dyn Fn(String) -> BoxFuture<Result<Identity, Refusal>> + Send + Sync>;
pub(crate) type OnConnect = Arc<dyn Fn(Client) -> BoxFuture<Result<(), Refusal>> + Send + Sync>;
pub(crate) type OnRefresh =
    Arc<dyn Fn(Client, Identity) -> BoxFuture<Result<Identity, Refusal>> + Send + Sync>;
pub(crate) type OnDisconnect =
    Arc<dyn Fn(Client, crate::occurrence::Cause) -> BoxFuture<()> + Send + Sync>;
pub(crate) type OnJoin =
    Arc<dyn Fn(Client, Arc<str>) -> BoxFuture<Result<(), Refusal>> + Send + Sync>;
pub(crate) type OnPublish =
    Arc<dyn Fn(Client, Publication) -> BoxFuture<Result<Publication, Refusal>> + Send + Sync>;

pub(crate) type OnRevoke = Arc<dyn Fn(&Revocation) + Send + Sync>;

/// A message that a client wants to publish to a tag itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Publication {
    /// The tag.
    pub tag: Arc<str>,
    /// The event that its members will see.
    pub event: Arc<str>,
    /// Its data.
    pub data: Option<Json>,
}

impl Publication {
    pub(crate) fn new(tag: Arc<str>, event: Arc<str>, data: Option<Json>) -> Self {
        Self { tag, event, data }
    }
}

/// What a middleware calls to go on.
pub struct Next {
    pub(crate) rest: std::vec::IntoIter<Middleware>,
    pub(crate) handler: Handler,
}

impl Next {
    /// Runs the remaining middleware and the handler.
    ///
    /// # Errors
    ///
    /// The handler's refusal.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, the handler stops where it waits.
    pub async fn run(mut self, client: Client, request: Request) -> Answer {
        match self.rest.next() {
            Some(middleware) => middleware(client, request, self).await,
            None => (self.handler)(client, request).await,
        }
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Next")
    }
}

/// An event that a client has sent.
#[derive(Clone, Debug)]
pub struct Request {
    event: Arc<str>,
    id: Option<u64>,
    data: Option<Json>,
}

impl Request {
    pub(crate) fn new(event: Arc<str>, id: Option<u64>, data: Option<Json>) -> Self {
        Self { event, id, data }
    }

    /// What it weighs in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.event.len() + self.data.as_ref().map_or(0, |data| data.as_str().len())
    }

    /// The event's name.
    #[must_use]
    pub fn event(&self) -> &str {
        &self.event
    }

    /// The number by which the client knows the reply; `None` where it expects none.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        self.id
    }

    /// The data as it came; `null` where there was none.
    #[must_use]
    pub fn data(&self) -> Json {
        self.data.clone().unwrap_or_else(Json::null)
    }
}

/// What became of a message: how many connections it met, and how it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Delivery {
    /// Connections of this node that it was for.
    pub receivers: u64,
    /// It waits for them or is being written.
    pub queued: u64,
    /// Of these: it has taken the place of an older message with its key.
    pub conflated: u64,
    /// There was no room, and they will be told.
    pub dropped: u64,
    /// There was no room, and they are being closed for it; or they were being closed already.
    pub closing: u64,
    /// The bus has it for the other nodes. How many of their connections it meets is not known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub remote: bool,
    /// The bus has failed: other nodes may not get it. This node's connections have it all the same.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unreachable: bool,
}

impl Delivery {
    pub(crate) fn count(&mut self, (offered, replaced): (Offered, bool)) {
        self.receivers += 1;
        self.conflated += u64::from(replaced);
        match offered {
            Offered::Queued => self.queued += 1,
            Offered::Dropped => self.dropped += 1,
            Offered::Slow | Offered::Closing => self.closing += 1,
        }
    }

    /// Whether nobody was there, on this node.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        self.receivers == 0
    }
}

/// Why a message was not sent to anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The data has no JSON.
    Data(BadJson),
    /// The event's name or the tag's is longer than [`HubConfig::max_name_length`], or empty.
    Name,
    /// The [`HubConfig::memory_budget`] is used up; try again when slow connections have gone.
    Memory,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(error) => write!(f, "the data cannot be sent as JSON: {error}"),
            Self::Name => f.write_str("a name is empty or too long"),
            Self::Memory => f.write_str("the memory for messages is used up"),
        }
    }
}

impl std::error::Error for SendError {}

impl From<SendError> for Refusal {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Memory => Self::internal("the memory for messages is used up"),
            other => Self::bad_request(other.to_string()),
        }
    }
}

impl Hub {
    /// A hub of its own: no other node, and no cost for one.
    #[must_use]
    pub fn new(config: HubConfig) -> Self {
        Self::linked(config, None)
    }

    /// A hub that is a node of a cluster, once it has [joined](Hub::join_cluster). Its bus is `broker`; as long as it is
    /// alone there, it publishes and leases nothing.
    #[must_use]
    pub fn with_broker(config: HubConfig, broker: Arc<dyn Broker>) -> Self {
        Self::linked(config, Some(Arc::new(Link::new(broker))))
    }

    fn linked(config: HubConfig, link: Option<Arc<Link>>) -> Self {
        Self(Arc::new(Inner {
            link,
            registry: Registry::new(),
            budget: Arc::new(Budget::new(config.memory_budget)),
            flow: Arc::default(),
            homes: Homes::default(),
            counters: Counters::default(),
            observers: Observers::new(),
            gates: RwLock::default(),
            permits: Arc::new(Semaphore::new(
                config.max_handlers.min(Semaphore::MAX_PERMITS),
            )),
            notices: crate::notice::Notices::default(),
            unfinished: Arc::new(Semaphore::new(
                config.max_handlers.min(Semaphore::MAX_PERMITS),
            )),
            draining: AtomicBool::new(false),
            recorder: Recorder::default(),
            shedding: std::sync::Mutex::default(),
            max_handlers: config.max_handlers,
            config: RwLock::new(Arc::new(config)),
        }))
    }

    /// Its bounds and policies.
    #[must_use]
    pub fn config(&self) -> Arc<HubConfig> {
        let config = self.0.config.read();
        config.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives it other bounds and policies, for what happens from now on. How many handlers run at the same time stays,
    /// and a tag that has members stays as it is.
    pub fn reconfigure(&self, config: HubConfig) {
        self.0.budget.set_limit(config.memory_budget);
        *self
            .0
            .config
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// The client with this id, if it is connected to this node.
    #[must_use]
    pub fn client(&self, id: ConnectionId) -> Option<Client> {
        self.0
            .registry
            .get(id)
            .map(|connection| self.handle(connection))
    }

    pub(crate) fn handle(&self, connection: Arc<Connection>) -> Client {
        Client {
            hub: self.clone(),
            connection,
        }
    }

    /// Calls `observer` with everything that happens, in order. It must not wait.
    pub fn observe(&self, observer: impl Fn(&Occurrence) + Send + Sync + 'static) {
        self.0.observers.add(Arc::new(observer));
    }

    /// Everything that happens from now on, for a reader that may wait. One that is late by more than 1,024 is told how
    /// many it has missed.
    #[must_use]
    pub fn occurrences(&self) -> broadcast::Receiver<Arc<Occurrence>> {
        self.0.observers.stream()
    }

    pub(crate) fn gates<T>(&self, read: impl FnOnce(&Gates) -> T) -> T {
        read(&self.0.gates.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_gates(&self, set: impl FnOnce(&mut Gates)) {
        set(&mut self.0.gates.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn bounds(&self) -> Bounds {
        let config = self.config();
        Bounds {
            bytes: config.max_outbox_bytes,
            messages: config.max_outbox_messages,
        }
    }

    /// How a tag of this name behaves.
    pub(crate) fn manner(&self, tag: &str) -> Manner {
        let config = self.config();
        match config.rule(tag) {
            Some(rule) => Manner {
                overflow: rule.overflow.unwrap_or(config.overflow),
                presence: rule.presence,
                notices: rule.notices,
                publish: rule.publish,
            },
            None => Manner {
                overflow: config.overflow,
                presence: true,
                notices: false,
                publish: PublishRule::Permitted,
            },
        }
    }

    /// Whether a name can be one of a tag, an event or a user.
    pub(crate) fn is_name(&self, name: &str) -> bool {
        !name.is_empty() && name.len() <= self.config().max_name_length
    }

    /// Puts a message into the queues of all that it is for.
    pub(crate) fn deliver(
        &self,
        target: &Target,
        message: &Outgoing,
    ) -> Result<Delivery, SendError> {
        let inner = &*self.0;
        let weight = message.weight();
        if inner.budget.is_short(weight) && !self.shed(weight) {
            inner.counters.refused_sends.fetch_add(1, Relaxed);
            return Err(SendError::Memory);
        }
        inner.flow.published.fetch_add(1, Relaxed);
        let mut delivery = Delivery::default();
        let bounds = self.bounds();
        let overflow = self.config().overflow;
        let budget = &inner.budget;
        let mut due = Due::default();
        let mut offer = |connection: &Arc<Connection>, frame: &Frame| {
            if message.except.is_none_or(|id| id != connection.id) {
                delivery.count(due.offer(connection, frame, bounds, budget));
            }
        };
        match target {
            Target::Connection(id) => {
                if let Some(connection) = inner.registry.get(*id) {
                    offer(&connection, &message.frame(inner, None, overflow));
                }
            }
            Target::User(user) => {
                if let Some(group) = inner.registry.users.get(user) {
                    let frame = message.frame(inner, None, overflow);
                    let state = group.state();
                    state
                        .members
                        .values()
                        .for_each(|member| offer(member, &frame));
                }
            }
            Target::Tag(tag) => {
                if let Some(group) = inner.registry.tags.get(tag) {
                    let mut state = group.state();
                    state.offset += 1;
                    let place = (group.name.clone(), state.offset);
                    let frame = message.frame(inner, Some(place), group.manner.overflow);
                    state
                        .members
                        .values()
                        .for_each(|member| offer(member, &frame));
                }
            }
            Target::All => {
                let frame = message.frame(inner, None, overflow);
                inner.registry.each(|connection| offer(connection, &frame));
            }
        }
        self.account(&delivery);
        share::count(delivery.receivers);
        due.write(&inner.homes, budget, &inner.flow);
        Ok(delivery)
    }

    pub(crate) fn account(&self, delivery: &Delivery) {
        let flow = &self.0.flow;
        flow.queued.fetch_add(delivery.queued, Relaxed);
        flow.conflated.fetch_add(delivery.conflated, Relaxed);
        flow.dropped.fetch_add(delivery.dropped, Relaxed);
        flow.slow.fetch_add(delivery.closing, Relaxed);
    }

    /// Closes the connections with most waiting bytes until `needed` bytes are free; whether they are.
    fn shed(&self, needed: usize) -> bool {
        let inner = &*self.0;
        let _one_at_a_time = lock(&inner.shedding);
        if !inner.budget.is_short(needed) {
            return true;
        }
        let mut waiting = Vec::new();
        inner.registry.scan(|connection| {
            let bytes = connection.outbox().bytes();
            if bytes > 0 {
                waiting.push((bytes, connection.clone()));
            }
        });
        waiting.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (bytes, connection) in waiting {
            if !inner.budget.is_short(needed) {
                return true;
            }
            tracing::warn!(connection = %connection.id, bytes, "closed as slow: the memory for messages is used up");
            connection.outbox().discard();
            inner.counters.shed.fetch_add(1, Relaxed);
            connection.close(close::SLOW);
        }
        !inner.budget.is_short(needed)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("connections", &self.0.registry.count())
            .field("users", &self.0.registry.users.count())
            .field("tags", &self.0.registry.tags.count())
            .finish_non_exhaustive()
    }
}

/// A message before it is known who gets it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) event: Arc<str>,
    pub(crate) data: Option<Json>,
    pub(crate) except: Option<ConnectionId>,
    pub(crate) key: Option<Arc<str>>,
    pub(crate) overflow: Option<Overflow>,
}

impl Outgoing {
    pub(crate) fn new(event: &str, data: Option<Json>) -> Self {
        Self {
            event: Arc::from(event),
            data,
            except: None,
            key: None,
            overflow: None,
        }
    }

    pub(crate) fn weight(&self) -> usize {
        self.event.len() + self.data.as_ref().map_or(0, |data| data.as_str().len())
    }

    pub(crate) fn frame(
        &self,
        inner: &Inner,
        tag: Option<(Arc<str>, u64)>,
        overflow: Overflow,
    ) -> Frame {
        let push = Push {
            event: self.event.clone(),
            data: self.data.clone(),
            tag,
            key: self.key.clone(),
            overflow: self.overflow.unwrap_or(overflow),
            timestamp: unix_seconds(),
        };
        Frame::push(push, &inner.budget)
    }
}

/// A connected client. Cloning is free; the handle may outlive the connection.
#[derive(Clone)]
pub struct Client {
    pub(crate) hub: Hub,
    pub(crate) connection: Arc<Connection>,
}

impl Client {
    /// The hub it is connected to.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The connection's id.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.connection.id
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        self.connection.identity()
    }

    /// Its user; `None` for an anonymous client.
    #[must_use]
    pub fn user(&self) -> Option<Arc<str>> {
        self.connection.identity().user.clone()
    }

    /// Where it comes from.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.connection.address
    }

    /// What it says that it is.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.connection.user_agent.as_deref()
    }

    /// When it connected.
    #[must_use]
    pub fn connected_at(&self) -> SystemTime {
        self.connection.connected_at
    }

    /// The wire that it speaks.
    #[must_use]
    pub fn wire(&self) -> Wire {
        self.connection.wire
    }

    /// The tags that it has joined, in no particular order.
    #[must_use]
    pub fn tags(&self) -> Vec<Arc<str>> {
        self.connection.tags()
    }

    /// What was [attached](crate::session::Hello::attachment) to the connection, if it is of this type.
    #[must_use]
    pub fn attachment<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.connection.attachment.as_deref()?.downcast_ref()
    }

    /// Says who the client is, now that more is known: for [`Hub::on_connect`], and for a new login of the same user.
    ///
    /// # Errors
    ///
    /// The connection is another user's, who is online already; nothing has changed.
    pub fn identify(&self, identity: Identity) -> Result<(), Refusal> {
        let registered = self.hub.0.registry.get(self.id()).is_some();
        if registered && identity.user != self.user() {
            return Err(Refusal::denied("the login is another user's"));
        }
        self.connection.set_identity(Arc::new(identity));
        Ok(())
    }

    /// Has this sent with the welcome, as `data` of `$connected`; in [`Hub::on_connect`]. The first one counts.
    pub fn greet(&self, data: Json) {
        let _ = self.connection.greeting.set(Box::new(data));
    }

    /// Whether it is connected and not being closed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.connection.is_closing() && self.hub.0.registry.get(self.id()).is_some()
    }

    /// Sends an event to this connection.
    ///
    /// # Errors
    ///
    /// As [`Audience::send`](crate::audience::Audience::send).
    pub fn send(&self, event: &str, data: impl Serialize) -> Result<Delivery, SendError> {
        let data = Json::of(&data).map_err(SendError::Data)?;
        if !self.hub.is_name(event) {
            return Err(SendError::Name);
        }
        let target = Target::Connection(self.id());
        self.hub.deliver(&target, &Outgoing::new(event, Some(data)))
    }

    /// Closes the connection; `false` where it is being closed already.
    pub fn disconnect(&self, reason: CloseReason) -> bool {
        self.connection.close(reason)
    }

    pub(crate) fn subject(&self) -> Subject {
        Subject::new(&self.connection)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.connection.id)
            .finish_non_exhaustive()
    }
}
