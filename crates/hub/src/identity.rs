//! Who is behind a connection.

use std::{fmt, sync::Arc, time::SystemTime};

use crate::{json::Json, permission::Permissions};

/// Who is behind a connection, as an authenticator has found it. The default is anonymous and may do nothing.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Identity {
    /// The user; `None` for an anonymous client.
    pub user: Option<Arc<str>>,
    /// What revokes this login alone: the token's `jti`, or the key of a session that the server keeps.
    pub session: Option<Arc<str>>,
    /// The application that the user has signed in to.
    pub app: Option<Arc<str>>,
    /// The kind of device, for a policy of one connection for each.
    pub platform: Option<Arc<str>>,
    /// When the login was made: revoking a user ends what is older.
    pub issued_at: Option<SystemTime>,
    /// When it ends; the connection with it.
    pub expires_at: Option<SystemTime>,
    /// What others are shown about the client.
    pub info: Option<Json>,
    /// What the client may do.
    pub permissions: Arc<Permissions>,
    /// Tags that the connection joins at once.
    pub tags: Vec<Arc<str>>,
}

impl Identity {
    /// A client without a name.
    #[must_use]
    pub fn anonymous(permissions: Arc<Permissions>) -> Self {
        Self {
            permissions,
            ..Self::default()
        }
    }

    /// A client of this user.
    #[must_use]
    pub fn user(user: impl Into<Arc<str>>, permissions: Arc<Permissions>) -> Self {
        Self {
            user: Some(user.into()),
            permissions,
            ..Self::default()
        }
    }
}

/// Without what may be private: the info.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("user", &self.user)
            .field("session", &self.session.is_some())
            .field("app", &self.app)
            .field("platform", &self.platform)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
