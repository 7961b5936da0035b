//! Groups and rooms that wait for a conversation in the place of one that the server has lost.

use super::chats::ChatId;
use crate::Error;
use rusqlite::{Connection, OptionalExtension};

/// What is to come, and what was.
pub(crate) struct Succession {
    /// The conversation that takes the place.
    pub(crate) conversation: [u8; 16],
    /// The rules of the group that was, encoded.
    pub(crate) rules: Vec<u8>,
}

pub(crate) fn find(db: &Connection, chat: ChatId) -> Result<Option<Succession>, Error> {
    let mut query = db.prepare_cached("SELECT conversation, rules FROM successions WHERE chat = ?1")?;
    let row = query.query_row([chat], |row| {
        Ok(Succession { conversation: super::array(row, "conversation")?, rules: row.get("rules")? })
    });
    Ok(row.optional()?)
}

pub(crate) fn set(db: &Connection, chat: ChatId, conversation: &[u8; 16], rules: &[u8]) -> Result<(), Error> {
    db.execute("INSERT OR REPLACE INTO successions VALUES (?1, ?2, ?3)", (chat, conversation, rules))?;
    Ok(())
}

pub(crate) fn delete(db: &Connection, chat: ChatId) -> Result<(), Error> {
    db.prepare_cached("DELETE FROM successions WHERE chat = ?1")?.execute([chat])?;
    Ok(())
}
