//! Calls about connections and users: who is there, and who has to go.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use antiphon_hub::{
    audience::Audience,
    broker::Revoked,
    code::{CloseReason, ErrorCode, close},
    hub::Client,
    id::ConnectionId,
    json::Json,
    presence::{ConnectionInfo, Filter, MAX_WINDOW},
    revocation::Revocation,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    api::{
        call::Call,
        choice::Choice,
        error::{CallError, connection_id},
        key::Scope,
        state::{ApiState, Login},
    },
    auth::sessions::session_name,
    setting::Secret,
};

/// Most entries of a page.
pub(crate) const MAX_PAGE: usize = 1000;

/// Entries of a page that does not say how many.
const PAGE: usize = 100;

/// Asks for connections of this node, the oldest first. Every filter that is given narrows the list.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = ConnectionsRequest)]
pub(crate) struct Connections {
    /// Of this user.
    user: Option<String>,
    /// With this tag.
    tag: Option<String>,
    /// Whose address has this text in it.
    address: Option<String>,
    /// Of this application.
    app: Option<String>,
    /// Connected at this time or later, in Unix milliseconds.
    since: Option<u64>,
    /// Connected before this time, in Unix milliseconds.
    until: Option<u64>,
    /// Entries to leave out at the beginning.
    #[schema(maximum = 100000)]
    offset: Option<usize>,
    /// Entries of the page; without it 100.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// A page of connections.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionPage {
    /// The page.
    connections: Vec<Connection>,
    /// How many there are on all pages.
    total: usize,
}

/// A connection.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Connection {
    /// Its id.
    #[schema(value_type = String)]
    id: ConnectionId,
    /// Its user.
    #[schema(value_type = Option<String>)]
    user: Option<Arc<str>>,
    /// Its login.
    #[schema(value_type = Option<String>)]
    session: Option<Arc<str>>,
    /// The application.
    #[schema(value_type = Option<String>)]
    app: Option<Arc<str>>,
    /// The kind of device.
    #[schema(value_type = Option<String>)]
    platform: Option<Arc<str>>,
    /// What it shows of itself.
    #[schema(value_type = serde_json::Value)]
    info: Option<Json>,
    /// Where it comes from.
    address: Option<String>,
    /// What it says that it is.
    #[schema(value_type = Option<String>)]
    user_agent: Option<Arc<str>>,
    /// The wire: `v1` or `v2`.
    #[schema(value_type = String)]
    wire: Cow<'static, str>,
    /// When it connected, in Unix milliseconds.
    connected_at: u64,
    /// When its latest message came, in Unix milliseconds.
    last_active: u64,
    /// When its login ends, in Unix milliseconds.
    expires_at: Option<u64>,
    /// Its tags.
    #[schema(value_type = Vec<String>)]
    tags: Vec<Arc<str>>,
    /// Messages that wait for it.
    waiting: usize,
    /// Their bytes.
    waiting_bytes: usize,
}

impl From<ConnectionInfo> for Connection {
    fn from(info: ConnectionInfo) -> Self {
        Self {
            id: info.id,
            user: info.user,
            session: info.session,
            app: info.app,
            platform: info.platform,
            info: info.info,
            address: info.address.map(|address| address.to_string()),
            user_agent: info.user_agent,
            wire: info.wire,
            connected_at: info.connected_at,
            last_active: info.last_active,
            expires_at: info.expires_at,
            tags: info.tags,
            waiting: info.waiting,
            waiting_bytes: info.waiting_bytes,
        }
    }
}

impl Call for Connections {
    const NAME: &'static str = "connections";
    const SCOPE: Scope = Scope::Connections;
    const ABOUT: &'static str = "Lists connections of this node, the oldest first.";
    type Answer = ConnectionPage;

