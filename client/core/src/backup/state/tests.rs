use super::*;
use crate::store::{self, chats};
use waxwing_e2ee::{
    account::{AuthenticationKey, DeviceList as List, IdentityKey, ListedDevice},
    local::LocalKey,
    mls::{Mls, SignatureKey},
};
use zeroize::Zeroizing;

fn own(identity: &IdentityKey) -> Own {
    Own {
        username: "alice".into(),
        full_name: Some("Alice".into()),
        server: "waxwing://a:1/#x".into(),
        device: [1; 16],
        authentication_key: Zeroizing::new([0xa5; 32]),
        mls_key: vec![2; 32],
        credential: vec![3; 32],
        identity_key: identity.public().to_der(),
        device_list: vec![4; 32],
        account_key: Some(Zeroizing::new([0xb6; 32])),
        incarnation: None,
    }
}

fn contact_of(username: &str) -> (IdentityKey, Vec<u8>) {
    let mut rng = crate::random();
    let identity = IdentityKey::generate(&mut rng);
    let device = ListedDevice {
        id: [8; 16],
        mls_key: [9; 32],
        authentication_key: AuthenticationKey::generate(&mut rng).public(),
        since_ms: 1,
        sealed_name: Vec::new(),
    };
    let list = List::first(username, device).sign(&identity, &mut rng);
    (identity, list)
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_state_comes_back_and_no_key_of_a_device_or_group_is_in_it() {
    let mut rng = crate::random();
    let mut here = store::open_in_memory(&LocalKey::generate(&mut rng)).unwrap();
    let mut alice = own(&IdentityKey::generate(&mut rng));
    let (bob, list) = contact_of("bob");
    let mut secrets: Vec<Vec<u8>> = vec![vec![0xa5; 32], vec![0xb6; 32]];
    store::in_transaction(&mut here, |tx| {
        let signer = SignatureKey::generate().unwrap();
        signer.store(&Mls::new(tx)).unwrap();
        contacts::pin(tx, "bob", &bob.public().to_der(), &list)?;
        contacts::set_verified(tx, "bob", Some(&bob.public().fingerprint()))?;
        contacts::set_full_name(tx, "bob", Some("Bob B."))?;
        let chat = chats::ensure(tx, "bob")?.chat;
        chats::set_active(tx, chat, &[6; 16], 5, 1)?;
        chats::set_join_key(tx, chat, &[7; 32])
    })
    .unwrap();
    // Everything that the MLS state's tables hold.
    let tables: Vec<String> = here
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'openmls%'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(!tables.is_empty());
    for table in tables {
        let mut query = here.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = query.column_count();
        let mut rows = query.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                if let Ok(blob) = row.get::<_, Vec<u8>>(column) {
                    secrets.extend((blob.len() >= 24).then_some(blob));
                }
            }
        }
    }
    assert!(secrets.len() > 2, "the device's key is nowhere");

    let plaintext = collect(&here, &alice).unwrap().encode().unwrap();
    assert!(contains(&plaintext, &[7; 32]), "the join key is missing");
    for secret in &secrets {
        assert!(!contains(&plaintext, secret), "{} bytes of a device's or group's keys", secret.len());
    }

    let mut there = store::open_in_memory(&LocalKey::generate(&mut rng)).unwrap();
    alice.full_name = None;
    store::in_transaction(&mut there, |tx| apply(tx, &mut alice, State::decode(&plaintext).unwrap())).unwrap();
    let contact = contacts::load(&there, "bob").unwrap().unwrap();
    assert_eq!(contact.identity_key, bob.public().to_der());
    assert_eq!(contact.verified.as_deref(), Some(bob.public().fingerprint().as_slice()));
    assert_eq!(contact.full_name.as_deref(), Some("Bob B."));
    let chat = chats::by_name(&there, "bob").unwrap().unwrap();
    assert_eq!((chat.phase, chat.conversation), (Phase::Waiting, Some([6; 16])));
    assert_eq!(chat.join_key.as_deref(), Some(&[7; 32]));
    assert_eq!(alice.full_name.as_deref(), Some("Alice"));
}

#[test]
fn what_this_device_found_out_itself_stays() {
    let mut rng = crate::random();
    let mut db = store::open_in_memory(&LocalKey::generate(&mut rng)).unwrap();
    let mut alice = own(&IdentityKey::generate(&mut rng));
    let ((bob, list), (other, other_list)) = (contact_of("bob"), contact_of("bob"));
    contacts::pin(&db, "bob", &bob.public().to_der(), &list).unwrap();
    let claim = |identity: &IdentityKey, device_list: Vec<u8>, username: &str| Contact {
        username: username.into(),
        identity: identity.public().to_der(),
        former: Vec::new(),
        device_list: Some(device_list),
        verified: Some(identity.public().fingerprint()),
        full_name: None,
    };
    // Another pin, a list that another identity signed, and names that are none.
    let claims =
        vec![claim(&other, other_list.clone(), "bob"), claim(&bob, other_list, "carol"), claim(&bob, list, "../x")];
    let state = State::new(claims, Vec::new(), BTreeMap::new());
    store::in_transaction(&mut db, |tx| apply(tx, &mut alice, state)).unwrap();
    let kept = contacts::load(&db, "bob").unwrap().unwrap();
    assert_eq!((kept.identity_key, kept.verified), (bob.public().to_der(), None));
    assert_eq!(contacts::all(&db).unwrap(), ["bob"]);
}

#[test]
fn a_chat_keeps_its_eras_whichever_came_first() {
    let mut rng = crate::random();
    let alice = || own(&IdentityKey::generate(&mut crate::random()));
    let chat = |conversation: u8, era| Chat {
        name: "bob".into(),
        conversation: [conversation; 16],
        era,
        join_key: None,
        read: None,
    };
    let state = || State::new(Vec::new(), vec![chat(1, 0), chat(2, 1)], BTreeMap::new());
    for known in [None, Some(2), Some(3)] {
        let mut db = store::open_in_memory(&LocalKey::generate(&mut rng)).unwrap();
        store::in_transaction(&mut db, |tx| {
            if let Some(conversation) = known {
                let row = chats::ensure(tx, "bob")?;
                chats::set_waiting(tx, row.chat, &[conversation; 16])?;
            }
            apply(tx, &mut alice(), state())
        })
        .unwrap();
        let mut logs: Vec<_> = logs(&db).unwrap().into_iter().map(|log| (log.era, log.conversation[0])).collect();
        logs.sort_unstable();
        match known {
            Some(3) => assert_eq!(logs, [(0, 1), (1, 2), (2, 3)]),
            _ => assert_eq!(logs, [(0, 1), (1, 2)]),
        }
    }
}
