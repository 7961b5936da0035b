//! The floor's group commit on MySQL or MariaDB: a few tasks, each with a connection, that take what has come and insert it by
//! one statement in one transaction. It has a schema of its own, which goes when it ends.

use super::storage::Row;
use anyhow::{Context as _, Result};
use sqlx::{
    AssertSqlSafe, Connection as _, MySql, QueryBuilder,
    mysql::{MySqlConnectOptions, MySqlConnection},
    raw_sql,
};
use std::collections::HashMap;
use tokio::sync::mpsc;

/// How many rows one transaction takes, as the server's at most.
const BATCH: usize = 256;
/// Connections that write, as the server's.
const LANES: u64 = 4;

/// See the module.
pub(super) struct Storage {
    lanes: Vec<mpsc::UnboundedSender<Row>>,
    options: MySqlConnectOptions,
    schema: String,
}

impl Storage {
    pub(super) async fn open(url: &str) -> Result<Self> {
        // Whatever is wrong with it: the URL holds a password and is not repeated.
        let (server, schema) = url.rsplit_once('/').context("the database's URL names no schema")?;
        let options: MySqlConnectOptions = server.parse().ok().context("the database's URL cannot be read")?;
        let schema = format!("{schema}_floor");
        anyhow::ensure!(schema.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "a schema's name");
        let mut connection = MySqlConnection::connect_with(&options).await?;
        for statement in [
            format!("DROP DATABASE IF EXISTS {schema}"),
            format!("CREATE DATABASE {schema}"),
            format!("CREATE TABLE {schema}.pair (id BIGINT PRIMARY KEY, head BIGINT NOT NULL) ENGINE = InnoDB"),
            format!(
                "CREATE TABLE {schema}.entry (id BIGINT AUTO_INCREMENT PRIMARY KEY, pair BIGINT NOT NULL,
                 seq BIGINT NOT NULL, number BIGINT NOT NULL, payload MEDIUMBLOB NOT NULL, UNIQUE (pair, number))
                 ENGINE = InnoDB"
            ),
        ] {
            raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        }
        let mut lanes = Vec::new();
        for _ in 0..LANES {
            let (rows, waiting) = mpsc::unbounded_channel();
            let connection = MySqlConnection::connect_with(&options.clone().database(&schema)).await?;
            tokio::spawn(async move {
                if let Err(error) = write(connection, waiting).await {
                    eprintln!("the floor's database failed: {error}");
                    std::process::exit(2);
                }
            });
            lanes.push(rows);
        }
        Ok(Self { lanes, options, schema })
    }

    pub(super) fn store(&self, row: Row) {
        // A lane ends with the process.
        let _ = self.lanes.get((row.pair % LANES) as usize).map(|lane| lane.send(row));
    }

    /// Drops the schema.
    pub(super) async fn remove(&self) -> Result<()> {
        let mut connection = MySqlConnection::connect_with(&self.options).await?;
        raw_sql(AssertSqlSafe(format!("DROP DATABASE {}", self.schema))).execute(&mut connection).await?;
        Ok(())
    }
}

async fn write(mut connection: MySqlConnection, mut waiting: mpsc::UnboundedReceiver<Row>) -> Result<(), sqlx::Error> {
    let mut heads: HashMap<u64, u64> = HashMap::new();
    let mut rows = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut rows, BATCH).await > 0 {
        let mut changed = HashMap::new();
        for row in &mut rows {
            let head = heads.entry(row.pair).or_default();
            *head += 1;
            row.seq = *head;
            changed.insert(row.pair, *head);
        }
        let mut transaction = connection.begin().await?;
        let mut insert = QueryBuilder::<MySql>::new("INSERT INTO entry (pair, seq, number, payload) ");
        insert.push_values(&rows, |mut values, row| {
            values.push_bind(row.pair).push_bind(row.seq).push_bind(row.number).push_bind(row.frame.as_slice());
        });
        insert.build().persistent(false).execute(&mut *transaction).await?;
        let mut count = QueryBuilder::<MySql>::new("INSERT INTO pair (id, head) ");
        count.push_values(changed, |mut values, (pair, head)| {
            values.push_bind(pair).push_bind(head);
        });
        count.push(" ON DUPLICATE KEY UPDATE head = VALUES(head)");
        count.build().persistent(false).execute(&mut *transaction).await?;
        transaction.commit().await?;
        rows.drain(..).for_each(Row::hand_on);
    }
    Ok(())
}
