//! The gate. openmls checks the protocol; it knows no accounts and has no hook to ask us. So whatever puts a leaf into a
//! group, or takes one out, is judged here before it is merged, our own commits too.
//!
//! The invariant: a verdict follows from the group and the entry alone, both of which all members share; else some would
//! merge, others not, and the group would fork. Identity keys are only looked up, by the fingerprint that the group
//! itself fixes. This module must not know pins, contacts or the clock.

use super::{GroupRules, Kind, MlsError, SUITE, rules::RULES_EXTENSION};
use crate::account::{CredentialError, IdentityPublicKey, credential};
use openmls::prelude::{
    Capabilities, Credential, CredentialType, ExtensionType, KeyPackage, KeyPackageIn, LeafNode, LeafNodeIndex,
    MlsGroup, OpenMlsCrypto, Proposal, ProtocolVersion, QueuedProposal, Sender, StagedCommit, StagedWelcome,
};
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
    /// The identity key of `username` with this fingerprint; `None` if it has to be fetched first.
    fn identity(&self, username: &str, fingerprint: &[u8; 32]) -> Option<IdentityPublicKey>;
}

/// A device in a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The account.
    pub username: String,
    /// The device of that account.
    pub device: [u8; 16],
    /// SHA-256 of the account's identity key.
    pub identity: [u8; 32],
}

impl From<credential::Credential> for Member {
    fn from(credential: credential::Credential) -> Self {
        Self { username: credential.username, device: credential.device, identity: credential.identity }
    }
}

/// Why the gate refused. All honest members refuse the same entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The leaf's credential is malformed, or not signed for its key by the identity that it names.
    #[error("{0}")]
    Credential(#[from] CredentialError),
    /// The leaf has a credential of a foreign kind.
    #[error("a credential of an unknown kind")]
    CredentialType,
    /// The leaf names an account that does not take part in the group.
    #[error("{0} does not take part in this conversation")]
    ForeignAccount(String),
    /// The leaf names another identity than the one that the group fixes for its account.
    #[error("not the identity that {0} has in this conversation")]
    OtherIdentity(String),
    /// The same device, or the same MLS key, twice.
    #[error("the same device twice")]
    DeviceTwice,
    /// A leaf that a member made for itself belongs to another device or has another MLS key than the old one.
    #[error("a member may not become another device")]
    OtherDevice,
    /// The key package is malformed, expired, or badly signed.
    #[error("not a valid key package")]
    KeyPackage,
    /// Another suite than ours.
    #[error("another cipher suite")]
    Suite,
    /// The key package claims to be valid for longer than 84 days.
    #[error("a key package that is valid for too long")]
    Lifetime,
    /// The group's rules are malformed, of a newer version, or not alone.
    #[error("the rules of the group are malformed or of a newer version")]
    Rules,
    /// Somebody outside the group proposes or commits.
    #[error("a change from outside the group")]
    Outsider,
    /// A proposal that is not part of a commit by whoever proposes.
    #[error("a proposal outside a commit")]
    Standalone,
    /// A kind of proposal that has no place in this kind of group.
    #[error("a kind of change that this conversation does not allow")]
    Change,
    /// A device of another account is added although that account has one in the group.
    #[error("only {0} may add further devices of {0}")]
    Add(String),
    /// A device of another account is removed.
    #[error("only {0} may remove devices of {0}")]
    Remove(String),
    /// The device to be removed is not in the group.
    #[error("no such device in this conversation")]
    NoSuchMember,
}

/// What a commit does to the members.
pub(super) struct Change {
    pub by: Member,
    pub added: Vec<Member>,
    pub removed: Vec<Member>,
}

/// A leaf of the group before a commit. It passed the gate when it entered.
#[derive(Clone)]
struct Seat {
    member: Member,
    key: Vec<u8>,
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

    /// Judges a key package that we want to add. Signatures and expiry are `validate`'s part.
    pub(super) fn key_package(
        &self,
        crypto: &impl OpenMlsCrypto,
        package: KeyPackageIn,
    ) -> Result<KeyPackage, MlsError> {
        let package = package.validate(crypto, ProtocolVersion::Mls10).map_err(|_| Refused::KeyPackage)?;
        self.added(&package)?;
        Ok(package)
    }

    /// Judges everyone in the group that we are about to enter.
    pub(super) fn welcome(&self, welcome: &StagedWelcome) -> Result<(), MlsError> {
        let mut seats = Vec::new();
        for member in welcome.members() {
            seats.push(Seat {
                member: self.leaf(&member.credential, &member.signature_key)?,
                key: member.signature_key,
            });
        }
        Ok(distinct(&seats)?)
    }

