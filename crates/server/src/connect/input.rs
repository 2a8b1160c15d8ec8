//! What is sent: the texts of the command line first, then stdin, a line a message.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use antiphon::{Message, Sender, Utf8Bytes};
use bytes::Bytes;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

use crate::{
    cli::connect::ConnectArgs,
    failure::{Exit, Failure, plain},
};

/// Longest line of stdin, and with `--binary --once` the longest message, in bytes.
const MAX_LINE: usize = 16 * 1024 * 1024;
/// Longest message of `--binary`, in bytes.
const CHUNK: usize = 64 * 1024;

/// Where messages come from, and how many were sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<AtomicU64>);

impl Count {
    /// Messages sent so far.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more.
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The messages of a pipe, in order.
pub(crate) struct Source<R> {
    execute: std::vec::IntoIter<String>,
    stdin: Option<BufReader<R>>,
    binary: bool,
    once: bool,
    done: bool,
}

impl<R: AsyncRead + Unpin> Source<R> {
    /// Takes texts from the arguments, then reads `stdin`, if there is one.
    pub(crate) fn new(args: &ConnectArgs, stdin: Option<R>) -> Self {
        Self {
            execute: args.execute.clone().into_iter(),
            stdin: stdin.map(|stdin| BufReader::with_capacity(CHUNK, stdin)),
            binary: args.binary,
            once: args.once,
            done: false,
        }
    }

    /// The next message; `None` at the end of stdin.
    ///
    /// # Errors
    ///
    /// Stdin cannot be read, a line is too long or, as a text, no UTF-8.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, Failure> {
        if self.once && self.done {
            return Ok(None);
        }
        self.done = true;
        if let Some(text) = self.execute.next() {
            return Ok(Some(Message::from(text)));
        }
        let Some(stdin) = &mut self.stdin else {
            return Ok(None);
        };
        let message = match (self.binary, self.once) {
            (true, true) => whole(stdin).await?,
            (true, false) => chunk(stdin).await.map_err(|error| unreadable(&error))?,
            (false, _) => match line(stdin).await? {
                Some(line) => Some(Message::Text(
                    Utf8Bytes::try_from(Bytes::from(line)).map_err(|_| {
                        Failure::new(
                            Exit::Failure,
                            "a line of stdin is not UTF-8",
                            "send it with --binary",
                        )
                    })?,
                )),
                None => None,
            },
        };
        Ok(message)
    }

    /// Sends everything, with back-pressure from the socket; `sent` counts, `echo` learns of each message.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next). A socket that has closed is no error here: the reader of the socket knows why.
    pub(crate) async fn send_all(
        mut self,
        socket: &Sender,
        sent: &Count,
        mut echo: impl AsyncFnMut(&Message),
    ) -> Result<(), Failure> {
        while let Some(message) = self.next().await? {
            echo(&message).await;
            if socket.feed(message).await.is_err() {
                break;
            }
            sent.add();
            // Lines that are there already leave together.
            if self
                .stdin
                .as_ref()
                .is_none_or(|stdin| stdin.buffer().is_empty())
                && socket.flush().await.is_err()
            {
                break;
            }
        }
        let _ = socket.flush().await;
        Ok(())
    }
}

/// A line without its end. The last one may have none.
async fn line(stdin: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Vec<u8>>, Failure> {
    let mut line = Vec::new();
    let read = stdin
        .take(MAX_LINE as u64 + 2)
        .read_until(b'\n', &mut line)
        .await
        .map_err(|error| unreadable(&error))?;
    if read == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    if line.len() > MAX_LINE {
        return Err(too_long("a line of stdin"));
    }
    Ok(Some(line))
}

async fn chunk(stdin: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Message>> {
    let bytes = Bytes::copy_from_slice(stdin.fill_buf().await?);
    stdin.consume(bytes.len());
    Ok((!bytes.is_empty()).then_some(Message::Binary(bytes)))
}

async fn whole(stdin: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Message>, Failure> {
    let mut bytes = Vec::new();
    stdin
        .take(MAX_LINE as u64 + 1)
        .read_to_end(&mut bytes)
        .await
        .map_err(|error| unreadable(&error))?;
    if bytes.len() > MAX_LINE {
        return Err(too_long("stdin"));
    }
    Ok((!bytes.is_empty()).then_some(Message::from(bytes)))
}

fn too_long(what: &str) -> Failure {
    Failure::new(
        Exit::Failure,
        format!("{what} is longer than {} MiB", MAX_LINE >> 20),
        "send it in parts",
    )
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::new(
        Exit::Failure,
        format!("cannot read stdin: {}", plain(error)),
        "check where it comes from",
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    async fn messages(flags: &[&str], stdin: &[u8]) -> Result<Vec<Message>, String> {
        let mut line = vec!["antiphon", "connect", "ws://x/"];
        line.extend(flags);
        let Command::Connect(args) = Cli::try_parse_from(line).unwrap().command else {
            unreachable!()
        };
        let mut source = Source::new(&args, Some(stdin));
        let mut messages = Vec::new();
        while let Some(message) = source
            .next()
            .await
            .map_err(|failure| format!("{failure:?}"))?
        {
            messages.push(message);
        }
        Ok(messages)
    }

    #[tokio::test]
    async fn lines_become_messages() {
        let text = |text: &str| Message::from(text);
        for (flags, stdin, expected) in [
            (
                &[][..],
                &b"a\nb\r\n\nc"[..],
                vec![text("a"), text("b"), text(""), text("c")],
            ),
            (&[], b"", vec![]),
            (
                &["-x", "first", "-x", "second"],
                b"third\n",
                vec![text("first"), text("second"), text("third")],
            ),
            (&["--once"], b"a\nb\n", vec![text("a")]),
            (&["--once", "-x", "x"], b"a\n", vec![text("x")]),
            (
                &["--binary"],
                b"a\n\xff",
                vec![Message::from(&b"a\n\xff"[..])],
            ),
            (
                &["--binary", "--once"],
                b"a\nb",
                vec![Message::from(&b"a\nb"[..])],
            ),
            (&["--binary", "--once"], b"", vec![]),
        ] {
            assert_eq!(messages(flags, stdin).await.unwrap(), expected, "{flags:?}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_a_message_is_refused() {
        let long = vec![b'a'; MAX_LINE + 1];
        for (flags, stdin, reason) in [
            (&[][..], &b"\xff\n"[..], "not UTF-8"),
            (&[], &long, "longer than 16 MiB"),
            (&["--binary", "--once"], &long, "longer than 16 MiB"),
        ] {
            assert!(
                messages(flags, stdin).await.unwrap_err().contains(reason),
                "{flags:?}"
            );
        }
    }
}
