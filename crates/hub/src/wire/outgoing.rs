//! What a client is sent: a push, a reply or an error.

use std::fmt::{self, Write};

use crate::{code::ErrorCode, json::Json};

/// One object for a client. What a wire does not have it leaves out: v1 knows no `id`, `ch` and the like.
///
/// ```
/// use antiphon_hub::{json::Json, wire::{Envelope, Wire}};
///
/// let data = Json::parse(r#"{"text":"hi"}"#).unwrap();
/// let push = Envelope { timestamp: 1_795_177_846, ..Envelope::push("chat/message", Some(&data)) };
/// assert_eq!(
///     Wire::V1.encode(&push),
///     "{\"event\":\"chat/message\",\"data\":{\"text\":\"hi\"},\"code\":0,\"timestamp\":1795177846}\n",
/// );
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Envelope<'a> {
    /// The event: the request's in a reply.
    pub event: &'a str,
    /// The request's id (v2).
    pub id: Option<u64>,
    /// The channel (v2).
    pub ch: Option<&'a str>,
    /// The place in the channel's history (v2).
    pub offset: Option<u64>,
    /// The history to which the offset belongs (v2).
    pub epoch: Option<&'a str>,
    /// The data; left out when `None`.
    pub data: Option<&'a Json>,
    /// 0, or why the request failed. v1 writes -1 for every number but 0.
    pub code: i32,
    /// The text of the error; left out when `None` or empty.
    pub error: Option<&'a str>,
    /// Whether the same request may succeed later (v2); left out when it is false.
    pub temporary: bool,
    /// How long to wait before the next attempt, in milliseconds (v2).
    pub retry_after_ms: Option<u64>,
    /// Seconds since 1970 in UTC.
    pub timestamp: u64,
}

impl<'a> Envelope<'a> {
    /// An event that nobody asked for.
    #[must_use]
    pub fn push(event: &'a str, data: Option<&'a Json>) -> Self {
        Self {
            event,
            data,
            ..Self::default()
        }
    }

    /// The answer to a request.
    #[must_use]
    pub fn reply(event: &'a str, id: Option<u64>, data: Option<&'a Json>) -> Self {
        Self {
            event,
            id,
            data,
            ..Self::default()
        }
    }

    /// A refusal, with the text and the flag of the code.
    #[must_use]
    pub fn error(event: &'a str, id: Option<u64>, code: ErrorCode) -> Self {
        Self {
            event,
            id,
            code: code.number(),
            error: Some(code.message()),
            temporary: code.is_temporary(),
            ..Self::default()
        }
    }

    /// Enough room for the text, without escapes.
    pub(super) fn room(&self) -> usize {
        let text = |text: Option<&str>| text.map_or(0, str::len);
        160 + self.event.len()
            + text(self.ch)
            + text(self.epoch)
            + text(self.error)
            + text(self.data.map(Json::as_str))
    }
}

/// Appends a JSON string. `html` escapes what Go escapes beyond the rules of JSON: `<`, `>`, `&`, U+2028 and U+2029.
pub(super) fn string(out: &mut String, text: &str, html: bool) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    out.push('"');
    // What is taken over stands from `from` to `at`; both are always at the beginning of a character or the end.
    let (mut from, mut at) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            0x0c => "\\f",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x00..0x20 => "",
            b'<' | b'>' | b'&' if html => "",
            // U+2028 and U+2029 in UTF-8.
            0xe2 if html && bytes.get(at + 1..at + 3) == Some(&[0x80, 0xa8]) => "\\u2028",
            0xe2 if html && bytes.get(at + 1..at + 3) == Some(&[0x80, 0xa9]) => "\\u2029",
            _ => {
                at += 1;
                continue;
            }
        };
        out.push_str(&text[from..at]);
        if short.is_empty() {
            out.push_str("\\u00");
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 0x0f)]));
        } else {
            out.push_str(short);
        }
        at += if byte == 0xe2 { 3 } else { 1 };
        from = at;
    }
    out.push_str(&text[from..]);
    out.push('"');
}

/// Appends a number in decimal.
pub(super) fn number(out: &mut String, number: impl fmt::Display) {
    // A String takes everything.
    let _ = write!(out, "{number}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quoted(text: &str, html: bool) -> String {
        let mut out = String::new();
        string(&mut out, text, html);
        out
    }

    #[test]
    fn go_escapes_more() {
        for (text, plain, html) in [
            ("", r#""""#, r#""""#),
            ("<a&b>", r#""<a&b>""#, r#""\u003ca\u0026b\u003e""#),
            (
                "ü\u{2028}\u{2029}\u{2027}€",
                "\"ü\u{2028}\u{2029}\u{2027}€\"",
                "\"ü\\u2028\\u2029\u{2027}€\"",
            ),
            (
                "\"\\\n\r\t\u{8}\u{c}\u{1f}\u{7f}",
                "\"\\\"\\\\\\n\\r\\t\\b\\f\\u001f\u{7f}\"",
                "\"\\\"\\\\\\n\\r\\t\\b\\f\\u001f\u{7f}\"",
            ),
        ] {
            assert_eq!(quoted(text, false), plain);
            assert_eq!(quoted(text, true), html);
        }
    }

    proptest! {
        #[test]
        fn strings_are_written_as_serde_json_writes_them(text in "(?s)[\\x00-\\x7f\u{2028}\u{2029}ü€😀]*") {
            prop_assert_eq!(quoted(&text, false), serde_json::to_string(&text).unwrap());
            prop_assert_eq!(serde_json::from_str::<String>(&quoted(&text, true)).unwrap(), text);
        }
    }
}
