//! The history as backups see it: which logs there are, what is in a stretch of one, and putting back what was stored.
//!
//! The invariant: what is put back never takes the place of a message that is here, and never counts as new: its position
//! is below all others'.

use crate::{
    Error, MessageId,
    backup::{Item, Range},
    store::{
        array,
        changes::{self, Change, Kind, Target},
        chats::ChatId,
        files, messages, outbox,
    },
};
use rusqlite::{Connection, OptionalExtension as _, named_params};
use waxwing_e2ee::content;

/// Not the marks of this device itself, which another one makes for itself; and nothing that is to disappear.
const SHARED: &str = "kind IN (0, 1, 40) AND lifetime IS NULL";

/// The kind of a message with a file.
pub(crate) const FILE: i64 = 40;

/// A conversation that a chat is, or was.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) chat: ChatId,
    pub(crate) name: String,
    pub(crate) era: u64,
    pub(crate) conversation: [u8; 16],
    /// The last entry that this device has handled itself; none where it is not in the conversation.
    pub(crate) cursor: Option<u64>,
}

/// A message as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: [u8; 16],
    pub(crate) seq: u64,
    pub(crate) author: String,
    pub(crate) mine: bool,
    pub(crate) sent_at: u64,
    pub(crate) received_at: u64,
    /// 0 text, 1 of a newer version, 40 a file.
    pub(crate) kind: i64,
    pub(crate) text: String,
    pub(crate) delivered: bool,
    /// The message that it answers: its author and id.
    pub(crate) reply_to: Option<(String, [u8; 16])>,
    /// The file.
    pub(crate) file: Option<Box<content::File>>,
    /// What was done to it; the text is what became of it.
    pub(crate) done: Vec<Change>,
}

