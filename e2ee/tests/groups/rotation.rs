//! An account goes on under a new identity, and its chats go on with it.

use crate::actors::*;
use crate::gate::assert_all_refuse;
use std::sync::LazyLock;
use waxwing_e2ee::account::{IdentityKey, credential, rotation};
use waxwing_e2ee::mls::{Device, Mls, MlsError, Received, Refused, SignatureKey, SignedList};

static NEW_ALICE: LazyLock<IdentityKey> = LazyLock::new(|| IdentityKey::generate(&mut rng()));
static NEWEST_ALICE: LazyLock<IdentityKey> = LazyLock::new(|| IdentityKey::generate(&mut rng()));

impl Phone {
    /// What a device does once its account has a new identity.
    fn renew(&mut self, identity: &IdentityKey) {
        self.known.0.push(identity.public());
        let certificate = credential::certify(identity, &self.device.username, &self.id, &self.public, &mut rng());
        let key = SignatureKey::load(&Mls::new(&self.db), &self.public).unwrap().unwrap();
        self.device = Device::new(key, &certificate).unwrap();
    }
}

fn refused() -> Refused {
    Refused::Rotation("alice".to_owned())
}

/// Takes the proven identity of a received commit, as a client does.
fn take(phone: &mut Phone, received: Received) {
    let Received::Commit { lists, .. } = received else { panic!("{received:?}") };
    for list in lists {
        let old = phone.known.0.iter().find(|key| list.verify(key).is_ok()).expect("a known identity vouches").clone();
        phone.known.0.push(list.verify(&old).unwrap().0);
    }
}

#[test]
fn a_chat_goes_on_under_the_new_identity() {
    let (mut alice, mut laptop, mut bob) = trio();
    accounts::rotate("alice", &NEW_ALICE);
    // Bob's own client enters it: he needs no device of Alice for that, and no key but the one he knows.
    let commit = bob.prepare(&[], &[]).unwrap().commit;
    bob.accepted();
    bob.known.0.push(NEW_ALICE.public());
    for phone in [&mut alice, &mut laptop] {
        let received = phone.receive(&commit).unwrap();
        assert_eq!(received, commit_with(&bob, &[], &[], &["alice"]));
        take(phone, received);
        let entry = phone.with(|group, _, _| Ok(group.rules().participant("alice").cloned())).unwrap().unwrap();
        assert_eq!(entry.identity, NEW_ALICE.public().fingerprint());
        assert_eq!(entry.former, [ALICE.public().fingerprint()]);
    }
    assert_works(&mut [&mut alice, &mut laptop, &mut bob]);

    // Leaves that the old identity vouched for stay, until their devices show the new credential.
    alice.renew(&NEW_ALICE);
    let update = alice.update();
    for phone in [&mut laptop, &mut bob] {
        assert!(matches!(phone.receive(&update).unwrap(), Received::Commit { .. }));
    }
    let identities: Vec<_> = bob.members().into_iter().map(|member| member.identity).collect();
    let [old, new] = [&*ALICE, &*NEW_ALICE].map(|key| key.public().fingerprint());
    assert_eq!(identities, [new, old, BOB.public().fingerprint()]);

    // A newcomer accepts both, and so do the others a device under either.
    let (mut tablet, mut desktop) = (Phone::unlisted("alice", 4, &NEW_ALICE), Phone::bob(5));
    accounts::enter("alice", &NEW_ALICE, &tablet);
    tablet.known.0.push(NEW_ALICE.public());
    let prepared = laptop.add(&[tablet.key_package(), desktop.key_package()]);
    for phone in [&mut alice, &mut bob] {
        phone.receive(&prepared.commit).unwrap();
    }
    tablet.join(prepared.welcome.as_ref().unwrap()).unwrap();
    let error = desktop.join(prepared.welcome.as_ref().unwrap()).unwrap_err();
    assert!(matches!(error, MlsError::UnknownIdentity { fingerprint, .. } if fingerprint == new), "{error}");
    desktop.known.0.push(NEW_ALICE.public());
    desktop.join(prepared.welcome.as_ref().unwrap()).unwrap();
    assert_works(&mut [&mut tablet, &mut desktop, &mut alice, &mut laptop, &mut bob]);
}

#[test]
fn a_device_under_the_new_identity_comes_in_with_the_rotation() {
    let (mut alice, laptop, mut bob) = trio();
    accounts::rotate("alice", &NEW_ALICE);
    let mut tablet = Phone::unlisted("alice", 4, &NEW_ALICE);
    tablet.known.0.push(NEW_ALICE.public());
    accounts::enter("alice", &NEW_ALICE, &tablet);
    accounts::strike(&laptop.member());
    let prepared = bob.prepare(&[tablet.key_package()], &[laptop.member()]).unwrap();
    bob.accepted();
    bob.known.0.push(NEW_ALICE.public());
    let received = alice.receive(&prepared.commit).unwrap();
    take(&mut alice, received);
    tablet.join(&prepared.welcome.unwrap()).unwrap();
    assert_works(&mut [&mut tablet, &mut alice, &mut bob]);
}

