//! The peers: how each is built, started, and named with its version.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::bench::rows::{Deflate, LIMITS, Work};
use crate::context::Context;
use crate::process::{self, Running};
use crate::tools;

/// How long one build may take.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How long a server may take to listen.
const READY: Duration = Duration::from_secs(20);

/// The core of the server; the generator has the next one.
pub(super) const SERVER_CORE: &str = "0";

/// The command that echoes, on as many threads as it has cores.
pub(super) const ECHO: Peer = peer("antiphon-echo", Origin::Echo);

/// Where a program comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A program of `bench/rust`; its version is that of this crate.
    Rust(&'static str),
    /// The program of `bench/go`; its version is that of this module.
    Go(&'static str),
    /// A script of `bench/js` on Node, and the package that it is about.
    Node(&'static str),
    /// The same on Bun.
    Bun(&'static str),
    /// `antiphon serve`, with these options.
    Serve(&'static [&'static str]),
    /// `antiphon echo`.
    Echo,
    /// Debian's nats-server.
    Nats,
    /// Centrifugo, from the path or by `go install`.
    Centrifugo,
    /// `bench/centrifuge`, a server of the library that Centrifugo is built on.
    Centrifuge,
}

/// A peer, or one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// Its name in the tables and for `--peer`.
    pub(super) name: &'static str,
    /// Where it comes from.
    pub(super) origin: Origin,
}

/// Everything that can be measured.
pub(super) const PEERS: &[Peer] = &[
    peer("antiphon", Origin::Rust("antiphon")),
    peer("antiphon-each", Origin::Rust("antiphon")),
    peer("antiphon-axum", Origin::Rust("antiphon")),
    peer("antiphon-serve", Origin::Serve(&[])),
    peer(
        "antiphon-serve-deflate",
        Origin::Serve(&["--set", "websocket.compression=true"]),
    ),
    peer("raw-epoll", Origin::Rust("mio")),
    peer("raw-tokio", Origin::Rust("tokio")),
    peer("raw-fanout", Origin::Rust("mio")),
    peer("fastwebsockets", Origin::Rust("fastwebsockets")),
    peer("yawc", Origin::Rust("yawc")),
    peer("sockudo-ws", Origin::Rust("sockudo-ws")),
    peer("tokio-websockets", Origin::Rust("tokio-websockets")),
    peer("tokio-tungstenite", Origin::Rust("tokio-tungstenite")),
    peer("axum", Origin::Rust("axum")),
    peer("actix-ws", Origin::Rust("actix-ws")),
    peer("bun", Origin::Bun("bun")),
    peer("ws", Origin::Node("ws")),
    peer("gorilla", Origin::Go("github.com/gorilla/websocket")),
    peer("gws", Origin::Go("github.com/lxzan/gws")),
    peer("coder", Origin::Go("github.com/coder/websocket")),
    peer("nats", Origin::Nats),
    peer("centrifugo", Origin::Centrifugo),
    peer("centrifuge", Origin::Centrifuge),
];

const fn peer(name: &'static str, origin: Origin) -> Peer {
    Peer { name, origin }
}

/// The peer of this name.
pub(super) fn named(name: &str) -> Option<&'static Peer> {
    PEERS.iter().find(|peer| peer.name == name)
}

/// What has been built, and what could not be.
pub(super) struct Shop {
    programs: PathBuf,
    scripts: PathBuf,
    configurations: PathBuf,
    go: PathBuf,
    centrifugo: PathBuf,
    centrifuge: PathBuf,
    certificate: PathBuf,
    /// The command: the generator, and `antiphon serve`.
    pub(super) antiphon: PathBuf,
    /// Peers that are left out, each with the reason.
    pub(super) missing: BTreeMap<&'static str, String>,
    /// Versions of what is measured.
    pub(super) versions: BTreeMap<&'static str, String>,
}

