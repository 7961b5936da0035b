//! What is true for half of a group only: a commit of which everybody is shown another, the welcome of a commit that never was.

use crate::{
    members::history,
    rogue::{ID, Rogue},
    server::Server,
};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use waxwing_protocol::{Bytes, Entry, EntryBody, InboxItem, InboxNotice, Page};
use waxwing_tests::{User, texts};

/// That this, kinds and texts, stands in the group for this user, beside what merely happened.
fn assert_shown(user: &User, expected: &[(&str, &str)]) -> Result<()> {
    let all = history(user)?;
    let word = |message: &'_ Value, name: &str| message[name].as_str().unwrap_or_default().to_owned();
    let shown = all.iter().filter(|message| message["kind"] != "notice");
    let shown: Vec<_> = shown.map(|message| (word(message, "kind"), word(message, "text"))).collect();
    let shown: Vec<_> = shown.iter().map(|(kind, text)| (kind.as_str(), text.as_str())).collect();
    assert_eq!(shown, expected, "{}", user.name());
    Ok(())
}

#[test]
fn a_commit_of_which_each_half_is_shown_another_is_seen_by_both() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let mut rogue = Rogue::new(&server)?;
    rogue.say(1, 1, "before")?;
    for one in [&alice, &bob] {
        assert_eq!(texts(&one.receive()?).last().context("a message")?, "before");
    }
    // A member makes two commits of one epoch, and the server, which has a part in it, shows one of them to Bob alone.
    let (honest, other) = (rogue.new_keys()?, rogue.new_keys()?);
    rogue.append_commit(1, honest.clone())?;
    let bobs = server.only_device("bob")?;
    server.lies.page.tell(move |(device, _), page| {
        page.map(|mut page| {
            for entry in &mut page.entries {
                if let (true, EntryBody::Commit(commit)) = (*device == bobs, &mut entry.body)
                    && commit.0 == honest
                {
                    *commit = other.clone().into();
                }
            }
            page
        })
    });
    alice.receive_now()?;
    bob.receive_now()?;
    alice.send("Birds", "to one half")?;
    bob.receive()?;
    bob.send("Birds", "from the other half")?;
    alice.receive()?;
    // Nobody reads across, and each of them sees that there was something.
    assert_shown(&bob, &[("text", "before"), ("unreadable", ""), ("text", "from the other half")])?;
    assert_shown(&alice, &[("text", "before"), ("text", "to one half"), ("unreadable", "")])?;
    alice.send("bob", "do you read Birds?")?;
    assert_eq!(texts(&bob.receive()?).last().context("a message")?, "do you read Birds?");

    // Who is let in anew reads again.
    server.lies.page.end();
    alice.run(&["group", "remove", "Birds", "bob"])?.expect_code(0)?;
    alice.run(&["group", "invite", "Birds", "bob"])?.expect_code(0)?;
    bob.receive_now()?;
    alice.send("Birds", "in one piece")?;
    assert_eq!(texts(&bob.receive()?).last().context("a message")?, "in one piece");
    bob.send("Birds", "yes")?;
    assert_eq!(texts(&alice.receive()?).last().context("a message")?, "yes");
    Ok(())
}

#[test]
fn the_welcome_of_a_commit_that_lost_opens_nothing() -> Result<()> {
    let server = Server::start()?;
    let user = |name| User::sign_up(server.link(), name);
    let (alice, bob, carol) = (user("alice")?, user("bob")?, user("carol")?);
    let mut rogue = Rogue::new(&server)?;
    rogue.say(1, 1, "before")?;
    let welcome: Bytes = rogue.welcome_for("carol")?.into();
    // Another commit takes the place of the one that the welcome belongs to; the server hands the welcome out all the same,
    // and the log of those who are in the group.
    let won = rogue.new_keys()?;
    rogue.append_commit(1, won)?;
    alice.receive_now()?;
    alice.send("Birds", "not for carol")?;
    let (carols, bobs) = (server.only_device("carol")?, server.only_device("bob")?);
    let log: Vec<Entry> = server.fetch(bobs, ID, 1)?;
    let head = log.last().context("an entry")?.seq;
    server.lies.inbox.tell(move |(device, after), mut items| {
        if *device == carols && *after < 1000 {
            let notice = InboxNotice::Welcome { conversation: ID, seq: 3, commits: 2, payload: welcome.clone() };
            items.push(InboxItem { seq: 1000, notice });
        }
        items
    });
    server.lies.page.tell(move |(device, after), page| match *device == carols && page.is_none() {
        true => {
            let entries = log.iter().filter(|entry| entry.seq > *after).cloned().collect();
            Some(Page { entries, head, tail: 1, commits: 2, sent: 0 })
        }
        false => page,
    });
    // She reads nothing of it, sees that there was something, and that she is not in it.
    ensure!(!carol.run(&["receive"])?.expect_code(0)?.stdout.contains("not for carol"));
    assert_shown(&carol, &[("unreadable", "")])?;
    let chats = carol.run(&["chats"])?.expect_code(0)?.json_lines()?;
    assert_eq!(chats[0]["over"], true, "{chats:?}");
    alice.send("carol", "elsewhere")?;
    assert_eq!(texts(&carol.receive()?).last().context("a message")?, "elsewhere");
    bob.receive()?;
    assert_shown(&bob, &[("text", "before"), ("text", "not for carol")])
}
