//! UTF-8, whole or piece by piece, noticed as soon as it cannot become valid any more.

/// Whether `bytes` are valid UTF-8.
#[must_use]
pub fn is_valid(bytes: &[u8]) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok()
}
