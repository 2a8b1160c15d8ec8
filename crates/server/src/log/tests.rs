//! Lines as they are written, of events as peers would like to make them.

use std::{
    cell::Cell,
    io,
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::*;

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut paper = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        paper.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

thread_local! {
    /// The time of the log.
    static SECOND: Cell<u64> = const { Cell::new(0) };
}

/// What is logged meanwhile, without the time in front.
fn logged(json: bool, rate: u32, run: impl FnOnce()) -> String {
    let paper = Paper::default();
    let manner = Arc::new(Manner {
        clock: || *START + Duration::from_secs(SECOND.get()),
        ..Manner::default()
    });
    manner.json.store(json, Ordering::Relaxed);
    manner.limiter.set_rate(rate);
    let writer = paper.clone();
    let lines = layer(manner, move || writer.clone(), false, false);
    let subscriber = Registry::default().with(EnvFilter::new("trace").and_then(lines));
    tracing::subscriber::with_default(subscriber, run);
    let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    if json {
        return text;
    }
    text.lines()
        .map(|line| line.split_once(' ').unwrap().1.trim_start().to_owned() + "\n")
        .collect()
}

/// What peers send to whoever reads the log.
const NASTY: &str = "a\u{1b}[31mb\r\nc\u{202e}d\u{9b}2Je\u{2028}f\u{7}g\th";

#[test]
fn nothing_that_a_peer_sends_leaves_its_place() {
    let text = logged(false, 0, || {
        tracing::warn!(debug = ?NASTY, display = %NASTY, text = NASTY, "message {NASTY}");
        let error = io::Error::other(NASTY);
        tracing::warn!(error = &error as &dyn std::error::Error, "error");
        let span = tracing::info_span!("span", user = NASTY);
        let _inside = span.enter();
        tracing::info!("inside");
    });
    let safe = "a\\u{1b}[31mb\\r\\nc\\u{202e}d\\u{9b}2Je\\u{2028}f\\u{7}g\\th";
    assert_eq!(text.lines().count(), 3, "{text}");
    assert_eq!(text.matches(safe).count(), 6, "{text}");
    assert!(
        text.starts_with(&format!("WARN message {safe} debug=\"a")),
        "{text}"
    );
    let others = text.chars().filter(|c| *c != '\n');
    assert!(others.clone().all(|c| (' '..='~').contains(&c)), "{text:?}");
}

#[test]
fn an_object_is_on_one_line_and_says_what_was_said() {
    let text = logged(true, 0, || {
        let span = tracing::info_span!("span", user = "u");
        let _inside = span.enter();
        tracing::warn!(number = 7, flag = true, text = NASTY, "message {NASTY}");
    });
    assert_eq!(text.lines().count(), 1);
    assert!(
        text.trim_end().chars().all(|c| (' '..='~').contains(&c)),
        "{text:?}"
    );
    let object: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(object["message"], format!("message {NASTY}"));
    assert_eq!(object["fields"]["text"], NASTY);
    assert_eq!(object["fields"]["number"], 7);
    assert_eq!(object["fields"]["flag"], true);
    assert_eq!(object["level"], "WARN");
    assert_eq!(object["spans"][0], "span{user=\"u\"}");
    assert!(object["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn warnings_and_reasons_are_few_and_the_rest_is_not_limited() {
    let text = logged(false, 1, || {
        for _ in 0..5 {
            tracing::warn!("warned");
            tracing::info!("told");
        }
        for reason in ["old", "bad", "old"] {
            tracing::info!(reason, "refused");
        }
    });
    for (line, count) in [("WARN warned", 1), ("INFO told", 5), ("INFO refused", 2)] {
        assert_eq!(text.matches(line).count(), count, "{line}: {text}");
    }
}

#[test]
fn what_was_left_out_is_told_with_the_next_line() {
    for (json, expected) in [
        (false, "WARN warned (4 more were left out)\n"),
        (true, "\"leftOut\":4}\n"),
    ] {
        let text = logged(json, 1, || {
            for second in [0, 0, 0, 0, 0, 1] {
                SECOND.set(second);
                tracing::warn!("warned");
            }
        });
        assert!(text.ends_with(expected), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }
}
