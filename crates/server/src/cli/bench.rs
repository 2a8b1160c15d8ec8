//! Options of `antiphon bench`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};

use crate::{
    cli::{
        compression::CompressionArgs,
        target::{HandshakeArgs, TlsArgs},
    },
    value,
};

const EXAMPLES: &str = "\
Examples:
  antiphon bench echo ws://127.0.0.1:8199/ --connections 100 --size 125
  antiphon bench fanout ws://127.0.0.1:8199/socket --preset antiphon --subscribers 1000
  antiphon bench churn ws://127.0.0.1:8199/ --duration 5s
  antiphon bench idle ws://127.0.0.1:8199/ --connections 10000 --pid PID
  antiphon bench ramp ws://127.0.0.1:8199/ --by rate --from 1000 --to 100000

Every answer is compared with what it has to be, byte for byte and in order. Exit code 0: all was right; 1: there were \
faults, counted by kind; 2: usage; 3: nothing answered at that address; 130: Ctrl-C, with a report of what was measured \
until then.";

const ECHO_EXAMPLES: &str = "\
Examples:
  antiphon bench echo ws://127.0.0.1:8199/                          100 connections, 125 bytes, one message in flight
  antiphon bench echo URL --depth 16                                16 in flight, 16 in one write
  antiphon bench echo URL --rate 50000                              a fixed rate; the time counts from when it was due
  antiphon bench echo URL --size 1KiB --payload json --compression
  antiphon bench echo URL --payload message.json                    a file; {seq} in it tells messages apart
  antiphon bench echo URL --server-pid PID --json                   messages for each second of the server's CPU
  antiphon bench echo ws://127.0.0.1:7000/ --raw                    a TCP echo: the limit of this machine
  antiphon bench echo URL --svg latency.svg";

const FANOUT_EXAMPLES: &str = "\
Examples:
  antiphon bench fanout ws://127.0.0.1:8199/socket --preset antiphon --subscribers 1000
  antiphon bench fanout ws://127.0.0.1:8000/connection/websocket --preset centrifugo --in-flight 16
  antiphon bench fanout ws://127.0.0.1:9222/ --preset nats
  antiphon bench fanout ws://127.0.0.1:8080/ --preset broadcast     whatever comes goes to everybody
  antiphon bench fanout URL --subscribe '{\"op\":\"sub\",\"to\":\"{channel}\"}' \\
      --publish '{\"op\":\"pub\",\"to\":\"{channel}\",\"text\":\"{payload}\"}'

In templates stand {connection}, {channel}, {seq}, {time} (microseconds since the start), {payload} and {length} (of the \
payload). What a server sends is searched for payloads; whatever stands around them does not matter.";

const CHURN_EXAMPLES: &str = "\
Examples:
  antiphon bench churn ws://127.0.0.1:8199/                         handshakes a second, 64 at a time
  antiphon bench churn ws://127.0.0.1:8199/ --no-close-handshake    hang up at once
  antiphon bench churn wss://localhost:8199/ --insecure             TLS, resumed from the second on
  antiphon bench churn wss://localhost:8199/ --insecure --no-resumption";

const IDLE_EXAMPLES: &str = "\
Examples:
  antiphon bench idle ws://127.0.0.1:8199/ --connections 10000 --pid PID
  antiphon bench idle ws://127.0.0.1:8199/ --pid PID --messages 1   one message each before it idles";

const RAMP_EXAMPLES: &str = "\
Examples:
  antiphon bench ramp ws://127.0.0.1:8199/                          connections 1, 2, 4, ... 1024
  antiphon bench ramp URL --by rate --from 1000 --to 200000 --until-p99 10ms
  antiphon bench ramp URL --by connections --from 100 --to 1000 --add 100";

/// `antiphon bench`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) command: BenchCommand,
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Send messages that the server sends back
    #[command(after_help = ECHO_EXAMPLES)]
    Echo(Box<EchoArgs>),
    /// Publish messages that the server sends to all subscribers
    #[command(after_help = FANOUT_EXAMPLES)]
    Fanout(Box<FanoutArgs>),
    /// Open and close connections
    #[command(after_help = CHURN_EXAMPLES)]
    Churn(Box<ChurnArgs>),
    /// Open connections and tell what memory each one costs the server
    #[command(after_help = IDLE_EXAMPLES)]
    Idle(Box<IdleArgs>),
    /// Echo with more and more connections, or at a higher and higher rate, until it is too much
    #[command(after_help = RAMP_EXAMPLES)]
    Ramp(Box<RampArgs>),
}

