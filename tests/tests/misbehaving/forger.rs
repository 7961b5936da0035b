//! Accounts with real keys that no client of ours made, so that exactly one thing can be wrong with what they show.

use crate::server::Server;
use anyhow::Result;
use openmls::prelude::{
    Capabilities, Ciphersuite, Credential, CredentialType, CredentialWithKey, Extension, ExtensionType, Extensions,
    KeyPackage, Lifetime, MlsMessageOut, UnknownExtension, tls_codec::Serialize as _,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use rand_core::UnwrapErr;
use rusqlite::Connection;
use waxwing_e2ee::{
    account::{DeviceList, IdentityKey, IdentityPublicKey, ListedDevice, credential},
    mls::{
        self, Change, Device, Group, GroupRules, Identities, JoinKey, Kind, Mls, Participant, Role, SignatureKey,
        SignedList,
    },
};
use waxwing_protocol::{AccountRecord, Bytes, ClaimedKeyPackage, DeviceId, KdfParameters, NewDevice};
use waxwing_server::store::{AccountId, NewAccount, SealedVault};

/// The only cipher suite of Waxwing.
pub(crate) const SUITE: Ciphersuite = Ciphersuite::MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519;
const DAY: u64 = 24 * 3600;

fn rng() -> UnwrapErr<getrandom::SysRng> {
    UnwrapErr(getrandom::SysRng)
}

/// Somebody with an identity and one device.
pub(crate) struct Forger {
    pub(crate) name: String,
    pub(crate) id: [u8; 16],
    identity: IdentityKey,
    signer: SignatureKeyPair,
}

impl Forger {
    pub(crate) fn new(name: &str) -> Self {
        let mut id = [0; 16];
        getrandom::fill(&mut id).expect("random bytes");
        Self {
            name: name.to_owned(),
            id,
            identity: IdentityKey::generate(&mut rng()),
            signer: SignatureKeyPair::new(SUITE.signature_algorithm()).expect("a key"),
        }
    }

    /// Somebody who calls themselves the same, with the same device id and other keys.
    pub(crate) fn double(&self) -> Self {
        Self { id: self.id, ..Self::new(&self.name) }
    }

    pub(crate) fn device(&self) -> ListedDevice {
        let mls_key = self.signer.public().try_into().expect("32 bytes");
        ListedDevice {
            id: self.id,
            mls_key,
            authentication_key: [self.id[0]; 32],
            since_ms: 1,
            sealed_name: Vec::new(),
        }
    }

    /// The first device list, of these devices.
    pub(crate) fn list(&self, devices: Vec<ListedDevice>) -> Bytes {
        self.sign(&DeviceList { devices, ..DeviceList::first(&self.name, self.device()) })
    }

    /// Any list with this identity's signature.
    pub(crate) fn sign(&self, list: &DeviceList) -> Bytes {
        list.sign(&self.identity, &mut rng()).into()
    }

    /// The public record, with this list.
    pub(crate) fn record(&self, device_list: Bytes) -> AccountRecord {
        AccountRecord {
            username: self.name.parse().expect("a username"),
            identity_key: self.identity.public().to_der().into(),
            device_list,
            backup_key: Bytes::default(),
            rotations: Vec::new(),
        }
    }

    /// What signs its MLS messages.
    pub(crate) fn signer(&self) -> &SignatureKeyPair {
        &self.signer
    }

    /// What stands on its leaves.
    pub(crate) fn credential(&self) -> CredentialWithKey {
        let public = self.signer.public();
        let certified = credential::certify(&self.identity, &self.name, &self.id, public, &mut rng());
        CredentialWithKey {
            credential: Credential::new(CredentialType::Other(0xF001), certified),
            signature_key: public.into(),
        }
    }

    /// Gets an account at the server, with a good key package.
    pub(crate) fn sign_up(&self, server: &Server) -> Result<AccountId> {
        let record = self.record(self.list(vec![self.device()]));
        let part = || vec![0; 16];
        let account = NewAccount {
            username: record.username,
            full_name: None,
            email: None,
            kdf: KdfParameters { salt: vec![0; 16].into(), memory_kib: 65536, iterations: 3, parallelism: 4 },
            password_hash: Vec::new(),
            recovery_hash: Vec::new(),
            sealed: SealedVault { vault: part(), password_wrap: part(), recovery_wrap: part() },
            identity_key: record.identity_key.0,
            backup_key: record.backup_key.0,
            device_list: record.device_list.0,
            device: NewDevice {
                id: DeviceId(self.id),
                authentication_key: self.device().authentication_key.to_vec().into(),
            },
            invite: None,
            now_ms: 1,
        };
        server.create_account(account, (0..30).map(|_| self.key_package(SUITE, Lifetime::new(DAY))).collect())
    }

    /// A key package of this suite that is valid for this long.
    pub(crate) fn key_package(&self, suite: Ciphersuite, validity: Lifetime) -> Bytes {
        let validity = UnknownExtension(validity.tls_serialize_detached().expect("encodes"));
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(capabilities(suite))
            .key_package_lifetime(Lifetime::init(0, u64::MAX))
            .key_package_extensions(Extensions::single(Extension::Unknown(0xF003, validity)).expect("an extension"))
            .build(suite, &OpenMlsRustCrypto::default(), &self.signer, self.credential())
            .expect("a key package");
        let message = MlsMessageOut::from(bundle.into_key_package());
        message.tls_serialize_detached().expect("encodes").into()
    }

    /// That key package as the server hands it out.
    pub(crate) fn claimed(&self, key_package: Bytes) -> ClaimedKeyPackage {
        ClaimedKeyPackage { device: DeviceId(self.id), key_package: Some(key_package) }
    }

    /// A welcome into a chat with this user, made with this forger's own identity, and a first message in it.
    pub(crate) fn welcome(
        &self,
        conversation: &[u8; 16],
        victim: &AccountRecord,
        package: &Bytes,
    ) -> Result<(Bytes, Bytes)> {
        let mut db = Connection::open_in_memory()?;
        mls::migrate(&mut db)?;
        let mls = Mls::new(&db);
        let key = SignatureKey::generate()?;
        key.store(&mls)?;
        let mls_key = key.public();
        let certified = credential::certify(&self.identity, &self.name, &self.id, &mls_key, &mut rng());
        let device = Device::new(key, &certified)?;
        let known = Both(self.identity.public(), IdentityPublicKey::from_der(&victim.identity_key.0)?);
        let signed = |username: &str, list: Bytes| SignedList {
            username: username.to_owned(),
            list: list.0,
            rotations: Vec::new(),
            identity: None,
        };
        let lists = [
            signed(&self.name, self.list(vec![ListedDevice { mls_key, ..self.device() }])),
            signed(victim.username.as_str(), victim.device_list.clone()),
        ];
        let participant = |signed: &SignedList, key: &IdentityPublicKey| -> Result<Participant> {
            let verified = DeviceList::verify(&signed.list, key, &signed.username)?;
            Ok(Participant {
                username: signed.username.clone(),
                identity: key.fingerprint(),
                list_version: verified.list.version,
                list_hash: verified.hash,
                role: Role::Member,
                former: Vec::new(),
                since: None,
            })
        };
        let participants = vec![participant(&lists[0], &known.0)?, participant(&lists[1], &known.1)?];
        let rules = GroupRules::new(Kind::Direct, participants, JoinKey::generate(&mut rng()))?;
        let mut group = Group::create(&mls, &device, conversation, &rules)?;
        let change = Change { lists: &lists, add: std::slice::from_ref(&package.0), ..Change::default() };
        let prepared = group.prepare(&device, &known, change)?;
        group.commit_accepted()?;
        let text = waxwing_e2ee::content::Body::Text("I am the one you know".into());
        let text =
            waxwing_e2ee::content::Content { id: [9; 16], sent_at_ms: 1, body: text, seen: None, lifetime: None };
        let message = group.encrypt(&device, &waxwing_e2ee::content::encode(&text)?)?;
        Ok((prepared.welcome.expect("a welcome").into(), message.into()))
    }
}

/// What a leaf of ours says that it can.
pub(crate) fn capabilities(suite: Ciphersuite) -> Capabilities {
    Capabilities::builder()
        .ciphersuites(vec![suite])
        .extensions(vec![ExtensionType::Unknown(0xF002), ExtensionType::Unknown(0xF003), ExtensionType::LastResort])
        .credentials(vec![CredentialType::Other(0xF001)])
        .build()
}

struct Both(IdentityPublicKey, IdentityPublicKey);

impl Identities for Both {
    fn identity(&self, _: &str, fingerprint: &[u8; 32]) -> Option<IdentityPublicKey> {
        [&self.0, &self.1].into_iter().find(|key| key.fingerprint() == *fingerprint).cloned()
    }
}
