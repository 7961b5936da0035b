//! Backups. It owns the tables `segment` and `manifest` and the rules that an account's segments stay within its quota, and
//! that a manifest follows the one before and names only what is there: whoever changes any of it locks the account's row
//! first. It must not know what is inside.

use super::row::{length, push_list, signed, unsigned};
use super::{Database, committed};
use crate::store::{
    BackupRecord, ManifestOutcome, NewManifest, NewSegment, OTHERS_SEGMENTS_MS, SegmentOutcome, StoreError,
};
use sqlx::{MySql, QueryBuilder, Transaction};
use std::collections::BTreeSet;
use waxwing_protocol::{Bytes, DeviceId, SegmentId, limits::SEGMENTS_PER_ACCOUNT};

/// How many segments one statement deletes.
const DELETED_AT_ONCE: usize = 64;

impl Database {
    pub(super) async fn put_segment(&self, new: &NewSegment) -> Result<SegmentOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(account) = lock_account(&mut transaction, new.device).await? else {
            return Ok(SegmentOutcome::UnknownDevice);
        };
        let same: Option<i64> = sqlx::query_scalar("SELECT payload = ? FROM segment WHERE account = ? AND id = ?")
            .bind(new.payload.as_ref())
            .bind(account)
            .bind(&new.id.0[..])
            .fetch_optional(&mut *transaction)
            .await?;
        match same {
            Some(0) => return Ok(SegmentOutcome::Different),
            Some(_) => {
                // It is wanted again: the next manifest must not find it forgotten.
                sqlx::query("UPDATE segment SET device = ?, stored_ms = ? WHERE account = ? AND id = ?")
                    .bind(&new.device.0[..])
                    .bind(signed(new.now_ms))
                    .bind(account)
                    .bind(&new.id.0[..])
                    .execute(&mut *transaction)
                    .await?;
                committed(transaction).await?;
                return Ok(SegmentOutcome::Stored);
            }
            None => {}
        }
        let size = length(new.payload.as_ref());
        let (count, used): (i64, i64) =
            sqlx::query_as("SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS SIGNED) FROM segment WHERE account = ?")
                .bind(account)
                .fetch_one(&mut *transaction)
                .await?;
        let full = usize::try_from(count).is_ok_and(|count| count >= SEGMENTS_PER_ACCOUNT);
        if full || used.saturating_add(size) > signed(new.quota) {
            return Ok(SegmentOutcome::QuotaExceeded);
        }
        sqlx::query("INSERT INTO segment (account, id, device, size, stored_ms, payload) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(account)
            .bind(&new.id.0[..])
            .bind(&new.device.0[..])
            .bind(size)
            .bind(signed(new.now_ms))
            .bind(new.payload.as_ref())
            .execute(&mut *transaction)
            .await?;
        committed(transaction).await?;
        Ok(SegmentOutcome::Stored)
    }

