//! Where openmls keeps its state: its own SQLite tables, through the caller's connection.
//!
//! The invariant: the first failure of the database is kept, whatever openmls makes of it. openmls turns some into
//! "missing key" and the like, and whoever then skips a good commit is out of the group for good.

use openmls_sqlite_storage::{Codec, SqliteStorageProvider};
use openmls_traits::storage::{StorageProvider, traits};
use rusqlite::Connection;
use std::cell::{Cell, RefCell};

/// How openmls's types are encoded inside its tables.
#[derive(Default)]
pub(super) struct Cbor;

#[derive(Debug, thiserror::Error)]
pub(super) enum CborError {
    #[error(transparent)]
    Write(#[from] ciborium::ser::Error<std::io::Error>),
    #[error(transparent)]
    Read(#[from] ciborium::de::Error<std::io::Error>),
}

impl Codec for Cbor {
    type Error = CborError;

    fn to_vec<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, CborError> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes)?;
        Ok(bytes)
    }

    fn from_slice<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
        Ok(ciborium::from_reader(bytes)?)
    }
}

/// As openmls' tables have a group's id.
pub(super) fn encoded(id: &openmls::prelude::GroupId) -> Result<Vec<u8>, CborError> {
    Cbor::to_vec(id)
}

/// The database failed; [`Storage::take_failure`] says how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the database failed")]
pub(super) struct Failed;

/// openmls's SQLite storage, remembering its first failure.
pub(super) struct Storage<'tx> {
    inner: SqliteStorageProvider<Cbor, &'tx Connection>,
    failure: RefCell<Option<rusqlite::Error>>,
    skipping: Cell<bool>,
    skipped: Cell<bool>,
}

impl<'tx> Storage<'tx> {
    pub(super) fn new(tx: &'tx Connection) -> Self {
        let (skipping, skipped) = (Cell::new(false), Cell::new(false));
        Self { inner: SqliteStorageProvider::new(tx), failure: RefCell::new(None), skipping, skipped }
    }

    /// Runs `work` and writes no message secrets meanwhile; also returns whether any were to be written.
    pub(super) fn skip_message_secrets<T>(&self, work: impl FnOnce() -> T) -> (T, bool) {
        self.skipped.set(false);
        self.skipping.set(true);
        let outcome = work();
        self.skipping.set(false);
        (outcome, self.skipped.get())
    }

    /// What went wrong since this was last asked.
    pub(super) fn take_failure(&self) -> Option<rusqlite::Error> {
        self.failure.take()
    }

    fn note<T>(&self, outcome: Result<T, rusqlite::Error>) -> Result<T, Failed> {
        outcome.map_err(|error| {
            self.failure.borrow_mut().get_or_insert(error);
            Failed
        })
    }
}

const VERSION: u16 = openmls_traits::storage::CURRENT_VERSION;

/// Passes each call on to the inner storage and notes its outcome.
macro_rules! pass_on {
    ($(fn $name:ident<$($generic:ident: $bound:ident),+>($($argument:ident: $type:ty),*) -> $value:ty;)+) => {$(
        fn $name<$($generic: traits::$bound<VERSION>),+>(&self, $($argument: $type),*) -> Result<$value, Failed> {
            self.note(self.inner.$name::<$($generic),+>($($argument),*))
        }
    )+};
}