impl Shop {
    /// Builds what these peers need, and the generator.
    ///
    /// A tool that is missing is an error that names it. Centrifugo and its library alone may be missing: not every mirror has
    /// them.
    pub(super) fn build(context: &Context, wanted: &BTreeSet<&'static str>) -> Result<Self> {
        let mut shop = Self {
            programs: context.target.join("bench/release"),
            scripts: context.root.join("bench/js"),
            configurations: context.root.join("bench/servers"),
            go: context.target.join("bench/go-peers"),
            centrifugo: PathBuf::from("centrifugo"),
            centrifuge: context.target.join("bench/centrifuge-peer"),
            certificate: context.target.join("bench/certificate.pem"),
            antiphon: context.target.join("release/antiphon"),
            missing: BTreeMap::new(),
            versions: BTreeMap::new(),
        };
        let peers: Vec<&Peer> = PEERS
            .iter()
            .filter(|peer| wanted.contains(peer.name))
            .collect();
        let any = |wanted: fn(&Origin) -> bool| peers.iter().any(|peer| wanted(&peer.origin));
        needs(&["cargo", "taskset", "openssl"])?;
        say("building the generator");
        cargo(context, &["--locked", "-p", "antiphon-server"])?;
        if any(|origin| matches!(origin, Origin::Rust(_))) {
            say("building the Rust peers");
            let place = context.target.join("bench").display().to_string();
            let manifest = "bench/rust/Cargo.toml";
            cargo(
                context,
                &[
                    "--bins",
                    "--manifest-path",
                    manifest,
                    "--target-dir",
                    &place,
                ],
            )?;
        }
        if any(|origin| matches!(origin, Origin::Go(_))) {
            say("building the Go peers");
            needs(&["go"])?;
            let mut build = Command::new("go");
            build.args(["build", "-o"]).arg(&shop.go).arg(".");
            process::must(
                context,
                PATIENCE,
                build.current_dir(context.root.join("bench/go")),
            )?;
        }
        if any(|origin| matches!(origin, Origin::Node(_) | Origin::Bun(_))) {
            say("installing the npm peers");
            needs(&["node", "npm"])?;
            tools::npm(context, "bench/js")?;
        }
        if any(|origin| matches!(origin, Origin::Nats)) {
            tools::debian(context, "nats-server", "nats-server")?;
        }
        if any(|origin| matches!(origin, Origin::Centrifugo)) {
            shop.centrifugo(context);
        }
        if any(|origin| matches!(origin, Origin::Centrifuge)) {
            shop.centrifuge(context);
        }
        shop.certificate(context)?;
        for peer in peers {
            if let Ok(version) = shop.version(context, peer) {
                shop.versions.insert(peer.name, version);
            }
        }
        Ok(shop)
    }

    /// Finds Centrifugo, or builds it; without it the rows go on.
    fn centrifugo(&mut self, context: &Context) {
        if process::exists("centrifugo") {
            return;
        }
        let folder = context.target.join("bench/go");
        self.centrifugo = folder.join("centrifugo");
        if self.centrifugo.is_file() {
            return;
        }
        say("building Centrifugo, which takes minutes");
        let mut install = Command::new("go");
        install
            .args(["install", "github.com/centrifugal/centrifugo/v6@latest"])
            .env("GOBIN", &folder);
        if process::must(context, PATIENCE, &mut install).is_err() {
            let reason = "neither on the path nor to be had as a Go module from here";
            self.missing.insert("centrifugo", reason.to_owned());
        }
    }

