//! How conversations begin.

use super::{FreshDatabase, START_MS, Stage, device_id, handshake, new_conversation, username};
use crate::store::{AppendOutcome, CreateOutcome};
use waxwing_protocol::{ConversationId, Entry, EntryBody, InboxItem, InboxNotice};

const ID: ConversationId = ConversationId([7; 16]);
const OTHER: ConversationId = ConversationId([8; 16]);

/// Bob's device gets the welcome, and starts after the commit that it belongs to; Alice's has that commit as her own.
pub async fn creation_invites_the_other_device(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let payload = b"welcome".to_vec().into();
    let notice = InboxNotice::Welcome { conversation: id, seq: 1, commits: 1, payload };
    let item = InboxItem { seq: 1, notice };
    assert_eq!(stage.store.fetch_inbox(bob.device, 0).await.unwrap(), std::slice::from_ref(&item));
    assert_eq!(stage.store.fetch_inbox(alice.device, 0).await.unwrap(), []);
    stage.published.at_least(1).await;
    assert_eq!(stage.published.inbox_items(), [(bob.device, item)]);

    let bobs = stage.store.fetch(bob.device, id, 0).await.unwrap().unwrap();
    assert_eq!((bobs.entries.len(), bobs.head, bobs.tail, bobs.commits), (0, 1, 2, 1));
    let alices = stage.store.fetch(alice.device, id, 0).await.unwrap().unwrap();
    assert_eq!(alices.entries, [Entry { seq: 1, time_ms: START_MS, body: EntryBody::Own { number: 0 } }]);
    assert_eq!((alices.head, alices.tail, alices.commits), (1, 1, 1));
    assert_eq!(stage.send(bob.device, id, 1, 1).await, AppendOutcome::Accepted { seq: 2, time_ms: START_MS });
}

/// The answer was lost and Alice asks again, even after others have written: same answer, no second welcome.
pub async fn creation_again_is_the_same_creation(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    stage.send(bob.device, id, 1, 1).await;
    let again = stage.create(&alice, &bob.name, id, Some(handshake(&[bob.device], &[]))).await;
    assert_eq!(again, CreateOutcome::Created { seq: 1 });
    assert_eq!(stage.store.fetch_inbox(bob.device, 0).await.unwrap().len(), 1);
    assert_eq!(stage.seqs(alice.device, id, 0).await, [1, 2]);
    let page = stage.store.fetch(alice.device, id, 0).await.unwrap().unwrap();
    assert_eq!((page.head, page.commits), (2, 1));
    assert_eq!(stage.create(&bob, &alice.name, id, None).await, CreateOutcome::Exists(id));
}

/// Alice and Bob open their chat at the same moment: one wins, and the other learns which conversation it is.
pub async fn two_creators_race(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob) = (stage.person("alice", 1).await, stage.person("bob", 2).await);
    let outcomes = tokio::join!(
        stage.create(&alice, &bob.name, ID, Some(handshake(&[bob.device], &[]))),
        stage.create(&bob, &alice.name, OTHER, Some(handshake(&[alice.device], &[]))),
    );
    let (winner, loser, id, invited) = match outcomes {
        (CreateOutcome::Created { seq: 1 }, CreateOutcome::Exists(ID)) => (&alice, &bob, ID, bob.device),
        (CreateOutcome::Exists(OTHER), CreateOutcome::Created { seq: 1 }) => (&bob, &alice, OTHER, alice.device),
        other => panic!("{other:?}"),
    };
    assert_eq!(stage.store.fetch_inbox(invited, 0).await.unwrap().len(), 1);
    assert_eq!(stage.store.fetch_inbox(winner.device, 0).await.unwrap(), []);
    let lost = if id == ID { OTHER } else { ID };
    assert_eq!(stage.store.fetch(loser.device, lost, 0).await.unwrap(), None);
    assert_eq!(stage.seqs(winner.device, id, 0).await, [1]);
}

/// Whoever asks, from whichever device, with whichever id: the pair's conversation is the one that exists.
pub async fn a_pair_has_one_conversation(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let tablet = stage.enrol(&alice, 3, 2).await;
    for (creator, with) in [(&alice, &bob.name), (&bob, &alice.name)] {
        assert_eq!(stage.create(creator, with, OTHER, None).await, CreateOutcome::Exists(id));
    }
    let mut from_tablet = new_conversation(&alice, &bob.name, OTHER, None);
    from_tablet.creator = tablet;
    assert_eq!(stage.store.create_conversation(from_tablet).await.unwrap(), CreateOutcome::Exists(id));
    let carol = stage.person("carol", 4).await;
    assert_eq!(stage.create(&carol, &alice.name, id, None).await, CreateOutcome::Exists(id));
    assert_eq!(stage.create(&carol, &alice.name, OTHER, None).await, CreateOutcome::Created { seq: 0 });
}

