//! Values as people write them: sizes, times, headers, bytes in hexadecimal; and text made safe for a terminal.

use std::{borrow::Cow, fmt::Write as _, time::Duration};

use http::{HeaderName, HeaderValue};

/// A number of bytes: `4096`, `64KiB`, `16MiB`, `1GB`. `K`, `M`, `G` alone count in 1,024.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: usize = number
        .replace('_', "")
        .parse()
        .map_err(|_| "not a size: write it as 65536, 64KiB or 16MiB")?;
    let factor: usize = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err("unknown unit: use B, KiB, MiB, GiB, kB, MB or GB".into()),
    };
    number.checked_mul(factor).ok_or_else(|| "too large".into())
}

/// A size of at least one byte.
pub(crate) fn positive_size(text: &str) -> Result<usize, String> {
    match size(text)? {
        0 => Err("must be more than 0".into()),
        size => Ok(size),
    }
}

/// A time: `10s`, `500ms`, `2m`, `1h`, `1.5` (seconds).
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number
        .parse()
        .map_err(|_| "not a time: write it as 10s, 500ms or 2m")?;
    let seconds = match unit.trim() {
        "ms" => number / 1_000.0,
        "" | "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3_600.0,
        _ => return Err("unknown unit: use ms, s, m or h".into()),
    };
    // A year is beyond every use and within every clock's arithmetic.
    if seconds > 365.0 * 86_400.0 {
        return Err("too long".into());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| "too long".into())
}

/// A header line: `Name: value`.
pub(crate) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'Name: value'")?;
    let name = HeaderName::try_from(name.trim())
        .map_err(|_| "the name before the colon is no header name")?;
    let value = HeaderValue::try_from(value.trim())
        .map_err(|_| "the value has characters that a header cannot carry")?;
    Ok((name, value))
}

/// An address to listen on: `HOST:PORT`, `[::1]:PORT`, or `PORT` for 127.0.0.1.
pub(crate) fn listen(text: &str) -> Result<String, String> {
    if text.parse::<u16>().is_ok() {
        return Ok(format!("127.0.0.1:{text}"));
    }
    match text.rsplit_once(':') {
        Some(("", _)) => {
            Err("the host is missing: write 127.0.0.1:PORT, or 0.0.0.0:PORT for everybody".into())
        }
        Some((_, port)) if port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("write it as HOST:PORT, such as 127.0.0.1:8199".into()),
    }
}

/// A close code that may be sent: 1000-1003, 1007-1014, 3000-4999.
pub(crate) fn close_code(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(code) if antiphon::CloseCode::new(code).is_sendable() => Ok(code),
        _ => Err(format!(
            "'{}' is no close code that may be sent: use 1000-1003, 1007-1014 or 3000-4999",
            printable(text)
        )),
    }
}

/// Bytes in hexadecimal: `deadbeef`, `0xde 0xad`, `de:ad:be:ef`.
pub(crate) fn hex(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for word in text
        .split([' ', ',', ':', '\t'])
        .filter(|word| !word.is_empty())
    {
        let digits = word.strip_prefix("0x").unwrap_or(word);
        if digits.is_empty()
            || digits.len() % 2 == 1
            || !digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        {
            return Err(format!(
                "'{}' is no hexadecimal: write pairs of digits, such as 'de ad be ef'",
                printable(word)
            ));
        }
        let pairs = digits
            .as_bytes()
            .chunks(2)
            .filter_map(|pair| str::from_utf8(pair).ok());
        bytes.extend(pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()));
    }
    Ok(bytes)
}

