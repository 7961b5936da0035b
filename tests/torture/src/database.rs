//! The server's database, seen from outside: locked for a while, searched for ciphertexts that were stored twice, or made to
//! refuse and to deadlock.

use anyhow::Result;
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest as _, Sha256};
use std::{collections::HashMap, path::Path, time::Duration};
use waxwing_tests::MariaDb;

/// Keeps everybody else from writing until it is dropped.
pub(crate) struct Locked(#[expect(dead_code, reason = "holds the transaction")] Connection);

/// Takes the only place of a writer in an embedded database, as a backup program does.
pub(crate) fn lock(file: &Path) -> Result<Locked> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    Ok(Locked(connection))
}

/// Every ciphertext that was ever seen, and where.
#[derive(Default)]
pub(crate) struct Ciphertexts(HashMap<[u8; 32], (i64, i64)>);

impl Ciphertexts {
    /// Looks at what an embedded database has now; says which ciphertexts stand at two places.
    pub(crate) fn look(&mut self, file: &Path) -> Result<Vec<String>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        connection.busy_timeout(Duration::from_secs(2))?;
        let mut statement = connection.prepare("SELECT conversation, seq, payload FROM entry WHERE is_commit = 0")?;
        let rows = statement.query_map([], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<Vec<u8>>>(2)?))
        })?;
        let mut twice = Vec::new();
        for row in rows {
            let (conversation, seq, payload) = row?;
            let Some(payload) = payload.filter(|payload| !payload.is_empty()) else { continue };
            let first = *self.0.entry(Sha256::digest(&payload).into()).or_insert((conversation, seq));
            if first != (conversation, seq) {
                twice.push(format!("one ciphertext is stored at {first:?} and at {:?}", (conversation, seq)));
            }
        }
        Ok(twice)
    }
}

/// Lets a MariaDB be made read-only and be deadlocked from outside.
pub(crate) fn prepare(database: &MariaDb) -> Result<()> {
    // Whoever may administrate it may write to it all the same.
    database.execute(
        "REVOKE READ ONLY ADMIN, SUPER ON *.* FROM waxwing@'127.0.0.1', waxwing@localhost;
         CREATE DATABASE IF NOT EXISTS ballast;
         CREATE OR REPLACE TABLE ballast.ballast (n INT PRIMARY KEY, m INT NOT NULL);
         USE ballast;
         INSERT INTO ballast SELECT seq, 0 FROM seq_1_to_3000;",
    )
}

/// Lets it take changes, or none.
pub(crate) fn set_read_only(database: &MariaDb, read_only: bool) -> Result<()> {
    database.execute(&format!("SET GLOBAL read_only = {read_only}"))
}

/// Locks what the server locks, in the other order, in a transaction that has written more: if the two meet, InnoDB ends
/// the server's.
pub(crate) fn lock_backwards(database: &MariaDb) -> Result<()> {
    let schema = "SELECT table_schema INTO @schema FROM information_schema.tables
                  WHERE table_name = 'conversation' AND table_schema LIKE 'waxwing%' ORDER BY create_time DESC LIMIT 1";
    let lock = |order: &str| {
        format!(
            "EXECUTE IMMEDIATE CONCAT('SELECT id FROM `', @schema, '`.conversation ORDER BY id {order} FOR UPDATE')"
        )
    };
    database.execute(&format!(
        "{schema}; SET innodb_lock_wait_timeout = 2; BEGIN; UPDATE ballast.ballast SET m = m + 1;
         {}; DO SLEEP(0.05); {}; ROLLBACK;",
        lock("DESC LIMIT 1"),
        lock("ASC")
    ))
}
