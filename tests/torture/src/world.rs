//! A server with its users, their devices, and the chats between them; set up before anything breaks.

use crate::{
    database::prepare,
    device::{Device, Refusal},
    history::{Membership, Moment, View},
    recorder::Recorder,
    run::Storage,
};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};
use waxwing_tests::{Clock, Database, MariaDb, Server};

/// How long a device may take to answer while nothing is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The room that everybody is in.
const ROOM: &str = "#torture";
const NAMES: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];

/// See the module.
pub(crate) struct World {
    server: Mutex<Server>,
    pub(crate) devices: Vec<Device>,
    pub(crate) group: String,
    pub(crate) recorder: Recorder,
    pub(crate) database: Option<MariaDb>,
    pub(crate) database_file: Option<PathBuf>,
    /// What the server sees instead of the true time, if the run moves clocks.
    pub(crate) clock: Option<Clock>,
    /// Marks that the devices' coming left in their chats: by device, the ids of such lines.
    marks: HashSet<(String, String)>,
}

impl World {
    /// Sets up everything and waits until every device is in the group and in the room. Direct chats are left for later:
    /// they are opened while things break, by both sides.
    pub(crate) fn set_up(storage: &Storage, users: usize, devices: usize, clocks: bool) -> Result<Self> {
        let database = matches!(storage, Storage::OwnMariaDb).then(MariaDb::start).transpose()?;
        database.as_ref().map(prepare).transpose()?;
        let mut server = match (storage, &database) {
            (Storage::Sqlite, _) => Server::set_up(Database::Sqlite, "open")?,
            (Storage::Url(url), _) => Server::set_up_at(url, &["--signup", "open"])?,
            (Storage::OwnMariaDb, Some(database)) => Server::set_up_at(database.url(), &["--signup", "open"])?,
            (Storage::OwnMariaDb, None) => bail!("no MariaDB"),
        };
        // What a device that comes anew again and again would reach is not what is looked for here.
        for limit in ["KEY_PACKAGES", "KEY_PACKAGES_OF_ONE", "LOOK_UPS", "PROBES"] {
            server.set(&format!("WAXWING_LIMITS_{limit}"), "off");
        }
        let clock = clocks.then(|| Clock::new(server.beside("clock"))).transpose()?;
        for (variable, value) in clock.iter().flat_map(Clock::variables) {
            server.set(variable, value);
        }
        server.restart()?;
        let (link, port) = (server.link().to_owned(), server.port());
        let enrolled: Vec<Result<Vec<Device>>> = thread::scope(|scope| {
            let enrol = |name: &'static str| {
                let link = link.as_str();
                let all = move || -> Result<Vec<Device>> {
                    (1..=devices).map(|number| Device::enrol(link, port, name, number, clocks)).collect()
                };
                scope.spawn(all)
            };
            let threads: Vec<_> = NAMES.into_iter().take(users).map(enrol).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("enrolling panicked"))).collect()
        });
        let devices = enrolled.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect::<Vec<_>>();
        for device in &devices {
            device.start()?;
        }
        let database_file = matches!(storage, Storage::Sqlite).then(|| server.database_file());
        let mut world = Self {
            server: Mutex::new(server),
            devices,
            group: String::new(),
            recorder: Recorder::new(),
            database,
            database_file,
            clock,
            marks: HashSet::new(),
        };
        world.gather()?;
        let views = world.views().map_err(|refusal| anyhow::anyhow!("no views: {refusal}"))?;
        for View { device, lines, .. } in views {
            world.marks.extend(lines.into_iter().map(|line| (device.clone(), line.id)));
        }
        Ok(world)
    }

    /// Makes the group and the room.
    fn gather(&mut self) -> Result<()> {
        let founder = self.founder()?;
        let others: Vec<&str> = self.users().into_iter().filter(|user| *user != founder.username()).collect();
        let made = founder
            .call("create_group", &json!({ "title": "Tortured", "members": others }), PATIENCE)
            .map_err(|refusal| anyhow::anyhow!("no group: {refusal}"))?;
        let group = made["chat"].as_str().context("the group has no name")?.to_owned();
        for device in &self.devices {
            let joined = device.call("join_room", &json!({ "chat": ROOM }), PATIENCE);
            joined.map_err(|refusal| anyhow::anyhow!("{} does not come into the room: {refusal}", device.name))?;
        }
        self.group = group;
        for chat in [self.group.as_str(), ROOM] {
            // Newcomers are told nothing of what was before them: whoever is put out must not read it later either.
            let change = json!({ "chat": chat, "change": { "history": 0 } });
            let done = self.founder()?.call("change_group", &change, PATIENCE);
            done.map_err(|refusal| anyhow::anyhow!("{chat} keeps its history: {refusal}"))?;
            self.wait_for_members(chat, Instant::now() + PATIENCE)?;
        }
        Ok(())
    }

    pub(crate) fn founder(&self) -> Result<&Device> {
        self.devices.first().context("no device")
    }

    pub(crate) fn users(&self) -> Vec<&str> {
        let mut users: Vec<&str> = self.devices.iter().map(Device::username).collect();
        users.dedup();
        users
    }

    /// Waits until every device is in a group, as everybody sees it.
    fn wait_for_members(&self, chat: &str, deadline: Instant) -> Result<()> {
        for device in &self.devices {
            loop {
                let group = device.call("group", &json!({ "chat": chat }), PATIENCE);
                let count = |group: &Value| -> u64 {
                    let members = group["members"].as_array().into_iter().flatten();
                    members.filter_map(|member| member["devices"].as_u64()).sum()
                };
                // A device that came anew leaves its former self behind for a while.
                if matches!(&group, Ok(group) if count(group) >= self.devices.len() as u64) {
                    break;
                }
                ensure!(Instant::now() < deadline, "{} is not in {chat}: {group:?}", device.name);
                let _ = device.call("catch_up", &json!({ "patience_ms": 5000 }), PATIENCE);
                thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    pub(crate) fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chats of a device: what it calls each, and what all call it.
    pub(crate) fn chats(&self, device: &Device) -> Vec<(String, String)> {
        let own = device.username();
        let direct = self.users().into_iter().filter(|user| *user != own).map(|user| {
            let (low, high) = if own < user { (own, user) } else { (user, own) };
            (user.to_owned(), format!("{low}+{high}"))
        });
        let groups = [self.group.clone(), ROOM.to_owned()].into_iter().map(|name| (name.clone(), name));
        direct.chain(groups).collect()
    }

    /// Puts everybody back into the group who is not in it, and makes certain what was not.
    pub(crate) fn reunite(&self, deadline: Instant) -> Result<()> {
        let founder = self.founder()?;
        loop {
            let group = founder.call("group", &json!({ "chat": self.group }), PATIENCE);
            let inside: Option<Vec<String>> = group.as_ref().ok().and_then(|group| {
                let members = group["members"].as_array()?;
                Some(members.iter().filter_map(|one| one["username"].as_str().map(str::to_owned)).collect())
            });
            let Some(inside) = inside else {
                ensure!(Instant::now() < deadline, "the group is gone for {}: {group:?}", founder.name);
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            let outside: Vec<&str> =
                self.users().into_iter().filter(|user| !inside.iter().any(|one| one == user)).collect();
            if outside.is_empty() {
                break;
            }
            for user in outside {
                self.change_membership(user, true, PATIENCE);
            }
            ensure!(Instant::now() < deadline, "not everybody comes back into the group");
        }
        self.wait_for_members(&self.group, deadline)?;
        self.recorder.settle_memberships();
        Ok(())
    }

    /// Lets somebody into the group or puts them out, and records it.
    pub(crate) fn change_membership(&self, user: &str, inside: bool, patience: Duration) {
        let Ok(founder) = self.founder() else { return };
        let word = if inside { "invite" } else { "remove" };
        let invoked = self.recorder.note(format!("{} begins to {word} {user}", founder.name));
        let change = json!({ "chat": self.group, "change": { word: [user] } });
        let done = founder.call("change_group", &change, patience);
        let returned = self.recorder.note(match &done {
            Ok(_) => format!("{user} is {}", if inside { "in" } else { "out" }),
            Err(refusal) => format!("it is not known whether {user} is in or out: {refusal}"),
        });
        let certain = if done.is_ok() { returned } else { Moment::MAX };
        let (chat, user) = (self.group.clone(), user.to_owned());
        self.recorder.membership(Membership { chat, user, inside, invoked, certain });
    }

    /// What every device shows of every chat.
    pub(crate) fn views(&self) -> Result<Vec<View>, Refusal> {
        let mut views = Vec::new();
        for device in &self.devices {
            for (chat, name) in self.chats(device) {
                let mut view = device.view(&chat, &name, PATIENCE)?;
                view.lines.retain(|line| !self.marks.contains(&(device.name.clone(), line.id.clone())));
                views.push(view);
            }
        }
        Ok(views)
    }

    /// Leaves all files where they are; says where.
    pub(crate) fn keep(&mut self) -> Vec<PathBuf> {
        let server = self.server().keep();
        self.devices.iter_mut().map(Device::keep).chain([server]).collect()
    }
}
