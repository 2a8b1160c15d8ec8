//! The envelope with ids, channels and typed codes: `antiphon.v2.json`.

use serde_json::value::RawValue;

use crate::wire::{
    incoming::{BadInput, Fault, Fields, Incoming, data, event, name},
    outgoing::{Envelope, number, string},
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
    let (id, event) = (id(fields.id), event(fields.event));
    let id = id.map_err(|fault| BadInput {
        fault,
        id: None,
        event: event.clone().ok(),
    })?;
    let bad = |fault, event| BadInput { fault, id, event };
    let event = event.map_err(|fault| bad(fault, None))?;
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
pub(super) fn encode(envelope: &Envelope<'_>, out: &mut String) {
    out.push_str("{\"event\":");
    string(out, envelope.event, false);
    if let Some(id) = envelope.id {
        out.push_str(",\"id\":");
        number(out, id);
    }
    if let Some(ch) = envelope.ch {
        out.push_str(",\"ch\":");
        string(out, ch, false);
    }
    if let Some(offset) = envelope.offset {
        out.push_str(",\"offset\":");
        number(out, offset);
    }
    if let Some(epoch) = envelope.epoch {
        out.push_str(",\"epoch\":");
        string(out, epoch, false);
    }
    if let Some(data) = envelope.data {
        out.push_str(",\"data\":");
        out.push_str(data.as_str());
    }
    out.push_str(",\"code\":");
    number(out, envelope.code);
    if let Some(error) = envelope.error.filter(|error| !error.is_empty()) {
        out.push_str(",\"errorMsg\":");
        string(out, error, false);
    }
    if envelope.temporary {
        out.push_str(",\"temporary\":true");
    }
    if let Some(wait) = envelope.retry_after_ms {
        out.push_str(",\"retryAfterMs\":");
        number(out, wait);
    }
    out.push_str(",\"timestamp\":");
    number(out, envelope.timestamp);
    out.push('}');
}
