//! Commits, and who comes in and goes out by them.

use super::{FreshDatabase, Published, START_MS, Stage, device_id, handshake};
use crate::store::AppendOutcome;
use waxwing_protocol::{Entry, EntryBody, InboxItem, InboxNotice};

fn accepted(seq: u64, after_ms: u64) -> AppendOutcome {
    AppendOutcome::Accepted { seq, time_ms: START_MS + after_ms }
}

/// Bob's tablet is added by Alice: it gets the welcome and starts after that commit; Bob's first device gets the commit.
pub async fn a_commit_adds_devices(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    stage.send(alice.device, id, 1, 1).await;
    let tablet = stage.enrol(&bob, 3, 2).await;
    let outcome = stage.commit(alice.device, id, (2, 1), handshake(&[tablet], &[]), 1000).await;
    assert_eq!(outcome, accepted(3, 1000));
    let notice = InboxNotice::Welcome { conversation: id, seq: 3, commits: 2, payload: b"welcome".to_vec().into() };
    assert_eq!(stage.store.fetch_inbox(tablet, 0).await.unwrap(), [InboxItem { seq: 1, notice }]);
    assert_eq!(stage.seqs(tablet, id, 0).await, [0_u64; 0]);
    let page = stage.store.fetch(bob.device, id, 2).await.unwrap().unwrap();
    let body = EntryBody::Commit(b"commit".to_vec().into());
    let commit = Entry { seq: 3, time_ms: START_MS + 1000, body };
    assert_eq!((&page.entries[..], page.commits), (&[commit.clone()][..], 2));
    // Once for the welcome of the pair, the message, the tablet's two notices, the commit, its welcome.
    let published = stage.published.at_least(6).await;
    assert!(published.contains(&Published::Entry(vec![bob.device], id, commit)), "{published:?}");

    assert_eq!(stage.send(tablet, id, 1, 2).await, accepted(4, 0));
    assert_eq!(stage.seqs(alice.device, id, 2).await, [3, 4]);
    assert_eq!(stage.seqs(tablet, id, 0).await, [4]);
    let again = stage.commit(alice.device, id, (2, 1), handshake(&[tablet], &[]), 5000).await;
    assert_eq!(again, accepted(3, 1000));
    assert_eq!(stage.store.fetch_inbox(tablet, 0).await.unwrap().len(), 1);
}

/// A commit that names somebody who cannot be added is refused whole.
pub async fn bad_recipients_change_nothing(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let tablet = stage.enrol(&bob, 3, 2).await;
    let carol = stage.person("carol", 4).await;
    for (added, removed) in [
        (vec![tablet, carol.device], vec![]),
        (vec![tablet, device_id(99)], vec![]),
        (vec![tablet, bob.device], vec![]),
        (vec![tablet, alice.device], vec![]),
        (vec![tablet, tablet], vec![]),
        (vec![tablet], vec![alice.device]),
    ] {
        let outcome = stage.commit(alice.device, id, (1, 1), handshake(&added, &removed), 1000).await;
        assert_eq!(outcome, AppendOutcome::BadRecipients, "{added:?} {removed:?}");
    }
    assert_eq!(stage.store.fetch(tablet, id, 0).await.unwrap(), None);
    assert_eq!(stage.store.fetch_inbox(tablet, 0).await.unwrap(), []);
    let page = stage.store.fetch(alice.device, id, 0).await.unwrap().unwrap();
    assert_eq!((page.head, page.commits), (1, 1));
    assert_eq!(stage.commit(alice.device, id, (1, 1), handshake(&[tablet], &[]), 1000).await, accepted(2, 1000));
}

