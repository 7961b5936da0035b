//! A text that nobody but its two readers may ever hold is looked for everywhere else.

use anyhow::{Context as _, Result, ensure};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    process::Stdio,
};
use waxwing_tests::{
    DEADLINE, Database, PASSWORD, PICTURE, Running, Server, Tty, User, files, on_both_databases, run_with_deadline,
    texts,
};

const CANARY: &str = "canary-4f1c9e-yellow-bird-in-the-mine";

/// How every thumbnail begins.
const THUMBNAIL: &str = "\0\u{10}JFIF\0\u{1}\u{2}";

on_both_databases!(the_canary_is_nowhere);

fn holds(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

fn the_canary_is_nowhere(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let alice = User::new("alice")?;
    let flags = ["--name", "Canary Fullname", "--email", "canary-address@example.org"];
    let signed_up = alice.try_sign_up(server.link(), &flags)?.expect_code(0)?.json()?;
    let recovery_code = signed_up["recovery_code"].as_str().unwrap_or_default().to_owned();
    let bob = User::sign_up(server.link(), "bob")?;
    for number in 0..20 {
        alice.send("bob", &format!("{CANARY} {number}"))?;
    }
    // Some are delivered, some wait on the server, some wait on the device.
    ensure!(texts(&bob.receive()?).len() == 20, "not all arrived");
    bob.send("alice", &format!("{CANARY} back"))?;
    // As the new words of a message, as a file's name and caption, as a draft, as words that are searched for.
    let first = bob.history("alice")?[20]["id"].as_str().unwrap_or_default().to_owned();
    bob.run(&["edit", &first, &format!("{CANARY} edited")])?.expect_code(0)?;
    let picture = alice.place().join(format!("{CANARY}.gif"));
    fs::write(&picture, PICTURE)?;
    let path = picture.display().to_string();
    alice.run(&["send", "bob", "--file", &path, "--caption", &format!("{CANARY} caption")])?.expect_code(0)?;
    ensure!(bob.receive()?.iter().any(|message| message["file"]["thumbnail"] == true), "there is no thumbnail");
    ensure!(alice.run(&["search", CANARY])?.expect_code(0)?.json_lines()?.len() > 9, "it is not found");
    let mut screen = Tty::start(alice.command(&["chat", "bob"])?, 80, 24)?;
    screen.wait_for("Message bob")?;
    screen.press(&format!("{CANARY} draft"))?;
    screen.wait_for("mine draft")?;
    screen.press("\u{3}\u{3}")?;
    screen.end(DEADLINE)?.expect_code(0)?;
    let chats = alice.run(&["chats"])?.expect_code(0)?.stdout;
    ensure!(chats.contains(&format!("{CANARY} draft")), "there is no draft: {chats}");
    let running = server.stored()?;
    server.stop()?;
    alice.run(&["send", "bob", &format!("{CANARY} queued"), "--offline-ok"])?.expect_code(0)?;
    let stopped = server.stored()?;

    let secrets = [CANARY, THUMBNAIL, PASSWORD, "Canary Fullname", "canary-address", &recovery_code];
    for secret in secrets {
        ensure!(!holds(&running, secret), "the running server's storage holds {secret:?}");
        ensure!(!holds(&stopped, secret), "the stopped server's storage holds {secret:?}");
        ensure!(!holds(server.log().as_bytes(), secret), "the server's log holds {secret:?}");
    }
    ensure!(holds(&stopped, "alice"), "the search finds nothing at all");
    for name in ["alice", "bob"] {
        ensure!(!holds(server.log().as_bytes(), name), "the log names {name}:\n{}", server.log());
    }
    for user in [&alice, &bob] {
        let device = files(&user.data())?;
        ensure!(!device.is_empty(), "the device holds nothing at all");
        for file in device {
            let content = fs::read(&file)?;
            for secret in secrets {
                ensure!(!holds(&content, secret), "{} holds {secret:?}", file.display());
            }
        }
    }
    // And yet both can read it.
    ensure!(texts(&bob.history("alice")?).iter().all(|text| text.starts_with(CANARY)), "bob cannot read it");
    let edited = alice.run(&["search", "edited"])?.expect_code(0)?.json_lines()?;
    assert_eq!(edited.first().map(|hit| hit["text"].clone()), Some(format!("{CANARY} edited").into()));
    Ok(())
}

/// All that a process has in memory and can write to.
fn memory(process: i32) -> Result<Vec<u8>> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
    let memory = File::open(format!("/proc/{process}/mem"))?;
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).context("a range")?;
        let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
        let mut region = vec![0; usize::try_from(to - from)?];
        // A region may be gone, or be none that can be read.
        if memory.read_exact_at(&mut region, from).is_ok() {
            all.extend(region);
        }
    }
    Ok(all)
}

