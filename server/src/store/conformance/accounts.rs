//! Accounts, devices, invites.

use super::{FreshDatabase, START_MS, Stage, device_id, enrolment, message, new_account, new_device, username};
use crate::store::{
    AccountId, AppendOutcome, DeviceRow, EnrolOutcome, Enrolment, NewInvite, SealedEmail, SignUpOutcome, StoreError,
};
use std::collections::HashSet;
use waxwing_protocol::{AccountRecord, ConversationId, InboxNotice, limits::DEVICES_PER_ACCOUNT};

/// Everything that was given at sign-up comes back.
pub async fn sign_up_then_look_up(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let given = new_account("alice", 1);
    let alice = stage.person("alice", 1).await;
    let public = AccountRecord {
        username: alice.name.clone(),
        identity_key: given.identity_key.into(),
        device_list: given.device_list.into(),
        backup_key: given.backup_key.into(),
        rotations: Vec::new(),
    };
    let login = stage.store.login_record(&alice.name).await.unwrap().unwrap();
    assert_eq!((login.account, login.kdf, &login.sealed), (alice.account, given.kdf, &given.sealed));
    assert_eq!((login.password_hash, login.recovery_hash), (given.password_hash, given.recovery_hash));
    assert_eq!(login.record, public);
    assert_eq!(stage.store.account(&alice.name).await.unwrap(), Some(public));
    let device = DeviceRow {
        account: alice.account,
        username: alice.name,
        authentication_key: [1; 32],
        disabled: false,
        seen_day: None,
    };
    assert_eq!(stage.store.device(alice.device).await.unwrap(), Some(device));

    let nobody = username("nobody");
    assert!(stage.store.login_record(&nobody).await.unwrap().is_none());
    assert_eq!(stage.store.account(&nobody).await.unwrap(), None);
    assert_eq!(stage.store.device(device_id(9)).await.unwrap(), None);
}

/// A name and a device id are there once, and a refused sign-up leaves nothing behind.
pub async fn a_taken_name_or_device_creates_nothing(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    stage.person("alice", 1).await;
    let sign_up = |name: &str, device| stage.store.create_account(new_account(name, device));
    assert_eq!(sign_up("alice", 2).await.unwrap(), SignUpOutcome::UsernameTaken);
    assert_eq!(stage.store.device(device_id(2)).await.unwrap(), None);
    assert_eq!(sign_up("bob", 1).await.unwrap(), SignUpOutcome::DeviceExists);
    assert_eq!(stage.store.account(&username("bob")).await.unwrap(), None);

    let mut racers = tokio::task::JoinSet::new();
    for device in 10..20 {
        let store = stage.store.clone();
        racers.spawn(async move { store.create_account(new_account("carol", device)).await.unwrap() });
    }
    let outcomes = racers.join_all().await;
    assert_eq!(outcomes.iter().filter(|one| matches!(one, SignUpOutcome::Created(_))).count(), 1);
    assert_eq!(outcomes.iter().filter(|one| **one == SignUpOutcome::UsernameTaken).count(), 9);
}

/// What looks like SQL, or is no ASCII, or has wildcards, is a text like any other.
pub async fn hostile_texts_are_stored_literally(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let hostile = "'; DROP TABLE account; -- \" ` \\ % _ \u{1f426}\u{200d}\u{fe0f} \r\n\t end";
    let mut given = new_account("a_b", 1);
    given.password_hash = [hostile.as_bytes(), b"\0\xff"].concat();
    given.recovery_hash = [b"\xfe\0", hostile.as_bytes()].concat();
    given.full_name = Some(hostile.as_bytes().to_vec());
    given.email = Some(SealedEmail { lookup: [0x27; 32], sealed: hostile.as_bytes().to_vec() });
    given.device_list = b"\0\xff'\\".to_vec();
    assert!(matches!(stage.store.create_account(given.clone()).await.unwrap(), SignUpOutcome::Created(_)));
    let login = stage.store.login_record(&username("a_b")).await.unwrap().unwrap();
    assert_eq!((login.password_hash, login.recovery_hash), (given.password_hash, given.recovery_hash));
    assert_eq!(login.record.device_list.0, given.device_list);
    for other in ["axb", "a-b", "a.b"] {
        assert_eq!(stage.store.account(&username(other)).await.unwrap(), None, "{other}");
    }
    let invite = NewInvite { note: hostile.to_owned(), ..invite(1, None) };
    stage.store.create_invite(invite).await.unwrap();
    assert!(stage.store.account(&username("a_b")).await.unwrap().is_some());
}

