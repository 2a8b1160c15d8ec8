//! Joins and leaves of a tag, collected for a moment and told together.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};

use crate::{id::ConnectionId, json::Json, registry::lock};

/// What the members of tags will be told.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<Pending>);

#[derive(Debug, Default)]
struct Pending {
    changes: HashMap<Arc<str>, Changes>,
    /// Somebody comes back for them.
    expected: bool,
}

/// Who has come and gone since the members were last told.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) joined: HashMap<ConnectionId, Member>,
    pub(crate) left: HashMap<ConnectionId, Member>,
    /// More came or went than are listed.
    pub(crate) more: bool,
}

/// Most members that one notice lists; beyond it only their number is told.
pub(crate) const MAX_LISTED: usize = 200;

/// A member as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Member {
    /// The connection.
    pub client: ConnectionId,
    /// Its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// What it shows of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<Json>,
}

impl Member {
    pub(crate) fn new(client: ConnectionId, user: Option<Arc<str>>, info: Option<Json>) -> Self {
        Self { client, user, info }
    }
}

impl Notices {
    /// Notes a join; `true` if nobody comes back for it yet, so that the caller has to.
    pub(crate) fn joined(&self, tag: &Arc<str>, member: Member) -> bool {
        self.note(tag, |changes| {
            if changes.left.remove(&member.client).is_none() {
                put(&mut changes.joined, &mut changes.more, member);
            }
        })
    }

    /// Notes a leave; as [`joined`](Self::joined).
    pub(crate) fn left(&self, tag: &Arc<str>, member: Member) -> bool {
        self.note(tag, |changes| {
            if changes.joined.remove(&member.client).is_none() {
                put(&mut changes.left, &mut changes.more, member);
            }
        })
    }

    fn note(&self, tag: &Arc<str>, change: impl FnOnce(&mut Changes)) -> bool {
        let mut pending = lock(&self.0);
        change(pending.changes.entry(tag.clone()).or_default());
        !mem::replace(&mut pending.expected, true)
    }

    /// The caller cannot come back; the next one will.
    pub(crate) fn put_off(&self) {
        lock(&self.0).expected = false;
    }

    /// What has been noted.
    pub(crate) fn take(&self) -> HashMap<Arc<str>, Changes> {
        mem::take(&mut *lock(&self.0)).changes
    }
}

fn put(list: &mut HashMap<ConnectionId, Member>, more: &mut bool, member: Member) {
    if list.len() < MAX_LISTED {
        list.insert(member.client, member);
    } else {
        *more = true;
    }
}
