//! Groups and rooms: who takes part, coming in by name, leaving.

use super::{FreshDatabase, Person, START_MS, Stage, handshake, message};
use crate::store::{Append, AppendBody, AppendOutcome, CreateOutcome, JoinRoomOutcome, NewConversation};
use waxwing_protocol::{
    ConversationId, ConversationInfo, ConversationKind, DeviceId, Handshake, InboxItem, InboxNotice, RoomInfo,
    RoomName, Roster, Username,
};

const ID: ConversationId = ConversationId([0x0c; 16]);

fn room(name: &str) -> RoomName {
    name.parse().unwrap()
}

/// A handshake that adds devices and changes which accounts take part.
fn people(added: &[DeviceId], entered: &[&Person], left: &[&Person]) -> Handshake {
    let names = |people: &[&Person]| -> Vec<Username> { people.iter().map(|one| one.name.clone()).collect() };
    Handshake { roster: Some(Roster { entered: names(entered), left: names(left) }), ..handshake(added, &[]) }
}

fn new(creator: &Person, kind: ConversationKind, handshake: Option<Handshake>) -> NewConversation {
    let (account, creator) = (creator.account, creator.device);
    NewConversation { account, creator, id: ID, kind, handshake, replaces: None, members: 3, now_ms: START_MS }
}

async fn commit(
    stage: &Stage,
    device: DeviceId,
    (number, commits): (u64, u64),
    handshake: Handshake,
    after_ms: u64,
) -> AppendOutcome {
    let body = AppendBody::Commit(Box::new(handshake));
    let append = Append { device, conversation: ID, number, commits, body, members: 3, now_ms: START_MS + after_ms };
    stage.store.append(append).await.unwrap()
}

async fn listed(stage: &Stage, device: DeviceId) -> Vec<ConversationInfo> {
    stage.store.conversations(device, None).await.unwrap()
}

/// Alice has made a group with Bob in it; Carol and Dave are there.
async fn group(stage: &Stage) -> [Person; 4] {
    let people_of = [("alice", 1), ("bob", 2), ("carol", 3), ("dave", 4)];
    let mut all = Vec::new();
    for (name, device) in people_of {
        all.push(stage.person(name, device).await);
    }
    let all: [Person; 4] = all.try_into().unwrap();
    let made = new(&all[0], ConversationKind::Group, Some(people(&[all[1].device], &[&all[1]], &[])));
    assert_eq!(stage.store.create_conversation(made).await.unwrap(), CreateOutcome::Created { seq: 1 });
    all
}

/// A commit brings an account with its devices in, and another takes it out; it reads up to there.
pub async fn commits_change_who_takes_part(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let [alice, bob, carol, _] = group(&stage).await;
    let info = |head, member| ConversationInfo { conversation: ID, kind: ConversationKind::Group, head, member };
    assert_eq!(listed(&stage, bob.device).await, [info(1, true)]);
    assert_eq!(listed(&stage, carol.device).await, []);

    let outcome = commit(&stage, alice.device, (1, 1), people(&[carol.device], &[&carol], &[]), 1000).await;
    assert_eq!(outcome, AppendOutcome::Accepted { seq: 2, time_ms: START_MS + 1000 });
    assert_eq!(listed(&stage, carol.device).await, [info(2, true)]);
    let welcome = InboxNotice::Welcome { conversation: ID, seq: 2, commits: 2, payload: b"welcome".to_vec().into() };
    assert_eq!(stage.store.fetch_inbox(carol.device, 0).await.unwrap(), [InboxItem { seq: 1, notice: welcome }]);
    assert_eq!(
        stage.store.append(message(carol.device, ID, 1, 2)).await.unwrap(),
        AppendOutcome::Accepted { seq: 3, time_ms: START_MS }
    );

    let outcome = commit(&stage, bob.device, (1, 2), people(&[], &[], &[&carol]), 2000).await;
    assert_eq!(outcome, AppendOutcome::Accepted { seq: 4, time_ms: START_MS + 2000 });
    assert_eq!(listed(&stage, carol.device).await, []);
    assert_eq!(stage.seqs(carol.device, ID, 2).await, [3, 4], "its own removal is the last that it reads");
    let refused = stage.store.append(message(carol.device, ID, 2, 3)).await.unwrap();
    assert_eq!(refused, AppendOutcome::UnknownConversation);
    stage.store.acknowledge(carol.device, ID, 4).await.unwrap();
    assert_eq!(stage.store.fetch(carol.device, ID, 0).await.unwrap(), None);
    stage.send(alice.device, ID, 2, 3).await;
    assert_eq!(stage.seqs(bob.device, ID, 3).await, [4, 5]);
}

