//! Setting a server up, again and again, and starting it under conditions that are not right.

use anyhow::{Context, Result, ensure};
use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt};
use waxwing_tests::{DEADLINE, Database, Server, User, files, on_both_databases, run_with_deadline};

on_both_databases!(a_second_run_changes_nothing, the_folder_is_private);

fn a_second_run_changes_nothing(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let alice = User::sign_up(server.link(), "alice")?;
    server.stop()?;
    let before = server.announced().clone();
    let sealed = fs::read(server.folder().join("secrets.sealed"))?;
    let again = server.init(&["--signup", "open"])?.expect_code(0)?.json()?;
    for part in ["link", "dir", "pin"] {
        assert_eq!(again[part], before[part], "{part}");
    }
    assert_eq!(fs::read(server.folder().join("secrets.sealed"))?, sealed, "a key was overwritten");
    let link = fs::read_to_string(server.folder().join("link.txt"))?;
    assert_eq!(link.trim(), server.link());
    server.restart()?;
    alice.run(&["receive"])?.expect_code(0)?;
    Ok(())
}

fn the_folder_is_private(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let mode = |path: &std::path::Path| -> Result<u32> { Ok(fs::metadata(path)?.permissions().mode() & 0o777) };
    assert_eq!(mode(&server.folder())?, 0o700);
    for file in files(&server.folder())? {
        let mode = mode(&file)?;
        ensure!(mode & 0o077 == 0, "{} has mode {mode:o}", file.display());
    }
    let alice = User::sign_up(server.link(), "alice")?;
    for file in files(&alice.data())? {
        let mode = mode(&file)?;
        ensure!(mode & 0o077 == 0, "{} has mode {mode:o}", file.display());
    }
    Ok(())
}

#[test]
fn a_server_that_cannot_start_says_why_in_one_line() -> Result<()> {
    let server = Server::set_up(Database::Sqlite, "open")?;
    run_with_deadline(&mut server.command("check")?, DEADLINE)?.expect_code(0)?;

    let blocker = TcpListener::bind(("127.0.0.1", server.port()))?;
    let taken = run_with_deadline(&mut server.command("run")?, DEADLINE)?.expect_code(1)?;
    ensure!(taken.stderr.contains(&server.port().to_string()), "{}", taken.stderr);
    drop(blocker);

    fs::write(server.password_file(), "another-password 12\n")?;
    let wrong = run_with_deadline(&mut server.command("run")?, DEADLINE)?;
    ensure!(wrong.code != 0 && wrong.stderr.contains("password"), "{}: {}", wrong.code, wrong.stderr);
    ensure!(!wrong.stderr.contains("panicked"), "{}", wrong.stderr);
    Ok(())
}

#[test]
fn wrong_answers_end_an_unattended_set_up() -> Result<()> {
    let server = Server::set_up(Database::Sqlite, "open")?;
    let mut bad = std::process::Command::new(waxwing_tests::program("waxwing-setup")?);
    let elsewhere = server.folder().parent().context("a parent")?.join("elsewhere");
    bad.args(["init", "--yes", "--json", "--database", "oracle", "--listen", "127.0.0.1:0", "--server-password-file"]);
    bad.arg(server.password_file()).arg("--dir").arg(&elsewhere);
    run_with_deadline(&mut bad, DEADLINE)?.expect_code(1)?;
    ensure!(!elsewhere.join("secrets.sealed").exists(), "it began all the same");
    Ok(())
}

/// What `cargo try` plays without a terminal: it checks itself, and ends in 0 only if all of it held.
#[test]
fn the_demonstration_holds() -> Result<()> {
    let mut demonstration = std::process::Command::new(waxwing_tests::program("waxwing-setup")?);
    let played = run_with_deadline(demonstration.args(["try", "--scripted"]), DEADLINE)?.expect_code(0)?;
    ensure!(played.stdout.contains("All of it held"), "{}", played.stdout);
    Ok(())
}
