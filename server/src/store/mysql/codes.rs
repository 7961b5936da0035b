//! The table `code`: one-time codes where several servers may be asked for them.
//!
//! Invariant: tries and the one use are counted under the row's lock. It must not know codes, only their hashes.

use super::{Database, cluster::NOW};
use crate::store::{CodeIssued, CodeTaken, NewCode, StoreError};
use sqlx::AssertSqlSafe;
use std::time::Duration;

impl Database {
    /// See [`crate::store::ClusterStore::issue_code`].
    pub(super) async fn issue_code(&self, code: &NewCode, most: u32) -> Result<CodeIssued, StoreError> {
        self.forget_old_codes().await?;
        let waiting: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM code").fetch_one(&self.pool).await?;
        if waiting >= most.into() {
            return Ok(CodeIssued::Full);
        }
        // In this order: what stands there decides until `again_ms` is changed too.
        let insert = format!(
            "INSERT INTO code (request, hash, until_ms, again_ms, tries) VALUES (?, ?, {NOW} + ?, {NOW} + ?, ?) \
             ON DUPLICATE KEY UPDATE \
             hash = IF(again_ms <= {NOW}, VALUES(hash), hash), \
             until_ms = IF(again_ms <= {NOW}, VALUES(until_ms), until_ms), \
             tries = IF(again_ms <= {NOW}, VALUES(tries), tries), \
             again_ms = IF(again_ms <= {NOW}, VALUES(again_ms), again_ms)"
        );
        let milliseconds = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2);
        let insert = sqlx::query(AssertSqlSafe(insert)).bind(&code.request[..]).bind(&code.hash[..]);
        let insert = insert.bind(milliseconds(code.good_for)).bind(milliseconds(code.again_after)).bind(code.tries);
        insert.execute(&self.pool).await?;
        let select = format!("SELECT hash, again_ms - {NOW} FROM code WHERE request = ?");
        let row: Option<(Vec<u8>, i64)> =
            sqlx::query_as(AssertSqlSafe(select)).bind(&code.request[..]).fetch_optional(&self.pool).await?;
        Ok(match row {
            Some((hash, _)) if hash == code.hash => CodeIssued::New,
            // Another node was faster, or its code was used between the two.
            Some((_, again)) => CodeIssued::Sent(Duration::from_millis(u64::try_from(again).unwrap_or_default())),
            None => CodeIssued::Sent(Duration::ZERO),
        })
    }

    /// See [`crate::store::ClusterStore::take_code`].
    pub(super) async fn take_code(&self, request: &[u8; 32], hash: &[u8; 32]) -> Result<CodeTaken, StoreError> {
        let mut transaction = self.begin().await?;
        let counted = format!("UPDATE code SET tries = tries - 1 WHERE request = ? AND tries > 0 AND until_ms > {NOW}");
        let counted = sqlx::query(AssertSqlSafe(counted)).bind(&request[..]).execute(&mut *transaction).await?;
        if counted.rows_affected() == 0 {
            return Ok(CodeTaken::Wrong { left: 0 });
        }
        let used = sqlx::query("DELETE FROM code WHERE request = ? AND hash = ?").bind(&request[..]).bind(&hash[..]);
        let taken = if used.execute(&mut *transaction).await?.rows_affected() > 0 {
            CodeTaken::Right
        } else {
            let left = sqlx::query_scalar("SELECT tries FROM code WHERE request = ?").bind(&request[..]);
            let left: i64 = left.fetch_one(&mut *transaction).await?;
            CodeTaken::Wrong { left: u32::try_from(left).unwrap_or_default() }
        };
        transaction.commit().await?;
        Ok(taken)
    }

    /// See [`crate::store::ClusterStore::forget_code`].
    pub(super) async fn forget_code(&self, request: &[u8; 32]) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM code WHERE request = ?").bind(&request[..]).execute(&self.pool).await?;
        Ok(())
    }

    /// See [`crate::store::ClusterStore::forget_old_codes`].
    pub(super) async fn forget_old_codes(&self) -> Result<(), StoreError> {
        let delete = format!("DELETE FROM code WHERE until_ms <= {NOW}");
        sqlx::query(AssertSqlSafe(delete)).execute(&self.pool).await?;
        Ok(())
    }
}
