//! The rules of a group change exactly as device lists and removals demand, whoever commits.

use crate::actors::*;
use crate::gate::assert_all_refuse;
use ciborium::Value;
use openmls::prelude::{Extension, Extensions, GroupContext, GroupId, LeafNodeIndex, MlsGroup, UnknownExtension};
use openmls_traits::OpenMlsProvider;
use waxwing_e2ee::mls::{Participant, Refused};

/// The rules of the chat, with something changed.
pub fn altered(raw: &Raw, change: impl FnOnce(&mut Vec<Value>)) -> Extensions<GroupContext> {
    let group = MlsGroup::load(raw.storage(), &GroupId::from_slice(&CHAT)).unwrap().unwrap();
    let mut extensions: Vec<Extension> = group.extensions().iter().cloned().collect();
    let Some(Extension::Unknown(0xF002, UnknownExtension(bytes))) = extensions.pop() else { panic!("no rules") };
    let mut rules: Value = ciborium::from_reader(&bytes[..]).unwrap();
    change(rules.as_array_mut().unwrap());
    let mut bytes = Vec::new();
    ciborium::into_writer(&rules, &mut bytes).unwrap();
    extensions.push(Extension::Unknown(0xF002, UnknownExtension(bytes)));
    Extensions::from_vec(extensions).unwrap()
}

fn participants(rules: &mut [Value]) -> &mut Vec<Value> {
    rules[2].as_array_mut().unwrap()
}

fn entry<'a>(rules: &'a mut [Value], username: &str) -> &'a mut Vec<Value> {
    let named = |value: &&mut Value| value.as_array().unwrap()[0].as_text() == Some(username);
    participants(rules).iter_mut().find(named).unwrap().as_array_mut().unwrap()
}

/// Enters the newest list of an account.
pub fn set_list(rules: &mut [Value], username: &str, newest: &Participant) {
    let entry = entry(rules, username);
    entry[2] = newest.list_version.into();
    entry[3] = Value::Bytes(newest.list_hash.to_vec());
}

fn set_join_key(rules: &mut [Value]) {
    rules[3] = Value::Bytes(vec![0x77; 32]);
}

/// Alice's laptop.
fn laptops_leaf() -> LeafNodeIndex {
    LeafNodeIndex::new(1)
}

type Alteration = fn(&mut Vec<Value>);

#[test]
fn nobody_changes_the_rules_of_a_direct_chat() {
    let (mut alice, mut laptop, mut bob) = trio();
    let cases: [(&str, Alteration, Refused); 11] = [
        ("nothing", |_| {}, Refused::RulesChange),
        ("the version", |rules| rules[0] = 3.into(), Refused::Rules),
        ("the kind", |rules| rules[1] = 1.into(), Refused::Rules),
        ("a role", |rules| entry(rules, "bob")[4] = 1.into(), Refused::Rules),
        (
            "a third account",
            |rules| {
                let mut carol = entry(rules, "bob").clone();
                carol[0] = "carol".into();
                participants(rules).push(Value::Array(carol));
            },
            Refused::Rules,
        ),
        ("one account less", |rules| drop(participants(rules).remove(0)), Refused::RulesChange),
        ("the own list", |rules| entry(rules, "bob")[2] = 9.into(), Refused::RulesChange),
        ("another's list", |rules| entry(rules, "alice")[3] = Value::Bytes(vec![9; 32]), Refused::RulesChange),
        ("an identity", |rules| entry(rules, "alice")[1] = Value::Bytes(vec![9; 32]), Refused::RulesChange),
        (
            "a former identity",
            |rules| entry(rules, "alice")[5] = Value::Array(vec![Value::Bytes(vec![9; 32])]),
            Refused::RulesChange,
        ),
        ("the join key", |rules| set_join_key(rules), Refused::RulesChange),
    ];
    for (what, alteration, why) in cases {
        let commit = bob.raw_commit(vec![], |builder, raw| {
            builder.propose_group_context_extensions(altered(raw, alteration)).unwrap()
        });
        println!("{what}");
        assert_all_refuse(&commit, &why, &mut [&mut alice, &mut laptop]);
        bob.with(|group, _, _| group.commit_rejected()).unwrap();
    }
    let commit = bob.raw_commit(vec![], |builder, raw| {
        let mut extensions: Vec<Extension> = altered(raw, |_| {}).iter().cloned().collect();
        extensions.pop();
        extensions.push(Extension::Unknown(0xF002, UnknownExtension(b"bob rules".to_vec())));
        builder.propose_group_context_extensions(Extensions::from_vec(extensions).unwrap()).unwrap()
    });
    assert_all_refuse(&commit, &Refused::Rules, &mut [&mut alice, &mut laptop]);
}

