//! Alice, Bob and Carol with their devices, and what a modified client does behind the back of ours.

use openmls::prelude::{
    Capabilities, Ciphersuite, CommitBuilder, Credential, CredentialType, CredentialWithKey, Extension, ExtensionType,
    Extensions, Initial, KeyPackage, KeyPackageIn, Lifetime, MlsGroup, MlsMessageBodyIn, MlsMessageIn, MlsMessageOut,
    UnknownExtension,
    tls_codec::{Deserialize, Serialize},
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::RustCrypto;
use openmls_sqlite_storage::{Codec, SqliteStorageProvider};
use openmls_traits::OpenMlsProvider;
use rsa::rand_core::UnwrapErr;
use rusqlite::Connection;
use std::sync::LazyLock;
use waxwing_e2ee::account::{IdentityKey, IdentityPublicKey, credential};
use waxwing_e2ee::mls::{
    Change, Device, Group, GroupRules, Identities, JoinKey, Kind, Member, Mls, MlsError, Participant, Prepared,
    Received, Refused, Role, SignatureKey, SignedList, key_package, migrate,
};

pub mod accounts;

pub const SUITE: Ciphersuite = Ciphersuite::MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519;
pub const CHAT: [u8; 16] = [0xc4; 16];

/// RSA keys are slow to make.
pub static ALICE: LazyLock<IdentityKey> = LazyLock::new(|| IdentityKey::generate(&mut rng()));
pub static BOB: LazyLock<IdentityKey> = LazyLock::new(|| IdentityKey::generate(&mut rng()));
pub static CAROL: LazyLock<IdentityKey> = LazyLock::new(|| IdentityKey::generate(&mut rng()));

pub fn rng() -> UnwrapErr<getrandom::SysRng> {
    UnwrapErr(getrandom::SysRng)
}

/// What a device has fetched: the identity keys of everyone, unless a test says otherwise.
pub struct Known(pub Vec<IdentityPublicKey>);

impl Known {
    pub fn everyone() -> Self {
        Self([&ALICE, &BOB, &CAROL].map(|key| key.public()).to_vec())
    }
}

impl Identities for Known {
    fn identity(&self, _: &str, fingerprint: &[u8; 32]) -> Option<IdentityPublicKey> {
        self.0.iter().find(|key| key.fingerprint() == *fingerprint).cloned()
    }
}

/// An account as its newest device list has it, with this identity.
pub fn participant(username: &str, identity: &IdentityKey) -> Participant {
    let (list_version, list_hash) = match accounts::has(username) {
        true => (accounts::newest(username).list.version, accounts::newest(username).hash),
        false => (1, [0; 32]),
    };
    let (username, identity) = (username.to_owned(), identity.public().fingerprint());
    Participant { username, identity, list_version, list_hash, role: Role::Member, former: Vec::new(), since: None }
}

pub fn join_key() -> JoinKey {
    JoinKey::generate(&mut rng())
}

/// The rules of the chat of Alice and Bob.
pub fn alice_and_bob() -> GroupRules {
    let participants = vec![participant("alice", &ALICE), participant("bob", &BOB)];
    GroupRules::new(Kind::Direct, participants, join_key()).unwrap()
}

/// A device with its own database.
pub struct Phone {
    pub id: [u8; 16],
    pub db: Connection,
    pub device: Device,
    pub public: [u8; 32],
    pub known: Known,
}

impl Phone {
    /// A device that its account lists.
    pub fn new(username: &str, id: u8, identity: &'static IdentityKey) -> Self {
        let phone = Self::unlisted(username, id, identity);
        accounts::enter(username, identity, &phone);
        phone
    }

    /// A device whose credential `identity` has signed, and that stands in no list.
    pub fn unlisted(username: &str, id: u8, identity: &IdentityKey) -> Self {
        Self::with_credential(|public| credential::certify(identity, username, &[id; 16], public, &mut rng()))
    }

    pub fn alice(id: u8) -> Self {
        Self::new("alice", id, &ALICE)
    }

    pub fn bob(id: u8) -> Self {
        Self::new("bob", id, &BOB)
    }

    /// A device with whatever credential it likes to show.
    pub fn with_credential(certify: impl FnOnce(&[u8; 32]) -> Vec<u8>) -> Self {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db).unwrap();
        let key = SignatureKey::generate().unwrap();
        let public = key.public();
        key.store(&Mls::new(&db)).unwrap();
        let device = Device::new(key, &certify(&public)).unwrap();
        Self { id: device.id, db, device, public, known: Known::everyone() }
    }

    pub fn member(&self) -> Member {
        self.device.member()
    }

    /// Runs `work` on the chat as a client does: loaded, used and dropped in a transaction that an error rolls back.
    pub fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Group, &Device, &Known) -> Result<T, MlsError>,
    ) -> Result<T, MlsError> {
        let tx = self.db.transaction()?;
        let mls = Mls::new(&tx);
        let mut group = Group::load(&mls, &CHAT)?.expect("the chat exists");
        let value = work(&mut group, &self.device, &self.known)?;
        drop(group);
        tx.commit()?;
        Ok(value)
    }

    /// What a modified client does: openmls on the same database, without our gate.
    pub fn raw<T>(&mut self, work: impl FnOnce(&mut MlsGroup, &Raw, &SignatureKeyPair) -> T) -> T {
        let raw = Raw::new(&self.db);
        let signer = SignatureKeyPair::read(raw.storage(), &self.public, SUITE.signature_algorithm()).unwrap();
        let id = openmls::prelude::GroupId::from_slice(&CHAT);
        let mut group = MlsGroup::load(raw.storage(), &id).unwrap().expect("the chat exists");
        work(&mut group, &raw, &signer)
    }

    /// A commit that nobody has judged, with whatever authenticated data.
    pub fn raw_commit(
        &mut self,
        authenticated: Vec<u8>,
        change: impl for<'a> FnOnce(CommitBuilder<'a, Initial>, &Raw) -> CommitBuilder<'a, Initial>,
    ) -> Vec<u8> {
        self.raw(|group, raw, signer| {
            group.set_aad(authenticated);
            let bundle = change(group.commit_builder(), raw)
                .load_psks(raw.storage())
                .unwrap()
                .build(raw.rand(), raw.crypto(), signer, |_| true)
                .unwrap()
                .stage_commit(raw)
                .unwrap();
            bytes(&bundle.into_commit())
        })
    }

    /// A key package that our own client would not make.
    pub fn raw_key_package(&self, suite: Ciphersuite, validity: Lifetime, credential: &[u8]) -> Vec<u8> {
        self.raw_key_package_of(suite, Lifetime::init(0, u64::MAX), &[validity], credential)
    }

    /// The same, with any lifetime of the leaf.
    pub fn raw_key_package_of(
        &self,
        suite: Ciphersuite,
        lifetime: Lifetime,
        validity: &[Lifetime],
        credential: &[u8],
    ) -> Vec<u8> {
        let extensions = validity
            .iter()
            .map(|validity| Extension::Unknown(0xF003, UnknownExtension(validity.tls_serialize_detached().unwrap())));
        let raw = Raw::new(&self.db);
        let signer = SignatureKeyPair::read(raw.storage(), &self.public, suite.signature_algorithm()).unwrap();
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(capabilities(suite))
            .key_package_lifetime(lifetime)
            .key_package_extensions(Extensions::from_vec(extensions.collect()).unwrap())
            .build(suite, &raw, &signer, credential_with_key(credential, &self.public))
            .unwrap();
        bytes(&bundle.into_key_package().into())
    }

    pub fn create(&mut self, rules: &GroupRules) {
        Group::create(&Mls::new(&self.db), &self.device, &CHAT, rules).unwrap();
    }

    pub fn key_package(&self) -> Vec<u8> {
        key_package(&Mls::new(&self.db), &self.device, false).unwrap()
    }

    pub fn join(&mut self, welcome: &[u8]) -> Result<(), MlsError> {
        let tx = self.db.transaction()?;
        Group::join(&Mls::new(&tx), &self.known, welcome)?;
        Ok(tx.commit()?)
    }

    /// Prepares a commit with the newest lists of all who take part.
    pub fn prepare(&mut self, add: &[Vec<u8>], remove: &[Member]) -> Result<Prepared, MlsError> {
        self.with(|group, device, known| {
            let names = group.rules().participants().iter().map(|one| one.username.clone());
            let lists: Vec<SignedList> =
                names.filter(|name| accounts::has(name)).map(|name| accounts::signed(&name)).collect();
            group.prepare(device, known, Change { lists: &lists, add, remove, ..Change::default() })
        })
    }

    /// Prepares a commit with these lists.
    pub fn prepare_with(
        &mut self,
        lists: &[SignedList],
        add: &[Vec<u8>],
        remove: &[Member],
    ) -> Result<Prepared, MlsError> {
        self.with(|group, device, known| {
            group.prepare(device, known, Change { lists, add, remove, ..Change::default() })
        })
    }

    pub fn prepare_add(&mut self, packages: &[Vec<u8>]) -> Result<Prepared, MlsError> {
        self.prepare(packages, &[])
    }

    pub fn prepare_update(&mut self) -> Result<Prepared, MlsError> {
        self.with(|group, device, known| group.prepare(device, known, Change { update: true, ..Change::default() }))
    }

    /// Adds, as if the server had taken the commit at once.
    pub fn add(&mut self, packages: &[Vec<u8>]) -> Prepared {
        let prepared = self.prepare_add(packages).unwrap();
        self.accepted();
        prepared
    }

    /// Removes devices that their accounts have struck from their lists.
    pub fn remove(&mut self, members: &[Member]) -> Vec<u8> {
        members.iter().for_each(accounts::strike);
        let prepared = self.prepare(&[], members).unwrap();
        self.accepted();
        prepared.commit
    }

    pub fn update(&mut self) -> Vec<u8> {
        let prepared = self.prepare_update().unwrap();
        self.accepted();
        prepared.commit
    }

    pub fn accepted(&mut self) {
        self.with(|group, _, _| group.commit_accepted()).unwrap();
    }

    pub fn send(&mut self, text: &str) -> Vec<u8> {
        self.with(|group, device, _| group.encrypt(device, text.as_bytes())).unwrap()
    }

    pub fn receive(&mut self, entry: &[u8]) -> Result<Received, MlsError> {
        self.with(|group, _, known| group.receive(known, entry))
    }

    pub fn view(&mut self) -> [u8; 32] {
        self.with(|group, _, _| group.view()).unwrap()
    }

    pub fn members(&mut self) -> Vec<Member> {
        self.with(|group, _, _| group.members()).unwrap()
    }

    /// Whether there is still a group, and not only its remains.
    pub fn in_chat(&mut self) -> bool {
        Group::load(&Mls::new(&self.db), &CHAT).unwrap().is_some()
    }
}

