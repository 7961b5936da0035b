//! The table `node`, and what nodes look up and share. See [`crate::store::ClusterStore`].

use super::row::{bytes, push_list, unsigned};
use super::{MysqlStore, error};
use crate::{
    cluster::NodeId,
    store::{ClusterStore, CodeIssued, CodeTaken, NewCode, Node, NodeRow, StoreError},
};
use async_trait::async_trait;
use sqlx::{MySql, QueryBuilder};
use std::time::Duration;
use waxwing_protocol::DeviceId;

/// Milliseconds since 1970 by the database's clock.
pub(super) const NOW: &str = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[async_trait]
impl ClusterStore for MysqlStore {
    async fn node_is_there(&self, node: &NodeRow) -> Result<(), StoreError> {
        let statement = format!(
            "INSERT INTO node (id, name, version, since_ms, seen_ms) VALUES (?, ?, ?, {NOW}, {NOW}) \
             ON DUPLICATE KEY UPDATE seen_ms = VALUES(seen_ms)"
        );
        error::retried(|| async {
            let insert = sqlx::query(sqlx::AssertSqlSafe(statement.clone()));
            let insert = insert.bind(&node.id.0[..]).bind(&node.name).bind(&node.version);
            insert.execute(&self.database.pool).await?;
            Ok(())
        })
        .await
    }

    async fn node_is_gone(&self, node: NodeId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM node WHERE id = ?").bind(&node.0[..]).execute(&self.database.pool).await?;
        Ok(())
    }

    async fn nodes(&self, within: Duration) -> Result<Vec<Node>, StoreError> {
        let select = format!("SELECT id, name, version, since_ms, {NOW} - seen_ms FROM node ORDER BY name, id");
        let rows: Vec<(Vec<u8>, String, String, i64, i64)> =
            sqlx::query_as(sqlx::AssertSqlSafe(select)).fetch_all(&self.database.pool).await?;
        let mut nodes = Vec::with_capacity(rows.len());
        for (id, name, version, since_ms, seen) in rows {
            let (id, seen) = (NodeId(bytes(&id, "node")?), u64::try_from(seen).unwrap_or_default());
            if seen > DAY_MS {
                self.node_is_gone(id).await?;
            }
            let node = Node {
                row: NodeRow { id, name, version },
                since_ms: unsigned(since_ms, "node")?,
                seen: Duration::from_millis(seen),
            };
            nodes.push(node);
        }
        nodes.retain(|node| node.seen <= within);
        Ok(nodes)
    }

    async fn enrolled(&self, devices: &[DeviceId]) -> Result<Vec<DeviceId>, StoreError> {
        let mut select = QueryBuilder::<MySql>::new(
            "SELECT d.id FROM device d JOIN account a ON a.id = d.account WHERE a.disabled_ms IS NULL AND d.id IN ",
        );
        push_list(&mut select, devices.iter().map(|device| &device.0[..]));
        self.ids(select).await
    }

    async fn behind(&self, devices: &[DeviceId]) -> Result<Vec<DeviceId>, StoreError> {
        let ids = || devices.iter().map(|device| &device.0[..]);
        let mut select = QueryBuilder::<MySql>::new(
            "SELECT m.device FROM membership m JOIN conversation c ON c.id = m.conversation \
             WHERE COALESCE(m.left_at, c.head) > m.cursor_seq AND m.device IN ",
        );
        push_list(&mut select, ids());
        select.push(" UNION SELECT device FROM inbox WHERE device IN ");
        push_list(&mut select, ids());
        self.ids(select).await
    }

    async fn issue_code(&self, code: NewCode, most: u32) -> Result<CodeIssued, StoreError> {
        error::retried(|| self.database.issue_code(&code, most)).await
    }

    async fn take_code(&self, request: [u8; 32], hash: [u8; 32]) -> Result<CodeTaken, StoreError> {
        error::retried(|| self.database.take_code(&request, &hash)).await
    }

    async fn forget_code(&self, request: [u8; 32]) -> Result<(), StoreError> {
        error::retried(|| self.database.forget_code(&request)).await
    }

    async fn forget_old_codes(&self) -> Result<(), StoreError> {
        error::retried(|| self.database.forget_old_codes()).await
    }
}

impl MysqlStore {
    async fn ids(&self, mut select: QueryBuilder<MySql>) -> Result<Vec<DeviceId>, StoreError> {
        let rows: Vec<(Vec<u8>,)> = select.build_query_as().fetch_all(&self.database.pool).await?;
        rows.iter().map(|(id,)| Ok(DeviceId(bytes(id, "device")?))).collect()
    }
}
