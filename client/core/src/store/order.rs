//! The digests of each chat's log, and what others' digests say about it.
//!
//! The invariant: the rows of a chat follow each other without a gap, up to the newest entry that was read; they are added
//! in the transaction that reads it. Where reading goes on behind a gap they begin anew, and what the log was before is
//! learned from a member. It must not know what entries say, nor what a user is told.

use super::chats::ChatId;
use crate::{Doubt, Error};
use rusqlite::{Connection, OptionalExtension};
use waxwing_e2ee::{content::Seen, order};

/// Digests are kept of so many entries: whoever is further behind is not compared.
const KEPT: u64 = 4096;

/// What a member's digest says about the log that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the same log, or nothing is known that could tell.
    Agrees,
    /// The member had read so many entries more than there are here.
    Missing(u64),
    /// The same number of entries, but others or in another order.
    Differs,
}

struct Last {
    seq: u64,
    digest: Option<[u8; 32]>,
}

/// This device was there from the beginning: the digest at `seq` is certain.
pub(crate) fn begin(db: &Connection, chat: ChatId, seq: u64, digest: &[u8; 32]) -> Result<(), Error> {
    forget(db, chat)?;
    set_digest(db, chat, seq, digest)
}

/// The chat's log is another one from now on, or not known any more.
pub(crate) fn forget(db: &Connection, chat: ChatId) -> Result<(), Error> {
    db.prepare_cached("DELETE FROM log_digests WHERE chat = ?1")?.execute([chat])?;
    Ok(())
}

/// The entry at `seq` was read.
pub(crate) fn push(db: &Connection, chat: ChatId, seq: u64, hash: &[u8; 32]) -> Result<(), Error> {
    let digest = match last(db, chat)? {
        Some(Last { seq: before, digest }) if before + 1 == seq => {
            digest.map(|digest| order::next_hashed(&digest, seq, hash))
        }
        Some(_) => {
            // Something in between was never read here.
            forget(db, chat)?;
            None
        }
        None => None,
    };
    let hash = if digest.is_none() { Some(hash) } else { None };
    db.prepare_cached("INSERT INTO log_digests (chat, seq, hash, digest) VALUES (?1, ?2, ?3, ?4)")?
        .execute((chat, seq, hash, digest))?;
    Ok(())
}

/// Forgets what nobody will be compared with any more.
pub(crate) fn prune(db: &Connection, chat: ChatId, cursor: u64) -> Result<(), Error> {
    db.prepare_cached("DELETE FROM log_digests WHERE chat = ?1 AND seq < ?2")?
        .execute((chat, cursor.saturating_sub(KEPT)))?;
    Ok(())
}

/// The log up to `cursor` as this device sees it, if it knows all of it.
pub(crate) fn seen(db: &Connection, chat: ChatId, cursor: u64) -> Result<Option<Seen>, Error> {
    let last = last(db, chat)?.filter(|last| last.seq == cursor);
    Ok(last.and_then(|last| last.digest.map(|digest| Seen { seq: last.seq, digest })))
}

/// Compares what a member had seen when it wrote the entry at `seq`, all before which was read here.
pub(crate) fn compare(db: &Connection, chat: ChatId, seq: u64, seen: &Seen) -> Result<Verdict, Error> {
    if seen.seq >= seq {
        return Ok(Verdict::Missing((seen.seq - seq).saturating_add(1)));
    }
    match digest(db, chat, seen.seq)? {
        Some(digest) if digest != seen.digest => return Ok(Verdict::Differs),
        Some(_) => {}
        None if last(db, chat)?.is_none_or(|last| last.digest.is_none()) => adopt(db, chat, seq, seen)?,
        // Older than what is kept.
        None => {}
    }
    Ok(Verdict::Agrees)
}

/// The digest of the first member who tells one becomes the one to go on from, if everything since was read here.
fn adopt(db: &Connection, chat: ChatId, seq: u64, seen: &Seen) -> Result<(), Error> {
    let mut query =
        db.prepare_cached("SELECT seq, hash FROM log_digests WHERE chat = ?1 AND seq > ?2 AND seq < ?3 ORDER BY seq")?;
    let rows = query.query_map((chat, seen.seq, seq), |row| {
        let hash: Option<Vec<u8>> = row.get("hash")?;
        Ok((row.get::<_, u64>("seq")?, hash))
    })?;
    let (mut last, mut digest) = (seen.seq, seen.digest);
    let mut digests = vec![(last, digest)];
    for row in rows {
        let (next, hash) = row?;
        let hash: Option<[u8; 32]> = hash.and_then(|hash| hash.try_into().ok());
        let (true, Some(hash)) = (next == last + 1, hash) else { return Ok(()) };
        (last, digest) = (next, order::next_hashed(&digest, next, &hash));
        digests.push((last, digest));
    }
    if last + 1 != seq {
        return Ok(());
    }
    db.prepare_cached("DELETE FROM log_digests WHERE chat = ?1 AND seq < ?2")?.execute((chat, seen.seq))?;
    digests.iter().try_for_each(|(seq, digest)| set_digest(db, chat, *seq, digest))
}

fn set_digest(db: &Connection, chat: ChatId, seq: u64, digest: &[u8; 32]) -> Result<(), Error> {
    db.prepare_cached(
        "INSERT INTO log_digests (chat, seq, digest) VALUES (?1, ?2, ?3)
         ON CONFLICT (chat, seq) DO UPDATE SET digest = excluded.digest, hash = NULL",
    )?
    .execute((chat, seq, digest))?;
    Ok(())
}

fn last(db: &Connection, chat: ChatId) -> Result<Option<Last>, Error> {
    let mut query =
        db.prepare_cached("SELECT seq, digest FROM log_digests WHERE chat = ?1 ORDER BY seq DESC LIMIT 1")?;
    let last = query.query_row([chat], |row| Ok(Last { seq: row.get("seq")?, digest: read_digest(row)? }));
    Ok(last.optional()?)
}

fn digest(db: &Connection, chat: ChatId, seq: u64) -> Result<Option<[u8; 32]>, Error> {
    let mut query = db.prepare_cached("SELECT digest FROM log_digests WHERE chat = ?1 AND seq = ?2")?;
    Ok(query.query_row((chat, seq), read_digest).optional()?.flatten())
}

fn read_digest(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<[u8; 32]>> {
    let digest: Option<Vec<u8>> = row.get("digest")?;
    digest.map(|_| super::array(row, "digest")).transpose()
}

/// Remembers that a user was shown another log; false if that is known.
pub(crate) fn doubt(
    db: &Connection,
    chat: ChatId,
    username: &str,
    seq: u64,
    missing: u64,
    now_ms: u64,
) -> Result<bool, Error> {
    let mut insert = db.prepare_cached(
        "INSERT OR IGNORE INTO order_doubts (chat, era, username, seq, missing, noticed_at)
         SELECT chat, era, ?2, ?3, ?4, ?5 FROM chats WHERE chat = ?1",
    )?;
    let missing = missing.min(1 << 52);
    Ok(insert.execute((chat, username, seq, missing, now_ms))? > 0)
}

/// All doubts about present conversations.
pub(crate) fn doubts(db: &Connection) -> Result<Vec<Doubt>, Error> {
    let mut query = db.prepare_cached(
        "SELECT c.name, d.username, d.missing, d.noticed_at FROM order_doubts d JOIN chats c USING (chat, era)
         ORDER BY c.name, d.noticed_at",
    )?;
    let rows = query.query_map([], |row| {
        Ok(Doubt { chat: row.get(0)?, username: row.get(1)?, missing: row.get(2)?, noticed_at: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests;
