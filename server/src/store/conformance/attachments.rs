//! Attachments: whose they are, how much there may be, and what goes when.

use super::{FreshDatabase, START_MS, Stage};
use crate::store::{AccountId, AttachmentOutcome, AttachmentRow, NewAttachment};
use waxwing_protocol::AttachmentId;

fn id(number: u8) -> AttachmentId {
    AttachmentId([number; 32])
}

/// The quota holds, also for attachments that begin at the same time; an id is one attachment's.
pub async fn attachments_stay_below_their_quota(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob) = (stage.person("alice", 1).await, stage.person("bob", 2).await);
    let begin = |account: AccountId, number, size| {
        stage.store.begin_attachment(NewAttachment { account, id: id(number), size, quota: 100, now_ms: START_MS })
    };
    for _ in 0..2 {
        assert_eq!(begin(alice.account, 1, 60).await.unwrap(), AttachmentOutcome::Begun);
    }
    assert_eq!(begin(alice.account, 1, 61).await.unwrap(), AttachmentOutcome::Different);
    assert_eq!(begin(bob.account, 1, 60).await.unwrap(), AttachmentOutcome::Different);
    assert_eq!(begin(alice.account, 2, 41).await.unwrap(), AttachmentOutcome::Full);
    assert_eq!(begin(bob.account, 2, 100).await.unwrap(), AttachmentOutcome::Begun);
    let many = (10..20).map(|number| begin(alice.account, number, 10));
    let outcomes = futures_util::future::join_all(many).await;
    let begun = outcomes.into_iter().filter(|outcome| *outcome.as_ref().unwrap() == AttachmentOutcome::Begun);
    assert_eq!(begun.count(), 4);
    assert_eq!(stage.store.count_attachments(u64::MAX, u64::MAX).await.unwrap(), (6, 200));
}

/// One is found until it is dropped, and known until its chunks are gone; only its account drops it.
pub async fn a_dropped_attachment_is_found_by_nobody(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob) = (stage.person("alice", 1).await, stage.person("bob", 2).await);
    let new = NewAttachment { account: alice.account, id: id(1), size: 60, quota: 100, now_ms: START_MS };
    stage.store.begin_attachment(new).await.unwrap();
    let row = |finished| Some(AttachmentRow { account: alice.account, size: 60, finished });
    assert_eq!(stage.store.attachment(id(1)).await.unwrap(), row(false));
    for _ in 0..2 {
        assert!(stage.store.finish_attachment(id(1), START_MS + 5).await.unwrap());
    }
    assert_eq!(stage.store.attachment(id(1)).await.unwrap(), row(true));
    stage.store.drop_attachment(bob.account, id(1)).await.unwrap();
    stage.store.forget_attachment(id(1)).await.unwrap();
    assert_eq!(stage.store.attachment(id(1)).await.unwrap(), row(true));
    stage.store.drop_attachment(alice.account, id(1)).await.unwrap();
    assert_eq!(stage.store.attachment(id(1)).await.unwrap(), None);
    assert!(!stage.store.finish_attachment(id(1), START_MS).await.unwrap());
    assert_eq!(stage.store.begin_attachment(new).await.unwrap(), AttachmentOutcome::Different);
    assert_eq!(stage.store.dropped_attachments().await.unwrap(), [id(1)]);
    assert!(stage.store.knows_attachment(id(1)).await.unwrap());
    stage.store.forget_attachment(id(1)).await.unwrap();
    assert!(!stage.store.knows_attachment(id(1)).await.unwrap());
    assert!(stage.store.dropped_attachments().await.unwrap().is_empty());
}

/// Finished ones go after their time, others after a day; all of an account go with it.
pub async fn attachments_expire(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob) = (stage.person("alice", 1).await, stage.person("bob", 2).await);
    for (number, account, now_ms) in
        [(1, &alice, START_MS), (2, &alice, START_MS), (3, &bob, START_MS), (4, &alice, START_MS + 100)]
    {
        let new = NewAttachment { account: account.account, id: id(number), size: 1, quota: 100, now_ms };
        stage.store.begin_attachment(new).await.unwrap();
    }
    stage.store.finish_attachment(id(1), START_MS + 10).await.unwrap();
    stage.store.finish_attachment(id(3), START_MS + 50).await.unwrap();
    assert_eq!(stage.store.expire_attachments(0, START_MS).await.unwrap(), 0);
    assert_eq!(stage.store.count_attachments(START_MS + 20, START_MS + 50).await.unwrap(), (2, 2));
    assert_eq!(stage.store.expire_attachments(START_MS + 20, START_MS + 50).await.unwrap(), 2);
    let mut dropped = stage.store.dropped_attachments().await.unwrap();
    dropped.sort();
    assert_eq!(dropped, [id(1), id(2)]);
    stage.store.delete_account(bob.account, START_MS).await.unwrap();
    assert_eq!(stage.store.attachment(id(3)).await.unwrap(), None);
    assert_eq!(stage.store.dropped_attachments().await.unwrap().len(), 3);
    assert!(stage.store.attachment(id(4)).await.unwrap().is_some());
}
