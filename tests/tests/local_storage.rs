//! What is on a device, and what becomes of it: old copies, damage, a full disk. Each ends in a clear message, and nothing
//! is lost.

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Resource, Rlimit};
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};
use waxwing_tests::{
    DEADLINE, Database, Outcome, RawClient, Running, Server, User, copy_folder, on_both_databases, run_with_deadline,
    texts,
};

on_both_databases!(an_old_copy_becomes_a_new_device_by_itself, an_old_copy_without_a_password_says_what_to_run,);

fn alice_and_bob(server: &Server) -> Result<(User, User)> {
    Ok((User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?))
}

fn device(user: &User) -> Result<String> {
    let whoami = user.run(&["whoami"])?.expect_code(0)?.json()?;
    Ok(whoami["device"].as_str().context("a device")?.to_owned())
}

fn devices(user: &User) -> Result<Vec<String>> {
    let listed = user.run(&["devices"])?.expect_code(0)?.json_lines()?;
    Ok(listed.iter().map(|one| one["id"].as_str().unwrap_or_default().to_owned()).collect())
}

/// A command of a user whose password nobody types.
fn without_password(user: &User, arguments: &[&str]) -> Result<Outcome> {
    let mut command = user.command(arguments)?;
    command.env_remove("WAXWING_PASSWORD_FILE").arg("--json");
    run_with_deadline(&mut command, DEADLINE)
}

/// Waits until the history has these texts, fetching what the server has.
fn wait_for_history(user: &User, chat: &str, wanted: &[&str]) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        user.receive_now()?;
        let history = user.history(chat)?;
        let here: Vec<Value> = history.into_iter().filter(|one| one["kind"] == "text").collect();
        let here = texts(&here);
        if here == wanted {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "it has {here:?} and not {wanted:?}");
    }
}

/// Two copies of one device would use the same keys and numbers twice. The one that is behind learns it before it encrypts
/// anything, and becomes another device, since the password is at hand.
fn an_old_copy_becomes_a_new_device_by_itself(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    alice.send("bob", "before the copy")?;
    alice.run(&["send", "bob", "typed before the copy"])?.expect_code(0)?;
    let (old, new) = (alice.place().join("old"), alice.place().join("new"));
    copy_folder(&alice.data(), &old)?;
    alice.send("bob", "after the copy")?;
    assert_eq!(texts(&bob.receive()?), ["before the copy", "typed before the copy", "after the copy"]);
    bob.send("alice", "heard")?;
    assert_eq!(texts(&alice.receive()?), ["heard"]);
    alice.run(&["backup", "now"])?.expect_code(0)?;
    let former = device(&alice)?;
    copy_folder(&alice.data(), &new)?;

    copy_folder(&old, &alice.data())?;
    let sent = alice.run(&["send", "bob", "from the past"])?.expect_code(0)?;
    ensure!(sent.stderr.contains("new device"), "it does not say what happened: {}", sent.stderr);
    let present = device(&alice)?;
    ensure!(present != former, "the keys of the old copy are in use");
    assert_eq!(devices(&alice)?, [present], "the former device is still listed");
    assert_eq!(texts(&bob.receive()?), ["from the past"]);
    let whole = ["before the copy", "typed before the copy", "after the copy", "heard", "from the past"];
    wait_for_history(&alice, "bob", &whole)?;
    bob.send("alice", "welcome back")?;
    assert_eq!(texts(&alice.receive()?), ["welcome back"]);

    // What is left of the newer copy is signed out, keeps its history, and comes back when its user wants.
    copy_folder(&new, &alice.data())?;
    let refused = alice.run(&["send", "bob", "from the other copy"])?.expect_code(6)?;
    ensure!(refused.error()?.contains("signed out"), "{}", refused.stderr);
    ensure!(refused.stderr.contains("waxwing login"), "it does not say what to do: {}", refused.stderr);
    assert_eq!(texts(&alice.history("bob")?), whole[..4], "what is here stays readable");
    let logged_in = alice.run(&["login", "--username", "alice"])?.expect_code(0)?.json()?;
    assert_eq!(devices(&alice)?.len(), 2);
    ensure!(devices(&alice)?.contains(&device(&alice)?));
    assert_eq!(logged_in["device"], device(&alice)?.as_str());
    alice.send("bob", "from the other copy")?;
    assert_eq!(texts(&bob.receive()?), ["from the other copy"]);
    // A profile that is well stays as it is.
    let refused = alice.run(&["login", "--username", "alice"])?.expect_code(1)?;
    ensure!(refused.error()?.contains("has an account already"), "{}", refused.stderr);
    Ok(())
}

