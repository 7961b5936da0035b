use super::*;
use crate::{
    Content, MessageId, MessageState,
    search::search,
    store::{
        self,
        changes::{Change, Kind, put},
        chats,
        messages::{self, NewMessage},
    },
};
use jiff::tz::TimeZone;
use waxwing_e2ee::{content::Media, local::LocalKey};

fn database() -> Connection {
    store::open_in_memory(&LocalKey::generate(&mut crate::random())).unwrap()
}

fn file(number: u8, name: &str, caption: &str) -> content::File {
    let media = Media {
        dimensions: Some((640, 480)),
        duration_ms: Some(u64::from(number) * 1000),
        thumbnail: Some(format!("thumbnail of {name}").into_bytes()),
    };
    content::File {
        name: name.to_owned(),
        media_type: "image/png".to_owned(),
        size: 4000,
        sealed: 16384,
        attachment: [number; 32],
        key: FileKey::from_bytes(*b"canarykey-canarykey-canarykey-00"),
        digest: [number; 32],
        caption: caption.to_owned(),
        media: Some(media),
    }
}

/// A message of alice, whose profile this is, with a file in a chat; it waits for the server if it has no seq.
fn send(db: &Connection, chat: &str, seq: Option<u64>, lifetime: Option<u32>, file: &content::File) -> (Target, i64) {
    let (chat, id) = (chats::ensure(db, chat).unwrap().chat, MessageId([file.attachment[0]; 16]));
    let new = NewMessage {
        chat,
        id,
        author: "alice",
        mine: true,
        seq,
        sent_at: 7,
        received_at: 7,
        content: &Content::File(Box::new(File::from(file))),
        state: &MessageState::Sent,
        reply_to: None,
        lifetime,
    };
    let target = Target { chat, author: "alice".to_owned(), id };
    // Either may come first: what is written here, or what comes from the log.
    let file_first = file.attachment[0].is_multiple_of(2);
    if file_first {
        insert(db, &target, file).unwrap();
    }
    let position = messages::insert(db, &new).unwrap();
    if !file_first {
        insert(db, &target, file).unwrap();
    }
    (target, position)
}

fn delete(db: &Connection, target: &Target) {
    let change = Change { kind: Kind::Delete, by: "alice".into(), era: 0, seq: 99, at: 9, value: String::new() };
    assert!(put(db, target, &change).unwrap());
}

