//! What an owner does with an account: names and revokes devices, changes the password, recovers it, renews the
//! identity, deletes it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::process::Stdio;
use waxwing_tests::{DEADLINE, Database, Running, Server, User, on_both_databases, texts};

on_both_databases!(
    devices_have_names_that_only_the_account_reads,
    a_revoked_device_is_signed_out_and_gets_nothing_more,
    messages_that_race_a_revocation_reach_all_but_the_revoked_device,
    a_new_password_replaces_the_old_one_and_can_sign_the_others_out,
    a_recovery_code_opens_the_account_once,
    a_mistyped_recovery_code_never_leaves_the_device,
    a_renewed_identity_is_vouched_for,
    a_lost_device_costs_the_identity,
    a_deleted_account_is_gone_and_its_name_too,
);

const NEW_PASSWORD: &str = "copper-Falcon.38 thimble orchard";

/// Somebody with an account, and the recovery code.
fn sign_up(server: &Server, name: &str) -> Result<(User, String)> {
    let user = User::new(name)?;
    let made = user.try_sign_up(server.link(), &["--remember"])?.expect_code(0)?.json()?;
    let code = made["recovery_code"].as_str().context("no recovery code")?.to_owned();
    Ok((user, code))
}

/// A further device.
fn second_device(server: &Server, name: &str, label: &str) -> Result<User> {
    let user = User::new(name)?;
    user.try_log_in(server.link(), &["--remember", "--device-name", label])?.expect_code(0)?;
    Ok(user)
}

fn file(user: &User, name: &str, content: &str) -> Result<String> {
    let path = user.place().join(name);
    fs::write(&path, content)?;
    Ok(path.to_str().context("a path that is no text")?.to_owned())
}

fn devices(user: &User) -> Result<Vec<Value>> {
    user.run(&["devices"])?.expect_code(0)?.json_lines()
}

fn names(devices: &[Value]) -> Vec<&str> {
    devices.iter().filter_map(|device| device["name"].as_str()).collect()
}

fn devices_have_names_that_only_the_account_reads(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (phone, _) = sign_up(&server, "alice")?;
    let laptop = second_device(&server, "alice", "Klabautermann")?;
    let listed = devices(&phone)?;
    assert_eq!(listed.len(), 2);
    ensure!(names(&listed).contains(&"Klabautermann"), "{listed:?}");
    assert_eq!(listed.iter().filter(|device| device["this"] == true).count(), 1);
    phone.run(&["devices", "rename", "Klabautermann", "Fliegender Holländer"])?.expect_code(0)?;
    ensure!(names(&devices(&laptop)?).contains(&"Fliegender Holländer"));
    phone.run(&["devices", "rename", "no such device", "x"])?.expect_code(1)?;
    phone.run(&["devices", "rename", "Fliegender Holländer", ""])?.expect_code(1)?;
    Ok(())
}

fn a_revoked_device_is_signed_out_and_gets_nothing_more(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let ((phone, _), bob) = (sign_up(&server, "alice")?, User::sign_up(server.link(), "bob")?);
    let laptop = second_device(&server, "alice", "laptop")?;
    bob.send("alice", "to both")?;
    assert_eq!(texts(&phone.receive()?), ["to both"]);
    assert_eq!(texts(&laptop.receive()?), ["to both"]);
    let mut open = laptop.follow()?;
    bob.send("alice", "live")?;
    assert_eq!(open.next_texts(1)?, ["live"]);

    let wrong = User::new("alice")?;
    wrong.set_password(NEW_PASSWORD)?;
    let file = wrong.password_file();
    let file = file.to_str().context("a path that is no text")?;
    phone.run(&["devices", "revoke", "laptop", "--password-file", file])?.expect_code(6)?;
    assert_eq!(devices(&phone)?.len(), 2);

    let revoked = phone.run(&["devices", "revoke", "laptop"])?.expect_code(0)?.json()?;
    assert_eq!(revoked["revoked"][0]["name"], "laptop");
    assert_eq!(revoked["out_of_all_chats"], true, "{revoked}");
    // Its open connection ends, and it says why.
    let ended = open.0.end(waxwing_tests::DEADLINE)?;
    assert_eq!(ended.code, 6, "{}", ended.stderr);
    bob.send("alice", "after")?;
    assert_eq!(texts(&phone.receive()?), ["live", "after"]);
    laptop.run(&["receive"])?.expect_code(6)?;
    laptop.run(&["send", "bob", "still here?"])?.expect_code(6)?;
    ensure!(!texts(&laptop.history("bob")?).contains(&"after".to_owned()));
    phone.run(&["devices", "revoke", &devices(&phone)?[0]["id"].as_str().context("no id")?[..8]])?.expect_code(1)?;
    Ok(())
}

