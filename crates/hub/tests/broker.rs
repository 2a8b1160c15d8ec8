//! The memory bus: what nodes hear of each other, and what becomes of their leases.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use antiphon_hub::{
    broker::{
        Body, Broker, Envelope, ErrorKind, Event, Lease, LeaseKey, LeaseKind, NodeId, Publish,
        Question, Subscription,
        memory::{Limits, MemoryBroker},
    },
    json::Json,
    target::Target,
};
use futures_util::FutureExt;
use proptest::prelude::*;

const TTL: Duration = Duration::from_secs(30);

fn small(change: impl FnOnce(&mut Limits)) -> MemoryBroker {
    let mut limits = Limits::default();
    change(&mut limits);
    MemoryBroker::new(limits)
}

fn message(from: u128, text: &str) -> Envelope {
    let body = Body::Publish(Publish::new(Target::All, text, Json::null()));
    Envelope {
        from: from.into(),
        body,
    }
}

fn key(node: u128, name: &str, connection: u128) -> LeaseKey {
    LeaseKey {
        kind: LeaseKind::User,
        name: name.into(),
        node: node.into(),
        connection: connection.into(),
    }
}

async fn lease(bus: &MemoryBroker, node: u128, name: &str, connection: u128) -> usize {
    let key = key(node, name, connection);
    bus.lease(key, Json::null(), TTL).await.unwrap()
}

async fn count(bus: &MemoryBroker, name: &str) -> usize {
    bus.count(LeaseKind::User, name.into()).await.unwrap()
}

/// What waits, as short texts.
fn heard(stream: &mut Subscription) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(event) = stream.next().now_or_never() {
        all.push(match event.unwrap() {
            Event::Envelope(envelope) => match envelope.body {
                Body::Publish(publish) => publish.event.to_string(),
                Body::Answer { answer, .. } => answer.as_str().to_owned(),
                body => format!("{body:?}"),
            },
            Event::Lost(count) => format!("lost {count}"),
            Event::NodeJoined(_) => continue,
            Event::NodeLost { node, leases, .. } => {
                format!("gone {} with {}", node == NodeId::from(1), leases.len())
            }
            event => format!("{event:?}"),
        });
    }
    all
}

#[tokio::test]
async fn all_others_hear_everything_in_one_order_and_nobody_hears_itself() {
    let bus = MemoryBroker::default();
    let mut streams = [1_u128, 2, 3].map(|node| bus.subscribe(node.into()).unwrap());
    for (from, text) in [(1, "a"), (2, "b"), (1, "c"), (3, "d")] {
        bus.clone().publish(message(from, text)).await.unwrap();
    }
    assert_eq!(heard(&mut streams[0]), ["b", "d"]);
    assert_eq!(heard(&mut streams[1]), ["a", "c", "d"]);
    assert_eq!(heard(&mut streams[2]), ["a", "b", "c"]);
}

#[tokio::test]
async fn an_answer_goes_to_who_has_asked_alone() {
    let bus = MemoryBroker::default();
    let mut streams = [1_u128, 2, 3].map(|node| bus.subscribe(node.into()).unwrap());
    let query = Body::Query {
        id: 9,
        question: Question::Node,
    };
    let answer = Body::Answer {
        id: 9,
        to: 1.into(),
        answer: Json::parse("42").unwrap(),
    };
    for (from, body) in [(1, query), (2, answer)] {
        let from = NodeId::from(from);
        bus.publish(Envelope { from, body }).await.unwrap();
    }
    assert_eq!(heard(&mut streams[0]), ["42"]);
    assert_eq!(heard(&mut streams[2]), ["Query { id: 9, question: Node }"]);
}

#[tokio::test]
async fn a_waiting_node_is_woken_by_what_another_says() {
    let bus = MemoryBroker::default();
    let mut stream = bus.subscribe(1.into()).unwrap();
    let waiting = tokio::spawn(async move { stream.next().await });
    tokio::task::yield_now().await;
    bus.publish(message(2, "a")).await.unwrap();
    let event = waiting.await.unwrap();
    assert_eq!(event, Some(Event::Envelope(message(2, "a"))));
}

