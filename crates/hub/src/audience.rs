//! Whom something is for, and how it gets there: to this node's connections at once, to the other nodes' by the bus.

use std::{sync::Arc, time::SystemTime};

use serde::Serialize;

use crate::{
    broker::{Body, Control, Publish},
    code::CloseReason,
    config::Overflow,
    hub::{Delivery, Hub, Outgoing, SendError},
    id::ConnectionId,
    identity::Identity,
    json::Json,
    link::Link,
    registry::{Connection, Group, unix_millis},
    share,
    target::Target,
};

impl Hub {
    /// Everybody.
    pub fn all(&self) -> Audience {
        self.audience(Target::All)
    }

    /// One connection.
    pub fn connection(&self, id: ConnectionId) -> Audience {
        self.audience(Target::Connection(id))
    }

    /// All connections of a user.
    pub fn user(&self, user: impl Into<Arc<str>>) -> Audience {
        self.audience(Target::User(user.into()))
    }

    /// All connections that have joined a tag.
    pub fn tag(&self, tag: impl Into<Arc<str>>) -> Audience {
        self.audience(Target::Tag(tag.into()))
    }

    /// Whoever is meant by `target`.
    pub fn audience(&self, target: Target) -> Audience {
        Audience {
            hub: self.clone(),
            target,
            except: None,
            key: None,
            overflow: None,
        }
    }

    /// The other nodes, unless there are none, or the target is a connection of this one.
    pub(crate) fn beyond(&self, target: &Target) -> Option<&Link> {
        let link = self.0.link.as_deref().filter(|link| !link.is_alone())?;
        match target {
            Target::Connection(id) if self.0.registry.get(*id).is_some() => None,
            _ => Some(link),
        }
    }

    /// Has the other nodes do what has been done here to `connections` connections.
    pub(crate) async fn command(
        &self,
        target: &Target,
        connections: u64,
        control: impl FnOnce() -> Control + Send,
    ) -> Reached {
        let mut reached = Reached {
            connections,
            ..Reached::default()
        };
        if let Some(link) = self.beyond(target) {
            reached.remote = link.publish(Body::Control(control())).await;
            reached.unreachable = !reached.remote;
        }
        reached
    }
}

/// What became of a command: whom it met here, and whether the other nodes have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Reached {
    /// Connections of this node that it has changed.
    pub connections: u64,
    /// The bus has it for the other nodes. How many of their connections it changes is not known.
    pub remote: bool,
    /// The bus has failed: other nodes may not do it. Here it is done all the same.
    pub unreachable: bool,
}

/// Whom something is for, and how it is sent to them.
#[derive(Clone, Debug)]
#[must_use = "nothing happens before a method is called on it"]
pub struct Audience {
    pub(crate) hub: Hub,
    pub(crate) target: Target,
    pub(crate) except: Option<ConnectionId>,
    key: Option<Arc<str>>,
    overflow: Option<Overflow>,
}

impl Audience {
    /// Without this connection.
    pub fn except(mut self, id: ConnectionId) -> Self {
        self.except = Some(id);
        self
    }

    /// A newer message with the same key replaces this one where it still waits: only the latest value matters.
    pub fn latest(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self.overflow = Some(Overflow::Latest);
        self
    }

