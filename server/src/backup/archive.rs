//! The file: a tar archive whose first member, `manifest.json`, names the others with their sizes and SHA-256.
//!
//! Invariant: what is read is what the manifest says, whole, or an error. The sums tell damage, not forgery. It must not
//! know what the members mean.

use super::chunks;
use crate::{install::Database, store::StoreError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

const MANIFEST: &str = "manifest.json";
const FORMAT: u32 = 1;
/// A longer manifest is none.
const MANIFEST_LENGTH: u64 = 64 * 1024;

/// Why a backup cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no backup, or not whole any more.
    #[error("{} is no whole backup: {reason}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Made by a newer version.
    #[error("{} has the format {found}, which is newer than this version of Waxwing knows", path.display())]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The database failed.
    #[error(transparent)]
    Database(StoreError),
    /// The folder to restore into is in use.
    #[error("{} is not empty", .0.display())]
    Occupied(PathBuf),
    /// What was restored does not open.
    #[error(transparent)]
    Install(#[from] crate::install::InstallError),
}

/// A member of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// The configuration.
    #[serde(rename = "config.toml")]
    Config,
    /// Keys and passwords, sealed under the server's password.
    #[serde(rename = "secrets.sealed")]
    Secrets,
    /// The certificate.
    #[serde(rename = "identity.crt")]
    Certificate,
    /// The link.
    #[serde(rename = "link.txt")]
    Link,
    /// The embedded database.
    #[serde(rename = "database.sqlite")]
    Sqlite,
    /// The rows of the MySQL database.
    #[serde(rename = "database.mysql")]
    Mysql,
}

impl Content {
    /// The member with this kind of database.
    pub fn database(kind: Database) -> Self {
        match kind {
            Database::Sqlite => Self::Sqlite,
            Database::Mysql => Self::Mysql,
        }
    }

    /// Its name in the archive.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config.toml",
            Self::Secrets => "secrets.sealed",
            Self::Certificate => "identity.crt",
            Self::Link => "link.txt",
            Self::Sqlite => "database.sqlite",
            Self::Mysql => "database.mysql",
        }
    }
}

/// What the archive holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// When it was made (RFC 3339).
    pub created_at: String,
    /// By which version.
    pub version: String,
    /// Its members.
    pub files: Vec<Member>,
    /// Whether attachments follow them.
    #[serde(default)]
    pub attachments: bool,
}

/// A member as the manifest has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which.
    pub name: Content,
    /// Bytes.
    pub size: u64,
    /// In hexadecimal digits.
    pub sha256: String,
}

impl Manifest {
    /// Which database is in it.
    pub fn database(&self) -> Option<Database> {
        self.files.iter().find_map(|member| match member.name {
            Content::Sqlite => Some(Database::Sqlite),
            Content::Mysql => Some(Database::Mysql),
            _ => None,
        })
    }
}

/// Hashes what passes through.
struct Hashing<R> {
    inner: R,
    digest: Sha256,
    length: u64,
}

impl<R: Read> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, digest: Sha256::new(), length: 0 }
    }

    fn sum(self) -> (u64, String) {
        (self.length, self.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digest.update(buffer.get(..count).unwrap_or_default());
        self.length += count as u64;
        Ok(count)
    }
}

/// Writes an archive of these files, and of the chunks of attachments in a folder.
///
/// # Errors
/// A file cannot be read or the archive not be written.
pub fn write(
    contents: &[(Content, PathBuf)],
    attachments: &Path,
    created_at: String,
    to: impl Write,
) -> Result<(), BackupError> {
    let mut files = Vec::new();
    for (name, path) in contents {
        let failed = |source| BackupError::Io { path: path.clone(), source };
        let mut hashing = Hashing::new(File::open(path).map_err(failed)?);
        io::copy(&mut hashing, &mut io::sink()).map_err(failed)?;
        let (size, sha256) = hashing.sum();
        files.push(Member { name: *name, size, sha256 });
    }
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let manifest = Manifest { format: FORMAT, created_at, version, files, attachments: true };
    let failed = |source| BackupError::Io { path: MANIFEST.into(), source };
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| failed(error.into()))?;
    let mut archive = tar::Builder::new(to);
    let mut append = |name: &str, size: u64, content: &mut dyn Read| {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o600);
        header.set_cksum();
        archive.append_data(&mut header, name, content)
    };
    append(MANIFEST, text.len() as u64, &mut text.as_slice()).map_err(failed)?;
    for ((_, path), member) in contents.iter().zip(&manifest.files) {
        let failed = |source| BackupError::Io { path: path.clone(), source };
        let file = File::open(path).map_err(failed)?;
        append(member.name.name(), member.size, &mut file.take(member.size)).map_err(failed)?;
    }
    let failed = |source| BackupError::Io { path: attachments.to_owned(), source };
    chunks::append(attachments, |name, mut content| append(name, content.len() as u64, &mut content))
        .map_err(failed)?;
    let mut to = archive.into_inner().map_err(failed)?;
    to.flush().map_err(failed)
}

