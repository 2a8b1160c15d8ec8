//! Every call, every refusal and every bound, against a hub with clients in memory. (This is long because each row is
//! a request and what it answers.)

mod hotgo;
mod support;

use std::time::Duration;

use antiphon_hub::{code::close, wire::Wire};
use http::{StatusCode, header};
use serde_json::{Value, json};

use self::support::{KEY, World, connect};
use crate::api::table::TABLE;

#[tokio::test(start_paused = true)]
async fn a_publication_meets_the_members_as_an_event() {
    let world = World::new().await;
    for (call, params, event, data) in [
        (
            "publish",
            json!({"channel": "news", "data": {"a": 1}}),
            "message",
            json!({"a": 1}),
        ),
        (
            "publish",
            json!({"channel": "news", "data": null}),
            "message",
            Value::Null,
        ),
        (
            "publish",
            json!({"channel": "news", "data": 1, "event": "headline", "skip_history": true, "tags": {"x": "y"}, "delta": false, "unknown": []}),
            "headline",
            json!(1),
        ),
        (
            "publish",
            json!({"channel": "news", "b64data": "eyJiIjoyfQ=="}),
            "message",
            json!({"b": 2}),
        ),
        (
            "broadcast",
            json!({"channels": ["news"], "data": "x"}),
            "message",
            json!("x"),
        ),
        (
            "send",
            json!({"target": {"tag": "news"}, "event": "e", "data": [1]}),
            "e",
            json!([1]),
        ),
        (
            "send",
            json!({"target": {"user": "ada"}, "event": "e", "data": 5}),
            "e",
            json!(5),
        ),
        (
            "send",
            json!({"target": {"all": true}, "event": "e", "data": 6, "key": "k", "overflow": "drop"}),
            "e",
            json!(6),
        ),
        (
            "send",
            json!({"target": {"connection": world.ada.id}, "event": "e", "data": 7}),
            "e",
            json!(7),
        ),
    ] {
        let answer = world.call(call, &params).await;
        let delivery = match call {
            "publish" => &answer["result"]["delivery"],
            "broadcast" => &answer["result"]["responses"][0]["result"]["delivery"],
            _ => &answer["result"],
        };
        assert_eq!(delivery["queued"], 1, "{params}: {answer}");
        let mut ada = world.ada.reader().await;
        let message = ada.next().await;
        assert_eq!(message["event"], event, "{params}");
        assert_eq!(
            message.get("data").unwrap_or(&Value::Null),
            &data,
            "{params}"
        );
    }
    let except = json!({"target": {"all": true}, "event": "e", "except": world.ada.id});
    assert_eq!(world.call("send", &except).await["result"]["receivers"], 0);
    let nobody = world
        .call("publish", &json!({"channel": "empty", "data": 1}))
        .await;
    assert_eq!(nobody["result"]["delivery"]["receivers"], 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_parameters_is_told_with_its_path() {
    let world = World::new().await;
    let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
    let long = "x".repeat(256);
    let id = "0000000000000000000000000000000";
    for (call, params, code, message) in [
        (
            "publish",
            r#"{"channel": 5, "data": 1}"#.to_owned(),
            107,
            "channel: invalid type: integer `5`, expected a string",
        ),
        (
            "publish",
            r#"{"data": 1}"#.into(),
            107,
            "missing field `channel`",
        ),
        ("publish", "[]".into(), 107, "invalid length 0"),
        ("publish", "7".into(), 107, "invalid type: integer `7`"),
        (
            "publish",
            r#"{"channel": "a"}"#.into(),
            107,
            "data: missing",
        ),
        (
            "publish",
            r#"{"channel": "", "data": 1}"#.into(),
            107,
            "channel: empty",
        ),
        (
            "publish",
            format!(r#"{{"channel": "{long}", "data": 1}}"#),
            107,
            "channel: longer than 255 bytes",
        ),
        (
            "publish",
            format!(r#"{{"channel": "a", "data": {deep}}}"#),
            107,
            "data: more than 64 arrays",
        ),
        (
            "publish",
            r#"{"channel": "a", "data": 1, "event": "$x"}"#.into(),
            107,
            "event: names with $",
        ),
        (
            "publish",
            r#"{"channel": "a", "data": 1, "event": ""}"#.into(),
            107,
            "event: empty",
        ),
        (
            "publish",
            r#"{"channel": "a", "b64data": "!"}"#.into(),
            107,
            "b64data: ",
        ),
        (
            "publish",
            r#"{"channel": "a", "b64data": "aGFsbG8="}"#.into(),
            107,
            "b64data: ",
        ),
        (
            "publish",
            format!(r#"{{"channel": "a", "data": 1, "idempotency_key": "{long}"}}"#),
            107,
            "idempotency_key: longer",
        ),
        (
            "broadcast",
            r#"{"channels": [], "data": 1}"#.into(),
            107,
            "channels: at least one",
        ),
        (
            "broadcast",
            r#"{"channels": ["a", 1], "data": 1}"#.into(),
            107,
            "channels[1]: invalid type",
        ),
        (
            "broadcast",
            r#"{"channels": ["1","2","3","4","5"], "data": 1}"#.into(),
            106,
            "channels: at most 4",
        ),
        (
            "send",
            r#"{"target": {}, "event": "e"}"#.into(),
            107,
            "target: exactly one",
        ),
        (
            "send",
            r#"{"target": {"all": false}, "event": "e"}"#.into(),
            107,
            "target: exactly one",
        ),
        (
            "send",
            r#"{"target": {"all": true, "user": "a"}, "event": "e"}"#.into(),
            107,
            "target: exactly one",
        ),
        (
            "send",
            r#"{"target": {"user": 1}, "event": "e"}"#.into(),
            107,
            "target.user: invalid type",
        ),
        (
            "send",
            format!(r#"{{"target": {{"connection": "{id}"}}, "event": "e"}}"#),
            107,
            "target.connection: a connection id is",
        ),
        (
            "send",
            r#"{"target": {"all": true}, "event": "e", "overflow": "x"}"#.into(),
            107,
            "overflow: unknown variant",
        ),
        (
            "send",
            r#"{"target": {"all": true}, "event": "e", "except": "x"}"#.into(),
            107,
            "except: a connection id is",
        ),
        (
            "send",
            r#"{"target": {"all": true}, "event": "e", "key": ""}"#.into(),
            107,
            "key: empty",
        ),
        (
            "subscribe",
            r#"{"channel": "a"}"#.into(),
            107,
            "user: one of",
        ),
        (
            "subscribe",
            r#"{"channel": "a", "user": ""}"#.into(),
            107,
            "user: one of",
        ),
        (
            "subscribe",
            r#"{"channel": "", "user": "a"}"#.into(),
            107,
            "channel: empty",
        ),
        (
            "unsubscribe",
            r#"{"channel": "a", "user": "a", "client": "x"}"#.into(),
            107,
            "client: a connection id is",
        ),
        (
            "presence",
            r#"{"channel": ""}"#.into(),
            107,
            "channel: empty",
        ),
        (
            "presence_stats",
            "{}".into(),
            107,
            "missing field `channel`",
        ),
        (
            "channels",
            r#"{"limit": 0}"#.into(),
            107,
            "limit: 1 to 10000",
        ),
        (
            "channels",
            r#"{"limit": -1}"#.into(),
            107,
            "limit: invalid value",
        ),
        (
            "history",
            r#"{"channel": "a", "limit": 1}"#.into(),
            108,
            "messages are not kept",
        ),
        (
            "history_remove",
            r#"{"channel": "a"}"#.into(),
            108,
            "messages are not kept",
        ),
        (
            "connections",
            r#"{"limit": 1001}"#.into(),
            107,
            "limit: 1 to 1000",
        ),
        (
            "connections",
            r#"{"offset": 100001}"#.into(),
            107,
            "offset: at most 100000",
        ),
        (
            "connections",
            r#"{"since": "x"}"#.into(),
            107,
            "since: invalid type",
        ),
        ("users", r#"{"limit": 0}"#.into(), 107, "limit: 1 to 1000"),
        ("disconnect", "{}".into(), 107, "user: one of"),
        (
            "disconnect",
            r#"{"user": "a", "disconnect": {"code": 1000}}"#.into(),
            107,
            "disconnect.code: 3000 to 4999",
        ),
        (
            "disconnect",
            r#"{"user": "a", "whitelist": ["x"]}"#.into(),
            107,
            "whitelist[0]: a connection id is",
        ),
        (
            "disconnect",
            r#"{"user": "a", "whitelist": ["1","2","3","4","5"]}"#.into(),
            106,
            "whitelist: at most 4",
        ),
        (
            "kick",
            r#"{"user": "a", "code": 2999}"#.into(),
            107,
            "code: 3000 to 4999",
        ),
        (
            "kick",
            r#"{"connection": "x"}"#.into(),
            107,
            "connection: a connection id is",
        ),
        (
            "refresh",
            r#"{"user": "a", "expire_at": 18446744073709551615}"#.into(),
            107,
            "expire_at: no time",
        ),
        ("revoke", "{}".into(), 107, "user: exactly one"),
        (
            "revoke",
            r#"{"user": "a", "session": "b"}"#.into(),
            107,
            "user: exactly one",
        ),
        ("batch", "{}".into(), 107, "missing field `commands`"),
        (
            "batch",
            r#"{"commands": [{},{},{},{},{}]}"#.into(),
            106,
            "commands: at most 4",
        ),
    ] {
        let (status, _, answer) = world.post(&format!("/api/{call}"), &params).await;
        assert_eq!(status, StatusCode::OK, "{call} {params}: {answer}");
        assert_eq!(answer["error"]["code"], code, "{call} {params}: {answer}");
        let said = answer["error"]["message"].as_str().unwrap();
        assert!(said.starts_with(message), "{call} {params}: {said}");
    }
    assert!(world.state.stats().errors > 40);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_reaches_no_call_has_a_status() {
    let world = World::new().await;
    let large = "x".repeat(2049);
    for (method, path, key, body, status, code, reason) in [
        (
            "POST",
            "/api/publish",
            KEY,
            "{",
            400,
            107,
            json!("bad_json"),
        ),
        (
            "POST",
            "/api/publish",
            KEY,
            r#"{"channel":"a","data":1} x"#,
            400,
            107,
            json!("bad_json"),
        ),
        (
            "POST",
            "/api/batch",
            KEY,
            "nonsense",
            400,
            107,
            json!("bad_json"),
        ),
        ("POST", "/api", KEY, "nonsense", 400, 107, json!("bad_json")),
        (
            "POST",
            "/api/publish",
            "",
            "{}",
            401,
            101,
            json!("missing_key"),
        ),
        (
            "POST",
            "/api/publish?api_key=0123456789abcdef-publish-only",
            "",
            "{}",
            401,
            101,
            json!("missing_key"),
        ),
        ("POST", "/api", "", "{}", 401, 101, json!("missing_key")),
        (
            "POST",
            "/api/batch",
            "wrong",
            "{}",
            401,
            101,
            json!("unknown_key"),
        ),
        (
            "POST",
            "/api/publish",
            "0123456789abcdef-publish-onlx",
            "{}",
            401,
            101,
            json!("unknown_key"),
        ),
        ("POST", "/api/nonsense", KEY, "{}", 404, 104, Value::Null),
        (
            "GET",
            "/api/publish",
            KEY,
            "",
            405,
            107,
            json!("wrong_method"),
        ),
        (
            "POST",
            "/api/openapi.json",
            KEY,
            "{}",
            405,
            107,
            json!("wrong_method"),
        ),
        (
            "POST",
            "/api/publish",
            KEY,
            large.as_str(),
            413,
            106,
            json!("too_large"),
        ),
    ] {
        let (got, headers, answer) = world.ask(method, path, key, body).await;
        assert_eq!(got.as_u16(), status, "{method} {path}: {answer}");
        assert_eq!(answer["error"]["code"], code, "{method} {path}: {answer}");
        assert_eq!(
            answer["error"]["reason"], reason,
            "{method} {path}: {answer}"
        );
        assert_eq!(headers[header::CONTENT_TYPE], "application/json");
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(headers.contains_key(header::ALLOW), status == 405);
        assert_eq!(
            headers.contains_key(header::WWW_AUTHENTICATE),
            status == 401
        );
    }
    let stats = world.state.stats();
    assert_eq!((stats.unauthorized, stats.too_large), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn a_key_does_what_its_scopes_say() {
    let world = World::new().await;
    for row in TABLE {
        for (key, allowed) in [
            (KEY, true),
            (
                "0123456789abcdef-publish-only",
                row.scope.name() == "publish" || row.scope.name() == "*",
            ),
            (
                "0123456789abcdef-the-watcher",
                ["presence", "connections", "info", "*"].contains(&row.scope.name()),
            ),
        ] {
            let (status, _, answer) = world
                .ask("POST", &format!("/api/{}", row.name), key, "{}")
                .await;
            assert_eq!(
                status == StatusCode::FORBIDDEN,
                !allowed,
                "{} {key}: {answer}",
                row.name
            );
            if !allowed {
                assert_eq!(answer["error"]["code"], 103);
                assert_eq!(answer["error"]["reason"], "missing_scope");
            }
        }
    }
    let batch = json!({"commands": [{"publish": {"channel": "a", "data": 1}}, {"info": {}}]});
    let (_, _, answer) = world
        .ask(
            "POST",
            "/api/batch",
            "0123456789abcdef-publish-only",
            &batch.to_string(),
        )
        .await;
    assert!(answer["replies"][0]["publish"].is_object(), "{answer}");
    assert_eq!(answer["replies"][1]["error"]["code"], 103);
    let old = r#"{"method":"info"}"#;
    let (_, _, answer) = world
        .ask("POST", "/api", "0123456789abcdef-publish-only", old)
        .await;
    assert_eq!(answer["error"]["code"], 103);
    assert!(world.state.stats().forbidden > 10);
}

#[tokio::test(start_paused = true)]
async fn too_many_wrong_keys_have_to_wait_and_right_ones_go_on() {
    let world = World::new().await;
    for _ in 0..10 {
        assert_eq!(world.ask("POST", "/api/info", "wrong", "").await.0, 401);
    }
    let (status, headers, answer) = world.ask("POST", "/api/info", "wrong", "").await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(headers[header::RETRY_AFTER], "60");
    assert_eq!(answer["error"]["code"], 111);
    assert_eq!(answer["error"]["reason"], "too_many_failures");
    assert_eq!(world.ask("POST", "/api/info", KEY, "").await.0, 200);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(world.ask("POST", "/api/info", "wrong", "").await.0, 401);
    assert_eq!(world.state.stats().throttled, 1);
}

#[tokio::test(start_paused = true)]
async fn a_reload_brings_other_keys() {
    let world = World::new().await;
    let mut settings = support::settings();
    settings.keys.clear();
    world.state.reload(&settings);
    assert_eq!(world.ask("POST", "/api/info", KEY, "").await.0, 401);
    world.state.reload(&support::settings());
    assert_eq!(world.ask("POST", "/api/info", KEY, "").await.0, 200);
    assert!(!format!("{:?}", world.state).contains(KEY));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_publication_is_sent_once() {
    let world = World::new().await;
    let params = json!({"channel": "news", "data": 1, "idempotency_key": "k"});
    let first = world.call("publish", &params).await;
    assert_eq!(world.call("publish", &params).await, first);
    let broadcast = json!({"channels": ["news", "other"], "data": 2, "idempotency_key": "k"});
    let answer = world.call("broadcast", &broadcast).await;
    assert_eq!(answer["result"]["responses"][0]["result"], first["result"]);
    let sent = json!({"target": {"tag": "news"}, "event": "e", "idempotency_key": "k"});
    world.call("send", &sent).await;
    assert_eq!(world.hub.stats().published, 3);
    assert_eq!(world.state.stats().repeated, 2);
}

#[tokio::test(start_paused = true)]
async fn connections_join_and_leave_channels() {
    let world = World::new().await;
    let id = &world.ada.id;
    for (call, params, changed) in [
        ("subscribe", json!({"user": "ada", "channel": "x"}), 1),
        ("subscribe", json!({"user": "ada", "channel": "x"}), 0),
        ("unsubscribe", json!({"user": "ada", "channel": "x"}), 1),
        ("unsubscribe", json!({"user": "ada", "channel": "x"}), 0),
        (
            "subscribe",
            json!({"user": "ada", "client": id, "channel": "x"}),
            1,
        ),
        (
            "unsubscribe",
            json!({"client": id, "channel": "x", "info": 1}),
            1,
        ),
        (
            "subscribe",
            json!({"user": "bob", "client": id, "channel": "x"}),
            0,
        ),
        ("subscribe", json!({"session": "s-ada", "channel": "x"}), 1),
        ("subscribe", json!({"session": "s-bob", "channel": "y"}), 0),
        ("subscribe", json!({"user": "nobody", "channel": "x"}), 0),
    ] {
        let answer = world.call(call, &params).await;
        assert_eq!(
            answer,
            json!({"result": {"connections": changed}}),
            "{params}"
        );
    }
    let (presence, stats) = (json!({"channel": "x"}), json!({"channel": "x"}));
    assert_eq!(
        world.call("presence", &presence).await,
        json!({"result": {"presence": {id: {"client": id, "user": "ada", "conn_info": {"name": "Ada"}}}}})
    );
    assert_eq!(
        world.call("presence_stats", &stats).await,
        json!({"result": {"num_clients": 1, "num_users": 1}})
    );
    for (params, channels) in [
        (
            json!({}),
            json!({"news": {"num_clients": 1}, "x": {"num_clients": 1}}),
        ),
        (
            json!({"pattern": "n*"}),
            json!({"news": {"num_clients": 1}}),
        ),
        (json!({"limit": 1}), json!({"news": {"num_clients": 1}})),
        (json!({"after": "news"}), json!({"x": {"num_clients": 1}})),
    ] {
        let answer = world.call("channels", &params).await;
        assert_eq!(
            answer,
            json!({"result": {"channels": channels}}),
            "{params}"
        );
    }
    let many: Vec<Value> = (0..4)
        .map(|n| json!({"subscribe": {"user": "ada", "channel": format!("t{n}")}}))
        .collect();
    let answer = world.call("batch", &json!({"commands": many})).await;
    assert_eq!(answer["replies"][3]["error"]["code"], 106, "{answer}");
}

#[tokio::test(start_paused = true)]
async fn lists_have_filters_and_pages() {
    let world = World::new().await;
    let _bob = connect(&world.hub, Wire::V1, support::user("bob")).await;
    for (params, users, total) in [
        (json!({}), vec!["ada", "bob"], 2),
        (json!({"user": "bob"}), vec!["bob"], 1),
        (json!({"tag": "news"}), vec!["ada"], 1),
        (json!({"app": "none"}), vec![], 0),
        (json!({"address": "192."}), vec![], 0),
        (json!({"since": 4_000_000_000_000_u64}), vec![], 0),
        (
            json!({"until": 4_000_000_000_000_u64}),
            vec!["ada", "bob"],
            2,
        ),
        (json!({"limit": 1}), vec!["ada"], 2),
        (json!({"limit": 1, "offset": 1}), vec!["bob"], 2),
    ] {
        let answer = world.call("connections", &params).await;
        let list = answer["result"]["connections"].as_array().unwrap();
        let found: Vec<&str> = list
            .iter()
            .map(|each| each["user"].as_str().unwrap())
            .collect();
        assert_eq!(
            (found, &answer["result"]["total"]),
            (users, &json!(total)),
            "{params}"
        );
    }
    let one = world.call("connections", &json!({"user": "ada"})).await;
    let one = &one["result"]["connections"][0];
    assert_eq!(one["id"], world.ada.id);
    assert_eq!(
        (&one["wire"], &one["tags"], &one["session"]),
        (&json!("v2"), &json!(["news"]), &json!("s-ada"))
    );
    assert_eq!(one["info"], json!({"name": "Ada"}));
    for (params, users) in [
        (
            json!({}),
            json!([{"user": "ada", "connections": 1}, {"user": "bob", "connections": 1}]),
        ),
        (
            json!({"after": "ada"}),
            json!([{"user": "bob", "connections": 1}]),
        ),
        (
            json!({"limit": 1}),
            json!([{"user": "ada", "connections": 1}]),
        ),
    ] {
        let answer = world.call("users", &params).await;
        assert_eq!(
            answer,
            json!({"result": {"users": users, "total": 2}}),
            "{params}"
        );
    }
    let info = world.call("info", &json!({})).await;
    let node = &info["result"]["nodes"][0];
    assert_eq!(
        (&node["name"], &node["num_clients"], &node["num_users"]),
        (&json!("node-1"), &json!(2), &json!(2))
    );
    assert_eq!(node["hub"]["connections"], 2);
}

#[tokio::test(start_paused = true)]
async fn connections_are_closed_with_the_right_code() {
    for (call, params, code, reason) in [
        (
            "disconnect",
            json!({"user": "ada"}),
            3503,
            "force no reconnect",
        ),
        (
            "disconnect",
            json!({"user": "ada", "client": "ID", "disconnect": {"code": 4001, "reason": "bye"}}),
            4001,
            "bye",
        ),
        (
            "disconnect",
            json!({"session": "s-ada", "user": ""}),
            3503,
            "force no reconnect",
        ),
        (
            "kick",
            json!({"connection": "ID"}),
            3503,
            "force no reconnect",
        ),
        (
            "kick",
            json!({"user": "ada", "reason": "spam", "code": 3011}),
            3011,
            "spam",
        ),
        (
            "refresh",
            json!({"user": "ada", "expired": true}),
            3004,
            "token expired",
        ),
        (
            "refresh",
            json!({"user": "ada", "expire_at": 1}),
            3004,
            "token expired",
        ),
        (
            "revoke",
            json!({"user": "ada"}),
            close::REVOKED.code,
            "revoked",
        ),
        (
            "revoke",
            json!({"session": "s-ada", "reason": "stolen"}),
            3510,
            "stolen",
        ),
        (
            "revoke",
            json!({"token": "x.eyJqdGkiOiJzLWFkYSIsInN1YiI6ImFkYSJ9.x"}),
            3510,
            "revoked",
        ),
        (
            "revoke",
            json!({"token": "x.eyJqdGkiOiJzLWFkYSJ9.x"}),
            3510,
            "revoked",
        ),
    ] {
        let world = World::new().await;
        let text = params.to_string().replace("ID", &world.ada.id);
        let (_, _, answer) = world.post(&format!("/api/{call}"), &text).await;
        let count = match call {
            "refresh" => &answer["result"]["connections"],
            _ => &answer["result"]["closed"],
        };
        assert_eq!(count, 1, "{call} {params}: {answer}");
        let (got, said) = world.ada.reader().await.closed().await;
        assert_eq!((got, said.as_str()), (code, reason), "{call} {params}");
        assert_eq!(
            world.revoked().len(),
            usize::from(call == "revoke"),
            "{params}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_meant_stays() {
    let world = World::new().await;
    let id = &world.ada.id;
    for (call, params, result) in [
        (
            "disconnect",
            json!({"user": "ada", "whitelist": [id]}),
            json!({"closed": 0}),
        ),
        (
            "disconnect",
            json!({"user": "bob", "client": id}),
            json!({"closed": 0}),
        ),
        (
            "disconnect",
            json!({"user": "ada", "session": "other"}),
            json!({"closed": 0}),
        ),
        ("kick", json!({"user": "bob"}), json!({"closed": 0})),
        ("revoke", json!({"session": "other"}), json!({"closed": 0})),
        (
            "revoke",
            json!({"token": "no token at all"}),
            json!({"closed": 0}),
        ),
        (
            "refresh",
            json!({"user": "ada", "expire_at": 4_000_000_000_u64}),
            json!({"connections": 1}),
        ),
    ] {
        assert_eq!(
            world.call(call, &params).await,
            json!({"result": result}),
            "{call} {params}"
        );
    }
    let page = world.call("connections", &json!({})).await;
    assert_eq!(
        page["result"]["connections"][0]["expires_at"],
        4_000_000_000_000_u64
    );
    world.call("refresh", &json!({"user": "ada"})).await;
    let page = world.call("connections", &json!({})).await;
    assert_eq!(page["result"]["connections"][0]["expires_at"], Value::Null);
    world.fill_revocations();
    let answer = world.call("revoke", &json!({"user": "ada"})).await;
    assert_eq!(answer["error"]["code"], 106);
    assert_eq!(world.hub.user("ada").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_answers_in_order_parallel_or_not() {
    let world = World::new().await;
    let commands = json!([
        {"publish": {"channel": "news", "data": 1}},
        {"presence": {"channel": 5}},
        {"nonsense": {}},
        {"method": "presence_stats", "params": {"channel": "news"}},
    ]);
    for parallel in [false, true] {
        let batch = json!({"commands": commands, "parallel": parallel});
        let answer = world.call("batch", &batch).await;
        let replies = &answer["replies"];
        assert_eq!(replies[0]["publish"]["delivery"]["queued"], 1);
        let error = &replies[1]["error"];
        assert_eq!(error["code"], 107);
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .starts_with("commands[1].presence.channel: "),
            "{error}"
        );
        assert_eq!(replies[2]["error"]["code"], 104);
        assert_eq!(
            replies[3],
            json!({"presence_stats": {"num_clients": 1, "num_users": 1}})
        );
    }
    for (commands, code, message) in [
        (r#"[{}]"#, 107, "commands[0].no call"),
        (
            r#"[{"info": {}, "publish": {}}]"#,
            107,
            "commands[0].several fields",
        ),
        (r#"[5]"#, 107, "commands[0]."),
        (r#"[{"method": 5}]"#, 107, "commands[0]."),
        (r#"[{"batch": {"commands": []}}]"#, 104, "no such call"),
    ] {
        let (_, _, answer) = world
            .post("/api/batch", &format!(r#"{{"commands": {commands}}}"#))
            .await;
        let error = &answer["replies"][0]["error"];
        assert_eq!(error["code"], code, "{commands}: {answer}");
        assert!(
            error["message"].as_str().unwrap().starts_with(message),
            "{answer}"
        );
    }
    assert_eq!(
        world.call("batch", &json!({"commands": []})).await,
        json!({"replies": []})
    );
}

#[tokio::test(start_paused = true)]
async fn the_older_form_takes_one_command_or_lines_of_them() {
    let world = World::new().await;
    let publish = r#"{"method": "publish", "params": {"channel": "news", "data": 1}}"#;
    let (status, _, answer) = world.post("/api", publish).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["result"]["delivery"]["queued"], 1);
    let lines =
        format!("{publish}\n{{\"method\": \"x\"}}\n{{\"method\": \"presence\", \"params\": {{}}}}");
    let text = world.text("/api", &lines).await;
    let replies: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(replies[0]["result"]["delivery"]["queued"], 1);
    assert_eq!(replies[1]["error"]["code"], 104);
    assert_eq!(replies[2]["error"]["code"], 107);
    let many = r#"{"method":"info"}"#.repeat(5);
    assert_eq!(world.post("/api", &many).await.2["error"]["code"], 106);
    assert_eq!(world.post("/api", "{}").await.2["error"]["code"], 107);
}

#[tokio::test(start_paused = true)]
async fn the_document_lists_every_route_and_needs_no_key() {
    let world = World::new().await;
    let (status, _, document) = world.ask("GET", "/api/openapi.json", "", "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], "/api");
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), TABLE.len() + 1);
    for name in TABLE.iter().map(|row| row.name).chain(["batch"]) {
        let operation = &paths[&format!("/{name}")]["post"];
        assert_eq!(operation["operationId"], name);
        for status in ["200", "400", "401", "403", "413", "429"] {
            assert!(
                operation["responses"][status].is_object(),
                "{name} {status}"
            );
        }
        let (status, _, _) = world.post(&format!("/api/{name}"), "{}").await;
        assert_eq!(status, StatusCode::OK, "{name}");
    }
    // Every reference leads somewhere.
    let text = document.to_string();
    for part in text.split("#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_key_may_stand_in_the_authorization() {
    let world = World::new().await;
    let mut reader = world.ada.reader().await;
    let status = world.authorized(&format!("apikey {KEY}")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(reader.next().await["event"], "message");
    assert_eq!(
        world.authorized(&format!("Bearer {KEY}")).await,
        StatusCode::UNAUTHORIZED
    );
}
