//! Several servers on one database: one set of accounts, whichever server a device is connected to, whatever ends.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{fs, time::Instant};
use waxwing_tests::{
    Chat, DEADLINE, Database, Direction, Fault, Follow, MailServer, MariaDb, Nats, Outcome, Proxy, Server, User, texts,
};

fn nodes(nats: &Nats, count: usize) -> Result<Vec<Server>> {
    nodes_of(Server::set_up_with(Database::Mysql, &["--signup", "open", "--nats", &nats.url()])?, count)
}

/// A server that was set up, with further ones.
fn nodes_of(mut first: Server, count: usize) -> Result<Vec<Server>> {
    let mut further = (1..count).map(|_| first.node()).collect::<Result<Vec<_>>>()?;
    first.restart()?;
    further.iter_mut().try_for_each(Server::restart)?;
    // The first has the database, and so must go last.
    further.reverse();
    further.push(first);
    further.reverse();
    Ok(further)
}

/// Waits until each of these nodes hears so many others.
fn wait_until_heard(nodes: &[&Server], others: usize) -> Result<()> {
    for node in nodes {
        wait_for_status(node, |status| {
            let all = status["nodes"].as_array().context("nodes")?;
            let heard = all.iter().filter(|one| one["heard_ms"].is_u64() || one["this"] == true).count();
            Ok(status["nats"] == true && heard == others + 1)
        })?;
    }
    Ok(())
}

/// Waits until `cluster status` of a node is as it should be; returns it.
fn wait_for_status(node: &Server, fits: impl Fn(&Value) -> Result<bool>) -> Result<Value> {
    let begun = Instant::now();
    loop {
        let status = node.operate(&["cluster", "status"])?.expect_code(0)?.json()?;
        if fits(&status)? {
            return Ok(status);
        }
        ensure!(begun.elapsed() < DEADLINE, "{status}");
    }
}

/// Does it again until the outcome has this code.
fn until(code: i32, what: impl Fn() -> Result<Outcome>) -> Result<Outcome> {
    let begun = Instant::now();
    loop {
        let outcome = what()?;
        if outcome.code == code {
            return Ok(outcome);
        }
        ensure!(begun.elapsed() < DEADLINE, "{} {}", outcome.stdout, outcome.stderr);
    }
}

#[test]
fn one_set_of_accounts_live_across_nodes_with_and_without_nats() -> Result<()> {
    let mut nats = Nats::start()?;
    let mut nodes = nodes(&nats, 3)?;
    wait_until_heard(&nodes.iter().collect::<Vec<_>>(), 2)?;
    let last = nodes[2].announced()["link"].as_str().context("a link")?.to_owned();
    for node in &nodes {
        ensure!(last.contains(&format!("127.0.0.1:{}", node.port())), "the newest link names all: {last}");
    }
    // Each at a node of their own.
    let alice = User::sign_up(&nodes[0].own_link()?, "alice")?;
    let bob = User::sign_up(&nodes[1].own_link()?, "bob")?;
    let carol = User::sign_up(&nodes[2].own_link()?, "carol")?;
    let (mut at_bob, mut at_carol) = (bob.follow()?, carol.follow()?);
    let _at_alice = alice.follow()?;
    alice.send("bob", "one")?;
    alice.send("carol", "hello")?;
    ensure!(at_bob.next_texts(1)? == ["one"] && at_carol.next_texts(1)? == ["hello"]);
    // Hints lost: whoever misses one looks.
    nats.kill();
    alice.send("bob", "two")?;
    alice.send("bob", "three")?;
    ensure!(at_bob.next_texts(2)? == ["two", "three"]);
    nats.restart()?;
    wait_until_heard(&nodes.iter().collect::<Vec<_>>(), 2)?;
    alice.send("bob", "four")?;
    ensure!(at_bob.next_texts(1)? == ["four"]);
    // A node dies: nobody waits for it.
    nodes[2].kill();
    alice.send("bob", "five")?;
    ensure!(at_bob.next_texts(1)? == ["five"]);
    bob.send("carol", "while you were away")?;
    nodes[2].restart()?;
    ensure!(at_carol.next_texts(1)? == ["while you were away"]);
    // Who is locked out at one node is so at all.
    let locked = nodes[0].operate(&["user", "disable", "bob"])?;
    locked.expect_code(0)?;
    nodes[1].wait_for_log("the account was disabled")?;
    drop((at_bob, at_carol));
    Ok(())
}

