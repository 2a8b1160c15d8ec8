//! Each MUST of RFC 6455 sections 5 to 8 that concerns an open connection, judged by what goes over the wire.

mod pair;

use antiphon_proto::{
    close::CloseFrame,
    config::Role,
    connection::{End, Refused},
    error::Violation::{self, *},
    frame::{Header, Opcode},
    message::Message,
};
use pair::{Seen, client, close_code, close_payload, connection, feed, frame, frames};

/// A connection of `role` that gets `input` sees `expected` and closes with `code` on the wire, however the input is
/// split.
fn check(role: Role, input: &[u8], expected: &[Seen], code: Option<u16>) {
    for piece in [usize::MAX, 1, 2, 7] {
        let now = pair::start();
        let mut connection = connection(role, now);
        let seen = feed(&mut connection, now, input, piece);
        assert_eq!(seen, expected, "{input:02x?} in pieces of {piece}");
        let wire = connection.take_output(now);
        assert_eq!(close_code(role, &wire), code, "{input:02x?}");
        let violation = expected.iter().find_map(|seen| match seen {
            Seen::Violation(violation) => Some(*violation),
            _ => None,
        });
        if let Some(violation) = violation {
            assert_eq!(connection.end(), Some(&End::Violation(violation)));
            assert_eq!(
                connection.send(&Message::text("late")),
                Err(Refused::Closing)
            );
        }
    }
}

/// What a server makes of a client's bytes.
fn server(input: &[u8], expected: &[Seen], code: Option<u16>) {
    check(Role::Server, input, expected, code);
}

fn violates(role: Role, input: &[u8], violation: Violation, code: u16) {
    check(role, input, &[Seen::Violation(violation)], Some(code));
}

/// A client's frame by its first two bytes, with a masking key of zeros.
fn raw(first: u8, second: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, second, 0, 0, 0, 0];
    bytes.extend_from_slice(rest);
    bytes
}

const PING: Opcode = Opcode::Ping;
const TEXT: Opcode = Opcode::Text;
const BINARY: Opcode = Opcode::Binary;
const MORE: Opcode = Opcode::Continuation;

