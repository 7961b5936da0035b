//! The history. Messages are shown in the order of their chat's eras and, within one, of their seqs; those that wait for the
//! server stand at the end, and those that failed where they failed.

use super::{
    changes::{self, Change, Kind, Target},
    chats::{ChatId, ChatRow},
    files,
    own::Own,
};
use crate::{Content, Error, File, Message, MessageId, MessageState, Reply, account::now_ms, backup::Range, mentions};
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use waxwing_e2ee::content::ToldMessage;

const COLUMNS: &str = "m.position, m.chat, c.name, m.id, m.author, m.seq, m.sent_at, m.received_at, m.kind, m.text, \
                       m.state, m.failure, m.reply_author, m.reply_id, m.changed, m.lifetime, m.expires_at, m.told_by \
                       FROM messages m JOIN chats c USING (chat)";

/// How many characters of a message an answer to it quotes.
const EXCERPT: usize = 120;

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
    /// The message that it answers.
    pub(crate) reply_to: Option<(&'a str, MessageId)>,
    /// For how many seconds it is kept.
    pub(crate) lifetime: Option<u32>,
}

/// Returns the row's position. What is known to have been done to the message is done.
pub(crate) fn insert(db: &Connection, new: &NewMessage<'_>) -> Result<i64, Error> {
    let number;
    let (kind, text) = match new.content {
        Content::Text(text) => (0, text.as_str()),
        Content::Unknown => (1, ""),
        Content::Unreadable(reason) => (2, reason.as_str()),
        Content::Notice(text) => (3, text.as_str()),
        Content::Deleted { .. } => (10, ""),
        Content::File(file) => (40, file.caption.as_str()),
        Content::Timer(None) => (11, ""),
        Content::Timer(Some(seconds)) => {
            number = seconds.to_string();
            (11, number.as_str())
        }
    };
    let own = super::own::username(db)?;
    let mention = !new.mine
        && (new.reply_to.is_some_and(|(author, _)| author == own)
            || kind == 0 && mentions::names(text).any(|name| name == own));
    let (state, failure) = state_columns(new.state);
    let mut query = db.prepare_cached(
        "INSERT INTO messages (chat, era, id, author, mine, seq, place, sent_at, received_at, kind, text, state, failure,
                               reply_author, reply_id, lifetime, mention)
         VALUES (:chat, (SELECT era FROM chats WHERE chat = :chat), :id, :author, :mine, :seq, coalesce(:seq, :waiting),
                 :sent_at, :received_at, :kind, :text, :state, :failure, :reply_author, :reply_id, :lifetime, :mention)
         RETURNING position",
    )?;
    let position = query.query_row(
        named_params! {
        ":chat": new.chat, ":id": new.id.0, ":author": new.author, ":mine": new.mine, ":seq": new.seq,
        ":sent_at": new.sent_at, ":received_at": new.received_at, ":kind": kind, ":text": text, ":state": state,
        ":failure": failure, ":waiting": WAITING, ":reply_author": new.reply_to.map(|(author, _)| author),
        ":reply_id": new.reply_to.map(|(_, id)| id.0), ":lifetime": new.lifetime, ":mention": mention,
        },
        |row| row.get(0),
    )?;
    changes::apply(db, &Target { chat: new.chat, author: new.author.to_owned(), id: new.id })?;
    Ok(position)
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
         SELECT :position, :chat, :era, :id, :author, :mine, :seq, :seq, :sent_at, :now, :kind, :text, :state, :told_by
         WHERE NOT EXISTS (SELECT 1 FROM messages WHERE id = :id AND chat = :chat AND author = :author)
         RETURNING position",
    )?;
    let values = named_params! {
        ":position": position, ":chat": row.chat, ":era": row.era, ":id": message.id, ":author": message.author,
        ":mine": mine, ":seq": message.seq, ":sent_at": message.sent_at_ms.min(LATEST), ":now": now_ms(),
        ":kind": if message.file.is_some() { 40 } else { 0 }, ":text": message.text, ":state": if mine { 1 } else { 4 }, ":told_by": told_by,
    };
    let position = query.query_row(values, |row| row.get(0)).optional()?;
    if position.is_some() {
        let target = Target { chat: row.chat, author: message.author.clone(), id: MessageId(message.id) };
        if let Some(file) = &message.file {
            files::insert(db, &target, file)?;
        }
        if let Some(edited) = message.edited {
            // Of the edits that this device has read or reads yet, the last one counts.
            let (era, seq) = (row.era, edited.seq.min(row.cursor));
            let (at, by, value) = (edited.at_ms.min(LATEST), message.author.clone(), message.text.clone());
            changes::put(db, &target, &Change { kind: Kind::Edit, by, era, seq, at, value })?;
        }
        changes::apply(db, &target)?;
    }
    Ok(position)
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
         SELECT chat, era, ?3, '?', 0, NULL, ?2, ?5, ?5, 3, ?4, 4 FROM chats WHERE chat = ?1 RETURNING position",
    )?;
    Ok(query.query_row((chat, place, id.0, text, now_ms), |row| row.get(0))?)
}

