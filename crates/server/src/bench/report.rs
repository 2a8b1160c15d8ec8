//! What a run says at its end: one JSON object, or a table for people.

use std::{collections::BTreeMap, fmt::Write as _};

use antiphon_proto::config::DeflateParams;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::bench::{
    fault::Faults,
    latency::{Latencies, Percentiles, grouped},
    meter::Usage,
};

/// How late messages may leave, for the part of them that [`LAG_PART`] names, before that is said.
const LAG: u64 = 1_000_000;
/// The part of messages whose lateness counts.
const LAG_PART: f64 = 0.99;

/// The object.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// What was measured: `echo`, `fanout`, `churn`, `idle`, `ramp`.
    pub(crate) kind: &'static str,
    version: &'static str,
    url: String,
    /// What was asked for.
    #[serde(flatten)]
    pub(crate) settings: Map<String, Value>,
    seconds: f64,
    messages: u64,
    messages_per_second: f64,
    bytes: u64,
    /// What only this kind has.
    #[serde(flatten)]
    pub(crate) results: Map<String, Value>,
    errors: BTreeMap<&'static str, u64>,
    faults: Vec<String>,
    latency_us: Percentiles,
    server: Option<Server>,
    generator: Generator,
    #[serde(skip)]
    latencies: Latencies,
    /// What a message is called.
    #[serde(skip)]
    pub(crate) unit: &'static str,
    /// Text above the table.
    #[serde(skip)]
    pub(crate) above: String,
}

#[derive(Clone, Debug, Serialize)]
struct Server {
    cpu_seconds: f64,
    cpu_share: f64,
    messages_per_cpu_second: f64,
    rss_bytes: Option<u64>,
    pss_bytes: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
struct Generator {
    cpu_seconds: Option<f64>,
    cpu_share: Option<f64>,
    limited: bool,
    /// With a fixed rate: how late messages left, 99th percentile.
    lag_p99_us: Option<f64>,
}

impl Report {
    /// The report of a run.
    pub(crate) fn new(
        kind: &'static str,
        url: String,
        (messages, bytes): (u64, u64),
        latencies: &Latencies,
        faults: &Faults,
        usage: Usage,
    ) -> Self {
        let seconds = usage.seconds;
        let a_second = |number: f64| number / seconds.max(1e-9);
        let server = usage.server.map(|cpu| Server {
            cpu_seconds: round(cpu, 3),
            cpu_share: round(a_second(cpu), 4),
            messages_per_cpu_second: if cpu > 0.0 {
                round(messages as f64 / cpu, 1)
            } else {
                0.0
            },
            rss_bytes: usage.memory.map(|memory| memory.rss),
            pss_bytes: usage.memory.map(|memory| memory.pss),
        });
        Self {
            kind,
            version: env!("CARGO_PKG_VERSION"),
            url,
            settings: Map::new(),
            seconds: round(seconds, 3),
            messages,
            messages_per_second: round(a_second(messages as f64), 1),
            bytes,
            results: Map::new(),
            errors: faults.counts().collect(),
            faults: faults.first().to_vec(),
            latency_us: latencies.percentiles(),
            server,
            generator: Generator {
                cpu_seconds: usage.own.map(|cpu| round(cpu, 3)),
                cpu_share: usage.own.map(|cpu| round(a_second(cpu), 4)),
                limited: usage.is_limited(),
                lag_p99_us: None,
            },
            latencies: latencies.clone(),
            unit: "messages",
            above: String::new(),
        }
    }

    /// With a fixed rate the generator spins, so that its CPU says nothing: it is the limit where it sends late.
    pub(crate) fn with_lag(mut self, lag: &Latencies) -> Self {
        let late = lag.quantile(LAG_PART);
        self.generator.lag_p99_us = Some(round(late as f64 / 1e3, 1));
        self.generator.limited = late > LAG;
        self
    }

    /// Notes what was asked for.
    pub(crate) fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.settings.insert(name.to_owned(), value.into());
        self
    }

    /// Notes a result that only this kind has.
    pub(crate) fn result(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.results.insert(name.to_owned(), value.into());
        self
    }

    /// Whether nothing has been measured.
    pub(crate) fn is_empty(&self) -> bool {
        self.seconds == 0.0 && !self.results.contains_key("memory_bytes")
    }

    /// How many faults there were.
    pub(crate) fn errors(&self) -> u64 {
        self.errors.values().sum()
    }

