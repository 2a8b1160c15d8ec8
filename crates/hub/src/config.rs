//! Every bound and policy of a hub, with its default.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::permission;

/// What happens to a message for a connection that does not keep up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Overflow {
    /// The connection is closed with 3008; its client connects again and starts from what is then.
    #[default]
    Disconnect,
    /// The message is dropped, and the client is told from where to where (`$gap`).
    Drop,
    /// A message takes the place of an older one with the same key that still waits, also in a full queue; one that has
    /// nothing to replace is dropped there, as with `Drop`. Without a key the tag is the key; a message that has neither
    /// replaces nothing.
    Latest,
}

/// What happens when a user who is online connects once more.
///
/// `Newest` and `Platform` hold for all nodes of a cluster, by the nodes' clocks; the other two for each node by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LoginPolicy {
    /// All connections stay, up to [`HubConfig::max_connections_per_user`].
    #[default]
    All,
    /// Older connections are closed with 3511.
    Newest,
    /// The new connection is refused with 3511.
    Oldest,
    /// Older connections with the same [`platform`](crate::identity::Identity::platform) are closed with 3511.
    Platform,
}

/// Which clients may publish to a tag themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PublishRule {
    /// Those whose permissions say so.
    #[default]
    Permitted,
    /// Those, and all members.
    Members,
    /// None; the server alone.
    Nobody,
}

/// How the tags with a certain name behave. The first rule that matches a tag is the tag's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TagRule {
    /// Names of the tags; `*` stands for any text.
    pub pattern: Box<str>,
    /// What happens to messages for members that do not keep up. Default: the hub's.
    pub overflow: Option<Overflow>,
    /// Whether members may ask who else is there. Default `true`.
    pub presence: bool,
    /// Which clients may publish to the tag themselves. Default [`PublishRule::Permitted`].
    pub publish: PublishRule,
    /// Whether members are told who joins and leaves, at most once in [`HubConfig::notice_interval`]. In a cluster they are
    /// told of those on their own node. Default `false`.
    pub notices: bool,
}

impl TagRule {
    /// A rule with the defaults.
    #[must_use]
    pub fn new(pattern: impl Into<Box<str>>) -> Self {
        Self {
            pattern: pattern.into(),
            overflow: None,
            presence: true,
            publish: PublishRule::Permitted,
            notices: false,
        }
    }
}

/// The bounds and policies of a [`Hub`](crate::hub::Hub).
///
/// ```
/// use antiphon_hub::config::{HubConfig, LoginPolicy, TagRule};
///
/// let mut config = HubConfig::default();
/// config.login = LoginPolicy::Newest;
/// let mut rooms = TagRule::new("room:*");
/// rooms.notices = true;
/// config.tag_rules.push(rooms);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubConfig {
    /// What clients are told about the node they are connected to. Default: empty.
    pub node: Arc<str>,
    /// Most bytes that wait for one connection. Default 1 MiB.
    pub max_outbox_bytes: usize,
    /// Most messages that wait for one connection. Default 10,000.
    pub max_outbox_messages: usize,
    /// What happens beyond that, where no tag's rule says otherwise. Default [`Overflow::Disconnect`].
    pub overflow: Overflow,
    /// Most bytes of messages in all, waiting ones and those on their way; beyond it the connections with most waiting
    /// bytes are closed with 3008, and then sends are refused. Default 256 MiB.
    pub memory_budget: usize,
    /// Most connections. Default 1,000,000.
    pub max_connections: usize,
    /// Most connections of one user on one node; beyond it a new one is refused with 3504. Default 64.
    pub max_connections_per_user: usize,
    /// Most tags of one connection. Default 128.
    pub max_tags_per_connection: usize,
    /// Longest name of a tag, an event or a user in bytes. Default 255.
    pub max_name_length: usize,
    /// Messages that a client may send in a second, in the long run; 0 for any number. Default 100.
    pub message_rate: u32,
    /// Messages that it may send at once. Beyond it each is answered with 111; as many refusals more than
    /// messages that are let through meanwhile close the connection with 3013. Default 200.
    pub message_burst: u32,
    /// Most events of one client that wait for its earlier ones to be handled, and never more bytes of them than
    /// [`max_outbox_bytes`](Self::max_outbox_bytes); beyond it they are answered with 111. Default 256.
    pub max_inbox: usize,
    /// Most handlers that run at the same time, over all connections; others wait for their turn. Default 1,024.
    pub max_handlers: usize,
    /// How long a handler may take; then its request is answered with 113. Default 30 s.
    pub handler_timeout: Duration,
    /// How long a client may be connected without having said who it is; then it is closed with 3502. Default 10 s.
    pub authentication_timeout: Duration,
    /// Silence after which a client of `antiphon.v2.json` is sent a heartbeat that its script can see. Default 25 s.
    pub heartbeat_interval: Duration,
    /// What happens when a user connects once more. Default [`LoginPolicy::All`].
    pub login: LoginPolicy,
    /// How tags behave, by their names. Default: none.
    pub tag_rules: Vec<TagRule>,
    /// How long joins and leaves are collected before the members are told. Default 250 ms.
    pub notice_interval: Duration,
    /// How long clients of a server that stops are told to wait before they connect again, at most; each gets a time of
    /// its own. Default 5 s.
    pub reconnect_spread: Duration,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            node: Arc::from(""),
            max_outbox_bytes: 1024 * 1024,
            max_outbox_messages: 10_000,
            overflow: Overflow::Disconnect,
            memory_budget: 256 * 1024 * 1024,
            max_connections: 1_000_000,
            max_connections_per_user: 64,
            max_tags_per_connection: 128,
            max_name_length: 255,
            message_rate: 100,
            message_burst: 200,
            max_inbox: 256,
            max_handlers: 1024,
            handler_timeout: Duration::from_secs(30),
            authentication_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(25),
            login: LoginPolicy::All,
            tag_rules: Vec::new(),
            notice_interval: Duration::from_millis(250),
            reconnect_spread: Duration::from_secs(5),
        }
    }
}

impl HubConfig {
    /// The rule of a tag, where there is one.
    pub(crate) fn rule(&self, tag: &str) -> Option<&TagRule> {
        self.tag_rules
            .iter()
            .find(|rule| permission::matches(&rule.pattern, tag, None))
    }
}
