//! What a hostile peer can make a connection do or hold: lengths, counts, floods, bombs, and the heap under each.

mod pair;

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use allocation_counter::measure;
use antiphon_proto::{
    close::CloseFrame,
    config::{Config, DeflateConfig, DeflateParams, Role},
    connection::{Connection, End, Input},
    deflate::Deflater,
    error::Violation,
    frame::Opcode,
    message::Message,
};
use pair::{KEY, PLAIN_DEFLATE, Seen, client, close_code, connection, feed, frame, frames};

const KIB: usize = 1024;
const LIMIT: usize = 1024 * KIB;

/// The most that hostile input may add to an idle connection where it is not the message itself.
const HOSTILE: u64 = 256 * KIB as u64;

fn with(role: Role, change: impl FnOnce(&mut Config)) -> Connection {
    let mut config = Config::default();
    change(&mut config);
    Connection::new(role, Arc::new(config), None, pair::start())
}

fn compressing(now: Instant) -> Connection {
    let deflate = (PLAIN_DEFLATE, Arc::new(DeflateConfig::default()));
    Connection::new(Role::Server, Arc::default(), Some(deflate), now)
}

/// A header with a 64-bit length.
fn claim(role: Role, fin: bool, opcode: u8, length: u64) -> Vec<u8> {
    let (mask, key) = match role {
        Role::Client => (0x80, &KEY[..]),
        Role::Server => (0, &[][..]),
    };
    let first = u8::from(fin) << 7 | opcode;
    [&[first, mask | 127], &length.to_be_bytes()[..], key].concat()
}

#[test]
fn a_length_is_judged_by_the_header_alone() {
    for role in [Role::Server, Role::Client] {
        for opcode in [1, 2] {
            for (length, expected) in [
                (LIMIT as u64 - 1, None),
                (LIMIT as u64, None),
                (LIMIT as u64 + 1, Some(1009)),
                (1 << 62, Some(1009)),
                (i64::MAX as u64, Some(1009)),
                (1 << 63, Some(1002)),
                (u64::MAX, Some(1002)),
            ] {
                for started in [false, true] {
                    let now = pair::start();
                    let mut connection = connection(role, now);
                    let peer = pair::other(role);
                    let mut header = claim(peer, true, opcode, length);
                    if started {
                        let text = Opcode::Text;
                        feed(
                            &mut connection,
                            now,
                            &frame(peer, false, false, text, b""),
                            1,
                        );
                        header = claim(peer, true, 0, length);
                    }
                    let info = measure(|| {
                        feed(&mut connection, now, &header, usize::MAX);
                    });
                    assert!(info.bytes_max < 2 * KIB as u64, "{length}: {info:?}");
                    let wire = connection.take_output(now);
                    assert_eq!(
                        close_code(role, &wire),
                        expected,
                        "{role:?} {opcode} {length}"
                    );
                }
            }
        }
        // A control frame with any long length is wrong before its length is read.
        for opcode in [8, 9, 10] {
            for length in [126, 1 << 62, 1 << 63, u64::MAX] {
                let now = pair::start();
                let mut connection = connection(role, now);
                let header = claim(pair::other(role), true, opcode, length);
                feed(&mut connection, now, &header, usize::MAX);
                assert_eq!(close_code(role, &connection.take_output(now)), Some(1002));
            }
        }
    }
}

#[test]
fn a_frame_may_have_a_limit_of_its_own() {
    let now = pair::start();
    for (length, code) in [(100, None), (101, Some(1009))] {
        let mut connection = with(Role::Server, |config| config.max_frame_size = Some(100));
        let input = client(false, Opcode::Binary, &vec![0; length]);
        let seen = feed(&mut connection, now, &input, usize::MAX);
        assert_eq!(close_code(Role::Server, &connection.take_output(now)), code);
        assert_eq!(
            seen == [Seen::Violation(Violation::FrameTooBig { limit: 100 })],
            code.is_some()
        );
    }
}

#[test]
fn a_message_of_the_limit_passes_and_one_byte_more_does_not() {
    let now = pair::start();
    for (excess, code) in [(0, None), (1, Some(1009))] {
        let mut connection = connection(Role::Server, now);
        let half = client(false, Opcode::Binary, &vec![0; LIMIT / 2]);
        let rest = client(true, Opcode::Continuation, &vec![0; LIMIT / 2 + excess]);
        feed(&mut connection, now, &[half, rest].concat(), 65_536);
        assert_eq!(close_code(Role::Server, &connection.take_output(now)), code);
    }
}

