//! The numbers of RFC 1951: lengths, distances, fixed codes, and the order in which code lengths are sent.

/// Shortest match.
pub(super) const MIN_MATCH: usize = 3;
/// Longest match.
pub(super) const MAX_MATCH: usize = 258;
/// The symbol that ends a block.
pub(super) const END_OF_BLOCK: usize = 256;
/// Symbols of literals and lengths that may occur.
pub(super) const LITERALS: usize = 286;
/// Symbols of distances that may occur.
pub(super) const DISTANCES: usize = 30;
/// Longest code of a literal, a length or a distance.
pub(super) const MAX_BITS: usize = 15;

/// The order of the code lengths for code lengths (section 3.2.7).
pub(super) const ORDER: [u8; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// Shortest length of each length symbol, from 257 on (section 3.2.5).
pub(super) const LENGTH_BASE: [u16; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
    163, 195, 227, 258,
];

/// Extra bits of each length symbol.
pub(super) const LENGTH_EXTRA: [u8; 29] = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
];

/// Shortest distance of each distance symbol.
pub(super) const DISTANCE_BASE: [u16; 30] = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537,
    2049, 3073, 4097, 6145, 8193, 12_289, 16_385, 24_577,
];

/// Extra bits of each distance symbol.
pub(super) const DISTANCE_EXTRA: [u8; 30] = [
    0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13,
    13,
];

/// Bits of each literal or length in a block of fixed codes (section 3.2.6).
pub(super) const FIXED_LITERALS: [u8; 288] = {
    let mut bits = [8; 288];
    let mut symbol = 144;
    while symbol < 280 {
        bits[symbol] = if symbol < 256 { 9 } else { 7 };
        symbol += 1;
    }
    bits
};

/// Bits of each distance in a block of fixed codes.
pub(super) const FIXED_DISTANCES: [u8; 32] = [5; 32];

/// The symbol of each length, counted from 257, by the length less 3.
pub(super) const LENGTH_SYMBOL: [u8; 256] = {
    let mut symbols = [0; 256];
    let mut symbol = 0;
    while symbol < 29 {
        let mut length = LENGTH_BASE[symbol] as usize;
        let last = length + (1 << LENGTH_EXTRA[symbol]);
        while length < last && length <= MAX_MATCH {
            symbols[length - MIN_MATCH] = symbol as u8;
            length += 1;
        }
        symbol += 1;
    }
    symbols
};

/// The symbol of a distance less 1.
#[inline]
pub(super) fn distance_symbol(less_one: u32) -> usize {
    if less_one < 2 {
        return less_one as usize;
    }
    let top = less_one.ilog2();
    (2 * top + (less_one >> (top - 1) & 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_distance_has_the_symbol_whose_range_it_is_in() {
        for length in MIN_MATCH..=MAX_MATCH {
            let symbol = usize::from(LENGTH_SYMBOL[length - MIN_MATCH]);
            let base = usize::from(LENGTH_BASE[symbol]);
            assert!(
                base <= length && length < base + (1 << LENGTH_EXTRA[symbol]),
                "{length}"
            );
        }
        assert_eq!(LENGTH_SYMBOL[MAX_MATCH - MIN_MATCH], 28);
        for distance in 1..=32_768usize {
            let symbol = distance_symbol(distance as u32 - 1);
            let base = usize::from(DISTANCE_BASE[symbol]);
            assert!(
                base <= distance && distance < base + (1 << DISTANCE_EXTRA[symbol]),
                "{distance}"
            );
        }
    }
}
