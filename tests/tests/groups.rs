//! Groups and rooms, as their members and those who are no members any more meet them.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};
use waxwing_tests::{
    Chat, DEADLINE, Database, Direction, Fault, Follow, PICTURE, Proxy, Running, Server, User, link_with_port,
    on_both_databases,
};

on_both_databases!(
    a_group_lives_from_its_making_to_its_end,
    whoever_was_put_out_with_words_on_the_way_writes_again_when_back,
    a_room_is_open_and_keeps_out_whom_its_admins_put_out,
    many_come_at_once,
    a_second_device_comes_into_groups_and_rooms,
    the_operator_names_a_default_room_and_ends_rooms,
);

/// What a command printed.
fn json(user: &User, arguments: &[&str]) -> Result<Value> {
    user.run(arguments)?.expect_code(0)?.json()
}

fn words(messages: &[Value]) -> Vec<String> {
    let said =
        |message: &Value| message["text"].as_str().or_else(|| message["reason"].as_str()).unwrap_or("").to_owned();
    messages.iter().map(said).collect()
}

/// What somebody has written, without what merely happened.
fn said(messages: &[Value]) -> Vec<String> {
    words(&messages.iter().filter(|message| message["kind"] == "text").cloned().collect::<Vec<_>>())
}

/// The next text of a `receive --follow`.
fn next_text(follow: &mut Follow) -> Result<String> {
    loop {
        let message = follow.message()?;
        if message["kind"] == "text" {
            return Ok(message["text"].as_str().unwrap_or_default().to_owned());
        }
    }
}

fn members(user: &User, chat: &str) -> Result<Vec<String>> {
    let group = json(user, &["group", "show", chat])?;
    let name = |member: &Value| {
        let admin = if member["admin"] == true { "*" } else { "" };
        format!("{}{admin}", member["username"].as_str().unwrap_or_default())
    };
    Ok(group["members"].as_array().context("members")?.iter().map(name).collect())
}