/// Where to, and what is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct CommonArgs {
    /// The server: ws://HOST[:PORT]/PATH or wss://HOST[:PORT]/PATH
    pub(crate) url: String,
    /// Most time to wait: for a handshake, for an answer, for the last answers
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_time)]
    pub(crate) timeout: Duration,
    /// The server's process: its CPU time and memory are read (Linux)
    #[arg(long, value_name = "PID", visible_alias = "pid", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) server_pid: Option<u32>,
    /// Run on this core alone (Linux)
    #[arg(long, value_name = "CORE")]
    pub(crate) pin: Option<usize>,
    /// Look for answers all the time instead of sleeping until one comes: on one machine it is the server that pays for
    /// waking a generator that sleeps. The generator's CPU share leaves out the time in which it found none
    #[arg(long)]
    pub(crate) busy_poll: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw the latencies into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) handshake: HandshakeArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

/// For how long.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct TimeArgs {
    /// Time that is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_time)]
    pub(crate) duration: Duration,
    /// Time before it that is not
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = value::duration)]
    pub(crate) warmup: Duration,
}

/// What a message is.
#[derive(Clone, Debug, Args)]
pub(crate) struct MessageArgs {
    /// Length of a message in bytes
    #[arg(long, value_name = "SIZE", default_value = "125", value_parser = message_size)]
    pub(crate) size: usize,
    /// What it consists of: text, json, random (binary), or a file
    #[arg(long, value_name = "text|json|random|FILE", default_value = "text")]
    pub(crate) payload: String,
    /// Send binary messages
    #[arg(long)]
    pub(crate) binary: bool,
    #[command(flatten)]
    pub(crate) compression: CompressionArgs,
}

/// `antiphon bench echo`
#[derive(Clone, Debug, Args)]
pub(crate) struct EchoArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Connections
    #[arg(short, long, value_name = "COUNT", default_value_t = 100, value_parser = count)]
    pub(crate) connections: usize,
    /// Messages in flight on a connection, sent in one write; with --rate the most in flight [default: 1; with --rate 1024]
    #[arg(short, long, value_name = "COUNT", value_parser = depth)]
    pub(crate) depth: Option<usize>,
    /// Messages a second, over all connections, whether or not the server keeps up [default: the next when the last is answered]
    #[arg(short, long, value_name = "COUNT", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// The server is a TCP echo: no handshake, the same frames without masks, perhaps compressed, come back. What nobody can be faster than
    #[arg(long, conflicts_with_all = ["headers", "subprotocols", "origin"])]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
}

/// Servers whose messages are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// Our realtime server, antiphon.v2.json
    Antiphon,
    /// Centrifugo, its JSON protocol
    Centrifugo,
    /// NATS over WebSocket
    Nats,
    /// Servers that send whatever comes to everybody
    Broadcast,
    /// socket.io 4, an event "message" that the server sends to everybody
    SocketIo,
}

/// `antiphon bench fanout`
#[derive(Clone, Debug, Args)]
pub(crate) struct FanoutArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Connections that receive
    #[arg(short = 'S', long, value_name = "COUNT", default_value_t = 1000, value_parser = count)]
    pub(crate) subscribers: usize,
    /// Connections that publish
    #[arg(short = 'P', long, value_name = "COUNT", default_value_t = 1, value_parser = count)]
    pub(crate) publishers: usize,
    /// Messages of a publisher that are not yet with all subscribers; with --rate the most [default: 1; with --rate 1024]
    #[arg(short, long, value_name = "COUNT", value_parser = depth)]
    pub(crate) in_flight: Option<usize>,
    /// Messages published a second, over all publishers, whether or not the server keeps up
    #[arg(short, long, value_name = "COUNT", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// How to talk to the server
    #[arg(short, long, value_enum, default_value_t = Preset::Broadcast)]
    pub(crate) preset: Preset,
    /// What stands for {channel}
    #[arg(long, value_name = "NAME", default_value = "bench")]
    pub(crate) channel: String,
    /// What each connection sends first, instead of the preset's; repeatable, '' for nothing
    #[arg(long, value_name = "TEXT")]
    pub(crate) hello: Vec<String>,
    /// What each subscriber sends, instead of the preset's; repeatable, '' for nothing
    #[arg(long, value_name = "TEXT")]
    pub(crate) subscribe: Vec<String>,
    /// What a publisher sends for each message, instead of the preset's
    #[arg(long, value_name = "TEXT")]
    pub(crate) publish: Option<String>,
    /// Send binary messages
    #[arg(long)]
    pub(crate) binary: bool,
    /// Length of a payload in bytes, at least 32
    #[arg(long, value_name = "SIZE", default_value = "125", value_parser = fanout_size)]
    pub(crate) size: usize,
    #[command(flatten)]
    pub(crate) compression: CompressionArgs,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
}

