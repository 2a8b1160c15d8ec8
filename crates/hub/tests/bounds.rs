//! Each bound of a hub has a counter, which says that it was reached.

mod support;

use std::time::Duration;

use antiphon::{Config, Message, Role, Violation, WebSocket};
use antiphon_hub::{
    code::close,
    config::HubConfig,
    hub::Hub,
    occurrence::Side,
    presence::HubStats,
    session::Hello,
    wire::{MAX_BATCH, MAX_NAME, Wire},
};
use support::{Peer, connect, connect_with, user, v2};

/// A hub with narrow bounds.
fn hub() -> Hub {
    let mut config = HubConfig::default();
    config.max_connections_per_user = 1;
    config.max_tags_per_connection = 1;
    config.max_inbox = 1;
    config.max_handlers = 1;
    let hub = Hub::new(config);
    hub.on("slow", || tokio::time::sleep(Duration::from_secs(1)));
    hub
}

async fn said(hub: &Hub, texts: &[&str]) -> Peer {
    let mut peer = v2(hub, user("ada")).await;
    for text in texts {
        peer.send(*text).await;
    }
    // Behind everything else.
    peer.send(r#"{"event":"$ping","id":99}"#).await;
    while peer.next().await["id"] != 99 {}
    peer
}

/// Says this to a hub with narrow bounds, and looks at a counter.
async fn check(texts: &[&str], counter: fn(&HubStats) -> u64, expected: u64) {
    let hub = hub();
    let _peer = said(&hub, texts).await;
    assert_eq!(counter(&hub.stats()), expected, "{texts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_goes_too_far_is_counted_by_the_bound() {
    let deep = format!(
        r#"{{"event":"e","data":{}{}}}"#,
        "[".repeat(99),
        "]".repeat(99)
    );
    let long = format!(r#"{{"event":"{}"}}"#, "e".repeat(MAX_NAME + 1));
    let batch = "{\"event\":\"$ping\"}\n".repeat(MAX_BATCH + 1);
    let join = |tag| format!(r#"{{"event":"$subscribe","id":1,"data":{{"ch":"{tag}"}}}}"#);
    let (first, second) = (join("a"), join("b"));
    let slow = r#"{"event":"slow"}"#;
    check(&[&deep], |stats| stats.too_deep, 1).await;
    check(&[&long], |stats| stats.long_names, 1).await;
    check(&[&batch], |stats| stats.large_batches, 1).await;
    check(&[&deep, &long, &batch], |stats| stats.bad_messages, 3).await;
    check(&[&first], |stats| stats.refused_tags, 0).await;
    check(&[&first, &second], |stats| stats.refused_tags, 1).await;
    check(&[slow], |stats| stats.full_inboxes, 0).await;
    check(&[slow, slow, slow, slow], |stats| stats.full_inboxes, 2).await;
    check(&[slow, slow, slow, slow], |stats| stats.refused_messages, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_for_its_turn_is_counted() {
    let hub = hub();
    let _first = said(&hub, &[r#"{"event":"slow"}"#]).await;
    assert_eq!(hub.stats().delayed_handlers, 0);
    let second = connect(&hub, Wire::V1, user("bob"));
    second.send(r#"{"event":"slow"}"#).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(hub.stats().delayed_handlers, 1);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_late_or_one_too_many_is_counted() {
    let hub = hub();
    let mut silent = connect_with(&hub, Wire::V2, Hello::default(), 4096);
    assert_eq!(silent.closed().await.0, close::STALE.code);
    let stats = hub.stats();
    assert_eq!(
        (stats.authentication_timeouts, stats.refused_logins),
        (1, 1)
    );

    let _first = v2(&hub, user("ada")).await;
    let mut second = connect(&hub, Wire::V2, user("ada"));
    assert_eq!(second.closed().await.0, close::CONNECTION_LIMIT.code);
    let stats = hub.stats();
    assert_eq!((stats.refused_users, stats.refused_logins), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn the_cause_of_an_end_names_the_rule_that_was_broken() {
    let hub = hub();
    let (near, far) = tokio::io::duplex(4096);
    let mut config = Config::default();
    config.max_message_size = 16;
    let server = WebSocket::from_io(far, Role::Server, config);
    let client = WebSocket::from_io(near, Role::Client, Config::default());
    let hello = Hello::from_identity(user("ada"));
    let send = client.send(Message::from("x".repeat(17)));
    let (cause, sent) = tokio::join!(hub.serve_as(server, Wire::V1, hello), send);
    sent.unwrap();
    assert_eq!((cause.by, cause.code), (Side::Server, 1009));
    assert_eq!(
        cause.violation,
        Some(Violation::MessageTooBig { limit: 16 })
    );
    let json = serde_json::to_value(&cause).unwrap();
    assert_eq!(json.get("violation"), None);
}
