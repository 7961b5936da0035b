//! The database file: its making, its version, and how connections to it are set up.
//!
//! Invariants: a file is 0600 from its first byte, a migration happens whole or not at all, and a file that is not
//! ours, damaged or of a newer program is left as it is. It must not know what the tables mean.

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};
use std::{
    ffi::OsString,
    fs::{File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};
use waxwing_protocol::Incarnation;

macro_rules! steps {
    ($($file:literal),* $(,)?) => {
        [$(($file, include_str!(concat!("../../../../migrations/sqlite/", $file, ".sql")))),*]
    };
}

/// In their order; the first makes version 1.
const MIGRATIONS: &[(&str, &str)] = &steps![
    "0001_initial",
    "0002_devices_and_backups",
    "0003_operation",
    "0004_rooms",
    "0005_attachments",
    "0006_waiting",
    "0007_entries_in_order",
    "0008_answers"
];

/// "Waxw", in the file's header.
const APPLICATION_ID: i64 = 0x5761_7877;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The schema is older than this program's (0: none at all), or not finished. [`migrate`] helps.
    #[error("the database has schema version {found}, this program needs {needed}: migrate it first")]
    Unmigrated {
        /// In the file.
        found: usize,
        /// Of this program.
        needed: usize,
    },
    /// The schema is of a newer program.
    #[error("the database has schema version {found}, newer than this program's {known}")]
    Newer {
        /// In the file.
        found: usize,
        /// Of this program.
        known: usize,
    },
    /// A database of another program.
    #[error("the file is a database of another program")]
    Foreign,
    /// Damaged, or no database at all.
    #[error("the file is damaged or not a database: {0}")]
    Damaged(#[source] rusqlite::Error),
    /// Another process, or this one, has it open.
    #[error("the database is in use by another process")]
    InUse,
    /// The file or its folder.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// Any other failure of the database.
    #[error("database: {0}")]
    Database(#[source] rusqlite::Error),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged(error),
            _ => Self::Database(error),
        }
    }
}

/// What [`migrate`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MigrationReport {
    /// The schema's version before; 0 for a new file.
    pub from: usize,
    /// The schema's version now.
    pub to: usize,
}

/// Makes the database, or brings it to this program's schema. Safe to run again, also after it was killed.
///
/// # Errors
/// As [`super::SqliteStore::open`], but for `Unmigrated`.
pub fn migrate(path: &Path) -> Result<MigrationReport, OpenError> {
    let _lock = lock(path)?;
    if !path.try_exists().map_err(OpenError::Io)? {
        private_file(path).map_err(OpenError::Io)?;
    }
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let from = version(&connection)?;
    write_durably(&connection)?;
    step(&mut connection, from)?;
    Ok(MigrationReport { from, to: MIGRATIONS.len() })
}

/// Runs the steps behind version `from`.
fn step(connection: &mut Connection, from: usize) -> Result<(), OpenError> {
    // A table is changed by making it anew, during which others refer to nothing. What counts is how it ends.
    connection.execute_batch("PRAGMA foreign_keys = OFF")?;
    for ((_, sql), to) in MIGRATIONS.iter().zip(1_usize..).skip(from) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        if transaction.prepare("PRAGMA foreign_key_check")?.exists([])? {
            return Err(OpenError::Database(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY),
                Some(format!("rows without what they refer to, in the migration to version {to}")),
            )));
        }
        transaction.pragma_update(None, "user_version", i64::try_from(to).unwrap_or(i64::MAX))?;
        transaction.commit()?;
    }
    let mut incarnation = [0; 16];
    getrandom::fill(&mut incarnation).map_err(|error| OpenError::Io(io::Error::other(error)))?;
    connection.execute("INSERT OR IGNORE INTO server (id, incarnation) VALUES (1, ?1)", [incarnation])?;
    Ok(())
}

/// A new database in this process's memory, which goes with its last connection: its name, its first connection, and its
/// incarnation.
pub(super) fn in_memory() -> Result<(PathBuf, Connection, Incarnation), OpenError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| OpenError::Io(io::Error::other(error)))?;
    let name: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // SQLite's file system in memory; the slash lets the connections of the process share it.
    let path = PathBuf::from(format!("file:/waxwing-{name}?vfs=memdb"));
    let mut connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    write_durably(&connection)?;
    step(&mut connection, 0)?;
    connection.execute_batch("PRAGMA foreign_keys = ON")?;
    let incarnation = connection.query_row("SELECT incarnation FROM server", [], |row| row.get(0))?;
    Ok((path, connection, Incarnation(incarnation)))
}

