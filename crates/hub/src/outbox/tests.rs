//! Any sequence of offers and pops against a ledger: order, bounds, and an account of every message.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Offer {
        tag: Option<u8>,
        key: Option<u8>,
        overflow: Overflow,
        size: usize,
        /// Above 1 it is a run.
        count: u64,
    },
    Reply {
        size: usize,
    },
    Pop,
    Take {
        room: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let overflow = prop_oneof![
        1 => Just(Overflow::Disconnect),
        40 => Just(Overflow::Drop),
        40 => Just(Overflow::Latest),
    ];
    let offer = (
        prop::option::of(0..3_u8),
        prop::option::of(0..3_u8),
        overflow,
        0..400_usize,
        prop_oneof![3 => Just(1_u64), 1 => 2..6_u64],
    );
    let step = prop_oneof![
        8 => offer.prop_map(|(tag, key, overflow, size, count)| Step::Offer { tag, key, overflow, size, count }),
        1 => (0..100_usize).prop_map(|size| Step::Reply { size }),
        3 => Just(Step::Pop),
        1 => (1..4_000_usize).prop_map(|room| Step::Take { room }),
    ];
    prop::collection::vec(step, 0..250)
}

/// What waits, as it should be.
#[derive(Debug)]
struct Entry {
    number: u64,
    key: Option<Key>,
    tag: Option<(Arc<str>, u64)>,
}

#[derive(Debug, Default)]
struct Ledger {
    waiting: Vec<Entry>,
    /// What was lost and not told yet; an empty tag stands for direct messages.
    lost: HashMap<Arc<str>, Vec<u64>>,
    told: u64,
    discarded: u64,
    closed: bool,
}

impl Ledger {
    fn popped(&mut self, frame: &Frame) {
        let push = frame.0.push.as_ref().unwrap();
        if *push.event == *event::GAP {
            let gap: Value = serde_json::from_str(push.data.as_ref().unwrap().as_str()).unwrap();
            let tag = gap["ch"].as_str().unwrap_or_default();
            let lost = self.lost.get_mut(tag).unwrap();
            let dropped = usize::try_from(gap["dropped"].as_u64().unwrap()).unwrap();
            let told: Vec<u64> = lost.drain(..dropped).collect();
            if !tag.is_empty() {
                assert_eq!(gap["from"].as_u64(), told.first().copied(), "{gap}");
                assert_eq!(gap["to"].as_u64(), told.last().copied(), "{gap}");
            }
            self.told += 1;
            return;
        }
        let entry = self.waiting.remove(0);
        assert_eq!(*push.event, *entry.number.to_string());
        if let (None, Some((tag, offset))) = (&entry.key, &entry.tag) {
            // What was lost before it has been told before it.
            let untold = self.lost.get(tag).and_then(|lost| lost.first());
            assert!(
                untold.is_none_or(|lost| lost > offset),
                "{lost:?}",
                lost = untold
            );
        }
    }
}

