//! The gate. openmls checks the protocol; it knows no accounts and has no hook to ask us. So whatever puts a leaf into a
//! group, or takes one out, is judged here before it is merged, our own commits too.
//!
//! The signed device lists decide: a commit that adds or removes a device of an account carries that account's list, and
//! any member may make it, since the account itself has signed what is to be. The rules of the group keep the version of
//! the newest list, so that there is no way back to an older one.
//!
//! The invariant: a verdict follows from the group and the entry alone, both of which all members share; else some would
//! merge, others not, and the group would fork. Identity keys are only looked up, by the fingerprint that the group
//! itself fixes. This module must not know pins, contacts or the clock.

mod raised;

pub(super) use raised::Raised;

use super::{GroupRules, Kind, MlsError, Refused, SUITE, SignedList, rules::RULES_EXTENSION, signed_list};
use crate::account::{IdentityPublicKey, VerifiedDeviceList, credential};
use openmls::prelude::{
    Capabilities, Credential, CredentialType, ExtensionType, KeyPackage, KeyPackageIn, LeafNode, MlsGroup,
    OpenMlsCrypto, Proposal, ProtocolVersion, Sender, StagedCommit,
};
use raised::Extended;
use std::collections::{BTreeMap, HashSet};

/// From the private-use range of RFC 9420. Not `basic`: a client that does not know these rules must refuse the leaf
/// rather than show its bytes as a name.
pub(super) const CREDENTIAL_TYPE: CredentialType = CredentialType::Other(0xF001);

/// What each leaf declares. openmls refuses members that lack the group's extension or credential type.
pub(super) fn capabilities() -> Capabilities {
    Capabilities::builder()
        .ciphersuites(vec![SUITE])
        .extensions(vec![RULES_EXTENSION, ExtensionType::LastResort])
        .credentials(vec![CREDENTIAL_TYPE])
        .build()
}

/// Finds identity keys. What it knows must never decide whether an entry is valid, only whether it can be judged yet.
pub trait Identities {
    /// The identity key of `username` with this fingerprint: the pinned one, or one that led up to it by proven
    /// rotations. `None` if it has to be fetched first.
    fn identity(&self, username: &str, fingerprint: &[u8; 32]) -> Option<IdentityPublicKey>;
}

/// A device in a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The account.
    pub username: String,
    /// The device of that account.
    pub device: [u8; 16],
    /// SHA-256 of the identity key that vouches for it: the account's current one or a former one.
    pub identity: [u8; 32],
}

impl From<credential::Credential> for Member {
    fn from(credential: credential::Credential) -> Self {
        Self { username: credential.username, device: credential.device, identity: credential.identity }
    }
}

/// What a commit does to the group.
pub(super) struct Verdict {
    pub by: Member,
    pub added: Vec<Member>,
    pub removed: Vec<Member>,
    /// The lists that are newer than those in the rules before.
    pub lists: Vec<SignedList>,
    pub external: bool,
}

/// A leaf of the group before a commit. It passed the gate when it entered.
#[derive(Clone)]
pub(super) struct Seat {
    pub member: Member,
    pub key: Vec<u8>,
}

impl Seat {
    pub(super) fn is_in(&self, list: &VerifiedDeviceList) -> bool {
        list.list.device(&self.member.device).is_some_and(|device| device.mls_key == *self.key)
    }

    fn is_device(&self, other: &Self) -> bool {
        self.member.username == other.member.username && self.member.device == other.member.device
    }
}

/// The rules of one group, with the keys to check its leaves.
pub(super) struct Gate<'a> {
    rules: &'a GroupRules,
    identities: &'a dyn Identities,
}

impl<'a> Gate<'a> {
    pub(super) fn new(rules: &'a GroupRules, identities: &'a dyn Identities) -> Self {
        Self { rules, identities }
    }