    async fn run(self, state: &ApiState) -> Result<ConnectionPage, CallError> {
        let limit = page(self.limit)?;
        let offset = self.offset.unwrap_or(0);
        if offset > MAX_WINDOW {
            return Err(CallError::field("offset", format!("at most {MAX_WINDOW}")));
        }
        let mut filter = Filter::default();
        filter.user = self.user.map(Into::into);
        filter.tag = self.tag.map(Into::into);
        filter.app = self.app.map(Into::into);
        filter.address = self.address;
        filter.since = self.since.map(|at| time("since", at)).transpose()?;
        filter.until = self.until.map(|at| time("until", at)).transpose()?;
        let found = state
            .scan(move |hub| hub.connections(&filter, offset, limit))
            .await?;
        Ok(ConnectionPage {
            connections: found.items.into_iter().map(Connection::from).collect(),
            total: found.total,
        })
    }
}

fn time(path: &str, milliseconds: u64) -> Result<SystemTime, CallError> {
    UNIX_EPOCH
        .checked_add(Duration::from_millis(milliseconds))
        .ok_or_else(|| CallError::field(path, "no time"))
}

fn page(limit: Option<usize>) -> Result<usize, CallError> {
    match limit {
        None => Ok(PAGE),
        Some(limit @ 1..=MAX_PAGE) => Ok(limit),
        Some(_) => Err(CallError::field("limit", format!("1 to {MAX_PAGE}"))),
    }
}

/// Asks who is online on this node, in the order of the names.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = UsersRequest)]
pub(crate) struct Users {
    /// Only names behind this one: the last one of the page before.
    after: Option<String>,
    /// Entries of the page; without it 100.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// A page of users.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserPage {
    /// The page.
    users: Vec<User>,
    /// How many are online on this node.
    total: usize,
}

/// A user who is online.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct User {
    /// The name.
    #[schema(value_type = String)]
    user: Arc<str>,
    /// Connections.
    connections: usize,
}

impl Call for Users {
    const NAME: &'static str = "users";
    const SCOPE: Scope = Scope::Connections;
    const ABOUT: &'static str = "Lists the users who are online on this node.";
    type Answer = UserPage;

    async fn run(self, state: &ApiState) -> Result<UserPage, CallError> {
        let limit = page(self.limit)?;
        let after = self.after;
        let found = state
            .scan(move |hub| hub.users(after.as_deref(), limit))
            .await?;
        let users = found
            .items
            .into_iter()
            .map(|(user, connections)| User { user, connections });
        Ok(UserPage {
            users: users.collect(),
            total: found.total,
        })
    }
}

/// How many connections are being closed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Closed {
    /// Connections of this node.
    closed: u64,
}

/// The Close frame that clients get.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = Disconnection)]
pub(crate) struct Farewell {
    /// 3000 to 4999; from 3000 and from 4000 on clients connect again, from 3500 and from 4500 on they do not. 0 is
    /// 3503.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 4999)]
    code: u16,
    /// Why; at most 123 bytes.
    #[serde(default)]
    reason: String,
}

impl Farewell {
    fn reason(self, path: &str) -> Result<CloseReason, CallError> {
        let code = match self.code {
            0 => close::FORCE_NO_RECONNECT.code,
            code @ 3000..=4999 => code,
            _ => return Err(CallError::field(&format!("{path}code"), "3000 to 4999")),
        };
        if self.reason.is_empty() && self.code == 0 {
            return Ok(close::FORCE_NO_RECONNECT);
        }
        Ok(CloseReason::new(code, self.reason))
    }
}

/// Closes connections of a user.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DisconnectRequest)]
pub(crate) struct Disconnect {
    /// The user. This, `client` or `session` is needed; several narrow the choice.
    user: Option<String>,
    /// One connection.
    client: Option<String>,
    /// One login.
    session: Option<String>,
    /// Connections that stay.
    whitelist: Option<Vec<String>>,
    /// With what they are closed; without it 3503.
    disconnect: Option<Farewell>,
}

impl Closed {
    /// How many they are.
    pub(crate) fn count(&self) -> u64 {
        self.closed
    }
}

impl Call for Disconnect {
    const NAME: &'static str = "disconnect";
    const SCOPE: Scope = Scope::Disconnect;
    const ABOUT: &'static str = "Closes the connections of a user.";
    type Answer = Closed;

