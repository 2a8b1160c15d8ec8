//! `antiphon bench`: what it counts, and what it finds wrong with servers that lie.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use support::{Outcome, Running, Scratch, run};

/// Runs `antiphon bench ARGS --json`.
fn bench(args: &[&str]) -> (Outcome, Value) {
    let mut line = vec!["bench"];
    line.extend(args);
    line.push("--json");
    let outcome = run(&line, b"");
    let said = serde_json::from_str(&outcome.stdout).unwrap_or(Value::Null);
    (outcome, said)
}

/// The same, and the server was right.
fn good(args: &[&str]) -> Value {
    let (outcome, said) = bench(args);
    assert_eq!(outcome.code, Some(0), "{args:?}: {}", outcome.stderr);
    assert_eq!(outcome.stderr, "", "{args:?}");
    assert_eq!(said["errors"], json!({}), "{args:?}");
    said
}

/// The same, and the server did something, however busy this machine is.
fn busy(args: &[&str]) -> Value {
    let said = good(args);
    if said["messages"]
        .as_u64()
        .is_some_and(|messages| messages > 0)
    {
        return said;
    }
    let longer: Vec<&str> = args
        .iter()
        .map(|&word| if word == "200ms" { "5s" } else { word })
        .collect();
    let said = good(&longer);
    assert!(
        said["messages"]
            .as_u64()
            .is_some_and(|messages| messages > 0),
        "{args:?}: {said}"
    );
    said
}

const SHORT: [&str; 4] = ["--duration", "200ms", "--warmup", "50ms"];

#[test]
fn the_object_says_what_was_measured() {
    let server = Running::start("echo", &[]);
    let pid = server.pid().to_string();
    let mut args = vec![
        "echo",
        &server.url,
        "--server-pid",
        &pid,
        "--connections",
        "3",
    ];
    args.extend(SHORT);
    let said = busy(&args);
    for (pointer, expected) in [
        ("/kind", json!("echo")),
        ("/url", json!(server.url)),
        ("/connections", json!(3)),
        ("/opened", json!(3)),
        ("/size", json!(125)),
        ("/depth", json!(1)),
        ("/type", json!("text")),
        ("/compression", Value::Null),
        ("/generator/limited", json!(false)),
        ("/faults", json!([])),
        ("/bytes_sent_each", json!(125.0)),
        ("/bytes_received_each", json!(125.0)),
    ] {
        let found = said.pointer(pointer);
        if pointer == "/generator/limited" {
            assert!(found.is_some_and(Value::is_boolean), "{said}");
            continue;
        }
        assert_eq!(found, Some(&expected), "{pointer}");
    }
    let messages = said["messages"].as_u64().unwrap();
    assert!(messages > 0);
    assert_eq!(said["bytes"], json!(messages * 125));
    for number in [
        "/seconds",
        "/messages_per_second",
        "/latency_us/min",
        "/latency_us/mean",
        "/latency_us/p50",
        "/latency_us/p90",
        "/latency_us/p99",
        "/latency_us/p999",
        "/latency_us/max",
        "/generator/cpu_seconds",
        "/generator/cpu_share",
        "/server/cpu_seconds",
        "/server/cpu_share",
        "/server/messages_per_cpu_second",
        "/server/rss_bytes",
        "/server/pss_bytes",
    ] {
        let found = said.pointer(number);
        assert!(found.is_some_and(Value::is_number), "{number}: {said}");
    }
}

#[test]
fn every_size_and_form_comes_back() {
    let server = Running::start("echo", &["--max-message-size", "1MiB"]);
    let file = Scratch::new(
        "payload",
        "{\"number\":\"{seq}\",\"text\":\"Grüße 🦀\"}".as_bytes(),
    );
    let same = Scratch::new("same", b"always the same");
    for options in [
        &["--size", "0"][..],
        &["--size", "1", "--depth", "7"],
        &["--size", "15"],
        &["--size", "125", "--depth", "16"],
        &["--size", "126", "--binary"],
        &["--size", "65536", "--depth", "3"],
        &[
            "--size",
            "300000",
            "--payload",
            "random",
            "--connections",
            "2",
        ],
        &["--size", "1MiB", "--connections", "1"],
        &["--size", "240", "--payload", "json"],
        &["--payload", file.path(), "--depth", "5"],
        &["--payload", same.path()],
        &["--rate", "500"],
        &["--rate", "500", "--depth", "1", "--connections", "1"],
        &["--pin", "0"],
    ] {
        let mut args = vec!["echo", &server.url];
        if !options.contains(&"--connections") {
            args.extend(["--connections", "4"]);
        }
        args.extend(SHORT);
        args.extend(options);
        busy(&args);
    }
}

