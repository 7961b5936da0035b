//! The profile's encrypted database: opening it, its schema, and its tables (one file each).
//!
//! Every function takes the connection of the caller's transaction, so that MLS state and rows commit together. It knows
//! the tables; what their blobs mean is others' business.

pub(crate) mod backup;
pub(crate) mod changes;
pub(crate) mod chats;
pub(crate) mod commits;
pub(crate) mod contacts;
pub(crate) mod coverage;
pub(crate) mod files;
pub(crate) mod gaps;
pub(crate) mod groups;
pub(crate) mod join_requests;
pub(crate) mod messages;
pub(crate) mod order;
pub(crate) mod outbox;
pub(crate) mod own;
pub(crate) mod settings;
pub(crate) mod successions;
pub(crate) mod words;

use crate::Error;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, path::Path};
use waxwing_crash::crash_point;
use waxwing_e2ee::{local::LocalKey, mls};
use zeroize::Zeroizing;

const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/client/0001_profile.sql"),
    include_str!("../../../migrations/client/0002_membership.sql"),
    include_str!("../../../migrations/client/0003_backup.sql"),
    include_str!("../../../migrations/client/0004_trust.sql"),
    include_str!("../../../migrations/client/0005_read_positions.sql"),
    include_str!("../../../migrations/client/0006_order.sql"),
    include_str!("../../../migrations/client/0007_messages.sql"),
    include_str!("../../../migrations/client/0008_door.sql"),
    include_str!("../../../migrations/client/0009_search.sql"),
    include_str!("../../../migrations/client/0010_groups.sql"),
    include_str!("../../../migrations/client/0011_enrolment.sql"),
    include_str!("../../../migrations/client/0012_files.sql"),
    include_str!("../../../migrations/client/0013_media.sql"),
    include_str!("../../../migrations/client/0014_message_ids.sql"),
    include_str!("../../../migrations/client/0015_successions.sql"),
    include_str!("../../../migrations/client/0016_search_days.sql"),
    include_str!("../../../migrations/client/0017_read_marks.sql"),
];

/// Opens the database, made anew if there is none, and brings its schema up to date.
pub(crate) fn open(path: &Path, key: &LocalKey) -> Result<Connection, Error> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| crate::profile::storage(&error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    prepare(Connection::open_with_flags(path, flags)?, key)
}

/// A database with the same tables that is gone when it is closed.
pub(crate) fn open_in_memory(key: &LocalKey) -> Result<Connection, Error> {
    prepare(Connection::open_in_memory()?, key)
}

/// As [`open`], but what is written can be read in the file.
#[cfg(test)]
pub(crate) fn open_unencrypted(path: &Path) -> Result<Connection, Error> {
    furnish(Connection::open(path)?)
}

fn prepare(db: Connection, key: &LocalKey) -> Result<Connection, Error> {
    // SQLCipher would write its complaints to stderr.
    db.execute_batch("PRAGMA cipher_log_level = NONE;")?;
    let mut pragma = Zeroizing::new(String::with_capacity(96));
    pragma.push_str("PRAGMA key = \"x'");
    for byte in key.as_bytes() {
        use std::fmt::Write;
        let _ = write!(pragma, "{byte:02x}");
    }
    pragma.push_str("'\";");
    db.execute_batch(&pragma)?;
    furnish(db)
}

/// The settings and the tables.
fn furnish(mut db: Connection) -> Result<Connection, Error> {
    // FULL: the server deletes what we acknowledge. secure_delete: used secrets must not linger in free pages.
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
         PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA busy_timeout = 5000;",
    )?;
    migrate(&mut db)?;
    if let Err(error) = mls::migrate(&mut db) {
        // What it says of a damaged page is hard to tell from all else.
        examine(&db)?;
        return Err(Error::Storage(error.to_string()));
    }
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// Reads every page: each carries a code that proves that it is as it was written.
pub(crate) fn examine(db: &Connection) -> Result<(), Error> {
    let mut check = db.prepare("PRAGMA cipher_integrity_check")?;
    let damaged = check.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    match damaged.first() {
        Some(first) => Err(Error::Damaged(first.clone())),
        None => Ok(()),
    }
}

fn migrate(db: &mut Connection) -> Result<(), Error> {
    let version: usize = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > MIGRATIONS.len() {
        return Err(Error::NewerProfile);
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        let tx = db.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        tx.execute_batch(migration)?;
        tx.pragma_update(None, "user_version", index + 1)?;
        tx.commit()?;
    }
    Ok(())
}

/// Runs `work` in one transaction: committed if it returns `Ok`, rolled back otherwise.
pub(crate) fn in_transaction<T, E: From<rusqlite::Error>>(
    db: &mut Connection,
    work: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = work(&tx)?;
    tx.commit()?;
    Ok(value)
}

/// The same for a step of sending or receiving: tests let the client die right before and right after its commit.
pub(crate) fn step<T, E: From<rusqlite::Error>>(
    name: &str,
    db: &mut Connection,
    work: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    let done = in_transaction(db, |tx| work(tx).inspect(|_| crash_point(name, "before")));
    done.inspect(|_| crash_point(name, "after"))
}

/// Moves everything out of the write-ahead log, whose old frames may hold secrets that were deleted since.
pub(crate) fn checkpoint(db: &Connection) -> Result<(), Error> {
    Ok(db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&rusqlite::Error> for Error {
    fn from(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => Self::Damaged("'history.db' is no database of this key".into()),
            Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
                Self::Damaged("a page of 'history.db' is not as it was written".into())
            }
            Some(rusqlite::ErrorCode::DiskFull) => Self::Storage("the disk is full".into()),
            _ => Self::Storage(error.to_string()),
        }
    }
}

/// A column that must be an id of `N` bytes.
pub(crate) fn array<const N: usize>(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<[u8; N]> {
    let blob: Vec<u8> = row.get(column)?;
    blob.try_into().map_err(|blob: Vec<u8>| {
        let kind = rusqlite::types::Type::Blob;
        rusqlite::Error::FromSqlConversionFailure(0, kind, format!("{column}: {} bytes", blob.len()).into())
    })
}

#[cfg(test)]
mod tests;
