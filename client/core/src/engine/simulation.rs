//! A simulation of four devices and a server, in one thread and without a clock: what is submitted, accepted, answered, read and
//! forgotten, in any order and with any fault in between.
//!
//! The rules are the real ones: the client's rows (outbox, chats, messages, order) and its `submission` and `log`, the server's store.
//! Only sockets and MLS are stood in for. An action that is not possible when its turn comes does nothing, so that any list of
//! actions is a story, and a failing one shrinks.
//!
//! `WAXWING_SIMULATE=SECONDS` goes on for longer, `WAXWING_SIMULATE_SEED` begins elsewhere; see docs/RELIABILITY.md.

mod cipher;
mod device;
mod server;
mod world;

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use server::DEVICES;
use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};
use world::{Stage, World};

/// How long a story is made shorter, in milliseconds.
const SHRINKING: u32 = 30_000;

/// What the server's process does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Done,
    /// It dies before the commit, or before the answer.
    DiesBefore,
    DiesAfter,
    /// The same request comes twice.
    Twice,
}

/// What happens next.
#[derive(Clone, Debug)]
enum Action {
    Write {
        device: u8,
        killed: bool,
    },
    /// Lets somebody in, puts somebody out or lets somebody in anew; without another it brings fresh keys.
    Commit {
        device: u8,
        other: Option<u8>,
        anew: bool,
        killed: bool,
    },
    /// Seals and sends what may go.
    Work {
        device: u8,
        killed: bool,
    },
    Serve {
        device: u8,
        count: u8,
        fate: Fate,
    },
    Hear {
        device: u8,
        count: u8,
        killed: bool,
    },
    /// The connection ends; what was asked arrives all the same, or does not.
    Cut {
        device: u8,
        arrives: bool,
    },
    Connect {
        device: u8,
    },
    RestartServer,
    Pass {
        ms: u16,
    },
    /// What the server has kept for too long goes.
    Expire,
}

/// What is made wrong, to see that it is found. All of it is outside of the rules that are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plant {
    Nothing,
    /// The server does not know a number that comes again.
    ForgetsNumbers,
    /// The server takes what was made after another count of commits.
    TakesStale,
    /// The server says yes before its commit.
    AnswersBeforeCommit,
    /// A device acknowledges what it has not stored.
    AcknowledgesUnread,
    /// A device seals anew what may have arrived.
    SealsAnew,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Violation(String);

fn actions(most: usize) -> impl Strategy<Value = Vec<Action>> {
    let device = || 0..DEVICES;
    let killed = || prop::bool::weighted(0.1);
    let fate = prop_oneof![
        16 => Just(Fate::Done), 1 => Just(Fate::DiesBefore), 1 => Just(Fate::DiesAfter), 1 => Just(Fate::Twice)
    ];
    let action = prop_oneof![
        10 => (device(), killed()).prop_map(|(device, killed)| Action::Write { device, killed }),
        3 => (device(), prop::option::weighted(0.7, device()), any::<bool>(), killed())
            .prop_map(|(device, other, anew, killed)| Action::Commit { device, other, anew, killed }),
        6 => (device(), killed()).prop_map(|(device, killed)| Action::Work { device, killed }),
        20 => (device(), 1..6u8, fate).prop_map(|(device, count, fate)| Action::Serve { device, count, fate }),
        20 => (device(), 1..6u8, killed()).prop_map(|(device, count, killed)| Action::Hear { device, count, killed }),
        4 => (device(), any::<bool>()).prop_map(|(device, arrives)| Action::Cut { device, arrives }),
        8 => device().prop_map(|device| Action::Connect { device }),
        1 => Just(Action::RestartServer),
        3 => (1..2000u16).prop_map(|ms| Action::Pass { ms }),
        1 => Just(Action::Expire),
    ];
    prop::collection::vec(action, 1..most)
}

/// Plays a story to its end, where all come to rest; says how many steps there were.
fn play(stage: &mut Stage, actions: &[Action], plant: Plant) -> Result<u64, Violation> {
    let mut world = World::new(stage, plant);
    for action in actions {
        world.step(action)?;
    }
    if world.heal()? {
        world.judge()?;
    }
    Ok(world.steps)
}

/// Plays random stories from a seed on until the time is over; returns how many steps there were.
fn explore(seed: u64, time: Duration, plant: Plant) -> Result<u64, String> {
    let end = Instant::now() + time;
    let (stage, steps) = (RefCell::new(Stage::new()), Cell::new(0));
    let mut seed = seed;
    while Instant::now() < end {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let shrinks = if plant == Plant::Nothing { 20_000 } else { 0 };
        let config = Config {
            cases: 8,
            max_shrink_iters: shrinks,
            max_shrink_time: SHRINKING,
            failure_persistence: None,
            ..Config::default()
        };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let played = runner.run(&actions(400), |story| {
            let played =
                play(&mut stage.borrow_mut(), &story, plant).map_err(|Violation(what)| TestCaseError::fail(what))?;
            steps.set(steps.get() + played);
            Ok(())
        });
        match played {
            Ok(()) => {}
            Err(TestError::Fail(reason, story)) => return Err(format!("seed {seed}: {reason}\n{story:#?}")),
            Err(TestError::Abort(reason)) => return Err(format!("seed {seed}: {reason}")),
        }
        seed += 1;
    }
    Ok(steps.get())
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn nothing_is_lost_doubled_or_reordered_whatever_happens() {
    let (seconds, seed) = (setting("WAXWING_SIMULATE", 3), setting("WAXWING_SIMULATE_SEED", 1));
    let begun = Instant::now();
    match explore(seed, Duration::from_secs(seconds), Plant::Nothing) {
        Ok(steps) => println!("seeds from {seed} on: {steps} steps in {:.1} s", begun.elapsed().as_secs_f64()),
        Err(story) => panic!("{story}"),
    }
}

#[test]
fn what_is_made_wrong_is_found() {
    for plant in [
        Plant::ForgetsNumbers,
        Plant::TakesStale,
        Plant::AnswersBeforeCommit,
        Plant::AcknowledgesUnread,
        Plant::SealsAnew,
    ] {
        let found = explore(1, Duration::from_secs(60), plant);
        assert!(found.is_err(), "{plant:?} was not found in {found:?} steps");
    }
}
