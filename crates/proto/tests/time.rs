//! Keep-alive, time-outs and the closing handshake's patience, in virtual time.

mod pair;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use antiphon_proto::{
    close::CloseFrame,
    config::{Config, Role},
    connection::{Connection, End},
    error::Violation,
    frame::Opcode,
    message::{Message, MessageKind},
};
use pair::{Lane, Pair, Seen, client, close_code, connection, feed, frames};

const SECOND: Duration = Duration::from_secs(1);

fn server(now: Instant, change: impl FnOnce(&mut Config)) -> Connection {
    let mut config = Config::default();
    change(&mut config);
    Connection::new(Role::Server, Arc::new(config), None, now)
}

/// Runs `connection` alone until it ends; gives the time that took.
fn until_end(connection: &mut Connection, start: Instant, drain: bool) -> (Duration, Vec<u8>) {
    let mut now = start;
    let mut wire = Vec::new();
    while connection.end().is_none() {
        if drain {
            wire.extend(connection.take_output(now));
        } else {
            connection.advance_output(now, 0);
        }
        now = connection.poll_deadline().expect("an end in sight");
        connection.handle_deadline(now);
    }
    wire.extend(connection.take_output(now));
    (now - start, wire)
}

/// What a shell may rely on: while a connection is calm, its deadline only moves away.
#[test]
fn a_calm_connection_is_never_due_sooner() {
    let now = pair::start();
    let mut server = server(now, |config| config.idle_timeout = Some(60 * SECOND));
    assert!(server.is_calm());
    let before = server.poll_deadline();
    let hello = client(true, Opcode::Text, b"a");
    feed(&mut server, now + SECOND, &hello, 100);
    assert!(server.is_calm() && server.poll_deadline() >= before);
    // Half a message, output that nobody takes, a ping without its pong.
    feed(&mut server, now + SECOND, &[0x01, 0x80, 0, 0, 0, 0], 6);
    assert!(!server.is_calm());
    feed(&mut server, now + SECOND, &[0x80, 0x80, 0, 0, 0, 0], 6);
    assert!(server.is_calm());
    server.send(&"b".into()).expect("open");
    server.advance_output(now + SECOND, 0);
    assert!(!server.is_calm());
    server.take_output(now + SECOND);
    assert!(server.is_calm());
    server.handle_deadline(now + 30 * SECOND);
    assert!(!server.is_calm());
}

#[test]
fn a_mute_peer_is_given_up_after_a_ping() {
    let now = pair::start();
    for role in [Role::Server, Role::Client] {
        let mut connection = connection(role, now);
        let (time, wire) = until_end(&mut connection, now, true);
        assert_eq!(time, 35 * SECOND);
        assert_eq!(connection.end(), Some(&End::PongTimeout));
        assert!(connection.is_finished());
        let frames = frames(role, &wire);
        assert_eq!(frames[0].0.opcode, Opcode::Ping);
        assert_eq!(close_code(role, &wire), Some(1001));
    }
}

#[test]
fn two_idle_ends_keep_each_other_alive() {
    let mut pair = Pair::new(Config::default(), None);
    pair.pass(Duration::from_secs(3600));
    assert!(pair.client.is_open() && pair.server.is_open());
    let pongs = |seen: &[Seen]| seen.iter().filter(|s| **s == Seen::Pong(true)).count();
    assert!(pongs(&pair.at_client) + pongs(&pair.at_server) >= 140);
    assert!(pair.at_client.len() + pair.at_server.len() <= 2 * 300);
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let start = pair::start();
    let mut connection = server(start, |config| config.message_timeout = 1000 * SECOND);
    let frame = client(true, Opcode::Binary, &[0; 60]);
    let mut now = start;
    for byte in &frame[..20] {
        now += 25 * SECOND;
        connection.handle_deadline(now);
        assert!(!connection.take_output(now).is_empty(), "a ping is due");
        now += 9 * SECOND;
        connection.handle_deadline(now);
        feed(&mut connection, now, &[*byte], 1);
        assert_eq!(connection.poll_deadline(), Some(now + 25 * SECOND));
    }
    assert!(connection.is_open());
}

