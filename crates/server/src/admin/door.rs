//! The page's own HTTP: the files, login and logout, and the way to the socket.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use antiphon::{Upgrade, peer::Peer};
use antiphon_hub::session::Hello;
use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts as _, Request},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{any, get, post},
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use crate::{
    admin::{
        sessions::View,
        shown::unix_millis,
        state::{Admin, Visitor},
    },
    host, pages,
    setting::Secret,
};

/// Longest body of a login, in bytes.
pub(crate) const MAX_LOGIN: usize = 1024;

/// Time for it to arrive.
const LOGIN_TIME: Duration = Duration::from_secs(5);

/// The cookie.
const COOKIE: &str = "antiphon_admin";

/// The header that shows the CSRF token.
const CSRF: &str = "x-csrf-token";

/// Longest User-Agent that is kept, in bytes.
const MAX_AGENT: usize = 512;

/// Everything at the address of the page.
pub(crate) fn routes(admin: &Admin) -> Router {
    let with = |admin: &Admin| admin.clone();
    let (login_to, session_of, logout_of, socket_of) =
        (with(admin), with(admin), with(admin), with(admin));
    let guard_of = with(admin);
    pages::admin()
        .route(
            "/login",
            post(move |request| async move { login(&login_to, request).await }),
        )
        .route(
            "/session",
            get(move |request: Request| async move { session(&session_of, &request) }),
        )
        .route(
            "/logout",
            post(move |request: Request| async move { logout(&logout_of, &request) }),
        )
        .route(
            "/socket",
            any(move |request| async move { socket(&socket_of, request).await }),
        )
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            let admin = guard_of.clone();
            async move {
                if is_known(&admin, &request) {
                    return next.run(request).await;
                }
                answer(
                    StatusCode::MISDIRECTED_REQUEST,
                    &json!({"error": "unknown_host", "hint": "name the page's origin in admin.origins"}),
                )
            }
        }))
}

/// A name that a web site could have is answered only where the configuration says that it is ours.
fn is_known(admin: &Admin, request: &Request) -> bool {
    host::of_request(request).is_some_and(|host| {
        host::is_local(&host) || host::literal(&host).is_some() || admin.hosts().contains(&host)
    })
}

/// Whether a request comes from the page itself, or from a program.
fn is_own(admin: &Admin, request: &Request) -> bool {
    let headers = request.headers();
    let site = headers
        .get("sec-fetch-site")
        .map(HeaderValue::as_bytes)
        .unwrap_or(b"none");
    if site != b"same-origin" && site != b"none" {
        return false;
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return true;
    };
    let (Ok(origin), None) = (origin.to_str(), origins.next()) else {
        return false;
    };
    let of_page = || {
        let origin: Uri = origin.parse().ok()?;
        let authority = host::authority(request)?;
        let port = match origin.scheme_str()? {
            "https" => 443,
            _ => 80,
        };
        let same = origin.host()?.eq_ignore_ascii_case(authority.host())
            && origin.port_u16().unwrap_or(port) == authority.port_u16().unwrap_or(port);
        Some(same)
    };
    of_page().unwrap_or(false) || admin.origins().iter().any(|known| known == origin)
}

async fn login(admin: &Admin, request: Request) -> Response {
    let peer = peer_of(&request);
    if !is_own(admin, &request) {
        return foreign();
    }
    let kind = request.headers().get(header::CONTENT_TYPE);
    if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
        return error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "json_needed");
    }
    let secure = peer.is_secure() || is_secure(request.headers());
    let body = Limited::new(request.into_body(), MAX_LOGIN).collect();
    let body = match timeout(LOGIN_TIME, body).await {
        Err(_) => return error(StatusCode::REQUEST_TIMEOUT, "too_slow"),
        Ok(Err(failure)) if failure.is::<LengthLimitError>() => {
            return error(StatusCode::PAYLOAD_TOO_LARGE, "too_large");
        }
        Ok(Err(_)) => return error(StatusCode::BAD_REQUEST, "bad_request"),
        Ok(Ok(body)) => body.to_bytes(),
    };
    #[derive(Deserialize)]
    struct Login {
        token: Secret,
    }
    let Ok(Login { token }) = serde_json::from_slice(&body) else {
        return error(StatusCode::BAD_REQUEST, "bad_request");
    };
    match admin.login(&token, peer.address()) {
        Ok(Some(opened)) => {
            let mut response = view(&opened.view);
            set_cookie(
                &mut response,
                opened.secret.expose(),
                Some(admin.ttl()),
                secure,
            );
            response
        }
        Ok(None) => error(StatusCode::UNAUTHORIZED, "wrong_token"),
        Err(wait) => {
            let seconds = wait.as_secs().max(1);
            let body = json!({"error": "too_many_attempts", "retry_after": seconds});
            let mut response = answer(StatusCode::TOO_MANY_REQUESTS, &body);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
    }
}

