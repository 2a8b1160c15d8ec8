//! Compresses whole messages at once: a hash table that needs no clearing, and blocks whose codes are counted first.
//!
//! zlib is made for streams: 200 kB of tables are cleared before the first byte of a message of 240. Here everything
//! stands in one slice, what the table knew of earlier messages is told by its number, and of the three kinds of block
//! the shortest is written.

use crate::deflate::{
    bits::Writer,
    codes::{
        DISTANCE_BASE, DISTANCE_EXTRA, DISTANCES, END_OF_BLOCK, LENGTH_BASE, LENGTH_EXTRA,
        LENGTH_SYMBOL, LITERALS, MAX_MATCH, MIN_MATCH, distance_symbol,
    },
    huffman::{Code, Codes, FIXED},
    quick::{Quick, common},
    stored,
};

/// Longest message that is taken. From this length on receivers may judge the ratio, as ours do; what is compressed
/// here can be better than they allow.
const MAX_PAYLOAD: usize = 64 * 1024;
/// Longest plaintext before it.
const MAX_WINDOW: usize = 32 * 1024;

/// Hashes of the large table, and places in its chains.
const HASHES: usize = 1 << 14;
const CHAIN: usize = 32 * 1024;
/// Hashes of the table for short messages, which stays in the nearest cache.
const SHORT_HASHES: usize = 1 << 11;
/// Longest input that counts as short.
const SHORT: usize = 4 * 1024;
/// Longest message that the lowest level compresses in one pass.
const QUICK: usize = 2 * 1024;
/// Searched less, other short messages would hardly be compressed faster: making their codes takes as long.
const SHORT_LEVEL: u8 = 5;
/// Most symbols of a block.
const MAX_SYMBOLS: usize = 16 * 1024;
/// In a symbol: it is a match.
const MATCH: u32 = 1 << 31;

/// How long is searched.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Most places that are compared.
    chain: u32,
    /// A match of this length is good enough to search the next place less.
    good: usize,
    /// Up to this length the next place is searched for a longer one; 0: never.
    lazy: usize,
    /// A match of this length ends the search.
    nice: usize,
}

const EFFORTS: [Effort; 9] = [
    effort(2, 0, 0, 16),
    effort(4, 0, 0, 24),
    effort(8, 0, 0, 32),
    effort(8, 4, 6, 32),
    effort(16, 8, 16, 64),
    effort(64, 8, 32, 128),
    effort(128, 16, 64, 258),
    effort(512, 32, 258, 258),
    effort(2048, 32, 258, 258),
];

const fn effort(chain: u32, good: usize, lazy: usize, nice: usize) -> Effort {
    Effort {
        chain,
        good,
        lazy,
        nice,
    }
}

/// The tables, which belong to no connection.
#[derive(Debug)]
pub(super) struct Shrinker {
    /// Each is made for the first message that needs it.
    quick: Option<Quick>,
    short: Option<Tables<SHORT_HASHES, SHORT>>,
    long: Option<Tables<HASHES, CHAIN>>,
    /// The input, where it is not in one slice already.
    joined: Vec<u8>,
    parts: Parts,
}

/// What symbols are gathered in.
#[derive(Debug)]
struct Parts {
    block: Block,
    codes: Box<Codes>,
}

/// Where bytes have been seen before.
#[derive(Debug)]
struct Tables<const HASHES: usize, const CHAIN: usize> {
    /// The last place of each hash, counted from when the tables were new.
    heads: Box<[u32; HASHES]>,
    /// The place before with the same hash.
    chain: Box<[u32; CHAIN]>,
    /// The number of the first byte of the next input. What is smaller belongs to an earlier one.
    base: u32,
}

impl Shrinker {
    pub(super) fn new() -> Self {
        Self {
            quick: None,
            short: None,
            long: None,
            joined: Vec::new(),
            parts: Parts {
                block: Block::new(),
                codes: Box::new(Codes::new()),
            },
        }
    }

