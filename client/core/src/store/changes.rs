//! What was done to messages after they were written. A row stands for itself, whether its message is here or comes later,
//! from the log or from a backup.
//!
//! The invariant: whatever the order in which messages and changes arrive, the same is shown in the end: of one kind by one
//! user the change that stands last in the chat's logs counts, and after a deletion nothing. Who may do what is decided
//! before it comes here.

use super::{chats::ChatId, files};
use crate::{Error, MessageId, Reaction};
use rusqlite::{Connection, OptionalExtension, named_params};

/// The seq of what waits for the server.
pub(crate) const WAITING: u64 = i64::MAX as u64;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Edit = 1,
    Delete = 2,
    React = 3,
    Pin = 4,
}

/// A message: by its chat, its author and its id.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) chat: ChatId,
    pub(crate) author: String,
    pub(crate) id: MessageId,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    pub(crate) by: String,
    pub(crate) era: u64,
    pub(crate) seq: u64,
    pub(crate) at: u64,
    pub(crate) value: String,
}

impl Kind {
    pub(crate) fn from_number(number: i64) -> Option<Self> {
        [Self::Edit, Self::Delete, Self::React, Self::Pin].into_iter().find(|kind| *kind as i64 == number)
    }
}

/// Takes a change in, and does to the message what it says if the message is here. False if a later one is known.
pub(crate) fn put(db: &Connection, target: &Target, change: &Change) -> Result<bool, Error> {
    if change.kind != Kind::Delete && is_deleted(db, target)? {
        return Ok(false);
    }
    let mut query = db.prepare_cached(
        "INSERT INTO changes (chat, author, id, kind, by, era, seq, at, value)
         VALUES (:chat, :author, :id, :kind, :by, :era, :seq, :at, :value)
         ON CONFLICT DO UPDATE SET era = excluded.era, seq = excluded.seq, at = excluded.at, value = excluded.value
             WHERE (excluded.era, excluded.seq) >= (changes.era, changes.seq)",
    )?;
    let counted = query.execute(named_params! {
        ":chat": target.chat, ":author": target.author, ":id": target.id.0, ":kind": change.kind as i64,
        ":by": change.by, ":era": change.era, ":seq": change.seq, ":at": change.at, ":value": change.value,
    })?;
    if counted > 0 {
        apply(db, target)?;
    }
    Ok(counted > 0)
}

/// A change of our own has its place now. What was changed again meanwhile still waits.
pub(crate) fn place(db: &Connection, target: &Target, change: &Change) -> Result<(), Error> {
    // An applied edit's text is the message's.
    db.prepare_cached(
        "UPDATE changes SET era = ?6, seq = ?7 WHERE chat = ?1 AND author = ?2 AND id = ?3 AND kind = ?4 AND by = ?5
             AND seq = ?8 AND at = ?9",
    )?
    .execute((
        target.chat,
        &target.author,
        target.id.0,
        change.kind as i64,
        &change.by,
        change.era,
        change.seq,
        WAITING,
        change.at,
    ))?;
    Ok(())
}

/// Brings a message up to date with what is known to have been done to it. True if there is anything.
pub(crate) fn apply(db: &Connection, target: &Target) -> Result<bool, Error> {
    let mut query = db.prepare_cached(
        "SELECT position FROM messages WHERE id = ?1 AND chat = ?2 AND author = ?3 AND kind IN (0, 1, 10, 40) LIMIT 1",
    )?;
    let position =
        query.query_row((target.id.0, target.chat, &target.author), |row| row.get::<_, i64>(0)).optional()?;
    let Some(position) = position else { return Ok(false) };
    let known = of(db, target)?;
    if known.is_empty() {
        return Ok(false);
    }
    if known.iter().any(|change| change.kind == Kind::Delete) {
        files::drop_now(db, target)?;
        db.prepare_cached(
            "UPDATE messages SET kind = 10, text = '', title = NULL, reply_author = NULL, reply_id = NULL, changed = 1, mention = 0
             WHERE position = ?1",
        )?
        .execute([position])?;
        db.prepare_cached("DELETE FROM changes WHERE chat = ?1 AND author = ?2 AND id = ?3 AND kind <> 2")?
            .execute((target.chat, &target.author, target.id.0))?;
        return Ok(true);
    }
    if let Some(edit) = known.iter().find(|change| change.kind == Kind::Edit && !change.value.is_empty()) {
        db.prepare_cached("UPDATE messages SET text = ?2 WHERE position = ?1 AND kind = 0")?
            .execute((position, &edit.value))?;
        db.prepare_cached("UPDATE changes SET value = '' WHERE chat = ?1 AND author = ?2 AND id = ?3 AND kind = 1")?
            .execute((target.chat, &target.author, target.id.0))?;
    }
    db.prepare_cached("UPDATE messages SET changed = 1 WHERE position = ?1")?.execute([position])?;
    db.prepare_cached(
        "INSERT OR IGNORE INTO backup_changes SELECT chat, era, seq FROM messages
         WHERE position = ?1 AND seq IS NOT NULL AND kind IN (0, 1, 40) AND lifetime IS NULL",
    )?
    .execute([position])?;
    Ok(true)
}