/// What [`migrate`] would do: the schema's version and the names of the steps that are missing. Changes nothing.
///
/// # Errors
/// As [`super::SqliteStore::open`], but for `Unmigrated`.
pub fn pending(path: &Path) -> Result<(usize, Vec<&'static str>), OpenError> {
    let found = match path.try_exists().map_err(OpenError::Io)? {
        true => version(&connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?)?,
        false => 0,
    };
    Ok((found, MIGRATIONS.iter().skip(found).map(|(name, _)| *name).collect()))
}

/// The writing connection, the database's incarnation, and what keeps others out while it lives.
pub(super) fn open(path: &Path) -> Result<(Connection, Incarnation, Lock), OpenError> {
    path.metadata().map_err(OpenError::Io)?;
    let lock = lock(path)?;
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let (found, needed) = (version(&connection)?, MIGRATIONS.len());
    if found < needed {
        return Err(OpenError::Unmigrated { found, needed });
    }
    write_durably(&connection)?;
    let incarnation = connection.query_row("SELECT incarnation FROM server", [], |row| row.get(0)).optional()?;
    let incarnation = Incarnation(incarnation.ok_or(OpenError::Unmigrated { found, needed })?);
    Ok((connection, incarnation, lock))
}

/// A connection that reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// A connection that only moves pages from the log to the database.
pub(super) fn open_mover(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0")?;
    Ok(connection)
}

/// Moves what can be moved from the log to the database without waiting for anybody.
pub(super) fn checkpoint(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, rusqlite::Error> {
    let in_memory = path.to_str().is_some_and(|path| path.starts_with("file:/waxwing-"));
    let uri = if in_memory { OpenFlags::SQLITE_OPEN_URI } else { OpenFlags::empty() };
    let connection = Connection::open_with_flags(path, access | uri | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // First, since SQLCipher would write to stderr.
    connection.execute_batch("PRAGMA cipher_log_level = NONE; PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF")?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Larger pages mean fewer of them in a transaction. What has tables keeps the size that it has.
fn write_durably(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 4000",
    )
}

/// The schema's version, once it is clear that the file is ours and not too new.
fn version(connection: &Connection) -> Result<usize, OpenError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (version, application) = (number("user_version")?, number("application_id")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let (expected, known) = (if version == 0 { 0 } else { APPLICATION_ID }, MIGRATIONS.len());
    if application != expected || (version == 0) != (tables == 0) {
        return Err(OpenError::Foreign);
    }
    match usize::try_from(version) {
        Ok(found) if found > known => Err(OpenError::Newer { found, known }),
        Ok(found) => Ok(found),
        Err(_) => Err(OpenError::Foreign),
    }
}

/// Makes an empty file that only its owner can read, whatever the umask; `-wal` and `-shm` take their mode from it.
fn private_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Keeps everybody else from the database while it lives.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    /// Closing the file would not do: a process that is just being started may hold a copy of it.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the database's lock file could not be unlocked");
        }
    }
}

/// Locks a file beside the database: closing a handle of the database itself would drop SQLite's own locks on it.
fn lock(path: &Path) -> Result<Lock, OpenError> {
    let mut name = OsString::from(path);
    name.push("-lock");
    let file = match private_file(Path::new(&name)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => OpenOptions::new().write(true).open(&name),
        other => other,
    };
    let file = file.map_err(OpenError::Io)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse),
        Err(TryLockError::Error(error)) => Err(OpenError::Io(error)),
    }
}

/// Makes a copy of a database another life of it, as a restored backup needs: with a new incarnation, without the key packages
/// that may have been given out since, and without the accounts and names of groups and rooms, which go on in others.
///
/// # Errors
/// As [`super::SqliteStore::open`], but for `Unmigrated`.
pub fn renew(path: &Path) -> Result<(), OpenError> {
    let _lock = lock(path)?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    version(&connection)?;
    whole(&connection)?;
    write_durably(&connection)?;
    let mut incarnation = [0; 16];
    getrandom::fill(&mut incarnation).map_err(|error| OpenError::Io(io::Error::other(error)))?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("UPDATE server SET incarnation = ?1", [incarnation])?;
    transaction.execute("DELETE FROM key_package", [])?;
    // Their members make them anew, and need their names for that.
    transaction.execute("DELETE FROM roster WHERE conversation IN (SELECT conversation FROM room)", [])?;
    transaction.execute("UPDATE room SET name = NULL", [])?;
    Ok(transaction.commit()?)
}

/// Whether a file is a whole database of ours; changes nothing.
///
/// # Errors
/// It is damaged, foreign or of a newer program.
pub fn verify(path: &Path) -> Result<(), OpenError> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    version(&connection)?;
    whole(&connection)
}

fn whole(connection: &Connection) -> Result<(), OpenError> {
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    match verdict.as_str() {
        "ok" => Ok(()),
        _ => Err(OpenError::Damaged(rusqlite::Error::InvalidQuery)),
    }
}
