//! Messages between members who behave.

use crate::actors::*;
use waxwing_e2ee::mls::{Group, GroupRules, Kind, Mls, MlsError, Received};

#[test]
fn two_devices_chat_both_ways() {
    let (mut alice, mut bob) = (Phone::alice(1), Phone::bob(2));
    let rules = alice_and_bob();
    alice.create(&rules);
    bob.join(&alice.add(&[bob.key_package()]).welcome.unwrap()).unwrap();

    let entry = alice.send("hello Bob");
    assert_eq!(bob.receive(&entry).unwrap(), message(&alice, "hello Bob"));
    let entry = bob.send("hello Alice");
    assert_eq!(alice.receive(&entry).unwrap(), message(&bob, "hello Alice"));
    assert_eq!(alice.view(), bob.view());
    assert_eq!(alice.members(), [alice.member(), bob.member()]);
    assert_eq!(bob.with(|group, _, _| Ok((group.epoch(), *group.id()))).unwrap(), (1, CHAT));
    assert_eq!(bob.with(|group, _, _| Ok(group.rules().clone())).unwrap(), rules);
    assert_eq!(bob.with(|group, _, _| Ok(group.join_key().clone())).unwrap(), *rules.join_key());
}

#[test]
fn a_message_is_read_once() {
    let (mut alice, _, mut bob) = trio();
    let entry = alice.send("once");
    bob.receive(&entry).unwrap();
    for _ in 0..100 {
        assert!(matches!(bob.receive(&entry), Err(MlsError::NotThisEpoch)));
    }
    assert_works(&mut [&mut alice, &mut bob]);
}

#[test]
fn ones_own_entries_are_recognised() {
    let (mut alice, ..) = trio();
    let entry = alice.send("to myself");
    assert_eq!(alice.receive(&entry).unwrap(), Received::Own);
    let commit = alice.prepare_update().unwrap().commit;
    // Only the server's answer says whether it was accepted.
    assert_eq!(alice.receive(&commit).unwrap(), Received::Own);
    assert_eq!(alice.with(|group, _, _| Ok(group.epoch())).unwrap(), 1);
}

#[test]
fn a_gap_is_bridged_but_nothing_comes_late() {
    let (mut alice, _, mut bob) = trio();
    let refused_by_the_server = alice.send("lost");
    let next = alice.send("next");
    assert_eq!(bob.receive(&next).unwrap(), message(&alice, "next"));
    assert!(matches!(bob.receive(&refused_by_the_server), Err(MlsError::NotThisEpoch)));
    assert_works(&mut [&mut alice, &mut bob]);
}

#[test]
fn a_message_of_another_epoch_is_skipped() {
    let (mut alice, mut laptop, mut bob) = trio();
    let stale = bob.send("written before the commit");
    let commit = alice.update();
    assert!(matches!(laptop.receive(&commit).unwrap(), Received::Commit { .. }));
    let error = laptop.receive(&stale).unwrap_err();
    assert!(matches!(error, MlsError::NotThisEpoch));
    assert!(error.is_fault_of_entry());
    bob.receive(&commit).unwrap();
    assert_works(&mut [&mut alice, &mut laptop, &mut bob]);
}

#[test]
fn garbage_and_other_groups_entries_are_skipped() {
    let (mut alice, _, mut bob) = trio();
    let entry = alice.send("hello");
    for length in [0, 1, 7, entry.len() / 2, entry.len() - 1] {
        assert!(bob.receive(&entry[..length]).unwrap_err().is_fault_of_entry(), "{length}");
    }
    for at in 0..entry.len() {
        let mut flipped = entry.clone();
        flipped[at] ^= 1;
        // A flipped bit must never yield a message; at most it names us as the sender.
        match bob.receive(&flipped) {
            Ok(received) => assert_eq!(received, Received::Own),
            Err(error) => assert!(error.is_fault_of_entry(), "{at}: {error}"),
        }
    }
    let package = bob.key_package();
    assert!(matches!(bob.receive(&package), Err(MlsError::Malformed)));
    assert_eq!(bob.receive(&entry).unwrap(), message(&alice, "hello"));
}

