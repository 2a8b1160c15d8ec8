//! Options of `antiphon config`, and those by which every command finds its configuration.

use std::path::PathBuf;

use clap::{Args, Subcommand};

const CHECK_EXAMPLES: &str = "\
Examples:
  antiphon config check antiphon.toml
  antiphon config check antiphon.toml --json | jq '.problems[].key'
  ANTIPHON_SERVER__LISTEN=80 antiphon config check antiphon.toml

Exit codes: 0 it is good, 1 it has problems; each stands on a line of stderr, with its file, line and column.";

const PRINT_EXAMPLES: &str = "\
Examples:
  antiphon config print --config antiphon.toml         what is in force, and where it was set
  antiphon config print --defaults                     every key with its default
  antiphon config print --set server.listen=9000 --json";

const INIT_EXAMPLES: &str = "\
Examples:
  antiphon config init
  antiphon config init /etc/antiphon.toml
  antiphon config init --force antiphon.toml";

/// Where the configuration comes from: a file, below the environment, below these options.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct SourceArgs {
    /// Configuration of the realtime server (TOML); `antiphon config init` writes one. Variables of the environment
    /// such as ANTIPHON_SERVER__LISTEN override it
    #[arg(long, value_name = "FILE", env = "ANTIPHON_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Set a key, above the file and the environment: --set outbox.max_bytes=2MiB; repeatable. Everybody on this
    /// machine can read it: secrets belong into files
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) set: Vec<String>,
}

/// `antiphon config`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Look for everything that is wrong
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// The file to check
        file: Option<PathBuf>,
        /// Answer with a JSON object on stdout
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Print what is in force, each value with where it was set; secrets are shown as ***
    #[command(after_help = PRINT_EXAMPLES)]
    Print {
        #[command(flatten)]
        source: SourceArgs,
        /// The defaults alone, of every key
        #[arg(long)]
        defaults: bool,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Write a complete file with every key, its default and what it is for
    #[command(after_help = INIT_EXAMPLES)]
    Init {
        /// The file to write; antiphon.toml by default
        file: Option<PathBuf>,
        /// Overwrite it
        #[arg(long)]
        force: bool,
    },
}

fn pair(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.trim().is_empty() => Ok(text.to_owned()),
        _ => Err("write it as KEY=VALUE, such as server.listen=9000".into()),
    }
}
