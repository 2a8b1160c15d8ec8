//! A JSON value that has been checked once and is spliced as it came.

use std::{error::Error, fmt};

use antiphon::Utf8Bytes;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// A JSON value as text: valid, within [`MAX_DEPTH`], without a raw line break. Cloning shares the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Utf8Bytes);

/// Most arrays and objects inside each other.
pub const MAX_DEPTH: usize = 64;

impl Json {
    /// The value `null`.
    #[must_use]
    pub fn null() -> Self {
        Self(Utf8Bytes::from("null"))
    }

    /// Checks that `text` is one JSON value.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, BadJson> {
        let value: &RawValue =
            serde_json::from_str(text).map_err(|error| BadJson(error.to_string()))?;
        Ok(Self(Utf8Bytes::from(value.get())))
    }

    /// The JSON of a value.
    ///
    /// # Errors
    ///
    /// The value has no JSON, such as a map whose keys are no strings.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, BadJson> {
        serde_json::to_string(value)
            .map(|text| Self(Utf8Bytes::from(text)))
            .map_err(|error| BadJson(error.to_string()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The value as a type.
    ///
    /// # Errors
    ///
    /// It has another shape.
    pub fn to<'a, T: Deserialize<'a>>(&'a self) -> Result<T, BadJson> {
        serde_json::from_str(self.as_str()).map_err(|error| BadJson(error.to_string()))
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
        let raw: &RawValue =
            serde_json::from_str(self.as_str()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// A text that is no JSON, or not the JSON that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadJson(String);

impl fmt::Display for BadJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for BadJson {}
