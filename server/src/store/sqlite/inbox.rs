//! Devices' inboxes.
//!
//! Invariants: an inbox seq is given out once, and rises. It must not know what a welcome is for.

use super::batch::{Announcement, Batch};
use super::conversations::Joiner;
use crate::store::StoreError;
use rusqlite::{Connection, params};
use waxwing_protocol::{
    ConversationId, DeviceId, InboxItem, InboxNotice,
    limits::{PAGE_BYTES, PAGE_ENTRIES},
};

const DELETE_ORPHANED_WELCOMES: &str =
    "DELETE FROM welcome WHERE id NOT IN (SELECT welcome FROM inbox WHERE welcome IS NOT NULL)";

impl Batch<'_> {
    /// Puts a notice into a device's inbox; `welcome` is the row with a welcome's payload.
    pub(super) fn notify(
        &mut self,
        to: Joiner,
        notice: InboxNotice,
        welcome: Option<i64>,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.notify_of(to, notice, welcome, None, now_ms)
    }

    /// As [`Self::notify`], of what the device `by` has said.
    pub(super) fn notify_of(
        &mut self,
        (row, device): Joiner,
        notice: InboxNotice,
        welcome: Option<i64>,
        by: Option<DeviceId>,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let seq = self
            .statement("UPDATE device SET inbox_seq = inbox_seq + 1 WHERE id = ?1 RETURNING inbox_seq")?
            .query_row([row], |row| row.get(0))?;
        let (username, version, asked, wish) = match &notice {
            InboxNotice::Welcome { .. } => (None, None, None, None),
            InboxNotice::DeviceListChanged { username, version } => (Some(username), Some(*version), None, None),
            InboxNotice::JoinAsked { conversation, username, device } => {
                (Some(username), None, Some((conversation.0, device.0)), None)
            }
            InboxNotice::Left { conversation, username, wish } => {
                (Some(username), None, Some((conversation.0, by.unwrap_or(device).0)), Some(&wish.0))
            }
        };
        let username = username.map(|name| name.as_str());
        let (conversation, asker) = asked.unzip();
        self.statement(
            "INSERT INTO inbox (device, seq, time_ms, welcome, username, list_version, conversation, asker, wish)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![row, seq, now_ms, welcome, username, version, conversation, asker, wish])?;
        self.announcements.push(Announcement::Inbox { device, item: InboxItem { seq, notice } });
        Ok(())
    }

    /// See [`crate::store::Store::acknowledge_inbox`].
    pub(super) fn acknowledge_inbox(&mut self, device: DeviceId, seq: u64) -> Result<(), StoreError> {
        let welcomes: Vec<i64> = self
            .statement(
                "DELETE FROM inbox WHERE device = (SELECT id FROM device WHERE public_id = ?1) AND seq <= ?2
                 RETURNING welcome",
            )?
            .query_map(params![device.0, i64::try_from(seq).unwrap_or(i64::MAX)], |row| row.get(0))?
            .filter_map(Result::transpose)
            .collect::<Result<_, _>>()?;
        for welcome in welcomes {
            self.statement(
                "DELETE FROM welcome WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM inbox WHERE welcome = ?1)",
            )?
            .execute([welcome])?;
        }
        Ok(())
    }

    /// Deletes items that were stored before this moment; returns how many.
    pub(super) fn expire_inbox(&mut self, before_ms: u64) -> Result<u64, StoreError> {
        let before = i64::try_from(before_ms).unwrap_or(i64::MAX);
        let gone = self.statement("DELETE FROM inbox WHERE time_ms < ?1")?.execute([before])?;
        if gone > 0 {
            self.statement(DELETE_ORPHANED_WELCOMES)?.execute([])?;
        }
        Ok(u64::try_from(gone).unwrap_or(u64::MAX))
    }
}

/// See [`crate::store::Store::fetch_inbox`].
pub(super) fn fetch(connection: &Connection, device: DeviceId, after: u64) -> Result<Vec<InboxItem>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT i.seq, i.username, i.list_version, w.conversation, w.seq, w.commits, w.payload, i.conversation, i.asker, i.wish
         FROM inbox i LEFT JOIN welcome w ON w.id = i.welcome
         WHERE i.device = (SELECT id FROM device WHERE public_id = ?1) AND i.seq > ?2 ORDER BY i.seq LIMIT ?3",
    )?;
    let mut rows = select.query(params![device.0, i64::try_from(after).unwrap_or(i64::MAX), PAGE_ENTRIES])?;
    let (mut items, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let notice = match row.get::<_, Option<String>>(1)? {
            Some(name) => {
                let username = name.parse().map_err(|_| StoreError::Inconsistent("inbox"))?;
                match row.get::<_, Option<[u8; 16]>>(8)? {
                    Some(_) if let Some(wish) = row.get::<_, Option<Vec<u8>>>(9)? => {
                        InboxNotice::Left { conversation: ConversationId(row.get(7)?), username, wish: wish.into() }
                    }
                    Some(asker) => InboxNotice::JoinAsked {
                        conversation: ConversationId(row.get(7)?),
                        username,
                        device: DeviceId(asker),
                    },
                    None => InboxNotice::DeviceListChanged { username, version: row.get(2)? },
                }
            }
            None => InboxNotice::Welcome {
                conversation: ConversationId(row.get(3)?),
                seq: row.get(4)?,
                commits: row.get(5)?,
                payload: row.get::<_, Vec<u8>>(6)?.into(),
            },
        };
        if let InboxNotice::Welcome { payload, .. } = &notice {
            bytes += payload.0.len();
        }
        if bytes > PAGE_BYTES && !items.is_empty() {
            break;
        }
        items.push(InboxItem { seq: row.get(0)?, notice });
    }
    Ok(items)
}
