//! Options of every subcommand.

use clap::{ArgAction, Args};

/// Options of every subcommand.
#[derive(Debug, Args)]
#[command(next_help_heading = "Messages about the command itself")]
pub(crate) struct GlobalArgs {
    /// Say more on stderr; twice and thrice for details
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// What to log: a level, or crate=level,...
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        env = "ANTIPHON_LOG",
        hide_short_help = true
    )]
    pub(crate) log: Option<String>,
}
