//! One session after another: when to connect again, and when not to.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    time::Duration,
};

use antiphon_proto::close::{CloseCode, CloseFrame};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use crate::{
    client::{Client, Failure, printable},
    error::{Error, ErrorKind},
    socket::WebSocket,
};

/// Longest wait that a server can ask for with `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// How long to wait before connecting again: a random time ("full jitter") below a ceiling that doubles with each
/// attempt, so that the clients of a server that comes back do not come all at once.
///
/// ```
/// use antiphon::Backoff;
/// use std::time::Duration;
///
/// let backoff = Backoff::new().max(Duration::from_secs(10)).max_attempts(20);
/// # let _ = backoff;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    reset_after: Duration,
    max_attempts: Option<u32>,
}

impl Backoff {
    /// 0 to 0.5 s after the first failure, a ceiling that doubles up to 30 s, reset after a session of 10 s, attempts
    /// without end.
    #[must_use]
    pub fn new() -> Self {
        Self {
            base: Duration::from_millis(500),
            max: Duration::from_secs(30),
            reset_after: Duration::from_secs(10),
            max_attempts: None,
        }
    }

    /// The ceiling of the first wait. Default 0.5 s.
    #[must_use]
    pub fn base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// The highest ceiling. Default 30 s.
    #[must_use]
    pub fn max(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// A session that lives this long counts as a success: the waits start from the beginning. Default 10 s.
    #[must_use]
    pub fn reset_after(mut self, lived: Duration) -> Self {
        self.reset_after = lived;
        self
    }

    /// Gives up after this many attempts without such a success, the first one counted. Default: never.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// Where in its back-off a client is. Time and chance are arguments.
#[derive(Clone, Debug)]
struct Schedule {
    backoff: Backoff,
    attempts: u32,
}

impl Schedule {
    fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            attempts: 0,
        }
    }

    /// The wait before the next attempt, `chance` (0 to 1) of its ceiling; `None` where no attempt is left.
    fn next(&mut self, chance: f64) -> Option<Duration> {
        if self
            .backoff
            .max_attempts
            .is_some_and(|max| self.attempts >= max)
        {
            return None;
        }
        let wait = match self.attempts.checked_sub(1) {
            None => Duration::ZERO,
            Some(failures) => self.ceiling(failures).mul_f64(chance.clamp(0.0, 1.0)),
        };
        self.attempts = self.attempts.saturating_add(1);
        Some(wait)
    }

    fn ceiling(&self, failures: u32) -> Duration {
        let doubled = 2_u32
            .checked_pow(failures)
            .and_then(|factor| self.backoff.base.checked_mul(factor));
        doubled.map_or(self.backoff.max, |doubled| doubled.min(self.backoff.max))
    }

    /// A session ended after this time. It was the first attempt of a new series if it lived long enough.
    fn lived(&mut self, lived: Duration) {
        if lived >= self.backoff.reset_after {
            self.attempts = 1;
        }
    }
}

/// Sessions with one server, one after another: made by [`Client::sessions`].
///
/// ```no_run
/// use antiphon::Client;
///
/// # async fn example() -> antiphon::Result<()> {
/// let mut sessions = Client::new().sessions("wss://example.com/feed");
/// while let Some(mut session) = sessions.next().await {
///     session.send("subscribe").await?;
///     while let Ok(Some(message)) = session.recv().await {
///         println!("{message:?}");
///     }
/// }
/// eprintln!("gave up: {:?}", sessions.error());
/// # Ok(())
/// # }
/// ```
///
/// It stops for good where trying again cannot help: after a refusal with 4xx (except 408, 425 and 429), an unfollowed
/// redirect or another answer that is no WebSocket, a close code that says so (3500-3999, 4500-4999), an unusable URL
/// or setting, and when the attempts of the [`Backoff`] are used up. `Retry-After` of a 503 or a 429 is obeyed, up to ten
/// minutes.
pub struct Sessions {
    client: Client,
    url: String,
    schedule: Schedule,
    chance: Box<dyn FnMut() -> f64 + Send>,
    current: Option<oneshot::Receiver<End>>,
    wake: Option<Instant>,
    earliest: Option<Instant>,
    error: Option<Error>,
    stopped: bool,
}

