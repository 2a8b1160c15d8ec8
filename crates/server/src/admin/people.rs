//! Lists of connections and users, by what the page filters for.

use std::{
    collections::BinaryHeap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use antiphon_hub::{
    hub::{Client, Hub},
    id::ConnectionId,
    presence::MAX_WINDOW,
};
use serde::{Deserialize, Serialize};

use crate::{
    admin::shown::{Connection, name},
    api::error::CallError,
};

/// Most entries of a page.
pub(crate) const MAX_PAGE: usize = 500;

/// Which connections.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    user: Option<String>,
    name: Option<String>,
    address: Option<String>,
    app: Option<String>,
    platform: Option<String>,
    tag: Option<String>,
    since: Option<u64>,
    until: Option<u64>,
}

/// Which page of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    filter: Filter,
    offset: usize,
    limit: Option<usize>,
    newest: bool,
}

/// A page.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) total: usize,
}

/// How many entries a page has.
///
/// # Errors
///
/// None, or too many.
pub(crate) fn page(limit: Option<usize>, default: usize) -> Result<usize, CallError> {
    match limit {
        None => Ok(default),
        Some(limit @ 1..=MAX_PAGE) => Ok(limit),
        Some(_) => Err(CallError::field("limit", format!("1 to {MAX_PAGE}"))),
    }
}

impl Wanted {
    /// Whether such a page can be.
    ///
    /// # Errors
    ///
    /// It begins too far behind, or is too long.
    pub(crate) fn check(&self) -> Result<(), CallError> {
        page(self.limit, 1)?;
        if self.offset > MAX_WINDOW {
            return Err(CallError::field("offset", format!("at most {MAX_WINDOW}")));
        }
        Ok(())
    }

    /// The page. It may look at every connection: not for a thread that serves them.
    pub(crate) fn look(&self, hub: &Hub) -> Page<Connection> {
        let limit = page(self.limit, 50).unwrap_or(MAX_PAGE);
        let window = self.offset.saturating_add(limit).min(MAX_WINDOW);
        let filter = Matcher::new(&self.filter);
        // An index that narrows the search is taken where there is one.
        let audience = match (&filter.user, &filter.tag) {
            (Some(user), _) => hub.user(user.as_str()),
            (None, Some(tag)) => hub.tag(tag.as_str()),
            (None, None) => hub.all(),
        };
        let mut total = 0;
        // The heap keeps the first of the window; the last of them is on top.
        let mut kept: BinaryHeap<(i128, ConnectionId)> = BinaryHeap::new();
        for client in audience.clients() {
            if !filter.accepts(&client) {
                continue;
            }
            total += 1;
            let at = client.connected_at().duration_since(UNIX_EPOCH);
            let at = at.map_or(0, |at| i128::try_from(at.as_nanos()).unwrap_or(i128::MAX));
            kept.push((if self.newest { -at } else { at }, client.id()));
            if kept.len() > window {
                kept.pop();
            }
        }
        let traced = hub.traced();
        let items = kept.into_sorted_vec().into_iter().skip(self.offset);
        Page {
            items: items
                .filter_map(|(_, id)| hub.client(id))
                .map(|client| Connection::of(&client, &traced).listed())
                .collect(),
            total,
        }
    }
}

/// A filter that is ready to be used many times.
struct Matcher {
    user: Option<String>,
    tag: Option<String>,
    name: Option<String>,
    address: Option<String>,
    app: Option<String>,
    platform: Option<String>,
    since: Option<SystemTime>,
    until: Option<SystemTime>,
}

impl Matcher {
    /// An empty text is no filter: that is what an empty field of the page sends.
    fn new(filter: &Filter) -> Self {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let time = |at: Option<u64>| UNIX_EPOCH.checked_add(Duration::from_millis(at?));
        Self {
            user: given(&filter.user),
            tag: given(&filter.tag),
            name: given(&filter.name).map(|name| name.to_lowercase()),
            address: given(&filter.address),
            app: given(&filter.app),
            platform: given(&filter.platform),
            since: time(filter.since),
            until: time(filter.until),
        }
    }

    fn accepts(&self, client: &Client) -> bool {
        let identity = client.identity();
        let is = |wanted: &Option<String>, is: &Option<Arc<str>>| {
            wanted.is_none() || wanted.as_deref() == is.as_deref()
        };
        is(&self.user, &identity.user)
            && is(&self.app, &identity.app)
            && is(&self.platform, &identity.platform)
            && self
                .since
                .is_none_or(|since| client.connected_at() >= since)
            && self.until.is_none_or(|until| client.connected_at() < until)
            && self.address.as_ref().is_none_or(|part| {
                let address = client.address();
                address.is_some_and(|address| address.to_string().contains(part.as_str()))
            })
            && self.tag.as_ref().is_none_or(|tag| {
                // Where the user's index was taken.
                self.user.is_none() || client.tags().iter().any(|held| **held == **tag)
            })
            && self.name.as_ref().is_none_or(|part| {
                let holds = |text: &str| text.to_lowercase().contains(part.as_str());
                identity.user.as_deref().is_some_and(holds)
                    || name(identity.info.as_ref()).is_some_and(|name| holds(&name))
            })
    }
}

/// A user who is online.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct User {
    user: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    connections: usize,
}

/// Users in the order of their names, behind `after`, whose names begin with `prefix`.
pub(crate) fn users(hub: &Hub, after: Option<&str>, prefix: &str, limit: usize) -> Page<User> {
    // Names with a prefix stand together, right behind the prefix itself.
    let mut found = Vec::new();
    if !prefix.is_empty() && after.is_none_or(|after| after < prefix) {
        let count = hub.user(prefix).count();
        if count > 0 {
            found.push((Arc::from(prefix), count));
        }
    }
    let begin = after.filter(|after| *after > prefix);
    let begin = begin.or(Some(prefix).filter(|prefix| !prefix.is_empty()));
    let page = hub.users(begin, limit);
    let rest = page.items.into_iter();
    found.extend(rest.filter(|(user, _)| user.starts_with(prefix)));
    found.truncate(limit);
    let items = found.into_iter().map(|(user, connections)| {
        let clients = hub.user(user.clone()).members(1);
        User {
            name: clients
                .first()
                .and_then(|member| name(member.info.as_ref())),
            user,
            connections,
        }
    });
    Page {
        items: items.collect(),
        total: page.total,
    }
}
