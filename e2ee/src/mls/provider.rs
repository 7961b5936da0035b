//! What openmls needs from us: cryptography, randomness and a place for its state, the caller's transaction.
//!
//! The invariant: a step that fails leaves no trace in the transaction, and a failure of the database is never taken for
//! a fault of what a peer sent. This module must not know groups.

use super::{
    MlsError,
    group::kept,
    storage::{Cbor, Storage},
};
use openmls_rust_crypto::RustCrypto;
use openmls_sqlite_storage::SqliteStorageProvider;
use openmls_traits::OpenMlsProvider;
use rusqlite::Connection;
use std::fmt;

/// Makes the tables of openmls, or brings them up to date. It runs its own transaction.
///
/// # Errors
/// [`MlsError::Migration`].
pub fn migrate(db: &mut Connection) -> Result<(), MlsError> {
    let migrated = SqliteStorageProvider::<Cbor, _>::new(&mut *db).run_migrations();
    migrated.map_err(|error| MlsError::Migration(Box::new(error)))?;
    kept::migrate(db).map_err(|error| MlsError::Migration(Box::new(error)))
}

/// Deletes all groups and keys: the device that they were of is none any more. `tx` is an open transaction.
///
/// # Errors
/// [`MlsError::Database`].
pub fn forget(tx: &Connection) -> Result<(), MlsError> {
    let tables: Vec<String> = tx
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'openmls_sqlite_storage_migrations'
             AND (name GLOB 'openmls_*' OR name GLOB 'vc_*' OR name GLOB 'registered_vc_*')",
        )?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    // Some of them refer to each other.
    tx.execute_batch("PRAGMA defer_foreign_keys = ON;")?;
    for table in tables {
        tx.execute(&format!("DELETE FROM \"{table}\""), [])?;
    }
    Ok(())
}

/// Runs `work` so that an error undoes what it wrote in the open transaction, and nothing else. May be nested.
///
/// # Errors
/// Those of `work`; those of the database if the undoing itself fails, and then the transaction is lost.
pub fn savepoint<T, E: From<rusqlite::Error>>(tx: &Connection, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    tx.prepare_cached("SAVEPOINT step")?.execute([])?;
    let outcome = work();
    if outcome.is_err() {
        tx.prepare_cached("ROLLBACK TO step")?.execute([])?;
    }
    tx.prepare_cached("RELEASE step")?.execute([])?;
    outcome
}

/// MLS within one transaction: all state that groups write joins it.
pub struct Mls<'tx> {
    tx: &'tx Connection,
    provider: Provider<'tx>,
}

impl<'tx> Mls<'tx> {
    /// `tx` is an open transaction (a `Transaction` derefs to `Connection`).
    pub fn new(tx: &'tx Connection) -> Self {
        Self { tx, provider: Provider { crypto: RustCrypto::default(), storage: Storage::new(tx) } }
    }

    pub(super) fn provider(&self) -> &Provider<'tx> {
        &self.provider
    }

    pub(super) fn tx(&self) -> &'tx Connection {
        self.tx
    }

    /// As [`Mls::step`], but message secrets are not written; also returns whether any were to be.
    pub(super) fn step_without_message_secrets<T>(
        &self,
        work: impl FnOnce(&Provider<'tx>) -> Result<T, MlsError>,
    ) -> (Result<T, MlsError>, bool) {
        self.provider.storage.skip_message_secrets(|| self.step(work))
    }

    /// Undoes the whole transaction.
    pub(super) fn roll_back(&self) {
        // If this fails there is no transaction, or SQLite has ended it by itself.
        let _ = self.tx.execute_batch("ROLLBACK");
    }

    /// One step of MLS: whole or not at all. A failure of the database outweighs what openmls made of it.
    pub(super) fn step<T>(&self, work: impl FnOnce(&Provider<'tx>) -> Result<T, MlsError>) -> Result<T, MlsError> {
        savepoint(self.tx, || {
            let outcome = work(&self.provider);
            match self.provider.storage.take_failure() {
                Some(failure) => Err(MlsError::Database(failure)),
                None => outcome,
            }
        })
    }
}

impl fmt::Debug for Mls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mls").finish_non_exhaustive()
    }
}

/// What openmls calls a provider.
pub(super) struct Provider<'tx> {
    crypto: RustCrypto,
    storage: Storage<'tx>,
}

impl<'tx> OpenMlsProvider for Provider<'tx> {
    type CryptoProvider = RustCrypto;
    type RandProvider = RustCrypto;
    type StorageProvider = Storage<'tx>;

    fn storage(&self) -> &Storage<'tx> {
        &self.storage
    }

    fn crypto(&self) -> &RustCrypto {
        &self.crypto
    }

    fn rand(&self) -> &RustCrypto {
        &self.crypto
    }
}