    /// Appends `payload`, compressed, as it is sent after `window`: without the tail of the flush. Matches are at most
    /// `farthest` bytes away. `false`, and nothing is appended, where that is more than is taken.
    pub(super) fn message(
        &mut self,
        window: &[u8],
        payload: &[u8],
        farthest: usize,
        level: u8,
        out: &mut Vec<u8>,
    ) -> bool {
        if payload.is_empty() || payload.len() > MAX_PAYLOAD || window.len() > MAX_WINDOW {
            return false;
        }
        if window.is_empty() {
            self.shrink(payload, 0, farthest, level, out);
        } else {
            let mut joined = std::mem::take(&mut self.joined);
            joined.clear();
            joined.extend_from_slice(window);
            joined.extend_from_slice(payload);
            self.shrink(&joined, window.len(), farthest, level, out);
            self.joined = joined;
        }
        true
    }

    fn shrink(
        &mut self,
        input: &[u8],
        start: usize,
        farthest: usize,
        level: u8,
        out: &mut Vec<u8>,
    ) {
        let mut writer = Writer::new(out);
        let is_short = input.len() <= SHORT;
        let least = if is_short { SHORT_LEVEL } else { 1 };
        let effort = EFFORTS[usize::from(level.clamp(least, 9)) - 1];
        if is_short && level <= 1 && input.len() - start <= QUICK {
            self.quick
                .get_or_insert_with(Quick::new)
                .write(input, start, farthest, &mut writer);
        } else if is_short {
            let tables = self.short.get_or_insert_with(Tables::new);
            let mut search = tables.search(input, farthest);
            self.parts.write(&mut search, start, effort, &mut writer);
            tables.base += input.len() as u32;
        } else {
            let tables = self.long.get_or_insert_with(Tables::new);
            let mut search = tables.search(input, farthest);
            self.parts.write(&mut search, start, effort, &mut writer);
            tables.base += input.len() as u32;
        }
        // The empty block of a flush, of which the receiver knows the rest.
        writer.reserve(2);
        writer.put(0, 3);
        writer.align();
        writer.end();
    }
}

impl Parts {
    /// Writes the input from `start` on.
    fn write<const HASHES: usize, const CHAIN: usize>(
        &mut self,
        search: &mut Search<'_, HASHES, CHAIN>,
        start: usize,
        effort: Effort,
        writer: &mut Writer<'_>,
    ) {
        search.prime(start);
        let mut at = start;
        while at < search.input.len() {
            let from = at;
            self.block.clear();
            at = if effort.lazy == 0 {
                search.greedy(at, effort, &mut self.block)
            } else {
                search.lazy(at, effort, &mut self.block)
            };
            self.block
                .write(&search.input[from..at], &mut self.codes, writer);
        }
    }
}

impl<const HASHES: usize, const CHAIN: usize> Tables<HASHES, CHAIN> {
    fn new() -> Self {
        Self {
            heads: boxed(),
            chain: boxed(),
            base: 1,
        }
    }

    fn search<'a>(&'a mut self, input: &'a [u8], farthest: usize) -> Search<'a, HASHES, CHAIN> {
        if self.base > u32::MAX - (MAX_WINDOW + MAX_PAYLOAD) as u32 {
            self.heads.fill(0);
            self.base = 1;
        }
        Search {
            input,
            heads: &mut self.heads,
            chain: &mut self.chain,
            base: self.base,
            farthest: farthest.min(CHAIN),
            inserted: 0,
        }
    }
}

/// A large array, made where it stays.
fn boxed<T: Clone + Default, const N: usize>() -> Box<[T; N]> {
    match vec![T::default(); N].into_boxed_slice().try_into() {
        Ok(array) => array,
        Err(_) => unreachable!("the vector has this length"),
    }
}

struct Search<'a, const HASHES: usize, const CHAIN: usize> {
    input: &'a [u8],
    heads: &'a mut [u32; HASHES],
    chain: &'a mut [u32; CHAIN],
    base: u32,
    farthest: usize,
    /// Places before this one are in the table.
    inserted: usize,
}