/// Of two devices that enrol at once with the same version of the list, one gets in.
pub async fn enrolment_takes_the_next_version_only(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let alice = stage.person("alice", 1).await;
    let enrol = |device, version| {
        let (store, account) = (stage.store.clone(), alice.account);
        async move { store.enrol_device(enrolment(account, new_device(device), version, vec![device])).await.unwrap() }
    };
    for version in [0, 1, 3, u64::MAX] {
        assert_eq!(enrol(2, version).await, EnrolOutcome::Conflict, "version {version}");
    }
    assert_eq!(enrol(1, 2).await, EnrolOutcome::Conflict, "a device id that exists");
    let outcomes = tokio::join!(enrol(2, 2), enrol(3, 2));
    let (winner, loser) = match outcomes {
        (EnrolOutcome::Enrolled, EnrolOutcome::Conflict) => (2, 3),
        (EnrolOutcome::Conflict, EnrolOutcome::Enrolled) => (3, 2),
        other => panic!("{other:?}"),
    };
    assert_eq!(stage.store.account(&alice.name).await.unwrap().unwrap().device_list.0, [winner]);
    let row = stage.store.device(device_id(winner)).await.unwrap().unwrap();
    assert_eq!((row.account, row.authentication_key), (alice.account, [winner; 32]));
    assert_eq!(stage.store.device(device_id(loser)).await.unwrap(), None);
    assert_eq!(enrol(loser, 3).await, EnrolOutcome::Enrolled);
}

/// The device after the last allowed one is refused.
pub async fn an_account_has_a_limited_number_of_devices(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let alice = stage.person("alice", 1).await;
    let limit = u8::try_from(DEVICES_PER_ACCOUNT).unwrap();
    for device in 2..=limit {
        stage.enrol(&alice, device, device.into()).await;
    }
    let one_more = stage.store.enrol_device(enrolment(alice.account, new_device(99), u64::from(limit) + 1, vec![]));
    assert_eq!(one_more.await.unwrap(), EnrolOutcome::Conflict);
    assert_eq!(stage.store.device(device_id(99)).await.unwrap(), None);
}

/// A profile whose keys must not be used again comes back as another device: the old one is gone in the same step, also
/// where the account is full.
pub async fn a_device_takes_the_place_of_another(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let replacing = |device: u8, version: u64, replaced: u8| {
        let new = enrolment(bob.account, new_device(device), version, vec![device]);
        stage.store.enrol_device(Enrolment { replaces: Some(device_id(replaced)), ..new })
    };
    assert_eq!(replacing(3, 2, alice.device.0[0]).await.unwrap(), EnrolOutcome::UnknownDevice);
    assert_eq!(stage.store.device(device_id(3)).await.unwrap(), None, "nothing of a refused one stays");
    assert_eq!(replacing(3, 3, bob.device.0[0]).await.unwrap(), EnrolOutcome::Conflict);
    assert!(stage.store.device(bob.device).await.unwrap().is_some());

    let limit = u8::try_from(DEVICES_PER_ACCOUNT).unwrap();
    for (device, version) in (100..100 + limit - 1).zip(2..) {
        stage.enrol(&bob, device, version).await;
    }
    let version = u64::from(limit) + 1;
    assert_eq!(replacing(3, version, bob.device.0[0]).await.unwrap(), EnrolOutcome::Enrolled);
    assert_eq!(stage.store.device(bob.device).await.unwrap(), None);
    assert_eq!(stage.send(bob.device, id, 1, 1).await, AppendOutcome::UnknownConversation);
    assert_eq!(stage.store.account(&bob.name).await.unwrap().unwrap().device_list.0, [3]);
    let notices = stage.store.fetch_inbox(alice.device, 0).await.unwrap();
    let newest = InboxNotice::DeviceListChanged { username: bob.name.clone(), version };
    assert_eq!(notices.last().map(|item| &item.notice), Some(&newest));
    let new = device_id(3);
    assert!(stage.store.fetch_inbox(new, 0).await.unwrap().is_empty(), "it knows of itself");
    let joined = stage.join(new, id, ("join", 1), 9000).await;
    assert_eq!(joined, AppendOutcome::Accepted { seq: 2, time_ms: START_MS + 9000 });
    assert_eq!(stage.send(new, id, 1, 2).await, AppendOutcome::Accepted { seq: 3, time_ms: START_MS });
}

