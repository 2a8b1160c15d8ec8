//! What the events of clients cause: a little each may cause at any time, and the rest all share in turns, so that a few
//! who publish to many do not hold up whoever does not.

use std::{
    cell::Cell,
    collections::VecDeque,
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use tokio::{runtime::Handle, task::yield_now, time::Instant};

use crate::registry::lock;

/// Deliveries that the events of one connection may cause in a second, in the long run, whatever others do.
const OWN_RATE: f32 = 1_000.0;

/// The same at once. An event whose deliveries are more than are left is handled all the same, and makes debts.
const OWN_BURST: f32 = 1_024.0;

/// Most debts, in deliveries.
const MOST_DEBTS: f32 = 32_768.0;

/// Deliveries beyond that, of all connections of a runtime together, before every other task there has its turn.
const SHARE: u32 = 16_384;

/// The same of one connection, where others wait.
const PORTION: u32 = 2_048;

thread_local! {
    static CAUSED: Cell<u32> = const { Cell::new(0) };
}

/// So many connections, or names, have been looked at for somebody.
pub(crate) fn count(amount: impl TryInto<u32>) {
    let amount = amount.try_into().unwrap_or(u32::MAX);
    CAUSED.set(CAUSED.get().saturating_add(amount));
}

/// Does something; how much it has caused.
fn measure<T>(work: impl FnOnce() -> T) -> (T, u32) {
    let outer = CAUSED.replace(0);
    let result = work();
    (result, CAUSED.replace(outer))
}

/// What the connections of one runtime share.
#[derive(Debug, Default)]
pub(crate) struct Share(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Deliveries since the last tick.
    spent: u32,
    waiting: VecDeque<Weak<Place>>,
    is_ticking: bool,
}

/// A place in the queue.
#[derive(Debug)]
struct Place(Mutex<Called>);

#[derive(Debug)]
enum Called {
    Yes,
    No(Waker),
}

impl State {
    /// Where a ticker has to be started, if there is none and there can be one.
    fn wants_tick(&mut self) -> Option<Handle> {
        let runtime = (!self.is_ticking).then(|| Handle::try_current().ok())??;
        self.is_ticking = true;
        Some(runtime)
    }

    /// Calls the first who is still there.
    fn call_next(&mut self) -> Option<Waker> {
        while let Some(first) = self.waiting.pop_front() {
            if let Some(place) = first.upgrade()
                && let Called::No(waker) = mem::replace(&mut *lock(&place.0), Called::Yes)
            {
                return Some(waker);
            }
        }
        None
    }
}

impl Share {
    /// Sees to it that somebody ticks, as long as there is a reason for it. Not while the state is locked: a runtime that
    /// ends drops what it is given at once, which unlocks those who wait.
    fn tick(self: &Arc<Self>, runtime: Option<Handle>) {
        if let Some(runtime) = runtime {
            runtime.spawn(Ticker(self.clone()).run());
        }
    }

    fn spend(self: &Arc<Self>, amount: u32) {
        let mut state = lock(&self.0);
        state.spent = state.spent.saturating_add(amount);
        let runtime = state.wants_tick();
        drop(state);
        self.tick(runtime);
    }

    /// Somebody who was called is done: the next one, where something is left.
    fn pass_on(&self) {
        let mut state = lock(&self.0);
        let next = (state.spent < SHARE).then(|| state.call_next()).flatten();
        drop(state);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

/// Gives the share anew whenever all other tasks have had their turns.
struct Ticker(Arc<Share>);

impl Ticker {
    async fn run(self) {
        loop {
            // The first wait is for the sockets to be asked, the second for those that they have woken.
            yield_now().await;
            behind_all().await;
            let mut state = lock(&self.0.0);
            if state.spent == 0 && state.waiting.is_empty() {
                return;
            }
            state.spent = 0;
            let next = state.call_next();
            drop(state);
            if let Some(waker) = next {
                waker.wake();
            }
        }
    }
}

impl Drop for Ticker {
    /// Also where the runtime ends: nobody may wait for a tick that does not come.
    fn drop(&mut self) {
        let mut state = lock(&self.0.0);
        state.is_ticking = false;
        state.spent = 0;
        let called: Vec<Waker> = std::iter::from_fn(|| state.call_next()).collect();
        drop(state);
        called.into_iter().for_each(Waker::wake);
    }
}

/// Goes to the end of the runtime's queue.
async fn behind_all() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What one connection causes.
#[derive(Debug)]
pub(crate) struct Account {
    /// `None`: there is nobody to share with.
    share: Option<Arc<Share>>,
    /// What is left of its own; debts are less than nothing.
    own: f32,
    filled: Instant,
    place: Option<Arc<Place>>,
    /// What it has caused since it was called.
    called: Option<u32>,
}

impl Account {
    pub(crate) fn new(share: Option<Arc<Share>>) -> Self {
        Self {
            share,
            own: OWN_BURST,
            filled: Instant::now(),
            place: None,
            called: None,
        }
    }

    /// Whether it may go on, or has to wait for its turn.
    pub(crate) fn poll_turn(&mut self, cx: &Context<'_>, waits: &AtomicU64) -> Poll<()> {
        if self.has_own() {
            return Poll::Ready(());
        }
        let Some(share) = &self.share else {
            return Poll::Ready(());
        };
        if let Some(place) = &self.place {
            match &mut *lock(&place.0) {
                Called::Yes => self.called = Some(0),
                Called::No(waker) => {
                    waker.clone_from(cx.waker());
                    return Poll::Pending;
                }
            }
            self.place = None;
        }
        let mut state = lock(&share.0);
        let others_wait = !state.waiting.is_empty();
        let portion = self.called.is_some_and(|caused| caused < PORTION);
        if state.spent < SHARE && (portion || !others_wait) {
            return Poll::Ready(());
        }
        let place = Arc::new(Place(Mutex::new(Called::No(cx.waker().clone()))));
        state.waiting.push_back(Arc::downgrade(&place));
        let runtime = state.wants_tick();
        // Where there is no runtime to tick, nobody waits.
        if !state.is_ticking {
            state.waiting.pop_back();
            return Poll::Ready(());
        }
        drop(state);
        share.tick(runtime);
        waits.fetch_add(1, Relaxed);
        self.place = Some(place);
        self.rest();
        Poll::Pending
    }

    fn has_own(&mut self) -> bool {
        if self.own <= 0.0 {
            let now = Instant::now();
            let gained = now.duration_since(self.filled).as_secs_f32() * OWN_RATE;
            self.own = (self.own + gained).min(OWN_BURST);
            self.filled = now;
        }
        self.own > 0.0
    }

    /// Deliveries after which it has to ask for its turn again.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between 0 and the burst"
    )]
    fn allowance(&self) -> u32 {
        if self.own > 0.0 {
            return self.own.ceil() as u32;
        }
        let Some(share) = &self.share else {
            return u32::MAX;
        };
        let state = lock(&share.0);
        let left = SHARE.saturating_sub(state.spent);
        if state.waiting.is_empty() {
            return left;
        }
        left.min(PORTION.saturating_sub(self.called.unwrap_or(PORTION)))
    }

    #[expect(clippy::cast_precision_loss, reason = "it is a rate")]
    fn spend(&mut self, amount: u32) {
        let is_own = self.own > 0.0;
        self.own = (self.own - amount as f32).max(-MOST_DEBTS);
        if let Some(caused) = &mut self.called {
            *caused = caused.saturating_add(amount);
        }
        if !is_own && let Some(share) = &self.share {
            share.spend(amount);
        }
    }

    /// It has nothing to do now: the next one may.
    pub(crate) fn rest(&mut self) {
        if self.called.take().is_some()
            && let Some(share) = &self.share
        {
            share.pass_on();
        }
    }
}

/// The account of a connection. Most cause nothing, and have none.
#[derive(Debug, Default)]
pub(crate) struct Accounting(Option<Box<Account>>);

impl Accounting {
    /// Polls the handler of an event of the connection's.
    pub(crate) fn poll<F: Future + ?Sized>(
        &mut self,
        future: Pin<&mut F>,
        cx: &mut Context<'_>,
        share: impl FnOnce() -> Option<Arc<Share>>,
    ) -> Poll<F::Output> {
        self.charge(|| future.poll(cx), share)
    }

    /// Does something for an event of the connection's.
    pub(crate) fn charge<T>(
        &mut self,
        work: impl FnOnce() -> T,
        share: impl FnOnce() -> Option<Arc<Share>>,
    ) -> T {
        let (result, caused) = measure(work);
        if caused > 0 {
            self.0
                .get_or_insert_with(|| Box::new(Account::new(share())))
                .spend(caused);
        }
        result
    }

    /// How many events that cause `each` deliveries may be handled before it has to ask for its turn again; at least one.
    pub(crate) fn allowance(&self, each: usize) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the burst is a small number"
        )]
        let allowed = match &self.0 {
            Some(account) => account.allowance(),
            None => OWN_BURST as u32,
        };
        let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
        allowed.div_ceil(each.max(1)).max(1)
    }

    /// Whether the next event may be handled.
    pub(crate) fn poll_turn(&mut self, cx: &Context<'_>, waits: &AtomicU64) -> Poll<()> {
        match &mut self.0 {
            Some(account) => account.poll_turn(cx, waits),
            None => Poll::Ready(()),
        }
    }

    /// No event can be handled now.
    pub(crate) fn rest(&mut self) {
        if let Some(account) = &mut self.0 {
            account.rest();
        }
    }

    /// Handles one event in its turn, where nobody reads the connection any more.
    pub(crate) async fn handle<F: Future>(
        &mut self,
        future: F,
        share: impl Fn() -> Option<Arc<Share>>,
        waits: &AtomicU64,
    ) -> F::Output {
        poll_fn(|cx| self.poll_turn(cx, waits)).await;
        let mut future = pin!(future);
        poll_fn(|cx| {
            let polled = self.poll(future.as_mut(), cx, &share);
            if polled.is_pending() {
                self.rest();
            }
            polled
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_events_are_handled_together_as_would_be_one_by_one() {
        let share = Arc::<Share>::default();
        let place = Arc::new(Place(Mutex::new(Called::Yes)));
        // What is left of its own, what all have spent, whether others wait, what it has caused since it was called,
        // deliveries of each event; how many events.
        for (own, spent, others_wait, called, each, events) in [
            (1024.0, 0, true, None, 1000, 2),
            (1024.0, 0, true, None, 1024, 1),
            (0.5, 0, true, None, 1000, 1),
            (0.0, 0, false, None, 1000, 17),
            (-9.0, SHARE - 1, false, None, 1000, 1),
            (-9.0, SHARE, false, None, 1, 1),
            (-9.0, 0, true, Some(0), 1000, 3),
            (-9.0, 0, true, Some(PORTION - 1), 1000, 1),
            (-9.0, SHARE - 5, true, Some(0), 1, 5),
            (-9.0, 0, true, None, 1, 1),
            (1024.0, 0, false, None, 0, 1024),
        ] {
            let mut account = Account::new(Some(share.clone()));
            (account.own, account.called) = (own, called);
            let mut state = lock(&share.0);
            state.spent = spent;
            state.waiting = others_wait
                .then(|| Arc::downgrade(&place))
                .into_iter()
                .collect();
            drop(state);
            let account = Accounting(Some(Box::new(account)));
            assert_eq!(
                account.allowance(each),
                events,
                "{own} {spent} {called:?} {each}"
            );
        }
        assert_eq!(Accounting::default().allowance(1000), 2);
    }

    /// It drops the ticker as soon as it is spawned.
    #[test]
    fn nobody_waits_in_a_runtime_that_has_ended() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let ended = runtime.handle().clone();
        drop(runtime);
        let _inside = ended.enter();
        let share = Arc::<Share>::default();
        share.spend(SHARE);
        assert_eq!(lock(&share.0).spent, 0);
        lock(&share.0).spent = SHARE;
        let mut account = Account::new(Some(share.clone()));
        account.own = -MOST_DEBTS;
        let waits = AtomicU64::new(0);
        let cx = Context::from_waker(Waker::noop());
        let turns = [(); 2].map(|()| account.poll_turn(&cx, &waits).is_ready());
        assert_eq!(turns, [false, true], "it is woken at once");
        assert!(!lock(&share.0).is_ticking);
    }
}
