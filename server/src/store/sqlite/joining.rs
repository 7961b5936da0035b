//! How devices of a participating account come into a conversation by themselves, or ask to be let in.
//!
//! Invariants: only devices whose account is in the roster see that a conversation exists; one that lets itself in sees the
//! log from its own commit on. It must not know what a commit means.

use super::accounts::stored_name;
use super::batch::{Announcement, Batch, Member};
use super::conversations::Joiner;
use super::log::busy;
use crate::store::{Append, AppendOutcome, Join, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use waxwing_protocol::{
    Bytes, ConversationId, ConversationInfo, ConversationKind, DeviceId, Entry, EntryBody, GroupInfo, InboxNotice,
    limits::PAGE_ENTRIES,
};

impl Batch<'_> {
    /// Appends the commit by which a device lets itself in; the same one again gets the same answer.
    pub(super) fn join(&mut self, append: &Append, join: &Join) -> Result<AppendOutcome, StoreError> {
        let Some(log) = self.logs.find(self.connection, append.conversation)? else {
            return Ok(AppendOutcome::UnknownConversation);
        };
        let (conversation, head, commits, last_commit_ms) = (log.row, log.head, log.commits, log.last_commit_ms);
        let Some(device) = self.participant(conversation, append.device)? else {
            return Ok(AppendOutcome::UnknownConversation);
        };
        let digest = join.digest();
        let before = self
            .statement(
                "SELECT start + 1, join_ms FROM member
                 WHERE conversation = ?1 AND device = ?2 AND join_digest = ?3 AND left_at IS NULL",
            )?
            .query_row(params![conversation, device, digest], |row| {
                Ok(AppendOutcome::Accepted { seq: row.get(0)?, time_ms: row.get(1)? })
            });
        if let Some(accepted) = before.optional()? {
            return Ok(accepted);
        }
        if append.commits != commits {
            return Ok(AppendOutcome::Stale { commits });
        }
        if let Some(busy) = busy(last_commit_ms, append.now_ms) {
            return Ok(busy);
        }

        let (seq, time_ms) = (head + 1, append.now_ms);
        self.insert_entry(conversation, seq, time_ms, true, (device, 0), &join.commit)?;
        self.set_group_info(conversation, join.group_info.as_ref(), device)?;
        let at = (append.conversation, conversation);
        let sent = self.insert_member(at, device, (seq - 1, seq), Some((digest, time_ms)))?;
        let log = self.logs.change(self.connection, append.conversation)?;
        let log = log.ok_or(StoreError::Inconsistent("conversation"))?;
        (log.head, log.commits, log.last_commit_ms) = (seq, commits + 1, Some(time_ms));
        log.members.retain(|member| member.row != device);
        let present = log.members.iter().filter(|member| member.left_at.is_none());
        let recipients = present.map(|member| member.device).collect();
        log.members.push(Member::new((device, append.device), seq, sent));
        let entry = Entry { seq, time_ms, body: EntryBody::Commit(join.commit.clone()) };
        self.announcements.push(Announcement::Entry { recipients, conversation: append.conversation, entry });
        Ok(AppendOutcome::Accepted { seq, time_ms })
    }

    /// See [`crate::store::Store::ask_to_join`].
    pub(super) fn ask_to_join(
        &mut self,
        device: DeviceId,
        id: ConversationId,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let asker = self
            .statement(
                "SELECT c.id, a.username FROM device d JOIN account a ON a.id = d.account
                 JOIN roster r ON r.account = a.id JOIN conversation c ON c.id = r.conversation
                 WHERE d.public_id = ?1 AND c.public_id = ?2",
            )?
            .query_row(params![device.0, id.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))
            .optional()?;
        let Some((conversation, name)) = asker else { return Ok(false) };
        let untold: Vec<Joiner> = self
            .statement(
                "SELECT d.id, d.public_id FROM member m JOIN device d ON d.id = m.device
                 WHERE m.conversation = ?1 AND m.left_at IS NULL AND d.public_id <> ?2 AND NOT EXISTS (
                     SELECT 1 FROM inbox i
                     WHERE i.asker = ?2 AND i.conversation = ?3 AND i.device = d.id AND i.wish IS NULL)",
            )?
            .query_map(params![conversation, device.0, id.0], |row| Ok((row.get(0)?, DeviceId(row.get(1)?))))?
            .collect::<Result<_, _>>()?;
        let notice = InboxNotice::JoinAsked { conversation: id, username: stored_name(&name)?, device };
        for one in untold {
            self.notify(one, notice.clone(), None, now_ms)?;
        }
        Ok(true)
    }

    /// The row of a device whose account is in the conversation.
    fn participant(&self, conversation: i64, device: DeviceId) -> Result<Option<i64>, StoreError> {
        let mut find = self.statement(
            "SELECT d.id FROM device d JOIN roster r ON r.account = d.account AND r.conversation = ?1
             WHERE d.public_id = ?2",
        )?;
        Ok(find.query_row(params![conversation, device.0], |row| row.get(0)).optional()?)
    }

    /// Keeps the group after the newest commit, which `sender` made, or forgets the one before it.
    pub(super) fn set_group_info(
        &self,
        conversation: i64,
        sealed: Option<&Bytes>,
        sender: i64,
    ) -> Result<(), StoreError> {
        match sealed {
            Some(sealed) => self
                .statement("INSERT OR REPLACE INTO group_info (conversation, sealed, sender) VALUES (?1, ?2, ?3)")?
                .execute(params![conversation, sealed.0, sender])?,
            None => self.statement("DELETE FROM group_info WHERE conversation = ?1")?.execute([conversation])?,
        };
        Ok(())
    }
}

