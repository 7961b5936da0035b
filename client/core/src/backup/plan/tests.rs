use super::*;
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

fn range(first: u64, last: u64) -> Range {
    Range { first, last }
}

fn stored(id: u8, first: u64, last: u64, count: usize) -> Stored {
    Stored { id: [id; 16], range: range(first, last), count }
}

fn planned(held: &[(u64, u64)], stored: &[Stored], changed: &[u64], has: impl Fn(u64) -> Option<usize>) -> Vec<Change> {
    let held: Ranges = held.iter().map(|(first, last)| range(*first, *last)).collect();
    let items = |range: Range| {
        let of = |seq| has(seq).map(|bytes| Item { seq, bytes });
        Ok::<_, Infallible>((range.first..=range.last).filter_map(of).collect())
    };
    plan(&Log { held: &held, stored, changed }, items).unwrap()
}

#[test]
fn what_is_new_grows_the_small_segment_before_it_and_leaves_big_ones_alone() {
    let every = |_| Some(10);
    let big = stored(1, 1, 500, 500);
    let small = stored(2, 501, 510, 10);
    let changes = planned(&[(1, 512)], &[big, small], &[], every);
    assert_eq!(changes, [Change { write: vec![range(501, 512)], replaces: vec![[2; 16]] }]);
    let changes = planned(&[(1, 500)], &[], &[], every);
    assert_eq!(changes, [Change { write: vec![range(1, 500)], replaces: vec![] }]);
    assert_eq!(planned(&[(1, 510)], &[big, small], &[], every), []);
}

#[test]
fn long_stretches_are_cut_by_number_and_by_size() {
    let ranges = |changes: &[Change]| changes.iter().flat_map(|change| change.write.clone()).collect::<Vec<_>>();
    let changes = planned(&[(1, 1200)], &[], &[], |_| Some(10));
    assert_eq!(ranges(&changes), [range(1, 512), range(513, 1024), range(1025, 1200)]);
    let changes = planned(&[(1, 20)], &[], &[], |_| Some(32 * 1024));
    assert_eq!(ranges(&changes), [range(1, 8), range(9, 16), range(17, 20)]);
    let changes = planned(&[(1, 2)], &[], &[], |_| Some(2 * BYTES));
    assert_eq!(ranges(&changes), [range(1, 1), range(2, 2)]);
}

#[test]
fn receipts_alone_are_not_worth_a_segment() {
    assert_eq!(planned(&[(1, 30)], &[stored(1, 1, 20, 20)], &[], |seq| (seq <= 20).then_some(10)), []);
}

#[test]
fn a_segment_that_was_not_read_whole_is_never_replaced() {
    let changes = planned(&[(5, 15)], &[stored(1, 1, 10, 3)], &[7], |_| Some(10));
    assert_eq!(changes, [Change { write: vec![range(11, 15)], replaces: vec![] }]);
}

#[test]
fn what_was_deleted_leaves_its_segment_and_an_empty_segment_goes() {
    let changes = planned(&[(1, 40)], &[stored(1, 1, 40, 40)], &[7], |seq| (seq != 7).then_some(10));
    assert_eq!(changes, [Change { write: vec![range(1, 40)], replaces: vec![[1; 16]] }]);
    let changes = planned(&[(1, 40)], &[stored(1, 1, 40, 40)], &[7], |_| None);
    assert_eq!(changes, [Change { write: vec![], replaces: vec![[1; 16]] }]);
}

/// Two devices of one account, and the server between them.
#[derive(Default)]
struct World {
    /// What the log says: which places show a message.
    log: BTreeMap<u64, usize>,
    head: u64,
    version: u64,
    manifest: Vec<Stored>,
    blobs: BTreeMap<[u8; 16], BTreeSet<u64>>,
    next_id: u64,
    devices: [Device; 2],
}

#[derive(Default)]
struct Device {
    held: Ranges,
    deleted: BTreeSet<u64>,
    changed: Vec<u64>,
    /// The manifest that it works on, and how far it has come.
    work: Option<Work>,
}

struct Work {
    version: u64,
    manifest: Vec<Stored>,
    todo: Vec<(Range, [u8; 16])>,
    changed: Vec<u64>,
}

#[derive(Clone, Debug)]
enum Step {
    /// The log grows; each entry shows a message or not.
    Grow(Vec<bool>),
    /// A device reads so many entries more, or skips them.
    Read(usize, u64, bool),
    /// A device reads what it skipped.
    FillIn(usize),
    Delete(usize, u64),
    /// A device takes the manifest and plans, uploads one more segment, or offers its manifest.
    Begin(usize),
    Upload(usize),
    Offer(usize),
    Crash(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let device = 0usize..2;
    let step = prop_oneof![
        2 => proptest::collection::vec(any::<bool>(), 1..40).prop_map(Step::Grow),
        3 => (device.clone(), 1u64..40, any::<bool>()).prop_map(|(device, count, skip)| Step::Read(device, count, skip)),
        1 => device.clone().prop_map(Step::FillIn),
        1 => (device.clone(), 1u64..200).prop_map(|(device, seq)| Step::Delete(device, seq)),
        3 => device.clone().prop_map(Step::Begin),
        6 => device.clone().prop_map(Step::Upload),
        4 => device.clone().prop_map(Step::Offer),
        1 => device.prop_map(Step::Crash),
    ];
    proptest::collection::vec(step, 1..80)
}

impl World {
    fn shows(&self, device: usize, range: Range) -> Vec<Item> {
        let gone = &self.devices[device].deleted;
        let inside = self.log.range(range.first..=range.last).filter(|(seq, _)| !gone.contains(seq));
        inside.map(|(seq, bytes)| Item { seq: *seq, bytes: *bytes }).collect()
    }

