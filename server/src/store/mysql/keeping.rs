//! What waits, of whom, and what is too old. See [`crate::store::KeepingStore`].

use super::row::{bytes, push_list, signed, unsigned};
use super::{Database, MysqlStore, committed, error};
use crate::store::{AccountId, DeviceSummary, KeepingStore, StoreError, Usage, keeping::silence_counts_from};
use async_trait::async_trait;
use sqlx::{MySql, QueryBuilder};
use waxwing_protocol::DeviceId;

/// By sending device; those from before had no sender noted.
const WAITING: &str = "SELECT COALESCE(d.account, f.account) AS account, CAST(SUM(w.bytes) AS SIGNED) FROM ( \
         SELECT sender, SUM(size) AS bytes FROM entry GROUP BY sender \
         UNION ALL SELECT sender, SUM(LENGTH(payload)) FROM welcome GROUP BY sender \
         UNION ALL SELECT sender, SUM(LENGTH(sealed)) FROM group_info GROUP BY sender \
     ) w LEFT JOIN device d ON d.id = w.sender LEFT JOIN former_device f ON f.id = w.sender \
     WHERE COALESCE(d.account, f.account) IS NOT NULL GROUP BY COALESCE(d.account, f.account)";

const FORGOTTEN: &str = "SELECT f.id FROM former_device f \
     LEFT JOIN (SELECT sender FROM entry UNION SELECT sender FROM welcome UNION SELECT sender FROM group_info) s \
     ON s.sender = f.id WHERE s.sender IS NULL";

/// How many are forgotten by one statement.
const AT_ONCE: usize = 256;

#[async_trait]
impl KeepingStore for MysqlStore {
    async fn devices(&self, account: AccountId) -> Result<Vec<DeviceSummary>, StoreError> {
        self.database.devices(account).await
    }

    async fn waiting(&self) -> Result<Vec<(AccountId, u64)>, StoreError> {
        self.database.waiting().await
    }

    async fn forget_former_devices(&self) -> Result<(), StoreError> {
        self.database.forget_former_devices().await
    }

    async fn note_alive(&self, day: u32) -> Result<u32, StoreError> {
        error::retried(|| self.database.note_alive(day)).await
    }

    async fn expire_inbox(&self, before_ms: u64) -> Result<u64, StoreError> {
        self.database.expire_inbox(before_ms).await
    }

    async fn expire_invites(&self, before_ms: u64) -> Result<u64, StoreError> {
        error::retried(|| self.database.expire_invites(before_ms)).await
    }
}

impl Database {
    async fn devices(&self, account: AccountId) -> Result<Vec<DeviceSummary>, StoreError> {
        let rows: Vec<(Vec<u8>, i64, Option<i64>)> =
            sqlx::query_as("SELECT id, enrolled_ms, seen_day FROM device WHERE account = ? ORDER BY enrolled_ms, id")
                .bind(account.0)
                .fetch_all(&self.pool)
                .await?;
        let summary = |(id, enrolled_ms, seen_day): (Vec<u8>, i64, Option<i64>)| {
            Ok(DeviceSummary {
                device: DeviceId(bytes(&id, "device")?),
                created_ms: unsigned(enrolled_ms, "device")?,
                seen_day: seen_day.and_then(|day| u32::try_from(day).ok()),
            })
        };
        rows.into_iter().map(summary).collect()
    }

    async fn waiting(&self) -> Result<Vec<(AccountId, u64)>, StoreError> {
        let rows: Vec<(i64, i64)> = sqlx::query_as(WAITING).fetch_all(&self.pool).await?;
        rows.into_iter().map(|(account, bytes)| Ok((AccountId(account), unsigned(bytes, "entry")?))).collect()
    }

    async fn forget_former_devices(&self) -> Result<(), StoreError> {
        // Found without locks: what is gone sends nothing more.
        let forgotten: Vec<Vec<u8>> = sqlx::query_scalar(FORGOTTEN).fetch_all(&self.pool).await?;
        for part in forgotten.chunks(AT_ONCE) {
            let delete = || async {
                let mut delete = QueryBuilder::<MySql>::new("DELETE FROM former_device WHERE id IN ");
                push_list(&mut delete, part.iter().map(|id| &id[..]));
                delete.build().execute(&self.pool).await?;
                Ok(())
            };
            error::retried(delete).await?;
        }
        Ok(())
    }

    async fn note_alive(&self, today: u32) -> Result<u32, StoreError> {
        let mut transaction = self.begin().await?;
        let (alive, before): (Option<i64>, Option<i64>) =
            sqlx::query_as("SELECT alive_day, silence_day FROM server_state FOR UPDATE")
                .fetch_one(&mut *transaction)
                .await?;
        let day = |day: Option<i64>| day.and_then(|day| u32::try_from(day).ok());
        let since = silence_counts_from(day(alive), day(before), today);
        sqlx::query("UPDATE server_state SET alive_day = ?, silence_day = ?")
            .bind(i64::from(today))
            .bind(i64::from(since))
            .execute(&mut *transaction)
            .await?;
        committed(transaction).await?;
        Ok(since)
    }

    async fn expire_invites(&self, before_ms: u64) -> Result<u64, StoreError> {
        let gone = sqlx::query("DELETE FROM invite WHERE expires_ms < ? OR (uses_left = 0 AND created_ms < ?)")
            .bind(signed(before_ms))
            .bind(signed(before_ms))
            .execute(&self.pool)
            .await?;
        Ok(gone.rows_affected())
    }

    pub(super) async fn usage(&self, account: AccountId) -> Result<Usage, StoreError> {
        let sum = |sql: &'static str| async move {
            let sum: i64 = sqlx::query_scalar(sql).bind(account.0).fetch_one(&self.pool).await?;
            unsigned(sum, "a sum")
        };
        let waiting = self.waiting().await?.into_iter().find(|(one, _)| *one == account);
        Ok(Usage {
            waiting: waiting.map_or(0, |(_, bytes)| bytes),
            attachments: sum("SELECT CAST(COALESCE(SUM(size), 0) AS SIGNED) FROM attachment WHERE account = ?").await?,
            backup: sum("SELECT CAST(COALESCE(SUM(size), 0) AS SIGNED) FROM segment WHERE account = ?").await?,
        })
    }
}
