//! A server that shows two users different logs, each without a gap: what they write to each other tells on it.

use crate::{
    log::{alice_and_bob, be_honest, change_pages, numbered, shown},
    server::Server,
};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use waxwing_tests::{DEADLINE, User, run_with_deadline};

/// What this device has noticed, in the order of the messages around it.
fn kinds(messages: &[Value]) -> Vec<&str> {
    messages.iter().filter_map(|message| message["kind"].as_str()).collect()
}

fn notice(messages: &[Value]) -> Result<&str> {
    let notice = messages.iter().find(|message| message["kind"] == "notice").context("nothing was noticed")?;
    notice["reason"].as_str().context("a notice without words")
}

/// What a person reads.
fn plain(user: &User, arguments: &[&str]) -> Result<String> {
    Ok(run_with_deadline(&mut user.command(arguments)?, DEADLINE)?.expect_code(0)?.stdout)
}

fn doubts(user: &User) -> Result<Vec<Value>> {
    let status = user.run(&["status"])?.expect_code(0)?.json()?;
    Ok(status["doubts"].as_array().context("no doubts in the status")?.clone())
}

#[test]
fn an_entry_withheld_and_the_rest_renumbered_is_missed_where_it_was() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    for text in numbered("message", 3) {
        alice.send("bob", &text)?;
    }
    change_pages(&server, |page| {
        let middle = page.entries.len() - 2;
        page.entries.remove(middle);
        page.entries[middle].seq -= 1;
        page.head -= 1;
    });
    let received = bob.receive()?;
    assert_eq!(shown(&received), ["message 1", "message 3"]);
    assert_eq!(kinds(&received), ["text", "notice", "text"], "{received:?}");
    ensure!(notice(&received)?.starts_with("1 message is missing here"), "{received:?}");
    let doubts = doubts(&bob)?;
    assert_eq!(doubts.len(), 1);
    assert_eq!((&doubts[0]["chat"], &doubts[0]["username"]), (&Value::from("alice"), &Value::from("alice")));
    assert_eq!(doubts[0]["missing"], 1);
    let said = plain(&bob, &["status"])?;
    ensure!(said.contains("1 message is missing that alice has"), "{said}");
    let history = plain(&bob, &["history", "alice"])?;
    ensure!(history.contains("1 message is missing here"), "{history}");
    Ok(())
}

#[test]
fn entries_shown_in_another_order_are_noticed_once_and_by_both() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = alice_and_bob(&server)?;
    ensure!(doubts(&alice)?.is_empty() && doubts(&bob)?.is_empty(), "an honest server is doubted");
    for text in numbered("message", 4) {
        alice.send("bob", &text)?;
    }
    change_pages(&server, |page| {
        let last = page.entries.len() - 1;
        if last >= 3 {
            let (one, other) = (page.entries[last - 2].body.clone(), page.entries[last - 3].body.clone());
            (page.entries[last - 3].body, page.entries[last - 2].body) = (one, other);
        }
    });
    let received = bob.receive()?;
    // A key that was passed over is gone: the first is marked where it stands now.
    assert_eq!(shown(&received), ["message 2", "message 3", "message 4"]);
    assert_eq!(received.iter().filter(|message| message["kind"] == "notice").count(), 1, "{received:?}");
    // The second was written by somebody who had seen the first.
    ensure!(notice(&received)?.starts_with("1 message is missing here"), "{received:?}");
    be_honest(&server);
    // What he writes now tells her.
    bob.send("alice", "answer")?;
    let received = alice.receive()?;
    assert_eq!(shown(&received), ["answer"]);
    ensure!(notice(&received)?.contains("the server showed bob another order"), "{received:?}");
    bob.send("alice", "once more")?;
    assert_eq!(kinds(&alice.receive()?), ["text"], "said twice");
    assert_eq!(doubts(&alice)?.len(), 1);
    Ok(())
}