#[rustfmt::skip]
impl StorageProvider<VERSION> for Storage<'_> {
    type Error = Failed;

    fn write_message_secrets<A: traits::GroupId<VERSION>, B: traits::MessageSecrets<VERSION>>(
        &self,
        group_id: &A,
        message_secrets: &B,
    ) -> Result<(), Failed> {
        if self.skipping.get() {
            self.skipped.set(true);
            return Ok(());
        }
        self.note(self.inner.write_message_secrets(group_id, message_secrets))
    }

    pass_on! {
        fn write_mls_join_config<A: GroupId, B: MlsGroupJoinConfig>(group_id: &A, config: &B) -> ();
        fn append_own_leaf_node<A: GroupId, B: LeafNode>(group_id: &A, leaf_node: &B) -> ();
        fn queue_proposal<A: GroupId, B: ProposalRef, C: QueuedProposal>(group_id: &A, proposal_ref: &B, proposal: &C) -> ();
        fn write_tree<A: GroupId, B: TreeSync>(group_id: &A, tree: &B) -> ();
        fn write_interim_transcript_hash<A: GroupId, B: InterimTranscriptHash>(group_id: &A, interim_transcript_hash: &B) -> ();
        fn write_context<A: GroupId, B: GroupContext>(group_id: &A, group_context: &B) -> ();
        fn write_confirmation_tag<A: GroupId, B: ConfirmationTag>(group_id: &A, confirmation_tag: &B) -> ();
        fn write_group_state<A: GroupState, B: GroupId>(group_id: &B, group_state: &A) -> ();
        fn write_resumption_psk_store<A: GroupId, B: ResumptionPskStore>(group_id: &A, resumption_psk_store: &B) -> ();
        fn write_own_leaf_index<A: GroupId, B: LeafNodeIndex>(group_id: &A, own_leaf_index: &B) -> ();
        fn write_group_epoch_secrets<A: GroupId, B: GroupEpochSecrets>(group_id: &A, group_epoch_secrets: &B) -> ();
        fn write_signature_key_pair<A: SignaturePublicKey, B: SignatureKeyPair>(public_key: &A, signature_key_pair: &B) -> ();
        fn write_encryption_key_pair<A: EncryptionKey, B: HpkeKeyPair>(public_key: &A, key_pair: &B) -> ();
        fn write_encryption_epoch_key_pairs<A: GroupId, B: EpochKey, C: HpkeKeyPair>(group_id: &A, epoch: &B, leaf_index: u32, key_pairs: &[C]) -> ();
        fn write_key_package<A: HashReference, B: KeyPackage>(hash_ref: &A, key_package: &B) -> ();
        fn write_psk<A: PskId, B: PskBundle>(psk_id: &A, psk: &B) -> ();
        fn mls_group_join_config<A: GroupId, B: MlsGroupJoinConfig>(group_id: &A) -> Option<B>;
        fn own_leaf_nodes<A: GroupId, B: LeafNode>(group_id: &A) -> Vec<B>;
        fn queued_proposal_refs<A: GroupId, B: ProposalRef>(group_id: &A) -> Vec<B>;
        fn queued_proposals<A: GroupId, B: ProposalRef, C: QueuedProposal>(group_id: &A) -> Vec<(B, C)>;
        fn tree<A: GroupId, B: TreeSync>(group_id: &A) -> Option<B>;
        fn group_context<A: GroupId, B: GroupContext>(group_id: &A) -> Option<B>;
        fn interim_transcript_hash<A: GroupId, B: InterimTranscriptHash>(group_id: &A) -> Option<B>;
        fn confirmation_tag<A: GroupId, B: ConfirmationTag>(group_id: &A) -> Option<B>;
        fn group_state<A: GroupState, B: GroupId>(group_id: &B) -> Option<A>;
        fn message_secrets<A: GroupId, B: MessageSecrets>(group_id: &A) -> Option<B>;
        fn resumption_psk_store<A: GroupId, B: ResumptionPskStore>(group_id: &A) -> Option<B>;
        fn own_leaf_index<A: GroupId, B: LeafNodeIndex>(group_id: &A) -> Option<B>;
        fn group_epoch_secrets<A: GroupId, B: GroupEpochSecrets>(group_id: &A) -> Option<B>;
        fn signature_key_pair<A: SignaturePublicKey, B: SignatureKeyPair>(public_key: &A) -> Option<B>;
        fn encryption_key_pair<A: HpkeKeyPair, B: EncryptionKey>(public_key: &B) -> Option<A>;
        fn encryption_epoch_key_pairs<A: GroupId, B: EpochKey, C: HpkeKeyPair>(group_id: &A, epoch: &B, leaf_index: u32) -> Vec<C>;
        fn key_package<A: HashReference, B: KeyPackage>(hash_ref: &A) -> Option<B>;
        fn psk<A: PskBundle, B: PskId>(psk_id: &B) -> Option<A>;
        fn remove_proposal<A: GroupId, B: ProposalRef>(group_id: &A, proposal_ref: &B) -> ();
        fn delete_own_leaf_nodes<A: GroupId>(group_id: &A) -> ();
        fn delete_group_config<A: GroupId>(group_id: &A) -> ();
        fn delete_tree<A: GroupId>(group_id: &A) -> ();
        fn delete_confirmation_tag<A: GroupId>(group_id: &A) -> ();
        fn delete_group_state<A: GroupId>(group_id: &A) -> ();
        fn delete_context<A: GroupId>(group_id: &A) -> ();
        fn delete_interim_transcript_hash<A: GroupId>(group_id: &A) -> ();
        fn delete_message_secrets<A: GroupId>(group_id: &A) -> ();
        fn delete_all_resumption_psk_secrets<A: GroupId>(group_id: &A) -> ();
        fn delete_own_leaf_index<A: GroupId>(group_id: &A) -> ();
        fn delete_group_epoch_secrets<A: GroupId>(group_id: &A) -> ();
        fn clear_proposal_queue<A: GroupId, B: ProposalRef>(group_id: &A) -> ();
        fn delete_signature_key_pair<A: SignaturePublicKey>(public_key: &A) -> ();
        fn delete_encryption_key_pair<A: EncryptionKey>(public_key: &A) -> ();
        fn delete_encryption_epoch_key_pairs<A: GroupId, B: EpochKey>(group_id: &A, epoch: &B, leaf_index: u32) -> ();
        fn delete_key_package<A: HashReference>(hash_ref: &A) -> ();
        fn delete_psk<A: PskId>(psk_id: &A) -> ();
    }
}
