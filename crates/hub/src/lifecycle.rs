//! Coming and going: who is let in, who has to leave for it, and what others are told.

use std::{
    sync::{
        Arc,
        atomic::Ordering::{Acquire, Relaxed},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    audience::{Audience, Reached},
    broker::{Body, Control, LeaseKind, Platform},
    code::{CloseReason, ErrorCode, close, event},
    config::LoginPolicy,
    desk::News,
    hub::{Client, Hub},
    id::ConnectionId,
    identity::Identity,
    json::Json,
    link::Link,
    notice::Member,
    occurrence::{Cause, Occurrence},
    outbox::{Frame, Push, unix_seconds},
    refusal::Refusal,
    registry::{Connection, Group, Members, NotJoined, State, unix_millis},
    wire::Wire,
    writer::Due,
};

/// The place of a member in a tag: what has been sent before it is not for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Position {
    /// The number of the latest message to the tag.
    pub offset: u64,
    /// Tells this life of the tag from earlier ones: offsets of different epochs have nothing to do with each other.
    pub epoch: String,
}

impl Hub {
    /// Lets a connection in.
    pub(crate) fn admit(&self, client: &Client) -> Result<(), Refusal> {
        let inner = &*self.0;
        let connection = &client.connection;
        if inner.draining.load(Relaxed) {
            return Err(closing(close::RESTART));
        }
        if !inner.registry.reserve(self.config().max_connections) {
            inner.counters.refused_connections.fetch_add(1, Relaxed);
            return Err(closing(close::TRY_AGAIN_LATER));
        }
        let identity = connection.identity();
        let mut replaced = Vec::new();
        // Whoever is found by its user can be joined to a tag.
        connection.open();
        if let Some(user) = &identity.user {
            let admitted = inner.registry.users.insert(
                user,
                connection,
                |_| self.manner(""),
                |members| self.judge_login(&identity, members),
                |group, _, first| {
                    if !self.arrive(LeaseKind::User, group, first, client) && first {
                        inner
                            .observers
                            .note(Occurrence::UserOnline { user: user.clone() });
                    }
                },
            );
            match admitted {
                Ok((_, older)) => replaced = older,
                Err(refusal) => {
                    connection.shut();
                    inner.registry.unreserve();
                    inner.counters.refused_logins.fetch_add(1, Relaxed);
                    return Err(refusal);
                }
            }
        }
        inner.registry.insert(connection);
        inner.counters.accepted.fetch_add(1, Relaxed);
        inner
            .observers
            .note(Occurrence::Connected(client.subject()));
        inner.observers.tell();
        for older in replaced {
            older.close(close::LOGGED_IN_ELSEWHERE);
        }
        self.supersede(client);
        if inner.draining.load(Relaxed) {
            // A drain that has begun meanwhile may not have seen it.
            connection.close(close::RESTART);
        }
        Ok(())
    }

    /// Tells the other nodes whom a login drives out there.
    fn supersede(&self, client: &Client) {
        let Some(link) = self.0.link.as_deref().filter(|link| !link.is_alone()) else {
            return;
        };
        let policy = self.config().login;
        let identity = client.identity();
        if let Some(user) = &identity.user
            && matches!(policy, LoginPolicy::Newest | LoginPolicy::Platform)
        {
            link.say_soon(Body::Control(Control::Supersede {
                user: user.clone(),
                connection: client.id(),
                connected_at: unix_millis(client.connected_at()),
                platform: (policy == LoginPolicy::Platform)
                    .then(|| Platform(identity.platform.clone())),
            }));
        }
    }

    /// Whom a login drives out, if it is allowed at all.
    fn judge_login(
        &self,
        identity: &Identity,
        members: &Members,
    ) -> Result<Vec<Arc<Connection>>, Refusal> {
        let config = self.config();
        let older: Vec<Arc<Connection>> = match config.login {
            LoginPolicy::All => Vec::new(),
            LoginPolicy::Oldest if members.values().any(|member| !member.is_closing()) => {
                return Err(closing(close::LOGGED_IN_ELSEWHERE));
            }
            LoginPolicy::Oldest => Vec::new(),
            LoginPolicy::Newest => members.values().cloned().collect(),
            LoginPolicy::Platform => members
                .values()
                .filter(|member| member.identity().platform == identity.platform)
                .cloned()
                .collect(),
        };
        if members.len() - older.len() >= config.max_connections_per_user {
            self.0.counters.refused_users.fetch_add(1, Relaxed);
            return Err(closing(close::CONNECTION_LIMIT));
        }
        Ok(older)
    }

