//! What a person reads when something fails: one line that says what happened and what to do, and an exit code.

use std::{
    error::Error as StdError,
    io::{self, Write as _},
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use antiphon::{Error, ErrorKind};
use clap::error::{ContextKind, ContextValue, ErrorKind as ClapErrorKind};

const ERROR: Style = AnsiColor::Red.on_default().bold();

/// The exit codes of the command; `antiphon connect --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Nothing went wrong, or it was asked for: `--help` also ends here.
    Ok = 0,
    /// A failure of this side: a port that is taken, a file that cannot be read.
    Failure = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// The server could not be reached, or refused TLS or the opening handshake.
    Refused = 3,
    /// A deadline passed.
    Timeout = 4,
    /// The connection ended without a close handshake (1006).
    Abnormal = 5,
    /// The peer closed with a code that reports a failure.
    Closed = 6,
    /// Ctrl-C.
    Interrupted = 130,
}

/// Why the command ends without success.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// What happened, in one line; empty where nothing is to be said.
    what: String,
    /// What to do about it.
    hint: String,
    /// Text to print instead, for people who asked for it: help and version.
    text: Option<clap::Error>,
}

impl Failure {
    /// A failure with what happened and what to do.
    pub(crate) fn new(exit: Exit, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            hint: hint.into(),
            text: None,
        }
    }

    /// What happened, and what to do, in one line.
    pub(crate) fn words(&self) -> String {
        format!("{}; {}", self.what, self.hint)
    }

    /// An end that needs no words.
    pub(crate) fn silent(exit: Exit) -> Self {
        Self::new(exit, "", "")
    }

    /// An error of the library, with its causes.
    pub(crate) fn caused(exit: Exit, error: &Error, hint: &str) -> Self {
        let mut what = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Many errors repeat their cause in their own words.
            if !what.contains(&cause_text) {
                what = format!("{what}: {cause_text}");
            }
            source = cause.source();
        }
        if !error.body().is_empty() {
            what = format!(
                "{what} (it says: {})",
                String::from_utf8_lossy(error.body()).trim()
            );
        }
        // Many contexts say themselves what to do.
        let hint = if what.contains("; ") { "" } else { hint };
        Self::new(exit, what, hint)
    }

    /// A file that cannot be used.
    pub(crate) fn file(path: &std::path::Path, source: &io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::NotFound => "check the path",
            io::ErrorKind::PermissionDenied => "check who may read it",
            _ => "check the file",
        };
        Self::new(
            Exit::Failure,
            format!("cannot use {}: {}", path.display(), plain(source)),
            hint,
        )
    }

    /// Says what happened on stderr and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if let Some(text) = &self.text {
            // A reader of the help that hung up is no failure.
            let _ = text.print();
        } else if !self.what.is_empty() {
            let (bold, end) = (ERROR.render(), ERROR.render_reset());
            let mut stderr = anstream::stderr().lock();
            let _ = if self.hint.is_empty() {
                writeln!(
                    stderr,
                    "antiphon: {bold}error{end}: {}",
                    one_line(&self.what)
                )
            } else {
                writeln!(
                    stderr,
                    "antiphon: {bold}error{end}: {}; {}",
                    one_line(&self.what),
                    one_line(&self.hint)
                )
            };
        }
        ExitCode::from(self.exit as u8)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (exit, hint) = match error.kind() {
            ErrorKind::Io => (
                Exit::Abnormal,
                "the other side may have stopped; try again with -v to see more",
            ),
            ErrorKind::Timeout => (
                Exit::Timeout,
                "try again, or allow more time with --timeout",
            ),
            ErrorKind::Violation(_) => (
                Exit::Failure,
                "the other side has to be mended; -v shows more",
            ),
            ErrorKind::Closed(_) => (Exit::Closed, "its code and reason say why"),
            ErrorKind::Handshake(status) => (Exit::Refused, refusal(*status)),
            ErrorKind::Tls => (
                Exit::Refused,
                "trust its certificate with --ca FILE, or for a test use --insecure",
            ),
            ErrorKind::Proxy => (
                Exit::Refused,
                "check --proxy and the variables HTTPS_PROXY and ALL_PROXY, or use --no-proxy",
            ),
            ErrorKind::Url => (
                Exit::Usage,
                "write it as ws://HOST[:PORT]/PATH or wss://HOST[:PORT]/PATH",
            ),
            ErrorKind::Connect => (
                Exit::Refused,
                "check the host and the port, and that the server runs",
            ),
            _ => (Exit::Failure, "check the options; --help explains them"),
        };
        Self::caused(exit, &error, hint)
    }
}

