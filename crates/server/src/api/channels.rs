//! Calls about tags: who is in them, and who is to be.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use antiphon_hub::{audience::Audience, json::Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{
    call::Call, choice::Choice, error::CallError, key::Scope, sending::named, state::ApiState,
};

/// Most members that `presence` lists, and most channels that `channels` lists. Beyond it they answer 106.
pub(crate) const MAX_LISTED: usize = 10_000;

/// How many connections were changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Changed {
    /// Connections of this node.
    connections: u64,
}

/// Has connections of a user join a channel, whatever the user may do. `info`, `data`, `override` and whatever else
/// Centrifugo knows is accepted and has no effect.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = SubscribeRequest)]
pub(crate) struct Subscribe {
    /// The user. This, `client` or `session` is needed; several narrow the choice.
    user: Option<String>,
    /// The tag.
    #[schema(min_length = 1, max_length = 255)]
    channel: String,
    /// One connection.
    client: Option<String>,
    /// One login.
    session: Option<String>,
}

impl Call for Subscribe {
    const NAME: &'static str = "subscribe";
    const SCOPE: Scope = Scope::Subscribe;
    const ABOUT: &'static str = "Has connections join a channel.";
    type Answer = Changed;

    async fn run(self, state: &ApiState) -> Result<Changed, CallError> {
        let chosen = chosen(state, &self.channel, self.user, self.session, self.client).await?;
        let channel: Arc<str> = self.channel.into();
        let mut connections = 0;
        for audience in chosen {
            connections += audience.join(channel.clone()).await?.connections;
        }
        Ok(Changed { connections })
    }
}

/// Has connections of a user leave a channel.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = UnsubscribeRequest)]
pub(crate) struct Unsubscribe {
    /// The user. This, `client` or `session` is needed; several narrow the choice.
    user: Option<String>,
    /// The tag.
    #[schema(min_length = 1, max_length = 255)]
    channel: String,
    /// One connection.
    client: Option<String>,
    /// One login.
    session: Option<String>,
}

impl Call for Unsubscribe {
    const NAME: &'static str = "unsubscribe";
    const SCOPE: Scope = Scope::Subscribe;
    const ABOUT: &'static str = "Has connections leave a channel.";
    type Answer = Changed;

    async fn run(self, state: &ApiState) -> Result<Changed, CallError> {
        let chosen = chosen(state, &self.channel, self.user, self.session, self.client).await?;
        let mut connections = 0;
        for audience in chosen {
            connections += audience.leave(&self.channel).await.connections;
        }
        Ok(Changed { connections })
    }
}

async fn chosen(
    state: &ApiState,
    channel: &str,
    user: Option<String>,
    session: Option<String>,
    client: Option<String>,
) -> Result<Vec<Audience>, CallError> {
    named("channel", channel, state.hub().config().max_name_length)?;
    Choice::new(user, session, client.as_deref())?
        .audiences(state)
        .await
}

/// Asks who is in a channel.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PresenceRequest)]
pub(crate) struct Presence {
    /// The tag.
    #[schema(min_length = 1, max_length = 255)]
    channel: String,
}

/// Who is in a channel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Present {
    /// Each connection by its id.
    presence: BTreeMap<String, Member>,
}

/// A member of a channel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Member {
    /// The connection's id.
    client: String,
    /// The user; empty for an anonymous client.
    #[schema(value_type = String)]
    user: Arc<str>,
    /// What the client shows of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value, required = false)]
    conn_info: Option<Json>,
}

impl Call for Presence {
    const NAME: &'static str = "presence";
    const SCOPE: Scope = Scope::Presence;
    const ABOUT: &'static str = "Lists the members of a channel, at most 10,000.";
    type Answer = Present;

    async fn run(self, state: &ApiState) -> Result<Present, CallError> {
        named(
            "channel",
            &self.channel,
            state.hub().config().max_name_length,
        )?;
        let members = state.hub().tag(self.channel).clients();
        if members.len() > MAX_LISTED {
            return Err(CallError::limit(
                "channel",
                format!(
                    "more than {MAX_LISTED} members; ask connections for its pages, or presence_stats for the number"
                ),
            ));
        }
        let presence = members.into_iter().map(|client| {
            let id = client.id().to_string();
            let identity = client.identity();
            let member = Member {
                client: id.clone(),
                user: identity.user.clone().unwrap_or_default(),
                conn_info: identity.info.clone(),
            };
            (id, member)
        });
        Ok(Present {
            presence: presence.collect(),
        })
    }
}

