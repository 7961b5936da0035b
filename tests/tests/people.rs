//! People: who is there and who hides, what they are called, whom they have not asked for, and whom one could take for another.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Instant;
use waxwing_tests::{DEADLINE, Database, Server, Tty, User, on_both_databases, texts};

on_both_databases!(
    who_is_there_is_seen_by_those_who_may,
    invitations_by_strangers_wait,
    admins_take_back_and_pin_what_others_wrote
);

fn json(user: &User, arguments: &[&str]) -> Result<Value> {
    user.run(arguments)?.expect_code(0)?.json()
}

/// How somebody is, as another one is told.
fn presence(user: &User, chat: &str, of: &str) -> Result<String> {
    let users = user.run(&["users", chat])?.expect_code(0)?.json_lines()?;
    let found = users.iter().find(|one| one["username"] == of).with_context(|| format!("{of} in {users:?}"))?;
    Ok(found["presence"].as_str().unwrap_or_default().to_owned())
}

/// Asks until it is so: a screen says that its user is there a moment after it shows.
fn until(user: &User, chat: &str, of: &str, wanted: &str) -> Result<()> {
    let begun = Instant::now();
    loop {
        let now = presence(user, chat, of)?;
        if now == wanted {
            return Ok(());
        }
        ensure!(begun.elapsed() < DEADLINE, "{of} is {now} to {}, not {wanted}", user.name());
    }
}

fn who_is_there_is_seen_by_those_who_may(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let user = |name| User::sign_up(server.link(), name);
    let (alice, bob, carol) = (user("alice")?, user("bob")?, user("carol")?);
    alice.send("bob", "Hello")?;
    assert_eq!(texts(&bob.receive()?), ["Hello"]);
    for one in [&alice, &bob, &carol] {
        json(one, &["room", "join", "#birds"])?;
    }
    // A script makes nobody look present, not even one that stays.
    let follow = alice.follow()?;
    assert_eq!(presence(&bob, "alice", "alice")?, "gone");
    follow.stop()?;

    let mut hers = Tty::start(alice.command(&["chat", "bob"])?, 110, 30)?;
    hers.wait_for("● connected")?;
    until(&bob, "alice", "alice", "here")?;
    // In the room she is seen by who shares nothing else with her.
    until(&carol, "#birds", "alice", "here")?;
    assert_eq!(presence(&carol, "#birds", "bob")?, "gone");

    let mut his = Tty::start(bob.command(&["chat", "alice"])?, 110, 30)?;
    his.wait_for("● online")?;
    hers.wait_for("● online")?;
    hers.press("/me waves\r")?;
    his.wait_for("* alice waves")?;
    hers.press("/nick Al the Great\r")?;
    hers.wait_for("others see you as Al the Great")?;
    his.wait_for("Al the Great")?;
    his.press("/quit\r")?;
    his.end(DEADLINE)?.expect_code(0)?;
    hers.wait_gone("● online")?;

    // Who hides is seen by nobody, and sees nobody.
    hers.press("/hide\r")?;
    hers.wait_for("nobody sees whether you are online")?;
    until(&bob, "alice", "alice", "gone")?;
    assert_eq!(presence(&carol, "#birds", "alice")?, "gone");
    let mut his = Tty::start(bob.command(&["chat", "alice"])?, 110, 30)?;
    his.wait_for("● connected")?;
    hers.press("/users\r")?;
    let seen = hers.wait_for("You hide")?;
    ensure!(!seen.contains("● online"), "{seen}");
    hers.press("/unhide\r")?;
    his.wait_for("● online")?;
    hers.wait_for("● online")?;
    for (tty, other) in [(hers, "alice"), (his, "bob")] {
        tty.terminate()?;
        tty.end(DEADLINE)?.expect_code(130).with_context(|| other.to_owned())?;
    }
    // The name is kept, and can be taken away.
    let chats = bob.run(&["chats"])?.expect_code(0)?.json_lines()?;
    assert_eq!(chats.iter().find(|chat| chat["chat"] == "alice").context("alice")?["full_name"], "Al the Great");
    assert_eq!(json(&alice, &["nick", ""])?["full_name"], Value::Null);
    bob.receive_now()?;
    let chats = bob.run(&["chats"])?.expect_code(0)?.json_lines()?;
    assert_eq!(chats.iter().find(|chat| chat["chat"] == "alice").context("alice")?["full_name"], Value::Null);
    Ok(())
}

