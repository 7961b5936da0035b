//! The log of a conversation: appending, reading, acknowledging, expiring.
//!
//! Invariants: seqs have no gap, a device's numbers neither, and a number becomes one entry. It must not know what a
//! payload means.

use super::batch::{Announcement, Batch, delete, oldest, place};
use super::rooms::RosterChange;
use crate::store::{Append, AppendBody, AppendOutcome, Audience, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use waxwing_protocol::{
    Bytes, ConversationHead, ConversationId, DeviceId, Entry, EntryBody, Page,
    limits::{PAGE_BYTES, PAGE_ENTRIES},
};

/// Between one commit and the next.
const COMMIT_PAUSE_MS: u64 = 1000;

impl Batch<'_> {
    /// See [`crate::store::Store::append`].
    pub(super) fn append(&mut self, append: &Append) -> Result<AppendOutcome, StoreError> {
        if let AppendBody::Join(join) = &append.body {
            return self.join(append, join);
        }
        let Some(log) = self.logs.find(self.connection, append.conversation)? else {
            return Ok(AppendOutcome::UnknownConversation);
        };
        let Some(sender) = log.member(append.device) else { return Ok(AppendOutcome::UnknownConversation) };
        let (conversation, sender, expected) = (log.row, sender.row, sender.sent + 1);
        if append.number < expected {
            let known = self.known(append.conversation, append.device, append.number)?;
            return Ok(known.unwrap_or(AppendOutcome::OutOfOrder { expected }));
        }
        if append.number > expected {
            return Ok(AppendOutcome::OutOfOrder { expected });
        }
        if append.commits != log.commits {
            return Ok(AppendOutcome::Stale { commits: log.commits });
        }
        let handshake = if let AppendBody::Commit(handshake) = &append.body { Some(handshake) } else { None };
        let (payload, is_commit, head) = (append.body.payload(), handshake.is_some(), log.head);
        let removed = handshake.map_or(&[][..], |handshake| &handshake.removed);
        let welcomed = handshake.and_then(|handshake| handshake.welcome.as_ref());
        let welcomed = welcomed.map_or(&[][..], |welcome| &welcome.recipients);
        if is_commit
            && !removed.iter().any(|device| log.member(*device).is_some() && !welcomed.contains(device))
            && let Some(busy) = busy(log.last_commit_ms, append.now_ms)
        {
            return Ok(busy);
        }
        let roster = match handshake.and_then(|handshake| handshake.roster.as_ref()) {
            Some(roster) => match self.roster_change(conversation, roster, sender, append.members)? {
                Ok(change) => change,
                Err(refused) => return Ok(refused),
            },
            None => RosterChange::default(),
        };
        let added = match handshake {
            Some(handshake) => self.joiners(conversation, handshake, &roster.entered)?,
            None => Some(Vec::new()),
        };
        let Some(added) = added.filter(|_| !removed.contains(&append.device)) else {
            return Ok(AppendOutcome::BadRecipients);
        };

        let (seq, time_ms) = (head + 1, append.now_ms);
        self.insert_entry(conversation, seq, time_ms, is_commit, (sender, append.number), append.body.kept())?;
        if let Some(group_info) = append.body.group_info() {
            self.set_group_info(conversation, group_info, sender)?;
        }

        let log = self.logs.change(self.connection, append.conversation)?;
        let log = log.ok_or(StoreError::Inconsistent("conversation"))?;
        log.head = seq;
        let present = log.members.iter().filter(|member| member.left_at.is_none()).map(|member| member.device);
        // A device that starts anew after this entry has no use for it.
        let recipients = present.filter(|one| *one != append.device && !welcomed.contains(one)).collect();
        if let Some(sender) = log.change_member(append.device) {
            sender.sent = append.number;
        }
        if is_commit {
            log.commits += 1;
            log.last_commit_ms = Some(time_ms);
        }
        let commits = log.commits;
        let body = if is_commit { EntryBody::Commit(payload.clone()) } else { EntryBody::Application(payload.clone()) };
        let entry = Entry { seq, time_ms, body };
        self.announcements.push(Announcement::Entry { recipients, conversation: append.conversation, entry });
        if let Some(handshake) = handshake {
            self.remove_members(append.conversation, removed, seq)?;
            self.let_go(append.conversation, conversation, &roster.left, seq)?;
            self.enter(conversation, &roster.entered)?;
            let at = (conversation, seq, commits);
            self.add_members(append.conversation, at, &added, (handshake, sender), time_ms)?;
        }
        Ok(AppendOutcome::Accepted { seq, time_ms })
    }

    /// Stores an entry of (sender's row, its number).
    pub(super) fn insert_entry(
        &self,
        conversation: i64,
        seq: u64,
        time_ms: u64,
        is_commit: bool,
        (sender, number): (i64, u64),
        payload: &Bytes,
    ) -> Result<(), StoreError> {
        if seq >= u64::from(u32::MAX) {
            return Err(StoreError::Inconsistent("a log of 2^32 entries"));
        }
        self.statement(
            "INSERT INTO entry (place, time_ms, is_commit, sender, number, payload) VALUES (?1,?2,?3,?4,?5,?6)",
        )?
        .execute(params![place(conversation, seq), time_ms, is_commit, sender, number, payload.0])?;
        Ok(())
    }

    /// See [`crate::store::Store::acknowledge`].
    pub(super) fn acknowledge(
        &mut self,
        device: DeviceId,
        conversation: ConversationId,
        seq: u64,
    ) -> Result<(), StoreError> {
        let Some(log) = self.logs.find(self.connection, conversation)? else { return Ok(()) };
        let head = log.head;
        let Some(index) = log.members.iter().position(|member| member.device == device) else { return Ok(()) };
        let rises = |member: &super::batch::Member| seq.min(member.left_at.unwrap_or(head)) > member.cursor;
        if !log.members.get(index).is_some_and(rises) {
            return Ok(());
        }
        let Some(log) = self.logs.change(self.connection, conversation)? else { return Ok(()) };
        let Some(member) = log.members.get_mut(index) else { return Ok(()) };
        member.cursor = seq.min(member.left_at.unwrap_or(head));
        member.changed = true;
        if member.left_at == Some(member.cursor) {
            let gone = log.members.swap_remove(index);
            let row = log.row;
            self.delete_member(row, &gone)?;
        }
        Ok(())
    }

    /// Deletes the entries before the named places; returns how many went.
    pub(super) fn delete_entries(&mut self, places: &[Expired]) -> Result<u64, StoreError> {
        let mut gone = 0;
        for one in places {
            self.keep_answers_up_to(one.conversation, one.last)?;
            gone += delete(self.connection, one.conversation, 0, one.last)?;
        }
        // The floors of these logs have risen.
        self.logs.forget(self.connection)?;
        Ok(u64::try_from(gone).unwrap_or(u64::MAX))
    }

    /// Deletes now what all devices have.
    pub(super) fn tidy(&mut self) -> Result<(), StoreError> {
        self.logs.write(self.connection)?;
        Ok(self.logs.tidy(self.connection)?)
    }

    /// The same, of logs that were not remembered: the process before died, or a transaction failed, before they were tidied.
    pub(super) fn tidy_forgotten(&mut self, conversations: &[i64]) -> Result<(), StoreError> {
        let mut delete = self.statement(
            "DELETE FROM entry WHERE place > (?1 << 32) AND place <= (?1 << 32 | coalesce(
                 (SELECT min(cursor) FROM member WHERE conversation = ?1), (SELECT head FROM conversation WHERE id = ?1)))",
        )?;
        conversations.iter().try_for_each(|conversation| delete.execute([conversation]).map(drop))?;
        Ok(())
    }
}

