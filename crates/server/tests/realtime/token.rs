//! Tokens, good and bad.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// The secret of the servers in these tests.
pub(crate) const SECRET: &str = "x8Hq2LmZ0rTn5VbYc3Kd7PwS1uJf4GaE";

/// Another one.
pub(crate) const OTHER: &str = "b7Wc4XnQ9tLs2GhRd8Mf1KvZ5yJp3TeU";

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

/// The claims of a user for the next minute, with these besides.
pub(crate) fn claims(user: &str, more: Value) -> Value {
    let mut claims = json!({"sub": user, "iat": now() - 1, "exp": now() + 60});
    if let Value::Object(more) = more {
        for (name, value) in more {
            claims[name] = value;
        }
    }
    claims
}

/// A good token.
pub(crate) fn token(user: &str) -> String {
    token_with(user, json!({}))
}

/// The same with other claims.
pub(crate) fn token_with(user: &str, more: Value) -> String {
    signed(
        SECRET,
        r#"{"alg":"HS256","typ":"JWT"}"#,
        &claims(user, more),
    )
}

/// A token with this header, by this secret.
pub(crate) fn signed(secret: &str, header: &str, claims: &Value) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", part(header), part(&claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()));
    format!("{message}.{signature}")
}

/// A point in time as hotgo writes it, in UTC.
pub(crate) fn date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years of March to February, from the year 0 on.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (year, month + 3)
    } else {
        (year + 1, month - 9)
    };
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!(
        "{:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}",
        era * 400 + year
    )
}
