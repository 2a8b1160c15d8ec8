//! SIGHUP reads the configuration again; SIGTERM asks everybody to go, at a pace.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::json;

use super::{
    site::{Answer, Peer, Site, V2, client, jwt},
    token::{OTHER, SECRET, claims, signed, token},
};
use crate::support::{Scratch, run};

const APPLIED: &str = "the configuration is read again";
const REFUSED: &str = "the old one stays";

async fn reload(site: &Site, config: &str, words: &str) {
    let before = site.log().matches(words).count();
    site.rewrite(config);
    site.signal(Signal::HUP);
    site.logged(words, before).await;
}

/// What a reload changes in the tests below.
fn config(secret: &str, rate: u32, join: &str, rule: &str) -> String {
    format!(
        "\n[auth]\nmode = \"jwt\"\nsecret = \"{secret}\"\n\n[limits]\nmessage_rate = {rate}\nmessage_burst = {rate}\n\n\
         [permissions]\njoin = [\"{join}\"]\npublish = [\"room:*\"]\n\n[[tags]]\npattern = \"room:*\"\npublish = \"{rule}\"\n"
    )
}

#[tokio::test]
async fn a_bad_file_is_refused_and_the_old_one_stays() {
    let good = config(SECRET, 50, "room:*", "permitted");
    let site = Site::start(&good);
    let mut peer = site.user("7").await;
    let bad = good
        .replace("message_rate = 50", "message_rate = \"many\"")
        .replace(SECRET, OTHER);
    reload(&site, &bad, REFUSED).await;
    let line = bad
        .lines()
        .position(|line| line.starts_with("message_rate"))
        .unwrap_or_default();
    // Four lines stand in front of it.
    let place = format!("{}:{}:", site.file(), line + 5);
    let log = site.log();
    let said = log
        .lines()
        .find(|line| line.contains(&place) && line.contains("limits.message_rate"));
    assert!(
        said.is_some_and(|said| said.contains("ERROR")),
        "{place}: {log}"
    );
    assert_eq!(peer.code("$subscribe", json!({"ch": "room:1"})).await, 0);
    let next = site.user("8").await;
    assert_eq!(next.session["limits"]["rate"], 50);
}

#[tokio::test]
async fn a_good_file_is_in_force_at_once() {
    let site = Site::start(&config(SECRET, 50, "room:*", "permitted"));
    let mut peer = site.user("7").await;
    assert_eq!(peer.code("$subscribe", json!({"ch": "room:1"})).await, 0);
    assert_eq!(
        peer.code("$publish", json!({"ch": "room:1", "data": 1}))
            .await,
        0
    );
    reload(&site, &config(OTHER, 7, "hall:*", "nobody"), APPLIED).await;
    let log = site.log();
    for key in [
        "limits.message_rate",
        "limits.message_burst",
        "permissions.join",
        "auth.secret",
        "\"tags\"",
    ] {
        assert!(log.contains(key), "{key}: {log}");
    }
    assert!(
        !log.contains("wait for a restart"),
        "all of these are applied: {log}"
    );

    // Who is there stays; the rules of tags hold for it, too.
    assert_eq!(peer.code("$ping", json!(null)).await, 0);
    assert_eq!(
        peer.code("$publish", json!({"ch": "room:1", "data": 1}))
            .await,
        103
    );
    let answer = site.handshake(&format!("?token={}", token("8")), "").await;
    assert_eq!(
        answer.json()["error"]["reason"],
        "token_signature",
        "{answer:?}"
    );
    let newer = signed(OTHER, r#"{"alg":"HS256"}"#, &claims("8", json!({})));
    let mut next = site.peer(&newer).await;
    assert_eq!(
        next.session["limits"],
        json!({"tags": 128, "rate": 7, "burst": 7})
    );
    assert_eq!(next.code("$subscribe", json!({"ch": "room:1"})).await, 103);
    assert_eq!(next.code("$subscribe", json!({"ch": "hall:1"})).await, 0);
}

#[tokio::test]
async fn what_needs_a_restart_is_named() {
    let site = Site::start(&jwt(""));
    let changed = format!("path = \"/elsewhere\"\n{}", jwt(""));
    reload(&site, &changed, "wait for a restart").await;
    let log = site.log();
    assert!(
        log.lines()
            .any(|line| line.contains("wait for a restart") && line.contains("server.path")),
        "{log}"
    );
    assert_eq!(
        site.handshake(&format!("?token={}", token("7")), "")
            .await
            .status,
        101
    );
}

/// A certificate for localhost and its key, as PEM.
fn certificate() -> (String, String) {
    let key = rcgen::KeyPair::generate().expect("a key is made");
    let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]);
    let made = params
        .and_then(|params| params.self_signed(&key))
        .expect("a certificate is made");
    (made.pem(), key.serialize_pem())
}

