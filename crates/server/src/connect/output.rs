//! What is shown of a conversation: lines for people, lines for pipes, objects for programs, or bytes as they came.

use std::{
    fmt::Write as _,
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use anstyle::{AnsiColor, Style};
use antiphon::{CloseFrame, Message};
use serde_json::{Value, json};

use crate::value::{printable, to_hex};

const RECEIVED: Style = AnsiColor::Green.on_default();
const NOTE: Style = Style::new().dimmed();

/// Bytes of a binary message that a terminal shows.
const SHOWN_BYTES: usize = 512;
/// Bytes in a line of a hex dump.
const DUMP_WIDTH: usize = 16;

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the server.
    In,
    /// To the server.
    Out,
}

/// How a pipe gets its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PipeFormat {
    /// A text as a line, a binary message as a line of hexadecimal.
    Lines,
    /// The bytes alone.
    Raw,
    /// An object a line, for both directions and for the Close frame.
    Json,
}

impl PipeFormat {
    /// Writes a message, as far as this format shows its direction.
    ///
    /// # Errors
    ///
    /// The reader is gone, or the disk is full.
    pub(crate) fn message(
        self,
        out: &mut impl Write,
        direction: Direction,
        message: &Message,
    ) -> io::Result<()> {
        match (self, direction) {
            (Self::Json, _) => {
                let (kind, data) = match message {
                    Message::Text(text) => ("text", text.to_string()),
                    Message::Binary(bytes) => ("binary", to_hex(bytes)),
                };
                let dir = if direction == Direction::In {
                    "in"
                } else {
                    "out"
                };
                writeln!(
                    out,
                    "{}",
                    json!({"dir": dir, "type": kind, "data": data, "ts": milliseconds()})
                )?;
            }
            (_, Direction::Out) => return Ok(()),
            (Self::Raw, Direction::In) => out.write_all(message.as_bytes())?,
            (Self::Lines, Direction::In) => match message {
                Message::Text(text) => {
                    out.write_all(text.as_bytes())?;
                    out.write_all(b"\n")?;
                }
                Message::Binary(bytes) => writeln!(out, "{}", to_hex(bytes))?,
            },
        }
        out.flush()
    }

    /// Writes the server's Close frame, as far as this format shows it.
    ///
    /// # Errors
    ///
    /// As [`message`](Self::message).
    pub(crate) fn close(self, out: &mut impl Write, frame: &CloseFrame) -> io::Result<()> {
        if self == Self::Json {
            let object = json!({
                "dir": "in",
                "type": "close",
                "code": frame.code.get(),
                "data": frame.reason.as_str(),
                "ts": milliseconds(),
            });
            writeln!(out, "{object}")?;
        }
        out.flush()
    }
}

/// How a person reads messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TerminalFormat {
    /// Whether the terminal shows colours.
    pub(crate) colour: bool,
    /// Whether texts that are JSON are indented.
    pub(crate) json: bool,
}

impl TerminalFormat {
    /// A received message, safe for the terminal, with its line end.
    pub(crate) fn message(self, message: &Message) -> String {
        let body = match message {
            Message::Text(text) => {
                let indented = if self.json {
                    serde_json::from_str::<Value>(text).ok()
                } else {
                    None
                };
                let text = indented
                    .and_then(|value| serde_json::to_string_pretty(&value).ok())
                    .unwrap_or_else(|| text.to_string());
                // The lines of one message stand below each other, so that none can pass for a message of its own.
                printable(&text).replace('\n', "\n  ")
            }
            Message::Binary(bytes) => dump(bytes),
        };
        self.paint(RECEIVED, &format!("< {body}"))
    }

    /// A remark of ours.
    pub(crate) fn note(self, text: &str) -> String {
        self.paint(NOTE, &printable(text))
    }

    fn paint(self, style: Style, text: &str) -> String {
        if self.colour {
            format!("{style}{text}{style:#}\n")
        } else {
            format!("{text}\n")
        }
    }
}

