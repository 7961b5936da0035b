//! Attachments. It owns the table `attachment` and the rule that an account's attachments stay within its quota: whoever begins one
//! locks the account's row first. See [`crate::store::AttachmentStore`]. It must not know where chunks are.

use super::row::{bytes, signed, unsigned};
use super::{Database, MysqlStore, committed, error};
use crate::store::{
    AccountId, AttachmentOutcome, AttachmentRow, AttachmentStore, NewAttachment, StoreError,
    attachment::{DROPPED_AT_ONCE, FINISHED_AT_ONCE},
};
use async_trait::async_trait;
use waxwing_protocol::AttachmentId;

impl Database {
    async fn begin_attachment(&self, new: &NewAttachment) -> Result<AttachmentOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        let locked = sqlx::query("SELECT id FROM account WHERE id = ? AND deleted_ms IS NULL FOR UPDATE")
            .bind(new.account.0)
            .fetch_optional(&mut *transaction)
            .await?;
        if locked.is_none() {
            return Ok(AttachmentOutcome::UnknownAccount);
        }
        let same: Option<(i64, i64, i64)> =
            sqlx::query_as("SELECT account, size, dropped FROM attachment WHERE id = ?")
                .bind(&new.id.0[..])
                .fetch_optional(&mut *transaction)
                .await?;
        match same {
            Some(found) if found == (new.account.0, signed(new.size), 0) => return Ok(AttachmentOutcome::Begun),
            Some(_) => return Ok(AttachmentOutcome::Different),
            None => {}
        }
        let used: i64 =
            sqlx::query_scalar("SELECT CAST(COALESCE(SUM(size), 0) AS SIGNED) FROM attachment WHERE account = ?")
                .bind(new.account.0)
                .fetch_one(&mut *transaction)
                .await?;
        if used.saturating_add(signed(new.size)) > signed(new.quota) {
            return Ok(AttachmentOutcome::Full);
        }
        // Of two accounts that begin one id at once, the second finds it taken.
        let inserted =
            sqlx::query("INSERT IGNORE INTO attachment (id, account, size, begun_ms, dropped) VALUES (?, ?, ?, ?, 0)")
                .bind(&new.id.0[..])
                .bind(new.account.0)
                .bind(signed(new.size))
                .bind(signed(new.now_ms))
                .execute(&mut *transaction)
                .await?;
        committed(transaction).await?;
        match inserted.rows_affected() {
            0 => Ok(AttachmentOutcome::Different),
            _ => Ok(AttachmentOutcome::Begun),
        }
    }
}

#[async_trait]
impl AttachmentStore for MysqlStore {
    async fn begin_attachment(&self, new: NewAttachment) -> Result<AttachmentOutcome, StoreError> {
        error::retried(|| self.database.begin_attachment(&new)).await
    }

    async fn attachment(&self, id: AttachmentId) -> Result<Option<AttachmentRow>, StoreError> {
        let row: Option<(i64, i64, Option<i64>)> =
            sqlx::query_as("SELECT account, size, finished_ms FROM attachment WHERE id = ? AND dropped = 0")
                .bind(&id.0[..])
                .fetch_optional(&self.database.pool)
                .await?;
        let Some((account, size, finished)) = row else { return Ok(None) };
        let size = unsigned(size, "attachment")?;
        Ok(Some(AttachmentRow { account: AccountId(account), size, finished: finished.is_some() }))
    }

    async fn finish_attachment(&self, id: AttachmentId, now_ms: u64) -> Result<bool, StoreError> {
        let finish = "UPDATE attachment SET finished_ms = COALESCE(finished_ms, ?) WHERE id = ? AND dropped = 0";
        sqlx::query(finish).bind(signed(now_ms)).bind(&id.0[..]).execute(&self.database.pool).await?;
        Ok(self.attachment(id).await?.is_some_and(|row| row.finished))
    }

    async fn drop_attachment(&self, account: AccountId, id: AttachmentId) -> Result<(), StoreError> {
        let drop = "UPDATE attachment SET dropped = 1 WHERE id = ? AND account = ?";
        sqlx::query(drop).bind(&id.0[..]).bind(account.0).execute(&self.database.pool).await?;
        Ok(())
    }

    async fn expire_attachments(&self, finished_ms: u64, begun_ms: u64) -> Result<u64, StoreError> {
        let expire = "UPDATE attachment SET dropped = 1 WHERE dropped = 0 \
                      AND (finished_ms < ? OR finished_ms IS NULL AND begun_ms < ?)";
        let done =
            sqlx::query(expire).bind(signed(finished_ms)).bind(signed(begun_ms)).execute(&self.database.pool).await?;
        Ok(done.rows_affected())
    }

    async fn count_attachments(&self, finished_ms: u64, begun_ms: u64) -> Result<(u64, u64), StoreError> {
        let (count, bytes): (i64, i64) = sqlx::query_as(
            "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS SIGNED) FROM attachment WHERE dropped = 0 \
             AND (finished_ms < ? OR finished_ms IS NULL AND begun_ms < ?)",
        )
        .bind(signed(finished_ms))
        .bind(signed(begun_ms))
        .fetch_one(&self.database.pool)
        .await?;
        Ok((unsigned(count, "attachment")?, unsigned(bytes, "attachment")?))
    }

    async fn dropped_attachments(&self) -> Result<Vec<AttachmentId>, StoreError> {
        let rows: Vec<Vec<u8>> = sqlx::query_scalar("SELECT id FROM attachment WHERE dropped = 1 LIMIT ?")
            .bind(DROPPED_AT_ONCE)
            .fetch_all(&self.database.pool)
            .await?;
        rows.iter().map(|id| Ok(AttachmentId(bytes(id, "attachment")?))).collect()
    }

    async fn forget_attachment(&self, id: AttachmentId) -> Result<(), StoreError> {
        let forget = "DELETE FROM attachment WHERE id = ? AND dropped = 1";
        sqlx::query(forget).bind(&id.0[..]).execute(&self.database.pool).await?;
        Ok(())
    }

    async fn finished_attachments(&self, after: Option<AttachmentId>) -> Result<Vec<AttachmentId>, StoreError> {
        let ids: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT id FROM attachment WHERE finished_ms IS NOT NULL AND dropped = 0 AND id > ? ORDER BY id LIMIT ?",
        )
        .bind(after.map(|id| id.0.to_vec()).unwrap_or_default())
        .bind(i64::from(FINISHED_AT_ONCE))
        .fetch_all(&self.database.pool)
        .await?;
        ids.iter().map(|id| Ok(AttachmentId(bytes(id, "attachment")?))).collect()
    }

    async fn knows_attachment(&self, id: AttachmentId) -> Result<bool, StoreError> {
        let row: Option<i64> = sqlx::query_scalar("SELECT 1 FROM attachment WHERE id = ?")
            .bind(&id.0[..])
            .fetch_optional(&self.database.pool)
            .await?;
        Ok(row.is_some())
    }
}
