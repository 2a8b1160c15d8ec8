//! A JSON value that has been checked once and is spliced as it came.

use std::{error::Error, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

/// Most arrays and objects inside each other.
pub const MAX_DEPTH: usize = 64;

/// A JSON value as text: valid, at most [`MAX_DEPTH`] deep, on one line. Cloning shares the text.
///
/// The text stays as its author wrote it, the order of keys included, so that nothing is lost on the way. Three things
/// are not passed on, because they would break those who read it: a value with line breaks between its tokens is
/// compacted, half a surrogate pair in a string becomes U+FFFD, and a number beyond the range of a double is refused.
///
/// ```
/// use antiphon_hub::json::Json;
///
/// let json = Json::parse(r#" {"b": 1, "a": [2]} "#)?;
/// assert_eq!(json.as_str(), r#"{"b": 1, "a": [2]}"#);
/// assert_eq!(serde_json::to_string(&[&json]).unwrap(), r#"[{"b": 1, "a": [2]}]"#);
/// assert!(Json::parse(&"[".repeat(100_000)).unwrap_err().is_too_deep());
/// # Ok::<(), antiphon_hub::json::BadJson>(())
/// ```
#[derive(Clone)]
pub struct Json(Arc<RawValue>);

impl Json {
    /// The value `null`.
    #[must_use]
    pub fn null() -> Self {
        Self(RawValue::NULL.to_owned().into())
    }

    /// Checks that `text` is one JSON value. Space around it is dropped.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, BadJson> {
        // The depth comes first: it ends the work at the 65th bracket.
        let plain = scan(text)?;
        let raw: &RawValue = serde_json::from_str(text).map_err(BadJson::new)?;
        Self::scanned(raw, plain)
    }

    /// Checks that `bytes` are one JSON value in UTF-8. Space around it is dropped.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and where.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadJson> {
        let text = std::str::from_utf8(bytes).map_err(BadJson::new)?;
        Self::parse(text)
    }

    /// Takes a value whose grammar has been checked.
    ///
    /// # Errors
    ///
    /// It is too deep, or has a number out of range.
    pub fn from_raw(raw: &RawValue) -> Result<Self, BadJson> {
        Self::scanned(raw, scan(raw.get())?)
    }

    /// The JSON of a value.
    ///
    /// # Errors
    ///
    /// The value has no JSON, such as a map whose keys are no strings, or it is too deep.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, BadJson> {
        Self::from_box(serde_json::value::to_raw_value(value).map_err(BadJson::new)?)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The value as a type.
    ///
    /// # Errors
    ///
    /// It has another shape.
    pub fn to<'a, T: Deserialize<'a>>(&'a self) -> Result<T, BadJson> {
        serde_json::from_str(self.as_str()).map_err(BadJson::new)
    }

    fn from_box(raw: Box<RawValue>) -> Result<Self, BadJson> {
        if scan(raw.get())? {
            Ok(Self(raw.into()))
        } else {
            Self::scanned(&raw, false)
        }
    }

    fn scanned(raw: &RawValue, plain: bool) -> Result<Self, BadJson> {
        if plain {
            return Ok(Self(raw.to_owned().into()));
        }
        RawValue::from_string(mend(raw.get()))
            .map(|raw| Self(raw.into()))
            .map_err(BadJson::new)
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Json {}

impl AsRef<str> for Json {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Spliced as it is where the serializer is serde_json's.
impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// From serde_json's deserializers only: the text is kept as it came.
impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <Box<RawValue>>::deserialize(deserializer)?;
        Self::from_box(raw).map_err(de::Error::custom)
    }
}

/// A text that is no JSON, or not the JSON that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadJson(Option<String>);

impl BadJson {
    /// The value is deeper than [`MAX_DEPTH`].
    #[must_use]
    pub fn is_too_deep(&self) -> bool {
        self.0.is_none()
    }

    fn new(error: impl fmt::Display) -> Self {
        Self(Some(error.to_string()))
    }
}

impl fmt::Display for BadJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(text) => f.write_str(text),
            None => write!(
                f,
                "more than {MAX_DEPTH} arrays and objects inside each other"
            ),
        }
    }
}

