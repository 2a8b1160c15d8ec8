//! A conversation through a pipe, and what its end means for the exit code.

use std::{
    io::{self, IsTerminal as _},
    sync::{Mutex, PoisonError},
};

use antiphon::{CloseCode, CloseFrame, Error, ErrorKind, Message, Sender, WebSocket};
use tokio::{
    signal,
    time::{Duration, Instant, sleep_until, timeout},
};

use crate::{
    cli::connect::{ConnectArgs, Wait},
    connect::{
        input::{Count, Source},
        output::{Direction, PipeFormat},
    },
    failure::{Exit, Failure, plain},
};

/// Silence after the end of stdin that ends the conversation, where fewer messages came back than were sent.
const SILENCE: Duration = Duration::from_secs(2);

/// Sends stdin, writes what comes, and closes after the end of both.
///
/// # Errors
///
/// See [`Exit`].
pub(crate) async fn pipe(args: &ConnectArgs, socket: WebSocket) -> Result<(), Failure> {
    let format = match (args.raw, args.json) {
        (true, _) => PipeFormat::Raw,
        (_, true) => PipeFormat::Json,
        _ => PipeFormat::Lines,
    };
    // Texts on the command line replace a terminal's stdin: nobody would know that it is waited for.
    let reads = args.execute.is_empty() || !io::stdin().is_terminal();
    let source = Source::new(args, reads.then(tokio::io::stdin));
    let (sender, mut receiver) = socket.split();
    let sent = Count::default();
    let mut received = 0_u64;
    // Both directions write objects; neither holds the lock over an await.
    let gone = Mutex::new(None);
    let write = |direction, message: &Message| {
        if let Err(error) = format.message(&mut io::stdout().lock(), direction, message) {
            *gone.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    };
    let sending = source.send_all(&sender, &sent, async |message| {
        write(Direction::Out, message)
    });
    tokio::pin!(sending);
    // One listener for the whole conversation: none of its signals can fall between two turns.
    let interrupt = signal::ctrl_c();
    tokio::pin!(interrupt);
    let mut input_ended = false;
    let mut deadline = args.once.then(|| Instant::now() + args.timeout);
    loop {
        let failed = gone.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(error) = failed {
            let _ = sender.close(CloseCode::NORMAL, "").await;
            return unwritable(&error);
        }
        tokio::select! {
            biased;
            _ = &mut interrupt => {
                let _ = sender.close(CloseCode::NORMAL, "").await;
                return Err(Failure::silent(Exit::Interrupted));
            }
            message = receiver.recv() => match message {
                Ok(Some(message)) => {
                    received += 1;
                    write(Direction::In, &message);
                    if args.once || (input_ended && args.wait.is_none() && received >= sent.get()) {
                        return finish(&sender, args, format).await;
                    }
                    if input_ended && args.wait.is_none() {
                        deadline = Some(Instant::now() + SILENCE);
                    }
                }
                Ok(None) => return ended(sender.close_frame(), format),
                Err(error) => return broken(error, &sender, format),
            },
            result = &mut sending, if !input_ended => {
                input_ended = true;
                if let Err(failure) = result {
                    let _ = sender.close(CloseCode::NORMAL, "").await;
                    return Err(failure);
                }
                if !args.once {
                    match args.wait {
                        Some(Wait::Forever) => deadline = None,
                        Some(Wait::For(time)) => deadline = Some(Instant::now() + time),
                        None if received >= sent.get() => return finish(&sender, args, format).await,
                        None => deadline = Some(Instant::now() + SILENCE),
                    }
                }
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                if args.once {
                    let _ = sender.close(CloseCode::NORMAL, "").await;
                    let what = format!("no message came within {:?}", args.timeout);
                    return Err(Failure::new(Exit::Timeout, what, "allow more time with --timeout"));
                }
                return finish(&sender, args, format).await;
            }
        }
    }
}

/// Closes with 1000 because all is done. The server may close with a code of its own at the same moment.
async fn finish(sender: &Sender, args: &ConnectArgs, format: PipeFormat) -> Result<(), Failure> {
    // The library bounds the wait for the answer; this bound holds even if the transport is stuck.
    match timeout(args.timeout, sender.close(CloseCode::NORMAL, "")).await {
        Ok(Ok(Some(frame))) => ended(Some(frame), format),
        _ => Ok(()),
    }
}

/// The exit for a connection that the peer closed.
fn ended(frame: Option<CloseFrame>, format: PipeFormat) -> Result<(), Failure> {
    let frame = frame.unwrap_or_else(|| CloseFrame::new(CloseCode::NO_STATUS, ""));
    let _ = format.close(&mut io::stdout().lock(), &frame);
    judge(&frame)
}

/// Which close codes are failures.
pub(crate) fn judge(frame: &CloseFrame) -> Result<(), Failure> {
    match frame.code {
        CloseCode::NORMAL | CloseCode::GOING_AWAY | CloseCode::NO_STATUS => Ok(()),
        _ => Err(Failure::new(
            Exit::Closed,
            format!("the server closed the connection: {frame}"),
            "its code and reason say why",
        )),
    }
}

/// The exit for a connection that broke.
fn broken(error: Error, sender: &Sender, format: PipeFormat) -> Result<(), Failure> {
    match error.kind() {
        ErrorKind::Closed(frame) => ended(frame.clone().or_else(|| sender.close_frame()), format),
        _ => Err(error.into()),
    }
}

/// A reader that has gone, as `head` does, is no failure.
fn unwritable(error: &io::Error) -> Result<(), Failure> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Failure,
        format!("cannot write to stdout: {}", plain(error)),
        "check where it goes",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_become_exit_codes() {
        for (code, exit) in [
            (1000, Exit::Ok),
            (1001, Exit::Ok),
            (1005, Exit::Ok),
            (1002, Exit::Closed),
            (1008, Exit::Closed),
            (1011, Exit::Closed),
            (1012, Exit::Closed),
            (4000, Exit::Closed),
        ] {
            let judged = judge(&CloseFrame::new(code, ""))
                .map_or_else(|failure| failure.exit, |()| Exit::Ok);
            assert_eq!(judged, exit, "{code}");
        }
    }
}