    fn begin(&mut self, device: usize) {
        let Device { held, changed, .. } = &self.devices[device];
        let log = Log { held, stored: &self.manifest, changed };
        let changes = plan(&log, |range| Ok::<_, Infallible>(self.shows(device, range))).unwrap();
        let mut manifest = self.manifest.clone();
        let mut todo = Vec::new();
        for change in changes {
            manifest.retain(|stored| !change.replaces.contains(&stored.id));
            for range in change.write {
                self.next_id += 1;
                let mut id = [0; 16];
                id[..8].copy_from_slice(&self.next_id.to_be_bytes());
                let count = self.shows(device, range).len();
                assert!((1..=MESSAGES).contains(&count));
                manifest.push(Stored { id, range, count });
                todo.push((range, id));
            }
        }
        let changed = self.devices[device].changed.clone();
        self.devices[device].work = Some(Work { version: self.version, manifest, todo, changed });
    }

    fn upload(&mut self, device: usize) {
        let Some((range, id)) = self.devices[device].work.as_mut().and_then(|work| work.todo.pop()) else { return };
        let content = self.shows(device, range).iter().map(|item| item.seq).collect();
        self.blobs.insert(id, content);
    }

    /// Compare-and-swap; the loser plans anew.
    fn offer(&mut self, device: usize) {
        match self.devices[device].work.take_if(|work| work.todo.is_empty()) {
            Some(work) if work.version == self.version => {
                self.version += 1;
                self.manifest = work.manifest;
                self.devices[device].changed.retain(|seq| !work.changed.contains(seq));
            }
            Some(_) => self.begin(device),
            None => {}
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Grow(entries) => {
                for shows in entries {
                    self.head += 1;
                    if shows {
                        self.log.insert(self.head, 100 + 1000 * (self.head as usize % 17));
                    }
                }
            }
            Step::Read(device, count, skip) => {
                let device = &mut self.devices[device];
                let first = device.held.iter().last().map_or(1, |range| range.last + 1) + if skip { 3 } else { 0 };
                device.held.add(range(first, self.head.min(first + count)));
            }
            Step::FillIn(device) => {
                let device = &mut self.devices[device];
                let last = device.held.iter().last().map_or(0, |range| range.last);
                device.held.add(range(1, last));
            }
            Step::Delete(device, seq) => {
                let device = &mut self.devices[device];
                if device.held.contains_all(range(seq, seq)) && device.deleted.insert(seq) {
                    device.changed.push(seq);
                }
            }
            Step::Begin(device) => self.begin(device),
            Step::Upload(device) => self.upload(device),
            Step::Offer(device) => self.offer(device),
            Step::Crash(device) => self.devices[device].work = None,
        }
    }

    /// Whatever the manifest names is there, whole, and nothing is in two segments.
    fn check(&self) {
        let mut seen = BTreeSet::new();
        for stored in &self.manifest {
            let content = self.blobs.get(&stored.id).expect("a named segment that was never uploaded");
            assert!(content.iter().all(|seq| stored.range.contains(*seq)), "{stored:?}");
            assert!(content.iter().all(|seq| seen.insert(*seq)), "a message twice");
        }
        for (at, one) in self.manifest.iter().enumerate() {
            assert!(self.manifest[..at].iter().all(|other| !one.range.overlaps(&other.range)));
        }
    }

    fn backed_up(&self) -> BTreeSet<u64> {
        self.manifest.iter().flat_map(|stored| self.blobs[&stored.id].iter().copied()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn two_devices_cover_every_message_once_whatever_happens(steps in steps()) {
        let mut world = World::default();
        for step in steps {
            let before = world.backed_up();
            world.apply(step);
            world.check();
            let deleted: BTreeSet<u64> = world.devices.iter().flat_map(|device| device.deleted.iter().copied()).collect();
            prop_assert!(before.difference(&world.backed_up()).all(|lost| deleted.contains(lost)), "compaction lost something");
        }
        for device in [0, 1, 0, 1] {
            world.devices[device].work = None;
            world.begin(device);
            while world.devices[device].work.as_ref().is_some_and(|work| !work.todo.is_empty()) {
                world.upload(device);
            }
            world.offer(device);
            world.check();
        }
        let covered: Ranges = world.manifest.iter().map(|stored| stored.range).collect();
        for device in 0..2 {
            for held in world.devices[device].held.without(&covered).iter() {
                prop_assert!(world.shows(device, held).is_empty(), "{:?} is not covered", held);
            }
            prop_assert!(world.devices[device].changed.iter().all(|seq| !world.backed_up().contains(seq)
                || !world.manifest.iter().any(|stored| stored.range.contains(*seq)
                    && world.devices[device].held.contains_all(stored.range))), "a deletion was forgotten");
        }
    }

    #[test]
    fn one_by_one_each_message_is_written_a_few_times_and_segments_stay_few(count in 1u64..1500) {
        let mut world = World::default();
        let mut written = 0;
        for _ in 0..count {
            world.apply(Step::Grow(vec![true]));
            world.apply(Step::Read(0, 0, false));
            world.begin(0);
            while let Some((range, _)) = world.devices[0].work.as_ref().and_then(|work| work.todo.last().copied()) {
                written += range.last - range.first + 1;
                world.upload(0);
            }
            world.offer(0);
        }
        prop_assert_eq!(world.backed_up().len() as u64, count);
        prop_assert!(written <= count * 16, "{} messages written {} times", count, written);
        prop_assert!(world.manifest.len() as u64 <= 12 + count / 15, "{} segments of {} messages", world.manifest.len(), count);
    }
}
