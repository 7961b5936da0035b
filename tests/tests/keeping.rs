//! What a server keeps: nothing for the absent, or nothing at all.

use anyhow::{Context, Result, ensure};
use std::fs;
use waxwing_tests::{Database, Server, User, files, on_both_databases, texts};

on_both_databases!(a_relay_keeps_nothing_for_the_absent_and_says_so);

fn configure(server: &Server, from: &str, to: &str) -> Result<()> {
    let file = server.folder().join("config.toml");
    let text = fs::read_to_string(&file)?;
    ensure!(text.contains(from), "config.toml has no {from}");
    Ok(fs::write(&file, text.replace(from, to))?)
}

fn a_relay_keeps_nothing_for_the_absent_and_says_so(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    // A chat begins with keys, which are kept, and Bob has it.
    alice.send("bob", "before")?;
    assert_eq!(texts(&bob.receive()?), ["before"]);
    configure(&server, "relay_only = \"no\"", "relay_only = \"yes\"")?;
    let told = server.operate(&["reload"])?.expect_code(0)?.json()?;
    ensure!(told["changed"].to_string().contains("relay_only"), "{told}");

    let absent = alice.run(&["send", "bob", "is anybody there?"])?.expect_code(3)?;
    ensure!(absent.error()?.contains("keeps nothing"), "{}", absent.stderr);
    let mut follow = bob.follow()?;
    // Bob's connection is there a moment after his program: until then the sender is told that he is not.
    let deadline = std::time::Instant::now() + waxwing_tests::DEADLINE;
    while alice.run(&["send", "bob", "canary-2c7e while you are here"])?.code != 0 {
        ensure!(std::time::Instant::now() < deadline, "Bob never connects");
    }
    assert_eq!(follow.message()?["text"], "canary-2c7e while you are here");
    drop(follow);
    // Nothing comes later, and what failed is shown as failed.
    ensure!(!texts(&bob.receive_now()?).iter().any(|text| text.contains("anybody")));
    let history = alice.history("bob")?;
    let failed = history.iter().find(|one| one["text"] == "is anybody there?").context("the message")?;
    assert_eq!(failed["state"], "failed");
    // A device that comes later gets no old messages from the log.
    ensure!(!server.stored()?.windows(8).any(|window| window == b"canary-2"), "the server keeps a text");
    let stats = server.operate(&["stats"])?.expect_code(0)?.json()?;
    ensure!(stats["entries"].as_u64() <= Some(8), "{stats}");
    Ok(())
}

#[test]
fn a_server_in_memory_writes_no_database_at_all() -> Result<()> {
    let mut server = Server::start_with(Database::Sqlite, "open")?;
    server.stop()?;
    configure(&server, "in_memory = \"no\"", "in_memory = \"yes\"")?;
    for file in files(&server.folder())? {
        if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("waxwing.db")) {
            fs::remove_file(file)?;
        }
    }
    server.operate(&["check"])?.expect_code(0)?;
    server.restart()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "hello")?;
    assert_eq!(texts(&bob.receive()?), ["hello"]);
    bob.send("alice", "hello yourself")?;
    assert_eq!(texts(&alice.receive()?), ["hello yourself"]);
    assert_eq!(server.operate(&["stats"])?.expect_code(0)?.json()?["database"], "memory");
    let users = server.operate(&["user", "list"])?.expect_code(0)?.stdout;
    ensure!(users.contains("alice") && users.contains("bob"), "{users}");
    let backup = server.beside("backup.tar");
    let refused = server.operate(&["backup", "create", "--to", &backup.display().to_string()])?.expect_code(1)?;
    ensure!(refused.error()?.contains("in memory alone"), "{}", refused.stderr);
    let left: Vec<_> = files(&server.folder())?;
    ensure!(!left.iter().any(|file| file.display().to_string().contains("waxwing.db")), "{left:?}");
    let stored = server.stored()?;
    ensure!(!stored.windows(5).any(|window| window == b"alice"), "a name is on disk");
    // With the process all of it is gone, and clients notice.
    server.restart()?;
    alice.run(&["send", "bob", "again"])?.expect_code(6)?;
    User::sign_up(server.link(), "alice")?;
    Ok(())
}
