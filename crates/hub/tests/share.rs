//! Whoever causes many deliveries waits for others who do, and nobody else does.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use antiphon_hub::{
    config::{HubConfig, Overflow, TagRule},
    hub::{Client, Hub},
};
use support::{Peer, anonymous, connect, v2};
use tokio::{runtime::Builder, task::yield_now, time::timeout};

const MEMBERS: usize = 100;

/// Events of each member that wait at once.
const EVENTS: usize = 25;

/// A hub where a member's `shout` is for all members, and how many have been handled.
async fn crowd() -> (Hub, Vec<Peer>, Arc<AtomicUsize>) {
    let mut config = HubConfig::default();
    config.message_rate = 0;
    let mut rule = TagRule::new("crowd");
    rule.overflow = Some(Overflow::Latest);
    config.tag_rules.push(rule);
    let hub = Hub::new(config);
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    hub.on("shout", move |client: Client| {
        let count = count.clone();
        async move {
            count.fetch_add(1, Relaxed);
            let crowd = client.hub().tag("crowd").latest(client.id().to_string());
            crowd.send("shouted", ()).await.map(|_| ())
        }
    });
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        members.push(v2(&hub, anonymous()).await);
    }
    hub.all().join("crowd").await.unwrap();
    (hub, members, handled)
}

async fn shout(members: &[Peer]) {
    for member in members {
        member
            .send(vec![r#"{"event":"shout"}"#; EVENTS].join("\n"))
            .await;
    }
}

/// Waits until most have used up what each may cause whatever others do.
async fn crowded(hub: &Hub) {
    for _ in 0..100_000 {
        if hub.stats().delayed_fanouts > MEMBERS as u64 / 2 {
            return;
        }
        yield_now().await;
    }
    panic!("{:?}", hub.stats());
}

#[tokio::test(start_paused = true)]
async fn few_events_of_a_crowd_are_handled_before_another_client_is_answered() {
    let (hub, members, handled) = crowd().await;
    let mut other = v2(&hub, anonymous()).await;
    shout(&members).await;
    crowded(&hub).await;
    for _ in 0..10 {
        let before = handled.load(Relaxed);
        assert_eq!(other.ask(r#"{"event":"ping","id":1}"#).await["code"], 0);
        let meanwhile = handled.load(Relaxed) - before;
        assert!(meanwhile < 400, "{meanwhile} of {}", MEMBERS * EVENTS);
    }
    while handled.load(Relaxed) < MEMBERS * EVENTS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(hub.stats().refused_messages, 0);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_it_waits_holds_up_nobody_and_is_handled() {
    let (hub, mut members, handled) = crowd().await;
    shout(&members).await;
    crowded(&hub).await;
    members.truncate(2);
    // Of those that have gone, too.
    while handled.load(Relaxed) < MEMBERS * EVENTS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(hub.all().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_who_sends_to_many_alone_waits_for_nobody() {
    let (hub, members, handled) = crowd().await;
    for _ in 0..8 {
        shout(&members[..1]).await;
    }
    while handled.load(Relaxed) < 8 * EVENTS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // It has given way to the other tasks now and then.
    let delayed = hub.stats().delayed_fanouts;
    assert!(delayed < 10, "{delayed}");
}

#[test]
fn runtimes_that_take_turns_on_a_thread_write_each_to_its_own() {
    let hub = Hub::new(HubConfig::default());
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let runtimes = [runtime(), runtime()];
    let mut sides: [Vec<Peer>; 2] = Default::default();
    for (runtime, peers) in runtimes.iter().zip(&mut sides) {
        runtime.block_on(async {
            for _ in 0..3 {
                peers.push(v2(&hub, anonymous()).await);
            }
        });
    }
    let mut read = [0, 0];
    for number in 0..8 {
        let side = number % 2;
        // Only this one runs.
        runtimes[side].block_on(async {
            hub.all().send("number", number).await.unwrap();
            for peer in &mut sides[side] {
                for expected in read[side]..=number {
                    let next = timeout(Duration::from_secs(20), peer.next()).await;
                    assert_eq!(next.expect("it is written")["data"], expected);
                }
            }
        });
        read[side] = number + 1;
    }
}

#[test]
fn sessions_beyond_the_runtimes_that_are_told_apart_write_for_themselves() {
    let hub = Hub::new(HubConfig::default());
    for _ in 0..1030 {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut peer = connect(&hub, antiphon_hub::wire::Wire::V2, anonymous());
            assert_eq!(peer.next().await["event"], "$connected");
        });
    }
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut peers = [v2(&hub, anonymous()).await, v2(&hub, anonymous()).await];
        hub.all().send("number", 7).await.unwrap();
        for peer in &mut peers {
            let next = timeout(Duration::from_secs(20), peer.next()).await;
            assert_eq!(next.expect("it is written")["data"], 7);
        }
    });
}
