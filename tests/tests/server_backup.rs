//! Backups of the server: made while it runs, checked, restored; upgrades and the server's password.

use anyhow::{Context, Result, ensure};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Stdio};
use waxwing_tests::{Database, Running, Server, User, on_both_databases, texts};

on_both_databases!(
    a_backup_is_made_while_people_write_and_brings_all_of_it_back,
    groups_and_rooms_go_on_after_a_restore,
    a_killed_backup_leaves_the_one_before,
    a_damaged_backup_is_refused,
    a_restore_overwrites_nothing,
    an_upgrade_is_told_before_it_is_done,
    the_servers_password_is_changed_while_it_runs,
);

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}

fn restore(server: &mut Server, from: &Path, to: &Path) -> Result<waxwing_tests::Outcome> {
    let password = server.password_file();
    let mut words = vec!["backup", "restore", "--from", path(from)?, "--dir", path(to)?];
    words.extend(["--password-file", path(&password)?]);
    let url = server.another_schema()?;
    if let Some(url) = &url {
        words.extend(["--database-url-file", path(url)?]);
    }
    Server::operate_elsewhere(&words)
}

fn a_backup_is_made_while_people_write_and_brings_all_of_it_back(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "one")?;
    assert_eq!(texts(&bob.receive()?), ["one"]);
    let file = server.beside("backup");
    // Alice writes on meanwhile.
    let made = std::thread::scope(|scope| {
        let writing = scope.spawn(|| (0..5).try_for_each(|n| alice.send("bob", &format!("more {n}")).map(drop)));
        let made = server.operate(&["backup", "create", "--to", path(&file)?]);
        writing.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        made
    })?
    .expect_code(0)?
    .json()?;
    assert_eq!(made["path"], path(&file)?);
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    Server::operate_elsewhere(&["backup", "verify", path(&file)?])?.expect_code(0)?;
    ensure!(!server.folder().join("snapshot.tmp").exists());

    server.kill();
    let folder = server.beside("restored");
    restore(&mut server, &file, &folder)?.expect_code(0)?;
    server.move_to(folder.clone());
    assert_eq!(fs::metadata(&folder)?.permissions().mode() & 0o777, 0o700);
    for file in waxwing_tests::files(&folder)? {
        assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o077, 0, "{}", file.display());
    }
    server.restart()?;
    // Everybody is there, with their keys; no key package of before is given out.
    let users = server.operate(&["user", "list"])?.expect_code(0)?.json_lines()?;
    assert_eq!(
        users.iter().map(|user| user["username"].as_str().unwrap_or_default()).collect::<Vec<_>>(),
        ["alice", "bob"]
    );
    assert_eq!(server.operate(&["stats"])?.expect_code(0)?.json()?["key_packages"], 0);
    // The devices notice that the database is another; the pin and the accounts are the same.
    let carol = User::sign_up(server.link(), "carol")?;
    let again = User::new("bob")?;
    again.try_log_in(server.link(), &["--remember"])?.expect_code(0)?;
    carol.send("bob", "welcome back")?;
    ensure!(texts(&again.receive()?).contains(&"welcome back".to_owned()));
    ensure!(texts(&bob.history("alice")?).contains(&"one".to_owned()), "the history stays readable");
    Ok(())
}

/// What was written in a chat, from the first.
fn said(user: &User, chat: &str) -> Result<Vec<String>> {
    let all = user.history(chat)?;
    Ok(texts(&all.into_iter().filter(|message| message["kind"] == "text").collect::<Vec<_>>()))
}

fn groups_and_rooms_go_on_after_a_restore(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let user = |name| User::sign_up(server.link(), name);
    let (alice, bob, carol) = (user("alice")?, user("bob")?, user("carol")?);
    let all = [&alice, &bob, &carol];
    let make = |title: &str| -> Result<String> {
        let made = alice.run(&["group", "create", title, "bob", "carol"])?.expect_code(0)?.json()?;
        Ok(made["chat"].as_str().context("a chat")?.to_owned())
    };
    let group = make("Bird watchers")?;
    for one in all {
        one.run(&["room", "join", "#birds"])?.expect_code(0)?;
    }
    alice.run(&["group", "promote", &group, "bob"])?.expect_code(0)?;
    alice.send(&group, "one")?;
    alice.send("#birds", "room one")?;
    bob.receive()?;
    carol.receive()?;
    let file = server.beside("backup");
    server.operate(&["backup", "create", "--to", path(&file)?])?.expect_code(0)?;
    // What the backup knows nothing of.
    alice.send(&group, "two")?;
    let late = make("Latecomers")?;
    alice.send(&late, "late one")?;
    bob.receive()?;
    carol.receive()?;

    server.kill();
    let folder = server.beside("restored");
    restore(&mut server, &file, &folder)?.expect_code(0)?;
    server.move_to(folder);
    server.restart()?;
    // A member alone waits; then all come, two of whom may begin.
    carol.receive_now()?;
    let follows = all.iter().map(|one| one.follow()).collect::<Result<Vec<_>>>()?;
    bob.send(&group, "three")?;
    carol.send(&group, "four")?;
    carol.send(&late, "late two")?;
    alice.send("#birds", "room two")?;
    carol.send("#birds", "room three")?;
    for follow in follows {
        follow.stop()?;
    }
    for one in all {
        one.receive_now()?;
        assert_eq!(said(one, &group)?, ["one", "two", "three", "four"], "{}", one.name());
        assert_eq!(said(one, &late)?, ["late one", "late two"], "{}", one.name());
        assert_eq!(said(one, "#birds")?.split_off(said(one, "#birds")?.len() - 2), ["room two", "room three"]);
        let chats = one.run(&["chats"])?.expect_code(0)?.json_lines()?;
        let titles: Vec<_> = chats.iter().filter_map(|chat| chat["title"].as_str()).collect();
        assert_eq!(titles.len(), 3, "each goes on once: {chats:?}");
        ensure!(chats.iter().all(|chat| chat["over"] != true), "{chats:?}");
        // The same people, in the same roles.
        let shown = one.run(&["group", "show", &group])?.expect_code(0)?.json()?;
        let admins = shown["members"].as_array().context("members")?.iter().map(|member| member["admin"] == true);
        assert_eq!(admins.collect::<Vec<_>>(), [true, true, false]);
    }
    bob.run(&["group", "rename", &group, "Early birds"])?.expect_code(0)?;
    let rooms = alice.run(&["room", "list"])?.expect_code(0)?.json_lines()?;
    assert_eq!((&rooms[0]["name"], &rooms[0]["members"]), (&"#birds".into(), &3.into()));
    Ok(())
}

