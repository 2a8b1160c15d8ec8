//! What the nodes of a cluster tell each other: a bus that hands out a stream and never calls the hub.

pub mod memory;

use std::{
    error::Error,
    fmt,
    future::poll_fn,
    pin::Pin,
    str::FromStr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    config::Overflow,
    id::{ConnectionId, NotAnId},
    json::Json,
    target::Target,
};

/// A future of a [`Broker`], boxed so that the trait has objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Within this time a call of a broker has ended, by [`ErrorKind::Timeout`] if need be: 2 seconds.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// The bus between the nodes, and the memory of who is present on which.
///
/// A hub first subscribes, once; then it publishes what concerns other nodes, and reads its [`Subscription`].
///
/// **Bound.** Every call ends within [`CALL_TIMEOUT`]; a broker that needs a network sees to that itself.
///
/// **Order.** Envelopes of one publisher whose calls did not overlap arrive in the order of the calls. Envelopes of
/// several publishers may arrive in another order on each node, unless the broker says more ([`memory`] does).
///
/// **Presence.** A lease says that a connection is here. All leases of a node share one deadline, so that one
/// [`renew`](Self::renew) is enough for them all. Once it has passed they are gone together, and every node is told by
/// [`Event::NodeLost`].
///
/// # Cancel safety
///
/// Nothing happens before a future is polled. One that is dropped after that may or may not have done its work; every
/// call but `publish` may simply be made again.
pub trait Broker: Send + Sync + 'static {
    /// Sends an envelope to all other nodes; an [`Answer`](Body::Answer) only to the node that has asked.
    ///
    /// `Ok` means that the bus has it. No node need have read it yet, and there may be none. A node that is too slow
    /// for it is told so by [`Event::Lost`].
    ///
    /// # Errors
    ///
    /// The bus does not have it, or after a timeout: may not. Nothing is published again without being asked to.
    fn publish(&self, envelope: Envelope) -> BoxFuture<'_, Result<(), BrokerError>>;

    /// The stream of what other nodes publish from now on. Called within a tokio runtime; returns at once, even where
    /// a network is not there yet: an [`Event::Disconnected`] says that.
    ///
    /// Dropping the stream leaves the bus. The node's leases stay until they are released or run out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Taken`] if the node has a stream already, [`ErrorKind::Full`] if there are too many nodes.
    fn subscribe(&self, node: NodeId) -> Result<Subscription, BrokerError>;

    /// Whether there is certainly no other node: then nothing need be published, leased or asked. Cheap.
    ///
    /// A hub first enters a connection into its registry and then asks: whatever it has skipped it makes up for at
    /// [`Event::NodeJoined`].
    fn is_alone(&self) -> bool;

    /// Says that a connection is here, or replaces what was said; and renews the node's leases for `ttl`, as
    /// [`renew`](Self::renew) does. `Ok` means that every node sees the lease from now on; it is how many leases the name
    /// has now, counted in the same step: 1 for one alone of all nodes that come at the same time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Full`] if there are too many leases; otherwise as the bus fails.
    fn lease(
        &self,
        key: LeaseKey,
        value: Json,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<usize, BrokerError>>;

    /// Keeps all leases of a node for `ttl` from now on, or until the deadline that they have, whichever is later.
    ///
    /// `Ok(false)` means that it has none (any more): others may have been told that it is lost, and it has to lease
    /// all of them again.
    ///
    /// # Errors
    ///
    /// As the bus fails. The leases run on; renew at a third of `ttl`, and two failures do no harm.
    fn renew(&self, node: NodeId, ttl: Duration) -> BoxFuture<'_, Result<bool, BrokerError>>;

    /// Ends a lease. `Ok` means that nobody sees it any more: how many leases the name has left, counted in the same
    /// step, or `None` where there was none to end.
    ///
    /// # Errors
    ///
    /// As the bus fails.
    fn release(&self, key: LeaseKey) -> BoxFuture<'_, Result<Option<usize>, BrokerError>>;

    /// Ends all leases of a node that leaves in good order; nobody is told. `Ok` means that nobody sees them any more.
    ///
    /// # Errors
    ///
    /// As the bus fails.
    fn release_node(&self, node: NodeId) -> BoxFuture<'_, Result<(), BrokerError>>;

    /// The leases of one name on all nodes, the caller's own included: at most `limit`, in no promised order.
    ///
    /// # Errors
    ///
    /// As the bus fails.
    fn leases(
        &self,
        kind: LeaseKind,
        name: Arc<str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Lease>, BrokerError>>;

    /// How many leases one name has on all nodes.
    ///
    /// # Errors
    ///
    /// As the bus fails.
    fn count(&self, kind: LeaseKind, name: Arc<str>) -> BoxFuture<'_, Result<usize, BrokerError>>;
}

/// What other nodes say, as a stream. It ends where the broker has been closed for good.
pub struct Subscription(Pin<Box<dyn Stream<Item = Event> + Send>>);

impl Subscription {
    /// Wraps the stream of a broker.
    #[must_use]
    pub fn new(stream: impl Stream<Item = Event> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }

    /// The next event; `None` after the last one.
    ///
    /// # Cancel safety
    ///
    /// No event is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.0.as_mut().poll_next(context)).await
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.as_mut().poll_next(context)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription")
    }
}

