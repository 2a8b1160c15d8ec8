//! Why a client is not who it says: one variant for each reason, with its word for machines.

use std::{error::Error, fmt};

/// Why a credential was not accepted. No variant carries any part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum TokenError {
    /// There is none, and anonymous clients are not allowed.
    Missing,
    /// It is no JWT, or a claim is not of its type; with what is wrong.
    Malformed(&'static str),
    /// It is longer than `max_token_size`.
    TooLong,
    /// It is signed with another algorithm than the configured one.
    Algorithm,
    /// No key of ours has its `kid`.
    KeyUnknown,
    /// No key of ours has signed it.
    Signature,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is for somebody else.
    Audience,
    /// Somebody else has issued it.
    Issuer,
    /// It was valid until someone signed out or was signed out.
    Revoked,
    /// A ticket that was used, is too old, or never was one.
    Ticket,
    /// It cannot be judged now: the keys, or the room for its session, are missing.
    KeysUnavailable,
}

impl TokenError {
    /// The word for machines.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Malformed(_) => "token_malformed",
            Self::TooLong => "token_too_long",
            Self::Algorithm => "token_algorithm",
            Self::KeyUnknown => "token_key_unknown",
            Self::Signature => "token_signature",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Audience => "token_audience",
            Self::Issuer => "token_issuer",
            Self::Revoked => "token_revoked",
            Self::Ticket => "ticket_invalid",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }

    /// Whether the same credential may be accepted later.
    pub(crate) const fn is_temporary(self) -> bool {
        matches!(self, Self::KeysUnavailable)
    }

    /// The code of a reply on a socket: 109 expired, 100 temporary, 101 for all others.
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::Expired => 109,
            Self::KeysUnavailable => 100,
            _ => 101,
        }
    }

    /// The close code of a socket that ends for it.
    pub(crate) const fn close_code(self) -> u16 {
        match self {
            Self::Expired => 3004,
            Self::KeysUnavailable => 3003,
            Self::Revoked => 3510,
            _ => 3500,
        }
    }

    /// What to do about it.
    pub(crate) const fn hint(self) -> &'static str {
        match self {
            Self::Missing => "send Authorization: Bearer TOKEN, or the parameter access_token",
            Self::Malformed(_) => "check the program that issues the tokens",
            Self::TooLong => "put less into it, or raise auth.max_token_size",
            Self::Algorithm => "sign with the algorithm that auth.algorithm names",
            Self::KeyUnknown => "sign with a key that auth.jwks_url or auth.jwks_file has",
            Self::Signature => "check that both sides have the same key",
            Self::Expired => "get a new one",
            Self::NotYetValid => "check the clocks of both sides",
            Self::Audience => "check the claims aud and app, and auth.audience",
            Self::Issuer => "check the claim iss, and auth.issuer",
            Self::Revoked => "sign in again",
            Self::Ticket => "get a new ticket; each works once, for seconds",
            Self::KeysUnavailable => "try again later",
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no token",
            Self::Malformed(what) => return write!(f, "the token is malformed: {what}"),
            Self::TooLong => "the token is too long",
            Self::Algorithm => "the token is signed with another algorithm than the configured one",
            Self::KeyUnknown => "no key has the kid of the token",
            Self::Signature => "the signature of the token is not by a known key",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::Audience => "the token is for another audience",
            Self::Issuer => "the token is by another issuer",
            Self::Revoked => "the token has been revoked",
            Self::Ticket => "the ticket is not valid",
            Self::KeysUnavailable => "tokens cannot be checked now",
        })
    }
}

impl Error for TokenError {}
