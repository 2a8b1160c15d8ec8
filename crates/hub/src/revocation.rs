//! Which logins do not count any more.

use std::{sync::Arc, time::SystemTime};

use crate::broker::Revoked;

/// Which logins do not count any more, since when, and for how long that has to be remembered.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use antiphon_hub::{broker::Revoked, revocation::Revocation};
///
/// let until = SystemTime::now() + Duration::from_secs(3600);
/// let mut revocation = Revocation::new(Revoked::Session("a1b2".into()), until);
/// revocation.user = Some("ada".into());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revocation {
    /// What is revoked.
    pub what: Revoked,
    /// Whose session it is, where that is known. Without it every connection has to be looked at. Default: not known.
    pub user: Option<Arc<str>>,
    /// Of a user: only logins that are not newer than this; those without a time count as older. Default: all.
    pub before: Option<SystemTime>,
    /// Until when it has to be remembered: the end of the tokens that it is about.
    pub until: SystemTime,
}

impl Revocation {
    /// A revocation that has to be remembered until this time.
    #[must_use]
    pub fn new(what: Revoked, until: SystemTime) -> Self {
        Self {
            what,
            user: None,
            before: None,
            until,
        }
    }
}
