//! Identities and device lists: what was pinned stays, and nothing leaves for whoever shows something else.

use crate::{forger::Forger, server::Server};
use anyhow::{Result, ensure};
use waxwing_e2ee::account::{DeviceList, IdentityPublicKey};
use waxwing_protocol::AccountRecord;
use waxwing_tests::{Outcome, User, texts};

/// Says this of one account.
fn claim(server: &Server, username: &str, record: AccountRecord) {
    let username = username.to_owned();
    server.lies.account.tell(move |asked, honest| match asked.as_str() == username {
        true => Some(record.clone()),
        false => honest,
    });
}

/// Sends to Bob while the server lies: refused as untrusted, and nothing reaches the server.
fn send_is_refused(server: &Server, alice: &User, text: &str) -> Result<Outcome> {
    let before = server.changes();
    let outcome = alice.run(&["send", "bob", text])?.expect_code(4)?;
    assert_eq!(server.changes(), before, "something was sent");
    assert_eq!(serde_json::from_str::<serde_json::Value>(outcome.stderr.trim())?["error"]["kind"], "untrusted");
    Ok(outcome)
}

#[test]
fn a_swapped_identity_is_noticed_and_what_was_held_goes_out_once_the_true_one_is_back() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "before")?;
    let mallory = Forger::new("bob");
    claim(&server, "bob", mallory.record(mallory.list(vec![mallory.device()])));
    for text in ["held 1", "held 2"] {
        let refused = send_is_refused(&server, &alice, text)?;
        ensure!(refused.error()?.contains("identity"), "it does not say why: {}", refused.stderr);
    }
    let chats = alice.run(&["chats"])?.expect_code(0)?.json_lines()?;
    assert_eq!(chats[0]["identity_changed"], true);
    assert_eq!(texts(&bob.receive()?), ["before"]);

    server.lies.account.end();
    alice.send("bob", "after")?;
    assert_eq!(texts(&bob.receive()?), ["held 1", "held 2", "after"]);
    assert_eq!(alice.run(&["chats"])?.expect_code(0)?.json_lines()?[0]["identity_changed"], false);
    Ok(())
}

#[test]
fn a_verified_contact_is_sent_nothing_until_its_new_identity_was_compared() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "before")?;
    assert_eq!(texts(&bob.receive()?), ["before"]);
    alice.run(&["verify", "bob", "--confirm"])?.expect_code(0)?;
    let mallory = Forger::new("bob");
    claim(&server, "bob", mallory.record(mallory.list(vec![mallory.device()])));
    send_is_refused(&server, &alice, "held")?;
    // Neither a look nor a mere yes lets it go.
    alice.run(&["verify", "bob"])?.expect_code(0)?;
    let refused = alice.run(&["trust", "bob", "--yes"])?.expect_code(4)?;
    ensure!(refused.error()?.contains("verified"), "{}", refused.stderr);
    send_is_refused(&server, &alice, "held, too")?;
    assert_eq!(alice.run(&["trust", "bob", "--compared"])?.expect_code(0)?.json()?["verification"], "verified");
    ensure!(bob.receive_now()?.is_empty(), "what was written for another identity reached the old one");
    Ok(())
}

#[test]
fn a_swapped_identity_of_our_own_stops_a_new_chat() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let mallory = Forger::new("alice");
    claim(&server, "alice", mallory.record(mallory.list(vec![mallory.device()])));
    send_is_refused(&server, &alice, "held")?;
    server.lies.account.end();
    alice.send("bob", "after")?;
    assert_eq!(texts(&bob.receive()?), ["held", "after"]);
    Ok(())
}

#[test]
fn an_older_device_list_is_a_rollback() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let older = server.account("bob")?;
    User::new("bob")?.try_log_in(server.link(), &[])?.expect_code(0)?;
    alice.send("bob", "before")?;
    claim(&server, "bob", older);
    let refused = send_is_refused(&server, &alice, "held")?;
    ensure!(refused.error()?.contains("went back"), "it does not say why: {}", refused.stderr);
    server.lies.account.end();
    alice.send("bob", "after")?;
    assert_eq!(texts(&bob.receive()?), ["before", "held", "after"]);
    Ok(())
}

