//! Identity rotation: an account's old identity vouches for the new one, so that contacts need not start anew.
//!
//! The invariant: a statement says one step of one account only. This module must not know which identity is pinned.

use super::{IdentityKey, IdentityPublicKey, identity::SIGNATURE};
use crate::fields::{Fields, Reader};
use rsa::rand_core::CryptoRng;

/// Separates these signatures from everything else that an identity signs.
const LABEL: &str = "waxwing identity rotation v1";
/// The first byte of the encoding.
const VERSION: u8 = 1;
/// Nothing longer is an identity key.
const KEY_LIMIT: usize = 1024;

/// Why bytes are no rotation of an identity; whoever sent them misbehaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// Not the encoding of a statement of this version.
    #[error("malformed identity rotation")]
    Malformed,
    /// The old identity did not sign it.
    #[error("the old identity did not sign the rotation")]
    Signature,
    /// It is of another account.
    #[error("the identity rotation of another account")]
    OtherAccount,
}

/// Makes and checks statements of rotation.
#[derive(Debug)]
pub struct IdentityRotation;

impl IdentityRotation {
    /// States that `username` goes on under `new`.
    pub fn sign(old: &IdentityKey, new: &IdentityPublicKey, username: &str, rng: &mut impl CryptoRng) -> Vec<u8> {
        let statement = Fields::default().text(username).variable(&new.to_der()).finish();
        let signature = old.sign(LABEL, &statement, rng);
        Fields::default().fixed(&[VERSION]).fixed(&statement).fixed(&signature).finish()
    }

    /// Checks a statement that the identity `old` of `username` must have signed: returns the new identity.
    ///
    /// # Errors
    /// Says what is wrong with the statement.
    pub fn verify(bytes: &[u8], old: &IdentityPublicKey, username: &str) -> Result<IdentityPublicKey, RotationError> {
        let (name, der, signature) = decode(bytes).ok_or(RotationError::Malformed)?;
        let statement = Fields::default().text(name).variable(der).finish();
        if !old.signed(LABEL, &statement, &signature) {
            return Err(RotationError::Signature);
        }
        if name != username {
            return Err(RotationError::OtherAccount);
        }
        IdentityPublicKey::from_der(der).map_err(|_| RotationError::Malformed)
    }
}

fn decode(bytes: &[u8]) -> Option<(&str, &[u8], [u8; SIGNATURE])> {
    let mut reader = Reader(bytes);
    (reader.array()? == [VERSION]).then_some(())?;
    let (name, der, signature) = (reader.username()?, reader.variable(KEY_LIMIT)?, reader.array()?);
    reader.finish()?;
    Some((name, der, signature))
}
