//! What the operator sees, locks, signs out and deletes.

use super::{FreshDatabase, START_MS, Stage, enrolment, new_account, new_device, username};
use crate::store::{
    AppendOutcome, EnrolOutcome, Enrolment, NewInvite, ReviseOutcome, SignUpOutcome, Value,
    columns::{COLUMNS, Column},
};
use std::collections::BTreeSet;

/// A locked account is one until it is unlocked, and everybody can tell.
pub async fn a_locked_account_is_seen_to_be(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob) = (stage.person("alice", 1).await, stage.person("bob", 2).await);
    let disabled = async |person: &super::Person| {
        let login = stage.store.login_record(&person.name).await.unwrap().unwrap().disabled;
        let device = stage.store.device(person.device).await.unwrap().unwrap().disabled;
        assert_eq!(login, device);
        login
    };
    stage.store.set_disabled(alice.account, Some(START_MS)).await.unwrap();
    assert!(disabled(&alice).await && !disabled(&bob).await);
    let names: Vec<_> =
        stage.store.accounts().await.unwrap().into_iter().map(|one| (one.username, one.disabled_ms)).collect();
    assert_eq!(names, [(alice.name.clone(), Some(START_MS)), (bob.name, None)]);
    assert_eq!(stage.store.statistics().await.unwrap().disabled, 1);
    stage.store.set_disabled(alice.account, None).await.unwrap();
    assert!(!disabled(&alice).await);
}

/// The day of the last sign-in is all that is kept of it.
pub async fn a_sign_in_leaves_its_day(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let alice = stage.person("alice", 1).await;
    stage.store.seen(alice.device, 20_000).await.unwrap();
    assert_eq!(stage.store.device(alice.device).await.unwrap().unwrap().seen_day, Some(20_000));
    let summary = stage.store.account_summary(&alice.name).await.unwrap().unwrap();
    assert_eq!((summary.seen_day, summary.devices), (Some(20_000), 1));
    assert_eq!(stage.store.account_summary(&username("nobody")).await.unwrap(), None);
}

/// A device that is signed out is unknown from then on, has nothing left, and holds nothing up.
pub async fn a_signed_out_device_is_gone(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    let second = stage.enrol(&bob, 3, 2).await;
    stage.send(alice.device, id, 1, 1).await;

    assert_eq!(stage.store.sign_out(bob.account, Some(alice.device)).await.unwrap(), [], "not Bob's");
    assert_eq!(stage.store.sign_out(bob.account, Some(bob.device)).await.unwrap(), [bob.device]);
    assert_eq!(stage.store.device(bob.device).await.unwrap(), None);
    assert!(stage.store.fetch(bob.device, id, 0).await.unwrap().is_none());
    assert!(stage.store.fetch_inbox(bob.device, 0).await.unwrap().is_empty());
    assert_eq!(stage.send(bob.device, id, 1, 1).await, AppendOutcome::UnknownConversation);
    // Alice is the only one left, so what she has is had by all.
    stage.store.acknowledge(alice.device, id, 2).await.unwrap();
    assert!(stage.seqs(alice.device, id, 0).await.is_empty());
    assert!(matches!(stage.send(alice.device, id, 2, 1).await, AppendOutcome::Accepted { seq: 3, .. }));

    let devices = stage.store.devices(bob.account).await.unwrap();
    assert_eq!(devices.iter().map(|one| one.device).collect::<Vec<_>>(), [second]);
    assert_eq!(stage.store.sign_out(bob.account, None).await.unwrap(), [second]);
    assert!(stage.store.sign_out(bob.account, None).await.unwrap().is_empty());
    // Their owner comes back in the place of one that is gone, and takes the other one off the list.
    let back = Enrolment { replaces: Some(second), ..enrolment(bob.account, new_device(4), 3, Vec::new()) };
    assert_eq!(stage.store.enrol_device(back).await.unwrap(), EnrolOutcome::Enrolled);
    assert_eq!(stage.remove(&bob, 4, &[bob.device]).await, ReviseOutcome::Revised);
}

/// A deleted account is in no list, and nothing is told of it.
pub async fn a_deleted_account_is_no_account(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, _) = stage.pair().await;
    stage.store.delete_account(alice.account, START_MS).await.unwrap();
    assert_eq!(stage.store.account_summary(&alice.name).await.unwrap(), None);
    let names: Vec<_> = stage.store.accounts().await.unwrap().into_iter().map(|one| one.username).collect();
    assert_eq!(names, [bob.name]);
    assert_eq!(stage.store.statistics().await.unwrap().accounts, 1);
    assert_eq!(stage.store.create_account(new_account("alice", 9)).await.unwrap(), SignUpOutcome::UsernameTaken);
}

