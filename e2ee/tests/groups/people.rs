//! Groups and rooms: who comes in, who goes, who says so. Every verdict is the same for all members.

use crate::actors::*;
use crate::gate::assert_all_refuse;
use crate::rules::altered;
use ciborium::Value;
use openmls::prelude::LeafNodeIndex;
use waxwing_e2ee::mls::{
    About, Amendment, Change, Group, GroupRules, JoinKey, Kind, Leave, Mls, MlsError, Newcomer, Participant, Prepared,
    Received, Refused, Role, SignedList,
};

fn newcomer(username: &str) -> Newcomer {
    let identity = match username {
        "alice" => ALICE.public(),
        "bob" => BOB.public(),
        _ => CAROL.public(),
    };
    Newcomer { username: username.to_owned(), identity, former: vec![] }
}

fn first(username: &str, role: Role) -> Participant {
    let identity = if username == "alice" { &ALICE } else { &BOB };
    Participant { role, since: Some(0), ..participant(username, identity) }
}

/// An account's newest list, with its identity key.
fn shown_list(username: &str) -> SignedList {
    SignedList { identity: Some(newcomer(username).identity.to_der()), ..accounts::signed(username) }
}

/// Alice has made it, with Bob in it.
fn made(kind: Kind) -> (Phone, Phone) {
    let (mut alice, mut bob) = (Phone::alice(1), Phone::bob(3));
    let key = if kind == Kind::Room { JoinKey::of_room(&CHAT) } else { join_key() };
    let participants = vec![first("alice", Role::Admin), first("bob", Role::Member)];
    alice.create(&GroupRules::group(kind, About::named("birds"), participants, key).unwrap());
    bob.join(&alice.add(&[bob.key_package()]).welcome.unwrap()).unwrap();
    (alice, bob)
}

impl Phone {
    fn amend(&mut self, lists: &[&str], add: &[Vec<u8>], amend: &Amendment) -> Result<Prepared, MlsError> {
        let lists: Vec<SignedList> = lists.iter().map(|name| accounts::signed(name)).collect();
        self.with(|group, device, known| {
            let change = Change { lists: &lists, add, amend: Some(amend), ..Change::default() };
            group.prepare(device, known, change)
        })
    }

    fn rules(&mut self) -> GroupRules {
        self.with(|group, _, _| Ok(group.rules().clone())).unwrap()
    }

    fn wish_to_leave(&mut self) -> Result<Leave, MlsError> {
        self.with(|group, device, _| group.leave(device))
    }

    fn let_in(&mut self, phone: &Phone) -> Prepared {
        let name = phone.member().username;
        let amend = Amendment { enter: vec![newcomer(&name)], ..Amendment::default() };
        let prepared = self.amend(&[&name], &[phone.key_package()], &amend).unwrap();
        self.accepted();
        prepared
    }
}

fn enter(username: &str) -> Amendment {
    Amendment { enter: vec![newcomer(username)], ..Amendment::default() }
}

fn expel(username: &str) -> Amendment {
    Amendment { expel: vec![username.to_owned()], ..Amendment::default() }
}

fn about(about: About) -> Amendment {
    Amendment { about: Some(about), ..Amendment::default() }
}

fn role(username: &str, role: Role) -> Amendment {
    Amendment { roles: vec![(username.to_owned(), role)], ..Amendment::default() }
}

/// Takes in what a member has committed.
fn all_receive(commit: &[u8], phones: &mut [&mut Phone]) {
    for phone in phones {
        assert!(matches!(phone.receive(commit).unwrap(), Received::Commit { .. }));
    }
}

