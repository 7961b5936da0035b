//! The log: order, contiguity, idempotence, reading, deleting.

use super::{FreshDatabase, Published, START_MS, Stage, device_id, handshake, message};
use crate::store::{Append, AppendBody, AppendOutcome};
use waxwing_protocol::{
    ConversationHead, ConversationId, Entry, EntryBody,
    limits::{PAGE_BYTES, PAGE_ENTRIES, PAYLOAD},
};

fn accepted(seq: u64) -> AppendOutcome {
    AppendOutcome::Accepted { seq, time_ms: START_MS }
}

/// 200 tasks send at once in four conversations, each conversation from two devices.
pub async fn concurrent_sends_are_contiguous_and_published_in_order(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let mut rooms = Vec::new();
    for number in 0..4_u8 {
        let alice = stage.person(&format!("alice{number}"), 10 + number).await;
        let bob = stage.person(&format!("bob{number}"), 20 + number).await;
        let id = ConversationId([number; 16]);
        stage.create(&alice, &bob.name, id, Some(handshake(&[bob.device], &[]))).await;
        rooms.push((id, alice, bob));
    }
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..200_u64 {
        let (id, alice, bob) = &rooms[(index % 4) as usize];
        let (id, from) = (*id, if index % 8 < 4 { alice.device } else { bob.device });
        let (store, number) = (stage.store.clone(), index / 8 + 1);
        tasks.spawn(async move {
            // Numbers of a device arrive in any order here: those that are too early try again.
            loop {
                match store.append(message(from, id, number, 1)).await.unwrap() {
                    AppendOutcome::Accepted { seq, .. } => return (id, seq),
                    AppendOutcome::OutOfOrder { expected } => assert!(expected < number),
                    other => panic!("{other:?}"),
                }
            }
        });
    }
    let answered = tokio::time::timeout(std::time::Duration::from_secs(60), tasks.join_all()).await.unwrap();
    let published = stage.published.at_least(204).await;
    for (id, alice, bob) in &rooms {
        let mut seqs: Vec<_> = answered.iter().filter(|(one, _)| one == id).map(|(_, seq)| *seq).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, (2..=51).collect::<Vec<_>>());
        let entries = published.iter().filter_map(|one| match one {
            Published::Entry(recipients, conversation, entry) if conversation == id => Some((recipients, entry)),
            _ => None,
        });
        let entries: Vec<_> = entries.collect();
        assert_eq!(entries.iter().map(|(_, entry)| entry.seq).collect::<Vec<_>>(), (2..=51).collect::<Vec<_>>());
        let alices = stage.store.fetch(alice.device, *id, 1).await.unwrap().unwrap().entries;
        for (recipients, entry) in entries {
            let own = alices.iter().any(|one| one.seq == entry.seq && matches!(one.body, EntryBody::Own { .. }));
            assert_eq!(recipients, &[if own { bob.device } else { alice.device }]);
        }
        let numbers =
            alices.iter().filter_map(|one| if let EntryBody::Own { number } = one.body { Some(number) } else { None });
        assert_eq!(numbers.collect::<Vec<_>>(), (1..=25).collect::<Vec<_>>());
    }
}

/// The answer was lost and the device sends the same number again: same seq, same time, no second entry.
pub async fn a_number_again_gets_the_same_answer(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    assert_eq!(stage.send(alice.device, id, 1, 1).await, accepted(2));
    assert_eq!(stage.send(bob.device, id, 1, 1).await, accepted(3));
    let mut again = message(alice.device, id, 1, 1);
    again.now_ms += 5000;
    again.body = AppendBody::Application(b"other bytes".to_vec().into());
    assert_eq!(stage.store.append(again.clone()).await.unwrap(), accepted(2));
    // Even after a commit made it stale.
    stage.commit(bob.device, id, (2, 1), handshake(&[], &[]), 1000).await;
    assert_eq!(stage.store.append(again).await.unwrap(), accepted(2));
    assert_eq!(stage.seqs(bob.device, id, 1).await, [2, 3, 4]);
    let mut at_once = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let store = stage.store.clone();
        at_once.spawn(async move { store.append(message(alice.device, id, 2, 2)).await.unwrap() });
    }
    assert!(at_once.join_all().await.iter().all(|outcome| *outcome == accepted(5)));
    assert_eq!(stage.seqs(bob.device, id, 4).await, [5]);
}