impl Error for BadJson {}

/// One pass over a text that may not even be JSON: its depth, its numbers, and whether it can stay as it is.
fn scan(text: &str) -> Result<bool, BadJson> {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut plain) = (0, 0usize, true);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(BadJson(None));
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'\n' | b'\r' => plain = false,
            b'-' | b'0'..=b'9' => {
                let digits = &bytes[at..];
                let length = digits
                    .iter()
                    .take_while(|byte| {
                        matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
                    })
                    .count();
                check_number(&text[at - 1..at + length])?;
                at += length;
            }
            b'"' => {
                loop {
                    at = end_of_letters(bytes, at);
                    if bytes.get(at) != Some(&b'\\') {
                        break;
                    }
                    let (length, lone) = escape(bytes, at);
                    plain &= !lone;
                    at += length;
                }
                at += 1;
            }
            _ => {}
        }
    }
    Ok(plain)
}

/// Where a string has its end or an escape; the end of the text where it has neither.
fn end_of_letters(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let letters = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
    from + letters.unwrap_or(rest.len())
}

/// A double holds what is short and has no exponent.
fn check_number(token: &str) -> Result<(), BadJson> {
    if token.len() <= 300 && !token.contains(['e', 'E']) {
        return Ok(());
    }
    serde_json::from_str::<f64>(token)
        .map(drop)
        .map_err(BadJson::new)
}

/// The length of the escape at `at`, and whether it is half a surrogate pair.
fn escape(bytes: &[u8], at: usize) -> (usize, bool) {
    match unit(bytes, at) {
        Some(0xD800..=0xDBFF) => match unit(bytes, at + 6) {
            Some(0xDC00..=0xDFFF) => (12, false),
            _ => (6, true),
        },
        Some(0xDC00..=0xDFFF) => (6, true),
        Some(_) => (6, false),
        None => (2, false),
    }
}

/// The UTF-16 code unit that a `\uXXXX` at `at` stands for.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let [b'\\', b'u', digits @ ..] = bytes.get(at..at + 6)? else {
        return None;
    };
    digits.iter().try_fold(0, |unit: u16, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}

