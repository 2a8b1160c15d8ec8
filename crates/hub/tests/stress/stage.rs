//! What scenarios play on: a runtime with its clock, a hub, clients of all tempers, and a look at what is left.

use std::{
    io, panic,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use antiphon::{Config, Role, WebSocket};
use antiphon_hub::{
    config::HubConfig,
    hub::{Delivery, Hub},
    identity::Identity,
    occurrence::{Cause, Occurrence},
    session::Hello,
    wire::Wire,
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};

use crate::support::{Peer, connect_with};

/// A scenario: it gives back its hub, so that what is left can be seen.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) clock: Clock,
    pub(crate) play: fn() -> Pin<Box<dyn Future<Output = Hub>>>,
}

/// What time is in a scenario.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// One thread; time stands still while anybody can run, and jumps when nobody can.
    Virtual,
    /// Two threads and real time, for races.
    Threads,
}

macro_rules! scenarios {
    ($($clock:ident $name:ident;)*) => {
        pub(crate) const SCENARIOS: &[crate::stage::Scenario] = &[
            $(crate::stage::Scenario {
                name: stringify!($name),
                clock: crate::stage::Clock::$clock,
                play: || Box::pin($name()),
            },)*
        ];
    };
}
pub(crate) use scenarios;

pub(crate) const EXPECTED: &str = "this panic belongs to the test";

/// Panics that a scenario wants are not printed.
pub(crate) fn silence_expected_panics() {
    let loud = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let text = info.payload().downcast_ref::<&str>().copied();
        if text != Some(EXPECTED) {
            loud(info);
        }
    }));
}

pub(crate) fn expected_panic() {
    panic::panic_any(EXPECTED);
}

/// Plays a scenario, and panics where it does or where it leaves something behind.
pub(crate) fn perform(scenario: &Scenario) {
    let runtime = match scenario.clock {
        Clock::Virtual => Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build(),
        Clock::Threads => Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build(),
    };
    let runtime = runtime.expect("a runtime");
    let hub = runtime.block_on((scenario.play)());
    let rounds = match scenario.clock {
        Clock::Virtual => 100_000,
        Clock::Threads => 1_000,
    };
    let mut left = String::new();
    for _ in 0..rounds {
        left = remains(&hub, &runtime);
        if left.is_empty() {
            return;
        }
        runtime.block_on(async { sleep(Duration::from_millis(10)).await });
    }
    panic!("{} left behind: {left}", scenario.name);
}

fn remains(hub: &Hub, runtime: &Runtime) -> String {
    let stats = hub.stats();
    let left = [
        ("connections", hub.all().count()),
        ("users", stats.users),
        ("tags", stats.tags),
        ("listed", hub.connections(&Default::default(), 0, 10).total),
        ("bytes", stats.memory_used),
        ("handlers", stats.handlers_running),
        ("waiting", hub.waiting().1),
        ("tasks", runtime.metrics().num_alive_tasks()),
    ];
    let left: Vec<String> = left
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    if left.is_empty() {
        let out = stats.written + stats.conflated + stats.discarded;
        assert_eq!(
            stats.queued, out,
            "queued is written, conflated or discarded: {stats:?}"
        );
    }
    left.join(", ")
}

pub(crate) fn hub(configure: impl FnOnce(&mut HubConfig)) -> Hub {
    let mut config = HubConfig::default();
    configure(&mut config);
    Hub::new(config)
}

