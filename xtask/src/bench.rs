//! `cargo xtask bench`: ours beside the peers and the limit, in one run; the results go into docs/.

mod chart;
mod figures;
mod generator;
mod machine;
mod peers;
mod rows;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::bench::figures::{Figures, Sample, figure};
use crate::bench::generator::{GENERATOR_CORE, Subject, Times};
use crate::bench::machine::{Clock, DISTURBED, Machine};
use crate::bench::peers::{ECHO, Peer, SERVER_CORE, Server, Shop, named, say};
use crate::bench::rows::{LIMITS, QUICK, ROWS, Row, SCALED_TITLE, SCALED_WORK, Work};
use crate::bench::table::{Calls, Report, Scaling, results};
use crate::context::{Context, target_directory};
use crate::process;

/// How often a disturbed sample is repeated.
const REPEATS: usize = 2;

/// The cores of a server that has two.
const BOTH_CORES: &str = "0,1";

/// The name under which two cores are compared with one.
const SCALED: &str = "two-cores";

/// Between these lines of the page stands what this command has written.
const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// The rows whose system calls are counted.
const COUNTED: [&str; 2] = ["echo-125", "echo-125-depth-16"];

/// The system calls that receive, send and wait.
const CALLS: [&[&str]; 3] = [
    &["recvfrom", "recvmsg", "read", "readv"],
    &["sendto", "sendmsg", "write", "writev"],
    &["epoll_wait", "epoll_pwait", "epoll_pwait2"],
];

/// Options of `cargo xtask bench`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Three peers, short samples, two rounds: under five minutes once everything is built.
    #[arg(long)]
    quick: bool,
    /// Rounds; each measures every peer of every row once [default: 5, quick: 2].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Milliseconds that a sample measures [default: 3000, quick: 800].
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(100..))]
    duration: Option<u64>,
    /// Only this row (may be given several times).
    #[arg(long, value_name = "ROW")]
    only: Vec<String>,
    /// Only this peer, beside ours and the limits (may be given several times).
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,
    /// The page to write to; charts and raw figures lie beside it.
    #[arg(long, value_name = "FILE", default_value = "docs/performance.md")]
    out: PathBuf,
    /// List rows and peers and stop.
    #[arg(long)]
    list: bool,
}

