//! A group between two transactions: loading a large one costs more than reading a message.
//!
//! The invariant: a kept group is used only while the database has exactly the state that it had when the group was kept. The
//! database itself says so: whatever is written of a group gives it a new random stamp, in the same transaction. This module must
//! not know who keeps groups, nor for how long.

use super::{Batch, Group, MlsError};
use crate::mls::{GroupRules, provider::Mls, storage::encoded};
use openmls::prelude::{GroupId, MlsGroup};
use rusqlite::{Connection, OptionalExtension as _};
use std::fmt;

/// Follows what openmls writes of groups.
const STAMPS: &str = "
    CREATE TABLE IF NOT EXISTS openmls_group_stamps (group_id BLOB PRIMARY KEY, stamp BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TRIGGER IF NOT EXISTS openmls_group_data_added AFTER INSERT ON openmls_group_data BEGIN
        INSERT OR REPLACE INTO openmls_group_stamps VALUES (new.group_id, randomblob(16));
    END;
    CREATE TRIGGER IF NOT EXISTS openmls_group_data_changed AFTER UPDATE ON openmls_group_data BEGIN
        INSERT OR REPLACE INTO openmls_group_stamps VALUES (new.group_id, randomblob(16));
    END;
    CREATE TRIGGER IF NOT EXISTS openmls_group_data_deleted AFTER DELETE ON openmls_group_data BEGIN
        DELETE FROM openmls_group_stamps WHERE group_id = old.group_id;
    END;";

/// Has the database note what changes of groups from now on.
pub(in crate::mls) fn migrate(db: &Connection) -> Result<(), rusqlite::Error> {
    db.execute_batch(STAMPS)
}

/// A group that was kept. It holds its secrets, which are wiped when it is dropped.
pub struct KeptGroup {
    group: MlsGroup,
    id: [u8; 16],
    rules: GroupRules,
    stamp: Vec<u8>,
}

impl fmt::Debug for KeptGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptGroup").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<'tx> Group<'tx> {
    /// The group as it is now, for another transaction once this one is committed. None if the database has no stamp of it.
    ///
    /// # Errors
    /// Those of [`Group::end_batch`], which this does.
    pub fn keep(mut self) -> Result<Option<KeptGroup>, MlsError> {
        self.end_batch()?;
        let stamp = stamp(self.mls, &self.id)?;
        let Self { group, id, rules, .. } = self;
        Ok(stamp.map(|stamp| KeptGroup { group, id, rules, stamp }))
    }

    /// As [`Group::load`], from `kept` if the database still has that state.
    ///
    /// # Errors
    /// [`MlsError::Database`].
    pub fn resume(mls: &'tx Mls<'tx>, id: &[u8; 16], kept: Option<KeptGroup>) -> Result<Option<Self>, MlsError> {
        match kept {
            Some(kept) if kept.id == *id && stamp(mls, id)?.is_some_and(|stamp| stamp == kept.stamp) => {
                let KeptGroup { group, id, rules, .. } = kept;
                Ok(Some(Self { mls, group, id, rules, invited_by: None, batch: Batch::none(mls) }))
            }
            _ => Self::load(mls, id),
        }
    }
}

fn stamp(mls: &Mls<'_>, id: &[u8; 16]) -> Result<Option<Vec<u8>>, MlsError> {
    let id = encoded(&GroupId::from_slice(id)).map_err(MlsError::ours)?;
    let mut query = mls.tx().prepare_cached("SELECT stamp FROM openmls_group_stamps WHERE group_id = ?1")?;
    Ok(query.query_row([id], |row| row.get(0)).optional()?)
}
