//! What the operator is told of the servers that share the database.

use super::{Answer, Operator, Problem};
use serde::{Deserialize, Serialize};

/// The nodes as one of them sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Whether NATS can be reached from here.
    pub nats: bool,
    /// Why not, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Those that are there, by name.
    pub nodes: Vec<ClusterNode>,
}

/// A server that shares the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterNode {
    /// What its operator calls it.
    pub name: String,
    /// The version of its program.
    pub version: String,
    /// Since when it runs, RFC 3339, by the database's clock.
    pub since: String,
    /// How long ago it told the database that it is there.
    pub seen_ms: u64,
    /// How long ago it was heard through NATS; none if it is silent, or this one.
    pub heard_ms: Option<u64>,
    /// Whether it is the one that answers.
    pub this: bool,
}

impl Operator {
    pub(super) async fn cluster(&self) -> Result<Answer, Problem> {
        let Some(cluster) = &self.live()?.cluster else {
            let message = "this server is alone on its database";
            let next = "to share it with others, set cluster.nats in config.toml, and make nodes: waxwing-setup node";
            return Err(Problem::user("no-cluster", message, next));
        };
        Ok(Answer::Cluster(cluster.status().await?))
    }
}
