//! How values of the configuration are written: times, sizes, and secrets that nothing prints.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A secret: read with [`Secret::expose`], and shown as `***` by everything else.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secret(Box<str>);

impl Secret {
    /// The secret in these words.
    pub(crate) fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for what needs it: never for a log, an error or a page.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret in quotes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret::new(text))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

/// A number alone, or text with a unit.
struct Quantity<T> {
    expecting: &'static str,
    parse: fn(&str) -> Result<T, String>,
}

impl<T> de::Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// `#[serde(with = "crate::setting::time")]` on a [`Duration`](std::time::Duration): `"10s"`, `"250ms"`, `2` (seconds).
pub(crate) mod time {
    use std::time::Duration;

    use serde::Deserializer;

    use crate::{setting::Quantity, value};

    /// Reads a time.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        d.deserialize_any(Quantity {
            expecting: "a time such as \"10s\" or \"250ms\"",
            parse: value::duration,
        })
    }
}

/// `#[serde(with = "crate::setting::size")]` on a number of bytes: `"64KiB"`, `65536`.
pub(crate) mod size {
    use serde::Deserializer;

    use crate::{setting::Quantity, value};

    /// Reads a size.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
        d.deserialize_any(Quantity {
            expecting: "a size such as \"64KiB\" or 65536",
            parse: value::size,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Sample {
        #[serde(with = "time")]
        wait: Duration,
        #[serde(with = "size")]
        most: usize,
        secret: Secret,
    }

    #[test]
    fn quantities_are_read_with_and_without_units() {
        for (text, wait, most) in [
            ("wait = '250ms'\nmost = '64KiB'\nsecret = 'x'", 250, 65_536),
            ("wait = 2\nmost = 10\nsecret = 'x'", 2_000, 10),
            ("wait = 1.5\nmost = '1kB'\nsecret = 'x'", 1_500, 1_000),
        ] {
            let sample: Sample = toml::from_str(text).unwrap();
            assert_eq!(sample.wait, Duration::from_millis(wait), "{text}");
            assert_eq!(sample.most, most, "{text}");
        }
        for text in [
            "wait = '1 parsec'\nmost = 1\nsecret = 'x'",
            "wait = -1\nmost = 1\nsecret = 'x'",
            "wait = 1\nmost = -1\nsecret = 'x'",
            "wait = 1\nmost = true\nsecret = 'x'",
        ] {
            assert!(toml::from_str::<Sample>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_shows_itself_only_when_asked() {
        let sample: Sample = toml::from_str("wait=1\nmost=1\nsecret='canary'").unwrap();
        assert_eq!(format!("{:?}", sample.secret), "***");
        assert_eq!(serde_json::to_string(&sample.secret).unwrap(), "\"***\"");
        assert_eq!(sample.secret.expose(), "canary");
        assert!(!sample.secret.is_empty() && Secret::default().is_empty());
        let error = toml::from_str::<Secret>("x = 'canary'").unwrap_err();
        assert!(!error.message().contains("canary"));
    }
}
