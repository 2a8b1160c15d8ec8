//! Calls that send: `publish`, `broadcast`, `send`.

use antiphon_hub::{audience::Audience, config, hub::Delivery, json::Json, target::Target};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering::Relaxed;
use utoipa::ToSchema;

use crate::api::{
    call::{Call, present},
    error::{CallError, connection_id},
    idempotency,
    key::Scope,
    state::ApiState,
};

/// The event that carries a publication which names none.
pub(crate) const EVENT: &str = "message";

/// What became of a message on this node.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(crate) struct Counts {
    /// Connections that it was for.
    receivers: u64,
    /// It waits for them or is being written.
    queued: u64,
    /// Of these: it has taken the place of an older message with its key.
    conflated: u64,
    /// There was no room, and they will be told.
    dropped: u64,
    /// There was no room, and they are being closed for it; or they were being closed already.
    closing: u64,
    /// The other nodes of a cluster have it as well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    remote: bool,
    /// The other nodes may not have got it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    unreachable: bool,
}

impl From<Delivery> for Counts {
    fn from(delivery: Delivery) -> Self {
        Self {
            receivers: delivery.receivers,
            queued: delivery.queued,
            conflated: delivery.conflated,
            dropped: delivery.dropped,
            closing: delivery.closing,
            remote: delivery.remote,
            unreachable: delivery.unreachable,
        }
    }
}

/// What a publication answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Published {
    /// What became of it.
    delivery: Counts,
}

/// A publication to a channel. `skip_history`, `tags`, `delta` and whatever else Centrifugo knows is accepted and has
/// no effect.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PublishRequest)]
pub(crate) struct Publish {
    /// The tag.
    #[schema(min_length = 1, max_length = 255)]
    channel: String,
    /// Any JSON. It or `b64data` is needed.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = serde_json::Value, required = false)]
    data: Option<Json>,
    /// The data as JSON in base64.
    b64data: Option<String>,
    /// The event that carries it; without it `message`.
    event: Option<String>,
    /// The same key for the same channel within five minutes: the answer is the first one's, and nothing is sent.
    #[schema(max_length = 255)]
    idempotency_key: Option<String>,
}

impl Call for Publish {
    const NAME: &'static str = "publish";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Sends data to the members of a channel.";
    type Answer = Published;

    async fn run(self, state: &ApiState) -> Result<Published, CallError> {
        let message = Message::new(state, self.event, self.data, self.b64data)?;
        let key = self.idempotency_key;
        let delivery = publish(state, "channel", &self.channel, &message, key.as_deref()).await?;
        Ok(Published { delivery })
    }
}

/// The same publication to many channels.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BroadcastRequest)]
pub(crate) struct Broadcast {
    /// The tags: at most `api.max_batch`, 1,000 without another setting.
    #[schema(min_items = 1, max_items = 1000)]
    channels: Vec<String>,
    /// Any JSON. It or `b64data` is needed.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = serde_json::Value, required = false)]
    data: Option<Json>,
    /// The data as JSON in base64.
    b64data: Option<String>,
    /// The event that carries it; without it `message`.
    event: Option<String>,
    /// As in `publish`, for each channel.
    #[schema(max_length = 255)]
    idempotency_key: Option<String>,
}

/// What became of each publication, in the order of the channels.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Broadcasted {
    /// One for each channel.
    responses: Vec<PublishReply>,
}

/// A result or an error.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PublishReply {
    /// It was sent.
    Result(Published),
    /// It was not.
    Error(CallError),
}

impl Call for Broadcast {
    const NAME: &'static str = "broadcast";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Sends data to the members of many channels.";
    type Answer = Broadcasted;

    async fn run(self, state: &ApiState) -> Result<Broadcasted, CallError> {
        let most = state.live().max_batch;
        if self.channels.is_empty() {
            return Err(CallError::field("channels", "at least one is needed"));
        }
        if self.channels.len() > most {
            return Err(CallError::limit("channels", format!("at most {most}")));
        }
        let message = Message::new(state, self.event, self.data, self.b64data)?;
        let key = self.idempotency_key;
        let mut responses = Vec::with_capacity(self.channels.len());
        for (at, channel) in self.channels.iter().enumerate() {
            // A long list leaves others their turns.
            tokio::task::coop::consume_budget().await;
            let path = format!("channels[{at}]");
            responses.push(
                match publish(state, &path, channel, &message, key.as_deref()).await {
                    Ok(delivery) => PublishReply::Result(Published { delivery }),
                    Err(error) => PublishReply::Error(error),
                },
            );
        }
        Ok(Broadcasted { responses })
    }
}

/// Whom a message is for: one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(min_properties = 1, max_properties = 1)]
pub(crate) struct Receivers {
    /// Everybody: `true`.
    all: Option<bool>,
    /// All connections of a user.
    user: Option<String>,
    /// One connection.
    connection: Option<String>,
    /// All members of a tag.
    tag: Option<String>,
}

