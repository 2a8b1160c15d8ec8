//! Keys that tokens are signed with: secrets and their rotation, public keys from PEM, key sets from JWKS.

use std::{fs, io::Read as _, path::Path, time::SystemTime};

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use serde::Deserialize;

use crate::{
    auth::{error::TokenError, settings::Instant},
    failure::{Exit, Failure},
    setting::Secret,
};

/// The shortest secret, in bytes.
pub(crate) const MIN_SECRET: usize = 32;
/// The longest key or set of keys, in bytes.
pub(crate) const MAX_KEY_SET: usize = 256 * 1024;
/// Most keys in a set.
pub(crate) const MAX_KEYS: usize = 100;

/// Secrets that everybody tries first, and what they are often made longer with.
const WEAK: &[&str] = &[
    "hotgo123",
    "hotgo",
    "secret",
    "password",
    "passwort",
    "changeme",
    "change-me",
    "change_me",
    "default",
    "example",
    "test",
    "your-256-bit-secret",
    "your_jwt_secret",
    "mysecret",
    "jwtsecret",
    "jwt-secret",
    "jwt_secret",
    "supersecret",
    "super-secret",
    "admin",
    "root",
    "antiphon",
    "qwerty",
    "0123456789",
    "1234567890",
    "123456",
    "abcdefghijklmnopqrstuvwxyz",
    "abcdef",
    "bolt-token",
    "key",
];

/// The key of an HMAC algorithm, and for some time the one before it.
pub(crate) struct Hmac {
    current: DecodingKey,
    previous: Option<(DecodingKey, SystemTime)>,
}

impl Hmac {
    /// # Errors
    ///
    /// A secret can be guessed.
    pub(crate) fn new(
        current: &Secret,
        previous: Option<(&Secret, &Instant)>,
    ) -> Result<Self, Failure> {
        strong(current, "auth.secret")?;
        if let Some((secret, _)) = previous {
            strong(secret, "auth.previous_secret")?;
        }
        let key = |secret: &Secret| DecodingKey::from_secret(secret.expose().as_bytes());
        Ok(Self {
            current: key(current),
            previous: previous.map(|(secret, until)| (key(secret), until.at)),
        })
    }

    /// The keys that count now, the newest first.
    pub(crate) fn at(&self, now: SystemTime) -> impl Iterator<Item = &DecodingKey> {
        let previous = self.previous.as_ref().filter(|(_, until)| now < *until);
        std::iter::once(&self.current).chain(previous.map(|(key, _)| key))
    }
}

/// Whether a secret cannot be guessed, as far as one can see.
///
/// # Errors
///
/// It can; the message does not repeat it.
pub(crate) fn strong(secret: &Secret, name: &str) -> Result<(), Failure> {
    match weakness(secret) {
        None => Ok(()),
        Some(what) => Err(Failure::new(
            Exit::Failure,
            format!("{name} {what}: whoever guesses it can be every user"),
            "make one with 'antiphon token secret'",
        )),
    }
}

/// What is wrong with a secret.
pub(crate) fn weakness(secret: &Secret) -> Option<&'static str> {
    let text = secret.expose();
    // A known secret that is repeated or filled up with one character is as weak as the secret.
    let lower = text.to_ascii_lowercase();
    let mut bytes: Vec<u8> = lower.bytes().collect();
    bytes.sort_unstable();
    bytes.dedup();
    let repeats = (1..=text.len() / 2).any(|length| {
        text.as_bytes()
            .chunks(length)
            .all(|part| text.as_bytes().starts_with(part))
    });
    let known = WEAK.iter().any(|known| {
        let mut left = lower.replace(known, "").into_bytes();
        left.sort_unstable();
        left.dedup();
        lower.contains(known) && left.len() <= 3
    });
    if text.trim().is_empty() {
        Some("is empty")
    } else if known || repeats || bytes.len() < 8 {
        Some("is a well-known or repetitive text")
    } else if text.len() < MIN_SECRET {
        Some("is shorter than 32 bytes")
    } else {
        None
    }
}

