//! The Autobahn TestSuite and foreign programs, against our server and our client.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::rust::{binary, example, tap};
use crate::context::{Context, Tally};
use crate::process::{self, Running};
use crate::tools;

/// How long one direction of the suite, or one language, may take.
const PATIENCE: Duration = Duration::from_secs(1500);

/// The echo server for the suite: messages of 16 MiB in 65,536 fragments that compress extremely well are part of it.
const ECHO: &[&str] = &[
    "echo",
    "--listen",
    "127.0.0.1:0",
    "--any-origin",
    "--max-message-size",
    "64MiB",
    "--compression",
    "--compression-min-size",
    "0",
];

fn echo(context: &Context, more: &[&str]) -> Result<Running> {
    Running::start(
        context,
        "echo",
        Duration::from_secs(20),
        Command::new(binary(context)?).args(ECHO).args(more),
    )
}

/// The suite as client, `antiphon echo` as server.
pub(super) fn autobahn_server(context: &Context) -> Result<Tally> {
    let server = echo(context, &[])?;
    let url = server.url()?.to_owned();
    let mut tally = autobahn(context, "server", &url)?;
    tally.add(&Tally::one(server.stop()?));
    Ok(tally)
}

/// The suite as server, our example client as client.
pub(super) fn autobahn_client(context: &Context) -> Result<Tally> {
    let client = example(context, "autobahn_client")?;
    autobahn(
        context,
        "client",
        &format!("'{}' {{url}} antiphon", client.display()),
    )
}

fn autobahn(context: &Context, direction: &str, subject: &str) -> Result<Tally> {
    let verdicts = context
        .target
        .join("ci")
        .join(format!("autobahn-{direction}.json"));
    // Yesterday's verdicts must not be taken for today's.
    let _ = fs::remove_file(&verdicts);
    let mut command = Command::new("python3");
    command
        .arg("conformance/autobahn/driver.py")
        .arg(direction)
        .arg(subject)
        .current_dir(&context.root);
    command
        .arg("--root")
        .arg(context.tools().join("autobahn"))
        .arg("--json")
        .arg(&verdicts);
    command.arg("--out").arg(
        context
            .target
            .join("ci")
            .join(format!("autobahn-{direction}")),
    );
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    process::run(context, PATIENCE, &mut command)?;
    let text = fs::read_to_string(&verdicts).context("the suite left no verdicts")?;
    let all: serde_json::Value = serde_json::from_str(&text)?;
    let cases = all["verdicts"]
        .as_object()
        .context("the suite's verdicts have no `verdicts`")?;
    let cases = cases
        .iter()
        .map(|(case, verdict)| {
            (
                case.clone(),
                verdict.as_str().unwrap_or("failed").to_owned(),
            )
        })
        .collect();
    let notes = fs::read_to_string(context.root.join("conformance/NOTES.md"))?;
    let (tally, unexplained) = judge(&cases, &notes);
    for line in unexplained {
        context.write(&line);
    }
    Ok(tally)
}

/// Counts verdicts: what is neither plainly right nor explained in the notes has failed.
fn judge(cases: &BTreeMap<String, String>, notes: &str) -> (Tally, Vec<String>) {
    let mut tally = Tally::default();
    let (mut unexplained, mut explained) = (Vec::new(), 0);
    for (case, verdict) in cases {
        match verdict.as_str() {
            "ok" => tally.passed += 1,
            "informational" | "non-strict" if is_explained(case, notes) => {
                tally.passed += 1;
                explained += 1;
            }
            "failed" => tally.failed += 1,
            other => {
                tally.failed += 1;
                unexplained.push(format!(
                    "{case} is {other}, and conformance/NOTES.md does not explain it"
                ));
            }
        }
    }
    if explained > 0 {
        tally.note = format!(
            "{explained} of them informational or non-strict, explained in conformance/NOTES.md"
        );
    }
    (tally, unexplained)
}

/// Do the notes have a row for the case: a line that opens with its id in backticks, `7.1.6` or `13.*`?
fn is_explained(case: &str, notes: &str) -> bool {
    let rows = notes.lines().filter_map(|line| {
        line.trim_start_matches(['|', ' ', '-'])
            .strip_prefix('`')?
            .split_once('`')
    });
    rows.into_iter().any(|(id, reason)| {
        let reason = reason
            .chars()
            .filter(|character| character.is_alphabetic())
            .count();
        reason > 20
            && (id == case
                || id
                    .strip_suffix('*')
                    .is_some_and(|prefix| prefix.ends_with('.') && case.starts_with(prefix)))
    })
}

/// Python's websockets and aiohttp.
pub(super) fn python(context: &Context) -> Result<Tally> {
    let python = tools::python(
        context,
        "interop-python",
        "conformance/interop/python/requirements.txt",
    )?;
    let mut command = Command::new(python);
    command
        .arg("conformance/interop/python/interop.py")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    interop(context, &mut command)
}

/// Node's ws and Node's own HTTP/2.
pub(super) fn node(context: &Context) -> Result<Tally> {
    tools::npm(context, "conformance/interop/node")?;
    interop(
        context,
        Command::new("node").arg("conformance/interop/node/interop.mjs"),
    )
}

/// The Go libraries.
pub(super) fn go(context: &Context) -> Result<Tally> {
    let program = context.tools().join("interop-go");
    let mut build = Command::new("go");
    build
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(context.root.join("conformance/interop/go"));
    process::must(context, PATIENCE, &mut build)?;
    let mut command = Command::new(program);
    command
        .arg(binary(context)?)
        .arg(example(context, "interop_client")?)
        .current_dir(&context.root);
    let (good, output) = process::run(context, PATIENCE, &mut command)?;
    let mut tally = tap(&output);
    if !good && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

/// Runs one language: it drives our server, and our client against its servers. It prints `ok NAME` or `not ok NAME`.
fn interop(context: &Context, command: &mut Command) -> Result<Tally> {
    let server = echo(context, &["--subprotocol", "chat"])?;
    let binary = binary(context)?;
    command
        .arg(server.url()?)
        .arg(Path::new(&binary))
        .arg(example(context, "interop_client")?)
        .current_dir(&context.root);
    let (good, output) = process::run(context, PATIENCE, command)?;
    let mut tally = tap(&output);
    if !good && tally.failed == 0 {
        tally.failed = 1;
    }
    tally.add(&Tally::one(server.stop()?));
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_right_or_explained_passes() {
        let notes = "| `7.1.6` | the suite measures the time, it does not judge |\n| `13.3.*` | too short |\n";
        for (case, verdict, passes) in [
            ("1.1.1", "ok", true),
            ("7.1.6", "informational", true),
            ("7.1.60", "informational", false),
            ("7.13.1", "informational", false),
            ("13.3.1", "non-strict", false),
            ("7.1.6", "unimplemented", false),
            ("7.1.6", "failed", false),
        ] {
            let cases = BTreeMap::from([(case.to_owned(), verdict.to_owned())]);
            let (tally, _) = judge(&cases, notes);
            assert_eq!(
                (tally.passed, tally.failed),
                if passes { (1, 0) } else { (0, 1) },
                "{case} {verdict}"
            );
        }
    }
}