/// All logs.
pub(crate) fn logs(db: &Connection) -> Result<Vec<Log>, Error> {
    let mut query = db.prepare_cached(
        "SELECT chat, name, era, conversation, CASE phase WHEN 3 THEN cursor END AS cursor FROM chats
             WHERE conversation IS NOT NULL
         UNION ALL
         SELECT f.chat, c.name, f.era, f.conversation, f.cursor FROM former_conversations f JOIN chats c USING (chat)",
    )?;
    let rows = query.query_map([], |row| {
        Ok(Log {
            chat: row.get("chat")?,
            name: row.get("name")?,
            era: row.get("era")?,
            conversation: array(row, "conversation")?,
            cursor: row.get("cursor")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The messages of a stretch, for planning.
pub(crate) fn items(db: &Connection, chat: ChatId, era: u64, range: Range) -> Result<Vec<Item>, Error> {
    let mut query = db.prepare_cached(&format!(
        "SELECT seq, length(CAST(text AS BLOB)) + 128 + CASE WHEN kind <> 40 THEN 0 ELSE 512 + coalesce(
                    (SELECT length(f.thumbnail) FROM files f
                     WHERE f.chat = messages.chat AND f.author = messages.author AND f.id = messages.id), 0) END
         FROM messages
         WHERE chat = ?1 AND era = ?2 AND seq BETWEEN ?3 AND ?4 AND {SHARED} ORDER BY seq"
    ))?;
    let rows = query
        .query_map((chat, era, range.first, range.last), |row| Ok(Item { seq: row.get(0)?, bytes: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The messages of a stretch.
pub(crate) fn rows(db: &Connection, chat: ChatId, era: u64, range: Range) -> Result<Vec<Row>, Error> {
    let mut query = db.prepare_cached(&format!(
        "SELECT id, seq, author, mine, sent_at, received_at, kind, text, state IN (2, 5) AS delivered, reply_author,
                reply_id, changed FROM messages
         WHERE chat = ?1 AND era = ?2 AND seq BETWEEN ?3 AND ?4 AND {SHARED} ORDER BY seq"
    ))?;
    let rows = query.query_map((chat, era, range.first, range.last), |row| {
        let reply_author: Option<String> = row.get("reply_author")?;
        let reply_to = reply_author.map(|author| Ok::<_, rusqlite::Error>((author, array(row, "reply_id")?)));
        let changed: bool = row.get("changed")?;
        let row = Row {
            id: array(row, "id")?,
            seq: row.get("seq")?,
            author: row.get("author")?,
            mine: row.get("mine")?,
            sent_at: row.get("sent_at")?,
            received_at: row.get("received_at")?,
            kind: row.get("kind")?,
            text: row.get("text")?,
            delivered: row.get("delivered")?,
            reply_to: reply_to.transpose()?,
            file: None,
            done: Vec::new(),
        };
        Ok((changed, row))
    })?;
    rows.map(|row| {
        let (changed, mut row) = row?;
        let target = Target { chat, author: row.author.clone(), id: MessageId(row.id) };
        if row.kind == FILE {
            row.file = files::load(db, &target)?.map(Box::new);
        }
        if changed {
            row.done = changes::of(db, &target)?;
            // What still waits for the server may come to nothing.
            row.done.retain(|change| change.seq != changes::WAITING);
        }
        Ok(row)
    })
    .collect()
}

/// Puts messages back. Where there is one already it stays, unless it is only the mark of something unreadable.
pub(crate) fn restore(db: &Connection, chat: ChatId, era: u64, rows: &[Row]) -> Result<(), Error> {
    let mut position = crate::store::messages::lowest_position(db)?;
    // Not one statement with ON CONFLICT: its way with conflicts would be that of the triggers, too, which have their own.
    let mut replace = db.prepare_cached(
        "UPDATE messages SET id = :id, author = :author, mine = :mine, sent_at = :sent_at, received_at = :received_at,
                kind = :kind, text = :text, state = :state, reply_author = :reply_author, reply_id = :reply_id
         WHERE chat = :chat AND era = :era AND seq = :seq AND kind = 2",
    )?;
    let mut insert = db.prepare_cached(
        "INSERT INTO messages (position, chat, era, id, author, mine, seq, place, sent_at, received_at, kind, text, state,
                               reply_author, reply_id)
         SELECT :position, :chat, :era, :id, :author, :mine, :seq, :seq, :sent_at, :received_at, :kind, :text, :state,
                :reply_author, :reply_id
         WHERE NOT EXISTS (SELECT 1 FROM messages WHERE chat = :chat AND era = :era AND seq = :seq)",
    )?;
    // Backwards, so that newer ones stand higher.
    for row in rows.iter().rev() {
        position -= 1;
        if row.mine && is_here_already(db, chat, era, row)? {
            continue;
        }
        let state = match (row.mine, row.delivered) {
            (true, true) => 2,
            (true, false) => 1,
            (false, _) => 4,
        };
        let reply_author = row.reply_to.as_ref().map(|(author, _)| author);
        let reply_id = row.reply_to.as_ref().map(|(_, id)| id);
        let replaced = replace.execute(named_params! {
            ":chat": chat, ":era": era, ":id": row.id, ":author": row.author, ":mine": row.mine, ":seq": row.seq,
            ":sent_at": row.sent_at, ":received_at": row.received_at, ":kind": row.kind, ":text": row.text,
            ":state": state, ":reply_author": reply_author, ":reply_id": reply_id,
        })?;
        if replaced == 0 {
            insert.execute(named_params! {
                ":position": position, ":chat": chat, ":era": era, ":id": row.id, ":author": row.author,
                ":mine": row.mine, ":seq": row.seq, ":sent_at": row.sent_at, ":received_at": row.received_at,
                ":kind": row.kind, ":text": row.text, ":state": state, ":reply_author": reply_author,
                ":reply_id": reply_id,
            })?;
        }
        if let Some(file) = &row.file {
            files::insert(db, &Target { chat, author: row.author.clone(), id: MessageId(row.id) }, file)?;
        }
        redo(db, chat, era, row)?;
    }
    Ok(())
}

/// An old copy of a profile may still have waiting what was sent since: it need not be sent again. What it has sent again
/// already stands there, and is not shown twice.
fn is_here_already(db: &Connection, chat: ChatId, era: u64, row: &Row) -> Result<bool, Error> {
    let mut query = db.prepare_cached(
        "SELECT position FROM messages
         WHERE id = ?1 AND chat = ?2 AND author = ?3 AND mine = 1 AND NOT (era = ?4 AND seq IS ?5)",
    )?;
    let other = query.query_row((row.id, chat, &row.author, era, row.seq), |row| row.get::<_, i64>(0)).optional()?;
    let Some(other) = other else { return Ok(false) };
    if outbox::withdraw(db, other)? {
        messages::delete(db, other)?;
        return Ok(false);
    }
    Ok(true)
}

/// Does to a message what was done to it, as the backup says and as this device has heard meanwhile.
fn redo(db: &Connection, chat: ChatId, era: u64, row: &Row) -> Result<(), Error> {
    let target = Target { chat, author: row.author.clone(), id: MessageId(row.id) };
    let mut newer = false;
    for change in &row.done {
        let text = if change.kind == Kind::Edit { row.text.clone() } else { change.value.clone() };
        newer |= !changes::put(db, &target, &Change { value: text, ..change.clone() })?;
    }
    changes::apply(db, &target)?;
    newer |= changes::of(db, &target)?.len() > row.done.len();
    if !newer {
        // It is as the backup has it.
        db.prepare_cached("DELETE FROM backup_changes WHERE chat = ?1 AND era = ?2 AND seq = ?3")?
            .execute((chat, era, row.seq))?;
    }
    Ok(())
}

/// A chat that this device counted anew gets the account's count of its conversations.
pub(crate) fn renumber(db: &Connection, chat: ChatId, era: u64, new: u64) -> Result<(), Error> {
    for table in ["messages", "coverage", "backup_changes", "changes"] {
        db.execute(&format!("UPDATE {table} SET era = ?3 WHERE chat = ?1 AND era = ?2"), (chat, era, new))?;
    }
    db.execute("UPDATE chats SET era = ?3 WHERE chat = ?1 AND era = ?2", (chat, era, new))?;
    Ok(())
}
