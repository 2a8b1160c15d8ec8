//! Bytes that were read and not parsed yet. A connection that waits has none, and gives them eight bytes of its memory.

/// Bytes and how many of them are parsed; never all.
#[derive(Debug, Default)]
pub(super) struct Unread(Option<Box<(Vec<u8>, usize)>>);

impl Unread {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self((!bytes.is_empty()).then(|| Box::new((bytes, 0))))
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.0
            .as_ref()
            .map_or(0, |held| held.0.len().saturating_sub(held.1))
    }

    #[inline]
    pub(super) fn rest(&mut self) -> &mut [u8] {
        let held = self.0.as_deref_mut();
        held.and_then(|(bytes, parsed)| bytes.get_mut(*parsed..))
            .unwrap_or_default()
    }

    /// All but the last `left` bytes are parsed.
    #[inline]
    pub(super) fn leave(&mut self, left: usize) {
        if left == 0 {
            self.0 = None;
        } else if let Some(held) = &mut self.0 {
            held.1 = held.0.len().saturating_sub(left);
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Some(held) => held.0.extend_from_slice(bytes),
            None => *self = Self::new(bytes.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parsed_goes_from_the_front() {
        let mut unread = Unread::new(Vec::new());
        assert!(unread.is_empty() && unread.rest().is_empty());
        unread.push(b"");
        assert!(unread.is_empty());
        unread.push(b"abc");
        unread.leave(2);
        unread.push(b"de");
        assert_eq!(unread.len(), 4);
        assert_eq!(unread.rest(), b"bcde");
        unread.leave(0);
        assert!(unread.is_empty() && unread.rest().is_empty());
    }
}
