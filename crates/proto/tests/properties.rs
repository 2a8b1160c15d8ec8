//! What holds for any bytes, any messages and any split.

mod pair;

use std::{sync::Arc, time::Duration};

use antiphon_proto::{
    close::CloseFrame,
    config::{Codec, Config, DeflateConfig, DeflateParams, Role},
    connection::{Connection, End},
    frame::Opcode,
    message::{Message, MessageKind},
};
use pair::{Pair, Seen, feed, frame};
use proptest::{collection::vec, prelude::*};

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Client), Just(Role::Server)]
}

fn deflate() -> impl Strategy<Value = Option<(DeflateParams, DeflateConfig)>> {
    let codec = prop_oneof![
        (0usize..5000).prop_map(|window| Codec::Pooled { window }),
        Just(Codec::Dedicated)
    ];
    let settings = (any::<[bool; 2]>(), 8u8..16, 8u8..16, codec, 0usize..100);
    proptest::option::of(
        settings.prop_map(|(drop, server, client, codec, min_size)| {
            let params = DeflateParams {
                server_no_context_takeover: drop[0],
                client_no_context_takeover: drop[1],
                server_max_window_bits: server,
                client_max_window_bits: client,
            };
            let mut config = DeflateConfig::default();
            config.codec = codec;
            config.min_size = min_size;
            (params, config)
        }),
    )
}

/// Frames that are mostly right, from `sender`.
fn some_frame(sender: Role) -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        4 => Just(Opcode::Text),
        4 => Just(Opcode::Binary),
        6 => Just(Opcode::Continuation),
        2 => Just(Opcode::Ping),
        2 => Just(Opcode::Pong),
        1 => Just(Opcode::Close),
    ];
    let payload = prop_oneof![
        vec(any::<u8>(), 0..20),
        "\\PC{0,60}".prop_map(String::into_bytes),
        vec(b'a'..=b'z', 120..200),
        Just(vec![3, 232]),
    ];
    (any::<bool>(), opcode, payload).prop_map(move |(fin, opcode, payload)| {
        let most = if opcode.is_control() { 125 } else { usize::MAX };
        let payload = &payload[..payload.len().min(most)];
        frame(sender, fin || opcode.is_control(), false, opcode, payload)
    })
}

fn stream(sender: Role) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => vec(some_frame(sender), 0..12).prop_map(|frames| frames.concat()),
        1 => vec(any::<u8>(), 0..200),
        1 => (vec(some_frame(sender), 0..6), vec(any::<u8>(), 0..20)).prop_map(|(frames, noise)| [frames.concat(), noise].concat()),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        "\\PC{0,40}".prop_map(Message::from),
        vec(any::<u8>(), 0..300).prop_map(Message::from),
        (any::<u8>(), 0usize..40_000).prop_map(|(byte, length)| vec![byte; length].into()),
        (0usize..2000).prop_map(|n| Message::from("{\"key\":\"value\"} ".repeat(n))),
    ]
}

/// A step of a conversation.
#[derive(Clone, Debug)]
enum Step {
    Send(bool, Message),
    Parts(bool, Message, usize),
    Ping(bool),
    Piece(usize),
    Deliver,
    Close(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<bool>(), message()).prop_map(|(side, message)| Step::Send(side, message)),
        2 => (any::<bool>(), message(), 1usize..5000).prop_map(|(side, message, piece)| Step::Parts(side, message, piece)),
        1 => any::<bool>().prop_map(Step::Ping),
        2 => (1usize..2000).prop_map(Step::Piece),
        3 => Just(Step::Deliver),
        1 => any::<bool>().prop_map(Step::Close),
    ]
}

fn messages(seen: &[Seen]) -> Vec<Message> {
    seen.iter()
        .filter_map(|seen| match seen {
            Seen::Message(message) => Some(message.clone()),
            _ => None,
        })
        .collect()
}

