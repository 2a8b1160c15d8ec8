//! `cargo xtask counts`: how many instructions each hot path takes, kept in docs/instructions.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;

use crate::context::{Context, Tally, target_directory};
use crate::process;
use crate::tools;

/// The page with the table.
const PAGE: &str = "docs/instructions.md";

/// Between these lines of the page stands what this command has written.
const BEGIN: &str = "<!-- counts: begin -->";
const END: &str = "<!-- counts: end -->";

/// The program that runs one path.
const PACKAGE: &str = "antiphon-measure";

/// How long building it may take.
const PATIENCE: Duration = Duration::from_secs(1200);

/// How much a count may grow before the table has to be written anew: as many parts of it, and as many instructions.
/// Two machines differ by less, two runs on one machine by about one part in a hundred.
const TOLERANCE: f64 = 0.10;
const SLACK: f64 = 12.0;

/// The processor that the table is for: others have other instructions.
const ARCHITECTURE: &str = "x86_64";

/// Options of `cargo xtask counts`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Compare with the table and fail where a path has become more expensive, in place of writing it.
    #[arg(long)]
    check: bool,
    /// Only paths whose name begins like this (may be given several times). Prints them; nothing is written.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

/// A path, as the program lists it, and what was counted.
struct Row {
    name: String,
    each: f64,
    rounds: u64,
    about: String,
    count: f64,
}

/// What the page says.
struct Table {
    rustc: String,
    counts: BTreeMap<String, f64>,
}

/// Runs the command.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> ExitCode {
    match task(root, arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn task(root: &Path, arguments: &Arguments) -> Result<bool> {
    let target = target_directory(root);
    fs::create_dir_all(target.join("ci"))?;
    let context = Context {
        root: root.to_path_buf(),
        log: target.join("ci/counts-by-hand.log"),
        target,
    };
    if arguments.check && arguments.only.is_empty() {
        let (text, good) = compared(&context)?;
        print!("{text}");
        return Ok(good);
    }
    let rows = counted(&context, &arguments.only)?;
    let kept = table(&fs::read_to_string(root.join(PAGE))?).ok();
    for row in &rows {
        let before = kept.as_ref().and_then(|kept| kept.counts.get(&row.name));
        let change = before.map_or_else(String::new, |before| {
            format!(" {:+.1} %", (row.count / before - 1.0) * 100.0)
        });
        println!("{:<24} {:>10}{change}", row.name, shown(row.count));
    }
    if arguments.only.is_empty() {
        write(root, &rows)?;
        println!("written to {PAGE}");
    }
    Ok(true)
}

/// The step of CI.
pub(crate) fn check(context: &Context) -> Result<Tally> {
    if std::env::consts::ARCH != ARCHITECTURE || std::env::consts::OS != "linux" {
        let mut tally = Tally::one(true);
        tally.note = format!("left out: the table is for Linux on {ARCHITECTURE}");
        return Ok(tally);
    }
    let (text, _) = compared(context)?;
    context.write(&text);
    let mut tally = Tally::default();
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("ok", _)) => tally.passed += 1,
            Some(("not", _)) => tally.failed += 1,
            Some(("note:", note)) => tally.note = note.to_owned(),
            _ => {}
        }
    }
    Ok(tally)
}

/// Counts everything and compares it with the table: lines `ok NAME`, `not ok NAME`, and whether all is well.
fn compared(context: &Context) -> Result<(String, bool)> {
    let kept = table(&fs::read_to_string(context.root.join(PAGE))?)?;
    let rows = counted(context, &[])?;
    Ok(judge(&kept, &rows, &rustc()?))
}

