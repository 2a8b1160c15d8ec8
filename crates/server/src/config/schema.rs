//! Every section of the configuration: what each key means, what it holds, and its default.
//!
//! A section is written once. The macro makes of it the struct that the server reads and the rows of the table that
//! the reader, `config init` and the page of keys are made from. (It is long because the list is.)

use std::time::Duration;

use antiphon_hub::{
    config::{LoginPolicy, Overflow, PublishRule},
    permission::{Patterns, Permissions},
};
use serde::Deserialize;

use crate::{
    auth::settings::AuthSettings,
    config::{
        auth,
        key::{Item, Key, Kind, Zero},
    },
    hooks::settings::{self as hooks, Settings as Hooks},
    outgoing::settings::{self as outgoing, Settings as Outgoing},
    setting::Secret,
    webhooks::settings::{self as webhooks, Settings as Webhooks},
};

/// `name: type = default, kind, default as TOML;` and at the end `live` where a reload applies it.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident at $path:literal {
            $($(#[doc = $doc:literal])+ $(#[serde($($serde:tt)+)])? $field:ident: $type:ty = $default:expr, $kind:expr, $text:literal $(, $live:ident)?;)*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[doc = $doc])+ $(#[serde($($serde)+)])? pub(crate) $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            /// The section in the table of keys.
            pub(crate) const SECTION: Section = Section {
                path: $path,
                about: concat!($($about,)+),
                keys: &[$(Key {
                    path: concat!($path, ".", stringify!($field)),
                    kind: $kind,
                    default: $text,
                    about: concat!($($doc, "\n",)+),
                    live: section!(@live $($live)?),
                },)*],
            };
        }
    };
    (@live live) => { true };
    (@live) => { false };
}

/// A table of the configuration file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    /// Its name; `tags[]` where it is a list of tables.
    pub(crate) path: &'static str,
    /// What it is for.
    pub(crate) about: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [Key],
}

/// The configuration of `antiphon serve` as a realtime server.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Where to listen, and for whom.
    pub(crate) server: Server,
    /// Certificates.
    pub(crate) tls: Tls,
    /// The bounds of a WebSocket.
    pub(crate) websocket: WebSocket,
    /// What a client may use up.
    pub(crate) limits: Limits,
    /// What waits for a slow reader.
    pub(crate) outbox: Outbox,
    /// Rules for tags; the first whose pattern matches holds.
    pub(crate) tags: Vec<TagRule>,
    /// What clients may do.
    pub(crate) permissions: PermissionSettings,
    /// Users who log in more than once.
    pub(crate) login: Login,
    /// How clients say who they are.
    pub(crate) auth: AuthSettings,
    /// A backend that decides.
    pub(crate) hooks: Hooks,
    /// A backend that is told.
    pub(crate) webhooks: Webhooks,
    /// Requests to other servers.
    pub(crate) outgoing: Outgoing,
    /// The HTTP API.
    pub(crate) api: Api,
    /// The admin page.
    pub(crate) admin: Admin,
    /// Prometheus.
    pub(crate) metrics: Metrics,
    /// Probes.
    pub(crate) health: Health,
    /// The log.
    pub(crate) logs: Logs,
    /// OpenTelemetry.
    pub(crate) traces: Traces,
    /// How nodes hear of each other.
    pub(crate) broker: Broker,
}

/// Every section, in the order in which people read them.
pub(crate) const SECTIONS: &[Section] = &[
    Server::SECTION,
    Tls::SECTION,
    WebSocket::SECTION,
    Limits::SECTION,
    Outbox::SECTION,
    TagRule::SECTION,
    PermissionSettings::SECTION,
    ANONYMOUS,
    Login::SECTION,
    written("auth", "How clients say who they are.", auth::KEYS),
    written(
        "auth.sessions",
        "Sessions of the mode \"hotgo\".",
        auth::SESSIONS,
    ),
    written(
        "hooks",
        "Hooks: a backend in any language decides, over HTTP. Each is off until it has a URL.",
        hooks::KEYS,
    ),
    written(
        "hooks.connect",
        "Asked whether a client may connect.",
        hooks::CONNECT,
    ),
    written(
        "hooks.subscribe",
        "Asked whether a client may join a tag.",
        hooks::SUBSCRIBE,
    ),
    written(
        "hooks.publish",
        "Asked whether a client may publish to a tag, and what.",
        hooks::PUBLISH,
    ),
    written(
        "hooks.rpc",
        "Answers the events that no handler of the server knows.",
        hooks::RPC,
    ),
    written(
        "webhooks",
        "Webhooks: a backend is told who comes and goes, in order, signed, in batches, again after failures.",
        webhooks::KEYS,
    ),
    written(
        "outgoing",
        "Requests to other servers: hooks, webhooks and key sets share one HTTP client.",
        outgoing::KEYS,
    ),
    Api::SECTION,
    ApiKey::SECTION,
    Admin::SECTION,
    Metrics::SECTION,
    Health::SECTION,
    Logs::SECTION,
    Traces::SECTION,
    Broker::SECTION,
];

