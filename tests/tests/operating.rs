//! The operator's commands, beside a running server and while it is stopped.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt};
use waxwing_protocol::{DeviceId, ErrorCode, Request, ServerFrame};
use waxwing_tests::{DEADLINE, Database, RawClient, Server, User, on_both_databases, texts};

on_both_databases!(
    a_disabled_account_is_cut_off_at_once_and_comes_back,
    a_signed_out_device_is_cut_off_at_once_and_stays_out,
    a_deleted_account_is_gone_and_its_name_stays_taken,
    the_commands_work_while_the_server_is_stopped,
    an_announcement_reaches_who_is_connected,
    a_disclosure_tells_what_is_known_and_no_more,
    an_invite_is_made_beside_a_running_server,
    the_doctor_finds_what_is_wrong,
    the_log_says_nothing_of_who_writes_to_whom,
);

/// The account's line in `user list`.
fn user(server: &Server, name: &str) -> Result<Value> {
    let users = server.operate(&["user", "list"])?.expect_code(0)?.json_lines()?;
    users.into_iter().find(|user| user["username"] == name).with_context(|| format!("{name} is not listed"))
}

/// How a device of this id is refused, by the operator's list. Nobody but it could sign in: an unknown device looks alike.
fn knows(server: &Server, device: &str) -> Result<bool> {
    let mut id = [0; 16];
    for (byte, digits) in id.iter_mut().zip(device.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits)?, 16)?;
    }
    let mut client = RawClient::greet(server.port())?;
    let answer = client.ask(Request::Authenticate { device: DeviceId(id), signature: vec![0; 64].into() })?;
    let ServerFrame::Refusal { refusal, .. } = answer else { anyhow::bail!("an empty signature was taken") };
    ensure!(refusal.code == ErrorCode::BadCredentials, "a stranger learns {refusal}");
    let shown = server.operate(&["user", "sessions", "alice"])?.expect_code(0)?.json_lines()?;
    Ok(shown.iter().any(|one| one["device"] == device))
}

fn a_disabled_account_is_cut_off_at_once_and_comes_back(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    bob.send("alice", "before")?;
    assert_eq!(texts(&alice.receive()?), ["before"]);
    let follow = alice.follow()?;
    wait_until(|| Ok(user(&server, "alice")?["connections"] == 1))?;

    let done = server.operate(&["user", "disable", "alice"])?.expect_code(0)?.json()?;
    assert_eq!(done["connections"], 1);
    let ended = follow.0.end(DEADLINE)?.expect_code(6)?;
    ensure!(ended.error()?.contains("disabled"), "{}", ended.stderr);
    for refused in [alice.run(&["send", "bob", "let me in"])?, User::new("alice")?.try_log_in(server.link(), &[])?] {
        ensure!(refused.expect_code(6)?.error()?.contains("disabled by the server's operator"));
    }
    // A wrong password learns nothing of it.
    let stranger = User::new("alice")?;
    stranger.set_password("something-Else.47 entirely wrong")?;
    ensure!(!stranger.try_log_in(server.link(), &[])?.expect_code(6)?.error()?.contains("disabled"));
    ensure!(user(&server, "alice")?["disabled_at"].is_string() && user(&server, "bob")?["disabled_at"].is_null());
    // What is stored on the device stays readable, and others go on.
    assert_eq!(texts(&alice.history("bob")?), ["before"]);
    bob.send("alice", "meanwhile")?;

    server.operate(&["user", "enable", "alice"])?.expect_code(0)?;
    assert_eq!(texts(&alice.receive()?), ["meanwhile"]);
    alice.send("bob", "back again")?;
    assert_eq!(texts(&bob.receive()?), ["back again"]);
    Ok(())
}

