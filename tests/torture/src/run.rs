//! A run: worlds one after the other, in each some acts of writing and breaking, and after each act healing and judgement.

use crate::{
    checker::{Invariant, Violation, check},
    database::Ciphertexts,
    device::{Device, Refusal},
    faults::{Injector, Kind},
    history::{Moment, Outcome, Sending},
    story,
    world::{PATIENCE, World},
};
use anyhow::Result;
use fastrand::Rng;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long an act is: short enough that a fault at its beginning still matters at its end.
const ACT: Duration = Duration::from_secs(20);
/// So many acts have the same world.
const ACTS: u32 = 5;
/// How long everything may take to come to rest after the last fault.
const REST: Duration = Duration::from_secs(150);
/// How long what everybody has sent may take to be shown by everybody else.
const DELIVERY: Duration = Duration::from_secs(45);
/// So many violations of one act are told at once.
const FACES: usize = 4;
/// How long a call may take while things break.
const HURRY: Duration = Duration::from_secs(6);

/// Where the server keeps its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Embedded.
    Sqlite,
    /// A MySQL or MariaDB that runs already; the run makes schemas of its own there.
    Url(String),
    /// A private MariaDB, which can be killed.
    OwnMariaDb,
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides what is written and what is broken when; processes and threads still interleave as they like.
    pub seed: u64,
    /// For how long.
    pub duration: Duration,
    /// What is broken.
    pub faults: Vec<Kind>,
    /// How many users.
    pub users: usize,
    /// How many devices each has.
    pub devices: usize,
    /// Milliseconds between two faults, on average.
    pub pace: u64,
    /// Where the server keeps its data.
    pub storage: Storage,
    /// Leave the files of a world that broke a promise where they are.
    pub keep: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests to send, and changes of groups.
    pub operations: u64,
    /// Faults that struck, by kind.
    pub by_fault: BTreeMap<Kind, u64>,
    /// What was broken of what is promised, each with its story.
    pub violations: Vec<(Violation, String)>,
    /// How many worlds there were.
    pub worlds: u32,
    /// How many acts.
    pub acts: u32,
    /// Where files were kept.
    pub kept: Vec<PathBuf>,
}

impl Report {
    /// How many faults struck.
    pub fn faults(&self) -> u64 {
        self.by_fault.values().sum()
    }

    /// As `--json` prints it.
    pub fn json(&self, seed: u64) -> Value {
        let by_fault: BTreeMap<&str, u64> = self.by_fault.iter().map(|(kind, count)| (kind.name(), *count)).collect();
        let violations: Vec<Value> = self
            .violations
            .iter()
            .map(|(violation, story)| json!({ "violation": violation, "story": story }))
            .collect();
        json!({
            "seed": seed,
            "operations": self.operations,
            "faults": self.faults(),
            "violations": violations,
            "by_fault": by_fault,
            "worlds": self.worlds,
            "acts": self.acts,
            "kept": self.kept,
        })
    }
}

/// Does it. `say` hears how far it has come.
///
/// # Errors
/// A world cannot be set up, which says nothing about the promises.
pub fn run(plan: &Plan, say: &mut dyn FnMut(String)) -> Result<Report> {
    let mut report = Report::default();
    let mut rng = Rng::with_seed(plan.seed);
    let end = Instant::now() + plan.duration;
    while Instant::now() < end {
        let begun = Instant::now();
        let mut world = World::set_up(&plan.storage, plan.users, plan.devices, plan.faults.contains(&Kind::Clock))?;
        report.worlds += 1;
        say(format!("world {} stands after {:.1} s", report.worlds, begun.elapsed().as_secs_f64()));
        let mut ciphertexts = Ciphertexts::default();
        let before = report.violations.len();
        for _ in 0..ACTS {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() && report.acts > 0 {
                break;
            }
            // However long the setting up took, there is one act.
            let act = if report.acts == 0 { ACT.min(plan.duration) } else { ACT.min(left) };
            play(plan, &world, &mut rng, act, &mut ciphertexts, &mut report);
            let healing = Instant::now();
            rest(&world, &mut rng);
            let found = judge(&world);
            // One cause has many faces; all are in the report.
            found.iter().take(FACES).for_each(|(_, story)| say(format!("VIOLATION {story}")));
            report.violations.extend(found);
            report.acts += 1;
            say(format!(
                "act {}: {} operations, {} faults, {} violations; at rest after {:.1} s",
                report.acts,
                report.operations + world.recorder.operations() as u64,
                report.faults(),
                report.violations.len(),
                healing.elapsed().as_secs_f64()
            ));
            if report.violations.len() > before {
                break;
            }
        }
        report.operations += world.recorder.operations() as u64;
        if plan.keep && report.violations.len() > before {
            report.kept.extend(world.keep());
        }
    }
    Ok(report)
}

