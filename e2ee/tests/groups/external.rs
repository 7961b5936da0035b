//! Devices that join by themselves, and those that had better not.

use crate::actors::*;
use crate::gate::assert_all_refuse;
use openmls::prelude::{
    LeafNodeParameters, MlsGroup, MlsMessageBodyIn, MlsMessageIn, PreSharedKeyProposal, tls_codec::Deserialize,
};
use openmls::schedule::{ExternalPsk, PreSharedKeyId, Psk};
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::OpenMlsProvider;
use waxwing_e2ee::account::credential;
use waxwing_e2ee::mls::{Group, JoinKey, Mls, MlsError, Prepared, Received, Refused, SignedList};

impl Phone {
    fn join_key(&mut self) -> JoinKey {
        self.with(|group, _, _| Ok(group.join_key().clone())).unwrap()
    }

    /// Joins by itself with the newest list of its account.
    fn come(&mut self, key: &JoinKey, sealed: &[u8]) -> Result<Prepared, MlsError> {
        let list = accounts::signed(&self.device.username);
        self.come_with(key, sealed, &list)
    }

    fn come_with(&mut self, key: &JoinKey, sealed: &[u8], list: &SignedList) -> Result<Prepared, MlsError> {
        let tx = self.db.transaction()?;
        let (_, prepared) =
            Group::join_externally(&Mls::new(&tx), &self.known, &self.device, &CHAT, key, sealed, list)?;
        tx.commit()?;
        Ok(prepared)
    }

    fn leave(&mut self) {
        Group::load(&Mls::new(&self.db), &CHAT).unwrap().unwrap().delete().unwrap();
    }

    /// The state of the group, in the clear.
    fn state(&mut self) -> Vec<u8> {
        self.raw(|group, raw, signer| bytes(&group.export_group_info(raw.crypto(), signer, true).unwrap()))
    }

    /// Joins without being judged.
    fn raw_come(&self, state: &[u8], credential: &[u8], authenticated: Vec<u8>, psk: bool) -> Vec<u8> {
        let MlsMessageBodyIn::GroupInfo(state) = MlsMessageIn::tls_deserialize_exact(state).unwrap().extract() else {
            panic!("not a group info")
        };
        let raw = Raw::new(&self.db);
        let signer = SignatureKeyPair::read(raw.storage(), &self.public, SUITE.signature_algorithm()).unwrap();
        let mut builder = MlsGroup::external_commit_builder()
            .with_aad(authenticated)
            .build_group(&raw, state, credential_with_key(credential, &self.public))
            .unwrap()
            .leaf_node_parameters(LeafNodeParameters::builder().with_capabilities(capabilities(SUITE)).build());
        if psk {
            builder = builder.add_psk_proposal(PreSharedKeyProposal::new(shared_secret(&raw)));
        }
        let (_, bundle) = builder
            .load_psks(raw.storage())
            .unwrap()
            .build(raw.rand(), raw.crypto(), &signer, |_| true)
            .unwrap()
            .finalize(&raw)
            .unwrap();
        bytes(&bundle.into_commit())
    }
}

fn shared_secret(raw: &Raw) -> PreSharedKeyId {
    let id = PreSharedKeyId::new(SUITE, raw.rand(), Psk::External(ExternalPsk::new(b"shared".to_vec()))).unwrap();
    id.store(raw, &[7; 32]).unwrap();
    id
}

fn joined(by: &Phone, back: bool, newer: &[&str]) -> Received {
    let removed: &[&Phone] = if back { &[by] } else { &[] };
    let mut received = commit_with(by, &[by], removed, newer);
    if let Received::Commit { external, .. } = &mut received {
        *external = true;
    }
    received
}

