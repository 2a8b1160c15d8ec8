//! Servers that lie: each lie has its name. And one that sleeps.

use std::{io::Write as _, sync::Arc, thread, time::Duration};

use serde_json::json;

use super::liar::{answers, frame, listen, lying, request, talk};
use crate::{SHORT, bench, good};

/// The latencies of messages that were due while the server slept are as long as it slept on, although most of them
/// were not even sent before it woke.
#[test]
fn a_stall_counts_for_every_message_that_was_due_in_it() {
    let url = lying(1, |turn, messages| {
        if turn == 20 {
            thread::sleep(Duration::from_millis(400));
        }
        Some(answers(messages))
    });
    let args = [
        "echo",
        &url,
        "--connections",
        "1",
        "--duration",
        "600ms",
        "--warmup",
        "0",
    ];
    let mut open = args.to_vec();
    open.extend(["--rate", "200", "--depth", "1"]);
    let said = good(&open);
    // At least 80 of 120 messages were due in the stall, at equal distances.
    assert!(
        said["latency_us"]["p90"].as_f64().unwrap() > 200_000.0,
        "{said}"
    );
    assert!(
        said["latency_us"]["p50"].as_f64().unwrap() > 50_000.0,
        "{said}"
    );
}

#[test]
fn every_lie_has_its_name() {
    type Lie = fn(usize, &[Vec<u8>]) -> Option<Vec<u8>>;
    /// In the third turn the server lies.
    const AT: usize = 2;
    let rows: [(&str, u64, Lie); 15] = [
        ("payload", 1, |turn, messages| {
            let mut messages = messages.to_vec();
            messages[1][100] ^= u8::from(turn == AT);
            Some(answers(&messages))
        }),
        ("order", 1, |turn, messages| {
            let mut messages = messages.to_vec();
            if turn == AT {
                messages.swap(1, 2);
            }
            Some(answers(&messages))
        }),
        ("lost", 1, |turn, messages| {
            let mut messages = messages.to_vec();
            if turn == AT {
                messages.remove(1);
            }
            Some(answers(&messages))
        }),
        ("duplicate", 1, |turn, messages| {
            let mut messages = messages.to_vec();
            if turn == AT {
                messages.insert(1, messages[1].clone());
            }
            Some(answers(&messages))
        }),
        ("length", 1, |turn, messages| {
            let mut messages = messages.to_vec();
            messages[3].truncate(if turn == AT { 99 } else { 125 });
            Some(answers(&messages))
        }),
        ("length", 1, |turn, messages| {
            let mut messages = messages.to_vec();
            messages[0].extend(vec![b'x'; usize::from(turn == AT)]);
            Some(answers(&messages))
        }),
        ("misdelivered", 1, |turn, messages| {
            let mut messages = messages.to_vec();
            messages[0][5] += u8::from(turn == AT);
            Some(answers(&messages))
        }),
        ("type", 4, |turn, messages| {
            let mut bytes = Vec::new();
            for message in messages {
                frame(if turn == AT { 0x82 } else { 0x81 }, message, &mut bytes);
            }
            Some(bytes)
        }),
        ("late", 4, |turn, messages| {
            Some(if turn < AT {
                answers(messages)
            } else {
                Vec::new()
            })
        }),
        ("closed", 1, |turn, messages| {
            let mut bytes = answers(messages);
            if turn == AT {
                bytes = vec![0x88, 6, 0x03, 0xf3, b'o', b'o', b'p', b's'];
            }
            Some(bytes)
        }),
        ("ended", 1, |turn, messages| {
            (turn < AT).then(|| answers(messages))
        }),
        ("masked", 1, |turn, messages| {
            let mut bytes = answers(messages);
            bytes[1] |= if turn == AT { 0x80 } else { 0 };
            Some(bytes)
        }),
        ("protocol", 1, |turn, messages| {
            let mut bytes = answers(messages);
            bytes[0] |= if turn == AT { 0x40 } else { 0 };
            Some(bytes)
        }),
        ("protocol", 1, |turn, messages| {
            let mut bytes = answers(messages);
            // A continuation of nothing.
            bytes[0] &= if turn == AT { 0xf0 } else { 0xff };
            Some(bytes)
        }),
        ("length", 1, |turn, messages| {
            let mut bytes = answers(messages);
            if turn == AT {
                bytes = vec![0x81, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
            }
            Some(bytes)
        }),
    ];
    for (index, (kind, count, lie)) in rows.into_iter().enumerate() {
        let url = lying(4, lie);
        let mut args = vec!["echo", &url, "--connections", "1", "--depth", "4"];
        args.extend([
            "--duration",
            "1500ms",
            "--warmup",
            "0",
            "--timeout",
            "300ms",
        ]);
        let (outcome, said) = bench(&args);
        assert_eq!(
            outcome.code,
            Some(1),
            "{kind} in row {index}: {}",
            outcome.stderr
        );
        assert_eq!(
            said["errors"],
            json!({kind: count}),
            "row {index}: {}",
            outcome.stderr
        );
        assert!(
            outcome.stderr.contains(kind),
            "row {index}: {}",
            outcome.stderr
        );
        assert!(
            said["faults"][0].as_str().unwrap().contains("connection 0"),
            "{said}"
        );
    }
}

#[test]
fn handshakes_that_lie_are_faults() {
    let answer = |key: &str| {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {key}\r\n\r\n"
        )
    };
    for (response, kind) in [
        (answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "accept"),
        (
            answer("KEY").replace("Sec-WebSocket-Accept: KEY\r\n", ""),
            "accept",
        ),
        (
            answer("KEY").replace("Upgrade: websocket\r\n", ""),
            "handshake",
        ),
        (
            answer("KEY").replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: x\r\n\r\n"),
            "handshake",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "handshake",
        ),
        ("nonsense\r\n\r\n".to_owned(), "handshake"),
        (String::new(), "handshake"),
        (answer("KEY") + "\u{81}\u{1}x", "unasked"),
    ] {
        let response: Arc<str> = response.into();
        let shown = response.clone();
        let url = listen(move |mut stream| {
            let Some(key) = request(&mut stream) else {
                return;
            };
            // Characters stand for bytes here.
            let bytes: Vec<u8> = response
                .replace("KEY", &key)
                .chars()
                .map(|c| c as u8)
                .collect();
            let _ = stream.write_all(&bytes);
            if bytes.starts_with(b"HTTP/1.1 101") {
                talk(stream, 1, |_, messages| Some(answers(messages)));
            }
        });
        let args = ["echo", &url, "--connections", "2", "--timeout", "2s"];
        let mut args = args.to_vec();
        args.extend(SHORT);
        let (outcome, said) = bench(&args);
        assert_eq!(outcome.code, Some(1), "{shown:?}: {}", outcome.stderr);
        assert_eq!(
            said["errors"],
            json!({kind: 2}),
            "{shown:?}: {}",
            outcome.stderr
        );
    }
}
