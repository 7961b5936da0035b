//! The end of an account. It owns the rule that its row stays, emptied, and with it nothing but the name; what others have of
//! it in conversations stays until they have read it.

use super::devices::{delete_devices, devices_of, leave_conversations, lock_devices};
use super::row::signed;
use super::{Database, committed};
use crate::store::{AccountId, StoreError};
use sqlx::{MySql, Transaction};
use waxwing_protocol::DeviceId;

impl Database {
    pub(super) async fn delete_account(
        &self,
        account: AccountId,
        now_ms: u64,
    ) -> Result<Option<Vec<DeviceId>>, StoreError> {
        let mut transaction = self.begin().await?;
        let locked = sqlx::query("SELECT id FROM account WHERE id = ? AND deleted_ms IS NULL FOR UPDATE")
            .bind(account.0)
            .fetch_optional(&mut *transaction)
            .await?;
        if locked.is_none() {
            return Ok(None);
        }
        let devices = devices_of(&mut transaction, account).await?;
        leave_conversations(&mut transaction, account, &devices).await?;
        delete_abandoned(&mut transaction, account).await?;
        for statement in [
            "DELETE FROM participant WHERE account = ?",
            "DELETE FROM segment WHERE account = ?",
            "DELETE FROM manifest WHERE account = ?",
            "UPDATE attachment SET dropped = 1 WHERE account = ?",
        ] {
            sqlx::query(statement).bind(account.0).execute(&mut *transaction).await?;
        }
        sqlx::query(
            "UPDATE account SET deleted_ms = ?, full_name = NULL, email_lookup = NULL, email_sealed = NULL, \
             rotations = NULL, kdf_salt = '', kdf_memory_kib = 0, kdf_iterations = 0, kdf_parallelism = 0, \
             password_hash = '', recovery_hash = '', vault = '', password_wrap = '', recovery_wrap = '', \
             identity_key = '', backup_key = '', device_list = '', list_version = 0, created_ms = 0 WHERE id = ?",
        )
        .bind(signed(now_ms))
        .bind(account.0)
        .execute(&mut *transaction)
        .await?;
        let _order = self.inbox_order.lock().await;
        lock_devices(&mut transaction, &devices).await?;
        delete_devices(&mut transaction, &devices).await?;
        sqlx::query("DELETE FROM former_device WHERE account = ?").bind(account.0).execute(&mut *transaction).await?;
        committed(transaction).await?;
        Ok(Some(devices.into_iter().collect()))
    }
}

/// Deletes the conversations that nobody but this account takes part in.
async fn delete_abandoned(transaction: &mut Transaction<'_, MySql>, account: AccountId) -> Result<(), StoreError> {
    let abandoned: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT p.conversation FROM participant p WHERE p.account = ? AND NOT EXISTS \
         (SELECT 1 FROM participant o WHERE o.conversation = p.conversation AND o.account <> p.account)",
    )
    .bind(account.0)
    .fetch_all(&mut **transaction)
    .await?;
    for id in abandoned {
        delete_conversation(transaction, &id).await?;
    }
    Ok(())
}

/// Deletes a conversation with everything in it but its accounts' places.
pub(super) async fn delete_conversation(transaction: &mut Transaction<'_, MySql>, id: &[u8]) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM entry WHERE conversation = ?",
        "DELETE FROM receipt WHERE conversation = ?",
        "DELETE FROM membership WHERE conversation = ?",
        "DELETE FROM group_info WHERE conversation = ?",
        "DELETE FROM direct_conversation WHERE conversation = ?",
        "DELETE FROM room WHERE conversation = ?",
        "DELETE FROM conversation WHERE id = ?",
    ] {
        sqlx::query(statement).bind(id.to_vec()).execute(&mut **transaction).await?;
    }
    Ok(())
}
