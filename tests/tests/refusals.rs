//! What does not work says so, with the exit code that scripts rely on.

use anyhow::{Context as _, Result, ensure};
use waxwing_protocol::{Authenticator, Request, Secret, ServerFrame, limits};
use waxwing_tests::{Database, RawClient, Server, User, on_both_databases, texts};

on_both_databases!(
    wrong_passwords_and_unknown_users_are_told_alike,
    unknown_and_known_users_cost_the_same_work,
    names_that_cannot_be_are_refused,
    messages_that_cannot_be_are_refused,
    a_server_that_is_gone_is_exit_code_3,
);

fn wrong_passwords_and_unknown_users_are_told_alike(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let alice = User::sign_up(server.link(), "alice")?;
    let thief = User::new("alice")?;
    thief.set_password("something-Else.47 entirely wrong")?;
    let wrong = thief.try_log_in(server.link(), &[])?.expect_code(6)?;
    let nobody = User::new("nobody")?.try_log_in(server.link(), &[])?.expect_code(6)?;
    assert_eq!(wrong.error()?, nobody.error()?);
    ensure!(!wrong.stdout.contains("alice"), "something was printed: {}", wrong.stdout);
    // The failed tries lock nobody out.
    alice.run(&["status"])?.expect_code(0)?;
    let second_device = User::new("alice")?;
    second_device.try_log_in(server.link(), &[])?.expect_code(0)?;
    // The local password is checked without a server, too.
    second_device.set_password("something-Else.47 entirely wrong")?;
    second_device.run(&["chats"])?.expect_code(6)?;
    Ok(())
}

/// Who waits for the answer cannot tell them apart, since the server works as much for the one as for the other. Work is what is
/// compared, not time: that belongs to whatever else the machine does.
fn unknown_and_known_users_cost_the_same_work(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    User::sign_up(server.link(), "alice")?;
    let mut work = [0, 0];
    for _ in 0..10 {
        for (work, name) in work.iter_mut().zip(["alice", "nobody"]) {
            let mut client = RawClient::greet(server.port())?;
            let ServerFrame::Response { .. } = client.ask(Request::LoginParameters(name.parse()?))? else {
                anyhow::bail!("no parameters for {name}");
            };
            let before = processor_ticks(server.id()?)?;
            let authenticator = Authenticator::Password(Secret([7; 32]));
            let answer =
                client.ask(Request::Login { username: name.parse()?, authenticator, code: None, device: None })?;
            *work += processor_ticks(server.id()?)? - before;
            ensure!(matches!(answer, ServerFrame::Refusal { .. }), "{name} was let in");
        }
    }
    let [known, unknown] = work;
    ensure!(known.min(unknown) >= 10, "no password was hashed: {known} and {unknown} ticks");
    ensure!(2 * known < 3 * unknown && 2 * unknown < 3 * known, "known {known} ticks, unknown {unknown}");
    Ok(())
}

/// How long a process has computed, in ticks of 10 ms.
fn processor_ticks(process: i32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let of = |place: usize| -> Result<u64> { Ok(fields.get(place).context("a field")?.parse()?) };
    Ok(of(11)? + of(12)?)
}

fn names_that_cannot_be_are_refused(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    User::sign_up(server.link(), "alice")?;
    let taken = User::new("alice")?.try_sign_up(server.link(), &[])?.expect_code(1)?;
    ensure!(taken.error()?.contains("taken"), "it does not say why: {}", taken.stderr);
    let folded = User::new("Alice")?.try_sign_up(server.link(), &[])?.expect_code(1)?;
    ensure!(folded.error()?.contains("taken"), "it does not say why: {}", folded.stderr);
    for bad in ["al", "_alice", "al ice", "älice", "a'; DROP TABLE accounts; --", &"a".repeat(33)] {
        let user = User::new("somebody")?;
        let outcome = user.run(&["signup", "--server", server.link(), "--username", bad])?.expect_code(1)?;
        ensure!(outcome.error()?.contains("username"), "{bad:?}: {}", outcome.stderr);
    }
    let weak = User::new("bob")?;
    weak.set_password("password1")?;
    let outcome = weak.try_sign_up(server.link(), &[])?.expect_code(1)?;
    ensure!(outcome.error()?.contains("guess"), "it does not say why: {}", outcome.stderr);
    User::new("carol")?.run(&["signup", "--username", "carol"])?.expect_code(1)?;
    User::new("carol")?.run(&["no-such-command"])?.expect_code(1)?;
    Ok(())
}

fn messages_that_cannot_be_are_refused(database: Database) -> Result<()> {
    let server = Server::start(database)?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let unknown = alice.run(&["send", "nobody", "hello"])?.expect_code(1)?;
    ensure!(unknown.error()?.contains("nobody"), "it does not say who: {}", unknown.stderr);
    let long = alice.run(&["send", "bob", &"x".repeat(limits::TEXT + 1)])?.expect_code(1)?;
    ensure!(long.error()?.contains("too long"), "it does not say why: {}", long.stderr);
    alice.run(&["send", "bob", ""])?.expect_code(1)?;
    let longest = "y".repeat(limits::TEXT);
    alice.send("bob", &longest)?;
    assert_eq!(texts(&bob.receive()?), [longest]);
    alice.run(&["history", "stranger"])?.expect_code(1)?;
    User::new("carol")?.run(&["chats"])?.expect_code(1)?;
    Ok(())
}

fn a_server_that_is_gone_is_exit_code_3(database: Database) -> Result<()> {
    let mut server = Server::start(database)?;
    let (alice, _bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "while it is there")?;
    server.stop()?;
    for arguments in [vec!["send", "bob", "x"], vec!["receive"], vec!["ping", server.link()]] {
        let outcome = alice.run(&arguments)?.expect_code(3)?;
        ensure!(!outcome.error()?.is_empty());
    }
    User::new("carol")?.try_sign_up(server.link(), &[])?.expect_code(3)?;
    // What is on the device needs no server.
    assert_eq!(texts(&alice.history("bob")?), ["while it is there"]);
    Ok(())
}
