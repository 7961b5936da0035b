//! The server gets a new key: those who know the old one follow, and nobody else leads them anywhere.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{fs, process::Stdio, time::Duration};
use waxwing_protocol::{KeyStatement, Link, ServerCertificate};
use waxwing_tests::{
    DEADLINE, Database, Impostor, Met, Running, Server, User, link_with_port, on_both_databases, run_with_deadline,
    texts,
};

on_both_databases!(everybody_follows_and_passwords_go_on, a_running_server_takes_a_new_key);

/// Replaces the server's key; gives what the command printed.
fn rotate(server: &Server) -> Result<Value> {
    run_with_deadline(server.command("rotate-key")?.arg("--json"), DEADLINE)?.expect_code(0)?.json()
}

fn pin_of(user: &User) -> Result<String> {
    let server = user.run(&["whoami"])?.expect_code(0)?.json()?["server"].clone();
    Ok(server.as_str().context("no link")?.parse::<Link>()?.pin.to_string())
}

fn everybody_follows_and_passwords_go_on(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let first = server.link().to_owned();
    let (alice, bob) = (User::sign_up(&first, "alice")?, User::sign_up(&first, "bob")?);
    alice.send("bob", "before")?;
    server.stop()?;
    let rotated = rotate(&server)?;
    let second = rotated["link"].as_str().context("no link")?.to_owned();
    assert_eq!(rotated["former_pin"], first.parse::<Link>()?.pin.to_string());
    assert_eq!(rotated["pin"], second.parse::<Link>()?.pin.to_string());
    ensure!(second != first, "the key is the same");
    let written = fs::read_to_string(server.folder().join("link.txt"))?;
    assert_eq!(written.trim(), second, "link.txt has another link");
    server.restart()?;

    // Alice connects and knows the new key from then on; she is told so while she listens to somebody new.
    let mut listening = Running::start(alice.command(&["receive", "--follow"])?.stdin(Stdio::null()))?;
    let carol = User::sign_up(&second, "carol")?;
    carol.send("alice", "hello from the other side")?;
    listening.next_line(DEADLINE).context("no message came")?;
    listening.interrupt()?;
    let told = listening.end(DEADLINE)?.expect_code(0)?;
    ensure!(told.stderr.contains("key was replaced, vouched for by the old one"), "Alice was told: {}", told.stderr);
    assert_eq!(pin_of(&alice)?, rotated["pin"]);
    alice.send("bob", "between")?;

    // New devices of old and new accounts, by either link.
    for (link, name) in [(&first, "alice"), (&second, "alice"), (&first, "carol")] {
        let device = User::new(name)?;
        device.try_log_in(link, &["--remember"])?.expect_code(0)?;
        assert_eq!(pin_of(&device)?, rotated["pin"], "{name}");
    }

    // Bob was away for two rotations.
    server.stop()?;
    let third = rotate(&server)?;
    server.restart()?;
    assert_eq!(pin_of(&bob)?, rotated["former_pin"]);
    assert_eq!(texts(&bob.receive()?), ["before", "between"]);
    assert_eq!(pin_of(&bob)?, third["pin"]);
    bob.send("alice", "still here")?;
    carol.send("alice", "me too")?;
    assert_eq!(texts(&alice.receive()?), ["still here", "me too"]);
    User::new("bob")?.try_log_in(&first, &[])?.expect_code(0)?;
    let wrong = User::new("bob")?;
    wrong.set_password("another Password 77 altogether")?;
    wrong.try_log_in(third["link"].as_str().unwrap_or_default(), &[])?.expect_code(6)?;
    Ok(())
}

#[test]
fn a_key_that_nobody_vouches_for_is_a_hard_stop() -> Result<()> {
    let mut server = Server::start(Database::Sqlite)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    server.stop()?;
    let sealed = server.folder().join("secrets.sealed");
    let before = fs::read(&sealed)?;

    // Somebody put other keys in its place.
    let other = Server::set_up(Database::Sqlite, "open")?;
    fs::copy(other.folder().join("secrets.sealed"), &sealed)?;
    server.restart()?;
    let refused = alice.run(&["send", "bob", "hello?"])?.expect_code(3)?;
    ensure!(refused.error()?.contains("its key is another"), "{}", refused.stderr);
    server.stop()?;

    // The old key after the new one was seen, whoever brought it back.
    fs::write(&sealed, &before)?;
    rotate(&server)?;
    let after = fs::read(&sealed)?;
    server.restart()?;
    alice.send("bob", "with the new key")?;
    server.stop()?;
    fs::write(&sealed, &before)?;
    server.restart()?;
    let refused = alice.run(&["send", "bob", "with the old key"])?.expect_code(3)?;
    ensure!(refused.error()?.contains("its key is another"), "{}", refused.stderr);
    server.stop()?;

    fs::write(&sealed, &after)?;
    server.restart()?;
    assert_eq!(texts(&bob.receive()?), ["with the new key"]);
    Ok(())
}