/// A secret from a file, without the white space at its end.
///
/// # Errors
///
/// The file cannot be read, is too long, or is no text.
pub(crate) fn secret_file(path: &Path) -> Result<Secret, Failure> {
    let bytes = read(path)?;
    let text = str::from_utf8(&bytes).map_err(|_| {
        Failure::new(
            Exit::Failure,
            format!("{} is no text", path.display()),
            "write the secret as text, such as 'antiphon token secret' prints it",
        )
    })?;
    Ok(Secret::new(text.trim_end()))
}

/// A file of at most [`MAX_KEY_SET`].
///
/// # Errors
///
/// It cannot be read, or is longer.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_KEY_SET as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| Failure::file(path, &error))?;
    if bytes.len() > MAX_KEY_SET {
        return Err(Failure::new(
            Exit::Failure,
            format!("{} is longer than 256 KiB", path.display()),
            "name a file with keys",
        ));
    }
    Ok(bytes)
}

/// The public key of a PEM file.
///
/// # Errors
///
/// There is none, or it is none of this algorithm.
pub(crate) fn public_pem(path: &Path, algorithm: Algorithm) -> Result<DecodingKey, Failure> {
    let der = public_der(path)?;
    let wrong = || {
        Failure::new(
            Exit::Failure,
            format!("the key in {} is none of {algorithm:?}", path.display()),
            "name the algorithm of the key; RSA needs at least 2048 bits",
        )
    };
    let kind = verification(algorithm).ok_or_else(wrong)?;
    ParsedPublicKey::new(kind, &der).map_err(|_| wrong())?;
    Ok(match algorithm.family() {
        AlgorithmFamily::Ec => DecodingKey::from_ec_der(&der),
        AlgorithmFamily::Ed => DecodingKey::from_ed_der(&der),
        _ => DecodingKey::from_rsa_der(&der),
    })
}

/// The algorithm that one would sign with for this public key, where only the key is known.
///
/// # Errors
///
/// The file has no public key.
pub(crate) fn algorithm_of(path: &Path) -> Result<Algorithm, Failure> {
    let der = public_der(path)?;
    [
        Algorithm::EdDSA,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::RS256,
    ]
    .into_iter()
    .find(|algorithm| {
        verification(*algorithm).is_some_and(|kind| ParsedPublicKey::new(kind, &der).is_ok())
    })
    .ok_or_else(|| not_a_public_key(path))
}

fn public_der(path: &Path) -> Result<Vec<u8>, Failure> {
    let pem = read(path)?;
    let der = SubjectPublicKeyInfoDer::from_pem_slice(&pem).map_err(|_| not_a_public_key(path))?;
    Ok(der.as_ref().to_vec())
}

fn not_a_public_key(path: &Path) -> Failure {
    Failure::new(
        Exit::Failure,
        format!("{} has no public key that can be used", path.display()),
        "name a PEM file with BEGIN PUBLIC KEY: 'openssl pkey -in private.pem -pubout' makes it",
    )
}

fn verification(algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDSA => &signature::ED25519,
        _ => return None,
    })
}

/// Public keys by their `kid`.
#[derive(Default)]
pub(crate) struct KeySet(Vec<(Option<String>, DecodingKey)>);

