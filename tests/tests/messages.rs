//! What people do with messages beyond sending them: answers, changes, reactions, pins, timers, requests, blocks, search.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    process::Stdio,
    time::Instant,
};
use waxwing_tests::{DEADLINE, Database, Running, Server, User, on_both_databases, texts};

on_both_databases!(typing_is_told_to_those_who_listen_and_kept_nowhere);

fn done(user: &User, arguments: &[&str]) -> Result<Value> {
    user.run(arguments)?.expect_code(0)?.json()
}

fn id(message: &Value) -> Result<&str> {
    message["id"].as_str().context("no id")
}

/// What the search finds, each by its snippet.
fn found(user: &User, query: &str) -> Result<Vec<String>> {
    let hits = user.run(&["search", query])?.expect_code(0)?.json_lines()?;
    Ok(hits.iter().map(|hit| hit["snippet"].as_str().unwrap_or_default().to_owned()).collect())
}

#[test]
fn both_sides_and_a_later_device_see_the_same_conversation() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let invitation = alice.send("bob", "Shall we meet for tea on Friday, @bob?")?;
    let received = bob.receive()?;
    assert_eq!(received[0]["mentions"], json!(["bob"]));
    bob.run(&["send", "alice", "Gladly, at **five**", "--reply-to", id(&invitation)?])?.expect_code(0)?;
    let answer = alice.receive()?.remove(0);
    assert_eq!(answer["reply_to"]["id"], invitation["id"]);
    assert_eq!(answer["reply_to"]["excerpt"], "Shall we meet for tea on Friday, @bob?");
    assert_eq!(alice.history("bob")?[0]["state"], "read");

    done(&alice, &["edit", id(&invitation)?, "Shall we meet for tea on Saturday?"])?;
    done(&bob, &["react", id(&invitation)?, "👍"])?;
    done(&bob, &["react", id(&invitation)?, "🐦"])?;
    done(&bob, &["react", id(&invitation)?, "👍", "--remove"])?;
    done(&alice, &["pin", id(&answer)?])?;
    for (user, chat) in [(&alice, "bob"), (&bob, "alice")] {
        ensure!(user.receive_now()?.is_empty(), "a change came as a message");
        let history = user.history(chat)?;
        assert_eq!(history[0]["text"], "Shall we meet for tea on Saturday?", "{chat}");
        ensure!(history[0]["edited_at"].is_string(), "{chat}: {}", history[0]);
        assert_eq!(history[0]["reactions"], json!([{ "emoji": "🐦", "by": ["bob"] }]), "{chat}");
        assert_eq!(history[1]["reply_to"]["excerpt"], "Shall we meet for tea on Saturday?", "{chat}");
        assert_eq!(user.run(&["pins", chat])?.expect_code(0)?.json_lines()?[0]["id"], answer["id"], "{chat}");
        ensure!(found(user, "friday")?.is_empty(), "{chat}: a text that was changed is still found");
        assert_eq!(found(user, "from:alice in:bob \"meet for\" satur*").is_ok(), chat == "bob", "{chat}");
        assert_eq!(found(user, "tea satur*")?, ["Shall we meet for tea on Saturday?"], "{chat}");
    }

    let refused = bob.run(&["edit", id(&invitation)?, "Never"])?.expect_code(1)?;
    ensure!(refused.error()?.contains("only its author"), "{}", refused.stderr);
    let refused = bob.run(&["delete", id(&invitation)?])?.expect_code(1)?;
    ensure!(refused.error()?.contains("only its author"), "{}", refused.stderr);
    bob.run(&["react", id(&invitation)?, "yes"])?.expect_code(1)?;
    bob.run(&["react", "00000000000000000000000000000000", "👍"])?.expect_code(1)?;

    done(&alice, &["backup", "now"])?;
    done(&alice, &["delete", id(&invitation)?])?;
    alice.send("bob", "Forget it")?;
    assert_eq!(texts(&bob.receive()?), ["Forget it"]);
    done(&alice, &["backup", "now"])?;
    let phone = User::log_in(server.link(), "alice")?;
    for (user, chat) in [(&alice, "bob"), (&bob, "alice")] {
        let history = user.history(chat)?;
        assert_eq!((&history[0]["kind"], &history[0]["text"]), (&json!("deleted"), &Value::Null), "{chat}");
        assert_eq!(history[1]["reply_to"]["excerpt"], Value::Null, "{chat}");
        ensure!(found(user, "saturday")?.is_empty(), "{chat}: a deleted text is found");
    }
    // What was deleted is not in the backup; the rest is as it was.
    let restored = phone.history("bob")?;
    assert_eq!(texts(&restored), ["Gladly, at **five**", "Forget it"]);
    assert_eq!((&restored[0]["pinned"], &restored[0]["reply_to"]["id"]), (&json!(true), &invitation["id"]));
    assert_eq!(done(&alice, &["backup", "drill"])?["different"], 0);

    // Receipts that are switched off are not sent, and not shown either.
    done(&bob, &["settings", "read-receipts", "off"])?;
    let silent = alice.send("bob", "Have you read this?")?;
    bob.receive()?;
    bob.send("alice", "I will not tell")?;
    alice.receive()?;
    let history = alice.history("bob")?;
    let message = history.iter().find(|message| message["id"] == silent["id"]).context("the message")?;
    assert_eq!(message["state"], "delivered");
    Ok(())
}

