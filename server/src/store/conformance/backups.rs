//! Backups.

use super::{FreshDatabase, START_MS, Stage};
use crate::store::{BackupRecord, ManifestOutcome, NewManifest, NewSegment, OTHERS_SEGMENTS_MS, SegmentOutcome};
use waxwing_protocol::{DeviceId, SegmentId, limits};

const QUOTA: u64 = 2 * 1024 * 1024;

fn id(number: u8) -> SegmentId {
    SegmentId([number; 16])
}

fn segment(device: DeviceId, number: u8, size: usize) -> NewSegment {
    NewSegment { device, id: id(number), payload: vec![number; size].into(), quota: QUOTA, now_ms: START_MS }
}

fn manifest(device: DeviceId, version: u64, segments: &[u8]) -> NewManifest {
    let manifest = format!("manifest {version}").into_bytes().into();
    NewManifest { device, version, manifest, segments: segments.iter().copied().map(id).collect(), now_ms: START_MS }
}

/// The longest segment comes back as it was, and may be stored twice.
pub async fn segments_come_back(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let alice = stage.person("alice", 1).await;
    let (device, longest) = (alice.device, limits::SEGMENT);
    let put = |segment| stage.store.put_segment(segment);
    for _ in 0..2 {
        assert_eq!(put(segment(device, 1, longest)).await.unwrap(), SegmentOutcome::Stored);
    }
    assert_eq!(put(segment(device, 1, longest - 1)).await.unwrap(), SegmentOutcome::Different);
    assert_eq!(put(segment(device, 2, 0)).await.unwrap(), SegmentOutcome::Stored);
    let read = |number| stage.store.segment(device, id(number));
    assert_eq!(read(1).await.unwrap(), Some(vec![1; longest].into()));
    assert_eq!(read(2).await.unwrap(), Some(Vec::new().into()));
    assert_eq!(read(3).await.unwrap(), None);
    let used = u64::try_from(longest).unwrap();
    assert_eq!(stage.store.backup(device).await.unwrap(), Some(BackupRecord { version: 0, manifest: None, used }));
    // Many at once, while somebody sends.
    let notes = waxwing_protocol::ConversationId([9; 16]);
    stage.create(&alice, &alice.name, notes, None).await;
    let mut puts = tokio::task::JoinSet::new();
    for number in 10..20 {
        let store = stage.store.clone();
        puts.spawn(async move { store.put_segment(segment(device, number, 1000)).await.unwrap() });
    }
    for number in 1..=20 {
        stage.send(device, notes, number, 0).await;
    }
    assert!(puts.join_all().await.iter().all(|outcome| *outcome == SegmentOutcome::Stored));
}

/// Neither the bytes nor the count of segments exceed their limits; what is there may be stored again.
pub async fn the_quota_holds(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let alice = stage.person("alice", 1).await;
    let put =
        |number, size, quota| stage.store.put_segment(NewSegment { quota, ..segment(alice.device, number, size) });
    assert_eq!(put(1, 60, 100).await.unwrap(), SegmentOutcome::Stored);
    assert_eq!(put(2, 41, 100).await.unwrap(), SegmentOutcome::QuotaExceeded);
    assert_eq!(stage.store.segment(alice.device, id(2)).await.unwrap(), None);
    assert_eq!(put(2, 40, 100).await.unwrap(), SegmentOutcome::Stored);
    assert_eq!(put(3, 1, 100).await.unwrap(), SegmentOutcome::QuotaExceeded);
    assert_eq!(put(1, 60, 100).await.unwrap(), SegmentOutcome::Stored);
    assert_eq!(put(4, 0, 0).await.unwrap(), SegmentOutcome::QuotaExceeded);
    let bob = stage.person("bob", 2).await;
    assert_eq!(stage.store.put_segment(segment(bob.device, 1, 60)).await.unwrap(), SegmentOutcome::Stored);
    assert_eq!(stage.store.backup(alice.device).await.unwrap().unwrap().used, 100);
}

/// One of two manifests of the same version wins, and one that names what is not there is none.
pub async fn manifests_follow_each_other(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let alice = stage.person("alice", 1).await;
    let tablet = stage.enrol(&alice, 2, 2).await;
    stage.store.put_segment(segment(alice.device, 1, 10)).await.unwrap();
    let put = |manifest| stage.store.put_manifest(manifest);
    for version in [0, 2, u64::MAX] {
        let outcome = put(manifest(alice.device, version, &[1])).await.unwrap();
        assert_eq!(outcome, ManifestOutcome::Conflict(0), "version {version}");
    }
    assert_eq!(put(manifest(alice.device, 1, &[1, 2])).await.unwrap(), ManifestOutcome::UnknownSegment);
    assert_eq!(stage.store.backup(tablet).await.unwrap().unwrap().version, 0);
    let outcomes = tokio::join!(put(manifest(alice.device, 1, &[1])), put(manifest(tablet, 1, &[1, 1])));
    match (outcomes.0.unwrap(), outcomes.1.unwrap()) {
        (ManifestOutcome::Stored, ManifestOutcome::Conflict(1))
        | (ManifestOutcome::Conflict(1), ManifestOutcome::Stored) => {}
        other => panic!("{other:?}"),
    }
    let record = BackupRecord { version: 1, manifest: Some(b"manifest 1".to_vec().into()), used: 10 };
    assert_eq!(stage.store.backup(tablet).await.unwrap(), Some(record));
    let mut longest = manifest(alice.device, 2, &[]);
    longest.manifest = vec![7; limits::MANIFEST].into();
    assert_eq!(put(longest.clone()).await.unwrap(), ManifestOutcome::Stored);
    assert_eq!(stage.store.backup(tablet).await.unwrap().unwrap().manifest, Some(longest.manifest));
}

