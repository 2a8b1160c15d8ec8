//! Inflates whole messages at once: what is common and good, fast. Whatever is not is left for zlib to judge.

use std::cmp::Ordering;

use crate::deflate::codes::{
    DISTANCE_BASE, DISTANCE_EXTRA, FIXED_DISTANCES, FIXED_LITERALS, LENGTH_BASE, LENGTH_EXTRA,
    MAX_BITS, ORDER,
};

/// Most bytes that are inflated here; what is longer is zlib's.
const MAX_OUTPUT: usize = 64 * 1024;

/// Longest compressed message that is taken.
const MAX_INPUT: usize = 16 * 1024;

/// Longest plaintext of earlier messages.
const MAX_WINDOW: usize = 32 * 1024;

/// Output that is made room for at first, beside what the message's length tells. More is needed by few.
const FIRST_OUTPUT: usize = 8 * 1024;

/// Room behind the output for copies in steps of eight, the last of which reaches too far.
const SLACK: usize = 16;

/// Zeros behind the input, so that its last bits are read like all others.
const PADDING: usize = 16;

/// Bits that are looked up at once; longer codes, which are rare, are read bit by bit.
const LOOKUP: usize = 10;

// An entry of a table: how many bits its code takes, in the lowest byte; the kind of symbol, with its extra bits; its
// value from bit 16 on. 0 is no code.
const LITERAL: u32 = 0x8000;
const END: u32 = 0x4000;
const LONG: u32 = 0x2000;

/// A table of codes.
#[derive(Debug)]
struct Table {
    entries: Box<[u32; 1 << LOOKUP]>,
    mask: usize,
    /// For longer codes: how many there are of each length, and all symbols in the order of their codes.
    counts: [u16; MAX_BITS + 1],
    symbols: [u16; 288],
}

/// The tables, which belong to no connection.
#[derive(Debug)]
pub(super) struct Expander {
    input: Vec<u8>,
    output: Vec<u8>,
    /// The fixed codes of literals and distances, made for the first block that needs them.
    fixed: Option<(Table, Table)>,
    literals: Table,
    distances: Table,
    lengths: Table,
}

impl Expander {
    pub(super) fn new() -> Self {
        Self {
            input: Vec::new(),
            output: Vec::new(),
            fixed: None,
            literals: Table::new(),
            distances: Table::new(),
            lengths: Table::new(),
        }
    }

    /// What a whole message inflates to after `window`; `tail` is what it was sent without. `None` where it is longer
    /// than `max_size`, or than is taken here, or where anything is unusual or wrong.
    pub(super) fn message(
        &mut self,
        window: &[u8],
        compressed: &[u8],
        tail: &[u8],
        max_size: usize,
    ) -> Option<&[u8]> {
        if compressed.len() > MAX_INPUT || window.len() > MAX_WINDOW {
            return None;
        }
        let mut input = std::mem::take(&mut self.input);
        input.clear();
        input.extend_from_slice(compressed);
        input.extend_from_slice(tail);
        input.extend_from_slice(&[0; PADDING]);
        let start = window.len();
        let end = start + max_size.min(MAX_OUTPUT);
        let first = end.min(start + FIRST_OUTPUT.max(8 * compressed.len()));
        let mut at = self.attempt(window, &input, compressed.len(), first);
        if at.is_none() && first < end {
            at = self.attempt(window, &input, compressed.len(), end);
        }
        self.input = input;
        Some(&self.output[start..at?])
    }

    /// Inflates behind `window` to `end` at most.
    fn attempt(&mut self, window: &[u8], input: &[u8], length: usize, end: usize) -> Option<usize> {
        if self.output.len() < end + SLACK {
            self.output.resize(end + SLACK, 0);
        }
        self.output[..window.len()].copy_from_slice(window);
        self.expand(input, length, window.len(), end)
    }

