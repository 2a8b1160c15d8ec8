//! The codes of a block: the shortest for how often its symbols occur, and how they are told (RFC 1951 section 3.2).

use crate::deflate::{
    bits::Writer,
    codes::{DISTANCES, FIXED_LITERALS, LITERALS, MAX_BITS, ORDER},
};

/// A code for so many symbols.
#[derive(Debug)]
pub(super) struct Code<const N: usize> {
    lengths: [u8; N],
    /// The bits as they are sent, and from bit 16 on how many they are.
    bits: [u32; N],
    /// The symbols that occur, in their own order.
    used: [u16; N],
    some: usize,
}

impl<const N: usize> Code<N> {
    pub(super) const fn new() -> Self {
        Self {
            lengths: [0; N],
            bits: [0; N],
            used: [0; N],
            some: 0,
        }
    }

    #[inline(always)]
    pub(super) fn of(&self, symbol: usize) -> (u64, u32) {
        let bits = self.bits[symbol];
        (u64::from(bits & 0xffff), bits >> 16)
    }

    /// The same, where tables are made: the bits, and how many they are.
    pub(super) const fn of_const(&self, symbol: usize) -> (u32, u32) {
        (self.bits[symbol] & 0xffff, self.bits[symbol] >> 16)
    }

    /// Gives its symbols their bits, by their lengths (RFC 1951 section 3.2.2).
    fn assign(&mut self) {
        let mut next = [0u16; MAX_BITS + 2];
        for &symbol in &self.used[..self.some] {
            next[usize::from(self.lengths[usize::from(symbol)] & 15) + 1] += 1;
        }
        for bits in 1..=MAX_BITS {
            next[bits + 1] = (next[bits + 1] + next[bits]) << 1;
        }
        for &symbol in &self.used[..self.some] {
            let symbol = usize::from(symbol);
            let length = usize::from(self.lengths[symbol] & 15);
            self.bits[symbol] = reversed(next[length]) >> (16 - length) | (length as u32) << 16;
            next[length] += 1;
        }
    }

    /// Finds the shortest code of at most `most` bits for symbols that occur so often. Where fewer than two occur, two
    /// have codes, since some receivers know no code of one.
    /// Says how many bits they take.
    fn make(&mut self, counts: &[u32; N], most: usize, tree: &mut Tree) -> usize {
        self.lengths = [0; N];
        let mut some = 0;
        for (four, counts) in counts.chunks(4).enumerate() {
            if counts.iter().fold(0, |any, count| any | count) == 0 {
                continue;
            }
            for (i, &count) in counts.iter().enumerate() {
                if count > 0 {
                    self.used[some] = (4 * four + i) as u16;
                    some += 1;
                }
            }
        }
        if some < 2 {
            // The one that occurs, and any other.
            let only = if some == 0 { 0 } else { self.used[0] };
            self.used[..2].copy_from_slice(&[0, only.max(1)]);
            self.some = 2;
            self.lengths[0] = 1;
            self.lengths[usize::from(only.max(1))] = 1;
            return some * counts[usize::from(only)] as usize;
        }
        self.some = some;
        let leaves = &mut tree.leaves[..some];
        for (leaf, &symbol) in leaves.iter_mut().zip(&self.used) {
            // A block has far fewer than two million symbols.
            *leaf = counts[usize::from(symbol)] << 9 | u32::from(symbol);
        }
        leaves.sort_unstable();
        let per_length = tree.depths(some, most);
        // The rarest have the longest.
        let mut rest = &tree.leaves[..some];
        let mut cost = 0;
        for bits in (1..=most).rev() {
            let (now, later) = rest.split_at(rest.len().min(per_length[bits] as usize));
            for leaf in now {
                self.lengths[(leaf & 511) as usize] = bits as u8;
                cost += (leaf >> 9) as usize * bits;
            }
            rest = later;
        }
        cost
    }
}

/// Sixteen bits the other way round, which plain x86-64 has no instruction for.
#[inline(always)]
const fn reversed(bits: u16) -> u32 {
    let [low, high] = bits.to_le_bytes();
    (REVERSED[low as usize] as u32) << 8 | REVERSED[high as usize] as u32
}

const REVERSED: [u8; 256] = {
    let mut reversed = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        reversed[byte] = (byte as u8).reverse_bits();
        byte += 1;
    }
    reversed
};

/// The codes of blocks that have none of their own.
pub(super) static FIXED: (Code<LITERALS>, Code<DISTANCES>) = {
    let (mut literals, mut distances) = (Code::new(), Code::new());
    let mut symbol = 0;
    while symbol < LITERALS {
        let code = match symbol {
            0..144 => 0x30 + symbol,
            144..256 => 0x190 + symbol - 144,
            256..280 => symbol - 256,
            _ => 0xc0 + symbol - 280,
        };
        literals.lengths[symbol] = FIXED_LITERALS[symbol];
        let bits = FIXED_LITERALS[symbol] as u32;
        literals.bits[symbol] = reversed(code as u16) >> (16 - bits) | bits << 16;
        symbol += 1;
    }
    let mut symbol = 0;
    while symbol < DISTANCES {
        distances.lengths[symbol] = 5;
        distances.bits[symbol] = reversed(symbol as u16) >> 11 | 5 << 16;
        symbol += 1;
    }
    (literals, distances)
};