/// The logs with entries that all devices have.
pub(super) fn untidy(connection: &Connection) -> Result<Vec<i64>, rusqlite::Error> {
    let mut select = connection.prepare(
        "SELECT c.id FROM conversation c WHERE EXISTS (
             SELECT 1 FROM entry WHERE place > (c.id << 32) AND place <= (c.id << 32 | coalesce(
                 (SELECT min(m.cursor) FROM member m WHERE m.conversation = c.id), c.head)))",
    )?;
    let rows = select.query_map([], |row| row.get(0))?;
    rows.collect()
}

/// The refusal of a commit that comes too soon after the last one.
pub(super) fn busy(last_commit_ms: Option<u64>, now_ms: u64) -> Option<AppendOutcome> {
    let wait @ 1.. = COMMIT_PAUSE_MS.checked_sub(since(last_commit_ms?, now_ms))? else { return None };
    Some(AppendOutcome::Busy { retry_after_ms: u32::try_from(wait).unwrap_or(u32::MAX) })
}

/// How long ago `last` was. A clock that was set back must not stop a conversation.
fn since(last: u64, now: u64) -> u64 {
    if now + COMMIT_PAUSE_MS < last { COMMIT_PAUSE_MS } else { now.saturating_sub(last).min(COMMIT_PAUSE_MS) }
}

/// Entries of one conversation that are too old.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expired {
    pub(super) conversation: i64,
    pub(super) last: u64,
}

/// What was stored before this moment, a prefix of each log: it stays without gaps even if the clock was set back.
pub(super) fn expired(connection: &Connection, before_ms: u64) -> Result<Vec<Expired>, StoreError> {
    let mut conversations = connection.prepare_cached("SELECT id, head FROM conversation WHERE head > 0")?;
    let mut newer = connection.prepare_cached(
        "SELECT seq FROM entry WHERE place BETWEEN ?1 AND ?2 AND time_ms >= ?3 ORDER BY place LIMIT 1",
    )?;
    let before = i64::try_from(before_ms).unwrap_or(i64::MAX);
    let mut all = Vec::new();
    for row in conversations.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))? {
        let (conversation, head): (i64, u64) = row?;
        let Some(tail) = oldest(connection, conversation, 1, head)? else { continue };
        let range = params![place(conversation, tail), place(conversation, head), before];
        let kept: Option<u64> = newer.query_row(range, |row| row.get(0)).optional()?;
        let last = kept.map_or(head, |seq| seq.saturating_sub(1));
        if last >= tail {
            all.push(Expired { conversation, last });
        }
    }
    Ok(all)
}