/// Both sides write all the time, while a device is signed out. Nothing is lost or doubled, all that stay see the same order,
/// and what was written after the removal was committed the removed device has not.
fn messages_that_race_a_revocation_reach_all_but_the_revoked_device(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (phone, _) = sign_up(&server, "alice")?;
    let bob = User::sign_up(server.link(), "bob")?;
    phone.send("bob", "before")?;
    let mut bob_chat = bob.chat("alice")?;
    let laptop = second_device(&server, "alice", "laptop")?;
    laptop.send("bob", "from the laptop")?;
    bob_chat.wait_for("from the laptop")?;
    let mut laptop_follows = laptop.follow()?;
    let mut phone_chat = phone.chat("bob")?;
    bob_chat.say("to both")?;
    assert_eq!(laptop_follows.next_texts(1)?, ["to both"]);

    let mut said = Vec::new();
    let mut both_say = |text: String| -> Result<()> {
        bob_chat.say(&format!("bob {text}"))?;
        phone_chat.say(&format!("phone {text}"))?;
        said.extend([format!("bob {text}"), format!("phone {text}")]);
        Ok(())
    };
    (0..20).try_for_each(|number| both_say(format!("before {number}")))?;
    let mut revoke = phone.command(&["devices", "revoke", "laptop", "--yes", "--json"])?;
    let revoke = Running::start(revoke.stdin(Stdio::null()))?;
    // As many as go while it runs: it takes about a second, for the password.
    (0..60).try_for_each(|number| both_say(format!("meanwhile {number}")))?;
    let revoked = revoke.end(DEADLINE)?.expect_code(0)?.json()?;
    assert_eq!(revoked["out_of_all_chats"], true);
    (0..20).try_for_each(|number| both_say(format!("after {number}")))?;
    phone_chat.wait_for("bob after 19")?;
    bob_chat.wait_for("phone after 19")?;
    phone_chat.leave(DEADLINE)?;
    bob_chat.leave(DEADLINE)?;
    phone.receive_now()?;
    bob.receive_now()?;

    let lines = |user: &User, chat| -> Result<Vec<(Value, Value)>> {
        let all = user.history(chat)?.into_iter().map(|one| (one["seq"].clone(), one["text"].clone()));
        Ok(all.filter(|(_, text)| text.as_str().is_some_and(|text| said.iter().any(|said| said == text))).collect())
    };
    let (phones, bobs) = (lines(&phone, "bob")?, lines(&bob, "alice")?);
    assert_eq!(phones, bobs, "not the same order");
    assert_eq!(phones.len(), said.len(), "something was lost or doubled");
    laptop_follows.0.end(DEADLINE)?.expect_code(6)?;
    let laptops = texts(&laptop.history("bob")?);
    ensure!(laptops.iter().any(|text| text.contains("before 0")), "it had read nothing at all: {laptops:?}");
    ensure!(!laptops.iter().any(|text| text.contains("after")), "the removed device reads on: {laptops:?}");
    Ok(())
}

