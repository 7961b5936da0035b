//! Fetching a file: into a part file beside its place, opened and checked chunk by chunk, and under its name when it is whole.
//!
//! A part file is taken up again: what is in it is sealed once more, which makes the same bytes, so that the digest covers the
//! whole file whoever has written to it meanwhile.

use super::{Due, WINDOW, answer, cannot, name};
use crate::{
    Error,
    account::blocking,
    transport::{CallError, Caller, unexpected},
};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags},
    io::Errno,
};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};
use waxwing_e2ee::{
    attachment::{FileCipher, Shape},
    content,
};
use waxwing_protocol::{AttachmentId, ErrorCode, Request, Response};

/// How many numbered names are tried.
const NAMES: usize = 10_000;

/// Fetches a file into a folder; returns where it is. `progress` hears of the bytes that are here, of how many.
///
/// # Errors
/// [`Error::FileDamaged`]: what the server has is not what was sent; nothing of it is kept. [`Error::FileGone`]: the server does not
/// have it. [`Error::File`]: the folder or the disk; then, and when the connection is lost, what is here is taken up the next time.
pub(crate) async fn download(
    caller: &Caller,
    file: content::File,
    folder: PathBuf,
    progress: impl Fn(u64, u64),
) -> Result<PathBuf, Error> {
    let mut resumed = false;
    match attempt(caller, &file, &folder, &mut resumed, &progress).await {
        // What was in the part file may have been another's: once more, from the beginning.
        Err(Error::FileDamaged) if resumed => attempt(caller, &file, &folder, &mut resumed, &progress).await,
        outcome => outcome,
    }
}

async fn attempt(
    caller: &Caller,
    file: &content::File,
    folder: &Path,
    resumed: &mut bool,
    progress: &impl Fn(u64, u64),
) -> Result<PathBuf, Error> {
    let shape = file.shape().ok_or(Error::FileDamaged)?;
    let id = AttachmentId(file.attachment);
    let (mut part, mut index) = open(file, folder, shape).await?;
    *resumed = index > 0;
    progress(shape.content(index).0, shape.size());
    let mut due: Due<u32> = Due::new();
    while index < shape.chunks() || !due.is_empty() {
        while index < shape.chunks() && due.len() < WINDOW {
            due.push_back((index, caller.begin(Request::FetchChunk { id, index }).await));
            index += 1;
        }
        let Some((place, first)) = due.pop_front() else { break };
        let chunk = match answer(first).await {
            Ok(Response::Chunk(chunk)) => chunk.0,
            Ok(_) => return Err(unexpected()),
            Err(CallError::Refused(refusal)) => match refusal.code {
                ErrorCode::UnknownAttachment => {
                    // It will never be whole.
                    part.remove();
                    return Err(Error::FileGone);
                }
                ErrorCode::RateLimited | ErrorCode::Busy => {
                    // What was asked for behind it is asked for again, too.
                    due.clear();
                    index = place;
                    let pause = refusal.retry_after_ms.unwrap_or(2000);
                    tokio::time::sleep(std::time::Duration::from_millis(pause.into())).await;
                    continue;
                }
                _ => return Err(CallError::Refused(refusal).into_error()),
            },
            Err(error) => return Err(error.into_error()),
        };
        part = blocking(move || part.take(place, chunk)).await??;
        progress(shape.content(place + 1).0, shape.size());
    }
    blocking(move || part.finish()).await?
}

/// Whether a file is what a message's sender sealed: as it was saved, and nobody has written to it since. Links and whatever
/// else is no file are not.
pub(crate) fn is_saved(file: &content::File, path: &Path) -> bool {
    let Some(shape) = file.shape() else { return false };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let Ok(opened) = rustix::fs::open(path, flags, Mode::empty()).map(File::from) else { return false };
    if !opened.metadata().is_ok_and(|found| found.is_file() && found.len() == shape.size()) {
        return false;
    }
    let (cipher, mut hash) = (FileCipher::new(&file.key, shape), Sha256::new());
    for index in 0..shape.chunks() {
        let (start, content) = shape.content(index);
        let mut chunk = vec![0; content];
        if opened.read_exact_at(&mut chunk, start).is_err() || cipher.seal(index, &mut chunk).is_err() {
            return false;
        }
        hash.update(&chunk);
    }
    hash.finalize()[..] == file.digest
}

async fn open(file: &content::File, folder: &Path, shape: Shape) -> Result<(Part, u32), Error> {
    let (file, folder) = (file.clone(), folder.to_owned());
    blocking(move || {
        let mut part = Part::open(&file, &folder, shape)?;
        let present = part.take_up()?;
        Ok((part, present))
    })
    .await?
}

