//! The plaintext that later messages may refer to: a connection's own, or one that many share.

use std::sync::Arc;

/// The last bytes of plaintext.
#[derive(Clone, Debug)]
pub(super) enum Window {
    Own(Vec<u8>),
    /// Of connections that have been sent the same.
    Shared(Arc<Vec<u8>>),
}

impl Default for Window {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

impl Window {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    /// Whether both hold the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Shared(one), Self::Shared(other)) if Arc::ptr_eq(one, other) => true,
            _ => self.bytes() == other.bytes(),
        }
    }

    /// Makes it one that is shared.
    pub(super) fn share(&mut self) -> Self {
        if let Self::Own(bytes) = self {
            *self = Self::Shared(Arc::new(std::mem::take(bytes)));
        }
        self.clone()
    }

    /// Adds plaintext, of which the last `capacity` bytes are kept.
    pub(super) fn push(&mut self, capacity: usize, plaintext: &[u8]) {
        let kept = &plaintext[plaintext.len().saturating_sub(capacity)..];
        if let Self::Shared(shared) = self {
            let old = &shared[shared.len().saturating_sub(capacity - kept.len())..];
            let mut own = Vec::with_capacity(old.len() + kept.len());
            own.extend_from_slice(old);
            *self = Self::Own(own);
        }
        if let Self::Own(bytes) = self {
            let excess = (bytes.len() + kept.len()).saturating_sub(capacity);
            bytes.drain(..excess);
            bytes.reserve_exact(kept.len());
            bytes.extend_from_slice(kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept_in_no_more_memory_whoever_owns_them() {
        for shared in [false, true] {
            let mut window = Window::default();
            for (plaintext, expected) in [
                ("", ""),
                ("abc", "abc"),
                ("defgh", "abcdefgh"),
                ("ij", "cdefghij"),
                ("", "cdefghij"),
                ("0123456789", "23456789"),
                ("01234567", "01234567"),
            ] {
                if shared {
                    window.share();
                }
                window.push(8, plaintext.as_bytes());
                assert_eq!(window.bytes(), expected.as_bytes());
                let Window::Own(bytes) = &window else {
                    panic!("it has a window of its own after a push");
                };
                assert!(bytes.capacity() <= 8);
            }
        }
    }

    #[test]
    fn windows_are_told_by_what_they_hold() {
        let mut one = Window::Own(b"text".to_vec());
        let other = Window::Own(b"text".to_vec());
        assert!(one.is_same(&other));
        let shared = one.share();
        assert!(shared.is_same(&one) && shared.is_same(&other));
        assert!(!shared.is_same(&Window::default()));
    }
}
