//! The hub: joining, looking up, and sends to one and to a thousand connections whose transport takes everything.

use std::{
    hint::black_box,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use antiphon::{Config, Role, WebSocket};
use antiphon_hub::{
    config::HubConfig,
    hub::{Client, Hub},
    identity::Identity,
    json::Json,
    permission::Permissions,
    session::Hello,
    wire::Wire,
};
use antiphon_proto::frame::Opcode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Runtime,
};

use crate::{
    feed::{feed, runtime},
    path::{Path, Step, step},
    sample,
};

const SUBSCRIBERS: usize = 1000;

/// Bytes of JSON in an event.
const DATA: usize = 125;

pub(crate) fn paths() -> Vec<Path> {
    let fan_out = |at_once| move || fanning_out(SUBSCRIBERS, at_once);
    vec![
        Path::new(
            "hub/join-leave",
            "one connection joins a tag of 1,000, and leaves",
            0,
            joining,
        )
        .rounds(500),
        Path::new(
            "hub/lookup",
            "a connection by its id, and one of its tags by name",
            0,
            looking_up,
        ),
        Path::new(
            "hub/send-1",
            "to one connection: encoded, queued, written",
            DATA,
            || fanning_out(1, 1),
        )
        .rounds(500),
        Path::new(
            "hub/send-1x16",
            "the same, 16 before it is written",
            DATA,
            || fanning_out(1, 16),
        )
        .each(16)
        .rounds(100),
        Path::new(
            "hub/offer-1000",
            "a delivery up to the outbox: the latest of a key replaces the one before",
            DATA,
            offering,
        )
        .each(SUBSCRIBERS as u64)
        .rounds(5),
        Path::new(
            "hub/fan-out-1000",
            "a delivery to one of 1,000, one message in flight",
            DATA,
            fan_out(1),
        )
        .each(SUBSCRIBERS as u64)
        .rounds(5),
        Path::new(
            "hub/fan-out-1000x16",
            "the same, 16 in flight",
            DATA,
            fan_out(16),
        )
        .each(16 * SUBSCRIBERS as u64)
        .rounds(2),
        Path::new(
            "hub/request",
            "a request over antiphon.v2.json: read, handled, answered",
            DATA,
            requesting,
        )
        .rounds(500),
    ]
}

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

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn identity() -> Identity {
    let mut identity = Identity::anonymous(Arc::new(Permissions::all()));
    identity.tags = vec!["room:lobby".into()];
    identity
}

fn serve<T>(runtime: &Runtime, hub: &Hub, io: T)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let _inside = runtime.enter();
    let socket = WebSocket::from_io(io, Role::Server, Config::default());
    runtime.spawn(hub.serve_as(socket, Wire::V2, Hello::from_identity(identity())));
}

/// A hub with so many connections, all in one tag and with nothing left to write.
fn hub(connections: usize) -> (Runtime, Hub) {
    let runtime = runtime();
    let mut config = HubConfig::default();
    config.message_rate = 0;
    let hub = {
        let _inside = runtime.enter();
        Hub::new(config)
    };
    for _ in 0..connections {
        serve(&runtime, &hub, Silent);
    }
    runtime.block_on(async {
        while hub.tag("room:lobby").count() < connections {
            tokio::task::yield_now().await;
        }
        idle(&hub).await;
    });
    (runtime, hub)
}

/// Until everything that was queued is written.
async fn idle(hub: &Hub) {
    loop {
        tokio::task::yield_now().await;
        let stats = hub.stats();
        if stats.queued <= stats.written {
            return;
        }
    }
}

fn data() -> Option<Json> {
    Json::parse(&sample::json(DATA, 1)).ok()
}

fn some_client(hub: &Hub) -> Client {
    hub.all().clients().swap_remove(0)
}

fn joining() -> Step {
    let (runtime, hub) = hub(SUBSCRIBERS);
    let client = some_client(&hub);
    runtime.block_on(async {
        for other in hub.all().clients().into_iter().skip(1) {
            assert!(other.join("room:other").is_ok());
        }
    });
    step(move || {
        let _inside = runtime.enter();
        assert!(black_box(client.join("room:other")).is_ok());
        assert!(client.leave("room:other"));
    })
}

fn looking_up() -> Step {
    let (runtime, hub) = hub(SUBSCRIBERS);
    let id = some_client(&hub).id();
    step(move || {
        let _connected = &runtime;
        assert!(black_box(hub.client(black_box(id))).is_some());
        assert!(black_box(hub.tag(black_box("room:lobby")).count()) > 0);
    })
}

fn fanning_out(connections: usize, at_once: usize) -> Step {
    let (runtime, hub) = hub(connections);
    let (audience, data) = (hub.tag("room:lobby"), data());
    Box::new(move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                for _ in 0..at_once {
                    let sent = audience.send_json("chat/message", data.clone()).await;
                    assert!(sent.is_ok_and(|sent| sent.queued == connections as u64));
                }
                idle(&hub).await;
            }
        });
    })
}

/// The sessions never run: what is measured ends where a send ends.
fn offering() -> Step {
    let (runtime, hub) = hub(SUBSCRIBERS);
    let (audience, data) = (hub.tag("room:lobby").latest("key"), data());
    Box::new(move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                let sent = audience.send_json("chat/message", data.clone()).await;
                assert!(sent.is_ok_and(|sent| sent.queued == SUBSCRIBERS as u64));
            }
        });
    })
}

fn requesting() -> Step {
    let (runtime, hub) = hub(1);
    hub.on("echo", |data: Json| async move { data });
    let data = sample::json(DATA, 1);
    let request = format!("{{\"event\":\"echo\",\"id\":17,\"data\":{data}}}");
    let batch = sample::frame(Opcode::Text, request.as_bytes());
    let answer = format!(
        "{{\"event\":\"echo\",\"id\":17,\"data\":{data},\"code\":0,\"timestamp\":1795177846}}"
    );
    let (io, turns) = feed(batch, sample::answer_length(answer.len()));
    serve(&runtime, &hub, io);
    runtime.block_on(async {
        while hub.tag("room:lobby").count() < 2 {
            tokio::task::yield_now().await;
        }
        idle(&hub).await;
    });
    Box::new(move |times| runtime.block_on(turns.run(times)))
}
