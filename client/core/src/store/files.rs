//! The files of messages, and those that are being sent. Rows go with their messages (the schema's triggers see to that).

use super::{changes::Target, chats::ChatId};
use crate::{Error, File};
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};
use waxwing_e2ee::{attachment::FileKey, content};

/// How long the server may go on keeping a file that has run out here and that somebody may not have read, in milliseconds.
const UNREAD: u64 = 90 * 86_400_000;

/// A file that is being sent.
pub(crate) struct Upload {
    pub(crate) chat: ChatId,
    pub(crate) path: PathBuf,
    pub(crate) digests: Vec<u8>,
    pub(crate) file: content::File,
}

/// Stores what a message's file is; one that is there stays.
pub(crate) fn insert(db: &Connection, target: &Target, file: &content::File) -> Result<(), Error> {
    let mut query = db.prepare_cached(
        "INSERT OR IGNORE INTO files (chat, author, id, name, media_type, size, sealed, attachment, key, digest, width,
                                      height, duration_ms, thumbnail)
         VALUES (:chat, :author, :id, :name, :media_type, :size, :sealed, :attachment, :key, :digest, :width, :height,
                 :duration_ms, :thumbnail)",
    )?;
    let media = file.media.clone().unwrap_or_default();
    let (width, height) = media.dimensions.unzip();
    // SQLite's numbers are signed.
    let duration_ms = media.duration_ms.and_then(|lasts| i64::try_from(lasts).ok());
    query.execute(named_params! {
        ":chat": target.chat, ":author": target.author, ":id": target.id.0, ":name": file.name,
        ":media_type": file.media_type, ":size": file.size, ":sealed": file.sealed, ":attachment": file.attachment,
        ":key": file.key.as_bytes(), ":digest": file.digest, ":width": width, ":height": height,
        ":duration_ms": duration_ms, ":thumbnail": media.thumbnail,
    })?;
    Ok(())
}

/// A message's file; its caption is the message's text.
pub(crate) fn load(db: &Connection, target: &Target) -> Result<Option<content::File>, Error> {
    let mut query = db.prepare_cached(
        "SELECT f.*, m.text AS caption FROM files f JOIN messages m USING (chat, author, id)
         WHERE f.chat = ?1 AND f.author = ?2 AND f.id = ?3 LIMIT 1",
    )?;
    Ok(query.query_row((target.chat, &target.author, target.id.0), read).optional()?)
}

/// What is shown of a message's file.
pub(crate) fn shown(db: &Connection, target: &Target, caption: String) -> Result<Option<File>, Error> {
    let mut query = db.prepare_cached(
        "SELECT name, media_type, size, saved, width, height, duration_ms, thumbnail IS NOT NULL AS small FROM files
         WHERE chat = ?1 AND author = ?2 AND id = ?3",
    )?;
    let file = query.query_row((target.chat, &target.author, target.id.0), |row| {
        Ok(File {
            name: row.get("name")?,
            media_type: row.get("media_type")?,
            size: row.get("size")?,
            caption,
            saved: row.get("saved")?,
            dimensions: dimensions(row)?,
            duration_ms: row.get("duration_ms")?,
            thumbnail: row.get("small")?,
        })
    });
    Ok(file.optional()?)
}

/// The small picture of a message's file.
pub(crate) fn thumbnail(db: &Connection, target: &Target) -> Result<Option<Vec<u8>>, Error> {
    let mut query = db.prepare_cached("SELECT thumbnail FROM files WHERE chat = ?1 AND author = ?2 AND id = ?3")?;
    let thumbnail = query.query_row((target.chat, &target.author, target.id.0), |row| row.get(0)).optional()?;
    Ok(thumbnail.flatten())
}

fn dimensions(row: &Row<'_>) -> rusqlite::Result<Option<(u32, u32)>> {
    let (width, height): (Option<u32>, Option<u32>) = (row.get("width")?, row.get("height")?);
    Ok(width.zip(height))
}

/// Notes where a file was saved.
pub(crate) fn set_saved(db: &Connection, target: &Target, path: &str) -> Result<(), Error> {
    db.prepare_cached("UPDATE files SET saved = ?4 WHERE chat = ?1 AND author = ?2 AND id = ?3")?.execute((
        target.chat,
        &target.author,
        target.id.0,
        path,
    ))?;
    Ok(())
}

