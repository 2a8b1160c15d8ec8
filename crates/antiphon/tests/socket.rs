//! The socket over an in-memory transport: receive, send, close, ping, cancel, parts, bytes, drop.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use antiphon::{
    CloseCode, Config, ErrorKind, Framing, Message, MessageKind, Prepared, Role, Violation,
    WebSocket,
};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

fn pair() -> (WebSocket, WebSocket) {
    pair_with(Config::default(), 64 * 1024)
}

fn pair_with(config: Config, buffer: usize) -> (WebSocket, WebSocket) {
    let (near, far) = tokio::io::duplex(buffer);
    (
        WebSocket::from_io(near, Role::Client, config.clone()),
        WebSocket::from_io(far, Role::Server, config),
    )
}

/// A server's socket and the raw bytes of its peer.
fn raw(config: Config) -> (DuplexStream, WebSocket) {
    let (near, far) = tokio::io::duplex(1024 * 1024);
    (near, WebSocket::from_io(far, Role::Server, config))
}

/// A client's frame with a key of zeros, so that the payload stands in clear.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![
        first,
        0x80 | u8::try_from(payload.len()).unwrap(),
        0,
        0,
        0,
        0,
    ];
    frame.extend_from_slice(payload);
    frame
}

async fn echo(mut socket: WebSocket) -> antiphon::Result<()> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

#[tokio::test]
async fn messages_come_back_as_they_were() {
    let (mut client, server) = pair();
    let server = tokio::spawn(echo(server));
    for message in [
        Message::text(""),
        Message::text("hello"),
        Message::binary(vec![]),
        Message::binary(vec![0xff; 125]),
        Message::binary(vec![7; 126]),
        Message::binary(vec![7; 65_535]),
        Message::binary(vec![7; 65_536]),
        Message::text("ä".repeat(400_000)),
    ] {
        let (sent, received) = tokio::join!(client.sender_task(message.clone()), client.recv());
        sent.unwrap();
        assert_eq!(received.unwrap().unwrap(), message);
    }
    let close = client
        .close(CloseCode::NORMAL, "done")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(close.code, CloseCode::NORMAL);
    server.await.unwrap().unwrap();
}

trait SenderTask {
    fn sender_task(&self, message: Message)
    -> impl Future<Output = antiphon::Result<()>> + 'static;
}

impl SenderTask for WebSocket {
    fn sender_task(
        &self,
        message: Message,
    ) -> impl Future<Output = antiphon::Result<()>> + 'static {
        let sender = self.sender();
        async move { Ok(sender.send(message).await?) }
    }
}

#[tokio::test]
async fn the_stream_and_the_sink_are_the_same_socket() {
    let (mut client, server) = pair();
    tokio::spawn(echo(server));
    SinkExt::send(&mut client, Message::text("a"))
        .await
        .unwrap();
    SinkExt::feed(&mut client, Message::text("b"))
        .await
        .unwrap();
    SinkExt::flush(&mut client).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("a"));
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("b"));
    SinkExt::close(&mut client).await.unwrap();
    assert!(client.next().await.is_none());
}

#[tokio::test]
async fn closing_tells_both_sides_what_the_other_said() {
    let (client, mut server) = pair();
    let (closed, received) = tokio::join!(client.close(4001, "over"), server.recv());
    assert_eq!(closed.unwrap().unwrap().code.get(), 4001);
    assert_eq!(received.unwrap(), None);
    let close = server.close_frame().unwrap();
    assert_eq!((close.code.get(), &*close.reason), (4001, "over"));
    let unsent = server.send("too late").await.unwrap_err();
    assert_eq!(unsent.message, Message::text("too late"));
    assert!(matches!(unsent.error.kind(), ErrorKind::Closed(Some(_))));
    assert_eq!(server.recv().await.unwrap(), None);
}

