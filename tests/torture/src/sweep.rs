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
    "deed.before",
    "deed.after",
    "mark-read.before",
    "mark-read.after",
    "read-position.before",
    "read-position.after",
    "read-receipt.before",
    "read-receipt.after",
    "set.before",
    "set.after",
    "seal.before",
    "seal.after",
    "send.posted",
    "read.before",
    "read.after",
    "acknowledge.posted",
    "receipt.before",
    "receipt.after",
    "settle.before",
    "settle.after",
    "unseal.before",
    "unseal.after",
    "refused.before",
    "refused.after",
    "give-up.before",
    "give-up.after",
    "skip.before",
    "skip.after",
    "key-packages.before",
    "key-packages.after",
    "chat-heard-of.before",
    "chat-heard-of.after",
    "introduce.before",
    "introduce.after",
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
    "join-alone.before",
    "join-alone.after",
    "join-alone-refused.before",
    "join-alone-refused.after",
    "joined-alone.before",
    "joined-alone.after",
    "acknowledge-inbox.posted",
    "told.before",
    "told.after",
    "manifest.before",
    "manifest.after",
];
/// Points of the server.
pub const SERVER: &[&str] = &["write.before", "write.after", "write.published", "write.answered"];
/// Those of a MySQL or MariaDB alone: all but appending and acknowledging has a transaction of its own there.
pub const MYSQL: &[&str] = &["change.before", "change.after"];
/// Points that are reached by chance only: not reaching them is no failure.
const BY_CHANCE: &[&str] = &[
    "settle",
    "unseal",
    "refused",
    "give-up",
    "skip",
    "key-packages",
    "chat-heard-of",
    "introduce",
    "created",
    "commit-refused",
    "join",
    "told",
];
/// Points that need two who change a group at the same time.
const CONTENDED: &[&str] = &["unseal", "commit-refused"];
/// The first time, and later ones: what is repeated may differ from what is new.
const TIMES: [usize; 3] = [1, 2, 7];
/// How long the others work until the victim must have died.
const UNTIL: Duration = Duration::from_secs(20);

fn belongs_to(point: &str, steps: &[&str]) -> bool {
    point.split_once('.').is_some_and(|(step, _)| steps.contains(&step))
}

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
        self.violations.is_empty() && self.missed.iter().all(|point| belongs_to(point, BY_CHANCE))
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

/// Does it, with one world for all points: those of these steps ("seal"), or all if none is named.
///
/// # Errors
/// There is no such step; the world cannot be set up, or does not come back; or nothing dies anywhere: then the programs
/// have no such points.
pub fn sweep(storage: &Storage, steps: &[String], say: &mut dyn FnMut(String)) -> Result<Outcome> {
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let known = |step: &&str| [CLIENT, SERVER, MYSQL].iter().any(|all| all.iter().any(|one| belongs_to(one, &[step])));
    let strange: Vec<&str> = steps.iter().copied().filter(|step| !known(step)).collect();
    ensure!(strange.is_empty(), "no such step: {}", strange.join(", "));
    let world = World::set_up(storage, 2, 2, false)?;
    let mut outcome = Outcome::default();
    let mut count = 0;
    let client = CLIENT.iter().map(|point| (point, false));
    let mysql: &[&str] = if *storage == Storage::Sqlite { &[] } else { MYSQL };
    let all = client.chain(SERVER.iter().chain(mysql).map(|point| (point, true)));
    for (point, of_server) in all.filter(|(point, _)| steps.is_empty() || belongs_to(point, &steps)) {
        let mut died = 0;
        for times in TIMES {
            count += 1;
            let name = format!("{point}#{times}");
            world.recorder.note(format!("CRASH {name}"));
            // Only those who founded the group may change it.
            let place = if belongs_to(point, CONTENDED) { 0 } else { count % world.devices.len() };
            let victim = world.devices.get(place).context("no device")?;
            let reached = provoke(&world, victim, &name, of_server)?;
            died += usize::from(reached);
            heal(&world, victim, of_server)?;
            run::rest(&world, &mut fastrand::Rng::with_seed(count as u64));
            if !reached {
                // Still less is it reached more often.
                break;
            }
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
        errand(world, victim, number / world.devices.len().max(1));
        if belongs_to(name, CONTENDED) {
            contend(world, victim, name, number);
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
        if number.is_multiple_of(16) {
            meet(victim, world.founder()?);
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(false)
}

/// Each of them makes a room that remembers, and the other one comes in by itself and is told what was written.
fn meet(victim: &Device, founder: &Device) {
    const HURRY: Duration = Duration::from_secs(5);
    for (host, guest) in [(founder, victim), (victim, founder)] {
        let room = format!("#sweep-{:08x}", fastrand::u32(..));
        let at = json!({ "chat": room });
        let made = host.call("join_room", &at, HURRY).and_then(|_| {
            host.call("change_group", &json!({ "chat": room, "change": { "history": 20 } }), HURRY)?;
            host.call("send", &json!({ "chat": room, "text": "before" }), HURRY)
        });
        if made.is_ok() {
            let _ = guest.call("join_room", &at, HURRY);
        }
    }
}

/// Something else that a user does.
fn errand(world: &World, victim: &Device, number: usize) {
    const HURRY: Duration = Duration::from_secs(2);
    let chats = world.chats(victim);
    let (chat, _) = &chats[number % chats.len()];
    let call = |method: &str, params: serde_json::Value| victim.call(method, &params, HURRY);
    let _ = match number % 4 {
        0 => call("mark_read", json!({ "chat": chat })),
        1 => call("mute", json!({ "chat": chat, "muted": number % 8 == 1 })),
        2 => call("backup_now", json!({})),
        _ => call("history", json!({ "chat": chat })).and_then(|history| {
            let mut messages = history["messages"].as_array().into_iter().flatten();
            let last = messages.rfind(|one| one["kind"] == "text" && one["seq"].is_number());
            let message =
                json!({ "id": last.map(|one| &one["id"]), "chat": chat, "from": last.map(|one| &one["from"]) });
            call("react", json!({ "message": message, "emoji": "🌊", "wait": false }))
        }),
    };
}

/// Two devices of the founder change the group at once, and write into it meanwhile: one of them is refused.
fn contend(world: &World, victim: &Device, name: &str, number: usize) {
    let founders = world.devices.iter().filter(|device| device.username() == victim.username());
    thread::scope(|scope| {
        for device in founders {
            scope.spawn(move || {
                let title = format!("{name} {number} {}", device.name);
                let change = json!({ "chat": world.group, "change": { "name": title } });
                let _ = device.call("change_group", &change, Duration::from_secs(3));
            });
        }
        for place in 0..8 {
            let text = format!("{name}-contended-{number}-{place}");
            run::write(world, victim, (&world.group, &world.group), text, true, Duration::from_secs(2));
        }
    });
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