#[test]
fn an_admin_invites_names_promotes_and_puts_out() {
    let (mut alice, mut bob) = made(Kind::Group);
    let mut carol = Phone::new("carol", 5, &CAROL);
    let prepared = alice.let_in(&carol);
    let Received::Commit { added, lists, identities, .. } = bob.receive(&prepared.commit).unwrap() else { panic!() };
    assert_eq!((added, lists), (vec![carol.member()], vec![shown_list("carol")]));
    assert_eq!(identities, [("carol".to_owned(), CAROL.public())]);
    carol.join(&prepared.welcome.unwrap()).unwrap();
    assert_eq!(carol.rules().participant("carol").map(|one| (one.role, one.since)), Some((Role::Member, Some(2))));
    assert_works(&mut [&mut carol, &mut alice, &mut bob]);

    let words = About { topic: "early".into(), history: 50, ..About::named("Early birds") };
    let commit = alice.amend(&[], &[], &about(words.clone())).unwrap().commit;
    alice.accepted();
    all_receive(&commit, &mut [&mut bob, &mut carol]);
    assert_eq!(bob.rules().about(), Some(&words));

    let commit = alice.amend(&[], &[], &role("bob", Role::Admin)).unwrap().commit;
    alice.accepted();
    all_receive(&commit, &mut [&mut bob, &mut carol]);
    let before = carol.rules().join_key().clone();
    let commit = bob.amend(&[], &[], &expel("carol")).unwrap().commit;
    bob.accepted();
    all_receive(&commit, &mut [&mut alice]);
    assert_ne!(*alice.rules().join_key(), before, "who is out cannot open what comes");
    let secret = bob.send("without carol");
    assert!(matches!(carol.receive(&secret), Err(MlsError::NotThisEpoch)));
    let out = Received::Removed { by: bob.member(), account: true, left: false };
    assert_eq!(carol.receive(&commit).unwrap(), out);
    assert!(!carol.in_chat());
    // The last admin but one goes; somebody who is not there cannot.
    let commit = bob.amend(&[], &[], &expel("alice")).unwrap().commit;
    assert!(matches!(alice.receive(&commit).unwrap(), Received::Removed { account: true, .. }));
    bob.accepted();
    assert_refused(bob.amend(&[], &[], &expel("alice")), Refused::ForeignAccount("alice".into()));
    assert_refused(bob.amend(&[], &[], &role("bob", Role::Member)), Refused::LastAdmin);
}

#[test]
fn who_is_no_admin_changes_nothing_and_all_refuse_it_alike() {
    let (mut alice, mut bob) = made(Kind::Group);
    let mut carol = Phone::new("carol", 5, &CAROL);
    let prepared = alice.let_in(&carol);
    all_receive(&prepared.commit, &mut [&mut bob]);
    carol.join(&prepared.welcome.unwrap()).unwrap();
    let no = || Refused::NotAdmin("bob".into());

    // The honest client does not even offer it.
    let dave = Phone::new("dave", 6, &CAROL);
    let dave_in =
        Amendment { enter: vec![Newcomer { username: "dave".into(), ..newcomer("carol") }], ..enter("carol") };
    assert_refused(bob.amend(&["dave"], &[dave.key_package()], &dave_in), no());
    assert_refused(bob.amend(&[], &[], &expel("carol")), no());
    assert_refused(bob.amend(&[], &[], &about(About::named("bob's"))), no());
    assert_refused(bob.amend(&[], &[], &role("bob", Role::Admin)), no());

    // The modified one does.
    let text = |text: &str| Value::Text(text.to_owned());
    type Alteration = Box<dyn FnOnce(&mut Vec<Value>)>;
    let about_field = |place: usize, value: Value| -> Alteration {
        Box::new(move |rules| rules[4].as_array_mut().unwrap()[place] = value)
    };
    let role_of = |place: usize, role: u8| -> Alteration {
        Box::new(move |rules| rules[2].as_array_mut().unwrap()[place].as_array_mut().unwrap()[4] = role.into())
    };
    let alterations: Vec<(&str, Alteration, Refused)> = vec![
        ("the name", about_field(0, text("bob's")), no()),
        ("the topic", about_field(1, text("bob")), no()),
        ("the history", about_field(2, 10.into()), no()),
        ("who is barred", about_field(3, Value::Array(vec![text("eve")])), no()),
        ("the own role", role_of(1, 1), no()),
        ("another's role", role_of(2, 1), no()),
        ("the admin's role", role_of(0, 0), Refused::Rules),
        ("an account less", Box::new(|rules| drop(rules[2].as_array_mut().unwrap().remove(2))), no()),
        ("another kind", Box::new(|rules| rules[1] = 2.into()), Refused::RulesChange),
        ("no words", Box::new(|rules| drop(rules.pop())), Refused::Rules),
        ("the join key", Box::new(|rules| rules[3] = Value::Bytes(vec![7; 32])), Refused::RulesChange),
        (
            "a time",
            Box::new(|rules| rules[2].as_array_mut().unwrap()[2].as_array_mut().unwrap()[6] = 0.into()),
            Refused::RulesChange,
        ),
    ];
    for (what, alteration, why) in alterations {
        println!("{what}");
        let commit = bob.raw_commit(vec![], |builder, raw| {
            builder.propose_group_context_extensions(altered(raw, alteration)).unwrap()
        });
        assert_all_refuse(&commit, &why, &mut [&mut alice, &mut carol]);
        bob.with(|group, _, _| group.commit_rejected()).unwrap();
    }
    let carols_leaf = LeafNodeIndex::new(2);
    let commit = bob.raw_commit(vec![], |builder, _| builder.propose_removals([carols_leaf]));
    assert_all_refuse(&commit, &Refused::NoList("carol".into()), &mut [&mut alice, &mut carol]);
    bob.with(|group, _, _| group.commit_rejected()).unwrap();
    // Nor does an account come in without being entered.
    let package = dave.key_package();
    let commit = bob.raw_commit(shown(&[]), |builder, raw| builder.propose_adds([unjudged(raw, &package)]));
    assert!(alice.receive(&commit).is_err() && carol.receive(&commit).is_err());
    bob.with(|group, _, _| group.commit_rejected()).unwrap();
    assert_works(&mut [&mut alice, &mut bob, &mut carol]);
}

