//! See [`crate::store::AttachmentStore`].

use super::{SqliteStore, batch::Batch};
use crate::store::{
    AccountId, AttachmentOutcome, AttachmentRow, AttachmentStore, NewAttachment, StoreError,
    attachment::{DROPPED_AT_ONCE, FINISHED_AT_ONCE},
};
use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};
use waxwing_protocol::AttachmentId;

impl Batch<'_> {
    fn begin_attachment(&mut self, new: &NewAttachment) -> Result<AttachmentOutcome, StoreError> {
        let account = new.account.0;
        if !self.statement("SELECT 1 FROM account WHERE id = ?1 AND deleted_ms IS NULL")?.exists([account])? {
            return Ok(AttachmentOutcome::UnknownAccount);
        }
        let same: Option<bool> = self
            .statement("SELECT account = ?2 AND size = ?3 AND NOT dropped FROM attachment WHERE id = ?1")?
            .query_row(params![new.id.0, account, new.size], |row| row.get(0))
            .optional()?;
        match same {
            Some(true) => return Ok(AttachmentOutcome::Begun),
            Some(false) => return Ok(AttachmentOutcome::Different),
            None => {}
        }
        let used: u64 = self
            .statement("SELECT coalesce(sum(size), 0) FROM attachment WHERE account = ?1")?
            .query_row([account], |row| row.get(0))?;
        if used.saturating_add(new.size) > new.quota {
            return Ok(AttachmentOutcome::Full);
        }
        self.statement("INSERT INTO attachment (id, account, size, begun_ms) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![new.id.0, account, new.size, new.now_ms])?;
        Ok(AttachmentOutcome::Begun)
    }

    /// Drops all attachments of an account.
    pub(super) fn drop_attachments(&mut self, account: AccountId) -> Result<(), StoreError> {
        self.statement("UPDATE attachment SET dropped = 1 WHERE account = ?1")?.execute([account.0])?;
        Ok(())
    }
}

#[async_trait]
impl AttachmentStore for SqliteStore {
    async fn begin_attachment(&self, new: NewAttachment) -> Result<AttachmentOutcome, StoreError> {
        self.write(move |batch| batch.begin_attachment(&new)).await
    }

    async fn attachment(&self, id: AttachmentId) -> Result<Option<AttachmentRow>, StoreError> {
        let read = move |connection: &rusqlite::Connection| {
            let mut find = connection.prepare_cached(
                "SELECT account, size, finished_ms IS NOT NULL FROM attachment WHERE id = ?1 AND NOT dropped",
            )?;
            let row = find.query_row([id.0], |row| {
                Ok(AttachmentRow { account: AccountId(row.get(0)?), size: row.get(1)?, finished: row.get(2)? })
            });
            Ok(row.optional()?)
        };
        self.readers.read(read).await
    }

    async fn finish_attachment(&self, id: AttachmentId, now_ms: u64) -> Result<bool, StoreError> {
        let finish = "UPDATE attachment SET finished_ms = coalesce(finished_ms, ?2) WHERE id = ?1 AND NOT dropped";
        self.write(move |batch| Ok(batch.statement(finish)?.execute(params![id.0, now_ms])? > 0)).await
    }

    async fn drop_attachment(&self, account: AccountId, id: AttachmentId) -> Result<(), StoreError> {
        let drop = "UPDATE attachment SET dropped = 1 WHERE id = ?1 AND account = ?2";
        self.write(move |batch| Ok(batch.statement(drop)?.execute(params![id.0, account.0]).map(|_| ())?)).await
    }

    async fn expire_attachments(&self, finished_ms: u64, begun_ms: u64) -> Result<u64, StoreError> {
        let expire = "UPDATE attachment SET dropped = 1 WHERE NOT dropped
                      AND (finished_ms < ?1 OR finished_ms IS NULL AND begun_ms < ?2)";
        self.write(move |batch| Ok(batch.statement(expire)?.execute(params![finished_ms, begun_ms])? as u64)).await
    }

    async fn count_attachments(&self, finished_ms: u64, begun_ms: u64) -> Result<(u64, u64), StoreError> {
        let times = [finished_ms, begun_ms].map(|time| i64::try_from(time).unwrap_or(i64::MAX));
        let read = move |connection: &rusqlite::Connection| {
            let mut count = connection.prepare_cached(
                "SELECT count(*), coalesce(sum(size), 0) FROM attachment WHERE NOT dropped
                 AND (finished_ms < ?1 OR finished_ms IS NULL AND begun_ms < ?2)",
            )?;
            Ok(count.query_row(times, |row| Ok((row.get(0)?, row.get(1)?)))?)
        };
        self.readers.read(read).await
    }

    async fn dropped_attachments(&self) -> Result<Vec<AttachmentId>, StoreError> {
        let read = |connection: &rusqlite::Connection| {
            let mut find = connection.prepare_cached("SELECT id FROM attachment WHERE dropped LIMIT ?1")?;
            let rows = find.query_map([DROPPED_AT_ONCE], |row| Ok(AttachmentId(row.get(0)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        self.readers.read(read).await
    }

    async fn forget_attachment(&self, id: AttachmentId) -> Result<(), StoreError> {
        let forget = "DELETE FROM attachment WHERE id = ?1 AND dropped";
        self.write(move |batch| Ok(batch.statement(forget)?.execute([id.0]).map(|_| ())?)).await
    }

    async fn finished_attachments(&self, after: Option<AttachmentId>) -> Result<Vec<AttachmentId>, StoreError> {
        let read = move |connection: &rusqlite::Connection| {
            let mut find = connection.prepare_cached(
                "SELECT id FROM attachment WHERE finished_ms IS NOT NULL AND NOT dropped AND (?1 IS NULL OR id > ?1)
                 ORDER BY id LIMIT ?2",
            )?;
            let ids =
                find.query_map(params![after.map(|id| id.0), FINISHED_AT_ONCE], |row| Ok(AttachmentId(row.get(0)?)))?;
            Ok(ids.collect::<Result<_, _>>()?)
        };
        self.readers.read(read).await
    }

    async fn knows_attachment(&self, id: AttachmentId) -> Result<bool, StoreError> {
        let read = move |connection: &rusqlite::Connection| {
            Ok(connection.prepare_cached("SELECT 1 FROM attachment WHERE id = ?1")?.exists([id.0])?)
        };
        self.readers.read(read).await
    }
}
