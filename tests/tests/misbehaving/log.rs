//! The log of a chat: repeated, reordered, withheld, changed and misplaced entries.

use crate::server::Server;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use waxwing_protocol::{Bytes, Entry, EntryBody, Page};
use waxwing_tests::{User, texts};

/// Lies about all pages that have entries; nothing is pushed meanwhile, so that the pages are all there is.
pub(crate) fn change_pages(server: &Server, mut change: impl FnMut(&mut Page) + Send + 'static) {
    server.lies.pushed.tell(|_, _| Vec::new());
    server.lies.page.tell(move |_, honest| {
        honest.map(|mut page| {
            if !page.entries.is_empty() {
                change(&mut page);
            }
            page
        })
    });
}

pub(crate) fn be_honest(server: &Server) {
    server.lies.page.end();
    server.lies.pushed.end();
    server.lies.heads.end();
}

fn application(entry: &mut Entry) -> Option<&mut Bytes> {
    match &mut entry.body {
        EntryBody::Application(payload) => Some(payload),
        _ => None,
    }
}

pub(crate) fn numbered(word: &str, count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{word} {number}")).collect()
}

fn marks(messages: &[Value]) -> usize {
    messages.iter().filter(|message| message["kind"] == "unreadable").count()
}

/// The texts among what was shown, without the marks, and without what a member has told instead of them.
pub(crate) fn shown(messages: &[Value]) -> Vec<String> {
    let read = |message: &&Value| message["kind"] == "text" && message["told_by"].is_null();
    texts(&messages.iter().filter(read).cloned().collect::<Vec<_>>())
}

/// What Bob is shown while the server lies. He may also be told that it misbehaves, and why; then nothing was lost, since
/// he fetches all of it once the server is honest: the second value says whether that is so.
fn receive_lies(server: &Server, bob: &User) -> Result<(Vec<Value>, bool)> {
    let outcome = bob.run(&["receive"])?;
    let mut received = outcome.json_lines()?;
    if outcome.code == 0 {
        return Ok((received, false));
    }
    ensure!(outcome.expect_code(3)?.error()?.contains("misbehaves"), "it does not say why");
    be_honest(server);
    received.extend(bob.receive_now()?);
    Ok((received, true))
}

/// A chat in which Bob has everything up to now.
pub(crate) fn alice_and_bob(server: &Server) -> Result<(User, User)> {
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "hello")?;
    assert_eq!(texts(&bob.receive()?), ["hello"]);
    // All receipts are out, so that what she sends next follows without anything in between.
    ensure!(alice.receive_now()?.is_empty(), "nobody wrote to her");
    Ok((alice, bob))
}

/// All is well between the two from now on.
fn assert_goes_on(alice: &User, bob: &User) -> Result<()> {
    alice.send("bob", "later")?;
    let received = bob.receive()?;
    ensure!(shown(&received) == ["later"], "{received:?}");
    bob.send(alice.name(), "answer")?;
    let received = alice.receive()?;
    ensure!(shown(&received) == ["answer"], "{received:?}");
    Ok(())
}

#[test]
fn an_entry_delivered_a_hundred_times_is_shown_once() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    for text in numbered("fetched", 3) {
        alice.send("bob", &text)?;
    }
    change_pages(&server, |page| {
        page.entries = page.entries.iter().flat_map(|entry| vec![entry.clone(); 100]).collect();
    });
    let (received, _) = receive_lies(&server, &bob)?;
    assert_eq!(texts(&received), numbered("fetched", 3));
    ensure!(bob.receive_now()?.is_empty(), "a message came twice");

    be_honest(&server);
    server.lies.pushed.tell(|_, honest| honest.iter().flat_map(|entry| vec![entry.clone(); 100]).collect());
    let mut follow = bob.follow()?;
    for text in numbered("pushed", 3) {
        alice.send("bob", &text)?;
    }
    assert_eq!(follow.next_texts(3)?, numbered("pushed", 3));
    follow.stop()?;
    be_honest(&server);
    ensure!(bob.receive_now()?.is_empty(), "a message came twice");
    assert_eq!(texts(&bob.history("alice")?).len(), 7);
    assert_goes_on(&alice, &bob)
}

#[test]
fn a_ciphertext_replayed_at_later_places_is_shown_once_and_marked_there() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    alice.send("bob", "once")?;
    change_pages(&server, |page| {
        let last = page.entries.last().expect("an entry").clone();
        page.entries.extend((1..100).map(|number| Entry { seq: last.seq + number, ..last.clone() }));
        page.head = last.seq + 99;
    });
    let received = bob.receive()?;
    assert_eq!(shown(&received), ["once"]);
    assert_eq!(marks(&received), 99);
    assert_eq!(shown(&bob.history("alice")?), ["hello", "once"]);
    Ok(())
}

