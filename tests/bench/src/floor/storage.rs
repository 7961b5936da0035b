//! The floor's group commit on SQLite: one thread that takes what has come, writes it in one transaction, and then hands it on.

use super::relay::Outbox;
use anyhow::Result;
use rusqlite::{Connection, params};
use std::{collections::HashMap, path::Path, sync::Arc, thread};
use tokio::sync::mpsc;

/// How many rows one transaction takes, as the server's at most.
const BATCH: usize = 1024;

/// A message on its way.
pub(super) struct Row {
    pub(super) pair: u64,
    pub(super) number: u64,
    /// Its place, once it has one.
    pub(super) seq: u64,
    pub(super) frame: Vec<u8>,
    pub(super) receivers: Arc<[Arc<Outbox>]>,
    pub(super) sender: Arc<Outbox>,
}

impl Row {
    /// It is on disk.
    pub(super) fn hand_on(self) {
        self.receivers.iter().for_each(|receiver| receiver.push(&self.frame));
        self.sender.push(&self.number.to_be_bytes());
    }
}

/// See the module.
pub(super) struct Storage(mpsc::UnboundedSender<Row>);

impl Storage {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA cipher_log_level = NONE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 4000; PRAGMA temp_store = MEMORY;
             CREATE TABLE pair (id INTEGER PRIMARY KEY, head INTEGER NOT NULL) STRICT;
             CREATE TABLE entry (id INTEGER PRIMARY KEY, pair INTEGER NOT NULL, seq INTEGER NOT NULL,
                                 number INTEGER NOT NULL, payload BLOB NOT NULL, UNIQUE (pair, number)) STRICT;",
        )?;
        let (rows, waiting) = mpsc::unbounded_channel();
        thread::Builder::new().name("floor-writer".into()).spawn(move || {
            if let Err(error) = write(&connection, waiting) {
                eprintln!("the floor's database failed: {error}");
                std::process::exit(2);
            }
        })?;
        Ok(Self(rows))
    }

    pub(super) fn store(&self, row: Row) {
        // The writer ends with the process.
        let _ = self.0.send(row);
    }
}

fn write(connection: &Connection, mut waiting: mpsc::UnboundedReceiver<Row>) -> rusqlite::Result<()> {
    let mut heads: HashMap<u64, u64> = HashMap::new();
    let mut rows = Vec::with_capacity(BATCH);
    let mut insert = connection.prepare("INSERT INTO entry (pair, seq, number, payload) VALUES (?1, ?2, ?3, ?4)")?;
    let mut count = connection.prepare("INSERT OR REPLACE INTO pair (id, head) VALUES (?1, ?2)")?;
    while waiting.blocking_recv_many(&mut rows, BATCH) > 0 {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut changed = HashMap::new();
        for row in &rows {
            let head = heads.entry(row.pair).or_default();
            *head += 1;
            insert.execute(params![row.pair, *head, row.number, row.frame])?;
            changed.insert(row.pair, *head);
        }
        for (pair, head) in changed {
            count.execute([pair, head])?;
        }
        connection.execute_batch("COMMIT")?;
        rows.drain(..).for_each(Row::hand_on);
    }
    Ok(())
}
