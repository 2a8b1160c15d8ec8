//! permessage-deflate: codecs that many connections share, and the plaintext windows that keep their contexts (RFC 7692).
//!
//! A codec is hundreds of kilobytes, a context is not: what takes over from message to message is the plaintext that
//! later messages may refer to. A connection keeps its last few kilobytes and lends them to a pooled codec as a
//! dictionary for the length of one message.

mod bits;
mod codes;
mod huffman;

mod stored;

mod expand;
mod quick;
mod shrink;

pub(crate) mod cohort;
mod window;

use std::{cell::RefCell, fmt, mem};

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

use crate::{
    config::{Codec, DeflateConfig},
    deflate::{expand::Expander, shrink::Shrinker, window::Window},
    error::Violation,
};

/// What a sync flush ends with and a message leaves out (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// An empty stored block and one byte behind it: read up to the next block's end, a stream that is complete takes the
/// block and leaves the byte, one that is cut off does not.
const PROBE: [u8; 6] = [0x00, 0x00, 0x00, 0xff, 0xff, 0x00];

/// Compressed bytes of an incomplete message that wait without a codec: a peer must send this much to hold one.
const MAX_STAGED: usize = 4 * 1024;

/// Inflated size from which the ratio limit is judged: small messages may well compress a thousandfold.
const RATIO_FROM: usize = 64 * 1024;

/// Most output made room for at once.
const STEP: usize = 16 * 1024;

/// Idle codecs of each kind that a thread keeps.
const MAX_IDLE: usize = 4;

thread_local! {
    // Codecs belong to threads, not to the process: taking one costs no lock, and a server has few threads. A codec that
    // moved with its connection to another thread is returned there.
    static POOL: RefCell<Pool> = const { RefCell::new(Pool {
        deflaters: Vec::new(),
        inflaters: Vec::new(),
    }) };
    // The tables for whole messages.
    static SHRINKER: RefCell<Option<Shrinker>> = const { RefCell::new(None) };
    static EXPANDER: RefCell<Option<Expander>> = const { RefCell::new(None) };
}

struct Pool {
    deflaters: Vec<(Settings, Deflate)>,
    inflaters: Vec<Inflate>,
}

/// What distinguishes one compressor from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Settings {
    window_bits: u8,
    level: u8,
}

impl Settings {
    fn new(window_bits: u8, level: u8) -> Self {
        Self {
            window_bits: window_bits.clamp(8, 15),
            level: level.clamp(1, 9),
        }
    }

    fn codec(self) -> Deflate {
        // A window of 8 bits is not implemented by zlib; one of 9 never refers back by more than 512 - 262 = 250 bytes,
        // which a window of 8 bits holds.
        Deflate::new(i32::from(self.level), false, self.window_bits.max(9))
    }

    fn borrow(self) -> Deflate {
        let idle = POOL.with_borrow_mut(|pool| {
            let position = pool
                .deflaters
                .iter()
                .position(|(settings, _)| *settings == self)?;
            Some(pool.deflaters.swap_remove(position).1)
        });
        match idle {
            Some(mut codec) => {
                codec.reset();
                codec
            }
            None => self.codec(),
        }
    }

    fn give_back(self, codec: Deflate) {
        POOL.with_borrow_mut(|pool| {
            if pool.deflaters.len() == MAX_IDLE {
                pool.deflaters.remove(0);
            }
            pool.deflaters.push((self, codec));
        });
    }
}

fn borrow_inflater() -> Inflate {
    match POOL.with_borrow_mut(|pool| pool.inflaters.pop()) {
        Some(mut codec) => {
            codec.reset(false);
            codec
        }
        None => Inflate::new(false, 15),
    }
}

fn give_back_inflater(codec: Inflate) {
    POOL.with_borrow_mut(|pool| {
        if pool.inflaters.len() < MAX_IDLE {
            pool.inflaters.push(codec);
        }
    });
}

