//! Devices that let themselves into a conversation of their account.

use super::{FreshDatabase, Published, START_MS, Stage, handshake};
use crate::store::{AppendOutcome, CreateOutcome};
use waxwing_protocol::{
    ConversationId, ConversationInfo, ConversationKind, Entry, EntryBody, GroupInfo, InboxItem, InboxNotice,
    limits::PAGE_ENTRIES,
};

fn accepted(seq: u64, after_ms: u64) -> AppendOutcome {
    AppendOutcome::Accepted { seq, time_ms: START_MS + after_ms }
}

/// Bob's tablet joins: it has its own commit and what comes after, the others get the commit, and it may send.
pub async fn a_listed_device_lets_itself_in(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let tablet = stage.enrol(&bob, 3, 2).await;
    stage.send(alice.device, id, 1, 1).await;
    assert_eq!(stage.store.fetch(tablet, id, 0).await.unwrap(), None);
    assert_eq!(stage.join(tablet, id, ("join", 1), 1000).await, accepted(3, 1000));

    let page = stage.store.fetch(tablet, id, 0).await.unwrap().unwrap();
    let own = Entry { seq: 3, time_ms: START_MS + 1000, body: EntryBody::Own { number: 0 } };
    assert_eq!(page.entries, [own]);
    assert_eq!((page.head, page.tail, page.commits, page.sent), (3, 3, 2, 0));
    assert_eq!(stage.store.heads(tablet, None).await.unwrap(), [], "its cursor is its commit");
    let commit = Entry { seq: 3, time_ms: START_MS + 1000, body: EntryBody::Commit(b"join".to_vec().into()) };
    assert_eq!(stage.store.fetch(bob.device, id, 2).await.unwrap().unwrap().entries, std::slice::from_ref(&commit));
    // Once for the welcome, the notices of the tablet, the message, the commit.
    let published = stage.published.at_least(5).await;
    let told = |one: &Published| {
        matches!(one, Published::Entry(to, in_id, entry)
            if *in_id == id && *entry == commit && to.len() == 2 && to.contains(&alice.device) && to.contains(&bob.device))
    };
    assert!(published.iter().any(told), "{published:?}");

    assert_eq!(stage.send(tablet, id, 1, 2).await, accepted(4, 0));
    assert_eq!(stage.send(alice.device, id, 2, 2).await, accepted(5, 0));
    assert_eq!(stage.seqs(tablet, id, 3).await, [4, 5]);
    // It holds up nobody with what is from before its time.
    for device in [alice.device, bob.device] {
        stage.store.acknowledge(device, id, 5).await.unwrap();
    }
    assert_eq!(stage.seqs(alice.device, id, 0).await, [4, 5]);
}

/// The answer was lost: the same commit gets the same answer, even after others; another commit does not.
pub async fn the_same_join_again_is_the_same_join(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let tablet = stage.enrol(&bob, 3, 2).await;
    assert_eq!(stage.join(tablet, id, ("join", 1), 1000).await, accepted(2, 1000));
    assert_eq!(stage.join(tablet, id, ("join", 1), 1001).await, accepted(2, 1000));
    let update = stage.commit(alice.device, id, (1, 2), handshake(&[], &[]), 2000).await;
    assert_eq!(update, accepted(3, 2000));
    for device in [alice.device, bob.device, tablet] {
        stage.store.acknowledge(device, id, 3).await.unwrap();
    }
    stage.store.close().await;
    let stage = Stage::open(database).await;
    assert_eq!(stage.join(tablet, id, ("join", 1), 9000).await, accepted(2, 1000));
    assert_eq!(stage.join(tablet, id, ("other", 1), 9000).await, AppendOutcome::Stale { commits: 3 });
    assert_eq!(stage.store.fetch(alice.device, id, 3).await.unwrap().unwrap().head, 3);
    let both = tokio::join!(stage.join(tablet, id, ("again", 3), 9000), stage.join(tablet, id, ("again", 3), 9000),);
    assert_eq!(both, (accepted(4, 9000), accepted(4, 9000)));
}

