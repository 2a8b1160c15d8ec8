//! The configuration of the realtime server: a TOML file below the environment below the command line.

pub(crate) mod key;
pub(crate) mod schema;
