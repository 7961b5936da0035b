//! Every way into and out of a group, tried by members and strangers with modified clients.

use crate::actors::*;
use crate::rules::{altered, set_list};
use openmls::prelude::{
    Ciphersuite, CredentialWithKey, Extension, ExtensionType, Extensions, GroupContext, GroupId, KeyPackage,
    LeafNodeIndex, LeafNodeParameters, Lifetime, MlsGroup, MlsGroupCreateConfig, UnknownExtension,
};
use openmls::schedule::{ExternalPsk, PreSharedKeyId, Psk};
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::OpenMlsProvider;
use std::time::{SystemTime, UNIX_EPOCH};
use waxwing_e2ee::account::{CredentialError, DeviceListError, credential};
use waxwing_e2ee::mls::{Group, GroupRules, Kind, Mls, MlsError, Refused};

/// Alice has started the chat.
fn alices_leaf() -> LeafNodeIndex {
    LeafNodeIndex::new(0)
}

fn forged() -> Refused {
    Refused::Credential(CredentialError::Signature)
}

/// A credential in the name of Alice and her identity, for any key, with a signature that is not hers.
fn forged_alice(device: u8, mls_key: &[u8]) -> Vec<u8> {
    let mut credential = credential::certify(&ALICE, "alice", &[device; 16], mls_key, &mut rng());
    let carols = credential::certify(&CAROL, "alice", &[device; 16], mls_key, &mut rng());
    let signature = credential.len() - 384;
    credential[signature..].copy_from_slice(&carols[signature..]);
    credential
}

/// Devices that are not what they claim, and why nobody believes them.
fn impostors() -> Vec<(Phone, Refused)> {
    let alices_key = Phone::alice(4).public;
    vec![
        // Alice's genuine credential, on the leaf of another key.
        (Phone::with_credential(|_| credential::certify(&ALICE, "alice", &[4; 16], &alices_key, &mut rng())), forged()),
        (Phone::with_credential(|public| forged_alice(4, public)), forged()),
        // Carol vouches, in Alice's name.
        (Phone::unlisted("alice", 4, &CAROL), Refused::OtherIdentity("alice".to_owned())),
        // Alice vouches, in Bob's name: both are known and both take part.
        (Phone::unlisted("bob", 4, &ALICE), Refused::OtherIdentity("bob".to_owned())),
        // A genuine account that does not take part.
        (Phone::new("carol", 4, &CAROL), Refused::ForeignAccount("carol".to_owned())),
    ]
}

/// Adds without asking the gate; returns commit and welcome.
fn raw_add(phone: &mut Phone, packages: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
    phone.raw(|group, raw, signer| {
        let packages: Vec<KeyPackage> = packages.iter().map(|bytes| unjudged(raw, bytes)).collect();
        let (commit, welcome, _) = group.add_members(raw, signer, &packages).unwrap();
        (bytes(&commit), bytes(&welcome))
    })
}

/// All members refuse the commit for the same reason, and go on as if it had never been.
pub fn assert_all_refuse(commit: &[u8], why: &Refused, members: &mut [&mut Phone]) {
    for member in members.iter_mut() {
        assert_refused(member.receive(commit), why.clone());
    }
    assert_works(members);
}

#[test]
fn impostors_key_packages_are_not_added() {
    let (mut alice, _, mut bob) = trio();
    for (impostor, why) in impostors() {
        assert_refused(alice.prepare_add(&[impostor.key_package()]), why);
    }
    assert_works(&mut [&mut alice, &mut bob]);
}

#[test]
fn a_member_who_adds_an_impostor_is_refused_by_all() {
    let (mut alice, mut laptop, mut bob) = trio();
    for (impostor, why) in impostors() {
        let (commit, _) = raw_add(&mut bob, &[impostor.key_package()]);
        assert_all_refuse(&commit, &why, &mut [&mut alice, &mut laptop]);
        bob.with(|group, _, _| group.commit_rejected()).unwrap();
    }
    assert_works(&mut [&mut bob, &mut alice, &mut laptop]);
}

#[test]
fn a_welcome_to_a_group_with_an_impostor_is_refused_and_costs_nothing() {
    for (impostor, why) in impostors() {
        let (mut bob, mut alice) = (Phone::bob(1), Phone::alice(2));
        let package = alice.key_package();
        bob.create(&alice_and_bob());
        let (_, welcome) = raw_add(&mut bob, &[impostor.key_package(), package.clone()]);
        assert_refused(alice.join(&welcome), why);
        assert!(!alice.in_chat());
        // An honest Bob can still use the key package.
        let mut honest = Phone::bob(3);
        honest.create(&alice_and_bob());
        alice.join(&honest.add(&[package]).welcome.unwrap()).unwrap();
        assert_works(&mut [&mut honest, &mut alice]);
    }
}

