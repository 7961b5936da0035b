//! What every [`Store`] must do, as scenarios that run on any implementation.
//!
//! An implementation's tests give [`store_conformance!`](crate::store_conformance) a fresh database for each scenario.
//! The scenarios know the trait alone: no SQL, no file, no connection.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a scenario fails by panicking"
)]

pub mod accounts;
pub mod attachments;
pub mod backups;
pub mod conversations;
pub mod deletion;
pub mod joining;
pub mod keeping;
pub mod key_packages;
pub mod log;
pub mod members;
pub mod notices;
pub mod operator;
pub mod revisions;
pub mod rooms;

use super::{
    AccountId, AccountRevision, Append, AppendBody, AppendOutcome, CreateOutcome, Enrolment, Join, NewAccount,
    NewConversation, Publish, ReviseOutcome, SealedEmail, SealedVault, SharedOperatorStore, SignUpOutcome,
};
use async_trait::async_trait;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use waxwing_protocol::{
    ConversationId, ConversationKind, DeviceId, Entry, Handshake, InboxItem, KdfParameters, NewDevice, Username,
    Welcome,
};

/// One database of a test, empty and migrated when the test gets it.
#[async_trait]
pub trait FreshDatabase: Send + Sync {
    /// Opens the store on it. May be called again after `close`: then it is the same database.
    async fn open(&self, publish: Arc<dyn Publish>) -> SharedOperatorStore;
}

/// Makes a test of each scenario. The argument is an expression, evaluated in each test's async body, that gives a
/// [`FreshDatabase`](crate::store::conformance::FreshDatabase) of its own, e.g. `store_conformance!(Folder::new().await);`.
#[macro_export]
macro_rules! store_conformance {
    ($database:expr) => {
        $crate::store_conformance! { @each $database;
            accounts::sign_up_then_look_up
            accounts::a_taken_name_or_device_creates_nothing
            accounts::hostile_texts_are_stored_literally
            accounts::enrolment_takes_the_next_version_only
            accounts::an_account_has_a_limited_number_of_devices
            accounts::a_device_takes_the_place_of_another
            revisions::a_list_may_skip_versions_that_the_database_has_forgotten
            accounts::an_invite_lets_in_as_many_as_it_says
            accounts::a_bad_invite_creates_nothing
            accounts::a_failed_sign_up_uses_no_invite
            accounts::the_incarnation_stays
            accounts::a_closed_store_says_so
            revisions::a_revision_replaces_what_it_names
            revisions::a_revision_takes_the_next_version_only
            revisions::new_identities_are_vouched_for
            revisions::a_removed_device_leaves_nothing
            revisions::entries_wait_for_no_removed_device
            revisions::a_removed_device_cannot_act
            deletion::a_deleted_account_is_like_one_that_never_was
            deletion::a_deleted_name_stays_taken
            deletion::the_other_side_keeps_its_log
            deletion::conversations_of_nobody_go
            attachments::attachments_stay_below_their_quota
            attachments::a_dropped_attachment_is_found_by_nobody
            attachments::attachments_expire
            backups::segments_come_back
            backups::the_quota_holds
            backups::manifests_follow_each_other
            backups::useless_segments_go_with_a_manifest
            backups::a_deleted_backup_keeps_its_version
            backups::backups_are_the_accounts_own
            key_packages::one_time_packages_are_handed_out_once
            key_packages::the_last_resort_stays
            key_packages::the_stock_is_limited
            key_packages::a_claim_leaves_the_asking_device_out
            key_packages::old_packages_are_not_handed_out
            conversations::creation_invites_the_other_device
            conversations::creation_again_is_the_same_creation
            conversations::two_creators_race
            conversations::a_pair_has_one_conversation
            conversations::a_conversation_takes_the_place_of_another
            conversations::notes_to_oneself
            conversations::bad_creations_create_nothing
            log::concurrent_sends_are_contiguous_and_published_in_order
            log::a_number_again_gets_the_same_answer
            log::numbers_are_contiguous
            log::old_numbers_are_known_after_their_entries_went
            log::what_was_acknowledged_is_not_answered_again
            log::stale_messages_are_refused
            log::strangers_see_and_send_nothing
            log::checks_come_in_order
            log::what_one_sent_is_ones_own
            log::pages_are_limited
            log::a_page_shows_one_moment
            log::acknowledged_entries_go
            log::heads_tell_what_is_unread
            log::old_entries_expire
            log::everything_survives_reopening
            members::a_commit_adds_devices
            members::bad_recipients_change_nothing
            members::commits_are_paced
            members::a_removed_device_reads_its_removal_and_goes
            members::a_device_that_comes_back_goes_on_counting
            members::concurrent_commits_have_one_winner
            members::a_replaced_device_starts_anew
            members::commits_may_name_devices_that_are_gone
            joining::a_listed_device_lets_itself_in
            joining::the_same_join_again_is_the_same_join
            joining::a_member_may_start_anew
            joining::joins_and_commits_take_turns
            joining::strangers_cannot_join_or_look
            joining::who_asks_is_announced_once
            joining::group_infos_follow_the_commits
            joining::the_roster_is_listed_in_pages
            notices::enrolment_tells_each_sharing_device_once
            notices::inbox_seqs_are_never_used_again
            notices::inbox_pages_are_limited
            operator::a_locked_account_is_seen_to_be
            operator::a_sign_in_leaves_its_day
            operator::a_signed_out_device_is_gone
            operator::a_deleted_account_is_no_account
            log::what_only_passes_through_is_not_kept
            operator::a_disclosure_is_whole
            operator::invites_are_listed_and_revoked
            keeping::what_waits_counts_for_its_sender
            keeping::each_kind_has_its_time
            keeping::silence_counts_while_the_server_is_there
            rooms::commits_change_who_takes_part
            rooms::bad_rosters_change_nothing
            rooms::rooms_are_found_by_name
            rooms::who_leaves_is_gone
        }
    };
    (@each $database:expr; $($module:ident :: $scenario:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                let database = $database;
                $crate::store::conformance::$module::$scenario(&database).await;
            }
        )*
    };
}

