//! Accepting connections: never stops before the end of the server, whatever the system answers.

use std::{
    fs::File,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    shutdown::{Member, Phase},
    stats::{Counters, count},
};

/// Waits after errors of accepting, doubled from the first to the last.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// Connections that are closed at once while the process is out of files, so that clients do not wait in vain.
const SHED: usize = 64;

/// What connections are accepted from.
pub(crate) trait Listener: Send + Sync {
    type Stream: Send;

    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        Self::accept(self).await
    }
}

/// Hands every accepted connection to `admit`, until the server ends.
pub(crate) async fn accept_all<L: Listener>(
    listener: L,
    mut member: Member,
    counters: &Counters,
    rate: Option<u32>,
    admit: impl Fn(L::Stream, SocketAddr),
) {
    let log = LogLimit::default();
    let mut reserve = open_reserve();
    let mut wait = BACK_OFF.0;
    let mut pace = rate.map(Pace::new);
    loop {
        if let Some(due) = pace.as_mut().and_then(Pace::next) {
            count(&counters.delayed_accepts);
            tokio::select! {
                () = member.reached(Phase::Refusing) => return,
                () = sleep_until(due) => {}
            }
        }
        let accepted = tokio::select! {
            biased;
            () = member.reached(Phase::Refusing) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => {
                count(&counters.accepted);
                wait = BACK_OFF.0;
                admit(stream, remote);
            }
            // The client gave up before it was accepted.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                count(&counters.accept_errors);
                if is_out_of_descriptors(&error) {
                    // Giving up the file in reserve lets a connection be accepted, and closed.
                    drop(reserve.take());
                    shed(&listener, counters).await;
                    reserve = open_reserve();
                }
                if let Some(unsaid) = log.permit() {
                    tracing::warn!(
                        ?error,
                        unsaid,
                        "connections cannot be accepted; trying again"
                    );
                }
                tokio::select! {
                    () = member.reached(Phase::Refusing) => return,
                    () = sleep(wait) => {}
                }
                wait = (wait * 2).min(BACK_OFF.1);
            }
        }
    }
}

/// Connections a second, with room for a tenth of a second's worth at once.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    /// When the next connection is due at an even pace.
    due: Instant,
}

/// How far connections may come before their time.
const AHEAD: Duration = Duration::from_millis(100);

impl Pace {
    fn new(rate: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / rate.max(1),
            due: Instant::now(),
        }
    }

    /// Counts one connection; until when to wait before it is accepted, if at all.
    fn next(&mut self) -> Option<Instant> {
        let now = Instant::now();
        self.due = self.due.max(now) + self.interval;
        let early = self.due.checked_sub(AHEAD + self.interval)?;
        (early > now).then_some(early)
    }
}

fn open_reserve() -> Option<File> {
    File::open(if cfg!(windows) { "NUL" } else { "/dev/null" }).ok()
}