fn a_group_lives_from_its_making_to_its_end(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let user = |name| User::sign_up(server.link(), name);
    let (alice, bob, carol, dave) = (user("alice")?, user("bob")?, user("carol")?, user("dave")?);
    let made = json(&alice, &["group", "create", "Bird watchers", "bob", "carol"])?;
    let id = made["chat"].as_str().context("a chat")?.to_owned();
    ensure!(id.starts_with('+'), "{id}");
    alice.send("Bird watchers", "Early tomorrow?")?;
    for one in [&bob, &carol] {
        let received = one.receive()?;
        assert_eq!(said(&received), ["Early tomorrow?"]);
        assert_eq!(received.first().context("a message")?["chat"], id.as_str());
    }
    let yes = bob.send(&id, "Yes!")?;
    assert_eq!(said(&carol.receive()?), ["Yes!"]);
    assert_eq!(said(&alice.receive()?), ["Yes!"]);
    bob.run(&["edit", yes["id"].as_str().context("an id")?, "Yes, with pleasure!"])?.expect_code(0)?;
    let chats = bob.run(&["chats"])?.expect_code(0)?.json_lines()?;
    let chat = chats.iter().find(|chat| chat["chat"] == id.as_str()).context("the group")?;
    assert_eq!((&chat["chat_kind"], &chat["title"]), (&"group".into(), &"Bird watchers".into()));

    let plan = alice.place().join("plan.gif");
    fs::write(&plan, PICTURE)?;
    alice.run(&["send", &id, "--file", &plan.display().to_string(), "--caption", "the way"])?.expect_code(0)?;
    bob.receive()?;

    // Who is no admin changes nothing.
    let refused = bob.run(&["group", "invite", &id, "dave"])?.expect_code(1)?;
    ensure!(refused.error()?.contains("admin"), "{}", refused.stderr);
    bob.run(&["group", "rename", &id, "Bob's"])?.expect_code(1)?;
    json(&alice, &["group", "history", &id, "20"])?;
    json(&alice, &["group", "invite", &id, "dave"])?;
    // What was said before he came a member tells him.
    let mut open = alice.chat(&id)?;
    open.wait_for("Early tomorrow?")?;
    // First he is told who added him.
    let (mut told, deadline) = (dave.receive()?, Instant::now() + DEADLINE);
    while !told.iter().any(|message| message["kind"] == "file") && Instant::now() < deadline {
        told.extend(dave.receive()?);
    }
    let first = told.iter().find(|message| message["kind"] == "text").context("a message")?;
    assert_eq!((&first["text"], &first["told_by"]), (&"Early tomorrow?".into(), &"alice".into()), "{told:?}");
    let answer = told.iter().filter(|message| message["kind"] == "text").nth(1).context("an answer")?;
    assert_eq!((&answer["text"], &answer["told_by"]), (&"Yes, with pleasure!".into(), &"alice".into()), "{answer}");
    ensure!(answer["edited_at"].is_string(), "it is not said to be edited: {answer}");
    // A file, too: with what opens it.
    let file = told.iter().find(|message| message["kind"] == "file").context("a file")?;
    assert_eq!((&file["text"], &file["told_by"]), (&"the way".into(), &"alice".into()), "{file}");
    assert_eq!((&file["file"]["name"], &file["file"]["thumbnail"]), (&"plan.gif".into(), &true.into()), "{file}");
    let folder = dave.place().join("in").display().to_string();
    let saved = json(&dave, &["download", file["id"].as_str().context("an id")?, "--to", &folder])?;
    ensure!(fs::read(saved["path"].as_str().context("a path")?)? == PICTURE, "{saved}");
    leave(open)?;
    json(&alice, &["group", "topic", &id, "lagoon at six"])?;
    json(&alice, &["group", "promote", &id, "bob"])?;
    bob.receive_now()?;
    json(&bob, &["group", "rename", &id, "Very early birds"])?;
    assert_eq!(members(&bob, &id)?, ["alice*", "bob*", "carol", "dave"]);
    dave.send(&id, "Thank you")?;
    alice.receive()?;
    let told = words(&alice.history(&id)?);
    for line in [
        "you added dave",
        "you set the topic: lagoon at six",
        "you made bob an admin",
        "bob named the group: Very early birds",
    ] {
        ensure!(told.iter().any(|one| one == line), "{line:?} is not in {told:?}");
    }

    // Put out: reads nothing that comes after, and knows that it is out.
    json(&bob, &["group", "remove", &id, "carol"])?;
    alice.send(&id, "Without Carol")?;
    carol.receive_now()?;
    let told = words(&carol.history(&id)?);
    ensure!(told.iter().any(|line| line == "bob removed you"), "{told:?}");
    ensure!(!told.iter().any(|line| line == "Without Carol"), "{told:?}");
    let refused = carol.run(&["send", &id, "Hello?"])?.expect_code(1)?;
    ensure!(refused.error()?.contains("any more"), "{}", refused.stderr);

    // Leaves by itself; the last admin must name another first.
    dave.run(&["group", "leave", &id])?.expect_code(0)?;
    alice.send(&id, "Without Dave")?;
    assert_eq!(members(&alice, &id)?, ["alice*", "bob*"]);
    let told = words(&alice.history(&id)?);
    ensure!(told.iter().any(|line| line == "dave left"), "{told:?}");
    bob.receive()?;
    bob.run(&["group", "leave", &id])?.expect_code(0)?;
    alice.send(&id, "Alone")?;
    alice.run(&["group", "leave", &id])?.expect_code(0)?;
    let chats = alice.run(&["chats"])?.expect_code(0)?.json_lines()?;
    ensure!(chats.iter().any(|chat| chat["chat"] == id.as_str() && chat["over"] == true), "{chats:?}");
    // Comes back by an invitation to another group of that name, which is told from the first.
    json(&bob, &["group", "create", "Very early birds", "carol"])?;
    carol.receive_now()?;
    carol.run(&["group", "show", "Very early birds"])?.expect_code(0)?;
    Ok(())
}

