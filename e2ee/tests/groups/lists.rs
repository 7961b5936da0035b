//! The signed device lists decide who is in a group; whoever is in may see to it.

use crate::actors::*;
use crate::gate::assert_all_refuse;
use crate::rules::{altered, set_list};
use openmls::prelude::LeafNodeIndex;
use waxwing_e2ee::account::{DeviceList, DeviceListError};
use waxwing_e2ee::mls::{MlsError, Outdated, Refused, SignedList};

fn outdated(phone: &mut Phone, username: &str) -> Outdated {
    let list = accounts::newest(username);
    phone.with(|group, _, _| group.outdated(&list)).unwrap()
}

#[test]
fn any_member_brings_in_a_listed_device_and_removes_one_that_is_not() {
    let (mut alice, mut laptop, mut bob) = trio();
    assert_eq!(outdated(&mut bob, "alice"), Outdated::default());
    let mut tablet = Phone::alice(4);
    accounts::strike(&laptop.member());
    let due = Outdated { add: vec![tablet.id], remove: vec![laptop.member()], raise: true, stale: false };
    assert_eq!(outdated(&mut bob, "alice"), due);
    assert!(due.is_due());
    let prepared = bob.prepare(&[tablet.key_package()], &due.remove).unwrap();
    assert_eq!(prepared.added, [tablet.member()]);
    bob.accepted();
    let expected = commit_with(&bob, &[&tablet], &[&laptop], &["alice"]);
    assert_eq!(alice.receive(&prepared.commit).unwrap(), expected);
    assert_eq!(laptop.receive(&prepared.commit).unwrap(), removed(&bob));
    tablet.join(&prepared.welcome.unwrap()).unwrap();
    for phone in [&mut alice, &mut bob, &mut tablet] {
        assert_eq!(outdated(phone, "alice"), Outdated::default());
    }
    assert_works(&mut [&mut tablet, &mut alice, &mut bob]);
}

#[test]
fn a_client_with_an_old_list_is_told_to_fetch_the_newest() {
    let (mut alice, _, mut bob) = trio();
    let old = accounts::newest("alice");
    let mut tablet = Phone::alice(4);
    let commit = alice.add(&[tablet.key_package()]);
    bob.receive(&commit.commit).unwrap();
    tablet.join(&commit.welcome.unwrap()).unwrap();
    let answer = bob.with(|group, _, _| group.outdated(&old)).unwrap();
    assert_eq!(answer, Outdated { stale: true, ..Outdated::default() });
    // The same for a list that the server may show to some: of this version, but another one.
    let mut fork = accounts::newest("alice");
    fork.hash = [0; 32];
    assert!(bob.with(|group, _, _| group.outdated(&fork)).unwrap().stale);
    // Of who does not take part nothing is due.
    Phone::new("carol", 8, &CAROL);
    assert_eq!(outdated(&mut bob, "carol"), Outdated::default());
}

#[test]
fn a_device_is_added_only_with_a_list_that_names_it_and_its_key() {
    let (mut alice, mut laptop, mut bob) = trio();
    let old = accounts::signed("alice");
    let unlisted = Phone::unlisted("alice", 5, &ALICE);
    let tablet = Phone::alice(4);
    // It has the id of the listed tablet and a genuine credential, but another key.
    let twin = Phone::unlisted("alice", 4, &ALICE);
    let (list, newest) = (accounts::signed("alice"), participant("alice", &ALICE));
    let bobs = accounts::signed("bob");
    let unlisted_alice = Refused::Unlisted("alice".to_owned());
    for (phone, shown_lists, why) in [
        (&unlisted, vec![list.clone()], unlisted_alice.clone()),
        (&twin, vec![list.clone()], unlisted_alice.clone()),
        (&tablet, vec![old], unlisted_alice),
        (&tablet, vec![], Refused::NoList("alice".to_owned())),
        (&tablet, vec![bobs], Refused::NoList("alice".to_owned())),
    ] {
        let package = phone.key_package();
        assert_refused(bob.prepare_with(&shown_lists, std::slice::from_ref(&package), &[]), why.clone());
        let raise = shown_lists.first() == Some(&list);
        let authenticated = if shown_lists.is_empty() { vec![] } else { shown(&shown_lists) };
        let commit = bob.raw_commit(authenticated, |builder, raw| {
            let builder = builder.propose_adds([unjudged(raw, &package)]);
            match raise {
                true => builder
                    .propose_group_context_extensions(altered(raw, |rules| set_list(rules, "alice", &newest)))
                    .unwrap(),
                false => builder,
            }
        });
        assert_all_refuse(&commit, &why, &mut [&mut alice, &mut laptop]);
        bob.with(|group, _, _| group.commit_rejected()).unwrap();
    }
    assert_works(&mut [&mut bob, &mut alice, &mut laptop]);
}

