//! What the server says to a client: the welcome, replies, the goodbye.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use antiphon::{CloseCode, Utf8Bytes, WebSocket};
use serde::Serialize;

use crate::{
    code::{CloseReason, close, event},
    hub::{Answer, Client, Hub, Request},
    id::ConnectionId,
    json::Json,
    occurrence::{Cause, Side},
    outbox::{Frame, unix_seconds},
    registry::unix_millis,
    wire::{Envelope, Wire},
};

impl Hub {
    pub(super) fn welcome(&self, client: &Client) -> Welcome {
        let identity = client.identity();
        let config = self.config();
        Welcome {
            client: client.id(),
            session: identity.session.clone(),
            node: config.node.clone(),
            user: identity.user.clone(),
            ping: config.heartbeat_interval.as_secs(),
            pong: false,
            ttl: identity.expires_at.map(|end| {
                end.duration_since(SystemTime::now())
                    .map_or(0, |left| left.as_secs())
            }),
            time: unix_millis(SystemTime::now()),
            tags: client.tags(),
            data: client
                .connection
                .greeting
                .get()
                .map(|data| Json::clone(data)),
            limits: Limits {
                tags: config.max_tags_per_connection,
                rate: config.message_rate,
                burst: config.message_burst,
            },
        }
    }

    pub(super) fn push_frame(&self, wire: Wire, event: &str, data: Option<&Json>) -> Frame {
        let mut envelope = Envelope::push(event, data);
        envelope.timestamp = unix_seconds();
        Frame::encoded(wire, &envelope, &self.0.budget)
    }

    /// The reply to a request, where there is one: a result for whoever has asked with an id, and every refusal. In v1
    /// there are no ids; there a result with data is the reply, and what the built-in events answer.
    pub(super) fn answer_frame(
        &self,
        wire: Wire,
        request: &Request,
        answer: Answer,
    ) -> Option<Frame> {
        let event = request.event();
        let id = request.id();
        let data;
        let mut envelope = match &answer {
            Ok(result) => {
                let wanted = match wire {
                    Wire::V1 => result.is_some() || event == event::V1_PING,
                    Wire::V2 => id.is_some(),
                };
                if !wanted {
                    return None;
                }
                data = result.as_ref();
                Envelope::reply(event, id, data)
            }
            Err(refusal) => {
                let mut envelope = Envelope::reply(event, id, None);
                envelope.code = refusal.code();
                envelope.error = Some(refusal.message());
                envelope.temporary = refusal.is_temporary();
                envelope.retry_after_ms = refusal
                    .wait()
                    .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                envelope
            }
        };
        envelope.timestamp = unix_seconds();
        Some(Frame::encoded(wire, &envelope, &self.0.budget))
    }

    /// How long a client is asked to wait before it connects again.
    pub(super) fn spread(&self, reason: &CloseReason) -> Duration {
        let all_at_once = *reason == close::RESTART
            || *reason == close::GOING_AWAY
            || *reason == close::SHUTDOWN
            || *reason == close::TRY_AGAIN_LATER;
        if all_at_once {
            self.config()
                .reconnect_spread
                .mul_f64(rand::random::<f64>())
        } else {
            Duration::ZERO
        }
    }
}

/// What a client is told first.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Welcome {
    client: ConnectionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Arc<str>>,
    node: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Arc<str>>,
    /// Seconds after which a silent server is a dead one, a little later.
    ping: u64,
    /// Whether the client has to answer a heartbeat. Control frames tell us enough.
    pong: bool,
    /// Seconds until the login ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    time: u64,
    tags: Vec<Arc<str>>,
    /// What the application says.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Json>,
    limits: Limits,
}

#[derive(Serialize)]
struct Limits {
    tags: usize,
    rate: u32,
    burst: u32,
}

/// What a client is told before the Close; nothing where its wire has no word for the reason.
pub(super) fn goodbye(wire: Wire, reason: &CloseReason, delay: Duration) -> Option<String> {
    let is_kick = [
        close::FORCE_NO_RECONNECT,
        close::REVOKED,
        close::LOGGED_IN_ELSEWHERE,
    ]
    .contains(reason);
    if wire == Wire::V1 && !is_kick {
        return None;
    }
    let data = Json::of(&Goodbye {
        code: reason.code,
        reason: &reason.reason,
        reconnect: reason.reconnect,
        delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
    })
    .ok();
    let mut envelope = match wire {
        Wire::V1 => Envelope::push("kick", None),
        Wire::V2 => Envelope::push(event::DISCONNECT, data.as_ref()),
    };
    envelope.timestamp = unix_seconds();
    Some(wire.encode(&envelope))
}

/// Tells the client why it is closed, and closes.
pub(super) async fn end(
    wire: Wire,
    socket: &WebSocket,
    reason: &CloseReason,
    delay: Duration,
) -> Cause {
    if let Some(goodbye) = goodbye(wire, reason, delay) {
        // A peer that does not read is not worth the wait.
        let _ = socket.try_send(goodbye);
    }
    let sendable = CloseCode::new(reason.code).is_sendable();
    let code = if sendable {
        reason.code
    } else {
        close::CONNECTION_CLOSED.code
    };
    let _ = socket
        .close(code, Utf8Bytes::from(reason.reason.to_string()))
        .await;
    Cause::new(Side::Server, code, reason.reason.clone())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Goodbye<'a> {
    code: u16,
    reason: &'a str,
    reconnect: bool,
    delay_ms: u64,
}
