//! The targets. What they assert must hold of everything that can be read at all.

use crate::corpus;
use std::sync::OnceLock;
use waxwing_e2ee::{
    account::{
        AccountKey, AccountKeys, AccountSecrets, DeviceList, IdentityPublicKey, KdfParameters, VerifiedDeviceList,
        WrapKind, credential, derive_password, rotation,
    },
    attachment::{FileCipher, FileKey, Shape},
    backup::{GenerationKey, Segment, State, VerifiedManifest, open_segment},
    content, local,
};
use waxwing_protocol::{Link, decode_client_frame, decode_hello, decode_server_frame, decode_server_hello, encode};
use waxwing_server::install::Config;

/// What clients send.
pub fn client_frame(bytes: &[u8]) {
    if let Ok(frame) = decode_client_frame(bytes) {
        assert_eq!(decode_client_frame(encode(&frame).as_ref()).ok(), Some(frame), "it is not what it was");
    }
}

/// What the server sends: answers and events.
pub fn server_frame(bytes: &[u8]) {
    if let Ok(frame) = decode_server_frame(bytes) {
        assert_eq!(decode_server_frame(encode(&frame).as_ref()).ok(), Some(frame), "it is not what it was");
    }
}

/// The first words of both.
pub fn hello(bytes: &[u8]) {
    let _ = decode_hello(bytes);
    let _ = decode_server_hello(bytes);
}

/// What members tell each other, once it is decrypted.
pub fn content(bytes: &[u8]) {
    let _ = content::decode(bytes);
    if let Ok(read) = content::from_bytes(bytes)
        && let Ok(written) = content::to_bytes(&read)
    {
        assert_eq!(content::from_bytes(&written).ok(), Some(read), "it is not what it was");
    }
}

/// One content of each simple kind, as seeds.
pub(crate) fn contents() -> Vec<Vec<u8>> {
    let bodies = [
        content::Body::Text("a text".into()),
        content::Body::Receipt { delivered: 3 },
        content::Body::Read { read: 4 },
        content::Body::Profile { full_name: Some("A Name".into()) },
        content::Body::Timer(Some(60)),
        content::Body::Typing(true),
        content::Body::Silent,
        content::Body::Ask { from: 1, to: 9 },
    ];
    let encoded = bodies.into_iter().filter_map(|body| {
        let content = content::Content { id: [7; 16], sent_at_ms: 1_700_000_000_000, body, seen: None, lifetime: None };
        Some([content::to_bytes(&content).ok()?.to_vec(), content::encode(&content).ok()?.to_vec()])
    });
    encoded.flatten().collect()
}

fn golden(name: &str) -> Vec<u8> {
    corpus::account().remove(name).unwrap_or_default()
}

fn array<const N: usize>(name: &str) -> [u8; N] {
    golden(name).try_into().unwrap_or([0; N])
}

fn identity() -> &'static Option<IdentityPublicKey> {
    static IDENTITY: OnceLock<Option<IdentityPublicKey>> = OnceLock::new();
    IDENTITY.get_or_init(|| IdentityPublicKey::from_der(&golden("identity_key")).ok())
}

fn devices() -> &'static Option<VerifiedDeviceList> {
    static DEVICES: OnceLock<Option<VerifiedDeviceList>> = OnceLock::new();
    let verify = || DeviceList::verify(&golden("device_list"), identity().as_ref()?, "alice").ok();
    DEVICES.get_or_init(verify)
}

/// The wrap of a vault's key, and the vault behind it.
pub fn vault(bytes: &[u8]) {
    static SECRETS: OnceLock<Option<AccountSecrets>> = OnceLock::new();
    let derive = || {
        let kdf = KdfParameters { salt: array("kdf_salt"), memory_kib: 65536, iterations: 3, parallelism: 4 };
        let password = golden("password");
        derive_password(std::str::from_utf8(&password).ok()?, &kdf, &array("server"), "alice").ok()
    };
    let Some(secrets) = SECRETS.get_or_init(derive) else { return };
    let (wrap, vault) = bytes.split_at(golden("password_wrap").len().min(bytes.len()));
    for kind in [WrapKind::Password, WrapKind::Recovery] {
        let _ = AccountKeys::open("alice", vault, wrap, kind, secrets);
    }
}

/// Everything that an account publishes and signs.
pub fn account(bytes: &[u8]) {
    let _ = IdentityPublicKey::from_der(bytes);
    let _ = credential::parse(bytes);
    let _ = rotation::parse(bytes);
    let _ = AccountKey::from_bytes(&[7; 32]).open_device_name(&[7; 16], bytes);
    if let Some(identity) = identity() {
        let _ = DeviceList::verify(bytes, identity, "alice");
        let _ = credential::verify(bytes, &[7; 32], identity);
        let _ = rotation::verify(bytes, identity, "alice");
    }
}