/// Runs the command.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> ExitCode {
    if arguments.list {
        for row in ROWS {
            println!("{:<22} {}", row.name, row.title);
        }
        println!("{SCALED:<22} {SCALED_TITLE}");
        let names: Vec<&str> = peers::PEERS.iter().map(|peer| peer.name).collect();
        println!("peers: {}", names.join(", "));
        return ExitCode::SUCCESS;
    }
    match bench(root, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(root: &Path, arguments: &Arguments) -> Result<()> {
    let machine = Machine::read();
    if machine.cores < 2 {
        bail!("the server and the generator need a core each, and this machine has one");
    }
    let rows = chosen(arguments)?;
    let target = target_directory(root);
    let folder = target.join("bench");
    fs::create_dir_all(&folder)?;
    let context = Context {
        root: root.to_path_buf(),
        log: folder.join("bench.log"),
        target,
    };
    // A log from an earlier run must not be taken for this one's.
    let _ = fs::remove_file(&context.log);
    let wanted: BTreeSet<&'static str> =
        rows.iter().flat_map(|(_, peers)| peers).copied().collect();
    let shop =
        Shop::build(&context, &wanted).with_context(|| format!("see {}", context.log.display()))?;
    let run = Run {
        context: &context,
        shop: &shop,
        times: times(arguments),
        rounds: arguments
            .rounds
            .unwrap_or(if arguments.quick { 2 } else { 5 }),
        quick: arguments.quick,
    };
    let mut samples = Samples::new();
    let mut failures = BTreeMap::new();
    run.rounds(&rows, &mut samples, &mut failures);
    let mut extras = Extras {
        calls: run.calls(&samples),
        scaling: None,
        failure: None,
    };
    if is_scaled(arguments) {
        match run.scaling(machine.cores) {
            Ok(scaling) => extras.scaling = Some(scaling),
            Err(error) => extras.failure = Some(format!("{error:#}")),
        }
    }
    if samples.is_empty() && extras.scaling.is_none() {
        bail!("nothing could be measured; see {}", context.log.display());
    }
    run.write(
        &root.join(&arguments.out),
        &machine,
        &rows,
        &samples,
        &failures,
        extras,
    )
}

/// The rows and, for each, who is measured.
fn chosen(arguments: &Arguments) -> Result<Vec<(Row, Vec<&'static str>)>> {
    for name in &arguments.only {
        if name != SCALED && ROWS.iter().all(|row| row.name != name) {
            bail!("there is no row `{name}`; see `cargo xtask bench --list`");
        }
    }
    for name in &arguments.peer {
        if named(name).is_none() {
            bail!("there is no peer `{name}`; see `cargo xtask bench --list`");
        }
    }
    let is_row = |row: &&Row| match arguments.only.is_empty() {
        true => row.quick || !arguments.quick,
        false => arguments.only.iter().any(|name| name == row.name),
    };
    let is_peer = |name: &&'static str| {
        LIMITS.contains(name)
            || match arguments.peer.is_empty() {
                true => !arguments.quick || QUICK.contains(name),
                false => arguments.peer.iter().any(|wanted| wanted == name),
            }
    };
    let rows = ROWS.iter().filter(is_row);
    Ok(rows
        .map(|row| {
            let ours = row.ours.iter().map(|(name, _)| *name);
            (
                *row,
                ours.chain(row.others.iter().copied().filter(is_peer))
                    .collect(),
            )
        })
        .collect())
}

/// Is this a run that compares two cores with one?
fn is_scaled(arguments: &Arguments) -> bool {
    match arguments.only.is_empty() {
        true => !arguments.quick,
        false => arguments.only.iter().any(|name| name == SCALED),
    }
}

fn times(arguments: &Arguments) -> Times {
    let (duration, warmup) = if arguments.quick {
        (800, 200)
    } else {
        (3000, 1000)
    };
    let duration = arguments.duration.unwrap_or(duration);
    Times {
        duration: Duration::from_millis(duration),
        warmup: Duration::from_millis(warmup.min(duration)),
    }
}

/// All samples, by row and peer.
type Samples = BTreeMap<&'static str, BTreeMap<&'static str, Vec<Sample>>>;

/// What is measured once everything else is.
struct Extras {
    calls: Option<Vec<Calls>>,
    scaling: Option<Scaling>,
    /// Why two cores could not be compared with one.
    failure: Option<String>,
}

/// What a run needs everywhere.
struct Run<'a> {
    context: &'a Context,
    shop: &'a Shop,
    times: Times,
    rounds: u32,
    quick: bool,
}

