//! Why another server gave no answer that can be used.

use std::{error::Error as StdError, fmt};

use crate::value;

/// Why a request has no answer. None of them holds what was sent, where the path may be secret, or what was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// Too many requests are under way: nothing was sent.
    Busy,
    /// No connection: nothing was sent. Wrong names, closed ports and bad certificates end here.
    Connect(String),
    /// No complete answer in time.
    Timeout,
    /// The connection ended, or spoke something else, before the head of an answer.
    Broken(String),
    /// The answer has another status than 2xx. Redirects are not followed.
    Status(u16),
    /// The answer was good by its status, but has more bytes than this.
    TooLarge(usize),
    /// The answer was good by its status, but ended early or is not what was asked for.
    Body(String),
}

impl Error {
    /// Whether nothing of the request has reached anybody: it may be repeated whatever it does.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(self, Self::Busy | Self::Connect(_))
    }

    /// Whether the next try may go better.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Busy | Self::Connect(_) | Self::Timeout | Self::Broken(_) => true,
            Self::Status(status) => matches!(status, 408 | 425 | 429 | 500..),
            Self::TooLarge(_) | Self::Body(_) => false,
        }
    }

    /// Whether it speaks against the health of the other server, for a circuit breaker.
    pub(crate) fn is_ill(&self) -> bool {
        match self {
            Self::Busy => false,
            Self::TooLarge(_) | Self::Body(_) => true,
            _ => self.is_temporary(),
        }
    }

    /// What stands in a span of a trace.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Connect(_) => "connect",
            Self::Timeout => "timeout",
            Self::Broken(_) => "broken",
            Self::Status(_) => "status",
            Self::TooLarge(_) => "too_large",
            Self::Body(_) => "body",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too many outgoing requests are under way"),
            Self::Connect(why) => write!(f, "no connection: {}", value::printable(why)),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Broken(why) => write!(f, "the connection broke: {}", value::printable(why)),
            Self::Status(status @ 300..400) => {
                write!(
                    f,
                    "status {status}: redirects are not followed, set the final address"
                )
            }
            Self::Status(status) => write!(f, "status {status}"),
            Self::TooLarge(limit) => write!(f, "the answer has more than {limit} bytes"),
            Self::Body(why) => {
                write!(f, "the answer cannot be used: {}", value::printable(why))
            }
        }
    }
}

impl StdError for Error {}

/// An error with its causes in one line.
pub(super) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_repeated_and_what_counts_as_ill() {
        let text = || String::from("x");
        for (error, unsent, temporary, ill) in [
            (Error::Busy, true, true, false),
            (Error::Connect(text()), true, true, true),
            (Error::Timeout, false, true, true),
            (Error::Broken(text()), false, true, true),
            (Error::Status(302), false, false, false),
            (Error::Status(404), false, false, false),
            (Error::Status(429), false, true, true),
            (Error::Status(500), false, true, true),
            (Error::Status(503), false, true, true),
            (Error::TooLarge(1), false, false, true),
            (Error::Body(text()), false, false, true),
        ] {
            assert_eq!(
                (error.is_unsent(), error.is_temporary(), error.is_ill()),
                (unsent, temporary, ill),
                "{error}"
            );
        }
    }
}
