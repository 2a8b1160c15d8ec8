//! hotgo's envelope, byte for byte.

use crate::wire::{
    incoming::{BadInput, Fault, Fields, Incoming, data, event},
    outgoing::{Envelope, number, string},
};

/// Reads a request: `{"event": string, "data": object or null}`. The case of keys does not matter, other keys neither.
pub(super) fn parse(text: &str) -> Result<Incoming, BadInput> {
    let fields = Fields::read(text, true)?;
    let event = event(fields.event)?;
    let object = match fields.data.filter(|raw| raw.get() != "null") {
        Some(raw) if !raw.get().starts_with('{') => Err(Fault::DataType),
        Some(raw) => data(raw).map(Some),
        None => Ok(None),
    };
    match object {
        Ok(data) => Ok(Incoming {
            event,
            id: None,
            data,
            ch: None,
        }),
        Err(fault) => Err(BadInput {
            fault,
            id: None,
            event: Some(event),
        }),
    }
}

/// Writes `{"event","data","code","errorMsg","timestamp"}` and a line break, with Go's escapes.
pub(super) fn encode(envelope: &Envelope<'_>, out: &mut String) {
    out.push_str("{\"event\":");
    string(out, envelope.event, true);
    if let Some(data) = envelope.data {
        out.push_str(",\"data\":");
        out.push_str(data.as_str());
    }
    let code = if envelope.code == 0 {
        ",\"code\":0"
    } else {
        ",\"code\":-1"
    };
    out.push_str(code);
    if let Some(error) = envelope.error.filter(|error| !error.is_empty()) {
        out.push_str(",\"errorMsg\":");
        string(out, error, true);
    }
    out.push_str(",\"timestamp\":");
    number(out, envelope.timestamp);
    out.push_str("}\n");
}
