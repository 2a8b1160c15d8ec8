//! Two connections in virtual time with a link between them, and the wire read by hand, for the tests of the core.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part of this"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use antiphon_proto::{
    config::{Config, DeflateConfig, DeflateParams, Role},
    connection::{Connection, Event, Input},
    error::Violation,
    frame::{Header, Opcode},
    message::{Message, MessageKind},
};

/// The masking key of the frames that tests write by hand.
pub const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// permessage-deflate without any parameter.
pub const PLAIN_DEFLATE: DeflateParams = DeflateParams {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: 15,
    client_max_window_bits: 15,
};

/// What happened, in memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Message(Message),
    Part(MessageKind, Vec<u8>, bool),
    Ping(Vec<u8>),
    Pong(bool),
    Close(u16, String),
    Violation(Violation),
}

impl Seen {
    pub fn text(text: &str) -> Self {
        Self::Message(Message::text(text))
    }

    pub fn binary(bytes: impl AsRef<[u8]>) -> Self {
        Self::Message(Message::from(bytes.as_ref()))
    }
}

/// A frame of `sender`, masked where a client's must be.
pub fn frame(sender: Role, fin: bool, rsv1: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        fin,
        rsv1,
        opcode,
        mask: (sender == Role::Client).then_some(KEY),
        length: payload.len() as u64,
    };
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    match header.mask {
        Some(key) => antiphon_proto::mask::append(key, payload, &mut bytes),
        None => bytes.extend_from_slice(payload),
    }
    bytes
}

/// A client's frame, uncompressed.
pub fn client(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    frame(Role::Client, fin, false, opcode, payload)
}

/// The frames that stand in the output of `sender`: header and unmasked payload.
pub fn frames(sender: Role, mut wire: &[u8]) -> Vec<(Header, Vec<u8>)> {
    let mut frames = Vec::new();
    while !wire.is_empty() {
        let (header, length) = Header::parse(wire, sender, true)
            .expect("the output keeps the rules")
            .expect("the output ends with a frame");
        let end = length + usize::try_from(header.length).unwrap();
        let mut payload = wire[length..end].to_vec();
        if let Some(key) = header.mask {
            antiphon_proto::mask::apply(key, 0, &mut payload);
        }
        wire = &wire[end..];
        frames.push((header, payload));
    }
    frames
}

/// The payload of the Close frame in the output of `sender`.
pub fn close_payload(sender: Role, wire: &[u8]) -> Option<Vec<u8>> {
    let mut closes = frames(sender, wire)
        .into_iter()
        .filter(|(header, _)| header.opcode == Opcode::Close);
    let close = closes.next()?.1;
    assert!(closes.next().is_none(), "two Close frames");
    Some(close)
}

/// The close code in the output of `sender`; 1005 where the frame is empty.
pub fn close_code(sender: Role, wire: &[u8]) -> Option<u16> {
    Some(match close_payload(sender, wire)?[..] {
        [] => 1005,
        [high, low, ..] => u16::from_be_bytes([high, low]),
        [_] => panic!("a Close payload of one byte"),
    })
}

/// Gives `bytes` to `connection` in pieces of `piece` bytes and notes what happens.
pub fn feed(connection: &mut Connection, now: Instant, bytes: &[u8], piece: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    for bytes in bytes.chunks(piece.max(1)) {
        let mut bytes = bytes.to_vec();
        let mut input = Input::new(&mut bytes);
        while !input.is_empty() {
            match connection.handle_input(now, &mut input) {
                Ok(Some(event)) => seen.push(note(event)),
                Ok(None) => assert!(input.is_empty(), "stopped before the end"),
                Err(violation) => seen.push(Seen::Violation(violation)),
            }
        }
    }
    seen
}

pub fn note(event: Event<'_>) -> Seen {
    match event {
        Event::Part {
            kind,
            payload,
            last,
        } => Seen::Part(kind, payload.as_bytes().to_vec(), last),
        Event::Ping(payload) => Seen::Ping(payload.as_bytes().to_vec()),
        Event::Pong(matched) => Seen::Pong(matched.is_some()),
        Event::Close(close) => Seen::Close(close.code.get(), close.reason.to_string()),
        message => Seen::Message(message.into_message().expect("the only kind left")),
    }
}

/// Where virtual time begins.
#[allow(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made otherwise; no test reads the clock twice"
)]
pub fn start() -> Instant {
    Instant::now()
}

/// A connection with the default configuration.
pub fn connection(role: Role, now: Instant) -> Connection {
    Connection::new(role, Arc::new(Config::default()), None, now)
}

pub fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

/// One direction of the link.
#[derive(Default)]
pub struct Lane {
    pub wire: Vec<u8>,
    /// Nothing is taken from the sender.
    pub paused: bool,
    /// What is taken is lost.
    pub lossy: bool,
}

/// A client and a server, and the link between them.
pub struct Pair {
    pub now: Instant,
    pub client: Connection,
    pub server: Connection,
    /// What each end saw.
    pub at_client: Vec<Seen>,
    pub at_server: Vec<Seen>,
    pub to_client: Lane,
    pub to_server: Lane,
    /// In pieces of so many bytes.
    pub piece: usize,
}

impl Pair {
    pub fn new(config: Config, deflate: Option<(DeflateParams, DeflateConfig)>) -> Self {
        let now = start();
        let config = Arc::new(config);
        let deflate = deflate.map(|(params, config)| (params, Arc::new(config)));
        Self {
            now,
            client: Connection::new(Role::Client, config.clone(), deflate.clone(), now),
            server: Connection::new(Role::Server, config, deflate, now),
            at_client: Vec::new(),
            at_server: Vec::new(),
            to_client: Lane::default(),
            to_server: Lane::default(),
            piece: usize::MAX,
        }
    }

    /// Moves what is written onto the link and across it, once in each direction. Whether anything moved.
    pub fn step(&mut self) -> bool {
        let mut moved = false;
        for (from, lane) in [
            (&mut self.client, &mut self.to_server),
            (&mut self.server, &mut self.to_client),
        ] {
            if lane.paused {
                from.advance_output(self.now, 0);
            } else {
                let written = from.take_output(self.now);
                moved |= !written.is_empty();
                if !lane.lossy {
                    lane.wire.extend(written);
                }
            }
        }
        for (to, lane, seen) in [
            (&mut self.server, &mut self.to_server, &mut self.at_server),
            (&mut self.client, &mut self.to_client, &mut self.at_client),
        ] {
            let wire = std::mem::take(&mut lane.wire);
            seen.extend(feed(to, self.now, &wire, self.piece));
        }
        moved
    }

    /// Drives both ends until nothing moves any more.
    pub fn settle(&mut self) {
        while self.step() {}
    }

    /// Lets time pass, from deadline to deadline.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        loop {
            let next = [&self.client, &self.server]
                .into_iter()
                .filter_map(Connection::poll_deadline)
                .min();
            match next {
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => break,
            }
            let before = (
                self.client.poll_deadline(),
                self.server.poll_deadline(),
                self.now,
            );
            self.client.handle_deadline(self.now);
            self.server.handle_deadline(self.now);
            self.settle();
            let after = (
                self.client.poll_deadline(),
                self.server.poll_deadline(),
                self.now,
            );
            assert_ne!(before, after, "a deadline that has passed stays");
        }
        self.now = end;
        self.client.handle_deadline(end);
        self.server.handle_deadline(end);
        self.settle();
    }
}
