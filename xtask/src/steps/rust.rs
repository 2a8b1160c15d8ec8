//! The steps that cargo does: format, lints, tests, documentation, dependencies, and the one build for the other steps.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::context::{Context, Tally};
use crate::process;
use crate::tools;

/// How long one cargo command may take.
const PATIENCE: Duration = Duration::from_secs(1200);

/// The version of cargo-deny that the configuration was written for.
const DENY: &str = "0.20.2";

/// The profile of the binaries under test is the users': what is driven here is what is shipped.
const PROFILE: &str = "release";

fn cargo(context: &Context, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command
        .args(arguments)
        .current_dir(&context.root)
        .env("CARGO_TERM_COLOR", "never");
    command
}

fn one(context: &Context, arguments: &[&str]) -> Result<Tally> {
    Ok(Tally::one(
        process::run(context, PATIENCE, &mut cargo(context, arguments))?.0,
    ))
}

/// `cargo fmt --check`, the fuzz targets and the peers of the bench included.
pub(super) fn format(context: &Context) -> Result<Tally> {
    let mut tally = one(context, &["fmt", "--all", "--check"])?;
    for manifest in ["fuzz/Cargo.toml", "bench/rust/Cargo.toml"] {
        tally.add(&one(
            context,
            &["fmt", "--manifest-path", manifest, "--check"],
        )?);
    }
    Ok(tally)
}

/// The house rules.
pub(super) fn tidy(context: &Context) -> Result<Tally> {
    let mut command = Command::new(std::env::current_exe()?);
    let (_, output) = process::run(
        context,
        PATIENCE,
        command.arg("tidy").current_dir(&context.root),
    )?;
    Ok(tap(&output))
}

/// Clippy with warnings as errors.
pub(super) fn clippy(context: &Context) -> Result<Tally> {
    one(
        context,
        &[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ],
    )
}

/// Unit and integration tests. Examples are built by their own step.
pub(super) fn tests(context: &Context) -> Result<Tally> {
    let arguments = [
        "test",
        "--workspace",
        "--lib",
        "--bins",
        "--tests",
        "--locked",
        "--no-fail-fast",
    ];
    let (good, output) = process::run(context, PATIENCE, &mut cargo(context, &arguments))?;
    Ok(counted(good, &output))
}

/// The examples in the documentation, each compiled and run.
pub(super) fn doctests(context: &Context) -> Result<Tally> {
    let arguments = ["test", "--workspace", "--doc", "--locked", "--no-fail-fast"];
    let (good, output) = process::run(context, PATIENCE, &mut cargo(context, &arguments))?;
    Ok(counted(good, &output))
}

/// The documentation, with warnings as errors.
pub(super) fn docs(context: &Context) -> Result<Tally> {
    let mut command = cargo(
        context,
        &["doc", "--quiet", "--workspace", "--no-deps", "--locked"],
    );
    Ok(Tally::one(
        process::run(
            context,
            PATIENCE,
            command.env("RUSTDOCFLAGS", "-D warnings"),
        )?
        .0,
    ))
}

/// Every example builds.
pub(super) fn examples(context: &Context) -> Result<Tally> {
    one(
        context,
        &["build", "--quiet", "--workspace", "--examples", "--locked"],
    )
}

/// cargo-deny: bans, licences and sources always; advisories where their database can be reached.
pub(super) fn deny(context: &Context) -> Result<Tally> {
    let program = tools::cargo_tool(context, "cargo-deny", DENY)?;
    let mut tally = Tally::default();
    for check in ["bans", "licenses", "sources"] {
        let mut command = Command::new(&program);
        let (good, _) = process::run(
            context,
            PATIENCE,
            command.args(["check", check]).current_dir(&context.root),
        )?;
        tally.add(&Tally::one(good));
    }
    let mut command = Command::new(&program);
    let (fetched, _) = process::run(
        context,
        Duration::from_secs(40),
        command.args(["fetch", "db"]).current_dir(&context.root),
    )?;
    if fetched {
        let mut command = Command::new(&program);
        let arguments = ["check", "--disable-fetch", "advisories"];
        let (good, _) = process::run(
            context,
            PATIENCE,
            command.args(arguments).current_dir(&context.root),
        )?;
        tally.add(&Tally::one(good));
        tally.note = "advisories checked".to_owned();
    } else {
        tally.note =
            "advisories not checked: their database cannot be reached from here".to_owned();
    }
    Ok(tally)
}

/// Builds the command and the clients that the conformance steps drive.
pub(super) fn build(context: &Context) -> Result<Tally> {
    let mut tally = one(
        context,
        &[
            "build",
            "--quiet",
            "--locked",
            "--profile",
            PROFILE,
            "-p",
            "antiphon-server",
        ],
    )?;
    tally.add(&one(
        context,
        &[
            "build",
            "--quiet",
            "--locked",
            "--profile",
            PROFILE,
            "-p",
            "antiphon",
            "--examples",
        ],
    )?);
    Ok(tally)
}

/// The command, built by the step `build`, or now.
pub(super) fn binary(context: &Context) -> Result<PathBuf> {
    built(context, &["-p", "antiphon-server"], "antiphon")
}

/// An example of the library, built by the step `build`, or now.
pub(super) fn example(context: &Context, name: &str) -> Result<PathBuf> {
    built(
        context,
        &["-p", "antiphon", "--example", name],
        &format!("examples/{name}"),
    )
}

fn built(context: &Context, what: &[&str], file: &str) -> Result<PathBuf> {
    let mut arguments = vec!["build", "--quiet", "--locked", "--profile", PROFILE];
    arguments.extend(what);
    process::must(context, PATIENCE, &mut cargo(context, &arguments))?;
    let path = context.target.join(PROFILE).join(file);
    path.is_file()
        .then_some(path)
        .with_context(|| format!("cargo built no {file}"))
}

/// Adds up the lines `test result: ok. 12 passed; 0 failed; ...`.
fn counted(good: bool, output: &str) -> Tally {
    let mut tally = Tally::default();
    for line in output
        .lines()
        .filter(|line| line.starts_with("test result:"))
    {
        let words = line.split([' ', ';']).filter(|word| !word.is_empty());
        let mut before = 0;
        for word in words {
            match word {
                "passed" => tally.passed += before,
                "failed" => tally.failed += before,
                number => before = number.parse().unwrap_or(0),
            }
        }
    }
    // A crate that does not compile has no result line.
    if !good && tally.failed == 0 {
        tally.failed = 1;
    }
    tally
}

/// Counts lines `ok NAME` and `not ok NAME`.
pub(super) fn tap(output: &str) -> Tally {
    let starts = |prefix: &str| {
        output
            .lines()
            .filter(|line| line.starts_with(prefix))
            .count()
    };
    Tally {
        passed: starts("ok "),
        failed: starts("not ok "),
        note: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let output = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured\nx\ntest result: FAILED. 3 passed; 2 failed; 0 ignored\n";
        let tally = |passed, failed| Tally {
            passed,
            failed,
            note: String::new(),
        };
        assert_eq!(counted(false, output), tally(15, 2));
        assert_eq!(counted(false, "error: could not compile"), tally(0, 1));
        assert_eq!(tap("ok a\nnot ok b\nok c\nnotice\n"), tally(2, 1));
    }
}
