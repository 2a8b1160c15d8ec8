//! Bounds of the configuration hold through the binary, and each that is reached is counted.

use antiphon::ErrorKind;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{
    backend::Backend,
    site::{PATIENCE, Peer, Site, V2, client, jwt, value},
    token::token,
};

/// Compares samples of the metrics with what has happened.
async fn counted(site: &Site, rows: &[(&str, f64)]) {
    for (sample, expected) in rows {
        let found = site.counted(sample, *expected).await;
        assert!(
            (found - expected).abs() < 0.1,
            "{sample}: {found}, not {expected}"
        );
    }
}

#[tokio::test]
async fn messages_have_a_size() {
    let site = Site::start(&(jwt("") + "\n[websocket]\nmax_message_size = \"1KiB\"\n"));
    let mut peer = site.user("7").await;
    let fits = json!({"event": "$ping", "id": 1, "data": "x".repeat(900)}).to_string();
    peer.socket.send(fits).await.expect("it is open");
    assert_eq!(peer.next().await["id"], 1);
    let _ = peer
        .socket
        .send(json!({"event": "$ping", "data": "x".repeat(1024)}).to_string())
        .await;
    assert_eq!(peer.end().await.0, 1009);
    let row = "antiphon_closes_total{by=\"server\",code=\"1009\",reason=\"message too big\"}";
    let limit = "antiphon_limit_tripped_total{limit=\"message_size\"}";
    counted(&site, &[(row, 1.0), (limit, 1.0)]).await;
}

#[tokio::test]
async fn messages_have_a_rate() {
    let site = Site::start(&(jwt("") + "\n[limits]\nmessage_rate = 1\nmessage_burst = 5\n"));
    let mut peer = site.user("7").await;
    assert_eq!(peer.session["limits"]["burst"], 5, "{}", peer.session);
    for id in 1..=20 {
        // It may be closed meanwhile.
        let _ = peer
            .socket
            .send(json!({"event": "$ping", "id": id}).to_string())
            .await;
    }
    let (code, mut events) = peer.end().await;
    assert_eq!(code, 3013, "{events:?}");
    let goodbye = events.pop().expect("a goodbye comes");
    assert_eq!(
        (&goodbye["event"], &goodbye["data"]["code"]),
        (&json!("$disconnect"), &json!(3013))
    );
    let (good, refused): (Vec<Value>, Vec<Value>) =
        events.into_iter().partition(|event| event["code"] == 0);
    assert!((5..10).contains(&good.len()), "{good:?}");
    for event in &refused {
        assert_eq!(
            (&event["code"], &event["temporary"]),
            (&json!(111), &json!(true)),
            "{event}"
        );
        assert!(
            event["retryAfterMs"]
                .as_u64()
                .is_some_and(|wait| wait <= 1000),
            "{event}"
        );
    }
    assert!(refused.len() >= 5, "{refused:?}");
    let row = "antiphon_limit_tripped_total{limit=\"message_rate\"}";
    let tripped = site.counted(row, 6.0).await;
    assert!(tripped <= 15.0, "{tripped}");
}

/// Refused while it is accepted: 503, which is lost where the request comes too late to be read.
async fn is_refused(site: &Site) {
    let answer = site.handshake(&format!("?token={}", token("9")), "").await;
    assert!([503, 0].contains(&answer.status), "{answer:?}");
}

