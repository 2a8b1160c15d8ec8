//! One timer for all sockets of a runtime: deadlines in memory of their own cost four times as much.
//!
//! A socket sets its deadline rarely: when it is made, when the deadline has come, and where a nearer one appears. So the
//! wheel is a list for each moment at which something is due, under one lock, and a task of the runtime, the keeper, that
//! sleeps until the first of them. It ends when it has found nothing to wait for twice, and with its runtime; whoever is
//! still waiting then is woken, and looks for a wheel where it runs.

use std::{
    collections::BTreeMap,
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::Waker,
    time::Duration,
};

use tokio::{
    runtime::{Handle, Id},
    sync::Notify,
    time::{Instant, Sleep, sleep_until},
};

use crate::chunks::Chunks;

/// Milliseconds to which deadlines that may be coarse are rounded up, so that many sockets are woken at once.
const COARSE: u32 = 125;

/// The age in milliseconds at which a wheel is given up for a new one: 24 days. So the count of its ticks suffices.
const MAX_AGE: u32 = 1 << 31;

/// How long a keeper waits with nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Wakers of one turn that the keeper keeps memory for.
const MAX_WOKEN: usize = 1024;

/// No slot.
const NONE: u32 = u32::MAX;

/// What `passed` says of a wheel that has ended.
const OVER: u32 = u32::MAX;

/// The wheels of the runtimes that have one.
static WHEELS: Mutex<Vec<(Id, Arc<Wheel>)>> = Mutex::new(Vec::new());

fn wheels() -> MutexGuard<'static, Vec<(Id, Arc<Wheel>)>> {
    WHEELS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A deadline, and who is woken when it passes. Nothing of it is left when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    wheel: Option<Arc<Wheel>>,
    slot: u32,
    /// The tick at which it is due; 0 where it is not set.
    tick: u32,
}

