//! Bytes and frames: masks, UTF-8, headers, and a connection's two directions.

use std::{hint::black_box, io::IoSlice, sync::Arc, time::Instant};

use antiphon_proto::{
    config::{Config, Role},
    connection::{Connection, Event, Input},
    frame::{Header, Opcode},
    mask,
    message::Message,
    sender::Prepared,
    utf8,
};

use crate::{
    path::{Path, Step, step},
    sample,
};

pub(crate) fn paths() -> Vec<Path> {
    let apply = |size| move || masking(size);
    let valid = |text: fn(usize) -> String, size| move || validating(text(size));
    let ascii: fn(usize) -> String = |size| sample::text(size, 1);
    vec![
        Path::new("mask/125", "unmask in place", 125, apply(125)),
        Path::new("mask/1K", "the same", 1024, apply(1024)),
        Path::new("mask/16K", "the same", 16_384, apply(16_384)).rounds(500),
        Path::new("utf8/125", "ASCII is valid", 125, valid(ascii, 125)),
        Path::new(
            "utf8/1K-mixed",
            "a third is not ASCII",
            1024,
            valid(sample::mixed, 1024),
        ),
        Path::new("utf8/16K", "ASCII is valid", 16_384, valid(ascii, 16_384)).rounds(500),
        Path::new("header/parse", "of a client's 125 B", 0, parsing),
        Path::new("header/encode", "of a server's 1 KiB", 0, encoding),
        Path::new(
            "receiver/125",
            "one text frame to a message in place",
            125,
            || receiving(125),
        ),
        Path::new("receiver/16K", "the same", 16_384, || receiving(16_384)).rounds(500),
        Path::new(
            "sender/125",
            "one text to a server's frame, and taken by the transport",
            125,
            || sending(125),
        ),
        Path::new(
            "sender/16K",
            "the same; the payload is shared",
            16_384,
            || sending(16_384),
        )
        .rounds(500),
        Path::new(
            "sender/client-125",
            "one text to a client's frame, masked",
            125,
            || client_sending(125),
        ),
        Path::new(
            "prepared/125",
            "a frame that was made once, queued and taken",
            125,
            prepared,
        ),
        Path::new(
            "connection/125",
            "one text received as an owned message, and sent back",
            125,
            || echoing(125),
        ),
    ]
}

fn masking(size: usize) -> Step {
    // Behind a header of 6 bytes a payload stands where it happens to stand.
    let mut bytes = vec![b'a'; size + 6];
    step(move || mask::apply(black_box(sample::KEY), 0, black_box(&mut bytes[6..])))
}

fn validating(text: String) -> Step {
    step(move || {
        black_box(utf8::is_valid(black_box(text.as_bytes())));
    })
}

fn parsing() -> Step {
    let frame = sample::frame(Opcode::Text, &[b'a'; 125]);
    step(move || {
        let _ = black_box(Header::parse(black_box(&frame), Role::Client, false));
    })
}

fn encoding() -> Step {
    let header = Header {
        fin: true,
        rsv1: false,
        opcode: Opcode::Text,
        mask: None,
        length: 1024,
    };
    let mut out = Vec::with_capacity(16);
    step(move || {
        out.clear();
        black_box(&header).encode(&mut out);
        black_box(&out);
    })
}

fn connection(role: Role, now: Instant) -> Connection {
    Connection::new(role, Arc::new(Config::default()), None, now)
}

fn receiving(size: usize) -> Step {
    let now = Instant::now();
    let mut server = connection(Role::Server, now);
    let frame = sample::frame(Opcode::Text, sample::text(size, 1).as_bytes());
    let mut read = frame.clone();
    step(move || {
        // Unmasked in place: each time anew, as a read puts it there.
        read.copy_from_slice(&frame);
        let event = server.handle_input(now, &mut Input::new(&mut read));
        assert!(matches!(black_box(event), Ok(Some(Event::Message(..)))));
    })
}

/// Takes all output as a transport does.
fn written(connection: &mut Connection, now: Instant) {
    let mut slices = [IoSlice::new(&[]); 8];
    let count = connection.output(&mut slices);
    let bytes = slices[..count].iter().map(|slice| slice.len()).sum();
    black_box(&slices);
    connection.advance_output(now, bytes);
}

fn sending(size: usize) -> Step {
    let now = Instant::now();
    let mut server = connection(Role::Server, now);
    let message = Message::text(sample::text(size, 1));
    step(move || {
        assert!(server.send(&message).is_ok());
        written(&mut server, now);
    })
}

fn client_sending(size: usize) -> Step {
    let now = Instant::now();
    let mut client = connection(Role::Client, now);
    let message = Message::text(sample::text(size, 1));
    step(move || {
        assert!(client.send(&message).is_ok());
        written(&mut client, now);
    })
}

fn prepared() -> Step {
    let now = Instant::now();
    let mut server = connection(Role::Server, now);
    let prepared = Prepared::new(Message::text(sample::text(125, 1)));
    step(move || {
        assert!(server.send_prepared(&prepared).is_ok());
        written(&mut server, now);
    })
}

fn echoing(size: usize) -> Step {
    let now = Instant::now();
    let mut server = connection(Role::Server, now);
    let frame = sample::frame(Opcode::Text, sample::text(size, 1).as_bytes());
    let mut read = frame.clone();
    step(move || {
        read.copy_from_slice(&frame);
        let event = server.handle_input(now, &mut Input::new(&mut read));
        let message = event.ok().flatten().and_then(Event::into_message);
        assert!(message.is_some_and(|message| server.send(&message).is_ok()));
        written(&mut server, now);
    })
}
