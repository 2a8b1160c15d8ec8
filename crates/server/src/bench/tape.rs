//! Frames that are ready to be sent: made and masked once, only the stamp is new in each.

use antiphon_proto::{
    config::{DeflateConfig, DeflateParams},
    deflate::compress_shared,
    frame::Header,
    mask::{self, MaskingKey},
    message::MessageKind,
};

use crate::bench::payload::{Payload, stamp};

/// Memory of all frames together, unless fewer than two batches fit.
const MEMORY: usize = 4 << 20;
/// Most batches, each with masking keys of its own.
const MAX_BATCHES: usize = 64;
/// Most bytes of one write, unless a frame is longer.
const MAX_WRITE: usize = 1 << 20;
/// Fewest different messages where they are compressed in advance.
const MIN_DISTINCT: usize = 64;
/// Most letters of a stamp that count there: 65,536 different messages.
const MAX_LETTERS: usize = 4;

/// The frames.
#[derive(Debug)]
pub(crate) struct Tape {
    form: Form,
    scratch: Vec<u8>,
    /// The payload bytes of one message on the wire.
    pub(crate) wire: f64,
}

#[derive(Debug)]
enum Form {
    /// All frames are equally long: the stamp is written into them.
    Stamped {
        batches: Vec<Batch>,
        next: usize,
        frame: usize,
        head: usize,
        stamp_at: usize,
        letters: usize,
    },
    /// Compressed messages: as many different ones as are needed to see their order, one after the other.
    Ready(Vec<Vec<u8>>),
}

#[derive(Debug)]
struct Batch {
    bytes: Vec<u8>,
    keys: Vec<MaskingKey>,
}

impl Tape {
    /// Frames of this payload, up to `depth` in one write; without masks they are those that a server sends.
    pub(crate) fn new(payload: &Payload, depth: usize, masks: bool) -> Self {
        let new_key = || if masks { mask::new_key() } else { [0; 4] };
        let header = |key| Header {
            fin: true,
            rsv1: false,
            opcode: payload.kind.into(),
            mask: masks.then_some(key),
            length: payload.body.len() as u64,
        };
        let mut one = Vec::new();
        header(new_key()).encode(&mut one);
        let head = one.len();
        let frame = head + payload.body.len();
        let frames = depth.min(MAX_WRITE / frame).max(1);
        let count = (MEMORY / (frame * frames)).clamp(2, MAX_BATCHES);
        let batches = (0..count)
            .map(|_| {
                let mut bytes = Vec::with_capacity(frame * frames);
                let keys: Vec<_> = (0..frames).map(|_| new_key()).collect();
                for key in &keys {
                    header(*key).encode(&mut bytes);
                    mask::append(*key, &payload.body, &mut bytes);
                }
                Batch { bytes, keys }
            })
            .collect();
        Self {
            form: Form::Stamped {
                batches,
                next: 0,
                frame,
                head,
                stamp_at: payload.stamp_at,
                letters: payload.letters,
            },
            scratch: Vec::new(),
            wire: payload.body.len() as f64,
        }
    }

    /// Compressed frames of this payload: each without references to the ones before, which every receiver can read,
    /// whatever context it keeps. Without masks they are those that a server sends.
    pub(crate) fn compressed(
        payload: &mut Payload,
        depth: usize,
        config: &DeflateConfig,
        params: DeflateParams,
        masks: bool,
    ) -> Self {
        let most = 1usize << (4 * payload.letters.min(MAX_LETTERS));
        let fewest = (MEMORY / payload.body.len().max(1)).clamp(1, MIN_DISTINCT);
        let distinct = (2 * depth).next_power_of_two().max(fewest).min(most);
        // The stamp counts so far and no further; the connection is not in it.
        payload.letters = payload.letters.min(distinct.ilog2().div_ceil(4) as usize);
        let distinct = 1usize << (4 * payload.letters);
        let mut sum = 0;
        let frames = (0..distinct)
            .map(|number| {
                let letters = stamp(0, number as u64);
                let at = payload.stamp_at;
                payload.body[at..at + payload.letters]
                    .copy_from_slice(&letters[letters.len() - payload.letters..]);
                let key = if masks { mask::new_key() } else { [0; 4] };
                let rsv1 = payload.body.len() >= config.min_size;
                let mut bytes = Vec::new();
                if rsv1 {
                    let bits = params.client_max_window_bits;
                    compress_shared(&payload.body, bits, config.level, &mut bytes);
                } else {
                    bytes.extend_from_slice(&payload.body);
                }
                sum += bytes.len();
                let mut frame = Vec::with_capacity(bytes.len() + 14);
                Header {
                    fin: true,
                    rsv1,
                    opcode: payload.kind.into(),
                    mask: masks.then_some(key),
                    length: bytes.len() as u64,
                }
                .encode(&mut frame);
                mask::append(key, &bytes, &mut frame);
                frame
            })
            .collect();
        Self {
            form: Form::Ready(frames),
            scratch: Vec::new(),
            wire: sum as f64 / distinct as f64,
        }
    }

