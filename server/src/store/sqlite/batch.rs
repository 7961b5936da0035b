//! One transaction of the writer, and what the writer remembers of the logs between transactions.
//!
//! Invariants: only the writing thread changes the database, so what it remembers is what is stored, and it forgets
//! all of it when a transaction fails. Counters of a log are written once per transaction, by [`Batch::finish`]. Entries that
//! all devices have are no more to be seen from then on, and deleted together with those of other logs, a moment later:
//! entries of many logs share a page, which is then changed once rather than for each of them.

use super::answers::Answers;
use crate::store::StoreError;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use std::collections::{HashMap, hash_map};
use waxwing_protocol::{ConversationId, DeviceId, Entry, InboxItem};

/// How many conversations the writer remembers at most.
const REMEMBERED: usize = 16_384;
/// So many entries that all have are deleted at once; fewer, when a second has gone by.
const DELETED_AT_ONCE: u64 = 2048;

/// What is to be published after the commit.
pub(super) enum Announcement {
    Entry { recipients: Vec<DeviceId>, conversation: ConversationId, entry: Entry },
    Inbox { device: DeviceId, item: InboxItem },
}

/// An open transaction of the writer.
pub(super) struct Batch<'w> {
    pub(super) connection: &'w Connection,
    pub(super) logs: &'w mut Logs,
    pub(super) announcements: Vec<Announcement>,
}

impl<'w> Batch<'w> {
    pub(super) fn new(connection: &'w Connection, logs: &'w mut Logs) -> Self {
        Self { connection, logs, announcements: Vec::new() }
    }

    /// A statement that is compiled once.
    pub(super) fn statement(&self, sql: &str) -> Result<CachedStatement<'w>, StoreError> {
        Ok(self.connection.prepare_cached(sql)?)
    }

    /// Writes what was only counted so far. What remains is to commit and then to publish.
    pub(super) fn finish(self) -> Result<Vec<Announcement>, StoreError> {
        self.logs.write(self.connection)?;
        Ok(self.announcements)
    }
}

/// What the writer remembers.
#[derive(Default)]
pub(super) struct Logs {
    known: HashMap<ConversationId, Log>,
    /// Those to be written; a log is named here when its `changed` rises.
    changed: Vec<ConversationId>,
    /// Those with entries to be deleted, and how many these are. A log is named here when it is `untidy` first.
    untidy: Vec<ConversationId>,
    read: u64,
}

/// Where a conversation stands.
pub(super) struct Log {
    pub(super) row: i64,
    pub(super) head: u64,
    pub(super) commits: u64,
    pub(super) last_commit_ms: Option<u64>,
    /// Entries up to here are deleted.
    floor: u64,
    /// All devices have the entries up to here.
    had_by_all: u64,
    pub(super) members: Vec<Member>,
    changed: bool,
    untidy: bool,
}

/// A device of a conversation, or one that has left it and not read that yet.
pub(super) struct Member {
    pub(super) row: i64,
    pub(super) device: DeviceId,
    pub(super) cursor: u64,
    pub(super) sent: u64,
    pub(super) left_at: Option<u64>,
    pub(super) changed: bool,
    pub(super) answers: Answers,
}

impl Member {
    /// One that is in the conversation, and stored as this says.
    pub(super) fn new((row, device): (i64, DeviceId), cursor: u64, sent: u64) -> Self {
        Self { row, device, cursor, sent, left_at: None, changed: false, answers: Answers::default() }
    }
}

impl Logs {
    /// The log, read from the database if need be.
    pub(super) fn find(
        &mut self,
        connection: &Connection,
        id: ConversationId,
    ) -> Result<Option<&mut Log>, rusqlite::Error> {
        match self.known.entry(id) {
            hash_map::Entry::Occupied(known) => Ok(Some(known.into_mut())),
            hash_map::Entry::Vacant(unknown) => Ok(Log::read(connection, id)?.map(|log| unknown.insert(log))),
        }
    }

    /// As `find`, for a change of the log: it will be written at the end of the transaction.
    pub(super) fn change(
        &mut self,
        connection: &Connection,
        id: ConversationId,
    ) -> Result<Option<&mut Log>, rusqlite::Error> {
        let unchanged = self.find(connection, id)?.is_some_and(|log| !std::mem::replace(&mut log.changed, true));
        if unchanged {
            self.changed.push(id);
        }
        self.find(connection, id)
    }

    /// The log, if it need not be read.
    pub(super) fn remembered(&mut self, id: ConversationId) -> Option<&mut Log> {
        self.known.get_mut(&id)
    }

    /// Writes the changed logs; deletes the entries that all their devices have once these are many.
    pub(super) fn write(&mut self, connection: &Connection) -> Result<(), rusqlite::Error> {
        for id in std::mem::take(&mut self.changed) {
            if let Some(log) = self.known.get_mut(&id) {
                let read = log.write(connection)?;
                self.read += read;
                if read > 0 && !std::mem::replace(&mut log.untidy, true) {
                    self.untidy.push(id);
                }
            }
        }
        if self.read >= DELETED_AT_ONCE { self.tidy(connection) } else { Ok(()) }
    }

