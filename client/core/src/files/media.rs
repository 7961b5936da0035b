//! What a picture looks like and how long a recording lasts, for those who see the message before they have the file.
//!
//! The invariants: reading is bounded in memory and in what is read, whatever the file says of itself; of a picture nothing
//! but its pixels goes into the thumbnail, so neither place nor camera; and what cannot be read is sent all the same. What
//! comes from others is opened by [`Picture::decode`] alone. This module must not know how files travel.

use image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage,
    codecs::jpeg::{JpegDecoder, JpegEncoder},
    metadata::Orientation,
};
use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek, SeekFrom},
    panic::{AssertUnwindSafe, catch_unwind},
};
use symphonia::core::{
    codecs::CodecParameters,
    formats::{FormatOptions, TrackType, probe::Hint},
    io::{MediaSource, MediaSourceStream},
    meta::MetadataOptions,
    units::{Duration, TimeBase},
};
use waxwing_e2ee::content::{Media, THUMBNAIL};

/// The longest file that is opened as a picture, in bytes.
const LONGEST: u64 = 64 * 1024 * 1024;
/// The longest side of a picture, and what its pixels may take, in bytes: what cameras make, with room to spare.
const SIDE: u32 = 32_768;
const PIXELS: u64 = 256 * 1024 * 1024;
/// How much of a recording is read.
const READ: u64 = 16 * 1024 * 1024;
/// No recording lasts longer, in milliseconds.
const LASTS: u64 = 1000 * 3600 * 24 * 365;

/// How long a thumbnail is at most, in bytes. It is in the message and in the backup.
const SMALL: usize = 12 * 1024;
/// Which thumbnails are tried until one is short enough: the longest side, and the quality.
const TRIED: [(u32, u8); 5] = [(320, 75), (320, 55), (240, 50), (160, 40), (96, 30)];

const _: () = assert!(SMALL <= THUMBNAIL);

/// What can be told about a file beside its content; none if it is neither a picture nor a recording that this client knows.
pub(super) fn of(source: &File, media_type: &str, length: u64) -> Option<Media> {
    let kind = media_type.split('/').next().unwrap_or_default();
    // The user's own file may come from anybody. A panic in a decoder is a file without a thumbnail.
    catch_unwind(AssertUnwindSafe(|| match kind {
        "image" if length <= LONGEST => picture(source),
        "audio" | "video" => recording(source, length, media_type),
        _ => None,
    }))
    .ok()
    .flatten()
}

fn picture(source: &File) -> Option<Media> {
    let mut source = source;
    source.rewind().ok()?;
    let mut reader = ImageReader::new(BufReader::new(source)).with_guessed_format().ok()?;
    let known = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP];
    reader.format().filter(|format| known.contains(format))?;
    reader.limits(limits(SIDE, PIXELS));
    let mut decoder = reader.into_decoder().ok()?;
    let (width, height) = decoder.dimensions();
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let dimensions = match orientation {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            (height, width)
        }
        _ => (width, height),
    };
    let thumbnail = match decoder.total_bytes() <= PIXELS {
        true => DynamicImage::from_decoder(decoder).ok().and_then(|image| thumbnail(&image, orientation)),
        false => None,
    };
    (width > 0 && height > 0).then_some(Media { dimensions: Some(dimensions), duration_ms: None, thumbnail })
}

fn limits(side: u32, bytes: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(side);
    limits.max_image_height = Some(side);
    limits.max_alloc = Some(bytes);
    limits
}

/// A JPEG of the pixels alone, upright.
fn thumbnail(image: &DynamicImage, orientation: Orientation) -> Option<Vec<u8>> {
    let longest = image.width().max(image.height());
    TRIED.iter().find_map(|(side, quality)| {
        let mut small = match longest > *side {
            true => image.thumbnail(*side, *side),
            false => image.clone(),
        };
        small.apply_orientation(orientation);
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, *quality).encode_image(&on_white(&small)).ok()?;
        (jpeg.len() <= SMALL).then_some(jpeg)
    })
}

/// JPEG knows nothing that is transparent.
fn on_white(image: &DynamicImage) -> RgbImage {
    let rgba = image.to_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [red, green, blue, alpha] = rgba.get_pixel(x, y).0;
        let blend = |colour: u8| {
            let mixed = (u16::from(colour) * u16::from(alpha) + 255 * (255 - u16::from(alpha))) / 255;
            u8::try_from(mixed).unwrap_or(u8::MAX)
        };
        image::Rgb([blend(red), blend(green), blend(blue)])
    })
}

