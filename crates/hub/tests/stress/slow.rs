//! Who does not read: policies, gaps, the latest value, the memory for all.

use antiphon_hub::{
    config::{Overflow, TagRule},
    hub::{Hub, SendError},
    occurrence::Side,
    wire::Wire,
};
use serde_json::json;
use tokio::time::{Duration, Instant, timeout};

use crate::{
    stage::{Sums, all_events, cable, hub, narrow, scenarios, seconds, settle, subscribe},
    support::{user, v1, v2},
};

scenarios! {
    Virtual a_slow_reader_is_closed_with_3008;
    Virtual a_slow_reader_is_told_of_the_gap;
    Virtual gaps_are_told_for_each_tag_and_for_direct_messages;
    Virtual events_and_gaps_cover_a_tag_without_a_hole;
    Virtual the_gap_is_told_in_the_words_of_the_older_wire;
    Virtual only_the_latest_value_is_kept;
    Virtual latest_values_keep_the_order_of_what_is_sent;
    Virtual a_full_queue_still_takes_the_latest_value;
    Virtual a_tag_may_keep_only_its_latest_message;
    Virtual direct_messages_without_a_key_replace_nothing;
    Virtual the_budget_sheds_the_largest_first;
    Virtual a_message_beyond_the_budget_is_refused;
    Virtual a_large_message_fits_into_an_empty_queue;
    Virtual the_bound_of_bytes_is_kept;
    Virtual who_asks_and_does_not_read_is_not_heard;
    Virtual a_cut_connection_with_a_full_queue_ends;
    Virtual a_mute_connection_with_a_full_queue_ends;
}

async fn a_slow_reader_is_closed_with_3008() -> Hub {
    let hub = hub(|config| config.max_outbox_messages = 4);
    let mut peer = v2(&hub, user("slow")).await;
    let mut sums = Sums::default();
    // Nobody runs between two sends.
    for number in 0..100 {
        sums.add(hub.all().send("x", number).await.unwrap());
    }
    assert_eq!((sums.receivers, sums.queued, sums.closing), (100, 4, 96));
    let (code, _, events) = peer.closed().await;
    assert_eq!(code, 3008);
    let names: Vec<_> = events.iter().map(|event| &event["event"]).collect();
    assert_eq!(names, ["$disconnect"]);
    assert_eq!(events[0]["data"]["reconnect"], true);
    assert_eq!(peer.served.await.unwrap().code, 3008);
    let stats = hub.stats();
    assert_eq!((stats.slow, stats.discarded, stats.dropped), (96, 4, 0));
    assert_eq!(stats.ended.get(&3008), Some(&1));
    hub
}

async fn a_slow_reader_is_told_of_the_gap() -> Hub {
    let hub = hub(|config| {
        config.max_outbox_messages = 4;
        config.overflow = Overflow::Drop;
    });
    let mut peer = v2(&hub, user("slow")).await;
    subscribe(&mut peer, "t").await;
    let mut sums = Sums::default();
    for number in 1..=100 {
        sums.add(hub.tag("t").send("x", number).await.unwrap());
    }
    assert_eq!((sums.queued, sums.dropped), (4, 96));
    let events = all_events(&mut peer).await;
    let numbers: Vec<_> = events
        .iter()
        .take(4)
        .map(|event| event["offset"].clone())
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(events.len(), 5);
    assert_eq!(events[4]["event"], "$gap");
    let gap = json!({"ch": "t", "from": 5, "to": 100, "dropped": 96, "reason": "slow"});
    assert_eq!(events[4]["data"], gap);
    hub.tag("t").send("x", 101).await.unwrap();
    assert_eq!(peer.next().await["offset"], 101);
    assert_eq!(hub.stats().dropped, 96);
    hub
}

