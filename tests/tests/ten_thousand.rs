//! Ten thousand messages between two clients: in order, none lost, none doubled.

use anyhow::{Context, Result, ensure};
use std::time::Duration;
use waxwing_tests::{Database, Server, User, on_both_databases, texts};

/// One way; the same number goes back.
const MESSAGES: usize = 5_000;
const PATIENCE: Duration = Duration::from_secs(240);

on_both_databases!(ten_thousand_messages);

fn ten_thousand_messages(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    stream(&alice, &bob)?;
    stream(&bob, &alice)?;
    let wanted: Vec<String> = said_by("alice").chain(said_by("bob")).collect();
    for (user, other) in [(&alice, "bob"), (&bob, "alice")] {
        let history = texts(&user.history(other)?);
        ensure!(history == wanted, "{}'s history differs at {:?}", user.name(), first_difference(&history, &wanted));
        ensure!(user.receive_now()?.is_empty(), "a message came twice");
    }
    Ok(())
}

fn said_by(name: &str) -> impl Iterator<Item = String> {
    (1..=MESSAGES).map(move |number| format!("{name} says {number}"))
}

fn stream(from: &User, to: &User) -> Result<()> {
    let mut follow = to.follow()?;
    let mut chat = from.chat(to.name())?;
    std::thread::scope(|scope| {
        let typing = scope.spawn(move || -> Result<()> {
            said_by(from.name()).try_for_each(|text| chat.say(&text))?;
            chat.leave(PATIENCE).map(drop)
        });
        let mut seq = 0;
        for wanted in said_by(from.name()) {
            let message = follow.message().with_context(|| format!("waiting for {wanted:?}"))?;
            ensure!(message["text"] == wanted.as_str(), "{} came instead of {wanted:?}", message["text"]);
            let next = message["seq"].as_u64().context("a seq")?;
            ensure!(next > seq, "seq {next} after {seq}");
            seq = next;
        }
        typing.join().map_err(|_| anyhow::anyhow!("the typing thread failed"))?
    })?;
    follow.stop()
}

fn first_difference(history: &[String], wanted: &[String]) -> Option<(usize, Option<String>)> {
    let length = history.len().max(wanted.len());
    (0..length).find(|at| history.get(*at) != wanted.get(*at)).map(|at| (at, history.get(at).cloned()))
}
