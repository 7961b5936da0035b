use super::*;
use crate::{
    MessageId, MessageState,
    store::{
        self,
        changes::{self, Change, Kind, Target},
        messages::NewMessage,
        settings,
    },
};
use jiff::tz::TimeZone;
use waxwing_e2ee::local::LocalKey;

fn database() -> Connection {
    store::open_in_memory(&LocalKey::generate(&mut crate::random())).unwrap()
}

fn say(db: &Connection, chat: &str, author: &str, number: u8, text: &str) -> i64 {
    let content = Content::Text(text.to_owned());
    let new = NewMessage {
        chat: chats::ensure(db, chat).unwrap().chat,
        id: MessageId([number; 16]),
        author,
        mine: author == "alice",
        seq: Some(number.into()),
        sent_at: u64::from(number) * 86_400_000,
        received_at: u64::from(number) * 86_400_000,
        content: &content,
        state: &MessageState::Received,
        reply_to: None,
        lifetime: None,
    };
    messages::insert(db, &new).unwrap()
}

fn found(db: &Connection, asked: &str) -> Vec<String> {
    let found = search(db, asked, 10, &TimeZone::UTC).unwrap();
    found
        .hits
        .into_iter()
        .map(|hit| match hit.message.content {
            Content::Text(text) => text,
            _ => panic!("no text"),
        })
        .collect()
}

#[test]
fn words_are_found_wherever_they_stand_and_who_wrote_them_where_and_when_narrows_it() {
    let db = database();
    say(&db, "bob", "bob", 1, "Shall we meet for tea?");
    say(&db, "bob", "alice", 2, "Tea at five, in the café.");
    say(&db, "carol", "carol", 3, "teapots are sold out; tea is not, tea never is");
    assert_eq!(found(&db, "TEA").len(), 3);
    // The word more often, for its length.
    assert_eq!(found(&db, "tea five"), ["Tea at five, in the café."]);
    assert_eq!(found(&db, "teap*"), ["teapots are sold out; tea is not, tea never is"]);
    assert_eq!(found(&db, "teap"), [""; 0]);
    assert_eq!(found(&db, "cafe"), ["Tea at five, in the café."]);
    assert_eq!(found(&db, "\"for tea\""), ["Shall we meet for tea?"]);
    assert_eq!(found(&db, "tea -five in:bob"), ["Shall we meet for tea?"]);
    assert_eq!(found(&db, "from:alice"), ["Tea at five, in the café."]);
    say(&db, "bob", "bob (imported)", 0, "An old letter");
    assert_eq!(found(&db, "from:bob"), ["An old letter", "Shall we meet for tea?"], "the newest here first");
    assert_eq!(found(&db, "tea after:1970-01-03 before:1970-01-04"), ["Tea at five, in the café."]);
    assert_eq!(found(&db, "after:1970-01-04"), ["teapots are sold out; tea is not, tea never is"]);
    assert!(matches!(search(&db, "in:dave x", 10, &TimeZone::UTC), Err(Error::UnknownChat(_))));
    assert!(matches!(search(&db, "", 10, &TimeZone::UTC), Err(Error::BadInput(_))));
}

#[test]
fn a_snippet_shows_where_the_words_stand() {
    let db = database();
    say(&db, "bob", "bob", 1, &format!("{} the needle {}", "hay ".repeat(50), "straw ".repeat(50)));
    let hit = search(&db, "needle", 1, &TimeZone::UTC).unwrap().hits.remove(0);
    let [at] = hit.snippet.matches.as_slice() else { panic!("{:?}", hit.snippet) };
    assert_eq!(&hit.snippet.text[at.clone()], "needle");
    assert!(hit.snippet.text.len() < 120 && hit.snippet.text.starts_with('…'), "{:?}", hit.snippet);
    say(&db, "bob", "bob", 2, "fake \u{2}marks\u{3} around marks");
    let hit = search(&db, "around", 1, &TimeZone::UTC).unwrap().hits.remove(0);
    assert!(!hit.snippet.text.contains(['\u{2}', '\u{3}']));
}

#[test]
fn what_is_changed_or_deleted_is_found_as_it_is_now_or_not_at_all() {
    let db = database();
    let position = say(&db, "bob", "bob", 1, "the old words");
    let target = Target { chat: 1, author: "bob".to_owned(), id: MessageId([1; 16]) };
    let change =
        |kind, seq, value: &str| Change { kind, by: "bob".to_owned(), era: 0, seq, at: 5, value: value.to_owned() };
    assert!(changes::put(&db, &target, &change(Kind::Edit, 7, "the new words")).unwrap());
    assert_eq!(found(&db, "old"), [""; 0]);
    assert_eq!(found(&db, "new"), ["the new words"]);
    assert!(changes::put(&db, &target, &change(Kind::Delete, 8, "")).unwrap());
    assert_eq!(found(&db, "new"), [""; 0]);
    assert!(matches!(messages::load(&db, position).unwrap().content, Content::Deleted { by } if by == "bob"));
    let other = say(&db, "bob", "bob", 2, "gone soon");
    messages::delete(&db, other).unwrap();
    assert_eq!(found(&db, "gone"), [""; 0]);
    db.execute_batch("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)").unwrap();
}

#[test]
fn nothing_of_a_stranger_who_waits_is_found() {
    let db = database();
    say(&db, "mallory", "mallory", 1, "buy my tea");
    settings::set(&db, "request/mallory", "on", 0).unwrap();
    assert_eq!(found(&db, "tea"), [""; 0]);
    settings::set(&db, "request/mallory", "off", 1).unwrap();
    assert_eq!(found(&db, "tea"), ["buy my tea"]);
}

#[test]
fn of_too_many_matches_the_newest_are_weighed() {
    let db = database();
    for number in 1..=250 {
        say(&db, "bob", "bob", number, "tea");
    }
    let found = search(&db, "tea", 3, &TimeZone::UTC).unwrap();
    assert!(found.more);
    let seqs: Vec<_> = found.hits.iter().map(|hit| hit.message.seq).collect();
    assert_eq!(seqs, [Some(250), Some(249), Some(248)]);
}
