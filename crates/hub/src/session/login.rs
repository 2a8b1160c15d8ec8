//! Who a client says that it is.

use serde::Deserialize;
use std::sync::atomic::Ordering::Relaxed;

use super::guard::{Panicked, guarded};
use crate::{
    code::{ErrorCode, close},
    hub::{Hub, Request},
    identity::Identity,
    refusal::Refusal,
};

impl Hub {
    pub(super) async fn identify(&self, request: &Request) -> Result<Identity, Refusal> {
        let Ok(Some(token)) = request
            .data()
            .to::<Option<Token>>()
            .map(|data| data.and_then(|data| data.token))
        else {
            return Err(Refusal::of(ErrorCode::Unauthorized).saying("the token is missing"));
        };
        let authenticate = self
            .gates(|gates| gates.authenticate.clone())
            .ok_or_else(|| Refusal::of(ErrorCode::NotAvailable))?;
        guarded(async move { authenticate(token).await })
            .await
            .unwrap_or_else(|Panicked| {
                self.0.counters.handler_panics.fetch_add(1, Relaxed);
                Err(Refusal::of(ErrorCode::Internal).closing(close::SERVER_ERROR))
            })
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
}
