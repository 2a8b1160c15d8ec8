//! Messages handed to a function: the same as a loop over `recv` and `send`, whatever way the bytes come.

use std::time::Duration;

use antiphon::{Config, ErrorKind, Message, Role, Violation, WebSocket};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::JoinHandle,
};

/// A socket that sends back what it gets, over a pipe that holds `room` bytes.
fn echo(room: usize) -> (DuplexStream, JoinHandle<antiphon::Result<()>>) {
    let (near, far) = tokio::io::duplex(room);
    let mut socket = WebSocket::from_io(far, Role::Server, Config::default());
    let echo = tokio::spawn(async move {
        socket
            .for_each(|message, replies| replies.send(message))
            .await
    });
    (near, echo)
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [1, 2, 3, 4];
    let mut bytes = vec![first];
    match payload.len() {
        short @ ..126 => bytes.push(0x80 | short as u8),
        medium @ ..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend((medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b));
    bytes
}

#[tokio::test]
async fn answers_come_in_order_however_the_bytes_are_cut() {
    let mut wire = Vec::new();
    let mut expected = Vec::new();
    for length in [
        0, 1, 5, 125, 126, 127, 1000, 16_384, 65_535, 65_536, 100_000, 3,
    ] {
        let text = vec![b'a' + (length % 26) as u8; length];
        wire.extend(frame(0x81, &text));
        // In two fragments, with a ping between them.
        let (first, rest) = text.split_at(length / 2);
        wire.extend(frame(0x02, first));
        wire.extend(frame(0x89, b"ping"));
        wire.extend(frame(0x80, rest));
        expected.push(Message::binary(text.clone()));
        expected.insert(
            expected.len() - 1,
            Message::text(String::from_utf8(text).unwrap()),
        );
    }
    for cut in [1, 2, 7, 64, 1000, 4096, 50_000, usize::MAX] {
        let (near, echo) = echo(1 << 20);
        let (mut read, mut write) = tokio::io::split(near);
        let bytes = wire.clone();
        // One byte at a time takes long: a part of the whole will do.
        let most = cut.saturating_mul(20_000).min(bytes.len());
        let sender = tokio::spawn(async move {
            for piece in bytes[..most].chunks(cut.min(bytes.len())) {
                write.write_all(piece).await.unwrap();
                if cut < 4096 {
                    tokio::task::yield_now().await;
                }
            }
            write
        });
        let mut client = Vec::new();
        if most == wire.len() {
            let total: usize = expected
                .iter()
                .map(|message| match message.len() {
                    short @ ..126 => short + 2,
                    medium @ ..0x1_0000 => medium + 4,
                    long => long + 10,
                })
                .sum();
            // And a pong of six bytes for every second message.
            client.resize(total + expected.len() / 2 * 6, 0);
            read.read_exact(&mut client).await.unwrap();
            assert_eq!(messages(&client), expected, "cut at {cut}");
        }
        drop((sender.await.unwrap(), read));
        let ended = echo.await.unwrap();
        assert_eq!(*ended.unwrap_err().kind(), ErrorKind::Io, "cut at {cut}");
    }
}

/// The messages of a server's bytes; control frames are passed over.
fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (length, rest) = match second {
            126 => (
                usize::from(u16::from_be_bytes([rest[0], rest[1]])),
                &rest[2..],
            ),
            127 => (
                u64::from_be_bytes(*rest.first_chunk::<8>().unwrap()) as usize,
                &rest[8..],
            ),
            short => (usize::from(*short), rest),
        };
        let (payload, rest) = rest.split_at(length);
        match first {
            0x81 => messages.push(Message::text(String::from_utf8(payload.to_vec()).unwrap())),
            0x82 => messages.push(Message::binary(payload.to_vec())),
            0x8a => assert_eq!(payload, b"ping"),
            other => panic!("a frame that begins with {other:x}"),
        }
        bytes = rest;
    }
    messages
}