/// No number is left out, none is repeated.
pub async fn numbers_are_contiguous(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    for number in [0, 2, u64::MAX] {
        let outcome = stage.send(alice.device, id, number, 1).await;
        assert_eq!(outcome, AppendOutcome::OutOfOrder { expected: 1 }, "number {number}");
    }
    assert_eq!(stage.send(alice.device, id, 1, 1).await, accepted(2));
    assert_eq!(stage.send(alice.device, id, 3, 1).await, AppendOutcome::OutOfOrder { expected: 2 });
    assert_eq!(stage.send(bob.device, id, 2, 1).await, AppendOutcome::OutOfOrder { expected: 1 });
    assert_eq!(stage.send(alice.device, id, 2, 1).await, accepted(3));
}

/// The last 256 numbers are remembered whatever becomes of their entries, also by the next process; older ones are not.
pub async fn old_numbers_are_known_after_their_entries_went(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    for number in 1..=300 {
        assert_eq!(stage.send(alice.device, id, number, 1).await, accepted(number + 1));
    }
    stage.store.acknowledge(bob.device, id, 301).await.unwrap();
    let (early, late) = (46..=49, [45, 46, 173, 300]);
    for number in early.chain(late) {
        assert_eq!(stage.send(alice.device, id, number, 1).await, accepted(number + 1));
    }
    assert_eq!(stage.store.expire(START_MS + 1).await.unwrap(), 301);
    assert_eq!(stage.seqs(bob.device, id, 0).await, [0_u64; 0]);
    stage.store.close().await;
    let stage = Stage::open(database).await;
    for number in late {
        assert_eq!(stage.send(alice.device, id, number, 1).await, accepted(number + 1));
    }
    for number in [0, 1, 44] {
        assert_eq!(stage.send(alice.device, id, number, 1).await, AppendOutcome::OutOfOrder { expected: 301 });
    }
    assert_eq!(stage.send(alice.device, id, 301, 1).await, accepted(302));
    assert_eq!(stage.send(alice.device, id, 301, 1).await, accepted(302));
}

/// What a device has acknowledged it knows. If it sends that again it is an older copy of itself, which might send something
/// else under the number: it must not be told that this was taken.
pub async fn what_was_acknowledged_is_not_answered_again(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    for number in 1..=3 {
        assert_eq!(stage.send(alice.device, id, number, 1).await, accepted(number + 1));
    }
    assert_eq!(stage.send(alice.device, id, 2, 1).await, accepted(3));
    stage.store.acknowledge(alice.device, id, 3).await.unwrap();
    for number in [1, 2] {
        assert_eq!(stage.send(alice.device, id, number, 1).await, AppendOutcome::OutOfOrder { expected: 4 });
    }
    assert_eq!(stage.send(alice.device, id, 3, 1).await, accepted(4));
    assert_eq!(stage.seqs(bob.device, id, 0).await, [2, 3, 4]);
    assert_eq!(stage.seqs(bob.device, id, 3).await, [4]);
}

/// A message made after another count of commits is refused, and its number stays free.
pub async fn stale_messages_are_refused(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    for commits in [0, 2, u64::MAX] {
        assert_eq!(stage.send(alice.device, id, 1, commits).await, AppendOutcome::Stale { commits: 1 });
    }
    stage.commit(bob.device, id, (1, 1), handshake(&[], &[]), 1000).await;
    assert_eq!(stage.send(alice.device, id, 1, 1).await, AppendOutcome::Stale { commits: 2 });
    assert_eq!(stage.send(alice.device, id, 1, 2).await, accepted(3));
}

/// Who is not in a conversation cannot tell it from one that does not exist, nor touch it.
pub async fn strangers_see_and_send_nothing(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let carol = stage.person("carol", 3).await;
    let tablet = stage.enrol(&bob, 4, 2).await;
    stage.send(alice.device, id, 1, 1).await;
    for device in [carol.device, tablet, device_id(99)] {
        for conversation in [id, ConversationId([99; 16])] {
            assert_eq!(stage.send(device, conversation, 1, 1).await, AppendOutcome::UnknownConversation);
            assert_eq!(stage.store.fetch(device, conversation, 0).await.unwrap(), None);
            assert_eq!(stage.store.others(device, conversation).await.unwrap(), None);
            stage.store.acknowledge(device, conversation, 2).await.unwrap();
        }
        assert_eq!(stage.store.heads(device, None).await.unwrap(), []);
    }
    assert_eq!(stage.store.fetch_inbox(carol.device, 0).await.unwrap(), []);
    stage.store.acknowledge_inbox(device_id(99), 1).await.unwrap();
    assert_eq!(stage.seqs(bob.device, id, 0).await, [2]);
    assert_eq!(stage.store.others(bob.device, id).await.unwrap(), Some(vec![alice.device]));
}

