//! Who is here: lists with filters and pages, and the numbers of a hub.

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    net::IpAddr,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    audience::Audience,
    hub::{Client, Hub},
    id::ConnectionId,
    json::Json,
    notice::Member,
    registry::unix_millis,
    share,
    wire::Wire,
};

/// A connection, as an operator sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Its id.
    pub id: ConnectionId,
    /// Its user.
    pub user: Option<Arc<str>>,
    /// Its login.
    pub session: Option<Arc<str>>,
    /// The application.
    pub app: Option<Arc<str>>,
    /// The kind of device.
    pub platform: Option<Arc<str>>,
    /// What it shows of itself.
    pub info: Option<Json>,
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// What it says that it is.
    pub user_agent: Option<Arc<str>>,
    /// The wire: `v1` or `v2`.
    #[serde(deserialize_with = "wire_name")]
    pub wire: Cow<'static, str>,
    /// When it connected, in Unix milliseconds.
    pub connected_at: u64,
    /// When its latest message came, in Unix milliseconds.
    pub last_active: u64,
    /// When its login ends, in Unix milliseconds.
    pub expires_at: Option<u64>,
    /// Its tags.
    pub tags: Vec<Arc<str>>,
    /// Messages that wait for it.
    pub waiting: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
}

impl Client {
    /// The connection, as an operator sees it.
    #[must_use]
    pub fn details(&self) -> ConnectionInfo {
        let connection = &self.connection;
        let identity = connection.identity();
        let (waiting, waiting_bytes) = {
            let outbox = connection.outbox();
            (outbox.len(), outbox.bytes())
        };
        let mut tags = connection.tags();
        tags.sort_unstable();
        ConnectionInfo {
            id: connection.id,
            user: identity.user.clone(),
            session: identity.session.clone(),
            app: identity.app.clone(),
            platform: identity.platform.clone(),
            info: identity.info.clone(),
            address: connection.address,
            user_agent: connection.user_agent.clone(),
            wire: Cow::Borrowed(connection.wire.name()),
            connected_at: unix_millis(connection.connected_at),
            last_active: connection.last_active.load(Relaxed),
            expires_at: identity.expires_at.map(unix_millis),
            tags,
            waiting,
            waiting_bytes,
        }
    }
}

/// The name of a wire that another node has written.
fn wire_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'static, str>, D::Error> {
    let name = String::deserialize(deserializer)?;
    let known = [Wire::V1, Wire::V2].map(Wire::name);
    let known = known.into_iter().find(|known| *known == name);
    Ok(known.map_or(Cow::Owned(name), Cow::Borrowed))
}

/// Which connections are listed. The default lists all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Filter {
    /// Of this user alone.
    pub user: Option<Arc<str>>,
    /// With this tag alone.
    pub tag: Option<Arc<str>>,
    /// Whose address has this text in it.
    pub address: Option<String>,
    /// Of this application alone.
    pub app: Option<Arc<str>>,
    /// Which connected at this time or later.
    pub since: Option<SystemTime>,
    /// Which connected before this time.
    pub until: Option<SystemTime>,
}

impl Filter {
    fn accepts(&self, client: &Client) -> bool {
        let connection = &client.connection;
        let identity = connection.identity();
        self.user
            .as_ref()
            .is_none_or(|user| identity.user.as_ref() == Some(user))
            && self
                .app
                .as_ref()
                .is_none_or(|app| identity.app.as_ref() == Some(app))
            && self.address.as_ref().is_none_or(|text| {
                connection
                    .address
                    .is_some_and(|address| address.to_string().contains(text.as_str()))
            })
            && self
                .since
                .is_none_or(|since| connection.connected_at >= since)
            && self
                .until
                .is_none_or(|until| connection.connected_at < until)
            && self.tag.as_ref().is_none_or(|tag| connection.has_tag(tag))
    }
}

/// A part of a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: usize,
}

/// Most entries of a list that are looked at for one page.
pub const MAX_WINDOW: usize = 100_000;

impl Hub {
    /// Connections of this node, the oldest first: `limit` of those that the filter accepts, after the first `offset`.
    /// `offset` and `limit` together reach no further than [`MAX_WINDOW`].
    #[must_use]
    pub fn connections(
        &self,
        filter: &Filter,
        offset: usize,
        limit: usize,
    ) -> Page<ConnectionInfo> {
        let window = offset.saturating_add(limit).min(MAX_WINDOW);
        let mut total = 0;
        // Keeps the oldest of the window; the youngest of them is on top.
        let mut kept: BinaryHeap<(SystemTime, ConnectionId)> = BinaryHeap::new();
        // An index that narrows the search is taken where there is one.
        let audience = match (&filter.user, &filter.tag) {
            (Some(user), _) => self.user(user.clone()),
            (None, Some(tag)) => self.tag(tag.clone()),
            (None, None) => self.all(),
        };
        for connection in audience.connections() {
            let client = self.handle(connection);
            if !filter.accepts(&client) {
                continue;
            }
            total += 1;
            kept.push((client.connected_at(), client.id()));
            if kept.len() > window {
                kept.pop();
            }
        }
        let items = kept
            .into_sorted_vec()
            .into_iter()
            .skip(offset)
            .filter_map(|(_, id)| self.client(id))
            .map(|client| client.details())
            .collect();
        Page { items, total }
    }

