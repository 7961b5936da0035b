//! What can be broken, how, and for how long.
//!
//! A fault counts when it struck something: a cut counts if there was a connection, a kill if there was a process.

use crate::{
    checker::Invariant,
    database::{Locked, lock, lock_backwards, set_read_only},
    device::Device,
    history::{Lapse, Moment},
    world::World,
};
use anyhow::{Result, bail};
use fastrand::Rng;
use std::{
    collections::BTreeMap,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::Scope,
    time::{Duration, Instant},
};
use waxwing_tests::{Clock, DAY, Direction, Fault};

macro_rules! kinds {
    ($($kind:ident $name:literal $weight:literal $what:literal),+ $(,)?) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind { $(#[doc = $what] $kind),+ }

        impl Kind {
            /// All, each with its name, how often it is chosen compared to the others, and what it is.
            pub const ALL: &[(Self, &'static str, u32, &'static str)] =
                &[$((Self::$kind, $name, $weight, $what)),+];
        }
    };
}

kinds! {
    Cut "cut" 30 "a device's connections are closed",
    Reset "reset" 20 "a device's connections are reset",
    CutWithin "cut-within" 16 "a device's connection is closed in the middle of a frame",
    Flip "flip" 8 "a bit on the wire is flipped",
    LoseAnswers "lose-answers" 20 "what a device asks arrives, the answers do not, then the connection is closed",
    BlackHole "black-hole" 5 "everything between a device and the server vanishes for a while",
    HalfOpen "half-open" 6 "what goes one way vanishes for a while",
    Delay "delay" 6 "everything takes longer for a while",
    Refuse "refuse" 6 "a device cannot connect for a while",
    KillClient "kill-client" 16 "kill -9 of a client",
    KillServer "kill-server" 3 "kill -9 of the server",
    RestartServer "restart-server" 1 "the server is stopped in order and started",
    PauseClient "pause-client" 6 "a client stands still for a while (SIGSTOP)",
    PauseServer "pause-server" 2 "the server stands still for a while (SIGSTOP)",
    FullClient "full-client" 4 "a client's disk is full for a while",
    FullServer "full-server" 2 "the server's disk is full for a while",
    LockDatabase "lock-database" 2 "another program holds the server's embedded database for a while",
    KillDatabase "kill-database" 1 "kill -9 of the MariaDB that the run has started",
    ReadOnlyDatabase "read-only-database" 2 "that MariaDB takes no changes for a while",
    Deadlock "deadlock" 4 "somebody else locks rows of that MariaDB the other way round",
    Clock "clock" 4 "the clock of a client or of the server is a day or ten years off for a while (libfaketime)",
    OldCopy "old-copy" 1 "an old copy of a device's folder is put back",
    Remove "remove" 3 "somebody is put out of the group while everybody writes, and let in again",
    Burst "burst" 10 "two devices write many messages at the same moment",
}

impl Kind {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, ..)| name)
    }

    fn weight(self) -> u32 {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or(0, |(_, _, weight, _)| *weight)
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = || Self::ALL.iter().map(|(_, name, ..)| *name).collect::<Vec<_>>().join(", ");
        let found = Self::ALL.iter().find(|(_, known, ..)| *known == name);
        found.map(|(kind, ..)| *kind).ok_or_else(|| format!("there is no fault {name:?}; there are: {}", all()))
    }
}