    async fn run(self, state: &ApiState) -> Result<Closed, CallError> {
        let reason = self.disconnect.unwrap_or_default().reason("disconnect.")?;
        let most = state.live().max_batch;
        let stay = self.whitelist.unwrap_or_default();
        if stay.len() > most {
            return Err(CallError::limit("whitelist", format!("at most {most}")));
        }
        let stay: HashSet<ConnectionId> = stay
            .iter()
            .enumerate()
            .map(|(at, id)| connection_id(&format!("whitelist[{at}]"), id))
            .collect::<Result<_, _>>()?;
        let choice = Choice::new(self.user, self.session, self.client.as_deref())?;
        if stay.is_empty() {
            return closed(&choice.audiences(state).await?, &reason).await;
        }
        let mut clients = choice.clients(state).await?;
        clients.retain(|client| !stay.contains(&client.id()));
        Ok(all_closed(&clients, &reason))
    }
}

/// Closes connections; their clients stay away unless `code` says otherwise.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = KickRequest)]
pub(crate) struct Kick {
    /// All connections of a user. This, `connection` or `session` is needed; several narrow the choice.
    user: Option<String>,
    /// One connection.
    connection: Option<String>,
    /// All connections of one login.
    session: Option<String>,
    /// Close code, 3000 to 4999; without it 3503.
    #[schema(minimum = 3000, maximum = 4999)]
    code: Option<u16>,
    /// Why, for the Close frame; at most 123 bytes.
    reason: Option<String>,
}

impl Call for Kick {
    const NAME: &'static str = "kick";
    const SCOPE: Scope = Scope::Disconnect;
    const ABOUT: &'static str = "Closes connections; their clients stay away.";
    type Answer = Closed;

    async fn run(self, state: &ApiState) -> Result<Closed, CallError> {
        if let Some(id) = &self.connection {
            connection_id("connection", id)?;
        }
        let farewell = Farewell {
            code: self.code.unwrap_or(0),
            reason: self.reason.unwrap_or_default(),
        };
        let reason = farewell.reason("")?;
        let chosen = Choice::new(self.user, self.session, self.connection.as_deref())?
            .audiences(state)
            .await?;
        closed(&chosen, &reason).await
    }
}

async fn closed(audiences: &[Audience], reason: &CloseReason) -> Result<Closed, CallError> {
    let mut closed = 0;
    for audience in audiences {
        closed += audience.disconnect(reason.clone()).await.connections;
    }
    Ok(Closed { closed })
}

fn all_closed(clients: &[Client], reason: &CloseReason) -> Closed {
    let closed = clients
        .iter()
        .filter(|client| client.disconnect(reason.clone()));
    Closed {
        closed: closed.count() as u64,
    }
}

/// Moves the end of logins.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RefreshRequest)]
pub(crate) struct Refresh {
    /// The user. This, `client` or `session` is needed; several narrow the choice.
    user: Option<String>,
    /// One connection.
    client: Option<String>,
    /// One login.
    session: Option<String>,
    /// Close the connections with 3004 at once.
    expired: Option<bool>,
    /// The new end, in Unix seconds. Without it, or 0: none.
    expire_at: Option<u64>,
}

/// How many logins were changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Refreshed {
    /// Connections of this node.
    connections: u64,
}

impl Call for Refresh {
    const NAME: &'static str = "refresh";
    const SCOPE: Scope = Scope::Disconnect;
    const ABOUT: &'static str = "Moves the end of the logins of connections.";
    type Answer = Refreshed;

    async fn run(self, state: &ApiState) -> Result<Refreshed, CallError> {
        let end = match self.expire_at {
            None | Some(0) => None,
            Some(at) => Some(
                UNIX_EPOCH
                    .checked_add(Duration::from_secs(at))
                    .ok_or_else(|| CallError::field("expire_at", "no time"))?,
            ),
        };
        let chosen = Choice::new(self.user, self.session, self.client.as_deref())?
            .audiences(state)
            .await?;
        if self.expired == Some(true) || end.is_some_and(|end| end <= SystemTime::now()) {
            let connections = closed(&chosen, &close::EXPIRED).await?.closed;
            return Ok(Refreshed { connections });
        }
        let mut connections = 0;
        for audience in &chosen {
            connections += audience.refresh(end).await.connections;
        }
        Ok(Refreshed { connections })
    }
}