    /// Inflates from `start` to `end` at most, and says how far it came. The message is the first `length` bytes.
    fn expand(&mut self, input: &[u8], length: usize, start: usize, end: usize) -> Option<usize> {
        let whole = 8 * (input.len() - PADDING);
        let mut reader = Reader::new(input);
        let mut at = start;
        loop {
            reader.refill();
            let (is_last, kind) = (reader.take(1) == 1, reader.take(2));
            match kind {
                0 => at = copy_stored(&mut reader, &mut self.output[..end], at)?,
                1 => {
                    if self.fixed.is_none() {
                        let mut fixed = (Table::new(), Table::new());
                        fixed.0.make::<true>(&FIXED_LITERALS)?;
                        fixed.1.make::<false>(&FIXED_DISTANCES)?;
                        self.fixed = Some(fixed);
                    }
                    let (literals, distances) = self.fixed.as_ref()?;
                    at = block(literals, distances, &mut reader, &mut self.output, at, end)?;
                }
                2 => {
                    self.read_codes(&mut reader)?;
                    let (literals, distances) = (&self.literals, &self.distances);
                    at = block(literals, distances, &mut reader, &mut self.output, at, end)?;
                }
                _ => return None,
            }
            if is_last {
                // The stream ends inside the message or with it: what follows begins with a new byte.
                reader.align();
                match reader.position().cmp(&(8 * length)) {
                    Ordering::Less => {}
                    Ordering::Equal => return Some(at),
                    Ordering::Greater => return None,
                }
            } else {
                match reader.position().cmp(&whole) {
                    Ordering::Less => {}
                    Ordering::Equal => return Some(at),
                    Ordering::Greater => return None,
                }
            }
        }
    }

    /// Reads the codes of a block (RFC 1951 section 3.2.7).
    fn read_codes(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        reader.refill();
        let literals = 257 + reader.take(5) as usize;
        let distances = 1 + reader.take(5) as usize;
        let some = 4 + reader.take(4) as usize;
        if literals > 286 || distances > 30 {
            return None;
        }
        let mut lengths = [0; 19];
        for &symbol in &ORDER[..some] {
            reader.refill();
            lengths[usize::from(symbol)] = reader.take(3) as u8;
        }
        self.lengths.make_plain(&lengths)?;
        let mut all = [0u8; 286 + 30 + 138];
        let (mut at, end) = (0, literals + distances);
        while at < end {
            reader.refill();
            let entry = self.lengths.entries[reader.peek() & self.lengths.mask];
            if entry == 0 {
                return None;
            }
            reader.skip(entry & 0xff);
            let (value, times) = match entry >> 16 {
                16 => (*all.get(at.checked_sub(1)?)?, 3 + reader.take(2) as usize),
                17 => (0, 3 + reader.take(3) as usize),
                18 => (0, 11 + reader.take(7) as usize),
                length => {
                    all[at] = length as u8;
                    at += 1;
                    continue;
                }
            };
            all[at..at + times].fill(value);
            at += times;
        }
        if at > end || all[256] == 0 {
            return None;
        }
        self.literals.make::<true>(&all[..literals])?;
        self.distances.make::<false>(&all[literals..end])
    }
}

/// Inflates the symbols of a block to `at` and says where they end.
fn block(
    literals: &Table,
    distances: &Table,
    reader: &mut Reader<'_>,
    output: &mut [u8],
    mut at: usize,
    end: usize,
) -> Option<usize> {
    // Copies in steps may reach beyond the end, where nothing is read.
    let output = &mut output[..end + SLACK];
    loop {
        reader.refill();
        let mut entry = literals.entries[reader.peek() & literals.mask];
        // Three literals fit into one refill, and two of them leave enough for a length and a distance.
        for _ in 0..2 {
            if entry & LITERAL == 0 || at >= end {
                break;
            }
            reader.skip(entry & 0xff);
            output[at] = (entry >> 16) as u8;
            at += 1;
            entry = literals.entries[reader.peek() & literals.mask];
        }
        if entry & LONG != 0 {
            entry = literals.long::<true>(reader)?;
        } else {
            reader.skip(entry & 0xff);
        }
        if entry & LITERAL != 0 {
            if at >= end {
                return None;
            }
            output[at] = (entry >> 16) as u8;
            at += 1;
            continue;
        }
        if entry & END != 0 {
            return Some(at);
        }
        if entry == 0 {
            return None;
        }
        let length = (entry >> 16) as usize + reader.take(entry >> 8 & 0xf) as usize;
        reader.refill();
        let mut entry = distances.entries[reader.peek() & distances.mask];
        if entry & LONG != 0 {
            entry = distances.long::<false>(reader)?;
        } else {
            reader.skip(entry & 0xff);
        }
        if entry == 0 {
            return None;
        }
        let distance = (entry >> 16) as usize + reader.take(entry >> 8 & 0xf) as usize;
        if distance > at || at + length > end {
            return None;
        }
        repeat(output, at, distance, length);
        at += length;
    }
}