/// Membership, known numbers, order, count of commits, pacing, recipients.
pub async fn checks_come_in_order(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, _, id) = stage.pair().await;
    let stranger = device_id(99);
    let bad = || handshake(&[stranger], &[]);
    assert_eq!(stage.commit(stranger, id, (9, 9), bad(), 0).await, AppendOutcome::UnknownConversation);
    assert_eq!(stage.commit(alice.device, id, (9, 9), bad(), 0).await, AppendOutcome::OutOfOrder { expected: 1 });
    assert_eq!(stage.commit(alice.device, id, (1, 9), bad(), 0).await, AppendOutcome::Stale { commits: 1 });
    assert_eq!(stage.commit(alice.device, id, (1, 1), bad(), 0).await, AppendOutcome::Busy { retry_after_ms: 1000 });
    assert_eq!(stage.commit(alice.device, id, (1, 1), bad(), 1000).await, AppendOutcome::BadRecipients);
    assert_eq!(stage.send(alice.device, id, 1, 1).await, accepted(2));
    assert_eq!(stage.commit(alice.device, id, (1, 9), bad(), 0).await, accepted(2));
}

/// A device gets its own entries as numbers, and the other's as bytes.
pub async fn what_one_sent_is_ones_own(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    stage.send(alice.device, id, 1, 1).await;
    stage.commit(alice.device, id, (2, 1), handshake(&[], &[]), 1000).await;
    let alices = stage.store.fetch(alice.device, id, 0).await.unwrap().unwrap();
    let own = |seq, time_ms, number| Entry { seq, time_ms, body: EntryBody::Own { number } };
    assert_eq!(alices.entries, [own(1, START_MS, 0), own(2, START_MS, 1), own(3, START_MS + 1000, 2)]);
    let bobs = stage.store.fetch(bob.device, id, 0).await.unwrap().unwrap();
    let message = EntryBody::Application(b"message 1".to_vec().into());
    let commit = EntryBody::Commit(b"commit".to_vec().into());
    let expected =
        [Entry { seq: 2, time_ms: START_MS, body: message }, Entry { seq: 3, time_ms: START_MS + 1000, body: commit }];
    assert_eq!(bobs.entries, expected);
    let published = stage.published.at_least(3).await;
    for entry in expected {
        assert!(published.contains(&Published::Entry(vec![bob.device], id, entry)));
    }
}

/// A page has so many entries and so many bytes at most, but at least one entry.
pub async fn pages_are_limited(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let large = PAGE_BYTES / PAYLOAD;
    for number in 1..=large as u64 + 1 {
        let mut append = message(alice.device, id, number, 1);
        append.body = AppendBody::Application(vec![0; PAYLOAD].into());
        stage.store.append(append).await.unwrap();
    }
    assert_eq!(stage.seqs(bob.device, id, 0).await.len(), large);
    let mut huge = handshake(&[], &[]);
    huge.commit = vec![1; PAGE_BYTES + 1].into();
    stage.commit(alice.device, id, (large as u64 + 2, 1), huge, 1000).await;
    let head = large as u64 + 3;
    assert_eq!(stage.seqs(bob.device, id, head - 1).await, [head]);
    assert_eq!(stage.seqs(bob.device, id, head - 2).await, [head - 1]);

    let count = u64::from(PAGE_ENTRIES) + 1;
    for number in 1..=count {
        stage.send(bob.device, id, number, 2).await;
    }
    let seqs = stage.seqs(alice.device, id, head).await;
    assert_eq!(seqs, (head + 1..=head + u64::from(PAGE_ENTRIES)).collect::<Vec<_>>());
    assert_eq!(stage.seqs(alice.device, id, head + u64::from(PAGE_ENTRIES)).await, [head + count]);
    assert_eq!(stage.seqs(alice.device, id, head + count).await, [0_u64; 0]);
    assert_eq!(stage.seqs(alice.device, id, u64::MAX).await, [0_u64; 0]);
}

