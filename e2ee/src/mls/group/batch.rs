//! Many messages in one transaction: what openmls keeps of a group's messages is written once, not after each of them.
//!
//! The invariant: the transaction cannot be committed with an older state than that of the last message. A group borrows the
//! transaction, so it is dropped before the commit, and a batch that was not ended undoes the transaction then. This module must
//! not know what messages say.

use super::{Group, MlsError};
use crate::mls::provider::{Mls, Provider};
use openmls::prelude::PastEpochDeletion;

/// When the secrets of messages are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeping {
    /// With each message.
    AtOnce,
    /// At the end of the batch; whether there is anything to write.
    Later { due: bool },
    /// Never: a message of the batch has failed, and the transaction with it.
    Lost,
}

/// A batch, if there is one.
pub(super) struct Batch<'tx> {
    mls: &'tx Mls<'tx>,
    keeping: Keeping,
}

impl<'tx> Batch<'tx> {
    pub(super) fn none(mls: &'tx Mls<'tx>) -> Self {
        Self { mls, keeping: Keeping::AtOnce }
    }
}

impl Drop for Batch<'_> {
    /// Nobody commits what is older than what was read or sent, not even who forgets to end a batch.
    fn drop(&mut self) {
        if matches!(self.keeping, Keeping::Later { due: true } | Keeping::Lost) {
            self.mls.roll_back();
        }
    }
}

impl<'tx> Group<'tx> {
    /// From now on the secrets of messages are written once, by [`Group::end_batch`] or before a commit is read; a transaction in
    /// which that does not happen is undone. Should one of the messages fail, all of it must be undone: [`MlsError::Undone`].
    /// Whoever cannot be sure of all of them tries again without this.
    pub fn begin_batch(&mut self) {
        if self.batch.keeping == Keeping::AtOnce {
            self.batch.keeping = Keeping::Later { due: false };
        }
    }

    /// Writes what is left to write.
    ///
    /// # Errors
    /// [`MlsError::Database`]; [`MlsError::Undone`] after a message that failed.
    pub fn end_batch(&mut self) -> Result<(), MlsError> {
        self.write_batch()?;
        self.batch.keeping = Keeping::AtOnce;
        Ok(())
    }

    /// The same, and the batch goes on.
    pub(super) fn write_batch(&mut self) -> Result<(), MlsError> {
        match self.batch.keeping {
            Keeping::Lost => Err(MlsError::Undone),
            Keeping::Later { due: true } => {
                // No past epochs are kept, so this only writes.
                let written = self.mls.step(|provider| {
                    let nothing = PastEpochDeletion::delete_all();
                    self.group.delete_past_epoch_secrets(provider, nothing).map_err(MlsError::ours)
                });
                self.batch.keeping = if written.is_ok() { Keeping::Later { due: false } } else { Keeping::Lost };
                written
            }
            Keeping::AtOnce | Keeping::Later { due: false } => Ok(()),
        }
    }

    /// One step that changes nothing but the secrets of messages.
    pub(super) fn message_step<T>(
        &mut self,
        work: impl FnOnce(&mut Self, &Provider<'tx>) -> Result<T, MlsError>,
    ) -> Result<T, MlsError> {
        let due = match self.batch.keeping {
            Keeping::AtOnce => return self.step(work),
            Keeping::Later { due } => due,
            Keeping::Lost => return Err(MlsError::Undone),
        };
        let mls = self.mls;
        let (outcome, changed) = mls.step_without_message_secrets(|provider| work(self, provider));
        match outcome {
            Ok(value) => {
                self.batch.keeping = Keeping::Later { due: due || changed };
                Ok(value)
            }
            // The copy in memory may be ahead of what was read, and the database is behind it.
            Err(_) if due => {
                self.batch.keeping = Keeping::Lost;
                Err(MlsError::Undone)
            }
            Err(error) => {
                self.reload()?;
                Err(error)
            }
        }
    }
}