/// What writers share.
struct Writing<'a> {
    world: &'a World,
    over: AtomicBool,
    texts: &'a AtomicU64,
}

/// An act: everybody writes while things break; then everything is mended.
fn play(
    plan: &Plan,
    world: &World,
    rng: &mut Rng,
    length: Duration,
    ciphertexts: &mut Ciphertexts,
    report: &mut Report,
) {
    static TEXTS: AtomicU64 = AtomicU64::new(0);
    let writing = Writing { world, over: AtomicBool::new(false), texts: &TEXTS };
    let bursts: Mutex<Vec<&str>> = Mutex::default();
    let end = Instant::now() + length;
    let mut injector = Injector::new(world, &plan.faults);
    thread::scope(|scope| {
        for device in &world.devices {
            let (mut rng, writing, bursts) = (rng.fork(), &writing, &bursts);
            scope.spawn(move || {
                while !writing.over.load(Ordering::Relaxed) {
                    let burst = {
                        let mut bursts = bursts.lock().unwrap_or_else(PoisonError::into_inner);
                        let place = bursts.iter().position(|name| *name == device.name);
                        place.map(|place| bursts.swap_remove(place)).is_some()
                    };
                    if burst {
                        let chat = rng.usize(..world.chats(device).len());
                        (0..rng.usize(5..20)).for_each(|_| writing.write(device, &mut rng, Some(chat)));
                    } else {
                        thread::sleep(Duration::from_millis(rng.u64(20..500)));
                        writing.write(device, &mut rng, None);
                    }
                }
            });
        }
        let mut looked = Instant::now();
        while Instant::now() < end {
            let mut burst = |device: &Device| {
                let name =
                    world.devices.iter().find(|one| std::ptr::eq(*one, device)).map_or("", |one| one.name.as_str());
                bursts.lock().unwrap_or_else(PoisonError::into_inner).push(name);
            };
            if let Err(error) = injector.strike(rng, scope, &mut burst) {
                world.recorder.incident(Invariant::Alive, last_words(&error));
                break;
            }
            if looked.elapsed() > Duration::from_secs(1) {
                look(world, ciphertexts);
                looked = Instant::now();
            }
            thread::sleep(Duration::from_millis(rng.u64(plan.pace / 2..plan.pace * 3 / 2 + 1)));
        }
        writing.over.store(true, Ordering::Relaxed);
    });
    match injector.heal() {
        Ok(counts) => counts.into_iter().for_each(|(kind, count)| *report.by_fault.entry(kind).or_default() += count),
        Err(error) => world.recorder.incident(Invariant::Alive, last_words(&error)),
    }
    look(world, ciphertexts);
}

/// An error without the whole log of a program that may stand in it.
fn last_words(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let lines: Vec<&str> = text.lines().collect();
    match lines.as_slice() {
        [first, .., one, two, three] => [*first, "…", *one, *two, *three].join("\n"),
        _ => text,
    }
}

fn look(world: &World, ciphertexts: &mut Ciphertexts) {
    // A database that is locked is looked at the next time.
    let Some(Ok(twice)) = world.database_file.as_deref().map(|file| ciphertexts.look(file)) else { return };
    twice.into_iter().for_each(|what| world.recorder.incident(Invariant::I4, what));
}

impl Writing<'_> {
    /// Writes something into one of the device's chats, and records what came of it.
    fn write(&self, device: &Device, rng: &mut Rng, chat: Option<usize>) {
        let chats = self.world.chats(device);
        let (chat, name) = &chats[chat.unwrap_or_else(|| rng.usize(..chats.len()))];
        let text = format!("m{}", self.texts.fetch_add(1, Ordering::Relaxed));
        write(self.world, device, (chat, name), text, rng.u8(..4) > 0, HURRY);
    }
}

/// Writes a text: queues it, or insists on hearing that it was sent.
pub(crate) fn write(
    world: &World,
    device: &Device,
    (chat, name): (&str, &str),
    text: String,
    queue: bool,
    patience: Duration,
) {
    let invoked = world.recorder.now();
    let answer = match queue {
        true => device.call("queue", &json!({ "chat": chat, "text": text }), patience),
        false => device.call("send", &json!({ "chat": chat, "text": text }), patience),
    };
    let (outcome, why) = match answer {
        Ok(_) if queue => (Outcome::Queued, String::new()),
        Ok(_) => (Outcome::Sent, String::new()),
        // It says so where it does not know, and holds what nobody trustworthy was there for.
        Err(Refusal::Said(why)) if why.contains("may have left") || why.contains("is not trustworthy") => {
            (Outcome::Unknown, why)
        }
        Err(Refusal::Said(why)) => (Outcome::Failed, why),
        Err(Refusal::Silent(why)) => (Outcome::Unknown, why),
    };
    let sending = Sending {
        device: device.name.clone(),
        user: device.username().to_owned(),
        chat: name.to_owned(),
        text,
        invoked,
        returned: Moment::MAX,
        settled: Moment::MAX,
        outcome,
        probe: patience == PATIENCE,
    };
    world.recorder.sent(sending, &why);
}