impl Run<'_> {
    /// Measures everything: in each round every row, in each row every peer once, in random order.
    fn rounds(
        &self,
        rows: &[(Row, Vec<&'static str>)],
        samples: &mut Samples,
        failures: &mut BTreeMap<(&'static str, &'static str), String>,
    ) {
        let began = Instant::now();
        let mut dice = Dice::new();
        for round in 1..=self.rounds {
            for (row, names) in rows {
                let mut names = names.clone();
                dice.shuffle(&mut names);
                for name in names {
                    let Some(peer) =
                        named(name).filter(|peer| !self.shop.missing.contains_key(peer.name))
                    else {
                        continue;
                    };
                    if failures.contains_key(&(row.name, peer.name)) {
                        continue;
                    }
                    let passed = began.elapsed().as_secs();
                    match self.sample(peer, row.work) {
                        Ok(sample) => {
                            let mark = if sample.disturbed { "  disturbed" } else { "" };
                            say(&format!(
                                "[{passed:>5}s] {round}/{} {:<22} {name:<22} {:>12}{mark}",
                                self.rounds,
                                row.name,
                                table::grouped(sample.value)
                            ));
                            samples
                                .entry(row.name)
                                .or_default()
                                .entry(peer.name)
                                .or_default()
                                .push(sample);
                        }
                        Err(error) => {
                            say(&format!(
                                "[{passed:>5}s] {round}/{} {:<22} {name:<22} fails",
                                self.rounds, row.name
                            ));
                            self.context
                                .write(&format!("{} {name}: {error:#}", row.name));
                            failures.insert((row.name, peer.name), format!("{error:#}"));
                        }
                    }
                }
            }
        }
    }

    /// One sample; again where others used the machine, within a bound.
    fn sample(&self, peer: &Peer, work: Work) -> Result<Sample> {
        let mut best: Option<(f64, Sample)> = None;
        for _ in 0..=REPEATS {
            let server = self.shop.start(self.context, peer, work, SERVER_CORE)?;
            let (before, began) = (Clock::read(server.pid())?, Instant::now());
            let sample = generator::measure(self.context, &self.subject(peer, work, &server))?;
            let others = before.others(Clock::read(server.pid())?, began.elapsed().as_secs_f64());
            let disturbed = others > DISTURBED;
            if best.as_ref().is_none_or(|(least, _)| others < *least) {
                best = Some((
                    others,
                    Sample {
                        disturbed,
                        ..sample
                    },
                ));
            }
            if !disturbed {
                break;
            }
        }
        best.map(|(_, sample)| sample)
            .context("nothing was measured")
    }

    /// System calls a message of those that were measured; nothing where they cannot be counted.
    fn calls(&self, samples: &Samples) -> Option<Vec<Calls>> {
        if !process::exists("perf") {
            return None;
        }
        let (mut found, mut wanted) = (Vec::new(), 0);
        for row in ROWS.iter().filter(|row| COUNTED.contains(&row.name)) {
            let measured = samples.get(row.name).into_iter().flat_map(BTreeMap::keys);
            for peer in measured.filter_map(|name| named(name)) {
                wanted += 1;
                if let Some(counts) = self.count(peer, row.work) {
                    found.push((row.name, peer.name, counts));
                }
            }
        }
        (wanted == 0 || !found.is_empty()).then_some(found)
    }

    fn count(&self, peer: &Peer, work: Work) -> Option<[f64; 3]> {
        let server = self
            .shop
            .start(self.context, peer, work, SERVER_CORE)
            .ok()?;
        let calls = CALLS.concat();
        let subject = self.subject(peer, work, &server);
        let counted = generator::count_calls(self.context, &subject, &calls).ok()?;
        Some(CALLS.map(|group| {
            let those = counted
                .calls
                .iter()
                .filter(|(name, _)| group.contains(&name.as_str()));
            those.map(|(_, count)| count).sum::<f64>() / counted.messages.max(1.0)
        }))
    }

    /// What two cores do more than one: the medians of as many samples as there are rounds.
    ///
    /// Where the machine has only two, the generator works on both of them beside the server, and the processor time
    /// that it takes there is no time that the server has.
    fn scaling(&self, cores: usize) -> Result<Scaling> {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let beside = if cores > 2 { "2" } else { BOTH_CORES };
        for round in 1..=self.rounds {
            for (server, generator, samples) in [
                (SERVER_CORE, GENERATOR_CORE, &mut one),
                (BOTH_CORES, beside, &mut two),
            ] {
                let mut sample = self.scaled(server, generator)?;
                if server == generator {
                    sample.rate = alone(sample.rate, sample.generator);
                }
                say(&format!(
                    "{round}/{} {SCALED:<22} on {server:<19} {:>12}",
                    self.rounds,
                    table::grouped(sample.rate)
                ));
                samples.push(sample);
            }
        }
        let median = |samples: &[Sample]| figure(samples).map(|figure| figure.median);
        let (one, two) = median(&one)
            .zip(median(&two))
            .context("there were no rounds")?;
        Ok(Scaling {
            times: two.rate / one.rate,
            price: one.value / two.value,
        })
    }

    fn scaled(&self, server: &str, generator: &str) -> Result<Sample> {
        let started = self.shop.start(self.context, &ECHO, SCALED_WORK, server)?;
        let subject = Subject {
            cores: generator,
            ..self.subject(&ECHO, SCALED_WORK, &started)
        };
        generator::measure(self.context, &subject)
    }

    fn subject<'b>(&'b self, peer: &'b Peer, work: Work, server: &'b Server) -> Subject<'b> {
        Subject {
            shop: self.shop,
            peer,
            work,
            server,
            cores: GENERATOR_CORE,
            times: self.times,
        }
    }

    /// Writes the page, the charts and the raw figures.
    fn write(
        &self,
        page: &Path,
        machine: &Machine,
        rows: &[(Row, Vec<&'static str>)],
        samples: &Samples,
        failures: &BTreeMap<(&'static str, &'static str), String>,
        extras: Extras,
    ) -> Result<()> {
        let all: BTreeMap<&'static str, Figures> = samples
            .iter()
            .map(|(row, peers)| {
                let figures = peers
                    .iter()
                    .filter_map(|(name, samples)| Some((*name, figure(samples)?)));
                (*row, figures.collect())
            })
            .collect();
        let mut report = Report {
            facts: self.facts(machine),
            versions: self.shop.versions.clone(),
            rows: rows.iter().map(|(row, _)| *row).collect(),
            figures: all,
            notes: self.notes(machine, failures, &extras),
            calls: extras.calls.unwrap_or_default(),
            scaling: extras.scaling,
            charts: Vec::new(),
        };
        let stem = page.with_extension("");
        let stem = stem
            .file_name()
            .context("--out names no file")?
            .to_string_lossy()
            .into_owned();
        for (name, title, drawn) in chart::CHARTS {
            let drawn: Vec<_> = drawn
                .iter()
                .filter_map(|name| {
                    Some((
                        ROWS.iter().find(|row| row.name == *name)?,
                        report.figures.get(name)?,
                    ))
                })
                .collect();
            let file = format!("{stem}-{name}.svg");
            if let Some(svg) = chart::bars(title, &drawn) {
                fs::write(page.with_file_name(&file), svg)?;
                report.charts.push((file, title));
            }
        }
        fs::write(
            page.with_extension("json"),
            raw(&report.facts, &report.versions, samples),
        )?;
        let old = fs::read_to_string(page).unwrap_or_default();
        fs::write(page, between(&old, &results(&report)))?;
        say(&format!("written: {}", page.display()));
        Ok(())
    }

    fn facts(&self, machine: &Machine) -> Vec<(String, String)> {
        let mut facts: Vec<(String, String)> = machine
            .facts
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs());
        facts.push(("date".to_owned(), date(seconds)));
        let form = if self.quick { "quick" } else { "full" };
        let sample = self.times.duration.as_secs_f64();
        facts.push((
            "form".to_owned(),
            format!("{form}, rounds: {}, samples of {sample:.1} s", self.rounds),
        ));
        facts
    }

    /// What was not measured, each with its reason.
    fn notes(
        &self,
        machine: &Machine,
        failures: &BTreeMap<(&'static str, &'static str), String>,
        extras: &Extras,
    ) -> Vec<String> {
        let mut notes = Vec::new();
        for (name, reason) in &self.shop.missing {
            notes.push(format!("{name} is left out: {reason}."));
        }
        for ((row, name), reason) in failures {
            let reason = reason.lines().next().unwrap_or_default();
            notes.push(format!("{name} fails in {row}: {}", shortened(reason)));
        }
        if let Some(reason) = &extras.failure {
            notes.push(format!("{SCALED} fails: {}", shortened(reason)));
        }
        if extras.calls.is_none() {
            notes.push("System calls were not counted: `perf` cannot do it here.".to_owned());
        }
        if machine.cores < 3 && extras.scaling.is_some() {
            notes.push(
                "For two cores against one the generator worked on the same two cores as the server, for want of a third; the \
                 rate is divided by the share of both that it left to the server."
                    .to_owned(),
            );
        }
        notes
    }
}

