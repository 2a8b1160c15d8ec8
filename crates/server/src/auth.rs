//! Who a client is: from the credential of its handshake to an identity.

pub(crate) mod answer;
pub(crate) mod claims;
pub(crate) mod error;
pub(crate) mod fetch;
pub(crate) mod jwks;
pub(crate) mod jwt;
pub(crate) mod keys;
pub(crate) mod revocation;
pub(crate) mod secret;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod sign;
pub(crate) mod source;
pub(crate) mod tickets;

use std::{
    collections::HashSet,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use antiphon_hub::{identity::Identity, permission::Permissions};

use crate::{
    auth::{
        error::TokenError,
        jwks::Fetch,
        jwt::Verifier,
        revocation::{Full, Revocation, Revocations},
        sessions::{MemorySessions, SessionError, SessionStore},
        settings::{AuthSettings, Mode, SessionSettings},
        source::Credential,
        tickets::{NoMoreTickets, Tickets},
    },
    failure::Failure,
    setting::Secret,
};

/// What clients may do whose tokens do not say it.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    /// Clients with a name.
    pub(crate) users: Arc<Permissions>,
    /// Clients without.
    pub(crate) anonymous: Arc<Permissions>,
}

/// The circumstances of a credential.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// The path of the request.
    pub(crate) path: &'a str,
    /// The application that the path serves, where it serves one: others' tokens do not count there.
    pub(crate) app: Option<&'a str>,
    /// The time.
    pub(crate) now: SystemTime,
}

/// A client that was let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Who it is.
    pub(crate) identity: Identity,
    /// Sessions that this login has ended, by the name in [`Identity::session`]: their sockets are to be closed with
    /// 3511.
    pub(crate) replaced: Vec<Arc<str>>,
}

/// Judges credentials by the configuration, the sessions, the revocations and the tickets of this server.
pub(crate) struct Authenticator {
    mode: Mode,
    verifier: Option<Verifier>,
    defaults: Defaults,
    anonymous: bool,
    except_login: HashSet<String>,
    cookie: Option<String>,
    sessions: SessionSettings,
    ticket_ttl: Duration,
    state: State,
}

/// What outlives a reload of the configuration.
#[derive(Clone)]
pub(crate) struct State {
    /// Logins that ended before their time.
    pub(crate) revocations: Arc<Revocations>,
    /// Sessions of the mode `hotgo`.
    pub(crate) sessions: Arc<dyn SessionStore>,
    /// Tickets that wait.
    pub(crate) tickets: Arc<Tickets>,
}

impl State {
    /// Nothing revoked, nobody signed in; bounds as in the settings.
    pub(crate) fn new(settings: &AuthSettings) -> Self {
        Self {
            revocations: Arc::new(Revocations::new(
                settings.max_revocations,
                settings.revocation_ttl,
            )),
            sessions: Arc::new(MemorySessions::new(settings.sessions.clone())),
            tickets: Arc::new(Tickets::new(settings.max_tickets)),
        }
    }

    /// Forgets what has ended; to be called once a minute or so.
    pub(crate) fn sweep(&self, now: SystemTime) {
        self.revocations.sweep(now);
        self.sessions.sweep(now);
        self.tickets.sweep();
    }
}

impl Authenticator {
    /// An authenticator for a configuration. `fetch` is needed for `jwks_url` only. A reload makes a new one with the
    /// same `state`.
    ///
    /// # Errors
    ///
    /// As [`Verifier::new`].
    pub(crate) fn new(
        settings: &AuthSettings,
        defaults: Defaults,
        state: State,
        fetch: Option<Arc<dyn Fetch>>,
    ) -> Result<Self, Failure> {
        if settings.allow_no_exp && settings.mode == Mode::Jwt {
            tracing::warn!(
                "auth.allow_no_exp is on: a token without an end that is stolen works until the key changes"
            );
        }
        let verifier = match settings.mode {
            Mode::None => None,
            Mode::Jwt | Mode::Hotgo => {
                Some(Verifier::new(settings, defaults.users.clone(), fetch)?)
            }
        };
        Ok(Self {
            mode: settings.mode,
            verifier,
            defaults,
            anonymous: settings.anonymous || settings.mode == Mode::None,
            except_login: settings.except_login.iter().cloned().collect(),
            cookie: settings.cookie.clone(),
            sessions: settings.sessions.clone(),
            ticket_ttl: settings.ticket_ttl,
            state,
        })
    }

    /// The credential of a handshake.
    pub(crate) fn credential(&self, request: &http::request::Parts) -> Credential {
        source::find(
            &request.headers,
            request.uri.query(),
            self.cookie.as_deref(),
        )
    }