/// After a restore both sides begin their chat anew: the one who is first takes the old one's place, which is still there to read.
pub async fn a_conversation_takes_the_place_of_another(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    stage.send(bob.device, id, 1, 1).await;
    let mut replacing = new_conversation(&alice, &bob.name, OTHER, Some(handshake(&[bob.device], &[])));
    replacing.replaces = Some(ConversationId([9; 16]));
    let refused = stage.store.create_conversation(replacing.clone()).await.unwrap();
    assert_eq!(refused, CreateOutcome::Exists(id), "it is not the one that is named");
    replacing.replaces = Some(id);
    assert_eq!(stage.store.create_conversation(replacing.clone()).await.unwrap(), CreateOutcome::Created { seq: 1 });
    assert_eq!(stage.store.create_conversation(replacing).await.unwrap(), CreateOutcome::Created { seq: 1 });
    let mut second = new_conversation(&bob, &alice.name, ConversationId([10; 16]), None);
    second.replaces = Some(id);
    assert_eq!(stage.store.create_conversation(second).await.unwrap(), CreateOutcome::Exists(OTHER));
    let listed: Vec<_> = stage.store.conversations(alice.device, None).await.unwrap();
    assert_eq!(listed.iter().map(|info| info.conversation).collect::<Vec<_>>(), [OTHER]);
    assert_eq!(stage.seqs(alice.device, id, 0).await, [1, 2], "the old one can be read to its end");
}

/// A conversation with oneself, first alone, then with a second device.
pub async fn notes_to_oneself(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let alice = stage.person("alice", 1).await;
    assert_eq!(stage.create(&alice, &alice.name, ID, None).await, CreateOutcome::Created { seq: 0 });
    assert_eq!(stage.create(&alice, &alice.name, ID, None).await, CreateOutcome::Created { seq: 0 });
    assert_eq!(stage.create(&alice, &alice.name, OTHER, None).await, CreateOutcome::Exists(ID));
    let page = stage.store.fetch(alice.device, ID, 0).await.unwrap().unwrap();
    assert_eq!((page.entries.len(), page.head, page.tail, page.commits), (0, 0, 1, 0));
    assert_eq!(stage.send(alice.device, ID, 1, 0).await, AppendOutcome::Accepted { seq: 1, time_ms: START_MS });
    let tablet = stage.enrol(&alice, 3, 2).await;
    let added = stage.commit(alice.device, ID, (2, 0), handshake(&[tablet], &[]), 1).await;
    assert_eq!(added, AppendOutcome::Accepted { seq: 2, time_ms: START_MS + 1 });
    assert_eq!(stage.seqs(tablet, ID, 0).await, [0_u64; 0]);
    assert_eq!(stage.create(&alice, &alice.name, ID, None).await, CreateOutcome::Created { seq: 0 });
}

/// Refused creations leave no conversation, no welcome and no member.
pub async fn bad_creations_create_nothing(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob) = (stage.person("alice", 1).await, stage.person("bob", 2).await);
    let carol = stage.person("carol", 3).await;
    let nobody = stage.create(&alice, &username("nobody"), ID, Some(handshake(&[], &[]))).await;
    assert_eq!(nobody, CreateOutcome::UnknownAccount);
    for (added, removed) in [
        (vec![carol.device], vec![]),
        (vec![bob.device, device_id(99)], vec![]),
        (vec![bob.device, alice.device], vec![]),
        (vec![bob.device, bob.device], vec![]),
        (vec![bob.device], vec![bob.device]),
        (vec![], vec![device_id(99)]),
    ] {
        let outcome = stage.create(&alice, &bob.name, ID, Some(handshake(&added, &removed))).await;
        assert_eq!(outcome, CreateOutcome::BadRecipients, "{added:?} {removed:?}");
    }
    for person in [&alice, &bob, &carol] {
        assert_eq!(stage.store.fetch(person.device, ID, 0).await.unwrap(), None);
        assert_eq!(stage.store.fetch_inbox(person.device, 0).await.unwrap(), []);
    }
    assert_eq!(stage.published.inbox_items(), []);
    let good = stage.create(&alice, &bob.name, ID, Some(handshake(&[bob.device], &[]))).await;
    assert_eq!(good, CreateOutcome::Created { seq: 1 });
}