/// The rate of a server on two cores if it had them for itself: what a generator beside it takes of a core is given back,
/// and what stands idle is not.
fn alone(rate: f64, generator: f64) -> f64 {
    rate * 2.0 / (2.0 - generator.clamp(0.0, 1.0))
}

/// A failure as a note: short, and without the paths of this machine.
fn shortened(reason: &str) -> String {
    let words = reason.split_whitespace().filter(|word| !word.contains('/'));
    let mut text = words.collect::<Vec<_>>().join(" ");
    if text.chars().count() > 120 {
        text = text.chars().take(120).collect::<String>() + " ...";
    }
    text
}

/// The fields of a sample in the raw figures.
const COLUMNS: [&str; 8] = [
    "value",
    "a_second",
    "p50_us",
    "p99_us",
    "server_cpu",
    "generator_cpu",
    "bytes_to_payload",
    "disturbed",
];

/// The samples as they came, for whoever wants to reckon again: one line for each peer.
fn raw(facts: &[(String, String)], versions: &BTreeMap<&str, String>, samples: &Samples) -> String {
    let facts: serde_json::Map<String, Value> = facts
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let rows: Vec<String> = samples
        .iter()
        .map(|(row, peers)| {
            let peers: Vec<String> = peers
                .iter()
                .map(|(name, samples)| {
                    let samples: Value = samples.iter().map(fields).collect();
                    format!("      {}: {samples}", json!(name))
                })
                .collect();
            format!("    {}: {{\n{}\n    }}", json!(row), peers.join(",\n"))
        })
        .collect();
    format!(
        "{{\n  \"facts\": {},\n  \"versions\": {},\n  \"columns\": {},\n  \"samples\": {{\n{}\n  }}\n}}\n",
        Value::Object(facts),
        json!(versions),
        json!(COLUMNS),
        rows.join(",\n")
    )
}