/// Compresses what one connection sends. Idle, it owns its window and, with [`Codec::Dedicated`], a codec.
pub struct Deflater {
    settings: Settings,
    takeover: bool,
    dedicated: bool,
    /// How much plaintext is kept for the next message.
    capacity: u16,
    window: Window,
    /// The codec: of the message under way, or the connection's own.
    codec: Option<Box<Deflate>>,
    inside_message: bool,
}

impl Deflater {
    /// A compressor whose receiver has a window of `window_bits` (8 to 15), kept from message to message unless
    /// `no_takeover`.
    #[must_use]
    pub fn new(no_takeover: bool, window_bits: u8, config: &DeflateConfig) -> Self {
        let settings = Settings::new(window_bits, config.level);
        let window = 1usize << settings.window_bits;
        let (dedicated, capacity) = match config.codec {
            Codec::Pooled { window: kept } => (false, kept.min(window)),
            Codec::Dedicated => (true, 0),
        };
        let takeover = !no_takeover && (dedicated || capacity > 0);
        Self {
            settings,
            takeover,
            dedicated,
            capacity: if takeover { capacity as u16 } else { 0 },
            window: Window::default(),
            codec: None,
            inside_message: false,
        }
    }

    /// Appends a whole message, compressed.
    pub fn message(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let at_once = !self.dedicated && !self.inside_message && self.at_once(payload, out);
        if !at_once {
            self.part(payload, true, out);
        } else if self.capacity > 0 {
            self.window.push(usize::from(self.capacity), payload);
        }
    }

    /// Appends a whole message, compressed, without a codec; `false`, and nothing is appended, where that cannot be. The
    /// window has not seen it.
    fn at_once(&self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        SHRINKER.with_borrow_mut(|shrinker| {
            shrinker.get_or_insert_with(Shrinker::new).message(
                self.window.bytes(),
                payload,
                1 << self.settings.window_bits,
                self.settings.level,
                out,
            )
        })
    }

    /// Appends the next part of a message, compressed and flushed; `last` ends the message.
    pub fn part(&mut self, payload: &[u8], last: bool, out: &mut Vec<u8>) {
        if !self.inside_message {
            self.begin();
        }
        self.inside_message = !last;
        let start = out.len();
        let flushed = match &mut self.codec {
            // Nothing to flush: the block that the receiver's tail completes.
            _ if payload.is_empty() => {
                if last {
                    out.push(0);
                }
                true
            }
            Some(codec) => compress(codec, payload, out).is_ok() && out.ends_with(&TAIL),
            None => false,
        };
        if !flushed {
            // Never seen, and no reason to lose a message: what cannot be compressed is stored.
            out.truncate(start);
            store(payload, out);
        }
        if last && !payload.is_empty() {
            out.truncate(out.len() - TAIL.len());
        }
        if self.capacity > 0 {
            self.window.push(usize::from(self.capacity), payload);
        }
        if !flushed {
            // What the codec has seen and what the receiver has seen may differ now.
            self.codec = None;
        } else if last
            && !self.dedicated
            && let Some(codec) = self.codec.take()
        {
            self.settings.give_back(*codec);
        }
    }

    /// Notes that a message compressed by [`compress_shared`] is sent in this context, so that later messages are
    /// compressed as the receiver will see them. `false` where that cannot be: the message must be compressed by
    /// [`message`](Self::message) instead.
    pub fn observe(&mut self, plaintext: &[u8]) -> bool {
        if self.dedicated && self.takeover {
            return false;
        }
        if self.capacity > 0 {
            self.window.push(usize::from(self.capacity), plaintext);
        }
        true
    }

    fn begin(&mut self) {
        match &mut self.codec {
            Some(codec) if !self.takeover => codec.reset(),
            Some(_) => {}
            None if self.dedicated => self.codec = Some(Box::new(self.settings.codec())),
            None => {
                let mut codec = self.settings.borrow();
                let window = self.window.bytes();
                if !window.is_empty() && codec.set_dictionary(window).is_err() {
                    codec.reset();
                }
                self.codec = Some(Box::new(codec));
            }
        }
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("window_bits", &self.settings.window_bits)
            .field("takeover", &self.takeover)
            .field("dedicated", &self.dedicated)
            .finish_non_exhaustive()
    }
}

