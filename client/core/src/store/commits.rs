//! A commit of ours that waits for the server's verdict: at most one per chat.
//!
//! It takes a number of the chat's sends, before it leaves; tries repeat the same bytes.

use super::chats::ChatId;
use crate::Error;
use rusqlite::{Connection, OptionalExtension};

/// A commit that may be at the server already.
#[derive(Clone, Debug)]
pub(crate) struct CommitRow {
    pub(crate) number: u64,
    /// As it leaves.
    pub(crate) request: Vec<u8>,
}

pub(crate) fn insert(db: &Connection, chat: ChatId, number: u64, request: &[u8]) -> Result<(), Error> {
    db.execute("INSERT INTO commits (chat, number, request) VALUES (?1, ?2, ?3)", (chat, number, request))?;
    Ok(())
}

pub(crate) fn find(db: &Connection, chat: ChatId) -> Result<Option<CommitRow>, Error> {
    let mut query = db.prepare_cached("SELECT number, request FROM commits WHERE chat = ?1")?;
    let row = query.query_row([chat], |row| Ok(CommitRow { number: row.get(0)?, request: row.get(1)? }));
    Ok(row.optional()?)
}

/// Whether the number is the waiting commit's.
pub(crate) fn is(db: &Connection, chat: ChatId, number: u64) -> Result<bool, Error> {
    let mut query = db.prepare_cached("SELECT EXISTS (SELECT 1 FROM commits WHERE chat = ?1 AND number = ?2)")?;
    Ok(query.query_row((chat, number), |row| row.get(0))?)
}

/// Chats with a commit that waits.
pub(crate) fn chats(db: &Connection) -> Result<Vec<ChatId>, Error> {
    let mut query = db.prepare_cached("SELECT chat FROM commits")?;
    let rows = query.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// None of this device's commits counts any more.
pub(crate) fn clear(db: &Connection) -> Result<(), Error> {
    db.execute_batch("DELETE FROM commits; DELETE FROM asked_to_join;")?;
    Ok(())
}

pub(crate) fn delete(db: &Connection, chat: ChatId) -> Result<(), Error> {
    db.execute("DELETE FROM commits WHERE chat = ?1", [chat])?;
    Ok(())
}