#[tokio::test]
async fn users_and_connections_have_bounds() {
    let site = Site::start(&format!(
        "max_connections_per_address = 4\n{}\n[limits]\ntags_per_connection = 2\ntag_length = 16\nconnections_per_user = 2\n",
        jwt("")
    ));
    let mut first = site.user("7").await;
    for (ch, code) in [
        ("a", 0),
        ("b", 0),
        ("c", 106),
        ("b", 105),
        ("a-name-of-17-byte", 107),
    ] {
        assert_eq!(
            first.code("$subscribe", json!({"ch": ch})).await,
            code,
            "{ch}"
        );
    }
    assert_eq!(first.code("$unsubscribe", json!({"ch": "a"})).await, 0);
    assert_eq!(first.code("$subscribe", json!({"ch": "c"})).await, 0);

    let second = site.user("7").await;
    let v2 = client().subprotocol(V2).header("authorization", token("7"));
    let mut third = site.open(&v2, "").await;
    assert_eq!(third.end().await.0, 3504);
    drop(third);
    let other = site.user("8").await;
    // Two of the user, one of another; the metrics are asked from the same address, at another door.
    site.until("room for the fourth", async || {
        value(&site.metrics().await, "antiphon_tcp_connections") == Some(3.0)
    })
    .await;
    let fourth = site.user("9").await;
    is_refused(&site).await;
    counted(
        &site,
        &[
            ("antiphon_connections_refused_total{reason=\"login\"}", 1.0),
            (
                "antiphon_limit_tripped_total{limit=\"connections_per_user\"}",
                1.0,
            ),
            (
                "antiphon_limit_tripped_total{limit=\"tags_per_connection\"}",
                1.0,
            ),
            ("antiphon_limit_tripped_total{limit=\"name_length\"}", 1.0),
            (
                "antiphon_limit_tripped_total{limit=\"connections_per_address\"}",
                1.0,
            ),
        ],
    )
    .await;
    drop((second, other, fourth));
}

#[tokio::test]
async fn the_whole_server_has_a_bound() {
    let site = Site::start(&format!("max_connections = 2\n{}", jwt("")));
    let first = site.user("7").await;
    let second = site.user("8").await;
    is_refused(&site).await;
    counted(
        &site,
        &[("antiphon_limit_tripped_total{limit=\"connections\"}", 1.0)],
    )
    .await;
    drop((first, second));
}

#[tokio::test]
async fn the_opening_has_a_time() {
    let site = Site::start(&format!("handshake_timeout = \"300ms\"\n{}", jwt("")));
    for words in ["", "GET /socket HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = TcpStream::connect(&site.authority)
            .await
            .expect("it listens");
        stream
            .write_all(words.as_bytes())
            .await
            .expect("it is open");
        let mut rest = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{words:?} is waited for for ever");
    }
    counted(
        &site,
        &[(
            "antiphon_limit_tripped_total{limit=\"handshake_timeout\"}",
            2.0,
        )],
    )
    .await;
}

#[tokio::test]
async fn a_handler_has_a_time() {
    // It takes connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let at = silent.local_addr().expect("it listens");
    let site = Site::start(&format!(
        "{}\n[limits]\nhandler_timeout = \"300ms\"\n\n[hooks.rpc]\nurl = \"http://{at}/\"\ntimeout = \"20s\"\n",
        jwt("")
    ));
    let mut peer = site.user("7").await;
    let reply = peer.ask("slow", json!({})).await;
    assert_eq!(
        (&reply["code"], &reply["temporary"]),
        (&json!(113), &json!(true)),
        "{reply}"
    );
    assert_eq!(peer.code("$ping", json!(null)).await, 0);
    counted(
        &site,
        &[(
            "antiphon_limit_tripped_total{limit=\"handler_timeout\"}",
            1.0,
        )],
    )
    .await;
}

#[tokio::test]
async fn a_backend_that_fails_again_and_again_is_left_alone() {
    let backend = Backend::start(|_| None).await;
    let site = Site::start(&format!(
        "{}\n[hooks.rpc]\nurl = \"http://{}/rpc\"\nretries = 0\n",
        jwt(""),
        backend.address
    ));
    let mut peer = site.user("7").await;
    for _ in 0..8 {
        assert_eq!(peer.code("any", json!({})).await, 100);
    }
    assert_eq!(backend.asked().len(), 5);
    counted(
        &site,
        &[
            ("antiphon_limit_tripped_total{limit=\"hook_breaker\"}", 3.0),
            ("antiphon_hook_breaker_openings_total{hook=\"rpc\"}", 1.0),
            ("antiphon_hook_breaker_open{hook=\"rpc\"}", 1.0),
        ],
    )
    .await;
}

