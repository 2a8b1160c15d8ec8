//! Why a request is refused: a code for programs, a sentence for people.

use std::{borrow::Cow, error::Error, fmt, time::Duration};

use crate::code::{CloseReason, ErrorCode};

/// Why a request is refused.
///
/// ```
/// use antiphon_hub::refusal::Refusal;
///
/// let refusal = Refusal::new(1001, "the room is full");
/// assert_eq!(refusal.code(), 1001);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    code: i32,
    message: Cow<'static, str>,
    temporary: bool,
    retry_after: Option<Duration>,
    close: Option<CloseReason>,
}

impl Refusal {
    /// A refusal of the application's own; its codes start at 1000.
    pub fn new(code: i32, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            temporary: false,
            retry_after: None,
            close: None,
        }
    }

    /// One of the protocol's codes with its own message.
    #[must_use]
    pub fn of(code: ErrorCode) -> Self {
        let mut refusal = Self::new(code.number(), code.message());
        refusal.temporary = code.is_temporary();
        refusal
    }

    /// 100: something went wrong on the server.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::of(ErrorCode::Internal).saying(message)
    }

    /// 103: not allowed.
    pub fn denied(message: impl Into<Cow<'static, str>>) -> Self {
        Self::of(ErrorCode::PermissionDenied).saying(message)
    }

    /// 107: the request is not what it should be.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::of(ErrorCode::BadRequest).saying(message)
    }

    /// The same with another message.
    #[must_use]
    pub fn saying(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = message.into();
        self
    }

    /// It may work later.
    #[must_use]
    pub fn temporary(mut self) -> Self {
        self.temporary = true;
        self
    }

    /// It may work after this time.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self.temporary = true;
        self
    }

    /// The connection is closed as well.
    #[must_use]
    pub fn closing(mut self, close: CloseReason) -> Self {
        self.close = Some(close);
        self
    }

    /// The code: below 1000 the protocol's.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.code
    }

    /// What is wrong, in words.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same request may work later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.temporary
    }

    /// How long to wait before.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// With what the connection is closed.
    #[must_use]
    pub fn close(&self) -> Option<&CloseReason> {
        self.close.as_ref()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl Error for Refusal {}
