//! `antiphon connect` and `antiphon echo`, each tested by the other.

mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    process::Stdio,
    thread,
};

use support::{Running, Scratch, antiphon, run};

/// Runs the client against this server and checks what it writes.
fn check(server: &Running, args: &[&str], stdin: &[u8], stdout: &str) {
    let mut line = vec!["connect", &server.url];
    line.extend(args);
    let outcome = run(&line, stdin);
    assert_eq!(outcome.code, Some(0), "{args:?}: {}", outcome.stderr);
    assert_eq!(outcome.stdout, stdout, "{args:?}");
    assert_eq!(outcome.stderr, "", "{args:?}");
}

#[test]
fn pipes() {
    let server = Running::start("echo", &["--subprotocol", "chat"]);
    for (args, stdin, stdout) in [
        (&[][..], &b"one\ntwo\r\n\nlast"[..], "one\ntwo\n\nlast\n"),
        (&[], "Grüße 你好 🦀\n".as_bytes(), "Grüße 你好 🦀\n"),
        (&[], b"", ""),
        (&["--once"], b"one\ntwo\n", "one\n"),
        (
            &["-x", "from the arguments"],
            b"from stdin\n",
            "from the arguments\nfrom stdin\n",
        ),
        (&["--binary"], b"\x00\xff\n", "00ff0a\n"),
        (&["--binary", "--raw"], b"a\nb", "a\nb"),
        (&["--raw"], b"a\nb\n", "ab"),
        (&["--compression"], b"one\n", "one\n"),
        (&["--http2"], b"one\ntwo\n", "one\ntwo\n"),
        (
            &["--subprotocol", "chat", "-H", "X-Test: 1"],
            b"one\n",
            "one\n",
        ),
        (&["--wait", "0"], b"", ""),
    ] {
        check(&server, args, stdin, stdout);
    }
}

/// Every parameter of permessage-deflate, against every kind of data.
#[test]
fn compression() {
    let text = "All work and no play makes Jack a dull boy.\n".repeat(4000);
    for server in [
        &["--compression"][..],
        &[
            "--compression",
            "--compression-min-size",
            "0",
            "--compression-level",
            "9",
        ],
        &["--compression", "--compression-dedicated"],
        &["--compression", "--compression-window", "0"],
        &[
            "--compression",
            "--server-no-context-takeover",
            "--client-no-context-takeover",
        ],
        &[
            "--compression",
            "--server-max-window-bits",
            "9",
            "--client-max-window-bits",
            "9",
        ],
    ] {
        let server = Running::start("echo", server);
        for client in [
            &["--compression", "--compression-min-size", "0"][..],
            &["--compression", "--compression-dedicated"],
            &[
                "--compression",
                "--client-no-context-takeover",
                "--server-max-window-bits",
                "10",
            ],
        ] {
            check(&server, client, text.as_bytes(), &text);
        }
    }
}

#[test]
fn tls() {
    let server = Running::start("echo", &["--tls-self-signed"]);
    assert!(server.url.starts_with("wss://127.0.0.1:"), "{}", server.url);
    check(&server, &["--insecure"], b"secret\n", "secret\n");
    check(&server, &["--insecure", "--http2"], b"secret\n", "secret\n");
    // A certificate that nobody vouches for is refused unless it is asked for.
    let outcome = run(["connect", &server.url], b"");
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("certificate"), "{}", outcome.stderr);
    let (status, stderr) = server.terminate();
    assert!(status.success());
    assert!(stderr.contains("SHA-256 fingerprint"), "{stderr}");
    assert!(!stderr.contains("PRIVATE KEY"), "{stderr}");
}

#[test]
fn certificates_from_files() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".into()])
        .expect("a certificate can be made");
    let certificate = Scratch::new("server.crt", made.cert.pem().as_bytes());
    let key = Scratch::new("server.key", made.signing_key.serialize_pem().as_bytes());
    let server = Running::start(
        "echo",
        &["--tls-cert", certificate.path(), "--tls-key", key.path()],
    );
    check(
        &server,
        &["--ca", certificate.path()],
        b"secret\n",
        "secret\n",
    );
}