fn fields(sample: &Sample) -> Value {
    let short = |number: f64| (number * 1000.0).round() / 1000.0;
    json!([
        short(sample.value),
        short(sample.rate),
        short(sample.p50),
        short(sample.p99),
        short(sample.server),
        short(sample.generator),
        short(sample.ratio),
        sample.disturbed,
    ])
}

/// Puts the results between the marks; a page without them is the results alone.
fn between(page: &str, results: &str) -> String {
    let results = format!("{BEGIN}\n\n{}\n\n{END}", results.trim());
    match (page.find(BEGIN), page.find(END)) {
        (Some(begin), Some(end)) if begin < end => {
            format!("{}{results}{}", &page[..begin], &page[end + END.len()..])
        }
        _ => format!("# Performance\n\n{results}\n"),
    }
}

/// The day in UTC, as YYYY-MM-DD.
fn date(seconds: u64) -> String {
    // Days since 0000-03-01, in eras of 400 years: the usual arithmetic of the Gregorian calendar.
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A little randomness, for the order of the peers.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |time| time.as_nanos());
        Self(
            u64::try_from(seed % u128::from(u64::MAX))
                .unwrap_or(1)
                .max(1),
        )
    }

    /// xorshift64.
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.roll() % (last as u64 + 1);
            items.swap(last, usize::try_from(other).unwrap_or(last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_replace_what_stands_between_the_marks() {
        let page = format!("# Speed\n\nHow.\n\n{BEGIN}\nold\n{END}\n\nMore.\n");
        let first = between(&page, "new");
        assert_eq!(
            first,
            format!("# Speed\n\nHow.\n\n{BEGIN}\n\nnew\n\n{END}\n\nMore.\n")
        );
        assert_eq!(between(&first, "new"), first);
        assert!(between("", "new").contains("new"));
    }

    #[test]
    fn raw_figures_have_a_field_for_each_column() {
        let facts = [("cores".to_owned(), "2".to_owned())];
        let sample = Sample {
            value: 1.23456,
            ..Sample::default()
        };
        let samples =
            Samples::from([("echo-125", BTreeMap::from([("bun", vec![sample, sample])]))]);
        let said: Value = serde_json::from_str(&raw(&facts, &BTreeMap::new(), &samples)).unwrap();
        assert_eq!(said["columns"].as_array().unwrap().len(), COLUMNS.len());
        let rows = &said["samples"]["echo-125"]["bun"];
        assert_eq!(rows.as_array().unwrap().len(), 2);
        assert_eq!(rows[0].as_array().unwrap().len(), COLUMNS.len());
        assert_eq!(rows[0][0], 1.235);
        assert_eq!(said["facts"]["cores"], "2");
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_795_219_199, "2026-11-20"),
            (1_795_219_200, "2026-11-21"),
            (4_107_542_399, "2100-02-28"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn the_forms_choose_rows_and_peers() {
        let arguments = |quick, only: &[&str], peer: &[&str]| Arguments {
            quick,
            rounds: None,
            duration: None,
            only: only.iter().map(|&name| name.to_owned()).collect(),
            peer: peer.iter().map(|&name| name.to_owned()).collect(),
            out: PathBuf::new(),
            list: false,
        };
        let quick = chosen(&arguments(true, &[], &[])).unwrap();
        assert!(quick.iter().all(|(row, _)| row.quick));
        let known = |name: &&str| {
            LIMITS.contains(name) || QUICK.contains(name) || name.starts_with("antiphon")
        };
        assert!(quick.iter().flat_map(|(_, names)| names).all(known));
        let full = chosen(&arguments(false, &[], &[])).unwrap();
        assert_eq!(full.len(), ROWS.len());
        let one = chosen(&arguments(false, &["echo-16k"], &["gws"])).unwrap();
        assert_eq!(one.len(), 1);
        let ours = ROWS.iter().find(|row| row.name == "echo-16k").unwrap().ours;
        let ours: Vec<&str> = ours.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            one[0].1,
            [ours, vec!["raw-epoll", "raw-tokio", "gws"]].concat()
        );
        assert!(chosen(&arguments(false, &["nothing"], &[])).is_err());
        let cores = arguments(false, &[SCALED], &[]);
        assert!(chosen(&cores).unwrap().is_empty());
        for (arguments, expected) in [
            (cores, true),
            (arguments(false, &[], &[]), true),
            (arguments(true, &[], &[]), false),
            (arguments(false, &["idle"], &[]), false),
        ] {
            assert_eq!(is_scaled(&arguments), expected, "{:?}", arguments.only);
        }
        assert!(chosen(&arguments(false, &[], &["nobody"])).is_err());
    }

    #[test]
    fn what_the_generator_takes_is_given_back() {
        for (rate, generator, expected) in
            [(100.0, 0.0, 100.0), (75.0, 0.5, 100.0), (50.0, 1.0, 100.0)]
        {
            assert_eq!(alone(rate, generator), expected);
        }
    }

    #[test]
    fn a_note_names_no_path() {
        assert_eq!(
            shortened("sh -c x failed in /tmp/x y"),
            "sh -c x failed in y"
        );
        assert!(shortened(&"word ".repeat(99)).len() < 130);
    }

    #[test]
    fn a_shuffle_keeps_everybody() {
        let mut names: Vec<u32> = (0..50).collect();
        Dice::new().shuffle(&mut names);
        names.sort_unstable();
        assert_eq!(names, (0..50).collect::<Vec<_>>());
    }
}