    /// Takes a connection out of every index and tells of it; `false` where that has been done.
    pub(crate) fn detach(&self, client: &Client, cause: &Cause) -> bool {
        let inner = &*self.0;
        let identity = client.connection.identity();
        let mut tags = client.tags();
        let removed = inner.registry.remove(
            &client.connection,
            |group, _, last| self.note_left(client, group, last),
            |group, _, last| {
                if !self.depart(LeaseKind::User, group, client) && last {
                    inner.observers.note(Occurrence::UserOffline {
                        user: group.name.clone(),
                    });
                }
            },
        );
        if !removed {
            return false;
        }
        // What still waits will not be read by anybody, nor what a send that has found the connection just before offers.
        let mut outbox = client.connection.outbox();
        outbox.discard();
        outbox.close(close::CONNECTION_CLOSED);
        let is_traced = outbox.is_traced;
        drop(outbox);
        // A handle of the application's may outlive the connection, its socket may not.
        *client.connection.sender() = None;
        if is_traced {
            inner.recorder.end(client.id());
        }
        let mut ended = inner
            .counters
            .ended
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *ended.entry(cause.code).or_default() += 1;
        drop(ended);
        drop(identity);
        tags.sort_unstable();
        let mut subject = client.subject();
        subject.tags = tags;
        inner.observers.note(Occurrence::Disconnected {
            subject,
            cause: cause.clone(),
        });
        inner.observers.tell();
        true
    }

    /// Adds a connection to a tag. `Ok(None)`: it is there already.
    pub(crate) fn join_tag(
        &self,
        client: &Client,
        tag: &Arc<str>,
    ) -> Result<Option<Position>, Refusal> {
        if tag.len() > self.config().max_name_length {
            self.0.counters.long_names.fetch_add(1, Relaxed);
            return Err(Refusal::bad_request("the name of the tag is too long"));
        }
        let inner = &*self.0;
        let mut position = None;
        let joined = inner.registry.join(
            &client.connection,
            tag,
            self.config().max_tags_per_connection,
            |tag| self.manner(tag),
            |group, state, first| {
                position = Some(place(group, state));
                if !self.arrive(LeaseKind::Tag, group, first, client) && first {
                    inner.observers.note(Occurrence::TagOccupied {
                        tag: group.name.clone(),
                    });
                }
                inner.observers.note(Occurrence::Joined {
                    subject: client.subject(),
                    tag: group.name.clone(),
                });
                if group.manner.notices && inner.notices.joined(&group.name, client.member()) {
                    self.tell_later();
                }
            },
        );
        inner.observers.tell();
        match joined {
            Ok(_) => Ok(position),
            Err(NotJoined::TooMany) => {
                inner.counters.refused_tags.fetch_add(1, Relaxed);
                Err(Refusal::of(ErrorCode::LimitExceeded)
                    .saying("the connection has as many tags as it may have"))
            }
            Err(NotJoined::Gone) => {
                Err(Refusal::of(ErrorCode::NotAvailable).saying("the connection is gone"))
            }
        }
    }

    /// Removes a connection from a tag; `false` where it was not there.
    pub(crate) fn leave_tag(&self, client: &Client, tag: &str) -> bool {
        let left = self
            .0
            .registry
            .leave(&client.connection, tag, |group, _, last| {
                self.note_left(client, group, last);
            });
        self.0.observers.tell();
        left
    }

    /// Whether the bus counts who is in a group, and so says who is the first. Called under the group's lock.
    fn arrive(&self, kind: LeaseKind, group: &Group, first: bool, client: &Client) -> bool {
        let is_active = |link: &&Link| link.active.load(Acquire);
        let Some(link) = self.0.link.as_deref().filter(is_active) else {
            return false;
        };
        if kind == LeaseKind::Tag && !group.manner.presence {
            return false;
        }
        if first {
            group.shared.store(true, Relaxed);
        } else if !group.shared.load(Relaxed) {
            // It is older than the company; the node is about to take it up as a whole.
            return false;
        }
        let name = (kind, group.name.clone());
        link.desk.come(name, [client.seat()], false);
        link.wake();
        true
    }