    /// Judges a key package that we want to add with these lists. Signatures and expiry are `validate`'s part.
    pub(super) fn key_package(
        &self,
        crypto: &impl OpenMlsCrypto,
        package: KeyPackageIn,
        raised: &Raised,
    ) -> Result<KeyPackage, MlsError> {
        let package = package.validate(crypto, ProtocolVersion::Mls10).map_err(|_| Refused::KeyPackage)?;
        self.after(raised, |gate| gate.added(&package, raised))?;
        Ok(package)
    }

    /// Judges everyone in a group that we are about to enter.
    pub(super) fn tree(&self, members: impl Iterator<Item = openmls::prelude::Member>) -> Result<(), MlsError> {
        let mut seats = Vec::new();
        for member in members {
            seats.push(Seat {
                member: self.leaf(&member.credential, &member.signature_key)?,
                key: member.signature_key,
            });
        }
        Ok(distinct(&seats)?)
    }

    /// Judges a device, ours, that wants to join from outside with its account's list.
    pub(super) fn newcomer(&self, joiner: &Seat, list: &SignedList) -> Result<(), MlsError> {
        let raised = self.raise(std::slice::from_ref(list))?;
        self.joiner(joiner, &raised)
    }

    /// Judges a commit, which came with this authenticated data, before it is merged: a received one or our own.
    pub(super) fn commit(
        &self,
        group: &MlsGroup,
        sender: &Sender,
        authenticated: &[u8],
        commit: &StagedCommit,
    ) -> Result<Verdict, MlsError> {
        let before = seats(group)?;
        let raised = self.raise(&signed_list::decode(authenticated)?)?;
        // Proposals sent on their own are refused, so nobody can have another's blessed unseen.
        if commit.queued_proposals().any(|proposal| proposal.sender() != sender) {
            return Err(Refused::Standalone.into());
        }
        match sender {
            Sender::Member(index) => {
                let by = before.get(&index.u32()).ok_or(Refused::NoSuchMember)?;
                self.by_member(&before, by, raised, commit)
            }
            Sender::NewMemberCommit => self.by_joiner(&before, raised, commit),
            Sender::External(_) | Sender::NewMemberProposal => Err(Refused::Outsider.into()),
        }
    }

    fn by_member(
        &self,
        before: &BTreeMap<u32, Seat>,
        by: &Seat,
        raised: Raised,
        commit: &StagedCommit,
    ) -> Result<Verdict, MlsError> {
        let Kind::Direct = self.rules.kind();
        // Easily missed: a commit's path carries a whole new leaf, credential included.
        if let Some(leaf) = commit.update_path_leaf_node() {
            self.after(&raised, |gate| gate.own_leaf(by, leaf))?;
        }
        let mut after = before.clone();
        let (mut added, mut removed, mut rules) = (Vec::new(), Vec::new(), None);
        for proposal in commit.queued_proposals() {
            // No wildcard: a kind of proposal that a later openmls brings must not compile unconsidered.
            match proposal.proposal() {
                Proposal::Add(add) => {
                    added.push(self.after(&raised, |gate| gate.added(add.key_package(), &raised))?);
                }
                Proposal::Remove(remove) => {
                    removed.push(after.remove(&remove.removed().u32()).ok_or(Refused::NoSuchMember)?);
                }
                Proposal::GroupContextExtensions(change) => {
                    if rules.replace(GroupRules::from_extensions(change.extensions())?).is_some() {
                        return Err(Refused::Change.into());
                    }
                }
                // An update reaches a commit only as a standalone proposal of somebody else.
                Proposal::Update(_) => return Err(Refused::Standalone.into()),
                Proposal::SelfRemove
                | Proposal::ExternalInit(_)
                | Proposal::PreSharedKey(_)
                | Proposal::ReInit(_)
                | Proposal::Custom(_) => return Err(Refused::Change.into()),
            }
        }
        for seat in &removed {
            // A device that is added again has lost its state.
            let replaced = added.iter().any(|new: &Seat| new.is_device(seat));
            if seat.is_in(raised.list(&seat.member.username)?) && !replaced {
                return Err(Refused::Listed(seat.member.username.clone()).into());
            }
        }
        // Whoever shows a list leaves nobody in whom it does not name.
        after
            .values()
            .filter(|seat| raised.lists.contains_key(&seat.member.username))
            .try_for_each(|seat| raised.lists(seat))?;
        self.rules_follow(rules, &raised, !removed.is_empty())?;
        let members = |seats: &[Seat]| seats.iter().map(|seat| seat.member.clone()).collect();
        let verdict = Verdict {
            by: by.member.clone(),
            added: members(&added),
            removed: members(&removed),
            lists: raised.newer,
            external: false,
        };
        added.extend(after.into_values());
        distinct(&added)?;
        Ok(verdict)
    }

