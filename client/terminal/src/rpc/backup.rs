//! The backup: `backup_status`, `backup_now`, `backup_drill`, `backup_switch`, `restore`.

use super::{Context, Method, Nothing};
use crate::{Failure, output::rfc3339};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::timeout;
use waxwing_core::{self as core, Error, Event};

/// How long the server may take to be reached.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the backup stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct BackupObject {
    /// Whether there is to be one.
    pub(crate) enabled: bool,
    /// The version of its manifest; 0 if there is none yet.
    pub(crate) version: u64,
    /// When everything was in it last (RFC 3339, UTC).
    pub(crate) stored_at: Option<String>,
    /// The same as seconds that have passed since.
    pub(crate) age_seconds: Option<u64>,
    /// How many messages of this device are in it.
    pub(crate) covered: u64,
    /// How many could be.
    pub(crate) messages: u64,
    /// Where messages are missing in it.
    pub(crate) gaps: Vec<GapObject>,
    /// Segments that it consists of.
    pub(crate) segments: u64,
    /// Bytes that it takes on the server, when that was last heard of.
    pub(crate) used: u64,
    /// Bytes that it may take; 0 while that is not known.
    pub(crate) quota: u64,
    /// How far restoring has come, if that is not done.
    pub(crate) restoring: Option<RestoredObject>,
    /// Why the last try failed, if it did.
    pub(crate) error: Option<String>,
    /// Whether something is wrong: it fails, or messages have been missing in it for a week.
    pub(crate) stale: bool,
}

/// A stretch of a chat of which the backup lacks messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct GapObject {
    /// The chat.
    pub(crate) chat: String,
    /// The first place.
    pub(crate) first: u64,
    /// The last place.
    pub(crate) last: u64,
    /// How many messages of this device lie there.
    pub(crate) messages: u64,
}

/// How far restoring has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RestoredObject {
    /// Messages that are here.
    pub(crate) done: u64,
    /// Messages that there are.
    pub(crate) total: u64,
    /// Messages that were refused: what the server gave was not what the backup says.
    pub(crate) refused: u64,
}

impl From<core::RestoreProgress> for RestoredObject {
    fn from(progress: core::RestoreProgress) -> Self {
        Self { done: progress.done, total: progress.total, refused: progress.refused }
    }
}

impl From<RestoredObject> for core::RestoreProgress {
    fn from(object: RestoredObject) -> Self {
        Self { done: object.done, total: object.total, refused: object.refused }
    }
}

impl From<core::BackupStatus> for BackupObject {
    fn from(status: core::BackupStatus) -> Self {
        let gap = |gap: core::BackupGap| GapObject {
            chat: gap.chat,
            first: gap.first,
            last: gap.last,
            messages: gap.messages,
        };
        let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0);
        Self {
            enabled: status.enabled,
            version: status.version,
            stored_at: status.stored_at.map(rfc3339),
            age_seconds: status.stored_at.map(|at| now.saturating_sub(at) / 1000),
            covered: status.covered,
            messages: status.messages,
            gaps: status.gaps.into_iter().map(gap).collect(),
            segments: status.segments,
            used: status.used,
            quota: status.quota,
            restoring: status.restoring.map(Into::into),
            error: status.error,
            stale: status.stale,
        }
    }
}

/// `backup_status`
pub(crate) struct BackupStatus;

impl Method for BackupStatus {
    const NAME: &'static str = "backup_status";
    const SUMMARY: &'static str = "How the backup stands, from what this device knows";
    type Params = Nothing;
    type Result = BackupObject;

    async fn run(context: &Context, _: Nothing) -> Result<BackupObject, Failure> {
        Ok(context.client.backup_status().await?.into())
    }
}

/// `backup_now`
pub(crate) struct BackupNow;

impl Method for BackupNow {
    const NAME: &'static str = "backup_now";
    const SUMMARY: &'static str = "Stores everything that the backup lacks; done when it is whole";
    type Params = Nothing;
    type Result = BackupObject;

    async fn run(context: &Context, _: Nothing) -> Result<BackupObject, Failure> {
        connect(context).await?;
        Ok(context.client.backup_now().await?.into())
    }
}

/// `backup_switch`
pub(crate) struct BackupSwitch;

/// Whether there is to be a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SwitchParams {
    /// False deletes it at the server; no device of the account makes one until it is switched on again.
    pub(crate) on: bool,
}

impl Method for BackupSwitch {
    const NAME: &'static str = "backup_switch";
    const SUMMARY: &'static str = "Begins a backup, or deletes it at the server and makes none any more";
    type Params = SwitchParams;
    type Result = BackupObject;

    async fn run(context: &Context, params: SwitchParams) -> Result<BackupObject, Failure> {
        connect(context).await?;
        Ok(context.client.backup_switch(params.on).await?.into())
    }
}

/// `backup_drill`
pub(crate) struct BackupDrill;

/// What a drill found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct DrillObject {
    /// Segments fetched.
    pub(crate) segments: u64,
    /// Messages restored.
    pub(crate) messages: u64,
    /// Messages that are the same here and there.
    pub(crate) same: u64,
    /// Messages of this device that the backup does not have yet.
    pub(crate) not_yet: u64,
    /// Messages of the backup that this device does not have (yet).
    pub(crate) elsewhere: u64,
    /// How many differ.
    pub(crate) different: u64,
    /// What differs; the first hundred.
    pub(crate) differences: Vec<DifferenceObject>,
}

/// A message that is not the same here and in the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct DifferenceObject {
    /// The chat.
    pub(crate) chat: String,
    /// The place in its log.
    pub(crate) seq: u64,
    /// What is different, in words.
    pub(crate) what: String,
}

impl Method for BackupDrill {
    const NAME: &'static str = "backup_drill";
    const SUMMARY: &'static str =
        "Restores the backup into a database that nobody keeps and compares it with this device";
    type Params = Nothing;
    type Result = DrillObject;

    async fn run(context: &Context, _: Nothing) -> Result<DrillObject, Failure> {
        connect(context).await?;
        let core::BackupDrill { segments, messages, same, not_yet, elsewhere, differences, different } =
            context.client.backup_drill().await?;
        let told = |one: core::BackupDifference| DifferenceObject { chat: one.chat, seq: one.seq, what: one.what };
        let differences = differences.into_iter().map(told).collect();
        Ok(DrillObject { segments, messages, same, not_yet, elsewhere, different, differences })
    }
}

/// `restore`
pub(crate) struct Restore;

impl Method for Restore {
    const NAME: &'static str = "restore";
    const SUMMARY: &'static str =
        "Waits until everything that the backup has for this device is here; tells how far it has come";
    type Params = Nothing;
    type Result = RestoredObject;

    async fn run(context: &Context, _: Nothing) -> Result<RestoredObject, Failure> {
        let mut events = context.client.events();
        connect(context).await?;
        let restored = context.client.restored();
        tokio::pin!(restored);
        loop {
            tokio::select! {
                done = &mut restored => return Ok(done?.into()),
                Some(event) = events.recv() => if let Event::Restoring(progress) = event {
                    context.progress("restoring messages", progress.done, Some(progress.total));
                },
            }
        }
    }
}

/// Until the client is connected it cannot say what the server has.
async fn connect(context: &Context) -> Result<(), Error> {
    context.client.go_online();
    let late = || Error::TimedOut("the server did not answer in time".into());
    timeout(PATIENCE, context.client.caught_up(PATIENCE)).await.map_err(|_| late())?
}
