//! The window that is measured: when it begins and ends, and what both processes used in it.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use crate::bench::{
    latency::{Latencies, grouped, time},
    usage::{Memory, Process, own_cpu},
};

/// Share of its core from which the generator counts as the limit.
const BUSY: f64 = 0.9;

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing counts yet.
    Warmup,
    /// Everything counts.
    Window,
    /// Only what is still on its way is waited for.
    Over,
}

/// The clock of a run.
#[derive(Debug)]
pub(crate) struct Meter {
    /// When the run began.
    pub(crate) began: Instant,
    warmup: Duration,
    duration: Duration,
    phase: Phase,
    process: Option<Process>,
    start: Option<Snapshot>,
    usage: Usage,
    shown: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Snapshot {
    at: Instant,
    own: Option<Duration>,
    server: Option<Duration>,
}

/// What a window took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// How long it was.
    pub(crate) seconds: f64,
    /// CPU seconds of this process.
    pub(crate) own: Option<f64>,
    /// CPU seconds of the server.
    pub(crate) server: Option<f64>,
    /// Memory of the server at its end.
    pub(crate) memory: Option<Memory>,
}

impl Usage {
    /// Whether more could not have been sent, whatever the server did: this process used its core, and the server not
    /// more of its own.
    pub(crate) fn is_limited(&self) -> bool {
        let share = |cpu: f64| cpu / self.seconds.max(f64::MIN_POSITIVE);
        let Some(own) = self.own.map(share) else {
            return false;
        };
        own >= BUSY && self.server.map(share).is_none_or(|server| own >= server)
    }
}

impl Meter {
    /// The clock of a run that begins now.
    pub(crate) fn new(
        warmup: Duration,
        duration: Duration,
        process: Option<Process>,
        quiet: bool,
    ) -> Self {
        let now = Instant::now();
        Self {
            began: now,
            warmup,
            duration,
            phase: Phase::Warmup,
            process,
            start: None,
            usage: Usage::default(),
            shown: (!quiet && std::io::stderr().is_terminal()).then_some(now),
        }
    }

    /// When the window ends, from the beginning.
    pub(crate) fn end(&self) -> Duration {
        self.warmup + self.duration
    }

    /// When the window begins, from the beginning.
    pub(crate) const fn start(&self) -> Duration {
        self.warmup
    }

    /// Where the run is now. `Some` once for each phase, when it begins.
    pub(crate) fn turn(&mut self, now: Instant) -> Option<Phase> {
        let passed = now.saturating_duration_since(self.began);
        match self.phase {
            Phase::Warmup if passed >= self.warmup => {
                self.phase = Phase::Window;
                // It began late where the machine was busy; it is as long all the same.
                self.warmup = passed;
                self.start = Some(self.snapshot());
            }
            Phase::Window if passed >= self.warmup + self.duration => {
                self.phase = Phase::Over;
                self.stop();
            }
            _ => return None,
        }
        Some(self.phase)
    }

    /// Ends the window before its time: there is nobody left to talk to.
    pub(crate) fn stop(&mut self) {
        self.phase = Phase::Over;
        let end = self.snapshot();
        let Some(start) = self.start.take() else {
            return;
        };
        let since = |start: Option<Duration>, end: Option<Duration>| {
            Some(end?.saturating_sub(start?).as_secs_f64())
        };
        self.usage = Usage {
            seconds: end.at.duration_since(start.at).as_secs_f64(),
            own: since(start.own, end.own),
            server: since(start.server, end.server),
            memory: self.process.and_then(|process| process.memory().ok()),
        };
    }

    /// Time until the next phase, from the time that has passed.
    pub(crate) fn until_turn(&self, passed: Duration) -> Duration {
        let next = match self.phase {
            Phase::Warmup => self.warmup,
            Phase::Window | Phase::Over => self.end(),
        };
        next.saturating_sub(passed)
    }

    /// What the window took.
    pub(crate) const fn usage(&self) -> Usage {
        self.usage
    }

    /// Shows on a terminal, once a second, how far it is.
    pub(crate) fn show(&mut self, now: Instant, messages: u64, latencies: &Latencies) {
        let Some(shown) = self.shown else { return };
        if now < shown + Duration::from_secs(1) {
            return;
        }
        self.shown = Some(now);
        let passed = now.saturating_duration_since(self.began);
        let counted = passed.saturating_sub(self.warmup).as_secs_f64();
        let text = match self.phase {
            Phase::Warmup => "warming up".to_owned(),
            Phase::Window => format!(
                "{} of {:.0} s  {}/s  p50 {}  p99 {}",
                counted.round(),
                self.duration.as_secs_f64(),
                grouped((messages as f64 / counted.max(0.001)) as u64),
                time(latencies.quantile(0.5) as f64),
                time(latencies.quantile(0.99) as f64),
            ),
            Phase::Over => "waiting for the last answers".to_owned(),
        };
        let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
    }

    /// Takes the line of progress away.
    pub(crate) fn hide(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            at: Instant::now(),
            own: own_cpu(),
            server: self.process.and_then(|process| process.cpu().ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_stands_between_warm_up_and_end() {
        let (warmup, duration) = (Duration::from_secs(1), Duration::from_secs(3));
        let mut meter = Meter::new(warmup, duration, None, true);
        let at = |millis| meter.began + Duration::from_millis(millis);
        let times = [at(0), at(999), at(1100), at(4050), at(4100), at(9000)];
        let phases = times.map(|time| meter.turn(time));
        let expected = [
            None,
            None,
            Some(Phase::Window),
            None,
            Some(Phase::Over),
            None,
        ];
        assert_eq!(phases, expected);
    }

    #[test]
    fn the_generator_is_the_limit_where_it_is_busier_than_the_server() {
        for (own, server, expected) in [
            (Some(0.97), None, true),
            (Some(0.97), Some(0.5), true),
            (Some(0.92), Some(0.95), false),
            (Some(0.5), None, false),
            (None, Some(0.1), false),
        ] {
            let usage = Usage {
                seconds: 1.0,
                own,
                server,
                memory: None,
            };
            assert_eq!(usage.is_limited(), expected, "{usage:?}");
        }
    }
}
