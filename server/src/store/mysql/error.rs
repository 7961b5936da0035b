//! The driver's failures in the store's words. It owns which ones an operator can act on and which ones are worth
//! another try, and must not know the schema.

use super::options::MysqlOptions;
use crate::store::StoreError;
use sqlx::mysql::MySqlDatabaseError;
use std::{future::Future, sync::Arc, time::Duration};

/// Why the store did not open; each message says what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nobody answers there.
    #[error("no database server answers at {target} ({reason}); check that it runs, and the host and port")]
    Unreachable {
        /// `user@host:port/database`.
        target: String,
        /// The system's words.
        reason: String,
    },
    /// Encryption failed.
    #[error(
        "no encrypted connection to {target} ({reason}); give the database server a certificate, or set tls to off"
    )]
    Tls {
        /// `user@host:port/database`.
        target: String,
        /// The driver's words.
        reason: String,
    },
    /// Wrong user or password, or no rights on the database.
    #[error(
        "the database server refuses {target} ({reason}); check user and password, and that this was run there: \
         GRANT ALL ON `{database}`.* TO the user"
    )]
    AccessDenied {
        /// `user@host:port/database`.
        target: String,
        /// The database.
        database: String,
        /// The server's words.
        reason: String,
    },
    /// The database does not exist and could not be made.
    #[error(
        "the database `{database}` does not exist; migrate with a user that may create it, or run as administrator: \
         CREATE DATABASE `{database}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    )]
    UnknownDatabase {
        /// The database.
        database: String,
    },
    /// The tables are missing or older than this program.
    #[error("the database is at schema version {found}, this program needs {needed}; run the migration first")]
    Unmigrated {
        /// 0 for an empty database.
        found: i64,
        /// This program's.
        needed: i64,
    },
    /// A backup is only restored into an empty one.
    #[error("the database `{database}` is not empty; name another one")]
    Occupied {
        /// The database.
        database: String,
    },
    /// A newer program was here.
    #[error("the database is at schema version {found}, this program knows {known}; install the newer Waxwing again")]
    Newer {
        /// The database's.
        found: i64,
        /// This program's.
        known: i64,
    },
    /// Too old, or something else.
    #[error("the database server says it is {version}; Waxwing needs MySQL 8.0 or later, or MariaDB 10.6 or later")]
    Unsupported {
        /// The server's words.
        version: String,
    },
    /// A commit or welcome would not fit through.
    #[error("max_allowed_packet is {found} bytes; set it to at least {needed} in the database server's configuration")]
    PacketTooSmall {
        /// Bytes.
        found: u64,
        /// Bytes.
        needed: u64,
    },
    /// Anything else.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// Sorts a failure of the driver.
    pub(super) fn from_driver(options: &MysqlOptions, error: sqlx::Error) -> Self {
        let target = options.to_string();
        let database = options.database.clone();
        match (&error, number(&error)) {
            (sqlx::Error::Io(reason), _) => Self::Unreachable { target, reason: reason.to_string() },
            (sqlx::Error::Tls(reason), _) => Self::Tls { target, reason: reason.to_string() },
            (_, Some(1044 | 1045 | 1142 | 1698)) => Self::AccessDenied { target, database, reason: error.to_string() },
            (_, Some(1049)) => Self::UnknownDatabase { database },
            _ => Self::Store(error.into()),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolClosed => Self::Closed,
            error => Self::Database(Box::new(error)),
        }
    }
}

/// The server's error number, if the server answered at all.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

fn store_number(error: &StoreError) -> Option<u16> {
    match error {
        StoreError::Database(error) => error.downcast_ref().and_then(number),
        StoreError::Inconsistent(_) | StoreError::Closed => None,
    }
}

/// Whether a row with this key exists already.
pub(super) fn is_duplicate(error: &StoreError) -> bool {
    store_number(error) == Some(1062)
}

/// Whether the server answered and refused, so that a smaller piece of the same work may succeed.
pub(super) fn is_refusal(error: &StoreError) -> bool {
    store_number(error).is_some() || matches!(error, StoreError::Inconsistent(_))
}

/// Whether another transaction was in the way: a deadlock (1213), a lock that did not come (1205), a changed record (1020).
fn is_conflict(error: &StoreError) -> bool {
    matches!(store_number(error), Some(1213 | 1205 | 1020))
}

/// Runs a transaction, again while others are in its way, a bounded number of times.
pub(super) async fn retried<T, Step, Outcome>(step: Step) -> Result<T, StoreError>
where
    Step: Fn() -> Outcome,
    Outcome: Future<Output = Result<T, StoreError>>,
{
    for attempt in 1..8 {
        match step().await {
            Err(error) if is_conflict(&error) => {
                tracing::debug!(%error, attempt, "transaction tried again");
                tokio::time::sleep(Duration::from_millis(7 * attempt)).await;
            }
            done => return done,
        }
    }
    step().await
}

/// One failure, told to all who shared a batch.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct SharedFailure(pub(super) Arc<StoreError>);

impl From<SharedFailure> for StoreError {
    fn from(failure: SharedFailure) -> Self {
        match &*failure.0 {
            Self::Closed => Self::Closed,
            Self::Inconsistent(place) => Self::Inconsistent(place),
            Self::Database(_) => Self::Database(Box::new(failure)),
        }
    }
}