fn admins_take_back_and_pin_what_others_wrote(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let user = |name| User::sign_up(server.link(), name);
    let (alice, bob, carol) = (user("alice")?, user("bob")?, user("carol")?);
    for one in [&alice, &bob, &carol] {
        json(one, &["room", "join", "#birds"])?;
    }
    let sent = |user: &User, text: &str| -> Result<String> {
        Ok(user.send("#birds", text)?["id"].as_str().context("an id")?.to_owned())
    };
    let (spam, rules) = (sent(&bob, "Buy now")?, sent(&alice, "Be kind")?);
    alice.receive()?;
    carol.receive()?;
    bob.receive()?;
    // Who is no admin does neither, and is told why.
    for words in [["delete", spam.as_str()], ["pin", rules.as_str()], ["delete", rules.as_str()]] {
        let refused = carol.run(&words)?.expect_code(1)?;
        ensure!(refused.error()?.contains("admin"), "{words:?}: {}", refused.stderr);
    }
    bob.run(&["pin", &spam])?.expect_code(1)?;
    alice.run(&["delete", &spam])?.expect_code(0)?;
    alice.run(&["pin", &rules])?.expect_code(0)?;
    for one in [&alice, &bob, &carol] {
        one.receive_now()?;
        let all = one.history("#birds")?;
        let found = |id: &str| all.iter().find(|message| message["id"] == id).context("the message");
        assert_eq!((&found(&spam)?["kind"], &found(&spam)?["deleted_by"]), (&"deleted".into(), &"alice".into()));
        assert_eq!((&found(&rules)?["text"], &found(&rules)?["pinned"]), (&"Be kind".into(), &true.into()));
    }
    Ok(())
}

/// The requests that wait, by chat.
fn requests(user: &User) -> Result<Vec<(String, Value)>> {
    let waiting = user.run(&["requests"])?.expect_code(0)?.json_lines()?;
    Ok(waiting.into_iter().map(|chat| (chat["chat"].as_str().unwrap_or_default().to_owned(), chat)).collect())
}

fn members(user: &User, chat: &str) -> Result<Vec<String>> {
    let group = json(user, &["group", "show", chat])?;
    let name = |member: &Value| member["username"].as_str().unwrap_or_default().to_owned();
    Ok(group["members"].as_array().context("members")?.iter().map(name).collect())
}

fn invitations_by_strangers_wait(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let alice = User::new("alice")?;
    alice.try_sign_up(server.link(), &["--remember", "--requests"])?.expect_code(0)?;
    let user = |name| User::sign_up(server.link(), name);
    let (mike, mallory, lookalike) = (user("mike")?, user("mallory")?, user("rnike")?);
    alice.send("mike", "Hello")?;
    mike.receive()?;
    // By somebody whom she knows: there at once.
    json(&mike, &["group", "create", "Friends", "alice"])?;
    alice.receive_now()?;
    let chats = alice.run(&["chats"])?.expect_code(0)?.json_lines()?;
    ensure!(chats.iter().any(|chat| chat["title"] == "Friends" && chat["request"] == false), "{chats:?}");
    assert_eq!(requests(&alice)?.len(), 0);

    // By a stranger: who invites is told, and nothing else.
    let group = |title: &str| -> Result<String> {
        let made = json(&mallory, &["group", "create", title, "alice"])?;
        let id = made["chat"].as_str().context("a chat")?.to_owned();
        mallory.send(&id, "a marvellous offer")?;
        json(&mallory, &["group", "topic", &id, "marvellous things"])?;
        Ok(id)
    };
    let first = group("Marvellous")?;
    assert_eq!(texts(&alice.receive_now()?), Vec::<String>::new());
    let waiting = requests(&alice)?;
    let (chat, request) = waiting.first().context("a request")?;
    assert_eq!((chat, &request["invited_by"], waiting.len()), (&first, &"mallory".into(), 1));
    for words in [&["requests"][..], &["chats"], &["search", "marvellous"], &["history", &first]] {
        let said = alice.run(words)?.stdout.to_lowercase();
        ensure!(!said.contains("marvellous"), "{words:?} says {said}");
    }
    alice.run(&["accept", &first])?.expect_code(0)?;
    ensure!(texts(&alice.receive_now()?).contains(&"a marvellous offer".to_owned()));

    // Declined: she is out of it, and it is gone.
    let second = group("Marvellous, too")?;
    alice.receive_now()?;
    alice.run(&["decline", &second])?.expect_code(0)?;
    assert_eq!(requests(&alice)?.len(), 0);
    let chats = alice.run(&["chats"])?.expect_code(0)?.json_lines()?;
    ensure!(chats.iter().all(|chat| chat["chat"] != second.as_str()), "{chats:?}");
    mallory.send(&second, "Nobody here?")?;
    assert_eq!(members(&mallory, &second)?, ["mallory"]);

    // Into a public room: the same. Her own way into one waits for nobody.
    json(&mallory, &["room", "join", "#deals"])?;
    json(&mallory, &["room", "invite", "#deals", "alice"])?;
    json(&alice, &["room", "join", "#birds"])?;
    alice.receive_now()?;
    let waiting: Vec<String> = requests(&alice)?.into_iter().map(|(chat, _)| chat).collect();
    assert_eq!(waiting, ["#deals"]);

    // Blocked: her invitations are declined at once.
    alice.run(&["block", "mallory"])?.expect_code(0)?;
    let third = group("Marvellous, at last")?;
    alice.receive_now()?;
    assert_eq!(requests(&alice)?.len(), 0);
    mallory.send(&third, "Nobody here either?")?;
    assert_eq!(members(&mallory, &third)?, ["mallory"]);

    // Who could be taken for somebody else is told apart.
    lookalike.send("alice", "It is me, Mike!")?;
    alice.receive_now()?;
    let waiting = requests(&alice)?;
    let (chat, request) = waiting.first().context("a request")?;
    assert_eq!((chat.as_str(), &request["looks_like"]), ("rnike", &"mike".into()));
    Ok(())
}
