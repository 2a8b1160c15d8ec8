//! The plaintext that later messages may refer to: a connection's own, or one that many share.

use std::{
    cell::RefCell,
    sync::{Arc, Weak},
};

/// Longest window that is looked for among those of other connections. A longer one is filled where it stands.
const MAX_SHARED: usize = 4 * 1024;

/// Windows that a thread remembers, so that what holds the same shares it: both directions of a connection whose peer is
/// sent what it said, and connections that begin alike.
const REMEMBERED: usize = 16;

thread_local! {
    // Weak: what is remembered is freed with the last connection that needs it.
    static RECENT: RefCell<[(u64, Weak<Vec<u8>>); REMEMBERED]> =
        const { RefCell::new([const { (0, Weak::new()) }; REMEMBERED]) };
}

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
        if plaintext.is_empty() {
            return;
        }
        let kept = &plaintext[plaintext.len().saturating_sub(capacity)..];
        let old = self.bytes();
        let old = &old[old.len().saturating_sub(capacity - kept.len())..];
        if old.len() + kept.len() <= MAX_SHARED {
            *self = if old.is_empty() {
                Self::Shared(found(kept).unwrap_or_else(|| remembered(kept.to_vec())))
            } else {
                let text = [old, kept].concat();
                Self::Shared(found(&text).unwrap_or_else(|| remembered(text)))
            };
            return;
        }
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

/// The window of another connection that holds the same.
fn found(text: &[u8]) -> Option<Arc<Vec<u8>>> {
    let mark = fingerprint(text);
    RECENT.with_borrow(|recent| {
        let (other, window) = &recent[mark as usize % REMEMBERED];
        if *other != mark {
            return None;
        }
        window.upgrade().filter(|window| window[..] == *text)
    })
}

/// Makes a window that others may find.
fn remembered(text: Vec<u8>) -> Arc<Vec<u8>> {
    let mark = fingerprint(&text);
    let window = Arc::new(text);
    RECENT.with_borrow_mut(|recent| {
        recent[mark as usize % REMEMBERED] = (mark, Arc::downgrade(&window));
    });
    window
}

/// Tells most texts from each other by a few of their bytes.
fn fingerprint(text: &[u8]) -> u64 {
    let word = |at: usize| {
        let bytes = text.get(at..).and_then(<[u8]>::first_chunk::<8>);
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    let length = text.len();
    [0, length / 4, length / 2, length.saturating_sub(8)]
        .into_iter()
        .fold(length as u64, |sum, at| {
            (sum ^ word(at))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that it holds.
    fn memory(window: &Window) -> usize {
        match window {
            Window::Own(bytes) => bytes.capacity(),
            Window::Shared(bytes) => bytes.capacity(),
        }
    }

    #[test]
    fn the_last_bytes_of_a_long_window_are_kept_in_no_more_memory() {
        let text: Vec<u8> = (0..50_000u32).map(|i| (i % 251) as u8).collect();
        let mut window = Window::default();
        let mut seen = 0;
        for length in [5000, 10, 30_000, 0, 14_990] {
            window.push(8192, &text[seen..seen + length]);
            seen += length;
            assert_eq!(window.bytes(), &text[seen.saturating_sub(8192)..seen]);
            assert!(memory(&window) <= 8192);
        }
    }

    #[test]
    fn what_holds_the_same_shares_it_as_long_as_it_does() {
        let push = |window: &mut Window, text: &str| window.push(1024, text.as_bytes());
        let [mut one, mut other, mut third] = [const { Window::Own(Vec::new()) }; 3];
        push(&mut one, "what many say, ");
        push(&mut other, "what many say, ");
        let (Window::Shared(a), Window::Shared(b)) = (&one, &other) else {
            panic!("short windows can be shared");
        };
        assert!(Arc::ptr_eq(a, b));
        push(&mut one, "and what one says");
        assert_eq!(one.bytes(), b"what many say, and what one says");
        assert_eq!(other.bytes(), b"what many say, ");
        push(&mut third, "what many say, and what one says");
        assert!(
            matches!((&one, &third), (Window::Shared(a), Window::Shared(b)) if Arc::ptr_eq(a, b))
        );
        // What nobody needs any more is not kept for those who might come.
        drop((one, other, third));
        assert!(found(b"what many say, ").is_none());
    }

    #[test]
    fn a_window_is_shared_by_what_it_holds_and_not_by_what_it_looks_like() {
        let mut text = vec![7; 1024];
        let mut one = Window::default();
        one.push(1024, &text);
        text[100] = 8;
        assert_eq!(fingerprint(one.bytes()), fingerprint(&text));
        let mut other = Window::default();
        other.push(1024, &text);
        assert_eq!(other.bytes(), text);
        assert!(!other.is_same(&one));
    }

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
                assert!(memory(&window) <= 8);
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
