//! The frame header: parsed strictly, written in its shortest form (RFC 6455 section 5.2).

use crate::{config::Role, error::Violation, mask::MaskingKey, message::MessageKind};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// 0: the next fragment of a message.
    Continuation,
    /// 1: text, or its first fragment.
    Text,
    /// 2: binary data, or its first fragment.
    Binary,
    /// 8: the closing handshake.
    Close,
    /// 9: a ping.
    Ping,
    /// 10: a pong.
    Pong,
}

impl Opcode {
    /// The number on the wire.
    #[must_use]
    pub const fn get(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Whether this is a control frame: Close, ping or pong (section 5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.get() & 0x8 != 0
    }

    const fn from_bits(bits: u8) -> Result<Self, Violation> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            reserved => return Err(Violation::OpcodeReserved(reserved)),
        })
    }
}

impl From<MessageKind> for Opcode {
    fn from(kind: MessageKind) -> Self {
        match kind {
            MessageKind::Text => Self::Text,
            MessageKind::Binary => Self::Binary,
        }
    }
}

/// Longest header: two bytes, a 64-bit length and a masking key.
pub const MAX_HEADER: usize = 14;

/// Longest payload of a control frame (section 5.5).
pub const MAX_CONTROL: usize = 125;

/// A frame header.
///
/// ```
/// use antiphon_proto::{config::Role, frame::{Header, Opcode}};
///
/// let (header, length) = Header::parse(&[0x81, 0x05], Role::Server, false)?.unwrap();
/// assert_eq!((header.opcode, header.fin, header.length), (Opcode::Text, true, 5));
/// assert_eq!(length, 2);
/// # Ok::<(), antiphon_proto::error::Violation>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether this is the last fragment of its message.
    pub fin: bool,
    /// Whether the message is compressed (RFC 7692 section 6).
    pub rsv1: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The masking key of a client's frame.
    pub mask: Option<MaskingKey>,
    /// Length of the payload in bytes.
    pub length: u64,
}

impl Header {
    /// Reads the header at the beginning of `bytes`, as sent by `sender`; `None` where it is incomplete and not wrong
    /// so far. `compression` says whether permessage-deflate was negotiated. Returns the header and its length.
    ///
    /// # Errors
    ///
    /// The [`Violation`] that the header alone proves, as soon as the bytes at hand prove it.
    pub fn parse(
        bytes: &[u8],
        sender: Role,
        compression: bool,
    ) -> Result<Option<(Self, usize)>, Violation> {
        let [first, rest @ ..] = bytes else {
            return Ok(None);
        };
        let opcode = Opcode::from_bits(first & 0x0f)?;
        let fin = first & 0x80 != 0;
        let rsv1 = first & 0x40 != 0;
        if rsv1 {
            match opcode {
                _ if !compression => return Err(Violation::Rsv1),
                Opcode::Text | Opcode::Binary => {}
                Opcode::Continuation => return Err(Violation::Rsv1OnContinuation),
                Opcode::Close | Opcode::Ping | Opcode::Pong => {
                    return Err(Violation::Rsv1OnControl);
                }
            }
        }
        if first & 0x20 != 0 {
            return Err(Violation::Rsv2);
        }
        if first & 0x10 != 0 {
            return Err(Violation::Rsv3);
        }
        if opcode.is_control() && !fin {
            return Err(Violation::ControlFragmented);
        }

        let [second, rest @ ..] = rest else {
            return Ok(None);
        };
        match (sender, second & 0x80 != 0) {
            (Role::Client, false) => return Err(Violation::MaskMissing),
            (Role::Server, true) => return Err(Violation::MaskUnexpected),
            _ => {}
        }
        let short = second & 0x7f;
        if opcode.is_control() && short > 125 {
            return Err(Violation::ControlTooLong);
        }
        let (length, rest) = match short {
            126 => {
                let Some((long, rest)) = rest.split_first_chunk::<2>() else {
                    return Ok(None);
                };
                let length = u16::from_be_bytes(*long);
                if length < 126 {
                    return Err(Violation::LengthNotMinimal);
                }
                (u64::from(length), rest)
            }
            127 => {
                if rest.first().is_some_and(|byte| byte & 0x80 != 0) {
                    return Err(Violation::LengthTopBit);
                }
                let Some((long, rest)) = rest.split_first_chunk::<8>() else {
                    return Ok(None);
                };
                let length = u64::from_be_bytes(*long);
                if length <= u64::from(u16::MAX) {
                    return Err(Violation::LengthNotMinimal);
                }
                (length, rest)
            }
            short => (u64::from(short), rest),
        };
        let (mask, rest) = match sender {
            Role::Server => (None, rest),
            Role::Client => {
                let Some((key, rest)) = rest.split_first_chunk::<4>() else {
                    return Ok(None);
                };
                (Some(*key), rest)
            }
        };
        Ok(Some((
            Self {
                fin,
                rsv1,
                opcode,
                mask,
                length,
            },
            bytes.len() - rest.len(),
        )))
    }

