//! Messages: what an application sends and receives, cheap to clone, never larger in memory than they are.

use std::{borrow::Borrow, fmt, ops::Deref};

use bytes::{Buf as _, Bytes};

use crate::utf8;

/// Bytes in front of the payload of a long message, within its memory. A payload that began at the beginning of a page
/// would be sent from there to a place in a page that is a header further on, and some processors copy half as fast
/// where the destination stands a few bytes behind the source in this sense.
pub(crate) const LEAD: usize = 64;

/// From this size a message has bytes in front of it.
pub(crate) const LEAD_FROM: usize = 16 * 1024;

/// A payload in memory of its own.
pub(crate) fn copied(payload: &[u8]) -> Bytes {
    if payload.len() < LEAD_FROM {
        return Bytes::copy_from_slice(payload);
    }
    let mut bytes = Vec::with_capacity(LEAD + payload.len());
    bytes.extend_from_slice(&[0; LEAD]);
    bytes.extend_from_slice(payload);
    let mut bytes = Bytes::from(bytes);
    bytes.advance(LEAD);
    bytes
}

/// UTF-8 text in shared, reference-counted memory: cloning is free.
///
/// ```
/// use antiphon_proto::message::Utf8Bytes;
///
/// let text = Utf8Bytes::from("hello");
/// assert_eq!(&text[..4], "hell");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Utf8Bytes(Bytes);

impl Utf8Bytes {
    /// Text that lives as long as the program.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Checked when the value was made; the check is repeated because this crate has no unsafe code, and it runs
        // at tens of gigabytes a second.
        simdutf8::basic::from_utf8(&self.0).unwrap_or_default()
    }

    /// The bytes of the text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The shared memory behind the text.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// For bytes that the receiver has already validated.
    pub(crate) fn from_validated(bytes: Bytes) -> Self {
        debug_assert!(utf8::is_valid(&bytes));
        Self(bytes)
    }
}

impl Deref for Utf8Bytes {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Utf8Bytes {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<[u8]> for Utf8Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<str> for Utf8Bytes {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<String> for Utf8Bytes {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl From<&str> for Utf8Bytes {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<Utf8Bytes> for Bytes {
    fn from(text: Utf8Bytes) -> Self {
        text.0
    }
}

impl TryFrom<Bytes> for Utf8Bytes {
    type Error = std::str::Utf8Error;

    fn try_from(bytes: Bytes) -> Result<Self, Self::Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Self(bytes))
    }
}

impl PartialEq<str> for Utf8Bytes {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Utf8Bytes {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl fmt::Debug for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Text or binary: the two kinds of message (RFC 6455 section 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8 text, opcode 1.
    Text,
    /// Arbitrary bytes, opcode 2.
    Binary,
}

/// A whole message. Cloning shares the payload.
///
/// Control frames are no messages: the connection answers pings and closes by itself.
///
/// ```
/// use antiphon_proto::message::Message;
///
/// let message = Message::text("hello");
/// assert_eq!(message.as_text(), Some("hello"));
/// assert_eq!(message.len(), 5);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
}

impl Message {
    /// A text message.
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Self::Text(text.into())
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

    /// Text or binary.
    #[must_use]
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
    }

    /// The text of a text message.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.as_str()),
            Self::Binary(_) => None,
        }
    }

    /// The payload, whatever the kind.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The payload in its shared memory, whatever the kind.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Length of the payload in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

/// A whole message that stands in memory of somebody else, as a handler sees it that needs no copy.
///
/// ```
/// use antiphon_proto::message::{Message, MessageRef};
///
/// let message = Message::text("hello");
/// assert_eq!(MessageRef::from(&message).as_text(), Some("hello"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRef<'a> {
    kind: MessageKind,
    /// UTF-8 where the kind is text.
    payload: &'a [u8],
}

impl<'a> MessageRef<'a> {
    /// A message of either kind. The payload of a text has to be UTF-8 already, as that of every message which was
    /// received is: a peer ends the connection (1007) over one that is not.
    #[must_use]
    pub const fn new(kind: MessageKind, payload: &'a [u8]) -> Self {
        Self { kind, payload }
    }

