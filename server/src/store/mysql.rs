//! The store on MySQL 8.0 to 9 and MariaDB 10.6 or later, one implementation for all of them.
//!
//! Invariants: the truth is in rows under lock, never in memory, so other nodes may write the same database; locks are
//! taken in one order (accounts, conversations by id, devices by id), and a transaction that loses against another is
//! tried again; what is published was committed before, in order. It must not know who is connected.

mod account;
mod append;
mod attachment;
mod backup;
mod batch;
mod cluster;
mod codes;
mod conversation;
mod deletion;
mod devices;
mod disclosure;
mod dump;
mod error;
mod inbox;
mod joining;
mod keeping;
mod key_package;
mod log;
mod migrate;
mod operator;
mod options;
mod rooms;
mod row;

pub use dump::{load_dump, verify_dump};
pub use error::OpenError;
pub use migrate::{MigrationReport, migrate, pending};
pub use options::{MysqlOptions, MysqlTls, MysqlUrlError};

use super::{
    AccountId, AccountRevision, Append, AppendOutcome, Audience, BackupRecord, CreateOutcome, DeviceRow, EnrolOutcome,
    Enrolment, JoinRoomOutcome, LoginRecord, ManifestOutcome, NewAccount, NewConversation, NewInvite, NewManifest,
    NewSegment, Publish, ReviseOutcome, SegmentOutcome, SignUpOutcome, Store, StoreError,
};
use append::Writers;
use async_trait::async_trait;
use batch::Acknowledgement;
use sqlx::mysql::{MySqlPool, MySqlPoolOptions};
use sqlx::{Connection, MySql, Transaction};
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::Mutex;
use waxwing_crash::crash_point;
use waxwing_protocol::{
    AccountRecord, Bytes, ClaimedKeyPackage, ConversationHead, ConversationId, ConversationInfo, DeviceId, GroupInfo,
    InboxItem, Incarnation, KeyPackageStock, Page, RoomInfo, RoomName, SegmentId, Username,
};

/// The least `max_allowed_packet`: the longest handshake is just below 1 MiB.
const PACKET_NEEDED: u64 = 2 * 1024 * 1024;
/// Statements are kept below this many bytes even where the server would take more.
const STATEMENT_BYTES: u64 = 8 * 1024 * 1024;
/// Connections for everything but the writers.
const CONNECTIONS: u32 = 16;
/// Tasks that append, each with a connection of its own.
const WRITERS: u32 = 4;

/// A [`Store`] in a MySQL or MariaDB database.
pub struct MysqlStore {
    incarnation: Incarnation,
    database: Arc<Database>,
    writers: Writers,
}

/// What the operations and the writers share.
struct Database {
    pool: MySqlPool,
    writing: MySqlPool,
    publish: Arc<dyn Publish>,
    /// Held from taking inbox numbers until the items are published, so that they are published in order. Whoever
    /// holds it waits for nothing but device rows, which nobody keeps locked while waiting for it.
    inbox_order: Mutex<()>,
    /// Statements with many rows are split at this many bytes.
    statement_bytes: usize,
}

impl fmt::Debug for MysqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MysqlStore").field("incarnation", &self.incarnation).finish_non_exhaustive()
    }
}

impl MysqlStore {
    /// Opens a database that [`migrate`] has made.
    ///
    /// # Errors
    /// [`OpenError`] tells apart what the operator must do.
    pub async fn open(options: &MysqlOptions, publish: Arc<dyn Publish>) -> Result<Self, OpenError> {
        let mut connection = options.connect(true).await?;
        let packet = migrate::check_server(options, &mut connection).await?;
        let incarnation = migrate::check_schema(options, &mut connection).await?;
        connection.close().await.map_err(StoreError::from)?;
        let database = Arc::new(Database {
            pool: pool(options, CONNECTIONS),
            writing: pool(options, WRITERS),
            publish,
            inbox_order: Mutex::new(()),
            statement_bytes: usize::try_from((packet / 2).min(STATEMENT_BYTES)).unwrap_or_default(),
        });
        let writers = Writers::start(&database, WRITERS);
        Ok(Self { incarnation, database, writers })
    }
}

fn pool(options: &MysqlOptions, connections: u32) -> MySqlPool {
    MySqlPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(15))
        .after_connect(|connection, _| Box::pin(options::prepare(connection)))
        .connect_lazy_with(options.driver(true))
}

impl Database {
    async fn begin(&self) -> Result<Transaction<'static, MySql>, StoreError> {
        Ok(self.pool.begin().await?)
    }
}

/// Ends a transaction.
async fn committed(transaction: Transaction<'_, MySql>) -> Result<(), StoreError> {
    crash_point("change", "before");
    transaction.commit().await?;
    crash_point("change", "after");
    Ok(())
}

#[async_trait]
impl Store for MysqlStore {
    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    async fn create_account(&self, account: NewAccount) -> Result<SignUpOutcome, StoreError> {
        error::retried(|| self.database.create_account(&account)).await
    }

    async fn login_record(&self, username: &Username) -> Result<Option<LoginRecord>, StoreError> {
        self.database.login_record(username).await
    }

    async fn account(&self, username: &Username) -> Result<Option<AccountRecord>, StoreError> {
        self.database.account(username).await
    }

    async fn enrol_device(&self, enrolment: Enrolment) -> Result<EnrolOutcome, StoreError> {
        error::retried(|| self.database.enrol_device(&enrolment)).await
    }

    async fn revise_account(&self, revision: AccountRevision) -> Result<ReviseOutcome, StoreError> {
        error::retried(|| self.database.revise_account(&revision)).await
    }