/// See [`crate::store::Store::others`].
pub(super) fn others(
    connection: &Connection,
    device: DeviceId,
    conversation: ConversationId,
) -> Result<Option<Vec<DeviceId>>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT d.public_id FROM conversation c JOIN member m ON m.conversation = c.id JOIN device d ON d.id = m.device
         WHERE c.public_id = ?1 AND m.left_at IS NULL",
    )?;
    let members: Vec<DeviceId> =
        query.query_map([conversation.0], |row| Ok(DeviceId(row.get(0)?)))?.collect::<Result<_, _>>()?;
    let is_member = members.contains(&device);
    Ok(is_member.then(|| members.into_iter().filter(|member| *member != device).collect()))
}

/// See [`crate::store::Store::fetch`].
pub(super) fn fetch(
    connection: &Connection,
    device: DeviceId,
    conversation: ConversationId,
    after: u64,
) -> Result<Option<Page>, StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    let member = snapshot
        .prepare_cached(
            "SELECT c.id, m.device, max(m.start, (SELECT min(o.cursor) FROM member o WHERE o.conversation = c.id)),
             coalesce(m.left_at, c.head), c.commits, m.sent
             FROM conversation c
             JOIN device d ON d.public_id = ?2 JOIN member m ON m.conversation = c.id AND m.device = d.id
             WHERE c.public_id = ?1",
        )?
        .query_row(params![conversation.0, device.0], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
        });
    let Some((row, own, start, head, commits, sent)): Option<(i64, i64, u64, u64, u64, u64)> = member.optional()?
    else {
        return Ok(None);
    };
    let tail = oldest(&snapshot, row, start + 1, head)?.unwrap_or(head + 1);
    let mut page = Page { entries: Vec::new(), head, tail, commits, sent };
    let mut select = snapshot.prepare_cached(
        "SELECT seq, time_ms, is_commit, number, CASE WHEN sender = ?3 THEN NULL ELSE payload END
         FROM entry WHERE place > ?1 AND place <= ?2 ORDER BY place LIMIT ?4",
    )?;
    let range = params![place(row, after.max(start)), place(row, head), own, PAGE_ENTRIES];
    let mut bytes = 0;
    for entry in select.query_map(range, |row| {
        let body = match (row.get::<_, Option<Vec<u8>>>(4)?, row.get(2)?) {
            (None, _) => EntryBody::Own { number: row.get(3)? },
            (Some(payload), true) => EntryBody::Commit(payload.into()),
            (Some(payload), false) => EntryBody::Application(payload.into()),
        };
        Ok(Entry { seq: row.get(0)?, time_ms: row.get(1)?, body })
    })? {
        let entry = entry?;
        if let EntryBody::Application(payload) | EntryBody::Commit(payload) = &entry.body {
            bytes += payload.0.len();
        }
        if bytes > PAGE_BYTES && !page.entries.is_empty() {
            break;
        }
        page.entries.push(entry);
    }
    Ok(Some(page))
}

/// See [`crate::store::Store::audience`].
pub(super) fn audience(
    connection: &Connection,
    device: DeviceId,
    conversation: ConversationId,
) -> Result<Option<Audience>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT own.sent, d.public_id, d.account = me.account FROM conversation c
         JOIN device me ON me.public_id = ?2 JOIN member own ON own.conversation = c.id AND own.device = me.id
         LEFT JOIN member m ON m.conversation = c.id AND m.device != me.id AND m.left_at IS NULL
         LEFT JOIN device d ON d.id = m.device
         WHERE c.public_id = ?1 AND own.left_at IS NULL",
    )?;
    let mut rows = select.query(params![conversation.0, device.0])?;
    let (mut sent, mut mine, mut others) = (None, Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        sent = Some(row.get(0)?);
        if let Some(device) = row.get::<_, Option<[u8; 16]>>(1)?.map(DeviceId) {
            if row.get(2)? { mine.push(device) } else { others.push(device) }
        }
    }
    Ok(sent.map(|sent| Audience { sent, devices: if others.is_empty() { mine } else { others } }))
}

/// See [`crate::store::Store::heads`].
pub(super) fn heads(
    connection: &Connection,
    device: DeviceId,
    after: Option<ConversationId>,
) -> Result<Vec<ConversationHead>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT c.public_id, coalesce(m.left_at, c.head), m.sent FROM device d
         JOIN member m ON m.device = d.id JOIN conversation c ON c.id = m.conversation
         WHERE d.public_id = ?1 AND coalesce(m.left_at, c.head) > m.cursor AND (?2 IS NULL OR c.public_id > ?2)
         ORDER BY c.public_id LIMIT ?3",
    )?;
    let heads = select.query_map(params![device.0, after.map(|id| id.0), PAGE_ENTRIES], |row| {
        Ok(ConversationHead { conversation: ConversationId(row.get(0)?), head: row.get(1)?, sent: row.get(2)? })
    })?;
    Ok(heads.collect::<Result<_, _>>()?)
}
