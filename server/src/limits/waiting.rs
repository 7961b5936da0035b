//! How much of what each account has sent waits to be fetched, so that nobody fills the disk.
//!
//! It is an estimate from above: what the database held when it was last measured, and all that was sent since, as if nobody had
//! fetched any of it. An account that comes near its limit makes the database be measured again. So no request costs a question
//! to the database, and a limit is passed by no more than what other processes on the same database take in until they tell it,
//! about a second later.
//! Invariants: its memory is bounded by the accounts that have something there; measuring takes a small part of the time.

use super::sharing::{Ledger, Place};
use crate::store::{AccountId, SharedStore, StoreError};
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
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
    ledger: Arc<Ledger>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// In the database when it was measured.
    measured: u64,
    /// Stored while it was, or before the measurement that goes on: it may be in that or not.
    meanwhile: u64,
    /// Stored since.
    since: u64,
    /// On its way.
    begun: u64,
}

impl Count {
    fn total(self) -> u64 {
        [self.meanwhile, self.since, self.begun].into_iter().fold(self.measured, u64::saturating_add)
    }
}

/// Bytes on their way. They count as stored when this is dropped, unless they were [given back](Self::give_back).
#[must_use]
#[derive(Debug)]
pub(crate) struct Begun<'a> {
    waiting: &'a Waiting,
    account: AccountId,
    bytes: u64,
    stored: bool,
}

impl Begun<'_> {
    /// They were not stored after all.
    pub(crate) fn give_back(mut self) {
        self.stored = false;
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let mut counts = self.waiting.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(self.account).or_default();
        count.begun = count.begun.saturating_sub(self.bytes);
        if self.stored {
            count.since = count.since.saturating_add(self.bytes);
            drop(counts);
            let bytes = i32::try_from(self.bytes).unwrap_or(i32::MAX);
            self.waiting.ledger.note(Place::Waiting(self.account), bytes);
        }
    }
}

impl Waiting {
    /// Knows of nothing yet.
    pub(super) fn new(ledger: &Arc<Ledger>) -> Self {
        Self { ledger: Arc::clone(ledger), ..Self::default() }
    }

    /// The account left so much at another server. If that was measured meanwhile it counts twice, until the next measurement.
    pub(super) fn take_too(&self, account: AccountId, bytes: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let since = &mut counts.entry(account).or_default().since;
        *since = since.saturating_add(bytes);
    }

    /// The account leaves so many bytes, if that stays within `limit`.
    pub(crate) fn take(&self, account: AccountId, bytes: u64, limit: u64) -> Result<Begun<'_>, Refusal> {
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
        count.begun += bytes;
        Ok(Begun { waiting: self, account, bytes, stored: true })
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
        // What was stored before the beginning is in the measurement. What came meanwhile may be: it stays counted until the next.
        for count in counts.values_mut() {
            *count = Count { measured: 0, meanwhile: count.since, since: 0, begun: count.begun };
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

    fn store(waiting: &Waiting, account: AccountId, bytes: u64, limit: u64) -> Result<(), Refusal> {
        waiting.take(account, bytes, limit).map(drop)
    }

    #[test]
    fn an_account_is_refused_at_its_limit_and_others_are_not() {
        let waiting = Waiting::default();
        store(&waiting, ALICE, 60, 100).unwrap();
        let refused = store(&waiting, ALICE, 41, 100).unwrap_err();
        assert_eq!((refused.code, refused.number), (ErrorCode::WaitingFull, Some(100)));
        assert!(refused.retry_after_ms.is_some());
        let begun = waiting.take(ALICE, 40, 100).unwrap();
        assert!(store(&waiting, ALICE, 1, 100).is_err(), "what is on its way counts");
        store(&waiting, AccountId(2), 100, 100).unwrap();
        // A handshake has more room.
        store(&waiting, ALICE, 25, 125).unwrap();
        begun.give_back();
        store(&waiting, ALICE, 15, 100).unwrap();
        assert!(store(&waiting, ALICE, 1, 100).is_err());
    }

    #[test]
    fn a_measurement_forgets_what_was_fetched_and_never_what_is_on_its_way() {
        let waiting = Waiting::default();
        store(&waiting, ALICE, 70, 100).unwrap();
        let slow = waiting.take(ALICE, 20, 100).unwrap();
        waiting.begin();
        store(&waiting, ALICE, 10, 100).unwrap();
        assert!(store(&waiting, ALICE, 1, 100).is_err(), "while it is measured, nothing is forgotten");
        waiting.end(vec![(ALICE, 20)]);
        // 20 were measured, 10 may be among them or not, 20 are on their way still.
        assert!(store(&waiting, ALICE, 51, 100).is_err());
        store(&waiting, ALICE, 50, 100).unwrap();
        drop(slow);
        assert!(store(&waiting, ALICE, 1, 100).is_err());
        // All was fetched.
        waiting.begin();
        waiting.end(Vec::new());
        waiting.begin();
        waiting.end(Vec::new());
        assert!(waiting.counts.lock().unwrap().is_empty());
        // After a start it is known only by measuring.
        waiting.begin();
        waiting.end(vec![(ALICE, 100)]);
        assert!(store(&waiting, ALICE, 1, 100).is_err());
    }

    #[tokio::test]
    async fn whoever_comes_near_the_limit_has_it_measured() {
        let waiting = Waiting::default();
        store(&waiting, ALICE, 40, 100).unwrap();
        assert!(tokio::time::timeout(Duration::ZERO, waiting.due.notified()).await.is_err());
        store(&waiting, ALICE, 30, 100).unwrap();
        tokio::time::timeout(Duration::ZERO, waiting.due.notified()).await.unwrap();
    }

    #[test]
    fn what_an_account_leaves_at_another_server_counts_until_it_is_measured() {
        let data_key = crate::sealing::DataKey::from_bytes([1; 32]);
        let (here, there) = (super::super::Limiter::new(&data_key), super::super::Limiter::new(&data_key));
        assert!(there.taken().is_empty());
        store(&there.waiting, ALICE, 40, 100).unwrap();
        store(&there.waiting, ALICE, 20, 100).unwrap();
        there.waiting.take(ALICE, 30, 100).unwrap().give_back();
        here.take_too(&crate::rules::Limits::default(), &there.taken());
        assert!(store(&here.waiting, ALICE, 41, 100).is_err());
        store(&here.waiting, ALICE, 40, 100).unwrap();
        here.waiting.begin();
        here.waiting.end(vec![(ALICE, 40)]);
        store(&here.waiting, ALICE, 60, 100).unwrap();
        assert!(store(&here.waiting, ALICE, 1, 100).is_err());
    }
}
