//! What a commit carries in its authenticated data, so that every member can judge it: signed device lists, and the wishes
//! of accounts that leave.
//!
//! The server sees that data, and has the lists anyway. The invariant: the same lists have one encoding. This module must
//! not know the group that they are judged against.

use super::{Leave, MlsError, Refused};
use crate::account::{DeviceList, IdentityPublicKey, VerifiedDeviceList, rotation};
use minicbor::{Decode, Encode, bytes::ByteVec};

/// The version of the encoding.
const VERSION: u8 = 1;
/// The most lists of one commit, and the most rotations of one list.
const LIMIT: usize = 64;

/// The most bytes of an identity key.
const IDENTITY: usize = 1024;

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
    /// The identity key (DER) that the group's rules fix for the account. In groups and rooms it comes along, so that
    /// nobody needs to look it up; in direct chats it does not.
    pub identity: Option<Vec<u8>>,
}

/// The authenticated data of a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) lists: Vec<SignedList>,
    pub(super) leaves: Vec<Leave>,
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

    /// The identity key that came along, if it is the one with this fingerprint.
    pub(super) fn shows(&self, fingerprint: &[u8; 32]) -> Option<IdentityPublicKey> {
        let key = IdentityPublicKey::from_der(self.identity.as_deref()?).ok()?;
        (key.fingerprint() == *fingerprint).then_some(key)
    }
}

#[derive(Encode, Decode)]
struct Wire {
    #[n(0)]
    version: u8,
    #[n(1)]
    lists: Vec<WireList>,
    #[n(2)]
    leaves: Option<Vec<Leave>>,
}

#[derive(Encode, Decode)]
struct WireList {
    #[n(0)]
    username: String,
    #[n(1)]
    list: ByteVec,
    #[n(2)]
    rotations: Vec<ByteVec>,
    #[n(3)]
    identity: Option<ByteVec>,
}

/// The authenticated data of a commit with these lists and wishes, in any order; nothing for none.
pub(super) fn encode(shown: &Shown) -> Result<Vec<u8>, MlsError> {
    if shown.lists.is_empty() && shown.leaves.is_empty() {
        return Ok(Vec::new());
    }
    let mut lists: Vec<WireList> = shown.lists.iter().map(WireList::from).collect();
    lists.sort_by(|a, b| a.username.cmp(&b.username));
    let mut leaves = shown.leaves.clone();
    leaves.sort_by(|a, b| a.username.cmp(&b.username));
    let leaves = Some(leaves).filter(|leaves| !leaves.is_empty());
    minicbor::to_vec(Wire { version: VERSION, lists, leaves }).map_err(MlsError::ours)
}

/// Reads what [`encode`] wrote: at most one list, and one wish, of each account.
pub(super) fn decode(bytes: &[u8]) -> Result<Shown, Refused> {
    if bytes.is_empty() {
        return Ok(Shown::default());
    }
    let wire: Wire = minicbor::decode(bytes).map_err(|_| Refused::Lists)?;
    let leaves = wire.leaves.as_deref().unwrap_or_default();
    let ascending = wire.lists.windows(2).all(|pair| matches!(pair, [a, b] if a.username < b.username))
        && leaves.windows(2).all(|pair| matches!(pair, [a, b] if a.username < b.username));
    let some = (usize::from(wire.leaves.is_some())..=LIMIT).contains(&leaves.len())
        && (usize::from(leaves.is_empty())..=LIMIT).contains(&wire.lists.len());
    let short = |list: &WireList| {
        list.rotations.len() <= LIMIT && list.identity.as_ref().is_none_or(|identity| identity.len() <= IDENTITY)
    };
    // What encodes differently is of another version or has something appended.
    let canonical = wire.version == VERSION && minicbor::to_vec(&wire).is_ok_and(|again| again == bytes);
    if !(ascending && some && wire.lists.iter().all(short) && canonical) {
        return Err(Refused::Lists);
    }
    let lists = wire.lists.into_iter().map(SignedList::from).collect();
    Ok(Shown { lists, leaves: wire.leaves.unwrap_or_default() })
}

impl From<&SignedList> for WireList {
    fn from(list: &SignedList) -> Self {
        Self {
            username: list.username.clone(),
            list: list.list.clone().into(),
            rotations: list.rotations.iter().cloned().map(ByteVec::from).collect(),
            identity: list.identity.clone().map(ByteVec::from),
        }
    }
}

impl From<WireList> for SignedList {
    fn from(wire: WireList) -> Self {
        Self {
            username: wire.username,
            list: wire.list.into(),
            rotations: wire.rotations.into_iter().map(Vec::from).collect(),
            identity: wire.identity.map(Vec::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(username: &str) -> SignedList {
        SignedList { username: username.to_owned(), list: vec![1, 2], rotations: vec![vec![3]], identity: None }
    }

    fn shown(lists: &[SignedList]) -> Shown {
        Shown { lists: lists.to_vec(), leaves: Vec::new() }
    }

    #[test]
    fn lists_have_one_encoding_whatever_the_order() {
        let bytes = encode(&shown(&[list("bob"), list("al")])).unwrap();
        let golden = b"\x82\x01\x82\x83\x62al\x42\x01\x02\x81\x41\x03\x83\x63bob\x42\x01\x02\x81\x41\x03";
        assert_eq!(bytes, golden);
        assert_eq!(decode(&bytes), Ok(shown(&[list("al"), list("bob")])));
        assert_eq!(encode(&Shown::default()).unwrap(), b"");
        assert_eq!(decode(b""), Ok(Shown::default()));
    }

    #[test]
    fn other_encodings_are_refused() {
        let wire = |version, lists: Vec<SignedList>| {
            let lists = lists.iter().map(WireList::from).collect();
            minicbor::to_vec(Wire { version, lists, leaves: None }).unwrap()
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
