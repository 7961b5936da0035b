//! What several servers on one database ask of it about each other, and to find what their hints did not say.
//!
//! Only databases that several processes can share have it.

use super::StoreError;
use crate::cluster::NodeId;
use async_trait::async_trait;
use std::time::Duration;
use waxwing_protocol::DeviceId;

/// A node, as it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// This life of its process.
    pub id: NodeId,
    /// What the operator calls it.
    pub name: String,
    /// The version of its program.
    pub version: String,
}

/// A node that was there a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it says of itself.
    pub row: NodeRow,
    /// Since when it is there, milliseconds since 1970, by the database's clock.
    pub since_ms: u64,
    /// How long ago it said so last.
    pub seen: Duration,
}

/// See the module. The database's own clock counts: those of the nodes may differ.
#[async_trait]
pub trait ClusterStore: Send + Sync {
    /// A node says that it is there.
    async fn node_is_there(&self, node: &NodeRow) -> Result<(), StoreError>;
    /// A node ends.
    async fn node_is_gone(&self, node: NodeId) -> Result<(), StoreError>;
    /// The nodes that said so within this time, by name. Those that did not for a day are forgotten.
    async fn nodes(&self, within: Duration) -> Result<Vec<Node>, StoreError>;
    /// Those of these devices that are enrolled, in accounts that are not locked.
    async fn enrolled(&self, devices: &[DeviceId]) -> Result<Vec<DeviceId>, StoreError>;
    /// Those of these devices for which there are entries or inbox items that they have not acknowledged.
    async fn behind(&self, devices: &[DeviceId]) -> Result<Vec<DeviceId>, StoreError>;
}
