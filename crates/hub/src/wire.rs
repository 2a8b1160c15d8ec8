//! The two wires: how events stand in frames. `docs/protocol.md` is the specification.

mod incoming;
mod outgoing;
mod v1;
mod v2;

pub use incoming::{BadInput, Fault, Incoming, MAX_NAME};
pub use outgoing::Envelope;

use crate::code::SUBPROTOCOLS;

/// Most requests in one frame of v2.
pub const MAX_BATCH: usize = 64;

/// The empty object: the server's text ping in v2, and the client's answer.
pub const HEARTBEAT: &str = "{}";

/// How events stand in frames; agreed by subprotocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Wire {
    /// hotgo's envelope: the default, and the subprotocol `hotgo.v1`.
    #[default]
    V1,
    /// The subprotocol `antiphon.v2.json`.
    V2,
}

impl Wire {
    /// The subprotocols that the server offers, the preferred one first.
    pub const SUBPROTOCOLS: [&str; 2] = SUBPROTOCOLS;

    /// The wire of the agreed subprotocol; v1 where none was agreed.
    #[must_use]
    pub fn of(subprotocol: Option<&str>) -> Self {
        if subprotocol == Some(Self::SUBPROTOCOLS[0]) {
            Self::V2
        } else {
            Self::V1
        }
    }

    /// The name for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }

    /// Reads a frame that holds one request. v1 takes text and binary messages alike.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with the id and the event where they could be read.
    pub fn parse(self, frame: &[u8]) -> Result<Incoming, BadInput> {
        let text = std::str::from_utf8(frame).map_err(|_| BadInput::from(Fault::NotUtf8))?;
        match self {
            Self::V1 => v1::parse(text),
            Self::V2 => v2::parse(text),
        }
    }

    /// Reads a frame that may hold several requests, one a line, at most [`MAX_BATCH`]; v1 always holds one.
    ///
    /// The iterator gives at least one item. A bad line does not end it, the line after the last allowed one does, with
    /// [`Fault::TooMany`].
    pub fn parse_all(
        self,
        frame: &[u8],
    ) -> impl Iterator<Item = Result<Incoming, BadInput>> + use<'_> {
        let blank = |line: &&[u8]| line.trim_ascii().is_empty();
        let mut lines = frame
            .split(|byte| *byte == b'\n')
            .filter(move |line| !blank(line));
        let mut count = 0;
        std::iter::from_fn(move || {
            count += 1;
            if self == Self::V1 {
                return (count == 1).then(|| self.parse(frame));
            }
            match lines.next() {
                None => (count == 1).then(|| self.parse(frame)),
                Some(line) if count <= MAX_BATCH => Some(self.parse(line)),
                Some(_) => (count == MAX_BATCH + 1).then(|| Err(Fault::TooMany.into())),
            }
        })
    }

    /// Appends the envelope to `out`, as the text of one frame.
    pub fn encode_into(self, envelope: &Envelope<'_>, out: &mut String) {
        match self {
            Self::V1 => v1::encode(envelope, out),
            Self::V2 => v2::encode(envelope, out),
        }
    }

    /// The envelope as the text of one frame.
    #[must_use]
    pub fn encode(self, envelope: &Envelope<'_>) -> String {
        let mut out = String::with_capacity(envelope.room());
        self.encode_into(envelope, &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_frames_of_hotgo() {
        let ping = Wire::V1.parse(br#"{"event":"ping"}"#).unwrap();
        let answer = Envelope {
            timestamp: 1_795_177_846,
            ..Envelope::reply(&ping.event, ping.id, None)
        };
        assert_eq!(
            Wire::V1.encode(&answer),
            "{\"event\":\"ping\",\"code\":0,\"timestamp\":1795177846}\n"
        );
    }
}
