//! Where the chunks of attachments lie: an object store, by default a folder beside the database. One object per chunk, so that each
//! appears whole or not at all, and an upload can be taken up again anywhere.
//!
//! Invariants: a chunk that was stored is on disk; a chunk is stored only for an attachment that the database knows, and what it
//! does not know is deleted. It must not know who may have what.

mod place;
#[cfg(feature = "s3")]
mod s3;

pub use place::{Keys, Place, S3};

use crate::store::{SharedStore, StoreError};
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutPayload, local::LocalFileSystem, memory::InMemory, path::Path,
};
use std::{
    collections::BTreeSet,
    fmt,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    sync::Arc,
};
use waxwing_protocol::{AttachmentId, limits::ATTACHMENT_CHUNK};

/// See the module.
#[derive(Clone)]
pub struct Attachments {
    objects: Arc<dyn ObjectStore>,
    /// Whether other servers may use the same place, by mistake or because a copy of this one was made.
    shared: bool,
}

/// What is there, compared with what the database knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Attachments that have chunks.
    pub present: u64,
    /// Those of them that the database does not know.
    pub orphans: u64,
    /// Finished ones of the database of which nothing is there.
    pub missing: u64,
    /// Whether another database uses the place.
    pub foreign: bool,
}

/// The object that says whose a shared place is: the incarnation of the database.
const OWNER: &str = "waxwing-incarnation";

impl fmt::Debug for Attachments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attachments({})", self.objects)
    }
}

/// Why a chunk cannot be stored, read or deleted.
#[derive(Debug, thiserror::Error)]
pub enum AttachmentError {
    /// The place of the chunks.
    #[error("attachments: {0}")]
    Objects(#[from] object_store::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Attachments {
    /// In a folder, which is made if there is none, for this user alone.
    ///
    /// # Errors
    /// It cannot be made or used.
    pub fn in_folder(path: &std::path::Path) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let folder = LocalFileSystem::new_with_prefix(path).map_err(io::Error::other)?;
        let objects = Arc::new(folder.with_fsync(true).with_automatic_cleanup(true));
        Ok(Self { objects, shared: false })
    }

