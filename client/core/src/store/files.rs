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
        "INSERT OR IGNORE INTO files (chat, author, id, name, media_type, size, sealed, attachment, key, digest)
         VALUES (:chat, :author, :id, :name, :media_type, :size, :sealed, :attachment, :key, :digest)",
    )?;
    query.execute(named_params! {
        ":chat": target.chat, ":author": target.author, ":id": target.id.0, ":name": file.name,
        ":media_type": file.media_type, ":size": file.size, ":sealed": file.sealed, ":attachment": file.attachment,
        ":key": file.key.as_bytes(), ":digest": file.digest,
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
        "SELECT name, media_type, size, saved FROM files WHERE chat = ?1 AND author = ?2 AND id = ?3",
    )?;
    let file = query.query_row((target.chat, &target.author, target.id.0), |row| {
        Ok(File {
            name: row.get("name")?,
            media_type: row.get("media_type")?,
            size: row.get("size")?,
            caption,
            saved: row.get("saved")?,
        })
    });
    Ok(file.optional()?)
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
    })
}