    /// The rules change exactly as the lists say; and the join key, if somebody goes who knows it.
    fn rules_follow(&self, change: Option<GroupRules>, raised: &Raised, removal: bool) -> Result<(), Refused> {
        let implied = match (&change, removal) {
            (Some(change), true) if change.join_key() != self.rules.join_key() => {
                raised.rules.clone().with_join_key(change.join_key().clone())
            }
            (_, true) => return Err(Refused::RulesChange),
            (_, false) => raised.rules.clone(),
        };
        let follows = match change {
            Some(change) => change == implied && change != *self.rules,
            None => implied == *self.rules,
        };
        if follows { Ok(()) } else { Err(Refused::RulesChange) }
    }

    /// A device that joins by itself, and may clear away its own old leaf. It cannot change the rules: a member has to.
    fn by_joiner(
        &self,
        before: &BTreeMap<u32, Seat>,
        raised: Raised,
        commit: &StagedCommit,
    ) -> Result<Verdict, MlsError> {
        let Kind::Direct = self.rules.kind();
        let leaf = commit.update_path_leaf_node().ok_or(Refused::Outsider)?;
        let key = leaf.signature_key().as_slice();
        let joiner = Seat { member: self.leaf(leaf.credential(), key)?, key: key.to_vec() };
        self.joiner(&joiner, &raised)?;
        let mut after = before.clone();
        let mut removed = Vec::new();
        for proposal in commit.queued_proposals() {
            match proposal.proposal() {
                Proposal::ExternalInit(_) => {}
                Proposal::Remove(remove) => {
                    let seat = after.remove(&remove.removed().u32()).ok_or(Refused::NoSuchMember)?;
                    if !seat.is_device(&joiner) {
                        return Err(Refused::Outsider.into());
                    }
                    removed.push(seat.member);
                }
                Proposal::Add(_)
                | Proposal::Update(_)
                | Proposal::SelfRemove
                | Proposal::GroupContextExtensions(_)
                | Proposal::PreSharedKey(_)
                | Proposal::ReInit(_)
                | Proposal::Custom(_) => return Err(Refused::Change.into()),
            }
        }
        let mut seats: Vec<Seat> = after.into_values().collect();
        let by = joiner.member.clone();
        seats.push(joiner);
        distinct(&seats)?;
        Ok(Verdict { added: vec![by.clone()], by, removed, lists: raised.newer, external: true })
    }

    /// Who joins from outside shows its own account's list, and no other. A new identity has to be entered by a member
    /// first: else there would be a leaf that the rules do not cover.
    fn joiner(&self, joiner: &Seat, raised: &Raised) -> Result<(), MlsError> {
        raised.lists(joiner)?;
        if raised.lists.len() != 1 {
            return Err(Refused::Lists.into());
        }
        if !raised.vouched.is_empty() {
            return Err(Refused::Rotation(joiner.member.username.clone()).into());
        }
        Ok(())
    }

