//! What the page is shown: the shapes of docs/admin.md.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr, sync::Arc, time::SystemTime};

use antiphon_hub::{
    hub::Client,
    id::ConnectionId,
    json::Json,
    occurrence::{Cause, Side, Subject},
};
use serde::{Deserialize, Serialize};

/// Tags of a connection in a list.
const LISTED_TAGS: usize = 16;

/// Longest `info` of a connection in a list, in bytes.
const LISTED_INFO: usize = 1024;

/// What went on in a second, and how things are.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Sample {
    pub(crate) at: u64,
    pub(crate) connections: usize,
    pub(crate) users: usize,
    pub(crate) tags: usize,
    pub(crate) received: u64,
    pub(crate) written: u64,
    pub(crate) published: u64,
    pub(crate) dropped: u64,
    pub(crate) received_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) waiting_connections: usize,
    pub(crate) waiting_messages: usize,
    pub(crate) waiting_bytes: usize,
    pub(crate) slow: u64,
    pub(crate) memory_used: usize,
    pub(crate) memory_limit: usize,
    pub(crate) handlers: usize,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) closes: BTreeMap<u16, u64>,
    pub(crate) cpu: Option<f64>,
    pub(crate) rss: Option<u64>,
}

/// A connection.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Arc<str>>,
    wire: Cow<'static, str>,
    connected_at: u64,
    last_active: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    tags: Vec<Arc<str>>,
    tags_count: usize,
    waiting: usize,
    waiting_bytes: usize,
    traced: bool,
}

impl Connection {
    /// All of it.
    pub(crate) fn of(client: &Client, traced: &[ConnectionId]) -> Self {
        let details = client.details();
        let identity = client.identity();
        Self {
            id: details.id,
            name: name(details.info.as_ref()),
            user: details.user,
            session: details.session,
            app: details.app,
            platform: details.platform,
            info: details.info,
            address: details.address,
            user_agent: details.user_agent,
            wire: details.wire,
            connected_at: details.connected_at,
            last_active: details.last_active,
            login_at: identity.issued_at.map(unix_millis),
            expires_at: details.expires_at,
            tags_count: details.tags.len(),
            tags: details.tags,
            waiting: details.waiting,
            waiting_bytes: details.waiting_bytes,
            traced: traced.contains(&details.id),
        }
    }

    /// As it was at its end.
    fn last(subject: &Subject) -> Self {
        Self {
            id: subject.connection,
            user: subject.user.clone(),
            name: name(subject.info.as_ref()),
            session: subject.session.clone(),
            app: subject.app.clone(),
            platform: subject.platform.clone(),
            info: subject.info.clone(),
            address: subject.address,
            user_agent: subject.user_agent.clone(),
            wire: Cow::Borrowed(subject.wire.name()),
            connected_at: unix_millis(subject.connected_at),
            last_active: subject.last_active,
            login_at: None,
            expires_at: None,
            tags_count: subject.tags.len(),
            tags: subject.tags.clone(),
            waiting: 0,
            waiting_bytes: 0,
            traced: false,
        }
        .listed()
    }

    /// As much of it as a list shows: what it says of itself may be long.
    pub(crate) fn listed(mut self) -> Self {
        self.tags.truncate(LISTED_TAGS);
        self.info.take_if(|info| info.as_str().len() > LISTED_INFO);
        self
    }
}

/// The name that a client shows.
pub(crate) fn name(info: Option<&Json>) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(default)]
        username: Option<serde_json::Value>,
        #[serde(default)]
        name: Option<serde_json::Value>,
    }
    // A list is no object, though it could be read as one.
    let info = info.filter(|info| info.as_str().starts_with('{'))?;
    let named: Named = info.to().ok()?;
    let text = |value: Option<serde_json::Value>| match value {
        Some(serde_json::Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    text(named.username).or_else(|| text(named.name))
}

/// A connection that has ended.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Closed {
    at: u64,
    by: Side,
    code: u16,
    reason: String,
    pub(crate) connection: Connection,
}

impl Closed {
    /// It has ended now.
    pub(crate) fn new(subject: &Subject, cause: &Cause) -> Self {
        Self {
            at: now(),
            by: cause.by,
            code: cause.code,
            reason: cause.reason.clone(),
            connection: Connection::last(subject),
        }
    }
}

/// Something that has happened, or that an administrator has done.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) at: u64,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connection: Option<ConnectionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

/// Milliseconds since 1970, now.
pub(crate) fn now() -> u64 {
    unix_millis(SystemTime::now())
}

/// Milliseconds since 1970.
pub(crate) fn unix_millis(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_the_client_shows_as_such() {
        for (info, expected) in [
            (r#"{"username":"ada","name":"Ada L."}"#, Some("ada")),
            (r#"{"username":"","name":"Ada L."}"#, Some("Ada L.")),
            (r#"{"username":7,"name":"Ada L."}"#, Some("Ada L.")),
            (r#"{"name":null}"#, None),
            (r#"["ada"]"#, None),
            (r#""ada""#, None),
        ] {
            let info = Json::parse(info).unwrap();
            assert_eq!(name(Some(&info)).as_deref(), expected, "{}", info.as_str());
        }
        assert_eq!(name(None), None);
    }
}