/// A device that lost track of the group joins again: it starts anew, and its send numbers go on.
pub async fn a_member_may_start_anew(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    assert_eq!(stage.send(bob.device, id, 1, 1).await, accepted(2, 0));
    assert_eq!(stage.send(alice.device, id, 1, 1).await, accepted(3, 0));
    assert_eq!(stage.join(bob.device, id, ("join", 1), 1000).await, accepted(4, 1000));
    let page = stage.store.fetch(bob.device, id, 0).await.unwrap().unwrap();
    assert_eq!(page.entries, [Entry { seq: 4, time_ms: START_MS + 1000, body: EntryBody::Own { number: 0 } }]);
    assert_eq!((page.tail, page.sent), (4, 1));
    assert_eq!(stage.send(bob.device, id, 1, 1).await, accepted(2, 0), "as it was");
    assert_eq!(stage.send(bob.device, id, 2, 2).await, accepted(5, 0));
    assert_eq!(stage.seqs(alice.device, id, 3).await, [4, 5]);
    // One that was removed may come back like that, if its account still lists it.
    let out = stage.commit(alice.device, id, (2, 2), handshake(&[], &[bob.device]), 2000).await;
    assert_eq!(out, accepted(6, 2000));
    assert_eq!(stage.join(bob.device, id, ("join", 2), 3000).await, AppendOutcome::Stale { commits: 3 });
    assert_eq!(stage.join(bob.device, id, ("back", 3), 3000).await, accepted(7, 3000));
    assert_eq!(stage.send(bob.device, id, 3, 4).await, accepted(8, 0));
    assert_eq!(stage.seqs(bob.device, id, 0).await, [7, 8]);
}

/// One of a join and a commit wins; joins keep the second's distance.
pub async fn joins_and_commits_take_turns(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let tablet = stage.enrol(&bob, 3, 2).await;
    let early = stage.join(tablet, id, ("join", 1), 400).await;
    assert_eq!(early, AppendOutcome::Busy { retry_after_ms: 600 });
    assert_eq!(stage.join(tablet, id, ("join", 0), 400).await, AppendOutcome::Stale { commits: 1 });
    assert_eq!(stage.store.fetch(tablet, id, 0).await.unwrap(), None);
    let outcomes = tokio::join!(
        stage.commit(alice.device, id, (1, 1), handshake(&[], &[]), 1000),
        stage.join(tablet, id, ("join", 1), 1000),
    );
    let stale = AppendOutcome::Stale { commits: 2 };
    assert!(outcomes == (accepted(2, 1000), stale) || outcomes == (stale, accepted(2, 1000)), "{outcomes:?}");
}

/// Who is not in the roster can neither join nor learn that there is a conversation.
pub async fn strangers_cannot_join_or_look(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, _, id) = stage.pair().await;
    let carol = stage.person("carol", 4).await;
    for (device, id) in [(carol.device, id), (alice.device, ConversationId([8; 16]))] {
        assert_eq!(stage.join(device, id, ("join", 1), 5000).await, AppendOutcome::UnknownConversation);
        assert_eq!(stage.store.group_info(device, id).await.unwrap(), None);
    }
    assert_eq!(stage.store.conversations(carol.device, None).await.unwrap(), []);
    assert_eq!(stage.store.fetch(alice.device, id, 0).await.unwrap().unwrap().head, 1);
}

/// A device that cannot read the conversation asks: everybody in it hears of that, once until it is handled.
pub async fn who_asks_is_announced_once(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let tablet = stage.enrol(&bob, 3, 2).await;
    let carol = stage.person("carol", 4).await;
    for device in [alice.device, bob.device] {
        stage.store.acknowledge_inbox(device, u64::MAX).await.unwrap();
    }
    let ask = |device, id| stage.store.ask_to_join(device, id, START_MS);
    assert!(!ask(carol.device, id).await.unwrap());
    assert!(!ask(tablet, ConversationId([8; 16])).await.unwrap());
    let (first, second) = tokio::join!(ask(tablet, id), ask(tablet, id));
    assert!(first.unwrap() && second.unwrap() && ask(tablet, id).await.unwrap());
    let notice = InboxNotice::JoinAsked { conversation: id, username: bob.name.clone(), device: tablet };
    let inbox = |device| stage.store.fetch_inbox(device, 0);
    // Before it: Alice heard of the tablet, Bob's first device of its welcome and the tablet.
    let alices = InboxItem { seq: 2, notice: notice.clone() };
    let bobs = InboxItem { seq: 3, notice: notice.clone() };
    assert_eq!(inbox(alice.device).await.unwrap(), std::slice::from_ref(&alices));
    assert_eq!(inbox(bob.device).await.unwrap(), std::slice::from_ref(&bobs));
    assert_eq!(inbox(tablet).await.unwrap(), []);
    assert_eq!(inbox(carol.device).await.unwrap(), []);
    let published = stage.published.inbox_items();
    assert!(published.contains(&(alice.device, alices)) && published.contains(&(bob.device, bobs)));

    // A member that lost its state asks too; it does not hear itself, and other questions are other notices.
    assert!(ask(bob.device, id).await.unwrap());
    assert_eq!(inbox(alice.device).await.unwrap().len(), 2);
    assert_eq!(inbox(bob.device).await.unwrap().len(), 1);
    // Handled, and asked again.
    stage.store.acknowledge_inbox(alice.device, 2).await.unwrap();
    assert!(ask(tablet, id).await.unwrap());
    assert_eq!(inbox(alice.device).await.unwrap().last(), Some(&InboxItem { seq: 4, notice }));
    assert_eq!(inbox(bob.device).await.unwrap().len(), 1);
    // Whoever is removed asks no more.
    stage.remove(&bob, 3, &[tablet]).await;
    let asked = |items: Vec<InboxItem>| {
        items.into_iter().filter(|item| matches!(item.notice, InboxNotice::JoinAsked { .. })).count()
    };
    assert_eq!(asked(inbox(bob.device).await.unwrap()), 0);
    assert_eq!(asked(inbox(alice.device).await.unwrap()), 1);
}

