//! One profile, many commands: the process that holds a profile serves the others, and locking ends all of them.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use waxwing_tests::{DEADLINE, Database, Outcome, Running, Server, User, on_both_databases, run_with_deadline, texts};

on_both_databases!(
    commands_go_through_an_open_chat_without_a_password,
    one_follows_while_another_sends,
    a_killed_holder_is_replaced,
    garbage_does_not_hurt_the_holder,
    locking_ends_a_daemon_and_leaves_nothing_that_opens_the_profile,
    the_document_describes_what_is_said,
);

/// The command without a password to give.
fn keyless(user: &User, arguments: &[&str]) -> Result<Outcome> {
    let mut command = user.command(arguments)?;
    run_with_deadline(command.arg("--json").env_remove("WAXWING_PASSWORD_FILE"), DEADLINE)
}

fn profile(user: &User) -> PathBuf {
    user.data().join("default")
}

/// The socket of whoever holds the profile.
fn socket(user: &User) -> Result<PathBuf> {
    Ok(PathBuf::from(fs::read_to_string(profile(user).join("socket"))?))
}

fn daemon(user: &User) -> Result<Running> {
    ready(user.command(&["daemon"])?)
}

fn ready(mut command: Command) -> Result<Running> {
    let mut running = Running::start(command.stdin(Stdio::null()))?;
    match running.next_line(DEADLINE) {
        Some(line) if line == "ready" => Ok(running),
        _ => anyhow::bail!("no daemon: {:?}", running.end(DEADLINE)?),
    }
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::symlink_metadata(path).with_context(|| path.display().to_string())?.permissions().mode() & 0o777)
}

/// Two users; the first does not stay logged in.
fn alice_and_bob(server: &Server) -> Result<(User, User)> {
    let alice = User::new("alice")?;
    alice.try_sign_up(server.link(), &[])?.expect_code(0)?;
    Ok((alice, User::sign_up(server.link(), "bob")?))
}

fn commands_go_through_an_open_chat_without_a_password(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    alice.send("bob", "before")?;
    let alone = [alice.run(&["whoami"])?, alice.run(&["send", "nobody", "x"])?, alice.run(&["ack", &"0".repeat(32)])?];
    keyless(&alice, &["history", "bob"])?.expect_code(6)?;

    let mut chat = alice.chat("bob")?;
    chat.wait_for("Chat with bob")?;
    chat.wait_for("before")?;
    let sent = keyless(&alice, &["send", "bob", "from a script"])?.expect_code(0)?.json()?;
    assert_eq!(sent["state"], "sent");
    chat.wait_for("you: from a script")?;
    chat.say("typed")?;
    chat.wait_for("you: typed")?;
    let history = keyless(&alice, &["history", "bob"])?.expect_code(0)?.json_lines()?;
    assert_eq!(texts(&history), ["before", "from a script", "typed"]);
    let status = keyless(&alice, &["status"])?.expect_code(0)?.json()?;
    assert_eq!((&status["online"], &status["chats"]), (&json!(true), &json!(1)));
    assert_eq!(keyless(&alice, &["chats"])?.expect_code(0)?.json()?["chat"], "bob");
    bob.send("alice", "and back")?;
    chat.wait_for("bob: and back")?;
    assert_eq!(texts(&keyless(&alice, &["receive"])?.expect_code(0)?.json_lines()?), ["and back"]);

    // What a command prints and how it ends does not depend on who holds the profile.
    let through = [
        keyless(&alice, &["whoami"])?,
        keyless(&alice, &["send", "nobody", "x"])?,
        keyless(&alice, &["ack", &"0".repeat(32)])?,
    ];
    for (alone, through) in alone.iter().zip(&through) {
        assert_eq!((&alone.stdout, &alone.stderr, alone.code), (&through.stdout, &through.stderr, through.code));
    }
    // A second chat goes through the first.
    let mut second = alice.chat("bob")?;
    second.wait_for("and back")?;
    second.say("from the second chat")?;
    chat.wait_for("you: from the second chat")?;
    second.leave(DEADLINE)?;
    chat.leave(DEADLINE)?;
    ensure!(!profile(&alice).join("socket").exists(), "the chat has left its socket behind");
    keyless(&alice, &["history", "bob"])?.expect_code(6)?;
    Ok(())
}

