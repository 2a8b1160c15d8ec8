//! `antiphon bench` as the generator: its command line for each kind of work, and what it says at the end.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

use crate::bench::figures::Sample;
use crate::bench::peers::{Origin, Peer, Server, Shop, pinned};
use crate::bench::rows::{Deflate, LIMITS, Work};
use crate::context::Context;
use crate::process;

/// The core of the generator; the server has the one before.
pub(super) const GENERATOR_CORE: &str = "1";

/// Time that connections may need beyond the measurement.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long one sample measures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// The window that counts.
    pub(super) duration: Duration,
    /// The time before it.
    pub(super) warmup: Duration,
}

/// Who is measured, at what.
pub(super) struct Subject<'a> {
    /// What has been built.
    pub(super) shop: &'a Shop,
    /// Who it is.
    pub(super) peer: &'a Peer,
    /// What it does.
    pub(super) work: Work,
    /// Where the generator runs.
    pub(super) cores: &'a str,
    /// The server.
    pub(super) server: &'a Server,
    /// For how long.
    pub(super) times: Times,
}

/// How often each system call was made, and for how many messages.
pub(super) struct Counted {
    /// The calls by name.
    pub(super) calls: Vec<(String, f64)>,
    /// The messages that came back meanwhile.
    pub(super) messages: f64,
}

/// Measures a server once.
pub(super) fn measure(context: &Context, subject: &Subject<'_>) -> Result<Sample> {
    let words = words(subject, subject.times);
    sample(
        &told(context, &mut pinned(subject.cores, &words), subject.times)?,
        subject.work,
    )
}

/// Runs the generator while `perf` counts these system calls of the server.
///
/// # Errors
///
/// `perf` cannot count them here, or the generator fails.
pub(super) fn count_calls(
    context: &Context,
    subject: &Subject<'_>,
    calls: &[&str],
) -> Result<Counted> {
    let report = context.target.join("bench/calls.csv");
    // Whatever is counted must be in the window: there is no warm-up.
    let times = Times {
        warmup: Duration::ZERO,
        ..subject.times
    };
    let mut perf: Vec<String> = ["perf", "stat", "-x", ",", "-o"]
        .map(str::to_owned)
        .to_vec();
    perf.push(report.to_string_lossy().into_owned());
    for call in calls {
        perf.extend(["-e".to_owned(), format!("syscalls:sys_enter_{call}")]);
    }
    perf.extend([
        "-p".to_owned(),
        subject.server.pid().to_string(),
        "--".to_owned(),
    ]);
    perf.extend(words(subject, times));
    let said = told(context, &mut pinned(subject.cores, &perf), times)?;
    let messages = said["messages"]
        .as_f64()
        .context("the generator counted no messages")?;
    Ok(Counted {
        calls: counts(&std::fs::read_to_string(&report)?),
        messages,
    })
}

/// The lines `COUNT,,syscalls:sys_enter_NAME,...` of perf.
fn counts(csv: &str) -> Vec<(String, f64)> {
    csv.lines()
        .filter_map(|line| {
            let mut fields = line.split(',');
            let count = fields.next()?.parse().ok()?;
            let name = fields.nth(1)?.strip_prefix("syscalls:sys_enter_")?;
            Some((name.to_owned(), count))
        })
        .collect()
}

/// What the generator says, also where it has found faults.
fn told(context: &Context, command: &mut Command, times: Times) -> Result<Value> {
    let limit = times.duration + times.warmup + PATIENCE;
    let (good, output) = process::run(context, limit, command)?;
    last_json(&output).map_err(|error| {
        match output.lines().rev().find(|line| !line.trim().is_empty()) {
            Some(line) if !good => anyhow!("{line}"),
            _ => error,
        }
    })
}

/// The command line of the generator.
fn words(subject: &Subject<'_>, times: Times) -> Vec<String> {
    let (peer, url) = (subject.peer, subject.server.url.as_str());
    let mut words = vec![
        subject.shop.antiphon.to_string_lossy().into_owned(),
        "bench".to_owned(),
    ];
    let mut add = |more: &[&str]| words.extend(more.iter().map(|&word| word.to_owned()));
    let compressed: &[&str] = &["--compression", "--compression-min-size", "0"];
    match subject.work {
        Work::Echo {
            connections,
            size,
            depth,
            deflate,
        } => {
            add(&[
                "echo",
                url,
                "--connections",
                &connections.to_string(),
                "--size",
                &size.to_string(),
            ]);
            add(&["--depth", &depth.to_string()]);
            if LIMITS.contains(&peer.name) {
                add(&["--raw"]);
            }
            if deflate != Deflate::Off {
                add(&["--payload", "json"]);
                add(compressed);
            } else if size >= 16 * 1024 {
                add(&["--payload", "random", "--binary"]);
            }
            if deflate == Deflate::Fresh {
                add(&[
                    "--server-no-context-takeover",
                    "--client-no-context-takeover",
                ]);
            }
        }
        Work::Fanout {
            subscribers,
            size,
            in_flight,
            deflate,
        } => {
            let preset = match peer.origin {
                Origin::Serve(_) => "antiphon",
                Origin::Nats => "nats",
                Origin::Centrifugo | Origin::Centrifuge => "centrifugo",
                _ => "broadcast",
            };
            add(&[
                "fanout",
                url,
                "--preset",
                preset,
                "--subscribers",
                &subscribers.to_string(),
            ]);
            add(&[
                "--size",
                &size.to_string(),
                "--in-flight",
                &in_flight.to_string(),
            ]);
            // Ten thousand subscribers take their time to join.
            add(&["--timeout", "30s"]);
            if deflate != Deflate::Off {
                add(compressed);
            }
        }
        Work::Handshake { tls } => {
            add(&["churn", url]);
            if tls {
                add(&["--insecure"]);
            }
        }
        Work::Idle {
            connections,
            deflate,
        } => {
            add(&["idle", url, "--connections", &connections.to_string()]);
            if deflate != Deflate::Off {
                add(&["--messages", "1", "--size", "1024", "--payload", "json"]);
                add(compressed);
            }
        }
    }
    if !matches!(subject.work, Work::Idle { .. }) {
        let millis = |time: Duration| format!("{}ms", time.as_millis());
        add(&[
            "--duration",
            &millis(times.duration),
            "--warmup",
            &millis(times.warmup),
        ]);
        // Only on a core of its own: elsewhere it would take the time from the server.
        if subject.cores == GENERATOR_CORE {
            add(&["--busy-poll"]);
        }
    }
    add(&["--server-pid", &subject.server.pid().to_string(), "--json"]);
    words
}

