//! Opens and migrates the database that the configuration names, and says what its failures mean for the operator.
//!
//! Invariant: nothing here changes a schema but [`migrate`], and that never drops anything.

use super::{Config, Database, DatabaseFault, Folder, InstallError, MysqlSettings, TlsMode, YesNo};
use crate::store::{
    Publish, SharedOperatorStore,
    mysql::{self, MysqlOptions, MysqlStore, MysqlTls},
    sqlite::{self, SqliteStore},
};
use std::{path::Path, sync::Arc};
use waxwing_protocol::{ConversationId, DeviceId, Entry, InboxItem};
use zeroize::Zeroizing;

/// For a store that nobody is connected to.
#[derive(Debug)]
pub struct NobodyListens;

impl Publish for NobodyListens {
    fn entry(&self, _: &[DeviceId], _: ConversationId, _: &Entry) {}
    fn inbox(&self, _: DeviceId, _: &InboxItem) {}
}

/// What [`migrate`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migrated {
    /// The tables are new.
    Created,
    /// The tables were older.
    Upgraded,
    /// There was nothing to do.
    Current,
}

/// Where the database is, for people.
pub fn place(folder: &Folder, config: &Config) -> String {
    match config.database {
        _ if config.in_memory == YesNo::Yes => "in memory alone".to_owned(),
        Database::Sqlite => format!("SQLite in {}", folder.database().display()),
        Database::Mysql => {
            let MysqlSettings { host, port, user, schema, .. } = &config.mysql;
            format!("MySQL, schema {schema} on {host}:{port} as {user}")
        }
    }
}

/// Opens the store; its schema must be this program's.
pub async fn open(
    folder: &Folder,
    config: &Config,
    password: Option<&str>,
    publish: Arc<dyn Publish>,
) -> Result<SharedOperatorStore, InstallError> {
    match config.database {
        _ if config.in_memory == YesNo::Yes => Err(InstallError::Database {
            fault: DatabaseFault::Unsuitable,
            reason: "this server keeps everything in memory, and none runs".into(),
            next: "start it: waxwing-server run".into(),
        }),
        Database::Sqlite => match SqliteStore::open(&folder.database(), publish) {
            Ok(store) => Ok(Arc::new(store)),
            Err(error) => Err(from_sqlite(folder, error)),
        },
        Database::Mysql => match MysqlStore::open(&options(&config.mysql, password), publish).await {
            Ok(store) => Ok(Arc::new(store)),
            Err(error) => Err(from_mysql(folder, error)),
        },
    }
}

/// Makes a store for a server that runs: where everything stays in memory, a new one.
pub async fn start(
    folder: &Folder,
    config: &Config,
    password: Option<&str>,
    publish: Arc<dyn Publish>,
) -> Result<SharedOperatorStore, InstallError> {
    match config.in_memory {
        YesNo::No => open(folder, config, password, publish).await,
        YesNo::Yes => match SqliteStore::in_memory(publish) {
            Ok(store) => Ok(Arc::new(store)),
            Err(error) => Err(from_sqlite(folder, error)),
        },
    }
}

/// Makes the store of a server that shares its database with others.
pub async fn start_shared(
    folder: &Folder,
    config: &Config,
    password: Option<&str>,
    publish: Arc<dyn Publish>,
) -> Result<Arc<MysqlStore>, InstallError> {
    let opened = MysqlStore::open(&options(&config.mysql, password), publish).await;
    opened.map(Arc::new).map_err(|error| from_mysql(folder, error))
}

/// Tells whether a MySQL server answers and lets this account in; the schema and its tables may still be missing.
pub async fn probe(folder: &Folder, config: &Config, password: Option<&str>) -> Result<(), InstallError> {
    if config.database == Database::Sqlite {
        return Ok(());
    }
    match MysqlStore::open(&options(&config.mysql, password), Arc::new(NobodyListens)).await {
        Ok(store) => {
            crate::store::Store::close(&store).await;
            Ok(())
        }
        Err(mysql::OpenError::Unmigrated { .. } | mysql::OpenError::UnknownDatabase { .. }) => Ok(()),
        Err(error) => Err(from_mysql(folder, error)),
    }
}