    /// Who shows this credential. Without one it may be an anonymous client; a bad one never makes anybody anonymous.
    ///
    /// # Errors
    ///
    /// Why not. [`TokenError::Missing`] means that a first message may still bring a credential.
    ///
    /// # Cancel safety
    ///
    /// A ticket that was read is used.
    pub(crate) async fn authenticate(
        &self,
        credential: &Credential,
        context: Context<'_>,
    ) -> Result<Admitted, TokenError> {
        let mut replaced = Vec::new();
        let identity = match (credential, &self.verifier) {
            (Credential::Ticket(ticket), _) => self
                .state
                .tickets
                .redeem(ticket)
                .ok_or(TokenError::Ticket)?,
            (Credential::Token(token), Some(verifier)) => {
                let verified = verifier.verify(token.expose(), context.now).await?;
                let mut identity = verified.identity;
                let revoked = &self.state.revocations;
                if revoked.is_token_revoked(&secret::digest(token), context.now) {
                    return Err(TokenError::Revoked);
                }
                if self.mode == Mode::Hotgo {
                    identity.session = Some(sessions::session_name(token));
                    if revoked.is_revoked(&identity, context.now) {
                        return Err(TokenError::Revoked);
                    }
                    if wrong_app(&identity, context.app) {
                        return Err(TokenError::Audience);
                    }
                    (identity.expires_at, replaced) =
                        self.session(token, &identity, context.now).await?;
                }
                identity
            }
            (Credential::Token(_) | Credential::None, None) => self.nobody(),
            (Credential::None, Some(_)) => {
                if !self.anonymous && !self.except_login.contains(context.path) {
                    return Err(TokenError::Missing);
                }
                self.nobody()
            }
        };
        if self.state.revocations.is_revoked(&identity, context.now) {
            return Err(TokenError::Revoked);
        }
        if wrong_app(&identity, context.app) {
            return Err(TokenError::Audience);
        }
        if identity.expires_at.is_some_and(|end| end <= context.now)
            && matches!(credential, Credential::Ticket(_))
        {
            return Err(TokenError::Expired);
        }
        Ok(Admitted { identity, replaced })
    }

    /// Opens a session for a token that a hotgo server has issued, as the HTTP API asks for it; gives what it replaces.
    ///
    /// # Errors
    ///
    /// The token is no good, or there is no room.
    pub(crate) async fn register(
        &self,
        token: &Secret,
        now: SystemTime,
    ) -> Result<Vec<Arc<str>>, TokenError> {
        let verifier = self.verifier.as_ref().ok_or(TokenError::Algorithm)?;
        let identity = verifier.verify(token.expose(), now).await?.identity;
        self.state
            .sessions
            .register(token, &identity, now, now)
            .await
            .map_err(refused)
    }

    /// Ends the session of a token for good; the name of the session, for closing its sockets.
    ///
    /// # Errors
    ///
    /// There are too many revocations: a token that is adopted could come back.
    pub(crate) async fn logout(&self, token: &Secret, now: SystemTime) -> Result<Arc<str>, Full> {
        self.state.sessions.logout(token).await;
        // An adopted session could be adopted again, until its token is too old for that.
        let until = now + self.sessions.expires;
        let digest = secret::digest(token);
        let revocation = Revocation::Token(digest);
        self.state
            .revocations
            .revoke(revocation, Some(until), now)?;
        Ok(sessions::session_name(token))
    }

    /// A one-time ticket for this client.
    ///
    /// # Errors
    ///
    /// Too many wait to be used.
    pub(crate) fn ticket(&self, identity: Identity) -> Result<Secret, NoMoreTickets> {
        self.state.tickets.issue(identity, self.ticket_ttl)
    }

    /// What is revoked, who is signed in, which tickets wait.
    #[cfg(test)]
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// How clients say who they are.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    fn nobody(&self) -> Identity {
        Identity::anonymous(self.defaults.anonymous.clone())
    }

    async fn session(
        &self,
        token: &Secret,
        identity: &Identity,
        now: SystemTime,
    ) -> Result<(Option<SystemTime>, Vec<Arc<str>>), TokenError> {
        let store = &self.state.sessions;
        match store.validate(token, now).await {
            Ok(end) => return Ok((Some(end), Vec::new())),
            Err(SessionError::Unknown) if self.sessions.adopt => {}
            Err(error) => return Err(refused(error)),
        }
        let since = identity
            .issued_at
            .ok_or(TokenError::Malformed("loginAt is missing"))?;
        let replaced = store
            .register(token, identity, since, now)
            .await
            .map_err(refused)?;
        let end = store.validate(token, now).await.map_err(refused)?;
        Ok((Some(end), replaced))
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("mode", &self.mode)
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

fn wrong_app(identity: &Identity, app: Option<&str>) -> bool {
    match (identity.app.as_deref(), app) {
        (Some(named), Some(served)) => named != served,
        _ => false,
    }
}

fn refused(error: SessionError) -> TokenError {
    match error {
        SessionError::Unknown | SessionError::Replaced => TokenError::Revoked,
        SessionError::Expired => TokenError::Expired,
        SessionError::Unavailable => TokenError::KeysUnavailable,
    }
}

#[cfg(test)]
mod tests;