impl Sessions {
    pub(crate) fn new(client: Client, url: String, backoff: Backoff) -> Self {
        Self {
            client,
            url,
            schedule: Schedule::new(backoff),
            chance: Box::new(rand::random::<f64>),
            current: None,
            wake: None,
            earliest: None,
            error: None,
            stopped: false,
        }
    }

    /// The next session: waits until the one before has been dropped, then until it is time to connect, and connects
    /// until it succeeds. `None`: no more; [`error`](Self::error) says why.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: a wait goes on where it was when `next` is called again; an attempt under way is given up (its
    /// connection is closed) and counts.
    pub async fn next(&mut self) -> Option<Session> {
        if let Some(current) = &mut self.current {
            // A session always reports when it is dropped.
            let end = current.await.unwrap_or_default();
            self.current = None;
            self.schedule.lived(end.lived);
            self.error = None;
            if let Some(frame) = end.frame.filter(|frame| !may_reconnect(frame.code)) {
                self.stop(Error::new(
                    ErrorKind::Closed(Some(frame.clone())),
                    format!(
                        "the server closed the connection with {} and wants no reconnect",
                        frame.code
                    ),
                ));
            }
        }
        while !self.stopped {
            let wake = match self.wake {
                Some(wake) => wake,
                None => {
                    let Some(wait) = self.schedule.next((self.chance)()) else {
                        self.stopped = true;
                        break;
                    };
                    let wake = Instant::now() + wait;
                    let wake = self
                        .earliest
                        .take()
                        .map_or(wake, |earliest| earliest.max(wake));
                    *self.wake.insert(wake)
                }
            };
            sleep_until(wake).await;
            self.wake = None;
            match self.client.attempt(&self.url).await {
                Ok(socket) => {
                    let (report, current) = oneshot::channel();
                    self.current = Some(current);
                    self.error = None;
                    return Some(Session {
                        socket,
                        since: Instant::now(),
                        report: Some(report),
                    });
                }
                Err(failure) => self.failed(failure),
            }
        }
        None
    }

