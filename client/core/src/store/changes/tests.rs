use super::*;
use crate::{
    Content, Message, MessageState,
    backup::{Range, entry_of, pack, unpack},
    store::{
        self,
        backup::{Log, restore, rows},
        chats, messages,
        messages::NewMessage,
    },
};
use waxwing_e2ee::{backup::GenerationKey, local::LocalKey};

fn database() -> Connection {
    store::open_in_memory(&LocalKey::generate(&mut crate::random())).unwrap()
}

fn insert(db: &Connection, id: u8, author: &str, text: &str, lifetime: Option<u32>) -> i64 {
    chats::ensure(db, "bob").unwrap();
    messages::insert(db, &new(id, author, &Content::Text(text.to_owned()), lifetime)).unwrap()
}

fn new<'a>(id: u8, author: &'a str, content: &'a Content, lifetime: Option<u32>) -> NewMessage<'a> {
    NewMessage {
        chat: 1,
        id: MessageId([id; 16]),
        author,
        mine: author == "alice",
        seq: Some(id.into()),
        sent_at: 1000,
        received_at: 2000,
        content,
        state: &MessageState::Received,
        reply_to: None,
        lifetime,
    }
}

fn target(id: u8) -> Target {
    Target { chat: 1, author: "bob".to_owned(), id: MessageId([id; 16]) }
}

fn change(kind: Kind, by: &str, seq: u64, value: &str) -> Change {
    Change { kind, by: by.to_owned(), era: 0, seq, at: 5000 + seq, value: value.to_owned() }
}

fn only(db: &Connection) -> Message {
    messages::newest(db, 1, 10).unwrap().pop().unwrap()
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let longer = |order: Vec<usize>| (0..count).map(move |at| [&order[..at], &[count - 1], &order[at..]].concat());
    orders(count - 1).into_iter().flat_map(longer).collect()
}

#[test]
fn whatever_comes_first_the_same_is_shown() {
    let changes = [
        change(Kind::Edit, "bob", 7, "second"),
        change(Kind::Edit, "bob", 8, "third"),
        change(Kind::React, "alice", 9, "👍\n🐦"),
        change(Kind::React, "alice", 10, "🐦"),
        change(Kind::Pin, "alice", 11, "1"),
    ];
    for order in orders(6) {
        let db = database();
        chats::ensure(&db, "bob").unwrap();
        for step in &order {
            match changes.get(*step) {
                Some(change) => drop(put(&db, &target(1), change).unwrap()),
                None => drop(insert(&db, 1, "bob", "first", None)),
            }
        }
        let message = only(&db);
        assert_eq!(message.content, Content::Text("third".to_owned()), "{order:?}");
        assert_eq!(message.edited_at, Some(5008), "{order:?}");
        assert_eq!(message.reactions, [Reaction { emoji: "🐦".into(), by: vec!["alice".into()] }], "{order:?}");
        assert!(message.pinned, "{order:?}");
    }
}

#[test]
fn nothing_brings_back_what_was_deleted() {
    for order in orders(4) {
        let db = database();
        chats::ensure(&db, "bob").unwrap();
        for step in &order {
            match step {
                0 => drop(insert(&db, 1, "bob", "first", None)),
                1 => drop(put(&db, &target(1), &change(Kind::Edit, "bob", 9, "second")).unwrap()),
                2 => drop(put(&db, &target(1), &change(Kind::React, "alice", 10, "👍")).unwrap()),
                _ => drop(put(&db, &target(1), &change(Kind::Delete, "bob", 8, "")).unwrap()),
            }
        }
        let message = only(&db);
        assert_eq!(message.content, Content::Deleted { by: "bob".into() }, "{order:?}");
        assert!(message.reactions.is_empty() && message.edited_at.is_none(), "{order:?}");
        let kept: String = db.query_row("SELECT group_concat(value) FROM changes", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, "", "{order:?}");
    }
}

#[test]
fn an_id_counts_with_its_author_only() {
    let db = database();
    insert(&db, 1, "bob", "mine", None);
    let of_mallory = Target { author: "mallory".to_owned(), ..target(1) };
    assert!(put(&db, &of_mallory, &change(Kind::Edit, "mallory", 9, "forged")).unwrap());
    assert!(put(&db, &of_mallory, &change(Kind::Delete, "mallory", 10, "")).unwrap());
    assert_eq!(only(&db).content, Content::Text("mine".to_owned()));
}

#[test]
fn a_change_of_ours_takes_its_place_among_the_others() {
    let db = database();
    insert(&db, 1, "bob", "first", None);
    let waiting = Change { era: WAITING, seq: WAITING, ..change(Kind::React, "alice", 0, "👍") };
    assert!(put(&db, &target(1), &waiting).unwrap());
    // Another device's, which stands in front of ours.
    assert!(!put(&db, &target(1), &change(Kind::React, "alice", 7, "🐦")).unwrap());
    place(&db, &target(1), &Change { era: 0, seq: 8, value: String::new(), ..waiting }).unwrap();
    assert_eq!(only(&db).reactions[0].emoji, "👍");
    assert!(put(&db, &target(1), &change(Kind::React, "alice", 9, "🐦")).unwrap());
    assert_eq!(only(&db).reactions[0].emoji, "🐦");
}

