//! What a client may do: names and patterns of events and tags.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a client may do. The default allows nothing.
///
/// ```
/// use antiphon_hub::permission::{Patterns, Permissions};
///
/// let mut permissions = Permissions::default();
/// permissions.join = Patterns::new(["news", "user:{user}:*"]);
/// assert!(permissions.join.allow("news", None));
/// assert!(permissions.join.allow("user:42:inbox", Some("42")));
/// assert!(!permissions.join.allow("user:42:inbox", Some("43")));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Permissions {
    /// Events that the client may send to handlers.
    pub events: Patterns,
    /// Tags that it may join.
    pub join: Patterns,
    /// Tags to which it may publish itself.
    pub publish: Patterns,
    /// Tags whose members it may ask for.
    pub presence: Patterns,
}

impl Permissions {
    /// Everything is allowed.
    #[must_use]
    pub fn all() -> Self {
        let all = Patterns::new(["*"]);
        Self {
            events: all.clone(),
            join: all.clone(),
            publish: all.clone(),
            presence: all,
        }
    }
}

/// A list of names. `*` stands for any text, `{user}` for the client's user; an anonymous client matches no pattern
/// with `{user}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Patterns(Arc<[Box<str>]>);

impl Patterns {
    /// A list of patterns.
    pub fn new<I>(patterns: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Box<str>>,
    {
        Self(patterns.into_iter().map(Into::into).collect())
    }

    /// Whether `name` matches one of them.
    #[must_use]
    pub fn allow(&self, name: &str, user: Option<&str>) -> bool {
        self.0.iter().any(|pattern| matches(pattern, name, user))
    }

    /// Whether nothing matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

/// Whether a name matches a pattern, in time that is in proportion to the product of both lengths at most.
#[must_use]
pub fn matches(pattern: &str, name: &str, user: Option<&str>) -> bool {
    let user = user.filter(|user| !user.is_empty());
    // The user is literal text, also where it has a star.
    let mut tokens = Vec::with_capacity(pattern.len());
    for (index, part) in pattern.split("{user}").enumerate() {
        if index > 0 {
            let Some(user) = user else { return false };
            tokens.extend(user.bytes().map(Some));
        }
        tokens.extend(part.bytes().map(|byte| (byte != b'*').then_some(byte)));
    }
    glob(&tokens, name.as_bytes())
}

/// The usual two-pointer match, `None` being the star: on a mismatch only the latest star gives way.
fn glob(pattern: &[Option<u8>], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&None) {
            star = Some((p, n));
            p += 1;
        } else if pattern.get(p) == Some(&Some(name[n])) {
            p += 1;
            n += 1;
        } else if let Some((at, taken)) = star {
            p = at + 1;
            n = taken + 1;
            star = Some((at, n));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(Option::is_none)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, user, expected) in [
            ("*", "", None, true),
            ("*", "anything", None, true),
            ("news", "news", None, true),
            ("news", "newsroom", None, false),
            ("", "", None, true),
            ("", "a", None, false),
            ("room:*", "room:1", None, true),
            ("room:*", "room", None, false),
            ("*:1", "room:1", None, true),
            ("a*b*c", "a--b--c", None, true),
            ("a*b*c", "a--c--b", None, false),
            ("**", "x", None, true),
            ("user:{user}", "user:7", Some("7"), true),
            ("user:{user}", "user:7", None, false),
            ("user:{user}", "user:", Some(""), false),
            ("user:{user}", "user:77", Some("7"), false),
            ("{user}-{user}", "7-7", Some("7"), true),
            ("{user}-{user}", "7-8", Some("7"), false),
            ("user:{user}:*", "user:*:x", Some("*"), true),
            ("user:{user}:*", "user:8:x", Some("*"), false),
            ("*{user}*", "xx7yy", Some("7"), true),
        ] {
            assert_eq!(
                matches(pattern, name, user),
                expected,
                "{pattern} {name} {user:?}"
            );
        }
    }

    #[test]
    fn a_hostile_pair_ends() {
        let pattern = "*a".repeat(100) + "b";
        let name = "a".repeat(255);
        assert!(!matches(&pattern, &name, None));
    }
}
