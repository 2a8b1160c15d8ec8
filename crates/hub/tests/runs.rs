//! What is sent to many is written in runs, and by the sessions wherever a run cannot.

mod support;

use antiphon_hub::{config::HubConfig, hub::Hub, session::Hello, wire::Wire};
use futures_util::FutureExt;
use support::{Peer, anonymous, connect_with, v2};

/// More than two runs.
const MEMBERS: usize = 70;

async fn members(hub: &Hub, count: usize) -> Vec<Peer> {
    let mut members = Vec::new();
    for _ in 0..count {
        members.push(v2(hub, anonymous()).await);
    }
    members
}

async fn check_numbers(member: &mut Peer, upto: usize) {
    for number in 0..upto {
        assert_eq!(member.next().await["data"], number);
    }
}

/// In bursts of every length, so that a run finds one frame, some, or as many as a socket has room for.
#[tokio::test(start_paused = true)]
async fn a_member_that_reads_late_holds_up_nobody_and_misses_nothing() {
    const MESSAGES: usize = 3000;
    let mut config = HubConfig::default();
    config.max_outbox_messages = MESSAGES + 1;
    let hub = Hub::new(config);
    let hello = Hello::from_identity(anonymous());
    let mut late = connect_with(&hub, Wire::V2, hello, 100);
    assert_eq!(late.next().await["event"], "$connected");
    let mut members = members(&hub, MEMBERS).await;
    let (mut sent, mut burst) = (0, 1);
    while sent < MESSAGES {
        let before = sent;
        while sent < MESSAGES && sent < before + burst {
            let delivery = hub.all().send("number", sent).await.unwrap();
            assert_eq!(delivery.queued, MEMBERS as u64 + 1);
            sent += 1;
        }
        for member in &mut members {
            for number in before..sent {
                assert_eq!(member.next().await["data"], number);
            }
        }
        burst = burst * 2 % 301;
    }
    assert_eq!(hub.waiting().0, 1, "only the late one");
    check_numbers(&mut late, MESSAGES).await;
    let stats = hub.stats();
    assert_eq!((stats.queued, stats.discarded), (stats.written, 0));
}

#[tokio::test]
async fn without_a_runtime_the_sessions_write() {
    let hub = Hub::new(HubConfig::default());
    let mut members = members(&hub, MEMBERS).await;
    let sends = std::thread::spawn(move || {
        for number in 0..3 {
            let sent = hub.all().send("number", number).now_or_never();
            assert!(sent.is_some_and(|sent| sent.is_ok()));
        }
        hub
    });
    for member in &mut members {
        check_numbers(member, 3).await;
    }
    let _hub = sends.join();
}

#[tokio::test]
async fn a_run_that_never_ran_leaves_its_work_to_the_sessions() {
    let hub = Hub::new(HubConfig::default());
    let mut members = members(&hub, MEMBERS).await;
    let other = hub.clone();
    let ended = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(async {
            for number in 0..3 {
                assert!(other.all().send("number", number).await.is_ok());
            }
        });
        // Its tasks are dropped with it.
        drop(runtime);
    });
    for member in &mut members {
        check_numbers(member, 3).await;
    }
    assert!(ended.join().is_ok());
}

/// As in a server with a runtime for each core.
#[tokio::test]
async fn members_in_other_runtimes_are_written_to_there() {
    let hub = Hub::new(HubConfig::default());
    let mut here = members(&hub, MEMBERS).await;
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let other = hub.clone();
    let there = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let mut there = members(&other, MEMBERS).await;
            assert!(ready.send(()).is_ok());
            for member in &mut there {
                check_numbers(member, 3).await;
            }
        });
    });
    assert!(is_ready.await.is_ok());
    for number in 0..3 {
        let delivery = hub.all().send("number", number).await.unwrap();
        assert_eq!(delivery.queued, 2 * MEMBERS as u64);
    }
    for member in &mut here {
        check_numbers(member, 3).await;
    }
    assert!(there.join().is_ok());
}
