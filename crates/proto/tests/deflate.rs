//! Judges permessage-deflate by a decoder of its own, which knows every distance and where a stream ends.

use antiphon_proto::{
    config::{Codec, DeflateConfig},
    deflate::{Deflater, InflateLimits, Inflater, compress_shared},
    error::Violation,
};
use proptest::prelude::*;

const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

const NO_LIMITS: InflateLimits = InflateLimits {
    max_size: usize::MAX,
    max_ratio: u32::MAX,
};

/// RFC 1951, written for being right: a receiver whose window has exactly `window` bytes.
struct Reference {
    window: usize,
    history: Vec<u8>,
    farthest: usize,
}

/// The bits of a message.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<usize> {
        let byte = *self.bytes.get(self.at / 8)?;
        let bit = byte >> (self.at % 8) & 1;
        self.at += 1;
        Some(usize::from(bit))
    }

    fn bits(&mut self, count: u32) -> Option<usize> {
        (0..count).try_fold(0, |value, shift| Some(value | self.bit()? << shift))
    }

    fn symbol(&mut self, code: &Huffman) -> Option<usize> {
        let (mut value, mut first, mut passed) = (0, 0, 0);
        for count in code.counts {
            value |= self.bit()?;
            if value < first + count {
                return code.symbols.get(passed + value - first).copied();
            }
            passed += count;
            first = (first + count) << 1;
            value <<= 1;
        }
        None
    }
}

/// A canonical code (RFC 1951 section 3.2.2): how many codes of 1 to 15 bits, and their symbols in order.
struct Huffman {
    counts: [usize; 15],
    symbols: Vec<usize>,
}

impl Huffman {
    fn new(lengths: &[u8]) -> Self {
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|&i| lengths[i] > 0).collect();
        symbols.sort_by_key(|&i| lengths[i]);
        let mut counts = [0; 15];
        for &symbol in &symbols {
            counts[usize::from(lengths[symbol]) - 1] += 1;
        }
        Self { counts, symbols }
    }

    /// Whether the lengths of a block's own code make one: not more codes than there is room for, and not fewer, but for
    /// a code without symbols and, where `alone` says so, one with a single code of one bit.
    fn is_complete(&self, alone: bool) -> bool {
        let mut left: i64 = 1;
        for count in self.counts {
            left = 2 * left - count as i64;
            if left < 0 {
                return false;
            }
        }
        left == 0 || self.symbols.is_empty() || alone && self.counts[1..].iter().all(|n| *n == 0)
    }
}

impl Reference {
    fn new(bits: u8) -> Self {
        Self {
            window: 1 << bits,
            history: Vec::new(),
            farthest: 0,
        }
    }

    /// Reads a message; `None` where payload and tail are not a whole number of blocks.
    fn read(&mut self, payload: &[u8], no_takeover: bool) -> Option<Vec<u8>> {
        if no_takeover {
            self.history.clear();
        }
        let bytes = [payload, &TAIL].concat();
        let mut bits = Bits {
            bytes: &bytes,
            at: 0,
        };
        let from = self.history.len();
        while bits.at < bytes.len() * 8 {
            let last = bits.bit()? == 1;
            match bits.bits(2)? {
                0 => {
                    bits.at = bits.at.next_multiple_of(8);
                    let (len, complement) = (bits.bits(16)?, bits.bits(16)?);
                    if len != complement ^ 0xffff {
                        return None;
                    }
                    for _ in 0..len {
                        let byte = bits.bits(8)? as u8;
                        self.history.push(byte);
                    }
                }
                1 => {
                    let literals: Vec<u8> = (0..288)
                        .map(|i| match i {
                            0..144 => 8,
                            144..256 => 9,
                            256..280 => 7,
                            _ => 8,
                        })
                        .collect();
                    self.block(&mut bits, &literals, &[5; 30])?;
                }
                2 => {
                    let literals = bits.bits(5)? + 257;
                    let distances = bits.bits(5)? + 1;
                    let count = bits.bits(4)? + 4;
                    if literals > 286 || distances > 30 {
                        return None;
                    }
                    let mut meta = [0; 19];
                    let order = [
                        16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
                    ];
                    for &position in &order[..count] {
                        meta[position] = bits.bits(3)? as u8;
                    }
                    let meta = Huffman::new(&meta);
                    if !meta.is_complete(false) {
                        return None;
                    }
                    let mut lengths = Vec::new();
                    while lengths.len() < literals + distances {
                        let (length, times) = match bits.symbol(&meta)? {
                            16 => (*lengths.last()?, 3 + bits.bits(2)?),
                            17 => (0, 3 + bits.bits(3)?),
                            18 => (0, 11 + bits.bits(7)?),
                            length => (length as u8, 1),
                        };
                        lengths.extend(std::iter::repeat_n(length, times));
                    }
                    if lengths.len() > literals + distances || lengths[256] == 0 {
                        return None;
                    }
                    let (literals, distances) = lengths.split_at(literals);
                    if ![literals, distances]
                        .iter()
                        .all(|code| Huffman::new(code).is_complete(true))
                    {
                        return None;
                    }
                    self.block(&mut bits, literals, distances)?;
                }
                _ => return None,
            }
            if last {
                bits.at = bits.at.next_multiple_of(8);
            }
        }
        Some(self.history[from..].to_vec())
    }

