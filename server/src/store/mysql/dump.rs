//! One moment of the whole database as a file, and back. For backups, since MySQL has no copy of its own that a client
//! could take away.
//!
//! The file: [`MAGIC`], then CBOR items. A table is `[name, CREATE statement, [columns]]`, then an array per row, then null.
//! Null after null ends the file. Invariants: all rows are of one snapshot; nothing is loaded into a schema that holds
//! anything but an interrupted load. It must not know what tables mean.

use super::disclosure::value;
use super::error::OpenError;
use super::migrate::{check_server, create_database};
use super::{Database, MysqlOptions};
use crate::store::{StoreError, Value};
use futures_util::TryStreamExt as _;
use minicbor::{Decoder, Encoder, data::Type};
use sqlx::{AssertSqlSafe, Column, Connection, MySql, MySqlConnection, QueryBuilder, Row};
use std::{io::Read, path::Path};
use tokio::{
    fs::OpenOptions,
    io::{AsyncWriteExt as _, BufWriter},
};

const MAGIC: &[u8] = b"waxwing mysql dump 1\n";
/// Stands in a schema while it is being loaded.
const UNFINISHED: &str = "unfinished_restore";
/// Rows are written out and loaded in parts of about this many bytes.
const PART: usize = 1024 * 1024;
/// The most rows of one statement.
const ROWS: usize = 512;

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Database(Box::new(error))
}

fn damaged(what: &str) -> StoreError {
    StoreError::Database(format!("the dump is damaged: {what}").into())
}

impl Database {
    /// See [`crate::store::OperatorStore::copy_to`].
    pub(super) async fn dump(&self, file: &Path) -> Result<(), StoreError> {
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file).await;
        let mut file = BufWriter::with_capacity(PART, opened.map_err(failed)?);
        // A connection of its own, since it gets another isolation level; it is closed afterwards.
        let mut connection = self.pool.acquire().await?.detach();
        for statement in [
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        ] {
            sqlx::raw_sql(statement).execute(&mut connection).await?;
        }
        file.write_all(MAGIC).await.map_err(failed)?;
        for table in tables(&mut connection).await? {
            dump_table(&mut connection, &table, &mut file).await?;
        }
        file.write_all(&[NULL]).await.map_err(failed)?;
        file.flush().await.map_err(failed)?;
        file.get_ref().sync_all().await.map_err(failed)?;
        connection.close().await?;
        Ok(())
    }
}

/// CBOR's null.
const NULL: u8 = 0xf6;

async fn tables(connection: &mut MySqlConnection) -> Result<Vec<String>, sqlx::Error> {
    let names = "SELECT CAST(table_name AS CHAR) FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY table_name";
    sqlx::query_scalar(names).fetch_all(connection).await
}

async fn dump_table(
    connection: &mut MySqlConnection,
    table: &str,
    file: &mut BufWriter<tokio::fs::File>,
) -> Result<(), StoreError> {
    let show = AssertSqlSafe(format!("SHOW CREATE TABLE {}", quoted(table)));
    let create: String = sqlx::raw_sql(show).fetch_one(&mut *connection).await?.try_get(1)?;
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT CAST(column_name AS CHAR) FROM information_schema.columns \
         WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position",
    )
    .bind(table)
    .fetch_all(&mut *connection)
    .await?;
    let mut head = Encoder::new(Vec::new());
    let encoded = head.array(3).and_then(|e| e.str(table)?.str(&create)?.array(columns.len() as u64)).map(drop);
    encoded.map_err(|error| StoreError::Database(error.to_string().into()))?;
    for column in &columns {
        let _ = head.str(column);
    }
    file.write_all(head.writer()).await.map_err(failed)?;

    let list: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    let select = AssertSqlSafe(format!("SELECT {} FROM {}", list.join(", "), quoted(table)));
    let mut rows = sqlx::query(select).persistent(false).fetch(connection);
    let mut encoder = Encoder::new(Vec::new());
    while let Some(row) = rows.try_next().await? {
        encoder.writer_mut().clear();
        let _ = encoder.array(columns.len() as u64);
        for column in row.columns() {
            // Writing to a Vec cannot fail.
            let _ = match value(&row, column.ordinal())? {
                Value::Null => encoder.null(),
                Value::Integer(number) => encoder.i64(number),
                Value::Text(text) => encoder.str(&text),
                Value::Bytes(bytes) => encoder.bytes(&bytes),
            };
        }
        file.write_all(encoder.writer()).await.map_err(failed)?;
    }
    file.write_all(&[NULL]).await.map_err(failed)
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A dump that is read from its beginning to its end.
struct Reader<R> {
    source: R,
    buffer: Vec<u8>,
    /// What of the buffer was read.
    done: usize,
    ended: bool,
}

