//! What has happened lately, in two rings: everything, and how connections ended.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use antiphon_hub::{
    id::ConnectionId,
    occurrence::{Occurrence, Subject},
};

use crate::admin::shown::{Closed, Entry, now};

/// Entries of the log that are kept.
pub(crate) const MAX_ENTRIES: usize = 2000;

/// Connections that have ended and are kept.
pub(crate) const MAX_CLOSED: usize = 1000;

/// Most entries that are pushed to the page at once; earlier ones of the same moment are left out, and counted.
pub(crate) const MAX_PUSHED: usize = 500;

/// The two rings.
#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<Rings>);

#[derive(Debug, Default)]
struct Rings {
    entries: VecDeque<Entry>,
    closed: VecDeque<Closed>,
    /// Entries so far.
    written: u64,
    /// Occurrences that were too many.
    lost: u64,
}

/// What is new for the page.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// The latest entries, the oldest of them first.
    pub(crate) items: Vec<Entry>,
    /// How many were left out.
    pub(crate) lost: u64,
    /// Where to go on from.
    pub(crate) place: Place,
}

/// How far somebody has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    written: u64,
    lost: u64,
}

impl Journal {
    /// Writes an occurrence down.
    pub(crate) fn happened(&self, occurrence: &Occurrence) {
        let of = |kind, subject: &Subject| Entry {
            kind,
            connection: Some(subject.connection),
            user: subject.user.clone(),
            address: subject.address,
            ..Entry::default()
        };
        let bare = |kind| Entry {
            kind,
            ..Entry::default()
        };
        let mut entry = match occurrence {
            Occurrence::Connected(subject) => of("connected", subject),
            Occurrence::Disconnected { subject, .. } => of("disconnected", subject),
            Occurrence::Joined { subject, .. } => of("joined", subject),
            Occurrence::Left { subject, .. } => of("left", subject),
            Occurrence::UserOnline { .. } => bare("user_online"),
            Occurrence::UserOffline { .. } => bare("user_offline"),
            Occurrence::TagOccupied { .. } => bare("tag_occupied"),
            Occurrence::TagVacated { .. } => bare("tag_vacated"),
            _ => return,
        };
        let mut closed = None;
        match occurrence {
            Occurrence::Disconnected { subject, cause } => {
                entry.code = Some(cause.code);
                entry.reason = Some(cause.reason.clone());
                entry.by = Some(cause.by);
                closed = Some(Closed::new(subject, cause));
            }
            Occurrence::UserOnline { user } | Occurrence::UserOffline { user } => {
                entry.user = Some(user.clone());
            }
            Occurrence::Joined { tag, .. }
            | Occurrence::Left { tag, .. }
            | Occurrence::TagOccupied { tag }
            | Occurrence::TagVacated { tag } => entry.tag = Some(tag.clone()),
            _ => {}
        }
        let mut rings = self.lock();
        rings.write(entry);
        if let Some(closed) = closed {
            if rings.closed.len() >= MAX_CLOSED {
                rings.closed.pop_front();
            }
            rings.closed.push_back(closed);
        }
    }

    /// Writes down what an administrator has done, and logs it.
    pub(crate) fn did(&self, action: &'static str, detail: String, address: Option<IpAddr>) {
        let from = address.map(tracing::field::display);
        if action == "login_failed" {
            tracing::warn!(target: "antiphon::admin", action, from, "somebody is not let in");
        } else {
            tracing::info!(target: "antiphon::admin", action, detail, from, "an administrator");
        }
        self.lock().write(Entry {
            kind: "admin",
            action: Some(action),
            detail: Some(detail),
            address,
            ..Entry::default()
        });
    }

    /// So many occurrences were missed.
    pub(crate) fn missed(&self, count: u64) {
        self.lock().lost += count;
    }

    /// Where the log ends now.
    pub(crate) fn place(&self) -> Place {
        let rings = self.lock();
        Place {
            written: rings.written,
            lost: rings.lost,
        }
    }

    /// What has come since.
    pub(crate) fn since(&self, place: Place) -> News {
        let rings = self.lock();
        let new = usize::try_from(rings.written - place.written).unwrap_or(usize::MAX);
        let count = new.min(rings.entries.len()).min(MAX_PUSHED);
        let items = rings.entries.range(rings.entries.len() - count..);
        News {
            items: items.cloned().collect(),
            lost: (new - count) as u64 + rings.lost - place.lost,
            place: Place {
                written: rings.written,
                lost: rings.lost,
            },
        }
    }

    /// The latest entries with a number below `before`, the oldest of them first.
    pub(crate) fn entries(&self, before: Option<u64>, limit: usize) -> Vec<Entry> {
        let rings = self.lock();
        let end = before.map_or(rings.entries.len(), |before| {
            rings.entries.partition_point(|entry| entry.seq < before)
        });
        let items = rings.entries.range(end.saturating_sub(limit)..end);
        items.cloned().collect()
    }

    /// The latest ends, the latest first.
    pub(crate) fn closed(&self, limit: usize) -> Vec<Closed> {
        let rings = self.lock();
        rings.closed.iter().rev().take(limit).cloned().collect()
    }

    /// How a connection has ended.
    pub(crate) fn end_of(&self, id: ConnectionId) -> Option<Closed> {
        let rings = self.lock();
        let mut closed = rings.closed.iter().rev();
        closed.find(|closed| closed.connection.id == id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Rings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rings {
    fn write(&mut self, mut entry: Entry) {
        self.written += 1;
        entry.seq = self.written;
        entry.at = now();
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequences(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.seq).collect()
    }

    #[test]
    fn the_log_keeps_the_latest_and_says_what_was_left_out() {
        let journal = Journal::default();
        let begin = journal.place();
        for number in 0..MAX_ENTRIES + 10 {
            journal.did("send", number.to_string(), None);
        }
        journal.missed(7);
        let last = (MAX_ENTRIES + 10) as u64;
        let news = journal.since(begin);
        assert_eq!(news.items.len(), MAX_PUSHED);
        assert_eq!(news.items.last().map(|entry| entry.seq), Some(last));
        assert_eq!(news.lost, last - MAX_PUSHED as u64 + 7);
        assert!(journal.since(news.place).items.is_empty());
        journal.did("close", String::new(), None);
        let news = journal.since(news.place);
        assert_eq!((sequences(&news.items), news.lost), (vec![last + 1], 0));

        assert_eq!(journal.entries(None, usize::MAX).len(), MAX_ENTRIES);
        assert_eq!(sequences(&journal.entries(None, 2)), [last, last + 1]);
        assert_eq!(
            sequences(&journal.entries(Some(last), 2)),
            [last - 2, last - 1]
        );
        assert!(journal.entries(Some(3), 5).is_empty(), "they are gone");
    }
}