#[test]
fn large_messages_and_their_bound() {
    let server = Running::start("echo", &["--max-message-size", "2MiB"]);
    let fits = format!("{}\n", "x".repeat(2 << 20));
    check(&server, &[], fits.as_bytes(), &fits);
    let outcome = run(
        ["connect", &server.url],
        format!("{}\n", "x".repeat((2 << 20) + 1)).as_bytes(),
    );
    assert_eq!(outcome.code, Some(6), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("1009"), "{}", outcome.stderr);
    // The client has a bound of its own.
    let outcome = run(
        ["connect", &server.url, "--max-message-size", "10"],
        b"12345678901\n",
    );
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("limit of 10 bytes"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn json_describes_both_directions() {
    let server = Running::start("echo", &[]);
    let outcome = run(["connect", &server.url, "--json", "-x", "a \"b\""], b"");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let objects: Vec<serde_json::Value> = outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is an object"))
        .collect();
    let described: Vec<_> = objects
        .iter()
        .map(|object| (&object["dir"], &object["type"], &object["data"]))
        .collect();
    assert_eq!(
        described,
        [
            (&"out".into(), &"text".into(), &"a \"b\"".into()),
            (&"in".into(), &"text".into(), &"a \"b\"".into()),
            (&"in".into(), &"close".into(), &"".into())
        ]
    );
}

#[test]
fn origins_are_judged() {
    let same = Running::start("echo", &[]);
    let listed = Running::start("echo", &["--origin", "https://app.example"]);
    let any = Running::start("echo", &["--any-origin"]);
    let own = same.url.replace("ws:", "http:");
    for (server, origin, code) in [
        (&same, "https://evil.example", 3),
        (&same, own.trim_end_matches('/'), 0),
        (&listed, "https://app.example", 0),
        (&listed, "https://evil.example", 3),
        (&any, "https://evil.example", 0),
    ] {
        let outcome = run(
            ["connect", &server.url, "--origin", origin, "--once"],
            b"x\n",
        );
        assert_eq!(outcome.code, Some(code), "{origin}: {}", outcome.stderr);
    }
}

#[test]
fn bad_input_is_named() {
    let server = Running::start("echo", &[]);
    let outcome = run(["connect", &server.url], b"\xff\n");
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.contains("not UTF-8; send it with --binary"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_refused_handshake_says_its_status() {
    let server = Running::start("serve", &["--dev"]);
    let outcome = run(["connect", &server.path("nowhere")], b"");
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("404"), "{}", outcome.stderr);
}

#[test]
fn once_has_a_deadline() {
    let file = Scratch::new("quiet", b"");
    let server = Running::start("serve", &["--watch", file.path()]);
    let modified = std::fs::metadata(&file.0)
        .and_then(|file| file.modified())
        .expect("the file is there");
    let nanoseconds = modified
        .duration_since(std::time::UNIX_EPOCH)
        .expect("it is new")
        .as_nanos();
    // This version is known already: nothing comes.
    let url = server.path(&format!("ws?lastMod={nanoseconds:x}"));
    let outcome = run(["connect", &url, "--once", "--timeout", "200ms"], b"");
    assert_eq!(outcome.code, Some(4), "{}", outcome.stderr);
}

/// Forwards one connection, and cuts it after the first bytes that the server sends behind the handshake.
fn cutting_proxy(server: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!(
        "ws://{}/",
        listener.local_addr().expect("it has an address")
    );
    thread::spawn(move || {
        let (client, _) = listener.accept().expect("the client comes");
        let server = TcpStream::connect(server).expect("the server listens");
        let (mut from_client, mut to_server) = (
            client.try_clone().expect("a handle"),
            server.try_clone().expect("a handle"),
        );
        thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
        let mut from_server = BufReader::new(server);
        let mut to_client = client;
        loop {
            let mut line = String::new();
            from_server
                .read_line(&mut line)
                .expect("the handshake is text");
            to_client
                .write_all(line.as_bytes())
                .expect("the client listens");
            if line == "\r\n" {
                break;
            }
        }
        from_server.read_exact(&mut [0; 1]).expect("an echo comes");
        to_client.shutdown(Shutdown::Both).expect("it was open");
    });
    url
}

#[test]
fn an_end_without_close_is_abnormal() {
    let server = Running::start("echo", &[]);
    let url = cutting_proxy(server.authority().to_owned());
    let outcome = run(["connect", &url, "--wait", "forever"], b"hello\n");
    assert_eq!(outcome.code, Some(5), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
}

#[cfg(unix)]
#[test]
fn servers_say_going_away() {
    for (command, args, path) in [
        ("echo", &[][..], ""),
        ("serve", &["--dev"], "ws"),
        ("serve", &["--command", "cat"], "ws"),
    ] {
        let server = Running::start(command, args);
        let mut client = antiphon([
            "connect",
            &server.path(path),
            "--wait",
            "forever",
            "--show-control",
        ])
        .args(["-x", "hello"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
        let mut line = String::new();
        BufReader::new(client.stdout.as_mut().expect("stdout is piped"))
            .read_line(&mut line)
            .expect("an echo comes");
        assert_eq!(line, "hello\n", "{command}");
        let (status, stderr) = server.terminate();
        assert!(status.success(), "{command}: {status} {stderr}");
        let output = client.wait_with_output().expect("the client ends");
        assert_eq!(output.status.code(), Some(0), "{command}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("close 1001"), "{command}: {stderr}");
    }
}

#[cfg(unix)]
#[test]
fn control_frames_can_be_seen() {
    let server = Running::start("echo", &[]);
    let mut client = antiphon(["connect", &server.url, "--wait", "forever"])
        .args(["--show-control", "--ping-interval", "20ms"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stderr = BufReader::new(client.stderr.take().expect("stderr is piped"));
    let mut said = String::new();
    while !said.contains("pong after") {
        assert_ne!(
            stderr.read_line(&mut said).expect("stderr can be read"),
            0,
            "{said}"
        );
    }
    support::signal(&client, rustix::process::Signal::INT);
    stderr
        .read_to_string(&mut said)
        .expect("stderr can be read");
    assert!(said.contains("close 1000"), "{said}");
    assert_eq!(client.wait().expect("the client ends").code(), Some(130));
}

#[cfg(unix)]
#[test]
fn ctrl_c_closes_and_says_so() {
    let server = Running::start("echo", &[]);
    let mut client = antiphon(["connect", &server.url, "--wait", "forever", "-x", "hello"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut line = String::new();
    BufReader::new(client.stdout.as_mut().expect("stdout is piped"))
        .read_line(&mut line)
        .expect("an echo comes");
    support::signal(&client, rustix::process::Signal::INT);
    assert_eq!(client.wait().expect("the client ends").code(), Some(130));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let server = Running::start("echo", &[]);
    let mut client = antiphon(["connect", &server.url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(client.stdout.take());
    let mut stdin = client.stdin.take().expect("stdin is piped");
    // Until the client is gone.
    while stdin.write_all(b"line\n").is_ok() {}
    let output = client.wait_with_output().expect("the client ends");
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
