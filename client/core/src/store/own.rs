//! The one row that says who this profile is.

use crate::Error;
use rusqlite::{Connection, OptionalExtension, named_params};
use zeroize::Zeroizing;

/// Who this profile is.
#[derive(Clone)]
pub(crate) struct Own {
    pub(crate) username: String,
    pub(crate) full_name: Option<String>,
    /// The server's link, without an invite.
    pub(crate) server: String,
    pub(crate) device: [u8; 16],
    pub(crate) authentication_key: Zeroizing<[u8; 32]>,
    /// The public half; the private one lies with the MLS state.
    pub(crate) mls_key: Vec<u8>,
    pub(crate) credential: Vec<u8>,
    /// SubjectPublicKeyInfo, DER.
    pub(crate) identity_key: Vec<u8>,
    /// Signed.
    pub(crate) device_list: Vec<u8>,
    /// Of the server's database, once known.
    pub(crate) incarnation: Option<[u8; 16]>,
}

pub(crate) fn insert(db: &Connection, own: &Own) -> Result<(), Error> {
    db.execute(
        "INSERT INTO own (id, username, full_name, server, device, authentication_key, mls_key, credential,
                          identity_key, device_list, incarnation)
         VALUES (1, :username, :full_name, :server, :device, :authentication_key, :mls_key, :credential,
                 :identity_key, :device_list, :incarnation)",
        named_params! {
            ":username": own.username, ":full_name": own.full_name, ":server": own.server, ":device": own.device,
            ":authentication_key": *own.authentication_key, ":mls_key": own.mls_key, ":credential": own.credential,
            ":identity_key": own.identity_key, ":device_list": own.device_list, ":incarnation": own.incarnation,
        },
    )?;
    Ok(())
}

pub(crate) fn load(db: &Connection) -> Result<Option<Own>, Error> {
    let own = db.query_row("SELECT * FROM own", [], |row| {
        let incarnation: Option<Vec<u8>> = row.get("incarnation")?;
        Ok(Own {
            username: row.get("username")?,
            full_name: row.get("full_name")?,
            server: row.get("server")?,
            device: super::array(row, "device")?,
            authentication_key: Zeroizing::new(super::array(row, "authentication_key")?),
            mls_key: row.get("mls_key")?,
            credential: row.get("credential")?,
            identity_key: row.get("identity_key")?,
            device_list: row.get("device_list")?,
            incarnation: incarnation.map(|_| super::array(row, "incarnation")).transpose()?,
        })
    });
    Ok(own.optional()?)
}

/// The newest signed list.
pub(crate) fn device_list(db: &Connection) -> Result<Option<Vec<u8>>, Error> {
    Ok(db.query_row("SELECT device_list FROM own", [], |row| row.get(0)).optional()?)
}

pub(crate) fn set_device_list(db: &Connection, signed: &[u8]) -> Result<(), Error> {
    db.execute("UPDATE own SET device_list = ?1", [signed])?;
    Ok(())
}

pub(crate) fn set_incarnation(db: &Connection, incarnation: &[u8; 16]) -> Result<(), Error> {
    db.execute("UPDATE own SET incarnation = ?1", [incarnation])?;
    Ok(())
}
