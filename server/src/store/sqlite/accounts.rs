//! Accounts, their devices, and invites.
//!
//! Invariants: a device list has the version after the one that it replaces; an invite lets in as many accounts as it
//! says. It must not know what the sealed and hashed things mean.

use super::batch::Batch;
use crate::store::{
    AccountId, DeviceRow, EnrolOutcome, LoginRecord, NewAccount, NewInvite, SealedVault, SignUpOutcome, StoreError,
};
use rusqlite::{Connection, OptionalExtension, params};
use waxwing_protocol::{
    AccountRecord, DeviceId, InboxNotice, KdfParameters, NewDevice, Username, limits::DEVICES_PER_ACCOUNT,
};

impl Batch<'_> {
    /// See [`crate::store::Store::create_account`]. The invite comes first: without one, nobody learns who is here.
    pub(super) fn create_account(&mut self, new: &NewAccount) -> Result<SignUpOutcome, StoreError> {
        if let Some(code_hash) = &new.invite {
            let valid = self
                .statement(
                    "SELECT 1 FROM invite
                     WHERE code_hash = ?1 AND uses_left > 0 AND (expires_ms IS NULL OR expires_ms > ?2)",
                )?
                .exists(params![code_hash, new.now_ms])?;
            if !valid {
                return Ok(SignUpOutcome::BadInvite);
            }
        }
        if self.account_row(&new.username)?.is_some() {
            return Ok(SignUpOutcome::UsernameTaken);
        }
        if self.device_exists(new.device.id)? {
            return Ok(SignUpOutcome::DeviceExists);
        }
        if let Some(code_hash) = &new.invite {
            self.statement("UPDATE invite SET uses_left = uses_left - 1 WHERE code_hash = ?1")?.execute([code_hash])?;
        }
        self.statement(
            "INSERT INTO account (username, full_name, email_lookup, email, kdf_salt, kdf_memory_kib, kdf_iterations,
             kdf_parallelism, password_hash, recovery_hash, vault, password_wrap, recovery_wrap, identity_key, backup_key,
             device_list, list_version, created_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, 1, ?17)",
        )?
        .execute(params![
            new.username.as_str(),
            new.full_name,
            new.email.as_ref().map(|email| email.lookup),
            new.email.as_ref().map(|email| &email.sealed),
            new.kdf.salt.0,
            new.kdf.memory_kib,
            new.kdf.iterations,
            new.kdf.parallelism,
            new.password_hash,
            new.recovery_hash,
            new.sealed.vault,
            new.sealed.password_wrap,
            new.sealed.recovery_wrap,
            new.identity_key,
            new.backup_key,
            new.device_list,
            new.now_ms,
        ])?;
        let account = self.connection.last_insert_rowid();
        self.insert_device(account, &new.device, new.now_ms)?;
        Ok(SignUpOutcome::Created(AccountId(account)))
    }

    /// See [`crate::store::Store::enrol_device`].
    pub(super) fn enrol_device(
        &mut self,
        account: AccountId,
        device: &NewDevice,
        version: u64,
        device_list: &[u8],
        now_ms: u64,
    ) -> Result<EnrolOutcome, StoreError> {
        let (name, current): (String, u64) = self
            .statement("SELECT username, list_version FROM account WHERE id = ?1")?
            .query_row([account.0], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?
            .ok_or(StoreError::Inconsistent("account"))?;
        let devices: usize = self
            .statement("SELECT count(*) FROM device WHERE account = ?1")?
            .query_row([account.0], |row| row.get(0))?;
        if version != current + 1 || devices >= DEVICES_PER_ACCOUNT || self.device_exists(device.id)? {
            return Ok(EnrolOutcome::Conflict);
        }
        self.statement("UPDATE account SET list_version = ?2, device_list = ?3 WHERE id = ?1")?.execute(params![
            account.0,
            version,
            device_list
        ])?;
        let enrolled = self.insert_device(account.0, device, now_ms)?;
        let concerned: Vec<(i64, DeviceId)> = self
            .statement(
                "SELECT id, public_id FROM device WHERE id <> ?2 AND (account = ?1 OR id IN (
                     SELECT m.device FROM roster r JOIN member m ON m.conversation = r.conversation
                     WHERE r.account = ?1 AND m.left_at IS NULL
                 )) ORDER BY id",
            )?
            .query_map([account.0, enrolled], |row| Ok((row.get(0)?, DeviceId(row.get(1)?))))?
            .collect::<Result<_, _>>()?;
        let username = stored_name(&name)?;
        for one in concerned {
            let notice = InboxNotice::DeviceListChanged { username: username.clone(), version };
            self.notify(one, notice, None, now_ms)?;
        }
        Ok(EnrolOutcome::Enrolled)
    }

    /// See [`crate::store::Store::create_invite`].
    pub(super) fn create_invite(&mut self, invite: &NewInvite) -> Result<(), StoreError> {
        self.statement(
            "INSERT INTO invite (code_hash, uses_left, expires_ms, note, created_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![invite.code_hash, invite.uses, invite.expires_ms, invite.note, invite.now_ms])?;
        Ok(())
    }

    /// The row of the account of this name.
    pub(super) fn account_row(&self, username: &Username) -> Result<Option<i64>, StoreError> {
        let mut find = self.statement("SELECT id FROM account WHERE username = ?1")?;
        Ok(find.query_row([username.as_str()], |row| row.get(0)).optional()?)
    }

    fn device_exists(&self, device: DeviceId) -> Result<bool, StoreError> {
        Ok(self.statement("SELECT 1 FROM device WHERE public_id = ?1")?.exists([device.0])?)
    }

    fn insert_device(&self, account: i64, device: &NewDevice, now_ms: u64) -> Result<i64, StoreError> {
        self.statement(
            "INSERT INTO device (public_id, account, authentication_key, created_ms) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![device.id.0, account, device.authentication_key.0, now_ms])?;
        Ok(self.connection.last_insert_rowid())
    }
}

/// See [`crate::store::Store::login_record`].
pub(super) fn login_record(connection: &Connection, username: &Username) -> Result<Option<LoginRecord>, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT identity_key, device_list, backup_key, id, kdf_salt, kdf_memory_kib, kdf_iterations, kdf_parallelism,
         password_hash, recovery_hash, vault, password_wrap, recovery_wrap FROM account WHERE username = ?1",
    )?;
    let found = find.query_row([username.as_str()], |row| {
        Ok(LoginRecord {
            record: public_record(username, row)?,
            account: AccountId(row.get(3)?),
            kdf: KdfParameters {
                salt: row.get::<_, Vec<u8>>(4)?.into(),
                memory_kib: row.get(5)?,
                iterations: row.get(6)?,
                parallelism: row.get(7)?,
            },
            password_hash: row.get(8)?,
            recovery_hash: row.get(9)?,
            sealed: SealedVault { vault: row.get(10)?, password_wrap: row.get(11)?, recovery_wrap: row.get(12)? },
        })
    });
    Ok(found.optional()?)
}

