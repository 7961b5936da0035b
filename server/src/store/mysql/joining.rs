//! What devices of a participating account see of a conversation that they may not be in, and how they ask to be let in. It
//! owns the table `group_info`. It must not know what is inside.

use super::error::is_duplicate;
use super::inbox::{Notice, announce, post};
use super::row::{bytes, unsigned};
use super::{Database, committed};
use crate::store::StoreError;
use sqlx::{MySql, Transaction};
use waxwing_protocol::{
    Bytes, ConversationId, ConversationInfo, ConversationKind, DeviceId, GroupInfo, InboxNotice, limits,
};

impl Database {
    pub(super) async fn conversations(
        &self,
        device: DeviceId,
        after: Option<ConversationId>,
    ) -> Result<Vec<ConversationInfo>, StoreError> {
        type Row = (Vec<u8>, Option<String>, i64, i64, Option<String>);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT c.id, o.username, c.head, m.device IS NOT NULL, g.name \
             FROM device d JOIN participant p ON p.account = d.account JOIN conversation c ON c.id = p.conversation \
             LEFT JOIN room g ON g.conversation = c.id \
             LEFT JOIN direct_conversation w ON w.conversation = c.id \
             LEFT JOIN account o ON o.id = CASE w.low_account WHEN d.account THEN w.high_account ELSE w.low_account END \
             LEFT JOIN membership m ON m.conversation = c.id AND m.device = d.id AND m.left_at IS NULL \
             WHERE d.id = ? AND c.id > ? AND (o.id IS NOT NULL OR g.conversation IS NOT NULL) \
             ORDER BY c.id LIMIT ?",
        )
        .bind(&device.0[..])
        .bind(after.map(|id| id.0.to_vec()).unwrap_or_default())
        .bind(i64::from(limits::PAGE_ENTRIES))
        .fetch_all(&self.pool)
        .await?;
        let info = |(id, other, head, member, room): Row| {
            Ok(ConversationInfo {
                conversation: ConversationId(bytes(&id, "conversation")?),
                kind: match (other, room) {
                    (Some(other), _) => {
                        ConversationKind::Direct(other.parse().map_err(|_| StoreError::Inconsistent("account"))?)
                    }
                    (None, Some(room)) => {
                        ConversationKind::Room(room.parse().map_err(|_| StoreError::Inconsistent("room"))?)
                    }
                    (None, None) => ConversationKind::Group,
                },
                head: unsigned(head, "conversation")?,
                member: member != 0,
            })
        };
        rows.into_iter().map(info).collect()
    }

    pub(super) async fn ask_to_join(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let asker: Option<String> = sqlx::query_scalar(
            "SELECT a.username FROM device d JOIN account a ON a.id = d.account \
             JOIN participant p ON p.account = a.id WHERE d.id = ? AND p.conversation = ?",
        )
        .bind(&device.0[..])
        .bind(&conversation.0[..])
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(username) = asker else { return Ok(false) };
        let username = username.parse().map_err(|_| StoreError::Inconsistent("account"))?;
        // Held from here, so that a device that asks twice at once is announced once.
        let _order = self.inbox_order.lock().await;
        let untold: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT m.device FROM membership m WHERE m.conversation = ? AND m.left_at IS NULL AND m.device <> ? \
             AND NOT EXISTS (SELECT 1 FROM inbox i WHERE i.asker = ? AND i.conversation = ? AND i.device = m.device)",
        )
        .bind(&conversation.0[..])
        .bind(&device.0[..])
        .bind(&device.0[..])
        .bind(&conversation.0[..])
        .fetch_all(&mut *transaction)
        .await?;
        let devices = untold.iter().map(|id| Ok(DeviceId(bytes(id, "membership")?)));
        let devices = devices.collect::<Result<_, StoreError>>()?;
        let notice = InboxNotice::JoinAsked { conversation, username, device };
        let notices = [Notice { devices, notice, sender: None, now_ms }];
        let posted = match post(&mut transaction, &notices, self.statement_bytes).await {
            // Another node was faster.
            Err(error) if is_duplicate(&error) => return Ok(true),
            posted => posted?,
        };
        committed(transaction).await?;
        announce(&*self.publish, &notices, &posted);
        Ok(true)
    }

    pub(super) async fn group_info(
        &self,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<GroupInfo>, StoreError> {
        let row: Option<(i64, Option<Vec<u8>>)> = sqlx::query_as(
            "SELECT c.commits, g.sealed FROM conversation c JOIN participant p ON p.conversation = c.id \
             JOIN device d ON d.account = p.account AND d.id = ? LEFT JOIN group_info g ON g.conversation = c.id \
             WHERE c.id = ?",
        )
        .bind(&device.0[..])
        .bind(&conversation.0[..])
        .fetch_optional(&self.pool)
        .await?;
        let Some((commits, sealed)) = row else { return Ok(None) };
        Ok(Some(GroupInfo { commits: unsigned(commits, "conversation")?, sealed: sealed.map(Bytes) }))
    }
}

/// Keeps the group after the newest commit of a locked conversation, which `sender` made, or forgets the one before it.
pub(super) async fn set_group_info(
    transaction: &mut Transaction<'_, MySql>,
    conversation: ConversationId,
    sealed: Option<&Bytes>,
    sender: &DeviceId,
) -> Result<(), StoreError> {
    let query = match sealed {
        Some(sealed) => sqlx::query(
            "INSERT INTO group_info (conversation, sealed, sender) VALUES (?, ?, ?) \
             ON DUPLICATE KEY UPDATE sealed = VALUES(sealed), sender = VALUES(sender)",
        )
        .bind(&conversation.0[..])
        .bind(sealed.as_ref())
        .bind(&sender.0[..]),
        None => sqlx::query("DELETE FROM group_info WHERE conversation = ?").bind(&conversation.0[..]),
    };
    query.execute(&mut **transaction).await?;
    Ok(())
}
