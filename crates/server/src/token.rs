//! `antiphon token`: tokens, secrets and keys from the terminal.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use antiphon_hub::permission::Permissions;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use serde_json::{Map, Value, json};

use crate::{
    auth::{
        error::TokenError,
        jwt::{Verified, Verifier},
        keys, secret,
        settings::{AuthSettings, Mode, SECRET_VARIABLE},
        sign::SigningKey,
    },
    cli::token::{CheckArgs, KeygenArgs, NewArgs, TokenArgs, TokenCommand},
    config::{
        command,
        load::{self, Sources},
    },
    failure::{Exit, Failure, plain},
    listen,
    setting::Secret,
    value,
};

/// The longest token that is read from stdin: longer than any that is accepted, so that its length can be told.
const MAX_INPUT: u64 = 64 * 1024;

/// Does what was asked.
///
/// # Errors
///
/// A key cannot be used, or the token is not valid.
pub(crate) fn run(args: &TokenArgs) -> Result<(), Failure> {
    match &args.command {
        TokenCommand::New(args) => new(args),
        TokenCommand::Check(args) => check(args),
        TokenCommand::Secret => print(random(32)?.expose()),
        TokenCommand::Apikey => apikey(),
        TokenCommand::Keygen(args) => keygen(args),
    }
}

fn apikey() -> Result<(), Failure> {
    let key = random(32)?;
    let hash = value::to_hex(&secret::digest(&key));
    print(&format!("key = \"{}\"\nhash = \"{hash}\"", key.expose()))
}

fn new(args: &NewArgs) -> Result<(), Failure> {
    let key = match &args.key {
        Some(path) => SigningKey::pem(path, args.algorithm)?,
        None => {
            let (secret, algorithm) = match &args.config {
                Some(path) => configured(path)?,
                None => (
                    secret_of(args.secret_file.as_deref())?,
                    args.algorithm.unwrap_or(Algorithm::HS256),
                ),
            };
            SigningKey::secret(&secret, algorithm)?
        }
    };
    let now = seconds(SystemTime::now());
    let mut claims = Map::new();
    claims.insert("sub".to_owned(), json!(args.user));
    for (name, value) in [
        ("iss", &args.issuer),
        ("aud", &args.audience),
        ("app", &args.app),
        ("platform", &args.platform),
    ] {
        if let Some(value) = value {
            claims.insert(name.to_owned(), json!(value));
        }
    }
    claims.insert("iat".to_owned(), json!(now));
    claims.insert("exp".to_owned(), json!(now + args.ttl.as_secs()));
    claims.insert("jti".to_owned(), json!(random(16)?.expose()));
    if let Some(info) = &args.info {
        claims.insert("info".to_owned(), info.clone());
    }
    if !args.tags.is_empty() {
        claims.insert("tags".to_owned(), json!(args.tags));
    }
    if !args.permissions.is_empty() {
        let mut permissions = Map::new();
        for (kind, pattern) in &args.permissions {
            if let Value::Array(list) = permissions.entry(kind).or_insert_with(|| json!([])) {
                list.push(json!(pattern));
            }
        }
        claims.insert("permissions".to_owned(), Value::Object(permissions));
    }
    let token = key.token(&Value::Object(claims)).ok_or_else(|| {
        Failure::new(
            Exit::Failure,
            "the key cannot sign",
            "make one with 'antiphon token keygen'",
        )
    })?;
    print(token.expose())
}

fn check(args: &CheckArgs) -> Result<(), Failure> {
    let algorithm = match (&args.key, args.algorithm) {
        (_, Some(algorithm)) => algorithm,
        (Some(path), None) => keys::algorithm_of(path)?,
        (None, None) => Algorithm::HS256,
    };
    let mut settings = AuthSettings {
        mode: Mode::Jwt,
        algorithm,
        audience: args.audience.clone(),
        issuer: args.issuer.clone(),
        leeway: args.leeway,
        public_key_file: args.key.clone(),
        jwks_file: args.jwks.clone(),
        ..AuthSettings::default()
    };
    if algorithm.family() == AlgorithmFamily::Hmac && args.key.is_none() && args.jwks.is_none() {
        settings.secret = Some(secret_of(args.secret_file.as_deref())?);
    }
    let verifier = Verifier::new(&settings, Arc::<Permissions>::default(), None)?;
    let token = if args.token == "-" {
        let mut text = String::new();
        io::stdin()
            .take(MAX_INPUT)
            .read_to_string(&mut text)
            .map_err(|error| {
                Failure::new(
                    Exit::Failure,
                    format!("cannot read a token from stdin: {}", plain(&error)),
                    "give one line of text",
                )
            })?;
        Secret::new(text.trim())
    } else {
        Secret::new(args.token.trim())
    };
    let now = SystemTime::now();
    let verified = listen::runtime()?.block_on(verifier.verify(token.expose(), now));
    match verified {
        Ok(verified) if args.json => {
            print(&json!({"valid": true, "claims": verified.claims}).to_string())
        }
        Ok(verified) => print(&told(&verified, now)),
        Err(error) => {
            if args.json {
                let reason = error.reason();
                print(
                    &json!({"valid": false, "reason": reason, "message": error.to_string()})
                        .to_string(),
                )?;
            }
            Err(refused(error))
        }
    }
}

