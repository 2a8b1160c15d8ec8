//! What can be set about hooks.

use std::time::Duration;

use antiphon_hub::permission::Patterns;
use http::{HeaderName, header};
use serde::{Deserialize, Deserializer, de};

use crate::{
    config::key::{Item, Key, Kind, Zero},
    outgoing::{endpoint::Endpoint, settings::between, sign::secret},
    setting::Secret,
};

/// Hooks: a backend in any language decides. The table `[hooks]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Signs every request, so that the backend knows who asks: at least 32 characters.
    #[serde(deserialize_with = "secret")]
    pub(crate) secret: Option<Secret>,
    /// File with the secret.
    pub(crate) secret_file: Option<String>,
    /// Header fields of the opening handshake that the hooks are sent, too.
    #[serde(deserialize_with = "forwardable")]
    pub(crate) forward_headers: Vec<HeaderName>,
    /// Longest answer of a hook.
    #[serde(with = "crate::setting::size")]
    pub(crate) max_response_size: usize,
    /// Who may connect.
    pub(crate) connect: HookSettings,
    /// Who may join a tag.
    pub(crate) subscribe: HookSettings,
    /// Who may publish what to a tag.
    pub(crate) publish: HookSettings,
    /// What events are answered.
    pub(crate) rpc: HookSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            secret: None,
            secret_file: None,
            forward_headers: Vec::new(),
            max_response_size: 64 << 10,
            connect: HookSettings::default(),
            subscribe: HookSettings::default(),
            publish: HookSettings::default(),
            rpc: HookSettings::default(),
        }
    }
}

/// One hook. It is off until it has a URL.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HookSettings {
    /// Where to ask.
    pub(crate) url: Option<Endpoint>,
    /// Longest time for one try.
    #[serde(with = "crate::setting::time")]
    pub(crate) timeout: Duration,
    /// More tries after a failure.
    #[serde(deserialize_with = "between::<_, 0, 10>")]
    pub(crate) retries: usize,
    /// Which tags or events it is asked about; the others are decided without it.
    pub(crate) only: Patterns,
}

impl Default for HookSettings {
    fn default() -> Self {
        Self {
            url: None,
            timeout: Duration::from_secs(1),
            retries: 1,
            only: Patterns::new(["*"]),
        }
    }
}

/// Reads names of header fields that may be handed on.
fn forwardable<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<HeaderName>, D::Error> {
    Vec::<String>::deserialize(d)?
        .iter()
        .map(|name| {
            let name = HeaderName::try_from(name.as_str())
                .map_err(|_| de::Error::custom("not the name of a header field"))?;
            if is_ours(&name) {
                return Err(de::Error::custom(format!(
                    "the header field {name} belongs to each connection alone and cannot be forwarded"
                )));
            }
            Ok(name)
        })
        .collect()
}

/// Header fields that say something about one connection or one request: the hook's have their own.
fn is_ours(name: &HeaderName) -> bool {
    const OURS: [HeaderName; 13] = [
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::EXPECT,
        header::HOST,
        header::PROXY_AUTHORIZATION,
        header::PROXY_AUTHENTICATE,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::USER_AGENT,
    ];
    OURS.contains(name)
        || name.as_str() == "keep-alive"
        || name.as_str().starts_with("sec-websocket-")
        || name.as_str().starts_with("x-antiphon-")
}

const fn key(path: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key {
        path,
        kind,
        default,
        about,
        live: false,
    }
}

const URL: &str =
    "Where to ask, such as \"https://backend.example/antiphon\". The hook is off without it.";
const TIMEOUT: &str = "Longest time for one try, from the connection to the end of the answer.";
const RETRIES: &str = "More tries after a failure that may pass: no connection, no answer in time, status 5xx or 429.";
const RETRIES_UNSENT: &str =
    "More tries where no connection could be made; what may have arrived is not sent twice.";
const ONLY_TAGS: &str = "Tags that it is asked about; the permissions alone decide about others.";
const ONLY_EVENTS: &str = "Events that it answers; handlers of the server come first.";

/// The rows of `[hooks]`.
pub(crate) const KEYS: &[Key] = &[
    key(
        "hooks.secret",
        Kind::Secret,
        "",
        "Signs every request, so that the backend knows who asks: at least 32 characters, such as from `openssl rand -hex 32`.",
    ),
    key(
        "hooks.secret_file",
        Kind::SecretFile,
        "",
        "File with the secret.",
    ),
    key(
        "hooks.forward_headers",
        Kind::List(Item::Text),
        "[]",
        "Header fields of the opening handshake that the hooks are sent, too, such as \"cookie\".",
    ),
    key(
        "hooks.max_response_size",
        Kind::Size(Zero::Refused),
        "\"64KiB\"",
        "Longest answer of a hook.",
    ),
];