#[test]
fn a_welcome_to_a_group_that_gives_somebody_another_identity_is_refused() {
    let (mut bob, mut alice) = (Phone::bob(1), Phone::alice(2));
    // Not even Bob's own client would add Alice to it.
    let rules = GroupRules::new(Kind::Direct, vec![participant("alice", &CAROL), participant("bob", &BOB)], join_key())
        .unwrap();
    bob.create(&rules);
    let package = alice.key_package();
    let why = Refused::DeviceList(DeviceListError::Signature);
    assert_refused(bob.prepare_add(std::slice::from_ref(&package)), why);
    let (_, welcome) = raw_add(&mut bob, &[package]);
    assert_refused(alice.join(&welcome), Refused::OtherIdentity("alice".to_owned()));
}

#[test]
fn nobody_starts_a_group_without_themselves() {
    let carol = Phone::new("carol", 1, &CAROL);
    let outcome = Group::create(&Mls::new(&carol.db), &carol.device, &CHAT, &alice_and_bob()).map(drop);
    assert_refused(outcome, Refused::ForeignAccount("carol".to_owned()));
}

#[test]
fn key_packages_that_are_no_good_are_not_added() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let day = 24 * 3600;
    let (mut alice, bob) = (Phone::alice(1), Phone::bob(2));
    alice.create(&alice_and_bob());
    let credential = credential::certify(&BOB, "bob", &[2; 16], &bob.public, &mut rng());
    let good = Lifetime::new(day);
    for (suite, lifetime, why) in [
        (SUITE, Lifetime::init(now - day, now - 1), Refused::KeyPackage),
        (SUITE, Lifetime::init(now + day, now + 2 * day), Refused::KeyPackage),
        (SUITE, Lifetime::new(20 * 365 * day), Refused::Lifetime),
        (Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519, good, Refused::Suite),
        (Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519, good, Refused::Suite),
    ] {
        let package = bob.raw_key_package(suite, lifetime, &credential);
        assert_refused(alice.prepare_add(&[package]), why);
    }
    for (lifetime, validity) in [(good, &[good][..]), (Lifetime::init(0, u64::MAX), &[])] {
        let package = bob.raw_key_package_of(SUITE, lifetime, validity, &credential);
        assert_refused(alice.prepare_add(&[package]), Refused::Lifetime);
    }
    let package = bob.raw_key_package(SUITE, good, b"no credential");
    assert_refused(alice.prepare_add(&[package]), Refused::Credential(CredentialError::Malformed));

    let package = bob.raw_key_package(SUITE, good, &credential);
    for end in [0, 1, package.len() / 2, package.len() - 1] {
        assert!(matches!(alice.prepare_add(&[package[..end].to_vec()]), Err(MlsError::Malformed)));
    }
    assert!(matches!(alice.prepare_add(&[[&package[..], &[0]].concat()]), Err(MlsError::Malformed)));
    for at in (0..package.len()).step_by(7) {
        let mut flipped = package.clone();
        flipped[at] ^= 1;
        assert!(alice.prepare_add(&[flipped]).unwrap_err().is_fault_of_entry(), "{at}");
    }
    let second = bob.raw_key_package(SUITE, good, &credential);
    assert!(alice.prepare_add(&[package.clone(), second]).is_err(), "two of one device");
    assert!(!alice.with(|group, _, _| Ok(group.has_pending_commit())).unwrap());
    // The same one twice is one.
    alice.add(&[package.clone(), package]);
    assert_eq!(alice.members(), [alice.member(), bob.member()]);
}

