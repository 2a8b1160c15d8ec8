//! What all peers share: the allocator, the command line, one runtime on one thread, the listener, and the echo loop.

pub mod echo;
pub mod http;
pub mod options;
pub mod ours;
pub mod peer;
pub mod server;

pub use crate::{
    peer::{BACKLOG, Fault, MAX_MESSAGE, Peer, Transport},
    server::{listen, run},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
