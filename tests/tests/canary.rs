//! A text that nobody but its two readers may ever hold is looked for everywhere else.

use anyhow::{Result, ensure};
use std::fs;
use waxwing_tests::{DEADLINE, Database, PASSWORD, Server, Tty, User, files, on_both_databases, texts};

const CANARY: &str = "canary-4f1c9e-yellow-bird-in-the-mine";

/// A picture of one pixel, and how every thumbnail begins.
const PICTURE: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
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