fn one_follows_while_another_sends(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    let mut follow = alice.follow()?;
    bob.send("alice", "one")?;
    assert_eq!(follow.message()?["text"], "one");
    keyless(&alice, &["send", "bob", "two"])?.expect_code(0)?;
    assert_eq!(texts(&bob.receive()?), ["two"]);
    assert_eq!(keyless(&alice, &["status"])?.expect_code(0)?.json()?["unread"], 0);
    follow.stop()?;

    // One that goes through a daemon goes on by itself when the daemon is no more.
    let mut holder = daemon(&alice)?;
    let mut follow = alice.follow()?;
    bob.send("alice", "three")?;
    assert_eq!(follow.message()?["text"], "three");
    holder.kill();
    bob.send("alice", "four")?;
    assert_eq!(follow.message()?["text"], "four");
    keyless(&alice, &["send", "bob", "five"])?.expect_code(0)?;
    follow.stop()?;
    assert_eq!(texts(&bob.receive()?), ["five"]);
    Ok(())
}

fn a_killed_holder_is_replaced(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, _bob) = alice_and_bob(&server)?;
    let mut first = daemon(&alice)?;
    let second = alice.run(&["daemon"])?.expect_code(1)?;
    ensure!(second.error()?.contains("another waxwing process holds this profile"), "{}", second.stderr);
    keyless(&alice, &["send", "bob", "both are well"])?.expect_code(0)?;
    let left = socket(&alice)?;
    first.kill();
    ensure!(left.exists(), "a killed process cannot tidy up");

    alice.send("bob", "without a holder")?;
    let third = daemon(&alice)?;
    assert_eq!(socket(&alice)?, left);
    keyless(&alice, &["send", "bob", "with a new one"])?.expect_code(0)?;
    // A copy of the profile is another one, whatever its files say.
    let copy = alice.data().join("copy");
    fs::create_dir(&copy)?;
    for name in ["history.db", "key", "socket"] {
        fs::copy(profile(&alice).join(name), copy.join(name))?;
    }
    keyless(&alice, &["whoami", "--profile", "copy"])?.expect_code(6)?;
    third.terminate()?;
    third.end(DEADLINE)?.expect_code(0)?;
    ensure!(!left.exists() && !profile(&alice).join("socket").exists(), "the daemon has left its socket behind");
    Ok(())
}

fn ask(stream: &mut UnixStream, line: &[u8]) -> Result<Value> {
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(line)?;
    stream.write_all(b"\n")?;
    answer(stream)
}

fn answer(mut stream: &UnixStream) -> Result<Value> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    // Byte by byte: what follows is for the next call.
    while stream.read(&mut byte)? == 1 && byte != *b"\n" {
        line.extend(byte);
    }
    serde_json::from_slice(&line).with_context(|| format!("not JSON: {:?}", String::from_utf8_lossy(&line)))
}