    /// The gate as it will be after a commit with these lists.
    fn after<T>(&self, raised: &Raised, judge: impl FnOnce(&Gate<'_>) -> Result<T, MlsError>) -> Result<T, MlsError> {
        let identities = Extended { known: self.identities, vouched: &raised.vouched };
        judge(&Gate { rules: &raised.rules, identities: &identities })
    }

    /// The part of judging a key package that every member repeats on receiving the commit, hence without the clock.
    fn added(&self, package: &KeyPackage, raised: &Raised) -> Result<Seat, MlsError> {
        if package.ciphersuite() != SUITE {
            return Err(Refused::Suite.into());
        }
        // RFC 9420 §7.2 demands a limit; openmls has it, but does not apply it.
        if !package.life_time().has_acceptable_range() {
            return Err(Refused::Lifetime.into());
        }
        let leaf = package.leaf_node();
        let key = leaf.signature_key().as_slice().to_vec();
        let seat = Seat { member: self.leaf(leaf.credential(), &key)?, key };
        raised.lists(&seat)?;
        Ok(seat)
    }

    /// A leaf that a member made to replace its own: new encryption keys, the same device. Its account's current identity
    /// may take over from a former one.
    fn own_leaf(&self, old: &Seat, new: &LeafNode) -> Result<(), MlsError> {
        let key = new.signature_key().as_slice();
        let member = self.leaf(new.credential(), key)?;
        let current = self.rules.participant(&member.username).is_some_and(|one| one.identity == member.identity);
        let same = member.username == old.member.username && member.device == old.member.device && key == old.key;
        if same && (member.identity == old.member.identity || current) {
            Ok(())
        } else {
            Err(Refused::OtherDevice.into())
        }
    }

    /// Who a leaf is: an identity that the group fixes for the account must vouch for the leaf's key.
    pub(super) fn leaf(&self, credential: &Credential, mls_key: &[u8]) -> Result<Member, MlsError> {
        let claimed = claimed(credential)?;
        let participant = self
            .rules
            .participant(&claimed.username)
            .ok_or_else(|| Refused::ForeignAccount(claimed.username.clone()))?;
        if !participant.has_identity(&claimed.identity) {
            return Err(Refused::OtherIdentity(claimed.username).into());
        }
        let key = self.find(&claimed.username, &claimed.identity)?;
        Ok(credential::verify(credential.serialized_content(), mls_key, &key).map_err(Refused::Credential)?.into())
    }

    /// The identity key that the rules fix for an account.
    fn identity(&self, username: &str) -> Result<IdentityPublicKey, MlsError> {
        let participant =
            self.rules.participant(username).ok_or_else(|| Refused::ForeignAccount(username.to_owned()))?;
        self.find(username, &participant.identity)
    }

    fn find(&self, username: &str, fingerprint: &[u8; 32]) -> Result<IdentityPublicKey, MlsError> {
        self.identities
            .identity(username, fingerprint)
            .ok_or_else(|| MlsError::UnknownIdentity { username: username.to_owned(), fingerprint: *fingerprint })
    }
}

/// What a credential claims; for leaves that have passed the gate, and on the way through it.
pub(super) fn claimed(credential: &Credential) -> Result<Member, Refused> {
    if credential.credential_type() != CREDENTIAL_TYPE {
        return Err(Refused::CredentialType);
    }
    Ok(credential::parse(credential.serialized_content())?.into())
}

/// Who is in a group, by the leaf's index.
pub(super) fn seats(group: &MlsGroup) -> Result<BTreeMap<u32, Seat>, Refused> {
    let seat = |member: openmls::prelude::Member| {
        Ok((member.index.u32(), Seat { member: claimed(&member.credential)?, key: member.signature_key }))
    };
    group.members().map(seat).collect()
}

/// openmls compares the keys of added leaves only, and knows no devices.
fn distinct(seats: &[Seat]) -> Result<(), Refused> {
    let (mut devices, mut keys) = (HashSet::new(), HashSet::new());
    if seats.iter().all(|seat| devices.insert(&seat.member.device) && keys.insert(&seat.key)) {
        Ok(())
    } else {
        Err(Refused::DeviceTwice)
    }
}
