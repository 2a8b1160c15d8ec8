//! Any bytes are read by both wires or refused with a documented fault; what was read is written with the same data.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, value::RawValue};

use hub::{code, json, wire};
use wire::{Envelope, Fault, Incoming, MAX_BATCH, MAX_NAME, Wire};

/// The rooms of the hub that know no socket, from their sources: the crate would bring the whole library with TLS.
#[allow(dead_code)]
#[path = "../../crates/hub/src"]
mod hub {
    pub mod code;
    pub mod json;
    pub mod wire;
}

fuzz_target!(|frame: &[u8]| {
    for wire in [Wire::V1, Wire::V2] {
        let items: Vec<_> = wire.parse_all(frame).collect();
        assert!(!items.is_empty());
        assert!(items.len() <= if wire == Wire::V1 { 1 } else { MAX_BATCH + 1 });
        for item in items {
            match item {
                Ok(incoming) => read(wire, &incoming),
                Err(bad) => {
                    assert!(!bad.to_string().chars().any(char::is_control));
                    assert_eq!(
                        code::ErrorCode::from_number(bad.code().number()),
                        Some(bad.code())
                    );
                    match bad.fault {
                        Fault::NotUtf8 => assert!(std::str::from_utf8(frame).is_err()),
                        Fault::IdType | Fault::ChannelType | Fault::TooMany => {
                            assert_eq!(wire, Wire::V2);
                        }
                        Fault::DataType => assert_eq!(wire, Wire::V1),
                        Fault::NotJson { .. }
                        | Fault::NotAnObject
                        | Fault::NoEvent
                        | Fault::EventType
                        | Fault::TooDeep
                        | Fault::NumberRange
                        | Fault::NameTooLong => {}
                    }
                }
            }
        }
        // What serde_json reads is JSON for us, too.
        if let Err(bad) = wire.parse(frame)
            && let Ok(value) = serde_json::from_slice::<Value>(frame)
        {
            assert!(!matches!(bad.fault, Fault::NotJson { .. } | Fault::NotUtf8));
            assert_eq!(bad.fault == Fault::NotAnObject, !value.is_object());
        }
    }
});

fn read(wire: Wire, incoming: &Incoming) {
    assert_eq!(incoming.is_heartbeat(), incoming.event.is_empty());
    assert!(!incoming.is_heartbeat() || wire == Wire::V2);
    assert!(incoming.event.len() <= MAX_NAME);
    let data = incoming.data.as_ref().map(json::Json::as_str);
    let envelope = Envelope {
        ch: incoming.ch.as_deref(),
        ..Envelope::reply(&incoming.event, incoming.id, incoming.data.as_ref())
    };
    let v1 = Wire::V1.encode(&envelope);
    let v2 = Wire::V2.encode(&envelope);
    let Some((line, "")) = v1.split_once('\n') else {
        panic!("one line feed, at the end")
    };
    for text in [line, &v2] {
        assert!(!text.contains(['\n', '\r']));
        let value: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(value["event"], *incoming.event);
        assert_eq!(value.get("data").is_some(), data.is_some());
        let fields: std::collections::HashMap<&str, &RawValue> =
            serde_json::from_str(text).expect("an object");
        assert_eq!(fields.get("data").map(|raw| raw.get()), data);
    }
    if !incoming.is_heartbeat() {
        assert_eq!(Wire::V2.parse(v2.as_bytes()).as_ref(), Ok(incoming));
    }
}
