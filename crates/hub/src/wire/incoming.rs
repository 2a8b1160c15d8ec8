//! What a client sent: one request, or what is wrong with it.

use std::{error::Error, fmt};

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

use crate::{code::ErrorCode, json::Json};

/// Longest name of an event or a channel, in bytes.
pub const MAX_NAME: usize = 255;

/// One request, or a heartbeat.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incoming {
    /// The event, 1 to [`MAX_NAME`] bytes. Empty in a heartbeat of v2.
    pub event: Box<str>,
    /// The number that the reply repeats (v2).
    pub id: Option<u64>,
    /// The data. In v1 an object; in v2 anything, where `null` is a value.
    pub data: Option<Json>,
    /// The channel (v2), at most [`MAX_NAME`] bytes.
    pub ch: Option<Box<str>>,
}

impl Incoming {
    /// Whether this is the empty object, which answers the server's text ping and gets no reply.
    #[must_use]
    pub fn is_heartbeat(&self) -> bool {
        self.event.is_empty()
    }
}

/// Without the data, which may hold a token.
impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("event", &self.event)
            .field("id", &self.id)
            .field("ch", &self.ch)
            .finish_non_exhaustive()
    }
}

/// A request that cannot be read. Holds what the reply repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadInput {
    /// What is wrong.
    pub fault: Fault,
    /// The request's id, where it could be read.
    pub id: Option<u64>,
    /// The request's event, where it could be read.
    pub event: Option<Box<str>>,
}

impl BadInput {
    /// The code of the reply.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self.fault {
            Fault::TooMany => ErrorCode::LimitExceeded,
            _ => ErrorCode::BadRequest,
        }
    }
}

impl From<Fault> for BadInput {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            id: None,
            event: None,
        }
    }
}

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl Error for BadInput {}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes are not UTF-8.
    NotUtf8,
    /// The text is no JSON; the first mistake stands at this line and column, both from 1.
    NotJson {
        /// The line.
        line: usize,
        /// The column, in bytes.
        column: usize,
    },
    /// The JSON is no object.
    NotAnObject,
    /// There is no `event`, or it is empty.
    NoEvent,
    /// `event` is no string.
    EventType,
    /// `id` is no whole number from 1 to 2^64 - 1 (v2).
    IdType,
    /// `ch` is no string (v2).
    ChannelType,
    /// `data` is neither an object nor null (v1).
    DataType,
    /// `data` is deeper than [`MAX_DEPTH`](crate::json::MAX_DEPTH).
    TooDeep,
    /// `data` has a number that no double can hold.
    NumberRange,
    /// `event` or `ch` is longer than [`MAX_NAME`].
    NameTooLong,
    /// The frame holds more than [`MAX_BATCH`](crate::wire::MAX_BATCH) requests.
    TooMany,
}

impl Fault {
    /// The name for metrics, in lower case with underscores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::NotJson { .. } => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::NoEvent => "no_event",
            Self::EventType => "event_type",
            Self::IdType => "id_type",
            Self::ChannelType => "channel_type",
            Self::DataType => "data_type",
            Self::TooDeep => "too_deep",
            Self::NumberRange => "number_range",
            Self::NameTooLong => "name_too_long",
            Self::TooMany => "too_many",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("the message is not UTF-8"),
            Self::NotJson { line, column } => {
                write!(f, "not JSON at line {line}, column {column}")
            }
            Self::NotAnObject => f.write_str("a request is a JSON object"),
            Self::NoEvent => f.write_str("`event` is missing"),
            Self::EventType => f.write_str("`event` must be a string"),
            Self::IdType => f.write_str("`id` must be a positive whole number"),
            Self::ChannelType => f.write_str("`ch` must be a string"),
            Self::DataType => f.write_str("`data` must be an object or null"),
            Self::TooDeep => write!(f, "`data` is deeper than {} levels", crate::json::MAX_DEPTH),
            Self::NumberRange => f.write_str("a number in `data` is out of range"),
            Self::NameTooLong => {
                write!(f, "`event` and `ch` are at most {MAX_NAME} bytes long")
            }
            Self::TooMany => write!(
                f,
                "more than {} requests in one message",
                crate::wire::MAX_BATCH
            ),
        }
    }
}

/// The fields of a request, before their types are looked at. Of fields with the same name the last one counts.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) event: Option<&'a RawValue>,
    pub(super) id: Option<&'a RawValue>,
    pub(super) ch: Option<&'a RawValue>,
    pub(super) data: Option<&'a RawValue>,
    /// Not a single field, known or unknown.
    pub(super) empty: bool,
}

impl<'a> Fields<'a> {
    /// Reads one object; `fold` ignores the case of ASCII letters in its keys.
    ///
    /// serde_json walks values that it does not look into without recursion, so depth costs no stack.
    pub(super) fn read(text: &'a str, fold: bool) -> Result<Self, Fault> {
        let mut json = serde_json::Deserializer::from_str(text);
        json.deserialize_map(Object { fold })
            .and_then(|fields| json.end().map(|()| fields))
            .map_err(|error| match error.classify() {
                Category::Data => Fault::NotAnObject,
                _ => Fault::NotJson {
                    line: error.line(),
                    column: error.column(),
                },
            })
    }
}

/// A string of at most [`MAX_NAME`] bytes; `null` counts as absent.
pub(super) fn name(raw: Option<&RawValue>, wrong: Fault) -> Result<Option<Box<str>>, Fault> {
    let Some(text) = raw.map(RawValue::get).filter(|text| *text != "null") else {
        return Ok(None);
    };
    if !text.starts_with('"') {
        return Err(wrong);
    }
    // A byte of a name takes at most six as an escape.
    if text.len() > 6 * MAX_NAME + 2 {
        return Err(Fault::NameTooLong);
    }
    // Half a surrogate pair is no character.
    let name: Box<str> = serde_json::from_str(text).map_err(|_| wrong)?;
    if name.len() > MAX_NAME {
        return Err(Fault::NameTooLong);
    }
    Ok(Some(name))
}

/// The event, which must be there.
pub(super) fn event(raw: Option<&RawValue>) -> Result<Box<str>, Fault> {
    name(raw, Fault::EventType)?
        .filter(|event| !event.is_empty())
        .ok_or(Fault::NoEvent)
}

/// The data, checked for what its grammar does not show.
pub(super) fn data(raw: &RawValue) -> Result<Json, Fault> {
    Json::from_raw(raw).map_err(|error| {
        if error.is_too_deep() {
            Fault::TooDeep
        } else {
            Fault::NumberRange
        }
    })
}

struct Object {
    fold: bool,
}

impl<'de> Visitor<'de> for Object {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields {
            empty: true,
            ..Fields::default()
        };
        while let Some(key) = map.next_key_seed(Key { fold: self.fold })? {
            fields.empty = false;
            let field = match key {
                Field::Event => &mut fields.event,
                Field::Id => &mut fields.id,
                Field::Channel => &mut fields.ch,
                Field::Data => &mut fields.data,
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *field = Some(map.next_value()?);
        }
        Ok(fields)
    }
}

enum Field {
    Event,
    Id,
    Channel,
    Data,
    Other,
}

struct Key {
    fold: bool,
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Field, E> {
        let is = |name: &str| key == name || self.fold && key.eq_ignore_ascii_case(name);
        Ok(if is("event") {
            Field::Event
        } else if is("data") {
            Field::Data
        } else if is("id") {
            Field::Id
        } else if is("ch") {
            Field::Channel
        } else {
            Field::Other
        })
    }
}
