//! What this device keeps about groups and rooms beside their keys: what they are called, who wants to leave, and identities
//! that members have brought along.

use super::chats::ChatId;
use crate::Error;
use rusqlite::{Connection, OptionalExtension};

/// What a group is called and what it is about.
pub(crate) fn set_about(db: &Connection, chat: ChatId, title: &str, topic: &str) -> Result<(), Error> {
    db.execute("UPDATE chats SET title = ?2, topic = ?3 WHERE chat = ?1", (chat, title, topic))?;
    Ok(())
}

/// The names of the private groups that are called this.
pub(crate) fn titled(db: &Connection, title: &str) -> Result<Vec<String>, Error> {
    let mut query = db.prepare_cached(
        "SELECT name FROM chats WHERE title = ?1 AND name GLOB '+*' AND phase <> 5
         UNION ALL
         SELECT name FROM chats WHERE title = ?1 AND name GLOB '+*' AND phase = 5
             AND NOT EXISTS (SELECT 1 FROM chats WHERE title = ?1 AND name GLOB '+*' AND phase <> 5)",
    )?;
    let rows = query.query_map([title], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// This account is not in the group any more.
pub(crate) fn set_over(db: &Connection, chat: ChatId) -> Result<(), Error> {
    db.execute("UPDATE chats SET phase = 5, creation = NULL, join_key = NULL WHERE chat = ?1", [chat])?;
    db.execute("DELETE FROM wishes_to_leave WHERE chat = ?1", [chat])?;
    Ok(())
}

/// An account wants to leave.
pub(crate) fn add_wish(db: &Connection, chat: ChatId, username: &str, wish: &[u8]) -> Result<(), Error> {
    db.execute("INSERT OR REPLACE INTO wishes_to_leave VALUES (?1, ?2, ?3)", (chat, username, wish))?;
    Ok(())
}

/// The wishes of a chat's members to leave.
pub(crate) fn wishes(db: &Connection, chat: ChatId) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut query = db.prepare_cached("SELECT username, wish FROM wishes_to_leave WHERE chat = ?1")?;
    let rows = query.query_map([chat], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The account has left, or its wish says nothing.
pub(crate) fn delete_wish(db: &Connection, chat: ChatId, username: &str) -> Result<(), Error> {
    db.execute("DELETE FROM wishes_to_leave WHERE chat = ?1 AND username = ?2", (chat, username))?;
    Ok(())
}

/// Keeps an identity key that a commit has brought along.
pub(crate) fn add_identity(db: &Connection, username: &str, fingerprint: &[u8; 32], key: &[u8]) -> Result<(), Error> {
    db.prepare_cached("INSERT OR IGNORE INTO shown_identities VALUES (?1, ?2, ?3)")?.execute((
        username,
        fingerprint,
        key,
    ))?;
    Ok(())
}

/// An identity key that a commit has brought along.
pub(crate) fn identity(db: &Connection, username: &str, fingerprint: &[u8; 32]) -> Result<Option<Vec<u8>>, Error> {
    let mut query =
        db.prepare_cached("SELECT identity_key FROM shown_identities WHERE username = ?1 AND fingerprint = ?2")?;
    Ok(query.query_row((username, fingerprint), |row| row.get(0)).optional()?)
}

/// Whether this account still has to come into the server's default room.
pub(crate) fn default_room_due(db: &Connection) -> Result<bool, Error> {
    Ok(db.query_row("SELECT default_room_due FROM own", [], |row| row.get(0))?)
}

pub(crate) fn set_default_room_due(db: &Connection, due: bool) -> Result<(), Error> {
    db.execute("UPDATE own SET default_room_due = ?1", [due])?;
    Ok(())
}

/// Those who asked to be let in and are not among these accounts.
pub(crate) fn askers(db: &Connection, chat: ChatId) -> Result<Vec<String>, Error> {
    let mut query =
        db.prepare_cached("SELECT DISTINCT username FROM asked_to_join WHERE chat = ?1 ORDER BY username")?;
    let rows = query.query_map([chat], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Nobody of that name asks any more.
pub(crate) fn delete_asker(db: &Connection, chat: ChatId, username: &str) -> Result<(), Error> {
    db.execute("DELETE FROM asked_to_join WHERE chat = ?1 AND username = ?2", (chat, username))?;
    Ok(())
}
