//! What can go wrong with a group, classed by whose fault it is.

use super::Refused;
use openmls::prelude::{ProcessMessageError, ValidationError};
use std::error::Error;

/// Why a call on a group failed. Nothing has changed, neither in the database nor in the group.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MlsError {
    /// The rules of the group forbid it; all honest members come to the same verdict.
    #[error("refused: {0}")]
    Refused(#[from] Refused),
    /// The identity key of a leaf is not at hand: fetch it and call again.
    #[error("the identity key of {username} is not known yet")]
    UnknownIdentity {
        /// The account.
        username: String,
        /// SHA-256 of its identity key.
        fingerprint: [u8; 32],
    },
    /// The identity keys of these accounts of a group that was to be entered are not at hand: fetch them and call again.
    #[error("the identity keys of {} members are not known yet", .0.len())]
    UnknownIdentities(Vec<String>),
    /// The entry cannot be decrypted here: it is of another epoch, was read before, or is not for this member.
    #[error("cannot be decrypted in this epoch")]
    NotThisEpoch,
    /// The join key does not open the state of the group: it was replaced when a device was removed.
    #[error("the key to join this conversation was replaced")]
    WrongJoinKey,
    /// Not an MLS message, or not of the kind that belongs there.
    #[error("not a message of this group")]
    Malformed,
    /// MLS itself forbids the entry: a bad signature, say.
    #[error("invalid MLS message: {0}")]
    Invalid(#[source] Box<dyn Error + Send + Sync>),
    /// Our own database failed.
    #[error("database: {0}")]
    Database(#[from] rusqlite::Error),
    /// The tables of MLS could not be made or brought up to date.
    #[error("migrating the MLS tables: {0}")]
    Migration(#[source] Box<dyn Error + Send + Sync>),
    /// Another commit of ours still waits for the server's verdict.
    #[error("a change of the group is still pending")]
    CommitPending,
    /// A message of a batch could not be read or made, and all of it has to be undone: see [`super::Group::begin_batch`].
    #[error("the batch is undone")]
    Undone,
    /// MLS cannot do what we asked for.
    #[error("MLS: {0}")]
    Mls(#[source] Box<dyn Error + Send + Sync>),
}

impl MlsError {
    /// Whether what a peer sent is to blame: then it is skipped, visibly, and the next entry may still be good.
    /// Otherwise the transaction must be rolled back and, later, everything tried again.
    pub fn is_fault_of_entry(&self) -> bool {
        match self {
            Self::Refused(_) | Self::NotThisEpoch | Self::WrongJoinKey | Self::Malformed | Self::Invalid(_) => true,
            Self::UnknownIdentity { .. }
            | Self::UnknownIdentities(_)
            | Self::Database(_)
            | Self::Migration(_)
            | Self::CommitPending
            | Self::Undone
            | Self::Mls(_) => false,
        }
    }

    /// An error of something that we wanted ourselves.
    pub(super) fn ours(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Mls(Box::new(error))
    }

    /// An error about bytes of a peer.
    pub(super) fn theirs(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Invalid(Box::new(error))
    }

    /// An error of reading one entry.
    pub(super) fn reading<E: Error + Send + Sync + 'static>(error: ProcessMessageError<E>) -> Self {
        match error {
            ProcessMessageError::ValidationError(ValidationError::WrongEpoch | ValidationError::UnableToDecrypt(_)) => {
                Self::NotThisEpoch
            }
            ProcessMessageError::ValidationError(ValidationError::WrongGroupId) => Self::Malformed,
            other => Self::theirs(other),
        }
    }
}