/// A section whose rows stand in the room that reads it.
const fn written(path: &'static str, about: &'static str, keys: &'static [Key]) -> Section {
    Section { path, about, keys }
}

section! {
    /// Where to listen, and for whom.
    Server at "server" {
        /// Address to listen on. A port alone is of this machine; port 0 picks a free one.
        listen: String = "127.0.0.1:8199".into(), Kind::Listen, "\"127.0.0.1:8199\"";
        /// Path of the WebSocket endpoint.
        path: String = "/socket".into(), Kind::Path, "\"/socket\"";
        /// Origins whose pages may connect besides those of the server's own origin, such as "https://app.example" or
        /// "https://*.example.com".
        origins: Vec<String> = vec![], Kind::List(Item::Origin), "[]";
        /// Pages of any origin may connect: every site that a user visits can then act in the user's name.
        insecure_any_origin: bool = false, Kind::Switch, "false";
        /// Allows insecure_ switches on an address that other machines can reach.
        i_know: bool = false, Kind::Switch, "false";
        /// Networks of reverse proxies whose X-Forwarded-For and Forwarded are believed, such as "10.0.0.0/8".
        trusted_proxies: Vec<String> = vec![], Kind::List(Item::Network), "[]";
        /// Most connections at a time. Without it: what the process may open less 64, at most 65,536.
        max_connections: Option<usize> = None, Kind::Count(1, u64::MAX), "";
        /// Most connections of one address (of one /64 in IPv6).
        max_connections_per_address: usize = 256, Kind::Count(1, u64::MAX), "256";
        /// Most connections before their first request has come.
        max_handshakes: usize = 2048, Kind::Count(1, u64::MAX), "2048";
        /// Time from accepting a connection to the answer that opens the WebSocket, TLS included.
        #[serde(with = "crate::setting::time")]
        handshake_timeout: Duration = Duration::from_secs(10), Kind::Time(Zero::Refused), "\"10s\"";
        /// Connections accepted in a second; more wait for their turn.
        accept_rate: u32 = 2000, Kind::Count(1, u32::MAX as u64), "2000";
        /// Threads that serve connections, each with a listener of its own where the system deals out connections
        /// (Linux). 0: one for each core.
        workers: usize = 0, Kind::Count(0, 1024), "0";
        /// Time in which connections are closed after a signal to stop; what is left then is dropped.
        #[serde(with = "crate::setting::time")]
        drain: Duration = Duration::from_secs(30), Kind::Time(Zero::Allowed), "\"30s\"", live;
        /// Clients of a server that stops are told to wait a random time up to this before they connect again.
        #[serde(with = "crate::setting::time")]
        reconnect_spread: Duration = Duration::from_secs(5), Kind::Time(Zero::Allowed), "\"5s\"", live;
        /// Folder of files to serve at /.
        static_root: Option<String> = None, Kind::File, "";
        /// Path at which to serve the client for browsers as a module, such as /antiphon.js. Without it: not at all.
        client: Option<String> = None, Kind::Path, "";
        /// Name of this node in a cluster and in answers of the API. Without it a random one.
        name: Option<String> = None, Kind::Text, "";
    }
}

section! {
    /// Certificates: with one the server speaks https and wss.
    Tls at "tls" {
        /// Certificate chain (PEM). SIGHUP reads it again.
        cert: Option<String> = None, Kind::File, "";
        /// Private key of the certificate (PEM).
        key: Option<String> = None, Kind::File, "";
        /// Make a certificate for localhost, for development: it is kept in memory alone.
        self_signed: bool = false, Kind::Switch, "false";
    }
}

