//! The rest of a long message, read into its own memory.

mod pair;

use std::sync::Arc;

use antiphon_proto::{
    close::{CloseCode, CloseFrame},
    config::{Config, DeflateConfig, Role},
    connection::{Connection, Input},
    error::Violation,
    frame::Opcode,
};
use bytes::BufMut as _;
use pair::{PLAIN_DEFLATE, Seen, client, connection, feed, note};

const KIB: usize = 1024;

/// Gives `wire` in reads of at most `piece` bytes, into the room where there is any. Returns what happened, and how many
/// bytes went into the room.
fn read(connection: &mut Connection, wire: &[u8], piece: usize) -> (Vec<Seen>, usize) {
    let now = pair::start();
    let (mut seen, mut straight, mut rest) = (Vec::new(), 0, wire);
    while !rest.is_empty() {
        let taken = connection.room().map(|mut room| {
            let length = piece.min(rest.len()).min(room.remaining_mut());
            room.put_slice(&rest[..length]);
            length
        });
        if let Some(length) = taken {
            straight += length;
            rest = &rest[length..];
            match connection.handle_room(now) {
                Ok(event) => seen.extend(event.map(note)),
                Err(violation) => {
                    seen.push(Seen::Violation(violation));
                    break;
                }
            }
            continue;
        }
        let (head, tail) = rest.split_at(piece.min(rest.len()));
        rest = tail;
        let mut head = head.to_vec();
        let mut input = Input::new(&mut head);
        while !input.is_empty() {
            match connection.handle_input(now, &mut input) {
                Ok(event) => seen.extend(event.map(note)),
                Err(violation) => seen.push(Seen::Violation(violation)),
            }
        }
    }
    (seen, straight)
}

#[test]
fn what_is_read_into_the_room_is_judged_like_everything_else() {
    let text = "aé€🎵".repeat(30 * KIB);
    let mut broken = text.clone().into_bytes();
    broken[250 * KIB] = 0xff;
    let cut = &text.as_bytes()[..text.len() - 1];
    let binary: Vec<u8> = (0..300 * KIB).map(|i| (i * 7) as u8).collect();
    let third = binary.len() / 3;
    let fragments = [
        client(false, Opcode::Binary, &binary[..third]),
        client(true, Opcode::Ping, b"between"),
        client(false, Opcode::Continuation, &binary[third..2 * third]),
        client(true, Opcode::Continuation, &binary[2 * third..]),
    ];
    for (name, wire) in [
        ("text", client(true, Opcode::Text, text.as_bytes())),
        ("binary", client(true, Opcode::Binary, &binary)),
        ("not UTF-8", client(true, Opcode::Text, &broken)),
        ("ends inside a character", client(true, Opcode::Text, cut)),
        ("fragments", fragments.concat()),
    ] {
        let wire = [wire, client(true, Opcode::Text, b"behind it")].concat();
        let expected = feed(
            &mut connection(Role::Server, pair::start()),
            pair::start(),
            &wire,
            usize::MAX,
        );
        for piece in [4 * KIB + 1, 16 * KIB, 40 * KIB + 3, 128 * KIB, 1024 * KIB] {
            let mut server = connection(Role::Server, pair::start());
            let (seen, straight) = read(&mut server, &wire, piece);
            assert!(seen == expected, "{name} in reads of {piece}");
            assert!(straight > 0 || piece > wire.len(), "{name}, {piece}");
            assert_eq!(server.is_open(), server.end().is_none());
        }
    }
}

#[test]
fn a_text_that_cannot_become_valid_fails_before_its_end() {
    let mut text = vec![b'a'; 900 * KIB];
    text[200 * KIB] = 0xff;
    let wire = client(true, Opcode::Text, &text);
    let mut server = connection(Role::Server, pair::start());
    let (seen, _) = read(&mut server, &wire[..400 * KIB], 64 * KIB);
    assert_eq!(seen, [Seen::Violation(Violation::TextUtf8)]);
}

/// What has come of a message of 15 MiB, and whether it may have room: as much again, and all of the rest from a
/// sixteenth on.
#[test]
fn the_room_follows_what_has_come() {
    for (come, has_room) in [
        (0, false),
        (100, false),
        (2 * KIB, false),
        (16 * KIB, false),
        (128 * KIB, true),
        (1024 * KIB, true),
        (2048 * KIB, true),
    ] {
        let mut config = Config::default();
        config.max_message_size = 16 << 20;
        let mut server = Connection::new(Role::Server, Arc::new(config), None, pair::start());
        let wire = client(true, Opcode::Binary, &vec![7; 15 << 20]);
        feed(&mut server, pair::start(), &wire[..14 + come], usize::MAX);
        let room = server.room().map_or(0, |room| room.remaining_mut());
        assert_eq!(room > 0, has_room, "{come}");
        assert!(room <= (come + 64).min(1024 * KIB), "{come}: {room}");
    }
}

#[test]
fn only_bytes_that_are_the_message_as_they_come_have_room() {
    let now = pair::start();
    let long = client(true, Opcode::Binary, &vec![7; 300 * KIB]);
    let half = &long[..100 * KIB];
    let mut inside = connection(Role::Server, now);
    feed(&mut inside, now, half, usize::MAX);
    assert!(inside.room().is_some());

    let mut parts = connection(Role::Server, now);
    parts.deliver_parts(true);
    feed(&mut parts, now, half, usize::MAX);
    assert!(parts.room().is_none(), "parts are handed out as they come");
    parts.deliver_parts(false);
    assert!(parts.room().is_none(), "the rest of them, too");

    let mut closing = connection(Role::Server, now);
    feed(&mut closing, now, half, usize::MAX);
    let close = CloseFrame::new(CloseCode::NORMAL, "");
    closing.close(now, close).expect("a code that may be sent");
    assert!(closing.room().is_none(), "nobody is to have it");

    let deflate = (PLAIN_DEFLATE, Arc::new(DeflateConfig::default()));
    let mut compressed = Connection::new(Role::Server, Arc::default(), Some(deflate), now);
    let mut wire = half.to_vec();
    wire[0] |= 0x40;
    wire.truncate(15);
    feed(&mut compressed, now, &wire, usize::MAX);
    assert!(compressed.room().is_none(), "it has to be inflated");

    let mut idle = connection(Role::Server, now);
    assert!(idle.room().is_none());
    assert_eq!(idle.handle_room(now), Ok(None), "nothing has come");
    assert!(idle.is_open());
}
