//! The WebSocket endpoint: who asks, and whether it is let in.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use antiphon::Upgrade;
use antiphon_hub::{
    code::close, hub::Hub, id::ConnectionId, identity::Identity, session::Hello, wire::Wire,
};
use axum::{
    extract::{FromRequestParts as _, Request},
    response::{IntoResponse as _, Response},
};
use http::header;

use super::{Use, site::Site};
use crate::{
    auth::{Admitted, Context, answer, error::TokenError, settings::Mode, source::Credential},
    demo,
    hooks::{answer::ConnectAnswer, question::Forwarded},
    traces::{Parent, note},
};

/// What is kept with each connection for the hooks.
pub(crate) struct Kept {
    pub(crate) headers: Forwarded,
    /// What the backend has said about it.
    pub(crate) answer: OnceLock<Box<ConnectAnswer>>,
    /// The span of its opening handshake, where traces are on.
    pub(crate) trace: Option<Parent>,
}

/// Answers a request to the endpoint.
pub(crate) async fn answer(site: Arc<Site>, request: Request) -> Response {
    match site.traces.clone() {
        None => enter(site, request).await,
        Some(traces) => {
            let headers = request.headers().clone();
            traces.handshake(&headers, enter(site, request)).await
        }
    }
}

async fn enter(site: Arc<Site>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let auth = site.auth();
    let credential = auth.credential(&parts);
    let upgrade = match Upgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let user_agent = parts
        .headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .map(|agent| Arc::from(agent.get(..MAX_AGENT).unwrap_or(agent)));
    let mut hello = Hello::default();
    hello.id = Some(ConnectionId::random());
    hello.user_agent = user_agent;
    if !upgrade.is_origin_allowed() {
        // Refused below, before any credential is looked at.
        return site.hub.accept(upgrade, hello);
    }
    if site.purpose == Use::Demo && auth.mode() == Mode::None {
        hello.identity = Some(demo::identity(parts.uri.query().unwrap_or_default()));
        return site.hub.accept(upgrade, hello);
    }
    match admit(&site, &credential, Means::Handshake(parts.uri.path())).await {
        Ok(identity) => {
            note("antiphon.authenticated", identity.user.is_some());
            hello.identity = Some(identity);
        }
        Err(TokenError::Missing) if offers_v2(&upgrade) => {}
        Err(error) => {
            tracing::debug!(reason = error.reason(), "a client is not let in");
            note("antiphon.reason", error.reason());
            return match auth.mode() {
                Mode::Hotgo => {
                    let trace = ConnectionId::random().to_string();
                    answer::hotgo_refusal(error, SystemTime::now(), &trace)
                }
                Mode::Jwt | Mode::None => answer::refusal(error),
            };
        }
    }
    hello.attachment = Some(Arc::new(Kept {
        headers: site.hooks.forwarded(&parts.headers),
        answer: OnceLock::new(),
        trace: Parent::here(),
    }));
    site.hub.accept(upgrade, hello)
}

/// Longest User-Agent that is kept, in bytes.
const MAX_AGENT: usize = 512;

fn offers_v2(upgrade: &Upgrade) -> bool {
    upgrade
        .requested_subprotocols()
        .any(|name| name == Wire::SUBPROTOCOLS[0])
}

/// How a credential came.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Means<'a> {
    /// With an opening handshake, to this path.
    Handshake(&'a str),
    /// In a message on an open connection.
    Message,
}

/// Who shows this credential; whom its login has replaced is closed.
pub(crate) async fn admit(
    site: &Site,
    credential: &Credential,
    means: Means<'_>,
) -> Result<Identity, TokenError> {
    let now = SystemTime::now();
    let context = Context {
        path: match means {
            Means::Handshake(path) => path,
            Means::Message => "",
        },
        app: None,
        now,
    };
    let Admitted {
        mut identity,
        replaced,
    } = site.auth().authenticate(credential, context).await?;
    if identity.expires_at.is_some_and(|end| end <= now) {
        // Accepted within the leeway: it is over when that is.
        let leeway = site.loaded().config.auth.leeway;
        identity.expires_at = identity.expires_at.map(|end| end + leeway);
    }
    if let (Some(user), false) = (&identity.user, replaced.is_empty()) {
        let (hub, user) = (site.hub.clone(), user.clone());
        match means {
            Means::Handshake(_) => close_replaced(&hub, &user, &replaced),
            Means::Message => {
                tokio::spawn(async move {
                    tokio::time::sleep(SETTLED).await;
                    close_replaced(&hub, &user, &replaced);
                });
            }
        }
    }
    Ok(identity)
}

/// When a connection that brings a new token in a message has taken it over: its own old session is one of those that
/// the new one replaces.
const SETTLED: Duration = Duration::from_millis(500);

fn close_replaced(hub: &Hub, user: &Arc<str>, replaced: &[Arc<str>]) {
    for client in hub.user(user.clone()).clients() {
        let session = client.identity().session.clone();
        if session.is_some_and(|session| replaced.contains(&session)) {
            client.disconnect(close::LOGGED_IN_ELSEWHERE);
        }
    }
}
