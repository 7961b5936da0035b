//! Writes new golden vectors for messages and files into a folder:
//! `cargo run -p waxwing-e2ee --example golden_messages -- e2ee/tests/golden`.
//!
//! `messages-v1.txt` has a message and a file as they were sealed, `device-v1.sql` all that the device keeps which is to read the
//! message. They stand for what users have; a new format gets new files, and no old one changes.

use rsa::{
    rand_core::UnwrapErr,
    sha2::{Digest, Sha256},
};
use rusqlite::Connection;
use std::{fmt::Write as _, fs, path::PathBuf};
use waxwing_e2ee::{
    account::{DeviceList, IdentityKey, IdentityPublicKey, ListedDevice, credential},
    attachment::{CHUNK, FileCipher, FileKey, Shape},
    content::{self, Body, Content},
    mls::{
        Change, Device, Group, GroupRules, Identities, JoinKey, Kind, Mls, Participant, Received, Role, SignatureKey,
        SignedList, key_package, migrate,
    },
};

const CHAT: [u8; 16] = [0xc4; 16];

type Failure = Box<dyn std::error::Error>;

/// Both identities, as both devices have pinned them.
struct Pinned([IdentityPublicKey; 2]);

impl Identities for Pinned {
    fn identity(&self, _: &str, fingerprint: &[u8; 32]) -> Option<IdentityPublicKey> {
        self.0.iter().find(|key| key.fingerprint() == *fingerprint).cloned()
    }
}

/// A device, its database, and the list that names it.
struct Phone {
    db: Connection,
    device: Device,
    public: [u8; 32],
    credential: Vec<u8>,
    list: Vec<u8>,
    participant: Participant,
}

impl Phone {
    fn new(username: &str, id: [u8; 16], identity: &IdentityKey) -> Result<Self, Failure> {
        let rng = &mut UnwrapErr(getrandom::SysRng);
        let mut db = Connection::open_in_memory()?;
        migrate(&mut db)?;
        let key = SignatureKey::generate()?;
        let public = key.public();
        key.store(&Mls::new(&db))?;
        let credential = credential::certify(identity, username, &id, &public, rng);
        let device = Device::new(key, &credential)?;
        let listed =
            ListedDevice { id, mls_key: public, authentication_key: [0xae; 32], since_ms: 1, sealed_name: Vec::new() };
        let list = DeviceList::first(username, listed).sign(identity, rng);
        let verified = DeviceList::verify(&list, &identity.public(), username)?;
        let participant = Participant {
            username: username.to_owned(),
            identity: identity.public().fingerprint(),
            list_version: 1,
            list_hash: verified.hash,
            role: Role::Member,
            former: Vec::new(),
            since: None,
        };
        Ok(Self { db, device, public, credential, list, participant })
    }

    fn signed_list(&self) -> SignedList {
        let username = self.device.username.clone();
        SignedList { username, list: self.list.clone(), rotations: Vec::new(), identity: None }
    }
}

fn main() -> Result<(), Failure> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("the folder that the files shall be written into")?);
    let rng = &mut UnwrapErr(getrandom::SysRng);
    let mut lines = String::new();
    let mut print = |name: &str, bytes: &[u8]| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(lines, "{name} {hex}");
    };
    let identities = [IdentityKey::generate(rng), IdentityKey::generate(rng)];
    let pinned = Pinned([identities[0].public(), identities[1].public()]);
    let alice = Phone::new("alice", [0xa1; 16], &identities[0])?;
    let bob = Phone::new("bob", [0xb1; 16], &identities[1])?;
    for (name, key) in [("alice_identity", &pinned.0[0]), ("bob_identity", &pinned.0[1])] {
        print(name, &key.to_der());
    }
    print("bob_mls_key", &bob.public);
    print("bob_credential", &bob.credential);

    let participants = vec![alice.participant.clone(), bob.participant.clone()];
    let rules = GroupRules::new(Kind::Direct, participants, JoinKey::generate(rng))?;
    let (mls, bobs) = (Mls::new(&alice.db), Mls::new(&bob.db));
    let mut group = Group::create(&mls, &alice.device, &CHAT, &rules)?;
    let add = [key_package(&bobs, &bob.device, false)?];
    let lists = [alice.signed_list(), bob.signed_list()];
    let prepared = group.prepare(&alice.device, &pinned, Change { lists: &lists, add: &add, ..Change::default() })?;
    group.commit_accepted()?;
    let mut joined = Group::join(&bobs, &pinned, &prepared.welcome.ok_or("no welcome")?)?;
    // He has read something already, as on any day.
    let before = group.encrypt(&alice.device, b"before")?;
    if !matches!(joined.receive(&pinned, &before)?, Received::Message { .. }) {
        return Err("Bob does not read".into());
    }
    let body = Body::Text("Zürich, 17:30 🌊".to_owned());
    let said = Content { id: [0x1d; 16], sent_at_ms: 1_800_000_000_000, body, seen: None, lifetime: None };
    let content = content::encode(&said)?;
    print("content", &content);
    print("message", &group.encrypt(&alice.device, &content)?);

    let key = FileKey::generate(rng);
    print("file_key", key.as_bytes());
    let file = b"what was in the file\n".repeat(100);
    print("file", &file);
    print("sealed_file", &seal(&key, &file)?);
    let long = FileKey::generate(rng);
    print("long_file_key", long.as_bytes());
    let sealed = seal(&long, &vec![0x5a; CHUNK + 1000])?;
    print("long_file_sealed_sha256", &Sha256::digest(&sealed));

    fs::write(folder.join("messages-v1.txt"), lines)?;
    fs::write(folder.join("device-v1.sql"), dump(&bob.db)?)?;
    Ok(())
}

/// Seals a file, chunk after chunk.
fn seal(key: &FileKey, file: &[u8]) -> Result<Vec<u8>, Failure> {
    let shape = Shape::of(file.len() as u64).ok_or("too long")?;
    let cipher = FileCipher::new(key, shape);
    let mut sealed = Vec::new();
    for index in 0..shape.chunks() {
        let (start, length) = shape.content(index);
        let start = usize::try_from(start)?;
        let mut chunk = file[start..start + length].to_vec();
        cipher.seal(index, &mut chunk)?;
        sealed.extend(chunk);
    }
    Ok(sealed)
}

/// A database as the SQL that makes it.
fn dump(db: &Connection) -> Result<String, Failure> {
    let mut script = String::from("PRAGMA foreign_keys = OFF;\n");
    let mut tables = db.prepare(
        "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*' ORDER BY rowid",
    )?;
    let tables: Vec<(String, String, String)> =
        tables.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<Result<_, _>>()?;
    for (kind, name, sql) in tables {
        let _ = writeln!(script, "{sql};");
        if kind != "table" {
            continue;
        }
        let columns: Vec<String> = db
            .prepare(&format!("SELECT name FROM pragma_table_info('{name}')"))?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let values: Vec<String> = columns.iter().map(|column| format!("quote(\"{column}\")")).collect();
        let mut rows = db.prepare(&format!("SELECT {} FROM \"{name}\"", values.join(" || ',' || ")))?;
        for row in rows.query_map([], |row| row.get::<_, String>(0))? {
            let _ = writeln!(script, "INSERT INTO \"{name}\" VALUES ({});", row?);
        }
    }
    Ok(script)
}