    /// The same for the one process that serves it, before it does: removes the halves of chunks that a killed one was writing.
    ///
    /// # Errors
    /// As [`Self::in_folder`].
    pub fn take_over(path: &std::path::Path) -> io::Result<Self> {
        let attachments = Self::in_folder(path)?;
        for folder in fs::read_dir(path)? {
            let folder = folder?;
            if !folder.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                let file = file?;
                // As the object store names what it is writing; no chunk's name has this.
                if file.file_name().to_string_lossy().contains('#') {
                    fs::remove_file(file.path())?;
                }
            }
        }
        Ok(attachments)
    }

    /// In a bucket. Nothing is asked of it yet.
    ///
    /// # Errors
    /// What was said of it makes no sense, or this program was built without it.
    #[cfg(feature = "s3")]
    pub fn in_bucket(s3: &S3, keys: &Keys) -> Result<Self, String> {
        s3::open(s3, keys).map(|objects| Self { objects, shared: true })
    }

    /// In a bucket: not in this program.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "s3"))]
    pub fn in_bucket(_: &S3, _: &Keys) -> Result<Self, String> {
        Err("this program was built without S3 stores (the feature \"s3\")".into())
    }

    /// In memory: for tests.
    pub fn in_memory() -> Self {
        Self { objects: Arc::new(InMemory::new()), shared: false }
    }

    /// Stores a chunk.
    pub(crate) async fn put(&self, id: AttachmentId, index: u32, payload: Vec<u8>) -> Result<(), AttachmentError> {
        self.objects.put(&chunk(id, index), PutPayload::from(payload)).await?;
        Ok(())
    }

    /// A chunk, if it is there.
    pub(crate) async fn get(&self, id: AttachmentId, index: u32) -> Result<Option<Vec<u8>>, AttachmentError> {
        let found = match self.objects.get(&chunk(id, index)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found?,
        };
        // What another hand has put there must not fill the memory.
        if found.meta.size > ATTACHMENT_CHUNK as u64 {
            return Ok(None);
        }
        Ok(Some(found.bytes().await?.into()))
    }

    /// Which of these many chunks are there with the right length, by place.
    pub(crate) async fn present(&self, id: AttachmentId, size: u64) -> Result<Vec<bool>, AttachmentError> {
        let count = usize::try_from(size.div_ceil(ATTACHMENT_CHUNK as u64)).unwrap_or(0);
        let mut present = vec![false; count];
        let folder = folder(id);
        let mut objects = self.objects.list(Some(&folder));
        while let Some(object) = objects.try_next().await? {
            let index = object.location.filename().and_then(|name| u32::from_str_radix(name, 16).ok());
            let Some(index) = index else { continue };
            let right = length(size, index) as u64 == object.size;
            if let Some(place) = usize::try_from(index).ok().and_then(|index| present.get_mut(index)) {
                *place = right;
            }
        }
        Ok(present)
    }

    /// Deletes all chunks of an attachment.
    pub(crate) async fn delete(&self, id: AttachmentId) -> Result<(), AttachmentError> {
        self.delete_all(&folder(id)).await
    }

    async fn delete_all(&self, folder: &Path) -> Result<(), AttachmentError> {
        let objects = self.objects.list(Some(folder)).map_ok(|object| object.location).boxed();
        let mut deleted = self.objects.delete_stream(objects);
        while let Some(gone) = deleted.next().await {
            match gone {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Deletes the chunks of what was dropped, and then forgets it.
    pub(crate) async fn sweep(&self, store: &SharedStore) -> Result<(), AttachmentError> {
        loop {
            let dropped = store.dropped_attachments().await?;
            if dropped.is_empty() {
                return Ok(());
            }
            for id in dropped {
                self.delete(id).await?;
                store.forget_attachment(id).await?;
            }
        }
    }

    /// Deletes what the database does not know: a chunk that was on its way when its attachment was dropped, or all that came after
    /// the copy of the database that was restored. Returns how many attachments that were.
    pub(crate) async fn delete_orphans(&self, store: &SharedStore) -> Result<u64, AttachmentError> {
        if !self.is_ours(store).await? {
            tracing::warn!("the store of attachments belongs to another database: nothing is tidied up there");
            return Ok(0);
        }
        let mut gone = 0;
        for folder in self.folders().await? {
            let known = match folder.filename().and_then(parse) {
                Some(id) => store.knows_attachment(id).await?,
                None => false,
            };
            if !known {
                self.delete_all(&folder).await?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    /// Compares what is there with what the database knows.
    pub(crate) async fn inventory(&self, store: &SharedStore) -> Result<Inventory, AttachmentError> {
        let mut found = Inventory { foreign: !self.is_ours(store).await?, ..Inventory::default() };
        let mut present = BTreeSet::new();
        for folder in self.folders().await? {
            found.present += 1;
            match folder.filename().and_then(parse) {
                Some(id) if store.knows_attachment(id).await? => drop(present.insert(id.0)),
                _ => found.orphans += 1,
            }
        }
        let mut last = None;
        loop {
            let page = store.finished_attachments(last).await?;
            let Some(end) = page.last() else { return Ok(found) };
            last = Some(*end);
            found.missing += page.iter().filter(|id| !present.contains(&id.0)).count() as u64;
        }
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn reach(&self) -> Result<(), AttachmentError> {
        match self.objects.get(&Path::from(OWNER)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            found => found.map(drop).map_err(AttachmentError::from),
        }
    }

    async fn folders(&self) -> Result<Vec<Path>, AttachmentError> {
        Ok(self.objects.list_with_delimiter(None).await?.common_prefixes)
    }

    /// Whether the place is this database's. Whoever comes first takes it; a database that was restored from a backup is another one,
    /// and what it does not know may be the other's.
    async fn is_ours(&self, store: &SharedStore) -> Result<bool, AttachmentError> {
        if !self.shared {
            return Ok(true);
        }
        let (owner, own) = (Path::from(OWNER), hex(&store.incarnation().0));
        match self.objects.get(&owner).await {
            Err(object_store::Error::NotFound { .. }) => {
                self.objects.put(&owner, PutPayload::from(own.into_bytes())).await?;
                Ok(true)
            }
            found => Ok(found?.bytes().await?.as_ref() == own.as_bytes()),
        }
    }
}

/// The length of a chunk of an attachment of `size` bytes; 0 behind its end.
pub(crate) fn length(size: u64, index: u32) -> usize {
    let rest = size.saturating_sub(u64::from(index) * ATTACHMENT_CHUNK as u64);
    usize::try_from(rest).map_or(ATTACHMENT_CHUNK, |rest| rest.min(ATTACHMENT_CHUNK))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn name(id: AttachmentId) -> String {
    hex(&id.0)
}

fn folder(id: AttachmentId) -> Path {
    Path::from(name(id))
}

fn chunk(id: AttachmentId, index: u32) -> Path {
    Path::from(format!("{}/{index:08x}", name(id)))
}

fn parse(name: &str) -> Option<AttachmentId> {
    let mut id = [0; 32];
    if name.len() != 64 || !name.is_ascii() {
        return None;
    }
    for (byte, place) in id.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(name.get(place..place + 2)?, 16).ok()?;
    }
    Some(AttachmentId(id))
}
