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
