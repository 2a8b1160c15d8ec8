//! What goes on by itself while there is a page: samples, the log, frames of traced connections, the end of sessions.

use std::{collections::HashMap, time::Duration};

use antiphon_hub::{hub::Hub, id::ConnectionId, trace::TracedFrame};
use serde_json::json;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    admin::{
        journal::Place,
        sampler::{INTERVAL, Sampler},
        state::{Admin, WeakAdmin},
    },
    metrics::usage::Usage,
};

/// How often frames are pushed to the page.
const FRAMES_INTERVAL: Duration = Duration::from_millis(125);

/// How often entries of the log are pushed.
const LOG_INTERVAL: Duration = Duration::from_millis(250);

/// Most frames of one connection that are pushed at once; earlier ones of the same moment are left out.
pub(crate) const MAX_FRAMES_PUSHED: usize = 50;

/// How often is looked at what waits while nobody watches: that looks at every connection.
const WAITING_INTERVAL: Duration = Duration::from_secs(5);

/// The channel of samples.
const STATS: &str = "stats";
/// The channel of the log.
const LOG: &str = "log";

/// Starts it all; it ends with the page.
///
/// # Panics
///
/// Outside of a runtime.
pub(crate) fn start(admin: &Admin) {
    tokio::spawn(listen(admin.api().hub().clone(), admin.downgrade()));
    tokio::spawn(sample(admin.api().hub().clone(), admin.downgrade()));
    tokio::spawn(push(admin.journal().place(), admin.downgrade()));
}

/// Writes down what happens in the hub.
async fn listen(hub: Hub, of: WeakAdmin) {
    let mut occurrences = hub.occurrences();
    // The stream does not end while this holds the hub.
    drop(hub);
    loop {
        let heard = occurrences.recv().await;
        let Ok(admin) = of.upgrade() else { return };
        match heard {
            Ok(occurrence) => admin.journal().happened(&occurrence),
            Err(RecvError::Lagged(count)) => admin.journal().missed(count),
            Err(RecvError::Closed) => return,
        }
    }
}

/// A sample each second, and the end of what is over.
async fn sample(hub: Hub, of: WeakAdmin) {
    let mut sampler = Sampler::new(hub.stats(), &Usage::of_process());
    drop(hub);
    let mut waiting = (0, 0, 0);
    let mut looked: Option<Instant> = None;
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Ok(admin) = of.upgrade() else { return };
        admin.close_ended();
        let is_watched = admin.hub().tag(STATS).count() > 0;
        if is_watched || looked.is_none_or(|at| at.elapsed() >= WAITING_INTERVAL) {
            looked = Some(Instant::now());
            // It fails where the process is ending.
            waiting = admin.api().scan(Hub::waiting).await.unwrap_or(waiting);
        }
        let stats = admin.api().hub().stats();
        let sample = sampler.sample(stats, &Usage::of_process(), waiting);
        if is_watched {
            let _ = admin.hub().tag(STATS).send("sample", &sample).await;
        }
        admin.samples().push(sample);
    }
}

/// Pushes what is new to the pages that want it.
async fn push(mut place: Place, of: WeakAdmin) {
    let mut frames = Frames::default();
    let mut ticks = interval(FRAMES_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Instant::now();
    loop {
        ticks.tick().await;
        let Ok(admin) = of.upgrade() else { return };
        frames.push(&admin).await;
        if told.elapsed() < LOG_INTERVAL {
            continue;
        }
        told = Instant::now();
        if admin.hub().tag(LOG).count() == 0 {
            place = admin.journal().place();
            continue;
        }
        let news = admin.journal().since(place);
        place = news.place;
        if !news.items.is_empty() || news.lost > 0 {
            let data = json!({"items": news.items, "lost": news.lost});
            let _ = admin.hub().tag(LOG).send("entries", data).await;
        }
    }
}

/// How far the frames of each traced connection have been pushed.
#[derive(Debug, Default)]
struct Frames(HashMap<ConnectionId, u64>);

impl Frames {
    async fn push(&mut self, admin: &Admin) {
        let traced = admin.api().hub().traced();
        let ended = self.0.keys().copied().filter(|id| !traced.contains(id));
        for id in ended.collect::<Vec<_>>() {
            self.push_of(admin, id).await;
            self.0.remove(&id);
            let is_open = admin.api().hub().client(id).is_some();
            let reason = if is_open { "stopped" } else { "closed" };
            let channel = admin.hub().tag(channel(id));
            let _ = channel.send("ended", json!({"reason": reason})).await;
        }
        for id in traced {
            self.push_of(admin, id).await;
        }
    }

    async fn push_of(&mut self, admin: &Admin, id: ConnectionId) {
        let channel = admin.hub().tag(channel(id));
        let after = self.0.entry(id).or_default();
        if channel.count() == 0 {
            // Whoever comes later begins with what is kept then.
            *after = 0;
            return;
        }
        let frames: Vec<TracedFrame> = admin.api().hub().frames(id, *after);
        let Some(last) = frames.last() else { return };
        *after = last.seq;
        for frame in &frames[frames.len().saturating_sub(MAX_FRAMES_PUSHED)..] {
            let _ = channel.send("frame", frame).await;
        }
    }
}

fn channel(id: ConnectionId) -> String {
    format!("trace:{id}")
}
