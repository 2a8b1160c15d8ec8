//! The events that the hub answers itself, and the way to the application's handlers.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use crate::{
    code::{ErrorCode, event},
    config::PublishRule,
    hub::{Answer, Client, Hub, Next, Publication, Request},
    json::Json,
    lifecycle::Position,
    notice::Member,
    refusal::Refusal,
    wire::Wire,
};

pub(super) async fn dispatch(client: &Client, request: Request) -> Answer {
    let hub = client.hub();
    let identity = client.identity();
    let Some((handler, middleware)) = hub.handler(request.event()) else {
        hub.0.counters.unknown_events.fetch_add(1, Relaxed);
        return Err(Refusal::of(ErrorCode::MethodNotFound).saying("nobody handles this event"));
    };
    if !identity
        .permissions
        .events
        .allow(request.event(), identity.user.as_deref())
    {
        hub.0.counters.denied.fetch_add(1, Relaxed);
        return Err(Refusal::denied("the event is not allowed"));
    }
    if middleware.is_empty() {
        return handler(client.clone(), request).await;
    }
    let next = Next {
        rest: middleware.into_iter(),
        handler,
    };
    next.run(client.clone(), request).await
}

/// Most members that `$presence` lists.
const MAX_PRESENCE: usize = 1000;

/// The answer to an event of the hub's own; `None` for the application's.
pub(super) async fn built_in(
    client: &Client,
    request: &Request,
    ch: Option<Arc<str>>,
) -> Option<Answer> {
    let v2 = client.wire() == Wire::V2;
    let answer = match request.event() {
        event::V1_JOIN => join(client, hotgo_tag(request))
            .await
            .map(|_| own_tags(client)),
        event::V1_QUIT => hotgo_tag(request).map(|tag| {
            client.leave(&tag);
            own_tags(client)
        }),
        event::SUBSCRIBE if v2 => subscribe(client, named(request, ch)).await,
        event::UNSUBSCRIBE if v2 => named(request, ch).map(|tag| {
            client.leave(&tag);
            None
        }),
        event::PUBLISH if v2 => publish(client, request, ch).await,
        event::PRESENCE if v2 => match named(request, ch) {
            Ok(tag) => presence(client, &tag).await,
            Err(refusal) => Err(refusal),
        },
        event::CONNECT if v2 => Ok(Json::of(&client.hub().welcome(client)).ok()),
        event::REFRESH if v2 => refresh(client, request).await,
        event::HISTORY if v2 => Err(Refusal::of(ErrorCode::NotAvailable)),
        name if v2 && name.starts_with('$') => {
            Err(Refusal::of(ErrorCode::MethodNotFound).saying("there is no such reserved event"))
        }
        _ => return None,
    };
    Some(answer)
}

/// The `id` of hotgo's `join` and `quit`: a number is as good as a text, and without one it is the tag without a name.
fn hotgo_tag(request: &Request) -> Result<Arc<str>, Refusal> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Number(serde_json::Number),
    }
    #[derive(Deserialize)]
    struct Data {
        id: Option<Id>,
    }
    let data: Option<Data> = request.data().to().map_err(|error| {
        Refusal::bad_request(format!("the data of the event is wrong: {error}"))
    })?;
    match data.and_then(|data| data.id) {
        Some(Id::Text(text)) => Ok(Arc::from(text)),
        Some(Id::Number(number)) => Ok(Arc::from(number.to_string())),
        None => Ok(Arc::from("")),
    }
}

fn own_tags(client: &Client) -> Option<Json> {
    let mut tags = client.tags();
    tags.sort_unstable();
    Json::of(&tags).ok()
}

/// The tag of a request: beside the data, or in it.
fn named(request: &Request, ch: Option<Arc<str>>) -> Result<Arc<str>, Refusal> {
    #[derive(Deserialize)]
    struct Data {
        ch: Option<Arc<str>>,
    }
    if let Some(ch) = ch {
        return Ok(ch);
    }
    let data: Option<Data> = request.data().to().map_err(|error| {
        Refusal::bad_request(format!("the data of the event is wrong: {error}"))
    })?;
    data.and_then(|data| data.ch)
        .ok_or_else(|| Refusal::bad_request("the channel is missing: ch"))
}

async fn join(
    client: &Client,
    tag: Result<Arc<str>, Refusal>,
) -> Result<Option<Position>, Refusal> {
    let tag = tag?;
    let hub = client.hub();
    let identity = client.identity();
    if !identity
        .permissions
        .join
        .allow(&tag, identity.user.as_deref())
    {
        hub.0.counters.denied.fetch_add(1, Relaxed);
        return Err(Refusal::denied("the channel may not be joined"));
    }
    if let Some(decide) = hub.gates(|gates| gates.join.clone()) {
        decide(client.clone(), tag.clone()).await?;
    }
    client.join(tag)
}