#[test]
fn compressed_answers_are_inflated_and_judged() {
    let server = Running::start("echo", &["--compression", "--compression-min-size", "0"]);
    for options in [
        &[][..],
        &[
            "--server-no-context-takeover",
            "--client-no-context-takeover",
        ],
        &["--server-no-context-takeover", "--depth", "40"],
        &["--client-max-window-bits", "9"],
        &["--server-max-window-bits", "9", "--depth", "3"],
        &["--compression-level", "9", "--rate", "300"],
    ] {
        let mut args = vec!["echo", &server.url, "--connections", "3", "--size", "1KiB"];
        args.extend([
            "--payload",
            "json",
            "--compression",
            "--compression-min-size",
            "0",
        ]);
        args.extend(SHORT);
        args.extend(options);
        let said = busy(&args);
        assert!(said["compression"].is_object(), "{said}");
        for each in ["bytes_sent_each", "bytes_received_each"] {
            let bytes = said[each].as_f64().unwrap();
            assert!(bytes > 10.0 && bytes < 900.0, "{each}: {said}");
        }
    }
    // A server that does not compress is measured as it is.
    let plain = Running::start("echo", &[]);
    let mut args = vec!["echo", &plain.url, "--compression", "--connections", "2"];
    args.extend(SHORT);
    assert_eq!(good(&args)["compression"], Value::Null);
}

#[test]
fn a_raw_echo_is_measured_without_a_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let (mut from, mut to) = (&stream, &stream);
                let _ = std::io::copy(&mut from, &mut to);
            });
        }
    });
    let mut args = vec!["echo", &url, "--raw", "--connections", "2", "--depth", "4"];
    args.extend(SHORT);
    busy(&args);
}

