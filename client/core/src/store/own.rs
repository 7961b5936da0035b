//! The one row that says who this profile is.

use crate::{Error, transport::Door};
use rusqlite::{Connection, OptionalExtension, named_params};
use waxwing_e2ee::account::{DeviceList, IdentityPublicKey, VerifiedDeviceList};
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
    /// What all devices of the account share, once known.
    pub(crate) account_key: Option<Zeroizing<[u8; 32]>>,
    /// Of the server's database, once known.
    pub(crate) incarnation: Option<[u8; 16]>,
}

pub(crate) fn insert(db: &Connection, own: &Own) -> Result<(), Error> {
    db.execute(
        "INSERT INTO own (id, username, full_name, server, device, authentication_key, mls_key, credential,
                          identity_key, device_list, account_key, incarnation)
         VALUES (1, :username, :full_name, :server, :device, :authentication_key, :mls_key, :credential,
                 :identity_key, :device_list, :account_key, :incarnation)",
        named_params! {
            ":username": own.username, ":full_name": own.full_name, ":server": own.server, ":device": own.device,
            ":authentication_key": *own.authentication_key, ":mls_key": own.mls_key, ":credential": own.credential,
            ":identity_key": own.identity_key, ":device_list": own.device_list,
            ":account_key": own.account_key.as_deref(), ":incarnation": own.incarnation,
        },
    )?;
    Ok(())
}

pub(crate) fn load(db: &Connection) -> Result<Option<Own>, Error> {
    let own = db.query_row("SELECT * FROM own", [], |row| {
        let incarnation: Option<Vec<u8>> = row.get("incarnation")?;
        let account_key: Option<Vec<u8>> = row.get("account_key")?;
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
            account_key: match account_key.map(Zeroizing::new) {
                Some(_) => Some(Zeroizing::new(super::array(row, "account_key")?)),
                None => None,
            },
            incarnation: incarnation.map(|_| super::array(row, "incarnation")).transpose()?,
        })
    });
    Ok(own.optional()?)
}

/// The account's name; empty where there is no account yet.
pub(crate) fn username(db: &Connection) -> Result<String, Error> {
    let mut query = db.prepare_cached("SELECT username FROM own")?;
    Ok(query.query_row([], |row| row.get(0)).optional()?.unwrap_or_default())
}

/// This profile is another device from now on.
pub(crate) fn replace(db: &Connection, own: &Own) -> Result<(), Error> {
    db.execute(
        "UPDATE own SET full_name = :full_name, server = :server, device = :device, authentication_key = :authentication_key,
             mls_key = :mls_key, credential = :credential, identity_key = :identity_key, device_list = :device_list,
             account_key = :account_key, incarnation = :incarnation, enrolling = NULL",
        named_params! {
            ":full_name": own.full_name, ":server": own.server, ":device": own.device,
            ":authentication_key": *own.authentication_key, ":mls_key": own.mls_key, ":credential": own.credential,
            ":identity_key": own.identity_key, ":device_list": own.device_list,
            ":account_key": own.account_key.as_deref(), ":incarnation": own.incarnation,
        },
    )?;
    Ok(())
}

/// The device that this profile was about to become, if that is uncertain.
pub(crate) fn enrolling(db: &Connection) -> Result<Option<[u8; 16]>, Error> {
    let mut query = db.prepare_cached("SELECT enrolling FROM own WHERE enrolling IS NOT NULL")?;
    Ok(query.query_row([], |row| super::array(row, "enrolling")).optional()?)
}

/// This profile is about to become that device.
pub(crate) fn set_enrolling(db: &Connection, device: &[u8; 16]) -> Result<(), Error> {
    db.execute("UPDATE own SET enrolling = ?1", [device])?;
    Ok(())
}

/// The newest signed list.
pub(crate) fn device_list(db: &Connection) -> Result<Option<Vec<u8>>, Error> {
    Ok(db.query_row("SELECT device_list FROM own", [], |row| row.get(0)).optional()?)
}

/// The newest list that this profile knows, as its identity has signed it.
pub(crate) fn verified_list(own: &Own) -> Result<VerifiedDeviceList, Error> {
    let damaged = |error: &dyn std::fmt::Display| Error::Storage(format!("this account's device list: {error}"));
    let identity = IdentityPublicKey::from_der(&own.identity_key).map_err(|error| damaged(&error))?;
    DeviceList::verify(&own.device_list, &identity, &own.username).map_err(|error| damaged(&error))
}

pub(crate) fn set_device_list(db: &Connection, signed: &[u8]) -> Result<(), Error> {
    db.execute("UPDATE own SET device_list = ?1", [signed])?;
    Ok(())
}

pub(crate) fn set_account_key(db: &Connection, key: &[u8; 32]) -> Result<(), Error> {
    db.execute("UPDATE own SET account_key = ?1", [key])?;
    Ok(())
}

pub(crate) fn set_server(db: &Connection, link: &str) -> Result<(), Error> {
    db.execute("UPDATE own SET server = ?1", [link])?;
    Ok(())
}

/// After a revision: the list, and what else may have become another.
pub(crate) fn set_revised(db: &Connection, own: &Own) -> Result<(), Error> {
    db.execute(
        "UPDATE own SET device_list = ?1, identity_key = ?2, credential = ?3, account_key = ?4",
        (&own.device_list, &own.identity_key, &own.credential, own.account_key.as_deref()),
    )?;
    Ok(())
}

pub(crate) fn set_incarnation(db: &Connection, incarnation: &[u8; 16]) -> Result<(), Error> {
    db.execute("UPDATE own SET incarnation = ?1", [incarnation])?;
    Ok(())
}

/// The way that the last connection went.
pub(crate) fn door(db: &Connection) -> Result<Door, Error> {
    let tunnelled = db.query_row("SELECT through_websocket FROM own", [], |row| row.get(0)).optional()?;
    Ok(if tunnelled.unwrap_or(false) { Door::Websocket } else { Door::Plain })
}

pub(crate) fn set_door(db: &Connection, door: Door) -> Result<(), Error> {
    db.execute("UPDATE own SET through_websocket = ?1", [door == Door::Websocket])?;
    Ok(())
}

pub(crate) fn set_full_name(db: &Connection, name: Option<&str>) -> Result<(), Error> {
    db.execute("UPDATE own SET full_name = ?1", [name])?;
    Ok(())
}
