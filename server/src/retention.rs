//! Forgetting: what is older than the retention time goes, whoever has it, and so do key packages that get too old and
//! devices that have been signed in for too long.
//!
//! It runs beside the relay for as long as that serves, and must not know what it deletes.

use crate::{
    attachments::{AttachmentError, Attachments},
    connection::outbox::End,
    hub::Hub,
    relay::now_ms,
    rules::SessionRules,
    store::{DeviceSummary, SharedOperatorStore, SharedStore, StoreError},
};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::time::MissedTickBehavior;

const EVERY: Duration = Duration::from_secs(60 * 60);
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The moment before which everything goes, in milliseconds since 1970; none if everything stays (0 days).
fn cutoff(now_ms: u64, days: u32) -> Option<u64> {
    (days > 0).then(|| now_ms.saturating_sub(u64::from(days) * DAY_MS))
}

/// Expires at once and then every hour, until dropped. `days` is the retention time at each time, `now_ms` the clock.
pub(crate) async fn run(store: SharedStore, days: impl Fn() -> u32, now_ms: impl Fn() -> u64) -> Infallible {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now_ms = now_ms();
        if let Err(error) = store.expire_key_packages(now_ms).await {
            tracing::error!(%error, "could not expire old key packages");
        }
        let Some(before_ms) = cutoff(now_ms, days()) else { continue };
        match store.expire(before_ms).await {
            Ok(entries) => tracing::info!(entries, "expired old entries"),
            Err(error) => tracing::error!(%error, "could not expire old entries"),
        }
    }
}

/// Deletes at once and then every hour the attachments whose time is over, with what is left of others; until dropped. `days` is how
/// long finished ones are kept.
pub(crate) async fn sweep(
    store: SharedStore,
    attachments: Attachments,
    days: impl Fn() -> u32,
    now_ms: impl Fn() -> u64,
) -> Infallible {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now_ms = now_ms();
        let finished = cutoff(now_ms, days()).unwrap_or(0);
        match sweep_once(&store, &attachments, finished, now_ms.saturating_sub(DAY_MS)).await {
            Ok((0, 0)) => {}
            Ok((expired, orphans)) => tracing::info!(expired, orphans, "deleted attachments"),
            Err(error) => tracing::error!(%error, "could not delete old attachments"),
        }
    }
}

/// Deletes the attachments that were finished before one moment, or begun before the other and never finished, and whatever the
/// database does not know. Returns how many of each.
pub(crate) async fn sweep_once(
    store: &SharedStore,
    attachments: &Attachments,
    finished_ms: u64,
    begun_ms: u64,
) -> Result<(u64, u64), AttachmentError> {
    let expired = store.expire_attachments(finished_ms, begun_ms).await?;
    attachments.sweep(store).await?;
    Ok((expired, attachments.delete_orphans(store).await?))
}

/// Whether a device has to log in anew.
fn is_stale(rules: &SessionRules, device: &DeviceSummary, now_ms: u64) -> bool {
    let older = |since_ms: u64, days: u32| days > 0 && now_ms.saturating_sub(since_ms) > u64::from(days) * DAY_MS;
    // A device that is connected all the time signs in seldom; so its day counts to its end.
    let seen_ms = device.seen_day.map_or(device.created_ms, |day| (u64::from(day) + 1) * DAY_MS);
    older(device.created_ms, rules.lifetime_days) || older(seen_ms, rules.idle_days)
}

/// Signs out at once and then every hour the devices whose time is over, until dropped. `rules` are those at each time.
pub(crate) async fn sign_out_stale(
    store: SharedOperatorStore,
    hub: Arc<Hub>,
    rules: impl Fn() -> SessionRules,
) -> Infallible {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let rules = rules();
        if rules.lifetime_days == 0 && rules.idle_days == 0 {
            continue;
        }
        match sign_out(&store, &hub, &rules, now_ms()).await {
            Ok(0) => {}
            Ok(devices) => tracing::info!(devices, "signed out devices whose time was over"),
            Err(error) => tracing::error!(%error, "could not sign out devices whose time is over"),
        }
    }
}

async fn sign_out(
    store: &SharedOperatorStore,
    hub: &Hub,
    rules: &SessionRules,
    now_ms: u64,
) -> Result<usize, StoreError> {
    let mut gone = 0;
    for account in store.accounts().await? {
        for device in store.devices(account.account).await? {
            // Whoever is connected is in use; other servers on the database know it by the day.
            let connected = !hub.sessions(device.device).is_empty();
            let today = u32::try_from(now_ms / DAY_MS).unwrap_or(u32::MAX);
            if connected && device.seen_day != Some(today) {
                store.seen(device.device, today).await?;
            }
            let rules = if connected { SessionRules { idle_days: 0, ..*rules } } else { *rules };
            if is_stale(&rules, &device, now_ms) {
                let devices = store.sign_out(account.account, Some(device.device)).await?;
                hub.cut(&devices, End::Removed);
                gone += devices.len();
            }
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_protocol::DeviceId;

    #[test]
    fn a_device_is_stale_by_its_age_or_by_its_silence() {
        let rules = SessionRules { lifetime_days: 90, idle_days: 30, ..SessionRules::default() };
        let device = |seen_day| DeviceSummary { device: DeviceId([1; 16]), created_ms: 100 * DAY_MS, seen_day };
        let stale = |seen_day, day: u64| is_stale(&rules, &device(seen_day), day * DAY_MS);
        assert!(!stale(Some(100), 130) && stale(Some(100), 132));
        assert!(!stale(Some(185), 190) && stale(Some(190), 191));
        assert!(!stale(None, 130) && stale(None, 131));
        assert!(!is_stale(&SessionRules::default(), &device(None), u64::MAX));
    }

    #[test]
    fn retention_counts_days_back_and_zero_keeps_everything() {
        assert_eq!(cutoff(40 * 86_400_000, 30), Some(10 * 86_400_000));
        assert_eq!(cutoff(5, 30), Some(0));
        assert_eq!(cutoff(u64::MAX, 0), None);
    }
}
