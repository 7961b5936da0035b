//! The backup's way to the server and back, between two steps of the engine.
//!
//! One run at a time: fetching the manifest, uploading what it lacks and offering the next one; or restoring; or a drill.
//! A run asks and goes on when the answer comes, so chatting never waits for it. The invariants: a manifest names only
//! what the server has confirmed; what is not accepted leaves the one before valid; what is refused is refused once,
//! not in a loop. It must not know what is sealed: `crate::backup` does.

mod drill;
mod manifest;
mod restore;
mod switch;
mod upload;

use super::{Engine, Reply, State};
use crate::{
    BackupDrill, BackupStatus, Error,
    account::now_ms,
    backup, store,
    transport::{Answer, CallError, Tag},
};
use drill::Drill;
use restore::Restore;
use std::time::Duration;
use tokio::{sync::mpsc, time::Instant};
use upload::Upload;
use waxwing_protocol::{ErrorCode, Request};

/// So many new messages are stored at once; fewer wait until it is quiet.
const MANY: usize = 200;
/// How long it has to be quiet, and so many seconds more on some devices: not all of an account begin at once.
const QUIET: Duration = Duration::from_secs(30);
const SPREAD: u64 = 16;
/// How long after a failure it is tried again: this, doubled each time, up to the other.
const RETRY: Duration = Duration::from_secs(60);
const RETRY_AT_MOST: Duration = Duration::from_secs(3600);
/// How often another device may be faster in one run.
const TRIES: u32 = 8;

/// What the user asks of the backup.
pub(crate) enum BackupCommand {
    /// Everything into the backup, now.
    Now(Reply<BackupStatus>),
    /// Restores elsewhere and compares.
    Drill(Reply<BackupDrill>),
    /// Begins (again), or deletes it at the server and stays off.
    Switch(bool, Reply<BackupStatus>),
    /// Waits until everything is restored.
    Restored(Reply<crate::RestoreProgress>),
}

/// The backup's side of the engine.
pub(super) struct Keeper {
    work: Work,
    /// Tells answers of this run from those of an earlier one.
    run: u64,
    pub(super) answers: mpsc::UnboundedReceiver<(Tag, Answer)>,
    answer_to: mpsc::UnboundedSender<(Tag, Answer)>,
    /// When the next run begins by itself.
    due: Option<Instant>,
    /// New messages since the last run.
    fresh: usize,
    /// Whether nothing was looked at since the start.
    unknown: bool,
    /// Whether there may be something to restore.
    restoring: bool,
    /// How long it has to be quiet on this device.
    quiet: Duration,
    failures: u32,
    tries: u32,
    waiting: Vec<Reply<BackupStatus>>,
    waiting_for_restored: Vec<Reply<crate::RestoreProgress>>,
    drills: Vec<Reply<BackupDrill>>,
    switch: Option<(bool, Reply<BackupStatus>)>,
    /// Whether this run is to begin a backup where another device has switched it off.
    beginning: bool,
}

/// What a run waits for.
enum Work {
    Nothing,
    /// The manifest, to go on with this.
    Manifest(Then),
    Upload(Box<Upload>),
    Restore(Restore),
    Drill(Box<Drill>),
    /// The server deletes the backup.
    Delete,
    /// The manifest of this version and hash, which says that there is no backup.
    Off(u64, [u8; 32]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Upload,
    Restore,
    Drill,
    Off,
}

impl Keeper {
    /// Whether something of the backup is still to come.
    pub(super) fn is_restoring(&self) -> bool {
        self.restoring
    }

    pub(super) fn new(device: &[u8; 16]) -> Self {
        let (answer_to, answers) = mpsc::unbounded_channel();
        Self {
            work: Work::Nothing,
            run: 0,
            answers,
            answer_to,
            due: None,
            fresh: 0,
            unknown: true,
            restoring: true,
            quiet: QUIET + Duration::from_secs(device.iter().map(|byte| u64::from(*byte)).sum::<u64>() % SPREAD),
            failures: 0,
            tries: 0,
            waiting: Vec::new(),
            waiting_for_restored: Vec::new(),
            drills: Vec::new(),
            switch: None,
            beginning: false,
        }
    }

    /// When the next run begins by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.filter(|_| matches!(self.work, Work::Nothing))
    }

    /// So many messages came or went.
    pub(super) fn note_messages(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        self.fresh += count;
        if self.failures > 0 {
            // The next try is set already.
            return;
        }
        let at = Instant::now() + if self.fresh >= MANY { Duration::ZERO } else { self.quiet };
        self.due = Some(at);
    }

