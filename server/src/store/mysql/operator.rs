//! The operator's view: lists, counts, locking out. See [`crate::store::OperatorStore`].
//!
//! Invariant: it takes locks in the order of all others. It must not know what the counted things mean.

use super::devices::{delete_devices, devices_of, leave_conversations, lock_devices};
use super::row::{signed, unsigned};
use super::{Database, MysqlStore, committed, error};
use crate::store::{
    AccountId, AccountSummary, Cutoffs, Disclosed, Expirable, InviteSummary, OperatorStore, Statistics, StoreError,
    Usage,
};
use async_trait::async_trait;
use std::path::Path;
use waxwing_protocol::{DeviceId, Username};

/// id, username, created_ms, disabled_ms, devices, seen_day, full_name, email_sealed.
type AccountRow = (i64, String, i64, Option<i64>, i64, Option<i64>, Option<Vec<u8>>, Option<Vec<u8>>);

const ACCOUNTS: &str = "SELECT a.id, a.username, a.created_ms, a.disabled_ms, COUNT(d.id), MAX(d.seen_day), \
     a.full_name, a.email_sealed \
     FROM account a LEFT JOIN device d ON d.account = a.id \
     WHERE a.deleted_ms IS NULL AND (? IS NULL OR a.username = ?) \
     GROUP BY a.id, a.username, a.created_ms, a.disabled_ms, a.full_name, a.email_sealed ORDER BY a.username";

#[async_trait]
impl OperatorStore for MysqlStore {
    async fn accounts(&self) -> Result<Vec<AccountSummary>, StoreError> {
        self.database.accounts(None).await
    }

    async fn account_summary(&self, username: &Username) -> Result<Option<AccountSummary>, StoreError> {
        Ok(self.database.accounts(Some(username)).await?.pop())
    }

    async fn set_disabled(&self, account: AccountId, since_ms: Option<u64>) -> Result<(), StoreError> {
        error::retried(|| self.database.set_disabled(account, since_ms)).await
    }

    async fn sign_out(&self, account: AccountId, device: Option<DeviceId>) -> Result<Vec<DeviceId>, StoreError> {
        error::retried(|| self.database.sign_out(account, device)).await
    }

    async fn invites(&self) -> Result<Vec<InviteSummary>, StoreError> {
        self.database.invites().await
    }

    async fn revoke_invite(&self, code_hash: [u8; 32]) -> Result<bool, StoreError> {
        error::retried(|| self.database.revoke_invite(&code_hash)).await
    }

    async fn statistics(&self) -> Result<Statistics, StoreError> {
        self.database.statistics().await
    }

    async fn usage(&self, account: AccountId) -> Result<Usage, StoreError> {
        self.database.usage(account).await
    }

    async fn expirable(&self, cutoffs: Cutoffs) -> Result<Expirable, StoreError> {
        self.database.expirable(cutoffs).await
    }

    async fn disclose(&self, account: AccountId) -> Result<Vec<Disclosed>, StoreError> {
        self.database.disclose(account).await
    }

    async fn copy_to(&self, file: &Path) -> Result<(), StoreError> {
        self.database.dump(file).await
    }
}

impl Database {
    async fn accounts(&self, username: Option<&Username>) -> Result<Vec<AccountSummary>, StoreError> {
        let name = username.map(Username::as_str);
        let rows: Vec<AccountRow> = sqlx::query_as(ACCOUNTS).bind(name).bind(name).fetch_all(&self.pool).await?;
        let summary = |row: AccountRow| {
            let (account, username, created_ms, disabled_ms, devices, seen_day, full_name, email) = row;
            Ok(AccountSummary {
                full_name,
                email,
                account: AccountId(account),
                username: username.parse().map_err(|_| StoreError::Inconsistent("account"))?,
                created_ms: unsigned(created_ms, "account")?,
                disabled_ms: disabled_ms.map(|since| unsigned(since, "account")).transpose()?,
                devices: unsigned(devices, "device")?,
                seen_day: seen_day.and_then(|day| u32::try_from(day).ok()),
            })
        };
        rows.into_iter().map(summary).collect()
    }