#[test]
fn a_device_is_removed_only_if_its_account_does_not_list_it() {
    let (mut alice, mut laptop, mut bob) = trio();
    let list = accounts::signed("alice");
    let listed = Refused::Listed("alice".to_owned());
    assert_refused(bob.prepare_with(std::slice::from_ref(&list), &[], &[laptop.member()]), listed.clone());
    assert_refused(bob.prepare_with(&[], &[], &[laptop.member()]), Refused::NoList("alice".to_owned()));
    for (authenticated, why) in [(shown(&[list]), listed), (vec![], Refused::NoList("alice".to_owned()))] {
        let commit = bob.raw_commit(authenticated, |builder, _| builder.propose_removals([LeafNodeIndex::new(0)]));
        assert_all_refuse(&commit, &why, &mut [&mut laptop, &mut alice]);
        bob.with(|group, _, _| group.commit_rejected()).unwrap();
    }
}

#[test]
fn who_shows_a_list_leaves_nobody_in_whom_it_does_not_name() {
    let (mut alice, mut laptop, mut bob) = trio();
    accounts::strike(&laptop.member());
    let unlisted = Refused::Unlisted("alice".to_owned());
    assert_refused(bob.prepare(&[], &[]), unlisted.clone());
    let (list, newest) = (accounts::signed("alice"), participant("alice", &ALICE));
    let raise = |phone: &mut Phone| {
        phone.raw_commit(shown(std::slice::from_ref(&list)), |builder, raw| {
            let raised = altered(raw, |rules| set_list(rules, "alice", &newest));
            builder.propose_group_context_extensions(raised).unwrap()
        })
    };
    assert_all_refuse(&raise(&mut bob), &unlisted, &mut [&mut alice, &mut laptop]);
    // Nor does the struck device get away with it by raising the list itself.
    assert_all_refuse(&raise(&mut laptop), &unlisted, &mut [&mut alice, bob.loses_its_commit()]);
    // And it cannot remove itself.
    let itself = laptop.member();
    assert!(matches!(laptop.loses_its_commit().prepare(&[], &[itself]), Err(MlsError::Mls(_))));
}

#[test]
fn a_revoked_device_does_not_come_back_with_an_old_list() {
    let (mut alice, mut laptop, mut bob) = trio();
    let old = accounts::signed("alice");
    let commit = alice.remove(&[laptop.member()]);
    bob.receive(&commit).unwrap();
    laptop.receive(&commit).unwrap();
    // Bob's client is modified, and would have the laptop back.
    let package = laptop.key_package();
    let why = Refused::OldList("alice".to_owned());
    assert_refused(bob.prepare_with(std::slice::from_ref(&old), std::slice::from_ref(&package), &[]), why.clone());
    let commit = bob.raw_commit(shown(&[old]), |builder, raw| builder.propose_adds([unjudged(raw, &package)]));
    assert_all_refuse(&commit, &why, &mut [&mut alice]);
    assert_works(&mut [&mut alice, bob.loses_its_commit()]);
}

