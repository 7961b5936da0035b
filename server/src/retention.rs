//! Forgetting: what is older than its retention time goes, whoever has it, and so do key packages that get too old and devices
//! that have been signed in, or silent, for too long.
//!
//! It runs beside the relay for as long as that serves, and must not know what it deletes.

use crate::{
    attachments::{AttachmentError, Attachments},
    connection::outbox::End,
    hub::Hub,
    relay::now_ms,
    rules::{Retention, SessionRules, days_before},
    store::{DeviceSummary, Expirable, SharedOperatorStore, SharedStore, StoreError},
};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::time::{Interval, MissedTickBehavior};

const EVERY: Duration = Duration::from_secs(60 * 60);
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// At once and then every hour.
fn hourly() -> Interval {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Expires at once and then every hour, until dropped. `retention` is how long things are kept at each time, `now_ms` the clock.
pub(crate) async fn run(store: SharedStore, retention: impl Fn() -> Retention, now_ms: impl Fn() -> u64) -> Infallible {
    let mut ticks = hourly();
    loop {
        ticks.tick().await;
        let now_ms = now_ms();
        match may_expire(&store, now_ms).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::info!("nothing is deleted for its age today: the server was away, or its clock was set");
                continue;
            }
            Err(error) => {
                tracing::error!(%error, "could not see what is too old");
                continue;
            }
        }
        match expire(&store, retention(), now_ms).await {
            Ok(Expirable { entries, inbox_items, invites, .. }) => {
                tracing::info!(entries, inbox_items, invites, "deleted what was too old");
            }
            Err(error) => tracing::error!(%error, "could not delete what is too old"),
        }
    }
}

/// Whether things may go for their age: not on the day on which the server is back. Those for whom they wait could not fetch them
/// while it was away; and where its clock was wrong, or is, they are not as old as they seem.
async fn may_expire(store: &SharedStore, now_ms: u64) -> Result<bool, StoreError> {
    let today = u32::try_from(now_ms / DAY_MS).unwrap_or(u32::MAX);
    Ok(store.note_alive(today).await? < today)
}

/// Deletes what is too old now, of every kind but attachments and devices; returns how much of what is counted.
pub(crate) async fn expire(store: &SharedStore, retention: Retention, now_ms: u64) -> Result<Expirable, StoreError> {
    let cutoffs = retention.cutoffs(now_ms);
    store.expire_key_packages(now_ms).await?;
    let mut gone = Expirable::default();
    if cutoffs.entries_ms > 0 {
        gone.entries = store.expire(cutoffs.entries_ms).await?;
    }
    if cutoffs.inbox_ms > 0 {
        gone.inbox_items = store.expire_inbox(cutoffs.inbox_ms).await?;
    }
    if cutoffs.invites_ms > 0 {
        gone.invites = store.expire_invites(cutoffs.invites_ms).await?;
    }
    store.forget_former_devices().await?;
    Ok(gone)
}

/// Deletes at once and then every hour the attachments whose time is over, with what is left of others; until dropped. `days` is
/// how long finished ones are kept.
pub(crate) async fn sweep(
    store: SharedStore,
    attachments: Attachments,
    days: impl Fn() -> u32,
    now_ms: impl Fn() -> u64,
) -> Infallible {
    let mut ticks = hourly();
    loop {
        ticks.tick().await;
        let now_ms = now_ms();
        // Whether it was away the other task says.
        if !may_expire(&store, now_ms).await.unwrap_or(false) {
            continue;
        }
        match sweep_once(&store, &attachments, days_before(now_ms, days()), now_ms.saturating_sub(DAY_MS)).await {
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

/// Whether a device has to log in anew. Its silence counts from `since_day` at the earliest.
fn is_stale(rules: &SessionRules, device: &DeviceSummary, since_day: u32, now_ms: u64) -> bool {
    let older = |since_ms: u64, days: u32| days > 0 && now_ms.saturating_sub(since_ms) > u64::from(days) * DAY_MS;
    // What is known is the day of its last connection; so that day counts to its end.
    let seen_ms = device.seen_day.map_or(device.created_ms, |day| (u64::from(day) + 1) * DAY_MS);
    let seen_ms = seen_ms.max(u64::from(since_day) * DAY_MS);
    older(device.created_ms, rules.lifetime_days) || older(seen_ms, rules.idle_days)
}

/// Signs out at once and then every hour the devices whose time is over, until dropped. `rules` are those at each time.
pub(crate) async fn sign_out_stale(
    store: SharedOperatorStore,
    hub: Arc<Hub>,
    rules: impl Fn() -> SessionRules,
) -> Infallible {
    let mut ticks = hourly();
    loop {
        ticks.tick().await;
        match sign_out(&store, &hub, &rules(), now_ms()).await {
            Ok(0) => {}
            Ok(devices) => tracing::info!(devices, "signed out devices whose time was over"),
            Err(error) => tracing::error!(%error, "could not sign out devices whose time is over"),
        }
    }
}

/// The devices whose time is over and that are not connected, or whose lifetime is. Notes for those that are connected that they
/// were seen today, since they sign in seldom.
pub(crate) async fn stale(
    store: &SharedOperatorStore,
    hub: &Hub,
    rules: &SessionRules,
    now_ms: u64,
) -> Result<Vec<(crate::store::AccountId, DeviceSummary)>, StoreError> {
    let today = u32::try_from(now_ms / DAY_MS).unwrap_or(u32::MAX);
    let since_day = store.note_alive(today).await?;
    let mut found = Vec::new();
    for account in store.accounts().await? {
        for device in store.devices(account.account).await? {
            let connected = !hub.sessions(device.device).is_empty();
            if connected && device.seen_day.is_none_or(|day| day < today) {
                store.seen(device.device, today).await?;
            }
            let rules = if connected { SessionRules { idle_days: 0, ..*rules } } else { *rules };
            if is_stale(&rules, &device, since_day, now_ms) {
                found.push((account.account, device));
            }
        }
    }
    Ok(found)
}

/// Signs them out; returns how many.
pub(crate) async fn sign_out(
    store: &SharedOperatorStore,
    hub: &Hub,
    rules: &SessionRules,
    now_ms: u64,
) -> Result<usize, StoreError> {
    let mut gone = 0;
    for (account, device) in stale(store, hub, rules, now_ms).await? {
        let devices = store.sign_out(account, Some(device.device)).await?;
        hub.cut(&devices, End::Removed);
        gone += devices.len();
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
        let stale = |seen_day, day: u64| is_stale(&rules, &device(seen_day), 0, day * DAY_MS);
        assert!(!stale(Some(100), 130) && stale(Some(100), 132));
        assert!(!stale(Some(185), 190) && stale(Some(190), 191));
        assert!(!stale(None, 130) && stale(None, 131));
        let never = SessionRules { lifetime_days: 0, idle_days: 0, ..rules };
        assert!(!is_stale(&never, &device(None), 0, u64::MAX));
        // Nobody was silent while the server was away.
        let silent = SessionRules { lifetime_days: 0, ..rules };
        assert!(!is_stale(&silent, &device(Some(100)), 500, 529 * DAY_MS));
        assert!(is_stale(&silent, &device(Some(100)), 500, 531 * DAY_MS));
    }
}