/// The moment at which the scenarios begin, milliseconds since 1970.
pub const START_MS: u64 = 1_800_000_000_000;

/// What a store has published.
#[derive(Clone, Debug, PartialEq)]
pub enum Published {
    /// An entry, to somebody (announcements to nobody are not kept).
    Entry(Vec<DeviceId>, ConversationId, Entry),
    /// An inbox item.
    Inbox(DeviceId, InboxItem),
}

/// Keeps what is published.
#[derive(Debug, Default)]
pub struct Recorder(watch::Sender<Vec<Published>>);

impl Publish for Recorder {
    fn entry(&self, recipients: &[DeviceId], conversation: ConversationId, entry: &Entry) {
        if !recipients.is_empty() {
            let event = Published::Entry(recipients.to_vec(), conversation, entry.clone());
            self.0.send_modify(|all| all.push(event));
        }
    }

    fn inbox(&self, device: DeviceId, item: &InboxItem) {
        self.0.send_modify(|all| all.push(Published::Inbox(device, item.clone())));
    }
}

impl Recorder {
    /// What was published, once it is at least so much.
    pub async fn at_least(&self, count: usize) -> Vec<Published> {
        let mut receiver = self.0.subscribe();
        let enough = receiver.wait_for(|all| all.len() >= count);
        tokio::time::timeout(Duration::from_secs(30), enough).await.expect("published in time").unwrap().clone()
    }

    /// Who has got which inbox items so far.
    pub fn inbox_items(&self) -> Vec<(DeviceId, InboxItem)> {
        let items = self.0.borrow().clone().into_iter();
        items
            .filter_map(|one| if let Published::Inbox(device, item) = one { Some((device, item)) } else { None })
            .collect()
    }
}

