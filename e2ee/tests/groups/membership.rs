//! Devices that come and go.

use crate::actors::*;
use waxwing_e2ee::mls::{Group, Mls, MlsError, Refused, key_package};

#[test]
fn a_device_that_is_added_later_reads_only_what_follows() {
    let (mut alice, mut laptop, mut bob) = trio();
    let before = bob.send("before");
    let mut tablet = Phone::alice(4);
    let package = tablet.key_package();
    let prepared = laptop.add(&[package]);
    let expected = commit_with(&laptop, &[&tablet], &[], &["alice"]);
    for phone in [&mut alice, &mut bob] {
        assert_eq!(phone.receive(&prepared.commit).unwrap(), expected);
    }
    tablet.join(&prepared.welcome.unwrap()).unwrap();
    for earlier in [before, prepared.commit] {
        assert!(matches!(tablet.receive(&earlier), Err(MlsError::NotThisEpoch)));
    }
    assert_works(&mut [&mut bob, &mut alice, &mut laptop, &mut tablet]);
}

#[test]
fn a_removed_device_reads_nothing_that_follows() {
    let (mut alice, mut laptop, mut bob) = trio();
    let lost = laptop.member();
    let commit = alice.remove(std::slice::from_ref(&lost));
    assert_eq!(bob.receive(&commit).unwrap(), commit_with(&alice, &[], &[&laptop], &["alice"]));
    // The lost device pretends not to have seen the commit.
    let secret = alice.send("without the laptop");
    assert!(matches!(laptop.receive(&secret), Err(MlsError::NotThisEpoch)));
    // Whatever it still sends is of an epoch that is gone.
    let forged = laptop.send("still here?");
    assert!(matches!(bob.receive(&forged), Err(MlsError::NotThisEpoch)));
    assert_eq!(bob.receive(&secret).unwrap(), message(&alice, "without the laptop"));
    // An honest one learns it and forgets the chat, so that it can be invited again.
    assert_eq!(laptop.receive(&commit).unwrap(), removed(&alice));
    assert!(!laptop.in_chat());
    accounts::enter("alice", &ALICE, &laptop);
    let prepared = alice.add(&[laptop.key_package()]);
    bob.receive(&prepared.commit).unwrap();
    laptop.join(&prepared.welcome.unwrap()).unwrap();
    assert_works(&mut [&mut laptop, &mut alice, &mut bob]);
}

#[test]
fn the_other_account_can_be_brought_in_after_ones_own_devices() {
    let (mut alice, mut laptop, mut bob) = (Phone::alice(1), Phone::alice(2), Phone::bob(3));
    alice.create(&alice_and_bob());
    laptop.join(&alice.add(&[laptop.key_package()]).welcome.unwrap()).unwrap();
    let prepared = laptop.add(&[bob.key_package()]);
    alice.receive(&prepared.commit).unwrap();
    bob.join(&prepared.welcome.unwrap()).unwrap();
    assert_works(&mut [&mut alice, &mut laptop, &mut bob]);
}

#[test]
fn a_device_that_is_not_there_cannot_be_removed() {
    let (mut alice, ..) = trio();
    let stranger = Phone::alice(9).member();
    assert_refused(alice.prepare(&[], &[stranger]), Refused::NoSuchMember);
}

#[test]
fn a_welcome_for_another_device_opens_nothing() {
    let (mut alice, ..) = trio();
    let (mut tablet, mut eavesdropper) = (Phone::alice(4), Phone::bob(5));
    eavesdropper.key_package();
    let welcome = alice.add(&[tablet.key_package()]).welcome.unwrap();
    let error = eavesdropper.join(&welcome).unwrap_err();
    assert!(matches!(error, MlsError::NotThisEpoch));
    assert!(error.is_fault_of_entry());
    tablet.join(&welcome).unwrap();
    for garbage in [&welcome[..welcome.len() / 2], b"", b"welcome"] {
        assert!(matches!(eavesdropper.join(garbage), Err(MlsError::Malformed)));
    }
}

#[test]
fn a_key_package_is_good_for_one_welcome_and_the_last_resort_for_many() {
    let mut bob = Phone::bob(2);
    let invite = |package: &Vec<u8>| {
        let mut alice = Phone::alice(1);
        alice.create(&alice_and_bob());
        alice.add(std::slice::from_ref(package)).welcome.unwrap()
    };
    let leave = |bob: &Phone| Group::load(&Mls::new(&bob.db), &CHAT).unwrap().unwrap().delete().unwrap();
    let once = bob.key_package();
    bob.join(&invite(&once)).unwrap();
    leave(&bob);
    assert!(matches!(bob.join(&invite(&once)), Err(MlsError::NotThisEpoch)));

    let last_resort = key_package(&Mls::new(&bob.db), &bob.device, true).unwrap();
    for _ in 0..2 {
        bob.join(&invite(&last_resort)).unwrap();
        leave(&bob);
    }
}

#[test]
fn a_second_welcome_to_the_same_chat_costs_nothing() {
    let (mut alice, _, mut bob) = trio();
    let mut other = Phone::alice(7);
    other.create(&alice_and_bob());
    let package = bob.key_package();
    let welcome = other.add(std::slice::from_ref(&package)).welcome.unwrap();
    assert!(bob.join(&welcome).unwrap_err().is_fault_of_entry());
    assert_works(&mut [&mut alice, &mut bob]);
    // The key package was not used up: once the losing chat is gone, the welcome works.
    Group::load(&Mls::new(&bob.db), &CHAT).unwrap().unwrap().delete().unwrap();
    bob.join(&welcome).unwrap();
    assert_works(&mut [&mut other, &mut bob]);
}

#[test]
fn an_identity_that_is_not_at_hand_is_fetched_and_the_entry_read_again() {
    let mut bob = Phone::bob(2);
    bob.known = Known(vec![BOB.public()]);
    let mut alice = Phone::alice(1);
    alice.create(&alice_and_bob());
    let welcome = alice.add(&[bob.key_package()]).welcome.unwrap();
    let error = bob.join(&welcome).unwrap_err();
    assert!(!error.is_fault_of_entry());
    let MlsError::UnknownIdentity { username, fingerprint } = error else { panic!("{error}") };
    assert_eq!((username.as_str(), fingerprint), ("alice", ALICE.public().fingerprint()));
    bob.known.0.push(ALICE.public());
    bob.join(&welcome).unwrap();
    assert_works(&mut [&mut alice, &mut bob]);
}
