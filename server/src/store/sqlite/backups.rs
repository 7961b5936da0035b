//! Backups: segments and manifests.
//!
//! Invariants: a manifest has the version after the one that it replaces, and all segments that it names are there; an
//! account's segments stay within its quota. Payloads stand apart, so that letting go of many segments costs little; they
//! are deleted a few at a time. It must not know what is inside.

use super::batch::Batch;
use crate::store::{
    BackupRecord, ManifestOutcome, NewManifest, NewSegment, OTHERS_SEGMENTS_MS, SegmentOutcome, StoreError,
};
use rusqlite::{Connection, OptionalExtension, Params, params};
use waxwing_protocol::{Bytes, DeviceId, SegmentId, limits::SEGMENTS_PER_ACCOUNT};

/// How many payloads one transaction deletes.
const PAYLOADS_AT_ONCE: u32 = 8;

impl Batch<'_> {
    /// See [`crate::store::Store::put_segment`].
    pub(super) fn put_segment(&mut self, new: &NewSegment) -> Result<SegmentOutcome, StoreError> {
        let Some(account) = account_of(self.connection, new.device)? else { return Ok(SegmentOutcome::UnknownDevice) };
        let before: Option<(i64, bool)> = self
            .statement(
                "SELECT s.id, p.payload = ?3 FROM segment s JOIN segment_payload p ON p.segment = s.id
                 WHERE s.account = ?1 AND s.public_id = ?2",
            )?
            .query_row(params![account, new.id.0, new.payload.0], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match before {
            Some((_, false)) => return Ok(SegmentOutcome::Different),
            Some((row, true)) => {
                // It is wanted again: the next manifest must not find it forgotten.
                self.statement("UPDATE segment SET device = ?2, stored_ms = ?3 WHERE id = ?1")?.execute(params![
                    row,
                    new.device.0,
                    new.now_ms
                ])?;
                return Ok(SegmentOutcome::Stored);
            }
            None => {}
        }
        let size = u64::try_from(new.payload.0.len()).unwrap_or(u64::MAX);
        let (count, used) = usage(self.connection, account)?;
        if count >= SEGMENTS_PER_ACCOUNT || used.saturating_add(size) > new.quota {
            return Ok(SegmentOutcome::QuotaExceeded);
        }
        self.statement(
            "INSERT INTO segment (account, public_id, device, size, stored_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![account, new.id.0, new.device.0, size, new.now_ms])?;
        let row = self.connection.last_insert_rowid();
        self.statement("INSERT INTO segment_payload (segment, payload) VALUES (?1, ?2)")?
            .execute(params![row, new.payload.0])?;
        Ok(SegmentOutcome::Stored)
    }

    /// See [`crate::store::Store::put_manifest`].
    pub(super) fn put_manifest(&mut self, new: &NewManifest) -> Result<ManifestOutcome, StoreError> {
        let Some(account) = account_of(self.connection, new.device)? else {
            return Ok(ManifestOutcome::UnknownDevice);
        };
        let current = version(self.connection, account)?;
        if new.version.checked_sub(1) != Some(current) {
            return Ok(ManifestOutcome::Conflict(current));
        }
        self.connection.execute_batch(
            "CREATE TEMP TABLE IF NOT EXISTS named (public_id BLOB PRIMARY KEY) WITHOUT ROWID; DELETE FROM temp.named",
        )?;
        let mut name = self.statement("INSERT OR IGNORE INTO temp.named (public_id) VALUES (?1)")?;
        let mut find = self.statement("SELECT 1 FROM segment WHERE account = ?1 AND public_id = ?2")?;
        for segment in &new.segments {
            if !find.exists(params![account, segment.0])? {
                return Ok(ManifestOutcome::UnknownSegment);
            }
            name.execute([segment.0])?;
        }
        self.statement("INSERT OR REPLACE INTO manifest (account, version, payload) VALUES (?1, ?2, ?3)")?
            .execute(params![account, new.version, new.manifest.0])?;
        let lately = new.now_ms.saturating_sub(OTHERS_SEGMENTS_MS);
        self.drop_segments(
            "account = ?1 AND (device = ?2 OR stored_ms < ?3) AND public_id NOT IN temp.named",
            params![account, new.device.0, lately],
        )?;
        Ok(ManifestOutcome::Stored)
    }

    /// See [`crate::store::Store::delete_backup`].
    pub(super) fn delete_backup(&mut self, device: DeviceId) -> Result<bool, StoreError> {
        let Some(account) = account_of(self.connection, device)? else { return Ok(false) };
        self.statement("UPDATE manifest SET payload = NULL WHERE account = ?1")?.execute([account])?;
        self.drop_segments("account = ?1", params![account])?;
        Ok(true)
    }

    /// Deletes segments, but for their payloads.
    pub(super) fn drop_segments(&self, which: &str, parameters: impl Params + Copy) -> Result<(), StoreError> {
        self.statement(&format!("INSERT INTO dropped_segment SELECT id FROM segment WHERE {which}"))?
            .execute(parameters)?;
        self.statement(&format!("DELETE FROM segment WHERE {which}"))?.execute(parameters)?;
        Ok(())
    }

    /// Deletes some payloads of dropped segments; whether there may be more.
    pub(super) fn delete_payloads(&mut self) -> Result<bool, StoreError> {
        let rows: Vec<i64> = self
            .statement("SELECT segment FROM dropped_segment LIMIT ?1")?
            .query_map([PAYLOADS_AT_ONCE], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for row in &rows {
            self.statement("DELETE FROM segment_payload WHERE segment = ?1")?.execute([row])?;
            self.statement("DELETE FROM dropped_segment WHERE segment = ?1")?.execute([row])?;
        }
        Ok(!rows.is_empty())
    }
}

fn account_of(connection: &Connection, device: DeviceId) -> Result<Option<i64>, StoreError> {
    let mut find = connection.prepare_cached("SELECT account FROM device WHERE public_id = ?1")?;
    Ok(find.query_row([device.0], |row| row.get(0)).optional()?)
}

fn version(connection: &Connection, account: i64) -> Result<u64, StoreError> {
    let mut find = connection.prepare_cached("SELECT version FROM manifest WHERE account = ?1")?;
    Ok(find.query_row([account], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// How many segments the account has, and their bytes.
fn usage(connection: &Connection, account: i64) -> Result<(usize, u64), StoreError> {
    let mut sum =
        connection.prepare_cached("SELECT count(*), coalesce(sum(size), 0) FROM segment WHERE account = ?1")?;
    Ok(sum.query_row([account], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// See [`crate::store::Store::segment`].
pub(super) fn segment(connection: &Connection, device: DeviceId, id: SegmentId) -> Result<Option<Bytes>, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT p.payload FROM device d JOIN segment s ON s.account = d.account AND s.public_id = ?2
         JOIN segment_payload p ON p.segment = s.id WHERE d.public_id = ?1",
    )?;
    Ok(find.query_row(params![device.0, id.0], |row| Ok(Bytes(row.get(0)?))).optional()?)
}

/// See [`crate::store::Store::backup`].
pub(super) fn backup(connection: &Connection, device: DeviceId) -> Result<Option<BackupRecord>, StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    let Some(account) = account_of(&snapshot, device)? else { return Ok(None) };
    let (_, used) = usage(&snapshot, account)?;
    let mut find = snapshot.prepare_cached("SELECT version, payload FROM manifest WHERE account = ?1")?;
    let manifest = find.query_row([account], |row| Ok((row.get(0)?, row.get::<_, Option<Vec<u8>>>(1)?))).optional()?;
    let (version, manifest) = manifest.unwrap_or_default();
    Ok(Some(BackupRecord { version, manifest: manifest.map(Bytes), used }))
}
