//! Whatever is wrong with the command line or the world: one clear line, what to do, the right exit code.

mod support;

use std::net::TcpListener;

use support::{Scratch, run};

/// Runs a command that must fail, and checks the form of what it says.
fn check(args: &[&str], code: i32, words: &str) {
    let outcome = run(args, b"");
    assert_eq!(outcome.code, Some(code), "{args:?}: {}", outcome.stderr);
    let lines: Vec<&str> = outcome
        .stderr
        .lines()
        .filter(|line| line.starts_with("antiphon: error: "))
        .collect();
    assert_eq!(
        lines.len(),
        1,
        "{args:?}: one line, not: {}",
        outcome.stderr
    );
    assert!(
        lines[0].contains(words),
        "{args:?}: no '{words}' in: {}",
        lines[0]
    );
    assert!(
        lines[0].contains("; "),
        "{args:?}: no advice in: {}",
        lines[0]
    );
    assert!(
        outcome.stdout.is_empty(),
        "{args:?}: stdout is for data: {}",
        outcome.stdout
    );
    for leak in ["panicked", "stack backtrace", "Error {", "os error"] {
        assert!(
            !outcome.stderr.contains(leak),
            "{args:?}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn usage() {
    for (args, words) in [
        (&["frobnicate"][..], "unrecognized subcommand 'frobnicate'"),
        (&["serv"], "did you mean 'serve'"),
        (&["echo", "--bogus"], "unexpected argument '--bogus'"),
        (&["echo", "--listne", "1"], "did you mean '--listen'"),
        (&["echo", "extra"], "unexpected argument 'extra'"),
        (&["connect"], "<URL>"),
        (&["serve"], "antiphon serve --dev"),
        (&["serve", "--dev", "--watch", "x"], "cannot be used with"),
        (&["serve", "--command"], "--command"),
        (&["echo", "--listen", ":80"], "the host is missing"),
        (&["echo", "--listen", "localhost"], "HOST:PORT"),
        (&["echo", "--listen", "127.0.0.1:99999"], "HOST:PORT"),
        (&["echo", "--max-message-size", "3XB"], "unknown unit"),
        (&["echo", "--max-message-size", "0"], "more than 0"),
        (&["echo", "--max-connections", "0"], "from 1"),
        (&["echo", "--compression-level", "3"], "--compression"),
        (
            &["echo", "--compression", "--compression-level", "0"],
            "1..=9",
        ),
        (
            &["echo", "--compression", "--server-max-window-bits", "7"],
            "8..=15",
        ),
        (
            &["echo", "--compression", "--compression-window", "1MiB"],
            "more than 32KiB",
        ),
        (&["echo", "--tls-cert", "x"], "--tls-key"),
        (
            &[
                "echo",
                "--tls-self-signed",
                "--tls-cert",
                "x",
                "--tls-key",
                "y",
            ],
            "cannot be used with",
        ),
        (
            &["echo", "--any-origin", "--origin", "https://a.example"],
            "cannot be used with",
        ),
        (&["echo", "--origin", "a.example/path"], "https://HOST"),
        (&["echo", "-q", "-v"], "cannot be used with"),
        (&["echo", "--log", "a=b=c"], "log filter"),
        (
            &["connect", "ws://127.0.0.1:1/", "--header", "nonsense"],
            "Name: value",
        ),
        (
            &["connect", "ws://127.0.0.1:1/", "--timeout", "soon"],
            "not a time",
        ),
        (
            &["connect", "ws://127.0.0.1:1/", "--wait", "soon"],
            "not a time",
        ),
        (
            &[
                "connect",
                "ws://127.0.0.1:1/",
                "--proxy",
                "http://x",
                "--no-proxy",
            ],
            "cannot be used with",
        ),
        (
            &["connect", "ws://127.0.0.1:1/", "--insecure", "--ca", "x"],
            "cannot be used with",
        ),
        (&["connect", "ws://127.0.0.1:1/", "--cert", "x"], "--key"),
        (
            &["connect", "ws://127.0.0.1:1/", "--raw", "--json"],
            "cannot be used with",
        ),
        (
            &["connect", "127.0.0.1:8199/ws"],
            "write it as ws://127.0.0.1:8199/ws",
        ),
        (&["connect", "ftp://127.0.0.1/"], "ftp://127.0.0.1/"),
        (&["connect", "ws://127.0.0.1:99999/"], "port"),
        (&["connect", "ws://"], "ws://"),
        (&["completions", "dos"], "dos"),
    ] {
        check(args, 2, words);
    }
}

#[test]
fn servers() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = taken.local_addr().expect("it has an address").to_string();
    let garbage = Scratch::new("garbage.pem", b"no certificate");
    for (args, words) in [
        (&["echo", "--listen", &taken][..], &taken[..]),
        (&["serve", "--dev", "--listen", &taken], &taken),
        (
            &["echo", "--listen", "no-such-host.invalid:1"],
            "no-such-host.invalid",
        ),
        (&["echo", "--listen", "192.0.2.1:1"], "192.0.2.1"),
        (
            &[
                "echo",
                "--tls-cert",
                "/no/such.crt",
                "--tls-key",
                "/no/such.key",
            ],
            "/no/such",
        ),
        (
            &[
                "echo",
                "--tls-cert",
                garbage.path(),
                "--tls-key",
                garbage.path(),
            ],
            "garbage.pem",
        ),
        (&["serve", "--watch", "/no/such/file"], "/no/such/file"),
        (&["serve", "--watch", "/"], "not a file"),
        (
            &["serve", "--command", "no-such-program-here"],
            "no-such-program-here",
        ),
        (&["serve", "--command", garbage.path()], "not an executable"),
        (&["man", "/no/such/directory"], "/no/such/directory"),
    ] {
        check(args, 1, words);
    }
}

#[test]
fn clients() {
    let garbage = Scratch::new("garbage.pem", b"no certificate");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let silent = format!("ws://{}/", silent.local_addr().expect("it has an address"));
    for (args, code, words) in [
        (&["ws://127.0.0.1:1/"][..], 3, "127.0.0.1:1"),
        (&["wss://127.0.0.1:1/"], 3, "127.0.0.1:1"),
        (&["ws://no-such-host.invalid/"], 3, "no-such-host.invalid"),
        (
            &["ws://127.0.0.1:1/", "--proxy", "http://127.0.0.1:2"],
            3,
            "proxy",
        ),
        (
            &["ws://127.0.0.1:1/", "--proxy", "gopher://127.0.0.1:2"],
            1,
            "proxy",
        ),
        (
            &["ws://127.0.0.1:1/", "--ca", "/no/such.pem"],
            1,
            "/no/such.pem",
        ),
        (
            &[
                "ws://127.0.0.1:1/",
                "--cert",
                garbage.path(),
                "--key",
                "/no/such.pem",
            ],
            1,
            "/no/such.pem",
        ),
        (&[&silent, "--timeout", "50ms"], 4, "50ms"),
    ] {
        let mut line = vec!["connect"];
        line.extend(args);
        check(&line, code, words);
    }
}

#[test]
fn help_version_completions_and_manuals_go_to_stdout() {
    for (args, words) in [
        (
            &["--version"][..],
            concat!("antiphon ", env!("CARGO_PKG_VERSION")),
        ),
        (&["--help"], "antiphon serve --dev"),
        (&["help", "serve"], "--max-processes"),
        (&["serve", "--help"], "Examples:"),
        (&["echo", "-h"], "Examples:"),
        (&["connect", "--help"], "Exit codes:"),
        (&["completions", "bash"], "_antiphon"),
        (&["completions", "zsh"], "#compdef antiphon"),
        (&["man"], ".TH antiphon 1"),
    ] {
        let outcome = run(args, b"");
        assert_eq!(outcome.code, Some(0), "{args:?}: {}", outcome.stderr);
        assert!(
            outcome.stdout.contains(words),
            "{args:?}: {}",
            outcome.stdout
        );
        assert!(
            !outcome.stdout.contains('\x1b'),
            "{args:?}: colours in a pipe"
        );
        assert!(outcome.stderr.is_empty(), "{args:?}: {}", outcome.stderr);
    }
}

#[test]
fn every_manual_page_is_written() {
    let scratch = Scratch::new("man", b"");
    std::fs::remove_file(&scratch.0).expect("it was made just now");
    std::fs::create_dir(&scratch.0).expect("it is free now");
    let outcome = run(["man", scratch.path()], b"");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    for page in [
        "antiphon.1",
        "antiphon-serve.1",
        "antiphon-echo.1",
        "antiphon-connect.1",
    ] {
        assert!(scratch.0.join(page).is_file(), "{page}");
    }
    std::fs::remove_dir_all(&scratch.0).expect("it can be removed");
}