    async fn sign_out(&self, account: AccountId, device: Option<DeviceId>) -> Result<Vec<DeviceId>, StoreError> {
        let mut transaction = self.begin().await?;
        let locked = sqlx::query("SELECT id FROM account WHERE id = ? FOR UPDATE").bind(account.0);
        if locked.fetch_optional(&mut *transaction).await?.is_none() {
            return Ok(Vec::new());
        }
        let mut devices = devices_of(&mut transaction, account).await?;
        devices.retain(|one| device.is_none_or(|device| device == *one));
        leave_conversations(&mut transaction, account, &devices).await?;
        let _order = self.inbox_order.lock().await;
        lock_devices(&mut transaction, &devices).await?;
        delete_devices(&mut transaction, &devices).await?;
        committed(transaction).await?;
        Ok(devices.into_iter().collect())
    }

    async fn set_disabled(&self, account: AccountId, since_ms: Option<u64>) -> Result<(), StoreError> {
        sqlx::query("UPDATE account SET disabled_ms = ? WHERE id = ?")
            .bind(since_ms.map(signed))
            .bind(account.0)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(super) async fn seen(&self, device: DeviceId, day: u32) -> Result<(), StoreError> {
        sqlx::query("UPDATE device SET seen_day = ? WHERE id = ?")
            .bind(i64::from(day))
            .bind(&device.0[..])
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn statistics(&self) -> Result<Statistics, StoreError> {
        let count = |statement: &'static str| async move {
            let count: i64 = sqlx::query_scalar(statement).fetch_one(&self.pool).await?;
            unsigned(count, "a count")
        };
        Ok(Statistics {
            accounts: count("SELECT COUNT(*) FROM account WHERE deleted_ms IS NULL").await?,
            disabled: count("SELECT COUNT(*) FROM account WHERE disabled_ms IS NOT NULL").await?,
            devices: count("SELECT COUNT(*) FROM device").await?,
            conversations: count("SELECT COUNT(*) FROM conversation").await?,
            entries: count("SELECT COUNT(*) FROM entry").await?,
            entry_bytes: count("SELECT CAST(COALESCE(SUM(size), 0) AS SIGNED) FROM entry").await?,
            inbox_items: count("SELECT COUNT(*) FROM inbox").await?,
            key_packages: count("SELECT COUNT(*) FROM key_package").await?,
            backups: count("SELECT COUNT(*) FROM manifest WHERE payload IS NOT NULL").await?,
            backup_bytes: count("SELECT CAST(COALESCE(SUM(size), 0) AS SIGNED) FROM segment").await?,
            database_bytes: count(
                "SELECT CAST(COALESCE(SUM(data_length + index_length), 0) AS SIGNED) FROM information_schema.tables \
                 WHERE table_schema = DATABASE()",
            )
            .await?,
        })
    }

    async fn expirable(&self, cutoffs: Cutoffs) -> Result<Expirable, StoreError> {
        // Only a prefix of each log expires: up to the entry before the first that is young enough.
        let (entries, bytes): (i64, i64) = sqlx::query_as(
            "SELECT COUNT(*), CAST(COALESCE(SUM(e.size), 0) AS SIGNED) FROM entry e \
             LEFT JOIN (SELECT conversation, MIN(seq) AS seq FROM entry WHERE time_ms >= ? GROUP BY conversation) kept \
             ON kept.conversation = e.conversation WHERE kept.seq IS NULL OR e.seq < kept.seq",
        )
        .bind(signed(cutoffs.entries_ms))
        .fetch_one(&self.pool)
        .await?;
        let count = |sql: &'static str, before_ms: u64| async move {
            let mut query = sqlx::query_scalar(sql);
            for _ in 0..sql.matches('?').count() {
                query = query.bind(signed(before_ms));
            }
            let count: i64 = query.fetch_one(&self.pool).await?;
            unsigned(count, "a count")
        };
        Ok(Expirable {
            entries: unsigned(entries, "entry")?,
            bytes: unsigned(bytes, "entry")?,
            inbox_items: count("SELECT COUNT(*) FROM inbox WHERE time_ms < ?", cutoffs.inbox_ms).await?,
            invites: count(
                "SELECT COUNT(*) FROM invite WHERE expires_ms < ? OR (uses_left = 0 AND created_ms < ?)",
                cutoffs.invites_ms,
            )
            .await?,
            key_packages: count("SELECT COUNT(*) FROM key_package WHERE stored_ms < ?", cutoffs.key_packages_ms)
                .await?,
        })
    }
}
