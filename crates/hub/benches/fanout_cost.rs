//! What a send costs among 100, 10,000 and 1,000,000 connections: as much as it has receivers.
//!
//! `cargo bench -p antiphon-hub`. Everything is in memory; the last step needs about 3 GB.

use std::{
    hint::black_box,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use antiphon::{Config, Role, WebSocket};
use antiphon_hub::{
    audience::Audience, config::HubConfig, hub::Hub, identity::Identity, permission::Permissions,
    session::Hello, wire::Wire,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A transport on which nothing ever comes, and which takes everything.
struct Silent;

impl AsyncRead for Silent {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Silent {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Members of each user and of each tag.
const MEMBERS: usize = 10;

/// Sends between two moments in which the sessions write.
const BATCH: usize = 20;

const BATCHES: usize = 400;

type Choose = fn(&Hub, usize) -> Audience;

/// Whom a send is for: one user or tag of many.
const TARGETS: [(&str, Choose); 2] = [
    ("user", |hub, group| hub.user(format!("user-{group}"))),
    ("tag", |hub, group| hub.tag(format!("tag-{group}"))),
];

fn connect(hub: &Hub, permissions: &Arc<Permissions>, number: usize) {
    let group = number / MEMBERS;
    let mut identity = Identity::user(format!("user-{group}"), permissions.clone());
    identity.tags = vec![format!("tag-{group}").into()];
    let mut config = Config::default();
    config.ping_interval = None;
    let socket = WebSocket::from_io(Silent, Role::Server, config);
    tokio::spawn(hub.serve_as(socket, Wire::V1, Hello::from_identity(identity)));
}

/// Time for one send, the median of all batches; `spread` chooses the group for each.
async fn measure(hub: &Hub, choose: Choose, spread: impl Fn(usize) -> usize) -> Duration {
    let mut spent = Vec::with_capacity(BATCHES);
    for batch in 0..BATCHES {
        let audiences: Vec<_> = (0..BATCH)
            .map(|send| choose(hub, spread(batch * BATCH + send)))
            .collect();
        let start = Instant::now();
        for audience in &audiences {
            let delivery = audience
                .send("event", "some text, as it is in a chat")
                .await;
            assert_eq!(
                black_box(delivery).map(|delivery| delivery.queued),
                Ok(MEMBERS as u64)
            );
        }
        spent.push(start.elapsed());
        while hub.stats().queued > hub.stats().written {
            tokio::task::yield_now().await;
        }
    }
    spent.sort_unstable();
    spent[BATCHES / 2] / u32::try_from(BATCH).unwrap_or(1)
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("a benchmark: run it with cargo bench -p antiphon-hub");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let permissions = Arc::new(Permissions::all());
    println!(
        "{:>11}  {:6} {:>14} {:>7} {:>14} {:>7}",
        "connections", "to", "same, ns", "ratio", "spread, ns", "ratio"
    );
    let mut first = Vec::new();
    for count in [100, 10_000, 1_000_000] {
        let hub = Hub::new(HubConfig::default());
        runtime.block_on(async {
            for number in 0..count {
                connect(&hub, &permissions, number);
                if number % 1_000 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            while hub.all().count() < count {
                tokio::task::yield_now().await;
            }
            for (index, (name, choose)) in TARGETS.into_iter().enumerate() {
                let groups = count / MEMBERS;
                let same = measure(&hub, choose, |_| groups / 2).await;
                // A multiplicative hash: far from the last one, and the same in each run.
                let spread = measure(&hub, choose, |send| {
                    send.wrapping_mul(2_654_435_761) % groups
                })
                .await;
                if first.len() <= index {
                    first.push((same, spread));
                }
                let ratio = |now: Duration, then: Duration| now.as_secs_f64() / then.as_secs_f64();
                println!(
                    "{count:>11}  {name:6} {:>14} {:>7.2} {:>14} {:>7.2}",
                    same.as_nanos(),
                    ratio(same, first[index].0),
                    spread.as_nanos(),
                    ratio(spread, first[index].1),
                );
            }
        });
    }
    // Taking a million connections down is not what is measured.
    std::process::exit(0);
}