/// A table's name, its statement and its columns.
struct Table {
    name: String,
    create: String,
    columns: Vec<String>,
}

impl<R: Read> Reader<R> {
    fn new(mut source: R) -> Result<Self, StoreError> {
        let mut magic = vec![0; MAGIC.len()];
        source.read_exact(&mut magic).map_err(|_| damaged("it does not begin like one"))?;
        match magic == MAGIC {
            true => Ok(Self { source, buffer: Vec::new(), done: 0, ended: false }),
            false => Err(damaged("it does not begin like one")),
        }
    }

    /// Reads one item, taking more of the source while it is not there as a whole.
    fn item<T>(
        &mut self,
        decode: impl Fn(&mut Decoder<'_>) -> Result<T, minicbor::decode::Error>,
    ) -> Result<T, StoreError> {
        loop {
            let mut decoder = Decoder::new(self.buffer.get(self.done..).unwrap_or_default());
            match decode(&mut decoder) {
                Ok(item) => {
                    self.done += decoder.position();
                    return Ok(item);
                }
                Err(error) if error.is_end_of_input() && !self.ended => self.fill()?,
                Err(_) if self.ended => return Err(damaged("its end is missing")),
                Err(error) => return Err(damaged(&error.to_string())),
            }
        }
    }

    fn fill(&mut self) -> Result<(), StoreError> {
        self.buffer.drain(..self.done);
        self.done = 0;
        let read = self.source.by_ref().take(PART as u64).read_to_end(&mut self.buffer).map_err(failed)?;
        self.ended = read == 0;
        Ok(())
    }

    /// The next table; none at the end.
    fn table(&mut self) -> Result<Option<Table>, StoreError> {
        self.item(|d| {
            if d.datatype()? == Type::Null {
                return d.null().map(|()| None);
            }
            d.array()?;
            let (name, create) = (d.str()?.to_owned(), d.str()?.to_owned());
            let columns = d.array_iter::<&str>()?.map(|name| name.map(str::to_owned)).collect::<Result<_, _>>()?;
            Ok(Some(Table { name, create, columns }))
        })
    }

    /// The next row of the table; none at its end.
    fn row(&mut self, columns: usize) -> Result<Option<Vec<Value>>, StoreError> {
        let row = self.item(|d| {
            if d.datatype()? == Type::Null {
                return d.null().map(|()| None);
            }
            let count = d.array()?.unwrap_or_default();
            let mut row = Vec::new();
            for _ in 0..count {
                row.push(match d.datatype()? {
                    Type::Null => d.null().map(|()| Value::Null)?,
                    Type::String => Value::Text(d.str()?.to_owned()),
                    Type::Bytes => Value::Bytes(d.bytes()?.to_vec()),
                    _ => Value::Integer(d.i64()?),
                });
            }
            Ok(Some(row))
        })?;
        match row {
            Some(row) if row.len() != columns => Err(damaged("a row has another length than its table")),
            row => Ok(row),
        }
    }
}

/// Reads a dump through; returns how many rows it has.
///
/// # Errors
/// It is damaged or cut off.
pub fn verify_dump(source: impl Read) -> Result<u64, StoreError> {
    let mut reader = Reader::new(source)?;
    let mut rows = 0;
    while let Some(table) = reader.table()? {
        while reader.row(table.columns.len())?.is_some() {
            rows += 1;
        }
    }
    Ok(rows)
}

/// Loads a dump into an empty schema, as another life of the database: with a new incarnation, without the key packages
/// that may have been given out since, and without the accounts and names of groups and rooms, which go on in others. An interrupted load is begun anew.
///
/// # Errors
/// The schema holds something else (`Occupied`), or the dump is damaged.
pub async fn load_dump(options: &MysqlOptions, source: impl Read + Send) -> Result<(), OpenError> {
    let mut connection = match options.connect(true).await {
        Err(OpenError::UnknownDatabase { .. }) => {
            create_database(options).await?;
            options.connect(true).await?
        }
        connected => connected?,
    };
    check_server(options, &mut connection).await?;
    clear_unfinished(options, &mut connection).await?;
    load(&mut connection, source).await?;
    connection.close().await.map_err(StoreError::from)?;
    Ok(())
}

/// Only an interrupted load may be there, and goes.
async fn clear_unfinished(options: &MysqlOptions, connection: &mut MySqlConnection) -> Result<(), OpenError> {
    let there = tables(connection).await.map_err(|error| OpenError::from_driver(options, error))?;
    if !there.is_empty() && !there.iter().any(|table| table == UNFINISHED) {
        return Err(OpenError::Occupied { database: options.database.clone() });
    }
    let run = |statement: String| sqlx::raw_sql(AssertSqlSafe(statement));
    // The mark goes last and comes first.
    for table in there.iter().filter(|table| *table != UNFINISHED) {
        run(format!("DROP TABLE {}", quoted(table))).execute(&mut *connection).await.map_err(StoreError::from)?;
    }
    let mark = format!("CREATE TABLE IF NOT EXISTS {} (id BIGINT NOT NULL PRIMARY KEY)", quoted(UNFINISHED));
    run(mark).execute(connection).await.map_err(StoreError::from)?;
    Ok(())
}

async fn load(connection: &mut MySqlConnection, source: impl Read) -> Result<(), StoreError> {
    let mut reader = Reader::new(source)?;
    while let Some(table) = reader.table()? {
        let begins = format!("CREATE TABLE {} (", quoted(&table.name));
        if !table.create.starts_with(&begins) || table.create.contains(';') || table.name == UNFINISHED {
            return Err(damaged("a table's statement is none"));
        }
        sqlx::raw_sql(AssertSqlSafe(table.create.clone())).execute(&mut *connection).await?;
        let mut part = Vec::new();
        let mut bytes = 0;
        loop {
            let row = reader.row(table.columns.len())?;
            let ended = row.is_none();
            if let Some(row) = row {
                bytes += row.iter().map(length).sum::<usize>();
                part.push(row);
            }
            if !part.is_empty() && (ended || bytes >= PART || part.len() >= ROWS) {
                insert(connection, &table, &part).await?;
                part.clear();
                bytes = 0;
            }
            if ended {
                break;
            }
        }
    }
    renew(connection).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {}", quoted(UNFINISHED)))).execute(connection).await?;
    Ok(())
}

fn length(value: &Value) -> usize {
    match value {
        Value::Null | Value::Integer(_) => 9,
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
    }
}

async fn insert(connection: &mut MySqlConnection, table: &Table, rows: &[Vec<Value>]) -> Result<(), StoreError> {
    let columns: Vec<String> = table.columns.iter().map(|column| quoted(column)).collect();
    let head = format!("INSERT INTO {} ({}) ", quoted(&table.name), columns.join(", "));
    let mut insert = QueryBuilder::<MySql>::new(head);
    insert.push_values(rows, |mut line, row| {
        for value in row {
            match value {
                Value::Null => line.push_bind(None::<i64>),
                Value::Integer(number) => line.push_bind(*number),
                Value::Text(text) => line.push_bind(text.as_str()),
                Value::Bytes(bytes) => line.push_bind(bytes.as_slice()),
            };
        }
    });
    insert.build().persistent(false).execute(connection).await?;
    Ok(())
}

/// Another life: see [`load_dump`].
async fn renew(connection: &mut MySqlConnection) -> Result<(), StoreError> {
    let mut incarnation = [0; 16];
    getrandom::fill(&mut incarnation).map_err(|error| StoreError::Database(error.to_string().into()))?;
    let mut transaction = connection.begin().await?;
    sqlx::query("UPDATE server_state SET incarnation = ?").bind(&incarnation[..]).execute(&mut *transaction).await?;
    for statement in [
        "DELETE FROM key_package",
        "UPDATE device SET last_resort = NULL",
        // Their members make groups and rooms anew, and need their names for that.
        "DELETE FROM participant WHERE conversation IN (SELECT conversation FROM room)",
        "UPDATE room SET name = NULL",
    ] {
        sqlx::query(statement).execute(&mut *transaction).await?;
    }
    Ok(transaction.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump() -> Vec<u8> {
        let mut e = Encoder::new(MAGIC.to_vec());
        e.array(3).unwrap().str("t").unwrap().str("CREATE TABLE `t` (x)").unwrap();
        e.array(2).unwrap().str("a").unwrap().str("b").unwrap();
        for number in 0..1000 {
            e.array(2).unwrap().i64(number - 500).unwrap().bytes(&[7; 5000]).unwrap();
        }
        e.null().unwrap().null().unwrap();
        e.into_writer()
    }

    #[test]
    fn a_dump_is_read_in_parts_and_a_cut_one_is_refused() {
        let whole = dump();
        assert_eq!(verify_dump(&whole[..]).unwrap(), 1000);
        for cut in [0, 5, MAGIC.len(), 100, whole.len() / 2, whole.len() - 2, whole.len() - 1] {
            assert!(verify_dump(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }
}
