//! Close codes (RFC 6455 section 7.4 and the IANA registry).

use std::fmt;

/// A close code (RFC 6455 section 7.4).
///
/// Any number can be held, so that a peer's code can be reported as it came; [`CloseCode::is_sendable`] says which may
/// stand in a Close frame.
///
/// ```
/// use antiphon_proto::close::CloseCode;
///
/// assert!(CloseCode::NORMAL.is_sendable());
/// assert!(!CloseCode::ABNORMAL.is_sendable());
/// assert!(CloseCode::new(4001).is_private());
/// assert_eq!(CloseCode::GOING_AWAY.to_string(), "1001 going away");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: an endpoint goes away: a server stops, a page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that the endpoint cannot accept.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: reserved; reported where the Close frame had no code. Never on the wire.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: reserved; reported where the connection ended without a Close frame. Never on the wire.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: data that does not fit its type, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a message that breaks the endpoint's policy, where no other code fits.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the client misses an extension that the server did not negotiate.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the server met a condition that it did not expect.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts; connect again after a while.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: overload; try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid answer from the server behind it.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: reserved; reported where the TLS handshake failed. Never on the wire.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// The code with this number.
    #[must_use]
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether the code may stand in a Close frame: 1000-1003, 1007-1014 and 3000-4999 (section 7.4.2).
    #[must_use]
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Whether the code is in the range for private use, 4000-4999.
    #[must_use]
    pub const fn is_private(self) -> bool {
        matches!(self.0, 4000..=4999)
    }

    /// The registered name, or the range that the code is from.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            1000 => "normal closure",
            1001 => "going away",
            1002 => "protocol error",
            1003 => "unsupported data",
            1004 => "reserved",
            1005 => "no status received",
            1006 => "abnormal closure",
            1007 => "invalid payload data",
            1008 => "policy violation",
            1009 => "message too big",
            1010 => "mandatory extension",
            1011 => "internal error",
            1012 => "service restart",
            1013 => "try again later",
            1014 => "bad gateway",
            1015 => "TLS handshake",
            3000..=3999 => "registered by a library or framework",
            4000..=4999 => "private use",
            _ => "unassigned",
        }
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.name())
    }
}