fn a_signed_out_device_is_cut_off_at_once_and_stays_out(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let alice = User::sign_up(server.link(), "alice")?;
    let device = alice.run(&["whoami"])?.expect_code(0)?.json()?["device"].as_str().context("device")?.to_owned();
    ensure!(knows(&server, &device)?);
    let follow = alice.follow()?;
    wait_until(|| Ok(user(&server, "alice")?["connections"] == 1))?;
    let wrong = server.operate(&["user", "logout", "alice", "--device", "zz"])?.expect_code(1)?;
    ensure!(wrong.error()?.contains("no device"), "{}", wrong.stderr);
    let done = server.operate(&["user", "logout", "alice", "--device", &device[..8]])?.expect_code(0)?.json()?;
    assert_eq!((&done["devices"], &done["connections"]), (&1.into(), &1.into()));
    follow.0.end(DEADLINE)?.expect_code(6)?;
    ensure!(!knows(&server, &device)?);
    alice.run(&["status"])?;
    alice.run(&["send", "alice", "still here"])?.expect_code(6)?;
    // The password lets the owner in anew, as another device.
    let again = User::new("alice")?;
    again.try_log_in(server.link(), &["--remember"])?.expect_code(0)?;
    assert_eq!(user(&server, "alice")?["devices"], 1);
    Ok(())
}

fn a_deleted_account_is_gone_and_its_name_stays_taken(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "hello")?;
    assert_eq!(texts(&bob.receive()?), ["hello"]);
    alice.send("bob", "farewell")?;
    let refused = server.operate(&["user", "delete", "alice"])?.expect_code(1)?;
    ensure!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    server.operate(&["user", "delete", "alice", "--yes"])?.expect_code(0)?;
    ensure!(user(&server, "alice").is_err());
    server.operate(&["user", "show", "alice"])?.expect_code(1)?;
    alice.run(&["send", "bob", "hello?"])?.expect_code(6)?;
    User::new("alice")?.try_sign_up(server.link(), &[])?.expect_code(1)?;
    User::new("alice")?.try_log_in(server.link(), &[])?.expect_code(6)?;
    assert_eq!(texts(&bob.receive()?), ["farewell"], "what was sent before arrives");
    Ok(())
}

fn the_commands_work_while_the_server_is_stopped(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let alice = User::sign_up(server.link(), "alice")?;
    let stats = server.operate(&["stats"])?.expect_code(0)?.json()?;
    assert_eq!((&stats["running"], &stats["accounts"]), (&true.into(), &1.into()));
    let socket = server.folder().join("admin.sock");
    assert_eq!(fs::metadata(&socket)?.permissions().mode() & 0o777, 0o600);
    // A killed server leaves its socket behind.
    server.kill();
    ensure!(socket.exists());
    let stats = server.operate(&["stats"])?.expect_code(0)?.json()?;
    assert_eq!((&stats["running"], &stats["accounts"]), (&false.into(), &1.into()));
    server.operate(&["user", "disable", "alice"])?.expect_code(0)?;
    server.operate(&["gc", "--dry-run"])?.expect_code(0)?;
    let refused = server.operate(&["announce", "hello"])?.expect_code(3)?;
    ensure!(refused.error()?.contains("no server runs"), "{}", refused.stderr);
    server.restart()?;
    alice.run(&["send", "alice", "hello"])?.expect_code(6)?;
    server.operate(&["user", "enable", "alice"])?.expect_code(0)?;
    server.stop()?;
    ensure!(!socket.exists());
    Ok(())
}

fn an_announcement_reaches_who_is_connected(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let alice = User::sign_up(server.link(), "alice")?;
    User::sign_up(server.link(), "bob")?;
    let mut follow = alice.follow()?;
    wait_until(|| Ok(user(&server, "alice")?["connections"] == 1))?;
    wait_until(|| {
        let told = server.operate(&["announce", "Down at noon\u{1b}[2J"])?.expect_code(0)?.json()?;
        Ok(told["devices"] == 1)
    })?;
    let heard = follow.message()?;
    assert_eq!((&heard["kind"], &heard["text"]), (&"announcement".into(), &"Down at noon\u{1b}[2J".into()));
    follow.stop()?;
    server.operate(&["announce", &"x".repeat(1025)])?.expect_code(1)?;
    server.operate(&["announce", " "])?.expect_code(1)?;
    Ok(())
}

fn a_disclosure_tells_what_is_known_and_no_more(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let alice = User::new("alice")?;
    let given = ["--name", "Alice A. Liddell", "--email", "alice@example.org", "--remember"];
    alice.try_sign_up(server.link(), &given)?.expect_code(0)?;
    User::sign_up(server.link(), "bob")?;
    alice.send("bob", "canary-7c1f")?;
    let outcome = server.operate(&["disclose", "alice"])?.expect_code(0)?;
    for known in ["Alice A. Liddell", "alice@example.org", "bob", "seen_day"] {
        ensure!(outcome.stdout.contains(known), "{known} is missing: {}", outcome.stdout);
    }
    for unknown in ["canary-7c1f", "argon2id", waxwing_tests::PASSWORD] {
        ensure!(!outcome.stdout.contains(unknown), "{unknown} was disclosed");
    }
    let other = server.operate(&["disclose", "bob"])?.expect_code(0)?;
    ensure!(!other.stdout.contains("Liddell") && !other.stdout.contains("example.org"));
    server.operate(&["disclose", "nobody"])?.expect_code(1)?;
    Ok(())
}

