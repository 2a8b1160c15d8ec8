//! What a client reads that is not let in: 401 with the reason, or hotgo's 200 with code 61.

use std::time::SystemTime;

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use crate::auth::error::TokenError;

/// hotgo's code for "not signed in".
const HOTGO_NOT_AUTHORIZED: u16 = 61;

/// The refusal of a handshake: 401, or 503 where the same token may be accepted later.
pub(crate) fn refusal(error: TokenError) -> Response {
    #[derive(Serialize)]
    struct Outer {
        error: Inner,
    }
    #[derive(Serialize)]
    struct Inner {
        code: u16,
        reason: &'static str,
        message: String,
    }
    let body = Outer {
        error: Inner {
            code: if error.is_temporary() { 100 } else { 101 },
            reason: error.reason(),
            message: format!("{error}; {}", error.hint()),
        },
    };
    let mut response = json(&body);
    if error.is_temporary() {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    } else {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        // RFC 6750 section 3.1: without a credential there is no error to name.
        let challenge = match error {
            TokenError::Missing => "Bearer",
            _ => "Bearer error=\"invalid_token\"",
        };
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

/// The same as hotgo answers it: 200, for pages and programs that know hotgo.
pub(crate) fn hotgo_refusal(error: TokenError, now: SystemTime, trace: &str) -> Response {
    #[derive(Serialize)]
    struct Answer<'a> {
        code: u16,
        message: String,
        timestamp: u64,
        #[serde(rename = "traceID")]
        trace_id: &'a str,
    }
    json(&Answer {
        code: HOTGO_NOT_AUTHORIZED,
        message: error.to_string(),
        timestamp: now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        trace_id: trace,
    })
}

fn json<T: Serialize>(body: &T) -> Response {
    let Ok(text) = serde_json::to_vec(body) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt as _;

    use super::*;

    async fn text(response: Response) -> String {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn refusals_say_why() {
        for (error, status, challenge, start) in [
            (
                TokenError::Missing,
                401,
                Some("Bearer"),
                r#"{"error":{"code":101,"reason":"token_missing","message":"there is no token; "#,
            ),
            (
                TokenError::Expired,
                401,
                Some("Bearer error=\"invalid_token\""),
                r#"{"error":{"code":101,"reason":"token_expired","message":"the token has expired; "#,
            ),
            (
                TokenError::KeysUnavailable,
                503,
                None,
                r#"{"error":{"code":100,"reason":"keys_unavailable","message":"#,
            ),
        ] {
            let response = refusal(error);
            assert_eq!(response.status().as_u16(), status);
            let found = response.headers().get(WWW_AUTHENTICATE).cloned();
            assert_eq!(found.as_ref().map(|it| it.to_str().unwrap()), challenge);
            assert!(text(response).await.starts_with(start), "{error:?}");
        }
    }

    #[tokio::test]
    async fn hotgo_hears_its_own_words() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let response = hotgo_refusal(TokenError::Missing, now, "abc");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            text(response).await,
            r#"{"code":61,"message":"there is no token","timestamp":1800000000,"traceID":"abc"}"#
        );
    }
}
