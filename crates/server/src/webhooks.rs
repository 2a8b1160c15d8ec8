//! Webhooks: a backend is told who comes and goes, in order, signed, in batches, again after failures, never waited for.

pub(crate) mod event;
pub(crate) mod queue;
pub(crate) mod settings;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use antiphon_hub::permission::Patterns;
use bytes::Bytes;
use http::HeaderMap;
use tokio::{
    task::JoinHandle,
    time::{self, Instant},
};

use self::{
    event::{Batch, Event, EventKind, Numbered, Told, unix_millis},
    queue::{Lost, Queue, Stats},
    settings::Settings,
};
use crate::outgoing::{
    Bounds, Http,
    backoff::Backoff,
    endpoint::Endpoint,
    error::Error,
    sign::{SIGNATURE, Signer},
};

/// The longest wait after a first failure.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// The longest wait between tries while the server stops.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// Most bytes of an answer; nobody reads it, but a connection whose answer was read to its end can be used again.
const ANSWER: usize = 16 * 1024;

/// Tells a backend what happens.
pub(crate) struct Webhooks {
    events: Vec<EventKind>,
    tags: Patterns,
    queue: Arc<Queue>,
    teller: Mutex<Option<JoinHandle<()>>>,
}

impl Webhooks {
    /// Starts to tell what is offered from now on; without a URL nothing is. `node` is the name of this server.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub(crate) fn start(settings: &Settings, http: &Http, node: &str) -> Self {
        let queue = Arc::new(Queue::new(settings.max_queue, settings.batch_size));
        let teller = settings.url.clone().map(|url| {
            let teller = Teller {
                url,
                http: http.clone(),
                signer: settings.secret.as_ref().map(Signer::new),
                node: node.into(),
                run: format!("{:016x}", rand::random::<u64>()),
                batch: settings.batch_size,
                delay: settings.batch_delay,
                bounds: Bounds {
                    timeout: settings.timeout,
                    answer: ANSWER,
                },
                attempts: settings.attempts,
                backoff: Backoff {
                    base: FIRST_WAIT.min(settings.max_backoff),
                    most: settings.max_backoff,
                },
                queue: Arc::clone(&queue),
            };
            tokio::spawn(teller.run())
        });
        let events = match teller {
            Some(_) => settings.events.clone(),
            None => Vec::new(),
        };
        Self {
            events,
            tags: settings.tags.clone(),
            queue,
            teller: Mutex::new(teller),
        }
    }

    /// Whether events of this kind are told at all.
    pub(crate) fn wants(&self, kind: EventKind) -> bool {
        self.events.contains(&kind)
    }

    /// Tells of an event if the settings want it. Never waits: where the queue is full, the event is dropped and counted.
    pub(crate) fn offer(&self, event: Event) {
        let wanted =
            self.wants(event.kind()) && event.tag().is_none_or(|tag| self.tags.allow(tag, None));
        if wanted {
            self.queue.offer(event);
        }
    }

    /// Tells what waits, without delays, for at most this long; what is left then is dropped and counted.
    ///
    /// # Cancel safety
    ///
    /// What was not told goes on; but this can be called only once.
    pub(crate) async fn flush(&self, within: Duration) {
        let deadline = Instant::now() + within;
        self.queue.close();
        let teller = self
            .teller
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut teller) = teller
            && time::timeout_at(deadline, &mut teller).await.is_err()
        {
            teller.abort();
            // It ends at its next wait, which is now.
            let _ = teller.await;
        }
        self.queue.end();
        let lost = self.queue.stats().dropped_shutdown;
        if lost > 0 {
            tracing::warn!("{lost} events were not told to the backend before the end");
        }
    }

    /// What they have done so far.
    pub(crate) fn stats(&self) -> Stats {
        self.queue.stats()
    }
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks")
            .field("events", &self.events)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// A server that goes without a flush leaves no task behind.
impl Drop for Webhooks {
    fn drop(&mut self) {
        let teller = self
            .teller
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(teller) = teller.take() {
            teller.abort();
        }
    }
}

/// The one task that tells, batch after batch.
struct Teller {
    url: Endpoint,
    http: Http,
    signer: Option<Signer>,
    node: Box<str>,
    run: String,
    batch: usize,
    delay: Duration,
    bounds: Bounds,
    attempts: usize,
    backoff: Backoff,
    queue: Arc<Queue>,
}

impl Teller {
    async fn run(self) {
        while let Some(batch) = self.next().await {
            self.tell(&batch).await;
        }
    }

    /// The next batch: full, or as many as came within the delay. `None` at the end.
    async fn next(&self) -> Option<Vec<Numbered>> {
        while self.queue.len() == 0 {
            if self.queue.is_done() {
                return None;
            }
            self.queue.changed.notified().await;
        }
        let full = async {
            while self.queue.len() < self.batch && !self.queue.is_closing() {
                self.queue.changed.notified().await;
            }
        };
        let _ = time::timeout(self.delay, full).await;
        Some(self.queue.take())
    }

    /// Tells a batch until it has arrived or the tries are used up. Later batches wait: the order stays.
    async fn tell(&self, events: &[Numbered]) {
        let id = format!("{:032x}", rand::random::<u128>());
        // The same in each try: a try whose answer was lost has told it already.
        let losses = self.queue.untold();
        let mut failures = 0;
        loop {
            let error = match self.post(&id, losses, events).await {
                Ok(()) => {
                    self.queue.told(events.len(), losses);
                    if failures > 0 {
                        tracing::info!("webhooks arrive at {} again", self.url);
                    }
                    return;
                }
                Err(error) => error,
            };
            failures += 1;
            if failures >= self.attempts {
                self.queue.lose(events.len(), Lost::Attempts);
                tracing::warn!(
                    "{} events were dropped after {failures} tries: {} fails: {error}",
                    events.len(),
                    self.url
                );
                return;
            }
            if failures == 1 {
                tracing::warn!("webhooks do not arrive at {}: {error}", self.url);
            }
            self.wait(failures).await;
            self.queue.retried();
        }
    }

    /// Waits before the next try; the end of the server makes it short.
    async fn wait(&self, failures: usize) {
        let wait = self
            .backoff
            .wait(u32::try_from(failures).unwrap_or(u32::MAX));
        let until = Instant::now() + wait;
        let closing = async {
            while !self.queue.is_closing() {
                self.queue.changed.notified().await;
            }
        };
        if time::timeout_at(until, closing).await.is_ok() {
            let short = LAST_WAIT.mul_f64(rand::random::<f64>());
            time::sleep_until(until.min(Instant::now() + short)).await;
        }
    }

    async fn post(&self, id: &str, dropped: u64, events: &[Numbered]) -> Result<(), Error> {
        let batch = Batch {
            id,
            node: &self.node,
            time: unix_millis(),
            dropped,
            events: events
                .iter()
                .map(|event| Told::new(&self.run, event))
                .collect(),
        };
        let body = serde_json::to_vec(&batch).map_err(|error| Error::Broken(error.to_string()))?;
        let mut headers = HeaderMap::new();
        if let Some(signer) = &self.signer {
            headers.insert(SIGNATURE, signer.sign(&body));
        }
        let answer = self
            .http
            .post(&self.url, headers, Bytes::from(body), self.bounds)
            .await;
        match answer {
            // The status was good, and nobody needs the rest.
            Ok(_) | Err(Error::TooLarge(_) | Error::Body(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
