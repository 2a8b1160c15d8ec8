//! Lines of a program's output as texts: bounded, and split between characters where they are too long.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// Longest line that is one message, in bytes; a longer one becomes several messages.
pub(crate) const MAX_LINE: usize = 64 * 1024;

/// Reads lines.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    /// The line so far.
    line: Vec<u8>,
}

/// A line, or a part of one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Without its end; bytes that are no UTF-8 are replaced.
    pub(crate) text: String,
    /// Whether the line goes on in the next text.
    pub(crate) goes_on: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            line: Vec::new(),
        }
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    ///
    /// The output cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what has been read of a line is kept.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let available = self.reader.fill_buf().await?;
            let end = available.iter().position(|&byte| byte == b'\n');
            let room = MAX_LINE.saturating_sub(self.line.len());
            let taken = end.unwrap_or(available.len()).min(room);
            self.line.extend_from_slice(&available[..taken]);
            let at_end = available.is_empty();
            let complete = end == Some(taken);
            self.reader.consume(taken + usize::from(complete));
            if at_end && self.line.is_empty() {
                return Ok(None);
            }
            if complete || at_end {
                if self.line.last() == Some(&b'\r') {
                    self.line.pop();
                }
                return Ok(Some(Line {
                    text: text(&self.line.split_off(0)),
                    goes_on: false,
                }));
            }
            // At its bound a line may still end: what comes next says.
            if room == 0 {
                let rest = self.line.split_off(boundary(&self.line));
                let part = std::mem::replace(&mut self.line, rest);
                return Ok(Some(Line {
                    text: text(&part),
                    goes_on: true,
                }));
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where the last character that is complete ends.
fn boundary(bytes: &[u8]) -> usize {
    // A character has at most four bytes; what does not fit that is no UTF-8, and any place is as good.
    let last = bytes.len().saturating_sub(3);
    let Some(start) = (last..bytes.len())
        .rev()
        .find(|&index| bytes[index] & 0xc0 != 0x80)
    else {
        return bytes.len();
    };
    let length = match bytes[start] {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    };
    if start + length > bytes.len() {
        start
    } else {
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(bytes: &[u8]) -> Vec<(String, bool)> {
        // A small buffer, so that lines arrive in parts.
        let mut lines = Lines::new(tokio::io::BufReader::with_capacity(7, bytes));
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push((line.text, line.goes_on));
        }
        all
    }

    #[tokio::test]
    async fn lines_end_with_a_line_feed_or_the_end() {
        for (bytes, expected) in [
            (&b""[..], &[][..]),
            (b"a\nbb\r\n\nlast", &["a", "bb", "", "last"]),
            (b"\n", &[""]),
            (b"abcdefghijklmnop\n", &["abcdefghijklmnop"]),
            (b"\xff\n", &["\u{fffd}"]),
        ] {
            let found: Vec<String> = lines(bytes)
                .await
                .into_iter()
                .map(|(text, _)| text)
                .collect();
            assert_eq!(found, expected);
        }
    }

    #[tokio::test]
    async fn long_lines_are_split_between_characters() {
        for (line, expected) in [
            ("a".repeat(MAX_LINE), vec![(MAX_LINE, false)]),
            ("a".repeat(MAX_LINE - 1), vec![(MAX_LINE - 1, false)]),
            ("a".repeat(MAX_LINE + 1), vec![(MAX_LINE, true), (1, false)]),
            (
                format!("{}é!", "a".repeat(MAX_LINE - 1)),
                vec![(MAX_LINE - 1, true), (3, false)],
            ),
            (
                format!("{}🦀!", "a".repeat(MAX_LINE - 3)),
                vec![(MAX_LINE - 3, true), (5, false)],
            ),
            (
                format!("{}🦀!", "a".repeat(MAX_LINE - 4)),
                vec![(MAX_LINE, true), (1, false)],
            ),
        ] {
            let found = lines(format!("{line}\nnext\n").as_bytes()).await;
            let (next, parts) = found.split_last().unwrap();
            assert_eq!(next, &("next".to_owned(), false));
            assert_eq!(
                parts
                    .iter()
                    .map(|(text, goes_on)| (text.len(), *goes_on))
                    .collect::<Vec<_>>(),
                expected
            );
            assert_eq!(
                parts
                    .iter()
                    .map(|(text, _)| text.as_str())
                    .collect::<String>(),
                line
            );
        }
    }
}