impl<const HASHES: usize, const CHAIN: usize> Search<'_, HASHES, CHAIN> {
    /// Enters a place with its first four bytes, and tells the last one with its hash.
    #[inline(always)]
    fn insert(&mut self, at: usize, word: u32) -> u32 {
        let hash = word.wrapping_mul(0x9e37_79b1) >> (32 - HASHES.ilog2());
        let head = &mut self.heads[hash as usize & (HASHES - 1)];
        let last = std::mem::replace(head, self.base + at as u32);
        self.chain[at & (CHAIN - 1)] = last;
        last
    }

    /// Enters the places before `end` that are not in the table.
    #[inline(always)]
    fn insert_up_to(&mut self, end: usize) {
        let input = self.input;
        let from = self.inserted;
        if let Some(bytes) = input.get(from..input.len().min(end + 3)) {
            for (i, word) in bytes.windows(4).enumerate() {
                if let Some(word) = word.first_chunk::<4>() {
                    self.insert(from + i, u32::from_le_bytes(*word));
                }
            }
        }
        self.inserted = from.max(end);
    }

    /// Enters every second place before `start`, the end of what was sent before: half the work, and a match that begins
    /// between two of them is found a byte later.
    fn prime(&mut self, start: usize) {
        let bytes = &self.input[..self.input.len().min(start + 2)];
        for (i, word) in bytes.windows(4).step_by(2).enumerate() {
            if let Some(word) = word.first_chunk::<4>() {
                self.insert(2 * i, u32::from_le_bytes(*word));
            }
        }
        self.inserted = start;
    }

    /// Enters `at` and finds the longest match there that is longer than `shortest`, or (0, 0).
    #[inline(always)]
    fn longest(
        &mut self,
        at: usize,
        shortest: usize,
        mut tries: u32,
        nice: usize,
    ) -> (usize, usize) {
        let rest = &self.input[at..];
        let Some(word) = rest.first_chunk::<4>() else {
            return (0, 0);
        };
        let word = u32::from_le_bytes(*word);
        let mut last = self.insert(at, word);
        self.inserted = at + 1;
        // The farthest place that may be referred to.
        let first = self.base + at.saturating_sub(self.farthest) as u32;
        if last < first {
            return (0, 0);
        }
        let most = rest.len().min(MAX_MATCH);
        if most <= shortest {
            return (0, 0);
        }
        let nice = nice.min(most);
        let (mut length, mut distance) = (shortest, 0);
        loop {
            let from = (last - self.base) as usize;
            let candidate = &self.input[from..];
            // The byte that would make it longer, and the first four.
            if candidate.get(length) == rest.get(length)
                && candidate.first_chunk::<4>() == Some(&word.to_le_bytes())
            {
                let found = common(rest, candidate, most);
                if found > length {
                    (length, distance) = (found, at - from);
                    if found >= nice {
                        break;
                    }
                }
            }
            tries -= 1;
            last = self.chain[from & (CHAIN - 1)];
            if tries == 0 || last < first {
                break;
            }
        }
        if distance == 0 {
            (0, 0)
        } else {
            (length, distance)
        }
    }

    /// Fills a block from `at` on with the first match of each place, and says where it ends.
    fn greedy(&mut self, mut at: usize, effort: Effort, block: &mut Block) -> usize {
        while at < self.input.len() && !block.is_full() {
            let (length, distance) = self.longest(at, 3, effort.chain, effort.nice);
            if distance == 0 {
                block.literal(self.input[at]);
                at += 1;
            } else {
                block.repeat(length, distance);
                at += length;
                self.insert_up_to(at);
            }
        }
        at
    }

    /// The same, but a match gives way to a longer one at the next place.
    fn lazy(&mut self, mut at: usize, effort: Effort, block: &mut Block) -> usize {
        while at < self.input.len() && !block.is_full() {
            let (mut length, mut distance) = self.longest(at, 3, effort.chain, effort.nice);
            if distance == 0 {
                block.literal(self.input[at]);
                at += 1;
                continue;
            }
            while length < effort.lazy && at + length < self.input.len() {
                let tries = if length >= effort.good {
                    effort.chain / 4
                } else {
                    effort.chain
                };
                let (longer, farther) = self.longest(at + 1, length, tries, effort.nice);
                if farther == 0 {
                    break;
                }
                block.literal(self.input[at]);
                at += 1;
                (length, distance) = (longer, farther);
            }
            block.repeat(length, distance);
            at += length;
            self.insert_up_to(at);
        }
        at
    }
}

