//! Which entries of each log this device has read, itself, from a backup, or as somebody told them.
//!
//! The invariant: a stretch is added in the transaction that stores its messages, so what it covers and is not among the
//! messages was not one that is shown. What is not covered is a gap, or still to come.

use super::chats::ChatId;
use crate::{
    Error,
    backup::{Range, Ranges},
};
use rusqlite::Connection;

/// Adds a stretch; what touches becomes one row. Reading on at the end is one statement.
pub(crate) fn add(db: &Connection, chat: ChatId, era: u64, range: Range) -> Result<(), Error> {
    if range.first > range.last {
        return Ok(());
    }
    let mut longer = db.prepare_cached(
        "UPDATE coverage SET last = ?4 WHERE chat = ?1 AND era = ?2 AND last = ?3 - 1
             AND NOT EXISTS (SELECT 1 FROM coverage o WHERE o.chat = ?1 AND o.era = ?2 AND o.first >= ?3)",
    )?;
    if longer.execute((chat, era, range.first, range.last))? > 0 {
        return Ok(());
    }
    let mut all = of(db, chat, era)?;
    all.add(range);
    db.prepare_cached("DELETE FROM coverage WHERE chat = ?1 AND era = ?2")?.execute((chat, era))?;
    let mut insert = db.prepare_cached("INSERT INTO coverage (chat, era, first, last) VALUES (?1, ?2, ?3, ?4)")?;
    for range in all.iter() {
        insert.execute((chat, era, range.first, range.last))?;
    }
    Ok(())
}

/// What is covered of a chat's conversation.
pub(crate) fn of(db: &Connection, chat: ChatId, era: u64) -> Result<Ranges, Error> {
    let mut query =
        db.prepare_cached("SELECT first, last FROM coverage WHERE chat = ?1 AND era = ?2 ORDER BY first")?;
    let rows = query.query_map((chat, era), |row| Ok(Range { first: row.get(0)?, last: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
