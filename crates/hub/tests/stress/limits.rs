//! Every bound, tripped: with its code, its counter, and nothing else.

use antiphon_hub::{
    hub::{Hub, SendError},
    identity::Identity,
    permission::{Patterns, Permissions},
    router::Reply,
    wire::Wire,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    stage::{all_events, hub, leave, scenarios, seconds, settle, subscribe},
    support::{Peer, anonymous, connect, user, v1, v2},
};

scenarios! {
    Virtual bad_input_is_answered_in_the_newer_wire;
    Virtual bad_input_is_answered_in_the_older_wire;
    Virtual sixty_five_requests_in_a_frame;
    Virtual unknown_events_are_answered_in_both_wires;
    Virtual reserved_events_are_not_the_applications;
    Virtual the_rate_refuses_then_closes;
    Virtual the_rate_recovers_with_time;
    Virtual the_inbox_has_an_end;
    Virtual a_connection_has_only_so_many_tags;
    Virtual a_user_has_only_so_many_connections;
    Virtual a_node_has_only_so_many_connections;
    Threads no_more_than_allowed_get_in_at_once;
    Threads no_more_of_a_user_than_allowed_get_in_at_once;
    Virtual names_have_a_length;
    Virtual events_need_permission;
    Virtual joining_and_publishing_need_permission;
    Virtual data_of_a_wrong_shape_is_the_clients_mistake;
}

async fn check(peer: &mut Peer, frame: &str, id: Value, code: i32) {
    let answer = peer.ask(frame).await;
    assert_eq!(answer["code"], code, "{frame}: {answer}");
    assert_eq!(answer["id"], id, "{frame}: {answer}");
    assert!(
        !answer["errorMsg"].as_str().unwrap().is_empty(),
        "{frame}: {answer}"
    );
}

