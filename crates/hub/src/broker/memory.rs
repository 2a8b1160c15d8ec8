//! The bus within one process: for one node, and for tests of several without a network.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    broker::{
        Body, BoxFuture, Broker, BrokerError, Envelope, ErrorKind, Event, Lease, LeaseKey,
        LeaseKind, NodeId, Subscription,
    },
    id::ConnectionId,
    json::Json,
};

/// The bounds of a [`MemoryBroker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most events that wait for one node: 10,000. What comes then is lost, and told as [`Event::Lost`].
    pub queue: usize,
    /// Most nodes: 256. Another one's [`subscribe`](Broker::subscribe), or its first lease, is refused.
    pub nodes: usize,
    /// Most leases of all nodes: 1,000,000. Another one is refused.
    pub leases: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue: 10_000,
            nodes: 256,
            leases: 1_000_000,
        }
    }
}

/// A bus in memory; clones share it. It has no task; a node that is alone and leases nothing has no timer either.
///
/// Beyond what [`Broker`] promises, all nodes get all envelopes in one order, and a lost node's leases are told by the
/// same stream in the same place. Nodes that share no bus do not know of each other.
#[derive(Clone, Default)]
pub struct MemoryBroker(Arc<Shared>);

#[derive(Default)]
struct Shared {
    limits: Limits,
    company: AtomicBool,
    lost: AtomicU64,
    refused: AtomicU64,
    bus: Mutex<Bus>,
}

#[derive(Default)]
struct Bus {
    inboxes: HashMap<NodeId, Inbox>,
    nodes: HashMap<NodeId, Presence>,
    names: HashMap<(LeaseKind, Arc<str>), Present>,
    leases: usize,
    /// No node's leases end before this.
    next: Option<Instant>,
}

/// The leases of one name.
type Present = BTreeMap<(NodeId, ConnectionId), Json>;

/// What waits for a node: at most `queue` events and one `Lost` behind them.
#[derive(Default)]
struct Inbox {
    events: VecDeque<Event>,
    waker: Option<Waker>,
}

/// The leases of one node and their deadline.
struct Presence {
    until: Instant,
    keys: HashSet<(LeaseKind, Arc<str>, ConnectionId)>,
}

impl MemoryBroker {
    /// A bus with other bounds.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Shared {
            limits,
            ..Shared::default()
        }))
    }

    /// How many events nodes were too slow for, ever.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// How many nodes and leases were one too many, ever.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }
}

