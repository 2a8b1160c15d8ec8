//! Options of permessage-deflate, the same for servers and for the client.

use antiphon::{Codec, DeflateConfig};
use clap::Args;

use crate::value;

/// The parameters of RFC 7692.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Compression (permessage-deflate)")]
pub(crate) struct CompressionArgs {
    /// Compress messages where the other side can, too
    #[arg(long)]
    pub(crate) compression: bool,
    /// Effort, 1 (fast) to 9 (small)
    #[arg(long, value_name = "LEVEL", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9), requires = "compression")]
    compression_level: u8,
    /// Messages shorter than this are sent as they are; 0 compresses everything
    #[arg(long, value_name = "SIZE", default_value = "512", value_parser = value::size, requires = "compression")]
    compression_min_size: usize,
    /// Plaintext that a connection remembers for each direction, 0 to 32KiB
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = window, requires = "compression", conflicts_with = "compression_dedicated")]
    compression_window: usize,
    /// Give each connection a codec of its own: best for few, busy connections; about 430 kB each
    #[arg(long, requires = "compression")]
    compression_dedicated: bool,
    /// The server forgets its context after each message
    #[arg(long, requires = "compression")]
    server_no_context_takeover: bool,
    /// The client forgets its context after each message
    #[arg(long, requires = "compression")]
    client_no_context_takeover: bool,
    /// Window of the server's compressor as a power of two, 8 to 15
    #[arg(long, value_name = "BITS", default_value_t = 15, value_parser = clap::value_parser!(u8).range(8..=15), requires = "compression")]
    server_max_window_bits: u8,
    /// Window of the client's compressor as a power of two, 8 to 15
    #[arg(long, value_name = "BITS", default_value_t = 15, value_parser = clap::value_parser!(u8).range(8..=15), requires = "compression")]
    client_max_window_bits: u8,
}

impl CompressionArgs {
    /// The configuration, where compression was asked for.
    pub(crate) fn config(&self) -> Option<DeflateConfig> {
        self.compression.then(|| {
            let mut config = DeflateConfig::default();
            config.level = self.compression_level;
            config.min_size = self.compression_min_size;
            config.codec = if self.compression_dedicated {
                Codec::Dedicated
            } else {
                Codec::Pooled {
                    window: self.compression_window,
                }
            };
            config.server_no_context_takeover = self.server_no_context_takeover;
            config.client_no_context_takeover = self.client_no_context_takeover;
            config.server_max_window_bits = self.server_max_window_bits;
            config.client_max_window_bits = self.client_max_window_bits;
            config
        })
    }
}

fn window(text: &str) -> Result<usize, String> {
    match value::size(text)? {
        size @ 0..=32_768 => Ok(size),
        _ => Err("more than 32KiB".into()),
    }
}
