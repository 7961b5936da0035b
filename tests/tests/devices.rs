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
    a_device_that_was_away_too_long_comes_back_by_itself,
    a_device_that_was_away_too_long_is_let_in_by_others,
    whoever_is_killed_while_devices_come_all_end_up_in_one_chat,
    devices_that_change_a_chat_at_once_agree,
    a_chat_goes_on_after_the_server_was_restored,
    an_account_that_a_restored_server_knows_less_of_is_told,
    what_no_device_of_the_account_could_read_is_told_by_a_member,
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
    // Before that stands what the backup had.
    ensure!(texts(&laptop.history("bob")?).ends_with(&["from the laptop".into(), "to both of you".into()]));
    Ok(())
}

fn a_device_that_nobody_let_in_waits_and_says_so(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (phone, bob) = alice_and_bob(&server)?;
    // With a backup it would let itself in.
    phone.run(&["backup", "off", "--yes"])?.expect_code(0)?;
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

/// All entries are too old from now on.
fn expire(server: &mut Server) -> Result<()> {
    server.stop()?;
    server.execute("UPDATE entry SET time_ms = 1;")?;
    server.restart()
}

/// Alice's laptop knows the chat; then a desktop comes while it is away, and everybody but the laptop has read that.
fn laptop_is_left_behind(server: &Server) -> Result<(User, User, User)> {
    let (phone, bob) = alice_and_bob(server)?;
    let phone_follows = phone.follow()?;
    let laptop = User::log_in(server.link(), "alice")?;
    laptop.send("bob", "the laptop is here")?;
    laptop.receive_now()?;
    let desktop = User::log_in(server.link(), "alice")?;
    send_until_sent(&desktop, "bob", "not for the laptop")?;
    phone_follows.stop()?;
    for device in [&phone, &bob, &desktop] {
        device.receive_now()?;
    }
    Ok((phone, bob, laptop))
}

fn a_device_that_was_away_too_long_comes_back_by_itself(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let (phone, bob, laptop) = laptop_is_left_behind(&server)?;
    expire(&mut server)?;
    // Nobody else is there. It has the key to join by.
    send_until_sent(&laptop, "bob", "back again")?;
    let history = laptop.history("bob")?;
    let marks: Vec<_> = history.iter().filter(|message| message["kind"] != "text").collect();
    ensure!(!marks.is_empty(), "no mark for what is missing: {history:?}");
    ensure!(!texts(&history).contains(&"not for the laptop".to_owned()), "it was expired");
    assert_eq!(texts(&bob.receive()?).last().context("a message")?, "back again");
    bob.send("alice", "welcome back")?;
    for device in [&phone, &laptop] {
        assert_eq!(texts(&device.receive()?).last().context("a message")?, "welcome back");
    }
    Ok(())
}

fn a_device_that_was_away_too_long_is_let_in_by_others(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let (_, bob, laptop) = laptop_is_left_behind(&server)?;
    server.stop()?;
    server.execute("UPDATE entry SET time_ms = 1; DELETE FROM group_info;")?;
    server.restart()?;
    laptop.run(&["send", "bob", "is anybody there?"])?.expect_code(3)?;
    let follow = bob.follow()?;
    send_until_sent(&laptop, "bob", "back again")?;
    follow.stop()?;
    bob.send("alice", "welcome back")?;
    assert_eq!(texts(&laptop.receive()?).last().context("a message")?, "welcome back");
    Ok(())
}

fn whoever_is_killed_while_devices_come_all_end_up_in_one_chat(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let (phone, bob) = alice_and_bob(&server)?;
    let mut devices = vec![(phone, "bob"), (bob, "alice")];
    for round in 0..4 {
        let mut follows = devices.iter().map(|(user, _)| user.follow()).collect::<Result<Vec<_>>>()?;
        let name = if round % 2 == 0 { "alice" } else { "bob" };
        let with = if round % 2 == 0 { "bob" } else { "alice" };
        let device = User::log_in(server.link(), name)?;
        // They are about to add it.
        match round {
            0 | 1 => follows.iter_mut().for_each(|follow| follow.0.kill()),
            2 => {
                server.kill();
                server.restart()?;
            }
            _ => {
                let mut chat = device.chat(with)?;
                chat.say("killed while it was let in")?;
                chat.0.kill();
            }
        }
        drop(follows);
        let helpers = devices.iter().map(|(user, _)| user.follow()).collect::<Result<Vec<_>>>()?;
        send_until_sent(&device, with, &format!("new device {round}"))?;
        for helper in helpers {
            helper.0.interrupt()?;
            // Who is interrupted before it has begun to listen ends as every program does.
            let ended = helper.0.end(DEADLINE)?;
            ensure!([0, 130].contains(&ended.code), "exit code {}: {}", ended.code, ended.stderr);
        }
        devices.push((device, with));
    }
    for (index, (user, with)) in devices.iter().enumerate() {
        send_until_sent(user, with, &format!("device {index} is in"))?;
    }
    let mut seen = Vec::new();
    for (user, with) in &devices {
        user.receive_now()?;
        let all = shown(user, with)?;
        seen.push(all.into_iter().filter(|(_, _, text)| text.as_str().is_some_and(|text| text.ends_with("is in"))));
    }
    let mut seen = seen.into_iter().map(Iterator::collect::<Vec<_>>);
    let first = seen.next().context("a device")?;
    assert_eq!(first.len(), devices.len());
    seen.for_each(|other| assert_eq!(other, first));
    Ok(())
}

fn devices_that_change_a_chat_at_once_agree(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (phone, bob) = alice_and_bob(&server)?;
    let phone_follows = phone.follow()?;
    let laptop = User::log_in(server.link(), "alice")?;
    send_until_sent(&laptop, "bob", "two")?;
    // Phone and laptop hear of the third device at the same moment, and both want to add it.
    let laptop_follows = laptop.follow()?;
    let tablet = User::log_in(server.link(), "alice")?;
    send_until_sent(&tablet, "bob", "three")?;
    phone_follows.stop()?;
    laptop_follows.stop()?;
    bob.send("alice", "to three")?;
    for device in [&phone, &laptop, &tablet] {
        device.receive_now()?;
        let history = device.history("bob")?;
        assert_eq!(texts(&history).last().context("a message")?, "to three");
        ensure!(history.iter().all(|message| message["kind"] == "text"), "a mark: {history:?}");
    }
    Ok(())
}

fn a_chat_goes_on_after_the_server_was_restored(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    alice.receive()?;
    bob.receive()?;
    server.stop()?;
    let snapshot = server.snapshot()?;
    server.restart()?;
    for number in 0..5 {
        alice.send("bob", &format!("after the copy {number}"))?;
    }
    bob.receive()?;
    server.stop()?;
    server.put_back(&snapshot)?;
    server.restart()?;

    alice.send("bob", "restored")?;
    assert_eq!(texts(&bob.receive()?).last().context("a message")?, "restored");
    bob.send("alice", "here, too")?;
    alice.receive()?;
    for (user, with) in [(&alice, "bob"), (&bob, "alice")] {
        let history = user.history(with)?;
        let said: Vec<_> = shown(user, with)?.into_iter().map(|(_, _, text)| text).collect();
        let before = ["before", "before, too"].map(str::to_owned);
        let after = (0..5).map(|number| format!("after the copy {number}"));
        let expected: Vec<String> =
            before.into_iter().chain(after).chain(["restored".into(), "here, too".into()]).collect();
        assert_eq!(said, expected);
        let marks = history.iter().filter(|message| message["kind"] != "text").count();
        assert_eq!(marks, 1, "{history:?}");
    }
    Ok(())
}

fn an_account_that_a_restored_server_knows_less_of_is_told(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let (phone, bob) = alice_and_bob(&server)?;
    server.stop()?;
    let snapshot = server.snapshot()?;
    server.restart()?;
    let phone_follows = phone.follow()?;
    let laptop = User::log_in(server.link(), "alice")?;
    send_until_sent(&laptop, "bob", "from the laptop")?;
    phone_follows.stop()?;
    server.stop()?;
    server.put_back(&snapshot)?;
    server.restart()?;
    // The server has never heard of the laptop, and shows the phone an account without it.
    laptop.run(&["send", "bob", "hello?"])?.expect_code(6)?;
    let refused = phone.run(&["send", "bob", "hello?"])?.expect_code(4)?;
    ensure!(refused.error()?.contains("restored from an older copy"), "{}", refused.stderr);
    ensure!(refused.stderr.contains("devices repair"), "it does not say what to do: {}", refused.stderr);

    // The phone signs again what it knows, for its contacts without an alarm; the laptop comes back with the password.
    let devices = |user: &User| -> Result<usize> { Ok(user.run(&["devices"])?.expect_code(0)?.json_lines()?.len()) };
    phone.run(&["devices", "repair"])?.expect_code(0)?;
    assert_eq!(devices(&phone)?, 1);
    phone.send("bob", "as before")?;
    laptop.run(&["login", "--username", "alice"])?.expect_code(0)?;
    assert_eq!(devices(&laptop)?, 2);
    let phone_follows = phone.follow()?;
    send_until_sent(&laptop, "bob", "back again")?;
    phone_follows.stop()?;
    let heard = texts(&bob.receive()?);
    ensure!(heard.ends_with(&["as before".into(), "back again".into()]), "{heard:?}");
    bob.send("alice", "no alarm here")?;
    Ok(())
}

fn what_no_device_of_the_account_could_read_is_told_by_a_member(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, lost) = alice_and_bob(&server)?;
    lost.run(&["backup", "off", "--yes"])?.expect_code(0)?;
    drop(lost);
    for text in ["are you there?", "bob?", "I shall write later"] {
        alice.send("bob", text)?;
    }
    let alice_follows = alice.follow()?;
    let bob = User::log_in(server.link(), "bob")?;
    let mut follows = bob.follow()?;
    let missed = ["before", "are you there?", "bob?", "I shall write later"];
    for text in missed {
        let message = follows.message()?;
        assert_eq!((&message["text"], &message["told_by"]), (&text.into(), &"alice".into()));
    }
    follows.stop()?;
    alice_follows.stop()?;

    let told = bob.history("alice")?;
    assert_eq!(texts(&told), ["before", "before, too", "are you there?", "bob?", "I shall write later"]);
    assert_eq!((&told[1]["from"], &told[1]["told_by"]), (&"bob".into(), &"alice".into()));
    let seqs =
        |user: &User, chat| Ok::<_, anyhow::Error>(shown(user, chat)?.into_iter().map(|one| one.0).collect::<Vec<_>>());
    assert_eq!(seqs(&bob, "alice")?, seqs(&alice, "bob")?);
    // Once is enough: neither asks or tells again.
    bob.receive_now()?;
    alice.receive_now()?;
    assert_eq!(bob.history("alice")?, told);
    alice.send("bob", "welcome back")?;
    assert_eq!(texts(&bob.receive()?), ["welcome back"]);
    Ok(())
}
