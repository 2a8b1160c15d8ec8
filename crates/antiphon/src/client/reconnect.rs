//! One session after another: when to connect again, and when not to.

use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    ops::{Deref, DerefMut},
    pin::Pin,
    time::Duration,
};

use antiphon_proto::close::{CloseCode, CloseFrame};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use crate::{
    client::{Client, Failure},
    error::{Error, ErrorKind},
    proxy::Unauthorized,
    socket::WebSocket,
};

/// Longest wait that a server can ask for with `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);
/// Longest wait that can be set.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

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

    /// The highest ceiling, at most a day. Default 30 s.
    #[must_use]
    pub fn max(mut self, max: Duration) -> Self {
        self.max = max.min(MAX_WAIT);
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
/// redirect or another answer that is no WebSocket, a proxy that wants other credentials, a close code that says so (3500-3999, 4500-4999), an unusable URL
/// or setting, and when the attempts of the [`Backoff`] are used up. `Retry-After` of a 503 or a 429 is obeyed, up to ten
/// minutes.
pub struct Sessions {
    attempt: Attempt,
    schedule: Schedule,
    chance: fn() -> f64,
    current: Option<oneshot::Receiver<End>>,
    wake: Option<Instant>,
    earliest: Option<Instant>,
    error: Option<Error>,
    stopped: bool,
}

/// One attempt to connect; tests put their own in its place.
type Attempt = Box<dyn FnMut() -> Attempting + Send>;
type Attempting = Pin<Box<dyn Future<Output = Result<WebSocket, Failure>> + Send>>;

impl Sessions {
    pub(crate) fn new(client: Client, url: String, backoff: Backoff) -> Self {
        let attempt = move || -> Attempting {
            let (client, url) = (client.clone(), url.clone());
            Box::pin(async move { client.attempt(&url).await })
        };
        Self::by(Box::new(attempt), backoff, rand::random::<f64>)
    }

    fn by(attempt: Attempt, backoff: Backoff, chance: fn() -> f64) -> Self {
        Self {
            attempt,
            schedule: Schedule::new(backoff),
            chance,
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
            match (self.attempt)().await {
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
        tracing::debug!(error = %failure.error, "connecting failed");
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
    let unauthorized = failure
        .error
        .source()
        .is_some_and(|cause| cause.is::<Unauthorized>());
    if failure.permanent || unauthorized {
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
    use std::sync::{Arc, Mutex};

    use antiphon_proto::config::{Config, Role};
    use proptest::prelude::*;
    use tokio::{io::duplex, time::timeout};

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

    /// Sessions whose attempts fail in this way one after another, then succeed; and when each attempt was made.
    fn scripted(
        backoff: Backoff,
        failures: Vec<Option<Duration>>,
    ) -> (Sessions, Arc<Mutex<Vec<u64>>>) {
        let start = Instant::now();
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&attempts);
        let mut failures = failures.into_iter();
        let attempt = move || -> Attempting {
            log.lock().unwrap().push(start.elapsed().as_secs());
            let outcome = match failures.next() {
                Some(retry_after) => {
                    let error = Error::new(ErrorKind::Handshake(503), "busy");
                    Err(Failure {
                        retry_after,
                        ..error.into()
                    })
                }
                None => Ok(WebSocket::from_io(
                    duplex(64).0,
                    Role::Client,
                    Config::default(),
                )),
            };
            Box::pin(async move { outcome })
        };
        (Sessions::by(Box::new(attempt), backoff, || 1.0), attempts)
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_come_when_the_schedule_and_the_server_say() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let backoff = || {
            Backoff::new()
                .base(Duration::from_secs(1))
                .max(Duration::from_secs(4))
        };
        for (backoff, failures, expected) in [
            (backoff(), vec![], vec![0]),
            (backoff(), vec![None; 5], vec![0, 1, 3, 7, 11, 15]),
            // Retry-After can only make a wait longer, and not beyond ten minutes.
            (
                backoff(),
                vec![seconds(60), None, seconds(1)],
                vec![0, 60, 62, 66],
            ),
            (backoff(), vec![seconds(1_000_000)], vec![0, 600]),
            (backoff().max_attempts(3), vec![None; 5], vec![0, 1, 3]),
        ] {
            let gives_up = expected.len() <= failures.len();
            let (mut sessions, attempts) = scripted(backoff, failures);
            assert_eq!(sessions.next().await.is_none(), gives_up);
            assert_eq!(*attempts.lock().unwrap(), expected);
            assert_eq!(sessions.error().is_some(), gives_up);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_session_starts_the_waits_anew() {
        let (mut sessions, attempts) =
            scripted(Backoff::new().base(Duration::from_secs(8)), vec![None; 2]);
        let first = sessions.next().await.unwrap();
        tokio::time::sleep(Duration::from_secs(9)).await;
        drop(first);
        let second = sessions.next().await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
        drop(second);
        drop(sessions.next().await.unwrap());
        // 0, +8, +16; a session of 9 s is too short, so +30; one of 10 s is long enough, so +8.
        assert_eq!(
            *attempts.lock().unwrap(),
            [0, 8, 24, 24 + 9 + 30, 63 + 10 + 8]
        );
    }

    /// A wait that is given up goes on where it was.
    #[tokio::test(start_paused = true)]
    async fn next_is_cancel_safe() {
        let (mut sessions, attempts) =
            scripted(Backoff::new().base(Duration::from_secs(10)), vec![None]);
        for _ in 0..9 {
            assert!(
                timeout(Duration::from_secs(1), sessions.next())
                    .await
                    .is_err()
            );
        }
        assert!(sessions.next().await.is_some());
        assert_eq!(*attempts.lock().unwrap(), [0, 10]);
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
