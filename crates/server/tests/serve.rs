//! `antiphon serve`: the page and its policy, the programs behind `--command`, the file behind `--watch`.

mod support;

use support::{Running, Scratch, run};

#[test]
fn the_page_and_its_files() {
    let mut server = Running::start("serve", &["--dev"]);
    assert_eq!(
        server.line(),
        format!("open http://{}/", server.authority())
    );
    for (path, kind, words) in [
        ("/", "text/html", "id=\"log\""),
        ("/echo.js", "text/javascript", "new WebSocket"),
        ("/echo.css", "text/css", "prefers-color-scheme"),
        ("/icon.svg", "image/svg+xml", "<svg"),
        ("/chat", "text/html", "id=\"log\""),
        ("/chat.js", "text/javascript", "$subscribe"),
        ("/chat.css", "text/css", ".rooms"),
        ("/antiphon.js", "text/javascript", "as Client"),
    ] {
        let response = server.get(path, "");
        assert!(response.starts_with("HTTP/1.1 200 "), "{path}: {response}");
        assert!(
            response.contains(&format!("content-type: {kind}")),
            "{path}: {response}"
        );
        assert!(
            response.contains("content-security-policy: default-src 'self';"),
            "{path}: {response}"
        );
        assert!(
            response.contains("x-content-type-options: nosniff"),
            "{path}: {response}"
        );
        assert!(response.contains(words), "{path}: {response}");
    }
}

#[test]
fn pages_of_every_origin_may_take_the_client_and_nothing_else() {
    let demo = Running::start("serve", &["--dev"]);
    let real = Running::start("serve", &["--set", "server.client=/lib/client.js"]);
    for (server, path, is_for_all) in [
        (&demo, "/antiphon.js", true),
        (&demo, "/chat.js", false),
        (&real, "/lib/client.js", true),
    ] {
        let response = server.get(path, "");
        assert!(response.starts_with("HTTP/1.1 200 "), "{path}: {response}");
        for header in [
            "access-control-allow-origin: *\r\n",
            "cross-origin-resource-policy: cross-origin\r\n",
        ] {
            assert_eq!(response.contains(header), is_for_all, "{path}: {header}");
        }
    }
    let response = real.get("/antiphon.js", "");
    assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
}

#[test]
fn requests_that_get_no_page() {
    let server = Running::start("serve", &["--dev"]);
    for (path, headers, status) in [
        ("/nowhere", "", 404),
        ("/../Cargo.toml", "", 404),
        ("/ws", "", 426),
        // A web site whose name points to this machine (DNS rebinding).
        ("/", "Host: evil.example\r\n", 421),
        ("/ws", "Host: evil.example\r\n", 421),
        ("/socket", "Host: evil.example\r\n", 421),
        ("/chat", "Host: evil.example\r\n", 421),
        ("/", "Host: localhost\r\n", 200),
    ] {
        let response = server.get(path, headers);
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path} {headers}: {response}"
        );
    }
}

#[cfg(unix)]
mod command {
    use super::*;

