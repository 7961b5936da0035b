//! How the backup stands: the newest manifest, the keys, and what is on its way to the server or back.

mod history;

pub(crate) use history::{FILE, Log, Row, items, logs, renumber, restore, rows};

use super::chats::ChatId;
use crate::{Error, backup::Range};
use rusqlite::{Connection, OptionalExtension};
use waxwing_e2ee::backup::{GenerationKey, SegmentEntry, StateEntry};
use zeroize::Zeroizing;

/// The one row about the backup.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) enabled: bool,
    /// The newest manifest that was seen; 0 if there is none.
    pub(crate) version: u64,
    pub(crate) hash: Option<[u8; 32]>,
    /// Of the server's database that showed it.
    pub(crate) incarnation: Option<[u8; 16]>,
    /// The generation that is in use.
    pub(crate) generation: Option<u32>,
    /// When everything was in the backup last: milliseconds since 1970.
    pub(crate) stored_at: Option<u64>,
    /// Since when something has been missing in it.
    pub(crate) waiting_since: Option<u64>,
    pub(crate) used: u64,
    pub(crate) quota: u64,
    /// SHA-256 of the account's state as it is stored.
    pub(crate) state_digest: Option<Vec<u8>>,
    /// How many messages the restoring began with.
    pub(crate) restoring: u64,
    /// Why the last try failed.
    pub(crate) error: Option<String>,
    /// Only the user can go on.
    pub(crate) blocked: bool,
}

pub(crate) fn load(db: &Connection) -> Result<Standing, Error> {
    let mut query = db.prepare_cached("SELECT * FROM backup")?;
    let standing = query.query_row([], |row| {
        let hash: Option<Vec<u8>> = row.get("hash")?;
        let incarnation: Option<Vec<u8>> = row.get("incarnation")?;
        Ok(Standing {
            enabled: row.get("enabled")?,
            version: row.get("version")?,
            hash: hash.map(|_| super::array(row, "hash")).transpose()?,
            incarnation: incarnation.map(|_| super::array(row, "incarnation")).transpose()?,
            generation: row.get("generation")?,
            stored_at: row.get("stored_at")?,
            waiting_since: row.get("waiting_since")?,
            used: row.get("used")?,
            quota: row.get("quota")?,
            state_digest: row.get("state_digest")?,
            restoring: row.get("restoring")?,
            error: row.get("error")?,
            blocked: row.get("blocked")?,
        })
    });
    Ok(standing?)
}

pub(crate) fn save(db: &Connection, standing: &Standing) -> Result<(), Error> {
    db.prepare_cached(
        "UPDATE backup SET enabled = ?1, version = ?2, hash = ?3, incarnation = ?4, generation = ?5, stored_at = ?6,
             waiting_since = ?7, used = ?8, quota = ?9, state_digest = ?10, restoring = ?11, error = ?12, blocked = ?13",
    )?
    .execute(rusqlite::params![
        standing.enabled,
        standing.version,
        standing.hash,
        standing.incarnation,
        standing.generation,
        standing.stored_at,
        standing.waiting_since,
        standing.used,
        standing.quota,
        standing.state_digest,
        standing.restoring,
        standing.error,
        standing.blocked,
    ])?;
    Ok(())
}

/// A signed device list, and the identity that signed it.
pub(crate) type FormerList = (Vec<u8>, Vec<u8>);

