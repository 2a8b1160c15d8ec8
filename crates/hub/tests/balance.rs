//! A thousand subscribers, a tenth of whom do not read: the others lose nothing, and every message is accounted for.

mod support;

use antiphon::{Config, Role, WebSocket};
use antiphon_hub::{
    config::{HubConfig, Overflow},
    hub::Hub,
    identity::Identity,
    session::Hello,
    wire::Wire,
};
use serde_json::Value;
use support::{Peer, connect, user};
use tokio::{
    task::JoinHandle,
    time::{Duration, sleep, timeout},
};

const HEALTHY: usize = 900;
const STALLED: usize = 100;
const MESSAGES: u64 = 200;
const OUTBOX: usize = 16 * 1024;

/// What a client has counted itself.
#[derive(Debug, Default)]
struct Heard {
    messages: u64,
    dropped: u64,
    code: Option<u16>,
}

fn member(name: String) -> Identity {
    let mut identity = user(&name);
    identity.tags = vec!["news".into()];
    identity
}

/// A client that does not read before it is told to, and whose pipe holds hardly anything.
fn stalled(hub: &Hub, number: usize) -> Peer {
    let (near, far) = tokio::io::duplex(2048);
    let mut config = Config::default();
    config.write_high_water = 2048;
    let server = WebSocket::from_io(far, Role::Server, config);
    let hello = Hello::from_identity(member(format!("stalled-{number}")));
    Peer {
        served: tokio::spawn(hub.serve_as(server, Wire::V2, hello)),
        socket: WebSocket::from_io(near, Role::Client, Config::default()),
    }
}

/// Reads until nothing comes for a second, and checks that offsets ascend, one by one where nothing may be missing.
async fn listen(mut peer: Peer, complete: bool) -> (Heard, Peer) {
    let mut heard = Heard::default();
    let mut latest = 0;
    while let Ok(message) = timeout(Duration::from_secs(1), peer.socket.recv()).await {
        let Some(message) = message.expect("an orderly end") else {
            heard.code = peer.socket.close_frame().map(|frame| frame.code.get());
            break;
        };
        let event: Value = serde_json::from_str(message.as_text().unwrap()).unwrap();
        match event["event"].as_str() {
            Some("n") => {
                let offset = event["offset"].as_u64().unwrap();
                assert!(
                    offset == latest + 1 || (offset > latest && !complete),
                    "{offset} after {latest}"
                );
                latest = offset;
                heard.messages += 1;
            }
            Some("$gap") => heard.dropped += event["data"]["dropped"].as_u64().unwrap(),
            _ => {}
        }
    }
    (heard, peer)
}

async fn balance(overflow: Overflow) {
    let mut config = HubConfig::default();
    config.max_outbox_bytes = OUTBOX;
    config.overflow = overflow;
    let hub = Hub::new(config);
    let slow: Vec<_> = (0..STALLED).map(|number| stalled(&hub, number)).collect();
    let healthy: Vec<JoinHandle<_>> = (0..HEALTHY)
        .map(|number| connect(&hub, Wire::V2, member(format!("healthy-{number}"))))
        .map(|peer| tokio::spawn(listen(peer, true)))
        .collect();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(hub.tag("news").count(), HEALTHY + STALLED);

    let text = "x".repeat(500);
    let (mut receivers, mut queued, mut conflated, mut dropped, mut closing) = (0, 0, 0, 0, 0);
    for number in 0..MESSAGES {
        let mut audience = hub.tag("news");
        if overflow == Overflow::Latest {
            audience = audience.latest((number % 7).to_string());
        }
        let delivery = audience.send("n", &text).await.unwrap();
        assert_eq!(
            delivery.receivers,
            delivery.queued + delivery.dropped + delivery.closing
        );
        receivers += delivery.receivers;
        queued += delivery.queued;
        conflated += delivery.conflated;
        dropped += delivery.dropped;
        closing += delivery.closing;
        sleep(Duration::from_millis(1)).await;
        let (connections, _, bytes) = hub.waiting();
        assert!(
            connections <= STALLED && bytes <= STALLED * OUTBOX,
            "{:?}",
            hub.waiting()
        );
    }
    // Now the stalled ones read as well.
    let slow: Vec<_> = slow
        .into_iter()
        .map(|peer| tokio::spawn(listen(peer, false)))
        .collect();

    for peer in healthy {
        let (heard, _) = peer.await.unwrap();
        assert_eq!(
            (heard.messages, heard.dropped, heard.code),
            (MESSAGES, 0, None)
        );
    }
    let (mut heard, mut told, mut peers) = (0, 0, Vec::new());
    for peer in slow {
        let (own, peer) = peer.await.unwrap();
        heard += own.messages;
        told += own.dropped;
        match overflow {
            Overflow::Disconnect => assert_eq!(own.code, Some(3008)),
            Overflow::Drop => assert_eq!((own.messages + own.dropped, own.code), (MESSAGES, None)),
            _ => assert!(own.messages >= 7 && own.code.is_none(), "{own:?}"),
        }
        peers.push(peer);
    }

    let stats = hub.stats();
    let slow_ones = STALLED as u64 * MESSAGES;
    assert_eq!(hub.waiting(), (0, 0, 0));
    assert_eq!(
        (stats.published, stats.dropped, stats.slow),
        (MESSAGES, dropped, closing)
    );
    assert_eq!((stats.conflated, told), (conflated, dropped));
    // Of what was for the slow ones: heard, replaced, dropped, thrown away with the queue, or too late.
    assert_eq!(
        heard + conflated + dropped + stats.discarded + closing,
        slow_ones,
        "{stats:?}"
    );
    assert_eq!(queued + dropped + closing, receivers);
    assert_eq!(
        stats.queued,
        stats.written + stats.conflated + stats.discarded,
        "{stats:?}"
    );
    match overflow {
        Overflow::Disconnect => assert_eq!(stats.ended.get(&3008), Some(&(STALLED as u64))),
        Overflow::Drop => assert!(dropped > 0 && closing == 0 && conflated == 0),
        _ => assert!(conflated > 0 && closing == 0),
    }
    for peer in peers {
        drop(peer.socket);
        peer.served.await.unwrap();
    }
    while hub.all().count() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(hub.stats().memory_used, 0);
}

#[tokio::test(start_paused = true)]
async fn a_tenth_that_stalls_is_closed_and_the_others_lose_nothing() {
    balance(Overflow::Disconnect).await;
}

#[tokio::test(start_paused = true)]
async fn a_tenth_that_stalls_is_told_what_it_missed_and_the_others_lose_nothing() {
    balance(Overflow::Drop).await;
}

#[tokio::test(start_paused = true)]
async fn a_tenth_that_stalls_gets_the_latest_values_and_the_others_lose_nothing() {
    balance(Overflow::Latest).await;
}