/// Appends a message compressed without any context: right for every receiver whose window has at least `window_bits`.
pub fn compress_shared(payload: &[u8], window_bits: u8, level: u8, out: &mut Vec<u8>) {
    let config = DeflateConfig {
        level,
        codec: Codec::Pooled { window: 0 },
        ..DeflateConfig::default()
    };
    Deflater::new(true, window_bits, &config).message(payload, out);
}

/// Compresses and flushes everything, the tail included.
fn compress(codec: &mut Deflate, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), ()> {
    loop {
        let start = out.len();
        let room = (input.len() / 2 + 64).min(STEP);
        out.resize(start + room, 0);
        let (read, written) = (codec.total_in(), codec.total_out());
        let status = codec.compress(input, &mut out[start..], DeflateFlush::SyncFlush);
        let consumed = (codec.total_in() - read) as usize;
        let produced = (codec.total_out() - written) as usize;
        out.truncate(start + produced);
        input = &input[consumed..];
        match status {
            Err(_) | Ok(Status::StreamEnd) => return Err(()),
            // A flush is complete when it leaves room, or when nothing was left to flush.
            Ok(_) if input.is_empty() && produced < room => return Ok(()),
            Ok(Status::BufError) if consumed == 0 && produced == 0 => return Err(()),
            Ok(_) => {}
        }
    }
}

/// Appends stored blocks (RFC 1951 section 3.2.4), flushed.
fn store(payload: &[u8], out: &mut Vec<u8>) {
    for block in payload.chunks(usize::from(u16::MAX)) {
        let len = block.len() as u16;
        out.push(0);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.push(0);
    out.extend_from_slice(&TAIL);
}

/// How far a message may inflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InflateLimits {
    /// Longest message in bytes.
    pub max_size: usize,
    /// Most bytes inflated for each byte taken so far, judged beyond 64 KiB: a bomb is stopped where it begins to grow,
    /// however much of it has arrived.
    pub max_ratio: u32,
}

/// Inflates what one connection receives. Idle, it owns its window and, with [`Codec::Dedicated`], a codec.
pub struct Inflater {
    takeover: bool,
    dedicated: bool,
    window_bits: u8,
    window: Window,
    staged: Vec<u8>,
    codec: Option<Box<Inflate>>,
    inside_message: bool,
    /// What has come of this message ends with a final block: no tail is missing.
    ended: bool,
    /// Bytes of this message: taken by the codec, and inflated.
    consumed: usize,
    inflated: usize,
}

impl Inflater {
    /// A decompressor for a sender with a window of `window_bits` (8 to 15), kept from message to message unless
    /// `no_takeover`.
    #[must_use]
    pub fn new(no_takeover: bool, window_bits: u8, config: &DeflateConfig) -> Self {
        Self {
            takeover: !no_takeover,
            dedicated: config.codec == Codec::Dedicated,
            window_bits: window_bits.clamp(8, 15),
            window: Window::default(),
            staged: Vec::new(),
            codec: None,
            inside_message: false,
            ended: false,
            consumed: 0,
            inflated: 0,
        }
    }

