//! The section `[auth]` of the configuration.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use jsonwebtoken::Algorithm;
use serde::{Deserialize, Deserializer, de};

use crate::setting::{Secret, size, time};

/// The variable of the environment that holds the secret, for the server and for `antiphon token`.
pub(crate) const SECRET_VARIABLE: &str = "ANTIPHON_AUTH_SECRET";

/// How clients say who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Nobody says who they are: every client is anonymous.
    #[default]
    None,
    /// By a JWT with standard claims.
    Jwt,
    /// By the JWT of a hotgo server: identity claims without an end, and a session that this server keeps.
    Hotgo,
}

/// The section `[auth]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuthSettings {
    /// How clients say who they are: `none` (all are anonymous), `jwt` or `hotgo`.
    pub(crate) mode: Mode,
    /// The one algorithm that is accepted: HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384
    /// or EdDSA. Default HS256.
    pub(crate) algorithm: Algorithm,
    /// The key of HS256, HS384 and HS512, at least 32 bytes. Better in `secret_file` or in `ANTIPHON_AUTH_SECRET`.
    pub(crate) secret: Option<Secret>,
    /// A file with that key; white space at its end does not count.
    pub(crate) secret_file: Option<PathBuf>,
    /// The key before it, until `previous_valid_until`.
    pub(crate) previous_secret: Option<Secret>,
    /// A file with the key before it.
    pub(crate) previous_secret_file: Option<PathBuf>,
    /// When the previous key stops to count: `2027-01-31T00:00:00Z`.
    pub(crate) previous_valid_until: Option<Instant>,
    /// A public key (PEM, `BEGIN PUBLIC KEY`).
    pub(crate) public_key_file: Option<PathBuf>,
    /// A set of public keys (JWKS) in a file.
    pub(crate) jwks_file: Option<PathBuf>,
    /// A set of public keys (JWKS) at a fixed address: https, or http to this machine.
    pub(crate) jwks_url: Option<String>,
    /// How long a fetched set counts. Default 1h.
    #[serde(with = "time")]
    pub(crate) jwks_cache: Duration,
    /// How long a fetch may take. Default 1s.
    #[serde(with = "time")]
    pub(crate) jwks_timeout: Duration,
    /// The least time between two fetches, whatever `kid`s come. Default 10s.
    #[serde(with = "time")]
    pub(crate) jwks_refetch: Duration,
    /// Who a token must be for: one of its `aud` must be one of these. A token with `aud` needs it.
    pub(crate) audience: Vec<String>,
    /// Who may issue tokens: `iss` must be one of these.
    pub(crate) issuer: Vec<String>,
    /// By how much clocks may differ. Default 30s.
    #[serde(with = "time")]
    pub(crate) leeway: Duration,
    /// The claim with the user. Default `sub`.
    pub(crate) user_claim: String,
    /// Accept tokens that never end. A stolen one then works until the key changes. Default false.
    pub(crate) allow_no_exp: bool,
    /// Let clients without a credential in, as anonymous. Default false.
    pub(crate) anonymous: bool,
    /// Paths that need no login (hotgo's `exceptLogin`): without a credential one is anonymous there.
    pub(crate) except_login: Vec<String>,
    /// A cookie that may carry the token. Browsers send cookies from pages of any origin: keep the check of origins on.
    pub(crate) cookie: Option<String>,
    /// The longest token, in bytes. Default 4KiB.
    #[serde(with = "size")]
    pub(crate) max_token_size: usize,
    /// Most revocations that are kept at a time. Default 100000.
    pub(crate) max_revocations: usize,
    /// How long a revocation is kept whose token's end is unknown; no token should live longer. Default 720h.
    #[serde(with = "time")]
    pub(crate) revocation_ttl: Duration,
    /// Most one-time tickets at a time. Default 10000.
    pub(crate) max_tickets: usize,
    /// How long a ticket works. Default 30s.
    #[serde(with = "time")]
    pub(crate) ticket_ttl: Duration,
    /// Sessions of the mode `hotgo`.
    pub(crate) sessions: SessionSettings,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            mode: Mode::None,
            algorithm: Algorithm::HS256,
            secret: None,
            secret_file: None,
            previous_secret: None,
            previous_secret_file: None,
            previous_valid_until: None,
            public_key_file: None,
            jwks_file: None,
            jwks_url: None,
            jwks_cache: Duration::from_secs(3_600),
            jwks_timeout: Duration::from_secs(1),
            jwks_refetch: Duration::from_secs(10),
            audience: Vec::new(),
            issuer: Vec::new(),
            leeway: Duration::from_secs(30),
            user_claim: "sub".to_owned(),
            allow_no_exp: false,
            anonymous: false,
            except_login: Vec::new(),
            cookie: None,
            max_token_size: 4_096,
            max_revocations: 100_000,
            revocation_ttl: Duration::from_secs(30 * 86_400),
            max_tickets: 10_000,
            ticket_ttl: Duration::from_secs(30),
            sessions: SessionSettings::default(),
        }
    }
}