    /// Judges a commit before it is merged, a received one or our own.
    pub(super) fn commit(&self, group: &MlsGroup, sender: &Sender, commit: &StagedCommit) -> Result<Change, MlsError> {
        let before = seats(group)?;
        let Sender::Member(index) = sender else { return Err(Refused::Outsider.into()) };
        let by = before.get(&index.u32()).ok_or(Refused::NoSuchMember)?;
        // Easily missed: a commit's path carries a whole new leaf, credential included.
        if let Some(leaf) = commit.update_path_leaf_node() {
            self.own_leaf(by, leaf)?;
        }
        let mut after = before.clone();
        let mut change = Change { by: by.member.clone(), added: Vec::new(), removed: Vec::new() };
        let mut added = Vec::new();
        for proposal in commit.queued_proposals() {
            // Proposals sent on their own are refused, so nobody can have another's blessed unseen.
            if proposal.sender() != sender {
                return Err(Refused::Standalone.into());
            }
            match self.proposal(&before, by, proposal)? {
                Effect::Enters(seat) => {
                    change.added.push(seat.member.clone());
                    added.push(seat);
                }
                Effect::Leaves(index) => {
                    change.removed.extend(after.remove(&index.u32()).map(|seat| seat.member));
                }
            }
        }
        added.extend(after.into_values());
        distinct(&added)?;
        Ok(change)
    }

    fn proposal(&self, before: &BTreeMap<u32, Seat>, by: &Seat, proposal: &QueuedProposal) -> Result<Effect, MlsError> {
        let Kind::Direct = self.rules.kind();
        // No wildcard: a kind of proposal that a later openmls brings must not compile unconsidered.
        match proposal.proposal() {
            Proposal::Add(add) => {
                let seat = self.added(add.key_package())?;
                let account = &seat.member.username;
                // Whoever starts the chat brings the other account in; from then on each account manages its own.
                if *account != by.member.username && before.values().any(|seat| seat.member.username == *account) {
                    return Err(Refused::Add(account.clone()).into());
                }
                Ok(Effect::Enters(seat))
            }
            Proposal::Remove(remove) => {
                let seat = before.get(&remove.removed().u32()).ok_or(Refused::NoSuchMember)?;
                if seat.member.username != by.member.username {
                    return Err(Refused::Remove(seat.member.username.clone()).into());
                }
                Ok(Effect::Leaves(remove.removed()))
            }
            // An update reaches a commit only as a standalone proposal of somebody else.
            Proposal::Update(_) => Err(Refused::Standalone.into()),
            Proposal::GroupContextExtensions(_)
            | Proposal::SelfRemove
            | Proposal::ExternalInit(_)
            | Proposal::PreSharedKey(_)
            | Proposal::ReInit(_)
            | Proposal::Custom(_) => Err(Refused::Change.into()),
        }
    }

    /// The part of judging a key package that every member repeats on receiving the commit, hence without the clock.
    fn added(&self, package: &KeyPackage) -> Result<Seat, MlsError> {
        if package.ciphersuite() != SUITE {
            return Err(Refused::Suite.into());
        }
        // RFC 9420 §7.2 demands a limit; openmls has it, but does not apply it.
        if !package.life_time().has_acceptable_range() {
            return Err(Refused::Lifetime.into());
        }
        let leaf = package.leaf_node();
        let key = leaf.signature_key().as_slice().to_vec();
        Ok(Seat { member: self.leaf(leaf.credential(), &key)?, key })
    }

    /// A leaf that a member made to replace its own: new encryption keys, the same device.
    fn own_leaf(&self, old: &Seat, new: &LeafNode) -> Result<(), MlsError> {
        let member = self.leaf(new.credential(), new.signature_key().as_slice())?;
        if member != old.member || new.signature_key().as_slice() != old.key {
            return Err(Refused::OtherDevice.into());
        }
        Ok(())
    }

    /// Who a leaf is: the identity that the group fixes for the account must vouch for the leaf's key.
    fn leaf(&self, credential: &Credential, mls_key: &[u8]) -> Result<Member, MlsError> {
        let claimed = claimed(credential)?;
        let participant = self
            .rules
            .participant(&claimed.username)
            .ok_or_else(|| Refused::ForeignAccount(claimed.username.clone()))?;
        if participant.identity != claimed.identity {
            return Err(Refused::OtherIdentity(claimed.username).into());
        }
        let key = self
            .identities
            .identity(&claimed.username, &claimed.identity)
            .ok_or_else(|| MlsError::UnknownIdentity { username: claimed.username, fingerprint: claimed.identity })?;
        Ok(credential::verify(credential.serialized_content(), mls_key, &key).map_err(Refused::Credential)?.into())
    }
}

/// What a proposal does to the members.
enum Effect {
    Enters(Seat),
    Leaves(LeafNodeIndex),
}

/// What a credential claims; for leaves that have passed the gate, and on the way through it.
pub(super) fn claimed(credential: &Credential) -> Result<Member, Refused> {
    if credential.credential_type() != CREDENTIAL_TYPE {
        return Err(Refused::CredentialType);
    }
    Ok(credential::parse(credential.serialized_content())?.into())
}

fn seats(group: &MlsGroup) -> Result<BTreeMap<u32, Seat>, Refused> {
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