    /// Sends these lines to a program and checks what it answers.
    fn check(args: &[&str], stdin: &[u8], code: i32, stdout: &str) {
        let server = Running::start("serve", args);
        let outcome = run(
            ["connect", &server.path("ws?a=b"), "--wait", "forever"],
            stdin,
        );
        assert_eq!(outcome.code, Some(code), "{args:?}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, stdout, "{args:?}");
    }

    #[test]
    fn lines_are_messages() {
        for (args, stdin, stdout) in [
            (
                &["--command", "head", "-n", "2"][..],
                &b"one\ntwo\n"[..],
                "one\ntwo\n",
            ),
            (
                &["--command", "sh", "-c", "echo out; echo problem >&2"],
                b"",
                "out\nproblem\n",
            ),
            (
                &[
                    "--stderr",
                    "log",
                    "--command",
                    "sh",
                    "-c",
                    "echo out; echo problem >&2",
                ],
                b"",
                "out\n",
            ),
            (
                &["--command", "sh", "-c", "printf 'no end'"],
                b"",
                "no end\n",
            ),
            (
                &[
                    "--command",
                    "sh",
                    "-c",
                    "echo $REQUEST_URI $WEBSOCKET_SUBPROTOCOL.",
                ],
                b"",
                "/ws?a=b .\n",
            ),
            (
                &["--command", "sh", "-c", "read line; echo \"$line\"; exit 3"],
                b"; rm -rf $HOME\n",
                "; rm -rf $HOME\n",
            ),
        ] {
            // The order of stdout and stderr is the program's business.
            if stdout.lines().count() == 2 && stdin.is_empty() {
                let server = Running::start("serve", args);
                let outcome = run(["connect", &server.path("ws"), "--wait", "forever"], stdin);
                let mut lines: Vec<&str> = outcome.stdout.lines().collect();
                lines.sort_unstable();
                assert_eq!(lines, stdout.lines().collect::<Vec<_>>(), "{args:?}");
            } else {
                check(args, stdin, 0, stdout);
            }
        }
    }

    #[test]
    fn secrets_stay_here() {
        let mut command =
            support::antiphon(["serve", "--listen", "127.0.0.1:0", "--command", "env"]);
        command
            .env("ANTIPHON_SECRET", "canary")
            .env("AWS_SECRET_ACCESS_KEY", "canary");
        let server = Running::from_command(command);
        let outcome = run(["connect", &server.path("ws"), "--wait", "forever"], b"");
        assert!(
            outcome.stdout.contains("WEBSOCKET_REMOTE_ADDR=127.0.0.1:"),
            "{}",
            outcome.stdout
        );
        assert!(!outcome.stdout.contains("canary"), "{}", outcome.stdout);
    }

    #[test]
    fn a_long_line_comes_in_parts() {
        let line = "x".repeat(64 * 1024);
        check(
            &[
                "--command",
                "sh",
                "-c",
                "head -c 131073 /dev/zero | tr '\\0' x; echo",
            ],
            b"",
            0,
            &format!("{line}\n{line}\nx\n"),
        );
    }

    #[test]
    fn too_many_programs_are_refused() {
        let server = Running::start("serve", &["--max-processes", "1", "--command", "cat"]);
        let mut first = support::antiphon([
            "connect",
            &server.path("ws"),
            "--wait",
            "forever",
            "-x",
            "here",
        ])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(first.stdout.as_mut().expect("stdout is piped")),
            &mut line,
        )
        .expect("an answer comes");
        let second = run(["connect", &server.path("ws"), "--wait", "forever"], b"");
        assert_eq!(second.code, Some(6), "{}", second.stderr);
        assert!(second.stderr.contains("1013"), "{}", second.stderr);
        first.kill().expect("it runs");
        first.wait().expect("it ends");
    }

    /// A program that ignores the end of its input, and a child of its own that does too.
    #[test]
    fn programs_end_with_their_connection() {
        let marker = Scratch::new("marker", b"");
        let script = format!(
            "trap '' TERM; sleep 1000 & echo $$; echo $! > {}; sleep 1000; sleep 1000",
            marker.path()
        );
        let server = Running::start(
            "serve",
            &["--grace", "50ms", "--command", "sh", "-c", &script],
        );
        let outcome = run(["connect", &server.path("ws"), "--once"], b"");
        let program: i32 = outcome.stdout.trim().parse().expect("it says its number");
        let (status, _) = server.terminate();
        assert!(status.success());
        let child: i32 = std::fs::read_to_string(&marker.0)
            .expect("the file is there")
            .trim()
            .parse()
            .expect("a number");
        for id in [program, child] {
            let pid = rustix::process::Pid::from_raw(id).expect("a number of a process");
            let alive = rustix::process::test_kill_process(pid).is_ok() && !is_zombie(id);
            assert!(!alive, "{id} is still there");
        }
    }

    /// A process that ended but whose parent has not asked how.
    fn is_zombie(id: i32) -> bool {
        std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    }
}

#[test]
fn a_file_is_shown_as_it_changes() {
    let file = Scratch::new("watched file.txt", b"one\n");
    let server = Running::start("serve", &["--watch", file.path()]);
    assert!(server.get("/", "").contains("watch.js"));
    let response = server.get("/file", "");
    assert!(
        response.contains("watched%20file.txt") && response.ends_with("one\n"),
        "{response}"
    );
    let outcome = run(["connect", &server.path("ws"), "--once"], b"");
    assert_eq!(outcome.stdout, "one\n\n");
    // A version that the client has is not sent again, the next one is.
    let known = response
        .lines()
        .find_map(|line| line.strip_prefix("last-mod: "))
        .expect("the version is named");
    let url = server.path(&format!("ws?lastMod={known}"));
    let client = std::thread::spawn(move || run(["connect", &url, "--once"], b""));
    std::fs::write(&file.0, b"two, longer\n").expect("the file can be written");
    assert_eq!(
        client.join().expect("the client ends").stdout,
        "two, longer\n\n"
    );
    std::fs::remove_file(&file.0).expect("the file can be removed");
    let url = server.path("ws");
    let gone = loop {
        let outcome = run(["connect", &url, "--once"], b"");
        if outcome.stdout.starts_with("antiphon: error: ") {
            break outcome.stdout;
        }
    };
    assert!(gone.contains("no such file"), "{gone}");
}