    fn block(&mut self, bits: &mut Bits<'_>, literals: &[u8], distances: &[u8]) -> Option<()> {
        let (literals, distances) = (Huffman::new(literals), Huffman::new(distances));
        loop {
            let symbol = bits.symbol(&literals)?;
            let length = match symbol {
                0..256 => {
                    self.history.push(symbol as u8);
                    continue;
                }
                256 => return Some(()),
                257..265 => symbol - 254,
                265..285 => {
                    let extra = (symbol as u32 - 261) / 4;
                    3 + ((4 + (symbol - 265) % 4) << extra) + bits.bits(extra)?
                }
                285 => 258,
                _ => return None,
            };
            let symbol = bits.symbol(&distances)?;
            let distance = match symbol {
                0..4 => symbol + 1,
                4..30 => {
                    let extra = (symbol as u32 - 2) / 2;
                    1 + ((2 + symbol % 2) << extra) + bits.bits(extra)?
                }
                _ => return None,
            };
            self.farthest = self.farthest.max(distance);
            if distance > self.window || distance > self.history.len() {
                return None;
            }
            for _ in 0..length {
                self.history
                    .push(self.history[self.history.len() - distance]);
            }
        }
    }
}

fn config(codec: Codec, level: u8) -> DeflateConfig {
    let mut config = DeflateConfig::default();
    config.codec = codec;
    config.level = level;
    config
}

fn codecs() -> impl Iterator<Item = Codec> {
    [0, 250, 256, 1024, 2048, 4096, 32_768]
        .into_iter()
        .map(|window| Codec::Pooled { window })
        .chain([Codec::Dedicated])
}

/// A generator of its own, so that a failure can be run again.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, len: usize, alphabet: u64) -> Vec<u8> {
        (0..len).map(|_| (self.next() % alphabet) as u8).collect()
    }

    /// A message made of earlier ones, at all distances, and of noise.
    fn message(&mut self, past: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        for _ in 0..self.next() % 6 {
            if past.len() > 300 && !self.next().is_multiple_of(3) {
                let back = 1 + self.next() as usize % past.len().min(40_000);
                let len = (self.next() as usize % 400).min(back);
                message.extend_from_slice(&past[past.len() - back..][..len]);
            } else {
                let (len, alphabet) = (self.next() as usize % 500, 1 + self.next() % 256);
                message.extend(self.bytes(len, alphabet));
            }
        }
        message
    }
}

/// RFC 7692 section 7.1.2: a sender "MUST NOT use" a window larger than was agreed; 8 bits are 256 bytes.
#[test]
fn no_reference_leaves_the_agreed_window() {
    for codec in codecs() {
        for bits in 8..=15 {
            for (level, no_takeover) in [(1, false), (3, false), (6, false), (9, true)] {
                let what =
                    format!("{codec:?}, {bits} bits, level {level}, no takeover {no_takeover}");
                let mut deflater = Deflater::new(no_takeover, bits, &config(codec, level));
                let mut reference = Reference::new(bits);
                let mut noise = Noise(0x9e37_79b9 + u64::from(bits));
                let mut past = Vec::new();
                for i in 0..60 {
                    let message = if i % 30 == 29 {
                        let mut long = noise.message(&past);
                        while long.len() < (3 << bits).min(50_000) {
                            let again = noise.message(&long);
                            long.extend(again);
                            long.push(0);
                        }
                        long
                    } else {
                        noise.message(&past)
                    };
                    let mut out = Vec::new();
                    match i % 7 {
                        2 if deflater.observe(&message) => {
                            compress_shared(&message, bits, level, &mut out);
                        }
                        4 => {
                            let cut = message.len() / 3;
                            deflater.part(&message[..cut], false, &mut out);
                            deflater.part(&[], false, &mut out);
                            deflater.part(&message[cut..], false, &mut out);
                            deflater.part(&[], true, &mut out);
                        }
                        _ => deflater.message(&message, &mut out),
                    }
                    assert_eq!(
                        reference.read(&out, no_takeover).as_ref(),
                        Some(&message),
                        "{what}: {i}"
                    );
                    past.extend(message);
                }
                assert!(reference.farthest > 0, "{what}");
            }
        }
    }
}

