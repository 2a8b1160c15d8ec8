//! Questions to all nodes at once: what has come within the time, and who has not answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout_at};

use crate::{
    audience::Audience,
    broker::{Body, CALL_TIMEOUT, NodeId, Question},
    hub::Hub,
    json::Json,
    link::Link,
    notice::Member,
    presence::{ConnectionInfo, Filter, Page},
    target::Target,
};

/// Most entries that one node lists for a question: 1,000.
pub const MAX_SURVEYED: usize = 1000;

/// A name, and how many connections it has.
type Counted = (Arc<str>, usize);

/// What the nodes have answered within [`CALL_TIMEOUT`], put together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Survey<T> {
    /// What this node and those that have answered know.
    pub result: T,
    /// Nodes that are there, or were a moment ago, and have not answered: what they know is missing.
    pub missing: Vec<NodeId>,
}

impl<T> Survey<T> {
    /// Whether all nodes have answered.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

/// Asks the other nodes no more, also if the asking is cancelled.
struct Asking<'a>(&'a Link, u128);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.give_up(self.1);
    }
}

impl Hub {
    /// What the other nodes answer to a question, and who does not.
    async fn ask<T: DeserializeOwned>(&self, question: Question) -> Survey<Vec<T>> {
        let mut survey = Survey {
            result: Vec::new(),
            missing: Vec::new(),
        };
        let Some(link) = self.0.link.as_deref().filter(|link| !link.is_alone()) else {
            return survey;
        };
        let deadline = Instant::now() + CALL_TIMEOUT;
        let mut missing: BTreeSet<NodeId> = link.others().into_iter().map(|node| node.0).collect();
        let id = rand::random();
        let mut answers = link.expect(id);
        let _asking = Asking(link, id);
        let asked = timeout_at(deadline, link.publish(Body::Query { id, question })).await;
        if asked == Ok(true) {
            while !missing.is_empty()
                && let Ok(Some((node, answer))) = timeout_at(deadline, answers.recv()).await
            {
                if let Ok(answer) = answer.to() {
                    survey.result.push(answer);
                    missing.remove(&node);
                }
            }
        }
        survey.missing = missing.into_iter().collect();
        survey
    }

    /// What this node answers to a question of another; `None` where it does not understand it.
    pub(super) fn reply(&self, question: &Question) -> Option<Json> {
        let most = |limit: &u32| {
            usize::try_from(*limit).map_or(MAX_SURVEYED, |limit| limit.min(MAX_SURVEYED))
        };
        match question {
            Question::Node => Json::of(&self.node_info(self.0.link.as_deref()?)).ok(),
            Question::Count { target, except } => {
                let mut audience = self.audience(target.clone());
                audience.except = *except;
                Json::of(&audience.count()).ok()
            }
            Question::List { target, limit } => {
                Json::of(&self.audience(target.clone()).members(most(limit))).ok()
            }
            Question::Tags {
                pattern,
                after,
                limit,
            } => Json::of(
                &self
                    .tags(pattern.as_deref(), after.as_deref(), most(limit))
                    .items,
            )
            .ok(),
            Question::Users { after, limit } => {
                Json::of(&self.users(after.as_deref(), most(limit)).items).ok()
            }
            Question::Connections { filter, limit } => {
                let filter: Filter = filter.to().ok()?;
                Json::of(&self.connections(&filter, 0, most(limit))).ok()
            }
        }
    }

    /// As [`connections`](Self::connections), on all nodes: `offset` and `limit` together reach no further than
    /// [`MAX_SURVEYED`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed; answers that still come are dropped.
    pub async fn cluster_connections(
        &self,
        filter: &Filter,
        offset: usize,
        limit: usize,
    ) -> Survey<Page<ConnectionInfo>> {
        let window = offset.saturating_add(limit).min(MAX_SURVEYED);
        let question = Question::Connections {
            filter: Json::of(filter).unwrap_or_else(|_| Json::null()),
            limit: number(window),
        };
        let others = self.ask::<Page<ConnectionInfo>>(question).await;
        let mut page = self.connections(filter, 0, window);
        for other in others.result {
            page.total = page.total.saturating_add(other.total);
            page.items.extend(other.items);
        }
        page.items
            .sort_unstable_by_key(|connection| (connection.connected_at, connection.id));
        page.items.truncate(window);
        page.items.drain(..offset.min(page.items.len()));
        Survey {
            result: page,
            missing: others.missing,
        }
    }

    /// Users who are online on any node, in the order of their names: at most `limit` (and [`MAX_SURVEYED`]) behind
    /// `after`. With each the number of connections on all nodes.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed; answers that still come are dropped.
    pub async fn cluster_users(&self, after: Option<&str>, limit: usize) -> Survey<Vec<Counted>> {
        let limit = limit.min(MAX_SURVEYED);
        let question = Question::Users {
            after: after.map(Arc::from),
            limit: number(limit),
        };
        let others = self.ask(question).await;
        merge(self.users(after, limit).items, others, limit)
    }

    /// Tags that have members on any node and match `pattern`; otherwise as [`cluster_users`](Self::cluster_users).
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed; answers that still come are dropped.
    pub async fn cluster_tags(
        &self,
        pattern: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Survey<Vec<Counted>> {
        let limit = limit.min(MAX_SURVEYED);
        let question = Question::Tags {
            pattern: pattern.map(Arc::from),
            after: after.map(Arc::from),
            limit: number(limit),
        };
        let others = self.ask(question).await;
        merge(self.tags(pattern, after, limit).items, others, limit)
    }
}

impl Audience {
    /// How many connections of all nodes are meant.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed; answers that still come are dropped.
    pub async fn cluster_count(&self) -> Survey<usize> {
        let mut count = self.count();
        if self.is_here() {
            return Survey {
                result: count,
                missing: Vec::new(),
            };
        }
        let others = self
            .hub
            .ask::<usize>(Question::Count {
                target: self.target.clone(),
                except: self.except,
            })
            .await;
        count = others.result.into_iter().fold(count, usize::saturating_add);
        Survey {
            result: count,
            missing: others.missing,
        }
    }

    /// The connections of all nodes that are meant, as others see them; at most `limit` (and of each other node
    /// [`MAX_SURVEYED`]), in no particular order.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed; answers that still come are dropped.
    pub async fn cluster_members(&self, limit: usize) -> Survey<Vec<Member>> {
        let mut members = self.members(limit);
        let mut missing = Vec::new();
        if !self.is_here() && members.len() < limit {
            let question = Question::List {
                target: self.target.clone(),
                limit: number(limit),
            };
            let others = self.hub.ask::<Vec<Member>>(question).await;
            members.extend(others.result.into_iter().flatten());
            members.retain(|member| self.except != Some(member.client));
            members.truncate(limit);
            missing = others.missing;
        }
        Survey {
            result: members,
            missing,
        }
    }

    /// Whether it is one connection, and that is here.
    fn is_here(&self) -> bool {
        matches!(&self.target, Target::Connection(_)) && self.hub.beyond(&self.target).is_none()
    }
}

fn number(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

/// Adds up what several nodes say about the same names, and keeps the first of them.
fn merge(
    here: Vec<Counted>,
    others: Survey<Vec<Vec<Counted>>>,
    limit: usize,
) -> Survey<Vec<Counted>> {
    let mut names = BTreeMap::new();
    for (name, count) in here.into_iter().chain(others.result.into_iter().flatten()) {
        let sum: &mut usize = names.entry(name).or_default();
        *sum = sum.saturating_add(count);
    }
    Survey {
        result: names.into_iter().take(limit).collect(),
        missing: others.missing,
    }
}
