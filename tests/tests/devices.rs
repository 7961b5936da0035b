//! One account on several devices: logging in, the chats that were there before, and who is in them.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use waxwing_tests::{DEADLINE, Database, Server, User, on_both_databases, texts};

on_both_databases!(
    a_second_device_takes_part_in_old_chats_at_once,
    a_device_that_nobody_let_in_waits_and_says_so,
    all_devices_show_the_same_in_the_same_order,
    two_devices_log_in_at_the_same_time,
    a_device_that_was_away_follows_all_changes,
    notes_reach_ones_other_device,
);

fn alice_and_bob(server: &Server) -> Result<(User, User)> {
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "before")?;
    bob.send("alice", "before, too")?;
    Ok((alice, bob))
}

/// What a chat shows, without the marks for what a device could not read.
fn shown(user: &User, chat: &str) -> Result<Vec<(Value, Value, Value)>> {
    let all = user.history(chat)?.into_iter().filter(|message| message["kind"] == "text");
    Ok(all.map(|message| (message["seq"].clone(), message["from"].clone(), message["text"].clone())).collect())
}

/// Waits until a device is in a chat, by sending a message there.
fn send_until_sent(user: &User, to: &str, text: &str) -> Result<Value> {
    let deadline = std::time::Instant::now() + DEADLINE;
    loop {
        let outcome = user.run(&["send", to, text])?;
        if outcome.code == 0 {
            return outcome.json();
        }
        ensure!(outcome.code == 3, "exit code {}: {}", outcome.code, outcome.stderr);
        ensure!(std::time::Instant::now() < deadline, "never let in: {}", outcome.stderr);
    }
}

fn a_second_device_takes_part_in_old_chats_at_once(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (phone, bob) = alice_and_bob(&server)?;
    let phone_follows = phone.follow()?;
    let mut bob_follows = bob.follow()?;
    assert_eq!(bob_follows.next_texts(1)?, ["before"]);

    let laptop = User::log_in(server.link(), "alice")?;
    let sent = laptop.send("bob", "from the laptop")?;
    let arrived = bob_follows.message()?;
    assert_eq!((&arrived["from"], &arrived["text"]), (&"alice".into(), &"from the laptop".into()));
    assert_eq!(arrived["seq"], sent["seq"]);
    bob_follows.stop()?;

    let mut laptop_follows = laptop.follow()?;
    bob.send("alice", "to both of you")?;
    assert_eq!(laptop_follows.next_texts(1)?, ["to both of you"]);
    phone_follows.stop()?;
    laptop_follows.stop()?;
    assert_eq!(texts(&phone.history("bob")?), ["before", "before, too", "from the laptop", "to both of you"]);
    assert_eq!(texts(&laptop.history("bob")?), ["from the laptop", "to both of you"]);
    Ok(())
}

fn a_device_that_nobody_let_in_waits_and_says_so(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (phone, bob) = alice_and_bob(&server)?;
    let laptop = User::log_in(server.link(), "alice")?;
    let refused = laptop.run(&["send", "bob", "is anybody there?"])?.expect_code(3)?;
    ensure!(refused.error()?.contains("not in the chat yet"), "{}", refused.stderr);
    ensure!(laptop.history("bob")?.is_empty(), "a message that was refused stays");

    let follow = bob.follow()?;
    let sent = send_until_sent(&laptop, "bob", "let in by bob")?;
    follow.stop()?;
    assert_eq!(texts(&bob.history("alice")?), ["before", "before, too", "let in by bob"]);
    let seen = phone.receive()?;
    assert_eq!(texts(&seen), ["before, too"], "what another device of ours wrote is not news");
    assert_eq!(phone.history("bob")?.last().context("a message")?["seq"], sent["seq"]);
    Ok(())
}