/// Waits until everything is at rest, and lets everybody say one thing more everywhere.
pub(crate) fn rest(world: &World, rng: &mut Rng) {
    let deadline = Instant::now() + REST;
    let rested = come_to_rest(world, deadline).and_then(|()| world.reunite(deadline)).and_then(|()| {
        // Whoever came anew is in its chats again once it could write there.
        for device in world.devices.iter().filter(|device| world.recorder.is_lapsed(&device.name)) {
            for (chat, name) in world.chats(device) {
                let text = format!("r{:x}-{}", rng.u64(..), device.name);
                write(world, device, (&chat, &name), text, true, HURRY);
            }
        }
        come_to_rest(world, deadline)?;
        world.recorder.end_lapses();
        world.recorder.settle();
        let mut probes: Vec<(&Device, (String, String))> = world
            .devices
            .iter()
            .flat_map(|device| world.chats(device).into_iter().map(move |chat| (device, chat)))
            .collect();
        rng.shuffle(&mut probes);
        for (index, (device, (chat, name))) in probes.into_iter().enumerate() {
            let text = format!("p{:x}-{index}-{}", rng.u64(..), device.name);
            write(world, device, (&chat, &name), text, true, PATIENCE);
        }
        come_to_rest(world, deadline)
    });
    if let Err(error) = rested {
        world.recorder.incident(Invariant::Alive, format!("it does not come to rest: {error:#}"));
    }
    world.recorder.settle();
    look_at_programs(world);
}

/// What is shown, and what of it is wrong: what is on its way comes within moments, what is wrong stays wrong.
pub(crate) fn judge(world: &World) -> Vec<(Violation, String)> {
    let deadline = Instant::now() + DELIVERY;
    loop {
        let (views, is_complete) = match world.views() {
            Ok(views) => (views, true),
            Err(refusal) => {
                world.recorder.incident(Invariant::Alive, format!("a device does not show its chats: {refusal}"));
                (Vec::new(), false)
            }
        };
        let (history, journal) = world.recorder.with_views(views);
        let violations = check(&history);
        if violations.is_empty() || !is_complete || Instant::now() > deadline {
            let tell = |violation: Violation| {
                let story = story::tell(&violation, &history, &journal);
                (violation, story)
            };
            return violations.into_iter().map(tell).collect();
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Until every device is connected and has nothing waiting.
fn come_to_rest(world: &World, deadline: Instant) -> Result<()> {
    for device in &world.devices {
        if device.has_ended() {
            let log = device.log();
            let last: Vec<&str> = log.lines().rev().take(3).collect();
            world.recorder.incident(Invariant::Alive, format!("{} has ended by itself: {last:?}", device.name));
            device.start()?;
        }
        loop {
            let caught_up = device.call("catch_up", &json!({ "patience_ms": 20_000 }), PATIENCE);
            let status = device.call("status", &json!({}), PATIENCE);
            if caught_up.is_ok() && matches!(&status, Ok(status) if status["queued"] == 0 && status["online"] == true) {
                break;
            }
            anyhow::ensure!(Instant::now() < deadline, "{}: {caught_up:?}, {status:?}", device.name);
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// Panics, and doubts about a server that is honest.
fn look_at_programs(world: &World) {
    let recorder = &world.recorder;
    let panics = |who: &str, log: &str| {
        for line in log.lines().filter(|line| line.contains("panicked at")) {
            recorder.incident(Invariant::Alive, format!("{who}: {line}"));
        }
    };
    panics("the server", &world.server().log());
    for device in &world.devices {
        panics(&device.name, &device.log());
        if let Ok(status) = device.call("status", &json!({}), PATIENCE) {
            for doubt in status["doubts"].as_array().into_iter().flatten() {
                recorder.incident(Invariant::I3, format!("{} doubts the server: {doubt}", device.name));
            }
            for held in status["held"].as_array().into_iter().flatten() {
                recorder.incident(Invariant::Alive, format!("{} holds everything for {held}", device.name));
            }
        }
    }
}
