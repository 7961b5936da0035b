//! What a message says, inside its ciphertext: versioned CBOR, padded.
//!
//! The invariant: whatever a peer writes, it decodes within bounds or is refused, and what only a newer client
//! understands is recognised as such and breaks nothing. This module must not know groups, or who wrote the message.
//!
//! Layout: an array [version, id, milliseconds since 1970, kind, field, seen, lifetime …]; the first three keep their place in
//! every version, and fields that a later client appends are skipped. Kinds below 64 are for a reader's eyes: one that
//! is not known is shown as such. Kinds from 64 on are silent: clients talk to each other, and nothing is shown.

mod change;
mod file;
mod presence;
mod sync;
mod told;

use crate::padding::{InvalidPadding, pad, unpad};
pub use change::{Change, REACTION, REACTIONS, Target};
pub use file::{FILE_NAME, File, MEDIA_TYPE, Media, THUMBNAIL};
use minicbor::{
    Decoder, Encoder,
    data::Type,
    decode::Error as ReadError,
    encode::{Error, Write},
};
pub use presence::{PLACES, Presence, There};
pub use sync::{Keys, Sync};
pub use told::{Edited, Told, ToldMessage};
use zeroize::Zeroizing;

/// The version that [`encode`] writes.
const VERSION: u64 = 1;
/// The longest text, in UTF-8 bytes.
pub const TEXT: usize = 32 * 1024;
/// The longest full name, in UTF-8 bytes.
pub const FULL_NAME: usize = 256;
/// The longest padded content, in bytes.
pub const CONTENT: usize = 64 * 1024;

const TEXT_KIND: u64 = 1;
const PROFILE_KIND: u64 = 2;
const RECEIPT_KIND: u64 = 3;
const REPLY_KIND: u64 = 4;
const TIMER_KIND: u64 = 5;
const FILE_KIND: u64 = 40;
/// From here on kinds are silent.
const SILENT: u64 = 64;
const SYNC_KIND: u64 = 64;
const ASK_KIND: u64 = 65;
const TOLD_KIND: u64 = 66;
const READ_KIND: u64 = 71;
const TYPING_KIND: u64 = 72;
const PRESENCE_KIND: u64 = 73;

/// One message's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Chosen at random by the writer; the same if the message had to be encrypted again.
    pub id: [u8; 16],
    /// When it was written, by the writer's clock: milliseconds since 1970.
    pub sent_at_ms: u64,
    /// What it says.
    pub body: Body,
    /// The log as the writer saw it when it encrypted; none if it does not know the log's beginning.
    pub seen: Option<Seen>,
    /// For how many seconds it may be kept: by its author from when it was sent, by others from when they have read it.
    /// None: for good.
    pub lifetime: Option<u32>,
}

/// How far a writer had read a conversation's log, and which log that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The seq of the last entry.
    pub seq: u64,
    /// The digest of the log up to there ([`crate::order`]).
    pub digest: [u8; 32],
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// A text, as typed: not made safe for a screen.
    Text(String),
    /// What the writer wants to be called.
    Profile {
        /// The full name, if the writer gives one.
        full_name: Option<String>,
    },
    /// What has arrived at the writer's device.
    Receipt {
        /// The seq up to which entries of the conversation's log have.
        delivered: u64,
    },
    /// A text that answers another message.
    Reply {
        /// Which one; a reader need not have it.
        to: Target,
        /// The text, as [`Body::Text`]'s.
        text: String,
    },
    /// A file; boxed, since what opens it is large.
    File(Box<File>),
    /// From now on the chat's messages have this lifetime in seconds; none: they stay.
    Timer(Option<u32>),
    /// Something that is done to a message which was written before.
    Change(Change),
    /// What the writer has read.
    Read {
        /// The seq up to which entries of the conversation's log were read.
        read: u64,
    },
    /// Whether the writer is typing. It is never stored: it travels in signals only.
    Typing(bool),
    /// Who is there. It is never stored: it travels in signals only.
    Presence(Presence),
    /// From one device of an account to its others. It counts only in the account's own conversation with itself, and
    /// boxed, since keys are large.
    Sync(Box<Sync>),
    /// Asks the other members what entries of this conversation said.
    Ask {
        /// The first entry's seq.
        from: u64,
        /// The last entry's seq; not below the first.
        to: u64,
    },
    /// What a member says that entries of this conversation said: worth as much as that member's word.
    Told(Told),
    /// A message of a newer version, to be shown as such. It cannot be encoded.
    Unknown,
    /// Something of a newer version that clients say to each other, not to be shown. It cannot be encoded.
    Silent,
}

/// Why a content cannot be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// A text, a name or the whole is longer than allowed.
    #[error("the message is too long")]
    TooLong,
    /// [`Body::Unknown`] or another thing of a newer version was to be encoded.
    #[error("a message of a newer version cannot be written")]
    Unknown,
    /// Not the encoding of a content.
    #[error("the message is malformed")]
    Malformed,
    /// Not padded as contents are.
    #[error("the message is malformed: {0}")]
    Padding(#[from] InvalidPadding),
}

