//! A new device needs the username and the password, and everything is back.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Instant;
use waxwing_tests::{DEADLINE, Database, Server, User, on_both_databases, texts};

on_both_databases!(
    everything_comes_back_while_nobody_is_online,
    restored_messages_are_not_new,
    a_killed_restore_goes_on_where_it_was,
    a_killed_upload_leaves_the_last_backup_valid,
    two_devices_store_everything_once,
    a_drill_says_that_all_is_well,
    a_backup_that_is_off_stays_off_on_every_device,
    the_status_says_what_is_missing,
);

fn numbered(word: &str, count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{word} {number}")).collect()
}

fn alice_and_bob(server: &Server) -> Result<(User, User)> {
    Ok((User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?))
}

/// Says so many things in one go.
fn say_all(user: &User, to: &str, all: &[String]) -> Result<()> {
    let mut chat = user.chat(to)?;
    for text in all {
        chat.say(text)?;
    }
    chat.leave(DEADLINE)?;
    Ok(())
}

/// A further device of an account, with what `login` said.
fn further_device(server: &Server, name: &str) -> Result<(User, Value)> {
    let device = User::new(name)?;
    let said = device.try_log_in(server.link(), &["--remember"])?.expect_code(0)?.json()?;
    Ok((device, said))
}

fn status(user: &User) -> Result<Value> {
    user.run(&["backup", "status"])?.expect_code(0)?.json()
}

fn everything_comes_back_while_nobody_is_online(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    let carol = User::sign_up(server.link(), "carol")?;
    let said = numbered("hello", 40);
    say_all(&alice, "bob", &said)?;
    bob.receive()?;
    bob.send("alice", "and hello to you")?;
    alice.receive()?;
    carol.send("alice", "me too")?;
    alice.receive()?;
    alice.send("carol", "you too \u{1f426} \u{202e}evil")?;

    // Only the server is there now.
    let (phone, login) = further_device(&server, "alice")?;
    assert_eq!(login["restored"]["done"], 43, "{login}");
    assert_eq!(login["restored"]["total"], 43, "{login}");
    assert_eq!(login["backup_error"], Value::Null, "{login}");
    for chat in ["bob", "carol"] {
        let (here, there) = (alice.history(chat)?, phone.history(chat)?);
        for field in ["id", "from", "seq", "sent_at", "received_at", "kind", "text"] {
            let of = |messages: &[Value]| messages.iter().map(|message| message[field].clone()).collect::<Vec<_>>();
            assert_eq!(of(&there), of(&here), "{chat}: {field}");
        }
    }
    let own = phone.history("bob")?;
    ensure!(own.iter().filter(|one| one["from"] == "alice").all(|one| one["state"] != "received"), "{own:?}");
    Ok(())
}

fn restored_messages_are_not_new(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    say_all(&bob, "alice", &numbered("long ago", 20))?;
    alice.receive()?;
    alice.send("bob", "read")?;
    let (phone, _) = further_device(&server, "alice")?;
    assert_eq!(phone.history("bob")?.len(), 21);
    ensure!(phone.receive_now()?.is_empty(), "what was restored counts as received anew");
    let chats = phone.run(&["chats"])?.expect_code(0)?.json_lines()?;
    let chat = chats.iter().find(|chat| chat["chat"] == "bob").context("no chat with bob")?;
    assert_eq!(chat["unread"], 0, "{chat}");
    // What comes now is new.
    let mut old = alice.follow()?;
    // The new device is let in by the old one.
    phone.send("bob", "from the phone")?;
    let mut follow = phone.follow()?;
    bob.send("alice", "news")?;
    assert_eq!(follow.next_texts(1)?, ["news"]);
    // What another device of ours wrote is no news, but it is in the history.
    assert_eq!(old.next_texts(1)?, ["news"]);
    assert_eq!(texts(&alice.history("bob")?)[21..], ["from the phone", "news"]);
    follow.stop()?;
    old.stop()?;
    assert_eq!(texts(&phone.history("bob")?).last().map(String::as_str), Some("news"));
    Ok(())
}

fn a_killed_restore_goes_on_where_it_was(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, _bob) = alice_and_bob(&server)?;
    let said = numbered("many", 1300);
    say_all(&alice, "bob", &said)?;
    alice.run(&["backup", "now"])?.expect_code(0)?;
    let phone = User::new("alice")?;
    let mut login =
        phone.command(&["login", "--server", server.link(), "--username", "alice", "--remember", "--json"])?;
    let mut login = waxwing_tests::Running::start(login.stdin(std::process::Stdio::null()))?;
    // As soon as the profile is there, the program dies.
    let deadline = std::time::Instant::now() + DEADLINE;
    while !phone.data().join("default/history.db").exists() {
        ensure!(std::time::Instant::now() < deadline, "the login makes no profile");
        std::thread::yield_now();
    }
    login.kill();
    phone.receive_now()?;
    let restored = phone.run(&["backup", "now"])?.expect_code(0)?.json()?;
    assert_eq!(restored["restoring"], Value::Null, "{restored}");
    assert_eq!(texts(&phone.history("bob")?), said);
    Ok(())
}