/// The group info is the newest commit's, whoever made that, and nothing else's.
pub async fn group_infos_follow_the_commits(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob) = (stage.person("alice", 1).await, stage.person("bob", 2).await);
    let id = ConversationId([7; 16]);
    let with_info = |added: &[_], info: &str| waxwing_protocol::Handshake {
        group_info: Some(info.as_bytes().to_vec().into()),
        ..handshake(added, &[])
    };
    let created = stage.create(&alice, &bob.name, id, Some(with_info(&[bob.device], "first"))).await;
    assert_eq!(created, CreateOutcome::Created { seq: 1 });
    let tablet = stage.enrol(&bob, 3, 2).await;
    let info = || async { stage.store.group_info(tablet, id).await.unwrap().unwrap() };
    let sealed = |text: &str| Some(text.as_bytes().to_vec().into());
    assert_eq!(info().await, GroupInfo { commits: 1, sealed: sealed("first") });
    stage.send(alice.device, id, 1, 1).await;
    assert_eq!(info().await, GroupInfo { commits: 1, sealed: sealed("first") });
    assert_eq!(stage.commit(alice.device, id, (2, 1), with_info(&[], "second"), 1000).await, accepted(3, 1000));
    assert_eq!(info().await, GroupInfo { commits: 2, sealed: sealed("second") });
    assert_eq!(stage.join(tablet, id, ("joined", 2), 2000).await, accepted(4, 2000));
    assert_eq!(info().await, GroupInfo { commits: 3, sealed: sealed("joined") });
    assert_eq!(stage.commit(alice.device, id, (3, 3), handshake(&[], &[]), 3000).await, accepted(5, 3000));
    assert_eq!(info().await, GroupInfo { commits: 4, sealed: None });
}

/// A new device finds the conversations of its account, and which of them it is in.
pub async fn the_roster_is_listed_in_pages(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let notes = ConversationId([9; 16]);
    stage.create(&alice, &alice.name, notes, None).await;
    let tablet = stage.enrol(&alice, 3, 2).await;
    let info = |conversation, with: &waxwing_protocol::Username, head, member| ConversationInfo {
        conversation,
        kind: ConversationKind::Direct(with.clone()),
        head,
        member,
    };
    let all = stage.store.conversations(tablet, None).await.unwrap();
    assert_eq!(all, [info(id, &bob.name, 1, false), info(notes, &alice.name, 0, false)]);
    let bobs = stage.store.conversations(bob.device, None).await.unwrap();
    assert_eq!(bobs, [info(id, &alice.name, 1, true)]);
    stage.commit(alice.device, id, (1, 1), handshake(&[], &[bob.device]), 1000).await;
    assert_eq!(stage.store.conversations(bob.device, None).await.unwrap(), [info(id, &alice.name, 2, false)]);
    assert_eq!(stage.store.conversations(tablet, Some(id)).await.unwrap(), [info(notes, &alice.name, 0, false)]);
    assert_eq!(stage.store.conversations(tablet, Some(notes)).await.unwrap(), []);

    let busy = stage.person("busy", 10).await;
    for number in 0..PAGE_ENTRIES + 3 {
        let friend = waxwing_protocol::DeviceId((0x1000_u128 + u128::from(number)).to_be_bytes());
        let mut account = super::new_account(&format!("friend{number}"), 0);
        account.device.id = friend;
        stage.store.create_account(account).await.unwrap();
        let id = ConversationId((u128::from(number) << 64).to_be_bytes());
        let with = super::username(&format!("friend{number}"));
        assert_eq!(stage.create(&busy, &with, id, None).await, CreateOutcome::Created { seq: 0 });
    }
    let page = stage.store.conversations(busy.device, None).await.unwrap();
    assert_eq!(page.len(), PAGE_ENTRIES as usize);
    let rest = stage.store.conversations(busy.device, page.last().map(|one| one.conversation)).await.unwrap();
    assert_eq!(rest.len(), 3);
    assert!(page.iter().chain(&rest).map(|one| one.conversation).is_sorted());
}
