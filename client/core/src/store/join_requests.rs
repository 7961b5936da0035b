//! Devices that cannot read a chat, and asked its members to add them again. A row goes when the device was added.

use super::chats::ChatId;
use crate::Error;
use rusqlite::Connection;
use std::collections::BTreeMap;

pub(crate) fn insert(db: &Connection, chat: ChatId, username: &str, device: &[u8; 16]) -> Result<(), Error> {
    db.execute("INSERT OR IGNORE INTO asked_to_join VALUES (?1, ?2, ?3)", (chat, username, device))?;
    Ok(())
}

pub(crate) fn delete(db: &Connection, chat: ChatId, device: &[u8; 16]) -> Result<(), Error> {
    db.execute("DELETE FROM asked_to_join WHERE chat = ?1 AND device = ?2", (chat, device))?;
    Ok(())
}

/// The devices that asked, by account.
pub(crate) fn all(db: &Connection, chat: ChatId) -> Result<BTreeMap<String, Vec<[u8; 16]>>, Error> {
    let mut query = db.prepare_cached("SELECT username, device FROM asked_to_join WHERE chat = ?1")?;
    let mut all: BTreeMap<String, Vec<[u8; 16]>> = BTreeMap::new();
    for row in query.query_map([chat], |row| Ok((row.get("username")?, super::array(row, "device")?)))? {
        let (username, device): (String, [u8; 16]) = row?;
        all.entry(username).or_default().push(device);
    }
    Ok(all)
}

pub(crate) fn clear(db: &Connection, chat: ChatId) -> Result<(), Error> {
    db.execute("DELETE FROM asked_to_join WHERE chat = ?1", [chat])?;
    Ok(())
}