pub(crate) fn load(db: &Connection, position: i64) -> Result<Message, Error> {
    let mut query = db.prepare_cached(&format!("SELECT {COLUMNS} WHERE m.position = ?1"))?;
    let found = query.query_row([position], read)?;
    complete(db, found)
}

/// Where the messages with this id stand; several only if an author misbehaves.
pub(crate) fn with_id(db: &Connection, id: MessageId) -> Result<Vec<(ChatId, i64)>, Error> {
    let mut query = db.prepare_cached("SELECT chat, position FROM messages WHERE id = ?1 ORDER BY position")?;
    let rows = query.query_map([id.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Where a message stands.
pub(crate) fn position_of(db: &Connection, target: &Target) -> Result<Option<i64>, Error> {
    let mut query =
        db.prepare_cached("SELECT position FROM messages WHERE id = ?1 AND chat = ?2 AND author = ?3 LIMIT 1")?;
    Ok(query.query_row((target.id.0, target.chat, &target.author), |row| row.get(0)).optional()?)
}

/// An own message by its id, with its position. Others may use the same id.
pub(crate) fn mine_by_id(db: &Connection, id: MessageId) -> Result<Option<(i64, Message)>, Error> {
    let mut query = db.prepare_cached(&format!("SELECT {COLUMNS} WHERE m.id = ?1 AND m.mine = 1 LIMIT 1"))?;
    let found = query.query_row([id.0], read).optional()?;
    found.map(|found| Ok((found.position, complete(db, found)?))).transpose()
}

/// The newest `limit` messages of a chat, oldest first.
pub(crate) fn newest(db: &Connection, chat: ChatId, limit: usize) -> Result<Vec<Message>, Error> {
    let mut query = db.prepare_cached(&format!(
        "SELECT {COLUMNS} WHERE m.chat = ?1 ORDER BY m.era DESC, m.place DESC, m.position DESC LIMIT ?2"
    ))?;
    let rows = query.query_map((chat, limit), read)?;
    let mut messages = all(db, rows)?;
    messages.reverse();
    Ok(messages)
}

/// The last place of an era that is taken.
pub(crate) fn newest_seq(db: &Connection, chat: ChatId, era: u64) -> Result<Option<u64>, Error> {
    let mut query = db.prepare_cached("SELECT max(seq) FROM messages WHERE chat = ?1 AND era = ?2")?;
    Ok(query.query_row((chat, era), |row| row.get(0))?)
}

/// Others' messages after the receive cursor.
pub(crate) fn unreceived(db: &Connection, limit: usize) -> Result<Vec<Message>, Error> {
    let mut query = db.prepare_cached(&format!(
        "SELECT {COLUMNS} WHERE m.mine = 0 AND m.position > (SELECT received FROM own)
             AND NOT EXISTS (SELECT 1 FROM settings s WHERE s.name = 'request/' || c.name AND s.value = 'on')
         ORDER BY m.position LIMIT ?1"
    ))?;
    let rows = query.query_map([limit], read)?;
    all(db, rows)
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

/// Another account's user has read everything up to `seq`; returns our messages that this is new for.
pub(crate) fn set_read(db: &Connection, chat: ChatId, seq: u64) -> Result<Vec<(MessageId, u64)>, Error> {
    set_delivered(db, chat, seq)?;
    files::note_read(db, chat, seq, now_ms())?;
    let mut query = db.prepare_cached(
        "UPDATE messages SET state = 5 WHERE chat = ?1 AND era = (SELECT era FROM chats WHERE chat = ?1)
             AND state = 2 AND seq <= ?2 RETURNING id, seq",
    )?;
    let rows = query.query_map((chat, seq), |row| Ok((MessageId(super::array(row, "id")?), row.get("seq")?)))?;
    let mut read: Vec<(MessageId, u64)> = rows.collect::<Result<_, _>>()?;
    read.sort_by_key(|(_, seq)| *seq);
    Ok(read)
}

/// What waits in a chat goes on in its present era.
pub(crate) fn carry_over(db: &Connection, chat: ChatId) -> Result<(), Error> {
    db.execute(
        "UPDATE messages SET era = (SELECT era FROM chats WHERE chat = ?1) WHERE chat = ?1 AND place = ?2",
        (chat, WAITING),
    )?;
    Ok(())
}

/// A chat's unread and queued messages, and how many of the unread speak to the user.
pub(crate) fn counts(db: &Connection, chat: ChatId) -> Result<(u64, u64, u64), Error> {
    let mut query = db.prepare_cached(
        "SELECT (SELECT count(*) FROM messages WHERE chat = ?1 AND mine = 0
                    AND position > (SELECT read FROM chats WHERE chat = ?1)),
                (SELECT count(*) FROM messages WHERE chat = ?1 AND era = (SELECT era FROM chats WHERE chat = ?1)
                    AND place = 9223372036854775807),
                (SELECT count(*) FROM messages WHERE chat = ?1 AND mention = 1
                    AND position > (SELECT read FROM chats WHERE chat = ?1))",
    )?;
    Ok(query.query_row([chat], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?)
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
        MessageState::Read => (5, None),
    }
}

/// A row, and where it is.
struct Found {
    position: i64,
    chat: ChatId,
    changed: bool,
    message: Message,
}

fn all(db: &Connection, rows: impl Iterator<Item = rusqlite::Result<Found>>) -> Result<Vec<Message>, Error> {
    rows.map(|row| complete(db, row?)).collect()
}

/// Adds what other rows say about a message.
fn complete(db: &Connection, found: Found) -> Result<Message, Error> {
    let Found { chat, changed, mut message, .. } = found;
    if let Some(reply) = &mut message.reply_to {
        let mut query = db.prepare_cached(
            "SELECT substr(text, 1, ?4) FROM messages WHERE id = ?1 AND chat = ?2 AND author = ?3 AND kind IN (0, 40) LIMIT 1",
        )?;
        reply.excerpt = query.query_row((reply.id.0, chat, &reply.author, EXCERPT), |row| row.get(0)).optional()?;
    }
    if let Content::File(file) = &mut message.content {
        let target = Target { chat, author: message.from.clone(), id: message.id };
        if let Some(shown) = files::shown(db, &target, std::mem::take(&mut file.caption))? {
            **file = shown;
        }
    }
    if changed {
        let target = Target { chat, author: message.from.clone(), id: message.id };
        let shown = changes::shown(&changes::of(db, &target)?);
        message.edited_at = shown.edited_at;
        message.reactions = shown.reactions;
        message.pinned = shown.pinned;
        if let (Content::Deleted { by }, Some(who)) = (&mut message.content, shown.deleted_by) {
            *by = who;
        }
    }
    Ok(message)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Found> {
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
            10 => Content::Deleted { by: row.get("author")? },
            11 => Content::Timer(text.parse().ok()),
            40 => Content::File(Box::new(File { caption: text, ..File::default() })),
            _ => Content::Unknown,
        },
        state: match row.get::<_, i64>("state")? {
            0 => MessageState::Queued,
            1 => MessageState::Sent,
            2 => MessageState::Delivered,
            3 => MessageState::Failed(failure.unwrap_or_default()),
            5 => MessageState::Read,
            _ => MessageState::Received,
        },
        reply_to: match row.get::<_, Option<String>>("reply_author")? {
            Some(author) => Some(Reply { author, id: MessageId(super::array(row, "reply_id")?), excerpt: None }),
            None => None,
        },
        edited_at: None,
        reactions: Vec::new(),
        pinned: false,
        lifetime: row.get("lifetime")?,
        expires_at: row.get("expires_at")?,
    };
    Ok(Found { position: row.get("position")?, chat: row.get("chat")?, changed: row.get("changed")?, message })
}

/// The message goes at that time, if nothing has set one before.
pub(crate) fn set_expiry(db: &Connection, position: i64, at: u64) -> Result<(), Error> {
    db.prepare_cached("UPDATE messages SET expires_at = coalesce(expires_at, ?2) WHERE position = ?1")?
        .execute((position, at))?;
    Ok(())
}

/// The time of what others wrote and the user has read begins to run.
pub(crate) fn begin_expiry(db: &Connection, now: u64) -> Result<(), Error> {
    db.prepare_cached(
        "UPDATE messages SET expires_at = ?1 + lifetime * 1000
         WHERE lifetime IS NOT NULL AND expires_at IS NULL AND mine = 0
             AND position <= (SELECT read FROM chats c WHERE c.chat = messages.chat)",
    )?
    .execute([now])?;
    Ok(())
}

/// When the next message goes: milliseconds since 1970.
pub(crate) fn next_expiry(db: &Connection) -> Result<Option<u64>, Error> {
    let mut query = db.prepare_cached("SELECT min(expires_at) FROM messages WHERE expires_at IS NOT NULL")?;
    Ok(query.query_row([], |row| row.get(0))?)
}

/// Removes what was to go by then, and all that was done to it: chat, id and author of each.
pub(crate) fn expire(db: &Connection, now: u64) -> Result<Vec<(String, MessageId, String)>, Error> {
    let mut query = db.prepare_cached(
        "SELECT m.chat, c.name, m.id, m.author FROM messages m JOIN chats c USING (chat) WHERE m.expires_at <= ?1
         ORDER BY m.position",
    )?;
    let rows = query.query_map([now], |row| {
        Ok((row.get::<_, ChatId>(0)?, row.get(1)?, MessageId(super::array(row, "id")?), row.get(3)?))
    })?;
    let rows: Vec<(ChatId, String, MessageId, String)> = rows.collect::<Result<_, _>>()?;
    for (chat, _, id, author) in &rows {
        db.prepare_cached("DELETE FROM changes WHERE chat = ?1 AND author = ?2 AND id = ?3 AND kind <> 2")?
            .execute((chat, author, id.0))?;
    }
    files::drop_expired(db, now)?;
    db.prepare_cached("DELETE FROM messages WHERE expires_at <= ?1")?.execute([now])?;
    Ok(rows.into_iter().map(|(_, chat, id, from)| (chat, id, from)).collect())
}

/// The messages of a chat by others stand behind everything that has arrived, as if they came now.
pub(crate) fn renew(db: &Connection, chat: ChatId) -> Result<Vec<Message>, Error> {
    let mut query = db.prepare_cached(
        "SELECT position FROM messages WHERE chat = ?1 AND mine = 0 AND position > 0 ORDER BY position",
    )?;
    let positions: Vec<i64> = query.query_map([chat], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut renewed = Vec::new();
    for position in positions {
        let mut query = db.prepare_cached(
            "UPDATE messages SET position = (SELECT max(max(position), (SELECT received FROM own)) + 1 FROM messages)
             WHERE position = ?1 RETURNING position",
        )?;
        let new: i64 = query.query_row([position], |row| row.get(0))?;
        renewed.push(load(db, new)?);
    }
    Ok(renewed)
}

/// The messages of a chat before a place, oldest first.
pub(crate) fn before(db: &Connection, chat: ChatId, at: At, limit: usize) -> Result<Vec<(At, Message)>, Error> {
    let mut query = db.prepare_cached(&format!(
        "SELECT m.era, m.place, {COLUMNS} WHERE m.chat = ?1 AND (m.era, m.place, m.position) < (?2, ?3, ?4)
         ORDER BY m.era DESC, m.place DESC, m.position DESC LIMIT ?5"
    ))?;
    let rows = query.query_map((chat, at.0, at.1, at.2, limit), |row| {
        let found = read(row)?;
        Ok(((row.get("era")?, row.get("place")?, found.position), found))
    })?;
    let mut found: Vec<(At, Message)> = rows
        .map(|row| row.map_err(Error::from).and_then(|(at, found)| Ok((at, complete(db, found)?))))
        .collect::<Result<_, _>>()?;
    found.reverse();
    Ok(found)
}

/// Where the message at a position is shown.
pub(crate) fn place_of(db: &Connection, position: i64) -> Result<At, Error> {
    let mut query = db.prepare_cached("SELECT era, place, position FROM messages WHERE position = ?1")?;
    Ok(query.query_row([position], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?)
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
        let found = read(row)?;
        Ok(((row.get("era")?, row.get("place")?, found.position), found))
    })?;
    rows.map(|row| row.map_err(Error::from).and_then(|(at, found)| Ok((at, complete(db, found)?)))).collect()
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
