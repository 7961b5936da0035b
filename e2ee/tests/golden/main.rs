//! What users have stored with the first formats opens for ever: the vectors never change, formats get new files.

mod messages;

use std::collections::HashMap;
use waxwing_e2ee::{
    account::{
        AccountKeys, AccountSecrets, AuthenticationKey, BackupPublicKey, Change, DeviceList, IdentityPublicKey,
        KdfParameters, RecoveryCode, SafetyNumber, WrapKind, credential, derive_password, rotation,
    },
    backup::{GenerationKey, Position, Said, Segment, State, VerifiedManifest},
    local,
};

struct Golden(HashMap<&'static str, Vec<u8>>);

impl Golden {
    /// Lines of a name and its value in hexadecimal digits.
    fn parse(vectors: &'static str) -> Self {
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let lines = vectors.lines().map(|line| {
            let (name, hex) = line.split_once(' ').unwrap();
            (name, hex.as_bytes().chunks(2).map(byte).collect())
        });
        Self(lines.collect())
    }

    fn account() -> Self {
        Self::parse(include_str!("account-v2.txt"))
    }

    fn bytes(&self, name: &str) -> &[u8] {
        &self.0[name]
    }

    fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().unwrap()
    }

    fn text(&self, name: &str) -> &str {
        std::str::from_utf8(self.bytes(name)).unwrap()
    }

    fn by_password(&self) -> AccountSecrets {
        let kdf = KdfParameters { salt: self.array("kdf_salt"), memory_kib: 65536, iterations: 3, parallelism: 4 };
        derive_password(self.text("password"), &kdf, &self.array("server"), self.text("username")).unwrap()
    }

    fn by_code(&self) -> AccountSecrets {
        let code: RecoveryCode = self.text("recovery_code").parse().unwrap();
        code.secrets(&self.array("server"), self.text("username"))
    }

    fn keys(&self) -> AccountKeys {
        let (vault, wrap) = (self.bytes("vault"), self.bytes("password_wrap"));
        AccountKeys::open(self.text("username"), vault, wrap, WrapKind::Password, &self.by_password()).unwrap()
    }

    fn identity(&self) -> IdentityPublicKey {
        IdentityPublicKey::from_der(self.bytes("identity_key")).unwrap()
    }
}

#[test]
fn password_and_recovery_code_prove_themselves_as_before() {
    let golden = Golden::account();
    assert_eq!(golden.by_password().auth.as_slice(), golden.bytes("password_auth"));
    assert_eq!(golden.by_code().auth.as_slice(), golden.bytes("recovery_auth"));
    let code: RecoveryCode = golden.text("recovery_code").parse().unwrap();
    assert_eq!(code.to_string(), golden.text("recovery_code"));
}

#[test]
fn the_vault_opens_by_both_wraps() {
    let golden = Golden::account();
    for (wrap, kind, secrets) in [
        ("password_wrap", WrapKind::Password, golden.by_password()),
        ("recovery_wrap", WrapKind::Recovery, golden.by_code()),
    ] {
        let (vault, wrap) = (golden.bytes("vault"), golden.bytes(wrap));
        let keys = AccountKeys::open(golden.text("username"), vault, wrap, kind, &secrets).unwrap();
        assert_eq!(keys.identity.public(), golden.identity());
        assert_eq!(keys.identity.public().to_der(), golden.bytes("identity_key"));
        assert_eq!(keys.identity.public().fingerprint().as_slice(), golden.bytes("identity_fingerprint"));
        assert_eq!(keys.backup.public(), BackupPublicKey::from_der(golden.bytes("backup_key")).unwrap());
        assert_eq!(keys.vault_secret(), golden.bytes("vault_secret"));
    }
}

#[test]
fn the_device_lists_verify_and_follow() {
    let golden = Golden::account();
    let verify = |name| DeviceList::verify(golden.bytes(name), &golden.identity(), golden.text("username")).unwrap();
    let (first, next) = (verify("device_list"), verify("next_device_list"));
    let device = first.list.devices.first().unwrap();
    assert_eq!((first.list.version, first.list.devices.len()), (1, 1));
    assert_eq!((device.id, device.mls_key, device.since_ms), ([0xd1; 16], [0x31; 32], 1_800_000_000_000));
    assert_eq!(first.hash.as_slice(), golden.bytes("device_list_hash"));
    assert_eq!((next.list.version, next.list.devices.len()), (2, 2));
    assert_eq!(next.follows(&first), Ok(Change::Newer));
    assert_eq!(device.sealed_name, golden.bytes("sealed_name"));
    // The encoding is deterministic up to the signature, the last 384 bytes.
    let keys = AccountKeys::generate(&mut rsa::rand_core::UnwrapErr(getrandom::SysRng));
    let again = first.list.sign(&keys.identity, &mut rsa::rand_core::UnwrapErr(getrandom::SysRng));
    let unsigned = again.len() - 384;
    assert_eq!(again[..unsigned], golden.bytes("device_list")[..unsigned]);
}