#[tokio::test]
async fn what_is_wrong_ends_it_after_what_was_right() {
    for (wrong, violation, code) in [
        (frame(0x81, b"\xff"), Violation::TextUtf8, 1007),
        (frame(0x83, b""), Violation::OpcodeReserved(3), 1002),
        (vec![0x81, 0x01, b'a'], Violation::MaskMissing, 1002),
        (frame(0x80, b""), Violation::ContinuationWithoutStart, 1002),
    ] {
        let (mut near, echo) = echo(1 << 16);
        let mut wire = frame(0x81, b"good");
        wire.extend(wrong);
        wire.extend(frame(0x81, b"never seen"));
        near.write_all(&wire).await.unwrap();
        let mut answer = Vec::new();
        near.read_buf(&mut answer).await.unwrap();
        while answer.len() < 10 {
            near.read_buf(&mut answer).await.unwrap();
        }
        assert_eq!(answer[..6], *b"\x81\x04good");
        assert_eq!(answer[6], 0x88);
        assert_eq!(u16::from_be_bytes([answer[8], answer[9]]), code);
        drop(near);
        let error = echo.await.unwrap().unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Violation(violation));
    }
}

#[tokio::test]
async fn a_close_ends_it_well() {
    let (mut near, echo) = echo(1 << 16);
    let mut wire = frame(0x81, b"last");
    wire.extend(frame(0x88, &1000u16.to_be_bytes()));
    near.write_all(&wire).await.unwrap();
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"\x81\x04last\x88\x02\x03\xe8");
    echo.await.unwrap().unwrap();
}

/// A peer that sends and never reads is held up, and given up in the end; what waits for it stays bounded.
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_held_up() {
    let (mut near, echo) = echo(64 * 1024);
    let message = frame(0x82, &[7; 60_000]);
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_secs(1), near.write_all(&message))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 100, "nothing holds it up");
    }
    let error = echo.await.unwrap().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Timeout);
}

/// The client's side masks what it answers, and a function may answer many times or not at all.
#[tokio::test]
async fn either_side_may_do_it() {
    let (near, far) = tokio::io::duplex(1 << 16);
    let mut client = WebSocket::from_io(near, Role::Client, Config::default());
    let mut server = WebSocket::from_io(far, Role::Server, Config::default());
    let asked = tokio::spawn(async move {
        client
            .for_each(|message, replies| {
                for _ in 0..message.as_bytes().len() {
                    replies.send(message);
                    replies.send(&b"\xff"[..]);
                }
            })
            .await
    });
    for question in ["ab", "", "c"] {
        server.send(question).await.unwrap();
    }
    for answer in ["ab", "ab", "c"] {
        assert_eq!(server.recv().await.unwrap(), Some(Message::text(answer)));
        assert_eq!(
            server.recv().await.unwrap(),
            Some(Message::binary(&b"\xff"[..]))
        );
    }
    server.close(1000, "").await.unwrap();
    asked.await.unwrap().unwrap();
}

/// A socket that has begun to receive one way may go on the other way: nothing is lost in between.
#[tokio::test]
async fn it_takes_over_where_another_way_has_stopped() {
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let mut socket = WebSocket::from_io(far, Role::Server, Config::default());
    let mut wire = Vec::new();
    for number in 0..40 {
        wire.extend(frame(0x81, format!("{number}").as_bytes()));
    }
    wire.extend(frame(0x88, b""));
    near.write_all(&wire).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let message = socket.recv().await.unwrap().unwrap();
        seen.push(message.as_text().unwrap().to_owned());
    }
    socket
        .for_each(|message, _| seen.push(message.as_text().unwrap().to_owned()))
        .await
        .unwrap();
    let all: Vec<_> = (0..40).map(|number| number.to_string()).collect();
    assert_eq!(seen, all);
}

/// Over a compressed connection the same holds, and the answers are compressed.
#[tokio::test]
async fn answers_are_compressed_where_that_was_agreed() {
    let server = antiphon::Server::new()
        .route("/", |upgrade: antiphon::Upgrade| async move {
            let upgrade = upgrade.compression(antiphon::DeflateConfig::default());
            upgrade.on_socket(|mut socket| async move {
                socket
                    .for_each(|message, replies| replies.send(message))
                    .await
            })
        })
        .bind("127.0.0.1:0")
        .start()
        .await
        .unwrap();
    let url = format!("ws://{}/", server.local_addrs()[0]);
    let client = antiphon::Client::new().compression(antiphon::DeflateConfig::default());
    let mut socket = client.connect(url).await.unwrap();
    for text in ["a".repeat(5000), "short".to_owned(), "b".repeat(70)] {
        socket.send(text.as_str()).await.unwrap();
        assert_eq!(socket.recv().await.unwrap(), Some(Message::from(text)));
    }
    socket.close(1000, "").await.unwrap();
}

