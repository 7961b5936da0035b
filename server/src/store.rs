//! What the server keeps, as one trait with two implementations (embedded SQLite, MySQL/MariaDB) and one conformance suite.
//!
//! Invariants: an outcome that says "done" is committed to disk; the log of a conversation has no gaps, and a send number
//! of a device appears in it once; published events leave in the order of their seqs, after the commit. It must not know
//! connections or passwords: it gets hashes and ciphertexts, and stores them.

mod account;
mod attachment;
mod backup;
mod cluster;
pub mod columns;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod conversation;
mod keeping;
pub mod mysql;
mod operator;
pub mod sqlite;

pub use account::*;
pub use attachment::*;
pub use backup::*;
pub use cluster::*;
pub use conversation::*;
pub use keeping::*;
pub use operator::*;

use async_trait::async_trait;
use std::sync::Arc;
use waxwing_protocol::{
    AccountRecord, Bytes, ClaimedKeyPackage, ConversationHead, ConversationId, ConversationInfo, DeviceId, Entry,
    GroupInfo, InboxItem, Incarnation, KeyPackageStock, Page, RoomInfo, RoomName, SegmentId, Username,
};

/// Where committed entries and inbox items are announced; called in the order of their seqs, after the commit.
/// It must not block: the store's writer calls it.
pub trait Publish: Send + Sync + 'static {
    /// A new entry. `recipients` are the conversation's devices without its sender.
    fn entry(&self, recipients: &[DeviceId], conversation: ConversationId, entry: &Entry);
    /// A new inbox item of one device.
    fn inbox(&self, device: DeviceId, item: &InboxItem);
}

