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
    /// The fingerprint that the user has compared. Not the pinned one's: the identity was renewed since.
    pub(crate) verified: Option<Vec<u8>>,
    /// What the server showed instead.
    pub(crate) changed: Option<Changed>,
}

/// Another identity than the pinned one, which nobody vouched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) identity_key: Vec<u8>,
    pub(crate) device_list: Vec<u8>,
}

pub(crate) fn load(db: &Connection, username: &str) -> Result<Option<Contact>, Error> {
    let mut query = db.prepare_cached("SELECT * FROM contacts WHERE username = ?1")?;
    let contact = query.query_row([username], |row| {
        let changed: Option<Vec<u8>> = row.get("changed")?;
        let changed = changed.map(|fingerprint| {
            let identity_key = row.get("changed_key")?;
            Ok::<_, rusqlite::Error>(Changed { fingerprint, identity_key, device_list: row.get("changed_list")? })
        });
        Ok(Contact {
            identity_key: row.get("identity_key")?,
            device_list: row.get("device_list")?,
            full_name: row.get("full_name")?,
            verified: row.get("verified")?,
            changed: changed.transpose()?,
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

/// Replaces the pin: by an identity that the pinned one vouched for, or one that the user accepted.
pub(crate) fn replace(db: &Connection, username: &str, identity_key: &[u8], device_list: &[u8]) -> Result<(), Error> {
    db.execute(
        "UPDATE contacts SET identity_key = ?2, device_list = ?3, changed = NULL, changed_key = NULL,
                             changed_list = NULL WHERE username = ?1",
        (username, identity_key, device_list),
    )?;
    Ok(())
}

/// Keeps an identity that vouched for its successor, a contact's or our own.
pub(crate) fn add_former(db: &Connection, username: &str, fingerprint: &[u8; 32], key: &[u8]) -> Result<(), Error> {
    db.execute("INSERT OR IGNORE INTO former_identities VALUES (?1, ?2, ?3)", (username, fingerprint, key))?;
    Ok(())
}

/// An identity that vouched for its successor, by its fingerprint.
pub(crate) fn former(db: &Connection, username: &str, fingerprint: &[u8; 32]) -> Result<Option<Vec<u8>>, Error> {
    let mut query =
        db.prepare_cached("SELECT identity_key FROM former_identities WHERE username = ?1 AND fingerprint = ?2")?;
    Ok(query.query_row((username, fingerprint), |row| row.get(0)).optional()?)
}

/// The identities of a user that vouched for their successors.
pub(crate) fn formers(db: &Connection, username: &str) -> Result<Vec<Vec<u8>>, Error> {
    let mut query =
        db.prepare_cached("SELECT identity_key FROM former_identities WHERE username = ?1 ORDER BY fingerprint")?;
    let keys = query.query_map([username], |row| row.get(0))?;
    Ok(keys.collect::<Result<_, _>>()?)
}

/// The fingerprint that the user has compared, or none any more.
pub(crate) fn set_verified(db: &Connection, username: &str, fingerprint: Option<&[u8; 32]>) -> Result<(), Error> {
    db.execute("UPDATE contacts SET verified = ?2 WHERE username = ?1", (username, fingerprint))?;
    Ok(())
}

pub(crate) fn set_device_list(db: &Connection, username: &str, signed: &[u8]) -> Result<(), Error> {
    db.execute("UPDATE contacts SET device_list = ?2 WHERE username = ?1", (username, signed))?;
    Ok(())
}

/// Notes that the server showed another identity, or (`None`) the pinned one again.
pub(crate) fn set_changed(db: &Connection, username: &str, changed: Option<&Changed>) -> Result<(), Error> {
    let columns = changed.map(|changed| (&changed.fingerprint, &changed.identity_key, &changed.device_list));
    let (fingerprint, key, list) = columns.map_or((None, None, None), |(a, b, c)| (Some(a), Some(b), Some(c)));
    db.execute(
        "UPDATE contacts SET changed = ?2, changed_key = ?3, changed_list = ?4 WHERE username = ?1",
        (username, fingerprint, key, list),
    )?;
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

/// All users that this device has met.
pub(crate) fn all(db: &Connection) -> Result<Vec<String>, Error> {
    let mut query = db.prepare_cached("SELECT username FROM contacts ORDER BY username")?;
    let names = query.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}
