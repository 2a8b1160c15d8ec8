//! What the HTTP API answers where it cannot do what was asked.

use std::{borrow::Cow, time::Duration};

use antiphon_hub::{
    code::ErrorCode, hub::SendError, id::ConnectionId, json::BadJson, refusal::Refusal,
};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// The reason of a text that is no JSON.
pub(crate) const BAD_JSON: &str = "bad_json";

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct CallError {
    /// 100 internal (try again), 103 not allowed, 104 no such call, 106 beyond a limit, 107 bad request, 108 not
    /// available, 111 too many requests.
    pub(crate) code: i32,
    /// What is wrong, for people. Where a field is, its path comes first: `commands[3].publish.channel: ...`.
    #[schema(value_type = String)]
    pub(crate) message: Cow<'static, str>,
    /// What is wrong with the request as such, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    pub(crate) reason: Option<&'static str>,
}

impl CallError {
    /// One of the protocol's codes, in other words than its own.
    pub(crate) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: code.number(),
            message: message.into(),
            reason: None,
        }
    }

    /// 107, with the field that is wrong.
    pub(crate) fn field(path: &str, what: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::BadRequest, format!("{path}: {what}"))
    }

    /// 107: the text is no JSON at all. A request that is nothing else is answered 400.
    pub(crate) fn no_json(what: impl std::fmt::Display) -> Self {
        Self {
            reason: Some(BAD_JSON),
            ..Self::new(ErrorCode::BadRequest, what.to_string())
        }
    }

    /// 106, with the field that is too long, too large or too many.
    pub(crate) fn limit(path: &str, what: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::LimitExceeded, format!("{path}: {what}"))
    }

    /// 100: it may work a little later.
    pub(crate) fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    /// The same error below a path, such as that of a command in a batch.
    pub(crate) fn below(mut self, path: &str) -> Self {
        if self.code == ErrorCode::BadRequest.number() {
            self.message = format!("{path}.{}", self.message).into();
        }
        self
    }
}

impl From<Refusal> for CallError {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code(),
            message: refusal.message().to_owned().into(),
            reason: None,
        }
    }
}

impl From<SendError> for CallError {
    fn from(error: SendError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<BadJson> for CallError {
    fn from(error: BadJson) -> Self {
        Self::field("data", error)
    }
}

/// What a failed call answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorAnswer {
    /// Why.
    pub(crate) error: CallError,
}

/// A request that reaches no call: an HTTP status of its own, and the same shape as a failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// The status.
    pub(crate) status: StatusCode,
    /// Why.
    pub(crate) error: CallError,
    /// For a header: when to come back.
    pub(crate) retry_after: Option<Duration>,
}

impl Rejection {
    /// A rejection with a reason for programs.
    pub(crate) fn new(
        status: StatusCode,
        code: ErrorCode,
        reason: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut error = CallError::new(code, message);
        error.reason = Some(reason);
        Self {
            status,
            error,
            retry_after: None,
        }
    }
}

/// The id of a connection, as it is written.
pub(crate) fn connection_id(path: &str, text: &str) -> Result<ConnectionId, CallError> {
    text.parse().map_err(|error| CallError::field(path, error))
}