/// The symbols of a block, counted.
#[derive(Debug)]
struct Block {
    symbols: Vec<u32>,
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
}

impl Block {
    fn new() -> Self {
        Self {
            symbols: Vec::new(),
            literals: [0; LITERALS],
            distances: [0; DISTANCES],
        }
    }

    fn clear(&mut self) {
        self.symbols.clear();
        self.literals = [0; LITERALS];
        self.distances = [0; DISTANCES];
    }

    fn is_full(&self) -> bool {
        // A lazy search adds a few literals before it looks here again.
        self.symbols.len() >= MAX_SYMBOLS
    }

    #[inline]
    fn literal(&mut self, byte: u8) {
        self.literals[usize::from(byte)] += 1;
        self.symbols.push(u32::from(byte));
    }

    #[inline]
    fn repeat(&mut self, length: usize, distance: usize) {
        let length = (length - MIN_MATCH) as u32;
        let distance = distance as u32 - 1;
        self.literals[257 + usize::from(LENGTH_SYMBOL[length as usize & 255])] += 1;
        self.distances[distance_symbol(distance)] += 1;
        self.symbols.push(MATCH | length << 16 | distance);
    }

    /// Writes the block as whatever is shortest.
    fn write(&mut self, plain: &[u8], codes: &mut Codes, writer: &mut Writer<'_>) {
        self.literals[END_OF_BLOCK] = 1;
        let extra = self.extra_bits();
        let fixed = 3 + extra + fixed_cost(&self.literals, &self.distances);
        let stored = stored::bits(plain);
        let own = if self.symbols.len() < FEW_SYMBOLS {
            usize::MAX
        } else {
            3 + extra + codes.make(&self.literals, &self.distances)
        };
        let shortest = fixed.min(own);
        writer.reserve(shortest.min(stored) / 8 + 16);
        if stored < shortest {
            stored::write(plain, writer);
        } else if own < fixed {
            writer.put(0b100, 3);
            codes.write_header(writer);
            self.write_symbols(&codes.literals, &codes.distances, writer);
        } else {
            writer.put(0b010, 3);
            self.write_symbols(&FIXED.0, &FIXED.1, writer);
        }
    }

    fn extra_bits(&self) -> usize {
        let lengths = self.literals[257..].iter().zip(LENGTH_EXTRA);
        let distances = self.distances.iter().zip(DISTANCE_EXTRA);
        lengths
            .chain(distances)
            .map(|(&count, extra)| count as usize * usize::from(extra))
            .sum()
    }

    fn write_symbols(
        &self,
        literals: &Code<LITERALS>,
        distances: &Code<DISTANCES>,
        writer: &mut Writer<'_>,
    ) {
        for &symbol in &self.symbols {
            if symbol & MATCH == 0 {
                let (code, bits) = literals.of(symbol as usize & 255);
                writer.put(code, bits);
                continue;
            }
            let length = (symbol >> 16) as usize & 255;
            let class = usize::from(LENGTH_SYMBOL[length]).min(28);
            let (mut code, mut bits) = literals.of(257 + class);
            let above = (length + MIN_MATCH) as u64 - u64::from(LENGTH_BASE[class]);
            code |= above << bits;
            bits += u32::from(LENGTH_EXTRA[class]);
            let distance = symbol & 0xffff;
            let class = distance_symbol(distance).min(DISTANCES - 1);
            let (prefix, more) = distances.of(class);
            code |= prefix << bits;
            bits += more;
            let above = u64::from(distance + 1) - u64::from(DISTANCE_BASE[class]);
            code |= above << bits;
            bits += u32::from(DISTANCE_EXTRA[class]);
            writer.put(code, bits);
        }
        let (code, bits) = literals.of(END_OF_BLOCK);
        writer.put(code, bits);
    }
}

/// Below so many symbols a block has no codes of its own, whose description takes forty bytes.
const FEW_SYMBOLS: usize = 24;