/// The positions of a chat's messages with files, oldest first.
pub(crate) fn of_chat(db: &Connection, chat: ChatId) -> Result<Vec<i64>, Error> {
    let mut query =
        db.prepare_cached("SELECT position FROM messages WHERE chat = ?1 AND kind = 40 ORDER BY era, place, position")?;
    let rows = query.query_map([chat], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The message at this position waits until its file is sent.
pub(crate) fn begin_upload(db: &Connection, message: i64, path: &Path, digests: &[u8]) -> Result<(), Error> {
    db.prepare_cached("INSERT INTO uploads (message, path, digests) VALUES (?1, ?2, ?3)")?.execute((
        message,
        path.as_os_str().as_bytes(),
        digests,
    ))?;
    Ok(())
}

/// The files that are being sent, in their order, with the names of their chats.
pub(crate) fn uploads(db: &Connection) -> Result<Vec<(i64, String)>, Error> {
    let mut query = db.prepare_cached(
        "SELECT u.message, c.name FROM uploads u JOIN messages m ON m.position = u.message JOIN chats c USING (chat)
         ORDER BY u.message",
    )?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether the message at this position still waits for its file.
pub(crate) fn is_uploading(db: &Connection, message: i64) -> Result<bool, Error> {
    let mut query = db.prepare_cached("SELECT EXISTS (SELECT 1 FROM uploads WHERE message = ?1)")?;
    Ok(query.query_row([message], |row| row.get(0))?)
}

/// One of them, unless it was taken back.
pub(crate) fn upload(db: &Connection, message: i64) -> Result<Option<Upload>, Error> {
    let mut query = db.prepare_cached(
        "SELECT f.*, m.text AS caption, u.path, u.digests FROM uploads u JOIN messages m ON m.position = u.message
         JOIN files f USING (chat, author, id) WHERE u.message = ?1",
    )?;
    let upload = query.query_row([message], |row| {
        let path: Vec<u8> = row.get("path")?;
        Ok(Upload {
            chat: row.get("chat")?,
            path: PathBuf::from(OsString::from_vec(path)),
            digests: row.get("digests")?,
            file: read(row)?,
        })
    });
    Ok(upload.optional()?)
}

/// The file is sent, or will not be. False if it was taken back before.
pub(crate) fn end_upload(db: &Connection, message: i64) -> Result<bool, Error> {
    Ok(db.prepare_cached("DELETE FROM uploads WHERE message = ?1")?.execute([message])? > 0)
}

fn read(row: &Row<'_>) -> rusqlite::Result<content::File> {
    Ok(content::File {
        name: row.get("name")?,
        media_type: row.get("media_type")?,
        size: row.get("size")?,
        sealed: row.get("sealed")?,
        attachment: super::array(row, "attachment")?,
        key: FileKey::from_bytes(super::array(row, "key")?),
        digest: super::array(row, "digest")?,
        caption: row.get("caption")?,
        media: Some(content::Media {
            dimensions: dimensions(row)?,
            duration_ms: row.get("duration_ms")?,
            thumbnail: row.get("thumbnail")?,
        })
        .filter(|media| *media != content::Media::default()),
    })
}

/// The server need not keep what was sent with a message that runs out: from `now` on if nobody was told of it, in a direct chat
/// once the other has read it and the time of that is over, else as long as the server keeps files.
pub(crate) fn drop_expired(db: &Connection, now: u64) -> Result<(), Error> {
    db.prepare_cached(
        "INSERT OR IGNORE INTO dropped_files (attachment, due_at, chat, era, seq, lifetime)
         SELECT f.attachment,
                CASE WHEN m.seq IS NULL THEN ?1 WHEN m.state = 5 AND direct THEN ?1 + m.lifetime * 1000 ELSE ?1 + ?2 END,
                m.chat, m.era, m.seq, CASE WHEN direct THEN m.lifetime END
         FROM (SELECT *, substr((SELECT name FROM chats c WHERE c.chat = messages.chat), 1, 1) NOT IN ('#', '+') AS direct
               FROM messages WHERE expires_at <= ?1 AND mine = 1 AND kind = 40) m JOIN files f USING (chat, author, id)",
    )?
    .execute((now, UNREAD))?;
    Ok(())
}

/// The other has read a direct chat up to there: what ran out here runs out there.
pub(crate) fn note_read(db: &Connection, chat: ChatId, seq: u64, now: u64) -> Result<(), Error> {
    db.prepare_cached(
        "UPDATE dropped_files SET due_at = min(due_at, ?3 + lifetime * 1000)
         WHERE chat = ?1 AND era = (SELECT era FROM chats WHERE chat = ?1) AND seq <= ?2 AND lifetime IS NOT NULL",
    )?
    .execute((chat, seq, now))?;
    Ok(())
}

/// A message of this account is deleted: the server need not keep its file.
pub(crate) fn drop_now(db: &Connection, target: &Target) -> Result<(), Error> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO dropped_files (attachment, due_at)
         SELECT f.attachment, 0 FROM files f JOIN messages m USING (chat, author, id)
         WHERE f.chat = ?1 AND f.author = ?2 AND f.id = ?3 AND m.mine = 1",
    )?
    .execute((target.chat, &target.author, target.id.0))?;
    Ok(())
}

/// The file that the server need not keep and is due first, with the time when that is.
pub(crate) fn next_dropped(db: &Connection) -> Result<Option<([u8; 32], u64)>, Error> {
    let mut query = db.prepare_cached("SELECT attachment, due_at FROM dropped_files ORDER BY due_at LIMIT 1")?;
    let next = query.query_row([], |row| Ok((super::array(row, "attachment")?, row.get("due_at")?)));
    Ok(next.optional()?)
}

/// The server does not have it any more.
pub(crate) fn forget_dropped(db: &Connection, attachment: &[u8; 32]) -> Result<(), Error> {
    db.prepare_cached("DELETE FROM dropped_files WHERE attachment = ?1")?.execute([attachment])?;
    Ok(())
}

#[cfg(test)]
mod tests;
