//! Key packages that are no good: nobody is added by them, and nothing is sent.

use crate::{
    forger::{Forger, SUITE},
    server::Server,
};
use anyhow::{Context, Result, ensure};
use openmls::prelude::{Ciphersuite, Lifetime};
use std::time::{SystemTime, UNIX_EPOCH};
use waxwing_protocol::{Bytes, ClaimedKeyPackage};
use waxwing_tests::{User, texts};

const DAY: u64 = 24 * 3600;

/// Hands these out as Bob's.
fn hand_out(server: &Server, claimed: Vec<ClaimedKeyPackage>) {
    server.lies.key_packages.tell(move |asked, honest| match asked.as_str() {
        "bob" => Some(claimed.clone()),
        _ => honest,
    });
}

#[test]
fn key_packages_that_are_no_good_are_refused_and_nothing_is_sent() -> Result<()> {
    let server = Server::start()?;
    let alice = User::sign_up(server.link(), "alice")?;
    let (bob, mallory) = (Forger::new("bob"), Forger::new("mallory"));
    bob.sign_up(&server)?;
    mallory.sign_up(&server)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let good = || bob.key_package(SUITE, Lifetime::new(DAY));
    let other_suite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;
    let mut flipped = good();
    let middle = flipped.0.len() / 2;
    flipped.0[middle] ^= 1;
    let as_bobs = |package: Bytes| vec![bob.claimed(package)];
    let cases = [
        ("expired", as_bobs(bob.key_package(SUITE, Lifetime::init(now - 2 * DAY, now - DAY)))),
        ("not yet valid", as_bobs(bob.key_package(SUITE, Lifetime::init(now + DAY, now + 2 * DAY)))),
        ("valid for decades", as_bobs(bob.key_package(SUITE, Lifetime::new(20 * 365 * DAY)))),
        ("another suite", as_bobs(bob.key_package(other_suite, Lifetime::new(DAY)))),
        ("a flipped byte", as_bobs(flipped)),
        ("cut short", as_bobs(good().0[..100].to_vec().into())),
        ("nothing", as_bobs(Bytes::default())),
        ("garbage", as_bobs(vec![0xa5; 1500].into())),
        ("of another account", as_bobs(mallory.key_package(SUITE, Lifetime::new(DAY)))),
        ("of a ghost in his name", as_bobs(bob.double().key_package(SUITE, Lifetime::new(DAY)))),
        ("of an unlisted device", as_bobs(Forger::new("bob").key_package(SUITE, Lifetime::new(DAY)))),
        ("the same twice", {
            let package = good();
            vec![bob.claimed(package.clone()), bob.claimed(package)]
        }),
    ];
    let before = server.changes();
    for (what, claimed) in cases {
        hand_out(&server, claimed);
        let refused = alice.run(&["send", "bob", what])?.expect_code(4).context(what)?;
        ensure!(!refused.error()?.is_empty(), "{what}: it does not say why");
        assert_eq!(server.changes(), before, "{what}: something was sent");
    }
    server.lies.key_packages.end();
    alice.send("bob", "after")?;
    assert!(server.changes() >= before + 2, "a conversation and a message");
    Ok(())
}

#[test]
fn key_packages_of_devices_that_are_not_listed_are_left_out() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let ghost = Forger::new("bob");
    let package = ghost.claimed(ghost.key_package(SUITE, Lifetime::new(DAY)));
    hand_out(&server, vec![package.clone()]);
    let before = server.changes();
    let refused = alice.run(&["send", "bob", "no"])?;
    ensure!([3, 4].contains(&refused.code), "{refused:?}");
    assert_eq!(server.changes(), before, "something was sent");

    // Beside the real one: it does not get in, and the chat works.
    server.lies.key_packages.tell(move |asked, honest| match asked.as_str() {
        "bob" => honest.map(|mut claimed| {
            claimed.insert(0, package.clone());
            claimed
        }),
        _ => honest,
    });
    alice.send("bob", "yes")?;
    assert_eq!(texts(&bob.receive()?).last().map(String::as_str), Some("yes"));
    Ok(())
}

#[test]
fn a_reused_key_package_opens_one_chat_only() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let carol = User::sign_up(server.link(), "carol")?;
    hand_out(&server, vec![server.claim("bob")?]);
    alice.send("bob", "from alice")?;
    assert_eq!(texts(&bob.receive()?), ["from alice"]);
    carol.send("bob", "from carol")?;
    ensure!(texts(&bob.receive_now()?).is_empty(), "a second chat was opened with a used key package");
    server.lies.key_packages.end();
    alice.send("bob", "still here")?;
    bob.send("alice", "me too")?;
    assert_eq!(texts(&bob.receive()?), ["still here"]);
    assert_eq!(texts(&alice.receive()?), ["me too"]);
    Ok(())
}
