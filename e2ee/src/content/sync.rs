//! What the devices of one account tell each other: what was read, whom the user trusts, new keys.
//!
//! The invariant: secrets among it are wiped when dropped and never printed. This module must not know what a device
//! does with it.

use super::array;
use crate::{account::AccountKey, backup::GenerationKey};
use minicbor::{
    Decoder, Encoder, decode,
    encode::{Error, Write},
};

/// The longest username, in UTF-8 bytes.
const USERNAME: usize = 64;

const READ: u64 = 1;
const VERIFIED: u64 = 2;
const TRUSTED: u64 = 3;
const KEYS: u64 = 4;
const SETTING: u64 = 10;

/// The longest name or value of a setting, in UTF-8 bytes.
const SETTING_TEXT: usize = 256;

/// What one device of an account tells its others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sync {
    /// The user has read a conversation up to an entry.
    Read {
        /// The conversation.
        conversation: [u8; 16],
        /// Which of the chat's conversations it is.
        era: u32,
        /// The last entry that was read.
        seq: u64,
    },
    /// The user has compared safety numbers, or takes that back.
    Verified {
        /// The contact.
        username: String,
        /// The contact's identity.
        fingerprint: [u8; 32],
        /// Whether the numbers count as compared from now on.
        verified: bool,
    },
    /// The user accepts a contact's new identity.
    Trusted {
        /// The contact.
        username: String,
        /// The contact's new identity.
        fingerprint: [u8; 32],
    },
    /// The user has set something for all devices: of several, the one that was set last counts.
    Setting {
        /// What; not empty.
        name: String,
        /// To what.
        value: String,
        /// When, by the clock of the device: milliseconds since 1970.
        at_ms: u64,
    },
    /// The account has new keys.
    Keys(Keys),
    /// Something of a newer version. It cannot be encoded.
    Unknown,
}

/// The keys that every device of an account keeps. They are wiped when dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Seals the devices' names.
    pub account: AccountKey,
    /// Seals backups; none if the account makes none.
    pub generation: Option<GenerationKey>,
}

impl Sync {
    pub(super) fn keeps_the_rules(&self) -> bool {
        match self {
            Self::Verified { username, .. } | Self::Trusted { username, .. } => {
                (1..=USERNAME).contains(&username.len())
            }
            Self::Setting { name, value, .. } => {
                (1..=SETTING_TEXT).contains(&name.len()) && value.len() <= SETTING_TEXT
            }
            Self::Read { .. } | Self::Keys(_) | Self::Unknown => true,
        }
    }

    pub(super) fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        match self {
            Self::Read { conversation, era, seq } => {
                e.array(4)?.u64(READ)?.bytes(conversation)?.u32(*era)?.u64(*seq)?.ok()
            }
            Self::Verified { username, fingerprint, verified } => {
                e.array(4)?.u64(VERIFIED)?.str(username)?.bytes(fingerprint)?.bool(*verified)?.ok()
            }
            Self::Trusted { username, fingerprint } => {
                e.array(3)?.u64(TRUSTED)?.str(username)?.bytes(fingerprint)?.ok()
            }
            Self::Setting { name, value, at_ms } => e.array(4)?.u64(SETTING)?.str(name)?.str(value)?.u64(*at_ms)?.ok(),
            Self::Keys(Keys { account, generation: None }) => {
                e.array(3)?.u64(KEYS)?.bytes(account.as_bytes())?.null()?.ok()
            }
            Self::Keys(Keys { account, generation: Some(key) }) => {
                e.array(3)?.u64(KEYS)?.bytes(account.as_bytes())?.encode(key)?.ok()
            }
            Self::Unknown => Err(Error::message("of a newer version")),
        }
    }

    /// The first field says which it is; fields that a later client appends are skipped.
    pub(super) fn read(d: &mut Decoder) -> Result<Self, decode::Error> {
        let missing = || decode::Error::message("fields are missing");
        let mut left = d.array()?.ok_or_else(missing)?;
        let mut take = |count| {
            left = left.checked_sub(count).ok_or_else(missing)?;
            Ok::<_, decode::Error>(())
        };
        take(1)?;
        let sync = match d.u64()? {
            READ => {
                take(3)?;
                Self::Read { conversation: array(d)?, era: d.u32()?, seq: d.u64()? }
            }
            VERIFIED => {
                take(3)?;
                Self::Verified { username: d.str()?.to_owned(), fingerprint: array(d)?, verified: d.bool()? }
            }
            TRUSTED => {
                take(2)?;
                Self::Trusted { username: d.str()?.to_owned(), fingerprint: array(d)? }
            }
            KEYS => {
                take(2)?;
                Self::Keys(Keys { account: AccountKey::from_bytes(&array(d)?), generation: d.decode()? })
            }
            SETTING => {
                take(3)?;
                Self::Setting { name: d.str()?.to_owned(), value: d.str()?.to_owned(), at_ms: d.u64()? }
            }
            _ => Self::Unknown,
        };
        for _ in 0..left {
            d.skip()?;
        }
        Ok(sync)
    }
}
