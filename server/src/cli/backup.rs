//! `waxwing-server backup …`: making, checking and restoring backups of the whole server.
//!
//! Invariant: a backup has its name only once it was read back whole. It must not know what is in it.

use super::{
    Common, Failure, block_on,
    operate::{ask_for_backup, directly_with},
    print::{line, print_json, size},
};
use crate::{
    admin,
    backup::{self, Archive, BackupError, Content, Manifest, Snapshot},
    install::{Folder, MysqlSettings, password, private_file},
    store::{mysql, sqlite},
};
use clap::{Args, Subcommand};
use serde_json::json;
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(Subcommand)]
pub(super) enum BackupCommand {
    /// Write a backup of database, keys and configuration into one file, while the server runs or not.
    Create(Create),
    /// Read a backup through: is it whole, and is the database in it?
    Verify(Verify),
    /// Make a server's folder out of a backup; the folder must be missing or empty.
    Restore(Restore),
}

#[derive(Args)]
pub(super) struct Create {
    #[command(flatten)]
    common: Common,
    /// The file to write. One that is there is replaced once the new one is whole.
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
}

#[derive(Args)]
pub(super) struct Verify {
    /// The backup.
    path: PathBuf,
    /// Answers and errors as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Restore {
    /// The backup.
    #[arg(long, value_name = "PATH")]
    from: PathBuf,
    /// A file with mysql://user:password@host:port/schema: restore the rows there, and not where the backup's
    /// configuration says.
    #[arg(long, value_name = "FILE")]
    database_url_file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

impl BackupCommand {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Create(create) => create.common.json,
            Self::Verify(verify) => verify.json,
            Self::Restore(restore) => restore.common.json,
        }
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let message = error.to_string();
        match error {
            BackupError::Install(error) => error.into(),
            BackupError::Io { .. } => Self::user("file", message, "check the path, its rights and the free space"),
            BackupError::Damaged { .. } => Self::user("damaged", message, "use another backup"),
            BackupError::Newer { .. } => {
                Self::user("newer-version", message, "use the version of Waxwing that made it, or a later one")
            }
            BackupError::Occupied(_) => {
                let next = "name a folder that is missing or empty with --dir; nothing is ever overwritten";
                Self::user("folder-in-use", message, next)
            }
            BackupError::Database(_) => Self::unexpected(message),
        }
    }
}

pub(super) fn backup(command: &BackupCommand) -> Result<ExitCode, Failure> {
    match command {
        BackupCommand::Create(command) => create(command)?,
        BackupCommand::Verify(command) => verify(command)?,
        BackupCommand::Restore(command) => restore(command)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The file under its temporary name; removed unless it is kept.
struct Temporary(Option<PathBuf>);

impl Temporary {
    fn beside(path: &Path, suffix: &str) -> Result<(Self, File), BackupError> {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let temporary = PathBuf::from(name);
        let failed = |source| BackupError::Io { path: path.to_owned(), source };
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let file = private_file(&temporary).map_err(failed)?;
        Ok((Self(Some(temporary)), file))
    }

    fn path(&self) -> &Path {
        self.0.as_deref().unwrap_or(Path::new(""))
    }

    fn keep_as(mut self, path: &Path) -> io::Result<()> {
        if let Some(temporary) = &self.0 {
            fs::rename(temporary, path)?;
            self.0 = None;
        }
        let absolute = std::path::absolute(path)?;
        File::open(absolute.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

fn create(command: &Create) -> Result<(), Failure> {
    let (temporary, mut file) = Temporary::beside(&command.to, ".new")?;
    let failed = |source| BackupError::Io { path: command.to.clone(), source };
    match ask_for_backup(&command.common)? {
        Some(mut stream) => drop(io::copy(&mut stream, &mut file).map_err(failed)?),
        None => directly_with(&command.common, async |operator| {
            let snapshot = Snapshot::take(&*operator.store, &operator.folder).await?;
            let contents = snapshot.contents(&operator.folder, &operator.config());
            Ok(backup::write(&contents, &operator.folder.attachments(), admin::now(), &mut file)?)
        })?,
    }
    file.sync_all().map_err(failed)?;
    let manifest = examine(temporary.path())?;
    temporary.keep_as(&command.to).map_err(failed)?;
    tell(&command.to, &manifest, command.common.json, "written and read back")
}

fn verify(command: &Verify) -> Result<(), Failure> {
    let manifest = examine(&command.path)?;
    tell(&command.path, &manifest, command.json, "whole")
}

/// Reads a backup through, its database too.
fn examine(path: &Path) -> Result<Manifest, Failure> {
    let (copy, file) = Temporary::beside(path, ".check")?;
    let mut file = Some(file);
    let placed = |content| {
        let sink: Box<dyn Write> = match content {
            Content::Sqlite | Content::Mysql => match file.take() {
                Some(file) => Box::new(file),
                None => Box::new(io::sink()),
            },
            _ => Box::new(io::sink()),
        };
        Ok(sink)
    };
    let manifest = Archive::new(path).read(placed, None)?;
    let damaged = |reason: String| BackupError::Damaged { path: path.to_owned(), reason };
    match manifest.database() {
        None => return Err(damaged("no database is in it".into()).into()),
        Some(crate::install::Database::Sqlite) => {
            sqlite::verify(copy.path()).map_err(|error| damaged(error.to_string()))?;
        }
        Some(crate::install::Database::Mysql) => {
            let dump = File::open(copy.path()).map_err(|source| BackupError::Io { path: path.to_owned(), source })?;
            let dump = io::BufReader::new(dump);
            mysql::verify_dump(dump).map_err(|error| damaged(error.to_string()))?;
        }
    }
    Ok(manifest)
}

fn tell(path: &Path, manifest: &Manifest, json: bool, what: &str) -> Result<(), Failure> {
    let bytes = fs::metadata(path).map_or(0, |found| found.len());
    let Manifest { created_at, version, .. } = manifest;
    match json {
        true => print_json(&json!({
            "path": path, "bytes": bytes, "created_at": created_at, "version": version,
            "database": manifest.database().map(|database| database.to_string()),
        })),
        false => line(&format!("{}: {what}, {}, made {created_at} by Waxwing {version}", path.display(), size(bytes))),
    }
}

fn restore(command: &Restore) -> Result<(), Failure> {
    let common = &command.common;
    let folder: Folder = common.folder()?;
    let mysql = match &command.database_url_file {
        Some(file) => {
            let url = password::read(file)?;
            let wrong = |reason| Failure::user("wrong-value", format!("{}: {reason}", file.display()), "mend the URL");
            Some(MysqlSettings::from_url(&url).map_err(wrong)?)
        }
        None => None,
    };
    // Before the password is asked for.
    let manifest = examine(&command.from)?;
    if mysql.is_some() && manifest.database() != Some(crate::install::Database::Mysql) {
        let message = "the backup is of an embedded database, so a MySQL database cannot take it";
        return Err(Failure::user("wrong-value", message, "leave --database-url-file out"));
    }
    let password = super::server_password(common.password_file.as_deref())?;
    let restored = block_on(backup::restore(&command.from, &folder, &password, mysql))??;
    let link = restored.link.to_string();
    match common.json {
        true => print_json(&json!({
            "dir": folder.path(), "link": link, "created_at": restored.created_at,
            "database": restored.database.to_string(),
        })),
        false => {
            line(&format!("{}: restored as of {}", folder.path().display(), restored.created_at))?;
            line(
                "What was sent after that moment is not on this server. Devices notice that its database is another.",
            )?;
            line(&format!("Start it: waxwing-server run --dir {}", folder.path().display()))
        }
    }
}
