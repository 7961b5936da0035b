//! A text that nobody but its two readers may ever hold is looked for everywhere else.

use anyhow::{Result, ensure};
use std::fs;
use waxwing_tests::{Database, PASSWORD, Server, User, files, on_both_databases, texts};

const CANARY: &str = "canary-4f1c9e-yellow-bird-in-the-mine";

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
    let running = server.stored()?;
    server.stop()?;
    alice.run(&["send", "bob", &format!("{CANARY} queued"), "--offline-ok"])?.expect_code(0)?;
    let stopped = server.stored()?;

    let secrets = [CANARY, PASSWORD, "Canary Fullname", "canary-address", &recovery_code];
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
    Ok(())
}