/// What members are told of a commit by a member that shows no newer list.
pub fn committed(by: &Phone, added: &[&Phone], removed: &[&Phone]) -> Received {
    commit_with(by, added, removed, &[])
}

/// What members are told of a commit by a member that shows the newest lists of these accounts.
pub fn commit_with(by: &Phone, added: &[&Phone], removed: &[&Phone], newer: &[&str]) -> Received {
    let members = |phones: &[&Phone]| phones.iter().map(|phone| phone.member()).collect();
    let lists = newer.iter().map(|username| accounts::signed(username)).collect();
    Received::Commit {
        added: members(added),
        removed: members(removed),
        by: by.member(),
        lists,
        identities: Vec::new(),
        left: Vec::new(),
        external: false,
    }
}

/// What a device is told that this one has removed.
pub fn removed(by: &Phone) -> Received {
    Received::Removed { by: by.member(), account: false, left: false }
}

/// What members of Direct chats are told by a message.
pub fn message(from: &Phone, text: &str) -> Received {
    Received::Message { from: from.member(), body: text.as_bytes().to_vec().into() }
}

/// Alice's phone has started the chat with her laptop and Bob's phone in it.
pub fn trio() -> (Phone, Phone, Phone) {
    let (mut alice, mut laptop, mut bob) = (Phone::alice(1), Phone::alice(2), Phone::bob(3));
    alice.create(&alice_and_bob());
    let welcome = alice.add(&[laptop.key_package(), bob.key_package()]).welcome.unwrap();
    laptop.join(&welcome).unwrap();
    bob.join(&welcome).unwrap();
    (alice, laptop, bob)
}

