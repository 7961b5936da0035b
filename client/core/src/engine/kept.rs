//! Groups that are kept in memory between the steps of the engine: those of the chats that are busy.
//!
//! The invariant: there are few. Whether one is still what the database has is not decided here, but where it is used.

use std::collections::VecDeque;
use waxwing_e2ee::mls::KeptGroup;

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

    /// Wipes them.
    pub(super) fn clear(&mut self) {
        self.groups.clear();
    }
}