#[test]
fn messages_with_a_timer_are_gone_everywhere_when_it_has_run_out() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "This stays")?;
    done(&alice, &["timer", "bob", "1s"])?;
    let mut chat = alice.chat("bob")?;
    chat.say("This is a fleeting word")?;
    // The sender's time runs from when it was sent, the reader's from when it was read.
    chat.wait_for("gone: This is a fleeting word")?;
    let mut other = bob.chat("alice")?;
    other.wait_for("This is a fleeting word")?;
    other.wait_for("gone: This is a fleeting word")?;
    other.say("/timer off")?;
    chat.wait_for("messages stay from here on")?;
    other.say("And this stays, too")?;
    chat.wait_for("And this stays, too")?;
    chat.leave(DEADLINE)?;
    other.leave(DEADLINE)?;
    let kinds = |user: &User, chat: &str| -> Result<Vec<(String, String)>> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(user.history(chat)?.iter().map(|message| (text(&message["kind"]), text(&message["text"]))).collect())
    };
    let expected = [("text", "This stays"), ("timer", ""), ("timer", ""), ("text", "And this stays, too")];
    let expected: Vec<_> = expected.iter().map(|(kind, text)| ((*kind).to_owned(), (*text).to_owned())).collect();
    assert_eq!(kinds(&alice, "bob")?, expected);
    assert_eq!(kinds(&bob, "alice")?, expected);
    ensure!(found(&alice, "fleeting")?.is_empty() && found(&bob, "fleeting")?.is_empty(), "it is still found");
    // Nor does a backup bring back what was still there when it was made.
    done(&alice, &["timer", "bob", "1w"])?;
    alice.send("bob", "Here for a week")?;
    done(&alice, &["backup", "now"])?;
    ensure!(texts(&alice.history("bob")?).contains(&"Here for a week".to_owned()));
    let phone = User::log_in(server.link(), "alice")?;
    assert_eq!(texts(&phone.history("bob")?), ["This stays", "And this stays, too"]);
    Ok(())
}

#[test]
fn a_stranger_waits_unseen_until_accepted_and_a_blocked_one_is_not_heard() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let (bob, mallory) = (User::sign_up(server.link(), "bob")?, User::sign_up(server.link(), "mallory")?);
    done(&bob, &["settings", "requests", "on"])?;
    let sent = mallory.send("bob", "Buy my tea")?;
    mallory.send("bob", "Please")?;
    ensure!(bob.receive_now()?.is_empty(), "a stranger's message came unasked");
    let chat = done(&bob, &["requests"])?;
    assert_eq!((&chat["chat"], &chat["unread"], &chat["last"]), (&json!("mallory"), &json!(2), &Value::Null));
    ensure!(bob.history("mallory")?.is_empty() && found(&bob, "tea")?.is_empty(), "a stranger's message is shown");
    ensure!(mallory.receive_now()?.is_empty());
    let state = |user: &User| -> Result<Value> { Ok(user.history("bob")?[0]["state"].clone()) };
    assert_eq!(state(&mallory)?, "sent", "the stranger has learnt that it arrived");
    // Another device of bob's knows what this one does.
    let phone = User::log_in(server.link(), "bob")?;
    bob.receive_now()?;
    done(&bob, &["accept", "mallory"])?;
    assert_eq!(texts(&bob.receive()?), ["Buy my tea", "Please"]);
    let deadline = Instant::now() + DEADLINE;
    while !phone.run(&["requests"])?.expect_code(0)?.json_lines()?.is_empty() {
        ensure!(Instant::now() < deadline, "the other device still asks");
        bob.receive_now()?;
        phone.receive_now()?;
    }
    bob.send("mallory", "No, thanks")?;
    mallory.receive()?;
    assert_eq!(state(&mallory)?, "read");
    assert_eq!(mallory.history("bob")?[0]["id"], sent["id"]);

    done(&bob, &["block", "mallory"])?;
    mallory.send("bob", "But why")?;
    ensure!(bob.receive_now()?.is_empty(), "a blocked user's message came");
    bob.run(&["send", "mallory", "hm"])?.expect_code(1)?;
    assert_eq!(done(&bob, &["blocked"])?["users"], json!(["mallory"]));
    done(&bob, &["unblock", "mallory"])?;
    mallory.send("bob", "Sorry")?;
    assert_eq!(texts(&bob.receive()?), ["Sorry"]);
    ensure!(!texts(&bob.history("mallory")?).contains(&"But why".to_owned()), "it came after all");
    Ok(())
}