#[test]
fn a_newer_list_is_entered_by_the_commit_that_shows_it_and_nothing_else_is() {
    let (mut alice, mut laptop, mut bob) = trio();
    Phone::alice(4);
    let (list, newest) = (accounts::signed("alice"), participant("alice", &ALICE));
    let forgotten = bob.raw_commit(shown(std::slice::from_ref(&list)), |builder, _| builder.force_self_update(true));
    bob.with(|group, _, _| group.commit_rejected()).unwrap();
    let more = bob.raw_commit(shown(std::slice::from_ref(&list)), |builder, raw| {
        let raised = altered(raw, |rules| {
            set_list(rules, "alice", &newest);
            set_join_key(rules);
        });
        builder.propose_group_context_extensions(raised).unwrap()
    });
    bob.with(|group, _, _| group.commit_rejected()).unwrap();
    let hidden = bob.raw_commit(vec![], |builder, raw| {
        let raised = altered(raw, |rules| set_list(rules, "alice", &newest));
        builder.propose_group_context_extensions(raised).unwrap()
    });
    bob.with(|group, _, _| group.commit_rejected()).unwrap();
    for commit in [forgotten, more, hidden] {
        assert_all_refuse(&commit, &Refused::RulesChange, &mut [&mut alice, &mut laptop]);
    }
    let honest = bob.prepare_with(&[list], &[], &[]).unwrap();
    bob.accepted();
    for phone in [&mut alice, &mut laptop] {
        assert_eq!(phone.receive(&honest.commit).unwrap(), commit_with(&bob, &[], &[], &["alice"]));
        let entered = phone.with(|group, _, _| Ok(group.rules().participant("alice").cloned())).unwrap();
        assert_eq!(entered, Some(newest.clone()));
    }
    assert_works(&mut [&mut bob, &mut alice, &mut laptop]);
}

#[test]
fn who_removes_a_device_replaces_the_join_key() {
    let (mut alice, mut laptop, mut bob) = trio();
    accounts::strike(&laptop.member());
    let (list, newest) = (accounts::signed("alice"), participant("alice", &ALICE));
    let commit = alice.raw_commit(shown(&[list]), |builder, raw| {
        let raised = altered(raw, |rules| set_list(rules, "alice", &newest));
        builder.propose_removals([laptops_leaf()]).propose_group_context_extensions(raised).unwrap()
    });
    assert_all_refuse(&commit, &Refused::RulesChange, &mut [&mut laptop, &mut bob]);
    alice.with(|group, _, _| group.commit_rejected()).unwrap();

    let key = |phone: &mut Phone| phone.with(|group, _, _| Ok(group.join_key().clone())).unwrap();
    let before = key(&mut bob);
    let prepared = alice.prepare(&[], &[laptop.member()]).unwrap();
    assert_eq!(key(&mut alice), before, "not before the commit is accepted");
    alice.accepted();
    bob.receive(&prepared.commit).unwrap();
    assert_ne!(key(&mut bob), before);
    assert_eq!(key(&mut bob), key(&mut alice));
    // Whoever merely comes, or takes fresh keys, leaves it as it is.
    let before = key(&mut bob);
    let mut tablet = Phone::bob(5);
    let prepared = bob.add(&[tablet.key_package()]);
    tablet.join(&prepared.welcome.unwrap()).unwrap();
    let update = tablet.update();
    alice.receive(&prepared.commit).unwrap();
    alice.receive(&update).unwrap();
    assert_eq!([key(&mut alice), key(&mut tablet)], [before.clone(), before]);
}