/// What all devices have is deleted; cursors only rise, and not beyond the head.
pub async fn acknowledged_entries_go(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    for number in 1..=3 {
        stage.send(alice.device, id, number, 1).await;
    }
    stage.store.acknowledge(bob.device, id, 3).await.unwrap();
    assert_eq!(stage.seqs(alice.device, id, 0).await, [1, 2, 3, 4], "alice has acknowledged nothing");
    stage.store.acknowledge(alice.device, id, 2).await.unwrap();
    let page = stage.store.fetch(bob.device, id, 0).await.unwrap().unwrap();
    assert_eq!((page.entries.len(), page.head, page.tail), (2, 4, 3));
    stage.store.acknowledge(bob.device, id, 1).await.unwrap();
    assert_eq!(stage.store.heads(bob.device, None).await.unwrap().len(), 1, "bob lacks 4");
    stage.store.acknowledge(alice.device, id, u64::MAX).await.unwrap();
    assert_eq!(stage.seqs(bob.device, id, 0).await, [4]);
    stage.store.acknowledge(bob.device, id, u64::MAX).await.unwrap();
    let page = stage.store.fetch(bob.device, id, 0).await.unwrap().unwrap();
    assert_eq!((page.entries.len(), page.head, page.tail, page.commits), (0, 4, 5, 1));
    // Beyond the head was not taken literally.
    assert_eq!(stage.send(alice.device, id, 4, 1).await, accepted(5));
    assert_eq!(stage.seqs(bob.device, id, 4).await, [5]);
}

/// Heads name what is unread, sorted, with the highest own number.
pub async fn heads_tell_what_is_unread(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let alice = stage.person("alice", 1).await;
    let mut friends = Vec::new();
    for number in [30, 10, 20] {
        let friend = stage.person(&format!("friend{number}"), number).await;
        let id = ConversationId([number; 16]);
        stage.create(&friend, &alice.name, id, Some(handshake(&[alice.device], &[]))).await;
        friends.push((friend, id));
    }
    assert_eq!(stage.store.heads(alice.device, None).await.unwrap(), [], "she starts at the head");
    for (friend, id) in &friends {
        stage.send(friend.device, *id, 1, 1).await;
    }
    stage.send(alice.device, ConversationId([20; 16]), 1, 1).await;
    stage.store.acknowledge(alice.device, ConversationId([30; 16]), 2).await.unwrap();
    let head = |id, head, sent| ConversationHead { conversation: ConversationId([id; 16]), head, sent };
    assert_eq!(stage.store.heads(alice.device, None).await.unwrap(), [head(10, 2, 0), head(20, 3, 1)]);
    let page = stage.store.fetch(alice.device, ConversationId([20; 16]), 3).await.unwrap().unwrap();
    assert_eq!((page.entries.len(), page.sent), (0, 1), "a page tells it too");
    let after = Some(ConversationId([10; 16]));
    assert_eq!(stage.store.heads(alice.device, after).await.unwrap(), [head(20, 3, 1)]);
    assert_eq!(stage.store.heads(friends[0].0.device, None).await.unwrap(), [head(30, 2, 1)]);
}

/// Every page shows one moment, whatever is appended and dropped meanwhile: its entries are consecutive and begin where
/// the log does, and it is empty only if there is nothing after the asked seq.
pub async fn a_page_shows_one_moment(database: &dyn FreshDatabase) {
    const COUNT: u64 = 150;
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let sending = async |device| {
        for number in 1..=COUNT {
            assert!(matches!(stage.send(device, id, number, 1).await, AppendOutcome::Accepted { .. }));
        }
    };
    let reading = async |device| {
        let mut after = 0;
        while after < 2 * COUNT + 1 {
            let page = stage.store.fetch(device, id, after).await.unwrap().unwrap();
            let first = page.tail.max(after + 1);
            let seqs: Vec<_> = page.entries.iter().map(|entry| entry.seq).collect();
            assert_eq!(seqs, (first..).take(seqs.len()).collect::<Vec<_>>(), "after {after}, tail {}", page.tail);
            assert!(!seqs.is_empty() || page.head < first, "nothing after {after}, but the head is {}", page.head);
            let numbers = page.entries.iter().filter_map(|entry| match entry.body {
                EntryBody::Own { number } => Some(number),
                _ => None,
            });
            let reached = seqs.last().copied().unwrap_or(after);
            assert!(reached <= page.head);
            assert!(numbers.max().unwrap_or(0) <= page.sent, "the page holds a later own number than {}", page.sent);
            assert!(page.commits == 1 && page.sent <= COUNT);
            after = reached;
            stage.store.acknowledge(device, id, after).await.unwrap();
        }
    };
    // A third reader that starts over and over meets entries that go meanwhile.
    let (done, mut finished) = tokio::sync::watch::channel(false);
    let starting_over = async {
        while !*finished.borrow_and_update() {
            let page = stage.store.fetch(bob.device, id, 0).await.unwrap().unwrap();
            let seqs: Vec<_> = page.entries.iter().map(|entry| entry.seq).collect();
            assert_eq!(seqs, (page.tail..).take(seqs.len()).collect::<Vec<_>>());
            assert!(!seqs.is_empty() || page.head < page.tail);
        }
    };
    let all = async {
        tokio::join!(sending(alice.device), sending(bob.device), reading(alice.device), reading(bob.device));
        done.send_replace(true);
    };
    let both = async { tokio::join!(all, starting_over) };
    tokio::time::timeout(std::time::Duration::from_secs(60), both).await.unwrap();
    let page = stage.store.fetch(bob.device, id, 0).await.unwrap().unwrap();
    assert_eq!((page.entries.len(), page.head, page.tail, page.sent), (0, 2 * COUNT + 1, 2 * COUNT + 2, COUNT));
}

