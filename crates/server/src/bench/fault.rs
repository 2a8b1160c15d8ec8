//! What a server can do wrong, by kind: each is counted, the first ones are described.

use std::{collections::BTreeMap, fmt};

use antiphon_proto::error::Violation;

/// Faults that are described; all are counted.
const DESCRIBED: usize = 5;

/// A kind of fault; its name stands in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// No TCP connection.
    Connect,
    /// TLS was refused.
    Tls,
    /// The opening handshake was refused, or its response breaks a rule.
    Handshake,
    /// `Sec-WebSocket-Accept` does not fit the key.
    Accept,
    /// A rule of RFC 6455 or RFC 7692 was broken.
    Protocol,
    /// The server masked a frame.
    Masked,
    /// Text came where binary was sent, or the reverse.
    Type,
    /// The message has another length.
    Length,
    /// The message has other bytes.
    Payload,
    /// It came after a later one.
    Order,
    /// It came twice.
    Duplicate,
    /// A later one came, it did not.
    Lost,
    /// It belongs to another connection.
    Misdelivered,
    /// Nobody has asked for it.
    Unasked,
    /// It did not come in time.
    Late,
    /// The server closed the connection.
    Closed,
    /// The connection ended without a closing handshake.
    Ended,
}

impl Kind {
    /// The name in the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Handshake => "handshake",
            Self::Accept => "accept",
            Self::Protocol => "protocol",
            Self::Masked => "masked",
            Self::Type => "type",
            Self::Length => "length",
            Self::Payload => "payload",
            Self::Order => "order",
            Self::Duplicate => "duplicate",
            Self::Lost => "lost",
            Self::Misdelivered => "misdelivered",
            Self::Unasked => "unasked",
            Self::Late => "late",
            Self::Closed => "closed",
            Self::Ended => "ended",
        }
    }
}

/// A fault.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// Its kind.
    pub(crate) kind: Kind,
    /// What was seen.
    pub(crate) what: String,
}

impl Fault {
    /// A fault of this kind.
    pub(crate) fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
        }
    }
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        let kind = match violation {
            Violation::MaskUnexpected => Kind::Masked,
            _ => Kind::Protocol,
        };
        Self::new(kind, violation.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.what)
    }
}

/// All faults of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    counts: BTreeMap<Kind, u64>,
    first: Vec<String>,
}

impl Faults {
    /// Counts a fault of this connection.
    pub(crate) fn add(&mut self, connection: usize, fault: &Fault) {
        self.add_many(connection, fault, 1);
    }

    /// Counts the same fault several times.
    pub(crate) fn add_many(&mut self, connection: usize, fault: &Fault, count: u64) {
        if count == 0 {
            return;
        }
        *self.counts.entry(fault.kind).or_default() += count;
        if self.first.len() < DESCRIBED {
            self.first.push(format!("connection {connection}: {fault}"));
        }
    }

    /// All of them.
    pub(crate) fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How many of each kind.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts
            .iter()
            .map(|(kind, count)| (kind.name(), *count))
    }

    /// The first ones, described.
    pub(crate) fn first(&self) -> &[String] {
        &self.first
    }
}
