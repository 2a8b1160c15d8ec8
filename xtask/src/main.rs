//! The house's own tasks: `cargo xtask ci` runs everything, `tidy` the house rules alone, `tables` writes tables, `bench` compares, `counts` counts.

mod bench;
mod ci;
mod context;
mod counts;
mod process;
mod readme;
mod source;
mod steps;
mod tidy;
mod tools;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

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
    /// Write the tables of the protocol anew: in docs/protocol.md and web/src/generated.
    Tables,
    /// Measure ours beside the peers of bench/ and a raw TCP echo, and write the results into docs/performance.md.
    Bench(bench::Arguments),
    /// Count the instructions of every hot path, and write the table of docs/instructions.md or compare with it.
    Counts(counts::Arguments),
}

fn main() -> ExitCode {
    let root = root();
    match Arguments::parse().task {
        Task::Ci { only, skip, list } => ci::run(&root, &only, &skip, list),
        Task::Tidy => tidy::run(&root),
        Task::Tables => tables(&root),
        Task::Bench(arguments) => bench::run(&root, &arguments),
        Task::Counts(arguments) => counts::run(&root, &arguments),
    }
}

/// Runs the hub's own generator: this crate depends on no crate of the house.
fn tables(root: &Path) -> ExitCode {
    let generator = "run --quiet --package antiphon-hub --example tables -- --write";
    match Command::new("cargo")
        .args(generator.split(' '))
        .current_dir(root)
        .status()
    {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: error: cannot start cargo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace: the directory above this crate.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies one level below the root")
        .to_path_buf()
}