/// See [`crate::store::Store::account`].
pub(super) fn account(connection: &Connection, username: &Username) -> Result<Option<AccountRecord>, StoreError> {
    let mut find =
        connection.prepare_cached("SELECT identity_key, device_list, backup_key FROM account WHERE username = ?1")?;
    Ok(find.query_row([username.as_str()], |row| public_record(username, row)).optional()?)
}

/// From a row that begins with the identity key, the device list and the backup key.
fn public_record(username: &Username, row: &rusqlite::Row<'_>) -> Result<AccountRecord, rusqlite::Error> {
    Ok(AccountRecord {
        username: username.clone(),
        identity_key: row.get::<_, Vec<u8>>(0)?.into(),
        device_list: row.get::<_, Vec<u8>>(1)?.into(),
        backup_key: row.get::<_, Vec<u8>>(2)?.into(),
        rotations: Vec::new(),
    })
}

/// See [`crate::store::Store::device`].
pub(super) fn device(connection: &Connection, device: DeviceId) -> Result<Option<DeviceRow>, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT a.id, a.username, d.authentication_key FROM device d JOIN account a ON a.id = d.account
         WHERE d.public_id = ?1",
    )?;
    let found =
        find.query_row([device.0], |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?))).optional()?;
    let Some((account, name, authentication_key)) = found else { return Ok(None) };
    Ok(Some(DeviceRow { account: AccountId(account), username: stored_name(&name)?, authentication_key }))
}

fn stored_name(name: &str) -> Result<Username, StoreError> {
    name.parse().map_err(|_| StoreError::Inconsistent("account"))
}