    /// The latencies.
    pub(crate) const fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// The title of a picture.
    pub(crate) fn title(&self) -> String {
        format!(
            "{} {}: {} {}/s",
            self.kind,
            self.url,
            grouped(self.messages_per_second as u64),
            self.unit
        )
    }

    /// One line of JSON.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// A table, the latencies, and what is to be known of them.
    pub(crate) fn text(&self) -> String {
        let mut rows = vec![(self.kind.to_owned(), self.url.clone())];
        rows.extend(rows_of(&self.settings));
        if self.seconds > 0.0 {
            rows.push((
                self.unit.to_owned(),
                format!(
                    "{} in {:.1} s: {} a second",
                    grouped(self.messages),
                    self.seconds,
                    grouped(self.messages_per_second.round() as u64)
                ),
            ));
        }
        if self.bytes > 0 {
            let rate = self.bytes as f64 / self.seconds.max(1e-9);
            rows.push(("payload".to_owned(), format!("{:.1} MB/s", rate / 1e6)));
        }
        rows.extend(rows_of(&self.results));
        if self.latencies.count() > 0 {
            let told = &self.latency_us;
            rows.push((
                "latency".to_owned(),
                format!(
                    "p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
                    micros(told.p50),
                    micros(told.p90),
                    micros(told.p99),
                    micros(told.p999),
                    micros(told.max)
                ),
            ));
        }
        if let Some(server) = &self.server {
            let mut text = format!("{:.0} % of a core", server.cpu_share * 100.0);
            if self.messages > 0 {
                let _ = write!(
                    text,
                    ", {} {} a CPU second",
                    grouped(server.messages_per_cpu_second.round() as u64),
                    self.unit
                );
            }
            if let Some(rss) = server.rss_bytes {
                let _ = write!(text, ", {:.1} MiB", rss as f64 / 1_048_576.0);
            }
            rows.push(("server".to_owned(), text));
        }
        if let Some(share) = self.generator.cpu_share {
            let percent = share * 100.0;
            let text = match (self.generator.limited, self.generator.lag_p99_us) {
                (true, Some(lag)) => {
                    format!("the limit: it sent {} late (p99)", micros(lag))
                }
                (true, None) => format!(
                    "the limit: {percent:.0} % of its core; compare servers by their CPU seconds"
                ),
                (false, _) => format!("{percent:.0} % of its core"),
            };
            rows.push(("generator".to_owned(), text));
        }
        let errors = self
            .errors
            .iter()
            .map(|(kind, count)| format!("{kind} {}", grouped(*count)))
            .collect::<Vec<_>>()
            .join(", ");
        rows.push((
            "faults".to_owned(),
            if errors.is_empty() {
                "none".to_owned()
            } else {
                errors
            },
        ));
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = self.above.clone();
        for (name, value) in rows {
            let _ = writeln!(text, "{name:<width$}  {value}");
        }
        if self.latencies.count() > 0 {
            text.push('\n');
            text.push_str(&self.latencies.text());
        }
        text
    }

    /// What went wrong, for stderr.
    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }
}

/// The names and values of an object as rows.
fn rows_of(values: &Map<String, Value>) -> impl Iterator<Item = (String, String)> {
    values.iter().filter_map(|(name, value)| {
        let text = match value {
            Value::Null | Value::Array(_) => return None,
            Value::String(text) => text.clone(),
            Value::Number(number) => match number.as_u64() {
                Some(number) => grouped(number),
                None => number.to_string(),
            },
            Value::Bool(flag) => if *flag { "yes" } else { "no" }.to_owned(),
            Value::Object(values) => rows_of(values)
                .map(|(name, value)| format!("{name} {value}"))
                .collect::<Vec<_>>()
                .join(", "),
        };
        Some((name.replace('_', " "), text))
    })
}

/// What was agreed on, as the handshake would say it.
pub(crate) fn compression(deflate: Option<DeflateParams>) -> Value {
    let Some(params) = deflate else {
        return Value::Null;
    };
    json!({
        "server_no_context_takeover": params.server_no_context_takeover,
        "client_no_context_takeover": params.client_no_context_takeover,
        "server_max_window_bits": params.server_max_window_bits,
        "client_max_window_bits": params.client_max_window_bits,
    })
}

fn micros(micros: f64) -> String {
    crate::bench::latency::time(micros * 1e3)
}

/// So many digits behind the point.
pub(crate) fn round(number: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (number * factor).round() / factor
}
