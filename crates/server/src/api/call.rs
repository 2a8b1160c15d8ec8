//! What a call is: a name, a scope, parameters from JSON, an answer as JSON.

use std::pin::Pin;

use antiphon_hub::{code::ErrorCode, json::Json};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::api::{error::CallError, key::Scope, state::ApiState};

/// One call: its parameters are the type that implements it.
pub(crate) trait Call: DeserializeOwned + ToSchema + Send + 'static {
    /// The last part of its path, and its name in a batch.
    const NAME: &'static str;
    /// What a key needs for it.
    const SCOPE: Scope;
    /// What it does, in a sentence.
    const ABOUT: &'static str;
    /// What it answers.
    type Answer: Serialize + ToSchema;

    /// Does it.
    ///
    /// # Errors
    ///
    /// Why it cannot be done.
    fn run(self, state: &ApiState) -> impl Future<Output = Result<Self::Answer, CallError>> + Send;
}

/// An answer that is JSON already.
pub(crate) type Outcome = Result<Box<RawValue>, CallError>;

/// A call that is being made.
pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Makes the call of this type with parameters as text.
pub(crate) fn run<'a, T: Call>(params: &'a str, state: &'a ApiState) -> Running<'a> {
    Box::pin(async move {
        let call: T = read(params)?;
        let answer = call.run(state).await?;
        serde_json::value::to_raw_value(&answer)
            .map_err(|error| CallError::internal(format!("the answer has no JSON: {error}")))
    })
}

/// Reads parameters; what is wrong is told with its path.
pub(crate) fn read<'a, T: Deserialize<'a>>(params: &'a str) -> Result<T, CallError> {
    let mut deserializer = serde_json::Deserializer::from_str(params);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let what = error.into_inner();
        if !what.is_data() {
            CallError::no_json(what)
        } else if path == "." {
            CallError::new(ErrorCode::BadRequest, what.to_string())
        } else {
            CallError::field(&path, what)
        }
    })?;
    deserializer.end().map_err(CallError::no_json)?;
    Ok(value)
}

/// `#[serde(default, deserialize_with = "present")]`: a `null` that is written is a value; nothing is none.
pub(crate) fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}