    /// Builds the server of Centrifugo's library; without it the rows go on.
    fn centrifuge(&mut self, context: &Context) {
        say("building the server of Centrifugo's library");
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&self.centrifuge).arg(".");
        build.current_dir(context.root.join("bench/centrifuge"));
        if process::must(context, PATIENCE, &mut build).is_err() {
            let reason = "not to be had as a Go module from here";
            self.missing.insert("centrifuge", reason.to_owned());
        }
    }

    /// A certificate for the handshakes over TLS.
    fn certificate(&self, context: &Context) -> Result<()> {
        if self.certificate.is_file() {
            return Ok(());
        }
        let mut make = Command::new("openssl");
        make.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args([
            "-days",
            "3650",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ])
        .arg("-out")
        .arg(&self.certificate)
        .arg("-keyout")
        .arg(self.certificate.with_extension("key"));
        process::must(context, PATIENCE, &mut make).map(drop)
    }

    /// Starts a peer on these cores, ready for this work.
    pub(super) fn start(
        &self,
        context: &Context,
        peer: &Peer,
        work: Work,
        cores: &str,
    ) -> Result<Server> {
        let tls = work == Work::Handshake { tls: true };
        let mut words: Vec<String> = Vec::new();
        let broadcast = matches!(work, Work::Fanout { .. });
        let deflate = match work {
            Work::Echo { deflate, .. }
            | Work::Fanout { deflate, .. }
            | Work::Idle { deflate, .. } => deflate,
            Work::Handshake { .. } => Deflate::Off,
        };
        let mut variables = Vec::new();
        let mut quiet = None;
        match peer.origin {
            Origin::Rust(_) => words.push(text(&self.programs.join(peer.name))),
            Origin::Go(_) => {
                words.extend([text(&self.go), peer.name.to_owned()]);
                variables.push(("GOMAXPROCS", "1".to_owned()));
            }
            Origin::Node(_) => {
                words.extend(["node".to_owned(), text(&self.scripts.join("ws.mjs"))])
            }
            Origin::Bun(_) => words.extend([
                text(&bun(&self.scripts)?),
                text(&self.scripts.join("bun.mjs")),
            ]),
            Origin::Serve(more) => {
                let file = text(&self.configurations.join("antiphon.toml"));
                words.extend([
                    text(&self.antiphon),
                    "serve".to_owned(),
                    "--config".to_owned(),
                    file,
                ]);
                words.extend(more.iter().map(|&word| word.to_owned()));
            }
            Origin::Echo => {
                words.push(text(&self.antiphon));
                let options = "echo --listen 127.0.0.1:0 --compression --compression-min-size 0";
                words.extend(options.split(' ').map(str::to_owned));
            }
            Origin::Nats => {
                let port = free_port()?;
                let file = text(&self.configurations.join("nats.conf"));
                words.extend(["nats-server".to_owned(), "--config".to_owned(), file]);
                variables.push(("BENCH_PORT", port.to_string()));
                variables.push(("BENCH_TCP", free_port()?.to_string()));
                quiet = Some((port, "/"));
            }
            Origin::Centrifuge => {
                words.push(text(&self.centrifuge));
                variables.push(("GOMAXPROCS", "1".to_owned()));
            }
            Origin::Centrifugo => {
                let port = free_port()?;
                let file = text(&self.configurations.join("centrifugo.json"));
                words.extend([text(&self.centrifugo), "--config".to_owned(), file]);
                variables.push(("CENTRIFUGO_HTTP_SERVER_PORT", port.to_string()));
                variables.push(("CENTRIFUGO_HTTP_SERVER_ADDRESS", "127.0.0.1".to_owned()));
                quiet = Some((port, "/connection/websocket"));
            }
        }
        if matches!(
            peer.origin,
            Origin::Rust(_) | Origin::Go(_) | Origin::Node(_) | Origin::Bun(_)
        ) {
            if broadcast {
                words.extend(["--mode", "broadcast"].map(str::to_owned));
            }
            if deflate != Deflate::Off && !LIMITS.contains(&peer.name) {
                words.extend(["--deflate", deflate.word()].map(str::to_owned));
            }
            if tls {
                words.extend(["--cert".to_owned(), text(&self.certificate)]);
                words.extend([
                    "--key".to_owned(),
                    text(&self.certificate.with_extension("key")),
                ]);
            }
        }
        let mut command = pinned(cores, &words);
        command.envs(variables);
        let (running, url) = match quiet {
            Some((port, path)) => {
                let running = Running::listening(context, peer.name, READY, port, &mut command)?;
                (running, format!("ws://127.0.0.1:{port}{path}"))
            }
            None => {
                let running = Running::start(context, peer.name, READY, &mut command)?;
                let url = running.url()?.to_owned();
                (running, url)
            }
        };
        Ok(Server { running, url })
    }

    /// The version of a peer as its lock file or the program itself tells it.
    fn version(&self, context: &Context, peer: &Peer) -> Result<String> {
        let read = |file: &str| fs::read_to_string(context.root.join(file));
        match peer.origin {
            Origin::Rust(package) => {
                locked(&read("bench/rust/Cargo.lock")?, package).map(|version| {
                    // The limits are no crates; what they stand on is named.
                    if LIMITS.contains(&peer.name) {
                        format!("({package} {version})")
                    } else {
                        version
                    }
                })
            }
            Origin::Go(module) => required(&read("bench/go/go.mod")?, module),
            Origin::Node(package) | Origin::Bun(package) => {
                let lock: serde_json::Value =
                    serde_json::from_str(&read("bench/js/package-lock.json")?)?;
                lock["packages"][format!("node_modules/{package}")]["version"]
                    .as_str()
                    .map(str::to_owned)
            }
            Origin::Serve(_) | Origin::Echo => locked(&read("Cargo.lock")?, "antiphon-server"),
            Origin::Nats => answer("nats-server", "--version"),
            Origin::Centrifuge => required(
                &read("bench/centrifuge/go.mod")?,
                "github.com/centrifugal/centrifuge",
            ),
            Origin::Centrifugo => answer(&text(&self.centrifugo), "version"),
        }
        .with_context(|| format!("the version of {} is not known", peer.name))
    }
}

