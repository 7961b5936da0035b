//! What a server may ask of a password.

use crate::server::{DATA_KEY, Server};
use anyhow::{Result, ensure};
use std::{
    process::Command,
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};
use waxwing_server::sealing::{DataKey, Purpose};
use waxwing_tests::{DEADLINE, User, copy_folder, run_with_deadline};

/// A refusal computes nothing, so this is long.
const AT_ONCE: Duration = Duration::from_secs(20);

/// The same command with at most 2 GiB of addresses: less than the absurd costs, plenty for the honest one.
fn with_little_memory(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -v 2097152; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    limited.env_clear();
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited
}

#[test]
fn absurd_and_weak_password_costs_are_refused_before_anything_is_derived() -> Result<()> {
    let server = Server::start()?;
    let _first = User::sign_up(server.link(), "alice")?;
    let second = User::new("alice")?;
    let four_gib = 4 * 1024 * 1024;
    for (memory, passes, lanes, word) in [
        (1, 1, 1, "weak"),
        (1, 3, 4, "weak"),
        (64 * 1024, 1, 4, "weak"),
        (64 * 1024, 3, 0, "weak"),
        (0, 0, 0, "weak"),
        (four_gib, 3, 4, "expensive"),
        (64 * 1024, u32::MAX, 4, "expensive"),
        (four_gib, u32::MAX, 4, "expensive"),
        (u32::MAX, u32::MAX, u32::MAX, "expensive"),
        (64 * 1024, 3, u32::MAX, "expensive"),
    ] {
        let (asked, asking) = std::sync::mpsc::channel();
        server.lies.login.tell(move |_, honest| {
            let _ = asked.send(());
            honest.map(|mut record| {
                (record.kdf.memory_kib, record.kdf.iterations, record.kdf.parallelism) = (memory, passes, lanes);
                record
            })
        });
        let login = second.command(&["login", "--server", server.link(), "--username", "alice", "--json"])?;
        let outcome = run_with_deadline(&mut with_little_memory(&login), AT_ONCE)?.expect_code(3)?;
        ensure!(outcome.error()?.contains(word), "{memory} {passes} {lanes}: {}", outcome.stderr);
        server.lies.login.end();
        // Once for the parameters; a second time would have been the login itself, with what the password gives.
        assert_eq!(asking.iter().count(), 1, "{memory} {passes} {lanes}");
    }
    let login = second.command(&["login", "--server", server.link(), "--username", "alice", "--json"])?;
    run_with_deadline(&mut with_little_memory(&login), waxwing_tests::DEADLINE)?.expect_code(0)?;
    Ok(())
}

/// The password is right, and what it should open does not open: one error, one try, and no profile that is half there.
#[test]
fn a_corrupt_vault_or_wrap_is_one_error_and_is_not_tried_again() -> Result<()> {
    let server = Server::start()?;
    let _first = User::sign_up(server.link(), "alice")?;
    let second = User::new("alice")?;
    for purpose in [Purpose::PasswordWrap, Purpose::Vault] {
        let (asked, asking) = std::sync::mpsc::channel();
        server.lies.login.tell(move |username, honest| {
            let _ = asked.send(());
            honest.map(|mut record| {
                let key = DataKey::from_bytes(DATA_KEY);
                let sealed = match purpose {
                    Purpose::Vault => &mut record.sealed.vault,
                    _ => &mut record.sealed.password_wrap,
                };
                let mut opened = key.open(purpose, username, sealed).expect("what the server has sealed");
                let middle = opened.len() / 2;
                opened[middle] ^= 1;
                *sealed = key.seal(purpose, username, &opened).expect("sealed");
                record
            })
        });
        let refused = second.try_log_in(server.link(), &[])?.expect_code(3)?;
        ensure!(refused.error()?.contains("vault"), "it does not say what is wrong: {}", refused.stderr);
        server.lies.login.end();
        assert_eq!(asking.iter().count(), 2, "once for the parameters, once for the vault");
        second.run(&["whoami"])?.expect_code(1)?;
    }
    second.try_log_in(server.link(), &[])?.expect_code(0)?;
    Ok(())
}

/// An old copy of a profile that was put back becomes another device as soon as the server can take one; until then it tries.
#[test]
fn an_old_copy_waits_for_a_server_that_cannot_take_another_device() -> Result<()> {
    let server = Server::start()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    let device = || alice.run(&["whoami"])?.expect_code(0)?.json().map(|whoami| whoami["device"].clone());
    alice.send("bob", "before the copy")?;
    let (former, old) = (device()?, alice.place().join("old"));
    copy_folder(&alice.data(), &old)?;
    alice.send("bob", "after the copy")?;
    copy_folder(&old, &alice.data())?;

    server.lies.failing_enrolments.store(2, SeqCst);
    let mut follow = alice.follow()?;
    let deadline = Instant::now() + DEADLINE;
    while device()? == former {
        ensure!(Instant::now() < deadline, "it does not try again");
    }
    assert_eq!(server.lies.failing_enrolments.load(SeqCst), 0);
    bob.send("alice", "welcome back")?;
    assert_eq!(follow.next_texts(1)?, ["welcome back"]);
    Ok(())
}