fn invite(uses: u32, expires_ms: Option<u64>) -> NewInvite {
    NewInvite { code_hash: [9; 32], uses, expires_ms, note: String::new(), now_ms: START_MS }
}

/// Ten come at once with an invite for three.
pub async fn an_invite_lets_in_as_many_as_it_says(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    stage.store.create_invite(invite(3, Some(START_MS + 1))).await.unwrap();
    let mut guests = tokio::task::JoinSet::new();
    for device in 10..20 {
        let store = stage.store.clone();
        let mut account = new_account(&format!("guest{device}"), device);
        account.invite = Some([9; 32]);
        guests.spawn(async move { store.create_account(account).await.unwrap() });
    }
    let outcomes = guests.join_all().await;
    let created: HashSet<AccountId> =
        outcomes.iter().filter_map(|one| if let SignUpOutcome::Created(id) = one { Some(*id) } else { None }).collect();
    assert_eq!(created.len(), 3);
    assert_eq!(outcomes.iter().filter(|one| **one == SignUpOutcome::BadInvite).count(), 7);
    let mut there = 0;
    for device in 10..20 {
        there += usize::from(stage.store.device(device_id(device)).await.unwrap().is_some());
    }
    assert_eq!(there, 3);
}

/// Unknown and expired codes let nobody in, and tell nobody which names exist.
pub async fn a_bad_invite_creates_nothing(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    stage.person("alice", 1).await;
    stage.store.create_invite(invite(1, Some(START_MS))).await.unwrap();
    for code in [[8; 32], [9; 32]] {
        for name in ["bob", "alice"] {
            let mut account = new_account(name, 2);
            account.invite = Some(code);
            assert_eq!(stage.store.create_account(account).await.unwrap(), SignUpOutcome::BadInvite);
        }
    }
    assert_eq!(stage.store.account(&username("bob")).await.unwrap(), None);
    assert_eq!(stage.store.device(device_id(2)).await.unwrap(), None);
}

/// A taken name costs no use of the invite.
pub async fn a_failed_sign_up_uses_no_invite(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    stage.person("alice", 1).await;
    stage.store.create_invite(invite(1, None)).await.unwrap();
    let sign_up = |name: &str, device| {
        let mut account = new_account(name, device);
        account.invite = Some([9; 32]);
        stage.store.create_account(account)
    };
    assert_eq!(sign_up("alice", 2).await.unwrap(), SignUpOutcome::UsernameTaken);
    assert_eq!(sign_up("bob", 1).await.unwrap(), SignUpOutcome::DeviceExists);
    assert!(matches!(sign_up("bob", 2).await.unwrap(), SignUpOutcome::Created(_)));
    assert_eq!(sign_up("carol", 3).await.unwrap(), SignUpOutcome::BadInvite);
}

/// The database keeps its incarnation.
pub async fn the_incarnation_stays(database: &dyn FreshDatabase) {
    let first = Stage::open(database).await;
    let incarnation = first.store.incarnation();
    assert_ne!(incarnation.0, [0; 16]);
    first.store.close().await;
    assert_eq!(Stage::open(database).await.store.incarnation(), incarnation);
}

/// After `close`, which may come twice, nothing is accepted.
pub async fn a_closed_store_says_so(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let alice = stage.person("alice", 1).await;
    stage.store.ping().await.unwrap();
    stage.store.close().await;
    stage.store.close().await;
    let conversation = ConversationId([7; 16]);
    assert!(matches!(stage.store.append(message(alice.device, conversation, 1, 0)).await, Err(StoreError::Closed)));
    assert!(matches!(stage.store.account(&alice.name).await, Err(StoreError::Closed)));
    assert!(matches!(stage.store.ping().await, Err(StoreError::Closed)));
}
