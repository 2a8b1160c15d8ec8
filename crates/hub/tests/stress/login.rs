//! Who comes in, who stays, who has to go: logins, their ends, policies, kicks, drains.

use std::{
    sync::{Arc, Mutex},
    time::SystemTime,
};

use antiphon_hub::{
    code::close,
    config::LoginPolicy,
    hub::{Client, Hub},
    identity::Identity,
    occurrence::{Cause, Side},
    refusal::Refusal,
    wire::Wire,
};
use serde_json::json;
use tokio::time::{Duration, Instant, sleep};

use crate::{
    stage::{
        all_events, cable, hub, leave, narrow, scenarios, seconds, settle, stranger, subscribe,
    },
    support::{Peer, anonymous, connect, user, v1, v2},
};

scenarios! {
    Virtual the_first_message_says_who_it_is;
    Virtual a_wrong_token_is_refused;
    Virtual whoever_says_nothing_is_closed_with_3502;
    Virtual whoever_says_something_else_first_is_closed_with_3502;
    Virtual a_first_message_that_cannot_be_read_is_closed_with_3501;
    Virtual the_older_wire_cannot_say_who_it_is;
    Virtual a_second_connect_is_answered_and_changes_nothing;
    Virtual a_login_ends_in_its_second;
    Virtual a_login_that_is_over_does_not_begin;
    Virtual a_login_is_refreshed_in_band;
    Virtual a_refresh_may_shorten_a_login;
    Virtual the_server_gives_a_login_another_end;
    Virtual nobody_refreshes_with_anothers_token;
    Virtual the_newest_login_closes_the_older_ones;
    Virtual the_oldest_login_stays;
    Virtual one_login_for_each_platform;
    Threads racing_logins_leave_the_newest_alone;
    Threads racing_logins_leave_one_oldest;
    Virtual kicks_say_why_in_both_wires;
    Virtual the_door_closes_with_the_code_it_chooses;
    Virtual the_cause_is_told_for_each_way_to_end;
    Virtual a_drain_is_paced;
    Virtual a_drain_at_once_and_a_second_one;
    Virtual tags_of_a_login_are_joined_before_the_welcome;
}

/// A hub where a token is the name of a user, with `!` behind it for one second, and `?` is nobody.
fn gated(configure: impl FnOnce(&mut antiphon_hub::config::HubConfig)) -> Hub {
    let hub = hub(configure);
    hub.authenticate(|token: String| async move {
        if token == "?" {
            return Err(Refusal::of(antiphon_hub::code::ErrorCode::Unauthorized));
        }
        let (name, life) = token.split_once('!').unwrap_or((&token, ""));
        let mut identity = user(name);
        identity.expires_at = life
            .parse()
            .ok()
            .map(|life| SystemTime::now() + seconds(life));
        Ok(identity)
    });
    hub
}

