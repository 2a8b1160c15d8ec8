//! Latencies: counted without loss of detail, told as percentiles, drawn as bars of text.

use std::{fmt::Write as _, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

/// Digits that are kept of each latency.
const DIGITS: u8 = 3;
/// Longest latency that is told apart from longer ones.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Width of the longest bar.
const BAR: usize = 50;

/// Counts of latencies, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

/// What is reported, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// A range of latencies and how many there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    /// From this many nanoseconds on.
    pub(crate) from: u64,
    /// Up to these.
    pub(crate) to: u64,
    /// So many.
    pub(crate) count: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        let bounded = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, DIGITS);
        Self(bounded.expect("bounds from 1 to more, and up to five digits, are allowed"))
    }
}

impl Latencies {
    /// Counts `count` messages with this latency in nanoseconds.
    pub(crate) fn add(&mut self, nanoseconds: u64, count: u64) {
        self.0.saturating_record_n(nanoseconds.max(1), count);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that this part of all, 0 to 1, does not exceed, in nanoseconds.
    pub(crate) fn quantile(&self, part: f64) -> u64 {
        self.0.value_at_quantile(part)
    }

    /// What is reported.
    pub(crate) fn percentiles(&self) -> Percentiles {
        if self.0.is_empty() {
            return Percentiles::default();
        }
        let micros = |nanoseconds: f64| (nanoseconds / 100.0).round() / 10.0;
        let at = |part| micros(self.quantile(part) as f64);
        Percentiles {
            min: micros(self.0.min() as f64),
            mean: micros(self.0.mean()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(self.0.max() as f64),
        }
    }

    /// The distribution in ranges that grow, `steps` for each doubling; empty ranges at both ends are left out.
    pub(crate) fn bars(&self, steps: u32) -> Vec<Bar> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let bound = |index: u32| 2f64.powf(f64::from(index) / f64::from(steps)) as u64;
        let index_of = |value: u64| {
            let near = ((value.max(1) as f64).log2() * f64::from(steps)) as u32;
            (near.saturating_sub(1)..)
                .find(|index| bound(index + 1) > value)
                .unwrap_or(near)
        };
        let (first, last) = (index_of(self.0.min()), index_of(self.0.max()));
        let mut bars: Vec<Bar> = (first..=last)
            .map(|index| Bar {
                from: bound(index),
                to: bound(index + 1),
                count: 0,
            })
            .collect();
        for recorded in self.0.iter_recorded() {
            let index = index_of(recorded.value_iterated_to()).clamp(first, last) - first;
            if let Some(bar) = bars.get_mut(index as usize) {
                bar.count += recorded.count_since_last_iteration();
            }
        }
        bars
    }

    /// The distribution as bars of text.
    pub(crate) fn text(&self) -> String {
        let bars = self.bars(2);
        let most = bars.iter().map(|bar| bar.count).max().unwrap_or(0).max(1);
        let mut text = String::new();
        for bar in bars {
            let eighths = (bar.count as f64 / most as f64 * (BAR * 8) as f64).ceil() as usize;
            let mut line = "█".repeat(eighths / 8);
            line.extend(['▏', '▎', '▍', '▌', '▋', '▊', '▉'].get((eighths % 8).wrapping_sub(1)));
            let _ = writeln!(
                text,
                "{:>9} {line}{}{}",
                time(bar.from as f64),
                if line.is_empty() { "" } else { " " },
                if bar.count > 0 {
                    grouped(bar.count)
                } else {
                    String::new()
                },
            );
        }
        text
    }
}

/// Nanoseconds for people.
pub(crate) fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        small if small < 1_000.0 => format!("{small:.0} ns"),
        small if small < 10_000.0 => format!("{:.1} µs", small / 1e3),
        small if small < 1_000_000.0 => format!("{:.0} µs", small / 1e3),
        medium if medium < 10_000_000.0 => format!("{:.1} ms", medium / 1e6),
        medium if medium < 1_000_000_000.0 => format!("{:.0} ms", medium / 1e6),
        long => format!("{:.1} s", long / 1e9),
    }
}

/// A number with commas between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_microseconds() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentiles(), Percentiles::default());
        for micro in 1..=1000 {
            latencies.add(micro * 1000, 1);
        }
        let told = latencies.percentiles();
        assert_eq!(
            (told.min, told.p50.round(), told.p90.round()),
            (1.0, 500.0, 900.0)
        );
        assert!(
            (told.p99 - 990.0).abs() < 1.0 && (told.p999 - 999.0).abs() < 1.0,
            "{told:?}"
        );
        assert!(
            (told.max - 1000.0).abs() < 1.0 && (told.mean - 500.5).abs() < 1.0,
            "{told:?}"
        );
    }

    #[test]
    fn bars_hold_every_latency_once() {
        let mut latencies = Latencies::default();
        for value in [1, 2, 3, 4, 1_000, 1_001, 50_000, 123_456_789, u64::MAX] {
            latencies.add(value, 3);
        }
        for steps in [1, 2, 8] {
            let bars = latencies.bars(steps);
            assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), 27, "{steps}");
            assert!(bars.first().unwrap().count > 0 && bars.last().unwrap().count > 0);
            assert!(bars.windows(2).all(|pair| pair[0].to == pair[1].from));
        }
        assert!(latencies.text().lines().count() > 5);
    }

    #[test]
    fn numbers_for_people() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
        for (nanoseconds, text) in [
            (5.0, "5 ns"),
            (1500.0, "1.5 µs"),
            (25e6, "25 ms"),
            (2e9, "2.0 s"),
        ] {
            assert_eq!(time(nanoseconds), text);
        }
    }
}
