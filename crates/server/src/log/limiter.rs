//! Few lines a second for one reason: what is left out is counted, and told with the next line.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    fmt,
    hash::{Hash as _, Hasher as _},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::{
    Event, Level,
    callsite::Identifier,
    field::{Field, Visit},
};

/// In this time a reason has its lines.
const WINDOW: Duration = Duration::from_secs(1);

/// After this time without a line the count of what was left out is told no more.
const OWING: Duration = Duration::from_secs(60);

/// Most reasons that are told apart; more of them share the line of the code that they come from.
const REASONS: usize = 1024;

/// A place in the code, and the reason that its line gives.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key(Identifier, Option<u64>);

impl Key {
    /// Of what must not fill the log: warnings, errors, and whatever gives a reason. `None` for the rest.
    pub(super) fn of(event: &Event<'_>) -> Option<Self> {
        let metadata = event.metadata();
        let mut reason = Reason(None);
        if metadata.fields().field("reason").is_some() {
            event.record(&mut reason);
        }
        (*metadata.level() <= Level::WARN || reason.0.is_some())
            .then(|| Self(metadata.callsite(), reason.0))
    }
}

/// The hash of the field `reason`.
struct Reason(Option<u64>);

impl Visit for Reason {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "reason" {
            let mut hasher = DefaultHasher::new();
            format!("{value:?}").hash(&mut hasher);
            self.0 = Some(hasher.finish());
        }
    }
}

struct Count {
    since: Instant,
    lines: u32,
    left_out: u64,
}

/// Counts lines by their reason.
#[derive(Default)]
pub(super) struct Limiter {
    /// Lines in a window; 0 for any number.
    rate: AtomicU32,
    left_out: AtomicU64,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    of: HashMap<Key, Count>,
    swept: Option<Instant>,
}

impl Limiter {
    /// So many lines a second for one reason; 0 for any number.
    pub(super) fn set_rate(&self, rate: u32) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// Whether a line is written; if so, how many were left out since the last one.
    pub(super) fn admit(&self, mut key: Key, now: Instant) -> Option<u64> {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return Some(0);
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.of.len() >= REASONS && !counts.of.contains_key(&key) {
            counts.sweep(now);
            if counts.of.len() >= REASONS {
                key.1 = None;
            }
        }
        let count = counts.of.entry(key).or_insert(Count {
            since: now,
            lines: 0,
            left_out: 0,
        });
        if now.saturating_duration_since(count.since) >= WINDOW {
            count.since = now;
            count.lines = 0;
        }
        if count.lines < rate {
            count.lines += 1;
            return Some(std::mem::take(&mut count.left_out));
        }
        count.left_out += 1;
        drop(counts);
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// All lines that were left out.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn reasons(&self) -> usize {
        self.counts.lock().unwrap().of.len()
    }
}

impl Counts {
    /// Forgets reasons whose window is over, at most once in a window; who owes a count stays a little longer.
    fn sweep(&mut self, now: Instant) {
        let age = |since| now.saturating_duration_since(since);
        if self.swept.is_some_and(|swept| age(swept) < WINDOW) {
            return;
        }
        self.swept = Some(now);
        self.of.retain(|_, count| {
            let kept = if count.left_out > 0 { OWING } else { WINDOW };
            age(count.since) < kept
        });
    }
}

#[cfg(test)]
mod tests {
    use tracing::{Callsite as _, callsite::DefaultCallsite};

    use super::*;

    fn place() -> Identifier {
        static PLACE: DefaultCallsite = DefaultCallsite::new(&META);
        static META: tracing::Metadata<'static> = tracing::metadata! {
            name: "test",
            target: "test",
            level: Level::WARN,
            fields: &[],
            callsite: &PLACE,
            kind: tracing::metadata::Kind::EVENT
        };
        PLACE.metadata().callsite()
    }

    #[test]
    fn a_reason_has_its_lines_in_a_second_and_the_rest_is_told_with_the_next() {
        let limiter = Limiter::default();
        limiter.set_rate(2);
        let (start, bad, old) = (Instant::now(), Some(1), Some(2));
        for (millis, reason, written) in [
            (0, bad, Some(0)),
            (1, bad, Some(0)),
            (2, bad, None),
            (3, old, Some(0)),
            (900, bad, None),
            (999, bad, None),
            (1000, bad, Some(3)),
            (1001, bad, Some(0)),
            (1002, bad, None),
            (1003, old, Some(0)),
            (9000, bad, Some(1)),
        ] {
            let now = start + Duration::from_millis(millis);
            let admitted = limiter.admit(Key(place(), reason), now);
            assert_eq!(admitted, written, "at {millis} ms");
        }
        assert_eq!(limiter.left_out(), 4);
        limiter.set_rate(0);
        for _ in 0..100 {
            assert_eq!(limiter.admit(Key(place(), bad), start), Some(0));
        }
    }

    #[test]
    fn as_many_reasons_as_somebody_makes_up_are_not_remembered() {
        let limiter = Limiter::default();
        limiter.set_rate(1);
        let start = Instant::now();
        for reason in 0..100_000 {
            let _ = limiter.admit(Key(place(), Some(reason)), start);
        }
        assert_eq!(limiter.reasons(), REASONS + 1);
        // Left are the new one, and all those of before that owe a count: they share one.
        let _ = limiter.admit(Key(place(), Some(200_000)), start + WINDOW);
        assert_eq!(limiter.reasons(), 2);
    }
}
