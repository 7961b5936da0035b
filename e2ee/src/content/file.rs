//! A file that a message brings: what it is called, where its sealed bytes are, and what opens them.
//!
//! The invariant: what is read has a shape that a sealed file can have. Names are as their sender wrote them: they are made
//! safe where they are shown or become a path. This module must not know how a file travels.

use super::{ContentError, TEXT, array, fields, optional};
use crate::attachment::{FileKey, Shape};
use minicbor::{
    Decoder, Encoder, decode,
    encode::{Error, Write},
};

/// The longest name of a file, in UTF-8 bytes.
pub const FILE_NAME: usize = 255;
/// The longest media type, in bytes.
pub const MEDIA_TYPE: usize = 127;
/// The longest thumbnail, in bytes.
pub const THUMBNAIL: usize = 16 * 1024;

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
    /// What it looks like, or how long it lasts, if it is a picture or a recording.
    pub media: Option<Media>,
}

/// What a picture or a recording is like before one has it, by its sender's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Media {
    /// Width and height of a picture or a film, in pixels; neither is 0.
    pub dimensions: Option<(u32, u32)>,
    /// How long a recording lasts, in milliseconds.
    pub duration_ms: Option<u64>,
    /// A picture, small: JPEG if its sender keeps to the rules. Whoever decodes it does so within bounds.
    pub thumbnail: Option<Vec<u8>>,
}

impl Media {
    fn check(&self) -> Result<(), ContentError> {
        if self.thumbnail.as_ref().is_some_and(|thumbnail| thumbnail.len() > THUMBNAIL) {
            return Err(ContentError::TooLong);
        }
        let nothing = self.dimensions.is_some_and(|(width, height)| width == 0 || height == 0);
        if nothing { Err(ContentError::Malformed) } else { Ok(()) }
    }

    fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        let (width, height) = self.dimensions.unzip();
        e.array(4)?.encode(width)?.encode(height)?.encode(self.duration_ms)?;
        match &self.thumbnail {
            Some(thumbnail) => e.bytes(thumbnail)?.ok(),
            None => e.null()?.ok(),
        }
    }

    fn read(d: &mut Decoder) -> Result<Self, decode::Error> {
        fields(d, 4, |d| {
            let (width, height) = (optional(d, |d| d.u32())?, optional(d, |d| d.u32())?);
            Ok(Self {
                dimensions: width.zip(height),
                duration_ms: optional(d, |d| d.u64())?,
                thumbnail: optional(d, |d| d.bytes().map(<[u8]>::to_vec))?,
            })
        })
    }
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
        self.media.as_ref().map_or(Ok(()), Media::check)?;
        self.shape().map(drop).ok_or(ContentError::Malformed)
    }

    /// At least as many bytes as the encoding has.
    pub(super) fn room(&self) -> usize {
        let thumbnail = self.media.as_ref().and_then(|media| media.thumbnail.as_ref()).map_or(0, Vec::len);
        self.name.len() + self.media_type.len() + self.caption.len() + thumbnail + 320
    }

    pub(super) fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        let fields = if self.media.is_some() { 9 } else { 8 };
        e.array(fields)?.str(&self.name)?.str(&self.media_type)?.u64(self.size)?.u64(self.sealed)?;
        e.bytes(&self.attachment)?.bytes(self.key.as_bytes())?.bytes(&self.digest)?.str(&self.caption)?;
        self.media.as_ref().map_or(Ok(()), |media| media.write(e))
    }

    pub(super) fn read(d: &mut Decoder) -> Result<Self, decode::Error> {
        let fields = d.array()?.filter(|fields| *fields >= 8).ok_or(decode::Error::message("fields are missing"))?;
        let file = Self {
            name: d.str()?.to_owned(),
            media_type: d.str()?.to_owned(),
            size: d.u64()?,
            sealed: d.u64()?,
            attachment: array(d)?,
            key: FileKey::from_bytes(array(d)?),
            digest: array(d)?,
            caption: d.str()?.to_owned(),
            media: if fields > 8 { optional(d, Media::read)? } else { None },
        };
        for _ in 9..fields {
            d.skip()?;
        }
        Ok(file)
    }
}