#[test]
fn a_listed_device_joins_by_itself() {
    let (mut alice, mut laptop, mut bob) = trio();
    let left = bob.update_and_share(&mut [&mut alice, &mut laptop]);
    let mut tablet = Phone::alice(4);
    let key = alice.join_key();
    let prepared = tablet.come(&key, &left).unwrap();
    assert_eq!((prepared.welcome, prepared.added), (None, vec![tablet.member()]));
    for phone in [&mut alice, &mut laptop, &mut bob] {
        assert_eq!(phone.receive(&prepared.commit).unwrap(), joined(&tablet, false, &["alice"]));
    }
    assert_works(&mut [&mut tablet, &mut alice, &mut laptop, &mut bob]);
    // It could not raise the list; now anybody does.
    for phone in [&mut tablet, &mut bob] {
        let outdated = phone.with(|group, _, _| group.outdated(&accounts::newest("alice"))).unwrap();
        assert!(outdated.raise && outdated.add.is_empty() && outdated.remove.is_empty(), "{outdated:?}");
    }
    let raise = bob.prepare(&[], &[]).unwrap();
    bob.accepted();
    for phone in [&mut tablet, &mut alice, &mut laptop] {
        assert_eq!(phone.receive(&raise.commit).unwrap(), commit_with(&bob, &[], &[], &["alice"]));
    }
    // The next one starts from what the joiner left.
    let mut desktop = Phone::bob(5);
    assert_eq!(tablet.join_key(), key);
    let before = desktop.come(&key, &prepared.group_info.unwrap()).unwrap();
    assert!(matches!(alice.receive(&before.commit), Err(MlsError::NotThisEpoch)), "the raise came first");
    let commit = desktop.come(&key, &raise.group_info.unwrap()).unwrap();
    for phone in [&mut tablet, &mut alice, &mut laptop, &mut bob] {
        assert_eq!(phone.receive(&commit.commit).unwrap(), joined(&desktop, false, &["bob"]));
    }
    assert_works(&mut [&mut desktop, &mut tablet, &mut alice, &mut laptop, &mut bob]);
}

#[test]
fn a_device_that_lost_track_comes_back_with_the_key_of_its_old_group() {
    let (mut alice, mut laptop, mut bob) = trio();
    // The laptop misses two commits for good.
    alice.update_and_share(&mut [&mut bob]);
    let left = bob.update_and_share(&mut [&mut alice]);
    let key = laptop.join_key();
    let prepared = laptop.come(&key, &left).unwrap();
    for phone in [&mut alice, &mut bob] {
        assert_eq!(phone.receive(&prepared.commit).unwrap(), joined(&laptop, true, &[]));
    }
    assert_eq!(alice.members().len(), 3);
    // Nothing is left of the old group, and its own commit, read again, changes nothing.
    let epochs: i64 =
        laptop.db.query_row("SELECT count(*) FROM openmls_epoch_keys_pairs", [], |row| row.get(0)).unwrap();
    assert_eq!(epochs, 1);
    assert!(matches!(laptop.receive(&prepared.commit), Err(MlsError::NotThisEpoch)));
    assert_works(&mut [&mut laptop, &mut alice, &mut bob]);
    let update = laptop.update();
    alice.receive(&update).unwrap();
    bob.receive(&update).unwrap();
    assert_works(&mut [&mut bob, &mut alice, &mut laptop]);
}

#[test]
fn who_is_refused_joins_again_or_is_not_in_the_group() {
    let (mut alice, mut laptop, mut bob) = trio();
    let left = alice.update_and_share(&mut [&mut laptop, &mut bob]);
    let mut tablet = Phone::alice(4);
    let key = alice.join_key();
    tablet.come(&key, &left).unwrap();
    // Another commit came first. The key is still there after a restart, and newer state replaces the group.
    let left = bob.update_and_share(&mut [&mut alice, &mut laptop]);
    let key = tablet.join_key();
    let prepared = tablet.come(&key, &left).unwrap();
    for phone in [&mut alice, &mut laptop, &mut bob] {
        phone.receive(&prepared.commit).unwrap();
    }
    assert_works(&mut [&mut tablet, &mut alice, &mut laptop, &mut bob]);
    // Or it gives up, and can be added like any other.
    let mut desktop = Phone::bob(5);
    desktop.come(&key, &prepared.group_info.unwrap()).unwrap();
    desktop.leave();
    assert!(!desktop.in_chat());
    let added = bob.add(&[desktop.key_package()]);
    for phone in [&mut tablet, &mut alice, &mut laptop] {
        phone.receive(&added.commit).unwrap();
    }
    desktop.join(&added.welcome.unwrap()).unwrap();
    assert_works(&mut [&mut desktop, &mut tablet, &mut alice, &mut laptop, &mut bob]);
}

