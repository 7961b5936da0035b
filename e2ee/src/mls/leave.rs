//! The wish of an account to leave a group. MLS lets nobody commit its own removal, so another member does, and shows this.
//!
//! The invariant: a device of the account has signed it, for this group and for the leaf that it has there: whoever comes in
//! again, or is let in again, has another. This module must not know who commits.

use super::{Device, MlsError, Refused};
use crate::fields::Fields;
use ed25519_dalek::{Signature, VerifyingKey};
use minicbor::{Decode, Encode};
use openmls_traits::signatures::Signer as _;

/// What is signed begins with this.
const LABEL: &str = "waxwing leave v1";

/// A signed wish to leave. Only a claim until the gate has looked at it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Leave {
    /// The account.
    #[n(0)]
    pub username: String,
    /// Its device that says so.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub device: [u8; 16],
    /// The epoch of the group when it said so.
    #[n(2)]
    pub epoch: u64,
    /// By the device's MLS key.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

impl Leave {
    pub(super) fn sign(device: &Device, group: &[u8; 16], epoch: u64, leaf: &[u8]) -> Result<Self, MlsError> {
        let message = message(group, &device.username, &device.id, epoch, leaf);
        let signature = device.signer().sign(&message).map_err(|_| Refused::Leave)?;
        let signature = signature.try_into().map_err(|_| Refused::Leave)?;
        Ok(Self { username: device.username.clone(), device: device.id, epoch, signature })
    }

    /// For the other members.
    ///
    /// # Errors
    /// None: it is short and plain.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MlsError> {
        minicbor::to_vec(self).map_err(MlsError::ours)
    }

    /// Reads what [`Self::to_bytes`] gave; `None` if it is nothing of the kind.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        minicbor::decode(bytes).ok()
    }

    /// Whether the holder of this MLS key has signed it for the leaf with this encryption key.
    pub(super) fn is_signed_by(&self, mls_key: &[u8], group: &[u8; 16], leaf: &[u8]) -> bool {
        let message = message(group, &self.username, &self.device, self.epoch, leaf);
        let key = mls_key.try_into().ok().and_then(|key| VerifyingKey::from_bytes(key).ok());
        key.is_some_and(|key| key.verify_strict(&message, &Signature::from_bytes(&self.signature)).is_ok())
    }
}

fn message(group: &[u8; 16], username: &str, device: &[u8; 16], epoch: u64, leaf: &[u8]) -> Vec<u8> {
    Fields::labelled(LABEL).fixed(group).text(username).fixed(device).number(epoch).variable(leaf).finish()
}
