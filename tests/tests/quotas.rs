//! How much one account may take, how long it is kept, and devices that are silent for long.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Instant;
use waxwing_tests::{DEADLINE, Database, Server, User, on_both_databases, texts};

on_both_databases!(
    one_account_cannot_fill_the_disk,
    a_silent_device_is_signed_out_and_comes_back,
    what_is_too_old_is_told_by_kind,
);

/// Asks again until it is so.
fn until(what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    while !so()? {
        ensure!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
    Ok(())
}

fn show(server: &Server, name: &str) -> Result<Value> {
    server.operate(&["user", "show", name])?.expect_code(0)?.json()
}

fn one_account_cannot_fill_the_disk(database: Database) -> Result<()> {
    let mut server = Server::set_up(database, "open")?;
    server.set("WAXWING_WAITING_QUOTA_MIB", 1);
    server.restart()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let carol = User::sign_up(server.link(), "carol")?;
    alice.send("bob", "first")?;
    assert_eq!(texts(&bob.receive()?), ["first"]);

    let long = "0123456789abcdef".repeat(2000);
    let mut sent = 0;
    let refused = loop {
        let outcome = alice.run(&["send", "bob", &long])?;
        if outcome.code != 0 {
            break outcome.expect_code(5)?;
        }
        sent += 1;
        ensure!(sent < 40, "nothing is ever refused");
    };
    ensure!(sent > 20, "refused after {sent} messages");
    ensure!(refused.error()?.contains("wait at the server"), "{}", refused.stderr);
    ensure!(refused.stderr.contains("when others have fetched"), "{}", refused.stderr);
    let history = alice.history("bob")?;
    assert_eq!(history.last().context("a message")?["state"], "failed");
    let usage = show(&server, "alice")?["usage"].clone();
    assert_eq!(usage["waiting_quota"], 1 << 20, "{usage}");
    // Changes of the chat have a quarter more.
    let within = |bytes: u64| (700_000..=5 << 18).contains(&bytes);
    ensure!(usage["waiting_bytes"].as_u64().is_some_and(within), "{usage}");
    let stats = server.operate(&["stats"])?.expect_code(0)?.json()?;
    assert_eq!(stats["waiting_quota"], 1 << 20, "{stats}");
    // Nobody else is concerned, and she can still be written to, sign devices in, and put them out.
    carol.send("bob", "hello from carol")?;
    bob.send("alice", "hello?")?;
    let second = User::log_in(server.link(), "alice")?;
    let device = second.run(&["whoami"])?.expect_code(0)?.json()?["device"].as_str().context("device")?.to_owned();
    alice.run(&["devices", "revoke", &device, "--yes"])?.expect_code(0)?;
    // A restart forgets nothing of it, once it has measured.
    server.restart()?;
    until("it is refused again", || Ok(alice.run(&["send", "bob", &long])?.code == 5))?;

    let received = texts(&bob.receive()?);
    ensure!(received.iter().filter(|text| **text == long).count() >= sent, "{} came", received.len());
    until("there is room again", || Ok(alice.run(&["send", "bob", "room again"])?.code == 0))?;
    until("it arrives", || Ok(texts(&bob.receive()?).contains(&"room again".to_owned())))
}

fn a_silent_device_is_signed_out_and_comes_back(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "before")?;
    assert_eq!(texts(&bob.receive()?), ["before"]);
    bob.send("alice", "heard")?;
    assert_eq!(texts(&alice.receive()?), ["heard"]);
    let devices = alice.run(&["devices"])?.expect_code(0)?.json_lines()?;
    let today = server.operate(&["user", "list"])?.expect_code(0)?.json_lines()?[0]["seen_on"].clone();
    assert_eq!((&devices[0]["seen_on"], &devices[0]["signed_in"]), (&today, &true.into()), "{devices:?}");

    // Bob's device is silent for a hundred days. A server that was away for as long counts none of them.
    server.stop()?;
    server.execute("UPDATE device SET seen_day = seen_day - 100")?;
    let state = if database == Database::Sqlite { "server" } else { "server_state" };
    server.execute(&format!("UPDATE {state} SET alive_day = alive_day - 100, silence_day = silence_day - 100"))?;
    server.restart()?;
    assert_eq!(show(&server, "bob")?["devices"], 1);
    let mut follow = alice.follow()?;
    until("Alice is seen", || Ok(show(&server, "alice")?["seen_on"] == today))?;
    let dry = server.operate(&["gc", "--dry-run"])?.expect_code(0)?.json()?;
    assert_eq!((&dry["devices"], &dry["idle_days"]), (&0.into(), &90.into()), "{dry}");
    follow.0.kill();
    server.stop()?;
    server.execute(&format!("UPDATE {state} SET silence_day = silence_day - 100"))?;
    server.restart()?;
    until("Bob's device is signed out", || Ok(show(&server, "bob")?["devices"] == 0))?;
    assert_eq!(show(&server, "alice")?["devices"], 1);
    ensure!(server.log().contains("signed out devices whose time was over"));

    // Nothing waits for it; its history is there, and its owner comes back with the password.
    alice.send("bob", "meanwhile")?;
    let refused = bob.run(&["receive"])?.expect_code(6)?;
    ensure!(refused.error()?.contains("signed out"), "{}", refused.stderr);
    ensure!(refused.stderr.contains("waxwing login"), "{}", refused.stderr);
    assert_eq!(texts(&bob.history("alice")?), ["before", "heard"]);
    let mut follow = alice.follow()?;
    bob.run(&["login", "--username", "bob"])?.expect_code(0)?;
    bob.send("alice", "I am back")?;
    assert_eq!(follow.message()?["text"], "I am back");
    let devices = bob.run(&["devices"])?.expect_code(0)?.json_lines()?;
    assert_eq!((devices.len(), &devices[0]["signed_in"]), (1, &true.into()), "{devices:?}");
    // Alice's device tells what the server has not kept.
    until("he is told", || {
        bob.receive_now()?;
        Ok(texts(&bob.history("alice")?).contains(&"meanwhile".to_owned()))
    })?;
    follow.stop()
}

