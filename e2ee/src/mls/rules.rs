//! The rules of a group: what kind it is and which accounts, by which identities, take part.
//!
//! They are an extension of the group context (0xF002), so all members agree on them by construction. The invariant:
//! one set of rules has one encoding. This module must not know leaves or proposals.

use minicbor::{Decode, Encode};
use openmls::prelude::{
    Extension, ExtensionType, Extensions, GroupContext, RequiredCapabilitiesExtension, UnknownExtension,
};

use super::{MlsError, Refused, policy::CREDENTIAL_TYPE};

/// The extension's number, from the private-use range of RFC 9420.
pub(super) const RULES_EXTENSION: ExtensionType = ExtensionType::Unknown(RULES);
const RULES: u16 = 0xF002;
/// The version of the encoding.
const VERSION: u8 = 1;
/// The most bytes of a username.
const USERNAME: usize = 64;

/// What a group is for; decides who may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum Kind {
    /// The devices of two accounts, or of one (notes to self). The accounts never change.
    #[n(0)]
    Direct,
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
}

/// These participants do not make a group of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these participants do not make such a group")]
pub struct InvalidRules;

/// The rules of one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupRules {
    kind: Kind,
    participants: Vec<Participant>,
}

#[derive(Encode, Decode)]
struct Wire {
    #[n(0)]
    version: u8,
    #[n(1)]
    kind: Kind,
    #[n(2)]
    participants: Vec<Participant>,
}

impl GroupRules {
    /// Rules with these participants, in any order.
    ///
    /// # Errors
    /// [`InvalidRules`] if an account is named twice or, in a direct chat, if it is not one or two accounts, all
    /// [`Role::Member`].
    pub fn new(kind: Kind, mut participants: Vec<Participant>) -> Result<Self, InvalidRules> {
        participants.sort_by(|a, b| a.username.cmp(&b.username));
        let named_twice = participants.windows(2).any(|pair| matches!(pair, [a, b] if a.username == b.username));
        let named_badly = participants.iter().any(|p| p.username.is_empty() || p.username.len() > USERNAME);
        let fits = match kind {
            Kind::Direct => {
                (1..=2).contains(&participants.len()) && participants.iter().all(|p| p.role == Role::Member)
            }
        };
        if named_twice || named_badly || !fits { Err(InvalidRules) } else { Ok(Self { kind, participants }) }
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
        self.participants.iter().find(|participant| participant.username == username)
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

    fn encode(&self) -> Result<Vec<u8>, MlsError> {
        let wire = Wire { version: VERSION, kind: self.kind, participants: self.participants.clone() };
        minicbor::to_vec(wire).map_err(MlsError::ours)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let wire: Wire = minicbor::decode(bytes).ok()?;
        let rules = Self::new(wire.kind, wire.participants).ok()?;
        // What encodes differently is of another version, not sorted, or has something appended.
        (rules.encode().ok()? == bytes).then_some(rules)
    }
}

fn required_capabilities() -> RequiredCapabilitiesExtension {
    RequiredCapabilitiesExtension::new(&[RULES_EXTENSION], &[], &[CREDENTIAL_TYPE])
}

#[cfg(test)]
mod tests;