/// Lets everybody run until all wait.
pub(crate) async fn settle() {
    sleep(Duration::from_millis(20)).await;
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A client between whose socket and the hub's hardly anything fits.
pub(crate) fn narrow(hub: &Hub, wire: Wire, identity: Identity) -> Peer {
    cable(hub, wire, identity).0
}

/// As [`narrow`], with what cuts it.
pub(crate) fn cable(hub: &Hub, wire: Wire, identity: Identity) -> (Peer, Arc<Cut>) {
    let (near, io) = tokio::io::duplex(1024);
    let cut = Arc::<Cut>::default();
    let far = Cable {
        io,
        cut: cut.clone(),
    };
    let mut config = Config::default();
    config.write_high_water = 1024;
    let server = WebSocket::from_io(far, Role::Server, config);
    let served = tokio::spawn(hub.serve_as(server, wire, Hello::from_identity(identity)));
    let socket = WebSocket::from_io(near, Role::Client, Config::default());
    (Peer { socket, served }, cut)
}

/// A client of v2 that has not said who it is.
pub(crate) fn stranger(hub: &Hub) -> Peer {
    connect_with(hub, Wire::V2, Hello::default(), 64 * 1024)
}

/// All events that come within a second; they may be none.
pub(crate) async fn all_events(peer: &mut Peer) -> Vec<Value> {
    let mut events = Vec::new();
    while let Ok(event) = timeout(seconds(1), peer.next()).await {
        events.push(event);
    }
    events
}

/// A connection through a cable that can be cut.
pub(crate) struct Cable {
    io: DuplexStream,
    cut: Arc<Cut>,
}

#[derive(Default)]
pub(crate) struct Cut {
    is_cut: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Cut {
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, SeqCst);
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap());
        wakers.into_iter().for_each(Waker::wake);
    }

    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        self.wakers.lock().unwrap().push(cx.waker().clone());
        if self.is_cut.load(SeqCst) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Cable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.cut.check(cx)?;
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.cut.check(cx)?;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The client is gone without waiting for an answer.
pub(crate) async fn cut_off(peer: Peer) -> Cause {
    drop(peer.socket);
    peer.served.await.expect("no panic")
}

/// The client closes as it should.
pub(crate) async fn leave(peer: Peer) -> Cause {
    peer.socket
        .close(1000, "bye")
        .await
        .expect("a closing handshake");
    peer.served.await.expect("no panic")
}

pub(crate) async fn subscribe(peer: &mut Peer, tag: &str) {
    let answer = peer
        .ask(&format!(r#"{{"event":"$subscribe","id":1,"ch":"{tag}"}}"#))
        .await;
    assert_eq!(answer["code"], 0, "{answer}");
}

/// What was sent, summed up.
#[derive(Default)]
pub(crate) struct Sums {
    pub(crate) receivers: u64,
    pub(crate) queued: u64,
    pub(crate) conflated: u64,
    pub(crate) dropped: u64,
    pub(crate) closing: u64,
}

impl Sums {
    pub(crate) fn add(&mut self, delivery: Delivery) {
        self.receivers += delivery.receivers;
        self.queued += delivery.queued;
        self.conflated += delivery.conflated;
        self.dropped += delivery.dropped;
        self.closing += delivery.closing;
        let all = delivery.queued + delivery.dropped + delivery.closing;
        assert_eq!(delivery.receivers, all, "{delivery:?}");
    }
}

/// Writes down what happens, in short.
pub(crate) fn diary(hub: &Hub) -> Arc<Mutex<Vec<String>>> {
    let diary = Arc::new(Mutex::new(Vec::new()));
    let pages = diary.clone();
    hub.observe(move |occurrence| {
        let line = match occurrence {
            Occurrence::Connected(subject) => format!("connected {:?}", subject.user),
            Occurrence::Disconnected { cause, .. } => format!("disconnected {}", cause.code),
            Occurrence::UserOnline { user } => format!("online {user}"),
            Occurrence::UserOffline { user } => format!("offline {user}"),
            Occurrence::TagOccupied { tag } => format!("occupied {tag}"),
            Occurrence::TagVacated { tag } => format!("vacated {tag}"),
            Occurrence::Joined { tag, .. } => format!("joined {tag}"),
            Occurrence::Left { tag, .. } => format!("left {tag}"),
            _ => return,
        };
        pages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    });
    diary
}

/// What has been written down so far.
pub(crate) fn lines(diary: &Arc<Mutex<Vec<String>>>) -> Vec<String> {
    diary.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Whether `first` and `second` of the same name take turns, and end with `second`.
pub(crate) fn alternate(lines: &[String], first: &str, second: &str) {
    let mut open = std::collections::HashSet::new();
    for line in lines {
        let Some((word, name)) = line.split_once(' ') else {
            continue;
        };
        if word == first {
            assert!(open.insert(name), "{line}: twice");
        } else if word == second {
            assert!(open.remove(name), "{line}: never began");
        }
    }
    assert!(open.is_empty(), "{first} without an end: {open:?}");
}
