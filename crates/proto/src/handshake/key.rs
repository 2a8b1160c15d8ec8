//! The key of the handshake and the value that accepts it (RFC 6455 sections 4.1 and 4.2.2).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest as _, Sha1};

/// Appended to the key before it is hashed: what no HTTP server does by accident (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A fresh `Sec-WebSocket-Key`: 16 bytes from a cryptographically secure generator, in base64.
#[must_use]
pub fn generate() -> String {
    STANDARD.encode(rand::random::<[u8; 16]>())
}

/// Whether this is 16 bytes in canonical base64: 24 characters, padded, no stray bits.
#[must_use]
pub fn is_valid(key: &[u8]) -> bool {
    key.len() == 24 && STANDARD.decode_slice(key, &mut [0; 18]) == Ok(16)
}

/// The `Sec-WebSocket-Accept` that answers a key.
///
/// ```
/// use antiphon_proto::handshake::key;
///
/// assert_eq!(key::accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
#[must_use]
pub fn accept(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The first pair is that of RFC 6455 section 1.3.
    #[test]
    fn the_accept_value_is_that_of_the_rfc() {
        for (key, expected) in [
            ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="),
        ] {
            assert_eq!(accept(key.as_bytes()), expected);
        }
    }

    /// "The nonce MUST be selected randomly for each connection" (RFC 6455 section 4.1, item 7).
    #[test]
    fn generated_keys_are_valid_and_differ() {
        let keys: HashSet<_> = (0..100).map(|_| generate()).collect();
        assert_eq!(keys.len(), 100);
        assert!(keys.iter().all(|key| is_valid(key.as_bytes())));
    }

    #[test]
    fn only_sixteen_bytes_in_canonical_base64_are_a_key() {
        for (key, expected) in [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("AAAAAAAAAAAAAAAAAAAAAA==", true),
            ("", false),
            ("abc", false),
            ("AQID", false),
            ("dGhlIHNhbXBsZSBub25jZQ", false),
            ("dGhlIHNhbXBsZSBub25jZQ=", false),
            ("dGhlIHNhbXBsZSBub25jZR==", false),
            ("dGhlIHNhbXBsZSBub25jZTE=", false),
            ("dGhlIHNhbXBsZSBub25jZTEy", false),
            ("dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==", false),
            ("dGhlIHNhbXBsZSBub25j*Q==", false),
            ("-_hlIHNhbXBsZSBub25jZQ==", false),
        ] {
            assert_eq!(is_valid(key.as_bytes()), expected, "{key:?}");
        }
    }
}
