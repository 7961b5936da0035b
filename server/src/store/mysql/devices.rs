//! The devices of accounts, and the revisions of an account that bring and remove them. It owns the table `device` and the
//! rules that device lists follow each other without a gap, that every device concerned hears of a new one once, and that
//! a removed device leaves nothing that it could use.

use super::error::is_duplicate;
use super::inbox::{Notice, announce, empty_inboxes, post};
use super::log::{drop_until, lock};
use super::row::{bytes, push_list, signed, unsigned};
use super::{Database, committed};
use crate::store::{
    AccountId, AccountRevision, DeviceRow, EnrolOutcome, Enrolment, ReviseOutcome, RevisedCredentials, StoreError,
    account::{add_rotation, may_follow},
};
use sqlx::{MySql, QueryBuilder, Transaction};
use std::collections::BTreeSet;
use waxwing_protocol::{DeviceId, InboxNotice, NewDevice, NewIdentity, Username, limits};

/// What a change of the device list needs of an account, which is locked.
struct Listed {
    username: Username,
    version: u64,
    rotations: Option<Vec<u8>>,
}

impl Database {
    pub(super) async fn enrol_device(&self, new: &Enrolment) -> Result<EnrolOutcome, StoreError> {
        let (account, version) = (new.account, new.version);
        let mut transaction = self.begin().await?;
        let Some(current) = listed(&mut transaction, account).await? else { return Ok(EnrolOutcome::Conflict) };
        let devices = devices_of(&mut transaction, account).await?;
        let replaced: BTreeSet<DeviceId> = new.replaces.into_iter().collect();
        if any_foreign(&mut transaction, &(&replaced - &devices)).await? {
            return Ok(EnrolOutcome::UnknownDevice);
        }
        let replaced = &replaced & &devices;
        let full = devices.len() >= limits::DEVICES_PER_ACCOUNT + replaced.len();
        if full || !may_follow(current.version, new.follows, version) {
            return Ok(EnrolOutcome::Conflict);
        }
        set_list(&mut transaction, account, version, &new.device_list).await?;
        match insert_device(&mut transaction, account, &new.device, new.now_ms).await {
            Err(error) if is_duplicate(&error) => return Ok(EnrolOutcome::Conflict),
            done => done?,
        }
        leave_conversations(&mut transaction, account, &replaced).await?;
        let concerned = concerned(&mut transaction, account).await?;
        let new_one = BTreeSet::from([new.device.id]);
        let others = &(&concerned - &replaced) - &new_one;
        let notices = [list_notice(current.username, version, others, new.now_ms)];
        let _order = self.inbox_order.lock().await;
        if !replaced.is_empty() {
            lock_devices(&mut transaction, &concerned).await?;
            delete_devices(&mut transaction, &replaced).await?;
        }
        let posted = post(&mut transaction, &notices, self.statement_bytes).await?;
        committed(transaction).await?;
        announce(&*self.publish, &notices, &posted);
        Ok(EnrolOutcome::Enrolled)
    }

    pub(super) async fn revise_account(&self, revision: &AccountRevision) -> Result<ReviseOutcome, StoreError> {
        let account = revision.account;
        let mut transaction = self.begin().await?;
        let Some(current) = listed(&mut transaction, account).await? else { return Ok(ReviseOutcome::Conflict) };
        if !may_follow(current.version, revision.follows, revision.version) {
            return Ok(ReviseOutcome::Conflict);
        }
        let removed: BTreeSet<DeviceId> = revision.removed.iter().copied().collect();
        let devices = devices_of(&mut transaction, account).await?;
        if any_foreign(&mut transaction, &(&removed - &devices)).await? {
            return Ok(ReviseOutcome::UnknownDevice);
        }
        // The operator has signed others out, or their silence: what is left of them is the owner's list.
        let removed = &removed & &devices;
        set_list(&mut transaction, account, revision.version, &revision.device_list).await?;
        if let Some(credentials) = &revision.credentials {
            set_credentials(&mut transaction, account, credentials).await?;
        }
        if let Some(identity) = &revision.identity {
            set_identity(&mut transaction, account, identity, current.rotations.as_deref()).await?;
        }
        leave_conversations(&mut transaction, account, &removed).await?;
        let concerned = concerned(&mut transaction, account).await?;
        let others = concerned.difference(&removed).copied().collect();
        let notices = [list_notice(current.username, revision.version, others, revision.now_ms)];
        let _order = self.inbox_order.lock().await;
        lock_devices(&mut transaction, &concerned).await?;
        delete_devices(&mut transaction, &removed).await?;
        let posted = post(&mut transaction, &notices, self.statement_bytes).await?;
        committed(transaction).await?;
        announce(&*self.publish, &notices, &posted);
        Ok(ReviseOutcome::Revised)
    }

