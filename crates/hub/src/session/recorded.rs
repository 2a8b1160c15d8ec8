//! What a session writes down of its frames while it is traced.

use std::time::Duration;

use antiphon::Message;

use super::words;
use crate::{
    code::CloseReason,
    hub::Client,
    occurrence::{Cause, Side},
    trace::{Payload, Way},
};

/// A message that was read or given to the socket.
pub(super) fn message(client: &Client, way: Way, message: &Message) {
    let bytes = message.as_bytes();
    let payload = if message.as_text().is_some() {
        Payload::Text(bytes)
    } else {
        Payload::Binary(bytes)
    };
    record(client, way, &payload);
}

/// The words before a Close of the hub's.
pub(super) fn goodbye(client: &Client, reason: &CloseReason, delay: Duration) {
    if client.connection.outbox().is_traced
        && let Some(text) = words::goodbye(client.wire(), reason, delay)
    {
        record(client, Way::Out, &Payload::Text(text.as_bytes()));
    }
}

/// The Close. Where the connection broke nobody has said anything.
pub(super) fn end(client: &Client, cause: &Cause) {
    let way = match cause.by {
        Side::Client => Way::In,
        Side::Server => Way::Out,
        Side::Network => return,
    };
    if client.connection.outbox().is_traced {
        record(client, way, &Payload::Close(cause.code, &cause.reason));
    }
}

fn record(client: &Client, way: Way, payload: &Payload<'_>) {
    let hub = client.hub();
    if !hub.0.recorder.record(client.id(), way, payload) {
        client.connection.set_traced(false);
    }
}