    /// Users who are online on this node, in the order of their names: at most `limit` behind `after`. With each the
    /// number of connections.
    #[must_use]
    pub fn users(&self, after: Option<&str>, limit: usize) -> Page<(Arc<str>, usize)> {
        let users = &self.0.registry.users;
        share::count(users.count());
        Page {
            items: users
                .names(after, limit.min(MAX_WINDOW), |_| true)
                .into_iter()
                .map(|user| {
                    let count = self.user(user.clone()).count();
                    (user, count)
                })
                .filter(|(_, count)| *count > 0)
                .collect(),
            total: users.count(),
        }
    }

    /// Tags that have members on this node, in the order of their names: at most `limit` behind `after` that match
    /// `pattern`. With each the number of members.
    #[must_use]
    pub fn tags(
        &self,
        pattern: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Page<(Arc<str>, usize)> {
        let tags = &self.0.registry.tags;
        share::count(tags.count());
        Page {
            items: tags
                .names(after, limit.min(MAX_WINDOW), |name| {
                    pattern.is_none_or(|pattern| crate::permission::matches(pattern, name, None))
                })
                .into_iter()
                .map(|tag| {
                    let count = self.tag(tag.clone()).count();
                    (tag, count)
                })
                .filter(|(_, count)| *count > 0)
                .collect(),
            total: tags.count(),
        }
    }

    /// What has happened so far, and how things are.
    #[must_use]
    pub fn stats(&self) -> HubStats {
        let inner = &*self.0;
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let (flow, counters) = (&inner.flow, &inner.counters);
        HubStats {
            connections: inner.registry.count(),
            users: inner.registry.users.count(),
            tags: inner.registry.tags.count(),
            memory_used: inner.budget.used(),
            memory_limit: inner.budget.limit(),
            handlers_running: inner
                .max_handlers
                .saturating_sub(inner.permits.available_permits()),
            accepted: read(&counters.accepted),
            refused_connections: read(&counters.refused_connections),
            refused_logins: read(&counters.refused_logins),
            bad_messages: read(&counters.bad_messages),
            refused_messages: read(&counters.refused_messages),
            unknown_events: read(&counters.unknown_events),
            denied: read(&counters.denied),
            handler_panics: read(&counters.handler_panics),
            handler_timeouts: read(&counters.handler_timeouts),
            shed: read(&counters.shed),
            refused_sends: read(&counters.refused_sends),
            authentication_timeouts: read(&counters.authentication_timeouts),
            refused_users: read(&counters.refused_users),
            refused_tags: read(&counters.refused_tags),
            delayed_handlers: read(&counters.delayed_handlers),
            delayed_fanouts: read(&counters.delayed_fanouts),
            full_inboxes: read(&counters.full_inboxes),
            too_deep: read(&counters.too_deep),
            long_names: read(&counters.long_names),
            large_batches: read(&counters.large_batches),
            ended: counters
                .ended
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .map(|(code, count)| (*code, *count))
                .collect(),
            published: read(&flow.published),
            queued: read(&flow.queued) + inner.budget.notices(),
            conflated: read(&flow.conflated),
            dropped: read(&flow.dropped),
            slow: read(&flow.slow),
            discarded: inner.budget.discarded(),
            written: read(&flow.written),
            written_bytes: read(&flow.written_bytes),
            received: read(&flow.received),
            received_bytes: read(&flow.received_bytes),
            cluster: inner.link.as_deref().map(|link| ClusterStats {
                nodes: link.others().len(),
                published: read(&link.counters.published),
                received: read(&link.counters.received),
                lost: read(&link.counters.lost),
                errors: read(&link.counters.errors),
                ignored: read(&link.counters.ignored),
                lost_nodes: read(&link.counters.lost_nodes),
                leases: link.desk.held(),
                refused_leases: read(&link.counters.refused_leases),
            }),
        }
    }

    /// What waits for connections at this moment: the number of connections that something waits for, the messages and
    /// the bytes. It looks at every connection.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize, usize) {
        let mut waiting = (0, 0, 0);
        self.0.registry.scan(|connection| {
            let outbox = connection.outbox();
            if outbox.len() > 0 {
                waiting.0 += 1;
                waiting.1 += outbox.len();
                waiting.2 += outbox.bytes();
            }
        });
        waiting
    }