#[test]
fn a_message_that_never_ends() {
    let now = pair::start();
    let mut connection = connection(Role::Server, now);
    let mut bytes = client(false, Opcode::Binary, &[0; 16 * KIB]);
    let next = client(false, Opcode::Continuation, &[0; 16 * KIB]);
    let mut frames = 0;
    let info = measure(|| {
        while connection.is_open() {
            let mut input = Input::new(&mut bytes);
            let _ = connection.handle_input(now, &mut input);
            bytes = next.clone();
            frames += 1;
        }
    });
    assert_eq!(frames, 65, "64 of 16 KiB fit");
    assert!(info.bytes_max < 4 * LIMIT as u64, "{info:?}");
    assert!(info.bytes_current < 64 * KIB as i64, "given back: {info:?}");
    assert_eq!(
        close_code(Role::Server, &connection.take_output(now)),
        Some(1009)
    );
}

#[test]
fn a_million_empty_fragments() {
    let now = pair::start();
    for compressed in [false, true] {
        for parts in [false, true] {
            let mut connection = match compressed {
                true => compressing(now),
                false => connection(Role::Server, now),
            };
            connection.deliver_parts(parts);
            let first = frame(Role::Client, false, compressed, Opcode::Text, b"");
            let empty = client(false, Opcode::Continuation, b"");
            let flood = [first, empty.repeat(1_000_000)].concat();
            let mut flood = flood;
            let info = measure(|| {
                let mut input = Input::new(&mut flood);
                let result = connection.handle_input(now, &mut input);
                let violation = Violation::TooManyFragments { limit: 1024 };
                assert_eq!(result, Err(violation));
            });
            assert!(info.bytes_max < 2 * KIB as u64, "{info:?}");
            assert_eq!(
                close_code(Role::Server, &connection.take_output(now)),
                Some(1008)
            );
        }
    }
}

/// In parts a message may have any number of fragments that bring something.
#[test]
fn parts_have_no_limit() {
    let now = pair::start();
    let mut connection = connection(Role::Server, now);
    connection.deliver_parts(true);
    feed(&mut connection, now, &client(false, Opcode::Binary, b""), 1);
    let part = client(false, Opcode::Continuation, &[0; KIB]);
    let info = measure(|| {
        for _ in 0..4096 {
            let mut bytes = part.clone();
            let event = connection.handle_input(now, &mut Input::new(&mut bytes));
            assert!(matches!(event, Ok(Some(_))));
        }
    });
    assert!(info.bytes_max < 4 * KIB as u64, "{info:?}");
    // A message that began in parts ends in parts: its rest must not be mistaken for a whole message.
    connection.deliver_parts(false);
    let rest = [
        client(true, Opcode::Continuation, b"end"),
        client(true, Opcode::Text, b"whole"),
    ];
    let seen = feed(&mut connection, now, &rest.concat(), usize::MAX);
    let kind = antiphon_proto::message::MessageKind::Binary;
    assert_eq!(
        seen,
        [Seen::Part(kind, b"end".to_vec(), true), Seen::text("whole")]
    );
}

#[test]
fn parts_can_begin_inside_a_message() {
    let now = pair::start();
    let kind = antiphon_proto::message::MessageKind::Text;
    let mut connection = connection(Role::Server, now);
    feed(
        &mut connection,
        now,
        &client(false, Opcode::Text, b"one "),
        usize::MAX,
    );
    connection.deliver_parts(true);
    let rest = [
        client(false, Opcode::Continuation, b"two "),
        client(true, Opcode::Continuation, b"three"),
    ];
    let seen = feed(&mut connection, now, &rest.concat(), usize::MAX);
    assert_eq!(
        seen,
        [
            Seen::Part(kind, b"one two ".to_vec(), false),
            Seen::Part(kind, b"three".to_vec(), true)
        ]
    );
}

#[test]
fn a_flood_of_control_frames() {
    let now = pair::start();
    for opcode in [Opcode::Ping, Opcode::Pong] {
        let mut connection = connection(Role::Server, now);
        let flood = client(true, opcode, &[0; 125]).repeat(100_000);
        let mut flood = flood;
        let mut count = 0;
        let info = measure(|| {
            let mut input = Input::new(&mut flood);
            while connection
                .handle_input(now, &mut input)
                .is_ok_and(|event| event.is_some())
            {
                count += 1;
            }
        });
        assert_eq!(count, 60, "the burst");
        assert!(info.bytes_max < 16 * KIB as u64, "{info:?}");
        assert_eq!(
            connection.end(),
            Some(&End::Violation(Violation::ControlFlood))
        );
        let wire = connection.take_output(now);
        assert_eq!(close_code(Role::Server, &wire), Some(1008));
    }
}

