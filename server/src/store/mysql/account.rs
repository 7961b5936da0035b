//! Accounts and invites. It owns the tables `account` and `invite`, and the rule that the name of an account that has ended
//! stays taken and is otherwise like one that nobody had. It must not know what the sealed columns contain.

use super::devices::insert_device;
use super::error::is_duplicate;
use super::row::{bytes, signed, unsigned};
use super::{Database, committed};
use crate::store::{
    AccountId, InviteSummary, LoginRecord, NewAccount, NewInvite, SealedVault, SignUpOutcome, StoreError,
    account::rotations,
};
use sqlx::mysql::MySqlRow;
use sqlx::{MySql, Row, Transaction};
use waxwing_protocol::{AccountRecord, KdfParameters, Username};

/// code_hash, uses_left, expires_ms, note, created_ms.
type InviteRow = (Vec<u8>, i64, Option<i64>, String, i64);

impl Database {
    pub(super) async fn create_account(&self, account: &NewAccount) -> Result<SignUpOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        if let Some(code_hash) = account.invite {
            let used = sqlx::query(
                "UPDATE invite SET uses_left = uses_left - 1 \
                 WHERE code_hash = ? AND uses_left > 0 AND (expires_ms IS NULL OR expires_ms > ?)",
            )
            .bind(&code_hash[..])
            .bind(signed(account.now_ms))
            .execute(&mut *transaction)
            .await?;
            if used.rows_affected() == 0 {
                return Ok(SignUpOutcome::BadInvite);
            }
        }
        // Whatever ends early from here on takes the invite's use back with it.
        let id = match insert_account(&mut transaction, account).await {
            Err(error) if is_duplicate(&error) => return Ok(SignUpOutcome::UsernameTaken),
            id => id?,
        };
        match insert_device(&mut transaction, id, &account.device, account.now_ms).await {
            Err(error) if is_duplicate(&error) => return Ok(SignUpOutcome::DeviceExists),
            done => done?,
        }
        committed(transaction).await?;
        Ok(SignUpOutcome::Created(id))
    }

    pub(super) async fn login_record(&self, username: &Username) -> Result<Option<LoginRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM account WHERE username = ? AND deleted_ms IS NULL")
            .bind(username.as_str())
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let cost = |column| -> Result<u32, StoreError> {
            u32::try_from(row.try_get::<i64, _>(column)?).map_err(|_| StoreError::Inconsistent("account"))
        };
        Ok(Some(LoginRecord {
            account: AccountId(row.try_get("id")?),
            email: row.try_get("email_sealed")?,
            kdf: KdfParameters {
                salt: row.try_get::<Vec<u8>, _>("kdf_salt")?.into(),
                memory_kib: cost("kdf_memory_kib")?,
                iterations: cost("kdf_iterations")?,
                parallelism: cost("kdf_parallelism")?,
            },
            password_hash: row.try_get("password_hash")?,
            recovery_hash: row.try_get("recovery_hash")?,
            sealed: SealedVault {
                vault: row.try_get("vault")?,
                password_wrap: row.try_get("password_wrap")?,
                recovery_wrap: row.try_get("recovery_wrap")?,
            },
            record: record(username, &row)?,
            disabled: row.try_get::<Option<i64>, _>("disabled_ms")?.is_some(),
        }))
    }

    pub(super) async fn account(&self, username: &Username) -> Result<Option<AccountRecord>, StoreError> {
        sqlx::query(
            "SELECT identity_key, device_list, backup_key, rotations FROM account \
             WHERE username = ? AND deleted_ms IS NULL",
        )
        .bind(username.as_str())
        .fetch_optional(&self.pool)
        .await?
        .map(|row| record(username, &row))
        .transpose()
    }

    pub(super) async fn create_invite(&self, invite: &NewInvite) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO invite (code_hash, uses_left, expires_ms, note, created_ms) VALUES (?, ?, ?, ?, ?)")
            .bind(&invite.code_hash[..])
            .bind(i64::from(invite.uses))
            .bind(invite.expires_ms.map(signed))
            .bind(&invite.note)
            .bind(signed(invite.now_ms))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(super) async fn is_invited(&self, code_hash: &[u8; 32], now_ms: u64) -> Result<bool, StoreError> {
        let found: Option<i64> = sqlx::query_scalar(
            "SELECT uses_left FROM invite \
             WHERE code_hash = ? AND uses_left > 0 AND (expires_ms IS NULL OR expires_ms > ?)",
        )
        .bind(&code_hash[..])
        .bind(signed(now_ms))
        .fetch_optional(&self.pool)
        .await?;
        Ok(found.is_some())
    }

    pub(super) async fn revoke_invite(&self, code_hash: &[u8; 32]) -> Result<bool, StoreError> {
        let deleted = sqlx::query("DELETE FROM invite WHERE code_hash = ?").bind(&code_hash[..]).execute(&self.pool);
        Ok(deleted.await?.rows_affected() > 0)
    }

    pub(super) async fn invites(&self) -> Result<Vec<InviteSummary>, StoreError> {
        let rows: Vec<InviteRow> = sqlx::query_as(
            "SELECT code_hash, uses_left, expires_ms, note, created_ms FROM invite \
             ORDER BY created_ms DESC, code_hash",
        )
        .fetch_all(&self.pool)
        .await?;
        let summary = |(code_hash, uses_left, expires_ms, note, created_ms): InviteRow| {
            Ok(InviteSummary {
                code_hash: bytes(&code_hash, "invite")?,
                uses_left: unsigned(uses_left, "invite")?,
                expires_ms: expires_ms.map(|at| unsigned(at, "invite")).transpose()?,
                note,
                created_ms: unsigned(created_ms, "invite")?,
            })
        };
        rows.into_iter().map(summary).collect()
    }
}