/// Offset, bytes, and what of them is ASCII.
fn dump(bytes: &[u8]) -> String {
    let mut text = format!("binary, {} bytes", bytes.len());
    for (index, row) in bytes[..bytes.len().min(SHOWN_BYTES)]
        .chunks(DUMP_WIDTH)
        .enumerate()
    {
        let mut hex = String::new();
        for byte in row {
            let _ = write!(hex, "{byte:02x} ");
        }
        let ascii: String = row
            .iter()
            .map(|&byte| {
                if (0x20..0x7f).contains(&byte) {
                    byte as char
                } else {
                    '.'
                }
            })
            .collect();
        let _ = write!(text, "\n  {:06x}  {hex:<48} {ascii}", index * DUMP_WIDTH);
    }
    if bytes.len() > SHOWN_BYTES {
        let _ = write!(text, "\n  ... and {} bytes more", bytes.len() - SHOWN_BYTES);
    }
    text
}

fn milliseconds() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_get_what_they_asked_for() {
        let text = Message::from("a\"b");
        let binary = Message::from(&b"\x00\xff"[..]);
        for (format, direction, message, expected) in [
            (PipeFormat::Lines, Direction::In, &text, "a\"b\n"),
            (PipeFormat::Lines, Direction::In, &binary, "00ff\n"),
            (PipeFormat::Lines, Direction::Out, &text, ""),
            (PipeFormat::Raw, Direction::In, &text, "a\"b"),
            (PipeFormat::Raw, Direction::Out, &text, ""),
        ] {
            let mut out = Vec::new();
            format.message(&mut out, direction, message).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        let mut out = Vec::new();
        PipeFormat::Raw
            .message(&mut out, Direction::In, &binary)
            .unwrap();
        assert_eq!(out, b"\x00\xff");
    }

    #[test]
    fn json_has_an_object_for_each_message() {
        let mut out = Vec::new();
        PipeFormat::Json
            .message(&mut out, Direction::Out, &Message::from("a\nb"))
            .unwrap();
        PipeFormat::Json
            .message(&mut out, Direction::In, &Message::from(&b"\x01"[..]))
            .unwrap();
        PipeFormat::Json
            .close(&mut out, &CloseFrame::new(4001, "bye"))
            .unwrap();
        let objects: Vec<Value> = out
            .split(|&byte| byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        assert_eq!(objects.len(), 3);
        for (object, dir, kind, data) in [
            (&objects[0], "out", "text", "a\nb"),
            (&objects[1], "in", "binary", "01"),
            (&objects[2], "in", "close", "bye"),
        ] {
            assert_eq!(
                (&object["dir"], &object["type"], &object["data"]),
                (&json!(dir), &json!(kind), &json!(data))
            );
            assert!(object["ts"].as_u64().is_some());
        }
        assert_eq!(objects[2]["code"], 4001);
    }

    #[test]
    fn people_see_safe_text() {
        let plain = TerminalFormat {
            colour: false,
            json: false,
        };
        let json = TerminalFormat {
            colour: false,
            json: true,
        };
        let colour = TerminalFormat {
            colour: true,
            json: false,
        };
        for (format, message, expected) in [
            (plain, Message::from("hi"), "< hi\n"),
            (plain, Message::from("\x1b[2Jx"), "< \\u{1b}[2Jx\n"),
            (plain, Message::from("a\n< b"), "< a\n  < b\n"),
            (colour, Message::from("hi"), "\x1b[32m< hi\x1b[0m\n"),
            (
                json,
                Message::from("{\"a\":[1]}"),
                "< {\n    \"a\": [\n      1\n    ]\n  }\n",
            ),
            (json, Message::from("no json"), "< no json\n"),
            (
                plain,
                Message::from(&b"A\x00"[..]),
                "< binary, 2 bytes\n  000000  41 00                                            A.\n",
            ),
        ] {
            assert_eq!(format.message(&message), expected);
        }
        let long = plain.message(&Message::from(vec![0; SHOWN_BYTES + 7]));
        assert!(long.ends_with("... and 7 bytes more\n"), "{long}");
    }
}
