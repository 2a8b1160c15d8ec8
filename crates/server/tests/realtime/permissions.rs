//! What clients may do: by their token, by the configuration, by the rules of a tag.

use serde_json::json;

use super::{
    site::{Site, V2, client, jwt},
    token::token_with,
};

#[tokio::test]
async fn what_is_not_allowed_is_refused_with_103() {
    let site = Site::start(
        &(jwt("anonymous = true")
            + r#"
[permissions]
events = ["chat/*"]
join = ["room:*", "user:{user}"]
publish = ["room:*", "quiet"]
presence = ["*"]
anonymous.join = ["public"]

[hooks.rpc]
url = "http://127.0.0.1:9/rpc"
timeout = "200ms"
retries = 0

[[tags]]
pattern = "room:members"
publish = "members"
presence = false

[[tags]]
pattern = "team:*"
publish = "members"

[[tags]]
pattern = "quiet"
publish = "nobody"
"#),
    );
    let mut user = site.user("7").await;
    let more = json!({"permissions": {"join": ["team:*", "quiet"], "publish": ["team:a"]}});
    let mut by_token = site.peer(&token_with("8", more)).await;
    let mut nobody = site.welcomed(&client().subprotocol(V2), "").await;
    for (who, event, data, code) in [
        ("user", "$subscribe", json!({"ch": "room:1"}), 0),
        ("user", "$subscribe", json!({"ch": "room:1"}), 105),
        ("user", "$subscribe", json!({"ch": "user:7"}), 0),
        ("user", "$subscribe", json!({"ch": "user:8"}), 103),
        ("user", "join", json!({"id": "user:8"}), 103),
        ("user", "$publish", json!({"ch": "room:1", "data": 1}), 0),
        ("user", "$publish", json!({"ch": "user:7", "data": 1}), 103),
        // The rule of a tag stands above the permissions where nobody may, and beside them where members may.
        ("user", "$publish", json!({"ch": "quiet", "data": 1}), 103),
        ("user", "$publish", json!({"ch": "team:b", "data": 1}), 103),
        ("user", "$presence", json!({"ch": "room:1"}), 0),
        ("user", "$presence", json!({"ch": "room:members"}), 103),
        ("user", "admin/reset", json!({}), 103),
        // Allowed, and nobody answers behind the hook.
        ("user", "chat/send", json!({}), 100),
        ("user", "$history", json!({"ch": "room:1"}), 108),
        ("user", "$nothing", json!({}), 104),
        ("token", "$subscribe", json!({"ch": "room:1"}), 103),
        ("token", "$subscribe", json!({"ch": "team:b"}), 0),
        ("token", "$publish", json!({"ch": "team:b", "data": 1}), 0),
        ("token", "$publish", json!({"ch": "team:a", "data": 1}), 0),
        ("token", "$publish", json!({"ch": "team:c", "data": 1}), 103),
        ("token", "$subscribe", json!({"ch": "quiet"}), 0),
        ("token", "$publish", json!({"ch": "quiet", "data": 1}), 103),
        // Whoever is in a tag may ask who else is.
        ("token", "$presence", json!({"ch": "team:b"}), 0),
        ("token", "$presence", json!({"ch": "team:a"}), 103),
        ("token", "chat/send", json!({}), 103),
        ("nobody", "$subscribe", json!({"ch": "public"}), 0),
        ("nobody", "$subscribe", json!({"ch": "room:1"}), 103),
        (
            "nobody",
            "$publish",
            json!({"ch": "public", "data": 1}),
            103,
        ),
        ("nobody", "$presence", json!({"ch": "news"}), 103),
        ("nobody", "chat/send", json!({}), 103),
    ] {
        let peer = match who {
            "user" => &mut user,
            "token" => &mut by_token,
            _ => &mut nobody,
        };
        let reply = peer.ask(event, data.clone()).await;
        assert_eq!(reply["code"], code, "{who} {event} {data}: {reply}");
    }
    let denied = site
        .counted(
            "antiphon_messages_refused_total{reason=\"not_allowed\"}",
            1.0,
        )
        .await;
    assert!(denied >= 1.0, "{denied}");
}

#[tokio::test]
async fn a_refusal_on_v1_has_code_minus_1() {
    let site = Site::start(&(jwt("anonymous = true") + "\n[permissions]\njoin = [\"room:*\"]\n"));
    let mut peer = site.open(&client(), "").await;
    for (event, data, words) in [
        ("join", json!({"id": "room:1"}), "permission denied"),
        ("no/such/event", json!({}), "nobody handles"),
    ] {
        peer.send(json!({"event": event, "data": data})).await;
        let reply = peer.next().await;
        assert_eq!(
            (&reply["event"], &reply["code"]),
            (&json!(event), &json!(-1)),
            "{reply}"
        );
        assert!(
            reply["errorMsg"]
                .as_str()
                .is_some_and(|said| !said.is_empty()),
            "{words}: {reply}"
        );
    }
}

#[tokio::test]
async fn without_a_handler_an_event_is_unknown() {
    let site = Site::start(&jwt(""));
    let mut peer = site.user("7").await;
    assert_eq!(peer.code("chat/send", json!({})).await, 104);
    // Every problem of a message has its answer, and the connection goes on.
    for (text, code) in [
        ("{", 107),
        ("[]", 107),
        (r#"{"event":""}"#, 107),
        (r#"{"event":"x","id":0}"#, 107),
    ] {
        peer.socket.send(text).await.expect("it is open");
        let reply = peer.next().await;
        assert_eq!(reply["code"], code, "{text}: {reply}");
    }
    assert_eq!(peer.code("$ping", json!(null)).await, 0);
    for (sample, least) in [
        (
            "antiphon_messages_refused_total{reason=\"unknown_event\"}",
            1.0,
        ),
        (
            "antiphon_messages_refused_total{reason=\"unreadable\"}",
            4.0,
        ),
    ] {
        let found = site.counted(sample, least).await;
        assert!((found - least).abs() < 0.1, "{sample}: {found}");
    }
}