fn judge(kept: &Table, rows: &[Row], rustc: &str) -> (String, bool) {
    let (mut text, mut good) = (String::new(), true);
    let mut fail = |text: &mut String, line: std::fmt::Arguments<'_>| {
        good = false;
        let _ = writeln!(text, "not ok {line}");
    };
    let same = rustc == kept.rustc;
    let mut cheaper = 0;
    for row in rows {
        let (name, count) = (&row.name, row.count);
        let Some(before) = kept.counts.get(name).copied() else {
            fail(
                &mut text,
                format_args!("{name}: not in {PAGE}; write it anew with `cargo xtask counts`"),
            );
            continue;
        };
        let change = format!(
            "{} -> {} ({:+.1} %)",
            shown(before),
            shown(count),
            (count / before - 1.0) * 100.0
        );
        if same && count > before * (1.0 + TOLERANCE) + SLACK {
            fail(
                &mut text,
                format_args!(
                    "{name}: {change}; if the price is right, `cargo xtask counts` writes the table anew"
                ),
            );
        } else {
            cheaper += usize::from(same && count < before * (1.0 - TOLERANCE) - SLACK);
            let _ = writeln!(text, "ok {name}: {change}");
        }
    }
    for name in kept
        .counts
        .keys()
        .filter(|name| rows.iter().all(|row| row.name != **name))
    {
        fail(
            &mut text,
            format_args!("{name}: stands in {PAGE} and is no path any more"),
        );
    }
    if !same {
        let _ = writeln!(
            text,
            "note: not judged: this is rustc {rustc}, the table was made with {}",
            kept.rustc
        );
    } else if cheaper > 0 {
        let _ = writeln!(
            text,
            "note: {cheaper} paths are cheaper than {PAGE} says: `cargo xtask counts` writes it anew"
        );
    }
    (text, good)
}

/// Builds the program and counts the paths, as many at a time as there are cores.
fn counted(context: &Context, only: &[String]) -> Result<Vec<Row>> {
    tools::debian(context, "valgrind", "valgrind")?;
    let mut build = Command::new("cargo");
    build
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--package",
            PACKAGE,
        ])
        .current_dir(&context.root);
    process::must(context, PATIENCE, &mut build)?;
    let program = context.target.join("release").join(PACKAGE);
    let list = output(&mut Command::new(&program))?;
    let mut rows = list.lines().map(listed).collect::<Result<Vec<_>>>()?;
    if !only.is_empty() {
        rows.retain(|row| only.iter().any(|name| row.name.starts_with(name.as_str())));
        if rows.is_empty() {
            bail!("no path is called like this; {PAGE} lists them");
        }
    }
    let profiles = context.target.join("counts");
    fs::create_dir_all(&profiles)?;
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let counts = std::thread::scope(|scope| {
        let work = || {
            let mut counts = Vec::new();
            while let Some((index, row)) = {
                let index = next.fetch_add(1, Relaxed);
                rows.get(index).map(|row| (index, row))
            } {
                counts.push(count(&program, row, &profiles).map(|count| (index, count)));
            }
            counts
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| {
            worker
                .join()
                .map_err(|_| anyhow!("a thread that counts has failed"))
        });
        joined.collect::<Result<Vec<_>>>()
    })?;
    for count in counts.into_iter().flatten() {
        let (index, count) = count?;
        rows[index].count = count;
    }
    Ok(rows)
}

/// A line of the program's list: name, how many a step handles, steps, and what it is.
fn listed(line: &str) -> Result<Row> {
    let mut fields = line.split('\t');
    let mut field = || fields.next().with_context(|| format!("not a path: {line}"));
    Ok(Row {
        name: field()?.to_owned(),
        each: field()?.parse()?,
        rounds: field()?.parse()?,
        about: field()?.to_owned(),
        count: 0.0,
    })
}

/// Instructions for one message: those of many steps beyond those of none.
fn count(program: &Path, row: &Row, profiles: &Path) -> Result<f64> {
    let profile = profiles.join(row.name.replace('/', "-"));
    let (none, many) = (
        total(program, &row.name, 0, &profile)?,
        total(program, &row.name, row.rounds, &profile)?,
    );
    let steps = row.rounds as f64;
    Ok((many - none) / steps / row.each)
}

