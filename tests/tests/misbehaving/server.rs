//! A relay in this process over a store that can lie.
//!
//! Invariants: without a lie everything is as in the real server, whose code it is; a lie changes an answer and never what
//! is stored, so that the truth comes back when the lie ends. It must not know keys or clients.

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::UNIX_EPOCH,
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::oneshot};
use waxwing_e2ee::account::{DeviceList, IdentityPublicKey};
use waxwing_protocol::{
    AccountRecord, Address, AttachmentId, Bytes, ClaimedKeyPackage, ConversationHead, ConversationId, ConversationInfo,
    DeviceId, Entry, GroupInfo, InboxItem, Incarnation, KeyPackageStock, Link, Page, RoomInfo, RoomName, SegmentId,
    Username,
};
use waxwing_server::{
    attachments::Attachments,
    install::Identity,
    relay::{DataKey, Hub, Relay, RelayConfig, ServerIdentity, SignUpRule},
    rules::{Limits, Retention, Rules},
    store::{
        AccountId, AccountRevision, Append, AppendOutcome, AttachmentOutcome, AttachmentRow, AttachmentStore, Audience,
        BackupRecord, CreateOutcome, DeviceRow, DeviceSummary, EnrolOutcome, Enrolment, JoinRoomOutcome, KeepingStore,
        LoginRecord, ManifestOutcome, NewAccount, NewAttachment, NewConversation, NewInvite, NewManifest, NewSegment,
        Publish, ReviseOutcome, SegmentOutcome, SignUpOutcome, Store, StoreError,
        sqlite::{SqliteStore, migrate},
    },
};

type Change<Q, A> = Box<dyn FnMut(&Q, A) -> A + Send>;

/// What is said instead of the truth, from what was asked and the honest answer.
pub(crate) struct Lie<Q, A>(Mutex<Option<Change<Q, A>>>);

impl<Q, A> Default for Lie<Q, A> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<Q, A> Lie<Q, A> {
    /// Lies from now on.
    pub(crate) fn tell(&self, lie: impl FnMut(&Q, A) -> A + Send + 'static) {
        *self.0.lock().unwrap() = Some(Box::new(lie));
    }

    /// Tells the truth again.
    pub(crate) fn end(&self) {
        *self.0.lock().unwrap() = None;
    }

    fn answer(&self, asked: &Q, honest: A) -> A {
        match self.0.lock().unwrap().as_mut() {
            Some(lie) => lie(asked, honest),
            None => honest,
        }
    }
}

/// Every answer that a test can change.
#[derive(Default)]
pub(crate) struct Lies {
    /// Public records.
    pub(crate) account: Lie<Username, Option<AccountRecord>>,
    /// What a login begins with.
    pub(crate) login: Lie<Username, Option<LoginRecord>>,
    /// Claimed key packages.
    pub(crate) key_packages: Lie<Username, Option<Vec<ClaimedKeyPackage>>>,
    /// Pages of a log, by the asking device and the seq after which it asks.
    pub(crate) page: Lie<(DeviceId, u64), Option<Page>>,
    /// What a device lets itself in with.
    pub(crate) group_info: Lie<DeviceId, Option<GroupInfo>>,
    /// A device's inbox after a seq.
    pub(crate) inbox: Lie<(DeviceId, u64), Vec<InboxItem>>,
    /// Heads after an id.
    pub(crate) heads: Lie<Option<ConversationId>, Vec<ConversationHead>>,
    /// The outcome of an append.
    pub(crate) append: Lie<DeviceId, AppendOutcome>,
    /// What is pushed to those who listen.
    pub(crate) pushed: Lie<ConversationId, Vec<Entry>>,
    /// A segment of a backup.
    pub(crate) segment: Lie<SegmentId, Option<Bytes>>,
    /// The manifest of a backup.
    pub(crate) backup: Lie<DeviceId, Option<BackupRecord>>,
    /// Whether there is room for a segment.
    pub(crate) put_segment: Lie<SegmentId, SegmentOutcome>,
    /// How many of the next enrolments fail, as if the disk were full.
    pub(crate) failing_enrolments: AtomicUsize,
    changes: AtomicUsize,
    backups: AtomicUsize,
    questions: AtomicUsize,
}

