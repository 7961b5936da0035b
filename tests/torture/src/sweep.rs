//! Killing programs at named points of sending and receiving, one point after the other: before and after what is
//! durable. The programs must be built with `--features waxwing-crash/enabled`.

use crate::{
    checker::Violation,
    device::Device,
    run::{self, Storage},
    world::World,
};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

/// Points of the client.
pub const CLIENT: &[&str] = &[
    "queue.before",
    "queue.after",
    "seal.before",
    "seal.after",
    "send.posted",
    "read.before",
    "read.after",
    "acknowledge.posted",
    "receipt.before",
    "receipt.after",
    "unseal.before",
    "unseal.after",
    "create.before",
    "create.after",
    "created.before",
    "created.after",
    "commit.before",
    "commit.after",
    "commit-refused.before",
    "commit-refused.after",
    "join.before",
    "join.after",
    "acknowledge-inbox.posted",
];
/// Points of the server.
pub const SERVER: &[&str] = &["write.before", "write.after", "write.published", "write.answered"];
/// Points that are reached by chance only: not reaching them is no failure.
const BY_CHANCE: &[&str] = &["unseal", "commit-refused"];
/// The first time, and later ones: what is repeated may differ from what is new.
const TIMES: [usize; 3] = [1, 2, 7];
/// How long the others work until the victim must have died.
const UNTIL: Duration = Duration::from_secs(20);

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Points that were reached, with how often the program died there.
    pub reached: Vec<(String, usize)>,
    /// Points at which nothing died.
    pub missed: Vec<String>,
    /// What was broken of what is promised, each with its story.
    pub violations: Vec<(Violation, String)>,
}

impl Outcome {
    /// Whether every point was reached and nothing was broken.
    pub fn is_good(&self) -> bool {
        let by_chance = |point: &String| BY_CHANCE.iter().any(|step| point.starts_with(step));
        self.violations.is_empty() && self.missed.iter().all(by_chance)
    }

    /// How often a program died.
    pub fn crashes(&self) -> usize {
        self.reached.iter().map(|(_, times)| times).sum()
    }

    /// As `--json` prints it.
    pub fn json(&self) -> Value {
        let violations: Vec<Value> = self
            .violations
            .iter()
            .map(|(violation, story)| json!({ "violation": violation, "story": story }))
            .collect();
        json!({
            "crashes": self.crashes(),
            "points": self.reached.iter().map(|(point, times)| (point.clone(), json!(times))).collect::<serde_json::Map<_, _>>(),
            "missed": self.missed,
            "violations": violations,
        })
    }

    /// The same for people.
    pub fn in_words(&self) -> String {
        let mut text = String::new();
        for (point, times) in &self.reached {
            let _ = writeln!(text, "{point:<26}{times:>3}");
        }
        for point in &self.missed {
            let _ = writeln!(text, "{point:<26} not reached");
        }
        for (_, story) in &self.violations {
            let _ = writeln!(text, "\nVIOLATION {story}");
        }
        let _ = writeln!(text, "{} crashes, {} violations", self.crashes(), self.violations.len());
        text
    }
}

/// Does it, with one world for all points.
///
/// # Errors
/// The world cannot be set up, or does not come back; or nothing dies anywhere: then the programs have no such points.
pub fn sweep(storage: &Storage, say: &mut dyn FnMut(String)) -> Result<Outcome> {
    let world = World::set_up(storage, 2, 2)?;
    let mut outcome = Outcome::default();
    let mut count = 0;
    for (point, of_server) in CLIENT.iter().map(|point| (point, false)).chain(SERVER.iter().map(|point| (point, true)))
    {
        let mut died = 0;
        for times in TIMES {
            count += 1;
            let name = format!("{point}#{times}");
            world.recorder.note(format!("CRASH {name}"));
            let victim = world.devices.get(count % world.devices.len()).context("no device")?;
            died += usize::from(provoke(&world, victim, &name, of_server)?);
            heal(&world, victim, of_server)?;
            run::rest(&world, &mut fastrand::Rng::with_seed(count as u64));
        }
        say(format!("{point}: died {died} times of {}", TIMES.len()));
        match died {
            0 => outcome.missed.push((*point).to_owned()),
            _ => outcome.reached.push(((*point).to_owned(), died)),
        }
        ensure!(count < 12 || outcome.crashes() > 0, "nothing dies: build with --features waxwing-crash/enabled");
        outcome.violations = run::judge(&world);
        if !outcome.violations.is_empty() {
            break;
        }
    }
    Ok(outcome)
}

/// Lets everybody work until the program has died at the point; says whether it has.
fn provoke(world: &World, victim: &Device, name: &str, of_server: bool) -> Result<bool> {
    if of_server {
        let mut server = world.server();
        server.set("WAXWING_CRASH_AT", name);
        // It may die before it listens: migrations and the like write, too.
        let _ = server.restart();
    } else {
        victim.kill();
        victim.crash_at(name);
        // The same.
        let _ = victim.start();
    }
    let begun = Instant::now();
    let mut number = 0;
    while begun.elapsed() < UNTIL {
        let died = if of_server { world.server().has_ended() } else { victim.has_ended() };
        if died {
            return Ok(true);
        }
        for device in &world.devices {
            let chats = world.chats(device);
            let (chat, all) = &chats[number % chats.len()];
            number += 1;
            let text = format!("{name}-{}-{number}", device.name);
            run::write(world, device, (chat, all), text, true, Duration::from_secs(2));
        }
        // What changes groups: a new one by the victim, a new one with the victim, a change of an old one.
        if number.is_multiple_of(16) {
            for maker in [victim, world.founder()?] {
                let others: Vec<&str> = world.users().into_iter().filter(|user| *user != maker.username()).collect();
                let group = json!({ "title": name, "members": others });
                if let Ok(made) = maker.call("create_group", &group, Duration::from_secs(5)) {
                    let title = format!("{name} {number}");
                    let change = json!({ "chat": made["chat"], "change": { "name": title } });
                    let _ = maker.call("change_group", &change, Duration::from_secs(2));
                }
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(false)
}

fn heal(world: &World, victim: &Device, of_server: bool) -> Result<()> {
    match of_server {
        true => {
            let mut server = world.server();
            server.unset("WAXWING_CRASH_AT");
            server.restart()
        }
        false => victim.start(),
    }
}
