//! How often a token may be tried: by address, and in all.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::api::failures::{Failures, WINDOW};

/// Wrong tokens in a minute, from everywhere, after which nobody is asked any more until the minute is over.
pub(crate) const MAX_WRONG: u32 = 100;

/// Wrong tokens so far.
#[derive(Debug)]
pub(crate) struct Attempts {
    addresses: Failures,
    all: Mutex<(Instant, u32)>,
}

impl Attempts {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            addresses: Failures::default(),
            all: Mutex::new((Instant::now(), 0)),
        }
    }

    /// Whether a token is right, if it may be tried at all. One try at a time.
    ///
    /// # Errors
    ///
    /// How long to wait.
    pub(crate) fn judge(
        &self,
        address: Option<IpAddr>,
        is_right: impl FnOnce() -> bool,
    ) -> Result<bool, Duration> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let since = all.0.elapsed();
        if since >= WINDOW {
            *all = (Instant::now(), 0);
        } else if all.1 >= MAX_WRONG {
            return Err(WINDOW - since);
        }
        if let Some(wait) = self.addresses.wait(address) {
            return Err(wait);
        }
        if is_right() {
            return Ok(true);
        }
        all.1 += 1;
        self.addresses.record(address);
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::api::failures::MAX_FAILURES;

    fn address(number: u32) -> Option<IpAddr> {
        Some(Ipv4Addr::from_bits(number).into())
    }

    #[tokio::test(start_paused = true)]
    async fn even_the_right_token_waits_after_too_many_wrong_ones() {
        let attempts = Attempts::new();
        for _ in 0..MAX_FAILURES {
            assert_eq!(attempts.judge(address(1), || false), Ok(false));
        }
        let never = || -> bool { panic!("it is not compared") };
        assert_eq!(attempts.judge(address(1), never), Err(WINDOW));
        assert_eq!(attempts.judge(address(2), || true), Ok(true));
        tokio::time::advance(WINDOW).await;
        assert_eq!(attempts.judge(address(1), || true), Ok(true));
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_together_are_stopped_too() {
        let attempts = Attempts::new();
        for number in 0..MAX_WRONG {
            assert_eq!(attempts.judge(address(number), || false), Ok(false));
        }
        tokio::time::advance(Duration::from_secs(20)).await;
        let wait = Duration::from_secs(40);
        assert_eq!(attempts.judge(address(1_000), || true), Err(wait));
        tokio::time::advance(wait).await;
        assert_eq!(attempts.judge(address(1_000), || true), Ok(true));
    }
}
