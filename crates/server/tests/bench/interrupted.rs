//! Ctrl-C in the middle: what has been measured is told, and the exit code says that it is not all.
#![cfg(unix)]

use std::{
    io::{Read as _, Write as _},
    process::Stdio,
    sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
};

use rustix::process::Signal;
use serde_json::Value;

use super::liar::{answers, listen, request, talk};
use crate::support::{Outcome, antiphon, signal};

/// When the signal is sent.
#[derive(Clone, Copy, Debug)]
enum When {
    /// A connection has been accepted and gets no answer.
    Opening,
    /// So many connections have come.
    Connections(usize),
    /// So many messages have been answered on a connection.
    Messages(usize),
}

/// Runs `antiphon bench ARGS` with `URL` replaced, and interrupts it.
fn interrupted(args: &[&str], when: When) -> Outcome {
    let (reached, is_reached) = mpsc::channel();
    let connections = AtomicUsize::new(0);
    let url = listen(move |mut stream| {
        let Some(key) = request(&mut stream) else {
            return;
        };
        let connections = connections.fetch_add(1, Relaxed) + 1;
        match when {
            When::Opening => {
                let _ = reached.send(());
                let _ = stream.read(&mut [0]);
                return;
            }
            When::Connections(wanted) if connections >= wanted => {
                let _ = reached.send(());
            }
            _ => {}
        }
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {key}\r\n\r\n"
        );
        if stream.write_all(response.as_bytes()).is_err() {
            return;
        }
        talk(stream, 1, |turn, messages| {
            if matches!(when, When::Messages(wanted) if turn >= wanted) {
                let _ = reached.send(());
            }
            Some(answers(messages))
        });
    });
    let line = args
        .iter()
        .map(|word| if *word == "URL" { &url } else { *word });
    let child = antiphon(["bench"].into_iter().chain(line))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    is_reached.recv().expect("it gets so far");
    signal(&child, Signal::INT);
    let output = child.wait_with_output().expect("it ends");
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn what_was_measured_until_ctrl_c_is_told() {
    let long = ["--duration", "300s", "--warmup", "0", "--json"];
    for (args, when) in [
        (&["echo", "URL", "-c", "1"][..], When::Messages(100)),
        (&["ramp", "URL", "--to", "1"], When::Messages(100)),
        (
            &["churn", "URL", "-c", "1", "--no-close-handshake"],
            When::Connections(20),
        ),
    ] {
        let outcome = interrupted(&[args, &long].concat(), when);
        let said: Value = serde_json::from_str(&outcome.stdout).unwrap_or_default();
        assert_eq!(outcome.code, Some(130), "{args:?}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains("interrupted"),
            "{args:?}: {}",
            outcome.stderr
        );
        assert_eq!(said["interrupted"], true, "{args:?}: {}", outcome.stdout);
        assert!(said["messages"].as_u64() > Some(0), "{args:?}: {said}");
        assert!(said["seconds"].as_f64() < Some(300.0), "{args:?}: {said}");
    }
}

#[test]
fn ctrl_c_before_anything_was_measured_is_told_in_one_line() {
    for (args, when) in [
        (
            &["echo", "URL", "-c", "1", "--warmup", "300s"][..],
            When::Messages(3),
        ),
        (&["echo", "URL", "-c", "1"], When::Opening),
        (
            &["fanout", "URL", "--subscribers", "1", "--timeout", "300s"],
            When::Opening,
        ),
    ] {
        let outcome = interrupted(args, when);
        assert_eq!(outcome.code, Some(130), "{args:?}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "", "{args:?}");
        assert_eq!(
            outcome.stderr.lines().count(),
            1,
            "{args:?}: {}",
            outcome.stderr
        );
        assert!(
            outcome.stderr.contains("interrupted before"),
            "{args:?}: {}",
            outcome.stderr
        );
    }
}
