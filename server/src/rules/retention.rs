//! How long things are kept that nobody fetches or uses, in days; 0 keeps them.

use crate::store::{Cutoffs, KEY_PACKAGE_MS};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// See the module. Attachments have a time of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Messages and commits, whoever has not fetched them.
    pub messages: u32,
    /// Welcomes and notices in devices' inboxes.
    pub inbox: u32,
    /// Invites that let nobody in any more.
    pub invites: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { messages: 30, inbox: 30, invites: 30 }
    }
}

impl Retention {
    /// What is too old now.
    pub(crate) fn cutoffs(self, now_ms: u64) -> Cutoffs {
        Cutoffs {
            entries_ms: before(now_ms, self.messages),
            inbox_ms: before(now_ms, self.inbox),
            invites_ms: before(now_ms, self.invites),
            key_packages_ms: now_ms.saturating_sub(KEY_PACKAGE_MS),
        }
    }
}

/// The moment so many days ago; 0 for 0 days.
pub(crate) fn before(now_ms: u64, days: u32) -> u64 {
    if days == 0 { 0 } else { now_ms.saturating_sub(u64::from(days) * DAY_MS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_counts_days_back_and_zero_keeps_everything() {
        let retention = Retention { messages: 30, inbox: 0, invites: 1 };
        let cutoffs = retention.cutoffs(100 * DAY_MS);
        assert_eq!((cutoffs.entries_ms, cutoffs.inbox_ms, cutoffs.invites_ms), (70 * DAY_MS, 0, 99 * DAY_MS));
        assert_eq!(retention.cutoffs(5).entries_ms, 0);
    }
}