    /// Whether the bus counts who is in a group, and so says who was the last. Called under the group's lock.
    fn depart(&self, kind: LeaseKind, group: &Group, client: &Client) -> bool {
        let Some(link) = self.0.link.as_deref() else {
            return false;
        };
        if !group.shared.load(Relaxed) {
            return false;
        }
        let news = link.desk.go((kind, group.name.clone()), client.id());
        if let Some(news) = news {
            self.note_news(news);
        }
        link.wake();
        true
    }

    /// Has the bus count who is in every group, `again` also in those that it has counted before.
    pub(crate) fn share_all(&self, link: &Link, again: bool) {
        let registry = &self.0.registry;
        for (kind, groups) in [
            (LeaseKind::User, &registry.users),
            (LeaseKind::Tag, &registry.tags),
        ] {
            groups.each(|group| {
                if kind == LeaseKind::Tag && !group.manner.presence {
                    return;
                }
                let state = group.state();
                let shared = group.shared.swap(true, Relaxed);
                if state.members.is_empty() || (shared && !again) {
                    return;
                }
                let seats = state.members.values();
                let seats = seats.map(|connection| self.handle(connection.clone()).seat());
                link.desk.come((kind, group.name.clone()), seats, !shared);
            });
        }
        link.wake();
    }

    /// Notes that the first of all nodes has come, or the last has gone.
    pub(crate) fn note_news(&self, news: News) {
        self.0.observers.note(match news {
            News::Present((LeaseKind::User, user)) => Occurrence::UserOnline { user },
            News::Present((LeaseKind::Tag, tag)) => Occurrence::TagOccupied { tag },
            News::Absent((LeaseKind::User, user)) => Occurrence::UserOffline { user },
            News::Absent((LeaseKind::Tag, tag)) => Occurrence::TagVacated { tag },
        });
    }

    fn note_left(&self, client: &Client, group: &Group, last: bool) {
        let inner = &*self.0;
        inner.observers.note(Occurrence::Left {
            subject: client.subject(),
            tag: group.name.clone(),
        });
        if !self.depart(LeaseKind::Tag, group, client) && last {
            inner.observers.note(Occurrence::TagVacated {
                tag: group.name.clone(),
            });
        }
        if group.manner.notices && inner.notices.left(&group.name, client.member()) {
            self.tell_later();
        }
    }

    fn tell_later(&self) {
        // Without a runtime there is no session that could hear of it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            self.0.notices.put_off();
            return;
        };
        let hub = self.clone();
        runtime.spawn(async move {
            sleep(hub.config().notice_interval).await;
            hub.tell_notices();
        });
    }

    fn tell_notices(&self) {
        for (tag, changes) in self.0.notices.take() {
            let Some(group) = self.0.registry.tags.get(&tag) else {
                continue;
            };
            let lists = [(event::LEAVE, changes.left), (event::JOIN, changes.joined)];
            let state = group.state();
            let count = state.members.len();
            for (event, members) in lists {
                if members.is_empty() {
                    continue;
                }
                let notice = Notice {
                    ch: &tag,
                    members: members.values().collect(),
                    count,
                    more: changes.more,
                };
                let push = Push {
                    event: Arc::from(event),
                    data: Json::of(&notice).ok(),
                    tag: None,
                    key: None,
                    overflow: group.manner.overflow,
                    timestamp: unix_seconds(),
                };
                let frame = Frame::push(push, &self.0.budget);
                let mut due = Due::default();
                for member in state
                    .members
                    .values()
                    .filter(|member| member.wire == Wire::V2)
                {
                    self.0
                        .flow
                        .count(due.offer(member, &frame, self.bounds(), &self.0.budget));
                }
                due.write(&self.0.homes, &self.0.budget, &self.0.flow);
            }
        }
    }

    /// Closes all connections, spread evenly over this time, and lets nobody in any more. Ends when all are gone or
    /// have been told.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, those who have not been told stay; nobody is let in all the same.
    pub async fn drain(&self, over: Duration, reason: CloseReason) {
        self.0.draining.store(true, Relaxed);
        let mut connections = Vec::new();
        self.0
            .registry
            .each(|connection| connections.push(connection.clone()));
        if connections.is_empty() {
            return;
        }
        let start = Instant::now();
        let ticks = usize::try_from(over.as_millis() / TICK.as_millis()).unwrap_or(usize::MAX);
        let batch = connections.len().div_ceil(ticks.max(1));
        let steps = connections.len().div_ceil(batch);
        for (step, batch) in connections.chunks(batch).enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "a step is a small number")]
            let due = over.mul_f64(step as f64 / steps as f64);
            sleep_until(start + due).await;
            for connection in batch {
                connection.close(reason.clone());
            }
        }
    }

    /// Whether the hub is closing its connections.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Relaxed)
    }
}