#[tokio::test]
async fn certificates_are_read_again() {
    let (first, second) = (certificate(), certificate());
    let cert = Scratch::new("cert.pem", first.0.as_bytes());
    let key = Scratch::new("key.pem", first.1.as_bytes());
    let config = format!(
        "{}\n[tls]\ncert = \"{}\"\nkey = \"{}\"\n",
        jwt(""),
        cert.path(),
        key.path()
    );
    let site = Site::start(&config);
    let trusting = |pem: &str| {
        let tls = antiphon::ClientTls::new().root_pem(pem);
        client()
            .tls(tls)
            .subprotocol(V2)
            .header("authorization", token("7"))
    };
    let mut peer = site.welcomed(&trusting(&first.0), "").await;
    assert!(trusting(&second.0).connect(site.url("")).await.is_err());
    let before = site.log().matches("certificates are read again").count();
    std::fs::write(&cert.0, &second.0).expect("the file can be written");
    std::fs::write(&key.0, &second.1).expect("the file can be written");
    site.signal(Signal::HUP);
    site.logged("certificates are read again", before).await;
    drop(site.welcomed(&trusting(&second.0), "").await);
    assert!(trusting(&first.0).connect(site.url("")).await.is_err());
    assert_eq!(
        peer.code("$ping", json!(null)).await,
        0,
        "who is there stays"
    );
    // Half of a renewal: the old certificate stays.
    std::fs::write(&key.0, &first.1).expect("the file can be written");
    site.signal(Signal::HUP);
    site.logged("the old certificate stays", 0).await;
    drop(site.welcomed(&trusting(&second.0), "").await);
}

const CLIENTS: usize = 300;

/// This many clients of v2, and one of v1.
async fn crowd(site: &Site) -> (Vec<Peer>, Peer) {
    let mut peers = Vec::new();
    let v2 = client()
        .subprotocol(V2)
        .header("authorization", token("crowd"));
    for _ in 0..CLIENTS {
        peers.push(site.welcomed(&v2, "").await);
    }
    let v1 = site
        .open(&client().header("authorization", token("old")), "")
        .await;
    (peers, v1)
}

fn crowded(drain: &str) -> Site {
    Site::start(&format!(
        "max_connections_per_address = 1000\ndrain = \"{drain}\"\n{}\n[limits]\nconnections_per_user = 1000\n",
        jwt("")
    ))
}

#[tokio::test]
async fn at_sigterm_everybody_is_asked_to_go_at_a_pace() {
    let mut site = crowded("30s");
    let (peers, mut v1) = crowd(&site).await;
    assert_eq!(site.beside("/ready").await.status, 200);
    assert_eq!(site.get("/ready").await.status, 200);
    let begun = Instant::now();
    site.signal(Signal::TERM);
    let ends: Vec<_> = peers
        .into_iter()
        .map(|mut peer| {
            tokio::spawn(async move {
                let (code, events) = peer.end().await;
                (code, events, begun.elapsed())
            })
        })
        .collect();
    let end_of_v1 = tokio::spawn(async move { v1.end().await });
    // The drain takes three seconds, ten milliseconds for each; this is at its beginning.
    site.logged("stopping", 0).await;
    let ready = site.beside("/ready").await;
    assert_eq!(ready.status, 503, "{ready:?}");
    assert_eq!(site.beside("/live").await.status, 200);
    let Answer { status, .. } = site
        .handshake(&format!("?token={}", token("late")), "")
        .await;
    assert_eq!(status, 0, "nobody listens any more");

    let (mut delays, mut times) = (BTreeSet::new(), Vec::new());
    for end in ends {
        let (code, events, after) = end.await.expect("it has ended");
        assert_eq!(code, 1012, "{events:?}");
        let goodbye = events.last().expect("a goodbye comes");
        assert_eq!(goodbye["event"], "$disconnect", "{goodbye}");
        assert_eq!(
            (&goodbye["data"]["code"], &goodbye["data"]["reconnect"]),
            (&json!(1012), &json!(true)),
            "{goodbye}"
        );
        delays.insert(goodbye["data"]["delayMs"].as_u64().expect("it is a number"));
        times.push(after);
    }
    assert!(delays.len() > CLIENTS / 4, "they are spread: {delays:?}");
    assert!(delays.iter().all(|delay| *delay <= 5000), "{delays:?}");
    let (first, last) = (times.iter().min(), times.iter().max());
    let between = last
        .zip(first)
        .map(|(last, first)| last.saturating_sub(*first));
    assert!(
        between.is_some_and(|between| between > Duration::from_millis(100)),
        "{between:?}"
    );
    let (code, events) = end_of_v1.await.expect("it has ended");
    assert_eq!((code, events.len()), (1012, 0), "{events:?}");
    assert_eq!(site.ended().await, Some(0), "{}", site.log());
}

#[tokio::test]
async fn a_second_sigterm_does_not_wait() {
    let mut site = crowded("60s");
    let (peers, v1) = crowd(&site).await;
    site.signal(Signal::TERM);
    site.logged("stopping", 0).await;
    site.signal(Signal::TERM);
    let ends: Vec<_> = peers
        .into_iter()
        .map(|mut peer| tokio::spawn(async move { peer.end().await.0 }))
        .collect();
    let mut codes = BTreeSet::new();
    for end in ends {
        codes.insert(end.await.expect("it has ended"));
    }
    assert!(
        codes.iter().all(|code| [1001, 1006, 1012].contains(code)),
        "{codes:?}"
    );
    assert!(
        codes.contains(&1001) || codes.contains(&1006),
        "not all had to be waited for: {codes:?}"
    );
    assert_eq!(site.ended().await, Some(0), "{}", site.log());
    drop(v1);
}

#[tokio::test]
async fn what_cannot_be_served_is_said_before_anything_listens() {
    let bad = Scratch::new("bad.toml", b"[auth]\nmode = \"jwt\"\n");
    let outcome = run(["serve", "--config", bad.path()], b"");
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (Some(1), ""),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("auth.mode"), "{}", outcome.stderr);
    let taken = Site::start(&jwt(""));
    let again = Scratch::new(
        "again.toml",
        format!("[server]\nlisten = \"{}\"\n", taken.authority).as_bytes(),
    );
    let outcome = run(["serve", "--config", again.path()], b"");
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (Some(1), ""),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains(&taken.authority),
        "{}",
        outcome.stderr
    );
}
