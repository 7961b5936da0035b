//! The account's state in a backup: whom the user knows and trusts, which chats there are, and settings.
//!
//! The invariant: join keys are wiped when dropped and never printed. This module must not know what a device makes of
//! it: identities and signed lists in it are to be checked as if they came from anywhere.

use super::{
    BackupError, decoded, encoded,
    segment::{PLAINTEXT, split, version_of},
};
use crate::mls::JoinKey;
use minicbor::{CborLen, Decode, Encode};
use std::{collections::BTreeMap, fmt};
use zeroize::Zeroizing;

/// The version of the plaintext.
const VERSION: u8 = 1;

/// An account's state, or a part of it: parts add up ([`State::merge`]).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct State {
    #[n(0)]
    version: u8,
    /// The contacts.
    #[n(1)]
    pub contacts: Vec<Contact>,
    /// The chats, one for each conversation that they have passed through.
    #[n(2)]
    pub chats: Vec<Chat>,
    /// Settings of the account, by name.
    #[n(3)]
    pub settings: BTreeMap<String, String>,
}

/// A contact.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct Contact {
    /// The username.
    #[n(0)]
    pub username: String,
    /// The identity that is pinned (SubjectPublicKeyInfo, DER).
    #[cbor(n(1), with = "minicbor::bytes")]
    pub identity: Vec<u8>,
    /// Identities that were pinned before (DER), in the order of time.
    #[n(2)]
    pub former: Vec<minicbor::bytes::ByteVec>,
    /// The newest signed device list that was verified.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub device_list: Option<Vec<u8>>,
    /// The identity whose safety number the user has compared: its fingerprint.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub verified: Option<[u8; 32]>,
    /// The full name that the contact goes by.
    #[n(5)]
    pub full_name: Option<String>,
}

/// A conversation of a chat.
#[derive(Clone, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct Chat {
    /// The chat's name.
    #[n(0)]
    pub name: String,
    /// The conversation.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub conversation: [u8; 16],
    /// Which of the chat's conversations it is.
    #[n(2)]
    pub era: u32,
    /// Opens the conversation's GroupInfo, if a device knows it.
    #[cbor(n(3), cbor_len = "join_key_length")]
    pub join_key: Option<JoinKey>,
    /// How far the user has read.
    #[n(4)]
    pub read: Option<Position>,
}

/// A place in a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, CborLen)]
pub struct Position {
    /// Which of the chat's conversations.
    #[n(0)]
    pub era: u32,
    /// The entry's seq in it.
    #[n(1)]
    pub seq: u64,
}

impl State {
    /// A state.
    pub fn new(contacts: Vec<Contact>, chats: Vec<Chat>, settings: BTreeMap<String, String>) -> Self {
        Self { version: VERSION, contacts, chats, settings }
    }

    /// The plaintext for [`super::seal_segment`].
    ///
    /// # Errors
    /// [`BackupError::TooLong`]: see [`Self::split`].
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, BackupError> {
        if minicbor::len(self) > PLAINTEXT { Err(BackupError::TooLong) } else { encoded(self) }
    }

    /// Reads what [`super::open_segment`] gave.
    ///
    /// # Errors
    /// [`BackupError::Malformed`], [`BackupError::Newer`].
    pub fn decode(plaintext: &[u8]) -> Result<Self, BackupError> {
        version_of(plaintext)?;
        decoded(plaintext)
    }

    /// As few states as hold this one and fit: one, unless there are hundreds of contacts. A single thing that fits none
    /// stays whole, and [`Self::encode`] refuses it.
    pub fn split(self) -> Vec<Self> {
        if minicbor::len(&self) <= PLAINTEXT {
            return vec![self];
        }
        let head = minicbor::len(Self::new(Vec::new(), Vec::new(), BTreeMap::new()));
        let contacts = split(self.contacts, head).into_iter().map(|part| Self::new(part, Vec::new(), BTreeMap::new()));
        let chats = split(self.chats, head).into_iter().map(|part| Self::new(Vec::new(), part, BTreeMap::new()));
        let settings = split(self.settings.into_iter().collect(), head)
            .into_iter()
            .map(|part| Self::new(Vec::new(), Vec::new(), part.into_iter().collect()));
        contacts.chain(chats).chain(settings).collect()
    }

    /// The whole of which these are the parts.
    pub fn merge(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut whole = Self::new(Vec::new(), Vec::new(), BTreeMap::new());
        for part in parts {
            whole.contacts.extend(part.contacts);
            whole.chats.extend(part.chats);
            whole.settings.extend(part.settings);
        }
        whole
    }
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chat").field("name", &self.name).field("era", &self.era).finish_non_exhaustive()
    }
}

/// `cbor_len` of a join key: 32 bytes and their head, or null.
fn join_key_length<C>(key: &Option<JoinKey>, _: &mut C) -> usize {
    if key.is_some() { 34 } else { 1 }
}

#[cfg(test)]
mod tests;
