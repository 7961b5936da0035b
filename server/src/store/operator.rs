//! What the operator's commands ask of a store, beside what clients do.
//!
//! Invariant: nothing here reads a payload; it counts, lists, locks out and deletes. It must not know the data key: what is
//! sealed is handed on sealed.

use super::{AccountId, Cutoffs, Expirable, Store, StoreError, Usage};
use async_trait::async_trait;
use std::{path::Path, sync::Arc};
use waxwing_protocol::{DeviceId, Username};

/// An account in the operator's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSummary {
    /// Its row.
    pub account: AccountId,
    /// Its name.
    pub username: Username,
    /// The full name that was given, sealed.
    pub full_name: Option<Vec<u8>>,
    /// The e-mail address that was given, sealed.
    pub email: Option<Vec<u8>>,
    /// When it was made, milliseconds since 1970.
    pub created_ms: u64,
    /// Since when it is locked.
    pub disabled_ms: Option<u64>,
    /// Its devices.
    pub devices: u64,
    /// The last day on which one of them signed in, counted from 1970.
    pub seen_day: Option<u32>,
}

/// An invite in the operator's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteSummary {
    /// SHA-256 of its code.
    pub code_hash: [u8; 32],
    /// How many accounts it still lets in.
    pub uses_left: u64,
    /// Until when, milliseconds since 1970; none: for ever.
    pub expires_ms: Option<u64>,
    /// The operator's note.
    pub note: String,
    /// When it was made, milliseconds since 1970.
    pub created_ms: u64,
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Accounts.
    pub accounts: u64,
    /// Those of them that are locked.
    pub disabled: u64,
    /// Devices.
    pub devices: u64,
    /// Conversations.
    pub conversations: u64,
    /// Entries that wait for a device.
    pub entries: u64,
    /// Their payloads, in bytes.
    pub entry_bytes: u64,
    /// Items in inboxes.
    pub inbox_items: u64,
    /// One-time key packages.
    pub key_packages: u64,
    /// Accounts with a backup.
    pub backups: u64,
    /// What is in those, in bytes.
    pub backup_bytes: u64,
    /// What the database takes on disk, in bytes.
    pub database_bytes: u64,
}

/// A stored value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A number.
    Integer(i64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// What a table holds about an account: rows of (column, value). Where rows are many they are counted, by day.
#[derive(Clone, Debug, PartialEq)]
pub struct Disclosed {
    /// The table.
    pub table: &'static str,
    /// Its rows.
    pub rows: Vec<Vec<(String, Value)>>,
}

/// A store as its operator sees it.
#[async_trait]
pub trait OperatorStore: Store {
    /// All accounts, by name.
    async fn accounts(&self) -> Result<Vec<AccountSummary>, StoreError>;
    /// One of them.
    async fn account_summary(&self, username: &Username) -> Result<Option<AccountSummary>, StoreError>;
    /// Locks an account (since when), or lets it in again.
    async fn set_disabled(&self, account: AccountId, since_ms: Option<u64>) -> Result<(), StoreError>;
    /// Signs devices of an account out for good, all of them if none is named: they go with their key packages, inboxes
    /// and places in conversations, and are unknown from then on. The signed list of devices, which only the owner can
    /// change, still names them. Returns those that went.
    async fn sign_out(&self, account: AccountId, device: Option<DeviceId>) -> Result<Vec<DeviceId>, StoreError>;
    /// All invites, the newest first.
    async fn invites(&self) -> Result<Vec<InviteSummary>, StoreError>;
    /// Deletes an invite; false if it is gone already.
    async fn revoke_invite(&self, code_hash: [u8; 32]) -> Result<bool, StoreError>;
    /// How much there is.
    async fn statistics(&self) -> Result<Statistics, StoreError>;
    /// What an account takes.
    async fn usage(&self, account: AccountId) -> Result<Usage, StoreError>;
    /// What is older than that.
    async fn expirable(&self, cutoffs: Cutoffs) -> Result<Expirable, StoreError>;
    /// Everything that the tables hold about an account.
    async fn disclose(&self, account: AccountId) -> Result<Vec<Disclosed>, StoreError>;
    /// Writes one moment of the whole database into a new file, for a backup. The store goes on meanwhile.
    async fn copy_to(&self, file: &Path) -> Result<(), StoreError>;
}

/// Such a store, shared.
pub type SharedOperatorStore = Arc<dyn OperatorStore>;