fn copy_stored(reader: &mut Reader<'_>, output: &mut [u8], at: usize) -> Option<usize> {
    reader.align();
    reader.refill();
    let (length, inverse) = (reader.take(16), reader.take(16));
    if length ^ inverse != 0xffff {
        return None;
    }
    let bytes = reader.bytes(length as usize)?;
    output
        .get_mut(at..at + length as usize)?
        .copy_from_slice(bytes);
    Some(at + length as usize)
}

/// Copies `length` bytes from `distance` back to `at`, where they may overlap.
#[inline]
fn repeat(output: &mut [u8], at: usize, distance: usize, length: usize) {
    let from = at - distance;
    if distance >= 8 {
        if length > 32 && distance >= length {
            output.copy_within(from..from + length, at);
            return;
        }
        let mut done = 0;
        while done < length {
            let Some(eight) = output[from + done..].first_chunk::<8>().copied() else {
                return;
            };
            output[at + done..at + done + 8].copy_from_slice(&eight);
            done += 8;
        }
    } else if distance == 1 {
        let byte = output[from];
        output[at..at + length].fill(byte);
    } else {
        for i in 0..length {
            output[at + i] = output[from + i];
        }
    }
}

impl Table {
    fn new() -> Self {
        let entries = vec![0; 1 << LOOKUP].into_boxed_slice();
        Self {
            entries: match entries.try_into() {
                Ok(entries) => entries,
                Err(_) => Box::new([0; 1 << LOOKUP]),
            },
            mask: 0,
            counts: [0; MAX_BITS + 1],
            symbols: [0; 288],
        }
    }

    /// Codes of literals and lengths, or of distances.
    fn make<const LITERALS: bool>(&mut self, lengths: &[u8]) -> Option<()> {
        self.build(lengths, !LITERALS, entry::<LITERALS>)
    }

    /// Codes of code lengths.
    fn make_plain(&mut self, lengths: &[u8]) -> Option<()> {
        self.build(lengths, false, |symbol| (symbol as u32) << 16 | LITERAL)
    }

    /// `None` where the lengths make no complete code. With `lonely` one code of one bit may stand alone, or none at all.
    fn build(&mut self, lengths: &[u8], lonely: bool, entry: impl Fn(usize) -> u32) -> Option<()> {
        let mut counts = [0u16; MAX_BITS + 1];
        for &length in lengths {
            counts[usize::from(length & 15)] += 1;
        }
        counts[0] = 0;
        self.counts = counts;
        let longest = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        let mut offsets = [0u16; MAX_BITS + 2];
        let mut room = 1i32;
        for bits in 1..=MAX_BITS {
            room = (room << 1) - i32::from(counts[bits]);
            if room < 0 {
                return None;
            }
            offsets[bits + 1] = offsets[bits] + counts[bits];
        }
        let some = usize::from(offsets[MAX_BITS + 1]);
        let alone = lonely && (some == 0 || (some == 1 && longest == 1));
        if room > 0 && !alone {
            return None;
        }
        for (symbol, &length) in lengths.iter().enumerate() {
            if length > 0 {
                let offset = &mut offsets[usize::from(length)];
                self.symbols[usize::from(*offset)] = symbol as u16;
                *offset += 1;
            }
        }
        let bits = longest.clamp(1, LOOKUP);
        self.mask = (1 << bits) - 1;
        if alone {
            self.entries[0] = if some == 1 {
                entry(usize::from(self.symbols[0])) | 1
            } else {
                0
            };
            self.entries[1] = 0;
            return Some(());
        }
        // Shorter codes first: what is filled so far is repeated whenever codes grow by a bit.
        let (mut code, mut filled, mut next) = (0usize, 1usize, 0usize);
        self.entries[0] = 0;
        for (length, &count) in counts.iter().enumerate().take(bits + 1).skip(1) {
            self.entries.copy_within(..filled, filled);
            filled *= 2;
            for _ in 0..count {
                let entry = entry(usize::from(self.symbols[next]));
                // What must not occur stays 0.
                self.entries[code] = if entry == 0 { 0 } else { entry | length as u32 };
                next += 1;
                code = following(code, length);
            }
        }
        // What is left begins with the bits that no short code has.
        while next < some && code < filled {
            self.entries[code] = LONG;
            let after = following(code, bits);
            if after == 0 {
                break;
            }
            code = after;
        }
        Some(())
    }

