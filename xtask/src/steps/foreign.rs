//! The realtime server with people's own programs at its ends: hotgo's client, a backend in Python, and the guide's commands.

use std::{fmt::Write as _, fs, net::TcpListener, process::Command, time::Duration};

use anyhow::{Context as _, Result, anyhow};

use super::rust::{binary, tap};
use crate::context::{Context, Tally};
use crate::process;
use crate::readme::{Block, Kind, blocks};
use crate::tools;

/// The page whose commands are run.
const GUIDE: &str = "docs/realtime.md";

/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A client that behaves as hotgo's does, in both modes of auth. It keeps hotgo's times, which are real.
pub(super) fn hotgo(context: &Context) -> Result<Tally> {
    tools::npm(context, "conformance/hotgo")?;
    let mut command = Command::new("node");
    command
        .arg("conformance/hotgo/hotgo.mjs")
        .arg(binary(context)?);
    counted(context, command.current_dir(&context.root))
}

/// The example's backend, with Chromium at the other end. It runs on a copy: the backend makes its secrets beside itself.
pub(super) fn backend(context: &Context) -> Result<Tally> {
    tools::debian(context, "chromium", "chromium")?;
    tools::npm(context, "conformance/browser")?;
    let python = tools::python(
        context,
        "python-backend",
        "examples/python-backend/requirements.txt",
    )?;
    let copy = context.target.join("ci").join("python-backend");
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    fs::create_dir_all(&copy)?;
    for name in ["backend.py", "page.html", "antiphon.toml"] {
        let file = context.root.join("examples/python-backend").join(name);
        fs::copy(&file, copy.join(name)).with_context(|| format!("{name} is missing"))?;
    }
    let mut command = Command::new("node");
    command
        .arg("conformance/browser/backend.mjs")
        .arg(binary(context)?)
        .arg(python)
        .arg(&copy);
    counted(context, command.current_dir(&context.root))
}

/// The first page of the guide to the realtime server: all its commands in one shell, as its reader types them.
pub(super) fn guide(context: &Context) -> Result<Tally> {
    let text = fs::read_to_string(context.root.join(GUIDE))?;
    let blocks = blocks(&text).map_err(|error| anyhow!("{GUIDE}: {error}"))?;
    let binary = binary(context)?;
    let folder = binary.parent().context("the binary lies in no folder")?;
    let path = format!(
        "{}:{}",
        folder.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let place = context.target.join("ci").join("guide");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    for program in ["curl", "openssl"] {
        tools::debian(context, program, program)?;
    }
    let port = free_port()?;
    let mut command = Command::new("bash");
    command
        .args(["-euo", "pipefail", "-c", &script(&blocks, port)])
        .current_dir(&place)
        .env("PATH", path)
        .env("ANTIPHON_SERVER__LISTEN", format!("127.0.0.1:{port}"));
    counted(context, &mut command)
}

/// One script of all blocks. What runs in the background is ended by its id.
fn script(blocks: &[Block], port: u16) -> String {
    let mut script = String::from(
        "ids=\ntrap 'for id in $ids; do kill $id 2>/dev/null || :; done; wait' EXIT\n",
    );
    for block in blocks {
        let name = format!("{GUIDE}:{}", block.line);
        for command in &block.commands {
            let command = command.replace("127.0.0.1:8199", &format!("127.0.0.1:{port}"));
            let log = format!("{}.log", block.line);
            let bad = format!("{{ echo 'not ok {name}'; cat *.log; exit 1; }}");
            let line = match &block.kind {
                Kind::Server => background(&command, &log, "listening on", &bad),
                Kind::Client => background(&command, &log, "$connected", &bad),
                Kind::Shows(words) => format!(
                    "{command} > {log} || {bad}\ncat {log}; echo; grep -qF '{words}' {log} || {bad}\n"
                ),
                Kind::Plain => format!("{command} || {bad}\n"),
                Kind::Itself | Kind::Install => continue,
            };
            // Writing to a String does not fail.
            let _ = writeln!(script, "{line}echo 'ok {name}'");
        }
    }
    script
}

/// Starts a command and waits until its output has these words.
fn background(command: &str, log: &str, words: &str, bad: &str) -> String {
    format!(
        "{command} > {log} 2>&1 & ids=\"$! $ids\"\n\
         for try in $(seq 100); do grep -qF '{words}' {log} && break; sleep 0.1; done\n\
         grep -qF '{words}' {log} || {bad}\n"
    )
}

/// A port that nobody listens on just now: the page names one, and somebody may be using it.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn counted(context: &Context, command: &mut Command) -> Result<Tally> {
    let (good, output) = process::run(context, PATIENCE, command)?;
    let mut tally = tap(&output);
    if !good && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}