/// Answers that stand in a long message are not copied; they keep their places among the others.
#[tokio::test]
async fn parts_of_a_long_message_are_answers_among_others() {
    let (near, far) = tokio::io::duplex(1 << 16);
    let mut client = WebSocket::from_io(near, Role::Client, Config::default());
    let mut server = WebSocket::from_io(far, Role::Server, Config::default());
    let answering = tokio::spawn(async move {
        server
            .for_each(|message, replies| {
                replies.send("before");
                replies.send(message);
                replies.send(&message.as_bytes()[10..]);
                replies.send(&message.as_bytes()[..100]);
                replies.send("after");
            })
            .await
    });
    for length in [20_000, 300_000] {
        let text: String = ('a'..='z').cycle().take(length).collect();
        let sender = client.sender();
        let sent = text.clone();
        tokio::spawn(async move { sender.send(sent).await });
        let answers = [
            Message::text("before"),
            Message::text(text.as_str()),
            Message::binary(text.as_bytes()[10..].to_vec()),
            Message::binary(text.as_bytes()[..100].to_vec()),
            Message::text("after"),
        ];
        for answer in answers {
            assert_eq!(client.recv().await.unwrap(), Some(answer));
        }
    }
    client.close(1000, "").await.unwrap();
    answering.await.unwrap().unwrap();
}

/// Over TCP the rest of a long message is read into its own memory: the next ones stay behind it, and a receiver that is
/// cancelled again and again loses nothing.
#[tokio::test]
async fn long_messages_come_over_tcp_as_they_were_sent() {
    use antiphon::{Result, Upgrade};
    let each = |upgrade: Upgrade| async move {
        upgrade.on_socket(|mut socket| async move {
            let echo = socket.for_each(|message, replies| replies.send(message));
            echo.await
        })
    };
    let loops = |upgrade: Upgrade| async move {
        upgrade.on_socket(|mut socket| async move {
            loop {
                let received: Option<Result<_>> = tokio::select! {
                    biased;
                    received = socket.recv() => received.transpose(),
                    () = tokio::task::yield_now() => continue,
                };
                match received.transpose()? {
                    Some(message) => socket.send(message).await?,
                    None => return Ok(()),
                }
            }
        })
    };
    let server = antiphon::Server::new()
        .route("/each", each)
        .route("/loop", loops)
        .bind("127.0.0.1:0")
        .start()
        .await
        .unwrap();
    for path in ["each", "loop"] {
        let url = format!("ws://{}/{path}", server.local_addrs()[0]);
        let mut client = antiphon::Client::new().connect(url).await.unwrap();
        let mut messages = Vec::new();
        for length in [16 * 1024, 3, 100_000, 170_000, 1 << 20, 0, (1 << 20) - 1] {
            let text: String = "aé€🎵".chars().cycle().take(length / 4).collect();
            let bytes: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            messages.extend([Message::text(text), Message::binary(bytes)]);
        }
        let (sender, sent) = (client.sender(), messages.clone());
        let sending = tokio::spawn(async move {
            for message in sent {
                sender.send(message).await.unwrap();
            }
        });
        for message in messages {
            let answer = client.recv().await.unwrap().unwrap();
            assert!(answer == message, "{path}: {} bytes", message.len());
        }
        sending.await.unwrap();
        // One by one: behind a long message another one as long is expected.
        for length in [
            9_000,
            9_000,
            20_000,
            20_000,
            5,
            300_000,
            300_000,
            250_000,
            1 << 20,
            9_000,
        ] {
            for _ in 0..2 {
                let message =
                    Message::binary((0..length).map(|i| (i * 7) as u8).collect::<Vec<_>>());
                client.send(message.clone()).await.unwrap();
                client.ping().await.unwrap();
                let answer = client.recv().await.unwrap().unwrap();
                assert!(answer == message, "{path}: {length} bytes");
            }
        }
        client.close(1000, "").await.unwrap();
    }
}