#[test]
fn every_violation_has_its_close_code_on_the_wire() {
    let start = client(false, TEXT, b"a");
    for (input, violation, code) in [
        // 5.1: "The server MUST close the connection upon receiving a frame that is not masked."
        (vec![0x81, 0x01, b'a'], MaskMissing, 1002),
        (vec![0x89, 0x00], MaskMissing, 1002),
        // 5.2: RSV1-3 "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values".
        (raw(0xc1, 0x80, b""), Rsv1, 1002),
        (raw(0xa1, 0x80, b""), Rsv2, 1002),
        (raw(0x91, 0x80, b""), Rsv3, 1002),
        (raw(0xc9, 0x80, b""), Rsv1, 1002),
        // 5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_."
        (raw(0x83, 0x80, b""), OpcodeReserved(3), 1002),
        (raw(0x87, 0x80, b""), OpcodeReserved(7), 1002),
        (raw(0x8b, 0x80, b""), OpcodeReserved(11), 1002),
        (raw(0x8f, 0x80, b""), OpcodeReserved(15), 1002),
        // 5.2: "the minimal number of bytes MUST be used to encode the length".
        (vec![0x82, 0xfe, 0, 5], LengthNotMinimal, 1002),
        (
            vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 5],
            LengthNotMinimal,
            1002,
        ),
        // 5.2: "the most significant bit MUST be 0".
        (vec![0x82, 0xff, 0x80], LengthTopBit, 1002),
        // 5.4: a continuation needs a message, and messages are not interleaved.
        (client(true, MORE, b"a"), ContinuationWithoutStart, 1002),
        (client(false, MORE, b"a"), ContinuationWithoutStart, 1002),
        (
            [&start[..], &client(true, TEXT, b"b")].concat(),
            MessageInsideMessage,
            1002,
        ),
        (
            [&start[..], &client(false, BINARY, b"b")].concat(),
            MessageInsideMessage,
            1002,
        ),
        // 5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented."
        (raw(0x09, 0x80, b""), ControlFragmented, 1002),
        (raw(0x08, 0x80, b""), ControlFragmented, 1002),
        (vec![0x89, 0xfe, 0, 126], ControlTooLong, 1002),
        (vec![0x88, 0xff], ControlTooLong, 1002),
        // 5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer".
        (client(true, Opcode::Close, &[3]), ClosePayloadOneByte, 1002),
        // 5.5.1 and 8.1: the reason is UTF-8.
        (
            client(true, Opcode::Close, &[0x03, 0xe8, 0xff]),
            CloseReasonUtf8,
            1007,
        ),
        (
            client(true, Opcode::Close, &[0x03, 0xe8, 0xe2, 0x82]),
            CloseReasonUtf8,
            1007,
        ),
        // 8.1: "the receiving endpoint MUST _Fail the WebSocket Connection_", here as soon as no text can come of it.
        (client(true, TEXT, b"\xff"), TextUtf8, 1007),
        (client(true, TEXT, b"\xe2\x82"), TextUtf8, 1007),
        (client(true, TEXT, b"\xed\xa0\x80"), TextUtf8, 1007),
        (client(true, TEXT, b"\xf4\x90\x80\x80"), TextUtf8, 1007),
        (client(true, TEXT, b"\xc0\x80"), TextUtf8, 1007),
        (client(false, TEXT, b"ok \xff"), TextUtf8, 1007),
        (
            [
                client(false, TEXT, b"\xce"),
                client(false, MORE, b""),
                client(false, MORE, b"A"),
            ]
            .concat(),
            TextUtf8,
            1007,
        ),
        (
            [client(false, TEXT, b"\xce"), client(true, MORE, b"")].concat(),
            TextUtf8,
            1007,
        ),
    ] {
        violates(Role::Server, &input, violation, code);
        assert_eq!(violation.close_code().get(), code);
        assert!(violation.section().starts_with("RFC 6455"));
    }
    // 5.1: "A client MUST close a connection if it detects a masked frame."
    violates(
        Role::Client,
        &client(true, TEXT, b"a"),
        MaskUnexpected,
        1002,
    );
}

#[test]
fn every_reserved_opcode_is_refused_in_both_roles() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for first in [opcode, 0x80 | opcode] {
            let violation = OpcodeReserved(opcode);
            violates(Role::Server, &[first, 0x80], violation, 1002);
            violates(Role::Client, &[first, 0x00], violation, 1002);
        }
    }
}

#[test]
fn a_header_is_judged_before_its_payload_comes() {
    let now = pair::start();
    for (role, bytes) in [
        (Role::Server, &[0x83][..]),
        (Role::Server, &[0x81, 0x00]),
        (Role::Server, &[0x82, 0xff, 0x80]),
        (Role::Client, &[0x81, 0x80]),
    ] {
        let mut connection = connection(role, now);
        assert!(matches!(
            feed(&mut connection, now, bytes, usize::MAX)[..],
            [Seen::Violation(_)]
        ));
    }
}

#[test]
fn invalid_text_is_noticed_inside_a_frame_that_has_not_ended() {
    let now = pair::start();
    let mut server = connection(Role::Server, now);
    let bytes = client(
        true,
        TEXT,
        &[b"fine so far \xff".as_slice(), &[b'a'; 500]].concat(),
    );
    let seen = feed(&mut server, now, &bytes[..30], usize::MAX);
    assert_eq!(seen, [Seen::Violation(TextUtf8)]);
}

