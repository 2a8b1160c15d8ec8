//! Messages framed once for many connections, whatever each has negotiated, between messages of their own.

mod pair;

use antiphon_proto::{
    config::{Codec, Config, DeflateConfig, DeflateParams, Role},
    message::{Message, MessageRef},
    sender::Prepared,
};
use pair::{PLAIN_DEFLATE, Pair, Seen};

fn settings() -> Vec<Option<(DeflateParams, DeflateConfig)>> {
    let mut settings = vec![None];
    for bits in 8..=15 {
        for no_takeover in [false, true] {
            for codec in [
                Codec::Pooled { window: 1024 },
                Codec::Pooled { window: 0 },
                Codec::Pooled { window: 32_768 },
                Codec::Dedicated,
            ] {
                for min_size in [0, 512] {
                    let params = DeflateParams {
                        server_no_context_takeover: no_takeover,
                        server_max_window_bits: bits,
                        ..PLAIN_DEFLATE
                    };
                    let mut config = DeflateConfig::default();
                    config.codec = codec;
                    config.min_size = min_size;
                    settings.push(Some((params, config)));
                }
            }
        }
    }
    settings
}

/// Text that refers back to what earlier messages said, at every distance that the windows allow.
fn text(n: usize, length: usize) -> String {
    let mut text = String::new();
    let mut state = n as u32;
    while text.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(&format!("{{\"symbol\":{},\"price\":", n % 7));
        text.push_str(&format!("{}}}, ", state >> 20));
    }
    text
}

/// Every receiver decodes every message, shared or its own: a shared frame leaves each window as the peer's is.
#[test]
fn every_receiver_reads_shared_frames_between_its_own() {
    let mut receivers: Vec<_> = settings()
        .into_iter()
        .map(|deflate| Pair::new(Config::default(), deflate))
        .collect();
    for (n, length) in [
        0, 20, 300, 600, 5000, 700, 70_000, 1000, 600, 40, 20_000, 900,
    ]
    .into_iter()
    .enumerate()
    {
        let shared = Message::text(text(n, length));
        let prepared = Prepared::new(shared.clone());
        let own = Message::binary(text(n + 1, 800).into_bytes());
        for pair in &mut receivers {
            pair.piece = if n % 2 == 0 { usize::MAX } else { 1000 };
            pair.server.send_prepared(&prepared).unwrap();
            if n % 3 != 2 {
                pair.server.send(&own).unwrap();
            }
            // A client's frames are masked anew, shared or not.
            pair.client.send_prepared(&prepared).unwrap();
            pair.settle();
            let mut expected = vec![Seen::Message(shared.clone())];
            assert_eq!(std::mem::take(&mut pair.at_server), expected);
            if n % 3 != 2 {
                expected.push(Seen::Message(own.clone()));
            }
            assert_eq!(std::mem::take(&mut pair.at_client), expected);
        }
    }
}

/// A shared frame is the same bytes for all that negotiated the same.
#[test]
fn a_shared_frame_is_made_once() {
    let prepared = Prepared::new(Message::text(text(3, 10_000)));
    for deflate in [None, Some((PLAIN_DEFLATE, DeflateConfig::default()))] {
        let compressed = deflate.is_some();
        let wires: Vec<_> = (0..3)
            .map(|_| {
                let mut pair = Pair::new(Config::default(), deflate.clone());
                pair.server.send_prepared(&prepared).unwrap();
                pair.server.take_output(pair.now)
            })
            .collect();
        assert!(wires[0] == wires[1] && wires[1] == wires[2]);
        assert_eq!(wires[0][0] & 0x40 != 0, compressed, "RSV1");
        assert_eq!(wires[0].len() < 10_000, compressed);
    }
}

