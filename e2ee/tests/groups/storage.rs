//! State and secrets in the database: all or nothing, and gone when used.

use crate::actors::*;
use ciborium::Value;
use rusqlite::Connection;
use std::collections::HashSet;
use waxwing_e2ee::mls::{Device, Group, Mls, MlsError, SUITE_ID, forget, savepoint};

#[test]
fn a_rollback_takes_back_the_ratchet_step() {
    let (mut alice, _, mut bob) = trio();
    let entry = alice.send("hello");
    let crash = bob.with(|group, _, known| {
        group.receive(known, &entry)?;
        Err::<(), _>(MlsError::Malformed) // whatever goes wrong before the commit
    });
    assert!(crash.is_err());
    assert_eq!(bob.receive(&entry).unwrap(), message(&alice, "hello"));
}

#[test]
fn a_savepoint_undoes_its_own_part_only() {
    let mut db = Connection::open_in_memory().unwrap();
    let tx = db.transaction().unwrap();
    tx.execute_batch("CREATE TABLE t (n)").unwrap();
    let insert = |n: i64| tx.execute("INSERT INTO t VALUES (?1)", [n]).map(drop);
    insert(1).unwrap();
    let failed: Result<(), rusqlite::Error> = savepoint(&tx, || {
        insert(2)?;
        savepoint(&tx, || insert(3))?;
        Err(rusqlite::Error::QueryReturnedNoRows)
    });
    assert!(failed.is_err());
    savepoint(&tx, || insert(4)).unwrap();
    let sum: i64 = tx.query_row("SELECT sum(n) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(sum, 5);
}

#[test]
fn what_is_forgotten_leaves_no_row_of_any_group_or_key() {
    let (mut alice, _, mut bob) = trio();
    let entry = alice.send("hello");
    bob.receive(&entry).unwrap();
    let mut tablet = Phone::bob(4);
    tablet.key_package();
    for phone in [&mut bob, &mut tablet] {
        let rows = |db: &Connection| -> Vec<(String, i64)> {
            let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*'";
            let mut query = db.prepare(names).unwrap();
            let names = query.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
            let count = |name: &String| db.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get(0));
            names
                .filter(|name| !name.ends_with("_migrations"))
                .map(|name| (name.clone(), count(&name).unwrap()))
                .collect()
        };
        assert!(rows(&phone.db).iter().any(|(_, count)| *count > 0));
        let tx = phone.db.transaction().unwrap();
        forget(&tx).unwrap();
        tx.commit().unwrap();
        let left: Vec<_> = rows(&phone.db).into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(left, [], "rows that were not forgotten");
    }
}

#[test]
fn a_failing_database_is_never_blamed_on_the_entry() {
    let tables = ["openmls_group_data", "openmls_epoch_keys_pairs", "openmls_key_packages", "openmls_encryption_keys"];
    for table in tables {
        let (mut alice, _, mut bob) = trio();
        let text = alice.send("hello");
        let commit = alice.update();
        let mut tablet = Phone::bob(4);
        let welcome = bob.prepare_add(&[tablet.key_package()]).unwrap().welcome.unwrap();
        for phone in [&bob, &tablet] {
            phone.db.execute_batch(&format!("ALTER TABLE {table} RENAME TO away")).unwrap();
        }
        for outcome in [tablet.join(&welcome), bob.receive_loaded(&text), bob.receive_loaded(&commit)] {
            if let Err(error) = outcome {
                assert!(matches!(error, MlsError::Database(_)), "{table}: {error}");
                assert!(!error.is_fault_of_entry());
            }
        }
        for phone in [&bob, &tablet] {
            phone.db.execute_batch(&format!("ALTER TABLE away RENAME TO {table}")).unwrap();
        }
        // Nothing was lost: the same entries are read once the database works again.
        bob.with(|group, _, _| group.commit_rejected()).unwrap();
        bob.receive(&text).ok();
        bob.receive(&commit).ok();
        assert_eq!(bob.view(), alice.view(), "{table}");
        tablet.join(&welcome).ok();
        assert!(tablet.in_chat(), "{table}");
    }
}

impl Phone {
    /// Receives without the panic of a missing chat.
    fn receive_loaded(&mut self, entry: &[u8]) -> Result<(), MlsError> {
        let tx = self.db.transaction()?;
        let mls = Mls::new(&tx);
        let Some(mut group) = Group::load(&mls, &CHAT)? else { return Ok(()) };
        group.receive(&self.known, entry)?;
        drop(group);
        Ok(tx.commit()?)
    }
}

#[test]
fn a_device_is_found_again() {
    let alice = Phone::alice(1);
    let mls = Mls::new(&alice.db);
    let load =
        |username, id: u8, public, credential: &[u8]| Device::load(&mls, username, &[id; 16], public, credential);
    let credential = waxwing_e2ee::account::credential::certify(&ALICE, "alice", &[1; 16], &alice.public, &mut rng());
    let found = load("alice", 1, &alice.public, &credential).unwrap().unwrap();
    assert_eq!(found.member(), alice.member());
    assert!(load("alice", 1, &[0; 32], &credential).unwrap().is_none());
    assert!(load("alice", 2, &alice.public, &credential).is_err());
    assert!(load("bob", 1, &alice.public, &credential).is_err());
    assert!(load("alice", 1, &alice.public, b"nonsense").is_err());
    assert_eq!(SUITE_ID, SUITE as u16);
}

