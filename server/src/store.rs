//! What the server keeps, as one trait with two implementations (embedded SQLite, MySQL/MariaDB) and one conformance suite.
//!
//! Invariants: an outcome that says "done" is committed to disk; the log of a conversation has no gaps, and a send number
//! of a device appears in it once; published events leave in the order of their seqs, after the commit. It must not know
//! connections or passwords: it gets hashes and ciphertexts, and stores them.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod mysql;
pub mod sqlite;

use async_trait::async_trait;
use std::sync::Arc;
use waxwing_protocol::{
    AccountRecord, Bytes, ClaimedKeyPackage, ConversationHead, ConversationId, ConversationKind, DeviceId, Entry,
    Handshake, InboxItem, Incarnation, KdfParameters, KeyPackageStock, NewDevice, Page, Username,
};

/// An account's row id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccountId(pub i64);

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

/// A new account, hashed and sealed.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Its name.
    pub username: Username,
    /// Sealed under the data key.
    pub full_name: Option<Vec<u8>>,
    /// Keyed hash for look-ups, and the address sealed under the data key.
    pub email: Option<SealedEmail>,
    /// As given by the client.
    pub kdf: KdfParameters,
    /// PHC string of the password's auth secret, sealed under the data key: a copy of the database lets nobody guess.
    pub password_hash: Vec<u8>,
    /// The same of the recovery code's auth secret.
    pub recovery_hash: Vec<u8>,
    /// Vault and wraps, sealed once more under the data key.
    pub sealed: SealedVault,
    /// RSA public key, DER.
    pub identity_key: Vec<u8>,
    /// RSA public key, DER.
    pub backup_key: Vec<u8>,
    /// Version 1.
    pub device_list: Vec<u8>,
    /// The first device.
    pub device: NewDevice,
    /// SHA-256 of the invite code to use up in the same transaction.
    pub invite: Option<[u8; 32]>,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// An e-mail address as stored.
#[derive(Clone, Debug)]
pub struct SealedEmail {
    /// HMAC of the normalised address under the data key.
    pub lookup: [u8; 32],
    /// The address under the data key.
    pub sealed: Vec<u8>,
}

/// The vault as stored: each part sealed under the data key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedVault {
    /// The client's sealed vault.
    pub vault: Vec<u8>,
    /// The client's wrap under its password.
    pub password_wrap: Vec<u8>,
    /// The client's wrap under its recovery code.
    pub recovery_wrap: Vec<u8>,
}

/// How a sign-up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignUpOutcome {
    /// The account and its device exist.
    Created(AccountId),
    /// Somebody has the name.
    UsernameTaken,
    /// The device id exists already.
    DeviceExists,
    /// The invite is unknown, used up or expired.
    BadInvite,
}

/// What checking a login needs.
#[derive(Clone, Debug)]
pub struct LoginRecord {
    /// The account.
    pub account: AccountId,
    /// As given by the client.
    pub kdf: KdfParameters,
    /// As given to `create_account`.
    pub password_hash: Vec<u8>,
    /// As given to `create_account`.
    pub recovery_hash: Vec<u8>,
    /// Still sealed under the data key.
    pub sealed: SealedVault,
    /// The public part.
    pub record: AccountRecord,
}

/// An enrolled device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// Whose.
    pub account: AccountId,
    /// Whose, by name.
    pub username: Username,
    /// Ed25519 public key.
    pub authentication_key: [u8; 32],
}

/// How an enrolment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnrolOutcome {
    /// The device may sign in; devices that share a conversation with the account, and its own, were notified.
    Enrolled,
    /// Not the next version of the device list (or the device id exists, or the account is full).
    Conflict,
}

