//! How connections end: counted by who ended them, by close code, and by the rule that was broken.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use antiphon_hub::{
    code::close,
    occurrence::{Cause, Side},
};

/// Counts ends. Clients choose their close codes freely, so only codes of the tables have a row of their own.
#[derive(Debug, Default)]
pub(super) struct Closes(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    ends: BTreeMap<(u16, &'static str), u64>,
    violations: BTreeMap<&'static str, u64>,
}

/// One row: who, the code, what the code means, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) by: &'static str,
    pub(super) code: String,
    pub(super) reason: &'static str,
    pub(super) count: u64,
}

impl Closes {
    /// Counts one end.
    pub(super) fn count(&self, cause: &Cause) {
        let by = match cause.by {
            Side::Client => "client",
            Side::Server => "server",
            _ => "network",
        };
        let mut counts = self.lock();
        *counts.ends.entry((known(cause.code), by)).or_default() += 1;
        if let Some(violation) = cause.violation {
            *counts.violations.entry(violation.section()).or_default() += 1;
        }
    }

    /// All that were counted.
    pub(super) fn rows(&self) -> Vec<Row> {
        self.lock()
            .ends
            .iter()
            .map(|((code, by), count)| Row {
                by,
                code: match *code {
                    OTHER => "other".to_owned(),
                    APPLICATION => "4xxx".to_owned(),
                    code => code.to_string(),
                },
                reason: word(*code),
                count: *count,
            })
            .collect()
    }

    /// How often each rule was broken: by its section in an RFC, or `limit` and the name of a bound.
    pub(super) fn violations(&self) -> BTreeMap<&'static str, u64> {
        self.lock().violations.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Codes that are in no table, together.
const OTHER: u16 = 0;

/// Codes of applications, together.
const APPLICATION: u16 = 4000;

/// Codes of RFC 6455 and its registry.
const STANDARD: &[(u16, &str)] = &[
    (1000, "normal"),
    (1001, "going away"),
    (1002, "protocol error"),
    (1003, "unsupported data"),
    (1005, "no code"),
    (1006, "connection broken"),
    (1007, "invalid payload"),
    (1008, "policy violation"),
    (1009, "message too big"),
    (1010, "extension missing"),
    (1011, "internal error"),
    (1012, "restart"),
    (1013, "try again later"),
    (1014, "bad gateway"),
];

/// The row of a code.
fn known(code: u16) -> u16 {
    if code >= APPLICATION {
        APPLICATION
    } else if STANDARD.iter().any(|(known, _)| *known == code)
        || close::ALL.iter().any(|known| known.code == code)
    {
        code
    } else {
        OTHER
    }
}

/// What a code says, in words that no client chooses.
fn word(code: u16) -> &'static str {
    if code == APPLICATION {
        return "application";
    }
    let ours = close::ALL.iter().find(|known| known.code == code);
    match ours.map(|known| &known.reason) {
        Some(std::borrow::Cow::Borrowed(reason)) => reason,
        _ => STANDARD
            .iter()
            .find(|(known, _)| *known == code)
            .map_or("other", |(_, word)| word),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_a_row_and_no_client_can_make_more_than_a_few() {
        for close in close::ALL {
            assert_eq!(known(close.code), close.code);
            assert_eq!(word(close.code), close.reason);
        }
        let rows: BTreeSet<u16> = (0..=u16::MAX).map(known).collect();
        assert!(rows.len() < 50, "{}", rows.len());
        for (code, row, text) in [
            (1000, 1000, "normal"),
            (1006, 1006, "connection broken"),
            (1009, 1009, "message too big"),
            (3999, OTHER, "other"),
            (2999, OTHER, "other"),
            (4000, APPLICATION, "application"),
            (4999, APPLICATION, "application"),
        ] {
            assert_eq!((known(code), word(known(code))), (row, text), "{code}");
        }
    }
}
