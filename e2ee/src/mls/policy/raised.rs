//! What the signed lists that a commit shows make of the rules.
//!
//! The invariant: a list is the newest that the group has seen of its account, signed by the identity that the rules fix
//! or by one that this identity hands over to. This module must not know leaves or proposals.

use super::{Gate, Identities, Seat};
use crate::{
    account::{IdentityPublicKey, VerifiedDeviceList},
    mls::{GroupRules, MlsError, Refused, SignedList},
};
use std::{cmp::Ordering, collections::BTreeMap};

/// What the lists of a commit make of the rules.
pub(in crate::mls) struct Raised {
    /// The join key is still the old one.
    pub(in crate::mls) rules: GroupRules,
    pub(super) lists: BTreeMap<String, VerifiedDeviceList>,
    pub(super) newer: Vec<SignedList>,
    /// Identities that the old ones vouch for.
    pub(super) vouched: Vec<(String, IdentityPublicKey)>,
}

impl Raised {
    pub(super) fn list(&self, username: &str) -> Result<&VerifiedDeviceList, Refused> {
        self.lists.get(username).ok_or_else(|| Refused::NoList(username.to_owned()))
    }

    pub(super) fn lists(&self, seat: &Seat) -> Result<(), Refused> {
        let username = &seat.member.username;
        if seat.is_in(self.list(username)?) { Ok(()) } else { Err(Refused::Unlisted(username.clone())) }
    }
}

/// What is known, and what a commit itself brings.
pub(super) struct Extended<'a> {
    pub(super) known: &'a dyn Identities,
    pub(super) vouched: &'a [(String, IdentityPublicKey)],
}

impl Identities for Extended<'_> {
    fn identity(&self, username: &str, fingerprint: &[u8; 32]) -> Option<IdentityPublicKey> {
        let vouched = self.vouched.iter().find(|(name, key)| name == username && key.fingerprint() == *fingerprint);
        vouched.map(|(_, key)| key.clone()).or_else(|| self.known.identity(username, fingerprint))
    }
}

impl Gate<'_> {
    /// The lists as this group needs them: without rotations that it has seen.
    pub(in crate::mls) fn pending(&self, lists: &[SignedList]) -> Result<Vec<SignedList>, MlsError> {
        let needed = |list: &SignedList| match list.rotations.is_empty() {
            true => Ok(list.clone()),
            false => Ok(list.since(&self.identity(&list.username)?)),
        };
        lists.iter().map(needed).collect()
    }

    /// Judges the lists that a commit carries.
    pub(in crate::mls) fn raise(&self, lists: &[SignedList]) -> Result<Raised, MlsError> {
        let mut raised =
            Raised { rules: self.rules.clone(), lists: BTreeMap::new(), newer: Vec::new(), vouched: Vec::new() };
        for signed in lists {
            let username = &signed.username;
            let known = self.rules.participant(username).ok_or_else(|| Refused::ForeignAccount(username.clone()))?;
            let identity = self.identity(username)?;
            let rotated = signed.rotated(&identity)?;
            let list = signed.signed_by(rotated.last().unwrap_or(&identity))?;
            match list.list.version.cmp(&known.list_version) {
                Ordering::Less => return Err(Refused::OldList(username.clone()).into()),
                // A new identity comes with a new list.
                Ordering::Equal if !rotated.is_empty() => return Err(Refused::Rotation(username.clone()).into()),
                Ordering::Equal if list.hash != known.list_hash => {
                    return Err(Refused::ForkedList(username.clone()).into());
                }
                Ordering::Equal => {}
                Ordering::Greater => {
                    let next = list.list.version - known.list_version == 1;
                    if next && list.list.previous != known.list_hash {
                        return Err(Refused::ForkedList(username.clone()).into());
                    }
                    raised.rules.raise(&list, &rotated)?;
                    raised.newer.push(signed.clone());
                }
            }
            raised.vouched.extend(rotated.into_iter().map(|key| (username.clone(), key)));
            raised.lists.insert(username.clone(), list);
        }
        Ok(raised)
    }
}
