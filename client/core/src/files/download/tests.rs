use super::*;
use std::{fs, os::unix::fs::PermissionsExt as _};
use waxwing_e2ee::attachment::FileKey;

/// A file of this content, sealed.
fn sealed(name: &str, content: &[u8]) -> (content::File, Shape, Vec<Vec<u8>>) {
    let shape = Shape::of(content.len() as u64).unwrap();
    let key = FileKey::from_bytes([7; 32]);
    let cipher = FileCipher::new(&key, shape);
    let mut hash = Sha256::new();
    let chunks: Vec<Vec<u8>> = (0..shape.chunks())
        .map(|index| {
            let (start, length) = shape.content(index);
            let mut chunk = content[start as usize..][..length].to_vec();
            cipher.seal(index, &mut chunk).unwrap();
            hash.update(&chunk);
            chunk
        })
        .collect();
    let file = content::File {
        media: None,
        name: name.to_owned(),
        media_type: "text/plain".into(),
        size: shape.size(),
        sealed: shape.sealed(),
        attachment: [0xab; 32],
        key,
        digest: hash.finalize().into(),
        caption: String::new(),
    };
    (file, shape, chunks)
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn save(folder: &Path, file: &content::File, shape: Shape, chunks: &[Vec<u8>]) -> Result<PathBuf, Error> {
    let mut part = Part::open(file, folder, shape)?;
    let present = part.take_up()?;
    for (index, chunk) in (0..).zip(chunks).skip(present as usize) {
        part = part.take(index, chunk.clone())?;
    }
    part.finish()
}

#[test]
fn a_file_takes_the_place_of_nothing_and_is_the_users_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (file, shape, chunks) = sealed("../../a.txt", b"hello");
    fs::write(folder.path().join("a.txt"), "mine").unwrap();
    std::os::unix::fs::symlink("/nowhere", folder.path().join("a (1).txt")).unwrap();
    let path = save(folder.path(), &file, shape, &chunks).unwrap();
    assert_eq!(path.file_name().unwrap(), "a (2).txt");
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read(folder.path().join("a.txt")).unwrap(), b"mine");
    assert_eq!(entries(folder.path()), ["a (1).txt", "a (2).txt", "a.txt"]);
}

#[test]
fn a_link_in_place_of_the_part_file_is_not_followed() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (file, shape, chunks) = sealed("a.txt", b"hello");
    let target = elsewhere.path().join("target");
    fs::write(&target, "mine").unwrap();
    std::os::unix::fs::symlink(&target, folder.path().join(".a.txt.abababab.part")).unwrap();
    assert!(matches!(save(folder.path(), &file, shape, &chunks), Err(Error::File { .. })));
    assert_eq!(fs::read(&target).unwrap(), b"mine");
}

#[test]
fn what_is_not_what_was_sent_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let content = vec![7; 600_000];
    let (file, shape, mut chunks) = sealed("a.bin", &content);
    chunks[1][5] ^= 1;
    assert_eq!(save(folder.path(), &file, shape, &chunks), Err(Error::FileDamaged));
    chunks[1].push(0);
    assert_eq!(save(folder.path(), &file, shape, &chunks), Err(Error::FileDamaged));
    // Each chunk opens, but they are not the ones that the digest is of.
    let (_, _, whole) = sealed("a.bin", &content);
    let other = content::File { digest: [0; 32], ..file };
    assert_eq!(save(folder.path(), &other, shape, &whole), Err(Error::FileDamaged));
    assert_eq!(entries(folder.path()), Vec::<String>::new());
}

#[test]
fn what_is_here_is_taken_up_and_checked_again() {
    let folder = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..700_000).map(|n| n as u8).collect();
    let (file, shape, chunks) = sealed("a.bin", &content);
    let mut part = Part::open(&file, folder.path(), shape).unwrap();
    assert_eq!(part.take_up().unwrap(), 0);
    for index in 0..2 {
        part = part.take(index, chunks[index as usize].clone()).unwrap();
    }
    // Another process cannot write it meanwhile.
    assert!(matches!(Part::open(&file, folder.path(), shape), Err(Error::File { .. })));
    drop(part);
    assert_eq!(entries(folder.path()), [".a.bin.abababab.part"]);
    // Killed in the middle of a chunk: that one is fetched again.
    let left = folder.path().join(".a.bin.abababab.part");
    let torn = fs::File::options().write(true).open(&left).unwrap();
    torn.set_len(shape.content(2).0 + 100).unwrap();
    let mut part = Part::open(&file, folder.path(), shape).unwrap();
    assert_eq!(part.take_up().unwrap(), 2);
    part = part.take(2, chunks[2].clone()).unwrap();
    let path = part.finish().unwrap();
    assert_eq!(fs::read(path).unwrap(), content);

    // Somebody has written to it: the digest tells.
    fs::write(&left, vec![1; 300_000]).unwrap();
    assert_eq!(save(folder.path(), &file, shape, &chunks), Err(Error::FileDamaged));
    assert_eq!(entries(folder.path()), ["a.bin"]);
}

#[test]
fn empty_files_are_files() {
    let folder = tempfile::tempdir().unwrap();
    let (file, shape, chunks) = sealed("", b"");
    let path = save(folder.path(), &file, shape, &chunks).unwrap();
    assert_eq!((path.file_name().unwrap().to_str(), fs::read(&path).unwrap().len()), (Some("file"), 0));
}