/// Bits that symbols take with the fixed codes (RFC 1951 section 3.2.6).
fn fixed_cost(literals: &[u32; LITERALS], distances: &[u32; DISTANCES]) -> usize {
    let sum = |counts: &[u32]| counts.iter().sum::<u32>();
    let (nine, seven, eight) = (&literals[144..256], &literals[256..280], &literals[280..]);
    let bits = 8 * (sum(&literals[..144]) + sum(eight)) + 9 * sum(nine) + 7 * sum(seven);
    (bits + 5 * sum(distances)) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zlib_rs::{Inflate, InflateFlush};

    use super::*;

    /// Compresses, lets zlib read it, and says how long it was.
    fn check(shrinker: &mut Shrinker, window: &[u8], payload: &[u8], level: u8) -> usize {
        let mut out = b"before".to_vec();
        assert!(shrinker.message(window, payload, 32 * 1024, level, &mut out));
        assert!(out.starts_with(b"before"));
        let mut input = out[6..].to_vec();
        input.extend([0x00, 0x00, 0xff, 0xff]);
        let mut zlib = Inflate::new(false, 15);
        if !window.is_empty() {
            zlib.set_dictionary(window).unwrap();
        }
        let mut plain = vec![0; payload.len() + 1];
        zlib.decompress(&input, &mut plain, InflateFlush::SyncFlush)
            .unwrap();
        assert_eq!(zlib.total_in(), input.len() as u64);
        plain.truncate(zlib.total_out() as usize);
        assert!(plain == payload, "level {level}");
        out.len() - 6
    }

    fn noise(length: usize) -> Vec<u8> {
        (0..length as u64)
            .map(|i| ((i * i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
            .collect()
    }

    #[test]
    fn every_kind_of_block_is_read_by_zlib() {
        let mut shrinker = Shrinker::new();
        let text = "words that come again, and words that do not: ".repeat(30);
        for level in 1..=9 {
            // Fixed codes, codes of its own, stored, and many blocks.
            assert!(check(&mut shrinker, b"", b"Hello", level) <= 7);
            assert!(check(&mut shrinker, b"", text.as_bytes(), level) < 80);
            assert!(check(&mut shrinker, b"", &noise(5000), level) <= 5010);
            assert!(check(&mut shrinker, &noise(32_768), &noise(65_536), level) <= 65_560);
            assert!(check(&mut shrinker, b"", &[7; 65_536], level) < 100);
            assert_eq!(
                check(&mut shrinker, text.as_bytes(), text.as_bytes(), level),
                check(
                    &mut Shrinker::new(),
                    text.as_bytes(),
                    text.as_bytes(),
                    level
                )
            );
        }
    }

    #[test]
    fn what_is_too_long_is_left_alone() {
        let mut shrinker = Shrinker::new();
        for (window, payload) in [(0, 0), (0, 65_537), (32_769, 10)] {
            let mut out = Vec::new();
            let taken = shrinker.message(&vec![0; window], &vec![0; payload], 1, 1, &mut out);
            assert!(!taken && out.is_empty());
        }
    }

    #[test]
    fn the_numbers_of_places_may_run_out() {
        let text = "one and the same, ".repeat(20);
        for level in [1, 5] {
            let mut shrinker = Shrinker::new();
            let length = check(&mut shrinker, b"", text.as_bytes(), level);
            for base in [u32::MAX - 100_000, u32::MAX - 98_400, u32::MAX - 800] {
                shrinker.quick = Some(Quick::counting_from(base));
                shrinker.short = Some(Tables {
                    base: base.min(u32::MAX - 98_000),
                    ..Tables::new()
                });
                for _ in 0..10 {
                    assert_eq!(check(&mut shrinker, b"", text.as_bytes(), level), length);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_by_zlib(
            messages in proptest::collection::vec(
                (proptest::collection::vec(0u8..6, 0..600), proptest::collection::vec(any::<u8>(), 0..40), 1usize..40),
                1..6,
            ),
            window in proptest::collection::vec(0u8..6, 0..2000),
            level in 1u8..=9,
        ) {
            let mut shrinker = Shrinker::new();
            for (few, any, times) in messages {
                let payload = [few, any].concat().repeat(times);
                if !payload.is_empty() && payload.len() <= MAX_PAYLOAD {
                    check(&mut shrinker, &window, &payload, level);
                }
            }
        }
    }
}