#[test]
fn messages_are_read() {
    let long = vec![7; 70_000];
    for (input, expected) in [
        // 5.7, the examples of the RFC.
        (
            b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec(),
            vec![Seen::text("Hello")],
        ),
        // 5.2: every form of the length.
        (client(true, TEXT, b""), vec![Seen::text("")]),
        (
            client(true, BINARY, &long[..125]),
            vec![Seen::binary(&long[..125])],
        ),
        (
            client(true, BINARY, &long[..126]),
            vec![Seen::binary(&long[..126])],
        ),
        (
            client(true, BINARY, &long[..65_535]),
            vec![Seen::binary(&long[..65_535])],
        ),
        (
            client(true, BINARY, &long[..65_536]),
            vec![Seen::binary(&long[..65_536])],
        ),
        (client(true, BINARY, &long), vec![Seen::binary(&long)]),
        // 5.4: "An endpoint MUST be capable of handling control frames in the middle of a fragmented message."
        (
            [
                client(false, TEXT, b"Hel"),
                client(true, PING, b"!"),
                client(false, MORE, b""),
                client(true, Opcode::Pong, b""),
                client(true, MORE, b"lo"),
                client(true, BINARY, b"\xff"),
            ]
            .concat(),
            vec![
                Seen::Ping(b"!".to_vec()),
                Seen::Pong(false),
                Seen::text("Hello"),
                Seen::binary(b"\xff"),
            ],
        ),
        // 5.6: a fragment may end inside a character, the message not.
        (
            [
                client(false, TEXT, b"\xf0\x9f"),
                client(false, MORE, b"\x8e"),
                client(true, MORE, b"\xb5"),
            ]
            .concat(),
            vec![Seen::text("🎵")],
        ),
        // 5.4: fragments may be empty.
        (
            [
                client(false, BINARY, b""),
                client(false, MORE, b""),
                client(true, MORE, b""),
            ]
            .concat(),
            vec![Seen::binary(b"")],
        ),
    ] {
        server(&input, &expected, None);
    }
    // 5.7: the unmasked examples, for a client.
    check(
        Role::Client,
        b"\x81\x05Hello\x01\x03Hel\x80\x02lo",
        &[Seen::text("Hello"), Seen::text("Hello")],
        None,
    );
}

/// 5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response"; 5.5.3: with identical data.
#[test]
fn a_ping_is_answered_with_its_own_data() {
    for payload in [&b""[..], b"x", &[0xff; 125]] {
        for role in [Role::Server, Role::Client] {
            let now = pair::start();
            let mut connection = connection(role, now);
            let ping = frame(pair::other(role), true, false, PING, payload);
            let seen = feed(&mut connection, now, &ping, 1);
            assert_eq!(seen, [Seen::Ping(payload.to_vec())]);
            let answer = frames(role, &connection.take_output(now));
            assert_eq!(answer.len(), 1);
            assert_eq!(answer[0].0.opcode, Opcode::Pong);
            assert_eq!(answer[0].1, payload);
        }
    }
}

/// 5.5.2: "... unless it already received a Close frame": our own Close does not matter.
#[test]
fn a_ping_is_answered_after_our_close_and_not_after_the_peers() {
    let now = pair::start();
    let mut connection = connection(Role::Server, now);
    connection.close(now, CloseFrame::new(1000, "")).unwrap();
    feed(&mut connection, now, &client(true, PING, b"1"), usize::MAX);
    let input = [
        client(true, Opcode::Close, b""),
        client(true, PING, b"2"),
        client(true, TEXT, b"late"),
    ];
    let seen = feed(&mut connection, now, &input.concat(), usize::MAX);
    assert_eq!(seen, [Seen::Close(1005, String::new())]);
    let wire = frames(Role::Server, &connection.take_output(now));
    let opcodes: Vec<_> = wire.iter().map(|(header, _)| header.opcode).collect();
    assert_eq!(opcodes, [Opcode::Close, Opcode::Pong]);
    assert_eq!(wire[1].1, b"1");
}

