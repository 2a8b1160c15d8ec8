//! Who may call what: the keys of the HTTP API and their scopes.

use std::fmt;

use aws_lc_rs::{constant_time, digest};
use http::{HeaderMap, header};

use crate::{
    config::schema::{self, ApiKey},
    value,
};

/// Fewest characters of a key. What is shorter is no key, whatever the configuration has the hash of: it could be
/// guessed.
pub(crate) const SHORTEST_KEY: usize = 20;

/// Most bytes of a header that are looked at as a key.
pub(crate) const LONGEST_KEY: usize = 1024;

/// What a key may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Send messages.
    Publish,
    /// Have connections join and leave tags.
    Subscribe,
    /// See tags and who is in them.
    Presence,
    /// See connections and users.
    Connections,
    /// Close connections and move their end.
    Disconnect,
    /// Take logins back.
    Revoke,
    /// See the node.
    Info,
    /// Make logins and end them.
    Login,
    /// Nothing that a key needs a scope for.
    Any,
}

impl Scope {
    /// The name in the configuration.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Presence => "presence",
            Self::Connections => "connections",
            Self::Disconnect => "disconnect",
            Self::Revoke => "revoke",
            Self::Info => "info",
            Self::Login => "login",
            Self::Any => "*",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Any => 0,
            other => 1 << other as u8,
        }
    }
}

/// What one key may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scopes(u8);

impl Scopes {
    /// The scopes with these names.
    pub(crate) fn of<S: AsRef<str>>(names: &[S]) -> Self {
        const ALL: [Scope; 8] = [
            Scope::Publish,
            Scope::Subscribe,
            Scope::Presence,
            Scope::Connections,
            Scope::Disconnect,
            Scope::Revoke,
            Scope::Info,
            Scope::Login,
        ];
        let mut bits = 0;
        for scope in ALL {
            if names
                .iter()
                .any(|name| matches!(name.as_ref(), "*") || name.as_ref() == scope.name())
            {
                bits |= scope.bit();
            }
        }
        Self(bits)
    }

    /// Whether the key may do this.
    pub(crate) fn allow(self, scope: Scope) -> bool {
        self.0 & scope.bit() == scope.bit()
    }
}

/// A key that was shown and is one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The key's name, for the log.
    pub(crate) name: Box<str>,
    /// What it may do.
    pub(crate) scopes: Scopes,
}

/// All keys.
pub(crate) struct Keys(Vec<(schema::ApiKey, [u8; 32], Scopes)>);

impl Keys {
    /// The keys of the configuration. One whose hash is none is left out: the configuration has been checked.
    pub(crate) fn new(keys: &[ApiKey]) -> Self {
        let keys = keys.iter().filter_map(|key| {
            let hash = value::hex(&key.hash).ok()?.try_into().ok()?;
            Some((key.clone(), hash, Scopes::of(&key.scopes)))
        });
        Self(keys.collect())
    }

    /// Whether there is none, so that nobody gets in.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who shows this key. All keys are compared, each in the same time.
    pub(crate) fn find(&self, shown: &[u8]) -> Option<Holder> {
        let shown_hash = hash(shown);
        let mut found = None;
        for (key, hash, scopes) in &self.0 {
            let same = constant_time::verify_slices_are_equal(hash, &shown_hash).is_ok();
            if same && (SHORTEST_KEY..=LONGEST_KEY).contains(&shown.len()) {
                found = Some((key, *scopes));
            }
        }
        found.map(|(key, scopes)| Holder {
            name: key.name.as_str().into(),
            scopes,
        })
    }
}

/// Without hashes: they are no secrets, but nobody needs them in a log.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(key, _, _)| &key.name))
            .finish()
    }
}

/// The key that a request shows: `X-API-Key: KEY` or `Authorization: apikey KEY`, and nowhere else.
pub(crate) fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get("x-api-key") {
        return Some(key.as_bytes());
    }
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, key) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"apikey ")
        .then(|| key.trim_ascii())
}

/// SHA-256, as the configuration has it of each key.
pub(crate) fn hash(key: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, key).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const KEY: &str = "0123456789abcdef0123";

    fn key(name: &str, key: &str, scopes: &[&str]) -> ApiKey {
        ApiKey {
            name: name.into(),
            hash: value::to_hex(&hash(key.as_bytes())),
            scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
        }
    }

    #[test]
    fn a_key_is_found_by_its_hash_alone_and_short_ones_are_none() {
        let mut upper = key("upper", "fedcba98765432100123", &["*"]);
        upper.hash.make_ascii_uppercase();
        let keys = Keys::new(&[
            key("a", KEY, &["publish", "info"]),
            upper,
            key("short", "0123456789", &["*"]),
        ]);
        let a = keys.find(KEY.as_bytes()).unwrap();
        assert_eq!(&*a.name, "a");
        assert!(a.scopes.allow(Scope::Publish) && a.scopes.allow(Scope::Info));
        assert!(!a.scopes.allow(Scope::Revoke) && a.scopes.allow(Scope::Any));
        let all = keys.find(b"fedcba98765432100123").unwrap().scopes;
        assert!(all.allow(Scope::Revoke) && all.allow(Scope::Subscribe));
        for nobody in ["", "0123456789", "0123456789abcdef012", "x"] {
            assert_eq!(keys.find(nobody.as_bytes()), None, "{nobody}");
        }
        assert_eq!(format!("{keys:?}"), r#"["a", "upper", "short"]"#);
        assert!(Keys::new(&[]).is_empty());
    }

    #[test]
    fn every_scope_of_the_configuration_is_known() {
        for scope in schema::SCOPES {
            assert_ne!(Scopes::of(&[scope]), Scopes::default(), "{scope}");
        }
        assert_eq!(Scopes::of(&["nonsense"]), Scopes::default());
        assert_eq!(Scopes::of(schema::SCOPES), Scopes::of(&["*"]));
    }

    #[test]
    fn a_key_is_read_from_two_headers() {
        for (name, value, expected) in [
            ("x-api-key", KEY, Some(KEY)),
            ("authorization", "apikey 0123456789abcdef0123", Some(KEY)),
            ("authorization", "ApiKey  0123456789abcdef0123 ", Some(KEY)),
            ("authorization", "Bearer 0123456789abcdef0123", None),
            ("authorization", "apikey", None),
            ("cookie", "x-api-key=0123456789abcdef0123", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(
                shown(&headers),
                expected.map(str::as_bytes),
                "{name}: {value}"
            );
        }
    }
}
