//! What a backend is told: one event, and a batch of them as JSON.

use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use antiphon_hub::{id::ConnectionId, identity::Identity};
use serde::{Deserialize, Serialize};

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EventKind {
    /// A connection was made.
    Connect,
    /// A connection has ended.
    Disconnect,
    /// A user has a connection again.
    UserOnline,
    /// A user has no connection any more.
    UserOffline,
    /// A tag has a member again.
    TagOccupied,
    /// A tag has no member any more.
    TagVacated,
}

impl EventKind {
    /// All kinds.
    pub(crate) const ALL: [Self; 6] = [
        Self::Connect,
        Self::Disconnect,
        Self::UserOnline,
        Self::UserOffline,
        Self::TagOccupied,
        Self::TagVacated,
    ];

    /// Their names, in the same order.
    pub(crate) const NAMES: &[&str] = &[
        "connect",
        "disconnect",
        "user_online",
        "user_offline",
        "tag_occupied",
        "tag_vacated",
    ];
}

/// Something that has happened, at the time when this was made.
#[derive(Clone, Serialize)]
pub(crate) struct Event {
    #[serde(rename = "type")]
    kind: EventKind,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<ConnectionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
}

impl Event {
    /// A connection was made.
    pub(crate) fn connect(
        connection: ConnectionId,
        identity: &Identity,
        address: Option<IpAddr>,
    ) -> Self {
        Self {
            connection: Some(connection),
            user: identity.user.clone(),
            session: identity.session.clone(),
            app: identity.app.clone(),
            platform: identity.platform.clone(),
            address,
            ..Self::new(EventKind::Connect)
        }
    }

    /// A connection has ended, with this close code and reason.
    pub(crate) fn disconnect(
        connection: ConnectionId,
        identity: &Identity,
        address: Option<IpAddr>,
        code: u16,
        reason: impl Into<Arc<str>>,
    ) -> Self {
        Self {
            kind: EventKind::Disconnect,
            code: Some(code),
            reason: Some(reason.into()),
            ..Self::connect(connection, identity, address)
        }
    }

    /// A user has a connection again.
    pub(crate) fn user_online(user: Arc<str>) -> Self {
        Self {
            user: Some(user),
            ..Self::new(EventKind::UserOnline)
        }
    }

    /// A user has no connection any more.
    pub(crate) fn user_offline(user: Arc<str>) -> Self {
        Self {
            user: Some(user),
            ..Self::new(EventKind::UserOffline)
        }
    }

    /// A tag has a member again.
    pub(crate) fn tag_occupied(tag: Arc<str>) -> Self {
        Self {
            tag: Some(tag),
            ..Self::new(EventKind::TagOccupied)
        }
    }

    /// A tag has no member any more.
    pub(crate) fn tag_vacated(tag: Arc<str>) -> Self {
        Self {
            tag: Some(tag),
            ..Self::new(EventKind::TagVacated)
        }
    }

    /// What has happened.
    pub(crate) fn kind(&self) -> EventKind {
        self.kind
    }

    /// The tag, of an event about one.
    pub(crate) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    fn new(kind: EventKind) -> Self {
        Self {
            kind,
            time: unix_millis(),
            connection: None,
            user: None,
            session: None,
            app: None,
            platform: None,
            tag: None,
            code: None,
            reason: None,
            address: None,
        }
    }
}

/// Without what may be private.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("kind", &self.kind)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

/// An event with its number: 1 for the first that this process has to tell, and so on, the dropped ones counted.
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) event: Event,
}

/// The body of one request.
#[derive(Serialize)]
pub(super) struct Batch<'a> {
    /// The same in each try.
    pub(super) id: &'a str,
    pub(super) node: &'a str,
    pub(super) time: u64,
    /// Events that were dropped since the last batch that arrived.
    pub(super) dropped: u64,
    pub(super) events: Vec<Told<'a>>,
}

/// An event in a batch.
#[derive(Serialize)]
pub(super) struct Told<'a> {
    /// Unique, over restarts too.
    id: String,
    seq: u64,
    #[serde(flatten)]
    event: &'a Event,
}

impl<'a> Told<'a> {
    /// The event of a process that calls itself `run`.
    pub(super) fn new(run: &str, numbered: &'a Numbered) -> Self {
        Self {
            id: format!("{run}-{}", numbered.number),
            seq: numbered.number,
            event: &numbered.event,
        }
    }
}

/// Milliseconds since 1970.
pub(super) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_name() {
        for (kind, name) in EventKind::ALL.iter().zip(EventKind::NAMES) {
            assert_eq!(serde_json::to_value(kind).unwrap(), *name);
        }
    }
}
