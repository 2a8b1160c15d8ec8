//! Any bytes, split anywhere, give the same events and the same answer, or the same violation.
#![no_main]

use std::{sync::Arc, time::Instant};

use antiphon_proto::{
    config::{Config, DeflateConfig, DeflateParams, Role},
    connection::{Connection, Event, Input},
    error::Violation,
};
use libfuzzer_sys::fuzz_target;

/// What a run gave: what was received, what was answered, how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    events: Vec<String>,
    output: Vec<u8>,
    violation: Option<Violation>,
}

fn run(
    role: Role,
    compression: Option<DeflateParams>,
    bytes: &[u8],
    pieces: &[u8],
    now: Instant,
) -> Outcome {
    let mut config = Config::default();
    config.max_message_size = 64 * 1024;
    config.max_fragments = 16;
    let deflate = compression.map(|params| (params, Arc::new(DeflateConfig::default())));
    let mut connection = Connection::new(role, Arc::new(config), deflate, now);
    let mut outcome = Outcome {
        events: Vec::new(),
        output: Vec::new(),
        violation: None,
    };
    let mut rest = bytes.to_vec();
    let mut pieces = pieces.iter().cycle();
    while !rest.is_empty() {
        let length = pieces
            .next()
            .map_or(rest.len(), |piece| usize::from(*piece).max(1))
            .min(rest.len());
        let tail = rest.split_off(length);
        let mut input = Input::new(&mut rest);
        while !input.is_empty() {
            match connection.handle_input(now, &mut input) {
                Ok(Some(Event::Message(kind, payload))) => {
                    assert!(payload.as_bytes().len() <= 64 * 1024);
                    outcome
                        .events
                        .push(format!("{kind:?} {:?}", payload.as_bytes()));
                }
                Ok(Some(Event::Part { .. })) => panic!("whole messages were asked for"),
                Ok(Some(event)) => {
                    if let Event::Ping(payload) = &event {
                        outcome
                            .events
                            .push(format!("ping {:?}", payload.as_bytes()));
                    } else if let Event::Close(close) = &event {
                        outcome.events.push(format!("close {close:?}"));
                    }
                }
                Ok(None) => assert!(input.is_empty()),
                Err(violation) => {
                    assert!(outcome.violation.is_none(), "a connection fails once");
                    assert!(violation.close_code().is_sendable());
                    outcome.violation = Some(violation);
                }
            }
        }
        rest = tail;
    }
    assert_eq!(connection.end().is_none(), connection.is_open());
    outcome.output = connection.take_output(now);
    // A client masks with fresh keys: only the lengths can be compared.
    if role == Role::Client {
        outcome.output = vec![0; outcome.output.len()];
    }
    outcome
}

fuzz_target!(|input: (bool, Option<(bool, u8)>, &[u8], &[u8])| {
    let (server, compression, pieces, bytes) = input;
    let role = if server { Role::Server } else { Role::Client };
    let compression = compression.map(|(no_takeover, bits)| DeflateParams {
        server_no_context_takeover: no_takeover,
        client_no_context_takeover: no_takeover,
        server_max_window_bits: 8 + bits % 8,
        client_max_window_bits: 8 + bits % 8,
    });
    let now = Instant::now();
    let whole = run(role, compression, bytes, &[], now);
    let split = run(role, compression, bytes, pieces, now);
    let single = run(role, compression, bytes, &[1], now);
    assert_eq!(whole, split);
    assert_eq!(whole, single);
});