/// Without what is said and who is here.
impl fmt::Debug for MemoryBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBroker")
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Does something to the bus as it is now, and wakes whom it concerns when the lock is free again.
    fn with<T>(&self, act: impl FnOnce(&mut Bus, &mut Vec<Waker>) -> T) -> T {
        let mut wakers = Vec::new();
        let mut bus = self.lock();
        self.expire(&mut bus, &mut wakers);
        let result = act(&mut bus, &mut wakers);
        self.company.store(!bus.is_alone(), Ordering::Release);
        drop(bus);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Bus> {
        self.bus.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an event into the inboxes of those whom `is_for` names.
    fn tell(
        &self,
        bus: &mut Bus,
        event: &Event,
        is_for: impl Fn(NodeId) -> bool,
        wakers: &mut Vec<Waker>,
    ) {
        for (_, inbox) in bus.inboxes.iter_mut().filter(|(node, _)| is_for(**node)) {
            if inbox.events.len() < self.limits.queue {
                inbox.events.push_back(event.clone());
            } else {
                self.lost.fetch_add(1, Ordering::Relaxed);
                match inbox.events.back_mut() {
                    Some(Event::Lost(count)) => *count = count.saturating_add(1),
                    _ => inbox.events.push_back(Event::Lost(1)),
                }
            }
            wakers.extend(inbox.waker.take());
        }
    }

    /// Ends what has not been renewed, the longest overdue first.
    fn expire(&self, bus: &mut Bus, wakers: &mut Vec<Waker>) {
        let Some(next) = bus.next else { return };
        let now = Instant::now();
        if now < next {
            return;
        }
        let mut lost: Vec<_> = bus
            .nodes
            .iter()
            .filter(|(_, presence)| presence.until <= now)
            .map(|(node, presence)| (presence.until, *node))
            .collect();
        lost.sort_unstable();
        // Who is lost as well inherits only where nobody else is left.
        let is_lost = |node: &NodeId| lost.iter().any(|(_, other)| other == node);
        let heir = bus
            .inboxes
            .keys()
            .min_by_key(|node| (is_lost(node), **node));
        let Some(&heir) = heir else {
            lost.iter()
                .for_each(|(_, node)| drop(bus.remove_node(*node)));
            bus.next = bus.nodes.values().map(|presence| presence.until).min();
            return;
        };
        for (_, node) in lost {
            let leases = bus.remove_node(node);
            let event = Event::NodeLost {
                node,
                vacated: bus.vacated(&leases),
                leases: leases.into(),
                heir,
            };
            self.tell(bus, &event, |_| true, wakers);
        }
        bus.next = bus.nodes.values().map(|presence| presence.until).min();
    }

    fn refuse<T>(&self, what: &str, limit: usize) -> Result<T, BrokerError> {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(BrokerError::new(
            ErrorKind::Full,
            format!("the memory bus is full: it takes {limit} {what}"),
        ))
    }

    fn lease(&self, key: LeaseKey, value: Json, ttl: Duration) -> Result<usize, BrokerError> {
        self.with(|bus, wakers| {
            let name = (key.kind, Arc::clone(&key.name));
            let seat = (key.node, key.connection);
            let is_new = !bus
                .names
                .get(&name)
                .is_some_and(|seats| seats.contains_key(&seat));
            if is_new && bus.leases >= self.limits.leases {
                return self.refuse("leases", self.limits.leases);
            }
            if !bus.knows(key.node) && bus.count_nodes() >= self.limits.nodes {
                return self.refuse("nodes", self.limits.nodes);
            }
            let until = after(ttl);
            let presence = bus.nodes.entry(key.node).or_insert_with(|| Presence {
                until,
                keys: HashSet::new(),
            });
            presence.until = presence.until.max(until);
            let until = presence.until;
            presence
                .keys
                .insert((key.kind, Arc::clone(&key.name), key.connection));
            let seats = bus.names.entry(name).or_default();
            seats.insert(seat, value);
            let count = seats.len();
            bus.leases += usize::from(is_new);
            if bus.next.is_none_or(|next| until < next) {
                bus.next = Some(until);
                // Whoever waits has to set its timer anew.
                wakers.extend(
                    bus.inboxes
                        .values_mut()
                        .filter_map(|inbox| inbox.waker.take()),
                );
            }
            Ok(count)
        })
    }
}

impl Bus {
    fn knows(&self, node: NodeId) -> bool {
        self.inboxes.contains_key(&node) || self.nodes.contains_key(&node)
    }

    /// Nodes that listen, or have left leases behind.
    fn count_nodes(&self) -> usize {
        let silent = self.nodes.keys();
        self.inboxes.len()
            + silent
                .filter(|node| !self.inboxes.contains_key(node))
                .count()
    }

    fn is_alone(&self) -> bool {
        self.inboxes.len() < 2 && self.count_nodes() < 2
    }

    fn remove_node(&mut self, node: NodeId) -> Vec<Lease> {
        let keys = self.nodes.remove(&node).map(|presence| presence.keys);
        let remove = |(kind, name, connection)| {
            let key = LeaseKey {
                kind,
                name,
                node,
                connection,
            };
            self.remove_seat(&key).map(|value| Lease { key, value })
        };
        keys.into_iter().flatten().filter_map(remove).collect()
    }

    /// The names of leases that are gone which nobody has any more.
    fn vacated(&self, leases: &[Lease]) -> Arc<[(LeaseKind, Arc<str>)]> {
        let mut names: Vec<_> = leases
            .iter()
            .map(|lease| (lease.key.kind, Arc::clone(&lease.key.name)))
            .filter(|name| !self.names.contains_key(name))
            .collect();
        names.sort_unstable();
        names.dedup();
        names.into()
    }

    fn remove_seat(&mut self, key: &LeaseKey) -> Option<Json> {
        let name = (key.kind, Arc::clone(&key.name));
        let seats = self.names.get_mut(&name)?;
        let value = seats.remove(&(key.node, key.connection))?;
        if seats.is_empty() {
            self.names.remove(&name);
        }
        self.leases -= 1;
        Some(value)
    }
}

/// The moment `ttl` from now; a hundred years where the clock does not go that far.
fn after(ttl: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    Instant::now() + ttl.min(CENTURY)
}

impl Broker for MemoryBroker {
    fn publish(&self, envelope: Envelope) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            let from = envelope.from;
            let to = match envelope.body {
                Body::Answer { to, .. } => Some(to),
                _ => None,
            };
            let is_for = |node| node != from && to.is_none_or(|to| to == node);
            self.0.with(|bus, wakers| {
                let event = Event::Envelope(envelope);
                self.0.tell(bus, &event, is_for, wakers);
            });
            Ok(())
        })
    }

    fn subscribe(&self, node: NodeId) -> Result<Subscription, BrokerError> {
        self.0.with(|bus, wakers| {
            if bus.inboxes.contains_key(&node) {
                let message = format!("node {node} has subscribed to the memory bus already");
                return Err(BrokerError::new(ErrorKind::Taken, message));
            }
            if !bus.knows(node) && bus.count_nodes() >= self.0.limits.nodes {
                return self.0.refuse("nodes", self.0.limits.nodes);
            }
            self.0.tell(bus, &Event::NodeJoined(node), |_| true, wakers);
            bus.inboxes.insert(node, Inbox::default());
            Ok(Subscription::new(Inlet {
                shared: Arc::clone(&self.0),
                node,
                timer: None,
            }))
        })
    }

    fn is_alone(&self) -> bool {
        !self.0.company.load(Ordering::Acquire)
    }

    fn lease(
        &self,
        key: LeaseKey,
        value: Json,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<usize, BrokerError>> {
        Box::pin(async move { self.0.lease(key, value, ttl) })
    }

    fn renew(&self, node: NodeId, ttl: Duration) -> BoxFuture<'_, Result<bool, BrokerError>> {
        Box::pin(async move {
            Ok(self.0.with(|bus, _| {
                let presence = bus.nodes.get_mut(&node);
                presence
                    .map(|presence| presence.until = presence.until.max(after(ttl)))
                    .is_some()
            }))
        })
    }

    fn release(&self, key: LeaseKey) -> BoxFuture<'_, Result<Option<usize>, BrokerError>> {
        Box::pin(async move {
            Ok(self.0.with(|bus, _| {
                bus.remove_seat(&key)?;
                let name = (key.kind, Arc::clone(&key.name));
                let left = bus.names.get(&name).map_or(0, Present::len);
                if let Some(presence) = bus.nodes.get_mut(&key.node) {
                    presence.keys.remove(&(key.kind, key.name, key.connection));
                    if presence.keys.is_empty() {
                        bus.nodes.remove(&key.node);
                    }
                }
                Some(left)
            }))
        })
    }

    fn release_node(&self, node: NodeId) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            self.0.with(|bus, _| bus.remove_node(node));
            Ok(())
        })
    }

    fn leases(
        &self,
        kind: LeaseKind,
        name: Arc<str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Lease>, BrokerError>> {
        Box::pin(async move {
            let lease = |(&(node, connection), value): (&(NodeId, ConnectionId), &Json)| Lease {
                key: LeaseKey {
                    kind,
                    name: Arc::clone(&name),
                    node,
                    connection,
                },
                value: value.clone(),
            };
            Ok(self.0.with(|bus, _| {
                let seats = bus.names.get(&(kind, Arc::clone(&name)));
                seats.into_iter().flatten().take(limit).map(lease).collect()
            }))
        })
    }

    fn count(&self, kind: LeaseKind, name: Arc<str>) -> BoxFuture<'_, Result<usize, BrokerError>> {
        Box::pin(async move {
            let seats = self
                .0
                .with(|bus, _| bus.names.get(&(kind, name)).map(Present::len));
            Ok(seats.unwrap_or(0))
        })
    }
}

/// The reading end of an inbox. Its timer is what notices that a node is lost.
struct Inlet {
    shared: Arc<Shared>,
    node: NodeId,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stream for Inlet {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            let waker = context.waker().clone();
            let (event, next, _old) = self.shared.with(|bus, _| {
                let Some(inbox) = bus.inboxes.get_mut(&self.node) else {
                    return (None, bus.next, None);
                };
                match inbox.events.pop_front() {
                    Some(event) => (Some(event), bus.next, None),
                    None => (None, bus.next, inbox.waker.replace(waker)),
                }
            });
            if event.is_some() {
                return Poll::Ready(event);
            }
            let Some(next) = next else {
                self.timer = None;
                return Poll::Pending;
            };
            match &mut self.timer {
                Some(timer) if timer.deadline() == next => {}
                Some(timer) => timer.as_mut().reset(next),
                timer @ None => *timer = Some(Box::pin(sleep_until(next))),
            }
            if let Some(timer) = &mut self.timer
                && timer.as_mut().poll(context).is_pending()
            {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.shared.with(|bus, _| bus.inboxes.remove(&self.node));
    }
}