/// Accepts what waits and drops it.
async fn shed<L: Listener>(listener: &L, counters: &Counters) {
    for _ in 0..SHED {
        let accepted = {
            let mut accept = pin!(listener.accept());
            poll_fn(|cx| Poll::Ready(accept.as_mut().poll(cx))).await
        };
        let Poll::Ready(Ok(_dropped)) = accepted else {
            return;
        };
        count(&counters.accepted);
        count(&counters.refused_descriptors);
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// EMFILE and ENFILE, which have the same numbers wherever they exist.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

/// One line a second at most: what floods the server must not flood its log.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    last: Mutex<Option<Instant>>,
    unsaid: AtomicU64,
}

impl LogLimit {
    /// Whether a line may be written now, and how many were left out since the last one.
    pub(crate) fn permit(&self) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if last.is_some_and(|last| now.duration_since(last) < Duration::from_secs(1)) {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *last = Some(now);
        Some(self.unsaid.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Arc};

    use super::*;
    use crate::shutdown::Shutdown;

    /// Answers with what was laid down, then waits for ever.
    struct Scripted(Mutex<VecDeque<io::Result<u32>>>);

    impl Listener for Scripted {
        type Stream = u32;

        async fn accept(&self) -> io::Result<(u32, SocketAddr)> {
            let next = self.0.lock().expect("no panic").pop_front();
            match next {
                Some(Ok(stream)) => Ok((stream, ([127, 0, 0, 1], 1).into())),
                Some(Err(error)) => Err(error),
                None => std::future::pending().await,
            }
        }
    }

    async fn run(script: Vec<io::Result<u32>>, time: Duration) -> (Vec<u32>, Counters) {
        let (shutdown, counters, admitted) =
            (Shutdown::new(), Counters::default(), Mutex::new(Vec::new()));
        let listener = Scripted(Mutex::new(script.into()));
        let accepting = accept_all(listener, shutdown.member(), &counters, None, |stream, _| {
            admitted.lock().expect("no panic").push(stream)
        });
        tokio::select! {
            () = accepting => panic!("accepting ended"),
            () = sleep(time) => {}
        }
        (admitted.into_inner().expect("no panic"), counters)
    }

    #[tokio::test(start_paused = true)]
    async fn errors_slow_down_and_never_stop() {
        let errors = || (0..1000).map(|_| Err(io::Error::other("broken")));
        let (_, counters) = run(errors().collect(), Duration::from_secs(1)).await;
        let tries = counters.snapshot().accept_errors;
        assert!((10..=15).contains(&tries), "{tries} tries in a second");

        let mut script: Vec<_> = errors().take(20).collect();
        script.push(Ok(7));
        let (admitted, counters) = run(script, Duration::from_secs(5)).await;
        assert_eq!((admitted, counters.snapshot().accept_errors), (vec![7], 20));
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_left_cost_nothing() {
        let gone = || Err(io::Error::from(io::ErrorKind::ConnectionAborted));
        let (admitted, counters) = run(
            vec![gone(), Ok(1), gone(), gone(), Ok(2)],
            Duration::from_millis(1),
        )
        .await;
        assert_eq!(
            (admitted, counters.snapshot().accept_errors),
            (vec![1, 2], 0)
        );
    }

    #[cfg(unix)]
    #[tokio::test(start_paused = true)]
    async fn out_of_files_waiting_connections_are_closed() {
        let full = || Err(io::Error::from_raw_os_error(24));
        let (admitted, counters) = run(
            vec![Ok(1), full(), Ok(2), Ok(3), full(), Ok(4)],
            Duration::from_secs(1),
        )
        .await;
        let stats = counters.snapshot();
        assert_eq!(
            (admitted, stats.refused_descriptors, stats.accept_errors),
            (vec![1, 4], 2, 1)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_is_accepted_at_the_rate() {
        let (shutdown, counters) = (Arc::new(Shutdown::new()), Counters::default());
        let listener = Scripted(Mutex::new((0..1000).map(Ok).collect()));
        let admitted = AtomicU64::new(0);
        let accepting = accept_all(listener, shutdown.member(), &counters, Some(50), |_, _| {
            admitted.fetch_add(1, Ordering::Relaxed);
        });
        let _ = tokio::time::timeout(Duration::from_secs(2), accepting).await;
        // Two seconds' worth, and what may come a tenth of a second early.
        assert_eq!(admitted.into_inner(), 2 * 50 + 5 + 1);
        assert!(counters.snapshot().delayed_accepts > 90);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_accepted_while_clients_are_asked_to_go() {
        let (shutdown, counters) = (Shutdown::new(), Counters::default());
        shutdown.advance(Phase::Refusing);
        let listener = Scripted(Mutex::new([Ok(1)].into()));
        accept_all(listener, shutdown.member(), &counters, None, |_, _| {}).await;
        assert_eq!(counters.snapshot().accepted, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn accepting_ends_with_the_server() {
        let (shutdown, counters) = (Arc::new(Shutdown::new()), Counters::default());
        let listener = Scripted(Mutex::new([Err(io::Error::other("broken"))].into()));
        let member = shutdown.member();
        let ending = shutdown.clone();
        tokio::spawn(async move { ending.advance(Phase::Draining) });
        accept_all(listener, member, &counters, None, |_, _| {}).await;
        assert_eq!(shutdown.phase(), Phase::Draining);
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_line_a_second() {
        let log = LogLimit::default();
        assert_eq!(log.permit(), Some(0));
        assert_eq!((log.permit(), log.permit()), (None, None));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(log.permit(), Some(2));
    }
}
