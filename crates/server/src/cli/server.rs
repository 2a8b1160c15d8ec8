//! Options of the commands that listen: `serve` and `echo`.

use std::{ffi::OsString, net::IpAddr, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, ValueEnum};

use crate::{
    cli::{compression::CompressionArgs, config::SourceArgs},
    failure::{Exit, Failure},
    value,
};

const ECHO_EXAMPLES: &str = "\
Examples:
  antiphon echo                                        ws://127.0.0.1:8199/
  antiphon echo --listen 0.0.0.0:9001 --any-origin     for everybody: think first
  antiphon echo --compression --compression-min-size 0 --max-message-size 16MiB
  antiphon echo --tls-self-signed                      wss, with a certificate for an hour of tests

The first line on stdout is the address: listening on ws://127.0.0.1:8199/";

const SERVE_EXAMPLES: &str = "\
Examples:
  antiphon serve --dev                                 a chat at /chat, an echo at /
  antiphon serve --config antiphon.toml                the realtime server
  antiphon serve --dev --tls-self-signed               the same over https and wss
  antiphon serve --command bc -l                       a calculator for each connection
  antiphon serve --listen 9000 --command python3 -u bot.py
  antiphon serve --watch app.log                       a page that shows the file as it changes

With --command, everything behind it belongs to the program: put other options before it. Each connection gets \
a process of its own; a message is a line of its input, a line of its output is a message. No shell is involved.

The first line on stdout is the address: listening on ws://127.0.0.1:8199/";

/// Where to listen, and for whom.
#[derive(Debug, Args)]
pub(crate) struct ListenArgs {
    /// Address to listen on: HOST:PORT, or PORT of this machine alone; port 0 picks a free one
    /// [default: 127.0.0.1:8199]
    #[arg(long, value_name = "ADDR", env = "ANTIPHON_LISTEN", value_parser = value::listen)]
    pub(crate) listen: Option<String>,
    /// Certificate chain (PEM): https and wss
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        env = "ANTIPHON_TLS_CERT",
        help_heading = "TLS"
    )]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        env = "ANTIPHON_TLS_KEY",
        help_heading = "TLS"
    )]
    pub(crate) tls_key: Option<PathBuf>,
    /// Make a certificate for localhost, for development: it is kept in memory alone
    #[arg(long, conflicts_with_all = ["tls_cert", "tls_key"], help_heading = "TLS")]
    pub(crate) tls_self_signed: bool,
    /// A page of this origin may connect too, such as https://app.example; repeatable
    #[arg(
        long = "origin",
        value_name = "ORIGIN",
        conflicts_with = "any_origin",
        help_heading = "Who may connect"
    )]
    pub(crate) origins: Vec<String>,
    /// Pages of any origin may connect: every site that a user visits can then act in the user's name
    #[arg(long, help_heading = "Who may connect")]
    pub(crate) any_origin: bool,
    /// A subprotocol that the server speaks; repeatable, the preferred one first
    #[arg(
        long = "subprotocol",
        value_name = "NAME",
        help_heading = "Who may connect"
    )]
    pub(crate) subprotocols: Vec<String>,
    /// Most connections at a time; as many as the system allows by default
    #[arg(long, value_name = "COUNT", value_parser = at_least_one, help_heading = "Bounds")]
    pub(crate) max_connections: Option<usize>,
    /// Longest message, counted after inflating: 64KiB unless said otherwise. A size that is given also allows messages
    /// of many small fragments, and compressed ones that grow a hundredfold, up to that size
    #[arg(long, value_name = "SIZE", value_parser = value::positive_size, help_heading = "Bounds")]
    pub(crate) max_message_size: Option<usize>,
    /// Silence after which a ping is sent; 0 for never [default: 25s]
    #[arg(long, value_name = "TIME", value_parser = value::duration, help_heading = "Bounds")]
    pub(crate) ping_interval: Option<Duration>,
    /// Wait for connections to end after Ctrl-C or SIGTERM; a second signal ends it at once [default: 5s; with a
    /// configuration 30s]
    #[arg(long, value_name = "TIME", value_parser = value::duration, help_heading = "Bounds")]
    pub(crate) drain: Option<Duration>,
    #[command(flatten)]
    pub(crate) compression: CompressionArgs,
}

impl ListenArgs {
    /// The address.
    pub(crate) fn listen(&self) -> &str {
        self.listen.as_deref().unwrap_or("127.0.0.1:8199")
    }

    /// Silence after which a ping is sent.
    pub(crate) fn ping_interval(&self) -> Duration {
        self.ping_interval.unwrap_or(Duration::from_secs(25))
    }

    /// Wait for connections to end.
    pub(crate) fn drain(&self) -> Duration {
        self.drain.unwrap_or(Duration::from_secs(5))
    }

    /// Whether nobody outside of this machine can connect.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self
            .listen()
            .rsplit_once(':')
            .map_or(self.listen(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a number from 1".into()),
        Ok(count) => Ok(count),
    }
}

/// `antiphon echo`
#[derive(Debug, Args)]
#[command(after_help = ECHO_EXAMPLES)]
pub(crate) struct EchoArgs {
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
}

/// `antiphon serve`
#[derive(Debug, Args)]
#[command(after_help = SERVE_EXAMPLES, group(ArgGroup::new("what").args(["dev", "command", "watch"])))]
pub(crate) struct ServeArgs {
    /// Serve a demo without any configuration: an echo at /, a chat at /chat, the hub at /socket,
    /// and the admin page on the next port
    #[arg(long)]
    pub(crate) dev: bool,
    /// With --dev: no admin page
    #[arg(long, requires = "dev")]
    pub(crate) no_admin: bool,
    /// Run this program for each connection: messages are its lines
    #[arg(long, value_name = "PROGRAM", num_args = 1.., allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
    /// Show this file on a page, as it changes
    #[arg(long, value_name = "FILE")]
    pub(crate) watch: Option<PathBuf>,
    /// What the program writes to stderr
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = Stderr::Merge, help_heading = "Programs")]
    pub(crate) stderr: Stderr,
    /// Most programs at a time; beyond it a connection is closed with 1013
    #[arg(long, value_name = "COUNT", default_value_t = 32, value_parser = at_least_one, help_heading = "Programs")]
    pub(crate) max_processes: usize,
    /// Wait for a program to end by itself: after the end of its input, and again after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = value::duration, help_heading = "Programs")]
    pub(crate) grace: Duration,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
}

impl ServeArgs {
    /// Whether there is something to serve.
    ///
    /// # Errors
    ///
    /// Nothing was named; the failure explains what can be.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let configured = self.source.config.is_some() || !self.source.set.is_empty();
        if self.dev || configured || !self.command.is_empty() || self.watch.is_some() {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Usage,
            "nothing to serve",
            "try 'antiphon serve --dev' for a page, a chat and an echo; --config FILE for a realtime server ('antiphon config \
             init' writes one); --command PROGRAM or --watch FILE",
        ))
    }
}

/// Where lines of a program's stderr go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stderr {
    /// To the connection, between the lines of stdout
    Merge,
    /// To the log of the server
    Log,
}