    /// Appends the header in its shortest form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; MAX_HEADER];
        bytes[0] = u8::from(self.fin) << 7 | u8::from(self.rsv1) << 6 | self.opcode.get();
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        let mut len = match self.length {
            short @ 0..=125 => {
                bytes[1] = masked | short as u8;
                2
            }
            medium @ 126..=0xffff => {
                bytes[1] = masked | 126;
                bytes[2..4].copy_from_slice(&(medium as u16).to_be_bytes());
                4
            }
            long => {
                bytes[1] = masked | 127;
                bytes[2..10].copy_from_slice(&long.to_be_bytes());
                10
            }
        };
        if let Some(key) = self.mask {
            bytes[len..len + 4].copy_from_slice(&key);
            len += 4;
        }
        out.extend_from_slice(&bytes[..len]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(opcode: Opcode) -> impl Strategy<Value = Header> {
        (
            any::<bool>(),
            any::<bool>(),
            any::<Option<[u8; 4]>>(),
            any::<u64>(),
            0u32..64,
        )
            .prop_map(move |(fin, rsv1, mask, length, shift)| {
                let control = opcode.is_control();
                let length = (length >> 1) >> shift.min(62);
                Header {
                    fin: fin || control,
                    rsv1: rsv1 && matches!(opcode, Opcode::Text | Opcode::Binary),
                    opcode,
                    mask,
                    length: if control { length % 126 } else { length },
                }
            })
    }

    fn any_header() -> impl Strategy<Value = Header> {
        prop_oneof![
            header(Opcode::Continuation),
            header(Opcode::Text),
            header(Opcode::Binary),
            header(Opcode::Close),
            header(Opcode::Ping),
            header(Opcode::Pong),
        ]
    }

    proptest! {
        #[test]
        fn encode_then_parse_is_identity(header in any_header()) {
            let sender = if header.mask.is_some() { Role::Client } else { Role::Server };
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            prop_assert_eq!(Header::parse(&bytes, sender, true), Ok(Some((header, bytes.len()))));
            for cut in 0..bytes.len() {
                prop_assert_eq!(Header::parse(&bytes[..cut], sender, true), Ok(None));
            }
        }

        /// A verdict never changes when more bytes arrive.
        #[test]
        fn more_bytes_never_change_a_verdict(bytes in proptest::collection::vec(any::<u8>(), 0..20), compression: bool) {
            for sender in [Role::Client, Role::Server] {
                let mut verdict = Ok(None);
                for cut in 0..=bytes.len() {
                    let next = Header::parse(&bytes[..cut], sender, compression);
                    if verdict != Ok(None) {
                        prop_assert_eq!(&next, &verdict);
                    }
                    verdict = next;
                }
            }
        }
    }

    #[test]
    fn a_wrong_header_is_named() {
        let client = |bytes: &[u8]| Header::parse(bytes, Role::Client, false).unwrap_err();
        let compressed = |bytes: &[u8]| Header::parse(bytes, Role::Client, true).unwrap_err();
        for (violation, expected) in [
            // RFC 6455 section 5.2: RSV bits MUST be 0 unless an extension defines them.
            (client(&[0xc1]), Violation::Rsv1),
            (client(&[0xa1]), Violation::Rsv2),
            (client(&[0x91]), Violation::Rsv3),
            (compressed(&[0xa1]), Violation::Rsv2),
            // RFC 7692 section 6.1: RSV1 only on the first frame of a message, never on control frames.
            (compressed(&[0x40]), Violation::Rsv1OnContinuation),
            (compressed(&[0xc9]), Violation::Rsv1OnControl),
            // RFC 6455 section 5.2: reserved opcodes.
            (client(&[0x83]), Violation::OpcodeReserved(3)),
            (client(&[0x8f]), Violation::OpcodeReserved(15)),
            // RFC 6455 section 5.5: control frames have at most 125 bytes and are not fragmented.
            (client(&[0x09]), Violation::ControlFragmented),
            (client(&[0x89, 0xfe]), Violation::ControlTooLong),
            (client(&[0x88, 0xff]), Violation::ControlTooLong),
            // RFC 6455 section 5.1: a client masks, a server does not.
            (client(&[0x81, 0x05]), Violation::MaskMissing),
            (
                Header::parse(&[0x81, 0x85], Role::Server, false).unwrap_err(),
                Violation::MaskUnexpected,
            ),
            // RFC 6455 section 5.2: the minimal number of bytes for the length, the top bit clear.
            (client(&[0x81, 0xfe, 0, 125]), Violation::LengthNotMinimal),
            (
                client(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
                Violation::LengthNotMinimal,
            ),
            (client(&[0x81, 0xff, 0x80]), Violation::LengthTopBit),
        ] {
            assert_eq!(violation, expected);
        }
    }
}
