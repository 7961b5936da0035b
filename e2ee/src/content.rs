//! What a message says, inside its ciphertext: versioned CBOR, padded.
//!
//! The invariant: whatever a peer writes, it decodes within bounds or is refused, and what only a newer client
//! understands is recognised as such and breaks nothing. This module must not know groups, or who wrote the message.
//!
//! Layout: an array [version, id, milliseconds since 1970, kind, field …]; the first three keep their place in every
//! version, and fields that a later client appends are skipped.

use crate::padding::{InvalidPadding, pad, unpad};
use minicbor::{
    Decoder, Encoder,
    encode::{Error, Write},
};
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

/// One message's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Chosen at random by the writer; the same if the message had to be encrypted again.
    pub id: [u8; 16],
    /// When it was written, by the writer's clock: milliseconds since 1970.
    pub sent_at_ms: u64,
    /// What it says.
    pub body: Body,
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
    /// A message of a newer version, to be shown as such. It cannot be encoded.
    Unknown,
}

/// Why a content cannot be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// A text, a name or the whole is longer than allowed.
    #[error("the message is too long")]
    TooLong,
    /// [`Body::Unknown`] was to be encoded.
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
/// [`ContentError::TooLong`] beyond [`TEXT`] or [`FULL_NAME`]; [`ContentError::Unknown`].
pub fn encode(content: &Content) -> Result<Zeroizing<Vec<u8>>, ContentError> {
    let text = match &content.body {
        Body::Text(text) if text.len() > TEXT => return Err(ContentError::TooLong),
        Body::Profile { full_name: Some(name) } if name.len() > FULL_NAME => return Err(ContentError::TooLong),
        Body::Unknown => return Err(ContentError::Unknown),
        Body::Text(text) => text.len(),
        Body::Profile { .. } | Body::Receipt { .. } => FULL_NAME,
    };
    // Room for all of it at once: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text + 64));
    write(&mut Encoder::new(&mut *bytes), content).map_err(|_| ContentError::Malformed)?;
    Ok(pad(&bytes)?)
}

fn write<W: Write>(e: &mut Encoder<W>, content: &Content) -> Result<(), Error<W::Error>> {
    e.array(5)?.u64(VERSION)?.bytes(&content.id)?.u64(content.sent_at_ms)?;
    match &content.body {
        Body::Text(text) => e.u64(TEXT_KIND)?.str(text)?,
        Body::Profile { full_name: Some(name) } => e.u64(PROFILE_KIND)?.str(name)?,
        Body::Profile { full_name: None } => e.u64(PROFILE_KIND)?.null()?,
        Body::Receipt { delivered } => e.u64(RECEIPT_KIND)?.u64(*delivered)?,
        Body::Unknown => return Err(Error::message("unknown")),
    };
    Ok(())
}

/// Takes the padding off and decodes. Another version, or a kind that this one does not know, becomes
/// [`Body::Unknown`].
///
/// # Errors
/// [`ContentError::Malformed`], [`ContentError::Padding`], [`ContentError::TooLong`].
pub fn decode(padded: &[u8]) -> Result<Content, ContentError> {
    if padded.len() > CONTENT {
        return Err(ContentError::TooLong);
    }
    let content = read(&mut Decoder::new(unpad(padded)?)).map_err(|_| ContentError::Malformed)?;
    match &content.body {
        Body::Text(text) if text.len() > TEXT => Err(ContentError::TooLong),
        Body::Profile { full_name: Some(name) } if name.len() > FULL_NAME => Err(ContentError::TooLong),
        _ => Ok(content),
    }
}

fn read(d: &mut Decoder) -> Result<Content, minicbor::decode::Error> {
    use minicbor::{data::Type, decode::Error};
    let fields = d.array()?.filter(|fields| *fields >= 3).ok_or(Error::message("not a content"))?;
    let version = d.u64()?;
    let id = d.bytes()?.try_into().map_err(|_| Error::message("not an id"))?;
    let sent_at_ms = d.u64()?;
    let content = |body| Content { id, sent_at_ms, body };
    if version != VERSION {
        return Ok(content(Body::Unknown));
    }
    if fields < 5 {
        return Err(Error::message("not a content"));
    }
    let body = match d.u64()? {
        TEXT_KIND => Body::Text(d.str()?.to_owned()),
        PROFILE_KIND if d.datatype()? == Type::Null => {
            d.null()?;
            Body::Profile { full_name: None }
        }
        PROFILE_KIND => Body::Profile { full_name: Some(d.str()?.to_owned()) },
        RECEIPT_KIND => Body::Receipt { delivered: d.u64()? },
        _ => return Ok(content(Body::Unknown)),
    };
    for _ in 5..fields {
        d.skip()?;
    }
    if d.position() != d.input().len() {
        return Err(Error::message("something follows"));
    }
    Ok(content(body))
}

#[cfg(test)]
mod tests;
