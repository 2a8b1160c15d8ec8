//! Several hubs on one bus.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use antiphon_hub::{
    broker::{
        BoxFuture, Broker, BrokerError, Envelope, Lease, LeaseKey, LeaseKind, NodeId, Subscription,
        memory::MemoryBroker,
    },
    config::HubConfig,
    hub::Hub,
    json::Json,
};
use tokio::time::sleep;

use super::{Peer, user, v2};

/// Hubs that have joined one bus, and know of each other.
pub(crate) async fn cluster(nodes: usize) -> (MemoryBroker, Vec<Hub>) {
    let bus = MemoryBroker::default();
    let mut hubs = Vec::new();
    for _ in 0..nodes {
        hubs.push(node(&bus));
    }
    settle().await;
    (bus, hubs)
}

pub(crate) fn node(bus: &MemoryBroker) -> Hub {
    let hub = Hub::with_broker(HubConfig::default(), Arc::new(bus.clone()));
    hub.join_cluster().unwrap();
    hub
}

/// Lets everything happen that is under way.
pub(crate) async fn settle() {
    sleep(Duration::from_millis(10)).await;
}

/// A client that has joined a tag.
pub(crate) async fn member(hub: &Hub, name: &str, tag: &str) -> Peer {
    let peer = v2(hub, user(name)).await;
    hub.user(name).join(tag).await.unwrap();
    peer
}

pub(crate) async fn gone(peer: Peer) {
    drop(peer.socket);
    peer.served.await.unwrap();
    settle().await;
}

/// A bus that counts what it is asked to do, and may hang.
#[derive(Clone, Default)]
pub(crate) struct Double {
    pub(crate) bus: MemoryBroker,
    pub(crate) calls: Arc<AtomicU64>,
    pub(crate) hangs: Arc<AtomicBool>,
}

impl Double {
    fn call<'a, T: Send + 'a>(&self, call: BoxFuture<'a, T>) -> BoxFuture<'a, T> {
        self.calls.fetch_add(1, Relaxed);
        if self.hangs.load(Relaxed) {
            Box::pin(std::future::pending())
        } else {
            call
        }
    }
}

impl Broker for Double {
    fn publish(&self, envelope: Envelope) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.call(self.bus.publish(envelope))
    }
    fn subscribe(&self, node: NodeId) -> Result<Subscription, BrokerError> {
        self.bus.subscribe(node)
    }
    fn is_alone(&self) -> bool {
        self.bus.is_alone()
    }
    fn lease(
        &self,
        key: LeaseKey,
        value: Json,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<usize, BrokerError>> {
        self.call(self.bus.lease(key, value, ttl))
    }
    fn renew(&self, node: NodeId, ttl: Duration) -> BoxFuture<'_, Result<bool, BrokerError>> {
        self.call(self.bus.renew(node, ttl))
    }
    fn release(&self, key: LeaseKey) -> BoxFuture<'_, Result<Option<usize>, BrokerError>> {
        self.call(self.bus.release(key))
    }
    fn release_node(&self, node: NodeId) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.call(self.bus.release_node(node))
    }
    fn leases(
        &self,
        kind: LeaseKind,
        name: Arc<str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Lease>, BrokerError>> {
        self.call(self.bus.leases(kind, name, limit))
    }
    fn count(&self, kind: LeaseKind, name: Arc<str>) -> BoxFuture<'_, Result<usize, BrokerError>> {
        self.call(self.bus.count(kind, name))
    }
}