fn garbage_does_not_hurt_the_holder(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    let holder = daemon(&alice)?;
    let path = socket(&alice)?;
    let connect = || UnixStream::connect(&path);
    let code = |answer: &Value| answer["error"]["code"].as_i64().unwrap_or(0);

    let mut one = connect()?;
    for (line, expected) in [
        (&b"\xff\xfe\x00"[..], -32700),
        (b"{\"jsonrpc\":\"2.0\"", -32700),
        (b"17", -32600),
        (b"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"whoami\"}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"whoami\"}", -32600),
        (b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"whoami\"}]", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rm -rf\"}", -32601),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"send\",\"params\":[1,2]}", -32602),
        (
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"send\",\"params\":{\"chat\":\"bob\",\"text\":\"x\",\"y\":1}}",
            -32602,
        ),
        (
            b"{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"history\",\"params\":{\"chat\":\"bob\",\"limit\":-1}}",
            -32602,
        ),
        (b"{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"history\",\"params\":{\"chat\":\"bob\"}}", -32000),
    ] {
        let answer = ask(&mut one, line)?;
        assert_eq!(code(&answer), expected, "{}: {answer}", String::from_utf8_lossy(line));
    }
    let nested = ["{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"send\",\"params\":", &"[".repeat(100_000)].concat();
    assert_eq!(code(&ask(&mut one, nested.as_bytes())?), -32700);

    // A line without end is cut off, and so is its connection; memory stays bounded.
    let mut endless = connect()?;
    let chunk = vec![b'a'; 1 << 20];
    while endless.write_all(&chunk).is_ok() {}
    assert_eq!(code(&answer(&endless)?), -32600);

    // Half a request, and a subscriber who never reads.
    let mut half = connect()?;
    half.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,")?;
    drop(half);
    let mut deaf = connect()?;
    deaf.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"subscribe\"}\n")?;
    for _ in 0..200 {
        deaf.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"whoami\"}\n")?;
    }

    // More connections than there are places: the last are told, and places come free again.
    let crowd = (0..80).map(|_| connect()).collect::<Result<Vec<_>, _>>()?;
    let refused = crowd.last().context("a crowd")?;
    refused.set_read_timeout(Some(DEADLINE))?;
    ensure!(
        answer(refused)?["error"]["message"].as_str().is_some_and(|text| text.contains("connections")),
        "no reason"
    );
    drop(crowd);

    let mut listener = loop {
        let mut stream = connect()?;
        match ask(&mut stream, b"{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"subscribe\"}") {
            Ok(answer) if answer["id"] == 9 => break stream,
            _ => {}
        }
    };
    keyless(&alice, &["send", "bob", "all is well"])?.expect_code(0)?;
    assert_eq!(texts(&bob.receive()?), ["all is well"]);
    bob.send("alice", "here too")?;
    loop {
        let event = answer(&listener)?;
        assert_eq!(event["method"], "event");
        if event["params"]["kind"] == "message" && event["params"]["message"]["text"] == "here too" {
            break;
        }
    }
    listener.flush()?;
    holder.interrupt()?;
    holder.end(DEADLINE)?.expect_code(0)?;
    Ok(())
}

fn locking_ends_a_daemon_and_leaves_nothing_that_opens_the_profile(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let alice = User::sign_up(server.link(), "alice")?;
    let bob = User::sign_up(server.link(), "bob")?;
    let opens = |user: &User| profile(user).join("key.open").exists() || profile(user).join("key.keyring").exists();
    keyless(&alice, &["whoami"])?.expect_code(0)?;
    ensure!(opens(&alice), "alice does not stay logged in");

    let holder = daemon(&alice)?;
    let mut follow = alice.follow()?;
    bob.send("alice", "live")?;
    assert_eq!(follow.message()?["text"], "live");
    assert_eq!(keyless(&alice, &["lock"])?.expect_code(0)?.json()?, json!({ "forgotten": true }));
    let ended = holder.end(DEADLINE)?.expect_code(6)?;
    ensure!(ended.stderr.contains("locked"), "the daemon does not say why: {}", ended.stderr);
    follow.0.end(DEADLINE)?.expect_code(6)?;
    ensure!(!opens(&alice), "a key is left");
    for command in [&["whoami"][..], &["send", "bob", "x"], &["daemon"], &["receive", "--follow"], &["unlock"]] {
        keyless(&alice, command)?.expect_code(6)?;
    }
    // Once more changes nothing.
    assert_eq!(keyless(&alice, &["lock"])?.expect_code(0)?.json()?, json!({ "forgotten": false }));

    // The password opens it, for one command or for all that follow.
    alice.send("bob", "with the password")?;
    keyless(&alice, &["whoami"])?.expect_code(6)?;
    alice.run(&["unlock", "--remember"])?.expect_code(0)?;
    keyless(&alice, &["whoami"])?.expect_code(0)?;

    // A chat that is fed by a pipe cannot ask.
    let mut chat = alice.chat("bob")?;
    chat.wait_for("with the password")?;
    keyless(&alice, &["lock"])?.expect_code(0)?;
    chat.0.end(DEADLINE)?.expect_code(6)?;

    // The same by itself when nothing is asked for long enough.
    alice.run(&["unlock", "--remember"])?.expect_code(0)?;
    let mut command = alice.command(&["daemon"])?;
    command.env("WAXWING_AUTO_LOCK_MINUTES", "0.02");
    ready(command)?.end(DEADLINE)?.expect_code(6)?;
    ensure!(!opens(&alice), "a key is left");
    Ok(())
}

/// Fails with what does not fit.
fn fits(document: &Value, schema: &Value, instance: &Value) -> Result<()> {
    let schema = json!({ "components": document["components"], "allOf": [schema] });
    let validator = jsonschema::validator_for(&schema).map_err(|error| anyhow::anyhow!("{error}"))?;
    validator.validate(instance).map_err(|error| anyhow::anyhow!("{error} in {instance}"))
}