/// Messages in a backup, once they are decrypted.
pub fn segment(bytes: &[u8]) {
    if let Ok(segment) = Segment::decode(bytes)
        && let Ok(written) = segment.encode()
    {
        assert_eq!(Segment::decode(&written).ok(), Some(segment.clone()), "it is not what it was");
        let _ = segment.split();
    }
}

/// The rest of a backup, once it is decrypted.
pub fn state(bytes: &[u8]) {
    if let Ok(state) = State::decode(bytes)
        && let Ok(written) = state.encode()
    {
        assert!(State::decode(&written).is_ok_and(|again| again == state), "it is not what it was");
        let _ = State::merge(state.split());
    }
}

/// Segments as the server has them.
pub fn sealed_segment(bytes: &[u8]) {
    let key = GenerationKey::from_bytes(1, &array("generation_key"));
    let _ = open_segment(&key, "alice", &[7; 16], bytes);
}

/// The list of what is in a backup.
pub fn manifest(bytes: &[u8]) {
    let Some(devices) = devices() else { return };
    if let Ok(manifest) = VerifiedManifest::verify(bytes, "alice", devices) {
        let _ = manifest.open(&GenerationKey::from_bytes(1, &array("generation_key")));
    }
}

/// The lengths that the sender of a file claims, and a chunk of it.
pub fn attachment(bytes: &[u8]) {
    let number = |at: usize| {
        let mut number = [0; 8];
        number.iter_mut().zip(bytes.iter().skip(at)).for_each(|(to, from)| *to = *from);
        u64::from_be_bytes(number)
    };
    let (size, sealed) = (number(0), number(8));
    for shape in [Shape::of(size), Shape::claimed(size, sealed)].into_iter().flatten() {
        assert!(shape.size() <= shape.sealed() && shape.chunks() > 0, "{shape:?}");
        let last = shape.chunks() - 1;
        let (start, length) = shape.content(last);
        assert!(start + length as u64 <= shape.size(), "{shape:?}");
        assert_eq!(shape.sealed_chunk(last + 1), 0, "{shape:?}");
        let mut chunk: Vec<u8> = bytes.iter().skip(16).copied().collect();
        let cipher = FileCipher::new(&FileKey::from_bytes([7; 32]), shape);
        assert!(cipher.open(number(4) as u32, &mut chunk).is_err(), "nobody sealed that");
    }
}

/// The file with a profile's key.
pub fn local_key(bytes: &[u8]) {
    let _ = local::unwrap(bytes, "a password");
}

/// The link to a server.
pub fn link(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(link) = text.parse::<Link>() {
        assert_eq!(link.to_string().parse::<Link>().ok(), Some(link), "it is not what it was");
    }
}

/// The server's configuration.
pub fn configuration(bytes: &[u8]) {
    if let Ok(config) = Config::parse(&String::from_utf8_lossy(bytes)) {
        let _ = config.validate();
        let rendered = config.render();
        assert!(Config::parse(&rendered).is_ok(), "it does not read what it wrote:\n{rendered}");
    }
}

/// A message's text on its way to a terminal.
pub fn markdown(bytes: &[u8]) {
    let shown = waxwing_terminal::formatted(&String::from_utf8_lossy(bytes));
    // Styles are the only sequences, and lines the only breaks; bidirectional marks would change what stands beside.
    let mut rest = shown.as_str();
    while let Some(at) = rest.find('\u{1b}') {
        let sequence = rest.get(at + 1..).unwrap_or_default();
        let end = sequence.find('m').unwrap_or(sequence.len());
        let inner = sequence.get(..end).unwrap_or_default();
        let is_number = |inner: &str| inner.chars().all(|one| one.is_ascii_digit() || one == ';');
        let is_style = inner.strip_prefix('[').is_some_and(is_number);
        assert!(is_style, "a sequence that is no style: {shown:?}");
        rest = sequence.get(end..).unwrap_or_default();
    }
    let turns = |one: char| matches!(one, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_bad = |one: char| (one.is_control() && one != '\n' && one != '\u{1b}') || turns(one);
    assert!(!shown.contains(is_bad), "{shown:?}");
}

/// A document that is to be imported.
pub fn import(bytes: &[u8]) {
    let _ = waxwing_core::check_import(bytes);
}
