//! Masking: a client's payload is XORed with a fresh unpredictable key (RFC 6455 sections 5.3 and 10.3).

use rand::Rng as _;

/// A masking key.
pub type MaskingKey = [u8; 4];

/// A fresh key from a cryptographically secure generator, so that no one can choose the bytes on the wire.
#[must_use]
pub fn new_key() -> MaskingKey {
    rand::rng().next_u32().to_ne_bytes()
}

/// Masks or unmasks `data` in place. `offset` is how far into the frame's payload `data` begins.
///
/// ```
/// let mut data = *b"Hello";
/// antiphon_proto::mask::apply([0x37, 0xfa, 0x21, 0x3d], 0, &mut data);
/// assert_eq!(data, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
/// ```
pub fn apply(key: MaskingKey, offset: usize, data: &mut [u8]) {
    let key = rotated(key, offset);
    // Blocks of 64 bytes are what the compiler turns into vector instructions.
    let (blocks, mut rest) = data.as_chunks_mut::<64>();
    for block in blocks {
        whole(key, block);
    }
    // What is left is short: each size at most once, without a loop.
    rest = once::<32>(key, rest);
    rest = once::<16>(key, rest);
    rest = once::<8>(key, rest);
    rest = once::<4>(key, rest);
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// Masks the first `N` bytes, where there are as many, and gives the others.
#[inline]
fn once<const N: usize>(key: MaskingKey, data: &mut [u8]) -> &mut [u8] {
    if data.len() < N {
        return data;
    }
    let (first, rest) = data.split_at_mut(N);
    if let Some(first) = first.first_chunk_mut::<N>() {
        whole(key, first);
    }
    rest
}

/// Masks a number of bytes that 4 divides.
#[inline]
fn whole<const N: usize>(key: MaskingKey, bytes: &mut [u8; N]) {
    let key = u32::from_ne_bytes(key);
    for word in bytes.as_chunks_mut::<4>().0 {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
}

/// Appends `data` to `out`, masked from the beginning of a frame's payload.
pub fn append(key: MaskingKey, data: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(data);
    apply(key, 0, &mut out[start..]);
}

const fn rotated(key: MaskingKey, offset: usize) -> MaskingKey {
    [
        key[offset & 3],
        key[(offset + 1) & 3],
        key[(offset + 2) & 3],
        key[(offset + 3) & 3],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 section 5.3: octet i of the masked data is octet i of the original XOR octet i modulo 4 of the key.
    fn by_the_book(key: MaskingKey, offset: usize, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte ^= key[(i + offset) % 4];
        }
    }

    #[test]
    fn every_length_and_offset_is_masked_by_the_book() {
        let key = [0x12, 0x34, 0x56, 0x78];
        let data: Vec<u8> = (0..300).map(|i| (i * 7) as u8).collect();
        for length in 0..data.len() {
            for offset in 0..5 {
                let (mut ours, mut theirs) = (data[..length].to_vec(), data[..length].to_vec());
                apply(key, offset, &mut ours);
                by_the_book(key, offset, &mut theirs);
                assert_eq!(ours, theirs, "length {length}, offset {offset}");
            }
            let (mut appended, mut theirs) = (b"before".to_vec(), data[..length].to_vec());
            append(key, &data[..length], &mut appended);
            by_the_book(key, 0, &mut theirs);
            assert_eq!(&appended[..6], b"before");
            assert_eq!(appended[6..], theirs);
        }
    }

    /// RFC 6455 section 5.3: the key must be unpredictable; two frames never share one but by chance.
    #[test]
    fn keys_are_fresh() {
        let keys: std::collections::HashSet<_> = (0..1000).map(|_| new_key()).collect();
        assert!(keys.len() > 990);
    }
}
