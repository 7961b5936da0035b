//! What a client asks. Answers stand in [`crate::Response`]; each request says which one.
//!
//! One long file, since it is one table: whoever adds a request sees all numbers that are taken.

use crate::{AttachmentId, Bytes, ConversationId, DeviceId, RoomName, Secret, SegmentId, Username, limits};
use minicbor::{Decode, Encode};

/// A request. The variants' numbers are the wire's and never change their meaning.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// Keeps the connection alive. → `Done`
    #[n(0)]
    Ping,
    /// Makes an account with its first device, and signs that device in. → `Done`
    #[n(1)]
    SignUp(#[n(0)] Box<SignUp>),
    /// How to derive the auth secret of an account from its password. → `LoginParameters`; unknown names get stable fakes.
    #[n(2)]
    LoginParameters(#[n(0)] Username),
    /// Proves knowledge of the password or recovery code. → `Vault`, or `CodeNeeded`. The connection may then enrol a device.
    #[n(3)]
    Login {
        /// The account.
        #[n(0)]
        username: Username,
        /// The proof.
        #[n(1)]
        authenticator: Authenticator,
        /// The one-time code, if one was sent by e-mail.
        #[n(2)]
        code: Option<String>,
        /// What an enrolled device of the account shows instead of a code.
        #[n(3)]
        device: Option<DeviceProof>,
    },
    /// After `Login`: adds a device to the account, and signs it in. → `Done`, or `DeviceListConflict`
    #[n(4)]
    EnrolDevice(#[n(0)] Box<EnrolDevice>),
    /// Signs an enrolled device in: Ed25519 over [`crate::authentication_message`]. → `Done`, or `BadCredentials`
    #[n(5)]
    Authenticate {
        /// The device.
        #[n(0)]
        device: DeviceId,
        /// 64 bytes.
        #[n(1)]
        signature: Bytes,
    },
    /// Adds one-time key packages and replaces the last-resort one. → `KeyPackageStock`
    #[n(6)]
    PublishKeyPackages {
        /// Each is handed out once.
        #[n(0)]
        one_time: Vec<Bytes>,
        /// Handed out when no one-time one is left.
        #[n(1)]
        last_resort: Option<Bytes>,
    },
    /// How many key packages this device has left. → `KeyPackageStock`
    #[n(7)]
    KeyPackageStock,
    /// An account's public record. → `Account`, or `UnknownAccount`
    #[n(8)]
    Account(#[n(0)] Username),
    /// One key package of each device of an account (but not of the asking device). → `KeyPackages`, or `UnknownAccount`
    #[n(9)]
    ClaimKeyPackages(#[n(0)] Username),
    /// Creates a conversation. → `Accepted` with seq 1 (0 without a handshake), or `ConversationExists`
    #[n(10)]
    CreateConversation(#[n(0)] Box<CreateConversation>),
    /// Appends an application message. → `Accepted`, `Stale` or `OutOfOrder`
    #[n(11)]
    Send {
        /// Where.
        #[n(0)]
        conversation: ConversationId,
        /// The device's send number in this conversation: 1, 2, 3 … A number that was accepted before gets the same answer again.
        #[n(1)]
        number: u64,
        /// The count of commits that the ciphertext was made after.
        #[n(2)]
        commits: u64,
        /// The ciphertext.
        #[n(3)]
        payload: Bytes,
    },
    /// Appends a commit, from the same sequence of send numbers. → `Accepted`, `Stale`, `OutOfOrder` or `Busy`
    #[n(12)]
    Commit {
        /// Where.
        #[n(0)]
        conversation: ConversationId,
        /// As in `Send`.
        #[n(1)]
        number: u64,
        /// The count of commits before this one.
        #[n(2)]
        commits: u64,
        /// The commit and who comes in and goes out by it.
        #[n(3)]
        handshake: Box<Handshake>,
    },
    /// Entries of a conversation after a seq, oldest first. → `Page`
    #[n(13)]
    Fetch {
        /// Where.
        #[n(0)]
        conversation: ConversationId,
        /// The last seq that the device has.
        #[n(1)]
        after: u64,
    },
    /// Everything up to `seq` is stored on the device; the server may drop it when all devices say so. → `Done`
    #[n(14)]
    Acknowledge {
        /// Where.
        #[n(0)]
        conversation: ConversationId,
        /// Up to here, included.
        #[n(1)]
        seq: u64,
    },
    /// The device's inbox after an inbox seq. → `Inbox`
    #[n(15)]
    FetchInbox {
        /// The last inbox seq that the device has handled.
        #[n(0)]
        after: u64,
    },
    /// Everything in the inbox up to `seq` is handled and may be deleted. → `Done`
    #[n(16)]
    AcknowledgeInbox {
        /// Up to here, included.
        #[n(0)]
        seq: u64,
    },
    /// The conversations of this device that have entries it has not acknowledged, by id, after `after`. → `Heads`
    #[n(17)]
    Heads {
        /// The last id of the page before.
        #[n(0)]
        after: Option<ConversationId>,
    },
    /// Starts pushing events to this connection: new entries and inbox items. → `Done`
    #[n(18)]
    Subscribe,
    /// After `Login`: changes the account and its device list in one step. → `Done`, or `DeviceListConflict`
    ///
    /// Devices that the list no longer names are signed out at once and lose key packages, inbox and memberships.
    #[n(19)]
    ReviseAccount(#[n(0)] Box<ReviseAccount>),
    /// After `Login`: deletes the account and all that the server has of it; its name is never given out again. → `Done`
    #[n(20)]
    DeleteAccount,
    /// All conversations of the device's account, by id, after `after`, whether the device is in them or not. → `Conversations`
    #[n(21)]
    Conversations {
        /// The last id of the page before.
        #[n(0)]
        after: Option<ConversationId>,
    },
    /// What a device of the account needs to let itself into a conversation. → `GroupInfo`
    #[n(22)]
    GroupInfo(#[n(0)] ConversationId),
    /// Appends a commit by which this device lets itself in. → `Accepted`, or `Stale`
    ///
    /// The entry comes back as `Own` with number 0, and the device's cursor is its seq. The same join again gets the same answer.
    #[n(23)]
    Join {
        /// Where.
        #[n(0)]
        conversation: ConversationId,
        /// The count of commits before this one.
        #[n(1)]
        commits: u64,
        /// The MLS external commit.
        #[n(2)]
        commit: Bytes,
        /// As in `Handshake`.
        #[n(3)]
        group_info: Option<Bytes>,
    },
    /// Asks the devices of a conversation to add this one (again), by a notice in their inboxes. → `Done`
    #[n(24)]
    AskToJoin(#[n(0)] ConversationId),
    /// Stores a segment of the account's backup. The same again is no change. → `Done`, or `QuotaExceeded`
    #[n(25)]
    PutSegment {
        /// Chosen at random.
        #[n(0)]
        id: SegmentId,
        /// The ciphertext.
        #[n(1)]
        payload: Bytes,
    },
    /// A segment of the account's backup. → `Segment`, or `UnknownSegment`
    #[n(26)]
    FetchSegment(#[n(0)] SegmentId),
    /// Replaces the manifest of the account's backup if `version` is the stored version + 1. → `Done`, `ManifestConflict` or `UnknownSegment`
    ///
    /// In the same step the account's segments that it does not name are deleted, save those that other devices stored in the last day.
    #[n(27)]
    PutManifest {
        /// Its version: 1, 2, 3 …
        #[n(0)]
        version: u64,
        /// The manifest.
        #[n(1)]
        manifest: Bytes,
        /// All segments that it speaks of.
        #[n(2)]
        segments: Vec<SegmentId>,
    },
    /// The manifest of the account's backup. → `Manifest`
    #[n(28)]
    FetchManifest,
    /// Deletes the account's backup: manifest and segments. The next manifest has the next version. → `Done`
    #[n(29)]
    DeleteBackup,
    /// The public rooms, by name. → `Rooms`
    #[n(40)]
    Rooms {
        /// The last name of the page before.
        #[n(0)]
        after: Option<RoomName>,
    },
    /// The account takes part in a public room from now on, as far as the server is concerned: `AskToJoin` or `Join` follow. → `Room`, `UnknownRoom` or `TooManyMembers`
    #[n(41)]
    JoinRoom(#[n(0)] RoomName),
    /// The account takes part in a group or room no more. → `Done`
    ///
    /// Its devices leave; the other members find `Left` in their inboxes, and commit what has to be.
    #[n(42)]
    Leave {
        /// Which.
        #[n(0)]
        conversation: ConversationId,
        /// The account's signed wish, opaque here; at most `LEAVE` bytes.
        #[n(1)]
        wish: Bytes,
    },
    /// Hands something to the devices of a conversation that listen now. It is neither numbered nor kept. → `Done`
    #[n(50)]
    Signal {
        /// Where.
        #[n(0)]
        conversation: ConversationId,
        /// The ciphertext.
        #[n(1)]
        payload: Bytes,
    },
    /// Begins an attachment of the account. The same again is no change. → `Done`, `AttachmentTooLarge` or `AttachmentsFull`
    #[n(51)]
    BeginAttachment {
        /// Chosen at random.
        #[n(0)]
        id: AttachmentId,
        /// The length of all its chunks together.
        #[n(1)]
        size: u64,
    },
    /// Stores a chunk of an attachment that the account has begun. The same again is no change. → `Done`, or `UnknownAttachment`
    #[n(52)]
    PutChunk {
        /// Of which.
        #[n(0)]
        id: AttachmentId,
        /// Its place: 0, 1, 2 …
        #[n(1)]
        index: u32,
        /// The ciphertext: `ATTACHMENT_CHUNK` bytes, the last one the rest.
        #[n(2)]
        payload: Bytes,
    },
    /// All chunks are there: from now on it can be fetched. → `Done`, `AttachmentIncomplete` or `UnknownAttachment`
    #[n(53)]
    FinishAttachment(#[n(0)] AttachmentId),
    /// Which chunks of an attachment of the account are there. → `AttachmentStatus`, or `UnknownAttachment`
    #[n(54)]
    AttachmentStatus(#[n(0)] AttachmentId),
    /// A chunk of a finished attachment, for whoever knows its id. → `Chunk`, or `UnknownAttachment`
    #[n(55)]
    FetchChunk {
        /// Of which.
        #[n(0)]
        id: AttachmentId,
        /// Its place.
        #[n(1)]
        index: u32,
    },
    /// Deletes an attachment of the account. → `Done`, whether it was there or not
    #[n(56)]
    DeleteAttachment(#[n(0)] AttachmentId),
    /// The account's own devices as the server knows them. Answered by `Devices`.
    #[n(61)]
    Devices,
}

/// What opens an account.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Authenticator {
    /// Derived from the password.
    #[n(0)]
    Password(#[n(0)] Secret),
    /// Derived from the recovery code.
    #[n(1)]
    Recovery(#[n(0)] Secret),
}

/// What lets a new account in.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub enum Admission {
    /// Nothing; enough where sign-up is open.
    #[n(0)]
    Open,
    /// An invite code.
    #[n(1)]
    Invite(#[n(0)] String),
    /// The server's sign-up secret.
    #[n(2)]
    Secret(#[n(0)] String),
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Invite(_) => "Invite(<secret>)",
            Self::Secret(_) => "Secret(<secret>)",
        })
    }
}

/// Argon2id's cost and the random part of its salt, chosen by the client at sign-up.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KdfParameters {
    /// 16 bytes.
    #[n(0)]
    pub salt: Bytes,
    /// KiB.
    #[n(1)]
    pub memory_kib: u32,
    /// Passes.
    #[n(2)]
    pub iterations: u32,
    /// Lanes.
    #[n(3)]
    pub parallelism: u32,
}

/// A device's public half.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NewDevice {
    /// Chosen by the device.
    #[n(0)]
    pub id: DeviceId,
    /// Its Ed25519 authentication key, 32 bytes.
    #[n(1)]
    pub authentication_key: Bytes,
}

/// A new account. Keys and lists are opaque to the server.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignUp {
    /// The wanted name.
    #[n(0)]
    pub username: Username,
    /// What lets it in.
    #[n(1)]
    pub admission: Admission,
    /// For the operator, optional.
    #[n(2)]
    pub full_name: Option<String>,
    /// Optional.
    #[n(3)]
    pub email: Option<String>,
    /// How the password's secrets are derived.
    #[n(4)]
    pub kdf: KdfParameters,
    /// What the password proves itself with from now on.
    #[n(5)]
    pub password_secret: Secret,
    /// The same of the recovery code.
    #[n(6)]
    pub recovery_secret: Secret,
    /// The vault and its wraps.
    #[n(7)]
    pub vault: Bytes,
    /// The vault key under the password.
    #[n(8)]
    pub password_wrap: Bytes,
    /// The vault key under the recovery code.
    #[n(9)]
    pub recovery_wrap: Bytes,
    /// RSA public key that signs (SubjectPublicKeyInfo, DER).
    #[n(10)]
    pub identity_key: Bytes,
    /// RSA public key that backups are wrapped to (SubjectPublicKeyInfo, DER).
    #[n(11)]
    pub backup_key: Bytes,
    /// The signed device list, version 1.
    #[n(12)]
    pub device_list: Bytes,
    /// The first device.
    #[n(13)]
    pub device: NewDevice,
    /// The one-time code, if one was sent by e-mail.
    #[n(14)]
    pub code: Option<String>,
}

/// What shows that a device is enrolled, on this connection.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DeviceProof {
    /// The device.
    #[n(0)]
    pub device: DeviceId,
    /// As in `Authenticate`.
    #[n(1)]
    pub signature: Bytes,
}

/// A further device.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EnrolDevice {
    /// Its public half.
    #[n(0)]
    pub device: NewDevice,
    /// The version of the signed device list that has it in; must be the stored version + 1 unless `follows` is there.
    #[n(1)]
    pub version: u64,
    /// The list itself.
    #[n(2)]
    pub device_list: Bytes,
    /// The device of the account whose place it takes, which the list no longer names: the one that this profile was, when
    /// its keys must not be used again. It is signed out as by `ReviseAccount`.
    #[n(3)]
    pub replaces: Option<DeviceId>,
    /// The version of the stored list, where `version` is not the next one: the server's is older than the account's devices
    /// know.
    #[n(4)]
    pub follows: Option<u64>,
}

/// A change of an account by its owner. What is `None` stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ReviseAccount {
    /// The version of the new signed device list; must be the stored version + 1 unless `follows` is there.
    #[n(0)]
    pub version: u64,
    /// The list itself.
    #[n(1)]
    pub device_list: Bytes,
    /// The devices that the list no longer names.
    #[n(2)]
    pub removed: Vec<DeviceId>,
    /// New secrets.
    #[n(3)]
    pub credentials: Option<NewCredentials>,
    /// New keys.
    #[n(4)]
    pub identity: Option<NewIdentity>,
    /// As in `EnrolDevice`.
    #[n(5)]
    pub follows: Option<u64>,
}

/// What an account proves itself with from now on, and the vault that fits.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NewCredentials {
    /// How the password's secrets are derived.
    #[n(0)]
    pub kdf: KdfParameters,
    /// The password's auth secret.
    #[n(1)]
    pub password_secret: Secret,
    /// The recovery code's auth secret, if the code was replaced.
    #[n(2)]
    pub recovery_secret: Option<Secret>,
    /// The sealed private keys.
    #[n(3)]
    pub vault: Bytes,
    /// The vault key under the password.
    #[n(4)]
    pub password_wrap: Bytes,
    /// The vault key under the recovery code.
    #[n(5)]
    pub recovery_wrap: Bytes,
}

/// New keys of an account, vouched for by the old ones.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NewIdentity {
    /// RSA public key that signs (SubjectPublicKeyInfo, DER).
    #[n(0)]
    pub identity_key: Bytes,
    /// RSA public key that backups are wrapped to (SubjectPublicKeyInfo, DER).
    #[n(1)]
    pub backup_key: Bytes,
    /// The old identity's statement about the new one.
    #[n(2)]
    pub statement: Bytes,
}

/// What a conversation is for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ConversationKind {
    /// Between the creator's account and this one; one per pair. One's own name makes it the notes to oneself.
    #[n(0)]
    Direct(#[n(0)] Username),
    /// Between the accounts that `Roster` names, by invitation. What it is called only its members know.
    #[n(1)]
    Group,
    /// A public room, open to every account. One per name.
    #[n(2)]
    Room(#[n(0)] RoomName),
}

/// A welcome and the devices that it is for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Welcome {
    /// The devices added.
    #[n(0)]
    pub recipients: Vec<DeviceId>,
    /// The MLS welcome.
    #[n(1)]
    pub payload: Bytes,
}

/// A commit with its consequences for delivery.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Handshake {
    /// The MLS commit.
    #[n(0)]
    pub commit: Bytes,
    /// For the devices that it adds.
    #[n(1)]
    pub welcome: Option<Welcome>,
    /// Devices that it removes.
    #[n(2)]
    pub removed: Vec<DeviceId>,
    /// The group after the commit, sealed for devices that let themselves in; replaces the stored one. None: they cannot.
    #[n(3)]
    pub group_info: Option<Bytes>,
    /// The accounts that come and go with it, in groups and rooms.
    #[n(4)]
    pub roster: Option<Roster>,
}

/// How a commit changes which accounts take part. The server needs it to know whom to deliver to; it cannot judge it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Roster {
    /// Accounts that take part from now on.
    #[n(0)]
    pub entered: Vec<Username>,
    /// Accounts that do not any more. All their devices leave.
    #[n(1)]
    pub left: Vec<Username>,
}

/// A new conversation. The creating device is in it; the welcome names the others.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CreateConversation {
    /// Chosen at random; also the MLS group id.
    #[n(0)]
    pub id: ConversationId,
    /// What for.
    #[n(1)]
    pub kind: ConversationKind,
    /// The commit that adds the other devices (becomes seq 1); none where there are none.
    #[n(2)]
    pub handshake: Option<Handshake>,
    /// The conversation of these accounts that this one takes the place of, because the server's log of it is not the one
    /// that the device knows. It stays readable.
    #[n(3)]
    pub replaces: Option<ConversationId>,
}

impl Request {
    /// Whether every field is within its limit. Checked by the decoder.
    pub(crate) fn within_limits(&self) -> bool {
        match self {
            Self::SignUp(request) => request.within_limits(),
            Self::Login { code, device, .. } => {
                code.iter().all(|code| code.len() <= limits::SHORT_TEXT)
                    && device.iter().all(|proof| proof.signature.0.len() == 64)
            }
            Self::EnrolDevice(request) => {
                request.device.within_limits() && request.device_list.0.len() <= limits::DEVICE_LIST
            }
            Self::Authenticate { signature, .. } => signature.0.len() == 64,
            Self::PublishKeyPackages { one_time, last_resort } => {
                one_time.len() <= limits::KEY_PACKAGES_PER_REQUEST
                    && one_time.iter().chain(last_resort).all(|one| one.0.len() <= limits::KEY_PACKAGE)
            }
            Self::CreateConversation(request) => request.handshake.iter().all(Handshake::within_limits),
            Self::Send { payload, .. } => payload.0.len() <= limits::PAYLOAD,
            Self::Commit { handshake, .. } => handshake.within_limits(),
            Self::ReviseAccount(request) => request.within_limits(),
            Self::Join { commit, group_info, .. } => {
                commit.0.len() + group_info.as_ref().map_or(0, |info| info.0.len()) <= limits::HANDSHAKE
            }
            Self::PutSegment { payload, .. } => payload.0.len() <= limits::SEGMENT,
            Self::PutManifest { manifest, segments, .. } => {
                manifest.0.len() <= limits::MANIFEST && segments.len() <= limits::SEGMENTS_PER_ACCOUNT
            }
            Self::BeginAttachment { size, .. } => (1..=limits::ATTACHMENT).contains(size),
            Self::PutChunk { payload, .. } => (1..=limits::ATTACHMENT_CHUNK).contains(&payload.0.len()),
            Self::Ping
            | Self::LoginParameters(_)
            | Self::KeyPackageStock
            | Self::Account(_)
            | Self::ClaimKeyPackages(_)
            | Self::Fetch { .. }
            | Self::Acknowledge { .. }
            | Self::FetchInbox { .. }
            | Self::AcknowledgeInbox { .. }
            | Self::Heads { .. }
            | Self::Subscribe
            | Self::DeleteAccount
            | Self::Conversations { .. }
            | Self::GroupInfo(_)
            | Self::AskToJoin(_)
            | Self::FetchSegment(_)
            | Self::FetchManifest
            | Self::DeleteBackup
            | Self::Rooms { .. }
            | Self::JoinRoom(_)
            | Self::FinishAttachment(_)
            | Self::AttachmentStatus(_)
            | Self::FetchChunk { .. }
            | Self::DeleteAttachment(_)
            | Self::Devices => true,
            Self::Leave { wish, .. } => wish.0.len() <= limits::LEAVE,
            Self::Signal { payload, .. } => payload.0.len() <= limits::SIGNAL,
        }
    }
}

impl SignUp {
    fn within_limits(&self) -> bool {
        let short = |text: &String| text.len() <= limits::SHORT_TEXT;
        let admitted = match &self.admission {
            Admission::Open => true,
            Admission::Invite(text) | Admission::Secret(text) => short(text),
        };
        admitted
            && self.full_name.iter().chain(&self.email).chain(&self.code).all(short)
            && self.kdf.salt.0.len() == 16
            && [&self.vault, &self.password_wrap, &self.recovery_wrap].iter().all(|one| one.0.len() <= limits::VAULT)
            && [&self.identity_key, &self.backup_key].iter().all(|one| one.0.len() <= limits::PUBLIC_KEY)
            && self.device_list.0.len() <= limits::DEVICE_LIST
            && self.device.within_limits()
    }
}

impl ReviseAccount {
    fn within_limits(&self) -> bool {
        self.device_list.0.len() <= limits::DEVICE_LIST
            && self.removed.len() <= limits::DEVICES_PER_ACCOUNT
            && self.credentials.iter().all(|new| {
                new.kdf.salt.0.len() == 16
                    && [&new.vault, &new.password_wrap, &new.recovery_wrap]
                        .iter()
                        .all(|one| one.0.len() <= limits::VAULT)
            })
            && self.identity.iter().all(|new| {
                [&new.identity_key, &new.backup_key].iter().all(|one| one.0.len() <= limits::PUBLIC_KEY)
                    && new.statement.0.len() <= limits::STATEMENT
            })
    }
}

impl NewDevice {
    fn within_limits(&self) -> bool {
        self.authentication_key.0.len() == 32
    }
}

impl Handshake {
    fn within_limits(&self) -> bool {
        let welcome = self.welcome.as_ref().map_or(0, |welcome| welcome.payload.0.len());
        let group_info = self.group_info.as_ref().map_or(0, |info| info.0.len());
        let few = |roster: &Roster| roster.entered.len().max(roster.left.len()) <= limits::ROSTER;
        [self.commit.0.len(), welcome, group_info].iter().sum::<usize>() <= limits::HANDSHAKE
            && self.roster.iter().all(few)
    }
}
