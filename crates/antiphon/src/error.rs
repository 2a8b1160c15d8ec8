//! What can go wrong, for people who read it and for programs that decide by it.

use std::{borrow::Cow, error::Error as StdError, fmt, io};

use antiphon_proto::{close::CloseFrame, error::Violation};
use bytes::Bytes;

/// The result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The transport failed, or ended without a Close frame (what the RFC reports as 1006).
    Io,
    /// A deadline passed: the handshake's, the pong's, the write's.
    Timeout,
    /// The peer broke the protocol or crossed a bound; it was told with the violation's close code.
    Violation(Violation),
    /// The connection is closed: by the peer, or by this side.
    Closed(Option<CloseFrame>),
    /// More output waits than `write_high_water` allows: the peer reads slowly.
    Full,
    /// The server refused the opening handshake with this HTTP status, or answered it wrongly (status 101 or 200).
    Handshake(u16),
    /// TLS failed: a certificate that is not trusted, a name that does not match, a broken handshake.
    Tls,
    /// The proxy refused or failed.
    Proxy,
    /// The URL is not one that can be connected to.
    Url,
    /// The server could not be reached: no address for the name, connection refused.
    Connect,
    /// A setting, a file or a certificate that cannot be used.
    Config,
}

/// An error, with what was attempted and the cause behind it.
///
/// ```
/// use antiphon::{Error, ErrorKind};
///
/// fn explain(error: &Error) -> &'static str {
///     match error.kind() {
///         ErrorKind::Timeout => "too slow",
///         ErrorKind::Violation(_) => "the peer broke the protocol",
///         _ => "something else",
///     }
/// }
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    context: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    body: Bytes,
}

impl Error {
    /// An error of this kind; `context` says what was wrong, where, and what to do.
    pub fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            context: context.into(),
            source: None,
            body: Bytes::new(),
        }))
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds the beginning of the response body of a refused handshake.
    pub(crate) fn with_body(mut self, body: Bytes) -> Self {
        self.0.body = body;
        self
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The Close frame, where the connection was closed with one.
    #[must_use]
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        match &self.0.kind {
            ErrorKind::Closed(frame) => frame.as_ref(),
            _ => None,
        }
    }

    /// The rule that the peer broke.
    #[must_use]
    pub fn violation(&self) -> Option<Violation> {
        match self.0.kind {
            ErrorKind::Violation(violation) => Some(violation),
            _ => None,
        }
    }

    /// Up to 1,024 bytes of the body with which a server refused the handshake.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("context", &self.0.context)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.context)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::new(
            ErrorKind::Violation(violation),
            format!(
                "the peer broke the protocol: {violation} ({})",
                violation.section()
            ),
        )
    }
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        let kind = if source.kind() == io::ErrorKind::TimedOut {
            ErrorKind::Timeout
        } else {
            ErrorKind::Io
        };
        Self::new(kind, format!("the connection failed: {source}")).with_source(source)
    }
}

/// A message that could not be sent, with the reason.
#[derive(Debug)]
pub struct SendError<T> {
    /// The message, unsent.
    pub message: T,
    /// Why it was not sent.
    pub error: Error,
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message not sent: {}", self.error)
    }
}

impl<T: fmt::Debug> StdError for SendError<T> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.error)
    }
}

impl<T> From<SendError<T>> for Error {
    fn from(unsent: SendError<T>) -> Self {
        unsent.error
    }
}
