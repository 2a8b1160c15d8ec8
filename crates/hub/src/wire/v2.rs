//! The envelope with ids, channels and typed codes: `antiphon.v2.json`.

use serde_json::value::RawValue;

use crate::wire::{
    incoming::{BadInput, Fault, Fields, Incoming, data, event, name},
    outgoing::{Envelope, number, signed, string},
};

/// Reads a request: `{"event": string, "id"?: number, "ch"?: string, "data"?: any}`, or the empty object.
pub(super) fn parse(text: &str) -> Result<Incoming, BadInput> {
    let fields = Fields::read(text, false)?;
    if fields.empty {
        return Ok(Incoming {
            event: "".into(),
            id: None,
            data: None,
            ch: None,
        });
    }
    let id = id(fields.id)?;
    let bad = |fault, event| BadInput { fault, id, event };
    let event = event(fields.event).map_err(|fault| bad(fault, None))?;
    let rest = name(fields.ch, Fault::ChannelType)
        .and_then(|ch| Ok((ch, fields.data.map(data).transpose()?)));
    match rest {
        Ok((ch, data)) => Ok(Incoming {
            event,
            id,
            data,
            ch,
        }),
        Err(fault) => Err(bad(fault, Some(event))),
    }
}

fn id(raw: Option<&RawValue>) -> Result<Option<u64>, Fault> {
    match raw.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(text) => match text.parse() {
            Ok(0) | Err(_) => Err(Fault::IdType),
            Ok(id) => Ok(Some(id)),
        },
    }
}

/// Writes the same object as v1 with the fields that are set, and no line break.
pub(super) fn encode(envelope: &Envelope<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"event\":");
    string(out, envelope.event, false);
    if let Some(id) = envelope.id {
        out.extend_from_slice(b",\"id\":");
        number(out, id);
    }
    if let Some(ch) = envelope.ch {
        out.extend_from_slice(b",\"ch\":");
        string(out, ch, false);
    }
    if let Some(offset) = envelope.offset {
        out.extend_from_slice(b",\"offset\":");
        number(out, offset);
    }
    if let Some(epoch) = envelope.epoch {
        out.extend_from_slice(b",\"epoch\":");
        string(out, epoch, false);
    }
    if let Some(data) = envelope.data {
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(data.as_str().as_bytes());
    }
    out.extend_from_slice(b",\"code\":");
    signed(out, envelope.code);
    if let Some(error) = envelope.error.filter(|error| !error.is_empty()) {
        out.extend_from_slice(b",\"errorMsg\":");
        string(out, error, false);
    }
    if envelope.temporary {
        out.extend_from_slice(b",\"temporary\":true");
    }
    if let Some(wait) = envelope.retry_after_ms {
        out.extend_from_slice(b",\"retryAfterMs\":");
        number(out, wait);
    }
    out.extend_from_slice(b",\"timestamp\":");
    number(out, envelope.timestamp);
    out.push(b'}');
}