/// 5.5.1 and 7.4: every one of the 65,536 codes is either echoed or refused with 1002.
#[test]
fn every_close_code() {
    for code in 0..=u16::MAX {
        let valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let now = pair::start();
        let mut connection = connection(Role::Server, now);
        let input = client(true, Opcode::Close, &code.to_be_bytes());
        let seen = feed(&mut connection, now, &input, usize::MAX);
        let wire = connection.take_output(now);
        if valid {
            assert_eq!(seen, [Seen::Close(code, String::new())]);
            assert_eq!(
                close_payload(Role::Server, &wire),
                Some(code.to_be_bytes().to_vec())
            );
            assert!(matches!(connection.end(), Some(End::Clean(_))));
        } else {
            assert_eq!(seen, [Seen::Violation(CloseCodeInvalid(code))]);
            assert_eq!(close_code(Role::Server, &wire), Some(1002));
        }
        // 7.4.1: reserved codes "MUST NOT be set as a status code in a Close control frame by an endpoint".
        let mut ours = pair::connection(Role::Client, now);
        let sent = ours.close(now, CloseFrame::new(code, ""));
        assert_eq!(sent.is_ok(), valid || code == 1005, "{code}");
        let wire = close_code(Role::Client, &ours.take_output(now));
        assert_eq!(wire, sent.is_ok().then_some(code));
    }
}

#[test]
fn close_payloads() {
    let reason = "é".repeat(61) + "!";
    for (payload, expected, code) in [
        (vec![], Seen::Close(1005, String::new()), 1005),
        (
            [&[0x03, 0xe9][..], reason.as_bytes()].concat(),
            Seen::Close(1001, reason.clone()),
            1001,
        ),
    ] {
        server(
            &client(true, Opcode::Close, &payload),
            &[expected],
            Some(code),
        );
    }
}

/// 5.5.1: "The application MUST NOT send any more data frames after sending a Close frame."
#[test]
fn nothing_is_sent_after_a_close_frame() {
    let now = pair::start();
    for by_peer in [false, true] {
        let mut connection = connection(Role::Server, now);
        connection.begin_parts().unwrap();
        connection
            .send_part(antiphon_proto::message::MessageKind::Text, b"a", false)
            .unwrap();
        if by_peer {
            feed(
                &mut connection,
                now,
                &client(true, Opcode::Close, b""),
                usize::MAX,
            );
        } else {
            connection.close(now, CloseFrame::new(1001, "")).unwrap();
            connection.close(now, CloseFrame::new(1000, "")).unwrap();
        }
        let message = Message::text("b");
        assert_eq!(connection.send(&message), Err(Refused::Closing));
        let prepared = antiphon_proto::sender::Prepared::new(message);
        assert_eq!(connection.send_prepared(&prepared), Err(Refused::Closing));
        assert_eq!(connection.begin_parts(), Err(Refused::Closing));
        assert_eq!(
            connection.send_part(antiphon_proto::message::MessageKind::Text, b"b", true),
            Err(Refused::Closing)
        );
        assert_eq!(connection.ping(now), Err(Refused::Closing));
        let wire = frames(Role::Server, &connection.take_output(now));
        assert_eq!(wire.len(), 2);
        assert_eq!(wire[1].0.opcode, Opcode::Close);
    }
}

/// 5.5: a Close payload has at most 125 bytes, whatever reason the application gives.
#[test]
fn a_long_reason_is_cut_at_a_character() {
    let now = pair::start();
    let long = "é".repeat(100);
    let mut by_field = CloseFrame::new(1000, "");
    by_field.reason = long.as_str().into();
    for close in [CloseFrame::new(1000, long.as_str()), by_field] {
        let mut connection = connection(Role::Server, now);
        connection.close(now, close).unwrap();
        let payload = close_payload(Role::Server, &connection.take_output(now)).unwrap();
        assert_eq!(payload.len(), 2 + 122);
        assert_eq!(payload[2..], long.as_bytes()[..122]);
    }
}

