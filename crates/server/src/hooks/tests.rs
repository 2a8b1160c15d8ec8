//! Hooks against backends that agree, refuse, fail, hang and come back.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use antiphon_hub::{id::ConnectionId, permission::Patterns};
use serde_json::json;
use tokio::time::{self, Instant};

use super::{settings::HookSettings, *};
use crate::{
    outgoing::{
        breaker, settings,
        sign::{SIGNATURE, verify},
        testing::{Log, backend, closed},
    },
    setting::Secret,
};

const SECRET: &str = "0123456789abcdef-canary-89abcdef";

fn all() -> Settings {
    let hook = |path: &str| HookSettings {
        url: Some(
            format!("https://backend.example/{path}?key=canary")
                .parse()
                .unwrap(),
        ),
        ..HookSettings::default()
    };
    Settings {
        connect: hook("connect"),
        subscribe: hook("subscribe"),
        publish: hook("publish"),
        rpc: hook("rpc"),
        ..Settings::default()
    }
}

/// All hooks at a backend that answers by the number of the request.
fn hooks<F>(answer: impl Fn(usize) -> F + Clone + Send + Sync + 'static) -> (Hooks, Log)
where
    F: Future<Output = (u16, String)> + Send + 'static,
{
    let (http, log) = backend(&settings::Settings::default(), move |seen| {
        answer(seen.number)
    });
    (Hooks::new(&all(), &http), log)
}

fn fixed(status: u16, body: &'static str) -> (Hooks, Log) {
    hooks(move |_| async move { (status, body.to_owned()) })
}

fn newcomer() -> ConnectHook {
    ConnectHook {
        connection: ConnectionId::from(1),
        user: None,
        data: Some(Json::parse(r#"{"room": 1}"#).unwrap()),
        name: Some("js".into()),
        version: None,
        address: Some(Ipv4Addr::new(192, 0, 2, 1).into()),
        headers: Forwarded::default(),
    }
}

fn caller() -> Caller {
    Caller {
        connection: ConnectionId::from(1),
        user: Some("42".into()),
        meta: Some(Json::parse("{\"m\":1}").unwrap()),
        headers: Forwarded::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn questions_have_the_shapes_of_the_documentation() {
    let (hooks, log) = fixed(200, r#"{"result":{"data":{"x":1}}}"#);
    let data = Json::parse("[1]").unwrap();
    let anonymous = Caller {
        user: None,
        meta: None,
        ..caller()
    };
    hooks.connect(&newcomer()).await.unwrap();
    hooks.subscribe(&anonymous, "room:1", None).await.unwrap();
    hooks.publish(&caller(), "room:1", &data).await.unwrap();
    let reply = hooks.rpc(&caller(), "cart/add", Some(&data)).await.unwrap();
    assert_eq!(reply.data.unwrap().as_str(), r#"{"x":1}"#);

    let client = "00000000000000000000000000000001";
    let way =
        json!({"client": client, "transport": "websocket", "protocol": "json", "encoding": "json"});
    let expected = [
        (
            "/connect",
            json!({"data": {"room": 1}, "name": "js", "address": "192.0.2.1"}),
        ),
        ("/subscribe", json!({"user": "", "channel": "room:1"})),
        (
            "/publish",
            json!({"user": "42", "channel": "room:1", "data": [1], "meta": {"m": 1}}),
        ),
        (
            "/rpc",
            json!({"user": "42", "method": "cart/add", "data": [1], "meta": {"m": 1}}),
        ),
    ];
    let seen = log.all();
    for (seen, (path, mut body)) in seen.iter().zip(expected) {
        let object = body.as_object_mut().unwrap();
        object.extend(way.as_object().unwrap().clone());
        assert_eq!((seen.path.as_str(), seen.json()), (path, body));
    }
    assert_eq!(seen.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn requests_are_signed_and_carry_chosen_headers_alone() {
    let (http, log) = backend(&settings::Settings::default(), |_| async {
        (200, r#"{"result":{}}"#.to_owned())
    });
    let settings = Settings {
        secret: Some(Secret::new(SECRET)),
        forward_headers: vec![http::header::COOKIE],
        ..all()
    };
    assert!(!format!("{settings:?}").contains("canary"));
    let hooks = Hooks::new(&settings, &http);
    let mut headers = HeaderMap::new();
    headers.append("cookie", "a=1".parse().unwrap());
    headers.append("cookie", "b=2".parse().unwrap());
    headers.append("authorization", "Bearer x".parse().unwrap());
    let forwarded = hooks.forwarded(&headers);
    assert_eq!(format!("{forwarded:?}"), r#"["cookie"]"#);
    let newcomer = ConnectHook {
        headers: forwarded,
        ..newcomer()
    };
    hooks.connect(&newcomer).await.unwrap();

    let seen = &log.all()[0];
    let signature = seen.headers[SIGNATURE].to_str().unwrap();
    let window = Duration::from_secs(300);
    assert!(verify(&Secret::new(SECRET), signature, &seen.body, window));
    assert!(!verify(&Secret::new(SECRET), signature, b"{}", window));
    let cookies: Vec<_> = seen.headers.get_all("cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert!(!seen.headers.contains_key("authorization"));
}

#[tokio::test(start_paused = true)]
async fn a_backend_refuses_in_its_own_words() {
    let (hooks, log) = fixed(200, r#"{"error":{"code":1000,"message":"closed today"}}"#);
    let refusal = hooks
        .subscribe(&caller(), "room:1", None)
        .await
        .unwrap_err();
    assert_eq!(
        (refusal.code, refusal.message.as_str()),
        (1000, "closed today")
    );
    let (hooks, _) = fixed(200, r#"{"disconnect":{"code":4501,"reason":"banned"}}"#);
    let refusal = hooks.connect(&newcomer()).await.unwrap_err();
    assert_eq!(refusal.disconnect, Some((4501, "banned".into())));
    assert_eq!(
        log.count(),
        1,
        "a refusal is an answer: it is not asked again"
    );
    assert_eq!(hooks.stats()[0].1.refused, 1);
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_is_a_temporary_error_and_never_a_yes() {
    for (status, body) in [
        (500, ""),
        (404, "not found"),
        (302, ""),
        (200, ""),
        (200, "yes"),
        (200, "{}"),
        (200, r#"{"result":{"user":1}}"#),
    ] {
        let (hooks, _) = fixed(status, body);
        let refusal = hooks.connect(&newcomer()).await.unwrap_err();
        assert_eq!(
            (refusal.code, refusal.temporary),
            (100, true),
            "{status} {body}"
        );
        assert_eq!(refusal.disconnect, None);
        assert_eq!(hooks.stats()[0].1.failed, 1);
    }
    let (large, _) = hooks(|_| async { (200, "x".repeat(10 << 20)) });
    assert_eq!(large.connect(&newcomer()).await.unwrap_err().code, 100);
    let hooks = Hooks::new(&all(), &closed(&settings::Settings::default()));
    assert_eq!(hooks.rpc(&caller(), "x", None).await.unwrap_err().code, 100);
    assert_eq!(
        hooks.stats()[3].1.retried,
        1,
        "nothing was sent: safe to repeat"
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_try_helps_where_it_is_safe() {
    let flaky = |number: usize| async move {
        let status = if number == 0 { 503 } else { 200 };
        (status, r#"{"result":{}}"#.to_owned())
    };
    let (asked, log) = hooks(flaky);
    asked.connect(&newcomer()).await.unwrap();
    assert_eq!((log.count(), asked.stats()[0].1.retried), (2, 1));
    let (asked, log) = hooks(flaky);
    asked.subscribe(&caller(), "t", None).await.unwrap();
    assert_eq!(log.count(), 2);

    // These may have done something before they failed.
    let (asked, log) = hooks(flaky);
    asked
        .publish(&caller(), "t", &Json::null())
        .await
        .unwrap_err();
    assert_eq!(log.count(), 1);
    let (asked, log) = hooks(flaky);
    asked.rpc(&caller(), "e", None).await.unwrap_err();
    assert_eq!(log.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_hangs_costs_its_timeout() {
    let (hooks, log) = hooks(|_| async {
        time::sleep(Duration::from_secs(600)).await;
        (200, String::new())
    });
    let begun = Instant::now();
    hooks.rpc(&caller(), "e", None).await.unwrap_err();
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
    assert_eq!(log.count(), 1);
    let begun = Instant::now();
    hooks.connect(&newcomer()).await.unwrap_err();
    let elapsed = begun.elapsed();
    assert!(elapsed >= Duration::from_secs(2) && elapsed <= Duration::from_millis(2_102));
    assert_eq!(log.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_breaker_opens_for_one_hook_and_recovers() {
    let (hooks, log) = hooks(|number| async move {
        let status = if number < 6 { 500 } else { 200 };
        (status, r#"{"result":{}}"#.to_owned())
    });
    for _ in 0..5 {
        hooks.rpc(&caller(), "e", None).await.unwrap_err();
    }
    assert_eq!(log.count(), 5);
    for _ in 0..10 {
        let refusal = hooks.rpc(&caller(), "e", None).await.unwrap_err();
        assert_eq!((refusal.code, refusal.temporary), (100, true));
    }
    assert_eq!(log.count(), 5, "nobody is asked while it is open");
    assert!(!hooks.stats()[0].1.is_open, "each hook has its own");

    time::advance(breaker::PAUSE).await;
    hooks.rpc(&caller(), "e", None).await.unwrap_err();
    assert_eq!(log.count(), 6, "one probe");
    hooks.rpc(&caller(), "e", None).await.unwrap_err();
    assert_eq!(log.count(), 6);
    time::advance(breaker::PAUSE).await;
    hooks.rpc(&caller(), "e", None).await.unwrap();
    let stats = hooks.stats()[3].1;
    assert_eq!((stats.calls, stats.failed, stats.rejected), (18, 17, 11));
    assert_eq!((stats.opened, stats.is_open), (2, false));
}

#[tokio::test(start_paused = true)]
async fn refusals_and_client_errors_do_not_open_the_breaker() {
    for (status, body) in [(200, r#"{"error":{"code":1000}}"#), (404, "")] {
        let (hooks, log) = fixed(status, body);
        for _ in 0..20 {
            hooks.connect(&newcomer()).await.unwrap_err();
        }
        assert_eq!((log.count(), hooks.stats()[0].1.opened), (20, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn hooks_that_are_off_object_to_nothing_and_answer_nothing() {
    let (http, log) = backend(&settings::Settings::default(), |_| async {
        (200, r#"{"error":{"code":1000}}"#.to_owned())
    });
    let off = Hooks::new(&Settings::default(), &http);
    assert!(!off.asks_connect() && off.stats().is_empty());
    off.connect(&newcomer()).await.unwrap();
    off.subscribe(&caller(), "t", None).await.unwrap();
    off.publish(&caller(), "t", &Json::null()).await.unwrap();
    assert_eq!(off.rpc(&caller(), "e", None).await.unwrap_err().code, 104);

    let mut settings = all();
    for hook in [
        &mut settings.subscribe,
        &mut settings.publish,
        &mut settings.rpc,
    ] {
        hook.only = Patterns::new(["mine/{user}/*"]);
    }
    let some = Hooks::new(&settings, &http);
    some.subscribe(&caller(), "other", None).await.unwrap();
    some.publish(&caller(), "mine/43/a", &Json::null())
        .await
        .unwrap();
    assert_eq!(some.rpc(&caller(), "e", None).await.unwrap_err().code, 104);
    assert_eq!(log.count(), 0);
    let refusal = some.subscribe(&caller(), "mine/42/a", None).await;
    assert_eq!((refusal.unwrap_err().code, log.count()), (1000, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_leaves_no_probe_behind() {
    let (hooks, _) = hooks(|number| async move {
        match number {
            0..5 => (500, String::new()),
            5 => {
                time::sleep(Duration::from_secs(600)).await;
                (200, String::new())
            }
            _ => (200, r#"{"result":{}}"#.to_owned()),
        }
    });
    let hooks = Arc::new(hooks);
    for _ in 0..5 {
        hooks.rpc(&caller(), "e", None).await.unwrap_err();
    }
    time::advance(breaker::PAUSE).await;
    let asking = Arc::clone(&hooks);
    let gone = tokio::spawn(async move { asking.rpc(&caller(), "e", None).await.is_ok() });
    time::sleep(Duration::from_millis(10)).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    hooks.rpc(&caller(), "e", None).await.unwrap();
}
