//! Tokens that were forged in every known way, and what is said about each.

use std::{fs, path::PathBuf, time::Duration};

use jsonwebtoken::{EncodingKey, jwk::Jwk};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData as _};
use serde_json::json;

use super::*;
use crate::auth::sign::SigningKey;

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "canary-x8Hq2LmZ0rTn5VbYc3Kd7PwS1";
const OTHER: &str = "other-0f6c0d0c5b1d4f0e9b7a3c2d1e8f";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

/// A file that ends with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let unique = crate::auth::secret::random(8).unwrap();
        let path = std::env::temp_dir().join(format!("antiphon-{}-{name}", unique.expose()));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn part(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A token with any header and any claims, signed for real.
fn signed(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn hmac(header: &str, claims: &str, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    signed(header, claims, &key, Algorithm::HS256)
}

fn claims() -> String {
    json!({"sub": "7", "exp": NOW + 60}).to_string()
}

fn settings() -> AuthSettings {
    AuthSettings {
        secret: Some(Secret::new(SECRET)),
        ..AuthSettings::default()
    }
}

fn verifier(settings: &AuthSettings) -> Verifier {
    Verifier::new(settings, Arc::default(), None).unwrap()
}

async fn judge(verifier: &Verifier, token: &str) -> Result<Option<Arc<str>>, TokenError> {
    let verified = verifier.verify(token, now()).await?;
    Ok(verified.identity.user)
}

const GOOD: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// R54, R55, R56.
#[tokio::test]
async fn forged_tokens_are_refused_for_their_reason() {
    let verifier = verifier(&settings());
    let good = hmac(GOOD, &claims(), SECRET);
    assert_eq!(judge(&verifier, &good).await.unwrap().as_deref(), Some("7"));

    let (head, rest) = good.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let header = |text: &str| format!("{}.{rest}", part(text));
    for (name, token, reason) in [
        ("nothing", String::new(), "token_missing"),
        ("no signature", format!("{head}.{body}."), "token_malformed"),
        ("two parts", format!("{head}.{body}"), "token_malformed"),
        ("four parts", format!("{good}.x"), "token_malformed"),
        ("a million dots", ".".repeat(1_000_000), "token_too_long"),
        ("4 KiB of dots", ".".repeat(4_096), "token_malformed"),
        ("8 KiB", "x".repeat(8_192), "token_too_long"),
        ("a space", format!(" {good}"), "token_malformed"),
        ("a line feed", format!("{good}\n"), "token_malformed"),
        (
            "padding",
            format!("{head}.{body}.{signature}="),
            "token_malformed",
        ),
        (
            "another alphabet",
            format!("{head}.{body}.++//"),
            "token_malformed",
        ),
        (
            "another key",
            hmac(GOOD, &claims(), OTHER),
            "token_signature",
        ),
        (
            "another body",
            format!("{head}.{}.{signature}", part("{}")),
            "token_signature",
        ),
        (
            "a short signature",
            format!("{head}.{body}.AA"),
            "token_signature",
        ),
        ("none", header(r#"{"alg":"none"}"#), "token_algorithm"),
        ("None", header(r#"{"alg":"None"}"#), "token_algorithm"),
        ("nOnE", header(r#"{"alg":"nOnE"}"#), "token_algorithm"),
        ("hs256", header(r#"{"alg":"hs256"}"#), "token_algorithm"),
        ("HS512", header(r#"{"alg":"HS512"}"#), "token_algorithm"),
        ("RS256", header(r#"{"alg":"RS256"}"#), "token_algorithm"),
        ("no alg", header("{}"), "token_malformed"),
        ("alg null", header(r#"{"alg":null}"#), "token_malformed"),
        (
            "alg list",
            header(r#"{"alg":["HS256"]}"#),
            "token_malformed",
        ),
        ("header is a list", header("[]"), "token_malformed"),
        ("header is no JSON", header("{"), "token_malformed"),
        (
            "crit",
            hmac(
                r#"{"alg":"HS256","crit":["exp"],"exp":0}"#,
                &claims(),
                SECRET,
            ),
            "token_malformed",
        ),
        (
            "crit is empty",
            hmac(r#"{"alg":"HS256","crit":[]}"#, &claims(), SECRET),
            "token_malformed",
        ),
        (
            "b64",
            hmac(r#"{"alg":"HS256","b64":false}"#, &claims(), SECRET),
            "token_malformed",
        ),
        (
            "kid is a number",
            hmac(r#"{"alg":"HS256","kid":7}"#, &claims(), SECRET),
            "token_malformed",
        ),
        (
            "kid is long",
            hmac(
                &json!({"alg": "HS256", "kid": "x".repeat(257)}).to_string(),
                &claims(),
                SECRET,
            ),
            "token_malformed",
        ),
        (
            "claims are no JSON",
            hmac(GOOD, "{", SECRET),
            "token_malformed",
        ),
        (
            "claims are a list",
            hmac(GOOD, "[]", SECRET),
            "token_malformed",
        ),
        (
            "exp beyond every number",
            hmac(GOOD, r#"{"sub":"7","exp":1e400}"#, SECRET),
            "token_malformed",
        ),
        (
            "exp never",
            hmac(GOOD, r#"{"sub":"7","exp":"never"}"#, SECRET),
            "token_malformed",
        ),
        (
            "expired",
            hmac(GOOD, r#"{"sub":"7","exp":1}"#, SECRET),
            "token_expired",
        ),
        (
            "deep",
            hmac(
                GOOD,
                &format!("{}{}", "[".repeat(1_000), "]".repeat(1_000)),
                SECRET,
            ),
            "token_malformed",
        ),
    ] {
        let error = judge(&verifier, &token).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{name}: {error}");
        let said = format!("{error} {error:?} {}", error.hint());
        assert!(token.len() < 8 || !said.contains(&token), "{name}");
    }
    // What the header says about keys is never followed.
    for extra in [
        r#""kid":"../../../../dev/null""#,
        r#""kid":"' OR 1=1 --""#,
        r#""jku":"https://attacker.example/jwks""#,
        r#""x5u":"https://attacker.example/cert""#,
        r#""jwk":{"kty":"oct","k":"AAAA"}"#,
    ] {
        let header = format!(r#"{{"alg":"HS256",{extra}}}"#);
        assert!(
            judge(&verifier, &hmac(&header, &claims(), SECRET))
                .await
                .is_ok()
        );
        assert_eq!(
            judge(&verifier, &hmac(&header, &claims(), "")).await,
            Err(TokenError::Signature)
        );
    }
}

/// The public half as a JSON Web Key.
fn jwk(pair: &KeyPair, algorithm: Algorithm) -> Value {
    let spki = pair.subject_public_key_info();
    let key = match algorithm.family() {
        AlgorithmFamily::Rsa => DecodingKey::from_rsa_der(pair.der_bytes()),
        AlgorithmFamily::Ec => DecodingKey::from_ec_der(pair.der_bytes()),
        _ => {
            let x = part(&spki[spki.len() - 32..]);
            return json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        }
    };
    serde_json::to_value(Jwk::from_decoding_key(&key, Some(algorithm)).unwrap()).unwrap()
}

/// Each kind of key pair: what it signs is accepted under its own algorithm and under no other.
#[tokio::test]
async fn public_keys_verify_what_their_private_keys_sign() {
    let pairs = [
        (
            KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap(),
            &[Algorithm::RS256, Algorithm::PS384][..],
        ),
        (
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
            &[Algorithm::ES256],
        ),
        (
            KeyPair::generate_for(&PKCS_ED25519).unwrap(),
            &[Algorithm::EdDSA],
        ),
    ];
    for (pair, algorithms) in pairs {
        let pem = pair.public_key_pem();
        let file = Scratch::new("public.pem", &pem);
        let garbage = Scratch::new("garbage.pem", "no key");
        for &algorithm in algorithms {
            let private = Scratch::new("private.pem", &pair.serialize_pem());
            let key = SigningKey::pem(&private.0, Some(algorithm)).unwrap();
            let settings = AuthSettings {
                algorithm,
                public_key_file: Some(file.0.clone()),
                ..AuthSettings::default()
            };
            let from_pem = verifier(&settings);
            let header = format!(r#"{{"alg":"{algorithm:?}","kid":"k"}}"#);
            let good = key.sign(&header, &claims()).unwrap();
            let good = good.expose();
            assert!(judge(&from_pem, good).await.is_ok(), "{algorithm:?}");

            let mut jwk = jwk(&pair, algorithm);
            jwk["kid"] = json!("k");
            let set = Scratch::new("jwks.json", &json!({"keys": [jwk]}).to_string());
            let from_set = verifier(&AuthSettings {
                public_key_file: None,
                jwks_file: Some(set.0.clone()),
                ..settings.clone()
            });
            assert!(judge(&from_set, good).await.is_ok(), "{algorithm:?}");
            let unknown = format!(r#"{{"alg":"{algorithm:?}","kid":"../k"}}"#);
            let unknown = key.sign(&unknown, &claims()).unwrap();
            assert_eq!(
                judge(&from_set, unknown.expose()).await,
                Err(TokenError::KeyUnknown)
            );

            // The public key, which everybody has, taken for a secret.
            let raw = pair.der_bytes().to_vec();
            let spki = pair.subject_public_key_info();
            for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), &raw, &spki] {
                let confused = EncodingKey::from_secret(secret);
                let lie = format!(r#"{{"alg":"{algorithm:?}"}}"#);
                for (header, reason) in
                    [(GOOD, TokenError::Algorithm), (&lie, TokenError::Signature)]
                {
                    let token = signed(header, &claims(), &confused, Algorithm::HS256);
                    assert_eq!(judge(&from_pem, &token).await, Err(reason));
                }
            }
            let wrong = match algorithm {
                Algorithm::EdDSA => Algorithm::RS256,
                _ => Algorithm::EdDSA,
            };
            for settings in [
                AuthSettings {
                    algorithm: wrong,
                    ..settings.clone()
                },
                AuthSettings {
                    algorithm: Algorithm::HS256,
                    ..settings.clone()
                },
                AuthSettings {
                    secret: Some(Secret::new(SECRET)),
                    ..settings.clone()
                },
                AuthSettings {
                    jwks_file: Some(set.0.clone()),
                    ..settings.clone()
                },
                AuthSettings {
                    public_key_file: Some(garbage.0.clone()),
                    ..settings.clone()
                },
                AuthSettings {
                    public_key_file: None,
                    ..settings.clone()
                },
                AuthSettings {
                    public_key_file: None,
                    jwks_url: Some("https://issuer.example/".into()),
                    ..settings.clone()
                },
            ] {
                assert!(Verifier::new(&settings, Arc::default(), None).is_err());
            }
        }
    }
}

#[tokio::test]
async fn the_previous_secret_counts_until_its_time() {
    let settings = AuthSettings {
        secret: Some(Secret::new(SECRET)),
        previous_secret: Some(Secret::new(OTHER)),
        previous_valid_until: toml::Value::String("2027-01-15T08:00:00Z".into())
            .try_into()
            .ok(),
        ..AuthSettings::default()
    };
    let until = settings.previous_valid_until.unwrap().at;
    let verifier = verifier(&settings);
    let second = Duration::from_secs(1);
    let end = until
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let claims = json!({"sub": "7", "exp": end + 60}).to_string();
    for (secret, at, expected) in [
        (OTHER, until - second, Ok(())),
        (OTHER, until, Err(TokenError::Signature)),
        (SECRET, until - second, Ok(())),
        (SECRET, until, Ok(())),
    ] {
        let found = verifier.verify(&hmac(GOOD, &claims, secret), at).await;
        assert_eq!(found.map(drop), expected, "{secret} {at:?}");
    }
    for settings in [
        AuthSettings {
            previous_valid_until: None,
            ..settings.clone()
        },
        AuthSettings {
            previous_secret: None,
            ..settings.clone()
        },
        AuthSettings {
            previous_secret: Some(Secret::new("hotgo123")),
            ..settings.clone()
        },
    ] {
        assert!(Verifier::new(&settings, Arc::default(), None).is_err());
    }
}

#[tokio::test]
async fn a_secret_may_stand_in_a_file() {
    let file = Scratch::new("secret", &format!("{SECRET}\n"));
    let from_file = AuthSettings {
        secret_file: Some(file.0.clone()),
        ..AuthSettings::default()
    };
    let token = hmac(GOOD, &claims(), SECRET);
    assert!(judge(&verifier(&from_file), &token).await.is_ok());
    let both = AuthSettings {
        secret: Some(Secret::new(SECRET)),
        ..from_file
    };
    let error = Verifier::new(&both, Arc::default(), None).unwrap_err();
    assert!(!format!("{error:?}").contains("canary"));
}

#[tokio::test]
async fn nothing_shows_a_token_or_a_key() {
    let verifier = verifier(&settings());
    let token = hmac(GOOD, &claims(), SECRET);
    let verified = verifier.verify(&token, now()).await.unwrap();
    let shown = format!("{verifier:?} {verified:?} {:?}", settings());
    for canary in [&token[..], SECRET, token.rsplit('.').next().unwrap()] {
        assert!(!shown.contains(canary), "{shown}");
    }
}
