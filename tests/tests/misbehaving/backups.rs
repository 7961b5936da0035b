//! Backups: what was swapped, cut, is older, or is somebody else's is refused, once, and in clear words.

use crate::server::Server;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use waxwing_protocol::Bytes;
use waxwing_server::store::{BackupRecord, SegmentOutcome};
use waxwing_tests::{Outcome, User, texts};

/// Alice has written to Bob, and everything is in her backup.
fn alice_and_bob(server: &Server) -> Result<(User, User)> {
    let alice = User::sign_up(server.link(), "alice")?;
    let bob = User::sign_up(server.link(), "bob")?;
    for text in ["one", "two", "three"] {
        alice.send("bob", text)?;
    }
    let whole = alice.run(&["backup", "now"])?.expect_code(0)?.json()?;
    assert_eq!((&whole["covered"], &whole["messages"]), (&3.into(), &3.into()), "{whole}");
    Ok((alice, bob))
}

/// What the server says of the backup now.
fn shown(server: &Server, user: &User) -> Result<BackupRecord> {
    let seen = Arc::new(Mutex::new(None));
    let keep = seen.clone();
    server.lies.backup.tell(move |_, honest| {
        *keep.lock().unwrap() = honest.clone();
        honest
    });
    user.run(&["backup", "drill"])?;
    server.lies.backup.end();
    let record = seen.lock().unwrap().take();
    record.context("there is no backup")
}

/// Shows this manifest instead, with its own version.
fn show(server: &Server, record: BackupRecord) {
    server.lies.backup.tell(move |_, _| Some(record.clone()));
}

fn refused(outcome: Outcome, words: &str) -> Result<()> {
    let outcome = outcome.expect_code(3)?;
    let error = outcome.error()?;
    ensure!(error.contains("refused") && error.contains(words), "it does not say {words:?}: {}", outcome.stderr);
    Ok(())
}

/// A new device logs in all the same, without a message, and says why.
fn login_without_backup(server: &Server, words: &str) -> Result<User> {
    let device = User::new("alice")?;
    let login = device.try_log_in(server.link(), &["--remember"])?.expect_code(0)?.json()?;
    assert_eq!(login["restored"]["done"], 0, "{login}");
    let error = login["backup_error"].as_str().unwrap_or_default();
    ensure!(error.contains("refused") && error.contains(words), "it does not say {words:?}: {login}");
    Ok(device)
}

#[test]
fn an_older_manifest_is_called_older() -> Result<()> {
    let server = Server::start()?;
    let (alice, _bob) = alice_and_bob(&server)?;
    let old = shown(&server, &alice)?;
    alice.send("bob", "four")?;
    alice.run(&["backup", "now"])?.expect_code(0)?;
    show(&server, old);
    for command in ["now", "drill"] {
        refused(alice.run(&["backup", command])?, "older")?;
    }
    let status = alice.run(&["backup", "status"])?.expect_code(1)?;
    ensure!(status.stdout.contains("older"), "{}", status.stdout);
    server.lies.backup.end();
    alice.run(&["backup", "now"])?.expect_code(0)?;
    alice.run(&["backup", "status"])?.expect_code(0)?;
    Ok(())
}

#[test]
fn a_backup_that_was_hidden_is_called_older() -> Result<()> {
    let server = Server::start()?;
    let (alice, _bob) = alice_and_bob(&server)?;
    show(&server, BackupRecord { version: 0, manifest: None, used: 0 });
    refused(alice.run(&["backup", "now"])?, "older")
}

#[test]
fn another_manifest_of_the_same_version_is_refused() -> Result<()> {
    let server = Server::start()?;
    let (alice, _bob) = alice_and_bob(&server)?;
    let before = shown(&server, &alice)?;
    alice.send("bob", "four")?;
    alice.run(&["backup", "now"])?.expect_code(0)?;
    // The former bytes under the present version.
    let now = shown(&server, &alice)?;
    show(&server, BackupRecord { version: now.version, ..before });
    refused(alice.run(&["backup", "now"])?, "version")
}

#[test]
fn a_foreign_cut_or_changed_manifest_restores_nothing_and_stops_no_login() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    bob.run(&["backup", "now"])?.expect_code(0)?;
    let (own, foreign) = (shown(&server, &alice)?, shown(&server, &bob)?);
    let bytes = own.manifest.clone().context("no manifest")?.0;

    show(&server, BackupRecord { version: own.version, ..foreign.clone() });
    login_without_backup(&server, "signed")?;
    show(&server, BackupRecord { manifest: Some(Bytes(bytes[..bytes.len() / 2].to_vec())), ..own.clone() });
    login_without_backup(&server, "cut short or damaged")?;
    let mut changed = bytes;
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    show(&server, BackupRecord { manifest: Some(Bytes(changed)), ..own });
    let device = login_without_backup(&server, "")?;

    // It chats all the same.
    server.lies.backup.end();
    device.run(&["chats"])?.expect_code(0)?;
    Ok(())
}

