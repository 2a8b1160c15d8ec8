//! Who is here, and who is told: lists, notices, occurrences, and that nobody hears what is for another.

use std::collections::BTreeSet;

use antiphon_hub::{
    config::TagRule,
    hub::Hub,
    identity::Identity,
    permission::{Patterns, Permissions},
    wire::Wire,
};
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::{
    stage::{
        all_events, alternate, cut_off, diary, hub, leave, lines, scenarios, settle, subscribe,
    },
    support::{Peer, anonymous, connect, user, v1, v2},
};

scenarios! {
    Virtual notices_are_collected_and_told_once;
    Virtual who_comes_and_goes_at_once_is_not_mentioned;
    Virtual notices_name_two_hundred_and_count_all;
    Virtual presence_is_for_members_and_whoever_may_ask;
    Virtual a_long_list_of_members_ends_at_a_thousand;
    Virtual presence_can_be_switched_off;
    Virtual the_sender_can_be_left_out;
    Virtual an_epoch_tells_lives_of_a_tag_apart;
    Virtual the_position_is_the_one_of_the_join;
    Virtual lists_have_filters_and_pages;
    Virtual a_thousand_join_one_tag;
    Virtual a_send_goes_to_a_thousand_and_back_to_none;
    Threads users_go_online_and_offline_in_turns;
    Threads tags_are_occupied_and_vacated_in_turns;
    Threads nobody_hears_what_is_for_another;
    Threads joins_of_an_audience_survive_those_who_leave;
}

fn with_notices() -> Hub {
    hub(|config| {
        let mut rule = TagRule::new("room:*");
        rule.notices = true;
        config.tag_rules.push(rule);
    })
}

