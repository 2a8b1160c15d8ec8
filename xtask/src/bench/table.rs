//! The results as Markdown: what is not reached first, then every row with all its peers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::bench::figures::{Figure, Figures, SATURATED, Verdict, best, judge};
use crate::bench::rows::{Goal, LIMITS, Row, SCALED_TITLE, Work};

/// System calls a message, by row and peer: receiving, sending, waiting.
pub(super) type Calls = (&'static str, &'static str, [f64; 3]);

/// How many times the rate of one core two cores must have.
const SCALING: f64 = 1.7;

/// What two cores do more than one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scaling {
    /// How many times the rate of one core they have.
    pub(super) times: f64,
    /// How many times the CPU time of one core a message costs there.
    pub(super) price: f64,
}

/// All that a run has found out.
pub(super) struct Report {
    /// Facts about the machine, the tools and the run, each with its name.
    pub(super) facts: Vec<(String, String)>,
    /// Versions of the peers.
    pub(super) versions: BTreeMap<&'static str, String>,
    /// The rows that were measured.
    pub(super) rows: Vec<Row>,
    /// The figures by row.
    pub(super) figures: BTreeMap<&'static str, Figures>,
    /// System calls.
    pub(super) calls: Vec<Calls>,
    /// What two cores do more than one.
    pub(super) scaling: Option<Scaling>,
    /// What was left out, and why.
    pub(super) notes: Vec<String>,
    /// The names of the chart files, each with its title.
    pub(super) charts: Vec<(String, &'static str)>,
}

/// The whole text between the marks of docs/performance.md.
pub(super) fn results(report: &Report) -> String {
    let mut text = String::new();
    facts(report, &mut text);
    goals(report, &mut text);
    for (file, title) in &report.charts {
        let _ = writeln!(text, "\n![{title}]({file})");
    }
    for row in &report.rows {
        if let Some(figures) = report.figures.get(row.name) {
            details(row, figures, &mut text);
        }
    }
    calls(report, &mut text);
    versions(report, &mut text);
    text
}

fn facts(report: &Report, text: &mut String) {
    text.push_str("| | |\n|---|---|\n");
    for (name, value) in &report.facts {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    for note in &report.notes {
        let _ = write!(text, "\n{note}\n");
    }
}

/// One line for each goal, those that are not kept first.
fn goals(report: &Report, text: &mut String) {
    let mut lines = Vec::new();
    for row in &report.rows {
        let Some(figures) = report.figures.get(row.name) else {
            continue;
        };
        for (name, goal) in row
            .ours
            .iter()
            .filter(|(name, _)| figures.contains_key(name))
        {
            let verdict = judge(row, *goal, name, &report.figures);
            lines.push((
                row.title,
                *name,
                wanted(*goal),
                verdict,
                marks(figures, name),
            ));
        }
    }
    if let Some(Scaling { times, price }) = report.scaling {
        let verdict = Verdict {
            reached: times,
            against: format!("one core; a message costs {price:.2} of its CPU time"),
            kept: times >= SCALING,
        };
        lines.push((
            SCALED_TITLE,
            "antiphon-echo",
            format!("{SCALING:.2} x"),
            Some(verdict),
            String::new(),
        ));
    }
    // Sorting keeps the order of the rows inside each group.
    lines.sort_by_key(|(.., verdict, _)| match verdict {
        Some(verdict) if !verdict.kept => 0,
        Some(_) => 1,
        None => 2,
    });
    text.push_str("\n### Goals\n\nRows that are not reached stand first.\n\n");
    text.push_str(
        "| work | ours | goal | reached | compared with | |\n|---|---|---:|---:|---|---|\n",
    );
    for (title, name, goal, verdict, mark) in lines {
        let reached = reached(verdict.as_ref());
        let _ = writeln!(text, "| {title} | {name} | {goal} | {reached} | {mark} |");
    }
}

fn wanted(goal: Goal) -> String {
    match goal {
        Goal::OfLimit(share) => format!("{share:.2}"),
        Goal::OfBest(times) | Goal::OfPeers(times, _) | Goal::OfRow(times, _) => {
            format!("{times:.2} x")
        }
        Goal::OfServers(times, share, _) => format!("{times:.2} x, p99 <= {share:.2}"),
        Goal::AtMost(kib) => format!("{kib:.1} KiB"),
    }
}

fn reached(verdict: Option<&Verdict>) -> String {
    match verdict {
        None => "- | nothing was measured to compare with".to_owned(),
        Some(verdict) => {
            let number = format!("{:.2}", verdict.reached);
            let number = if verdict.kept {
                number
            } else {
                format!("**{number}**")
            };
            format!("{number} | {}", verdict.against)
        }
    }
}

/// `*` for a figure without an undisturbed sample, `g` where the generator was the limit, `n` where nothing was
/// compressed though it was asked for.
fn marks(figures: &Figures, name: &str) -> String {
    let Some(figure) = figures.get(name) else {
        return String::new();
    };
    let mut marks = Vec::new();
    if figure.median.disturbed {
        marks.push("\\*");
    }
    if is_generator(figure) {
        marks.push("g");
    }
    if !figure.median.is_fair() {
        marks.push("n");
    }
    marks.join(" ")
}

/// Was the generator busier than the server, and as busy as it can be?
fn is_generator(figure: &Figure) -> bool {
    figure.median.generator >= SATURATED && figure.median.generator >= figure.median.server
}

fn details(row: &Row, figures: &Figures, text: &mut String) {
    let mut names: Vec<&str> = figures.keys().copied().collect();
    let memory = matches!(row.work, Work::Idle { .. });
    names.sort_by(|one, other| {
        let (one, other) = (figures[one].median.value, figures[other].median.value);
        if memory {
            one.total_cmp(&other)
        } else {
            other.total_cmp(&one)
        }
    });
    let _ = write!(text, "\n### {}\n\n", capital(row.title));
    if memory {
        text.push_str("| | KiB a connection | spread | |\n|---|---:|---:|---|\n");
        for name in names {
            let figure = &figures[name];
            let value = figure.median.value / 1024.0;
            let mark = marks(figures, name);
            let _ = writeln!(
                text,
                "| {} | {value:.2} | {} | {mark} |",
                shown(row, name),
                percent(figure.spread)
            );
        }
        return;
    }
    let limit = best(figures, &LIMITS).map(|(_, figure)| figure.median.value);
    let ours = row
        .ours
        .iter()
        .find_map(|(name, _)| figures.get(name))
        .map(|figure| figure.median.value);
    let compressed = figures.values().any(|figure| figure.median.ratio > 0.0);
    let timed = figures.values().any(|figure| figure.median.p99 > 0.0);
    let mut head = "| | a server CPU second |".to_owned();
    let mut line = "|---|---:|".to_owned();
    let mut column = |title: &str, there: bool| {
        if there {
            let _ = write!(head, " {title} |");
            line.push_str("---:|");
        }
    };
    column("of the limit", limit.is_some());
    column("ours to it", ours.is_some());
    column("a second", true);
    column("p50 us", timed);
    column("p99 us", timed);
    column("bytes to payload", compressed);
    column("server CPU", true);
    column("generator CPU", true);
    column("spread", true);
    let _ = writeln!(text, "{head} |\n{line}---|");
    for name in names {
        let figure = &figures[name];
        let median = &figure.median;
        let _ = write!(text, "| {} | {} |", shown(row, name), grouped(median.value));
        if let Some(limit) = limit {
            let _ = write!(text, " {:.2} |", median.value / limit);
        }
        if let Some(ours) = ours {
            let _ = write!(text, " {:.2} |", ours / median.value);
        }
        let _ = write!(text, " {} |", grouped(median.rate));
        if timed {
            let _ = write!(text, " {} | {} |", grouped(median.p50), grouped(median.p99));
        }
        if compressed {
            let _ = write!(text, " {:.2} |", median.ratio);
        }
        let _ = writeln!(
            text,
            " {} | {} | {} | {} |",
            percent(median.server),
            percent(median.generator),
            percent(figure.spread),
            marks(figures, name)
        );
    }
}

fn calls(report: &Report, text: &mut String) {
    if report.calls.is_empty() {
        return;
    }
    text.push_str("\n### System calls a message\n\n| work | | receive | send | wait |\n|---|---|---:|---:|---:|\n");
    for (row, name, [receive, send, wait]) in &report.calls {
        let _ = writeln!(
            text,
            "| {row} | {name} | {receive:.3} | {send:.3} | {wait:.3} |"
        );
    }
}

fn versions(report: &Report, text: &mut String) {
    text.push_str("\n### Versions\n\n");
    let versions = report
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"));
    // Ours all have one version.
    let versions: Vec<String> = versions
        .filter(|line| !line.starts_with("antiphon-"))
        .collect();
    let _ = writeln!(text, "{}.", versions.join(", "));
}

/// Ours in bold, limits in italics.
fn shown(row: &Row, name: &str) -> String {
    if row.ours.iter().any(|(ours, _)| *ours == name) {
        format!("**{name}**")
    } else if LIMITS.contains(&name) {
        format!("*{name}*")
    } else {
        name.to_owned()
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A whole number with a comma after each three digits; with decimals below ten.
pub(super) fn grouped(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::{Sample, figure};
    use crate::bench::rows::ROWS;

    /// A report of the first row in which ours misses its goal, and of the memory in which it keeps two.
    fn report() -> Report {
        let sample = |value: f64| {
            figure(&[Sample {
                value,
                rate: value / 2.0,
                p99: 700.0,
                generator: 0.97,
                ..Sample::default()
            }])
            .unwrap()
        };
        let echo = Figures::from([
            ("antiphon", sample(90_000.0)),
            ("raw-epoll", sample(100_000.0)),
            ("bun", sample(1_234_567.0)),
        ]);
        let idle = Figures::from([("antiphon", sample(1000.0)), ("bun", sample(2150.0))]);
        let rows: Vec<Row> = ROWS
            .iter()
            .copied()
            .filter(|row| ["echo-125", "idle"].contains(&row.name))
            .collect();
        Report {
            facts: vec![("cores".to_owned(), "2".to_owned())],
            versions: BTreeMap::from([
                ("bun", "1.4.5".to_owned()),
                ("antiphon-axum", "0.1.0".to_owned()),
            ]),
            figures: BTreeMap::from([("echo-125", echo), ("idle", idle)]),
            rows,
            calls: vec![("echo-125", "antiphon", [1.0, 1.0, 0.02])],
            scaling: Some(Scaling {
                times: 1.8,
                price: 1.05,
            }),
            notes: vec!["centrifugo is left out: it is not there.".to_owned()],
            charts: vec![("performance-echo.svg".to_owned(), "Echo")],
        }
    }

    #[test]
    fn the_table_says_what_is_lost_first() {
        let text = results(&report());
        let at = |part: &str| {
            text.find(part)
                .unwrap_or_else(|| panic!("`{part}` is not in\n{text}"))
        };
        let lost =
            at("| echo, 100 connections, 125 B | antiphon | 0.99 | **0.90** | raw-epoll | g |");
        let kept = at(
            "| memory of an idle connection, 10,000 open | antiphon | 1.0 KiB | 0.98 | KiB | g |",
        );
        assert!(lost < kept);
        at("| bun | 1,234,567 | 12.35 | 0.07 | 617,284 | 0.0 | 700 | 0 % | 97 % | 0 % | g |");
        at("| *raw-epoll* | 100,000 | 1.00 | 0.90 | 50,000 |");
        at("| **antiphon** | 0.98 | 0 % | g |");
        at(
            "| echo, compressed, JSON of 16 KiB, on two cores | antiphon-echo | 1.70 x | 1.80 | one core; a message costs 1.05 of its CPU time |  |",
        );
        at("| echo-125 | antiphon | 1.000 | 1.000 | 0.020 |");
        at("![Echo](performance-echo.svg)");
        at("\nbun 1.4.5.\n");
        at("centrifugo is left out");
    }

    #[test]
    fn every_table_has_as_many_cells_in_each_line() {
        let mut width = None;
        for line in results(&report()).lines() {
            let cells = line.matches('|').count();
            match (line.starts_with('|'), width) {
                (true, Some(width)) => assert_eq!(cells, width, "{line}"),
                (true, None) => width = Some(cells),
                (false, _) => width = None,
            }
        }
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        for (value, expected) in [
            (0.25, "0.2"),
            (9.9, "9.9"),
            (10.0, "10"),
            (999.6, "1,000"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(grouped(value), expected);
        }
    }
}
