//! What a page says of what is not in it.

use super::*;
use std::path::Path;
use waxwing_protocol::Bytes;

/// A chat that was read up to 10, with three commits.
fn row() -> ChatRow {
    let db = store::open_unencrypted(Path::new(":memory:")).unwrap();
    let chat = chats::ensure(&db, "#room").unwrap().chat;
    chats::set_active(&db, chat, &[7; 16], 10, 3).unwrap();
    chats::load(&db, chat).unwrap()
}

fn page(entries: Vec<Entry>, (tail, head): (u64, u64), commits: u64) -> Page {
    Page { entries, head, tail, commits, sent: 0 }
}

fn entry(seq: u64, body: EntryBody) -> Entry {
    Entry { seq, time_ms: 1, body }
}

fn message(seq: u64) -> Entry {
    entry(seq, EntryBody::Application(Bytes(vec![1])))
}

fn commit(seq: u64) -> Entry {
    entry(seq, EntryBody::Commit(Bytes(vec![1])))
}

fn behind(page: &Page) -> Behind {
    check_page(page, &row(), Some(5)).unwrap()
}

#[test]
fn what_follows_is_there() {
    assert_eq!(behind(&page(vec![], (11, 10), 3)), Behind::Kept);
    assert_eq!(behind(&page(vec![message(11), commit(12)], (3, 12), 4)), Behind::Kept);
}

#[test]
fn entries_that_are_gone_are_passed_over() {
    assert_eq!(behind(&page(vec![], (13, 12), 3)), Behind::Expired(12));
    assert_eq!(behind(&page(vec![message(13)], (13, 13), 3)), Behind::Expired(12));
    // The commit is to be read.
    assert_eq!(behind(&page(vec![commit(13), message(14)], (13, 14), 4)), Behind::Expired(12));
    let own = vec![entry(13, EntryBody::Own { number: 5 }), entry(14, EntryBody::Own { number: 6 })];
    assert_eq!(behind(&page(own, (13, 14), 4)), Behind::Expired(12));
}

#[test]
fn who_was_let_in_twice_at_once_has_missed_nothing() {
    // In by the commit at 10, and by another at 11 before it has read any further.
    assert_eq!(behind(&page(vec![], (12, 11), 4)), Behind::Beyond);
    assert_eq!(behind(&page(vec![message(12), commit(13)], (12, 13), 5)), Behind::Beyond);
}

#[test]
fn a_page_that_does_not_continue_the_log_is_refused() {
    let refused = |page: &Page| check_page(page, &row(), None).is_err();
    assert!(refused(&page(vec![message(12)], (3, 12), 3)));
    assert!(refused(&page(vec![message(11), message(13)], (3, 13), 3)));
    assert!(refused(&page(vec![message(11)], (3, 10), 3)));
    assert!(refused(&page(vec![], (13, 11), 3)));
    assert!(refused(&page(vec![], (1, HIGHEST + 1), 3)));
    assert_eq!(check_page(&page(vec![], (1, 9), 3), &row(), None), Err(Error::ServerRestored));
}
