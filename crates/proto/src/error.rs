//! Every way to break the protocol, each with its close code and the section that forbids it.

use thiserror::Error;

use crate::close::code::CloseCode;

/// A rule that the peer broke, or a bound that it crossed.
///
/// One variant for each rule. The connection answers with a Close frame of [`Violation::close_code`] and reads no more
/// messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Violation {
    /// RSV1 is set and no extension owns it.
    #[error("RSV1 is set, but no extension was negotiated that uses it")]
    Rsv1,
    /// RSV2 is set.
    #[error("RSV2 is set, but no extension was negotiated that uses it")]
    Rsv2,
    /// RSV3 is set.
    #[error("RSV3 is set, but no extension was negotiated that uses it")]
    Rsv3,
    /// RSV1 on a continuation frame: only a message's first frame may carry it.
    #[error("RSV1 is set on a continuation frame")]
    Rsv1OnContinuation,
    /// RSV1 on a control frame: control frames are never compressed.
    #[error("RSV1 is set on a control frame")]
    Rsv1OnControl,
    /// An opcode that is reserved: 3-7 or 11-15.
    #[error("opcode {0} is reserved")]
    OpcodeReserved(u8),
    /// A length in more bytes than it needs.
    #[error("the payload length is not in its shortest form")]
    LengthNotMinimal,
    /// The top bit of a 64-bit length.
    #[error("the top bit of the 64-bit payload length is set")]
    LengthTopBit,
    /// A control frame without FIN.
    #[error("a control frame is fragmented")]
    ControlFragmented,
    /// A control frame with more than 125 bytes.
    #[error("a control frame has more than 125 bytes of payload")]
    ControlTooLong,
    /// A client's frame without mask.
    #[error("a frame from the client is not masked")]
    MaskMissing,
    /// A server's frame with mask.
    #[error("a frame from the server is masked")]
    MaskUnexpected,
    /// A continuation with nothing to continue.
    #[error("a continuation frame without a message to continue")]
    ContinuationWithoutStart,
    /// A new message inside a fragmented one.
    #[error("a new message starts before the fragmented one has ended")]
    MessageInsideMessage,
    /// A Close payload of one byte.
    #[error("a Close frame has a payload of one byte")]
    ClosePayloadOneByte,
    /// A close code that must not be on the wire.
    #[error("close code {0} must not be sent")]
    CloseCodeInvalid(u16),
    /// A close reason that is not UTF-8.
    #[error("the close reason is not valid UTF-8")]
    CloseReasonUtf8,
    /// A text message that is not UTF-8.
    #[error("a text message is not valid UTF-8")]
    TextUtf8,
    /// A compressed payload that is no valid deflate stream.
    #[error("the compressed data is not a valid deflate stream")]
    DeflateData,
    /// A frame longer than the limit.
    #[error("a frame is longer than the limit of {limit} bytes")]
    FrameTooBig {
        /// The limit in bytes, `max_frame_size`.
        limit: usize,
    },
    /// A message longer than the limit.
    #[error("a message is longer than the limit of {limit} bytes")]
    MessageTooBig {
        /// The limit in bytes, `max_message_size`.
        limit: usize,
    },
    /// A compressed message that inflates beyond the ratio limit.
    #[error("a compressed message grows more than {limit} times")]
    RatioTooHigh {
        /// The limit, `max_inflate_ratio`.
        limit: u32,
    },
    /// A message in too many fragments.
    #[error("a message has more than {limit} fragments")]
    TooManyFragments {
        /// The limit, `max_fragments`.
        limit: u32,
    },
    /// Too many control frames in too short a time.
    #[error("too many control frames in a short time")]
    ControlFlood,
    /// A message that was begun and not completed in time.
    #[error("a message was not completed in time")]
    MessageTimeout,
}

impl Violation {
    /// The close code that answers this violation.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Rsv1
            | Self::Rsv2
            | Self::Rsv3
            | Self::Rsv1OnContinuation
            | Self::Rsv1OnControl
            | Self::OpcodeReserved(_)
            | Self::LengthNotMinimal
            | Self::LengthTopBit
            | Self::ControlFragmented
            | Self::ControlTooLong
            | Self::MaskMissing
            | Self::MaskUnexpected
            | Self::ContinuationWithoutStart
            | Self::MessageInsideMessage
            | Self::ClosePayloadOneByte
            | Self::CloseCodeInvalid(_) => CloseCode::PROTOCOL_ERROR,
            Self::CloseReasonUtf8 | Self::TextUtf8 | Self::DeflateData => {
                CloseCode::INVALID_PAYLOAD
            }
            Self::FrameTooBig { .. } | Self::MessageTooBig { .. } | Self::RatioTooHigh { .. } => {
                CloseCode::MESSAGE_TOO_BIG
            }
            Self::TooManyFragments { .. } | Self::ControlFlood | Self::MessageTimeout => {
                CloseCode::POLICY_VIOLATION
            }
        }
    }

    /// The rule: an RFC and its section, or the bound of ours.
    #[must_use]
    pub const fn section(self) -> &'static str {
        match self {
            Self::Rsv1
            | Self::Rsv2
            | Self::Rsv3
            | Self::OpcodeReserved(_)
            | Self::LengthNotMinimal
            | Self::LengthTopBit => "RFC 6455 section 5.2",
            Self::Rsv1OnContinuation | Self::Rsv1OnControl => "RFC 7692 section 6.1",
            Self::ControlFragmented | Self::ControlTooLong => "RFC 6455 section 5.5",
            Self::MaskMissing | Self::MaskUnexpected => "RFC 6455 section 5.1",
            Self::ContinuationWithoutStart | Self::MessageInsideMessage => "RFC 6455 section 5.4",
            Self::ClosePayloadOneByte => "RFC 6455 section 5.5.1",
            Self::CloseCodeInvalid(_) => "RFC 6455 section 7.4",
            Self::CloseReasonUtf8 | Self::TextUtf8 => "RFC 6455 section 8.1",
            Self::DeflateData => "RFC 7692 section 7.2.2",
            Self::FrameTooBig { .. } => "limit max_frame_size",
            Self::MessageTooBig { .. } => "limit max_message_size",
            Self::RatioTooHigh { .. } => "limit max_inflate_ratio",
            Self::TooManyFragments { .. } => "limit max_fragments",
            Self::ControlFlood => "limit control_burst",
            Self::MessageTimeout => "limit message_timeout",
        }
    }
}
