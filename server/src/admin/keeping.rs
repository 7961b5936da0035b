//! How much there is, of whom, and what of it is tidied up: `stats`, `gc`, quotas, files.
//!
//! Invariant: what a dry run counts is what a run deletes. It must not know how answers are printed.

use super::{Answer, Files, Garbage, Operator, Problem, Stats, Usage};
use crate::{
    attachments::{AttachmentError, Attachments},
    install::{Config, YesNo, open_attachments},
    relay::now_ms,
    retention::{expire, sign_out, stale, sweep_once},
    rules::days_before,
    store::{AccountSummary, SharedStore},
};
use std::sync::Arc;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

impl Operator {
    pub(super) async fn usage(&self, account: &AccountSummary) -> Result<Usage, Problem> {
        let (taken, quotas) = (self.store.usage(account.account).await?, Quotas::of(&self.config()));
        Ok(Usage {
            waiting_bytes: taken.waiting,
            waiting_quota: quotas.waiting,
            attachment_bytes: taken.attachments,
            attachment_quota: quotas.attachments,
            backup_bytes: taken.backup,
            backup_quota: quotas.backup,
        })
    }

    pub(super) async fn stats(&self) -> Result<Answer, Problem> {
        let all = self.store.statistics().await?;
        let (attachments, attachment_bytes) = self.store.count_attachments(u64::MAX, u64::MAX).await?;
        let config = self.config();
        let quotas = Quotas::of(&config);
        let database = match config.in_memory {
            YesNo::Yes => "memory".to_owned(),
            YesNo::No => config.database.to_string(),
        };
        Ok(Answer::Stats(Stats {
            version: env!("CARGO_PKG_VERSION").into(),
            database,
            running: self.live.is_some(),
            uptime_seconds: self.live.as_ref().map(|live| live.started.elapsed().as_secs()),
            connections: self.live.as_ref().map(|live| live.hub.count()),
            accounts: all.accounts,
            disabled: all.disabled,
            devices: all.devices,
            conversations: all.conversations,
            entries: all.entries,
            entry_bytes: all.entry_bytes,
            inbox_items: all.inbox_items,
            attachments,
            attachment_bytes,
            backups: all.backups,
            backup_bytes: all.backup_bytes,
            key_packages: all.key_packages,
            database_bytes: all.database_bytes,
            waiting_quota: quotas.waiting,
            attachment_quota: quotas.attachments,
            backup_quota: quotas.backup,
        }))
    }

    /// Where the files lie.
    fn attachments(&self) -> Result<Attachments, Problem> {
        let environment = |name: &str| std::env::var(name).ok();
        open_attachments(&self.folder, &self.config(), environment, false)
            .map_err(|error| Problem::user("attachments", error.to_string(), error.next()))
    }

    fn unusable(&self, error: &AttachmentError) -> Problem {
        let place = self.config().attachment_place.store.to_string();
        Problem::user("attachments", format!("cannot use the files ({place}): {error}"), "see: waxwing-server doctor")
    }

    /// Compares the files with what the database knows.
    pub(super) async fn files(&self) -> Result<Answer, Problem> {
        let store = Arc::clone(&self.store) as SharedStore;
        let found = self.attachments()?.inventory(&store).await.map_err(|error| self.unusable(&error))?;
        Ok(Answer::Attachments(Files {
            place: self.config().attachment_place.store.to_string(),
            present: found.present,
            orphans: found.orphans,
            missing: found.missing,
            foreign: found.foreign,
        }))
    }

    /// Deletes the files whose time is over, and what is left of others; or only counts them.
    async fn collect_attachments(&self, dry_run: bool) -> Result<u64, Problem> {
        let now_ms = now_ms();
        let finished_ms = days_before(now_ms, self.config().attachments.days);
        let begun_ms = now_ms.saturating_sub(DAY_MS);
        if dry_run {
            return Ok(self.store.count_attachments(finished_ms, begun_ms).await?.0);
        }
        let attachments = self.attachments()?;
        let store = Arc::clone(&self.store) as SharedStore;
        let swept = sweep_once(&store, &attachments, finished_ms, begun_ms).await;
        let (expired, orphans) = swept.map_err(|error| self.unusable(&error))?;
        Ok(expired + orphans)
    }

    pub(super) async fn collect_garbage(&self, dry_run: bool) -> Result<Answer, Problem> {
        let (config, now_ms) = (self.config(), now_ms());
        let retention = config.retention;
        let found = self.store.expirable(retention.cutoffs(now_ms)).await?;
        let attachments = self.collect_attachments(dry_run).await?;
        let devices = match &self.live {
            Some(live) if dry_run => Some(stale(&self.store, &live.hub, &config.policy.sessions, now_ms).await?.len()),
            Some(live) => Some(sign_out(&self.store, &live.hub, &config.policy.sessions, now_ms).await?),
            None => None,
        };
        let mut garbage = Garbage {
            dry_run,
            retention_days: retention.messages,
            entries: found.entries,
            bytes: found.bytes,
            inbox_days: retention.inbox,
            inbox_items: found.inbox_items,
            attachment_days: config.attachments.days,
            attachments,
            invite_days: retention.invites,
            invites: found.invites,
            key_packages: found.key_packages,
            idle_days: config.policy.sessions.idle_days,
            devices: devices.map(|count| count as u64),
        };
        if !dry_run {
            let store = Arc::clone(&self.store) as SharedStore;
            let gone = expire(&store, retention, now_ms).await?;
            (garbage.entries, garbage.inbox_items) = (gone.entries, gone.inbox_items);
            garbage.invites = gone.invites;
        }
        Ok(Answer::Garbage(garbage))
    }
}

/// What one account may take, in bytes.
struct Quotas {
    waiting: u64,
    attachments: u64,
    backup: u64,
}

impl Quotas {
    fn of(config: &Config) -> Self {
        Self {
            waiting: u64::from(config.waiting_quota_mib) << 20,
            attachments: config.kept_attachments().quota,
            backup: u64::from(config.backup_quota_mib) << 20,
        }
    }
}