    /// A text message.
    #[must_use]
    pub const fn text(text: &'a str) -> Self {
        Self::new(MessageKind::Text, text.as_bytes())
    }

    /// A binary message.
    #[must_use]
    pub const fn binary(payload: &'a [u8]) -> Self {
        Self::new(MessageKind::Binary, payload)
    }

    /// Text or binary.
    #[must_use]
    pub const fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The text of a text message.
    #[must_use]
    pub fn as_text(&self) -> Option<&'a str> {
        match self.kind {
            MessageKind::Text => simdutf8::basic::from_utf8(self.payload).ok(),
            MessageKind::Binary => None,
        }
    }

    /// The payload, whatever the kind.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.payload
    }

    /// A message of its own, to keep.
    #[must_use]
    pub fn to_message(&self) -> Message {
        let payload = copied(self.payload);
        match self.kind {
            MessageKind::Text => Message::Text(Utf8Bytes::from_validated(payload)),
            MessageKind::Binary => Message::Binary(payload),
        }
    }
}

impl<'a> From<&'a Message> for MessageRef<'a> {
    fn from(message: &'a Message) -> Self {
        Self::new(message.kind(), message.as_bytes())
    }
}

impl<'a> From<&'a str> for MessageRef<'a> {
    fn from(text: &'a str) -> Self {
        Self::text(text)
    }
}

impl<'a> From<&'a [u8]> for MessageRef<'a> {
    fn from(payload: &'a [u8]) -> Self {
        Self::binary(payload)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<Utf8Bytes> for Message {
    fn from(text: Utf8Bytes) -> Self {
        Self::Text(text)
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::binary(bytes)
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shared_and_checked() {
        let text = Utf8Bytes::from("Grüße");
        assert_eq!(text.clone().into_bytes().as_ptr(), text.as_bytes().as_ptr());
        assert!(Utf8Bytes::try_from(Bytes::from_static(&[0xff])).is_err());
        assert_eq!(
            Utf8Bytes::try_from(Bytes::from_static("é".as_bytes())).unwrap(),
            "é"
        );
    }

    #[test]
    fn a_borrowed_message_becomes_its_own() {
        for message in [
            Message::from("a"),
            Message::from(""),
            Message::from(vec![0xff]),
        ] {
            let borrowed = MessageRef::from(&message);
            assert_eq!(borrowed.kind(), message.kind());
            assert_eq!(borrowed.as_text(), message.as_text());
            assert_eq!(borrowed.as_bytes(), message.as_bytes());
            assert_eq!(borrowed.to_message(), message);
        }
        assert_eq!(MessageRef::from("a"), MessageRef::text("a"));
        assert_eq!(MessageRef::from(&b"a"[..]), MessageRef::binary(b"a"));
    }

    #[test]
    fn a_message_knows_its_kind_and_payload() {
        for (message, kind, text, bytes) in [
            (Message::from("a"), MessageKind::Text, Some("a"), &b"a"[..]),
            (
                Message::from(String::new()),
                MessageKind::Text,
                Some(""),
                b"",
            ),
            (
                Message::from(vec![1, 2]),
                MessageKind::Binary,
                None,
                &[1, 2],
            ),
            (
                Message::from(&[0xff][..]),
                MessageKind::Binary,
                None,
                &[0xff],
            ),
        ] {
            assert_eq!(message.kind(), kind);
            assert_eq!(message.as_text(), text);
            assert_eq!(message.as_bytes(), bytes);
            assert_eq!(message.len(), bytes.len());
            assert_eq!(message.is_empty(), bytes.is_empty());
            assert_eq!(message.into_bytes(), bytes);
        }
    }
}
