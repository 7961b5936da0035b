//! Every limit of the wire, in one place. Both ends enforce them; `SPEC.md` §8 lists them.

/// The longest frame body, in bytes, once a device is authenticated.
pub const FRAME: usize = 1024 * 1024;
/// The longest frame body, in bytes, before that (a sign-up carries a vault and a device list).
pub const FRAME_BEFORE_LOGIN: usize = 64 * 1024;
/// The longest ciphertext of one application message.
pub const PAYLOAD: usize = 128 * 1024;
/// The longest handshake message (a commit or a welcome).
pub const HANDSHAKE: usize = 896 * 1024;
/// The longest text of one message in UTF-8 bytes, before encryption and padding.
pub const TEXT: usize = 32 * 1024;
/// The longest key package.
pub const KEY_PACKAGE: usize = 16 * 1024;
/// The most key packages in one request.
pub const KEY_PACKAGES_PER_REQUEST: usize = 50;
/// The most one-time key packages that a device may have on the server.
pub const KEY_PACKAGES_PER_DEVICE: usize = 200;
/// The longest vault, key wrap or signed device list.
pub const VAULT: usize = 16 * 1024;
/// The longest signed device list.
pub const DEVICE_LIST: usize = 32 * 1024;
/// The longest public key (SubjectPublicKeyInfo, DER).
pub const PUBLIC_KEY: usize = 1024;
/// The most devices that one account may have.
pub const DEVICES_PER_ACCOUNT: usize = 32;
/// The most former keys that a server's certificate names.
pub const KEY_HISTORY: usize = 32;
/// The most entries in one page of a conversation or of an inbox.
pub const PAGE_ENTRIES: u32 = 256;
/// A page ends before its payloads exceed this many bytes (one entry always fits).
pub const PAGE_BYTES: usize = 512 * 1024;
/// The longest full name, e-mail address, secret or invite code, in UTF-8 bytes.
pub const SHORT_TEXT: usize = 256;
/// The longest announcement of the operator, in UTF-8 bytes.
pub const ANNOUNCEMENT: usize = 1024;
/// The longest signal, in bytes.
pub const SIGNAL: usize = 512;
/// The most requests that one connection may have unanswered.
pub const REQUESTS_IN_FLIGHT: usize = 256;
/// The seconds after which either side ends a connection on which nothing was heard; the client pings at a third of it.
pub const IDLE_SECONDS: u64 = 90;
/// The seconds that a peer has from connecting until it is authenticated.
pub const LOGIN_SECONDS: u64 = 60;
/// The longest segment of a backup.
pub const SEGMENT: usize = 512 * 1024;
/// The longest manifest of a backup.
pub const MANIFEST: usize = 512 * 1024;
/// The most segments of one account's backup.
pub const SEGMENTS_PER_ACCOUNT: usize = 4096;
/// The most accounts that one commit brings into a conversation, or takes out.
pub const ROSTER: usize = 64;
/// The longest wish to leave a conversation.
pub const LEAVE: usize = 256;
/// The length of every chunk of an attachment but the last.
pub const ATTACHMENT_CHUNK: usize = 256 * 1024;
/// The longest attachment.
pub const ATTACHMENT: u64 = 4 * 1024 * 1024 * 1024;
/// The most statements about former identities in an account record.
pub const ROTATIONS: usize = 16;
/// The longest statement about a former identity: it holds two public keys and a signature.
pub const STATEMENT: usize = 4096;
