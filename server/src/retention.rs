//! Forgetting: what is older than the retention time goes, whoever has it, and so do key packages that get too old.
//!
//! It runs beside the relay for as long as that serves, and must not know what it deletes.

use crate::store::SharedStore;
use std::{convert::Infallible, time::Duration};
use tokio::time::MissedTickBehavior;

const EVERY: Duration = Duration::from_secs(60 * 60);
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The moment before which everything goes, in milliseconds since 1970; none if everything stays (0 days).
fn cutoff(now_ms: u64, days: u32) -> Option<u64> {
    (days > 0).then(|| now_ms.saturating_sub(u64::from(days) * DAY_MS))
}

/// Expires at once and then every hour, until dropped. `now_ms` is the clock.
pub(crate) async fn run(store: SharedStore, days: u32, now_ms: impl Fn() -> u64) -> Infallible {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now_ms = now_ms();
        if let Err(error) = store.expire_key_packages(now_ms).await {
            tracing::error!(%error, "could not expire old key packages");
        }
        let Some(before_ms) = cutoff(now_ms, days) else { continue };
        match store.expire(before_ms).await {
            Ok(entries) => tracing::info!(entries, "expired old entries"),
            Err(error) => tracing::error!(%error, "could not expire old entries"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::cutoff;

    #[test]
    fn retention_counts_days_back_and_zero_keeps_everything() {
        assert_eq!(cutoff(40 * 86_400_000, 30), Some(10 * 86_400_000));
        assert_eq!(cutoff(5, 30), Some(0));
        assert_eq!(cutoff(u64::MAX, 0), None);
    }
}