fn a_killed_backup_leaves_the_one_before(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    User::sign_up(server.link(), "alice")?;
    let file = server.beside("backup");
    let create = ["backup", "create", "--to", path(&file)?];
    server.operate(&create)?.expect_code(0)?;
    let before = fs::read(&file)?;
    for _ in 0..8 {
        // Killed at some moment or other; sometimes it is quicker.
        let mut running = Running::start(server.operation(&create)?.stdin(Stdio::null()))?;
        running.kill();
        ensure!(
            fs::read(&file)? == before || Server::operate_elsewhere(&["backup", "verify", path(&file)?])?.code == 0
        );
    }
    server.operate(&create)?.expect_code(0)?;
    Server::operate_elsewhere(&["backup", "verify", path(&file)?])?.expect_code(0)?;
    let left: Vec<_> = fs::read_dir(file.parent().context("parent")?)?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| name.starts_with("backup."))
        .collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

fn a_damaged_backup_is_refused(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    User::sign_up(server.link(), "alice")?;
    let file = server.beside("backup");
    server.operate(&["backup", "create", "--to", path(&file)?])?.expect_code(0)?;
    let whole = fs::read(&file)?;
    let damaged = server.beside("damaged");
    let mut flipped = whole.clone();
    let middle = whole.len() / 2;
    flipped[middle] ^= 1;
    for bytes in [&flipped[..], &whole[..middle], &whole[..100], b"", b"nonsense"] {
        fs::write(&damaged, bytes)?;
        let refused = Server::operate_elsewhere(&["backup", "verify", path(&damaged)?])?.expect_code(1)?;
        ensure!(!refused.error()?.is_empty());
        let folder = server.beside("restored");
        restore(&mut server, &damaged, &folder)?.expect_code(1)?;
        ensure!(!folder.exists(), "a half restored server");
    }
    Ok(())
}

fn a_restore_overwrites_nothing(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let file = server.beside("backup");
    server.operate(&["backup", "create", "--to", path(&file)?])?.expect_code(0)?;
    let folder = server.folder();
    let refused = restore(&mut server, &file, &folder)?.expect_code(1)?;
    ensure!(refused.error()?.contains("not empty"), "{}", refused.stderr);
    if database == Database::Mysql {
        let (to, password) = (server.beside("other"), server.password_file());
        let words =
            ["backup", "restore", "--from", path(&file)?, "--dir", path(&to)?, "--password-file", path(&password)?];
        let refused = Server::operate_elsewhere(&words)?.expect_code(1)?;
        ensure!(refused.error()?.contains("not empty"), "{}", refused.stderr);
        ensure!(!to.exists());
    }
    // Nor without the password of the server that it is of.
    let wrong = server.beside("wrong");
    fs::write(&wrong, "another password 17\n")?;
    let to = server.beside("other");
    let words = ["backup", "restore", "--from", path(&file)?, "--dir", path(&to)?, "--password-file", path(&wrong)?];
    Server::operate_elsewhere(&words)?.expect_code(1)?;
    ensure!(!to.exists());
    Ok(())
}

fn an_upgrade_is_told_before_it_is_done(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    server.operate(&["upgrade", "--dry-run"])?.expect_code(1)?;
    server.stop()?;
    let told = server.operate(&["upgrade", "--dry-run"])?.expect_code(0)?.json()?;
    assert_eq!(told["pending"], serde_json::json!([]));
    assert_eq!(server.operate(&["upgrade"])?.expect_code(0)?.json()?["tables"], "current");
    server.restart()?;
    Ok(())
}

fn the_servers_password_is_changed_while_it_runs(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let new = server.beside("new-password");
    fs::write(&new, "short\n")?;
    let change = ["password", "change", "--new-password-file", path(&new)?];
    server.operate(&change)?.expect_code(1)?;
    fs::write(&new, "a much longer password 23\n")?;
    server.operate(&change)?.expect_code(0)?;
    server.operate(&change)?.expect_code(1)?;
    server.stop()?;
    ensure!(server.restart().is_err(), "the old password still opens it");
    fs::copy(&new, server.password_file())?;
    server.restart()?;
    Ok(())
}
