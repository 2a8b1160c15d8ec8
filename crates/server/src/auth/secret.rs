//! Random secrets, and what stands in their place where only a later comparison is needed.

use aws_lc_rs::{digest, rand};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::setting::Secret;

/// A SHA-256.
pub(crate) type Digest = [u8; 32];

/// As many bytes from the system's generator, as base64url. `None` where the system has no randomness to give.
pub(crate) fn random(bytes: usize) -> Option<Secret> {
    let mut random = vec![0; bytes];
    rand::fill(&mut random).ok()?;
    Some(Secret::new(URL_SAFE_NO_PAD.encode(&random)))
}

/// The SHA-256 of a secret. Tables use it as their key: how long a look-up takes then says nothing about the secret.
pub(crate) fn digest(secret: &Secret) -> Digest {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest::digest(&digest::SHA256, secret.expose().as_bytes()).as_ref());
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_secrets_differ_and_have_their_length() {
        let (a, b) = (random(32).unwrap(), random(32).unwrap());
        assert_ne!(a.expose(), b.expose());
        assert_eq!(a.expose().len(), 43);
        assert_ne!(digest(&a), digest(&b));
        assert_eq!(digest(&a), digest(&a.clone()));
    }
}
