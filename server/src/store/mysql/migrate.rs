//! Makes and upgrades the schema. DDL commits by itself in MySQL, so every step is one statement that may be repeated,
//! and its version is recorded after it: a migration killed anywhere is simply run again. It never drops anything.

use super::error::{OpenError, number};
use super::options::MysqlOptions;
use crate::store::StoreError;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use std::time::{SystemTime, UNIX_EPOCH};
use waxwing_protocol::Incarnation;

macro_rules! steps {
    ($($file:literal),* $(,)?) => {
        [$(($file, include_str!(concat!("../../../../migrations/mysql/", $file, ".sql")))),*]
    };
}

/// In order; the version of a step is its place, counted from 1.
const STEPS: [(&str, &str); 32] = steps![
    "0001_server_state",
    "0002_account",
    "0003_device",
    "0004_key_package",
    "0005_conversation",
    "0006_direct_conversation",
    "0007_participant",
    "0008_membership",
    "0009_entry",
    "0010_receipt",
    "0011_welcome",
    "0012_inbox",
    "0013_invite",
    "0014_account_end",
    "0015_group_info",
    "0016_membership_join",
    "0017_inbox_asker",
    "0018_key_package_time",
    "0019_device_last_resort_time",
    "0020_manifest",
    "0021_segment",
    "0022_account_disabled",
    "0023_device_seen",
    "0024_room",
    "0025_inbox_wish",
    "0026_attachment",
    "0027_former_device",
    "0028_welcome_sender",
    "0029_group_info_sender",
    "0030_server_days",
    "0031_node",
    "0032_code",
];

/// The schema version of this program.
const VERSION: i64 = STEPS.len() as i64;

/// What a migration did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationReport {
    /// Whether the database itself was missing and was made.
    pub created_database: bool,
    /// The names of the steps that were run now; empty if there was nothing to do.
    pub applied: Vec<&'static str>,
    /// The schema version that the database has now.
    pub version: i64,
}

/// Creates the database if it is missing (and the user may), and brings its schema to this program's version. Safe to
/// run again at any time, also after being killed, and from several nodes at once.
pub async fn migrate(options: &MysqlOptions) -> Result<MigrationReport, OpenError> {
    let (mut connection, created_database) = match options.connect(true).await {
        Err(OpenError::UnknownDatabase { .. }) => {
            create_database(options).await?;
            (options.connect(true).await?, true)
        }
        connected => (connected?, false),
    };
    check_server(options, &mut connection).await?;
    let applied = run(&mut connection).await.map_err(|error| match error {
        Failure::Driver(error) => OpenError::from_driver(options, error),
        Failure::Open(error) => error,
    })?;
    connection.close().await.map_err(StoreError::from)?;
    Ok(MigrationReport { created_database, applied, version: VERSION })
}

/// What [`migrate`] would do: the schema's version and the names of the steps that are missing. Changes nothing.
pub async fn pending(options: &MysqlOptions) -> Result<(i64, Vec<&'static str>), OpenError> {
    let mut connection = match options.connect(true).await {
        Err(OpenError::UnknownDatabase { .. }) => return Ok((0, STEPS.iter().map(|(name, _)| *name).collect())),
        connected => connected?,
    };
    check_server(options, &mut connection).await?;
    let done = sqlx::query_scalar("SELECT version FROM schema_version ORDER BY version");
    let done: Vec<i64> = match done.fetch_all(&mut connection).await {
        Err(error) if number(&error) == Some(1146) => Vec::new(),
        done => done.map_err(|error| OpenError::from_driver(options, error))?,
    };
    connection.close().await.map_err(StoreError::from)?;
    let found = done.last().copied().unwrap_or_default();
    if found > VERSION {
        return Err(OpenError::Newer { found, known: VERSION });
    }
    let missing = (1..).zip(STEPS).filter(|(version, _)| !done.contains(version));
    Ok((found, missing.map(|(_, (name, _))| name).collect()))
}

pub(super) async fn create_database(options: &MysqlOptions) -> Result<(), OpenError> {
    let mut connection = options.connect(false).await?;
    let name = options.database.replace('`', "``");
    let statement =
        format!("CREATE DATABASE IF NOT EXISTS `{name}` DEFAULT CHARACTER SET utf8mb4 DEFAULT COLLATE utf8mb4_bin");
    match sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(number(&error), Some(1044 | 1227)) => {
            Err(OpenError::UnknownDatabase { database: options.database.clone() })
        }
        Err(error) => Err(OpenError::from_driver(options, error)),
    }
}

