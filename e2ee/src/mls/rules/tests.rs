use super::*;

fn participant(username: &str, identity: u8) -> Participant {
    Participant {
        username: username.to_owned(),
        identity: [identity; 32],
        list_version: 3,
        list_hash: [9; 32],
        role: Role::Member,
        former: vec![],
    }
}

fn direct(participants: Vec<Participant>) -> Result<GroupRules, InvalidRules> {
    GroupRules::new(Kind::Direct, participants, JoinKey::from_bytes([7; 32]))
}

#[test]
fn rules_have_one_encoding_whatever_the_order() {
    let one = direct(vec![participant("bob", 2), participant("alice", 1)]).unwrap();
    let other = direct(vec![participant("alice", 1), participant("bob", 2)]).unwrap();
    assert_eq!(one.encode().unwrap(), other.encode().unwrap());
    assert_eq!(GroupRules::decode(&one.encode().unwrap()), Some(one));
}

#[test]
fn the_encoding_is_what_it_was() {
    let former = vec![[5; 32]];
    let notes = direct(vec![Participant { former, ..participant("al", 1) }]).unwrap();
    let golden = [
        &[0x84, 2, 0, 0x81, 0x86, 0x62, b'a', b'l', 0x58, 32][..],
        &[1; 32],
        &[3, 0x58, 32],
        &[9; 32],
        &[0, 0x81, 0x58, 32],
        &[5; 32],
        &[0x58, 32],
        &[7; 32],
    ]
    .concat();
    assert_eq!(notes.encode().unwrap(), golden);
}

#[test]
fn other_encodings_of_the_same_rules_are_refused() {
    let wire = |version, participants| {
        let join_key = JoinKey::from_bytes([7; 32]);
        minicbor::to_vec(Wire { version, kind: Kind::Direct, participants, join_key }).unwrap()
    };
    let (alice, bob) = (participant("alice", 1), participant("bob", 2));
    assert!(GroupRules::decode(&wire(2, vec![alice.clone(), bob.clone()])).is_some());
    assert!(GroupRules::decode(&wire(2, vec![bob.clone(), alice.clone()])).is_none(), "not sorted");
    assert!(GroupRules::decode(&wire(1, vec![alice.clone(), bob])).is_none(), "another version");
    assert!(GroupRules::decode(&[&wire(2, vec![alice])[..], &[0]].concat()).is_none(), "something appended");
}

#[test]
fn a_direct_chat_has_one_or_two_accounts_and_no_admin() {
    assert_eq!(direct(vec![]), Err(InvalidRules));
    assert_eq!(direct(vec![participant("alice", 1), participant("alice", 2)]), Err(InvalidRules));
    assert_eq!(direct(vec![participant("", 1)]), Err(InvalidRules));
    assert_eq!(direct(vec![participant("a", 1), participant("b", 1), participant("c", 1)]), Err(InvalidRules));
    assert_eq!(direct(vec![Participant { role: Role::Admin, ..participant("alice", 1) }]), Err(InvalidRules));
}

#[test]
fn an_account_has_each_identity_once_and_keeps_a_bounded_number() {
    let with = |former: Vec<[u8; 32]>| direct(vec![Participant { former, ..participant("alice", 1) }]);
    assert!(with(vec![[2; 32], [3; 32]]).is_ok());
    assert_eq!(with(vec![[1; 32]]), Err(InvalidRules), "the current one");
    assert_eq!(with(vec![[2; 32], [2; 32]]), Err(InvalidRules), "one twice");
    let many = |count: usize| (0..count).map(|n| [u8::try_from(100 + n).unwrap(); 32]).collect();
    assert!(with(many(FORMER)).is_ok());
    assert_eq!(with(many(FORMER + 1)), Err(InvalidRules));
}