#[test]
fn lists_that_are_not_the_accounts_are_refused() {
    let (mut alice, mut laptop, mut bob) = trio();
    let newest = accounts::newest("alice");
    let sign = |list: &DeviceList, key| SignedList {
        username: "alice".to_owned(),
        list: list.sign(key, &mut rng()),
        rotations: vec![],
        identity: None,
    };
    let next = newest.list.successor(&newest.hash, newest.list.devices.clone());
    let another = DeviceList { previous: [7; 32], ..newest.list.clone() };
    let off_the_chain = newest.list.successor(&[7; 32], newest.list.devices.clone());
    let invalid = newest.list.successor(&newest.hash, vec![]);
    Phone::new("carol", 8, &CAROL);
    let forked = Refused::ForkedList("alice".to_owned());
    let mut garbled = accounts::signed("alice");
    garbled.list.pop();
    for (list, why) in [
        (sign(&next, &BOB), Refused::DeviceList(DeviceListError::Signature)),
        (sign(&another, &ALICE), forked.clone()),
        (sign(&off_the_chain, &ALICE), forked),
        (sign(&invalid, &ALICE), Refused::DeviceList(DeviceListError::Invalid)),
        (garbled, Refused::DeviceList(DeviceListError::Malformed)),
        (
            SignedList { username: "alice".to_owned(), ..accounts::signed("bob") },
            Refused::DeviceList(DeviceListError::Signature),
        ),
        (accounts::signed("carol"), Refused::ForeignAccount("carol".to_owned())),
    ] {
        assert_refused(bob.prepare_with(std::slice::from_ref(&list), &[], &[]), why.clone());
        let commit = bob.raw_commit(shown(&[list]), |builder, _| builder.force_self_update(true));
        assert_all_refuse(&commit, &why, &mut [&mut alice, &mut laptop]);
        bob.with(|group, _, _| group.commit_rejected()).unwrap();
    }
    // Versions in between may have been missed.
    accounts::revise("alice", |_| {});
    accounts::revise("alice", |_| {});
    let prepared = bob.prepare(&[], &[]).unwrap();
    bob.accepted();
    assert_eq!(alice.receive(&prepared.commit).unwrap(), commit_with(&bob, &[], &[], &["alice"]));
}

#[test]
fn authenticated_data_that_is_no_lists_is_refused() {
    let (mut alice, mut laptop, mut bob) = trio();
    let list = accounts::signed("alice");
    for authenticated in [
        b"hello".to_vec(),
        shown(&[]),
        shown(&[list.clone(), list.clone()]),
        shown(&[accounts::signed("bob"), list.clone()]),
        [&shown(&[list])[..], &[0]].concat(),
    ] {
        let commit = bob.raw_commit(authenticated, |builder, _| builder.force_self_update(true));
        assert_all_refuse(&commit, &Refused::Lists, &mut [&mut alice, &mut laptop]);
        bob.with(|group, _, _| group.commit_rejected()).unwrap();
    }
}

#[test]
fn a_device_that_lost_its_state_is_replaced_in_one_commit() {
    let (mut alice, mut laptop, mut bob) = trio();
    let before = laptop.member();
    let package = laptop.key_package();
    let prepared = bob.prepare(&[package], std::slice::from_ref(&before)).unwrap();
    bob.accepted();
    assert_eq!(alice.receive(&prepared.commit).unwrap(), committed(&bob, &[&laptop], &[&laptop]));
    // What is left of the old state goes, whether or not it can still read the commit.
    assert_eq!(laptop.receive(&prepared.commit).unwrap(), removed(&bob));
    laptop.join(&prepared.welcome.unwrap()).unwrap();
    assert_eq!(alice.members().len(), 3);
    assert_works(&mut [&mut laptop, &mut alice, &mut bob]);
}

#[test]
fn two_members_see_to_the_same_list_and_one_of_them_is_enough() {
    let (mut alice, laptop, mut bob) = trio();
    let mut tablet = Phone::alice(4);
    accounts::strike(&laptop.member());
    let alices = alice.prepare(&[tablet.key_package()], &[laptop.member()]).unwrap();
    let _bobs = bob.prepare(&[tablet.key_package()], &[laptop.member()]).unwrap();
    // The server takes the first.
    alice.accepted();
    bob.receive(&alices.commit).unwrap();
    tablet.join(&alices.welcome.unwrap()).unwrap();
    assert!(!bob.with(|group, _, _| Ok(group.has_pending_commit())).unwrap());
    assert!(!outdated(&mut bob, "alice").is_due());
    assert_works(&mut [&mut bob, &mut alice, &mut tablet]);
}