impl Timer {
    /// Whether it is set and has not come.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        self.wheel
            .as_ref()
            .is_some_and(|wheel| wheel.passed.load(Relaxed) < self.tick)
    }

    /// Whether it is set and has come, or what it waited in has ended: whoever finds it so looks at the clock.
    pub(crate) fn is_due(&self) -> bool {
        self.tick > 0 && !self.is_waiting()
    }

    /// Whether it is set, and comes no later than a deadline.
    pub(crate) fn covers(&self, deadline: Instant, coarse: bool) -> bool {
        self.wheel.as_ref().is_some_and(|wheel| {
            wheel.passed.load(Relaxed) < self.tick && self.tick <= wheel.tick(deadline, coarse)
        })
    }

    /// Wakes somebody else when it comes. `false` where it has come.
    pub(crate) fn hand_to(&self, waker: &Waker) -> bool {
        let Some(wheel) = &self.wheel else {
            return false;
        };
        let waker = waker.clone();
        // What is replaced is dropped with the lock given back: it may be the last of a task.
        let replaced = {
            let mut due = wheel.due();
            let place = due.slots.get_mut(self.slot as usize);
            let place = place.filter(|_| wheel.holds(self));
            place.map(|place| place.waker.replace(waker))
        };
        replaced.is_some()
    }

    /// Sets it, or moves it. A coarse deadline may be met a little late. Where the runtime is about to end there is
    /// nothing to be woken by.
    ///
    /// # Panics
    ///
    /// If it was never set before, and this is not inside a runtime with a timer.
    pub(crate) fn set(&mut self, deadline: Instant, coarse: bool, waker: &Waker) {
        // The second time the wheel is a new one: it has not had the time to end.
        for _ in 0..2 {
            let wheel = match &self.wheel {
                Some(wheel) if wheel.is_over() => match Handle::try_current() {
                    Ok(handle) => Wheel::of(&handle),
                    Err(_) => break,
                },
                Some(wheel) => Arc::clone(wheel),
                None => Wheel::of(&Handle::current()),
            };
            let known = self
                .wheel
                .as_ref()
                .is_some_and(|old| Arc::ptr_eq(old, &wheel));
            let old = mem::take(&mut self.tick);
            if let Some((slot, tick)) =
                wheel.insert(known.then_some((self.slot, old)), deadline, coarse, waker)
            {
                (self.slot, self.tick) = (slot, tick);
                self.wheel = Some(wheel);
                return;
            }
            self.wheel = Some(wheel);
        }
        self.tick = 0;
    }

    /// Forgets the deadline.
    pub(crate) fn clear(&mut self) {
        if let Some(wheel) = &self.wheel
            && self.is_waiting()
        {
            let mut due = wheel.due();
            let removed = wheel.holds(self).then(|| due.remove(self.slot, self.tick));
            // Told at most once for each of its turns, however fast connections come and go.
            let was_last = due.taken == 0 && !mem::replace(&mut due.is_told, true);
            drop(due);
            drop(removed);
            if was_last {
                wheel.earlier.notify_one();
            }
        }
        self.tick = 0;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What the deadlines of a runtime wait in.
#[derive(Debug)]
struct Wheel {
    epoch: Instant,
    /// Milliseconds since `epoch` as of which everything that was due has been woken. Changed only under the lock of `due`:
    /// until then a slot belongs to its timer.
    passed: AtomicU32,
    due: Mutex<Due>,
    /// Something is due before what the keeper waits for, or nothing is any more.
    earlier: Notify,
}

impl Wheel {
    fn of(handle: &Handle) -> Arc<Self> {
        let id = handle.id();
        let find = |wheels: &[(Id, Arc<Self>)]| {
            let found = wheels.iter().find(|(known, _)| *known == id);
            found.map(|(_, wheel)| Arc::clone(wheel))
        };
        if let Some(wheel) = find(&wheels()) {
            return wheel;
        }
        // Before anybody knows of the wheel: a runtime without a timer says so here, by a panic.
        let epoch = Instant::now();
        let sleep = Box::pin(sleep_until(epoch));
        let wheel = {
            let mut wheels = wheels();
            if let Some(wheel) = find(&wheels) {
                return wheel;
            }
            let wheel = Arc::new(Self {
                epoch,
                passed: AtomicU32::new(0),
                due: Mutex::default(),
                earlier: Notify::new(),
            });
            wheels.push((id, Arc::clone(&wheel)));
            wheel
        };
        handle.spawn(keep(Keeper(Arc::clone(&wheel)), sleep));
        wheel
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.passed.load(Relaxed) == OVER
    }

    /// Under the lock: whether the slot is still the timer's.
    fn holds(&self, timer: &Timer) -> bool {
        self.passed.load(Relaxed) < timer.tick
    }

    /// The first tick at which the deadline has passed.
    fn tick(&self, deadline: Instant, coarse: bool) -> u32 {
        let away = deadline.saturating_duration_since(self.epoch);
        let ticks = away.as_nanos().div_ceil(1_000_000);
        let ticks = u32::try_from(ticks).map_or(MAX_AGE, |ticks| ticks.clamp(1, MAX_AGE));
        if coarse {
            ticks.next_multiple_of(COARSE)
        } else {
            ticks
        }
    }

    /// Sets a timer, which has had a place or has not. `None` where the wheel has ended.
    fn insert(
        &self,
        old: Option<(u32, u32)>,
        deadline: Instant,
        coarse: bool,
        waker: &Waker,
    ) -> Option<(u32, u32)> {
        let tick = self.tick(deadline, coarse);
        let waker = waker.clone();
        let mut due = self.due();
        let passed = self.passed.load(Relaxed);
        if passed == OVER {
            return None;
        }
        let tick = tick.max(passed + 1);
        let replaced = old
            .filter(|(_, tick)| passed < *tick)
            .map(|(slot, tick)| due.remove(slot, tick));
        let slot = due.add(tick, waker);
        let is_earlier = tick < due.awaited;
        if is_earlier {
            due.awaited = tick;
        }
        drop(due);
        drop(replaced);
        if is_earlier {
            self.earlier.notify_one();
        }
        Some((slot, tick))
    }

    /// Takes the wakers of all that is due, and says until when to wait. `None` where that pays no longer.
    fn turn(&self, now: Instant, woken: &mut Vec<Waker>) -> Option<Instant> {
        let age = now.saturating_duration_since(self.epoch).as_millis();
        let age = u32::try_from(age).unwrap_or(MAX_AGE);
        if age >= MAX_AGE {
            return None;
        }
        let mut due = self.due();
        self.passed.fetch_max(age, Relaxed);
        while let Some(first) = due.ticks.first_entry()
            && *first.key() <= age
        {
            let mut slot = first.remove();
            while slot != NONE {
                let after = due.slots.get_mut(slot as usize).map(|place| place.after);
                woken.extend(due.release(slot));
                slot = after.unwrap_or(NONE);
            }
        }
        let is_idle = due.ticks.is_empty();
        due.is_told = is_idle;
        let was_idle = mem::replace(&mut due.is_idle, is_idle);
        let next = match due.ticks.first_key_value() {
            Some((&tick, _)) => tick,
            None if was_idle && woken.is_empty() => return None,
            None => age.saturating_add(PATIENCE.as_millis() as u32),
        };
        due.awaited = next;
        Some(self.epoch + Duration::from_millis(next.into()))
    }

    /// Wakes whoever is waiting still: there is nothing to wait for any more.
    fn end(&self) {
        wheels().retain(|(_, wheel)| !std::ptr::eq(&**wheel, self));
        let mut due = {
            let mut due = self.due();
            self.passed.store(OVER, Relaxed);
            mem::take(&mut *due)
        };
        let wakers = due.slots.iter_mut().filter_map(|slot| slot.waker.take());
        wakers.for_each(Waker::wake);
    }
}

#[derive(Debug)]
struct Due {
    slots: Chunks<Slot>,
    /// The first of the slots that are nobody's.
    free: u32,
    /// Slots that are somebody's.
    taken: usize,
    /// The first slot of each tick at which something is due.
    ticks: BTreeMap<u32, u32>,
    /// What the keeper waits for.
    awaited: u32,
    /// The keeper has found nothing to wait for.
    is_idle: bool,
    /// The keeper has been told that nothing waits, and has not looked since.
    is_told: bool,
}

#[derive(Debug)]
struct Slot {
    waker: Option<Waker>,
    before: u32,
    after: u32,
}

impl Default for Due {
    fn default() -> Self {
        Self {
            slots: Chunks::default(),
            free: NONE,
            taken: 0,
            ticks: BTreeMap::new(),
            awaited: 0,
            is_idle: false,
            is_told: false,
        }
    }
}

impl Due {
    fn add(&mut self, tick: u32, waker: Waker) -> u32 {
        self.taken += 1;
        let mut place = Slot {
            waker: Some(waker),
            before: NONE,
            after: NONE,
        };
        let free = self.free;
        let slot = if free == NONE {
            self.slots.len() as u32
        } else {
            free
        };
        if let Some(first) = self.ticks.insert(tick, slot) {
            place.after = first;
            if let Some(first) = self.slots.get_mut(first as usize) {
                first.before = slot;
            }
        }
        match self.slots.get_mut(free as usize) {
            Some(known) => self.free = mem::replace(known, place).after,
            None => {
                self.slots.push(place);
            }
        }
        slot
    }

    /// Takes a slot out of the list of its tick. The waker is to be dropped where nothing is locked.
    fn remove(&mut self, slot: u32, tick: u32) -> Option<Waker> {
        let place = self.slots.get_mut(slot as usize)?;
        let (before, after) = (place.before, place.after);
        if let Some(after) = self.slots.get_mut(after as usize) {
            after.before = before;
        }
        match self.slots.get_mut(before as usize) {
            Some(before) => before.after = after,
            None if after == NONE => drop(self.ticks.remove(&tick)),
            None => drop(self.ticks.insert(tick, after)),
        }
        self.release(slot)
    }

    /// Gives a slot back that is in no list.
    fn release(&mut self, slot: u32) -> Option<Waker> {
        let place = self.slots.get_mut(slot as usize)?;
        let waker = place.waker.take();
        place.after = mem::replace(&mut self.free, slot);
        self.taken -= 1;
        if self.taken == 0 {
            // A wave of sockets must not leave its memory behind.
            self.slots = Chunks::default();
            self.free = NONE;
        }
        waker
    }
}

/// Whoever drops it, a runtime that ends above all, ends the wheel.
struct Keeper(Arc<Wheel>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.end();
    }
}

