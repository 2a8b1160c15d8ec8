//! What an administrator does to clients: send, close, trace. Each is written down with who has done it.

use antiphon_hub::{
    code::ErrorCode, hub::Delivery, id::ConnectionId, json::Json, trace::NotTraced,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    admin::state::{Admin, Visitor},
    api::{
        call::{Call as _, present},
        error::{CallError, connection_id},
        people::{Kick, Revoke},
        sending::{Receivers, event_name, named},
    },
};

/// An event for some connections.
#[derive(Debug, Deserialize)]
pub(crate) struct Send {
    to: Receivers,
    event: String,
    #[serde(default, deserialize_with = "present")]
    data: Option<Json>,
}

impl Send {
    /// Sends it.
    ///
    /// # Errors
    ///
    /// It is for nobody in particular, or cannot be sent.
    pub(crate) async fn run(self, admin: &Admin, by: &Visitor) -> Result<Delivery, CallError> {
        let hub = admin.api().hub();
        let longest = hub.config().max_name_length;
        let target = self.to.target()?;
        if let Some(name) = target.name() {
            named("to", name, longest)?;
        }
        event_name(&self.event, longest)?;
        let detail = format!("{} to {target}", self.event);
        let delivery = hub
            .audience(target)
            .send_json(&self.event, self.data)
            .await?;
        let detail = format!("{detail}: {} connections", delivery.receivers);
        admin.journal().did("send", detail, by.address);
        Ok(delivery)
    }
}

/// Connections that have to go.
#[derive(Debug, Deserialize)]
pub(crate) struct Close {
    connection: Option<String>,
    user: Option<String>,
    session: Option<String>,
    #[serde(default)]
    revoke: bool,
    reason: Option<String>,
}

/// How many had to go.
#[derive(Debug, Serialize)]
pub(crate) struct Gone {
    closed: u64,
    revoked: bool,
}

impl Close {
    /// Closes them, as the HTTP API does.
    ///
    /// # Errors
    ///
    /// Not exactly one is named, or as many logins are revoked as may be.
    pub(crate) async fn run(self, admin: &Admin, by: &Visitor) -> Result<Gone, CallError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let whom = match (
            given(&self.connection),
            given(&self.user),
            given(&self.session),
        ) {
            (Some(id), None, None) => ("connection", id),
            (None, Some(user), None) => ("user", user),
            (None, None, Some(session)) => ("session", session),
            _ => {
                let what = "exactly one is needed of connection, user and session";
                return Err(CallError::field("connection", what));
            }
        };
        let login = if self.revoke {
            login_of(admin, &whom)?
        } else {
            None
        };
        let reason = given(&self.reason);
        let params =
            |what: &(&str, String)| json!({(what.0): what.1, "reason": reason}).to_string();
        let closed = match &login {
            Some(login) => {
                let revoke: Revoke = crate::api::call::read(&params(login))?;
                revoke.run(admin.api()).await?.count()
            }
            None => {
                let kick: Kick = crate::api::call::read(&params(&whom))?;
                kick.run(admin.api()).await?.count()
            }
        };
        let revoked = match &login {
            Some((kind, name)) => format!(", and the logins of {kind} {name} revoked"),
            None => String::new(),
        };
        let detail = format!("{} {}: {closed} closed{revoked}", whom.0, whom.1);
        admin.journal().did("close", detail, by.address);
        Ok(Gone {
            closed,
            revoked: login.is_some(),
        })
    }
}

/// The login behind a choice: of a connection its session, or its user where it has none. A connection of nobody has none.
fn login_of(
    admin: &Admin,
    whom: &(&'static str, String),
) -> Result<Option<(&'static str, String)>, CallError> {
    if whom.0 != "connection" {
        return Ok(Some(whom.clone()));
    }
    let id = connection_id("connection", &whom.1)?;
    let identity = admin.api().hub().client(id).map(|client| client.identity());
    Ok(identity.and_then(|identity| {
        let session = identity.session.as_ref().map(|name| ("session", name));
        let user = identity.user.as_ref().map(|name| ("user", name));
        session
            .or(user)
            .map(|(kind, name)| (kind, name.to_string()))
    }))
}

/// Whether the frames of a connection are recorded.
#[derive(Debug, Deserialize)]
pub(crate) struct Trace {
    id: ConnectionId,
    on: bool,
}

/// Whether they are now.
#[derive(Debug, Serialize)]
pub(crate) struct Traced {
    traced: bool,
}

impl Trace {
    /// Begins or stops.
    ///
    /// # Errors
    ///
    /// It is not connected, or too many are traced.
    pub(crate) fn run(self, admin: &Admin, by: &Visitor) -> Result<Traced, CallError> {
        let hub = admin.api().hub();
        let changed = if self.on {
            hub.trace(self.id).map_err(|error| match error {
                NotTraced::TooMany => {
                    admin.count_too_many_traces();
                    CallError::new(ErrorCode::LimitExceeded, error.to_string())
                }
                _ => CallError::new(ErrorCode::NotAvailable, error.to_string()),
            })?;
            true
        } else {
            hub.untrace(self.id)
        };
        if changed {
            let action = if self.on { "trace" } else { "untrace" };
            let detail = format!("connection {}", self.id);
            admin.journal().did(action, detail, by.address);
        }
        Ok(Traced { traced: self.on })
    }
}
