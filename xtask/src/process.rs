//! Child processes: each in its own group, logged, bounded in time, and ended by its id.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::context::Context;

/// How long a server may take to end after SIGTERM.
const STOP: Duration = Duration::from_secs(10);

/// Runs a command to its end, its output in the step's log. Returns whether it succeeded, and the output.
pub(crate) fn run(
    context: &Context,
    limit: Duration,
    command: &mut Command,
) -> Result<(bool, String)> {
    context.write(&format!("$ {}", shown(command)));
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&context.log)?;
    let before = log.metadata()?.len();
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let good = match wait(&mut child, limit)? {
        Some(good) => good,
        None => {
            signal("KILL", &child);
            child.wait()?;
            context.write(&format!("ended: it ran longer than {} s", limit.as_secs()));
            false
        }
    };
    let bytes = fs::read(&context.log)?;
    let start = usize::try_from(before).unwrap_or(0).min(bytes.len());
    Ok((good, String::from_utf8_lossy(&bytes[start..]).into_owned()))
}

/// Like [`run`], but a command that fails is an error.
pub(crate) fn must(context: &Context, limit: Duration, command: &mut Command) -> Result<String> {
    let (good, output) = run(context, limit, command)?;
    if !good {
        bail!("{} failed", shown(command));
    }
    Ok(output)
}

/// A server that runs beside a check. Dropping it ends its process group.
pub(crate) struct Running {
    child: Child,
    /// The first line of its standard output.
    pub(crate) first_line: String,
}

impl Running {
    /// Starts a server and waits so long for the first line on its standard output.
    pub(crate) fn start(
        context: &Context,
        name: &str,
        ready: Duration,
        command: &mut Command,
    ) -> Result<Self> {
        context.write(&format!("$ {} &", shown(command)));
        let errors = File::create(context.log.with_extension(format!("{name}.stderr")))?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .process_group(0);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", shown(command)))?;
        let output = child
            .stdout
            .take()
            .context("the server has no standard output")?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output)
                .lines()
                .map_while(std::result::Result::ok)
            {
                // Nobody listens after the first line; the pipe is drained so that the server never blocks on it.
                let _ = sender.send(line);
            }
        });
        let mut running = Self {
            child,
            first_line: String::new(),
        };
        running.first_line = receiver
            .recv_timeout(ready)
            .with_context(|| format!("{name} did not say where it listens"))?;
        context.write(&running.first_line);
        Ok(running)
    }

    /// Starts a server that says nothing on its standard output, and waits so long until it accepts on this port.
    pub(crate) fn listening(
        context: &Context,
        name: &str,
        ready: Duration,
        port: u16,
        command: &mut Command,
    ) -> Result<Self> {
        context.write(&format!("$ {} &", shown(command)));
        let errors = File::create(context.log.with_extension(format!("{name}.stderr")))?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", shown(command)))?;
        let mut running = Self {
            child,
            first_line: String::new(),
        };
        let end = Instant::now() + ready;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() >= end || running.child.try_wait()?.is_some() {
                bail!("{name} does not listen on port {port}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(running)
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The URL in the first line: `listening on ws://127.0.0.1:PORT/`.
    pub(crate) fn url(&self) -> Result<&str> {
        self.first_line
            .strip_prefix("listening on ")
            .context("the first line is not `listening on URL`")
    }

    /// Asks the server to end with SIGTERM; says whether it did so in time and with exit code 0.
    pub(crate) fn stop(mut self) -> Result<bool> {
        signal("TERM", &self.child);
        Ok(wait(&mut self.child, STOP)? == Some(true))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal("KILL", &self.child);
            // It has been killed: there is nothing left to learn from its status.
            let _ = self.child.wait();
        }
    }
}

/// Is there such a program?
pub(crate) fn exists(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).is_file())
    })
}

fn wait(child: &mut Child, limit: Duration) -> Result<Option<bool>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Signals the process group of a child that we started, by its id.
fn signal(name: &str, child: &Child) {
    // A process that has just ended by itself makes `kill` fail, and that is fine.
    let _ = Command::new("kill")
        .arg(format!("-{name}"))
        .arg("--")
        .arg(format!("-{}", child.id()))
        .stderr(Stdio::null())
        .status();
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
