//! What the store tells and deletes by its age and by whose it is: devices, what waits, what is too old.
//!
//! Invariants: what waits is counted for the account whose device has sent it, also after that device was removed; nothing is
//! deleted that is not as old as was said. It must not know how long things are to be kept.

use super::{AccountId, StoreError};
use async_trait::async_trait;
use waxwing_protocol::DeviceId;

/// What is too old: everything before these moments, in milliseconds since 1970; 0 keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cutoffs {
    /// Entries of logs: when they were stored.
    pub entries_ms: u64,
    /// Items in inboxes: when they were stored.
    pub inbox_ms: u64,
    /// Invites that let nobody in any more: when they ended, or were made if they are used up.
    pub invites_ms: u64,
    /// Key packages: when they were stored.
    pub key_packages_ms: u64,
}

/// How much of it there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expirable {
    /// Entries of logs.
    pub entries: u64,
    /// Their payloads, in bytes.
    pub bytes: u64,
    /// Items in inboxes.
    pub inbox_items: u64,
    /// Invites.
    pub invites: u64,
    /// One-time key packages.
    pub key_packages: u64,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSummary {
    /// Its id.
    pub device: DeviceId,
    /// When it was enrolled, milliseconds since 1970.
    pub created_ms: u64,
    /// The last day on which it signed in, counted from 1970.
    pub seen_day: Option<u32>,
}

/// What an account takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// What it has left in conversations for others to fetch.
    pub waiting: u64,
    /// Its attachments.
    pub attachments: u64,
    /// Its backup.
    pub backup: u64,
}

/// The part of a store that forgets.
#[async_trait]
pub trait KeepingStore: Send + Sync + 'static {
    /// The devices of an account, oldest first.
    async fn devices(&self, account: AccountId) -> Result<Vec<DeviceSummary>, StoreError>;
    /// What each account has left in conversations, in bytes: entries that wait, welcomes, states of groups. It reads all of
    /// them, so it may take seconds.
    async fn waiting(&self) -> Result<Vec<(AccountId, u64)>, StoreError>;
    /// Forgets whose the removed devices were of which nothing waits any more.
    async fn forget_former_devices(&self) -> Result<(), StoreError>;
    /// Notes that the server runs on this day, counted from 1970. Returns the day from which the silence of devices counts: the
    /// first one after the server was last away.
    async fn note_alive(&self, day: u32) -> Result<u32, StoreError>;
    /// Deletes items of inboxes that were stored before this moment, whoever has them; returns how many.
    async fn expire_inbox(&self, before_ms: u64) -> Result<u64, StoreError>;
    /// Deletes invites that ended before this moment, and used ones that were made before it; returns how many.
    async fn expire_invites(&self, before_ms: u64) -> Result<u64, StoreError>;
}

/// From which day on silence counts, if the server runs `today` and was last known to run on `alive`; `before` is what held then.
pub(super) fn silence_counts_from(alive: Option<u32>, before: Option<u32>, today: u32) -> u32 {
    match (alive, before) {
        // It was there yesterday, or is there since. A clock that was set back must not make anybody's silence longer.
        (Some(alive), Some(before)) if alive <= today && today - alive <= 1 => before,
        // It has only begun: it was never away.
        (None, _) => today.saturating_sub(1),
        _ => today,
    }
}

#[cfg(test)]
mod tests {
    use super::silence_counts_from;

    #[test]
    fn silence_counts_while_the_server_is_there() {
        assert_eq!(silence_counts_from(None, None, 100), 99);
        assert_eq!(silence_counts_from(Some(100), Some(40), 100), 40);
        assert_eq!(silence_counts_from(Some(100), Some(40), 101), 40);
        assert_eq!(silence_counts_from(Some(100), Some(40), 102), 102, "it was away for a day");
        assert_eq!(silence_counts_from(Some(9999), Some(9999), 103), 103, "the clock was wrong");
    }
}