/// What was on its way when somebody was put out had numbers that the server never saw. Back in the group, it has to be
/// able to write, and to stay connected.
fn whoever_was_put_out_with_words_on_the_way_writes_again_when_back(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let proxy = Proxy::start(server.port())?;
    let alice = User::sign_up(server.link(), "alice")?;
    let bob = User::sign_up(&link_with_port(server.link(), proxy.port())?, "bob")?;
    let id = json(&alice, &["group", "create", "Bird watchers", "bob"])?["chat"].as_str().context("a chat")?.to_owned();
    alice.send(&id, "Welcome")?;
    bob.receive()?;
    bob.send(&id, "Thank you")?;

    let holder = Running::start(bob.command(&["daemon"])?.stdin(Stdio::null()))?;
    let deadline = Instant::now() + DEADLINE;
    loop {
        proxy.set(Fault::None);
        bob.run(&["receive"])?.expect_code(0)?;
        // The next word of the client ends its connection: the message is sealed, and the server never sees it.
        proxy.set(Fault::CutAfter(Direction::ToServer, 1));
        let sent = bob.run(&["send", &id, "Lost on the way"])?;
        if sent.code == 3 && sent.stderr.contains("may have left") {
            break;
        }
        ensure!(Instant::now() < deadline, "it is never on its way: {}", sent.stderr);
    }
    proxy.set(Fault::Refuse);
    json(&alice, &["group", "remove", &id, "bob"])?;
    proxy.set(Fault::None);
    bob.receive_now()?;
    ensure!(words(&bob.history(&id)?).iter().any(|line| line == "alice removed you"), "he does not know");
    json(&alice, &["group", "invite", &id, "bob"])?;
    loop {
        let sent = bob.run(&["send", &id, "Back again"])?;
        if sent.code == 0 {
            break;
        }
        ensure!(Instant::now() < deadline, "he can never write again: {}", sent.stderr);
    }
    alice.receive()?;
    ensure!(words(&alice.history(&id)?).iter().any(|line| line == "Back again"), "it did not arrive");
    drop(holder);
    Ok(())
}

fn a_room_is_open_and_keeps_out_whom_its_admins_put_out(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let user = |name| User::sign_up(server.link(), name);
    let (alice, bob, carol) = (user("alice")?, user("bob")?, user("carol")?);
    assert_eq!(json(&alice, &["room", "join", "#Birds"])?["chat"], "#birds");
    // Nobody is there to let Bob in: he comes in by himself.
    assert_eq!(json(&bob, &["room", "join", "birds"])?["chat"], "#birds");
    bob.send("#birds", "Anybody here?")?;
    assert_eq!(said(&alice.receive()?), ["Anybody here?"]);
    let rooms = carol.run(&["room", "list"])?.expect_code(0)?.json_lines()?;
    let room = rooms.first().context("a room")?;
    assert_eq!((&room["name"], &room["members"], &room["joined"]), (&"#birds".into(), &2.into(), &false.into()));
    // Somebody is there: lets her in.
    let mut chat = alice.chat("#birds")?;
    chat.wait_for("Chat with #birds")?;
    json(&carol, &["room", "join", "#birds"])?;
    chat.wait_for("carol joined")?;
    chat.say("Welcome, Carol")?;
    assert_eq!(said(&carol.receive()?), ["Welcome, Carol"]);
    chat.say("/topic lagoon")?;
    chat.wait_for("you set the topic: lagoon")?;
    chat.say("/kick bob")?;
    chat.wait_for("you removed bob")?;
    chat.say("/who")?;
    chat.wait_for("carol")?;
    chat.say("/rename Bees")?;
    chat.wait_for("keeps its name")?;
    bob.receive_now()?;
    bob.run(&["send", "#birds", "Hello?"])?.expect_code(1)?;
    // Asks to come back: nobody who is there lets him, and his own commit is refused by all.
    bob.run(&["room", "join", "#birds"])?.expect_code(1)?;
    chat.say("Still without Bob")?;
    assert_eq!(said(&carol.receive()?), ["Still without Bob"]);
    chat.say("/invite bob")?;
    chat.wait_for("bob joined")?;
    chat.say("Bob is back")?;
    ensure!(said(&bob.receive()?).contains(&"Bob is back".to_owned()));
    leave(chat)?;
    carol.run(&["room", "leave", "#birds"])?.expect_code(0)?;
    json(&carol, &["room", "join", "#birds"])?;
    carol.send("#birds", "Here again")?;
    Ok(())
}

