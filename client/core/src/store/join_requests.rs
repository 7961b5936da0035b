//! Devices that cannot read a chat, and asked its members to add them again. A row goes when the device was added.

use super::chats::ChatId;
use crate::Error;
use rusqlite::Connection;

pub(crate) fn insert(db: &Connection, chat: ChatId, username: &str, device: &[u8; 16]) -> Result<(), Error> {
    db.execute("INSERT OR IGNORE INTO asked_to_join VALUES (?1, ?2, ?3)", (chat, username, device))?;
    Ok(())
}

pub(crate) fn delete(db: &Connection, chat: ChatId, device: &[u8; 16]) -> Result<(), Error> {
    db.execute("DELETE FROM asked_to_join WHERE chat = ?1 AND device = ?2", (chat, device))?;
    Ok(())
}

/// The devices of one account that asked.
pub(crate) fn of(db: &Connection, chat: ChatId, username: &str) -> Result<Vec<[u8; 16]>, Error> {
    let mut query = db.prepare_cached("SELECT device FROM asked_to_join WHERE chat = ?1 AND username = ?2")?;
    let rows = query.query_map((chat, username), |row| super::array(row, "device"))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn clear(db: &Connection, chat: ChatId) -> Result<(), Error> {
    db.execute("DELETE FROM asked_to_join WHERE chat = ?1", [chat])?;
    Ok(())
}
