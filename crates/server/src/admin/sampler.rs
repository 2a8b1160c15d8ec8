//! One sample a second: what the hub's counters have gained, and how things are.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use antiphon_hub::{code::close, presence::HubStats};
use tokio::time::Instant;

use crate::{
    admin::shown::{Sample, now},
    metrics::usage::Usage,
};

/// Time between two samples.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// Samples that are kept: ten minutes.
pub(crate) const MAX_SAMPLES: usize = 600;

/// The samples of the last minutes.
#[derive(Debug, Default)]
pub(crate) struct Samples(Mutex<VecDeque<Sample>>);

impl Samples {
    /// Keeps one.
    pub(crate) fn push(&self, sample: Sample) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() >= MAX_SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// All of them, the oldest first.
    pub(crate) fn all(&self) -> Vec<Sample> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().cloned().collect()
    }
}

/// Makes samples of what has changed.
#[derive(Debug)]
pub(crate) struct Sampler {
    at: Instant,
    stats: HubStats,
    processor: Option<f64>,
}

impl Sampler {
    /// Counts from here.
    pub(crate) fn new(stats: HubStats, usage: &Usage) -> Self {
        Self {
            at: Instant::now(),
            stats,
            processor: usage.processor,
        }
    }

    /// What has changed since the last one. `waiting` is connections, messages and bytes.
    pub(crate) fn sample(
        &mut self,
        stats: HubStats,
        usage: &Usage,
        waiting: (usize, usize, usize),
    ) -> Sample {
        let seconds = self.at.elapsed().as_secs_f64().max(0.001);
        let old = std::mem::replace(&mut self.stats, stats);
        let new = &self.stats;
        let rate = |read: fn(&HubStats) -> u64| per_second(read(new), read(&old), seconds);
        let mut closes = BTreeMap::new();
        for (code, count) in &new.ended {
            let gained = count.saturating_sub(old.ended.get(code).copied().unwrap_or(0));
            if gained > 0 {
                closes.insert(*code, gained);
            }
        }
        let slow = |stats: &HubStats| stats.ended.get(&close::SLOW.code).copied().unwrap_or(0);
        let cpu = usage.processor.zip(self.processor);
        let sample = Sample {
            at: now(),
            connections: new.connections,
            users: new.users,
            tags: new.tags,
            received: rate(|stats| stats.received),
            written: rate(|stats| stats.written),
            published: rate(|stats| stats.published),
            dropped: rate(|stats| stats.dropped + stats.slow),
            received_bytes: rate(|stats| stats.received_bytes),
            written_bytes: rate(|stats| stats.written_bytes),
            waiting_connections: waiting.0,
            waiting_messages: waiting.1,
            waiting_bytes: waiting.2,
            slow: per_second(slow(new), slow(&old), seconds),
            memory_used: new.memory_used,
            memory_limit: new.memory_limit,
            handlers: new.handlers_running,
            accepted: rate(|stats| stats.accepted),
            refused: rate(|stats| stats.refused_connections + stats.refused_logins),
            closes,
            cpu: cpu.map(|(new, old)| ((new - old).max(0.0) / seconds * 1000.0).round() / 1000.0),
            rss: usage.resident,
        };
        self.at = Instant::now();
        self.processor = usage.processor;
        sample
    }
}

fn per_second(new: u64, old: u64, seconds: f64) -> u64 {
    let gained = new.saturating_sub(old);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for a chart"
    )]
    let rate = (gained as f64 / seconds).round() as u64;
    // What happened is not rounded away.
    rate.max(u64::from(gained > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sample_is_what_was_gained_in_a_second() {
        let stats = |received, slow, code: u64| {
            let mut stats = HubStats::default();
            stats.received = received;
            stats.slow = slow;
            stats.ended.insert(1000, 3);
            stats.ended.insert(3008, code);
            stats
        };
        let usage = |processor| Usage {
            processor: Some(processor),
            ..Usage::default()
        };
        let mut sampler = Sampler::new(stats(100, 0, 0), &usage(1.0));
        tokio::time::advance(Duration::from_secs(2)).await;
        let sample = sampler.sample(stats(200, 1, 4), &usage(2.0), (1, 2, 3));
        assert_eq!((sample.received, sample.dropped, sample.slow), (50, 1, 2));
        assert_eq!(sample.closes, BTreeMap::from([(3008, 4)]));
        assert_eq!((sample.cpu, sample.waiting_bytes), (Some(0.5), 3));
        tokio::time::advance(INTERVAL).await;
        let sample = sampler.sample(stats(200, 1, 4), &usage(2.0), (0, 0, 0));
        assert_eq!((sample.received, sample.cpu), (0, Some(0.0)));
        assert!(sample.closes.is_empty());

        let samples = Samples::default();
        for number in 0..MAX_SAMPLES + 5 {
            samples.push(Sample {
                connections: number,
                ..Sample::default()
            });
        }
        let all = samples.all();
        assert_eq!((all.len(), all[0].connections), (MAX_SAMPLES, 5));
    }
}
