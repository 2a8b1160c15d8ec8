//! Who has logged in to the admin page: random secrets of which only hashes are kept, few of them, none for ever.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use tokio::time::Instant;

use crate::setting::Secret;

/// Most sessions; a login beyond them ends the one that was not used for the longest time.
pub(crate) const MAX_SESSIONS: usize = 32;

/// SHA-256.
type Hash = [u8; 32];

/// A session that is open. Nothing opens it again: the secret is in the cookie alone.
#[derive(Clone, Copy, Debug)]
struct Session {
    csrf: Hash,
    number: u64,
    begun: Instant,
    used: Instant,
    ends: SystemTime,
}

/// What a login answers.
#[derive(Debug)]
pub(crate) struct Opened {
    /// For the cookie.
    pub(crate) secret: Secret,
    /// For the page.
    pub(crate) view: View,
}

/// A session as its own page sees it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Its number.
    pub(crate) number: u64,
    /// What the page shows with everything that changes something.
    pub(crate) csrf: Secret,
    /// When it ends whatever happens.
    pub(crate) ends: SystemTime,
}

/// The sessions of the page.
#[derive(Debug)]
pub(crate) struct Sessions {
    ttl: Duration,
    idle: Duration,
    open: Mutex<HashMap<Hash, Session>>,
    next: AtomicU64,
    evicted: AtomicU64,
}

impl Sessions {
    /// None yet. Each ends after `ttl`, or when it was not used for `idle`.
    pub(crate) fn new(ttl: Duration, idle: Duration) -> Self {
        Self {
            ttl,
            idle,
            open: Mutex::default(),
            next: AtomicU64::new(1),
            evicted: AtomicU64::new(0),
        }
    }

    /// A new one.
    pub(crate) fn open(&self) -> Opened {
        let secret = Secret::new(hexadecimal(&rand::random::<[u8; 32]>()));
        let csrf = csrf_of(secret.expose());
        let now = Instant::now();
        let session = Session {
            csrf: hash(csrf.expose().as_bytes()),
            number: self.next.fetch_add(1, Relaxed),
            begun: now,
            used: now,
            ends: SystemTime::now() + self.ttl,
        };
        let mut open = self.swept();
        if open.len() >= MAX_SESSIONS {
            let oldest = open.iter().min_by_key(|(_, session)| session.used);
            if let Some(oldest) = oldest.map(|(hash, _)| *hash) {
                open.remove(&oldest);
                self.evicted.fetch_add(1, Relaxed);
            }
        }
        open.insert(hash(secret.expose().as_bytes()), session);
        Opened {
            view: View {
                number: session.number,
                csrf,
                ends: session.ends,
            },
            secret,
        }
    }

    /// The session of a cookie, which is used by that.
    pub(crate) fn of_cookie(&self, secret: &str) -> Option<View> {
        let mut open = self.swept();
        let session = open.get_mut(&hash(secret.as_bytes()))?;
        session.used = Instant::now();
        Some(View {
            number: session.number,
            csrf: csrf_of(secret),
            ends: session.ends,
        })
    }

    /// The number of the session of a CSRF token.
    pub(crate) fn of_csrf(&self, csrf: &str) -> Option<u64> {
        let csrf = hash(csrf.as_bytes());
        let open = self.swept();
        let mut open = open.values();
        let session = open.find(|session| verify_slices_are_equal(&session.csrf, &csrf).is_ok())?;
        Some(session.number)
    }

    /// Somebody has used it; `false` where it is over.
    pub(crate) fn touch(&self, number: u64) -> bool {
        let mut open = self.swept();
        let session = open.values_mut().find(|session| session.number == number);
        session.is_some_and(|session| {
            session.used = Instant::now();
            true
        })
    }

    /// Whether it is open.
    pub(crate) fn is_open(&self, number: u64) -> bool {
        self.swept()
            .values()
            .any(|session| session.number == number)
    }

    /// Ends one.
    pub(crate) fn end(&self, number: u64) {
        self.swept().retain(|_, session| session.number != number);
    }

    /// Ends all.
    pub(crate) fn end_all(&self) {
        self.swept().clear();
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.swept().len()
    }

    /// How many had to go for a newer one.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    /// Those that are not over.
    fn swept(&self) -> MutexGuard<'_, HashMap<Hash, Session>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, session| {
            session.begun.elapsed() < self.ttl && session.used.elapsed() < self.idle
        });
        open
    }
}

/// The CSRF token of a session follows from its secret, which nobody but the browser has.
fn csrf_of(secret: &str) -> Secret {
    let hash = hash(format!("antiphon admin page: csrf of {secret}").as_bytes());
    Secret::new(hexadecimal(&hash))
}

/// SHA-256.
pub(crate) fn hash(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn sessions() -> Sessions {
        Sessions::new(12 * HOUR, HOUR)
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_when_nobody_uses_it_and_at_the_latest_after_its_time() {
        let sessions = sessions();
        let idle = sessions.open();
        let used = sessions.open();
        for hour in 0..12 {
            assert!(sessions.is_open(used.view.number), "{hour}");
            tokio::time::advance(HOUR - Duration::from_secs(1)).await;
            assert!(sessions.touch(used.view.number), "{hour}");
            assert_eq!(sessions.is_open(idle.view.number), hour == 0, "{hour}");
        }
        tokio::time::advance(Duration::from_secs(12)).await;
        assert!(!sessions.touch(used.view.number), "twelve hours are over");
        assert!(sessions.of_cookie(used.secret.expose()).is_none());
        assert_eq!(sessions.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cookie_and_its_token_are_of_one_session_alone() {
        let sessions = sessions();
        let (one, other) = (sessions.open(), sessions.open());
        let view = sessions.of_cookie(one.secret.expose()).unwrap();
        assert_eq!(view.csrf, one.view.csrf);
        assert_ne!(view.csrf, other.view.csrf);
        let number = sessions.of_csrf(one.view.csrf.expose()).unwrap();
        assert_eq!(number, one.view.number);
        for wrong in ["", "0", one.secret.expose()] {
            assert!(sessions.of_csrf(wrong).is_none());
        }
        assert!(sessions.of_cookie(one.view.csrf.expose()).is_none());
        sessions.end(one.view.number);
        assert!(sessions.of_csrf(one.view.csrf.expose()).is_none());
        assert_eq!(sessions.len(), 1);
        sessions.end_all();
        assert_eq!(sessions.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_beyond_the_bound_ends_the_session_that_was_idle_for_longest() {
        let sessions = sessions();
        let first = sessions.open();
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = sessions.open();
        for _ in 2..MAX_SESSIONS {
            tokio::time::advance(Duration::from_secs(1)).await;
            sessions.open();
        }
        sessions.touch(first.view.number);
        sessions.open();
        assert!(sessions.is_open(first.view.number));
        assert!(!sessions.is_open(second.view.number));
        assert_eq!((sessions.len(), sessions.evicted()), (MAX_SESSIONS, 1));
    }

    #[test]
    fn nothing_prints_a_secret() {
        let opened = sessions().open();
        let text = format!("{opened:?}");
        assert!(
            !text.contains(opened.secret.expose()) && !text.contains(opened.view.csrf.expose())
        );
    }
}
