//! Welcomes: for another conversation, from strangers, changed and repeated.

use crate::{forger::Forger, server::Server};
use anyhow::{Result, ensure};
use std::sync::{Arc, Mutex};
use waxwing_protocol::{Bytes, ConversationHead, ConversationId, Entry, EntryBody, InboxItem, InboxNotice, Page};
use waxwing_tests::{User, texts};

/// Changes every welcome that is in an inbox.
fn change_welcomes(server: &Server, change: impl Fn(&mut InboxNotice) + Send + 'static) {
    server.lies.inbox.tell(move |_, mut items| {
        for item in &mut items {
            if matches!(item.notice, InboxNotice::Welcome { .. }) {
                change(&mut item.notice);
            }
        }
        items
    });
}

/// Bob is shown nothing of a chat with Alice whose welcome is changed like this, and is open to others.
fn changed_welcome(change: impl Fn(&mut InboxNotice) + Send + 'static) -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "hello")?;
    change_welcomes(&server, change);
    let received = bob.run(&["receive"])?;
    ensure!([0, 3].contains(&received.code), "exit code {}: {}", received.code, received.stderr);
    ensure!(!received.stdout.contains("hello"), "{}", received.stdout);
    server.lies.inbox.end();
    let carol = User::sign_up(server.link(), "carol")?;
    carol.send("bob", "from carol")?;
    let received = texts(&bob.receive()?);
    ensure!(received.contains(&"from carol".to_owned()), "{received:?}");
    bob.send("carol", "welcome").map(drop)
}

#[test]
fn a_welcome_for_another_conversation_is_refused() -> Result<()> {
    changed_welcome(|notice| {
        if let InboxNotice::Welcome { conversation, .. } = notice {
            conversation.0[0] ^= 1;
        }
    })
}

#[test]
fn a_welcome_with_a_flipped_byte_is_refused() -> Result<()> {
    changed_welcome(|notice| {
        if let InboxNotice::Welcome { payload, .. } = notice {
            let middle = payload.0.len() / 2;
            payload.0[middle] ^= 1;
        }
    })
}

#[test]
fn a_welcome_of_garbage_is_refused() -> Result<()> {
    changed_welcome(|notice| {
        if let InboxNotice::Welcome { payload, .. } = notice {
            *payload = vec![0xa5; 2000].into();
        }
    })
}

#[test]
fn a_welcome_at_a_place_beyond_all_numbers_breaks_nothing() -> Result<()> {
    changed_welcome(|notice| {
        if let InboxNotice::Welcome { seq, commits, .. } = notice {
            (*seq, *commits) = (u64::MAX, u64::MAX);
        }
    })
}

#[test]
fn a_repeated_welcome_changes_nothing() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "hello")?;
    let kept: Arc<Mutex<Vec<InboxItem>>> = Arc::default();
    server.lies.inbox.tell(move |(_, after), items| {
        let mut kept = kept.lock().unwrap();
        kept.extend(items);
        // Whatever was ever there comes again, once, behind where the device is.
        match *after < 50 {
            true => kept.iter().map(|item| InboxItem { seq: after + 60, ..item.clone() }).collect(),
            false => Vec::new(),
        }
    });
    assert_eq!(texts(&bob.receive()?), ["hello"]);
    alice.send("bob", "again")?;
    assert_eq!(texts(&bob.receive()?), ["again"]);
    bob.send("alice", "yes")?;
    assert_eq!(texts(&alice.receive()?), ["yes"]);
    Ok(())
}

/// A conversation that exists in the server's lies only.
const FORGED: ConversationId = ConversationId([0x5a; 16]);

/// The server puts this welcome into the inbox, and this message behind it, of a conversation of its own making.
fn invite(server: &Server, welcome: Bytes, message: Bytes) {
    server.lies.inbox.tell(move |(_, after), mut items| {
        if *after < 1000 {
            let payload = welcome.clone();
            let notice = InboxNotice::Welcome { conversation: FORGED, seq: 1, commits: 1, payload };
            items.push(InboxItem { seq: 1000, notice });
        }
        items
    });
    server.lies.heads.tell(|after, mut heads| {
        if after.is_none() {
            heads.push(ConversationHead { conversation: FORGED, head: 2, sent: 0 });
            heads.sort_by_key(|head| head.conversation);
        }
        heads
    });
    server.lies.page.tell(move |(_, after), honest| {
        let entry = Entry { seq: 2, time_ms: 1, body: EntryBody::Application(message.clone()) };
        let entries = if *after < 2 { vec![entry] } else { Vec::new() };
        honest.or(Some(Page { entries, head: 2, tail: 1, commits: 1, sent: 0 }))
    });
}

#[test]
fn a_stranger_who_claims_to_be_bob_gets_no_word_in() -> Result<()> {
    for with_record in [false, true] {
        let server = Server::start()?;
        let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
        alice.send("bob", "hello")?;
        assert_eq!(texts(&bob.receive()?), ["hello"]);
        let stranger = Forger::new("bob");
        let package = server.claim("alice")?.key_package.expect("a key package");
        let (welcome, message) = stranger.welcome(&FORGED.0, &server.account("alice")?, &package)?;
        invite(&server, welcome, message);
        if with_record {
            let record = stranger.record(stranger.list(vec![stranger.device()]));
            server.lies.account.tell(move |asked, honest| match asked.as_str() {
                "bob" => Some(record.clone()),
                _ => honest,
            });
        }
        let received = alice.run(&["receive"])?;
        ensure!([0, 4].contains(&received.code), "exit code {}: {}", received.code, received.stderr);
        ensure!(!received.stdout.contains("I am the one"), "{}", received.stdout);
        if with_record {
            let chats = alice.run(&["chats"])?.expect_code(0)?.json_lines()?;
            assert_eq!(chats[0]["identity_changed"], true, "nobody is warned");
        }
        server.lies.inbox.end();
        server.lies.heads.end();
        server.lies.page.end();
        server.lies.account.end();
        alice.send("bob", "still you?")?;
        assert_eq!(texts(&bob.receive()?), ["still you?"]);
        bob.send("alice", "yes")?;
        assert_eq!(texts(&alice.receive()?), ["yes"]);
        ensure!(!alice.history("bob")?.iter().any(|message| message["text"] == "I am the one you know"));
    }
    Ok(())
}

/// The same welcome from an account that exists: so the one above is refused for who it claims to be.
#[test]
fn a_stranger_who_is_who_they_say_does_get_in() -> Result<()> {
    let server = Server::start()?;
    let alice = User::sign_up(server.link(), "alice")?;
    let mallory = Forger::new("mallory");
    mallory.sign_up(&server)?;
    let package = server.claim("alice")?.key_package.expect("a key package");
    let (welcome, message) = mallory.welcome(&FORGED.0, &server.account("alice")?, &package)?;
    invite(&server, welcome, message);
    let received = alice.receive()?;
    // The mark behind it says that the server does not list this conversation.
    assert_eq!(texts(&received)[0], "I am the one you know");
    assert_eq!(received[0]["from"], "mallory");
    Ok(())
}