#[test]
fn the_device_name_opens() {
    let golden = Golden::account();
    let key = golden.keys().account_key();
    assert_eq!(key.as_bytes(), golden.bytes("account_key"));
    assert_eq!(key.open_device_name(&[0xd1; 16], golden.bytes("sealed_name")).as_deref(), Some("laptop"));
}

#[test]
fn the_rotation_leads_to_the_next_identity() {
    let golden = Golden::account();
    let next = rotation::verify(golden.bytes("rotation"), &golden.identity(), golden.text("username")).unwrap();
    assert_eq!(next.to_der(), golden.bytes("next_identity_key"));
}

#[test]
fn the_safety_number_is_the_same() {
    let golden = Golden::account();
    let next = IdentityPublicKey::from_der(golden.bytes("next_identity_key")).unwrap();
    let number = SafetyNumber::new(("bob", &next), (golden.text("username"), &golden.identity()));
    assert_eq!(number.digits(), golden.text("safety_number"));
    assert_eq!(number.qr(), golden.text("safety_number_qr"));
}

#[test]
fn the_backup_opens_from_the_vault_on() {
    let golden = Golden::account();
    let (keys, username) = (golden.keys(), golden.text("username"));
    let list = DeviceList::verify(golden.bytes("device_list"), &golden.identity(), username).unwrap();
    let manifest = VerifiedManifest::verify(golden.bytes("manifest"), username, &list).unwrap();
    assert_eq!((manifest.version(), manifest.generation(), manifest.device()), (1, 1, [0xd1; 16]));
    assert_eq!(manifest.hash().as_slice(), golden.bytes("manifest_hash"));
    assert_eq!(manifest.wrapped(), golden.bytes("generation_wrapped"));
    let rng = &mut rsa::rand_core::UnwrapErr(getrandom::SysRng);
    let key = GenerationKey::open(1, manifest.wrapped(), &keys.backup, keys.vault_secret(), rng).unwrap();
    assert_eq!(key.as_bytes(), golden.bytes("generation_key"));
    let body = manifest.open(&key).unwrap();
    assert_eq!(body.former, [GenerationKey::from_bytes(0, &[0xf0; 32])]);
    assert_eq!(body.written_at_ms, 1_800_000_000_002);

    let [entry] = body.segments.as_slice() else { panic!("one segment") };
    assert_eq!((entry.chat.as_str(), entry.conversation, entry.era), ("bob", [0xc1; 16], 1));
    assert_eq!((entry.first, entry.last, entry.count, entry.newest_ms), (1, 3, 2, 1_800_000_000_001));
    let plaintext = entry.open(&key, username, golden.bytes("sealed_segment")).unwrap();
    assert_eq!(plaintext.as_slice(), golden.bytes("segment"));
    let segment = Segment::decode(&plaintext).unwrap();
    assert_eq!(segment.encode().unwrap().as_slice(), golden.bytes("segment"));
    let [message, notice] = segment.messages.as_slice() else { panic!("two messages") };
    assert_eq!((message.id, message.seq, message.author.as_deref()), ([0xa1; 16], 2, Some("bob")));
    assert_eq!((message.sent_at_ms, message.received_at_ms), (1_800_000_000_000, 1_800_000_000_001));
    assert_eq!((message.delivered, message.told_by.as_deref()), (true, Some("carol")));
    assert_eq!(message.said, Said::Content(b"content".to_vec()));
    assert_eq!(notice.said, Said::Local { kind: 7, text: "a notice".to_owned() });

    let [entry] = body.state.as_slice() else { panic!("one state") };
    let plaintext = entry.open(&key, username, golden.bytes("sealed_state")).unwrap();
    let state = State::decode(&plaintext).unwrap();
    assert_eq!(state.encode().unwrap().as_slice(), golden.bytes("state"));
    assert_eq!(state.contacts[0].identity, golden.bytes("identity_key"));
    assert_eq!(state.contacts[0].verified, Some([0xfe; 32]));
    assert_eq!(state.chats[0].read, Some(Position { era: 1, seq: 3 }));
    assert_eq!(state.chats[0].join_key.as_ref().unwrap().as_bytes(), &[0x7e; 32]);
    assert_eq!(state.settings["receipts"], "on");
}

#[test]
fn the_credential_verifies() {
    let golden = Golden::account();
    let credential = credential::verify(golden.bytes("credential"), &[0x31; 32], &golden.identity()).unwrap();
    assert_eq!((credential.username.as_str(), credential.device), ("alice", [0xd1; 16]));
}

#[test]
fn the_authentication_key_signs_the_same() {
    let golden = Golden::account();
    let key = AuthenticationKey::from_bytes(&golden.array("authentication_seed"));
    assert_eq!(key.sign(b"golden").as_slice(), golden.bytes("authentication_signature"));
}

#[test]
fn the_local_key_file_opens() {
    let golden = Golden::account();
    let key = local::unwrap(golden.bytes("local_key_file"), golden.text("password")).unwrap();
    assert_eq!(key.as_bytes(), golden.bytes("local_key"));
}
