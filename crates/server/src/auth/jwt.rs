//! Judging a JWT: its size, its form, its algorithm, its key, its signature, its claims, in this order.

use std::{fmt, sync::Arc, time::SystemTime};

use antiphon_hub::{identity::Identity, permission::Permissions};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, crypto};
use serde_json::{Map, Value};

use crate::{
    auth::{
        claims::{Claims, Rules},
        error::TokenError,
        jwks::{Fetch, Remote},
        keys::{self, Hmac, KeySet},
        settings::{self, AuthSettings},
    },
    failure::{Exit, Failure},
    setting::Secret,
};

/// The longest `kid`, in bytes.
const MAX_KID: usize = 256;

/// Judges tokens by one algorithm, the keys of a configuration, and its rules for claims.
pub(crate) struct Verifier {
    algorithm: Algorithm,
    /// As it stands in a header.
    name: String,
    keys: Keys,
    rules: Rules,
    max_size: usize,
}

enum Keys {
    Hmac(Hmac),
    One(DecodingKey),
    Set(KeySet),
    Remote(Remote),
}

/// A token that is genuine and counts now.
pub(crate) struct Verified {
    /// Who it speaks of.
    pub(crate) identity: Identity,
    /// All that it says.
    pub(crate) claims: Claims,
}

impl Verifier {
    /// A verifier with the keys that the settings name; keys at an address are fetched when the first token comes.
    ///
    /// # Errors
    ///
    /// There is no key, more than one kind, one that does not fit the algorithm, or one that can be guessed.
    pub(crate) fn new(
        settings: &AuthSettings,
        permissions: Arc<Permissions>,
        fetch: Option<Arc<dyn Fetch>>,
    ) -> Result<Self, Failure> {
        let offset = &settings.sessions.utc_offset;
        if settings::point(&format!("2000-01-01T00:00:00{offset}")).is_none() || offset.is_empty() {
            return Err(Failure::new(
                Exit::Failure,
                "auth.sessions.utc_offset is no offset",
                "write it as +08:00",
            ));
        }
        Ok(Self {
            algorithm: settings.algorithm,
            name: format!("{:?}", settings.algorithm),
            keys: keys_of(settings, fetch)?,
            rules: Rules::new(settings, permissions),
            max_size: settings.max_token_size,
        })
    }

    /// Who the token speaks of.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks.
    ///
    /// # Cancel safety
    ///
    /// Nothing is kept between calls but keys.
    pub(crate) async fn verify(
        &self,
        token: &str,
        now: SystemTime,
    ) -> Result<Verified, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if token.len() > self.max_size {
            return Err(TokenError::TooLong);
        }
        // At most four, so that a million dots cost no more than three.
        let mut parts = token.splitn(4, '.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed("not three parts with dots between"));
        };
        let signed = &token[..header.len() + 1 + payload.len()];
        let kid = self.header(header)?;
        let decoded = URL_SAFE_NO_PAD
            .decode(payload)
            .map_err(|_| TokenError::Malformed("the claims are no base64url"))?;
        if signature.is_empty() || URL_SAFE_NO_PAD.decode(signature).is_err() {
            return Err(TokenError::Malformed("the signature is no base64url"));
        }
        let genuine = |key: &DecodingKey| {
            crypto::verify(signature, signed.as_bytes(), key, self.algorithm).unwrap_or(false)
        };
        let good = match &self.keys {
            Keys::Hmac(hmac) => hmac.at(now).any(genuine),
            Keys::One(key) => genuine(key),
            Keys::Set(keys) => genuine(keys.find(kid.as_deref())?),
            Keys::Remote(remote) => genuine(&remote.find(kid.as_deref()).await?),
        };
        if !good {
            return Err(TokenError::Signature);
        }
        let claims: Claims = serde_json::from_slice(&decoded)
            .map_err(|_| TokenError::Malformed("the claims are no JSON object"))?;
        let identity = self.rules.identity(&claims, now)?;
        Ok(Verified { identity, claims })
    }

    /// Checks the header and gives the `kid`: the only thing that it may say about the key.
    fn header(&self, part: &str) -> Result<Option<String>, TokenError> {
        let decoded = URL_SAFE_NO_PAD
            .decode(part)
            .map_err(|_| TokenError::Malformed("the header is no base64url"))?;
        let header: Map<String, Value> = serde_json::from_slice(&decoded)
            .map_err(|_| TokenError::Malformed("the header is no JSON object"))?;
        match header.get("alg") {
            Some(Value::String(name)) if *name == self.name => {}
            Some(Value::String(_)) => return Err(TokenError::Algorithm),
            _ => return Err(TokenError::Malformed("alg is no text")),
        }
        // RFC 7515 section 4.1.11: extensions that are not understood make the token invalid, and we know none.
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(TokenError::Malformed("the header has crit"));
        }
        match header.get("kid") {
            None => Ok(None),
            Some(Value::String(kid)) if kid.len() <= MAX_KID => Ok(Some(kid.clone())),
            Some(_) => Err(TokenError::Malformed("kid is no text")),
        }
    }
}