fn a_killed_upload_leaves_the_last_backup_valid(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, _bob) = alice_and_bob(&server)?;
    let mut said = numbered("kept", 30);
    say_all(&alice, "bob", &said)?;
    for round in 0..5 {
        let more = numbered(&format!("round {round},"), 300);
        let mut chat = alice.chat("bob")?;
        for text in &more {
            chat.say(text)?;
        }
        // More than are stored at once: an upload is on its way, or about to be.
        chat.wait_for(&more[220 + 15 * round])?;
        chat.0.kill();
        let kept = texts(&alice.history("bob")?);
        ensure!(kept.starts_with(&said), "the history itself lost something");
        said = kept;
        let (phone, login) = further_device(&server, "alice")?;
        assert_eq!(login["backup_error"], Value::Null, "{login}");
        let restored = texts(&phone.history("bob")?);
        ensure!(restored.len() >= 30 && restored.iter().all(|text| said.contains(text)), "{}", restored.len());
    }
    alice.receive_now()?;
    // What the last kill left unsent leaves meanwhile: that belongs to the next backup.
    let begun = Instant::now();
    loop {
        let whole = alice.run(&["backup", "now"])?.expect_code(0)?.json()?;
        if whole["covered"] == whole["messages"] {
            return Ok(());
        }
        ensure!(begun.elapsed() < DEADLINE, "{whole}");
    }
}

fn two_devices_store_everything_once(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    alice.send("bob", "first")?;
    bob.receive()?;
    let (phone, _) = further_device(&server, "alice")?;
    let mut follows = [alice.follow()?, phone.follow()?];
    say_all(&bob, "alice", &numbered("to both", 250))?;
    for follow in &mut follows {
        follow.next_texts(250)?;
    }
    let [one, other] = follows;
    std::thread::scope(|scope| -> Result<()> {
        let ending = scope.spawn(|| one.stop());
        other.stop()?;
        ending.join().map_err(|_| anyhow::anyhow!("a device panicked"))?
    })?;
    for device in [&alice, &phone] {
        let whole = device.run(&["backup", "now"])?.expect_code(0)?.json()?;
        assert_eq!(whole["covered"], whole["messages"], "{whole}");
        let drill = device.run(&["backup", "drill"])?.expect_code(0)?.json()?;
        assert_eq!((&drill["messages"], &drill["same"]), (&251.into(), &251.into()), "{drill}");
    }
    Ok(())
}

fn a_drill_says_that_all_is_well(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    say_all(&alice, "bob", &numbered("drilled", 60))?;
    bob.receive()?;
    let drill = alice.run(&["backup", "drill"])?.expect_code(0)?.json()?;
    assert_eq!(drill["same"], 60, "{drill}");
    assert_eq!(drill["different"], 0, "{drill}");
    assert_eq!(drill["not_yet"], 0, "{drill}");
    Ok(())
}

fn a_backup_that_is_off_stays_off_on_every_device(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    say_all(&alice, "bob", &numbered("secret", 10))?;
    let (phone, _) = further_device(&server, "alice")?;
    alice.run(&["backup", "off"])?.expect_code(1)?;
    let off = alice.run(&["backup", "off", "--yes"])?.expect_code(0)?.json()?;
    assert_eq!(off["enabled"], false, "{off}");
    alice.send("bob", "not stored")?;
    bob.receive()?;
    let refused = phone.run(&["backup", "now"])?.expect_code(1)?;
    ensure!(refused.stderr.contains("off"), "{}", refused.stderr);
    let (third, login) = further_device(&server, "alice")?;
    assert_eq!(login["restored"]["total"], 0, "{login}");
    assert_eq!(status(&third)?["enabled"], false);
    let on = alice.run(&["backup", "on"])?.expect_code(0)?.json()?;
    assert_eq!((&on["enabled"], &on["covered"]), (&true.into(), &11.into()), "{on}");
    let (_, login) = further_device(&server, "alice")?;
    assert_eq!(login["restored"]["done"], 11, "{login}");
    Ok(())
}

fn the_status_says_what_is_missing(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, _bob) = alice_and_bob(&server)?;
    let mut chat = alice.chat("bob")?;
    chat.say("just now")?;
    chat.wait_for("just now")?;
    chat.leave(DEADLINE)?;
    let now = status(&alice)?;
    assert_eq!((&now["covered"], &now["messages"], &now["stale"]), (&1.into(), &1.into(), &false.into()), "{now}");
    ensure!(now["used"].as_u64() > Some(0) && now["quota"].as_u64() > Some(0), "{now}");
    Ok(())
}