/// Old entries go whoever lacks them; the log goes on where it was.
pub async fn old_entries_expire(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    for number in 1..=4_u64 {
        let mut append = message(alice.device, id, number, 1);
        append.now_ms += number * 10;
        stage.store.append(append).await.unwrap();
    }
    assert_eq!(stage.store.expire(START_MS).await.unwrap(), 0);
    assert_eq!(stage.store.expire(START_MS + 30).await.unwrap(), 3);
    let page = stage.store.fetch(bob.device, id, 0).await.unwrap().unwrap();
    assert_eq!((page.entries.iter().map(|one| one.seq).collect::<Vec<_>>(), page.tail), (vec![4, 5], 4));
    assert_eq!(stage.store.expire(START_MS + 1000).await.unwrap(), 2);
    assert_eq!(stage.store.expire(START_MS + 1000).await.unwrap(), 0);
    let page = stage.store.fetch(bob.device, id, 0).await.unwrap().unwrap();
    assert_eq!((page.entries.len(), page.head, page.tail), (0, 5, 6));
    assert_eq!(stage.send(alice.device, id, 5, 1).await, accepted(6));
    assert_eq!(stage.send(alice.device, id, 1, 1).await, AppendOutcome::Accepted { seq: 2, time_ms: START_MS + 10 });
    assert_eq!(stage.seqs(bob.device, id, 0).await, [6]);
    for device in [alice.device, bob.device] {
        stage.store.acknowledge(device, id, 6).await.unwrap();
    }
    assert_eq!(stage.seqs(bob.device, id, 0).await, [0_u64; 0]);
}

/// Closed and opened again: logs, cursors, numbers, members, counts are as they were.
pub async fn everything_survives_reopening(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    stage.send(alice.device, id, 1, 1).await;
    stage.commit(alice.device, id, (2, 1), handshake(&[], &[]), 1000).await;
    stage.store.acknowledge(bob.device, id, 2).await.unwrap();
    stage.store.close().await;

    let stage = Stage::open(database).await;
    assert_eq!(stage.send(alice.device, id, 1, 1).await, accepted(2));
    assert_eq!(stage.send(alice.device, id, 3, 1).await, AppendOutcome::Stale { commits: 2 });
    let early = stage.commit(alice.device, id, (3, 2), handshake(&[], &[]), 1500).await;
    assert_eq!(early, AppendOutcome::Busy { retry_after_ms: 500 });
    let heads = stage.store.heads(bob.device, None).await.unwrap();
    assert_eq!(heads, [ConversationHead { conversation: id, head: 3, sent: 0 }]);
    stage.store.acknowledge(alice.device, id, 3).await.unwrap();
    assert_eq!(stage.seqs(bob.device, id, 0).await, [3]);
    assert_eq!(stage.send(alice.device, id, 3, 2).await, accepted(4));
}

/// A message for who is connected has its place and its answer, but nothing of it is kept.
pub async fn what_only_passes_through_is_not_kept(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let audience = stage.store.audience(alice.device, id).await.unwrap().unwrap();
    assert_eq!((audience.sent, audience.devices), (0, vec![bob.device]));
    let passing =
        Append { body: AppendBody::Passing(b"of the moment".to_vec().into()), ..message(alice.device, id, 1, 1) };
    let stored = stage.store.append(passing.clone()).await.unwrap();
    assert_eq!(stage.store.append(passing).await.unwrap(), stored);
    assert!(matches!(stage.send(alice.device, id, 2, 1).await, AppendOutcome::Accepted { seq: 3, .. }));
    let page = stage.store.fetch(bob.device, id, 1).await.unwrap().unwrap();
    let bodies: Vec<_> = page.entries.into_iter().map(|entry| entry.body).collect();
    let kept = EntryBody::Application(b"message 2".to_vec().into());
    assert_eq!(bodies, [EntryBody::Application(Vec::new().into()), kept]);
    let audience = stage.store.audience(alice.device, id).await.unwrap().unwrap();
    assert_eq!(audience.sent, 2);
    assert_eq!(stage.store.audience(device_id(99), id).await.unwrap(), None);
}
