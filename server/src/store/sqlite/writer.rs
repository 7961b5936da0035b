//! The thread that writes.
//!
//! Invariants: jobs run in the order of their submission, many in one transaction; a job that fails does so alone;
//! after COMMIT come the publications, then the answers. It must not know what the jobs do.

use super::{
    batch::{Announcement, Batch, Logs},
    keeper::Keeper,
    schema::{self, Lock},
};
use crate::{
    metrics::METRICS,
    store::{Publish, StoreError},
    waking,
};
use rusqlite::Connection;
use std::{cell::Cell, io, path::Path, sync::Arc, thread, time::Instant};
use tokio::sync::{mpsc, oneshot, watch};
use waxwing_crash::crash_point;

/// How many jobs one transaction takes.
const BATCH: usize = 256;
/// The same when more than this are waiting: throughput then counts for more than the first job's delay.
const LARGE_BATCH: usize = 1024;

/// Something to write.
pub(super) trait Job: Send {
    /// Does it in the open transaction. Runs again if another job of the batch failed.
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError>;
    /// Answers whoever waits: with the outcome of `run`, or with the failure.
    fn answer(self: Box<Self>, failure: Option<StoreError>);
}

/// A closure as a job.
pub(super) struct Task<F, T> {
    work: F,
    outcome: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Task<F, T> {
    pub(super) fn new(work: F, reply: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { work, outcome: None, reply }
    }
}

impl<F, T> Task<F, T>
where
    F: Fn(&mut Batch<'_>) -> Result<T, StoreError> + Send + 'static,
    T: Send + 'static,
{
    /// One whose outcome nobody waits for.
    pub(super) fn unheard(work: F) -> Box<dyn Job> {
        Box::new(Self::new(work, oneshot::channel().0))
    }
}

impl<F, T> Job for Task<F, T>
where
    F: Fn(&mut Batch<'_>) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError> {
        self.outcome = Some((self.work)(batch)?);
        Ok(())
    }

    fn answer(self: Box<Self>, failure: Option<StoreError>) {
        let answer = match (failure, self.outcome) {
            (None, Some(outcome)) => Ok(outcome),
            (Some(error), _) => Err(error),
            (None, None) => Err(StoreError::Closed),
        };
        // Whoever asked may be gone: the work is done all the same.
        let _ = self.reply.send(answer);
    }
}

enum Message {
    Job(Box<dyn Job>),
    Close,
}

/// A way to the writing thread that does not keep it running.
pub(super) struct Queue(mpsc::WeakUnboundedSender<Message>);

impl Queue {
    pub(super) fn submit(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        let queue = self.0.upgrade().ok_or(StoreError::Closed)?;
        queue.send(Message::Job(job)).map_err(|_| StoreError::Closed)
    }
}

/// The handle of the writing thread. The thread ends, after its last job, when the handle is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::UnboundedSender<Message>,
    running: watch::Receiver<()>,
}

impl Writer {
    /// Starts the thread for the database at `path`; it keeps `lock` as long as the connection.
    pub(super) fn start(
        path: &Path,
        connection: Connection,
        lock: Option<Lock>,
        publish: Arc<dyn Publish>,
    ) -> io::Result<Self> {
        let (queue, jobs) = mpsc::unbounded_channel();
        let (alive, running) = watch::channel(());
        let keeper = Keeper::start(path.to_owned(), Queue(queue.downgrade()))?;
        thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
            Thread { connection, logs: Logs::default(), keeper, publish }.run(jobs);
            drop(lock);
            drop(alive);
        })?;
        Ok(Self { queue, running })
    }

    /// Puts a job into the queue, without waiting: jobs run in the order in which this is called. The queue is bounded by what
    /// each connection may have unanswered.
    pub(super) fn submit(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        self.queue.send(Message::Job(job)).map_err(|_| StoreError::Closed)
    }

    /// Returns when everything submitted before is answered and the file is closed.
    pub(super) async fn close(&self) {
        // An error means that it is closing or closed already.
        let _ = self.queue.send(Message::Close);
        let mut running = self.running.clone();
        while running.changed().await.is_ok() {}
    }
}

thread_local! {
    /// How many pages the log had after this thread's last commit; a hook of SQLite's has no other place for it.
    static LOG_PAGES: Cell<u32> = const { Cell::new(0) };
}

struct Thread {
    // Dropped in this order: nothing is open when the database's lock goes.
    keeper: Keeper,
    connection: Connection,
    logs: Logs,
    publish: Arc<dyn Publish>,
}

