//! The rules of a group: what kind it is, what it is called, and which accounts, by which identities, take part.
//!
//! They are an extension of the group context (0xF002), so all members agree on them by construction. The invariant:
//! one set of rules has one encoding. This module must not know leaves or proposals.

mod about;

pub use about::{About, NAME, TOPIC};

use super::{JoinKey, MlsError, Refused, policy::CREDENTIAL_TYPE};
use crate::account::{IdentityPublicKey, VerifiedDeviceList};
use minicbor::{Decode, Encode};
use openmls::prelude::{
    Extension, ExtensionType, Extensions, GroupContext, RequiredCapabilitiesExtension, UnknownExtension,
};
use std::collections::HashSet;

/// The extension's number, from the private-use range of RFC 9420.
pub(super) const RULES_EXTENSION: ExtensionType = ExtensionType::Unknown(RULES);
const RULES: u16 = 0xF002;
/// The version of the encoding.
const VERSION: u8 = 2;
/// The most bytes of a username.
const USERNAME: usize = 64;
/// The most former identities of an account; then the oldest is forgotten.
const FORMER: usize = 64;
/// The most accounts of a group; servers set a lower limit.
pub const PARTICIPANTS: usize = 1024;

/// What a group is for; decides who may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum Kind {
    /// The devices of two accounts, or of one (notes to self). The accounts never change.
    #[n(0)]
    Direct,
    /// Accounts come in by an admin's invitation.
    #[n(1)]
    Group,
    /// Any account may come in, by itself or let in by any member; admins put out. Its join key is public.
    #[n(2)]
    Room,
}

/// What an account may do in a group. In a direct chat everyone is a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// Writes, and manages its own devices.
    #[n(0)]
    Member,
    /// Also manages the other accounts.
    #[n(1)]
    Admin,
}

/// An account that takes part, and the identity that vouches for its devices.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Participant {
    /// The account: 1 to 64 bytes.
    #[n(0)]
    pub username: String,
    /// SHA-256 of its identity key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub identity: [u8; 32],
    /// The version of its device list when it was entered here.
    #[n(2)]
    pub list_version: u64,
    /// The hash of that list.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub list_hash: [u8; 32],
    /// What it may do.
    #[n(4)]
    pub role: Role,
    /// SHA-256 of the identity keys that it had before, oldest first. Credentials that they signed remain good: they bind
    /// a device's MLS key, and which devices count the signed list says.
    #[cbor(n(5), with = "fingerprints")]
    pub former: Vec<[u8; 32]>,
    /// The epoch that began with the account in the group: an older wish to leave says nothing. None in a direct chat.
    #[n(6)]
    pub since: Option<u64>,
}

mod fingerprints {
    //! Each as a byte string.

    use minicbor::{Decoder, Encoder, bytes::ByteArray, decode::Error, encode::Write};

    pub(super) fn encode<C, W: Write>(
        fingerprints: &[[u8; 32]],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(fingerprints.len() as u64)?;
        fingerprints.iter().try_for_each(|fingerprint| e.bytes(fingerprint).map(drop))
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<[u8; 32]>, Error> {
        d.array_iter::<ByteArray<32>>()?.map(|fingerprint| fingerprint.map(Into::into)).collect()
    }
}

impl Participant {
    /// Whether a credential that names this identity may be the account's.
    pub(super) fn has_identity(&self, identity: &[u8; 32]) -> bool {
        self.identity == *identity || self.former.contains(identity)
    }

    fn has_each_identity_once(&self) -> bool {
        let identities: HashSet<_> = self.former.iter().chain([&self.identity]).collect();
        self.former.len() <= FORMER && identities.len() == self.former.len() + 1
    }
}

/// These participants do not make a group of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these participants do not make such a group")]
pub struct InvalidRules;

/// The rules of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRules {
    kind: Kind,
    participants: Vec<Participant>,
    join_key: JoinKey,
    about: Option<About>,
}

