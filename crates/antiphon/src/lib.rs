//! Placeholder.
pub mod error;
pub mod origin;
pub mod peer;
pub mod tls;
pub use error::{Error, ErrorKind, Result};
pub use origin::Origins;
