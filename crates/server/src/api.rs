//! The HTTP API: a backend sends, asks who is there, and closes.

pub(crate) mod batch;
pub(crate) mod call;
pub(crate) mod channels;
pub(crate) mod choice;
pub(crate) mod document;
pub(crate) mod error;
pub(crate) mod failures;
pub(crate) mod hotgo;
pub(crate) mod idempotency;
pub(crate) mod key;
pub(crate) mod logins;
pub(crate) mod node;
pub(crate) mod people;
pub(crate) mod sending;
pub(crate) mod state;
pub(crate) mod table;

use std::{net::IpAddr, sync::atomic::Ordering::Relaxed};

use antiphon::peer::Peer;
use antiphon_hub::code::ErrorCode;
use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    response::Response,
    routing::any,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::Serialize;

use crate::api::{
    batch::{Reply, batch, call, old},
    error::{BAD_JSON, CallError, ErrorAnswer, Rejection},
    hotgo::{Envelope, UNAUTHORIZED},
    key::{Holder, Scope},
    state::ApiState,
    table::find,
};

/// The routes of the API, below the path of the configuration. Without a key in it they answer 401 to everybody.
pub(crate) fn routes(state: ApiState) -> Router {
    let path = state.path().to_owned();
    let document = document::document(&path).map_err(|error| error.to_string());
    let document = match document {
        Ok(text) => Bytes::from(text),
        // Cannot happen: the document holds nothing that has no JSON.
        Err(error) => Bytes::from(format!("{{\"error\":{error:?}}}")),
    };
    let serve_document = move |method: Method| {
        let document = document.clone();
        async move {
            if method == Method::GET || method == Method::HEAD {
                answer(StatusCode::OK, document)
            } else {
                rejected(wrong_method("GET"))
            }
        }
    };
    let root = if path.is_empty() { "/" } else { &path };
    Router::new()
        .route(root, any(old_form))
        .route(&format!("{path}/openapi.json"), any(serve_document))
        .route(&format!("{path}/{{method}}"), any(one))
        .with_state(state)
}

/// The calls of hotgo's server; `socket` is the path of the WebSocket.
pub(crate) fn hotgo_routes(state: ApiState, socket: &str) -> Router {
    let socket = socket.trim_end_matches('/');
    Router::new()
        .route(&format!("{socket}/send/toTag"), any(to_tag))
        .route("/admin/monitor/userOnlineList", any(online))
        .route("/admin/monitor/userOffline", any(offline))
        .with_state(state)
}

async fn to_tag(State(state): State<ApiState>, peer: Peer, request: Request<Body>) -> Response {
    let form = is_form(request.headers());
    match enter_hotgo(&state, peer, request, Method::POST, Scope::Publish).await {
        Ok(body) => json(StatusCode::OK, &hotgo::to_tag(&state, form, &body).await),
        Err(response) => response,
    }
}

async fn online(State(state): State<ApiState>, peer: Peer, request: Request<Body>) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    match enter_hotgo(&state, peer, request, Method::GET, Scope::Connections).await {
        Ok(_) => match hotgo::online(&state, &query).await {
            Ok(envelope) => json(StatusCode::OK, &envelope),
            Err(error) => failed(error),
        },
        Err(response) => response,
    }
}

async fn offline(State(state): State<ApiState>, peer: Peer, request: Request<Body>) -> Response {
    let form = is_form(request.headers());
    match enter_hotgo(&state, peer, request, Method::POST, Scope::Disconnect).await {
        Ok(body) => json(StatusCode::OK, &hotgo::offline(&state, form, &body).await),
        Err(response) => response,
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    })
}

/// As [`enter`], with what is wrong in hotgo's envelope; its status tells the same.
async fn enter_hotgo(
    state: &ApiState,
    peer: Peer,
    request: Request<Body>,
    method: Method,
    scope: Scope,
) -> Result<String, Response> {
    let entered = async {
        state.counters().requests.fetch_add(1, Relaxed);
        if request.method() != method {
            let allowed = if method == Method::GET { "GET" } else { "POST" };
            return Err(wrong_method(allowed));
        }
        let holder = holder(state, peer.address(), request.headers())?;
        if !holder.scopes.allow(scope) {
            state.counters().forbidden.fetch_add(1, Relaxed);
            return Err(Rejection::new(
                StatusCode::FORBIDDEN,
                ErrorCode::PermissionDenied,
                "missing_scope",
                format!("the key lacks the scope {}", scope.name()),
            ));
        }
        body(state, request).await
    };
    entered.await.map_err(|rejection| {
        let message = rejection.error.message.clone();
        let envelope = Envelope::new(UNAUTHORIZED, message, serde_json::Value::Null);
        let mut response = rejected(rejection);
        if let Ok(bytes) = serde_json::to_vec(&envelope) {
            *response.body_mut() = Body::from(bytes);
        }
        response
    })
}

async fn one(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    peer: Peer,
    request: Request<Body>,
) -> Response {
    let made = async {
        let row = find(&name);
        if row.is_none() && name != "batch" {
            let error = batch::unknown(&name);
            return Err(Rejection {
                status: StatusCode::NOT_FOUND,
                error,
                retry_after: None,
            });
        }
        let (holder, body) = enter(&state, peer, request).await?;
        let Some(row) = row else {
            return Ok(match batch(&body, holder.scopes, &state).await {
                Ok(replies) => json(StatusCode::OK, &replies),
                Err(error) => {
                    state.counters().errors.fetch_add(1, Relaxed);
                    failed(error)
                }
            });
        };
        let outcome = call(row, &body, holder.scopes, &state).await;
        match outcome {
            Err(error) if !holder.scopes.allow(row.scope) => Err(Rejection::new(
                StatusCode::FORBIDDEN,
                ErrorCode::PermissionDenied,
                "missing_scope",
                error.message,
            )),
            Err(error) => Ok(failed(error)),
            Ok(result) => Ok(json(StatusCode::OK, &Reply::Result(result))),
        }
    };
    made.await.unwrap_or_else(rejected)
}

