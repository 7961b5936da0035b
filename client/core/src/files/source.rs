//! A file of the user's, as it was when it was to be sent.
//!
//! The invariant: its chunks are sealed as they were the first time, or not at all. A file that has changed meanwhile would make
//! other bytes under the same key, which would tell about both.

use super::cannot;
use crate::{Error, random};
use rand_core::Rng as _;
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};
use waxwing_e2ee::{
    attachment::{FileCipher, FileKey, LARGEST, Shape},
    content::{self, FILE_NAME, TEXT},
};

/// What a chunk's digest takes, in bytes.
const DIGEST: usize = 32;

/// A file that is ready to be sent.
pub(crate) struct Prepared {
    pub(crate) path: PathBuf,
    pub(crate) file: content::File,
    /// The digests of its sealed chunks.
    pub(crate) digests: Vec<u8>,
}

/// Reads a file through and seals it once, without keeping anything but digests.
pub(crate) fn prepare(path: &Path, caption: String) -> Result<Prepared, Error> {
    if caption.len() > TEXT {
        return Err(Error::TooLong { length: caption.len(), limit: TEXT });
    }
    // It is opened again later, perhaps from another working directory.
    let path = fs::canonicalize(path).map_err(|error| cannot("read", path, &error))?;
    let found = fs::metadata(&path).map_err(|error| cannot("read", &path, &error))?;
    if !found.is_file() {
        // Opening a pipe would wait for its other end.
        return Err(Error::File { path: path.display().to_string(), reason: "it is no file".into() });
    }
    let shape = Shape::of(found.len()).ok_or(Error::FileTooLarge { limit: LARGEST })?;
    let mut attachment = [0; 32];
    random().fill_bytes(&mut attachment);
    let key = FileKey::generate(&mut random());
    let source = File::open(&path).map_err(|error| cannot("read", &path, &error))?;
    let cipher = FileCipher::new(&key, shape);
    let (mut whole, mut digests) = (Sha256::new(), Vec::new());
    for index in 0..shape.chunks() {
        let sealed =
            seal(&source, &cipher, shape, index).ok_or_else(|| Error::FileChanged(path.display().to_string()))?;
        whole.update(&sealed);
        digests.extend_from_slice(&Sha256::digest(&sealed));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let media_type = super::name::media_type(&name);
    let file = content::File {
        name: cut(&name, FILE_NAME).to_owned(),
        media_type: media_type.to_owned(),
        size: shape.size(),
        sealed: shape.sealed(),
        attachment,
        key,
        digest: whole.finalize().into(),
        caption,
        media: super::media::of(&source, media_type, found.len()),
    };
    Ok(Prepared { path, file, digests })
}

/// The beginning of a text, of at most so many bytes.
fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

fn seal(source: &File, cipher: &FileCipher, shape: Shape, index: u32) -> Option<Vec<u8>> {
    let (start, length) = shape.content(index);
    let mut chunk = vec![0; length];
    source.read_exact_at(&mut chunk, start).ok()?;
    cipher.seal(index, &mut chunk).ok()?;
    Some(chunk)
}

/// A file that is being sent.
pub(super) struct Source {
    path: PathBuf,
    source: File,
    cipher: FileCipher,
    pub(super) shape: Shape,
    digests: Vec<u8>,
}

impl Source {
    pub(super) fn open(path: &Path, file: &content::File, digests: Vec<u8>) -> Result<Self, Error> {
        let damaged = || Error::Storage("what is known of a file that is being sent is damaged".into());
        let shape = file.shape().ok_or_else(damaged)?;
        let source = File::open(path).map_err(|error| cannot("read", path, &error))?;
        Ok(Self { path: path.to_owned(), source, cipher: FileCipher::new(&file.key, shape), shape, digests })
    }

    /// A sealed chunk, with the same bytes as ever.
    pub(super) fn chunk(&self, index: u32) -> Result<Vec<u8>, Error> {
        let changed = || Error::FileChanged(self.path.display().to_string());
        let sealed = seal(&self.source, &self.cipher, self.shape, index).ok_or_else(changed)?;
        let known = usize::try_from(index).ok().and_then(|index| self.digests.chunks_exact(DIGEST).nth(index));
        match known == Some(&Sha256::digest(&sealed)[..]) {
            true => Ok(sealed),
            false => Err(changed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_has_changed_is_not_sealed_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, vec![7; 300_000]).unwrap();
        let prepared = prepare(&path, String::new()).unwrap();
        let open = || Source::open(&path, &prepared.file, prepared.digests.clone()).unwrap();
        let first = open().chunk(1).unwrap();
        assert_eq!(open().chunk(1).unwrap(), first);
        let mut content = vec![7; 300_000];
        content[299_999] = 8;
        fs::write(&path, &content).unwrap();
        assert!(open().chunk(0).is_ok());
        assert!(matches!(open().chunk(1), Err(Error::FileChanged(_))));
        fs::write(&path, b"short").unwrap();
        assert!(matches!(open().chunk(0), Err(Error::FileChanged(_))));
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("missing"), "/dev/zero".into()] {
            assert!(matches!(prepare(&path, String::new()), Err(Error::File { .. })), "{}", path.display());
        }
        assert_eq!((cut("grün", 3), cut("grün", 4), cut("a", 9)), ("gr", "grü", "a"));
    }
}