#[test]
fn an_account_leaves_by_its_own_word_and_no_others() {
    let (mut alice, mut bob) = made(Kind::Group);
    let mut carol = Phone::new("carol", 5, &CAROL);
    let prepared = alice.let_in(&carol);
    all_receive(&prepared.commit, &mut [&mut bob]);
    carol.join(&prepared.welcome.unwrap()).unwrap();
    assert_refused(alice.wish_to_leave(), Refused::LastAdmin);

    let leave = |leave: Leave| Amendment { leave: vec![leave], ..Amendment::default() };
    let wish = carol.wish_to_leave().unwrap();
    assert_eq!(Leave::from_bytes(&wish.to_bytes().unwrap()), Some(wish.clone()));
    let alices = Leave { username: "alice".into(), ..wish.clone() };
    assert_refused(bob.amend(&[], &[], &leave(alices)), Refused::LastAdmin);
    // By another device, of an epoch that is not there yet, of one that it was not in.
    for forged in [
        Leave { device: bob.id, ..wish.clone() },
        Leave { epoch: 99, ..wish.clone() },
        Leave { epoch: 1, ..wish.clone() },
    ] {
        assert_refused(bob.amend(&[], &[], &leave(forged)), Refused::Leave);
    }
    // Bob, who is no admin, carries it out.
    let commit = bob.amend(&[], &[], &leave(wish.clone())).unwrap().commit;
    bob.accepted();
    let Received::Commit { left, removed, .. } = alice.receive(&commit).unwrap() else { panic!() };
    assert_eq!((left, removed), (vec!["carol".to_owned()], vec![carol.member()]));
    let out = Received::Removed { by: bob.member(), account: true, left: true };
    assert_eq!(carol.receive(&commit).unwrap(), out);

    // She comes back; her old word does not count.
    let prepared = alice.let_in(&carol);
    all_receive(&prepared.commit, &mut [&mut bob]);
    carol.join(&prepared.welcome.unwrap()).unwrap();
    assert_refused(bob.amend(&[], &[], &leave(wish)), Refused::Leave);
    assert_works(&mut [&mut carol, &mut alice, &mut bob]);
    // The admin may go after naming another.
    let commit = alice.amend(&[], &[], &role("carol", Role::Admin)).unwrap().commit;
    alice.accepted();
    all_receive(&commit, &mut [&mut bob, &mut carol]);
    let wish = alice.wish_to_leave().unwrap();
    let commit = bob.amend(&[], &[], &leave(wish)).unwrap().commit;
    bob.accepted();
    all_receive(&commit, &mut [&mut carol]);
    assert_works(&mut [&mut carol, &mut bob]);
}