    /// This profile is another device now: what others have stored since is fetched first.
    pub(super) fn begin_as_new_device(&mut self) {
        (self.restoring, self.unknown) = (true, true);
        (self.failures, self.due) = (0, None);
    }

    /// Whether closing had better wait for it.
    pub(super) fn is_storing(&self) -> bool {
        matches!(self.work, Work::Upload(_) | Work::Manifest(Then::Upload))
            || self.due.is_some_and(|at| at <= Instant::now())
    }
}

impl Engine {
    /// Begins what is due. Called when there is nothing more urgent.
    pub(super) async fn keep_backup(&mut self) -> Result<(), Error> {
        if !matches!(self.backup.work, Work::Nothing) || !matches!(self.reach, State::Online(_)) {
            return Ok(());
        }
        if let Some((on, _)) = &self.backup.switch {
            let on = *on;
            return self.begin_switch(on).await;
        }
        if !self.backup.drills.is_empty() {
            return self.ask_for_manifest(Then::Drill).await;
        }
        if self.backup.restoring && self.closing.is_none() && self.begin_restore().await? {
            return Ok(());
        }
        let asked = !self.backup.waiting.is_empty();
        if asked || self.backup.due.is_some_and(|at| at <= Instant::now()) {
            self.begin_run(asked).await?;
        }
        Ok(())
    }

    /// The connection is new: is something missing in the backup?
    pub(super) fn look_after_backup(&mut self) -> Result<(), Error> {
        let standing = store::backup::load(&self.db)?;
        if !standing.enabled || standing.blocked {
            return Ok(());
        }
        let first = standing.version == 0 || standing.state_digest.is_none();
        if first && standing.waiting_since.is_none() {
            store::backup::update(&self.db, |standing| standing.waiting_since = Some(now_ms()))?;
        }
        let missing = first || standing.waiting_since.is_some() || self.backup.unknown;
        if missing && self.backup.failures == 0 {
            self.backup.due = Some(Instant::now() + if first { Duration::ZERO } else { self.backup.quiet });
        }
        Ok(())
    }

    /// The process is about to end: what is new goes into the backup first, if it can.
    pub(super) fn hurry_backup(&mut self) -> Result<(), Error> {
        let standing = store::backup::load(&self.db)?;
        let wanted = self.backup.fresh > 0 || standing.version == 0 || standing.waiting_since.is_some();
        let possible = standing.enabled && !standing.blocked && self.backup.failures == 0;
        let nothing = matches!(self.backup.work, Work::Nothing);
        if wanted && possible && matches!(self.reach, State::Online(_)) {
            if nothing {
                self.backup.due = Some(Instant::now());
            }
        } else {
            self.backup.due = None;
        }
        Ok(())
    }

    /// The account's devices or keys are others now: the next manifest is due, by a device that is listed and under the
    /// newest key.
    pub(super) fn renew_backup(&mut self) -> Result<(), Error> {
        let standing = store::backup::update(&self.db, |standing| standing.state_digest = None)?;
        if standing.enabled && !standing.blocked {
            self.backup.due = Some(Instant::now());
        }
        Ok(())
    }

    pub(super) fn handle_backup(&mut self, command: BackupCommand) {
        let online = matches!(self.reach, State::Online(_) | State::Connecting(_));
        match command {
            BackupCommand::Now(reply) | BackupCommand::Switch(_, reply) if !online => {
                drop(reply.send(Err(self.offline())));
            }
            BackupCommand::Drill(reply) if !online => drop(reply.send(Err(self.offline()))),
            BackupCommand::Now(reply) => match store::backup::load(&self.db) {
                Ok(standing) if !standing.enabled => drop(reply.send(Err(Error::BackupOff))),
                Ok(_) => {
                    self.backup.restoring = true;
                    drop(store::backup::retry_refused(&self.db));
                    self.backup.waiting.push(reply);
                }
                Err(error) => drop(reply.send(Err(error))),
            },
            BackupCommand::Drill(reply) => self.backup.drills.push(reply),
            BackupCommand::Switch(on, reply) => self.backup.switch = Some((on, reply)),
            BackupCommand::Restored(reply) if !online => drop(reply.send(Err(self.offline()))),
            BackupCommand::Restored(reply) => match backup::progress(&self.db) {
                Err(error) => drop(reply.send(Err(error))),
                Ok(progress) if !self.backup.restoring => drop(reply.send(Ok(progress))),
                Ok(_) => self.backup.waiting_for_restored.push(reply),
            },
        }
    }

