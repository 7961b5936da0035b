//! Whom the user trusts: comparing safety numbers, and accepting identities that nobody vouched for.

use super::Client;
use crate::{
    Error,
    account::check_username,
    engine::Command,
    store::{contacts, own},
};
use rusqlite::Connection as Database;
use serde::Serialize;
use waxwing_e2ee::account::{IdentityPublicKey, SafetyNumber};

/// What the user has compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verification {
    /// Nothing: the identity is the one that was met first.
    Unverified,
    /// The safety number of the present identity.
    Verified,
    /// The safety number of a former identity, which vouched for the present one.
    Renewed,
}

/// What is known of a user's identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Who.
    pub username: String,
    /// SHA-256 of the pinned identity key, 64 hexadecimal digits.
    pub fingerprint: String,
    /// 60 digits in 12 groups of 5, the same on both sides.
    pub safety_number: String,
    /// What a QR code shows to the other's device.
    pub qr: String,
    /// What the user has compared.
    pub verification: Verification,
    /// The identity that the server shows instead, which nobody vouched for: everything for this user is held.
    pub changed: Option<ChangedIdentity>,
}

/// An identity that is not accepted yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedIdentity {
    /// SHA-256 of the key, 64 hexadecimal digits.
    pub fingerprint: String,
    /// The safety number that it would have.
    pub safety_number: String,
}

impl Client {
    /// What is known of a user's identity; fetched if the user was never met.
    pub async fn identity(&self, name: &str) -> Result<Identity, Error> {
        let name = check_username(name)?;
        let unknown = self.database({
            let name = name.clone();
            move |db| Ok(contacts::load(db, &name)?.is_none())
        });
        if unknown.await? {
            self.start_chat(&name).await?;
        }
        self.database(move |db| identity(db, &name)).await
    }

    /// The user has compared the safety number of exactly this identity with the other user (or takes that back).
    pub async fn set_verified(&self, name: &str, fingerprint: &str, verified: bool) -> Result<Identity, Error> {
        let (name, fingerprint) = (check_username(name)?, fingerprint.to_ascii_lowercase());
        let known = self.database({
            let name = name.clone();
            move |db| pinned(db, &name).map(|(key, _)| key.fingerprint())
        });
        let known = known.await?;
        if hex(&known) != fingerprint {
            return Err(Error::OtherIdentity(name));
        }
        self.ask({
            let username = name.clone();
            move |reply| Command::SetVerified { username, fingerprint: known, verified, reply }
        })
        .await?;
        self.database(move |db| identity(db, &name)).await
    }

    /// Accepts the identity that the server shows for a user, exactly the one with this fingerprint. A verified contact's
    /// takes `compared`: the user has compared the new safety number, and the contact stays verified.
    pub async fn trust(&self, name: &str, fingerprint: &str, compared: bool) -> Result<Identity, Error> {
        let (name, fingerprint) = (check_username(name)?, fingerprint.to_ascii_lowercase());
        self.ask({
            let name = name.clone();
            move |reply| Command::Trust { username: name, fingerprint, compared, reply }
        })
        .await?;
        self.database(move |db| identity(db, &name)).await
    }
}

/// Replaces a pin by the identity that the server shows; what [`Client::trust`] does to the database. Returns its
/// fingerprint.
pub(crate) fn accept(db: &Database, name: &str, fingerprint: &str, compared: bool) -> Result<[u8; 32], Error> {
    let contact = contacts::load(db, name)?.ok_or_else(|| Error::UnknownUser(name.to_owned()))?;
    let nothing = || Error::BadInput(format!("the identity of '{name}' has not changed: there is nothing to accept"));
    let changed = contact.changed.ok_or_else(nothing)?;
    if hex(&changed.fingerprint) != fingerprint {
        return Err(Error::OtherIdentity(name.to_owned()));
    }
    if contact.verified.is_some() && !compared {
        return Err(Error::VerifiedContact(name.to_owned()));
    }
    let key = public(&changed.identity_key)?;
    contacts::replace(db, name, &changed.identity_key, &changed.device_list)?;
    contacts::set_verified(db, name, compared.then(|| key.fingerprint()).as_ref())?;
    Ok(key.fingerprint())
}

fn identity(db: &Database, name: &str) -> Result<Identity, Error> {
    let own = own::load(db)?.ok_or_else(|| Error::Storage("the profile is empty".into()))?;
    if own.username == name {
        return Err(Error::BadInput("there is no safety number between you and yourself".into()));
    }
    let mine = public(&own.identity_key)?;
    let (theirs, contact) = pinned(db, name)?;
    let number = |key: &IdentityPublicKey| SafetyNumber::new((&own.username, &mine), (name, key));
    let present = number(&theirs);
    let changed = contact.changed.map(|changed| {
        let safety_number = number(&public(&changed.identity_key)?).to_string();
        Ok::<_, Error>(ChangedIdentity { fingerprint: hex(&changed.fingerprint), safety_number })
    });
    Ok(Identity {
        username: name.to_owned(),
        fingerprint: hex(&theirs.fingerprint()),
        safety_number: present.to_string(),
        qr: present.qr(),
        verification: match contact.verified {
            None => Verification::Unverified,
            Some(verified) if verified == theirs.fingerprint() => Verification::Verified,
            Some(_) => Verification::Renewed,
        },
        changed: changed.transpose()?,
    })
}

fn pinned(db: &Database, name: &str) -> Result<(IdentityPublicKey, contacts::Contact), Error> {
    let contact = contacts::load(db, name)?.ok_or_else(|| Error::UnknownUser(name.to_owned()))?;
    Ok((public(&contact.identity_key)?, contact))
}

fn public(der: &[u8]) -> Result<IdentityPublicKey, Error> {
    IdentityPublicKey::from_der(der).map_err(|error| Error::Storage(format!("a stored identity key: {error}")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
