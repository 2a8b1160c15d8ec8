//! The bounds of a connection, each with its default.

use std::time::Duration;

/// Limits and times of a connection. One value is shared by all connections of a server.
///
/// ```
/// use antiphon_proto::config::Config;
///
/// let mut config = Config::default();
/// config.max_message_size = 64 * 1024;
/// assert_eq!(config.max_fragments, 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Longest message in bytes, counted after inflating; beyond it the peer gets 1009. Default 1 MiB.
    pub max_message_size: usize,
    /// Longest frame in bytes, as it stands in the frame's header; beyond it the peer gets 1009. Default: no limit but
    /// `max_message_size`.
    pub max_frame_size: Option<usize>,
    /// Most fragments of one message, empty ones included; beyond it the peer gets 1008. Default 1,024.
    pub max_fragments: u32,
    /// How many times its size a compressed message may grow, judged beyond 64 KiB; beyond it the peer gets 1009.
    /// Default 100.
    pub max_inflate_ratio: u32,
    /// Control frames that a peer may send in a second, in the long run; beyond it the peer gets 1008. Default 20.
    pub control_rate: u32,
    /// Control frames that a peer may send at once. Default 60.
    pub control_burst: u32,
    /// Silence after which a ping is sent. `None`: never. Default 25 s.
    pub ping_interval: Option<Duration>,
    /// Wait for any byte after a ping; then the connection is given up. Default 10 s.
    pub pong_timeout: Duration,
    /// Time without a data message in either direction after which the connection is closed with 1001. Default: none.
    pub idle_timeout: Option<Duration>,
    /// Wait for the first fragment of a message to be followed by its last; then the peer gets 1008. Default 30 s. A
    /// message that arrives at 1 KiB/s or faster is never cut.
    pub message_timeout: Duration,
    /// Wait for the peer's Close after ours; then the transport is dropped. Default 2 s.
    pub close_timeout: Duration,
    /// Wait for the peer to take any byte of what is queued; then the connection is given up. Default 10 s.
    pub write_timeout: Duration,
    /// Queued output in bytes above which sending waits. Default 64 KiB.
    pub write_high_water: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_message_size: 1024 * 1024,
            max_frame_size: None,
            max_fragments: 1024,
            max_inflate_ratio: 100,
            control_rate: 20,
            control_burst: 60,
            ping_interval: Some(Duration::from_secs(25)),
            pong_timeout: Duration::from_secs(10),
            idle_timeout: None,
            message_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(2),
            write_timeout: Duration::from_secs(10),
            write_high_water: 64 * 1024,
        }
    }
}

/// Where a connection's compression state lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// Codecs are shared by all connections; a connection keeps only its last `window` bytes of plaintext for each
    /// direction (0 to 32,768). With 1 to 4 KiB nearly the ratio of a codec of its own at a hundredth of its memory.
    Pooled {
        /// Bytes of plaintext kept for each direction.
        window: usize,
    },
    /// Each connection owns its codecs, about 430 kB: the least processor time for few, busy connections.
    Dedicated,
}

/// How permessage-deflate (RFC 7692) is offered, accepted and applied.
///
/// ```
/// use antiphon_proto::config::{Codec, DeflateConfig};
///
/// let mut deflate = DeflateConfig::default();
/// deflate.codec = Codec::Pooled { window: 4096 };
/// assert_eq!(deflate.min_size, 512);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeflateConfig {
    /// Effort from 1 (fast) to 9 (small). Default 1. With [`Codec::Pooled`] it makes messages of up to 2 KiB about a
    /// third longer than 2 does, in less than half the time.
    pub level: u8,
    /// Messages shorter than this, in bytes, are sent as they are. Default 512; 0 compresses everything.
    pub min_size: usize,
    /// Where compression state lives. Default [`Codec::Pooled`] with a window of 1 KiB.
    pub codec: Codec,
    /// Ask for, or insist on, a server that forgets its context after each message. Default false.
    pub server_no_context_takeover: bool,
    /// Ask for, or insist on, a client that forgets its context after each message. Default false.
    pub client_no_context_takeover: bool,
    /// Largest window of the server's compressor as a power of two, 8 to 15. Default 15.
    pub server_max_window_bits: u8,
    /// Largest window of the client's compressor as a power of two, 8 to 15. Default 15.
    pub client_max_window_bits: u8,
}

impl Default for DeflateConfig {
    fn default() -> Self {
        Self {
            level: 1,
            min_size: 512,
            codec: Codec::Pooled { window: 1024 },
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        }
    }
}

/// The parameters of permessage-deflate that both sides agreed on (RFC 7692 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateParams {
    /// The server's compressor starts each message with an empty window.
    pub server_no_context_takeover: bool,
    /// The client's compressor starts each message with an empty window.
    pub client_no_context_takeover: bool,
    /// Window of the server's compressor as a power of two, 8 to 15.
    pub server_max_window_bits: u8,
    /// Window of the client's compressor as a power of two, 8 to 15.
    pub client_max_window_bits: u8,
}

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Opens the connection and masks its frames.
    Client,
    /// Accepts the connection and never masks.
    Server,
}
