//! The attachments in a backup: behind its members, a member per chunk, and one that sums them up.
//!
//! Invariants: a name in an archive becomes no other path than a chunk's; what is missing or changed is noticed. Each chunk is sealed by
//! clients, so this sum, like the others, tells damage and not forgery.

use crate::install::private_file;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read, Write},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};
use waxwing_protocol::limits::ATTACHMENT_CHUNK;

/// Where the chunks are in an archive.
const FOLDER: &str = "attachments/";
/// The member that ends them.
const END: &str = "attachments.json";
/// A longer one is none.
const END_LENGTH: u64 = 4096;

/// What the chunks come to.
#[derive(Debug, Default)]
pub(super) struct Sum {
    chunks: u64,
    digest: Sha256,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    chunks: u64,
    sha256: String,
}

impl Sum {
    fn add(&mut self, name: &str, content: &[u8]) {
        self.chunks += 1;
        self.digest.update(name);
        self.digest.update((content.len() as u64).to_be_bytes());
        self.digest.update(content);
    }

    fn end(self) -> End {
        let sha256 = self.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        End { chunks: self.chunks, sha256 }
    }
}

/// Appends the chunks in a folder, one in memory at a time. What is deleted meanwhile is left out.
pub(super) fn append(folder: &Path, mut append: impl FnMut(&str, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut sum = Sum::default();
    for attachment in names(folder, is_attachment)? {
        for chunk in names(&folder.join(&attachment), is_chunk)? {
            let mut content = Vec::new();
            match File::open(folder.join(&attachment).join(&chunk)) {
                Ok(file) => file.take(ATTACHMENT_CHUNK as u64).read_to_end(&mut content)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let name = format!("{FOLDER}{attachment}/{chunk}");
            append(&name, &content)?;
            sum.add(&name, &content);
        }
    }
    append(END, &serde_json::to_vec(&sum.end())?)
}

/// The names in a folder that are right, sorted; none if there is no folder.
fn names(folder: &Path, right: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok().filter(|name| right(name)));
    }
    names.sort();
    Ok(names)
}

/// Takes in a member behind those that the manifest names, into a folder if there is one; true if it was the last.
pub(super) fn take(name: &str, mut content: impl Read, into: Option<&Path>, sum: &mut Sum) -> Result<bool, String> {
    let failed = |error: io::Error| error.to_string();
    let mut bytes = Vec::new();
    if name == END {
        content.take(END_LENGTH).read_to_end(&mut bytes).map_err(failed)?;
        let end: End = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        return match end == std::mem::take(sum).end() {
            true => Ok(true),
            false => Err("attachments are missing or have changed since it was written".into()),
        };
    }
    let place = name.strip_prefix(FOLDER).and_then(|name| name.split_once('/'));
    let Some((attachment, chunk)) = place.filter(|(one, other)| is_attachment(one) && is_chunk(other)) else {
        return Err("it has a member of another name than an attachment's".into());
    };
    content.by_ref().take(ATTACHMENT_CHUNK as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > ATTACHMENT_CHUNK {
        return Err("an attachment's part is too long".into());
    }
    sum.add(name, &bytes);
    if let Some(folder) = into {
        let folder = folder.join(attachment);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        let mut file = private_file(&folder.join(chunk)).map_err(failed)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    }
    Ok(false)
}

fn is_attachment(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_chunk(name: &str) -> bool {
    name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back_and_nothing_else_becomes_a_path() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let attachment = "ab".repeat(32);
        fs::create_dir(from.path().join(&attachment)).unwrap();
        fs::write(from.path().join(&attachment).join("00000001"), b"two").unwrap();
        fs::write(from.path().join(&attachment).join("00000000"), b"one").unwrap();
        fs::write(from.path().join(&attachment).join("00000002#1"), b"being written").unwrap();
        let mut members = Vec::new();
        append(from.path(), |name, content| {
            members.push((name.to_owned(), content.to_vec()));
            Ok(())
        })
        .unwrap();
        assert_eq!(members.len(), 3);
        let mut sum = Sum::default();
        let taken = members.iter().map(|(name, content)| take(name, &content[..], Some(to.path()), &mut sum));
        assert_eq!(taken.collect::<Result<Vec<_>, _>>(), Ok(vec![false, false, true]));
        assert_eq!(fs::read(to.path().join(&attachment).join("00000001")).unwrap(), b"two");

        let mut sum = Sum::default();
        assert_eq!(take(&members[0].0, &b"another"[..], None, &mut sum), Ok(false));
        assert!(take(&members[2].0, &members[2].1[..], None, &mut sum).is_err());
        for name in ["../x", "attachments/../../x", "attachments/x/00000000", "/etc/passwd", "attachments/"] {
            assert!(take(name, &b""[..], Some(to.path()), &mut Sum::default()).is_err(), "{name}");
        }
    }
}
