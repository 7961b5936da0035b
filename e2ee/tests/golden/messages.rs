//! A message that was on its way, and a file that lies on a server, when this version was installed: both open for ever, by the
//! device as it was stored then. The vectors never change, formats get new files.

use super::Golden;
use rsa::sha2::{Digest, Sha256};
use rusqlite::Connection;
use waxwing_e2ee::{
    account::IdentityPublicKey,
    attachment::{CHUNK, FileCipher, FileKey, Shape},
    content::{self, Body},
    mls::{Device, Group, Identities, Mls, Received, migrate},
};

const CHAT: [u8; 16] = [0xc4; 16];

fn golden() -> Golden {
    Golden::parse(include_str!("messages-v1.txt"))
}

impl Identities for Golden {
    fn identity(&self, _: &str, fingerprint: &[u8; 32]) -> Option<IdentityPublicKey> {
        let keys =
            ["alice_identity", "bob_identity"].map(|name| IdentityPublicKey::from_der(self.bytes(name)).unwrap());
        keys.into_iter().find(|key| key.fingerprint() == *fingerprint)
    }
}

/// Seals or opens a file, chunk after chunk.
fn pass(shape: Shape, bytes: &[u8], sealed: bool, mut one: impl FnMut(u32, &mut Vec<u8>)) -> Vec<u8> {
    let mut rest = bytes;
    let mut all = Vec::new();
    for index in 0..shape.chunks() {
        let length = if sealed { shape.sealed_chunk(index) } else { shape.content(index).1 };
        let (chunk, behind) = rest.split_at(length);
        let mut chunk = chunk.to_vec();
        one(index, &mut chunk);
        all.extend(chunk);
        rest = behind;
    }
    assert_eq!(rest, b"");
    all
}

#[test]
fn a_device_reads_what_was_sent_to_it_and_answers() {
    let golden = golden();
    let mut db = Connection::open_in_memory().unwrap();
    db.execute_batch(include_str!("device-v1.sql")).unwrap();
    // What a later version does first.
    migrate(&mut db).unwrap();
    let mls = Mls::new(&db);
    let (key, credential) = (golden.array("bob_mls_key"), golden.bytes("bob_credential"));
    let device = Device::load(&mls, "bob", &[0xb1; 16], &key, credential).unwrap().expect("the device's key");
    let mut group = Group::load(&mls, &CHAT).unwrap().expect("the group");
    let names: Vec<&str> = group.rules().participants().iter().map(|one| one.username.as_str()).collect();
    assert_eq!((group.epoch(), names), (1, vec!["alice", "bob"]));

    let Received::Message { from, body } = group.receive(&golden, golden.bytes("message")).unwrap() else {
        panic!("a message")
    };
    assert_eq!((from.username.as_str(), from.device), ("alice", [0xa1; 16]));
    assert_eq!(body.as_slice(), golden.bytes("content"));
    let said = content::decode(&body).unwrap();
    assert_eq!((said.id, said.sent_at_ms), ([0x1d; 16], 1_800_000_000_000));
    assert_eq!(said.body, Body::Text("Zürich, 17:30 🌊".to_owned()));
    // It reads it once: the key is gone.
    assert!(group.receive(&golden, golden.bytes("message")).unwrap_err().is_fault_of_entry());
    assert!(!group.encrypt(&device, golden.bytes("content")).unwrap().is_empty());
}

#[test]
fn a_file_opens() {
    let golden = golden();
    let (file, sealed) = (golden.bytes("file"), golden.bytes("sealed_file"));
    let shape = Shape::of(file.len() as u64).unwrap();
    assert_eq!((shape.sealed(), shape.chunks()), (sealed.len() as u64, 1));
    let cipher = FileCipher::new(&FileKey::from_bytes(golden.array("file_key")), shape);
    assert_eq!(pass(shape, sealed, true, |index, chunk| cipher.open(index, chunk).unwrap()), file);
    // Taken up again by another version, an upload goes on with the same bytes.
    assert_eq!(pass(shape, file, false, |index, chunk| cipher.seal(index, chunk).unwrap()), sealed);
}

#[test]
fn a_file_of_several_chunks_is_sealed_as_it_was() {
    let golden = golden();
    let file = vec![0x5a; CHUNK + 1000];
    let shape = Shape::of(file.len() as u64).unwrap();
    let cipher = FileCipher::new(&FileKey::from_bytes(golden.array("long_file_key")), shape);
    let sealed = pass(shape, &file, false, |index, chunk| cipher.seal(index, chunk).unwrap());
    assert!(shape.chunks() > 1);
    assert_eq!(Sha256::digest(&sealed).as_slice(), golden.bytes("long_file_sealed_sha256"));
    assert_eq!(pass(shape, &sealed, true, |index, chunk| cipher.open(index, chunk).unwrap()), file);
}