fn the_document_describes_what_is_said(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = alice_and_bob(&server)?;
    let document = keyless(&alice, &["rpc-schema"])?.expect_code(0)?.json()?;
    assert!(document["openrpc"].as_str().is_some_and(|version| version.starts_with("1.")));
    let holder = daemon(&alice)?;
    bob.send("alice", "hello")?;
    let mut stream = UnixStream::connect(socket(&alice)?)?;
    let mut called = |name: &str, params: Value| -> Result<Value> {
        let methods = document["methods"].as_array().context("methods")?;
        let method = methods.iter().find(|method| method["name"] == name).with_context(|| format!("no {name}"))?;
        for param in method["params"].as_array().context("params")? {
            let key = param["name"].as_str().context("a name")?;
            match params.get(key) {
                Some(value) => fits(&document, &param["schema"], value)?,
                None => ensure!(param["required"] == false, "{name} needs {key}"),
            }
        }
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": name, "params": params });
        let answer = ask(&mut stream, request.to_string().as_bytes())?;
        match answer.get("error") {
            Some(error) => fits(&document, &document["components"]["errors"]["failed"]["data"], &error["data"])?,
            None => fits(&document, &method["result"]["schema"], &answer["result"])?,
        }
        Ok(answer)
    };
    called("whoami", json!({}))?;
    called("catch_up", json!({ "patience_ms": 30_000 }))?;
    called("status", json!({}))?;
    let unreceived = called("unreceived", json!({ "limit": 10 }))?;
    let id = unreceived["result"]["messages"][0]["id"].as_str().context("a message")?.to_owned();
    called("ack", json!({ "id": id }))?;
    called("open_chat", json!({ "chat": "bob" }))?;
    called("send", json!({ "chat": "bob", "text": "hi", "offline_ok": false }))?;
    let queued = called("queue", json!({ "chat": "bob", "text": "ho" }))?;
    called("sent", json!({ "id": queued["result"]["message"]["id"], "patience_ms": 30_000 }))?;
    called("mark_read", json!({ "chat": "bob" }))?;
    called("history", json!({ "chat": "bob", "limit": 3 }))?;
    called("chats", json!({}))?;
    let which = json!({ "id": id });
    called("message", which.clone())?;
    called("page", json!({ "chat": "bob", "around": which, "limit": 2 }))?;
    called("react", json!({ "message": which, "emoji": "👍", "wait": false }))?;
    called("pin", json!({ "message": which }))?;
    called("pinned", json!({ "chat": "bob" }))?;
    called("edit", json!({ "message": { "id": queued["result"]["message"]["id"] }, "text": "ha" }))?;
    called("delete", json!({ "message": { "id": queued["result"]["message"]["id"] } }))?;
    assert_eq!(called("search", json!({ "query": "hello", "limit": 3 }))?["result"]["hits"][0]["snippet"], "hello");
    called("set_timer", json!({ "chat": "bob", "seconds": null }))?;
    called("set_draft", json!({ "chat": "bob", "draft": "not yet" }))?;
    called("typing", json!({ "chat": "bob", "typing": true }))?;
    called("mute", json!({ "chat": "bob", "muted": true }))?;
    called("switch", json!({ "switch": "typing", "on": false }))?;
    called("settings", json!({}))?;
    called("blocked", json!({}))?;
    let refused = called("send", json!({ "chat": "nobody", "text": "hi" }))?;
    assert_eq!((&refused["error"]["code"], &refused["error"]["data"]["exit_code"]), (&json!(-32000), &json!(1)));
    called("subscribe", json!({}))?;
    bob.send("alice", "live")?;
    let notifications = document["x-notifications"].as_array().context("notifications")?;
    let shape = notifications.iter().find(|one| one["name"] == "event").context("event")?;
    for _ in 0..2 {
        fits(&document, &shape["params"], &answer(&stream)?["params"])?;
    }
    holder.terminate()?;
    holder.end(DEADLINE)?.expect_code(0)?;
    Ok(())
}

