//! The device list: which devices an account has, signed by its identity, so that no server adds one.
//!
//! The invariant: a [`VerifiedDeviceList`] was signed by the identity it was checked against, and
//! [`VerifiedDeviceList::follows`] notices every way back: an older version, another list of the same version, a
//! broken chain. This module must not know who fetched a list, nor which list is pinned.

use super::{IdentityKey, IdentityPublicKey, identity::SIGNATURE};
use crate::fields::{Fields, Reader};
use rsa::{
    rand_core::CryptoRng,
    sha2::{Digest, Sha256},
};
use std::{collections::HashSet, fmt};
use subtle::ConstantTimeEq;

/// Separates these signatures from everything else that an identity signs.
const LABEL: &str = "waxwing device list v2";
const HASH_LABEL: &str = "waxwing device list hash v2";
/// The first byte of a signed list.
const VERSION: u8 = 2;
/// Nothing longer is a signed list.
const LIMIT: usize = 32 * 1024;
/// The most devices of one account.
pub const DEVICE_LIMIT: usize = 32;
/// The longest sealed name of a device, in bytes.
pub const SEALED_NAME: usize = 128;

/// A device as its account lists it.
#[derive(Clone, PartialEq, Eq)]
pub struct ListedDevice {
    /// Chosen at random by the device.
    pub id: [u8; 16],
    /// The Ed25519 public key of its MLS leaves.
    pub mls_key: [u8; 32],
    /// The Ed25519 public key that it signs in with.
    pub authentication_key: [u8; 32],
    /// When it was listed first: milliseconds since 1970, by the clock of the device that signed.
    pub since_ms: u64,
    /// What its account calls it, for the account's own devices ([`super::AccountKey`]); at most [`SEALED_NAME`] bytes,
    /// none if it has no name.
    pub sealed_name: Vec<u8>,
}

/// The devices of an account. As such it is only a claim: see [`DeviceList::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceList {
    /// The account.
    pub username: String,
    /// 1 for the first list, one more for each change.
    pub version: u64,
    /// The hash of the list before; zeros in the first.
    pub previous: [u8; 32],
    /// At least one, at most [`DEVICE_LIMIT`]; ids and keys are unique.
    pub devices: Vec<ListedDevice>,
}

/// A list that its account's identity has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedDeviceList {
    /// The list.
    pub list: DeviceList,
    /// SHA-256 over the list without its signature: what the next version names as its previous one.
    pub hash: [u8; 32],
}

/// Why bytes are no signed list; whoever sent them misbehaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceListError {
    /// Not the encoding of a list of this version.
    #[error("malformed device list")]
    Malformed,
    /// The identity did not sign it.
    #[error("the device list is not signed by the account's identity")]
    Signature,
    /// It is of another account.
    #[error("the device list of another account")]
    OtherAccount,
    /// It breaks a rule: no device or too many, an id or a key twice, a sealed name that is too long, or a first
    /// version that names a previous one.
    #[error("a device list that breaks the rules")]
    Invalid,
}

/// How a list relates to an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is the same list.
    Same,
    /// It is a later one.
    Newer,
}

/// A list that does not follow the older one: the server (or somebody with the identity's key) misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RollbackError {
    /// An older list is shown again.
    #[error("the device list went back from version {from} to {to}")]
    Rollback {
        /// The version that was known.
        from: u64,
        /// The version shown.
        to: u64,
    },
    /// Two different lists have the same version: different people are shown different devices.
    #[error("there are two different device lists of version {version}")]
    Fork {
        /// The version.
        version: u64,
    },
    /// The next version does not continue the known one.
    #[error("version {version} of the device list does not continue the one before")]
    BrokenChain {
        /// The version shown.
        version: u64,
    },
    /// The lists are of different accounts.
    #[error("the device list of another account")]
    OtherAccount,
}

impl DeviceList {
    /// The first list of a new account.
    pub fn first(username: impl Into<String>, device: ListedDevice) -> Self {
        Self { username: username.into(), version: 1, previous: [0; 32], devices: vec![device] }
    }

    /// The list after this one, whose hash is `signed_hash` ([`VerifiedDeviceList::hash`]).
    pub fn successor(&self, signed_hash: &[u8; 32], devices: Vec<ListedDevice>) -> Self {
        Self {
            username: self.username.clone(),
            version: self.version.saturating_add(1),
            previous: *signed_hash,
            devices,
        }
    }

    /// Signs the list. One that breaks the rules gets a signature that [`Self::verify`] refuses all the same.
    pub fn sign(&self, key: &IdentityKey, rng: &mut impl CryptoRng) -> Vec<u8> {
        let list = self.encode();
        let signature = key.sign(LABEL, &list, rng);
        Fields::default().fixed(&[VERSION]).variable(&list).fixed(&signature).finish()
    }

