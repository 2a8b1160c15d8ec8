//! The rest of a long message, read into its own memory.

mod pair;

use std::sync::Arc;

use allocation_counter::measure;
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
            let mut behind = Vec::new();
            match connection.handle_room(now, &mut behind) {
                Ok(event) => seen.extend(event.map(note)),
                Err(violation) => {
                    seen.push(Seen::Violation(violation));
                    break;
                }
            }
            seen.extend(feed(connection, now, &behind, usize::MAX));
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
    assert_eq!(
        idle.handle_room(now, &mut Vec::new()),
        Ok(None),
        "nothing has come"
    );
    assert!(idle.is_open());
}

/// Messages one after another, of lengths that are as expected and that are not, each with what a client sends at once.
#[test]
fn what_was_expected_wrongly_is_judged_like_everything_else() {
    let long = |length: usize| client(true, Opcode::Binary, &vec![length as u8; length]);
    let text = |length: usize| client(true, Opcode::Text, &vec![b'a'; length]);
    let mut broken = vec![b'a'; 20 * KIB];
    broken[19 * KIB] = 0xff;
    let mut unmasked = long(20 * KIB);
    unmasked[1] &= 0x7f;
    let fragment = client(false, Opcode::Binary, &[7; 30 * KIB]);
    for (name, sent) in [
        ("as long", vec![long(20 * KIB); 4]),
        (
            "longer and longer",
            (1..9).map(|i| text(i * i * i * KIB)).collect(),
        ),
        (
            "shorter and shorter",
            (1..9).rev().map(|i| long(i * i * i * KIB)).collect(),
        ),
        (
            "a little shorter",
            vec![text(20 * KIB), text(19 * KIB), text(19 * KIB - 1)],
        ),
        (
            "short ones",
            vec![
                long(20 * KIB),
                text(3),
                long(20 * KIB),
                long(20 * KIB),
                text(0),
            ],
        ),
        (
            "several at once",
            vec![long(60 * KIB), long(9 * KIB).repeat(4), text(5).repeat(100)],
        ),
        (
            "a few bytes of the next",
            vec![[long(20 * KIB), text(1)].concat(); 3],
        ),
        (
            "pings",
            vec![
                long(20 * KIB),
                client(true, Opcode::Ping, b"x"),
                long(20 * KIB),
            ],
        ),
        (
            "fragments",
            vec![
                long(30 * KIB),
                fragment,
                client(true, Opcode::Continuation, b"x"),
                long(20),
            ],
        ),
        (
            "no end",
            vec![
                long(30 * KIB),
                client(true, Opcode::Continuation, &[7; 30 * KIB]),
            ],
        ),
        ("no mask", vec![long(20 * KIB), unmasked]),
        (
            "not UTF-8",
            vec![text(20 * KIB), client(true, Opcode::Text, &broken)],
        ),
        ("too long", vec![long(20 * KIB), long(1024 * KIB + 1)]),
        (
            "close",
            vec![long(20 * KIB), client(true, Opcode::Close, &[3, 232])],
        ),
    ] {
        let all = sent.concat();
        let expected = feed(
            &mut connection(Role::Server, pair::start()),
            pair::start(),
            &all,
            usize::MAX,
        );
        for piece in [7, 1000, 8 * KIB + 5, 20 * KIB + 8, 100 * KIB, 2048 * KIB] {
            let mut server = connection(Role::Server, pair::start());
            let mut seen = Vec::new();
            for sent in &sent {
                seen.extend(read(&mut server, sent, piece).0);
                if server.end().is_some() {
                    break;
                }
            }
            assert!(seen == expected, "{name} in reads of {piece}");
        }
    }
}

