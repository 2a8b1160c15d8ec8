//! A real browser on the page of `antiphon serve --dev`.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::rust::{binary, tap};
use crate::context::{Context, Tally};
use crate::process;
use crate::tools;

/// How long the whole step may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Starts the servers itself, for it must see what the page does when one of them goes.
pub(super) fn browser(context: &Context) -> Result<Tally> {
    tools::debian(context, "chromium", "chromium")?;
    tools::npm(context, "conformance/browser")?;
    let mut command = Command::new("node");
    command
        .arg("conformance/browser/browser.mjs")
        .arg(binary(context)?)
        .arg(context.target.join("screenshots"));
    let (good, output) = process::run(context, PATIENCE, command.current_dir(&context.root))?;
    let mut tally = tap(&output);
    if !good && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}