fn record(username: &Username, row: &MySqlRow) -> Result<AccountRecord, StoreError> {
    let rotations = rotations(row.try_get("rotations")?).ok_or(StoreError::Inconsistent("account"))?;
    Ok(AccountRecord {
        username: username.clone(),
        identity_key: row.try_get::<Vec<u8>, _>("identity_key")?.into(),
        device_list: row.try_get::<Vec<u8>, _>("device_list")?.into(),
        backup_key: row.try_get::<Vec<u8>, _>("backup_key")?.into(),
        rotations,
    })
}

async fn insert_account(
    transaction: &mut Transaction<'_, MySql>,
    account: &NewAccount,
) -> Result<AccountId, StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO account (username, full_name, email_lookup, email_sealed, kdf_salt, kdf_memory_kib, \
         kdf_iterations, kdf_parallelism, password_hash, recovery_hash, vault, password_wrap, recovery_wrap, \
         identity_key, backup_key, device_list, list_version, created_ms) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)",
    )
    .bind(account.username.as_str())
    .bind(account.full_name.as_deref())
    .bind(account.email.as_ref().map(|email| email.lookup.to_vec()))
    .bind(account.email.as_ref().map(|email| email.sealed.as_slice()))
    .bind(account.kdf.salt.as_ref())
    .bind(i64::from(account.kdf.memory_kib))
    .bind(i64::from(account.kdf.iterations))
    .bind(i64::from(account.kdf.parallelism))
    .bind(&account.password_hash)
    .bind(&account.recovery_hash)
    .bind(&account.sealed.vault)
    .bind(&account.sealed.password_wrap)
    .bind(&account.sealed.recovery_wrap)
    .bind(&account.identity_key)
    .bind(&account.backup_key)
    .bind(&account.device_list)
    .bind(signed(account.now_ms))
    .execute(&mut **transaction)
    .await?;
    i64::try_from(inserted.last_insert_id()).map(AccountId).map_err(|_| StoreError::Inconsistent("account"))
}