/// What was done to a message.
pub(crate) fn of(db: &Connection, target: &Target) -> Result<Vec<Change>, Error> {
    let mut query = db.prepare_cached(
        "SELECT kind, by, era, seq, at, value FROM changes WHERE chat = ?1 AND author = ?2 AND id = ?3 ORDER BY kind, era, seq",
    )?;
    let rows = query.query_map((target.chat, &target.author, target.id.0), |row| {
        let kind: i64 = row.get("kind")?;
        Ok(Kind::from_number(kind).map(|kind| {
            Ok::<_, rusqlite::Error>(Change {
                kind,
                by: row.get("by")?,
                era: row.get("era")?,
                seq: row.get("seq")?,
                at: row.get("at")?,
                value: row.get("value")?,
            })
        }))
    })?;
    let known: Vec<Option<rusqlite::Result<Change>>> = rows.collect::<Result<_, _>>()?;
    Ok(known.into_iter().flatten().collect::<Result<_, _>>()?)
}

fn is_deleted(db: &Connection, target: &Target) -> Result<bool, Error> {
    let mut query = db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM changes WHERE chat = ?1 AND author = ?2 AND id = ?3 AND kind = 2)",
    )?;
    Ok(query.query_row((target.chat, &target.author, target.id.0), |row| row.get(0))?)
}

/// What the changes to a message make of how it is shown.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) edited_at: Option<u64>,
    pub(crate) deleted_by: Option<String>,
    pub(crate) reactions: Vec<Reaction>,
    pub(crate) pinned: bool,
}

/// See [`Shown`].
pub(crate) fn shown(changes: &[Change]) -> Shown {
    let mut shown = Shown::default();
    for change in changes {
        match change.kind {
            Kind::Edit => shown.edited_at = Some(change.at),
            Kind::Delete => shown.deleted_by = Some(change.by.clone()),
            // They come in their order: the last one counts, whoever did it.
            Kind::Pin => shown.pinned = change.value == "1",
            Kind::React => {
                for emoji in change.value.lines() {
                    match shown.reactions.iter_mut().find(|reaction| reaction.emoji == emoji) {
                        Some(reaction) => reaction.by.push(change.by.clone()),
                        None => {
                            let by = vec![change.by.clone()];
                            shown.reactions.push(Reaction { emoji: emoji.to_owned(), by });
                        }
                    }
                }
            }
        }
    }
    shown
}

/// The messages that somebody has pinned, the last one first; whether they are still pinned is another matter.
pub(crate) fn pinned(db: &Connection, chat: ChatId) -> Result<Vec<Target>, Error> {
    let mut query =
        db.prepare_cached("SELECT author, id FROM changes WHERE chat = ?1 AND kind = 4 ORDER BY era DESC, seq DESC")?;
    let rows = query.query_map([chat], |row| {
        Ok(Target { chat, author: row.get("author")?, id: MessageId(super::array(row, "id")?) })
    })?;
    let mut targets: Vec<Target> = Vec::new();
    for target in rows {
        let target = target?;
        if !targets.iter().any(|known| known.id == target.id && known.author == target.author) {
            targets.push(target);
        }
    }
    Ok(targets)
}

#[cfg(test)]
mod tests;