fn a_new_password_replaces_the_old_one_and_can_sign_the_others_out(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (phone, code) = sign_up(&server, "alice")?;
    let laptop = second_device(&server, "alice", "laptop")?;
    let new = file(&phone, "new-password", NEW_PASSWORD)?;
    let weak = file(&phone, "weak-password", "password1")?;
    phone.run(&["password", "change", "--new-password-file", &weak])?.expect_code(1)?;
    phone.run(&["password", "change", "--new-password-file", &new])?.expect_code(0)?;
    // The others stay signed in; the old password is worth nothing for anything new.
    laptop.run(&["receive"])?.expect_code(0)?;
    User::new("alice")?.try_log_in(server.link(), &[])?.expect_code(6)?;
    let tablet = User::new("alice")?;
    tablet.set_password(NEW_PASSWORD)?;
    tablet.try_log_in(server.link(), &["--remember"])?.expect_code(0)?;
    // This device is locked with the new one, too.
    phone.run(&["lock"])?.expect_code(0)?;
    phone.run(&["chats"])?.expect_code(6)?;
    phone.set_password(NEW_PASSWORD)?;
    phone.run(&["chats"])?.expect_code(0)?;

    let newest = "quiet-Meadow.52 anvil lantern";
    let newer = file(&phone, "newer-password", newest)?;
    let changed = phone.run(&["password", "change", "--new-password-file", &newer, "--sign-out-others"])?;
    assert_eq!(changed.expect_code(0)?.json()?["signed_out"].as_array().map(Vec::len), Some(2));
    laptop.run(&["receive"])?.expect_code(6)?;
    tablet.run(&["receive"])?.expect_code(6)?;
    phone.set_password(newest)?;
    assert_eq!(devices(&phone)?.len(), 1);
    // The recovery code outlived both changes.
    let rescue = User::new("alice")?;
    let code = file(&rescue, "code", &code)?;
    rescue.run(&["recover", "--server", server.link(), "--username", "alice", "--code-file", &code])?.expect_code(0)?;
    Ok(())
}

fn a_recovery_code_opens_the_account_once(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let ((_, code), bob) = (sign_up(&server, "alice")?, User::sign_up(server.link(), "bob")?);
    let rescue = User::new("alice")?;
    rescue.set_password(NEW_PASSWORD)?;
    let code = file(&rescue, "code", &code)?;
    let arguments = ["recover", "--server", server.link(), "--username", "alice", "--code-file", &code, "--remember"];
    let recovered = rescue.run(&arguments)?.expect_code(0)?.json()?;
    let replaced = recovered["recovery_code"].as_str().context("no new code")?.to_owned();
    rescue.send("bob", "it is me")?;
    assert_eq!(texts(&bob.receive()?), ["it is me"]);
    // The old password and the old code are worth nothing.
    User::new("alice")?.try_log_in(server.link(), &[])?.expect_code(6)?;
    let again = User::new("alice")?;
    let refused = again.run(&arguments)?.expect_code(6)?;
    ensure!(refused.error()?.contains("recovery code"), "it does not say why: {}", refused.stderr);
    let next = file(&again, "code", &replaced)?;
    again.run(&["recover", "--server", server.link(), "--username", "alice", "--code-file", &next])?.expect_code(0)?;
    Ok(())
}

fn a_mistyped_recovery_code_never_leaves_the_device(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let (_, code) = sign_up(&server, "alice")?;
    // Were anything sent, it would fail for want of a server.
    server.stop()?;
    let rescue = User::new("alice")?;
    let other = if code.starts_with('7') { "8" } else { "7" };
    let mistyped = file(&rescue, "code", &format!("{other}{}", &code[1..]))?;
    let arguments = ["recover", "--server", server.link(), "--username", "alice", "--code-file", &mistyped];
    let refused = rescue.run(&arguments)?.expect_code(1)?;
    ensure!(refused.error()?.contains("typing mistake"), "it does not say why: {}", refused.stderr);
    Ok(())
}