#[test]
fn an_impostor_cannot_vouch_for_itself() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let alice = User::sign_up(server.link(), "alice")?;
    let pem = fs::read(server.folder().join("identity.crt"))?;
    let known = ServerCertificate::read(&waxwing_tests::certificate(&pem)?)?;
    // The server's own key, as if it had signed; what the impostor can make is its own signature alone.
    let impostor = Impostor::claiming(KeyStatement { key: known.key, signature: Vec::new() })?;
    let link = link_with_port(server.link(), impostor.port())?;
    let refused = alice.run(&["ping", &link])?.expect_code(3)?;
    ensure!(refused.error()?.contains("its key is another"), "{}", refused.stderr);
    assert_eq!(impostor.met()?, Met { shook_hands: false, told: 0 });
    // To whoever takes the impostor for the server itself, its history is still a lie.
    let refused = alice.run(&["ping", &impostor.link()])?.expect_code(3)?;
    ensure!(refused.error()?.contains("former keys do not hold"), "{}", refused.stderr);
    assert_eq!(impostor.met()?, Met { shook_hands: false, told: 0 });
    Ok(())
}

/// Whoever is connected connects again and follows; nobody is refused meanwhile, and nothing is lost.
fn a_running_server_takes_a_new_key(database: Database) -> Result<()> {
    let mut server = Server::start_with(database, "invite")?;
    let invited = |server: &Server| -> Result<String> {
        let invite = server.operate(&["invite", "create"])?.expect_code(0)?.json()?;
        Ok(invite["link"].as_str().context("no link")?.to_owned())
    };
    let alice = User::sign_up(&invited(&server)?, "alice")?;
    let bob = User::sign_up(&invited(&server)?, "bob")?;
    alice.send("bob", "before")?;
    assert_eq!(texts(&bob.receive()?), ["before"]);
    let mut listening = bob.follow()?;
    alice.send("bob", "with the old key")?;
    assert_eq!(listening.message()?["text"], "with the old key");

    let rotated = rotate(&server)?;
    assert_eq!(rotated["in_use"], true, "{rotated}");
    server.wait_for_log("the server has a new key")?;
    alice.send("bob", "with the new key")?;
    assert_eq!(listening.message()?["text"], "with the new key");
    listening.stop()?;
    for user in [&alice, &bob] {
        assert_eq!(pin_of(user)?, rotated["pin"]);
    }
    // New invites name it, the doctor finds it at the address, and a restart changes nothing.
    let invite = invited(&server)?;
    assert_eq!(invite.parse::<Link>()?.pin.to_string(), rotated["pin"]);
    User::sign_up(&invite, "carol")?;
    server.operate(&["doctor"])?.expect_code(0)?;
    server.restart()?;
    bob.send("alice", "after a restart")?;
    assert_eq!(texts(&alice.receive()?), ["after a restart"]);
    assert_eq!(pin_of(&alice)?, rotated["pin"]);
    Ok(())
}

#[test]
fn a_rotation_may_be_killed_at_any_time() -> Result<()> {
    let mut server = Server::start(Database::Sqlite)?;
    let alice = User::sign_up(server.link(), "alice")?;
    let before = fs::read(server.folder().join("secrets.sealed"))?;
    for (round, milliseconds) in [0, 40, 80, 160, 320, 640].into_iter().enumerate() {
        let running = Running::start(&mut server.command("rotate-key")?)?;
        // Over before that, perhaps; else dropping it kills it.
        let _ = running.end(Duration::from_millis(milliseconds));
        run_with_deadline(&mut server.command("check")?, DEADLINE)?.expect_code(0)?;
        // Beside a running server, and while there is none.
        if round == 2 {
            server.stop()?;
        }
    }
    rotate(&server)?;
    ensure!(fs::read(server.folder().join("secrets.sealed"))? != before, "nothing was rotated");
    server.restart()?;
    alice.run(&["receive"])?.expect_code(0)?;
    let link = fs::read_to_string(server.folder().join("link.txt"))?;
    assert_eq!(pin_of(&alice)?, link.trim().parse::<Link>()?.pin.to_string());
    Ok(())
}
