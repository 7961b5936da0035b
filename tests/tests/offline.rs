//! Nobody has to be there: messages wait, and survive whatever is killed meanwhile.

use anyhow::{Context, Result, ensure};
use waxwing_tests::{DEADLINE, Database, Server, User, on_both_databases, texts};

on_both_databases!(
    messages_wait_over_restarts,
    a_killed_server_loses_and_doubles_nothing,
    a_killed_sender_loses_and_doubles_nothing,
    a_killed_receiver_loses_and_doubles_nothing,
    messages_typed_offline_go_out_in_order,
    unacknowledged_messages_come_again,
);

fn numbered(word: &str, count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{word} {number}")).collect()
}

fn alice_and_bob(server: &Server) -> Result<(User, User)> {
    Ok((User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?))
}

fn messages_wait_over_restarts(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    alice.send("bob", "kept 1")?;
    server.stop()?;
    server.restart()?;
    alice.send("bob", "kept 2")?;
    server.kill();
    server.restart()?;
    alice.send("bob", "kept 3")?;
    assert_eq!(texts(&bob.receive()?), numbered("kept", 3));
    bob.send("alice", "got them")?;
    assert_eq!(texts(&alice.receive()?), ["got them"]);
    ensure!(bob.receive_now()?.is_empty(), "a message came twice");
    Ok(())
}

fn a_killed_server_loses_and_doubles_nothing(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    let mut follow = bob.follow()?;
    let mut chat = alice.chat("bob")?;
    let sent = numbered("through the storm", 200);
    let mut seen = Vec::new();
    for (index, text) in sent.iter().enumerate() {
        chat.say(text)?;
        if index % 50 == 25 {
            seen.push(follow.next_texts(1)?.remove(0));
            server.kill();
            server.restart()?;
        }
    }
    let rest = sent.len() - seen.len();
    seen.extend(follow.next_texts(rest)?);
    assert_eq!(seen, sent);
    chat.leave(DEADLINE)?;
    follow.stop()?;
    ensure!(bob.receive_now()?.is_empty(), "a message came twice");
    assert_eq!(texts(&bob.history("alice")?), sent);
    assert_eq!(texts(&alice.history("bob")?), sent);
    Ok(())
}

fn a_killed_sender_loses_and_doubles_nothing(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    let mut follow = bob.follow()?;
    let wanted = numbered("stubborn", 120);
    // What a killed program had taken on stands in its history: the user goes on behind that.
    let mut taken = 0;
    for round in 0..4 {
        let mut chat = alice.chat("bob")?;
        for text in wanted.iter().skip(taken).take(30) {
            chat.say(text)?;
        }
        // Somewhere in the middle: as soon as Bob has the first of this round, later ones are on their way.
        if taken < wanted.len() {
            let first = follow.message()?;
            assert_eq!(first["text"], wanted[taken].as_str());
        }
        chat.0.kill();
        let kept = texts(&alice.history("bob")?);
        ensure!(kept == wanted[..kept.len()], "round {round}: {kept:?}");
        // What is queued goes out with the next connection.
        alice.receive_now()?;
        let due = kept.len() - taken - 1;
        let seen = follow.next_texts(due)?;
        assert_eq!(seen, wanted[taken + 1..kept.len()], "round {round}");
        taken = kept.len();
    }
    follow.stop()?;
    ensure!(taken > 4, "only {taken} messages were taken on");
    ensure!(bob.receive_now()?.is_empty(), "a message came twice");
    assert_eq!(texts(&bob.history("alice")?), wanted[..taken]);
    Ok(())
}

fn a_killed_receiver_loses_and_doubles_nothing(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    let wanted = numbered("patience", 120);
    let mut chat = alice.chat("bob")?;
    let mut said = 0;
    for _ in 0..4 {
        let mut follow = bob.follow()?;
        for text in wanted.iter().skip(said).take(30) {
            chat.say(text)?;
        }
        said += 30;
        follow.message()?;
        follow.0.kill();
    }
    chat.leave(DEADLINE)?;
    bob.receive()?;
    assert_eq!(texts(&bob.history("alice")?), wanted, "each message is stored once, in order");
    ensure!(bob.receive_now()?.is_empty(), "a message came twice");
    Ok(())
}

fn messages_typed_offline_go_out_in_order(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    alice.send("bob", "offline 1")?;
    server.stop()?;
    let refused = alice.run(&["send", "bob", "not this one"])?.expect_code(3)?;
    ensure!(
        refused.stderr.contains("reach") || refused.stderr.contains("lost"),
        "it does not say why: {}",
        refused.stderr
    );
    for number in 2..=4 {
        let queued =
            alice.run(&["send", "bob", &format!("offline {number}"), "--offline-ok"])?.expect_code(0)?.json()?;
        assert_eq!(queued["state"], "queued");
    }
    server.restart()?;
    alice.send("bob", "offline 5")?;
    assert_eq!(texts(&bob.receive()?), numbered("offline", 5));
    Ok(())
}

fn unacknowledged_messages_come_again(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    for text in numbered("job", 3) {
        alice.send("bob", &text)?;
    }
    let manual =
        || -> Result<_> { bob.run(&["receive", "--timeout", "20", "--ack", "manual"])?.expect_code(0)?.json_lines() };
    assert_eq!(texts(&manual()?), numbered("job", 3));
    let again = manual()?;
    assert_eq!(texts(&again), numbered("job", 3));
    bob.run(&["ack", again[1]["id"].as_str().context("an id")?])?.expect_code(0)?;
    assert_eq!(texts(&manual()?), ["job 3"]);
    Ok(())
}