/// Encodes and pads.
///
/// # Errors
/// [`ContentError::TooLong`] beyond [`TEXT`], [`FULL_NAME`] or [`CONTENT`]; [`ContentError::Unknown`];
/// [`ContentError::Malformed`] if [`decode`] would refuse it.
pub fn encode(content: &Content) -> Result<Zeroizing<Vec<u8>>, ContentError> {
    let padded = pad(&to_bytes(content)?)?;
    if padded.len() > CONTENT { Err(ContentError::TooLong) } else { Ok(padded) }
}

/// Takes the padding off and decodes. Another version, or a kind that this one does not know, becomes [`Body::Unknown`]
/// or [`Body::Silent`].
///
/// # Errors
/// [`ContentError::Malformed`], [`ContentError::Padding`], [`ContentError::TooLong`].
pub fn decode(padded: &[u8]) -> Result<Content, ContentError> {
    if padded.len() > CONTENT {
        return Err(ContentError::TooLong);
    }
    from_bytes(unpad(padded)?)
}

/// Encodes without padding, for a place that pads many contents together, as a backup does.
///
/// # Errors
/// As [`encode`].
pub fn to_bytes(content: &Content) -> Result<Zeroizing<Vec<u8>>, ContentError> {
    content.body.check()?;
    // Room for all of it at once: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(content.body.room() + 128));
    write(&mut Encoder::new(&mut *bytes), content).map_err(|_| ContentError::Unknown)?;
    Ok(bytes)
}

/// Decodes what [`to_bytes`] made, or a content whose padding is off.
///
/// # Errors
/// As [`decode`].
pub fn from_bytes(bytes: &[u8]) -> Result<Content, ContentError> {
    if bytes.len() > CONTENT {
        return Err(ContentError::TooLong);
    }
    let content = read(&mut Decoder::new(bytes)).map_err(|_| ContentError::Malformed)?;
    content.body.check_read()?;
    Ok(content)
}

impl Body {
    /// Whether it may be written.
    fn check(&self) -> Result<(), ContentError> {
        match self {
            Self::Unknown | Self::Silent => Err(ContentError::Unknown),
            Self::Sync(sync) if matches!(**sync, Sync::Unknown) => Err(ContentError::Unknown),
            _ => self.check_read(),
        }
    }

    /// Whether it keeps the rules, whoever wrote it.
    fn check_read(&self) -> Result<(), ContentError> {
        match self {
            Self::Text(text) if text.len() > TEXT => Err(ContentError::TooLong),
            Self::Profile { full_name: Some(name) } if name.len() > FULL_NAME => Err(ContentError::TooLong),
            Self::Sync(sync) if !sync.keeps_the_rules() => Err(ContentError::Malformed),
            Self::Ask { from, to } if from > to => Err(ContentError::Malformed),
            Self::Told(told) => told.check(),
            Self::Reply { text, .. } if text.len() > TEXT => Err(ContentError::TooLong),
            Self::Reply { to, .. } if !to.keeps_the_rules() => Err(ContentError::Malformed),
            Self::Change(change) => change.check(),
            Self::File(file) => file.check(),
            Self::Presence(presence) => presence.check(),
            _ => Ok(()),
        }
    }

    /// At least as many bytes as the body's encoding has.
    fn room(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Told(told) => told.room(),
            Self::Reply { text, .. } => text.len() + FULL_NAME,
            Self::Change(change) => change.room(),
            Self::File(file) => file.room(),
            Self::Sync(_) => 3 * FULL_NAME,
            _ => FULL_NAME,
        }
    }
}