/// Clocks differ, and a commit may be read long after it was made: the members of a group must not fall apart over that.
#[test]
fn the_age_of_a_key_package_is_no_matter_for_who_reads_the_commit() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let day = 24 * 3600;
    let (expired, forever) = (Lifetime::init(now - 2 * day, now - day), Lifetime::init(0, u64::MAX));
    let day = Lifetime::new(day);
    for (lifetime, validity, refused) in [(day, day, true), (forever, forever, true), (forever, expired, false)] {
        let (mut alice, mut laptop, mut bob) = trio();
        let tablet = Phone::bob(7);
        let credential = credential::certify(&BOB, "bob", &[7; 16], &tablet.public, &mut rng());
        let package = tablet.raw_key_package_of(SUITE, lifetime, &[validity], &credential);
        let (bobs, rules) = (accounts::signed("bob"), participant("bob", &BOB));
        let commit = alice.raw_commit(shown(&[bobs]), |builder, raw| {
            let raised = altered(raw, |value| set_list(value, "bob", &rules));
            builder.propose_adds([unjudged(raw, &package)]).propose_group_context_extensions(raised).unwrap()
        });
        if refused {
            assert_all_refuse(&commit, &Refused::Lifetime, &mut [&mut bob, &mut laptop]);
            continue;
        }
        for phone in [&mut bob, &mut laptop] {
            phone.receive(&commit).unwrap();
            assert!(phone.members().contains(&tablet.member()));
        }
    }
}

#[test]
fn a_device_is_in_a_group_once() {
    let (mut alice, mut laptop, mut bob) = trio();
    // The same device id in another account, and the same key under another device id.
    let twin = Phone::bob(2);
    let packages = [twin.key_package()];
    assert_refused(alice.prepare_add(&packages), Refused::DeviceTwice);
    let (bobs, rules) = (accounts::signed("bob"), participant("bob", &BOB));
    let commit = alice.raw_commit(shown(&[bobs]), |builder, raw| {
        let raised = altered(raw, |value| set_list(value, "bob", &rules));
        builder.propose_adds([unjudged(raw, &packages[0])]).propose_group_context_extensions(raised).unwrap()
    });
    assert_all_refuse(&commit, &Refused::DeviceTwice, &mut [&mut bob, &mut laptop]);
    let alias = credential::certify(&ALICE, "alice", &[9; 16], &laptop.public, &mut rng());
    let same_key = laptop.raw_key_package(SUITE, Lifetime::new(3600), &alias);
    alice.with(|group, _, _| group.commit_rejected()).unwrap();
    assert!(alice.prepare_add(&[same_key]).is_err());
}

/// A commit that replaces the committer's leaf.
fn commit_own_leaf(phone: &mut Phone, leaf: CredentialWithKey, new_signer: Option<&SignatureKeyPair>) -> Vec<u8> {
    phone.raw(|group, raw, signer| {
        let parameters = LeafNodeParameters::builder().with_credential_with_key(leaf).build();
        if let Some(new_signer) = new_signer {
            let bundle = openmls::prelude::NewSignerBundle {
                signer: new_signer,
                credential_with_key: parameters.credential_with_key().unwrap().clone(),
            };
            let (commit, ..) =
                group.self_update_with_new_signer(raw, signer, bundle, parameters).unwrap().into_contents();
            return bytes(&commit);
        }
        let bundle = group
            .commit_builder()
            .leaf_node_parameters(parameters)
            .load_psks(raw.storage())
            .unwrap()
            .build(raw.rand(), raw.crypto(), signer, |_| true)
            .unwrap()
            .stage_commit(raw)
            .unwrap();
        bytes(&bundle.into_commit())
    })
}

#[test]
fn a_member_may_not_become_somebody_else_by_an_update() {
    let (mut alice, mut laptop, mut bob) = trio();
    let key = bob.public;
    let certify =
        |identity, username, device: u8| credential::certify(identity, username, &[device; 16], &key, &mut rng());
    let alices = credential::certify(&ALICE, "alice", &[1; 16], &alice.public, &mut rng());
    for (credential, why) in [
        (certify(&BOB, "alice", 4), Refused::OtherIdentity("alice".to_owned())),
        (certify(&CAROL, "carol", 4), Refused::ForeignAccount("carol".to_owned())),
        (certify(&CAROL, "bob", 3), Refused::OtherIdentity("bob".to_owned())),
        (certify(&BOB, "bob", 4), Refused::OtherDevice),
        (forged_alice(4, &key), forged()),
        (alices, forged()),
        (b"nonsense".to_vec(), Refused::Credential(CredentialError::Malformed)),
    ] {
        let commit = commit_own_leaf(&mut bob, credential_with_key(&credential, &key), None);
        assert_all_refuse(&commit, &why, &mut [&mut alice, &mut laptop]);
        bob.with(|group, _, _| group.commit_rejected()).unwrap();
    }
    // The same device with fresh keys is welcome.
    let commit = bob.update();
    alice.receive(&commit).unwrap();
    laptop.receive(&commit).unwrap();
    assert_works(&mut [&mut bob, &mut alice, &mut laptop]);
}