    /// Whether entries wait to be deleted.
    pub(super) fn is_untidy(&self) -> bool {
        !self.untidy.is_empty()
    }

    /// Deletes the entries that all devices have, of the logs that are written.
    pub(super) fn tidy(&mut self, connection: &Connection) -> Result<(), rusqlite::Error> {
        self.read = 0;
        for id in std::mem::take(&mut self.untidy) {
            if let Some(log) = self.known.get_mut(&id) {
                delete(connection, log.row, log.floor, log.had_by_all)?;
                (log.floor, log.untidy) = (log.had_by_all, false);
            }
        }
        Ok(())
    }

    /// Forgets all, after writing it.
    pub(super) fn forget(&mut self, connection: &Connection) -> Result<(), rusqlite::Error> {
        self.write(connection)?;
        self.tidy(connection)?;
        self.known.clear();
        Ok(())
    }

    /// Forgets a log that is deleted, with what was to be written of it.
    pub(super) fn drop(&mut self, id: ConversationId) {
        self.known.remove(&id);
    }

    /// Keeps the memory within its limit, but for what is still to be deleted, which is soon. Only between transactions.
    pub(super) fn shrink(&mut self) {
        if self.known.len() > REMEMBERED && !self.is_untidy() {
            self.known.clear();
        }
    }
}

impl Log {
    fn read(connection: &Connection, id: ConversationId) -> Result<Option<Self>, rusqlite::Error> {
        let mut find = connection
            .prepare_cached("SELECT id, head, commits, last_commit_ms FROM conversation WHERE public_id = ?1")?;
        let log = find.query_row([id.0], |row| {
            Ok(Self {
                row: row.get(0)?,
                head: row.get(1)?,
                commits: row.get(2)?,
                last_commit_ms: row.get(3)?,
                floor: 0,
                had_by_all: 0,
                members: Vec::new(),
                changed: false,
                untidy: false,
            })
        });
        let Some(mut log) = log.optional()? else { return Ok(None) };
        let mut members = connection.prepare_cached(
            "SELECT m.device, d.public_id, m.cursor, m.sent, m.left_at
             FROM member m JOIN device d ON d.id = m.device WHERE m.conversation = ?1",
        )?;
        let members = members.query_map([log.row], |row| {
            let member = Member::new((row.get(0)?, DeviceId(row.get(1)?)), row.get(2)?, row.get(3)?);
            Ok(Member { left_at: row.get(4)?, ..member })
        })?;
        log.members = members.collect::<Result<_, _>>()?;
        log.floor = oldest(connection, log.row, 1, log.head)?.map_or(log.head, |seq| seq.saturating_sub(1));
        log.had_by_all = log.floor;
        Ok(Some(log))
    }

    /// Writes the counters; returns how many more entries all devices have.
    fn write(&mut self, connection: &Connection) -> Result<u64, rusqlite::Error> {
        self.changed = false;
        connection
            .prepare_cached("UPDATE conversation SET head = ?2, commits = ?3, last_commit_ms = ?4 WHERE id = ?1")?
            .execute(params![self.row, self.head, self.commits, self.last_commit_ms])?;
        let mut update = connection
            .prepare_cached("UPDATE member SET cursor = ?3, sent = ?4 WHERE conversation = ?1 AND device = ?2")?;
        for member in self.members.iter_mut().filter(|member| member.changed) {
            update.execute(params![self.row, member.row, member.cursor, member.sent])?;
            member.changed = false;
        }
        let cursors = self.members.iter().map(|member| member.cursor);
        let had_by_all = cursors.min().unwrap_or(self.head).max(self.had_by_all);
        Ok(had_by_all - std::mem::replace(&mut self.had_by_all, had_by_all))
    }

    /// The device, if it is in the conversation.
    pub(super) fn member(&self, device: DeviceId) -> Option<&Member> {
        self.members.iter().find(|member| member.device == device && member.left_at.is_none())
    }

    /// As `member`, for a change of its counters: it will be written with the log.
    pub(super) fn change_member(&mut self, device: DeviceId) -> Option<&mut Member> {
        let member = self.members.iter_mut().find(|member| member.device == device && member.left_at.is_none())?;
        member.changed = true;
        Some(member)
    }
}

/// The key of an entry.
pub(super) fn place(conversation: i64, seq: u64) -> i64 {
    (conversation << 32) | i64::from(u32::try_from(seq).unwrap_or(u32::MAX))
}

/// The oldest entry from `first` to `last`.
pub(super) fn oldest(
    connection: &Connection,
    conversation: i64,
    first: u64,
    last: u64,
) -> Result<Option<u64>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT seq FROM entry WHERE place BETWEEN ?1 AND ?2 ORDER BY place LIMIT 1")?
        .query_row([place(conversation, first), place(conversation, last)], |row| row.get(0))
        .optional()
}

/// Deletes the entries after `after` up to `last`; returns how many.
pub(super) fn delete(
    connection: &Connection,
    conversation: i64,
    after: u64,
    last: u64,
) -> Result<usize, rusqlite::Error> {
    connection
        .prepare_cached("DELETE FROM entry WHERE place > ?1 AND place <= ?2")?
        .execute([place(conversation, after), place(conversation, last)])
}