/// Five come into a room at the same time, and all write: everybody reads everything, in the same order.
fn many_come_at_once(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let host = User::sign_up(server.link(), "host")?;
    json(&host, &["room", "join", "#all"])?;
    let mut chat = host.chat("#all")?;
    chat.wait_for("Chat with #all")?;
    let names = ["ann", "ben", "cat", "dan", "eve"];
    let users = names.map(|name| User::sign_up(server.link(), name));
    let users = users.into_iter().collect::<Result<Vec<_>>>()?;
    std::thread::scope(|scope| {
        let all: Vec<_> = users.iter().map(|user| scope.spawn(move || json(user, &["room", "join", "#all"]))).collect();
        all.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow::anyhow!("a thread"))?.map(drop))
    })?;
    std::thread::scope(|scope| {
        let all: Vec<_> = users.iter().map(|user| scope.spawn(move || user.send("#all", user.name()))).collect();
        all.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow::anyhow!("a thread"))?.map(drop))
    })?;
    leave(chat)?;
    let shown = |user: &User| -> Result<Vec<String>> {
        user.receive_now()?;
        Ok(said(&user.history("#all")?))
    };
    let expected = shown(&host)?;
    assert_eq!(expected.len(), names.len(), "{expected:?}");
    for user in &users {
        assert_eq!(shown(user)?, expected, "{}", user.name());
        assert_eq!(members(user, "#all")?.len(), names.len() + 1);
    }
    Ok(())
}

/// What an account is in, all its devices are in; and leaving counts for all of them.
fn a_second_device_comes_into_groups_and_rooms(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let made = json(&alice, &["group", "create", "Two", "bob"])?;
    let id = made["chat"].as_str().context("a chat")?.to_owned();
    json(&bob, &["room", "join", "#birds"])?;
    json(&alice, &["room", "join", "#birds"])?;
    bob.receive_now()?;
    let laptop = User::log_in(server.link(), "alice")?;
    // Her first device lets the second one in.
    let mut first = alice.follow()?;
    for chat in [id.as_str(), "#birds"] {
        bob.send(chat, "Are you both there?")?;
        assert_eq!(next_text(&mut first)?, "Are you both there?");
    }
    laptop.receive_now()?;
    for chat in [id.as_str(), "#birds"] {
        laptop.send(chat, "Here is the laptop")?;
        let received = said(&bob.receive()?);
        ensure!(received.contains(&"Here is the laptop".to_owned()), "{chat}: {received:?}");
    }
    let group = json(&bob, &["group", "show", &id])?;
    let alices = group["members"].as_array().context("members")?.iter().find(|one| one["username"] == "alice");
    assert_eq!(alices.context("alice")?["devices"], 2);
    first.stop()?;
    alice.receive_now()?;
    for chat in [id.as_str(), "#birds"] {
        assert_eq!(said(&alice.history(chat)?), ["Are you both there?", "Here is the laptop"]);
    }
    laptop.run(&["room", "leave", "#birds"])?.expect_code(0)?;
    alice.receive_now()?;
    alice.run(&["send", "#birds", "Hello?"])?.expect_code(1)?;
    Ok(())
}

fn the_operator_names_a_default_room_and_ends_rooms(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let config = server.folder().join("config.toml");
    let text = fs::read_to_string(&config)?;
    ensure!(text.contains("default_room = \"off\""), "{text}");
    let text = text.replace("default_room = \"off\"", "default_room = \"general\"");
    fs::write(&config, text.replace("members_limit = 250", "members_limit = 2"))?;
    server.restart()?;
    let user = |name| User::sign_up(server.link(), name);
    let (alice, bob, carol) = (user("alice")?, user("bob")?, user("carol")?);
    // The first one makes it, without being asked.
    alice.receive_now()?;
    let chats = alice.run(&["chats"])?.expect_code(0)?.json_lines()?;
    ensure!(chats.iter().any(|chat| chat["chat"] == "#general"), "{chats:?}");
    json(&bob, &["room", "join", "#general"])?;
    let full = carol.run(&["room", "join", "#general"])?;
    ensure!(full.code != 0 && full.error()?.contains("as many members"), "{}", full.stderr);

    let rooms = server.operate(&["room", "list"])?.expect_code(0)?.json_lines()?;
    assert_eq!(rooms, [serde_json::json!({ "room": "#general", "members": 2 })]);
    server.operate(&["room", "delete", "#general"])?.expect_code(1)?;
    server.operate(&["room", "delete", "#nowhere", "--yes"])?.expect_code(1)?;
    server.operate(&["room", "delete", "#general", "--yes"])?.expect_code(0)?;
    bob.receive_now()?;
    bob.run(&["send", "#general", "Hello?"])?.expect_code(1)?;
    // Its name is free.
    json(&bob, &["room", "join", "#general"])?;
    bob.send("#general", "Hello again")?;
    Ok(())
}

fn leave(chat: Chat) -> Result<()> {
    chat.leave(DEADLINE + Duration::from_secs(5)).map(drop)
}