#[test]
fn one_transaction_takes_a_page_with_a_bad_entry_in_it() {
    let (mut alice, _, mut bob) = trio();
    let mut page = vec![alice.send("one"), b"garbage".to_vec(), alice.send("two"), alice.send("three")];
    page.insert(2, page[0].clone());
    let texts = bob
        .with(|group, _, known| {
            let mut texts = Vec::new();
            for entry in &page {
                match group.receive(known, entry) {
                    Ok(Received::Message { body, .. }) => texts.push(String::from_utf8(body.to_vec()).unwrap()),
                    Ok(other) => panic!("{other:?}"),
                    Err(error) if error.is_fault_of_entry() => texts.push("?".to_owned()),
                    Err(error) => return Err(error),
                }
            }
            Ok(texts)
        })
        .unwrap();
    assert_eq!(texts, ["one", "?", "?", "two", "three"]);
    assert_works(&mut [&mut alice, &mut bob]);
}

#[test]
fn the_loser_of_a_race_takes_the_winners_commit_and_tries_again() {
    let (mut alice, mut laptop, mut bob) = trio();
    let winner = alice.prepare_update().unwrap().commit;
    let _loser = bob.prepare_update().unwrap();
    alice.accepted();
    laptop.receive(&winner).unwrap();
    bob.receive(&winner).unwrap();
    assert!(!bob.with(|group, _, _| Ok(group.has_pending_commit())).unwrap());
    let again = bob.update();
    for phone in [&mut alice, &mut laptop] {
        assert_eq!(phone.receive(&again).unwrap(), committed(&bob, &[], &[]));
    }
    assert_works(&mut [&mut bob, &mut alice, &mut laptop]);
}

#[test]
fn a_pending_commit_survives_a_restart_and_can_be_forgotten() {
    let (mut alice, mut laptop, mut bob) = trio();
    let first = alice.prepare_update().unwrap();
    // Each call loads the group anew, as after a restart.
    assert!(matches!(alice.prepare_update(), Err(MlsError::CommitPending)));
    let entry = alice.send("meanwhile");
    bob.receive(&entry).unwrap();
    alice.with(|group, _, _| group.commit_rejected()).unwrap();
    let second = alice.prepare_update().unwrap();
    assert_ne!(first, second);
    alice.accepted();
    bob.receive(&second.commit).unwrap();
    laptop.receive(&second.commit).unwrap();
    assert_works(&mut [&mut alice, &mut bob, &mut laptop]);
}

#[test]
fn views_agree_within_an_epoch_and_change_with_it() {
    let (mut alice, _, mut bob) = trio();
    let before = alice.view();
    assert_eq!(before, bob.view());
    let commit = alice.update();
    assert_ne!(alice.view(), before);
    bob.receive(&commit).unwrap();
    assert_eq!(alice.view(), bob.view());
}

#[test]
fn a_signal_opens_for_members_of_its_epoch_only() {
    let (mut alice, _, mut bob) = trio();
    let sealed = alice.with(|group, _, _| group.signals()).unwrap().seal("alice", b"typing", &mut rng());
    let signals = bob.with(|group, _, _| group.signals()).unwrap();
    assert!(signals.members().is_sorted() && signals.members().contains(&"bob".to_owned()));
    let signal = signals.open(&sealed).unwrap();
    assert_eq!((signal.from.as_str(), signal.body.as_slice()), ("alice", &b"typing"[..]));
    let mut damaged = sealed.clone();
    damaged[20] ^= 1;
    for garbage in [&damaged[..], &sealed[..40], b""] {
        assert_eq!(signals.open(garbage), None);
    }
    // Nobody speaks for somebody who is not in the group.
    assert_eq!(signals.open(&signals.seal("mallory", b"typing", &mut rng())), None);
    let commit = alice.update();
    bob.receive(&commit).unwrap();
    assert_eq!(bob.with(|group, _, _| group.signals()).unwrap().open(&sealed), None);
}

#[test]
fn notes_to_self_are_a_group_of_ones_own_devices() {
    let (mut phone, mut laptop) = (Phone::alice(1), Phone::alice(2));
    let rules = GroupRules::new(Kind::Direct, vec![participant("alice", &ALICE)], join_key()).unwrap();
    phone.create(&rules);
    phone.send("alone");
    laptop.join(&phone.add(&[laptop.key_package()]).welcome.unwrap()).unwrap();
    assert_works(&mut [&mut phone, &mut laptop]);
}

#[test]
fn a_deleted_chat_is_gone_and_can_be_made_again() {
    let mut alice = Phone::alice(1);
    alice.create(&alice_and_bob());
    let again = Group::create(&Mls::new(&alice.db), &alice.device, &CHAT, &alice_and_bob()).map(drop);
    assert!(again.is_err_and(|error| !error.is_fault_of_entry()));
    Group::load(&Mls::new(&alice.db), &CHAT).unwrap().unwrap().delete().unwrap();
    assert!(!alice.in_chat());
    alice.create(&alice_and_bob());
}
