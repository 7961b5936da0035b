//! Everything that the tables hold about one account, as rows. See [`crate::store::OperatorStore::disclose`]. Every table
//! that leads to an account has a line here (a test compares this list with the schema). It must not know what sealed
//! columns contain.

use super::Database;
use crate::store::{AccountId, Disclosed, StoreError, Value};
use sqlx::{Column, Row, TypeInfo, ValueRef, mysql::MySqlRow};

/// Each table, and what it holds about account `?`, as often as it stands there. Many rows are counted, by day.
pub(super) const TABLES: &[(&str, &str)] = &[
    ("account", "SELECT * FROM account WHERE id = ?"),
    ("device", "SELECT * FROM device WHERE account = ? ORDER BY enrolled_ms, id"),
    (
        "key_package",
        "SELECT k.device, COUNT(*) AS number, CAST(SUM(LENGTH(k.payload)) AS SIGNED) AS bytes \
         FROM key_package k JOIN device d ON d.id = k.device WHERE d.account = ? GROUP BY k.device",
    ),
    (
        "conversation",
        "SELECT c.* FROM conversation c JOIN participant p ON p.conversation = c.id WHERE p.account = ? ORDER BY c.id",
    ),
    ("former_device", "SELECT id, account FROM former_device WHERE account = ? ORDER BY id"),
    (
        "direct_conversation",
        "SELECT l.username AS low_account, h.username AS high_account, c.conversation FROM direct_conversation c \
         JOIN account l ON l.id = c.low_account JOIN account h ON h.id = c.high_account \
         WHERE c.low_account = ? OR c.high_account = ? ORDER BY c.conversation",
    ),
    (
        "participant",
        "SELECT p.conversation, a.username AS account FROM participant o \
         JOIN participant p ON p.conversation = o.conversation JOIN account a ON a.id = p.account \
         WHERE o.account = ? ORDER BY p.conversation, a.username",
    ),
    (
        "room",
        "SELECT r.conversation, r.name FROM room r JOIN participant p ON p.conversation = r.conversation \
         WHERE p.account = ? ORDER BY r.conversation",
    ),
    (
        "membership",
        "SELECT m.* FROM membership m JOIN device d ON d.id = m.device WHERE d.account = ? \
         ORDER BY m.conversation, m.device",
    ),
    (
        "group_info",
        "SELECT g.conversation, CAST(LENGTH(g.sealed) AS SIGNED) AS bytes FROM group_info g \
         JOIN participant p ON p.conversation = g.conversation WHERE p.account = ?",
    ),
    (
        "entry",
        "SELECT e.conversation, e.sender, e.kind, e.time_ms DIV 86400000 AS day, COUNT(*) AS number, \
         CAST(SUM(e.size) AS SIGNED) AS bytes FROM entry e JOIN device d ON d.id = e.sender WHERE d.account = ? \
         GROUP BY e.conversation, e.sender, e.kind, e.time_ms DIV 86400000 ORDER BY day",
    ),
    (
        "receipt",
        "SELECT r.conversation, r.device, r.time_ms DIV 86400000 AS day, COUNT(*) AS number \
         FROM receipt r JOIN device d ON d.id = r.device WHERE d.account = ? \
         GROUP BY r.conversation, r.device, r.time_ms DIV 86400000 ORDER BY day",
    ),
    (
        "welcome",
        "SELECT w.conversation, i.device, w.seq, CAST(LENGTH(w.payload) AS SIGNED) AS bytes FROM inbox i \
         JOIN device d ON d.id = i.device \
         JOIN welcome w ON w.conversation = i.conversation AND w.seq = i.welcome_seq WHERE d.account = ?",
    ),
    (
        "inbox",
        "SELECT i.device, i.seq, i.time_ms DIV 86400000 AS day, i.kind, i.username, i.list_version, \
         i.conversation, i.asker, i.wish FROM inbox i \
         JOIN device d ON d.id = i.device \
         WHERE d.account = ? OR i.username = (SELECT username FROM account WHERE id = ?) ORDER BY i.device, i.seq",
    ),
    ("manifest", "SELECT account, version, payload FROM manifest WHERE account = ?"),
    (
        "segment",
        "SELECT device, stored_ms DIV 86400000 AS day, COUNT(*) AS number, CAST(SUM(size) AS SIGNED) AS bytes \
         FROM segment WHERE account = ? GROUP BY device, stored_ms DIV 86400000 ORDER BY day",
    ),
    (
        "attachment",
        "SELECT begun_ms DIV 86400000 AS day, finished_ms IS NOT NULL AS is_finished, dropped, COUNT(*) AS number, \
         CAST(SUM(size) AS SIGNED) AS bytes FROM attachment WHERE account = ? \
         GROUP BY begun_ms DIV 86400000, finished_ms IS NOT NULL, dropped ORDER BY day",
    ),
];

impl Database {
    pub(super) async fn disclose(&self, account: AccountId) -> Result<Vec<Disclosed>, StoreError> {
        let mut all = Vec::new();
        for (table, sql) in TABLES {
            let mut query = sqlx::query(*sql);
            for _ in 0..sql.matches('?').count() {
                query = query.bind(account.0);
            }
            let rows = query.fetch_all(&self.pool).await?;
            let rows = rows.iter().map(row).collect::<Result<_, _>>()?;
            all.push(Disclosed { table, rows });
        }
        Ok(all)
    }
}

fn row(row: &MySqlRow) -> Result<Vec<(String, Value)>, StoreError> {
    let column = |column: &sqlx::mysql::MySqlColumn| {
        let value = match value(row, column.ordinal())? {
            // A binary collation makes the database call text bytes.
            Value::Bytes(bytes) if TEXTS.contains(&column.name()) => {
                Value::Text(String::from_utf8(bytes).map_err(|_| StoreError::Inconsistent("account"))?)
            }
            value => value,
        };
        Ok((column.name().to_owned(), value))
    };
    row.columns().iter().map(column).collect()
}

/// The columns that hold text.
const TEXTS: [&str; 4] = ["username", "account", "low_account", "high_account"];

/// One column of a row.
pub(super) fn value(row: &MySqlRow, place: usize) -> Result<Value, StoreError> {
    let raw = row.try_get_raw(place)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().name().to_owned();
    Ok(match kind.as_str() {
        kind if kind.contains("INT") => Value::Integer(row.try_get(place)?),
        kind if kind.contains("CHAR") || kind.contains("TEXT") => Value::Text(row.try_get(place)?),
        _ => Value::Bytes(row.try_get(place)?),
    })
}
