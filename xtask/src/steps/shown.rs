//! Runs what the README shows, with the binary under test as `antiphon`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use super::rust::binary;
use crate::context::{Context, Tally};
use crate::process::{self, Running};
use crate::readme::{Block, Kind, blocks};

/// How long one command of the README may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs the blocks in their order.
pub(super) fn readme(context: &Context) -> Result<Tally> {
    let text =
        std::fs::read_to_string(context.root.join("README.md")).context("there is no README.md")?;
    let blocks = blocks(&text).map_err(|error| anyhow!("README.md: {error}"))?;
    let binary = binary(context)?;
    let folder = binary.parent().context("the binary lies in no folder")?;
    let path = format!(
        "{}:{}",
        folder.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut tally = Tally::default();
    let mut itself = 0;
    for block in &blocks {
        match &block.kind {
            Kind::Itself => itself += 1,
            Kind::Install => {}
            Kind::Plain => tally.add(&plain(context, &path, block.line, &block.commands)?),
            Kind::Server => tally.add(&server(context, &path, block)?),
            Kind::Client | Kind::Shows(_) => bail!("README.md:{}: not on this page", block.line),
        }
    }
    // The README names exactly one test command, and it is this one.
    let named = blocks
        .iter()
        .filter(|block| block.kind == Kind::Itself)
        .flat_map(|block| &block.commands);
    tally.add(&Tally::one(itself == 1 && named.eq(["cargo xtask ci"])));
    Ok(tally)
}

fn shell(context: &Context, path: &str, command: &str) -> Command {
    let mut shell = Command::new("bash");
    shell
        .args(["-euo", "pipefail", "-c", command])
        .current_dir(&context.root)
        .env("PATH", path);
    shell
}

fn plain(context: &Context, path: &str, line: usize, commands: &[String]) -> Result<Tally> {
    let mut tally = Tally::default();
    for command in commands {
        let (good, _) = process::run(context, PATIENCE, &mut shell(context, path, command))?;
        context.write(&format!(
            "{} README.md:{line}: {command}",
            if good { "ok" } else { "not ok" }
        ));
        tally.add(&Tally::one(good));
    }
    Ok(tally)
}

/// Starts the first command, asks it for its page, runs the others against it, and ends it by its id.
fn server(context: &Context, path: &str, block: &Block) -> Result<Tally> {
    let Some((first, rest)) = block.commands.split_first() else {
        return Ok(Tally::default());
    };
    let mut command = shell(context, path, &format!("exec {first}"));
    if rest.is_empty() {
        // Nobody needs the address that the README names: leave that port to whoever uses this machine.
        command.env("ANTIPHON_LISTEN", "127.0.0.1:0");
    }
    let running = Running::start(context, "readme", PATIENCE, &mut command)?;
    let mut tally = Tally::one(answers(running.url()?)?);
    tally.add(&plain(context, path, block.line, rest)?);
    let good = running.stop()?;
    context.write(&format!(
        "{} README.md:{}: {first}",
        if good && tally.failed == 0 {
            "ok"
        } else {
            "not ok"
        },
        block.line
    ));
    tally.add(&Tally::one(good));
    Ok(tally)
}

/// Does a request of a browser get the page?
fn answers(url: &str) -> Result<bool> {
    let address = url.trim_start_matches("ws://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200") && answer.contains("<html"))
}
