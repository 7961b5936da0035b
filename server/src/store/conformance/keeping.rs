//! What waits, and of whom; what is too old; which days count.

use super::{FreshDatabase, START_MS, Stage, handshake, message, new_account};
use crate::store::{AccountId, Append, AppendBody, Cutoffs, NewInvite, SignUpOutcome};
use waxwing_protocol::ConversationId;

/// What an account has left, in bytes.
async fn left(stage: &Stage, account: AccountId) -> u64 {
    let all = stage.store.waiting().await.unwrap();
    let own = all.iter().find(|(one, _)| *one == account).map_or(0, |(_, bytes)| *bytes);
    assert_eq!(stage.store.usage(account).await.unwrap().waiting, own);
    own
}

async fn send(stage: &Stage, mut append: Append, bytes: usize) {
    append.body = AppendBody::Application(vec![7; bytes].into());
    assert!(matches!(stage.store.append(append).await.unwrap(), crate::store::AppendOutcome::Accepted { .. }));
}

/// Entries, welcomes and states of groups count for whoever has sent them, until they are fetched; also when the device that did
/// is removed.
pub async fn what_waits_counts_for_its_sender(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob) = (stage.person("alice", 1).await, stage.person("bob", 2).await);
    assert_eq!(stage.store.waiting().await.unwrap(), []);
    let id = ConversationId([7; 16]);
    let mut first = handshake(&[bob.device], &[]);
    first.group_info = Some(vec![1; 500].into());
    let welcome = first.welcome.as_ref().unwrap().payload.0.len() as u64;
    let commit = first.commit.0.len() as u64;
    stage.create(&alice, &bob.name, id, Some(first)).await;
    assert_eq!(left(&stage, alice.account).await, commit + welcome + 500);
    stage.store.acknowledge_inbox(bob.device, u64::MAX).await.unwrap();
    stage.store.acknowledge(alice.device, id, 1).await.unwrap();
    assert_eq!((left(&stage, alice.account).await, left(&stage, bob.account).await), (500, 0));

    send(&stage, message(alice.device, id, 1, 1), 1000).await;
    send(&stage, message(bob.device, id, 1, 1), 20).await;
    assert_eq!((left(&stage, alice.account).await, left(&stage, bob.account).await), (1500, 20));

    // A new device in the place of the one that sent it.
    stage.enrol(&alice, 3, 2).await;
    stage.remove(&alice, 3, &[alice.device]).await;
    stage.store.forget_former_devices().await.unwrap();
    assert_eq!((left(&stage, alice.account).await, left(&stage, bob.account).await), (1500, 20));
    stage.store.acknowledge(bob.device, id, 3).await.unwrap();
    assert_eq!((left(&stage, alice.account).await, left(&stage, bob.account).await), (500, 0));
    // The next state of the group is Bob's.
    let mut second = handshake(&[], &[]);
    second.group_info = Some(vec![1; 300].into());
    stage.commit(bob.device, id, (2, 1), second, 5000).await;
    stage.store.acknowledge(bob.device, id, 4).await.unwrap();
    assert_eq!((left(&stage, alice.account).await, left(&stage, bob.account).await), (0, 300));

    let disclosed = |stage: &Stage| {
        let store = stage.store.clone();
        async move {
            let tables = store.disclose(alice.account).await.unwrap();
            tables.into_iter().find(|one| one.table == "former_device").unwrap().rows.len()
        }
    };
    assert_eq!(disclosed(&stage).await, 1);
    stage.store.forget_former_devices().await.unwrap();
    assert_eq!(disclosed(&stage).await, 0);
}

/// Each kind goes by its own time, and what would go is what goes.
pub async fn each_kind_has_its_time(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    send(&stage, message(alice.device, id, 1, 1), 100).await;
    let invite = |number: u8, uses, expires_ms| NewInvite {
        code_hash: [number; 32],
        uses,
        expires_ms,
        note: String::new(),
        now_ms: START_MS,
    };
    stage.store.create_invite(invite(1, 1, Some(START_MS + 10))).await.unwrap();
    stage.store.create_invite(invite(2, 1, None)).await.unwrap();
    stage.store.create_invite(invite(3, 2, None)).await.unwrap();
    let guest = new_account("carol", 5);
    let guest = crate::store::NewAccount { invite: Some([2; 32]), ..guest };
    assert!(matches!(stage.store.create_account(guest).await.unwrap(), SignUpOutcome::Created(_)));

    let later = START_MS + 1_000_000;
    let all = Cutoffs { entries_ms: later, inbox_ms: later, invites_ms: later, key_packages_ms: later };
    let counted = stage.store.expirable(all).await.unwrap();
    assert_eq!((counted.entries, counted.inbox_items, counted.invites), (2, 1, 2));
    assert!(counted.bytes > 100);
    assert_eq!(stage.store.expirable(Cutoffs::default()).await.unwrap(), crate::store::Expirable::default());

    assert_eq!(stage.store.expire_invites(START_MS).await.unwrap(), 0);
    assert_eq!(stage.store.expire_invites(later).await.unwrap(), 2);
    let kept = stage.store.invites().await.unwrap();
    assert_eq!(kept.iter().map(|one| one.code_hash[0]).collect::<Vec<_>>(), [3]);
    assert_eq!(stage.store.expire(later).await.unwrap(), 2);
    assert_eq!(stage.store.fetch_inbox(bob.device, 0).await.unwrap().len(), 1);
    assert_eq!(stage.store.expire_inbox(later).await.unwrap(), 1);
    assert_eq!(stage.store.fetch_inbox(bob.device, 0).await.unwrap(), []);
    assert_eq!(left(&stage, alice.account).await, 0, "the welcome is gone, too");
}

/// Silence counts from the first day after the server was away.
pub async fn silence_counts_while_the_server_is_there(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    for (today, since) in [(100, 99), (100, 99), (101, 99), (102, 99), (110, 110), (111, 110), (50, 50), (51, 50)] {
        assert_eq!(stage.store.note_alive(today).await.unwrap(), since, "on day {today}");
    }
    stage.store.close().await;
    let stage = Stage::open(database).await;
    assert_eq!(stage.store.note_alive(52).await.unwrap(), 50);
}
