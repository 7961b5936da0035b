//! MLS leaf credentials: an account's identity vouches for the MLS key of each of its devices.
//!
//! The invariant: a credential is worth something on one leaf only, since its signature covers that leaf's key; it
//! carries the hash of the identity, never the key, so no unknown identity enters through a group. This module must not
//! know MLS, nor which identities are pinned.

use super::{IdentityKey, IdentityPublicKey, identity::SIGNATURE};
use crate::fields::{Fields, Reader};
use rsa::rand_core::CryptoRng;
use subtle::ConstantTimeEq;

/// Separates these signatures from everything else that an identity signs.
const LABEL: &str = "waxwing leaf credential v1";
/// The first byte of the encoding.
const VERSION: u8 = 1;

/// Who a leaf belongs to: proven if it comes from [`verify`], only claimed if it comes from [`parse`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Credential {
    /// The account.
    pub username: String,
    /// The device of that account.
    pub device: [u8; 16],
    /// SHA-256 of the account's identity key (SubjectPublicKeyInfo).
    pub identity: [u8; 32],
}

/// Why a credential is refused; whoever put it on a leaf misbehaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Not the encoding of a credential of this version.
    #[error("malformed credential")]
    Malformed,
    /// It names another identity than the one that it was checked against.
    #[error("the credential names another identity")]
    OtherIdentity,
    /// The identity did not sign this credential for this leaf's key.
    #[error("the identity did not sign this credential for this key")]
    Signature,
}

/// Vouches for `mls_key` as the leaf key of a device. The username has at most 64 bytes, or the result will not parse.
pub fn certify(
    key: &IdentityKey,
    username: &str,
    device: &[u8; 16],
    mls_key: &[u8],
    rng: &mut impl CryptoRng,
) -> Vec<u8> {
    let credential =
        Credential { username: username.to_owned(), device: *device, identity: key.public().fingerprint() };
    let signature = key.sign(LABEL, &signed(&credential, mls_key), rng);
    Fields::default().fixed(&[VERSION]).fixed(&fields(&credential)).fixed(&signature).finish()
}

/// What a credential claims. Only for leaves whose credential has passed [`verify`] before, and to find the key for it.
///
/// # Errors
/// [`CredentialError::Malformed`].
pub fn parse(bytes: &[u8]) -> Result<Credential, CredentialError> {
    decode(bytes).map(|(credential, _)| credential).ok_or(CredentialError::Malformed)
}

/// Checks that the identity `key` vouches for `mls_key`, and says who that makes the leaf.
///
/// # Errors
/// Says what is wrong with the credential.
pub fn verify(bytes: &[u8], mls_key: &[u8], key: &IdentityPublicKey) -> Result<Credential, CredentialError> {
    let (credential, signature) = decode(bytes).ok_or(CredentialError::Malformed)?;
    if !bool::from(credential.identity.ct_eq(&key.fingerprint())) {
        return Err(CredentialError::OtherIdentity);
    }
    if !key.signed(LABEL, &signed(&credential, mls_key), &signature) {
        return Err(CredentialError::Signature);
    }
    Ok(credential)
}

fn fields(credential: &Credential) -> Vec<u8> {
    Fields::default().text(&credential.username).fixed(&credential.device).fixed(&credential.identity).finish()
}

/// What the identity signs.
fn signed(credential: &Credential, mls_key: &[u8]) -> Vec<u8> {
    Fields::default().fixed(&fields(credential)).variable(mls_key).finish()
}

fn decode(bytes: &[u8]) -> Option<(Credential, [u8; SIGNATURE])> {
    let mut reader = Reader(bytes);
    (reader.array()? == [VERSION]).then_some(())?;
    let credential =
        Credential { username: reader.username()?.to_owned(), device: reader.array()?, identity: reader.array()? };
    let signature = reader.array()?;
    reader.finish()?;
    Some((credential, signature))
}

#[cfg(test)]
mod tests;
