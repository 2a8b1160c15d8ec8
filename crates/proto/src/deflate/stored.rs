//! Blocks that are stored as they are (RFC 1951 section 3.2.4).

use crate::deflate::bits::Writer;

/// Bytes of a stored block.
const STORED: usize = u16::MAX as usize;

/// Bits that stored blocks take: five bytes for each, and up to seven bits before the first.
pub(super) fn bits(plain: &[u8]) -> usize {
    8 * plain.len() + plain.len().div_ceil(STORED).max(1) * 40 + 2
}

pub(super) fn write(plain: &[u8], writer: &mut Writer<'_>) {
    for piece in plain.chunks(STORED) {
        writer.put(0, 3);
        writer.align();
        let length = piece.len() as u16;
        writer.put(u64::from(length), 16);
        writer.put(u64::from(!length), 16);
        writer.bytes(piece);
    }
}