/// Where a secret stands in much memory.
fn remembers(memory: &[u8], secret: &str) -> bool {
    let Some((first, rest)) = secret.as_bytes().split_first() else { return false };
    let mut from = 0;
    while let Some(at) = memory[from..].iter().position(|byte| byte == first) {
        from += at + 1;
        if memory[from..].starts_with(rest) {
            return true;
        }
    }
    false
}

fn of_process(process: i32, what: &str) -> Result<Vec<u8>> {
    fs::read(format!("/proc/{process}/{what}")).with_context(|| format!("/proc/{process}/{what}"))
}

/// Nothing that is secret stands in a log however much that tells, on a command line or in an environment, where other
/// users and backups find it; nor in the server's memory; nor in a core dump, since none is made. A client's memory holds
/// it while the profile is open, and is gone with it.
#[test]
fn secrets_are_in_no_log_command_line_or_environment_and_not_in_the_servers_memory() -> Result<()> {
    let mut server = Server::set_up(Database::Sqlite, "open")?;
    server.set("WAXWING_LOG_LEVEL", "trace");
    server.restart()?;
    let (alice, bob) = (User::new("alice")?, User::new("bob")?);
    let mut told = String::new();
    let mut run = |user: &User, arguments: &[&str]| -> Result<String> {
        let mut command = user.command(arguments)?;
        let outcome = run_with_deadline(command.args(["--json", "-vv"]), DEADLINE)?;
        told.push_str(&outcome.stderr);
        Ok(outcome.stdout)
    };
    for user in [&alice, &bob] {
        let name = ["--name", "Canary Fullname", "--email", "canary-address@example.org"];
        let words = ["signup", "--server", server.link(), "--username", user.name(), "--remember"];
        run(user, &[&words[..], &name].concat())?;
    }
    run(&alice, &["send", "bob", &format!("{CANARY} one")])?;
    let received = run(&bob, &["receive", "--timeout", "20"])?;
    ensure!(received.contains(CANARY), "nothing arrived: {received}");
    run(&bob, &["send", "alice", &format!("{CANARY} two")])?;
    run(&alice, &["receive", "--timeout", "20"])?;
    run(&alice, &["search", "canary"])?;
    run(&alice, &["backup", "now"])?;
    run(&alice, &["send", "bob", &"\u{7}".repeat(70_000)])?;

    let mut command = alice.command(&["daemon", "-vv"])?;
    let mut daemon = Running::start(command.stdin(Stdio::null()))?;
    ensure!(daemon.next_line(DEADLINE).as_deref() == Some("ready"), "no daemon");
    let history = run(&alice, &["history", "bob"])?;
    ensure!(history.contains(CANARY), "{history}");
    let (client, relay) = (daemon.id()?, server.process().context("a server")?.id()?);
    let secrets = [CANARY, PASSWORD, "Canary Fullname", "canary-address", "the-server-password"];
    for process in [client, relay] {
        for what in ["cmdline", "environ"] {
            let shown = of_process(process, what)?;
            ensure!(!shown.is_empty(), "nothing in {what}");
            for secret in secrets {
                ensure!(!holds(&shown, secret), "{what} of process {process} holds {secret:?}");
            }
        }
        let limits = String::from_utf8(of_process(process, "limits")?)?;
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).context("no limit")?;
        ensure!(core.split_whitespace().skip(4).take(2).all(|bytes| bytes == "0"), "it may dump its memory: {core}");
    }
    ensure!(remembers(&memory(client)?, CANARY), "an open profile's memory holds nothing: the search finds nothing");
    let known = memory(relay)?;
    ensure!(remembers(&known, "alice"), "the search finds nothing");
    for secret in [CANARY, PASSWORD] {
        ensure!(!remembers(&known, secret), "the server's memory holds {secret:?}");
    }
    run(&alice, &["lock"])?;
    let ended = daemon.end(DEADLINE)?.expect_code(6)?;
    ensure!(!fs::exists(format!("/proc/{client}/mem"))?, "whoever held the profile lives on");
    told.push_str(&ended.stderr);

    ensure!(told.contains(" INFO "), "the log tells nothing: {told}");
    for secret in secrets {
        ensure!(!told.contains(secret), "a client's log holds {secret:?}");
        ensure!(!server.log().contains(secret), "the server's log holds {secret:?}");
    }
    for name in ["alice", "bob"] {
        ensure!(!server.log().contains(name), "the server's log names {name}");
    }
    Ok(())
}
