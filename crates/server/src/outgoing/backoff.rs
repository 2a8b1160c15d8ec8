//! How long to wait before the next try: at random up to a bound that doubles, so that many do not come at once.

use std::time::Duration;

/// Waits with full jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The longest wait after the first failure.
    pub(crate) base: Duration,
    /// The longest wait of all.
    pub(crate) most: Duration,
}

impl Backoff {
    /// A time to wait after this many failures, from 1.
    pub(crate) fn wait(&self, failures: u32) -> Duration {
        self.ceiling(failures).mul_f64(rand::random::<f64>())
    }

    fn ceiling(&self, failures: u32) -> Duration {
        let factor = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.base.saturating_mul(factor).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_below_a_bound_that_doubles() {
        let backoff = Backoff {
            base: Duration::from_secs(2),
            most: Duration::from_secs(30),
        };
        for (failures, seconds) in [(0, 2), (1, 2), (2, 4), (4, 16), (5, 30), (u32::MAX, 30)] {
            let ceiling = Duration::from_secs(seconds);
            assert_eq!(backoff.ceiling(failures), ceiling);
            let waits: Vec<_> = (0..100).map(|_| backoff.wait(failures)).collect();
            assert!(waits.iter().all(|wait| *wait <= ceiling));
            assert!(waits.windows(2).any(|pair| pair[0] != pair[1]));
        }
    }
}
