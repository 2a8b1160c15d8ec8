//! What can be set about outgoing requests.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de};

use crate::config::key::{Key, Kind};

/// Outgoing requests of the whole server: hooks, webhooks, keys of tokens. The table `[outgoing]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Requests under way at the same time, 1 to 65536; others wait. Default 256.
    #[serde(deserialize_with = "between::<_, 1, 65_536>")]
    pub(crate) max_concurrent: usize,
    /// Requests that may wait for their turn; more fail at once, 0 to 1000000. Default 1024.
    #[serde(deserialize_with = "between::<_, 0, 1_000_000>")]
    pub(crate) max_waiting: usize,
    /// Unused connections that are kept for the next request, for each server, for 4 s. Default 32.
    #[serde(deserialize_with = "between::<_, 0, 65_536>")]
    pub(crate) max_idle_per_host: usize,
    /// A PEM file with certificates that are trusted beside the operating system's. Default: none.
    pub(crate) trusted_certificates: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_concurrent: 256,
            max_waiting: 1024,
            max_idle_per_host: 32,
            trusted_certificates: None,
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

/// The rows of `[outgoing]`.
pub(crate) const KEYS: &[Key] = &[
    key(
        "outgoing.max_concurrent",
        Kind::Count(1, 65_536),
        "256",
        "Requests under way at the same time; others wait.",
    ),
    key(
        "outgoing.max_waiting",
        Kind::Count(0, 1_000_000),
        "1024",
        "Requests that may wait for their turn; more fail at once.",
    ),
    key(
        "outgoing.max_idle_per_host",
        Kind::Count(0, 65_536),
        "32",
        "Unused connections that are kept for the next request, for each server, for 4 s.",
    ),
    key(
        "outgoing.trusted_certificates",
        Kind::File,
        "",
        "PEM file with certificates that are trusted beside those of the operating system.",
    ),
];

/// Reads a number within bounds.
pub(crate) fn between<'de, D, const LEAST: usize, const MOST: usize>(
    d: D,
) -> Result<usize, D::Error>
where
    D: Deserializer<'de>,
{
    let number = usize::deserialize(d)?;
    if (LEAST..=MOST).contains(&number) {
        Ok(number)
    } else {
        Err(de::Error::custom(format!(
            "{number} is out of range: use {LEAST} to {MOST}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_tell_the_defaults() {
        let mut text = String::new();
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            text += &format!("{} = {}\n", key.path, key.default);
        }
        #[derive(Deserialize)]
        struct File {
            outgoing: Settings,
        }
        let file: File = toml::from_str(&text).unwrap();
        assert_eq!(file.outgoing, Settings::default());
        for text in ["max_concurrent = 0", "max_waiting = 1000001", "nothing = 1"] {
            assert!(toml::from_str::<Settings>(text).is_err(), "{text}");
        }
    }
}
