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

/// A one-time code that waits to be used, as hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewCode {
    /// What it is good for.
    pub request: [u8; 32],
    /// The code with the request, under a key that is not in the database.
    pub hash: [u8; 32],
    /// How long it is good.
    pub good_for: Duration,
    /// When another one can be asked for.
    pub again_after: Duration,
    /// How often it may be tried.
    pub tries: u32,
}

/// What came of issuing a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeIssued {
    /// It waits now, and no other one for this request.
    New,
    /// One was issued a moment ago: so long to wait.
    Sent(Duration),
    /// Too many wait.
    Full,
}

/// What came of trying a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeTaken {
    /// It was right, and is used up.
    Right,
    /// It was wrong, or there is none; so many tries are left.
    Wrong {
        /// 0: none waits any more.
        left: u32,
    },
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
    /// Keeps a code, unless one was issued for its request a moment ago or `most` wait (a few more, if several nodes issue at
    /// once).
    async fn issue_code(&self, code: NewCode, most: u32) -> Result<CodeIssued, StoreError>;
    /// Tries a code. Tries are counted exactly and a right one is used once, however many come at once wherever.
    async fn take_code(&self, request: [u8; 32], hash: [u8; 32]) -> Result<CodeTaken, StoreError>;
    /// The code that waits for this request is worth nothing any more.
    async fn forget_code(&self, request: [u8; 32]) -> Result<(), StoreError>;
    /// Forgets codes that are too old.
    async fn forget_old_codes(&self) -> Result<(), StoreError>;
}