/// What ends a fault that lasts.
enum Undo<'a> {
    Network(&'a Device, bool),
    StartClient(&'a Device),
    StartServer,
    ResumeClient(&'a Device),
    ResumeServer,
    RoomForClient(&'a Device),
    RoomForServer,
    Unlock(Locked),
    StartDatabase,
    Writable,
    TrueTime(&'a Clock),
}

/// Breaks things in a world, one fault after the other, and mends them again.
pub(crate) struct Injector<'a> {
    world: &'a World,
    kinds: &'a [Kind],
    pending: Vec<(Instant, Undo<'a>)>,
    /// Whose folder was copied, and when.
    copied: Option<(&'a Device, Moment, Instant)>,
    old_copies: u32,
    /// Whether somebody is out of the group.
    removing: Arc<AtomicBool>,
    pub(crate) counts: BTreeMap<Kind, u64>,
}

fn milliseconds(rng: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.u64(from..to))
}

impl<'a> Injector<'a> {
    pub(crate) fn new(world: &'a World, kinds: &'a [Kind]) -> Self {
        Self {
            world,
            kinds,
            pending: Vec::new(),
            copied: None,
            old_copies: 0,
            removing: Arc::default(),
            counts: BTreeMap::new(),
        }
    }

    /// Breaks something, if what was chosen can be broken now. `burst` makes a device write much.
    pub(crate) fn strike<'s>(
        &mut self,
        rng: &mut Rng,
        scope: &'s Scope<'s, '_>,
        burst: &mut dyn FnMut(&'a Device),
    ) -> Result<()>
    where
        'a: 's,
    {
        self.mend_due(Instant::now())?;
        let total: u32 = self.kinds.iter().map(|kind| kind.weight()).sum();
        let mut choice = rng.u32(0..total.max(1));
        let kind = self.kinds.iter().copied().find(|kind| {
            let here = choice < kind.weight();
            choice = choice.saturating_sub(kind.weight());
            here
        });
        let (Some(kind), false) = (kind, self.world.devices.is_empty()) else { return Ok(()) };
        let device = &self.world.devices[rng.usize(..self.world.devices.len())];
        if self.inflict(kind, device, rng, scope, burst)? {
            let of = match kind {
                Kind::KillServer | Kind::RestartServer | Kind::PauseServer | Kind::FullServer => "server",
                Kind::LockDatabase | Kind::KillDatabase | Kind::ReadOnlyDatabase | Kind::Deadlock => "database",
                _ => device.name.as_str(),
            };
            self.world.recorder.note(format!("FAULT {} ({of})", kind.name()));
            *self.counts.entry(kind).or_default() += 1;
        }
        Ok(())
    }

    /// Whether it struck.
    fn inflict<'s>(
        &mut self,
        kind: Kind,
        device: &'a Device,
        rng: &mut Rng,
        scope: &'s Scope<'s, '_>,
        burst: &mut dyn FnMut(&'a Device),
    ) -> Result<bool>
    where
        'a: 's,
    {
        let proxy = &device.proxy;
        let way = if rng.bool() { Direction::ToServer } else { Direction::ToClient };
        let (undo, after) = match kind {
            Kind::Cut => return Ok(proxy.cut() > 0),
            Kind::Reset => return Ok(proxy.reset() > 0),
            Kind::CutWithin => {
                proxy.set(Fault::CutAfter(way, rng.u64(1..30_000)));
                (Undo::Network(device, false), milliseconds(rng, 300, 1200))
            }
            Kind::Flip => {
                proxy.set(Fault::Flip(way, rng.u64(1..20_000)));
                (Undo::Network(device, false), milliseconds(rng, 500, 2500))
            }
            Kind::LoseAnswers => {
                proxy.set(Fault::Swallow(Direction::ToClient));
                (Undo::Network(device, true), milliseconds(rng, 50, 500))
            }
            Kind::BlackHole => {
                proxy.set(Fault::BlackHole);
                (Undo::Network(device, rng.u8(..4) > 0), milliseconds(rng, 300, 3000))
            }
            Kind::HalfOpen => {
                proxy.set(Fault::Swallow(way));
                (Undo::Network(device, rng.u8(..4) > 0), milliseconds(rng, 300, 3000))
            }
            Kind::Delay => {
                proxy.set(Fault::Delay(milliseconds(rng, 5, 200)));
                (Undo::Network(device, false), milliseconds(rng, 500, 3000))
            }
            Kind::Refuse => {
                proxy.set(Fault::Refuse);
                proxy.cut();
                (Undo::Network(device, false), milliseconds(rng, 200, 1500))
            }
            Kind::KillClient => {
                if !device.kill() {
                    return Ok(false);
                }
                (Undo::StartClient(device), milliseconds(rng, 0, 800))
            }
            Kind::KillServer | Kind::RestartServer => {
                let mut server = self.world.server();
                if server.process().is_none() {
                    return Ok(false);
                }
                // One that stands still would never stop.
                let _ = server.process().map(waxwing_tests::Running::resume);
                if kind == Kind::KillServer {
                    server.kill();
                } else if let Err(error) = server.stop() {
                    self.world.recorder.incident(Invariant::Alive, format!("the server does not stop: {error:#}"));
                    server.kill();
                }
                (Undo::StartServer, milliseconds(rng, 0, 800))
            }
            Kind::PauseClient => match device.with_daemon(waxwing_tests::Running::pause) {
                true => (Undo::ResumeClient(device), milliseconds(rng, 100, 2500)),
                false => return Ok(false),
            },
            Kind::PauseServer => match self.world.server().process().map(waxwing_tests::Running::pause) {
                Some(Ok(())) => (Undo::ResumeServer, milliseconds(rng, 100, 1500)),
                _ => return Ok(false),
            },
            Kind::FullClient => {
                let room = rng.u64(4..64) * 1024;
                match device.with_daemon(|daemon| daemon.limit_files(Some(room))) {
                    true => (Undo::RoomForClient(device), milliseconds(rng, 300, 2500)),
                    false => return Ok(false),
                }
            }
            Kind::FullServer => {
                let room = rng.u64(4..64) * 1024;
                match self.world.server().process().map(|server| server.limit_files(Some(room))) {
                    Some(Ok(())) => (Undo::RoomForServer, milliseconds(rng, 300, 1500)),
                    _ => return Ok(false),
                }
            }
            Kind::LockDatabase => match self.world.database_file.as_deref().map(lock) {
                Some(Ok(locked)) => (Undo::Unlock(locked), milliseconds(rng, 200, 2500)),
                _ => return Ok(false),
            },
            Kind::KillDatabase => {
                let Some(database) = &self.world.database else { return Ok(false) };
                if self.pending.iter().any(|(_, undo)| matches!(undo, Undo::StartDatabase)) {
                    return Ok(false);
                }
                let before = database.kill();
                if before.is_err() {
                    return Ok(false);
                }
                (Undo::StartDatabase, milliseconds(rng, 0, 1500))
            }
            Kind::ReadOnlyDatabase => {
                match self.world.database.as_ref().map(|database| set_read_only(database, true)) {
                    Some(Ok(())) => (Undo::Writable, milliseconds(rng, 200, 1500)),
                    _ => return Ok(false),
                }
            }
            Kind::Deadlock => {
                let Some(database) = &self.world.database else { return Ok(false) };
                // It may come too late or too early; whoever loses is the server, mostly.
                scope.spawn(move || drop(lock_backwards(database)));
                return Ok(true);
            }
            Kind::Clock => {
                let server = self.world.clock.as_ref().filter(|_| rng.u8(..4) == 0);
                let Some(clock) = server.or(device.clock.as_ref()) else { return Ok(false) };
                let seconds = [DAY, -DAY, 3650 * DAY, -3650 * DAY][rng.usize(..4)];
                clock.set(seconds)?;
                (Undo::TrueTime(clock), milliseconds(rng, 1000, 4000))
            }
            Kind::OldCopy => return self.old_copy(device),
            Kind::Remove => {
                let users = self.world.users();
                let user = users[rng.usize(..users.len())].to_owned();
                if Some(user.as_str()) == users.first().copied() || self.removing.swap(true, Ordering::Relaxed) {
                    return Ok(false);
                }
                let (world, removing, outside) = (self.world, self.removing.clone(), milliseconds(rng, 300, 3000));
                scope.spawn(move || {
                    world.change_membership(&user, false, Duration::from_secs(3));
                    std::thread::sleep(outside);
                    world.change_membership(&user, true, Duration::from_secs(5));
                    removing.store(false, Ordering::Relaxed);
                });
                return Ok(true);
            }
            Kind::Burst => {
                let other = &self.world.devices[rng.usize(..self.world.devices.len())];
                burst(device);
                burst(other);
                return Ok(true);
            }
        };
        self.pending.push((Instant::now() + after, undo));
        Ok(true)
    }

    /// Copies a device's folder, or puts the copy back that was made some time ago.
    fn old_copy(&mut self, device: &'a Device) -> Result<bool> {
        let world = self.world;
        let recorder = &world.recorder;
        match self.copied {
            None if self.old_copies == 0 => {
                device.kill();
                self.forget_start_of(device);
                device.copy()?;
                recorder.note(format!("{} is copied", device.name));
                // What was sent before, but had not come here, the copy does not have either.
                self.copied = Some((device, recorder.rested(), Instant::now()));
                device.start()?;
                Ok(false)
            }
            Some((device, from, at)) if at.elapsed() > Duration::from_secs(3) => {
                self.copied = None;
                self.old_copies += 1;
                device.kill();
                self.forget_start_of(device);
                device.put_back()?;
                recorder.lapse(Lapse { device: device.name.clone(), from, to: Moment::MAX });
                recorder.note(format!("FAULT old-copy: {} is as it was at its copy", device.name));
                device.start()?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn forget_start_of(&mut self, device: &Device) {
        let starts = |undo: &Undo<'_>| matches!(undo, Undo::StartClient(other) if std::ptr::eq(*other, device));
        self.pending.retain(|(_, undo)| !starts(undo));
    }

    fn mend_due(&mut self, now: Instant) -> Result<()> {
        let (due, later) = std::mem::take(&mut self.pending).into_iter().partition(|(at, _)| *at <= now);
        self.pending = later;
        for (_, undo) in due {
            self.mend(undo)?;
        }
        Ok(())
    }

    /// Mends everything.
    pub(crate) fn heal(mut self) -> Result<BTreeMap<Kind, u64>> {
        for (_, undo) in std::mem::take(&mut self.pending) {
            self.mend(undo)?;
        }
        for device in &self.world.devices {
            device.proxy.set(Fault::None);
            // What swallowed bytes have broken would only be found after a while.
            device.proxy.cut();
        }
        Ok(self.counts)
    }

    fn mend(&mut self, undo: Undo<'a>) -> Result<()> {
        let world = self.world;
        match undo {
            Undo::Network(device, cut) => {
                device.proxy.set(Fault::None);
                if cut {
                    device.proxy.cut();
                }
            }
            Undo::StartClient(device) => device.start()?,
            Undo::StartServer => {
                // Without its database it does not start, and says so: whoever runs it would see to that first.
                if let Some(database) = &world.database {
                    database.restart()?;
                }
                world.server().restart()?;
            }
            Undo::ResumeClient(device) => drop(device.with_daemon(waxwing_tests::Running::resume)),
            Undo::ResumeServer => {
                if let Some(server) = world.server().process() {
                    server.resume()?;
                }
            }
            Undo::RoomForClient(device) => drop(device.with_daemon(|daemon| daemon.limit_files(None))),
            Undo::RoomForServer => {
                if let Some(server) = world.server().process() {
                    server.limit_files(None)?;
                }
            }
            Undo::Unlock(locked) => drop(locked),
            // One that was killed meanwhile comes back writable.
            Undo::Writable => drop(world.database.as_ref().map(|database| set_read_only(database, false))),
            Undo::TrueTime(clock) => clock.set(0)?,
            Undo::StartDatabase => match &world.database {
                Some(database) => database.restart()?,
                None => bail!("there is no database to start"),
            },
        }
        Ok(())
    }
}