async fn keep(keeper: Keeper, mut sleep: Pin<Box<Sleep>>) {
    let wheel = &keeper.0;
    let mut woken = Vec::new();
    while let Some(next) = wheel.turn(Instant::now(), &mut woken) {
        woken.drain(..).for_each(Waker::wake);
        woken.shrink_to(MAX_WOKEN);
        sleep.as_mut().reset(next);
        tokio::select! {
            biased;
            () = wheel.earlier.notified() => {}
            () = &mut sleep => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::atomic::AtomicU64, task::Wake};

    use proptest::prelude::*;
    use tokio::{
        runtime::Builder,
        time::{advance, sleep},
    };

    use super::*;

    /// Notes when it was woken, in milliseconds since `start`, and how often.
    struct Note {
        start: Instant,
        at: AtomicU64,
        times: AtomicU32,
    }

    impl Note {
        fn new(start: Instant) -> (Arc<Self>, Waker) {
            let note = Arc::new(Self {
                start,
                at: AtomicU64::new(0),
                times: AtomicU32::new(0),
            });
            (Arc::clone(&note), Waker::from(note))
        }

        fn times(&self) -> u32 {
            self.times.load(Relaxed)
        }

        fn at(&self) -> u64 {
            self.at.load(Relaxed)
        }
    }

    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            let at = self.start.elapsed().as_millis() as u64;
            self.at.store(at, Relaxed);
            self.times.fetch_add(1, Relaxed);
        }
    }

    fn paused() -> tokio::runtime::Runtime {
        let mut builder = Builder::new_current_thread();
        builder.enable_time().start_paused(true);
        builder.build().expect("a runtime")
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Set(usize, u64, bool),
        Clear(usize),
        HandTo(usize),
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let timer = 0..6_usize;
        let step = prop_oneof![
            4 => (timer.clone(), 0..1500_u64, any::<bool>()).prop_map(|(timer, wait, coarse)| Step::Set(timer, wait, coarse)),
            1 => timer.clone().prop_map(Step::Clear),
            1 => timer.prop_map(Step::HandTo),
            3 => (1..700_u64).prop_map(Step::Pass),
        ];
        proptest::collection::vec(step, 1..60)
    }

    proptest! {
        /// Against a list of who is to be woken and when: each is, once, in time, and nobody else.
        #[test]
        fn whoever_waits_is_woken_once_and_in_time(steps in steps()) {
            paused().block_on(async {
                let start = Instant::now();
                let mut timers: Vec<Timer> = (0..6).map(|_| Timer::default()).collect();
                let mut waiting: HashMap<usize, (u64, u64, Arc<Note>)> = HashMap::new();
                let mut silent: Vec<Arc<Note>> = Vec::new();
                for step in steps {
                    let now = start.elapsed().as_millis() as u64;
                    match step {
                        Step::Set(timer, wait, coarse) => {
                            let (note, waker) = Note::new(start);
                            timers[timer].set(start + ms(now + wait), coarse, &waker);
                            let slack = if coarse { u64::from(COARSE) } else { 1 };
                            let due = (now + wait, now + wait + slack, note);
                            silent.extend(waiting.insert(timer, due).map(|(.., note)| note));
                        }
                        Step::Clear(timer) => {
                            timers[timer].clear();
                            silent.extend(waiting.remove(&timer).map(|(.., note)| note));
                        }
                        Step::HandTo(timer) => {
                            let (note, waker) = Note::new(start);
                            assert_eq!(timers[timer].hand_to(&waker), waiting.contains_key(&timer));
                            if let Some((_, _, known)) = waiting.get_mut(&timer) {
                                silent.push(mem::replace(known, note));
                            }
                        }
                        Step::Pass(wait) => sleep(ms(wait)).await,
                    }
                    let now = start.elapsed().as_millis() as u64;
                    waiting.retain(|timer, (from, until, note)| {
                        if note.times() == 0 {
                            assert!(now <= *until, "{timer} waits at {now} for {from}");
                            assert!(timers[*timer].is_waiting());
                            return true;
                        }
                        assert!((*from..=*until).contains(&note.at()), "{timer}");
                        assert!(timers[*timer].is_due());
                        silent.push(Arc::clone(note));
                        note.times.store(0, Relaxed);
                        false
                    });
                    assert!(silent.iter().all(|note| note.times() == 0));
                }
            });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn thousands_are_woken_at_their_time() {
        let start = Instant::now();
        let mut timers: Vec<_> = (0..5000_u64)
            .map(|number| {
                let (note, waker) = Note::new(start);
                let mut timer = Timer::default();
                timer.set(start + ms(number * 7 % 3001), false, &waker);
                (number * 7 % 3001, note, timer)
            })
            .collect();
        // Every third is gone before it comes.
        let mut number = 0;
        timers.retain(|_| {
            number += 1;
            number % 3 > 0
        });
        sleep(ms(4000)).await;
        for (due, note, timer) in timers {
            assert_eq!((note.times(), note.at()), (1, due.max(1)));
            assert!(timer.is_due());
        }
    }

    #[test]
    fn a_coarse_deadline_is_met_with_others() {
        for (wait, coarse, at) in [
            (4000, true, 4000),
            (4001, true, 4125),
            (4124, true, 4125),
            (4124, false, 4124),
        ] {
            paused().block_on(async {
                let start = Instant::now();
                let (note, waker) = Note::new(start);
                let mut timer = Timer::default();
                timer.set(start + ms(9000), coarse, &waker);
                assert!(!timer.covers(start + ms(wait), coarse));
                timer.set(start + ms(wait), coarse, &waker);
                assert!(timer.covers(start + ms(wait), coarse));
                assert!(!timer.covers(start + ms(wait - 1), false));
                sleep(ms(5000)).await;
                assert_eq!((note.times(), note.at()), (1, at), "{wait}");
            });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_left_of_timers_that_are_dropped() {
        let (note, waker) = Note::new(Instant::now());
        let mut timers: Vec<_> = (0..1000).map(|_| Timer::default()).collect();
        for timer in &mut timers {
            timer.set(Instant::now() + ms(25_000), true, &waker);
        }
        let wheel = timers[0].wheel.clone().expect("set");
        drop(waker);
        assert_eq!(Arc::strong_count(&note), 1001);
        drop(timers);
        assert_eq!(Arc::strong_count(&note), 1);
        assert_eq!(wheel.due().slots.len(), 0);
        // The keeper is told, and finds nothing to do once more: it does not wait for what is gone.
        sleep(ms(1500)).await;
        assert!(wheel.is_over());
        assert_eq!(Arc::strong_count(&wheel), 1);
        assert_eq!(note.times(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wheel_that_has_ended_makes_way_for_a_new_one() {
        let (note, waker) = Note::new(Instant::now());
        let mut timer = Timer::default();
        timer.set(Instant::now() + ms(1), false, &waker);
        sleep(ms(10_000)).await;
        assert!(timer.wheel.as_ref().is_some_and(|wheel| wheel.is_over()));
        timer.set(Instant::now() + ms(1), false, &waker);
        sleep(ms(10)).await;
        assert_eq!(note.times(), 2);
    }

    #[test]
    fn whoever_waits_when_a_runtime_ends_is_woken_and_can_wait_elsewhere() {
        let (note, waker) = Note::new(Instant::now());
        let mut timers: Vec<_> = (0..10).map(|_| Timer::default()).collect();
        let first = paused();
        first.block_on(async {
            for timer in &mut timers {
                timer.set(Instant::now() + ms(1000), false, &waker);
            }
            tokio::task::yield_now().await;
        });
        drop(first);
        assert_eq!(note.times(), 10);
        assert!(timers.iter().all(Timer::is_due));
        paused().block_on(async {
            for timer in &mut timers {
                timer.set(Instant::now() + ms(1000), false, &waker);
            }
            assert!(timers.iter().all(Timer::is_waiting));
            sleep(ms(1001)).await;
        });
        assert_eq!(note.times(), 20);
    }

    #[test]
    fn runtimes_side_by_side_keep_their_own_time() {
        let (slow, fast) = (paused(), paused());
        let (slow_note, slow_waker) = Note::new(Instant::now());
        let (fast_note, fast_waker) = Note::new(Instant::now());
        let (mut one, mut other) = (Timer::default(), Timer::default());
        slow.block_on(async { one.set(Instant::now() + ms(1000), false, &slow_waker) });
        fast.block_on(async {
            other.set(Instant::now() + ms(1000), false, &fast_waker);
            sleep(ms(60_000)).await;
        });
        assert_eq!((slow_note.times(), fast_note.times()), (0, 1));
        slow.block_on(async { sleep(ms(1001)).await });
        assert_eq!((slow_note.times(), fast_note.times()), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wheel_that_is_too_old_is_given_up() {
        let (note, waker) = Note::new(Instant::now());
        let mut timer = Timer::default();
        let days = Duration::from_secs(86_400);
        timer.set(Instant::now() + 100 * days, false, &waker);
        advance(25 * days).await;
        sleep(ms(1)).await;
        assert_eq!(note.times(), 1);
        assert!(timer.is_due());
        timer.set(Instant::now() + ms(5), false, &waker);
        sleep(ms(6)).await;
        assert_eq!(note.times(), 2);
    }

    #[tokio::test]
    async fn a_waker_that_owns_a_timer_may_be_the_last_to_go() {
        struct Owner(#[allow(dead_code, reason = "it is dropped")] Timer);
        impl Wake for Owner {
            fn wake(self: Arc<Self>) {}
        }
        let (_, other) = Note::new(Instant::now());
        let far = Instant::now() + ms(60_000);
        let mut owned = Timer::default();
        owned.set(far, false, &other);
        let waker = Waker::from(Arc::new(Owner(owned)));
        let mut timer = Timer::default();
        timer.set(far, false, &waker);
        drop(waker);
        assert!(timer.hand_to(&other));
        let wheel = timer.wheel.clone().expect("set");
        assert_eq!(wheel.due().taken, 1);
    }
}