    /// Why the last attempt failed, or why there are no more sessions. `None` while one is open.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    fn failed(&mut self, failure: Failure) {
        tracing::debug!(url = %printable(&self.url), error = %failure.error, "connecting failed");
        self.earliest = failure
            .retry_after
            .map(|wait| Instant::now() + wait.min(MAX_RETRY_AFTER));
        if may_retry(&failure) {
            self.error = Some(failure.error);
        } else {
            self.stop(failure.error);
        }
    }

    fn stop(&mut self, error: Error) {
        self.error = Some(error);
        self.stopped = true;
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("schedule", &self.schedule)
            .field("error", &self.error)
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

/// Whether a close code allows to connect again: all do but 3500-3999 and 4500-4999.
fn may_reconnect(code: CloseCode) -> bool {
    !matches!(code.get(), 3500..=3999 | 4500..=4999)
}

/// Whether another attempt can have another outcome.
fn may_retry(failure: &Failure) -> bool {
    if failure.permanent {
        return false;
    }
    match failure.error.kind() {
        ErrorKind::Url | ErrorKind::Config => false,
        ErrorKind::Handshake(status) => matches!(status, 101 | 408 | 425 | 429 | 500..),
        _ => true,
    }
}

/// How a session ended.
#[derive(Debug, Default)]
struct End {
    frame: Option<CloseFrame>,
    lived: Duration,
}

/// A [`WebSocket`] out of [`Sessions`]; use it as one. Dropping it ends the session and lets the next one begin.
pub struct Session {
    socket: WebSocket,
    since: Instant,
    report: Option<oneshot::Sender<End>>,
}

impl Deref for Session {
    type Target = WebSocket;

    fn deref(&self) -> &WebSocket {
        &self.socket
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut WebSocket {
        &mut self.socket
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(report) = self.report.take() {
            // Nobody listens where the sessions were dropped first.
            let _ = report.send(End {
                frame: self.socket.close_frame(),
                lived: self.since.elapsed(),
            });
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ceilings_double_up_to_the_maximum() {
        let mut schedule = Schedule::new(Backoff::new());
        let waits: Vec<_> = (0..10)
            .map(|_| schedule.next(1.0).unwrap().as_millis())
            .collect();
        assert_eq!(
            waits,
            [
                0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000
            ]
        );
    }

    #[test]
    fn attempts_end_where_told_and_a_long_session_starts_anew() {
        let mut schedule = Schedule::new(Backoff::new().max_attempts(3));
        assert_eq!(schedule.next(1.0), Some(Duration::ZERO));
        assert!(schedule.next(1.0).is_some());
        schedule.lived(Duration::from_secs(9));
        assert!(schedule.next(1.0).is_some());
        assert_eq!(schedule.next(1.0), None);
        schedule.lived(Duration::from_secs(10));
        assert_eq!(schedule.next(1.0), Some(Duration::from_millis(500)));
    }

    #[test]
    fn close_codes_that_forbid_to_reconnect() {
        for (code, expected) in [
            (1000, true),
            (1001, true),
            (1006, true),
            (1012, true),
            (3000, true),
            (3499, true),
            (3500, false),
            (3999, false),
            (4000, true),
            (4499, true),
            (4500, false),
            (4999, false),
        ] {
            assert_eq!(may_reconnect(CloseCode::new(code)), expected, "{code}");
        }
    }

    #[test]
    fn failures_that_end_the_sessions() {
        for (kind, expected) in [
            (ErrorKind::Io, true),
            (ErrorKind::Timeout, true),
            (ErrorKind::Connect, true),
            (ErrorKind::Tls, true),
            (ErrorKind::Proxy, true),
            (ErrorKind::Url, false),
            (ErrorKind::Config, false),
            (ErrorKind::Handshake(101), true),
            (ErrorKind::Handshake(200), false),
            (ErrorKind::Handshake(302), false),
            (ErrorKind::Handshake(400), false),
            (ErrorKind::Handshake(401), false),
            (ErrorKind::Handshake(403), false),
            (ErrorKind::Handshake(404), false),
            (ErrorKind::Handshake(408), true),
            (ErrorKind::Handshake(426), false),
            (ErrorKind::Handshake(429), true),
            (ErrorKind::Handshake(500), true),
            (ErrorKind::Handshake(503), true),
        ] {
            let failure = Failure::from(Error::new(kind.clone(), "test"));
            assert_eq!(may_retry(&failure), expected, "{kind:?}");
        }
    }

    proptest! {
        /// Whatever chance says and however long sessions live, a wait stays below the ceiling of its place.
        #[test]
        fn waits_stay_within_their_bounds(
            base in 0_u64..5_000,
            max in 0_u64..60_000,
            steps in prop::collection::vec((0.0_f64..=1.0, prop::option::of(0_u64..20_000)), 1..200),
        ) {
            let (base, max) = (Duration::from_millis(base), Duration::from_millis(max));
            let mut schedule = Schedule::new(Backoff::new().base(base).max(max));
            let mut failures = None;
            for (chance, lived) in steps {
                let wait = schedule.next(chance).unwrap();
                let ceiling = match failures {
                    None => Duration::ZERO,
                    Some(n) => base.saturating_mul(2_u32.saturating_pow(n)).min(max),
                };
                prop_assert!(wait <= ceiling, "{wait:?} above {ceiling:?}");
                failures = Some(failures.map_or(0, |n: u32| n + 1));
                if let Some(lived) = lived {
                    schedule.lived(Duration::from_millis(lived));
                    if lived >= 10_000 {
                        failures = Some(0);
                    }
                }
            }
        }
    }
}
