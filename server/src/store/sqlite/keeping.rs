//! What waits, of whom, and what is too old. See [`crate::store::KeepingStore`].

use super::SqliteStore;
use super::batch::Batch;
use crate::store::{AccountId, DeviceSummary, KeepingStore, StoreError, Usage, keeping::silence_counts_from};
use async_trait::async_trait;
use rusqlite::{Connection, params};
use waxwing_protocol::DeviceId;

/// By sending device; those from before had no sender noted.
const WAITING: &str = "SELECT coalesce(d.account, f.account) AS account, sum(w.bytes) FROM (
         SELECT sender, sum(length(payload)) AS bytes FROM entry GROUP BY sender
         UNION ALL SELECT sender, sum(length(payload)) FROM welcome GROUP BY sender
         UNION ALL SELECT sender, sum(length(sealed)) FROM group_info GROUP BY sender
     ) w LEFT JOIN device d ON d.id = w.sender LEFT JOIN former_device f ON f.id = w.sender
     WHERE coalesce(d.account, f.account) IS NOT NULL GROUP BY 1";

const FORGOTTEN: &str = "SELECT id FROM former_device WHERE id NOT IN (
         SELECT sender FROM entry
         UNION SELECT sender FROM welcome WHERE sender IS NOT NULL
         UNION SELECT sender FROM group_info WHERE sender IS NOT NULL)";

#[async_trait]
impl KeepingStore for SqliteStore {
    async fn devices(&self, account: AccountId) -> Result<Vec<DeviceSummary>, StoreError> {
        self.readers.read(move |connection| devices(connection, account)).await
    }

    async fn waiting(&self) -> Result<Vec<(AccountId, u64)>, StoreError> {
        self.read_tidied(waiting).await
    }

    async fn forget_former_devices(&self) -> Result<(), StoreError> {
        // Found by a reader, so that senders need not wait: what is gone sends nothing more.
        let forgotten = self.read_tidied(|connection| {
            let mut select = connection.prepare_cached(FORGOTTEN)?;
            let ids = select.query_map([], |row| row.get(0))?;
            Ok(ids.collect::<Result<Vec<i64>, _>>()?)
        });
        let forgotten = forgotten.await?;
        if forgotten.is_empty() {
            return Ok(());
        }
        self.write(move |batch| batch.forget_former_devices(&forgotten)).await
    }

    async fn note_alive(&self, day: u32) -> Result<u32, StoreError> {
        self.write(move |batch| batch.note_alive(day)).await
    }

    async fn expire_inbox(&self, before_ms: u64) -> Result<u64, StoreError> {
        self.write(move |batch| batch.expire_inbox(before_ms)).await
    }

    async fn expire_invites(&self, before_ms: u64) -> Result<u64, StoreError> {
        self.write(move |batch| batch.expire_invites(before_ms)).await
    }
}

impl Batch<'_> {
    fn forget_former_devices(&mut self, ids: &[i64]) -> Result<(), StoreError> {
        let mut delete = self.statement("DELETE FROM former_device WHERE id = ?1")?;
        ids.iter().try_for_each(|id| delete.execute([id]).map(drop))?;
        Ok(())
    }

    fn note_alive(&mut self, today: u32) -> Result<u32, StoreError> {
        let mut read = self.statement("SELECT alive_day, silence_day FROM server")?;
        let (alive, before) = read.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let since = silence_counts_from(alive, before, today);
        if (alive, before) != (Some(today), Some(since)) {
            self.statement("UPDATE server SET alive_day = ?1, silence_day = ?2")?.execute([today, since])?;
        }
        Ok(since)
    }

    fn expire_invites(&mut self, before_ms: u64) -> Result<u64, StoreError> {
        let gone = self
            .statement("DELETE FROM invite WHERE expires_ms < ?1 OR (uses_left = 0 AND created_ms < ?1)")?
            .execute(params![i64::try_from(before_ms).unwrap_or(i64::MAX)])?;
        Ok(u64::try_from(gone).unwrap_or(u64::MAX))
    }
}

fn devices(connection: &Connection, account: AccountId) -> Result<Vec<DeviceSummary>, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT public_id, created_ms, seen_day FROM device WHERE account = ?1 ORDER BY id")?;
    let devices = select.query_map([account.0], |row| {
        Ok(DeviceSummary { device: DeviceId(row.get(0)?), created_ms: row.get(1)?, seen_day: row.get(2)? })
    })?;
    Ok(devices.collect::<Result<_, _>>()?)
}

fn waiting(connection: &Connection) -> Result<Vec<(AccountId, u64)>, StoreError> {
    let mut select = connection.prepare_cached(WAITING)?;
    let rows = select.query_map([], |row| Ok((AccountId(row.get(0)?), row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What an account takes.
pub(super) fn usage(connection: &Connection, account: AccountId) -> Result<Usage, StoreError> {
    let moment = connection.unchecked_transaction()?;
    let sum = |sql| moment.query_row(sql, [account.0], |row| row.get(0));
    let attachments = sum("SELECT coalesce(sum(size), 0) FROM attachment WHERE account = ?1")?;
    let backup = sum("SELECT coalesce(sum(size), 0) FROM segment WHERE account = ?1")?;
    let waiting = waiting(&moment)?.into_iter().find(|(one, _)| *one == account).map_or(0, |(_, bytes)| bytes);
    Ok(Usage { waiting, attachments, backup })
}