async fn gaps_are_told_for_each_tag_and_for_direct_messages() -> Hub {
    let hub = hub(|config| {
        config.max_outbox_messages = 2;
        config.overflow = Overflow::Drop;
    });
    let mut peer = v2(&hub, user("slow")).await;
    subscribe(&mut peer, "a").await;
    subscribe(&mut peer, "b").await;
    for tag in ["a", "b", "a", "a", "b"] {
        hub.tag(tag).send("x", 0).await.unwrap();
    }
    hub.user("slow").send("x", 0).await.unwrap();
    hub.all().send("x", 0).await.unwrap();
    let events = all_events(&mut peer).await;
    let data: Vec<_> = events[2..]
        .iter()
        .map(|event| event["data"].clone())
        .collect();
    assert_eq!(
        data,
        [
            json!({"ch": "a", "from": 2, "to": 3, "dropped": 2, "reason": "slow"}),
            json!({"ch": "b", "from": 2, "to": 2, "dropped": 1, "reason": "slow"}),
            json!({"dropped": 2, "reason": "slow"}),
        ]
    );
    hub
}

/// Reads now and then, too little; still it can say of each offset what became of it, in order.
async fn events_and_gaps_cover_a_tag_without_a_hole() -> Hub {
    let hub = hub(|config| {
        config.max_outbox_messages = 8;
        config.overflow = Overflow::Drop;
    });
    let mut peer = narrow(&hub, Wire::V2, user("slow"));
    peer.next().await;
    subscribe(&mut peer, "t").await;
    let padding = "x".repeat(300);
    let (mut sums, mut events) = (Sums::default(), Vec::new());
    for round in 0..60_usize {
        for _ in 0..round % 7 * 3 {
            sums.add(hub.tag("t").send("x", &padding).await.unwrap());
        }
        for _ in 0..round % 5 {
            if let Ok(event) = timeout(Duration::from_millis(10), peer.next()).await {
                events.push(event);
            }
        }
    }
    events.extend(all_events(&mut peer).await);
    let (mut next, mut dropped, mut gaps) = (1, 0, 0);
    for event in &events {
        if event["event"] == "$gap" {
            let gap = &event["data"];
            let (from, to) = (gap["from"].as_u64().unwrap(), gap["to"].as_u64().unwrap());
            assert_eq!(from, next, "{gap}");
            assert_eq!(gap["dropped"].as_u64().unwrap(), to + 1 - from, "{gap}");
            dropped += to + 1 - from;
            next = to + 1;
            gaps += 1;
        } else {
            assert_eq!(event["offset"].as_u64().unwrap(), next);
            next += 1;
        }
    }
    assert_eq!(next - 1, sums.receivers);
    assert_eq!(dropped, sums.dropped);
    assert!(gaps > 3, "{gaps} gaps");
    assert_eq!(events.len() as u64 - gaps, sums.queued);
    hub
}

async fn the_gap_is_told_in_the_words_of_the_older_wire() -> Hub {
    let hub = hub(|config| {
        config.max_outbox_messages = 2;
        config.overflow = Overflow::Drop;
    });
    let mut peer = v1(&hub, user("slow")).await;
    for number in 0..5 {
        hub.all().send("x", number).await.unwrap();
    }
    let events = all_events(&mut peer).await;
    assert_eq!(events.len(), 3);
    assert_eq!(events[2]["event"], "$gap");
    assert_eq!(events[2]["data"]["dropped"], 3);
    hub
}

async fn only_the_latest_value_is_kept() -> Hub {
    let hub = hub(|_| {});
    let mut peer = v2(&hub, user("slow")).await;
    let mut sums = Sums::default();
    for number in 0..100 {
        sums.add(
            hub.all()
                .latest("price")
                .send("price", number)
                .await
                .unwrap(),
        );
    }
    assert_eq!((sums.queued, sums.conflated), (100, 99));
    assert_eq!(hub.waiting().1, 1);
    let events = all_events(&mut peer).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["data"], 99);
    hub
}

