//! Signatures over outgoing bodies: HMAC-SHA256 over the time and the body, as the receiver can check in ten lines.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::hmac;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize as _, Deserializer, de};

use crate::{setting::Secret, value};

/// The header that carries the signature: `t=UNIX,v1=HEX`.
pub(crate) const SIGNATURE: HeaderName = HeaderName::from_static("x-antiphon-signature");

/// Fewest characters of a secret: 32, as many as the bytes of the hash.
pub(crate) const SHORTEST_SECRET: usize = 32;

/// Signs bodies with one secret.
#[derive(Clone)]
pub(crate) struct Signer(hmac::Key);

impl Signer {
    /// Signs with this secret.
    pub(crate) fn new(secret: &Secret) -> Self {
        Self(hmac::Key::new(
            hmac::HMAC_SHA256,
            secret.expose().as_bytes(),
        ))
    }

    /// The header's value for this body, now.
    pub(crate) fn sign(&self, body: &[u8]) -> HeaderValue {
        self.sign_at(unix_seconds(), body)
    }

    fn sign_at(&self, time: u64, body: &[u8]) -> HeaderValue {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(time.to_string().as_bytes());
        context.update(b".");
        context.update(body);
        let signature = value::to_hex(context.sign().as_ref());
        HeaderValue::try_from(format!("t={time},v1={signature}"))
            .unwrap_or(HeaderValue::from_static(""))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(***)")
    }
}

/// Checks a signature as a receiver does: the reference for the snippets of the documentation.
#[cfg(test)]
pub(crate) fn verify(
    secret: &Secret,
    header: &str,
    body: &[u8],
    window: std::time::Duration,
) -> bool {
    let mut time = None;
    let mut signature = None;
    for part in header.split(',') {
        match part.split_once('=') {
            Some(("t", text)) => time = text.parse::<u64>().ok(),
            Some(("v1", text)) => signature = value::hex(text).ok(),
            _ => {}
        }
    }
    let (Some(time), Some(signature)) = (time, signature) else {
        return false;
    };
    if time.abs_diff(unix_seconds()) > window.as_secs() {
        return false;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let mut signed = format!("{time}.").into_bytes();
    signed.extend_from_slice(body);
    // Compares in constant time.
    hmac::verify(&key, &signed, &signature).is_ok()
}

/// Reads a secret that is long enough.
pub(crate) fn secret<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Secret>, D::Error> {
    let secret = Option::<Secret>::deserialize(d)?;
    match &secret {
        Some(secret) if secret.expose().chars().count() < SHORTEST_SECRET => {
            Err(de::Error::custom(format!(
                "the secret is too short: use at least {SHORTEST_SECRET} characters at random, such as from `openssl rand -hex 32`"
            )))
        }
        _ => Ok(secret),
    }
}

/// Seconds since 1970.
fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(300);

    #[test]
    fn a_signature_of_the_documentation() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
        let signer = Signer::new(&Secret::new("0123456789abcdef0123456789abcdef"));
        assert_eq!(
            signer.sign_at(1_700_000_000, br#"{"a":1}"#),
            "t=1700000000,v1=f05f2539e3ae1c49aec5f8cfdad75ef6b06480b133973ffbb7ec9e18827af177"
        );
    }

    #[test]
    fn forged_old_and_malformed_signatures_are_refused() {
        let secret = Secret::new("0123456789abcdef0123456789abcdef");
        let signer = Signer::new(&secret);
        let now = unix_seconds();
        let at = |time| signer.sign_at(time, b"body").to_str().unwrap().to_owned();
        let good = at(now);
        assert!(verify(&secret, &good, b"body", WINDOW));
        assert!(verify(&secret, &at(now - 299), b"body", WINDOW));
        for (header, body) in [
            (good.as_str(), &b"other"[..]),
            (&at(now - 302), b"body"),
            (&at(now + 302), b"body"),
            (&good.replace("t=", "t=1"), b"body"),
            (&good[..good.len() - 2], b"body"),
            (&good.replace("v1=", "v0="), b"body"),
            ("", b"body"),
            ("t=,v1=", b"body"),
            ("v1=00", b"body"),
        ] {
            assert!(!verify(&secret, header, body, WINDOW), "{header}");
        }
        let other = Secret::new("ffffffffffffffffffffffffffffffff");
        assert!(!verify(&other, &good, b"body", WINDOW));
        assert_eq!(format!("{signer:?}"), "Signer(***)");
    }
}