/// What cannot be is refused whole.
pub async fn bad_rosters_change_nothing(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let [alice, bob, carol, dave] = group(&stage).await;
    let nobody = Person { name: "nobody".parse().unwrap(), ..bob.clone() };
    for (what, handshake) in [
        ("a stranger's device", people(&[carol.device], &[], &[])),
        ("nobody", people(&[], &[&nobody], &[])),
        ("oneself", people(&[], &[], &[&alice])),
        ("in and out", people(&[], &[&carol], &[&carol])),
        ("another's device", people(&[dave.device], &[&carol], &[])),
    ] {
        let outcome = commit(&stage, alice.device, (1, 1), handshake, 5000).await;
        assert_eq!(outcome, AppendOutcome::BadRecipients, "{what}");
    }
    let both = people(&[], &[&carol, &dave], &[]);
    assert_eq!(commit(&stage, alice.device, (1, 1), both, 5000).await, AppendOutcome::TooManyMembers);
    assert_eq!(listed(&stage, carol.device).await, []);
    // One who goes makes room for one who comes.
    let swap = people(&[], &[&carol, &dave], &[&bob]);
    let accepted = AppendOutcome::Accepted { seq: 2, time_ms: START_MS + 5000 };
    assert_eq!(commit(&stage, alice.device, (1, 1), swap, 5000).await, accepted);
    // A direct conversation keeps its two.
    let pair = ConversationId([9; 16]);
    stage.create(&alice, &bob.name, pair, Some(handshake(&[bob.device], &[]))).await;
    let outcome = stage.commit(alice.device, pair, (1, 1), people(&[], &[&carol], &[]), 5000).await;
    assert_eq!(outcome, AppendOutcome::BadRecipients);
}

/// A room is found by its name, which it alone has, and anybody may take part until it is full.
pub async fn rooms_are_found_by_name(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let [alice, bob, carol, dave] = group(&stage).await;
    let birds = || ConversationKind::Room(room("birds"));
    let id = ConversationId([0x0d; 16]);
    assert_eq!(stage.store.rooms(None).await.unwrap(), []);
    let unknown = stage.store.join_room(bob.account, &room("birds"), 3).await.unwrap();
    assert_eq!(unknown, JoinRoomOutcome::UnknownRoom);
    let made = NewConversation { id, ..new(&alice, birds(), None) };
    assert_eq!(stage.store.create_conversation(made.clone()).await.unwrap(), CreateOutcome::Created { seq: 0 });
    assert_eq!(stage.store.create_conversation(made).await.unwrap(), CreateOutcome::Created { seq: 0 });
    let second = NewConversation { id: ConversationId([0x0e; 16]), ..new(&bob, birds(), None) };
    assert_eq!(stage.store.create_conversation(second).await.unwrap(), CreateOutcome::Exists(id));
    let listed_rooms = stage.store.rooms(None).await.unwrap();
    assert_eq!(listed_rooms, [RoomInfo { name: room("birds"), members: 1 }]);
    assert_eq!(stage.store.rooms(Some(&room("birds"))).await.unwrap(), []);

    for person in [&bob, &carol, &bob] {
        let joined = stage.store.join_room(person.account, &room("birds"), 3).await.unwrap();
        assert_eq!(joined, JoinRoomOutcome::Joined(id));
    }
    let full = stage.store.join_room(dave.account, &room("birds"), 3).await.unwrap();
    assert_eq!(full, JoinRoomOutcome::TooManyMembers);
    let info = ConversationInfo { conversation: id, kind: birds(), head: 0, member: false };
    assert_eq!(listed(&stage, carol.device).await, [info]);
    assert!(stage.store.ask_to_join(carol.device, id, START_MS).await.unwrap());
    assert!(stage.store.group_info(dave.device, id).await.unwrap().is_none());

    assert!(stage.store.delete_room(&room("birds")).await.unwrap());
    assert!(!stage.store.delete_room(&room("birds")).await.unwrap());
    assert_eq!(listed(&stage, carol.device).await, []);
    assert_eq!(stage.store.fetch(alice.device, id, 0).await.unwrap(), None);
}

/// Whoever leaves gets nothing more, and the others are told; what nobody is in any more goes.
pub async fn who_leaves_is_gone(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let [alice, bob, carol, _] = group(&stage).await;
    // Before it was let in: that it asked is of no interest any more.
    stage.send(alice.device, ID, 1, 1).await;
    stage.store.leave(carol.device, ID, b"not in it".to_vec().into(), START_MS).await.unwrap();
    stage.store.leave(bob.device, ID, b"wish".to_vec().into(), START_MS).await.unwrap();
    stage.store.leave(bob.device, ID, b"again".to_vec().into(), START_MS).await.unwrap();
    let left = InboxNotice::Left { conversation: ID, username: bob.name.clone(), wish: b"wish".to_vec().into() };
    let items = stage.store.fetch_inbox(alice.device, 0).await.unwrap();
    assert_eq!(items, [InboxItem { seq: 1, notice: left }]);
    assert_eq!(listed(&stage, bob.device).await, []);
    assert_eq!(stage.store.fetch(bob.device, ID, 0).await.unwrap(), None);
    let refused = stage.store.append(message(bob.device, ID, 1, 1)).await.unwrap();
    assert_eq!(refused, AppendOutcome::UnknownConversation);
    // Its commit is still to come: the device is passed over.
    let accepted = AppendOutcome::Accepted { seq: 3, time_ms: START_MS + 1000 };
    assert_eq!(commit(&stage, alice.device, (2, 1), people(&[], &[], &[&bob]), 1000).await, accepted);
    stage.store.leave(alice.device, ID, b"".to_vec().into(), START_MS).await.unwrap();
    assert_eq!(listed(&stage, alice.device).await, []);
    // A direct conversation is not left.
    let pair = ConversationId([9; 16]);
    stage.create(&alice, &bob.name, pair, Some(handshake(&[bob.device], &[]))).await;
    stage.store.leave(alice.device, pair, b"wish".to_vec().into(), START_MS).await.unwrap();
    assert_eq!(listed(&stage, alice.device).await.len(), 1);
}
