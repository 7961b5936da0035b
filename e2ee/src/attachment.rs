//! Files: encrypted chunk by chunk (the STREAM construction over AES-256-GCM), so that one of any size passes in little memory
//! and can be taken up again at any chunk.
//!
//! The invariants: a chunk opens only at its own place in its own file, and the last one only as the last; the sealed
//! length is one of few. A key seals one file: whoever uses it again must seal the same bytes. This module must not know
//! where a file comes from or goes to, or what it is called.

use crate::padding;
use aead_stream::{NewStream, StreamBE32, StreamPrimitive};
use aes_gcm::Aes256Gcm;
use rsa::rand_core::CryptoRng;
use std::fmt;
use zeroize::Zeroizing;

/// The length of every sealed chunk but the last, in bytes.
pub const CHUNK: usize = 256 * 1024;
/// The longest sealed file, in bytes.
pub const LARGEST: u64 = 4 * 1024 * 1024 * 1024;
/// The length of a chunk's tag.
const TAG: usize = 16;
/// What a sealed chunk holds.
const HELD: usize = CHUNK - TAG;
/// The first sealed lengths; above the last they follow Padmé (at most 12 % more).
const SIZES: [usize; 4] = [4 * 1024, 16 * 1024, 64 * 1024, 256 * 1024];
const CONTEXT: &[u8] = b"waxwing attachment 1";

/// The key of one file. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct FileKey(Zeroizing<[u8; 32]>);

impl FileKey {
    /// A new key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *key);
        Self(key)
    }

    /// The key with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey(<secret>)")
    }
}

/// How long a file is, in clear and sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    size: u64,
    sealed: u64,
}

/// A chunk that does not belong at this place of this file, or was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a part of the file is not what its sender sealed")]
pub struct WrongChunk;

impl Shape {
    /// How a file of `size` bytes is sealed; none if it is too large.
    pub fn of(size: u64) -> Option<Self> {
        let length = usize::try_from(size).ok().filter(|_| size <= LARGEST)?;
        let mut sealed = padding::class(length.checked_add(length.div_ceil(HELD).max(1) * TAG)?, &SIZES);
        while capacity(sealed as u64) < size {
            sealed = padding::class(sealed + 1, &SIZES);
        }
        Self::claimed(size, sealed as u64)
    }

    /// The shape of a file that somebody says is `size` bytes long and `sealed` once it is sealed; none if that cannot be.
    pub fn claimed(size: u64, sealed: u64) -> Option<Self> {
        let last = sealed % CHUNK as u64;
        let possible = sealed <= LARGEST && (last == 0 || last > TAG as u64) && sealed > 0;
        (possible && size <= capacity(sealed)).then_some(Self { size, sealed })
    }

    /// The length in clear, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The length once sealed, in bytes.
    pub fn sealed(&self) -> u64 {
        self.sealed
    }

    /// How many chunks there are; at least one.
    pub fn chunks(&self) -> u32 {
        u32::try_from(self.sealed.div_ceil(CHUNK as u64)).unwrap_or(u32::MAX)
    }

    /// The length of a sealed chunk; 0 behind the last.
    pub fn sealed_chunk(&self, index: u32) -> usize {
        let rest = self.sealed.saturating_sub(u64::from(index) * CHUNK as u64);
        usize::try_from(rest).map_or(CHUNK, |rest| rest.min(CHUNK))
    }

    /// Where in the file a chunk's content begins, and how long it is: 0 where a chunk holds nothing but padding.
    pub fn content(&self, index: u32) -> (u64, usize) {
        let start = u64::from(index) * HELD as u64;
        let held = self.sealed_chunk(index).saturating_sub(TAG);
        let rest = self.size.saturating_sub(start);
        (start.min(self.size), usize::try_from(rest).map_or(held, |rest| rest.min(held)))
    }
}

/// What a sealed file of this length holds at most.
fn capacity(sealed: u64) -> u64 {
    sealed.saturating_sub(sealed.div_ceil(CHUNK as u64) * TAG as u64)
}

/// Seals and opens the chunks of one file.
pub struct FileCipher {
    stream: StreamBE32<Aes256Gcm>,
    shape: Shape,
}

impl fmt::Debug for FileCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCipher").field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl FileCipher {
    /// The cipher of a file. Each file has a key of its own, so the nonces need nothing but the chunk's place.
    pub fn new(key: &FileKey, shape: Shape) -> Self {
        let key = key.as_bytes().into();
        Self { stream: StreamBE32::<Aes256Gcm>::new(key, &Default::default()), shape }
    }

    /// Pads and seals a chunk where it is.
    ///
    /// # Errors
    /// [`WrongChunk`] if the content is not as long as [`Shape::content`] says.
    pub fn seal(&self, index: u32, chunk: &mut Vec<u8>) -> Result<(), WrongChunk> {
        let (_, content) = self.shape.content(index);
        if chunk.len() != content || index >= self.shape.chunks() {
            return Err(WrongChunk);
        }
        chunk.reserve_exact(self.shape.sealed_chunk(index).saturating_sub(content));
        chunk.resize(self.shape.sealed_chunk(index).saturating_sub(TAG), 0);
        self.stream.encrypt_in_place(index, self.is_last(index), CONTEXT, chunk).map_err(|_| WrongChunk)
    }

    /// Opens a chunk where it is, and takes its padding off.
    ///
    /// # Errors
    /// [`WrongChunk`]: of another length, changed, from another place or file, or wrongly padded.
    pub fn open(&self, index: u32, chunk: &mut Vec<u8>) -> Result<(), WrongChunk> {
        if index >= self.shape.chunks() || chunk.len() != self.shape.sealed_chunk(index) {
            return Err(WrongChunk);
        }
        self.stream.decrypt_in_place(index, self.is_last(index), CONTEXT, chunk).map_err(|_| WrongChunk)?;
        let (_, content) = self.shape.content(index);
        if chunk.iter().skip(content).any(|byte| *byte != 0) {
            return Err(WrongChunk);
        }
        chunk.truncate(content);
        Ok(())
    }

    fn is_last(&self, index: u32) -> bool {
        index + 1 == self.shape.chunks()
    }
}

#[cfg(test)]
mod tests;