/// Fifty messages, delivered as `change` leaves them: shown in their order, with a mark if any is missing.
fn fifty(change: impl FnMut(&mut Page) + Send + 'static) -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    let sent = numbered("message", 50);
    let mut chat = alice.chat("bob")?;
    for text in &sent {
        chat.say(text)?;
    }
    chat.leave(waxwing_tests::DEADLINE)?;
    change_pages(&server, change);
    let (received, refused) = receive_lies(&server, &bob)?;
    let texts = shown(&received);
    let mut rest = sent.iter();
    ensure!(texts.iter().all(|text| rest.any(|sent| sent == text)), "out of order or doubled: {texts:?}");
    ensure!(texts == sent || (marks(&received) > 0 && !refused), "missing without a mark: {texts:?}");
    be_honest(&server);
    assert_goes_on(&alice, &bob)
}

#[test]
fn a_page_backwards_is_shown_in_order_or_marked() -> Result<()> {
    fifty(|page| page.entries.reverse())
}

#[test]
fn a_page_with_two_entries_swapped_is_shown_in_order_or_marked() -> Result<()> {
    fifty(|page| {
        if page.entries.len() > 20 {
            page.entries.swap(5, 17);
        }
    })
}

#[test]
fn ciphertexts_at_each_others_places_are_shown_in_order_or_marked() -> Result<()> {
    fifty(|page| {
        let last = page.entries.len() - 1;
        let body = |page: &Page, place: usize| page.entries[place].body.clone();
        let (one, other) = (body(page, last / 3), body(page, last / 2));
        page.entries[last / 3].body = other;
        page.entries[last / 2].body = one;
    })
}

#[test]
fn withheld_entries_leave_a_visible_gap() -> Result<()> {
    fifty(|page| page.entries.retain(|entry| entry.seq % 7 != 0))
}

#[test]
fn a_single_withheld_entry_leaves_a_visible_gap_where_it_was() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    for text in numbered("message", 5) {
        alice.send("bob", &text)?;
    }
    let withheld = Arc::new(Mutex::new(None));
    change_pages(&server, move |page| {
        let seq = *withheld.lock().unwrap().get_or_insert_with(|| page.entries[page.entries.len() - 3].seq);
        page.entries.retain(|entry| entry.seq != seq);
    });
    let (received, refused) = receive_lies(&server, &bob)?;
    if refused {
        assert_eq!(texts(&received), numbered("message", 5));
    } else {
        assert_eq!(shown(&received), ["message 1", "message 2", "message 4", "message 5"]);
        assert_eq!(received[2]["kind"], "unreadable", "{received:?}");
    }
    be_honest(&server);
    assert_goes_on(&alice, &bob)
}

#[test]
fn the_newest_entries_withheld_arrive_when_the_server_gives_them() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    for text in numbered("message", 4) {
        alice.send("bob", &text)?;
    }
    change_pages(&server, |page| {
        page.entries.truncate(page.entries.len().min(2));
        page.head = page.entries.last().expect("two entries").seq;
    });
    let first = shown(&bob.receive()?);
    be_honest(&server);
    let all = [first, shown(&bob.receive_now()?)].concat();
    assert_eq!(all, numbered("message", 4));
    assert_goes_on(&alice, &bob)
}

#[test]
fn a_flipped_byte_costs_that_message_alone() -> Result<()> {
    for place in ["first", "middle", "last"] {
        let server = Server::start()?;
        let (alice, bob) = alice_and_bob(&server)?;
        for text in numbered("message", 3) {
            alice.send("bob", &text)?;
        }
        let mut flipped = false;
        change_pages(&server, move |page| {
            let middle = page.entries.len() - 2;
            if let Some(payload) = application(&mut page.entries[middle]).filter(|_| !flipped) {
                let byte = match place {
                    "first" => 0,
                    "middle" => payload.0.len() / 2,
                    _ => payload.0.len() - 1,
                };
                payload.0[byte] ^= 1;
                flipped = true;
            }
        });
        let received = bob.receive()?;
        assert_eq!(shown(&received), ["message 1", "message 3"], "{place}");
        assert_eq!(received[1]["kind"], "unreadable", "{place}: {received:?}");
        ensure!(received[1]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{place}: no reason");
        be_honest(&server);
        assert_goes_on(&alice, &bob).context(place)?;
    }
    Ok(())
}

#[test]
fn garbage_and_empty_entries_cost_themselves_alone() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    for text in numbered("message", 6) {
        alice.send("bob", &text)?;
    }
    change_pages(&server, |page| {
        let first = page.entries.len() - 6;
        page.entries[first + 1].body = EntryBody::Application(Bytes::default());
        page.entries[first + 2].body = EntryBody::Application(vec![0xff; 4096].into());
        page.entries[first + 4].body = EntryBody::Application(vec![0, 1, 0, 2, 255, 255, 255, 255].into());
    });
    let received = bob.receive()?;
    assert_eq!(shown(&received), ["message 1", "message 4", "message 6"]);
    assert_eq!(marks(&received), 3);
    be_honest(&server);
    assert_goes_on(&alice, &bob)
}