#[test]
fn statements_that_the_group_has_seen_are_not_shown_again() {
    let (mut alice, mut laptop, mut bob) = trio();
    accounts::rotate("alice", &NEW_ALICE);
    let first = laptop.prepare(&[], &[]).unwrap().commit;
    laptop.accepted();
    accounts::rotate("alice", &NEWEST_ALICE);
    for phone in [&mut alice, &mut bob] {
        let received = phone.receive(&first).unwrap();
        take(phone, received);
    }
    assert_eq!(accounts::signed("alice").rotations.len(), 2);
    let second = bob.prepare(&[], &[]).unwrap().commit;
    bob.accepted();
    laptop.known.0.push(NEW_ALICE.public());
    for phone in [&mut alice, &mut laptop] {
        let received = phone.receive(&second).unwrap();
        let Received::Commit { lists, .. } = &received else { panic!("{received:?}") };
        assert_eq!(lists[0].rotations.len(), 1);
        take(phone, received);
    }
    assert_works(&mut [&mut bob, &mut alice, &mut laptop]);
}

#[test]
fn two_rotations_are_entered_by_one_commit() {
    let (mut alice, mut laptop, mut bob) = trio();
    accounts::rotate("alice", &NEW_ALICE);
    accounts::rotate("alice", &NEWEST_ALICE);
    let commit = bob.prepare(&[], &[]).unwrap().commit;
    bob.accepted();
    for phone in [&mut alice, &mut laptop] {
        let received = phone.receive(&commit).unwrap();
        take(phone, received);
        let entry = phone.with(|group, _, _| Ok(group.rules().participant("alice").cloned())).unwrap().unwrap();
        assert_eq!(entry.identity, NEWEST_ALICE.public().fingerprint());
        assert_eq!(entry.former, [&*ALICE, &*NEW_ALICE].map(|key| key.public().fingerprint()));
    }
    assert_works(&mut [&mut alice, &mut laptop, &mut bob]);
}

#[test]
fn rotations_that_nobody_vouched_for_are_refused() {
    let (mut alice, mut laptop, mut bob) = trio();
    let same_list = accounts::signed("alice");
    let state =
        |old: &IdentityKey, new: &IdentityKey, username| rotation::sign(old, username, &new.public(), &mut rng());
    let genuine = state(&ALICE, &NEW_ALICE, "alice");
    let next = accounts::newest("alice")
        .list
        .successor(&accounts::newest("alice").hash, accounts::newest("alice").list.devices);
    let list = |key: &IdentityKey, rotations: &[&Vec<u8>]| SignedList {
        username: "alice".to_owned(),
        list: next.sign(key, &mut rng()),
        rotations: rotations.iter().map(|statement| (*statement).clone()).collect(),
        identity: None,
    };
    let same = SignedList {
        list: accounts::newest("alice").list.sign(&NEW_ALICE, &mut rng()),
        rotations: vec![genuine.clone()],
        ..same_list
    };
    let back = state(&NEW_ALICE, &ALICE, "alice");
    let cases = [
        ("bob vouches", list(&NEW_ALICE, &[&state(&BOB, &NEW_ALICE, "alice")])),
        ("of bob", list(&NEW_ALICE, &[&state(&ALICE, &NEW_ALICE, "bob")])),
        ("garbage", list(&NEW_ALICE, &[&b"trust me".to_vec()])),
        ("without a new list", same),
        ("back to the old one", list(&ALICE, &[&genuine, &back])),
        ("to itself", list(&ALICE, &[&state(&ALICE, &ALICE, "alice")])),
    ];
    for (what, list) in cases {
        let commit = bob.raw_commit(shown(std::slice::from_ref(&list)), |builder, _| builder.force_self_update(true));
        println!("{what}");
        assert_all_refuse(&commit, &refused(), &mut [&mut alice, &mut laptop]);
        bob.with(|group, _, _| group.commit_rejected()).unwrap();
    }
    // A list of the old identity after the rotation.
    accounts::rotate("alice", &NEW_ALICE);
    let commit = alice.prepare(&[], &[]).unwrap().commit;
    alice.accepted();
    let received = bob.receive(&commit).unwrap();
    take(&mut bob, received);
    let newest = accounts::newest("alice");
    let stolen = newest.list.successor(&newest.hash, newest.list.devices.clone());
    let stolen = SignedList {
        username: "alice".to_owned(),
        list: stolen.sign(&ALICE, &mut rng()),
        rotations: vec![],
        identity: None,
    };
    let why = Refused::DeviceList(waxwing_e2ee::account::DeviceListError::Signature);
    assert_refused(bob.prepare_with(&[stolen], &[], &[]), why);
}

#[test]
fn a_member_may_not_go_back_to_a_credential_of_a_former_identity() {
    let (mut alice, mut laptop, mut bob) = trio();
    accounts::rotate("alice", &NEW_ALICE);
    let commit = alice.prepare(&[], &[]).unwrap().commit;
    alice.accepted();
    for phone in [&mut laptop, &mut bob] {
        let received = phone.receive(&commit).unwrap();
        take(phone, received);
    }
    let old = credential::certify(&ALICE, "alice", &alice.id, &alice.public, &mut rng());
    alice.renew(&NEW_ALICE);
    let update = alice.update();
    for phone in [&mut laptop, &mut bob] {
        phone.receive(&update).unwrap();
    }
    let leaf = openmls::prelude::LeafNodeParameters::builder()
        .with_credential_with_key(credential_with_key(&old, &alice.public))
        .build();
    let commit = alice.raw_commit(vec![], |builder, _| builder.leaf_node_parameters(leaf));
    assert_all_refuse(&commit, &Refused::OtherDevice, &mut [&mut laptop, &mut bob]);
}
