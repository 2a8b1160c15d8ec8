//! From samples to figures: medians, spreads, and whether a goal is reached.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::bench::rows::{Goal, LIMITS, Row};

/// The share of its core from which on the generator was the limit.
pub(super) const SATURATED: f64 = 0.9;

/// Of two sizes the larger one may be so many times the other and still count as the same.
const SAME_SIZE: f64 = 1.01;

/// From this share of the payload on a message counts as not compressed.
const NOT_COMPRESSED: f64 = 0.95;

/// One measurement of one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// What the row compares: per second of the server's CPU, or bytes of a connection.
    pub(super) value: f64,
    /// The same per second of the clock.
    pub(super) rate: f64,
    /// Microseconds that half of the messages stayed below.
    pub(super) p50: f64,
    /// Microseconds that 99 of 100 messages stayed below.
    pub(super) p99: f64,
    /// The server's share of a core.
    pub(super) server: f64,
    /// The generator's share of its core.
    pub(super) generator: f64,
    /// Bytes of a compressed message for each byte of its payload; 0 where nothing is compressed.
    pub(super) ratio: f64,
    /// Others used the machine meanwhile.
    pub(super) disturbed: bool,
}

impl Sample {
    /// Where messages are to be compressed, these were.
    pub(super) fn is_fair(&self) -> bool {
        self.ratio < NOT_COMPRESSED
    }
}

/// What all samples of one peer in one row say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figure {
    /// The medians.
    pub(super) median: Sample,
    /// (Largest - smallest) / median of the value.
    pub(super) spread: f64,
    /// Samples that count.
    pub(super) samples: usize,
}

/// The medians of the undisturbed samples; of all of them, and marked, if there is none.
pub(super) fn figure(samples: &[Sample]) -> Option<Figure> {
    let quiet: Vec<Sample> = samples
        .iter()
        .copied()
        .filter(|sample| !sample.disturbed)
        .collect();
    let disturbed = quiet.is_empty();
    let counted = if disturbed { samples } else { &quiet };
    let of = |field: fn(&Sample) -> f64| median(counted.iter().map(field).collect());
    let value = of(|sample| sample.value)?;
    let values = || counted.iter().map(|sample| sample.value);
    let widest = values().fold(f64::MIN, f64::max) - values().fold(f64::MAX, f64::min);
    Some(Figure {
        median: Sample {
            value,
            rate: of(|sample| sample.rate)?,
            p50: of(|sample| sample.p50)?,
            p99: of(|sample| sample.p99)?,
            server: of(|sample| sample.server)?,
            generator: of(|sample| sample.generator)?,
            ratio: of(|sample| sample.ratio)?,
            disturbed,
        },
        spread: if value > 0.0 { widest / value } else { 0.0 },
        samples: counted.len(),
    })
}

/// The one in the middle, or the mean of the two there.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The figures of one row, by peer.
pub(super) type Figures = BTreeMap<&'static str, Figure>;

/// How one of ours stands to its goal.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    /// What was reached: a ratio, or KiB.
    pub(super) reached: f64,
    /// What it was compared with.
    pub(super) against: String,
    /// The goal is kept.
    pub(super) kept: bool,
}

/// Judges one of ours; `None` where something to compare with was not measured.
pub(super) fn judge(
    row: &Row,
    goal: Goal,
    ours: &str,
    all: &BTreeMap<&str, Figures>,
) -> Option<Verdict> {
    let figures = all.get(row.name)?;
    let mine = figures.get(ours)?;
    let at_least = |wanted: f64, reached: f64, against: String| Verdict {
        reached,
        against,
        kept: reached >= wanted,
    };
    let ratio = |wanted: f64, names: &[&str]| {
        let (name, best) = best(figures, names)?;
        Some(at_least(
            wanted,
            mine.median.value / best.median.value,
            name.to_owned(),
        ))
    };
    match goal {
        Goal::OfLimit(wanted) => ratio(wanted, &LIMITS),
        Goal::OfBest(wanted) => {
            let counts = |name: &&str| {
                let figure = figures.get(name);
                !LIMITS.contains(name) && figure.is_some_and(|figure| figure.median.is_fair())
            };
            let peers: Vec<&str> = row.others.iter().copied().filter(counts).collect();
            let mut verdict = ratio(wanted, &peers)?;
            let (_, best) = best(figures, &peers)?;
            let (mine, its) = (mine.median.ratio, best.median.ratio);
            if mine > 0.0 {
                // Faster for less compression is no feat.
                verdict.kept &= mine <= its * SAME_SIZE;
                let _ = write!(verdict.against, ", size {mine:.2} to its {its:.2}");
            }
            Some(verdict)
        }
        Goal::OfPeers(wanted, names) => ratio(wanted, names),
        Goal::OfServers(wanted, share, names) => {
            let mut verdict = ratio(wanted, names)?;
            let quickest = names.iter().filter_map(|name| figures.get(name));
            let quickest = quickest
                .map(|figure| figure.median.p99)
                .fold(f64::MAX, f64::min);
            verdict.kept &= mine.median.p99 <= share * quickest;
            Some(verdict)
        }
        Goal::OfRow(wanted, other) => {
            // The same one of ours, perhaps with other options: the longest name that begins this one.
            let (name, base) = all
                .get(other)?
                .iter()
                .rfind(|(name, _)| ours.starts_with(**name))?;
            Some(at_least(
                wanted,
                mine.median.value / base.median.value,
                format!("{name}, {other}"),
            ))
        }
        Goal::AtMost(kib) => Some(Verdict {
            reached: mine.median.value / 1024.0,
            against: "KiB".to_owned(),
            kept: mine.median.value <= kib * 1024.0,
        }),
    }
}