impl Receivers {
    /// Whom it names.
    ///
    /// # Errors
    ///
    /// Not exactly one.
    pub(crate) fn target(self) -> Result<Target, CallError> {
        match (self.all, self.user, self.connection, self.tag) {
            (Some(true), None, None, None) => Ok(Target::All),
            (None, Some(user), None, None) if !user.is_empty() => Ok(Target::User(user.into())),
            (None, None, Some(id), None) => {
                connection_id("target.connection", &id).map(Target::Connection)
            }
            (None, None, None, Some(tag)) if !tag.is_empty() => Ok(Target::Tag(tag.into())),
            _ => Err(CallError::field(
                "target",
                "exactly one is needed of all (true), user, connection and tag",
            )),
        }
    }
}

/// What happens to the message where there is no room.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Overflow {
    /// The connection is closed with 3008.
    Disconnect,
    /// The message is dropped, and the client is told of the gap.
    Drop,
    /// It takes the place of one with the same key.
    Latest,
}

impl From<Overflow> for config::Overflow {
    fn from(overflow: Overflow) -> Self {
        match overflow {
            Overflow::Disconnect => Self::Disconnect,
            Overflow::Drop => Self::Drop,
            Overflow::Latest => Self::Latest,
        }
    }
}

/// An event for a user, a connection, a tag or all.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = SendRequest)]
pub(crate) struct Send {
    /// Whom it is for.
    target: Receivers,
    /// The event's name.
    #[schema(min_length = 1, max_length = 255)]
    event: String,
    /// Any JSON; without it the event has none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = serde_json::Value, required = false)]
    data: Option<Json>,
    /// A newer message with the same key replaces this one where it still waits.
    #[schema(max_length = 255)]
    key: Option<String>,
    /// A connection that does not get it.
    except: Option<String>,
    /// What happens where there is no room; without it what the configuration says.
    overflow: Option<Overflow>,
    /// The same key for the same target within five minutes: the answer is the first one's, and nothing is sent.
    #[schema(max_length = 255)]
    idempotency_key: Option<String>,
}

impl Call for Send {
    const NAME: &'static str = "send";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Sends an event to a user, a connection, a tag or all.";
    type Answer = Counts;

    async fn run(self, state: &ApiState) -> Result<Counts, CallError> {
        let target = self.target.target()?;
        let longest = state.hub().config().max_name_length;
        let name = format!("{target}");
        if let Some(name) = target.name() {
            named("target", name, longest)?;
        }
        event_name(&self.event, longest)?;
        let mut audience = state.hub().audience(target);
        if let Some(key) = self.key {
            named("key", &key, longest)?;
            audience = audience.latest(key);
        }
        if let Some(except) = &self.except {
            audience = audience.except(connection_id("except", except)?);
        }
        if let Some(overflow) = self.overflow {
            audience = audience.overflow(overflow.into());
        }
        let message = Message {
            event: self.event,
            data: self.data,
        };
        let key = self.idempotency_key;
        deliver(state, &name, &audience, &message, key.as_deref()).await
    }
}

/// What is sent.
struct Message {
    event: String,
    data: Option<Json>,
}

impl Message {
    fn new(
        state: &ApiState,
        event: Option<String>,
        data: Option<Json>,
        encoded: Option<String>,
    ) -> Result<Self, CallError> {
        let data = match (data, encoded) {
            (Some(data), _) => data,
            (None, Some(encoded)) => {
                let bytes = STANDARD
                    .decode(encoded)
                    .map_err(|error| CallError::field("b64data", error))?;
                Json::from_bytes(&bytes).map_err(|error| CallError::field("b64data", error))?
            }
            (None, None) => return Err(CallError::field("data", "missing")),
        };
        let event = event.unwrap_or_else(|| EVENT.to_owned());
        event_name(&event, state.hub().config().max_name_length)?;
        Ok(Self {
            event,
            data: Some(data),
        })
    }
}

async fn publish(
    state: &ApiState,
    path: &str,
    channel: &str,
    message: &Message,
    key: Option<&str>,
) -> Result<Counts, CallError> {
    named(path, channel, state.hub().config().max_name_length)?;
    let audience = state.hub().tag(channel);
    deliver(state, channel, &audience, message, key).await
}

async fn deliver(
    state: &ApiState,
    target: &str,
    audience: &Audience,
    message: &Message,
    key: Option<&str>,
) -> Result<Counts, CallError> {
    let send = audience.send_json(&message.event, message.data.clone());
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        return Ok(send.await?.into());
    };
    named("idempotency_key", key, idempotency::LONGEST_KEY)?;
    let (delivery, repeated) = state.idempotency().once(target, key, send).await?;
    if repeated {
        state.counters().repeated.fetch_add(1, Relaxed);
    }
    Ok(delivery.into())
}

/// Names that begin with `$` are the protocol's.
pub(crate) fn event_name(event: &str, longest: usize) -> Result<(), CallError> {
    named("event", event, longest)?;
    if event.starts_with('$') {
        return Err(CallError::field("event", "names with $ are the protocol's"));
    }
    Ok(())
}

/// Whether a name is there and not too long.
pub(crate) fn named(path: &str, name: &str, longest: usize) -> Result<(), CallError> {
    if name.is_empty() {
        return Err(CallError::field(path, "empty"));
    }
    if name.len() > longest {
        return Err(CallError::field(
            path,
            format!("longer than {longest} bytes"),
        ));
    }
    Ok(())
}
