use super::*;

fn participant(username: &str, identity: u8) -> Participant {
    Participant {
        username: username.to_owned(),
        identity: [identity; 32],
        list_version: 3,
        list_hash: [9; 32],
        role: Role::Member,
        former: vec![],
        since: None,
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
        minicbor::to_vec(Wire { version, kind: Kind::Direct, participants, join_key, about: None }).unwrap()
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

fn group(kind: Kind, about: About, participants: Vec<Participant>) -> Result<GroupRules, InvalidRules> {
    GroupRules::group(kind, about, participants, JoinKey::from_bytes([7; 32]))
}

fn takes_part(username: &str, role: Role) -> Participant {
    Participant { role, since: Some(0), ..participant(username, username.as_bytes()[0]) }
}

#[test]
fn a_group_has_a_name_an_admin_and_nobody_who_is_barred() {
    let (alice, bob) = (takes_part("alice", Role::Admin), takes_part("bob", Role::Member));
    let both = || vec![alice.clone(), bob.clone()];
    for kind in [Kind::Group, Kind::Room] {
        let rules = group(kind, About::named("Birds"), both()).unwrap();
        assert!(rules.is_admin("alice") && !rules.is_admin("bob") && !rules.is_admin("carol"));
        assert_eq!(GroupRules::decode(&rules.encode().unwrap()), Some(rules));
        let about = |about: About| group(kind, about, both());
        let birds = || About::named("Birds");
        let barred = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(about(About::default()), Err(InvalidRules), "no name");
        assert_eq!(about(About::named("x".repeat(NAME + 1))), Err(InvalidRules), "a long name");
        assert_eq!(about(About { topic: "x".repeat(TOPIC + 1), ..birds() }), Err(InvalidRules), "a long topic");
        assert_eq!(about(About { history: 1001, ..birds() }), Err(InvalidRules), "all history");
        assert!(about(About { barred: barred(&["carol", "dave"]), ..birds() }).is_ok());
        assert_eq!(about(About { barred: barred(&["bob"]), ..birds() }), Err(InvalidRules), "in and out");
        assert_eq!(about(About { barred: barred(&["dave", "carol"]), ..birds() }), Err(InvalidRules), "not sorted");
        assert_eq!(group(kind, birds(), vec![bob.clone()]), Err(InvalidRules), "no admin");
        let timeless = Participant { since: None, ..alice.clone() };
        assert_eq!(group(kind, birds(), vec![timeless]), Err(InvalidRules), "without a time");
        assert_eq!(GroupRules::new(kind, both(), JoinKey::from_bytes([7; 32])), Err(InvalidRules), "without words");
    }
    assert_eq!(group(Kind::Direct, About::named("Birds"), both()), Err(InvalidRules), "a direct chat with a name");
}

#[test]
fn a_group_is_bounded() {
    let admin = |n: usize| Participant { username: format!("user{n}"), ..takes_part("u", Role::Admin) };
    let many = |count: usize| group(Kind::Room, About::named("all"), (0..count).map(admin).collect());
    assert!(many(PARTICIPANTS).is_ok());
    assert_eq!(many(PARTICIPANTS + 1), Err(InvalidRules));
}
