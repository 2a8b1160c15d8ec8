//! How often an address has shown a wrong key.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Wrong keys of one address (one /64 in IPv6) in [`WINDOW`] that are answered as such; beyond it the answer is 429.
pub(crate) const MAX_FAILURES: u32 = 10;

/// How long they are counted.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// Most addresses that are counted one by one. Those beyond share one count.
pub(crate) const MAX_ADDRESSES: usize = 10_000;

/// Failures by address.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<HashMap<Option<IpAddr>, Count>>);

#[derive(Clone, Copy, Debug)]
struct Count {
    since: Instant,
    failures: u32,
}

impl Failures {
    /// How long an address is to wait, where it has shown as many wrong keys as it may.
    pub(crate) fn wait(&self, address: Option<IpAddr>) -> Option<Duration> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = address.map(network);
        // An address that is not counted by itself shares the count of those beyond the bound.
        let is_full = counts.len() >= MAX_ADDRESSES;
        let count = counts
            .get(&place)
            .or_else(|| counts.get(&None).filter(|_| is_full))?;
        let since = count.since.elapsed();
        (count.failures >= MAX_FAILURES && since < WINDOW).then(|| WINDOW - since)
    }

    /// Counts one more failure; how long the address is to wait where there were too many.
    pub(crate) fn record(&self, address: Option<IpAddr>) -> Option<Duration> {
        let now = Instant::now();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut place = address.map(network);
        if !counts.contains_key(&place) && counts.len() >= MAX_ADDRESSES {
            counts.retain(|_, count| now.duration_since(count.since) < WINDOW);
            if counts.len() >= MAX_ADDRESSES {
                place = None;
            }
        }
        let fresh = Count {
            since: now,
            failures: 0,
        };
        let count = counts.entry(place).or_insert(fresh);
        if now.duration_since(count.since) >= WINDOW {
            *count = fresh;
        }
        count.failures = count.failures.saturating_add(1);
        (count.failures > MAX_FAILURES)
            .then(|| WINDOW.saturating_sub(now.duration_since(count.since)))
    }
}

/// Whoever has one address of a /64 has all of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(bits).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_eleventh_failure_of_a_minute_has_to_wait() {
        let failures = Failures::default();
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour = "2001:db8::ffff".parse().unwrap();
        let other = "192.0.2.1".parse().unwrap();
        for _ in 0..MAX_FAILURES {
            assert_eq!(failures.record(Some(one)), None);
        }
        tokio::time::advance(Duration::from_secs(20)).await;
        let wait = Some(Duration::from_secs(40));
        assert_eq!(failures.record(Some(one)), wait);
        assert_eq!(failures.record(Some(neighbour)), wait);
        assert_eq!(failures.record(Some(other)), None);
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(failures.record(Some(one)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_those_beyond_share_a_count() {
        let failures = Failures::default();
        let address = |number| Some(IpAddr::from(Ipv4Addr::from_bits(number)));
        for number in 0..MAX_ADDRESSES as u32 {
            assert_eq!(failures.record(address(number)), None);
        }
        for number in 0..MAX_FAILURES {
            assert_eq!(failures.record(address(1_000_000 + number)), None);
        }
        assert!(failures.record(address(2_000_000)).is_some());
        assert!(failures.0.lock().unwrap().len() <= MAX_ADDRESSES + 1);
        tokio::time::advance(WINDOW).await;
        assert_eq!(failures.record(address(3_000_000)), None);
        assert_eq!(failures.0.lock().unwrap().len(), 1);
    }
}