async fn old_form(State(state): State<ApiState>, peer: Peer, request: Request<Body>) -> Response {
    let made = async {
        let (holder, body) = enter(&state, peer, request).await?;
        Ok(match old(&body, holder.scopes, &state).await {
            Ok(replies) => answer(StatusCode::OK, replies.into()),
            Err(error) => {
                state.counters().errors.fetch_add(1, Relaxed);
                failed(error)
            }
        })
    };
    made.await.unwrap_or_else(rejected)
}

/// The answer of a call that failed: 200, unless there was no JSON.
fn failed(error: CallError) -> Response {
    let status = match error.reason {
        Some(BAD_JSON) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    };
    json(status, &ErrorAnswer { error })
}

/// Lets a request in: the method, then the key, and only then the body.
async fn enter(
    state: &ApiState,
    peer: Peer,
    request: Request<Body>,
) -> Result<(Holder, String), Rejection> {
    state.counters().requests.fetch_add(1, Relaxed);
    if request.method() != Method::POST {
        return Err(wrong_method("POST"));
    }
    let holder = holder(state, peer.address(), request.headers())?;
    let body = body(state, request).await?;
    Ok((holder, body))
}

/// Who calls. A right key is let in even where wrong ones come from the same address: a neighbour with an old key must
/// not shut others out, and keys are too long to be guessed.
pub(crate) fn holder(
    state: &ApiState,
    address: Option<IpAddr>,
    headers: &HeaderMap,
) -> Result<Holder, Rejection> {
    let shown = key::shown(headers);
    if let Some(holder) = shown.and_then(|key| state.live().keys.find(key)) {
        return Ok(holder);
    }
    state.counters().unauthorized.fetch_add(1, Relaxed);
    if let Some(wait) = state.failures().record(address) {
        state.counters().throttled.fetch_add(1, Relaxed);
        tracing::debug!(?address, "too many requests without a right key");
        return Err(Rejection {
            retry_after: Some(wait),
            ..Rejection::new(
                StatusCode::TOO_MANY_REQUESTS,
                ErrorCode::TooManyRequests,
                "too_many_failures",
                "too many requests without a right key from this address",
            )
        });
    }
    tracing::debug!(?address, "a request without a right key");
    let (reason, message) = match shown {
        None => (
            "missing_key",
            "a key is needed: send it as X-API-Key, or as Authorization: apikey KEY",
        ),
        Some(_) => ("unknown_key", "this key is none of the server's"),
    };
    Err(Rejection::new(
        StatusCode::UNAUTHORIZED,
        ErrorCode::Unauthorized,
        reason,
        message,
    ))
}

async fn body(state: &ApiState, request: Request<Body>) -> Result<String, Rejection> {
    let most = state.max_body();
    let too_large = || {
        state.counters().too_large.fetch_add(1, Relaxed);
        Rejection::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::LimitExceeded,
            "too_large",
            format!("the body is longer than {most} bytes"),
        )
    };
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    // What is a little too long is read to its end and dropped: most clients look for an answer only when they have sent
    // everything.
    let most_read = most.saturating_mul(2);
    if announced.is_some_and(|length| length > most_read as u64) {
        return Err(too_large());
    }
    let mut frames = request.into_body();
    let (mut body, mut length) = (Vec::new(), 0);
    while let Some(frame) = frames.frame().await {
        let frame = frame.map_err(|_| bad_body("the body did not arrive"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        if length <= most {
            body.extend_from_slice(&data);
        } else if length > most_read {
            break;
        } else {
            body = Vec::new();
        }
    }
    if length > most {
        return Err(too_large());
    }
    let text = String::from_utf8(body).map_err(|error| bad_body(error.to_string()))?;
    if text.trim_ascii().is_empty() {
        return Ok("{}".to_owned());
    }
    Ok(text)
}

fn bad_body(message: impl Into<std::borrow::Cow<'static, str>>) -> Rejection {
    Rejection::new(
        StatusCode::BAD_REQUEST,
        ErrorCode::BadRequest,
        BAD_JSON,
        message,
    )
}

fn wrong_method(allowed: &'static str) -> Rejection {
    Rejection::new(
        StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::BadRequest,
        "wrong_method",
        allowed,
    )
}

/// The response of a request that reached no call.
pub(crate) fn rejected(rejection: Rejection) -> Response {
    let Rejection {
        status,
        mut error,
        retry_after,
    } = rejection;
    let mut allow = None;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        allow = HeaderValue::from_str(&error.message).ok();
        error.message = format!("only {} is answered here", error.message).into();
    }
    let mut response = json(status, &ErrorAnswer { error });
    let headers = response.headers_mut();
    if let Some(allow) = allow {
        headers.insert(header::ALLOW, allow);
    }
    if let Some(wait) = retry_after {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        headers.insert(
            header::RETRY_AFTER,
            HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)),
        );
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("apikey"));
    }
    response
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => answer(status, bytes.into()),
        // Cannot happen: what is answered has JSON.
        Err(_) => answer(
            StatusCode::INTERNAL_SERVER_ERROR,
            Bytes::from_static(FAILED),
        ),
    }
}

const FAILED: &[u8] = br#"{"error":{"code":100,"message":"internal server error"}}"#;

fn answer(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
