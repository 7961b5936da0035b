//! Key packages. It owns the rule that a one-time package is handed out once: whoever adds or takes any locks the
//! device's row first. It must not know what is in them.

use super::error::retried;
use super::row::{bytes, push_list, signed};
use super::{Database, committed};
use crate::store::{KEY_PACKAGE_MS, LAST_RESORT_MS, StoreError};
use sqlx::{MySql, QueryBuilder, Transaction};
use std::collections::BTreeMap;
use waxwing_protocol::{Bytes, ClaimedKeyPackage, DeviceId, KeyPackageStock, Username, limits};

impl Database {
    pub(super) async fn publish_key_packages(
        &self,
        device: DeviceId,
        one_time: &[Bytes],
        last_resort: Option<&Bytes>,
        now_ms: u64,
    ) -> Result<KeyPackageStock, StoreError> {
        let mut transaction = self.begin().await?;
        let locked = sqlx::query("SELECT id FROM device WHERE id = ? FOR UPDATE")
            .bind(&device.0[..])
            .fetch_optional(&mut *transaction)
            .await?;
        if locked.is_none() {
            return Ok(KeyPackageStock { one_time: 0, last_resort: false });
        }
        if let Some(package) = last_resort {
            sqlx::query("UPDATE device SET last_resort = ?, last_resort_ms = ? WHERE id = ?")
                .bind(package.as_ref())
                .bind(signed(now_ms))
                .bind(&device.0[..])
                .execute(&mut *transaction)
                .await?;
        }
        let stock = stock(&mut transaction, device, now_ms).await?;
        let space =
            limits::KEY_PACKAGES_PER_DEVICE.saturating_sub(usize::try_from(stock.one_time).unwrap_or(usize::MAX));
        let fitting: Vec<&Bytes> = one_time.iter().take(space).collect();
        // A request is at most 50 packages of 16 KiB: below every server's packet.
        if !fitting.is_empty() {
            let mut insert = QueryBuilder::<MySql>::new("INSERT INTO key_package (device, payload, stored_ms) ");
            insert.push_values(&fitting, |mut row, package| {
                row.push_bind(&device.0[..]).push_bind(package.as_ref()).push_bind(signed(now_ms));
            });
            insert.build().execute(&mut *transaction).await?;
        }
        committed(transaction).await?;
        let added = u32::try_from(fitting.len()).unwrap_or(u32::MAX);
        Ok(KeyPackageStock { one_time: stock.one_time.saturating_add(added), ..stock })
    }

    pub(super) async fn key_package_stock(&self, device: DeviceId, now_ms: u64) -> Result<KeyPackageStock, StoreError> {
        stock(&mut self.begin().await?, device, now_ms).await
    }

    /// Deletes packages that get too old, in parts.
    pub(super) async fn expire_key_packages(&self, now_ms: u64) -> Result<(), StoreError> {
        for statement in [
            "DELETE FROM key_package WHERE stored_ms < ? LIMIT 1000",
            "UPDATE device SET last_resort = NULL WHERE last_resort IS NOT NULL AND last_resort_ms < ? LIMIT 1000",
        ] {
            let before_ms = signed(now_ms.saturating_sub(KEY_PACKAGE_MS));
            let part =
                || async { Ok(sqlx::query(statement).bind(before_ms).execute(&self.pool).await?.rows_affected()) };
            while retried(part).await? > 0 {}
        }
        Ok(())
    }

    pub(super) async fn claim_key_packages(
        &self,
        username: &Username,
        except: DeviceId,
    ) -> Result<Option<Vec<ClaimedKeyPackage>>, StoreError> {
        let mut transaction = self.begin().await?;
        let account: Option<i64> =
            sqlx::query_scalar("SELECT id FROM account WHERE username = ? AND deleted_ms IS NULL")
                .bind(username.as_str())
                .fetch_optional(&mut *transaction)
                .await?;
        let Some(account) = account else { return Ok(None) };
        let devices: Vec<(Vec<u8>, Option<Vec<u8>>)> =
            sqlx::query_as("SELECT id, last_resort FROM device WHERE account = ? AND id <> ? ORDER BY id FOR UPDATE")
                .bind(account)
                .bind(&except.0[..])
                .fetch_all(&mut *transaction)
                .await?;
        let mut one_time = take_one_each(&mut transaction, devices.iter().map(|(id, _)| id.as_slice())).await?;
        committed(transaction).await?;
        let claimed = devices.into_iter().map(|(id, last_resort)| {
            let key_package = one_time.remove(&id).or(last_resort).map(Bytes);
            Ok(ClaimedKeyPackage { device: DeviceId(bytes(&id, "device")?), key_package })
        });
        claimed.collect::<Result<_, StoreError>>().map(Some)
    }
}

/// Takes the oldest one-time package of each device that has one; the devices' rows are locked.
async fn take_one_each<'d>(
    transaction: &mut Transaction<'_, MySql>,
    devices: impl ExactSizeIterator<Item = &'d [u8]>,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, StoreError> {
    let count = devices.len();
    if count == 0 {
        return Ok(BTreeMap::new());
    }
    let mut oldest = QueryBuilder::<MySql>::new("SELECT MIN(id) FROM key_package WHERE device IN ");
    push_list(&mut oldest, devices);
    oldest.push(" GROUP BY device");
    let ids: Vec<i64> = oldest.build_query_scalar().fetch_all(&mut **transaction).await?;
    let mut taken = BTreeMap::new();
    for id in ids {
        let (device, payload): (Vec<u8>, Vec<u8>) =
            sqlx::query_as("SELECT device, payload FROM key_package WHERE id = ?")
                .bind(id)
                .fetch_one(&mut **transaction)
                .await?;
        sqlx::query("DELETE FROM key_package WHERE id = ?").bind(id).execute(&mut **transaction).await?;
        taken.insert(device, payload);
    }
    Ok(taken)
}

async fn stock(
    transaction: &mut Transaction<'_, MySql>,
    device: DeviceId,
    now_ms: u64,
) -> Result<KeyPackageStock, StoreError> {
    let one_time: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM key_package WHERE device = ?")
        .bind(&device.0[..])
        .fetch_one(&mut **transaction)
        .await?;
    let last_resort =
        sqlx::query("SELECT id FROM device WHERE id = ? AND last_resort IS NOT NULL AND last_resort_ms >= ?")
            .bind(&device.0[..])
            .bind(signed(now_ms.saturating_sub(LAST_RESORT_MS)))
            .fetch_optional(&mut **transaction)
            .await?;
    let one_time = u32::try_from(one_time).map_err(|_| StoreError::Inconsistent("key_package"))?;
    Ok(KeyPackageStock { one_time, last_resort: last_resort.is_some() })
}