async fn subscribe(client: &Client, tag: Result<Arc<str>, Refusal>) -> Answer {
    let tag = tag?;
    if client.connection.has_tag(&tag) {
        return Err(Refusal::of(ErrorCode::AlreadySubscribed));
    }
    let position = join(client, Ok(tag)).await?;
    let position = position.ok_or_else(|| Refusal::of(ErrorCode::AlreadySubscribed))?;
    Ok(Json::of(&position).ok())
}

/// What a `$publish` asks for.
pub(super) struct Asked {
    pub(super) publication: Publication,
    pub(super) key: Option<Arc<str>>,
}

impl Asked {
    /// Reads a request and looks at its names.
    pub(super) fn read(
        hub: &Hub,
        request: &Request,
        ch: Option<Arc<str>>,
    ) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Data {
            ch: Option<Arc<str>>,
            event: Option<Arc<str>>,
            data: Option<Json>,
            key: Option<Arc<str>>,
        }
        let data: Data = request.data().to().map_err(|error| {
            Refusal::bad_request(format!("the data of the event is wrong: {error}"))
        })?;
        let tag = ch
            .or(data.ch)
            .ok_or_else(|| Refusal::bad_request("the channel is missing: ch"))?;
        let event = data.event.unwrap_or_else(|| Arc::from("message"));
        if event.starts_with('$') || !hub.is_name(&event) || !hub.is_name(&tag) {
            return Err(Refusal::bad_request(
                "the name of the event or of the channel cannot be used",
            ));
        }
        if data.key.as_ref().is_some_and(|key| !hub.is_name(key)) {
            return Err(Refusal::bad_request("the key is empty or too long"));
        }
        Ok(Self {
            publication: Publication::new(tag, event, data.data),
            key: data.key,
        })
    }
}

/// Whether the client may publish to a tag.
pub(super) fn may_publish(client: &Client, tag: &str) -> bool {
    let identity = client.identity();
    let user = identity.user.as_deref();
    match client.hub().manner(tag).publish {
        PublishRule::Nobody => false,
        PublishRule::Permitted => identity.permissions.publish.allow(tag, user),
        PublishRule::Members => {
            client.connection.has_tag(tag) || identity.permissions.publish.allow(tag, user)
        }
    }
}

async fn publish(client: &Client, request: &Request, ch: Option<Arc<str>>) -> Answer {
    let hub = client.hub();
    let Asked {
        mut publication,
        key,
    } = Asked::read(hub, request, ch)?;
    if !may_publish(client, &publication.tag) {
        hub.0.counters.denied.fetch_add(1, Relaxed);
        return Err(Refusal::denied("nothing may be published to the channel"));
    }
    if let Some(decide) = hub.gates(|gates| gates.publish.clone()) {
        publication = decide(client.clone(), publication).await?;
    }
    let mut audience = hub.tag(publication.tag);
    if let Some(key) = key {
        audience = audience.latest(key);
    }
    let delivery = audience
        .send_json(&publication.event, publication.data)
        .await?;
    Ok(Json::of(&delivery).ok())
}

async fn presence(client: &Client, tag: &Arc<str>) -> Answer {
    #[derive(Serialize)]
    struct Presence {
        presence: std::collections::BTreeMap<String, Member>,
        count: usize,
    }
    let hub = client.hub();
    let identity = client.identity();
    let allowed = client.connection.has_tag(tag)
        || identity
            .permissions
            .presence
            .allow(tag, identity.user.as_deref());
    if !allowed || !hub.manner(tag).presence {
        hub.0.counters.denied.fetch_add(1, Relaxed);
        return Err(Refusal::denied("the members of the channel are not shown"));
    }
    let present = hub.tag(tag.clone()).present(MAX_PRESENCE).await;
    let count = present.count;
    let presence = present
        .members
        .into_iter()
        .map(|member| (member.client.to_string(), member))
        .collect();
    Ok(Json::of(&Presence { presence, count }).ok())
}

async fn refresh(client: &Client, request: &Request) -> Answer {
    #[derive(Serialize)]
    struct Refreshed {
        #[serde(skip_serializing_if = "Option::is_none")]
        ttl: Option<u64>,
    }
    let hub = client.hub();
    let mut fresh = hub.identify(request).await?;
    if let Some(refresh) = hub.gates(|gates| gates.refresh.clone()) {
        fresh = refresh(client.clone(), fresh).await?;
    }
    if fresh.user != client.user() {
        return Err(Refusal::of(ErrorCode::PermissionDenied).saying("the token is another user's"));
    }
    let ttl = fresh.expires_at.map(|end| {
        end.duration_since(SystemTime::now())
            .map_or(0, |left| left.as_secs())
    });
    client.connection.set_identity(Arc::new(fresh));
    Ok(Json::of(&Refreshed { ttl }).ok())
}
