//! Two people begin their chat in the same moment: it becomes one chat, with both first messages in one order.

use anyhow::{Result, ensure};
use std::thread;
use waxwing_tests::{Database, Server, User, on_both_databases, texts};

on_both_databases!(both_first_messages_arrive);

fn both_first_messages_arrive(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    // More than once, since the two do not always collide.
    for round in 0..4 {
        let alice = User::sign_up(server.link(), &format!("alice{round}"))?;
        let bob = User::sign_up(server.link(), &format!("bob{round}"))?;
        let (from_alice, from_bob) = thread::scope(|scope| {
            let first = scope.spawn(|| alice.send(bob.name(), "from alice"));
            let second = bob.send(alice.name(), "from bob");
            (first.join(), second)
        });
        from_alice.map_err(|_| anyhow::anyhow!("alice's thread failed"))??;
        from_bob?;

        // Either may have come already, while the other was being sent.
        alice.receive_now()?;
        bob.receive_now()?;
        alice.send(bob.name(), "and on")?;
        ensure!(texts(&bob.receive()?).ends_with(&["and on".to_owned()]), "the chat does not go on");
        bob.send(alice.name(), "and back")?;
        ensure!(texts(&alice.receive()?).ends_with(&["and back".to_owned()]), "the chat does not come back");

        let (history, other) = (texts(&alice.history(bob.name())?), texts(&bob.history(alice.name())?));
        assert_eq!(history, other, "round {round}: both see one order");
        let mut sorted = history;
        sorted.sort();
        assert_eq!(sorted, ["and back", "and on", "from alice", "from bob"], "round {round}");
    }
    Ok(())
}