#[test]
fn handshakes_are_counted_and_sessions_resumed() {
    let server = Running::start("echo", &[]);
    for options in [&[][..], &["--no-close-handshake"]] {
        let mut args = vec!["churn", &server.url, "--connections", "4"];
        args.extend(SHORT);
        args.extend(options);
        busy(&args);
    }
    let secure = Running::start("echo", &["--tls-self-signed", "--max-message-size", "1MiB"]);
    for (option, resumes) in [("--insecure", true), ("--no-resumption", false)] {
        let mut args = vec!["churn", &secure.url, "--insecure", "--connections", "2"];
        if option != "--insecure" {
            args.push(option);
        }
        args.extend(["--duration", "600ms", "--warmup", "300ms"]);
        let said = good(&args);
        let resumed = said["tls"]["resumed"].as_u64().unwrap();
        assert_eq!(resumed > 0, resumes, "{said}");
    }
    let mut args = vec![
        "echo",
        &secure.url,
        "--insecure",
        "--connections",
        "3",
        "--depth",
        "4",
    ];
    args.extend(SHORT);
    args.extend(["--size", "100000"]);
    busy(&args);
    // Nobody vouches for that certificate.
    let (outcome, said) = bench(&["echo", &secure.url, "--connections", "1"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert_eq!(said["errors"], json!({"tls": 1}));
}

#[test]
fn memory_is_told_for_each_connection() {
    let server = Running::start("echo", &[]);
    let pid = server.pid().to_string();
    let said = good(&[
        "idle",
        &server.url,
        "--pid",
        &pid,
        "--connections",
        "50",
        "--messages",
        "2",
        "--duration",
        "100ms",
    ]);
    assert_eq!((&said["opened"], &said["open"]), (&json!(50), &json!(50)));
    let memory = &said["memory_bytes"];
    let number = |name: &str| memory[name].as_f64().unwrap();
    for kind in ["rss", "pss"] {
        let (before, after) = (
            number(&format!("{kind}_before")),
            number(&format!("{kind}_after")),
        );
        let each = number(&format!("{kind}_each"));
        assert!(before > 1e6 && after > 1e6, "{memory}");
        assert!(((after - before) / 50.0 - each).abs() < 0.1, "{memory}");
    }
}

#[test]
fn a_ramp_ends_where_it_is_too_much() {
    let server = Running::start("echo", &[]);
    let times = ["--duration", "100ms", "--warmup", "20ms"];
    for (options, steps, ended, code) in [
        (
            &["--to", "4", "--until-p99", "60s"][..],
            3,
            "the last step",
            0,
        ),
        (
            &["--to", "4", "--until-p99", "0.000001"],
            1,
            "the latency",
            0,
        ),
        (
            &[
                "--by",
                "rate",
                "--from",
                "100",
                "--to",
                "100",
                "--connections",
                "2",
                "--until-p99",
                "60s",
            ],
            1,
            "the last step",
            0,
        ),
    ] {
        let mut args = vec!["ramp", &server.url];
        args.extend(times);
        args.extend(options);
        let (outcome, said) = bench(&args);
        assert_eq!(outcome.code, Some(code), "{options:?}: {}", outcome.stderr);
        assert_eq!(said["steps"].as_array().unwrap().len(), steps, "{said}");
        // A machine that is busy with other things may miss the rate.
        let by = said["ended_by"].as_str().unwrap();
        assert!(by == ended || by == "the rate was not reached", "{said}");
        assert_eq!(
            said["knee"].is_null(),
            ended == "the latency" || by != ended,
            "{said}"
        );
    }
}

#[test]
fn a_hub_delivers_to_every_subscriber() {
    let server = Running::start("serve", &["--dev"]);
    let url = server.url.replace("/ws", "/socket");
    let url = if url.ends_with("/socket") {
        url
    } else {
        format!("{}socket", server.url)
    };
    let mut args = vec![
        "fanout",
        &url,
        "--preset",
        "antiphon",
        "--subscribers",
        "20",
    ];
    // The demo takes 100 messages a second from one client.
    args.extend(["--rate", "40", "--duration", "500ms", "--warmup", "50ms"]);
    let said = good(&args);
    let (published, delivered) = (
        said["published"].as_u64().unwrap(),
        said["messages"].as_u64().unwrap(),
    );
    assert!(published > 0 && delivered <= (published + 4) * 20, "{said}");
    assert_eq!(said["opened"], json!(21));
    // Who may not publish there learns what the server says.
    args.extend(["--channel", "room:tea", "--timeout", "600ms"]);
    let (outcome, _) = bench(&args);
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.contains("use chat/send"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn whatever_a_server_repeats_to_everybody_is_found() {
    let url = everybody();
    for options in [
        &[][..],
        &["--in-flight", "8"],
        &["--publishers", "2", "--in-flight", "3"],
        &[
            "--publish",
            "{\"from\":{connection},\"n\":{seq},\"text\":\"{payload}\"}",
        ],
        &["--binary", "--size", "5000"],
        &["--rate", "100"],
    ] {
        let mut args = vec!["fanout", &url, "--subscribers", "5"];
        args.extend(SHORT);
        args.extend(options);
        busy(&args);
    }
}

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

#[test]
fn people_get_a_table_and_a_picture() {
    let server = Running::start("echo", &[]);
    let picture = Scratch::new("latency.svg", b"");
    let mut args = vec!["bench", "echo", &server.url, "--connections", "2"];
    args.extend(SHORT);
    args.extend(["--svg", picture.path()]);
    let outcome = run(&args, b"");
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    for word in [
        "echo",
        "connections",
        "latency",
        "p99.9",
        "generator",
        "faults",
        "none",
        "█",
    ] {
        assert!(outcome.stdout.contains(word), "{word}: {}", outcome.stdout);
    }
    let svg = std::fs::read_to_string(picture.path()).unwrap();
    well_formed(&svg);
    assert!(
        svg.contains("prefers-color-scheme:dark") && svg.contains("p99.9"),
        "{svg}"
    );
}

#[test]
fn what_cannot_be_done_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("ws://{}/", taken.local_addr().unwrap());
    drop(taken);
    for (args, code, word) in [
        (&["echo"][..], 2, "URL"),
        (&["echo", "http:/x"], 2, "ws://"),
        (&["echo", "ws://a/", "--connections", "0"], 2, "from 1"),
        (
            &["echo", "ws://a/", "--depth", "99999999"],
            2,
            "from 1 to 65536",
        ),
        (&["echo", "ws://a/", "--rate=-1"], 2, "--rate"),
        (&["echo", "ws://a/", "--rate", "fast"], 2, "a second"),
        (&["echo", "ws://a/", "--size", "1GiB"], 2, "64MiB"),
        (&["echo", "ws://a/", "--duration", "0"], 2, "more than 0"),
        (
            &["echo", "ws://a/", "--payload", "json", "--size", "9"],
            2,
            "64",
        ),
        (
            &["echo", "ws://a/", "--payload", "/no/such/file"],
            1,
            "/no/such/file",
        ),
        (
            &["echo", "ws://a/", "--raw", "--compression"],
            2,
            "cannot be used",
        ),
        (&["echo", "ws://a/", "-H", "Upgrade: x"], 2, "upgrade"),
        (
            &["echo", "ws://a/", "--server-pid", "4000000000"],
            1,
            "process",
        ),
        (&["echo", "ws://a/", "--pin", "100000"], 1, "core"),
        (&["echo", &nobody], 3, "cannot connect"),
        (&["churn", &nobody], 3, "cannot connect"),
        (&["fanout", &nobody], 3, "cannot connect"),
        (&["fanout", "ws://a/", "--size", "20"], 2, "32"),
        (&["fanout", "ws://a/", "--preset", "none"], 2, "antiphon"),
        (&["idle", &nobody], 2, "--pid"),
        (&["ramp", "ws://a/", "--factor", "1"], 2, "1.01"),
        (
            &["ramp", "ws://a/", "--factor", "2", "--add", "1"],
            2,
            "cannot be used",
        ),
    ] {
        let mut line = vec!["bench"];
        line.extend(args);
        let outcome = run(&line, b"");
        assert_eq!(outcome.code, Some(code), "{args:?}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains(word),
            "{args:?}: {}",
            outcome.stderr
        );
        assert_eq!(
            outcome.stderr.lines().count(),
            1,
            "{args:?}: {}",
            outcome.stderr
        );
    }
}

/// A server of this test: each connection has a thread.
fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    url
}

/// A server that answers `depth` messages at a time as the test wants it; `None`: it hangs up.
fn lying(
    depth: usize,
    turn: impl Fn(usize, &[Vec<u8>]) -> Option<Vec<u8>> + Copy + Send + Sync + 'static,
) -> String {
    listen(move |mut stream| {
        let Some(key) = request(&mut stream) else {
            return;
        };
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {key}\r\n\r\n"
        );
        if stream.write_all(response.as_bytes()).is_ok() {
            talk(stream, depth, turn);
        }
    })
}

/// A server that sends everything to everybody.
fn everybody() -> String {
    let all: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    listen(move |mut stream| {
        let Some(key) = request(&mut stream) else {
            return;
        };
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {key}\r\n\r\n"
        );
        {
            let mut all = all.lock().unwrap();
            let _ = stream.write_all(response.as_bytes());
            all.push(stream.try_clone().unwrap());
        }
        while let Some((opcode, payload)) = read_frame(&mut stream) {
            if opcode == 8 {
                break;
            }
            let mut bytes = Vec::new();
            frame(0x80 | opcode, &payload, &mut bytes);
            let mut all = all.lock().unwrap();
            all.retain_mut(|stream| stream.write_all(&bytes).is_ok());
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
    })
}

/// Reads the request of an opening handshake and says how its key is accepted.
fn request(stream: &mut TcpStream) -> Option<String> {
    stream.set_nodelay(true).ok()?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then_some(value)
    })?;
    let joined = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, joined.as_bytes());
    Some(STANDARD.encode(hash))
}