/// A peer that runs.
pub(super) struct Server {
    running: Running,
    /// Where it listens.
    pub(super) url: String,
}

impl Server {
    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.running.id()
    }
}

/// A command that runs on these cores alone, and may open as many files as the system lets it.
pub(super) fn pinned(cores: &str, words: &[String]) -> Command {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "ulimit -n \"$(ulimit -Hn)\"; exec taskset -c \"$0\" \"$@\"",
            cores,
        ])
        .args(words);
    command
}

/// The version in what a program answers to this question.
pub(super) fn answer(program: &str, question: &str) -> Option<String> {
    let output = Command::new(program).arg(question).output().ok()?;
    numbered(&String::from_utf8_lossy(&output.stdout))
}

/// The first word that is a version: digits and points, perhaps behind letters.
fn numbered(text: &str) -> Option<String> {
    text.split_whitespace()
        .map(|word| {
            word.trim_start_matches(char::is_alphabetic)
                .trim_end_matches(',')
        })
        .find(|word| word.contains('.') && word.starts_with(|first: char| first.is_ascii_digit()))
        .map(str::to_owned)
}

fn needs(programs: &[&str]) -> Result<()> {
    for program in programs {
        if !process::exists(program) {
            bail!(
                "{program} is missing: install it, or name with --peer what can be measured without it"
            );
        }
    }
    Ok(())
}

fn cargo(context: &Context, what: &[&str]) -> Result<()> {
    let mut build = Command::new("cargo");
    build
        .args(["build", "--quiet", "--release"])
        .args(what)
        .current_dir(&context.root);
    process::must(context, PATIENCE, &mut build).map(drop)
}

/// npm brings Bun's program in a package for each platform.
fn bun(scripts: &Path) -> Result<PathBuf> {
    let vendor = scripts.join("node_modules/@oven");
    fs::read_dir(&vendor)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin/bun")))
        .find(|program| program.is_file())
        .ok_or_else(|| anyhow!("npm has installed no program for Bun: this platform may have none"))
}

/// The version of a package in a Cargo.lock; of several the newest, which is the last.
fn locked(lock: &str, package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let lines = lock.lines().zip(lock.lines().skip(1));
    let versions = lines
        .filter(|(line, _)| *line == name)
        .map(|(_, next)| next);
    let version = versions
        .last()?
        .strip_prefix("version = \"")?
        .strip_suffix('"')?;
    Some(version.to_owned())
}

/// The version of a module in a go.mod.
fn required(file: &str, module: &str) -> Option<String> {
    file.lines()
        .find_map(|line| {
            line.trim()
                .strip_prefix("require ")
                .unwrap_or(line.trim())
                .strip_prefix(module)
        })
        .map(|version| version.trim().trim_start_matches('v').to_owned())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What goes on, for whoever waits.
pub(super) fn say(line: &str) {
    eprintln!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_lock_files() {
        let lock = "[[package]]\nname = \"axum\"\nversion = \"0.7.9\"\n\n[[package]]\nname = \"axum\"\nversion = \"0.8.9\"\n\n[[package]]\nname = \"axum-core\"\nversion = \"0.5.0\"\n";
        assert_eq!(locked(lock, "axum").as_deref(), Some("0.8.9"));
        assert_eq!(locked(lock, "yawc"), None);
        let module = "module bench\n\nrequire (\n\tgithub.com/lxzan/gws v1.9.1\n)\n";
        assert_eq!(
            required(module, "github.com/lxzan/gws").as_deref(),
            Some("1.9.1")
        );
        assert_eq!(required(module, "github.com/coder/websocket"), None);
        for (said, expected) in [
            ("go version go1.26.8 linux/amd64", Some("1.26.8")),
            ("rustc 1.95.0 (abc 2026-10-01)", Some("1.95.0")),
            ("nats-server: v2.9.10\n", Some("2.9.10")),
            ("command not found", None),
        ] {
            assert_eq!(numbered(said).as_deref(), expected, "{said}");
        }
    }

    #[test]
    fn every_rust_peer_has_a_program() {
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/rust/src/bin");
        for peer in PEERS
            .iter()
            .filter(|peer| matches!(peer.origin, Origin::Rust(_)))
        {
            assert!(
                programs.join(format!("{}.rs", peer.name)).is_file(),
                "{}",
                peer.name
            );
        }
    }
}