#[test]
fn a_client_that_knows_all_nodes_moves_on_when_one_dies_or_ends() -> Result<()> {
    let nats = Nats::start()?;
    let mut nodes = nodes(&nats, 2)?;
    let link = nodes[1].link().to_owned();
    let (alice, bob) = (User::sign_up(&link, "alice")?, User::sign_up(&link, "bob")?);
    let mut at_bob = bob.follow()?;
    let mut sent = Vec::new();
    for round in 0..6 {
        // First one node at a time is killed, then one at a time is told to end.
        let down = round % 2;
        if round < 4 {
            nodes[down].kill()
        } else {
            nodes[down].stop()?
        }
        for number in 0..3 {
            let text = format!("{round}.{number}");
            alice.send("bob", &text)?;
            sent.push(text);
        }
        ensure!(at_bob.next_texts(3)? == sent[sent.len() - 3..], "round {round}");
        nodes[down].restart()?;
    }
    at_bob.stop()?;
    let history = texts(&bob.history("alice")?);
    ensure!(history == sent, "{history:?}");
    Ok(())
}

#[test]
fn a_server_that_is_alone_gets_no_nodes_and_says_so() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let refused = server.operate(&["cluster", "status"])?;
    ensure!(refused.code == 1 && refused.stderr.contains("alone on its database"), "{}", refused.stderr);
    let refused = server.node().err().context("a node of an embedded database")?.to_string();
    ensure!(refused.contains("alone on its database"), "{refused}");
    let refused = Server::set_up_with(Database::Sqlite, &["--nats", "nats://127.0.0.1:4222"]).err();
    let refused = refused.context("NATS beside an embedded database")?.to_string();
    ensure!(refused.contains("only MySQL can be shared"), "{refused}");
    Ok(())
}

#[test]
fn a_node_that_is_cut_off_from_nats_or_from_the_database_loses_nothing() -> Result<()> {
    let nats = Nats::start()?;
    let mut nodes = nodes(&nats, 2)?;
    let to_nats = Proxy::start(nats.port())?;
    let to_database = Proxy::start(nodes[0].database_port()?)?;
    nodes[1].set("WAXWING_CLUSTER_NATS", format!("nats://127.0.0.1:{}", to_nats.port()));
    nodes[1].set("WAXWING_DATABASE_PORT", to_database.port());
    nodes[1].restart()?;
    wait_until_heard(&nodes.iter().collect::<Vec<_>>(), 1)?;
    let (alice, bob) = (User::sign_up(&nodes[0].own_link()?, "alice")?, User::sign_up(&nodes[1].own_link()?, "bob")?);
    let (mut at_alice, mut at_bob) = (alice.follow()?, bob.follow()?);
    alice.send("bob", "before")?;
    ensure!(at_bob.next_texts(1)? == ["before"]);
    // Both ways, without a word: neither node knows that nobody hears it.
    to_nats.set(Fault::Swallow(Direction::ToClient));
    alice.send("bob", "unheard")?;
    ensure!(at_bob.next_texts(1)? == ["unheard"]);
    to_nats.set(Fault::Swallow(Direction::ToServer));
    bob.send("alice", "not heard either")?;
    ensure!(at_alice.next_texts(1)? == ["not heard either"]);
    to_nats.set(Fault::None);
    to_nats.cut();
    wait_until_heard(&nodes.iter().collect::<Vec<_>>(), 1)?;
    // Without the database a node promises nothing; what its people write waits with them.
    to_database.set(Fault::Refuse);
    to_database.cut();
    bob.run(&["send", "alice", "when it is back", "--offline-ok"])?.expect_code(0)?;
    alice.send("bob", "meanwhile")?;
    to_database.set(Fault::None);
    ensure!(at_bob.next_texts(1)? == ["meanwhile"] && at_alice.next_texts(1)? == ["when it is back"]);
    at_alice.stop()?;
    at_bob.stop()?;
    ensure!(texts(&alice.history("bob")?) == texts(&bob.history("alice")?), "one order");
    Ok(())
}