    /// What happens where there is no room, in place of what the configuration says.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = Some(overflow);
        self
    }

    /// Sends an event. It is encoded once for each node, waits for no client, and says what became of it. What one task
    /// sends to a tag, each time after the last send has ended, arrives in that order on every node.
    ///
    /// Where there are other nodes it waits until the bus has it, at most [`CALL_TIMEOUT`](crate::broker::CALL_TIMEOUT).
    /// If the bus fails, this node's connections have the event all the same: see [`Delivery::unreachable`].
    ///
    /// # Errors
    ///
    /// Nobody gets it: the data has no JSON, a name is too long, or the memory for messages is used up.
    ///
    /// # Cancel safety
    ///
    /// The connections of this node have it when the first poll returns; other nodes may or may not get it.
    pub async fn send(&self, event: &str, data: impl Serialize) -> Result<Delivery, SendError> {
        self.send_json(event, Some(Json::of(&data).map_err(SendError::Data)?))
            .await
    }

    /// Sends an event whose data is JSON already, or that has none.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn send_json(&self, event: &str, data: Option<Json>) -> Result<Delivery, SendError> {
        // The tag without a name is one, as it is in hotgo.
        let longest = self.hub.config().max_name_length;
        if !self.hub.is_name(event) || self.target.name().is_some_and(|name| name.len() > longest) {
            return Err(SendError::Name);
        }
        let message = Outgoing {
            event: Arc::from(event),
            data,
            except: self.except,
            key: self.key.clone(),
            overflow: self.overflow,
        };
        let mut delivery = self.hub.deliver(&self.target, &message)?;
        if let Some(link) = self.hub.beyond(&self.target) {
            let mut publish = Publish::new(self.target.clone(), message.event, message.data);
            publish.except = message.except;
            publish.key = message.key;
            publish.overflow = message.overflow;
            delivery.remote = link.publish(Body::Publish(publish)).await;
            delivery.unreachable = !delivery.remote;
        }
        Ok(delivery)
    }

    /// Closes the connections.
    ///
    /// # Cancel safety
    ///
    /// The connections of this node are being closed when the first poll returns; other nodes may or may not be told.
    pub async fn disconnect(&self, reason: CloseReason) -> Reached {
        let closed = self.disconnect_here(&reason);
        self.hub
            .command(&self.target, closed, || Control::Disconnect {
                target: self.target.clone(),
                code: reason.code,
                reason: Arc::from(&*reason.reason),
                except: self.except,
            })
            .await
    }

    pub(crate) fn disconnect_here(&self, reason: &CloseReason) -> u64 {
        let mut closed = 0;
        for connection in self.connections() {
            closed += u64::from(connection.close(reason.clone()));
        }
        closed
    }

    /// Gives the connections' logins another end, or none.
    ///
    /// # Cancel safety
    ///
    /// It is done on this node when the first poll returns; other nodes may or may not be told.
    pub async fn refresh(&self, expires_at: Option<SystemTime>) -> Reached {
        let refreshed = self.refresh_here(expires_at);
        self.hub
            .command(&self.target, refreshed, || Control::Refresh {
                target: self.target.clone(),
                expires_at: expires_at.map(unix_millis),
                except: self.except,
            })
            .await
    }

    pub(crate) fn refresh_here(&self, expires_at: Option<SystemTime>) -> u64 {
        let mut refreshed = 0;
        for connection in self.connections() {
            let mut identity = Identity::clone(&connection.identity());
            identity.expires_at = expires_at;
            connection.set_identity(Arc::new(identity));
            refreshed += 1;
        }
        refreshed
    }

    /// How many connections of this node are meant.
    #[must_use]
    pub fn count(&self) -> usize {
        let registry = &self.hub.0.registry;
        let (count, excepted) = match &self.target {
            Target::All => (
                registry.count(),
                self.except.is_some_and(|id| registry.get(id).is_some()),
            ),
            Target::Connection(id) => (
                usize::from(registry.get(*id).is_some()),
                self.except == Some(*id),
            ),
            Target::User(name) | Target::Tag(name) => {
                let groups = if matches!(self.target, Target::User(_)) {
                    &registry.users
                } else {
                    &registry.tags
                };
                groups.get(name).map_or((0, false), |group| {
                    let state = group.state();
                    (
                        state.members.len(),
                        self.except
                            .is_some_and(|id| state.members.contains_key(&id)),
                    )
                })
            }
        };
        count - usize::from(excepted && count > 0)
    }

    /// The connections of this node that are meant.
    pub(crate) fn connections(&self) -> Vec<Arc<Connection>> {
        self.some_connections(usize::MAX)
    }

    /// As [`connections`](Self::connections), `most` of them: no more are looked at, so that clients may ask.
    pub(crate) fn some_connections(&self, most: usize) -> Vec<Arc<Connection>> {
        let registry = &self.hub.0.registry;
        let is_meant = |connection: &&Arc<Connection>| self.except != Some(connection.id);
        let of_group = |group: Option<Arc<Group>>| -> Vec<Arc<Connection>> {
            group.map_or_else(Vec::new, |group| {
                let state = group.state();
                let members = state.members.values().filter(is_meant);
                members.take(most).cloned().collect()
            })
        };
        let found = match &self.target {
            Target::All => registry.some(most, is_meant),
            Target::Connection(id) => {
                let connection = registry.get(*id);
                connection.iter().filter(is_meant).cloned().collect()
            }
            Target::User(name) => of_group(registry.users.get(name)),
            Target::Tag(name) => of_group(registry.tags.get(name)),
        };
        share::count(found.len());
        found
    }
}