    /// Takes the next bytes of a message and appends what they inflate to; `last` ends the message. Little of a message
    /// that goes on may be kept until more comes. `out` may be emptied between calls.
    ///
    /// # Errors
    ///
    /// [`Violation::DeflateData`], [`Violation::MessageTooBig`] or [`Violation::RatioTooHigh`], with no more than a step
    /// beyond the limit in `out`. The context is lost then.
    pub fn inflate(
        &mut self,
        input: &[u8],
        last: bool,
        limits: InflateLimits,
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let mut unseen = out.len();
        if last && !self.inside_message && !self.dedicated && self.staged.is_empty() {
            let at_once = EXPANDER.with_borrow_mut(|expander| {
                let plain = expander.get_or_insert_with(Expander::new).message(
                    self.window.bytes(),
                    input,
                    &TAIL,
                    limits.max_size,
                )?;
                out.extend_from_slice(plain);
                Some(())
            });
            if at_once.is_some() {
                if self.takeover {
                    self.window.push(1 << self.window_bits, &out[unseen..]);
                }
                return Ok(());
            }
        }
        if !self.inside_message {
            if !last && self.staged.len() + input.len() <= MAX_STAGED {
                self.staged.extend_from_slice(input);
                return Ok(());
            }
            self.begin();
            let staged = mem::take(&mut self.staged);
            self.run(&staged, limits, &mut unseen, out)?;
        }
        self.run(input, limits, &mut unseen, out)?;
        if last && !self.ended {
            self.run(&TAIL, limits, &mut unseen, out)?;
            self.complete()?;
        }
        if self.takeover || !last {
            self.window.push(1 << self.window_bits, &out[unseen..]);
        }
        if last {
            self.end();
        }
        Ok(())
    }

    /// Inflates all of `input`. The window has not seen `out` from `unseen` on.
    fn run(
        &mut self,
        mut input: &[u8],
        limits: InflateLimits,
        unseen: &mut usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        loop {
            let Some(codec) = &mut self.codec else {
                return Err(Violation::DeflateData);
            };
            let from = out.len();
            // One byte beyond the limit is enough to know.
            let allowed = limits
                .max_size
                .saturating_sub(self.inflated)
                .saturating_add(1);
            let room = (input.len() * 4).clamp(256, STEP).min(allowed);
            out.resize(from + room, 0);
            let (read, written) = (codec.total_in(), codec.total_out());
            let status = codec.decompress(input, &mut out[from..], InflateFlush::SyncFlush);
            let consumed = (codec.total_in() - read) as usize;
            let produced = (codec.total_out() - written) as usize;
            out.truncate(from + produced);
            input = &input[consumed..];
            self.consumed = self.consumed.saturating_add(consumed);
            self.inflated = self.inflated.saturating_add(produced);
            self.ended &= consumed == 0;
            if self.inflated > limits.max_size {
                return Err(Violation::MessageTooBig {
                    limit: limits.max_size,
                });
            }
            let most = self.consumed.saturating_mul(limits.max_ratio as usize);
            if self.inflated > RATIO_FROM && self.inflated > most {
                return Err(Violation::RatioTooHigh {
                    limit: limits.max_ratio,
                });
            }
            match status {
                Err(_) => return Err(Violation::DeflateData),
                Ok(Status::StreamEnd) => {
                    // A sender may end the stream inside a message or with it (RFC 7692 section 7.2.3.4): the next block
                    // goes on with the same window.
                    self.restart(&out[*unseen..]);
                    *unseen = out.len();
                    self.ended = true;
                    if input.is_empty() {
                        return Ok(());
                    }
                }
                Ok(_) if input.is_empty() && produced < room => return Ok(()),
                Ok(_) if consumed == 0 && produced == 0 => return Err(Violation::DeflateData),
                Ok(_) => {}
            }
        }
    }

    /// Checks that the last block has ended: zlib waits for the rest of a message that is cut off, and would read the
    /// next message as that rest.
    fn complete(&mut self) -> Result<(), Violation> {
        let codec = self.codec.as_mut().ok_or(Violation::DeflateData)?;
        let (read, written) = (codec.total_in(), codec.total_out());
        let status = codec.decompress(&PROBE, &mut [0; 8], InflateFlush::Block);
        let consumed = codec.total_in() - read;
        if status == Ok(Status::Ok)
            && consumed == PROBE.len() as u64 - 1
            && codec.total_out() == written
        {
            Ok(())
        } else {
            Err(Violation::DeflateData)
        }
    }

    fn begin(&mut self) {
        self.inside_message = true;
        self.ended = false;
        if self.codec.is_some() && self.takeover {
            return;
        }
        let mut codec = match self.codec.take() {
            Some(mut codec) => {
                codec.reset(false);
                codec
            }
            None => Box::new(borrow_inflater()),
        };
        Self::prime(&mut codec, self.window.bytes());
        self.codec = Some(codec);
    }