    async fn delete_account(&self, account: AccountId, now_ms: u64) -> Result<Option<Vec<DeviceId>>, StoreError> {
        error::retried(|| self.database.delete_account(account, now_ms)).await
    }

    async fn device(&self, device: DeviceId) -> Result<Option<DeviceRow>, StoreError> {
        self.database.device(device).await
    }

    async fn seen(&self, device: DeviceId, day: u32) -> Result<(), StoreError> {
        error::retried(|| self.database.seen(device, day)).await
    }

    async fn publish_key_packages(
        &self,
        device: DeviceId,
        one_time: Vec<Bytes>,
        last_resort: Option<Bytes>,
        now_ms: u64,
    ) -> Result<KeyPackageStock, StoreError> {
        error::retried(|| self.database.publish_key_packages(device, &one_time, last_resort.as_ref(), now_ms)).await
    }

    async fn key_package_stock(&self, device: DeviceId, now_ms: u64) -> Result<KeyPackageStock, StoreError> {
        self.database.key_package_stock(device, now_ms).await
    }

    async fn claim_key_packages(
        &self,
        username: &Username,
        except: DeviceId,
    ) -> Result<Option<Vec<ClaimedKeyPackage>>, StoreError> {
        error::retried(|| self.database.claim_key_packages(username, except)).await
    }

    async fn create_conversation(&self, conversation: NewConversation) -> Result<CreateOutcome, StoreError> {
        self.database.create_conversation(&conversation).await
    }

    async fn append(&self, append: Append) -> Result<AppendOutcome, StoreError> {
        self.writers.append(append).await
    }

    async fn audience(&self, device: DeviceId, conversation: ConversationId) -> Result<Option<Audience>, StoreError> {
        self.database.audience(device, conversation).await
    }

    async fn conversations(
        &self,
        device: DeviceId,
        after: Option<ConversationId>,
    ) -> Result<Vec<ConversationInfo>, StoreError> {
        self.database.conversations(device, after).await
    }

    async fn group_info(
        &self,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<GroupInfo>, StoreError> {
        self.database.group_info(device, conversation).await
    }

    async fn ask_to_join(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        error::retried(|| self.database.ask_to_join(device, conversation, now_ms)).await
    }

    async fn rooms(&self, after: Option<&RoomName>) -> Result<Vec<RoomInfo>, StoreError> {
        self.database.rooms(after).await
    }

    async fn join_room(
        &self,
        account: AccountId,
        name: &RoomName,
        members: u32,
    ) -> Result<JoinRoomOutcome, StoreError> {
        error::retried(|| self.database.join_room(account, name, members)).await
    }

    async fn leave(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        wish: Bytes,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        error::retried(|| self.database.leave(device, conversation, &wish, now_ms)).await
    }

    async fn delete_room(&self, name: &RoomName) -> Result<bool, StoreError> {
        error::retried(|| self.database.delete_room(name)).await
    }

    async fn others(
        &self,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<Vec<DeviceId>>, StoreError> {
        self.database.others(device, conversation).await
    }

    async fn fetch(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        after: u64,
    ) -> Result<Option<Page>, StoreError> {
        self.database.fetch(device, conversation, after).await
    }

    async fn acknowledge(&self, device: DeviceId, conversation: ConversationId, seq: u64) -> Result<(), StoreError> {
        self.writers.acknowledge(Acknowledgement { device, conversation, seq }).await
    }

    async fn fetch_inbox(&self, device: DeviceId, after: u64) -> Result<Vec<InboxItem>, StoreError> {
        self.database.fetch_inbox(device, after).await
    }

    async fn acknowledge_inbox(&self, device: DeviceId, seq: u64) -> Result<(), StoreError> {
        error::retried(|| self.database.acknowledge_inbox(device, seq)).await
    }

    async fn heads(
        &self,
        device: DeviceId,
        after: Option<ConversationId>,
    ) -> Result<Vec<ConversationHead>, StoreError> {
        self.database.heads(device, after).await
    }

    async fn put_segment(&self, segment: NewSegment) -> Result<SegmentOutcome, StoreError> {
        error::retried(|| self.database.put_segment(&segment)).await
    }

    async fn segment(&self, device: DeviceId, id: SegmentId) -> Result<Option<Bytes>, StoreError> {
        self.database.segment(device, id).await
    }

    async fn put_manifest(&self, manifest: NewManifest) -> Result<ManifestOutcome, StoreError> {
        error::retried(|| self.database.put_manifest(&manifest)).await
    }

    async fn backup(&self, device: DeviceId) -> Result<Option<BackupRecord>, StoreError> {
        self.database.backup(device).await
    }

    async fn delete_backup(&self, device: DeviceId) -> Result<bool, StoreError> {
        error::retried(|| self.database.delete_backup(device)).await
    }

    async fn is_invited(&self, code_hash: [u8; 32], now_ms: u64) -> Result<bool, StoreError> {
        self.database.is_invited(&code_hash, now_ms).await
    }

    async fn create_invite(&self, invite: NewInvite) -> Result<(), StoreError> {
        error::retried(|| self.database.create_invite(&invite)).await
    }

    async fn expire(&self, before_ms: u64) -> Result<u64, StoreError> {
        self.database.expire(before_ms).await
    }

    async fn expire_key_packages(&self, now_ms: u64) -> Result<(), StoreError> {
        self.database.expire_key_packages(now_ms).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.database.pool).await?;
        Ok(())
    }

    async fn close(&self) {
        self.writers.close().await;
        self.database.pool.close().await;
        self.database.writing.close().await;
    }
}