/// The one with the highest value.
pub(super) fn best<'a>(figures: &Figures, names: &[&'a str]) -> Option<(&'a str, Figure)> {
    names
        .iter()
        .filter_map(|name| Some((*name, *figures.get(name)?)))
        .max_by(|(_, one), (_, other)| one.median.value.total_cmp(&other.median.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows::{ROWS, Work};

    fn sample(value: f64, disturbed: bool) -> Sample {
        Sample {
            value,
            p99: 1000.0 / value,
            disturbed,
            ..Sample::default()
        }
    }

    #[test]
    fn a_median_is_the_middle() {
        for (values, expected) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![9.0, 1.0, 4.0], Some(4.0)),
            (vec![4.0, 1.0, 2.0, 9.0], Some(3.0)),
        ] {
            assert_eq!(median(values.clone()), expected, "{values:?}");
        }
    }

    #[test]
    fn disturbed_samples_count_only_where_there_are_no_others() {
        let mixed = figure(&[sample(10.0, false), sample(1.0, true), sample(12.0, false)]).unwrap();
        assert_eq!(
            (mixed.median.value, mixed.samples, mixed.median.disturbed),
            (11.0, 2, false)
        );
        assert!((mixed.spread - 2.0 / 11.0).abs() < 1e-9);
        let all = figure(&[sample(10.0, true), sample(1.0, true)]).unwrap();
        assert_eq!(
            (all.median.value, all.samples, all.median.disturbed),
            (5.5, 2, true)
        );
        assert_eq!(figure(&[]), None);
    }

    #[test]
    fn each_goal_compares_with_what_it_names() {
        let figures: Figures = [
            ("antiphon", 98.0),
            ("raw-epoll", 100.0),
            ("raw-tokio", 90.0),
            ("bun", 50.0),
            ("nats", 20.0),
            ("yawc", 70.0),
        ]
        .into_iter()
        .map(|(name, value)| (name, figure(&[sample(value, false)]).unwrap()))
        .collect();
        let row = Row {
            name: "row",
            title: "a row",
            work: Work::Handshake { tls: false },
            ours: &[],
            others: &["raw-epoll", "raw-tokio", "bun", "yawc"],
            quick: true,
        };
        let all = BTreeMap::from([("row", figures)]);
        for (goal, reached, against, kept) in [
            (Goal::OfLimit(0.98), 0.98, "raw-epoll", true),
            (Goal::OfLimit(0.99), 0.98, "raw-epoll", false),
            (Goal::OfBest(1.3), 1.4, "yawc", true),
            (Goal::OfPeers(2.0, &["bun"]), 1.96, "bun", false),
            (
                Goal::OfServers(4.0, 1.0 / 3.0, &["nats"]),
                4.9,
                "nats",
                true,
            ),
            (
                Goal::OfServers(4.0, 1.0 / 6.0, &["nats"]),
                4.9,
                "nats",
                false,
            ),
            (Goal::OfRow(0.7, "row"), 1.0, "antiphon, row", true),
            (Goal::AtMost(0.1), 98.0 / 1024.0, "KiB", true),
            (Goal::AtMost(0.09), 98.0 / 1024.0, "KiB", false),
        ] {
            let verdict = judge(&row, goal, "antiphon", &all).unwrap();
            assert!(
                (verdict.reached - reached).abs() < 1e-9,
                "{goal:?}: {verdict:?}"
            );
            assert_eq!(
                (verdict.against.as_str(), verdict.kept),
                (against, kept),
                "{goal:?}"
            );
        }
        assert_eq!(
            judge(&row, Goal::OfPeers(1.0, &["centrifugo"]), "antiphon", &all),
            None
        );
        assert_eq!(judge(&ROWS[0], Goal::OfLimit(1.0), "antiphon", &all), None);
    }

    #[test]
    fn whoever_compresses_is_compared_with_those_that_do_at_their_size() {
        let row = Row {
            name: "row",
            title: "a row",
            work: Work::Handshake { tls: false },
            ours: &[],
            others: &["yawc", "bun"],
            quick: true,
        };
        let of = |value: f64, ratio: f64| {
            let sample = Sample {
                value,
                ratio,
                ..Sample::default()
            };
            figure(&[sample]).unwrap()
        };
        for (mine, kept) in [(0.3, true), (0.302, true), (0.31, false)] {
            let figures = Figures::from([
                ("antiphon", of(100.0, mine)),
                ("yawc", of(500.0, 1.0)),
                ("bun", of(50.0, 0.3)),
            ]);
            let all = BTreeMap::from([("row", figures)]);
            let verdict = judge(&row, Goal::OfBest(2.0), "antiphon", &all).unwrap();
            assert!((verdict.reached - 2.0).abs() < 1e-9, "{verdict:?}");
            assert!(verdict.against.starts_with("bun, size 0.3"), "{verdict:?}");
            assert_eq!(verdict.kept, kept, "{mine}");
        }
    }
}
