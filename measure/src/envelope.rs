//! The envelopes of the hub: what a client says, read; what it is told, written.

use std::hint::black_box;

use antiphon_hub::{
    json::Json,
    wire::{Envelope, Wire},
};

use crate::{
    path::{Path, Step, step},
    sample,
};

/// Bytes of the data inside.
const DATA: usize = 125;

pub(crate) fn paths() -> Vec<Path> {
    vec![
        Path::new(
            "envelope/parse-v1",
            "a request with 125 B of JSON",
            DATA,
            || parsing(Wire::V1),
        ),
        Path::new(
            "envelope/parse-v2",
            "the same with id and channel",
            DATA,
            || parsing(Wire::V2),
        ),
        Path::new(
            "envelope/encode-v1",
            "a push with 125 B of JSON",
            DATA,
            || encoding(Wire::V1),
        ),
        Path::new(
            "envelope/encode-v2",
            "the same with channel and offset",
            DATA,
            || encoding(Wire::V2),
        ),
        Path::new(
            "envelope/json-1K",
            "data of 1 KiB, checked once",
            1024,
            checking,
        )
        .rounds(500),
    ]
}

fn parsing(wire: Wire) -> Step {
    let data = sample::json(DATA, 1);
    let request = match wire {
        Wire::V1 => format!("{{\"event\":\"chat/send\",\"data\":{data}}}"),
        Wire::V2 => {
            format!("{{\"event\":\"chat/send\",\"id\":17,\"ch\":\"room:lobby\",\"data\":{data}}}")
        }
    };
    step(move || assert!(black_box(wire.parse(black_box(request.as_bytes()))).is_ok()))
}

fn encoding(wire: Wire) -> Step {
    let data = Json::parse(&sample::json(DATA, 1)).unwrap_or_else(|_| Json::null());
    step(move || {
        let mut envelope = Envelope::push("chat/message", Some(&data));
        envelope.ch = Some("room:lobby");
        envelope.offset = Some(123_456);
        envelope.timestamp = 1_795_177_846;
        black_box(wire.encode(black_box(&envelope)));
    })
}

fn checking() -> Step {
    let data = sample::json(1024, 1);
    step(move || assert!(black_box(Json::parse(black_box(&data))).is_ok()))
}
