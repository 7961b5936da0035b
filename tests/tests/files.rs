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
use waxwing_tests::{DEADLINE, Database, PICTURE, Running, Server, User, files, on_both_databases};

on_both_databases!(
    a_file_is_sent_listed_saved_and_deleted,
    interrupted_files_go_on_where_they_were,
    what_the_server_changes_is_not_kept,
    what_a_file_is_comes_with_its_message_and_goes_with_it,
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

/// So many seconds of silence.
fn recording(seconds: u32) -> Vec<u8> {
    let samples = seconds * 8000;
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + samples).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data");
    wav.extend(samples.to_le_bytes());
    wav.resize(wav.len() + samples as usize, 0x80);
    wav
}

/// A file of this name and content, sent to bob; its message's id.
fn send(alice: &User, name: &str, content: &[u8], caption: &str) -> Result<String> {
    let source = alice.place().join(name);
    fs::write(&source, content)?;
    let path = source.to_str().context("a path")?;
    let sent = alice.run(&["send", "bob", "--file", path, "--caption", caption])?.expect_code(0)?.json()?;
    Ok(text(&sent, "id")?.to_owned())
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

fn what_a_file_is_comes_with_its_message_and_goes_with_it(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    let picture = send(&alice, "Lagune im Herbst.gif", PICTURE, "before dusk")?;
    let song = send(&alice, "song.wav", &recording(3), "")?;
    let script = send(&alice, "run me.sh", b"touch hurt", "")?;
    let received = bob.receive()?;
    let file = |at: usize| &received[at]["file"];
    assert_eq!((&file(0)["width"], &file(0)["height"]), (&1.into(), &1.into()), "{received:?}");
    assert_eq!((&file(0)["thumbnail"], &file(0)["duration_ms"]), (&true.into(), &Value::Null));
    assert_eq!((&file(1)["duration_ms"], &file(1)["width"]), (&3000.into(), &Value::Null));
    for words in ["lagune", "herbst gif", "dusk before", "from:alice dus*"] {
        let found = bob.run(&["search", words])?.expect_code(0)?.json_lines()?;
        assert_eq!(found.iter().map(|hit| text(hit, "id")).collect::<Result<Vec<_>>>()?, [picture.as_str()], "{words}");
    }

    // It is played by the user's own program, which gets the path as one argument; a saved one will do while it is as it was.
    let folder = bob.place().join("my songs");
    let to = folder.to_str().context("a path")?;
    let (player, played) = (bob.place().join("player"), bob.place().join("played"));
    fs::write(&player, format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > '{}'\n", played.display()))?;
    fs::set_permissions(&player, fs::Permissions::from_mode(0o700))?;
    let settings = bob.place().join(".config/waxwing");
    fs::create_dir_all(&settings)?;
    fs::write(settings.join("config.toml"), format!("player = ['{}', '--once']\n", player.display()))?;
    let open = |id: &str| bob.run(&["download", id, "--to", to, "--open"]);
    let first = folder.join("song.wav");
    for (expected, change) in [(&first, false), (&first, true), (&folder.join("song (1).wav"), false)] {
        let opened = open(&song)?.expect_code(0)?.json()?;
        assert_eq!(Path::new(text(&opened, "path")?), expected);
        assert_eq!(fs::read_to_string(&played)?, format!("--once\n{}\n", expected.display()));
        if change {
            fs::write(expected, "not what was sent")?;
        }
    }
    let refused = open(&script)?.expect_code(1)?;
    ensure!(refused.error()?.contains("only pictures"), "{}", refused.stderr);
    ensure!(!bob.place().join("hurt").exists() && !folder.join("hurt").exists());

    // Whatever it is called, it lies in the folder, under no other name than it shows, and takes no place.
    std::os::unix::fs::symlink(bob.place().join("outside"), folder.join("x"))?;
    for (name, saved) in [
        ("C:\\x", "x (1)"),
        ("..\\..\\.ssh\\authorized_keys", "authorized_keys"),
        (".bashrc", "bashrc"),
        ("-rf", "_rf"),
        ("gpj.\u{202e}exe", "gpj._exe"),
        ("two\nlines\u{1b}[2J", "two_lines_[2J"),
    ] {
        let id = send(&alice, name, b"harmless", "")?;
        bob.receive()?;
        assert_eq!(download(&bob, &id, &folder)?, folder.join(saved));
    }
    ensure!(!bob.place().join("outside").exists(), "it was written through a link");

    // With their messages the files go from the server: at once when deleted, when all time has run out if they disappear.
    let stored = || -> Result<Value> { Ok(server.operate(&["stats"])?.expect_code(0)?.json()?["attachments"].clone()) };
    assert_eq!(stored()?, 9);
    alice.run(&["delete", &picture])?.expect_code(0)?;
    assert_eq!(stored()?, 8);
    alice.run(&["timer", "bob", "1s"])?.expect_code(0)?;
    send(&alice, "fleeting.gif", PICTURE, "for a moment")?;
    assert_eq!(stored()?, 9);
    ensure!(bob.receive()?.iter().any(|message| message["file"]["name"] == "fleeting.gif"));
    let mut follow = alice.follow()?;
    until("the fleeting file is gone", || Ok(stored()? == 8))?;
    follow.0.kill();
    for (user, chat) in [(&alice, "bob"), (&bob, "alice")] {
        until("it is gone on both devices", || {
            user.receive_now()?;
            Ok(!user.history(chat)?.iter().any(|message| message["file"]["name"] == "fleeting.gif"))
        })?;
        ensure!(user.run(&["search", "fleeting"])?.expect_code(0)?.json_lines()?.is_empty());
    }
    Ok(())
}

/// The most memory that a command takes while it runs, in KiB; and what it says.
fn memory(user: &User, arguments: &[&str]) -> Result<(u64, Value)> {
    let mut command = user.command(arguments)?;
    let running = Running::start(command.arg("--json").stdin(Stdio::null()))?;
    let status = format!("/proc/{}/status", running.id()?);
    let mut most = 0;
    until("the command has ended", || {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
        most = now.unwrap_or(0).max(most);
        // One that has ended has no memory any more.
        Ok(most > 0 && now.is_none())
    })?;
    Ok((most, running.end(DEADLINE)?.expect_code(0)?.json()?))
}

#[test]
fn the_length_of_a_file_costs_no_memory() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let (alice, bob) = alice_and_bob(&server)?;
    let mut most = Vec::new();
    for (name, mebibytes) in [("short.bin", 1), ("long.bin", 96)] {
        let source = alice.place().join(name);
        // Zeros that take no room on the disk; sealed they do.
        fs::File::create(&source)?.set_len(mebibytes * 1024 * 1024)?;
        let path = source.to_str().context("a path")?;
        let (sending, sent) = memory(&alice, &["send", "bob", "--file", path])?;
        bob.receive()?;
        let folder = bob.place().join("in");
        let to = folder.to_str().context("a path")?;
        let (fetching, saved) = memory(&bob, &["download", text(&sent, "id")?, "--to", to])?;
        assert_eq!(fs::metadata(text(&saved, "path")?)?.len(), mebibytes * 1024 * 1024);
        most.push((sending, fetching));
    }
    // Held as a whole, the long file would take four times as much more.
    let few = 24 * 1024;
    let [short, long] = most[..] else { anyhow::bail!("{most:?}") };
    ensure!(long.0 < short.0 + few && long.1 < short.1 + few, "KiB for sending and fetching: {short:?}, then {long:?}");
    Ok(())
}
