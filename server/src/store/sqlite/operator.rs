//! The operator's view: lists, counts, locking out. See [`crate::store::OperatorStore`].
//!
//! Invariant: it reads in one moment what it counts together. It must not know what the counted things mean.

use super::accounts::stored_name;
use super::batch::{Batch, place};
use super::log::Expired;
use super::{SqliteStore, disclosure, keeping, log};
use crate::store::{
    AccountId, AccountSummary, Cutoffs, Disclosed, Expirable, InviteSummary, OperatorStore, Statistics, StoreError,
    Usage,
};
use async_trait::async_trait;
use rusqlite::{Connection, params};
use std::path::Path;
use waxwing_protocol::{DeviceId, Username};

const ACCOUNTS: &str = "SELECT a.id, a.username, a.created_ms, a.disabled_ms, count(d.id), max(d.seen_day),
     a.full_name, a.email
     FROM account a LEFT JOIN device d ON d.account = a.id
     WHERE a.deleted_ms IS NULL AND (?1 IS NULL OR a.username = ?1) GROUP BY a.id ORDER BY a.username";

#[async_trait]
impl OperatorStore for SqliteStore {
    async fn accounts(&self) -> Result<Vec<AccountSummary>, StoreError> {
        self.readers.read(|connection| accounts(connection, None)).await
    }

    async fn account_summary(&self, username: &Username) -> Result<Option<AccountSummary>, StoreError> {
        let username = username.clone();
        self.readers.read(move |connection| Ok(accounts(connection, Some(&username))?.pop())).await
    }

    async fn set_disabled(&self, account: AccountId, since_ms: Option<u64>) -> Result<(), StoreError> {
        self.write(move |batch| batch.set_disabled(account, since_ms)).await
    }

    async fn sign_out(&self, account: AccountId, device: Option<DeviceId>) -> Result<Vec<DeviceId>, StoreError> {
        self.write(move |batch| batch.sign_out(account, device)).await
    }

    async fn invites(&self) -> Result<Vec<InviteSummary>, StoreError> {
        self.readers.read(super::accounts::invites).await
    }

    async fn revoke_invite(&self, code_hash: [u8; 32]) -> Result<bool, StoreError> {
        self.write(move |batch| batch.revoke_invite(&code_hash)).await
    }

    async fn statistics(&self) -> Result<Statistics, StoreError> {
        self.read_tidied(statistics).await
    }

    async fn usage(&self, account: AccountId) -> Result<Usage, StoreError> {
        self.read_tidied(move |connection| keeping::usage(connection, account)).await
    }

    async fn expirable(&self, cutoffs: Cutoffs) -> Result<Expirable, StoreError> {
        self.read_tidied(move |connection| expirable(connection, cutoffs)).await
    }

    async fn disclose(&self, account: AccountId) -> Result<Vec<Disclosed>, StoreError> {
        self.read_tidied(move |connection| disclosure::disclose(connection, account)).await
    }

    async fn copy_to(&self, file: &Path) -> Result<(), StoreError> {
        let file = file.to_str().ok_or_else(|| StoreError::Database("a path that is no text".into()))?.to_owned();
        // One reading transaction: what is written meanwhile is not in it, and nobody waits for it.
        self.read_tidied(move |connection| Ok(connection.execute("VACUUM INTO ?1", [file]).map(drop)?)).await
    }
}

impl Batch<'_> {
    fn set_disabled(&mut self, account: AccountId, since_ms: Option<u64>) -> Result<(), StoreError> {
        self.statement("UPDATE account SET disabled_ms = ?2 WHERE id = ?1")?.execute(params![account.0, since_ms])?;
        Ok(())
    }

    fn sign_out(&mut self, account: AccountId, device: Option<DeviceId>) -> Result<Vec<DeviceId>, StoreError> {
        let devices: Vec<(i64, DeviceId)> = self
            .statement("SELECT id, public_id FROM device WHERE account = ?1 AND (?2 IS NULL OR public_id = ?2)")?
            .query_map(params![account.0, device.map(|device| device.0)], |row| {
                Ok((row.get(0)?, DeviceId(row.get(1)?)))
            })?
            .collect::<Result<_, _>>()?;
        for (row, device) in &devices {
            self.remove_device(*row, *device)?;
        }
        Ok(devices.into_iter().map(|(_, device)| device).collect())
    }

    /// See [`crate::store::Store::seen`].
    pub(super) fn seen(&mut self, device: DeviceId, day: u32) -> Result<(), StoreError> {
        self.statement("UPDATE device SET seen_day = ?2 WHERE public_id = ?1")?.execute(params![device.0, day])?;
        Ok(())
    }
}

