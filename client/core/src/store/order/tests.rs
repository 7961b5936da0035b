//! Random conversations: devices that write, read, come, miss expired entries and are killed, each with rows of its own.
//! With an honest server nobody ever differs; with one that shows somebody another log, the next who writes is the witness.

use super::*;
use crate::store::{self, chats};
use proptest::prelude::*;
use waxwing_e2ee::{local::LocalKey, order::START};

/// What a device does. Numbers choose among what is possible then.
#[derive(Clone, Debug)]
enum Step {
    /// It seals a message, which is on its way to the server until `Arrive`.
    Write { device: usize },
    /// The server takes the oldest message that a device has on the way.
    Arrive { device: usize },
    /// It reads up to so many entries in one transaction; killed before the commit, it reads them again later.
    Read { device: usize, entries: usize, killed: bool },
    /// What it has not read yet has expired, up to so many entries before the newest.
    Expire { device: usize, kept: usize },
    /// A member lets the next device in.
    Join,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..5usize).prop_map(|device| Step::Write { device }),
        4 => (0..5usize).prop_map(|device| Step::Arrive { device }),
        6 => (0..5usize, 1..6usize, prop::bool::weighted(0.2))
            .prop_map(|(device, entries, killed)| Step::Read { device, entries, killed }),
        1 => (0..5usize, 0..4usize).prop_map(|(device, kept)| Step::Expire { device, kept }),
        1 => Just(Step::Join),
    ];
    prop::collection::vec(step, 1..120)
}

/// An entry of the log: a message, or a change that nobody compares anything with.
#[derive(Clone, Debug)]
struct Entry {
    writer: usize,
    seen: Option<Seen>,
    bytes: Vec<u8>,
}

struct Device {
    chat: ChatId,
    /// None until it is let in.
    cursor: Option<u64>,
    on_the_way: Vec<Entry>,
    verdicts: Vec<Verdict>,
}

/// Five devices; the first begins.
struct World {
    db: Connection,
    devices: Vec<Device>,
    /// The log as the server keeps it.
    log: Vec<Entry>,
    /// The one device that the server shows another log, and how that one begins.
    fooled: Option<(usize, Vec<Entry>)>,
    written: u8,
}

impl World {
    fn new() -> Self {
        let db = store::open_in_memory(&LocalKey::generate(&mut crate::random())).unwrap();
        let device = |index: usize| Device {
            chat: chats::ensure(&db, &format!("chat{index}")).unwrap().chat,
            cursor: None,
            on_the_way: Vec::new(),
            verdicts: Vec::new(),
        };
        let devices = (0..5).map(device).collect();
        let mut world = Self { db, devices, log: Vec::new(), fooled: None, written: 0 };
        // The beginning lets the second device in.
        let first = Entry { writer: 0, seen: None, bytes: b"the beginning".to_vec() };
        begin(&world.db, world.devices[0].chat, 1, &order::next(&START, 1, &first.bytes)).unwrap();
        world.log.push(first);
        (world.devices[0].cursor, world.devices[1].cursor) = (Some(1), Some(1));
        world
    }

    /// The log as the server shows it to a device.
    fn shown(&self, device: usize) -> &[Entry] {
        match &self.fooled {
            Some((fooled, log)) if *fooled == device => log,
            _ => &self.log,
        }
    }

    fn append(&mut self, entry: Entry) {
        if let Some((_, log)) = &mut self.fooled {
            log.push(entry.clone());
        }
        self.log.push(entry);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Write { device } => {
                let one = &mut self.devices[device];
                let Some(cursor) = one.cursor else { return };
                self.written = self.written.wrapping_add(1);
                let seen = seen(&self.db, one.chat, cursor).unwrap();
                let bytes = vec![u8::try_from(device).unwrap(), self.written];
                one.on_the_way.push(Entry { writer: device, seen, bytes });
            }
            Step::Arrive { device } => {
                let waiting = &mut self.devices[device].on_the_way;
                if !waiting.is_empty() {
                    let entry = waiting.remove(0);
                    self.append(entry);
                }
            }
            Step::Read { device, entries, killed } => self.read(device, entries, killed),
            Step::Expire { device, kept } => {
                let newest = self.shown(device).len() as u64;
                let one = &mut self.devices[device];
                if let Some(cursor) = &mut one.cursor {
                    *cursor = (*cursor).max(newest.saturating_sub(kept as u64));
                }
            }
            Step::Join => {
                if let Some(next) = self.devices.iter().position(|device| device.cursor.is_none()) {
                    self.append(Entry { writer: 0, seen: None, bytes: format!("{next} comes in").into_bytes() });
                    self.devices[next].cursor = Some(self.shown(next).len() as u64);
                }
            }
        }
    }

    fn read(&mut self, device: usize, entries: usize, killed: bool) {
        let Some(cursor) = self.devices[device].cursor else { return };
        let log = self.shown(device).to_vec();
        let one = &self.devices[device];
        self.db.execute_batch("SAVEPOINT reading").unwrap();
        let mut verdicts = Vec::new();
        let mut last = cursor;
        for (entry, seq) in log.iter().zip(1u64..).skip(usize::try_from(cursor).unwrap()).take(entries) {
            if let Some(seen) = entry.seen.as_ref().filter(|_| entry.writer != device) {
                verdicts.push(compare(&self.db, one.chat, seq, seen).unwrap());
            }
            push(&self.db, one.chat, seq, &order::entry_hash(&entry.bytes)).unwrap();
            last = seq;
        }
        prune(&self.db, one.chat, last).unwrap();
        if killed {
            self.db.execute_batch("ROLLBACK TO reading; RELEASE reading").unwrap();
        } else {
            self.db.execute_batch("RELEASE reading").unwrap();
            self.devices[device].cursor = Some(last);
            self.devices[device].verdicts.extend(verdicts);
        }
    }

    fn run(&mut self, steps: &[Step]) {
        steps.iter().for_each(|step| self.step(step));
    }

    fn read_everything(&mut self, device: usize) {
        self.read(device, usize::MAX, false);
    }

    fn differs(&self, device: usize) -> bool {
        self.devices[device].verdicts.iter().any(|verdict| *verdict != Verdict::Agrees)
    }

    /// A device that has read everything writes a message that arrives at once.
    fn witness(&mut self, device: usize) {
        self.read_everything(device);
        while !self.devices[device].on_the_way.is_empty() {
            self.step(&Step::Arrive { device });
        }
        self.read_everything(device);
        self.step(&Step::Write { device });
        self.step(&Step::Arrive { device });
    }
}