/// Creates the schema and its tables, or brings older ones up to date. Safe to repeat.
pub async fn migrate(folder: &Folder, config: &Config, password: Option<&str>) -> Result<Migrated, InstallError> {
    match config.database {
        _ if config.in_memory == YesNo::Yes => Ok(Migrated::Current),
        Database::Sqlite => {
            // Not an empty database in place of the accounts that were there.
            if folder.link().exists() && is_missing_or_empty(&folder.database()) {
                let (fault, reason, next) = lost(folder);
                return Err(InstallError::Database { fault, reason, next });
            }
            let report = sqlite::migrate(&folder.database()).map_err(|error| from_sqlite(folder, error))?;
            Ok(match report.from {
                0 => Migrated::Created,
                from if from < report.to => Migrated::Upgraded,
                _ => Migrated::Current,
            })
        }
        Database::Mysql => {
            let report = mysql::migrate(&options(&config.mysql, password)).await;
            let report = report.map_err(|error| from_mysql(folder, error))?;
            Ok(match (report.applied.len() as i64, report.version) {
                (0, _) => Migrated::Current,
                (applied, version) if applied < version => Migrated::Upgraded,
                _ => Migrated::Created,
            })
        }
    }
}

/// Loads a backup's dump into an empty schema.
pub(crate) async fn load(
    folder: &Folder,
    config: &Config,
    password: Option<&str>,
    source: impl std::io::Read + Send,
) -> Result<(), InstallError> {
    let loaded = mysql::load_dump(&options(&config.mysql, password), source).await;
    loaded.map_err(|error| from_mysql(folder, error))
}

/// What a migration would do: the schema's version, and the names of the steps that are missing.
pub async fn pending(
    folder: &Folder,
    config: &Config,
    password: Option<&str>,
) -> Result<(i64, Vec<&'static str>), InstallError> {
    match config.database {
        _ if config.in_memory == YesNo::Yes => Ok((0, Vec::new())),
        Database::Sqlite => {
            let pending = sqlite::pending(&folder.database()).map_err(|error| from_sqlite(folder, error))?;
            Ok((i64::try_from(pending.0).unwrap_or(i64::MAX), pending.1))
        }
        Database::Mysql => {
            mysql::pending(&options(&config.mysql, password)).await.map_err(|error| from_mysql(folder, error))
        }
    }
}

fn options(settings: &MysqlSettings, password: Option<&str>) -> MysqlOptions {
    MysqlOptions {
        host: settings.host.clone(),
        port: settings.port,
        user: settings.user.clone(),
        password: Zeroizing::new(password.unwrap_or_default().to_owned()),
        database: settings.schema.clone(),
        tls: match settings.tls {
            TlsMode::Off => MysqlTls::Off,
            TlsMode::Preferred => MysqlTls::Preferred,
            TlsMode::Required => MysqlTls::Required,
        },
    }
}

impl MysqlSettings {
    /// Settings and password out of `mysql://user:password@host:port/schema`. The error never quotes the text.
    pub fn from_url(url: &str) -> Result<(Self, Option<Zeroizing<String>>), String> {
        let url = match url.strip_prefix("mariadb://") {
            Some(rest) => Zeroizing::new(format!("mysql://{rest}")),
            None => Zeroizing::new(url.to_owned()),
        };
        let options: MysqlOptions = url.parse().map_err(|error: mysql::MysqlUrlError| error.to_string())?;
        let settings = Self {
            host: options.host,
            port: options.port,
            user: options.user,
            schema: super::config::parse_schema(&options.database)?,
            tls: match options.tls {
                MysqlTls::Off => TlsMode::Off,
                MysqlTls::Preferred => TlsMode::Preferred,
                MysqlTls::Required => TlsMode::Required,
            },
        };
        Ok((settings, Some(options.password).filter(|password| !password.is_empty())))
    }
}

const NEWER: &str = "install the version of Waxwing that last used this database, or a later one";

/// A finished set-up has had its tables: whoever set it up anew would lose the accounts.
fn lost(folder: &Folder) -> (DatabaseFault, String, String) {
    let file = folder.database();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let reason = format!("the database {name} is missing or empty although this server was set up");
    (DatabaseFault::Damaged, reason, format!("restore it from a backup ({})", file.display()))
}