/// Asks how many are in a channel.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PresenceStatsRequest)]
pub(crate) struct PresenceStats {
    /// The tag.
    #[schema(min_length = 1, max_length = 255)]
    channel: String,
}

/// How many are in a channel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PresenceNumbers {
    /// Connections.
    num_clients: usize,
    /// Users among them; anonymous clients are none.
    num_users: usize,
}

impl Call for PresenceStats {
    const NAME: &'static str = "presence_stats";
    const SCOPE: Scope = Scope::Presence;
    const ABOUT: &'static str = "Counts the members of a channel.";
    type Answer = PresenceNumbers;

    async fn run(self, state: &ApiState) -> Result<PresenceNumbers, CallError> {
        named(
            "channel",
            &self.channel,
            state.hub().config().max_name_length,
        )?;
        let members = state.hub().tag(self.channel).clients();
        let users: HashSet<_> = members.iter().filter_map(|client| client.user()).collect();
        Ok(PresenceNumbers {
            num_clients: members.len(),
            num_users: users.len(),
        })
    }
}

/// Asks which channels have members.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChannelsRequest)]
pub(crate) struct Channels {
    /// Names that are meant: `*` is any text.
    #[schema(max_length = 255)]
    pattern: Option<String>,
    /// Only names behind this one.
    after: Option<String>,
    /// Most names; without it all, and more than 10,000 are error 106.
    #[schema(minimum = 1, maximum = 10000)]
    limit: Option<usize>,
}

/// Channels with members.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChannelList {
    /// Each by its name.
    #[schema(value_type = BTreeMap<String, ChannelNumbers>)]
    channels: BTreeMap<Arc<str>, ChannelNumbers>,
}

/// A channel with members.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChannelNumbers {
    /// Its members.
    num_clients: usize,
}

impl Call for Channels {
    const NAME: &'static str = "channels";
    const SCOPE: Scope = Scope::Presence;
    const ABOUT: &'static str =
        "Lists the channels that have members, in the order of their names.";
    type Answer = ChannelList;

    async fn run(self, state: &ApiState) -> Result<ChannelList, CallError> {
        let pattern = self.pattern.filter(|pattern| !pattern.is_empty());
        let longest = state.hub().config().max_name_length;
        if let Some(pattern) = &pattern {
            named("pattern", pattern, longest)?;
        }
        let limit = self.limit;
        if limit.is_some_and(|limit| limit == 0 || limit > MAX_LISTED) {
            return Err(CallError::field("limit", format!("1 to {MAX_LISTED}")));
        }
        let after = self.after;
        let found = state
            .scan(move |hub| {
                let most = limit.unwrap_or(MAX_LISTED + 1);
                hub.tags(pattern.as_deref(), after.as_deref(), most).items
            })
            .await?;
        if found.len() > MAX_LISTED {
            return Err(CallError::limit(
                "pattern",
                format!("more than {MAX_LISTED} channels; ask for pages with after and limit"),
            ));
        }
        let channels = found
            .into_iter()
            .map(|(name, num_clients)| (name, ChannelNumbers { num_clients }));
        Ok(ChannelList {
            channels: channels.collect(),
        })
    }
}

/// Asks for what was published. There is no history.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = HistoryRequest)]
pub(crate) struct History {
    /// The tag.
    #[schema(min_length = 1, max_length = 255)]
    #[expect(dead_code, reason = "checked and not needed")]
    channel: String,
}

/// Asks to forget what was published. There is no history.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = HistoryRemoveRequest)]
pub(crate) struct HistoryRemove {
    /// The tag.
    #[schema(min_length = 1, max_length = 255)]
    #[expect(dead_code, reason = "checked and not needed")]
    channel: String,
}

/// Nothing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Nothing {}

impl Call for History {
    const NAME: &'static str = "history";
    const SCOPE: Scope = Scope::Any;
    const ABOUT: &'static str = "Always error 108: messages are not kept.";
    type Answer = Nothing;

    async fn run(self, _: &ApiState) -> Result<Nothing, CallError> {
        Err(no_history())
    }
}

impl Call for HistoryRemove {
    const NAME: &'static str = "history_remove";
    const SCOPE: Scope = Scope::Any;
    const ABOUT: &'static str = "Always error 108: messages are not kept.";
    type Answer = Nothing;

    async fn run(self, _: &ApiState) -> Result<Nothing, CallError> {
        Err(no_history())
    }
}

fn no_history() -> CallError {
    CallError::new(
        antiphon_hub::code::ErrorCode::NotAvailable,
        "messages are not kept: there is no history",
    )
}