/// The store's failure. Not finding something is no failure.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused, is gone, full or damaged.
    #[error("database: {0}")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row that the server never writes: damage or a foreign hand.
    #[error("inconsistent data in {0}")]
    Inconsistent(&'static str),
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

/// How old a key package may become here. Clients give them 84 days.
pub const KEY_PACKAGE_MS: u64 = 80 * 24 * 60 * 60 * 1000;
/// How old a last-resort key package may become before its device is asked for another.
pub const LAST_RESORT_MS: u64 = 60 * 24 * 60 * 60 * 1000;

/// A store. All methods are safe to call from many tasks at once.
#[async_trait]
pub trait Store: AttachmentStore + KeepingStore {
    /// Which life of the database this is.
    fn incarnation(&self) -> Incarnation;

    /// Makes an account with its first device.
    async fn create_account(&self, account: NewAccount) -> Result<SignUpOutcome, StoreError>;
    /// What checking a login needs.
    async fn login_record(&self, username: &Username) -> Result<Option<LoginRecord>, StoreError>;
    /// The public record.
    async fn account(&self, username: &Username) -> Result<Option<AccountRecord>, StoreError>;
    /// Adds a device if its list's version is the stored one's + 1.
    async fn enrol_device(&self, enrolment: Enrolment) -> Result<EnrolOutcome, StoreError>;
    /// Changes an account and its device list in one step, if the version is the stored list's + 1.
    async fn revise_account(&self, revision: AccountRevision) -> Result<ReviseOutcome, StoreError>;
    /// Deletes the account, its devices and backup, and all that only they had; its name stays taken. Returns the devices
    /// that it had, or none if it is gone already.
    async fn delete_account(&self, account: AccountId, now_ms: u64) -> Result<Option<Vec<DeviceId>>, StoreError>;
    /// An enrolled device.
    async fn device(&self, device: DeviceId) -> Result<Option<DeviceRow>, StoreError>;

    /// Notes that the device signed in on this day, counted from 1970.
    async fn seen(&self, device: DeviceId, day: u32) -> Result<(), StoreError>;

    /// Adds one-time key packages (as many as fit the device's limit) and replaces the last-resort one.
    async fn publish_key_packages(
        &self,
        device: DeviceId,
        one_time: Vec<Bytes>,
        last_resort: Option<Bytes>,
        now_ms: u64,
    ) -> Result<KeyPackageStock, StoreError>;
    /// What the device has left. A last-resort package that is older than [`LAST_RESORT_MS`] counts as none, so that it is
    /// replaced in time.
    async fn key_package_stock(&self, device: DeviceId, now_ms: u64) -> Result<KeyPackageStock, StoreError>;
    /// One key package per device of the account, each one-time one given out once; `except` is the asking device.
    async fn claim_key_packages(
        &self,
        username: &Username,
        except: DeviceId,
    ) -> Result<Option<Vec<ClaimedKeyPackage>>, StoreError>;

    /// Creates a conversation.
    async fn create_conversation(&self, conversation: NewConversation) -> Result<CreateOutcome, StoreError>;
    /// Appends an entry; concurrent calls are committed together (group commit).
    async fn append(&self, append: Append) -> Result<AppendOutcome, StoreError>;
    /// Who a message of this device would be for; none if it is not in the conversation.
    async fn audience(&self, device: DeviceId, conversation: ConversationId) -> Result<Option<Audience>, StoreError>;
    /// All conversations of the device's account, by id, after `after`, at most `PAGE_ENTRIES`.
    async fn conversations(
        &self,
        device: DeviceId,
        after: Option<ConversationId>,
    ) -> Result<Vec<ConversationInfo>, StoreError>;
    /// What a device lets itself in with; none if its account is not in the conversation.
    async fn group_info(&self, device: DeviceId, conversation: ConversationId)
    -> Result<Option<GroupInfo>, StoreError>;
    /// Tells the devices in the conversation that this one wants to be added (again); those that know and have not handled
    /// it yet are not told twice. False if its account is not in the conversation.
    async fn ask_to_join(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        now_ms: u64,
    ) -> Result<bool, StoreError>;
    /// The public rooms, by name, after `after`, at most `PAGE_ENTRIES`.
    async fn rooms(&self, after: Option<&RoomName>) -> Result<Vec<RoomInfo>, StoreError>;
    /// Enters an account into a room's roster, if that has fewer than `members`.
    async fn join_room(&self, account: AccountId, name: &RoomName, members: u32)
    -> Result<JoinRoomOutcome, StoreError>;
    /// Takes the account of a device out of a group or room, and tells the others, who get its wish. Whoever is not in it, or
    /// a direct conversation, stays as it is; one that nobody is in any more goes.
    async fn leave(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        wish: Bytes,
        now_ms: u64,
    ) -> Result<(), StoreError>;
    /// Deletes a room with everything in it; false if there is none of that name.
    async fn delete_room(&self, name: &RoomName) -> Result<bool, StoreError>;
    /// The other devices in a conversation; none if this one is not in it.
    async fn others(&self, device: DeviceId, conversation: ConversationId)
    -> Result<Option<Vec<DeviceId>>, StoreError>;
    /// Entries after a seq, within the page limits; none if the device is not in the conversation.
    async fn fetch(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        after: u64,
    ) -> Result<Option<Page>, StoreError>;
    /// Raises the device's cursor (never lowers it, never beyond the head); entries that all devices have may go.
    async fn acknowledge(&self, device: DeviceId, conversation: ConversationId, seq: u64) -> Result<(), StoreError>;
    /// Inbox items after a seq, within the page limits.
    async fn fetch_inbox(&self, device: DeviceId, after: u64) -> Result<Vec<InboxItem>, StoreError>;
    /// Deletes inbox items up to a seq.
    async fn acknowledge_inbox(&self, device: DeviceId, seq: u64) -> Result<(), StoreError>;
    /// Conversations of the device whose head is beyond its cursor, by id, after `after`, at most `PAGE_ENTRIES`.
    async fn heads(&self, device: DeviceId, after: Option<ConversationId>)
    -> Result<Vec<ConversationHead>, StoreError>;

    /// Stores a segment of a backup.
    async fn put_segment(&self, segment: NewSegment) -> Result<SegmentOutcome, StoreError>;
    /// A segment of the backup of the device's account.
    async fn segment(&self, device: DeviceId, id: SegmentId) -> Result<Option<Bytes>, StoreError>;
    /// Replaces a backup's manifest, and deletes the segments that nobody needs any more.
    async fn put_manifest(&self, manifest: NewManifest) -> Result<ManifestOutcome, StoreError>;
    /// The backup of the device's account; none if the device was removed.
    async fn backup(&self, device: DeviceId) -> Result<Option<BackupRecord>, StoreError>;
    /// Deletes the backup of the device's account, but for the version of its manifest; false if the device was removed.
    async fn delete_backup(&self, device: DeviceId) -> Result<bool, StoreError>;

    /// Whether an invite would let one more account in.
    async fn is_invited(&self, code_hash: [u8; 32], now_ms: u64) -> Result<bool, StoreError>;
    /// Stores an invite.
    async fn create_invite(&self, invite: NewInvite) -> Result<(), StoreError>;
    /// Deletes entries stored before this moment, whoever has them; returns how many.
    async fn expire(&self, before_ms: u64) -> Result<u64, StoreError>;
    /// Deletes key packages that are older than [`KEY_PACKAGE_MS`]: they are about to lose their validity.
    async fn expire_key_packages(&self, now_ms: u64) -> Result<(), StoreError>;
    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;
    /// Finishes what was accepted and closes. Later calls end in `Closed`.
    async fn close(&self);
}

/// A store, shared.
pub type SharedStore = Arc<dyn Store>;
