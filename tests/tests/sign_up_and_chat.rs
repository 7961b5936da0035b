//! The main job: two people sign up on a fresh server and talk.

use anyhow::{Context, Result, ensure};
use waxwing_tests::{Database, Server, User, on_both_databases, texts};

on_both_databases!(
    alice_and_bob_talk_both_ways,
    messages_arrive_live,
    receipts_are_not_answered,
    an_invite_lets_one_person_in,
);

fn alice_and_bob_talk_both_ways(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let alice = User::new("alice")?;
    let signed_up = alice
        .try_sign_up(server.link(), &["--name", "Alice Example", "--email", "alice@example.org"])?
        .expect_code(0)?
        .json()?;
    assert_eq!(signed_up["username"], "alice");
    assert!(signed_up["device"].as_str().is_some_and(|device| !device.is_empty()));
    assert!(signed_up["recovery_code"].as_str().is_some_and(|code| code.len() >= 35));
    let bob = User::sign_up(server.link(), "bob")?;

    let sent = alice.send("bob", "Hello Bob, is this thing on?")?;
    let received = bob.receive()?;
    assert_eq!(texts(&received), ["Hello Bob, is this thing on?"]);
    let message = received.first().context("a message")?;
    assert_eq!(
        (&message["chat"], &message["from"], &message["kind"]),
        (&"alice".into(), &"alice".into(), &"text".into())
    );
    assert_eq!((&message["id"], &message["seq"]), (&sent["id"], &sent["seq"]), "both sides name it alike");

    bob.send("alice", "It is — \u{1F426} and \"quotes\" too")?;
    bob.send("alice", "two\nlines")?;
    assert_eq!(texts(&alice.receive()?), ["It is — \u{1F426} and \"quotes\" too", "two\nlines"]);

    let all = ["Hello Bob, is this thing on?", "It is — \u{1F426} and \"quotes\" too", "two\nlines"];
    assert_eq!(texts(&alice.history("bob")?), all);
    assert_eq!(texts(&bob.history("alice")?), all);
    ensure!(bob.receive_now()?.is_empty(), "a message came twice");

    let chats = bob.run(&["chats"])?.expect_code(0)?.json_lines()?;
    assert_eq!(chats.first().context("a chat")?["chat"], "alice");
    assert_eq!(alice.run(&["whoami"])?.expect_code(0)?.json()?["username"], "alice");
    alice.run(&["status"])?.expect_code(0)?;
    alice.run(&["ping", server.link()])?.expect_code(0)?;
    Ok(())
}

fn messages_arrive_live(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "first")?;
    let mut follow = bob.follow()?;
    assert_eq!(follow.message()?["text"], "first");
    let mut chat = alice.chat("bob")?;
    for number in 1..=20 {
        chat.say(&format!("live {number}"))?;
        assert_eq!(follow.message()?["text"], format!("live {number}"));
    }
    follow.stop()?;
    bob.send("alice", "I saw them all")?;
    chat.wait_for("I saw them all")?;
    chat.leave(waxwing_tests::DEADLINE)?;
    Ok(())
}

/// A receipt stands in the log like a message. If it were answered by one, two people online would never fall silent.
fn receipts_are_not_answered(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "message 0")?;
    let mut follow = bob.follow()?;
    let mut last = 0;
    for number in 0..6 {
        if number > 0 {
            last = alice.send("bob", &format!("message {number}"))?["seq"].as_u64().context("a seq")?;
        }
        assert_eq!(follow.message()?["text"], format!("message {number}"));
    }
    follow.stop()?;
    // The commit that began the chat, then a message and at most two receipts each: that it came, and, on a machine that is
    // busy meanwhile, that it was read.
    ensure!(last <= 1 + 6 * 3, "six messages have filled {last} places");
    Ok(())
}

fn an_invite_lets_one_person_in(database: Database) -> Result<()> {
    let server = Server::start_with(database, "invite")?;
    let invite = server.announced()["invite_link"].as_str().context("an invite link")?.to_owned();
    let uninvited = User::new("mallory")?;
    uninvited.try_sign_up(server.link(), &[])?.expect_code(1)?;
    User::sign_up(&invite, "alice")?;
    let late = User::new("bob")?;
    let refused = late.try_sign_up(&invite, &[])?.expect_code(1)?;
    ensure!(refused.error()?.contains("invite"), "it does not say why: {}", refused.stderr);
    Ok(())
}
