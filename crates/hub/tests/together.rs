//! What is published together arrives as if it had come one by one.

mod support;

use antiphon_hub::{
    config::{HubConfig, Overflow, TagRule},
    hub::Hub,
    refusal::Refusal,
    session::Hello,
    wire::Wire,
};
use serde_json::{Value, json};
use support::{Peer, anonymous, connect_with, v1, v2};

fn publication(tag: &str, id: u64, more: &str) -> String {
    format!(
        r#"{{"event":"$publish","id":{id},"data":{{"ch":"{tag}","event":"e","data":{id}{more}}}}}"#
    )
}

/// Sends requests in one message or in one each, and returns the replies among what comes.
async fn ask(peer: &mut Peer, requests: &[String], in_one: bool) -> Vec<Value> {
    if in_one {
        peer.send(requests.join("\n")).await;
    } else {
        for request in requests {
            peer.socket.feed(request.clone()).await.unwrap();
        }
        peer.socket.flush().await.unwrap();
    }
    let mut replies = Vec::new();
    while replies.len() < requests.len() {
        let value = peer.next().await;
        if value.get("id").is_some() {
            replies.push(value);
        }
    }
    replies
}

fn numbers(replies: &[Value], field: &str) -> Vec<u64> {
    replies
        .iter()
        .map(|reply| reply["data"][field].as_u64().unwrap_or_default())
        .collect()
}

/// Two channels in turns, keys, what cannot be read and what may not be asked, and a ping: each is answered in its place, and
/// members of both wires hear all in order.
#[tokio::test(start_paused = true)]
async fn each_is_answered_in_its_place_and_members_hear_all_in_order() {
    let mut requests: Vec<String> = (1..=20).map(|id| publication("a", id, "")).collect();
    requests.extend((21..=24).map(|id| publication(["a", "b"][id as usize % 2], id, "")));
    requests.push(r#"{"event":"$publish","id":25,"data":{}}"#.to_owned());
    requests.extend((26..=28).map(|id| publication("a", id, r#","key":"k""#)));
    requests.push(r#"{"event":"ping","id":29}"#.to_owned());
    requests.extend((30..=32).map(|id| publication("nobody", id, "")));
    requests.push(r#"{"event":"$publish","id":33,"ch":"a","data":{"event":"$gap"}}"#.to_owned());
    requests.push(publication("a", 34, ""));
    let heard: Vec<u64> = (1..=20).chain([22, 24, 28, 34]).collect();
    for (gate, in_one) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut config = HubConfig::default();
        config.message_rate = 0;
        let hub = Hub::new(config);
        if gate {
            // One by one.
            hub.on_publish(|_, publication| async move { Ok::<_, Refusal>(publication) });
        }
        let mut old = v1(&hub, anonymous()).await;
        let mut new = v2(&hub, anonymous()).await;
        hub.all().join("a").await.unwrap();
        let mut publisher = v2(&hub, anonymous()).await;
        let replies = ask(&mut publisher, &requests, in_one).await;
        let ids: Vec<_> = replies.iter().map(|reply| reply["id"].clone()).collect();
        assert_eq!(ids, (1..=34).map(|id| json!(id)).collect::<Vec<_>>());
        let failed = replies.iter().filter(|reply| reply["code"] != 0);
        let failed: Vec<_> = failed.map(|reply| reply["id"].clone()).collect();
        assert_eq!(failed, [json!(25), json!(33)]);
        let receivers = numbers(&replies, "receivers");
        let to_a = (1..=20).chain([22, 24, 26, 27, 28, 34]);
        for id in to_a {
            assert_eq!(receivers[id - 1], 2, "{id}");
        }
        assert_eq!(receivers.iter().sum::<u64>(), 2 * 26);
        for member in [&mut old, &mut new] {
            let mut got = Vec::new();
            while got.last() != heard.last() {
                let event = member.next().await;
                if event["event"] == "e" {
                    got.push(event["data"].as_u64().unwrap());
                }
            }
            got.retain(|number| ![26, 27].contains(number));
            assert_eq!(got, heard, "{gate} {in_one}");
        }
        let stats = hub.stats();
        assert_eq!(stats.published, 31);
        assert_eq!(stats.queued, stats.written + stats.conflated);
    }
}

/// The one that reads late loses some, is told how many, and whoever has published them, too.
#[tokio::test(start_paused = true)]
async fn a_queue_that_takes_a_part_loses_the_rest_one_by_one() {
    // More than a socket takes.
    const ROUNDS: u64 = 40;
    let mut config = HubConfig::default();
    config.message_rate = 0;
    config.max_outbox_messages = 20;
    let mut rule = TagRule::new("a");
    rule.overflow = Some(Overflow::Drop);
    config.tag_rules.push(rule);
    let hub = Hub::new(config);
    let hello = Hello::from_identity(anonymous());
    let mut late = connect_with(&hub, Wire::V2, hello, 100);
    assert_eq!(late.next().await["event"], "$connected");
    let mut member = v2(&hub, anonymous()).await;
    hub.all().join("a").await.unwrap();
    let mut publisher = v2(&hub, anonymous()).await;
    let long = format!(r#""event":"{}""#, "e".repeat(200));
    let (mut queued, mut dropped) = (0, 0);
    for round in 0..ROUNDS {
        let requests: Vec<_> = (1..=16)
            .map(|id| publication("a", round * 16 + id, "").replace(r#""event":"e""#, &long))
            .collect();
        let replies = ask(&mut publisher, &requests, round % 2 == 0).await;
        queued += numbers(&replies, "queued").iter().sum::<u64>();
        dropped += numbers(&replies, "dropped").iter().sum::<u64>();
        for id in 1..=16 {
            assert_eq!(member.next().await["data"], round * 16 + id);
        }
    }
    assert!(dropped > 16);
    assert_eq!(queued + dropped, 2 * 16 * ROUNDS);
    let (mut heard, mut told) = (0, 0);
    while heard + told < 16 * ROUNDS {
        let event = late.next().await;
        if event["event"] == "$gap" {
            told += event["data"]["dropped"].as_u64().unwrap();
        } else {
            heard += 1;
            assert_eq!(event["data"], heard + told, "in order, around what is lost");
        }
    }
    assert_eq!((heard, told), (queued - 16 * ROUNDS, dropped));
}

/// Publications in front of the end are handled before it.
#[tokio::test(start_paused = true)]
async fn whoever_publishes_and_leaves_is_heard() {
    let hub = Hub::new(HubConfig::default());
    let mut member = v2(&hub, anonymous()).await;
    hub.all().join("a").await.unwrap();
    let publisher = v2(&hub, anonymous()).await;
    for id in 1..=5 {
        let text = publication("a", id, "");
        publisher.socket.feed(text).await.unwrap();
    }
    let _closed = publisher.socket.close(1000, "").await;
    for id in 1..=5 {
        assert_eq!(member.next().await["data"], id);
    }
}