/// What waited when the copy was made went out since: the copy sends it once more, as another device, and nobody shows it
/// twice, not even the copy, to which the backup gives the first one back.
#[test]
fn what_an_old_copy_had_waiting_is_shown_once() -> Result<()> {
    let mut server = Server::start(Database::Sqlite)?;
    let (alice, bob) = alice_and_bob(&server)?;
    alice.send("bob", "before")?;
    server.stop()?;
    alice.run(&["send", "bob", "it waits", "--offline-ok"])?.expect_code(0)?;
    let old = alice.place().join("old");
    copy_folder(&alice.data(), &old)?;
    server.restart()?;
    alice.send("bob", "after the copy")?;
    alice.run(&["backup", "now"])?.expect_code(0)?;
    copy_folder(&old, &alice.data())?;
    let sent = alice.run(&["send", "bob", "from the past"])?.expect_code(0)?;
    ensure!(sent.stderr.contains("new device"), "it is the same device: {}", sent.stderr);
    let deadline = Instant::now() + DEADLINE;
    while !texts(&alice.history("bob")?).contains(&"after the copy".to_owned()) {
        ensure!(Instant::now() < deadline, "the backup never comes");
        alice.receive_now()?;
    }
    bob.receive()?;
    for (user, chat) in [(&alice, "bob"), (&bob, "alice")] {
        let shown = texts(&user.history(chat)?);
        assert_eq!(shown.iter().filter(|text| *text == "it waits").count(), 1, "{chat}: {shown:?}");
    }
    Ok(())
}

/// The newer copy has done nothing in the chats that the older one knows.
fn an_old_copy_without_a_password_says_what_to_run(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    let carol = User::sign_up(server.link(), "carol")?;
    alice.send("bob", "hello")?;
    bob.receive()?;
    let old = alice.place().join("old");
    copy_folder(&alice.data(), &old)?;
    alice.send("carol", "a chat that the copy does not have")?;
    carol.receive()?;

    copy_folder(&old, &alice.data())?;
    for command in [&["send", "bob", "from the past"][..], &["receive"], &["receive", "--follow"]] {
        let refused = without_password(&alice, command)?.expect_code(2)?;
        ensure!(refused.error()?.contains("old copy"), "it does not say why: {}", refused.stderr);
        ensure!(refused.stderr.contains("waxwing login"), "it does not say what to run: {}", refused.stderr);
    }
    let mut daemon = alice.command(&["daemon"])?;
    let mut daemon = Running::start(daemon.env_remove("WAXWING_PASSWORD_FILE"))?;
    daemon.next_line(DEADLINE).context("the daemon does not start")?;
    ensure!(bob.receive_now()?.is_empty(), "something was sent from the old copy");
    // Through the daemon, which goes on with the new device.
    alice.run(&["login", "--username", "alice"])?.expect_code(0)?;
    alice.send("bob", "as a new device")?;
    alice.send("carol", "here, too")?;
    daemon.terminate()?;
    let daemon = daemon.end(DEADLINE)?.expect_code(0)?;
    ensure!(daemon.stderr.contains("old copy") && daemon.stderr.contains("waxwing login"), "{}", daemon.stderr);
    assert_eq!(texts(&bob.receive()?), ["as a new device"]);
    assert_eq!(texts(&carol.receive()?), ["here, too"]);
    Ok(())
}

/// The database of the only profile on a user's device.
fn history_of(user: &User) -> PathBuf {
    user.data().join("default/history.db")
}

#[test]
fn a_damaged_profile_is_kept_aside_and_comes_back_from_the_backup() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let (alice, bob) = alice_and_bob(&server)?;
    alice.send("bob", "worth keeping")?;
    alice.run(&["backup", "now"])?.expect_code(0)?;
    let mut pages = fs::read(history_of(&alice))?;
    let middle = pages.len() / 2;
    // The first page, and one that may be read late.
    pages[100] ^= 1;
    pages[middle] ^= 1;
    fs::write(history_of(&alice), &pages)?;
    for command in [&["history", "bob"][..], &["status"], &["send", "bob", "more"]] {
        let refused = alice.run(command)?.expect_code(2)?;
        ensure!(refused.error()?.contains("damaged"), "{}", refused.stderr);
        ensure!(refused.stderr.contains("waxwing login"), "it does not say what to do: {}", refused.stderr);
    }
    ensure!(fs::read(history_of(&alice))? == pages, "the damaged file was written to");

    let login = alice.try_log_in(server.link(), &["--remember"])?.expect_code(0)?.json()?;
    let aside = PathBuf::from(login["set_aside"].as_str().context("where the damaged profile is")?);
    ensure!(fs::read(aside.join("history.db"))? == pages, "the damaged file is not as it was");
    assert_eq!(texts(&alice.history("bob")?), ["worth keeping"]);
    alice.send("bob", "and on")?;
    assert_eq!(texts(&bob.receive()?), ["worth keeping", "and on"]);
    Ok(())
}

