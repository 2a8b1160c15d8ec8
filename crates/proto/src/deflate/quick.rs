//! Compresses short messages in one pass: one look back for each place, and the fixed codes, of which nothing is sent.
//!
//! Codes of a message's own take as long to make as the message takes to search, and what makes them branches as no
//! processor foresees.

use crate::deflate::{
    bits::Writer,
    codes::{
        DISTANCE_BASE, DISTANCE_EXTRA, DISTANCES, END_OF_BLOCK, LENGTH_BASE, LENGTH_EXTRA,
        LENGTH_SYMBOL, MAX_MATCH, MIN_MATCH, distance_symbol,
    },
    huffman::FIXED,
    stored,
};

/// Hashes of the table, which with the message stays in the nearest cache.
const HASHES: usize = 1 << 10;

/// The table, which belongs to no connection.
#[derive(Debug)]
pub(super) struct Quick {
    /// The last two places of each hash, counted from when the table was new.
    places: Box<[[u32; 2]]>,
    /// The number of the first byte of the next input. What is smaller belongs to an earlier one.
    base: u32,
}

impl Quick {
    pub(super) fn new() -> Self {
        Self::counting_from(1)
    }

    /// A new table, whose first byte has this number.
    pub(super) fn counting_from(base: u32) -> Self {
        Self {
            places: vec![[0; 2]; HASHES].into_boxed_slice(),
            base,
        }
    }

    /// Writes a block with the input from `start` on. Matches are at most `farthest` bytes away.
    pub(super) fn write(
        &mut self,
        input: &[u8],
        start: usize,
        farthest: usize,
        writer: &mut Writer<'_>,
    ) {
        let Some(next) = self.base.checked_add(input.len() as u32) else {
            *self = Self::new();
            return self.write(input, start, farthest, writer);
        };
        let Some(places) = self.places.first_chunk_mut::<HASHES>() else {
            return;
        };
        let mut search = Search {
            input,
            places,
            base: self.base,
        };
        search.enter(0, start);
        let plain = &input[start..];
        // Nine bits for each byte at most.
        writer.reserve(plain.len() + plain.len() / 8 + 16);
        let begin = writer.mark();
        writer.put(0b010, 3);
        let mut at = start;
        while let Some(word) = input.get(at..).and_then(<[u8]>::first_chunk::<4>) {
            if let Some((length, distance)) = search.find(at, *word, farthest) {
                let (code, bits) = repeat(length, distance);
                writer.put(code, bits);
                search.enter(at + 1, at + length);
                at += length;
            } else {
                let (code, bits) = FIXED.0.of(usize::from(word[0]));
                writer.put(code, bits);
                at += 1;
            }
        }
        for &byte in &input[at..] {
            let (code, bits) = FIXED.0.of(usize::from(byte));
            writer.put(code, bits);
        }
        let (code, bits) = FIXED.0.of(END_OF_BLOCK);
        writer.put(code, bits);
        if writer.since(&begin) > stored::bits(plain) {
            writer.back_to(begin);
            stored::write(plain, writer);
        }
        self.base = next;
    }
}

struct Search<'a> {
    input: &'a [u8],
    places: &'a mut [[u32; 2]; HASHES],
    base: u32,
}

impl Search<'_> {
    /// Enters a place with its first four bytes, and tells the last two with its hash.
    #[inline(always)]
    fn insert(&mut self, at: usize, word: [u8; 4]) -> [u32; 2] {
        let hash = u32::from_le_bytes(word).wrapping_mul(0x9e37_79b1) >> (32 - HASHES.ilog2());
        let places = &mut self.places[hash as usize & (HASHES - 1)];
        let last = *places;
        *places = [self.base + at as u32, last[0]];
        last
    }

    /// Enters every second place from `from` up to `end`: half the work, and a match that begins between two of them is
    /// found a byte later.
    #[inline(always)]
    fn enter(&mut self, from: usize, end: usize) {
        let input = self.input;
        let bytes = input.get(from..input.len().min(end + 3));
        for (i, word) in bytes.unwrap_or_default().windows(4).step_by(2).enumerate() {
            if let Some(word) = word.first_chunk::<4>() {
                self.insert(from + 2 * i, *word);
            }
        }
    }

    /// Enters `at`, which begins with `word`, and finds the better of two matches: length and distance.
    #[inline(always)]
    fn find(&mut self, at: usize, word: [u8; 4], farthest: usize) -> Option<(usize, usize)> {
        let last = self.insert(at, word);
        let first = self.base + at.saturating_sub(farthest) as u32;
        if last[0] < first {
            return None;
        }
        let rest = &self.input[at..];
        let most = rest.len().min(MAX_MATCH);
        let mut from = (last[0] - self.base) as usize;
        let mut length = self.match_at(from, rest, word, most);
        if last[1] >= first && length < most {
            let farther = (last[1] - self.base) as usize;
            let longer = self.match_at(farther, rest, word, most);
            if longer > length {
                (length, from) = (longer, farther);
            }
        }
        (length > 0).then_some((length, at - from))
    }

    /// How long the match from there is; 0 where its first four bytes differ.
    #[inline(always)]
    fn match_at(&self, from: usize, rest: &[u8], word: [u8; 4], most: usize) -> usize {
        let candidate = &self.input[from..];
        if candidate.first_chunk::<4>() == Some(&word) {
            common(rest, candidate, most)
        } else {
            0
        }
    }
}

/// A match in fixed codes, and how many bits it takes: 31 at most.
#[inline(always)]
fn repeat(length: usize, distance: usize) -> (u64, u32) {
    let length = LENGTHS[(length - MIN_MATCH) & 255];
    let less_one = (distance - 1) as u32;
    let class = distance_symbol(less_one).min(DISTANCES - 1);
    let (prefix, more) = FIXED.1.of(class);
    let above = u64::from(less_one + 1 - u32::from(DISTANCE_BASE[class]));
    let bits = length >> 16;
    let code = u64::from(length & 0xffff) | (prefix | above << more) << bits;
    (code, bits + more + u32::from(DISTANCE_EXTRA[class]))
}

/// The fixed code of each length, less 3, with its extra bits, and from bit 16 on how many they are.
static LENGTHS: [u32; 256] = {
    let mut codes = [0; 256];
    let mut length = 0;
    while length < 256 {
        let class = LENGTH_SYMBOL[length] as usize;
        let (code, bits) = FIXED.0.of_const(257 + class);
        let above = (length + MIN_MATCH) as u32 - LENGTH_BASE[class] as u32;
        codes[length] = code | above << bits | (bits + LENGTH_EXTRA[class] as u32) << 16;
        length += 1;
    }
    codes
};

/// How many bytes two slices have in common, at most `most`.
#[inline]
pub(super) fn common(a: &[u8], b: &[u8], most: usize) -> usize {
    let (a, b) = (&a[..most], &b[..most]);
    let (eights_a, rest_a) = a.as_chunks::<8>();
    let (eights_b, rest_b) = b.as_chunks::<8>();
    let mut length = 0;
    for (x, y) in eights_a.iter().zip(eights_b) {
        let difference = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if difference != 0 {
            return length + (difference.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    length
        + rest_a
            .iter()
            .zip(rest_b)
            .take_while(|(x, y)| x == y)
            .count()
}
