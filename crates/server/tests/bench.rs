//! `antiphon bench`: what it counts, and what it finds wrong with servers that lie.

mod support;

mod bench {
    mod interrupted;
    mod liar;
    mod lies;

    pub(super) use liar::{everybody, waiting};
}

use std::{net::TcpListener, thread};

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
    assert_eq!(busy(&args)["compression"], json!(null));
    let compressed = "--compression --compression-min-size 0 --payload json --size 1KiB";
    args.extend(compressed.split(' '));
    let said = busy(&args);
    for each in ["bytes_sent_each", "bytes_received_each"] {
        assert!(
            (100.0..900.0).contains(&said[each].as_f64().unwrap()),
            "{said}"
        );
    }
}

#[test]
fn looking_for_answers_that_are_not_there_is_no_work() {
    let server = Running::start("echo", &[]);
    let args = [
        "echo",
        &server.url,
        "--busy-poll",
        "--connections",
        "1",
        "--rate",
        "10",
        "--duration",
        "1s",
        "--warmup",
        "0s",
    ];
    let said = busy(&args);
    let (work, all) = (&said["generator"]["cpu_seconds"], &said["seconds"]);
    assert!(
        work.as_f64().unwrap() < all.as_f64().unwrap() / 2.0,
        "{said}"
    );
    let mut args = vec!["churn", &server.url, "--busy-poll", "--connections", "4"];
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
        let said = busy(&args);
        let hangs_up = options.is_empty().then_some(true);
        assert_eq!(said["server_hangs_up"], json!(hangs_up), "{said}");
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
fn a_server_that_never_hangs_up_is_known() {
    let url = bench::waiting();
    let args = [
        "churn",
        &url,
        "--connections",
        "16",
        "--warmup",
        "0s",
        "--duration",
        "500ms",
    ];
    let said = busy(&args);
    assert_eq!(said["server_hangs_up"], json!(false), "{said}");
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
    let url = bench::everybody();
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
            &["echo", "ws://a/", "--raw", "--origin", "http://a"],
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
        (
            &["echo", &nobody, "--svg", "/no/such/folder/a.svg"],
            1,
            "/no/such/folder",
        ),
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
