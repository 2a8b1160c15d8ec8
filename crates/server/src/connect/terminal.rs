//! A conversation at a terminal: line editing with history, messages above the prompt, slash commands.

use std::{env, fs, io, path::PathBuf, thread};

use antiphon::{CloseCode, ErrorKind, Message, Sender, WebSocket};
use rustyline::{DefaultEditor, ExternalPrinter, error::ReadlineError};
use tokio::sync::mpsc;

use crate::{
    cli::connect::ConnectArgs,
    connect::{output::TerminalFormat, session},
    failure::{Exit, Failure},
    value,
};

const HELP: &str = "\
/ping                  measure the round trip
/close [CODE [REASON]] close, with 1000 unless told otherwise, and leave
/binary HEX | @FILE    send bytes
/help                  this help
/quit                  close with 1000 and leave, as Ctrl-D
//text                 send a text that begins with a slash";

/// Lines typed and not yet sent; messages not yet taken by the server.
const QUEUE: usize = 64;
/// Lines that the history keeps.
const HISTORY: usize = 1_000;
/// Largest file that `/binary @FILE` sends, in bytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// Time for the last messages to appear before the terminal is given back.
const LAST_WORDS: tokio::time::Duration = tokio::time::Duration::from_millis(50);

/// Talks until the user or the server has enough.
///
/// # Errors
///
/// See [`Exit`].
pub(crate) async fn talk(args: &ConnectArgs, socket: WebSocket) -> Result<(), Failure> {
    let format = TerminalFormat {
        colour: !matches!(
            anstream::AutoStream::choice(&io::stdout()),
            anstream::ColorChoice::Never
        ),
        json: args.json,
    };
    let subprotocol = socket
        .subprotocol()
        .map(|name| format!(", subprotocol {name}"))
        .unwrap_or_default();
    print!(
        "{}",
        format.note(&format!(
            "Connected to {}{subprotocol}. /help lists the commands, Ctrl-D leaves.",
            args.url
        ))
    );
    // The thread that reads the keyboard may be left in the middle of a line.
    let terminal = SavedTerminal::save();
    let (mut printer, mut lines) = keyboard()?;
    let outcome = converse(args, socket, format, &mut lines, &mut *printer).await;
    tokio::time::sleep(LAST_WORDS).await;
    terminal.restore();
    outcome
}

async fn converse(
    args: &ConnectArgs,
    socket: WebSocket,
    format: TerminalFormat,
    lines: &mut mpsc::Receiver<Typed>,
    printer: &mut (dyn FnMut(String) + Send),
) -> Result<(), Failure> {
    let (sender, mut receiver) = socket.split();
    let (outbox, queued) = mpsc::channel(QUEUE);
    let (notes, mut remarks) = mpsc::channel::<String>(QUEUE);
    tokio::spawn(send_queued(sender.clone(), queued));
    loop {
        tokio::select! {
            message = receiver.recv() => match message {
                Ok(Some(message)) => printer(format.message(&message)),
                Ok(None) => {
                    let Some(frame) = sender.close_frame() else { return Ok(()) };
                    session::judge(&frame)?;
                    printer(format.note(&format!("Closed by the server: {frame}")));
                    return Ok(());
                }
                Err(error) if matches!(error.kind(), ErrorKind::Closed(None)) => return Ok(()),
                Err(error) => return Err(error.into()),
            },
            Some(remark) = remarks.recv() => printer(format.note(&remark)),
            typed = lines.recv() => match typed {
                Some(Typed::Line(line)) => match Action::parse(&line, args.binary) {
                    Action::Nothing => {}
                    Action::Send(message) => {
                        if outbox.try_send(message).is_err() {
                            printer(format.note("not sent: the server does not take what was sent before"));
                        }
                    }
                    Action::Ping => {
                        let (sender, notes) = (sender.clone(), notes.clone());
                        tokio::spawn(async move {
                            let remark = match sender.ping().await {
                                Ok(trip) => format!("pong after {:.1} ms", trip.as_secs_f64() * 1_000.0),
                                Err(error) => format!("no pong: {error}"),
                            };
                            let _ = notes.send(remark).await;
                        });
                    }
                    Action::Close(code, reason) => {
                        let answer = sender.close(code, reason).await?;
                        let answer = answer.map_or_else(|| "the server did not answer".to_owned(), |frame| frame.to_string());
                        printer(format.note(&format!("Closed: {answer}")));
                        return Ok(());
                    }
                    Action::Say(text) => printer(format.note(&text)),
                },
                Some(Typed::Interrupt) => {
                    let _ = sender.close(CloseCode::NORMAL, "").await;
                    return Err(Failure::silent(Exit::Interrupted));
                }
                None => {
                    let _ = sender.close(CloseCode::NORMAL, "").await;
                    return Ok(());
                }
            },
        }
    }
}

async fn send_queued(sender: Sender, mut queued: mpsc::Receiver<Message>) {
    while let Some(message) = queued.recv().await {
        if sender.send(message).await.is_err() {
            break;
        }
    }
}

/// What came from the keyboard.
enum Typed {
    Line(String),
    Interrupt,
}

type Printer = Box<dyn FnMut(String) + Send>;