#[test]
fn who_was_put_out_cannot_come_back_by_what_it_kept() {
    let (mut alice, mut bob) = made(Kind::Group);
    let kept = alice.prepare_update().unwrap();
    alice.accepted();
    all_receive(&kept.commit, &mut [&mut bob]);
    let key = bob.rules().join_key().clone();
    let prepared = alice.amend(&[], &[], &expel("bob")).unwrap();
    alice.accepted();
    let mut join = |sealed: &[u8]| {
        let tx = bob.db.transaction().unwrap();
        let mls = Mls::new(&tx);
        Group::join_externally(&mls, &bob.known, &bob.device, &CHAT, &key, sealed, &shown_list("bob"))
            .map(|(_, prepared)| prepared.commit)
    };
    assert!(matches!(join(&prepared.group_info.unwrap()), Err(MlsError::WrongJoinKey)));
    // Its old state of the group opens, but is of an epoch that is gone.
    let late = join(&kept.group_info.unwrap()).unwrap();
    assert!(alice.receive(&late).unwrap_err().is_fault_of_entry());
}

#[test]
fn into_a_room_members_let_anybody_in_but_who_was_put_out() {
    let (mut alice, mut bob) = made(Kind::Room);
    let mut carol = Phone::new("carol", 5, &CAROL);
    let prepared = bob.let_in(&carol);
    all_receive(&prepared.commit, &mut [&mut alice]);
    carol.join(&prepared.welcome.unwrap()).unwrap();
    assert_works(&mut [&mut carol, &mut alice, &mut bob]);
    assert_refused(bob.amend(&["carol"], &[], &enter("carol")), Refused::TakesPart("carol".into()));
    assert_refused(bob.amend(&[], &[], &expel("carol")), Refused::NotAdmin("bob".into()));
    assert_refused(alice.amend(&[], &[], &about(About::named("bees"))), Refused::RulesChange);

    let commit = alice.amend(&[], &[], &expel("carol")).unwrap().commit;
    alice.accepted();
    all_receive(&commit, &mut [&mut bob]);
    assert!(matches!(carol.receive(&commit).unwrap(), Received::Removed { account: true, .. }));
    assert_eq!(*bob.rules().join_key(), JoinKey::of_room(&CHAT));
    assert_refused(bob.amend(&["carol"], &[carol.key_package()], &enter("carol")), Refused::Barred("carol".into()));
    let prepared = alice.let_in(&carol);
    all_receive(&prepared.commit, &mut [&mut bob]);
    carol.join(&prepared.welcome.unwrap()).unwrap();
    assert!(bob.rules().about().unwrap().barred.is_empty(), "an admin lets her in again");
    assert_works(&mut [&mut carol, &mut alice, &mut bob]);
}

#[test]
fn a_guest_comes_into_a_room_by_itself_and_is_entered_by_the_next_commit() {
    let (mut alice, mut bob) = made(Kind::Room);
    let update = alice.prepare_update().unwrap();
    alice.accepted();
    all_receive(&update.commit, &mut [&mut bob]);
    let mut carol = Phone::new("carol", 5, &CAROL);
    let join = |phone: &mut Phone, list: &SignedList| {
        let tx = phone.db.transaction().unwrap();
        let key = JoinKey::of_room(&CHAT);
        let sealed = update.group_info.as_deref().unwrap();
        let (_, prepared) =
            Group::join_externally(&Mls::new(&tx), &phone.known, &phone.device, &CHAT, &key, sealed, list)?;
        tx.commit().unwrap();
        Ok::<_, MlsError>(prepared)
    };
    // Without its identity key nobody could judge it.
    assert_refused(join(&mut carol, &accounts::signed("carol")), Refused::Lists);
    let joined = join(&mut carol, &shown_list("carol")).unwrap();
    for phone in [&mut alice, &mut bob] {
        let Received::Commit { added, external, identities, .. } = phone.receive(&joined.commit).unwrap() else {
            panic!()
        };
        assert_eq!((added, external, identities), (vec![carol.member()], true, vec![("carol".into(), CAROL.public())]));
        assert!(phone.rules().participant("carol").is_none());
        let guests = phone.with(|group, _, _| group.guests()).unwrap();
        assert_eq!(guests, [carol.member()]);
    }
    assert_works(&mut [&mut carol, &mut alice, &mut bob]);

    let second = Phone::new("carol", 6, &CAROL);
    let prepared = carol.amend(&["carol"], &[second.key_package()], &enter("carol")).unwrap();
    carol.accepted();
    all_receive(&prepared.commit, &mut [&mut alice, &mut bob]);
    assert_eq!(bob.rules().participant("carol").map(|one| one.identity), Some(CAROL.public().fingerprint()));
    assert!(bob.with(|group, _, _| group.guests()).unwrap().is_empty());
    let mut second = second;
    second.join(&prepared.welcome.unwrap()).unwrap();
    assert_works(&mut [&mut bob, &mut alice, &mut carol, &mut second]);
}