/// A new conversation of `creator`.
#[derive(Clone, Debug)]
pub struct NewConversation {
    /// The creating account.
    pub account: AccountId,
    /// The creating device.
    pub creator: DeviceId,
    /// Its id.
    pub id: ConversationId,
    /// What for.
    pub kind: ConversationKind,
    /// The commit that adds the others.
    pub handshake: Option<Handshake>,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// How a creation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// It exists, and the welcomes are in the inboxes.
    Created {
        /// 1, or 0 without a handshake.
        seq: u64,
    },
    /// There is one already (by the same creator with the same id: that is the same creation, answered as `Created`).
    Exists(ConversationId),
    /// The other account does not exist.
    UnknownAccount,
    /// The welcome names a device that belongs to neither account, or the creator itself, or the handshake removes somebody.
    BadRecipients,
}

/// A message or commit to append.
#[derive(Clone, Debug)]
pub struct Append {
    /// By whom.
    pub device: DeviceId,
    /// Where.
    pub conversation: ConversationId,
    /// The device's send number.
    pub number: u64,
    /// The count of commits that it was made after.
    pub commits: u64,
    /// What.
    pub body: AppendBody,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// What is appended.
#[derive(Clone, Debug)]
pub enum AppendBody {
    /// An application message.
    Application(Bytes),
    /// A commit; its welcome goes into the inboxes and its removed devices leave, in the same transaction.
    Commit(Box<Handshake>),
}

/// How an append ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It is on disk (now, or since an earlier try with the same number).
    Accepted {
        /// Its place.
        seq: u64,
        /// When it was stored, milliseconds since 1970.
        time_ms: u64,
    },
    /// Made after another count of commits than this one.
    Stale {
        /// The current count.
        commits: u64,
    },
    /// The device's next send number is another.
    OutOfOrder {
        /// The expected number.
        expected: u64,
    },
    /// Not there, or the device is not in it.
    UnknownConversation,
    /// The welcome names a device that cannot be added (unknown, already in, or of an account that is not in the conversation).
    BadRecipients,
    /// Too soon after the last commit (removals are excepted).
    Busy {
        /// Milliseconds.
        retry_after_ms: u32,
    },
}

/// A new invite.
#[derive(Clone, Debug)]
pub struct NewInvite {
    /// SHA-256 of the code.
    pub code_hash: [u8; 32],
    /// How many accounts it lets in.
    pub uses: u32,
    /// Milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// For the operator.
    pub note: String,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// A store. All methods are safe to call from many tasks at once.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Which life of the database this is.
    fn incarnation(&self) -> Incarnation;

    /// Makes an account with its first device.
    async fn create_account(&self, account: NewAccount) -> Result<SignUpOutcome, StoreError>;
    /// What checking a login needs.
    async fn login_record(&self, username: &Username) -> Result<Option<LoginRecord>, StoreError>;
    /// The public record.
    async fn account(&self, username: &Username) -> Result<Option<AccountRecord>, StoreError>;
    /// Adds a device if `version` is the stored list's version + 1.
    async fn enrol_device(
        &self,
        account: AccountId,
        device: NewDevice,
        version: u64,
        device_list: Vec<u8>,
        now_ms: u64,
    ) -> Result<EnrolOutcome, StoreError>;
    /// An enrolled device.
    async fn device(&self, device: DeviceId) -> Result<Option<DeviceRow>, StoreError>;

    /// Adds one-time key packages (as many as fit the device's limit) and replaces the last-resort one.
    async fn publish_key_packages(
        &self,
        device: DeviceId,
        one_time: Vec<Bytes>,
        last_resort: Option<Bytes>,
    ) -> Result<KeyPackageStock, StoreError>;
    /// What the device has left.
    async fn key_package_stock(&self, device: DeviceId) -> Result<KeyPackageStock, StoreError>;
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

    /// Stores an invite.
    async fn create_invite(&self, invite: NewInvite) -> Result<(), StoreError>;
    /// Deletes entries and inbox items stored before this moment, whoever has them; returns how many entries went.
    async fn expire(&self, before_ms: u64) -> Result<u64, StoreError>;
    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;
    /// Finishes what was accepted and closes. Later calls end in `Closed`.
    async fn close(&self);
}

/// A store, shared.
pub type SharedStore = Arc<dyn Store>;