/// What is told of an account names every column that it fills and nothing of others but who they are.
pub async fn a_disclosure_is_whole(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    let (alice, bob, id) = stage.pair().await;
    stage
        .store
        .publish_key_packages(alice.device, vec![vec![1; 9].into()], Some(vec![2].into()), START_MS)
        .await
        .unwrap();
    stage.send(alice.device, id, 1, 1).await;
    let told = stage.store.disclose(alice.account).await.unwrap();
    let cell = |table: &str, column: &str| {
        let table = told.iter().find(|one| one.table == table).unwrap();
        table
            .rows
            .iter()
            .flatten()
            .filter(|(name, _)| name == column)
            .map(|(_, value)| value.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(cell("account", "username"), [Value::Text("alice".into())]);
    assert_eq!(cell("entry", "day"), vec![Value::Integer((START_MS / 86_400_000) as i64); cell("entry", "day").len()]);
    let sent: i64 =
        cell("entry", "number").iter().map(|one| if let Value::Integer(count) = one { *count } else { 0 }).sum();
    assert_eq!(sent, 2, "the commit and the message");
    let peers = told.iter().flat_map(|table| &table.rows).flatten();
    assert!(peers.clone().any(|(_, value)| *value == Value::Text("bob".into())));
    let whole = peers.filter(|(_, value)| *value == Value::Bytes(bob.device.0.to_vec()));
    assert_eq!(whole.count(), 0, "Bob's devices are Bob's");
    for table in &told {
        let known = |column: &str| {
            ["day", "number", "bytes", "is_welcome"].contains(&column) || Column::find(table.table, column).is_some()
        };
        let unknown: BTreeSet<_> =
            table.rows.iter().flatten().map(|(name, _)| name.as_str()).filter(|name| !known(name)).collect();
        assert!(unknown.is_empty() || unknown == BTreeSet::from(["device"]), "{}: {unknown:?}", table.table);
    }
    assert!(
        stage.store.disclose(crate::store::AccountId(999)).await.unwrap().iter().all(|table| table.rows.is_empty())
    );
}

/// A revoked invite lets nobody in; the list has what is left, the newest first.
pub async fn invites_are_listed_and_revoked(database: &dyn FreshDatabase) {
    let stage = Stage::open(database).await;
    for number in 1..=3 {
        let expires_ms = (number == 2).then_some(START_MS + 50);
        let note = format!("for {number}'; --");
        let code_hash = [number; 32];
        let now_ms = START_MS + u64::from(number);
        let invite = NewInvite { code_hash, uses: number.into(), expires_ms, note, now_ms };
        stage.store.create_invite(invite).await.unwrap();
    }
    let invited = async |number: u8, now_ms| stage.store.is_invited([number; 32], now_ms).await.unwrap();
    assert!(invited(2, START_MS + 49).await && !invited(2, START_MS + 50).await);
    assert!(invited(1, u64::from(u32::MAX)).await && !invited(4, START_MS).await);
    let mut used = new_account("alice", 1);
    used.invite = Some([3; 32]);
    assert!(matches!(stage.store.create_account(used).await.unwrap(), SignUpOutcome::Created(_)));
    assert!(stage.store.revoke_invite([1; 32]).await.unwrap());
    assert!(!stage.store.revoke_invite([1; 32]).await.unwrap() && !invited(1, START_MS).await);
    let left = stage.store.invites().await.unwrap().into_iter();
    let left: Vec<_> = left.map(|one| (one.code_hash[0], one.uses_left, one.expires_ms, one.note)).collect();
    assert_eq!(left, [(3, 2, None, "for 3'; --".into()), (2, 2, Some(START_MS + 50), "for 2'; --".into())]);
    let mut refused = new_account("bob", 2);
    refused.invite = Some([1; 32]);
    assert_eq!(stage.store.create_account(refused).await.unwrap(), SignUpOutcome::BadInvite);
}

/// The tables that hold nothing about an account.
pub const OF_NOBODY: [&str; 7] =
    ["server", "server_state", "schema_version", "invite", "dropped_segment", "node", "code"];

/// Checks that every column of the schema (as `table.column`) is in the list of columns, and every table that leads to an
/// account in what is disclosed. For the tests of each database.
pub async fn every_column_is_listed(stage: &Stage, schema: BTreeSet<(String, String)>, mysql: bool) {
    let named = |place: (&str, &str)| (place.0.to_owned(), place.1.to_owned());
    let listed = COLUMNS.iter().filter_map(|column| if mysql { column.mysql } else { column.sqlite });
    let listed: BTreeSet<_> = listed.map(named).collect();
    let missing: Vec<_> = schema.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&schema).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "store/columns.rs lacks {missing:?}, and lists {gone:?} which are not there"
    );
    let tables: BTreeSet<&str> = schema.iter().map(|(table, _)| table.as_str()).collect();
    let disclosed = stage.store.disclose(crate::store::AccountId(1)).await.unwrap();
    let told: BTreeSet<&str> = disclosed.iter().map(|table| table.table).chain(OF_NOBODY).collect();
    let untold: Vec<_> = tables.difference(&told).collect();
    assert!(untold.is_empty(), "disclose says nothing of {untold:?}: see disclosure.rs");
}