fn dropped(db: &Connection) -> Vec<(u8, u64)> {
    let mut query = db.prepare("SELECT attachment, due_at FROM dropped_files ORDER BY attachment").unwrap();
    let rows = query.query_map([], |row| Ok((crate::store::array::<32>(row, "attachment")?[0], row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[test]
fn what_a_picture_is_like_is_kept_with_it() {
    let db = database();
    let picture = file(1, "lagoon.png", "us, there");
    let (target, position) = send(&db, "bob", Some(1), None, &picture);
    assert_eq!(load(&db, &target).unwrap().as_ref(), Some(&picture));
    let Content::File(shown) = messages::load(&db, position).unwrap().content else { panic!("no file") };
    assert_eq!((shown.dimensions, shown.duration_ms, shown.thumbnail), (Some((640, 480)), Some(1000), true));
    assert_eq!(thumbnail(&db, &target).unwrap().as_deref(), Some(&b"thumbnail of lagoon.png"[..]));
    let plain = content::File { media: None, ..file(2, "a.bin", "") };
    let (target, _) = send(&db, "bob", Some(2), None, &plain);
    assert_eq!((load(&db, &target).unwrap(), thumbnail(&db, &target).unwrap()), (Some(plain), None));
}

#[test]
fn files_are_found_by_their_captions_and_their_names() {
    let db = database();
    let (target, _) = send(&db, "bob", Some(1), None, &file(1, "Ferien_am-Meer.2026.png", "the lagoon at dusk"));
    send(&db, "bob", Some(2), None, &file(2, "report.pdf", ""));
    let found = |asked: &str| {
        let found = search(&db, asked, 10, &TimeZone::UTC).unwrap();
        let name = |hit: crate::Hit| match hit.message.content {
            Content::File(file) => (file.name, hit.snippet.text),
            _ => panic!("no file"),
        };
        found.hits.into_iter().map(name).collect::<Vec<_>>()
    };
    let lagoon = ("Ferien_am-Meer.2026.png".to_owned(), "the lagoon at dusk\nFerien_am-Meer.2026.png".to_owned());
    for asked in ["lagoon", "ferien", "meer 2026 from:alice", "png dusk", "fer*"] {
        assert_eq!(found(asked), std::slice::from_ref(&lagoon), "{asked}");
    }
    assert_eq!(found("report in:bob"), [("report.pdf".to_owned(), "report.pdf".to_owned())]);
    delete(&db, &target);
    assert!(found("lagoon").is_empty() && found("ferien").is_empty());
    // The index is what it would be if it were made anew.
    db.execute_batch("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)").unwrap();
}

#[test]
fn files_of_an_older_profile_are_found_too() {
    let db = rusqlite::Connection::open_in_memory().unwrap();
    let (old, new) = store::MIGRATIONS.split_at(12);
    old.iter().for_each(|migration| db.execute_batch(migration).unwrap());
    db.execute_batch(
        "INSERT INTO chats (name) VALUES ('bob');
         INSERT INTO messages (chat, id, author, mine, seq, place, sent_at, received_at, kind, text, state)
             VALUES (1, zeroblob(16), 'bob', 0, 1, 1, 1, 1, 40, 'dusk', 4), (1, x'01', 'bob', 0, 2, 2, 1, 1, 0, 'dusky', 4);
         INSERT INTO files (chat, author, id, name, media_type, size, sealed, attachment, key, digest)
             VALUES (1, 'bob', zeroblob(16), 'lagoon.png', 'image/png', 1, 4096, x'01', x'02', x'03');",
    )
    .unwrap();
    new.iter().for_each(|migration| db.execute_batch(migration).unwrap());
    let count = |word: &str| -> u64 {
        db.query_row("SELECT count(*) FROM words WHERE words MATCH ?1", [word], |row| row.get(0)).unwrap()
    };
    assert_eq!((count("lagoon"), count("dusk"), count("dusky")), (1, 1, 1));
    assert_eq!(store::words::months(&db).unwrap(), ["197001"]);
    db.execute_batch("INSERT INTO words (words, rank) VALUES ('integrity-check', 1); DELETE FROM messages").unwrap();
    assert_eq!((count("lagoon"), count("dusk"), count("dusky")), (0, 0, 0));
}

#[test]
fn the_server_need_not_keep_what_is_deleted_or_has_run_out() {
    let db = database();
    let minute = Some(60);
    let (deleted, _) = send(&db, "bob", Some(1), None, &file(1, "a", ""));
    let fleeting = [
        send(&db, "bob", Some(2), minute, &file(2, "unread", "")),
        send(&db, "bob", Some(3), minute, &file(3, "read", "")),
        send(&db, "#room", Some(4), minute, &file(4, "in a room", "")),
        send(&db, "bob", None, minute, &file(5, "never sent", "")),
    ];
    delete(&db, &deleted);
    assert_eq!(dropped(&db), [(1, 0)]);
    db.execute("UPDATE messages SET state = 5 WHERE seq = 3", []).unwrap();
    for (_, position) in &fleeting {
        messages::set_expiry(&db, *position, 1000).unwrap();
    }
    messages::expire(&db, 1000).unwrap();
    // What was read runs out there within its lifetime; what may not have been read is kept long enough to be.
    assert_eq!(dropped(&db), [(1, 0), (2, 1000 + UNREAD), (3, 61_000), (4, 1000 + UNREAD), (5, 1000)]);
    assert_eq!(next_dropped(&db).unwrap(), Some(([1; 32], 0)));
    forget_dropped(&db, &[1; 32]).unwrap();
    // Bob reads it at last. What others of a room have read says nothing of all of them.
    note_read(&db, deleted.chat, 2, 5000).unwrap();
    note_read(&db, fleeting[2].0.chat, 9, 5000).unwrap();
    assert_eq!(dropped(&db), [(2, 65_000), (3, 61_000), (4, 1000 + UNREAD), (5, 1000)]);
}

#[test]
fn what_others_have_sent_is_not_ours_to_drop() {
    let db = database();
    let (target, _) = send(&db, "bob", Some(1), None, &file(1, "a", ""));
    db.execute("UPDATE messages SET mine = 0", []).unwrap();
    delete(&db, &target);
    assert_eq!(dropped(&db), []);
}

#[test]
fn a_deleted_file_leaves_the_backup() {
    let db = database();
    let (target, _) = send(&db, "bob", Some(7), None, &file(1, "a", ""));
    db.execute("DELETE FROM backup_changes", []).unwrap();
    delete(&db, &target);
    assert_eq!(store::backup::changes(&db, target.chat, 0).unwrap(), [7]);
    let range = crate::backup::Range { first: 1, last: 10 };
    assert!(store::backup::rows(&db, target.chat, 0, range).unwrap().is_empty());
}

#[test]
fn nothing_of_a_file_that_is_gone_is_left_in_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let db = store::open_unencrypted(&folder.path().join("history.db")).unwrap();
    for number in 10..120 {
        send(
            &db,
            "bob",
            Some(number),
            None,
            &content::File {
                key: FileKey::from_bytes([1; 32]),
                ..file(u8::try_from(number).unwrap(), &format!("filler {number}.png"), "some more words")
            },
        );
    }
    let (deleted, _) = send(&db, "bob", Some(1), None, &file(1, "canaryname.png", "canarycaption"));
    let (_, expired) = send(&db, "bob", Some(2), Some(1), &file(2, "canaryfleeting.png", "canarysecond"));
    let canaries =
        ["canaryname", "canarycaption", "canaryfleeting", "canarysecond", "canarykey", "thumbnail of canary"];
    let found = |word: &str| {
        store::checkpoint(&db).unwrap();
        let mut bytes = Vec::new();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            bytes.extend(std::fs::read(file.unwrap().path()).unwrap());
        }
        bytes.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
    };
    assert!(canaries.into_iter().all(found), "the test would see them");
    delete(&db, &deleted);
    messages::set_expiry(&db, expired, 1500).unwrap();
    assert_eq!(messages::expire(&db, 1500).unwrap().len(), 1);
    for word in canaries {
        assert!(!found(word), "{word} is still there");
    }
    assert!(found("filler 55.png"));
}
