//! Many hubs that are one: what the other nodes say is done here, and what is asked is asked everywhere.

mod present;
mod revoke;
mod survey;

use std::{
    future::ready,
    sync::{
        Arc, Weak,
        atomic::Ordering::{AcqRel, Acquire, Relaxed},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    task::{JoinError, JoinSet, yield_now},
    time::{Instant, sleep_until, timeout},
};

pub use self::present::Present;
pub use self::survey::{MAX_SURVEYED, Survey};
use crate::{
    broker::{
        Body, BrokerError, CALL_TIMEOUT, Control, Envelope, Event, LeaseKey, NodeId, NodeInfo,
        Publish, Subscription,
    },
    code::{CloseReason, close},
    desk::{Job, Name, News},
    hub::{Hub, Inner, Outgoing},
    id::ConnectionId,
    json::Json,
    link::{HEARTBEAT, Link, NODE_TTL},
    registry::unix_millis,
    revocation::Revocation,
};

/// Most calls of the bus that a node has on their way for others: answers to what they ask. Beyond it a question is not
/// answered, and counted as ignored.
pub const MAX_ANSWERING: usize = 64;

/// Most calls of the bus that a node has on their way to tell who comes and goes here; others wait for their turn.
pub const MAX_LEASING: usize = 64;

/// How long the bus is left alone after a call that has failed, before who comes and goes is told it again.
pub const PAUSE: Duration = Duration::from_millis(500);

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
    /// From then on [`UserOnline`](crate::occurrence::Occurrence::UserOnline) and its like, also those of tags whose members
    /// may be asked for, are told by one node of all, when the first connection of all nodes comes or the last goes. That
    /// is the bus's to count, so they come when it has. When a node is lost another one tells who is offline for it.
    /// While the second node of a cluster joins, or where the bus has lost what it knew, one may be told twice; where an
    /// answer of the bus is lost, one may be missing. A node that was alone and is not any more keeps to this.
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
        if link.active.load(Acquire) {
            // It has left before, and has released everything.
            self.share_all(link, true);
        }
        let node = Node {
            hub: Arc::downgrade(&self.0),
            link: link.clone(),
            calls: JoinSet::new(),
            saying: 0,
            leasing: 0,
            renewing: false,
            paused: None,
        };
        tokio::spawn(node.run(subscription));
        Ok(())
    }

    /// Leaves the cluster in good order: after [`drain`](Hub::drain), before the process ends. Nothing is heard from
    /// other nodes any more, and nothing told them. Connections that are still there are not counted any more. Ends
    /// within twice [`CALL_TIMEOUT`].
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
        let _ = timeout(CALL_TIMEOUT * 2, link.ask_to_leave()).await;
    }

    /// This node and the others that are there, by their ids. A node is heard of every [`HEARTBEAT`], and gone after
    /// [`NODE_TTL`] without. Empty for a hub that has no bus.
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
            Control::Supersede {
                user,
                connection,
                connected_at,
                platform,
            } => {
                // Of two that come at the same time one stays, and it is the same one on both nodes.
                let newest = (connected_at, connection);
                for older in self.user(user).connections() {
                    let is_older = (unix_millis(older.connected_at), older.id) < newest;
                    let is_meant = platform
                        .as_ref()
                        .is_none_or(|platform| older.identity().platform == platform.0);
                    if is_older && is_meant {
                        older.close(close::LOGGED_IN_ELSEWHERE);
                    }
                }
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

/// The task that reads what the others say, and tells the bus who is here.
struct Node {
    hub: Weak<Inner>,
    link: Arc<Link>,
    calls: JoinSet<Done>,
    saying: usize,
    leasing: usize,
    renewing: bool,
    /// Until when the bus is left alone after an error.
    paused: Option<Instant>,
}

/// A call of the bus that has ended.
enum Done {
    Said,
    Leased(Name, ConnectionId, Json, Result<usize, BrokerError>),
    Released(Name, ConnectionId, Result<Option<usize>, BrokerError>),
    Renewed(Result<bool, BrokerError>),
}

impl Node {
    async fn run(mut self, mut events: Subscription) {
        let mut pulse = Instant::now();
        let mut burst = 0;
        let mut leaving: Option<Instant> = None;
        while self.hub.strong_count() > 0 {
            if self.link.is_leaving() {
                let until = *leaving.get_or_insert_with(|| {
                    self.link.desk.leave();
                    Instant::now() + CALL_TIMEOUT
                });
                if self.link.desk.is_empty() || Instant::now() >= until {
                    break;
                }
            }
            // Looked at before every event: a flood of them must not keep a node from renewing its leases.
            let now = Instant::now();
            if now >= pulse {
                pulse = now + HEARTBEAT;
                self.beat();
            }
            self.paused = self.paused.filter(|paused| *paused > now);
            self.start();
            let wait = [Some(pulse), self.paused, leaving];
            let wait = wait.into_iter().flatten().min().unwrap_or(pulse);
            // Events go first: the loss of a node comes before what the bus has counted since.
            tokio::select! {
                biased;
                event = events.next(), if burst < BURST => {
                    burst += 1;
                    match event {
                        Some(event) => self.handle(event),
                        None => break,
                    }
                }
                () = ready(()), if burst >= BURST => {
                    burst = 0;
                    while let Some(done) = self.calls.try_join_next() {
                        self.finish(done);
                    }
                    yield_now().await;
                }
                Some(done) = self.calls.join_next(), if !self.calls.is_empty() => self.finish(done),
                () = self.link.woken() => {}
                () = sleep_until(wait) => {}
            }
        }
        self.link.joined.store(false, Relaxed);
        self.link.desk.clear();
        drop(events);
        self.link.left();
    }

    /// Gives the bus what there is to tell it, so much at a time.
    fn start(&mut self) {
        while self.saying < MAX_ANSWERING
            && let Some(body) = self.link.unsaid()
        {
            self.say(body);
        }
        if self.paused.is_some() {
            return;
        }
        while self.leasing < MAX_LEASING
            && let Some(job) = self.link.desk.next()
        {
            self.leasing += 1;
            let link = self.link.clone();
            self.calls.spawn(async move {
                let node = link.node;
                let key = |(kind, name): Name, connection| LeaseKey {
                    kind,
                    name,
                    node,
                    connection,
                };
                match job {
                    Job::Lease(name, connection, value) => {
                        let key = key(name.clone(), connection);
                        let lease = link.broker.lease(key, value.clone(), NODE_TTL);
                        let outcome = link.bounded(lease).await;
                        Done::Leased(name, connection, value, outcome)
                    }
                    Job::Release(name, connection) => {
                        let release = link.broker.release(key(name.clone(), connection));
                        let outcome = link.bounded(release).await;
                        Done::Released(name, connection, outcome)
                    }
                }
            });
        }
    }

    fn finish(&mut self, done: Result<Done, JoinError>) {
        // A broker that panics has a bug, and has been reported by the panic hook.
        let Ok(done) = done else { return };
        let (news, error) = match done {
            Done::Said => {
                self.saying -= 1;
                return;
            }
            Done::Renewed(renewed) => {
                self.renewing = false;
                if renewed == Ok(false) {
                    self.link.desk.again(false);
                }
                return;
            }
            Done::Leased(name, connection, value, outcome) => {
                let news = self.link.desk.leased(name, connection, value, &outcome);
                (news, outcome.err())
            }
            Done::Released(name, connection, outcome) => {
                let news = self.link.desk.released(name, connection, &outcome);
                (news, outcome.err())
            }
        };
        self.leasing -= 1;
        match error {
            Some(error) if error.is_temporary() => self.paused = Some(Instant::now() + PAUSE),
            Some(_) => {
                self.link.counters.refused_leases.fetch_add(1, Relaxed);
            }
            None => {}
        }
        if let Some(news) = news
            && let Some(hub) = self.hub.upgrade().map(Hub)
        {
            hub.note_news(news);
            hub.0.observers.tell();
        }
    }

    /// From now on the bus counts who is here.
    fn activate(&self, hub: &Hub) {
        if !self.link.is_alone() && !self.link.active.swap(true, AcqRel) {
            hub.share_all(&self.link, false);
        }
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
                self.link.desk.again(false);
                self.beat();
            }
            Event::NodeJoined(node) => {
                tracing::info!(%node, "another node is there");
                self.link.hear(node, None);
                self.beat();
            }
            Event::NodeLost {
                node,
                vacated,
                heir,
                ..
            } => {
                counters.lost_nodes.fetch_add(1, Relaxed);
                tracing::warn!(%node, "a node is lost");
                self.link.desk.vacated(&vacated);
                if heir == self.link.node {
                    for name in vacated.iter() {
                        hub.note_news(News::Absent(name.clone()));
                    }
                    hub.0.observers.tell();
                }
                if node == self.link.node {
                    self.link.desk.again(true);
                } else {
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
                    Some(answer) if self.saying < MAX_ANSWERING => self.say(Body::Answer {
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

    /// Says that this node is there, if there is anybody to hear it, and keeps its leases.
    fn beat(&mut self) {
        let Some(hub) = self.hub.upgrade().map(Hub) else {
            return;
        };
        self.activate(&hub);
        if !self.link.is_alone() && self.saying < MAX_ANSWERING {
            let info = hub.node_info(&self.link);
            self.say(Body::Node(info));
        }
        if self.link.desk.held() > 0 && !self.renewing {
            self.renewing = true;
            let link = self.link.clone();
            self.calls.spawn(async move {
                let renew = link.broker.renew(link.node, NODE_TTL);
                Done::Renewed(link.bounded(renew).await)
            });
        }
    }

    fn say(&mut self, body: Body) {
        self.saying += 1;
        let link = self.link.clone();
        self.calls.spawn(async move {
            link.publish(body).await;
            Done::Said
        });
    }
}
