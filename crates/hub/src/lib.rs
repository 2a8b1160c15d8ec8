//! The hub: who is connected, and who hears what.
//!
//! No process, no command line, no configuration file and no JWT: those are the server's.

pub mod broker;
pub mod code;
pub mod id;
pub mod identity;
pub mod json;
pub mod permission;
pub mod target;
pub mod wire;