/// A daemon of a user, and a connection to it.
fn daemon(user: &User) -> Result<(Running, BufReader<UnixStream>)> {
    let mut running = Running::start(user.command(&["daemon"])?.stdin(Stdio::null()))?;
    ensure!(running.next_line(DEADLINE).as_deref() == Some("ready"), "no daemon");
    let stream = UnixStream::connect(fs::read_to_string(user.data().join("default/socket"))?)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok((running, BufReader::new(stream)))
}

fn call(stream: &mut BufReader<UnixStream>, method: &str, params: &Value) -> Result<()> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    stream.get_mut().write_all(format!("{request}\n").as_bytes())?;
    loop {
        let answer = next(stream)?;
        if answer["id"] == 1 {
            ensure!(answer.get("error").is_none(), "{answer}");
            return Ok(());
        }
    }
}

fn next(stream: &mut BufReader<UnixStream>) -> Result<Value> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// Until an event of this kind comes.
fn event(stream: &mut BufReader<UnixStream>, kind: &str) -> Result<Value> {
    loop {
        let said = next(stream)?;
        if said["method"] == "event" && said["params"]["kind"] == kind {
            return Ok(said["params"].clone());
        }
    }
}

fn typing_is_told_to_those_who_listen_and_kept_nowhere(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "hi")?;
    bob.receive()?;
    let seq = bob.send("alice", "hi yourself")?["seq"].as_u64().context("a seq")?;
    alice.receive()?;
    let ((alices, mut here), (bobs, mut there)) = (daemon(&alice)?, daemon(&bob)?);
    call(&mut here, "catch_up", &json!({ "patience_ms": 30_000 }))?;
    call(&mut there, "catch_up", &json!({ "patience_ms": 30_000 }))?;
    call(&mut there, "subscribe", &json!({}))?;
    call(&mut here, "typing", &json!({ "chat": "bob", "typing": true }))?;
    let told = json!({ "kind": "typing", "chat": "alice", "username": "alice", "typing": true });
    assert_eq!(event(&mut there, "typing")?, told);
    call(&mut here, "typing", &json!({ "chat": "bob", "typing": false }))?;
    assert_eq!(event(&mut there, "typing")?["typing"], false);
    // Whoever does not tell is not told either.
    call(&mut here, "switch", &json!({ "switch": "typing", "on": false }))?;
    call(&mut here, "typing", &json!({ "chat": "bob", "typing": true }))?;
    call(&mut here, "send", &json!({ "chat": "bob", "text": "silently" }))?;
    loop {
        let said = next(&mut there)?;
        ensure!(said["params"]["kind"] != "typing", "it was told that alice is typing");
        if said["params"]["kind"] == "message" {
            break;
        }
    }
    for daemon in [alices, bobs] {
        daemon.terminate()?;
        daemon.end(DEADLINE)?.expect_code(0)?;
    }
    let last = bob.history("alice")?.pop().context("a message")?;
    // Two receipts may stand between them, and nothing else.
    let between = last["seq"].as_u64().context("a seq")? - seq;
    ensure!(between <= 4, "typing took places in the log: {between}");
    Ok(())
}