/// How often a drain closes some.
const TICK: Duration = Duration::from_millis(50);

#[derive(Serialize)]
struct Notice<'a> {
    ch: &'a str,
    members: Vec<&'a Member>,
    count: usize,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

fn place(group: &Group, state: &State) -> Position {
    Position {
        offset: state.offset,
        epoch: format!("{:08x}", group.epoch),
    }
}

fn closing(reason: CloseReason) -> Refusal {
    Refusal::of(ErrorCode::LimitExceeded)
        .saying(reason.reason.clone())
        .closing(reason)
}

impl Client {
    /// Joins a tag, whatever the client itself may do. `None`: it is there already.
    ///
    /// # Errors
    ///
    /// The name is no name, the connection has as many tags as it may have, or it is gone.
    pub fn join(&self, tag: impl Into<Arc<str>>) -> Result<Option<Position>, Refusal> {
        self.hub.join_tag(self, &tag.into())
    }

    /// Leaves a tag; `false` where it was not there.
    pub fn leave(&self, tag: &str) -> bool {
        self.hub.leave_tag(self, tag)
    }

    /// The connection, and what a lease of it shows.
    fn seat(&self) -> (ConnectionId, Json) {
        let value = Json::of(&self.member()).unwrap_or_else(|_| Json::null());
        (self.id(), value)
    }

    /// The client as the members of its tags see it.
    #[must_use]
    pub fn member(&self) -> Member {
        let identity = self.connection.identity();
        Member::new(self.id(), identity.user.clone(), identity.info.clone())
    }
}

impl Audience {
    /// Has the connections join a tag, whatever the clients themselves may do.
    ///
    /// # Errors
    ///
    /// The first reason why one of this node's could not; the others have joined all the same, on all nodes.
    ///
    /// # Cancel safety
    ///
    /// The connections of this node have joined when the first poll returns; other nodes may or may not be told.
    pub async fn join(&self, tag: impl Into<Arc<str>> + Send) -> Result<Reached, Refusal> {
        let tag = tag.into();
        let joined = self.join_here(&tag);
        let count = joined.as_ref().copied().unwrap_or(0);
        let control = || Control::Join {
            target: self.target.clone(),
            tag,
            except: self.except,
        };
        let reached = self.hub.command(&self.target, count, control).await;
        joined.map(|_| reached)
    }

    pub(crate) fn join_here(&self, tag: &Arc<str>) -> Result<u64, Refusal> {
        let (mut joined, mut failed) = (0, None);
        for connection in self.connections() {
            match self.hub.handle(connection).join(tag.clone()) {
                Ok(position) => joined += u64::from(position.is_some()),
                // It has gone meanwhile: it is not one of them any more.
                Err(refusal) if refusal.code() == ErrorCode::NotAvailable.number() => {}
                Err(refusal) => failed = failed.or(Some(refusal)),
            }
        }
        failed.map_or(Ok(joined), Err)
    }

    /// Has the connections leave a tag.
    ///
    /// # Cancel safety
    ///
    /// The connections of this node have left when the first poll returns; other nodes may or may not be told.
    pub async fn leave(&self, tag: &str) -> Reached {
        let left = self.leave_here(tag);
        let control = || Control::Leave {
            target: self.target.clone(),
            tag: Arc::from(tag),
            except: self.except,
        };
        self.hub.command(&self.target, left, control).await
    }

    pub(crate) fn leave_here(&self, tag: &str) -> u64 {
        let mut left = 0;
        for connection in self.connections() {
            left += u64::from(self.hub.handle(connection).leave(tag));
        }
        left
    }
}