/// What a [`Subscription`] yields.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Another node has published this.
    Envelope(Envelope),
    /// So many events are missing here, of whatever kind, because this node was too slow for them.
    Lost(u64),
    /// The bus cannot be reached; what is published now is missing. The broker goes on trying.
    Disconnected,
    /// It can be reached again. What a node should do is what it does at [`NodeJoined`](Self::NodeJoined).
    Reconnected,
    /// There is another node. Who was alone has skipped its leases: it calls [`Broker::release_node`] for itself, for
    /// what may be left of former times, and leases all its connections.
    NodeJoined(NodeId),
    /// A node has not renewed its leases, and these are gone. Every node is told once; the one that it is about, if it
    /// has only been slow, does what it does at [`NodeJoined`](Self::NodeJoined).
    NodeLost {
        /// The node.
        node: NodeId,
        /// What it had, in no promised order.
        leases: Arc<[Lease]>,
        /// The names of these that nobody has a lease of any more, counted in the step that has ended them.
        vacated: Arc<[(LeaseKind, Arc<str>)]>,
        /// The one node that tells the world who is offline for it: another one that is there, if there is any.
        heir: NodeId,
    },
}

/// What one node says to the others. Its JSON may gain fields and kinds: a reader skips and counts what it cannot read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// The node that says it, and is not told.
    #[serde(rename = "f")]
    pub from: NodeId,
    /// What it says.
    #[serde(rename = "b")]
    pub body: Body,
}

/// What an [`Envelope`] says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Body {
    /// Send this to your connections.
    #[serde(rename = "p")]
    Publish(Publish),
    /// Do this to your connections.
    #[serde(rename = "c")]
    Control(Control),
    /// Answer this.
    #[serde(rename = "q")]
    Query {
        /// What the answers refer to, random.
        id: u128,
        /// What is asked.
        #[serde(rename = "q")]
        question: Question,
    },
    /// The answer to a query, for the node that has asked.
    #[serde(rename = "a")]
    Answer {
        /// The query's.
        id: u128,
        /// The node that has asked.
        to: NodeId,
        /// What was asked for.
        #[serde(rename = "a")]
        answer: Json,
    },
    /// Who I am, and how many are here.
    #[serde(rename = "n")]
    Node(NodeInfo),
}

/// A message for connections of other nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Publish {
    /// Whom it is meant for.
    #[serde(rename = "t")]
    pub target: Target,
    /// The name of the event.
    #[serde(rename = "e")]
    pub event: Arc<str>,
    /// Its data; `None` where there is none, which is not the same as `null`.
    #[serde(
        rename = "d",
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub data: Option<Json>,
    /// A connection that does not get it, such as the sender's.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub except: Option<ConnectionId>,
    /// What a later message with the same key replaces in a full outbox.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Arc<str>>,
    /// What becomes of it where a connection is too slow; `None` leaves that to the hub.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub overflow: Option<Overflow>,
    /// What tells that it has been published before.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Arc<str>>,
    /// Its place in the history of a tag.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Which history the offset counts in.
    #[serde(rename = "ep", default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Arc<str>>,
}

