//! The admin page's side of the server: its login, its socket, and what it does to clients. (It is long because each row of
//! what the page may ask has its real client here.)

use antiphon::{Client, ErrorKind};
use serde_json::{Value, json};

use super::{
    site::{Answer, Peer, Site, V2, client, exchange, jwt, value},
    token::{now, token, token_with},
};
use crate::support::Running;

const TOKEN: &str = "canary-of-the-admin-page-0123456789";

/// A server with an admin page behind this origin, too.
fn site(more: &str) -> (Site, Page) {
    let config = format!(
        "{}\n[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\norigins = [\"https://admin.example\"]\n{more}",
        jwt("")
    );
    let site = Site::start(&config);
    let page = Page::at(&site.line("admin on http://"));
    (site, page)
}

/// The page's address, and what a browser would keep of it.
struct Page {
    authority: String,
    cookie: String,
    csrf: String,
}

impl Page {
    fn at(address: &str) -> Self {
        Self {
            authority: address.trim_end_matches('/').to_owned(),
            cookie: String::new(),
            csrf: String::new(),
        }
    }

    async fn request(&self, line: &str, headers: &str, body: &str) -> Answer {
        let host = if headers.to_ascii_lowercase().contains("host:") {
            String::new()
        } else {
            format!("Host: {}\r\n", self.authority)
        };
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        exchange(&self.authority, &request).await
    }

    async fn try_login(&self, token: &str, headers: &str) -> Answer {
        let body = json!({"token": token}).to_string();
        let headers = format!("Content-Type: application/json\r\n{headers}");
        self.request("POST /login", &headers, &body).await
    }

