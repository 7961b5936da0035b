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

mod amended;
mod raised;

pub(super) use raised::Raised;

use super::{
    GroupRules, Kind, MlsError, Participant, Refused, Role, SUITE, SignedList,
    key_package::{self, VALIDITY_EXTENSION},
    rules::RULES_EXTENSION,
    signed_list::{self, Shown},
};
use crate::account::{IdentityPublicKey, VerifiedDeviceList, credential};
use openmls::prelude::{
    Capabilities, Credential, CredentialType, ExtensionType, KeyPackage, KeyPackageIn, LeafNode, MlsGroup,
    OpenMlsCrypto, Proposal, Sender, StagedCommit,
};
use raised::Extended;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// From the private-use range of RFC 9420. Not `basic`: a client that does not know these rules must refuse the leaf
/// rather than show its bytes as a name.
pub(super) const CREDENTIAL_TYPE: CredentialType = CredentialType::Other(0xF001);

/// What each leaf declares. openmls refuses members that lack the group's extension or credential type.
pub(super) fn capabilities() -> Capabilities {
    Capabilities::builder()
        .ciphersuites(vec![SUITE])
        .extensions(vec![RULES_EXTENSION, VALIDITY_EXTENSION, ExtensionType::LastResort])
        .credentials(vec![CREDENTIAL_TYPE])
        .build()
}

/// Finds identity keys. What it knows must never decide whether an entry is valid, only whether it can be judged yet.
pub trait Identities {
    /// The identity key of `username` with this fingerprint: the pinned one, or one that led up to it by proven
    /// rotations. `None` if it has to be fetched first.
    fn identity(&self, username: &str, fingerprint: &[u8; 32]) -> Option<IdentityPublicKey>;

    /// Whether the identity of this member of a group that is to be entered was looked for in vain: the account has ended,
    /// say. The other members have judged it when it came in; it must not keep everybody else out.
    fn is_out_of_reach(&self, _username: &str) -> bool {
        false
    }
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
    /// Identity keys that came along and hold.
    pub identities: Vec<(String, IdentityPublicKey)>,
    /// Accounts that go because they wish to.
    pub left: Vec<String>,
    pub external: bool,
}

/// A leaf of the group before a commit. It passed the gate when it entered.
#[derive(Clone)]
pub(super) struct Seat {
    pub member: Member,
    pub key: Vec<u8>,
    pub credential: Vec<u8>,
    /// The leaf's encryption key; empty for one that is just coming in.
    pub encryption_key: Vec<u8>,
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

    /// Judges a key package that we want to add with these lists.
    pub(super) fn key_package(
        &self,
        crypto: &impl OpenMlsCrypto,
        package: KeyPackageIn,
        raised: &Raised,
    ) -> Result<KeyPackage, MlsError> {
        let package = key_package::validate(crypto, package)?;
        self.after(raised, |gate| gate.added(&package, raised))?;
        Ok(package)
    }

    /// Judges everyone in a group that we are about to enter.
    pub(super) fn tree(&self, members: impl Iterator<Item = openmls::prelude::Member>) -> Result<(), MlsError> {
        let (mut seats, mut unknown) = (Vec::new(), BTreeSet::new());
        for member in members {
            let judged = match self.leaf(&member.credential, &member.signature_key) {
                Err(MlsError::UnknownIdentity { username, .. }) if self.rules.kind() != Kind::Direct => {
                    if !self.identities.is_out_of_reach(&username) {
                        unknown.insert(username);
                        continue;
                    }
                    claimed(&member.credential)?
                }
                judged => judged?,
            };
            let credential = member.credential.serialized_content().to_vec();
            let encryption_key = member.encryption_key;
            seats.push(Seat { member: judged, key: member.signature_key, credential, encryption_key });
        }
        if !unknown.is_empty() {
            return Err(MlsError::UnknownIdentities(unknown.into_iter().collect()));
        }
        Ok(distinct(&seats)?)
    }

    /// Judges a device, ours, that wants to join from outside with its account's list.
    pub(super) fn newcomer(
        &self,
        joiner: &Member,
        credential: &Credential,
        key: &[u8],
        list: &SignedList,
    ) -> Result<(), MlsError> {
        let guest = self.guest(joiner)?;
        let raised =
            self.raise(std::slice::from_ref(list), &|username| guest.clone().filter(|one| one.username == username))?;
        self.joiner(credential, key, &raised).map(drop)
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
        let shown = signed_list::decode(authenticated)?;
        // Proposals sent on their own are refused, so nobody can have another's blessed unseen.
        if commit.queued_proposals().any(|proposal| proposal.sender() != sender) {
            return Err(Refused::Standalone.into());
        }
        match sender {
            Sender::Member(index) => {
                let by = before.get(&index.u32()).ok_or(Refused::NoSuchMember)?;
                self.by_member(group, &before, by, shown, commit)
            }
            Sender::NewMemberCommit => self.by_joiner(&before, &shown, commit),
            Sender::External(_) | Sender::NewMemberProposal => Err(Refused::Outsider.into()),
        }
    }