/// Takes logins back: they are refused from now on, and their connections closed with 3510. One of `user`, `session`
/// and `token`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RevokeRequest)]
pub(crate) struct Revoke {
    /// All logins of this user that were made until now.
    user: Option<String>,
    /// One login: the `jti` of its token, or the key of its session.
    session: Option<String>,
    /// One token.
    #[schema(value_type = Option<String>)]
    token: Option<Secret>,
    /// Why, for the Close frame; at most 123 bytes.
    reason: Option<String>,
}

impl Call for Revoke {
    const NAME: &'static str = "revoke";
    const SCOPE: Scope = Scope::Revoke;
    const ABOUT: &'static str = "Takes logins back and closes their connections.";
    type Answer = Closed;

    async fn run(self, state: &ApiState) -> Result<Closed, CallError> {
        let reason = match self.reason {
            Some(reason) if !reason.is_empty() => CloseReason::new(close::REVOKED.code, reason),
            _ => close::REVOKED,
        };
        let now = SystemTime::now();
        let revoke = |login: &Login<'_>| {
            state.revoke().revoke(login, now).map_err(|_| {
                CallError::new(
                    ErrorCode::LimitExceeded,
                    "there are as many revocations as there may be; this one is not in force",
                )
            })
        };
        let (what, until, clients) = match (self.user, self.session, self.token) {
            (Some(user), None, None) if !user.is_empty() => {
                let until = revoke(&Login::User(&user))?;
                let clients = state.hub().user(user.as_str()).clients();
                (Revoked::User(user.into()), until, clients)
            }
            (None, Some(session), None) if !session.is_empty() => {
                let until = revoke(&Login::Session(&session))?;
                let choice = Choice::new(None, Some(session.clone()), None)?;
                (
                    Revoked::Session(session.into()),
                    until,
                    choice.clients(state).await?,
                )
            }
            (None, None, Some(token)) if !token.is_empty() => {
                let until = revoke(&Login::Token(&token))?;
                let digest = session_name(&token);
                (Revoked::Token(digest), until, of_token(state, token).await?)
            }
            _ => {
                return Err(CallError::field(
                    "user",
                    "exactly one is needed of user, session and token",
                ));
            }
        };
        let mut closed = all_closed(&clients, &reason);
        // The other nodes, where there are any, and whoever remembers revocations.
        let mut revocation = Revocation::new(what, until);
        revocation.user = clients.first().and_then(Client::user);
        revocation.before = Some(now);
        closed.closed += state.hub().revoke(revocation).await.connections;
        Ok(closed)
    }
}

/// The connections that were opened with a token: by its digest, by its `jti`, or by its user and the time of issue.
async fn of_token(state: &ApiState, token: Secret) -> Result<Vec<Client>, CallError> {
    #[derive(Default, Deserialize)]
    struct Claims {
        jti: Option<String>,
        sub: Option<String>,
        iat: Option<f64>,
    }
    let digest = session_name(&token);
    // Whether the token is genuine does not matter: it is refused from now on, and whoever calls may close any
    // connection.
    let claims: Claims = token
        .expose()
        .split('.')
        .nth(1)
        .and_then(|part| URL_SAFE_NO_PAD.decode(part).ok())
        .and_then(|part| serde_json::from_slice(&part).ok())
        .unwrap_or_default();
    let issued = claims
        .iat
        .and_then(|iat| Duration::try_from_secs_f64(iat).ok())
        .and_then(|iat| UNIX_EPOCH.checked_add(iat));
    let mut clients = match &claims.sub {
        Some(user) => state.hub().user(user.as_str()).clients(),
        None => Vec::new(),
    };
    if clients.is_empty() {
        clients = state.scan(|hub| hub.all().clients()).await?;
    }
    clients.retain(|client| {
        let identity = client.identity();
        match identity.session.as_deref() {
            Some(session) => session == &*digest || Some(session) == claims.jti.as_deref(),
            None => {
                issued.is_some()
                    && identity.issued_at == issued
                    && identity.user.as_deref() == claims.sub.as_deref()
            }
        }
    });
    Ok(clients)
}