/// A file that is not whole yet.
struct Part {
    folder: OwnedFd,
    path: PathBuf,
    /// Its name while it is not whole, and the one that it gets.
    part: String,
    name: String,
    file: File,
    cipher: FileCipher,
    shape: Shape,
    hash: Sha256,
    digest: [u8; 32],
}

impl Part {
    /// Opens it in the folder, and nowhere else, for this process alone.
    fn open(file: &content::File, folder: &Path, shape: Shape) -> Result<Self, Error> {
        let path = std::path::absolute(folder).map_err(|error| cannot("find", folder, &error))?;
        let open = rustix::fs::open(&path, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty());
        let folder = open.map_err(|error| cannot("open", &path, &error.into()))?;
        let name = name::safe(&file.name);
        let mark: String = file.attachment.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let part = format!(".{name}.{mark}.part");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = rustix::fs::openat(&folder, &part, flags, Mode::RUSR | Mode::WUSR);
        let fd = opened.map_err(|error| cannot("write", &path.join(&part), &error.into()))?;
        let file_of_part = File::from(fd);
        let found = file_of_part.metadata().map_err(|error| cannot("read", &path.join(&part), &error))?;
        let busy = || Error::File {
            path: path.join(&part).display().to_string(),
            reason: "another process is writing it".into(),
        };
        if !found.is_file() {
            return Err(cannot("write", &path.join(&part), &io::ErrorKind::AlreadyExists.into()));
        }
        rustix::fs::flock(&file_of_part, FlockOperation::NonBlockingLockExclusive).map_err(|_| busy())?;
        let cipher = FileCipher::new(&file.key, shape);
        let (hash, digest) = (Sha256::new(), file.digest);
        Ok(Self { folder, path, part, name, file: file_of_part, cipher, shape, hash, digest })
    }

    fn failed(&self, error: &io::Error) -> Error {
        cannot("write", &self.path.join(&self.part), error)
    }

    /// Goes through what is in it; returns how many chunks that are.
    fn take_up(&mut self) -> Result<u32, Error> {
        let length = self.file.metadata().map_err(|error| self.failed(&error))?.len();
        let mut present = 0;
        for index in 0..self.shape.chunks() {
            let (start, content) = self.shape.content(index);
            if content == 0 || start + content as u64 > length {
                break;
            }
            let mut chunk = vec![0; content];
            self.file.read_exact_at(&mut chunk, start).map_err(|error| self.failed(&error))?;
            self.cipher.seal(index, &mut chunk).map_err(|_| Error::FileDamaged)?;
            self.hash.update(&chunk);
            present = index + 1;
        }
        let kept = self.shape.content(present).0;
        self.file.set_len(kept).map_err(|error| self.failed(&error))?;
        Ok(present)
    }

    /// Opens the next chunk and writes it to its place. One that is longer than it may be is not looked at.
    fn take(mut self, index: u32, mut chunk: Vec<u8>) -> Result<Self, Error> {
        let sealed = Sha256::clone(&self.hash).chain_update(&chunk);
        if self.cipher.open(index, &mut chunk).is_err() {
            self.remove();
            return Err(Error::FileDamaged);
        }
        self.hash = sealed;
        let (start, _) = self.shape.content(index);
        self.file.write_all_at(&chunk, start).map_err(|error| self.failed(&error))?;
        Ok(self)
    }

    /// Checks the digest, and gives it its name.
    fn finish(self) -> Result<PathBuf, Error> {
        if Sha256::clone(&self.hash).finalize()[..] != self.digest {
            self.remove();
            return Err(Error::FileDamaged);
        }
        self.file.sync_all().map_err(|error| self.failed(&error))?;
        for number in 0..NAMES {
            let name = name::numbered(&self.name, number);
            match self.rename(&name) {
                Ok(()) => {
                    // It has its name, whatever a folder that cannot be synchronised says.
                    let _ = rustix::fs::fsync(&self.folder);
                    return Ok(self.path.join(name));
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(self.failed(&error.into())),
            }
        }
        Err(self.failed(&io::ErrorKind::AlreadyExists.into()))
    }

    /// Never over anything.
    fn rename(&self, name: &str) -> Result<(), Errno> {
        match rustix::fs::renameat_with(&self.folder, &self.part, &self.folder, name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                rustix::fs::linkat(&self.folder, &self.part, &self.folder, name, AtFlags::empty())?;
                rustix::fs::unlinkat(&self.folder, &self.part, AtFlags::empty())
            }
            renamed => renamed,
        }
    }

    fn remove(&self) {
        // If it cannot be removed, its name says what it is.
        let _ = rustix::fs::unlinkat(&self.folder, &self.part, AtFlags::empty());
    }
}

#[cfg(test)]
mod tests;