#[test]
fn a_backup_brings_back_what_was_done_and_never_what_was_deleted_or_is_to_disappear() {
    let db = database();
    insert(&db, 1, "bob", "first", None);
    insert(&db, 2, "bob", "deleted", None);
    insert(&db, 3, "bob", "fleeting", Some(60));
    insert(&db, 4, "bob", "deleted elsewhere", None);
    put(&db, &target(1), &change(Kind::Edit, "bob", 7, "edited")).unwrap();
    put(&db, &target(1), &change(Kind::React, "alice", 8, "👍")).unwrap();
    put(&db, &target(2), &change(Kind::Delete, "bob", 9, "")).unwrap();

    let log = Log { chat: 1, name: "bob".into(), era: 0, conversation: [9; 16], cursor: Some(10) };
    let range = Range { first: 1, last: 10 };
    let stored = rows(&db, 1, 0, range).unwrap();
    let texts: Vec<_> = stored.iter().map(|row| row.text.as_str()).collect();
    assert_eq!(texts, ["edited", "deleted elsewhere"]);
    let entry = entry_of(&log, range, &stored, &GenerationKey::from_bytes(1, &[7; 32]));
    let plaintext = pack(&log, stored).unwrap();

    let there = database();
    chats::ensure(&there, "bob").unwrap();
    // Heard of before the messages came back: a later reaction, and a deletion.
    put(&there, &target(1), &change(Kind::React, "carol", 11, "🐦")).unwrap();
    put(&there, &target(4), &change(Kind::Delete, "bob", 12, "")).unwrap();
    let back = unpack(&entry, &plaintext, "alice").unwrap();
    restore(&there, 1, 0, &back).unwrap();
    let all = messages::newest(&there, 1, 10).unwrap();
    let [first, last] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((&first.content, first.edited_at), (&Content::Text("edited".into()), Some(5007)));
    let emojis: Vec<_> = first.reactions.iter().map(|one| one.emoji.as_str()).collect();
    assert_eq!(emojis, ["👍", "🐦"]);
    assert_eq!(last.content, Content::Deleted { by: "bob".into() });
    // What the backup does not have yet is to be stored; what it has is not stored again.
    assert_eq!(store::backup::changes(&there, 1, 0).unwrap(), [1, 4]);
    let same = database();
    chats::ensure(&same, "bob").unwrap();
    // What could not be read is there now, in a month of which there are messages; what was there stays as it is.
    let mark = Content::Unreadable("why".into());
    messages::insert(&same, &new(1, "bob", &mark, None)).unwrap();
    insert(&same, 20, "bob", "of the same month", None);
    restore(&same, 1, 0, &back).unwrap();
    restore(&same, 1, 0, &back).unwrap();
    let texts: Vec<_> = messages::newest(&same, 1, 10).unwrap().into_iter().map(|one| one.content).collect();
    assert_eq!(texts, ["edited", "deleted elsewhere", "of the same month"].map(|text| Content::Text(text.into())));
    assert_eq!(store::backup::changes(&same, 1, 0).unwrap(), [0; 0]);
    assert_eq!(rows(&same, 1, 0, range).unwrap().first().map(|row| row.done.len()), Some(2));
}

#[test]
fn deleted_and_expired_words_are_nowhere_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let db = store::open_unencrypted(&path).unwrap();
    // Pages full of others around them, so that the index has merged and grown.
    for number in 10..200 {
        insert(&db, number, "bob", &format!("filler number {number} with some more words"), None);
    }
    insert(&db, 1, "bob", "the canarydeleted text", None);
    insert(&db, 2, "bob", "the canaryedited text", None);
    let position = insert(&db, 3, "bob", "the canaryexpired text", Some(1));
    let reacted = change(Kind::React, "alice", 220, "🐤");
    put(&db, &target(1), &reacted).unwrap();
    let found = |word: &str| {
        store::checkpoint(&db).unwrap();
        let mut bytes = Vec::new();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            bytes.extend(std::fs::read(file.unwrap().path()).unwrap());
        }
        bytes.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
    };
    for word in ["canarydeleted", "canaryedited", "canaryexpired", "🐤"] {
        assert!(found(word), "the test would see {word}");
    }
    put(&db, &target(1), &change(Kind::Delete, "bob", 230, "")).unwrap();
    put(&db, &target(2), &change(Kind::Edit, "bob", 231, "harmless")).unwrap();
    messages::set_expiry(&db, position, 1500).unwrap();
    assert_eq!(messages::next_expiry(&db).unwrap(), Some(1500));
    assert_eq!(messages::expire(&db, 1500).unwrap().len(), 1);
    for word in ["canarydeleted", "canaryedited", "canaryexpired", "🐤"] {
        assert!(!found(word), "{word} is still there");
    }
    assert!(found("filler number 150"));
}
