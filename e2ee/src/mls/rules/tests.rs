use super::*;

fn participant(username: &str, identity: u8) -> Participant {
    Participant {
        username: username.to_owned(),
        identity: [identity; 32],
        list_version: 3,
        list_hash: [9; 32],
        role: Role::Member,
    }
}

#[test]
fn rules_have_one_encoding_whatever_the_order() {
    let one = GroupRules::new(Kind::Direct, vec![participant("bob", 2), participant("alice", 1)]).unwrap();
    let other = GroupRules::new(Kind::Direct, vec![participant("alice", 1), participant("bob", 2)]).unwrap();
    assert_eq!(one.encode().unwrap(), other.encode().unwrap());
    assert_eq!(GroupRules::decode(&one.encode().unwrap()), Some(one));
}

#[test]
fn the_encoding_is_what_it_was() {
    let notes = GroupRules::new(Kind::Direct, vec![participant("al", 1)]).unwrap();
    let golden =
        [&[0x83, 1, 0, 0x81, 0x85, 0x62, b'a', b'l', 0x58, 32][..], &[1; 32], &[3, 0x58, 32], &[9; 32], &[0]].concat();
    assert_eq!(notes.encode().unwrap(), golden);
}

#[test]
fn other_encodings_of_the_same_rules_are_refused() {
    let wire = |version, participants| minicbor::to_vec(Wire { version, kind: Kind::Direct, participants }).unwrap();
    let (alice, bob) = (participant("alice", 1), participant("bob", 2));
    assert!(GroupRules::decode(&wire(1, vec![alice.clone(), bob.clone()])).is_some());
    assert!(GroupRules::decode(&wire(1, vec![bob.clone(), alice.clone()])).is_none(), "not sorted");
    assert!(GroupRules::decode(&wire(2, vec![alice.clone(), bob])).is_none(), "another version");
    assert!(GroupRules::decode(&[&wire(1, vec![alice])[..], &[0]].concat()).is_none(), "something appended");
}

#[test]
fn a_direct_chat_has_one_or_two_accounts_and_no_admin() {
    let rules = |participants| GroupRules::new(Kind::Direct, participants);
    assert_eq!(rules(vec![]), Err(InvalidRules));
    assert_eq!(rules(vec![participant("alice", 1), participant("alice", 2)]), Err(InvalidRules));
    assert_eq!(rules(vec![participant("", 1)]), Err(InvalidRules));
    assert_eq!(rules(vec![participant("a", 1), participant("b", 1), participant("c", 1)]), Err(InvalidRules));
    assert_eq!(rules(vec![Participant { role: Role::Admin, ..participant("alice", 1) }]), Err(InvalidRules));
}
