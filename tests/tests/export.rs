//! A history can be taken along: as files for people, and as one that another profile takes in.

use anyhow::{Result, ensure};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt};
use waxwing_tests::{Database, Server, User, on_both_databases, texts};

on_both_databases!(what_one_profile_exports_another_imports, files_are_made_whole_and_replace_none);

const EVIL: &str = "<img src=x onerror=alert(1)> & \u{202e}gnp.exe";

fn what_one_profile_exports_another_imports(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "hello")?;
    bob.receive()?;
    bob.send("alice", EVIL)?;
    alice.receive()?;
    let file = alice.place().join("history.json");
    let path = file.to_str().unwrap_or_default();
    let done = alice.run(&["export", "--all", "--format", "json", "--output", path])?.expect_code(0)?.json()?;
    assert_eq!(done["messages"], 2, "{done}");

    let carol = User::sign_up(server.link(), "carol")?;
    let done = carol.run(&["import", path])?.expect_code(0)?.json()?;
    assert_eq!((&done["added"], &done["known"]), (&2.into(), &0.into()), "{done}");
    let again = carol.run(&["import", path])?.expect_code(0)?.json()?;
    assert_eq!((&again["added"], &again["known"]), (&0.into(), &2.into()), "{again}");
    let history = carol.history("bob")?;
    assert_eq!(texts(&history), ["hello", EVIL]);
    let authors: Vec<&Value> = history.iter().map(|message| &message["from"]).collect();
    assert_eq!(authors, ["alice (imported)", "bob (imported)"]);
    ensure!(carol.receive_now()?.is_empty(), "what was imported counts as received");
    ensure!(bob.receive_now()?.is_empty(), "what was imported was sent");
    // Its own history takes nothing in twice.
    let own = alice.run(&["import", path])?.expect_code(0)?.json()?;
    assert_eq!((&own["added"], &own["known"]), (&0.into(), &2.into()), "{own}");

    let document = fs::read_to_string(&file)?;
    fs::write(&file, &document[..document.len() / 2])?;
    let refused = User::sign_up(server.link(), "dora")?.run(&["import", path])?.expect_code(1)?;
    ensure!(refused.error()?.contains("line"), "{}", refused.stderr);
    Ok(())
}

fn files_are_made_whole_and_replace_none(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    bob.send("alice", EVIL)?;
    alice.receive()?;
    let folder = alice.place().join("pages/");
    let path = folder.to_str().unwrap_or_default();
    let done = alice.run(&["export", "--all", "--format", "html", "--output", path])?.expect_code(0)?.json()?;
    ensure!(done["files"][0].as_str().is_some_and(|file| file.ends_with("bob.html")), "{done}");
    let page = folder.join("bob.html");
    assert_eq!(fs::metadata(&page)?.permissions().mode() & 0o777, 0o600);
    let html = fs::read_to_string(&page)?;
    ensure!(html.contains("&lt;img src=x") && !html.contains("<img"), "{html}");
    ensure!(!html.contains('\u{202e}'), "a direction override reaches the page");
    let refused = alice.run(&["export", "bob", "--format", "html", "--output", page.to_str().unwrap_or_default()])?;
    ensure!(refused.expect_code(1)?.stderr.contains("exists"), "a file was replaced");
    assert_eq!(fs::read_dir(&folder)?.count(), 1, "something unfinished is left");

    let mut markdown = alice.command(&["export", "bob", "--format", "markdown", "--since", "2001-01-01"])?;
    let markdown = String::from_utf8(markdown.output()?.stdout)?;
    ensure!(markdown.contains("&lt;img") && markdown.contains("## bob"), "{markdown}");
    let mut nothing = alice.command(&["export", "bob", "--format", "markdown", "--since", "2101-01-01"])?;
    let nothing = String::from_utf8(nothing.output()?.stdout)?;
    ensure!(!nothing.contains("img"), "{nothing}");
    alice.run(&["export", "nobody", "--format", "json"])?.expect_code(1)?;
    alice.run(&["export", "bob", "--format", "json", "--since", "yesterday"])?.expect_code(1)?;
    Ok(())
}