/// Behind a backlog that a slow reader takes bit by bit, the ping's time runs from when it leaves.
#[test]
fn a_ping_behind_a_backlog_has_its_time_once_written() {
    let start = pair::start();
    let mut connection = connection(Role::Server, start);
    connection.send(&vec![0; 100_000].into()).unwrap();
    let mut now = start;
    for _ in 0..100 {
        connection.advance_output(now, 1000);
        now += SECOND;
        connection.handle_deadline(now);
        assert_eq!(connection.end(), None, "after {:?}", now - start);
    }
    let left = connection.buffered();
    connection.advance_output(now, left);
    assert_eq!(connection.poll_deadline(), Some(now + 10 * SECOND));
    connection.handle_deadline(now + 10 * SECOND);
    assert_eq!(connection.end(), Some(&End::PongTimeout));
}

#[test]
fn without_pings_nothing_is_due() {
    let now = pair::start();
    let mut connection = server(now, |config| config.ping_interval = None);
    assert_eq!(connection.poll_deadline(), None);
    connection.handle_deadline(now + 1_000_000 * SECOND);
    assert!(connection.is_open() && connection.buffered() == 0);
}

/// `Duration::MAX` is how people write "never".
#[test]
fn endless_times_are_no_deadlines() {
    let now = pair::start();
    let mut connection = server(now, |config| {
        config.ping_interval = Some(Duration::MAX);
        config.idle_timeout = Some(Duration::MAX);
        config.pong_timeout = Duration::MAX;
        config.message_timeout = Duration::MAX;
        config.close_timeout = Duration::MAX;
        config.write_timeout = Duration::MAX;
    });
    feed(
        &mut connection,
        now,
        &client(false, Opcode::Text, b"a"),
        usize::MAX,
    );
    connection.send(&Message::text("b")).unwrap();
    connection.advance_output(now, 0);
    assert_eq!(connection.poll_deadline(), None);
    connection.close(now, CloseFrame::new(1000, "")).unwrap();
    assert_eq!(connection.poll_deadline(), None);
    connection.handle_deadline(now + 1_000_000 * SECOND);
    assert_eq!(connection.end(), None);
}

#[test]
fn an_idle_connection_is_closed_and_data_either_way_prevents_it() {
    for (to_server, to_client, parts, alive) in [
        (false, false, false, false),
        (true, false, false, true),
        (false, true, false, true),
        (false, true, true, true),
    ] {
        let mut config = Config::default();
        config.idle_timeout = Some(60 * SECOND);
        let mut pair = Pair::new(config, None);
        for _ in 0..3 {
            pair.pass(45 * SECOND);
            let message = Message::text("data");
            if to_server {
                let _ = pair.client.send(&message);
            }
            if to_client && parts {
                let _ = pair.server.begin_parts();
                let _ = pair.server.send_part(MessageKind::Text, b"data", true);
            } else if to_client {
                let _ = pair.server.send(&message);
            }
        }
        assert_eq!(pair.server.is_open(), alive);
        if !alive {
            assert!(
                matches!(pair.client.end(), Some(End::Clean(close)) if close.code.get() == 1001)
            );
        }
    }
}

#[test]
fn a_message_must_end_in_time() {
    for (input, what) in [
        (client(false, Opcode::Text, b"abc"), "a fragment"),
        (
            client(true, Opcode::Text, b"abc")[..7].to_vec(),
            "part of a frame",
        ),
        (client(true, Opcode::Text, b"abc")[..6].to_vec(), "a header"),
        (
            [
                client(false, Opcode::Text, b"abc"),
                client(true, Opcode::Ping, b""),
            ]
            .concat(),
            "a fragment and a ping in one read",
        ),
        (
            [
                client(true, Opcode::Text, b""),
                client(false, Opcode::Text, b""),
            ]
            .concat(),
            "a message and the beginning of another",
        ),
    ] {
        let start = pair::start();
        let mut connection = connection(Role::Server, start);
        feed(&mut connection, start, &input, usize::MAX);
        connection.take_output(start);
        // Every reader ends with a whole event, and pongs keep the connection alive.
        let mut now = start;
        while connection.end().is_none() {
            now += SECOND;
            connection.handle_deadline(now);
            if what != "part of a frame" && what != "a header" && connection.end().is_none() {
                feed(
                    &mut connection,
                    now,
                    &client(true, Opcode::Pong, b""),
                    usize::MAX,
                );
            }
        }
        assert_eq!(now - start, 30 * SECOND, "{what}");
        assert_eq!(
            connection.end(),
            Some(&End::Violation(Violation::MessageTimeout))
        );
        assert_eq!(
            close_code(Role::Server, &connection.take_output(now)),
            Some(1008)
        );
    }
}

