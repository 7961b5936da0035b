//! Files: they arrive whole or not at all, whoever is killed meanwhile, and the server learns nothing but a padded length.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};
use waxwing_tests::{DEADLINE, Database, Running, Server, User, files, on_both_databases};

on_both_databases!(
    a_file_is_sent_listed_saved_and_deleted,
    interrupted_files_go_on_where_they_were,
    what_the_server_changes_is_not_kept,
);

/// 16 MiB: 65 chunks.
const LARGE: usize = 16 * 1024 * 1024;

fn alice_and_bob(server: &Server) -> Result<(User, User)> {
    Ok((User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?))
}

/// Bytes that repeat nowhere.
fn content(length: usize) -> Vec<u8> {
    (0..length / 8 + 1)
        .flat_map(|n| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes())
        .take(length)
        .collect()
}

/// The chunks that the server has.
fn chunks(server: &Server) -> Result<Vec<PathBuf>> {
    let folder = server.folder().join("attachments");
    let mut all = if folder.exists() { files(&folder)? } else { Vec::new() };
    all.retain(|path| path.file_name().is_some_and(|name| name.len() == 8));
    all.sort();
    Ok(all)
}

/// Waits until something is so; files tell nobody when they grow.
fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    while !is_so()? {
        ensure!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
    Ok(())
}

fn text<'a>(object: &'a Value, name: &str) -> Result<&'a str> {
    object[name].as_str().with_context(|| format!("no {name} in {object}"))
}

fn download(user: &User, id: &str, folder: &Path) -> Result<PathBuf> {
    let folder = folder.to_str().context("a path")?;
    let saved = user.run(&["download", id, "--to", folder])?.expect_code(0)?.json()?;
    Ok(PathBuf::from(text(&saved, "path")?))
}

fn a_file_is_sent_listed_saved_and_deleted(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    let source = alice.place().join("Ergebnis – 2026.txt");
    let secret = b"the canary sings in clear";
    fs::write(&source, secret)?;
    let path = source.to_str().context("a path")?;
    let sent = alice.run(&["send", "bob", "--file", path, "--caption", "have a look"])?.expect_code(0)?.json()?;
    assert_eq!(sent["state"], "sent", "{sent}");

    let received = bob.receive()?;
    let [message] = received.as_slice() else { anyhow::bail!("not one message: {received:?}") };
    assert_eq!((&message["kind"], &message["text"]), (&"file".into(), &"have a look".into()), "{message}");
    let file = &message["file"];
    assert_eq!((&file["name"], &file["size"]), (&"Ergebnis – 2026.txt".into(), &secret.len().into()), "{file}");
    assert_eq!(file["media_type"], "text/plain");

    // What the server has is padded and sealed.
    let [chunk] = &chunks(&server)?[..] else { anyhow::bail!("not one chunk: {:?}", chunks(&server)?) };
    assert_eq!(fs::metadata(chunk)?.len(), 4096);
    for stored in [fs::read(chunk)?, server.stored()?] {
        for part in [&secret[..], "Ergebnis".as_bytes(), b"have a look"] {
            ensure!(!stored.windows(part.len()).any(|window| window == part), "the server can read it");
        }
    }

    let id = text(message, "id")?;
    let folder = bob.place().join("in");
    let saved = download(&bob, id, &folder)?;
    assert_eq!(saved, folder.join("Ergebnis _ 2026.txt"));
    assert_eq!(fs::read(&saved)?, secret);
    assert_eq!(fs::metadata(&saved)?.permissions().mode() & 0o777, 0o600);
    assert_eq!(download(&bob, id, &folder)?, folder.join("Ergebnis _ 2026 (1).txt"));
    let listed = bob.run(&["files", "alice"])?.expect_code(0)?.json_lines()?;
    assert_eq!(text(&listed[0], "id")?, id);
    ensure!(text(&listed[0]["file"], "saved")?.ends_with("(1).txt"), "{listed:?}");

    // A new device of hers finds it in the backup, and may fetch it.
    alice.run(&["backup", "now"])?.expect_code(0)?;
    let other = User::log_in(server.link(), "alice")?;
    assert_eq!(fs::read(download(&other, id, &other.place().join("in"))?)?, secret);

    // Refusals say what to do.
    let missing = alice.run(&["send", "bob", "--file", "/no/such/file"])?.expect_code(1)?;
    ensure!(missing.error()?.contains("/no/such/file"), "{}", missing.stderr);
    let folder = alice.run(&["send", "bob", "--file", "/"])?.expect_code(1)?;
    ensure!(folder.error()?.contains("no file"), "{}", folder.stderr);
    alice.run(&["send", "nobody", "--file", path])?.expect_code(1)?;
    let text_id = alice.send("bob", "no file")?;
    bob.receive()?;
    let none = bob.run(&["download", text(&text_id, "id")?, "--to", "/tmp"])?.expect_code(1)?;
    ensure!(none.error()?.contains("no file"), "{}", none.stderr);

    // The operator sees that there is something, and gets rid of it.
    let stats = server.operate(&["stats"])?.expect_code(0)?.json()?;
    assert_eq!((&stats["attachments"], &stats["attachment_bytes"]), (&1.into(), &4096.into()), "{stats}");
    server.operate(&["gc"])?.expect_code(0)?;
    assert_eq!(chunks(&server)?.len(), 1);
    alice.run(&["account", "delete", "--yes"])?.expect_code(0)?;
    server.operate(&["gc"])?.expect_code(0)?;
    assert_eq!(chunks(&server)?, Vec::<PathBuf>::new());
    let gone = bob.run(&["download", id, "--to", "/tmp"])?.expect_code(3)?;
    ensure!(gone.error()?.contains("does not have this file"), "{}", gone.stderr);
    Ok(())
}

