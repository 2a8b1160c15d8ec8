//! Centrifugo's Python client and schemathesis against the HTTP API of a server that runs.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::rust::{binary, tap};
use crate::context::{Context, Tally};
use crate::process::{self, Running};
use crate::tools;

/// How long both checks may take together with the server's start.
const PATIENCE: Duration = Duration::from_secs(240);

/// The key of `conformance/api/server.toml`.
const KEY: &str = "conformance-0123456789abcdef";

/// Every call by Centrifugo's client, and the OpenAPI document by schemathesis.
pub(super) fn api(context: &Context) -> Result<Tally> {
    let python = tools::python(context, "api", "conformance/api/requirements.txt")?;
    let mut serve = Command::new(binary(context)?);
    serve
        .args(["serve", "--config", "conformance/api/server.toml"])
        .current_dir(&context.root);
    let server = Running::start(context, "api", Duration::from_secs(20), &mut serve)?;
    let socket = server.url()?.to_owned();
    let api = socket
        .strip_prefix("ws")
        .and_then(|url| url.strip_suffix("/socket"))
        .map(|url| format!("http{url}/api"))
        .context("the server's address is not `ws://ADDRESS/socket`")?;
    let mut tally = Tally::default();
    for what in ["cent", "schemathesis"] {
        let mut command = Command::new(&python);
        command
            .args(["conformance/api/check.py", what, &api, KEY, &socket])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(&context.root);
        let (good, output) = process::run(context, PATIENCE, &mut command)?;
        let mut counted = tap(&output);
        if !good && counted.failed == 0 {
            counted.failed = 1;
        }
        tally.add(&counted);
    }
    tally.add(&Tally::one(server.stop()?));
    Ok(tally)
}
