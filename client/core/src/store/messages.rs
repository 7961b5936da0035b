//! The history. Messages are shown in the order of their chat's eras and, within one, of their seqs; those that wait for the
//! server stand at the end, and those that failed where they failed.

use super::{
    chats::{ChatId, ChatRow},
    own::Own,
};
use crate::{Content, Error, Message, MessageId, MessageState, account::now_ms, backup::Range};
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use waxwing_e2ee::content::ToldMessage;

const COLUMNS: &str = "m.position, c.name, m.id, m.author, m.seq, m.sent_at, m.received_at, m.kind, m.text, m.state, \
                       m.failure, m.told_by FROM messages m JOIN chats c USING (chat)";

/// The year 9999, in milliseconds: the latest time that anyone may claim to have written.
pub(crate) const LATEST: u64 = 253_402_300_799_999;

/// The place of what waits: behind everything.
const WAITING: i64 = i64::MAX;

/// What a new row needs.
pub(crate) struct NewMessage<'a> {
    pub(crate) chat: ChatId,
    pub(crate) id: MessageId,
    pub(crate) author: &'a str,
    pub(crate) mine: bool,
    pub(crate) seq: Option<u64>,
    pub(crate) sent_at: u64,
    pub(crate) received_at: u64,
    pub(crate) content: &'a Content,
    pub(crate) state: &'a MessageState,
}

/// Returns the row's position.
pub(crate) fn insert(db: &Connection, new: &NewMessage<'_>) -> Result<i64, Error> {
    let (kind, text) = match new.content {
        Content::Text(text) => (0, text.as_str()),
        Content::Unknown => (1, ""),
        Content::Unreadable(reason) => (2, reason.as_str()),
        Content::Notice(text) => (3, text.as_str()),
    };
    let (state, failure) = state_columns(new.state);
    let mut query = db.prepare_cached(
        "INSERT INTO messages (chat, era, id, author, mine, seq, place, sent_at, received_at, kind, text, state, failure)
         VALUES (:chat, (SELECT era FROM chats WHERE chat = :chat), :id, :author, :mine, :seq, coalesce(:seq, :waiting),
                 :sent_at, :received_at, :kind, :text, :state, :failure)",
    )?;
    query.execute(named_params! {
        ":chat": new.chat, ":id": new.id.0, ":author": new.author, ":mine": new.mine, ":seq": new.seq,
        ":sent_at": new.sent_at, ":received_at": new.received_at, ":kind": kind, ":text": text, ":state": state,
        ":failure": failure, ":waiting": WAITING,
    })?;
    Ok(db.last_insert_rowid())
}

/// Puts a message into its place that somebody has told, unless it is there; returns its position. As another device of the
/// account tells it (`told_by` is none), it is not new.
pub(crate) fn insert_told(
    db: &Connection,
    row: &ChatRow,
    own: &Own,
    message: &ToldMessage,
    told_by: Option<&str>,
) -> Result<Option<i64>, Error> {
    let position = if told_by.is_none() { Some(lowest_position(db)? - 1) } else { None };
    let mine = message.author == own.username;
    let mut query = db.prepare_cached(
        "INSERT OR IGNORE INTO messages (position, chat, era, id, author, mine, seq, place, sent_at, received_at, kind, text,
                                         state, told_by)
         SELECT :position, :chat, :era, :id, :author, :mine, :seq, :seq, :sent_at, :now, 0, :text, :state, :told_by
         WHERE NOT EXISTS (SELECT 1 FROM messages WHERE id = :id AND chat = :chat AND author = :author)",
    )?;
    let inserted = query.execute(named_params! {
        ":position": position, ":chat": row.chat, ":era": row.era, ":id": message.id, ":author": message.author,
        ":mine": mine, ":seq": message.seq, ":sent_at": message.sent_at_ms.min(LATEST), ":now": now_ms(),
        ":text": message.text, ":state": if mine { 1 } else { 4 }, ":told_by": told_by,
    })?;
    Ok((inserted > 0).then(|| db.last_insert_rowid()))
}