fn recording(source: &File, length: u64, media_type: &str) -> Option<Media> {
    let bounded = Bounded { source: source.try_clone().ok()?, length, left: READ };
    let mut stream = MediaSourceStream::new(Box::new(bounded), Default::default());
    stream.rewind().ok()?;
    let mut hint = Hint::new();
    hint.mime_type(media_type);
    let options = (FormatOptions::default(), MetadataOptions::default());
    let reader = symphonia::default::get_probe().probe(&hint, stream, options.0, options.1).ok()?;
    let whole = reader.media_info();
    let longest = || reader.tracks().iter().filter_map(|track| lasts(track.time_base, track.duration)).max();
    let duration_ms = lasts(whole.time_base, whole.duration).or_else(longest).filter(|lasts| *lasts <= LASTS);
    let dimensions = reader.first_track(TrackType::Video).and_then(|track| match &track.codec_params {
        Some(CodecParameters::Video(video)) => video.width.zip(video.height),
        _ => None,
    });
    let dimensions = dimensions.map(|(width, height)| (width.into(), height.into()));
    let dimensions = dimensions.filter(|(width, height): &(u32, u32)| *width > 0 && *height > 0);
    (duration_ms.is_some() || dimensions.is_some()).then_some(Media { dimensions, duration_ms, thumbnail: None })
}

/// So much of such a time, in milliseconds; none if it is nothing.
fn lasts(time_base: Option<TimeBase>, duration: Option<Duration>) -> Option<u64> {
    let time = time_base?.calc_duration(duration?)?;
    u64::try_from(time.as_millis()).ok().filter(|lasts| *lasts > 0)
}

/// A file of which only so much is read.
struct Bounded {
    source: File,
    length: u64,
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let read = self.source.read(buffer.get_mut(..room).unwrap_or_default())?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.source.seek(to)
    }
}

impl MediaSource for Bounded {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.length)
    }
}

/// A thumbnail's pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Picture {
    /// The longest side of a thumbnail that is opened, and what opening it may take, in bytes.
    const SIDE: u32 = 512;
    const BYTES: u64 = 4 * 1024 * 1024;

    /// Opens a thumbnail, which may come from anybody: none if it is no small JPEG.
    pub fn decode(thumbnail: &[u8]) -> Option<Self> {
        if thumbnail.len() > THUMBNAIL {
            return None;
        }
        let opened = catch_unwind(|| {
            let mut decoder = JpegDecoder::new(Cursor::new(thumbnail)).ok()?;
            decoder.set_limits(limits(Self::SIDE, Self::BYTES)).ok()?;
            DynamicImage::from_decoder(decoder).ok().map(DynamicImage::into_rgb8)
        });
        let image = opened.ok().flatten().filter(|image| image.width() > 0 && image.height() > 0)?;
        Some(Self { width: image.width(), height: image.height(), pixels: image.into_raw() })
    }

    /// A picture of one's own making: three bytes for each pixel, row by row. None if there are more or fewer.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Option<Self> {
        let length = u64::from(width) * u64::from(height) * 3;
        (length > 0 && length == pixels.len() as u64).then_some(Self { width, height, pixels })
    }

    /// Columns of pixels; not 0.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows of pixels; not 0.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Red, green and blue of each pixel, row by row.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The same picture as PNG.
    pub fn png(&self) -> Option<Vec<u8>> {
        let image = RgbImage::from_raw(self.width, self.height, self.pixels.clone())?;
        let mut png = Cursor::new(Vec::new());
        image.write_to(&mut png, ImageFormat::Png).ok()?;
        Some(png.into_inner())
    }

    /// The same picture in another size.
    pub fn scaled(&self, width: u32, height: u32) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        let image = RgbImage::from_raw(self.width, self.height, self.pixels.clone()).unwrap_or_default();
        let scaled = match (width, height) == (self.width, self.height) {
            true => image,
            false if width <= self.width && height <= self.height => image::imageops::thumbnail(&image, width, height),
            false => image::imageops::resize(&image, width, height, image::imageops::FilterType::Triangle),
        };
        Self { width, height, pixels: scaled.into_raw() }
    }
}

#[cfg(test)]
mod tests;
