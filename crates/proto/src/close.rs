//! The Close frame: a close code and a reason (RFC 6455 sections 5.5.1 and 7.4).

// The codes have a room of their own below, because errors name them and reading a Close frame names errors.
pub(crate) mod code;

use std::fmt;

pub use self::code::CloseCode;
use crate::{error::Violation, message::Utf8Bytes, utf8};

/// Longest reason that fits into a Close frame beside the code, in bytes (RFC 6455 section 5.5).
pub const MAX_REASON: usize = 123;

/// A close code and its reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CloseFrame {
    /// The code; [`CloseCode::NO_STATUS`] where the frame was empty.
    pub code: CloseCode,
    /// The reason: at most 123 bytes, for people who debug.
    pub reason: Utf8Bytes,
}

impl CloseFrame {
    /// A frame with this code and reason. A reason beyond 123 bytes is cut at a character boundary.
    pub fn new(code: impl Into<CloseCode>, reason: impl Into<Utf8Bytes>) -> Self {
        let mut reason: Utf8Bytes = reason.into();
        let end = reason_end(&reason);
        if end < reason.len() {
            reason = Utf8Bytes::from_validated(reason.into_bytes().slice(..end));
        }
        Self {
            code: code.into(),
            reason,
        }
    }

    /// Reads the payload of a Close frame (section 5.5.1).
    ///
    /// # Errors
    ///
    /// [`Violation::ClosePayloadOneByte`], [`Violation::CloseCodeInvalid`] or [`Violation::CloseReasonUtf8`].
    pub fn parse(payload: &[u8]) -> Result<Self, Violation> {
        match payload {
            [] => Ok(Self {
                code: CloseCode::NO_STATUS,
                reason: Utf8Bytes::default(),
            }),
            [_] => Err(Violation::ClosePayloadOneByte),
            [high, low, reason @ ..] => {
                let code = CloseCode::new(u16::from_be_bytes([*high, *low]));
                if !code.is_sendable() {
                    return Err(Violation::CloseCodeInvalid(code.get()));
                }
                if !utf8::is_valid(reason) {
                    return Err(Violation::CloseReasonUtf8);
                }
                let reason = Utf8Bytes::from_validated(bytes::Bytes::copy_from_slice(reason));
                Ok(Self { code, reason })
            }
        }
    }

    /// Appends the payload of the Close frame: nothing for [`CloseCode::NO_STATUS`], and never more than fits into one.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if self.code != CloseCode::NO_STATUS {
            out.extend_from_slice(&self.code.get().to_be_bytes());
            // The field is public: a reason of any length may stand in it.
            let end = reason_end(&self.reason);
            out.extend_from_slice(&self.reason.as_bytes()[..end]);
        }
    }
}

/// Where a reason is to be cut to fit into a Close frame, at a character boundary.
fn reason_end(reason: &str) -> usize {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    end
}

impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason.is_empty() {
            write!(f, "{}", self.code)
        } else {
            // A peer's words are escaped: they end up in logs and on terminals.
            write!(f, "{}: {}", self.code, self.reason.escape_debug())
        }
    }
}
