//! Options of the client, `connect`.

use std::time::Duration;

use clap::Args;

use crate::{
    cli::{
        compression::CompressionArgs,
        target::{HandshakeArgs, TlsArgs},
    },
    value,
};

const EXAMPLES: &str = "\
Examples:
  antiphon connect ws://127.0.0.1:8199/ws              talk; /help lists the commands
  antiphon connect wss://example.com/ws -H 'Authorization: Bearer TOKEN' --subprotocol chat
  echo hello | antiphon connect ws://127.0.0.1:8199/ws --once
  antiphon connect URL -x '{\"op\":\"list\"}' --wait 2 --json
  antiphon connect URL --wait forever < /dev/null      listen

In a pipe a line of stdin is a message, and a message is a line of stdout; a binary message is a line of \
hexadecimal (--raw writes the bytes, --json an object for each message: dir, type, data, ts).

Exit codes:
    0  closed with 1000, 1001 or no code
    1  failure
    2  usage
    3  connect, TLS or handshake refused
    4  timeout
    5  the connection ended without Close (1006)
    6  closed by the peer with another code
  130  Ctrl-C";

/// `antiphon connect`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ConnectArgs {
    /// Where to connect: ws://HOST[:PORT]/PATH or wss://HOST[:PORT]/PATH
    pub(crate) url: String,
    /// Send this text as the first message; repeatable
    #[arg(
        short = 'x',
        long = "execute",
        value_name = "TEXT",
        help_heading = "Messages"
    )]
    pub(crate) execute: Vec<String>,
    /// Send one message, receive one, close
    #[arg(long, help_heading = "Messages")]
    pub(crate) once: bool,
    /// Listen this long after the end of stdin, or 'forever'; otherwise until as many messages came as were sent, or
    /// until two seconds of silence
    #[arg(short, long, value_name = "TIME", value_parser = wait, help_heading = "Messages")]
    pub(crate) wait: Option<Wait>,
    /// Send stdin byte for byte as binary messages of up to 64 KiB; with --once as one
    #[arg(long, help_heading = "Messages")]
    pub(crate) binary: bool,
    /// Write messages as they are, without line ends
    #[arg(long, conflicts_with = "json", help_heading = "Messages")]
    pub(crate) raw: bool,
    /// In a pipe: an object a line for each message; on a terminal: indent messages that are JSON
    #[arg(long, help_heading = "Messages")]
    pub(crate) json: bool,
    /// Show pings, pongs and Close frames on stderr
    #[arg(long, help_heading = "Messages")]
    pub(crate) show_control: bool,
    #[command(flatten)]
    pub(crate) handshake: HandshakeArgs,
    /// Connect over HTTP/2 (RFC 8441)
    #[arg(long, help_heading = "Handshake")]
    pub(crate) http2: bool,
    /// Deadline of the opening handshake; with --once, of the reply as well
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = value::duration, help_heading = "Handshake")]
    pub(crate) timeout: Duration,
    /// Connect through this proxy: http://, https://, socks5:// or socks5h://[USER:PASSWORD@]HOST:PORT
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "no_proxy",
        help_heading = "Network and TLS"
    )]
    pub(crate) proxy: Option<String>,
    /// Use no proxy, whatever the environment says
    #[arg(long, help_heading = "Network and TLS")]
    pub(crate) no_proxy: bool,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    /// Longest message to receive, counted after inflating
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = value::positive_size, help_heading = "Bounds")]
    pub(crate) max_message_size: usize,
    /// Silence after which a ping is sent; 0 for never
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = value::duration, help_heading = "Bounds")]
    pub(crate) ping_interval: Duration,
    #[command(flatten)]
    pub(crate) compression: CompressionArgs,
}

/// How long to listen after the end of stdin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// This long.
    For(Duration),
    /// Until the server closes, or Ctrl-C.
    Forever,
}

fn wait(text: &str) -> Result<Wait, String> {
    if text == "forever" {
        Ok(Wait::Forever)
    } else {
        value::duration(text).map(Wait::For)
    }
}