    pub(super) async fn device(&self, device: DeviceId) -> Result<Option<DeviceRow>, StoreError> {
        type Row = (i64, String, Vec<u8>, Option<i64>, Option<i64>);
        let row: Option<Row> = sqlx::query_as(
            "SELECT a.id, a.username, d.authentication_key, a.disabled_ms, d.seen_day \
             FROM device d JOIN account a ON a.id = d.account WHERE d.id = ?",
        )
        .bind(&device.0[..])
        .fetch_optional(&self.pool)
        .await?;
        let Some((account, username, key, disabled_ms, seen_day)) = row else { return Ok(None) };
        Ok(Some(DeviceRow {
            account: AccountId(account),
            username: username.parse().map_err(|_| StoreError::Inconsistent("account"))?,
            authentication_key: bytes(&key, "device")?,
            disabled: disabled_ms.is_some(),
            seen_day: seen_day.and_then(|day| u32::try_from(day).ok()),
        }))
    }
}

/// Locks an account, if it has not ended.
async fn listed(transaction: &mut Transaction<'_, MySql>, account: AccountId) -> Result<Option<Listed>, StoreError> {
    let found: Option<(i64, String, Option<Vec<u8>>)> = sqlx::query_as(
        "SELECT list_version, username, rotations FROM account WHERE id = ? AND deleted_ms IS NULL FOR UPDATE",
    )
    .bind(account.0)
    .fetch_optional(&mut **transaction)
    .await?;
    let Some((version, username, rotations)) = found else { return Ok(None) };
    let username = username.parse().map_err(|_| StoreError::Inconsistent("account"))?;
    Ok(Some(Listed { username, version: unsigned(version, "account")?, rotations }))
}