impl Publish {
    /// A message with nothing else to it.
    #[must_use]
    pub fn new(target: Target, event: impl Into<Arc<str>>, data: impl Into<Option<Json>>) -> Self {
        Self {
            target,
            event: event.into(),
            data: data.into(),
            except: None,
            key: None,
            overflow: None,
            idempotency: None,
            offset: None,
            epoch: None,
        }
    }
}

/// A field that is there, also where it says `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// A command for connections of other nodes. Moments are milliseconds since 1970 (UTC).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Control {
    /// Close them.
    #[serde(rename = "d")]
    Disconnect {
        /// Whom.
        #[serde(rename = "t")]
        target: Target,
        /// The close code.
        #[serde(rename = "c")]
        code: u16,
        /// The reason.
        #[serde(rename = "r")]
        reason: Arc<str>,
        /// A connection that stays, such as the one that has just logged in.
        #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
        except: Option<ConnectionId>,
    },
    /// Let them join a tag.
    #[serde(rename = "j")]
    Join {
        /// Whom.
        #[serde(rename = "t")]
        target: Target,
        /// Which.
        #[serde(rename = "g")]
        tag: Arc<str>,
        /// A connection that does not.
        #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
        except: Option<ConnectionId>,
    },
    /// Let them leave a tag.
    #[serde(rename = "l")]
    Leave {
        /// Whom.
        #[serde(rename = "t")]
        target: Target,
        /// Which.
        #[serde(rename = "g")]
        tag: Arc<str>,
        /// A connection that does not.
        #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
        except: Option<ConnectionId>,
    },
    /// Move the end of their logins.
    #[serde(rename = "f")]
    Refresh {
        /// Whose.
        #[serde(rename = "t")]
        target: Target,
        /// To when; `None`: they have no end.
        #[serde(rename = "m")]
        expires_at: Option<u64>,
        /// A connection whose login stays as it is.
        #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
        except: Option<ConnectionId>,
    },
    /// Close what a user has opened before, because of the login policy.
    #[serde(rename = "s")]
    Supersede {
        /// Who.
        #[serde(rename = "u")]
        user: Arc<str>,
        /// The connection that stays.
        #[serde(rename = "c")]
        connection: ConnectionId,
        /// When it was made; connections that are not older stay too.
        #[serde(rename = "m")]
        connected_at: u64,
        /// Only connections of the same platform; `None` there: of those that have none.
        #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
        platform: Option<Platform>,
    },
    /// Close what a login has opened, and do not let it in again.
    #[serde(rename = "v")]
    Revoke {
        /// Which login.
        #[serde(rename = "w")]
        what: Revoked,
        /// Whose session it is, where that is known: it saves looking at every connection.
        #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
        user: Option<Arc<str>>,
        /// Of a user, only logins that are not newer than this moment; `None`: all.
        #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        /// Until when it is remembered.
        #[serde(rename = "m")]
        until: u64,
    },
}

/// The platform of those whom [`Control::Supersede`] is about, if they have any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform(pub Option<Arc<str>>);

/// What [`Control::Revoke`] revokes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Revoked {
    /// The logins of a user.
    #[serde(rename = "u")]
    User(Arc<str>),
    /// The login of this session.
    #[serde(rename = "s")]
    Session(Arc<str>),
    /// A token, by a digest of it: never the token itself.
    #[serde(rename = "t")]
    Token(Arc<str>),
}

