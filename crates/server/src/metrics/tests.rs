//! The text as a reader takes it, who may read it, and what is not in it.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_hub::{config::HubConfig, identity::Identity, session::Hello, wire::Wire};
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use tower_service::Service as _;

use super::{
    table::{Kind, LIMITS, METRICS},
    *,
};

/// A sample: its name with the labels in order, and its value.
type Samples = BTreeMap<String, f64>;

/// Reads the text as strictly as `promtool check metrics` and the parser of OpenMetrics do.
fn parse(text: &str) -> Samples {
    let mut samples = Samples::new();
    let mut families: BTreeMap<String, String> = BTreeMap::new();
    let mut family = (String::new(), String::new());
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let body = text.strip_suffix("# EOF\n").expect("the end of the text");
    for line in body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect("a help");
            assert!(
                is_name(name) && words.ends_with('.') && !words.contains('\\'),
                "{line}"
            );
            family = (name.to_owned(), String::new());
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert_eq!(name, family.0, "the type follows the help");
            assert!(["counter", "gauge", "info"].contains(&kind), "{line}");
            let before = families.insert(name.to_owned(), kind.to_owned());
            assert_eq!(before, None, "{name} stands there once");
            family.1 = kind.to_owned();
            continue;
        }
        assert!(!line.starts_with('#') && !line.is_empty(), "{line:?}");
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect("a bracket")),
            None => (series, ""),
        };
        let suffix = match family.1.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        assert_eq!(name, format!("{}{suffix}", family.0), "{line}");
        let mut names = BTreeSet::new();
        for label in labels.split("\",").filter(|label| !label.is_empty()) {
            let (name, text) = label.split_once("=\"").expect("a label");
            let text = text.strip_suffix('"').unwrap_or(text);
            assert!(is_name(name) && names.insert(name), "{line}");
            assert!(!text.contains(['"', '\\', '\n']), "{line}");
        }
        let value: f64 = value.parse().expect("a number");
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert_eq!(samples.insert(series.to_owned(), value), None, "{line}");
    }
    samples
}

/// Metrics with everything turned on.
fn all(hub: &Hub) -> Metrics {
    let metrics = Metrics::new(hub);
    metrics.accepting(antiphon::Stats::default);
    metrics.readiness(|| true);
    metrics.hooks(|| vec![("connect", HookStats::default())]);
    metrics.webhooks(Webhooks::default);
    metrics.outgoing(Outgoing::default);
    metrics.auth(AuthStats::default);
    metrics.api(crate::api::state::ApiStats::default);
    metrics.traces(Traces::default);
    metrics.admin(super::snapshot::AdminStats::default);
    metrics
}

