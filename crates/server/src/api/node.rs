//! The call about the node itself: `info`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{call::Call, error::CallError, key::Scope, state::ApiState};

/// Asks how the node is.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = InfoRequest)]
pub(crate) struct Info {}

/// The nodes: this one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Nodes {
    /// One.
    nodes: Vec<Node>,
}

/// How a node is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Node {
    /// The id of this run of the server.
    uid: String,
    /// Its name.
    name: String,
    /// Its version.
    #[schema(value_type = String)]
    version: &'static str,
    /// Connections.
    num_clients: usize,
    /// Users online.
    num_users: usize,
    /// Tags with members.
    num_channels: usize,
    /// Seconds since the start.
    uptime: u64,
    /// Counters of the hub since the start, as the metrics have them.
    #[schema(value_type = serde_json::Value)]
    hub: antiphon_hub::presence::HubStats,
}

impl Call for Info {
    const NAME: &'static str = "info";
    const SCOPE: Scope = Scope::Info;
    const ABOUT: &'static str = "Tells how the node is.";
    type Answer = Nodes;

    async fn run(self, state: &ApiState) -> Result<Nodes, CallError> {
        let hub = state.hub().stats();
        Ok(Nodes {
            nodes: vec![Node {
                uid: state.uid().to_owned(),
                name: state.node().to_owned(),
                version: env!("CARGO_PKG_VERSION"),
                num_clients: hub.connections,
                num_users: hub.users,
                num_channels: hub.tags,
                uptime: state.uptime(),
                hub,
            }],
        })
    }
}