/// Memory for making codes.
#[derive(Debug)]
struct Tree {
    /// How often a symbol occurs, and the symbol in the lowest nine bits; the rarest first.
    leaves: [u32; LITERALS],
    weights: [u32; LITERALS],
    leaf_parents: [u16; LITERALS],
    node_parents: [u16; LITERALS],
}

impl Tree {
    /// How many of the leaves have codes of each length.
    fn depths(&mut self, some: usize, most: usize) -> [u32; MAX_BITS + 1] {
        // Two queues in order of weight: leaves, and the nodes made of them.
        let (mut leaf, mut node) = (0, 0);
        for made in 0..some - 1 {
            let mut weight = 0;
            for _ in 0..2 {
                if leaf < some && (node >= made || self.leaves[leaf] >> 9 <= self.weights[node]) {
                    weight += self.leaves[leaf] >> 9;
                    self.leaf_parents[leaf] = made as u16;
                    leaf += 1;
                } else {
                    weight += self.weights[node];
                    self.node_parents[node] = made as u16;
                    node += 1;
                }
            }
            self.weights[made] = weight;
        }
        // The last node is the root. Depths from there, cut at the limit, in place of the weights.
        let mut per_length = [0u32; MAX_BITS + 1];
        self.weights[some - 2] = 0;
        for made in (0..some - 2).rev() {
            self.weights[made] = self.weights[usize::from(self.node_parents[made])] + 1;
        }
        for &parent in &self.leaf_parents[..some] {
            let depth = self.weights[usize::from(parent)] as usize + 1;
            per_length[depth.min(most)] += 1;
        }
        // What was cut takes too much room: shorter codes give way, one step at a time.
        let room = 1u32 << most;
        let mut taken: u32 = (1..=most)
            .map(|bits| per_length[bits] << (most - bits))
            .sum();
        while taken > room {
            let Some(bits) = (1..most).rev().find(|&bits| per_length[bits] > 0) else {
                break;
            };
            per_length[bits] -= 1;
            per_length[bits + 1] += 2;
            per_length[most] -= 1;
            taken -= 1;
        }
        per_length
    }
}

/// The codes of a block, and how they are sent.
#[derive(Debug)]
pub(super) struct Codes {
    pub(super) literals: Code<LITERALS>,
    pub(super) distances: Code<DISTANCES>,
    lengths: Code<19>,
    tree: Tree,
    /// How many literals, distances and lengths of code lengths are sent.
    sent: (usize, usize, usize),
    /// The code lengths as they are sent: symbol, extra bits and their number.
    runs: [(u8, u8, u8); LITERALS + DISTANCES],
    some_runs: usize,
}

impl Codes {
    pub(super) fn new() -> Self {
        Self {
            literals: Code::new(),
            distances: Code::new(),
            lengths: Code::new(),
            tree: Tree {
                leaves: [0; LITERALS],
                weights: [0; LITERALS],
                leaf_parents: [0; LITERALS],
                node_parents: [0; LITERALS],
            },
            sent: (0, 0, 0),
            runs: [(0, 0, 0); LITERALS + DISTANCES],
            some_runs: 0,
        }
    }

    /// Makes the codes, and says how many bits they and the symbols take.
    pub(super) fn make(
        &mut self,
        literals: &[u32; LITERALS],
        distances: &[u32; DISTANCES],
    ) -> usize {
        let cost = self.literals.make(literals, MAX_BITS, &mut self.tree)
            + self.distances.make(distances, MAX_BITS, &mut self.tree);
        // Both lists of lengths are sent as one, in which runs are told by their length.
        let mut lists = Runs {
            counts: [0; 19],
            runs: &mut self.runs,
            some: 0,
            last: 0,
            times: 0,
        };
        let some_literals = lists.all(&self.literals);
        let some_distances = lists.all(&self.distances);
        lists.end();
        let counts = lists.counts;
        self.some_runs = lists.some;
        let lengths = self.lengths.make(&counts, 7, &mut self.tree);
        let some_lengths = ORDER
            .iter()
            .rposition(|&symbol| self.lengths.lengths[usize::from(symbol)] > 0)
            .map_or(4, |last| (last + 1).max(4));
        self.sent = (some_literals, some_distances, some_lengths);
        let extra = (2 * counts[16] + 3 * counts[17] + 7 * counts[18]) as usize;
        14 + 3 * some_lengths + lengths + extra + cost
    }