/// Bytes as lower-case hexadecimal.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// A number of bytes for people.
pub(crate) fn bytes(count: usize) -> String {
    match count {
        0..=1023 => format!("{count} B"),
        1024..=1_048_575 => format!("{:.1} KiB", count as f64 / 1024.0),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}

/// A peer's text for a terminal: control characters, and characters that turn the reading direction, are escaped.
/// Tab and line feed stay.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\r' => safe.push_str("\\r"),
            c if is_dangerous(c) => safe.extend(c.escape_unicode()),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

const fn is_dangerous(c: char) -> bool {
    matches!(c,
        // C0 without tab and line feed, DEL, C1
        '\0'..='\x08' | '\x0b'..='\x1f' | '\x7f'..='\u{9f}'
        // marks, embeddings, overrides and isolates of the bidirectional algorithm
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // line and paragraph separators, byte order mark
        | '\u{2028}' | '\u{2029}' | '\u{feff}'
        // tags: text that nobody sees
        | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("16_384", Some(16_384)),
            ("64KiB", Some(65_536)),
            ("64k", Some(65_536)),
            ("16 MiB", Some(16 << 20)),
            ("1kB", Some(1_000)),
            ("2GB", Some(2_000_000_000)),
            ("", None),
            ("x", None),
            ("-1", None),
            ("1XB", None),
            ("99999999999GiB", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
        assert!(positive_size("0").is_err());
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("10s", Some(10_000)),
            ("10", Some(10_000)),
            ("1.5", Some(1_500)),
            ("250ms", Some(250)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("0", Some(0)),
            ("", None),
            ("-1s", None),
            ("1d", None),
            ("1e99", None),
            ("9999999999h", None),
            ("1.2.3", None),
        ] {
            assert_eq!(
                duration(text).ok(),
                expected.map(Duration::from_millis),
                "{text}"
            );
        }
    }

    #[test]
    fn headers() {
        let (name, value) = header("Authorization:  Bearer a:b ").unwrap();
        assert_eq!(
            (name.as_str(), value.to_str().unwrap()),
            ("authorization", "Bearer a:b")
        );
        for text in ["", "Name", "bad name: x", ": x", "X: a\r\nY: b"] {
            assert!(header(text).is_err(), "{text}");
        }
    }

    #[test]
    fn listen_addresses() {
        for (text, expected) in [
            ("8199", Some("127.0.0.1:8199")),
            ("0.0.0.0:80", Some("0.0.0.0:80")),
            ("[::1]:0", Some("[::1]:0")),
            ("localhost:1", Some("localhost:1")),
            (":8080", None),
            ("localhost", None),
            ("localhost:", None),
            ("127.0.0.1:99999", None),
            ("99999", None),
        ] {
            assert_eq!(listen(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn hexadecimal() {
        for (text, expected) in [
            ("deadBEEF", Some(&[0xde, 0xad, 0xbe, 0xef][..])),
            ("0xde 0xad", Some(&[0xde, 0xad])),
            ("de:ad,be", Some(&[0xde, 0xad, 0xbe])),
            ("", Some(&[])),
            ("d", None),
            ("zz", None),
            ("+1", None),
            ("é", None),
            ("0x", None),
        ] {
            assert_eq!(hex(text).ok().as_deref(), expected, "{text}");
        }
        assert_eq!(to_hex(&[0, 0xff]), "00ff");
    }

    #[test]
    fn close_codes() {
        for (text, accepted) in [
            ("1000", true),
            ("4999", true),
            ("1005", false),
            ("1006", false),
            ("999", false),
            ("5000", false),
            ("x", false),
        ] {
            assert_eq!(close_code(text).is_ok(), accepted, "{text}");
        }
    }

    #[test]
    fn text_cannot_command_the_terminal() {
        for (text, expected) in [
            ("plain ä 漢字 🦀\tx\ny", "plain ä 漢字 🦀\tx\ny"),
            ("\x1b[2J", "\\u{1b}[2J"),
            ("a\rb", "a\\rb"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}abc", "\\u{202e}abc"),
            ("\x07\x7f\0", "\\u{7}\\u{7f}\\u{0}"),
        ] {
            assert_eq!(printable(text), expected);
        }
    }
}
