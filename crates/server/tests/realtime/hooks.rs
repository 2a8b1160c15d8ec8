//! A backend decides, and is told.

use serde_json::{Value, json};

use super::{
    backend::{Backend, Question, SECRET},
    site::{Site, V2, client, jwt},
    token::{token, token_with},
};

/// What the backend of these tests answers.
fn answer(question: &Question) -> Option<Value> {
    let body = &question.body;
    let user = body["user"].as_str().unwrap_or_default();
    Some(match (question.path.as_str(), user) {
        ("/connect", "banned") => json!({"disconnect": {"code": 4501, "reason": "banned"}}),
        ("/connect", "full") => json!({"error": {"code": 1000, "message": "the house is full"}}),
        ("/connect", "broken") => return None,
        ("/connect", "") => json!({"result": {
            "user": "named", "info": {"name": "Ada"}, "data": {"motd": "hello"}, "channels": ["news"],
            "meta": {"shard": 3}, "permissions": {"join": ["room:*"], "publish": ["*"], "events": ["*"], "presence": ["*"]},
        }}),
        ("/connect", "guest") => json!({"result": {"permissions": {"join": ["lobby"]}}}),
        ("/connect", _) => json!({"result": {}}),
        ("/subscribe", _) if body["channel"] == "room:closed" => {
            json!({"error": {"code": 1001, "message": "the room is closed"}})
        }
        ("/subscribe", _) if body["channel"] == "room:trap" => {
            json!({"disconnect": {"code": 4000, "reason": "come again"}})
        }
        ("/publish", _) if body["data"] == "bad words" => {
            json!({"error": {"code": 103, "message": "no bad words"}})
        }
        ("/publish", _) => json!({"result": {"data": {"said": body["data"], "by": user}}}),
        ("/rpc", _) if body["method"] == "sum" => {
            let numbers = body["data"].as_array().cloned().unwrap_or_default();
            let sum: i64 = numbers.iter().filter_map(Value::as_i64).sum();
            json!({"result": {"data": {"sum": sum}}})
        }
        ("/rpc", _) => json!({"error": {"code": 1404, "message": "no such method"}}),
        _ => json!({"result": {}}),
    })
}

fn config(backend: &Backend) -> String {
    let at = backend.address;
    let hook =
        |name: &str| format!("\n[hooks.{name}]\nurl = \"http://{at}/{name}\"\nretries = 0\n");
    let mut config = jwt("anonymous = true")
        + "\n[permissions]\njoin = [\"*\"]\npublish = [\"*\"]\n"
        + &format!("\n[hooks]\nsecret = \"{SECRET}\"\nforward_headers = [\"x-region\"]\n");
    for name in ["connect", "subscribe", "publish", "rpc"] {
        config += &hook(name);
    }
    config
}

#[tokio::test]
async fn a_backend_says_who_a_client_is() {
    let backend = Backend::start(answer).await;
    let site = Site::start(&config(&backend));
    let region = client()
        .subprotocol(V2)
        .header("x-region", "north")
        .header("x-other", "secret");
    let mut peer = site.welcomed(&region, "").await;
    assert_eq!(peer.session["user"], "named");
    assert_eq!(peer.session["data"], json!({"motd": "hello"}));
    assert_eq!(peer.session["tags"], json!(["news"]));
    let id = peer.session["client"].clone();
    let question = backend.asked_at("/connect").remove(0);
    assert!(question.is_signed, "{question:?}");
    assert_eq!(question.headers["x-region"], "north");
    assert!(!question.headers.contains_key("x-other"), "{question:?}");
    assert_eq!(
        question.body["client"], id,
        "the id is the one that others see"
    );
    assert_eq!(question.body["transport"], "websocket");
    assert_eq!(question.body["address"], "127.0.0.1");
    let reply = peer.ask("$presence", json!({"ch": "news"})).await;
    let member = &reply["data"]["presence"][id.as_str().expect("it is a text")];
    assert_eq!(member["info"], json!({"name": "Ada"}), "{reply}");
    assert_eq!(peer.code("$subscribe", json!({"ch": "hall"})).await, 103);

    for (user, code) in [("banned", 4501), ("full", 3507), ("broken", 3003)] {
        let client = client()
            .subprotocol(V2)
            .header("authorization", token(user));
        let mut peer = site.open(&client, "").await;
        let (ended, events) = peer.end().await;
        assert_eq!(ended, code, "{user}: {events:?}");
        assert_eq!(
            events.last().map(|event| &event["event"]),
            Some(&json!("$disconnect")),
            "{user}: {events:?}"
        );
    }
    for (sample, least) in [
        ("antiphon_hook_calls_total{hook=\"connect\"}", 4.0),
        ("antiphon_hook_refusals_total{hook=\"connect\"}", 2.0),
        ("antiphon_hook_failures_total{hook=\"connect\"}", 1.0),
    ] {
        let found = site.counted(sample, least).await;
        assert!((found - least).abs() < 0.1, "{sample}: {found}");
    }
}