/// The section `[auth.sessions]`: hotgo's names and defaults in our spelling.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SessionSettings {
    /// How long a session lives (`expires`). Default 168h.
    #[serde(with = "time")]
    pub(crate) expires: Duration,
    /// Whether use lengthens it (`autoRefresh`). Default true.
    pub(crate) auto_refresh: bool,
    /// The least time between two refreshes (`refreshInterval`). Default 24h.
    #[serde(with = "time")]
    pub(crate) refresh_interval: Duration,
    /// How often a session is lengthened (`maxRefreshTimes`); -1 for no end. Default 30.
    pub(crate) max_refresh_times: i64,
    /// Whether one user may be signed in several times to one application (`multiLogin`). Default true.
    pub(crate) multi_login: bool,
    /// Open a session for a valid token that is seen first here, counted from its `loginAt`. Without it only tokens
    /// that the HTTP API has registered are accepted. Default true.
    pub(crate) adopt: bool,
    /// The clock of the hotgo server, whose `loginAt` names no zone: `+08:00` for China. Default `+00:00`.
    pub(crate) utc_offset: String,
    /// Most sessions. Default 100000.
    pub(crate) max_sessions: usize,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            expires: Duration::from_secs(604_800),
            auto_refresh: true,
            refresh_interval: Duration::from_secs(86_400),
            max_refresh_times: 30,
            multi_login: true,
            adopt: true,
            utc_offset: "+00:00".to_owned(),
            max_sessions: 100_000,
        }
    }
}

/// A point in time, as RFC 3339 writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instant {
    /// The same for the clock.
    pub(crate) at: SystemTime,
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match point(&text) {
            Some(at) => Ok(Self { at }),
            None => Err(de::Error::custom(
                "not a point in time: write it as 2027-01-31T00:00:00Z",
            )),
        }
    }
}

/// `2027-01-31T00:00:00Z`, also with a space for the T, with a fraction of the second that does not count, and with an
/// offset; without one it is UTC.
pub(crate) fn point(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    let number = |from: usize, length: usize| -> Option<i64> {
        let digits = text.get(from..from + length)?;
        digits
            .bytes()
            .all(|digit| digit.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let is = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=days_in_month).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() == fraction.len() {
            return None;
        }
    }
    let offset = match rest.as_bytes() {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let at = text.len() - 5;
            let (hours, minutes) = (number(at, 2)?, number(at + 3, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 3_600 + minutes * 60) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    // Days since the epoch in the Gregorian calendar, by years that start in March.
    let years = if month > 2 { year } else { year - 1 };
    let months = (month + 9) % 12;
    let days = 365 * years + years / 4 - years / 100 + years / 400 + (153 * months + 2) / 5 + day
        - 1
        - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_is_read_strictly() {
        for (text, words) in [
            ("mode = \"jwt\"\nalgorithm = \"EdDSA\"\nleeway = \"5s\"", ""),
            ("previous_valid_until = \"2027-01-31T00:00:00Z\"", ""),
            ("[sessions]\nmax_refresh_times = -1\nexpires = 60", ""),
            ("mode = \"basic\"", "unknown variant"),
            ("algorithm = \"none\"", "unknown variant"),
            ("algorithm = \"hs256\"", "unknown variant"),
            ("secrets = \"x\"", "unknown field"),
            ("leeway = \"soon\"", "not a time"),
            ("leeway = -1", "not a time"),
            ("previous_valid_until = \"tomorrow\"", "not a point in time"),
            ("[sessions]\nmultilogin = true", "unknown field"),
        ] {
            match toml::from_str::<AuthSettings>(text) {
                Ok(_) => assert!(words.is_empty(), "{text} is accepted"),
                Err(error) => assert!(
                    !words.is_empty() && error.to_string().contains(words),
                    "{text}: {error}"
                ),
            }
        }
    }

    #[test]
    fn settings_that_are_shown_hide_their_secrets() {
        let settings: AuthSettings =
            toml::from_str("secret = \"canary-1\"\nprevious_secret = \"canary-2\"").unwrap();
        let shown = format!("{settings:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn points_in_time() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01 00:00:01", Some(1)),
            ("2000-02-29T12:00:00Z", Some(951_825_600)),
            ("2024-02-29T00:00:00.123Z", Some(1_709_164_800)),
            ("2024-12-31T23:59:59+01:00", Some(1_735_685_999)),
            ("2024-12-31T23:59:59-08:00", Some(1_735_718_399)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400)),
            ("2023-02-29T00:00:00Z", None),
            ("2023-13-01T00:00:00Z", None),
            ("2023-01-01T24:00:00Z", None),
            ("1969-12-31T23:59:59Z", None),
            ("2023-01-01", None),
            ("2023-01-01T00:00:00X", None),
            ("2023-01-01T00:00:00.Z", None),
            ("2023-01-01T00:00:00+1:00", None),
            ("+023-01-01T00:00:00Z", None),
            ("２023-01-01T00:00:00Z", None),
            ("", None),
        ] {
            let found =
                point(text).map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
            assert_eq!(found, expected, "{text}");
        }
    }
}