/// What a node may ask the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Question {
    /// A [`NodeInfo`].
    #[serde(rename = "n")]
    Node,
    /// How many connections of yours are meant by this.
    #[serde(rename = "c")]
    Count {
        /// Whom.
        #[serde(rename = "t")]
        target: Target,
        /// A connection that does not count.
        #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
        except: Option<ConnectionId>,
    },
    /// Which connections of yours are meant by this.
    #[serde(rename = "l")]
    List {
        /// Whom.
        #[serde(rename = "t")]
        target: Target,
        /// At most so many.
        #[serde(rename = "n")]
        limit: u32,
    },
    /// Which tags have connections of yours joined, in the order of their names, and how many each.
    #[serde(rename = "t")]
    Tags {
        /// Only names that match this; `*` stands for any text.
        #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
        pattern: Option<Arc<str>>,
        /// Only names behind this one.
        #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
        after: Option<Arc<str>>,
        /// At most so many.
        #[serde(rename = "n")]
        limit: u32,
    },
    /// Which users have connections of yours, in the order of their names, and how many each.
    #[serde(rename = "u")]
    Users {
        /// Only names behind this one.
        #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
        after: Option<Arc<str>>,
        /// At most so many.
        #[serde(rename = "n")]
        limit: u32,
    },
    /// Which connections of yours an operator's filter accepts, the oldest first.
    #[serde(rename = "o")]
    Connections {
        /// The filter.
        #[serde(rename = "f")]
        filter: Json,
        /// At most so many.
        #[serde(rename = "n")]
        limit: u32,
    },
}

/// A node and how many are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// The node.
    pub id: NodeId,
    /// Its name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// The version of its program.
    #[serde(rename = "v")]
    pub version: Arc<str>,
    /// Its connections.
    #[serde(rename = "c")]
    pub connections: u64,
    /// Different users among them.
    #[serde(rename = "u")]
    pub users: u64,
    /// Different tags that they have joined.
    #[serde(rename = "t")]
    pub tags: u64,
    /// For how many seconds it has been running.
    #[serde(rename = "s")]
    pub uptime: u64,
}

/// The id of a node, chosen at its start: 128 bits from a CSPRNG, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(ConnectionId);

impl NodeId {
    /// A new id.
    #[must_use]
    pub fn random() -> Self {
        Self(ConnectionId::random())
    }
}

impl From<u128> for NodeId {
    fn from(id: u128) -> Self {
        Self(id.into())
    }
}

impl FromStr for NodeId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        text.parse().map(Self)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// What a lease is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LeaseKind {
    /// A connection of a user.
    #[serde(rename = "u")]
    User,
    /// A connection in a tag.
    #[serde(rename = "t")]
    Tag,
}

/// Which connection, on which node, is present under which name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseKey {
    /// A user's name or a tag's.
    #[serde(rename = "k")]
    pub kind: LeaseKind,
    /// The name.
    #[serde(rename = "m")]
    pub name: Arc<str>,
    /// The node of the connection.
    #[serde(rename = "n")]
    pub node: NodeId,
    /// The connection.
    #[serde(rename = "c")]
    pub connection: ConnectionId,
}

/// A connection that is present.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// Which.
    #[serde(rename = "k")]
    pub key: LeaseKey,
    /// What others are shown about it.
    #[serde(rename = "v")]
    pub value: Json,
}

/// Why a call of a [`Broker`] has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerError {
    kind: ErrorKind,
    message: String,
}

impl BrokerError {
    /// An error with a sentence for people, without secrets.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// What kind of failure it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Full
        )
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for BrokerError {}