#[test]
fn a_join_that_fails_leaves_the_old_group_as_it_was() {
    let (mut alice, mut laptop, mut bob) = trio();
    let key = laptop.join_key();
    let left = bob.update_and_share(&mut [&mut alice, &mut laptop]);
    let with = |phone: &mut Phone| phone.view();
    let before = with(&mut laptop);
    let wrong = JoinKey::from_bytes([1; 32]);
    assert!(matches!(laptop.come(&wrong, &left), Err(MlsError::WrongJoinKey)));
    for end in [0, 1, 40, left.len() - 1] {
        assert!(matches!(laptop.come(&key, &left[..end]), Err(MlsError::WrongJoinKey)), "{end}");
    }
    // State of one chat is not taken for another's.
    let tx = laptop.db.transaction().unwrap();
    let mls = Mls::new(&tx);
    let list = accounts::signed("alice");
    let other = Group::join_externally(&mls, &laptop.known, &laptop.device, &[9; 16], &key, &left, &list).map(drop);
    assert!(matches!(other, Err(MlsError::WrongJoinKey)));
    drop(tx);
    // An unknown identity: the join is done again once it is fetched.
    let known = std::mem::replace(&mut laptop.known, Known(vec![ALICE.public()]));
    let error = laptop.come(&key, &left).unwrap_err();
    assert!(matches!(&error, MlsError::UnknownIdentity { username, .. } if username == "bob"), "{error}");
    laptop.known = known;
    assert_eq!(with(&mut laptop), before);
    assert_works(&mut [&mut laptop, &mut alice, &mut bob]);
    // A crash before the transaction is committed.
    let tx = laptop.db.transaction().unwrap();
    Group::join_externally(&Mls::new(&tx), &laptop.known, &laptop.device, &CHAT, &key, &left, &list).unwrap();
    drop(tx);
    assert_works(&mut [&mut bob, &mut alice, &mut laptop]);
    laptop.come(&key, &left).unwrap();
}

#[test]
fn a_failing_database_is_never_blamed_on_the_state_of_the_group() {
    for table in ["openmls_group_data", "openmls_epoch_keys_pairs", "openmls_encryption_keys"] {
        let (mut alice, mut laptop, mut bob) = trio();
        let key = bob.join_key();
        let left = bob.update_and_share(&mut [&mut alice]);
        laptop.db.execute_batch(&format!("ALTER TABLE {table} RENAME TO away")).unwrap();
        if let Err(error) = laptop.come(&key, &left) {
            assert!(matches!(error, MlsError::Database(_)), "{table}: {error}");
        }
        laptop.db.execute_batch(&format!("ALTER TABLE away RENAME TO {table}")).unwrap();
        let prepared = laptop.come(&key, &left).unwrap();
        alice.receive(&prepared.commit).unwrap();
        bob.receive(&prepared.commit).unwrap();
        assert_works(&mut [&mut laptop, &mut alice, &mut bob]);
    }
}

#[test]
fn the_state_of_a_large_group_is_not_shared() {
    let mut alice = Phone::alice(0);
    let many = |username, identity, ids: std::ops::Range<u8>| -> Vec<Phone> {
        ids.map(|id| Phone::unlisted(username, id, identity)).collect()
    };
    let (alices, bobs) = (many("alice", &ALICE, 1..25), many("bob", &BOB, 100..126));
    accounts::enter("bob", &BOB, &bobs[0]);
    for (username, phones) in [("alice", &alices[..]), ("bob", &bobs[1..])] {
        accounts::revise(username, |devices| devices.extend(phones.iter().map(accounts::listed)));
    }
    alice.create(&alice_and_bob());
    let mut packages: Vec<_> = alices.iter().chain(&bobs).map(Phone::key_package).collect();
    let last = packages.pop().unwrap();
    assert!(alice.add(&packages).group_info.is_some());
    assert_eq!(alice.members().len(), 50);
    assert!(alice.add(&[last]).group_info.is_none());
}