#[tokio::test]
async fn a_slow_node_is_told_how_much_it_has_lost_and_where() {
    let bus = small(|limits| limits.queue = 2);
    let mut slow = bus.subscribe(2.into()).unwrap();
    for text in ["a", "b", "c", "d"] {
        bus.publish(message(1, text)).await.unwrap();
    }
    let first = slow.next().await;
    assert_eq!(first, Some(Event::Envelope(message(1, "a"))));
    // "b" and the notice still wait: full.
    bus.publish(message(1, "e")).await.unwrap();
    assert_eq!(heard(&mut slow), ["b", "lost 3"]);
    assert_eq!(bus.lost(), 3);
    bus.publish(message(1, "f")).await.unwrap();
    assert_eq!(heard(&mut slow), ["f"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_is_alone_until_another_listens_or_has_leases() {
    let bus = MemoryBroker::default();
    assert!(bus.is_alone());
    let mut first = bus.subscribe(1.into()).unwrap();
    lease(&bus, 1, "alice", 1).await;
    assert!(bus.is_alone());
    let second = bus.subscribe(2.into()).unwrap();
    assert!(!bus.is_alone());
    assert_eq!(first.next().await, Some(Event::NodeJoined(2.into())));
    lease(&bus, 2, "bob", 2).await;
    drop(second);
    assert!(!bus.is_alone());
    bus.release_node(2.into()).await.unwrap();
    assert!(bus.is_alone());
    assert_eq!(
        (count(&bus, "alice").await, count(&bus, "bob").await),
        (1, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_renew_is_lost_and_all_are_told_once_with_its_leases() {
    let bus = MemoryBroker::default();
    let mut dead = bus.subscribe(1.into()).unwrap();
    let mut other = bus.subscribe(2.into()).unwrap();
    lease(&bus, 1, "alice", 1).await;
    lease(&bus, 1, "bob", 2).await;
    lease(&bus, 2, "alice", 3).await;
    assert_eq!(heard(&mut other), [""; 0]);
    tokio::time::sleep(TTL / 2).await;
    assert!(bus.renew(2.into(), TTL).await.unwrap());
    // The stream's own timer notices: nobody calls the bus.
    let Some(Event::NodeLost {
        node,
        leases,
        vacated,
        heir,
    }) = other.next().await
    else {
        panic!("the node is not lost");
    };
    assert_eq!((node, heir), (NodeId::from(1), NodeId::from(2)));
    assert_eq!(*vacated, [(LeaseKind::User, Arc::from("bob"))]);
    let names: BTreeSet<&str> = leases.iter().map(|lease| &*lease.key.name).collect();
    assert_eq!(names, BTreeSet::from(["alice", "bob"]));
    assert_eq!(heard(&mut dead), ["gone true with 2"]);
    assert_eq!(heard(&mut other), [""; 0]);
    assert_eq!(
        (count(&bus, "alice").await, count(&bus, "bob").await),
        (1, 0)
    );
    assert!(!bus.renew(1.into(), TTL).await.unwrap());
    assert!(bus.renew(2.into(), TTL).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_already_notices_a_lease_of_later() {
    let bus = MemoryBroker::default();
    let mut stream = bus.subscribe(2.into()).unwrap();
    let waiting = tokio::spawn(async move { stream.next().await });
    tokio::task::yield_now().await;
    lease(&bus, 1, "alice", 1).await;
    let event = tokio::time::timeout(TTL * 2, waiting).await;
    let event = event.unwrap().unwrap();
    assert!(matches!(event, Some(Event::NodeLost { .. })), "{event:?}");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_keeps_all_leases_of_a_node_and_never_shortens_them() {
    let bus = MemoryBroker::default();
    for connection in 0..3 {
        lease(&bus, 1, "alice", connection).await;
    }
    for ttl in [Duration::ZERO, TTL, Duration::MAX] {
        tokio::time::advance(TTL * 9 / 10).await;
        assert!(bus.renew(1.into(), TTL).await.unwrap());
        assert!(bus.renew(1.into(), ttl).await.unwrap());
        assert_eq!(count(&bus, "alice").await, 3);
    }
}

#[tokio::test]
async fn a_lease_is_replaced_listed_and_released() {
    let bus = MemoryBroker::default();
    lease(&bus, 1, "alice", 1).await;
    let value = Json::parse(r#"{"name":"Alice"}"#).unwrap();
    let again = bus.lease(key(1, "alice", 1), value.clone(), TTL);
    again.await.unwrap();
    assert_eq!(lease(&bus, 2, "alice", 2).await, 2);
    let list = |limit| bus.leases(LeaseKind::User, "alice".into(), limit);
    let key = key(1, "alice", 1);
    assert_eq!(
        list(1).await.unwrap(),
        [Lease {
            key: key.clone(),
            value
        }]
    );
    assert_eq!(list(9).await.unwrap().len(), 2);
    assert_eq!(bus.count(LeaseKind::Tag, "alice".into()).await, Ok(0));
    for left in [Some(1), None] {
        assert_eq!(bus.release(key.clone()).await, Ok(left));
        assert_eq!(count(&bus, "alice").await, 1);
    }
}

#[tokio::test]
async fn one_too_many_is_refused_and_counted() {
    let bus = small(|limits| (limits.nodes, limits.leases) = (2, 1));
    let first = bus.subscribe(1.into()).unwrap();
    let taken = bus.subscribe(1.into()).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Taken);
    lease(&bus, 2, "alice", 1).await;
    lease(&bus, 2, "alice", 1).await;
    let full = bus.lease(key(2, "alice", 2), Json::null(), TTL).await;
    assert_eq!(full.unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(bus.subscribe(3.into()).unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(bus.refused(), 2);
    bus.release(key(2, "alice", 1)).await.unwrap();
    drop(first);
    bus.subscribe(3.into()).unwrap();
}

#[tokio::test]
async fn what_is_not_polled_has_not_happened() {
    let bus: Arc<dyn Broker> = Arc::new(MemoryBroker::default());
    let mut stream = bus.subscribe(2.into()).unwrap();
    drop(bus.publish(message(1, "a")));
    drop(stream.next());
    bus.publish(message(1, "b")).await.unwrap();
    assert_eq!(heard(&mut stream), ["b"]);
}

#[derive(Clone, Debug)]
enum Step {
    Lease(u8, u8, u8, u8),
    Renew(u8, u8),
    Release(u8, u8, u8),
    ReleaseNode(u8),
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8, 0..2_u8, 0..3_u8, 0..20_u8).prop_map(|(n, m, c, t)| Step::Lease(n, m, c, t)),
        2 => (0..3_u8, 0..20_u8).prop_map(|(n, t)| Step::Renew(n, t)),
        1 => (0..3_u8, 0..2_u8, 0..3_u8).prop_map(|(n, m, c)| Step::Release(n, m, c)),
        1 => (0..3_u8).prop_map(Step::ReleaseNode),
        2 => (0..9_u8).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn leases_are_what_a_simple_model_says(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let bus = MemoryBroker::default();
            let mut stream = bus.subscribe(99.into()).unwrap();
            // For each node: its deadline and its leases.
            let mut model: BTreeMap<u8, (u64, BTreeSet<(u8, u8)>)> = BTreeMap::new();
            let (mut now, mut lost) = (0_u64, 0);
            for step in steps {
                let seconds = |ttl: u8| Duration::from_secs(ttl.into());
                let key = |n: u8, m: u8, c: u8| key(n.into(), &m.to_string(), c.into());
                let before = model.len();
                model.retain(|_, (until, _)| *until > now);
                lost += before - model.len();
                match step {
                    Step::Lease(n, m, c, ttl) => {
                        let counted = bus.lease(key(n, m, c), Json::null(), seconds(ttl)).await.unwrap();
                        // One that ends at once is counted all the same.
                        assert!(counted >= 1);
                        let (until, keys) = model.entry(n).or_default();
                        *until = (*until).max(now + u64::from(ttl));
                        keys.insert((m, c));
                    }
                    Step::Renew(n, ttl) => {
                        let kept = bus.renew(u128::from(n).into(), seconds(ttl)).await.unwrap();
                        assert_eq!(kept, model.contains_key(&n));
                        if let Some((until, _)) = model.get_mut(&n) {
                            *until = (*until).max(now + u64::from(ttl));
                        }
                    }
                    Step::Release(n, m, c) => {
                        bus.release(key(n, m, c)).await.unwrap();
                        if let Some((_, keys)) = model.get_mut(&n) {
                            keys.remove(&(m, c));
                        }
                        model.retain(|_, (_, keys)| !keys.is_empty());
                    }
                    Step::ReleaseNode(n) => {
                        bus.release_node(u128::from(n).into()).await.unwrap();
                        model.remove(&n);
                    }
                    Step::Wait(ttl) => {
                        tokio::time::advance(seconds(ttl)).await;
                        now += u64::from(ttl);
                    }
                }
                let before = model.len();
                model.retain(|_, (until, _)| *until > now);
                lost += before - model.len();
                for name in 0..2 {
                    let expected = model.values().flat_map(|(_, keys)| keys).filter(|key| key.0 == name);
                    let expected = expected.count();
                    assert_eq!(count(&bus, &name.to_string()).await, expected);
                    let leases = bus.leases(LeaseKind::User, name.to_string().into(), 99).await;
                    assert_eq!(leases.unwrap().len(), expected);
                }
            }
            assert_eq!(heard(&mut stream).len(), lost);
        });
    }
}