    /// Logs in as the page does.
    async fn login(&mut self) {
        let origin = format!("Origin: http://{}\r\n", self.authority);
        let answer = self.try_login(TOKEN, &origin).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let cookie = answer
            .head
            .lines()
            .find_map(|line| line.strip_prefix("set-cookie: "));
        let cookie = cookie.expect("there is a cookie");
        for part in ["httponly", "samesite=strict", "path=/", "max-age=43200"] {
            assert!(
                cookie.split("; ").any(|found| found == part),
                "{part} of {cookie}"
            );
        }
        assert!(!cookie.contains("secure"), "the page is no https");
        self.cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        self.csrf = answer.json()["csrf"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(answer.json()["expires_at"].as_u64() > Some(now() * 1000));
    }

    fn cookie(&self) -> String {
        format!("Cookie: other=1; {}\r\n", self.cookie)
    }

    fn client(&self) -> Client {
        client()
            .subprotocol(V2)
            .header("cookie", self.cookie.clone())
    }

    /// The socket before it has said whose it is.
    async fn socket(&self) -> Peer {
        let url = format!("ws://{}/socket", self.authority);
        Peer::new(self.client().connect(url).await.expect("it is open"))
    }

    /// The socket with the token shown.
    async fn open(&self) -> Peer {
        let mut socket = self.socket().await;
        let reply = socket.ask("$connect", json!({"token": self.csrf})).await;
        assert_eq!(reply["code"], 0, "{reply}");
        socket
    }
}

/// The data of a reply that succeeds.
async fn ask(page: &mut Peer, event: &str, data: Value) -> Value {
    let reply = page.ask(event, data).await;
    assert_eq!(reply["code"], 0, "{event}: {reply}");
    reply["data"].clone()
}

/// The data of the next event of this name; others before it stay.
async fn event(page: &mut Peer, name: &str) -> Value {
    let mut passed = Vec::new();
    loop {
        let next = page.next().await;
        if next["event"] == name {
            passed.append(&mut page.events);
            page.events = passed;
            return next["data"].clone();
        }
        passed.push(next);
    }
}

/// What is shown of a connection once it has left every index: a client sees its Close a little earlier.
async fn gone(site: &Site, admin: &mut Peer, id: &Value) -> Value {
    let mut shown = Value::Null;
    site.until("the end of a connection", async || {
        shown = ask(admin, "admin/connection", json!({"id": id})).await;
        shown["connection"] == Value::Null && shown["closed"] != Value::Null
    })
    .await;
    shown
}

fn connection(peer: &Peer) -> &Value {
    &peer.session["client"]
}

#[tokio::test]
async fn the_page_is_opened_by_its_token_and_by_nothing_else() {
    let (site, mut page) = site("");
    let own = page.request("GET /", "", "").await;
    assert_eq!(own.status, 200);
    assert!(
        own.head
            .contains("content-security-policy: default-src 'self'"),
        "{}",
        own.head
    );
    assert!(own.body.starts_with("<!") && !own.body.contains(TOKEN));

    let wrong = page.try_login("wrong", "").await;
    assert_eq!(
        (wrong.status, &wrong.json()["error"]),
        (401, &json!("wrong_token"))
    );
    assert!(!wrong.head.contains("set-cookie"));
    for (headers, body, status) in [
        ("Content-Type: text/plain\r\n", "{}".to_owned(), 415),
        ("Content-Type: application/json\r\n", "{".to_owned(), 400),
        (
            "Content-Type: application/json\r\n",
            "{\"token\":7}".to_owned(),
            400,
        ),
        (
            "Content-Type: application/json\r\n",
            format!("{{\"token\":\"{}\"}}", "x".repeat(1024)),
            413,
        ),
    ] {
        let answer = page.request("POST /login", headers, &body).await;
        assert_eq!(answer.status, status, "{headers} {body}");
    }
    assert_eq!(page.request("GET /session", "", "").await.status, 401);
    page.login().await;
    let session = page.request("GET /session", &page.cookie(), "").await;
    assert_eq!(
        (session.status, session.json()["csrf"].as_str()),
        (200, Some(&*page.csrf))
    );
    assert!(
        session.head.contains("cache-control: no-store"),
        "{}",
        session.head
    );
    assert_eq!(
        page.request("GET /login", &page.cookie(), "").await.status,
        405
    );
    assert!(!site.output().contains(TOKEN) && !site.output().contains(&page.csrf));
    assert!(site.log().contains("login_failed"), "{}", site.log());
    site.counted("antiphon_admin_logins_failed_total", 1.0)
        .await;
    site.counted("antiphon_admin_sessions", 1.0).await;
}

#[tokio::test]
async fn too_many_wrong_tokens_have_to_wait_and_so_does_the_right_one() {
    let (site, page) = site("");
    for _ in 0..10 {
        assert_eq!(page.try_login("wrong", "").await.status, 401);
    }
    let late = page.try_login(TOKEN, "").await;
    assert_eq!(late.status, 429);
    assert_eq!(late.json()["error"], "too_many_attempts");
    let wait = late.json()["retry_after"].as_u64().unwrap_or_default();
    assert!(
        (1..=60).contains(&wait) && late.head.contains("retry-after: "),
        "{}",
        late.head
    );
    site.counted("antiphon_limit_tripped_total{limit=\"admin_logins\"}", 1.0)
        .await;
}

#[tokio::test]
async fn foreign_pages_and_foreign_names_get_nothing() {
    let (_site, mut page) = site("");
    page.login().await;
    let cookie = page.cookie();
    for (headers, status) in [
        ("Origin: https://evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Origin: http://127.0.0.1:1\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        ("Sec-Fetch-Site: same-site\r\n", 403),
        ("Sec-Fetch-Site: same-origin\r\n", 200),
        (
            "Origin: https://admin.example\r\nHost: admin.example\r\n",
            200,
        ),
        ("Host: rebound.example\r\n", 421),
        (
            "Host: rebound.example\r\nOrigin: http://rebound.example\r\n",
            421,
        ),
        ("", 200),
    ] {
        let headers = format!("{headers}{cookie}");
        let answer = page.request("GET /session", &headers, "").await;
        assert_eq!(answer.status, status, "{headers}");
    }
    assert_eq!(
        page.try_login(TOKEN, "Origin: https://evil.example\r\n")
            .await
            .status,
        403
    );
    assert_eq!(
        page.request("GET /", "Host: rebound.example\r\n", "")
            .await
            .status,
        421
    );
    let secure = "Origin: https://admin.example\r\nHost: admin.example\r\n";
    let answer = page.try_login(TOKEN, secure).await;
    assert!(answer.head.contains("; secure"), "{}", answer.head);
}

#[tokio::test]
async fn what_changes_something_needs_the_token_of_the_same_session() {
    let (_site, mut page) = site("");
    page.login().await;
    let mut other = Page::at(&page.authority);
    other.login().await;
    for (csrf, status) in [
        (String::new(), 403),
        ("X-CSRF-Token: 0\r\n".to_owned(), 403),
        (format!("X-CSRF-Token: {}\r\n", other.csrf), 403),
    ] {
        let headers = format!("{}{csrf}", page.cookie());
        assert_eq!(
            page.request("POST /logout", &headers, "").await.status,
            status,
            "{csrf}"
        );
    }
    for token in [
        json!({}),
        json!({"token": "0"}),
        json!({"token": other.csrf}),
    ] {
        let mut socket = page.socket().await;
        assert_ne!(socket.code("$connect", token).await, 0);
        assert_eq!(socket.end().await.0, 3500);
    }
    let mut socket = page.open().await;
    let mut stays = other.open().await;
    let headers = format!("{}X-CSRF-Token: {}\r\n", page.cookie(), page.csrf);
    let answer = page.request("POST /logout", &headers, "").await;
    assert_eq!(answer.status, 204);
    assert!(answer.head.contains("max-age=0"), "{}", answer.head);
    assert_eq!(socket.end().await.0, 3510, "its sockets are closed");
    assert_eq!(
        page.request("GET /session", &page.cookie(), "")
            .await
            .status,
        401
    );
    ask(&mut stays, "admin/hello", json!({})).await;
}

#[tokio::test]
async fn the_socket_needs_the_cookie_and_the_pages_own_origin() {
    let (site, mut page) = site("");
    page.login().await;
    let url = format!("ws://{}/socket", page.authority);
    let refused = async |client: Client| match client.connect(url.as_str()).await {
        Ok(_) => 101,
        Err(error) => match error.kind() {
            ErrorKind::Handshake(status) => *status,
            other => panic!("{other:?}"),
        },
    };
    assert_eq!(refused(client().subprotocol(V2)).await, 401);
    let forged = client()
        .subprotocol(V2)
        .header("cookie", "antiphon_admin=0");
    assert_eq!(refused(forged).await, 401);
    assert_eq!(
        refused(page.client().header("origin", "https://evil.example")).await,
        403
    );
    assert_eq!(
        refused(page.client().header("origin", "https://admin.example")).await,
        101
    );
    // A token for clients is none for administrators, and an administrator is no client.
    let client_token = client().subprotocol(V2);
    let client_token = client_token.header("authorization", format!("Bearer {}", token("ada")));
    assert_eq!(refused(client_token).await, 401);
    let mut opened = page.open().await;
    assert_eq!(
        opened.code("$subscribe", json!({"ch": "secret"})).await,
        103
    );
    assert_eq!(
        opened
            .code("$publish", json!({"ch": "log", "event": "x"}))
            .await,
        103
    );
    assert_eq!(opened.code("chat/send", json!({})).await, 104);
    assert_eq!(
        opened.code("$refresh", json!({"token": page.csrf})).await,
        103
    );
    assert!(value(&site.metrics().await, "antiphon_connections").is_some_and(|count| count < 1.0));
}

#[tokio::test]
async fn the_page_sees_who_is_here() {
    let (site, mut page) = site("");
    page.login().await;
    let mut admin = page.open().await;
    let named = json!({"info": {"username": "Ada L."}, "jti": "first"});
    let mut ada = site.peer(&token_with("ada", named)).await;
    let bob = site.user("bob").await;
    assert_eq!(ada.code("$subscribe", json!({"ch": "room:tea"})).await, 0);

    let hello = ask(&mut admin, "admin/hello", json!({})).await;
    assert_eq!(
        (&hello["dev"], &hello["interval_ms"]),
        (&json!(false), &json!(1000))
    );
    assert_eq!(hello["tracing"]["max_connections"], 16);

    let rows = [
        (json!({}), 2),
        (json!({"user": "ada"}), 1),
        (json!({"user": ""}), 2),
        (json!({"name": "ADA"}), 1),
        (json!({"name": "a l"}), 1),
        (json!({"name": "nobody"}), 0),
        (json!({"address": "127.0.0."}), 2),
        (json!({"address": "10."}), 0),
        (json!({"tag": "room:tea"}), 1),
        (json!({"tag": "room:tea", "user": "bob"}), 0),
        (json!({"since": (now() + 60) * 1000}), 0),
        (json!({"until": (now() + 60) * 1000}), 2),
        (json!({"app": "none"}), 0),
    ];
    for (filter, total) in rows {
        let found = ask(
            &mut admin,
            "admin/connections",
            json!({"filter": filter, "limit": 1}),
        )
        .await;
        assert_eq!(found["total"], total, "{filter}");
        assert_eq!(
            found["items"].as_array().map(Vec::len),
            Some(total.min(1)),
            "{filter}"
        );
    }
    let newest = ask(&mut admin, "admin/connections", json!({"newest": true})).await;
    assert_eq!(newest["items"][0]["id"], *connection(&bob));
    let oldest = ask(
        &mut admin,
        "admin/connections",
        json!({"offset": 0, "limit": 500}),
    )
    .await;
    let row = &oldest["items"][0];
    assert_eq!(
        (&row["id"], &row["name"]),
        (connection(&ada), &json!("Ada L."))
    );
    assert_eq!(
        (&row["wire"], &row["tags"], &row["traced"]),
        (&json!("v2"), &json!(["room:tea"]), &json!(false))
    );
    for wrong in [
        json!({"limit": 0}),
        json!({"limit": 501}),
        json!({"offset": 100_001}),
        json!({"filter": 7}),
    ] {
        assert_eq!(
            admin.code("admin/connections", wrong.clone()).await,
            107,
            "{wrong}"
        );
    }

    let users = ask(&mut admin, "admin/users", json!({"prefix": "a"})).await;
    assert_eq!(
        users["items"],
        json!([{"user": "ada", "name": "Ada L.", "connections": 1}])
    );
    let users = ask(
        &mut admin,
        "admin/users",
        json!({"prefix": "ada", "limit": 1}),
    )
    .await;
    assert_eq!(users["items"][0]["user"], "ada", "a prefix is also a name");
    let users = ask(&mut admin, "admin/users", json!({"after": "ada"})).await;
    assert_eq!(
        (&users["items"][0]["user"], &users["total"]),
        (&json!("bob"), &json!(2))
    );
    let tags = ask(&mut admin, "admin/tags", json!({"pattern": "room:*"})).await;
    assert_eq!(
        tags,
        json!({"items": [{"tag": "room:tea", "count": 1}], "total": 1})
    );

    let one = ask(
        &mut admin,
        "admin/connection",
        json!({"id": connection(&bob)}),
    )
    .await;
    assert_eq!(
        (&one["connection"]["user"], &one["closed"]),
        (&json!("bob"), &Value::Null)
    );
    assert_eq!(
        ask(&mut admin, "admin/slow", json!({})).await["items"],
        json!([])
    );
    let nodes = ask(&mut admin, "admin/nodes", json!({})).await;
    assert_eq!(
        (
            &nodes["items"][0]["self"],
            &nodes["items"][0]["connections"]
        ),
        (&json!(true), &json!(2))
    );
}

#[tokio::test]
async fn samples_and_the_log_come_by_themselves() {
    let (site, mut page) = site("");
    page.login().await;
    let mut admin = page.open().await;
    for ch in ["stats", "log"] {
        assert_eq!(admin.code("$subscribe", json!({"ch": ch})).await, 0, "{ch}");
    }
    let ada = site.user("ada").await;
    let sample = loop {
        let sample = event(&mut admin, "sample").await;
        if sample["connections"] == 1 {
            break sample;
        }
    };
    assert!(sample["memory_limit"].as_u64() > Some(0), "{sample}");
    assert!(
        cfg!(not(target_os = "linux")) || sample["rss"].as_u64() > Some(0),
        "{sample}"
    );
    let hello = ask(&mut admin, "admin/hello", json!({})).await;
    assert!(!hello["samples"].as_array().expect("a list").is_empty());

    let mut seen = Vec::new();
    while !seen
        .iter()
        .any(|entry: &Value| entry["type"] == "user_online")
    {
        let entries = event(&mut admin, "entries").await;
        seen.extend(entries["items"].as_array().cloned().unwrap_or_default());
    }
    let connected = seen.iter().find(|entry| entry["type"] == "connected");
    let connected = connected.expect("it is told before");
    assert_eq!(
        (&connected["connection"], &connected["user"]),
        (connection(&ada), &json!("ada"))
    );
    let log = ask(&mut admin, "admin/log", json!({"limit": 500})).await;
    let kinds = |log: &Value| -> Vec<String> {
        let items = log["items"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .map(|entry| entry["type"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(kinds(&log), ["admin", "user_online", "connected"]);
    let before = log["items"][1]["seq"].clone();
    let log = ask(&mut admin, "admin/log", json!({"before": before})).await;
    assert_eq!(kinds(&log), ["admin"], "the login of the page itself");
}

#[tokio::test]
async fn what_is_sent_arrives() {
    let (site, mut page) = site("");
    page.login().await;
    let mut admin = page.open().await;
    let mut ada = site.user("ada").await;
    let mut bob = site.user("bob").await;
    assert_eq!(bob.code("$subscribe", json!({"ch": "tea"})).await, 0);
    for (to, receivers) in [
        (json!({"all": true}), 2),
        (json!({"user": "ada"}), 1),
        (json!({"tag": "tea"}), 1),
        (json!({"connection": connection(&ada)}), 1),
        (json!({"user": "nobody"}), 0),
    ] {
        let send = json!({"to": to, "event": "notice", "data": {"to": to}});
        let delivery = ask(&mut admin, "admin/send", send).await;
        assert_eq!(
            (&delivery["receivers"], &delivery["queued"]),
            (&json!(receivers), &json!(receivers)),
            "{to}"
        );
    }
    for expected in [
        json!({"all": true}),
        json!({"user": "ada"}),
        json!({"connection": connection(&ada)}),
    ] {
        assert_eq!(event(&mut ada, "notice").await["to"], expected);
    }
    for expected in [json!({"all": true}), json!({"tag": "tea"})] {
        assert_eq!(event(&mut bob, "notice").await["to"], expected);
    }
    for wrong in [
        json!({"to": {}, "event": "x"}),
        json!({"to": {"all": false}, "event": "x"}),
        json!({"to": {"all": true, "user": "ada"}, "event": "x"}),
        json!({"to": {"all": true}, "event": ""}),
        json!({"to": {"all": true}, "event": "$disconnect"}),
        json!({"to": {"connection": "7"}, "event": "x"}),
        json!({"to": {"user": "u".repeat(256)}, "event": "x"}),
    ] {
        assert_eq!(
            admin.code("admin/send", wrong.clone()).await,
            107,
            "{wrong}"
        );
    }
    let log = ask(&mut admin, "admin/log", json!({})).await;
    let sends = log["items"].as_array().into_iter().flatten();
    let sends: Vec<_> = sends.filter(|entry| entry["action"] == "send").collect();
    assert_eq!(
        (sends.len(), &sends[0]["address"]),
        (5, &json!("127.0.0.1"))
    );
    assert!(site.log().contains("antiphon::admin"), "{}", site.log());
}

#[tokio::test]
async fn whoever_is_closed_sees_it_and_whoever_is_revoked_stays_out() {
    let (site, mut page) = site("");
    page.login().await;
    let mut admin = page.open().await;
    let login = token_with("ada", json!({"jti": "one"}));
    let mut ada = site.peer(&login).await;
    let close = json!({"connection": connection(&ada), "reason": "lunch"});
    assert_eq!(
        ask(&mut admin, "admin/close", close).await,
        json!({"closed": 1, "revoked": false})
    );
    assert_eq!(ada.end().await.0, 3503);
    let shown = gone(&site, &mut admin, connection(&ada)).await;
    let closed = &shown["closed"];
    assert_eq!(
        (&closed["code"], &closed["reason"], &closed["by"]),
        (&json!(3503), &json!("lunch"), &json!("server"))
    );
    assert_eq!(
        (&closed["connection"]["user"], &closed["connection"]["wire"]),
        (&json!("ada"), &json!("v2"))
    );

    // The same login may come again, until it is revoked.
    let mut ada = site.peer(&login).await;
    let close = json!({"connection": connection(&ada), "revoke": true});
    assert_eq!(
        ask(&mut admin, "admin/close", close).await,
        json!({"closed": 1, "revoked": true})
    );
    assert_eq!(ada.end().await.0, 3510);
    assert_eq!(
        site.handshake("", &format!("Authorization: Bearer {login}\r\n"))
            .await
            .status,
        401
    );

    // Another login of the same user is not meant, but all of the user's are.
    let other = token_with("ada", json!({"jti": "two"}));
    let mut ada = site.peer(&other).await;
    let close = json!({"user": "ada", "revoke": true});
    assert_eq!(ask(&mut admin, "admin/close", close).await["closed"], 1);
    assert_eq!(ada.end().await.0, 3510);
    assert_eq!(
        site.handshake("", &format!("Authorization: Bearer {other}\r\n"))
            .await
            .status,
        401
    );
    for wrong in [
        json!({}),
        json!({"user": ""}),
        json!({"user": "a", "session": "b"}),
        json!({"connection": "x"}),
    ] {
        assert_eq!(
            admin.code("admin/close", wrong.clone()).await,
            107,
            "{wrong}"
        );
    }
    gone(&site, &mut admin, connection(&ada)).await;
    let closed = ask(&mut admin, "admin/closed", json!({"limit": 2})).await;
    let codes: Vec<_> = closed["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| one["code"].clone())
        .collect();
    assert_eq!(codes, [3510, 3510], "the latest first");
    let log = ask(&mut admin, "admin/log", json!({})).await;
    let closes = log["items"].as_array().into_iter().flatten();
    let closes = closes.filter(|entry| entry["action"] == "close").count();
    assert_eq!(closes, 3);
}

#[tokio::test]
async fn a_trace_shows_frames_of_both_directions_and_the_end() {
    let (site, mut page) = site("");
    page.login().await;
    let mut admin = page.open().await;
    let mut ada = site.user("ada").await;
    let id = connection(&ada).clone();
    let channel = format!("trace:{}", id.as_str().unwrap_or_default());
    assert_eq!(admin.code("$subscribe", json!({"ch": channel})).await, 0);
    let traced = ask(&mut admin, "admin/trace", json!({"id": id, "on": true})).await;
    assert_eq!(traced, json!({"traced": true}));
    ada.ask("no/such", json!({"x": 1})).await;
    let first = event(&mut admin, "frame").await;
    assert_eq!(
        (&first["direction"], &first["kind"], &first["seq"]),
        (&json!("in"), &json!("text"), &json!(1))
    );
    assert!(
        first["text"]
            .as_str()
            .is_some_and(|text| text.contains("no/such")),
        "{first}"
    );
    let second = event(&mut admin, "frame").await;
    assert_eq!(
        (&second["direction"], &second["cut"]),
        (&json!("out"), &json!(false))
    );
    let listed = ask(
        &mut admin,
        "admin/connections",
        json!({"filter": {"user": "ada"}}),
    )
    .await;
    assert_eq!(listed["items"][0]["traced"], true);

    ada.socket.close(4000, "enough").await.expect("it is open");
    let last = event(&mut admin, "frame").await;
    assert_eq!(
        (&last["kind"], &last["text"]),
        (&json!("close"), &json!("4000 enough"))
    );
    assert_eq!(
        event(&mut admin, "ended").await,
        json!({"reason": "closed"})
    );
    let shown = ask(&mut admin, "admin/connection", json!({"id": id})).await;
    assert_eq!(shown["frames"].as_array().map(Vec::len), Some(3));
    assert_eq!(shown["closed"]["code"], 4000);
    assert_eq!(
        admin
            .code("admin/trace", json!({"id": id, "on": true}))
            .await,
        108
    );
    assert_eq!(
        ask(&mut admin, "admin/trace", json!({"id": id, "on": false})).await["traced"],
        false
    );
}

#[tokio::test]
async fn the_configuration_in_force_hides_its_secrets() {
    let (_site, mut page) = site("");
    page.login().await;
    let mut admin = page.open().await;
    let config = ask(&mut admin, "admin/config", json!({})).await;
    let text = config.to_string();
    assert!(
        !text.contains(TOKEN) && !text.contains(super::token::SECRET),
        "{text}"
    );
    let rows = config["rows"].as_array().cloned().unwrap_or_default();
    let row = |key: &str| {
        rows.iter()
            .find(|row| row["key"] == key)
            .cloned()
            .unwrap_or_default()
    };
    let token = row("admin.token");
    assert_eq!(
        (&token["secret"], &token["value"]),
        (&json!(true), &json!("\"***\""))
    );
    let mode = row("auth.mode");
    assert_eq!(
        (&mode["value"], &mode["secret"]),
        (&json!("\"jwt\""), &json!(false))
    );
    assert!(
        mode["source"]
            .as_str()
            .is_some_and(|source| source.contains("realtime.toml")),
        "{mode}"
    );
    let default = row("server.path");
    assert_eq!(
        (&default["value"], &default["source"]),
        (&json!("\"/socket\""), &Value::Null)
    );
    assert!(
        config["file"]
            .as_str()
            .is_some_and(|file| file.ends_with("realtime.toml"))
    );
}

#[cfg(unix)]
#[tokio::test]
async fn another_token_ends_every_session() {
    let (site, mut page) = site("");
    page.login().await;
    let mut admin = page.open().await;
    let config = |token: &str| {
        format!(
            "{}\n[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{token}\"\norigins = [\"https://admin.example\"]\n",
            jwt("")
        )
    };
    site.rewrite(&config(TOKEN));
    site.signal(rustix::process::Signal::HUP);
    site.logged("the configuration is read again", 0).await;
    ask(&mut admin, "admin/hello", json!({})).await;
    site.rewrite(&config("another-token-0123456789"));
    site.signal(rustix::process::Signal::HUP);
    assert_eq!(admin.end().await.0, 3510);
    assert_eq!(
        page.request("GET /session", &page.cookie(), "")
            .await
            .status,
        401
    );
    assert_eq!(page.try_login(TOKEN, "").await.status, 401);
    assert_eq!(
        page.try_login("another-token-0123456789", "").await.status,
        200
    );
}

#[tokio::test]
async fn the_demo_has_a_page_with_a_token_of_its_own() {
    let mut server = Running::start("serve", &["--dev"]);
    server.line();
    let line = server.line();
    let (address, token) = line
        .strip_prefix("Admin: http://")
        .and_then(|rest| rest.split_once("/#token="))
        .unwrap_or_else(|| panic!("{line}"));
    let page = Page::at(address);
    assert_eq!(page.try_login(token, "").await.status, 200);
    assert_eq!(page.try_login("wrong", "").await.status, 401);
    assert_eq!(
        page.request("GET /", "Host: rebound.example\r\n", "")
            .await
            .status,
        421
    );
}
