//! Two connections over a link that splits at will: what one sends, the other receives, once and in order.
#![no_main]

use std::{collections::VecDeque, sync::Arc, time::Instant};

use antiphon_proto::{
    close::CloseFrame,
    config::{Codec, Config, DeflateConfig, DeflateParams, Role},
    connection::{Connection, Event, Input},
    message::{Message, MessageKind},
    sender::Prepared,
};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Repeated { byte: u8, length: u16 },
    Prepared(&'a str),
    Parts(Vec<&'a [u8]>),
    Ping,
    Deliver { length: u8 },
    Swap,
    Close(u16),
}

#[derive(Arbitrary, Debug)]
struct Setting {
    deflate: Option<(bool, bool, u8, u8, bool, u16)>,
    min_size: u8,
}

struct End {
    connection: Connection,
    wire: Vec<u8>,
    sent: VecDeque<Message>,
}

impl End {
    fn note(&mut self, message: Message, queued: bool) {
        if queued {
            self.sent.push_back(message);
        }
    }
}

/// Moves up to `length` bytes from one end to the other and compares what arrives.
fn deliver(from: &mut End, to: &mut End, length: usize, now: Instant) {
    let written = from.connection.take_output(now);
    from.wire.extend(written);
    let length = length.min(from.wire.len());
    let mut bytes: Vec<u8> = from.wire.drain(..length).collect();
    let mut input = Input::new(&mut bytes);
    while !input.is_empty() {
        match to
            .connection
            .handle_input(now, &mut input)
            .expect("our own bytes break no rule")
        {
            Some(event @ Event::Message(..)) => {
                let message = event.into_message().expect("a message");
                assert_eq!(Some(message), from.sent.pop_front());
            }
            Some(_) => {}
            None => assert!(input.is_empty()),
        }
    }
}

fuzz_target!(|input: (Setting, Vec<Step>)| {
    let (setting, steps) = input;
    let now = Instant::now();
    let mut config = Config::default();
    config.control_burst = u32::MAX;
    let config = Arc::new(config);
    let deflate = setting.deflate.map(
        |(server, client, server_bits, client_bits, dedicated, window)| {
            let mut config = DeflateConfig::default();
            config.min_size = usize::from(setting.min_size);
            config.codec = if dedicated {
                Codec::Dedicated
            } else {
                Codec::Pooled {
                    window: usize::from(window) % 8192,
                }
            };
            let params = DeflateParams {
                server_no_context_takeover: server,
                client_no_context_takeover: client,
                server_max_window_bits: 8 + server_bits % 8,
                client_max_window_bits: 8 + client_bits % 8,
            };
            (params, Arc::new(config))
        },
    );
    let end = |role| End {
        connection: Connection::new(role, Arc::clone(&config), deflate.clone(), now),
        wire: Vec::new(),
        sent: VecDeque::new(),
    };
    let (mut a, mut b) = (end(Role::Client), end(Role::Server));
    let mut closed = false;
    for step in steps {
        let whole = |message: Message, end: &mut End| {
            let queued = end.connection.send(&message).is_ok();
            end.note(message, queued);
        };
        match step {
            Step::Text(text) => whole(Message::text(text), &mut a),
            Step::Binary(bytes) => whole(Message::from(bytes), &mut a),
            Step::Repeated { byte, length } => {
                whole(Message::binary(vec![byte; length.into()]), &mut a)
            }
            Step::Prepared(text) => {
                let prepared = Prepared::new(Message::text(text));
                let queued = a.connection.send_prepared(&prepared).is_ok();
                a.note(prepared.message().clone(), queued);
            }
            Step::Parts(parts) => {
                if a.connection.begin_parts().is_ok() {
                    for part in &parts {
                        a.connection
                            .send_part(MessageKind::Binary, part, false)
                            .expect("an open message");
                    }
                    a.connection
                        .send_part(MessageKind::Binary, &[], true)
                        .expect("an open message");
                    a.sent.push_back(Message::binary(parts.concat()));
                }
            }
            Step::Ping => {
                let _ = a.connection.ping(now);
            }
            Step::Deliver { length } => deliver(&mut a, &mut b, length.into(), now),
            Step::Swap => std::mem::swap(&mut a, &mut b),
            Step::Close(code) => {
                closed |= a.connection.close(now, CloseFrame::new(code, "")).is_ok();
            }
        }
    }
    for _ in 0..4 {
        deliver(&mut a, &mut b, usize::MAX, now);
        deliver(&mut b, &mut a, usize::MAX, now);
    }
    if closed {
        assert!(a.connection.end().is_some() && b.connection.end().is_some());
    } else {
        assert!(a.sent.is_empty() && b.sent.is_empty());
    }
});