/// Reads lines in a thread of its own; the printer writes above the line that is being edited.
fn keyboard() -> Result<(Printer, mpsc::Receiver<Typed>), Failure> {
    let unusable = |error: ReadlineError| {
        Failure::new(
            Exit::Failure,
            format!("cannot use the terminal: {error}"),
            "use a pipe: echo TEXT | antiphon connect URL",
        )
    };
    let config = rustyline::Config::builder()
        .auto_add_history(true)
        .history_ignore_space(true)
        .max_history_size(HISTORY)
        .map_err(unusable)?
        .build();
    let mut editor = DefaultEditor::with_config(config).map_err(unusable)?;
    let mut printer = editor.create_external_printer().map_err(unusable)?;
    let (typed, lines) = mpsc::channel(QUEUE);
    // A history that cannot be kept is no reason not to talk.
    let history = history_file();
    if let Some(path) = &history {
        let _ = editor.load_history(path);
    }
    thread::spawn(move || {
        loop {
            let event = match editor.readline("> ") {
                Ok(line) => {
                    if let Some(path) = &history {
                        let _ = editor.append_history(path);
                    }
                    Typed::Line(line)
                }
                Err(ReadlineError::Interrupted) => Typed::Interrupt,
                Err(_) => break,
            };
            if typed.blocking_send(event).is_err() {
                break;
            }
        }
    });
    let print = move |text: String| {
        let _ = printer.print(text);
    };
    Ok((Box::new(print), lines))
}

/// `$XDG_STATE_HOME/antiphon/history`, in a directory that exists.
fn history_file() -> Option<PathBuf> {
    let state = match env::var_os("XDG_STATE_HOME").map(PathBuf::from) {
        Some(path) if path.is_absolute() => path,
        _ => env::home_dir()?.join(".local/state"),
    };
    let directory = state.join("antiphon");
    fs::create_dir_all(&directory).ok()?;
    Some(directory.join("history"))
}

/// The settings of the terminal before line editing.
struct SavedTerminal {
    #[cfg(unix)]
    settings: Option<rustix::termios::Termios>,
}

impl SavedTerminal {
    #[cfg(unix)]
    fn save() -> Self {
        Self {
            settings: rustix::termios::tcgetattr(io::stdin()).ok(),
        }
    }

    #[cfg(unix)]
    fn restore(&self) {
        if let Some(settings) = &self.settings {
            let _ = rustix::termios::tcsetattr(
                io::stdin(),
                rustix::termios::OptionalActions::Now,
                settings,
            );
        }
        // The prompt that waits for a line is wiped away.
        print!("\r\x1b[K");
        let _ = io::Write::flush(&mut io::stdout());
    }

    #[cfg(not(unix))]
    fn save() -> Self {
        Self {}
    }

    #[cfg(not(unix))]
    fn restore(&self) {
        println!();
    }
}

/// What a typed line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Action {
    Nothing,
    Send(Message),
    Ping,
    Close(u16, String),
    Say(String),
}

impl Action {
    fn parse(line: &str, binary: bool) -> Self {
        let text = match line.strip_prefix('/') {
            None if line.is_empty() => return Self::Nothing,
            None => line,
            Some(text) if text.starts_with('/') => text,
            Some(command) => return Self::command(command),
        };
        Self::Send(if binary {
            Message::from(text.as_bytes())
        } else {
            Message::from(text)
        })
    }

    fn command(command: &str) -> Self {
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        let rest = rest.trim();
        match name {
            "ping" => Self::Ping,
            "quit" | "exit" => Self::Close(1000, String::new()),
            "help" | "?" => Self::Say(HELP.to_owned()),
            "close" => {
                let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                match if code.is_empty() {
                    Ok(1000)
                } else {
                    value::close_code(code)
                } {
                    Ok(code) => Self::Close(code, reason.trim().to_owned()),
                    Err(why) => Self::Say(why),
                }
            }
            "binary" => match rest.strip_prefix('@') {
                Some(path) => match read_file(path) {
                    Ok(bytes) => Self::Send(Message::from(bytes)),
                    Err(error) => Self::Say(format!("cannot send {path}: {error}")),
                },
                None => match value::hex(rest) {
                    Ok(bytes) => Self::Send(Message::from(bytes)),
                    Err(why) => Self::Say(why),
                },
            },
            _ => Self::Say(format!(
                "/{name} is no command; /help lists them, //text sends a text with a slash"
            )),
        }
    }
}

fn read_file(path: &str) -> io::Result<Vec<u8>> {
    let length = fs::metadata(path)?.len();
    if length > MAX_FILE {
        return Err(io::Error::other(format!(
            "it is larger than {} MiB",
            MAX_FILE >> 20
        )));
    }
    fs::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        for (line, binary, expected) in [
            ("hello", false, Action::Send(Message::from("hello"))),
            ("hello", true, Action::Send(Message::from(&b"hello"[..]))),
            ("", false, Action::Nothing),
            ("//etc", false, Action::Send(Message::from("/etc"))),
            ("/ping", false, Action::Ping),
            ("/quit", false, Action::Close(1000, String::new())),
            ("/close", false, Action::Close(1000, String::new())),
            ("/close 4001", false, Action::Close(4001, String::new())),
            (
                "/close 4001 good bye",
                false,
                Action::Close(4001, "good bye".into()),
            ),
            (
                "/binary de ad",
                false,
                Action::Send(Message::from(&b"\xde\xad"[..])),
            ),
            ("/help", false, Action::Say(HELP.into())),
        ] {
            assert_eq!(Action::parse(line, binary), expected, "{line}");
        }
        for line in [
            "/close 1006",
            "/close x",
            "/binary xyz",
            "/binary @/nonexistent/file",
            "/frobnicate",
            "/",
        ] {
            assert!(
                matches!(Action::parse(line, false), Action::Say(_)),
                "{line}"
            );
        }
    }
}