/// The rows of `[hooks.connect]`.
pub(crate) const CONNECT: &[Key] = &[
    key("hooks.connect.url", Kind::Url, "", URL),
    key(
        "hooks.connect.timeout",
        Kind::Time(Zero::Refused),
        "\"1s\"",
        TIMEOUT,
    ),
    key("hooks.connect.retries", Kind::Count(0, 10), "1", RETRIES),
    key(
        "hooks.connect.only",
        Kind::List(Item::Pattern),
        "[\"*\"]",
        "Has no meaning for this hook: it is asked about every connection.",
    ),
];

/// The rows of `[hooks.subscribe]`.
pub(crate) const SUBSCRIBE: &[Key] = &[
    key("hooks.subscribe.url", Kind::Url, "", URL),
    key(
        "hooks.subscribe.timeout",
        Kind::Time(Zero::Refused),
        "\"1s\"",
        TIMEOUT,
    ),
    key("hooks.subscribe.retries", Kind::Count(0, 10), "1", RETRIES),
    key(
        "hooks.subscribe.only",
        Kind::List(Item::Pattern),
        "[\"*\"]",
        ONLY_TAGS,
    ),
];

/// The rows of `[hooks.publish]`.
pub(crate) const PUBLISH: &[Key] = &[
    key("hooks.publish.url", Kind::Url, "", URL),
    key(
        "hooks.publish.timeout",
        Kind::Time(Zero::Refused),
        "\"1s\"",
        TIMEOUT,
    ),
    key(
        "hooks.publish.retries",
        Kind::Count(0, 10),
        "1",
        RETRIES_UNSENT,
    ),
    key(
        "hooks.publish.only",
        Kind::List(Item::Pattern),
        "[\"*\"]",
        ONLY_TAGS,
    ),
];

/// The rows of `[hooks.rpc]`.
pub(crate) const RPC: &[Key] = &[
    key("hooks.rpc.url", Kind::Url, "", URL),
    key(
        "hooks.rpc.timeout",
        Kind::Time(Zero::Refused),
        "\"1s\"",
        TIMEOUT,
    ),
    key("hooks.rpc.retries", Kind::Count(0, 10), "1", RETRIES_UNSENT),
    key(
        "hooks.rpc.only",
        Kind::List(Item::Pattern),
        "[\"*\"]",
        ONLY_EVENTS,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_judged() {
        let settings: Settings = toml::from_str(
            r#"
            secret = "0123456789abcdef0123456789abcdef"
            forward_headers = ["Cookie", "X-Request-Id"]
            max_response_size = "1KiB"
            [connect]
            url = "https://backend.example/connect"
            timeout = "250ms"
            retries = 0
            [subscribe]
            url = "https://backend.example/subscribe"
            only = ["room:*"]
            "#,
        )
        .unwrap();
        assert_eq!(settings.forward_headers, ["cookie", "x-request-id"]);
        assert_eq!(settings.connect.timeout, Duration::from_millis(250));
        assert!(!settings.subscribe.only.allow("news", None));
        assert_eq!(settings.rpc, HookSettings::default());
        assert!(!format!("{settings:?}").contains("0123456789abcdef"));

        for (text, part) in [
            ("secret = 'short canary'", "too short"),
            ("forward_headers = ['Host']", "cannot be forwarded"),
            (
                "forward_headers = ['X-Antiphon-Signature']",
                "cannot be forwarded",
            ),
            ("forward_headers = ['a b']", "not the name"),
            ("connect.url = 'https://u:canary@x/'", "password"),
            ("connect.retries = 11", "out of range"),
            ("connect.nothing = 1", "unknown field"),
            ("nothing = 1", "unknown field"),
        ] {
            let error = toml::from_str::<Settings>(text).unwrap_err();
            assert!(error.message().contains(part), "{text}: {error}");
            assert!(!error.message().contains("canary"), "{text}");
        }
    }

    #[test]
    fn the_rows_tell_the_defaults() {
        let mut text = String::new();
        for key in [KEYS, CONNECT, SUBSCRIBE, PUBLISH, RPC].concat() {
            if !key.default.is_empty() {
                text += &format!("{} = {}\n", key.path, key.default);
            }
        }
        #[derive(Deserialize)]
        struct File {
            hooks: Settings,
        }
        let file: File = toml::from_str(&text).unwrap();
        assert_eq!(file.hooks, Settings::default());
    }
}
