//! Key packages.
//!
//! Invariant: a one-time key package is handed out once. It must not know what is inside.

use super::batch::Batch;
use crate::store::{KEY_PACKAGE_MS, LAST_RESORT_MS, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use waxwing_protocol::{
    Bytes, ClaimedKeyPackage, DeviceId, KeyPackageStock, Username, limits::KEY_PACKAGES_PER_DEVICE,
};

impl Batch<'_> {
    /// See [`crate::store::Store::publish_key_packages`].
    pub(super) fn publish_key_packages(
        &mut self,
        device: DeviceId,
        one_time: &[Bytes],
        last_resort: Option<&Bytes>,
        now_ms: u64,
    ) -> Result<KeyPackageStock, StoreError> {
        let row: i64 = self
            .statement("SELECT id FROM device WHERE public_id = ?1")?
            .query_row([device.0], |row| row.get(0))
            .optional()?
            .ok_or(StoreError::Inconsistent("device"))?;
        let had = usize::try_from(stock(self.connection, device, now_ms)?.one_time).unwrap_or(usize::MAX);
        let mut insert = self
            .statement("INSERT INTO key_package (device, last_resort, payload, stored_ms) VALUES (?1, ?2, ?3, ?4)")?;
        for payload in one_time.iter().take(KEY_PACKAGES_PER_DEVICE.saturating_sub(had)) {
            insert.execute(params![row, false, payload.0, now_ms])?;
        }
        if let Some(payload) = last_resort {
            self.statement("DELETE FROM key_package WHERE device = ?1 AND last_resort = 1")?.execute([row])?;
            insert.execute(params![row, true, payload.0, now_ms])?;
        }
        stock(self.connection, device, now_ms)
    }

    /// See [`crate::store::Store::claim_key_packages`].
    pub(super) fn claim_key_packages(
        &mut self,
        username: &Username,
        except: DeviceId,
    ) -> Result<Option<Vec<ClaimedKeyPackage>>, StoreError> {
        let Some(account) = self.account_row(username)? else { return Ok(None) };
        let devices: Vec<(i64, DeviceId)> = self
            .statement("SELECT id, public_id FROM device WHERE account = ?1 AND public_id <> ?2 ORDER BY id")?
            .query_map(params![account, except.0], |row| Ok((row.get(0)?, DeviceId(row.get(1)?))))?
            .collect::<Result<_, _>>()?;
        let mut take = self.statement(
            "DELETE FROM key_package WHERE id =
             (SELECT id FROM key_package WHERE device = ?1 AND last_resort = 0 ORDER BY id LIMIT 1) RETURNING payload",
        )?;
        let mut last = self.statement("SELECT payload FROM key_package WHERE device = ?1 AND last_resort = 1")?;
        let mut claimed = Vec::new();
        for (row, device) in devices {
            let mut payload: Option<Vec<u8>> = take.query_row([row], |row| row.get(0)).optional()?;
            if payload.is_none() {
                payload = last.query_row([row], |row| row.get(0)).optional()?;
            }
            claimed.push(ClaimedKeyPackage { device, key_package: payload.map(Bytes) });
        }
        Ok(Some(claimed))
    }

    /// See [`crate::store::Store::expire_key_packages`].
    pub(super) fn expire_key_packages(&mut self, now_ms: u64) -> Result<(), StoreError> {
        self.statement("DELETE FROM key_package WHERE stored_ms < ?1")?
            .execute([now_ms.saturating_sub(KEY_PACKAGE_MS)])?;
        Ok(())
    }
}

/// See [`crate::store::Store::key_package_stock`].
pub(super) fn stock(connection: &Connection, device: DeviceId, now_ms: u64) -> Result<KeyPackageStock, StoreError> {
    let mut count = connection.prepare_cached(
        "SELECT count(*) FILTER (WHERE last_resort = 0), count(*) FILTER (WHERE last_resort = 1 AND stored_ms >= ?2) > 0
         FROM key_package WHERE device = (SELECT id FROM device WHERE public_id = ?1)",
    )?;
    let stock = |row: &rusqlite::Row<'_>| Ok(KeyPackageStock { one_time: row.get(0)?, last_resort: row.get(1)? });
    Ok(count.query_row(params![device.0, now_ms.saturating_sub(LAST_RESORT_MS)], stock)?)
}
