//! The folder itself: its paths, modes, atomic writes and lock.
//!
//! Invariants: files are 0600 and folders 0700 whatever the umask; a reader sees the old or the new content of a file and
//! nothing between. It must not know what the files mean.

use super::InstallError;
use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// A server's folder, existing or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

/// Held while a process uses the folder; freed by the system when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Folder {
    /// The folder at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `config.toml`: everything that is not secret.
    pub fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// `secrets.sealed`: the private key, the data key, the passwords; sealed under the server's password.
    pub fn sealed(&self) -> PathBuf {
        self.0.join("secrets.sealed")
    }

    /// `identity.crt`: the server's certificate, for whoever wants to look at it.
    pub fn certificate(&self) -> PathBuf {
        self.0.join("identity.crt")
    }

    /// `link.txt`: the server's link. It is written last: where it is, the set-up was finished.
    pub fn link(&self) -> PathBuf {
        self.0.join("link.txt")
    }

    /// `invite.txt`: the link with the first invite.
    pub fn invite(&self) -> PathBuf {
        self.0.join("invite.txt")
    }

    /// `admin.sock`: where the running server listens to its operator's commands.
    pub fn admin_socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    /// `snapshot.tmp`: the copy of the database while a backup is being made.
    pub fn snapshot(&self) -> PathBuf {
        self.0.join("snapshot.tmp")
    }

    /// `waxwing.db`: the embedded database, if that is the one in use.
    pub fn database(&self) -> PathBuf {
        self.0.join("waxwing.db")
    }

    /// `attachments`: the files that people send each other, sealed by their clients.
    pub fn attachments(&self) -> PathBuf {
        self.0.join("attachments")
    }

    /// Where a server's folder goes if nobody says otherwise: `$XDG_DATA_HOME/waxwing-server`, usually in `~/.local/share`.
    pub fn usual(environment: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let set = |name: &str| environment(name).filter(|value| Path::new(value).is_absolute());
        let data = set("XDG_DATA_HOME").map(PathBuf::from);
        let data = data.or_else(|| set("HOME").map(|home| Path::new(&home).join(".local/share")));
        data.map(|data| Self(data.join("waxwing-server")))
    }

    fn lock_file(&self) -> PathBuf {
        self.0.join("lock")
    }

    pub(super) fn incomplete(&self, file: &Path) -> InstallError {
        InstallError::Incomplete { folder: self.0.clone(), file: file.to_owned() }
    }

    /// Creates the folder with its parents, or takes an existing one that nobody else can look into, or an empty one.
    /// Returns whether it is new.
    pub fn create(&self) -> Result<bool, InstallError> {
        let path = &self.0;
        let new = match fs::metadata(path) {
            Ok(found) if !found.is_dir() => return Err(InstallError::NotAFolder(path.clone())),
            Ok(found) => {
                let open_to_others = found.permissions().mode() & 0o077 != 0;
                let mut entries = fs::read_dir(path).map_err(io_error("read", path))?;
                if open_to_others && entries.next().is_some() {
                    return Err(InstallError::FolderInUse(path.clone()));
                }
                false
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path);
                made.map_err(io_error("create", path))?;
                if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                    sync_folder(parent)?;
                }
                true
            }
            Err(source) => return Err(InstallError::Io { action: "read", path: path.clone(), source }),
        };
        fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE)).map_err(io_error("protect", path))?;
        Ok(new)
    }

    /// Checks that the folder is there and that neither it nor a secret in it is open to others.
    pub fn verify(&self) -> Result<(), InstallError> {
        match fs::metadata(&self.0) {
            Ok(found) if found.is_dir() => private(&self.0, found.permissions().mode(), FOLDER_MODE)?,
            Ok(_) => return Err(InstallError::NotAFolder(self.0.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(InstallError::FolderMissing(self.0.clone()));
            }
            Err(source) => return Err(InstallError::Io { action: "read", path: self.0.clone(), source }),
        }
        let database = self.database();
        let companions = ["-wal", "-shm"].map(|suffix| {
            let mut name = database.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        });
        for path in [self.sealed(), self.config(), self.invite(), database].into_iter().chain(companions) {
            match fs::metadata(&path) {
                Ok(found) => private(&path, found.permissions().mode(), FILE_MODE)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(InstallError::Io { action: "read", path, source }),
            }
        }
        Ok(())
    }

    /// A file's content; none if there is no such file.
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, InstallError> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(InstallError::Io { action: "read", path: path.to_owned(), source }),
        }
    }

    /// Writes a file of this folder whole, replacing what was there. The caller holds the [`Lock`].
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<(), InstallError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let temporary = PathBuf::from(name);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("replace", &temporary)(error));
            }
            _ => {}
        }
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&temporary)?;
            file.set_permissions(Permissions::from_mode(FILE_MODE))?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        };
        write().map_err(io_error("write", path))?;
        sync_folder(&self.0)
    }

    /// Takes the folder for this process, or says who has it.
    pub fn lock(&self) -> Result<Lock, InstallError> {
        self.take(self.lock_file())
    }

    /// Takes the right to replace the sealed secrets, beside a running server too.
    pub fn lock_secrets(&self) -> Result<Lock, InstallError> {
        self.take(self.0.join("secrets.lock"))
    }

    fn take(&self, path: PathBuf) -> Result<Lock, InstallError> {
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(&path);
        let mut file = open.map_err(io_error("open", &path))?;
        match file.try_lock() {
            Ok(()) => {
                let mut note = || {
                    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
                    file.set_len(0)?;
                    writeln!(file, "{}", std::process::id())
                };
                note().map_err(io_error("write", &path))?;
                Ok(Lock(file))
            }
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = file.take(20).read_to_string(&mut pid).is_ok();
                let pid = pid.trim().to_owned();
                let pid =
                    Some(pid).filter(|pid| read && !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()));
                Err(InstallError::Locked { folder: self.0.clone(), pid: pid.map(|pid| format!("process {pid}")) })
            }
            Err(TryLockError::Error(source)) => Err(InstallError::Io { action: "lock", path, source }),
        }
    }
}