/// A store on a fresh database and what it publishes.
pub struct Stage {
    /// The store.
    pub store: SharedOperatorStore,
    /// What it publishes.
    pub published: Arc<Recorder>,
}

impl Stage {
    /// Opens the database.
    pub async fn open(database: &dyn FreshDatabase) -> Self {
        let published = Arc::new(Recorder::default());
        Self { store: database.open(published.clone()).await, published }
    }

    /// Signs somebody up whose first device has the id `[device; 16]`.
    pub async fn person(&self, name: &str, device: u8) -> Person {
        match self.store.create_account(new_account(name, device)).await.unwrap() {
            SignUpOutcome::Created(account) => Person { account, name: username(name), device: device_id(device) },
            other => panic!("{name}: {other:?}"),
        }
    }

    /// Enrols a further device with the id `[device; 16]`; `version` is the device list's.
    pub async fn enrol(&self, person: &Person, device: u8, version: u64) -> DeviceId {
        let list = format!("list {version}").into_bytes();
        let outcome = self.store.enrol_device(enrolment(person.account, new_device(device), version, list)).await;
        assert_eq!(outcome.unwrap(), super::EnrolOutcome::Enrolled);
        device_id(device)
    }

    /// Alice (device 1) and Bob (device 2) in a direct conversation that Alice created: seq 1, 1 commit.
    pub async fn pair(&self) -> (Person, Person, ConversationId) {
        let (alice, bob) = (self.person("alice", 1).await, self.person("bob", 2).await);
        let id = ConversationId([7; 16]);
        let outcome = self.create(&alice, &bob.name, id, Some(handshake(&[bob.device], &[]))).await;
        assert_eq!(outcome, CreateOutcome::Created { seq: 1 });
        (alice, bob, id)
    }

    /// Creates a conversation.
    pub async fn create(
        &self,
        creator: &Person,
        with: &Username,
        id: ConversationId,
        handshake: Option<Handshake>,
    ) -> CreateOutcome {
        self.store.create_conversation(new_conversation(creator, with, id, handshake)).await.unwrap()
    }

    /// Appends an application message at `START_MS`.
    pub async fn send(&self, device: DeviceId, id: ConversationId, number: u64, commits: u64) -> AppendOutcome {
        self.store.append(message(device, id, number, commits)).await.unwrap()
    }

    /// Appends a commit so many milliseconds after `START_MS`.
    pub async fn commit(
        &self,
        device: DeviceId,
        id: ConversationId,
        (number, commits): (u64, u64),
        handshake: Handshake,
        after_ms: u64,
    ) -> AppendOutcome {
        let body = AppendBody::Commit(Box::new(handshake));
        let append =
            Append { device, conversation: id, number, commits, body, members: 250, now_ms: START_MS + after_ms };
        self.store.append(append).await.unwrap()
    }

    /// Lets a device in by its own commit, so many milliseconds after `START_MS`.
    pub async fn join(
        &self,
        device: DeviceId,
        id: ConversationId,
        (commit, commits): (&str, u64),
        after_ms: u64,
    ) -> AppendOutcome {
        let join =
            Join { commit: commit.as_bytes().to_vec().into(), group_info: Some(commit.as_bytes().to_vec().into()) };
        let body = AppendBody::Join(join);
        let append =
            Append { device, conversation: id, number: 0, commits, body, members: 250, now_ms: START_MS + after_ms };
        self.store.append(append).await.unwrap()
    }

    /// Revises an account's device list so that it no longer names these devices.
    pub async fn remove(&self, person: &Person, version: u64, removed: &[DeviceId]) -> ReviseOutcome {
        let revision = AccountRevision { removed: removed.to_vec(), ..revision(person, version) };
        self.store.revise_account(revision).await.unwrap()
    }

