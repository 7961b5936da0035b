//! Prints new golden vectors for what an account stores: `cargo run -p waxwing-e2ee --example golden`.
//!
//! The vectors in `tests/golden` stand for data that users have; a new format gets a new file, and no old one changes.

use rsa::{
    rand_core::UnwrapErr,
    sha2::{Digest, Sha256},
};
use waxwing_e2ee::{
    account::{
        AccountKeys, AuthenticationKey, DeviceList, KdfParameters, ListedDevice, RecoveryCode, SafetyNumber,
        credential, derive_password, rotation,
    },
    backup::{
        Body, Chat, Contact, GenerationKey, Manifest, Message, Position, Said, Segment, SegmentEntry, State,
        StateEntry, seal_segment,
    },
    local,
    mls::JoinKey,
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
    let sealed = keys.seal(username, &by_password, Some(&by_code), rng)?;
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
    let account_key = keys.account_key();
    let sealed_name = account_key.seal_device_name(&[0xd1; 16], "laptop", rng);
    print("account_key", account_key.as_bytes());
    print("sealed_name", &sealed_name);
    let device = ListedDevice {
        id: [0xd1; 16],
        mls_key: [0x31; 32],
        authentication_key: authentication.public(),
        since_ms: 1_800_000_000_000,
        sealed_name,
    };
    let second = ListedDevice {
        id: [0xd2; 16],
        mls_key: [0x32; 32],
        authentication_key: [0x33; 32],
        since_ms: 2,
        sealed_name: Vec::new(),
    };
    let list = DeviceList::first(username, device.clone());
    let first = list.sign(&keys.identity, rng);
    let verified = DeviceList::verify(&first, &identity, username)?;
    let hash = verified.hash;
    print("device_list", &first);
    print("device_list_hash", &hash);
    print("next_device_list", &verified.with(second).sign(&keys.identity, rng));
    print("credential", &credential::certify(&keys.identity, username, &device.id, &device.mls_key, rng));

    let rotated = keys.rotate(rng);
    let next = rotated.identity.public();
    print("next_identity_key", &next.to_der());
    print("rotation", &rotation::sign(&keys.identity, username, &next, rng));
    let number = SafetyNumber::new((username, &identity), ("bob", &next));
    print("safety_number", number.digits().as_bytes());
    print("safety_number_qr", number.qr().as_bytes());

    let (generation, wrapped) = GenerationKey::create(1, &keys.backup.public(), keys.vault_secret(), rng);
    print("generation_key", generation.as_bytes());
    print("generation_wrapped", &wrapped);
    let segment = segment().encode()?;
    let state = state(identity.to_der()).encode()?;
    print("segment", &segment);
    print("state", &state);
    let sealed_segment = seal_segment(&generation, username, &[0x51; 16], &segment, rng)?;
    let sealed_state = seal_segment(&generation, username, &[0x52; 16], &state, rng)?;
    print("sealed_segment", &sealed_segment);
    print("sealed_state", &sealed_state);
    let entry = SegmentEntry {
        id: [0x51; 16],
        generation: 1,
        chat: "bob".into(),
        conversation: [0xc1; 16],
        era: 1,
        first: 1,
        last: 3,
        count: 2,
        newest_ms: 1_800_000_000_001,
        sha256: Sha256::digest(&sealed_segment).into(),
    };
    let body = Body {
        segments: vec![entry],
        state: vec![StateEntry { id: [0x52; 16], generation: 1, sha256: Sha256::digest(&sealed_state).into() }],
        former: vec![GenerationKey::from_bytes(0, &[0xf0; 32])],
        written_at_ms: 1_800_000_000_002,
    };
    let manifest = Manifest { version: 1, previous: [0; 32], wrapped, body };
    let manifest = manifest.seal(&generation, username, &device.id, &authentication, rng)?;
    print("manifest", &manifest.bytes);
    print("manifest_hash", &manifest.hash);

    let key = local::LocalKey::generate(rng);
    print("local_key", key.as_bytes());
    print("local_key_file", &local::wrap(&key, password, rng)?);
    Ok(())
}

fn segment() -> Segment {
    let message = Message {
        id: [0xa1; 16],
        seq: 2,
        author: Some("bob".into()),
        sent_at_ms: 1_800_000_000_000,
        received_at_ms: 1_800_000_000_001,
        delivered: true,
        told_by: Some("carol".into()),
        said: Said::Content(b"content".to_vec()),
        done: None,
    };
    let said = Said::Local { kind: 7, text: "a notice".into() };
    let notice = Message { seq: 3, author: None, delivered: false, told_by: None, said, ..message.clone() };
    Segment::new("bob", [0xc1; 16], 1, vec![message, notice])
}

fn state(identity: Vec<u8>) -> State {
    let contact = Contact {
        username: "bob".into(),
        identity: identity.clone(),
        former: vec![identity.into()],
        device_list: Some(b"signed list".to_vec()),
        verified: Some([0xfe; 32]),
        full_name: Some("Bob".into()),
    };
    let chat = Chat {
        name: "bob".into(),
        conversation: [0xc1; 16],
        era: 1,
        join_key: Some(JoinKey::from_bytes([0x7e; 32])),
        read: Some(Position { era: 1, seq: 3 }),
    };
    State::new(vec![contact], vec![chat], [("receipts".into(), "on".into())].into())
}

fn print(name: &str, bytes: &[u8]) {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{name} {hex}");
}
