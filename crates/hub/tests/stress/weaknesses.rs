//! What is known to be wrong with the systems that came before, number by number: none of it is wrong here.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use antiphon_hub::{
    code::close,
    config::Overflow,
    hub::{Client, Hub},
    identity::Identity,
    permission::{Patterns, Permissions},
    router::{Data, Reply},
    wire::Wire,
};
use serde::{Serialize, Serializer};
use serde_json::json;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::{
    stage::{all_events, cut_off, hub, leave, narrow, scenarios, seconds, settle, subscribe},
    support::{anonymous, connect, user, v1, v2},
};

scenarios! {
    Virtual weakness_01_one_slow_reader_freezes_nobody;
    Virtual weakness_02_an_anonymous_client_comes_and_goes_like_others;
    Virtual weakness_03_a_send_to_one_connection_says_what_became_of_it;
    Threads weakness_04_the_index_of_users_is_the_set_of_the_living;
    Virtual weakness_05_slow_handlers_delay_nobody_elses_ping;
    Virtual weakness_06_messages_of_one_client_are_never_reordered;
    Virtual weakness_07_bad_input_is_not_swallowed;
    Virtual weakness_08_a_send_reports_and_does_not_wrap_twice;
    Virtual weakness_09_revocation_closes_sockets;
    Virtual weakness_12_defaults_have_bounds;
    Threads weakness_13_everything_at_once_from_everywhere;
    Virtual weakness_14_a_client_that_answers_pings_stays;
    Virtual weakness_15_a_stop_says_so_and_finishes_what_runs;
    Virtual weakness_22_a_message_is_encoded_once;
    Virtual weakness_23_a_send_touches_only_its_receivers;
    Virtual weakness_25_an_event_is_for_those_who_may;
}

