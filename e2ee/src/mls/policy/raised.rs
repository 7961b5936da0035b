//! What the signed lists that a commit shows make of the rules.
//!
//! The invariant: a list is the newest that the group has seen of its account, signed by the identity that the rules fix
//! or by one that this identity hands over to. This module must not know leaves or proposals.

use super::{Gate, Identities, Seat};
use crate::{
    account::{IdentityPublicKey, VerifiedDeviceList},
    mls::{GroupRules, Kind, Member, MlsError, Participant, Refused, SignedList},
};
use std::{cmp::Ordering, collections::BTreeMap};

/// The accounts that may be entered, by their names, as they are entered but for the list.
pub(in crate::mls) type Newcomers<'a> = &'a dyn Fn(&str) -> Option<Participant>;

/// What the lists of a commit make of the rules.
pub(in crate::mls) struct Raised {
    /// The join key is still the old one.
    pub(in crate::mls) rules: GroupRules,
    pub(super) lists: BTreeMap<String, VerifiedDeviceList>,
    pub(super) newer: Vec<SignedList>,
    /// Identities that the old ones vouch for, and in groups those that came along.
    pub(super) vouched: Vec<(String, IdentityPublicKey)>,
    /// Whether an account has a new identity.
    pub(super) rotated: bool,
    /// The accounts that are entered.
    pub(super) entered: Vec<String>,
}

impl Raised {
    pub(super) fn list(&self, username: &str) -> Result<&VerifiedDeviceList, Refused> {
        self.lists.get(username).ok_or_else(|| Refused::NoList(username.to_owned()))
    }

    pub(super) fn lists(&self, seat: &Seat) -> Result<(), Refused> {
        let username = &seat.member.username;
        if seat.is_in(self.list(username)?) { Ok(()) } else { Err(Refused::Unlisted(username.clone())) }
    }

    /// A guest's device that stays is of the identity by which its account is entered.
    pub(super) fn covers(&self, member: &Member) -> Result<(), Refused> {
        let other = |one: &Participant| !one.has_identity(&member.identity);
        match self.rules.participant(&member.username).filter(|_| self.entered.contains(&member.username)) {
            Some(entered) if other(entered) => Err(Refused::OtherIdentity(member.username.clone())),
            _ => Ok(()),
        }
    }

    /// The identity key of an account, if it came along.
    pub(super) fn identity(&self, username: &str, fingerprint: &[u8; 32]) -> Option<&IdentityPublicKey> {
        let named = self.vouched.iter().find(|(name, key)| name == username && key.fingerprint() == *fingerprint);
        named.map(|(_, key)| key)
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
    /// The lists as this group needs them: without rotations that it has seen, and in groups with the identity keys.
    pub(in crate::mls) fn pending(
        &self,
        lists: &[SignedList],
        entered: &dyn Fn(&str) -> Option<IdentityPublicKey>,
    ) -> Result<Vec<SignedList>, MlsError> {
        let needed = |list: &SignedList| {
            if self.rules.kind() == Kind::Direct {
                return match list.rotations.is_empty() {
                    true => Ok(list.clone()),
                    false => Ok(list.since(&self.identity(&list.username)?)),
                };
            }
            let (list, identity) = match self.rules.participant(&list.username) {
                None => {
                    let key = entered(&list.username).ok_or_else(|| Refused::ForeignAccount(list.username.clone()))?;
                    (SignedList { rotations: Vec::new(), ..list.clone() }, key)
                }
                Some(_) => {
                    let key = self.identity(&list.username)?;
                    (list.since(&key), key)
                }
            };
            Ok(SignedList { identity: Some(identity.to_der()), ..list })
        };
        lists.iter().map(needed).collect()
    }

    /// Judges the lists that a commit carries.
    pub(in crate::mls) fn raise(&self, lists: &[SignedList], newcomers: Newcomers<'_>) -> Result<Raised, MlsError> {
        let mut raised = Raised {
            rules: self.rules.clone(),
            lists: BTreeMap::new(),
            newer: Vec::new(),
            vouched: Vec::new(),
            rotated: false,
            entered: Vec::new(),
        };
        for signed in lists {
            let username = &signed.username;
            let Some(known) = self.rules.participant(username) else {
                let newcomer = newcomers(username).ok_or_else(|| Refused::ForeignAccount(username.clone()))?;
                self.enter(&mut raised, signed, newcomer)?;
                continue;
            };
            let identity = match self.rules.kind() {
                Kind::Direct if signed.identity.is_some() => return Err(Refused::Lists.into()),
                Kind::Direct => self.identity(username)?,
                // Not looked up, even if it could be: all judge by the same.
                Kind::Group | Kind::Room => signed.shows(&known.identity).ok_or(Refused::Lists)?,
            };
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
            raised.rotated |= !rotated.is_empty();
            let brought = signed.identity.is_some().then_some(identity);
            raised.vouched.extend(brought.into_iter().chain(rotated).map(|key| (username.clone(), key)));
            raised.lists.insert(username.clone(), list);
        }
        Ok(raised)
    }

    /// Enters an account with the list that the commit shows of it.
    fn enter(&self, raised: &mut Raised, signed: &SignedList, newcomer: Participant) -> Result<(), MlsError> {
        let username = &signed.username;
        if self.rules.kind() == Kind::Direct {
            return Err(Refused::ForeignAccount(username.clone()).into());
        }
        if !signed.rotations.is_empty() {
            return Err(Refused::Rotation(username.clone()).into());
        }
        let key = signed.shows(&newcomer.identity).ok_or(Refused::Lists)?;
        let list = signed.signed_by(&key)?;
        let (list_version, list_hash) = (list.list.version, list.hash);
        raised.rules.enter(Participant { list_version, list_hash, ..newcomer });
        raised.entered.push(username.clone());
        raised.newer.push(signed.clone());
        raised.vouched.push((username.clone(), key));
        raised.lists.insert(username.clone(), list);
        Ok(())
    }
}
