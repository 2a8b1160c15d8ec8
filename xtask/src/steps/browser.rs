//! A real browser on every page of the command, on the client in pages of others, and on the admin page.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::rust::{binary, tap};
use crate::context::{Context, Tally};
use crate::process;
use crate::tools;

/// How long the whole step may take.
const PATIENCE: Duration = Duration::from_secs(400);

/// Starts the servers itself, for it must see what the pages do when one of them goes.
///
/// Ten thousand connections need as many open files, at both ends: the soft limit is raised to the hard one.
pub(super) fn browser(context: &Context) -> Result<Tally> {
    tools::debian(context, "chromium", "chromium")?;
    tools::chinese_font(context)?;
    tools::npm(context, "conformance/browser")?;
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n \"$(ulimit -Hn)\"; exec node \"$@\"", "sh"])
        .arg("conformance/browser/browser.mjs")
        .arg(binary(context)?)
        .arg(context.target.join("screenshots"));
    let (good, output) = process::run(context, PATIENCE, command.current_dir(&context.root))?;
    let mut tally = tap(&output);
    if !good && tally.failed == 0 {
        tally.failed = 1;
    }
    let note = |line: &str| line.strip_prefix("note: ").map(str::to_owned);
    tally.note = output.lines().find_map(note).unwrap_or_default();
    Ok(tally)
}
