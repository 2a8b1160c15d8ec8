//! Whom a message or a command is meant for.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::id::ConnectionId;

/// Whom a message or a command is meant for. In JSON: `"*"`, `{"c":id}`, `{"u":user}`, `{"t":tag}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Target {
    /// Everybody who is connected.
    #[serde(rename = "*")]
    All,
    /// One connection.
    #[serde(rename = "c")]
    Connection(ConnectionId),
    /// All connections of a user.
    #[serde(rename = "u")]
    User(Arc<str>),
    /// All connections that have joined a tag.
    #[serde(rename = "t")]
    Tag(Arc<str>),
}

impl Target {
    /// The name of the user or of the tag; `None` where no name is meant.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::User(name) | Self::Tag(name) => Some(name),
            Self::All | Self::Connection(_) => None,
        }
    }
}

/// For people and logs: names are quoted, and their control characters escaped.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Connection(id) => write!(f, "connection {id}"),
            Self::User(user) => write!(f, "user {user:?}"),
            Self::Tag(tag) => write!(f, "tag {tag:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_one_text_and_one_json() {
        let id = "0000000000000000000000000000000a";
        for (target, text, json) in [
            (Target::All, "all".to_owned(), r#""*""#.to_owned()),
            (
                Target::Connection(10.into()),
                format!("connection {id}"),
                format!(r#"{{"c":"{id}"}}"#),
            ),
            (
                Target::User("al\nice".into()),
                r#"user "al\nice""#.to_owned(),
                r#"{"u":"al\nice"}"#.to_owned(),
            ),
            (
                Target::Tag("room:1".into()),
                r#"tag "room:1""#.to_owned(),
                r#"{"t":"room:1"}"#.to_owned(),
            ),
        ] {
            assert_eq!(target.to_string(), text);
            assert_eq!(serde_json::to_string(&target).unwrap(), json);
            assert_eq!(serde_json::from_str::<Target>(&json).unwrap(), target);
        }
    }
}