fn total(program: &Path, name: &str, times: u64, profile: &Path) -> Result<f64> {
    let mut command = Command::new("valgrind");
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(program)
        .args([name, &times.to_string()]);
    let output = command.output().context("cannot start valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    collected(&text)
        .filter(|_| output.status.success())
        .with_context(|| format!("{name}: valgrind says {text}"))
}

/// The total in a line `==1== Collected : 123`.
fn collected(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{:?} failed", command.get_program());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The version of the compiler: `1.95.0`.
fn rustc() -> Result<String> {
    let text = output(Command::new("rustc").arg("--version"))?;
    let version = text.split(' ').nth(1);
    Ok(version.context("rustc has no version")?.to_owned())
}

/// Writes the table into the page.
fn write(root: &Path, rows: &[Row]) -> Result<()> {
    let page: PathBuf = root.join(PAGE);
    let text = fs::read_to_string(&page)?;
    let (start, end) = (text.find(BEGIN), text.find(END));
    let (Some(start), Some(end)) = (start, end) else {
        bail!("{PAGE} has no marks {BEGIN} and {END}");
    };
    let valgrind = output(Command::new("valgrind").arg("--version"))?;
    let mut made = format!(
        "{BEGIN}\n\n| | |\n|---|---|\n| rustc | {} |\n| valgrind | {} |\n\n| path | instructions | |\n|---|---:|---|\n",
        rustc()?,
        valgrind.trim().trim_start_matches("valgrind-"),
    );
    for row in rows {
        let _ = writeln!(
            made,
            "| `{}` | {} | {} |",
            row.name,
            shown(row.count),
            row.about
        );
    }
    made.push('\n');
    fs::write(&page, format!("{}{made}{}", &text[..start], &text[end..]))?;
    Ok(())
}

/// What the page says.
fn table(text: &str) -> Result<Table> {
    let inside = text
        .split_once(BEGIN)
        .and_then(|(_, rest)| rest.split_once(END))
        .with_context(|| format!("{PAGE} has no marks {BEGIN} and {END}"))?
        .0;
    let mut rustc = None;
    let mut counts = BTreeMap::new();
    for line in inside.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells[..] {
            [_, "rustc", version, _] => rustc = Some(version.to_owned()),
            [_, name, count, _, _] if name.starts_with('`') => {
                let count = count.replace(',', "").parse()?;
                counts.insert(name.trim_matches('`').to_owned(), count);
            }
            _ => {}
        }
    }
    let rustc = rustc.with_context(|| format!("{PAGE} does not say which rustc it is from"))?;
    Ok(Table { rustc, counts })
}

/// A whole number with commas.
fn shown(count: f64) -> String {
    let digits = format!("{count:.0}");
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
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

    fn row(name: &str, count: f64) -> Row {
        Row {
            name: name.to_owned(),
            each: 1.0,
            rounds: 1,
            about: String::new(),
            count,
        }
    }

    #[test]
    fn a_path_may_not_become_dearer_unseen() {
        let page = format!(
            "x\n{BEGIN}\n| rustc | 1.95.0 |\n| `a/b` | 1,000 | what |\n| `a/c` | 10 | |\n{END}\ny"
        );
        let kept = table(&page).unwrap();
        assert_eq!(kept.rustc, "1.95.0");
        assert_eq!(kept.counts["a/b"], 1000.0);
        // The counts of two paths, the compiler; what is not ok, and whether there is a note.
        type Case<'a> = (&'a [(&'a str, f64)], &'a str, &'a [&'a str], bool);
        let rows: [Case<'_>; 7] = [
            (&[("a/b", 1000.0), ("a/c", 10.0)], "1.95.0", &[], false),
            (&[("a/b", 1100.0), ("a/c", 20.0)], "1.95.0", &[], false),
            (&[("a/b", 1120.0), ("a/c", 10.0)], "1.95.0", &["a/b"], false),
            (&[("a/b", 1000.0), ("a/c", 24.0)], "1.95.0", &["a/c"], false),
            (&[("a/b", 800.0), ("a/c", 10.0)], "1.95.0", &[], true),
            (&[("a/b", 9000.0), ("a/c", 10.0)], "1.96.0", &[], true),
            (
                &[("a/b", 1000.0), ("a/d", 10.0)],
                "1.95.0",
                &["a/d", "a/c"],
                false,
            ),
        ];
        for (counts, rustc, wrong, noted) in rows {
            let counted: Vec<Row> = counts
                .iter()
                .map(|(name, count)| row(name, *count))
                .collect();
            let (text, good) = judge(&kept, &counted, rustc);
            let found: Vec<&str> = text
                .lines()
                .filter_map(|line| line.strip_prefix("not ok ")?.split(':').next())
                .collect();
            assert_eq!(found, wrong, "{text}");
            assert_eq!(good, wrong.is_empty());
            assert_eq!(text.contains("note:"), noted, "{text}");
        }
    }

    #[test]
    fn numbers_are_written_and_read() {
        for (count, text) in [
            (7.4, "7"),
            (999.0, "999"),
            (1234.0, "1,234"),
            (1e6, "1,000,000"),
        ] {
            assert_eq!(shown(count), text);
        }
        assert_eq!(
            collected("x\n==7== Collected : 836204\n==7==\n"),
            Some(836_204.0)
        );
        assert_eq!(collected("killed"), None);
        assert!(table("no marks").is_err());
    }
}
