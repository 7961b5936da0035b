//! This device as a member of groups: its MLS signature key and the credential that vouches for it.
//!
//! The invariant: the key lives as long as the device, in the database and nowhere else. This module must not know the
//! identity key that signs credentials.

use super::{Member, Mls, MlsError, Refused, SUITE, policy::CREDENTIAL_TYPE};
use crate::account::credential;
use openmls::prelude::{Credential, CredentialWithKey};
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::OpenMlsProvider as _;
use std::fmt;

/// The MLS signature key (Ed25519) of a device: made first, since credential and device list name its public half.
pub struct SignatureKey(SignatureKeyPair);

impl SignatureKey {
    /// Makes a key, in memory only.
    ///
    /// # Errors
    /// [`MlsError::Mls`] if there is no randomness.
    pub fn generate() -> Result<Self, MlsError> {
        SignatureKeyPair::new(SUITE.signature_algorithm()).map(Self).map_err(MlsError::ours)
    }

    /// Keeps the key in the database; openmls never does that itself.
    ///
    /// # Errors
    /// [`MlsError::Database`].
    pub fn store(&self, mls: &Mls) -> Result<(), MlsError> {
        mls.step(|provider| self.0.store(provider.storage()).map_err(MlsError::ours))
    }

    /// Reads a stored key; `None` if there is none.
    ///
    /// # Errors
    /// [`MlsError::Database`].
    pub fn load(mls: &Mls, public: &[u8; 32]) -> Result<Option<Self>, MlsError> {
        mls.step(|provider| {
            Ok(SignatureKeyPair::read(provider.storage(), public, SUITE.signature_algorithm()).map(Self))
        })
    }

    /// The public half: 32 bytes.
    pub fn public(&self) -> [u8; 32] {
        let mut public = [0; 32];
        // An Ed25519 key has 32 bytes, always.
        public.iter_mut().zip(self.0.public()).for_each(|(to, from)| *to = *from);
        public
    }
}

impl fmt::Debug for SignatureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignatureKey({:02x?}, private)", self.0.public())
    }
}

/// This device, able to sign in groups.
#[derive(Debug)]
pub struct Device {
    /// The account.
    pub username: String,
    /// The device of that account.
    pub id: [u8; 16],
    /// SHA-256 of the account's identity key.
    pub identity: [u8; 32],
    key: SignatureKey,
    credential: CredentialWithKey,
}

impl Device {
    /// Joins a key with the credential that was made for it. The other members check that they belong together.
    ///
    /// # Errors
    /// [`Refused::Credential`] if the bytes are no credential.
    pub fn new(key: SignatureKey, credential: &[u8]) -> Result<Self, MlsError> {
        let claimed = credential::parse(credential).map_err(Refused::Credential)?;
        Ok(Self {
            username: claimed.username,
            id: claimed.device,
            identity: claimed.identity,
            credential: CredentialWithKey {
                credential: Credential::new(CREDENTIAL_TYPE, credential.to_vec()),
                signature_key: key.0.public().into(),
            },
            key,
        })
    }

    /// The device whose key [`SignatureKey::store`] has kept; `None` if the database does not hold that key.
    ///
    /// # Errors
    /// [`MlsError::Database`]; [`Refused`] if the credential is not one of this device.
    pub fn load(
        mls: &Mls,
        username: &str,
        id: &[u8; 16],
        public_key: &[u8; 32],
        credential: &[u8],
    ) -> Result<Option<Self>, MlsError> {
        let Some(key) = SignatureKey::load(mls, public_key)? else { return Ok(None) };
        let device = Self::new(key, credential)?;
        if device.username != username || device.id != *id {
            return Err(Refused::OtherDevice.into());
        }
        Ok(Some(device))
    }

    /// As the members of its groups see it.
    pub fn member(&self) -> Member {
        Member { username: self.username.clone(), device: self.id, identity: self.identity }
    }

    pub(super) fn signer(&self) -> &SignatureKeyPair {
        &self.key.0
    }

    pub(super) fn credential(&self) -> CredentialWithKey {
        self.credential.clone()
    }
}