    /// The connections with most bytes that wait for them, the largest first.
    #[must_use]
    pub fn slowest(&self, limit: usize) -> Vec<ConnectionInfo> {
        let mut kept = BinaryHeap::new();
        self.0.registry.scan(|connection| {
            let bytes = connection.outbox().bytes();
            if bytes > 0 {
                kept.push(Reverse((bytes, connection.id)));
                if kept.len() > limit {
                    kept.pop();
                }
            }
        });
        kept.into_sorted_vec()
            .into_iter()
            .filter_map(|Reverse((_, id))| self.client(id))
            .map(|client| client.details())
            .collect()
    }
}

impl Audience {
    /// The connections of this node that are meant, as others see them; at most `limit`, in no particular order.
    #[must_use]
    pub fn members(&self, limit: usize) -> Vec<Member> {
        self.some_connections(limit)
            .into_iter()
            .map(|connection| self.hub.handle(connection).member())
            .collect()
    }

    /// The clients of this node that are meant, in no particular order.
    #[must_use]
    pub fn clients(&self) -> Vec<Client> {
        self.connections()
            .into_iter()
            .map(|connection| self.hub.handle(connection))
            .collect()
    }
}

/// How a hub is, and what has happened since it began.
///
/// For messages the sums balance: `queued = written + conflated + discarded + what waits` (conflated ones that were
/// lost with their successor included).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HubStats {
    /// Connections now.
    pub connections: usize,
    /// Users online now.
    pub users: usize,
    /// Tags with members now.
    pub tags: usize,
    /// Bytes of all messages that exist now.
    pub memory_used: usize,
    /// The budget for them.
    pub memory_limit: usize,
    /// Handlers that run now.
    pub handlers_running: usize,
    /// Connections let in.
    pub accepted: u64,
    /// Connections refused because there were too many.
    pub refused_connections: u64,
    /// Connections refused by the login policy or a user's limit.
    pub refused_logins: u64,
    /// Messages that could not be read.
    pub bad_messages: u64,
    /// Messages refused because there were too many.
    pub refused_messages: u64,
    /// Messages with an event that nobody handles.
    pub unknown_events: u64,
    /// Messages that were not allowed.
    pub denied: u64,
    /// Handlers that panicked.
    pub handler_panics: u64,
    /// Handlers that took too long.
    pub handler_timeouts: u64,
    /// Connections closed because the memory budget was used up.
    pub shed: u64,
    /// Sends refused because it was used up all the same.
    pub refused_sends: u64,
    /// Clients that did not say in time who they are. They are among the refused logins.
    pub authentication_timeouts: u64,
    /// Connections of users who have as many as they may have. They are among the refused logins.
    pub refused_users: u64,
    /// Tags that were not joined because the connection has as many as it may have.
    pub refused_tags: u64,
    /// Events that had to wait because as many handlers ran as may run.
    pub delayed_handlers: u64,
    /// How often the events of a connection had to wait because others, too, cause many deliveries.
    pub delayed_fanouts: u64,
    /// Messages refused because too many of the same client wait. They are among the refused messages.
    pub full_inboxes: u64,
    /// Messages that could not be read because they nest too deep. They are among the bad messages.
    pub too_deep: u64,
    /// Messages refused for a name that is too long.
    pub long_names: u64,
    /// Messages refused because too many stood in one frame. They are among the bad messages.
    pub large_batches: u64,
    /// Ended connections by close code.
    pub ended: BTreeMap<u16, u64>,
    /// Sends.
    pub published: u64,
    /// Messages put into a connection's queue, with replies and notices. Each of them is written, conflated or discarded in
    /// the end.
    pub queued: u64,
    /// Messages that a newer one with the same key has replaced.
    pub conflated: u64,
    /// Messages dropped because a queue was full; the client is told.
    pub dropped: u64,
    /// Messages for connections that were closed for a full queue, or were being closed.
    pub slow: u64,
    /// Messages that still waited when a connection ended.
    pub discarded: u64,
    /// Messages written.
    pub written: u64,
    /// Bytes of them, before framing.
    pub written_bytes: u64,
    /// Messages received.
    pub received: u64,
    /// Bytes of them.
    pub received_bytes: u64,
    /// What has been said to other nodes, and how that went; `None` where there can be none.
    pub cluster: Option<ClusterStats>,
}

/// What has happened between this node and the others since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClusterStats {
    /// Other nodes that are there now.
    pub nodes: usize,
    /// Envelopes given to the bus.
    pub published: u64,
    /// Envelopes of other nodes that came.
    pub received: u64,
    /// Events that this node was too slow for.
    pub lost: u64,
    /// Calls of the bus that failed or did not end in time.
    pub errors: u64,
    /// Envelopes that this node does not know what to do with: of a newer version, or answers that came too late.
    pub ignored: u64,
    /// Nodes that went without a goodbye.
    pub lost_nodes: u64,
    /// Leases that the bus has of this node now: a connection of a user, or in a tag whose members may be asked for.
    pub leases: usize,
    /// Leases that the bus has refused for good.
    pub refused_leases: u64,
}