    /// The connection ended: a run begins anew with the next one.
    pub(super) fn interrupt_backup(&mut self, error: &Error) {
        self.backup.work = Work::Nothing;
        self.backup.run += 1;
        if self.backup.due.is_none() && self.backup.fresh > 0 {
            self.backup.due = Some(Instant::now() + self.backup.quiet);
        }
        self.answer_backup(Err(error.clone()));
        for waiting in self.backup.drills.drain(..) {
            drop(waiting.send(Err(error.clone())));
        }
        for waiting in self.backup.waiting_for_restored.drain(..) {
            drop(waiting.send(Err(error.clone())));
        }
    }

    /// Sends a request of the present run.
    async fn post_backup(&mut self, request: Request, number: i64) {
        if let State::Online(online) = &self.reach {
            online.connection.post(request, (number, self.backup.run), &self.backup.answer_to).await;
        }
    }

    /// An answer to a request of a run.
    pub(super) async fn backup_answered(&mut self, (number, run): Tag, answer: Answer) -> Result<(), Error> {
        if run != self.backup.run {
            return Ok(());
        }
        if let Err(CallError::Lost(reason)) = &answer {
            return Err(Error::ConnectionLost(reason.clone()));
        }
        let outcome = match std::mem::replace(&mut self.backup.work, Work::Nothing) {
            Work::Nothing => Ok(()),
            Work::Manifest(then) => self.manifest_answered(then, answer).await,
            Work::Upload(upload) => self.upload_answered(upload, answer).await,
            Work::Restore(restore) => self.restore_answered(restore, number, answer).await,
            Work::Drill(drill) => self.drill_answered(drill, number, answer).await,
            Work::Delete => self.deleted(answer).await,
            Work::Off(version, hash) => self.switched_off(version, hash, answer),
        };
        match outcome {
            Err(error) => self.fail_backup(error),
            Ok(()) => Ok(()),
        }
    }

    /// Something went wrong with the backup, not with the connection: it is noted, and tried again later if that may help.
    fn fail_backup(&mut self, error: Error) -> Result<(), Error> {
        if matches!(error, Error::ConnectionLost(_) | Error::Storage(_) | Error::Damaged(_) | Error::SignedOut) {
            return Err(error);
        }
        tracing::warn!(%error, "the backup");
        // A key that is missing another device may still tell.
        let blocked = matches!(error, Error::BackupRefused(_));
        store::backup::update(&self.db, |standing| {
            standing.error = Some(error.to_string());
            standing.blocked = blocked;
            standing.waiting_since = standing.waiting_since.or(Some(now_ms()));
        })?;
        self.backup.work = Work::Nothing;
        self.backup.run += 1;
        let full = matches!(error, Error::BackupFull { .. });
        let retry = RETRY.saturating_mul(1 << self.backup.failures.min(6)).min(RETRY_AT_MOST);
        self.backup.failures += 1;
        let delay = if full { RETRY_AT_MOST } else { retry };
        self.backup.due = (!blocked).then(|| Instant::now() + delay);
        self.backup.tries = 0;
        self.answer_backup(Err(error.clone()));
        for waiting in self.backup.drills.drain(..) {
            drop(waiting.send(Err(error.clone())));
        }
        self.end_restore_waits(Err(error));
        Ok(())
    }

    /// Answers whoever waits for the backup.
    fn answer_backup(&mut self, outcome: Result<(), Error>) {
        self.backup.beginning = false;
        let outcome = outcome.and_then(|()| backup::status(&self.db));
        for waiting in self.backup.waiting.drain(..) {
            drop(waiting.send(outcome.clone()));
        }
        if let Some((_, waiting)) = self.backup.switch.take() {
            drop(waiting.send(outcome));
        }
    }

    fn end_restore_waits(&mut self, outcome: Result<crate::RestoreProgress, Error>) {
        for waiting in self.backup.waiting_for_restored.drain(..) {
            drop(waiting.send(outcome.clone()));
        }
    }
}

/// What the server's refusals of backup requests mean.
fn refusal(error: CallError) -> Error {
    match error {
        CallError::Refused(refusal) if refusal.code == ErrorCode::QuotaExceeded => {
            Error::BackupFull { limit: refusal.number.unwrap_or(0) }
        }
        CallError::Refused(refusal) if refusal.code == ErrorCode::UnknownSegment => {
            Error::BackupRefused("the server does not have all of it".into())
        }
        error => error.into_error(),
    }
}
