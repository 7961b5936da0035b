//! The devices of accounts, and the revisions of an account that bring and remove them.
//!
//! Invariants: a device list has the version after the one that it replaces; a removed device leaves nothing that it could
//! use, and nothing waits for it. It must not know what the sealed and hashed things mean.

use super::accounts::stored_name;
use super::batch::Batch;
use crate::store::{
    AccountId, AccountRevision, DeviceRow, EnrolOutcome, Enrolment, ReviseOutcome, RevisedCredentials, StoreError,
    account::{add_rotation, may_follow},
};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;
use waxwing_protocol::{ConversationId, DeviceId, InboxNotice, NewDevice, NewIdentity, limits::DEVICES_PER_ACCOUNT};

/// What a change of the device list needs of an account.
struct Listed {
    name: String,
    version: u64,
    rotations: Option<Vec<u8>>,
}

impl Batch<'_> {
    /// See [`crate::store::Store::enrol_device`].
    pub(super) fn enrol_device(&mut self, new: &Enrolment) -> Result<EnrolOutcome, StoreError> {
        let (account, version) = (new.account, new.version);
        let Some(current) = self.listed(account)? else { return Ok(EnrolOutcome::Conflict) };
        let devices: usize = self
            .statement("SELECT count(*) FROM device WHERE account = ?1")?
            .query_row([account.0], |row| row.get(0))?;
        let mut replaced = None;
        if let Some(device) = new.replaces {
            replaced = self.device_of(account, device)?.map(|row| (row, device));
            if replaced.is_none() && self.device_exists(device)? {
                return Ok(EnrolOutcome::UnknownDevice);
            }
        }
        let full = devices >= DEVICES_PER_ACCOUNT + usize::from(replaced.is_some());
        if full || !may_follow(current.version, new.follows, version) || self.device_exists(new.device.id)? {
            return Ok(EnrolOutcome::Conflict);
        }
        if let Some((row, device)) = replaced {
            self.remove_device(row, device)?;
        }
        self.set_list(account, version, &new.device_list)?;
        let enrolled = self.insert_device(account.0, &new.device, new.now_ms)?;
        self.announce_list(account, &current.name, version, Some(enrolled), new.now_ms)?;
        Ok(EnrolOutcome::Enrolled)
    }

    /// See [`crate::store::Store::revise_account`].
    pub(super) fn revise_account(&mut self, revision: &AccountRevision) -> Result<ReviseOutcome, StoreError> {
        let account = revision.account;
        let Some(current) = self.listed(account)? else { return Ok(ReviseOutcome::Conflict) };
        if !may_follow(current.version, revision.follows, revision.version) {
            return Ok(ReviseOutcome::Conflict);
        }
        let mut removed = BTreeMap::new();
        for device in &revision.removed {
            match self.device_of(account, *device)? {
                Some(row) => drop(removed.insert(row, *device)),
                None if self.device_exists(*device)? => return Ok(ReviseOutcome::UnknownDevice),
                // The operator has signed it out, or its silence: what is left is the owner's list.
                None => {}
            }
        }
        self.set_list(account, revision.version, &revision.device_list)?;
        if let Some(credentials) = &revision.credentials {
            self.set_credentials(account, credentials)?;
        }
        if let Some(identity) = &revision.identity {
            self.set_identity(account, identity, current.rotations.as_deref())?;
        }
        for (row, device) in removed {
            self.remove_device(row, device)?;
        }
        self.announce_list(account, &current.name, revision.version, None, revision.now_ms)?;
        Ok(ReviseOutcome::Revised)
    }

    /// The row of a device, if it is one of the account's.
    fn device_of(&self, account: AccountId, device: DeviceId) -> Result<Option<i64>, StoreError> {
        let mut find = self.statement("SELECT id FROM device WHERE public_id = ?1 AND account = ?2")?;
        Ok(find.query_row(params![device.0, account.0], |row| row.get(0)).optional()?)
    }

    fn listed(&self, account: AccountId) -> Result<Option<Listed>, StoreError> {
        let mut find = self
            .statement("SELECT username, list_version, rotations FROM account WHERE id = ?1 AND deleted_ms IS NULL")?;
        let listed =
            |row: &rusqlite::Row<'_>| Ok(Listed { name: row.get(0)?, version: row.get(1)?, rotations: row.get(2)? });
        Ok(find.query_row([account.0], listed).optional()?)
    }

    fn set_list(&self, account: AccountId, version: u64, device_list: &[u8]) -> Result<(), StoreError> {
        self.statement("UPDATE account SET list_version = ?2, device_list = ?3 WHERE id = ?1")?.execute(params![
            account.0,
            version,
            device_list
        ])?;
        Ok(())
    }

    fn set_credentials(&self, account: AccountId, new: &RevisedCredentials) -> Result<(), StoreError> {
        self.statement(
            "UPDATE account SET kdf_salt = ?2, kdf_memory_kib = ?3, kdf_iterations = ?4, kdf_parallelism = ?5,
             password_hash = ?6, recovery_hash = coalesce(?7, recovery_hash), vault = ?8, password_wrap = ?9,
             recovery_wrap = ?10 WHERE id = ?1",
        )?
        .execute(params![
            account.0,
            new.kdf.salt.0,
            new.kdf.memory_kib,
            new.kdf.iterations,
            new.kdf.parallelism,
            new.password_hash,
            new.recovery_hash,
            new.sealed.vault,
            new.sealed.password_wrap,
            new.sealed.recovery_wrap,
        ])?;
        Ok(())
    }

    fn set_identity(&self, account: AccountId, new: &NewIdentity, rotations: Option<&[u8]>) -> Result<(), StoreError> {
        let rotations = add_rotation(rotations, &new.statement).ok_or(StoreError::Inconsistent("account"))?;
        self.statement("UPDATE account SET identity_key = ?2, backup_key = ?3, rotations = ?4 WHERE id = ?1")?
            .execute(params![account.0, new.identity_key.0, new.backup_key.0, rotations])?;
        Ok(())
    }

    /// Tells the account's devices, and those that share a conversation with it, of its new list; not the device that
    /// came by it.
    fn announce_list(
        &mut self,
        account: AccountId,
        name: &str,
        version: u64,
        except: Option<i64>,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let concerned: Vec<(i64, DeviceId)> = self
            .statement(
                "SELECT id, public_id FROM device WHERE id IS NOT ?2 AND (account = ?1 OR id IN (
                     SELECT m.device FROM roster r JOIN member m ON m.conversation = r.conversation
                     WHERE r.account = ?1 AND m.left_at IS NULL
                 )) ORDER BY id",
            )?
            .query_map(params![account.0, except], |row| Ok((row.get(0)?, DeviceId(row.get(1)?))))?
            .collect::<Result<_, _>>()?;
        let username = stored_name(name)?;
        for one in concerned {
            let notice = InboxNotice::DeviceListChanged { username: username.clone(), version };
            self.notify(one, notice, None, now_ms)?;
        }
        Ok(())
    }

    /// Deletes a device with its key packages, inbox and memberships. Entries that waited for it alone go with the batch.
    pub(super) fn remove_device(&mut self, row: i64, device: DeviceId) -> Result<(), StoreError> {
        let conversations: Vec<ConversationId> = self
            .statement(
                "SELECT c.public_id FROM member m JOIN conversation c ON c.id = m.conversation WHERE m.device = ?1",
            )?
            .query_map([row], |row| Ok(ConversationId(row.get(0)?)))?
            .collect::<Result<_, _>>()?;
        for id in conversations {
            if let Some(log) = self.logs.change(self.connection, id)? {
                log.members.retain(|member| member.row != row);
            }
        }
        self.acknowledge_inbox(device, u64::MAX)?;
        for delete in [
            // What it has sent and others have not fetched goes on counting for its account.
            "INSERT INTO former_device (id, account) SELECT id, account FROM device WHERE id = ?1",
            "DELETE FROM member WHERE device = ?1",
            "DELETE FROM former_member WHERE device = ?1",
            "DELETE FROM sent WHERE device = ?1 AND conversation IN (
                 SELECT r.conversation FROM roster r JOIN device d ON d.account = r.account WHERE d.id = ?1)",
            "DELETE FROM inbox WHERE asker = (SELECT public_id FROM device WHERE id = ?1)",
            "DELETE FROM key_package WHERE device = ?1",
            "DELETE FROM device WHERE id = ?1",
        ] {
            self.statement(delete)?.execute([row])?;
        }
        Ok(())
    }

    pub(super) fn device_exists(&self, device: DeviceId) -> Result<bool, StoreError> {
        Ok(self.statement("SELECT 1 FROM device WHERE public_id = ?1")?.exists([device.0])?)
    }

    pub(super) fn insert_device(&self, account: i64, device: &NewDevice, now_ms: u64) -> Result<i64, StoreError> {
        self.statement(
            "INSERT INTO device (public_id, account, authentication_key, created_ms) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![device.id.0, account, device.authentication_key.0, now_ms])?;
        Ok(self.connection.last_insert_rowid())
    }
}

/// See [`crate::store::Store::device`].
pub(super) fn device(connection: &Connection, device: DeviceId) -> Result<Option<DeviceRow>, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT a.id, a.username, d.authentication_key, a.disabled_ms IS NOT NULL, d.seen_day
         FROM device d JOIN account a ON a.id = d.account WHERE d.public_id = ?1",
    )?;
    let found = find.query_row([device.0], |row| {
        Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
    });
    let Some((account, name, authentication_key, disabled, seen_day)) = found.optional()? else { return Ok(None) };
    let username = stored_name(&name)?;
    Ok(Some(DeviceRow { account: AccountId(account), username, authentication_key, disabled, seen_day }))
}
