//! The end of an account.
//!
//! Invariant: its row stays, emptied, and with it nothing but the name; what others have of it in conversations stays until
//! they have read it.

use super::batch::{Batch, delete};
use crate::store::{AccountId, StoreError};
use rusqlite::{OptionalExtension, params};
use waxwing_protocol::{ConversationId, DeviceId};

impl Batch<'_> {
    /// See [`crate::store::Store::delete_account`]. The backup's payloads are only let go of.
    pub(super) fn delete_account(
        &mut self,
        account: AccountId,
        now_ms: u64,
    ) -> Result<Option<Vec<DeviceId>>, StoreError> {
        let ended = self
            .statement("SELECT deleted_ms IS NOT NULL FROM account WHERE id = ?1")?
            .query_row([account.0], |row| row.get(0))
            .optional()?;
        if ended != Some(false) {
            return Ok(None);
        }
        let devices: Vec<(i64, DeviceId)> = self
            .statement("SELECT id, public_id FROM device WHERE account = ?1 ORDER BY id")?
            .query_map([account.0], |row| Ok((row.get(0)?, DeviceId(row.get(1)?))))?
            .collect::<Result<_, _>>()?;
        for (row, device) in &devices {
            self.remove_device(*row, *device)?;
        }
        self.statement("DELETE FROM former_device WHERE account = ?1")?.execute([account.0])?;
        let conversations: Vec<(i64, ConversationId)> = self
            .statement(
                "SELECT c.id, c.public_id FROM roster r JOIN conversation c ON c.id = r.conversation
                 WHERE r.account = ?1",
            )?
            .query_map([account.0], |row| Ok((row.get(0)?, ConversationId(row.get(1)?))))?
            .collect::<Result<_, _>>()?;
        self.statement("DELETE FROM roster WHERE account = ?1")?.execute([account.0])?;
        for (row, id) in conversations {
            if !self.statement("SELECT 1 FROM roster WHERE conversation = ?1")?.exists([row])? {
                self.delete_conversation(row, id)?;
            }
        }
        self.drop_segments("account = ?1", params![account.0])?;
        self.drop_attachments(account)?;
        self.statement("DELETE FROM manifest WHERE account = ?1")?.execute([account.0])?;
        self.statement(
            "UPDATE account SET deleted_ms = ?2, full_name = NULL, email_lookup = NULL, email = NULL, rotations = NULL,
             kdf_salt = x'', kdf_memory_kib = 0, kdf_iterations = 0, kdf_parallelism = 0, password_hash = x'',
             recovery_hash = x'', vault = x'', password_wrap = x'', recovery_wrap = x'', identity_key = x'',
             backup_key = x'', device_list = x'', list_version = 0, created_ms = 0 WHERE id = ?1",
        )?
        .execute(params![account.0, now_ms])?;
        Ok(Some(devices.into_iter().map(|(_, device)| device).collect()))
    }

    /// Deletes a conversation that nobody is in any more.
    pub(super) fn delete_conversation(&mut self, row: i64, id: ConversationId) -> Result<(), StoreError> {
        self.logs.drop(id);
        delete(self.connection, row, 0, u64::MAX)?;
        for delete in [
            "DELETE FROM sent WHERE conversation = ?1",
            "DELETE FROM former_member WHERE conversation = ?1",
            "DELETE FROM group_info WHERE conversation = ?1",
            "DELETE FROM room WHERE conversation = ?1",
            "DELETE FROM member WHERE conversation = ?1",
            "DELETE FROM conversation WHERE id = ?1",
        ] {
            self.statement(delete)?.execute([row])?;
        }
        Ok(())
    }
}
