//! All numbers at one moment.

use std::collections::BTreeMap;

use antiphon::Stats as Accept;
use antiphon_hub::presence::HubStats;

use crate::{
    api::state::ApiStats,
    auth,
    hooks::call::HookStats,
    metrics::{closes::Row, usage::Usage},
    outgoing::Stats as Outgoing,
    traces::Stats as Traces,
    webhooks::queue::Stats as Webhooks,
};

/// What is known at one moment. What is not there yet, or not turned on, is `None` or empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(super) hub: HubStats,
    /// Connections, messages and bytes that wait.
    pub(super) waiting: (usize, usize, usize),
    pub(super) closes: Vec<Row>,
    pub(super) violations: BTreeMap<&'static str, u64>,
    pub(super) draining: bool,
    pub(super) ready: bool,
    /// Seconds.
    pub(super) uptime: f64,
    pub(super) accept: Option<Accept>,
    pub(super) hooks: Vec<(&'static str, HookStats)>,
    pub(super) webhooks: Option<Webhooks>,
    pub(super) outgoing: Option<Outgoing>,
    pub(super) auth: Option<AuthStats>,
    pub(super) api: Option<ApiStats>,
    pub(super) traces: Option<Traces>,
    pub(super) admin: Option<AdminStats>,
    pub(super) log_lines: u64,
    pub(super) usage: Usage,
}

/// What is remembered of logins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AuthStats {
    /// Revocations.
    pub(crate) revocations: usize,
    /// Revocations that found no place.
    pub(crate) revocations_refused: u64,
    /// Sessions of the mode `hotgo`.
    pub(crate) sessions: usize,
    /// Tickets that wait.
    pub(crate) tickets: usize,
    /// Tickets that found no place.
    pub(crate) tickets_refused: u64,
}

/// What the admin page has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AdminStats {
    /// Sessions that are open.
    pub(crate) sessions: usize,
    /// Sessions that had to go for a newer one.
    pub(crate) evicted: u64,
    /// Logins with a wrong token.
    pub(crate) failed: u64,
    /// Logins that came too often to be looked at.
    pub(crate) throttled: u64,
    /// Sockets of the page beyond the bound.
    pub(crate) refused_sockets: u64,
    /// Connections whose frames are recorded.
    pub(crate) traced: usize,
    /// Connections that were not recorded because others are.
    pub(crate) too_many_traces: u64,
}

impl From<&auth::State> for AuthStats {
    fn from(state: &auth::State) -> Self {
        Self {
            revocations: state.revocations.len(),
            revocations_refused: state.revocations.refused(),
            sessions: state.sessions.len(),
            tickets: state.tickets.len(),
            tickets_refused: state.tickets.refused(),
        }
    }
}

impl Snapshot {
    /// How often a bound of a connection was broken, by its name in the library's `Config`.
    pub(super) fn broken(&self, bound: &str) -> Option<u64> {
        let count = self
            .violations
            .iter()
            .find(|(section, _)| section.strip_prefix("limit ") == Some(bound));
        Some(count.map_or(0, |(_, count)| *count))
    }

    /// How often the server ended connections with this code.
    pub(super) fn ended(&self, by: &str, code: u16) -> Option<u64> {
        let code = code.to_string();
        let row = self
            .closes
            .iter()
            .find(|row| row.by == by && row.code == code);
        Some(row.map_or(0, |row| row.count))
    }
}
