//! Backups of the whole server as one file: database, sealed keys, configuration.
//!
//! Invariants: the database in it is of one moment; a file that has its name is whole; a restored server is another life of
//! its database, in which no key package is given out that may have been given out before. It must not know SQL.

mod archive;
mod chunks;
mod restore;

pub use archive::{Archive, BackupError, Content, Manifest, write};
pub use restore::{Restored, restore};

use crate::{
    install::{Config, Folder},
    store::OperatorStore,
};
use std::{fs, io, path::PathBuf};
use tokio::sync::{Mutex, MutexGuard};

/// The copy of the database, while a backup is being made. It goes with this value.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    _only: MutexGuard<'static, ()>,
}

/// One at a time: there is one place for the copy.
static ONLY: Mutex<()> = Mutex::const_new(());

impl Snapshot {
    /// Takes one, into the server's folder.
    ///
    /// # Errors
    /// The database or the disk.
    pub async fn take(store: &dyn OperatorStore, folder: &Folder) -> Result<Self, BackupError> {
        let only = ONLY.lock().await;
        let path = folder.snapshot();
        Self::remove_left(folder)?;
        // Made here, so that nobody else can read it whatever the database does.
        crate::install::private_file(&path).map_err(|source| BackupError::Io { path: path.clone(), source })?;
        let snapshot = Self { path, _only: only };
        store.copy_to(&snapshot.path).await.map_err(BackupError::Database)?;
        Ok(snapshot)
    }

    /// Removes what a killed backup left.
    ///
    /// # Errors
    /// The disk.
    pub fn remove_left(folder: &Folder) -> Result<(), BackupError> {
        let path = folder.snapshot();
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(BackupError::Io { path, source }),
            _ => Ok(()),
        }
    }

    /// What goes into the archive, in this order.
    pub fn contents(&self, folder: &Folder, config: &Config) -> Vec<(Content, PathBuf)> {
        let database = Content::database(config.database);
        let files = [
            (Content::Config, folder.config()),
            (Content::Secrets, folder.sealed()),
            (Content::Certificate, folder.certificate()),
            (Content::Link, folder.link()),
            (database, self.path.clone()),
        ];
        files.into_iter().filter(|(_, path)| path.exists()).collect()
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