proptest! {
    #[test]
    fn a_queue_keeps_its_order_its_bounds_and_its_accounts(
        steps in steps(),
        messages in 1..12_usize,
        bytes in 300..3_000_usize,
    ) {
        let budget = Arc::new(Budget::new(usize::MAX));
        let bounds = Bounds { bytes, messages };
        let mut outbox = Outbox::default();
        let mut ledger = Ledger::default();
        let mut offsets: HashMap<Arc<str>, u64> = HashMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            let number = number as u64 * 10;
            let push = |number: u64, tag, key, overflow, size| {
                let push = Push {
                    event: Arc::from(number.to_string()),
                    data: Json::of(&"x".repeat(size)).ok(),
                    tag,
                    key,
                    overflow,
                    timestamp: 0,
                };
                Frame::push(push, &budget)
            };
            match step {
                Step::Offer { tag, key, overflow, size, count } => {
                    let mut frames = Vec::new();
                    for number in number..number + count {
                        let tag: Option<(Arc<str>, u64)> = tag.map(|tag| {
                            let tag: Arc<str> = Arc::from(format!("t{tag}"));
                            let offset = offsets.entry(tag.clone()).or_default();
                            *offset += 1;
                            (tag, *offset)
                        });
                        let key = key.map(|key| Arc::from(key.to_string()));
                        frames.push(push(number, tag, key, overflow, size));
                    }
                    let run = Frame::run(frames, &budget);
                    let is_whole = count > 1 && outbox.offer_run(&run, bounds);
                    for (number, frame) in (number..).zip(run.parts()) {
                    let (offered, replaced) = if is_whole {
                        (Offered::Queued, false)
                    } else {
                        outbox.offer(frame, bounds, &budget)
                    };
                    let tag = frame.tag().cloned();
                    let key = frame.key();
                    let old = ledger.waiting.iter().position(|entry| key.is_some() && entry.key == key);
                    // Whatever has become of it: its older value is gone.
                    prop_assert_eq!(replaced, old.is_some());
                    if let Some(old) = old {
                        ledger.waiting.remove(old);
                    }
                    match offered {
                        Offered::Queued => ledger.waiting.push(Entry { number, key, tag }),
                        Offered::Dropped => {
                            prop_assert!(overflow != Overflow::Disconnect && outbox.len() > 0);
                            let (tag, offset) = tag.unwrap_or_default();
                            ledger.lost.entry(tag).or_default().push(offset);
                        }
                        Offered::Slow => {
                            prop_assert!(overflow == Overflow::Disconnect && !ledger.closed);
                            ledger.closed = true;
                        }
                        Offered::Closing => prop_assert!(ledger.closed),
                    }
                    }
                }
                Step::Reply { size } => match outbox.reply(push(number, None, None, Overflow::Drop, size), bounds) {
                    Offered::Queued => ledger.waiting.push(Entry { number, key: None, tag: None }),
                    Offered::Slow => ledger.closed = true,
                    Offered::Closing => prop_assert!(ledger.closed),
                    Offered::Dropped => prop_assert!(false, "a reply is never dropped"),
                },
                Step::Pop => match outbox.pop(&budget) {
                    Some(frame) => ledger.popped(&frame),
                    None => prop_assert!(ledger.waiting.is_empty()),
                },
                Step::Take { room } => {
                    let mut frames = Vec::new();
                    let more = outbox.take(room, &mut frames, &budget, Instant::now());
                    frames.iter().flat_map(Frame::parts).for_each(|frame| ledger.popped(frame));
                    prop_assert_eq!(more, outbox.has_waiting());
                    prop_assert!(more || ledger.waiting.is_empty());
                }
            }
            if ledger.closed {
                let notices = budget.notices() - ledger.told;
                ledger.discarded += ledger.waiting.len() as u64;
                ledger.waiting.clear();
                ledger.lost.clear();
                prop_assert!((ledger.discarded..=ledger.discarded + notices).contains(&budget.discarded()));
                prop_assert_eq!((outbox.len(), outbox.bytes()), (0, 0));
                continue;
            }
            let notices = usize::try_from(budget.notices() - ledger.told).unwrap();
            prop_assert_eq!(outbox.len(), ledger.waiting.len() + notices);
            // A notice for each of three tags and for direct messages, and no more before half of the queue is free.
            prop_assert!(ledger.waiting.len() <= messages);
            prop_assert!(notices <= 4 + messages);
            prop_assert!(outbox.entries.len() <= 64 + 2 * outbox.len());
        }
        while let Some(frame) = outbox.pop(&budget) {
            ledger.popped(&frame);
        }
        prop_assert!(ledger.waiting.is_empty());
        prop_assert!(ledger.lost.values().all(Vec::is_empty), "never told: {:?}", ledger.lost);
        prop_assert_eq!((outbox.len(), outbox.bytes(), outbox.entries.capacity()), (0, 0, 0));
        drop(outbox);
        prop_assert_eq!(budget.used(), 0);
    }
}

#[test]
fn what_is_welcomed_goes_first_and_keys_still_find_their_places() {
    let budget = Arc::new(Budget::new(usize::MAX));
    let bounds = Bounds {
        bytes: 10_000,
        messages: 10,
    };
    let mut outbox = Outbox::default();
    let frame = |event: &str, key: Option<&str>| {
        let push = Push {
            event: event.into(),
            data: None,
            tag: None,
            key: key.map(Arc::from),
            overflow: Overflow::Latest,
            timestamp: 0,
        };
        Frame::push(push, &budget)
    };
    outbox.offer(&frame("old", Some("k")), bounds, &budget);
    outbox.offer(&frame("plain", None), bounds, &budget);
    assert!(outbox.welcome(frame("welcome", None)));
    let offered = outbox.offer(&frame("new", Some("k")), bounds, &budget);
    assert_eq!(offered, (Offered::Queued, true));
    let mut events = Vec::new();
    while let Some(frame) = outbox.pop(&budget) {
        events.push(frame.0.push.as_ref().unwrap().event.to_string());
    }
    assert_eq!(events, ["welcome", "plain", "new"]);
    outbox.close(close::SLOW);
    assert!(!outbox.welcome(frame("welcome", None)));
}

/// A slow reader costs its publishers no wake-ups, but is told at once that it is closed.
#[test]
fn a_session_that_waits_for_its_socket_is_woken_for_its_end_alone() {
    let mut outbox = Outbox::default();
    let waker = Waker::noop();
    outbox.set_waker(waker);
    outbox.set_blocked();
    assert!(outbox.take_reader().is_none());
    assert!(outbox.close(close::SLOW));
    assert!(outbox.take_reader().is_some());

    let mut outbox = Outbox::default();
    outbox.set_waker(waker);
    outbox.set_blocked();
    outbox.set_waker(waker);
    assert!(outbox.take_reader().is_some());
}

#[test]
fn a_gap_behind_what_is_taken_counts_as_waiting() {
    let budget = Arc::new(Budget::new(usize::MAX));
    let bounds = Bounds {
        bytes: usize::MAX,
        messages: 1,
    };
    let mut outbox = Outbox::default();
    for _ in 0..2 {
        let push = Push {
            event: Arc::from("e"),
            data: None,
            tag: None,
            key: None,
            overflow: Overflow::Drop,
            timestamp: 0,
        };
        outbox.offer(&Frame::push(push, &budget), bounds, &budget);
    }
    let (mut frames, now) = (Vec::new(), Instant::now());
    for more in [true, false] {
        assert_eq!(outbox.take(1, &mut frames, &budget, now), more);
    }
    assert_eq!(frames.len(), 2, "the one that fitted, and the notice");
}
