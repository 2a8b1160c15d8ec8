//! Sessions of the mode `hotgo`: its tokens have no end of their own, so the server keeps one for each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use antiphon_hub::identity::Identity;

use crate::{
    auth::{
        jwks::BoxFuture,
        secret::{self, Digest},
        settings::SessionSettings,
    },
    setting::Secret,
    value,
};

/// Why a token has no session here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionError {
    /// It never had one.
    Unknown,
    /// It ended.
    Expired,
    /// The same user has signed in again since, and only one login may be.
    Replaced,
    /// There are as many as there may be, or the store does not answer.
    Unavailable,
}

/// Where sessions are kept. A session is named by the SHA-256 of its token; the token itself is never stored.
pub(crate) trait SessionStore: Send + Sync {
    /// Opens a session that counts from `since`, and names those that it replaces (where one user may sign in once).
    ///
    /// # Errors
    ///
    /// It would be over already, a newer login stands, or there is no room.
    fn register<'a>(
        &'a self,
        token: &'a Secret,
        identity: &'a Identity,
        since: SystemTime,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<Vec<Arc<str>>, SessionError>>;

    /// Finds the session of a token, and lengthens it where its settings say so; gives its end.
    ///
    /// # Errors
    ///
    /// There is none that counts.
    fn validate<'a>(
        &'a self,
        token: &'a Secret,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<SystemTime, SessionError>>;

    /// Ends the session of a token; whether there was one.
    fn logout<'a>(&'a self, token: &'a Secret) -> BoxFuture<'a, bool>;

    /// Forgets what has ended; to be called now and then.
    fn sweep(&self, now: SystemTime);

    /// How many there are.
    fn len(&self) -> usize;
}

/// How the session of a token is called in an identity and among the revocations.
pub(crate) fn session_name(token: &Secret) -> Arc<str> {
    value::to_hex(&secret::digest(token)).into()
}

/// Sessions in the memory of this process; a restart forgets them.
#[derive(Debug)]
pub(crate) struct MemorySessions {
    settings: SessionSettings,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<Digest, Session>,
    /// The newest login of an application and a user, where there may be one.
    owners: HashMap<Owner, Digest>,
}

type Owner = (Option<Arc<str>>, Option<Arc<str>>);

#[derive(Debug)]
struct Session {
    owner: Owner,
    since: SystemTime,
    ends: SystemTime,
    refreshed: SystemTime,
    refreshes: u64,
}

impl MemorySessions {
    /// No sessions yet.
    pub(crate) fn new(settings: SessionSettings) -> Self {
        Self {
            settings,
            inner: Mutex::default(),
        }
    }

    fn open(
        &self,
        token: &Secret,
        identity: &Identity,
        since: SystemTime,
        now: SystemTime,
    ) -> Result<Vec<Arc<str>>, SessionError> {
        let digest = secret::digest(token);
        let owner: Owner = (identity.app.clone(), identity.user.clone());
        let ends = since.min(now) + self.settings.expires;
        if ends <= now {
            return Err(SessionError::Expired);
        }
        let mut inner = self.lock();
        let mut replaced = Vec::new();
        if !self.settings.multi_login
            && let Some(other) = inner.owners.get(&owner).copied()
            && other != digest
        {
            let stands = inner.sessions.get(&other).filter(|other| other.ends > now);
            if stands.is_some_and(|other| other.since > since) {
                return Err(SessionError::Replaced);
            }
            if inner.sessions.remove(&other).is_some() {
                replaced.push(value::to_hex(&other).into());
            }
        }
        if inner.sessions.len() >= self.settings.max_sessions
            && !inner.sessions.contains_key(&digest)
        {
            inner.sweep(now);
            if inner.sessions.len() >= self.settings.max_sessions {
                return Err(SessionError::Unavailable);
            }
        }
        if !self.settings.multi_login {
            inner.owners.insert(owner.clone(), digest);
        }
        let session = Session {
            owner,
            since,
            ends,
            refreshed: now,
            refreshes: 0,
        };
        inner.sessions.insert(digest, session);
        Ok(replaced)
    }

    fn check(&self, token: &Secret, now: SystemTime) -> Result<SystemTime, SessionError> {
        let settings = &self.settings;
        let mut inner = self.lock();
        let session = inner
            .sessions
            .get_mut(&secret::digest(token))
            .ok_or(SessionError::Unknown)?;
        if session.ends <= now {
            return Err(SessionError::Expired);
        }
        let rested = now
            .duration_since(session.refreshed)
            .is_ok_and(|rest| rest >= settings.refresh_interval);
        let allowed =
            u64::try_from(settings.max_refresh_times).map_or(true, |max| session.refreshes < max);
        if settings.auto_refresh && rested && allowed {
            session.ends = now + settings.expires;
            session.refreshed = now;
            session.refreshes += 1;
        }
        Ok(session.ends)
    }

    fn close(&self, token: &Secret) -> bool {
        let digest = secret::digest(token);
        let mut inner = self.lock();
        let Some(session) = inner.sessions.remove(&digest) else {
            return false;
        };
        if inner.owners.get(&session.owner) == Some(&digest) {
            inner.owners.remove(&session.owner);
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn sweep(&mut self, now: SystemTime) {
        self.sessions.retain(|_, session| session.ends > now);
        let sessions = &self.sessions;
        self.owners
            .retain(|_, newest| sessions.contains_key(newest));
    }
}

impl SessionStore for MemorySessions {
    fn register<'a>(
        &'a self,
        token: &'a Secret,
        identity: &'a Identity,
        since: SystemTime,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<Vec<Arc<str>>, SessionError>> {
        Box::pin(std::future::ready(self.open(token, identity, since, now)))
    }

    fn validate<'a>(
        &'a self,
        token: &'a Secret,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<SystemTime, SessionError>> {
        Box::pin(std::future::ready(self.check(token, now)))
    }

    fn logout<'a>(&'a self, token: &'a Secret) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(self.close(token)))
    }