proptest! {
    /// Any split of any bytes gives the same events and the same output, and ends in an event or a documented end.
    #[test]
    fn a_split_changes_nothing(
        (role, bytes) in role().prop_flat_map(|role| (Just(role), stream(pair::other(role)))),
        cuts in vec(1usize..30, 1..20),
    ) {
        let now = pair::start();
        // The keys of a client's answers differ, so the frames are compared, unmasked.
        let frames = |connection: &mut Connection| {
            let wire = connection.take_output(now);
            pair::frames(role, &wire)
                .into_iter()
                .map(|(header, payload)| (header.opcode, header.fin, payload))
                .collect::<Vec<_>>()
        };
        let mut whole = pair::connection(role, now);
        let expected = feed(&mut whole, now, &bytes, usize::MAX);
        let expected_frames = frames(&mut whole);
        let mut split = pair::connection(role, now);
        let mut seen = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, tail) = rest.split_at((*cut).min(rest.len()));
            seen.extend(feed(&mut split, now, piece, usize::MAX));
            rest = tail;
        }
        prop_assert_eq!(&seen, &expected);
        prop_assert_eq!(frames(&mut split), expected_frames);
        prop_assert_eq!(split.end(), whole.end());
        prop_assert_eq!(split.poll_deadline(), whole.poll_deadline());
        if let Some(Seen::Violation(violation)) = expected.last() {
            prop_assert_eq!(whole.end(), Some(&End::Violation(*violation)));
        }
    }

    /// The parts of a message are the message.
    #[test]
    fn parts_are_the_whole(
        message in message(), deflate in deflate(), piece in 1usize..3000, cut in 1usize..3000
    ) {
        let mut pair = Pair::new(Config::default(), deflate);
        pair.piece = cut;
        pair.server.deliver_parts(true);
        pair.client.begin_parts().unwrap();
        let mut pieces = message.as_bytes().chunks(piece).peekable();
        while let Some(part) = pieces.next() {
            let last = pieces.peek().is_none();
            pair.client.send_part(message.kind(), part, last).unwrap();
        }
        if message.is_empty() {
            pair.client.send_part(message.kind(), b"", true).unwrap();
        }
        pair.settle();
        let mut joined = Vec::new();
        let count = pair.at_server.len();
        for (n, seen) in pair.at_server.iter().enumerate() {
            let Seen::Part(kind, part, last) = seen else {
                return Err(TestCaseError::fail(format!("{seen:?}")));
            };
            prop_assert_eq!(*kind, message.kind());
            prop_assert_eq!(*last, n + 1 == count);
            joined.extend_from_slice(part);
        }
        prop_assert_eq!(&joined[..], message.as_bytes());
    }

    /// Noise never panics, with or without compression, whole or in parts, and no event follows the end.
    #[test]
    fn noise_ends_in_a_documented_way(
        role in role(), bytes in vec(any::<u8>(), 0..300), deflate in deflate(), parts: bool, rsv1: bool
    ) {
        let now = pair::start();
        let deflate = deflate.map(|(params, config)| (params, Arc::new(config)));
        let mut connection = Connection::new(role, Arc::new(Config::default()), deflate, now);
        connection.deliver_parts(parts);
        let noise = frame(pair::other(role), true, rsv1, Opcode::Text, &bytes);
        let seen = feed(&mut connection, now, &[noise, bytes].concat(), 50);
        let position = seen.iter().position(|seen| matches!(seen, Seen::Violation(_) | Seen::Close(..)));
        if let Some(position) = position {
            prop_assert_eq!(position + 1, seen.len());
            prop_assert!(connection.end().is_some());
        } else {
            prop_assert!(connection.is_open());
        }
        pair::frames(role, &connection.take_output(now));
    }

    /// Whatever is sent before a Close arrives once and in order, under any split and with any parameters.
    #[test]
    fn what_is_sent_arrives_once_and_in_order(deflate in deflate(), steps in vec(step(), 0..25)) {
        let mut pair = Pair::new(Config::default(), deflate);
        let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
        let mut closed = false;
        for step in steps {
            match step {
                Step::Send(client, message) => {
                    let (end, sent) = match client {
                        true => (&mut pair.client, &mut from_client),
                        false => (&mut pair.server, &mut from_server),
                    };
                    if end.send(&message).is_ok() {
                        sent.push(message);
                    }
                }
                Step::Parts(client, message, piece) => {
                    let (end, sent) = match client {
                        true => (&mut pair.client, &mut from_client),
                        false => (&mut pair.server, &mut from_server),
                    };
                    if end.begin_parts().is_ok() {
                        // Fewer fragments than `max_fragments`.
                        for part in message.as_bytes().chunks(piece.max(message.len() / 500 + 1)) {
                            end.send_part(message.kind(), part, false).unwrap();
                        }
                        end.send_part(message.kind(), b"", true).unwrap();
                        sent.push(message);
                    }
                }
                Step::Ping(client) => {
                    let now = pair.now;
                    let end = if client { &mut pair.client } else { &mut pair.server };
                    let _ = end.ping(now);
                }
                Step::Piece(piece) => pair.piece = piece,
                Step::Deliver => pair.settle(),
                Step::Close(client) => {
                    let now = pair.now;
                    let end = if client { &mut pair.client } else { &mut pair.server };
                    end.close(now, CloseFrame::new(4000, "enough")).unwrap();
                    closed = true;
                }
            }
        }
        pair.settle();
        let (at_server, at_client) = (messages(&pair.at_server), messages(&pair.at_client));
        if closed {
            // Who closes discards what comes afterwards; nothing is lost but at the end.
            prop_assert!(from_client.starts_with(&at_server));
            prop_assert!(from_server.starts_with(&at_client));
            prop_assert!(matches!(pair.client.end(), Some(End::Clean(_))));
            prop_assert!(matches!(pair.server.end(), Some(End::Clean(_))));
            prop_assert!(pair.server.is_finished());
        } else {
            prop_assert_eq!(at_server, from_client);
            prop_assert_eq!(at_client, from_server);
            prop_assert!(pair.client.is_open() && pair.server.is_open());
        }
    }

    /// Time alone never brings the deadline nearer, and early calls change nothing.
    #[test]
    fn deadlines_go_forward(
        bytes in stream(Role::Client), drain: bool, sending: bool, waits in vec(0u64..20_000, 1..30)
    ) {
        let start = pair::start();
        let mut connection = pair::connection(Role::Server, start);
        feed(&mut connection, start, &bytes, usize::MAX);
        if sending {
            let _ = connection.send(&Message::text("a"));
        }
        let mut now = start;
        let mut latest = None;
        for wait in waits {
            if drain {
                connection.take_output(now);
            } else {
                connection.advance_output(now, 0);
            }
            let Some(deadline) = connection.poll_deadline() else { break };
            if let Some(latest) = latest {
                prop_assert!(deadline >= latest || connection.end().is_some() || drain);
            }
            let end = connection.end().cloned();
            let buffered = connection.buffered();
            connection.handle_deadline(deadline - Duration::from_nanos(1));
            prop_assert_eq!(connection.poll_deadline(), Some(deadline));
            prop_assert_eq!(connection.end().cloned(), end);
            prop_assert_eq!(connection.buffered(), buffered);
            latest = Some(deadline);
            now = (now + Duration::from_millis(wait)).min(deadline);
            connection.handle_deadline(now);
        }
    }
}

/// A text in parts may be cut anywhere; its kind stays.
#[test]
fn a_text_in_parts_may_be_cut_inside_a_character() {
    let mut pair = Pair::new(Config::default(), None);
    pair.client.begin_parts().unwrap();
    for byte in "🎵é".as_bytes() {
        pair.client
            .send_part(MessageKind::Text, &[*byte], false)
            .unwrap();
    }
    pair.client.send_part(MessageKind::Text, b"", true).unwrap();
    pair.settle();
    assert_eq!(pair.at_server, [Seen::text("🎵é")]);
}
