//! Further devices of an account. It owns the rule that device lists follow each other without a gap, and that every
//! device concerned hears of a new one once.

use super::Database;
use super::account::insert_device;
use super::error::is_duplicate;
use super::inbox::{Notice, announce, post};
use super::row::{bytes, signed, unsigned};
use crate::store::{AccountId, EnrolOutcome, StoreError};
use sqlx::{MySql, Transaction};
use waxwing_protocol::{DeviceId, InboxNotice, NewDevice, limits};

impl Database {
    pub(super) async fn enrol_device(
        &self,
        account: AccountId,
        device: &NewDevice,
        version: u64,
        device_list: &[u8],
        now_ms: u64,
    ) -> Result<EnrolOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        let found: Option<(i64, String)> =
            sqlx::query_as("SELECT list_version, username FROM account WHERE id = ? FOR UPDATE")
                .bind(account.0)
                .fetch_optional(&mut *transaction)
                .await?;
        let Some((stored, username)) = found else { return Ok(EnrolOutcome::Conflict) };
        let devices: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM device WHERE account = ?")
            .bind(account.0)
            .fetch_one(&mut *transaction)
            .await?;
        let full = usize::try_from(devices).is_ok_and(|devices| devices >= limits::DEVICES_PER_ACCOUNT);
        if full || version.checked_sub(1) != Some(unsigned(stored, "account")?) {
            return Ok(EnrolOutcome::Conflict);
        }
        sqlx::query("UPDATE account SET list_version = ?, device_list = ? WHERE id = ?")
            .bind(signed(version))
            .bind(device_list)
            .bind(account.0)
            .execute(&mut *transaction)
            .await?;
        match insert_device(&mut transaction, account, device, now_ms).await {
            Err(error) if is_duplicate(&error) => return Ok(EnrolOutcome::Conflict),
            done => done?,
        }
        let username = username.parse().map_err(|_| StoreError::Inconsistent("account"))?;
        let notices = [Notice {
            devices: concerned(&mut transaction, account, device.id).await?,
            notice: InboxNotice::DeviceListChanged { username, version },
            now_ms,
        }];
        let _order = self.inbox_order.lock().await;
        let posted = post(&mut transaction, &notices, self.statement_bytes).await?;
        transaction.commit().await?;
        announce(&*self.publish, &notices, &posted);
        Ok(EnrolOutcome::Enrolled)
    }
}

/// The account's devices and all that share a conversation with it, but not the new one.
async fn concerned(
    transaction: &mut Transaction<'_, MySql>,
    account: AccountId,
    new: DeviceId,
) -> Result<Vec<DeviceId>, StoreError> {
    let ids: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT id FROM device WHERE account = ? AND id <> ? \
         UNION SELECT m.device FROM participant p JOIN membership m ON m.conversation = p.conversation \
         WHERE p.account = ? AND m.left_at IS NULL AND m.device <> ?",
    )
    .bind(account.0)
    .bind(&new.0[..])
    .bind(account.0)
    .bind(&new.0[..])
    .fetch_all(&mut **transaction)
    .await?;
    ids.iter().map(|id| Ok(DeviceId(bytes(id, "membership")?))).collect()
}