#[test]
fn limits_and_codes_are_those_of_all_nodes_together() -> Result<()> {
    let (nats, mut mail) = (Nats::start()?, MailServer::start()?);
    let mut first = Server::set_up_with(Database::Mysql, &["--signup", "open", "--nats", &nats.url()])?;
    for (name, value) in mail.settings() {
        first.set(&format!("SMTP_{}", name.to_uppercase()), value.trim_matches('"'));
    }
    first.set("WAXWING_CODES_FOR", "sign-up");
    first.set("WAXWING_SESSIONS_PER_ACCOUNT", 2);
    let mut nodes = nodes_of(first, 2)?;
    wait_until_heard(&nodes.iter().collect::<Vec<_>>(), 1)?;
    let (link, links) = (nodes[1].link().to_owned(), [nodes[0].own_link()?, nodes[1].own_link()?]);

    // A code that one node has sent is good at the other, and its tries are counted at both.
    let alice = User::new("alice")?;
    let email = ["--email", "alice@example.org", "--remember"];
    alice.try_sign_up(&links[0], &email)?.expect_code(6)?;
    let code = mail.next_code("alice@example.org")?;
    alice.try_sign_up(&links[1], &email)?.expect_code(6)?;
    let wrong = if code.starts_with('0') { code.replacen('0', "1", 1) } else { format!("0{}", &code[1..]) };
    for (place, left) in ["2 more tries", "1 more tries"].iter().enumerate() {
        let refused = alice.try_sign_up(&links[place], &[&email[..], &["--otp", &wrong]].concat())?.expect_code(6)?;
        ensure!(refused.error()?.contains(left), "{}", refused.stderr);
    }
    alice.try_sign_up(&links[1], &[&email[..], &["--otp", &code]].concat())?.expect_code(0)?;
    let used = User::new("anne")?.try_sign_up(&links[0], &[&email[..], &["--otp", &code]].concat())?.expect_code(6)?;
    ensure!(used.error()?.contains("not valid"), "{}", used.stderr);

    // Two places for an account, wherever its devices are.
    let (tablet, phone) = (User::log_in(&links[0], "alice")?, User::log_in(&link, "alice")?);
    let bob = User::new("bob")?;
    let email = ["--email", "bob@example.org", "--remember"];
    bob.try_sign_up(&link, &email)?.expect_code(6)?;
    let code = mail.next_code("bob@example.org")?;
    bob.try_sign_up(&link, &[&email[..], &["--otp", &code]].concat())?.expect_code(0)?;
    // What the log-ins took is free again, and every node has heard so.
    until(0, || phone.run(&["receive"]))?;
    until(0, || alice.run(&["receive"]))?;
    let mut there = [alice.follow()?, phone.follow()?];
    let are_there = |there: &mut [Follow], text: &str| -> Result<()> {
        bob.send("alice", text)?;
        for follow in there {
            ensure!(follow.next_texts(1)? == [text]);
        }
        Ok(())
    };
    are_there(&mut there, "one")?;
    let refused = until(6, || tablet.run(&["receive"]))?;
    ensure!(refused.error()?.contains("2 devices"), "{}", refused.stderr);
    // A device whose node dies goes to the other, whatever that knows of it; there is no third place all the same.
    for (down, text) in ["two", "three"].iter().enumerate() {
        nodes[down].kill();
        nodes[down].restart()?;
        are_there(&mut there, text)?;
    }
    until(6, || tablet.run(&["receive"]))?;
    let [_, at_phone] = there;
    at_phone.stop()?;
    until(0, || tablet.run(&["receive"]))?;
    Ok(())
}

/// Waits until somebody has exactly these messages of somebody.
fn wait_for_history(of: &User, with: &str, from: &str, expected: &[String]) -> Result<()> {
    let begun = Instant::now();
    loop {
        let history = of.history(with)?;
        let mut said = texts(&history);
        said.retain(|text| text.starts_with(from));
        if said == expected {
            return Ok(());
        }
        ensure!(begun.elapsed() < DEADLINE, "{} has of {from}: {said:?}", of.name());
    }
}

