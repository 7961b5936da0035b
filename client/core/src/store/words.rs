//! The index of words. It follows the messages by triggers, within the same transactions.

use crate::Error;
use rusqlite::{Connection, OptionalExtension, named_params};

/// Stand around what was found in a snippet.
pub(crate) const BEGIN: char = '\u{2}';
pub(crate) const END: char = '\u{3}';

/// How many words a snippet has at most.
const SNIPPET: usize = 16;

/// A message that matches.
pub(crate) struct Candidate {
    pub(crate) position: i64,
    pub(crate) text: String,
}

/// The newest messages that match an expression of FTS5 (all texts without one) and were written in this span. Nothing of
/// a stranger who waits.
pub(crate) fn candidates(
    db: &Connection,
    expression: Option<&str>,
    (after, before): (Option<u64>, Option<u64>),
    limit: usize,
) -> Result<Vec<Candidate>, Error> {
    let found = match expression {
        // CROSS: the index first, whatever the planner thinks.
        Some(_) => "words CROSS JOIN messages m ON m.position = words.rowid WHERE words MATCH :expression",
        None => "messages m WHERE :expression IS NULL",
    };
    let order = if expression.is_some() { "words.rowid" } else { "m.position" };
    let mut query = db.prepare_cached(&format!(
        "SELECT m.position, m.searched FROM {found} AND m.kind IN (0, 40) AND m.sent_at >= :after AND m.sent_at < :before
             AND NOT EXISTS (SELECT 1 FROM chats c JOIN settings s ON s.name = 'request/' || c.name
                             WHERE c.chat = m.chat AND s.value = 'on')
         ORDER BY {order} DESC LIMIT :limit"
    ))?;
    let before = before.unwrap_or(i64::MAX as u64);
    let rows = query.query_map(
        named_params! { ":expression": expression, ":after": after.unwrap_or(0), ":before": before, ":limit": limit },
        |row| Ok(Candidate { position: row.get(0)?, text: row.get(1)? }),
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The months that messages are of, as `202601`, the earliest first; perhaps some more.
pub(crate) fn months(db: &Connection) -> Result<Vec<String>, Error> {
    let mut query = db.prepare_cached("SELECT month FROM months ORDER BY month")?;
    let rows = query.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The part of a text that matches best.
pub(crate) fn snippet(db: &Connection, expression: &str, position: i64) -> Result<Option<String>, Error> {
    let mut query = db.prepare_cached(
        "SELECT snippet(words, 0, char(2), char(3), '…', ?3) FROM words WHERE words MATCH ?1 AND rowid = ?2",
    )?;
    Ok(query.query_row((expression, position, SNIPPET), |row| row.get(0)).optional()?)
}
