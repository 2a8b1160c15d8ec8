//! Each MUST of RFC 7692 sections 6 and 7 that concerns an open connection, judged by what goes over the wire.

mod pair;

use std::sync::Arc;

use antiphon_proto::{
    config::{Codec, Config, DeflateConfig, DeflateParams, Role},
    connection::Connection,
    error::Violation,
    frame::Opcode,
    message::{Message, MessageKind},
};
use pair::{PLAIN_DEFLATE, Pair, Seen, client, close_code, feed, frame, frames};

fn connection(
    role: Role,
    params: DeflateParams,
    change: impl FnOnce(&mut DeflateConfig),
) -> Connection {
    let mut config = DeflateConfig::default();
    config.min_size = 0;
    change(&mut config);
    let deflate = Some((params, Arc::new(config)));
    Connection::new(role, Arc::new(Config::default()), deflate, pair::start())
}

/// A server that negotiated permessage-deflate sees `expected` in `input` and closes with `code`, whatever the split.
fn check(params: DeflateParams, input: &[u8], expected: &[Seen], code: Option<u16>) {
    for codec in [Codec::Pooled { window: 1024 }, Codec::Dedicated] {
        for piece in [usize::MAX, 1, 3] {
            let mut connection = connection(Role::Server, params, |config| config.codec = codec);
            let now = pair::start();
            let seen = feed(&mut connection, now, input, piece);
            assert_eq!(
                seen, expected,
                "{input:02x?} in pieces of {piece}, {codec:?}"
            );
            let wire = connection.take_output(now);
            assert_eq!(close_code(Role::Server, &wire), code);
        }
    }
}

fn compressed(fin: bool, payload: &[u8]) -> Vec<u8> {
    frame(Role::Client, fin, true, Opcode::Text, payload)
}

/// The DEFLATE block of "Hello" in section 7.2.3.1, without its last 4 octets.
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

