//! The hub: who is connected, and who hears what.
//!
//! No process, no command line, no configuration file and no JWT: those are the server's.
//!
//! ```
//! use antiphon::{Server, Upgrade};
//! use antiphon_hub::{config::HubConfig, hub::Hub, identity::Identity, router::Reply, session::Hello};
//!
//! let hub = Hub::new(HubConfig::default());
//! hub.on("who", |hub: Hub| async move { Reply(hub.all().count()) });
//! let server = Server::new().route("/socket", move |upgrade: Upgrade| {
//!     let hub = hub.clone();
//!     async move { hub.accept(upgrade, Hello::from_identity(Identity::default())) }
//! });
//! ```
//!
//! # Where to begin
//!
//! - [`hub::Hub`] sends: to [all](hub::Hub::all), a [connection](hub::Hub::connection), a [user](hub::Hub::user) or a
//!   [tag](hub::Hub::tag), each an [`audience::Audience`].
//! - [`hub::Hub::on`] handles events; its arguments are [extracted](router::Extract).
//! - [`session::Hello`] is what is known about a client when it comes; [`hub::Hub::accept`] serves it.
//! - [`config::HubConfig`] has every bound and policy, with its default.
//! - [`occurrence::Occurrence`] is what happens; [`presence`] lists who is here and counts; [`trace`] records frames.
//! - [`wire`] and [`code`] are the protocol, specified in `docs/protocol.md`.
//! - [`broker::Broker`] makes many hubs one.
//!
//! # What to know
//!
//! - No send waits for a reader. What waits for a connection is bounded; beyond it the [`config::Overflow`] decides.
//! - The events of a connection are handled in order, beside its heartbeat. A handler that panics is answered for.
//! - All members of a tag see its messages in one order.

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
pub mod trace;
pub mod wire;

mod desk;
mod outbox;
mod registry;
mod share;
mod traced;
mod writer;

/// The pages whose examples are tests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../../README.md")]
    mod readme {}
    #[doc = include_str!("../../../docs/chat.md")]
    mod chat {}
}