/// The kinds of [`BrokerError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bus cannot be reached. Temporary.
    Unavailable,
    /// It has not answered in time; the work may be done. Temporary.
    Timeout,
    /// A limit of the bus is reached. Temporary.
    Full,
    /// The envelope or the lease is larger than the bus takes.
    TooLarge,
    /// The node has subscribed already.
    Taken,
    /// The bus has refused it for another reason, such as a login of ours that it does not take.
    Refused,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_survives_its_json() {
        let tag = Target::Tag("room:1".into());
        let data = Json::parse(r#"{"b":1.50,"a":[null,"\u00e9"]}"#).unwrap();
        let mut full = Publish::new(tag.clone(), "chat", data.clone());
        full.except = Some(7.into());
        full.key = Some("k".into());
        full.overflow = Some(Overflow::Latest);
        full.idempotency = Some("once".into());
        full.offset = Some(u64::MAX);
        full.epoch = Some("e1".into());
        let node = NodeInfo {
            id: 3.into(),
            name: Some("north".into()),
            version: "0.1.0".into(),
            connections: 3,
            users: 2,
            tags: 1,
            uptime: 60,
        };
        let revoke = |what| Control::Revoke {
            what,
            user: Some("alice".into()),
            before: Some(1),
            until: 2,
        };
        let query = |question| Body::Query {
            id: u128::MAX,
            question,
        };
        for body in [
            Body::Publish(Publish::new(Target::All, "chat", data.clone())),
            Body::Publish(full),
            Body::Control(Control::Disconnect {
                target: Target::User("alice".into()),
                code: 3503,
                reason: "kicked".into(),
                except: Some(7.into()),
            }),
            Body::Control(Control::Join {
                target: Target::Connection(7.into()),
                tag: "a".into(),
                except: None,
            }),
            Body::Control(Control::Leave {
                target: Target::All,
                tag: "a".into(),
                except: Some(7.into()),
            }),
            Body::Control(Control::Refresh {
                target: tag.clone(),
                expires_at: None,
                except: None,
            }),
            Body::Control(Control::Supersede {
                user: "alice".into(),
                connection: 7.into(),
                connected_at: 1,
                platform: Some(Platform(Some("web".into()))),
            }),
            Body::Control(revoke(Revoked::User("alice".into()))),
            Body::Control(revoke(Revoked::Session("s".into()))),
            Body::Control(revoke(Revoked::Token("9f86d081".into()))),
            query(Question::Node),
            query(Question::Count {
                target: tag.clone(),
                except: Some(7.into()),
            }),
            query(Question::List {
                target: tag,
                limit: 100,
            }),
            query(Question::Tags {
                pattern: Some("room:*".into()),
                after: None,
                limit: 100,
            }),
            query(Question::Users {
                after: Some("alice".into()),
                limit: 100,
            }),
            query(Question::Connections {
                filter: Json::null(),
                limit: 100,
            }),
            Body::Publish(Publish::new(Target::All, "chat", None)),
            Body::Publish(Publish::new(Target::All, "chat", Json::null())),
            Body::Answer {
                id: 1,
                to: 2.into(),
                answer: data,
            },
            Body::Node(node),
        ] {
            let envelope = Envelope {
                from: 1.into(),
                body,
            };
            let text = serde_json::to_string(&envelope).unwrap();
            assert_eq!(
                serde_json::from_str::<Envelope>(&text).unwrap(),
                envelope,
                "{text}"
            );
        }
    }

    #[test]
    fn an_envelope_is_compact_and_its_data_is_spliced_as_it_came() {
        let data = Json::parse(r#"{"b":1.50}"#).unwrap();
        let envelope = Envelope {
            from: 1.into(),
            body: Body::Publish(Publish::new(Target::User("alice".into()), "chat", data)),
        };
        assert_eq!(
            serde_json::to_string(&envelope).unwrap(),
            r#"{"f":"00000000000000000000000000000001","b":{"p":{"t":{"u":"alice"},"e":"chat","d":{"b":1.50}}}}"#
        );
    }

    #[test]
    fn a_lease_survives_its_json() {
        let lease = Lease {
            key: LeaseKey {
                kind: LeaseKind::Tag,
                name: "room:1".into(),
                node: 1.into(),
                connection: 2.into(),
            },
            value: Json::parse(r#"{"n":1.0}"#).unwrap(),
        };
        let text = serde_json::to_string(&lease).unwrap();
        assert_eq!(serde_json::from_str::<Lease>(&text).unwrap(), lease);
    }

    #[test]
    fn only_what_may_pass_is_temporary() {
        for (kind, temporary) in [
            (ErrorKind::Unavailable, true),
            (ErrorKind::Timeout, true),
            (ErrorKind::Full, true),
            (ErrorKind::TooLarge, false),
            (ErrorKind::Taken, false),
            (ErrorKind::Refused, false),
        ] {
            let error = BrokerError::new(kind, "the bus is away");
            assert_eq!((error.kind(), error.is_temporary()), (kind, temporary));
            assert_eq!(error.to_string(), "the bus is away");
        }
    }
}