fn refused(error: TokenError) -> Failure {
    let hint = match error {
        TokenError::Missing => "give it as 'antiphon token check -' on stdin",
        TokenError::Algorithm => "name it with --algorithm",
        TokenError::Audience => "check the claim aud and --audience",
        TokenError::Issuer => "check the claim iss and --issuer",
        TokenError::KeyUnknown => "name the set that has its key with --jwks",
        TokenError::TooLong => "put less into it: servers take 4 KiB",
        error => error.hint(),
    };
    Failure::new(Exit::Refused, error.to_string(), hint)
}

/// A valid token for people.
fn told(verified: &Verified, now: SystemTime) -> String {
    let identity = &verified.identity;
    let mut lines = vec!["valid".to_owned()];
    if let Some(user) = &identity.user {
        lines.push(format!("user      {}", value::printable(user)));
    }
    if let Some(end) = identity.expires_at {
        let left = end.duration_since(now).unwrap_or_default();
        lines.push(format!("ends in   {}", span(left)));
    }
    for (name, claim) in &verified.claims {
        if name != "sub" {
            let text = claim.to_string();
            lines.push(format!(
                "{:9} {}",
                value::printable(name),
                value::printable(&text)
            ));
        }
    }
    lines.join("\n")
}

fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

fn keygen(args: &KeygenArgs) -> Result<(), Failure> {
    let kind = match args.algorithm {
        Algorithm::EdDSA => &PKCS_ED25519,
        Algorithm::ES256 => &PKCS_ECDSA_P256_SHA256,
        Algorithm::ES384 => &PKCS_ECDSA_P384_SHA384,
        Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => &PKCS_RSA_SHA256,
        Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512 => &PKCS_RSA_SHA256,
        other => {
            return Err(Failure::new(
                Exit::Usage,
                format!("{other:?} has a secret, not a pair of keys"),
                "make it with 'antiphon token secret'",
            ));
        }
    };
    let pair = KeyPair::generate_for(kind)
        .map_err(|_| Failure::new(Exit::Failure, "cannot make a key", "try again"))?;
    fs::create_dir_all(&args.out).map_err(|error| Failure::file(&args.out, &error))?;
    write(&args.out.join("private.pem"), &pair.serialize_pem(), true)?;
    write(&args.out.join("public.pem"), &pair.public_key_pem(), false)
}

/// Writes a new file; a private one for the owner alone.
fn write(path: &Path, text: &str, private: bool) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if private { 0o600 } else { 0o644 });
    #[cfg(not(unix))]
    let _ = private;
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::new(
                Exit::Failure,
                format!("{} is there already", path.display()),
                "name another directory with --out",
            ),
            _ => Failure::file(path, &error),
        })
}

/// The secret from a file or from the environment.
fn secret_of(file: Option<&Path>) -> Result<Secret, Failure> {
    if let Some(path) = file {
        return keys::secret_file(path);
    }
    match std::env::var(SECRET_VARIABLE) {
        Ok(text) if !text.trim().is_empty() => Ok(Secret::new(text.trim_end())),
        _ => Err(Failure::new(
            Exit::Failure,
            "there is no key",
            "set ANTIPHON_AUTH_SECRET, or name a file with --secret-file or --key",
        )),
    }
}

/// The secret and the algorithm of a server's configuration.
fn configured(path: &Path) -> Result<(Secret, Algorithm), Failure> {
    let sources = Sources::of_process(Some(path.to_owned()));
    let auth = load::load(&sources)
        .map_err(|problems| command::refused(&problems))?
        .config
        .auth;
    match (auth.mode, auth.secret) {
        (Mode::Jwt, Some(secret)) => Ok((secret, auth.algorithm)),
        (Mode::Jwt, None) => Err(Failure::new(
            Exit::Failure,
            format!("{} has public keys and no secret", path.display()),
            "sign with --key",
        )),
        (Mode::None | Mode::Hotgo, _) => Err(Failure::new(
            Exit::Failure,
            format!(
                "the server of {} takes no tokens of this kind",
                path.display()
            ),
            "set auth.mode to \"jwt\"",
        )),
    }
}

fn random(bytes: usize) -> Result<Secret, Failure> {
    secret::random(bytes).ok_or_else(|| {
        Failure::new(
            Exit::Failure,
            "the system gives no random bytes",
            "try again",
        )
    })
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// One text on stdout; a reader that hung up is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::Failure,
            format!("cannot write to stdout: {}", plain(&error)),
            "check where it goes",
        )),
        _ => Ok(()),
    }
}