const fn refusal(status: u16) -> &'static str {
    match status {
        401 | 407 => "give credentials with --header 'Authorization: ...'",
        403 => "the server may ask for another --origin, or for credentials",
        404 => "check the path of the URL",
        426 => "the server wants another protocol or version",
        429 | 503 => "the server is busy; try again later",
        300..=399 => "connect to the address that it names",
        _ => "check that the URL names a WebSocket endpoint",
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        if !error.use_stderr()
            || error.kind() == ClapErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        {
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            return Self {
                text: Some(error),
                ..Self::silent(exit)
            };
        }
        let rendered = error.to_string();
        let what = rendered.split("\n\n").next().unwrap_or_default();
        let what = what.strip_prefix("error: ").unwrap_or(what).to_owned();
        let suggestion = [
            ContextKind::SuggestedArg,
            ContextKind::SuggestedSubcommand,
            ContextKind::SuggestedValue,
        ]
        .into_iter()
        .find_map(|kind| match error.get(kind)? {
            ContextValue::String(text) => Some(text.clone()),
            ContextValue::Strings(texts) => texts.first().cloned(),
            _ => None,
        });
        let hint = suggestion.map_or_else(
            || "see --help".to_owned(),
            |name| format!("did you mean '{name}'? See --help"),
        );
        Self::new(Exit::Usage, what, hint)
    }
}

/// An I/O error without the number that the standard library appends.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

/// Control characters, of a peer or of a file's name, never reach the terminal; neither do line ends.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for (index, part) in text
        .lines()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .enumerate()
    {
        if index > 0 {
            line.push(' ');
        }
        line.push_str(part);
    }
    // The numbers of system errors help nobody who reads their words.
    while let Some((start, rest)) = line.split_once(" (os error ") {
        let Some((_, end)) = rest.split_once(')') else {
            break;
        };
        line = format!("{start}{end}");
    }
    crate::value::printable(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_exit_code() {
        for (kind, exit) in [
            (ErrorKind::Io, Exit::Abnormal),
            (ErrorKind::Timeout, Exit::Timeout),
            (ErrorKind::Closed(None), Exit::Closed),
            (ErrorKind::Handshake(403), Exit::Refused),
            (ErrorKind::Tls, Exit::Refused),
            (ErrorKind::Proxy, Exit::Refused),
            (ErrorKind::Connect, Exit::Refused),
            (ErrorKind::Url, Exit::Usage),
            (ErrorKind::Config, Exit::Failure),
        ] {
            let failure = Failure::from(Error::new(kind.clone(), "it failed"));
            assert_eq!(failure.exit, exit, "{kind:?}");
            assert!(!failure.hint.is_empty(), "{kind:?}");
        }
    }

    #[test]
    fn what_is_said_is_one_printable_line() {
        assert_eq!(one_line("a\n  b\r\n\x1b[31mc"), "a b \\u{1b}[31mc");
    }

    #[test]
    fn causes_are_told_once() {
        let error = Error::new(ErrorKind::Io, "the connection failed: gone")
            .with_source(io::Error::other("gone"));
        assert_eq!(Failure::from(error).what, "the connection failed: gone");
        let error =
            Error::new(ErrorKind::Tls, "no trust").with_source(io::Error::other("unknown issuer"));
        assert_eq!(Failure::from(error).what, "no trust: unknown issuer");
    }
}
