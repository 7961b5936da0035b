//! What is to be sent, per chat and in order.
//!
//! A row gets its send number and its wire bytes in one step, before the bytes leave; tries repeat these bytes until the
//! server has said no. The row goes when the server has said yes.

use super::chats::ChatId;
use crate::Error;
use rusqlite::{Connection, OptionalExtension};

/// Something to send.
#[derive(Clone, Debug)]
pub(crate) struct OutboxRow {
    pub(crate) position: i64,
    /// Encoded and padded content.
    pub(crate) content: Vec<u8>,
}

/// Something that may be at the server already.
#[derive(Clone, Debug)]
pub(crate) struct SealedRow {
    pub(crate) number: u64,
    pub(crate) commits: u64,
    pub(crate) wire: Vec<u8>,
}

pub(crate) fn push(db: &Connection, chat: ChatId, content: &[u8], message: Option<i64>) -> Result<(), Error> {
    db.prepare_cached("INSERT INTO outbox (chat, content, message) VALUES (?1, ?2, ?3)")?
        .execute((chat, content, message))?;
    Ok(())
}

/// Chats with something to send, or whose creation has no answer yet.
pub(crate) fn chats(db: &Connection) -> Result<Vec<ChatId>, Error> {
    let mut query = db.prepare_cached("SELECT chat FROM outbox UNION SELECT chat FROM chats WHERE phase = 1")?;
    let rows = query.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Queues what is as good in the chat's next conversation, and shows as no message of its own.
pub(crate) fn push_lasting(db: &Connection, chat: ChatId, content: &[u8]) -> Result<(), Error> {
    db.prepare_cached("INSERT INTO outbox (chat, content, lasting) VALUES (?1, ?2, 1)")?.execute((chat, content))?;
    Ok(())
}

/// What was sent: its content, and the message that it shows as.
pub(crate) type Sent = (Vec<u8>, Option<i64>);

/// What was sent under this number and waits for the server's yes.
pub(crate) fn content(db: &Connection, chat: ChatId, number: u64) -> Result<Option<Sent>, Error> {
    let mut query = db.prepare_cached("SELECT content, message FROM outbox WHERE chat = ?1 AND number = ?2")?;
    Ok(query.query_row((chat, number), |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// The next rows that were never sealed.
pub(crate) fn unsealed(db: &Connection, chat: ChatId, limit: usize) -> Result<Vec<OutboxRow>, Error> {
    let mut query = db.prepare_cached(
        "SELECT position, content FROM outbox WHERE chat = ?1 AND number IS NULL ORDER BY position LIMIT ?2",
    )?;
    let rows = query.query_map((chat, limit), |row| Ok(OutboxRow { position: row.get(0)?, content: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The sealed rows after a send number, in order.
pub(crate) fn sealed(db: &Connection, chat: ChatId, after: u64, limit: usize) -> Result<Vec<SealedRow>, Error> {
    let mut query = db.prepare_cached(
        "SELECT number, commits, wire FROM outbox WHERE chat = ?1 AND number > ?2 ORDER BY position LIMIT ?3",
    )?;
    let rows = query.query_map((chat, after, limit), |row| {
        Ok(SealedRow { number: row.get(0)?, commits: row.get(1)?, wire: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn seal(db: &Connection, position: i64, number: u64, commits: u64, wire: &[u8]) -> Result<(), Error> {
    db.prepare_cached("UPDATE outbox SET number = ?2, commits = ?3, wire = ?4 WHERE position = ?1")?
        .execute((position, number, commits, wire))?;
    Ok(())
}

/// How many rows up to a send number wait for the server's yes.
pub(crate) fn unconfirmed(db: &Connection, chat: ChatId, upto: u64) -> Result<usize, Error> {
    let mut query = db.prepare_cached("SELECT count(*) FROM outbox WHERE chat = ?1 AND number <= ?2")?;
    Ok(query.query_row((chat, upto), |row| row.get(0))?)
}

/// Whether something was sent under this number and waits for the server's yes.
pub(crate) fn contains(db: &Connection, chat: ChatId, number: u64) -> Result<bool, Error> {
    let mut query = db.prepare_cached("SELECT EXISTS (SELECT 1 FROM outbox WHERE chat = ?1 AND number = ?2)")?;
    Ok(query.query_row((chat, number), |row| row.get(0))?)
}

/// The bytes that were sent under this number and wait for the server's yes.
pub(crate) fn wire(db: &Connection, chat: ChatId, number: u64) -> Result<Option<Vec<u8>>, Error> {
    let mut query = db.prepare_cached("SELECT wire FROM outbox WHERE chat = ?1 AND number = ?2")?;
    Ok(query.query_row((chat, number), |row| row.get(0)).optional()?.flatten())
}

/// The lowest send number that waits for the server's yes.
pub(crate) fn lowest_sealed(db: &Connection, chat: ChatId) -> Result<Option<u64>, Error> {
    let mut query = db.prepare_cached("SELECT min(number) FROM outbox WHERE chat = ?1 AND number IS NOT NULL")?;
    Ok(query.query_row([chat], |row| row.get(0))?)
}

/// Whether nothing waits in a chat.
pub(crate) fn is_empty(db: &Connection, chat: ChatId) -> Result<bool, Error> {
    let mut query = db.prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM outbox WHERE chat = ?1)")?;
    Ok(query.query_row([chat], |row| row.get(0))?)
}

/// Takes the seals of this number and all after it back, which the server has refused.
pub(crate) fn unseal(db: &Connection, chat: ChatId, number: u64) -> Result<(), Error> {
    db.execute(
        "UPDATE outbox SET number = NULL, commits = NULL, wire = NULL WHERE chat = ?1 AND number >= ?2",
        (chat, number),
    )?;
    Ok(())
}

/// What waits goes into another conversation: every seal is void, and what only spoke of the old one goes.
pub(crate) fn carry_over(db: &Connection, chat: ChatId) -> Result<(), Error> {
    db.execute("DELETE FROM outbox WHERE chat = ?1 AND message IS NULL AND NOT lasting", [chat])?;
    unseal(db, chat, 0)
}

/// Every seal is void, and what only spoke of what this device had read goes.
pub(crate) fn begin_as_new_device(db: &Connection) -> Result<(), Error> {
    db.execute_batch(
        "DELETE FROM outbox WHERE message IS NULL; UPDATE outbox SET number = NULL, commits = NULL, wire = NULL;",
    )?;
    Ok(())
}

/// Removes what was sent under this number; returns the message that it showed as.
pub(crate) fn take(db: &Connection, chat: ChatId, number: u64) -> Result<Option<i64>, Error> {
    let mut query = db.prepare_cached("DELETE FROM outbox WHERE chat = ?1 AND number = ?2 RETURNING message")?;
    let message: Option<Option<i64>> = query.query_row((chat, number), |row| row.get(0)).optional()?;
    Ok(message.flatten())
}

/// Removes what shows as a message and has no seal; returns the messages.
pub(crate) fn take_messages(db: &Connection, chat: ChatId) -> Result<Vec<i64>, Error> {
    let mut query = db.prepare_cached(
        "DELETE FROM outbox WHERE chat = ?1 AND message IS NOT NULL AND number IS NULL RETURNING message",
    )?;
    let rows = query.query_map([chat], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Removes a message that never left; false if it may have.
pub(crate) fn withdraw(db: &Connection, message: i64) -> Result<bool, Error> {
    let waited = db.execute("DELETE FROM outbox WHERE message = ?1 AND number IS NULL", [message])? > 0;
    Ok(super::files::end_upload(db, message)? || waited)
}

/// Removes everything that waits in a chat; returns the messages that it showed as.
pub(crate) fn clear(db: &Connection, chat: ChatId) -> Result<Vec<i64>, Error> {
    let mut query = db.prepare_cached("DELETE FROM outbox WHERE chat = ?1 RETURNING message")?;
    let rows = query.query_map([chat], |row| row.get::<_, Option<i64>>(0))?;
    Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
}