/// Removes the marks of what could not be read from a stretch.
pub(crate) fn delete_unreadable(db: &Connection, chat: ChatId, era: u64, range: Range) -> Result<(), Error> {
    db.prepare_cached("DELETE FROM messages WHERE chat = ?1 AND era = ?2 AND seq BETWEEN ?3 AND ?4 AND kind = 2")?
        .execute((chat, era, range.first, range.last))?;
    Ok(())
}

/// Puts a notice in front of the entry at `place`; returns its position.
pub(crate) fn insert_notice(
    db: &Connection,
    chat: ChatId,
    place: u64,
    id: MessageId,
    text: &str,
    now_ms: u64,
) -> Result<i64, Error> {
    let mut query = db.prepare_cached(
        "INSERT INTO messages (chat, era, id, author, mine, seq, place, sent_at, received_at, kind, text, state)
         SELECT chat, era, ?3, '?', 0, NULL, ?2, ?5, ?5, 3, ?4, 4 FROM chats WHERE chat = ?1",
    )?;
    query.execute((chat, place, id.0, text, now_ms))?;
    Ok(db.last_insert_rowid())
}

pub(crate) fn load(db: &Connection, position: i64) -> Result<Message, Error> {
    let mut query = db.prepare_cached(&format!("SELECT {COLUMNS} WHERE m.position = ?1"))?;
    Ok(query.query_row([position], read)?.1)
}

/// An own message by its id, with its position. Others may use the same id.
pub(crate) fn mine_by_id(db: &Connection, id: MessageId) -> Result<Option<(i64, Message)>, Error> {
    let mut query = db.prepare_cached(&format!("SELECT {COLUMNS} WHERE m.id = ?1 AND m.mine = 1 LIMIT 1"))?;
    Ok(query.query_row([id.0], read).optional()?)
}

/// The newest `limit` messages of a chat, oldest first.
pub(crate) fn newest(db: &Connection, chat: ChatId, limit: usize) -> Result<Vec<Message>, Error> {
    let mut query = db.prepare_cached(&format!(
        "SELECT {COLUMNS} WHERE m.chat = ?1 ORDER BY m.era DESC, m.place DESC, m.position DESC LIMIT ?2"
    ))?;
    let rows = query.query_map((chat, limit), |row| read(row).map(|(_, message)| message))?;
    let mut messages: Vec<Message> = rows.collect::<Result<_, _>>()?;
    messages.reverse();
    Ok(messages)
}

/// Others' messages after the receive cursor.
pub(crate) fn unreceived(db: &Connection, limit: usize) -> Result<Vec<Message>, Error> {
    let mut query = db.prepare_cached(&format!(
        "SELECT {COLUMNS} WHERE m.mine = 0 AND m.position > (SELECT received FROM own) ORDER BY m.position LIMIT ?1"
    ))?;
    let rows = query.query_map([limit], |row| read(row).map(|(_, message)| message))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Moves the receive cursor behind this message of somebody else; never back. Of several with one id, which only a
/// misbehaving author makes, the next counts. False if there is none.
pub(crate) fn acknowledge(db: &Connection, id: MessageId) -> Result<bool, Error> {
    db.prepare_cached(
        "UPDATE own SET received = coalesce(
             (SELECT min(position) FROM messages WHERE id = ?1 AND mine = 0 AND position > received), received)",
    )?
    .execute([id.0])?;
    let mut query = db.prepare_cached("SELECT EXISTS (SELECT 1 FROM messages WHERE id = ?1 AND mine = 0)")?;
    Ok(query.query_row([id.0], |row| row.get(0))?)
}

/// Whether the author has sent a message of this id in this chat before.
pub(crate) fn is_known(db: &Connection, chat: ChatId, author: &str, id: MessageId) -> Result<bool, Error> {
    let mut query =
        db.prepare_cached("SELECT EXISTS (SELECT 1 FROM messages WHERE id = ?1 AND chat = ?2 AND author = ?3)")?;
    Ok(query.query_row((id.0, chat, author), |row| row.get(0))?)
}