enum Failure {
    Driver(sqlx::Error),
    Open(OpenError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

async fn run(connection: &mut MySqlConnection) -> Result<Vec<&'static str>, Failure> {
    // Two nodes that migrate at once take turns; the lock goes with the connection. Without it (some clusters have no
    // named locks) the steps are still repeatable.
    sqlx::query("SELECT GET_LOCK(CONCAT('waxwing.', LEFT(SHA2(DATABASE(), 256), 40)), 60)")
        .execute(&mut *connection)
        .await?;
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY, name VARCHAR(190) NOT NULL, \
         applied_ms BIGINT NOT NULL) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    )
    .execute(&mut *connection)
    .await?;
    let done: Vec<i64> = sqlx::query_scalar("SELECT version FROM schema_version").fetch_all(&mut *connection).await?;
    if let Some(&found) = done.iter().max().filter(|found| **found > VERSION) {
        return Err(Failure::Open(OpenError::Newer { found, known: VERSION }));
    }
    let mut applied = Vec::new();
    for (version, (name, statement)) in (1..).zip(STEPS) {
        if done.contains(&version) {
            continue;
        }
        match sqlx::raw_sql(statement).execute(&mut *connection).await {
            // A step that a killed run did but did not record: the table, column or index exists.
            Err(error) if matches!(number(&error), Some(1050 | 1060 | 1061)) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        sqlx::query("INSERT INTO schema_version (version, name, applied_ms) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE version = VALUES(version)")
            .bind(version)
            .bind(name)
            .bind(now_ms())
            .execute(&mut *connection)
            .await?;
        applied.push(name);
    }
    let mut incarnation = [0; 16];
    getrandom::fill(&mut incarnation)
        .map_err(|error| Failure::Open(OpenError::Store(StoreError::Database(error.to_string().into()))))?;
    sqlx::query("INSERT INTO server_state (id, incarnation) VALUES (1, ?) ON DUPLICATE KEY UPDATE id = VALUES(id)")
        .bind(&incarnation[..])
        .execute(&mut *connection)
        .await?;
    Ok(applied)
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or_default()
}

/// Refuses a server that this store was not made for; returns its `max_allowed_packet`.
pub(super) async fn check_server(options: &MysqlOptions, connection: &mut MySqlConnection) -> Result<u64, OpenError> {
    let (version, packet): (String, i64) = sqlx::query_as("SELECT VERSION(), CAST(@@max_allowed_packet AS SIGNED)")
        .fetch_one(connection)
        .await
        .map_err(|error| OpenError::from_driver(options, error))?;
    if !is_supported(&version) {
        return Err(OpenError::Unsupported { version });
    }
    let found = u64::try_from(packet).unwrap_or_default();
    if found < super::PACKET_NEEDED {
        return Err(OpenError::PacketTooSmall { found, needed: super::PACKET_NEEDED });
    }
    Ok(found)
}

fn is_supported(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    found >= if version.to_ascii_lowercase().contains("mariadb") { (10, 6) } else { (8, 0) }
}

/// The incarnation of a database whose schema is exactly this program's.
pub(super) async fn check_schema(
    options: &MysqlOptions,
    connection: &mut MySqlConnection,
) -> Result<Incarnation, OpenError> {
    let unmigrated = |found| OpenError::Unmigrated { found, needed: VERSION };
    let versions = sqlx::query_as::<_, (i64, i64)>("SELECT COUNT(*), COALESCE(MAX(version), 0) FROM schema_version");
    let (count, found) = match versions.fetch_one(&mut *connection).await {
        Err(error) if number(&error) == Some(1146) => return Err(unmigrated(0)),
        versions => versions.map_err(|error| OpenError::from_driver(options, error))?,
    };
    if found > VERSION {
        return Err(OpenError::Newer { found, known: VERSION });
    }
    if count < VERSION {
        return Err(unmigrated(count));
    }
    let incarnation: Option<Vec<u8>> = sqlx::query_scalar("SELECT incarnation FROM server_state WHERE id = 1")
        .fetch_optional(connection)
        .await
        .map_err(|error| OpenError::from_driver(options, error))?;
    let incarnation = incarnation.ok_or_else(|| unmigrated(found))?;
    Ok(Incarnation(super::row::bytes(&incarnation, "server_state")?))
}

#[cfg(test)]
mod tests {
    use super::is_supported;

    #[test]
    fn old_servers_are_told_apart() {
        for good in
            ["8.0.11", "8.4.3-commercial", "9.5.0", "10.6.0-MariaDB", "10.11.19-MariaDB-0+deb12u1", "11.8.2-MariaDB"]
        {
            assert!(is_supported(good), "{good}");
        }
        for bad in ["5.7.44-log", "5.5.5", "10.5.29-MariaDB", "10.3.1-mariadb", "", "x"] {
            assert!(!is_supported(bad), "{bad}");
        }
    }
}
