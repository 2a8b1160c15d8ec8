//! A hub's end of the bus: what it says to the other nodes, who they are, and how often that has failed.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, timeout},
};

use crate::{
    broker::{Body, Broker, BrokerError, CALL_TIMEOUT, Envelope, ErrorKind, NodeId, NodeInfo},
    desk::Desk,
    json::Json,
    registry::lock,
};

/// How often a node says that it is there, and renews its leases.
pub const HEARTBEAT: Duration = Duration::from_secs(3);

/// After this silence a node is gone, and its leases run out.
pub const NODE_TTL: Duration = Duration::from_secs(10);

/// Most nodes that a node knows: 1,024. One more is not listed and not waited for.
pub const MAX_NODES: usize = 1024;

/// Most commands that wait for the bus because nobody could wait with them; one more is not said, and counted as an error.
pub const MAX_UNSAID: usize = 1024;

/// A hub's end of the bus.
pub(crate) struct Link {
    pub(crate) node: NodeId,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) counters: LinkCounters,
    pub(crate) started: Instant,
    /// Somebody reads what the others say.
    pub(crate) joined: AtomicBool,
    /// There are others, or have been: who is here is the bus's to count.
    pub(crate) active: AtomicBool,
    pub(crate) desk: Desk,
    others: Mutex<BTreeMap<NodeId, Other>>,
    /// Those who wait for answers, by the number of their query.
    asking: Mutex<HashMap<u128, mpsc::Sender<(NodeId, Json)>>>,
    /// Whoever wants the node to leave, and waits for it.
    leaving: Mutex<Option<oneshot::Sender<()>>>,
    /// What is to be said by whoever reads the stream.
    unsaid: Mutex<VecDeque<Body>>,
    notify: Notify,
}

/// What has happened between this node and the others.
#[derive(Debug, Default)]
pub(crate) struct LinkCounters {
    pub(crate) published: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) ignored: AtomicU64,
    pub(crate) lost_nodes: AtomicU64,
    pub(crate) refused_leases: AtomicU64,
}

/// Another node, and when it was last heard of.
struct Other {
    heard: Instant,
    info: Option<NodeInfo>,
}

impl Link {
    pub(crate) fn new(broker: Arc<dyn Broker>) -> Self {
        Self {
            node: NodeId::random(),
            broker,
            counters: LinkCounters::default(),
            started: Instant::now(),
            joined: AtomicBool::new(false),
            active: AtomicBool::new(false),
            desk: Desk::default(),
            others: Mutex::default(),
            asking: Mutex::default(),
            leaving: Mutex::default(),
            unsaid: Mutex::default(),
            notify: Notify::new(),
        }
    }

    /// Whether there is nobody to talk to.
    pub(crate) fn is_alone(&self) -> bool {
        !self.joined.load(Relaxed) || self.broker.is_alone()
    }

    /// Says something to the other nodes; whether the bus has taken it. Ends in time, whatever the bus does.
    pub(crate) async fn publish(&self, body: Body) -> bool {
        let envelope = Envelope {
            from: self.node,
            body,
        };
        self.counters.published.fetch_add(1, Relaxed);
        self.bounded(self.broker.publish(envelope)).await.is_ok()
    }

    /// Has something said soon, for who cannot wait.
    pub(crate) fn say_soon(&self, body: Body) {
        let mut unsaid = lock(&self.unsaid);
        if unsaid.len() >= MAX_UNSAID {
            self.counters.errors.fetch_add(1, Relaxed);
            return;
        }
        unsaid.push_back(body);
        drop(unsaid);
        self.wake();
    }

    pub(crate) fn unsaid(&self) -> Option<Body> {
        lock(&self.unsaid).pop_front()
    }

    /// A call of the bus with an end.
    pub(crate) async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<T, BrokerError> {
        let outcome = timeout(CALL_TIMEOUT, call).await.unwrap_or_else(|_| {
            Err(BrokerError::new(
                ErrorKind::Timeout,
                "the bus has not answered in time",
            ))
        });
        if let Err(error) = &outcome {
            self.counters.errors.fetch_add(1, Relaxed);
            tracing::warn!(node = %self.node, "a call of the bus has failed: {error}");
        }
        outcome
    }

    /// Notes that a node is there.
    pub(crate) fn hear(&self, node: NodeId, info: Option<NodeInfo>) {
        let mut others = lock(&self.others);
        if !others.contains_key(&node) && others.len() >= MAX_NODES {
            return;
        }
        let heard = Instant::now();
        let other = others.entry(node).or_insert(Other { heard, info: None });
        other.heard = heard;
        if info.is_some() {
            other.info = info;
        }
    }

    /// Forgets a node.
    pub(crate) fn forget(&self, node: NodeId) {
        lock(&self.others).remove(&node);
    }

    /// The other nodes that have been heard of lately, with what they have said of themselves.
    pub(crate) fn others(&self) -> Vec<(NodeId, Option<NodeInfo>)> {
        let mut others = lock(&self.others);
        others.retain(|_, other| other.heard.elapsed() < NODE_TTL);
        others
            .iter()
            .map(|(node, other)| (*node, other.info.clone()))
            .collect()
    }

    /// Waits for the answers to a query.
    pub(crate) fn expect(&self, query: u128) -> mpsc::Receiver<(NodeId, Json)> {
        let (sender, receiver) = mpsc::channel(MAX_NODES);
        lock(&self.asking).insert(query, sender);
        receiver
    }

    /// Does not wait any more.
    pub(crate) fn give_up(&self, query: u128) {
        lock(&self.asking).remove(&query);
    }

    /// Hands an answer to whoever waits for it; `false` where nobody does.
    pub(crate) fn answer(&self, query: u128, node: NodeId, answer: Json) -> bool {
        lock(&self.asking)
            .get(&query)
            .is_some_and(|sender| sender.try_send((node, answer)).is_ok())
    }

    /// Asks whoever reads the stream to leave.
    pub(crate) fn ask_to_leave(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        *lock(&self.leaving) = Some(sender);
        self.wake();
        receiver
    }

    pub(crate) fn is_leaving(&self) -> bool {
        lock(&self.leaving).is_some()
    }

    pub(crate) fn left(&self) {
        if let Some(sender) = lock(&self.leaving).take() {
            // Who has asked may have gone.
            let _ = sender.send(());
        }
    }

    /// Tells whoever reads the stream that there is something to do.
    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}
