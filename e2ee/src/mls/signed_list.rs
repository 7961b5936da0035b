//! Signed device lists that a commit carries in its authenticated data, so that every member can judge it by them.
//!
//! The server sees that data, and has the lists anyway. The invariant: the same lists have one encoding. This module must
//! not know the group that they are judged against.

use super::{MlsError, Refused};
use crate::account::{DeviceList, IdentityPublicKey, VerifiedDeviceList, rotation};
use minicbor::{Decode, Encode, bytes::ByteVec};

/// The version of the encoding.
const VERSION: u8 = 1;
/// The most lists of one commit, and the most rotations of one list.
const LIMIT: usize = 64;

/// What an account says of its devices. Only a claim until [`Self::verify`] or the gate has looked at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedList {
    /// The account.
    pub username: String,
    /// Its signed device list ([`DeviceList::sign`]).
    pub list: Vec<u8>,
    /// How its identity came to be the one that signed the list, oldest first ([`rotation::sign`]). Statements
    /// that are older than the identity in the group may be left in: [`Group::prepare`](super::Group::prepare) drops them.
    pub rotations: Vec<Vec<u8>>,
}

impl SignedList {
    /// Checks the list for whoever knows the account by `identity`: returns the identity that signed it, a new one if
    /// the old one vouches for that, and the list.
    ///
    /// # Errors
    /// [`Refused::Rotation`] or [`Refused::DeviceList`].
    pub fn verify(&self, identity: &IdentityPublicKey) -> Result<(IdentityPublicKey, VerifiedDeviceList), Refused> {
        let key = self.rotated(identity)?.pop().unwrap_or_else(|| identity.clone());
        let list = self.signed_by(&key)?;
        Ok((key, list))
    }

    pub(super) fn signed_by(&self, identity: &IdentityPublicKey) -> Result<VerifiedDeviceList, Refused> {
        Ok(DeviceList::verify(&self.list, identity, &self.username)?)
    }

    /// The identities after `identity`, one for each rotation.
    pub(super) fn rotated(&self, identity: &IdentityPublicKey) -> Result<Vec<IdentityPublicKey>, Refused> {
        let mut keys: Vec<IdentityPublicKey> = Vec::new();
        for statement in &self.rotations {
            let old = keys.last().unwrap_or(identity);
            let new = rotation::verify(statement, old, &self.username)
                .map_err(|_| Refused::Rotation(self.username.clone()))?;
            keys.push(new);
        }
        Ok(keys)
    }

    /// Without the statements that lead up to `identity`.
    pub(super) fn since(&self, identity: &IdentityPublicKey) -> Self {
        let from_here = |statement: &Vec<u8>| rotation::verify(statement, identity, &self.username).is_ok();
        let start = self.rotations.iter().position(from_here).unwrap_or(self.rotations.len());
        Self { rotations: self.rotations.iter().skip(start).cloned().collect(), ..self.clone() }
    }
}

#[derive(Encode, Decode)]
struct Wire {
    #[n(0)]
    version: u8,
    #[n(1)]
    lists: Vec<WireList>,
}

#[derive(Encode, Decode)]
struct WireList {
    #[n(0)]
    username: String,
    #[n(1)]
    list: ByteVec,
    #[n(2)]
    rotations: Vec<ByteVec>,
}

/// The authenticated data of a commit with these lists, in any order; nothing for none.
pub(super) fn encode(lists: &[SignedList]) -> Result<Vec<u8>, MlsError> {
    if lists.is_empty() {
        return Ok(Vec::new());
    }
    let mut lists: Vec<WireList> = lists.iter().map(WireList::from).collect();
    lists.sort_by(|a, b| a.username.cmp(&b.username));
    minicbor::to_vec(Wire { version: VERSION, lists }).map_err(MlsError::ours)
}

/// Reads what [`encode`] wrote: at most one list of each account.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<SignedList>, Refused> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let wire: Wire = minicbor::decode(bytes).map_err(|_| Refused::Lists)?;
    let ascending = wire.lists.windows(2).all(|pair| matches!(pair, [a, b] if a.username < b.username));
    let few = (1..=LIMIT).contains(&wire.lists.len()) && wire.lists.iter().all(|list| list.rotations.len() <= LIMIT);
    // What encodes differently is of another version or has something appended.
    let canonical = wire.version == VERSION && minicbor::to_vec(&wire).is_ok_and(|again| again == bytes);
    if !(ascending && few && canonical) {
        return Err(Refused::Lists);
    }
    Ok(wire.lists.into_iter().map(SignedList::from).collect())
}

impl From<&SignedList> for WireList {
    fn from(list: &SignedList) -> Self {
        Self {
            username: list.username.clone(),
            list: list.list.clone().into(),
            rotations: list.rotations.iter().cloned().map(ByteVec::from).collect(),
        }
    }
}

impl From<WireList> for SignedList {
    fn from(wire: WireList) -> Self {
        Self {
            username: wire.username,
            list: wire.list.into(),
            rotations: wire.rotations.into_iter().map(Vec::from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(username: &str) -> SignedList {
        SignedList { username: username.to_owned(), list: vec![1, 2], rotations: vec![vec![3]] }
    }

    #[test]
    fn lists_have_one_encoding_whatever_the_order() {
        let bytes = encode(&[list("bob"), list("al")]).unwrap();
        let golden = b"\x82\x01\x82\x83\x62al\x42\x01\x02\x81\x41\x03\x83\x63bob\x42\x01\x02\x81\x41\x03";
        assert_eq!(bytes, golden);
        assert_eq!(decode(&bytes), Ok(vec![list("al"), list("bob")]));
        assert_eq!(encode(&[]).unwrap(), b"");
        assert_eq!(decode(b""), Ok(vec![]));
    }

    #[test]
    fn other_encodings_are_refused() {
        let wire = |version, lists: Vec<SignedList>| {
            minicbor::to_vec(Wire { version, lists: lists.iter().map(WireList::from).collect() }).unwrap()
        };
        assert!(decode(&wire(1, vec![list("al"), list("bob")])).is_ok());
        for bytes in [
            wire(2, vec![list("al")]),
            wire(1, vec![]),
            wire(1, vec![list("bob"), list("al")]),
            wire(1, vec![list("al"), list("al")]),
            [&wire(1, vec![list("al")])[..], &[0]].concat(),
            wire(1, vec![SignedList { rotations: vec![vec![]; LIMIT + 1], ..list("al") }]),
            b"nonsense".to_vec(),
        ] {
            assert_eq!(decode(&bytes), Err(Refused::Lists), "{bytes:02x?}");
        }
    }
}