/// Section 5.5.3: an endpoint "MAY elect to send a Pong frame for only the most recently processed Ping frame".
#[test]
fn with_unread_output_only_the_latest_ping_is_answered() {
    let mut now = pair::start();
    let mut connection = with(Role::Server, |config| config.write_timeout = Duration::MAX);
    let start = connection.poll_deadline();
    let info = measure(|| {
        for n in 0..10_000u32 {
            now += Duration::from_millis(50);
            let ping = client(
                true,
                Opcode::Ping,
                &[&n.to_be_bytes()[..], &[0; 121]].concat(),
            );
            feed(&mut connection, now, &ping, usize::MAX);
            connection.advance_output(now, 0);
        }
    });
    assert!(start.is_some() && connection.is_open());
    assert!(connection.buffered() < 5 * KIB);
    assert!(info.bytes_max < 16 * KIB as u64, "{info:?}");
    let wire = frames(Role::Server, &connection.take_output(now));
    let last = &wire.last().unwrap().1;
    assert_eq!(last[..4], 9999u32.to_be_bytes());
    assert!(wire.len() < 40);
}

/// The pong that waits goes before the Close frame.
#[test]
fn a_late_pong_is_not_lost_to_a_close() {
    let now = pair::start();
    let mut connection = connection(Role::Server, now);
    connection.send(&vec![0; 8 * KIB].into()).unwrap();
    feed(&mut connection, now, &client(true, Opcode::Ping, b"?"), 1);
    connection.close(now, CloseFrame::new(1001, "")).unwrap();
    let wire = frames(Role::Server, &connection.take_output(now));
    let opcodes: Vec<_> = wire.iter().map(|(header, _)| header.opcode).collect();
    assert_eq!(opcodes, [Opcode::Binary, Opcode::Pong, Opcode::Close]);
}

/// A queue that is never empty must not keep what has been written.
#[test]
fn output_that_never_runs_dry_stays_small() {
    let now = pair::start();
    let mut connection = connection(Role::Server, now);
    let message = Message::from(vec![0; 1020]);
    connection.send(&message).unwrap();
    let info = measure(|| {
        for _ in 0..10_000 {
            connection.send(&message).unwrap();
            connection.advance_output(now, 1024);
        }
    });
    assert!(connection.buffered() <= 2 * KIB);
    assert!(info.bytes_max < 32 * KIB as u64, "{info:?}");
}

#[test]
fn a_header_that_claims_15_mib_costs_nothing() {
    let now = pair::start();
    let mut connection = with(Role::Server, |config| config.max_message_size = 16 * LIMIT);
    let mut bytes = claim(Role::Client, true, 2, 15 << 20);
    bytes.extend_from_slice(&[0; 100]);
    let info = measure(|| {
        feed(&mut connection, now, &bytes, usize::MAX);
    });
    assert!(connection.is_open());
    assert!(info.bytes_max < 2 * KIB as u64, "{info:?}");
}

/// A thousand zeros in each byte, and 256 MiB of them: the ratio limit stops it early, in one piece, in small reads and in parts.
#[test]
fn an_inflate_bomb() {
    let now = pair::start();
    let mut payload = Vec::new();
    let mut best = DeflateConfig::default();
    best.level = 9;
    let mut deflater = Deflater::new(false, 15, &best);
    for n in 0..256 {
        deflater.part(&vec![0; LIMIT], n == 255, &mut payload);
    }
    assert!(payload.len() < 512 * KIB);
    for parts in [false, true] {
        for piece in [KIB, 64 * KIB] {
            let mut connection = compressing(now);
            connection.deliver_parts(parts);
            let mut bytes = claim(Role::Client, true, 0x42, payload.len() as u64);
            let mut masked = payload.clone();
            antiphon_proto::mask::apply(KEY, 0, &mut masked);
            bytes.extend_from_slice(&masked);
            // The claim alone may be too long for a whole message; a bomb in fragments is not.
            if !parts {
                bytes = frame(
                    Role::Client,
                    false,
                    true,
                    Opcode::Binary,
                    &payload[..6 * KIB],
                );
            }
            let mut seen = Vec::new();
            let info = measure(|| {
                for piece in bytes.chunks_mut(piece) {
                    let mut input = Input::new(piece);
                    while !input.is_empty() {
                        match connection.handle_input(now, &mut input) {
                            Ok(event) => seen.extend(event.map(|_| ())),
                            Err(violation) => {
                                assert_eq!(violation.close_code().get(), 1009);
                            }
                        }
                    }
                }
            });
            assert!(
                matches!(connection.end(), Some(End::Violation(_))),
                "{parts} {piece}"
            );
            // The codec's 48 kB, and what had come out when the ratio was judged.
            let most = HOSTILE;
            assert!(info.bytes_max < most, "{parts} {piece}: {info:?}");
            assert_eq!(
                close_code(Role::Server, &connection.take_output(now)),
                Some(1009)
            );
        }
    }
}

/// Heap of the connection and the connection itself.
fn weight(build: impl FnOnce() -> Box<Connection>) -> (i64, Box<Connection>) {
    let mut built = None;
    let info = measure(|| built = Some(black_box(build())));
    (info.bytes_current, built.unwrap())
}

