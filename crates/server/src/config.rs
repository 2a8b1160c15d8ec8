//! The configuration of the realtime server: a TOML file below the environment below the command line.

pub(crate) mod auth;
pub(crate) mod command;
pub(crate) mod disk;
pub(crate) mod file;
pub(crate) mod hub;
pub(crate) mod judge;
pub(crate) mod key;
pub(crate) mod load;
pub(crate) mod memory;
pub(crate) mod problem;
pub(crate) mod rules;
pub(crate) mod schema;
pub(crate) mod show;
pub(crate) mod table;
pub(crate) mod template;
#[cfg(test)]
mod tests;