section! {
    /// The bounds of a WebSocket.
    WebSocket at "websocket" {
        /// Longest message of a client, counted after inflating.
        #[serde(with = "crate::setting::size")]
        max_message_size: usize = 64 << 10, Kind::Size(Zero::Refused), "\"64KiB\"";
        /// Most fragments of one message, empty ones counted.
        max_fragments: u32 = 1024, Kind::Count(1, u32::MAX as u64), "1024";
        /// Silence after which a ping is sent; 0 for never.
        #[serde(with = "crate::setting::time")]
        ping_interval: Duration = Duration::from_secs(25), Kind::Time(Zero::Allowed), "\"25s\"";
        /// Time for any byte after that ping.
        #[serde(with = "crate::setting::time")]
        pong_timeout: Duration = Duration::from_secs(10), Kind::Time(Zero::Refused), "\"10s\"";
        /// Silence after which a client of antiphon.v2.json is sent a heartbeat that its script can see.
        #[serde(with = "crate::setting::time")]
        heartbeat_interval: Duration = Duration::from_secs(25), Kind::Time(Zero::Refused), "\"25s\"", live;
        /// Time in which a peer takes no byte of what is queued, before the connection is dropped.
        #[serde(with = "crate::setting::time")]
        write_timeout: Duration = Duration::from_secs(10), Kind::Time(Zero::Refused), "\"10s\"";
        /// Time for the peer's Close after ours.
        #[serde(with = "crate::setting::time")]
        close_timeout: Duration = Duration::from_secs(2), Kind::Time(Zero::Refused), "\"2s\"";
        /// Compress messages where the client can, too (permessage-deflate).
        compression: bool = false, Kind::Switch, "false";
    }
}

section! {
    /// What a client may use up.
    Limits at "limits" {
        /// Time for a client to authenticate after connecting, where it has to.
        #[serde(with = "crate::setting::time")]
        authentication_timeout: Duration = Duration::from_secs(10), Kind::Time(Zero::Refused), "\"10s\"", live;
        /// Most connections of one user.
        connections_per_user: usize = 64, Kind::Count(1, u64::MAX), "64", live;
        /// Most tags that a connection is in.
        tags_per_connection: usize = 128, Kind::Count(0, u64::MAX), "128", live;
        /// Longest name of a tag or an event, in bytes.
        tag_length: usize = 255, Kind::Count(1, 65_535), "255", live;
        /// Messages of a client in a second, in the long run.
        message_rate: u32 = 100, Kind::Count(1, 1_000_000), "100", live;
        /// Messages of a client at once.
        message_burst: u32 = 200, Kind::Count(1, 1_000_000), "200", live;
        /// Most event handlers at a time, of all connections together.
        handlers: usize = 1024, Kind::Count(1, 1_000_000), "1024";
        /// Time for a handler; its request is then answered with code 113.
        #[serde(with = "crate::setting::time")]
        handler_timeout: Duration = Duration::from_secs(30), Kind::Time(Zero::Refused), "\"30s\"", live;
        /// Messages of one connection that wait for its handlers; beyond it they are answered with code 111.
        inbox: usize = 256, Kind::Count(1, 65_536), "256", live;
        /// How long joins and leaves of a tag are collected before its members are told; who comes back in time has not left.
        #[serde(with = "crate::setting::time")]
        notice_interval: Duration = Duration::from_millis(250), Kind::Time(Zero::Allowed), "\"250ms\"", live;
        /// Memory of all outboxes together; beyond it the largest are shed. "auto" is a quarter of the memory limit of the
        /// cgroup, or of the machine.
        memory_budget: MemoryBudget = MemoryBudget::Auto, Kind::AutoSize, "\"auto\"", live;
    }
}

/// The bound of all outboxes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryBudget {
    /// A quarter of the memory that there is.
    Auto,
    /// This many bytes.
    Bytes(usize),
}

impl<'de> Deserialize<'de> for MemoryBudget {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Text {
            Word(String),
            Bytes(usize),
        }
        match Text::deserialize(deserializer)? {
            Text::Word(word) if word == "auto" => Ok(Self::Auto),
            Text::Word(word) => crate::value::positive_size(&word)
                .map(Self::Bytes)
                .map_err(serde::de::Error::custom),
            Text::Bytes(bytes) => Ok(Self::Bytes(bytes)),
        }
    }
}

section! {
    /// What waits for a slow reader, of each connection.
    Outbox at "outbox" {
        /// Most bytes that wait.
        #[serde(with = "crate::setting::size")]
        max_bytes: usize = 1 << 20, Kind::Size(Zero::Refused), "\"1MiB\"", live;
        /// Most messages that wait.
        max_messages: usize = 10_000, Kind::Count(1, u64::MAX), "10000", live;
        /// What happens when one more does not fit: the connection is closed with 3008; or the message is dropped and the
        /// client is told of the gap; or only the latest message of each tag is kept.
        overflow: Overflow = Overflow::Disconnect, Kind::Choice(OVERFLOW), "\"disconnect\"", live;
    }
}