fn all_devices_show_the_same_in_the_same_order(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (phone, bob) = alice_and_bob(&server)?;
    let phone_follows = phone.follow()?;
    let laptop = User::log_in(server.link(), "alice")?;
    laptop.send("bob", "first together")?;
    phone_follows.stop()?;
    let desktop = {
        let bob_follows = bob.follow()?;
        let desktop = User::log_in(server.link(), "bob")?;
        send_until_sent(&desktop, "alice", "all four")?;
        bob_follows.stop()?;
        desktop
    };

    let devices = [(&phone, "bob"), (&laptop, "bob"), (&bob, "alice"), (&desktop, "alice")];
    let mut chats = devices.iter().map(|(user, with)| user.chat(with)).collect::<Result<Vec<_>>>()?;
    for round in 0..10 {
        for (index, chat) in chats.iter_mut().enumerate() {
            chat.say(&format!("device {index} says {round}"))?;
        }
    }
    for (own, chat) in chats.iter_mut().enumerate() {
        let mut missing: Vec<String> =
            (0..4).filter(|index| *index != own).map(|index| format!("device {index} says 9")).collect();
        while !missing.is_empty() {
            let line = chat.wait_for("says 9")?;
            missing.retain(|text| !line.contains(text));
        }
    }
    for chat in chats {
        chat.leave(DEADLINE)?;
    }
    let last = |user: &User, with: &str| -> Result<Vec<_>> {
        let mut all = shown(user, with)?;
        ensure!(all.len() >= 40, "only {} messages", all.len());
        Ok(all.split_off(all.len() - 40))
    };
    let expected = last(&phone, "bob")?;
    for (user, with) in devices {
        user.receive_now()?;
        assert_eq!(last(user, with)?, expected);
    }
    Ok(())
}

fn two_devices_log_in_at_the_same_time(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (phone, bob) = alice_and_bob(&server)?;
    let (phone_follows, bob_follows) = (phone.follow()?, bob.follow()?);
    let link = server.link();
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| User::log_in(link, "alice"));
        let two = scope.spawn(|| User::log_in(link, "alice"));
        (one.join(), two.join())
    });
    let one = one.map_err(|_| anyhow::anyhow!("a log-in panicked"))??;
    let two = two.map_err(|_| anyhow::anyhow!("a log-in panicked"))??;
    send_until_sent(&one, "bob", "one")?;
    send_until_sent(&two, "bob", "two")?;
    bob_follows.stop()?;
    phone_follows.stop()?;
    let expected = ["before", "before, too", "one", "two"];
    assert_eq!(texts(&bob.history("alice")?), expected);
    assert_eq!(texts(&phone.history("bob")?), expected);
    bob.send("alice", "to three")?;
    for device in [&phone, &one, &two] {
        device.receive()?;
        assert_eq!(texts(&device.history("bob")?).last().context("a message")?, "to three");
    }
    Ok(())
}

fn a_device_that_was_away_follows_all_changes(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (phone, bob) = alice_and_bob(&server)?;
    phone.receive()?;
    // The phone is away; devices come, and each brings changes of the group.
    let bob_follows = bob.follow()?;
    let mut others = Vec::new();
    for number in 0..3 {
        let device = User::log_in(server.link(), if number == 1 { "bob" } else { "alice" })?;
        let to = if number == 1 { "alice" } else { "bob" };
        send_until_sent(&device, to, &format!("new device {number}"))?;
        others.push(device);
    }
    bob_follows.stop()?;
    bob.send("alice", "welcome back")?;
    phone.receive()?;
    let expected = ["before", "before, too", "new device 0", "new device 1", "new device 2", "welcome back"];
    assert_eq!(texts(&phone.history("bob")?), expected);
    phone.send("bob", "I am back")?;
    for (device, with) in others.iter().zip(["bob", "alice", "bob"]) {
        device.receive_now()?;
        assert_eq!(texts(&device.history(with)?).last().context("a message")?, "I am back");
    }
    Ok(())
}

fn notes_reach_ones_other_device(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let phone = User::sign_up(server.link(), "alice")?;
    let laptop = User::log_in(server.link(), "alice")?;
    phone.send("alice", "buy milk")?;
    send_until_sent(&laptop, "alice", "and bread")?;
    phone.receive_now()?;
    laptop.receive_now()?;
    let notes = shown(&phone, "alice")?;
    assert_eq!(notes.iter().map(|(_, _, text)| text.clone()).collect::<Vec<_>>(), ["buy milk", "and bread"]);
    ensure!(notes.ends_with(&shown(&laptop, "alice")?), "the devices show different notes");
    Ok(())
}