    /// The seqs that a fetch gives.
    pub async fn seqs(&self, device: DeviceId, id: ConversationId, after: u64) -> Vec<u64> {
        let page = self.store.fetch(device, id, after).await.unwrap().expect("a member");
        page.entries.iter().map(|entry| entry.seq).collect()
    }
}

/// Somebody with one device.
#[derive(Clone, Debug)]
pub struct Person {
    /// The account.
    pub account: AccountId,
    /// Its name.
    pub name: Username,
    /// Its first device.
    pub device: DeviceId,
}

/// A valid name.
pub fn username(name: &str) -> Username {
    name.parse().unwrap()
}

/// The device id `[byte; 16]`.
pub fn device_id(byte: u8) -> DeviceId {
    DeviceId([byte; 16])
}

/// A device with the id `[byte; 16]` and the key `[byte; 32]`.
pub fn new_device(byte: u8) -> NewDevice {
    NewDevice { id: device_id(byte), authentication_key: vec![byte; 32].into() }
}

/// A further device, in nobody's place.
pub fn enrolment(account: AccountId, device: NewDevice, version: u64, device_list: Vec<u8>) -> Enrolment {
    let follows = version.saturating_sub(1);
    Enrolment { account, device, version, follows, device_list, replaces: None, now_ms: START_MS }
}

/// An account whose first device has the id `[device; 16]`.
pub fn new_account(name: &str, device: u8) -> NewAccount {
    NewAccount {
        username: username(name),
        full_name: Some(b"full name".to_vec()),
        email: Some(SealedEmail { lookup: [device; 32], sealed: b"sealed e-mail".to_vec() }),
        kdf: KdfParameters { salt: vec![device; 16].into(), memory_kib: 65536, iterations: 3, parallelism: 4 },
        password_hash: format!("sealed password hash of {name}").into_bytes(),
        recovery_hash: format!("sealed recovery hash of {name}").into_bytes(),
        sealed: SealedVault {
            vault: b"vault".to_vec(),
            password_wrap: b"password wrap".to_vec(),
            recovery_wrap: b"recovery wrap".to_vec(),
        },
        identity_key: b"identity".to_vec(),
        backup_key: b"backup".to_vec(),
        device_list: b"list 1".to_vec(),
        device: new_device(device),
        invite: None,
        now_ms: START_MS,
    }
}

/// A revision of somebody's account that changes nothing but the list, to `list <version>`.
pub fn revision(person: &Person, version: u64) -> AccountRevision {
    AccountRevision {
        account: person.account,
        version,
        follows: version.saturating_sub(1),
        device_list: format!("list {version}").into_bytes(),
        removed: Vec::new(),
        credentials: None,
        identity: None,
        now_ms: START_MS,
    }
}

/// A handshake with a welcome, if it adds anybody.
pub fn handshake(added: &[DeviceId], removed: &[DeviceId]) -> Handshake {
    let welcome = Welcome { recipients: added.to_vec(), payload: b"welcome".to_vec().into() };
    Handshake {
        commit: b"commit".to_vec().into(),
        welcome: (!added.is_empty()).then_some(welcome),
        removed: removed.to_vec(),
        group_info: None,
        roster: None,
    }
}

/// A conversation of `creator` with `with`, made at `START_MS`.
pub fn new_conversation(
    creator: &Person,
    with: &Username,
    id: ConversationId,
    handshake: Option<Handshake>,
) -> NewConversation {
    NewConversation {
        replaces: None,
        members: 250,
        account: creator.account,
        creator: creator.device,
        id,
        kind: ConversationKind::Direct(with.clone()),
        handshake,
        now_ms: START_MS,
    }
}

/// An application message at `START_MS` whose payload says its number.
pub fn message(device: DeviceId, conversation: ConversationId, number: u64, commits: u64) -> Append {
    let body = AppendBody::Application(format!("message {number}").into_bytes().into());
    Append { device, conversation, number, commits, body, members: 250, now_ms: START_MS }
}
