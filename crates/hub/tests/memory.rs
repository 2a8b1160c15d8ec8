//! What an idle connection weighs with all that the hub keeps for it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use allocation_counter::measure;
use antiphon::{Config, Role, WebSocket};
use antiphon_hub::{
    config::HubConfig, hub::Hub, identity::Identity, permission::Permissions, session::Hello,
    wire::Wire,
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

/// Connections that are measured. The runtime, the shards of the indexes and their spare room are shared by all.
const CONNECTIONS: usize = 10_000;

/// Most bytes of heap for one: the socket, its task, its place in every index, its user and its tag.
const MOST: i64 = 2560;

fn weigh(wire: Wire) -> i64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let hub = Hub::new(HubConfig::default());
    let permissions = std::sync::Arc::new(Permissions::all());
    let connect = |number: usize| {
        let mut identity = Identity::user(format!("user-{number}"), permissions.clone());
        // Ten members a tag.
        identity.tags = vec![format!("tag-{}", number / 10).into()];
        let socket = WebSocket::from_io(Silent, Role::Server, Config::default());
        let hello = Hello::from_identity(identity);
        tokio::spawn(hub.serve_as(socket, wire, hello));
    };
    let _context = runtime.enter();
    // What the thread and the runtime make once.
    connect(usize::MAX);
    runtime.block_on(tokio::task::yield_now());
    let spawned = measure(|| (0..CONNECTIONS).for_each(connect));
    // The tasks run here: they are admitted, welcomed, and wait.
    let settled = measure(|| {
        runtime.block_on(async {
            while hub.all().count() <= CONNECTIONS || hub.waiting() != (0, 0, 0) {
                tokio::task::yield_now().await;
            }
        });
    });
    assert_eq!(hub.user("user-7").count(), 1);
    assert_eq!(hub.tag("tag-7").count(), 10);
    let each =
        (spawned.bytes_current + settled.bytes_current) / i64::try_from(CONNECTIONS).unwrap_or(1);
    println!("{}: {each} bytes for each idle connection", wire.name());
    each
}

#[test]
fn an_idle_connection_with_a_user_and_a_tag_weighs_at_most_two_and_a_half_kib() {
    for wire in [Wire::V1, Wire::V2] {
        let each = weigh(wire);
        assert!(
            each <= MOST,
            "{}: {each} bytes, {MOST} are allowed",
            wire.name()
        );
    }
}