    /// Reads a code that is longer than the table knows, bit by bit.
    #[cold]
    fn long<const LITERALS: bool>(&self, reader: &mut Reader<'_>) -> Option<u32> {
        let (mut code, mut first, mut index) = (0i32, 0i32, 0i32);
        let peeked = reader.peek();
        for length in 1..=MAX_BITS {
            code |= (peeked >> (length - 1) & 1) as i32;
            let count = i32::from(self.counts[length]);
            if code - count < first {
                reader.skip(length as u32);
                let symbol = *self.symbols.get((index + (code - first)) as usize)?;
                return Some(entry::<LITERALS>(usize::from(symbol)) | length as u32);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

/// The next code of the same length, bits as they are sent: the highest bit counts least. 0 after the last.
#[inline]
fn following(code: usize, length: usize) -> usize {
    let zeros = !code & ((1 << length) - 1);
    if zeros == 0 {
        return 0;
    }
    let bit = 1 << zeros.ilog2();
    code & (bit - 1) | bit
}

/// The entry of a symbol, without the length of its code; 0 for what must not occur.
#[inline]
fn entry<const LITERALS: bool>(symbol: usize) -> u32 {
    if !LITERALS {
        return match (DISTANCE_BASE.get(symbol), DISTANCE_EXTRA.get(symbol)) {
            (Some(&base), Some(&extra)) => u32::from(base) << 16 | u32::from(extra) << 8,
            _ => 0,
        };
    }
    match symbol {
        0..256 => (symbol as u32) << 16 | LITERAL,
        256 => END,
        _ => match (
            LENGTH_BASE.get(symbol - 257),
            LENGTH_EXTRA.get(symbol - 257),
        ) {
            (Some(&base), Some(&extra)) => u32::from(base) << 16 | u32::from(extra) << 8,
            _ => 0,
        },
    }
}

/// Reads bits, the lowest first.
#[derive(Debug)]
struct Reader<'a> {
    input: &'a [u8],
    /// The next byte that is not in `bits`.
    at: usize,
    bits: u64,
    count: u32,
}

impl<'a> Reader<'a> {
    fn new(input: &'a [u8]) -> Self {
        Self {
            input,
            at: 0,
            bits: 0,
            count: 0,
        }
    }

    /// Makes 56 bits or more ready; beyond the end they are zeros.
    #[inline]
    fn refill(&mut self) {
        if let Some(eight) = self.input.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            self.bits |= u64::from_le_bytes(*eight) << self.count;
            self.at += (63 - self.count as usize) / 8;
            self.count |= 56;
        } else {
            // Beyond the end of the message: its place will tell.
            self.at += (63 - self.count as usize) / 8;
            self.count |= 56;
        }
    }

    #[inline]
    fn peek(&self) -> usize {
        self.bits as usize
    }

    #[inline]
    fn skip(&mut self, count: u32) {
        self.bits >>= count & 63;
        self.count = self.count.wrapping_sub(count);
    }

    #[inline]
    fn take(&mut self, count: u32) -> u32 {
        let taken = self.bits as u32 & ((1 << count) - 1);
        self.skip(count);
        taken
    }

    /// Skips to the next byte.
    fn align(&mut self) {
        self.skip(self.count % 8);
    }

    /// Bits that have been taken.
    fn position(&self) -> usize {
        8 * self.at - self.count as usize
    }

    /// Takes whole bytes.
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let from = self.at - self.count as usize / 8;
        let bytes = self.input.get(from..from + length)?;
        self.at = from + length;
        (self.bits, self.count) = (0, 0);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush};

    use super::*;

    const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

    fn by_zlib(window: &[u8], plain: &[u8], level: i32, flush: DeflateFlush) -> Vec<u8> {
        let mut zlib = Deflate::new(level, false, 15);
        if !window.is_empty() {
            zlib.set_dictionary(window).unwrap();
        }
        let mut out = vec![0; plain.len() + plain.len() / 8 + 100];
        zlib.compress(plain, &mut out, flush).unwrap();
        out.truncate(zlib.total_out() as usize);
        if flush == DeflateFlush::SyncFlush {
            out.truncate(out.len() - TAIL.len());
        }
        out
    }

    fn texts() -> Vec<Vec<u8>> {
        let mut texts = vec![
            b"Hello".to_vec(),
            b"a word, and a word again, and again a word, ".repeat(100),
            vec![7; 65_536],
            (0..=255).collect(),
        ];
        // Frequencies so unlike that codes are longer than the table knows.
        let mut unlike = Vec::new();
        for symbol in 0..22u32 {
            unlike.extend(vec![symbol as u8; 1 << (symbol / 2)]);
        }
        let scattered = (0..unlike.len()).map(|i| unlike[i * 7919 % unlike.len()]);
        texts.push(scattered.collect());
        texts
    }

    #[test]
    fn what_zlib_compresses_is_read_at_every_level() {
        let mut expander = Expander::new();
        for text in texts() {
            for level in 0..=9 {
                for window in [&b""[..], b"a word before", &[7; 32_768]] {
                    for flush in [DeflateFlush::SyncFlush, DeflateFlush::Finish] {
                        let compressed = by_zlib(window, &text, level, flush);
                        let read = expander.message(window, &compressed, &TAIL, 1 << 20);
                        let taken = compressed.len() <= MAX_INPUT;
                        assert!(read == taken.then_some(&text[..]), "{level} {flush:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_longer_or_cut_off_is_left_alone() {
        let mut expander = Expander::new();
        for text in texts() {
            let compressed = by_zlib(b"", &text, 6, DeflateFlush::SyncFlush);
            for size in [0, 1, text.len() - 1] {
                assert_eq!(expander.message(b"", &compressed, &TAIL, size), None);
            }
            let read = expander.message(b"", &compressed, &TAIL, text.len());
            assert_eq!(read, Some(&text[..]));
            for cut in 1..compressed.len().min(100) {
                let cut = &compressed[..compressed.len() - cut];
                if let Some(read) = expander.message(b"", cut, &TAIL, 1 << 20) {
                    assert!(agrees(b"", cut, read));
                }
            }
        }
        let long = by_zlib(b"", &[0; 65_537], 6, DeflateFlush::SyncFlush);
        assert_eq!(expander.message(b"", &long, &TAIL, 1 << 20), None);
    }

    /// Whether zlib reads the same, to the last byte.
    fn agrees(window: &[u8], compressed: &[u8], read: &[u8]) -> bool {
        let mut zlib = Inflate::new(false, 15);
        if !window.is_empty() {
            zlib.set_dictionary(window).unwrap();
        }
        let input = [compressed, &TAIL].concat();
        let mut plain = vec![0; MAX_OUTPUT + 1];
        let status = zlib.decompress(&input, &mut plain, InflateFlush::SyncFlush);
        let ended = status == Ok(zlib_rs::Status::StreamEnd);
        plain.truncate(zlib.total_out() as usize);
        // What follows the end of a stream is not for one call.
        status.is_ok()
            && if ended {
                read.starts_with(&plain)
            } else {
                read == plain
            }
    }

    proptest! {
        /// Broken messages, and bytes that never were one: what is read here, zlib reads the same.
        #[test]
        fn nothing_is_read_that_zlib_does_not_read(
            text in proptest::collection::vec(0u8..5, 1..800),
            window in proptest::collection::vec(0u8..5, 0..300),
            level in 0i32..=9,
            changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..4),
            noise in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut expander = Expander::new();
            let mut compressed = by_zlib(&window, &text, level, DeflateFlush::SyncFlush);
            for (at, byte) in changes {
                let at = usize::from(at) % compressed.len();
                compressed[at] = byte;
            }
            for input in [compressed, noise] {
                if let Some(read) = expander.message(&window, &input, &TAIL, 1 << 20) {
                    prop_assert!(agrees(&window, &input, read));
                }
            }
        }
    }
}
