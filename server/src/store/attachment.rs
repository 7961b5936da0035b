//! What the store keeps about attachments: whose they are, how long, and how far. Their chunks lie elsewhere
//! ([`crate::attachments`]).
//!
//! Invariants: as long as there may be a chunk of an attachment, it has a row here; the attachments of an account stay below its quota;
//! one that was dropped is found by nobody any more. It must not know where chunks are.

use super::{AccountId, StoreError};
use async_trait::async_trait;
use waxwing_protocol::AttachmentId;

/// An attachment that is begun.
#[derive(Clone, Copy, Debug)]
pub struct NewAttachment {
    /// Whose.
    pub account: AccountId,
    /// Chosen by the client.
    pub id: AttachmentId,
    /// The length of its chunks together, in bytes.
    pub size: u64,
    /// The bytes that the account's attachments may take.
    pub quota: u64,
    /// The time.
    pub now_ms: u64,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachmentOutcome {
    /// It is begun, or was before.
    Begun,
    /// It does not fit the quota.
    Full,
    /// The id is another attachment's.
    Different,
    /// The account is gone.
    UnknownAccount,
}

/// An attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachmentRow {
    /// Whose.
    pub account: AccountId,
    /// The length of its chunks together, in bytes.
    pub size: u64,
    /// Whether all of them are there.
    pub finished: bool,
}

/// The part of a store that knows attachments.
#[async_trait]
pub trait AttachmentStore: Send + Sync + 'static {
    /// Begins one.
    async fn begin_attachment(&self, new: NewAttachment) -> Result<AttachmentOutcome, StoreError>;
    /// One that was begun and not dropped.
    async fn attachment(&self, id: AttachmentId) -> Result<Option<AttachmentRow>, StoreError>;
    /// All chunks are there. False if it was dropped.
    async fn finish_attachment(&self, id: AttachmentId, now_ms: u64) -> Result<bool, StoreError>;
    /// Drops one of an account.
    async fn drop_attachment(&self, account: AccountId, id: AttachmentId) -> Result<(), StoreError>;
    /// Drops those that were finished before the first moment, and those that were begun before the second one and are not
    /// finished; returns how many.
    async fn expire_attachments(&self, finished_ms: u64, begun_ms: u64) -> Result<u64, StoreError>;
    /// What [`Self::expire_attachments`] would drop: how many, and their bytes. Beyond all times, that is all there are.
    async fn count_attachments(&self, finished_ms: u64, begun_ms: u64) -> Result<(u64, u64), StoreError>;
    /// Some of those that were dropped, whose chunks are to be deleted.
    async fn dropped_attachments(&self) -> Result<Vec<AttachmentId>, StoreError>;
    /// The chunks of a dropped one are deleted.
    async fn forget_attachment(&self, id: AttachmentId) -> Result<(), StoreError>;
    /// Some of those that are finished and not dropped, by id, after `after`; none means the end.
    async fn finished_attachments(&self, after: Option<AttachmentId>) -> Result<Vec<AttachmentId>, StoreError>;
    /// Whether there is a row for it, dropped or not.
    async fn knows_attachment(&self, id: AttachmentId) -> Result<bool, StoreError>;
}

/// How many dropped ones are told at a time.
pub(super) const DROPPED_AT_ONCE: u32 = 64;
/// How many finished ones are told at a time.
pub(super) const FINISHED_AT_ONCE: u32 = 1024;
