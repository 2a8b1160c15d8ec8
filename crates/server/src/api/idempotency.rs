//! The same publication twice: the second answer is the first one's, and nothing is sent again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use antiphon_hub::hub::Delivery;
use tokio::{sync::OnceCell, time::Instant};

/// How long an answer is kept.
pub(crate) const WINDOW: Duration = Duration::from_secs(5 * 60);

/// Most answers that are kept; then the oldest goes first.
pub(crate) const MAX_KEYS: usize = 10_000;

/// Longest key in bytes.
pub(crate) const LONGEST_KEY: usize = 255;

type Cell = Arc<OnceCell<Delivery>>;

/// Answers by target and key.
#[derive(Debug, Default)]
pub(crate) struct Idempotency(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    cells: HashMap<Arc<str>, Cell>,
    order: VecDeque<(Instant, Arc<str>)>,
}

impl Idempotency {
    /// The answer of the first such call, or the one that `send` gives; and whether it is an old one. Who comes while
    /// the first is being made waits for it. An error is not kept.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, nothing is kept; the next call makes it.
    pub(crate) async fn once<E>(
        &self,
        target: &str,
        key: &str,
        send: impl Future<Output = Result<Delivery, E>>,
    ) -> Result<(Delivery, bool), E> {
        // The length keeps targets and keys apart, whatever they are made of.
        let name: Arc<str> = format!("{}:{target}{key}", target.len()).into();
        let cell = self.cell(name);
        let mut made = false;
        let delivery = cell
            .get_or_try_init(|| {
                made = true;
                send
            })
            .await?;
        Ok((*delivery, !made))
    }

    fn cell(&self, name: Arc<str>) -> Cell {
        let now = Instant::now();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.order.front().is_some_and(|(since, _)| {
            now.duration_since(*since) >= WINDOW || kept.order.len() > MAX_KEYS
        }) {
            kept.forget();
        }
        if let Some(cell) = kept.cells.get(&name) {
            return cell.clone();
        }
        if kept.order.len() >= MAX_KEYS {
            kept.forget();
        }
        let cell = Cell::default();
        kept.cells.insert(name.clone(), cell.clone());
        kept.order.push_back((now, name));
        cell
    }
}

impl Kept {
    fn forget(&mut self) {
        if let Some((_, name)) = self.order.pop_front() {
            self.cells.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_hub::{config::HubConfig, hub::Hub};

    use super::*;

    async fn delivery(hub: &Hub) -> Result<Delivery, ()> {
        hub.tag("x").send("e", 1).await.map_err(|_| ())
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_counts_for_its_target_and_five_minutes() {
        let hub = Hub::new(HubConfig::default());
        let all = Idempotency::default();
        for (wait, target, key, old) in [
            (0, "a", "k", false),
            (299, "a", "k", true),
            (0, "b", "k", false),
            (0, "ak", "", false),
            (1, "a", "k", false),
        ] {
            tokio::time::advance(Duration::from_secs(wait)).await;
            let (_, known) = all.once(target, key, delivery(&hub)).await.unwrap();
            assert_eq!(known, old, "{target} {key} after {wait}");
        }
        assert_eq!(hub.stats().published, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_not_kept_and_the_number_is_bounded() {
        let hub = Hub::new(HubConfig::default());
        let all = Idempotency::default();
        let failed = async { Err::<Delivery, _>("no") };
        assert_eq!(all.once("a", "k", failed).await, Err("no"));
        assert!(!all.once("a", "k", delivery(&hub)).await.unwrap().1);
        for number in 0..MAX_KEYS {
            let key = number.to_string();
            all.once("b", &key, delivery(&hub)).await.unwrap();
        }
        assert_eq!(all.0.lock().unwrap().order.len(), MAX_KEYS);
        assert_eq!(all.0.lock().unwrap().cells.len(), MAX_KEYS);
        assert!(!all.once("a", "k", delivery(&hub)).await.unwrap().1);
        assert!(all.once("b", "9999", delivery(&hub)).await.unwrap().1);
    }
}