/// A command that may write files of so many bytes at most, so that all writing behind that fails.
fn on_a_full_disk(command: &Command, bytes: u64) -> Command {
    let mut limited = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", bytes / 512);
    limited.args(["-c", &script, "sh"]).arg(command.get_program()).args(command.get_args());
    limited.env_clear();
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited
}

#[test]
fn a_full_disk_loses_nothing_and_is_said() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let (alice, bob) = alice_and_bob(&server)?;
    alice.send("bob", "a first one")?;
    assert_eq!(texts(&bob.receive()?), ["a first one"]);

    // Sending: the write-ahead log has no room for this one.
    let long = "x".repeat(30_000);
    let full = 36 * 1024;
    let send = alice.command(&["send", "bob", &long, "--json"])?;
    let refused = run_with_deadline(&mut on_a_full_disk(&send, full), DEADLINE)?.expect_code(2)?;
    ensure!(refused.stderr.contains("space"), "it does not say what to do: {}", refused.stderr);
    alice.send("bob", &long)?;

    // Receiving: it says so, tries again, and goes on in the same process once there is room.
    let follow = bob.command(&["receive", "--follow"])?;
    let mut follow = Running::start(on_a_full_disk(&follow, ROOM).stdin(Stdio::null()))?;
    follow.next_line(DEADLINE).context("the long message")?;
    let deadline = Instant::now() + DEADLINE;
    while bob.run(&["status"])?.expect_code(0)?.json()?["unread"] != 0 {
        ensure!(Instant::now() < deadline, "it is never done with the first one");
    }
    limit_files(&follow, full)?;
    alice.send("bob", &"y".repeat(30_000))?;
    let full = loop {
        let status = bob.run(&["status"])?;
        if status.code != 0 {
            break status;
        }
        ensure!(Instant::now() < deadline, "the disk was never full");
    };
    ensure!(full.error()?.contains("storage failed") && full.stderr.contains("space"), "{}", full.stderr);
    limit_files(&follow, ROOM)?;
    let line = follow.next_line(DEADLINE).context("the message never came")?;
    ensure!(line.contains("yyyy"), "{line}");
    follow.interrupt()?;
    let follow = follow.end(DEADLINE)?.expect_code(0)?;
    ensure!(follow.stderr.contains("storage failed"), "it does not say why: {}", follow.stderr);
    assert_eq!(texts(&bob.history("alice")?), ["a first one".to_owned(), long, "y".repeat(30_000)]);
    ensure!(bob.receive_now()?.is_empty(), "a message came twice");
    Ok(())
}

/// The log often lies on the disk that is full.
#[test]
fn a_server_that_cannot_write_its_log_goes_on() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let (alice, bob) = alice_and_bob(&server)?;
    let process = server.process().context("a server")?;
    let written = server.log();
    process.limit_files(Some(0))?;
    // Each visitor would be a line.
    for _ in 0..5 {
        RawClient::greet(server.port())?;
    }
    alice.run(&["status"])?.expect_code(0)?;
    assert_eq!(server.log(), written, "there was room");
    process.limit_files(None)?;
    alice.send("bob", "still there?")?;
    assert_eq!(texts(&bob.receive()?), ["still there?"]);
    ensure!(server.log().len() > written.len(), "it never logs again");
    Ok(())
}

/// Room enough for every file.
const ROOM: u64 = 1 << 30;

/// Sets how long files may become that a running program writes.
fn limit_files(running: &Running, bytes: u64) -> Result<()> {
    let limit = Rlimit { current: Some(bytes), maximum: Some(ROOM) };
    let pid = Pid::from_raw(running.id()?).context("a pid")?;
    rustix::process::prlimit(Some(pid), Resource::Fsize, limit)?;
    Ok(())
}
