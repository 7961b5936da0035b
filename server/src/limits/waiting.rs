//! How much of what each account has sent waits to be fetched, so that nobody fills the disk.
//!
//! It is an estimate from above: what the database held when it was last measured, and all that was sent since, as if nobody had
//! fetched any of it. An account that comes near its limit makes the database be measured again. So no request costs a question
//! to the database, and a limit is passed by no more than what other processes on the same database take in meanwhile.
//! Invariants: its memory is bounded by the accounts that have something there; measuring takes a small part of the time.

use crate::store::{AccountId, SharedStore, StoreError};
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Notify;
use waxwing_protocol::{ErrorCode, Refusal};

/// How often it is measured if nobody comes near a limit.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// Between two measurements, at least; and at least so many times as long as one took.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSES: u32 = 9;
/// When a refused sender should try again, in milliseconds: others may have fetched by then.
const RETRY_MS: u32 = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    counts: Mutex<HashMap<AccountId, Count>>,
    due: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// In the database when it was measured.
    measured: u64,
    /// Sent while it was, so that it may be in that or not.
    meanwhile: u64,
    /// Sent since.
    since: u64,
}

impl Count {
    fn total(self) -> u64 {
        self.measured.saturating_add(self.meanwhile).saturating_add(self.since)
    }
}

impl Waiting {
    /// The account leaves so many bytes, if that stays within `limit`.
    pub(crate) fn take(&self, account: AccountId, bytes: u64, limit: u64) -> Result<(), Refusal> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(account).or_default();
        let left = limit.saturating_sub(count.total());
        // In time, so that whoever's messages are fetched never notices.
        if left < bytes || count.since > left.saturating_sub(bytes) {
            self.due.notify_one();
        }
        if bytes > left {
            let refusal = Refusal::retry_after(ErrorCode::WaitingFull, RETRY_MS);
            return Err(Refusal { number: Some(limit), ..refusal });
        }
        count.since += bytes;
        Ok(())
    }

    /// So many of them were not stored after all.
    pub(crate) fn give_back(&self, account: AccountId, bytes: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&account) {
            // What was taken before a measurement began is counted there.
            let since = count.since.min(bytes);
            count.since -= since;
            count.meanwhile = count.meanwhile.saturating_sub(bytes - since);
        }
    }

    /// Measures at once, then whenever it is due, until dropped.
    pub(crate) async fn measure_when_due(&self, store: SharedStore) -> Infallible {
        loop {
            let begun = Instant::now();
            if let Err(error) = self.measure(&store).await {
                tracing::error!(%error, "could not measure what waits to be fetched");
            }
            tokio::time::sleep(PAUSE.max(begun.elapsed() * PAUSES)).await;
            // A timeout means that it is time anyway.
            let _ = tokio::time::timeout(EVERY, self.due.notified()).await;
        }
    }

    async fn measure(&self, store: &SharedStore) -> Result<(), StoreError> {
        self.begin();
        let measured = store.waiting().await?;
        self.end(measured);
        Ok(())
    }

    fn begin(&self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for count in counts.values_mut() {
            // Until the end it stands beside what was measured before.
            count.meanwhile += std::mem::take(&mut count.since);
        }
    }

    fn end(&self, measured: Vec<(AccountId, u64)>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        // What was sent before the beginning is in the measurement. What came meanwhile may be: it stays counted until the next.
        for count in counts.values_mut() {
            *count = Count { measured: 0, meanwhile: std::mem::take(&mut count.since), since: 0 };
        }
        for (account, bytes) in measured {
            counts.entry(account).or_default().measured = bytes;
        }
        counts.retain(|_, count| count.total() > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: AccountId = AccountId(1);

    #[test]
    fn an_account_is_refused_at_its_limit_and_others_are_not() {
        let waiting = Waiting::default();
        waiting.take(ALICE, 60, 100).unwrap();
        let refused = waiting.take(ALICE, 41, 100).unwrap_err();
        assert_eq!((refused.code, refused.number), (ErrorCode::WaitingFull, Some(100)));
        assert!(refused.retry_after_ms.is_some());
        waiting.take(ALICE, 40, 100).unwrap();
        waiting.take(AccountId(2), 100, 100).unwrap();
        // A handshake has more room.
        waiting.take(ALICE, 25, 125).unwrap();
        waiting.give_back(ALICE, 30);
        waiting.take(ALICE, 5, 100).unwrap();
        assert!(waiting.take(ALICE, 1, 100).is_err());
    }

    #[test]
    fn a_measurement_forgets_what_was_fetched_and_never_what_is_on_its_way() {
        let waiting = Waiting::default();
        waiting.take(ALICE, 90, 100).unwrap();
        waiting.begin();
        waiting.take(ALICE, 10, 100).unwrap();
        assert!(waiting.take(ALICE, 1, 100).is_err(), "while it is measured, nothing is forgotten");
        waiting.end(vec![(ALICE, 20)]);
        // 20 were measured, and 10 may be among them or not.
        waiting.take(ALICE, 70, 100).unwrap();
        assert!(waiting.take(ALICE, 1, 100).is_err());
        // All was fetched.
        waiting.begin();
        waiting.end(Vec::new());
        waiting.begin();
        waiting.end(Vec::new());
        assert!(waiting.counts.lock().unwrap().is_empty());
        // After a start it is known only by measuring.
        waiting.begin();
        waiting.end(vec![(ALICE, 100)]);
        assert!(waiting.take(ALICE, 1, 100).is_err());
    }

    #[tokio::test]
    async fn whoever_comes_near_the_limit_has_it_measured() {
        let waiting = Waiting::default();
        waiting.take(ALICE, 40, 100).unwrap();
        assert!(tokio::time::timeout(Duration::ZERO, waiting.due.notified()).await.is_err());
        waiting.take(ALICE, 30, 100).unwrap();
        tokio::time::timeout(Duration::ZERO, waiting.due.notified()).await.unwrap();
    }
}