    /// The frames of up to `count` messages of this connection, from `number` on, and how many they are.
    pub(crate) fn frames(&mut self, connection: u64, number: u64, count: usize) -> (&[u8], usize) {
        match &mut self.form {
            Form::Stamped {
                batches,
                next,
                frame,
                head,
                stamp_at,
                letters,
            } => {
                *next = if *next + 1 < batches.len() {
                    *next + 1
                } else {
                    0
                };
                let batch = &mut batches[*next];
                let count = count.min(batch.keys.len());
                let frames = batch.bytes.chunks_exact_mut(*frame).zip(&batch.keys);
                for ((bytes, key), number) in frames.take(count).zip(number..) {
                    let letters = &stamp(connection, number)[16 - *letters..];
                    let place = &mut bytes[*head + *stamp_at..][..letters.len()];
                    place.copy_from_slice(letters);
                    mask::apply(*key, *stamp_at, place);
                }
                (&batch.bytes[..count * *frame], count)
            }
            Form::Ready(frames) => {
                self.scratch.clear();
                let mut taken = 0;
                for number in (number..).take(count) {
                    if self.scratch.len() > MAX_WRITE {
                        break;
                    }
                    let index = number as usize & (frames.len() - 1);
                    self.scratch.extend_from_slice(&frames[index]);
                    taken += 1;
                }
                (&self.scratch, taken)
            }
        }
    }
}

/// One frame with a fresh key.
pub(crate) fn frame(kind: MessageKind, payload: &[u8], out: &mut Vec<u8>) {
    control(kind.into(), payload, out);
}

/// One frame of this kind with a fresh key.
pub(crate) fn control(opcode: antiphon_proto::frame::Opcode, payload: &[u8], out: &mut Vec<u8>) {
    let key = mask::new_key();
    Header {
        fin: true,
        rsv1: false,
        opcode,
        mask: Some(key),
        length: payload.len() as u64,
    }
    .encode(out);
    mask::append(key, payload, out);
}

#[cfg(test)]
mod tests {
    use antiphon_proto::config::Role;

    use super::*;
    use crate::bench::payload::{STAMP, text};

    fn payload(size: usize) -> Payload {
        Payload {
            kind: MessageKind::Text,
            body: text(size),
            stamp_at: 0,
            letters: STAMP.min(size),
        }
    }

    /// Frame by frame, each read by the core's own parser and unmasked.
    #[test]
    fn frames_are_what_a_server_expects() {
        for size in [0, 1, 16, 125, 126, 65_535, 65_536] {
            let payload = payload(size);
            let mut tape = Tape::new(&payload, 4, true);
            for first in [0, 100] {
                let (bytes, count) = tape.frames(3, first, 4);
                let (mut bytes, mut number) = (bytes.to_vec(), first);
                assert_eq!(count, 4);
                while !bytes.is_empty() {
                    let (header, length) =
                        Header::parse(&bytes, Role::Client, false).unwrap().unwrap();
                    let mut frame: Vec<u8> = bytes.drain(..length + size).collect();
                    let body = &mut frame[length..];
                    mask::apply(header.mask.unwrap(), 0, body);
                    let mut expected = payload.body.clone();
                    let letters = stamp(3, number);
                    expected[..payload.letters].copy_from_slice(&letters[16 - payload.letters..]);
                    assert_eq!(body, expected, "{size}");
                    number += 1;
                }
                assert_eq!(number, first + 4);
            }
        }
    }

    #[test]
    fn a_batch_is_no_longer_than_a_write_should_be() {
        let mut tape = Tape::new(&payload(400_000), 16, true);
        assert_eq!(tape.frames(0, 0, 16).1, 2);
        let mut tape = Tape::new(&payload(2_000_000), 16, true);
        assert_eq!(tape.frames(0, 0, 16).1, 1);
    }
}