const OVERFLOW: &[&str] = &["disconnect", "drop", "latest"];

section! {
    /// A rule for tags. The first rule whose pattern matches a tag's name holds; without one, the defaults.
    TagRule at "tags[]" {
        /// Names that the rule is for: `*` is any text.
        pattern: String = String::new(), Kind::Text, "", live;
        /// What happens when a message of the tag does not fit into an outbox; without it outbox.overflow.
        overflow: Option<Overflow> = None, Kind::Choice(OVERFLOW), "", live;
        /// Whether clients may ask who is in it, if their permissions say so too.
        presence: bool = true, Kind::Switch, "true", live;
        /// Whether its members are told who joins and leaves.
        notices: bool = false, Kind::Switch, "false", live;
        /// Which clients may publish to it: those whose permissions say so, also all of its members, or none.
        publish: PublishRule = PublishRule::Permitted, Kind::Choice(&["permitted", "members", "nobody"]), "\"permitted\"", live;
    }
}

section! {
    /// What users may do whose token says nothing of its own. Patterns: `*` is any text, `{user}` the client's user.
    PermissionSettings at "permissions" {
        /// Events that they may send to handlers.
        events: Patterns = Patterns::new(["*"]), Kind::List(Item::Pattern), "[\"*\"]", live;
        /// Tags that they may join.
        join: Patterns = Patterns::new(["*"]), Kind::List(Item::Pattern), "[\"*\"]", live;
        /// Tags to which they may publish themselves.
        publish: Patterns = Patterns::default(), Kind::List(Item::Pattern), "[]", live;
        /// Tags whose members they may ask for without being one of them; members always may.
        presence: Patterns = Patterns::default(), Kind::List(Item::Pattern), "[]", live;
        /// What clients without a user may do.
        anonymous: Permissions = Permissions::default(), Kind::Table, "", live;
    }
}

impl PermissionSettings {
    /// What users may do.
    pub(crate) fn users(&self) -> Permissions {
        let mut permissions = Permissions::default();
        permissions.events = self.events.clone();
        permissions.join = self.join.clone();
        permissions.publish = self.publish.clone();
        permissions.presence = self.presence.clone();
        permissions
    }
}

/// The rows of the hub's [`Permissions`].
const ANONYMOUS: Section = Section {
    path: "permissions.anonymous",
    about: " What clients without a user may do.",
    keys: &[
        anonymous(
            "permissions.anonymous.events",
            "Events that they may send to handlers.",
        ),
        anonymous("permissions.anonymous.join", "Tags that they may join."),
        anonymous(
            "permissions.anonymous.publish",
            "Tags to which they may publish themselves.",
        ),
        anonymous(
            "permissions.anonymous.presence",
            "Tags whose members they may ask for.",
        ),
    ],
};

const fn anonymous(path: &'static str, about: &'static str) -> Key {
    Key {
        path,
        kind: Kind::List(Item::Pattern),
        default: "[]",
        about,
        live: true,
    }
}

section! {
    /// Users who log in more than once.
    Login at "login" {
        /// Which connections of a user stay when one more comes: all; the newest alone; the oldest alone; or the newest of
        /// each platform. Those that go are closed with 3511.
        policy: LoginPolicy = LoginPolicy::All, Kind::Choice(&["all", "newest", "oldest", "platform"]), "\"all\"", live;
    }
}

section! {
    /// The HTTP API. It answers where there is a key.
    Api at "api" {
        /// Keys: [[api.keys]] below.
        keys: Vec<ApiKey> = vec![], Kind::Tables, "", live;
        /// TOML file with more [[keys]], as below. It is read again on a reload.
        keys_file: Option<String> = None, Kind::File, "", live;
        /// Path below which it answers.
        path: String = "/api".into(), Kind::Path, "\"/api\"";
        /// Address of its own to listen on; without it, the server's.
        listen: Option<String> = None, Kind::Listen, "";
        /// Longest body of a request.
        #[serde(with = "crate::setting::size")]
        max_body: usize = 1 << 20, Kind::Size(Zero::Refused), "\"1MiB\"";
        /// Most commands of a batch, and most tags or users of one call.
        max_batch: usize = 1000, Kind::Count(1, 100_000), "1000", live;
        /// Also answer the calls that hotgo's server has.
        hotgo: bool = false, Kind::Switch, "false";
        /// Send the messages of its call send/toTag as its server does: each once more in its own data.
        hotgo_double_wrap: bool = false, Kind::Switch, "false";
    }
}