/// `antiphon bench churn`
#[derive(Clone, Debug, Args)]
pub(crate) struct ChurnArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Connections being opened or closed at a time
    #[arg(short, long, value_name = "COUNT", default_value_t = 64, value_parser = count)]
    pub(crate) connections: usize,
    /// Hang up as soon as a connection is open, without a closing handshake
    #[arg(long)]
    pub(crate) no_close_handshake: bool,
    /// A full TLS handshake for each connection
    #[arg(long)]
    pub(crate) no_resumption: bool,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
}

/// `antiphon bench idle`
#[derive(Clone, Debug, Args)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Connections
    #[arg(short, long, value_name = "COUNT", default_value_t = 1000, value_parser = count)]
    pub(crate) connections: usize,
    /// Messages that are echoed on each connection before it idles
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) messages: u64,
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    /// Time to idle before the memory is read
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = value::duration)]
    pub(crate) duration: Duration,
}

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Growth {
    /// The connections
    Connections,
    /// The messages a second
    Rate,
}

/// `antiphon bench ramp`
#[derive(Clone, Debug, Args)]
pub(crate) struct RampArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// What grows from step to step
    #[arg(long, value_enum, default_value_t = Growth::Connections)]
    pub(crate) by: Growth,
    /// The first step [default: 1 connection, 1,000 messages a second]
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub(crate) from: Option<usize>,
    /// The last step [default: 1,024 connections, 1,000,000 messages a second]
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub(crate) to: Option<usize>,
    /// Each step is so many times the one before
    #[arg(long, value_name = "FACTOR", default_value_t = 2.0, value_parser = factor, conflicts_with = "add")]
    pub(crate) factor: f64,
    /// Each step is so many more than the one before
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub(crate) add: Option<usize>,
    /// End where the 99th percentile of the latency is longer than this
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = positive_time)]
    pub(crate) until_p99: Duration,
    /// End where there are more faults than this
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) until_errors: u64,
    /// Connections, where the rate grows
    #[arg(short, long, value_name = "COUNT", default_value_t = 100, value_parser = count)]
    pub(crate) connections: usize,
    /// Messages in flight on a connection, where the connections grow
    #[arg(short, long, value_name = "COUNT", default_value_t = 1, value_parser = depth)]
    pub(crate) depth: usize,
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    /// Time that each step is measured
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = positive_time)]
    pub(crate) duration: Duration,
    /// Time before it that is not
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = value::duration)]
    pub(crate) warmup: Duration,
}

/// Most connections of one run.
const MAX_CONNECTIONS: usize = 1_000_000;
/// Most messages in flight on one connection.
const MAX_DEPTH: usize = 65_536;
/// Longest message.
const MAX_SIZE: usize = 64 << 20;

fn count(text: &str) -> Result<usize, String> {
    between(text, MAX_CONNECTIONS)
}

fn depth(text: &str) -> Result<usize, String> {
    between(text, MAX_DEPTH)
}

fn between(text: &str, most: usize) -> Result<usize, String> {
    match text.replace('_', "").parse() {
        Ok(count) if (1..=most).contains(&count) => Ok(count),
        _ => Err(format!("write a number from 1 to {most}")),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.replace('_', "").parse::<f64>() {
        Ok(rate) if rate.is_finite() && (0.001..=1e9).contains(&rate) => Ok(rate),
        _ => Err("write a number of messages a second, such as 50000".into()),
    }
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && (1.01..=1000.0).contains(&factor) => Ok(factor),
        _ => Err("write a number from 1.01".into()),
    }
}

fn positive_time(text: &str) -> Result<Duration, String> {
    match value::duration(text)? {
        Duration::ZERO => Err("must be more than 0".into()),
        time => Ok(time),
    }
}

fn message_size(text: &str) -> Result<usize, String> {
    match value::size(text)? {
        size if size <= MAX_SIZE => Ok(size),
        _ => Err("more than 64MiB".into()),
    }
}

fn fanout_size(text: &str) -> Result<usize, String> {
    match message_size(text)? {
        0..32 => Err("less than 32 bytes: the mark that finds it would not fit".into()),
        size => Ok(size),
    }
}