/// The server has it. Its place stays open if a mark for expired entries stands there.
pub(crate) fn set_sent(db: &Connection, position: i64, seq: u64) -> Result<(), Error> {
    db.prepare_cached(
        "UPDATE messages SET state = 1, place = ?2, seq = CASE
             WHEN EXISTS (SELECT 1 FROM messages o WHERE o.chat = messages.chat AND o.era = messages.era AND o.seq = ?2)
             THEN NULL ELSE ?2 END
         WHERE position = ?1 AND seq IS NULL",
    )?
    .execute((position, seq))?;
    Ok(())
}

pub(crate) fn set_failed(db: &Connection, position: i64, reason: &str) -> Result<(), Error> {
    db.execute(
        "UPDATE messages SET state = 3, failure = ?2, place = coalesce(
             (SELECT max(o.place) FROM messages o
              WHERE o.chat = messages.chat AND o.era = messages.era AND o.place < ?3), 0)
         WHERE position = ?1",
        (position, reason, WAITING),
    )?;
    Ok(())
}

pub(crate) fn delete(db: &Connection, position: i64) -> Result<(), Error> {
    db.execute("DELETE FROM messages WHERE position = ?1", [position])?;
    Ok(())
}

/// Another account's device has everything up to `seq`; returns our messages that this is new for.
pub(crate) fn set_delivered(db: &Connection, chat: ChatId, seq: u64) -> Result<Vec<(MessageId, u64)>, Error> {
    let mut query = db.prepare_cached(
        "UPDATE messages SET state = 2 WHERE chat = ?1 AND era = (SELECT era FROM chats WHERE chat = ?1)
             AND state = 1 AND seq <= ?2 RETURNING id, seq",
    )?;
    let rows = query.query_map((chat, seq), |row| Ok((MessageId(super::array(row, "id")?), row.get("seq")?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What waits in a chat goes on in its present era.
pub(crate) fn carry_over(db: &Connection, chat: ChatId) -> Result<(), Error> {
    db.execute(
        "UPDATE messages SET era = (SELECT era FROM chats WHERE chat = ?1) WHERE chat = ?1 AND place = ?2",
        (chat, WAITING),
    )?;
    Ok(())
}

/// A chat's unread and queued messages.
pub(crate) fn counts(db: &Connection, chat: ChatId) -> Result<(u64, u64), Error> {
    let mut query = db.prepare_cached(
        "SELECT (SELECT count(*) FROM messages WHERE chat = ?1 AND mine = 0
                    AND position > (SELECT read FROM chats WHERE chat = ?1)),
                (SELECT count(*) FROM messages WHERE chat = ?1 AND place = 9223372036854775807)",
    )?;
    Ok(query.query_row([chat], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// The place of the last message of a chat that was read: era and seq.
pub(crate) fn read_position(db: &Connection, chat: ChatId) -> Result<Option<(u64, u64)>, Error> {
    let mut query = db.prepare_cached(
        "SELECT era, seq FROM messages WHERE chat = ?1 AND seq IS NOT NULL
             AND position <= (SELECT read FROM chats WHERE chat = ?1) ORDER BY position DESC LIMIT 1",
    )?;
    Ok(query.query_row([chat], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

fn state_columns(state: &MessageState) -> (i64, Option<&str>) {
    match state {
        MessageState::Queued => (0, None),
        MessageState::Sent => (1, None),
        MessageState::Delivered => (2, None),
        MessageState::Failed(reason) => (3, Some(reason)),
        MessageState::Received => (4, None),
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, Message)> {
    let text: String = row.get("text")?;
    let failure: Option<String> = row.get("failure")?;
    let message = Message {
        id: MessageId(super::array(row, "id")?),
        chat: row.get("name")?,
        from: row.get("author")?,
        seq: row.get("seq")?,
        sent_at: row.get("sent_at")?,
        received_at: row.get("received_at")?,
        told_by: row.get("told_by")?,
        content: match row.get::<_, i64>("kind")? {
            0 => Content::Text(text),
            2 => Content::Unreadable(text),
            3 => Content::Notice(text),
            _ => Content::Unknown,
        },
        state: match row.get::<_, i64>("state")? {
            0 => MessageState::Queued,
            1 => MessageState::Sent,
            2 => MessageState::Delivered,
            3 => MessageState::Failed(failure.unwrap_or_default()),
            _ => MessageState::Received,
        },
    };
    Ok((row.get("position")?, message))
}

/// Where a message stands: era, place and position.
pub(crate) type At = (u64, i64, i64);

/// The messages of a chat behind a place, in the order in which they are shown.
pub(crate) fn after(
    db: &Connection,
    chat: ChatId,
    last: Option<At>,
    since: u64,
    limit: usize,
) -> Result<Vec<(At, Message)>, Error> {
    let (era, place, position) = last.map_or((0, -1, i64::MIN), |(era, place, position)| (era, place, position));
    let mut query = db.prepare_cached(&format!(
        "SELECT m.era, m.place, {COLUMNS} WHERE m.chat = ?1 AND (m.era, m.place, m.position) > (?2, ?3, ?4)
             AND m.sent_at >= ?5 ORDER BY m.era, m.place, m.position LIMIT ?6"
    ))?;
    let rows = query.query_map((chat, era, place, position, since, limit), |row| {
        let (position, message) = read(row)?;
        Ok(((row.get("era")?, row.get("place")?, position), message))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What a row of an imported message needs.
pub(crate) struct ImportedMessage<'a> {
    pub(crate) position: i64,
    pub(crate) chat: ChatId,
    pub(crate) era: u64,
    pub(crate) place: i64,
    pub(crate) id: MessageId,
    pub(crate) author: &'a str,
    pub(crate) sent_at: u64,
    pub(crate) received_at: u64,
    pub(crate) text: &'a str,
}

/// Puts a message at its place that came from a file.
pub(crate) fn insert_imported(db: &Connection, new: &ImportedMessage<'_>) -> Result<(), Error> {
    let mut query = db.prepare_cached(
        "INSERT INTO messages (position, chat, era, place, id, author, mine, seq, sent_at, received_at, kind, text, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, NULL, ?7, ?8, 0, ?9, 4)",
    )?;
    query.execute(rusqlite::params![
        new.position,
        new.chat,
        new.era,
        new.place,
        new.id.0,
        new.author,
        new.sent_at,
        new.received_at,
        new.text,
    ])?;
    Ok(())
}

/// Whether the chat has a message of this id, whoever wrote it.
pub(crate) fn has_id(db: &Connection, chat: ChatId, id: MessageId) -> Result<bool, Error> {
    let mut query = db.prepare_cached("SELECT EXISTS (SELECT 1 FROM messages WHERE id = ?1 AND chat = ?2)")?;
    Ok(query.query_row((id.0, chat), |row| row.get(0))?)
}

/// The position that all messages stand behind; never above 0.
pub(crate) fn lowest_position(db: &Connection) -> Result<i64, Error> {
    Ok(db.query_row("SELECT coalesce(min(min(position), 0), 0) FROM messages", [], |row| row.get(0))?)
}

/// The places of a chat's own messages (not the imported ones) with the latest time up to each.
pub(crate) fn timeline(db: &Connection, chat: ChatId) -> Result<Vec<(u64, u64, i64)>, Error> {
    let mut query = db.prepare_cached(
        "SELECT sent_at, era, place FROM messages WHERE chat = ?1 AND place < ?2 AND (seq IS NOT NULL OR mine = 1)
         ORDER BY era, place, position",
    )?;
    let rows = query.query_map((chat, WAITING), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut latest = 0;
    let places = rows.map(|row| {
        row.map(|(time, era, place): (u64, u64, i64)| {
            latest = latest.max(time);
            (latest, era, place)
        })
    });
    Ok(places.collect::<Result<_, _>>()?)
}