    /// Writes what the codes are, and gets them ready.
    pub(super) fn write_header(&mut self, writer: &mut Writer<'_>) {
        let (literals, distances, lengths) = self.sent;
        writer.put(literals as u64 - 257, 5);
        writer.put(distances as u64 - 1, 5);
        writer.put(lengths as u64 - 4, 4);
        for &symbol in &ORDER[..lengths] {
            writer.put(u64::from(self.lengths.lengths[usize::from(symbol)]), 3);
        }
        self.lengths.assign();
        self.literals.assign();
        self.distances.assign();
        for &(symbol, more, extra) in &self.runs[..self.some_runs] {
            let (code, bits) = self.lengths.of(usize::from(symbol));
            writer.put(code | u64::from(more) << bits, bits + u32::from(extra));
        }
    }
}

/// Code lengths on their way to what is sent.
struct Runs<'a> {
    counts: [u32; 19],
    runs: &'a mut [(u8, u8, u8); LITERALS + DISTANCES],
    some: usize,
    /// The last length, and how often it has come.
    last: u8,
    times: usize,
}

impl Runs<'_> {
    /// Adds the lengths of a code up to the last symbol that occurs, and says how many they are.
    fn all<const N: usize>(&mut self, code: &Code<N>) -> usize {
        let mut next = 0;
        for &symbol in &code.used[..code.some] {
            let symbol = usize::from(symbol);
            if symbol > next {
                self.add(0, symbol - next);
            }
            self.add(code.lengths[symbol], 1);
            next = symbol + 1;
        }
        next
    }

    #[inline(always)]
    fn add(&mut self, length: u8, times: usize) {
        if length != self.last {
            if self.times == 1 {
                self.send(self.last, 0, 0);
            } else {
                self.end();
            }
            self.last = length;
            self.times = 0;
        }
        self.times += times;
    }

    fn end(&mut self) {
        let (last, mut times) = (self.last, self.times);
        if last == 0 {
            while times >= 3 {
                let taken = times.min(138);
                if taken > 10 {
                    self.send(18, taken - 11, 7);
                } else {
                    self.send(17, taken - 3, 3);
                }
                times -= taken;
            }
        } else if times >= 4 {
            self.send(last, 0, 0);
            times -= 1;
            while times >= 3 {
                let taken = times.min(6);
                self.send(16, taken - 3, 2);
                times -= taken;
            }
        }
        for _ in 0..times {
            self.send(last, 0, 0);
        }
    }

    #[inline(always)]
    fn send(&mut self, symbol: u8, more: usize, extra: u8) {
        self.counts[usize::from(symbol)] += 1;
        if let Some(run) = self.runs.get_mut(self.some) {
            *run = (symbol, more as u8, extra);
            self.some += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lengths for these counts, after what every code must be.
    fn check(counts: &[u32], most: usize) -> Vec<u8> {
        let mut all = [0; LITERALS];
        all[..counts.len()].copy_from_slice(counts);
        let mut codes = Codes::new();
        let cost = codes.literals.make(&all, most, &mut codes.tree);
        let lengths = codes.literals.lengths;
        let room: u32 = lengths
            .iter()
            .filter(|&&length| length > 0)
            .map(|&length| 1 << (most - usize::from(length)))
            .sum();
        assert_eq!(room, 1 << most, "the code is not complete: {lengths:?}");
        let sum: usize = all
            .iter()
            .zip(lengths)
            .map(|(&count, length)| count as usize * usize::from(length))
            .sum();
        assert_eq!(cost, sum);
        for (count, length) in all.iter().zip(lengths) {
            assert!(*count == 0 || (1..=most).contains(&usize::from(length)));
        }
        lengths[..counts.len()].to_vec()
    }

    #[test]
    fn rare_symbols_have_long_codes_within_the_limit() {
        assert_eq!(check(&[8, 4, 2, 1, 1], 15), [1, 2, 3, 4, 4]);
        assert_eq!(check(&[1, 1, 1, 1], 15), [2, 2, 2, 2]);
        // Each is as frequent as the two before it: the deepest tree there is.
        let mut counts = vec![1u32, 1];
        while counts.len() < 30 {
            counts.push(counts[counts.len() - 1] + counts[counts.len() - 2]);
        }
        for most in [5, 7, 15] {
            let lengths = check(&counts, most);
            assert!(lengths.windows(2).all(|pair| pair[0] >= pair[1]));
        }
    }

    #[test]
    fn one_symbol_or_none_makes_two_codes() {
        for (counts, lengths) in [
            (&[0, 0, 0][..], [1, 1, 0]),
            (&[5, 0, 0], [1, 1, 0]),
            (&[0, 5, 0], [1, 1, 0]),
            (&[0, 0, 5], [1, 0, 1]),
        ] {
            assert_eq!(check(counts, 15), lengths);
        }
    }

    proptest! {
        #[test]
        fn any_counts_make_a_complete_code(
            counts in proptest::collection::vec(0u32..100_000, 1..286),
            most in 9usize..=15,
        ) {
            check(&counts, most);
        }
    }
}