async fn weakness_01_one_slow_reader_freezes_nobody() -> Hub {
    let hub = hub(|config| config.max_outbox_messages = 32);
    let stalled = narrow(&hub, Wire::V2, user("stalled"));
    let mut healthy = v2(&hub, user("healthy")).await;
    let text = "x".repeat(64 * 1024);
    let start = Instant::now();
    for number in 0..400 {
        hub.all().send("news", (number, &text)).await.unwrap();
        assert_eq!(healthy.next().await["data"][0], number);
        if number % 100 == 50 {
            leave(v2(&hub, user("newcomer")).await).await;
        }
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(stalled.served.await.unwrap().code, 3008);
    drop(stalled.socket);
    assert!(hub.stats().slow > 0);
    hub
}

async fn weakness_02_an_anonymous_client_comes_and_goes_like_others() -> Hub {
    let hub = hub(|_| {});
    let mut stays = v2(&hub, user("stays")).await;
    for wire in [Wire::V1, Wire::V2] {
        let peer = connect(&hub, wire, anonymous());
        settle().await;
        assert_eq!(hub.all().count(), 2);
        cut_off(peer).await;
    }
    for number in 0..1_001 {
        assert_eq!(hub.all().send("x", number).await.unwrap().queued, 1);
        assert_eq!(stays.next().await["data"], number);
    }
    hub
}

async fn weakness_03_a_send_to_one_connection_says_what_became_of_it() -> Hub {
    let hub = hub(|_| {});
    let mut peer = v2(&hub, user("ada")).await;
    let id = hub.user("ada").clients()[0].id();
    let delivery = hub.connection(id).send("x", 1).await.unwrap();
    assert_eq!((delivery.receivers, delivery.queued), (1, 1));
    assert_eq!(peer.next().await["data"], 1);
    leave(peer).await;
    assert!(hub.connection(id).send("x", 1).await.unwrap().is_nobody());
    assert!(
        hub.connection(7.into())
            .send("x", 1)
            .await
            .unwrap()
            .is_nobody()
    );
    hub
}

async fn weakness_04_the_index_of_users_is_the_set_of_the_living() -> Hub {
    let hub = hub(|_| {});
    let mut tasks = Vec::new();
    for task in 0..8_usize {
        let hub = hub.clone();
        tasks.push(tokio::spawn(async move {
            let mut mine = Vec::new();
            for round in 0..40_usize {
                let name = format!("user-{}", (task * 7 + round) % 4);
                mine.push((name.clone(), v2(&hub, user(&name)).await));
                if round % 3 != 0 {
                    let (_, peer) = mine.remove((task + round) % mine.len());
                    if round % 2 == 0 {
                        cut_off(peer).await
                    } else {
                        leave(peer).await
                    };
                }
            }
            mine
        }));
    }
    let mut living = Vec::new();
    for task in tasks {
        living.extend(task.await.unwrap());
    }
    assert_eq!(hub.all().count(), living.len());
    for number in 0..4 {
        let name = format!("user-{number}");
        let mine = living.iter().filter(|(user, _)| *user == name).count();
        assert_eq!(hub.user(&*name).count(), mine);
        assert_eq!(
            hub.user(&*name).send("x", 1).await.unwrap().queued,
            mine as u64
        );
    }
    hub
}

async fn weakness_05_slow_handlers_delay_nobody_elses_ping() -> Hub {
    let hub = hub(|_| {});
    hub.on("slow", || sleep(seconds(1)));
    let mut busy = Vec::new();
    for number in 0..60 {
        let peer = v2(&hub, user(&number.to_string())).await;
        peer.send(r#"{"event":"slow","id":1}"#).await;
        busy.push(peer);
    }
    settle().await;
    assert_eq!(hub.stats().handlers_running, 60);
    let mut other = v1(&hub, user("other")).await;
    let start = Instant::now();
    other.ask(r#"{"event":"ping"}"#).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    hub
}

async fn weakness_06_messages_of_one_client_are_never_reordered() -> Hub {
    let hub = hub(|config| config.message_rate = 0);
    hub.on(
        "say",
        |client: Client, Data(data): Data<serde_json::Value>| async move {
            if data["n"].as_u64().unwrap().is_multiple_of(3) {
                tokio::task::yield_now().await;
            }
            client.send("said", data["n"].clone()).map(Reply)
        },
    );
    let mut peer = v1(&hub, user("ada")).await;
    for number in 0..200 {
        peer.send(format!(r#"{{"event":"say","data":{{"n":{number}}}}}"#))
            .await;
    }
    let events = all_events(&mut peer).await;
    let said: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "said")
        .collect();
    assert_eq!(said.len(), 200);
    assert!(
        said.iter()
            .enumerate()
            .all(|(number, event)| event["data"] == number)
    );
    hub
}

async fn weakness_07_bad_input_is_not_swallowed() -> Hub {
    let hub = hub(|_| {});
    let mut older = v1(&hub, user("ada")).await;
    let mut newer = v2(&hub, user("ada")).await;
    for frame in ["{", "[]", r#"{"event":"nobody"}"#] {
        assert_eq!(older.ask(frame).await["code"], -1, "{frame}");
        assert_ne!(newer.ask(frame).await["code"], 0, "{frame}");
    }
    let answer = newer.ask(r#"{"event":"nobody","id":77}"#).await;
    assert_eq!((&answer["id"], &answer["code"]), (&json!(77), &json!(104)));
    hub
}

async fn weakness_08_a_send_reports_and_does_not_wrap_twice() -> Hub {
    let hub = hub(|_| {});
    let mut peers = [v2(&hub, user("ada")).await, v1(&hub, user("ada")).await];
    let delivery = hub.user("ada").send("x", json!({"a": 1})).await.unwrap();
    assert_eq!((delivery.receivers, delivery.queued), (2, 2));
    for peer in &mut peers {
        let event = peer.next().await;
        assert_eq!(
            (&event["event"], &event["data"]),
            (&json!("x"), &json!({"a": 1}))
        );
    }
    assert!(hub.user("bob").send("x", 1).await.unwrap().is_nobody());
    hub
}

async fn weakness_09_revocation_closes_sockets() -> Hub {
    let hub = hub(|_| {});
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(v2(&hub, user("ada")).await);
    }
    let other = v2(&hub, user("bob")).await;
    assert_eq!(
        hub.user("ada").disconnect(close::REVOKED).await.connections,
        5
    );
    for peer in &mut peers {
        let (code, _, events) = peer.closed().await;
        assert_eq!(
            (code, &events[0]["data"]["reconnect"]),
            (3510, &json!(false))
        );
    }
    for peer in peers {
        peer.served.await.unwrap();
    }
    assert_eq!((hub.user("ada").count(), hub.all().count()), (0, 1));
    leave(other).await;
    hub
}

async fn weakness_12_defaults_have_bounds() -> Hub {
    let hub = hub(|_| {});
    let config = hub.config();
    for (bound, most) in [
        (config.max_outbox_bytes, 1 << 20),
        (config.max_outbox_messages, 10_000),
        (config.memory_budget, 256 << 20),
        (config.max_connections, 1_000_000),
        (config.max_connections_per_user, 64),
        (config.max_tags_per_connection, 128),
        (config.max_name_length, 255),
        (config.max_inbox, 256),
        (config.max_handlers, 1_024),
        (config.message_rate as usize, 100),
        (config.message_burst as usize, 200),
    ] {
        assert!(bound > 0 && bound <= most, "{bound} of {most}");
    }
    assert_eq!(config.overflow, Overflow::Disconnect);
    assert!(config.handler_timeout <= seconds(30) && config.authentication_timeout <= seconds(10));
    // And whoever is nobody in particular may do nothing.
    let nobody = Identity::default();
    assert!(nobody.permissions.events.is_empty() && nobody.permissions.publish.is_empty());
    hub
}

async fn weakness_13_everything_at_once_from_everywhere() -> Hub {
    let hub = hub(|config| {
        config.message_rate = 0;
        config.overflow = Overflow::Drop;
    });
    hub.on("say", |client: Client| async move {
        client.hub().tag("t0").send("said", 1).await.map(Reply)
    });
    let mut tasks = Vec::new();
    for task in 0..8_usize {
        let hub = hub.clone();
        tasks.push(tokio::spawn(async move {
            for round in 0..20_usize {
                let mut identity = user(&format!("user-{}", task % 4));
                identity.tags = vec![format!("t{}", round % 3).into()];
                let peer = connect(&hub, [Wire::V1, Wire::V2][round % 2], identity);
                for _ in 0..5 {
                    let _ = peer.socket.send(r#"{"event":"say","id":1}"#).await;
                }
                match round % 4 {
                    0 => drop(peer),
                    1 => peer.served.abort(),
                    2 => {
                        hub.user(format!("user-{}", task % 4))
                            .disconnect(close::FORCE_RECONNECT)
                            .await;
                    }
                    _ => {
                        let _ = peer.socket.close(1000, "").await;
                    }
                }
            }
        }));
    }
    for _ in 0..200 {
        hub.all()
            .latest("k")
            .send("x", "y".repeat(500))
            .await
            .unwrap();
        hub.user("user-1").join("t2").await.unwrap();
        let _ = hub.connections(&Default::default(), 0, 10);
        let _ = (
            hub.users(None, 10),
            hub.tags(None, None, 10),
            hub.waiting(),
            hub.slowest(3),
        );
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    hub.all().disconnect(close::FORCE_RECONNECT).await;
    hub
}

async fn weakness_14_a_client_that_answers_pings_stays() -> Hub {
    let hub = hub(|_| {});
    let mut older = v1(&hub, user("ada")).await;
    let mut newer = v2(&hub, user("bob")).await;
    // They only read, which answers pings.
    let hour = async { tokio::join!(older.socket.recv(), async { newer.next().await }) };
    assert!(timeout(seconds(3600), hour).await.is_err());
    assert_eq!(hub.all().send("x", 1).await.unwrap().queued, 2);
    assert_eq!(older.next().await["data"], 1);
    assert_eq!(newer.next().await["data"], 1);
    hub
}

async fn weakness_15_a_stop_says_so_and_finishes_what_runs() -> Hub {
    let hub = hub(|_| {});
    let done = Arc::new(AtomicUsize::new(0));
    let counter = done.clone();
    hub.on("work", move || {
        let counter = counter.clone();
        async move {
            sleep(seconds(1)).await;
            counter.fetch_add(1, SeqCst);
        }
    });
    let mut peers = Vec::new();
    for number in 0..10 {
        let peer = v2(&hub, user(&number.to_string())).await;
        peer.send(r#"{"event":"work","id":1}"#).await;
        peer.send(r#"{"event":"work","id":2}"#).await;
        peers.push(peer);
    }
    settle().await;
    hub.drain(Duration::from_millis(100), close::GOING_AWAY)
        .await;
    for peer in &mut peers {
        let (code, _, events) = peer.closed().await;
        assert_eq!(
            (code, &events.last().unwrap()["event"]),
            (1001, &json!("$disconnect"))
        );
    }
    sleep(seconds(3)).await;
    assert_eq!(done.load(SeqCst), 20);
    hub
}

/// Counts how often it is encoded.
struct Counted(AtomicUsize);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.fetch_add(1, SeqCst);
        serializer.serialize_str("counted")
    }
}

async fn weakness_22_a_message_is_encoded_once() -> Hub {
    let hub = hub(|_| {});
    let mut peers = Vec::new();
    for number in 0..100 {
        let wire = [Wire::V1, Wire::V2][number % 2];
        peers.push(connect(&hub, wire, user(&number.to_string())));
    }
    settle().await;
    let data = Counted(AtomicUsize::new(0));
    assert_eq!(hub.all().send("x", &data).await.unwrap().queued, 100);
    for peer in &mut peers {
        while peer.next().await["data"] != "counted" {}
    }
    assert_eq!(data.0.load(SeqCst), 1);
    hub
}

/// Nobody else's task is even woken.
async fn weakness_23_a_send_touches_only_its_receivers() -> Hub {
    let hub = hub(|_| {});
    let mut peers = Vec::new();
    for number in 0..500 {
        peers.push(v2(&hub, user(&number.to_string())).await);
    }
    subscribe(&mut peers[7], "t").await;
    settle().await;
    let before = hub.stats().written;
    for audience in [hub.user("7"), hub.tag("t")] {
        let delivery = audience.send("x", 1).await.unwrap();
        assert_eq!((delivery.receivers, delivery.queued), (1, 1));
        assert_eq!(hub.waiting().0, 1);
    }
    assert_eq!(all_events(&mut peers[7]).await.len(), 2);
    assert_eq!(hub.stats().written, before + 2);
    for number in [0, 6, 8, 499] {
        assert!(all_events(&mut peers[number]).await.is_empty());
    }
    hub
}

async fn weakness_25_an_event_is_for_those_who_may() -> Hub {
    let hub = hub(|_| {});
    hub.on("monitor", || async { Reply("host data") });
    let mut permissions = Permissions::default();
    let mut anyone = v1(&hub, Identity::user("anyone", permissions.clone().into())).await;
    assert_eq!(anyone.ask(r#"{"event":"monitor"}"#).await["code"], -1);
    permissions.events = Patterns::new(["monitor"]);
    let mut operator = v1(&hub, Identity::user("operator", permissions.into())).await;
    assert_eq!(
        operator.ask(r#"{"event":"monitor"}"#).await["data"],
        "host data"
    );
    hub
}