    fn by_member(
        &self,
        group: &MlsGroup,
        before: &BTreeMap<u32, Seat>,
        by: &Seat,
        shown: Shown,
        commit: &StagedCommit,
    ) -> Result<Verdict, MlsError> {
        let proposed = proposed(commit)?;
        let since = group.epoch().as_u64().saturating_add(1);
        let raised =
            self.raise(&shown.lists, &|username| newcomer(proposed.as_ref()?.participant(username)?, since))?;
        // Easily missed: a commit's path carries a whole new leaf, credential included.
        if let Some(leaf) = commit.update_path_leaf_node() {
            self.after(&raised, |gate| gate.own_leaf(by, leaf, &raised))?;
        }
        let mut after = before.clone();
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for proposal in commit.queued_proposals() {
            // No wildcard: a kind of proposal that a later openmls brings must not compile unconsidered.
            match proposal.proposal() {
                Proposal::Add(add) => {
                    added.push(self.after(&raised, |gate| gate.added(add.key_package(), &raised))?);
                }
                Proposal::Remove(remove) => {
                    removed.push(after.remove(&remove.removed().u32()).ok_or(Refused::NoSuchMember)?);
                }
                // The rules, which were read before.
                Proposal::GroupContextExtensions(_) => {}
                // An update reaches a commit only as a standalone proposal of somebody else.
                Proposal::Update(_) => return Err(Refused::Standalone.into()),
                Proposal::SelfRemove
                | Proposal::ExternalInit(_)
                | Proposal::PreSharedKey(_)
                | Proposal::ReInit(_)
                | Proposal::Custom(_) => return Err(Refused::Change.into()),
            }
        }
        let wished = self.wished(group, before, &shown.leaves)?;
        let going = self.going(by, proposed.as_ref(), &removed, &wished)?;
        for seat in removed.iter().filter(|seat| !going.contains(&seat.member.username)) {
            // A device that is added again has lost its state.
            let replaced = added.iter().any(|new: &Seat| new.is_device(seat));
            if seat.is_in(raised.list(&seat.member.username)?) && !replaced {
                return Err(Refused::Listed(seat.member.username.clone()).into());
            }
        }
        // No device stays of an account that goes.
        if let Some(seat) = after.values().chain(&added).find(|seat| going.contains(&seat.member.username)) {
            return Err(Refused::ForeignAccount(seat.member.username.clone()).into());
        }
        // Whoever shows a list leaves nobody in whom it does not name.
        for seat in after.values().filter(|seat| raised.lists.contains_key(&seat.member.username)) {
            raised.lists(seat)?;
            raised.covers(&seat.member)?;
        }
        self.rules_follow(by, proposed, &raised, !removed.is_empty(), &going)?;
        let members = |seats: &[Seat]| seats.iter().map(|seat| seat.member.clone()).collect();
        let verdict = Verdict {
            by: by.member.clone(),
            added: members(&added),
            removed: members(&removed),
            lists: raised.newer,
            identities: if self.rules.kind() == Kind::Direct { Vec::new() } else { raised.vouched },
            left: wished.into_iter().collect(),
            external: false,
        };
        added.extend(after.into_values());
        distinct(&added)?;
        Ok(verdict)
    }

    /// A device that joins by itself, and may clear away its own old leaf. It cannot change the rules: a member has to.
    fn by_joiner(
        &self,
        before: &BTreeMap<u32, Seat>,
        shown: &Shown,
        commit: &StagedCommit,
    ) -> Result<Verdict, MlsError> {
        if !shown.leaves.is_empty() {
            return Err(Refused::Leave.into());
        }
        let leaf = commit.update_path_leaf_node().ok_or(Refused::Outsider)?;
        let guest = self.guest(&claimed(leaf.credential())?)?;
        let raised = self.raise(&shown.lists, &|username| guest.clone().filter(|one| one.username == username))?;
        let joiner = self.joiner(leaf.credential(), leaf.signature_key().as_slice(), &raised)?;
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
        let other = |seat: &&Seat| {
            seat.member.username == joiner.member.username && seat.member.identity != joiner.member.identity
        };
        if guest.is_some() && seats.iter().any(|seat| other(&seat)) {
            return Err(Refused::OtherIdentity(joiner.member.username.clone()).into());
        }
        let by = joiner.member.clone();
        seats.push(joiner);
        distinct(&seats)?;
        let (added, identities) = (vec![by.clone()], raised.vouched);
        Ok(Verdict { added, by, removed, lists: raised.newer, identities, left: Vec::new(), external: true })
    }

    /// Who joins from outside shows its own account's list, and no other. A new identity has to be entered by a member
    /// first: else there would be a leaf that the rules do not cover.
    fn joiner(&self, credential: &Credential, key: &[u8], raised: &Raised) -> Result<Seat, MlsError> {
        let joiner = self.after(raised, |gate| gate.certified(credential, key, raised))?;
        raised.lists(&joiner)?;
        if raised.lists.len() != 1 {
            return Err(Refused::Lists.into());
        }
        if raised.rotated {
            return Err(Refused::Rotation(joiner.member.username.clone()).into());
        }
        Ok(joiner)
    }