    fn sweep(&self, now: SystemTime) {
        self.lock().sweep(now);
    }

    fn len(&self) -> usize {
        self.lock().sessions.len()
    }
}

#[cfg(test)]
mod tests {
    use antiphon_hub::permission::Permissions;

    use super::*;

    const DAY: u64 = 86_400;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
    }

    fn user(name: &str) -> Identity {
        let mut identity = Identity::user(name, Permissions::default().into());
        identity.app = Some("admin".into());
        identity
    }

    fn store(change: impl FnOnce(&mut SessionSettings)) -> MemorySessions {
        let mut settings = SessionSettings::default();
        change(&mut settings);
        MemorySessions::new(settings)
    }

    #[test]
    fn use_lengthens_a_session_once_a_day_and_thirty_times() {
        let store = store(|_| {});
        let token = Secret::new("t");
        assert_eq!(store.check(&token, at(0)), Err(SessionError::Unknown));
        store.open(&token, &user("1"), at(0), at(0)).unwrap();
        assert_eq!(store.check(&token, at(DAY - 1)), Ok(at(7 * DAY)));
        for day in 1..=30 {
            assert_eq!(
                store.check(&token, at(day * DAY)),
                Ok(at((day + 7) * DAY)),
                "{day}"
            );
        }
        assert_eq!(store.check(&token, at(31 * DAY)), Ok(at(37 * DAY)));
        assert_eq!(
            store.check(&token, at(37 * DAY)),
            Err(SessionError::Expired)
        );
    }

    #[test]
    fn refreshes_follow_their_settings() {
        for (auto, max, expected) in [(false, 30, 7), (true, 0, 7), (true, 1, 9), (true, -1, 9)] {
            let store = store(|settings| {
                settings.auto_refresh = auto;
                settings.max_refresh_times = max;
            });
            let token = Secret::new("t");
            store.open(&token, &user("1"), at(0), at(0)).unwrap();
            assert_eq!(
                store.check(&token, at(2 * DAY)),
                Ok(at(expected * DAY)),
                "{auto} {max}"
            );
        }
    }

    #[test]
    fn logging_out_ends_the_session() {
        let store = store(|settings| settings.multi_login = false);
        let token = Secret::new("t");
        store.open(&token, &user("1"), at(0), at(0)).unwrap();
        assert!(store.close(&token));
        assert!(!store.close(&token));
        assert_eq!(store.check(&token, at(1)), Err(SessionError::Unknown));
        assert!(store.lock().owners.is_empty());
    }

    #[test]
    fn the_newest_login_wins_where_there_may_be_one() {
        let store = store(|settings| settings.multi_login = false);
        let (old, new) = (Secret::new("old"), Secret::new("new"));
        assert_eq!(store.open(&old, &user("1"), at(10), at(10)), Ok(vec![]));
        assert_eq!(
            store.open(&new, &user("1"), at(20), at(20)),
            Ok(vec![session_name(&old)])
        );
        assert_eq!(store.check(&old, at(21)), Err(SessionError::Unknown));
        assert_eq!(
            store.open(&old, &user("1"), at(10), at(22)),
            Err(SessionError::Replaced)
        );
        assert!(store.check(&new, at(23)).is_ok());
        // Another user, and another application, are other logins.
        assert_eq!(store.open(&old, &user("2"), at(10), at(22)), Ok(vec![]));
        let mut elsewhere = user("1");
        elsewhere.app = Some("api".into());
        assert_eq!(
            store.open(&Secret::new("api"), &elsewhere, at(5), at(22)),
            Ok(vec![])
        );
    }

    #[test]
    fn several_logins_stand_beside_each_other() {
        let store = store(|_| {});
        for token in ["a", "b"] {
            assert_eq!(
                store.open(&Secret::new(token), &user("1"), at(0), at(0)),
                Ok(vec![])
            );
        }
        assert_eq!(store.len(), 2);
    }

    #[test]
    fn sessions_are_bounded_and_swept() {
        let store = store(|settings| settings.max_sessions = 1);
        let (a, b) = (Secret::new("a"), Secret::new("b"));
        store.open(&a, &user("1"), at(0), at(0)).unwrap();
        assert_eq!(
            store.open(&b, &user("2"), at(0), at(0)),
            Err(SessionError::Unavailable)
        );
        assert_eq!(store.open(&a, &user("1"), at(0), at(0)), Ok(vec![]));
        assert_eq!(
            store.open(&b, &user("2"), at(7 * DAY), at(7 * DAY)),
            Ok(vec![])
        );
        store.sweep(at(14 * DAY));
        assert_eq!(store.len(), 0);
    }

    #[test]
    fn a_token_that_is_too_old_opens_nothing() {
        let store = store(|_| {});
        let token = Secret::new("t");
        let opened = store.open(&token, &user("1"), at(0), at(7 * DAY));
        assert_eq!(opened, Err(SessionError::Expired));
        // A login in the future does not last longer.
        store
            .open(&token, &user("1"), at(100 * DAY), at(0))
            .unwrap();
        assert_eq!(store.check(&token, at(0)), Ok(at(7 * DAY)));
    }
}
