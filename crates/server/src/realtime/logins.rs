//! Logins that the HTTP API makes and ends.

use std::{
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use antiphon_hub::{
    code::{CloseReason, ErrorCode, close},
    identity::Identity,
    permission::Permissions,
};

use super::site::Site;
use crate::{
    api::{
        error::CallError,
        state::{BoxFuture, Logins, nobody},
    },
    auth::{error::TokenError, settings::Mode},
    setting::Secret,
};

/// The site, for its own API.
pub(super) struct OfSite(pub(super) Weak<Site>);

impl OfSite {
    fn site(&self) -> Result<Arc<Site>, CallError> {
        self.0.upgrade().ok_or_else(nobody)
    }

    fn with_sessions(&self) -> Result<Arc<Site>, CallError> {
        let site = self.site()?;
        if site.auth().mode() == Mode::Hotgo {
            Ok(site)
        } else {
            Err(CallError::new(
                ErrorCode::NotAvailable,
                "there are no sessions: auth.mode is not hotgo; see revoke",
            ))
        }
    }
}

impl Logins for OfSite {
    fn ticket(
        &self,
        mut identity: Identity,
        permissions: Option<Permissions>,
    ) -> Result<(Secret, Duration), CallError> {
        let site = self.site()?;
        let loaded = site.loaded();
        let settings = &loaded.config.permissions;
        identity.permissions = Arc::new(match (permissions, &identity.user) {
            (Some(permissions), _) => permissions,
            (None, Some(_)) => settings.users(),
            (None, None) => settings.anonymous.clone(),
        });
        identity.issued_at = Some(SystemTime::now());
        let ticket = site.auth().ticket(identity).map_err(|_| {
            CallError::new(
                ErrorCode::LimitExceeded,
                "as many tickets wait to be used as may wait",
            )
        })?;
        Ok((ticket, loaded.config.auth.ticket_ttl))
    }

    fn login<'a>(&'a self, token: &'a Secret) -> BoxFuture<'a, Result<u64, CallError>> {
        Box::pin(async move {
            let site = self.with_sessions()?;
            let replaced = site
                .auth()
                .register(token, SystemTime::now())
                .await
                .map_err(bad_token)?;
            Ok(closed(&site, &replaced, &close::LOGGED_IN_ELSEWHERE))
        })
    }

    fn logout<'a>(&'a self, token: &'a Secret) -> BoxFuture<'a, Result<u64, CallError>> {
        Box::pin(async move {
            let site = self.with_sessions()?;
            let auth = site.auth();
            let session = auth.logout(token, SystemTime::now()).await.map_err(|_| {
                CallError::new(
                    ErrorCode::LimitExceeded,
                    "there are as many revocations as there may be; the token could come back",
                )
            })?;
            Ok(closed(&site, &[session], &close::REVOKED))
        })
    }
}

/// Closes the connections of these sessions; how many. It looks at all connections.
fn closed(site: &Site, sessions: &[Arc<str>], reason: &CloseReason) -> u64 {
    if sessions.is_empty() {
        return 0;
    }
    let mut closed = 0;
    for client in site.hub.all().clients() {
        let session = client.identity().session.clone();
        if session.is_some_and(|session| sessions.contains(&session)) {
            closed += u64::from(client.disconnect(reason.clone()));
        }
    }
    closed
}

fn bad_token(error: TokenError) -> CallError {
    let code = match error.code() {
        109 => ErrorCode::TokenExpired,
        100 => ErrorCode::Internal,
        _ => ErrorCode::Unauthorized,
    };
    let mut made = CallError::new(code, error.to_string());
    made.reason = Some(error.reason());
    made
}