#[test]
fn a_newcomer_is_not_kept_out_by_a_member_whose_identity_nobody_has_any_more() {
    struct Ended(Known, bool);
    impl waxwing_e2ee::mls::Identities for Ended {
        fn identity(&self, username: &str, fingerprint: &[u8; 32]) -> Option<waxwing_e2ee::account::IdentityPublicKey> {
            self.0.identity(username, fingerprint)
        }
        fn is_out_of_reach(&self, username: &str) -> bool {
            self.1 && username == "bob"
        }
    }
    let (mut alice, _) = made(Kind::Group);
    let carol = Phone::new("carol", 5, &CAROL);
    let welcome = alice.let_in(&carol).welcome.unwrap();
    let known = || Known(vec![ALICE.public(), CAROL.public()]);
    let mls = Mls::new(&carol.db);
    let Err(MlsError::UnknownIdentities(unknown)) = Group::join(&mls, &Ended(known(), false), &welcome) else {
        panic!("bob is not known")
    };
    assert_eq!(unknown, ["bob"]);
    Group::join(&mls, &Ended(known(), true), &welcome).unwrap();
}

/// Each wants to let somebody else in. The server takes one commit at a time, the others' were for nothing and are made anew.
#[test]
fn twenty_who_commit_at_once_take_turns_and_agree() {
    let mut alice = Phone::alice(1);
    let key = JoinKey::of_room(&CHAT);
    alice
        .create(&GroupRules::group(Kind::Room, About::named("birds"), vec![first("alice", Role::Admin)], key).unwrap());
    let name = |number: u8| format!("user{number:02}");
    let mut phones: Vec<Phone> = (2..=20).map(|number| Phone::new(&name(number), number, &CAROL)).collect();
    let amend = Amendment {
        enter: phones.iter().map(|phone| newcomer(&phone.member().username)).collect(),
        ..Amendment::default()
    };
    let names: Vec<String> = phones.iter().map(|phone| phone.member().username).collect();
    let packages: Vec<Vec<u8>> = phones.iter().map(Phone::key_package).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let welcome = alice.amend(&names, &packages, &amend).unwrap().welcome.unwrap();
    alice.accepted();
    phones.iter_mut().for_each(|phone| phone.join(&welcome).unwrap());
    phones.push(alice);

    let guests: Vec<Phone> = (21..=40).map(|number| Phone::new(&name(number), number, &CAROL)).collect();
    let mut waiting: Vec<usize> = (0..phones.len()).collect();
    while !waiting.is_empty() {
        let mut commits = Vec::new();
        for &one in &waiting {
            let guest = &guests[one];
            let who = guest.member().username;
            commits.push(phones[one].amend(&[&who], &[guest.key_package()], &enter(&who)).unwrap().commit);
        }
        // Whichever comes first.
        let turn = (waiting.len() * 7) % waiting.len().max(1);
        let winner = waiting.remove(turn);
        let commit = commits.swap_remove(turn);
        for (place, phone) in phones.iter_mut().enumerate() {
            match place == winner {
                true => phone.accepted(),
                false => assert!(matches!(phone.receive(&commit).unwrap(), Received::Commit { .. })),
            }
        }
    }
    let view = phones[0].view();
    assert!(phones.iter_mut().all(|phone| phone.view() == view));
    assert_eq!(phones[0].rules().participants().len(), 40);
    let mut all: Vec<&mut Phone> = phones.iter_mut().collect();
    assert_works(&mut all);
}
