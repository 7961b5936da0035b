//! A file that a message brings: what it is called, where its sealed bytes are, and what opens them.
//!
//! The invariant: what is read has a shape that a sealed file can have. Names are as their sender wrote them: they are made
//! safe where they are shown or become a path. This module must not know how a file travels.

use super::{ContentError, TEXT, array, fields};
use crate::attachment::{FileKey, Shape};
use minicbor::{
    Decoder, Encoder, decode,
    encode::{Error, Write},
};

/// The longest name of a file, in UTF-8 bytes.
pub const FILE_NAME: usize = 255;
/// The longest media type, in bytes.
pub const MEDIA_TYPE: usize = 127;

/// A file of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, not made safe for a screen or a disk.
    pub name: String,
    /// What its sender takes it for, such as `image/png`; not made safe either.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// The length of its sealed bytes.
    pub sealed: u64,
    /// Where the server has it. Whoever knows this may fetch it.
    pub attachment: [u8; 32],
    /// What opens it.
    pub key: FileKey,
    /// SHA-256 of its sealed bytes.
    pub digest: [u8; 32],
    /// What its sender says about it; empty for nothing.
    pub caption: String,
}

impl File {
    /// Its lengths; none if they cannot be.
    pub fn shape(&self) -> Option<Shape> {
        Shape::claimed(self.size, self.sealed)
    }

    pub(super) fn check(&self) -> Result<(), ContentError> {
        if self.name.len() > FILE_NAME || self.media_type.len() > MEDIA_TYPE || self.caption.len() > TEXT {
            return Err(ContentError::TooLong);
        }
        self.shape().map(drop).ok_or(ContentError::Malformed)
    }

    /// At least as many bytes as the encoding has.
    pub(super) fn room(&self) -> usize {
        self.name.len() + self.media_type.len() + self.caption.len() + 256
    }

    pub(super) fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        e.array(8)?.str(&self.name)?.str(&self.media_type)?.u64(self.size)?.u64(self.sealed)?;
        e.bytes(&self.attachment)?.bytes(self.key.as_bytes())?.bytes(&self.digest)?.str(&self.caption)?.ok()
    }

    pub(super) fn read(d: &mut Decoder) -> Result<Self, decode::Error> {
        fields(d, 8, |d| {
            Ok(Self {
                name: d.str()?.to_owned(),
                media_type: d.str()?.to_owned(),
                size: d.u64()?,
                sealed: d.u64()?,
                attachment: array(d)?,
                key: FileKey::from_bytes(array(d)?),
                digest: array(d)?,
                caption: d.str()?.to_owned(),
            })
        })
    }
}
