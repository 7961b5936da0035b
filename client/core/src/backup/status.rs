//! How the backup stands, in words and numbers for users.

use crate::{
    Error,
    account::now_ms,
    backup::{Range, Ranges},
    store::{
        self,
        backup::{Restored, items, logs},
        coverage,
    },
};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

/// A backup without what has been missing for longer is stale.
const STALE_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// How the backup stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupStatus {
    /// Whether there is to be one.
    pub enabled: bool,
    /// The version of its manifest; 0 if there is none yet.
    pub version: u64,
    /// When everything was in it last: milliseconds since 1970.
    pub stored_at: Option<u64>,
    /// How many messages of this device are in it.
    pub covered: u64,
    /// How many could be.
    pub messages: u64,
    /// Where messages are missing in it.
    pub gaps: Vec<BackupGap>,
    /// Segments that it consists of.
    pub segments: u64,
    /// Bytes that it takes on the server, when that was last heard of.
    pub used: u64,
    /// Bytes that it may take; 0 while that is not known.
    pub quota: u64,
    /// How far restoring has come, if that is not done.
    pub restoring: Option<RestoreProgress>,
    /// Why the last try failed, if it did.
    pub error: Option<String>,
    /// Whether something is wrong: it fails, or messages have been missing in it for a week.
    pub stale: bool,
}

/// A stretch of a chat of which the backup lacks messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupGap {
    /// The chat.
    pub chat: String,
    /// The first place.
    pub first: u64,
    /// The last place.
    pub last: u64,
    /// How many messages of this device lie there.
    pub messages: u64,
}

/// How far restoring has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreProgress {
    /// Messages that are here.
    pub done: u64,
    /// Messages that there are.
    pub total: u64,
    /// Messages that were refused: what the server gave was not what the backup says.
    pub refused: u64,
}

/// What a drill found: the backup, restored elsewhere and compared with this device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupDrill {
    /// Segments fetched.
    pub segments: u64,
    /// Messages restored.
    pub messages: u64,
    /// Messages that are the same here and there.
    pub same: u64,
    /// Messages of this device that the backup does not have yet.
    pub not_yet: u64,
    /// Messages of the backup that this device does not have (yet).
    pub elsewhere: u64,
    /// What differs; the first hundred.
    pub differences: Vec<BackupDifference>,
    /// How many differ.
    pub different: u64,
}

/// A message that is not the same here and in the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupDifference {
    /// The chat.
    pub chat: String,
    /// The place in its log.
    pub seq: u64,
    /// What is different, in words.
    pub what: String,
}

/// How the backup stands, from what this device knows.
pub(crate) fn status(db: &Connection) -> Result<BackupStatus, Error> {
    let standing = store::backup::load(db)?;
    let mut status = BackupStatus {
        enabled: standing.enabled,
        version: standing.version,
        stored_at: standing.stored_at,
        used: standing.used,
        quota: standing.quota,
        ..Default::default()
    };
    for log in logs(db)? {
        let stored = store::backup::stored(db, &log.conversation)?;
        let covered: Ranges = stored.iter().map(|stored| stored.range).collect();
        let held = coverage::of(db, log.chat, log.era)?;
        let count = |range: Range| Ok::<_, Error>(items(db, log.chat, log.era, range)?.len() as u64);
        let mut messages = 0;
        for range in held.iter() {
            messages += count(range)?;
        }
        let mut missing = 0;
        for range in held.without(&covered).iter() {
            let lacking = count(range)?;
            if lacking > 0 {
                missing += lacking;
                let Range { first, last } = range;
                status.gaps.push(BackupGap { chat: log.name.clone(), first, last, messages: lacking });
            }
        }
        status.messages += messages;
        status.covered += messages - missing;
    }
    (status.segments, _) = store::backup::count(db, None)?;
    let (_, left) = store::backup::count(db, Some(Restored::Not))?;
    let progress = progress(db)?;
    status.restoring = (left > 0).then_some(progress);
    status.error = standing.error.or_else(|| {
        let refused = progress.refused;
        (refused > 0).then(|| format!("{refused} messages could not be restored: what the server gave was refused"))
    });
    let since = standing.stored_at.or(standing.waiting_since);
    let overdue = since.is_some_and(|since| now_ms().saturating_sub(since) > STALE_MS);
    status.stale = status.enabled && (status.error.is_some() || (overdue && status.covered < status.messages));
    Ok(status)
}

/// How far restoring has come.
pub(crate) fn progress(db: &Connection) -> Result<RestoreProgress, Error> {
    let (_, left) = store::backup::count(db, Some(Restored::Not))?;
    let (_, refused) = store::backup::count(db, Some(Restored::Refused))?;
    let total = store::backup::load(db)?.restoring;
    Ok(RestoreProgress { done: total.saturating_sub(left + refused), total, refused })
}