/// An archive to read.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
}

impl Archive {
    /// The archive in this file.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn damaged(&self, reason: impl ToString) -> BackupError {
        BackupError::Damaged { path: self.path.clone(), reason: reason.to_string() }
    }

    /// Reads it through and checks every sum; each member goes where `place` says, attachments into a folder if there is one.
    ///
    /// # Errors
    /// It is not whole.
    pub fn read<W: Write>(
        &self,
        mut place: impl FnMut(Content) -> Result<W, BackupError>,
        attachments: Option<&Path>,
    ) -> Result<Manifest, BackupError> {
        let open = File::open(&self.path);
        let file = open.map_err(|source| BackupError::Io { path: self.path.clone(), source })?;
        let mut archive = tar::Archive::new(BufReader::with_capacity(256 * 1024, file));
        let mut entries = archive.entries().map_err(|error| self.damaged(error))?;
        let mut first =
            entries.next().ok_or_else(|| self.damaged("it is empty"))?.map_err(|error| self.damaged(error))?;
        if first.path_bytes().as_ref() != MANIFEST.as_bytes() {
            return Err(self.damaged("it does not begin with a manifest"));
        }
        let mut text = Vec::new();
        first.by_ref().take(MANIFEST_LENGTH).read_to_end(&mut text).map_err(|error| self.damaged(error))?;
        let manifest = self.manifest(&text)?;
        for member in &manifest.files {
            let name = member.name.name();
            let entry = entries.next().ok_or_else(|| self.damaged(format!("{name} is missing")))?;
            let entry = entry.map_err(|error| self.damaged(error))?;
            if entry.path_bytes().as_ref() != name.as_bytes() {
                return Err(self.damaged(format!("{name} is missing")));
            }
            let mut hashing = Hashing::new(entry);
            let mut to = place(member.name)?;
            io::copy(&mut hashing, &mut to).and_then(|_| to.flush()).map_err(|error| self.damaged(error))?;
            if hashing.sum() != (member.size, member.sha256.clone()) {
                return Err(self.damaged(format!("{name} has changed since it was written")));
            }
        }
        let mut sum = chunks::Sum::default();
        let mut ended = !manifest.attachments;
        while !ended {
            let entry = entries.next().ok_or_else(|| self.damaged("attachments are missing"))?;
            let entry = entry.map_err(|error| self.damaged(error))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            ended = chunks::take(&name, entry, attachments, &mut sum).map_err(|reason| self.damaged(reason))?;
        }
        Ok(manifest)
    }

    fn manifest(&self, text: &[u8]) -> Result<Manifest, BackupError> {
        /// The number alone: a newer manifest may have other fields.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let format: Format = serde_json::from_slice(text).map_err(|error| self.damaged(error))?;
        if format.format > FORMAT {
            return Err(BackupError::Newer { path: self.path.clone(), found: format.format });
        }
        serde_json::from_slice(text).map_err(|error| self.damaged(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_comes_back_and_any_damage_is_noticed() {
        let place = tempfile::tempdir().unwrap();
        let (config, database) = (place.path().join("a"), place.path().join("b"));
        std::fs::write(&config, "listen").unwrap();
        std::fs::write(&database, vec![7; 3000]).unwrap();
        let mut bytes = Vec::new();
        let none = place.path().join("none");
        write(&[(Content::Config, config), (Content::Sqlite, database)], &none, "now".into(), &mut bytes).unwrap();
        let path = place.path().join("backup");
        std::fs::write(&path, &bytes).unwrap();
        let manifest = Archive::new(&path).read(|_| Ok(io::sink()), None).unwrap();
        assert_eq!(manifest.database(), Some(Database::Sqlite));
        // The headers of tar have sums of their own; the padding between members says nothing.
        let content = bytes.windows(6).position(|window| window == b"listen").unwrap();
        for position in [0, 600, content, content + 2000] {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            assert!(Archive::new(&path).read(|_| Ok(io::sink()), None).is_err(), "changed at {position}");
        }
        for cut in [0, 100, 1024, content + 3, bytes.len() / 2] {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            assert!(Archive::new(&path).read(|_| Ok(io::sink()), None).is_err(), "cut at {cut}");
        }
    }
}