/// RFC 7692 section 7.2.2: payload and tail are a whole number of blocks, or else the message was cut off.
#[test]
fn a_truncated_message_is_no_message() {
    let mut wrong = Vec::new();
    for codec in [Codec::Pooled { window: 1024 }, Codec::Dedicated] {
        for level in [1, 6, 9] {
            let mut noise = Noise(77);
            for i in 0..12 {
                let (len, alphabet) = (1 + noise.next() as usize % 300, 1 + noise.next() % 200);
                let message = noise.bytes(len, alphabet);
                let mut compressed = Vec::new();
                compress_shared(&message, 15, level, &mut compressed);
                for cut in 0..compressed.len() {
                    let expected = Reference::new(15).read(&compressed[..cut], true);
                    let mut out = Vec::new();
                    let got = Inflater::new(false, 15, &config(codec, 1))
                        .inflate(&compressed[..cut], true, NO_LIMITS, &mut out)
                        .map(|()| out)
                        .ok();
                    if got != expected {
                        wrong.push((
                            codec,
                            level,
                            i,
                            cut,
                            compressed.len(),
                            got.map(|g| g.len()),
                            expected.map(|e| e.len()),
                        ));
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong, such as {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(8)]
    );
}

/// A final block may end the payload or be followed by more; where the fragments are cut changes nothing.
#[test]
fn where_a_message_is_cut_changes_nothing() {
    let hello = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let stored = [&[0x01, 0x03, 0x00, 0xfc, 0xff][..], b"abc"].concat();
    let two = [&hello[..], &hello, &[0x00]].concat();
    let big = {
        let mut block = vec![0x01, 0x88, 0x13, 0x77, 0xec];
        block.extend(Noise(5).bytes(5000, 256));
        block
    };
    let rows: [(&str, Vec<u8>, Option<usize>); 8] = [
        (
            "final, then the byte of section 7.2.3.4",
            [&hello[..], &[0]].concat(),
            Some(5),
        ),
        ("final and nothing else", hello.to_vec(), Some(5)),
        ("stored, final and nothing else", stored, Some(3)),
        ("two final blocks", two, Some(10)),
        (
            "a final block longer than what is staged",
            big.clone(),
            Some(5000),
        ),
        ("the same and more", [&big[..], &hello].concat(), Some(5005)),
        (
            "garbage behind a final block",
            [&hello[..], &[0x07, 0x13]].concat(),
            None,
        ),
        ("no byte at all", Vec::new(), None),
    ];
    for codec in [
        Codec::Pooled { window: 0 },
        Codec::Pooled { window: 1024 },
        Codec::Dedicated,
    ] {
        for no_takeover in [false, true] {
            for (what, payload, expected) in &rows {
                for cut in (0..=payload.len())
                    .filter(|c| payload.len() < 100 || c % 997 == 0 || c + 20 > payload.len())
                {
                    let mut inflater = Inflater::new(no_takeover, 15, &config(codec, 1));
                    for round in 0..2 {
                        let mut out = Vec::new();
                        let result = inflater
                            .inflate(&payload[..cut], false, NO_LIMITS, &mut out)
                            .and_then(|()| {
                                inflater.inflate(&payload[cut..], true, NO_LIMITS, &mut out)
                            });
                        let got = result.is_ok().then_some(out.len());
                        assert_eq!(
                            got, *expected,
                            "{what}, cut at {cut}, {codec:?}, round {round}"
                        );
                        if expected.is_none() {
                            break;
                        }
                    }
                }
            }
        }
    }
}

/// A sender may refer, behind a final block, to what stood before it.
#[test]
fn the_window_outlives_a_final_block() {
    // Stored "Hello" with BFINAL, then a fixed block: length 5, distance 5.
    let first = [&[0x01, 0x05, 0x00, 0xfa, 0xff][..], b"Hello"].concat();
    let again = [0x02, 0x13, 0x00, 0x00];
    let whole = [&first[..], &again].concat();
    let reference = Reference::new(15).read(&whole, true);
    assert_eq!(reference.as_deref(), Some(&b"HelloHello"[..]));
    for codec in [Codec::Pooled { window: 0 }, Codec::Dedicated] {
        for no_takeover in [false, true] {
            let mut out = Vec::new();
            let mut inflater = Inflater::new(no_takeover, 15, &config(codec, 1));
            inflater.inflate(&whole, true, NO_LIMITS, &mut out).unwrap();
            assert_eq!(out, b"HelloHello");
        }
    }
}

/// One GiB of zeros, compressed to 1 MiB, arrives at once or in pieces, and what is emptied between calls counts all the same.
#[test]
fn a_gibibyte_of_zeros_stops_at_the_limit() {
    let mut deflater = Deflater::new(false, 15, &config(Codec::Dedicated, 9));
    let mut bomb = Vec::new();
    let zeros = vec![0; 16 << 20];
    for i in 0..64 {
        deflater.part(&zeros, i == 63, &mut bomb);
    }
    for codec in [Codec::Pooled { window: 1024 }, Codec::Dedicated] {
        for piece in [1, 1000, 65_536, usize::MAX] {
            for drained in [false, true] {
                for (max_size, max_ratio, expected) in [
                    (1 << 20, 100, Violation::RatioTooHigh { limit: 100 }),
                    (
                        1 << 20,
                        u32::MAX,
                        Violation::MessageTooBig { limit: 1 << 20 },
                    ),
                    (0, 100, Violation::MessageTooBig { limit: 0 }),
                    (65_536, 1, Violation::MessageTooBig { limit: 65_536 }),
                ] {
                    let limits = InflateLimits {
                        max_size,
                        max_ratio,
                    };
                    let mut inflater = Inflater::new(false, 15, &config(codec, 1));
                    let mut out = Vec::new();
                    let mut most = 0;
                    let result = bomb.chunks(piece.min(bomb.len())).try_for_each(|piece| {
                        if drained {
                            out.clear();
                        }
                        let result = inflater.inflate(piece, false, limits, &mut out);
                        most = most.max(out.capacity());
                        result
                    });
                    // The ratio is judged by what has arrived: where much arrives at once, the size may come first.
                    let error = result.unwrap_err();
                    let size = Violation::MessageTooBig { limit: max_size };
                    assert!(
                        error == expected || piece > 1000 && error == size,
                        "{error:?}"
                    );
                    assert!(out.len() <= max_size + 1, "{}", out.len());
                    assert!(most <= 2 * max_size + 64 * 1024, "{most}");
                }
            }
        }
    }
}

/// An idle connection pays for compression with two small values.
#[test]
fn an_idle_connection_holds_little() {
    assert!(size_of::<Deflater>() <= 64, "{}", size_of::<Deflater>());
    assert!(size_of::<Inflater>() <= 80, "{}", size_of::<Inflater>());
}

/// A block whose own code leaves some bits without a meaning is no block, though its message would need none of them.
#[test]
fn a_code_that_is_not_complete_is_refused() {
    let bytes = [
        237, 0, 65, 8, 1, 226, 224, 103, 11, 19, 147, 147, 19, 17, 133, 59, 195, 51, 187, 27, 129,
        3, 29, 43, 29, 71, 125, 199, 23, 119, 51, 203, 247, 147, 5, 29, 7, 141, 195, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0,
    ];
    assert_eq!(Reference::new(15).read(&bytes, true), None);
    for codec in codecs() {
        let mut inflater = Inflater::new(true, 15, &config(codec, 1));
        let result = inflater.inflate(&bytes, true, NO_LIMITS, &mut Vec::new());
        assert!(result.is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the reference reads we read, and nothing else.
    #[test]
    fn arbitrary_bytes_are_read_as_the_reference_reads_them(
        bytes in proptest::collection::vec(any::<u8>(), 1..60),
        dedicated: bool,
    ) {
        let codec = if dedicated { Codec::Dedicated } else { Codec::Pooled { window: 1024 } };
        let mut out = Vec::new();
        let got = Inflater::new(true, 15, &config(codec, 1))
            .inflate(&bytes, true, NO_LIMITS, &mut out)
            .map(|()| out)
            .ok();
        let expected = Reference::new(15).read(&bytes, true);
        // Ours also forgives a sender that ends with its final block and leaves out the byte behind it.
        if got != expected {
            let forgiven = Reference::new(15).read(&[&bytes[..], &[0]].concat(), true);
            prop_assert!(expected.is_none() && got == forgiven, "{:?} {:?} {:?}", got, expected, forgiven);
        }
    }
}
