//! Accounts and invites.
//!
//! Invariants: an invite lets in as many accounts as it says; the name of an account that has ended stays taken, and is
//! otherwise like one that nobody had. It must not know what the sealed and hashed things mean.

use super::batch::Batch;
use crate::store::{
    AccountId, InviteSummary, LoginRecord, NewAccount, NewInvite, SealedVault, SignUpOutcome, StoreError,
    account::rotations,
};
use rusqlite::{Connection, OptionalExtension, params, types::Type};
use waxwing_protocol::{AccountRecord, KdfParameters, Username};

impl Batch<'_> {
    /// See [`crate::store::Store::create_account`]. The invite comes first: without one, nobody learns who is here.
    pub(super) fn create_account(&mut self, new: &NewAccount) -> Result<SignUpOutcome, StoreError> {
        if let Some(code_hash) = &new.invite
            && !is_invited(self.connection, code_hash, new.now_ms)?
        {
            return Ok(SignUpOutcome::BadInvite);
        }
        // Also by an account that has ended.
        let taken = self.statement("SELECT 1 FROM account WHERE username = ?1")?.exists([new.username.as_str()])?;
        if taken {
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

    /// See [`crate::store::Store::create_invite`].
    pub(super) fn create_invite(&mut self, invite: &NewInvite) -> Result<(), StoreError> {
        self.statement(
            "INSERT INTO invite (code_hash, uses_left, expires_ms, note, created_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![invite.code_hash, invite.uses, invite.expires_ms, invite.note, invite.now_ms])?;
        Ok(())
    }

    /// See [`crate::store::OperatorStore::revoke_invite`].
    pub(super) fn revoke_invite(&mut self, code_hash: &[u8; 32]) -> Result<bool, StoreError> {
        Ok(self.statement("DELETE FROM invite WHERE code_hash = ?1")?.execute([code_hash])? > 0)
    }

    /// The row of the account of this name.
    pub(super) fn account_row(&self, username: &Username) -> Result<Option<i64>, StoreError> {
        let mut find = self.statement("SELECT id FROM account WHERE username = ?1 AND deleted_ms IS NULL")?;
        Ok(find.query_row([username.as_str()], |row| row.get(0)).optional()?)
    }
}

/// See [`crate::store::Store::is_invited`].
pub(super) fn is_invited(connection: &Connection, code_hash: &[u8; 32], now_ms: u64) -> Result<bool, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT 1 FROM invite
         WHERE code_hash = ?1 AND uses_left > 0 AND (expires_ms IS NULL OR expires_ms > ?2)",
    )?;
    Ok(find.exists(params![code_hash, now_ms])?)
}

/// See [`crate::store::OperatorStore::invites`].
pub(super) fn invites(connection: &Connection) -> Result<Vec<InviteSummary>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT code_hash, uses_left, expires_ms, note, created_ms FROM invite ORDER BY created_ms DESC, code_hash",
    )?;
    let invites = select.query_map([], |row| {
        Ok(InviteSummary {
            code_hash: row.get(0)?,
            uses_left: row.get(1)?,
            expires_ms: row.get(2)?,
            note: row.get(3)?,
            created_ms: row.get(4)?,
        })
    })?;
    Ok(invites.collect::<Result<_, _>>()?)
}

/// See [`crate::store::Store::login_record`].
pub(super) fn login_record(connection: &Connection, username: &Username) -> Result<Option<LoginRecord>, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT identity_key, device_list, backup_key, rotations, id, kdf_salt, kdf_memory_kib, kdf_iterations, kdf_parallelism,
         password_hash, recovery_hash, vault, password_wrap, recovery_wrap, disabled_ms, email
         FROM account WHERE username = ?1 AND deleted_ms IS NULL",
    )?;
    let found = find.query_row([username.as_str()], |row| {
        Ok(LoginRecord {
            record: public_record(username, row)?,
            account: AccountId(row.get(4)?),
            email: row.get(15)?,
            kdf: KdfParameters {
                salt: row.get::<_, Vec<u8>>(5)?.into(),
                memory_kib: row.get(6)?,
                iterations: row.get(7)?,
                parallelism: row.get(8)?,
            },
            password_hash: row.get(9)?,
            recovery_hash: row.get(10)?,
            sealed: SealedVault { vault: row.get(11)?, password_wrap: row.get(12)?, recovery_wrap: row.get(13)? },
            disabled: row.get::<_, Option<u64>>(14)?.is_some(),
        })
    });
    Ok(found.optional()?)
}

/// See [`crate::store::Store::account`].
pub(super) fn account(connection: &Connection, username: &Username) -> Result<Option<AccountRecord>, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT identity_key, device_list, backup_key, rotations FROM account WHERE username = ?1 AND deleted_ms IS NULL",
    )?;
    Ok(find.query_row([username.as_str()], |row| public_record(username, row)).optional()?)
}

/// From a row that begins with the identity key, the device list, the backup key and the rotations.
fn public_record(username: &Username, row: &rusqlite::Row<'_>) -> Result<AccountRecord, rusqlite::Error> {
    let rotations = rotations(row.get_ref(3)?.as_blob_or_null()?);
    Ok(AccountRecord {
        username: username.clone(),
        identity_key: row.get::<_, Vec<u8>>(0)?.into(),
        device_list: row.get::<_, Vec<u8>>(1)?.into(),
        backup_key: row.get::<_, Vec<u8>>(2)?.into(),
        rotations: rotations
            .ok_or_else(|| rusqlite::Error::InvalidColumnType(3, "rotations".to_owned(), Type::Blob))?,
    })
}

pub(super) fn stored_name(name: &str) -> Result<Username, StoreError> {
    name.parse().map_err(|_| StoreError::Inconsistent("account"))
}