    /// A device of an account that does not take part may come into a room; the next commit of a member enters its account.
    fn guest(&self, joiner: &Member) -> Result<Option<Participant>, Refused> {
        let username = &joiner.username;
        match self.rules.kind() {
            _ if self.rules.participant(username).is_some() => Ok(None),
            Kind::Room if self.rules.bars(username) => Err(Refused::Barred(username.clone())),
            Kind::Room => Ok(Some(Participant {
                username: username.clone(),
                identity: joiner.identity,
                list_version: 0,
                list_hash: [0; 32],
                role: Role::Member,
                former: Vec::new(),
                since: Some(0),
            })),
            Kind::Direct | Kind::Group => Err(Refused::ForeignAccount(username.clone())),
        }
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
        key_package::validity(package)?;
        let leaf = package.leaf_node();
        let seat = self.certified(leaf.credential(), leaf.signature_key().as_slice(), raised)?;
        raised.lists(&seat)?;
        Ok(seat)
    }

    /// A leaf that a member made to replace its own: new encryption keys, the same device. Its account's current identity
    /// may take over from a former one.
    fn own_leaf(&self, old: &Seat, new: &LeafNode, raised: &Raised) -> Result<(), MlsError> {
        let key = new.signature_key().as_slice();
        if new.credential().credential_type() == CREDENTIAL_TYPE
            && new.credential().serialized_content() == old.credential
            && key == old.key
        {
            // It was judged when it came in.
            return Ok(());
        }
        let member = self.certified(new.credential(), key, raised)?.member;
        let current = self.rules.participant(&member.username).is_some_and(|one| one.identity == member.identity);
        let same = member.username == old.member.username && member.device == old.member.device && key == old.key;
        if same && (member.identity == old.member.identity || current) {
            Ok(())
        } else {
            Err(Refused::OtherDevice.into())
        }
    }

    /// A leaf that a commit brings. In a direct chat the identities of both are known. In a group the commit brings the
    /// identity key that the rules fix, so that nobody depends on finding one; a former identity's word is not needed
    /// there, since the list that the present one has signed names the device and its key.
    fn certified(&self, credential: &Credential, mls_key: &[u8], raised: &Raised) -> Result<Seat, MlsError> {
        let seat = |member| Seat {
            member,
            key: mls_key.to_vec(),
            credential: credential.serialized_content().to_vec(),
            encryption_key: Vec::new(),
        };
        if self.rules.kind() == Kind::Direct {
            return self.leaf(credential, mls_key).map(seat);
        }
        let claimed = claimed(credential)?;
        raised.list(&claimed.username)?;
        let participant = self
            .rules
            .participant(&claimed.username)
            .ok_or_else(|| Refused::ForeignAccount(claimed.username.clone()))?;
        if !participant.has_identity(&claimed.identity) {
            return Err(Refused::OtherIdentity(claimed.username).into());
        }
        if let Some(key) = raised.identity(&claimed.username, &claimed.identity) {
            credential::verify(credential.serialized_content(), mls_key, key).map_err(Refused::Credential)?;
        }
        Ok(seat(claimed))
    }

    /// Who a leaf is: an identity that the group fixes for the account must vouch for the leaf's key.
    pub(super) fn leaf(&self, credential: &Credential, mls_key: &[u8]) -> Result<Member, MlsError> {
        let claimed = claimed(credential)?;
        match self.rules.participant(&claimed.username) {
            Some(participant) if !participant.has_identity(&claimed.identity) => {
                return Err(Refused::OtherIdentity(claimed.username).into());
            }
            None if self.rules.kind() != Kind::Room => return Err(Refused::ForeignAccount(claimed.username).into()),
            // A guest.
            None | Some(_) => {}
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

/// The rules that a commit proposes.
fn proposed(commit: &StagedCommit) -> Result<Option<GroupRules>, Refused> {
    let mut rules = None;
    for proposal in commit.queued_proposals() {
        if let Proposal::GroupContextExtensions(change) = proposal.proposal()
            && rules.replace(GroupRules::from_extensions(change.extensions())?).is_some()
        {
            return Err(Refused::Change);
        }
    }
    Ok(rules)
}

/// An account as a commit may enter it: with no role, and as of the epoch that the commit begins.
fn newcomer(proposed: &Participant, since: u64) -> Option<Participant> {
    Some(Participant { role: Role::Member, since: Some(since), ..proposed.clone() })
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
        let (claimed, credential) = (claimed(&member.credential)?, member.credential.serialized_content().to_vec());
        let (key, encryption_key) = (member.signature_key, member.encryption_key);
        Ok((member.index.u32(), Seat { member: claimed, key, credential, encryption_key }))
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