/// A client in the tag `flood` that will not read, with as little room in its kernel as it allows.
async fn deaf(site: &Site) -> Peer {
    let socket = TcpSocket::new_v4().expect("a socket is made");
    socket.set_recv_buffer_size(4096).expect("the size is set");
    let address = site.authority.parse().expect("it is an address");
    let stream = socket.connect(address).await.expect("it listens");
    let client = client()
        .subprotocol(V2)
        .header("authorization", token("deaf"));
    let socket = client
        .connect_with(stream, site.url(""))
        .await
        .expect("it is let in");
    let mut peer = Peer::new(socket);
    let welcome = peer.next().await;
    assert_eq!(welcome["event"], "$connected", "{welcome}");
    assert_eq!(peer.code("$subscribe", json!({"ch": "flood"})).await, 0);
    peer
}

fn flooded(overflow: &str) -> Site {
    Site::start(&format!(
        "{}\n[permissions]\npublish = [\"*\"]\n\n[limits]\nmessage_rate = 100000\nmessage_burst = 100000\n\n\
         [websocket]\nmax_message_size = \"64KiB\"\nwrite_timeout = \"60s\"\n\n\
         [outbox]\nmax_bytes = \"128KiB\"\noverflow = \"{overflow}\"\n",
        jwt("")
    ))
}

/// Publishes until the kernel's buffers are full and the outbox, too: until a delivery has this field above 0.
async fn flood(site: &Site, field: &str) {
    let mut loud = site.user("loud").await;
    let data = "x".repeat(60_000);
    for _ in 0..1000 {
        let reply = loud
            .ask("$publish", json!({"ch": "flood", "data": data}))
            .await;
        assert_eq!(reply["code"], 0, "{reply}");
        if reply["data"][field].as_u64().is_some_and(|count| count > 0) {
            return;
        }
    }
    panic!("60 MB did not fill it");
}

#[tokio::test]
async fn whoever_does_not_read_is_closed() {
    let site = flooded("disconnect");
    let mut deaf = deaf(&site).await;
    flood(&site, "closing").await;
    counted(
        &site,
        &[
            ("antiphon_limit_tripped_total{limit=\"outbox\"}", 1.0),
            (
                "antiphon_closes_total{by=\"server\",code=\"3008\",reason=\"slow\"}",
                1.0,
            ),
        ],
    )
    .await;
    let (code, events) = deaf.end().await;
    // What was on its way can be read; the Close behind it may have been given up.
    assert!(code == 3008 || code == 1006, "{code}");
    assert!(
        events.iter().any(|event| event["ch"] == "flood"),
        "{}",
        events.len()
    );
}

#[tokio::test]
async fn whoever_does_not_read_is_told_of_the_gap() {
    let site = flooded("drop");
    let mut deaf = deaf(&site).await;
    flood(&site, "dropped").await;
    let (mut last, gap) = loop {
        let event = deaf.next().await;
        if event["event"] == "$gap" {
            break (event["data"]["from"].as_u64(), event);
        }
    };
    assert_eq!(
        (&gap["data"]["ch"], &gap["data"]["dropped"]),
        (&json!("flood"), &json!(1)),
        "{gap}"
    );
    assert!(last.take().is_some_and(|from| from > 1), "{gap}");
    assert_eq!(
        deaf.code("$ping", json!(null)).await,
        0,
        "the connection goes on"
    );
    counted(
        &site,
        &[
            ("antiphon_limit_tripped_total{limit=\"outbox\"}", 1.0),
            ("antiphon_messages_dropped_total{reason=\"full\"}", 1.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn behind_a_proxy_an_address_has_its_bound_too() {
    let site = Site::start(&format!(
        "trusted_proxies = [\"127.0.0.1\"]\nmax_connections_per_address = 2\n{}",
        jwt("")
    ));
    let from = |address: &str| {
        let client = client().subprotocol(V2).header("authorization", token("7"));
        client.header("x-forwarded-for", address)
    };
    let first = site.welcomed(&from("192.0.2.1"), "").await;
    let second = site.welcomed(&from("192.0.2.1"), "").await;
    let refused = from("192.0.2.1").connect(site.url("")).await;
    let refused = refused.expect_err("it is refused");
    assert!(
        matches!(refused.kind(), ErrorKind::Handshake(429)),
        "{refused}"
    );
    drop(site.welcomed(&from("192.0.2.2"), "").await);
    let row = "antiphon_limit_tripped_total{limit=\"connections_per_address\"}";
    counted(&site, &[(row, 1.0)]).await;
    drop((first, second));
}