/// A second passes between commits, unless the next one removes somebody who is there.
pub async fn commits_are_paced(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let update = || handshake(&[], &[]);
    let early = stage.commit(alice.device, id, (1, 1), update(), 400).await;
    assert_eq!(early, AppendOutcome::Busy { retry_after_ms: 600 });
    let nobody_goes = stage.commit(alice.device, id, (1, 1), handshake(&[], &[device_id(99)]), 400).await;
    assert_eq!(nobody_goes, AppendOutcome::Busy { retry_after_ms: 600 });
    assert_eq!(stage.send(alice.device, id, 1, 1).await, accepted(2, 0));
    assert_eq!(stage.commit(alice.device, id, (2, 1), update(), 1000).await, accepted(3, 1000));
    let early = stage.commit(bob.device, id, (1, 2), update(), 1999).await;
    assert_eq!(early, AppendOutcome::Busy { retry_after_ms: 1 });
    let removal = stage.commit(alice.device, id, (3, 2), handshake(&[], &[bob.device]), 1001).await;
    assert_eq!(removal, accepted(4, 1001));
}

/// Bob's tablet is removed: it can read up to that commit, is then gone, and holds up nobody.
pub async fn a_removed_device_reads_its_removal_and_goes(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let tablet = stage.enrol(&bob, 3, 2).await;
    stage.commit(alice.device, id, (1, 1), handshake(&[tablet], &[]), 1000).await;
    stage.send(alice.device, id, 2, 2).await;
    let before = stage.published.at_least(6).await.len();
    let removal = stage.commit(bob.device, id, (1, 2), handshake(&[], &[tablet]), 1000).await;
    assert_eq!(removal, accepted(4, 1000));
    stage.send(alice.device, id, 3, 3).await;
    let published = stage.published.at_least(before + 2).await;
    let told = |seq: u64| {
        let mut told = published.iter().find_map(|one| match one {
            Published::Entry(recipients, _, entry) if entry.seq == seq => Some(recipients.clone()),
            _ => None,
        });
        told.as_mut().unwrap().sort();
        told.unwrap()
    };
    assert_eq!(told(4), [alice.device, tablet]);
    assert_eq!(told(5), [bob.device]);

    assert_eq!(stage.send(tablet, id, 1, 3).await, AppendOutcome::UnknownConversation);
    let page = stage.store.fetch(tablet, id, 2).await.unwrap().unwrap();
    assert_eq!(page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(page.head, 4);
    let heads = stage.store.heads(tablet, None).await.unwrap();
    assert_eq!(heads.iter().map(|head| (head.conversation, head.head)).collect::<Vec<_>>(), [(id, 4)]);
    for device in [alice.device, bob.device] {
        stage.store.acknowledge(device, id, 5).await.unwrap();
    }
    stage.store.acknowledge(tablet, id, 3).await.unwrap();
    assert_eq!(stage.seqs(tablet, id, 3).await, [4]);
    stage.store.acknowledge(tablet, id, 4).await.unwrap();
    assert_eq!(stage.store.fetch(tablet, id, 0).await.unwrap(), None);
    assert_eq!(stage.store.heads(tablet, None).await.unwrap(), []);
    assert_eq!(stage.seqs(alice.device, id, 0).await, [0_u64; 0]);
}

/// Removed and added again, a device starts after its new welcome, and its send numbers go on.
pub async fn a_device_that_comes_back_goes_on_counting(database: &dyn FreshDatabase) {
    for acknowledges in [false, true] {
        let id = waxwing_protocol::ConversationId([7 + u8::from(acknowledges); 16]);
        // Two pairs on the same database: in the second one the device's row is gone before it comes back.
        let stage = Stage::open(database).await;
        let offset = 10 * u8::from(acknowledges);
        let alice = stage.person(&format!("alice{offset}"), 1 + offset).await;
        let bob = stage.person(&format!("bob{offset}"), 2 + offset).await;
        stage.create(&alice, &bob.name, id, Some(handshake(&[bob.device], &[]))).await;
        assert_eq!(stage.send(bob.device, id, 1, 1).await, accepted(2, 0));
        let out = stage.commit(alice.device, id, (1, 1), handshake(&[], &[bob.device]), 1).await;
        assert_eq!(out, accepted(3, 1));
        if acknowledges {
            stage.store.acknowledge(bob.device, id, 3).await.unwrap();
            assert_eq!(stage.store.fetch(bob.device, id, 0).await.unwrap(), None);
        }
        let back = stage.commit(alice.device, id, (2, 2), handshake(&[bob.device], &[]), 1001).await;
        assert_eq!(back, accepted(4, 1001));
        assert_eq!(stage.seqs(bob.device, id, 0).await, [0_u64; 0]);
        assert_eq!(stage.send(bob.device, id, 2, 3).await, accepted(5, 0));
        if !acknowledges {
            assert_eq!(stage.send(bob.device, id, 1, 3).await, accepted(2, 0), "it had not heard of it");
        }
        assert_eq!(stage.seqs(bob.device, id, 0).await, [5]);
        stage.store.close().await;
    }
}

/// Both commit after the same count: one wins, and the other is told the new count.
pub async fn concurrent_commits_have_one_winner(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let outcomes = tokio::join!(
        stage.commit(alice.device, id, (1, 1), handshake(&[], &[]), 1000),
        stage.commit(bob.device, id, (1, 1), handshake(&[], &[]), 1000),
    );
    let stale = AppendOutcome::Stale { commits: 2 };
    assert!(outcomes == (accepted(2, 1000), stale) || outcomes == (stale, accepted(2, 1000)), "{outcomes:?}");
    assert_eq!(stage.store.fetch(alice.device, id, 0).await.unwrap().unwrap().commits, 2);
}

/// A device that lost its state is removed and added by one commit: it starts anew, and its send numbers go on.
pub async fn a_replaced_device_starts_anew(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    assert_eq!(stage.send(bob.device, id, 1, 1).await, accepted(2, 0));
    let replacement = || handshake(&[bob.device], &[bob.device]);
    let early = stage.commit(alice.device, id, (1, 1), replacement(), 999).await;
    assert_eq!(early, AppendOutcome::Busy { retry_after_ms: 1 }, "nobody goes for good");
    assert_eq!(stage.commit(alice.device, id, (1, 1), replacement(), 1000).await, accepted(3, 1000));
    assert_eq!(stage.send(alice.device, id, 2, 2).await, accepted(4, 0));
    let page = stage.store.fetch(bob.device, id, 0).await.unwrap().unwrap();
    assert_eq!((page.entries.len(), page.tail, page.head, page.sent), (1, 4, 4, 1));
    assert_eq!(stage.send(bob.device, id, 2, 2).await, accepted(5, 0));
    let welcome = stage.store.fetch_inbox(bob.device, 1).await.unwrap();
    let payload = b"welcome".to_vec().into();
    let notice = InboxNotice::Welcome { conversation: id, seq: 3, commits: 2, payload };
    assert_eq!(welcome, [InboxItem { seq: 2, notice }]);
    // The commit itself is not for it, as it is for no device that comes in by one.
    let published = stage.published.at_least(5).await;
    let commits = published
        .iter()
        .filter(|one| matches!(one, Published::Entry(to, _, entry) if entry.seq == 3 && to.contains(&bob.device)));
    assert_eq!(commits.count(), 0, "{published:?}");
    let itself = stage.commit(alice.device, id, (3, 2), handshake(&[alice.device], &[alice.device]), 3000).await;
    assert_eq!(itself, AppendOutcome::BadRecipients);
}

/// A commit that removes a device whose account has removed it already is a commit like any other.
pub async fn commits_may_name_devices_that_are_gone(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let tablet = stage.enrol(&bob, 3, 2).await;
    stage.commit(alice.device, id, (1, 1), handshake(&[tablet], &[]), 1000).await;
    stage.remove(&bob, 3, &[tablet]).await;
    let out = stage.commit(bob.device, id, (1, 2), handshake(&[], &[tablet]), 2000).await;
    assert_eq!(out, accepted(3, 2000));
    let again = stage.commit(bob.device, id, (2, 3), handshake(&[tablet], &[tablet]), 3000).await;
    assert_eq!(again, AppendOutcome::BadRecipients, "it cannot be welcomed");
}