fn is_missing_or_empty(file: &Path) -> bool {
    match std::fs::metadata(file) {
        Ok(found) => found.len() == 0,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

fn unmigrated(folder: &Folder, found: i64, needed: i64) -> (DatabaseFault, String, String) {
    let reason = match found {
        0 => "the database has no tables yet".to_owned(),
        _ => format!("the database has schema version {found}, this version of Waxwing needs {needed}"),
    };
    let command = if found == 0 { "waxwing-setup init" } else { "waxwing-server migrate" };
    (DatabaseFault::Unmigrated, reason, format!("run: {command} --dir {}", folder.path().display()))
}

fn newer(found: i64, known: i64) -> (DatabaseFault, String, String) {
    let reason =
        format!("the database has schema version {found}, newer than the {known} that this version of Waxwing knows");
    (DatabaseFault::Newer, reason, NEWER.into())
}

fn one_line(error: &impl std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a failure of the embedded database means.
pub(crate) fn from_sqlite(folder: &Folder, error: sqlite::OpenError) -> InstallError {
    use sqlite::OpenError;
    let file = folder.database();
    let file = file.display();
    let version = |version: usize| i64::try_from(version).unwrap_or(i64::MAX);
    let (fault, reason, next) = match error {
        OpenError::Unmigrated { found: 0, .. } if folder.link().exists() => lost(folder),
        OpenError::Unmigrated { found, needed } => unmigrated(folder, version(found), version(needed)),
        OpenError::Newer { found, known } => newer(version(found), version(known)),
        OpenError::Foreign => {
            let reason = format!("{file} is a database of another program");
            (DatabaseFault::Foreign, reason, "move it away, or choose another folder with --dir".into())
        }
        OpenError::Damaged(source) => {
            let reason = format!("{file} is damaged or not a database ({})", one_line(&source));
            (DatabaseFault::Damaged, reason, "restore it from a backup".into())
        }
        OpenError::InUse => {
            let reason = format!("another process is using {file}");
            (DatabaseFault::InUse, reason, "stop it first".into())
        }
        OpenError::Io(source) if source.kind() == std::io::ErrorKind::NotFound => match folder.link().exists() {
            true => lost(folder),
            false => unmigrated(folder, 0, 1),
        },
        OpenError::Io(source) => return InstallError::Io { action: "open", path: folder.database(), source },
        OpenError::Database(source) => {
            let reason = format!("{file}: {}", one_line(&source));
            (DatabaseFault::Other, reason, "check the disk and try again".into())
        }
    };
    InstallError::Database { fault, reason, next }
}

fn from_mysql(folder: &Folder, error: mysql::OpenError) -> InstallError {
    use mysql::OpenError;
    let (fault, reason, next) = match error {
        OpenError::Unreachable { target, reason } => (
            DatabaseFault::Unreachable,
            format!("no database server answers at {target} ({})", one_line(&reason)),
            "check that it runs, and its host and port".into(),
        ),
        OpenError::Tls { target, reason } => (
            DatabaseFault::Unreachable,
            format!("no encrypted connection to {target} ({})", one_line(&reason)),
            "give the database server a certificate, or set its tls to off".into(),
        ),
        OpenError::AccessDenied { target, database, reason } => (
            DatabaseFault::Refused,
            format!("the database server refuses {target} ({})", one_line(&reason)),
            format!("check user and password, and run there as administrator: GRANT ALL ON `{database}`.* TO the user"),
        ),
        OpenError::UnknownDatabase { database } => (
            DatabaseFault::Unmigrated,
            format!("the schema {database} does not exist, and this user may not create it"),
            format!(
                "run there as administrator: CREATE DATABASE `{database}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
            ),
        ),
        OpenError::Unmigrated { found, needed } => unmigrated(folder, found, needed),
        OpenError::Occupied { database } => (
            DatabaseFault::Unsuitable,
            format!("the schema {database} is not empty"),
            "name an empty or a new one with --database-url-file".into(),
        ),
        OpenError::Newer { found, known } => newer(found, known),
        OpenError::Unsupported { version } => (
            DatabaseFault::Unsuitable,
            format!("the database server says it is {}", one_line(&version)),
            "use MySQL 8.0 or later, or MariaDB 10.6 or later".into(),
        ),
        OpenError::PacketTooSmall { found, needed } => (
            DatabaseFault::Unsuitable,
            format!("the database server's max_allowed_packet is {found} bytes"),
            format!("set it to at least {needed} in the database server's configuration"),
        ),
        OpenError::Store(source) => {
            let reason = format!("the database failed ({})", one_line(&source));
            (DatabaseFault::Other, reason, "look at the database server's own log".into())
        }
    };
    InstallError::Database { fault, reason, next }
}
