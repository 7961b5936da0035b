//! Everything that the tables hold about one account, as rows. See [`crate::store::OperatorStore::disclose`].
//!
//! Invariant: every table that leads to an account has a line here (a test compares this list with the schema). It must not
//! know what sealed columns contain.

use crate::store::{AccountId, Disclosed, StoreError, Value};
use rusqlite::{Connection, types::ValueRef};

/// Each table, and what it holds about account `?1`. Many rows are counted, by day: a day has 86,400,000 ms.
pub(super) const TABLES: &[(&str, &str)] = &[
    ("account", "SELECT * FROM account WHERE id = ?1"),
    ("device", "SELECT * FROM device WHERE account = ?1 ORDER BY id"),
    ("former_device", "SELECT id, account FROM former_device WHERE account = ?1 ORDER BY id"),
    (
        "key_package",
        "SELECT d.public_id AS device, k.last_resort, count(*) AS number, sum(length(k.payload)) AS bytes
         FROM key_package k JOIN device d ON d.id = k.device WHERE d.account = ?1 GROUP BY d.id, k.last_resort",
    ),
    (
        "conversation",
        "SELECT c.public_id, l.username AS pair_low, h.username AS pair_high, c.creator, c.created_seq,
         c.created_ms, c.head, c.commits, c.last_commit_ms
         FROM conversation c JOIN roster r ON r.conversation = c.id
         LEFT JOIN account l ON l.id = c.pair_low LEFT JOIN account h ON h.id = c.pair_high
         WHERE r.account = ?1 ORDER BY c.id",
    ),
    (
        "roster",
        "SELECT c.public_id AS conversation, a.username AS account
         FROM roster o JOIN roster r ON r.conversation = o.conversation JOIN account a ON a.id = r.account
         JOIN conversation c ON c.id = o.conversation WHERE o.account = ?1 ORDER BY c.id, a.username",
    ),
    (
        "room",
        "SELECT c.public_id AS conversation, o.name FROM room o JOIN conversation c ON c.id = o.conversation
         JOIN roster r ON r.conversation = c.id WHERE r.account = ?1 ORDER BY c.id",
    ),
    (
        "member",
        "SELECT c.public_id AS conversation, d.public_id AS device, m.start, m.cursor, m.sent, m.left_at,
         m.join_digest, m.join_ms / 86400000 AS day
         FROM member m JOIN device d ON d.id = m.device JOIN conversation c ON c.id = m.conversation
         WHERE d.account = ?1 ORDER BY c.id, d.id",
    ),
    (
        "group_info",
        "SELECT c.public_id AS conversation, length(g.sealed) AS bytes FROM group_info g
         JOIN conversation c ON c.id = g.conversation JOIN roster r ON r.conversation = c.id WHERE r.account = ?1",
    ),
    (
        "entry",
        "SELECT c.public_id AS conversation, d.public_id AS sender, e.is_commit, e.time_ms / 86400000 AS day,
         count(*) AS number, sum(length(e.payload)) AS bytes
         FROM entry e JOIN device d ON d.id = e.sender JOIN conversation c ON c.id = e.conversation
         WHERE d.account = ?1 GROUP BY 1, 2, 3, 4 ORDER BY 4",
    ),
    (
        "sent",
        "SELECT c.public_id AS conversation, d.public_id AS device, s.time_ms / 86400000 AS day, count(*) AS number
         FROM sent s JOIN device d ON d.id = s.device JOIN conversation c ON c.id = s.conversation
         WHERE d.account = ?1 GROUP BY 1, 2, 3 ORDER BY 3",
    ),
    (
        "former_member",
        "SELECT c.public_id AS conversation, d.public_id AS device, f.sent
         FROM former_member f JOIN device d ON d.id = f.device JOIN conversation c ON c.id = f.conversation
         WHERE d.account = ?1 ORDER BY c.id, d.id",
    ),
    (
        "welcome",
        "SELECT w.conversation, d.public_id AS device, w.seq, length(w.payload) AS bytes
         FROM inbox i JOIN device d ON d.id = i.device JOIN welcome w ON w.id = i.welcome WHERE d.account = ?1",
    ),
    (
        "inbox",
        "SELECT d.public_id AS device, i.seq, i.time_ms / 86400000 AS day, i.welcome IS NOT NULL AS is_welcome,
         i.username, i.list_version, i.conversation, i.asker, i.wish
         FROM inbox i JOIN device d ON d.id = i.device
         WHERE d.account = ?1 OR i.username = (SELECT username FROM account WHERE id = ?1) ORDER BY d.id, i.seq",
    ),
    ("manifest", "SELECT account, version, payload FROM manifest WHERE account = ?1"),
    (
        "segment",
        "SELECT device, stored_ms / 86400000 AS day, count(*) AS number, sum(size) AS bytes
         FROM segment WHERE account = ?1 GROUP BY 1, 2 ORDER BY 2",
    ),
    (
        "attachment",
        "SELECT begun_ms / 86400000 AS day, finished_ms IS NOT NULL AS is_finished, dropped, count(*) AS number,
         sum(size) AS bytes FROM attachment WHERE account = ?1 GROUP BY 1, 2, 3 ORDER BY 1",
    ),
    (
        "segment_payload",
        "SELECT count(*) AS number, sum(length(p.payload)) AS bytes FROM segment s
         JOIN segment_payload p ON p.segment = s.id WHERE s.account = ?1 HAVING count(*) > 0",
    ),
];

pub(super) fn disclose(connection: &Connection, account: AccountId) -> Result<Vec<Disclosed>, StoreError> {
    let moment = connection.unchecked_transaction()?;
    let mut all = Vec::new();
    for (table, sql) in TABLES {
        let mut select = moment.prepare(sql)?;
        let columns: Vec<String> = select.column_names().into_iter().map(str::to_owned).collect();
        let mut rows = select.query([account.0])?;
        let mut disclosed = Disclosed { table, rows: Vec::new() };
        while let Some(row) = rows.next()? {
            let values = columns.iter().enumerate();
            let values = values.map(|(place, column)| Ok((column.clone(), value(row.get_ref(place)?))));
            disclosed.rows.push(values.collect::<Result<_, rusqlite::Error>>()?);
        }
        all.push(disclosed);
    }
    Ok(all)
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        // No column is of this type.
        ValueRef::Real(number) => Value::Text(number.to_string()),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}
