//! Logins that ended before their time: by session, by user and time, by token.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use antiphon_hub::identity::Identity;

use crate::auth::secret::Digest;

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Revocation {
    /// One login: the `jti` of its token, or the key of its session.
    Session(String),
    /// All logins of a user that are not newer than this. A token without `iat` counts as older.
    User {
        /// Who.
        user: String,
        /// Until when the logins were made; whole seconds, as `iat` has.
        before: SystemTime,
    },
    /// One token by its SHA-256.
    Token(Digest),
}

/// There are as many revocations as there may be: this one is not in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The revocations of this server: at most `max`, each until its token would have ended.
#[derive(Debug)]
pub(crate) struct Revocations {
    max: usize,
    ttl: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<Box<str>, SystemTime>,
    tokens: HashMap<Digest, SystemTime>,
    /// Until when logins were made, and until when that is kept.
    users: HashMap<Box<str>, (SystemTime, SystemTime)>,
    refused: u64,
}

impl Revocations {
    /// None yet; at most `max`, each kept for `ttl` where the end of the token is not known.
    pub(crate) fn new(max: usize, ttl: Duration) -> Self {
        Self {
            max,
            ttl,
            inner: Mutex::default(),
        }
    }

    /// How long a revocation is kept where the end of the token is not known.
    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Revokes until the token's own end, where that is known.
    ///
    /// # Errors
    ///
    /// There are too many. What was there stays in force; a revocation that is not kept must be reported.
    pub(crate) fn revoke(
        &self,
        what: Revocation,
        until: Option<SystemTime>,
        now: SystemTime,
    ) -> Result<(), Full> {
        let until = until.unwrap_or(now + self.ttl);
        let mut inner = self.lock();
        let known = match &what {
            Revocation::Session(session) => inner.sessions.contains_key(session.as_str()),
            Revocation::User { user, .. } => inner.users.contains_key(user.as_str()),
            Revocation::Token(token) => inner.tokens.contains_key(token),
        };
        if !known && inner.len() >= self.max {
            inner.sweep(now);
            if inner.len() >= self.max {
                inner.refused += 1;
                return Err(Full);
            }
        }
        match what {
            Revocation::Session(session) => later(&mut inner.sessions, session.into(), until),
            Revocation::Token(token) => later(&mut inner.tokens, token, until),
            Revocation::User { user, before } => {
                let entry = inner.users.entry(user.into()).or_insert((before, until));
                *entry = (entry.0.max(before), entry.1.max(until));
            }
        }
        Ok(())
    }

    /// Whether this login was revoked.
    pub(crate) fn is_revoked(&self, identity: &Identity, now: SystemTime) -> bool {
        let inner = self.lock();
        let session = identity.session.as_deref();
        if session.is_some_and(|session| inner.sessions.get(session).is_some_and(|end| *end > now))
        {
            return true;
        }
        let user = identity.user.as_deref();
        user.and_then(|user| inner.users.get(user))
            .filter(|(_, end)| *end > now)
            .is_some_and(|(before, _)| identity.issued_at.is_none_or(|at| at <= *before))
    }

    /// Whether this token was revoked.
    pub(crate) fn is_token_revoked(&self, token: &Digest, now: SystemTime) -> bool {
        self.lock().tokens.get(token).is_some_and(|end| *end > now)
    }

    /// Forgets what does not matter any more; to be called now and then.
    pub(crate) fn sweep(&self, now: SystemTime) {
        self.lock().sweep(now);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// How many were refused because there were too many.
    pub(crate) fn refused(&self) -> u64 {
        self.lock().refused
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn len(&self) -> usize {
        self.sessions.len() + self.tokens.len() + self.users.len()
    }

    fn sweep(&mut self, now: SystemTime) {
        self.sessions.retain(|_, end| *end > now);
        self.tokens.retain(|_, end| *end > now);
        self.users.retain(|_, (_, end)| *end > now);
    }
}

fn later<K: Eq + Hash>(map: &mut HashMap<K, SystemTime>, key: K, until: SystemTime) {
    let entry = map.entry(key).or_insert(until);
    *entry = until.max(*entry);
}

#[cfg(test)]
mod tests {
    use antiphon_hub::permission::Permissions;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn login(user: &str, session: Option<&str>, issued: Option<u64>) -> Identity {
        let mut identity = Identity::user(user, Permissions::default().into());
        identity.session = session.map(Into::into);
        identity.issued_at = issued.map(at);
        identity
    }

    #[test]
    fn who_is_revoked() {
        let all = Revocations::new(10, Duration::from_secs(100));
        all.revoke(Revocation::Session("s".into()), None, at(1_000))
            .unwrap();
        let before = at(900);
        let user = "u".to_owned();
        all.revoke(Revocation::User { user, before }, None, at(1_000))
            .unwrap();
        all.revoke(Revocation::Token([7; 32]), Some(at(1_010)), at(1_000))
            .unwrap();
        for (identity, now, expected) in [
            (login("a", Some("s"), None), 1_000, true),
            (login("a", Some("s"), Some(2_000)), 1_099, true),
            (login("a", Some("s"), None), 1_100, false),
            (login("a", Some("t"), None), 1_000, false),
            (login("a", None, None), 1_000, false),
            (login("u", None, Some(899)), 1_000, true),
            (login("u", None, Some(900)), 1_000, true),
            (login("u", None, Some(901)), 1_000, false),
            (login("u", None, None), 1_000, true),
            (login("u", None, None), 1_100, false),
        ] {
            assert_eq!(
                all.is_revoked(&identity, at(now)),
                expected,
                "{identity:?} {now}"
            );
        }
        assert!(all.is_token_revoked(&[7; 32], at(1_009)));
        assert!(!all.is_token_revoked(&[7; 32], at(1_010)));
        assert!(!all.is_token_revoked(&[8; 32], at(1_000)));
        assert_eq!(all.len(), 3);
        all.sweep(at(1_100));
        assert_eq!(all.len(), 0);
    }

    #[test]
    fn an_earlier_time_does_not_take_a_later_one_back() {
        let all = Revocations::new(10, Duration::from_secs(100));
        for before in [900, 800] {
            let revocation = Revocation::User {
                user: "u".into(),
                before: at(before),
            };
            all.revoke(revocation, None, at(1_000)).unwrap();
        }
        assert!(all.is_revoked(&login("u", None, Some(850)), at(1_000)));
    }

    #[test]
    fn a_full_table_refuses_and_forgets_nothing_that_counts() {
        let all = Revocations::new(2, Duration::from_secs(100));
        let session = |name: &str| Revocation::Session(name.to_owned());
        all.revoke(session("a"), None, at(0)).unwrap();
        all.revoke(session("b"), None, at(50)).unwrap();
        assert_eq!(all.revoke(session("c"), None, at(60)), Err(Full));
        assert_eq!(all.revoke(session("b"), None, at(60)), Ok(()));
        assert_eq!(all.refused(), 1);
        assert!(all.is_revoked(&login("x", Some("a"), None), at(60)));
        assert_eq!(all.revoke(session("c"), None, at(100)), Ok(()));
        assert_eq!(all.len(), 2);
    }
}