#[test]
fn an_idle_connection_weighs_less_than_a_kib() {
    let now = pair::start();
    let config = Arc::new(Config::default());
    for role in [Role::Client, Role::Server] {
        let (weight, _) = weight(|| Box::new(Connection::new(role, config.clone(), None, now)));
        assert!(weight <= KIB as i64, "{weight} bytes");
        assert!(weight as usize >= size_of::<Connection>());
    }
}

#[test]
fn memory_is_given_back_after_traffic() {
    let now = pair::start();
    let deflate = Arc::new(DeflateConfig::default());
    let config = Arc::new(Config::default());
    for compress in [false, true] {
        // Windows of 10 bits: what a pooled codec with its window of 1 KiB asks for.
        let params = DeflateParams {
            server_max_window_bits: 10,
            client_max_window_bits: 10,
            ..PLAIN_DEFLATE
        };
        let params = compress.then(|| (params, deflate.clone()));
        let new = |role| Connection::new(role, config.clone(), params.clone(), now);
        let mut client = new(Role::Client);
        let mut text = String::new();
        for n in 0u32.. {
            if text.len() >= 200_000 {
                break;
            }
            text.push_str(&format!(
                "line {} of the message; ",
                n.wrapping_mul(2_654_435_761)
            ));
        }
        let message = Message::text(text);
        // The pools of codecs belong to the thread, not to a connection: fill them first.
        let mut warm = new(Role::Server);
        for _ in 0..2 {
            exchange(&mut client, &mut warm, &message, now);
        }
        let mut client = new(Role::Client);
        let mut server = None;
        let info = measure(|| {
            let mut connection = Box::new(new(Role::Server));
            exchange_measured(&mut client, &mut connection, &message, now);
            server = Some(connection);
        });
        let most = if compress { 4 * KIB as i64 } else { KIB as i64 };
        assert!(
            info.bytes_current <= most,
            "compression {compress}: {info:?}"
        );
        assert!(server.is_some_and(|server| server.is_open()));
    }
}

fn exchange(client: &mut Connection, server: &mut Connection, message: &Message, now: Instant) {
    client.send(message).unwrap();
    let seen = feed(server, now, &client.take_output(now), 16 * KIB);
    assert_eq!(seen, [Seen::Message(message.clone())]);
    server.send(message).unwrap();
    let seen = feed(client, now, &server.take_output(now), 16 * KIB);
    assert_eq!(seen, [Seen::Message(message.clone())]);
}

/// The same with the client's own memory left out.
fn exchange_measured(
    client: &mut Connection,
    server: &mut Connection,
    message: &Message,
    now: Instant,
) {
    let sent = allocation_counter_opt_out(|| {
        client.send(message).unwrap();
        client.take_output(now)
    });
    let seen = feed(server, now, &sent, 16 * KIB);
    assert_eq!(seen, [Seen::Message(message.clone())]);
    drop(seen);
    server.send(message).unwrap();
    let answer = server.take_output(now);
    allocation_counter_opt_out(|| {
        let seen = feed(client, now, &answer, 16 * KIB);
        assert_eq!(seen, [Seen::Message(message.clone())]);
    });
    drop(answer);
    allocation_counter_opt_out(|| drop(sent));
}

fn allocation_counter_opt_out<T>(run: impl FnOnce() -> T) -> T {
    let mut result = None;
    allocation_counter::opt_out(|| result = Some(run()));
    result.unwrap()
}

#[test]
fn a_small_message_that_is_kept_pins_its_own_size() {
    let now = pair::start();
    for compressed in [false, true] {
        for piece in [5, usize::MAX] {
            let mut server = compressing(now);
            let mut bytes = client(true, Opcode::Text, b"twenty bytes of text");
            if compressed {
                let mut payload = Vec::new();
                Deflater::new(false, 15, &DeflateConfig::default())
                    .message(b"twenty bytes of text", &mut payload);
                bytes = frame(Role::Client, true, true, Opcode::Text, &payload);
            }
            // In a read of 64 KiB of other messages.
            bytes.extend(client(true, Opcode::Binary, &[0; KIB]).repeat(60));
            let mut kept = None;
            feed(&mut server, now, &bytes[..3], 1);
            let piece = piece.min(bytes.len());
            for bytes in bytes[3..].chunks_mut(piece) {
                let mut input = Input::new(bytes);
                while !input.is_empty() {
                    if let Ok(Some(event)) = server.handle_input(now, &mut input)
                        && kept.is_none()
                    {
                        kept = event.into_message();
                    }
                }
            }
            let kept = kept.unwrap();
            assert_eq!(kept.as_text(), Some("twenty bytes of text"));
            let info = measure(move || drop(kept));
            let freed = -info.bytes_current;
            assert!((0..=128).contains(&freed), "{freed} bytes were pinned");
        }
    }
}
