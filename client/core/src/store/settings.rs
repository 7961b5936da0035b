//! What the user has set, on all devices of the account. Of two values the one that was set later counts.

use crate::Error;
use rusqlite::{Connection, OptionalExtension};

pub(crate) fn load(db: &Connection, name: &str) -> Result<Option<String>, Error> {
    let mut query = db.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
    Ok(query.query_row([name], |row| row.get(0)).optional()?)
}

/// False if it was set later than that.
pub(crate) fn set(db: &Connection, name: &str, value: &str, at: u64) -> Result<bool, Error> {
    let mut query = db.prepare_cached(
        "INSERT INTO settings (name, value, at) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET value = excluded.value, at = excluded.at WHERE excluded.at >= settings.at",
    )?;
    // Whatever another device's clock says, the database must be able to keep it.
    Ok(query.execute((name, value, at.min(1 << 52)))? > 0)
}

/// All, by name.
pub(crate) fn all(db: &Connection) -> Result<Vec<(String, String)>, Error> {
    let mut query = db.prepare_cached("SELECT name, value FROM settings ORDER BY name")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