#[test]
fn our_own_client_does_not_try_what_all_would_refuse() {
    let (mut alice, mut laptop, mut bob) = trio();
    let old = accounts::signed("alice");
    let left = bob.update_and_share(&mut [&mut alice, &mut laptop]);
    let key = bob.join_key();
    let mut tablet = Phone::unlisted("alice", 4, &ALICE);
    let unlisted = Refused::Unlisted("alice".to_owned());
    assert_refused(tablet.come(&key, &left), unlisted.clone());
    accounts::enter("alice", &ALICE, &tablet);
    assert_refused(tablet.come_with(&key, &left, &old), unlisted);
    assert_refused(tablet.come_with(&key, &left, &accounts::signed("bob")), Refused::NoList("alice".to_owned()));
    let mut carol = Phone::new("carol", 5, &CAROL);
    assert_refused(carol.come(&key, &left), Refused::ForeignAccount("carol".to_owned()));
    assert!(!tablet.in_chat() && !carol.in_chat());
}

#[test]
fn a_removed_device_neither_opens_the_state_nor_gets_in() {
    let (mut alice, mut laptop, mut bob) = trio();
    let (old_list, old_key) = (accounts::signed("alice"), laptop.join_key());
    let lost = laptop.member();
    accounts::strike(&lost);
    let prepared = alice.prepare(&[], &[lost]).unwrap();
    alice.accepted();
    bob.receive(&prepared.commit).unwrap();
    let left = prepared.group_info.unwrap();
    assert!(matches!(laptop.come_with(&old_key, &left, &old_list), Err(MlsError::WrongJoinKey)));
    // Suppose it learns the new key: its list is too old for all.
    let key = alice.join_key();
    assert_refused(laptop.come_with(&key, &left, &old_list), Refused::OldList("alice".to_owned()));
    let credential = credential::certify(&ALICE, "alice", &laptop.id, &laptop.public, &mut rng());
    laptop.leave();
    let commit = laptop.raw_come(&alice.state(), &credential, shown(&[old_list]), false);
    assert_all_refuse(&commit, &Refused::OldList("alice".to_owned()), &mut [&mut alice, &mut bob]);
    let commit = laptop.again().raw_come(&alice.state(), &credential, shown(&[accounts::signed("alice")]), false);
    assert_all_refuse(&commit, &Refused::Unlisted("alice".to_owned()), &mut [&mut alice, &mut bob]);
}

#[test]
fn nobody_else_joins_from_outside() {
    let (mut alice, mut laptop, mut bob) = trio();
    let (carol, mut tablet) = (Phone::new("carol", 4, &CAROL), Phone::alice(5));
    let stranger = Phone::unlisted("alice", 6, &ALICE);
    let certify = |identity, username, phone: &Phone| {
        credential::certify(identity, username, &phone.id, &phone.public, &mut rng())
    };
    let [alices, bobs, carols] = ["alice", "bob", "carol"].map(accounts::signed);
    let genuine = certify(&ALICE, "alice", &tablet);
    let state = bob.state();
    let cases = [
        (&carol, certify(&CAROL, "carol", &carol), vec![], Refused::ForeignAccount("carol".to_owned())),
        (&carol, certify(&CAROL, "carol", &carol), vec![carols], Refused::ForeignAccount("carol".to_owned())),
        (&stranger, certify(&ALICE, "alice", &stranger), vec![alices.clone()], Refused::Unlisted("alice".to_owned())),
        // Carol vouches in Alice's name.
        (&tablet, certify(&CAROL, "alice", &tablet), vec![alices.clone()], Refused::OtherIdentity("alice".to_owned())),
        (&tablet, genuine.clone(), vec![], Refused::NoList("alice".to_owned())),
        (&tablet, genuine.clone(), vec![bobs.clone()], Refused::NoList("alice".to_owned())),
        (&tablet, genuine.clone(), vec![alices.clone(), bobs], Refused::Lists),
    ];
    for (phone, credential, lists, why) in cases {
        let authenticated = if lists.is_empty() { vec![] } else { shown(&lists) };
        let commit = phone.raw_come(&state, &credential, authenticated, false);
        assert_all_refuse(&commit, &why, &mut [&mut alice, &mut laptop, &mut bob]);
        Group::load(&Mls::new(&phone.db), &CHAT).unwrap().unwrap().delete().unwrap();
    }
    for phone in [&alice, &laptop, &bob] {
        shared_secret(&Raw::new(&phone.db));
    }
    // The tablet itself is welcome, but not with a change that has no place there.
    let commit = tablet.raw_come(&state, &genuine, shown(&[alices]), true);
    assert_all_refuse(&commit, &Refused::Change, &mut [&mut alice, &mut laptop, &mut bob]);
    let left = alice.update_and_share(&mut [&mut laptop, &mut bob]);
    let key = alice.join_key();
    tablet.come(&key, &left).unwrap();
}

