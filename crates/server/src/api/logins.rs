//! Calls about logins: one-time tickets, and the sessions of hotgo's mode.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use antiphon_hub::{identity::Identity, json::Json, permission::Permissions};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    api::{call::Call, error::CallError, key::Scope, state::ApiState},
    setting::Secret,
};

/// Makes a ticket with which one client connects once, within seconds: `?ticket=...`. For browsers, whose URLs end up in
/// logs.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = TicketRequest)]
pub(crate) struct Ticket {
    /// The user; without it the client is anonymous.
    user: Option<String>,
    /// What revokes this login alone.
    session: Option<String>,
    /// The application.
    app: Option<String>,
    /// The kind of device.
    platform: Option<String>,
    /// What others are shown about the client.
    #[schema(value_type = Option<Object>)]
    info: Option<Json>,
    /// Tags that the connection joins at once.
    #[serde(default)]
    tags: Vec<String>,
    /// When the login ends, in Unix seconds; the connection with it.
    expire_at: Option<u64>,
    /// What the client may do; without it what the configuration says.
    #[schema(value_type = Option<Object>)]
    permissions: Option<Permissions>,
}

/// A ticket.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ticketed {
    /// The ticket. It is shown here and nowhere else.
    ticket: String,
    /// Seconds in which it has to be used.
    ttl: u64,
}

/// Most tags of a ticket.
const MAX_TAGS: usize = 128;

/// Longest name in a ticket, in bytes.
const MAX_NAME: usize = 255;

fn name(path: &str, name: Option<String>) -> Result<Option<Arc<str>>, CallError> {
    match name {
        Some(name) if name.is_empty() => Err(CallError::field(path, "is empty")),
        Some(name) if name.len() > MAX_NAME => Err(CallError::limit(
            path,
            format_args!("is longer than {MAX_NAME} bytes"),
        )),
        name => Ok(name.map(Arc::from)),
    }
}

impl Call for Ticket {
    const NAME: &'static str = "ticket";
    const SCOPE: Scope = Scope::Login;
    const ABOUT: &'static str = "Makes a one-time ticket for a client.";
    type Answer = Ticketed;

    async fn run(self, state: &ApiState) -> Result<Ticketed, CallError> {
        if self.tags.len() > MAX_TAGS {
            return Err(CallError::limit(
                "tags",
                format_args!("are more than {MAX_TAGS}"),
            ));
        }
        let mut identity = Identity::default();
        identity.user = name("user", self.user)?;
        identity.session = name("session", self.session)?;
        identity.app = name("app", self.app)?;
        identity.platform = name("platform", self.platform)?;
        identity.info = self.info;
        for tag in self.tags {
            identity.tags.extend(name("tags", Some(tag))?);
        }
        identity.expires_at = match self.expire_at {
            None => None,
            Some(at) => Some(
                UNIX_EPOCH
                    .checked_add(Duration::from_secs(at))
                    .ok_or_else(|| CallError::field("expire_at", "no time"))?,
            ),
        };
        let (ticket, ttl) = state.logins()?.ticket(identity, self.permissions)?;
        Ok(Ticketed {
            ticket: ticket.expose().to_owned(),
            ttl: ttl.as_secs(),
        })
    }
}

/// Opens the session of a token that a hotgo server has issued.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LoginRequest)]
pub(crate) struct Login {
    /// The token.
    #[schema(value_type = String)]
    token: Secret,
}

/// Ends the session of a token.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LogoutRequest)]
pub(crate) struct Logout {
    /// The token.
    #[schema(value_type = String)]
    token: Secret,
}

/// How many connections are being closed for it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ended {
    /// Connections of this node.
    closed: u64,
}

impl Call for Login {
    const NAME: &'static str = "login";
    const SCOPE: Scope = Scope::Login;
    const ABOUT: &'static str = "Opens the session of a token (auth.mode hotgo).";
    type Answer = Ended;

    async fn run(self, state: &ApiState) -> Result<Ended, CallError> {
        let closed = state.logins()?.login(&self.token).await?;
        Ok(Ended { closed })
    }
}

impl Call for Logout {
    const NAME: &'static str = "logout";
    const SCOPE: Scope = Scope::Login;
    const ABOUT: &'static str =
        "Ends the session of a token and closes its connections (auth.mode hotgo).";
    type Answer = Ended;

    async fn run(self, state: &ApiState) -> Result<Ended, CallError> {
        let closed = state.logins()?.logout(&self.token).await?;
        Ok(Ended { closed })
    }
}
