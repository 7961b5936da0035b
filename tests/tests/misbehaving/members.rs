//! Members whose program keeps to no rules, over an honest server: what they may not do is refused by all others alike, who see
//! that something was, and go on.

use crate::{
    forger::{SUITE, capabilities},
    rogue::{ID, Rogue, said},
    server::Server,
};
use anyhow::{Context, Result, ensure};
use openmls::prelude::{
    LeafNodeIndex, LeafNodeParameters, MlsGroup, MlsMessageBodyIn, MlsMessageIn, ProcessedMessageContent,
    tls_codec::{Deserialize as _, Serialize as _},
};
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider as _;
use serde_json::Value;
use waxwing_e2ee::{
    content::{self, Body, Change, Target},
    mls::{About, GroupRules, JoinKey, Kind, Participant, Role},
};
use waxwing_protocol::{Bytes, Entry, EntryBody};
use waxwing_server::store::{AppendBody, Join};
use waxwing_tests::{User, texts};

pub(crate) fn group(user: &User) -> Result<Value> {
    user.run(&["group", "show", "Birds"])?.expect_code(0)?.json()
}

pub(crate) fn history(user: &User) -> Result<Vec<Value>> {
    user.history("Birds")
}

#[test]
fn a_member_who_is_no_admin_changes_nothing_for_anybody() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let mut rogue = Rogue::new(&server)?;
    rogue.say(1, 1, "before")?;
    for one in [&alice, &bob] {
        assert_eq!(texts(&one.receive()?).last().context("a message")?, "before");
    }
    let hers = alice.send("Birds", "mine")?;
    rogue.number = 1;

    // Renames, makes itself an admin, puts the admin out, deletes what she wrote.
    let about = About { name: "Vultures".into(), ..rogue.rules.about().cloned().unwrap_or_default() };
    let own = |one: &Participant| match one.username.as_str() {
        "mallory" => Participant { role: Role::Admin, ..one.clone() },
        _ => one.clone(),
    };
    let people = rogue.rules.participants().to_vec();
    let key = || JoinKey::from_bytes([7; 32]);
    let renamed = GroupRules::group(Kind::Group, about, people.clone(), key())?;
    let promoted = rogue.rules.about().cloned().unwrap_or_default();
    let promoted = GroupRules::group(Kind::Group, promoted, people.iter().map(own).collect(), key())?;
    rogue.commit(1, |rogue| rogue.amend(&renamed))?;
    rogue.commit(2, |rogue| rogue.amend(&promoted))?;
    rogue.commit(3, |rogue| {
        let (commit, ..) =
            rogue.group.remove_members(&rogue.provider, rogue.forger.signer(), &[LeafNodeIndex::new(1)])?;
        Ok(commit.tls_serialize_detached()?)
    })?;
    let id = hers["id"].as_str().context("an id")?;
    let bytes: Vec<u8> = (0..16).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16)).collect::<Result<_, _>>()?;
    let target = Target { author: "alice".into(), id: bytes.try_into().expect("16 bytes") };
    rogue.write(4, &content::encode(&said(2, Body::Change(Change::Delete(target.clone()))))?)?;
    rogue.write(4, &content::encode(&said(3, Body::Change(Change::Edit { id: target.id, text: "theirs".into() })))?)?;
    rogue.say(4, 4, "after")?;

    for one in [&alice, &bob] {
        one.receive()?;
        let shown = group(one)?;
        assert_eq!((&shown["title"], &shown["topic"]), (&"Birds".into(), &"".into()), "{}", one.name());
        let admins = shown["members"].as_array().context("members")?.iter().map(|member| member["admin"] == true);
        assert_eq!(admins.collect::<Vec<_>>(), [true, false, false], "{}", one.name());
        let all = history(one)?;
        let said: Vec<String> = texts(&all.iter().filter(|one| one["kind"] == "text").cloned().collect::<Vec<_>>());
        assert_eq!(said, ["before", "mine", "after"], "{}", one.name());
        // That something was refused is to be seen, each time.
        let marks = all.iter().filter(|message| message["kind"] == "unreadable").count();
        assert_eq!(marks, 3, "{all:?}");
    }
    // They go on, and put it out.
    alice.run(&["group", "remove", "Birds", "mallory"])?.expect_code(0)?;
    bob.receive_now()?;
    alice.send("Birds", "rid of it")?;
    assert_eq!(texts(&bob.receive()?).last().context("a message")?, "rid of it");
    ensure!(rogue.say(5, 5, "still here").is_err(), "who was put out writes no more");
    Ok(())
}