/// What this server seals with.
pub(crate) const DATA_KEY: [u8; 32] = [42; 32];

/// A server whose store lies.
pub(crate) struct Server {
    pub(crate) lies: Arc<Lies>,
    store: Arc<SqliteStore>,
    link: String,
    stop: Option<oneshot::Sender<()>>,
    runtime: Runtime,
    _folder: TempDir,
}

impl Server {
    /// Starts an honest one, where anyone may sign up.
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("waxwing-misbehaving.").tempdir()?;
        let path = folder.path().join("waxwing.db");
        migrate(&path)?;
        let lies = Arc::<Lies>::default();
        let hub = Hub::new();
        let store = Arc::new(SqliteStore::open(&path, Arc::new(Pushing { hub: hub.clone(), lies: lies.clone() }))?);
        let Identity { certificate_der, private_key_der } = Identity::generate()?;
        let identity = ServerIdentity { certificate_der, private_key_der };
        let pin = identity.pin()?;
        let data_key = DataKey::from_bytes(DATA_KEY);
        let config = RelayConfig {
            identity,
            data_key,
            rules: Rules {
                sign_up: SignUpRule::Open,
                retention: Retention { messages: 0, inbox: 0, invites: 0 },
                backup_quota: 1 << 20,
                max_connections: 100,
                // A liar does not spare itself: how fast this machine is must not decide what a client meets.
                limits: Limits {
                    look_ups: None,
                    key_packages: None,
                    messages: None,
                    upload_kib: None,
                    ..Limits::default()
                },
                ..Rules::default()
            },
            attachments: Attachments::in_folder(&folder.path().join("attachments"))?,
        };
        let lying = Arc::new(Lying { honest: store.clone(), lies: lies.clone() });
        let relay = Relay::new(config, hub, lying)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let listener = runtime.block_on(Relay::bind("127.0.0.1:0".parse()?))?;
        let port = listener.local_addr()?.port();
        let (stop, stopped) = oneshot::channel();
        runtime.spawn(relay.serve(listener, async move { stopped.await.unwrap_or_default() }));
        let link = Link { addresses: vec![Address { host: "127.0.0.1".into(), port }], pin, invite: None };
        Ok(Self { lies, store, link: link.to_string(), stop: Some(stop), runtime, _folder: folder })
    }

    pub(crate) fn link(&self) -> &str {
        &self.link
    }

    /// How often anybody has tried to create a conversation or to append to one.
    pub(crate) fn changes(&self) -> usize {
        self.lies.changes.load(SeqCst)
    }

    /// How often anybody has asked for the manifest of a backup.
    pub(crate) fn backups(&self) -> usize {
        self.lies.backups.load(SeqCst)
    }

    /// How often anybody has asked for heads, an inbox or a page.
    pub(crate) fn questions(&self) -> usize {
        self.lies.questions.load(SeqCst)
    }

    /// The true public record.
    pub(crate) fn account(&self, username: &str) -> Result<AccountRecord> {
        let record = self.runtime.block_on(self.store.account(&username.parse()?))?;
        record.context("no such account")
    }

    /// The only device of this account.
    pub(crate) fn only_device(&self, username: &str) -> Result<DeviceId> {
        let record = self.account(username)?;
        let identity = IdentityPublicKey::from_der(&record.identity_key.0)?;
        Ok(DeviceId(DeviceList::verify(&record.device_list.0, &identity, username)?.list.devices[0].id))
    }

    /// An account that no real client has made, with key packages for its one device.
    pub(crate) fn create_account(&self, account: NewAccount, key_packages: Vec<Bytes>) -> Result<AccountId> {
        let device = account.device.id;
        self.runtime.block_on(async {
            let outcome = self.store.create_account(account).await?;
            let SignUpOutcome::Created(id) = outcome else { bail!("{outcome:?}") };
            self.store.publish_key_packages(device, key_packages, None, now_ms()?).await?;
            Ok(id)
        })
    }

    /// A conversation that no real client has made.
    pub(crate) fn create_conversation(&self, new: NewConversation) -> Result<()> {
        let outcome = self.runtime.block_on(self.store.create_conversation(new))?;
        ensure!(matches!(outcome, CreateOutcome::Created { .. }), "{outcome:?}");
        Ok(())
    }

    /// An entry that no real client has made.
    pub(crate) fn append(&self, append: Append) -> Result<()> {
        let outcome = self.runtime.block_on(self.store.append(append))?;
        ensure!(matches!(outcome, AppendOutcome::Accepted { .. }), "{outcome:?}");
        Ok(())
    }

    /// What the log of a conversation has for a device behind an entry.
    pub(crate) fn fetch(&self, device: DeviceId, conversation: ConversationId, after: u64) -> Result<Vec<Entry>> {
        let page = self.runtime.block_on(self.store.fetch(device, conversation, after))?;
        Ok(page.context("no such conversation")?.entries)
    }

    /// A key package of a device of this account, for whoever asks.
    pub(crate) fn claim(&self, username: &str) -> Result<ClaimedKeyPackage> {
        let claimed = self.runtime.block_on(self.store.claim_key_packages(&username.parse()?, DeviceId([0; 16])))?;
        claimed.and_then(|mut claimed| claimed.pop()).context("no key package")
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> Result<u64> {
    Ok(u64::try_from(UNIX_EPOCH.elapsed()?.as_millis())?)
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

/// The hub, fed with what the lies leave.
struct Pushing {
    hub: Arc<Hub>,
    lies: Arc<Lies>,
}

impl Publish for Pushing {
    fn entry(&self, recipients: &[DeviceId], conversation: ConversationId, entry: &Entry) {
        for entry in self.lies.pushed.answer(&conversation, vec![entry.clone()]) {
            self.hub.entry(recipients, conversation, &entry);
        }
    }

    fn inbox(&self, device: DeviceId, item: &InboxItem) {
        self.hub.inbox(device, item);
    }
}

/// The store as the relay sees it.
struct Lying {
    honest: Arc<SqliteStore>,
    lies: Arc<Lies>,
}

#[async_trait]
impl AttachmentStore for Lying {
    async fn begin_attachment(&self, new: NewAttachment) -> Result<AttachmentOutcome, StoreError> {
        self.honest.begin_attachment(new).await
    }

    async fn attachment(&self, id: AttachmentId) -> Result<Option<AttachmentRow>, StoreError> {
        self.honest.attachment(id).await
    }

    async fn finish_attachment(&self, id: AttachmentId, now_ms: u64) -> Result<bool, StoreError> {
        self.honest.finish_attachment(id, now_ms).await
    }

    async fn drop_attachment(&self, account: AccountId, id: AttachmentId) -> Result<(), StoreError> {
        self.honest.drop_attachment(account, id).await
    }

    async fn expire_attachments(&self, finished_ms: u64, begun_ms: u64) -> Result<u64, StoreError> {
        self.honest.expire_attachments(finished_ms, begun_ms).await
    }

    async fn count_attachments(&self, finished_ms: u64, begun_ms: u64) -> Result<(u64, u64), StoreError> {
        self.honest.count_attachments(finished_ms, begun_ms).await
    }

    async fn dropped_attachments(&self) -> Result<Vec<AttachmentId>, StoreError> {
        self.honest.dropped_attachments().await
    }

    async fn forget_attachment(&self, id: AttachmentId) -> Result<(), StoreError> {
        self.honest.forget_attachment(id).await
    }

    async fn finished_attachments(&self, after: Option<AttachmentId>) -> Result<Vec<AttachmentId>, StoreError> {
        self.honest.finished_attachments(after).await
    }

    async fn knows_attachment(&self, id: AttachmentId) -> Result<bool, StoreError> {
        self.honest.knows_attachment(id).await
    }
}

#[async_trait]
impl KeepingStore for Lying {
    async fn devices(&self, account: AccountId) -> Result<Vec<DeviceSummary>, StoreError> {
        self.honest.devices(account).await
    }

    async fn waiting(&self) -> Result<Vec<(AccountId, u64)>, StoreError> {
        self.honest.waiting().await
    }

    async fn forget_former_devices(&self) -> Result<(), StoreError> {
        self.honest.forget_former_devices().await
    }

    async fn note_alive(&self, day: u32) -> Result<u32, StoreError> {
        self.honest.note_alive(day).await
    }

    async fn expire_inbox(&self, before_ms: u64) -> Result<u64, StoreError> {
        self.honest.expire_inbox(before_ms).await
    }

    async fn expire_invites(&self, before_ms: u64) -> Result<u64, StoreError> {
        self.honest.expire_invites(before_ms).await
    }
}

#[async_trait]
impl Store for Lying {
    fn incarnation(&self) -> Incarnation {
        self.honest.incarnation()
    }

    async fn create_account(&self, account: NewAccount) -> Result<SignUpOutcome, StoreError> {
        self.honest.create_account(account).await
    }

    async fn login_record(&self, username: &Username) -> Result<Option<LoginRecord>, StoreError> {
        Ok(self.lies.login.answer(username, self.honest.login_record(username).await?))
    }

    async fn account(&self, username: &Username) -> Result<Option<AccountRecord>, StoreError> {
        Ok(self.lies.account.answer(username, self.honest.account(username).await?))
    }

    async fn enrol_device(&self, enrolment: Enrolment) -> Result<EnrolOutcome, StoreError> {
        if self.lies.failing_enrolments.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(StoreError::Closed);
        }
        self.honest.enrol_device(enrolment).await
    }

    async fn revise_account(&self, revision: AccountRevision) -> Result<ReviseOutcome, StoreError> {
        self.honest.revise_account(revision).await
    }

    async fn delete_account(&self, account: AccountId, now_ms: u64) -> Result<Option<Vec<DeviceId>>, StoreError> {
        self.honest.delete_account(account, now_ms).await
    }

    async fn device(&self, device: DeviceId) -> Result<Option<DeviceRow>, StoreError> {
        self.honest.device(device).await
    }

    async fn seen(&self, device: DeviceId, day: u32) -> Result<(), StoreError> {
        self.honest.seen(device, day).await
    }

    async fn publish_key_packages(
        &self,
        device: DeviceId,
        one_time: Vec<Bytes>,
        last_resort: Option<Bytes>,
        now_ms: u64,
    ) -> Result<KeyPackageStock, StoreError> {
        self.honest.publish_key_packages(device, one_time, last_resort, now_ms).await
    }

    async fn key_package_stock(&self, device: DeviceId, now_ms: u64) -> Result<KeyPackageStock, StoreError> {
        self.honest.key_package_stock(device, now_ms).await
    }

    async fn claim_key_packages(
        &self,
        username: &Username,
        except: DeviceId,
    ) -> Result<Option<Vec<ClaimedKeyPackage>>, StoreError> {
        Ok(self.lies.key_packages.answer(username, self.honest.claim_key_packages(username, except).await?))
    }

    async fn create_conversation(&self, conversation: NewConversation) -> Result<CreateOutcome, StoreError> {
        self.lies.changes.fetch_add(1, SeqCst);
        self.honest.create_conversation(conversation).await
    }

    async fn append(&self, append: Append) -> Result<AppendOutcome, StoreError> {
        self.lies.changes.fetch_add(1, SeqCst);
        let device = append.device;
        Ok(self.lies.append.answer(&device, self.honest.append(append).await?))
    }

    async fn audience(&self, device: DeviceId, conversation: ConversationId) -> Result<Option<Audience>, StoreError> {
        self.honest.audience(device, conversation).await
    }

    async fn conversations(
        &self,
        device: DeviceId,
        after: Option<ConversationId>,
    ) -> Result<Vec<ConversationInfo>, StoreError> {
        self.honest.conversations(device, after).await
    }

    async fn group_info(
        &self,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<GroupInfo>, StoreError> {
        Ok(self.lies.group_info.answer(&device, self.honest.group_info(device, conversation).await?))
    }

    async fn others(
        &self,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<Vec<DeviceId>>, StoreError> {
        self.honest.others(device, conversation).await
    }

    async fn ask_to_join(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        self.honest.ask_to_join(device, conversation, now_ms).await
    }

    async fn rooms(&self, after: Option<&RoomName>) -> Result<Vec<RoomInfo>, StoreError> {
        self.honest.rooms(after).await
    }

    async fn join_room(
        &self,
        account: AccountId,
        name: &RoomName,
        members: u32,
    ) -> Result<JoinRoomOutcome, StoreError> {
        self.honest.join_room(account, name, members).await
    }

    async fn leave(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        wish: Bytes,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.honest.leave(device, conversation, wish, now_ms).await
    }

    async fn delete_room(&self, name: &RoomName) -> Result<bool, StoreError> {
        self.honest.delete_room(name).await
    }

    async fn fetch(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        after: u64,
    ) -> Result<Option<Page>, StoreError> {
        self.lies.questions.fetch_add(1, SeqCst);
        Ok(self.lies.page.answer(&(device, after), self.honest.fetch(device, conversation, after).await?))
    }

    async fn acknowledge(&self, device: DeviceId, conversation: ConversationId, seq: u64) -> Result<(), StoreError> {
        self.honest.acknowledge(device, conversation, seq).await
    }

    async fn fetch_inbox(&self, device: DeviceId, after: u64) -> Result<Vec<InboxItem>, StoreError> {
        self.lies.questions.fetch_add(1, SeqCst);
        Ok(self.lies.inbox.answer(&(device, after), self.honest.fetch_inbox(device, after).await?))
    }

    async fn acknowledge_inbox(&self, device: DeviceId, seq: u64) -> Result<(), StoreError> {
        self.honest.acknowledge_inbox(device, seq).await
    }

    async fn heads(
        &self,
        device: DeviceId,
        after: Option<ConversationId>,
    ) -> Result<Vec<ConversationHead>, StoreError> {
        self.lies.questions.fetch_add(1, SeqCst);
        Ok(self.lies.heads.answer(&after, self.honest.heads(device, after).await?))
    }

    async fn put_segment(&self, segment: NewSegment) -> Result<SegmentOutcome, StoreError> {
        let id = segment.id;
        Ok(self.lies.put_segment.answer(&id, self.honest.put_segment(segment).await?))
    }

    async fn segment(&self, device: DeviceId, id: SegmentId) -> Result<Option<Bytes>, StoreError> {
        Ok(self.lies.segment.answer(&id, self.honest.segment(device, id).await?))
    }

    async fn put_manifest(&self, manifest: NewManifest) -> Result<ManifestOutcome, StoreError> {
        self.honest.put_manifest(manifest).await
    }

    async fn backup(&self, device: DeviceId) -> Result<Option<BackupRecord>, StoreError> {
        self.lies.backups.fetch_add(1, SeqCst);
        Ok(self.lies.backup.answer(&device, self.honest.backup(device).await?))
    }

    async fn delete_backup(&self, device: DeviceId) -> Result<bool, StoreError> {
        self.honest.delete_backup(device).await
    }

    async fn is_invited(&self, code_hash: [u8; 32], now_ms: u64) -> Result<bool, StoreError> {
        self.honest.is_invited(code_hash, now_ms).await
    }

    async fn create_invite(&self, invite: NewInvite) -> Result<(), StoreError> {
        self.honest.create_invite(invite).await
    }

    async fn expire(&self, before_ms: u64) -> Result<u64, StoreError> {
        self.honest.expire(before_ms).await
    }

    async fn expire_key_packages(&self, now_ms: u64) -> Result<(), StoreError> {
        self.honest.expire_key_packages(now_ms).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.honest.ping().await
    }

    async fn close(&self) {
        self.honest.close().await;
    }
}
