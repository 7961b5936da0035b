//! A backup becomes a server's folder again.
//!
//! Invariants: the folder appears under its name when it is whole, and never over anything; whatever is killed half-way is
//! begun anew by the next run. It must not know what is in the database.

use super::{Archive, BackupError, Content};
use crate::{
    install::{Config, Database, Folder, InstallError, Installation, MysqlSettings, database, private_file, seal},
    store::sqlite,
};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};
use waxwing_protocol::Link;
use zeroize::Zeroizing;

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// When the backup was made (RFC 3339).
    pub created_at: String,
    /// The server's link.
    pub link: Link,
    /// Which database.
    pub database: Database,
}

/// Restores into a folder that is missing or empty. `mysql` takes the place of the database that the backup's configuration
/// names.
///
/// # Errors
/// The backup is not whole, the password is not its server's, the folder or the schema is in use.
pub async fn restore(
    from: &Path,
    to: &Folder,
    password: &Zeroizing<String>,
    mysql: Option<(MysqlSettings, Option<Zeroizing<String>>)>,
) -> Result<Restored, BackupError> {
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::Io { path, source }
    };
    vacant(to.path())?;
    let building = Folder::new(building(to.path())?);
    match fs::remove_dir_all(building.path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(building.path())(error)),
        _ => {}
    }
    building.create()?;
    let _unless_settled = Leftover(building.path().to_owned());
    let dump = building.path().join("dump");
    let attachments = building.attachments();
    std::fs::DirBuilder::new().mode(0o700).create(&attachments).map_err(io_error(&attachments))?;
    let placed = |content| {
        let path = match content {
            Content::Config => building.config(),
            Content::Secrets => building.sealed(),
            Content::Certificate => building.certificate(),
            Content::Link => building.link(),
            Content::Sqlite => building.database(),
            Content::Mysql => dump.clone(),
        };
        private_file(&path).map_err(io_error(&path))
    };
    let manifest = Archive::new(from).read(placed, Some(&attachments))?;
    let mut config = building
        .config_file()?
        .ok_or_else(|| InstallError::Incomplete { folder: building.path().to_owned(), file: building.config() })?;
    let mut installation = Installation::open(building.clone(), config.clone(), password)?;
    if let Some((settings, given)) = mysql {
        config.mysql = settings;
        installation.secrets.database_password = given.map(|password| password.as_str().to_owned());
        let sealed = seal(&installation.secrets, password);
        let sealed = sealed.map_err(|reason| InstallError::Sealed { file: building.sealed(), reason })?;
        building.write(&building.sealed(), &sealed)?;
        building.write(&building.config(), config.render().as_bytes())?;
    }
    let kind = manifest.database().unwrap_or(config.database);
    match kind {
        Database::Sqlite => {
            let failed = |error| BackupError::Install(database::from_sqlite(&building, error));
            sqlite::renew(&building.database()).map_err(failed)?;
        }
        Database::Mysql => {
            let source = File::open(&dump).map_err(io_error(&dump))?;
            let database_password = installation.secrets.database_password.as_deref();
            database::load(&building, &config, database_password, source).await?;
            fs::remove_file(&dump).map_err(io_error(&dump))?;
        }
    }
    let database_password = installation.secrets.database_password.as_deref();
    database::migrate(&building, &config, database_password).await?;
    settle(&building, to).map_err(io_error(to.path()))?;
    Ok(Restored { created_at: manifest.created_at, link: link(&config, &installation), database: kind })
}

/// What is built goes, keys and all, unless it got its name.
struct Leftover(PathBuf);

impl Drop for Leftover {
    fn drop(&mut self) {
        // After the renaming there is none.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn link(config: &Config, installation: &Installation) -> Link {
    Link { addresses: config.addresses(), pin: installation.pin, invite: None }
}

/// Nothing may be there.
fn vacant(path: &Path) -> Result<(), BackupError> {
    match fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(BackupError::Occupied(path.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(BackupError::Io { path: path.to_owned(), source }),
    }
}

/// Where the folder is built: beside its place, so that the last step is a renaming.
fn building(path: &Path) -> Result<PathBuf, BackupError> {
    let absolute = std::path::absolute(path).map_err(|source| BackupError::Io { path: path.to_owned(), source })?;
    let name = absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(absolute.with_file_name(format!(".{name}.restoring")))
}

/// On disk, and under its name.
fn settle(building: &Folder, to: &Folder) -> io::Result<()> {
    for entry in fs::read_dir(building.path())? {
        File::open(entry?.path())?.sync_all()?;
    }
    File::open(building.path())?.sync_all()?;
    // An empty folder gives way; one that is not, does not.
    fs::rename(building.path(), std::path::absolute(to.path())?)?;
    let parent = std::path::absolute(to.path())?;
    File::open(parent.parent().unwrap_or(Path::new("/")))?.sync_all()
}