async fn set_list(
    transaction: &mut Transaction<'_, MySql>,
    account: AccountId,
    version: u64,
    device_list: &[u8],
) -> Result<(), StoreError> {
    sqlx::query("UPDATE account SET list_version = ?, device_list = ? WHERE id = ?")
        .bind(signed(version))
        .bind(device_list)
        .bind(account.0)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

async fn set_credentials(
    transaction: &mut Transaction<'_, MySql>,
    account: AccountId,
    new: &RevisedCredentials,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE account SET kdf_salt = ?, kdf_memory_kib = ?, kdf_iterations = ?, kdf_parallelism = ?, \
         password_hash = ?, recovery_hash = COALESCE(?, recovery_hash), vault = ?, password_wrap = ?, recovery_wrap = ? \
         WHERE id = ?",
    )
    .bind(new.kdf.salt.as_ref())
    .bind(i64::from(new.kdf.memory_kib))
    .bind(i64::from(new.kdf.iterations))
    .bind(i64::from(new.kdf.parallelism))
    .bind(&new.password_hash)
    .bind(new.recovery_hash.as_deref())
    .bind(&new.sealed.vault)
    .bind(&new.sealed.password_wrap)
    .bind(&new.sealed.recovery_wrap)
    .bind(account.0)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn set_identity(
    transaction: &mut Transaction<'_, MySql>,
    account: AccountId,
    new: &NewIdentity,
    rotations: Option<&[u8]>,
) -> Result<(), StoreError> {
    let rotations = add_rotation(rotations, &new.statement).ok_or(StoreError::Inconsistent("account"))?;
    sqlx::query("UPDATE account SET identity_key = ?, backup_key = ?, rotations = ? WHERE id = ?")
        .bind(new.identity_key.as_ref())
        .bind(new.backup_key.as_ref())
        .bind(rotations)
        .bind(account.0)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Adds a device to an account; a duplicate id is the caller's to recognise.
pub(super) async fn insert_device(
    transaction: &mut Transaction<'_, MySql>,
    account: AccountId,
    device: &NewDevice,
    now_ms: u64,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO device (id, account, authentication_key, inbox_seq, enrolled_ms) VALUES (?, ?, ?, 0, ?)")
        .bind(&device.id.0[..])
        .bind(account.0)
        .bind(device.authentication_key.as_ref())
        .bind(signed(now_ms))
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

pub(super) async fn devices_of(
    transaction: &mut Transaction<'_, MySql>,
    account: AccountId,
) -> Result<BTreeSet<DeviceId>, StoreError> {
    let ids: Vec<Vec<u8>> = sqlx::query_scalar("SELECT id FROM device WHERE account = ?")
        .bind(account.0)
        .fetch_all(&mut **transaction)
        .await?;
    ids.iter().map(|id| Ok(DeviceId(bytes(id, "device")?))).collect()
}

/// Whether one of these devices, which are not the account's, is another's.
async fn any_foreign(
    transaction: &mut Transaction<'_, MySql>,
    devices: &BTreeSet<DeviceId>,
) -> Result<bool, StoreError> {
    if devices.is_empty() {
        return Ok(false);
    }
    let mut select = QueryBuilder::<MySql>::new("SELECT COUNT(*) FROM device WHERE id IN ");
    push_list(&mut select, devices.iter().map(|device| &device.0[..]));
    let count: i64 = select.build_query_scalar().fetch_one(&mut **transaction).await?;
    Ok(count > 0)
}

/// The account's devices and all that share a conversation with it.
async fn concerned(
    transaction: &mut Transaction<'_, MySql>,
    account: AccountId,
) -> Result<BTreeSet<DeviceId>, StoreError> {
    let ids: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT id FROM device WHERE account = ? \
         UNION SELECT m.device FROM participant p JOIN membership m ON m.conversation = p.conversation \
         WHERE p.account = ? AND m.left_at IS NULL",
    )
    .bind(account.0)
    .bind(account.0)
    .fetch_all(&mut **transaction)
    .await?;
    ids.iter().map(|id| Ok(DeviceId(bytes(id, "membership")?))).collect()
}

fn list_notice(username: Username, version: u64, devices: BTreeSet<DeviceId>, now_ms: u64) -> Notice {
    let notice = InboxNotice::DeviceListChanged { username, version };
    Notice { devices: devices.into_iter().collect(), notice, sender: None, now_ms }
}

/// Takes devices out of all conversations of their account, which is locked; entries that waited for them alone go.
/// All the account's conversations are locked first, so that no commit lets one of them in meanwhile.
pub(super) async fn leave_conversations(
    transaction: &mut Transaction<'_, MySql>,
    account: AccountId,
    devices: &BTreeSet<DeviceId>,
) -> Result<(), StoreError> {
    if devices.is_empty() {
        return Ok(());
    }
    let conversations: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT conversation FROM participant WHERE account = ? ORDER BY conversation")
            .bind(account.0)
            .fetch_all(&mut **transaction)
            .await?;
    for id in conversations {
        leave_conversation(transaction, &id, devices, true).await?;
    }
    Ok(())
}

/// Takes devices out of one conversation; entries that waited for them alone go. Unless they are `gone` for good they go on
/// counting their sends should they come back.
pub(super) async fn leave_conversation(
    transaction: &mut Transaction<'_, MySql>,
    id: &[u8],
    devices: &BTreeSet<DeviceId>,
    gone: bool,
) -> Result<(), StoreError> {
    let Some((head, tail)) = lock(transaction, id).await? else { return Ok(()) };
    for table in ["DELETE FROM membership WHERE conversation = ", "DELETE FROM receipt WHERE conversation = "] {
        let mut delete = QueryBuilder::<MySql>::new(table);
        delete.push_bind(id.to_vec()).push(" AND device IN ");
        push_list(&mut delete, devices.iter().map(|device| &device.0[..]));
        delete.build().execute(&mut **transaction).await?;
        if !gone {
            break;
        }
    }
    let had_by_all: Option<i64> = sqlx::query_scalar("SELECT MIN(cursor_seq) FROM membership WHERE conversation = ?")
        .bind(id.to_vec())
        .fetch_one(&mut **transaction)
        .await?;
    let had_by_all = had_by_all.unwrap_or(head);
    if had_by_all >= tail {
        drop_until(transaction, id, had_by_all).await?;
    }
    Ok(())
}

/// Locks devices in the order of their ids. The caller holds the database's `inbox_order`.
pub(super) async fn lock_devices(
    transaction: &mut Transaction<'_, MySql>,
    devices: &BTreeSet<DeviceId>,
) -> Result<(), StoreError> {
    let mut lock = QueryBuilder::<MySql>::new("SELECT id FROM device FORCE INDEX (PRIMARY) WHERE id IN ");
    push_list(&mut lock, devices.iter().map(|device| &device.0[..]));
    lock.push(" ORDER BY id FOR UPDATE");
    lock.build().fetch_all(&mut **transaction).await?;
    Ok(())
}

/// Deletes locked devices, which have left their conversations, with their inboxes and key packages.
pub(super) async fn delete_devices(
    transaction: &mut Transaction<'_, MySql>,
    devices: &BTreeSet<DeviceId>,
) -> Result<(), StoreError> {
    if devices.is_empty() {
        return Ok(());
    }
    empty_inboxes(transaction, devices).await?;
    for statement in [
        // What they have sent and others have not fetched goes on counting for their account.
        "INSERT IGNORE INTO former_device (id, account) SELECT id, account FROM device WHERE id IN ",
        "DELETE FROM inbox WHERE asker IN ",
        "DELETE FROM key_package WHERE device IN ",
        "DELETE FROM device WHERE id IN ",
    ] {
        let mut delete = QueryBuilder::<MySql>::new(statement);
        push_list(&mut delete, devices.iter().map(|device| &device.0[..]));
        delete.build().execute(&mut **transaction).await?;
    }
    Ok(())
}
