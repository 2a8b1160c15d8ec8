//! What happens in a hub, told in order to whoever watches.

use std::{
    collections::VecDeque,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, RwLock, TryLockError, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use antiphon::Violation;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::{
    id::ConnectionId,
    json::Json,
    registry::{Connection, lock},
    wire::Wire,
};

/// Something that has happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Occurrence {
    /// A client has connected.
    Connected(Subject),
    /// A client is gone.
    Disconnected {
        /// Who.
        #[serde(flatten)]
        subject: Subject,
        /// Why.
        #[serde(flatten)]
        cause: Cause,
    },
    /// The first connection of a user has come.
    UserOnline {
        /// The user.
        user: Arc<str>,
    },
    /// The last connection of a user has gone.
    UserOffline {
        /// The user.
        user: Arc<str>,
    },
    /// The first connection has joined a tag.
    TagOccupied {
        /// The tag.
        tag: Arc<str>,
    },
    /// The last connection has left a tag.
    TagVacated {
        /// The tag.
        tag: Arc<str>,
    },
    /// A connection has joined a tag.
    Joined {
        /// Who.
        #[serde(flatten)]
        subject: Subject,
        /// The tag.
        tag: Arc<str>,
    },
    /// A connection has left a tag.
    Left {
        /// Who.
        #[serde(flatten)]
        subject: Subject,
        /// The tag.
        tag: Arc<str>,
    },
}

/// The connection that something has happened to.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Subject {
    /// Its id.
    pub connection: ConnectionId,
    /// Its user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// Its login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Arc<str>>,
    /// The application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<Arc<str>>,
    /// The kind of device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Arc<str>>,
    /// Where it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// When it connected.
    #[serde(skip)]
    pub connected_at: SystemTime,
    /// What it shows of itself.
    #[serde(skip)]
    pub info: Option<Json>,
    /// What it says that it is.
    #[serde(skip)]
    pub user_agent: Option<Arc<str>>,
    /// The wire that it speaks.
    #[serde(skip)]
    pub wire: Wire,
    /// When its latest message came, in Unix milliseconds.
    #[serde(skip)]
    pub last_active: u64,
    /// Of a connection that is gone: the tags that it had, in the order of their names. Otherwise none are told.
    #[serde(skip)]
    pub tags: Vec<Arc<str>>,
}

impl Subject {
    pub(crate) fn new(connection: &Connection) -> Self {
        let identity = connection.identity();
        Self {
            connection: connection.id,
            user: identity.user.clone(),
            session: identity.session.clone(),
            app: identity.app.clone(),
            platform: identity.platform.clone(),
            address: connection.address,
            connected_at: connection.connected_at,
            info: identity.info.clone(),
            user_agent: connection.user_agent.clone(),
            wire: connection.wire,
            last_active: connection.last_active.load(Relaxed),
            tags: Vec::new(),
        }
    }
}

/// Why a connection has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Cause {
    /// Who ended it.
    pub by: Side,
    /// The close code; 1005 where the client gave none, 1006 where the connection broke.
    pub code: u16,
    /// The reason, in words.
    pub reason: String,
    /// The rule of the protocol, or the bound of the connection, that the client has broken.
    #[serde(skip)]
    pub violation: Option<Violation>,
}

impl Cause {
    pub(crate) fn violating(mut self, violation: Violation) -> Self {
        self.violation = Some(violation);
        self
    }

    pub(crate) fn new(by: Side, code: u16, reason: impl Into<String>) -> Self {
        Self {
            by,
            code,
            reason: reason.into(),
            violation: None,
        }
    }
}

/// Who has ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Side {
    /// The client closed it.
    Client,
    /// The hub closed it, or the application.
    Server,
    /// It broke, or nobody answered any more.
    Network,
}

type Observer = Arc<dyn Fn(&Occurrence) + Send + Sync>;

/// Those who watch.
///
/// What happens under a lock is put into the queue under that lock, and told when the lock is free: in order, and to
/// observers that may use the hub.
pub(crate) struct Observers {
    queue: Mutex<VecDeque<Occurrence>>,
    telling: Mutex<()>,
    observers: RwLock<Vec<Observer>>,
    stream: broadcast::Sender<Arc<Occurrence>>,
}

/// Occurrences that a stream keeps for a reader that is late.
const KEPT: usize = 1024;

impl Observers {
    pub(crate) fn new() -> Self {
        Self {
            queue: Mutex::default(),
            telling: Mutex::default(),
            observers: RwLock::default(),
            stream: broadcast::Sender::new(KEPT),
        }
    }

    pub(crate) fn add(&self, observer: Observer) {
        self.observers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(observer);
    }

    pub(crate) fn stream(&self) -> broadcast::Receiver<Arc<Occurrence>> {
        self.stream.subscribe()
    }

    /// Keeps an occurrence for the next [`tell`](Self::tell).
    pub(crate) fn note(&self, occurrence: Occurrence) {
        lock(&self.queue).push_back(occurrence);
    }

    /// Tells what has been noted. Whoever tells already tells that too.
    pub(crate) fn tell(&self) {
        loop {
            let telling = match self.telling.try_lock() {
                Ok(telling) => telling,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            while let Some(occurrence) = { lock(&self.queue).pop_front() } {
                let observers = self
                    .observers
                    .read()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                for observer in &observers {
                    // An observer that panics has been reported by the panic hook, and disturbs nobody.
                    let _ = catch_unwind(AssertUnwindSafe(|| observer(&occurrence)));
                }
                if self.stream.receiver_count() > 0 {
                    let _ = self.stream.send(Arc::new(occurrence));
                }
            }
            drop(telling);
            // Somebody may have noted between the last look and the unlocking, and gone away.
            if lock(&self.queue).is_empty() {
                return;
            }
        }
    }
}
