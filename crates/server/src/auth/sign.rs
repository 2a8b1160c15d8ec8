//! Signing tokens: for `antiphon token new`, and for tests.

use std::{fmt, path::Path};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaEncoding, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, crypto};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};

use crate::{
    auth::keys,
    failure::{Exit, Failure},
    setting::Secret,
};

/// A key that signs by one algorithm.
pub(crate) struct SigningKey {
    algorithm: Algorithm,
    key: Key,
}

enum Key {
    Plain(EncodingKey),
    // The JWT library reads RSA keys in PKCS#1 only, and most files are PKCS#8.
    Rsa(Box<RsaKeyPair>),
}

impl SigningKey {
    /// The key of an HMAC algorithm.
    ///
    /// # Errors
    ///
    /// It can be guessed, or the algorithm has no secret.
    pub(crate) fn secret(secret: &Secret, algorithm: Algorithm) -> Result<Self, Failure> {
        if algorithm.family() != AlgorithmFamily::Hmac {
            return Err(Failure::new(
                Exit::Usage,
                format!("{algorithm:?} signs with a private key, not with a secret"),
                "name its file with --key",
            ));
        }
        keys::strong(secret, "the secret")?;
        Ok(Self {
            algorithm,
            key: Key::Plain(EncodingKey::from_secret(secret.expose().as_bytes())),
        })
    }

    /// A private key from a PEM file; the algorithm is the key's own where none is named.
    ///
    /// # Errors
    ///
    /// The file has no private key, or none of this algorithm.
    pub(crate) fn pem(path: &Path, algorithm: Option<Algorithm>) -> Result<Self, Failure> {
        let wrong = |what: &str| {
            Failure::new(
                Exit::Failure,
                format!("{} {what}", path.display()),
                "name a PEM file with BEGIN PRIVATE KEY (PKCS#8); 'antiphon token keygen' makes one",
            )
        };
        let pem = keys::read(path)?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| wrong("has no private key"))?;
        let der = key.secret_der();
        if let Ok(pair) = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)) {
            let algorithm = algorithm.unwrap_or(Algorithm::RS256);
            padding(algorithm).ok_or_else(|| wrong("has an RSA key, not one of that algorithm"))?;
            return Ok(Self {
                algorithm,
                key: Key::Rsa(Box::new(pair)),
            });
        }
        let (own, key) = if Ed25519KeyPair::from_pkcs8(der).is_ok() {
            (Algorithm::EdDSA, EncodingKey::from_ed_der(der))
        } else if EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, der).is_ok()
        {
            (Algorithm::ES256, EncodingKey::from_ec_der(der))
        } else if EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, der).is_ok()
        {
            (Algorithm::ES384, EncodingKey::from_ec_der(der))
        } else {
            return Err(wrong("has no private key that can be used"));
        };
        if algorithm.is_some_and(|wanted| wanted != own) {
            return Err(wrong(&format!("has a key of {own:?}")));
        }
        Ok(Self {
            algorithm: own,
            key: Key::Plain(key),
        })
    }

    /// The token with these claims; `None` where the key cannot sign.
    pub(crate) fn token(&self, claims: &serde_json::Value) -> Option<Secret> {
        let header = format!(r#"{{"alg":"{:?}","typ":"JWT"}}"#, self.algorithm);
        self.sign(&header, &claims.to_string())
    }

    /// A token with any header.
    pub(crate) fn sign(&self, header: &str, claims: &str) -> Option<Secret> {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = match &self.key {
            Key::Plain(key) => crypto::sign(message.as_bytes(), key, self.algorithm).ok()?,
            Key::Rsa(pair) => {
                let mut bytes = vec![0; pair.public_modulus_len()];
                pair.sign(
                    padding(self.algorithm)?,
                    &SystemRandom::new(),
                    message.as_bytes(),
                    &mut bytes,
                )
                .ok()?;
                URL_SAFE_NO_PAD.encode(&bytes)
            }
        };
        Some(Secret::new(format!("{message}.{signature}")))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.algorithm)
    }
}

fn padding(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    Some(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_SHA512,
        _ => return None,
    })
}