fn a_renewed_identity_is_vouched_for(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let ((phone, _), bob) = (sign_up(&server, "alice")?, User::sign_up(server.link(), "bob")?);
    let laptop = second_device(&server, "alice", "laptop")?;
    bob.send("alice", "before")?;
    phone.receive()?;
    laptop.receive()?;
    let before = bob.run(&["verify", "alice", "--confirm"])?.expect_code(0)?.json()?;
    assert_eq!(before["verification"], "verified");
    assert_eq!(phone.run(&["verify", "bob"])?.expect_code(0)?.json()?["safety_number"], before["safety_number"]);

    let identity = phone.run(&["identity", "rotate"])?.expect_code(0)?.json()?["identity"].clone();
    // No alarm: messages go both ways, from and to both devices, in the old chat.
    bob.send("alice", "to the new identity")?;
    assert_eq!(texts(&phone.receive()?), ["to the new identity"]);
    assert_eq!(texts(&laptop.receive()?), ["to the new identity"]);
    laptop.send("bob", "from the other device")?;
    phone.send("bob", "from the new identity")?;
    assert_eq!(texts(&bob.receive()?), ["from the other device", "from the new identity"]);
    // But a contact who had verified the former one is told.
    let after = bob.run(&["verify", "alice"])?.expect_code(0)?.json()?;
    assert_eq!(after["verification"], "renewed");
    assert_eq!(after["fingerprint"], identity);
    ensure!(after["safety_number"] != before["safety_number"], "the safety number did not change");
    assert_eq!(laptop.run(&["verify", "bob"])?.expect_code(0)?.json()?["safety_number"], after["safety_number"]);
    // Whoever comes new, to the account or to a contact, finds everything in order.
    let tablet = second_device(&server, "alice", "tablet")?;
    let carol = User::sign_up(server.link(), "carol")?;
    carol.send("alice", "hello")?;
    for device in [&phone, &laptop, &tablet] {
        assert_eq!(texts(&device.receive()?).last().map(String::as_str), Some("hello"));
    }
    laptop.send("carol", "from a device that the former identity certified")?;
    assert_eq!(texts(&carol.receive()?), ["from a device that the former identity certified"]);
    Ok(())
}

fn a_lost_device_costs_the_identity(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let ((phone, code), bob) = (sign_up(&server, "alice")?, User::sign_up(server.link(), "bob")?);
    let laptop = second_device(&server, "alice", "laptop")?;
    bob.send("alice", "before")?;
    phone.receive()?;
    laptop.receive()?;
    let before = phone.run(&["whoami"])?.expect_code(0)?.json()?["identity"].clone();
    let revoked = phone.run(&["devices", "revoke", "laptop", "--lost"])?.expect_code(0)?.json()?;
    assert_eq!(revoked["identity_renewed"], true);
    ensure!(phone.run(&["whoami"])?.expect_code(0)?.json()?["identity"] != before);
    bob.send("alice", "after")?;
    assert_eq!(texts(&phone.receive()?), ["after"]);
    laptop.run(&["receive"])?.expect_code(6)?;
    // Password and recovery code are still the owner's.
    let tablet = second_device(&server, "alice", "tablet")?;
    assert_eq!(names(&devices(&tablet)?).len(), 2);
    let rescue = User::new("alice")?;
    let code = file(&rescue, "code", &code)?;
    rescue.run(&["recover", "--server", server.link(), "--username", "alice", "--code-file", &code])?.expect_code(0)?;
    Ok(())
}

fn a_deleted_account_is_gone_and_its_name_too(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let ((alice, code), bob) = (sign_up(&server, "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "to be kept")?;
    assert_eq!(texts(&bob.receive()?), ["to be kept"]);
    alice.run(&["account", "delete"])?.expect_code(1)?;
    alice.run(&["account", "delete", "--yes"])?.expect_code(0)?;
    alice.run(&["receive"])?.expect_code(6)?;
    assert_eq!(texts(&alice.history("bob")?), ["to be kept"]);
    assert_eq!(texts(&bob.history("alice")?), ["to be kept"]);
    User::new("alice")?.try_log_in(server.link(), &[])?.expect_code(6)?;
    let rescue = User::new("alice")?;
    let code = file(&rescue, "code", &code)?;
    rescue.run(&["recover", "--server", server.link(), "--username", "alice", "--code-file", &code])?.expect_code(6)?;
    let squatter = User::new("alice")?.try_sign_up(server.link(), &[])?.expect_code(1)?;
    ensure!(squatter.error()?.contains("taken"), "it does not say why: {}", squatter.stderr);
    bob.run(&["send", "alice", "are you there?"])?.expect_code(1)?;
    Ok(())
}