#[tokio::test]
async fn a_new_token_does_not_take_back_what_the_backend_has_said() {
    let backend = Backend::start(answer).await;
    let site = Site::start(&config(&backend));
    let mut peer = site.user("guest").await;
    for (event, data, code) in [
        ("$subscribe", json!({"ch": "room:1"}), 103),
        ("$subscribe", json!({"ch": "lobby"}), 0),
        ("$refresh", json!({"token": token("guest")}), 0),
        ("$subscribe", json!({"ch": "room:1"}), 103),
    ] {
        let reply = peer.ask(event, data).await;
        assert_eq!(reply["code"], code, "{event}: {reply}");
    }
}

#[tokio::test]
async fn a_backend_decides_about_rooms_and_words_and_answers_events() {
    let backend = Backend::start(answer).await;
    let site = Site::start(&config(&backend));
    let mut peer = site.welcomed(&client().subprotocol(V2), "").await;
    assert_eq!(peer.code("$subscribe", json!({"ch": "room:1"})).await, 0);
    let reply = peer.ask("$subscribe", json!({"ch": "room:closed"})).await;
    assert_eq!(
        (&reply["code"], &reply["errorMsg"]),
        (&json!(1001), &json!("the room is closed")),
        "{reply}"
    );
    assert_eq!(
        backend.asked_at("/subscribe")[0].body["meta"],
        json!({"shard": 3})
    );

    let reply = peer
        .ask(
            "$publish",
            json!({"ch": "room:1", "event": "chat", "data": "hi"}),
        )
        .await;
    assert_eq!(
        (&reply["code"], &reply["data"]["receivers"]),
        (&json!(0), &json!(1)),
        "{reply}"
    );
    let event = peer.next().await;
    assert_eq!(
        (&event["event"], &event["ch"]),
        (&json!("chat"), &json!("room:1")),
        "{event}"
    );
    assert_eq!(event["data"], json!({"said": "hi", "by": "named"}));
    let reply = peer
        .ask("$publish", json!({"ch": "room:1", "data": "bad words"}))
        .await;
    assert_eq!(
        (&reply["code"], &reply["errorMsg"]),
        (&json!(103), &json!("no bad words")),
        "{reply}"
    );

    let reply = peer.ask("sum", json!([1, 2, 39])).await;
    assert_eq!(
        (&reply["code"], &reply["data"]),
        (&json!(0), &json!({"sum": 42})),
        "{reply}"
    );
    assert_eq!(peer.code("divide", json!([1, 0])).await, 1404);
    assert!(backend.asked().iter().all(|question| question.is_signed));

    let reply = peer.ask("$subscribe", json!({"ch": "room:trap"})).await;
    assert_ne!(reply["code"], 0, "{reply}");
    assert_eq!(peer.end().await.0, 4000);
}