fn an_invite_is_made_beside_a_running_server(database: Database) -> Result<()> {
    let server = Server::start_with(database, "invite")?;
    User::new("alice")?.try_sign_up(server.link(), &[])?.expect_code(1)?;
    let invite = server.operate(&["invite"])?.expect_code(0)?.json()?;
    let link = invite["link"].as_str().context("link")?;
    ensure!(link.ends_with(invite["code"].as_str().context("code")?));
    User::new("alice")?.try_sign_up(link, &[])?.expect_code(0)?;
    User::new("bob")?.try_sign_up(link, &[])?.expect_code(1)?;
    Ok(())
}

fn the_doctor_finds_what_is_wrong(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let verdicts = |server: &Server, code| -> Result<Vec<(String, String)>> {
        let report = server.operate(&["doctor"])?.expect_code(code)?.json()?;
        let checks = report["checks"].as_array().context("checks")?.clone();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(checks.iter().map(|check| (text(&check["name"]), text(&check["result"]))).collect())
    };
    let well = verdicts(&server, 0)?;
    for name in ["files", "clock", "disk", "certificate", "configuration", "server", "database", "link"] {
        ensure!(well.contains(&(name.to_owned(), "ok".to_owned())), "{name}: {well:?}");
    }
    let sealed = server.folder().join("secrets.sealed");
    fs::set_permissions(&sealed, fs::Permissions::from_mode(0o644))?;
    ensure!(verdicts(&server, 1)?.contains(&("files".into(), "fail".into())));
    fs::set_permissions(&sealed, fs::Permissions::from_mode(0o600))?;
    server.kill();
    let stopped = verdicts(&server, 0)?;
    ensure!(stopped.contains(&("server".into(), "warn".into())) && stopped.contains(&("port".into(), "ok".into())));
    fs::write(server.folder().join("identity.crt"), "nonsense")?;
    ensure!(verdicts(&server, 1)?.contains(&("certificate".into(), "fail".into())));
    Ok(())
}

fn the_log_says_nothing_of_who_writes_to_whom(database: Database) -> Result<()> {
    let mut server = Server::set_up(database, "open")?;
    let file = server.folder().join("config.toml");
    fs::write(&file, fs::read_to_string(&file)?.replace("level = \"info\"", "level = \"trace\""))?;
    server.restart()?;
    let (alice, bob) = (User::sign_up(server.link(), "alicia7")?, User::sign_up(server.link(), "roberto7")?);
    alice.send("roberto7", "hello")?;
    assert_eq!(texts(&bob.receive()?), ["hello"]);
    let device = alice.run(&["whoami"])?.json()?["device"].as_str().context("device")?.to_owned();
    server.operate(&["user", "disable", "alicia7"])?.expect_code(0)?;
    let log = server.log();
    ensure!(log.contains("connection opened"), "nothing was logged");
    for name in ["alicia7", "roberto7", device.as_str()] {
        ensure!(!log.contains(name), "{name} is in the log");
    }
    Ok(())
}

/// Asks again until it is so.
fn wait_until(so: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = std::time::Instant::now() + DEADLINE;
    while !so()? {
        ensure!(std::time::Instant::now() < deadline, "it never happened");
        std::thread::yield_now();
    }
    Ok(())
}

#[test]
fn a_folder_with_a_long_path_has_its_socket_too() -> Result<()> {
    let mut server = Server::start(Database::Sqlite)?;
    server.stop()?;
    let long = server.beside(&format!("{}/{}", "a".repeat(120), "b".repeat(60)));
    fs::create_dir_all(long.parent().context("parent")?)?;
    fs::rename(server.folder(), &long)?;
    server.move_to(long);
    server.restart()?;
    assert_eq!(server.operate(&["stats"])?.expect_code(0)?.json()?["running"], true);
    Ok(())
}