#[test]
fn a_message_at_one_kib_a_second_is_never_cut() {
    for (rate, alive) in [(1024, true), (1000, false)] {
        let start = pair::start();
        let mut connection = connection(Role::Server, start);
        let frame = client(true, Opcode::Binary, &vec![0; 200 * 1024]);
        let (header, payload) = frame.split_at(14);
        feed(&mut connection, start, header, usize::MAX);
        let mut now = start;
        for piece in payload.chunks(rate).take(199) {
            feed(&mut connection, now, piece, usize::MAX);
            now += SECOND;
            connection.handle_deadline(now);
        }
        assert_eq!(connection.is_open(), alive, "{rate} bytes a second");
    }
}

/// A message in parts may last for ever; what may not is the wait for its next part.
#[test]
fn the_next_part_must_come_in_time() {
    let start = pair::start();
    let mut connection = connection(Role::Server, start);
    connection.deliver_parts(true);
    feed(
        &mut connection,
        start,
        &client(false, Opcode::Binary, &vec![0; 1 << 20]),
        usize::MAX,
    );
    let mut now = start;
    for _ in 0..20 {
        now += 29 * SECOND;
        connection.handle_deadline(now);
        let part = client(false, Opcode::Continuation, b"a");
        let seen = feed(&mut connection, now, &part, usize::MAX);
        assert_eq!(
            seen,
            [Seen::Part(MessageKind::Binary, b"a".to_vec(), false)]
        );
    }
    connection.take_output(now);
    now += 24 * SECOND;
    feed(&mut connection, now, &client(true, Opcode::Pong, b""), 1);
    connection.handle_deadline(now + 6 * SECOND);
    assert_eq!(
        connection.end(),
        Some(&End::Violation(Violation::MessageTimeout))
    );
}

#[test]
fn a_peer_that_never_answers_our_close() {
    let start = pair::start();
    let mut connection = connection(Role::Server, start);
    connection.close(start, CloseFrame::new(1000, "")).unwrap();
    let (time, _) = until_end(&mut connection, start, true);
    assert_eq!(time, 2 * SECOND);
    assert_eq!(connection.end(), Some(&End::CloseTimeout));
    assert!(connection.is_finished());
    assert_eq!(connection.poll_deadline(), None);
}

#[test]
fn a_peer_that_sends_data_for_ever_after_our_close() {
    let start = pair::start();
    let mut connection = connection(Role::Server, start);
    connection.close(start, CloseFrame::new(1000, "")).unwrap();
    let mut now = start;
    while connection.end().is_none() {
        let seen = feed(
            &mut connection,
            now,
            &client(true, Opcode::Text, b"still here"),
            usize::MAX,
        );
        assert_eq!(seen, [], "discarded");
        now += SECOND / 4;
        connection.handle_deadline(now);
    }
    assert_eq!(now - start, 2 * SECOND);
    assert_eq!(connection.end(), Some(&End::CloseTimeout));
}

/// After the closing handshake or a failure the peer has two seconds to hang up.
#[test]
fn a_peer_that_does_not_hang_up() {
    for (role, input) in [
        (Role::Client, &[0x88, 0x00][..]),
        (Role::Client, &[0x83, 0x00]),
        (Role::Server, &[0x83, 0x80]),
    ] {
        let now = pair::start();
        let mut connection = connection(role, now);
        feed(&mut connection, now, input, usize::MAX);
        connection.take_output(now);
        assert!(!connection.is_finished() && connection.wants_shutdown());
        assert_eq!(connection.poll_deadline(), Some(now + 2 * SECOND));
        connection.handle_deadline(now + SECOND);
        assert!(!connection.is_finished());
        connection.handle_deadline(now + 2 * SECOND);
        assert!(connection.is_finished());
        assert_eq!(connection.poll_deadline(), None);
    }
}