fn accounts(connection: &Connection, username: Option<&Username>) -> Result<Vec<AccountSummary>, StoreError> {
    let mut select = connection.prepare_cached(ACCOUNTS)?;
    let mut rows = select.query([username.map(Username::as_str)])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(AccountSummary {
            account: AccountId(row.get(0)?),
            username: stored_name(&row.get::<_, String>(1)?)?,
            created_ms: row.get(2)?,
            disabled_ms: row.get(3)?,
            devices: row.get(4)?,
            seen_day: row.get(5)?,
            full_name: row.get(6)?,
            email: row.get(7)?,
        });
    }
    Ok(all)
}

fn statistics(connection: &Connection) -> Result<Statistics, StoreError> {
    let row = connection.query_row(
        "SELECT (SELECT count(*) FROM account WHERE deleted_ms IS NULL), (SELECT count(*) FROM account WHERE disabled_ms IS NOT NULL),
         (SELECT count(*) FROM device), (SELECT count(*) FROM conversation),
         (SELECT count(*) FROM entry), (SELECT coalesce(sum(length(payload)), 0) FROM entry),
         (SELECT count(*) FROM inbox), (SELECT count(*) FROM key_package WHERE last_resort = 0),
         (SELECT count(*) FROM manifest WHERE payload IS NOT NULL), (SELECT coalesce(sum(size), 0) FROM segment),
         (SELECT page_count * page_size FROM pragma_page_count, pragma_page_size)",
        [],
        |row| {
            Ok(Statistics {
                accounts: row.get(0)?,
                disabled: row.get(1)?,
                devices: row.get(2)?,
                conversations: row.get(3)?,
                entries: row.get(4)?,
                entry_bytes: row.get(5)?,
                inbox_items: row.get(6)?,
                key_packages: row.get(7)?,
                backups: row.get(8)?,
                backup_bytes: row.get(9)?,
                database_bytes: row.get(10)?,
            })
        },
    );
    Ok(row?)
}

fn expirable(connection: &Connection, cutoffs: Cutoffs) -> Result<Expirable, StoreError> {
    let count = |sql, before_ms: u64| {
        connection.query_row(sql, [i64::try_from(before_ms).unwrap_or(i64::MAX)], |row| row.get(0))
    };
    let mut all = Expirable {
        inbox_items: count("SELECT count(*) FROM inbox WHERE time_ms < ?1", cutoffs.inbox_ms)?,
        invites: count(
            "SELECT count(*) FROM invite WHERE expires_ms < ?1 OR (uses_left = 0 AND created_ms < ?1)",
            cutoffs.invites_ms,
        )?,
        key_packages: count(
            "SELECT count(*) FROM key_package WHERE stored_ms < ?1 AND last_resort = 0",
            cutoffs.key_packages_ms,
        )?,
        ..Expirable::default()
    };
    let mut measure = connection.prepare_cached(
        "SELECT count(*), coalesce(sum(length(payload)), 0) FROM entry WHERE place > ?1 AND place <= ?2",
    )?;
    for Expired { conversation, last } in log::expired(connection, cutoffs.entries_ms)? {
        let range = [place(conversation, 0), place(conversation, last)];
        let (entries, bytes): (u64, u64) = measure.query_row(range, |row| Ok((row.get(0)?, row.get(1)?)))?;
        all.entries += entries;
        all.bytes += bytes;
    }
    Ok(all)
}
