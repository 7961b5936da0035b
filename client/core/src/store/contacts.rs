//! The accounts that this device has met, with the identity it pinned for each.

use crate::Error;
use minicbor::bytes::ByteVec;
use rusqlite::{Connection, OptionalExtension};

/// A pinned account.
#[derive(Clone, Debug)]
pub(crate) struct Contact {
    /// SubjectPublicKeyInfo, DER.
    pub(crate) identity_key: Vec<u8>,
    /// The newest signed device list that was seen.
    pub(crate) device_list: Vec<u8>,
    pub(crate) full_name: Option<String>,
    /// The fingerprint that the server showed instead of the pinned one.
    pub(crate) changed: Option<Vec<u8>>,
}

pub(crate) fn load(db: &Connection, username: &str) -> Result<Option<Contact>, Error> {
    let mut query =
        db.prepare_cached("SELECT identity_key, device_list, full_name, changed FROM contacts WHERE username = ?1")?;
    let contact = query.query_row([username], |row| {
        Ok(Contact {
            identity_key: row.get(0)?,
            device_list: row.get(1)?,
            full_name: row.get(2)?,
            changed: row.get(3)?,
        })
    });
    Ok(contact.optional()?)
}

/// Pins an account at first contact. Never replaces a pin.
pub(crate) fn pin(db: &Connection, username: &str, identity_key: &[u8], device_list: &[u8]) -> Result<(), Error> {
    db.execute(
        "INSERT INTO contacts (username, identity_key, device_list) VALUES (?1, ?2, ?3)",
        (username, identity_key, device_list),
    )?;
    Ok(())
}

pub(crate) fn set_device_list(db: &Connection, username: &str, signed: &[u8]) -> Result<(), Error> {
    db.execute("UPDATE contacts SET device_list = ?2 WHERE username = ?1", (username, signed))?;
    Ok(())
}

/// Notes that the server showed another identity, or (`None`) the pinned one again.
pub(crate) fn set_changed(db: &Connection, username: &str, fingerprint: Option<&[u8; 32]>) -> Result<(), Error> {
    db.execute("UPDATE contacts SET changed = ?2 WHERE username = ?1", (username, fingerprint))?;
    Ok(())
}

pub(crate) fn set_full_name(db: &Connection, username: &str, full_name: Option<&str>) -> Result<(), Error> {
    db.execute("UPDATE contacts SET full_name = ?2 WHERE username = ?1", (username, full_name))?;
    Ok(())
}

/// The users whose identity changed.
pub(crate) fn changed(db: &Connection) -> Result<Vec<String>, Error> {
    let mut query = db.prepare_cached("SELECT username FROM contacts WHERE changed IS NOT NULL ORDER BY username")?;
    let names = query.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// How an account's identity came to be the present one: statements, oldest first. Proven ones only.
pub(crate) fn rotations(db: &Connection, username: &str) -> Result<Vec<Vec<u8>>, Error> {
    let mut query = db.prepare_cached("SELECT statements FROM rotations WHERE username = ?1")?;
    let stored: Option<Vec<u8>> = query.query_row([username], |row| row.get(0)).optional()?;
    let Some(stored) = stored else { return Ok(Vec::new()) };
    let statements: Vec<ByteVec> = minicbor::decode(&stored)
        .map_err(|error| Error::Storage(format!("the stored identities of '{username}': {error}")))?;
    Ok(statements.into_iter().map(Vec::from).collect())
}

pub(crate) fn set_rotations(db: &Connection, username: &str, statements: &[Vec<u8>]) -> Result<(), Error> {
    let statements: Vec<ByteVec> = statements.iter().cloned().map(ByteVec::from).collect();
    let encoded = minicbor::to_vec(&statements).map_err(|error| Error::Storage(error.to_string()))?;
    db.execute(
        "INSERT INTO rotations (username, statements) VALUES (?1, ?2)
         ON CONFLICT (username) DO UPDATE SET statements = excluded.statements",
        (username, encoded),
    )?;
    Ok(())
}
