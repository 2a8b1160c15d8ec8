//! What an open socket weighs: heap that is held while nothing happens, and after something has.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use allocation_counter::measure;
use antiphon::{Config, Message, Role, WebSocket};
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A transport on which nothing ever comes.
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

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Each is waiting in `recv`, as an idle connection of a server is.
fn idle(count: usize) -> Vec<WebSocket> {
    let mut sockets: Vec<_> = (0..count)
        .map(|_| WebSocket::from_io(Silent, Role::Server, Config::default()))
        .collect();
    for socket in &mut sockets {
        assert!(socket.recv().now_or_never().is_none());
    }
    sockets
}

#[test]
fn an_idle_socket_weighs_less_than_half_a_kib() {
    runtime().block_on(async {
        // The thread's own buffers are made once.
        drop(idle(1));
        let mut sockets = Vec::new();
        let info = measure(|| sockets = idle(100));
        let each = info.bytes_current / 100;
        // `from_io` copies the configuration, which a server shares.
        let limit = 512 + size_of::<Config>() as i64 + 16;
        assert!(each <= limit, "{each} bytes for each of {}", sockets.len());
    });
}

async fn exchange(client: &mut WebSocket, server: &mut WebSocket, message: &Message) {
    let (sent, received) = tokio::join!(client.send(message.clone()), server.recv());
    sent.expect("sent");
    assert_eq!(received.expect("received").as_ref(), Some(message));
    let (sent, received) = tokio::join!(server.send(message.clone()), client.recv());
    sent.expect("sent");
    assert_eq!(received.expect("received").as_ref(), Some(message));
}

#[test]
fn a_long_message_leaves_nothing_behind() {
    let runtime = runtime();
    let (near, far) = tokio::io::duplex(4096);
    let (mut client, mut server) = {
        let _guard = runtime.enter();
        (
            WebSocket::from_io(near, Role::Client, Config::default()),
            WebSocket::from_io(far, Role::Server, Config::default()),
        )
    };
    let long = Message::binary(vec![7; 200_000]);
    let short = Message::text("x");
    runtime.block_on(exchange(&mut client, &mut server, &long));
    runtime.block_on(exchange(&mut client, &mut server, &short));
    let info = measure(|| {
        runtime.block_on(exchange(&mut client, &mut server, &long));
        runtime.block_on(exchange(&mut client, &mut server, &short));
    });
    assert!(info.bytes_current <= 256, "{info:?}");
    assert!(info.bytes_max >= 200_000, "the message itself was counted");
}

#[test]
fn a_short_message_that_is_kept_pins_its_own_size() {
    let runtime = runtime();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (client, mut server) = {
        let _guard = runtime.enter();
        (
            WebSocket::from_io(near, Role::Client, Config::default()),
            WebSocket::from_io(far, Role::Server, Config::default()),
        )
    };
    runtime.block_on(async {
        client.send("warm up").await.expect("sent");
        server.recv().await.expect("received");
        for i in 0..100 {
            client
                .feed(format!("message {i:012}"))
                .await
                .expect("queued");
        }
        client.flush().await.expect("sent");
    });
    let mut kept = Vec::with_capacity(100);
    let info = measure(|| {
        runtime.block_on(async {
            for _ in 0..100 {
                kept.push(server.recv().await.expect("received").expect("a message"));
            }
        });
    });
    // 20 bytes of text each, and what the allocation of shared bytes adds.
    assert!(info.bytes_current <= 100 * 64, "{info:?}");
    assert_eq!(kept.len(), 100);
}

/// A task that only sends for longer than ping and pong may take: the peer's pongs are seen, and it is not given up.
#[tokio::test(start_paused = true)]
async fn a_task_that_only_sends_does_not_take_silence_for_death() {
    let (near, far) = tokio::io::duplex(1024);
    let server = WebSocket::from_io(far, Role::Server, Config::default());
    let mut client = WebSocket::from_io(near, Role::Client, Config::default());
    let sending = tokio::spawn(async move {
        let mut writer = server.send_stream(antiphon::MessageKind::Binary).await?;
        for _ in 0..120 {
            writer.write(&[1; 4096]).await?;
        }
        writer.finish().await?;
        Ok::<_, antiphon::Error>(server)
    });
    let mut reader = client
        .recv_stream()
        .await
        .expect("open")
        .expect("a message");
    let mut total = 0;
    while let Some(part) = reader.chunk().await.expect("the connection lives") {
        total += part.len();
        // Slow, but faster than `write_timeout`: a minute for the whole message.
        tokio::time::sleep(std::time::Duration::from_millis(120)).await;
    }
    assert_eq!(total, 120 * 4096);
    sending
        .await
        .expect("no panic")
        .expect("the connection lives");
}