#[test]
fn a_manifest_of_a_device_that_is_not_in_the_list_is_refused() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    let foreign = shown(&server, &bob)?;
    let own = shown(&server, &alice)?;
    show(&server, BackupRecord { version: own.version + 1, ..foreign });
    refused(alice.run(&["backup", "now"])?, "signed")
}

#[test]
fn swapped_cut_and_missing_segments_are_refused_and_the_rest_is_restored() -> Result<()> {
    for (lie, name) in [(0, "swapped"), (1, "cut"), (2, "missing")] {
        let server = Server::start()?;
        let (alice, _bob) = alice_and_bob(&server)?;
        let carol = User::sign_up(server.link(), "carol")?;
        carol.send("alice", "hello")?;
        alice.receive()?;
        alice.run(&["backup", "now"])?.expect_code(0)?;
        // The segments are asked for after the one with the state, newest first.
        let (asked, kept) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(None::<Bytes>)));
        server.lies.segment.tell(move |_, honest| {
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            let mut kept = kept.lock().unwrap();
            let honest_one = honest.clone();
            let told = match (*asked, lie) {
                (2, 0) => kept.clone(),
                (2, 1) => honest.map(|bytes| Bytes(bytes.0[..bytes.0.len() - 1].to_vec())),
                (2, _) => None,
                _ => honest,
            };
            *kept = honest_one;
            told
        });
        let device = User::new("alice")?;
        let login = device.try_log_in(server.link(), &["--remember"])?.expect_code(0)?.json()?;
        server.lies.segment.end();
        assert_eq!(login["restored"]["total"], 4, "{name}: {login}");
        let done = login["restored"]["done"].as_u64().unwrap_or_default();
        ensure!(done > 0 && done < 4, "{name}: {login}");
        assert_eq!(login["restored"]["refused"], 4 - done, "{name}: {login}");
        ensure!(login["backup_error"].is_string(), "{name}: {login}");
        device.run(&["backup", "status"])?.expect_code(1)?;
        // Once the server is honest again, the user asks for the rest.
        let whole = device.run(&["backup", "now"])?.expect_code(0)?.json()?;
        assert_eq!(whole["error"], Value::Null, "{name}: {whole}");
        assert_eq!(texts(&device.history("bob")?), ["one", "two", "three"], "{name}");
        assert_eq!(texts(&device.history("carol")?), ["hello"], "{name}");
    }
    Ok(())
}

#[test]
fn a_drill_tells_what_is_damaged() -> Result<()> {
    let server = Server::start()?;
    let (alice, _bob) = alice_and_bob(&server)?;
    server.lies.segment.tell(|_, honest| {
        honest.map(|mut bytes| {
            let last = bytes.0.len() - 1;
            bytes.0[last] ^= 1;
            bytes
        })
    });
    let drill = alice.run(&["backup", "drill"])?.expect_code(1)?;
    let report: Value = serde_json::from_str(drill.stdout.trim())?;
    assert_eq!(report["same"], 0, "{report}");
    ensure!(report["different"].as_u64() >= Some(3), "{report}");
    ensure!(report["differences"][0]["what"].as_str().is_some_and(|what| what.contains("damaged")), "{report}");
    server.lies.segment.end();
    alice.run(&["backup", "drill"])?.expect_code(0)?;
    Ok(())
}

#[test]
fn a_full_backup_says_so_and_the_last_whole_one_stays() -> Result<()> {
    let server = Server::start()?;
    let (alice, _bob) = alice_and_bob(&server)?;
    server.lies.put_segment.tell(|_, _| SegmentOutcome::QuotaExceeded);
    alice.send("bob", "too much")?;
    let outcome = alice.run(&["backup", "now"])?.expect_code(3)?;
    ensure!(outcome.error()?.contains("limit"), "{}", outcome.stderr);
    alice.run(&["backup", "status"])?.expect_code(1)?;
    let device = User::new("alice")?;
    let login = device.try_log_in(server.link(), &["--remember"])?.expect_code(0)?.json()?;
    assert_eq!(login["restored"]["done"], 3, "{login}");
    server.lies.put_segment.end();
    let whole = alice.run(&["backup", "now"])?.expect_code(0)?.json()?;
    assert_eq!(whole["covered"], 4, "{whole}");
    Ok(())
}

#[test]
fn corrupt_wraps_end_in_one_error_and_no_retry_loop() -> Result<()> {
    let server = Server::start()?;
    let (alice, _bob) = alice_and_bob(&server)?;
    let own = shown(&server, &alice)?;
    let bytes = own.manifest.clone().context("no manifest")?.0;
    let before = server.backups();
    // Wherever the bytes are changed, the signature says so before any key is used.
    let count = std::sync::atomic::AtomicUsize::new(0);
    server.lies.backup.tell(move |_, _| {
        let mut changed = bytes.clone();
        let at = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) * 7 % changed.len();
        changed[at] ^= 0x80;
        Some(BackupRecord { manifest: Some(Bytes(changed)), ..own.clone() })
    });
    let device = login_without_backup(&server, "")?;
    for _ in 0..5 {
        device.receive_now()?;
    }
    let asked = server.backups() - before;
    ensure!(asked <= 3, "the manifest was asked for {asked} times");
    Ok(())
}
