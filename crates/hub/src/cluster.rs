//! Many hubs that are one: what the other nodes say is done here, and what is asked is asked everywhere.

mod revoke;
mod survey;

use std::{
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use tokio::{
    task::{JoinSet, yield_now},
    time::{Interval, MissedTickBehavior, interval, timeout},
};

pub use self::survey::{MAX_SURVEYED, Survey};
use crate::{
    broker::{
        Body, BrokerError, CALL_TIMEOUT, Control, Envelope, Event, NodeId, NodeInfo, Publish,
        Subscription,
    },
    code::CloseReason,
    hub::{Hub, Inner, Outgoing},
    link::{HEARTBEAT, Link},
    revocation::Revocation,
};

/// Most calls of the bus that a node has on their way for others: answers to what they ask. Beyond it a question is not
/// answered, and counted as ignored.
pub const MAX_ANSWERING: usize = 64;

/// After so many events of the bus others get their turn.
const BURST: usize = 128;

impl Hub {
    /// The node that this hub is; `None` for one that has no bus.
    #[must_use]
    pub fn node_id(&self) -> Option<NodeId> {
        self.0.link.as_deref().map(|link| link.node)
    }

    /// Joins the other nodes on the bus: from now on everything that is sent, commanded and asked concerns them all. To
    /// be called before the first connection. What a hub without a bus has to join is nothing; it succeeds.
    ///
    /// The reading is a task that ends with the hub.
    ///
    /// # Errors
    ///
    /// The hub has joined already, or the bus refuses the node.
    ///
    /// # Panics
    ///
    /// If called outside of a tokio runtime.
    pub fn join_cluster(&self) -> Result<(), BrokerError> {
        let Some(link) = &self.0.link else {
            return Ok(());
        };
        let subscription = link.broker.subscribe(link.node)?;
        link.joined.store(true, Relaxed);
        let node = Node {
            hub: Arc::downgrade(&self.0),
            link: link.clone(),
            calls: JoinSet::new(),
        };
        tokio::spawn(node.run(subscription));
        Ok(())
    }

    /// Leaves the cluster in good order: after [`drain`](Hub::drain), before the process ends. Nothing is heard from
    /// other nodes any more, and nothing told them. Ends within [`CALL_TIMEOUT`].
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it goes on by itself.
    pub async fn leave_cluster(&self) {
        let Some(link) = &self.0.link else { return };
        if !link.joined.load(Relaxed) {
            return;
        }
        // Who does not answer in time is left all the same: its leases run out.
        let _ = timeout(CALL_TIMEOUT, link.ask_to_leave()).await;
    }

    /// This node and the others that are there, by their ids. A node is heard of every [`HEARTBEAT`], and gone after
    /// [`NODE_TTL`](crate::link::NODE_TTL) without. Empty for a hub that has no bus.
    #[must_use]
    pub fn cluster_info(&self) -> Vec<NodeInfo> {
        let Some(link) = self.0.link.as_deref() else {
            return Vec::new();
        };
        let mut nodes: Vec<NodeInfo> = link
            .others()
            .into_iter()
            .filter_map(|(_, info)| info)
            .collect();
        nodes.push(self.node_info(link));
        nodes.sort_unstable_by_key(|node| node.id);
        nodes
    }

    fn node_info(&self, link: &Link) -> NodeInfo {
        let inner = &*self.0;
        let name = self.config().node.clone();
        NodeInfo {
            id: link.node,
            name: (!name.is_empty()).then_some(name),
            version: Arc::from(env!("CARGO_PKG_VERSION")),
            connections: inner.registry.count() as u64,
            users: inner.registry.users.count() as u64,
            tags: inner.registry.tags.count() as u64,
            uptime: link.started.elapsed().as_secs(),
        }
    }

    /// Does what another node wants done.
    fn obey(&self, control: Control) {
        match control {
            Control::Disconnect {
                target,
                code,
                reason,
                except,
            } => {
                let mut audience = self.audience(target);
                audience.except = except;
                audience.disconnect_here(&CloseReason::new(code, reason.to_string()));
            }
            Control::Join {
                target,
                tag,
                except,
            } => {
                let mut audience = self.audience(target);
                audience.except = except;
                if let Err(refusal) = audience.join_here(&tag) {
                    tracing::debug!(%tag, "a connection does not join as another node wants: {refusal}");
                }
            }
            Control::Leave {
                target,
                tag,
                except,
            } => {
                let mut audience = self.audience(target);
                audience.except = except;
                audience.leave_here(&tag);
            }
            Control::Refresh {
                target,
                expires_at,
                except,
            } => {
                let mut audience = self.audience(target);
                audience.except = except;
                audience.refresh_here(expires_at.map(moment));
            }
            Control::Revoke {
                what,
                user,
                before,
                until,
            } => {
                let mut revocation = Revocation::new(what, moment(until));
                revocation.user = user;
                revocation.before = before.map(moment);
                self.revoke_here(&revocation);
            }
        }
    }

    /// Delivers what another node has published.
    fn relay(&self, publish: Publish) {
        let message = Outgoing {
            event: publish.event,
            data: publish.data,
            except: publish.except,
            key: publish.key,
            overflow: publish.overflow,
        };
        if let Err(error) = self.deliver(&publish.target, &message) {
            tracing::warn!(target = %publish.target, "a message of another node is not delivered: {error}");
        }
    }
}

/// The moment so many milliseconds after 1970; far ahead where the clock does not go that far.
fn moment(millis: u64) -> SystemTime {
    const FAR: Duration = Duration::from_secs(253_402_300_799);
    let since = Duration::from_millis(millis).min(FAR);
    SystemTime::UNIX_EPOCH + since
}

/// The task that reads what the others say.
struct Node {
    hub: Weak<Inner>,
    link: Arc<Link>,
    calls: JoinSet<()>,
}

impl Node {
    async fn run(mut self, mut events: Subscription) {
        let mut pulse: Interval = interval(HEARTBEAT);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut burst = 0;
        while self.hub.strong_count() > 0 && !self.link.is_leaving() {
            tokio::select! {
                biased;
                event = events.next(), if burst < BURST => {
                    burst += 1;
                    match event {
                        Some(event) => self.handle(event),
                        None => break,
                    }
                }
                () = std::future::ready(()), if burst >= BURST => {
                    burst = 0;
                    while self.calls.try_join_next().is_some() {}
                    yield_now().await;
                }
                Some(_) = self.calls.join_next(), if !self.calls.is_empty() => {}
                _ = pulse.tick() => self.beat(),
                () = self.link.woken() => burst = 0,
            }
        }
        self.link.joined.store(false, Relaxed);
        drop(events);
        self.link.left();
    }

    fn handle(&mut self, event: Event) {
        let Some(hub) = self.hub.upgrade().map(Hub) else {
            return;
        };
        let counters = &self.link.counters;
        match event {
            Event::Envelope(envelope) => {
                counters.received.fetch_add(1, Relaxed);
                self.read(&hub, envelope);
            }
            Event::Lost(count) => {
                counters.lost.fetch_add(count, Relaxed);
                tracing::warn!(count, "this node was too slow for what others have said");
            }
            Event::Disconnected => tracing::warn!("the bus cannot be reached"),
            Event::Reconnected => {
                tracing::info!("the bus can be reached again");
                self.beat();
            }
            Event::NodeJoined(node) => {
                tracing::info!(%node, "another node is there");
                self.link.hear(node, None);
                self.beat();
            }
            Event::NodeLost { node, .. } => {
                counters.lost_nodes.fetch_add(1, Relaxed);
                tracing::warn!(%node, "a node is lost");
                if node != self.link.node {
                    self.link.forget(node);
                }
            }
        }
    }

    fn read(&mut self, hub: &Hub, envelope: Envelope) {
        let from = envelope.from;
        match envelope.body {
            Body::Publish(publish) => hub.relay(publish),
            Body::Control(control) => hub.obey(control),
            Body::Node(info) => self.link.hear(from, Some(info)),
            Body::Answer { id, answer, .. } => {
                if !self.link.answer(id, from, answer) {
                    self.link.counters.ignored.fetch_add(1, Relaxed);
                }
            }
            Body::Query { id, question } => {
                self.link.hear(from, None);
                match hub.reply(&question) {
                    Some(answer) if self.calls.len() < MAX_ANSWERING => self.say(Body::Answer {
                        id,
                        to: from,
                        answer,
                    }),
                    _ => {
                        self.link.counters.ignored.fetch_add(1, Relaxed);
                    }
                }
            }
        }
    }

    /// Says that this node is there, if there is anybody to hear it.
    fn beat(&mut self) {
        let Some(hub) = self.hub.upgrade().map(Hub) else {
            return;
        };
        if !self.link.is_alone() && self.calls.len() < MAX_ANSWERING {
            let info = hub.node_info(&self.link);
            self.say(Body::Node(info));
        }
    }

    fn say(&mut self, body: Body) {
        let link = self.link.clone();
        self.calls.spawn(async move {
            link.publish(body).await;
        });
    }
}