#[test]
fn who_joins_clears_away_its_own_old_leaf_only() {
    let (mut alice, mut laptop, mut bob) = trio();
    // Bob lists a device with the key of Alice's laptop; openmls then takes the laptop's leaf for the joiner's old one.
    let mut thief = Phone::unlisted("bob", 9, &BOB);
    thief.db.execute_batch("DELETE FROM openmls_signature_keys").unwrap();
    let signature: (Vec<u8>, Vec<u8>, i64) = laptop
        .db
        .query_row("SELECT public_key, signature_key, provider_version FROM openmls_signature_keys", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    let insert = "INSERT INTO openmls_signature_keys (public_key, signature_key, provider_version) VALUES (?1, ?2, ?3)";
    thief.db.execute(insert, signature).unwrap();
    thief.public = laptop.public;
    accounts::enter("bob", &BOB, &thief);
    let credential = credential::certify(&BOB, "bob", &thief.id, &thief.public, &mut rng());
    let commit = thief.raw_come(&bob.state(), &credential, shown(&[accounts::signed("bob")]), false);
    assert_all_refuse(&commit, &Refused::Outsider, &mut [&mut alice, &mut laptop, &mut bob]);
}

#[test]
fn a_new_identity_is_entered_by_a_member_before_its_devices_join_by_themselves() {
    use std::sync::LazyLock;
    use waxwing_e2ee::account::IdentityKey;
    static NEW_BOB: LazyLock<IdentityKey> = LazyLock::new(|| IdentityKey::generate(&mut rng()));
    let (mut alice, mut laptop, mut bob) = trio();
    let left = alice.update_and_share(&mut [&mut laptop, &mut bob]);
    accounts::rotate("bob", &NEW_BOB);
    let mut desktop = Phone::unlisted("bob", 5, &NEW_BOB);
    accounts::enter("bob", &NEW_BOB, &desktop);
    desktop.known.0.push(NEW_BOB.public());
    let key = alice.join_key();
    assert_refused(desktop.come(&key, &left), Refused::OtherIdentity("bob".to_owned()));
    let credential = credential::certify(&BOB, "bob", &desktop.id, &desktop.public, &mut rng());
    let commit = desktop.raw_come(&alice.state(), &credential, shown(&[accounts::signed("bob")]), false);
    assert_all_refuse(&commit, &Refused::Rotation("bob".to_owned()), &mut [&mut alice, &mut laptop, &mut bob]);
    // Alice enters it.
    let raise = alice.prepare(&[], &[]).unwrap();
    alice.accepted();
    for phone in [&mut laptop, &mut bob] {
        phone.receive(&raise.commit).unwrap();
    }
    for phone in [&mut alice, &mut laptop, &mut bob] {
        phone.known.0.push(NEW_BOB.public());
    }
    let list = SignedList { rotations: vec![], ..accounts::signed("bob") };
    let prepared = desktop.come_with(&key, &raise.group_info.unwrap(), &list).unwrap();
    for phone in [&mut alice, &mut laptop, &mut bob] {
        phone.receive(&prepared.commit).unwrap();
    }
    assert_works(&mut [&mut desktop, &mut alice, &mut laptop, &mut bob]);
}

impl Phone {
    /// Takes fresh keys; returns the state that this leaves for those who join.
    fn update_and_share(&mut self, others: &mut [&mut Phone]) -> Vec<u8> {
        let prepared = self.prepare_update().unwrap();
        self.accepted();
        for phone in others {
            assert_eq!(phone.receive(&prepared.commit).unwrap(), committed(self, &[], &[]));
        }
        prepared.group_info.unwrap()
    }

    /// Forgets its group for the next attempt.
    fn again(&mut self) -> &mut Self {
        self.leave();
        self
    }
}