section! {
    /// A key of the HTTP API. Make one with `openssl rand -hex 32`, and its hash with `printf %s KEY | sha256sum`.
    ApiKey at "api.keys[]" {
        /// Name for the log.
        name: String = String::new(), Kind::Text, "", live;
        /// SHA-256 of the key, 64 hexadecimal digits. The key itself is nowhere on the server.
        hash: String = String::new(), Kind::Text, "", live;
        /// What the key may do: "publish", "presence", "connections", "disconnect", "revoke", "info", "login", or "*".
        scopes: Vec<String> = vec!["*".into()], Kind::List(Item::Choice(SCOPES)), "[\"*\"]", live;
    }
}

/// What keys of the API may be allowed.
pub(crate) const SCOPES: &[&str] = &[
    "*",
    "publish",
    "subscribe",
    "presence",
    "connections",
    "disconnect",
    "revoke",
    "info",
    "login",
];

section! {
    /// The admin page. It is off until there is a token.
    Admin at "admin" {
        /// Address of its own to listen on; without it "127.0.0.1:8190".
        listen: Option<String> = None, Kind::Listen, "";
        /// What opens it: at least 16 characters, better 32 random ones.
        token: Option<Secret> = None, Kind::Secret, "", live;
        /// File with the token.
        token_file: Option<String> = None, Kind::SecretFile, "", live;
        /// Origins of the page behind a proxy, such as "https://admin.example": their hosts are answered, too.
        origins: Vec<String> = vec![], Kind::List(Item::Origin), "[]";
        /// Use the certificate of [tls] here, too.
        tls: bool = false, Kind::Switch, "false";
        /// How long a login lasts at most.
        #[serde(with = "crate::setting::time")]
        session_ttl: Duration = Duration::from_secs(12 * 3600), Kind::Time(Zero::Refused), "\"12h\"";
        /// How long it lasts while nobody does anything.
        #[serde(with = "crate::setting::time")]
        session_idle: Duration = Duration::from_secs(3600), Kind::Time(Zero::Refused), "\"1h\"";
    }
}

impl Admin {
    /// Where the page listens; nowhere without a token.
    pub(crate) fn address(&self) -> Option<&str> {
        self.token.as_ref()?;
        Some(self.listen.as_deref().unwrap_or("127.0.0.1:8190"))
    }
}

section! {
    /// Metrics for Prometheus. On the server's own address they need a token.
    Metrics at "metrics" {
        /// Address of its own to listen on, such as "127.0.0.1:8191".
        listen: Option<String> = None, Kind::Listen, "";
        /// Path at which they answer.
        path: String = "/metrics".into(), Kind::Path, "\"/metrics\"";
        /// Bearer token that a reader has to send: at least 16 characters.
        token: Option<Secret> = None, Kind::Secret, "", live;
        /// File with the token.
        token_file: Option<String> = None, Kind::SecretFile, "", live;
    }
}

section! {
    /// Probes of an orchestrator.
    Health at "health" {
        /// Path that answers 200 while the process works.
        live: String = "/live".into(), Kind::Path, "\"/live\"";
        /// Path that answers 200 while new connections are welcome, and 503 from the start of a drain.
        ready: String = "/ready".into(), Kind::Path, "\"/ready\"";
    }
}

section! {
    /// The log, on stderr.
    Logs at "logs" {
        /// Lines for people, or JSON objects.
        format: LogFormat = LogFormat::Text, Kind::Choice(&["text", "json"]), "\"text\"";
        /// What to log: a level, or crate=level,...
        level: String = "info".into(), Kind::Text, "\"info\"", live;
        /// Lines in a second for one reason, such as bad tokens; the rest is counted.
        rate: u32 = 1, Kind::Count(1, 10_000), "1", live;
    }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

section! {
    /// Traces for OpenTelemetry. They are off until there is an endpoint.
    Traces at "traces" {
        /// OTLP over HTTP, such as "http://127.0.0.1:4318/v1/traces".
        endpoint: Option<String> = None, Kind::Url, "";
        /// Share of the requests that are traced.
        sample: f64 = 0.01, Kind::Ratio, "0.01", live;
    }
}

section! {
    /// How the nodes of a cluster hear of each other.
    Broker at "broker" {
        /// A server alone needs nothing but its memory.
        kind: BrokerKind = BrokerKind::Memory, Kind::Choice(&["memory"]), "\"memory\"";
    }
}

/// Which broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BrokerKind {
    /// The memory of this process.
    Memory,
}
