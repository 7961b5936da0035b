//! The end of accounts.

use super::{
    FreshDatabase, START_MS, Stage, enrolment, handshake, message, new_account, new_device, revision, username,
};
use crate::store::{
    AppendOutcome, CreateOutcome, EnrolOutcome, NewSegment, ReviseOutcome, SegmentOutcome, SignUpOutcome,
};
use waxwing_protocol::{ConversationId, ConversationInfo, ConversationKind, SegmentId};

/// Nothing that asks for it by name or device finds it, and nothing that was proven for it counts.
pub async fn a_deleted_account_is_like_one_that_never_was(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let tablet = stage.enrol(&bob, 3, 2).await;
    stage.store.publish_key_packages(tablet, vec![vec![1].into()], Some(vec![2].into()), START_MS).await.unwrap();
    let segment =
        NewSegment { device: tablet, id: SegmentId([1; 16]), payload: vec![1].into(), quota: 100, now_ms: START_MS };
    assert_eq!(stage.store.put_segment(segment.clone()).await.unwrap(), SegmentOutcome::Stored);
    let devices = stage.store.delete_account(bob.account, START_MS).await.unwrap();
    assert_eq!(
        devices.map(|mut devices| {
            devices.sort();
            devices
        }),
        Some(vec![bob.device, tablet])
    );
    assert_eq!(stage.store.delete_account(bob.account, START_MS).await.unwrap(), None);

    assert!(stage.store.login_record(&bob.name).await.unwrap().is_none());
    assert_eq!(stage.store.account(&bob.name).await.unwrap(), None);
    assert_eq!(stage.store.claim_key_packages(&bob.name, alice.device).await.unwrap(), None);
    for device in [bob.device, tablet] {
        assert_eq!(stage.store.device(device).await.unwrap(), None);
        assert_eq!(stage.store.fetch(device, id, 0).await.unwrap(), None);
        assert_eq!(stage.store.fetch_inbox(device, 0).await.unwrap(), []);
        assert_eq!(stage.store.backup(device).await.unwrap(), None);
        assert_eq!(stage.join(device, id, ("join", 1), 5000).await, AppendOutcome::UnknownConversation);
    }
    assert_eq!(stage.store.put_segment(segment).await.unwrap(), SegmentOutcome::UnknownDevice);
    for version in [1, 3] {
        let enrolled = stage.store.enrol_device(enrolment(bob.account, new_device(9), version, vec![])).await;
        assert_eq!(enrolled.unwrap(), EnrolOutcome::Conflict);
    }
    for version in [1, 3] {
        let revised = stage.store.revise_account(revision(&bob, version)).await.unwrap();
        assert_eq!(revised, ReviseOutcome::Conflict);
    }
    let carol = stage.person("carol", 5).await;
    let created = stage.create(&carol, &bob.name, ConversationId([8; 16]), None).await;
    assert_eq!(created, CreateOutcome::UnknownAccount);
}

/// Nobody gets the name again, and no new account is taken for the old one.
pub async fn a_deleted_name_stays_taken(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let bob = stage.person("bob", 2).await;
    stage.store.delete_account(bob.account, START_MS).await.unwrap();
    for _ in 0..2 {
        let again = stage.store.create_account(new_account("bob", 3)).await.unwrap();
        assert_eq!(again, SignUpOutcome::UsernameTaken);
    }
    let carol = stage.person("carol", 2).await;
    assert_ne!(carol.account, bob.account);
    stage.store.delete_account(bob.account, START_MS).await.unwrap();
    assert!(stage.store.account(&username("carol")).await.unwrap().is_some());
}

/// Alice still gets what Bob wrote before he left, waits for him no more, and knows with whom that was.
pub async fn the_other_side_keeps_its_log(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    assert_eq!(stage.send(bob.device, id, 1, 1).await, AppendOutcome::Accepted { seq: 2, time_ms: START_MS });
    assert_eq!(stage.send(alice.device, id, 1, 1).await, AppendOutcome::Accepted { seq: 3, time_ms: START_MS });
    stage.store.delete_account(bob.account, START_MS).await.unwrap();
    assert_eq!(stage.store.append(message(bob.device, id, 2, 1)).await.unwrap(), AppendOutcome::UnknownConversation);
    assert_eq!(stage.seqs(alice.device, id, 0).await, [1, 2, 3]);
    stage.store.acknowledge(alice.device, id, 3).await.unwrap();
    assert_eq!(stage.seqs(alice.device, id, 0).await, [0_u64; 0]);
    let kind = ConversationKind::Direct(bob.name);
    let info = ConversationInfo { conversation: id, kind, head: 3, member: true };
    assert_eq!(stage.store.conversations(alice.device, None).await.unwrap(), [info]);
    let removal = stage.commit(alice.device, id, (2, 1), handshake(&[], &[bob.device]), 5000).await;
    assert_eq!(removal, AppendOutcome::Accepted { seq: 4, time_ms: START_MS + 5000 });
    let back = stage.commit(alice.device, id, (3, 2), handshake(&[bob.device], &[]), 9000).await;
    assert_eq!(back, AppendOutcome::BadRecipients);
}

/// A conversation whose last account ends is gone: its id is free.
pub async fn conversations_of_nobody_go(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let notes = ConversationId([9; 16]);
    stage.create(&alice, &alice.name, notes, None).await;
    stage.send(alice.device, notes, 1, 0).await;
    stage.store.delete_account(alice.account, START_MS).await.unwrap();
    let carol = stage.person("carol", 5).await;
    assert_eq!(stage.create(&carol, &carol.name, id, None).await, CreateOutcome::Exists(id));
    assert_eq!(stage.create(&carol, &carol.name, notes, None).await, CreateOutcome::Created { seq: 0 });
    assert_eq!(stage.seqs(carol.device, notes, 0).await, [0_u64; 0]);
    assert_eq!(stage.send(carol.device, notes, 1, 0).await, AppendOutcome::Accepted { seq: 1, time_ms: START_MS });
    stage.store.delete_account(bob.account, START_MS).await.unwrap();
    let dora = stage.person("dora", 6).await;
    assert_eq!(stage.create(&dora, &dora.name, id, None).await, CreateOutcome::Created { seq: 0 });
    let page = stage.store.fetch(dora.device, id, 0).await.unwrap().unwrap();
    assert_eq!((page.head, page.commits, page.entries.len()), (0, 0, 0));
}