/// The chat still works: all agree on it, and a message gets through.
pub fn assert_works(phones: &mut [&mut Phone]) {
    let [first, others @ ..] = phones else { return };
    let entry = first.send("still here");
    for phone in others {
        assert_eq!(phone.receive(&entry).unwrap(), message(first, "still here"));
        assert_eq!(phone.view(), first.view());
    }
}

/// The entry is to blame, and this is why.
pub fn assert_refused<T: std::fmt::Debug>(outcome: Result<T, MlsError>, why: Refused) {
    let error = outcome.expect_err("refused");
    assert!(error.is_fault_of_entry());
    assert!(matches!(&error, MlsError::Refused(refused) if *refused == why), "{error}, not: {why}");
}

/// The authenticated data of a commit that shows these lists.
pub fn shown(lists: &[SignedList]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = minicbor::Encoder::new(&mut bytes);
    encoder.array(2).unwrap().u8(1).unwrap().array(lists.len() as u64).unwrap();
    for list in lists {
        encoder.array(3).unwrap().str(&list.username).unwrap().bytes(&list.list).unwrap();
        encoder.array(list.rotations.len() as u64).unwrap();
        for rotation in &list.rotations {
            encoder.bytes(rotation).unwrap();
        }
    }
    bytes
}

/// openmls on a database, as anybody could use it.
pub struct Raw<'a> {
    crypto: RustCrypto,
    storage: SqliteStorageProvider<Cbor, &'a Connection>,
}

