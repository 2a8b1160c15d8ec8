//! The command `antiphon`: the index of its rooms, and the way in.

// The comments on options are what `--help` prints: plain text for a terminal, not links for a page.
#![allow(rustdoc::bare_urls, rustdoc::broken_intra_doc_links)]

#[allow(dead_code, reason = "called by the realtime server")]
mod api;
#[allow(
    dead_code,
    reason = "revocations, sessions and tickets are reached by the HTTP API"
)]
mod auth;
mod cli;
mod command;
#[allow(dead_code, reason = "read by the HTTP API and the metrics")]
mod config;
mod connect;
mod demo;
mod echo;
mod failure;
#[allow(dead_code, reason = "the broker is asked from the cluster on")]
mod health;
#[allow(dead_code, reason = "parts are read by tests alone")]
mod hooks;
mod lines;
mod listen;
mod log;
#[allow(dead_code, reason = "its tables are read by its tests")]
mod metrics;
#[allow(dead_code, reason = "parts are read by tests alone")]
mod outgoing;
mod pages;
mod process;
#[allow(dead_code, reason = "read by the metrics and the probes")]
mod realtime;
mod serve;
#[allow(dead_code, reason = "read by the HTTP API and the metrics")]
mod setting;
mod tls;
mod token;
mod value;
mod watch;
#[allow(dead_code, reason = "read by the metrics")]
mod webhooks;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{cli::Cli, failure::Failure};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    log::tame_panics();
    let outcome = Cli::try_parse().map_err(Failure::from).and_then(|cli| {
        log::start(&cli.global, cli.command.shows_control())?;
        cli.command.run()
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
