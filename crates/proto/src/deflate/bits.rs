//! Writes bits into bytes, the lowest first, eight bytes at a time.

/// Writes bits, the lowest first.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Where the next byte goes: there is room behind.
    at: usize,
    bits: u64,
    count: u32,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            at: out.len(),
            out,
            bits: 0,
            count: 0,
        }
    }

    /// Makes room for so many bytes.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.out.resize(self.at + bytes + 8, 0);
    }

    /// Puts up to 48 bits, for which there is room.
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        self.bits |= bits << self.count;
        self.count += count;
        if let Some(room) = self
            .out
            .get_mut(self.at..)
            .and_then(<[u8]>::first_chunk_mut::<8>)
        {
            *room = self.bits.to_le_bytes();
        }
        self.at += (self.count / 8) as usize;
        self.bits >>= self.count & !7;
        self.count &= 7;
    }

    /// Where the next bit goes.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            at: self.at,
            bits: self.bits,
            count: self.count,
        }
    }

    /// How many bits have been put since.
    pub(super) fn since(&self, mark: &Mark) -> usize {
        8 * (self.at - mark.at) + self.count as usize - mark.count as usize
    }

    /// Forgets what has been put since.
    pub(super) fn back_to(&mut self, mark: Mark) {
        Mark {
            at: self.at,
            bits: self.bits,
            count: self.count,
        } = mark;
    }

    /// Fills the last byte with zeros.
    pub(super) fn align(&mut self) {
        self.put(0, self.count.wrapping_neg() & 7);
    }

    /// Puts whole bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// Gives back the room that was not needed.
    pub(super) fn end(&mut self) {
        self.out.truncate(self.at);
    }
}

/// A place in what is written.
#[derive(Debug)]
pub(super) struct Mark {
    at: usize,
    bits: u64,
    count: u32,
}