/// The same under a umask that forbids nothing.
fn careless(user: &User, arguments: &[&str]) -> Result<Command> {
    let inner = user.command(arguments)?;
    let mut command = Command::new("sh");
    command.args(["-c", "umask 000; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.env_clear();
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    Ok(command)
}

#[test]
fn the_socket_is_for_its_user_only() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let (alice, _bob) = alice_and_bob(&server)?;
    let runtime = alice.place().join("runtime");
    fs::create_dir(&runtime)?;

    // Without XDG_RUNTIME_DIR, with it, and with one whose path no socket can have.
    let long = alice.place().join("l".repeat(100));
    fs::create_dir(&long)?;
    for (folder, expected) in [
        (None, alice.data().join(".run")),
        (Some(&runtime), runtime.join("waxwing")),
        (Some(&long), alice.data().join(".run")),
    ] {
        let mut command = careless(&alice, &["daemon"])?;
        if let Some(folder) = folder {
            command.env("XDG_RUNTIME_DIR", folder);
        }
        let holder = ready(command)?;
        let path = socket(&alice)?;
        assert_eq!(path.parent(), Some(expected.as_path()));
        assert_eq!(mode(&expected)?, 0o700);
        assert_eq!(mode(&path)?, 0o600);
        assert_eq!(mode(&profile(&alice).join("socket"))?, 0o600);
        // Whoever has another environment finds it as well.
        keyless(&alice, &["whoami"])?.expect_code(0)?;
        holder.terminate()?;
        holder.end(DEADLINE)?.expect_code(0)?;
    }

    // A folder that was opened up is closed again; a link to somewhere else is not followed.
    fs::set_permissions(runtime.join("waxwing"), fs::Permissions::from_mode(0o777))?;
    let with_runtime = |user: &User| -> Result<Running> {
        let mut command = user.command(&["daemon"])?;
        command.env("XDG_RUNTIME_DIR", &runtime);
        ready(command)
    };
    let holder = with_runtime(&alice)?;
    assert_eq!(mode(&runtime.join("waxwing"))?, 0o700);
    drop(holder);
    fs::remove_dir_all(runtime.join("waxwing"))?;
    let elsewhere = alice.place().join("elsewhere");
    fs::create_dir(&elsewhere)?;
    std::os::unix::fs::symlink(&elsewhere, runtime.join("waxwing"))?;
    let holder = with_runtime(&alice)?;
    assert_eq!(fs::read_dir(&elsewhere)?.count(), 0);
    keyless(&alice, &["whoami"])?.expect_code(0)?;
    drop(holder);
    Ok(())
}

#[test]
fn a_profile_that_nobody_serves_is_waited_for() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let (alice, _bob) = alice_and_bob(&server)?;
    let lock = fs::OpenOptions::new().write(true).create(true).truncate(false).open(profile(&alice).join("lock"))?;
    lock.lock()?;
    let refused = alice.run(&["whoami"])?.expect_code(1)?;
    ensure!(refused.error()?.contains("in use"), "{}", refused.stderr);
    let waiting = Running::start(alice.command(&["whoami"])?.stdin(Stdio::null()))?;
    drop(lock);
    waiting.end(Duration::from_secs(30))?.expect_code(0)?;
    Ok(())
}

#[test]
fn settings_that_cannot_be_are_refused() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let alice = User::sign_up(server.link(), "alice")?;
    let folder = alice.place().join(".config").join("waxwing");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("config.toml"), "auto_lock_minuts = 5\n")?;
    let refused = alice.run(&["whoami"])?.expect_code(1)?;
    ensure!(refused.error()?.contains("auto_lock_minuts"), "{}", refused.stderr);
    // Flag before variable before file.
    fs::write(folder.join("config.toml"), "auto_lock_minutes = 0.02\n")?;
    let holder = Running::start(alice.command(&["daemon"])?.stdin(Stdio::null()))?;
    holder.end(DEADLINE)?.expect_code(6)?;
    alice.run(&["unlock", "--remember"])?.expect_code(0)?;
    let mut command = alice.command(&["daemon", "--auto-lock-minutes", "600"])?;
    command.env("WAXWING_AUTO_LOCK_MINUTES", "-1");
    let holder = ready(command)?;
    holder.terminate()?;
    holder.end(DEADLINE)?.expect_code(0)?;
    for wrong in ["-1", "x", "NaN"] {
        let mut command = alice.command(&["whoami", "--json"])?;
        command.env("WAXWING_AUTO_LOCK_MINUTES", wrong);
        run_with_deadline(&mut command, DEADLINE)?.expect_code(1)?;
    }
    Ok(())
}
