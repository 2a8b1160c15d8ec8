//! What can be set about outgoing requests.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de};

/// Outgoing requests of the whole server: hooks, webhooks, keys of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Requests under way at the same time, 1 to 65536; others wait. Default 256.
    #[serde(deserialize_with = "between::<_, 1, 65_536>")]
    pub(crate) max_concurrent: usize,
    /// Requests that may wait for their turn; more fail at once, 0 to 1000000. Default 1024.
    #[serde(deserialize_with = "between::<_, 0, 1_000_000>")]
    pub(crate) max_waiting: usize,
    /// Unused connections that are kept for the next request, for each server, for 30 s. Default 32.
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