#[test]
fn a_message_declared_a_commit_is_marked_and_the_chat_goes_on() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    for text in numbered("message", 3) {
        alice.send("bob", &text)?;
    }
    change_pages(&server, |page| {
        let middle = page.entries.len() - 2;
        page.entries[middle].body = EntryBody::Commit(vec![0xa5; 300].into());
    });
    let received = bob.receive()?;
    assert_eq!(shown(&received), ["message 1", "message 3"]);
    assert_eq!(marks(&received), 1);
    be_honest(&server);
    assert_goes_on(&alice, &bob)
}

#[test]
fn somebody_elses_entry_declared_our_own_is_not_lost_unseen() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    for text in numbered("message", 3) {
        alice.send("bob", &text)?;
    }
    change_pages(&server, |page| {
        let middle = page.entries.len() - 2;
        page.entries[middle].body = EntryBody::Own { number: 1 };
    });
    let received = bob.receive()?;
    assert_eq!(shown(&received), ["message 1", "message 3"]);
    ensure!(marks(&received) > 0, "nobody sees that one is missing: {received:?}");
    be_honest(&server);
    assert_goes_on(&alice, &bob)
}

#[test]
fn another_chats_ciphertext_is_marked_and_both_chats_go_on() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    let carol = User::sign_up(server.link(), "carol")?;
    carol.send("bob", "from carol")?;
    assert_eq!(texts(&bob.receive()?), ["from carol"]);
    carol.send("bob", "for bob alone")?;
    let stolen = Arc::new(Mutex::new(None));
    let taken = Arc::clone(&stolen);
    server.lies.pushed.tell(|_, _| Vec::new());
    server.lies.page.tell(move |(_, after), honest| {
        honest.map(|page| {
            *taken.lock().unwrap() = page.entries.last().cloned();
            Page { entries: Vec::new(), head: *after, tail: after + 1, ..page }
        })
    });
    ensure!(bob.receive_now()?.is_empty(), "withheld and yet shown");
    let stolen = stolen.lock().unwrap().take().context("an entry of Carol's")?;
    be_honest(&server);
    for text in numbered("message", 2) {
        alice.send("bob", &text)?;
    }
    // Bob is given it in both chats: at the first place of Alice's news, and where it belongs.
    change_pages(&server, move |page| {
        if page.entries.iter().all(|entry| entry.body != stolen.body) {
            page.entries[0].body = stolen.body.clone();
        }
    });
    let received = bob.receive()?;
    be_honest(&server);
    let from = |name: &str| received.iter().filter(|message| message["chat"] == name).cloned().collect::<Vec<_>>();
    let of_alice = shown(&from("alice"));
    ensure!(of_alice == ["message 2"] || of_alice == ["message 1", "message 2"], "{received:?}");
    assert_eq!(marks(&from("alice")), 1, "{received:?}");
    assert_eq!(shown(&from("carol")), ["for bob alone"], "{received:?}");
    assert_goes_on(&alice, &bob)?;
    assert_goes_on(&carol, &bob)
}

#[test]
fn entries_that_never_were_and_expired_do_not_silence_a_chat() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    alice.send("bob", "hidden")?;
    server
        .lies
        .page
        .tell(|_, honest| honest.map(|page| Page { entries: Vec::new(), head: 1_000_000, tail: 1_000_001, ..page }));
    let outcome = bob.run(&["receive"])?;
    ensure!([0, 3].contains(&outcome.code), "exit code {}: {}", outcome.code, outcome.stderr);
    ensure!(outcome.code == 3 || marks(&outcome.json_lines()?) == 1, "{}", outcome.stdout);
    be_honest(&server);
    alice.send("bob", "later")?;
    let outcome = bob.run(&["receive"])?;
    let received = outcome.json_lines()?;
    let noticed = shown(&received).contains(&"later".to_owned()) || marks(&received) > 0 || outcome.code == 3;
    ensure!(noticed, "a message is lost and nobody sees it");
    Ok(())
}