impl<'a> Raw<'a> {
    pub fn new(db: &'a Connection) -> Self {
        Self { crypto: RustCrypto::default(), storage: SqliteStorageProvider::new(db) }
    }
}

impl<'a> OpenMlsProvider for Raw<'a> {
    type CryptoProvider = RustCrypto;
    type RandProvider = RustCrypto;
    type StorageProvider = SqliteStorageProvider<Cbor, &'a Connection>;

    fn storage(&self) -> &Self::StorageProvider {
        &self.storage
    }
    fn crypto(&self) -> &RustCrypto {
        &self.crypto
    }
    fn rand(&self) -> &RustCrypto {
        &self.crypto
    }
}

/// The encoding of our databases.
#[derive(Default)]
pub struct Cbor;

impl Codec for Cbor {
    type Error = std::io::Error;

    fn to_vec<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Self::Error> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).map_err(std::io::Error::other)?;
        Ok(bytes)
    }

    fn from_slice<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Self::Error> {
        ciborium::from_reader(bytes).map_err(std::io::Error::other)
    }
}

pub fn package(bytes: &[u8]) -> KeyPackageIn {
    match MlsMessageIn::tls_deserialize_exact(bytes).unwrap().extract() {
        MlsMessageBodyIn::KeyPackage(package) => package,
        _ => panic!("not a key package"),
    }
}

/// A key package that nobody has judged.
pub fn unjudged(raw: &Raw, bytes: &[u8]) -> KeyPackage {
    package(bytes).validate(raw.crypto(), Default::default()).unwrap()
}

pub fn bytes(message: &MlsMessageOut) -> Vec<u8> {
    message.tls_serialize_detached().unwrap()
}

pub fn credential_with_key(credential: &[u8], public: &[u8]) -> CredentialWithKey {
    CredentialWithKey {
        credential: Credential::new(CredentialType::Other(0xF001), credential.to_vec()),
        signature_key: public.into(),
    }
}

pub fn capabilities(suite: Ciphersuite) -> Capabilities {
    Capabilities::builder()
        .ciphersuites(vec![suite])
        .extensions(vec![ExtensionType::Unknown(0xF002), ExtensionType::Unknown(0xF003), ExtensionType::LastResort])
        .credentials(vec![CredentialType::Other(0xF001)])
        .build()
}
