//! Measures what groups cost: `cargo run --release -p waxwing-e2ee --example measure_groups`. The figures are in
//! docs/PERFORMANCE.md.
//!
//! Each account has one device. All share one identity key, since RSA keys take long to make: that changes nothing of what
//! is measured.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement fails by panicking")]

use rsa::rand_core::UnwrapErr;
use rusqlite::Connection;
use std::time::{Duration, Instant};
use waxwing_e2ee::account::{DeviceList, IdentityKey, IdentityPublicKey, ListedDevice, credential};
use waxwing_e2ee::mls::{
    About, Amendment, Change, Device, Group, GroupRules, Identities, JoinKey, Kind, Mls, Newcomer, Participant, Role,
    SignatureKey, SignedList, key_package, migrate,
};

const ID: [u8; 16] = [7; 16];
/// So many accounts come in with one commit.
const TOGETHER: usize = 24;

fn rng() -> UnwrapErr<getrandom::SysRng> {
    UnwrapErr(getrandom::SysRng)
}

struct Known(IdentityPublicKey);

impl Identities for Known {
    fn identity(&self, _: &str, _: &[u8; 32]) -> Option<IdentityPublicKey> {
        Some(self.0.clone())
    }
}

struct Member {
    name: String,
    db: Connection,
    device: Device,
    list: SignedList,
    participant: Participant,
}

impl Member {
    fn new(number: usize, identity: &IdentityKey) -> Self {
        let name = format!("member{number:04}");
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db).unwrap();
        let key = SignatureKey::generate().unwrap();
        let public = key.public();
        key.store(&Mls::new(&db)).unwrap();
        let id = *b"device of number";
        let id = [&id[..8], &number.to_be_bytes()].concat().try_into().unwrap();
        let certified = credential::certify(identity, &name, &id, &public, &mut rng());
        let device = Device::new(key, &certified).unwrap();
        let authentication_key = public.map(|byte| !byte);
        let listed = ListedDevice { id, mls_key: public, authentication_key, since_ms: 1, sealed_name: Vec::new() };
        let signed = DeviceList::first(&*name, listed).sign(identity, &mut rng());
        let verified = DeviceList::verify(&signed, &identity.public(), &name).unwrap();
        let participant = Participant {
            username: name.clone(),
            identity: identity.public().fingerprint(),
            list_version: 1,
            list_hash: verified.hash,
            role: Role::Admin,
            former: Vec::new(),
            since: Some(0),
        };
        let list = SignedList { username: name.clone(), list: signed, rotations: Vec::new(), identity: None };
        Self { name, db, device, list, participant }
    }

    fn package(&self) -> Vec<u8> {
        key_package(&Mls::new(&self.db), &self.device, false).unwrap()
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let since = Instant::now();
    let value = work();
    (value, since.elapsed())
}

fn row(what: &str, time: Duration, bytes: Option<usize>) {
    let bytes = bytes.map_or_else(String::new, |bytes| format!("{bytes}"));
    println!("  {what:<44} {:>9.1} ms  {bytes:>9}", time.as_secs_f64() * 1000.0);
}

fn main() {
    let identity = IdentityKey::generate(&mut rng());
    let known = Known(identity.public());
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    for size in if sizes.is_empty() { vec![2, 50, 100, 250] } else { sizes } {
        measure(size, &identity, &known);
    }
}

fn measure(size: usize, identity: &IdentityKey, known: &Known) {
    println!("{size} accounts");
    let members: Vec<Member> = (0..=size).map(|number| Member::new(number, identity)).collect();
    let admin = &members[0];
    let rules = GroupRules::group(
        Kind::Group,
        About::named("all"),
        vec![admin.participant.clone()],
        JoinKey::generate(&mut rng()),
    );
    let mls = Mls::new(&admin.db);
    let mut group = Group::create(&mls, &admin.device, &ID, &rules.unwrap()).unwrap();
    let enter = |group: &mut Group<'_>, new: &[Member]| {
        let lists: Vec<SignedList> = new.iter().map(|one| one.list.clone()).collect();
        let packages: Vec<Vec<u8>> = new.iter().map(Member::package).collect();
        let newcomer =
            |one: &Member| Newcomer { username: one.name.clone(), identity: identity.public(), former: Vec::new() };
        let amend = Amendment { enter: new.iter().map(newcomer).collect(), ..Amendment::default() };
        let change = Change { lists: &lists, add: &packages, amend: Some(&amend), ..Change::default() };
        group.prepare(&admin.device, known, change).unwrap()
    };
    let (other, rest) = members[1..size].split_first().unwrap();
    let first = enter(&mut group, std::slice::from_ref(other));
    group.commit_accepted().unwrap();
    let theirs = Mls::new(&other.db);
    let mut receiver = Group::join(&theirs, known, &first.welcome.unwrap()).unwrap();
    let (largest, building) = timed(|| {
        let mut largest = 0;
        for part in rest.chunks(TOGETHER) {
            let prepared = enter(&mut group, part);
            group.commit_accepted().unwrap();
            largest = largest.max(prepared.commit.len() + prepared.welcome.as_ref().map_or(0, Vec::len));
            receiver.receive(known, &prepared.commit).unwrap();
        }
        largest
    });
    row("all come in, 24 with each commit", building, Some(largest));

    let newcomer = &members[size];
    let (prepared, preparing) = timed(|| enter(&mut group, std::slice::from_ref(newcomer)));
    group.commit_accepted().unwrap();
    row("let one more in: commit", preparing, Some(prepared.commit.len()));
    let welcome = prepared.welcome.unwrap();
    let newcomers = Mls::new(&newcomer.db);
    let (_, joining) = timed(|| Group::join(&newcomers, known, &welcome).unwrap());
    row("join: welcome", joining, Some(welcome.len()));
    let (_, receiving) = timed(|| receiver.receive(known, &prepared.commit).unwrap());
    row("process that commit", receiving, None);

    let (message, sending) = timed(|| group.encrypt(&admin.device, &[0; 256]).unwrap());
    row("encrypt a message (group in memory)", sending, Some(message.len()));
    let (_, reading) = timed(|| receiver.receive(known, &message).unwrap());
    row("decrypt it (group in memory)", reading, None);
    let (_, loading) = timed(|| Group::load(&mls, &ID).unwrap().unwrap());
    row("load the group", loading, None);

    let update = Change { update: true, ..Change::default() };
    let (prepared, updating) = timed(|| group.prepare(&admin.device, known, update).unwrap());
    group.commit_accepted().unwrap();
    row("fresh keys: first commit", updating, Some(prepared.commit.len()));
    let (_, receiving) = timed(|| receiver.receive(known, &prepared.commit).unwrap());
    row("process that commit", receiving, None);

    let amend = Amendment { expel: vec![newcomer.name.clone()], ..Amendment::default() };
    let change = Change { amend: Some(&amend), ..Change::default() };
    let (prepared, removing) = timed(|| group.prepare(&admin.device, known, change).unwrap());
    group.commit_accepted().unwrap();
    row("put one out: commit", removing, Some(prepared.commit.len()));
    let (_, receiving) = timed(|| receiver.receive(known, &prepared.commit).unwrap());
    row("process that commit", receiving, None);
    assert_eq!(group.view().unwrap(), receiver.view().unwrap());
}