/// 5.1 and 5.3: a client masks every frame, with a fresh key; a server masks none.
#[test]
fn who_masks() {
    let now = pair::start();
    for role in [Role::Client, Role::Server] {
        let mut connection = connection(role, now);
        for size in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
            connection.send(&vec![b'a'; size].into()).unwrap();
        }
        connection.ping(now).unwrap();
        connection.close(now, CloseFrame::new(1000, "")).unwrap();
        let wire = connection.take_output(now);
        let frames = frames(role, &wire);
        assert_eq!(frames.len(), 9);
        let keys: std::collections::HashSet<_> = frames.iter().map(|(h, _)| h.mask).collect();
        match role {
            Role::Client => assert_eq!(keys.len(), 9),
            Role::Server => assert!(keys.contains(&None) && keys.len() == 1),
        }
        for (header, payload) in &frames[..7] {
            assert_eq!((header.fin, header.opcode), (true, BINARY));
            assert!(payload.iter().all(|byte| *byte == b'a'));
        }
    }
}

/// 5.4: the first fragment carries the opcode, the others 0, the last FIN; control frames may stand between.
#[test]
fn fragments_are_sent() {
    use antiphon_proto::message::MessageKind::Text;
    let now = pair::start();
    let mut connection = connection(Role::Client, now);
    assert_eq!(
        connection.send_part(Text, b"early", true),
        Err(Refused::Closing)
    );
    connection.begin_parts().unwrap();
    assert!(connection.inside_message());
    assert_eq!(connection.begin_parts(), Err(Refused::InsideMessage));
    assert_eq!(
        connection.send(&Message::text("b")),
        Err(Refused::InsideMessage)
    );
    connection.send_part(Text, b"", false).unwrap();
    connection.send_part(Text, b"one", false).unwrap();
    connection.ping(now).unwrap();
    connection.send_part(Text, b"two", false).unwrap();
    connection.send_part(Text, b"", true).unwrap();
    connection.send(&Message::text("b")).unwrap();
    let wire = frames(Role::Client, &connection.take_output(now));
    let heads: Vec<_> = wire.iter().map(|(h, _)| (h.fin, h.opcode)).collect();
    assert_eq!(
        heads,
        [
            (false, TEXT),
            (true, PING),
            (false, MORE),
            (true, MORE),
            (true, TEXT)
        ]
    );
}

/// 7.1.1: the server closes the TCP connection first; the client waits for that, and not for ever.
#[test]
fn who_hangs_up() {
    let mut pair = pair::Pair::new(Default::default(), None);
    pair.client
        .close(pair.now, CloseFrame::new(4000, "bye"))
        .unwrap();
    assert!(!pair.client.is_finished());
    pair.settle();
    assert_eq!(pair.at_server, [Seen::Close(4000, "bye".into())]);
    assert_eq!(pair.at_client, [Seen::Close(4000, String::new())]);
    assert!(pair.server.is_finished());
    assert!(!pair.client.is_finished() && pair.client.wants_shutdown());
    pair.client.handle_eof(pair.now);
    assert!(pair.client.is_finished());
    assert!(matches!(pair.client.end(), Some(End::Clean(_))));
}

/// 7.1.5: an end without a Close frame is not a clean one.
#[test]
fn the_end_of_the_transport_is_no_close() {
    let now = pair::start();
    for closing in [false, true] {
        let mut connection = connection(Role::Client, now);
        if closing {
            connection.close(now, CloseFrame::new(1000, "")).unwrap();
        }
        connection.handle_eof(now);
        assert_eq!(connection.end(), Some(&End::Eof));
        assert!(connection.is_finished());
        assert_eq!(connection.poll_deadline(), None);
    }
}

/// 7.1.7: after failing the connection, an endpoint "MUST NOT continue to attempt to process data".
#[test]
fn nothing_is_read_after_a_failure() {
    server(
        &[
            vec![0x83, 0x80],
            client(true, TEXT, b"a"),
            client(true, PING, b""),
        ]
        .concat(),
        &[Seen::Violation(OpcodeReserved(3))],
        Some(1002),
    );
}

#[test]
fn a_header_never_needs_more_than_fourteen_bytes() {
    let bytes = client(true, BINARY, &vec![0; 65_536]);
    assert_eq!(Header::parse(&bytes[..13], Role::Client, false), Ok(None));
    assert!(matches!(
        Header::parse(&bytes[..14], Role::Client, false),
        Ok(Some((_, 14)))
    ));
}
