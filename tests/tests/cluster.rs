//! Several servers on one database: one set of accounts, whichever server a device is connected to, whatever ends.

use anyhow::{Context, Result, ensure};
use waxwing_tests::{Database, Direction, Fault, Nats, Proxy, Server, User, texts};

fn nodes(nats: &Nats, count: usize) -> Result<Vec<Server>> {
    let mut first = Server::set_up_with(Database::Mysql, &["--signup", "open", "--nats", &nats.url()])?;
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
    let begun = std::time::Instant::now();
    for node in nodes {
        loop {
            let status = node.operate(&["cluster", "status"])?.expect_code(0)?.json()?;
            let all = status["nodes"].as_array().context("nodes")?;
            let heard = all.iter().filter(|one| one["heard_ms"].is_u64() || one["this"] == true).count();
            if status["nats"] == true && heard == others + 1 {
                break;
            }
            ensure!(begun.elapsed() < waxwing_tests::DEADLINE, "{status}");
        }
    }
    Ok(())
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
