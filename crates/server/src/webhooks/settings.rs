//! What can be set about webhooks.

use std::time::Duration;

use antiphon_hub::permission::Patterns;
use serde::Deserialize;

use crate::{
    config::key::{Item, Key, Kind, Zero},
    outgoing::{endpoint::Endpoint, settings::between, sign::secret},
    setting::Secret,
    webhooks::event::EventKind,
};

/// Webhooks: a backend is told who comes and goes. The table `[webhooks]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where to post. Webhooks are off without it.
    pub(crate) url: Option<Endpoint>,
    /// Signs every request: at least 32 characters.
    #[serde(deserialize_with = "secret")]
    pub(crate) secret: Option<Secret>,
    /// File with the secret.
    pub(crate) secret_file: Option<String>,
    /// Which events are told.
    pub(crate) events: Vec<EventKind>,
    /// Tags whose `tag_occupied` and `tag_vacated` are told.
    pub(crate) tags: Patterns,
    /// Events that wait; beyond it the newest are dropped and counted.
    #[serde(deserialize_with = "between::<_, 1, 10_000_000>")]
    pub(crate) max_queue: usize,
    /// Most events of one request.
    #[serde(deserialize_with = "between::<_, 1, 10_000>")]
    pub(crate) batch_size: usize,
    /// Longest time that an event waits for others to join its batch.
    #[serde(with = "crate::setting::time")]
    pub(crate) batch_delay: Duration,
    /// Longest time for one try.
    #[serde(with = "crate::setting::time")]
    pub(crate) timeout: Duration,
    /// Tries for each batch; then it is dropped and counted.
    #[serde(deserialize_with = "between::<_, 1, 100>")]
    pub(crate) attempts: usize,
    /// Longest wait between two tries.
    #[serde(with = "crate::setting::time")]
    pub(crate) max_backoff: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: None,
            secret: None,
            secret_file: None,
            events: EventKind::ALL.to_vec(),
            tags: Patterns::new(["*"]),
            max_queue: 10_000,
            batch_size: 100,
            batch_delay: Duration::from_millis(100),
            timeout: Duration::from_secs(5),
            attempts: 5,
            max_backoff: Duration::from_secs(30),
        }
    }
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

/// The rows of `[webhooks]`.
pub(crate) const KEYS: &[Key] = &[
    key(
        "webhooks.url",
        Kind::Url,
        "",
        "Where to post, such as \"https://backend.example/antiphon/events\". Webhooks are off without it.",
    ),
    key(
        "webhooks.secret",
        Kind::Secret,
        "",
        "Signs every request, so that the backend knows who tells: at least 32 characters, such as from `openssl rand -hex 32`.",
    ),
    key(
        "webhooks.secret_file",
        Kind::SecretFile,
        "",
        "File with the secret.",
    ),
    key(
        "webhooks.events",
        Kind::List(Item::Choice(EventKind::NAMES)),
        "[\"connect\", \"disconnect\", \"user_online\", \"user_offline\", \"tag_occupied\", \"tag_vacated\"]",
        "Which events are told.",
    ),
    key(
        "webhooks.tags",
        Kind::List(Item::Pattern),
        "[\"*\"]",
        "Tags whose tag_occupied and tag_vacated are told.",
    ),
    key(
        "webhooks.max_queue",
        Kind::Count(1, 10_000_000),
        "10000",
        "Events that wait; beyond it the newest are dropped, and the next batch says how many.",
    ),
    key(
        "webhooks.batch_size",
        Kind::Count(1, 10_000),
        "100",
        "Most events of one request.",
    ),
    key(
        "webhooks.batch_delay",
        Kind::Time(Zero::Allowed),
        "\"100ms\"",
        "Longest time that an event waits for others to join its batch.",
    ),
    key(
        "webhooks.timeout",
        Kind::Time(Zero::Refused),
        "\"5s\"",
        "Longest time for one try, from the connection to the end of the answer.",
    ),
    key(
        "webhooks.attempts",
        Kind::Count(1, 100),
        "5",
        "Tries for each batch; then it is dropped, and the next batch says how many events.",
    ),
    key(
        "webhooks.max_backoff",
        Kind::Time(Zero::Allowed),
        "\"30s\"",
        "Longest wait between two tries; the first is at most 2 s, and each bound twice the one before.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_judged() {
        let settings: Settings = toml::from_str(
            r#"
            url = "https://backend.example/events?token=canary"
            secret = "0123456789abcdef-canary-89abcdef"
            events = ["user_online", "user_offline"]
            tags = ["room:*"]
            batch_delay = "1s"
            "#,
        )
        .unwrap();
        assert_eq!(
            settings.events,
            [EventKind::UserOnline, EventKind::UserOffline]
        );
        assert_eq!(settings.batch_delay, Duration::from_secs(1));
        assert!(!format!("{settings:?}").contains("canary"));
        for (text, part) in [
            ("secret = 'short'", "too short"),
            ("events = ['connected']", "unknown variant"),
            ("max_queue = 0", "out of range"),
            ("batch_size = 10001", "out of range"),
            ("attempts = 0", "out of range"),
            ("nothing = 1", "unknown field"),
        ] {
            let error = toml::from_str::<Settings>(text).unwrap_err();
            assert!(error.message().contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn the_rows_tell_the_defaults() {
        let mut text = String::new();
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            text += &format!("{} = {}\n", key.path, key.default);
        }
        #[derive(Deserialize)]
        struct File {
            webhooks: Settings,
        }
        let file: File = toml::from_str(&text).unwrap();
        assert_eq!(file.webhooks, Settings::default());
    }
}
