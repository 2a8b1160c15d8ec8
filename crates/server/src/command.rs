//! `serve --command`: a program for each connection; its lines are messages, in both directions.

use std::{io, sync::Arc, time::Duration};

use antiphon::{CloseCode, Receiver, Result, Sender, WebSocket};
use tokio::{
    io::{AsyncRead, AsyncWriteExt as _, BufReader},
    process::ChildStdin,
    sync::Semaphore,
    time::timeout,
};

use crate::{
    cli::server::{ServeArgs, Stderr},
    failure::{Exit, Failure, plain},
    lines::{Lines, MAX_LINE},
    process::{Process, Program},
    value,
};

/// Wait for a program to take a line of its input; then it is ended, since nobody could even close the connection.
const INPUT_STALL: Duration = Duration::from_secs(30);

/// What all connections share.
pub(crate) struct Commands {
    program: Program,
    stderr: Stderr,
    grace: Duration,
    max_processes: usize,
    free: Arc<Semaphore>,
}

/// Who asks for a program, as the program learns it.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    /// IP address and port.
    pub(crate) address: String,
    /// Path and query.
    pub(crate) uri: String,
}

impl Commands {
    /// Finds the program, so that a wrong name is known before anybody connects.
    ///
    /// # Errors
    ///
    /// There is no such program, or it must not be run.
    pub(crate) fn new(args: &ServeArgs) -> Result<Self, Failure> {
        let program = Program::find(&args.command).map_err(|error| {
            let name = args
                .command
                .first()
                .map(|name| name.display().to_string())
                .unwrap_or_default();
            let (why, hint) = match error.kind() {
                io::ErrorKind::NotFound => (
                    "there is no such program".to_owned(),
                    "check its name and PATH",
                ),
                io::ErrorKind::PermissionDenied => {
                    ("it is not an executable file".to_owned(), "name a program")
                }
                _ => (plain(&error), "check the program"),
            };
            Failure::new(Exit::Failure, format!("cannot run {name}: {why}"), hint)
        })?;
        Ok(Self {
            program,
            stderr: args.stderr,
            grace: args.grace,
            max_processes: args.max_processes,
            free: Arc::new(Semaphore::new(args.max_processes)),
        })
    }

    /// Runs a program for this connection, until one of them ends; then ends the other.
    pub(crate) async fn run(&self, socket: WebSocket, visitor: Visitor) -> Result<()> {
        let Ok(_place) = self.free.try_acquire() else {
            tracing::warn!(
                "all {} programs are running: a connection was turned away",
                self.max_processes
            );
            socket
                .close(CloseCode::TRY_AGAIN_LATER, "all programs are taken")
                .await?;
            return Ok(());
        };
        let variables = [
            ("WEBSOCKET_REMOTE_ADDR", visitor.address.clone()),
            (
                "WEBSOCKET_SUBPROTOCOL",
                socket.subprotocol().unwrap_or_default().to_owned(),
            ),
            ("REQUEST_URI", visitor.uri),
        ];
        let mut process = match self.program.start(&variables) {
            Ok(process) => process,
            Err(error) => {
                tracing::error!(
                    "cannot run {}: {}",
                    self.program.name().display(),
                    plain(&error)
                );
                socket
                    .close(CloseCode::INTERNAL_ERROR, "the program cannot be started")
                    .await?;
                return Ok(());
            }
        };
        tracing::debug!(address = visitor.address, "program started");
        let ended = self.talk(socket, &mut process).await;
        process.end(self.grace).await;
        tracing::debug!(address = visitor.address, "program ended");
        ended
    }

    async fn talk(&self, socket: WebSocket, process: &mut Process) -> Result<()> {
        let Some((stdin, stdout, stderr)) = process.pipes() else {
            return Ok(());
        };
        let (sender, mut receiver) = socket.split();
        let output = async {
            let log = async {
                match self.stderr {
                    Stderr::Merge => send_lines(stderr, &sender).await,
                    Stderr::Log => log_lines(stderr).await,
                }
            };
            let (lines, _) = tokio::join!(send_lines(stdout, &sender), log);
            lines
        };
        tokio::pin!(output);
        tokio::select! {
            // The input ends with this future, which the program notices.
            heard = pass_on(&mut receiver, stdin) => {
                if let Err(error) = heard? {
                    tracing::warn!("the program does not read its input: {}", plain(&error));
                    sender.close(CloseCode::INTERNAL_ERROR, "the program does not read its input").await?;
                }
                return Ok(());
            }
            sent = &mut output => sent?,
            status = process.wait() => {
                // What it wrote before its end is still in the pipes, unless a child of its own keeps them open.
                if let Ok(sent) = timeout(self.grace, output).await {
                    sent?;
                }
                return close(&sender, status).await;
            }
        }
        let status = timeout(self.grace, process.wait())
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        close(&sender, status).await
    }
}

async fn close(sender: &Sender, status: io::Result<std::process::ExitStatus>) -> Result<()> {
    let reason = status.map_or_else(
        |_| "the program closed its output".to_owned(),
        |status| format!("the program ended: {status}"),
    );
    sender.close(CloseCode::NORMAL, reason).await.map(drop)
}

/// Messages become lines. Ends with the connection (`Ok`), or where the program takes no more.
///
/// A program that has closed its input may still have something to say: then the connection is only listened to.
async fn pass_on(receiver: &mut Receiver, stdin: ChildStdin) -> Result<io::Result<()>> {
    let mut stdin = Some(stdin);
    while let Some(message) = receiver.recv().await? {
        let Some(pipe) = &mut stdin else { continue };
        let mut line = Vec::with_capacity(message.len() + 1);
        line.extend_from_slice(message.as_bytes());
        line.push(b'\n');
        match timeout(INPUT_STALL, pipe.write_all(&line)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => stdin = None,
            Err(_) => return Ok(Err(io::ErrorKind::TimedOut.into())),
        }
    }
    Ok(Ok(()))
}

/// Lines become messages, no faster than the client takes them.
async fn send_lines(pipe: impl AsyncRead + Unpin, sender: &Sender) -> Result<()> {
    let mut lines = Lines::new(BufReader::with_capacity(MAX_LINE, pipe));
    let mut told = false;
    while let Ok(Some(line)) = lines.next().await {
        if line.goes_on && !told {
            tracing::warn!(
                "a line of the program is longer than {}: it is sent in parts",
                value::bytes(MAX_LINE)
            );
            told = true;
        }
        sender.send(line.text).await?;
    }
    Ok(())
}

async fn log_lines(pipe: impl AsyncRead + Unpin) -> Result<()> {
    let mut lines = Lines::new(BufReader::new(pipe));
    while let Ok(Some(line)) = lines.next().await {
        tracing::info!("program: {}", value::printable(&line.text));
    }
    Ok(())
}