#[test]
fn a_member_may_not_change_its_mls_key() {
    let (mut alice, mut laptop, mut bob) = trio();
    let signer = SignatureKeyPair::new(SUITE.signature_algorithm()).unwrap();
    let credential = credential::certify(&BOB, "bob", &[3; 16], signer.public(), &mut rng());
    let commit = commit_own_leaf(&mut bob, credential_with_key(&credential, signer.public()), Some(&signer));
    assert_all_refuse(&commit, &Refused::OtherDevice, &mut [&mut alice, &mut laptop]);
}

#[test]
fn a_pre_shared_key_is_refused_even_if_everyone_has_it() {
    let (mut alice, mut laptop, mut bob) = trio();
    let keep = |phone: &mut Phone| {
        phone.raw(|_, raw, _| {
            let psk = Psk::External(ExternalPsk::new(b"shared".to_vec()));
            let id = PreSharedKeyId::new(SUITE, raw.rand(), psk).unwrap();
            id.store(raw, &[7; 32]).unwrap();
            id
        })
    };
    keep(&mut alice);
    keep(&mut laptop);
    let id = keep(&mut bob);
    let commit = bob.raw(|group, raw, signer| {
        group.propose_pre_shared_key_by_value(raw, signer, id).unwrap();
        bytes(&group.commit_to_pending_proposals(raw, signer).unwrap().0)
    });
    assert_all_refuse(&commit, &Refused::Change, &mut [&mut alice, &mut laptop]);
}

#[test]
fn proposals_outside_a_commit_are_refused() {
    let (mut alice, mut laptop, mut bob) = trio();
    let removal =
        bob.raw(|group, raw, signer| bytes(&group.propose_remove_member(raw, signer, alices_leaf()).unwrap().0));
    let update = bob.raw(|group, raw, signer| {
        bytes(&group.propose_self_update(raw, signer, LeafNodeParameters::default()).unwrap().0)
    });
    let leaving = bob.raw(|group, raw, signer| bytes(&group.leave_group(raw, signer).unwrap()));
    for proposal in [&removal, &update, &leaving] {
        assert_all_refuse(proposal, &Refused::Standalone, &mut [&mut alice, &mut laptop]);
    }
    // A commit that refers to them means nothing to anybody.
    let commit = laptop.raw(|group, raw, signer| bytes(&group.commit_to_pending_proposals(raw, signer).unwrap().0));
    alice.receive(&commit).unwrap();
}

#[test]
fn a_welcome_to_a_group_without_our_rules_is_refused() {
    let rules_of = |extensions: Vec<Extension>| Extensions::<GroupContext>::from_vec(extensions).unwrap();
    let required = |extensions: &[ExtensionType]| {
        Extension::RequiredCapabilities(openmls::prelude::RequiredCapabilitiesExtension::new(
            extensions,
            &[],
            &[openmls::prelude::CredentialType::Other(0xF001)],
        ))
    };
    let rules = ExtensionType::Unknown(0xF002);
    for extensions in [
        rules_of(vec![]),
        rules_of(vec![required(&[])]),
        rules_of(vec![required(&[rules]), Extension::Unknown(0xF002, UnknownExtension(b"nonsense".to_vec()))]),
    ] {
        let (bob, mut alice) = (Phone::bob(1), Phone::alice(2));
        let raw = Raw::new(&bob.db);
        let signer = SignatureKeyPair::read(raw.storage(), &bob.public, SUITE.signature_algorithm()).unwrap();
        let credential = credential::certify(&BOB, "bob", &[1; 16], &bob.public, &mut rng());
        let config = MlsGroupCreateConfig::builder()
            .ciphersuite(SUITE)
            .capabilities(
                openmls::prelude::Capabilities::builder()
                    .ciphersuites(vec![SUITE])
                    .extensions(vec![rules])
                    .credentials(vec![openmls::prelude::CredentialType::Other(0xF001)])
                    .build(),
            )
            .with_group_context_extensions(extensions)
            .use_ratchet_tree_extension(true)
            .build();
        let id = GroupId::from_slice(&CHAT);
        let credential = credential_with_key(&credential, &bob.public);
        let mut group = MlsGroup::new_with_group_id(&raw, &signer, &config, id, credential).unwrap();
        let package = unjudged(&raw, &alice.key_package());
        let (_, welcome, _) = group.add_members(&raw, &signer, &[package]).unwrap();
        assert_refused(alice.join(&bytes(&welcome)), Refused::Rules);
    }
}