fn deep(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

async fn bad_input_is_answered_in_the_newer_wire() -> Hub {
    let hub = hub(|_| {});
    hub.on("x", || async {});
    let mut peer = v2(&hub, user("ada")).await;
    let too_deep = format!(r#"{{"event":"x","id":5,"data":{}}}"#, deep(65));
    let too_long = format!(r#"{{"event":"{}","id":6}}"#, "x".repeat(256));
    let channel = format!(
        r#"{{"event":"$subscribe","id":7,"ch":"{}"}}"#,
        "x".repeat(256)
    );
    let rows: [(&str, Value); 12] = [
        ("{", Value::Null),
        ("nonsense", Value::Null),
        ("[]", Value::Null),
        ("1", Value::Null),
        (r#"{"id":1}"#, json!(1)),
        (r#"{"id":2,"event":""}"#, json!(2)),
        (r#"{"id":3,"event":4}"#, json!(3)),
        (r#"{"id":0,"event":"x"}"#, Value::Null),
        (r#"{"id":-1,"event":"x"}"#, Value::Null),
        (&too_deep, json!(5)),
        (&too_long, json!(6)),
        (&channel, json!(7)),
    ];
    let count = rows.len() as u64;
    for (frame, id) in rows {
        check(&mut peer, frame, id, 107).await;
    }
    peer.socket
        .send(antiphon::Message::binary(vec![0xff, 0xfe]))
        .await
        .unwrap();
    assert_eq!(peer.next().await["code"], 107);
    assert_eq!(hub.stats().bad_messages, count + 1);
    assert_eq!(peer.ask(r#"{"event":"x","id":9}"#).await["code"], 0);
    hub
}

async fn bad_input_is_answered_in_the_older_wire() -> Hub {
    let hub = hub(|_| {});
    let mut peer = v1(&hub, user("ada")).await;
    let too_deep = format!(r#"{{"event":"x","data":{{"a":{}}}}}"#, deep(65));
    let too_long = format!(r#"{{"event":"{}"}}"#, "x".repeat(256));
    for frame in [
        "{",
        "nonsense",
        "[]",
        "{}",
        r#"{"data":{}}"#,
        r#"{"event":7}"#,
        r#"{"event":"x","data":[]}"#,
        r#"{"event":"x","data":"text"}"#,
        "{\"event\":\"ping\"}\n{\"event\":\"ping\"}",
        &too_deep,
        &too_long,
    ] {
        check(&mut peer, frame, Value::Null, -1).await;
    }
    assert_eq!(peer.ask(r#"{"event":"ping"}"#).await["code"], 0);
    hub
}

async fn sixty_five_requests_in_a_frame() -> Hub {
    let hub = hub(|_| {});
    let mut peer = v2(&hub, user("ada")).await;
    let frame = |count: u64| {
        let lines: Vec<_> = (1..=count)
            .map(|id| format!(r#"{{"event":"$ping","id":{id}}}"#))
            .collect();
        lines.join("\n")
    };
    peer.send(frame(64)).await;
    assert_eq!(all_events(&mut peer).await.len(), 64);
    peer.send(frame(100)).await;
    let answers = all_events(&mut peer).await;
    assert_eq!(answers.len(), 65);
    assert!(answers[..64].iter().all(|answer| answer["code"] == 0));
    assert_eq!(answers[64]["code"], 106);
    let mut peer = v1(&hub, user("bob")).await;
    peer.send(vec![r#"{"event":"ping"}"#; 65].join("\n")).await;
    let answers = all_events(&mut peer).await;
    assert_eq!((answers.len(), &answers[0]["code"]), (1, &json!(-1)));
    hub
}

async fn unknown_events_are_answered_in_both_wires() -> Hub {
    let hub = hub(|_| {});
    let mut newer = v2(&hub, user("ada")).await;
    check(&mut newer, r#"{"event":"nobody","id":1}"#, json!(1), 104).await;
    check(&mut newer, r#"{"event":"nobody"}"#, Value::Null, 104).await;
    let mut older = v1(&hub, user("ada")).await;
    check(&mut older, r#"{"event":"nobody"}"#, Value::Null, -1).await;
    assert_eq!(hub.stats().unknown_events, 3);
    hub
}

async fn reserved_events_are_not_the_applications() -> Hub {
    let hub = hub(|_| {});
    hub.on("*", || async { Reply("mine") });
    let mut peer = v2(&hub, user("ada")).await;
    check(&mut peer, r#"{"event":"$nonsense","id":1}"#, json!(1), 104).await;
    check(
        &mut peer,
        r#"{"event":"$history","id":2,"ch":"t"}"#,
        json!(2),
        108,
    )
    .await;
    check(&mut peer, r#"{"event":"$subscribe","id":3}"#, json!(3), 107).await;
    check(
        &mut peer,
        r#"{"event":"$publish","id":4,"ch":"t","data":{"event":"$gap"}}"#,
        json!(4),
        107,
    )
    .await;
    assert_eq!(peer.ask(r#"{"event":"x","id":5}"#).await["data"], "mine");
    hub
}

async fn the_rate_refuses_then_closes() -> Hub {
    let hub = hub(|config| {
        config.message_rate = 1;
        config.message_burst = 3;
    });
    let mut peer = v2(&hub, user("ada")).await;
    for id in 1..=7 {
        peer.send(format!(r#"{{"event":"$ping","id":{id}}}"#)).await;
    }
    let (code, _, events) = peer.closed().await;
    assert_eq!(code, 3013);
    let codes: Vec<_> = events
        .iter()
        .map(|event| event["code"].as_i64().unwrap())
        .collect();
    assert_eq!(codes, [0, 0, 0, 111, 111, 111, 0]);
    assert_eq!(events[3]["id"], 4);
    assert_eq!(events[3]["temporary"], true);
    assert!((900..=1000).contains(&events[3]["retryAfterMs"].as_u64().unwrap()));
    assert_eq!(
        (&events[6]["event"], hub.stats().refused_messages),
        (&json!("$disconnect"), 4)
    );
    hub
}

async fn the_rate_recovers_with_time() -> Hub {
    let hub = hub(|config| {
        config.message_rate = 2;
        config.message_burst = 2;
    });
    let mut peer = v2(&hub, user("ada")).await;
    let mut codes = Vec::new();
    for round in 0..3 {
        for id in 1..=3 {
            let answer = peer.ask(&format!(r#"{{"event":"$ping","id":{id}}}"#)).await;
            codes.push(answer["code"].as_i64().unwrap());
        }
        sleep(seconds(1 + round)).await;
    }
    assert_eq!(codes, [0, 0, 111, 0, 0, 111, 0, 0, 111]);
    leave(peer).await;
    hub
}

async fn the_inbox_has_an_end() -> Hub {
    let hub = hub(|config| config.max_inbox = 4);
    hub.on("slow", || async {
        sleep(seconds(1)).await;
        Reply(1)
    });
    let mut peer = v2(&hub, user("ada")).await;
    for id in 1..=8 {
        peer.send(format!(r#"{{"event":"slow","id":{id}}}"#)).await;
        settle().await;
    }
    let mut answers = Vec::new();
    for _ in 0..8 {
        let answer = peer.next().await;
        answers.push((
            answer["id"].as_u64().unwrap(),
            answer["code"].as_i64().unwrap(),
        ));
    }
    // One is being handled, four wait.
    let expected = [
        (6, 111),
        (7, 111),
        (8, 111),
        (1, 0),
        (2, 0),
        (3, 0),
        (4, 0),
        (5, 0),
    ];
    assert_eq!(answers, expected);
    assert_eq!(hub.stats().refused_messages, 3);
    hub
}

async fn a_connection_has_only_so_many_tags() -> Hub {
    let hub = hub(|config| config.max_tags_per_connection = 3);
    let mut peer = v2(&hub, user("ada")).await;
    for tag in ["a", "b", "c"] {
        subscribe(&mut peer, tag).await;
    }
    check(
        &mut peer,
        r#"{"event":"$subscribe","id":1,"ch":"d"}"#,
        json!(1),
        106,
    )
    .await;
    check(
        &mut peer,
        r#"{"event":"$subscribe","id":2,"ch":"a"}"#,
        json!(2),
        105,
    )
    .await;
    assert_eq!(hub.user("ada").join("d").await.unwrap_err().code(), 106);
    assert_eq!(
        peer.ask(r#"{"event":"$unsubscribe","id":3,"ch":"a"}"#)
            .await["code"],
        0
    );
    subscribe(&mut peer, "d").await;
    assert_eq!(hub.stats().tags, 3);
    hub
}

async fn a_user_has_only_so_many_connections() -> Hub {
    let hub = hub(|config| config.max_connections_per_user = 2);
    let first = v2(&hub, user("ada")).await;
    let _second = v1(&hub, user("ada")).await;
    let mut third = connect(&hub, Wire::V2, user("ada"));
    assert_eq!(third.closed().await.0, 3504);
    assert_eq!(third.served.await.unwrap().code, 3504);
    let _other = v2(&hub, user("bob")).await;
    leave(first).await;
    let _again = v2(&hub, user("ada")).await;
    assert_eq!(
        (hub.user("ada").count(), hub.stats().refused_logins),
        (2, 1)
    );
    hub
}

async fn a_node_has_only_so_many_connections() -> Hub {
    let hub = hub(|config| config.max_connections = 2);
    let first = v2(&hub, anonymous()).await;
    let _second = v2(&hub, anonymous()).await;
    let mut third = connect(&hub, Wire::V2, anonymous());
    let (code, _, events) = third.closed().await;
    assert_eq!(code, 1013);
    assert!(events[0]["data"]["delayMs"].as_u64().unwrap() <= 5_000);
    assert_eq!(events[0]["data"]["reconnect"], true);
    leave(first).await;
    let _again = v2(&hub, anonymous()).await;
    assert_eq!((hub.all().count(), hub.stats().refused_connections), (2, 1));
    hub
}

/// How many of fifty that come at once are welcomed; the others are closed with `code`.
async fn rush(hub: &Hub, identity: fn(usize) -> Identity, code: u16) -> usize {
    let mut rush = Vec::new();
    for number in 0..50 {
        let hub = hub.clone();
        rush.push(tokio::spawn(async move {
            let mut peer = connect(&hub, Wire::V2, identity(number));
            let message = peer.socket.recv().await.unwrap().unwrap();
            if message.as_text().unwrap().contains("$connected") {
                return Some(peer);
            }
            assert_eq!(peer.closed().await.0, code);
            None
        }));
    }
    let mut inside = Vec::new();
    for one in rush {
        inside.extend(one.await.unwrap());
    }
    assert_eq!(hub.all().count(), inside.len());
    inside.len()
}

async fn no_more_than_allowed_get_in_at_once() -> Hub {
    let hub = hub(|config| config.max_connections = 20);
    assert_eq!(
        rush(&hub, |number| user(&number.to_string()), 1013).await,
        20
    );
    hub
}

async fn no_more_of_a_user_than_allowed_get_in_at_once() -> Hub {
    let hub = hub(|config| config.max_connections_per_user = 10);
    assert_eq!(rush(&hub, |_| user("ada"), 3504).await, 10);
    hub
}

async fn names_have_a_length() -> Hub {
    let hub = hub(|config| config.max_name_length = 10);
    let mut peer = v2(&hub, user("ada")).await;
    let long = "x".repeat(11);
    for (event, tag) in [("", "t"), (&*long, "t"), ("x", &*long)] {
        assert_eq!(
            hub.tag(tag).send(event, 1).await,
            Err(SendError::Name),
            "{event} {tag}"
        );
    }
    assert_eq!(hub.user("ada").join(&*long).await.unwrap_err().code(), 107);
    let frame = format!(r#"{{"event":"$subscribe","id":1,"ch":"{long}"}}"#);
    check(&mut peer, &frame, json!(1), 107).await;
    assert_eq!(hub.stats().tags, 0);
    hub
}

fn permitted(set: impl FnOnce(&mut Permissions)) -> Identity {
    let mut permissions = Permissions::default();
    set(&mut permissions);
    Identity::user("ada", permissions.into())
}

async fn events_need_permission() -> Hub {
    let hub = hub(|_| {});
    hub.on("*", || async { Reply(1) });
    let may = permitted(|may| may.events = Patterns::new(["chat/*"]));
    let mut peer = v2(&hub, may).await;
    assert_eq!(peer.ask(r#"{"event":"chat/say","id":1}"#).await["code"], 0);
    check(&mut peer, r#"{"event":"monitor","id":2}"#, json!(2), 103).await;
    assert_eq!(hub.stats().denied, 1);
    hub
}

async fn joining_and_publishing_need_permission() -> Hub {
    let hub = hub(|_| {});
    let may = permitted(|may| {
        may.join = Patterns::new(["news", "user:{user}:*"]);
        may.publish = Patterns::new(["user:{user}:*"]);
    });
    let mut peer = v2(&hub, may).await;
    for (tag, code) in [
        ("news", 0),
        ("user:ada:x", 0),
        ("user:bob:x", 103),
        ("other", 103),
    ] {
        let answer = peer
            .ask(&format!(r#"{{"event":"$subscribe","id":1,"ch":"{tag}"}}"#))
            .await;
        assert_eq!(answer["code"], code, "{tag}");
    }
    let publish =
        |tag: &str| format!(r#"{{"event":"$publish","id":9,"ch":"{tag}","data":{{"data":1}}}}"#);
    check(&mut peer, &publish("news"), json!(9), 103).await;
    assert_eq!(peer.ask(&publish("user:ada:x")).await["event"], "message");
    assert_eq!(peer.next().await["data"]["receivers"], 1);
    let mut older = v1(&hub, permitted(|_| {})).await;
    check(
        &mut older,
        r#"{"event":"join","data":{"id":"news"}}"#,
        Value::Null,
        -1,
    )
    .await;
    assert_eq!(hub.stats().denied, 4);
    hub
}

async fn data_of_a_wrong_shape_is_the_clients_mistake() -> Hub {
    let hub = hub(|_| {});
    hub.on(
        "add",
        |antiphon_hub::router::Data((a, b)): antiphon_hub::router::Data<(u8, u8)>| async move {
            Reply(u16::from(a) + u16::from(b))
        },
    );
    let mut peer = v2(&hub, user("ada")).await;
    for data in ["null", "1", "[1]", "[1,256]", r#"["a","b"]"#, "[1,2,3]"] {
        let frame = format!(r#"{{"event":"add","id":1,"data":{data}}}"#);
        check(&mut peer, &frame, json!(1), 107).await;
    }
    assert_eq!(
        peer.ask(r#"{"event":"add","id":2,"data":[255,255]}"#).await["data"],
        510
    );
    hub
}