#[derive(Encode, Decode)]
struct Wire {
    #[n(0)]
    version: u8,
    #[n(1)]
    kind: Kind,
    #[n(2)]
    participants: Vec<Participant>,
    #[n(3)]
    join_key: JoinKey,
    #[n(4)]
    about: Option<About>,
}

impl GroupRules {
    /// Rules of a direct chat with these participants, in any order, and the key to join by (a fresh one for a new group).
    ///
    /// # Errors
    /// [`InvalidRules`] if an account is named twice, has an identity twice or, in a direct chat, if it is not one or two
    /// accounts, all [`Role::Member`]. A group and a room are more than that: [`Self::group`].
    pub fn new(kind: Kind, participants: Vec<Participant>, join_key: JoinKey) -> Result<Self, InvalidRules> {
        Self { kind, participants, join_key, about: None }.checked()
    }

    /// Rules of a group or a room.
    ///
    /// # Errors
    /// [`InvalidRules`] as [`Self::new`], and if nobody is an admin, if there are more than [`PARTICIPANTS`], if an account
    /// takes part that is barred, or if name or topic are too long.
    pub fn group(
        kind: Kind,
        about: About,
        participants: Vec<Participant>,
        join_key: JoinKey,
    ) -> Result<Self, InvalidRules> {
        Self { kind, participants, join_key, about: Some(about) }.checked()
    }

    fn checked(mut self) -> Result<Self, InvalidRules> {
        self.participants.sort_by(|a, b| a.username.cmp(&b.username));
        let participants = &self.participants;
        let named_twice = participants.windows(2).any(|pair| matches!(pair, [a, b] if a.username == b.username));
        let named_badly = participants.iter().any(|p| p.username.is_empty() || p.username.len() > USERNAME);
        let fits = match (self.kind, &self.about) {
            (Kind::Direct, None) => {
                let plain = |p: &Participant| p.role == Role::Member && p.since.is_none();
                (1..=2).contains(&participants.len()) && participants.iter().all(plain)
            }
            (Kind::Group | Kind::Room, Some(about)) => {
                about.is_valid()
                    && participants.len() <= PARTICIPANTS
                    && participants.iter().all(|p| p.since.is_some() && !about.bars(&p.username))
                    && participants.iter().any(|p| p.role == Role::Admin)
            }
            _ => false,
        };
        let plain = participants.iter().all(Participant::has_each_identity_once);
        if named_twice || named_badly || !fits || !plain { Err(InvalidRules) } else { Ok(self) }
    }

    /// What the group is for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The accounts that take part, by username.
    pub fn participants(&self) -> &[Participant] {
        &self.participants
    }

    /// The account of that name, if it takes part.
    pub fn participant(&self, username: &str) -> Option<&Participant> {
        let place = self.participants.binary_search_by(|one| one.username.as_str().cmp(username)).ok()?;
        self.participants.get(place)
    }

    /// What the group is called and so on; none in a direct chat.
    pub fn about(&self) -> Option<&About> {
        self.about.as_ref()
    }

    /// Whether an account manages the group.
    pub fn is_admin(&self, username: &str) -> bool {
        self.participant(username).is_some_and(|one| one.role == Role::Admin)
    }

    /// Whether an account must not come in by itself.
    pub(super) fn bars(&self, username: &str) -> bool {
        self.about.as_ref().is_some_and(|about| about.bars(username))
    }

    /// What a device of a participating account opens the sealed state of the group by.
    pub fn join_key(&self) -> &JoinKey {
        &self.join_key
    }

    /// The same with another key to join by.
    pub(super) fn with_join_key(self, join_key: JoinKey) -> Self {
        Self { join_key, ..self }
    }

    /// The same with other words about the group.
    pub(super) fn with_about(self, about: Option<About>) -> Self {
        Self { about, ..self }
    }

    /// Enters an account, which did not take part.
    pub(super) fn enter(&mut self, newcomer: Participant) {
        let place = self.participants.partition_point(|one| one.username < newcomer.username);
        self.participants.insert(place, newcomer);
    }