    pub(super) async fn segment(&self, device: DeviceId, id: SegmentId) -> Result<Option<Bytes>, StoreError> {
        let payload: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT s.payload FROM device d JOIN segment s ON s.account = d.account WHERE d.id = ? AND s.id = ?",
        )
        .bind(&device.0[..])
        .bind(&id.0[..])
        .fetch_optional(&self.pool)
        .await?;
        Ok(payload.map(Bytes))
    }

    pub(super) async fn put_manifest(&self, new: &NewManifest) -> Result<ManifestOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(account) = lock_account(&mut transaction, new.device).await? else {
            return Ok(ManifestOutcome::UnknownDevice);
        };
        let stored: Option<i64> = sqlx::query_scalar("SELECT version FROM manifest WHERE account = ?")
            .bind(account)
            .fetch_optional(&mut *transaction)
            .await?;
        let stored = unsigned(stored.unwrap_or(0), "manifest")?;
        if new.version.checked_sub(1) != Some(stored) {
            return Ok(ManifestOutcome::Conflict(stored));
        }
        let rows: Vec<(Vec<u8>, Vec<u8>, i64)> =
            sqlx::query_as("SELECT id, device, stored_ms FROM segment WHERE account = ?")
                .bind(account)
                .fetch_all(&mut *transaction)
                .await?;
        let named: BTreeSet<&[u8]> = new.segments.iter().map(|id| &id.0[..]).collect();
        if rows.iter().filter(|(id, ..)| named.contains(id.as_slice())).count() < named.len() {
            return Ok(ManifestOutcome::UnknownSegment);
        }
        sqlx::query(
            "INSERT INTO manifest (account, version, payload) VALUES (?, ?, ?) \
             ON DUPLICATE KEY UPDATE version = VALUES(version), payload = VALUES(payload)",
        )
        .bind(account)
        .bind(signed(new.version))
        .bind(new.manifest.as_ref())
        .execute(&mut *transaction)
        .await?;
        let lately = signed(new.now_ms.saturating_sub(OTHERS_SEGMENTS_MS));
        let useless = rows.iter().filter(|(id, device, stored_ms)| {
            !named.contains(id.as_slice()) && (device[..] == new.device.0 || *stored_ms < lately)
        });
        let useless: Vec<&[u8]> = useless.map(|(id, ..)| id.as_slice()).collect();
        for part in useless.chunks(DELETED_AT_ONCE) {
            let mut delete = QueryBuilder::<MySql>::new("DELETE FROM segment WHERE account = ");
            delete.push_bind(account).push(" AND id IN ");
            push_list(&mut delete, part.iter().copied());
            delete.build().execute(&mut *transaction).await?;
        }
        committed(transaction).await?;
        Ok(ManifestOutcome::Stored)
    }

    pub(super) async fn backup(&self, device: DeviceId) -> Result<Option<BackupRecord>, StoreError> {
        // One statement, since it sees one moment.
        let row: Option<(Option<i64>, Option<Vec<u8>>, i64)> = sqlx::query_as(
            "SELECT m.version, m.payload, \
             CAST(COALESCE((SELECT SUM(s.size) FROM segment s WHERE s.account = d.account), 0) AS SIGNED) \
             FROM device d LEFT JOIN manifest m ON m.account = d.account WHERE d.id = ?",
        )
        .bind(&device.0[..])
        .fetch_optional(&self.pool)
        .await?;
        let Some((version, manifest, used)) = row else { return Ok(None) };
        Ok(Some(BackupRecord {
            version: unsigned(version.unwrap_or(0), "manifest")?,
            manifest: manifest.map(Bytes),
            used: unsigned(used, "segment")?,
        }))
    }

    pub(super) async fn delete_backup(&self, device: DeviceId) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(account) = lock_account(&mut transaction, device).await? else { return Ok(false) };
        for statement in
            ["UPDATE manifest SET payload = NULL WHERE account = ?", "DELETE FROM segment WHERE account = ?"]
        {
            sqlx::query(statement).bind(account).execute(&mut *transaction).await?;
        }
        committed(transaction).await?;
        Ok(true)
    }
}

/// Locks the account of a device; none if the device was removed.
async fn lock_account(transaction: &mut Transaction<'_, MySql>, device: DeviceId) -> Result<Option<i64>, StoreError> {
    let of_device = "SELECT account FROM device WHERE id = ?";
    let account: Option<i64> =
        sqlx::query_scalar(of_device).bind(&device.0[..]).fetch_optional(&mut **transaction).await?;
    let Some(account) = account else { return Ok(None) };
    sqlx::query("SELECT id FROM account WHERE id = ? FOR UPDATE").bind(account).fetch_all(&mut **transaction).await?;
    // Whoever removes devices holds that lock.
    Ok(sqlx::query_scalar(of_device).bind(&device.0[..]).fetch_optional(&mut **transaction).await?)
}