/// A manifest drops what it does not name, but not what another device has stored for its own next one.
pub async fn useless_segments_go_with_a_manifest(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let alice = stage.person("alice", 1).await;
    let tablet = stage.enrol(&alice, 2, 2).await;
    for number in 1..=20 {
        stage.store.put_segment(segment(alice.device, number, 10)).await.unwrap();
    }
    stage.store.put_segment(segment(tablet, 50, 10)).await.unwrap();
    let there = |number| {
        let found = stage.store.segment(alice.device, id(number));
        async move { found.await.unwrap().is_some() }
    };
    let put = |manifest| stage.store.put_manifest(manifest);
    assert_eq!(put(manifest(alice.device, 1, &[1, 2])).await.unwrap(), ManifestOutcome::Stored);
    assert!(there(1).await && there(2).await && !there(3).await && !there(20).await && there(50).await);
    assert_eq!(stage.store.backup(tablet).await.unwrap().unwrap().used, 30);
    // Exactly a day later it is still left alone; then not. Storing it again makes it young.
    let mut next = manifest(alice.device, 2, &[1]);
    next.now_ms += OTHERS_SEGMENTS_MS;
    assert_eq!(put(next).await.unwrap(), ManifestOutcome::Stored);
    assert!(!there(2).await && there(50).await);
    let mut again = segment(tablet, 50, 10);
    again.now_ms += 1;
    stage.store.put_segment(again).await.unwrap();
    let mut next = manifest(alice.device, 3, &[1]);
    next.now_ms += OTHERS_SEGMENTS_MS + 1;
    assert_eq!(put(next.clone()).await.unwrap(), ManifestOutcome::Stored);
    assert!(there(50).await);
    (next.version, next.now_ms) = (4, next.now_ms + 1);
    assert_eq!(put(next).await.unwrap(), ManifestOutcome::Stored);
    assert!(there(1).await && !there(50).await);
    // A dropped id may come back.
    assert_eq!(stage.store.put_segment(segment(tablet, 3, 20)).await.unwrap(), SegmentOutcome::Stored);
    assert_eq!(stage.store.segment(tablet, id(3)).await.unwrap(), Some(vec![3; 20].into()));
    stage.store.expire(0).await.unwrap();
    assert!(there(1).await && there(3).await);
}

/// After a deletion nothing is left but the number of the last manifest.
pub async fn a_deleted_backup_keeps_its_version(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let alice = stage.person("alice", 1).await;
    assert!(stage.store.delete_backup(alice.device).await.unwrap());
    for number in 1..=20 {
        stage.store.put_segment(segment(alice.device, number, 10)).await.unwrap();
    }
    stage.store.put_manifest(manifest(alice.device, 1, &[1])).await.unwrap();
    stage.store.put_segment(segment(alice.device, 2, 10)).await.unwrap();
    assert!(stage.store.delete_backup(alice.device).await.unwrap());
    let gone = BackupRecord { version: 1, manifest: None, used: 0 };
    assert_eq!(stage.store.backup(alice.device).await.unwrap(), Some(gone));
    assert_eq!(stage.store.segment(alice.device, id(1)).await.unwrap(), None);
    let stale = stage.store.put_manifest(manifest(alice.device, 1, &[])).await.unwrap();
    assert_eq!(stale, ManifestOutcome::Conflict(1));
    let next = stage.store.put_manifest(manifest(alice.device, 2, &[])).await.unwrap();
    assert_eq!(next, ManifestOutcome::Stored);
}

/// Another account's segments are not seen, and its ids are its own; a removed device has no backup.
pub async fn backups_are_the_accounts_own(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob) = (stage.person("alice", 1).await, stage.person("bob", 2).await);
    let tablet = stage.enrol(&alice, 3, 2).await;
    stage.store.put_segment(segment(alice.device, 1, 10)).await.unwrap();
    stage.store.put_segment(segment(alice.device, 2, 10)).await.unwrap();
    assert_eq!(stage.store.segment(bob.device, id(1)).await.unwrap(), None);
    assert_eq!(stage.store.segment(tablet, id(1)).await.unwrap(), Some(vec![1; 10].into()));
    assert_eq!(stage.store.put_segment(segment(bob.device, 1, 20)).await.unwrap(), SegmentOutcome::Stored);
    let foreign = stage.store.put_manifest(manifest(bob.device, 1, &[2])).await.unwrap();
    assert_eq!(foreign, ManifestOutcome::UnknownSegment);
    assert_eq!(stage.store.put_manifest(manifest(bob.device, 1, &[])).await.unwrap(), ManifestOutcome::Stored);
    assert!(stage.store.delete_backup(bob.device).await.unwrap());
    assert_eq!(stage.store.segment(alice.device, id(1)).await.unwrap(), Some(vec![1; 10].into()));

    stage.remove(&alice, 3, &[tablet]).await;
    assert_eq!(stage.store.backup(tablet).await.unwrap(), None);
    assert_eq!(stage.store.segment(tablet, id(1)).await.unwrap(), None);
    assert_eq!(stage.store.put_segment(segment(tablet, 9, 1)).await.unwrap(), SegmentOutcome::UnknownDevice);
    let outcome = stage.store.put_manifest(manifest(tablet, 1, &[])).await.unwrap();
    assert_eq!(outcome, ManifestOutcome::UnknownDevice);
    assert!(!stage.store.delete_backup(tablet).await.unwrap());
    assert_eq!(stage.store.backup(alice.device).await.unwrap().unwrap().used, 20);
}
