use super::*;
use crate::{
    account::{
        BackupPublicKey, DeviceList, ListedDevice,
        testing::{alice, mallory, rng},
    },
    backup::seal_segment,
};
use proptest::prelude::*;
use std::sync::OnceLock;

const LAPTOP: [u8; 16] = [1; 16];

fn laptop() -> AuthenticationKey {
    AuthenticationKey::from_bytes(&[2; 32])
}

fn listed(id: [u8; 16], key: &AuthenticationKey) -> ListedDevice {
    ListedDevice {
        id,
        mls_key: id.map(|b| b | 0x80).repeat(2).try_into().unwrap(),
        authentication_key: key.public(),
        since_ms: 1,
        sealed_name: vec![],
    }
}

/// Alice's devices: one.
fn devices() -> &'static VerifiedDeviceList {
    static LIST: OnceLock<VerifiedDeviceList> = OnceLock::new();
    LIST.get_or_init(|| {
        let list = DeviceList::first("alice", listed(LAPTOP, &laptop()));
        let signed = list.sign(&alice().identity, &mut rng());
        DeviceList::verify(&signed, &alice().identity.public(), "alice").unwrap()
    })
}

fn key() -> GenerationKey {
    GenerationKey::from_bytes(2, &[5; 32])
}

fn entry(number: u8) -> SegmentEntry {
    SegmentEntry {
        id: [number; 16],
        generation: 1,
        chat: "bob".to_owned(),
        conversation: [9; 16],
        era: 1,
        first: 1,
        last: 50,
        count: 49,
        newest_ms: 1_800_000_000_000,
        sha256: [number; 32],
    }
}

fn manifest(version: u64, previous: [u8; 32]) -> Manifest {
    let body = Body {
        segments: vec![entry(1), entry(2)],
        state: vec![StateEntry { id: [3; 16], generation: 2, sha256: [4; 32] }],
        former: vec![GenerationKey::from_bytes(1, &[6; 32])],
        written_at_ms: 1_800_000_000_000,
    };
    Manifest { version, previous, wrapped: vec![1; 385], body }
}

fn sealed(manifest: &Manifest) -> SignedManifest {
    manifest.seal(&key(), "alice", &LAPTOP, &laptop(), &mut rng()).unwrap()
}

fn verified(manifest: &Manifest) -> VerifiedManifest {
    VerifiedManifest::verify(&sealed(manifest).bytes, "alice", devices()).unwrap()
}

#[test]
fn a_manifest_of_a_listed_device_verifies_and_opens() {
    let written = manifest(2, [8; 32]);
    let SignedManifest { bytes, hash } = sealed(&written);
    let read = VerifiedManifest::verify(&bytes, "alice", devices()).unwrap();
    assert_eq!((read.version(), read.generation(), read.device(), read.hash()), (2, 2, LAPTOP, hash));
    assert_eq!(read.wrapped(), written.wrapped);
    let body = read.open(&key()).unwrap();
    assert_eq!(body, written.body);
    let current = key();
    assert_eq!(body.key(&current, 2), Some(&current));
    assert_eq!(body.key(&current, 1), Some(&GenerationKey::from_bytes(1, &[6; 32])));
    assert_eq!(body.key(&current, 3), None);
    assert!(!bytes.windows(3).any(|window| window == b"bob"));
}

#[test]
fn nobody_else_writes_one() {
    let good = manifest(1, [0; 32]);
    let verify = |bytes: &[u8]| VerifiedManifest::verify(bytes, "alice", devices()).map(|_| ());
    assert_eq!(verify(&sealed(&good).bytes), Ok(()));
    let signature = Err(BackupError::Signature);
    // A device that is not listed; a listed one's name with another key; another account's manifest.
    let other = AuthenticationKey::from_bytes(&[3; 32]);
    let by = |name: &str, id, signer| good.seal(&key(), name, id, signer, &mut rng()).unwrap().bytes;
    assert_eq!(verify(&by("alice", &[2; 16], &other)), signature);
    assert_eq!(verify(&by("alice", &LAPTOP, &other)), signature);
    assert_eq!(verify(&by("bob", &LAPTOP, &laptop())), signature);
    let refused = VerifiedManifest::verify(&sealed(&good).bytes, "bob", devices()).map(|_| ());
    assert_eq!(refused, Err(BackupError::OtherAccount));
    // What the device signs to sign in is no manifest.
    let bytes = sealed(&good).bytes;
    let head = &bytes[..bytes.len() - SIGNATURE];
    assert_eq!(verify(&[head, &laptop().sign(&head[9..])].concat()), signature);
}

