//! The end of a token is the end of its socket.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::{
    site::{Site, jwt},
    token::{now, token_with},
};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Lets the socket of a token end, and checks that it ends at this second and not before.
async fn ends_at(site: &Site, token: &str, second: u64) {
    let mut peer = site.peer(token).await;
    let (code, events) = peer.end().await;
    let ended = SystemTime::now();
    assert_eq!(code, 3004, "{events:?}");
    let goodbye = events.last().expect("a goodbye comes");
    assert_eq!(goodbye["event"], "$disconnect", "{goodbye}");
    assert_eq!(goodbye["data"]["reconnect"], true, "{goodbye}");
    assert!(
        ended >= at(second),
        "{:?} early",
        at(second).duration_since(ended)
    );
    let late = ended.duration_since(at(second)).unwrap_or_default();
    assert!(late < Duration::from_secs(3), "{late:?} late");
}

#[tokio::test]
async fn a_socket_ends_with_its_token_unless_a_new_one_comes() {
    let site = Site::start(&jwt("leeway = \"0s\""));
    let end = now() + 3;
    let short = token_with("7", json!({"exp": end}));
    let mut kept = site.peer(&short).await;
    let reply = kept
        .ask("$refresh", json!({"token": token_with("8", json!({}))}))
        .await;
    assert_eq!(
        reply["code"], 103,
        "a token of another user is refused: {reply}"
    );
    let longer = token_with("7", json!({"exp": end + 60}));
    let reply = kept.ask("$refresh", json!({"token": longer})).await;
    assert_eq!(reply["code"], 0, "{reply}");
    assert!(
        reply["data"]["ttl"].as_u64().is_some_and(|ttl| ttl > 50),
        "{reply}"
    );
    ends_at(&site, &short, end).await;
    assert_eq!(kept.code("$ping", json!(null)).await, 0);
    let answer = site.handshake(&format!("?token={short}"), "").await;
    assert_eq!(
        answer.json()["error"]["reason"],
        "token_expired",
        "{answer:?}"
    );
    let ended = site
        .counted(
            "antiphon_closes_total{by=\"server\",code=\"3004\",reason=\"token expired\"}",
            1.0,
        )
        .await;
    assert!((ended - 1.0).abs() < 0.1, "{ended}");
}

#[tokio::test]
async fn a_token_within_the_leeway_is_over_when_that_is() {
    let site = Site::start(&jwt("leeway = \"4s\""));
    let end = now() - 1;
    ends_at(&site, &token_with("7", json!({"exp": end})), end + 4).await;
}
