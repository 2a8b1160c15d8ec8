//! The number of a connection: 128 bits that nobody can guess.

use std::{error::Error, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The id of one connection: 128 bits from a CSPRNG, written as 32 hexadecimal digits.
///
/// ```
/// use antiphon_hub::id::ConnectionId;
///
/// let id = ConnectionId::random();
/// assert_eq!(id.to_string().parse(), Ok(id));
/// assert_eq!(id.to_string().len(), 32);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u128);

impl ConnectionId {
    /// A new id.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl From<u128> for ConnectionId {
    fn from(id: u128) -> Self {
        Self(id)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionId({self})")
    }
}

impl FromStr for ConnectionId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotAnId);
        }
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| NotAnId)
    }
}

impl Serialize for ConnectionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConnectionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The text is not the id of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnId;

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a connection id is 32 hexadecimal digits")
    }
}

impl Error for NotAnId {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_32_digits_are_an_id() {
        for text in [
            "",
            "0",
            "+0000000000000000000000000000001",
            "0000000000000000000000000000000g",
            "000000000000000000000000000000001",
        ] {
            assert_eq!(text.parse::<ConnectionId>(), Err(NotAnId), "{text}");
        }
        let id = ConnectionId::from(1);
        assert_eq!(id.to_string(), "00000000000000000000000000000001");
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
        assert_eq!(
            serde_json::from_str::<ConnectionId>(&format!("\"{id}\"")).unwrap(),
            id
        );
    }
}