fn interrupted_files_go_on_where_they_were(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    let (source, bytes) = (alice.place().join("large.bin"), content(LARGE));
    fs::write(&source, &bytes)?;
    let path = source.to_str().context("a path")?;

    // The sender is killed, then the server.
    let mut command = alice.command(&["send", "bob", "--file", path, "--offline-ok", "--json"])?;
    let mut sending = Running::start(command.stdin(Stdio::null()))?;
    until("some chunks are there", || Ok(chunks(&server)?.len() >= 10))?;
    sending.kill();
    let first = chunks(&server)?.remove(0);
    let before = fs::metadata(&first)?.ino();
    let mut follow = alice.follow()?;
    until("more chunks are there", || Ok(chunks(&server)?.len() >= 30))?;
    server.kill();
    server.restart()?;
    let received = bob.run(&["receive", "--timeout", "40"])?.expect_code(0)?.json_lines()?;
    assert_eq!(received[0]["file"]["size"], LARGE, "{received:?}");
    assert_eq!(fs::metadata(&first)?.ino(), before, "what the server had was sent again");
    follow.0.kill();

    // The receiver is killed, then the server.
    let id = text(&received[0], "id")?;
    let folder = bob.place().join("in");
    let to = folder.to_str().context("a path")?;
    let part = || -> Result<u64> {
        let Ok(entries) = fs::read_dir(&folder) else { return Ok(0) };
        Ok(entries.flatten().next().and_then(|entry| entry.metadata().ok()).map_or(0, |found| found.len()))
    };
    let mut command = bob.command(&["download", id, "--to", to, "--json"])?;
    let mut fetching = Running::start(command.stdin(Stdio::null()))?;
    until("some of it is here", || Ok(part()? > 1024 * 1024))?;
    fetching.kill();
    let here = part()?;
    ensure!(here < LARGE as u64, "it was too fast");
    ensure!(fs::read_dir(&folder)?.flatten().all(|entry| entry.file_name().to_string_lossy().ends_with(".part")));
    let mut command = bob.command(&["download", id, "--to", to, "--json"])?;
    let fetching = Running::start(command.stdin(Stdio::null()))?;
    until("more of it is here", || Ok(part()? > here + 1024 * 1024))?;
    server.kill();
    fetching.end(DEADLINE)?.expect_code(3)?;
    server.restart()?;
    let saved = download(&bob, id, &folder)?;
    ensure!(fs::read(saved)? == bytes, "it is another file");
    assert_eq!(fs::read_dir(&folder)?.count(), 1);

    // A file that changes while it waits is not sent under the same key.
    server.stop()?;
    alice.run(&["send", "bob", "--file", path, "--offline-ok"])?.expect_code(0)?;
    fs::write(&source, vec![7; LARGE])?;
    server.restart()?;
    let mut follow = alice.follow()?;
    until("it failed", || {
        let history = alice.run(&["history", "bob"])?.json_lines().unwrap_or_default();
        Ok(history.last().is_some_and(|last| last["state"] == "failed"))
    })?;
    follow.0.kill();
    ensure!(bob.receive_now()?.is_empty());
    Ok(())
}

fn what_the_server_changes_is_not_kept(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    let mut ids = Vec::new();
    for (name, byte) in [("a.bin", 1_u8), ("b.bin", 2)] {
        let source = alice.place().join(name);
        fs::write(&source, vec![byte; 600_000])?;
        let path = source.to_str().context("a path")?;
        let sent = alice.run(&["send", "bob", "--file", path])?.expect_code(0)?.json()?;
        ids.push(text(&sent, "id")?.to_owned());
    }
    assert_eq!(bob.receive()?.len(), 2);
    let all = chunks(&server)?;
    let honest: Vec<Vec<u8>> = all.iter().map(fs::read).collect::<Result<_, _>>()?;
    let half = all.len() / 2;
    let folder = bob.place().join("in");
    let to = folder.to_str().context("a path")?;
    let refused = |why: &str| -> Result<()> {
        for id in &ids {
            let outcome = bob.run(&["download", id, "--to", to])?.expect_code(3)?;
            let error = outcome.error()?;
            ensure!(error.contains("not the one that was sent") || error.contains("does not have"), "{why}: {error}");
        }
        assert_eq!(fs::read_dir(&folder)?.count(), 0, "{why}: something was kept");
        Ok(())
    };
    let restore = || all.iter().zip(&honest).try_for_each(|(path, bytes)| fs::write(path, bytes));

    // The one's bytes for the other's; chunks changed places; a bit is another; more than was declared.
    for (one, other) in all.iter().take(half).zip(honest.iter().skip(half)) {
        fs::write(one, other)?;
    }
    for (other, one) in all.iter().skip(half).zip(honest.iter().take(half)) {
        fs::write(other, one)?;
    }
    refused("swapped files")?;
    restore()?;
    for start in [0, half] {
        fs::write(&all[start], &honest[start + 1])?;
        fs::write(&all[start + 1], &honest[start])?;
    }
    refused("swapped chunks")?;
    restore()?;
    for start in [0, half] {
        let mut bytes = honest[start + 1].clone();
        bytes[77] ^= 1;
        fs::write(&all[start + 1], bytes)?;
    }
    refused("a flipped bit")?;
    restore()?;
    for start in [0, half] {
        let mut bytes = honest[start + half - 1].clone();
        bytes.extend([0; 1000]);
        fs::write(&all[start + half - 1], bytes)?;
    }
    refused("more bytes")?;
    restore()?;
    for (id, byte) in ids.iter().zip([1, 2]) {
        ensure!(fs::read(download(&bob, id, &folder)?)? == vec![byte; 600_000]);
    }
    Ok(())
}
