//! Clocks that jump: of the server and of its users, by days and by years, back and forth.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use waxwing_tests::{Clock, DAY, DEADLINE, Database, Server, User, texts};

const YEAR: i64 = 365 * DAY;

/// What a command printed.
fn json(user: &User, arguments: &[&str]) -> Result<Value> {
    user.run(arguments)?.expect_code(0)?.json()
}

/// The newest text that somebody wrote.
fn newest(messages: &[Value]) -> &str {
    let newest = messages.iter().rev().find(|message| message["kind"] == "text");
    newest.and_then(|message| message["text"].as_str()).unwrap_or_default()
}

fn with_clock(user: &mut User) -> Result<Clock> {
    let clock = Clock::new(user.place().join("clock"))?;
    clock.variables().into_iter().for_each(|(name, value)| user.set(name, value));
    Ok(clock)
}

fn server_with_clock() -> Result<(Server, Clock)> {
    let mut server = Server::set_up(Database::Sqlite, "open")?;
    let clock = Clock::new(server.beside("clock"))?;
    clock.variables().into_iter().for_each(|(name, value)| server.set(name, value));
    server.restart()?;
    Ok((server, clock))
}

/// Restarts the server with its clock so many seconds off.
fn restart_at(server: &mut Server, clock: &Clock, seconds: i64) -> Result<()> {
    server.stop()?;
    clock.set(seconds)?;
    server.restart()
}

#[test]
fn a_server_whose_clock_is_wrong_forgets_nothing() -> Result<()> {
    let (mut server, clock) = server_with_clock()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "before")?;
    assert_eq!(texts(&bob.receive()?), ["before"]);
    alice.send("bob", "it waits")?;
    // What is kept for thirty days is three thousand days old by this clock, and so is everybody's silence.
    restart_at(&mut server, &clock, 10 * YEAR)?;
    server.wait_for_log("nothing is deleted for its age today")?;
    alice.send("bob", "ten years on")?;
    restart_at(&mut server, &clock, -10 * YEAR)?;
    alice.send("bob", "ten years ago")?;
    for days in [1, -1, 0] {
        restart_at(&mut server, &clock, days * DAY)?;
        alice.send("bob", &format!("off by {days} days"))?;
    }
    let all = ["it waits", "ten years on", "ten years ago", "off by 1 days", "off by -1 days", "off by 0 days"];
    assert_eq!(texts(&bob.receive()?), all);
    bob.send("alice", "all of them")?;
    assert_eq!(texts(&alice.receive()?), ["all of them"]);
    ensure!(!server.log().contains("panicked"), "{}", server.log());
    Ok(())
}

#[test]
fn a_device_whose_clock_is_wrong_reads_and_writes_as_ever() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let (mut alice, mut bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let (hers, his) = (with_clock(&mut alice)?, with_clock(&mut bob)?);
    alice.send("bob", "before")?;
    assert_eq!(texts(&bob.receive()?), ["before"]);
    let mut sent = vec!["before".to_owned()];
    for seconds in [DAY, -DAY, 10 * YEAR, -10 * YEAR, 0] {
        hers.set(seconds)?;
        let text = format!("off by {seconds} seconds");
        alice.send("bob", &text)?;
        sent.push(text);
    }
    // The order is the log's, whatever the senders' clocks said, and the reader's clock jumps as well.
    his.set(10 * YEAR)?;
    assert_eq!(texts(&bob.receive()?), sent[1..]);
    his.set(-10 * YEAR)?;
    assert_eq!(texts(&bob.history("alice")?), sent);
    // A device that runs meanwhile.
    his.set(0)?;
    let mut follow = bob.follow()?;
    for seconds in [10 * YEAR, -10 * YEAR, 0] {
        his.set(seconds)?;
        alice.send("bob", &format!("at {seconds}"))?;
        assert_eq!(follow.message()?["text"], format!("at {seconds}"));
    }
    follow.stop()?;
    Ok(())
}

#[test]
fn a_device_whose_clock_is_wrong_follows_who_comes_in() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let (alice, mut bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let clock = with_clock(&mut bob)?;
    let group = json(&alice, &["group", "create", "Birds", "bob"])?["chat"].as_str().context("its id")?.to_owned();
    alice.send(&group, "before")?;
    assert_eq!(newest(&bob.receive()?), "before");
    for (years, name) in [(10, "carol"), (-10, "dave")] {
        // Bob reads that somebody comes in by a clock by which the key package has expired, or was not made yet.
        let newcomer = User::sign_up(server.link(), name)?;
        json(&alice, &["group", "invite", &group, name])?;
        clock.set(years * YEAR)?;
        alice.send(&group, name)?;
        assert_eq!(newest(&bob.receive()?), name);
        bob.send(&group, "read")?;
        newcomer.receive()?;
        assert_eq!(newest(&newcomer.history(&group)?), "read");
        clock.set(0)?;
    }
    Ok(())
}

#[test]
fn messages_disappear_when_the_clock_says_so_and_not_before() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let alice = User::sign_up(server.link(), "alice")?;
    let mut bob = User::sign_up(server.link(), "bob")?;
    let clock = with_clock(&mut bob)?;
    alice.send("bob", "this stays")?;
    bob.receive()?;
    alice.run(&["timer", "bob", "1w"])?.expect_code(0)?;
    alice.send("bob", "for a week")?;
    // His time runs from when he has read it.
    let mut chat = bob.chat("alice")?;
    chat.wait_for("for a week")?;
    chat.leave(DEADLINE)?;
    let shown = |days: i64| -> Result<bool> {
        clock.set(days * DAY)?;
        let texts = texts(&bob.history("alice")?);
        ensure!(texts.contains(&"this stays".to_owned()), "what has no lifetime is gone: {texts:?}");
        Ok(texts.contains(&"for a week".to_owned()))
    };
    for days in [1, -1, -3650, 6] {
        ensure!(shown(days)?, "{days} days off it is gone");
    }
    ensure!(!shown(3650)?, "ten years on it is still there");
    ensure!(!shown(0)?, "it came back");
    alice.send("bob", "and on")?;
    let received = bob.receive()?;
    assert_eq!(received.last().context("a message")?["text"], "and on");
    Ok(())
}