/// The line with the object; what else is said goes to the same log.
fn last_json(output: &str) -> Result<Value> {
    let line = output.lines().rev().find(|line| line.starts_with('{'));
    let line = line.context("the generator said nothing")?;
    serde_json::from_str(line).context("the generator's answer is no JSON")
}

/// What an answer means for a row.
fn sample(said: &Value, work: Work) -> Result<Sample> {
    let faults: f64 = said["errors"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, count)| count.as_f64())
        .sum();
    if faults > 0.0 {
        bail!(
            "{faults} faults: {}",
            said["faults"][0].as_str().unwrap_or("unknown")
        );
    }
    let at = |pointer: &str| said.pointer(pointer).and_then(Value::as_f64);
    let value = match work {
        Work::Idle { .. } => at("/memory_bytes/rss_each"),
        _ => at("/server/messages_per_cpu_second"),
    };
    let value = value.context("the generator did not see the server's process")?;
    if value <= 0.0 && !matches!(work, Work::Idle { .. }) {
        bail!("the server used no processor time that could be measured: make the samples longer");
    }
    Ok(Sample {
        value,
        rate: at("/messages_per_second").unwrap_or(0.0),
        p50: at("/latency_us/p50").unwrap_or(0.0),
        p99: at("/latency_us/p99").unwrap_or(0.0),
        server: at("/server/cpu_share").unwrap_or(0.0),
        generator: at("/generator/cpu_share").unwrap_or(0.0),
        ratio: match work {
            Work::Echo {
                deflate: Deflate::Off,
                ..
            } => 0.0,
            Work::Echo { size, .. } => at("/bytes_received_each").unwrap_or(0.0) / f64::from(size),
            _ => 0.0,
        },
        disturbed: false,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ECHO: Work = Work::Echo {
        connections: 1,
        size: 100,
        depth: 1,
        deflate: Deflate::Fresh,
    };

    #[test]
    fn the_generator_is_understood() {
        let said = json!({
            "kind": "echo", "seconds": 3.0, "messages": 600, "messages_per_second": 200.0, "errors": {}, "faults": [],
            "latency_us": {"p50": 40.5, "p99": 90.0},
            "server": {"cpu_seconds": 1.5, "cpu_share": 0.5, "messages_per_cpu_second": 400.0},
            "generator": {"cpu_share": 0.9, "limited": true}, "bytes_received_each": 50.0,
        });
        let sample = sample(&last_json(&format!("a warning\n{said}\n")).unwrap(), ECHO).unwrap();
        assert_eq!(
            (sample.value, sample.rate, sample.p50, sample.p99),
            (400.0, 200.0, 40.5, 90.0)
        );
        assert_eq!(
            (sample.server, sample.generator, sample.ratio),
            (0.5, 0.9, 0.5)
        );
        let said = json!({"errors": {}, "memory_bytes": {"rss_each": 1234.5}, "server": null});
        let idle = Work::Idle {
            connections: 10,
            deflate: Deflate::Off,
        };
        assert_eq!(super::sample(&said, idle).unwrap().value, 1234.5);
    }

    #[test]
    fn faults_and_silence_are_errors() {
        let faulty = json!({"errors": {"order": 2}, "faults": ["connection 3: out of order"]});
        let error = sample(&faulty, ECHO).unwrap_err().to_string();
        assert_eq!(error, "2 faults: connection 3: out of order");
        assert!(sample(&json!({"errors": {}, "server": null}), ECHO).is_err());
        assert!(last_json("error: nothing answers").is_err());
    }

    #[test]
    fn perf_tells_a_count_and_a_name_on_each_line() {
        let csv = "# started\n\n1200,,syscalls:sys_enter_recvfrom,100,100.00,,\n<not counted>,,syscalls:sys_enter_readv,0,0,,\n";
        assert_eq!(counts(csv), [("recvfrom".to_owned(), 1200.0)]);
    }
}
