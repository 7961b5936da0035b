//! Segments: sealed pieces of a backup, of few lengths, and the messages in them.
//!
//! The invariant: a segment opens only under its generation, for its account and its id; its length tells only its
//! class. This module must not know which messages go into which segment.

use super::{BackupError, GenerationKey, SEGMENT, decoded, encoded, versioned};
use crate::{
    fields::Fields,
    padding::{class, pad_to, unpad},
    seal,
};
use minicbor::{CborLen, Decode, Encode};
use rsa::rand_core::CryptoRng;
use std::fmt;
use zeroize::Zeroizing;

const LABEL: &str = "waxwing backup segment v1";
/// The first byte of a sealed segment, and the version of its plaintext.
const VERSION: u8 = 1;
/// The first lengths of sealed segments, in bytes; above the last, lengths follow Padmé.
const SIZES: [usize; 4] = [4 * 1024, 16 * 1024, 64 * 1024, 256 * 1024];
/// What a sealed segment has beside its padded plaintext.
const OVERHEAD: usize = 1 + seal::OVERHEAD;
/// The longest plaintext: what the padding's header leaves of the longest segment.
pub(super) const PLAINTEXT: usize = SEGMENT - OVERHEAD - 4;

/// Seals a plaintext, as [`Segment::encode`] and [`super::State::encode`] make them, under a key of its own; `id` is
/// random and never used twice. The result is as long as one of few classes.
///
/// # Errors
/// [`BackupError::TooLong`] if it does not fit [`SEGMENT`].
pub fn seal_segment(
    key: &GenerationKey,
    username: &str,
    id: &[u8; 16],
    plaintext: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, BackupError> {
    if plaintext.len() > PLAINTEXT {
        return Err(BackupError::TooLong);
    }
    let length = class(plaintext.len() + 4 + OVERHEAD, &SIZES);
    let padded = pad_to(plaintext, length - OVERHEAD).map_err(|_| BackupError::TooLong)?;
    let sealed = seal::seal(&key.subkey(LABEL, id), &context(key, username, id), &padded, rng);
    Ok([&[VERSION], sealed.as_slice()].concat())
}

/// Opens what [`seal_segment`] made.
///
/// # Errors
/// [`BackupError::Locked`], whatever is wrong with the key, the account, the id or a byte; [`BackupError::Newer`];
/// [`BackupError::Malformed`]; [`BackupError::TooLong`].
pub fn open_segment(
    key: &GenerationKey,
    username: &str,
    id: &[u8; 16],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, BackupError> {
    if sealed.len() > SEGMENT {
        return Err(BackupError::TooLong);
    }
    let sealed = versioned(sealed, VERSION)?;
    let padded = seal::open(&key.subkey(LABEL, id), &context(key, username, id), sealed).ok_or(BackupError::Locked)?;
    let plaintext = unpad(&padded).map_err(|_| BackupError::Malformed)?;
    Ok(Zeroizing::new(plaintext.to_vec()))
}

fn context(key: &GenerationKey, username: &str, id: &[u8; 16]) -> Vec<u8> {
    Fields::labelled(LABEL).text(username).number(key.number().into()).fixed(id).finish()
}

/// Messages of one conversation of a chat, in the order in which the chat shows them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct Segment {
    #[n(0)]
    version: u8,
    /// The chat's name.
    #[n(1)]
    pub chat: String,
    /// The conversation.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub conversation: [u8; 16],
    /// Which of the chat's conversations it is.
    #[n(3)]
    pub era: u32,
    /// The messages.
    #[n(4)]
    pub messages: Vec<Message>,
}

/// A message as a chat shows it. Whether it is one's own follows from the author.
#[derive(Clone, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct Message {
    /// Its id.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: [u8; 16],
    /// The seq of its entry; of a notice, the one that it stands after.
    #[n(1)]
    pub seq: u64,
    /// The author's username; none if nobody wrote it, or nobody knows who.
    #[n(2)]
    pub author: Option<String>,
    /// When it was written, by the author's clock: milliseconds since 1970.
    #[n(3)]
    pub sent_at_ms: u64,
    /// When a device of the account stored it first: milliseconds since 1970.
    #[n(4)]
    pub received_at_ms: u64,
    /// Whether a device of somebody else is known to have it.
    #[n(5)]
    pub delivered: bool,
    /// The member on whose word it stands, if not on the author's own signature.
    #[n(6)]
    pub told_by: Option<String>,
    /// What it says.
    #[n(7)]
    pub said: Said,
    /// What was done to it since; none: nothing.
    #[n(8)]
    pub done: Option<Vec<Done>>,
}

