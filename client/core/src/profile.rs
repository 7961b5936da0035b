//! Where a profile lives on disk and who may open it: its folder, its lock, and the key of its database.
//!
//! The folder holds `history.db` (SQLCipher), `key` (the database's key under the password), `lock`, and, if the user
//! stays logged in, `key.open` (the key itself, mode 0600) or `key.keyring` (the name it has in the system's keyring).
//! One process at a time holds a profile. This module knows nothing of what the database contains.

use crate::Error;
use etcetera::{BaseStrategy, base_strategy::Xdg};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use waxwing_e2ee::local::{self, LocalError, LocalKey};
use zeroize::Zeroizing;

/// A profile's folder; it may not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfilePath {
    name: String,
    folder: PathBuf,
}

/// Where the key of the local database is kept between starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// In the system's keyring.
    Keyring,
    /// In this file (mode 0600).
    File(PathBuf),
    /// Nowhere: the password is asked at each start.
    No,
}

/// Proof that this process holds the profile; released on drop.
#[derive(Debug)]
pub(crate) struct ProfileLock(#[expect(dead_code, reason = "held for its lock")] File);

impl ProfilePath {
    /// Finds the folder: `data_dir`, else `WAXWING_DATA_DIR`, else the XDG data folder; in it the profile's own.
    /// The default name is `default`.
    pub fn resolve(data_dir: Option<PathBuf>, name: Option<&str>) -> Result<Self, Error> {
        let name = name.unwrap_or("default");
        let usable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(usable) {
            return Err(Error::BadProfileName(name.to_owned()));
        }
        let root = match data_dir.or_else(|| std::env::var_os("WAXWING_DATA_DIR").map(PathBuf::from)) {
            Some(root) => root,
            None => Xdg::new().map_err(|error| Error::Storage(error.to_string()))?.data_dir().join("waxwing"),
        };
        Ok(Self { name: name.to_owned(), folder: root.join(name) })
    }

    /// The profile's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The profile's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether there is an account in it.
    pub fn exists(&self) -> bool {
        self.database().exists()
    }

    /// Whether opening it takes the password: false if the user stays logged in.
    pub fn needs_password(&self) -> bool {
        !self.folder.join("key.open").exists() && !self.folder.join("key.keyring").exists()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.join("history.db")
    }

    /// The place where a new profile is built before it takes its name: a killed sign-up leaves no half profile.
    pub(crate) fn workshop(&self) -> Result<(Self, ProfileLock), Error> {
        let parent = self.folder.parent().unwrap_or(Path::new("."));
        make_folder(parent)?;
        let lock = lock(&parent.join(format!(".{}.lock", self.name)), &self.name)?;
        if self.exists() {
            return Err(Error::ProfileExists(self.name.clone()));
        }
        if fs::read_dir(&self.folder).is_ok_and(|mut entries| entries.next().is_some()) {
            let folder = self.folder.display();
            return Err(Error::BadInput(format!("the folder {folder} is not empty and holds no profile")));
        }
        let workshop = Self { name: self.name.clone(), folder: parent.join(format!(".{}.new", self.name)) };
        match fs::remove_dir_all(&workshop.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(storage(&error)),
            _ => {}
        }
        make_folder(&workshop.folder)?;
        Ok((workshop, lock))
    }

    /// Gives the finished workshop the profile's name.
    pub(crate) fn take(&self, workshop: &Self) -> Result<(), Error> {
        File::open(&workshop.folder).and_then(|folder| folder.sync_all()).map_err(|error| storage(&error))?;
        fs::rename(&workshop.folder, &self.folder).map_err(|error| storage(&error))?;
        if let Some(parent) = self.folder.parent() {
            File::open(parent).and_then(|folder| folder.sync_all()).map_err(|error| storage(&error))?;
        }
        Ok(())
    }

    /// Holds the profile for this process.
    pub(crate) fn lock(&self) -> Result<ProfileLock, Error> {
        lock(&self.folder.join("lock"), &self.name)
    }

    /// Whether another process holds the profile at this moment.
    pub fn is_held(&self) -> Result<bool, Error> {
        match self.lock() {
            Ok(_) => Ok(false),
            Err(Error::ProfileInUse(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Forgets the key that was kept for the next start: from now on opening takes the password. Says whether one was
    /// kept.
    pub fn forget(&self) -> Result<bool, Error> {
        let (open, named) = (self.folder.join("key.open"), self.folder.join("key.keyring"));
        let mut forgotten = false;
        if let Ok(length) = fs::metadata(&open).map(|file| file.len()) {
            // Best effort: a file system may well have written the bytes elsewhere too.
            let wiped = OpenOptions::new().write(true).open(&open).and_then(|mut file| {
                file.write_all(&vec![0; length.min(4096) as usize])?;
                file.sync_all()
            });
            drop(wiped);
            remove(&open)?;
            forgotten = true;
        }
        if let Ok(name) = fs::read_to_string(&named) {
            if !keyring_delete(&name) {
                let trouble = "the system's keyring does not answer, so the key is still in it";
                return Err(Error::Storage(trouble.into()));
            }
            remove(&named)?;
            forgotten = true;
        }
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(|error| storage(&error))?;
        Ok(forgotten)
    }

    /// Where the key for the next start is kept, as far as the folder says.
    pub fn remembering(&self) -> Remembered {
        let open = self.folder.join("key.open");
        match (open.exists(), self.folder.join("key.keyring").exists()) {
            (true, _) => Remembered::File(open),
            (false, true) => Remembered::Keyring,
            (false, false) => Remembered::No,
        }
    }

    /// Gives the folder of a profile that cannot be read another name, so that a new one can have its name; says which.
    pub fn set_aside(&self) -> Result<PathBuf, Error> {
        let _lock = self.lock()?;
        let parent = self.folder.parent().unwrap_or(Path::new("."));
        let names = (1..).map(|number| parent.join(format!("{}.damaged-{number}", self.name)));
        let aside = names.into_iter().find(|folder| !folder.exists()).unwrap_or_default();
        fs::rename(&self.folder, &aside).map_err(|error| storage(&error))?;
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(|error| storage(&error))?;
        Ok(aside)
    }

    /// Checks the password, and keeps the key for the next starts if that is wanted.
    pub async fn check(&self, password: Zeroizing<String>, remember: bool) -> Result<Remembered, Error> {
        let profile = self.clone();
        crate::account::blocking(move || {
            let key = profile.unlock(&password)?;
            if !remember {
                return Ok(Remembered::No);
            }
            profile.forget()?;
            profile.remember(&key, &profile)
        })
        .await?
    }

    /// Writes the database's key under the password.
    pub(crate) fn store_key(&self, key: &LocalKey, password: &str) -> Result<(), Error> {
        let wrapped = local::wrap(key, password, &mut crate::random()).map_err(|error| local_error(&error))?;
        write_secret(&self.folder.join("key"), &wrapped)
    }

    /// Writes the key anew under another password, in place of the old file: one of the two is always there.
    pub(crate) fn replace_key(&self, key: &LocalKey, password: &str) -> Result<(), Error> {
        let wrapped = local::wrap(key, password, &mut crate::random()).map_err(|error| local_error(&error))?;
        let new = self.folder.join("key.new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(storage(&error)),
            _ => {}
        }
        write_secret(&new, &wrapped)?;
        fs::rename(&new, self.folder.join("key")).map_err(|error| storage(&error))?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(|error| storage(&error))
    }

    /// The key, with the password.
    pub(crate) fn unlock(&self, password: &str) -> Result<LocalKey, Error> {
        let file = self.folder.join("key");
        let wrapped = fs::read(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::NoProfile(self.name.clone()),
            _ => storage(&error),
        })?;
        local::unwrap(&wrapped, password).map_err(|error| local_error(&error))
    }

    /// Keeps the key for the next start: in the keyring if there is one, else in a file.
    ///
    /// `home` is the profile's final folder, for a profile that still is in its workshop.
    pub(crate) fn remember(&self, key: &LocalKey, home: &Self) -> Result<Remembered, Error> {
        let name = home.folder.to_string_lossy().into_owned();
        if keyring_store(&name, key) {
            write_secret(&self.folder.join("key.keyring"), name.as_bytes())?;
            return Ok(Remembered::Keyring);
        }
        write_secret(&self.folder.join("key.open"), key.as_bytes())?;
        Ok(Remembered::File(home.folder.join("key.open")))
    }

    /// The key, if the user stayed logged in.
    pub(crate) fn remembered(&self) -> Result<LocalKey, Error> {
        if let Ok(bytes) = fs::read(self.folder.join("key.open")).map(Zeroizing::new) {
            let damaged = || Error::Storage("the file 'key.open' is damaged; delete it and give the password".into());
            let bytes: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| damaged())?;
            return Ok(LocalKey::from_bytes(bytes));
        }
        let name = fs::read_to_string(self.folder.join("key.keyring")).map_err(|_| Error::Locked)?;
        keyring_load(&name).ok_or(Error::Locked)
    }
}

// The keyring's client runs an executor of its own and must not do so on a thread that runs ours.
#[cfg(feature = "keyring")]
fn keyring_store(name: &str, key: &LocalKey) -> bool {
    std::thread::scope(|scope| {
        let entry = || keyring::Entry::new("waxwing", name)?.set_secret(key.as_bytes());
        scope.spawn(move || entry().is_ok()).join().unwrap_or(false)
    })
}

#[cfg(feature = "keyring")]
fn keyring_load(name: &str) -> Option<LocalKey> {
    std::thread::scope(|scope| {
        let entry = || keyring::Entry::new("waxwing", name)?.get_secret();
        let secret = scope.spawn(move || entry().map(Zeroizing::new)).join().ok()?.ok()?;
        secret.as_slice().try_into().ok().map(LocalKey::from_bytes)
    })
}

/// Whether the keyring holds no such key any more.
#[cfg(feature = "keyring")]
fn keyring_delete(name: &str) -> bool {
    std::thread::scope(|scope| {
        let entry = || match keyring::Entry::new("waxwing", name)?.delete_credential() {
            Err(keyring::Error::NoEntry) => Ok(()),
            deleted => deleted,
        };
        scope.spawn(move || entry().is_ok()).join().unwrap_or(false)
    })
}

#[cfg(not(feature = "keyring"))]
fn keyring_store(_: &str, _: &LocalKey) -> bool {
    false
}

#[cfg(not(feature = "keyring"))]
fn keyring_load(_: &str) -> Option<LocalKey> {
    None
}

#[cfg(not(feature = "keyring"))]
fn keyring_delete(_: &str) -> bool {
    false
}

fn lock(path: &Path, name: &str) -> Result<ProfileLock, Error> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path).map_err(|error| storage(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(ProfileLock(file)),
        Err(fs::TryLockError::WouldBlock) => Err(Error::ProfileInUse(name.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(storage(&error)),
    }
}

fn make_folder(folder: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| storage(&error))
}

fn remove(file: &Path) -> Result<(), Error> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(storage(&error)),
        _ => Ok(()),
    }
}

fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error: std::io::Error| storage(&error))
}

pub(crate) fn storage(error: &std::io::Error) -> Error {
    Error::Storage(error.to_string())
}

fn local_error(error: &LocalError) -> Error {
    match error {
        LocalError::WrongPassword => Error::WrongPassword,
        LocalError::Newer => Error::NewerProfile,
        other => Error::Storage(other.to_string()),
    }
}