impl KeySet {
    /// Reads a JWKS. Keys of other algorithms, for other uses, and secrets in it are passed over.
    ///
    /// # Errors
    ///
    /// It is no JWKS, or beyond a bound.
    pub(crate) fn parse(json: &[u8], algorithm: Algorithm) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        if json.len() > MAX_KEY_SET {
            return Err("longer than 256 KiB".to_owned());
        }
        let set: Set = serde_json::from_slice(json).map_err(|error| {
            format!(
                "no JSON Web Key Set (line {}, column {})",
                error.line(),
                error.column()
            )
        })?;
        if set.keys.len() > MAX_KEYS {
            return Err(format!("more than {MAX_KEYS} keys"));
        }
        let keys = set
            .keys
            .into_iter()
            .filter_map(|key| serde_json::from_value::<Jwk>(key).ok())
            .filter(|key| fits(key, algorithm))
            .filter_map(|key| Some((key.common.key_id.clone(), DecodingKey::from_jwk(&key).ok()?)))
            .collect();
        Ok(Self(keys))
    }

    /// The key of a token: by its `kid`, or the only one where it names none.
    pub(crate) fn find(&self, kid: Option<&str>) -> Result<&DecodingKey, TokenError> {
        match kid {
            Some(kid) => self
                .0
                .iter()
                .find(|(id, _)| id.as_deref() == Some(kid))
                .map(|(_, key)| key)
                .ok_or(TokenError::KeyUnknown),
            None => match &self.0[..] {
                [(_, key)] => Ok(key),
                _ => Err(TokenError::KeyUnknown),
            },
        }
    }

    /// How many keys can be used.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let kind = match (&key.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), _) => algorithm.family() == AlgorithmFamily::Rsa,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => {
            key.curve == EllipticCurve::P256
        }
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES384) => {
            key.curve == EllipticCurve::P384
        }
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => {
            key.curve == EllipticCurve::Ed25519
        }
        // A secret is never taken from a set that may be public.
        _ => false,
    };
    let common = &key.common;
    kind && common
        .key_algorithm
        .is_none_or(|named| format!("{named:?}") == format!("{algorithm:?}"))
        && common
            .public_key_use
            .as_ref()
            .is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
        && common
            .key_operations
            .as_ref()
            .is_none_or(|all| all.contains(&KeyOperations::Verify))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_that_can_be_guessed_are_refused() {
        for (secret, accepted) in [
            ("", false),
            (" ", false),
            ("hotgo123", false),
            ("secret", false),
            ("hotgo123hotgo123hotgo123hotgo123", false),
            ("hotgo123hotgo123hotgo123hotgo123!!", false),
            ("SecretSecretSecretSecretSecretSecret", false),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("abababababababababababababababababababab", false),
            ("01234567890123456789012345678901234567", false),
            ("changemechangemechangemechangeme", false),
            ("x8Hq2LmZ0rTn5VbY", false),
            ("x8Hq2LmZ0rTn5VbYx8Hq2LmZ0rTn5VbY", false),
            ("x8Hq2LmZ0rTn5VbYc3Kd7PwS1uJf4GaE", true),
            ("0f6c0d0c5b1d4f0e9b7a3c2d1e8f7a6b", true),
            ("correct horse battery staple and a cow", true),
        ] {
            let found = strong(&Secret::new(secret), "auth.secret");
            assert_eq!(found.is_ok(), accepted, "{secret}");
            if let Err(failure) = found
                && secret.len() > 7
            {
                assert!(!format!("{failure:?}").contains(secret), "{secret}");
            }
        }
        for _ in 0..100 {
            assert!(strong(&crate::auth::secret::random(32).unwrap(), "x").is_ok());
        }
    }

    #[test]
    fn a_set_gives_only_keys_that_fit() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let key = |more: &str| format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"{more}}}"#);
        for (json, expected) in [
            (format!(r#"{{"keys":[{}]}}"#, key("")), Some(1)),
            (
                format!(
                    r#"{{"keys":[{},{}]}}"#,
                    key(r#","kid":"a""#),
                    key(r#","kid":"b","use":"enc""#)
                ),
                Some(1),
            ),
            (
                format!(r#"{{"keys":[{}]}}"#, key(r#","alg":"RS256""#)),
                Some(0),
            ),
            (
                format!(r#"{{"keys":[{}]}}"#, key(r#","key_ops":["sign"]"#)),
                Some(0),
            ),
            (
                r#"{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"new"},7,null]}"#.to_owned(),
                Some(0),
            ),
            (
                r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}"#.to_owned(),
                Some(0),
            ),
            (r#"{"keys":[]}"#.to_owned(), Some(0)),
            (r#"{"keys":{}}"#.to_owned(), None),
            ("<html>".to_owned(), None),
            (
                format!(r#"{{"keys":[{}]}}"#, vec!["0"; MAX_KEYS + 1].join(",")),
                None,
            ),
            (" ".repeat(MAX_KEY_SET + 1), None),
        ] {
            let found = KeySet::parse(json.as_bytes(), Algorithm::EdDSA);
            let start: String = json.chars().take(80).collect();
            assert_eq!(found.ok().map(|set| set.len()), expected, "{start}");
        }
    }
}
