//! What users have stored with the first formats opens for ever: the vectors never change, formats get new files.

use std::collections::HashMap;
use waxwing_e2ee::{
    account::{
        AccountKeys, AccountSecrets, AuthenticationKey, BackupPublicKey, Change, DeviceList, IdentityPublicKey,
        KdfParameters, RecoveryCode, WrapKind, credential, derive_password,
    },
    local,
};

struct Golden(HashMap<&'static str, Vec<u8>>);

impl Golden {
    fn read() -> Self {
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let lines = include_str!("golden/account-v1.txt").lines().map(|line| {
            let (name, hex) = line.split_once(' ').unwrap();
            (name, hex.as_bytes().chunks(2).map(byte).collect())
        });
        Self(lines.collect())
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

    fn identity(&self) -> IdentityPublicKey {
        IdentityPublicKey::from_der(self.bytes("identity_key")).unwrap()
    }
}

#[test]
fn password_and_recovery_code_prove_themselves_as_before() {
    let golden = Golden::read();
    assert_eq!(golden.by_password().auth.as_slice(), golden.bytes("password_auth"));
    assert_eq!(golden.by_code().auth.as_slice(), golden.bytes("recovery_auth"));
    let code: RecoveryCode = golden.text("recovery_code").parse().unwrap();
    assert_eq!(code.to_string(), golden.text("recovery_code"));
}

#[test]
fn the_vault_opens_by_both_wraps() {
    let golden = Golden::read();
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
    let golden = Golden::read();
    let verify = |name| DeviceList::verify(golden.bytes(name), &golden.identity(), golden.text("username")).unwrap();
    let (first, next) = (verify("device_list"), verify("next_device_list"));
    let device = first.list.devices.first().unwrap();
    assert_eq!((first.list.version, first.list.devices.len()), (1, 1));
    assert_eq!((device.id, device.mls_key, device.since_ms), ([0xd1; 16], [0x31; 32], 1_800_000_000_000));
    assert_eq!(first.hash.as_slice(), golden.bytes("device_list_hash"));
    assert_eq!((next.list.version, next.list.devices.len()), (2, 2));
    assert_eq!(next.follows(&first), Ok(Change::Newer));
    // The encoding is deterministic up to the signature, the last 384 bytes.
    let keys = AccountKeys::generate(&mut rsa::rand_core::UnwrapErr(getrandom::SysRng));
    let again = first.list.sign(&keys.identity, &mut rsa::rand_core::UnwrapErr(getrandom::SysRng));
    let unsigned = again.len() - 384;
    assert_eq!(again[..unsigned], golden.bytes("device_list")[..unsigned]);
}

#[test]
fn the_credential_verifies() {
    let golden = Golden::read();
    let credential = credential::verify(golden.bytes("credential"), &[0x31; 32], &golden.identity()).unwrap();
    assert_eq!((credential.username.as_str(), credential.device), ("alice", [0xd1; 16]));
}

#[test]
fn the_authentication_key_signs_the_same() {
    let golden = Golden::read();
    let key = AuthenticationKey::from_bytes(&golden.array("authentication_seed"));
    assert_eq!(key.sign(b"golden").as_slice(), golden.bytes("authentication_signature"));
}

#[test]
fn the_local_key_file_opens() {
    let golden = Golden::read();
    let key = local::unwrap(golden.bytes("local_key_file"), golden.text("password")).unwrap();
    assert_eq!(key.as_bytes(), golden.bytes("local_key"));
}