async fn latest_values_keep_the_order_of_what_is_sent() -> Hub {
    let hub = hub(|_| {});
    let mut peer = v2(&hub, user("slow")).await;
    let mut expected = Vec::new();
    for number in 0..300_usize {
        let key = (number * 7) % 11;
        if key < 4 {
            hub.all().send("plain", number).await.unwrap();
            expected.push((None, number));
        } else {
            hub.all()
                .latest(key.to_string())
                .send("value", number)
                .await
                .unwrap();
            expected.retain(|(old, _)| *old != Some(key));
            expected.push((Some(key), number));
        }
    }
    let got: Vec<_> = all_events(&mut peer).await;
    let got: Vec<_> = got
        .iter()
        .map(|event| event["data"].as_u64().unwrap())
        .collect();
    let expected: Vec<_> = expected.iter().map(|(_, number)| *number as u64).collect();
    assert_eq!(got, expected);
    assert_eq!(hub.stats().conflated, 300 - expected.len() as u64);
    hub
}

async fn a_full_queue_still_takes_the_latest_value() -> Hub {
    let hub = hub(|config| {
        config.max_outbox_messages = 4;
        config.overflow = Overflow::Drop;
    });
    let mut peer = v2(&hub, user("slow")).await;
    hub.all().latest("k").send("value", 0).await.unwrap();
    for number in 1..=5 {
        hub.all().send("plain", number).await.unwrap();
    }
    for number in 6..=9 {
        let delivery = hub.all().latest("k").send("value", number).await.unwrap();
        assert_eq!((delivery.queued, delivery.conflated), (1, 1));
        assert_eq!(hub.waiting().1, 4);
    }
    let got = all_events(&mut peer).await;
    let got: Vec<_> = got.iter().map(|event| event["data"].clone()).collect();
    let gap = json!({"dropped": 2, "reason": "slow"});
    assert_eq!(got, [json!(1), json!(2), json!(3), json!(9), gap]);
    hub
}

async fn a_tag_may_keep_only_its_latest_message() -> Hub {
    let hub = hub(|config| {
        let mut rule = TagRule::new("price:*");
        rule.overflow = Some(Overflow::Latest);
        config.tag_rules.push(rule);
    });
    let mut peer = v2(&hub, user("slow")).await;
    subscribe(&mut peer, "price:a").await;
    subscribe(&mut peer, "price:b").await;
    for number in 0..10 {
        hub.tag("price:a").send("p", number).await.unwrap();
        hub.tag("price:b").send("p", number + 100).await.unwrap();
    }
    let got: Vec<_> = all_events(&mut peer).await;
    let got: Vec<_> = got.iter().map(|event| event["data"].clone()).collect();
    assert_eq!(got, [9, 109]);
    hub
}

async fn direct_messages_without_a_key_replace_nothing() -> Hub {
    let hub = hub(|config| config.overflow = Overflow::Latest);
    let mut peer = v2(&hub, user("slow")).await;
    hub.user("slow").send("one", 1).await.unwrap();
    hub.user("slow").send("two", 2).await.unwrap();
    hub.all().send("three", 3).await.unwrap();
    assert_eq!(all_events(&mut peer).await.len(), 3);
    hub
}

async fn the_budget_sheds_the_largest_first() -> Hub {
    let hub = hub(|config| config.memory_budget = 100_000);
    let mut peers = Vec::new();
    for name in ["a", "b", "c", "d"] {
        peers.push(v2(&hub, user(name)).await);
    }
    for (name, bytes) in [("a", 10_000), ("b", 40_000), ("c", 20_000), ("d", 40_000)] {
        let delivery = hub.user(name).send("x", "y".repeat(bytes)).await.unwrap();
        assert_eq!(delivery.queued, 1);
    }
    assert_eq!(hub.stats().shed, 1);
    assert_eq!(peers[1].closed().await.0, 3008);
    for (index, bytes) in [(0, 10_000), (2, 20_000), (3, 40_000)] {
        let event = peers[index].next().await;
        assert_eq!(event["data"].as_str().unwrap().len(), bytes);
    }
    hub
}

