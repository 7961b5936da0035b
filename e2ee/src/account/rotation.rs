//! Rotations: an identity names the one that takes its place, so that contacts need not trust anew.
//!
//! The invariant: an identity that comes out of [`verify`] or [`follow`] was named, in one or more steps, by the one
//! that went in, for that account. This module must not know which identity is pinned, nor what a user makes of a
//! change: who had stolen the old key can sign a rotation, too.

use super::{IdentityKey, IdentityPublicKey, identity::SIGNATURE};
use crate::fields::{Fields, Reader};
use rsa::rand_core::CryptoRng;

/// Separates these signatures from everything else that an identity signs.
const LABEL: &str = "waxwing identity rotation v1";
/// The first byte of a statement.
const VERSION: u8 = 1;
/// Nothing longer is a public key.
const KEY: usize = 1024;
/// The most statements that are followed.
pub const CHAIN_LIMIT: usize = 64;
/// No statement is longer, in bytes.
pub const STATEMENT_LIMIT: usize = 1 + 8 + 64 + 2 * (8 + KEY) + SIGNATURE;

/// What a statement says. As such it is only a claim: see [`verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRotation {
    /// The account.
    pub username: String,
    /// The identity that is given up, and signs. It stands here whole: who meets the account later needs it for the
    /// leaves that it has certified.
    pub former: IdentityPublicKey,
    /// The identity that takes its place.
    pub identity: IdentityPublicKey,
}

/// Why a rotation is not taken; whoever sent it misbehaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// Not the encoding of a statement of this version.
    #[error("malformed identity rotation")]
    Malformed,
    /// It is of another account.
    #[error("the identity rotation of another account")]
    OtherAccount,
    /// It gives up another identity than the one it was checked against.
    #[error("the identity rotation does not continue the identity that is known")]
    OtherIdentity,
    /// The former identity did not sign it.
    #[error("the identity rotation is not signed by the former identity")]
    Signature,
    /// It leads back to an identity that was given up.
    #[error("the identity rotation leads back to a former identity")]
    Back,
    /// There are more than [`CHAIN_LIMIT`].
    #[error("too many identity rotations")]
    TooMany,
}

/// Has the old identity name the one that takes its place. The username has at most 64 bytes, or the result will not
/// parse.
pub fn sign(old: &IdentityKey, username: &str, new: &IdentityPublicKey, rng: &mut impl CryptoRng) -> Vec<u8> {
    let statement = statement(username, &old.public(), new);
    let signature = old.sign(LABEL, &statement, rng);
    Fields::default().fixed(&[VERSION]).fixed(&statement).fixed(&signature).finish()
}

/// What a statement claims: to find the key that [`verify`] needs.
///
/// # Errors
/// [`RotationError::Malformed`].
pub fn parse(bytes: &[u8]) -> Result<IdentityRotation, RotationError> {
    decode(bytes).map(|(rotation, _)| rotation).ok_or(RotationError::Malformed)
}

/// Checks that the identity `old` of the account names another one, and gives that.
///
/// # Errors
/// Says what is wrong with the statement.
pub fn verify(bytes: &[u8], old: &IdentityPublicKey, username: &str) -> Result<IdentityPublicKey, RotationError> {
    let (rotation, signature) = decode(bytes).ok_or(RotationError::Malformed)?;
    if rotation.username != username {
        return Err(RotationError::OtherAccount);
    }
    if rotation.former != *old {
        return Err(RotationError::OtherIdentity);
    }
    if rotation.identity == *old {
        return Err(RotationError::Back);
    }
    if !old.signed(LABEL, &statement(username, &rotation.former, &rotation.identity), &signature) {
        return Err(RotationError::Signature);
    }
    Ok(rotation.identity)
}

/// Walks from the pinned identity to the newest one. The chain is in the order of time; it may begin before the pinned
/// identity, and what lies before is not looked at. An empty chain, or one that ends with the pinned identity, leads to
/// the pinned identity.
///
/// # Errors
/// Says what is wrong with the chain: then the identity changed without a vouching.
pub fn follow(
    chain: &[Vec<u8>],
    pinned: &IdentityPublicKey,
    username: &str,
) -> Result<IdentityPublicKey, RotationError> {
    if chain.len() > CHAIN_LIMIT {
        return Err(RotationError::TooMany);
    }
    let claims = chain.iter().map(|bytes| parse(bytes)).collect::<Result<Vec<_>, _>>()?;
    let Some(start) = claims.iter().position(|claim| claim.former == *pinned) else {
        let arrived = claims.last().is_none_or(|claim| claim.username == username && claim.identity == *pinned);
        return if arrived { Ok(pinned.clone()) } else { Err(RotationError::OtherIdentity) };
    };
    let mut left = Vec::new();
    let mut current = pinned.clone();
    for bytes in chain.iter().skip(start) {
        let next = verify(bytes, &current, username)?;
        left.push(current);
        if left.contains(&next) {
            return Err(RotationError::Back);
        }
        current = next;
    }
    Ok(current)
}

/// The identities that lead to `identity`, oldest first: as far back as each vouched for the next without a gap.
pub fn former(chain: &[Vec<u8>], identity: &IdentityPublicKey, username: &str) -> Vec<IdentityPublicKey> {
    let mut found: Vec<IdentityPublicKey> = Vec::new();
    for bytes in chain.iter().rev().take(CHAIN_LIMIT) {
        let next = found.last().unwrap_or(identity);
        let Ok(claim) = parse(bytes) else { break };
        if verify(bytes, &claim.former, username).as_ref() != Ok(next) || found.contains(&claim.former) {
            break;
        }
        found.push(claim.former);
    }
    found.reverse();
    found
}

fn statement(username: &str, former: &IdentityPublicKey, identity: &IdentityPublicKey) -> Vec<u8> {
    Fields::default().text(username).variable(&former.to_der()).variable(&identity.to_der()).finish()
}

fn decode(bytes: &[u8]) -> Option<(IdentityRotation, [u8; SIGNATURE])> {
    let mut reader = Reader(bytes);
    (reader.array()? == [VERSION]).then_some(())?;
    let username = reader.username()?.to_owned();
    let former = IdentityPublicKey::from_der(reader.variable(KEY)?).ok()?;
    let identity = IdentityPublicKey::from_der(reader.variable(KEY)?).ok()?;
    let signature = reader.array()?;
    reader.finish()?;
    Some((IdentityRotation { username, former, identity }, signature))
}

#[cfg(test)]
mod tests;
