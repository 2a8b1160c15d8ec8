//! The admin page's side of the server: a listener, a login and a hub of its own, and what the page may ask there.

pub(crate) mod actions;
pub(crate) mod attempts;
pub(crate) mod door;
pub(crate) mod journal;
pub(crate) mod people;
pub(crate) mod pulse;
pub(crate) mod requests;
pub(crate) mod sampler;
pub(crate) mod sessions;
pub(crate) mod shown;
pub(crate) mod state;

#[cfg(test)]
mod tests;
