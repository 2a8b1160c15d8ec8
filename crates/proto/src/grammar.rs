//! The grammar of header fields: tokens, comma lists over several lines, quoted strings (RFC 9110 section 5.6).
//!
//! Everything here reads its input once, in linear time, and allocates for nothing but the escapes of a quoted string.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Whether the text is a token: one or more visible ASCII characters without delimiters (RFC 9110 section 5.6.2).
///
/// ```
/// use antiphon_proto::grammar::is_token;
///
/// assert!(is_token("antiphon.v2.json"));
/// assert!(!is_token("two words"));
/// assert!(!is_token(""));
/// ```
#[must_use]
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Whether a field whose value is a list of tokens names this one, in any letter case, on any of its lines.
///
/// ```
/// use antiphon_proto::grammar::names_token;
/// use http::{HeaderMap, header};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(header::CONNECTION, "keep-alive, Upgrade".parse()?);
/// assert!(names_token(&headers, &header::CONNECTION, "upgrade"));
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
#[must_use]
pub fn names_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let is_it = |element: &[u8]| element.eq_ignore_ascii_case(token.as_bytes());
    // Mostly it stands alone, and nothing has to be taken apart.
    let alone = headers.get(name).is_some_and(|line| is_it(line.as_bytes()));
    alone || elements(headers, name).any(is_it)
}

/// The elements of a comma list over all lines of a field, in order, without the white space around them. Empty
/// elements are handed out as such; quoted strings are not known here.
pub fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(trim)
}

/// Why a field that may be there once has no single value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSingle {
    /// The field is not there.
    Absent,
    /// The field has several lines.
    Repeated,
}

/// The value of a field that has to be there exactly once.
///
/// # Errors
///
/// [`NotSingle`], when the field is absent or has several lines.
pub fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a HeaderValue, NotSingle> {
    let mut lines = headers.get_all(name).iter();
    let value = lines.next().ok_or(NotSingle::Absent)?;
    match lines.next() {
        None => Ok(value),
        Some(_) => Err(NotSingle::Repeated),
    }
}

/// Reads one line of a field from left to right.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    rest: &'a [u8],
}

impl<'a> Lexer<'a> {
    pub(crate) const fn new(line: &'a [u8]) -> Self {
        Self { rest: line }
    }

    /// Steps over spaces and tabs.
    pub(crate) fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// Steps over `byte` and the white space on both sides of it, if it stands there.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        let Some(rest) = self.rest.strip_prefix(&[byte]) else {
            return false;
        };
        self.rest = rest.trim_ascii_start();
        true
    }

    /// Whether nothing but white space is left.
    pub(crate) fn at_end(&self) -> bool {
        self.rest.trim_ascii_start().is_empty()
    }

    /// A token.
    pub(crate) fn token(&mut self) -> Option<&'a str> {
        let length = self
            .rest
            .iter()
            .position(|byte| !is_token_byte(*byte))
            .unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        std::str::from_utf8(token)
            .ok()
            .filter(|token| !token.is_empty())
    }

    /// A token, or a quoted string that holds a token when its quotes and escapes are gone (RFC 6455 section 9.1).
    pub(crate) fn value(&mut self) -> Option<Cow<'a, str>> {
        match self.rest.strip_prefix(b"\"") {
            None => self.token().map(Cow::Borrowed),
            Some(rest) => {
                self.rest = rest;
                self.quoted()
            }
        }
    }

    fn quoted(&mut self) -> Option<Cow<'a, str>> {
        let mut text = String::new();
        let mut bytes = self.rest.iter();
        loop {
            match *bytes.next()? {
                b'"' => break,
                b'\\' => text.push(char::from(*bytes.next()?)),
                byte => text.push(char::from(byte)),
            }
        }
        self.rest = bytes.as_slice();
        is_token(&text).then_some(Cow::Owned(text))
    }
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// A field's value holds no control characters but the tab, so ASCII white space is what the grammar calls OWS.
fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

#[cfg(test)]
mod tests {
    use http::header;
    use proptest::prelude::*;

    use super::*;

    fn lines(lines: &[&str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| (header::CONNECTION, HeaderValue::from_str(line).unwrap()))
            .collect()
    }

    #[test]
    fn a_token_is_visible_ascii_without_delimiters() {
        for byte in 0..=u8::MAX {
            let text = char::from(byte).to_string();
            let delimiter = b"\"(),/:;<=>?@[\\]{}".contains(&byte);
            assert_eq!(
                is_token(&text),
                byte.is_ascii_graphic() && !delimiter,
                "{text:?}"
            );
        }
        assert!(is_token("a.b-c_d"));
        assert!(!is_token("a b"));
    }

    #[test]
    fn a_list_names_tokens_in_any_case_on_any_line() {
        for (values, expected) in [
            (&["upgrade"][..], true),
            (&["Upgrade"], true),
            (&["keep-alive, Upgrade"], true),
            (&["keep-alive,\tUPGRADE\t, x"], true),
            (&["keep-alive", "upgrade"], true),
            (&[",,upgrade,,"], true),
            (&[], false),
            (&[""], false),
            (&["xupgradey"], false),
            (&["up grade"], false),
            (&["upgrade/1"], false),
            (&["\"upgrade\""], false),
            (&["upgrade; q=1"], false),
        ] {
            assert_eq!(
                names_token(&lines(values), &header::CONNECTION, "upgrade"),
                expected,
                "{values:?}"
            );
        }
    }

    #[test]
    fn a_single_field_is_there_once() {
        assert_eq!(
            single(&lines(&[]), &header::CONNECTION),
            Err(NotSingle::Absent)
        );
        assert_eq!(single(&lines(&["a"]), &header::CONNECTION).unwrap(), "a");
        assert_eq!(
            single(&lines(&["a", "a"]), &header::CONNECTION),
            Err(NotSingle::Repeated)
        );
    }

    #[test]
    fn values_are_tokens_or_quoted_tokens() {
        for (text, expected) in [
            ("10", Some("10")),
            ("\"10\"", Some("10")),
            ("\"1\\0\"", Some("10")),
            ("\"\"", None),
            ("\"a b\"", None),
            ("\"a,b\"", None),
            ("\"a", None),
            ("\"a\\", None),
            ("\"", None),
            ("", None),
            ("=", None),
        ] {
            assert_eq!(
                Lexer::new(text.as_bytes()).value().as_deref(),
                expected,
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut lexer = Lexer::new(&bytes);
            while lexer.value().is_some() || lexer.eat(b',') {}
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let headers: HeaderMap = [(header::CONNECTION, value)].into_iter().collect();
                let commas = bytes.iter().filter(|byte| **byte == b',').count();
                prop_assert_eq!(elements(&headers, &header::CONNECTION).count(), commas + 1);
            }
        }
    }
}
