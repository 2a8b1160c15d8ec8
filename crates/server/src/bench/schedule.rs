//! When messages are due, whether or not the server keeps up: what is late is measured from when it was due.

use std::time::Duration;

/// Messages at equal distances, to one connection after the other.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// Nanoseconds between two messages.
    interval: f64,
    connections: u64,
    /// How many have been due so far, over all connections.
    due: u64,
}

impl Schedule {
    /// `rate` messages a second over all connections.
    pub(crate) fn new(rate: f64, connections: usize) -> Self {
        Self {
            interval: 1e9 / rate,
            connections: connections as u64,
            due: 0,
        }
    }

    /// Goes on to this time, in nanoseconds from the beginning; the connections that have something due now, in turn.
    pub(crate) fn advance(&mut self, now: u64) -> impl Iterator<Item = usize> + use<> {
        let before = self.due;
        self.due = self.due.max((now as f64 / self.interval) as u64 + 1);
        // Each connection once, however much is due on it.
        let some = (self.due - before).min(self.connections);
        let connections = self.connections;
        (before..before + some).map(move |number| (number % connections) as usize)
    }

    /// How many messages have been due on a connection.
    pub(crate) const fn owed(&self, connection: usize) -> u64 {
        let connection = connection as u64;
        (self.due + self.connections - 1 - connection) / self.connections
    }

    /// When this message of a connection is due, in nanoseconds from the beginning.
    pub(crate) fn time_of(&self, connection: usize, number: u64) -> u64 {
        ((number * self.connections + connection as u64) as f64 * self.interval) as u64
    }

    /// When the next message is due.
    pub(crate) fn next(&self) -> Duration {
        Duration::from_nanos((self.due as f64 * self.interval) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_due_once_at_its_time() {
        // 1,000 a second over 3 connections: one a millisecond.
        let mut schedule = Schedule::new(1_000.0, 3);
        assert_eq!(schedule.advance(0).collect::<Vec<_>>(), [0]);
        assert_eq!(schedule.advance(999_999).count(), 0);
        assert_eq!(schedule.next(), Duration::from_millis(1));
        assert_eq!(schedule.advance(2_000_000).collect::<Vec<_>>(), [1, 2]);
        assert_eq!([0, 1, 2].map(|index| schedule.owed(index)), [1, 1, 1]);
        // After a stall all connections have something, some more than one message.
        assert_eq!(schedule.advance(7_000_000).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!([0, 1, 2].map(|index| schedule.owed(index)), [3, 3, 2]);
        assert_eq!(schedule.time_of(1, 2), 7_000_000);
        assert_eq!(schedule.time_of(0, 0), 0);
    }

    /// A stall of a second at 1,000 a second: the messages that were due in it waited half a second on average. Who
    /// measures from the sending sees one slow message instead of a thousand.
    #[test]
    fn a_stall_is_seen_by_all_that_were_due_in_it() {
        let mut schedule = Schedule::new(1_000.0, 1);
        let mut latencies = crate::bench::latency::Latencies::default();
        let stall = 1_000_000_000;
        let _ = schedule.advance(stall);
        for number in 0..schedule.owed(0) {
            latencies.add(stall - schedule.time_of(0, number), 1);
        }
        assert_eq!(latencies.count(), 1_001);
        let told = latencies.percentiles();
        assert!((told.p50 - 500_000.0).abs() < 1_000.0, "{told:?}");
        assert!(told.p99 > 980_000.0, "{told:?}");
    }
}
