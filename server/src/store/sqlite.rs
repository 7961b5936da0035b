//! The store on an embedded SQLite file.
//!
//! Invariants: one process has the file, and in it one connection, on one thread, writes; what was answered as done is
//! committed with synchronous=FULL, and published before it is answered. It must not know who is connected.

mod accounts;
mod answers;
mod attachments;
mod backups;
mod batch;
mod conversations;
mod deletion;
mod devices;
#[cfg(any(test, feature = "conformance"))]
pub mod direct;
mod disclosure;
mod inbox;
mod joining;
mod keeper;
mod keeping;
mod key_packages;
mod log;
mod operator;
mod readers;
mod rooms;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

pub use schema::{MigrationReport, OpenError, migrate, pending, renew, verify};

use super::{
    AccountId, AccountRevision, Append, AppendOutcome, Audience, BackupRecord, CreateOutcome, DeviceRow, EnrolOutcome,
    Enrolment, JoinRoomOutcome, LoginRecord, ManifestOutcome, NewAccount, NewConversation, NewInvite, NewManifest,
    NewSegment, Publish, ReviseOutcome, SegmentOutcome, SignUpOutcome, Store, StoreError,
};
use async_trait::async_trait;
use batch::Batch;
use readers::Readers;
use std::{path::Path, sync::Arc};
use tokio::sync::{Mutex, oneshot};
use waxwing_protocol::{
    AccountRecord, Bytes, ClaimedKeyPackage, ConversationHead, ConversationId, ConversationInfo, DeviceId, GroupInfo,
    InboxItem, Incarnation, KeyPackageStock, Page, RoomInfo, RoomName, SegmentId, Username,
};
use writer::{Task, Writer};

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Box::new(error))
    }
}

/// A [`Store`] in one SQLite file. Dropping it without [`Store::close`] still finishes what was accepted, a moment later.
#[derive(Debug)]
pub struct SqliteStore {
    incarnation: Incarnation,
    readers: Arc<Readers>,
    writer: Writer,
    /// One segment of a backup at a time: it may be as large as hundreds of messages, which share its transaction.
    segments: Mutex<()>,
}

impl SqliteStore {
    /// Opens a database that [`migrate`] has made, and keeps every other process from opening it.
    ///
    /// # Errors
    /// [`OpenError`] tells apart what the operator must do.
    pub fn open(path: &Path, publish: Arc<dyn Publish>) -> Result<Self, OpenError> {
        let (connection, incarnation, lock) = schema::open(path)?;
        let writer = Writer::start(path, connection, Some(lock), publish).map_err(OpenError::Io)?;
        Ok(Self { incarnation, readers: Arc::new(Readers::new(path)), writer, segments: Mutex::default() })
    }

    /// A new database in memory. Nothing of it is ever on disk, and all of it goes with the store.
    ///
    /// # Errors
    /// The system has no random bytes, or no memory.
    pub fn in_memory(publish: Arc<dyn Publish>) -> Result<Self, OpenError> {
        let (path, connection, incarnation) = schema::in_memory()?;
        let writer = Writer::start(&path, connection, None, publish).map_err(OpenError::Io)?;
        Ok(Self { incarnation, readers: Arc::new(Readers::new(&path)), writer, segments: Mutex::default() })
    }

