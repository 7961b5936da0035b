use super::*;
use crate::{Content, MessageId, MessageState};
use std::{fs, path::PathBuf};

/// A folder that is gone with this value.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("waxwing-store-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn database(&self) -> PathBuf {
        self.0.join("history.db")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn key(byte: u8) -> LocalKey {
    LocalKey::from_bytes(&[byte; 32])
}

fn write(db: &mut Connection, count: u64, text: &str) -> Vec<i64> {
    in_transaction(db, |tx| {
        let chat = chats::ensure(tx, "bob")?.chat;
        let mut id = [0; 16];
        let insert = |number: u64| {
            id[..8].copy_from_slice(&number.to_be_bytes());
            let new = messages::NewMessage {
                chat,
                id: MessageId(id),
                author: "bob",
                mine: false,
                seq: Some(number),
                sent_at: 1,
                received_at: 1,
                reply_to: None,
                lifetime: None,
                content: &Content::Text(format!("{text} {number}")),
                state: &MessageState::Received,
            };
            messages::insert(tx, &new)
        };
        (1..=count).map(insert).collect::<Result<_, Error>>()
    })
    .unwrap()
}

/// A message that comes must not cost more in a long chat.
#[test]
fn messages_are_looked_up_by_their_ids_and_not_by_going_through_the_chat() {
    let db = open_in_memory(&key(1)).unwrap();
    for wanted in [
        "SELECT position FROM messages WHERE id = x'00' AND chat = 1 AND author = 'a' AND kind IN (0, 1, 10, 40) LIMIT 1",
        "SELECT EXISTS (SELECT 1 FROM messages WHERE id = x'00' AND chat = 1 AND author = 'a')",
        "SELECT EXISTS (SELECT 1 FROM messages WHERE id = x'00' AND chat = 1)",
        "SELECT chat, position FROM messages WHERE id = x'00' ORDER BY position",
        "UPDATE messages SET title = 'x' WHERE chat = 1 AND author = 'a' AND id = x'00' AND kind = 40",
    ] {
        let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {wanted}")).unwrap();
        let mut rows = plan.query([]).unwrap();
        let mut steps = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            steps.push(row.get::<_, String>("detail").unwrap());
        }
        assert!(steps.iter().any(|step| step.contains("messages_by_id")), "{wanted}: {steps:?}");
    }
}

/// Whatever byte is another one, of whatever page: that is said, and the file stays as it is.
#[test]
fn a_flipped_byte_on_any_page_is_found_and_nothing_is_written() {
    let place = Place::new("damage");
    let mut db = open(&place.database(), &key(1)).unwrap();
    write(&mut db, 300, "a message of an everyday length, more or less, to fill some pages");
    checkpoint(&db).unwrap();
    drop(db);
    let whole = fs::read(place.database()).unwrap();
    let page = 4096;
    assert!(whole.len() > 20 * page, "too few pages to mean anything");
    for start in (0..whole.len()).step_by(page) {
        // What is encrypted, the page's initialisation vector, and its code.
        for offset in [100, page - 80, page - 1] {
            let mut bad = whole.clone();
            bad[start + offset] ^= 1;
            fs::write(place.database(), &bad).unwrap();
            let found = open(&place.database(), &key(1)).and_then(|db| examine(&db));
            assert!(matches!(found, Err(Error::Damaged(_))), "page {}, byte {offset}: {found:?}", start / page);
            assert!(fs::read(place.database()).unwrap() == bad, "page {}, byte {offset}: written", start / page);
        }
    }
    fs::write(place.database(), &whole).unwrap();
    let db = open(&place.database(), &key(1)).unwrap();
    examine(&db).unwrap();
    assert_eq!(messages::newest(&db, 1, 1000).unwrap().len(), 300);
}

/// Damage that is met while reading is called so, and not taken for a full disk or an empty table.
#[test]
fn a_damaged_page_that_is_read_is_an_error_of_its_own() {
    let place = Place::new("reading");
    let mut db = open(&place.database(), &key(1)).unwrap();
    write(&mut db, 300, "a message of an everyday length, more or less, to fill some pages");
    checkpoint(&db).unwrap();
    drop(db);
    let whole = fs::read(place.database()).unwrap();
    let mut met = 0;
    for start in (0..whole.len()).step_by(4096) {
        let mut bad = whole.clone();
        bad[start + 2000] ^= 1;
        fs::write(place.database(), &bad).unwrap();
        let read = open(&place.database(), &key(1)).and_then(|db| messages::newest(&db, 1, 1000));
        match read {
            Ok(all) => assert_eq!(all.len(), 300, "page {}", start / 4096),
            Err(Error::Damaged(_)) => met += 1,
            Err(other) => panic!("page {}: {other:?}", start / 4096),
        }
    }
    assert!(met > 5, "only {met} pages were read");
}

#[test]
fn another_key_opens_nothing_and_writes_nothing() {
    let place = Place::new("key");
    drop(open(&place.database(), &key(1)).unwrap());
    let whole = fs::read(place.database()).unwrap();
    assert!(matches!(open(&place.database(), &key(2)), Err(Error::Damaged(_))));
    assert!(fs::read(place.database()).unwrap() == whole);
    open(&place.database(), &key(1)).unwrap();
}

/// Without encryption, to see into the pages: the same settings, with and without the one that matters.
#[test]
fn deleted_and_replaced_texts_are_not_in_free_pages() {
    let canary = "canary-2b7e-under-the-ice";
    let long = format!("{canary} {}", "and so on ".repeat(2000));
    for (name, secure, found) in [("secure", true, false), ("plain", false, true)] {
        let place = Place::new(name);
        let mut db = furnish(Connection::open(place.database()).unwrap()).unwrap();
        let is_on: bool = db.query_row("PRAGMA secure_delete", [], |row| row.get(0)).unwrap();
        assert!(is_on, "the profile's own setting");
        if !secure {
            db.execute_batch("PRAGMA secure_delete = OFF").unwrap();
        }
        let positions = write(&mut db, 40, &long);
        in_transaction(&mut db, |tx| {
            for (number, position) in positions.iter().enumerate() {
                match number % 2 {
                    0 => messages::delete(tx, *position)?,
                    _ => drop(tx.execute("UPDATE messages SET text = '' WHERE position = ?1", [position])?),
                }
            }
            Ok::<_, Error>(())
        })
        .unwrap();
        checkpoint(&db).unwrap();
        drop(db);
        let file = fs::read(place.database()).unwrap();
        let here = file.windows(canary.len()).any(|window| window == canary.as_bytes());
        assert_eq!(here, found, "secure_delete: {secure}");
        let log = fs::metadata(place.0.join("history.db-wal")).map_or(0, |file| file.len());
        assert_eq!(log, 0, "the write-ahead log still has it");
    }
}
