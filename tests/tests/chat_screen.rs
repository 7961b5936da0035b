//! The chat screen as two people use it: the real program in two real pseudo-terminals.

use anyhow::{Result, ensure};
use std::fs;
use waxwing_tests::{DEADLINE, Database, PICTURE, Server, Tty, User, texts};

const CTRL_C: &str = "\u{3}";
const CTRL_K: &str = "\u{b}";
const CTRL_U: &str = "\u{15}";
const ALT_A: &str = "\u{1b}a";
const ALT_ENTER: &str = "\u{1b}\r";
const ENTER: &str = "\r";
const UP: &str = "\u{1b}[A";
const PAGE_UP: &str = "\u{1b}[5~";

/// Written by others: sets the title, clears the screen, turns the text around.
const EVIL: &str = "look \u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}here";

#[test]
fn pictures_are_sent_seen_and_opened() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let folder = alice.place().join("my pictures");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("lagoon at dusk.gif"), PICTURE)?;
    fs::write(folder.join("notes.txt"), "words")?;
    let settings = bob.place().join(".config/waxwing");
    fs::create_dir_all(&settings)?;
    fs::write(settings.join("config.toml"), "opener = ['cp', '-t', '.']\n")?;

    // Tab completes the path, and sees spaces in it as they are.
    let mut hers = Tty::start(alice.command(&["chat", "bob"])?, 80, 24)?;
    let mut command = bob.command(&["chat", "alice"])?;
    command.current_dir(bob.place());
    let mut his = Tty::start(command, 80, 24)?;
    his.wait_for("Message alice")?;
    hers.wait_for("Message bob")?;
    hers.press("/file ~/my\t")?;
    hers.wait_for("/file ~/my pictures/")?;
    hers.press("\t")?;
    hers.wait_for("lagoon at dusk.gif")?;
    hers.press(ENTER)?;
    for screen in [&mut hers, &mut his] {
        screen.wait_for("▣ lagoon at dusk.gif  1x1,")?;
        screen.wait_until("the picture", |screen| screen.contents().contains('▀'))?;
    }
    hers.wait_for("✓✓")?;

    // What is dropped onto the terminal is a path, and leaves with Enter alone.
    hers.press(&format!("\u{1b}[200~'{}'\u{1b}[201~", folder.join("notes.txt").display()))?;
    hers.wait_for("Enter sends the file")?;
    hers.press(ENTER)?;
    his.wait_for("▤ notes.txt")?;

    // He saves one and opens the other with his own program, which is here one that copies it.
    his.press(&format!("/open 2{ENTER}"))?;
    his.wait_for("Opened")?;
    ensure!(fs::read(bob.place().join("lagoon at dusk.gif"))? == PICTURE);
    ensure!(fs::read(bob.place().join("Downloads/lagoon at dusk.gif"))? == PICTURE);
    his.press(UP)?;
    his.wait_for("S saves")?;
    his.press("s")?;
    his.wait_for("Saved as")?;
    his.wait_for("saved")?;
    ensure!(fs::read_to_string(bob.place().join("Downloads/notes.txt"))? == "words");
    for (screen, text) in [(&mut his, "/play"), (&mut hers, "/open 7")] {
        screen.press(&format!("{text}{ENTER}"))?;
    }
    his.wait_for("there is no recording")?;
    hers.wait_for("there is no such file")?;

    // Without colours there is no picture, but all that is said about it.
    his.press(&format!("{CTRL_U}{CTRL_C}{CTRL_C}"))?;
    his.end(DEADLINE)?.expect_code(0)?;
    let mut command = bob.command(&["chat", "alice"])?;
    command.env("NO_COLOR", "1");
    let mut his = Tty::start(command, 80, 24)?;
    his.wait_for("lagoon at dusk.gif  1x1,")?;
    his.wait_until("no picture", |screen| !screen.contents().contains('▀'))?;
    his.terminate()?;
    hers.terminate()?;
    Ok(())
}

#[test]
fn two_people_talk() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let (alice, bob) = (User::new("alice")?, User::sign_up(server.link(), "bob")?);
    alice.try_sign_up(server.link(), &["--remember", "--requests"])?.expect_code(0)?;

    // The menu has nothing to ask: the screen opens, and says how to begin.
    let mut hers = Tty::start(alice.command(&[])?, 80, 24)?;
    hers.wait_for("Ctrl+K, then a username")?;
    hers.wait_for("● connected")?;
    hers.press(&format!("{CTRL_K}bob{ENTER}"))?;
    hers.wait_for("Message bob")?;

    let mut his = Tty::start(bob.command(&["chat", "alice"])?, 80, 24)?;
    his.wait_for("Message alice")?;
    his.wait_for("encrypted, not verified")?;
    his.press(&format!("/qiut{ENTER}"))?;
    his.wait_for("there is no command /qiut")?;
    his.press(&format!("{CTRL_U}Good morning{ALT_ENTER}to you{ENTER}"))?;
    // He is a stranger to her until she accepts him.
    hers.wait_for("bob, whom you do not know yet")?;
    hers.press(&format!("/accept{ENTER}"))?;
    hers.wait_for("Good morning")?;
    his.wait_for("to you ✓✓")?;
    hers.press(&format!("And to you :rocket\t{ENTER}"))?;
    his.wait_for("And to you 🚀")?;

    // A paste is not a command, nor is what others write.
    hers.press("\u{1b}[200~pasted\nin two lines\u{1b}[201~")?;
    hers.wait_for("in two lines")?;
    hers.press(ENTER)?;
    his.wait_for("in two lines")?;
    alice.send("bob", EVIL)?;
    his.wait_for("look ␛]0;owned␇␛[2Jhere")?;
    hers.wait_for("look ␛]0;owned␇␛[2Jhere")?;

    // What comes elsewhere is counted, and one key away.
    let carol = User::sign_up(server.link(), "carol")?;
    let mut letters = carol.chat("alice")?;
    for number in 1..=40 {
        letters.say(&format!("letter {number} for @alice"))?;
    }
    letters.leave(DEADLINE)?;
    hers.wait_for("carol wants to write to you")?;
    hers.press(&format!("/requests{ENTER}/accept{ENTER}"))?;
    hers.wait_for("letter 40 for @alice")?;
    hers.press(&format!("{CTRL_K}bob{ENTER}"))?;
    hers.wait_for("Message bob")?;
    carol.send("alice", "one more")?;
    hers.wait_for("1 new")?;
    hers.press(ALT_A)?;
    hers.wait_for("one more")?;
    hers.wait_gone("1 new")?;
    hers.press(&PAGE_UP.repeat(4))?;
    hers.wait_for("letter 1 for @alice")?;
    hers.resize(34, 9)?;
    hers.wait_until("a narrow screen", |screen| !screen.contents().contains('│'))?;
    hers.resize(120, 40)?;
    hers.wait_for("bob")?;

    // However it ends, the terminal is given back, and nothing was lost.
    his.terminate()?;
    his.end(DEADLINE)?.expect_code(130)?;
    hers.press(&format!("{CTRL_C}{CTRL_C}"))?;
    hers.end(DEADLINE)?.expect_code(0)?;
    let said = texts(&bob.history("alice")?);
    assert_eq!(said, ["Good morning\nto you", "And to you 🚀", "pasted\nin two lines", EVIL]);
    ensure!(alice.run(&["status"])?.json()?["unread"] == 0, "what was looked at is read");
    Ok(())
}
