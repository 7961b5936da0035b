//! Groups that are kept in memory between the steps of the engine: those of the chats that are busy.
//!
//! The invariant: there are few. Whether one is still what the database has is not decided here, but where it is used.

use super::creation;
use crate::{Error, store};
use rusqlite::Connection as Database;
use std::collections::VecDeque;
use waxwing_e2ee::mls::{Group, KeptGroup, Mls};

/// Groups of hundreds of devices take a megabyte each.
const MOST: usize = 8;

/// See the module.
#[derive(Default)]
pub(super) struct Kept {
    /// By the ids of their conversations, those used last at the end.
    groups: VecDeque<([u8; 16], KeptGroup)>,
}

impl Kept {
    /// Takes one out, to be used.
    pub(super) fn take(&mut self, conversation: &[u8; 16]) -> Option<KeptGroup> {
        let place = self.groups.iter().position(|(id, _)| id == conversation)?;
        self.groups.remove(place).map(|(_, group)| group)
    }

    /// Puts one back, after the commit of the transaction in which it was used.
    pub(super) fn put(&mut self, conversation: [u8; 16], group: Option<KeptGroup>) {
        let Some(group) = group else { return };
        self.groups.retain(|(id, _)| *id != conversation);
        if self.groups.len() >= MOST {
            self.groups.pop_front();
        }
        self.groups.push_back((conversation, group));
    }

    /// Looks at one, or changes it, in a transaction of its own; it stays at hand.
    pub(super) fn with<T>(
        &mut self,
        db: &mut Database,
        conversation: &[u8; 16],
        work: impl FnOnce(&Database, &mut Group<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let kept = self.take(conversation);
        let (value, kept) = store::in_transaction(db, |tx| {
            let mls = Mls::new(tx);
            let mut group = creation::resume(&mls, conversation, kept)?;
            let value = work(tx, &mut group)?;
            Ok::<_, Error>((value, group.keep().map_err(|error| crate::mls_error(&error))?))
        })?;
        self.put(*conversation, kept);
        Ok(value)
    }

    /// Wipes them.
    pub(super) fn clear(&mut self) {
        self.groups.clear();
    }
}