async fn ask(metrics: &Metrics, settings: &Settings, authorization: &[&str]) -> (u16, String) {
    let mut request = Request::get(&settings.path);
    for value in authorization {
        request = request.header("authorization", *value);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = routes(metrics.clone(), settings)
        .call(request)
        .await
        .unwrap();
    let status = response.status().as_u16();
    if status == 200 {
        let kind = response.headers()["content-type"].to_str().unwrap();
        assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    }
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn every_metric_and_every_limit_is_in_the_text() {
    let hub = Hub::new(HubConfig::default());
    let (status, text) = ask(&all(&hub), &Settings::default(), &[]).await;
    assert_eq!(status, 200);
    let samples = parse(&text);
    // Rows of these come with the first of their kind.
    let rare = ["antiphon_closes", "antiphon_violations"];
    for metric in METRICS.iter().filter(|metric| !rare.contains(&metric.name)) {
        let name = metric.sample();
        let found = samples.keys().any(|series| {
            series.split('{').next() == Some(&name)
                && metric
                    .labels
                    .iter()
                    .all(|label| series.contains(&format!("{label}=\"")))
        });
        assert!(
            found || cfg!(not(target_os = "linux")),
            "{name} is not there:\n{text}"
        );
    }
    for limit in LIMITS {
        let series = format!("antiphon_limit_tripped_total{{limit=\"{}\"}}", limit.name);
        assert_eq!(samples.get(&series), Some(&0.0), "{series}");
    }
    assert_eq!(samples["antiphon_ready"], 1.0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        samples[&format!("antiphon_build_info{{version=\"{version}\"}}")],
        1.0
    );
}

#[tokio::test]
async fn what_is_not_there_has_no_numbers() {
    let hub = Hub::new(HubConfig::default());
    let samples = parse(&Metrics::new(&hub).text());
    assert_eq!(samples["antiphon_connections"], 0.0);
    assert_eq!(samples["antiphon_ready"], 0.0);
    for missing in [
        "antiphon_tcp_",
        "antiphon_hook",
        "antiphon_webhook",
        "antiphon_outgoing",
        "antiphon_trace",
    ] {
        assert!(
            !samples.keys().any(|series| series.starts_with(missing)),
            "{missing}"
        );
    }
}

#[test]
fn names_are_those_that_are_expected_of_them() {
    let mut names = BTreeSet::new();
    for metric in METRICS {
        assert!(
            names.insert(metric.name),
            "{} stands there once",
            metric.name
        );
        assert!(!metric.name.ends_with("_total") && !metric.name.ends_with("_info"));
        assert!(!metric.help.ends_with('.'), "{}", metric.help);
        assert!(matches!(metric.kind, Kind::Counter | Kind::Gauge));
    }
    let mut names = BTreeSet::new();
    for limit in LIMITS {
        assert!(names.insert(limit.name), "{} stands there once", limit.name);
    }
}

#[tokio::test]
async fn readers_need_the_token_where_there_is_one() {
    let hub = Hub::new(HubConfig::default());
    let settings = Settings {
        token: Some(Secret::new("correct horse battery")),
        ..Settings::default()
    };
    let metrics = all(&hub);
    for (sent, status) in [
        (&[][..], 401),
        (&["Bearer correct horse battery"], 200),
        (&["bearer correct horse battery"], 200),
        (&["Bearer correct horse batter"], 401),
        (&["Bearer correct horse battery!"], 401),
        (&["Bearer "], 401),
        (&["Bearer"], 401),
        (&["correct horse battery"], 401),
        (&["Basic correct horse battery"], 401),
        (&["Bearer wrong", "Bearer correct horse battery"], 401),
    ] {
        let (answered, text) = ask(&metrics, &settings, sent).await;
        assert_eq!(answered, status, "{sent:?}");
        assert!(!text.contains("horse"));
    }
    metrics.set_token(Some(&Secret::new("another one of them")));
    assert!(!metrics.is_open_to(&HeaderMap::new()));
    metrics.set_token(None);
    assert!(metrics.is_open_to(&HeaderMap::new()));
    metrics.publish();
    assert!(!metrics.is_open_to(&HeaderMap::new()));
    assert!(!format!("{metrics:?}").contains("horse"));
}

#[tokio::test(start_paused = true)]
async fn numbers_are_found_anew_once_a_second() {
    let hub = Hub::new(HubConfig::default());
    let metrics = Metrics::new(&hub);
    let sends = |metrics: &Metrics| parse(&metrics.text())["antiphon_publishes_total"];
    assert_eq!(sends(&metrics), 0.0);
    hub.all().send("news", 1).await.unwrap();
    assert_eq!(sends(&metrics), 0.0);
    tokio::time::advance(FRESH).await;
    assert_eq!(sends(&metrics), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_counted_by_its_end_and_nothing_of_it_is_shown() {
    let hub = Hub::new(HubConfig::default());
    let metrics = all(&hub);
    let canary = "canary-5f2b";
    for (code, labels) in [
        (4321, r#"by="client",code="4xxx",reason="application""#),
        (3456, r#"by="client",code="other",reason="other""#),
        (1000, r#"by="client",code="1000",reason="normal""#),
    ] {
        let (near, far) = tokio::io::duplex(4096);
        let server =
            antiphon::WebSocket::from_io(far, antiphon::Role::Server, antiphon::Config::default());
        let client =
            antiphon::WebSocket::from_io(near, antiphon::Role::Client, antiphon::Config::default());
        let permissions = antiphon_hub::permission::Permissions::all();
        let mut identity = Identity::user(canary, permissions.into());
        identity.tags = vec![canary.into()];
        let hello = Hello::from_identity(identity);
        let served = hub.serve_as(server, Wire::V1, hello);
        let talk = async {
            client
                .send(format!(r#"{{"event":"{canary}"}}"#))
                .await
                .unwrap();
            client.close(code, canary).await.unwrap();
        };
        tokio::join!(served, talk);
        tokio::time::advance(FRESH).await;
        let text = metrics.text();
        assert!(!text.contains(canary), "{text}");
        let series = format!("antiphon_closes_total{{{labels}}}");
        assert_eq!(parse(&text).get(&series), Some(&1.0), "{text}");
    }
    let samples = parse(&metrics.text());
    assert_eq!(samples["antiphon_connections_accepted_total"], 3.0);
    assert_eq!(samples["antiphon_messages_received_total"], 3.0);
}

#[test]
fn every_limit_names_keys_that_there_are() {
    for limit in LIMITS {
        for key in limit.keys {
            let known = crate::config::table::key(key);
            assert!(known.is_some(), "{}: {key} is no key", limit.name);
        }
    }
}

#[test]
fn a_bound_of_the_library_is_counted_under_its_name() {
    use antiphon::Violation;
    let mut snapshot = Snapshot::default();
    for (violation, limit) in [
        (Violation::MessageTooBig { limit: 1 }, "message_size"),
        (Violation::FrameTooBig { limit: 1 }, "message_size"),
        (Violation::TooManyFragments { limit: 1 }, "fragments"),
        (Violation::RatioTooHigh { limit: 1 }, "inflate_ratio"),
        (Violation::ControlFlood, "control_frames"),
        (Violation::MessageTimeout, "message_time"),
    ] {
        snapshot.violations = [(violation.section(), 3)].into();
        let row = LIMITS.iter().find(|row| row.name == limit).unwrap();
        assert_eq!((row.read)(&snapshot), Some(3), "{violation}");
    }
}

/// A table of the documentation between its marks; it is written anew where that is asked for.
fn documented(begin: &str, end: &str, table: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(begin).expect("the first mark");
    let (found, after) = rest.split_once(end).expect("the last mark");
    if std::env::var_os("ANTIPHON_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{begin}{table}{end}{after}")).unwrap();
    } else {
        assert!(
            found == table,
            "docs/metrics.md is old: ANTIPHON_WRITE_DOCS=1 cargo test -p antiphon-server --bin antiphon"
        );
    }
}

#[test]
fn the_page_of_the_documentation_has_these_tables() {
    const ABOUT: &str = "made from crates/server/src/metrics/table.rs; a test keeps them true -->";
    let mut table = String::from("\n| metric | labels | what |\n|---|---|---|\n");
    for metric in METRICS {
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let (name, labels) = (metric.sample(), labels.join(", "));
        table += &format!("| `{name}` | {labels} | {} |\n", metric.help);
    }
    table += "| `antiphon_build_info` | `version` | The version that runs |\n";
    documented(
        &format!("<!-- metrics: {ABOUT}"),
        "<!-- end of metrics -->",
        &table,
    );

    let mut table = String::from("\n| limit | set with | at the bound |\n|---|---|---|\n");
    for limit in LIMITS {
        let keys: Vec<_> = limit.keys.iter().map(|key| format!("`{key}`")).collect();
        let keys = if keys.is_empty() {
            "fixed".to_owned()
        } else {
            keys.join(", ")
        };
        table += &format!("| `{}` | {keys} | {} |\n", limit.name, limit.help);
    }
    documented(
        &format!("<!-- limits: {ABOUT}"),
        "<!-- end of limits -->",
        &table,
    );
}