/// Makes an empty file that only its owner can read, whatever the umask; none may be there.
///
/// # Errors
/// One is there, or the folder cannot be written.
pub fn private_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    Ok(file)
}

pub(super) fn private(path: &Path, mode: u32, wanted: u32) -> Result<(), InstallError> {
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(InstallError::Exposed { path: path.to_owned(), mode: mode & 0o777, wanted }),
    }
}

fn sync_folder(path: &Path) -> Result<(), InstallError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io_error("sync", path))
}

fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::Io { action, path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn writing_replaces_whole_files_and_leaves_no_others() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path().join("a/b"));
        assert!(folder.create().unwrap());
        assert!(!folder.create().unwrap());
        // What a kill between writing and renaming leaves.
        fs::write(folder.path().join("config.toml.new"), "half").unwrap();
        folder.write(&folder.config(), b"one").unwrap();
        folder.write(&folder.config(), b"two").unwrap();
        assert_eq!(fs::read(folder.config()).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!((mode(folder.path()), mode(&folder.config())), (0o700, 0o600));
        folder.verify().unwrap();
    }

    #[test]
    fn secrets_that_others_can_read_are_refused_with_the_cure() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path().join("server"));
        folder.create().unwrap();
        folder.write(&folder.sealed(), b"x").unwrap();
        fs::set_permissions(folder.sealed(), Permissions::from_mode(0o640)).unwrap();
        let error = folder.verify().unwrap_err();
        assert!(error.next().starts_with("run: chmod 600 "), "{}", error.next());
        fs::set_permissions(folder.sealed(), Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        assert!(folder.verify().unwrap_err().next().starts_with("run: chmod 700 "));
        assert!(matches!(folder.create(), Err(InstallError::FolderInUse(_))));
    }

    #[test]
    fn the_second_process_is_told_who_has_the_folder() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path().join("server"));
        folder.create().unwrap();
        let held = folder.lock().unwrap();
        let told = folder.lock().unwrap_err().to_string();
        assert!(told.contains(&std::process::id().to_string()), "{told}");
        drop(held);
        folder.lock().unwrap();
    }
}