#[test]
fn a_changed_or_cut_manifest_is_refused() {
    let bytes = sealed(&manifest(1, [0; 32])).bytes;
    let verify = |bytes: &[u8]| VerifiedManifest::verify(bytes, "alice", devices());
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(verify(&bad).is_err(), "byte {at}");
        assert_eq!(verify(&bytes[..at]).map(|_| ()), Err(BackupError::Malformed), "cut at {at}");
    }
    assert!(verify(&[bytes.as_slice(), &[0]].concat()).is_err());
    assert_eq!(verify(&[&[2], &bytes[1..]].concat()).map(|_| ()), Err(BackupError::Newer));
    assert_eq!(verify(&vec![1; MANIFEST + 1]).map(|_| ()), Err(BackupError::TooLong));
}

#[test]
fn a_manifest_of_impossible_order_is_refused_though_signed() {
    for (version, previous) in [(0, [0; 32]), (0, [1; 32]), (1, [1; 32])] {
        let bytes = sealed(&manifest(version, previous)).bytes;
        let refused = VerifiedManifest::verify(&bytes, "alice", devices()).map(|_| ());
        assert_eq!(refused, Err(BackupError::Malformed));
    }
}

#[test]
fn another_key_does_not_open_it() {
    let read = verified(&manifest(1, [0; 32]));
    for other in [GenerationKey::from_bytes(2, &[6; 32]), GenerationKey::from_bytes(1, &[5; 32])] {
        assert_eq!(read.open(&other), Err(BackupError::Locked));
    }
}

#[test]
fn every_way_back_is_an_alarm() {
    let first = verified(&manifest(1, [0; 32]));
    let second = verified(&manifest(2, first.hash()));
    let third = verified(&manifest(3, second.hash()));
    assert_eq!(first.follows(0, &[0; 32]), Ok(()));
    assert_eq!(second.follows(0, &[0; 32]), Ok(()));
    assert_eq!(second.follows(2, &second.hash()), Ok(()));
    assert_eq!(second.follows(1, &first.hash()), Ok(()));
    assert_eq!(third.follows(1, &first.hash()), Ok(()));
    let anew = verified(&manifest(3, [0; 32]));
    assert!(first.begins_anew() && anew.begins_anew() && !second.begins_anew());
    assert_eq!(anew.follows(2, &second.hash()), Ok(()));
    assert_eq!(anew.follows(3, &third.hash()), Err(BackupError::Fork { version: 3 }));
    assert_eq!(first.follows(2, &second.hash()), Err(BackupError::Rollback { from: 2, to: 1 }));
    assert_eq!(second.follows(1, &[1; 32]), Err(BackupError::Fork { version: 2 }));
    assert_eq!(second.follows(2, &[1; 32]), Err(BackupError::Fork { version: 2 }));
}

#[test]
fn a_listed_segment_opens_only_with_the_bytes_that_were_listed() {
    let seal = || seal_segment(&key(), "alice", &[1; 16], b"plaintext", &mut rng()).unwrap();
    let (bytes, other) = (seal(), seal());
    let entry = SegmentEntry { sha256: Sha256::digest(&bytes).into(), ..entry(1) };
    assert_eq!(entry.open(&key(), "alice", &bytes).unwrap().as_slice(), b"plaintext");
    // An older version of the segment under the same id.
    assert_eq!(entry.open(&key(), "alice", &other), Err(BackupError::Locked));
    let state = StateEntry { id: [1; 16], generation: 2, sha256: entry.sha256 };
    assert_eq!(state.open(&key(), "alice", &bytes).unwrap().as_slice(), b"plaintext");
}

#[test]
fn three_thousand_segments_fit_and_too_many_are_refused() {
    let with = |count| {
        let mut manifest = manifest(1, [0; 32]);
        manifest.body.segments = vec![entry(1); count];
        manifest.seal(&key(), "alice", &LAPTOP, &laptop(), &mut rng())
    };
    assert!(with(3000).is_ok());
    assert_eq!(with(10_000), Err(BackupError::TooLong));
}

#[test]
fn a_new_device_comes_from_the_vault_to_the_body() {
    let public = BackupPublicKey::from_der(&alice().backup.public().to_der()).unwrap();
    let (key, wrapped) = GenerationKey::create(1, &public, alice().vault_secret(), &mut rng());
    let written = Manifest { wrapped, ..manifest(1, [0; 32]) };
    let bytes = written.seal(&key, "alice", &LAPTOP, &laptop(), &mut rng()).unwrap().bytes;
    let read = VerifiedManifest::verify(&bytes, "alice", devices()).unwrap();
    let open = |keys: &crate::account::AccountKeys| {
        GenerationKey::open(read.generation(), read.wrapped(), &keys.backup, keys.vault_secret(), &mut rng())
    };
    assert_eq!(read.open(&open(alice()).unwrap()), Ok(written.body));
    assert_eq!(open(mallory()), Err(BackupError::Locked));
}

proptest! {
    #[test]
    fn whatever_bytes_say_they_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(VerifiedManifest::verify(&bytes, "alice", devices()).is_err());
        prop_assert!(VerifiedManifest::verify(&[&[1], bytes.as_slice()].concat(), "alice", devices()).is_err());
        let _ = decoded::<Body>(&bytes);
        let _ = decoded::<Head>(&bytes);
    }
}