fn keys_of(settings: &AuthSettings, fetch: Option<Arc<dyn Fetch>>) -> Result<Keys, Failure> {
    let wrong = |what: &str, hint: &str| Failure::new(Exit::Failure, what, hint);
    let algorithm = settings.algorithm;
    let has_secret = settings.secret.is_some() || settings.secret_file.is_some();
    let public = [
        settings.public_key_file.is_some(),
        settings.jwks_file.is_some(),
        settings.jwks_url.is_some(),
    ];
    let count = public.into_iter().filter(|set| *set).count();
    if algorithm.family() == AlgorithmFamily::Hmac {
        if count > 0 {
            return Err(wrong(
                &format!("auth.algorithm is {algorithm:?}, and that has no public key"),
                "name the algorithm of the key, such as RS256, ES256 or EdDSA",
            ));
        }
        let secret = one_secret(
            settings.secret.as_ref(),
            settings.secret_file.as_deref(),
            "auth.secret",
        )?
        .ok_or_else(|| {
            wrong(
                &format!("{algorithm:?} needs a secret"),
                "set ANTIPHON_AUTH_SECRET or auth.secret_file; 'antiphon token secret' makes one",
            )
        })?;
        let previous = one_secret(
            settings.previous_secret.as_ref(),
            settings.previous_secret_file.as_deref(),
            "auth.previous_secret",
        )?;
        let previous = match (&previous, &settings.previous_valid_until) {
            (Some(secret), Some(until)) => Some((secret, until)),
            (None, None) => None,
            _ => {
                return Err(wrong(
                    "auth.previous_secret and auth.previous_valid_until belong together",
                    "set both, or none",
                ));
            }
        };
        return Hmac::new(&secret, previous).map(Keys::Hmac);
    }
    if has_secret || settings.previous_secret.is_some() || settings.previous_secret_file.is_some() {
        return Err(wrong(
            &format!("auth.algorithm is {algorithm:?}, and that has no secret"),
            "remove the secret, or choose HS256",
        ));
    }
    if count != 1 {
        return Err(wrong(
            &format!("{algorithm:?} needs one source of public keys, not {count}"),
            "set one of auth.public_key_file, auth.jwks_file and auth.jwks_url",
        ));
    }
    if let Some(path) = &settings.public_key_file {
        return keys::public_pem(path, algorithm).map(Keys::One);
    }
    if let Some(path) = &settings.jwks_file {
        let set = KeySet::parse(&keys::read(path)?, algorithm).map_err(|error| {
            wrong(
                &format!("{} is no use: {error}", path.display()),
                "name a file with a JSON Web Key Set: {\"keys\": [...]}",
            )
        })?;
        if set.len() == 0 {
            return Err(wrong(
                &format!("{} has no key for {algorithm:?}", path.display()),
                "name the algorithm of the keys",
            ));
        }
        return Ok(Keys::Set(set));
    }
    let url = settings.jwks_url.as_deref().unwrap_or_default();
    let fetch = fetch.ok_or_else(|| {
        wrong(
            "auth.jwks_url cannot be used here",
            "use auth.jwks_file or auth.public_key_file",
        )
    })?;
    Remote::new(url, settings, fetch).map(Keys::Remote)
}

/// A secret that is written in one place.
fn one_secret(
    text: Option<&Secret>,
    file: Option<&std::path::Path>,
    name: &str,
) -> Result<Option<Secret>, Failure> {
    match (text, file) {
        (Some(_), Some(_)) => Err(Failure::new(
            Exit::Failure,
            format!("{name} and {name}_file are both set"),
            "keep one of them",
        )),
        (Some(secret), None) => Ok(Some(secret.clone())),
        (None, Some(path)) => keys::secret_file(path).map(Some),
        (None, None) => Ok(None),
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
