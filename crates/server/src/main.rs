//! The command `antiphon`: the index of its rooms, and the way in.

// The comments on options are what `--help` prints: plain text for a terminal, not links for a page.
#![allow(rustdoc::bare_urls, rustdoc::broken_intra_doc_links)]

mod admin;
mod api;
mod auth;
mod bench;
mod cli;
mod command;
mod config;
mod connect;
mod demo;
mod echo;
mod failure;
mod health;
mod hooks;
mod host;
mod lines;
mod listen;
mod log;
mod metrics;
mod outgoing;
mod pages;
mod process;
mod realtime;
mod serve;
mod setting;
mod tls;
mod token;
mod traces;
mod value;
mod watch;
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