#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    let start = pair::start();
    for closing in [false, true] {
        let mut connection = server(start, |config| config.close_timeout = 60 * SECOND);
        connection.send(&Message::text("a")).unwrap();
        if closing {
            connection.close(start, CloseFrame::new(1000, "")).unwrap();
        }
        let (time, _) = until_end(&mut connection, start, false);
        assert_eq!(time, 10 * SECOND);
        assert_eq!(connection.end(), Some(&End::WriteTimeout));
        assert!(connection.is_finished());
    }
    // One byte within the time starts it anew.
    let mut connection = connection(Role::Server, start);
    connection.send(&vec![0; 100].into()).unwrap();
    connection.advance_output(start, 0);
    connection.advance_output(start + 9 * SECOND, 1);
    connection.advance_output(start + 15 * SECOND, 0);
    assert_eq!(connection.poll_deadline(), Some(start + 19 * SECOND));
}

#[test]
fn a_ping_measures_the_round_trip() {
    let start = pair::start();
    let mut client = connection(Role::Client, start);
    let mut server = connection(Role::Server, start);
    let first = client.ping(start).unwrap();
    let second = client.ping(start + SECOND).unwrap();
    assert_ne!(first, second);
    let pings = client.take_output(start + SECOND);
    feed(&mut server, start + SECOND, &pings, usize::MAX);
    let mut pongs = server.take_output(start + SECOND);
    let mut input = antiphon_proto::connection::Input::new(&mut pongs);
    let now = start + 3 * SECOND;
    for expected in [(first, 3 * SECOND), (second, 2 * SECOND)] {
        let event = client.handle_input(now, &mut input).unwrap().unwrap();
        assert_eq!(
            event,
            antiphon_proto::connection::Event::Pong(Some(expected))
        );
    }
    // Nobody asked for these.
    for payload in [&b""[..], b"1234", b"12345", &[0, 0, 0, 0]] {
        let pong = pair::frame(Role::Server, true, false, Opcode::Pong, payload);
        assert_eq!(feed(&mut client, now, &pong, 1), [Seen::Pong(false)]);
    }
}

/// Section 5.5.3: a pong may answer the latest ping only. At most eight pings wait.
#[test]
fn a_pong_answers_the_pings_before_it() {
    let now = pair::start();
    let mut client = connection(Role::Client, now);
    for _ in 0..10 {
        client.ping(now).unwrap();
    }
    let pong = |id: u32| pair::frame(Role::Server, true, false, Opcode::Pong, &id.to_be_bytes());
    for (id, known) in [
        (0, false),
        (1, false),
        (2, true),
        (8, true),
        (5, false),
        (9, true),
    ] {
        let seen = feed(&mut client, now, &pong(id), usize::MAX);
        assert_eq!(seen, [Seen::Pong(known)], "{id}");
    }
}

#[test]
fn a_cut_link_ends_both() {
    let mut pair = Pair::new(Config::default(), None);
    pair.to_client = Lane {
        lossy: true,
        ..Lane::default()
    };
    pair.to_server = Lane {
        lossy: true,
        ..Lane::default()
    };
    pair.pass(36 * SECOND);
    assert_eq!(pair.client.end(), Some(&End::PongTimeout));
    assert_eq!(pair.server.end(), Some(&End::PongTimeout));
}

#[test]
fn a_paused_reader_ends_the_writer_alone() {
    let mut pair = Pair::new(Config::default(), None);
    pair.to_client.paused = true;
    pair.server.send(&vec![0; 1000].into()).unwrap();
    pair.pass(11 * SECOND);
    assert_eq!(pair.server.end(), Some(&End::WriteTimeout));
    assert!(pair.client.is_open());
}

/// Calling early changes nothing, in whatever state.
#[test]
fn an_early_deadline_changes_nothing() {
    let start = pair::start();
    let inputs = [
        vec![],
        client(false, Opcode::Text, b"a"),
        client(true, Opcode::Close, b""),
        vec![0x83],
    ];
    for input in inputs {
        let mut connection = connection(Role::Server, start);
        feed(&mut connection, start, &input, usize::MAX);
        connection.take_output(start);
        while let Some(deadline) = connection.poll_deadline() {
            let end = connection.end().cloned();
            for early in [start, deadline - Duration::from_nanos(1)] {
                connection.handle_deadline(early);
                assert_eq!(connection.poll_deadline(), Some(deadline));
                assert_eq!(connection.end().cloned(), end);
                assert_eq!(connection.buffered(), 0);
            }
            connection.handle_deadline(deadline);
            connection.take_output(deadline);
            assert_ne!(connection.poll_deadline(), Some(deadline));
        }
        assert!(connection.is_finished());
    }
}