fn what_is_too_old_is_told_by_kind(database: Database) -> Result<()> {
    let mut server = Server::start_with(database, "invite")?;
    let invite = server.operate(&["invite", "create", "--uses", "2"])?.expect_code(0)?.json()?;
    let link = invite["link"].as_str().context("no link")?;
    let (alice, bob) = (User::sign_up(link, "alice")?, User::sign_up(link, "bob")?);
    alice.send("bob", "old")?;
    server.operate(&["invite", "create", "--days", "1", "--note", "for nobody"])?.expect_code(0)?;
    server.stop()?;
    const MONTHS: &str = "8640000000";
    for statement in [
        format!("UPDATE entry SET time_ms = time_ms - {MONTHS}"),
        format!("UPDATE inbox SET time_ms = time_ms - {MONTHS}"),
        format!("UPDATE invite SET created_ms = created_ms - {MONTHS}, expires_ms = expires_ms - {MONTHS}"),
    ] {
        server.execute(&statement)?;
    }
    // 0 keeps a kind for ever.
    server.set("WAXWING_RETENTION_INBOX_DAYS", 0);
    let mut gc = server.command("gc")?;
    let dry = waxwing_tests::run_with_deadline(gc.args(["--dry-run", "--json"]), DEADLINE)?.expect_code(0)?.json()?;
    ensure!(dry["entries"].as_u64() > Some(0) && dry["bytes"].as_u64() > Some(0), "{dry}");
    assert_eq!((&dry["inbox_items"], &dry["inbox_days"]), (&0.into(), &0.into()), "{dry}");
    // The one that is used up, and the one that has ended.
    ensure!(dry["invites"].as_u64() >= Some(2), "{dry}");
    assert_eq!(dry["devices"], Value::Null, "who would have come is not known: {dry}");
    let mut gc = server.command("gc")?;
    let told = waxwing_tests::run_with_deadline(gc.arg("--dry-run"), DEADLINE)?.expect_code(0)?.stdout;
    for kind in ["messages", "notices", "files", "invites", "key packages", "devices"] {
        ensure!(told.contains(kind), "{kind} is missing: {told}");
    }
    let mut gc = server.command("gc")?;
    let done = waxwing_tests::run_with_deadline(gc.arg("--json"), DEADLINE)?.expect_code(0)?.json()?;
    assert_eq!((&done["entries"], &done["invites"]), (&dry["entries"], &dry["invites"]), "{done}");
    server.restart()?;
    assert_eq!(server.operate(&["stats"])?.expect_code(0)?.json()?["entries"], 0);
    let left = server.operate(&["invite", "list"])?.expect_code(0)?.stdout;
    ensure!(!left.contains("for nobody"), "{left}");
    drop(bob);
    Ok(())
}