fn token(event: &str, id: u64, token: &str) -> String {
    format!(r#"{{"event":"{event}","id":{id},"data":{{"token":"{token}"}}}}"#)
}

async fn the_first_message_says_who_it_is() -> Hub {
    let hub = gated(|_| {});
    let mut peer = stranger(&hub);
    settle().await;
    assert_eq!(hub.all().count(), 0);
    let answer = peer.ask(&token("$connect", 7, "ada!60")).await;
    assert_eq!(
        (&answer["event"], &answer["id"], &answer["code"]),
        (&json!("$connect"), &json!(7), &json!(0))
    );
    assert_eq!(answer["data"]["user"], "ada");
    assert!((59..=60).contains(&answer["data"]["ttl"].as_u64().unwrap()));
    assert_eq!(hub.user("ada").count(), 1);
    assert!(all_events(&mut peer).await.is_empty());
    hub
}

async fn a_wrong_token_is_refused() -> Hub {
    let hub = gated(|_| {});
    for frame in [
        token("$connect", 1, "?"),
        r#"{"event":"$connect","id":1}"#.to_owned(),
        r#"{"event":"$connect","id":1,"data":{"token":5}}"#.to_owned(),
    ] {
        let mut peer = stranger(&hub);
        peer.send(frame).await;
        let (code, _, events) = peer.closed().await;
        assert_eq!(
            (code, &events[0]["code"], &events[0]["id"]),
            (3500, &json!(101), &json!(1))
        );
        assert_eq!(events[1]["data"]["reconnect"], false);
    }
    assert_eq!((hub.stats().refused_logins, hub.stats().accepted), (3, 0));
    hub
}

async fn whoever_says_nothing_is_closed_with_3502() -> Hub {
    let hub = gated(|_| {});
    let mut peer = stranger(&hub);
    let start = Instant::now();
    assert_eq!(peer.closed().await.0, 3502);
    assert_eq!(start.elapsed().as_secs(), 10);
    hub
}

async fn whoever_says_something_else_first_is_closed_with_3502() -> Hub {
    let hub = gated(|_| {});
    let mut peer = stranger(&hub);
    peer.send(r#"{"event":"$subscribe","id":1,"ch":"t"}"#).await;
    let (code, _, events) = peer.closed().await;
    assert_eq!((code, &events[0]["code"]), (3502, &json!(101)));
    hub
}

async fn a_first_message_that_cannot_be_read_is_closed_with_3501() -> Hub {
    let hub = gated(|_| {});
    let mut peer = stranger(&hub);
    peer.send("nonsense").await;
    assert_eq!(peer.closed().await.0, 3501);
    hub
}

async fn the_older_wire_cannot_say_who_it_is() -> Hub {
    let hub = gated(|_| {});
    let hello = antiphon_hub::session::Hello::default();
    let mut peer = crate::support::connect_with(&hub, Wire::V1, hello, 64 * 1024);
    assert_eq!(peer.closed().await.0, 3500);
    hub
}

async fn a_second_connect_is_answered_and_changes_nothing() -> Hub {
    let hub = gated(|_| {});
    let mut peer = stranger(&hub);
    let first = peer.ask(&token("$connect", 1, "ada")).await;
    let second = peer.ask(&token("$connect", 2, "bob")).await;
    assert_eq!(second["data"]["client"], first["data"]["client"]);
    assert_eq!(second["data"]["user"], "ada");
    assert_eq!((hub.user("ada").count(), hub.user("bob").count()), (1, 0));
    hub
}

fn for_seconds(name: &str, life: u64) -> Identity {
    let mut identity = user(name);
    identity.expires_at = Some(SystemTime::now() + seconds(life));
    identity
}

/// Closed with 3004 after so many seconds from `start`, a moment sooner or later.
async fn expires(mut peer: Peer, start: Instant, after: u64) {
    assert_eq!(peer.closed().await.0, 3004);
    let elapsed = start.elapsed();
    let early = Duration::from_millis(900);
    assert!(
        elapsed + early >= seconds(after) && elapsed <= seconds(after + 1),
        "{elapsed:?}"
    );
    assert_eq!(peer.served.await.unwrap().code, 3004);
}

async fn a_login_ends_in_its_second() -> Hub {
    let hub = hub(|_| {});
    let start = Instant::now();
    let newer = v2(&hub, for_seconds("ada", 5)).await;
    let older = v1(&hub, for_seconds("bob", 90)).await;
    expires(newer, start, 5).await;
    expires(older, start, 90).await;
    hub
}

async fn a_login_that_is_over_does_not_begin() -> Hub {
    let hub = hub(|_| {});
    let mut identity = user("ada");
    identity.expires_at = Some(SystemTime::UNIX_EPOCH);
    let peer = connect(&hub, Wire::V2, identity);
    expires(peer, Instant::now(), 0).await;
    hub
}

async fn a_login_is_refreshed_in_band() -> Hub {
    let hub = gated(|_| {});
    let start = Instant::now();
    let mut peer = v2(&hub, for_seconds("ada", 5)).await;
    for round in 1..=4 {
        sleep(seconds(3)).await;
        let answer = peer.ask(&token("$refresh", round, "ada!5")).await;
        assert_eq!(answer["code"], 0);
        assert!(answer["data"]["ttl"].as_u64().unwrap() >= 4);
    }
    expires(peer, start, 17).await;
    hub
}

async fn a_refresh_may_shorten_a_login() -> Hub {
    let hub = gated(|_| {});
    let start = Instant::now();
    let mut peer = v2(&hub, for_seconds("ada", 600)).await;
    sleep(seconds(1)).await;
    assert_eq!(peer.ask(&token("$refresh", 1, "ada!2")).await["code"], 0);
    expires(peer, start, 3).await;
    hub
}

async fn the_server_gives_a_login_another_end() -> Hub {
    let hub = hub(|_| {});
    let start = Instant::now();
    let kept = v2(&hub, for_seconds("ada", 2)).await;
    let ended = v2(&hub, user("bob")).await;
    hub.user("ada").refresh(None).await;
    hub.user("bob")
        .refresh(Some(SystemTime::now() + seconds(4)))
        .await;
    expires(ended, start, 4).await;
    sleep(seconds(10)).await;
    assert_eq!(hub.user("ada").count(), 1);
    leave(kept).await;
    hub
}

async fn nobody_refreshes_with_anothers_token() -> Hub {
    let hub = gated(|_| {});
    let start = Instant::now();
    let mut peer = v2(&hub, for_seconds("ada", 3)).await;
    assert_eq!(
        peer.ask(&token("$refresh", 1, "bob!600")).await["code"],
        103
    );
    assert_eq!(peer.ask(&token("$refresh", 2, "?")).await["code"], 101);
    expires(peer, start, 3).await;
    hub
}

async fn the_newest_login_closes_the_older_ones() -> Hub {
    let hub = hub(|config| config.login = LoginPolicy::Newest);
    let mut first = v2(&hub, user("ada")).await;
    let _other = v2(&hub, user("bob")).await;
    let second = v1(&hub, user("ada")).await;
    let (code, _, events) = first.closed().await;
    assert_eq!(
        (code, &events[0]["data"]["reconnect"]),
        (3511, &json!(false))
    );
    first.served.await.unwrap();
    assert_eq!((hub.user("ada").count(), hub.user("bob").count()), (1, 1));
    leave(second).await;
    hub
}

async fn the_oldest_login_stays() -> Hub {
    let hub = hub(|config| config.login = LoginPolicy::Oldest);
    let first = v2(&hub, user("ada")).await;
    let mut second = connect(&hub, Wire::V2, user("ada"));
    assert_eq!(second.closed().await.0, 3511);
    let _nobody = v2(&hub, anonymous()).await;
    let _nobody_too = v2(&hub, anonymous()).await;
    leave(first).await;
    let _third = v2(&hub, user("ada")).await;
    assert_eq!(hub.user("ada").count(), 1);
    hub
}

async fn one_login_for_each_platform() -> Hub {
    let hub = hub(|config| config.login = LoginPolicy::Platform);
    let on = |platform: &str| {
        let mut identity = user("ada");
        identity.platform = Some(platform.into());
        identity
    };
    let mut phone = v2(&hub, on("phone")).await;
    let desk = v2(&hub, on("desk")).await;
    assert_eq!(hub.user("ada").count(), 2);
    let _phone = v2(&hub, on("phone")).await;
    assert_eq!(phone.closed().await.0, 3511);
    phone.served.await.unwrap();
    assert_eq!(hub.user("ada").count(), 2);
    leave(desk).await;
    hub
}

/// Forty logins of one user at once: thirty-nine are closed, and one stays.
async fn race(hub: &Hub) {
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let hub = hub.clone();
        racers.spawn(async move {
            let mut peer = connect(&hub, Wire::V2, user("ada"));
            peer.closed().await.0
        });
    }
    for _ in 0..39 {
        assert_eq!(racers.join_next().await.unwrap().unwrap(), 3511);
    }
    while hub.user("ada").count() != 1 {
        tokio::task::yield_now().await;
    }
    hub.user("ada").send("x", 1).await.unwrap();
    racers.shutdown().await;
}

async fn racing_logins_leave_the_newest_alone() -> Hub {
    let hub = hub(|config| config.login = LoginPolicy::Newest);
    race(&hub).await;
    assert_eq!(hub.stats().accepted, 40);
    hub
}

async fn racing_logins_leave_one_oldest() -> Hub {
    let hub = hub(|config| config.login = LoginPolicy::Oldest);
    race(&hub).await;
    assert_eq!((hub.stats().accepted, hub.stats().refused_logins), (1, 39));
    hub
}

async fn kicks_say_why_in_both_wires() -> Hub {
    let hub = hub(|_| {});
    let reasons = [
        close::FORCE_NO_RECONNECT,
        close::REVOKED,
        close::FORCE_RECONNECT,
    ];
    for reason in reasons {
        let mut newer = v2(&hub, user("ada")).await;
        let mut older = v1(&hub, user("ada")).await;
        let reached = hub.user("ada").disconnect(reason.clone()).await;
        assert_eq!(reached.connections, 2);
        assert_eq!(
            hub.user("ada").disconnect(reason.clone()).await.connections,
            0
        );
        let (code, text, events) = newer.closed().await;
        assert_eq!((code, text.as_str()), (reason.code, &*reason.reason));
        assert_eq!(events[0]["data"]["code"], reason.code);
        assert_eq!(events[0]["data"]["reconnect"], reason.reconnect);
        let (code, _, events) = older.closed().await;
        assert_eq!(code, reason.code);
        let kicks = usize::from(!reason.reconnect);
        assert_eq!(events.len(), kicks);
        assert!(events.iter().all(|event| event["event"] == "kick"));
        newer.served.await.unwrap();
        older.served.await.unwrap();
    }
    hub
}

async fn the_door_closes_with_the_code_it_chooses() -> Hub {
    let hub = gated(|_| {});
    hub.on_connect(|client: Client| async move {
        match client.user().as_deref() {
            Some("banned") => Err(Refusal::new(1001, "banned").closing(close::REVOKED)),
            Some("own") => Err(Refusal::new(1002, "later").closing(
                antiphon_hub::code::CloseReason::new(4001, "come back at noon"),
            )),
            Some("plain") => Err(Refusal::denied("no")),
            _ => Ok(()),
        }
    });
    for (name, code, error) in [
        ("banned", 3510, 1001),
        ("own", 4001, 1002),
        ("plain", 3507, 103),
    ] {
        let mut peer = stranger(&hub);
        peer.send(token("$connect", 1, name)).await;
        let (closed, _, events) = peer.closed().await;
        assert_eq!(
            (closed, &events[0]["code"]),
            (code, &json!(error)),
            "{name}"
        );
        let mut peer = connect(&hub, Wire::V1, user(name));
        assert_eq!(peer.closed().await.0, code, "{name}");
    }
    assert_eq!((hub.stats().accepted, hub.all().count()), (0, 0));
    hub
}

async fn the_cause_is_told_for_each_way_to_end() -> Hub {
    let hub = hub(|config| config.message_burst = 1);
    let causes = Arc::new(Mutex::new(Vec::<Cause>::new()));
    let list = causes.clone();
    hub.on_disconnect(move |_, cause| {
        list.lock().unwrap().push(cause);
        async {}
    });
    let last = || {
        causes
            .lock()
            .unwrap()
            .pop()
            .map(|cause| (cause.by, cause.code))
    };

    let peer = v2(&hub, user("a")).await;
    peer.socket.close(4123, "own").await.unwrap();
    peer.served.await.unwrap();
    assert_eq!(last(), Some((Side::Client, 4123)));

    // A page that is left says nothing more than that it goes.
    let peer = v2(&hub, user("b")).await;
    drop(peer.socket);
    peer.served.await.unwrap();
    assert_eq!(last(), Some((Side::Client, 1001)));

    let (peer, cut) = cable(&hub, Wire::V2, user("c"));
    settle().await;
    cut.cut();
    peer.served.await.unwrap();
    assert_eq!(last(), Some((Side::Network, 1006)));

    let start = Instant::now();
    let peer = narrow(&hub, Wire::V1, user("d"));
    peer.served.await.unwrap();
    assert_eq!(last(), Some((Side::Network, 3012)));
    assert_eq!(
        start.elapsed().as_secs(),
        35,
        "a ping after 25 s, its pong within 10 s"
    );

    let mut peer = v2(&hub, user("e")).await;
    hub.user("e").disconnect(close::FORCE_NO_RECONNECT).await;
    peer.closed().await;
    peer.served.await.unwrap();
    assert_eq!(last(), Some((Side::Server, 3503)));

    let peer = v2(&hub, user("f")).await;
    peer.send("x".repeat(2 * 1024 * 1024)).await;
    peer.served.await.unwrap();
    assert_eq!(last(), Some((Side::Server, 1009)));
    assert_eq!(last(), None);
    let ended: Vec<_> = hub.stats().ended.into_iter().collect();
    assert_eq!(
        ended,
        [
            (1001, 1),
            (1006, 1),
            (1009, 1),
            (3012, 1),
            (3503, 1),
            (4123, 1)
        ]
    );
    hub
}

async fn a_drain_is_paced() -> Hub {
    let hub = hub(|_| {});
    let start = Instant::now();
    let mut readers = Vec::new();
    for number in 0..100 {
        let mut peer = v2(&hub, user(&number.to_string())).await;
        readers.push(tokio::spawn(async move {
            let (code, _, events) = peer.closed().await;
            let delay = events[0]["data"]["delayMs"].as_u64().unwrap();
            (code, delay, start.elapsed())
        }));
    }
    let draining = tokio::spawn({
        let hub = hub.clone();
        async move { hub.drain(seconds(10), close::RESTART).await }
    });
    sleep(seconds(1)).await;
    assert!(hub.is_draining());
    let mut late = connect(&hub, Wire::V2, user("late"));
    assert_eq!(late.closed().await.0, 1012);
    draining.await.unwrap();
    let mut times = Vec::new();
    let mut delays = std::collections::BTreeSet::new();
    for reader in readers {
        let (code, delay, at) = reader.await.unwrap();
        assert_eq!(code, 1012);
        assert!(delay <= 5_000);
        delays.insert(delay);
        times.push(at.as_millis());
    }
    assert!(delays.len() > 50, "each has a time of its own");
    times.sort_unstable();
    // One each 100 ms.
    for (index, at) in times.iter().enumerate() {
        let due = index as u128 * 100;
        assert!((due..due + 100).contains(at), "{index} at {at} ms");
    }
    hub
}

async fn a_drain_at_once_and_a_second_one() -> Hub {
    let hub = hub(|_| {});
    let mut peers = Vec::new();
    for number in 0..50 {
        peers.push(v2(&hub, user(&number.to_string())).await);
    }
    let slow = tokio::spawn({
        let hub = hub.clone();
        async move { hub.drain(seconds(100), close::RESTART).await }
    });
    sleep(seconds(10)).await;
    hub.drain(Duration::ZERO, close::GOING_AWAY).await;
    let mut codes = std::collections::BTreeMap::new();
    for peer in &mut peers {
        *codes.entry(peer.closed().await.0).or_insert(0) += 1;
    }
    assert_eq!(codes.values().sum::<i32>(), 50);
    assert!((4..=7).contains(&codes[&1012]), "{codes:?}");
    settle().await;
    assert_eq!(hub.all().count(), 0);
    slow.abort();
    assert!(hub.is_draining());
    hub
}

async fn tags_of_a_login_are_joined_before_the_welcome() -> Hub {
    let hub = hub(|config| config.max_tags_per_connection = 2);
    let mut identity = user("ada");
    identity.tags = vec!["a".into(), "b".into(), "b".into(), "one-too-many".into()];
    let mut peer = connect(&hub, Wire::V2, identity);
    let welcome = peer.next().await;
    assert_eq!(welcome["data"]["tags"], json!(["a", "b"]));
    hub.tag("a").send("x", 1).await.unwrap();
    assert_eq!(peer.next().await["ch"], "a");
    assert_eq!(
        peer.ask(r#"{"event":"$unsubscribe","id":1,"ch":"b"}"#)
            .await["code"],
        0
    );
    subscribe(&mut peer, "c").await;
    hub
}