    /// Strikes accounts out.
    pub(super) fn strike(&mut self, gone: impl Fn(&str) -> bool) {
        self.participants.retain(|one| !gone(&one.username));
    }

    /// Gives an account that takes part another role.
    pub(super) fn set_role(&mut self, username: &str, role: Role) -> bool {
        let named = self.participants.iter_mut().find(|one| one.username == username);
        named.map(|one| one.role = role).is_some()
    }

    /// Whether a group may have these rules; whoever changes them in parts asks at the end.
    pub(super) fn revised(self) -> Result<Self, Refused> {
        match self.kind {
            Kind::Group | Kind::Room if !self.participants.iter().any(|one| one.role == Role::Admin) => {
                Err(Refused::LastAdmin)
            }
            _ => self.checked().map_err(|_| Refused::Rules),
        }
    }

    /// Enters a newer list of an account, and the identities that it has come to have since.
    pub(super) fn raise(&mut self, list: &VerifiedDeviceList, identities: &[IdentityPublicKey]) -> Result<(), Refused> {
        let username = &list.list.username;
        let named = |participant: &&mut Participant| participant.username == *username;
        let participant =
            self.participants.iter_mut().find(named).ok_or_else(|| Refused::ForeignAccount(username.clone()))?;
        participant.list_version = list.list.version;
        participant.list_hash = list.hash;
        for identity in identities {
            // No way back: an identity that was given up may be in wrong hands.
            if participant.has_identity(&identity.fingerprint()) {
                return Err(Refused::Rotation(username.clone()));
            }
            participant.former.push(std::mem::replace(&mut participant.identity, identity.fingerprint()));
        }
        participant.former.drain(..participant.former.len().saturating_sub(FORMER));
        Ok(())
    }

    /// The extensions of a group with these rules.
    ///
    /// Without the required capabilities openmls makes the group and lets members in who cannot read the rules.
    pub(super) fn to_extensions(&self) -> Result<Extensions<GroupContext>, MlsError> {
        Extensions::from_vec(vec![
            Extension::RequiredCapabilities(required_capabilities()),
            Extension::Unknown(RULES, UnknownExtension(self.encode()?)),
        ])
        .map_err(MlsError::ours)
    }

    /// Reads the rules of a group. Any other extension is refused: external senders, for one, could propose changes.
    pub(super) fn from_extensions(extensions: &Extensions<GroupContext>) -> Result<Self, Refused> {
        let extensions: Vec<&Extension> = extensions.iter().collect();
        match extensions.as_slice() {
            [Extension::RequiredCapabilities(required), Extension::Unknown(RULES, UnknownExtension(bytes))]
                if *required == required_capabilities() =>
            {
                Self::decode(bytes).ok_or(Refused::Rules)
            }
            _ => Err(Refused::Rules),
        }
    }

    /// The rules as bytes, for whoever has to know later what a group was. They hold the join key.
    ///
    /// # Errors
    /// None for rules that are valid.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MlsError> {
        self.encode()
    }

    /// Reads what [`Self::to_bytes`] made; none if that has not.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes)
    }

    fn encode(&self) -> Result<Vec<u8>, MlsError> {
        let Self { kind, participants, join_key, about } = self.clone();
        minicbor::to_vec(Wire { version: VERSION, kind, participants, join_key, about }).map_err(MlsError::ours)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let Wire { kind, participants, join_key, about, .. } = minicbor::decode(bytes).ok()?;
        let rules = Self { kind, participants, join_key, about }.checked().ok()?;
        // What encodes differently is of another version, not sorted, or has something appended.
        (rules.encode().ok()? == bytes).then_some(rules)
    }
}

fn required_capabilities() -> RequiredCapabilitiesExtension {
    RequiredCapabilitiesExtension::new(&[RULES_EXTENSION], &[], &[CREDENTIAL_TYPE])
}

#[cfg(test)]
mod tests;