    fn restart(&mut self, unseen: &[u8]) {
        self.window.push(1 << self.window_bits, unseen);
        if let Some(codec) = &mut self.codec {
            codec.reset(false);
            Self::prime(codec, self.window.bytes());
        }
    }

    fn prime(codec: &mut Inflate, history: &[u8]) {
        if !history.is_empty() && codec.set_dictionary(history).is_err() {
            // References into the lost history will be noticed as invalid data.
            codec.reset(false);
        }
    }

    fn end(&mut self) {
        self.inside_message = false;
        self.consumed = 0;
        self.inflated = 0;
        if !self.takeover {
            self.window = Window::default();
        }
        if !self.dedicated
            && let Some(codec) = self.codec.take()
        {
            give_back_inflater(*codec);
        }
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("window_bits", &self.window_bits)
            .field("takeover", &self.takeover)
            .field("dedicated", &self.dedicated)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NO_LIMITS: InflateLimits = InflateLimits {
        max_size: usize::MAX,
        max_ratio: u32::MAX,
    };

    fn config(codec: Codec) -> DeflateConfig {
        DeflateConfig {
            codec,
            ..DeflateConfig::default()
        }
    }

    fn inflater(no_takeover: bool, bits: u8, codec: Codec) -> Inflater {
        Inflater::new(no_takeover, bits, &config(codec))
    }

    fn inflate(inflater: &mut Inflater, compressed: &[u8]) -> Result<Vec<u8>, Violation> {
        let mut out = Vec::new();
        inflater
            .inflate(compressed, true, NO_LIMITS, &mut out)
            .map(|()| out)
    }

    fn compressed(deflater: &mut Deflater, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        deflater.message(payload, &mut out);
        out
    }

    /// A peer that knows nothing of windows: one plain stream for the life of the connection.
    struct Peer(Inflate);

    impl Peer {
        fn new() -> Self {
            Self(Inflate::new(false, 15))
        }

        fn inflate(&mut self, compressed: &[u8]) -> Vec<u8> {
            let mut input = compressed.to_vec();
            input.extend(TAIL);
            let mut out = vec![0; 1 << 20];
            let (read, written) = (self.0.total_in(), self.0.total_out());
            self.0
                .decompress(&input, &mut out, InflateFlush::SyncFlush)
                .unwrap();
            assert_eq!(self.0.total_in() - read, input.len() as u64);
            out.truncate((self.0.total_out() - written) as usize);
            out
        }
    }

    /// Messages that repeat each other, of all sizes.
    fn messages() -> Vec<Vec<u8>> {
        (0..400usize)
            .map(|i| {
                let mut text = format!(
                    r#"{{"event":"tick","symbol":"S{}","price":{}}}"#,
                    i % 7,
                    i * 31 % 1009
                )
                .into_bytes();
                match i % 40 {
                    0 => text.clear(),
                    7 => text = text.repeat(100),
                    21 => text = (0..5000).map(|j| ((i * j * 7919) >> 3) as u8).collect(),
                    33 => text = text.repeat(2000),
                    _ => {}
                }
                text
            })
            .collect()
    }

    fn codecs() -> impl Iterator<Item = Codec> {
        [0, 1, 100, 1024, 4096, 32_768]
            .into_iter()
            .map(|window| Codec::Pooled { window })
            .chain([Codec::Dedicated])
    }

    #[test]
    fn the_examples_of_rfc_7692_section_7_2_3() {
        for (message, expected) in [
            // 7.2.3.1: one compressed block.
            (&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..], "Hello"),
            // 7.2.3.3: a block with no compression.
            (
                &[
                    0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
                ],
                "Hello",
            ),
            // 7.2.3.4: a block with BFINAL set.
            (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], "Hello"),
            // 7.2.3.5: two blocks in one message.
            (
                &[
                    0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
                ],
                "Hello",
            ),
            // 7.2.3.6: an empty message.
            (&[0x00], ""),
            // A final block and nothing behind it.
            (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], "Hello"),
        ] {
            for codec in codecs() {
                for no_takeover in [true, false] {
                    let mut inflater = inflater(no_takeover, 15, codec);
                    for _ in 0..3 {
                        assert_eq!(
                            inflate(&mut inflater, message).unwrap(),
                            expected.as_bytes()
                        );
                    }
                }
            }
        }
        // 7.2.3.2: the second message refers to the first.
        let first = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let second = [0xf2, 0x00, 0x11, 0x00, 0x00];
        for codec in codecs() {
            let mut keeping = inflater(false, 15, codec);
            assert_eq!(inflate(&mut keeping, &first).unwrap(), b"Hello");
            assert_eq!(inflate(&mut keeping, &second).unwrap(), b"Hello");
            let mut forgetting = inflater(true, 15, codec);
            assert_eq!(inflate(&mut forgetting, &first).unwrap(), b"Hello");
            assert_eq!(
                inflate(&mut forgetting, &second),
                Err(Violation::DeflateData)
            );
        }
    }

    #[test]
    fn an_empty_message_is_one_byte() {
        for codec in codecs() {
            let mut deflater = Deflater::new(false, 15, &config(codec));
            assert_eq!(compressed(&mut deflater, b""), [0]);
            assert_eq!(
                compressed(&mut deflater, b"Hello"),
                [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]
            );
            assert_eq!(compressed(&mut deflater, b""), [0]);
        }
    }

    /// A plain peer, and ours in every setting, read what we send in every setting, whole, in parts and shared.
    #[test]
    fn every_setting_is_read_by_every_peer() {
        for codec in codecs() {
            for bits in 8..=15 {
                for no_takeover in [false, true] {
                    let mut deflater = Deflater::new(no_takeover, bits, &config(codec));
                    let mut plain = Peer::new();
                    let mut peers: Vec<_> = codecs()
                        .map(|codec| inflater(no_takeover, bits, codec))
                        .collect();
                    for (i, message) in messages().iter().enumerate() {
                        let mut out = Vec::new();
                        if i % 11 == 3 && !message.is_empty() {
                            let (last, parts) = message.split_at(message.len() / 2);
                            deflater.part(last, false, &mut out);
                            deflater.part(parts, true, &mut out);
                        } else if i % 5 == 2 && deflater.observe(message) {
                            compress_shared(message, bits, 1, &mut out);
                        } else {
                            deflater.message(message, &mut out);
                        }
                        assert_eq!(
                            &plain.inflate(&out),
                            message,
                            "{codec:?} {bits} {no_takeover} {i}"
                        );
                        for peer in &mut peers {
                            assert_eq!(
                                &inflate(peer, &out).unwrap(),
                                message,
                                "{codec:?} {bits} {no_takeover} {i}"
                            );
                        }
                    }
                }
            }
        }
    }

    /// With a window of 8 bits, no reference may reach further back than 256 bytes.
    #[test]
    fn eight_bits_mean_two_hundred_and_fifty_six_bytes() {
        let noise: Vec<u8> = (0..251u32)
            .map(|i| ((u64::from(i) * u64::from(i) * 2_654_435_761) >> 13) as u8)
            .collect();
        for codec in codecs() {
            let mut deflater = Deflater::new(false, 8, &config(codec));
            let first = compressed(&mut deflater, &noise);
            let second = compressed(&mut deflater, &noise);
            let mut receiver = Inflater {
                window_bits: 8,
                ..inflater(false, 8, Codec::Pooled { window: 256 })
            };
            assert_eq!(inflate(&mut receiver, &first).unwrap(), noise);
            assert_eq!(inflate(&mut receiver, &second).unwrap(), noise);
            assert!(receiver.window.bytes().len() <= 256);
        }
    }

    #[test]
    fn takeover_pays_and_costs_only_its_window() {
        let size = |codec, no_takeover| {
            let mut deflater = Deflater::new(no_takeover, 15, &config(codec));
            let total: usize = messages()
                .iter()
                .map(|message| compressed(&mut deflater, message).len())
                .sum();
            assert!(deflater.window.bytes().len() <= 1024);
            assert!(codec == Codec::Dedicated || deflater.codec.is_none());
            total
        };
        let pooled = size(Codec::Pooled { window: 1024 }, false);
        let forgetting = size(Codec::Pooled { window: 1024 }, true);
        let dedicated = size(Codec::Dedicated, false);
        assert!(
            pooled < forgetting * 3 / 4,
            "{pooled} {forgetting} {dedicated}"
        );
    }

    #[test]
    fn what_is_stored_is_read_back() {
        for payload in [&b"x"[..], &[7; 65_535], &[8; 65_536], &[9; 200_000]] {
            let mut out = Vec::new();
            store(payload, &mut out);
            out.truncate(out.len() - TAIL.len());
            assert_eq!(
                inflate(&mut inflater(false, 15, Codec::Dedicated), &out).unwrap(),
                payload
            );
        }
    }

    #[test]
    fn bombs_are_stopped_by_size_and_by_ratio() {
        let mut bomb = Vec::new();
        compress_shared(&vec![0; 16 << 20], 15, 9, &mut bomb);
        for pieces in [1, 7, 1000] {
            for (limits, expected) in [
                (
                    InflateLimits {
                        max_size: 1 << 20,
                        max_ratio: 100,
                    },
                    Violation::RatioTooHigh { limit: 100 },
                ),
                (
                    InflateLimits {
                        max_size: 40_000,
                        max_ratio: 100,
                    },
                    Violation::MessageTooBig { limit: 40_000 },
                ),
                (
                    InflateLimits {
                        max_size: 1 << 20,
                        max_ratio: u32::MAX,
                    },
                    Violation::MessageTooBig { limit: 1 << 20 },
                ),
            ] {
                let mut inflater = inflater(false, 15, Codec::Pooled { window: 1024 });
                let mut out = Vec::new();
                let result = bomb
                    .chunks(pieces)
                    .try_for_each(|piece| inflater.inflate(piece, false, limits, &mut out))
                    .and_then(|()| inflater.inflate(&[], true, limits, &mut out));
                assert_eq!(result, Err(expected));
                assert!(out.len() <= limits.max_size + 1, "{}", out.len());
                assert!(
                    expected != Violation::RatioTooHigh { limit: 100 } || out.len() < 600_000,
                    "{}",
                    out.len()
                );
            }
        }
        // What is emptied between calls counts all the same.
        let mut inflater = inflater(false, 15, Codec::Dedicated);
        let limits = InflateLimits {
            max_size: 1 << 20,
            max_ratio: u32::MAX,
        };
        let mut out = Vec::new();
        let result = bomb.chunks(5000).try_for_each(|piece| {
            out.clear();
            inflater.inflate(piece, false, limits, &mut out)
        });
        assert_eq!(result, Err(Violation::MessageTooBig { limit: 1 << 20 }));
    }

    #[test]
    fn a_message_that_has_hardly_begun_holds_no_codec() {
        let mut inflater = inflater(false, 15, Codec::Pooled { window: 1024 });
        let mut out = Vec::new();
        inflater
            .inflate(&[0xf2; 100], false, NO_LIMITS, &mut out)
            .unwrap();
        assert!(inflater.codec.is_none() && out.is_empty());
    }

    #[test]
    fn invalid_data_is_named() {
        for data in [
            &[0x07][..],
            &[0xff, 0xff, 0xff],
            &[0x00, 0x05, 0x00, 0x00, 0x00],
            &[0x02, 0xff, 0xff, 0xff],
        ] {
            let mut inflater = inflater(false, 15, Codec::Pooled { window: 1024 });
            assert_eq!(
                inflate(&mut inflater, data),
                Err(Violation::DeflateData),
                "{data:?}"
            );
        }
    }

    #[test]
    fn the_pool_keeps_few_codecs() {
        for level in 1..=9 {
            for bits in 8..=15 {
                compress_shared(b"some text", bits, level, &mut Vec::new());
            }
        }
        for _ in 0..100 {
            let mut inflaters: Vec<_> = (0..10)
                .map(|_| inflater(false, 15, Codec::Pooled { window: 0 }))
                .collect();
            for inflater in &mut inflaters {
                inflater
                    .inflate(&[0; 5000], false, NO_LIMITS, &mut Vec::new())
                    .unwrap_err();
            }
        }
        POOL.with_borrow(|pool| {
            assert!(pool.deflaters.len() <= MAX_IDLE && pool.inflaters.len() <= MAX_IDLE)
        });
    }

    proptest! {
        #[test]
        fn any_messages_any_split(
            messages in proptest::collection::vec(proptest::collection::vec(0u8..4, 0..3000), 1..12),
            bits in 8u8..=15,
            no_takeover: bool,
            window in 0usize..5000,
            cuts in proptest::collection::vec(0usize..3000, 0..4),
        ) {
            let codec = Codec::Pooled { window };
            let mut deflater = Deflater::new(no_takeover, bits, &config(codec));
            let mut inflater = inflater(no_takeover, bits, codec);
            for message in &messages {
                let compressed = compressed(&mut deflater, message);
                let mut out = Vec::new();
                let mut rest = &compressed[..];
                for cut in &cuts {
                    let (piece, tail) = rest.split_at((*cut).min(rest.len()));
                    inflater.inflate(piece, false, NO_LIMITS, &mut out).unwrap();
                    rest = tail;
                }
                inflater.inflate(rest, true, NO_LIMITS, &mut out).unwrap();
                prop_assert_eq!(&out, message);
            }
        }

        /// Two ways to inflate, one verdict: what is read at once, and zlib alone.
        #[test]
        fn a_shared_codec_judges_as_one_of_its_own(
            texts in proptest::collection::vec(proptest::collection::vec(0u8..5, 0..600), 1..5),
            changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..3),
            noise in proptest::collection::vec(any::<u8>(), 0..40),
            no_takeover: bool,
        ) {
            let mut pooled = inflater(no_takeover, 15, Codec::Pooled { window: 1024 });
            let mut dedicated = inflater(no_takeover, 15, Codec::Dedicated);
            let mut deflater = Deflater::new(no_takeover, 15, &config(Codec::Pooled { window: 1024 }));
            let mut messages: Vec<_> = texts.iter().map(|text| compressed(&mut deflater, text)).collect();
            if let Some(last) = messages.last_mut() {
                for (at, byte) in changes {
                    let at = usize::from(at) % last.len();
                    last[at] = byte;
                }
            }
            messages.push(noise);
            for message in messages {
                let result = inflate(&mut pooled, &message);
                prop_assert_eq!(&result, &inflate(&mut dedicated, &message));
                if result.is_err() {
                    break;
                }
            }
        }

        #[test]
        fn any_bytes_end_in_a_message_or_a_violation(
            bytes in proptest::collection::vec(any::<u8>(), 0..6000),
            bits in 8u8..=15,
            cut in 0usize..6000,
        ) {
            let limits = InflateLimits { max_size: 100_000, max_ratio: 100 };
            for codec in [Codec::Pooled { window: 1024 }, Codec::Dedicated] {
                let mut inflater = inflater(false, bits, codec);
                let mut out = Vec::new();
                let (first, second) = bytes.split_at(cut.min(bytes.len()));
                let result = inflater
                    .inflate(first, false, limits, &mut out)
                    .and_then(|()| inflater.inflate(second, true, limits, &mut out));
                let documented = matches!(
                    result,
                    Ok(()) | Err(Violation::DeflateData | Violation::MessageTooBig { .. } | Violation::RatioTooHigh { .. })
                );
                prop_assert!(documented, "{:?}", result);
                prop_assert!(out.len() <= limits.max_size + 1);
            }
        }
    }
}
