//! The hub: who is connected, and who hears what.
//!
//! No process, no command line, no configuration file and no JWT: those are the server's.

pub mod audience;
pub mod broker;
pub mod cluster;
pub mod code;
pub mod config;
pub mod hub;
pub mod id;
pub mod identity;
pub mod json;
pub mod lifecycle;
pub mod link;
pub mod notice;
pub mod occurrence;
pub mod permission;
pub mod presence;
pub mod refusal;
pub mod revocation;
pub mod router;
pub mod session;
pub mod target;
pub mod wire;

mod desk;
mod outbox;
mod registry;

/// The pages of the guide, whose examples are tests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../../docs/chat.md")]
    mod chat {}
}