/// What a server does to one device's log.
#[derive(Clone, Copy, Debug)]
enum Fraud {
    Withhold,
    Swap,
    Replace,
    Insert,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn with_an_honest_server_nobody_ever_differs(steps in steps()) {
        let mut world = World::new();
        world.run(&steps);
        for device in 0..5 {
            world.read_everything(device);
            prop_assert!(!world.differs(device), "device {device}: {:?}", world.devices[device].verdicts);
        }
    }

    /// Everybody who knows where the log began has the same digest of it, and tells it.
    #[test]
    fn digests_agree_between_devices(steps in steps()) {
        let mut world = World::new();
        world.run(&steps);
        world.witness(0);
        for device in 0..5 {
            world.read_everything(device);
        }
        let newest = world.log.len() as u64;
        let of = |device: &Device| seen(&world.db, device.chat, newest).unwrap();
        let first = of(&world.devices[0]);
        for device in world.devices.iter().filter(|device| device.cursor.is_some()) {
            let here = of(device);
            prop_assert!(here.is_none() || first.is_none() || here == first);
        }
    }

    #[test]
    fn whoever_is_shown_another_log_learns_it_from_the_next_who_writes(
        before in steps(),
        after in steps(),
        fraud in prop_oneof![Just(Fraud::Withhold), Just(Fraud::Swap), Just(Fraud::Replace), Just(Fraud::Insert)],
        messages in 2..6usize,
    ) {
        // Nothing expires: a device that misses entries knows that it does.
        let honest = |steps: &[Step]| -> Vec<Step> {
            steps.iter().filter(|step| !matches!(step, Step::Expire { .. })).cloned().collect()
        };
        let mut world = World::new();
        world.run(&honest(&before));
        // Both know the log up to here.
        world.witness(0);
        world.read_everything(1);
        prop_assert!(!world.differs(1));
        let known = world.log.len();
        for _ in 0..messages {
            world.step(&Step::Write { device: 0 });
            world.step(&Step::Arrive { device: 0 });
        }
        let mut log = world.log.clone();
        match fraud {
            Fraud::Withhold => drop(log.remove(known)),
            Fraud::Swap => log.swap(known, known + 1),
            Fraud::Replace => log[known].bytes = b"another".to_vec(),
            Fraud::Insert => log.insert(known, Entry { writer: 0, seen: None, bytes: b"one more".to_vec() }),
        }
        world.fooled = Some((1, log));
        world.run(&honest(&after));
        world.witness(0);
        world.read_everything(1);
        prop_assert!(world.differs(1), "{fraud:?} was not noticed");
        // And the others learn it from the one who was fooled.
        world.step(&Step::Write { device: 1 });
        while !world.devices[1].on_the_way.is_empty() {
            world.step(&Step::Arrive { device: 1 });
        }
        world.read_everything(0);
        prop_assert!(world.differs(0), "{fraud:?} was not noticed by the others");
    }
}

#[test]
fn who_comes_later_goes_on_from_what_the_first_member_tells() {
    let mut world = World::new();
    let told = |world: &World, device: usize| {
        seen(&world.db, world.devices[device].chat, world.devices[device].cursor.unwrap()).unwrap()
    };
    world.run(&[Step::Join, Step::Read { device: 0, entries: 9, killed: false }]);
    world.run(&[Step::Write { device: 0 }, Step::Arrive { device: 0 }]);
    assert_eq!(told(&world, 2), None);
    for device in 0..3 {
        world.read_everything(device);
    }
    assert!(told(&world, 0).is_some());
    assert_eq!(told(&world, 2), told(&world, 0));
    assert_eq!(told(&world, 1), told(&world, 0));
}

#[test]
fn what_is_missing_is_counted_and_a_doubt_is_noted_once() {
    let db = store::open_in_memory(&LocalKey::generate(&mut crate::random())).unwrap();
    let chat = chats::ensure(&db, "bob").unwrap().chat;
    begin(&db, chat, 1, &[7; 32]).unwrap();
    let missing = |seq| compare(&db, chat, 2, &Seen { seq, digest: [9; 32] }).unwrap();
    assert_eq!(missing(3), Verdict::Missing(2));
    assert_eq!(missing(2), Verdict::Missing(1));
    assert_eq!(missing(1), Verdict::Differs);
    assert_eq!(missing(u64::MAX), Verdict::Missing(u64::MAX - 1));
    assert!(doubt(&db, chat, "bob", 2, u64::MAX, 5).unwrap());
    assert!(!doubt(&db, chat, "bob", 3, 1, 6).unwrap());
    let doubts = doubts(&db).unwrap();
    assert_eq!(doubts.len(), 1);
    assert_eq!((doubts[0].chat.as_str(), doubts[0].username.as_str(), doubts[0].noticed_at), ("bob", "bob", 5));
}
