//! The opening handshake (RFC 6455 section 4, RFC 7692 section 7.1, RFC 8441) over the types of the `http` crate.
//!
//! Nothing here reads or writes a socket: an HTTP library parses, this room judges. A server hands its request to
//! [`server::ServerHandshake::judge`] and sends the response that comes back; a client sends what
//! [`client::ClientHandshake::request`] built and hands the response to [`client::Pending::verify`]. Both end with the
//! same [`Negotiated`].

use std::sync::Arc;

use crate::config::DeflateParams;

pub mod client;
pub mod extension;
pub mod key;
pub mod server;
pub mod uri;

/// What both sides agreed on in the opening handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    /// The subprotocol of the connection, if one was agreed on.
    pub subprotocol: Option<Arc<str>>,
    /// The parameters of permessage-deflate, if messages may be compressed.
    pub deflate: Option<DeflateParams>,
}
