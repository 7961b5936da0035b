use super::*;
use proptest::prelude::*;

fn contact(name: &str) -> Contact {
    Contact {
        username: name.to_owned(),
        identity: vec![0x30; 422],
        former: vec![vec![0x31; 422].into()],
        device_list: Some(vec![2; 700]),
        verified: Some([3; 32]),
        full_name: Some("Bob Builder".to_owned()),
    }
}

fn chat(name: &str) -> Chat {
    Chat {
        name: name.to_owned(),
        conversation: [4; 16],
        era: 2,
        join_key: Some(JoinKey::from_bytes([0xab; 32])),
        read: Some(Position { era: 2, seq: 77 }),
    }
}

fn settings() -> BTreeMap<String, String> {
    [("receipts".to_owned(), "on".to_owned())].into()
}

#[test]
fn a_state_survives_encoding() {
    let plain = Contact { former: vec![], device_list: None, verified: None, full_name: None, ..contact("carol") };
    let bare = Chat { join_key: None, read: None, ..chat("carol") };
    let state = State::new(vec![contact("bob"), plain], vec![chat("bob"), bare], settings());
    let bytes = state.encode().unwrap();
    assert_eq!(bytes.len(), minicbor::len(&state));
    assert_eq!(State::decode(&bytes), Ok(state.clone()));
    assert_eq!(state.clone().split(), [state]);
    for end in 0..bytes.len() {
        assert_eq!(State::decode(&bytes[..end]), Err(BackupError::Malformed), "cut at {end}");
    }
    let mut newer = bytes.to_vec();
    newer[1] = 2;
    assert_eq!(State::decode(&newer), Err(BackupError::Newer));
}

#[test]
fn a_large_state_is_split_into_parts_that_fit_and_add_up() {
    let contacts = (0..1000).map(|number| contact(&format!("bob{number}"))).collect();
    let chats = (0..1000).map(|number| chat(&format!("bob{number}"))).collect();
    let state = State::new(contacts, chats, settings());
    assert_eq!(state.encode(), Err(BackupError::TooLong));
    let parts = state.clone().split();
    assert!(parts.len() < 10, "{}", parts.len());
    assert!(parts.iter().all(|part| part.encode().is_ok()));
    assert_eq!(State::merge(parts), state);
}

#[test]
fn a_join_key_is_never_printed() {
    let shown = format!("{:?} {:?}", chat("bob"), chat("bob").join_key);
    assert!(!shown.contains("171") && !shown.contains("ab,"), "{shown}");
}

proptest! {
    #[test]
    fn whatever_bytes_say_they_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = State::decode(&bytes);
        let _ = State::decode(&[&[0x84, 1], bytes.as_slice()].concat());
    }
}