/// What somebody has done to a message after it was written. Of the same kind by the same member the last counts.
#[derive(Clone, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct Done {
    /// The client's own number for what it is.
    #[n(0)]
    pub kind: u8,
    /// The username of who did it.
    #[n(1)]
    pub by: String,
    /// Where in the chat's logs: which conversation.
    #[n(2)]
    pub era: u32,
    /// And the seq of the entry.
    #[n(3)]
    pub seq: u64,
    /// When, by the clock of who did it: milliseconds since 1970.
    #[n(4)]
    pub at_ms: u64,
    /// What it is about.
    #[n(5)]
    pub value: String,
}

/// What a message in a backup says.
#[derive(Clone, PartialEq, Eq, Encode, Decode, CborLen)]
pub enum Said {
    /// A content as [`crate::content::to_bytes`] gives it: also one that only a later version understands.
    #[n(0)]
    Content(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// What the client itself has put there: a notice, or why an entry is not readable.
    #[n(1)]
    Local {
        /// The client's own number for it.
        #[n(0)]
        kind: u8,
        /// Its text.
        #[n(1)]
        text: String,
    },
}

impl Segment {
    /// A segment.
    pub fn new(chat: impl Into<String>, conversation: [u8; 16], era: u32, messages: Vec<Message>) -> Self {
        Self { version: VERSION, chat: chat.into(), conversation, era, messages }
    }

    /// The plaintext for [`seal_segment`].
    ///
    /// # Errors
    /// [`BackupError::TooLong`]: see [`Self::split`].
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, BackupError> {
        if minicbor::len(self) > PLAINTEXT { Err(BackupError::TooLong) } else { encoded(self) }
    }

    /// Reads what [`open_segment`] gave.
    ///
    /// # Errors
    /// [`BackupError::Malformed`], [`BackupError::Newer`].
    pub fn decode(plaintext: &[u8]) -> Result<Self, BackupError> {
        version_of(plaintext)?;
        decoded(plaintext)
    }

    /// As few segments as hold these messages in their order and fit. A single message that fits none stays whole, and
    /// [`Self::encode`] refuses it; what a peer can send always fits.
    pub fn split(self) -> Vec<Self> {
        let Self { version, chat, conversation, era, messages } = self;
        let empty = Self { version, chat, conversation, era, messages: Vec::new() };
        let part = |messages| Self { messages, ..empty.clone() };
        let parts = split(messages, minicbor::len(&empty));
        parts.into_iter().map(part).collect()
    }
}

/// Cuts a list so that each part, with `head` bytes around it, fits a segment.
pub(super) fn split<T: CborLen<()>>(items: Vec<T>, head: usize) -> Vec<Vec<T>> {
    // The array's length takes at most 9 bytes.
    let room = PLAINTEXT.saturating_sub(head + 9);
    let (mut parts, mut part, mut length) = (Vec::new(), Vec::new(), 0);
    for item in items {
        let more = minicbor::len(&item);
        if !part.is_empty() && length + more > room {
            parts.push(std::mem::take(&mut part));
            length = 0;
        }
        length += more;
        part.push(item);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// Refuses a plaintext of a later version, whatever it looks like after its version.
pub(super) fn version_of(plaintext: &[u8]) -> Result<(), BackupError> {
    let mut decoder = minicbor::Decoder::new(plaintext);
    decoder.array().map_err(|_| BackupError::Malformed)?;
    match decoder.u64() {
        Ok(version) if version == u64::from(VERSION) => Ok(()),
        Ok(version) if version > u64::from(VERSION) => Err(BackupError::Newer),
        _ => Err(BackupError::Malformed),
    }
}

impl fmt::Debug for Message {
    /// Leaves out what it says: logs are no place for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("seq", &self.seq).finish_non_exhaustive()
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Said(…)")
    }
}

#[cfg(test)]
mod tests;
