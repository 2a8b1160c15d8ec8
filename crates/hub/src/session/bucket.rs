//! How fast a client may send: a token bucket.

use std::time::Duration;

use tokio::time::Instant;

/// How fast a client may send.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: u32,
    pub(super) burst: u32,
    tokens: f32,
    filled: Instant,
}

impl Bucket {
    #[expect(clippy::cast_precision_loss, reason = "a burst is a small number")]
    pub(super) fn new(rate: u32, burst: u32) -> Self {
        Self {
            rate,
            burst,
            tokens: burst.max(1) as f32,
            filled: Instant::now(),
        }
    }

    /// Takes a token; how long to wait where there is none.
    #[expect(
        clippy::cast_precision_loss,
        reason = "rates and bursts are small numbers"
    )]
    pub(super) fn take(&mut self) -> Result<(), Duration> {
        if self.rate == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let gained = now.duration_since(self.filled).as_secs_f32() * self.rate as f32;
        self.tokens = (self.tokens + gained).min(self.burst.max(1) as f32);
        self.filled = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f32(
            (1.0 - self.tokens) / self.rate as f32,
        ))
    }
}