#[test]
fn three_nodes_lose_double_and_reorder_nothing_when_their_database_is_killed() -> Result<()> {
    const LINES: usize = 120;
    let (database, nats) = (MariaDb::start()?, Nats::start()?);
    let nodes = nodes_of(Server::set_up_at(database.url(), &["--signup", "open", "--nats", &nats.url()])?, 3)?;
    wait_until_heard(&nodes.iter().collect::<Vec<_>>(), 2)?;
    let people = ["alice", "bob", "carol"].iter().zip(&nodes);
    let people = people.map(|(name, node)| User::sign_up(&node.own_link()?, name)).collect::<Result<Vec<_>>>()?;
    let [alice, bob, carol] = &people[..] else { anyhow::bail!("three people") };
    carol.send("alice", "hello")?;
    alice.send("bob", "hello")?;
    // Two write in one chat from two nodes, the third in another.
    let mut chats = [alice.chat("bob")?, bob.chat("alice")?, carol.chat("alice")?];
    let said = |name: &str| (0..LINES).map(|number| format!("{name} {number}")).collect::<Vec<_>>();
    let all = people.iter().map(|person| said(person.name())).collect::<Vec<_>>();
    let say = |chats: &mut [Chat], lines: std::ops::Range<usize>| -> Result<()> {
        for line in lines {
            chats.iter_mut().zip(&all).try_for_each(|(chat, said)| chat.say(&said[line]))?;
        }
        Ok(())
    };
    say(&mut chats, 0..LINES / 3)?;
    // In the middle of what is under way.
    chats[1].wait_for("alice 3")?;
    database.kill()?;
    say(&mut chats, LINES / 3..LINES * 2 / 3)?;
    database.restart()?;
    say(&mut chats, LINES * 2 / 3..LINES)?;
    wait_for_history(bob, "alice", "alice ", &all[0])?;
    wait_for_history(alice, "bob", "bob ", &all[1])?;
    wait_for_history(alice, "carol", "carol ", &all[2])?;
    ensure!(texts(&alice.history("bob")?) == texts(&bob.history("alice")?), "one order");
    Ok(())
}

#[test]
fn nodes_meet_at_a_nats_with_tls_and_a_password_and_say_what_is_wrong_with_it() -> Result<()> {
    let nats = Nats::start_guarded()?;
    let mut first = Server::set_up_with(Database::Mysql, &["--signup", "open", "--nats", &nats.url()])?;
    first.set("WAXWING_CLUSTER_CREDENTIALS_FILE", nats.credentials_file().display());
    first.set("WAXWING_CLUSTER_CA_FILE", nats.ca_file().display());
    let mut nodes = nodes_of(first, 2)?;
    wait_until_heard(&nodes.iter().collect::<Vec<_>>(), 1)?;
    let (alice, bob) = (User::sign_up(&nodes[0].own_link()?, "alice")?, User::sign_up(&nodes[1].own_link()?, "bob")?);
    let mut at_bob = bob.follow()?;
    let hears = |text: &str, at_bob: &mut Follow| -> Result<()> {
        alice.send("bob", text)?;
        ensure!(at_bob.next_texts(1)? == [text]);
        Ok(())
    };
    hears("over TLS", &mut at_bob)?;
    let (strangers, others) = (nodes[1].beside("stranger"), Nats::start_guarded()?);
    fs::write(&strangers, "waxwing:another-secret 8\n")?;
    // One thing is wrong at a time; the node serves all the same, and says which.
    for (variable, wrong, reason) in [
        ("WAXWING_CLUSTER_CREDENTIALS_FILE", &strangers, "cluster.credentials_file"),
        ("WAXWING_CLUSTER_CA_FILE", &others.ca_file(), "cluster.ca_file"),
    ] {
        nodes[1].set(variable, wrong.display());
        nodes[1].restart()?;
        let status = wait_for_status(&nodes[1], |status| Ok(status["trouble"].is_string()))?;
        ensure!(status["nats"] == false && status["trouble"].to_string().contains(reason), "{status}");
        nodes[1].wait_for_log(reason)?;
        hears(reason, &mut at_bob)?;
        nodes[1].unset(variable);
        let right = if wrong == &strangers { nats.credentials_file() } else { nats.ca_file() };
        nodes[1].set(variable, right.display());
    }
    ensure!(!nodes[1].log().contains("another-secret"), "a secret in the log");
    nodes[1].restart()?;
    wait_until_heard(&nodes.iter().collect::<Vec<_>>(), 1)?;
    hears("again", &mut at_bob)
}
