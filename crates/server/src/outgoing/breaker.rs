//! A circuit breaker: a server that fails again and again is left alone for a while, then asked once.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Failures in a row that open a breaker, unless said otherwise.
pub(crate) const FAILURES: u32 = 5;
/// How long an open breaker lets nothing through, unless said otherwise.
pub(crate) const PAUSE: Duration = Duration::from_secs(5);

/// Closed: everything passes. Open: nothing does. Half open: one request asks whether it may close.
#[derive(Debug)]
pub(crate) struct Breaker {
    failures: u32,
    pause: Duration,
    circuit: Mutex<Circuit>,
}

#[derive(Debug)]
struct Circuit {
    state: State,
    opened: u64,
    rejected: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen,
}

/// The breaker is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open;

impl Default for Breaker {
    fn default() -> Self {
        Self::new(FAILURES, PAUSE)
    }
}

impl Breaker {
    /// A breaker that opens after this many failures in a row, for this long.
    pub(crate) fn new(failures: u32, pause: Duration) -> Self {
        Self {
            failures: failures.max(1),
            pause,
            circuit: Mutex::new(Circuit {
                state: State::Closed { failures: 0 },
                opened: 0,
                rejected: 0,
            }),
        }
    }

    /// Asks to pass. What comes of it is told to the pass; a pass that is dropped says nothing.
    pub(crate) fn pass(&self) -> Result<Pass<'_>, Open> {
        let mut circuit = self.lock();
        match circuit.state {
            State::Closed { .. } => Ok(Pass {
                breaker: self,
                probe: false,
            }),
            State::Open { until } if Instant::now() >= until => {
                circuit.state = State::HalfOpen;
                Ok(Pass {
                    breaker: self,
                    probe: true,
                })
            }
            State::Open { .. } | State::HalfOpen => {
                circuit.rejected += 1;
                Err(Open)
            }
        }
    }

    /// Whether requests are being rejected.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.lock().state, State::Closed { .. })
    }

    /// How often it has opened.
    pub(crate) fn opened(&self) -> u64 {
        self.lock().opened
    }

    /// How many requests it has rejected.
    pub(crate) fn rejected(&self) -> u64 {
        self.lock().rejected
    }

    fn lock(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a probe, or a request of the closed state, has found. Returns whether the state has changed.
    fn report(&self, probe: bool, healthy: bool) -> bool {
        let mut circuit = self.lock();
        let state = match circuit.state {
            // What began before it opened does not decide: only the probe does.
            State::Open { .. } | State::HalfOpen if !probe => return false,
            _ if healthy => State::Closed { failures: 0 },
            State::Closed { failures } if failures + 1 < self.failures => {
                circuit.state = State::Closed {
                    failures: failures + 1,
                };
                return false;
            }
            _ => State::Open {
                until: Instant::now() + self.pause,
            },
        };
        if matches!(state, State::Open { .. }) {
            circuit.opened += 1;
        }
        let was_closed = matches!(circuit.state, State::Closed { .. });
        circuit.state = state;
        was_closed != matches!(state, State::Closed { .. })
    }
}

/// Leave to make one request.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    breaker: &'a Breaker,
    probe: bool,
}

impl Pass<'_> {
    /// The other server answered. Returns whether this closed the breaker.
    pub(crate) fn healthy(mut self) -> bool {
        self.breaker.report(std::mem::take(&mut self.probe), true)
    }

    /// The other server failed. Returns whether this opened a closed breaker.
    pub(crate) fn ill(mut self) -> bool {
        self.breaker.report(std::mem::take(&mut self.probe), false)
    }
}

/// A probe that was given up has found nothing: the next request is one.
impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.breaker.lock().state = State::Open {
                until: Instant::now(),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    fn fail(breaker: &Breaker, times: u32) {
        for _ in 0..times {
            breaker.pass().unwrap().ill();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_recovers_by_one_probe() {
        let breaker = Breaker::default();
        fail(&breaker, 4);
        assert!(!breaker.pass().unwrap().healthy());
        fail(&breaker, 4);
        assert!(!breaker.is_open(), "a success begins the count again");
        assert!(breaker.pass().unwrap().ill());
        assert!(breaker.is_open());
        assert!(breaker.pass().is_err());

        time::advance(PAUSE - Duration::from_millis(1)).await;
        assert!(breaker.pass().is_err());
        time::advance(Duration::from_millis(1)).await;
        let probe = breaker.pass().unwrap();
        assert!(breaker.pass().is_err(), "one probe at a time");
        assert!(!probe.ill(), "it was open already");
        assert!(breaker.pass().is_err(), "a failed probe begins a new pause");

        time::advance(PAUSE).await;
        assert!(breaker.pass().unwrap().healthy());
        assert!(!breaker.is_open());
        fail(&breaker, 4);
        assert!(!breaker.is_open(), "recovery begins at 0");
        assert_eq!((breaker.opened(), breaker.rejected()), (2, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_is_taken_over_by_the_next_request() {
        let breaker = Breaker::new(1, PAUSE);
        fail(&breaker, 1);
        time::advance(PAUSE).await;
        drop(breaker.pass().unwrap());
        assert!(breaker.pass().unwrap().healthy());
    }

    #[tokio::test(start_paused = true)]
    async fn requests_of_before_do_not_decide() {
        let breaker = Breaker::new(1, PAUSE);
        let (late, later) = (breaker.pass().unwrap(), breaker.pass().unwrap());
        fail(&breaker, 1);
        assert!(!late.healthy());
        assert!(breaker.is_open());
        assert!(!later.ill());
        time::advance(PAUSE).await;
        assert!(breaker.pass().is_ok(), "the pause was not made longer");
    }
}
