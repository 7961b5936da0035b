//! The wire language between client and server: frames, requests, responses, events, ids, limits.
//!
//! It keeps one invariant: whatever decodes here is within the limits of [`limits`] and carries
//! well-formed names, so nobody behind it has to check again. It must not know sockets, SQL or
//! cryptography: keys, ciphertexts and signatures are opaque bytes to it. `SPEC.md` is the normative text.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod bytes;
mod certificate;
mod error;
mod event;
mod frame;
mod id;
pub mod limits;
mod link;
mod request;
mod response;
mod room_name;
mod username;

pub use bytes::{Bytes, Secret};
pub use certificate::{
    CertificateError, KEY_HISTORY_OID, KEY_STATEMENT_LABEL, KeyStatement, ServerCertificate, encode_key_history,
    key_statement_message,
};
pub use error::{ErrorCode, Refusal};
pub use event::Event;
pub use frame::{
    ClientFrame, DecodeError, Hello, ServerFrame, ServerHello, decode_client_frame, decode_hello, decode_server_frame,
    decode_server_hello, encode,
};
pub use id::{AttachmentId, ConversationId, DeviceId, Incarnation, SegmentId};
pub use link::{Address, DEFAULT_PORT, Link, LinkError, Pin};
pub use request::{
    Admission, Authenticator, ConversationKind, CreateConversation, DeviceProof, EnrolDevice, Handshake, KdfParameters,
    NewCredentials, NewDevice, NewIdentity, Request, ReviseAccount, Roster, SignUp, Welcome,
};
pub use response::{
    AccountRecord, AttachmentStatus, ClaimedKeyPackage, ConversationHead, ConversationInfo, DeviceSeen, Entry,
    EntryBody, GroupInfo, InboxItem, InboxNotice, KeyPackageStock, LoginParameters, Manifest, Page, Response, RoomInfo,
    Rooms, SignUpPolicy, Vault,
};
pub use room_name::{RoomName, RoomNameError};
pub use username::{Username, UsernameError};

use sha2::{Digest as _, Sha256};

/// Application-Layer Protocol Negotiation name of the protocol (RFC 7301).
pub const ALPN: &[u8] = b"waxwing/1";

/// The range of protocol versions that this crate speaks, both ends included.
pub const VERSIONS: std::ops::RangeInclusive<u16> = 1..=1;

/// What a device signs to authenticate: this label, the server's pin, the connection's TLS exporter and
/// the device id, in this order, each of fixed length (`SPEC.md` §5).
pub const AUTHENTICATION_LABEL: &[u8] = b"waxwing device authentication v1";

/// What a device signs for a ticket: this label, the server's pin, SHA-256 of the challenge and the device id (`SPEC.md` §10).
pub const TICKET_LABEL: &[u8] = b"waxwing ticket authentication v1";

/// The WebSocket's subprotocol that carries the pinned TLS (`SPEC.md` §10).
pub const TUNNEL_PROTOCOL: &str = "waxwing-tunnel";

/// What stands in front of a ticket that is sent as a subprotocol (`SPEC.md` §10).
pub const TICKET_PROTOCOL: &str = "waxwing-ticket.";

/// Label of the TLS exporter (RFC 8446 §7.5) that binds an authentication to its connection; 32 bytes, no context.
pub const EXPORTER_LABEL: &[u8] = b"EXPERIMENTAL waxwing channel binding v1";

/// The bytes that a device signs with its authentication key on one connection.
pub fn authentication_message(server: &Pin, exporter: &[u8; 32], device: &DeviceId) -> Vec<u8> {
    [AUTHENTICATION_LABEL, &server.0, exporter, &device.0].concat()
}

/// The bytes that a device signs with its authentication key for a ticket.
pub fn ticket_message(server: &Pin, challenge: &str, device: &DeviceId) -> Vec<u8> {
    let challenge: [u8; 32] = Sha256::digest(challenge).into();
    [TICKET_LABEL, &server.0, &challenge, &device.0].concat()
}
