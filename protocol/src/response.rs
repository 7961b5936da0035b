//! What the server answers, and the records in its answers.

use crate::{Bytes, ConversationId, ConversationKind, DeviceId, KdfParameters, RoomName, Username};
use minicbor::{Decode, Encode};

/// The answer to a request that was not refused.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Response {
    /// It is done, and on disk where it changes anything.
    #[n(0)]
    Done,
    /// To `LoginParameters`.
    #[n(1)]
    LoginParameters(#[n(0)] LoginParameters),
    /// To `Login`.
    #[n(2)]
    Vault(#[n(0)] Box<Vault>),
    /// To `PublishKeyPackages` and `KeyPackageStock`.
    #[n(3)]
    KeyPackageStock(#[n(0)] KeyPackageStock),
    /// To `Account`.
    #[n(4)]
    Account(#[n(0)] AccountRecord),
    /// To `ClaimKeyPackages`.
    #[n(5)]
    KeyPackages(#[n(0)] Vec<ClaimedKeyPackage>),
    /// To `Send`, `Commit` and `CreateConversation`: it is on disk.
    #[n(6)]
    Accepted {
        /// The entry's place in the conversation.
        #[n(0)]
        seq: u64,
        /// The server's clock, milliseconds since 1970.
        #[n(1)]
        time_ms: u64,
    },
    /// To `Fetch`.
    #[n(7)]
    Page(#[n(0)] Page),
    /// To `FetchInbox`: items after the asked seq, oldest first; empty when there are no more.
    #[n(8)]
    Inbox(#[n(0)] Vec<InboxItem>),
    /// To `Heads`: sorted by id; fewer than asked for means the end.
    #[n(9)]
    Heads(#[n(0)] Vec<ConversationHead>),
    /// To `Conversations`: sorted by id; fewer than `PAGE_ENTRIES` means the end.
    #[n(10)]
    Conversations(#[n(0)] Vec<ConversationInfo>),
    /// To `GroupInfo`.
    #[n(11)]
    GroupInfo(#[n(0)] GroupInfo),
    /// To `FetchSegment`.
    #[n(12)]
    Segment(#[n(0)] Bytes),
    /// To `FetchManifest`.
    #[n(13)]
    Manifest(#[n(0)] Manifest),
    /// To `Rooms`.
    #[n(40)]
    Rooms(#[n(0)] Rooms),
    /// To `JoinRoom`: the room's conversation.
    #[n(41)]
    Room(#[n(0)] ConversationId),
    /// To `AttachmentStatus`.
    #[n(50)]
    AttachmentStatus(#[n(0)] AttachmentStatus),
    /// To `FetchChunk`.
    #[n(51)]
    Chunk(#[n(0)] Bytes),
    /// To `Devices`: those that are signed in, oldest first.
    #[n(61)]
    Devices(#[n(0)] Vec<DeviceSeen>),
}

/// A device that may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DeviceSeen {
    /// Its id.
    #[n(0)]
    pub device: DeviceId,
    /// The last day on which it was connected, counted from 1970: nothing finer is kept.
    #[n(1)]
    pub day: Option<u32>,
}

/// How an account derives its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LoginParameters {
    /// As given at sign-up (or a stable fake).
    #[n(0)]
    pub kdf: KdfParameters,
}

/// What a proven owner gets. Only the wrap that belongs to the authenticator used.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Vault {
    /// The sealed private keys.
    #[n(0)]
    pub vault: Bytes,
    /// The vault key, wrapped.
    #[n(1)]
    pub wrap: Bytes,
    /// The account's public record.
    #[n(2)]
    pub account: AccountRecord,
}

/// An account as everybody may see it; what vouches for it is inside.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AccountRecord {
    /// The name that was asked for.
    #[n(0)]
    pub username: Username,
    /// RSA public key (SubjectPublicKeyInfo, DER).
    #[n(1)]
    pub identity_key: Bytes,
    /// The newest signed device list.
    #[n(2)]
    pub device_list: Bytes,
    /// RSA public key (SubjectPublicKeyInfo, DER).
    #[n(3)]
    pub backup_key: Bytes,
    /// The statements by which each former identity vouched for the next, oldest first.
    #[n(4)]
    pub rotations: Vec<Bytes>,
}

/// Key packages left on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KeyPackageStock {
    /// One-time ones.
    #[n(0)]
    pub one_time: u32,
    /// Whether there is a last-resort one.
    #[n(1)]
    pub last_resort: bool,
}

/// A key package of one device.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ClaimedKeyPackage {
    /// Whose.
    #[n(0)]
    pub device: DeviceId,
    /// The MLS key package; none if the device has not published any.
    #[n(1)]
    pub key_package: Option<Bytes>,
}

/// One entry of a conversation's log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// Its place: 1, 2, 3 … without gaps.
    #[n(0)]
    pub seq: u64,
    /// When the server stored it, milliseconds since 1970.
    #[n(1)]
    pub time_ms: u64,
    /// What it is.
    #[n(2)]
    pub body: EntryBody,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EntryBody {
    /// A ciphertext of another device.
    #[n(0)]
    Application(#[n(0)] Bytes),
    /// A commit of another device.
    #[n(1)]
    Commit(#[n(0)] Bytes),
    /// What this device itself sent under this send number; it has the content.
    #[n(2)]
    Own {
        /// The send number; 0 for the handshake that created the conversation, and for a join.
        #[n(0)]
        number: u64,
    },
}

/// A stretch of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Page {
    /// Consecutive entries, oldest first.
    #[n(0)]
    pub entries: Vec<Entry>,
    /// The seq of the newest entry that the server has.
    #[n(1)]
    pub head: u64,
    /// The oldest seq that the server still has (head + 1 if none).
    #[n(2)]
    pub tail: u64,
    /// The count of accepted commits.
    #[n(3)]
    pub commits: u64,
    /// The highest send number accepted from this device.
    #[n(4)]
    pub sent: u64,
}

/// Where a conversation stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ConversationHead {
    /// Which.
    #[n(0)]
    pub conversation: ConversationId,
    /// The seq of its newest entry.
    #[n(1)]
    pub head: u64,
    /// The highest send number accepted from this device.
    #[n(2)]
    pub sent: u64,
}

/// A conversation of an account.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ConversationInfo {
    /// Which.
    #[n(0)]
    pub conversation: ConversationId,
    /// What for; seen from the asking account, a direct one names the other.
    #[n(1)]
    pub kind: ConversationKind,
    /// The seq of its newest entry.
    #[n(2)]
    pub head: u64,
    /// Whether the asking device is in it.
    #[n(3)]
    pub member: bool,
}

/// How a device can let itself into a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct GroupInfo {
    /// The count of commits that it stands for, which is the current one.
    #[n(0)]
    pub commits: u64,
    /// The sealed group info; none if the newest commit came without.
    #[n(1)]
    pub sealed: Option<Bytes>,
}

/// An account's backup.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Manifest {
    /// The version of the last one; 0 if there never was any.
    #[n(0)]
    pub version: u64,
    /// The manifest, if there is one now.
    #[n(1)]
    pub manifest: Option<Bytes>,
    /// The bytes that the account's segments take.
    #[n(2)]
    pub used: u64,
    /// The bytes that they may take.
    #[n(3)]
    pub quota: u64,
}

/// Public rooms.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Rooms {
    /// Sorted by name; fewer than `PAGE_ENTRIES` means the end.
    #[n(0)]
    pub rooms: Vec<RoomInfo>,
    /// The room that this server has every new account come into; it may not exist yet.
    #[n(1)]
    pub default: Option<RoomName>,
}

/// A public room.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RoomInfo {
    /// Its name.
    #[n(0)]
    pub name: RoomName,
    /// How many accounts take part.
    #[n(1)]
    pub members: u32,
}

/// How far an attachment has come.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AttachmentStatus {
    /// The length of all its chunks together, as it was begun.
    #[n(0)]
    pub size: u64,
    /// Whether it can be fetched.
    #[n(1)]
    pub finished: bool,
    /// A bit per chunk, the first one the lowest of the first byte: whether it is there.
    #[n(2)]
    pub chunks: Bytes,
}

/// Something addressed to one device alone.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct InboxItem {
    /// Its place in the device's inbox: rising.
    #[n(0)]
    pub seq: u64,
    /// What it is.
    #[n(1)]
    pub notice: InboxNotice,
}

/// What an inbox item is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum InboxNotice {
    /// The device was added to a conversation.
    #[n(0)]
    Welcome {
        /// Which.
        #[n(0)]
        conversation: ConversationId,
        /// The seq of the commit that added the device: its cursor starts here.
        #[n(1)]
        seq: u64,
        /// The count of commits after it.
        #[n(2)]
        commits: u64,
        /// The MLS welcome.
        #[n(3)]
        payload: Bytes,
    },
    /// An account that shares a conversation with this device has a new device list.
    #[n(1)]
    DeviceListChanged {
        /// Whose.
        #[n(0)]
        username: Username,
        /// The list's version.
        #[n(1)]
        version: u64,
    },
    /// A device of an account in this conversation cannot read it, and asks to be added (again).
    #[n(2)]
    JoinAsked {
        /// Which.
        #[n(0)]
        conversation: ConversationId,
        /// Whose device.
        #[n(1)]
        username: Username,
        /// The device.
        #[n(2)]
        device: DeviceId,
    },
    /// An account has left this conversation: a member has to commit it.
    #[n(40)]
    Left {
        /// Which.
        #[n(0)]
        conversation: ConversationId,
        /// Who.
        #[n(1)]
        username: Username,
        /// Its signed wish.
        #[n(2)]
        wish: Bytes,
    },
}

/// Who may sign up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum SignUpPolicy {
    /// Whoever has an invite code.
    #[n(0)]
    Invite,
    /// Anyone.
    #[n(1)]
    Open,
    /// Whoever knows the server's sign-up secret.
    #[n(2)]
    Secret,
    /// Nobody.
    #[n(3)]
    Closed,
}