fn write<W: Write>(e: &mut Encoder<W>, content: &Content) -> Result<(), Error<W::Error>> {
    let fields = match (content.lifetime, content.seen) {
        (Some(_), _) => 7,
        (None, Some(_)) => 6,
        (None, None) => 5,
    };
    e.array(fields)?.u64(VERSION)?.bytes(&content.id)?.u64(content.sent_at_ms)?;
    match &content.body {
        Body::Text(text) => e.u64(TEXT_KIND)?.str(text)?.ok()?,
        Body::Profile { full_name: Some(name) } => e.u64(PROFILE_KIND)?.str(name)?.ok()?,
        Body::Profile { full_name: None } => e.u64(PROFILE_KIND)?.null()?.ok()?,
        Body::Receipt { delivered } => e.u64(RECEIPT_KIND)?.u64(*delivered)?.ok()?,
        Body::Sync(sync) => sync.write(e.u64(SYNC_KIND)?)?,
        Body::Ask { from, to } => e.u64(ASK_KIND)?.array(2)?.u64(*from)?.u64(*to)?.ok()?,
        Body::Told(told) => told.write(e.u64(TOLD_KIND)?)?,
        Body::Reply { to, text } => {
            to.write(e.u64(REPLY_KIND)?.array(3)?)?;
            e.str(text)?.ok()?;
        }
        Body::Timer(Some(lifetime)) => e.u64(TIMER_KIND)?.u32(*lifetime)?.ok()?,
        Body::Timer(None) => e.u64(TIMER_KIND)?.null()?.ok()?,
        Body::Change(change) => change.write(e)?,
        Body::File(file) => file.write(e.u64(FILE_KIND)?)?,
        Body::Read { read } => e.u64(READ_KIND)?.u64(*read)?.ok()?,
        Body::Typing(typing) => e.u64(TYPING_KIND)?.bool(*typing)?.ok()?,
        Body::Presence(presence) => presence.write(e.u64(PRESENCE_KIND)?)?,
        Body::Unknown | Body::Silent => return Err(Error::message("of a newer version")),
    }
    match &content.seen {
        Some(seen) => e.array(2)?.u64(seen.seq)?.bytes(&seen.digest)?.ok()?,
        None if fields > 5 => e.null()?.ok()?,
        None => {}
    }
    if let Some(lifetime) = content.lifetime {
        e.u32(lifetime)?;
    }
    Ok(())
}

fn read(d: &mut Decoder) -> Result<Content, ReadError> {
    let fields = d.array()?.filter(|fields| *fields >= 3).ok_or(ReadError::message("not a content"))?;
    let version = d.u64()?;
    let id = array(d)?;
    let sent_at_ms = d.u64()?;
    if version != VERSION {
        return Ok(Content { id, sent_at_ms, body: Body::Unknown, seen: None, lifetime: None });
    }
    if fields < 5 {
        return Err(ReadError::message("not a content"));
    }
    let body = read_body(d)?;
    let seen = if fields > 5 { read_seen(d)? } else { None };
    let lifetime = if fields > 6 { optional(d, |d| d.u32())? } else { None };
    for _ in 7..fields {
        d.skip()?;
    }
    finish(d)?;
    Ok(Content { id, sent_at_ms, body, seen, lifetime })
}

fn read_body(d: &mut Decoder) -> Result<Body, ReadError> {
    Ok(match d.u64()? {
        TEXT_KIND => Body::Text(d.str()?.to_owned()),
        PROFILE_KIND if d.datatype()? == Type::Null => {
            d.null()?;
            Body::Profile { full_name: None }
        }
        PROFILE_KIND => Body::Profile { full_name: Some(d.str()?.to_owned()) },
        RECEIPT_KIND => Body::Receipt { delivered: d.u64()? },
        SYNC_KIND => Body::Sync(Box::new(Sync::read(d)?)),
        ASK_KIND => fields(d, 2, |d| Ok(Body::Ask { from: d.u64()?, to: d.u64()? }))?,
        TOLD_KIND => Body::Told(Told::read(d)?),
        REPLY_KIND => fields(d, 3, |d| Ok(Body::Reply { to: Target::read(d)?, text: d.str()?.to_owned() }))?,
        FILE_KIND => Body::File(Box::new(File::read(d)?)),
        TIMER_KIND => Body::Timer(optional(d, |d| d.u32())?),
        READ_KIND => Body::Read { read: d.u64()? },
        TYPING_KIND => Body::Typing(d.bool()?),
        PRESENCE_KIND => Body::Presence(Presence::read(d)?),
        kind @ change::EDIT_KIND..=change::PIN_KIND => Body::Change(Change::read(kind, d)?),
        kind => {
            d.skip()?;
            if kind < SILENT { Body::Unknown } else { Body::Silent }
        }
    })
}

fn read_seen(d: &mut Decoder) -> Result<Option<Seen>, ReadError> {
    optional(d, |d| fields(d, 2, |d| Ok(Seen { seq: d.u64()?, digest: array(d)? })))
}

fn optional<'b, T>(
    d: &mut Decoder<'b>,
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, ReadError>,
) -> Result<Option<T>, ReadError> {
    if d.datatype()? == Type::Null {
        d.null()?;
        return Ok(None);
    }
    read(d).map(Some)
}

/// Reads an array of `known` fields, and skips what a later client has appended to it.
fn fields<'b, T>(
    d: &mut Decoder<'b>,
    known: u64,
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let fields = d.array()?.filter(|fields| *fields >= known).ok_or(ReadError::message("fields are missing"))?;
    let value = read(d)?;
    for _ in known..fields {
        d.skip()?;
    }
    Ok(value)
}

fn array<const N: usize>(d: &mut Decoder) -> Result<[u8; N], ReadError> {
    d.bytes()?.try_into().map_err(|_| ReadError::message("another length"))
}

fn finish(d: &Decoder) -> Result<(), ReadError> {
    let end = d.position() == d.input().len();
    end.then_some(()).ok_or(ReadError::message("something follows"))
}

#[cfg(test)]
mod tests;