/// The device list before the present one, until [`forget_former_list`].
pub(crate) fn former_list(db: &Connection) -> Result<Option<FormerList>, Error> {
    let mut query =
        db.prepare_cached("SELECT former_list, former_identity FROM backup WHERE former_list IS NOT NULL")?;
    Ok(query.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// A manifest is known that a device of the present list has signed.
pub(crate) fn forget_former_list(db: &Connection) -> Result<(), Error> {
    db.execute("UPDATE backup SET former_list = NULL, former_identity = NULL", [])?;
    Ok(())
}

/// Changes the row.
pub(crate) fn update(db: &Connection, change: impl FnOnce(&mut Standing)) -> Result<Standing, Error> {
    let mut standing = load(db)?;
    change(&mut standing);
    save(db, &standing)?;
    Ok(standing)
}

/// Keeps a generation's key; with the wrapped seed if it may head a manifest.
pub(crate) fn add_key(db: &Connection, key: &GenerationKey, wrapped: Option<&[u8]>) -> Result<(), Error> {
    db.execute(
        "INSERT INTO backup_keys (generation, key, wrapped) VALUES (?1, ?2, ?3)
         ON CONFLICT (generation) DO UPDATE SET key = excluded.key, wrapped = coalesce(excluded.wrapped, wrapped)",
        (key.number(), key.as_bytes(), wrapped),
    )?;
    Ok(())
}

/// A generation's key, and its wrapped seed if that is known.
pub(crate) type KeptKey = (GenerationKey, Option<Vec<u8>>);

/// A generation's key.
pub(crate) fn key(db: &Connection, generation: u32) -> Result<Option<KeptKey>, Error> {
    let mut query = db.prepare_cached("SELECT key, wrapped FROM backup_keys WHERE generation = ?1")?;
    let key = query.query_row([generation], |row| {
        let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(super::array(row, "key")?);
        Ok((GenerationKey::from_bytes(generation, &bytes), row.get("wrapped")?))
    });
    Ok(key.optional()?)
}

/// All keys but one: those of former generations.
pub(crate) fn former_keys(db: &Connection, current: u32) -> Result<Vec<GenerationKey>, Error> {
    let mut query = db.prepare_cached("SELECT generation, key FROM backup_keys WHERE generation <> ?1")?;
    let rows = query.query_map([current], |row| {
        let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(super::array(row, "key")?);
        Ok(GenerationKey::from_bytes(row.get("generation")?, &bytes))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets the keys of former generations under which nothing is sealed any more.
pub(crate) fn drop_unused_keys(db: &Connection, current: u32) -> Result<(), Error> {
    db.execute(
        "DELETE FROM backup_keys WHERE generation < ?1
             AND generation NOT IN (SELECT generation FROM backup_segments UNION SELECT generation FROM backup_state)",
        [current],
    )?;
    Ok(())
}

/// Whether a segment's messages are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restored {
    /// They are to be fetched.
    Not = 0,
    /// They are.
    Yes = 1,
    /// What the server gave was refused.
    Refused = 2,
}

pub(crate) fn segments(db: &Connection) -> Result<Vec<SegmentEntry>, Error> {
    let mut query = db.prepare_cached("SELECT * FROM backup_segments ORDER BY name, era, first")?;
    let rows = query.query_map([], segment)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The segments whose messages are to be fetched, newest first.
pub(crate) fn wanted(db: &Connection) -> Result<Vec<SegmentEntry>, Error> {
    let mut query =
        db.prepare_cached("SELECT * FROM backup_segments WHERE restored = 0 ORDER BY newest DESC, last DESC")?;
    let rows = query.query_map([], segment)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn segment(row: &rusqlite::Row<'_>) -> rusqlite::Result<SegmentEntry> {
    Ok(SegmentEntry {
        id: super::array(row, "id")?,
        generation: row.get("generation")?,
        chat: row.get("name")?,
        conversation: super::array(row, "conversation")?,
        era: row.get("era")?,
        first: row.get("first")?,
        last: row.get("last")?,
        count: row.get("count")?,
        newest_ms: row.get("newest")?,
        sha256: super::array(row, "sha256")?,
    })
}

/// How many segments, and messages in them, have come how far.
pub(crate) fn count(db: &Connection, restored: Option<Restored>) -> Result<(u64, u64), Error> {
    let mut query = db.prepare_cached(
        "SELECT count(*), coalesce(sum(count), 0) FROM backup_segments WHERE ?1 IS NULL OR restored = ?1",
    )?;
    Ok(query.query_row([restored.map(|restored| restored as i64)], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

pub(crate) fn set_restored(db: &Connection, id: &[u8; 16], restored: Restored) -> Result<(), Error> {
    db.prepare_cached("UPDATE backup_segments SET restored = ?2 WHERE id = ?1")?.execute((id, restored as i64))?;
    db.prepare_cached("UPDATE backup_state SET restored = ?2 WHERE id = ?1")?.execute((id, restored as i64))?;
    Ok(())
}

/// This device is another one: the account's state is fetched once more, for what it does not know.
pub(crate) fn want_state(db: &Connection) -> Result<(), Error> {
    db.execute_batch("UPDATE backup_state SET restored = 0; UPDATE backup SET state_digest = NULL;")?;
    Ok(())
}

/// What was refused is tried once more.
pub(crate) fn retry_refused(db: &Connection) -> Result<(), Error> {
    db.execute_batch(
        "UPDATE backup_segments SET restored = 0 WHERE restored = 2; UPDATE backup_state SET restored = 0 WHERE restored = 2;",
    )?;
    Ok(())
}

pub(crate) fn state(db: &Connection) -> Result<Vec<StateEntry>, Error> {
    states(db, "SELECT * FROM backup_state")
}

/// The parts of the account's state that are to be fetched.
pub(crate) fn wanted_state(db: &Connection) -> Result<Vec<StateEntry>, Error> {
    states(db, "SELECT * FROM backup_state WHERE restored = 0")
}

fn states(db: &Connection, query: &str) -> Result<Vec<StateEntry>, Error> {
    let mut query = db.prepare_cached(query)?;
    let rows = query.query_map([], |row| {
        Ok(StateEntry {
            id: super::array(row, "id")?,
            generation: row.get("generation")?,
            sha256: super::array(row, "sha256")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Takes over what a manifest names. `restored` says of what was not named before whether its messages are here.
pub(crate) fn replace(
    db: &Connection,
    segments: &[SegmentEntry],
    state: &[StateEntry],
    mut restored: impl FnMut(&SegmentEntry) -> Result<Restored, Error>,
    state_restored: Restored,
) -> Result<(), Error> {
    let known = |table: &str| -> Result<std::collections::HashMap<[u8; 16], i64>, Error> {
        let mut query = db.prepare(&format!("SELECT id, restored FROM {table}"))?;
        let rows = query.query_map([], |row| Ok((super::array(row, "id")?, row.get("restored")?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    let (known_segments, known_state) = (known("backup_segments")?, known("backup_state")?);
    db.execute_batch("DELETE FROM backup_segments; DELETE FROM backup_state;")?;
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO backup_segments (id, generation, name, conversation, era, first, last, count, newest, sha256, restored)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for entry in segments {
        let restored = match known_segments.get(&entry.id) {
            Some(known) => *known,
            None => restored(entry)? as i64,
        };
        insert.execute(rusqlite::params![
            entry.id,
            entry.generation,
            entry.chat,
            entry.conversation,
            entry.era,
            entry.first,
            entry.last,
            entry.count,
            entry.newest_ms,
            entry.sha256,
            restored,
        ])?;
    }
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO backup_state (id, generation, sha256, restored) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for entry in state {
        let restored = known_state.get(&entry.id).copied().unwrap_or(state_restored as i64);
        insert.execute((entry.id, entry.generation, entry.sha256, restored))?;
    }
    Ok(())
}

/// Something that the server has, but no manifest names yet.
pub(crate) struct Upload {
    pub(crate) id: [u8; 16],
    pub(crate) generation: u32,
    pub(crate) sha256: [u8; 32],
    /// SHA-256 of what is in it.
    pub(crate) digest: [u8; 32],
}

pub(crate) fn add_upload(db: &Connection, upload: &Upload) -> Result<(), Error> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO backup_uploads (id, generation, sha256, digest) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((upload.id, upload.generation, upload.sha256, upload.digest))?;
    Ok(())
}

/// What was uploaded with this content.
pub(crate) fn upload(db: &Connection, generation: u32, digest: &[u8; 32]) -> Result<Option<Upload>, Error> {
    let mut query = db.prepare_cached("SELECT * FROM backup_uploads WHERE generation = ?1 AND digest = ?2 LIMIT 1")?;
    let upload = query.query_row((generation, digest), |row| {
        Ok(Upload {
            id: super::array(row, "id")?,
            generation: row.get("generation")?,
            sha256: super::array(row, "sha256")?,
            digest: super::array(row, "digest")?,
        })
    });
    Ok(upload.optional()?)
}

/// A manifest was accepted: what it does not name is gone, or the server cannot be relied on to have it.
pub(crate) fn clear_uploads(db: &Connection) -> Result<(), Error> {
    db.execute("DELETE FROM backup_uploads", [])?;
    Ok(())
}

/// Places whose messages were changed or deleted since they were stored.
pub(crate) fn changes(db: &Connection, chat: ChatId, era: u64) -> Result<Vec<u64>, Error> {
    let mut query = db.prepare_cached("SELECT seq FROM backup_changes WHERE chat = ?1 AND era = ?2")?;
    let rows = query.query_map((chat, era), |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The backup has these changes.
pub(crate) fn clear_changes(db: &Connection, chat: ChatId, era: u64, seqs: &[u64]) -> Result<(), Error> {
    let mut delete = db.prepare_cached("DELETE FROM backup_changes WHERE chat = ?1 AND era = ?2 AND seq = ?3")?;
    for seq in seqs {
        delete.execute((chat, era, seq))?;
    }
    Ok(())
}

/// Forgets everything about the backup but its switch and its keys.
pub(crate) fn forget(db: &Connection) -> Result<(), Error> {
    db.execute_batch(
        "DELETE FROM backup_segments; DELETE FROM backup_state; DELETE FROM backup_uploads; DELETE FROM backup_changes;
         UPDATE backup SET version = 0, hash = NULL, incarnation = NULL, stored_at = NULL, waiting_since = NULL, used = 0,
                           state_digest = NULL, restoring = 0, error = NULL, blocked = 0;",
    )?;
    Ok(())
}

/// The segments of one conversation as planning needs them.
pub(crate) fn stored(db: &Connection, conversation: &[u8; 16]) -> Result<Vec<crate::backup::Stored>, Error> {
    let mut query = db.prepare_cached("SELECT id, first, last, count FROM backup_segments WHERE conversation = ?1")?;
    let rows = query.query_map([conversation], |row| {
        Ok(crate::backup::Stored {
            id: super::array(row, "id")?,
            range: Range { first: row.get("first")?, last: row.get("last")? },
            count: row.get("count")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
