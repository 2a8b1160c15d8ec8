//! What a program written for hotgo's server finds here.

use antiphon_hub::wire::Wire;
use http::StatusCode;
use serde_json::{Value, json};

use super::support::{KEY, World, connect, settings, user};

const ONLINE: &str = "/admin/monitor/userOnlineList";

#[tokio::test(start_paused = true)]
async fn a_message_to_a_tag_is_sent_once_and_answered_in_the_envelope() {
    let response =
        r#"{"tag":"news","response":{"event":"e","data":{"x":1},"code":0,"timestamp":5}}"#;
    for (double, expected) in [
        (false, json!({"x": 1})),
        (
            true,
            json!({"event": "e", "data": {"x": 1}, "code": 0, "timestamp": 5}),
        ),
    ] {
        let mut settings = settings();
        settings.hotgo_double_wrap = double;
        let world = World::with(settings).await;
        let (status, _, answer) = world.post("/socket/send/toTag", response).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            (&answer["code"], &answer["data"]),
            (&json!(0), &Value::Null)
        );
        assert!(answer["timestamp"].is_u64() && answer["traceID"].is_string());
        let message = world.ada.reader().await.next().await;
        assert_eq!(
            (&message["event"], &message["data"]),
            (&json!("e"), &expected)
        );
        let form = "tag=news&response[event]=f&response[data]=%7B%22x%22%3A1%7D";
        assert_eq!(world.form("/socket/send/toTag", form).await["code"], 0);
        assert_eq!(world.ada.reader().await.next().await["event"], "f");
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_requests_have_hotgos_codes_and_real_statuses() {
    let world = World::new().await;
    for (method, path, key, body, status, code) in [
        ("POST", "/socket/send/toTag", KEY, "{}", 200, 51),
        (
            "POST",
            "/socket/send/toTag",
            KEY,
            r#"{"tag":"","response":{"event":"e"}}"#,
            200,
            51,
        ),
        (
            "POST",
            "/socket/send/toTag",
            KEY,
            r#"{"tag":"a","response":{"event":"$x"}}"#,
            200,
            51,
        ),
        (
            "POST",
            "/socket/send/toTag",
            KEY,
            r#"{"tag":"a","response":5}"#,
            200,
            51,
        ),
        ("POST", "/socket/send/toTag", "", "{}", 401, 61),
        (
            "POST",
            "/socket/send/toTag",
            "0123456789abcdef-the-watcher",
            "{}",
            403,
            61,
        ),
        ("GET", "/socket/send/toTag", KEY, "", 405, 61),
        ("GET", ONLINE, "", "", 401, 61),
        ("GET", ONLINE, "0123456789abcdef-publish-only", "", 403, 61),
        (
            "GET",
            "/admin/monitor/userOnlineList?page=0",
            KEY,
            "",
            200,
            51,
        ),
        (
            "GET",
            "/admin/monitor/userOnlineList?pageSize=201",
            KEY,
            "",
            200,
            51,
        ),
        (
            "GET",
            "/admin/monitor/userOnlineList?firstTime[]=soon",
            KEY,
            "",
            200,
            51,
        ),
        ("POST", "/admin/monitor/userOffline", KEY, "{}", 200, 51),
        (
            "POST",
            "/admin/monitor/userOffline",
            KEY,
            r#"{"id":"x"}"#,
            200,
            -1,
        ),
        (
            "POST",
            "/admin/monitor/userOffline",
            "0123456789abcdef-publish-only",
            "{}",
            403,
            61,
        ),
    ] {
        let (got, _, answer) = world.ask(method, path, key, body).await;
        assert_eq!(
            (got.as_u16(), &answer["code"]),
            (status, &json!(code)),
            "{method} {path} {body}: {answer}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_list_has_hotgos_fields_and_as_many_rows_as_asked() {
    let world = World::new().await;
    let _more = [
        connect(&world.hub, Wire::V1, user("7")).await,
        connect(&world.hub, Wire::V1, user("7")).await,
    ];
    for (query, rows, pages, total) in [
        ("", 3, 1, 3),
        ("?page=1&pageSize=2", 2, 2, 3),
        ("?page=2&pageSize=2", 1, 2, 3),
        ("?page=3&pageSize=2", 0, 2, 3),
        ("?userId=7", 2, 1, 2),
        ("?userId=0", 3, 1, 3),
        ("?username=nobody", 0, 0, 0),
        ("?ip=192.", 0, 0, 0),
        (
            "?firstTime[]=2020-01-01+00:00:00&firstTime[]=4000000000",
            3,
            1,
            3,
        ),
        ("?firstTime[]=4000000000", 0, 0, 0),
    ] {
        let (_, _, answer) = world.ask("GET", &format!("{ONLINE}{query}"), KEY, "").await;
        let data = &answer["data"];
        assert_eq!(
            data["list"].as_array().unwrap().len(),
            rows,
            "{query}: {answer}"
        );
        assert_eq!(
            (&data["pageCount"], &data["totalCount"]),
            (&json!(pages), &json!(total)),
            "{query}"
        );
    }
    let (_, _, answer) = world
        .ask(
            "GET",
            "/admin/monitor/userOnlineList?userId=7&pageSize=1",
            KEY,
            "",
        )
        .await;
    let row = answer["data"]["list"][0].as_object().unwrap();
    let names: Vec<&str> = row.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "id",
            "ip",
            "os",
            "browser",
            "firstTime",
            "heartbeatTime",
            "app",
            "userId",
            "username",
            "avatar"
        ]
    );
    assert_eq!(row["userId"], 7);
}

#[tokio::test(start_paused = true)]
async fn who_is_put_offline_is_kicked() {
    let world = World::new().await;
    let id = json!({"id": world.ada.id}).to_string();
    assert_eq!(
        world.post("/admin/monitor/userOffline", &id).await.2["code"],
        0
    );
    assert_eq!(world.ada.reader().await.closed().await.0, 3503);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let (_, _, answer) = world.post("/admin/monitor/userOffline", &id).await;
    assert_eq!(
        (&answer["code"], &answer["message"]),
        (&json!(-1), &json!("already offline"))
    );
}
