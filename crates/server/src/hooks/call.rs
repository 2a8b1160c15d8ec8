//! One hook: asking signed, within bounds, again where that is safe, and not at all while the backend is down.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use antiphon_hub::{code::ErrorCode, permission::Patterns};
use bytes::Bytes;
use serde::Serialize;
use tokio::time::{self, Instant};

use crate::{
    hooks::{
        answer::{Meaning, Refusal, read},
        question::Forwarded,
        settings::HookSettings,
    },
    outgoing::{
        Bounds, Http,
        backoff::Backoff,
        breaker::Breaker,
        endpoint::Endpoint,
        error::Error,
        sign::{SIGNATURE, Signer},
    },
    traces::Traces,
};

/// Waits between tries: short, since a client waits, too.
const BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(100),
    most: Duration::from_secs(1),
};

/// The log has one line about failures in this time.
const LOG: Duration = Duration::from_secs(10);

/// Which failures may be followed by another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// The hook only asks: every failure that may pass.
    Temporary,
    /// The hook may have done something: only what has reached nobody.
    Unsent,
}

/// One hook of the backend.
pub(super) struct Hook {
    pub(super) name: &'static str,
    url: Endpoint,
    bounds: Bounds,
    retries: usize,
    repeat: Repeat,
    pub(super) only: Patterns,
    http: Http,
    signer: Option<Signer>,
    breaker: Breaker,
    pub(super) traces: Option<Traces>,
    counts: Counts,
    log: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
}

/// What one hook has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HookStats {
    /// Questions.
    pub(crate) calls: u64,
    /// Questions that the backend answered with an error or a disconnect.
    pub(crate) refused: u64,
    /// Questions without a usable answer, those included that an open breaker rejected.
    pub(crate) failed: u64,
    /// Tries after the first.
    pub(crate) retried: u64,
    /// Tries that an open breaker rejected.
    pub(crate) rejected: u64,
    /// How often the breaker has opened.
    pub(crate) opened: u64,
    /// Whether it is open.
    pub(crate) is_open: bool,
}

impl Hook {
    /// The hook, if it is on.
    pub(super) fn new(
        name: &'static str,
        repeat: Repeat,
        settings: &HookSettings,
        answer: usize,
        http: &Http,
        signer: Option<&Signer>,
    ) -> Option<Self> {
        Some(Self {
            name,
            url: settings.url.clone()?,
            bounds: Bounds {
                timeout: settings.timeout,
                answer,
            },
            retries: settings.retries,
            repeat,
            only: settings.only.clone(),
            http: http.clone(),
            signer: signer.cloned(),
            breaker: Breaker::default(),
            traces: None,
            counts: Counts::default(),
            log: Mutex::new(None),
        })
    }

    /// Asks the backend. Whatever goes wrong is a temporary error for the client, never a yes.
    ///
    /// # Cancel safety
    ///
    /// The question is given up; the backend may have seen it.
    pub(super) async fn ask<A: Meaning>(
        &self,
        question: &impl Serialize,
        forwarded: &Forwarded,
    ) -> Result<A, Refusal> {
        self.counts.calls.fetch_add(1, Ordering::Relaxed);
        let Some(answer) = self.answer(question, forwarded).await else {
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
            return Err(Refusal::of(ErrorCode::Internal));
        };
        if answer.is_err() {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// What it has done so far.
    pub(super) fn stats(&self) -> HookStats {
        HookStats {
            calls: self.counts.calls.load(Ordering::Relaxed),
            refused: self.counts.refused.load(Ordering::Relaxed),
            failed: self.counts.failed.load(Ordering::Relaxed),
            retried: self.counts.retried.load(Ordering::Relaxed),
            rejected: self.breaker.rejected(),
            opened: self.breaker.opened(),
            is_open: self.breaker.is_open(),
        }
    }

    /// The answer, if there is one.
    async fn answer<A: Meaning>(
        &self,
        question: &impl Serialize,
        forwarded: &Forwarded,
    ) -> Option<Result<A, Refusal>> {
        let body = Bytes::from(serde_json::to_vec(question).ok()?);
        let mut failures = 0;
        loop {
            let pass = self.breaker.pass().ok()?;
            let error = match self.once(&body, forwarded).await {
                Ok(answer) => {
                    if pass.healthy() {
                        tracing::info!("the {} hook at {} works again", self.name, self.url);
                    }
                    return Some(answer);
                }
                Err(error) => error,
            };
            self.warn(&error);
            if error.is_ill() {
                if pass.ill() {
                    tracing::warn!(
                        "the {} hook at {} fails again and again: for now its clients are refused without asking",
                        self.name,
                        self.url
                    );
                }
            } else if error != Error::Busy {
                pass.healthy();
            }
            failures += 1;
            let again = match self.repeat {
                Repeat::Temporary => error.is_temporary(),
                Repeat::Unsent => error.is_unsent(),
            };
            if !again || failures > self.retries {
                return None;
            }
            time::sleep(BACKOFF.wait(u32::try_from(failures).unwrap_or(u32::MAX))).await;
            self.counts.retried.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn once<A: Meaning>(
        &self,
        body: &Bytes,
        forwarded: &Forwarded,
    ) -> Result<Result<A, Refusal>, Error> {
        let mut headers = forwarded.to_headers();
        if let Some(signer) = &self.signer {
            headers.insert(SIGNATURE, signer.sign(body));
        }
        let traces = self.traces.as_ref();
        let span = traces.map(|traces| traces.hook(self.name, &mut headers));
        let answer = self
            .http
            .post(&self.url, headers, body.clone(), self.bounds)
            .await
            .and_then(|answer| read(&answer.body).map_err(Error::Body));
        if let Some(span) = span {
            span.end(answer.as_ref().err().map(Error::label));
        }
        answer
    }

    /// One line in ten seconds: an outage is not to fill the disk.
    fn warn(&self, error: &Error) {
        let now = Instant::now();
        let mut last = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| now.duration_since(last) >= LOG) {
            *last = Some(now);
            tracing::warn!("the {} hook at {} failed: {error}", self.name, self.url);
        }
    }
}
