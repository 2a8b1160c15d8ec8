//! Who is in a tag, or online as a user, on all nodes: as the bus has it, without asking them.

use std::collections::HashMap;

use serde::Serialize;

use crate::{
    audience::Audience,
    broker::{LeaseKind, NodeId},
    id::ConnectionId,
    link::Link,
    notice::Member,
    target::Target,
};

/// Who is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Present {
    /// The members, in no particular order.
    pub members: Vec<Member>,
    /// How many there are.
    pub count: usize,
    /// The bus has failed: who is on other nodes is missing.
    pub partial: bool,
}

impl Audience {
    /// The connections of all nodes that are meant, as others see them; at most `limit`. Of a user or a tag the bus knows
    /// them, a moment after they come: no node is asked. Of a tag whose rule has no presence, and of others than users
    /// and tags, it is those of this node.
    ///
    /// Unlike [`cluster_members`](Self::cluster_members) it costs other nodes nothing, and so it is what clients may ask.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed.
    pub async fn present(&self, limit: usize) -> Present {
        let mut present = Present {
            members: self.members(limit),
            count: self.count(),
            partial: false,
        };
        let kind = match &self.target {
            Target::User(_) => LeaseKind::User,
            Target::Tag(tag) if self.hub.manner(tag).presence => LeaseKind::Tag,
            _ => return present,
        };
        let Some(link) = self.hub.beyond(&self.target) else {
            return present;
        };
        let Some((others, count)) = self.others(link, kind, limit).await else {
            present.partial = true;
            return present;
        };
        // A connection that has just moved may be seen on both sides.
        let mut all: HashMap<ConnectionId, Member> = others;
        all.extend(
            present
                .members
                .drain(..)
                .map(|member| (member.client, member)),
        );
        if let Some(except) = self.except {
            all.remove(&except);
        }
        present.count = present.count.max(all.len()).max(count);
        present.members = all.into_values().take(limit).collect();
        present
    }

    /// Those of other nodes, as far as they are listed, and at least how many there are of all.
    async fn others(
        &self,
        link: &Link,
        kind: LeaseKind,
        limit: usize,
    ) -> Option<(HashMap<ConnectionId, Member>, usize)> {
        let name = match &self.target {
            Target::User(name) | Target::Tag(name) => name,
            Target::All | Target::Connection(_) => return None,
        };
        let leases = link.broker.leases(kind, name.clone(), limit);
        let leases = link.bounded(leases).await.ok()?;
        let is_full = leases.len() >= limit;
        let is_other = |node: NodeId| node != link.node;
        let others = leases
            .into_iter()
            .filter(|lease| is_other(lease.key.node))
            .filter_map(|lease| {
                let member = lease.value.to::<Member>().ok()?;
                Some((member.client, member))
            })
            .collect();
        let count = if is_full {
            link.bounded(link.broker.count(kind, name.clone()))
                .await
                .ok()?
        } else {
            0
        };
        Some((others, count))
    }
}