async fn notices_are_collected_and_told_once() -> Hub {
    let hub = with_notices();
    let mut watcher = v2(&hub, user("watcher")).await;
    subscribe(&mut watcher, "room:1").await;
    assert_eq!(all_events(&mut watcher).await[0]["event"], "$join");
    let mut peers = Vec::new();
    for name in ["a", "b", "c"] {
        let mut peer = v2(&hub, user(name)).await;
        subscribe(&mut peer, "room:1").await;
        peers.push(peer);
    }
    let mut older = v1(&hub, user("older")).await;
    older
        .ask(r#"{"event":"join","data":{"id":"room:1"}}"#)
        .await;
    let told = all_events(&mut watcher).await;
    assert_eq!(
        (told.len(), &told[0]["event"], &told[0]["data"]["count"]),
        (1, &json!("$join"), &json!(5))
    );
    let members = told[0]["data"]["members"].as_array().unwrap();
    let names: BTreeSet<_> = members
        .iter()
        .map(|member| member["user"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b", "c", "older"].into());
    assert!(
        all_events(&mut older).await.is_empty(),
        "the older wire has no such event"
    );
    for peer in peers {
        leave(peer).await;
    }
    let told = all_events(&mut watcher).await;
    assert_eq!(
        (told.len(), &told[0]["event"], &told[0]["data"]["count"]),
        (1, &json!("$leave"), &json!(2))
    );
    assert_eq!(told[0]["data"]["members"].as_array().unwrap().len(), 3);
    hub
}

async fn who_comes_and_goes_at_once_is_not_mentioned() -> Hub {
    let hub = with_notices();
    let mut watcher = v2(&hub, user("watcher")).await;
    subscribe(&mut watcher, "room:1").await;
    all_events(&mut watcher).await;
    let mut peer = v2(&hub, user("a")).await;
    for _ in 0..20 {
        subscribe(&mut peer, "room:1").await;
        peer.ask(r#"{"event":"$unsubscribe","id":1,"ch":"room:1"}"#)
            .await;
    }
    assert!(all_events(&mut watcher).await.is_empty());
    hub
}

async fn notices_name_two_hundred_and_count_all() -> Hub {
    let hub = with_notices();
    let mut watcher = v2(&hub, user("watcher")).await;
    subscribe(&mut watcher, "room:1").await;
    all_events(&mut watcher).await;
    let mut peers = Vec::new();
    for number in 0..300 {
        let mut identity = user(&number.to_string());
        identity.tags = vec!["room:1".into()];
        peers.push(connect(&hub, Wire::V2, identity));
    }
    let told = all_events(&mut watcher).await;
    assert_eq!(told.len(), 1);
    let data = &told[0]["data"];
    assert_eq!((&data["count"], &data["more"]), (&json!(301), &json!(true)));
    assert_eq!(data["members"].as_array().unwrap().len(), 200);
    hub
}

async fn presence_is_for_members_and_whoever_may_ask() -> Hub {
    let hub = hub(|_| {});
    let mut shown = user("shown");
    shown.info = Some(antiphon_hub::json::Json::parse(r#"{"name":"Ada"}"#).unwrap());
    let mut member = v2(&hub, shown).await;
    subscribe(&mut member, "t").await;
    let ask = r#"{"event":"$presence","id":1,"ch":"t"}"#;
    let answer = member.ask(ask).await;
    assert_eq!(answer["data"]["count"], 1);
    let listed: Vec<&Value> = answer["data"]["presence"]
        .as_object()
        .unwrap()
        .values()
        .collect();
    assert_eq!(
        (&listed[0]["user"], &listed[0]["info"]["name"]),
        (&json!("shown"), &json!("Ada"))
    );

    let mut permissions = Permissions::default();
    let mut stranger = v2(&hub, Identity::user("x", permissions.clone().into())).await;
    assert_eq!(stranger.ask(ask).await["code"], 103);
    permissions.presence = Patterns::new(["t"]);
    let mut inspector = v2(&hub, Identity::user("y", permissions.into())).await;
    assert_eq!(inspector.ask(ask).await["data"]["count"], 1);
    assert_eq!(hub.stats().denied, 1);
    hub
}

async fn a_long_list_of_members_ends_at_a_thousand() -> Hub {
    let hub = hub(|_| {});
    let _peers: Vec<Peer> = (0..1_200)
        .map(|number| connect(&hub, Wire::V2, member_of("t", number)))
        .collect();
    settle().await;
    let mut asking = v2(&hub, user("asking")).await;
    let answer = asking.ask(r#"{"event":"$presence","id":1,"ch":"t"}"#).await;
    assert_eq!(answer["data"]["count"], 1_200);
    assert_eq!(answer["data"]["presence"].as_object().unwrap().len(), 1_000);
    for (audience, count) in [
        (hub.all(), 1_201),
        (hub.tag("t"), 1_200),
        (hub.user("user-1"), 1),
    ] {
        for limit in [0, 1, 7, 5_000] {
            assert_eq!(audience.members(limit).len(), limit.min(count));
        }
    }
    hub
}

async fn presence_can_be_switched_off() -> Hub {
    let hub = hub(|config| {
        let mut rule = TagRule::new("secret:*");
        rule.presence = false;
        config.tag_rules.push(rule);
    });
    let mut member = v2(&hub, user("a")).await;
    subscribe(&mut member, "secret:1").await;
    let answer = member
        .ask(r#"{"event":"$presence","id":1,"ch":"secret:1"}"#)
        .await;
    assert_eq!(answer["code"], 103);
    hub
}

async fn the_sender_can_be_left_out() -> Hub {
    let hub = hub(|_| {});
    let mut peers = Vec::new();
    for number in 0..3 {
        let mut peer = v2(&hub, user("ada")).await;
        subscribe(&mut peer, "t").await;
        peers.push((number, peer));
    }
    let out = hub.user("ada").clients()[0].id();
    for audience in [hub.all(), hub.user("ada"), hub.tag("t")] {
        assert_eq!(
            (audience.count(), audience.clone().except(out).count()),
            (3, 2)
        );
        assert_eq!(
            audience.except(out).send("x", 1).await.unwrap().receivers,
            2
        );
    }
    assert!(
        hub.connection(out)
            .except(out)
            .send("x", 1)
            .await
            .unwrap()
            .is_nobody()
    );
    let mut heard: Vec<usize> = Vec::new();
    for (_, peer) in &mut peers {
        heard.push(all_events(peer).await.len());
    }
    heard.sort_unstable();
    assert_eq!(heard, [0, 3, 3]);
    hub
}

async fn an_epoch_tells_lives_of_a_tag_apart() -> Hub {
    let hub = hub(|_| {});
    let mut peer = v2(&hub, user("ada")).await;
    let mut lives = BTreeSet::new();
    for _ in 0..5 {
        let answer = peer.ask(r#"{"event":"$subscribe","id":1,"ch":"t"}"#).await;
        assert_eq!(answer["data"]["offset"], 0);
        lives.insert(answer["data"]["epoch"].as_str().unwrap().to_owned());
        hub.tag("t").send("x", 1).await.unwrap();
        assert_eq!(peer.next().await["offset"], 1);
        peer.ask(r#"{"event":"$unsubscribe","id":2,"ch":"t"}"#)
            .await;
        assert!(hub.tag("t").send("x", 1).await.unwrap().is_nobody());
    }
    assert_eq!(lives.len(), 5);
    hub
}

/// Messages that come at once after a join are behind the position that the join has answered.
async fn the_position_is_the_one_of_the_join() -> Hub {
    let hub = hub(|_| {});
    let mut first = v2(&hub, user("first")).await;
    subscribe(&mut first, "t").await;
    for _ in 0..3 {
        hub.tag("t").send("x", 1).await.unwrap();
    }
    let own = hub.clone();
    hub.observe(move |occurrence| {
        if let antiphon_hub::occurrence::Occurrence::Joined { .. } = occurrence {
            let sending = own.tag("t");
            let sent = futures_util::FutureExt::now_or_never(sending.send("x", 2));
            assert_eq!(sent.unwrap().unwrap().receivers, 2);
        }
    });
    let mut second = v2(&hub, user("second")).await;
    second
        .send(r#"{"event":"$subscribe","id":1,"ch":"t"}"#)
        .await;
    assert_eq!(second.next().await["offset"], 4);
    assert_eq!(second.next().await["data"]["offset"], 3);
    hub
}

async fn lists_have_filters_and_pages() -> Hub {
    let hub = hub(|_| {});
    let mut peers = Vec::new();
    for number in 0..30 {
        let mut identity = user(["ada", "bob", "eve"][number % 3]);
        identity.tags = vec![format!("t{}", number % 5).into()];
        peers.push(v2(&hub, identity).await);
    }
    let total = |filter: &antiphon_hub::presence::Filter| hub.connections(filter, 0, 1000).total;
    let mut filter = antiphon_hub::presence::Filter::default();
    assert_eq!(total(&filter), 30);
    filter.user = Some("ada".into());
    assert_eq!(total(&filter), 10);
    filter.tag = Some("t0".into());
    assert_eq!(total(&filter), 2);
    let all = antiphon_hub::presence::Filter::default();
    let mut seen = BTreeSet::new();
    for page in 0..4 {
        let page = hub.connections(&all, page * 8, 8);
        assert_eq!(page.total, 30);
        seen.extend(page.items.into_iter().map(|connection| connection.id));
    }
    assert_eq!(seen.len(), 30);
    let users: Vec<_> = hub.users(Some("ada"), 10).items;
    assert_eq!(users, [("bob".into(), 10), ("eve".into(), 10)]);
    assert_eq!(
        hub.tags(Some("t*"), None, 2).items,
        [("t0".into(), 6), ("t1".into(), 6)]
    );
    hub
}

fn member_of(tag: &str, number: usize) -> Identity {
    let mut identity = user(&format!("user-{number}"));
    identity.tags = vec![tag.into()];
    identity
}

async fn a_thousand_join_one_tag() -> Hub {
    let hub = with_notices();
    let mut peers: Vec<Peer> = (0..1_000)
        .map(|number| connect(&hub, Wire::V2, member_of("room:1", number)))
        .collect();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(
        (hub.tag("room:1").count(), hub.stats().users),
        (1_000, 1_000)
    );
    let delivery = hub.tag("room:1").send("x", 1).await.unwrap();
    assert_eq!((delivery.receivers, delivery.queued), (1_000, 1_000));
    sleep(Duration::from_millis(100)).await;
    let mut notices = 0;
    for peer in &mut peers {
        assert_eq!(peer.next().await["event"], "$connected");
        loop {
            let event = peer.next().await;
            if event["event"] == "x" {
                assert_eq!(event["offset"], 1);
                break;
            }
            assert_eq!(event["event"], "$join");
            notices += 1;
        }
    }
    // One for each, not one for each join of each other.
    assert!(notices <= 2_000, "{notices} notices");
    hub
}

async fn a_send_goes_to_a_thousand_and_back_to_none() -> Hub {
    let hub = hub(|_| {});
    let peers: Vec<Peer> = (0..1_000)
        .map(|number| connect(&hub, Wire::V2, member_of("t", number)))
        .collect();
    settle().await;
    assert_eq!(hub.all().send("x", 1).await.unwrap().receivers, 1_000);
    drop(peers);
    settle().await;
    assert!(hub.all().send("x", 1).await.unwrap().is_nobody());
    assert!(hub.tag("t").send("x", 1).await.unwrap().is_nobody());
    hub
}

async fn users_go_online_and_offline_in_turns() -> Hub {
    let hub = hub(|_| {});
    let diary = diary(&hub);
    let mut churn = Vec::new();
    for task in 0..16_usize {
        let hub = hub.clone();
        churn.push(tokio::spawn(async move {
            for round in 0..25_usize {
                let peer = v2(&hub, user(&format!("user-{}", (task + round) % 5))).await;
                if round % 3 == 0 {
                    leave(peer).await;
                } else {
                    cut_off(peer).await;
                }
            }
        }));
    }
    for task in churn {
        task.await.unwrap();
    }
    let lines = lines(&diary);
    alternate(&lines, "online", "offline");
    let count = |word: &str| lines.iter().filter(|line| line.starts_with(word)).count();
    assert_eq!((count("connected"), count("disconnected")), (400, 400));
    assert!(count("online") >= 5);
    hub
}

async fn tags_are_occupied_and_vacated_in_turns() -> Hub {
    let hub = hub(|_| {});
    let diary = diary(&hub);
    let mut churn = Vec::new();
    for task in 0..8_usize {
        let hub = hub.clone();
        churn.push(tokio::spawn(async move {
            let mut peer = v2(&hub, anonymous()).await;
            for round in 0..60_usize {
                let tag = format!("t{}", (task * round) % 3);
                subscribe(&mut peer, &tag).await;
                if round % 10 == 9 {
                    leave(peer).await;
                    peer = v2(&hub, anonymous()).await;
                } else {
                    let frame = format!(r#"{{"event":"$unsubscribe","id":1,"ch":"{tag}"}}"#);
                    assert_eq!(peer.ask(&frame).await["code"], 0);
                }
            }
            leave(peer).await;
        }));
    }
    for task in churn {
        task.await.unwrap();
    }
    let lines = lines(&diary);
    alternate(&lines, "occupied", "vacated");
    let count = |word: &str| lines.iter().filter(|line| line.starts_with(word)).count();
    assert_eq!((count("joined"), count("left")), (480, 480));
    hub
}

/// A thousand users, each with a tag of its own, some of them always coming and going; every message names whom it is
/// for.
async fn nobody_hears_what_is_for_another() -> Hub {
    const USERS: usize = 1_000;
    let hub = hub(|_| {});
    let listen = |number: usize| {
        let hub = hub.clone();
        async move {
            let name = format!("user-{number}");
            let mut peer = v2(&hub, member_of(&format!("tag-{number}"), number)).await;
            let mut heard = 0;
            let churns = number.is_multiple_of(10);
            loop {
                let event = peer.next().await;
                match event["event"].as_str().unwrap() {
                    "end" => return heard,
                    "mine" => assert_eq!(event["data"], *name, "{event}"),
                    other => panic!("{other}"),
                }
                heard += 1;
                if churns && heard % 3 == 0 {
                    leave(peer).await;
                    peer = v2(&hub, member_of(&format!("tag-{number}"), number)).await;
                }
            }
        }
    };
    let listeners: Vec<_> = (0..USERS)
        .map(|number| tokio::spawn(listen(number)))
        .collect();
    while hub.all().count() < USERS {
        tokio::task::yield_now().await;
    }
    let mut queued = 0;
    for round in 0..10 {
        for number in 0..USERS {
            let name = format!("user-{number}");
            let audience = match (round + number) % 3 {
                0 => hub.user(&*name),
                1 => hub.tag(format!("tag-{number}")),
                _ => {
                    let clients = hub.user(&*name).clients();
                    let Some(client) = clients.first() else {
                        continue;
                    };
                    hub.connection(client.id())
                }
            };
            queued += audience.send("mine", &name).await.unwrap().queued;
        }
        tokio::task::yield_now().await;
    }
    // Those who are between two connections now hear it the next time.
    let mut heard = 0;
    for (number, mut listener) in listeners.into_iter().enumerate() {
        loop {
            hub.user(format!("user-{number}"))
                .send("end", 0)
                .await
                .unwrap();
            let soon = Duration::from_millis(20);
            if let Ok(count) = tokio::time::timeout(soon, &mut listener).await {
                heard += count.unwrap();
                break;
            }
        }
    }
    assert!(
        heard <= queued && heard > queued * 8 / 10,
        "{heard} of {queued}"
    );
    hub
}

async fn joins_of_an_audience_survive_those_who_leave() -> Hub {
    let hub = hub(|_| {});
    let mut stay = Vec::new();
    for _ in 0..10 {
        stay.push(v2(&hub, user("ada")).await);
    }
    let churn = tokio::spawn({
        let hub = hub.clone();
        async move {
            for _ in 0..100 {
                cut_off(v2(&hub, user("ada")).await).await;
            }
        }
    });
    for round in 0..200 {
        let tag = format!("t{round}");
        hub.user("ada").join(&*tag).await.unwrap();
        assert!(hub.tag(&*tag).count() >= 10);
        hub.user("ada").leave(&tag).await;
    }
    churn.await.unwrap();
    hub
}