#[test]
fn two_members_see_to_different_lists_one_after_the_other() {
    let (mut alice, mut laptop, mut bob) = trio();
    let (mut tablet, mut desktop) = (Phone::alice(4), Phone::bob(5));
    let first = alice.prepare_with(&[accounts::signed("alice")], &[tablet.key_package()], &[]).unwrap();
    let _lost = bob.prepare_with(&[accounts::signed("bob")], &[desktop.key_package()], &[]).unwrap();
    alice.accepted();
    for phone in [&mut laptop, &mut bob] {
        assert_eq!(phone.receive(&first.commit).unwrap(), commit_with(&alice, &[&tablet], &[], &["alice"]));
    }
    tablet.join(&first.welcome.unwrap()).unwrap();
    assert_eq!(outdated(&mut bob, "bob").add, [desktop.id]);
    let second = bob.prepare_with(&[accounts::signed("bob")], &[desktop.key_package()], &[]).unwrap();
    bob.accepted();
    for phone in [&mut alice, &mut laptop, &mut tablet] {
        assert_eq!(phone.receive(&second.commit).unwrap(), commit_with(&bob, &[&desktop], &[], &["bob"]));
    }
    desktop.join(&second.welcome.unwrap()).unwrap();
    assert_works(&mut [&mut desktop, &mut alice, &mut laptop, &mut bob, &mut tablet]);
}

#[test]
fn what_is_refused_or_rolled_back_leaves_lists_and_rules_as_they_were() {
    let (mut alice, mut laptop, mut bob) = trio();
    let before = bob.with(|group, _, _| Ok(group.rules().clone())).unwrap();
    let tablet = Phone::alice(4);
    let (list, good, bad) = (accounts::signed("alice"), tablet.key_package(), b"no key package".to_vec());
    let lists = [list];
    let outcome = bob.with(|group, device, known| {
        use waxwing_e2ee::mls::Change;
        let change = Change { lists: &lists, add: &[good.clone(), bad.clone()], ..Change::default() };
        assert!(matches!(group.prepare(device, known, change), Err(MlsError::Malformed)));
        let stray = Change { lists: &lists, remove: &[device.member()], ..Change::default() };
        assert!(group.prepare(device, known, stray).is_err());
        // The group goes on, without the lists of what failed.
        assert!(!group.has_pending_commit());
        assert_eq!(*group.rules(), before);
        group.prepare(device, known, Change { update: true, ..Change::default() })
    });
    let update = outcome.unwrap();
    bob.accepted();
    for phone in [&mut alice, &mut laptop] {
        assert_eq!(phone.receive(&update.commit).unwrap(), committed(&bob, &[], &[]));
    }
    let prepared = alice.prepare(&[good], &[]).unwrap();
    let crash = alice.with(|group, _, _| {
        group.commit_accepted()?;
        assert_ne!(*group.rules(), before, "within the transaction the new rules hold");
        Err::<(), _>(MlsError::Malformed)
    });
    assert!(crash.is_err());
    assert_eq!(alice.with(|group, _, _| Ok(group.rules().clone())).unwrap(), before);
    alice.accepted();
    bob.receive(&prepared.commit).unwrap();
    laptop.receive(&prepared.commit).unwrap();
    let rules = |phone: &mut Phone| phone.with(|group, _, _| Ok(group.rules().clone())).unwrap();
    assert_eq!(rules(&mut bob), rules(&mut alice));
    assert_works(&mut [&mut bob, &mut alice, &mut laptop]);
}

impl Phone {
    /// The server refused it.
    fn loses_its_commit(&mut self) -> &mut Self {
        self.with(|group, _, _| group.commit_rejected()).unwrap();
        self
    }
}