impl Thread {
    fn run(mut self, mut queue: mpsc::UnboundedReceiver<Message>) {
        // In the place of SQLite's own, which would move the log within the commit.
        self.connection.wal_hook(Some(|_, pages| {
            LOG_PAGES.set(u32::try_from(pages).unwrap_or(0));
            Ok(())
        }));
        let mut messages = Vec::with_capacity(LARGE_BATCH);
        loop {
            METRICS.queued.set(i64::try_from(queue.len()).unwrap_or(i64::MAX));
            let limit = if queue.len() > BATCH { LARGE_BATCH } else { BATCH };
            if queue.blocking_recv_many(&mut messages, limit) == 0 {
                if self.logs.is_untidy() {
                    self.work_off(vec![Task::unheard(|batch| batch.tidy())]);
                }
                return;
            }
            let mut jobs = Vec::with_capacity(messages.len());
            for message in messages.drain(..) {
                match message {
                    Message::Job(job) => jobs.push(job),
                    Message::Close => queue.close(),
                }
            }
            self.work_off(jobs);
        }
    }

    fn work_off(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        if jobs.is_empty() {
            return;
        }
        let since = Instant::now();
        let done = self.transact(&mut jobs);
        METRICS.batch.observe(jobs.len() as f64);
        METRICS.commit.observe(since.elapsed().as_secs_f64());
        METRICS.failed.inc_by(done.is_err().into());
        match done {
            Ok(()) => {
                jobs.into_iter().for_each(|job| job.answer(None));
                crash_point("write", "answered");
                if self.keeper.log_has(LOG_PAGES.get())
                    && let Err(error) = schema::checkpoint(&self.connection)
                {
                    tracing::warn!(%error, "the log could not be moved to the database; it grows");
                }
            }
            Err(Failure::Commit(error)) => {
                tracing::error!(%error, "the database refused a transaction");
                let reason = error.to_string();
                jobs.into_iter().for_each(|job| job.answer(Some(StoreError::Database(reason.clone().into()))));
            }
            Err(Failure::Job(_)) if jobs.len() > 1 => {
                // Some job of these fails: find it by giving each a transaction of its own.
                jobs.into_iter().for_each(|job| self.work_off(vec![job]));
            }
            Err(Failure::Job(error)) => {
                tracing::error!(%error, "the database refused a change");
                if let Some(job) = jobs.pop() {
                    job.answer(Some(error));
                }
            }
        }
    }

    /// Runs the jobs in one transaction and publishes what they announce.
    fn transact(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        let begin = self.connection.execute_batch("BEGIN IMMEDIATE").map_err(Failure::Commit);
        let done = begin.and_then(|()| {
            let mut batch = Batch::new(&self.connection, &mut self.logs);
            jobs.iter_mut().try_for_each(|job| job.run(&mut batch)).map_err(Failure::Job)?;
            let announcements = batch.finish().map_err(Failure::Job)?;
            crash_point("write", "before");
            self.connection.execute_batch("COMMIT").map_err(Failure::Commit)?;
            Ok(announcements)
        });
        match done {
            Ok(announcements) => {
                self.keeper.untidy(self.logs.is_untidy());
                self.logs.shrink();
                let entries = announcements.iter().filter(|one| matches!(one, Announcement::Entry { .. })).count();
                METRICS.stored.inc_by(u64::try_from(entries).unwrap_or_default());
                crash_point("write", "after");
                waking::together(|| announcements.iter().for_each(|one| self.publish(one)));
                crash_point("write", "published");
                Ok(())
            }
            Err(failure) => {
                // What is remembered of the logs may never have happened.
                self.logs = Logs::default();
                self.keeper.forgotten();
                if !self.connection.is_autocommit()
                    && let Err(error) = self.connection.execute_batch("ROLLBACK")
                {
                    tracing::error!(%error, "the database refused a rollback");
                }
                Err(failure)
            }
        }
    }

    fn publish(&self, announcement: &Announcement) {
        match announcement {
            Announcement::Entry { recipients, conversation, entry } => {
                self.publish.entry(recipients, *conversation, entry);
            }
            Announcement::Inbox { device, item } => self.publish.inbox(*device, item),
        }
    }
}

enum Failure {
    /// One of the jobs.
    Job(StoreError),
    /// All of them.
    Commit(rusqlite::Error),
}
