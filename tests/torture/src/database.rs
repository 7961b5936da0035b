//! The server's database, seen from outside: locked for a while, or searched for ciphertexts that were stored twice.

use anyhow::Result;
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest as _, Sha256};
use std::{collections::HashMap, path::Path, time::Duration};

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