    /// Checks a signed list against the identity of the account that it must be of.
    ///
    /// # Errors
    /// Says what is wrong with the list.
    pub fn verify(
        signed: &[u8],
        key: &IdentityPublicKey,
        username: &str,
    ) -> Result<VerifiedDeviceList, DeviceListError> {
        let (encoded, signature) = split(signed).ok_or(DeviceListError::Malformed)?;
        if !key.signed(LABEL, encoded, &signature) {
            return Err(DeviceListError::Signature);
        }
        let list = Self::decode(encoded).ok_or(DeviceListError::Malformed)?;
        if list.username != username {
            return Err(DeviceListError::OtherAccount);
        }
        if !list.keeps_the_rules() {
            return Err(DeviceListError::Invalid);
        }
        let hash = Sha256::digest(Fields::labelled(HASH_LABEL).variable(encoded).finish()).into();
        Ok(VerifiedDeviceList { list, hash })
    }

    /// The device with this id.
    pub fn device(&self, id: &[u8; 16]) -> Option<&ListedDevice> {
        self.devices.iter().find(|device| device.id == *id)
    }

    fn keeps_the_rules(&self) -> bool {
        let ids: HashSet<_> = self.devices.iter().map(|device| device.id).collect();
        let keys: HashSet<_> =
            self.devices.iter().flat_map(|device| [device.mls_key, device.authentication_key]).collect();
        let first = self.version == 1;
        self.version > 0
            && first == (self.previous == [0; 32])
            && (1..=DEVICE_LIMIT).contains(&self.devices.len())
            && ids.len() == self.devices.len()
            && keys.len() == 2 * self.devices.len()
            && self.devices.iter().all(|device| device.sealed_name.len() <= SEALED_NAME)
    }

    fn encode(&self) -> Vec<u8> {
        let head = Fields::default()
            .text(&self.username)
            .number(self.version)
            .fixed(&self.previous)
            .number(self.devices.len() as u64);
        let add = |fields: Fields, device: &ListedDevice| {
            fields
                .fixed(&device.id)
                .fixed(&device.mls_key)
                .fixed(&device.authentication_key)
                .number(device.since_ms)
                .variable(&device.sealed_name)
        };
        self.devices.iter().fold(head, add).finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let username = reader.username()?.to_owned();
        let version = reader.number()?;
        let previous = reader.array()?;
        let count = reader.number()?;
        // Bounded by the bytes that are there, not by what the count claims.
        let mut devices = Vec::new();
        for _ in 0..count {
            devices.push(ListedDevice {
                id: reader.array()?,
                mls_key: reader.array()?,
                authentication_key: reader.array()?,
                since_ms: reader.number()?,
                sealed_name: reader.variable(LIMIT)?.to_vec(),
            });
        }
        reader.finish()?;
        Some(Self { username, version, previous, devices })
    }
}

impl VerifiedDeviceList {
    /// The next list, with one more device.
    pub fn with(&self, device: ListedDevice) -> DeviceList {
        self.next(self.list.devices.iter().cloned().chain([device]).collect())
    }

    /// The next list, without these devices. One that nobody is left on does not [`DeviceList::verify`].
    pub fn without(&self, ids: &[[u8; 16]]) -> DeviceList {
        self.next(self.list.devices.iter().filter(|device| !ids.contains(&device.id)).cloned().collect())
    }

    /// The next list, on which the device is called something else; none if it is not listed.
    pub fn renamed(&self, id: &[u8; 16], sealed_name: Vec<u8>) -> Option<DeviceList> {
        let mut devices = self.list.devices.clone();
        devices.iter_mut().find(|device| device.id == *id)?.sealed_name = sealed_name;
        Some(self.next(devices))
    }

    fn next(&self, devices: Vec<ListedDevice>) -> DeviceList {
        self.list.successor(&self.hash, devices)
    }

    /// Checks that this list is the same as or comes after `older`. Versions in between may have been missed: then only
    /// the signature speaks for the gap.
    ///
    /// # Errors
    /// An alarm for the user: the list must not be taken.
    pub fn follows(&self, older: &Self) -> Result<Change, RollbackError> {
        let (from, version) = (older.list.version, self.list.version);
        if self.list.username != older.list.username {
            return Err(RollbackError::OtherAccount);
        }
        if version < from {
            return Err(RollbackError::Rollback { from, to: version });
        }
        if version == from {
            let same = bool::from(self.hash.ct_eq(&older.hash));
            return if same { Ok(Change::Same) } else { Err(RollbackError::Fork { version }) };
        }
        if version - from == 1 && self.list.previous != older.hash {
            return Err(RollbackError::BrokenChain { version });
        }
        Ok(Change::Newer)
    }
}

impl fmt::Debug for ListedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ListedDevice(")?;
        self.id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, ", since {})", self.since_ms)
    }
}

/// The encoded list and its signature.
fn split(signed: &[u8]) -> Option<(&[u8], [u8; SIGNATURE])> {
    let mut reader = Reader(signed);
    (reader.array()? == [VERSION]).then_some(())?;
    let list = reader.variable(LIMIT)?;
    let signature = reader.array()?;
    reader.finish()?;
    Some((list, signature))
}

#[cfg(test)]
mod tests;
