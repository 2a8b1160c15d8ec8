//! A backend in the test: answers hooks, and collects webhooks.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::hmac;
use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode, Uri},
    response::IntoResponse as _,
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

use super::token::now;

/// The secret that signs what the server sends.
pub(crate) const SECRET: &str = "6cV1yQm8ZtB4nRk7Hs2XeJ9wLd5GpUf0";

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    /// Whether its signature is by [`SECRET`] and of these minutes.
    pub(crate) is_signed: bool,
}

/// A backend on a free port. It ends with the test.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<VecDeque<Question>>>,
    task: JoinHandle<()>,
}

impl Backend {
    /// Answers with status 200 and what this says; `None` is status 500.
    pub(crate) async fn start(
        answer: impl Fn(&Question) -> Option<Value> + Clone + Send + Sync + 'static,
    ) -> Self {
        let asked = Arc::new(Mutex::new(VecDeque::new()));
        let kept = asked.clone();
        let respond = move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let question = Question {
                path: uri.path().to_owned(),
                is_signed: is_signed(&headers, &body),
                headers,
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            let answer = answer(&question);
            kept.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_back(question);
            async move {
                match answer {
                    Some(answer) => (StatusCode::OK, answer.to_string()).into_response(),
                    None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                }
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, Router::new().fallback(respond)).await;
        });
        Self {
            address,
            asked,
            task,
        }
    }

    /// Everything that was asked so far.
    pub(crate) fn asked(&self) -> Vec<Question> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    /// What was asked at this path.
    pub(crate) fn asked_at(&self, path: &str) -> Vec<Question> {
        self.asked()
            .into_iter()
            .filter(|question| question.path == path)
            .collect()
    }

    /// Nothing listens any more.
    pub(crate) async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_signed(headers: &HeaderMap, body: &[u8]) -> bool {
    let header = headers
        .get("x-antiphon-signature")
        .and_then(|value| value.to_str().ok());
    let Some((time, signature)) = header
        .and_then(|header| header.strip_prefix("t="))
        .and_then(|header| header.split_once(",v1="))
    else {
        return false;
    };
    let mut message = format!("{time}.").into_bytes();
    message.extend_from_slice(body);
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let expected = hmac::sign(&key, &message);
    let expected: String = expected
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    time.parse::<u64>()
        .is_ok_and(|time| time.abs_diff(now()) < 300)
        && expected == signature
}