/// What came before, and how long the next frame is then expected to be.
#[test]
fn another_one_as_long_is_expected_behind_a_long_message() {
    let long = |length: usize| client(true, Opcode::Binary, &vec![7; length]);
    let fragments = [
        client(false, Opcode::Binary, &[7; 20 * KIB]),
        client(true, Opcode::Continuation, &[7; 20 * KIB]),
    ];
    for (name, wire, expected) in [
        ("nothing", vec![], 0),
        ("short", long(8 * KIB - 1), 0),
        ("long", long(8 * KIB), 8 * KIB + 14),
        ("longer", long(100 * KIB), 100 * KIB + 14),
        (
            "a short one behind it",
            [long(20 * KIB), long(1)].concat(),
            0,
        ),
        (
            "the beginning of one behind it",
            [long(20 * KIB), vec![0x81]].concat(),
            0,
        ),
        ("two fragments", fragments.concat(), 0),
    ] {
        for piece in [1000, usize::MAX] {
            let mut server = connection(Role::Server, pair::start());
            read(&mut server, &wire, piece.min(wire.len().max(1)));
            assert_eq!(server.expected().unwrap_or(0), expected, "{name}");
            server.deliver_parts(true);
            assert_eq!(server.expected(), None, "{name}, in parts");
            assert!(server.room().is_none());
        }
    }
    let deflate = (PLAIN_DEFLATE, Arc::new(DeflateConfig::default()));
    let mut compressed =
        Connection::new(Role::Server, Arc::default(), Some(deflate), pair::start());
    let mut stored = vec![1, 0xff, 0x7f, 0, 0x80];
    stored.resize(5 + 0x7fff, b'a');
    let mut wire = client(true, Opcode::Text, &[&stored[..], &[0]].concat());
    wire[0] |= 0x40;
    assert_eq!(
        feed(&mut compressed, pair::start(), &wire, usize::MAX).len(),
        1
    );
    assert_eq!(compressed.expected(), None, "it had to be inflated");
    let mut closing = connection(Role::Server, pair::start());
    read(&mut closing, &long(20 * KIB), 21 * KIB);
    closing
        .close(pair::start(), CloseFrame::new(CloseCode::NORMAL, ""))
        .expect("may be sent");
    assert_eq!(closing.expected(), None, "nobody is to have it");
}

/// What comes where 800 KiB are expected, and how much memory is held for it then.
#[test]
fn what_was_expected_and_has_not_come_holds_nothing() {
    let now = pair::start();
    let long = client(true, Opcode::Binary, &vec![7; 800 * KIB]);
    let shorter = client(true, Opcode::Binary, &vec![7; 200 * KIB]);
    for (name, come, held) in [
        ("nothing", &[][..], 0),
        ("a header", &long[..14], 64),
        ("some", &long[..2 * KIB], 64 * KIB),
        ("less than a sixteenth", &long[..49 * KIB], 100 * KIB),
        ("half", &long[..400 * KIB], 801 * KIB),
        ("half of a shorter one", &shorter[..100 * KIB], 202 * KIB),
        ("a short message", &client(true, Opcode::Text, b"x"), 0),
    ] {
        let mut server = connection(Role::Server, now);
        feed(&mut server, now, &long, usize::MAX);
        assert_eq!(server.expected(), Some(800 * KIB + 14));
        let mut rest = Vec::new();
        let info = measure(|| {
            let mut room = server.room().expect("a long one is expected");
            room.put_slice(come);
            drop(room);
            if come.is_empty() {
                server.leave_room();
                return;
            }
            let event = server.handle_room(now, &mut rest);
            drop(event.expect("nothing is wrong"));
            feed(&mut server, now, &rest, usize::MAX);
            rest = Vec::new();
        });
        assert!(info.bytes_current <= held as i64 + 256, "{name}: {info:?}");
    }
}

/// A message that is kept holds about its own size, however long a one was expected.
#[test]
fn a_message_that_is_kept_pins_no_more_than_its_size() {
    let now = pair::start();
    for expected in [8 * KIB, 20 * KIB, 800 * KIB] {
        for length in [
            1,
            5 * KIB,
            8 * KIB,
            17 * KIB,
            18 * KIB,
            750 * KIB,
            800 * KIB,
        ] {
            let mut server = connection(Role::Server, now);
            feed(
                &mut server,
                now,
                &client(true, Opcode::Binary, &vec![7; expected]),
                usize::MAX,
            );
            let wire = client(true, Opcode::Binary, &vec![7; length]);
            let (seen, _) = read(&mut server, &wire, 1024 * KIB);
            let info = measure(move || drop(seen));
            let freed = usize::try_from(-info.bytes_current).expect("freed");
            assert!(
                freed <= length + length / 8 + 512,
                "{length} behind {expected}: {freed}"
            );
        }
    }
}