    /// Runs `work` in the writer's next transaction. It may run twice, so it must leave its input alone.
    async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Batch<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.writer.submit(Box::new(Task::new(work, reply)))?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Reads what is stored, once the entries are deleted that all devices have: for what counts and copies.
    async fn read_tidied<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write(|batch| batch.tidy()).await?;
        self.readers.read(work).await
    }

    /// Deletes what dropped segments of backups have left, a little in each of many transactions, so that senders need not
    /// wait for it. What a stop of the program leaves is found the next time.
    async fn delete_payloads(&self) -> Result<(), StoreError> {
        while self.write(|batch| batch.delete_payloads()).await? {}
        Ok(())
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    async fn create_account(&self, account: NewAccount) -> Result<SignUpOutcome, StoreError> {
        self.write(move |batch| batch.create_account(&account)).await
    }

    async fn login_record(&self, username: &Username) -> Result<Option<LoginRecord>, StoreError> {
        let username = username.clone();
        self.readers.read(move |connection| accounts::login_record(connection, &username)).await
    }

    async fn account(&self, username: &Username) -> Result<Option<AccountRecord>, StoreError> {
        let username = username.clone();
        self.readers.read(move |connection| accounts::account(connection, &username)).await
    }

    async fn enrol_device(&self, enrolment: Enrolment) -> Result<EnrolOutcome, StoreError> {
        self.write(move |batch| batch.enrol_device(&enrolment)).await
    }

    async fn revise_account(&self, revision: AccountRevision) -> Result<ReviseOutcome, StoreError> {
        self.write(move |batch| batch.revise_account(&revision)).await
    }

    async fn delete_account(&self, account: AccountId, now_ms: u64) -> Result<Option<Vec<DeviceId>>, StoreError> {
        let devices = self.write(move |batch| batch.delete_account(account, now_ms)).await?;
        self.delete_payloads().await?;
        Ok(devices)
    }

    async fn device(&self, device: DeviceId) -> Result<Option<DeviceRow>, StoreError> {
        self.readers.read(move |connection| devices::device(connection, device)).await
    }

    async fn seen(&self, device: DeviceId, day: u32) -> Result<(), StoreError> {
        self.write(move |batch| batch.seen(device, day)).await
    }

    async fn publish_key_packages(
        &self,
        device: DeviceId,
        one_time: Vec<Bytes>,
        last_resort: Option<Bytes>,
        now_ms: u64,
    ) -> Result<KeyPackageStock, StoreError> {
        self.write(move |batch| batch.publish_key_packages(device, &one_time, last_resort.as_ref(), now_ms)).await
    }

    async fn key_package_stock(&self, device: DeviceId, now_ms: u64) -> Result<KeyPackageStock, StoreError> {
        self.readers.read(move |connection| key_packages::stock(connection, device, now_ms)).await
    }

    async fn claim_key_packages(
        &self,
        username: &Username,
        except: DeviceId,
    ) -> Result<Option<Vec<ClaimedKeyPackage>>, StoreError> {
        let username = username.clone();
        self.write(move |batch| batch.claim_key_packages(&username, except)).await
    }

    async fn create_conversation(&self, conversation: NewConversation) -> Result<CreateOutcome, StoreError> {
        self.write(move |batch| batch.create_conversation(&conversation)).await
    }

    async fn append(&self, append: Append) -> Result<AppendOutcome, StoreError> {
        self.write(move |batch| batch.append(&append)).await
    }

    async fn audience(&self, device: DeviceId, conversation: ConversationId) -> Result<Option<Audience>, StoreError> {
        self.readers.read(move |connection| log::audience(connection, device, conversation)).await
    }

    async fn conversations(
        &self,
        device: DeviceId,
        after: Option<ConversationId>,
    ) -> Result<Vec<ConversationInfo>, StoreError> {
        self.readers.read(move |connection| joining::conversations(connection, device, after)).await
    }

    async fn group_info(
        &self,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<GroupInfo>, StoreError> {
        self.readers.read(move |connection| joining::group_info(connection, device, conversation)).await
    }

    async fn ask_to_join(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        self.write(move |batch| batch.ask_to_join(device, conversation, now_ms)).await
    }

    async fn rooms(&self, after: Option<&RoomName>) -> Result<Vec<RoomInfo>, StoreError> {
        let after = after.cloned();
        self.readers.read(move |connection| rooms::rooms(connection, after.as_ref())).await
    }

    async fn join_room(
        &self,
        account: AccountId,
        name: &RoomName,
        members: u32,
    ) -> Result<JoinRoomOutcome, StoreError> {
        let name = name.clone();
        self.write(move |batch| batch.join_room(account, &name, members)).await
    }

    async fn leave(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        wish: Bytes,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.write(move |batch| batch.leave(device, conversation, &wish, now_ms)).await
    }

    async fn delete_room(&self, name: &RoomName) -> Result<bool, StoreError> {
        let name = name.clone();
        self.write(move |batch| batch.delete_room(&name)).await
    }

    async fn others(
        &self,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<Vec<DeviceId>>, StoreError> {
        self.readers.read(move |connection| log::others(connection, device, conversation)).await
    }

    async fn fetch(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        after: u64,
    ) -> Result<Option<Page>, StoreError> {
        self.readers.read(move |connection| log::fetch(connection, device, conversation, after)).await
    }

    async fn acknowledge(&self, device: DeviceId, conversation: ConversationId, seq: u64) -> Result<(), StoreError> {
        self.write(move |batch| batch.acknowledge(device, conversation, seq)).await
    }

    async fn fetch_inbox(&self, device: DeviceId, after: u64) -> Result<Vec<InboxItem>, StoreError> {
        self.readers.read(move |connection| inbox::fetch(connection, device, after)).await
    }

    async fn acknowledge_inbox(&self, device: DeviceId, seq: u64) -> Result<(), StoreError> {
        self.write(move |batch| batch.acknowledge_inbox(device, seq)).await
    }

    async fn heads(
        &self,
        device: DeviceId,
        after: Option<ConversationId>,
    ) -> Result<Vec<ConversationHead>, StoreError> {
        self.readers.read(move |connection| log::heads(connection, device, after)).await
    }

    async fn put_segment(&self, segment: NewSegment) -> Result<SegmentOutcome, StoreError> {
        let _alone = self.segments.lock().await;
        self.write(move |batch| batch.put_segment(&segment)).await
    }

    async fn segment(&self, device: DeviceId, id: SegmentId) -> Result<Option<Bytes>, StoreError> {
        self.readers.read(move |connection| backups::segment(connection, device, id)).await
    }

    async fn put_manifest(&self, manifest: NewManifest) -> Result<ManifestOutcome, StoreError> {
        let outcome = self.write(move |batch| batch.put_manifest(&manifest)).await?;
        self.delete_payloads().await?;
        Ok(outcome)
    }

    async fn backup(&self, device: DeviceId) -> Result<Option<BackupRecord>, StoreError> {
        self.readers.read(move |connection| backups::backup(connection, device)).await
    }

    async fn delete_backup(&self, device: DeviceId) -> Result<bool, StoreError> {
        let known = self.write(move |batch| batch.delete_backup(device)).await?;
        self.delete_payloads().await?;
        Ok(known)
    }

    async fn is_invited(&self, code_hash: [u8; 32], now_ms: u64) -> Result<bool, StoreError> {
        self.readers.read(move |connection| accounts::is_invited(connection, &code_hash, now_ms)).await
    }

    async fn create_invite(&self, invite: NewInvite) -> Result<(), StoreError> {
        self.write(move |batch| batch.create_invite(&invite)).await
    }

    async fn expire(&self, before_ms: u64) -> Result<u64, StoreError> {
        let stale = self.read_tidied(move |connection| log::expired(connection, before_ms)).await?;
        let mut gone = 0;
        // In parts, so that senders need not wait for a long deletion.
        for part in stale.chunks(64) {
            let part = part.to_vec();
            gone += self.write(move |batch| batch.delete_entries(&part)).await?;
        }
        self.delete_payloads().await?;
        Ok(gone)
    }

    async fn expire_key_packages(&self, now_ms: u64) -> Result<(), StoreError> {
        self.write(move |batch| batch.expire_key_packages(now_ms)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.readers.read(|connection| Ok(connection.query_row("SELECT id FROM server", [], |_| Ok(()))?)).await
    }

    async fn close(&self) {
        self.readers.close();
        self.writer.close().await;
    }
}
