//! The tasks that append and acknowledge. It owns the queues (one per task, a conversation always on the same one) and the
//! promise that every job is answered after its commit, alone in its failure. It must not know what makes an append good
//! or bad.

use super::Database;
use super::batch::{Acknowledgement, Batch};
use super::error::{SharedFailure, is_refusal, retried};
use super::inbox::{announce, post};
use crate::{
    metrics::METRICS,
    store::{Append, AppendOutcome, StoreError},
    waking,
};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use waxwing_crash::crash_point;
use waxwing_protocol::ConversationId;

/// How many jobs one transaction takes.
const BATCH: usize = 256;

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

enum Job {
    Append(Append, Answer<AppendOutcome>),
    Acknowledge(Acknowledgement, Answer<()>),
}

/// The handle of the tasks. They end, after their last jobs, when it is closed or dropped.
pub(super) struct Writers {
    queues: RwLock<Vec<mpsc::UnboundedSender<Job>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Writers {
    pub(super) fn start(database: &Arc<Database>, count: u32) -> Self {
        let (queues, tasks) = (0..count)
            .map(|_| {
                let (queue, jobs) = mpsc::unbounded_channel();
                (queue, tokio::spawn(run(database.clone(), jobs)))
            })
            .unzip();
        Self { queues: RwLock::new(queues), tasks: Mutex::new(tasks) }
    }

    pub(super) async fn append(&self, append: Append) -> Result<AppendOutcome, StoreError> {
        let (answer, outcome) = oneshot::channel();
        self.submit(append.conversation, Job::Append(append, answer))?;
        outcome.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) async fn acknowledge(&self, acknowledgement: Acknowledgement) -> Result<(), StoreError> {
        let (answer, outcome) = oneshot::channel();
        self.submit(acknowledgement.conversation, Job::Acknowledge(acknowledgement, answer))?;
        outcome.await.map_err(|_| StoreError::Closed)?
    }

    /// Puts a job into its task's queue, without waiting: appends are stored in the order in which this is called. The queue is
    /// bounded by what each connection may have unanswered.
    fn submit(&self, conversation: ConversationId, job: Job) -> Result<(), StoreError> {
        let shard = conversation.0.iter().fold(0_usize, |hash, byte| hash.wrapping_mul(31) + usize::from(*byte));
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        let place = shard.checked_rem(queues.len()).ok_or(StoreError::Closed)?;
        let queue = queues.get(place).ok_or(StoreError::Closed)?;
        queue.send(job).map_err(|_| StoreError::Closed)
    }

    /// Returns when everything submitted before is answered.
    pub(super) async fn close(&self) {
        self.queues.write().unwrap_or_else(PoisonError::into_inner).clear();
        for task in self.tasks.lock().await.drain(..) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a writing task failed");
            }
        }
    }
}

async fn run(database: Arc<Database>, mut queue: mpsc::UnboundedReceiver<Job>) {
    let mut jobs = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut jobs, BATCH).await > 0 {
        METRICS.queued.set(i64::try_from(queue.len()).unwrap_or(i64::MAX));
        let (since, count) = (Instant::now(), jobs.len());
        let (mut appends, mut append_answers) = (Vec::new(), Vec::new());
        let (mut acknowledgements, mut acknowledge_answers) = (Vec::new(), Vec::new());
        for job in jobs.drain(..) {
            match job {
                Job::Append(append, answer) => {
                    appends.push(append);
                    append_answers.push(answer);
                }
                Job::Acknowledge(acknowledgement, answer) => {
                    acknowledgements.push(acknowledgement);
                    acknowledge_answers.push(answer);
                }
            }
        }
        let written = database.write_all(&appends, &acknowledgements).await;
        METRICS.batch.observe(count as f64);
        METRICS.commit.observe(since.elapsed().as_secs_f64());
        let stored = written.appended.iter().filter(|one| matches!(one, Ok(AppendOutcome::Accepted { .. }))).count();
        METRICS.stored.inc_by(u64::try_from(stored).unwrap_or_default());
        let failed = written.appended.iter().any(Result::is_err) || written.acknowledged.iter().any(Result::is_err);
        METRICS.failed.inc_by(failed.into());
        // Whoever asked may be gone: it is stored all the same.
        for (outcome, answer) in written.appended.into_iter().zip(append_answers) {
            let _ = answer.send(outcome);
        }
        for (outcome, answer) in written.acknowledged.into_iter().zip(acknowledge_answers) {
            let _ = answer.send(outcome);
        }
        crash_point("write", "answered");
    }
}

/// One outcome per job.
struct Written {
    appended: Vec<Result<AppendOutcome, StoreError>>,
    acknowledged: Vec<Result<(), StoreError>>,
}

impl Database {
    /// In one transaction if nothing is wrong with any of them.
    async fn write_all(&self, appends: &[Append], acknowledgements: &[Acknowledgement]) -> Written {
        match retried(|| self.try_write(appends, acknowledgements)).await {
            Ok(outcomes) => Written {
                appended: outcomes.into_iter().map(Ok).collect(),
                acknowledged: acknowledgements.iter().map(|_| Ok(())).collect(),
            },
            Err(error) if appends.len() + acknowledgements.len() > 1 && is_refusal(&error) => {
                tracing::warn!(%error, "the database refused a batch; each of its jobs is tried alone");
                let mut written = Written { appended: Vec::new(), acknowledged: Vec::new() };
                for append in appends {
                    let alone = retried(|| self.try_write(std::slice::from_ref(append), &[])).await;
                    written.appended.push(alone.and_then(|all| all.into_iter().next().ok_or(StoreError::Closed)));
                }
                for acknowledgement in acknowledgements {
                    let alone = retried(|| self.try_write(&[], std::slice::from_ref(acknowledgement))).await;
                    written.acknowledged.push(alone.map(drop));
                }
                written
            }
            Err(error) => {
                tracing::error!(%error, "writing failed");
                let failure = SharedFailure(Arc::new(error));
                Written {
                    appended: appends.iter().map(|_| Err(failure.clone().into())).collect(),
                    acknowledged: acknowledgements.iter().map(|_| Err(failure.clone().into())).collect(),
                }
            }
        }
    }

    async fn try_write(
        &self,
        appends: &[Append],
        acknowledgements: &[Acknowledgement],
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        let mut transaction = self.writing.begin().await?;
        let mut batch = Batch::load(&mut transaction, appends, acknowledgements).await?;
        let outcomes: Vec<_> = appends.iter().map(|append| batch.judge(append)).collect();
        batch.acknowledge(acknowledgements);
        batch.write(&mut transaction, self.statement_bytes).await?;
        crash_point("write", "before");
        if batch.notices.is_empty() {
            transaction.commit().await?;
            crash_point("write", "after");
            waking::together(|| batch.publish_entries(&*self.publish));
        } else {
            let _order = self.inbox_order.lock().await;
            let posted = post(&mut transaction, &batch.notices, self.statement_bytes).await?;
            transaction.commit().await?;
            crash_point("write", "after");
            batch.publish_entries(&*self.publish);
            announce(&*self.publish, &batch.notices, &posted);
        }
        crash_point("write", "published");
        Ok(outcomes)
    }
}
