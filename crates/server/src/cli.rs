//! The command line: subcommands and the options that all of them share.

pub(crate) mod bench;
pub(crate) mod compression;
pub(crate) mod config;
pub(crate) mod connect;
pub(crate) mod global;
pub(crate) mod server;
pub(crate) mod target;
pub(crate) mod token;

use std::{io, path::PathBuf};

use clap::{CommandFactory as _, Parser, Subcommand, builder::styling::Styles};
use clap_complete::Shell;

use crate::{
    bench as load,
    cli::global::GlobalArgs,
    config::command as configuration,
    connect as client, echo,
    failure::{Exit, Failure, plain},
    serve, token as tokens,
};

const STYLES: Styles = Styles::styled()
    .header(anstyle::Style::new().bold())
    .usage(anstyle::Style::new().bold())
    .literal(anstyle::AnsiColor::Cyan.on_default())
    .placeholder(anstyle::AnsiColor::Green.on_default());

const EXAMPLES: &str = "\
Examples:
  antiphon serve --dev                        a page and an echo on http://127.0.0.1:8199/
  antiphon connect ws://127.0.0.1:8199/ws     talk to it
  antiphon serve --command bc -l              a program for each connection
  antiphon echo --listen 9001 --compression   an echo on every path, for tests
  antiphon bench echo ws://127.0.0.1:8199/    load for it, with every answer judged
  antiphon config init antiphon.toml          a configuration with every key

`antiphon help COMMAND` explains a command and shows examples.";

/// WebSocket for the terminal: serve, echo, connect.
#[derive(Debug, Parser)]
#[command(
    name = "antiphon",
    version,
    after_help = EXAMPLES,
    styles = STYLES,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a page and a WebSocket endpoint: a demo, a program, a file
    Serve(Box<server::ServeArgs>),
    /// Send every message back, on every path
    Echo(Box<server::EchoArgs>),
    /// Talk to a WebSocket endpoint
    Connect(Box<connect::ConnectArgs>),
    /// Measure a WebSocket server, and judge every answer
    Bench(bench::BenchArgs),
    /// Check, print or write the configuration of the realtime server
    #[command(
        subcommand,
        after_help = "`antiphon config COMMAND --help` shows examples."
    )]
    Config(config::ConfigCommand),
    /// Make and check tokens, secrets and keys
    Token(token::TokenArgs),
    /// Print the completions for a shell
    #[command(
        after_help = "Example:\n  antiphon completions bash > ~/.local/share/bash-completion/completions/antiphon"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write all of them into a directory
    #[command(
        after_help = "Examples:\n  antiphon man | man -l -\n  antiphon man /usr/local/share/man/man1"
    )]
    Man {
        /// Where to write antiphon.1, antiphon-serve.1, ...
        directory: Option<PathBuf>,
    },
}

impl Command {
    /// Whether control frames are to be seen on stderr.
    pub(crate) fn shows_control(&self) -> bool {
        matches!(self, Self::Connect(args) if args.show_control)
    }

    /// Does what was asked.
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Completions { shell } => {
                let mut text = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "antiphon", &mut text);
                print(&text)
            }
            Self::Man { directory: None } => {
                let mut text = Vec::new();
                clap_mangen::Man::new(Cli::command())
                    .render(&mut text)
                    .map_err(|error| output(&error))?;
                print(&text)
            }
            Self::Man {
                directory: Some(directory),
            } => clap_mangen::generate_to(Cli::command(), &directory)
                .map_err(|error| Failure::file(&directory, &error)),
            Self::Serve(args) => serve::run(&args),
            Self::Echo(args) => echo::run(&args),
            Self::Connect(args) => client::run(&args),
            Self::Bench(args) => load::run(&args),
            Self::Config(command) => configuration::run(&command),
            Self::Token(args) => tokens::run(&args),
        }
    }
}

/// Writes to stdout; a reader that hung up is no failure.
fn print(text: &[u8]) -> Result<(), Failure> {
    match io::Write::write_all(&mut io::stdout(), text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(output(&error)),
        _ => Ok(()),
    }
}

fn output(error: &io::Error) -> Failure {
    Failure::new(
        Exit::Failure,
        format!("cannot write to stdout: {}", plain(error)),
        "check where it goes",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }
}