fn session(admin: &Admin, request: &Request) -> Response {
    if !is_own(admin, request) {
        return foreign();
    }
    match of_cookie(admin, request.headers()) {
        Some(session) => view(&session),
        None => error(StatusCode::UNAUTHORIZED, "no_session"),
    }
}

fn logout(admin: &Admin, request: &Request) -> Response {
    if !is_own(admin, request) {
        return foreign();
    }
    let Some(session) = of_cookie(admin, request.headers()) else {
        return error(StatusCode::UNAUTHORIZED, "no_session");
    };
    let shown = request.headers().get(CSRF).map(HeaderValue::as_bytes);
    let number = shown
        .and_then(|csrf| str::from_utf8(csrf).ok())
        .and_then(|csrf| admin.sessions().of_csrf(csrf));
    if number != Some(session.number) {
        return error(StatusCode::FORBIDDEN, "csrf");
    }
    let peer = peer_of(request);
    admin.logout(session.number, peer.address());
    let mut response = StatusCode::NO_CONTENT.into_response();
    let secure = peer.is_secure() || is_secure(request.headers());
    set_cookie(&mut response, "", None, secure);
    response
}

async fn socket(admin: &Admin, request: Request) -> Response {
    let session = of_cookie(admin, request.headers());
    let (mut parts, _) = request.into_parts();
    let upgrade = match Upgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let agent = parts.headers.get(header::USER_AGENT);
    let mut hello = Hello::default();
    hello.user_agent = agent
        .and_then(|agent| agent.to_str().ok())
        .map(|agent| Arc::from(agent.get(..MAX_AGENT).unwrap_or(agent)));
    if upgrade.is_origin_allowed() {
        let Some(session) = session else {
            return error(StatusCode::UNAUTHORIZED, "no_session");
        };
        hello.attachment = Some(Arc::new(Visitor {
            session: session.number,
            address: upgrade.peer().address(),
        }));
    }
    // A foreign origin is refused here.
    admin.hub().accept(upgrade, hello)
}

fn peer_of(request: &Request) -> Peer {
    request
        .extensions()
        .get::<Peer>()
        .cloned()
        .unwrap_or_default()
}

/// The page was loaded over TLS, whatever lies in between.
fn is_secure(headers: &HeaderMap) -> bool {
    headers
        .get(header::ORIGIN)
        .is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

fn of_cookie(admin: &Admin, headers: &HeaderMap) -> Option<View> {
    let cookies = headers.get_all(header::COOKIE).iter();
    cookies
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .find_map(|(_, secret)| admin.sessions().of_cookie(secret))
}

fn set_cookie(response: &mut Response, value: &str, lasts: Option<Duration>, secure: bool) {
    let seconds = lasts.map_or(0, |lasts| lasts.as_secs());
    let mut cookie =
        format!("{COOKIE}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}");
    if secure {
        let _ = write!(cookie, "; Secure");
    }
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

fn view(session: &View) -> Response {
    let body = json!({
        "csrf": session.csrf.expose(),
        "expires_at": unix_millis(session.ends),
    });
    answer(StatusCode::OK, &body)
}

fn foreign() -> Response {
    error(StatusCode::FORBIDDEN, "foreign_origin")
}

fn error(status: StatusCode, word: &str) -> Response {
    answer(status, &json!({"error": word}))
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response {
    let mut response = pages::answer("application/json", Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