#[tokio::test]
async fn without_the_backend_there_is_code_100_and_the_connection_stays() {
    let mut backend = Backend::start(answer).await;
    let site = Site::start(&config(&backend));
    let mut peer = site.welcomed(&client().subprotocol(V2), "").await;
    backend.stop().await;
    for (event, data) in [
        ("sum", json!([1])),
        ("$subscribe", json!({"ch": "room:1"})),
        ("$publish", json!({"ch": "news", "data": 1})),
    ] {
        let reply = peer.ask(event, data).await;
        assert_eq!(
            (&reply["code"], &reply["temporary"]),
            (&json!(100), &json!(true)),
            "{event}: {reply}"
        );
    }
    assert_eq!(peer.code("$ping", json!(null)).await, 0);
    let mut late = site.open(&client().subprotocol(V2), "").await;
    assert_eq!(late.end().await.0, 3003, "no answer is never a yes");
    let failures = site
        .counted("antiphon_hook_failures_total{hook=\"rpc\"}", 1.0)
        .await;
    assert!((failures - 1.0).abs() < 0.1, "{failures}");
}

/// `type`, and whom it is about.
fn told(backend: &Backend) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    backend
        .asked_at("/events")
        .iter()
        .flat_map(|batch| batch.body["events"].as_array().cloned().unwrap_or_default())
        .map(|event| {
            let about = if event["tag"].is_null() {
                &event["user"]
            } else {
                &event["tag"]
            };
            (text(&event["type"]), text(about))
        })
        .collect()
}

#[cfg(unix)]
#[tokio::test]
async fn a_backend_is_told_in_order_who_comes_and_goes() {
    let backend = Backend::start(answer).await;
    let mut site = Site::start(&format!(
        "drain = \"200ms\"\n{}\n[webhooks]\nurl = \"http://{}/events\"\nsecret = \"{SECRET}\"\nbatch_delay = \"20ms\"\n",
        jwt(""),
        backend.address
    ));
    let mut peer = site
        .peer(&token_with("7", json!({"jti": "s1", "app": "web"})))
        .await;
    assert_eq!(peer.code("$subscribe", json!({"ch": "room:1"})).await, 0);
    assert_eq!(peer.code("$unsubscribe", json!({"ch": "room:1"})).await, 0);
    let mut second = site.user("7").await;
    assert_eq!(second.code("$subscribe", json!({"ch": "room:2"})).await, 0);
    let _ = peer.socket.close(1000, "bye").await;
    site.until("the first end", async || {
        told(&backend).iter().any(|(kind, _)| kind == "disconnect")
    })
    .await;
    // What waits at the end is told before the end.
    site.signal(rustix::process::Signal::TERM);
    let (code, _) = second.end().await;
    assert_eq!(code, 1012);
    assert_eq!(site.ended().await, Some(0), "{}", site.log());
    let expected = [
        ("user_online", "7"),
        ("connect", "7"),
        ("tag_occupied", "room:1"),
        ("tag_vacated", "room:1"),
        ("connect", "7"),
        ("tag_occupied", "room:2"),
        ("disconnect", "7"),
        ("tag_vacated", "room:2"),
        ("user_offline", "7"),
        ("disconnect", "7"),
    ];
    let expected = expected.map(|(kind, about)| (kind.to_owned(), about.to_owned()));
    assert_eq!(told(&backend), expected);
    let batches = backend.asked_at("/events");
    let mut last = 0;
    for batch in &batches {
        assert!(batch.is_signed, "{batch:?}");
        assert_eq!(batch.body["dropped"], 0);
        for event in batch.body["events"].as_array().expect("it is a list") {
            last += 1;
            assert_eq!(event["seq"], last, "{event}");
        }
    }
    let events: Vec<&Value> = batches
        .iter()
        .filter_map(|batch| batch.body["events"].as_array())
        .flatten()
        .collect();
    let connect = events
        .iter()
        .find(|event| event["type"] == "connect")
        .expect("it was told");
    assert_eq!(
        (&connect["session"], &connect["app"]),
        (&json!("s1"), &json!("web")),
        "{connect}"
    );
    assert_eq!(connect["address"], "127.0.0.1");
    let ends: Vec<_> = events
        .iter()
        .filter(|event| event["type"] == "disconnect")
        .map(|event| &event["code"])
        .collect();
    assert_eq!(ends, [1000, 1012]);
}
