//! The chat screen as two people use it: the real program in two real pseudo-terminals.

use anyhow::{Result, ensure};
use waxwing_tests::{DEADLINE, Database, Server, Tty, User, texts};

const CTRL_C: &str = "\u{3}";
const CTRL_K: &str = "\u{b}";
const CTRL_U: &str = "\u{15}";
const ALT_A: &str = "\u{1b}a";
const ALT_ENTER: &str = "\u{1b}\r";
const ENTER: &str = "\r";
const PAGE_UP: &str = "\u{1b}[5~";

/// Written by others: sets the title, clears the screen, turns the text around.
const EVIL: &str = "look \u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}here";

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
