//! The house's own tasks: `cargo xtask ci` runs everything, `cargo xtask tidy` the house rules alone.

mod ci;
mod context;
mod process;
mod readme;
mod source;
mod steps;
mod tidy;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The tasks of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run every check: format, lints, tests, conformance, interop, browser, fuzzing, dependencies, README.
    Ci {
        /// Run only this step (may be given several times).
        #[arg(long, value_name = "STEP")]
        only: Vec<String>,
        /// Leave this step out (may be given several times). It is named in the summary.
        #[arg(long, value_name = "STEP")]
        skip: Vec<String>,
        /// List the steps and stop.
        #[arg(long)]
        list: bool,
    },
    /// Check the house rules: import walls, no circles, first lines, size of rooms, forbidden words.
    Tidy,
}

fn main() -> ExitCode {
    let root = root();
    match Arguments::parse().task {
        Task::Ci { only, skip, list } => ci::run(&root, &only, &skip, list),
        Task::Tidy => tidy::run(&root),
    }
}

/// The root of the workspace: the directory above this crate.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies one level below the root")
        .to_path_buf()
}
