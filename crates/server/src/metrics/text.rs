//! The numbers as OpenMetrics text, which Prometheus and everything that is like it read.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, text::encode},
    metrics::{MetricType, exemplar::Exemplar, info::Info},
    registry::Registry,
};

use crate::metrics::{
    snapshot::Snapshot,
    table::{Kind, METRICS, Value},
};

/// Takes the numbers anew for each reading.
pub(super) type Source = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// The registry of all metrics.
pub(super) fn registry(source: Source) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Table(source)));
    registry
}

/// The whole text.
pub(super) fn text(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::with_capacity(16 * 1024);
    encode(&mut text, registry)?;
    Ok(text)
}

struct Table(Source);

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Table")
    }
}

impl Collector for Table {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        build.encode(encoder.encode_descriptor(
            "antiphon_build",
            "The version that runs.",
            None,
            build.metric_type(),
        )?)?;
        let snapshot = (self.0)();
        for metric in METRICS {
            // A metric without samples is left out whole.
            let mut samples = Vec::new();
            (metric.read)(&snapshot, &mut |labels, value| {
                let labels = labels
                    .iter()
                    .map(|(name, text)| (*name, (*text).to_owned()));
                samples.push((labels.collect::<Vec<_>>(), value));
            });
            if samples.is_empty() {
                continue;
            }
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let help = format!("{}.", metric.help);
            let mut family = encoder.encode_descriptor(metric.name, &help, None, kind)?;
            for (labels, value) in &samples {
                if labels.is_empty() {
                    sample(&mut family, metric.kind, *value)?;
                } else {
                    sample(&mut family.encode_family(labels)?, metric.kind, *value)?;
                }
            }
        }
        Ok(())
    }
}

fn sample(encoder: &mut MetricEncoder<'_>, kind: Kind, value: Value) -> fmt::Result {
    const NONE: Option<&Exemplar<Vec<(String, String)>, f64>> = None;
    match (kind, value) {
        (Kind::Counter, Value::Whole(value)) => encoder.encode_counter(&value, NONE),
        (Kind::Counter, Value::Real(value)) => encoder.encode_counter(&value, NONE),
        (Kind::Gauge, Value::Whole(value)) => encoder.encode_gauge(&value),
        (Kind::Gauge, Value::Real(value)) => encoder.encode_gauge(&value),
    }
}