#[test]
fn a_debug_print_shows_no_private_key() {
    let alice = Phone::alice(1);
    let row: Vec<u8> =
        alice.db.query_row("SELECT signature_key FROM openmls_signature_keys", [], |row| row.get(0)).unwrap();
    let private = byte_strings(&row).into_iter().find(|bytes| bytes.len() == 32 && *bytes != alice.public).unwrap();
    let shown = format!("{:?}", alice.device);
    assert!(!shown.contains(&format!("{private:?}")) && !shown.contains(&format!("{private:02x?}")), "{shown}");
}

#[test]
fn the_secret_of_a_message_is_gone_once_it_is_read() {
    let (mut alice, _, mut bob) = trio();
    let first = alice.send("first");
    bob.receive(&first).unwrap();
    let before = secrets(&bob.db);
    let second = alice.send("second");
    bob.receive(&second).unwrap();
    let after = everything(&bob.db);
    // The sender's ratchet stepped, and its old head is nowhere.
    assert_eq!(before.iter().filter(|secret| !after.contains(*secret)).count(), 1);
    let plaintext = b"second".to_vec();
    assert!(!after.contains(&plaintext));

    // So who steals the device now and lifts all of our restrictions cannot read either message.
    use openmls::prelude::{MlsGroupJoinConfig, MlsMessageIn, SenderRatchetConfiguration, tls_codec::Deserialize};
    use openmls_traits::OpenMlsProvider;
    bob.raw(|group, raw, _| {
        let lenient = MlsGroupJoinConfig::builder()
            .sender_ratchet_configuration(SenderRatchetConfiguration::new(1000, 1000))
            .max_past_epochs(1000)
            .build();
        group.set_configuration(raw.storage(), &lenient).unwrap();
        for entry in [first, second] {
            let entry = MlsMessageIn::tls_deserialize_exact(entry).unwrap().try_into_protocol_message().unwrap();
            assert!(group.process_message(raw, entry).is_err());
        }
    });
}

#[test]
fn the_secrets_of_an_epoch_are_gone_with_it() {
    let (mut alice, mut laptop, mut bob) = trio();
    bob.receive(&alice.send("hello")).unwrap();
    let before = [secrets(&alice.db), secrets(&bob.db)];
    assert!(before.iter().all(|secrets| secrets.len() > 10), "the test finds the secrets");
    let commit = alice.update();
    bob.receive(&commit).unwrap();
    laptop.receive(&commit).unwrap();
    for (before, phone) in before.iter().zip([&alice, &bob]) {
        let after = everything(&phone.db);
        let left: Vec<_> = before.iter().filter(|secret| after.contains(*secret)).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    let epochs: i64 = bob.db.query_row("SELECT count(*) FROM openmls_epoch_keys_pairs", [], |row| row.get(0)).unwrap();
    assert_eq!(epochs, 1);
}

#[test]
fn a_left_chat_leaves_no_secrets() {
    let (mut alice, mut laptop, _) = trio();
    let before = secrets(&laptop.db);
    let commit = alice.remove(&[laptop.member()]);
    laptop.receive(&commit).unwrap();
    let after = everything(&laptop.db);
    assert!(before.iter().all(|secret| !after.contains(secret)));
    assert!(secrets(&laptop.db).is_empty());
}

/// The secrets of the groups: what lies in the columns that hold nothing else.
fn secrets(db: &Connection) -> HashSet<Vec<u8>> {
    let query =
        "SELECT group_data FROM openmls_group_data WHERE data_type IN ('message_secrets', 'group_epoch_secrets')";
    columns(db, query)
}

/// Everything that openmls keeps, but for the resumption PSKs: they open no message, and the gate refuses their use.
fn everything(db: &Connection) -> HashSet<Vec<u8>> {
    [
        "SELECT group_data FROM openmls_group_data WHERE data_type <> 'resumption_psk_store'",
        "SELECT key_pairs FROM openmls_epoch_keys_pairs",
        "SELECT key_pair FROM openmls_encryption_keys",
        "SELECT key_package FROM openmls_key_packages",
        "SELECT proposal FROM openmls_proposals",
        "SELECT leaf_node FROM openmls_own_leaf_nodes",
        "SELECT psk_bundle FROM openmls_psks",
    ]
    .into_iter()
    .flat_map(|query| columns(db, query))
    .collect()
}

fn columns(db: &Connection, query: &str) -> HashSet<Vec<u8>> {
    let mut statement = db.prepare(query).unwrap();
    let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    rows.flat_map(|row| byte_strings(&row.unwrap())).filter(|bytes| (32..=64).contains(&bytes.len())).collect()
}

/// All byte strings in an encoded value; serde writes some as arrays of numbers.
fn byte_strings(encoded: &[u8]) -> Vec<Vec<u8>> {
    fn walk(value: &Value, found: &mut Vec<Vec<u8>>) {
        match value {
            Value::Bytes(bytes) => found.push(bytes.clone()),
            Value::Array(items) => {
                let byte = |item: &Value| item.as_integer().and_then(|n| u8::try_from(n).ok());
                match items.iter().map(byte).collect() {
                    Some(bytes) => found.push(bytes),
                    None => items.iter().for_each(|item| walk(item, found)),
                }
            }
            Value::Map(entries) => entries.iter().for_each(|(key, value)| {
                walk(key, found);
                walk(value, found);
            }),
            Value::Tag(_, value) => walk(value, found),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(&ciborium::from_reader(encoded).unwrap(), &mut found);
    found
}
