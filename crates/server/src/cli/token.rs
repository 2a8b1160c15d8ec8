//! Options of `token`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use jsonwebtoken::Algorithm;

use crate::value;

const EXAMPLES: &str = "\
Examples:
  export ANTIPHON_AUTH_SECRET=$(antiphon token secret)
  antiphon token new --user 42 --ttl 10m
  antiphon token new --user 42 | antiphon token check -
  antiphon token keygen --out keys && antiphon token new --user 42 --key keys/private.pem";

const NEW_EXAMPLES: &str = "\
Examples:
  antiphon token new --user 42                          an hour, signed with $ANTIPHON_AUTH_SECRET
  antiphon token new --user 42 --config antiphon.toml   signed with the secret of the server that reads this file
  antiphon token new --user 42 --tag news --permission join='room:*' --permission publish='room:*'
  antiphon token new --user 42 --info '{\"name\":\"Ann\"}' --secret-file secret.txt
  antiphon token new --user 42 --key private.pem        EdDSA, ES256 or RS256, by the key

The token alone is on stdout. A secret is never an argument: others on the machine can read arguments.";

const CHECK_EXAMPLES: &str = "\
Examples:
  antiphon token check - < token.txt
  antiphon token check --json --key public.pem - < token.txt
  antiphon token check --jwks jwks.json --algorithm RS256 --audience chat - < token.txt

Exit codes:
    0  valid
    1  failure, such as a file that cannot be read
    2  usage
    3  not valid; stderr says why, --json also on stdout";

/// `antiphon token`
#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Print a token for a user
    New(Box<NewArgs>),
    /// Say whether a token is valid, and what it says
    Check(Box<CheckArgs>),
    /// Print a new secret of 32 random bytes
    #[command(
        after_help = "Examples:\n  export ANTIPHON_AUTH_SECRET=$(antiphon token secret)\n  (umask 077 && antiphon token secret > secret.txt)"
    )]
    Secret,
    /// Print a new key of the HTTP API, and its hash for the configuration
    #[command(
        after_help = "Example:\n  antiphon token apikey\n\nThe backend sends the key as X-API-Key. The configuration has the hash alone, in [[api.keys]]."
    )]
    Apikey,
    /// Write a new pair of keys: private.pem and public.pem
    #[command(
        after_help = "Example:\n  antiphon token keygen --algorithm ES256 --out keys\n\nThe backend signs with private.pem; the server needs public.pem alone (auth.public_key_file)."
    )]
    Keygen(KeygenArgs),
}

/// `antiphon token new`
#[derive(Debug, Args)]
#[command(after_help = NEW_EXAMPLES)]
pub(crate) struct NewArgs {
    /// Who the token is for (claim sub)
    #[arg(short, long, value_name = "USER", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) user: String,
    /// How long it lives
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = value::duration)]
    pub(crate) ttl: Duration,
    /// A tag that the client joins at once; repeatable
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// What others are shown about the client
    #[arg(long, value_name = "JSON", value_parser = json)]
    pub(crate) info: Option<serde_json::Value>,
    /// What the client may do: events=, join=, publish= or presence=PATTERN; repeatable. Without any, the server's
    /// defaults count
    #[arg(long = "permission", value_name = "KIND=PATTERN", value_parser = permission)]
    pub(crate) permissions: Vec<(String, String)>,
    /// The application (claim app)
    #[arg(long, value_name = "NAME")]
    pub(crate) app: Option<String>,
    /// The kind of device (claim platform)
    #[arg(long, value_name = "NAME")]
    pub(crate) platform: Option<String>,
    /// Who the token is for (claim aud)
    #[arg(long, value_name = "NAME")]
    pub(crate) audience: Option<String>,
    /// Who issues it (claim iss)
    #[arg(long, value_name = "NAME")]
    pub(crate) issuer: Option<String>,
    /// HS256, HS384, HS512, RS256, PS256, ES256, ES384, EdDSA and so on [default: HS256, or by the key]
    #[arg(short, long, value_name = "NAME", value_parser = algorithm, help_heading = "Key")]
    pub(crate) algorithm: Option<Algorithm>,
    /// A file with the secret; otherwise the variable ANTIPHON_AUTH_SECRET has it
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "key",
        help_heading = "Key"
    )]
    pub(crate) secret_file: Option<PathBuf>,
    /// The configuration of the server: its secret and its algorithm
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "secret_file", "algorithm"], help_heading = "Key")]
    pub(crate) config: Option<PathBuf>,
    /// A private key (PEM, PKCS#8)
    #[arg(long, value_name = "FILE", help_heading = "Key")]
    pub(crate) key: Option<PathBuf>,
}

/// `antiphon token check`
#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub(crate) struct CheckArgs {
    /// The token; '-' reads it from stdin, where nobody else sees it
    #[arg(default_value = "-", hide_default_value = true)]
    pub(crate) token: String,
    /// Print one object of JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// One of these must be in aud; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) audience: Vec<String>,
    /// iss must be one of these; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) issuer: Vec<String>,
    /// By how much the clocks may differ
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = value::duration)]
    pub(crate) leeway: Duration,
    /// The algorithm that must have been used [default: HS256, or by the key]
    #[arg(short, long, value_name = "NAME", value_parser = algorithm, help_heading = "Key")]
    pub(crate) algorithm: Option<Algorithm>,
    /// A file with the secret; otherwise the variable ANTIPHON_AUTH_SECRET has it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "jwks"], help_heading = "Key")]
    pub(crate) secret_file: Option<PathBuf>,
    /// A public key (PEM)
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "jwks",
        help_heading = "Key"
    )]
    pub(crate) key: Option<PathBuf>,
    /// A JSON Web Key Set
    #[arg(
        long,
        value_name = "FILE",
        requires = "algorithm",
        help_heading = "Key"
    )]
    pub(crate) jwks: Option<PathBuf>,
}

/// `antiphon token keygen`
#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// EdDSA, ES256, ES384 or RS256
    #[arg(short, long, value_name = "NAME", default_value = "EdDSA", value_parser = algorithm)]
    pub(crate) algorithm: Algorithm,
    /// The directory, which is made; files that are there stay
    #[arg(short, long, value_name = "DIRECTORY")]
    pub(crate) out: PathBuf,
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    text.parse().map_err(|_| {
        "no such algorithm: use HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA"
            .to_owned()
    })
}

fn json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))
}

fn permission(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((kind @ ("events" | "join" | "publish" | "presence"), pattern))
            if !pattern.is_empty() =>
        {
            Ok((kind.to_owned(), pattern.to_owned()))
        }
        _ => Err("write it as events=, join=, publish= or presence=PATTERN".to_owned()),
    }
}
