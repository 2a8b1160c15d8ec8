//! One-time tickets: what a page may put into a URL, because it is worth nothing a moment later.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use antiphon_hub::identity::Identity;
use tokio::time::Instant;

use crate::{
    auth::secret::{self, Digest},
    setting::Secret,
};

/// Tickets that were issued and not used yet: at most `max`, each for its time.
#[derive(Debug)]
pub(crate) struct Tickets {
    max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By their SHA-256: how long a look-up takes says nothing about a ticket, and memory does not hold it.
    waiting: HashMap<Digest, (Identity, Instant)>,
    refused: u64,
}

/// There are as many tickets as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoMoreTickets;

impl Tickets {
    /// None yet.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            inner: Mutex::default(),
        }
    }

    /// A ticket of 128 random bits for this client, good once within `ttl`.
    ///
    /// # Errors
    ///
    /// Too many wait to be used.
    pub(crate) fn issue(&self, identity: Identity, ttl: Duration) -> Result<Secret, NoMoreTickets> {
        let ticket = secret::random(16).ok_or(NoMoreTickets)?;
        let now = Instant::now();
        let mut inner = self.lock();
        if inner.waiting.len() >= self.max {
            inner.waiting.retain(|_, (_, end)| *end > now);
            if inner.waiting.len() >= self.max {
                inner.refused += 1;
                return Err(NoMoreTickets);
            }
        }
        inner
            .waiting
            .insert(secret::digest(&ticket), (identity, now + ttl));
        Ok(ticket)
    }

    /// The client of a ticket, exactly once.
    pub(crate) fn redeem(&self, ticket: &Secret) -> Option<Identity> {
        let digest = secret::digest(ticket);
        let (identity, end) = self.lock().waiting.remove(&digest)?;
        (end > Instant::now()).then_some(identity)
    }

    /// Forgets tickets that were never used; to be called now and then.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.lock().waiting.retain(|_, (_, end)| *end > now);
    }

    /// How many wait to be used.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// How many were not issued because there were too many.
    pub(crate) fn refused(&self) -> u64 {
        self.lock().refused
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Barrier},
        thread,
    };

    use antiphon_hub::permission::Permissions;

    use super::*;

    fn user() -> Identity {
        Identity::user("7", Permissions::default().into())
    }

    #[test]
    fn a_ticket_works_once_however_many_try() {
        let tickets = Arc::new(Tickets::new(10));
        for _ in 0..50 {
            let ticket = tickets.issue(user(), Duration::from_secs(30)).unwrap();
            let start = Arc::new(Barrier::new(8));
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let (tickets, ticket, start) = (tickets.clone(), ticket.clone(), start.clone());
                    thread::spawn(move || {
                        start.wait();
                        tickets.redeem(&ticket).is_some()
                    })
                })
                .collect();
            let count = threads
                .into_iter()
                .map(|thread| usize::from(thread.join().unwrap()))
                .sum::<usize>();
            assert_eq!(count, 1);
        }
        assert_eq!(tickets.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn tickets_end_and_are_bounded() {
        let tickets = Tickets::new(2);
        let ttl = Duration::from_secs(30);
        let old = tickets.issue(user(), ttl).unwrap();
        assert_eq!(old.expose().len(), 22);
        tokio::time::advance(Duration::from_secs(29)).await;
        let young = tickets.issue(user(), ttl).unwrap();
        assert_eq!(tickets.issue(user(), ttl).err(), Some(NoMoreTickets));
        assert_eq!(tickets.refused(), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(tickets.redeem(&old).is_none());
        assert!(tickets.redeem(&Secret::new("")).is_none());
        assert_eq!(tickets.redeem(&young).unwrap().user.as_deref(), Some("7"));
        assert!(tickets.issue(user(), ttl).is_ok());
        tokio::time::advance(ttl).await;
        tickets.sweep();
        assert_eq!(tickets.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn tickets_that_wait_do_not_show_themselves() {
        let tickets = Tickets::new(2);
        let ticket = tickets.issue(user(), Duration::from_secs(1)).unwrap();
        assert!(!format!("{tickets:?}").contains(ticket.expose()));
    }
}
