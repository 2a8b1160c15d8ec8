//! Hostile peers of five kinds beside two honest ones: the honest ones lose nothing, the server stays within its memory,
//! each bound is counted, and nothing is left behind.
//!
//! The latency of an honest client is printed and not asserted. All of a thousand peers, for ten seconds:
//! `HOSTILE=1000 SECONDS=10 cargo test --release -p antiphon-server --test realtime hostile -- --nocapture`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Builder,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    site::{PATIENCE, Peer, Site, V2, jwt, value},
    token::token,
};

/// Messages that one honest client sends to the other.
const MESSAGES: usize = 300;

/// Most memory of the server, as its metrics say.
const MEMORY: f64 = 768.0 * 1024.0 * 1024.0;

fn number(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A frame of a client; its masking key is zero.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u8::try_from(payload.len()) {
        Ok(short @ 0..126) => frame.push(0x80 | short),
        _ => {
            let length = u16::try_from(payload.len()).expect("it is short");
            frame.push(0xfe);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

const TEXT: u8 = 0x81;

/// What a hostile peer does.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Is in a room, publishes into it, and reads nothing.
    Mute,
    Pings,
    /// Nonsense, deep JSON, requests.
    Garbage,
    EmptyFragments,
    /// Half a request, and then nothing.
    HalfHandshake,
}

/// Of ten.
const KINDS: [Kind; 10] = [
    Kind::Mute,
    Kind::Mute,
    Kind::Mute,
    Kind::Pings,
    Kind::Pings,
    Kind::Garbage,
    Kind::Garbage,
    Kind::EmptyFragments,
    Kind::HalfHandshake,
    Kind::HalfHandshake,
];

impl Kind {
    /// What it sends again and again.
    fn flood(self, round: usize) -> Vec<u8> {
        let publish = json!({"event": "$publish", "id": 1, "data": {"ch": "crowd", "event": "e", "key": "k", "data": 1}});
        let publish = frame(TEXT, publish.to_string().as_bytes()).repeat(10);
        match self {
            Self::Mute => publish,
            Self::Pings => frame(0x89, &[b'x'; 125]).repeat(50),
            Self::Garbage => match round % 4 {
                0 => frame(TEXT, "[".repeat(20_000).as_bytes()),
                1 => {
                    let deep = format!(
                        r#"{{"event":"e","data":{}{}}}"#,
                        "[".repeat(9000),
                        "]".repeat(9000)
                    );
                    frame(TEXT, deep.as_bytes())
                }
                2 => frame(TEXT, b"\0nonsense"),
                _ => publish,
            },
            Self::EmptyFragments => [frame(0x01, b"a"), frame(0x00, b"").repeat(40)].concat(),
            Self::HalfHandshake => Vec::new(),
        }
    }

    /// Until the peer is closed, or all are told to end.
    async fn attack(self, authority: String, token: String, mut end: watch::Receiver<bool>) {
        let Ok(mut stream) = TcpStream::connect(&authority).await else {
            return;
        };
        let attack = async {
            if matches!(self, Self::HalfHandshake) {
                stream.write_all(b"GET /socket HTTP/1.1\r\nHo").await?;
                return stream.read(&mut [0]).await.map(|_| ());
            }
            let request = format!(
                "GET /socket?token={token} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Protocol: {V2}\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await?;
            stream.read_exact(&mut [0; 12]).await?;
            if matches!(self, Self::Mute) {
                let join = json!({"event": "$subscribe", "id": 1, "data": {"ch": "crowd"}});
                stream
                    .write_all(&frame(TEXT, join.to_string().as_bytes()))
                    .await?;
            }
            for round in 0.. {
                // A fragment is the first of its message only once.
                let flood = match self {
                    Self::EmptyFragments if round > 0 => frame(0x00, b"").repeat(40),
                    _ => self.flood(round),
                };
                stream.write_all(&flood).await?;
                sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        };
        tokio::select! {
            _ = attack => {}
            _ = end.wait_for(|end| *end) => {}
        }
    }
}

/// Attacks from a thread of its own until the channel says that it ends, or closes.
fn attack(authority: &str, peers: u64, end: watch::Receiver<bool>) -> std::thread::JoinHandle<()> {
    let authority = authority.to_owned();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let mut attacks = JoinSet::new();
            for (index, kind) in (0..peers).zip(KINDS.iter().cycle()) {
                let token = token(&(index % 50).to_string());
                attacks.spawn(kind.attack(authority.clone(), token, end.clone()));
            }
            attacks.join_all().await;
        });
    })
}

