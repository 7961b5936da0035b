//! Prints new golden vectors for what an account stores: `cargo run -p waxwing-e2ee --example golden`.
//!
//! The vectors in `tests/golden` stand for data that users have; a new format gets a new file, and no old one changes.

use rsa::rand_core::UnwrapErr;
use waxwing_e2ee::{
    account::{
        AccountKeys, AuthenticationKey, DeviceList, KdfParameters, ListedDevice, RecoveryCode, credential,
        derive_password,
    },
    local,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rng = &mut UnwrapErr(getrandom::SysRng);
    let (username, password, server) = ("alice", "Zu\u{308}rich \0 battery staple", [0x5e; 32]);
    print("username", username.as_bytes());
    print("password", password.as_bytes());
    print("server", &server);

    let kdf = KdfParameters::recommended(rng);
    let by_password = derive_password(password, &kdf, &server, username)?;
    print("kdf_salt", &kdf.salt);
    print("password_auth", by_password.auth.as_slice());
    let code = RecoveryCode::generate(rng);
    let by_code = code.secrets(&server, username);
    print("recovery_code", code.to_string().as_bytes());
    print("recovery_auth", by_code.auth.as_slice());

    let keys = AccountKeys::generate(rng);
    let sealed = keys.seal(username, &by_password, &by_code, rng)?;
    let identity = keys.identity.public();
    print("identity_key", &identity.to_der());
    print("identity_fingerprint", &identity.fingerprint());
    print("backup_key", &keys.backup.public().to_der());
    print("vault_secret", keys.vault_secret());
    print("vault", &sealed.vault);
    print("password_wrap", &sealed.password_wrap);
    print("recovery_wrap", &sealed.recovery_wrap);

    let authentication = AuthenticationKey::generate(rng);
    print("authentication_seed", authentication.to_bytes().as_slice());
    print("authentication_signature", &authentication.sign(b"golden"));
    let device = ListedDevice {
        id: [0xd1; 16],
        mls_key: [0x31; 32],
        authentication_key: authentication.public(),
        since_ms: 1_800_000_000_000,
    };
    let second = ListedDevice { id: [0xd2; 16], mls_key: [0x32; 32], authentication_key: [0x33; 32], since_ms: 2 };
    let list = DeviceList::first(username, device.clone());
    let first = list.sign(&keys.identity, rng);
    let hash = DeviceList::verify(&first, &identity, username)?.hash;
    print("device_list", &first);
    print("device_list_hash", &hash);
    print("next_device_list", &list.successor(&hash, vec![device.clone(), second]).sign(&keys.identity, rng));
    print("credential", &credential::certify(&keys.identity, username, &device.id, &device.mls_key, rng));

    let key = local::LocalKey::generate(rng);
    print("local_key", key.as_bytes());
    print("local_key_file", &local::wrap(&key, password, rng)?);
    Ok(())
}

fn print(name: &str, bytes: &[u8]) {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{name} {hex}");
}
