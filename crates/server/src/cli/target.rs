//! Options of everything that opens WebSockets: what the opening handshake says, and whom TLS believes.

use std::path::PathBuf;

use clap::Args;
use http::{HeaderName, HeaderValue};

use crate::value;

/// What the opening handshake says.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Handshake")]
pub(crate) struct HandshakeArgs {
    /// A header of the opening handshake, 'Name: value'; repeatable
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = value::header)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// A subprotocol to offer; repeatable, the preferred one first
    #[arg(short, long = "subprotocol", value_name = "NAME")]
    pub(crate) subprotocols: Vec<String>,
    /// The Origin header: what a browser on that page would send
    #[arg(short, long, value_name = "ORIGIN")]
    pub(crate) origin: Option<String>,
}

/// Whom TLS believes, and what it shows.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Network and TLS")]
pub(crate) struct TlsArgs {
    /// Trust the certificates in this file (PEM) and no others
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Certificate to show to the server (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Trust any certificate: whoever is on the way can read and change everything
    #[arg(short = 'k', long, conflicts_with = "ca")]
    pub(crate) insecure: bool,
}
