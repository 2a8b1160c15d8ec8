//! A hub and its clients: sends, answers, joins, ends.

mod support;

use antiphon_hub::{
    code::close,
    config::{HubConfig, LoginPolicy},
    hub::{Client, Hub, SendError},
    router::{Data, Reply},
    wire::Wire,
};
use serde_json::{Value, json};
use support::{anonymous, connect, user, v1, v2};

fn hub() -> Hub {
    Hub::new(HubConfig::default())
}

#[tokio::test(start_paused = true)]
async fn an_event_is_answered_in_both_wires() {
    let hub = hub();
    hub.on("add", |Data((a, b)): Data<(i64, i64)>| async move {
        Reply(a + b)
    });
    let mut peer = v2(&hub, user("ada")).await;
    let answer = peer.ask(r#"{"event":"add","id":7,"data":[1,2]}"#).await;
    assert_eq!(
        (&answer["event"], &answer["id"], &answer["data"]),
        (&json!("add"), &json!(7), &json!(3))
    );
    let answer = peer.ask(r#"{"event":"add","id":8,"data":"x"}"#).await;
    assert_eq!((&answer["id"], &answer["code"]), (&json!(8), &json!(107)));
    let answer = peer.ask(r#"{"event":"nobody","id":9}"#).await;
    assert_eq!(answer["code"], 104);

    hub.on("say", |Data(data): Data<Value>| async move { Reply(data) });
    let mut peer = v1(&hub, anonymous()).await;
    let answer = peer.ask(r#"{"event":"say","data":{"a":1}}"#).await;
    assert_eq!(answer["data"], json!({"a": 1}));
    let answer = peer.ask(r#"{"event":"nobody"}"#).await;
    assert_eq!(answer["code"], -1);
}

#[tokio::test(start_paused = true)]
async fn a_message_meets_whom_it_is_for() {
    let hub = hub();
    let mut ada = v2(&hub, user("ada")).await;
    let mut ada_too = v1(&hub, user("ada")).await;
    let mut bob = v2(&hub, user("bob")).await;
    assert_eq!(
        bob.ask(r#"{"event":"$subscribe","id":1,"ch":"news"}"#)
            .await["code"],
        0
    );

    assert_eq!(hub.user("ada").send("hi", 1).await.unwrap().queued, 2);
    assert_eq!(ada.next().await["event"], "hi");
    assert_eq!(ada_too.next().await["event"], "hi");
    assert_eq!(
        hub.tag("news").send("headline", "x").await.unwrap().queued,
        1
    );
    let headline = bob.next().await;
    assert_eq!(
        (&headline["ch"], &headline["offset"]),
        (&json!("news"), &json!(1))
    );
    assert_eq!(hub.all().send("all", ()).await.unwrap().queued, 3);
    assert!(hub.user("eve").send("hi", 1).await.unwrap().is_nobody());
    assert_eq!(hub.tag("a").send("", 1).await, Err(SendError::Name));
}

#[tokio::test(start_paused = true)]
async fn a_kick_is_told_and_a_close_frame_follows() {
    let hub = hub();
    let mut old = v1(&hub, user("ada")).await;
    let mut new = v2(&hub, user("ada")).await;
    assert_eq!(
        hub.user("ada")
            .disconnect(close::FORCE_NO_RECONNECT)
            .await
            .connections,
        2
    );
    let (code, _, events) = old.closed().await;
    assert_eq!((code, &events[0]["event"]), (3503, &json!("kick")));
    let (code, _, events) = new.closed().await;
    assert_eq!((code, &events[0]["event"]), (3503, &json!("$disconnect")));
    assert_eq!(events[0]["data"]["reconnect"], false);
    old.served.await.unwrap();
    new.served.await.unwrap();
    assert_eq!((hub.all().count(), hub.user("ada").count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_newest_login_wins_where_it_should() {
    let mut config = HubConfig::default();
    config.login = LoginPolicy::Newest;
    let hub = Hub::new(config);
    let mut old = v2(&hub, user("ada")).await;
    let _new = v2(&hub, user("ada")).await;
    assert_eq!(old.closed().await.0, 3511);
    old.served.await.unwrap();
    assert_eq!(hub.user("ada").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_answers_and_ends_nothing() {
    let hub = hub();
    hub.on("panic", |_: Client| async {
        if true {
            panic!("this panic belongs to the test");
        }
    });
    let mut peer = v2(&hub, user("ada")).await;
    assert_eq!(peer.ask(r#"{"event":"panic","id":1}"#).await["code"], 100);
    assert_eq!(peer.ask(r#"{"event":"$ping","id":2}"#).await["code"], 0);
    assert_eq!(hub.stats().handler_panics, 1);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_overtakes_a_handler() {
    let hub = hub();
    hub.on("slow", || {
        tokio::time::sleep(std::time::Duration::from_secs(20))
    });
    let mut peer = connect(&hub, Wire::V1, user("ada"));
    peer.send(r#"{"event":"slow"}"#).await;
    let start = tokio::time::Instant::now();
    assert_eq!(peer.ask(r#"{"event":"ping"}"#).await["event"], "ping");
    assert_eq!(start.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_login_may_end_in_the_farthest_future() {
    let hub = hub();
    let mut identity = user("ada");
    let far = std::time::Duration::from_secs(i64::MAX as u64 / 2);
    identity.expires_at = std::time::SystemTime::UNIX_EPOCH.checked_add(far);
    assert!(identity.expires_at.is_some());
    let mut peer = v2(&hub, identity).await;
    assert_eq!(peer.ask(r#"{"event":"$ping","id":1}"#).await["code"], 0);
}
