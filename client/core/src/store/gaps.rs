//! What this device has asked members for, because it could not read it, and what others have asked it for.
//!
//! The invariant: what was told or asked is remembered in the transaction that puts the message into the outbox. It must not
//! know what entries say.

use super::chats::ChatId;
use crate::{
    Error,
    backup::{Range, Ranges},
};
use rusqlite::{Connection, OptionalExtension};

/// Remembers that a stretch was asked for.
pub(crate) fn note_asked(db: &Connection, chat: ChatId, era: u64, range: Range, now_ms: u64) -> Result<(), Error> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO history_asks (chat, era, first, last, asked_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((chat, era, range.first, range.last, now_ms))?;
    Ok(())
}

/// What was asked for since a time.
pub(crate) fn asked(db: &Connection, chat: ChatId, era: u64, since_ms: u64) -> Result<Ranges, Error> {
    let mut query =
        db.prepare_cached("SELECT first, last FROM history_asks WHERE chat = ?1 AND era = ?2 AND asked_at >= ?3")?;
    let rows = query.query_map((chat, era, since_ms), |row| Ok(Range { first: row.get(0)?, last: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A stretch that another device has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) chat: ChatId,
    pub(crate) era: u64,
    pub(crate) device: [u8; 16],
    pub(crate) range: Range,
}

/// Another device has asked; it is told from `due_at` on. What was told to it since `since_ms` is not told again, nor more
/// than `limit` entries.
pub(crate) fn owe(db: &Connection, owed: &Owed, due_at: u64, since_ms: u64, limit: u64) -> Result<(), Error> {
    db.prepare_cached("DELETE FROM history_owed WHERE told_at < ?1")?.execute([since_ms])?;
    let mut query = db.prepare_cached(
        "SELECT coalesce(sum(last - first + 1), 0) FROM history_owed WHERE chat = ?1 AND device = ?2",
    )?;
    let so_far: u64 = query.query_row((owed.chat, owed.device), |row| row.get(0))?;
    if so_far.saturating_add(owed.range.last - owed.range.first + 1) > limit {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT OR IGNORE INTO history_owed (chat, era, device, first, last, due_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((owed.chat, owed.era, owed.device, owed.range.first, owed.range.last, due_at))?;
    Ok(())
}

/// When the next of them is due.
pub(crate) fn next_due(db: &Connection) -> Result<Option<u64>, Error> {
    Ok(db
        .prepare_cached("SELECT min(due_at) FROM history_owed WHERE told_at IS NULL")?
        .query_row([], |row| row.get(0))?)
}

/// One that is due.
pub(crate) fn due(db: &Connection, now_ms: u64) -> Result<Option<Owed>, Error> {
    let mut query = db.prepare_cached(
        "SELECT chat, era, device, first, last FROM history_owed WHERE told_at IS NULL AND due_at <= ?1 LIMIT 1",
    )?;
    let owed = query.query_row([now_ms], |row| {
        Ok(Owed {
            chat: row.get("chat")?,
            era: row.get("era")?,
            device: super::array(row, "device")?,
            range: Range { first: row.get("first")?, last: row.get("last")? },
        })
    });
    Ok(owed.optional()?)
}

/// It was told, or there is nothing to tell.
pub(crate) fn set_told(db: &Connection, owed: &Owed, now_ms: u64) -> Result<(), Error> {
    db.prepare_cached(
        "UPDATE history_owed SET told_at = ?5 WHERE chat = ?1 AND era = ?2 AND device = ?3 AND first = ?4",
    )?
    .execute((owed.chat, owed.era, owed.device, owed.range.first, now_ms))?;
    Ok(())
}

/// Another member has told a stretch: what is left of what is owed is what it has not told.
pub(crate) fn told_by_another(
    db: &Connection,
    chat: ChatId,
    era: u64,
    teller: &[u8; 16],
    told: Range,
    now_ms: u64,
) -> Result<(), Error> {
    let mut query = db.prepare_cached(
        "SELECT device, first, last FROM history_owed
         WHERE chat = ?1 AND era = ?2 AND device <> ?3 AND told_at IS NULL AND first <= ?5 AND last >= ?4",
    )?;
    let rows = query.query_map((chat, era, teller, told.first, told.last), |row| {
        let range = Range { first: row.get("first")?, last: row.get("last")? };
        Ok(Owed { chat, era, device: super::array(row, "device")?, range })
    })?;
    for owed in rows.collect::<Result<Vec<_>, _>>()? {
        let key = (chat, era, owed.device, owed.range.first);
        if told.first > owed.range.first {
            // The beginning is still owed.
            db.prepare_cached(
                "UPDATE history_owed SET last = ?5 WHERE chat = ?1 AND era = ?2 AND device = ?3 AND first = ?4",
            )?
            .execute((key.0, key.1, key.2, key.3, told.first - 1))?;
        } else if told.last >= owed.range.last {
            set_told(db, &owed, now_ms)?;
        } else {
            db.prepare_cached(
                "UPDATE OR REPLACE history_owed SET first = ?5 WHERE chat = ?1 AND era = ?2 AND device = ?3 AND first = ?4",
            )?
            .execute((key.0, key.1, key.2, key.3, told.last + 1))?;
        }
    }
    Ok(())
}