/// Answers turn by turn, until the client goes.
fn talk(mut stream: TcpStream, depth: usize, turn: impl Fn(usize, &[Vec<u8>]) -> Option<Vec<u8>>) {
    for number in 0.. {
        let mut messages = Vec::new();
        while messages.len() < depth {
            match read_frame(&mut stream) {
                Some((1 | 2, payload)) => messages.push(payload),
                _ => return,
            }
        }
        let Some(bytes) = turn(number, &messages) else {
            return;
        };
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

/// A client's frame: its opcode and what it says.
fn read_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    assert_eq!(head[0] & 0x70, 0, "no extension was agreed on");
    assert_eq!(head[1] & 0x80, 0x80, "a client masks");
    let length = match head[1] & 0x7f {
        126 => {
            let mut long = [0; 2];
            stream.read_exact(&mut long).ok()?;
            usize::from(u16::from_be_bytes(long))
        }
        127 => {
            let mut long = [0; 8];
            stream.read_exact(&mut long).ok()?;
            usize::try_from(u64::from_be_bytes(long)).ok()?
        }
        short => usize::from(short),
    };
    let mut key = [0; 4];
    stream.read_exact(&mut key).ok()?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).ok()?;
    for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
    Some((head[0] & 0xf, payload))
}

/// Text messages as a server sends them.
fn answers(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        frame(0x81, message, &mut bytes);
    }
    bytes
}

fn frame(first: u8, payload: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(first);
    match payload.len() {
        short @ 0..126 => bytes.push(short as u8),
        long => {
            bytes.push(126);
            bytes.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
}

/// Every tag is closed, every attribute quoted, every reference known.
fn well_formed(xml: &str) {
    let mut open = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        for reference in text.match_indices('&') {
            let known = ["&amp;", "&lt;", "&gt;", "&quot;"];
            assert!(
                known
                    .iter()
                    .any(|known| text[reference.0..].starts_with(known)),
                "{text}"
            );
        }
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        assert!(!tag.contains('<'), "{tag}");
        let name = tag
            .trim_start_matches('/')
            .split([' ', '/'])
            .next()
            .unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{open:?}");
    assert_eq!(rest.trim(), "");
}