#[test]
fn who_was_put_out_reads_nothing_more_and_comes_in_by_nothing_it_has_kept() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let mut rogue = Rogue::new(&server)?;
    rogue.say(1, 1, "before")?;
    assert_eq!(texts(&alice.receive()?).last().context("a message")?, "before");
    bob.receive_now()?;
    // All that lets anybody in, as it was while it was a member.
    let crypto = rogue.provider.crypto();
    let kept = rogue.group.export_group_info(crypto, rogue.forger.signer(), true)?.tls_serialize_detached()?;
    alice.run(&["group", "remove", "Birds", "mallory"])?.expect_code(0)?;
    alice.send("Birds", "not for mallory")?;

    let device = server.only_device("bob")?;
    // Whatever it can get hold of, from the server itself say, in whichever order it tries.
    let log: Vec<Vec<u8>> = server
        .fetch(device, ID, 2)?
        .into_iter()
        .filter_map(|entry| match entry.body {
            EntryBody::Application(bytes) | EntryBody::Commit(bytes) => Some(bytes.0),
            EntryBody::Own { .. } => None,
        })
        .collect();
    ensure!(log.len() >= 2, "the removal and the message");
    for _ in 0..2 {
        for bytes in log.iter().rev().chain(&log) {
            let message = MlsMessageIn::tls_deserialize_exact(bytes)?.try_into_protocol_message()?;
            match rogue.group.process_message(&rogue.provider, message).map(|read| read.into_content()) {
                Ok(ProcessedMessageContent::StagedCommitMessage(commit)) => {
                    rogue.group.merge_staged_commit(&rogue.provider, *commit)?;
                }
                Ok(other) => anyhow::bail!("who was put out reads {other:?}"),
                Err(_) => {}
            }
        }
    }
    ensure!(rogue.say(2, 9, "still here").is_err(), "who was put out writes no more");

    // It lets itself in with what it has kept: the server refuses, for its account is out.
    let MlsMessageBodyIn::GroupInfo(info) = MlsMessageIn::tls_deserialize_exact(&kept)?.extract() else {
        anyhow::bail!("no state of a group")
    };
    let provider = OpenMlsRustCrypto::default();
    let (_, bundle) = MlsGroup::external_commit_builder()
        .skip_lifetime_validation()
        .build_group(&provider, info, rogue.forger.credential())?
        .leaf_node_parameters(LeafNodeParameters::builder().with_capabilities(capabilities(SUITE)).build())
        .load_psks(provider.storage())?
        .build(provider.rand(), provider.crypto(), rogue.forger.signer(), |_| true)?
        .finalize(&provider)?;
    let commit: Bytes = bundle.into_commit().tls_serialize_detached()?.into();
    rogue.number = 0;
    for commits in 1..4 {
        let join = Join { commit: commit.clone(), group_info: None };
        ensure!(rogue.append(commits, AppendBody::Join(join)).is_err(), "it is in again");
        rogue.number = 0;
    }
    // Nor would the members, had the server a part in it: their state is another one since.
    let next = server.fetch(device, ID, 2)?.last().context("an entry")?.seq + 1;
    server.lies.page.tell(move |_, page| {
        page.map(|mut page| {
            let here = page.entries.iter().any(|entry| matches!(entry.body, EntryBody::Commit(_)));
            if here && page.head + 1 == next {
                page.entries.push(Entry { seq: next, time_ms: 1, body: EntryBody::Commit(commit.clone()) });
                (page.head, page.commits) = (next, page.commits + 1);
            }
            page
        })
    });
    bob.receive_now()?;
    let shown: Vec<Value> = history(&bob)?.into_iter().filter(|one| one["kind"] != "notice").collect();
    assert_eq!(texts(&shown)[..2], ["before", "not for mallory"]);
    assert_eq!(shown.last().context("a mark")?["kind"], "unreadable", "{shown:?}");
    let members = group(&bob)?["members"].as_array().context("members")?.len();
    assert_eq!(members, 2);
    Ok(())
}

#[test]
fn what_nobody_understands_is_told_in_its_chat_alone() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let mut rogue = Rogue::new(&server)?;
    let mut newer = content::encode(&said(9, Body::Text("x".to_owned())))?.to_vec();
    // Behind the id and the time stands the kind.
    let id = newer.windows(16).position(|bytes| bytes == [9; 16]).context("the id")?;
    ensure!(newer[id + 17] == 1, "the kind of a text");
    newer[id + 17] = 23;
    rogue.write(1, &newer)?;
    rogue.write(1, b"no content at all")?;
    rogue.append(1, AppendBody::Application(vec![0xff; 300].into()))?;
    rogue.say(1, 2, "understood")?;
    alice.send("bob", "elsewhere")?;
    for one in [&alice, &bob] {
        one.receive_now()?;
        let kinds: Vec<_> =
            history(one)?.iter().map(|one| one["kind"].as_str().unwrap_or_default().to_owned()).collect();
        let kinds: Vec<_> = kinds.iter().filter(|kind| *kind != "notice").map(String::as_str).collect();
        assert_eq!(kinds, ["unknown", "unreadable", "unreadable", "text"], "{}", one.name());
    }
    assert_eq!(texts(&bob.history("alice")?), ["elsewhere"]);
    bob.send("Birds", "all is well")?;
    assert_eq!(texts(&alice.receive()?).last().context("a message")?, "all is well");
    Ok(())
}

#[test]
fn a_room_without_a_state_to_come_in_by_lets_newcomers_in_when_somebody_is_there() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.run(&["room", "join", "#birds"])?.expect_code(0)?;
    // As it is where more than fifty devices are in a room.
    server.lies.group_info.tell(|_, info| info.map(|info| waxwing_protocol::GroupInfo { sealed: None, ..info }));
    let refused = bob.run(&["room", "join", "#birds"])?.expect_code(3)?;
    ensure!(refused.error()?.contains("has to be online to let it in"), "{}", refused.stderr);
    let follow = alice.follow()?;
    bob.run(&["room", "join", "#birds"])?.expect_code(0)?;
    bob.send("#birds", "here at last")?;
    follow.stop()?;
    ensure!(texts(&alice.history("#birds")?).contains(&"here at last".to_owned()));
    Ok(())
}