/// Valid JSON without the space between its tokens, and without halves of surrogate pairs.
fn mend(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut mended = String::with_capacity(text.len());
    // What is taken over stands from `from` to `at`; both are always at an ASCII character or the end.
    let (mut from, mut at, mut inside) = (0, 0, false);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                inside = !inside;
                at += 1;
            }
            b'\\' => {
                let (length, lone) = escape(bytes, at);
                if lone {
                    mended.push_str(&text[from..at]);
                    mended.push_str("\\ufffd");
                    from = at + length;
                }
                at += length;
            }
            b' ' | b'\t' | b'\n' | b'\r' if !inside => {
                mended.push_str(&text[from..at]);
                at += 1;
                from = at;
            }
            _ => at += 1,
        }
    }
    mended.push_str(&text[from..]);
    mended
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_is_kept_and_what_is_mended() {
        for (text, expected) in [
            ("null", Some("null")),
            (" \t1 ", Some("1")),
            ("\n[1 , 2]\n", Some("[1,2]")),
            (
                "{\"a\":\r\n \"x\\n \\\" y\"}",
                Some("{\"a\":\"x\\n \\\" y\"}"),
            ),
            ("[1, 2]", Some("[1, 2]")),
            (r#""\ud83d""#, Some(r#""\ufffd""#)),
            (r#""\ude00\ud83d""#, Some(r#""\ufffd\ufffd""#)),
            (r#""\uD83D\uDE00""#, Some(r#""\uD83D\uDE00""#)),
            (r#""\\ud83d""#, Some(r#""\\ud83d""#)),
            (r#""\ud83d\u0041ü""#, Some(r#""\ufffd\u0041ü""#)),
            ("1e308", Some("1e308")),
            ("1.7976931348623157e308", Some("1.7976931348623157e308")),
            ("-1e400", None),
            ("0e400", Some("0e400")),
            ("1e", None),
            ("01", None),
            ("", None),
            ("[1,]", None),
            ("1 2", None),
            ("\"\n\"", None),
            ("\"\\u12\"", None),
            ("\"\\", None),
            ("\"\\u", None),
            ("]]]]", None),
            ("nul", None),
        ] {
            let json = Json::parse(text).ok();
            assert_eq!(json.as_ref().map(Json::as_str), expected, "{text}");
        }
        assert!(Json::parse(&"9".repeat(400)).is_err());
        assert!(Json::parse(&"9".repeat(300)).is_ok());
        assert!(Json::from_bytes(b"\"\xff\"").is_err());
    }

    #[test]
    fn depth_64_is_accepted_and_65_refused() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let inner = if open == "[" { "" } else { "1" };
            let nest = |depth| format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
            assert!(Json::parse(&nest(64)).is_ok());
            assert!(Json::parse(&nest(65)).unwrap_err().is_too_deep());
            assert!(Json::parse(&nest(100_000)).unwrap_err().is_too_deep());
        }
        // Brackets in strings are text, and what is closed again does not count.
        assert!(Json::parse(&format!("\"{}\"", "[\\\"".repeat(100))).is_ok());
        assert!(Json::parse(&format!("[{}[]]", "[],".repeat(100))).is_ok());
        let mut value = Value::Null;
        for _ in 0..65 {
            value = Value::Array(vec![value]);
        }
        assert!(Json::of(&value).unwrap_err().is_too_deep());
        assert!(serde_json::from_str::<Json>(&value.to_string()).is_err());
    }

    #[test]
    fn a_value_is_spliced_as_it_came() {
        #[derive(Serialize, Deserialize)]
        struct Outer {
            json: Json,
        }
        let text = r#"{"json":{"b":1e2,  "a":"\u0041"}}"#;
        let outer: Outer = serde_json::from_str(text).unwrap();
        assert_eq!(outer.json.as_str(), r#"{"b":1e2,  "a":"\u0041"}"#);
        assert_eq!(serde_json::to_string(&outer).unwrap(), text);
        assert_eq!(Json::of(&outer).unwrap().as_str(), text);
        assert_eq!(Json::of(&f64::MAX).unwrap().to::<f64>().unwrap(), f64::MAX);
        assert!(Json::of(&std::collections::BTreeMap::from([((), 1)])).is_err());
        assert_eq!(Json::null().as_str(), "null");
        assert!(outer.json.to::<u8>().is_err());
    }

    /// JSON and what looks like it.
    fn texts() -> impl Strategy<Value = String> {
        let token = prop_oneof![
            Just("{"),
            Just("}"),
            Just("["),
            Just("]"),
            Just(","),
            Just(":"),
            Just("\""),
            Just("\\"),
            Just("\\u"),
            Just("d83d"),
            Just("\\ude00"),
            Just("\n"),
            Just(" "),
            Just("1"),
            Just("-"),
            Just("e999"),
            Just("."),
            Just("true"),
            Just("null"),
            Just("ü"),
            Just("\"a\""),
            Just("{\"a\":1}"),
            Just("\u{2028}"),
        ];
        prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_what_serde_json_reads(text in texts()) {
            let value: Result<Value, _> = serde_json::from_str(&text);
            match Json::parse(&text) {
                Ok(json) => {
                    prop_assert!(!json.as_str().contains(['\n', '\r']));
                    let read: Value = json.to().unwrap();
                    // Only half a surrogate pair is accepted beyond serde_json.
                    if let Ok(value) = value {
                        prop_assert_eq!(read, value);
                    } else {
                        prop_assert!(json.as_str().contains("\\ufffd"));
                    }
                }
                Err(error) => prop_assert!(value.is_err() || error.is_too_deep(), "{}: {}", text, error),
            }
        }

        #[test]
        fn any_string_goes_round(text in any::<String>()) {
            let json = Json::of(&text).unwrap();
            prop_assert_eq!(json.to::<String>().unwrap(), text);
            prop_assert_eq!(Json::parse(json.as_str()).unwrap(), json);
        }
    }
}