/// Pings until `end`; how long each took, the shortest first.
async fn ping(peer: &mut Peer, end: Instant) -> Vec<Duration> {
    let mut times = Vec::new();
    while Instant::now() < end {
        let begun = Instant::now();
        assert_eq!(peer.code("$ping", Value::Null).await, 0);
        times.push(begun.elapsed());
        sleep(Duration::from_millis(5)).await;
    }
    times.sort_unstable();
    times
}

fn show(when: &str, times: &[Duration]) {
    let at = |share: usize| times.get((times.len() * share / 1000).min(times.len() - 1));
    println!(
        "{when}: {} pings, p50 {:?} p99 {:?} max {:?}",
        times.len(),
        at(500),
        at(990),
        at(1000)
    );
}

#[tokio::test]
async fn honest_clients_lose_nothing_beside_hostile_ones() {
    let peers = number("HOSTILE", 100);
    let time = Duration::from_secs(number("SECONDS", 3));
    let site = Site::start(&format!(
        "workers = 1\nhandshake_timeout = \"1s\"\n{}\n[permissions]\njoin = [\"*\"]\npublish = [\"*\"]\n\n\
         [[tags]]\npattern = \"crowd\"\noverflow = \"latest\"\n",
        jwt("")
    ));
    let (mut ada, mut bob) = (site.user("ada").await, site.user("bob").await);
    let mut pinging = site.user("eve").await;
    assert_eq!(bob.code("$subscribe", json!({"ch": "tea"})).await, 0);
    show(
        "before",
        &ping(&mut pinging, Instant::now() + Duration::from_millis(200)).await,
    );

    let (end, is_over) = watch::channel(false);
    let attackers = attack(&site.authority, peers, is_over);
    let until = Instant::now() + time;
    let (times, (), ()) = tokio::join!(
        ping(&mut pinging, until),
        async {
            for number in 0..MESSAGES {
                let message = json!({"ch": "tea", "event": "n", "data": number});
                let reply = ada.ask("$publish", message).await;
                assert_eq!(
                    (&reply["code"], &reply["data"]["queued"]),
                    (&json!(0), &json!(1)),
                    "{reply}"
                );
                sleep(time / 400).await;
            }
        },
        async {
            for number in 0..MESSAGES {
                assert_eq!(bob.next().await["data"], number);
            }
        }
    );
    show("attacked", &times);
    for limit in [
        "message_rate",
        "fanout",
        "control_frames",
        "fragments",
        "json_depth",
        "handshake_timeout",
    ] {
        let sample = format!("antiphon_limit_tripped_total{{limit=\"{limit}\"}}");
        site.counted(&sample, 1.0).await;
    }
    let metrics = site.metrics().await;
    let memory = value(&metrics, "process_resident_memory_bytes").unwrap_or_default();
    println!("memory {} MiB", memory / 1024.0 / 1024.0);
    assert!(memory < MEMORY, "{memory}");
    for line in metrics.lines() {
        if line.starts_with("antiphon_limit_tripped") && !line.ends_with(" 0") {
            println!("{line}");
        }
    }

    // Most have been closed, and wait for nothing.
    let _ = end.send(true);
    attackers.join().expect("the attackers end");
    let begun = Instant::now();
    site.until("the hostile ones have gone", async || {
        let metrics = site.metrics().await;
        value(&metrics, "antiphon_connections") == Some(3.0)
            && value(&metrics, "antiphon_waiting_bytes") == Some(0.0)
            && value(&metrics, "antiphon_handlers_running") == Some(0.0)
    })
    .await;
    println!("recovered after {:?}", begun.elapsed());
    let after = timeout(
        PATIENCE,
        ping(&mut pinging, Instant::now() + Duration::from_millis(200)),
    );
    show("after", &after.await.expect("pings are answered"));
    assert_eq!(site.log().matches("panic").count(), 0, "{}", site.log());
}
