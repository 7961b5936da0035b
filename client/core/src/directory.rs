//! What the server says of accounts, and whether it holds.
//!
//! The invariant: nothing is taken from an account record before its device list is proven to be signed by its identity
//! key, and nothing of a known account before that key is the pinned one, or one that the pinned one vouched for, and the
//! list does not go back.

use crate::{Error, store::contacts::Contact};
use waxwing_e2ee::account::{DeviceList, IdentityPublicKey, VerifiedDeviceList, rotation};
use waxwing_protocol::AccountRecord;

/// An account record whose parts belong together.
#[derive(Clone)]
pub(crate) struct VerifiedAccount {
    pub(crate) username: String,
    pub(crate) identity: IdentityPublicKey,
    pub(crate) list: VerifiedDeviceList,
    pub(crate) signed_list: Vec<u8>,
    /// The statements of former identities, oldest first. Claims until they were followed from a pinned one.
    pub(crate) rotations: Vec<Vec<u8>>,
}

/// How a record relates to what is known of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Never met.
    New,
    /// The pinned identity; its list is the known one or a newer one.
    Known,
    /// Another identity than the pinned one, which vouched for it; the list goes on.
    Renewed,
    /// Another identity than the pinned one.
    Changed,
}

impl VerifiedAccount {
    /// Checks a record that was asked for under this name.
    pub(crate) fn verify(record: &AccountRecord, username: &str) -> Result<Self, Error> {
        let untrusted = |reason: String| Error::Untrusted { username: username.to_owned(), reason };
        if record.username.as_str() != username {
            return Err(untrusted("the record is another user's".into()));
        }
        let identity =
            IdentityPublicKey::from_der(&record.identity_key.0).map_err(|error| untrusted(error.to_string()))?;
        let list = DeviceList::verify(&record.device_list.0, &identity, username)
            .map_err(|error| untrusted(error.to_string()))?;
        let rotations = record.rotations.iter().map(|statement| statement.0.clone()).collect();
        Ok(Self { username: username.to_owned(), identity, list, signed_list: record.device_list.0.clone(), rotations })
    }

    /// The identities that lead to the present one, as far as they vouch for each other without a gap.
    pub(crate) fn former_identities(&self) -> Vec<IdentityPublicKey> {
        rotation::former(&self.rotations, &self.identity, &self.username)
    }

    /// The same account after a revision of ours.
    pub(crate) fn revised(&self, identity: IdentityPublicKey, signed_list: Vec<u8>) -> Result<Self, Error> {
        let list = DeviceList::verify(&signed_list, &identity, &self.username)
            .map_err(|error| Error::Storage(format!("the device list that was just signed: {error}")))?;
        Ok(Self { identity, list, signed_list, ..self.clone() })
    }

    /// Compares with the pin, if there is one.
    pub(crate) fn standing(&self, contact: Option<&Contact>) -> Result<Standing, Error> {
        let Some(contact) = contact else { return Ok(Standing::New) };
        let damaged =
            |error: &dyn std::fmt::Display| Error::Storage(format!("what is known of '{}': {error}", self.username));
        let pinned = IdentityPublicKey::from_der(&contact.identity_key).map_err(|error| damaged(&error))?;
        let standing = match pinned == self.identity {
            true => Standing::Known,
            false if rotation::follow(&self.rotations, &pinned, &self.username) == Ok(self.identity.clone()) => {
                Standing::Renewed
            }
            false => return Ok(Standing::Changed),
        };
        let known =
            DeviceList::verify(&contact.device_list, &pinned, &self.username).map_err(|error| damaged(&error))?;
        self.list
            .follows(&known)
            .map_err(|error| Error::Untrusted { username: self.username.clone(), reason: error.to_string() })?;
        Ok(standing)
    }
}