/// Those who have been sent the same share a frame that refers to it. Messages that are not compressed change nothing;
/// one that is leaves the others behind, until as much has been sent to all again.
#[test]
fn who_has_been_sent_the_same_shares_a_frame_with_a_dictionary() {
    let deflate = (PLAIN_DEFLATE, DeflateConfig::default());
    let mut pairs: Vec<_> = (0..8)
        .map(|_| Pair::new(Config::default(), Some(deflate.clone())))
        .collect();
    let send = |pairs: &mut [Pair], message: Message| {
        let prepared = Prepared::new(message.clone());
        let wires: Vec<_> = pairs
            .iter_mut()
            .map(|pair| {
                pair.server.send_prepared(&prepared).unwrap();
                let wire = pair.server.take_output(pair.now);
                let seen = pair::feed(&mut pair.client, pair.now, &wire, usize::MAX);
                assert_eq!(seen, [Seen::Message(message.clone())]);
                wire
            })
            .collect();
        wires
    };
    let first = send(&mut pairs, Message::text(text(1, 700)));
    assert!(first.iter().all(|wire| *wire == first[0]));
    // A short message of its own, to the first.
    send(&mut pairs[..1], Message::text("only for you"));
    let second = send(&mut pairs, Message::text(text(1, 710)));
    assert!(second.iter().all(|wire| *wire == second[0]));
    assert!(second[0].len() < 40, "{}", second[0].len());
    // A long one of its own, to each of six: more than there are forms.
    for (n, pair) in pairs[..6].iter_mut().enumerate() {
        send(std::slice::from_mut(pair), Message::text(text(n + 5, 600)));
    }
    let third = send(&mut pairs, Message::text(text(1, 620)));
    assert!(third[6] == third[7] || third[6].len() == third[7].len());
    assert!(third[0] != third[7]);
    // More than a window: all are the same again.
    send(&mut pairs, Message::text(text(2, 2000)));
    let last = send(&mut pairs, Message::text(text(2, 2010)));
    assert!(last.iter().all(|wire| *wire == last[0]));
    assert!(last[0].len() < length_alone(&text(2, 2010)));
}

/// How long a message is that refers to nothing.
fn length_alone(text: &str) -> usize {
    let mut out = Vec::new();
    antiphon_proto::deflate::compress_shared(text.as_bytes(), 15, 1, &mut out);
    out.len()
}

/// What does not compress is sent as it is.
#[test]
fn a_frame_that_would_grow_is_not_compressed() {
    let noise: Vec<u8> = (0u32..600)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 ^ (n.wrapping_mul(40_503) >> 7) as u8)
        .collect();
    let deflate = (PLAIN_DEFLATE, DeflateConfig::default());
    let mut pair = Pair::new(Config::default(), Some(deflate));
    pair.server
        .send_prepared(&Prepared::new(noise.clone().into()))
        .unwrap();
    let wire = pair.server.take_output(pair.now);
    let frame = &pair::frames(antiphon_proto::config::Role::Server, &wire)[0];
    assert!(frame.1.len() <= noise.len());
    assert_eq!(frame.0.rsv1, frame.1.len() < noise.len());
}

/// A batch with payloads that stand elsewhere says the same over every connection, in the same order.
#[test]
fn a_batch_may_be_sent_by_another_connection_than_it_was_made_for() {
    let now = pair::start();
    let memory = bytes::Bytes::from(vec![b'm'; 40_000]);
    let long = MessageRef::binary(&memory[5..30_000]);
    for role in [Role::Server, Role::Client] {
        let maker = pair::connection(Role::Server, now);
        let mut batch = maker.batch();
        batch.push(MessageRef::text("first"));
        batch.push_from(long, &memory);
        batch.push_from(MessageRef::text("of its own"), &memory);
        batch.push_from(MessageRef::binary(&memory[..10]), &memory);
        assert!(batch.len() > 29_995 && !batch.is_empty());
        let mut sender = pair::connection(role, now);
        assert_eq!(sender.batch_output(&batch), None, "not one run of bytes");
        sender.send_batch(&mut batch).expect("open");
        assert!(batch.is_empty());
        let wire = sender.take_output(now);
        let payloads: Vec<_> = pair::frames(role, &wire)
            .into_iter()
            .map(|(_, payload)| payload)
            .collect();
        let said: [&[u8]; 4] = [b"first", long.as_bytes(), b"of its own", &memory[..10]];
        assert_eq!(payloads, said);
    }
}