#[test]
fn an_older_device_list_of_our_own_is_a_rollback() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let carol = User::sign_up(server.link(), "carol")?;
    let older = server.account("alice")?;
    User::new("alice")?.try_log_in(server.link(), &[])?.expect_code(0)?;
    alice.send("carol", "now the newer list is known")?;
    claim(&server, "alice", older);
    let refused = send_is_refused(&server, &alice, "held")?;
    ensure!(refused.error()?.contains("went back"), "it does not say why: {}", refused.stderr);
    server.lies.account.end();
    alice.send("bob", "after")?;
    assert_eq!(texts(&bob.receive()?), ["held", "after"]);
    assert_eq!(carol.receive()?.len(), 1);
    Ok(())
}

#[test]
fn a_ghost_device_that_the_identity_did_not_sign_is_refused() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let honest = server.account("bob")?;
    let ghost = Forger::new("bob");
    let key = IdentityPublicKey::from_der(&honest.identity_key.0)?;
    let known = DeviceList::verify(&honest.device_list.0, &key, "bob")?;
    let haunted = known.list.successor(&known.hash, [&known.list.devices[..], &[ghost.device()]].concat());
    let by_another = ghost.sign(&haunted);
    // The genuine signature, under a list that it was not made for.
    let mut unsigned = by_another.clone();
    let signature = unsigned.0.len() - 384;
    unsigned.0[signature..].copy_from_slice(&honest.device_list.0[honest.device_list.0.len() - 384..]);
    let mut cut = honest.device_list.clone();
    cut.0.pop();
    let lists = [by_another, unsigned, cut, vec![0; 400].into(), Vec::new().into()];
    let mut held: Vec<String> = Vec::new();
    for phase in ["at first contact", "later"] {
        for (number, list) in lists.iter().enumerate() {
            claim(&server, "bob", AccountRecord { device_list: list.clone(), ..honest.clone() });
            let text = format!("{phase} {number}");
            send_is_refused(&server, &alice, &text)?;
            held.push(text);
        }
        server.lies.account.end();
        alice.send("bob", phase)?;
        let received = texts(&bob.receive()?);
        // What was refused before the chat existed may be gone: its sender was told so.
        assert_eq!(received.last().map(String::as_str), Some(phase));
        assert!(received.iter().all(|text| text == phase || held.contains(text)), "{received:?}");
    }
    Ok(())
}

#[test]
fn two_lists_of_one_version_and_a_broken_chain_are_refused() -> Result<()> {
    let server = Server::start()?;
    let alice = User::sign_up(server.link(), "alice")?;
    let (bob, ghost) = (Forger::new("bob"), Forger::new("bob"));
    bob.sign_up(&server)?;
    alice.send("bob", "before")?;
    let both = vec![bob.device(), ghost.device()];
    let fork = bob.list(both.clone());
    let first = DeviceList::first("bob", bob.device());
    let broken = bob.sign(&first.successor(&[7; 32], both));
    for (list, word) in [(fork, "two different"), (broken, "does not continue")] {
        claim(&server, "bob", bob.record(list));
        let refused = send_is_refused(&server, &alice, "held")?;
        ensure!(refused.error()?.contains(word), "it does not say why: {}", refused.stderr);
    }
    server.lies.account.end();
    let before = server.changes();
    alice.send("bob", "after")?;
    assert_eq!(server.changes() - before, 3, "two held messages and the new one");
    Ok(())
}

#[test]
fn another_users_record_is_not_taken() -> Result<()> {
    let server = Server::start()?;
    let alice = User::sign_up(server.link(), "alice")?;
    let (bob, mallory) = (Forger::new("bob"), Forger::new("mallory"));
    bob.sign_up(&server)?;
    mallory.sign_up(&server)?;
    let theirs = mallory.record(mallory.list(vec![mallory.device()]));
    claim(&server, "bob", theirs.clone());
    send_is_refused(&server, &alice, "no")?;
    // Under his name: the list inside still names another.
    claim(&server, "bob", AccountRecord { username: "bob".parse()?, ..theirs });
    send_is_refused(&server, &alice, "no")?;
    server.lies.account.end();
    alice.send("bob", "yes").map(drop)
}