#[test]
fn the_examples_of_section_7_2_3() {
    let no_takeover = DeflateParams {
        client_no_context_takeover: true,
        ..PLAIN_DEFLATE
    };
    let hello = Seen::text("Hello");
    for (params, input, expected) in [
        // 7.2.3.1: one frame, and two.
        (PLAIN_DEFLATE, compressed(true, HELLO), vec![hello.clone()]),
        (
            PLAIN_DEFLATE,
            [
                compressed(false, &HELLO[..3]),
                client(true, Opcode::Continuation, &HELLO[3..]),
            ]
            .concat(),
            vec![hello.clone()],
        ),
        // 7.2.3.2: the second message refers to the first.
        (
            PLAIN_DEFLATE,
            [
                compressed(true, HELLO),
                compressed(true, b"\xf2\x00\x11\x00\x00"),
            ]
            .concat(),
            vec![hello.clone(), hello.clone()],
        ),
        (
            no_takeover,
            compressed(true, HELLO).repeat(2),
            vec![hello.clone(), hello.clone()],
        ),
        // 7.2.3.3: a block without compression.
        (
            PLAIN_DEFLATE,
            compressed(true, b"\x00\x05\x00\xfa\xffHello\x00"),
            vec![hello.clone()],
        ),
        // 7.2.3.4: a block with BFINAL set to 1.
        (
            PLAIN_DEFLATE,
            compressed(true, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
            vec![hello.clone()],
        ),
        // 7.2.3.5: two blocks in one message.
        (
            PLAIN_DEFLATE,
            compressed(
                true,
                b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
            ),
            vec![hello.clone()],
        ),
        // 7.2.3.6: an empty message.
        (
            PLAIN_DEFLATE,
            compressed(true, b"\x00"),
            vec![Seen::text("")],
        ),
        // 6: a message may go uncompressed, and its control frames always do.
        (
            PLAIN_DEFLATE,
            [
                client(true, Opcode::Text, b"Hello"),
                compressed(false, &HELLO[..3]),
                client(true, Opcode::Ping, b"!"),
                client(false, Opcode::Continuation, b""),
                client(true, Opcode::Continuation, &HELLO[3..]),
                compressed(true, b"\xf2\x00\x11\x00\x00"),
            ]
            .concat(),
            vec![
                hello.clone(),
                Seen::Ping(b"!".to_vec()),
                hello.clone(),
                hello,
            ],
        ),
    ] {
        check(params, &input, &expected, None);
    }
}

#[test]
fn every_violation_has_its_close_code_on_the_wire() {
    for (input, violation, code) in [
        // 6.1: "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames and non-first fragments".
        (
            [
                compressed(false, &HELLO[..3]),
                frame(Role::Client, true, true, Opcode::Continuation, &HELLO[3..]),
            ]
            .concat(),
            Violation::Rsv1OnContinuation,
            1002,
        ),
        (
            frame(Role::Client, true, true, Opcode::Ping, b""),
            Violation::Rsv1OnControl,
            1002,
        ),
        (
            frame(Role::Client, true, true, Opcode::Close, b""),
            Violation::Rsv1OnControl,
            1002,
        ),
        // 7.2.2: what cannot be decompressed.
        (
            compressed(true, b"\xff\xff\xff"),
            Violation::DeflateData,
            1007,
        ),
        (compressed(true, b"\x07"), Violation::DeflateData, 1007),
        // A reference to before the first byte.
        (
            compressed(true, b"\xf2\x00\x11\x00\x00"),
            Violation::DeflateData,
            1007,
        ),
        // RFC 6455 section 8.1 holds for what is inflated.
        (
            compressed(true, b"\x00\x01\x00\xfe\xff\xff\x00"),
            Violation::TextUtf8,
            1007,
        ),
    ] {
        check(
            PLAIN_DEFLATE,
            &input,
            &[Seen::Violation(violation)],
            Some(code),
        );
    }
}

/// 7.1.1.1: a peer that may not take over its context must not refer to it.
#[test]
fn a_reference_over_a_context_that_was_dropped() {
    let params = DeflateParams {
        client_no_context_takeover: true,
        ..PLAIN_DEFLATE
    };
    check(
        params,
        &[
            compressed(true, HELLO),
            compressed(true, b"\xf2\x00\x11\x00\x00"),
        ]
        .concat(),
        &[Seen::text("Hello"), Seen::Violation(Violation::DeflateData)],
        Some(1007),
    );
}

/// 7.2.1: the tail 00 00 ff ff is removed, an empty message is one byte, and RSV1 marks the first frame only.
#[test]
fn what_is_sent() {
    let now = pair::start();
    for codec in [Codec::Pooled { window: 1024 }, Codec::Dedicated] {
        let mut server = connection(Role::Server, PLAIN_DEFLATE, |config| config.codec = codec);
        server.send(&Message::text("")).unwrap();
        server.send(&Message::text("Hello".repeat(100))).unwrap();
        server.begin_parts().unwrap();
        for n in 0..3 {
            server
                .send_part(MessageKind::Text, "part ".repeat(100).as_bytes(), n == 2)
                .unwrap();
            server.ping(now).unwrap();
        }
        let frames = frames(Role::Server, &server.take_output(now));
        assert_eq!(frames[0].1, b"\x00");
        assert!(frames[1].1.len() < 50);
        let mut first = true;
        for (header, payload) in &frames[2..] {
            if header.opcode.is_control() {
                assert!(!header.rsv1);
                continue;
            }
            assert_eq!(header.rsv1, std::mem::take(&mut first));
            if header.fin {
                assert!(!payload.ends_with(&[0, 0, 0xff, 0xff]));
            }
        }
        for (header, payload) in &frames[..2] {
            assert!(header.rsv1 && !payload.ends_with(&[0, 0, 0xff, 0xff]));
        }
    }
}

/// 7.1.1 and 7.1.2: with every parameter and codec, both ways, whatever is sent is read.
#[test]
fn every_parameter_is_kept() {
    for bits in 8..=15 {
        for no_takeover in [false, true] {
            for codec in [
                Codec::Pooled { window: 1024 },
                Codec::Pooled { window: 0 },
                Codec::Pooled { window: 32_768 },
                Codec::Dedicated,
            ] {
                let params = DeflateParams {
                    server_no_context_takeover: no_takeover,
                    client_no_context_takeover: no_takeover,
                    server_max_window_bits: bits,
                    client_max_window_bits: 23 - bits,
                };
                let mut config = DeflateConfig::default();
                config.codec = codec;
                config.min_size = 100;
                let mut pair = Pair::new(Config::default(), Some((params, config)));
                pair.piece = 777;
                let mut expected = Vec::new();
                for length in [0, 30, 200, 3000, 60_000, 200, 500] {
                    let message = Message::text("0123456789 and so on, ".repeat(length / 20));
                    pair.client.send(&message).unwrap();
                    pair.server.send(&message).unwrap();
                    expected.push(Seen::Message(message));
                }
                pair.settle();
                assert_eq!(pair.at_client, expected);
                assert_eq!(pair.at_server, expected);
            }
        }
    }
}
