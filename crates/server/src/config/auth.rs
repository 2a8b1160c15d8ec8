//! The rows of `[auth]` and `[auth.sessions]`.

use crate::config::key::{Item, Key, Kind, Zero};

const ALGORITHMS: &[&str] = &[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "EdDSA",
];

/// A reload makes all of the judging anew.
const fn key(path: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key {
        path,
        kind,
        default,
        about,
        live: true,
    }
}

/// What logins are remembered by stays as it is over a reload.
const fn kept(path: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key {
        live: false,
        ..key(path, kind, default, about)
    }
}

/// The rows of `[auth]`.
pub(crate) const KEYS: &[Key] = &[
    key(
        "auth.mode",
        Kind::Choice(&["none", "jwt", "hotgo"]),
        "\"none\"",
        "How clients say who they are: not at all, and all are anonymous; by a JWT; or by the JWT of a hotgo server and a session that this server keeps.",
    ),
    key(
        "auth.algorithm",
        Kind::Choice(ALGORITHMS),
        "\"HS256\"",
        "The one algorithm that is accepted.",
    ),
    key(
        "auth.secret",
        Kind::Secret,
        "",
        "The key of HS256, HS384 and HS512, at least 32 bytes. Better in a file of its own, or in ANTIPHON_AUTH_SECRET.",
    ),
    key(
        "auth.secret_file",
        Kind::SecretFile,
        "",
        "File with that key.",
    ),
    key(
        "auth.previous_secret",
        Kind::Secret,
        "",
        "The key before it, which is accepted until previous_valid_until.",
    ),
    key(
        "auth.previous_secret_file",
        Kind::SecretFile,
        "",
        "File with the key before it.",
    ),
    key(
        "auth.previous_valid_until",
        Kind::Text,
        "",
        "When the previous key is no longer accepted, such as \"2027-01-31T00:00:00Z\".",
    ),
    key(
        "auth.public_key_file",
        Kind::File,
        "",
        "A public key (PEM, BEGIN PUBLIC KEY).",
    ),
    key(
        "auth.jwks_file",
        Kind::File,
        "",
        "File with a set of public keys (JWKS).",
    ),
    key(
        "auth.jwks_url",
        Kind::Url,
        "",
        "Where a set of public keys (JWKS) is fetched: https, or http to this machine.",
    ),
    key(
        "auth.jwks_cache",
        Kind::Time(Zero::Allowed),
        "\"1h\"",
        "How long a fetched set counts.",
    ),
    key(
        "auth.jwks_timeout",
        Kind::Time(Zero::Refused),
        "\"1s\"",
        "Longest time for a fetch.",
    ),
    key(
        "auth.jwks_refetch",
        Kind::Time(Zero::Refused),
        "\"10s\"",
        "Least time between two fetches, whatever key ids come.",
    ),
    key(
        "auth.audience",
        Kind::List(Item::Text),
        "[]",
        "Who a token must be for: one of its aud must be one of these. A token with aud needs it.",
    ),
    key(
        "auth.issuer",
        Kind::List(Item::Text),
        "[]",
        "Who may issue tokens: iss must be one of these.",
    ),
    key(
        "auth.leeway",
        Kind::Time(Zero::Allowed),
        "\"30s\"",
        "By how much clocks may differ.",
    ),
    key(
        "auth.user_claim",
        Kind::Text,
        "\"sub\"",
        "The claim with the user.",
    ),
    key(
        "auth.allow_no_exp",
        Kind::Switch,
        "false",
        "Accept tokens that never end. A stolen one then works until the key changes.",
    ),
    key(
        "auth.anonymous",
        Kind::Switch,
        "false",
        "Let clients without a credential in, as anonymous.",
    ),
    key(
        "auth.except_login",
        Kind::List(Item::Text),
        "[]",
        "Paths that need no login: without a credential a client is anonymous there.",
    ),
    key(
        "auth.cookie",
        Kind::Text,
        "",
        "Cookie that may carry the token. Browsers send cookies from pages of any origin: keep the check of origins on.",
    ),
    key(
        "auth.max_token_size",
        Kind::Size(Zero::Refused),
        "\"4KiB\"",
        "Longest token.",
    ),
    kept(
        "auth.max_revocations",
        Kind::Count(1, u64::MAX),
        "100000",
        "Most revocations that are kept at a time.",
    ),
    kept(
        "auth.revocation_ttl",
        Kind::Time(Zero::Refused),
        "\"720h\"",
        "How long a revocation is kept whose token's end is unknown; no token should live longer.",
    ),
    kept(
        "auth.max_tickets",
        Kind::Count(1, u64::MAX),
        "10000",
        "Most one-time tickets at a time.",
    ),
    key(
        "auth.ticket_ttl",
        Kind::Time(Zero::Refused),
        "\"30s\"",
        "How long a ticket works.",
    ),
];

/// The rows of `[auth.sessions]`.
pub(crate) const SESSIONS: &[Key] = &[
    kept(
        "auth.sessions.expires",
        Kind::Time(Zero::Refused),
        "\"168h\"",
        "How long a session lives (hotgo's expires).",
    ),
    kept(
        "auth.sessions.auto_refresh",
        Kind::Switch,
        "true",
        "Whether use lengthens it (autoRefresh).",
    ),
    kept(
        "auth.sessions.refresh_interval",
        Kind::Time(Zero::Allowed),
        "\"24h\"",
        "Least time between two refreshes (refreshInterval).",
    ),
    kept(
        "auth.sessions.max_refresh_times",
        Kind::Unbounded,
        "30",
        "How often a session is lengthened (maxRefreshTimes).",
    ),
    kept(
        "auth.sessions.multi_login",
        Kind::Switch,
        "true",
        "Whether one user may be signed in several times to one application (multiLogin).",
    ),
    kept(
        "auth.sessions.adopt",
        Kind::Switch,
        "true",
        "Open a session for a valid token that is seen first here, counted from its loginAt. Without it only tokens that the HTTP API has registered are accepted.",
    ),
    kept(
        "auth.sessions.utc_offset",
        Kind::Text,
        "\"+00:00\"",
        "The clock of the hotgo server, whose loginAt names no zone: \"+08:00\" for China.",
    ),
    kept(
        "auth.sessions.max_sessions",
        Kind::Count(1, u64::MAX),
        "100000",
        "Most sessions at a time.",
    ),
];