#[tokio::test]
async fn a_code_that_must_not_be_sent_is_refused() {
    let (client, _server) = pair();
    for code in [0, 999, 1004, 1006, 1015, 2999, 5000] {
        let error = client.close(code, "").await.unwrap_err();
        assert_eq!(error.violation(), Some(Violation::CloseCodeInvalid(code)));
    }
    assert!(client.is_open());
}

#[tokio::test]
async fn a_violation_is_answered_with_its_code_and_reported() {
    let (mut peer, mut server) = raw(Config::default());
    peer.write_all(&frame(0x83, b"")).await.unwrap();
    peer.shutdown().await.unwrap();
    let error = server.recv().await.unwrap_err();
    assert_eq!(error.violation(), Some(Violation::OpcodeReserved(3)));
    assert_eq!(server.recv().await.unwrap(), None);
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer[0], 0x88);
    assert_eq!(answer[2..4], 1002u16.to_be_bytes());
}

#[tokio::test]
async fn an_end_without_close_is_an_error() {
    let (peer, mut server) = raw(Config::default());
    drop(peer);
    assert_eq!(*server.recv().await.unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(server.recv().await.unwrap(), None);
}

#[tokio::test]
async fn dropping_an_open_socket_says_goodbye() {
    let (mut peer, server) = raw(Config::default());
    drop(server);
    let mut goodbye = Vec::new();
    peer.read_to_end(&mut goodbye).await.unwrap();
    assert_eq!(goodbye, [0x88, 2, 0x03, 0xe9]);
}

/// Receiving is given up at every byte of the stream, and nothing is lost.
#[tokio::test]
async fn a_cancelled_receive_loses_nothing() {
    let (mut peer, mut server) = raw(Config::default());
    let mut bytes = frame(0x01, b"one ");
    bytes.extend(frame(0x89, b"ping"));
    bytes.extend(frame(0x80, b"two"));
    bytes.extend(frame(0x82, b"three"));
    let mut received = Vec::new();
    for byte in bytes {
        peer.write_all(&[byte]).await.unwrap();
        if let Some(message) = server.recv().now_or_never() {
            received.push(message.unwrap().unwrap());
        }
    }
    assert_eq!(
        received,
        [Message::text("one two"), Message::binary(&b"three"[..])]
    );
}

#[tokio::test]
async fn a_ping_gives_the_round_trip_and_keeps_messages() {
    let (mut client, mut server) = pair();
    server.send("before the pong").await.unwrap();
    let server = tokio::spawn(async move { server.recv().await });
    client.ping().await.unwrap();
    assert_eq!(
        client.recv().await.unwrap().unwrap(),
        Message::text("before the pong")
    );
    client.send("bye").await.unwrap();
    assert_eq!(
        server.await.unwrap().unwrap().unwrap(),
        Message::text("bye")
    );
}

#[tokio::test(start_paused = true)]
async fn a_mute_peer_is_given_up_after_ping_and_pong_timeout() {
    let (mut peer, mut server) = raw(Config::default());
    let start = tokio::time::Instant::now();
    assert_eq!(*server.recv().await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(start.elapsed().as_secs(), 35);
    drop(server);
    let mut output = Vec::new();
    peer.read_to_end(&mut output).await.unwrap();
    assert_eq!(output[0], 0x89, "a ping went out first");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_close_is_dropped_after_two_seconds() {
    let (peer, server) = raw(Config::default());
    let start = tokio::time::Instant::now();
    assert_eq!(server.close(1000, "").await.unwrap(), None);
    assert_eq!(start.elapsed().as_secs(), 2);
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_fails_the_send() {
    let (near, far) = tokio::io::duplex(1024);
    let server = WebSocket::from_io(far, Role::Server, Config::default());
    let start = tokio::time::Instant::now();
    let unsent = server.send(vec![0; 100_000]).await.unwrap_err();
    assert_eq!(*unsent.error.kind(), ErrorKind::Timeout);
    assert_eq!(start.elapsed().as_secs(), 10);
    drop(near);
}

/// Takes whatever is written and passes it on only as the pipe has room, as TLS does.
struct HoldsBack(DuplexStream, Vec<u8>);

impl AsyncRead for HoldsBack {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for HoldsBack {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self(pipe, held) = &mut *self;
        while !held.is_empty() {
            let passed = ready!(Pin::new(&mut *pipe).poll_write(cx, held))?;
            held.drain(..passed);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_transport_holds_back_is_passed_on_while_receiving() {
    let (near, far) = tokio::io::duplex(16);
    let mut client =
        WebSocket::from_io(HoldsBack(near, Vec::new()), Role::Client, Config::default());
    let server = tokio::spawn(echo(WebSocket::from_io(
        far,
        Role::Server,
        Config::default(),
    )));
    let sent = Message::text("far more than the pipe can hold");
    client.try_send(sent.clone()).unwrap();
    assert_eq!(client.recv().await.unwrap().unwrap(), sent);
    drop(client);
    assert!(server.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_transport_holds_back_is_not_sent_yet() {
    let (near, mut far) = tokio::io::duplex(16);
    let client = WebSocket::from_io(HoldsBack(near, Vec::new()), Role::Client, Config::default());
    let mut sending = Box::pin(client.send(Message::binary(vec![0; 100])));
    assert!((&mut sending).now_or_never().is_none());
    let mut bytes = vec![0; 2 + 4 + 100];
    let (sent, read) = tokio::join!(sending, far.read_exact(&mut bytes));
    sent.unwrap();
    read.unwrap();
}

#[tokio::test]
async fn try_send_says_full_and_keeps_the_message() {
    let (_near, far) = tokio::io::duplex(1024);
    let server = WebSocket::from_io(far, Role::Server, Config::default());
    let mut sent = 0;
    let unsent = loop {
        match server.try_send(vec![1; 1024]) {
            Ok(()) => sent += 1,
            Err(unsent) => break unsent,
        }
        assert!(sent < 1000, "there must be a bound");
    };
    assert_eq!(*unsent.error.kind(), ErrorKind::Full);
    assert_eq!(unsent.message.len(), 1024);
    assert!(server.buffered_amount() < 2 * Config::default().write_high_water);
}

#[tokio::test]
async fn many_tasks_send_and_nothing_is_lost_or_mixed() {
    let (client, mut server) = pair_with(Config::default(), 4096);
    for task in 0..8u8 {
        let sender = client.sender();
        tokio::spawn(async move {
            for i in 0..100u8 {
                sender.send(vec![task, i, 0, 0]).await.unwrap();
            }
        });
    }
    let mut next = [0u8; 8];
    for _ in 0..800 {
        let message = server.recv().await.unwrap().unwrap();
        let [task, i, ..] = message.as_bytes() else {
            panic!("short message")
        };
        assert_eq!(
            next[usize::from(*task)],
            *i,
            "each task's messages keep their order"
        );
        next[usize::from(*task)] += 1;
    }
    drop(client);
}

#[tokio::test]
async fn a_huge_message_is_read_and_written_in_parts() {
    const TOTAL: usize = 8 * 1024 * 1024;
    let (client, mut server) = pair();
    let writer = tokio::spawn(async move {
        let mut writer = client.send_stream(MessageKind::Binary).await?;
        for i in 0..TOTAL / 4096 {
            writer.write(&[i as u8; 4096]).await?;
        }
        writer.finish().await?;
        client.send("after").await?;
        Ok::<_, antiphon::Error>(client)
    });
    let mut reader = server.recv_stream().await.unwrap().unwrap();
    assert_eq!(reader.kind(), MessageKind::Binary);
    let mut total = 0;
    while let Some(part) = reader.chunk().await.unwrap() {
        for byte in &part[..] {
            assert_eq!(*byte, (total / 4096) as u8);
            total += 1;
        }
    }
    assert_eq!(total, TOTAL);
    drop(reader);
    assert_eq!(
        server.recv().await.unwrap().unwrap(),
        Message::text("after")
    );
    writer.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_reader_dropped_early_skips_to_the_next_message() {
    let (client, mut server) = pair();
    let writer = tokio::spawn(async move {
        let mut writer = client.send_stream(MessageKind::Text).await?;
        for _ in 0..100 {
            writer.write(&[b'x'; 4096]).await?;
        }
        writer.finish().await?;
        client.send("next").await?;
        Ok::<_, antiphon::Error>(client)
    });
    let mut reader = server.recv_stream().await.unwrap().unwrap();
    assert!(reader.chunk().await.unwrap().is_some());
    drop(reader);
    assert_eq!(server.recv().await.unwrap().unwrap(), Message::text("next"));
    writer.await.unwrap().unwrap();
}

/// A ping while a message is being read in parts keeps the parts, and the limit of whole messages stays away.
#[tokio::test]
async fn a_ping_inside_a_message_in_parts_changes_nothing() {
    let (client, mut server) = pair();
    let pinger = server.sender();
    let writer = tokio::spawn(async move {
        let mut client = client;
        let mut writer = client.send_stream(MessageKind::Binary).await?;
        for _ in 0..512 {
            writer.write(&[b'x'; 4096]).await?;
        }
        writer.finish().await?;
        client.send("next").await?;
        client.recv().await
    });
    let mut reader = server.recv_stream().await.unwrap().unwrap();
    let mut total = reader.chunk().await.unwrap().unwrap().len();
    assert!(pinger.ping().now_or_never().is_none());
    tokio::task::yield_now().await;
    while let Some(part) = reader.chunk().await.unwrap() {
        total += part.len();
        if total % (128 * 1024) == 0 {
            let _ = pinger.ping().now_or_never();
        }
    }
    assert_eq!(total, 512 * 4096);
    drop(reader);
    assert_eq!(server.recv().await.unwrap().unwrap(), Message::text("next"));
    server.close(1000, "").await.unwrap();
    assert_eq!(writer.await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn an_abandoned_message_closes_the_connection() {
    let (client, mut server) = pair();
    let mut writer = client.send_stream(MessageKind::Text).await.unwrap();
    writer.write(b"never ends").await.unwrap();
    assert!(
        writer.write(b"\xff").await.is_err(),
        "a text is never sent that is not UTF-8"
    );
    drop(writer);
    let (received, _) = tokio::join!(server.recv(), client.flush());
    assert_eq!(received.unwrap(), None);
    assert_eq!(
        server.close_frame().unwrap().code,
        CloseCode::INTERNAL_ERROR
    );
}

#[tokio::test]
async fn copying_a_socket_into_itself_is_an_echo_that_keeps_kind_and_boundaries() {
    let (mut client, server) = pair();
    let server = tokio::spawn(async move {
        let (mut reader, mut writer) = tokio::io::split(server.into_io());
        tokio::io::copy(&mut reader, &mut writer).await
    });
    let sender = client.sender();
    let messages = [
        Message::text("hello"),
        Message::text(""),
        Message::binary(vec![1; 100_000]),
        Message::text("ü".repeat(30_000)),
        Message::binary(vec![]),
        Message::text("end"),
    ];
    let all = messages.clone();
    tokio::spawn(async move {
        for message in all {
            sender.send(message).await.unwrap();
        }
    });
    for message in messages {
        assert_eq!(client.recv().await.unwrap().unwrap(), message);
    }
    client.close(1000, "").await.unwrap();
    assert_eq!(server.await.unwrap().unwrap(), 160_008);
}

#[tokio::test]
async fn bytes_are_framed_as_asked() {
    for (framing, expected) in [
        (Framing::Binary, Message::binary(&b"abc"[..])),
        (Framing::Text, Message::text("abc")),
    ] {
        let (client, mut server) = pair();
        let mut io = client.into_io().framing(framing);
        io.write_all(b"abc").await.unwrap();
        assert_eq!(server.recv().await.unwrap().unwrap(), expected);
        if framing == Framing::Text {
            assert!(io.write_all(b"\xff").await.is_err());
        }
        server.send("defg").await.unwrap();
        let mut bytes = [0; 4];
        io.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"defg");
        let (shut, received) = tokio::join!(io.shutdown(), server.recv());
        shut.unwrap();
        assert_eq!(received.unwrap(), None);
    }
}

#[tokio::test]
async fn a_prepared_message_goes_to_many() {
    let prepared = Prepared::new(Message::text("to all"));
    for _ in 0..3 {
        let (mut client, server) = pair();
        server.send_prepared(&prepared).await.unwrap();
        assert_eq!(
            client.recv().await.unwrap().unwrap(),
            Message::text("to all")
        );
    }
}

/// A socket whose transport is a socket: the buffers of the inner one are its own.
#[tokio::test]
async fn a_socket_runs_inside_a_socket() {
    let (outer_client, outer_server) = pair();
    let client = WebSocket::from_io(outer_client.into_io(), Role::Client, Config::default());
    let server = WebSocket::from_io(outer_server.into_io(), Role::Server, Config::default());
    tokio::spawn(echo(server));
    let mut client = client;
    client.send("deep").await.unwrap();
    let received = tokio::time::timeout(Duration::from_secs(60), client.recv()).await;
    assert_eq!(received.unwrap().unwrap().unwrap(), Message::text("deep"));
}

/// A transport that takes bytes and never hands them on, as TLS does while its peer reads nothing.
struct Holding(DuplexStream);

impl tokio::io::AsyncRead for Holding {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for Holding {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::task::Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Pending
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Pending
    }
}

/// The peer closes, and the transport keeps our answer for ever: the wait for it ends as the wait for a Close does.
#[tokio::test(start_paused = true)]
async fn a_transport_that_holds_the_last_bytes_back_is_given_up() {
    let (mut peer, far) = tokio::io::duplex(1024);
    let mut server = WebSocket::from_io(Holding(far), Role::Server, Config::default());
    peer.write_all(&frame(0x88, &[0x03, 0xe8])).await.unwrap();
    let start = tokio::time::Instant::now();
    assert_eq!(server.recv().await.unwrap(), None);
    assert_eq!(start.elapsed().as_secs(), 2);
}

/// Whoever waits for room must not wait for ever when the connection ends meanwhile.
#[tokio::test(start_paused = true)]
async fn waiting_for_room_ends_with_the_connection() {
    let (_near, far) = tokio::io::duplex(64);
    let mut config = Config::default();
    config.write_high_water = 64;
    let socket = WebSocket::from_io(far, Role::Server, config);
    socket.feed("x".repeat(200)).await.expect("room");
    let start = tokio::time::Instant::now();
    assert!(socket.feed("y").await.is_err());
    assert_eq!(start.elapsed().as_secs(), 10, "write_timeout");
}

/// One that receives and one that sends wait in tasks of their own, whoever waited first: both are woken.
#[tokio::test(start_paused = true)]
async fn who_waits_second_is_woken_as_well() {
    for receive_first in [true, false] {
        let (mut near, far) = tokio::io::duplex(256);
        let mut config = Config::default();
        config.write_high_water = 64;
        let mut socket = WebSocket::from_io(far, Role::Server, config);
        let sender = socket.sender();
        let receiving = async move { socket.recv().await };
        let sending = async move {
            for _ in 0..20 {
                sender.send("x".repeat(100)).await.expect("sent");
            }
        };
        let (receiving, sending) = if receive_first {
            let receiving = tokio::spawn(receiving);
            tokio::task::yield_now().await;
            (receiving, tokio::spawn(sending))
        } else {
            let sending = tokio::spawn(sending);
            tokio::task::yield_now().await;
            (tokio::spawn(receiving), sending)
        };
        let mut taken = vec![0; 20 * 102];
        near.read_exact(&mut taken).await.expect("all of it");
        sending.await.expect("no panic");
        near.write_all(&[0x81, 0x80, 0, 0, 0, 0])
            .await
            .expect("written");
        let message = receiving.await.expect("no panic").expect("open");
        assert_eq!(message, Some(Message::text("")));
    }
}
