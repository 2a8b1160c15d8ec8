//! Who is let in, by what, and what those hear who are not.

use serde_json::{Value, json};

use super::{
    site::{Site, V2, client, jwt},
    token::{OTHER, SECRET, claims, date, now, signed, token, token_with},
};

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[tokio::test]
async fn who_shows_no_good_token_hears_why() {
    let site = Site::start(&jwt("audience = [\"chat\"]"));
    let good = |more| claims("7", more);
    for (what, credential, reason) in [
        ("none", String::new(), "token_missing"),
        ("garbage", bearer("garbage"), "token_malformed"),
        (
            "basic",
            "Authorization: Basic eDp5\r\n".into(),
            "token_malformed",
        ),
        (
            "forged",
            bearer(&signed(OTHER, HEADER, &good(json!({})))),
            "token_signature",
        ),
        (
            "none-alg",
            bearer(&signed(SECRET, r#"{"alg":"none"}"#, &good(json!({})))),
            "token_algorithm",
        ),
        (
            "another algorithm",
            bearer(&signed(SECRET, r#"{"alg":"HS512"}"#, &good(json!({})))),
            "token_algorithm",
        ),
        (
            "expired",
            bearer(&token_with("7", json!({"exp": now() - 120}))),
            "token_expired",
        ),
        (
            "no exp",
            bearer(&token_with("7", json!({"exp": null}))),
            "token_malformed",
        ),
        (
            "early",
            bearer(&token_with("7", json!({"nbf": now() + 120}))),
            "token_not_yet_valid",
        ),
        (
            "for others",
            bearer(&token_with("7", json!({"aud": "mail"}))),
            "token_audience",
        ),
        ("long", bearer(&"x".repeat(4097)), "token_too_long"),
    ] {
        let answer = site.handshake("", &credential).await;
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        assert_eq!(
            answer.json()["error"]["reason"],
            reason,
            "{what}: {answer:?}"
        );
        assert_eq!(answer.json()["error"]["code"], 101, "{what}");
        assert!(
            answer.head.contains("www-authenticate: bearer"),
            "{what}: {answer:?}"
        );
        assert!(
            answer.head.contains("cache-control: no-store"),
            "{what}: {answer:?}"
        );
    }
    let answer = site.handshake("?ticket=0123456789abcdef", "").await;
    assert_eq!(
        answer.json()["error"]["reason"],
        "ticket_invalid",
        "{answer:?}"
    );
    let good = bearer(&token_with("7", json!({"aud": ["mail", "chat"]})));
    assert_eq!(site.handshake("", &good).await.status, 101);
    assert_eq!(site.get("/socket").await.status, 426);
}

#[tokio::test]
async fn hotgo_clients_hear_hotgos_words() {
    let site = Site::start(&format!(
        "\n[auth]\nmode = \"hotgo\"\nsecret = \"{SECRET}\"\n"
    ));
    for credential in [
        String::new(),
        bearer("garbage"),
        bearer(&signed(OTHER, HEADER, &json!({"id": 1}))),
    ] {
        let answer = site.handshake("", &credential).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = answer.json();
        assert_eq!(body["code"], 61, "{answer:?}");
        assert!(
            body["message"].is_string() && body["traceID"].is_string(),
            "{answer:?}"
        );
        assert!(
            body["timestamp"]
                .as_u64()
                .is_some_and(|time| time >= now() - 60),
            "{answer:?}"
        );
    }
    let token = signed(
        SECRET,
        HEADER,
        &json!({"id": 1, "username": "admin", "app": "admin", "loginAt": date(now())}),
    );
    let mut peer = site
        .open(&client(), &format!("?authorization={token}"))
        .await;
    assert_eq!(peer.socket.subprotocol(), None);
    peer.send(json!({"event": "ping"})).await;
    let pong = peer.next().await;
    assert_eq!(
        (&pong["event"], &pong["code"]),
        (&json!("ping"), &json!(0)),
        "{pong}"
    );
    peer.send(json!({"event": "join", "data": {"id": "a"}}))
        .await;
    assert_eq!(peer.next().await["data"], json!(["a"]));
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_before_their_credential_is_looked_at() {
    let site = Site::start(&format!(
        "origins = [\"https://app.example\"]\n{}",
        jwt("cookie = \"sid\"")
    ));
    let good = bearer(&token("7"));
    for (origin, credential, status) in [
        ("https://evil.example", &*good, 403),
        ("https://evil.example", "", 403),
        ("https://evil.example", "Authorization: garbage\r\n", 403),
        ("https://evil.example", "Cookie: sid=garbage\r\n", 403),
        ("null", &*good, 403),
        ("https://app.example.evil.example", &*good, 403),
        ("https://app.example", "", 401),
        ("https://app.example", &*good, 101),
    ] {
        let headers = format!("Origin: {origin}\r\n{credential}");
        let answer = site.handshake("", &headers).await;
        assert_eq!(answer.status, status, "{origin} {credential}: {answer:?}");
        assert!(
            status != 403 || !answer.body.contains("token"),
            "{answer:?}"
        );
    }
    let answer = site
        .handshake("?ticket=x", "Origin: https://evil.example\r\n")
        .await;
    assert_eq!(answer.status, 403, "{answer:?}");
}

#[tokio::test]
async fn a_token_may_stand_in_many_places() {
    let site = Site::start(&jwt("cookie = \"sid\""));
    let token = token("7");
    let v2 = || client().subprotocol(V2);
    let encoded = {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        URL_SAFE_NO_PAD.encode(&token)
    };
    let bare = format!("antiphon.token.{token}");
    let encoded = format!("antiphon.token.{encoded}");
    for (what, client, query) in [
        (
            "header",
            v2().header("authorization", format!("Bearer {token}")),
            String::new(),
        ),
        (
            "bare header",
            v2().header("authorization", &*token),
            String::new(),
        ),
        ("authorization", v2(), format!("?a=b&authorization={token}")),
        ("access_token", v2(), format!("?access_token={token}")),
        ("token", v2(), format!("?token={token}")),
        (
            "subprotocol",
            client().subprotocols([V2, &*bare]),
            String::new(),
        ),
        (
            "subprotocol first",
            client().subprotocols([&*bare, V2]),
            String::new(),
        ),
        (
            "base64url",
            client().subprotocols([V2, &*encoded]),
            String::new(),
        ),
        (
            "cookie",
            v2().header("cookie", format!("a=b; sid={token}")),
            String::new(),
        ),
        (
            "beside others",
            client().subprotocols(["mqtt", "hotgo.v1", V2]),
            format!("?token={token}"),
        ),
    ] {
        let peer = site.welcomed(&client, &query).await;
        assert_eq!(peer.session["user"], "7", "{what}");
        assert_eq!(peer.socket.subprotocol(), Some(V2), "{what}");
    }
    let hotgo = client().subprotocols(["mqtt", "hotgo.v1"]);
    let mut peer = site.open(&hotgo, &format!("?token={token}")).await;
    assert_eq!(peer.socket.subprotocol(), Some("hotgo.v1"));
    peer.send(json!({"event": "ping"})).await;
    assert_eq!(peer.next().await["event"], "ping");
    // The first place counts, also when it is no good.
    let answer = site
        .handshake(&format!("?token={token}"), "Authorization: bad\r\n")
        .await;
    assert_eq!(answer.status, 401, "{answer:?}");
}

#[tokio::test]
async fn the_first_message_may_bring_the_token() {
    let site = Site::start(&format!(
        "{}\n[limits]\nauthentication_timeout = \"2s\"\n",
        jwt("")
    ));
    let v2 = client().subprotocol(V2);
    let mut peer = site.open(&v2, "").await;
    let reply = peer
        .ask("$connect", json!({"token": token("7"), "name": "web"}))
        .await;
    assert_eq!(
        (&reply["code"], &reply["data"]["user"]),
        (&json!(0), &json!("7")),
        "{reply}"
    );
    assert!(
        reply["data"]["ttl"]
            .as_u64()
            .is_some_and(|ttl| (50..=60).contains(&ttl)),
        "{reply}"
    );
    let again = peer.ask("$connect", json!({})).await;
    assert_eq!(again["data"]["client"], reply["data"]["client"], "{again}");

    let expired = token_with("7", json!({"exp": now() - 120}));
    for (what, first, code, close) in [
        (
            "garbage",
            json!({"event": "$connect", "id": 1, "data": {"token": "garbage"}}),
            Some(101),
            3500,
        ),
        (
            "expired",
            json!({"event": "$connect", "id": 1, "data": {"token": expired}}),
            Some(109),
            3004,
        ),
        (
            "no token",
            json!({"event": "$connect", "id": 1}),
            Some(101),
            3500,
        ),
        (
            "another event",
            json!({"event": "$subscribe", "id": 1, "data": {"ch": "a"}}),
            Some(101),
            3502,
        ),
        ("no event", json!([1]), None, 3501),
        ("late", Value::Null, None, 3502),
    ] {
        let mut peer = site.open(&v2, "").await;
        if !first.is_null() {
            peer.send(first).await;
        }
        let (ended, events) = peer.end().await;
        assert_eq!(ended, close, "{what}: {events:?}");
        if let Some(code) = code {
            assert_eq!(events[0]["code"], code, "{what}: {events:?}");
        }
        let last = events.last().expect("a goodbye comes");
        assert_eq!(
            (&last["event"], &last["data"]["code"]),
            (&json!("$disconnect"), &json!(close)),
            "{what}"
        );
    }
    for (sample, expected) in [
        ("antiphon_connections_refused_total{reason=\"login\"}", 6.0),
        (
            "antiphon_limit_tripped_total{limit=\"authentication_time\"}",
            1.0,
        ),
    ] {
        let found = site.counted(sample, expected).await;
        assert!((found - expected).abs() < 0.1, "{sample}: {found}");
    }
}

#[tokio::test]
async fn the_endpoint_itself_may_need_no_login() {
    let site = Site::start(&jwt("except_login = [\"/other\", \"/socket\"]"));
    let peer = site.welcomed(&client().subprotocol(V2), "").await;
    assert_eq!(peer.session["user"], Value::Null);
    let answer = site.handshake("?token=garbage", "").await;
    assert_eq!(
        answer.status, 401,
        "a bad token makes nobody anonymous: {answer:?}"
    );
    let site = Site::start(&jwt("except_login = [\"/other\"]"));
    assert_eq!(site.handshake("", "").await.status, 401);
}

#[tokio::test]
async fn anonymous_clients_come_in_where_they_may() {
    for (auth, status) in [
        (jwt("anonymous = true"), 101),
        (jwt("anonymous = false"), 401),
        (String::new(), 101),
    ] {
        let site = Site::start(&auth);
        let answer = site.handshake("", "").await;
        assert_eq!(answer.status, status, "{auth}: {answer:?}");
    }
}