async fn a_message_beyond_the_budget_is_refused() -> Hub {
    let hub = hub(|config| config.memory_budget = 2_000);
    let mut peer = v2(&hub, user("a")).await;
    let refused = hub.all().send("x", "y".repeat(3_000)).await;
    assert_eq!(refused, Err(SendError::Memory));
    assert_eq!(hub.stats().refused_sends, 1);
    assert_eq!(hub.all().send("x", 1).await.unwrap().queued, 1);
    assert_eq!(peer.next().await["data"], 1);
    hub
}

async fn a_large_message_fits_into_an_empty_queue() -> Hub {
    let hub = hub(|config| config.max_outbox_bytes = 1_000);
    let mut peer = v2(&hub, user("a")).await;
    assert_eq!(
        hub.all().send("x", "y".repeat(5_000)).await.unwrap().queued,
        1
    );
    assert_eq!(peer.next().await["data"].as_str().unwrap().len(), 5_000);
    hub
}

async fn the_bound_of_bytes_is_kept() -> Hub {
    let hub = hub(|config| {
        config.max_outbox_bytes = 10_000;
        config.overflow = Overflow::Drop;
    });
    let mut peer = v2(&hub, user("a")).await;
    let mut sums = Sums::default();
    for _ in 0..100 {
        sums.add(hub.all().send("x", "y".repeat(500)).await.unwrap());
        assert!(hub.waiting().2 <= 10_000);
    }
    assert!((10..=20).contains(&sums.queued), "{} queued", sums.queued);
    assert_eq!(all_events(&mut peer).await.len() as u64, sums.queued + 1);
    hub
}

async fn who_asks_and_does_not_read_is_not_heard() -> Hub {
    let hub = hub(|config| {
        config.message_rate = 0;
        config.max_outbox_messages = 16;
    });
    let peer = narrow(&hub, Wire::V2, user("a"));
    for _ in 0..2_000 {
        if timeout(seconds(1), peer.socket.send(r#"{"event":"$ping","id":1}"#))
            .await
            .is_err()
        {
            break;
        }
        assert!(hub.waiting().1 <= 16, "{:?}", hub.waiting());
    }
    settle().await;
    let cause = peer.served.await.unwrap();
    assert_eq!((cause.by, cause.code), (Side::Server, 3008));
    hub
}

async fn a_cut_connection_with_a_full_queue_ends() -> Hub {
    let hub = hub(|config| {
        config.max_outbox_bytes = 20_000;
        config.overflow = Overflow::Drop;
    });
    let (peer, cut) = cable(&hub, Wire::V2, user("a"));
    settle().await;
    for _ in 0..100 {
        hub.all().send("x", "y".repeat(1_000)).await.unwrap();
    }
    settle().await;
    assert!(hub.waiting().2 > 10_000, "{:?}", hub.waiting());
    let start = Instant::now();
    cut.cut();
    let cause = peer.served.await.unwrap();
    assert_eq!((cause.by, cause.code), (Side::Network, 1006));
    assert!(start.elapsed() < seconds(1));
    hub
}

async fn a_mute_connection_with_a_full_queue_ends() -> Hub {
    let hub = hub(|config| {
        config.max_outbox_bytes = 20_000;
        config.overflow = Overflow::Drop;
    });
    let peer = narrow(&hub, Wire::V2, user("a"));
    settle().await;
    for _ in 0..100 {
        hub.all().send("x", "y".repeat(1_000)).await.unwrap();
    }
    let start = Instant::now();
    let cause = timeout(seconds(60), peer.served)
        .await
        .expect("it ends")
        .unwrap();
    assert_eq!((cause.by, cause.code), (Side::Network, 3012));
    assert_eq!(start.elapsed().as_secs(), 10, "write_timeout");
    drop(peer.socket);
    hub
}