/// See [`crate::store::Store::group_info`].
pub(super) fn group_info(
    connection: &Connection,
    device: DeviceId,
    conversation: ConversationId,
) -> Result<Option<GroupInfo>, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT c.commits, g.sealed FROM conversation c JOIN roster r ON r.conversation = c.id
         JOIN device d ON d.account = r.account AND d.public_id = ?2 LEFT JOIN group_info g ON g.conversation = c.id
         WHERE c.public_id = ?1",
    )?;
    let group_info = |row: &rusqlite::Row<'_>| {
        Ok(GroupInfo { commits: row.get(0)?, sealed: row.get::<_, Option<Vec<u8>>>(1)?.map(Bytes) })
    };
    Ok(find.query_row(params![conversation.0, device.0], group_info).optional()?)
}

/// See [`crate::store::Store::conversations`].
pub(super) fn conversations(
    connection: &Connection,
    device: DeviceId,
    after: Option<ConversationId>,
) -> Result<Vec<ConversationInfo>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT c.public_id, o.username, c.head, m.device IS NOT NULL, g.name
         FROM device d JOIN roster r ON r.account = d.account JOIN conversation c ON c.id = r.conversation
         LEFT JOIN room g ON g.conversation = c.id LEFT JOIN account o ON o.id = CASE c.pair_low WHEN d.account THEN c.pair_high ELSE c.pair_low END
         LEFT JOIN member m ON m.conversation = c.id AND m.device = d.id AND m.left_at IS NULL
         WHERE d.public_id = ?1 AND (?2 IS NULL OR c.public_id > ?2)
           AND (o.id IS NOT NULL OR g.conversation IS NOT NULL) ORDER BY c.public_id LIMIT ?3",
    )?;
    let mut rows = select.query(params![device.0, after.map(|id| id.0), PAGE_ENTRIES])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(ConversationInfo {
            conversation: ConversationId(row.get(0)?),
            kind: match (row.get::<_, Option<String>>(1)?, row.get::<_, Option<String>>(4)?) {
                (Some(other), _) => ConversationKind::Direct(stored_name(&other)?),
                (None, Some(room)) => {
                    ConversationKind::Room(room.parse().map_err(|_| StoreError::Inconsistent("room"))?)
                }
                (None, None) => ConversationKind::Group,
            },
            head: row.get(2)?,
            member: row.get(3)?,
        });
    }
    Ok(all)
}
