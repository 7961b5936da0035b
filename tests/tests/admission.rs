//! Who gets in, and how much: the operator's rules as people meet them.

use anyhow::{Context, Result, ensure};
use std::{fs, time::Instant};
use waxwing_tests::{DEADLINE, Database, Server, User, on_both_databases, texts};

on_both_databases!(invites_are_made_listed_and_revoked, the_sign_up_secret_is_replaced_beside_the_running_server);

/// Puts lines at the end of `config.toml`.
fn configure(server: &Server, changes: &[(&str, &str)]) -> Result<()> {
    let file = server.folder().join("config.toml");
    let mut text = fs::read_to_string(&file)?;
    for (from, to) in changes {
        ensure!(text.contains(from), "config.toml has no {from}");
        text = text.replace(from, to);
    }
    Ok(fs::write(&file, text)?)
}

fn invites_are_made_listed_and_revoked(database: Database) -> Result<()> {
    let server = Server::start_with(database, "invite")?;
    let make = |words: &[&str]| server.operate(&[&["invite", "create"], words].concat())?.expect_code(0)?.json();
    let two = make(&["--uses", "2", "--note", "for the \u{1b}[31mclub"]).err();
    ensure!(two.is_some(), "a note with control characters was taken");
    let two = make(&["--uses", "2", "--note", "for the club"])?;
    let (link, code) = (two["link"].as_str().context("link")?, two["code"].as_str().context("code")?);
    ensure!(link.ends_with(code));
    let other = make(&[])?;
    User::sign_up(link, "alice")?;
    let list = || server.operate(&["invite", "list"])?.expect_code(0)?.json_lines();
    let listed = list()?;
    let club = listed.iter().find(|one| one["note"] == "for the club").context("it")?;
    assert_eq!((club["uses_left"].as_u64(), club["state"].as_str()), (Some(1), Some("valid")));
    ensure!(!listed.iter().any(|one| one.to_string().contains(code)), "the list tells a code");
    // By its id, and by the link itself.
    let id = club["id"].as_str().context("id")?;
    server.operate(&["invite", "revoke", id])?.expect_code(0)?;
    server.operate(&["invite", "revoke", other["link"].as_str().context("link")?])?.expect_code(0)?;
    for gone in [link, other["link"].as_str().context("link")?] {
        User::new("bob")?.try_sign_up(gone, &[])?.expect_code(1)?;
    }
    let unknown = server.operate(&["invite", "revoke", id])?.expect_code(1)?;
    ensure!(unknown.error()?.contains("no such invite"), "{}", unknown.stderr);
    // Drawn for a phone, also where the output is a pipe.
    let mut drawn = server.command("invite")?;
    let drawn = drawn.args(["--qr"]).output()?;
    ensure!(drawn.status.success() && String::from_utf8(drawn.stdout)?.contains('\u{2588}'), "no QR code");
    Ok(())
}

fn the_sign_up_secret_is_replaced_beside_the_running_server(database: Database) -> Result<()> {
    let mut server = Server::start_with(database, "invite")?;
    configure(&server, &[("sign_up = \"invite\"", "sign_up = \"secret\"")])?;
    // There is none yet: nothing changes.
    let refused = server.operate(&["reload"])?.expect_code(1)?;
    ensure!(refused.stderr.contains("sign-up-secret change"), "{}", refused.stderr);
    let secret = |server: &Server| -> Result<String> {
        let made = server.operate(&["sign-up-secret", "change"])?.expect_code(0)?.json()?;
        Ok(made["secret"].as_str().context("secret")?.to_owned())
    };
    let first = secret(&server)?;
    let reloaded = server.operate(&["reload"])?.expect_code(0)?.json()?;
    ensure!(reloaded["changed"].to_string().contains("sign_up"), "{reloaded}");
    let try_with =
        |server: &Server, name: &str, secret: &str| User::new(name)?.try_sign_up(server.link(), &["--secret", secret]);
    try_with(&server, "alice", &first)?.expect_code(0)?;
    let second = secret(&server)?;
    try_with(&server, "bob", &first)?.expect_code(1)?;
    try_with(&server, "bob", &second)?.expect_code(0)?;
    server.restart()?;
    try_with(&server, "carol", &first)?.expect_code(1)?;
    try_with(&server, "carol", &second)?.expect_code(0)?;
    let log = server.log();
    ensure!(!log.contains(&first) && !log.contains(&second), "a secret is in the log");
    Ok(())
}

#[test]
fn a_reload_lets_new_rules_count_and_breaks_nothing() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let follow = bob.follow()?;
    // A mistake changes nothing, and is told with its line.
    configure(&server, &[("per_address = 0", "per_address = -1")])?;
    let refused = server.operate(&["reload"])?.expect_code(1)?;
    ensure!(refused.error()?.contains("-1"), "{}", refused.stderr);
    configure(
        &server,
        &[
            ("per_address = -1", "per_address = 1"),
            // Both that are called so.
            ("loopback = \"no\"", "loopback = \"yes\""),
            ("sign_ups = \"60 then 60/h\"", "sign_ups = \"1 then 1/d\""),
            ("reserved = [", "reserved = [\"boss\", "),
        ],
    )?;
    let told = server.operate(&["reload"])?.expect_code(0)?.json()?;
    for (list, name) in [
        ("changed", "sessions.per_address"),
        ("changed", "limits.sign_ups"),
        ("after_restart", "health.beyond_loopback"),
    ] {
        ensure!(told[list].to_string().contains(name), "{name}: {told}");
    }
    // Bob is connected from this address: nobody else is let in, and told why.
    let strict = alice.run(&["send", "bob", "hello"])?.expect_code(6)?;
    ensure!(strict.error()?.contains("signed in already"), "{}", strict.stderr);
    drop(follow);
    let deadline = Instant::now() + DEADLINE;
    while alice.run(&["send", "bob", "and now"])?.code != 0 {
        ensure!(Instant::now() < deadline, "the place is never free");
    }
    let reserved = User::new("b.oss")?.try_sign_up(server.link(), &[])?.expect_code(1)?;
    ensure!(reserved.error()?.contains("reserved"), "{}", reserved.stderr);
    let limited = User::new("carol")?.try_sign_up(server.link(), &[])?.expect_code(5)?;
    ensure!(limited.error()?.contains("try again in"), "{}", limited.stderr);
    ensure!(texts(&bob.receive()?).contains(&"and now".to_owned()));
    // The signal does the same.
    configure(&server, &[("sign_up = \"open\"", "sign_up = \"closed\"")])?;
    server.hang_up()?;
    let deadline = Instant::now() + DEADLINE;
    while alice.run(&["ping", server.link()])?.expect_code(0)?.json()?["sign_up"] != "closed" {
        ensure!(Instant::now() < deadline, "SIGHUP changes nothing");
    }
    Ok(())
}

#[test]
fn an_open_server_is_not_shown_to_the_world_by_oversight() -> Result<()> {
    let mut server = Server::start(Database::Sqlite)?;
    server.stop()?;
    configure(&server, &[("public = []", "public = [\"chat.example.org\"]")])?;
    let refused = server.operate(&["run"])?.expect_code(1)?;
    ensure!(refused.error()?.contains("anyone could make accounts"), "{}", refused.stderr);
    let check = server.operate(&["check"])?.expect_code(1)?.json()?;
    ensure!(check.to_string().contains("open-to-the-world"), "{check}");
    server.operate(&["check", "--yes-open-to-the-world"])?.expect_code(0)?;
    configure(&server, &[("yes_open_to_the_world = \"no\"", "yes_open_to_the_world = \"yes\"")])?;
    server.restart()?;
    Ok(())
}
